#include "server/log_line.h"

#include <stdint.h>

#include "server/json_text.h"
#include "tests/unit/unit.h"

typedef void add_fn(struct log_line *line, const char *text, size_t max);

/* The line that one text makes, newline taken off. */
static const char *made_by(add_fn *add, const char *text, size_t max)
{
    static struct log_line line;
    log_line_begin(&line);
    add(&line, text, max);
    log_line_end(&line);
    ck_assert_uint_ge(line.len, 1);
    ck_assert_int_eq(line.data[line.len - 1], '\n');
    line.data[line.len - 1] = '\0';
    return line.data;
}

START_TEST(log_line_holds_what_was_added_and_a_newline)
{
    struct log_line line;
    log_line_begin(&line);
    log_line_add(&line, "abc", 2);
    log_line_add_str(&line, " ");
    log_line_add_uint(&line, 0);
    log_line_add_uint(&line, UINT64_MAX);
    log_line_end(&line);
    ck_assert_uint_eq(line.len, 25);
    ck_assert_mem_eq(line.data, "ab 018446744073709551615\n", 25);
}
END_TEST

START_TEST(log_line_writes_times_in_utc)
{
    static const struct {
        int64_t ms;
        const char *iso, *common;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"},
        {1763991482123, "2025-11-24T13:38:02.123Z", "24/Nov/2025:13:38:02 +0000"},
        {1763991482999, "2025-11-24T13:38:02.999Z", "24/Nov/2025:13:38:02 +0000"},
        {951782400007, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000"},
        {4102444799060, "2099-12-31T23:59:59.060Z", "31/Dec/2099:23:59:59 +0000"},
        {-1, "1969-12-31T23:59:59.999Z", "31/Dec/1969:23:59:59 +0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct log_line line;
        log_line_begin(&line);
        log_line_add_time(&line, cases[i].ms);
        ck_assert_mem_eq(line.data, cases[i].iso, strlen(cases[i].iso));
        ck_assert_uint_eq(line.len, strlen(cases[i].iso));
        log_line_begin(&line);
        log_line_add_time_common(&line, cases[i].ms);
        ck_assert_mem_eq(line.data, cases[i].common, strlen(cases[i].common));
        ck_assert_uint_eq(line.len, strlen(cases[i].common));
    }
}
END_TEST

START_TEST(log_line_survives_times_that_no_calendar_has)
{
    static const int64_t times[] = {INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < 2; i++) {
        struct log_line line;
        log_line_begin(&line);
        log_line_add_time(&line, times[i]);
        ck_assert_uint_gt(line.len, 10);
        ck_assert_uint_lt(line.len, 50);
    }
}
END_TEST

START_TEST(log_line_plain_keeps_characters_and_replaces_controls_and_broken_bytes)
{
    ck_assert_str_eq(made_by(log_line_add_plain, "a \"b\" \\ \xC3\xA9\xF0\x9F\x91\x9F", 99),
                     "a \"b\" \\ \xC3\xA9\xF0\x9F\x91\x9F");
    ck_assert_str_eq(made_by(log_line_add_plain, "a\nb\rc\x1B[31m\x7F\t", 99), "a?b?c?[31m??");
    ck_assert_str_eq(made_by(log_line_add_plain, "\xC2\x9B|\xFF|\xC3(|\xE2\x82", 99), "?|?|?(|??");
}
END_TEST

START_TEST(log_line_quoted_and_word_are_escaped_as_web_servers_do)
{
    ck_assert_str_eq(made_by(log_line_add_quoted, "a b\"c\\d\n\x7F\xC3\xA9\xFF", 99),
                     "a b\\\"c\\\\d\\x0a\\x7f\\xc3\\xa9\\xff");
    ck_assert_str_eq(made_by(log_line_add_word, "a b\"c\\d\n\x7F\xC3\xA9\xFF", 99),
                     "a\\x20b\\\"c\\\\d\\x0a\\x7f\\xc3\\xa9\\xff");
}
END_TEST

START_TEST(log_line_json_is_a_json_string)
{
    ck_assert_str_eq(made_by(log_line_add_json, "a\"\\\n\x01\x7F\xC2\x9B\xC3\xA9\xFF", 99),
                     "\"a\\\"\\\\\\u000a\\u0001\\u007f\\u009b\xC3\xA9\xEF\xBF\xBD\"");
    ck_assert_str_eq(made_by(log_line_add_json, "", 99), "\"\"");
}
END_TEST

START_TEST(log_line_escapes_every_byte_alone_and_in_pairs)
{
    for (unsigned first = 1; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            const char text[] = {(char)first, (char)second, '\0'};
            const char *json = made_by(log_line_add_json, text, 99);
            ck_assert_msg(json_is_valid(json, strlen(json)), "%u %u: %s", first, second, json);
            const char *word = made_by(log_line_add_word, text, 99);
            for (const char *at = word; *at; at++)
                ck_assert_msg(*at > ' ' && *at < 0x7F, "%u %u: %s", first, second, word);
            const char *plain = made_by(log_line_add_plain, text, 99);
            for (const char *at = plain; *at; at++)
                ck_assert_msg((unsigned char)*at >= ' ' && *at != 0x7F, "%u %u", first, second);
        }
}
END_TEST

START_TEST(log_line_cuts_texts_between_characters_and_shows_it)
{
    ck_assert_str_eq(made_by(log_line_add_plain, "12345", 5), "12345");
    ck_assert_str_eq(made_by(log_line_add_plain, "123456", 5), "12345...");
    ck_assert_str_eq(made_by(log_line_add_plain, "1234\xC3\xA9", 5), "1234...");
    ck_assert_str_eq(made_by(log_line_add_word, "1 2", 4), "1...");
    ck_assert_str_eq(made_by(log_line_add_json, "12\n", 7), "\"12...\"");
    ck_assert_str_eq(made_by(log_line_add_json, "1\n", 7), "\"1\\u000a\"");
    ck_assert_str_eq(made_by(log_line_add_plain, "1", 0), "...");
    ck_assert_str_eq(made_by(log_line_add_plain, "", 0), "");
}
END_TEST

START_TEST(log_line_that_is_full_still_ends_and_closes_its_quotes)
{
    static char text[2 * LOG_LINE_MAX];
    memset(text, '"', sizeof text - 1);
    for (size_t before = LOG_LINE_MAX - 20; before <= LOG_LINE_MAX; before++) {
        struct log_line line;
        log_line_begin(&line);
        for (size_t i = 0; i < before; i++)
            log_line_add_str(&line, "x");
        size_t start = line.len;
        log_line_add_json(&line, text, sizeof text);
        ck_assert(line.len == start || (line.data[start] == '"' && line.data[line.len - 1] == '"'));
        ck_assert(line.len == start || json_string_read(line.data + start, &(struct json_string){0},
                                                        &(struct json_fault){0}) == line.data + line.len);
        log_line_add_word(&line, text, sizeof text);
        log_line_add_uint(&line, UINT64_MAX);
        log_line_end(&line);
        ck_assert_uint_le(line.len, LOG_LINE_MAX);
        ck_assert_int_eq(line.data[line.len - 1], '\n');
    }
}
END_TEST

UNIT_MAIN("server/log_line", log_line_holds_what_was_added_and_a_newline, log_line_writes_times_in_utc,
          log_line_survives_times_that_no_calendar_has,
          log_line_plain_keeps_characters_and_replaces_controls_and_broken_bytes,
          log_line_quoted_and_word_are_escaped_as_web_servers_do, log_line_json_is_a_json_string,
          log_line_escapes_every_byte_alone_and_in_pairs, log_line_cuts_texts_between_characters_and_shows_it,
          log_line_that_is_full_still_ends_and_closes_its_quotes)
