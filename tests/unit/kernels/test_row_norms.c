#include "kernels/row_norms.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/unit.h"

enum { ROWS = 5, WIDTH_MAX = 70 };

static float random_float(void)
{
    static uint32_t state = 7;
    state = state * 1664525U + 1013904223U;
    return (float)(int32_t)state * 0x1p-30F;
}

static void fill(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = random_float();
}

static void reference_layer_norm(const float *x, size_t n, double eps, double *y)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
    for (size_t i = 0; i < n; i++)
        y[i] = ((double)x[i] - mean) / sqrt(variance + eps);
}

START_TEST(layer_norm_normalises_each_row_at_any_width)
{
    float x[ROWS * WIDTH_MAX], y[ROWS * WIDTH_MAX], weight[WIDTH_MAX], bias[WIDTH_MAX];
    double expected[WIDTH_MAX];
    fill(weight, WIDTH_MAX);
    fill(bias, WIDTH_MAX);
    for (size_t n = 1; n <= WIDTH_MAX; n++) {
        fill(x, ROWS * n);
        kernels_layer_norm(x, ROWS, n, weight, bias, 1e-5, y);
        for (size_t r = 0; r < ROWS; r++) {
            reference_layer_norm(x + r * n, n, 1e-5, expected);
            for (size_t i = 0; i < n; i++)
                ck_assert_double_eq_tol((double)y[r * n + i], expected[i] * (double)weight[i] + (double)bias[i],
                                        1e-6);
        }
    }
}
END_TEST

START_TEST(layer_norm_does_without_weight_and_bias)
{
    const float x[] = {1, 2, 3, 4};
    float y[4];
    kernels_layer_norm(x, 1, 4, NULL, NULL, 0, y);
    for (size_t i = 0; i < 4; i++)
        ck_assert_float_eq_tol(y[i], ((float)i - 1.5F) / sqrtf(1.25F), 3e-7F);
}
END_TEST

/* PyTorch's float sums would lose the differences here. */
START_TEST(layer_norm_keeps_small_differences_of_large_numbers)
{
    const float x[] = {16777210, 16777211, 16777212, 16777213};
    float y[4];
    kernels_layer_norm(x, 1, 4, NULL, NULL, 0, y);
    for (size_t i = 0; i < 4; i++)
        ck_assert_float_eq_tol(y[i], ((float)i - 1.5F) / sqrtf(1.25F), 3e-7F);
}
END_TEST

START_TEST(layer_norm_of_equal_numbers_is_the_bias)
{
    const float x[] = {3, 3, 3}, weight[] = {5, 5, 5}, bias[] = {1, 2, 3};
    float y[3];
    kernels_layer_norm(x, 1, 3, weight, bias, 1e-5, y);
    ck_assert_mem_eq(y, bias, sizeof y);
}
END_TEST

START_TEST(layer_norm_makes_nan_of_a_row_that_is_not_finite_and_of_no_other)
{
    float x[] = {1, 2, 3, INFINITY, 2, 3, 4, 5, 6, NAN, 1, 1}, y[12];
    kernels_layer_norm(x, 4, 3, NULL, NULL, 1e-5, y);
    for (size_t i = 0; i < 12; i++)
        ck_assert_int_eq(isnan(y[i]) != 0, (i / 3) % 2);
}
END_TEST

START_TEST(scale_shift_goes_by_column)
{
    const float x[] = {1, 2, 3, 4, 5, 6}, scale[] = {2, 0, -1}, shift[] = {10, 20, 30};
    const float expected[] = {12, 20, 27, 18, 20, 24};
    float y[6];
    kernels_scale_shift(x, 2, 3, scale, shift, y);
    ck_assert_mem_eq(y, expected, sizeof y);
}
END_TEST

