/* Every table's activations against libm in double, over all exponents. What PyTorch makes of awkward numbers is compared
 * in tests/unit/engine/test_layer_classes.c. */
#include "kernels/activations.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

static const struct activation activations[ACTIVATION_COUNT] = {
    {ACTIVATION_CLAMP, {-1.5F, 2.0F}},
    {ACTIVATION_LEAKY, {0.01F}},
    {ACTIVATION_ELU, {1.05F, 1.75F, 1.0F}},
    {ACTIVATION_GELU, {0}},
    {ACTIVATION_GELU_TANH, {0}},
    {ACTIVATION_SILU, {0}},
    {ACTIVATION_MISH, {0}},
    {ACTIVATION_SIGMOID, {0}},
    {ACTIVATION_TANH, {0}},
    {ACTIVATION_HARDSIGMOID, {0}},
    {ACTIVATION_HARDSWISH, {0}},
    {ACTIVATION_SOFTPLUS, {2.0F, 30.0F}},
    {ACTIVATION_SOFTSIGN, {0}},
    {ACTIVATION_LOG_SIGMOID, {0}},
};

/* ---- the reference ---- */

static double reference_clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double reference_gelu_tanh(double x)
{
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double reference(const struct activation *activation, double x)
{
    const float *p = activation->parameters;
    switch (activation->type) {
    case ACTIVATION_CLAMP: return reference_clamp(x, (double)p[0], (double)p[1]);
    case ACTIVATION_LEAKY: return x > 0 ? x : x * (double)p[0];
    case ACTIVATION_ELU: return x > 0 ? x * (double)p[0] : (double)p[1] * expm1(x * (double)p[2]);
    case ACTIVATION_GELU: return x * 0.5 * erfc(-x * M_SQRT1_2);
    case ACTIVATION_GELU_TANH: return reference_gelu_tanh(x);
    case ACTIVATION_SILU: return x / (1 + exp(-x));
    case ACTIVATION_MISH: return x * tanh(log1p(exp(x)));
    case ACTIVATION_SIGMOID: return 1 / (1 + exp(-x));
    case ACTIVATION_TANH: return tanh(x);
    case ACTIVATION_HARDSIGMOID: return reference_clamp(x + 3, 0, 6) / 6;
    case ACTIVATION_HARDSWISH: return x * reference_clamp(x + 3, 0, 6) / 6;
    case ACTIVATION_SOFTPLUS:
        return x * (double)p[0] > (double)p[1] ? x : log1p(exp(x * (double)p[0])) / (double)p[0];
    case ACTIVATION_SOFTSIGN: return x / (1 + fabs(x));
    case ACTIVATION_LOG_SIGMOID: return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x));
    case ACTIVATION_COUNT: break;
    }
    return NAN;
}

/* What kernels/activations.h promises. */
static double tolerance(enum activation_type type, double expected)
{
    bool gelu = type == ACTIVATION_GELU || type == ACTIVATION_GELU_TANH;
    return fabs(expected) * (gelu ? 2e-6 : 3e-7) + (gelu ? 1e-9 : 1e-37);
}

/* ---- over all floats, sparsely ---- */

enum { MANTISSAS = 67, PER_EXPONENT = MANTISSAS + 2, EXPONENTS = 255, FLOATS = EXPONENTS * PER_EXPONENT };

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* For each exponent, that of denormals included, the first and the last float of it and some between. */
static void fill_exponents(float x[FLOATS], uint32_t sign)
{
    for (uint32_t exponent = 0; exponent < EXPONENTS; exponent++)
        for (uint32_t i = 0; i < PER_EXPONENT; i++) {
            uint32_t mantissa = i == MANTISSAS  ? 0x7FFFFFU
                                : i > MANTISSAS ? 0
                                                : (i * 125201U + exponent * 7919U) & 0x7FFFFFU;
            *x++ = float_of(sign << 31 | exponent << 23 | mantissa);
        }
}

