/* A node of an ONNX graph: its operator, its inputs and its attributes. Immutable; any thread may read one. */
#ifndef MLPD_ENGINE_ONNX_NODE_H
#define MLPD_ENGINE_ONNX_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/onnx_file.h"

enum {
    ONNX_NONE = -1,      /* no value: an input that is left out, an output that nobody named */
    ONNX_TEXT_MAX = 160, /* of a node in an error */
};

/* Where names are looked up: the main graph, or one call of a function. */
struct onnx_scope {
    const struct onnx_scope *outer; /* where the function is called; NULL for the main graph */
    const Onnx__Function *function;
    const Onnx__Node *call;
    int32_t index; /* 0 for the main graph */
    int64_t opset; /* of ONNX's own operators in it */
};

struct onnx_node {
    const Onnx__Node *proto;
    const struct onnx_scope *scope;
    const char *op;        /* "Gemm" */
    const int32_t *inputs; /* values */
    size_t input_count;
    int32_t first_output; /* its outputs are this value and the following ones */
    size_t output_count;
};

/* The node's input `i`, ONNX_NONE if it is left out. */
int32_t onnx_node_input(const struct onnx_node *node, size_t i);

/* Whether it is this operator of ONNX's own. */
bool onnx_node_is(const struct onnx_node *node, const char *op);

/* Whether a domain, which may be NULL, is that of ONNX's own operators. */
bool onnx_domain_is_standard(const char *domain);

/* Attributes, those that a function takes from its call included. The default where there is none of that name. */
const Onnx__Attribute *onnx_node_attribute(const struct onnx_node *node, const char *name);
int64_t onnx_node_int(const struct onnx_node *node, const char *name, int64_t otherwise);
float onnx_node_float(const struct onnx_node *node, const char *name, float otherwise);
/* Whether the text attribute says `text`; `otherwise` where there is none. */
bool onnx_node_says(const struct onnx_node *node, const char *name, const char *text, bool otherwise);

/* What errors call the node: its type and its name, or its output's: Gemm "node_linear". Returns dst. */
const char *onnx_node_text(const struct onnx_node *node, char dst[ONNX_TEXT_MAX]);

/* A name of the file, cut to `max` bytes and without what no terminal should see; for "%.*s" with this length. */
int onnx_name_shown(const char *name, size_t max);

#endif
