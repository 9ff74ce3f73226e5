#include "engine/tensor_text.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* torch's defaults, torch.set_printoptions(profile="default"). */
enum { PRECISION = 4, SUMMARY_ABOVE = 1000, EDGE_ITEMS = 3, LINE_WIDTH = 80 };

static const char PREFIX[] = "tensor(";

/* How each value is written, decided by all values that will be shown. */
struct format {
    bool scientific;
    bool whole;   /* all are whole numbers: "3." */
    size_t width; /* of the widest, and so of all */
    bool any;     /* there was a value that is finite and not zero; only these decide */
    double smallest, largest;
};

struct printer {
    FILE *out;
    bool summarise;
    struct format format;
};

static size_t product(const size_t *shape, size_t dims)
{
    size_t count = 1;
    for (size_t i = 0; i < dims; i++)
        count *= shape[i];
    return count;
}

/* Of a dimension of `size`, the items that are shown are 0, 1, 2, then from `size - 3` on if it is cut. */
static bool is_cut(bool summarise, size_t size)
{
    return summarise && size > 2 * EDGE_ITEMS;
}

static size_t next_shown(bool cut, size_t i, size_t size)
{
    return cut && i + 1 == EDGE_ITEMS ? size - EDGE_ITEMS : i + 1;
}

typedef void visit_value(struct format *format, double value);

static void visit_shown(const float *data, const size_t *shape, size_t dims, bool summarise, visit_value *visit,
                        struct format *format)
{
    if (dims == 0) {
        visit(format, (double)data[0]);
        return;
    }
    size_t stride = product(shape + 1, dims - 1);
    bool cut = is_cut(summarise, shape[0]);
    for (size_t i = 0; i < shape[0]; i = next_shown(cut, i, shape[0]))
        visit_shown(data + i * stride, shape + 1, dims - 1, summarise, visit, format);
}

static bool decides(double value)
{
    return isfinite(value) && value != 0.0;
}

static void visit_magnitude(struct format *format, double value)
{
    if (!decides(value))
        return;
    double magnitude = fabs(value);
    if (!format->any || magnitude < format->smallest)
        format->smallest = magnitude;
    if (!format->any || magnitude > format->largest)
        format->largest = magnitude;
    if (value != ceil(value))
        format->whole = false;
    format->any = true;
}

/* A float32 has at most 39 digits before the point. */
enum { VALUE_BYTES_MAX = 64 };

/* The value as Python's format() writes it, not yet padded. Returns the length. */
static size_t write_value(const struct format *format, double value, char dst[VALUE_BYTES_MAX])
{
    int len;
    if (isnan(value))
        len = snprintf(dst, VALUE_BYTES_MAX, "nan"); /* never "-nan" */
    else if (format->scientific)
        len = snprintf(dst, VALUE_BYTES_MAX, "%.*e", PRECISION, value);
    else if (format->whole)
        len = snprintf(dst, VALUE_BYTES_MAX, isinf(value) ? "%.0f" : "%.0f.", value);
    else
        len = snprintf(dst, VALUE_BYTES_MAX, "%.*f", PRECISION, value);
    return (size_t)len;
}

static void visit_width(struct format *format, double value)
{
    char text[VALUE_BYTES_MAX];
    if (!decides(value))
        return;
    size_t len = write_value(format, value, text);
    if (len > format->width)
        format->width = len;
}

static struct format choose_format(const float *data, const size_t *shape, size_t dims, bool summarise)
{
    struct format format = {.whole = true, .width = 1};
    visit_shown(data, shape, dims, summarise, visit_magnitude, &format);
    if (!format.any)
        return format;
    format.scientific = format.largest / format.smallest > 1000.0 || format.largest > 1e8 || format.smallest < 1e-4;
    visit_shown(data, shape, dims, summarise, visit_width, &format);
    return format;
}

static void print_value(const struct printer *printer, double value)
{
    char text[VALUE_BYTES_MAX];
    size_t len = write_value(&printer->format, value, text);
    size_t pad = printer->format.width > len ? printer->format.width - len : 0;
    fprintf(printer->out, "%*s%s", (int)pad, "", text);
}

static void print_newline(const struct printer *printer, size_t count, size_t indent)
{
    while (count-- > 0)
        putc('\n', printer->out);
    fprintf(printer->out, "%*s", (int)indent, "");
}

/* The separator before the item number `at` of a line that began at column `indent`. */
static void print_separator(const struct printer *printer, size_t at, size_t per_line, size_t indent)
{
    if (at == 0)
        return;
    putc(',', printer->out);
    if (at % per_line == 0)
        print_newline(printer, 1, indent + 1);
    else
        putc(' ', printer->out);
}

