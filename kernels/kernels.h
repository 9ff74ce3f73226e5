/* The arithmetic of a dense network, once for each instruction set, behind one table of functions. The tables are
 * constant and the functions touch nothing but what they are given: any thread may call them. Nothing here
 * allocates, logs, or knows of files, models and policy.
 *
 * The promise that everything above relies on: for one table, a row's result does not depend, to the bit, on the
 * rows beside it, on their number, or on whether zeros were skipped. Each output is one chain of additions that
 * begins with the bias and runs over k = 0, 1, ..., in_features - 1; a zero result is +0, and which NaN stands for a NaN
 * is open.
 */
#ifndef MLPD_KERNELS_KERNELS_H
#define MLPD_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KERNELS_ALIGNMENT = 64 }; /* bytes; of packed weights and of the scratch that `linear` is given */

/* A Linear layer's parameters in the order in which a table's `linear` walks them. Made by that table's
 * `linear_pack` and useless to another table. */
struct packed_linear {
    size_t in_features, out_features;
    const float *data;   /* linear_packed_floats(in, out) floats, KERNELS_ALIGNMENT aligned; the caller owns them */
    bool weights_finite; /* no NaN or infinity among weights: zeros in x may be skipped (0 x infinity is NaN) */
};

struct kernels {
    const char *name; /* what --kernels takes: "generic", "avx2", "avx512" */

    /* Whether this processor and this operating system can run it. */
    bool (*supported)(void);

    /* How many floats `linear_pack` writes. */
    size_t (*linear_packed_floats)(size_t in_features, size_t out_features);

    /* Packs weight (out_features, in_features), row-major, as PyTorch keeps it, and bias (out_features) or NULL into
     * `storage`, which is the caller's, aligned, and has linear_packed_floats(in, out) floats; *ret points into it. */
    void (*linear_pack)(const float *weight, const float *bias, size_t in_features, size_t out_features,
                        float *storage, struct packed_linear *ret);

    /* y = x W^T + b, then max(y, 0) where `relu` is set (NaN stays NaN).
     * x is (rows, in_features), y is (rows, out_features), both row-major without gaps, any alignment; they do not
     * overlap. scratch: linear_scratch_bytes(in_features) bytes, KERNELS_ALIGNMENT aligned, of this thread alone. */
    void (*linear)(const struct packed_linear *layer, const float *x, size_t rows, float *y, bool relu,
                   void *scratch);
    size_t (*linear_scratch_bytes)(size_t in_features);

    /* x = max(x, 0) over `count` floats in place; NaN stays NaN, and -0 becomes +0. */
    void (*relu)(float *x, size_t count);

    /* dst[i] = table[src[i]]: bytes of a picture to the floats that the model was trained on. */
    void (*scale_u8)(const uint8_t *src, size_t count, const float table[256], float *dst);
};

/* NULL-terminated, slowest first. */
extern const struct kernels *const kernels_all[];

/* The table of that name, or NULL. */
const struct kernels *kernels_find(const char *name);

/* The fastest table that runs here. Never NULL: "generic" runs everywhere. */
const struct kernels *kernels_best(void);

/* Row-wise softmax, stable for any finite input: y = exp(x - max) / sum. x and y are (rows, n), and may be the same. */
void kernels_softmax(const float *x, size_t rows, size_t n, float *y);

/* The index of the largest of x[0..n), the first of equal ones, as torch.argmax answers on the CPU. n > 0. */
size_t kernels_argmax(const float *x, size_t n);

/* Whether all `count` floats are finite; if not, *ret_index (may be NULL) is the first that is not. */
bool kernels_all_finite(const float *x, size_t count, size_t *ret_index);

#endif
