/* A state dict: named float32 tensors, as a reader of model files (engine/safetensors.h, and others to come) leaves
 * them. Immutable once read; any thread may read one. */
#ifndef MLPD_ENGINE_STATE_DICT_H
#define MLPD_ENGINE_STATE_DICT_H

#include <stddef.h>

#include "engine/status.h"

enum { TENSOR_DIMS_MAX = 8 };

struct tensor {
    char *name;        /* "linear_relu_stack.0.weight" */
    const char *dtype; /* as PyTorch names what the file holds: "torch.float32" */
    size_t shape[TENSOR_DIMS_MAX];
    size_t dims;       /* 0 for a scalar */
    size_t count;      /* product of shape */
    const float *data; /* count floats, C order; owned by the state dict */
};

struct state_dict {
    struct tensor *tensors; /* in the file's order */
    size_t count;
    const struct tensor **by_name; /* the same, sorted; made by state_dict_index */
    void *storage;                 /* what the tensors' data point into */
    struct state_dict
        *part; /* another file's, whose tensors moved here and whose storage they still need; or NULL */
};

/* Sorts the names, so that they can be found; a reader calls it once all tensors have theirs. A name that stands twice
 * is refused. */
enum status state_dict_index(struct state_dict *dict, struct error *err);

/* NULL if there is none of that name. After state_dict_index. */
const struct tensor *state_dict_find(const struct state_dict *dict, const char *name);

/* Moves the tensors of `part`, which becomes a part of `dict`, behind those that it has. Before state_dict_index, or with
 * another call of it behind. On failure both are as they were. */
enum status state_dict_append(struct state_dict *dict, struct state_dict *part, struct error *err);

/* Takes NULL. */
void state_dict_free(struct state_dict *dict);

#endif
