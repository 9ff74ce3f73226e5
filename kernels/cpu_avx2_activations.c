/* For processors with AVX2 and FMA: vectors of eight floats. */
#include <immintrin.h>
#include <stdint.h>

#include "kernels/activation_tables.h"
#include "kernels/tables.h"

typedef __m256 vector;
typedef uint32_t vector_bits __attribute__((vector_size(32)));
enum { VECTOR_FLOATS = 8 };

static inline vector vector_set1(float x)
{
    return _mm256_set1_ps(x);
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vector vector_if_less(vector a, vector b, vector x, vector y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

#include "kernels/activation_loops.h"

const struct activation_table activations_avx2 = {
    .name = "avx2",
    .supported = kernels_cpu_has_avx2,
    .apply = apply_activation,
};
