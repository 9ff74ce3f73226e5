#include "engine/python_repr.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "engine/python_float.h"

enum { LEVELS_MAX = 2, ITEMS_MAX = 16, STRING_BYTES_MAX = 64 };

/* ---- Floats ---- */

void python_repr_float(FILE *out, double value)
{
    char text[PYTHON_FLOAT_BYTES];
    if (isfinite(value))
        fputs(python_float_text(value, false, text), out);
    else
        fputs(isnan(value) ? "nan" : value < 0 ? "-inf" : "inf", out);
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
