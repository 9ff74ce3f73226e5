#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "tests/unit/unit.h"

START_TEST(generic_comes_first_and_runs_everywhere)
{
    ck_assert_str_eq(kernels_all[0]->name, "generic");
    ck_assert(kernels_all[0]->supported());
}
END_TEST

START_TEST(find_knows_every_table_by_its_name_and_no_other)
{
    for (size_t i = 0; kernels_all[i]; i++)
        ck_assert_ptr_eq(kernels_find(kernels_all[i]->name), kernels_all[i]);
    ck_assert_ptr_null(kernels_find("avx1024"));
    ck_assert_ptr_null(kernels_find(""));
    ck_assert_ptr_null(kernels_find("AVX2"));
}
END_TEST

START_TEST(best_is_the_last_table_that_is_supported)
{
    const struct kernels *best = kernels_best();
    ck_assert(best->supported());
    bool after_best = false;
    for (size_t i = 0; kernels_all[i]; i++) {
        ck_assert(!after_best || !kernels_all[i]->supported());
        after_best |= kernels_all[i] == best;
    }
    ck_assert(after_best);
}
END_TEST

START_TEST(relu_keeps_nan_and_makes_both_zeros_positive)
{
    const float x[] = {-1.0F, -0.0F, 0.0F, 2.5F, -INFINITY, INFINITY, NAN, -FLT_TRUE_MIN, FLT_TRUE_MIN};
    const float want[] = {0.0F, 0.0F, 0.0F, 2.5F, 0.0F, INFINITY, NAN, 0.0F, FLT_TRUE_MIN};
    for (size_t t = 0; kernels_all[t]; t++) {
        float y[9];
        memcpy(y, x, sizeof y);
        if (!kernels_all[t]->supported())
            continue;
        kernels_all[t]->relu(y, 9);
        for (size_t i = 0; i < 9; i++)
            if (isnan(want[i]))
                ck_assert_msg(isnan(y[i]), "%s lost a NaN", kernels_all[t]->name);
            else
                ck_assert_mem_eq(&y[i], &want[i], sizeof want[i]);
    }
}
END_TEST

START_TEST(relu_touches_just_the_floats_that_it_is_given)
{
    for (size_t t = 0; kernels_all[t]; t++)
        for (size_t count = 0; count < 40 && kernels_all[t]->supported(); count++) {
            float y[42];
            for (size_t i = 0; i < 42; i++)
                y[i] = -3.0F;
            kernels_all[t]->relu(y + 1, count);
            for (size_t i = 0; i < 42; i++)
                ck_assert_float_eq(y[i], i >= 1 && i <= count ? 0.0F : -3.0F);
        }
}
END_TEST

START_TEST(scale_u8_looks_every_byte_up)
{
    float table[256];
    uint8_t src[600];
    for (size_t i = 0; i < 256; i++)
        table[i] = (float)i * 0.5F - 7.0F;
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)(i * 7);
    for (size_t t = 0; kernels_all[t]; t++) {
        float dst[601] = {[599] = 1.0F, [600] = 2.0F};
        if (!kernels_all[t]->supported())
            continue;
        kernels_all[t]->scale_u8(src + 1, 599, table, dst);
        for (size_t i = 0; i < 599; i++)
            ck_assert_float_eq(dst[i], table[src[i + 1]]);
        ck_assert_float_eq(dst[599], 1.0F);
    }
}
END_TEST

START_TEST(softmax_is_exp_over_the_sum_of_each_row)
{
    const float x[] = {1.0F, 2.0F, 3.0F, -1.0F, 0.5F, 0.25F};
    float y[6];
    kernels_softmax(x, 2, 3, y);
    for (size_t r = 0; r < 2; r++) {
        double sum = exp((double)x[3 * r]) + exp((double)x[3 * r + 1]) + exp((double)x[3 * r + 2]);
        for (size_t i = 3 * r; i < 3 * r + 3; i++)
            ck_assert_double_eq_tol((double)y[i], exp((double)x[i]) / sum, 1e-7);
    }
}
END_TEST

