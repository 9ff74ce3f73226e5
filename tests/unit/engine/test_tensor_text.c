/* The expected texts are what str(tensor) gave in PyTorch. */
#include "engine/tensor_text.h"

#include <math.h>
#include <string.h>

#include "tests/unit/unit.h"

static const char *const GRAD_FN = "grad_fn=<SliceBackward0>";

static void check_suffixed(const float *data, const size_t *shape, size_t dims, const char *const *suffixes,
                           size_t suffix_count, const char *expected)
{
    char *text = tensor_text(data, shape, dims, suffixes, suffix_count);
    ck_assert_str_eq(text, expected);
    free(text);
}

static void check(const float *data, size_t rows, size_t columns, const char *expected)
{
    size_t shape[] = {rows, columns};
    check_suffixed(data, shape, 2, &GRAD_FN, 1, expected);
}

#define CHECK_VECTOR(expected, ...)                                                                               \
    do {                                                                                                          \
        const float values[] = {__VA_ARGS__};                                                                     \
        check_suffixed(values, (size_t[]){sizeof values / sizeof values[0]}, 1, NULL, 0, "tensor(" expected ")"); \
    } while (0)

/* first, first + step, ... */
static float *sequence(size_t count, float first, float step)
{
    float *values = malloc(count * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < count; i++)
        values[i] = first + step * (float)i;
    return values;
}

START_TEST(tensor_text_writes_four_decimals_of_equal_width)
{
    CHECK_VECTOR("[0.0320, 0.0142]", 0.0320f, 0.0142f);
    CHECK_VECTOR("[1000.0000,    1.5000]", 1000.0f, 1.5f);
    CHECK_VECTOR("[-10.0000,   1.0000]", -9.99996f, 1.0f);
    CHECK_VECTOR("[1.5000,    nan,   -inf,    inf]", 1.5f, NAN, -INFINITY, INFINITY);
    check_suffixed(&(float){3.25f}, NULL, 0, NULL, 0, "tensor(3.2500)");
}
END_TEST

START_TEST(tensor_text_writes_whole_numbers_with_a_point)
{
    CHECK_VECTOR("[  1.,   2., -30.]", 1, 2, -30);
    CHECK_VECTOR("[0., -0.]", 0.0f, -0.0f);
    CHECK_VECTOR("[1., nan, -inf]", 1.0f, NAN, -INFINITY);
    CHECK_VECTOR("[nan, inf, 0.]", NAN, INFINITY, 0.0f);
    CHECK_VECTOR("[nan]", copysignf(NAN, -1.0f));
    CHECK_VECTOR("[100000000.,   1000000.]", 1e8f, 1e6f);
}
END_TEST

START_TEST(tensor_text_writes_an_exponent_where_magnitudes_ask_for_it)
{
    CHECK_VECTOR("[1.0000e-05, 1.0000e+00]", 1e-5f, 1.0f);
    CHECK_VECTOR("[1.0000e+08, 1.0000e+00]", 100000008.0f, 1.0f);
    CHECK_VECTOR("[1.0005e+03, 1.0000e+00]", 1000.5f, 1.0f);
    CHECK_VECTOR("[1.2346e+08, 1.0000e+08]", 123456792.0f, 1e8f);
    CHECK_VECTOR("[1.0000e-04, 1.0000e-02]", 0.0001f, 0.01f); /* float32's 0.0001 lies below the double's */
    CHECK_VECTOR("[1.4013e-45, 0.0000e+00]", 1e-45f, 0.0f);
}
END_TEST

START_TEST(tensor_text_says_the_size_of_an_empty_tensor)
{
    float none = 0.0f;
    check_suffixed(&none, (size_t[]){0}, 1, NULL, 0, "tensor([])");
    check_suffixed(&none, (size_t[]){2, 0}, 2, NULL, 0, "tensor([], size=(2, 0))");
    check(&none, 2, 0, "tensor([], size=(2, 0), grad_fn=<SliceBackward0>)");
}
END_TEST

START_TEST(tensor_text_breaks_lines_at_column_80)
{
    float *values = sequence(30, 0.25f, 1.0f);
    check(values, 2, 15,
          "tensor([[ 0.2500,  1.2500,  2.2500,  3.2500,  4.2500,  5.2500,  6.2500,  7.2500,\n"
          "          8.2500,  9.2500, 10.2500, 11.2500, 12.2500, 13.2500, 14.2500],\n"
          "        [15.2500, 16.2500, 17.2500, 18.2500, 19.2500, 20.2500, 21.2500, 22.2500,\n"
          "         23.2500, 24.2500, 25.2500, 26.2500, 27.2500, 28.2500, 29.2500]],\n"
          "       grad_fn=<SliceBackward0>)");
    free(values);
}
END_TEST

