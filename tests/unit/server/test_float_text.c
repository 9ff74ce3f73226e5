#include "server/float_text.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/float_text_table.h"
#include "tests/unit/unit.h"

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static const char *text_of(float value)
{
    static char text[FLOAT_TEXT_MAX + 1];
    size_t len = float_text_write(value, text);
    if (len > FLOAT_TEXT_MAX)
        ck_abort_msg("%zu bytes for %a", len, (double)value);
    text[len] = '\0';
    return text;
}

/* The significant digits of a text, without leading and trailing zeros. */
static int count_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && count == 0))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

/* Whether a decimal of `digits` digits reads back to the value: the nearest one, or one of its neighbours, since the
 * nearest may lie on the side where the next float is closer. */
static bool has_decimal_of(float value, int digits)
{
    char text[64];
    snprintf(text, sizeof text, "%.*e", digits - 1, (double)value);
    if (strtof(text, NULL) == value)
        return true;
    double unit = pow(10, strtol(strchr(text, 'e') + 1, NULL, 10) - (digits - 1));
    for (int side = -1; side <= 1; side += 2) {
        char neighbour[64];
        snprintf(neighbour, sizeof neighbour, "%.*e", digits - 1, strtod(text, NULL) + side * unit);
        if (strtof(neighbour, NULL) == value)
            return true;
    }
    return false;
}

static void assert_reads_back(uint32_t bits)
{
    float value = float_of_bits(bits);
    if (!isfinite(value))
        return;
    const char *text = text_of(value);
    if (bits_of_float(strtof(text, NULL)) != bits)
        ck_abort_msg("%08x became %s", bits, text);
}