static void print_vector(const struct printer *printer, const float *data, size_t size, size_t indent)
{
    size_t room = indent < LINE_WIDTH ? LINE_WIDTH - indent : 0;
    size_t per_line = room / (printer->format.width + 2);
    if (per_line == 0)
        per_line = 1;
    bool cut = is_cut(printer->summarise, size);
    putc('[', printer->out);
    for (size_t i = 0, at = 0; i < size; i = next_shown(cut, i, size), at++) {
        if (cut && at == EDGE_ITEMS) {
            print_separator(printer, at++, per_line, indent);
            fputs(" ...", printer->out);
        }
        print_separator(printer, at, per_line, indent);
        print_value(printer, (double)data[i]);
    }
    putc(']', printer->out);
}

static void print_values(const struct printer *printer, const float *data, const size_t *shape, size_t dims,
                         size_t indent)
{
    if (dims <= 1) {
        if (dims == 0)
            print_value(printer, (double)data[0]);
        else
            print_vector(printer, data, shape[0], indent);
        return;
    }
    size_t stride = product(shape + 1, dims - 1);
    bool cut = is_cut(printer->summarise, shape[0]);
    putc('[', printer->out);
    for (size_t i = 0; i < shape[0]; i = next_shown(cut, i, shape[0])) {
        if (i > 0) {
            putc(',', printer->out);
            print_newline(printer, dims - 1, indent + 1);
        }
        if (cut && i == shape[0] - EDGE_ITEMS) {
            fputs("...,", printer->out);
            print_newline(printer, dims - 1, indent + 1);
        }
        print_values(printer, data + i * stride, shape + 1, dims - 1, indent + 1);
    }
    putc(']', printer->out);
}

static void print_suffix(FILE *out, const char *suffix, size_t *column)
{
    size_t indent = strlen(PREFIX), len = strlen(suffix);
    if (*column + len + 2 > LINE_WIDTH) {
        fprintf(out, ",\n%*s%s", (int)indent, "", suffix);
        *column = indent + len;
    } else {
        fprintf(out, ", %s", suffix);
        *column += len + 2;
    }
}

/* An empty tensor of other than one dimension says its shape, for its "[]" cannot. */
static void print_size_suffix(FILE *out, const size_t *shape, size_t dims, size_t *column)
{
    char tuple[400], suffix[sizeof tuple + 8]; /* 16 dimensions of 20 digits fit */
    tensor_text_shape(shape, dims, tuple, sizeof tuple);
    snprintf(suffix, sizeof suffix, "size=%s", tuple);
    print_suffix(out, suffix, column);
}

/* The column that PyTorch takes for the end of what is written so far: one more than there is (two on the first line). */
static size_t last_column(const char *text)
{
    const char *newline = strrchr(text, '\n');
    return newline ? strlen(newline) + 1 : strlen(text) + 2;
}

static void print_tensor(FILE *out, const float *data, const size_t *shape, size_t dims)
{
    struct printer printer = {.out = out, .summarise = product(shape, dims) > SUMMARY_ABOVE};
    printer.format = choose_format(data, shape, dims, printer.summarise);
    print_values(&printer, data, shape, dims, strlen(PREFIX));
}

char *tensor_text(const float *data, const size_t *shape, size_t dims, const char *const *suffixes,
                  size_t suffix_count)
{
    assert(dims <= TENSOR_TEXT_DIMS_MAX);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    bool empty = product(shape, dims) == 0;
    fputs(PREFIX, out);
    if (empty)
        fputs("[]", out);
    else
        print_tensor(out, data, shape, dims);
    bool failed = fflush(out) != 0;
    size_t column = failed ? 0 : last_column(text);
    if (empty && dims != 1)
        print_size_suffix(out, shape, dims, &column);
    for (size_t i = 0; i < suffix_count; i++)
        print_suffix(out, suffixes[i], &column);
    putc(')', out);
    failed |= ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

void tensor_text_shape(const size_t *shape, size_t dims, char *dst, size_t dst_bytes)
{
    size_t len = (size_t)snprintf(dst, dst_bytes, "(");
    for (size_t i = 0; i < dims && len < dst_bytes; i++)
        len += (size_t)snprintf(dst + len, dst_bytes - len, i ? ", %zu" : "%zu", shape[i]);
    if (len < dst_bytes)
        snprintf(dst + len, dst_bytes - len, dims == 1 ? ",)" : ")");
}