START_TEST(tensor_text_puts_the_suffix_on_a_line_of_its_own_only_where_it_does_not_fit)
{
    float values[11];
    const char *const both[] = {"device='cuda:0'", GRAD_FN};
    for (int i = 0; i < 11; i++)
        values[i] = (float)i + 0.1f;
    check_suffixed(values, (size_t[]){9}, 1, &GRAD_FN, 1,
                   "tensor([0.1000, 1.1000, 2.1000, 3.1000, 4.1000, 5.1000, 6.1000, 7.1000, 8.1000],\n"
                   "       grad_fn=<SliceBackward0>)");
    check_suffixed(values, (size_t[]){10}, 1, &GRAD_FN, 1,
                   "tensor([0.1000, 1.1000, 2.1000, 3.1000, 4.1000, 5.1000, 6.1000, 7.1000, 8.1000,\n"
                   "        9.1000], grad_fn=<SliceBackward0>)");
    check_suffixed(values, (size_t[]){9}, 1, both, 2,
                   "tensor([0.1000, 1.1000, 2.1000, 3.1000, 4.1000, 5.1000, 6.1000, 7.1000, 8.1000],\n"
                   "       device='cuda:0', grad_fn=<SliceBackward0>)");
    check_suffixed(values, (size_t[]){2}, 1, both, 2,
                   "tensor([0.1000, 1.1000], device='cuda:0', grad_fn=<SliceBackward0>)");
}
END_TEST

START_TEST(tensor_text_summarises_above_1000_elements)
{
    float *values = sequence(1001, 0.0f, 1.0f);
    check_suffixed(values, (size_t[]){1001}, 1, NULL, 0,
                   "tensor([   0.,    1.,    2.,  ...,  998.,  999., 1000.])");
    char *whole = tensor_text(values, (size_t[]){1000}, 1, NULL, 0);
    ck_assert_ptr_null(strstr(whole, "..."));
    free(whole);
    free(values);
}
END_TEST

START_TEST(tensor_text_lets_only_the_shown_values_decide_how_they_are_written)
{
    float *values = sequence(1002, 0.5f, 0.0f);
    values[3] = 1e-30f;
    values[501 + 3] = 12345.678f;
    check(values, 2, 501,
          "tensor([[0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000],\n"
          "        [0.5000, 0.5000, 0.5000,  ..., 0.5000, 0.5000, 0.5000]],\n"
          "       grad_fn=<SliceBackward0>)");
    free(values);
}
END_TEST

START_TEST(tensor_text_summarises_rows_and_breaks_the_lines_of_a_summary)
{
    float *values = sequence(2000, 0.5f, 1.0f);
    check_suffixed(values, (size_t[]){8, 250}, 2, NULL, 0,
                   "tensor([[5.0000e-01, 1.5000e+00, 2.5000e+00,  ..., 2.4750e+02, 2.4850e+02,\n"
                   "         2.4950e+02],\n"
                   "        [2.5050e+02, 2.5150e+02, 2.5250e+02,  ..., 4.9750e+02, 4.9850e+02,\n"
                   "         4.9950e+02],\n"
                   "        [5.0050e+02, 5.0150e+02, 5.0250e+02,  ..., 7.4750e+02, 7.4850e+02,\n"
                   "         7.4950e+02],\n"
                   "        ...,\n"
                   "        [1.2505e+03, 1.2515e+03, 1.2525e+03,  ..., 1.4975e+03, 1.4985e+03,\n"
                   "         1.4995e+03],\n"
                   "        [1.5005e+03, 1.5015e+03, 1.5025e+03,  ..., 1.7475e+03, 1.7485e+03,\n"
                   "         1.7495e+03],\n"
                   "        [1.7505e+03, 1.7515e+03, 1.7525e+03,  ..., 1.9975e+03, 1.9985e+03,\n"
                   "         1.9995e+03]])");
    free(values);
}
END_TEST

START_TEST(tensor_text_parts_matrices_by_a_blank_line)
{
    float *values = sequence(12, 0.0f, 1.0f);
    check_suffixed(values, (size_t[]){2, 3, 2}, 3, NULL, 0,
                   "tensor([[[ 0.,  1.],\n         [ 2.,  3.],\n         [ 4.,  5.]],\n\n"
                   "        [[ 6.,  7.],\n         [ 8.,  9.],\n         [10., 11.]]])");
    free(values);
}
END_TEST

START_TEST(tensor_text_shape_is_a_tuple_of_python_cut_to_fit)
{
    static const size_t shape[] = {512, 784, 3};
    static const char *const expected[] = {"()", "(512,)", "(512, 784)", "(512, 784, 3)"};
    char text[16];
    for (size_t dims = 0; dims <= 3; dims++) {
        tensor_text_shape(shape, dims, text, sizeof text);
        ck_assert_str_eq(text, expected[dims]);
    }
    for (size_t bytes = 1; bytes <= sizeof text; bytes++) {
        tensor_text_shape(shape, 3, text, bytes);
        ck_assert_uint_lt(strlen(text), bytes);
        ck_assert_int_eq(strncmp(text, expected[3], strlen(text)), 0);
    }
}
END_TEST

UNIT_MAIN("engine/tensor_text", tensor_text_shape_is_a_tuple_of_python_cut_to_fit,
          tensor_text_writes_four_decimals_of_equal_width, tensor_text_writes_whole_numbers_with_a_point,
          tensor_text_writes_an_exponent_where_magnitudes_ask_for_it, tensor_text_says_the_size_of_an_empty_tensor,
          tensor_text_breaks_lines_at_column_80,
          tensor_text_puts_the_suffix_on_a_line_of_its_own_only_where_it_does_not_fit,
          tensor_text_summarises_above_1000_elements,
          tensor_text_lets_only_the_shown_values_decide_how_they_are_written,
          tensor_text_summarises_rows_and_breaks_the_lines_of_a_summary, tensor_text_parts_matrices_by_a_blank_line)