static void assert_shortest_and_nearest(uint32_t bits)
{
    float value = float_of_bits(bits);
    if (!isfinite(value) || value == 0)
        return;
    const char *text = text_of(value);
    int digits = count_digits(text);
    if (digits > 1 && has_decimal_of(value, digits - 1))
        ck_abort_msg("%08x became %s, which has a digit too many", bits, text);
    char nearest[64];
    snprintf(nearest, sizeof nearest, "%.*e", digits - 1, (double)value);
    if (strtof(nearest, NULL) == value && strtod(nearest, NULL) != strtod(text, NULL))
        ck_abort_msg("%08x became %s, but %s is nearer", bits, text, nearest);
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

START_TEST(float_text_writes_as_python_does)
{
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        {0.0f, "0.0"},
        {-0.0f, "-0.0"},
        {1.0f, "1.0"},
        {-12.5f, "-12.5"},
        {0.1f, "0.1"},
        {0.98f, "0.98"},
        {1.0f / 3, "0.33333334"},
        {-2.0f / 3, "-0.6666667"},
        {255.0f, "255.0"},
        {1e-4f, "0.0001"},
        {-0.00012345678f, "-0.00012345678"},
        {1e-5f, "1e-05"},
        {1.5e-5f, "1.5e-05"},
        {16777216.0f, "16777216.0"},
        {1073741824.0f, "1073741800.0"},
        {1e15f, "1000000000000000.0"},
        {9.999999e15f, "9999999000000000.0"},
        {-1.2345678e15f, "-1234567800000000.0"},
        {1e16f, "1e+16"},
        {1.5e20f, "1.5e+20"},
        {FLT_MAX, "3.4028235e+38"},
        {-FLT_MAX, "-3.4028235e+38"},
        {FLT_MIN, "1.1754944e-38"},
        {FLT_EPSILON, "1.1920929e-07"},
        {1e-45f, "1e-45"},
        {3e-45f, "3e-45"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        ck_assert_str_eq(text_of(cases[i].value), cases[i].text);
}
END_TEST

START_TEST(float_text_is_shortest_and_nearest_around_every_power_of_two)
{
    for (uint32_t exponent = 0; exponent < 255; exponent++)
        for (uint32_t near = 0; near < 200; near++) {
            uint32_t bits = (exponent << 23) + near - 100;
            assert_reads_back(bits);
            assert_shortest_and_nearest(bits);
        }
}
END_TEST

START_TEST(float_text_is_shortest_and_nearest_around_every_power_of_ten)
{
    for (int exponent = -45; exponent <= 38; exponent++)
        for (uint32_t near = 0; near < 200; near++) {
            uint32_t bits = bits_of_float((float)pow(10, exponent)) + near - 100;
            assert_reads_back(bits);
            assert_shortest_and_nearest(bits);
        }
}
END_TEST

START_TEST(float_text_is_shortest_and_nearest_for_the_smallest_and_for_whole_numbers)
{
    for (uint32_t i = 0; i < 5000; i++) {
        assert_reads_back(i);
        assert_shortest_and_nearest(i);
        assert_reads_back(bits_of_float((float)i * 1000 + (float)i));
        assert_shortest_and_nearest(bits_of_float((float)i * 1000 + (float)i));
    }
}
END_TEST

START_TEST(float_text_is_shortest_and_nearest_for_random_floats)
{
    uint64_t state = 1;
    for (int i = 0; i < 200000; i++)
        assert_shortest_and_nearest(next_random(&state));
}
END_TEST

START_TEST(float_text_reads_back_for_random_floats)
{
    uint64_t state = 2;
    for (int i = 0; i < 3000000; i++)
        assert_reads_back(next_random(&state));
}
END_TEST

/* A natural number of 256 bits, least word first: enough for 10^45 and for 2^(63 + 103). */
struct natural {
    uint32_t words[8];
};

static struct natural natural_times(struct natural n, uint32_t factor)
{
    uint64_t carry = 0;
    for (int i = 0; i < 8; i++) {
        carry += (uint64_t)n.words[i] * factor;
        n.words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        ck_abort_msg("more than 256 bits");
    return n;
}

static struct natural natural_halved(struct natural n, bool *any_lost)
{
    *any_lost = *any_lost || n.words[0] & 1;
    for (int i = 0; i < 8; i++)
        n.words[i] = n.words[i] >> 1 | (i < 7 ? n.words[i + 1] << 31 : 0);
    return n;
}

static struct natural natural_minus(struct natural a, struct natural b, bool *is_negative)
{
    int64_t borrow = 0;
    for (int i = 0; i < 8; i++) {
        borrow += (int64_t)a.words[i] - b.words[i];
        a.words[i] = (uint32_t)borrow;
        borrow >>= 32;
    }
    *is_negative = borrow < 0;
    return a;
}

static struct natural natural_power_of_ten(int exponent)
{
    struct natural n = {{1}};
    while (exponent--)
        n = natural_times(n, 10);
    return n;
}

/* The first 64 bits of 10^exponent, rounded up. */
static uint64_t power_up(int exponent)
{
    struct natural n = natural_times(natural_times(natural_power_of_ten(exponent), 1u << 31), 1u << 31);
    bool any_lost = false;
    while (n.words[2] || n.words[3] || n.words[4] || n.words[5] || n.words[6] || n.words[7])
        n = natural_halved(n, &any_lost);
    uint64_t first = (uint64_t)n.words[1] << 32 | n.words[0];
    while (!(first >> 63))
        first <<= 1; /* only for 10^0, which has 63 bits here */
    return first + any_lost;
}

/* The first 64 bits of 1 / 10^exponent, rounded up: long division of ever larger powers of two. */
static uint64_t power_of_inverse_up(int exponent)
{
    struct natural divisor = natural_power_of_ten(exponent);
    struct natural rest = {{1}};
    uint64_t quotient = 0;
    while (!(quotient >> 63)) {
        bool is_negative;
        rest = natural_times(rest, 2);
        struct natural less = natural_minus(rest, divisor, &is_negative);
        quotient = quotient << 1 | !is_negative;
        rest = is_negative ? rest : less;
    }
    return quotient + 1; /* no power of ten but 1 divides a power of two */
}

START_TEST(float_text_table_holds_the_powers_of_ten_exactly_as_documented)
{
    for (int k = FLOAT_TEXT_POWER_MIN; k <= FLOAT_TEXT_POWER_MAX; k++)
        ck_assert_uint_eq(float_text_powers[k - FLOAT_TEXT_POWER_MIN],
                          k < 0 ? power_of_inverse_up(-k) : power_up(k));
}
END_TEST

UNIT_MAIN("server/float_text", float_text_writes_as_python_does,
          float_text_is_shortest_and_nearest_around_every_power_of_two,
          float_text_is_shortest_and_nearest_around_every_power_of_ten,
          float_text_is_shortest_and_nearest_for_the_smallest_and_for_whole_numbers,
          float_text_is_shortest_and_nearest_for_random_floats, float_text_reads_back_for_random_floats,
          float_text_table_holds_the_powers_of_ten_exactly_as_documented)
