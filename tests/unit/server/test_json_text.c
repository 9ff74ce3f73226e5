#include "server/json_text.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Compares with strtof to the bit, and the number must end where the text ends. */
static void assert_as_strtof(const char *text)
{
    float value = -77;
    const char *end = json_number_read(text, &value);
    if (end != text + strlen(text))
        ck_abort_msg("'%s' is not read to its end", text);
    float expected = strtof(text, NULL);
    if (memcmp(&value, &expected, sizeof value) != 0)
        ck_abort_msg("'%s' became %a instead of %a", text, (double)value, (double)expected);
}

START_TEST(json_number_rounds_as_strtof_for_awkward_numbers)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "0e999999999999999999999",
        "1",
        "-1",
        "0.1",
        "0.003921569",
        "1e22",
        "1e23",
        "1e-22",
        "1e-23",
        "16777216",
        "16777217",
        "16777218",
        "16777219",
        "16777217.0000000000000000000001",
        "16777216.9999999999999999999999",
        "1.00000005960464477539062500000",
        "1.00000005960464477539062500001",
        "1.00000005960464477539062499999",
        "1.000000059604644775",
        "1.000000059604644776",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "9999999999999999999",
        "3.4028235e38",
        "3.4028234663852886e38",
        "3.40282356779733661637e38",
        "3.4028235677973366e38",
        "340282346638528859811704183484516925440",
        "1.17549435e-38",
        "1.1754943508222875e-38",
        "1.1754942807573643e-38",
        "1.17549421e-38",
        "1e-45",
        "1.4e-45",
        "7.006492321624085354618e-46",
        "7.006492321624085e-46",
        "7e-46",
        "1e-50",
        "1e-400",
        "1E+2",
        "1e+02",
        "1.5E-3",
        "0.000000000000000000000000000000000000000000001401298464324817",
        "123456789012345678901234567890e-30",
        "8388608.5",
        "8388609.5",
        "4194304.25",
        "4194304.75",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_as_strtof(texts[i]);
}
END_TEST

START_TEST(json_number_rounds_as_strtof_for_every_printed_precision)
{
    uint64_t state = 3;
    for (int i = 0; i < 300000; i++) {
        uint32_t bits = next_random(&state);
        float value;
        memcpy(&value, &bits, sizeof value);
        char text[64];
        snprintf(text, sizeof text, "%.*e", (int)(next_random(&state) % 24), (double)value);
        if (isfinite(value))
            assert_as_strtof(text);
    }
}
END_TEST

START_TEST(json_number_rounds_as_strtof_at_and_beside_the_midpoints_of_floats)
{
    uint64_t state = 4;
    for (int i = 0; i < 200000; i++) {
        float value = (float)next_random(&state) * exp2f((float)(next_random(&state) % 80) - 60);
        double middle = ((double)value + (double)nextafterf(value, INFINITY)) / 2;
        double near = nextafter(middle, next_random(&state) % 2 ? INFINITY : 0);
        char text[128];
        snprintf(text, sizeof text, "%.*g", (int)(15 + next_random(&state) % 30),
                 next_random(&state) % 2 ? near : middle);
        assert_as_strtof(text);
    }
}
END_TEST

START_TEST(json_number_reads_short_decimals_as_strtof)
{
    uint64_t state = 5;
    for (int i = 0; i < 300000; i++) {
        char text[64];
        snprintf(text, sizeof text, "%u.%0*ue%d", next_random(&state) % 300, (int)(1 + next_random(&state) % 10),
                 next_random(&state) % 1000000, (int)(next_random(&state) % 100) - 50);
        assert_as_strtof(text);
    }
}
END_TEST

START_TEST(json_number_gives_infinity_for_an_overflow)
{
    static const char *const texts[] = {"1e39", "3.4028236e38", "340282356779733661637539395458142568448", "1e400",
                                        "1e99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        float value = 0;
        ck_assert_ptr_nonnull(json_number_read(texts[i], &value));
        ck_assert_msg(isinf(value) && value > 0, "%s", texts[i]);
    }
    float value = 0;
    ck_assert_ptr_nonnull(json_number_read("-1e39", &value));
    ck_assert(isinf(value) && value < 0);
}
END_TEST

