/* What is done to whole rows between the layers: normalising, scaling by column, log-softmax. Stateless; any thread may
 * call it. The same on every processor: sums run in double, in an order that the row's length alone decides, so that a
 * row's result does not depend, to the bit, on the rows beside it. In all functions x and y are (rows, n), row-major
 * without gaps, and are the same or do not overlap.
 */
#ifndef MLPD_KERNELS_ROW_NORMS_H
#define MLPD_KERNELS_ROW_NORMS_H

#include <stddef.h>

/* y = (x - mean) / sqrt(variance + eps) over each row, then times weight[j] (if not NULL), plus bias[j] (if not NULL).
 * The variance is that of all n numbers (divided by n). A row with NaN or infinity becomes NaN. */
void kernels_layer_norm(const float *x, size_t rows, size_t n, const float *weight, const float *bias, double eps,
                        float *y);

/* y = x scale[j] + shift[j], the product rounded before it is added. */
void kernels_scale_shift(const float *x, size_t rows, size_t n, const float *scale, const float *shift, float *y);

/* y = x - max - log(sum of exp(x - max)) over each row. */
void kernels_log_softmax(const float *x, size_t rows, size_t n, float *y);

/* y[i] = exp(x[i]): the probabilities of a network that ends in a log-softmax. */
void kernels_exp(const float *x, size_t count, float *y);

/* y[i] = 1 / (1 + exp(-x[i])): the probabilities of logits that stand each for itself. */
void kernels_sigmoid(const float *x, size_t count, float *y);

#endif
