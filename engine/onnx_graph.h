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
#include "engine/onnx_node.h"
#include "engine/status.h"

enum {
    ONNX_OPSET_MIN = 7,
    ONNX_OPSET_MAX = 28,    /* the newest that the onnx package 1.23 writes */
    ONNX_NODES_MAX = 65536, /* functions put in where they are called */
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

#endif
