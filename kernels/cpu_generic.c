/* For any processor: vectors of four floats, which the compiler maps to what there is (SSE2 on x86-64). Not every
 * processor has a fused multiply-add, so here a product is rounded before it is added. */
#include <stdint.h>
#include <string.h>

#include "kernels/tables.h"

typedef float vector __attribute__((vector_size(16)));
typedef int32_t vector_mask __attribute__((vector_size(16)));
enum { VECTOR_FLOATS = 4, TILE_ROWS = 4, TILE_CUT = 4 };

#define TILE_SHAPES(SHAPE) SHAPE(1, 4) SHAPE(1, 2) SHAPE(1, 1) SHAPE(2, 2) SHAPE(2, 1) SHAPE(3, 1) SHAPE(4, 1)

static inline vector vector_load(const float *p)
{
    vector v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vector_store(float *p, vector v)
{
    memcpy(p, &v, sizeof v);
}

static inline vector vector_set1(float x)
{
    return (vector){x, x, x, x};
}

static inline vector vector_add(vector a, vector b)
{
    return a + b;
}

static inline vector vector_fma(vector a, vector b, vector c)
{
    return a * b + c;
}

static inline vector vector_max(vector a, vector b)
{
    const vector_mask a_is_larger = a > b;
    return (vector)((a_is_larger & (vector_mask)a) | (~a_is_larger & (vector_mask)b));
}

static inline unsigned vector_nonzero(vector v)
{
    unsigned mask = 0;
    for (int i = 0; i < VECTOR_FLOATS; i++)
        mask |= (unsigned)(v[i] != 0.0F) << i;
    return mask;
}

#include "kernels/linear_tile.h"

const struct kernels kernels_generic = {
    .name = "generic",
    .supported = kernels_cpu_has_generic,
    .linear_packed_floats = linear_packed_floats,
    .linear_pack = linear_pack,
    .linear = linear,
    .linear_scratch_bytes = linear_scratch_bytes,
    .relu = relu_in_place,
    .scale_u8 = scale_u8,
};
