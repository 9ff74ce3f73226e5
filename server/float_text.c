/* The digits come from Raffaello Giulietti's Schubfach ("The Schubfach way to render doubles", 2020), for float32.
 *
 * A float is v = c * 2^q. All reals between its lower and upper midpoint read back as v: an interval about as wide as
 * 2^q, which includes its ends if c is even, since reading rounds ties to even. With k = floor(log10(width)) the width
 * is at least 10^k and less than 10^(k+1), so the interval holds at least one multiple of 10^k and at most one of
 * 10^(k+1). If it holds one of the latter, that is the shortest; else it is the multiple of 10^k nearest to v.
 *
 * So only v, lower and upper in units of 10^k are needed, and of these only the first bits: they are computed as four
 * times the value (the ends lie on quarters), times a 64-bit approximation of 10^-k, and what is below the last bit is
 * folded into it ("round to odd"), so that every comparison comes out as with the exact numbers.
 */
#include "server/float_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/float_text_table.h"

enum {
    MANTISSA_BITS = 23,
    EXPONENT_MIN = -149,   /* of the subnormals, and of the smallest normal numbers */
    DIGITS_MAX = 10,       /* of a uint32; a float32 needs 9 */
    DIGITS_TEXT = 10 + 16, /* room to copy 16 bytes from any digit */
    POINT_FIXED_MIN = -3, /* the decimal point's place in 0.0001, the smallest number written without an exponent */
    POINT_FIXED_MAX = 16, /* and in 1000000000000000.0, the largest power of ten written so */
};

struct decimal {
    uint32_t digits; /* the value is digits * 10^exponent; trailing zeros are possible */
    int exponent;
};

/* floor(q * log10(2)), and floor(log10(3/4 * 2^q)); exact for |q| <= 1500. */
static int floor_log10_pow2(int q)
{
    return (q * 1262611) >> 22;
}

static int floor_log10_three_quarters_pow2(int q)
{
    return (q * 1262611 - 524031) >> 22;
}

/* floor(k * log2(10)), exact for |k| <= 1233. */
static int floor_log2_pow10(int k)
{
    return (k * 1741647) >> 19;
}

/* power * n / 2^64, its last bit set if anything was cut off. The power's last bit is uncertain, and so is a 1 in the
 * 32 bits below the result: it does not count. */
static uint32_t round_to_odd(uint64_t power, uint32_t n)
{
    uint64_t low = (power & UINT32_MAX) * n;
    uint64_t high = (power >> 32) * n + (low >> 32);
    return (uint32_t)(high >> 32) | ((uint32_t)high > 1);
}

/* The shortest decimal in the interval of c * 2^q; `is_narrow_below`: the float below is only half as far away as the
 * one above, since c is the first of its binade. */
static struct decimal shortest_decimal(uint32_t c, int q, bool is_narrow_below)
{
    int k = is_narrow_below ? floor_log10_three_quarters_pow2(q) : floor_log10_pow2(q);
    int shift = q + floor_log2_pow10(-k) + 1;
    uint64_t power = float_text_powers[-k - FLOAT_TEXT_POWER_MIN];
    uint32_t lower = round_to_odd(power, (4 * c - 2 + is_narrow_below) << shift);
    uint32_t value = round_to_odd(power, (4 * c) << shift);
    uint32_t upper = round_to_odd(power, (4 * c + 2) << shift);
    uint32_t is_open = c & 1;
    lower += is_open;
    upper -= is_open;

    uint32_t units = value / 4;
    uint32_t tens = units / 10;
    bool is_tens_inside = lower <= 40 * tens;
    bool is_next_tens_inside = 40 * tens + 40 <= upper;
    if (is_tens_inside != is_next_tens_inside)
        return (struct decimal){tens + is_next_tens_inside, k + 1};
    bool is_unit_inside = lower <= 4 * units;
    bool is_next_unit_inside = 4 * units + 4 <= upper;
    if (is_unit_inside != is_next_unit_inside)
        return (struct decimal){units + is_next_unit_inside, k};
    uint32_t middle = 4 * units + 2;
    bool is_up = value > middle || (value == middle && units % 2);
    return (struct decimal){units + is_up, k};
}

static struct decimal decimal_of_bits(uint32_t bits)
{
    uint32_t fraction = bits & ((UINT32_C(1) << MANTISSA_BITS) - 1);
    int biased = (int)(bits >> MANTISSA_BITS);
    if (biased == 0)
        return shortest_decimal(fraction, EXPONENT_MIN, false);
    return shortest_decimal(fraction | (UINT32_C(1) << MANTISSA_BITS), biased + EXPONENT_MIN - 1,
                            fraction == 0 && biased > 1);
}

/* Writes the digits so that they end at text[DIGITS_MAX], with zeros after them up to the end. Returns their start. */
static const char *write_digits(uint32_t digits, char text[DIGITS_TEXT])
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
                                "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char *at = text + DIGITS_MAX;
    memset(at, '0', DIGITS_TEXT - DIGITS_MAX);
    for (; digits >= 100; digits /= 100)
        memcpy(at -= 2, pairs + (size_t)2 * (digits % 100), 2);
    if (digits >= 10)
        memcpy(at -= 2, pairs + (size_t)2 * digits, 2);
    else
        *--at = (char)('0' + digits);
    return at;
}

/* The writers below copy 8 or 16 bytes where fewer may be meant: a copy of a constant size is a single instruction,
 * FLOAT_TEXT_MAX has the room, and what follows overwrites the rest. `point` is where the decimal point stands, counted
 * from the first digit. Each returns the end. */
static char *write_scientific(char *at, const char *digits, int count, int point)
{
    int exponent = point - 1;
    *at = digits[0];
    at[1] = '.';
    memcpy(at + 2, digits + 1, 8);
    at += count > 1 ? count + 1 : 1;
    unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    *at++ = 'e';
    *at++ = exponent < 0 ? '-' : '+';
    *at++ = (char)('0' + size / 10);
    *at++ = (char)('0' + size % 10);
    return at;
}

static char *write_fraction(char *at, const char *digits, int count, int point)
{
    memcpy(at, "0.000", 5);
    at += 2 - point;
    memcpy(at, digits, 16);
    return at + count;
}

static char *write_fixed(char *at, const char *digits, int count, int point)
{
    memcpy(at, digits, 16);
    at += point;
    *at++ = '.';
    if (point >= count) {
        *at++ = '0';
        return at;
    }
    memcpy(at, digits + point, 8);
    return at + count - point;
}

size_t float_text_write(float value, char dst[FLOAT_TEXT_MAX])
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    char *at = dst;
    if (bits >> 31)
        *at++ = '-';
    bits &= UINT32_MAX >> 1;
    if (bits == 0) {
        memcpy(at, "0.0", 3);
        return (size_t)(at + 3 - dst);
    }
    struct decimal decimal = decimal_of_bits(bits);
    char text[DIGITS_TEXT];
    const char *digits = write_digits(decimal.digits, text);
    int count = (int)(text + DIGITS_MAX - digits);
    int point = count + decimal.exponent;
    while (digits[count - 1] == '0')
        count--;
    if (point < POINT_FIXED_MIN || point > POINT_FIXED_MAX)
        at = write_scientific(at, digits, count, point);
    else if (point <= 0)
        at = write_fraction(at, digits, count, point);
    else
        at = write_fixed(at, digits, count, point);
    return (size_t)(at - dst);
}
