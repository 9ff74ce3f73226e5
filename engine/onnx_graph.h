/* The graph of an ONNX file with names resolved: values, which are numbers, and the nodes that give them. Functions of
 * the model's own (as torch.onnx.dynamo_export wrote them) are put in where they are called. Nodes stand in the
 * file's order, which ONNX demands to be topological: a node that reads what comes after it is refused, so that there is
 * no cycle. Immutable once made; any thread may read one.
 *
 *     struct onnx_graph *graph;
 *     if (onnx_graph_create(file, &graph, &err) == STATUS_OK) {
 *         const struct onnx_node *last = onnx_graph_producer(graph, graph->output);
 *         float alpha = onnx_node_float(last, "alpha", 0.01f);
 *         onnx_graph_free(graph);          // before the file
 *     }
 */
#ifndef MLPD_ENGINE_ONNX_GRAPH_H
#define MLPD_ENGINE_ONNX_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/onnx_file.h"
#include "engine/status.h"

enum {
    ONNX_OPSET_MIN = 7,
    ONNX_OPSET_MAX = 28,    /* the newest that the onnx package 1.23 writes */
    ONNX_NODES_MAX = 65536, /* functions put in where they are called */
    ONNX_NONE = -1,         /* no value: an input that is left out, an output that nobody named */
    ONNX_TEXT_MAX = 160,    /* of a node in an error */
};

/* Where names are looked up: the main graph, or one call of a function. */
struct onnx_scope {
    const struct onnx_scope *outer; /* where the function is called; NULL for the main graph */
    const Onnx__Function *function;
    const Onnx__Node *call;
    int32_t index; /* 0 for the main graph */
    int64_t opset; /* of ONNX's own operators in it */
};

struct onnx_value {
    const struct onnx_scope *scope;
    const char *name;           /* "" for an output that nobody named */
    const Onnx__Tensor *tensor; /* of an initializer or a Constant, else NULL */
    int32_t node;               /* that gives it, or ONNX_NONE */
    int32_t origin; /* the value that Identity and casts between floats pass on, else the value itself */
    int32_t alias;  /* a function's input or output stands for this value; ONNX_NONE for all others */
    const struct onnx_scope *alias_scope; /* where the name below is looked up */
    const char *alias_name;               /* NULL if it is no alias; "" for an input that the call leaves out */
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

struct onnx_graph {
    const struct onnx_file *file;
    struct onnx_value *values;
    struct onnx_node *nodes;
    size_t value_count, node_count;
    int32_t input, output;             /* the values that come in and go out: one each */
    const Onnx__ValueInfo *input_info; /* name, type and shape of the input */
    struct onnx_graph_index *index;    /* values by name */
};

/* Resolves all names. Refused: opsets out of range, a name that stands twice or nowhere, several inputs or outputs,
 * functions that call each other more than 16 deep, more nodes than ONNX_NODES_MAX. On success *ret is the caller's; it
 * points into `file`, which must live longer. */
enum status onnx_graph_create(const struct onnx_file *file, struct onnx_graph **ret, struct error *err);

/* Takes NULL. */
void onnx_graph_free(struct onnx_graph *graph);

/* The node that gives the value; NULL for the input, an initializer or ONNX_NONE. */
const struct onnx_node *onnx_graph_producer(const struct onnx_graph *graph, int32_t value);

/* The value that a node only passes on: behind Identity, and Cast and CastLike between floats. */
int32_t onnx_graph_origin(const struct onnx_graph *graph, int32_t value);

/* The node's input `i`, ONNX_NONE if it is left out. */
int32_t onnx_node_input(const struct onnx_node *node, size_t i);

bool onnx_node_is(const struct onnx_node *node, const char *op);

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
