#include "engine/torch_view.h"

bool torch_view_is_dense(const struct torch_view *view, const struct tensor *tensor)
{
    size_t run = 1;
    for (size_t i = tensor->dims; i > 0; i--) {
        if (tensor->shape[i - 1] != 1 && view->strides[i - 1] != run)
            return false;
        run *= tensor->shape[i - 1];
    }
    return true;
}

/* Copies the elements of dimension `dim` and those behind it, from element `from` on. Returns what follows dst. */
static float *copy_dims(float *dst, const unsigned char *bytes, size_t from, const struct tensor *tensor,
                        const struct torch_view *view, size_t dim)
{
    size_t element = view->dtype->bytes;
    if (dim + 1 == tensor->dims) {
        view->dtype->to_floats(dst, bytes + from * element, tensor->shape[dim], view->strides[dim] * element);
        return dst + tensor->shape[dim];
    }
    for (size_t i = 0; i < tensor->shape[dim]; i++)
        dst = copy_dims(dst, bytes, from + i * view->strides[dim], tensor, view, dim + 1);
    return dst;
}

void torch_view_copy(const struct torch_view *view, const struct tensor *tensor, const unsigned char *bytes,
                     float *dst)
{
    size_t element = view->dtype->bytes;
    if (tensor->count == 0)
        return;
    if (torch_view_is_dense(view, tensor))
        view->dtype->to_floats(dst, bytes + view->offset * element, tensor->count, element);
    else
        copy_dims(dst, bytes, view->offset, tensor, view, 0);
}

void torch_view_swap(const struct torch_view *view, unsigned char *bytes)
{
    size_t element = view->dtype->bytes;
    for (size_t at = 0; at + element <= view->storage->bytes; at += element)
        for (size_t i = 0; i < element / 2; i++) {
            unsigned char byte = bytes[at + i];
            bytes[at + i] = bytes[at + element - 1 - i];
            bytes[at + element - 1 - i] = byte;
        }
}
