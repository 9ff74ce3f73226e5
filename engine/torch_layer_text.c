#include "engine/torch_layer_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/python_repr.h"

/* What each class shows. In braces stands an attribute: {p} as str() writes it, {p!} as repr() does; {p=None} has a value
 * for files from before the attribute was; {?bias} is whether that parameter is there; {+inplace} is "inplace=True", with a
 * comma before it unless it is first, or nothing. */
static const struct layer_text {
    const char *class_name, *text;
} TEXTS[] = {
    {"Linear", "in_features={in_features}, out_features={out_features}, bias={?bias}"},
    {"Flatten", "start_dim={start_dim}, end_dim={end_dim}"},
    {"Unflatten", "dim={dim}, unflattened_size={unflattened_size}"},
    {"ReLU", "{+inplace}"},
    {"ReLU6", "{+inplace}"},
    {"LeakyReLU", "negative_slope={negative_slope}{+inplace}"},
    {"ELU", "alpha={alpha}{+inplace}"},
    {"SELU", "{+inplace}"},
    {"CELU", "alpha={alpha}{+inplace}"},
    {"GELU", "approximate={approximate!='none'}"},
    {"SiLU", "{+inplace}"},
    {"Mish", "{+inplace}"},
    {"Hardtanh", "min_val={min_val}, max_val={max_val}{+inplace}"},
    {"Softplus", "beta={beta}, threshold={threshold}"},
    {"Softmax", "dim={dim=None}"},
    {"LogSoftmax", "dim={dim=None}"},
    {"Dropout", "p={p}, inplace={inplace}"},
    {"AlphaDropout", "p={p}, inplace={inplace}"},
    {"BatchNorm1d", "{num_features}, eps={eps}, momentum={momentum}, affine={affine}, bias={?bias}, "
                    "track_running_stats={track_running_stats}"},
    {"LayerNorm", "{normalized_shape}, eps={eps}, elementwise_affine={elementwise_affine}, bias={?bias}"},
};

enum { NAME_BYTES_MAX = 64 };

/* A text that is being written. */
struct writing {
    FILE *out;
    const struct pickle_items *attributes, *parameters;
    bool is_empty; /* nothing was written yet */
    char *missing;
    size_t missing_bytes;
};

static bool put_missing(const struct writing *writing, const char *name)
{
    snprintf(writing->missing, writing->missing_bytes, "%s", name);
    return false;
}

static void put_flag(const struct writing *writing, const char *name)
{
    const struct pickle_value *value = pickle_get(writing->attributes, name);
    if (value && value->kind == PICKLE_BOOL && value->integer)
        fprintf(writing->out, "%s%s=True", writing->is_empty ? "" : ", ", name);
}

static void put_presence(const struct writing *writing, const char *name)
{
    const struct pickle_value *value = pickle_get(writing->parameters, name);
    fputs(value && value->kind != PICKLE_NONE ? "True" : "False", writing->out);
}

/* `name` is what stands in the braces: "p", "approximate!='none'", "dim=None". */
static bool put_attribute(const struct writing *writing, char *name)
{
    char *fallback = strchr(name, '='), *is_repr = strchr(name, '!');
    if (fallback)
        *fallback++ = '\0';
    if (is_repr)
        *is_repr = '\0';
    const struct pickle_value *value = pickle_get(writing->attributes, name);
    if (value)
        return (is_repr ? python_repr(writing->out, value) : python_str(writing->out, value)) ||
               put_missing(writing, name);
    if (fallback)
        fputs(fallback, writing->out);
    return fallback || put_missing(writing, name);
}

static bool put_field(const struct writing *writing, const char *text, size_t len)
{
    char name[NAME_BYTES_MAX];
    snprintf(name, sizeof name, "%.*s", (int)len, text);
    if (name[0] == '+')
        put_flag(writing, name + 1);
    else if (name[0] == '?')
        put_presence(writing, name + 1);
    else
        return put_attribute(writing, name);
    return true;
}

static bool put_text(struct writing *writing, const char *text)
{
    while (*text) {
        const char *end = *text == '{' ? strchr(text, '}') : NULL;
        if (end && !put_field(writing, text + 1, (size_t)(end - text - 1)))
            return false;
        if (!end)
            putc(*text, writing->out);
        writing->is_empty = false;
        text = end ? end + 1 : text + 1;
    }
    return true;
}

static const char *find_text(struct pickle_text class_name)
{
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        if (pickle_text_is(class_name, TEXTS[i].class_name))
            return TEXTS[i].text;
    return "";
}

char *torch_layer_text(struct pickle_text class_name, const struct pickle_items *attributes,
                       const struct pickle_items *parameters, char *ret_missing, size_t missing_bytes)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct writing writing = {out, attributes, parameters, true, ret_missing, missing_bytes};
    if (!out)
        return NULL;
    bool ok = put_text(&writing, find_text(class_name)) && !ferror(out);
    if (fclose(out) == 0 && ok)
        return text;
    free(text);
    return NULL;
}
