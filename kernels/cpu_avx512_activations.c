/* For processors with AVX-512: vectors of sixteen floats. Nothing beyond AVX-512 F is used. */
#include <immintrin.h>
#include <stdint.h>

#include "kernels/activation_tables.h"
#include "kernels/tables.h"

typedef __m512 vector;
typedef uint32_t vector_bits __attribute__((vector_size(64)));
enum { VECTOR_FLOATS = 16 };

static inline vector vector_set1(float x)
{
    return _mm512_set1_ps(x);
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vector vector_if_less(vector a, vector b, vector x, vector y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

#include "kernels/activation_loops.h"

const struct activation_table activations_avx512 = {
    .name = "avx512",
    .supported = kernels_cpu_has_avx512,
    .apply = apply_activation,
};
