#include "engine/utf8.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

static bool printable(const char *text)
{
    return utf8_is_printable(text, strlen(text));
}

START_TEST(utf8_takes_text_of_any_script)
{
    ck_assert(printable(""));
    ck_assert(printable("T-shirt/top ~"));
    ck_assert(printable("St\xC3\xBC"
                        "ck \xE2\x82\xAC \xF0\x9F\x91\x9F"));
    ck_assert(printable("\xF4\x8F\xBF\xBF")); /* U+10FFFF */
    ck_assert(printable("\xED\x9F\xBF"));     /* U+D7FF, the last before the surrogates */
}
END_TEST

START_TEST(utf8_refuses_control_characters)
{
    ck_assert(!printable("a\tb"));
    ck_assert(!printable("\x1B[31m"));
    ck_assert(!printable("\x7F"));
    ck_assert(!printable("\xC2\x80")); /* U+0080 */
    ck_assert(!printable("\xC2\x9F"));
    ck_assert(printable("\xC2\xA0")); /* U+00A0, the first behind them */
    ck_assert(!utf8_is_printable("a\0b", 3));
}
END_TEST

START_TEST(utf8_refuses_overlong_forms_surrogates_and_what_lies_beyond_unicode)
{
    ck_assert(!printable("\xC0\xAF"));
    ck_assert(!printable("\xC1\xBF"));
    ck_assert(!printable("\xE0\x9F\xBF"));
    ck_assert(!printable("\xF0\x8F\xBF\xBF"));
    ck_assert(!printable("\xED\xA0\x80"));
    ck_assert(!printable("\xED\xBF\xBF"));
    ck_assert(!printable("\xF4\x90\x80\x80"));
    ck_assert(!printable("\xF5\x80\x80\x80"));
    ck_assert(!printable("\xFF"));
}
END_TEST

START_TEST(utf8_refuses_sequences_that_are_cut_or_have_no_beginning)
{
    ck_assert(!printable("\xE2\x82"));
    ck_assert(!printable("\xE2\x82"
                         "a"));
    ck_assert(!printable("\x82"));
    ck_assert(!utf8_is_printable("\xC3\xBC", 1));
}
END_TEST

START_TEST(utf8_cut_never_ends_inside_a_character)
{
    const char *text = "ab\xE2\x82\xAC"
                       "c";
    ck_assert_int_eq(utf8_cut(text, 6, 6), 6);
    ck_assert_int_eq(utf8_cut(text, 6, 99), 6);
    ck_assert_int_eq(utf8_cut(text, 6, 5), 5);
    ck_assert_int_eq(utf8_cut(text, 6, 4), 2);
    ck_assert_int_eq(utf8_cut(text, 6, 3), 2);
    ck_assert_int_eq(utf8_cut(text, 6, 2), 2);
    ck_assert_int_eq(utf8_cut(text, 6, 0), 0);
}
END_TEST

/* Written by the definition of the encoding, and thus without its exceptions. */
static size_t encode(uint32_t code, char dst[UTF8_BYTES_MAX])
{
    static const unsigned char leads[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        dst[i] = (char)(0x80 | (code & 0x3F));
    dst[0] = (char)(leads[n] | code);
    return n;
}

START_TEST(utf8_length_knows_every_code_point_and_no_surrogate)
{
    char text[UTF8_BYTES_MAX];
    for (uint32_t code = 0; code < 0x110400; code++) {
        size_t n = encode(code, text);
        bool valid = code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
        ck_assert_uint_eq(utf8_length(text, n), valid ? n : 0);
        ck_assert_uint_eq(utf8_length(text, n - 1), 0);
    }
}
END_TEST

START_TEST(utf8_length_looks_at_nothing_behind_the_first_wrong_byte)
{
    static const char *const cut[] = {"", "\xC3", "\xE2\x82", "\xF0\x9F\x91", "\xF0"};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        size_t len = strlen(cut[i]);
        char *text = malloc(len + 1); /* of this size, so that AddressSanitizer sees a look beyond the NUL */
        memcpy(text, cut[i], len + 1);
        ck_assert_uint_eq(utf8_length(text, UTF8_BYTES_MAX), i == 0 ? 1 : 0);
        free(text);
    }
}
END_TEST

UNIT_MAIN("engine/utf8", utf8_length_knows_every_code_point_and_no_surrogate,
          utf8_length_looks_at_nothing_behind_the_first_wrong_byte, utf8_takes_text_of_any_script,
          utf8_refuses_control_characters, utf8_refuses_overlong_forms_surrogates_and_what_lies_beyond_unicode,
          utf8_refuses_sequences_that_are_cut_or_have_no_beginning, utf8_cut_never_ends_inside_a_character)