START_TEST(log_softmax_is_the_logarithm_of_each_rows_softmax)
{
    float x[ROWS * 9], y[ROWS * 9];
    fill(x, ROWS * 9);
    kernels_log_softmax(x, ROWS, 9, y);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (size_t i = 0; i < 9; i++)
            sum += exp((double)x[r * 9 + i]);
        for (size_t i = 0; i < 9; i++)
            ck_assert_double_eq_tol((double)y[r * 9 + i], (double)x[r * 9 + i] - log(sum), 3e-7);
    }
}
END_TEST

START_TEST(log_softmax_is_stable_where_softmax_is_zero)
{
    float x[] = {1000, -1000, 0, FLT_MAX, FLT_MAX, -FLT_MAX};
    kernels_log_softmax(x, 2, 3, x);
    ck_assert_float_eq(x[0], 0);
    ck_assert_float_eq(x[1], -2000);
    ck_assert_float_eq(x[2], -1000);
    ck_assert_float_eq_tol(x[3], -0.6931472F, 1e-7F);
    ck_assert_float_eq(x[4], x[3]);
    ck_assert(x[5] == -INFINITY);
}
END_TEST

START_TEST(log_softmax_keeps_nan_in_its_row)
{
    float x[] = {1, NAN, 2, 1, 1, 1}, y[6];
    kernels_log_softmax(x, 2, 3, y);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_float_nan(y[i]);
        ck_assert_float_eq_tol(y[3 + i], -1.0986123F, 1e-7F);
    }
    kernels_log_softmax(x, 2, 0, y);
}
END_TEST

START_TEST(exp_and_sigmoid_make_probabilities_of_their_logarithms_and_logits)
{
    const float x[] = {0, -1, -200, -INFINITY};
    float y[4];
    kernels_exp(x, 4, y);
    ck_assert_float_eq(y[0], 1);
    ck_assert_float_eq_tol(y[1], 0.36787944F, 1e-7F);
    ck_assert_float_eq(y[2], 0);
    ck_assert_float_eq(y[3], 0);
    kernels_sigmoid(x, 4, y);
    ck_assert_float_eq(y[0], 0.5F);
    ck_assert_float_eq_tol(y[1], 0.26894142F, 1e-7F);
    ck_assert_float_eq(y[2], 0);
    ck_assert_float_eq(y[3], 0);
}
END_TEST

START_TEST(a_rows_bits_do_not_depend_on_the_rows_beside_it)
{
    enum { N = 37 };
    float x[ROWS * N], whole[ROWS * N], alone[ROWS * N], weight[N], bias[N];
    fill(x, ROWS * N);
    fill(weight, N);
    fill(bias, N);
    kernels_layer_norm(x, ROWS, N, weight, bias, 1e-5, whole);
    for (size_t r = 0; r < ROWS; r++)
        kernels_layer_norm(x + r * N, 1, N, weight, bias, 1e-5, alone + r * N);
    ck_assert_mem_eq(alone, whole, sizeof whole);
    kernels_scale_shift(x, ROWS, N, weight, bias, whole);
    for (size_t r = 0; r < ROWS; r++)
        kernels_scale_shift(x + r * N, 1, N, weight, bias, alone + r * N);
    ck_assert_mem_eq(alone, whole, sizeof whole);
    kernels_log_softmax(x, ROWS, N, whole);
    for (size_t r = 0; r < ROWS; r++)
        kernels_log_softmax(x + r * N, 1, N, alone + r * N);
    ck_assert_mem_eq(alone, whole, sizeof whole);
}
END_TEST

UNIT_MAIN("kernels/row_norms", layer_norm_normalises_each_row_at_any_width, layer_norm_does_without_weight_and_bias,
          layer_norm_keeps_small_differences_of_large_numbers, layer_norm_of_equal_numbers_is_the_bias,
          layer_norm_makes_nan_of_a_row_that_is_not_finite_and_of_no_other, scale_shift_goes_by_column,
          log_softmax_is_the_logarithm_of_each_rows_softmax, log_softmax_is_stable_where_softmax_is_zero,
          log_softmax_keeps_nan_in_its_row, exp_and_sigmoid_make_probabilities_of_their_logarithms_and_logits,
          a_rows_bits_do_not_depend_on_the_rows_beside_it)
