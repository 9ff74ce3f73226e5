#include "engine/python_repr.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS_MAX = 2, ITEMS_MAX = 16, STRING_BYTES_MAX = 64, DIGITS_MAX = 17 };

/* ---- Floats ---- */

/* The fewest significant digits that read back to `value`, without point and sign; ret_exponent is that of the first. */
static size_t shortest_digits(double value, char digits[DIGITS_MAX + 1], int *ret_exponent)
{
    char text[32];
    for (int count = 1; count <= DIGITS_MAX; count++) {
        snprintf(text, sizeof text, "%.*e", count - 1, value);
        if (count == DIGITS_MAX || strtod(text, NULL) == value)
            break;
    }
    size_t len = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9')
            digits[len++] = *at;
    digits[len] = '\0';
    *ret_exponent = (int)strtol(at + 1, NULL, 10);
    return len;
}

/* 1.5e-07: one digit before the point. */
static void put_scientific(FILE *out, const char *digits, size_t len, int exponent)
{
    fprintf(out, "%c%s%se%c%02d", digits[0], len > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+',
            abs(exponent));
}

/* 0.0015, 1.5, 1500.0 */
static void put_fixed(FILE *out, const char *digits, int len, int exponent)
{
    if (exponent < 0)
        fputs("0.", out);
    for (int i = exponent + 1; i < 0; i++)
        putc('0', out);
    int last = exponent + 2 > len ? exponent + 2 : len;
    for (int i = 0; i < last; i++) {
        if (i == exponent + 1 && exponent >= 0)
            putc('.', out);
        putc(i < len ? digits[i] : '0', out);
    }
}

void python_repr_float(FILE *out, double value)
{
    char digits[DIGITS_MAX + 1];
    int exponent;
    if (!isfinite(value)) {
        fputs(isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", out);
        return;
    }
    if (signbit(value))
        putc('-', out);
    size_t len = shortest_digits(fabs(value), digits, &exponent);
    if (exponent < -4 || exponent >= 16)
        put_scientific(out, digits, len, exponent);
    else
        put_fixed(out, digits, (int)len, exponent);
}

/* ---- Strings, tuples, lists ---- */

/* Only what needs no escape, and cannot be taken for a bracket, a comma or an end of line in the text around it. */
static bool is_plain(struct pickle_text text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. ";
    for (size_t i = 0; i < text.len && i < STRING_BYTES_MAX; i++)
        if (text.at[i] == '\0' || !strchr(plain, text.at[i]))
            return false;
    return text.len <= STRING_BYTES_MAX;
}

static bool put_value(FILE *out, const struct pickle_value *value, const char *quote, int levels);

static bool put_items(FILE *out, const struct pickle_items *items, const char *open, const char *close, int levels)
{
    if (items->count > ITEMS_MAX || levels == LEVELS_MAX)
        return false;
    fputs(open, out);
    for (size_t i = 0; i < items->count; i++) {
        fputs(i > 0 ? ", " : "", out);
        if (!put_value(out, items->at[i], "'", levels + 1))
            return false;
    }
    fputs(close, out);
    return true;
}

/* torch.Size((1, 28)) is written as torch.Size([1, 28]). */
static bool put_object(FILE *out, const struct pickle_object *object, int levels)
{
    const struct pickle_items *args = &object->args->items;
    return pickle_is_global(object->made_by, "torch", "Size") && args->count == 1 &&
           args->at[0]->kind == PICKLE_TUPLE && put_items(out, &args->at[0]->items, "torch.Size([", "])", levels);
}

static bool put_value(FILE *out, const struct pickle_value *value, const char *quote, int levels)
{
    switch (value->kind) {
    case PICKLE_NONE: fputs("None", out); return true;
    case PICKLE_BOOL: fputs(value->integer ? "True" : "False", out); return true;
    case PICKLE_INT: fprintf(out, "%" PRId64, value->integer); return true;
    case PICKLE_FLOAT: python_repr_float(out, value->real); return true;
    case PICKLE_STRING:
        if (!is_plain(value->text))
            return false;
        fprintf(out, "%s%.*s%s", quote, (int)value->text.len, value->text.at, quote);
        return true;
    case PICKLE_TUPLE: return put_items(out, &value->items, "(", value->items.count == 1 ? ",)" : ")", levels);
    case PICKLE_LIST: return put_items(out, &value->items, "[", "]", levels);
    case PICKLE_OBJECT: return put_object(out, value->object, levels);
    default: return false;
    }
}

bool python_repr(FILE *out, const struct pickle_value *value)
{
    return put_value(out, value, "'", 0);
}

bool python_str(FILE *out, const struct pickle_value *value)
{
    return put_value(out, value, "", 0);
}
