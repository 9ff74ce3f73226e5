/* What is known of each value of a graph before anything runs: the shape of rows, constants, and the small whole numbers
 * of which exporters compute shapes (Shape, Gather, Slice, Concat, ... before a Reshape). Immutable once made; any thread
 * may read it. */
#ifndef MLPD_ENGINE_ONNX_FACTS_H
#define MLPD_ENGINE_ONNX_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/onnx_graph.h"
#include "engine/state_dict.h"
#include "engine/status.h"

/* In place of a number: the batch of a model that leaves it open, and a size that nothing says. */
#define ONNX_BATCH   INT64_MIN
#define ONNX_UNKNOWN (INT64_MIN + 1)

enum onnx_fact_kind {
    ONNX_NOTHING,  /* nothing is known: an operator that is not followed, or one whose inputs do not fit */
    ONNX_ROWS,     /* computed from the input; sizes[0] is the batch */
    ONNX_CONSTANT, /* a tensor, or one number repeated; sizes is its shape */
    ONNX_NUMBERS,  /* whole numbers, sizes[0..dims); `is_scalar` if they are one without a dimension */
};

struct onnx_fact {
    enum onnx_fact_kind kind;
    size_t dims;
    int64_t sizes[TENSOR_DIMS_MAX];
    bool is_scalar;
    const Onnx__Tensor *tensor; /* CONSTANT */
    bool transposed;            /* CONSTANT: the tensor's two dimensions are exchanged in `sizes` */
    bool filled;                /* CONSTANT: the tensor's first element stands everywhere */
};

/* One for each value of the graph, in *ret, which the caller frees. Refused: an input that is no float tensor of rows;
 * a tensor whose dimensions are wrong. */
enum status onnx_facts_create(const struct onnx_graph *graph, struct onnx_fact **ret, struct error *err);

/* Elements of a row, or of a constant; ONNX_UNKNOWN if a size is. */
int64_t onnx_fact_row_elements(const struct onnx_fact *rows);
size_t onnx_fact_elements(const struct onnx_fact *constant);

#endif
