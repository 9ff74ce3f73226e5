/* The whole numbers of which exporters compute shapes, one operator at a time: Shape, Gather, Slice, Concat and
 * arithmetic, with the batch as a number that is not known. A part of engine/onnx_facts.h; stateless. */
#ifndef MLPD_ENGINE_ONNX_NUMBERS_H
#define MLPD_ENGINE_ONNX_NUMBERS_H

#include <stdbool.h>

#include "engine/onnx_facts.h"

/* A step over one node, which ends with what is known of its first output. */
struct onnx_step {
    const struct onnx_graph *graph;
    const struct onnx_fact *facts; /* of all values before the node's outputs */
    const struct onnx_node *node;
};

extern const struct onnx_fact ONNX_FACT_NOTHING;

/* What is known of the node's input i. */
const struct onnx_fact *onnx_step_input(const struct onnx_step *step, size_t i);

/* The fact as whole numbers: it may be a constant vector of a few. */
bool onnx_numbers_of(const struct onnx_fact *fact, struct onnx_fact *ret);
bool onnx_numbers_of_input(const struct onnx_step *step, size_t i, struct onnx_fact *ret);

/* Axes, starts or ends: input i, or where that is left out, as in older opsets, the attribute. */
bool onnx_numbers_or_attribute(const struct onnx_step *step, size_t i, const char *name, struct onnx_fact *ret);

/* Neither the batch nor a size that nothing says. */
bool onnx_number_is_known(int64_t number);

/* The operators. `op` is one of + - * / %. */
struct onnx_fact onnx_numbers_combine(const struct onnx_step *step, char op);
struct onnx_fact onnx_numbers_cast(const struct onnx_step *step);
struct onnx_fact onnx_numbers_shape(const struct onnx_step *step);
struct onnx_fact onnx_numbers_gather(const struct onnx_step *step);
struct onnx_fact onnx_numbers_slice(const struct onnx_step *step);
struct onnx_fact onnx_numbers_concat(const struct onnx_step *step);

#endif
