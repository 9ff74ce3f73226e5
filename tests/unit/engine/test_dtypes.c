#include "engine/dtypes.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

/* One element of the type that safetensors calls `name`, from bytes that are not aligned. */
static float convert(const char *name, uint64_t bits)
{
    unsigned char bytes[1 + sizeof bits];
    float value = NAN;
    const struct dtype *dtype = dtype_of_safetensors(name);
    ck_assert_ptr_nonnull(dtype);
    memcpy(bytes + 1, &bits, sizeof bits);
    dtype->to_floats(&value, bytes + 1, 1, dtype->bytes);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A small float by its definition: (-1)^s 2^(e - bias) (1 + m / 2^M), and 2^(1 - bias) m / 2^M where e is 0. */
static double by_definition(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double mantissa = ldexp((double)(bits & ((1u << mantissa_bits) - 1)), -mantissa_bits);
    double value = exponent == 0 ? ldexp(mantissa, 1 - bias) : ldexp(1 + mantissa, exponent - bias);
    return bits >> (exponent_bits + mantissa_bits) ? -value : value;
}

static void check_all(const char *name, int exponent_bits, int mantissa_bits)
{
    uint32_t top = (1u << exponent_bits) - 1;
    for (uint32_t bits = 0; bits >> (1 + exponent_bits + mantissa_bits) == 0; bits++) {
        uint32_t exponent = bits >> mantissa_bits & top, mantissa = bits & ((1u << mantissa_bits) - 1);
        float value = convert(name, bits), sign = bits >> (exponent_bits + mantissa_bits) ? -1.0f : 1.0f;
        if (exponent < top)
            ck_assert_uint_eq(bits_of(value), bits_of((float)by_definition(bits, exponent_bits, mantissa_bits)));
        else if (mantissa == 0)
            ck_assert_uint_eq(bits_of(value), bits_of(sign * INFINITY));
        else
            ck_assert(isnan(value));
    }
}

START_TEST(dtypes_convert_every_half_bfloat16_and_e5m2_exactly)
{
    check_all("F16", 5, 10);
    check_all("BF16", 8, 7);
    check_all("F8_E5M2", 5, 2);
}
END_TEST

START_TEST(dtypes_convert_e4m3_which_has_no_infinity)
{
    for (uint32_t bits = 0; bits < 256; bits++) {
        float value = convert("F8_E4M3", bits);
        if ((bits & 0x7F) == 0x7F)
            ck_assert(isnan(value));
        else
            ck_assert_uint_eq(bits_of(value), bits_of((float)by_definition(bits, 4, 3)));
    }
    ck_assert_float_eq(convert("F8_E4M3", 0x7E), 448.0f);
}
END_TEST

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

START_TEST(dtypes_round_doubles_and_integers_to_the_nearest_float)
{
    ck_assert_float_eq(convert("F64", double_bits(0.1)), 0.1f);
    ck_assert_float_eq(convert("F64", double_bits(1.0 + 0x1p-24)), 1.0f); /* a tie, to even */
    ck_assert_float_eq(convert("F64", double_bits(1.0 + 0x1.8p-23)), 1.0f + 0x1p-22f);
    ck_assert_float_eq(convert("F64", double_bits(1e-45)), 0x1p-149f);
    ck_assert(isinf(convert("F64", double_bits(1e300))));
    ck_assert(isnan(convert("F64", double_bits(NAN))));
    ck_assert_uint_eq(bits_of(convert("F64", double_bits(-0.0))), 0x80000000u);
    ck_assert_float_eq(convert("I64", (uint64_t)-3), -3.0f);
    ck_assert_float_eq(convert("I64", (1 << 24) + 1), 0x1p24f);
    ck_assert_float_eq(convert("U64", UINT64_MAX), 0x1p64f);
    ck_assert_float_eq(convert("I32", 0xFFFFFFFFu), -1.0f);
    ck_assert_float_eq(convert("U32", 0xFFFFFFFFu), 0x1p32f);
    ck_assert_float_eq(convert("I16", 0x8000), -32768.0f);
    ck_assert_float_eq(convert("U16", 0x8000), 32768.0f);
    ck_assert_float_eq(convert("I8", 0x80), -128.0f);
    ck_assert_float_eq(convert("U8", 0x80), 128.0f);
    ck_assert_float_eq(convert("BOOL", 2), 1.0f);
}
END_TEST

START_TEST(dtypes_keep_the_bits_of_floats_those_of_nan_too)
{
    ck_assert_uint_eq(bits_of(convert("F32", 0x7FC12345u)), 0x7FC12345u);
    ck_assert_uint_eq(bits_of(convert("F32", 1)), 1);
}
END_TEST

START_TEST(dtypes_step_over_elements_by_the_stride)
{
    const unsigned char bytes[] = {1, 2, 3, 4, 5, 6};
    float values[3];
    const struct dtype *dtype = dtype_of_safetensors("U8");
    dtype->to_floats(values, bytes, 3, 2);
    ck_assert_float_eq(values[2], 5.0f);
    dtype->to_floats(values, bytes + 1, 3, 0);
    ck_assert_float_eq(values[2], 2.0f);
    const float floats[] = {1, 2, 3};
    dtype_of_safetensors("F32")->to_floats(values, (const unsigned char *)floats, 2, 2 * sizeof(float));
    ck_assert_float_eq(values[1], 3.0f);
    dtype->to_floats(values, bytes, 0, 1);
    ck_assert_float_eq(values[0], 1.0f);
}
END_TEST

START_TEST(dtypes_are_found_by_the_names_of_each_format)
{
    ck_assert_str_eq(dtype_of_safetensors("BF16")->name, "torch.bfloat16");
    ck_assert_str_eq(dtype_of_storage("HalfStorage", 11)->name, "torch.float16");
    ck_assert_str_eq(dtype_of_torch("float8_e5m2", 11)->name, "torch.float8_e5m2");
    ck_assert_ptr_null(dtype_of_safetensors("F4"));
    ck_assert_ptr_null(dtype_of_safetensors(""));
    ck_assert_ptr_null(dtype_of_storage("HalfStorage", 10));
    ck_assert_ptr_null(dtype_of_storage("ComplexFloatStorage", 19));
    ck_assert_ptr_null(dtype_of_torch("complex64", 9));
    ck_assert_ptr_null(dtype_of_torch("", 0));
}
END_TEST

UNIT_MAIN("engine/dtypes", dtypes_convert_every_half_bfloat16_and_e5m2_exactly,
          dtypes_convert_e4m3_which_has_no_infinity, dtypes_round_doubles_and_integers_to_the_nearest_float,
          dtypes_keep_the_bits_of_floats_those_of_nan_too, dtypes_step_over_elements_by_the_stride,
          dtypes_are_found_by_the_names_of_each_format)
