/* From an ONNX graph to the chain of layers that it computes, each with PyTorch's class, what print() shows between its
 * brackets, and the constants that are its parameters. A graph that is no such chain is refused with the node where it
 * stops being one. Immutable once made; any thread may read one. */
#ifndef MLPD_ENGINE_ONNX_LAYERS_H
#define MLPD_ENGINE_ONNX_LAYERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/onnx_facts.h"
#include "engine/onnx_graph.h"
#include "engine/status.h"

enum { ONNX_LAYERS_MAX = 4096, ONNX_PARAMETERS_MAX = 4 };

/* A tensor of a layer, as PyTorch has it. */
struct onnx_parameter {
    const char *suffix; /* "weight" */
    int32_t value;      /* the constant */
    bool transposed;    /* the constant is (in, out), and PyTorch's weight (out, in) */
    float scale;        /* what the constant is multiplied by: a Gemm's alpha or beta */
    size_t shape[2];    /* a constant of one element is repeated to fill it */
    size_t dims;
};

struct onnx_layer {
    const char *class_name;       /* "Linear" */
    const char *arguments;        /* "in_features=784, out_features=10, bias=True" */
    const struct onnx_node *node; /* the last of its nodes */
    int32_t input, output;        /* values */
    struct onnx_parameter parameters[ONNX_PARAMETERS_MAX];
    size_t parameter_count;
};

struct onnx_layers {
    struct onnx_layer *layers; /* from the input to the output */
    size_t count;
};

/* `ret` holds layers that live as long as the graph's file. */
enum status onnx_layers_create(const struct onnx_graph *graph, const struct onnx_fact *facts,
                               struct onnx_layers *ret, struct error *err);

#endif