START_TEST(json_number_refuses_what_the_grammar_does_not_have)
{
    static const char *const texts[] = {"",         "-",         "+1",  ".5",  "-.5", "1.", "1.e5", "01",
                                        "-01",      "00",        "1e",  "1e+", "1E-", "e5", "NaN",  "nan",
                                        "Infinity", "-Infinity", "inf", "x",   " 1",  "--1"};
    float value = 7;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(!json_number_read(texts[i], &value), "'%s'", texts[i]);
    ck_assert(value == 7);
}
END_TEST

START_TEST(json_number_stops_at_the_first_byte_that_is_not_its_own)
{
    float value;
    const char *hex = "0x10";
    ck_assert_ptr_eq(json_number_read(hex, &value), hex + 1);
    ck_assert(value == 0);
    const char *list = "-12.5e1,7";
    ck_assert_ptr_eq(json_number_read(list, &value), list + 7);
    ck_assert(value == -125);
    const char *points = "1.5.5";
    ck_assert_ptr_eq(json_number_read(points, &value), points + 3);
}
END_TEST

START_TEST(json_number_reads_a_million_digits)
{
    size_t len = 1000000;
    char *text = malloc(len + 16);
    ck_assert_ptr_nonnull(text);
    memset(text, '0', len);
    text[1] = '.';
    strcpy(text + len, "1e999999");
    float value;
    ck_assert_ptr_eq(json_number_read(text, &value), text + strlen(text));
    ck_assert(value == 1);
    free(text);
}
END_TEST

static void assert_unescapes(const char *text, const char *expected, size_t len)
{
    struct json_string string;
    struct json_fault fault;
    const char *end = json_string_read(text, &string, &fault);
    ck_assert_msg(end == text + strlen(text), "%s", text);
    char *dst = malloc(string.len + 1);
    ck_assert_ptr_nonnull(dst);
    ck_assert_uint_eq(json_string_unescape(string, dst), len);
    ck_assert_mem_eq(dst, expected, len);
    free(dst);
}