static void check_exponents(const struct activation_table *table, const struct activation *activation)
{
    static float x[FLOATS], y[FLOATS];
    for (uint32_t sign = 0; sign < 2; sign++) {
        fill_exponents(x, sign);
        table->apply(activation, x, FLOATS, y);
        for (size_t i = 0; i < FLOATS; i++) {
            double expected = reference(activation, (double)x[i]);
            /* A sixth of the largest float times 6 overflows here as in PyTorch. */
            bool overflows = expected > (double)FLT_MAX ||
                             (activation->type == ACTIVATION_HARDSWISH && x[i] > FLT_MAX / 6);
            if (overflows ? y[i] < FLT_MAX
                          : !(fabs((double)y[i] - expected) <= tolerance(activation->type, expected)))
                ck_abort_msg("%s: activation %d of %.9g is %.9g, %.9g was expected", table->name, activation->type,
                             (double)x[i], (double)y[i], expected);
        }
    }
}

START_TEST(every_activation_is_what_libm_says_over_all_exponents)
{
    for (size_t t = 0; activation_tables[t]; t++) {
        if (!activation_tables[t]->supported()) {
            UNIT_SKIP("this processor does not run the activations %s", activation_tables[t]->name);
            continue;
        }
        for (size_t i = 0; i < ACTIVATION_COUNT; i++)
            check_exponents(activation_tables[t], &activations[i]);
    }
}
END_TEST

/* Densely where the exponentials change: each float of 2^-12 between -110 and 110. */
static void check_densely(const struct activation_table *table, const struct activation *activation)
{
    enum { COUNT = 220 * 4096 };
    static float x[COUNT], y[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        x[i] = -110.0F + (float)i / 4096.0F;
    table->apply(activation, x, COUNT, y);
    for (size_t i = 0; i < COUNT; i++) {
        double expected = reference(activation, (double)x[i]);
        if (!(fabs((double)y[i] - expected) <= tolerance(activation->type, expected)))
            ck_abort_msg("%s: activation %d of %.9g is %.9g, %.9g was expected", table->name, activation->type,
                         (double)x[i], (double)y[i], expected);
    }
}

START_TEST(every_activation_is_what_libm_says_densely_between_minus_110_and_110)
{
    for (size_t t = 0; activation_tables[t]; t++)
        for (size_t i = 0; activation_tables[t]->supported() && i < ACTIVATION_COUNT; i++)
            check_densely(activation_tables[t], &activations[i]);
}
END_TEST

/* ---- infinities and NaN ---- */

static float apply_one(const struct activation_table *table, const struct activation *activation, float x)
{
    float y;
    table->apply(activation, &x, 1, &y);
    return y;
}

START_TEST(every_activation_keeps_nan)
{
    for (size_t t = 0; activation_tables[t]; t++)
        for (size_t i = 0; activation_tables[t]->supported() && i < ACTIVATION_COUNT; i++) {
            ck_assert_float_nan(apply_one(activation_tables[t], &activations[i], NAN));
            ck_assert_float_nan(apply_one(activation_tables[t], &activations[i], -NAN));
        }
}
END_TEST

START_TEST(infinities_become_what_pytorch_makes_of_them)
{
    static const float below[ACTIVATION_COUNT] = {-1.5F, -INFINITY, -1.75F, NAN, NAN, NAN, NAN,
                                                  0,     -1,        0,      NAN, 0,   NAN, -INFINITY};
    static const float above[ACTIVATION_COUNT] = {2, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY,
                                                  1, 1,        1,        INFINITY, INFINITY, NAN,      0};
    for (size_t t = 0; activation_tables[t]; t++)
        for (size_t i = 0; activation_tables[t]->supported() && i < ACTIVATION_COUNT; i++) {
            float low = apply_one(activation_tables[t], &activations[i], -INFINITY);
            float high = apply_one(activation_tables[t], &activations[i], INFINITY);
            ck_assert_msg(isnan(below[i]) ? isnan(low) : low == below[i], "%zu of -infinity is %g", i, (double)low);
            ck_assert_msg(isnan(above[i]) ? isnan(high) : high == above[i], "%zu of infinity is %g", i,
                          (double)high);
        }
}
END_TEST

/* An activation that only rounds where the float32 result is exact gives it exactly. */
START_TEST(exact_results_are_exact)
{
    for (size_t t = 0; activation_tables[t]; t++) {
        const struct activation_table *table = activation_tables[t];
        if (!table->supported())
            continue;
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_SIGMOID], 0), 0.5F);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_TANH], 0), 0);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_TANH], 20), 1);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_TANH], -20), -1);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_GELU], 10), 10);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_SILU], 100), 100);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_HARDSIGMOID], 0), 0.5F);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_SOFTPLUS], 16), 16);
        ck_assert_float_eq(apply_one(table, &activations[ACTIVATION_ELU], -100), -1.75F);
    }
}
END_TEST

