#include "tests/bench/peak.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>
#include <time.h>

double thread_cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

/* Independent multiply-adds, as many as keep every unit busy; one function for each width of register. */
#define PEAK_FUNCTION(name, isa, vector, set1, multiply_add)                                               \
    __attribute__((target(isa))) static double name(void)                                                  \
    {                                                                                                      \
        enum { CHAINS = 12, TURNS = 40000 };                                                               \
        vector sum[CHAINS], a = set1(1.0F), b = set1(1e-9F);                                               \
        for (int c = 0; c < CHAINS; c++)                                                                   \
            sum[c] = set1((float)c);                                                                       \
        double start = thread_cpu_us();                                                                    \
        for (int turn = 0; turn < TURNS; turn++)                                                           \
            _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sum[c] = multiply_add(sum[c], a, b); \
        double us = thread_cpu_us() - start;                                                               \
        for (int c = 0; c < CHAINS; c++) {                                                                 \
            volatile __typeof__(a) kept = sum[c];                                                          \
            (void)kept;                                                                                    \
        }                                                                                                  \
        const size_t lanes = sizeof a / sizeof(float);                                                     \
        return 2.0 * CHAINS * TURNS * (double)lanes / us * 1e-3;                                           \
    }

#define SSE_MULTIPLY_ADD(x, a, b) _mm_add_ps(_mm_mul_ps(x, a), b)
PEAK_FUNCTION(peak_generic, "sse2", __m128, _mm_set1_ps, SSE_MULTIPLY_ADD)
PEAK_FUNCTION(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
PEAK_FUNCTION(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)

double peak_gflops(const char *kernels_name)
{
    if (strcmp(kernels_name, "avx512") == 0)
        return fmax(peak_avx512(), peak_avx2()); /* some processors lower their clock for wide registers */
    return strcmp(kernels_name, "avx2") == 0 ? peak_avx2() : peak_generic();
}
