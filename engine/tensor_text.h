/* PyTorch's way to print a float32 tensor (torch/_tensor_str.py: four decimals, scientific notation where the
 * magnitudes shown ask for it, a summary with three items at each edge above 1,000 elements, lines of 80 columns).
 * Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_TENSOR_TEXT_H
#define MLPD_ENGINE_TENSOR_TEXT_H

#include <stddef.h>

enum { TENSOR_TEXT_DIMS_MAX = 16 };

/* What str(tensor) says, for example "tensor([0.0320, 0.0142], grad_fn=<SliceBackward0>)".
 * data: product of shape[0..dims) floats, C order; dims is at most TENSOR_TEXT_DIMS_MAX.
 * suffixes: what PyTorch adds behind the values, for example {"device='cuda:0'", "grad_fn=<SliceBackward0>"}, broken
 * over lines as PyTorch breaks them.
 * The caller frees the text; NULL only if out of memory. */
char *tensor_text(const float *data, const size_t *shape, size_t dims, const char *const *suffixes,
                  size_t suffix_count);

/* A shape as Python writes a tuple: "(512, 784)", "(10,)", "()"; cut to fit dst_bytes. */
void tensor_text_shape(const size_t *shape, size_t dims, char *dst, size_t dst_bytes);

#endif