START_TEST(softmax_is_stable_for_the_largest_and_the_smallest_floats)
{
    float x[] = {FLT_MAX, -FLT_MAX, FLT_MAX, 1e38F, -FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX};
    kernels_softmax(x, 2, 4, x);
    const float want[] = {0.5F, 0.0F, 0.5F, 0.0F, 0.25F, 0.25F, 0.25F, 0.25F};
    for (size_t i = 0; i < 8; i++)
        ck_assert_float_eq(x[i], want[i]);
}
END_TEST

START_TEST(softmax_of_one_class_is_one)
{
    float x[] = {-1234.5F, 1e38F};
    kernels_softmax(x, 2, 1, x);
    ck_assert_float_eq(x[0], 1.0F);
    ck_assert_float_eq(x[1], 1.0F);
}
END_TEST

START_TEST(softmax_of_no_rows_or_no_classes_writes_nothing)
{
    float y = 7.0F;
    kernels_softmax(&y, 0, 1, &y);
    kernels_softmax(&y, 3, 0, &y);
    ck_assert_float_eq(y, 7.0F);
}
END_TEST

START_TEST(argmax_takes_the_first_of_equal_maxima)
{
    ck_assert_uint_eq(kernels_argmax((const float[]){1, 3, 3, 2}, 4), 1);
    ck_assert_uint_eq(kernels_argmax((const float[]){5, 5, 5}, 3), 0);
    ck_assert_uint_eq(kernels_argmax((const float[]){-0.0F, 0.0F}, 2), 0);
    ck_assert_uint_eq(kernels_argmax((const float[]){-3, -2, -1}, 3), 2);
    ck_assert_uint_eq(kernels_argmax((const float[]){-INFINITY}, 1), 0);
}
END_TEST

START_TEST(argmax_takes_the_first_nan_as_torch_does)
{
    ck_assert_uint_eq(kernels_argmax((const float[]){1, NAN, INFINITY, NAN}, 4), 1);
    ck_assert_uint_eq(kernels_argmax((const float[]){NAN, 1}, 2), 0);
    ck_assert_uint_eq(kernels_argmax((const float[]){INFINITY, 1, NAN}, 3), 2);
}
END_TEST

START_TEST(all_finite_finds_the_first_that_is_not)
{
    float x[300] = {0};
    x[5] = FLT_MAX;
    x[6] = -FLT_TRUE_MIN;
    ck_assert(kernels_all_finite(x, 300, NULL));
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 300; i++) {
        size_t index = 999;
        x[i] = bad[i % 4];
        x[299] = NAN;
        ck_assert(!kernels_all_finite(x, 300, &index));
        ck_assert_uint_eq(index, i);
        x[i] = x[299] = 1.0F;
    }
}
END_TEST

START_TEST(all_finite_looks_no_further_than_count_and_leaves_the_index_untouched)
{
    const float x[] = {1.0F, NAN};
    size_t index = 77;
    ck_assert(kernels_all_finite(x, 1, &index));
    ck_assert(kernels_all_finite(x, 0, &index));
    ck_assert(!kernels_all_finite(x, 2, NULL));
    ck_assert_uint_eq(index, 77);
}
END_TEST

UNIT_MAIN("kernels/kernels", generic_comes_first_and_runs_everywhere,
          find_knows_every_table_by_its_name_and_no_other, best_is_the_last_table_that_is_supported,
          relu_keeps_nan_and_makes_both_zeros_positive, relu_touches_just_the_floats_that_it_is_given,
          scale_u8_looks_every_byte_up, softmax_is_exp_over_the_sum_of_each_row,
          softmax_is_stable_for_the_largest_and_the_smallest_floats, softmax_of_one_class_is_one,
          softmax_of_no_rows_or_no_classes_writes_nothing, argmax_takes_the_first_of_equal_maxima,
          argmax_takes_the_first_nan_as_torch_does, all_finite_finds_the_first_that_is_not,
          all_finite_looks_no_further_than_count_and_leaves_the_index_untouched)
