/* How a tensor lies in the bytes of its storage: an offset and a stride for each dimension, counted in elements, as torch has
 * them. Whoever makes a view has checked that it lies inside the storage. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_TORCH_VIEW_H
#define MLPD_ENGINE_TORCH_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/dtypes.h"
#include "engine/state_dict.h"
#include "engine/torch_archive.h"

struct torch_view {
    const struct torch_storage *storage;
    const struct dtype *dtype;
    size_t offset, strides[TENSOR_DIMS_MAX];
    size_t tensor; /* which of the state dict's: it has the name and the shape */
};

/* Whether the elements lie side by side in C order. A dimension of size 1 may have any stride. */
bool torch_view_is_dense(const struct torch_view *view, const struct tensor *tensor);

/* Copies the elements to dst, tensor->count floats in C order. `bytes` are the storage's. */
void torch_view_copy(const struct torch_view *view, const struct tensor *tensor, const unsigned char *bytes,
                     float *dst);

/* Turns the bytes of each element of the whole storage round: a big-endian machine wrote them. */
void torch_view_swap(const struct torch_view *view, unsigned char *bytes);

#endif
