/* The activations themselves and the loops over them, from which each cpu_*_activations.c makes its table. What must
 * stand before the inclusion is listed in kernels/activation_math.h. */
#ifndef MLPD_KERNELS_ACTIVATION_LOOPS_H
#define MLPD_KERNELS_ACTIVATION_LOOPS_H

#include <math.h>
#include <string.h>

#include "kernels/activation_math.h"
#include "kernels/activations.h"

/* One activation; `p` are its parameters. */
typedef vector formula(vector x, const float *p);

INLINED vector clamp_of(vector x, const float *p)
{
    return vector_clamp(x, vector_set1(p[0]), vector_set1(p[1]));
}

INLINED vector leaky_of(vector x, const float *p)
{
    return vector_if_less(vector_set1(0.0F), x, x, x * p[0]);
}

INLINED vector elu_of(vector x, const float *p)
{
    return vector_if_less(vector_set1(0.0F), x, x * p[0], vector_expm1(x * p[2]) * p[1]);
}

/* The factor is the share of the normal distribution below x, and small where x is far below 0: no 1 + erf that loses
 * its digits. */
INLINED vector gelu_of(vector x, const float *p)
{
    (void)p;
    const vector tail = vector_normal_tail(x);
    return x * vector_if_less(x, vector_set1(0.0F), tail, 1.0F - tail);
}

/* (1 + tanh(u)) / 2 is sigmoid(2u). */
INLINED vector gelu_tanh_of(vector x, const float *p)
{
    (void)p;
    return x * vector_sigmoid(x * vector_fma(x * x, vector_set1(0.0713548163F), vector_set1(1.59576912F)));
}

INLINED vector sigmoid_of(vector x, const float *p)
{
    (void)p;
    return vector_sigmoid(x);
}

INLINED vector silu_of(vector x, const float *p)
{
    (void)p;
    return x * vector_sigmoid(x);
}

/* tanh(log(1 + e^x)) is (e^2x + 2e^x) / (e^2x + 2e^x + 2); for x > 0 both are divided by e^2x. */
INLINED vector mish_of(vector x, const float *p)
{
    (void)p;
    const vector z = vector_exp_of_minus_abs(x), zero = vector_set1(0.0F);
    const vector below = z * (z + 2.0F), above = vector_fma(z, vector_set1(2.0F), vector_set1(1.0F));
    return x *
           (vector_if_less(zero, x, above, below) / vector_if_less(zero, x, z * z * 2.0F + above, below + 2.0F));
}

INLINED vector tanh_of(vector x, const float *p)
{
    (void)p;
    return vector_tanh(x);
}

INLINED vector hardsigmoid_of(vector x, const float *p)
{
    (void)p;
    return vector_clamp(x + 3.0F, vector_set1(0.0F), vector_set1(6.0F)) / 6.0F;
}

/* In PyTorch's order, which overflows where x is above a sixth of the largest float. */
INLINED vector hardswish_of(vector x, const float *p)
{
    (void)p;
    return x * vector_clamp(x + 3.0F, vector_set1(0.0F), vector_set1(6.0F)) / 6.0F;
}

/* PyTorch's exp overflows where the threshold lets it, and so does this. */
INLINED vector softplus_of(vector x, const float *p)
{
    const vector scaled = x * p[0], overflow = vector_set1(88.7228394F);
    const vector soft = vector_if_less(overflow, scaled, vector_set1(INFINITY), vector_log_of_one_plus_exp(scaled));
    return vector_if_less(vector_set1(p[1]), scaled, x, soft / p[0]);
}

INLINED vector softsign_of(vector x, const float *p)
{
    (void)p;
    return x / (vector_abs(x) + 1.0F);
}

INLINED vector log_sigmoid_of(vector x, const float *p)
{
    (void)p;
    return -vector_log_of_one_plus_exp(-x);
}

INLINED vector vector_load_some(const float *p, size_t count)
{
    vector v = vector_set1(0.0F);
    memcpy(&v, p, count * sizeof *p);
    return v;
}

/* The last few elements go through a whole vector too. */
INLINED void apply_formula(formula *of, const float *p, const float *x, size_t count, float *y)
{
    size_t i = 0;
    for (; i + VECTOR_FLOATS <= count; i += VECTOR_FLOATS) {
        const vector v = of(vector_load_some(x + i, VECTOR_FLOATS), p);
        memcpy(y + i, &v, sizeof v);
    }
    if (i < count) {
        const vector v = of(vector_load_some(x + i, count - i), p);
        memcpy(y + i, &v, (count - i) * sizeof *y);
    }
}

static void apply_activation(const struct activation *activation, const float *x, size_t count, float *y)
{
    const float *p = activation->parameters;
    switch (activation->type) {
    case ACTIVATION_CLAMP: apply_formula(clamp_of, p, x, count, y); break;
    case ACTIVATION_LEAKY: apply_formula(leaky_of, p, x, count, y); break;
    case ACTIVATION_ELU: apply_formula(elu_of, p, x, count, y); break;
    case ACTIVATION_GELU: apply_formula(gelu_of, p, x, count, y); break;
    case ACTIVATION_GELU_TANH: apply_formula(gelu_tanh_of, p, x, count, y); break;
    case ACTIVATION_SILU: apply_formula(silu_of, p, x, count, y); break;
    case ACTIVATION_MISH: apply_formula(mish_of, p, x, count, y); break;
    case ACTIVATION_SIGMOID: apply_formula(sigmoid_of, p, x, count, y); break;
    case ACTIVATION_TANH: apply_formula(tanh_of, p, x, count, y); break;
    case ACTIVATION_HARDSIGMOID: apply_formula(hardsigmoid_of, p, x, count, y); break;
    case ACTIVATION_HARDSWISH: apply_formula(hardswish_of, p, x, count, y); break;
    case ACTIVATION_SOFTPLUS: apply_formula(softplus_of, p, x, count, y); break;
    case ACTIVATION_SOFTSIGN: apply_formula(softsign_of, p, x, count, y); break;
    case ACTIVATION_LOG_SIGMOID: apply_formula(log_sigmoid_of, p, x, count, y); break;
    case ACTIVATION_COUNT: break;
    }
}

#endif
