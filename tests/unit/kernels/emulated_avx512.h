/* kernels/cpu_avx512.c on any processor: its few intrinsics stand here as loops over sixteen floats, and the file
 * itself is compiled again over them. So its tile shapes, panels and tails run in every test, and only the intrinsics
 * themselves wait for a processor that has them.
 */
#ifndef MLPD_TESTS_UNIT_KERNELS_EMULATED_AVX512_H
#define MLPD_TESTS_UNIT_KERNELS_EMULATED_AVX512_H

#include <immintrin.h> /* before its names are taken; cpu_avx512.c's own inclusion then adds nothing */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    float lane[16];
} emulated_m512;

/* Called, not inlined: a tile has hundreds of them, and a sanitizer takes minutes over such a function. */
#define EMULATED_CALL __attribute__((noinline))

#define EMULATED_LANES(expression)     \
    emulated_m512 result;              \
    for (int i = 0; i < 16; i++)       \
        result.lane[i] = (expression); \
    return result

static EMULATED_CALL emulated_m512 emulated_loadu(const float *p)
{
    EMULATED_LANES(p[i]);
}

static EMULATED_CALL void emulated_storeu(float *p, emulated_m512 v)
{
    memcpy(p, v.lane, sizeof v.lane);
}

static EMULATED_CALL emulated_m512 emulated_set1(float x)
{
    EMULATED_LANES(x);
}

static EMULATED_CALL emulated_m512 emulated_add(emulated_m512 a, emulated_m512 b)
{
    EMULATED_LANES(a.lane[i] + b.lane[i]);
}

static EMULATED_CALL emulated_m512 emulated_fmadd(emulated_m512 a, emulated_m512 b, emulated_m512 c)
{
    EMULATED_LANES(fmaf(a.lane[i], b.lane[i], c.lane[i]));
}

/* As the instruction does it: the second operand where the comparison is false, so for NaN and for two zeros. */
static EMULATED_CALL emulated_m512 emulated_max(emulated_m512 a, emulated_m512 b)
{
    EMULATED_LANES(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]);
}

/* The one predicate that cpu_avx512.c asks for: not equal, or NaN. */
static EMULATED_CALL uint16_t emulated_cmp_mask(emulated_m512 a, emulated_m512 b, int predicate)
{
    unsigned mask = 0;
    for (int i = 0; i < 16; i++)
        mask |= (unsigned)(a.lane[i] != b.lane[i]) << i;
    return predicate == _CMP_NEQ_UQ ? (uint16_t)mask : 0;
}

#undef _mm512_cmp_ps_mask /* a macro in clang's header */
#define __m512              emulated_m512
#define _mm512_loadu_ps     emulated_loadu
#define _mm512_storeu_ps    emulated_storeu
#define _mm512_set1_ps      emulated_set1
#define _mm512_add_ps       emulated_add
#define _mm512_fmadd_ps     emulated_fmadd
#define _mm512_setzero_ps() emulated_set1(0.0F)
#define _mm512_cmp_ps_mask  emulated_cmp_mask
#define _mm512_max_ps       emulated_max

#define kernels_avx512 kernels_avx512_emulated
#include "kernels/cpu_avx512.c"
#undef kernels_avx512

#endif
