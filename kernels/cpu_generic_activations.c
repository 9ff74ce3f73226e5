/* For any processor: vectors of four floats, which the compiler maps to what there is (SSE2 on x86-64). */
#include <stdint.h>

#include "kernels/activation_tables.h"
#include "kernels/tables.h"

typedef float vector __attribute__((vector_size(16)));
typedef uint32_t vector_bits __attribute__((vector_size(16)));
enum { VECTOR_FLOATS = 4 };

static inline vector vector_set1(float x)
{
    return (vector){x, x, x, x};
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return a * b + c;
}

static inline vector vector_if_less(vector a, vector b, vector x, vector y)
{
    const vector_bits less = (vector_bits)(a < b);
    return (vector)((less & (vector_bits)x) | (~less & (vector_bits)y));
}

#include "kernels/activation_loops.h"

const struct activation_table activations_generic = {
    .name = "generic",
    .supported = kernels_cpu_has_generic,
    .apply = apply_activation,
};
