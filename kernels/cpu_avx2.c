/* For processors with AVX2 and FMA: 16 registers of eight floats. A tile of 6 rows and 16 outputs takes 12 of them for
 * its sums, 2 for weights and 1 for an input. */
#include <immintrin.h>

#include "kernels/tables.h"

typedef __m256 vector;
enum { VECTOR_FLOATS = 8, TILE_ROWS = 6, TILE_CUT = 6 };

#define TILE_SHAPES(SHAPE) \
    SHAPE(1, 4)            \
    SHAPE(1, 2) SHAPE(1, 1) SHAPE(2, 2) SHAPE(2, 1) SHAPE(3, 2) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1)

static inline vector vector_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vector_store(float *p, vector v)
{
    _mm256_storeu_ps(p, v);
}

static inline vector vector_set1(float x)
{
    return _mm256_set1_ps(x);
}

static inline vector vector_add(vector a, vector b)
{
    return _mm256_add_ps(a, b);
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vector vector_max(vector a, vector b)
{
    return _mm256_max_ps(a, b);
}

static inline unsigned vector_nonzero(vector v)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

#include "kernels/linear_tile.h"

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .supported = kernels_cpu_has_avx2,
    .linear_packed_floats = linear_packed_floats,
    .linear_pack = linear_pack,
    .linear = linear,
    .linear_scratch_bytes = linear_scratch_bytes,
    .relu = relu_in_place,
    .scale_u8 = scale_u8,
};