/* ---- position and count ---- */

enum { SOME = 101 };

static void fill_some(float *x)
{
    uint32_t state = 99;
    for (size_t i = 0; i < SOME; i++) {
        state = state * 1664525U + 1013904223U;
        x[i] = (float)(int32_t)state * 0x1p-28F;
    }
}

static void check_positions(const struct activation_table *table, const struct activation *activation)
{
    float x[SOME], whole[SOME], y[SOME + 2];
    fill_some(x);
    table->apply(activation, x, SOME, whole);
    for (size_t begin = 0; begin < SOME; begin++)
        for (size_t count = 0; count <= SOME - begin && count < 40; count++) {
            for (size_t i = 0; i < SOME + 2; i++)
                y[i] = -77.0F;
            table->apply(activation, x + begin, count, y + 1);
            ck_assert_mem_eq(y + 1, whole + begin, count * sizeof *y);
            ck_assert_float_eq(y[0], -77.0F);
            ck_assert_float_eq(y[count + 1], -77.0F);
        }
}

START_TEST(an_elements_bits_do_not_depend_on_its_position_or_on_its_neighbours)
{
    for (size_t t = 0; activation_tables[t]; t++)
        for (size_t i = 0; activation_tables[t]->supported() && i < ACTIVATION_COUNT; i++)
            check_positions(activation_tables[t], &activations[i]);
}
END_TEST

START_TEST(results_may_take_the_place_of_the_numbers)
{
    for (size_t t = 0; activation_tables[t]; t++)
        for (size_t i = 0; activation_tables[t]->supported() && i < ACTIVATION_COUNT; i++) {
            float x[SOME], y[SOME];
            fill_some(x);
            activation_tables[t]->apply(&activations[i], x, SOME, y);
            activation_tables[t]->apply(&activations[i], x, SOME, x);
            ck_assert_mem_eq(x, y, sizeof x);
        }
}
END_TEST

/* ---- tables ---- */

START_TEST(a_table_is_found_by_the_name_of_its_kernels_and_another_name_gets_the_best)
{
    const struct activation_table *best = activation_table_for("of the future");
    ck_assert(best->supported());
    ck_assert_str_eq(activation_table_for("generic")->name, "generic");
    for (size_t t = 0; activation_tables[t]; t++)
        if (activation_tables[t]->supported()) {
            ck_assert_ptr_eq(activation_table_for(activation_tables[t]->name), activation_tables[t]);
            ck_assert(t == 0 || best != activation_tables[t - 1]);
        }
}
END_TEST

UNIT_MAIN("kernels/activations", every_activation_is_what_libm_says_over_all_exponents,
          every_activation_is_what_libm_says_densely_between_minus_110_and_110, every_activation_keeps_nan,
          infinities_become_what_pytorch_makes_of_them, exact_results_are_exact,
          an_elements_bits_do_not_depend_on_its_position_or_on_its_neighbours,
          results_may_take_the_place_of_the_numbers,
          a_table_is_found_by_the_name_of_its_kernels_and_another_name_gets_the_best)
