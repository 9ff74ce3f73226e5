/* Layers that an exporter wrote as several nodes, because the opset had no operator for them: GELU as Erf with Mul and
 * Add, SiLU as Sigmoid with Mul, LayerNorm as ReduceMean and the rest. Each is a line of a table that says the formula; a
 * value matches if its nodes are that formula over one input x. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_ONNX_FORMS_H
#define MLPD_ENGINE_ONNX_FORMS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/onnx_facts.h"
#include "engine/onnx_graph.h"

enum { ONNX_LETTERS = 26 };

/* What a formula's letters stood for. */
struct onnx_form {
    const char *class_name; /* "GELU" */
    const char *arguments;  /* "beta=$b, threshold=$t": $ and a letter is that number; $N the shape of a row */
    int32_t x;              /* the layer's input */
    int32_t weight, bias;   /* constants, or ONNX_NONE */
    struct onnx_number {
        bool is_set;
        double value;
        int32_t type; /* of its tensor: ONNX_FLOAT, ... */
    } numbers[ONNX_LETTERS];
};

/* Whether `value` ends one of the forms. */
bool onnx_form_match(const struct onnx_graph *graph, const struct onnx_fact *facts, int32_t value,
                     struct onnx_form *ret);

/* A constant of one element that broadcasting leaves alone, as a number. */
bool onnx_form_number(const struct onnx_graph *graph, const struct onnx_fact *facts, int32_t value,
                      struct onnx_number *ret);

/* Whether a Softmax or LogSoftmax goes over each row of two axes; whether a Clip is to these bounds. */
bool onnx_form_is_row_softmax(const struct onnx_graph *graph, const struct onnx_fact *facts,
                              const struct onnx_node *node);
bool onnx_form_clip(const struct onnx_graph *graph, const struct onnx_fact *facts, const struct onnx_node *node,
                    struct onnx_number *ret_min, struct onnx_number *ret_max);

#endif
