#include "engine/onnx_node.h"

#include <stdio.h>
#include <string.h>

#include "engine/utf8.h"

static const char *text_of(const char *text)
{
    return text ? text : "";
}

/* ---- Names in errors ---- */

int onnx_name_shown(const char *name, size_t max)
{
    size_t len = strlen(name);
    int shown = utf8_cut(name, len, max);
    return utf8_is_printable(name, (size_t)shown) ? shown : 0;
}

const char *onnx_node_text(const struct onnx_node *node, char dst[ONNX_TEXT_MAX])
{
    const char *name = text_of(node->proto->name), *domain = text_of(node->proto->domain);
    if (!*name && node->proto->n_output > 0)
        name = node->proto->output[0];
    snprintf(dst, ONNX_TEXT_MAX, "%.*s%s%.*s \"%.*s\"", onnx_name_shown(domain, 24), domain, *domain ? "::" : "",
             onnx_name_shown(node->op, 32), node->op, onnx_name_shown(name, 64), name);
    return dst;
}

/* ---- Operator and inputs ---- */

bool onnx_domain_is_standard(const char *domain)
{
    return !domain || !*domain || strcmp(domain, "ai.onnx") == 0;
}

int32_t onnx_node_input(const struct onnx_node *node, size_t i)
{
    return i < node->input_count ? node->inputs[i] : ONNX_NONE;
}

bool onnx_node_is(const struct onnx_node *node, const char *op)
{
    return strcmp(node->op, op) == 0 && onnx_domain_is_standard(node->proto->domain);
}

/* ---- Attributes ---- */

static const Onnx__Attribute *find_attribute(Onnx__Attribute *const *attributes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text_of(attributes[i]->name), name) == 0)
            return attributes[i];
    return NULL;
}

/* An attribute inside a function may say that it is one of the call's; so may the call's, in its turn. */
const Onnx__Attribute *onnx_node_attribute(const struct onnx_node *node, const char *name)
{
    const struct onnx_scope *scope = node->scope;
    const Onnx__Attribute *found = find_attribute(node->proto->attribute, node->proto->n_attribute, name);
    while (found && found->ref_attr_name && *found->ref_attr_name && scope->call) {
        const char *outer = found->ref_attr_name;
        found = find_attribute(scope->call->attribute, scope->call->n_attribute, outer);
        if (!found)
            return find_attribute(scope->function->attribute_proto, scope->function->n_attribute_proto, outer);
        scope = scope->outer;
    }
    return found;
}

int64_t onnx_node_int(const struct onnx_node *node, const char *name, int64_t otherwise)
{
    const Onnx__Attribute *found = onnx_node_attribute(node, name);
    return found ? found->i : otherwise;
}

float onnx_node_float(const struct onnx_node *node, const char *name, float otherwise)
{
    const Onnx__Attribute *found = onnx_node_attribute(node, name);
    return found ? found->f : otherwise;
}

bool onnx_node_says(const struct onnx_node *node, const char *name, const char *text, bool otherwise)
{
    const Onnx__Attribute *found = onnx_node_attribute(node, name);
    if (!found)
        return otherwise;
    return found->s.len == strlen(text) && memcmp(found->s.data, text, found->s.len) == 0;
}
