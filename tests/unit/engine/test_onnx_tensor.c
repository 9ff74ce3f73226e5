#include "engine/onnx_tensor.h"

#include <math.h>
#include <string.h>

#include "tests/unit/unit.h"

static Onnx__Tensor tensor_of(int32_t type, int64_t *dims, size_t n_dims, const void *raw, size_t len)
{
    Onnx__Tensor tensor = ONNX__TENSOR__INIT;
    tensor.data_type = type;
    tensor.dims = dims;
    tensor.n_dims = n_dims;
    tensor.raw_data.data = (uint8_t *)(uintptr_t)raw;
    tensor.raw_data.len = len;
    return tensor;
}

/* What the bits of a half are worth, after IEEE 754's own words. */
static double half_value(unsigned bits)
{
    unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    double magnitude = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, (int)exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static bool same_number(float got, double expected)
{
    return isnan(expected) ? isnan(got) : (double)got == expected && !signbit(got) == !signbit(expected);
}

START_TEST(onnx_tensor_reads_every_float16_exactly)
{
    static uint16_t halves[65536];
    static float floats[65536];
    int64_t dims[] = {65536};
    for (unsigned i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    Onnx__Tensor tensor = tensor_of(ONNX_FLOAT16, dims, 1, halves, sizeof halves);
    ck_assert_int_eq(onnx_tensor_floats(&tensor, 65536, NULL, floats, NULL), STATUS_OK);
    for (unsigned i = 0; i < 65536; i++)
        ck_assert_msg(same_number(floats[i], half_value(i)), "%04x became %g", i, (double)floats[i]);
}
END_TEST

START_TEST(onnx_tensor_reads_bfloat16_as_the_upper_half_of_a_float32)
{
    static const uint16_t bits[] = {0x3F80, 0xC049, 0x0001, 0x7F80, 0xFF80, 0x8000};
    static const float expected[] = {1.0f, -3.140625f, 0x1p-133f, INFINITY, -INFINITY, -0.0f};
    float floats[6];
    int64_t dims[] = {6};
    Onnx__Tensor tensor = tensor_of(ONNX_BFLOAT16, dims, 1, bits, sizeof bits);
    ck_assert_int_eq(onnx_tensor_floats(&tensor, 6, NULL, floats, NULL), STATUS_OK);
    for (size_t i = 0; i < 6; i++)
        ck_assert(same_number(floats[i], (double)expected[i]));
}
END_TEST

START_TEST(onnx_tensor_rounds_float64_to_float32)
{
    static const double wide[] = {0.1, 1e300, -1e-320, 3.0};
    float floats[4];
    int64_t dims[] = {4};
    Onnx__Tensor tensor = tensor_of(ONNX_DOUBLE, dims, 1, wide, sizeof wide);
    ck_assert_int_eq(onnx_tensor_floats(&tensor, 4, NULL, floats, NULL), STATUS_OK);
    ck_assert(same_number(floats[0], (double)0.1f) && same_number(floats[1], INFINITY));
    ck_assert(same_number(floats[2], -0.0) && same_number(floats[3], 3));
}
END_TEST

START_TEST(onnx_tensor_reads_whole_numbers_of_shapes)
{
    static const int64_t sizes[] = {-1, INT64_MAX};
    static const double old[] = {12, -1, 0.5};
    int64_t dims[] = {2}, old_dims[] = {3}, whole = 0;
    Onnx__Tensor tensor = tensor_of(ONNX_INT64, dims, 1, sizes, sizeof sizes);
    ck_assert(onnx_tensor_whole(&tensor, 0, &whole) && whole == -1);
    ck_assert(onnx_tensor_whole(&tensor, 1, &whole) && whole == INT64_MAX);
    ck_assert(!onnx_tensor_whole(&tensor, 2, &whole));
    tensor = tensor_of(ONNX_DOUBLE, old_dims, 1, old, sizeof old);
    ck_assert(onnx_tensor_whole(&tensor, 0, &whole) && whole == 12);
    ck_assert(onnx_tensor_whole(&tensor, 1, &whole) && whole == -1);
    ck_assert(!onnx_tensor_whole(&tensor, 2, &whole));
}
END_TEST

START_TEST(onnx_tensor_refuses_data_of_another_length_than_its_shape)
{
    static const float data[4] = {1, 2, 3, 4};
    struct onnx_external external;
    struct error err;
    int64_t dims[] = {2, 2};
    Onnx__Tensor tensor = tensor_of(ONNX_FLOAT, dims, 2, data, sizeof data);
    ck_assert_int_eq(onnx_tensor_check(&tensor, 4, NULL, &external, &err), STATUS_OK);
    ck_assert_uint_eq(external.bytes, 0);
    ck_assert_int_eq(onnx_tensor_check(&tensor, 5, NULL, &external, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "its shape needs 5 elements, 20 bytes; it holds 16 bytes"));
    tensor.raw_data.len = 15;
    ck_assert_int_eq(onnx_tensor_check(&tensor, 4, NULL, &external, &err), STATUS_INVALID);
    tensor.raw_data.len = 0;
    tensor.float_data = (float[]){1, 2, 3};
    tensor.n_float_data = 3;
    ck_assert_int_eq(onnx_tensor_check(&tensor, 4, NULL, &external, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "it holds 3 elements"));
}
END_TEST

UNIT_MAIN("engine/onnx_tensor", onnx_tensor_reads_every_float16_exactly,
          onnx_tensor_reads_bfloat16_as_the_upper_half_of_a_float32, onnx_tensor_rounds_float64_to_float32,
          onnx_tensor_reads_whole_numbers_of_shapes, onnx_tensor_refuses_data_of_another_length_than_its_shape)
