#include "server/base64.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

static void assert_decodes(const char *text, const char *expected)
{
    unsigned char bytes[64];
    size_t len = 0;
    struct error err = {0};
    ck_assert_uint_le(base64_decoded_max(strlen(text)), sizeof bytes);
    ck_assert_msg(base64_decode(text, strlen(text), bytes, &len, &err) == STATUS_OK, "%s: %s", text, err.message);
    ck_assert_uint_eq(len, strlen(expected));
    ck_assert_mem_eq(bytes, expected, len);
}

static void assert_refuses(const char *text, size_t len, const char *in_message)
{
    unsigned char bytes[64];
    size_t ret_len = 77;
    struct error err = {0};
    ck_assert_int_eq(base64_decode(text, len, bytes, &ret_len, &err), STATUS_INVALID);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "%s: %s", text, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_uint_eq(ret_len, 77);
}

START_TEST(base64_decodes_the_vectors_of_rfc_4648)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"Zg==", "f"},
                                             {"Zm8=", "fo"},
                                             {"Zm9v", "foo"},
                                             {"Zm9vYg==", "foob"},
                                             {"Zm9vYmE=", "fooba"},
                                             {"Zm9vYmFy", "foobar"}};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++)
        assert_decodes(vectors[i][0], vectors[i][1]);
}
END_TEST

START_TEST(base64_decodes_without_padding)
{
    assert_decodes("Zg", "f");
    assert_decodes("Zm8", "fo");
    assert_decodes("Zm9vYg", "foob");
}
END_TEST

START_TEST(base64_decodes_both_alphabets_and_their_mixture)
{
    assert_decodes("+/+/", "\xFB\xFF\xBF");
    assert_decodes("-_-_", "\xFB\xFF\xBF");
    assert_decodes("-/+_", "\xFB\xFF\xBF");
}
END_TEST

START_TEST(base64_decodes_every_value_of_every_byte)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned value = 0; value < 256; value++) {
        char text[3] = {alphabet[value >> 2], alphabet[(value & 3) << 4], '\0'};
        char whole[5] = {'A', 'A', alphabet[value >> 6], alphabet[value & 63], '\0'};
        unsigned char bytes[3];
        size_t len = 0;
        ck_assert_int_eq(base64_decode(text, 2, bytes, &len, NULL), STATUS_OK);
        ck_assert_uint_eq(len, 1);
        ck_assert_uint_eq(bytes[0], value);
        ck_assert_int_eq(base64_decode(whole, 4, bytes, &len, NULL), STATUS_OK);
        ck_assert_uint_eq(bytes[2], value);
    }
}
END_TEST

START_TEST(base64_passes_over_line_breaks_anywhere)
{
    assert_decodes("Zm9v\r\nYmFy\r\n", "foobar");
    assert_decodes("\nZ\nm\n9\nv\nY\nm\nF\ny\n", "foobar");
    assert_decodes("Zm9vY\r\nm\nE\r\n=\r\n", "fooba");
    assert_decodes("Zg=\n=", "f");
    assert_decodes("\r\n", "");
}
END_TEST

START_TEST(base64_decodes_in_place)
{
    char text[] = "YSBsb25nZXIg\r\ndGV4dCB0aGF0IGlzIGRlY29kZWQgaW4gcGxhY2U=";
    size_t len = 0;
    ck_assert_int_eq(base64_decode(text, strlen(text), text, &len, NULL), STATUS_OK);
    ck_assert_uint_eq(len, strlen("a longer text that is decoded in place"));
    ck_assert_mem_eq(text, "a longer text that is decoded in place", len);
}
END_TEST

START_TEST(base64_refuses_a_foreign_character_by_its_position)
{
    assert_refuses("Zm9v*mFy", 8, "'*' at position 4");
    assert_refuses("Zm9vYm Fy", 9, "0x20 at position 6");
    assert_refuses("Zm9vYmF\xFF", 8, "0xff at position 7");
    assert_refuses("Zm9v\0mFy", 8, "0x00 at position 4");
    assert_refuses("Zg==*", 5, "'*' at position 4");
}
END_TEST

START_TEST(base64_refuses_a_data_url_with_its_own_hint)
{
    char text[] = "data:image/png;base64,Zm9v";
    size_t len;
    struct error err = {0};
    ck_assert_int_eq(base64_decode(text, strlen(text), text, &len, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "\"data:\""));
    ck_assert_ptr_nonnull(strstr(err.hint, "\"base64,\""));
}
END_TEST

START_TEST(base64_refuses_wrong_padding)
{
    assert_refuses("Zg=", 3, "less padding");
    assert_refuses("Zg===", 5, "more padding");
    assert_refuses("Zm8==", 5, "more padding");
    assert_refuses("Zm9v=", 5, "more padding");
    assert_refuses("Z===", 4, "more padding");
    assert_refuses("=", 1, "more padding");
    assert_refuses("Zg==Zg==", 8, "after the padding");
}
END_TEST

START_TEST(base64_refuses_a_single_character_left_over)
{
    assert_refuses("Z", 1, "single character");
    assert_refuses("Zm9vY", 5, "single character");
}
END_TEST

START_TEST(base64_refuses_bits_that_belong_to_no_byte)
{
    assert_refuses("Zh==", 4, "belong to no byte");
    assert_refuses("Zm9", 3, "belong to no byte");
    assert_refuses("Zm9vZv", 6, "belong to no byte");
}
END_TEST

START_TEST(base64_bound_is_exact_and_does_not_overflow)
{
    static const size_t expected[] = {0, 0, 1, 2, 3, 3, 4, 5, 6};
    for (size_t len = 0; len < sizeof expected / sizeof expected[0]; len++)
        ck_assert_uint_eq(base64_decoded_max(len), expected[len]);
    ck_assert_uint_eq(base64_decoded_max(SIZE_MAX), SIZE_MAX / 4 * 3 + 2);
}
END_TEST

UNIT_MAIN("server/base64", base64_decodes_the_vectors_of_rfc_4648, base64_decodes_without_padding,
          base64_decodes_both_alphabets_and_their_mixture, base64_decodes_every_value_of_every_byte,
          base64_passes_over_line_breaks_anywhere, base64_decodes_in_place,
          base64_refuses_a_foreign_character_by_its_position, base64_refuses_a_data_url_with_its_own_hint,
          base64_refuses_wrong_padding, base64_refuses_a_single_character_left_over,
          base64_refuses_bits_that_belong_to_no_byte, base64_bound_is_exact_and_does_not_overflow)
