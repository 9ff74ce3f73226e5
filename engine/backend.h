/* What runs a model: a table of functions and an instance. A backend is made once for a model, at load, and packs or
 * uploads the parameters; each worker thread owns one executor, which holds all the memory that the largest batch
 * needs, so that running allocates nothing, and which moves from model to model. The backend is immutable and shared; an
 * executor belongs to one thread at a time.
 *
 *     struct backend *backend;
 *     if (backend_cpu_create(model, NULL, 256, &backend, &err) != STATUS_OK) ...
 *     struct executor *executor;
 *     if (backend->ops->executor_create(backend, &executor, &err) != STATUS_OK) ...
 *     backend->ops->run(executor, parts, part_count, &err);
 *     backend->ops->executor_free(executor);
 *     backend->ops->free(backend);
 */
#ifndef MLPD_ENGINE_BACKEND_H
#define MLPD_ENGINE_BACKEND_H

#include <stddef.h>
#include <stdint.h>

#include "engine/model.h"
#include "engine/status.h"

/* What a row's elements are. A uint8 element is taken as what model_pixel makes of it, as late as the device allows. */
enum row_dtype { ROW_FLOAT32, ROW_UINT8 };

/* The bytes of one row of the model's input. */
static inline size_t backend_row_bytes(const struct model *model, enum row_dtype dtype)
{
    return model->in_features * (dtype == ROW_UINT8 ? sizeof(uint8_t) : sizeof(float));
}

/* Rows that lie together: one request's, or a piece of them. */
struct batch_part {
    const void *rows; /* (count, in_features) of dtype, C order, any alignment that dtype has */
    enum row_dtype dtype;
    size_t count;
    float *logits;        /* (count, out_features): what the network's forward gives */
    float *probabilities; /* (count, out_features): what model->probabilities makes of them, mostly their softmax */
    uint32_t *classes;    /* (count): argmax of the logits, the first of equal ones */
};

enum { TRACE_VALUES = 8 }; /* of the first row, for each layer */

struct executor;
struct backend;

struct backend_ops {
    /* Reserves everything that a batch of backend->batch_max rows needs. */
    enum status (*executor_create)(const struct backend *backend, struct executor **ret, struct error *err);

    /* Runs all parts as one batch (at most batch_max rows together) and fills their outputs. On failure the outputs are
     * undefined and the executor can be used again. */
    enum status (*run)(struct executor *executor, const struct batch_part *parts, size_t part_count,
                       struct error *err);

    /* One row through the layers as PyTorch has them, before any fusing: values[i * TRACE_VALUES ...] are the first
     * min(TRACE_VALUES, out_features) values that model->layers[i] gives. Allocates; not for the hot path. */
    enum status (*trace)(const struct backend *backend, const void *row, enum row_dtype dtype, float *values,
                         struct error *err);

    /* Gives the executor to another backend of the same kind, with memory for its largest batch: what it has, if that
     * is enough. Its last backend need not live any more. On failure it stays as it was. */
    enum status (*executor_move)(struct executor *executor, const struct backend *to, struct error *err);

    void (*executor_free)(struct executor *executor); /* takes NULL */
    void (*free)(struct backend *backend);            /* takes NULL; no executor runs it any more */
};

struct backend {
    const struct backend_ops *ops;
    const struct model *model; /* outlives the backend */
    size_t batch_max;          /* rows */
    const char *device;        /* "cpu" */
    const char *kernels;       /* "avx2" */
};

/* The CPU's backend. kernels_name: a table's name, or NULL for the best that runs here. Refuses, with the names that
 * would work, a name that is unknown or that this processor cannot run. */
enum status backend_cpu_create(const struct model *model, const char *kernels_name, size_t batch_max,
                               struct backend **ret, struct error *err);

#endif
