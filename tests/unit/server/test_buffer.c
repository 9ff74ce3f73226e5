#include "server/buffer.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

/* An allocation that is refused must come back as NULL under the sanitizers too. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void assert_holds(const struct buffer *buffer, const char *expected)
{
    ck_assert(!buffer->failed);
    ck_assert_ptr_nonnull(buffer->data);
    ck_assert_str_eq(buffer->data, expected);
    ck_assert_uint_eq(buffer->len, strlen(expected));
    ck_assert_uint_gt(buffer->capacity, buffer->len);
}

static void assert_json(const char *text, const char *expected)
{
    struct buffer buffer = {0};
    buffer_append_json_string(&buffer, text);
    assert_holds(&buffer, expected);
    buffer_free(&buffer);
}

START_TEST(buffer_holds_what_was_appended_and_a_nul)
{
    struct buffer buffer = {0};
    buffer_append_str(&buffer, "text ");
    buffer_append(&buffer, "bytes", 3);
    buffer_append_char(&buffer, '!');
    buffer_append_format(&buffer, " %d %s", -7, "x");
    buffer_append_str(&buffer, "");
    assert_holds(&buffer, "text byt! -7 x");
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_holds_bytes_of_any_value)
{
    struct buffer buffer = {0};
    buffer_append(&buffer, "a\0b", 3);
    buffer_append_char(&buffer, '\0');
    ck_assert_uint_eq(buffer.len, 4);
    ck_assert_mem_eq(buffer.data, "a\0b\0", 5);
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_takes_nothing_from_nowhere)
{
    struct buffer buffer = {0};
    buffer_append(&buffer, NULL, 0);
    assert_holds(&buffer, "");
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_appends_numbers_of_every_length)
{
    struct buffer buffer = {0};
    buffer_append_uint(&buffer, 0);
    buffer_append_char(&buffer, ' ');
    buffer_append_uint(&buffer, 10);
    buffer_append_char(&buffer, ' ');
    buffer_append_uint(&buffer, ULLONG_MAX);
    assert_holds(&buffer, "0 10 18446744073709551615");
    buffer_free(&buffer);
}
END_TEST

/* One byte at a time, through every moment at which it is just full. */
START_TEST(buffer_grows_a_byte_at_a_time)
{
    struct buffer buffer = {0};
    size_t growths = 0;
    for (size_t i = 0; i < 100000; i++) {
        size_t capacity = buffer.capacity;
        buffer_append_char(&buffer, (char)('a' + i % 26));
        growths += buffer.capacity != capacity;
        ck_assert(!buffer.failed && buffer.len == i + 1 && buffer.capacity > buffer.len);
        ck_assert_int_eq(buffer.data[i + 1], '\0');
    }
    for (size_t i = 0; i < buffer.len; i++)
        ck_assert_int_eq(buffer.data[i], (char)('a' + i % 26));
    ck_assert_uint_lt(growths, 30); /* by half each time, so that appending takes linear time */
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_format_fills_what_is_left_exactly)
{
    for (size_t before = 200; before < 300; before++) {
        struct buffer buffer = {0};
        for (size_t i = 0; i < before; i++)
            buffer_append_char(&buffer, '.');
        buffer_append_format(&buffer, "%s", "0123456789");
        ck_assert_uint_eq(buffer.len, before + 10);
        ck_assert_str_eq(buffer.data + before, "0123456789");
        buffer_free(&buffer);
    }
}
END_TEST

START_TEST(buffer_reserves_once_for_what_follows)
{
    struct buffer buffer = {0};
    ck_assert(buffer_reserve(&buffer, 1000));
    ck_assert_uint_eq(buffer.len, 0);
    ck_assert_int_eq(buffer.data[0], '\0');
    const char *data = buffer.data;
    size_t capacity = buffer.capacity;
    for (size_t i = 0; i < 1000; i++)
        buffer_append_char(&buffer, 'x');
    ck_assert_ptr_eq(buffer.data, data);
    ck_assert_uint_eq(buffer.capacity, capacity);
    ck_assert(buffer_reserve(&buffer, 0));
    ck_assert_ptr_eq(buffer.data, data);
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_fails_on_sizes_that_overflow_and_keeps_what_it_has)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4, SIZE_MAX / 2 + 1, SIZE_MAX / 2 - 5000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct buffer buffer = {0};
        buffer_append_str(&buffer, "kept");
        ck_assert(!buffer_reserve(&buffer, sizes[i]));
        ck_assert(buffer.failed);
        ck_assert_str_eq(buffer.data, "kept");
        ck_assert_uint_eq(buffer.len, 4);
        buffer_free(&buffer);
        ck_assert(!buffer_reserve(&buffer, sizes[i]));
        ck_assert(buffer.failed && !buffer.data && buffer.len == 0);
        buffer_free(&buffer);
    }
}
END_TEST

START_TEST(buffer_appends_nothing_after_a_failure)
{
    struct buffer buffer = {0};
    buffer_append_str(&buffer, "kept");
    ck_assert(!buffer_reserve(&buffer, SIZE_MAX));
    buffer_append(&buffer, "bytes", 5);
    buffer_append_str(&buffer, "text");
    buffer_append_char(&buffer, 'c');
    buffer_append_uint(&buffer, 1);
    buffer_append_format(&buffer, "%d", 2);
    buffer_append_json_string(&buffer, "\"\x01\xFF");
    ck_assert(!buffer_reserve(&buffer, 0));
    ck_assert(buffer.failed);
    ck_assert_str_eq(buffer.data, "kept");
    ck_assert_uint_eq(buffer.len, 4);
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_reset_keeps_memory_up_to_the_bound)
{
    struct buffer buffer = {0};
    buffer_append_str(&buffer, "text");
    const char *data = buffer.data;
    size_t capacity = buffer.capacity;
    buffer_reset(&buffer, capacity);
    ck_assert_ptr_eq(buffer.data, data);
    ck_assert_uint_eq(buffer.capacity, capacity);
    assert_holds(&buffer, "");
    buffer_reset(&buffer, capacity - 1);
    ck_assert(!buffer.data && buffer.len == 0 && buffer.capacity == 0);
    buffer_append_str(&buffer, "again");
    assert_holds(&buffer, "again");
    buffer_free(&buffer);
}
END_TEST

