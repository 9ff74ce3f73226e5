#include "engine/dtypes.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are little-endian and are taken as they are");

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A small float of `exponent_bits` and `mantissa_bits` behind its sign, whose largest exponent means infinity and NaN, as
 * IEEE has it. Every value of it is a float32 exactly; a NaN keeps its upper bits. */
static float small_float(uint32_t bits, unsigned exponent_bits, unsigned mantissa_bits)
{
    uint32_t top = (1u << exponent_bits) - 1, exponent = bits >> mantissa_bits & top;
    uint32_t mantissa = bits & ((1u << mantissa_bits) - 1), sign = bits >> (exponent_bits + mantissa_bits) << 31;
    int bias = (int)(top >> 1);
    if (exponent == 0) {
        float value = ldexpf((float)mantissa, 1 - bias - (int)mantissa_bits);
        return sign ? -value : value;
    }
    uint32_t wide = exponent == top ? 255 : exponent + 127 - (uint32_t)bias;
    return float_of_bits(sign | wide << 23 | mantissa << (23 - mantissa_bits));
}

static float float_of_half(uint16_t bits)
{
    return small_float(bits, 5, 10);
}

static float float_of_bfloat16(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

static float float_of_float8_e5m2(uint8_t bits)
{
    return small_float(bits, 5, 2);
}

/* "fn": no infinity; of the largest exponent only the last mantissa is NaN, the others are numbers up to 448. */
static float float_of_float8_e4m3fn(uint8_t bits)
{
    if ((bits & 0x7F) == 0x7F)
        return float_of_bits((uint32_t)(bits & 0x80) << 24 | 0x7FC00000u);
    uint32_t exponent = bits >> 3 & 15, mantissa = bits & 7;
    float value = exponent == 0 ? ldexpf((float)mantissa, -9) : ldexpf((float)(8 + mantissa), (int)exponent - 10);
    return bits & 0x80 ? -value : value;
}

static float float_of_bool(uint8_t bits)
{
    return bits != 0 ? 1.0f : 0.0f;
}

/* memcpy, for nothing in a file is aligned by right. */
#define CONVERSION(function, type, convert)                                                 \
    static void function(float *dst, const unsigned char *src, size_t count, size_t stride) \
    {                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                \
            type element;                                                                   \
            memcpy(&element, src + i * stride, sizeof element);                             \
            dst[i] = convert(element);                                                      \
        }                                                                                   \
    }

CONVERSION(floats_of_doubles, double, (float))
CONVERSION(floats_of_halves, uint16_t, float_of_half)
CONVERSION(floats_of_bfloat16s, uint16_t, float_of_bfloat16)
CONVERSION(floats_of_e4m3fn, uint8_t, float_of_float8_e4m3fn)
CONVERSION(floats_of_e5m2, uint8_t, float_of_float8_e5m2)
CONVERSION(floats_of_int64s, int64_t, (float))
CONVERSION(floats_of_int32s, int32_t, (float))
CONVERSION(floats_of_int16s, int16_t, (float))
CONVERSION(floats_of_int8s, int8_t, (float))
CONVERSION(floats_of_uint64s, uint64_t, (float))
CONVERSION(floats_of_uint32s, uint32_t, (float))
CONVERSION(floats_of_uint16s, uint16_t, (float))
CONVERSION(floats_of_uint8s, uint8_t, (float))
CONVERSION(floats_of_bools, uint8_t, float_of_bool)

/* float32 keeps its bits, those of a NaN too; nearly every file is of these, side by side. */
static void floats_of_floats(float *dst, const unsigned char *src, size_t count, size_t stride)
{
    if (stride == sizeof *dst) {
        if (count > 0)
            memcpy(dst, src, count * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(&dst[i], src + i * stride, sizeof *dst);
}

static const struct dtype DTYPES[] = {
    {"torch.float32", "F32", "FloatStorage", 4, floats_of_floats},
    {"torch.float16", "F16", "HalfStorage", 2, floats_of_halves},
    {"torch.bfloat16", "BF16", "BFloat16Storage", 2, floats_of_bfloat16s},
    {"torch.float64", "F64", "DoubleStorage", 8, floats_of_doubles},
    {"torch.float8_e4m3fn", "F8_E4M3", NULL, 1, floats_of_e4m3fn},
    {"torch.float8_e5m2", "F8_E5M2", NULL, 1, floats_of_e5m2},
    {"torch.int64", "I64", "LongStorage", 8, floats_of_int64s},
    {"torch.int32", "I32", "IntStorage", 4, floats_of_int32s},
    {"torch.int16", "I16", "ShortStorage", 2, floats_of_int16s},
    {"torch.int8", "I8", "CharStorage", 1, floats_of_int8s},
    {"torch.uint64", "U64", NULL, 8, floats_of_uint64s},
    {"torch.uint32", "U32", NULL, 4, floats_of_uint32s},
    {"torch.uint16", "U16", NULL, 2, floats_of_uint16s},
    {"torch.uint8", "U8", "ByteStorage", 1, floats_of_uint8s},
    {"torch.bool", "BOOL", "BoolStorage", 1, floats_of_bools},
};

enum { DTYPE_COUNT = sizeof DTYPES / sizeof DTYPES[0] };

static bool is_name(const char *name, const char *text, size_t len)
{
    return name && strlen(name) == len && memcmp(name, text, len) == 0;
}

const struct dtype *dtype_of_safetensors(const char *name)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (is_name(DTYPES[i].safetensors, name, strlen(name)))
            return &DTYPES[i];
    return NULL;
}

const struct dtype *dtype_of_storage(const char *storage, size_t len)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (is_name(DTYPES[i].storage, storage, len))
            return &DTYPES[i];
    return NULL;
}

const struct dtype *dtype_of_torch(const char *name, size_t len)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (is_name(DTYPES[i].name + strlen("torch."), name, len))
            return &DTYPES[i];
    return NULL;
}

const char *dtype_safetensors_names(void)
{
    return "F32, F16, BF16, F64, F8_E4M3, F8_E5M2, integers and BOOL";
}
