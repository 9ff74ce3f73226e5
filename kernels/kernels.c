/* What no instruction set needs to speed up: the choice of a table, and the operations on a handful of floats. */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "kernels/tables.h"

const struct kernels *const kernels_all[] = {&kernels_generic, &kernels_avx2, &kernels_avx512, NULL};

bool kernels_cpu_has_generic(void)
{
    return true;
}

/* __builtin_cpu_supports asks the operating system too (XCR0: does it save the wide registers when it switches
 * threads?), in libgcc and in clang's compiler-rt. */
bool kernels_cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool kernels_cpu_has_avx512(void)
{
    return kernels_cpu_has_avx2() && __builtin_cpu_supports("avx512f");
}

const struct kernels *kernels_find(const char *name)
{
    for (size_t i = 0; kernels_all[i]; i++)
        if (strcmp(kernels_all[i]->name, name) == 0)
            return kernels_all[i];
    return NULL;
}

const struct kernels *kernels_best(void)
{
    const struct kernels *best = kernels_all[0];
    for (size_t i = 1; kernels_all[i]; i++)
        if (kernels_all[i]->supported())
            best = kernels_all[i];
    return best;
}

static float max_of(const float *x, size_t n)
{
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static void softmax_row(const float *x, size_t n, float *y)
{
    float max = max_of(x, n);
    double sum = 0.0; /* at least 1: the largest adds exp(0) */
    for (size_t i = 0; i < n; i++) {
        y[i] = expf(x[i] - max);
        sum += (double)y[i];
    }
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)y[i] / sum);
}

void kernels_softmax(const float *x, size_t rows, size_t n, float *y)
{
    if (n == 0)
        return;
    for (size_t r = 0; r < rows; r++)
        softmax_row(x + r * n, n, y + r * n);
}

size_t kernels_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n && !isnan(x[best]); i++)
        if (x[i] > x[best] || isnan(x[i]))
            best = i;
    return best;
}

/* Counts without leaving early, so that the compiler can take four floats at a time. */
static bool block_is_finite(const float *x, size_t count)
{
    const uint32_t exponent = 0x7F800000U; /* all ones in infinity and NaN only */
    uint32_t bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return !bad;
}

bool kernels_all_finite(const float *x, size_t count, size_t *ret_index)
{
    enum { BLOCK = 64 };
    size_t i = 0;
    while (i + BLOCK <= count && block_is_finite(x + i, BLOCK))
        i += BLOCK;
    while (i < count && block_is_finite(x + i, 1))
        i++;
    if (i < count && ret_index)
        *ret_index = i;
    return i == count;
}