START_TEST(buffer_reset_makes_a_failed_buffer_usable)
{
    static const size_t keeps[] = {0, 1 << 20};
    for (size_t i = 0; i < 2; i++) {
        struct buffer buffer = {0};
        buffer_append_str(&buffer, "old");
        ck_assert(!buffer_reserve(&buffer, SIZE_MAX));
        buffer_reset(&buffer, keeps[i]);
        buffer_append_str(&buffer, "new");
        assert_holds(&buffer, "new");
        buffer_free(&buffer);
    }
}
END_TEST

START_TEST(buffer_takes_reset_and_free_while_empty_and_twice)
{
    struct buffer buffer = {0};
    buffer_reset(&buffer, 0);
    buffer_reset(&buffer, 100);
    ck_assert_ptr_null(buffer.data);
    buffer_free(&buffer);
    buffer_append_char(&buffer, 'x');
    buffer_free(&buffer);
    buffer_free(&buffer);
    ck_assert(!buffer.data && buffer.len == 0 && buffer.capacity == 0 && !buffer.failed);
}
END_TEST

START_TEST(buffer_json_string_escapes_quotes_and_every_control_character)
{
    assert_json("", "\"\"");
    assert_json("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    assert_json("\n\t\r\b\f", "\"\\n\\t\\u000d\\u0008\\u000c\"");
    for (int c = 1; c < 0x80; c++) {
        struct buffer buffer = {0};
        char text[2] = {(char)c, '\0'}, escape[16];
        bool two = c == '"' || c == '\\' || c == '\n' || c == '\t';
        snprintf(escape, sizeof escape, "\"\\u%04x\"", (unsigned)c);
        buffer_append_json_string(&buffer, text);
        ck_assert_uint_eq(buffer.len, two ? 4 : c < 0x20 || c == 0x7F ? 8 : 3);
        if (buffer.len == 8)
            ck_assert_str_eq(buffer.data, escape);
        buffer_free(&buffer);
    }
}
END_TEST

START_TEST(buffer_json_string_keeps_utf8_to_its_limits)
{
    assert_json("\xC2\x80\xDF\xBF", "\"\xC2\x80\xDF\xBF\""); /* 80, 7FF */
    assert_json("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80",
                "\"\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\"");                                 /* around surrogates */
    assert_json("\xEF\xBF\xBF", "\"\xEF\xBF\xBF\"");                                         /* FFFF */
    assert_json("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", "\"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\""); /* 10000, 10FFFF */
}
END_TEST

#define FFFD "\xEF\xBF\xBD"

START_TEST(buffer_json_string_replaces_each_byte_that_is_not_utf8)
{
    assert_json("\xFF", "\"" FFFD "\"");
    assert_json("\x80z", "\"" FFFD "z\"");                          /* continuation alone */
    assert_json("\xC3", "\"" FFFD "\"");                            /* cut at the end */
    assert_json("\xE2\x82", "\"" FFFD FFFD "\"");                   /* cut at the end */
    assert_json("\xF0\x9F\x98", "\"" FFFD FFFD FFFD "\"");          /* cut at the end */
    assert_json("\xE2\x82\"", "\"" FFFD FFFD "\\\"\"");             /* cut by a quote, which stays escaped */
    assert_json("\xC3\n", "\"" FFFD "\\n\"");                       /* cut by a control character */
    assert_json("\xC0\xAF", "\"" FFFD FFFD "\"");                   /* overlong '/' */
    assert_json("\xC1\xBF", "\"" FFFD FFFD "\"");                   /* overlong */
    assert_json("\xE0\x9F\xBF", "\"" FFFD FFFD FFFD "\"");          /* overlong */
    assert_json("\xF0\x8F\xBF\xBF", "\"" FFFD FFFD FFFD FFFD "\""); /* overlong */
    assert_json("\xED\xA0\x80", "\"" FFFD FFFD FFFD "\"");          /* a surrogate */
    assert_json("\xF4\x90\x80\x80", "\"" FFFD FFFD FFFD FFFD "\""); /* beyond 10FFFF */
    assert_json("\xF5\x80\x80\x80", "\"" FFFD FFFD FFFD FFFD "\""); /* beyond 10FFFF */
    assert_json("\xF8\x88\x80\x80\x80", "\"" FFFD FFFD FFFD FFFD FFFD "\""); /* five bytes */
}
END_TEST

UNIT_MAIN("server/buffer", buffer_holds_what_was_appended_and_a_nul, buffer_holds_bytes_of_any_value,
          buffer_takes_nothing_from_nowhere, buffer_appends_numbers_of_every_length, buffer_grows_a_byte_at_a_time,
          buffer_format_fills_what_is_left_exactly, buffer_reserves_once_for_what_follows,
          buffer_fails_on_sizes_that_overflow_and_keeps_what_it_has, buffer_appends_nothing_after_a_failure,
          buffer_reset_keeps_memory_up_to_the_bound, buffer_reset_makes_a_failed_buffer_usable,
          buffer_takes_reset_and_free_while_empty_and_twice,
          buffer_json_string_escapes_quotes_and_every_control_character,
          buffer_json_string_keeps_utf8_to_its_limits, buffer_json_string_replaces_each_byte_that_is_not_utf8)
