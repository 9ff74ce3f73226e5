/* For processors with AVX-512: 32 registers of sixteen floats. A tile of 8 rows and 32 outputs takes 16 of them for its
 * sums, 2 for weights and some for inputs; lower tiles are wider, so that as many sums run side by side. One of 4 rows
 * is as fast as a taller one, and shares more zeros; one of 3 waits for its weights, which come from the L2 cache at 32
 * bytes a cycle. Nothing beyond AVX-512 F is used. */
#include <immintrin.h>

#include "kernels/tables.h"

typedef __m512 vector;
enum { VECTOR_FLOATS = 16, TILE_ROWS = 8, TILE_CUT = 7 };

#define SHAPES_128(SHAPE) SHAPE(1, 4) SHAPE(2, 4) SHAPE(3, 4)
#define SHAPES_64(SHAPE)  SHAPE(1, 2) SHAPE(2, 2) SHAPE(3, 2) SHAPE(4, 2) SHAPE(5, 2) SHAPE(6, 2) SHAPE(7, 2)
#define SHAPES_32(SHAPE) \
    SHAPE(1, 1) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1) SHAPE(5, 1) SHAPE(6, 1) SHAPE(7, 1) SHAPE(8, 1)
#define TILE_SHAPES(SHAPE) SHAPES_128(SHAPE) SHAPES_64(SHAPE) SHAPES_32(SHAPE) /* by their outputs */

static inline vector vector_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vector_store(float *p, vector v)
{
    _mm512_storeu_ps(p, v);
}

static inline vector vector_set1(float x)
{
    return _mm512_set1_ps(x);
}

static inline vector vector_add(vector a, vector b)
{
    return _mm512_add_ps(a, b);
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vector vector_max(vector a, vector b)
{
    return _mm512_max_ps(a, b);
}

static inline unsigned vector_nonzero(vector v)
{
    return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
}

#include "kernels/linear_tile.h"

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .supported = kernels_cpu_has_avx512,
    .linear_packed_floats = linear_packed_floats,
    .linear_pack = linear_pack,
    .linear = linear,
    .linear_scratch_bytes = linear_scratch_bytes,
    .relu = relu_in_place,
    .scale_u8 = scale_u8,
};