START_TEST(json_string_undoes_every_escape)
{
    assert_unescapes("\"\"", "", 0);
    assert_unescapes("\"abc\"", "abc", 3);
    assert_unescapes("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    assert_unescapes("\"\\u0069nputs\"", "inputs", 6);
    assert_unescapes("\"\\u0000\"", "\0", 1);
    assert_unescapes("\"\\u007f\\u0080\\u07FF\\u0800\\uFfFf\"", "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF", 11);
    assert_unescapes("\"\\ud83d\\uDE00\\uD800\\uDC00\\udbff\\udfff\"",
                     "\xF0\x9F\x98\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 12);
    assert_unescapes("\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x7F\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\x7F",
                     10);
}
END_TEST

START_TEST(json_string_refuses_bad_escapes_controls_and_utf8_and_says_where)
{
    static const struct {
        const char *text;
        size_t at;
        const char *what;
    } cases[] = {
        {"\"ab", 3, "a control character that is not escaped"},
        {"\"a\tb\"", 2, "a control character that is not escaped"},
        {"\"\x1F\"", 1, "a control character that is not escaped"},
        {"\"\\x41\"", 1, "an escape that JSON does not have"},
        {"\"\\\"", 3, "a control character that is not escaped"},
        {"\"\\", 1, "an escape that JSON does not have"},
        {"\"\\u12G4\"", 1, "an escape that JSON does not have"},
        {"\"\\u123", 1, "an escape that JSON does not have"},
        {"\"\\U0041\"", 1, "an escape that JSON does not have"},
        {"\"\\ud83d\"", 1, "half of a surrogate pair"},
        {"\"\\ud83dx\"", 1, "half of a surrogate pair"},
        {"\"\\ud83d\\u0041\"", 1, "half of a surrogate pair"},
        {"\"\\ud83d\\ud83d\"", 1, "half of a surrogate pair"},
        {"\"\\ude00\\ud83d\"", 1, "half of a surrogate pair"},
        {"\"x\x80\"", 2, "a byte that is not UTF-8"},
        {"\"\xC3\"", 1, "a byte that is not UTF-8"},
        {"\"\xC0\x80\"", 1, "a byte that is not UTF-8"},
        {"\"\xC1\xBF\"", 1, "a byte that is not UTF-8"},
        {"\"\xE0\x9F\xBF\"", 1, "a byte that is not UTF-8"},
        {"\"\xED\xA0\x80\"", 1, "a byte that is not UTF-8"},
        {"\"\xF0\x8F\xBF\xBF\"", 1, "a byte that is not UTF-8"},
        {"\"\xF4\x90\x80\x80\"", 1, "a byte that is not UTF-8"},
        {"\"\xF5\x80\x80\x80\"", 1, "a byte that is not UTF-8"},
        {"\"\xFF\"", 1, "a byte that is not UTF-8"},
        {"\"\xE2\x82", 1, "a byte that is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_string string;
        struct json_fault fault;
        ck_assert_msg(!json_string_read(cases[i].text, &string, &fault), "%zu: %s", i, cases[i].text);
        ck_assert_str_eq(fault.what, cases[i].what);
        ck_assert_uint_eq((size_t)(fault.at - cases[i].text), cases[i].at);
    }
}
END_TEST

START_TEST(json_is_valid_accepts_every_kind_of_value)
{
    static const char *const texts[] = {
        "0",
        "-1.5e+3",
        "\"\"",
        "\"\\u00e9\"",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "{\"a\":{}}",
        "[1]",
        " [ 1 , 2 ] ",
        "\t\r\n{ \"a\" : [ ] , \"a\" : null }\n",
        "[[1,[2,[3]]],{\"x\":[{\"y\":[]}]}]",
        "[1e999]",
        "{\"a\":[1,2],\"b\":\"c\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(json_is_valid(texts[i], strlen(texts[i])), "%s", texts[i]);
}
END_TEST

START_TEST(json_is_valid_refuses_what_is_not_quite_json)
{
    static const char *const texts[] = {
        "",
        " ",
        "[",
        "]",
        "{",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]]",
        "[1}",
        "{1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{a:1}",
        "{'a':1}",
        "{\"a\" 1}",
        "{,}",
        "[1],",
        "1 2",
        "tru",
        "True",
        "nul",
        "truex",
        "NaN",
        "[Infinity]",
        "01",
        "[1.]",
        "\"a",
        "\"a\nb\"",
        "\xEF\xBB\xBF[1]",
        "// no\n1",
        "\v1",
        "1\f",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1,2}",
        "[\"a\":1]",
        "{\"a\"::1}",
        "[1,,2]",
        "{1:2}",
        "{null:2}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(!json_is_valid(texts[i], strlen(texts[i])), "%s", texts[i]);
    ck_assert(!json_is_valid("1\0", 2));
    ck_assert(!json_is_valid("\"a\0b\"", 5));
    ck_assert(!json_is_valid("\0", 1));
}
END_TEST

START_TEST(json_is_valid_counts_deeper_than_512_as_not_well_formed)
{
    static char text[2048 + 1];
    for (size_t depth = 1; depth <= 513; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        ck_assert_int_eq(json_is_valid(text, 2 * depth), depth <= 512);
        text[2 * depth] = '\0';
        text[2 * depth - 1] = '}';
        ck_assert(!json_is_valid(text, 2 * depth));
    }
}
END_TEST

UNIT_MAIN("server/json_text", json_number_rounds_as_strtof_for_awkward_numbers,
          json_number_rounds_as_strtof_for_every_printed_precision,
          json_number_rounds_as_strtof_at_and_beside_the_midpoints_of_floats,
          json_number_reads_short_decimals_as_strtof, json_number_gives_infinity_for_an_overflow,
          json_number_refuses_what_the_grammar_does_not_have,
          json_number_stops_at_the_first_byte_that_is_not_its_own, json_number_reads_a_million_digits,
          json_string_undoes_every_escape, json_string_refuses_bad_escapes_controls_and_utf8_and_says_where,
          json_is_valid_accepts_every_kind_of_value, json_is_valid_refuses_what_is_not_quite_json,
          json_is_valid_counts_deeper_than_512_as_not_well_formed)
