/* Looking at the values of a pickle; see engine/pickle.h. */
#include <stdio.h>
#include <string.h>

#include "engine/pickle.h"
#include "engine/utf8.h"

enum { NAME_SHOWN_MAX = 80 };

bool pickle_text_is(struct pickle_text text, const char *expected)
{
    return text.len == strlen(expected) && memcmp(text.at, expected, text.len) == 0;
}

bool pickle_is_string(const struct pickle_value *value, const char *expected)
{
    return value->kind == PICKLE_STRING && pickle_text_is(value->text, expected);
}

bool pickle_is_global(const struct pickle_value *value, const char *module, const char *name)
{
    return value->kind == PICKLE_GLOBAL && pickle_text_is(value->global[0], module) &&
           pickle_text_is(value->global[1], name);
}

const struct pickle_value *pickle_get(const struct pickle_items *pairs, const char *key)
{
    for (size_t i = pairs->count; i >= 2; i -= 2)
        if (pickle_is_string(pairs->at[i - 2], key))
            return pairs->at[i - 1];
    return NULL;
}

const struct pickle_items *pickle_pairs(const struct pickle_value *value)
{
    if (value->kind == PICKLE_DICT)
        return &value->items;
    if (value->kind != PICKLE_OBJECT || value->object->items.count % 2 != 0)
        return NULL;
    const struct pickle_value *made_by = value->object->made_by;
    bool is_dict = pickle_is_global(made_by, "collections", "OrderedDict") ||
                   pickle_is_global(made_by, "collections", "defaultdict") ||
                   pickle_is_global(made_by, "collections", "Counter");
    return is_dict ? &value->object->items : NULL;
}

static const char *kind_text(enum pickle_kind kind)
{
    switch (kind) {
    case PICKLE_NONE: return "None";
    case PICKLE_BOOL: return "True or False";
    case PICKLE_INT:
    case PICKLE_BIG_INT: return "an int";
    case PICKLE_FLOAT: return "a float";
    case PICKLE_STRING: return "a string";
    case PICKLE_BYTES: return "bytes";
    case PICKLE_LIST: return "a list";
    case PICKLE_TUPLE: return "a tuple";
    case PICKLE_SET: return "a set";
    case PICKLE_DICT: return "a dict";
    case PICKLE_PERSISTENT: return "a storage";
    case PICKLE_GLOBAL:
    case PICKLE_OBJECT: break;
    }
    return "an object";
}

/* A name from the file, cut; "?" for one that cannot be shown. */
static void show(struct pickle_text text, char dst[NAME_SHOWN_MAX + 4])
{
    int shown = utf8_cut(text.at, text.len, NAME_SHOWN_MAX);
    bool printable = utf8_is_printable(text.at, (size_t)shown);
    snprintf(dst, NAME_SHOWN_MAX + 4, "%.*s%s", printable ? shown : 1, printable ? text.at : "?",
             (size_t)shown < text.len ? "..." : "");
}

static const char *describe_global(const struct pickle_value *global, const char *before, char *dst,
                                   size_t dst_bytes)
{
    char module[NAME_SHOWN_MAX + 4], name[NAME_SHOWN_MAX + 4];
    show(global->global[0], module);
    show(global->global[1], name);
    snprintf(dst, dst_bytes, "%s%s.%s", before, module, name);
    return dst;
}

const char *pickle_describe(const struct pickle_value *value, char *dst, size_t dst_bytes)
{
    char text[NAME_SHOWN_MAX + 4];
    if (value->kind == PICKLE_GLOBAL)
        return describe_global(value, "", dst, dst_bytes);
    if (value->kind == PICKLE_OBJECT)
        return describe_global(value->object->made_by,
                               value->object->is_call ? "the result of calling " : "an object of ", dst, dst_bytes);
    if (value->kind == PICKLE_STRING) {
        show(value->text, text);
        snprintf(dst, dst_bytes, "the string \"%s\"", text);
    } else {
        snprintf(dst, dst_bytes, "%s", kind_text(value->kind));
    }
    return dst;
}
