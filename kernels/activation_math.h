/* exp and its relatives over vectors of floats, written once. Each cpu_*_activations.c defines these for its instruction
 * set and includes kernels/activation_loops.h, which includes this file; everything is static, so that no code compiled
 * for one instruction set can be merged into another's. Before the inclusion stand
 *
 *     vector, vector_bits          a register of floats, and one of as many uint32_t, both of GCC's vector types
 *     VECTOR_FLOATS                how many floats it holds
 *     vector_set1(x)               x in every lane
 *     vector_fma(a, b, c)          a b + c, rounded once or twice, but always in the same way
 *     vector_if_less(a, b, x, y)   in each lane a < b ? x : y, so that a NaN in a or b takes y
 *
 * The errors stated are the largest that were found over every eleventh float, in units of the last place of the result (ulp,
 * 2^-24 to 2^-23 of it); they are the same with and without a fused multiply-add. Below the smallest normal float an ulp is
 * 1.4e-45. tests/unit/kernels/test_activations.c holds the activations to what kernels/activations.h promises.
 */
#ifndef MLPD_KERNELS_ACTIVATION_MATH_H
#define MLPD_KERNELS_ACTIVATION_MATH_H

#define INLINED static inline __attribute__((always_inline))

INLINED vector vector_abs(vector x)
{
    return (vector)((vector_bits)x & 0x7FFFFFFFU);
}

/* The magnitude of one and the sign of the other. */
INLINED vector vector_copy_sign(vector magnitude, vector sign)
{
    return (vector)((vector_bits)magnitude | ((vector_bits)sign & 0x80000000U));
}

/* Within [low, high]; NaN stays. */
INLINED vector vector_clamp(vector x, vector low, vector high)
{
    x = vector_if_less(x, low, low, x);
    return vector_if_less(high, x, high, x);
}

/* c[count - 1] x^(count - 1) + ... + c[0] */
INLINED vector vector_polynomial(vector x, const float *c, size_t count)
{
    vector sum = vector_set1(c[count - 1]);
#pragma GCC unroll 16
    for (size_t i = count - 1; i > 0; i--)
        sum = vector_fma(sum, x, vector_set1(c[i - 1]));
    return sum;
}

/* 2^n for n in [-126, 127]; a negative n is its two's complement. */
INLINED vector vector_power_of_two(vector_bits n)
{
    return (vector)((n + 127U) << 23);
}

/* exp(r) - 1 and n, where x = n log 2 + r with the smallest |r|, for x in [-104, 89]. The last bits of log 2 are taken
 * off apart: n times its first 9 bits is exact. The polynomial (minimax over |r| <= 0.348) errs by 4e-9 of r. NaN gives
 * NaN, and an n that has no meaning. */
INLINED vector vector_reduced_expm1(vector x, vector_bits *ret_n)
{
    static const float c[] = {0.5F, 0.166665182F, 0.0416662022F, 0.00836902484F, 0.00139507256F};
    const vector whole = vector_set1(
        12582912.0F); /* 1.5 x 2^23: adding it rounds to a whole number in the low bits */
    const vector shifted = vector_fma(x, vector_set1(1.44269504F), whole);
    const vector n = shifted - whole;
    vector r = vector_fma(n, vector_set1(-0.693359375F), x);
    r = vector_fma(n, vector_set1(2.12194440e-4F), r);
    *ret_n = (vector_bits)shifted - (vector_bits)whole;
    return vector_fma(r * r, vector_polynomial(r, c, sizeof c / sizeof *c), r);
}

/* Within 1.5 ulp; 0 from -104 down, infinity from 88.73 up. The power of two comes in two factors, so that a result
 * that is no normal float is rounded to its place at the end alone. */
INLINED vector vector_exp(vector x)
{
    vector_bits n;
    const vector p = vector_reduced_expm1(vector_clamp(x, vector_set1(-104.0F), vector_set1(89.0F)), &n);
    const vector_bits half = ((n + 256U) >> 1) - 128U;
    return (p + 1.0F) * vector_power_of_two(half) * vector_power_of_two(n - half);
}

/* exp(x) - 1 within 2 ulp. Below -25 it is -1. Twice half of it, since 2^128 is no float. */
INLINED vector vector_expm1(vector x)
{
    vector_bits n;
    const vector p = vector_reduced_expm1(vector_clamp(x, vector_set1(-25.0F), vector_set1(89.0F)), &n);
    const vector scale = vector_power_of_two(n - 1U);
    return vector_fma(scale, p, scale - 0.5F) * 2.0F;
}

/* log(1 + z) for z in [0, 1], within 2 ulp: 2 artanh(s) with s = z / (2 + z), where s <= 1/3. */
INLINED vector vector_log1p(vector z)
{
    static const float c[] = {0.333333373F, 0.199994385F, 0.143084437F, 0.107138209F, 0.121505F};
    const vector s = z / (z + 2.0F), twice = s + s, w = s * s;
    return vector_fma(twice * w, vector_polynomial(w, c, sizeof c / sizeof *c), twice);
}

/* exp(-|x|), from which all below are made: it never overflows, and loses nothing to 1 where |x| is large. */
INLINED vector vector_exp_of_minus_abs(vector x)
{
    return vector_exp(-vector_abs(x));
}

/* Within 2.4 ulp; where the result is no normal float, the rounding of exp counts more. */
INLINED vector vector_sigmoid(vector x)
{
    const vector z = vector_exp_of_minus_abs(x), one = vector_set1(1.0F);
    return vector_if_less(x, vector_set1(0.0F), z, one) / (one + z);
}

/* Within 2.5 ulp: with t = exp(-2|x|) - 1, its magnitude is -t / (t + 2). */
INLINED vector vector_tanh(vector x)
{
    const vector t = vector_expm1(vector_abs(x) * -2.0F);
    return vector_copy_sign(vector_abs(t / (t + 2.0F)), x);
}

/* log(1 + exp(x)) within 2.8 ulp. */
INLINED vector vector_log_of_one_plus_exp(vector x)
{
    const vector zero = vector_set1(0.0F);
    return vector_if_less(zero, x, x, zero) + vector_log1p(vector_exp_of_minus_abs(x));
}

/* The share of the standard normal distribution beyond |x|, erfc(|x| / sqrt 2) / 2, within 3e-7 + 6e-8 x^2 / 2 of it:
 * where |x| is large the rounding of x^2 grows under exp. exp(x^2 / 2) times it is smooth: with
 * t = 1 / (1 + 0.4 |x| / sqrt 2) it is t times a polynomial of t (minimax, 1.3e-7). */
INLINED vector vector_normal_tail(vector x)
{
    static const float c[] = {0.112837933F,    0.112834804F,  0.103921227F,   0.084272191F, 0.070710033F,
                              -0.00278942152F, 0.0845229775F, -0.0914367885F, 0.0251271073F};
    const vector t = 1.0F / vector_fma(vector_abs(x), vector_set1(0.282842712F), vector_set1(1.0F));
    return vector_exp(x * x * -0.5F) * (t * vector_polynomial(t, c, sizeof c / sizeof *c));
}

#endif
