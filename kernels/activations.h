/* The activations between the layers of a dense network, element by element, once for each instruction set behind one
 * table of functions. The tables are constant and the functions touch nothing but what they are given: any thread may
 * call them. Nothing here allocates or knows of layers and models.
 *
 *     const struct activation_table *table = activation_table_for(kernels->name);
 *     const struct activation gelu = {.type = ACTIVATION_GELU};
 *     table->apply(&gelu, y, rows * out_features, y);
 *
 * The promise is that of kernels/kernels.h: for one table an element's result does not depend, to the bit, on the
 * elements beside it, on their number or on its position. A few elements at the end take the same formula as the others.
 *
 * Results are within 3e-7 relative + 1e-37 absolute of the exact ones, GELU's within 2e-6 relative + 1e-9 absolute
 * (kernels/activation_math.h says where the errors come from). Infinities, NaN and denormals are PyTorch's too: NaN where
 * PyTorch gives NaN, such as SiLU(-inf) = -inf x 0.
 */
#ifndef MLPD_KERNELS_ACTIVATIONS_H
#define MLPD_KERNELS_ACTIVATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Each with its parameters in the order in which struct activation has them; e(x) is exp(x) - 1. */
enum activation_type {
    ACTIVATION_CLAMP,     /* low, high: ReLU6, Hardtanh */
    ACTIVATION_LEAKY,     /* slope: x > 0 ? x : slope x */
    ACTIVATION_ELU,       /* positive, negative, inner: x > 0 ? positive x : negative e(inner x); SELU, CELU too */
    ACTIVATION_GELU,      /* x (1 + erf(x / sqrt 2)) / 2 */
    ACTIVATION_GELU_TANH, /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
    ACTIVATION_SILU,      /* x sigmoid(x) */
    ACTIVATION_MISH,      /* x tanh(log(1 + exp(x))) */
    ACTIVATION_SIGMOID,   /* 1 / (1 + exp(-x)) */
    ACTIVATION_TANH,      /* tanh(x) */
    ACTIVATION_HARDSIGMOID, /* clamp(x + 3, 0, 6) / 6 */
    ACTIVATION_HARDSWISH,   /* x clamp(x + 3, 0, 6) / 6 */
    ACTIVATION_SOFTPLUS,    /* beta, threshold: beta x > threshold ? x : log(1 + exp(beta x)) / beta */
    ACTIVATION_SOFTSIGN,    /* x / (1 + |x|) */
    ACTIVATION_LOG_SIGMOID, /* log(sigmoid(x)) */
    ACTIVATION_COUNT
};

enum { ACTIVATION_PARAMETERS_MAX = 3 };

struct activation {
    enum activation_type type;
    float parameters[ACTIVATION_PARAMETERS_MAX]; /* those that the type has; the others are not read */
};

struct activation_table {
    const char
        *name; /* that of the table in kernels/kernels.h beside which it stands: "generic", "avx2", "avx512" */

    /* Whether this processor and this operating system can run it. */
    bool (*supported)(void);

    /* y[i] = activation(x[i]) for i in [0, count). x and y have any alignment; they are the same or do not overlap. */
    void (*apply)(const struct activation *activation, const float *x, size_t count, float *y);
};

/* NULL-terminated, slowest first. */
extern const struct activation_table *const activation_tables[];

/* The table of that name; the fastest that runs here where kernels of that name have none of their own. Never NULL. */
const struct activation_table *activation_table_for(const char *kernels_name);

#endif
