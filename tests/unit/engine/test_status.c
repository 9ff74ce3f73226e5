#include "engine/status.h"

#include <string.h>

#include "tests/unit/unit.h"

START_TEST(status_has_a_text_for_every_code)
{
    ck_assert_str_eq(status_text(STATUS_OK), "ok");
    ck_assert_str_eq(status_text(STATUS_INTERNAL), "internal error");
}
END_TEST

START_TEST(error_set_returns_its_status_and_clears_an_old_hint)
{
    struct error err;
    ck_assert_int_eq(error_set(&err, STATUS_INVALID, "got %d", 7), STATUS_INVALID);
    ck_assert_int_eq(error_hint(&err, "send %d", 8), STATUS_INVALID);
    ck_assert_str_eq(err.message, "got 7");
    ck_assert_str_eq(err.hint, "send 8");
    error_set(&err, STATUS_IO, "again");
    ck_assert_str_eq(err.hint, "");
}
END_TEST

START_TEST(error_set_accepts_no_error_to_fill)
{
    ck_assert_int_eq(error_set(NULL, STATUS_IO, "lost"), STATUS_IO);
}
END_TEST

START_TEST(error_message_is_cut_between_utf8_characters)
{
    struct error err;
    char text[1024];
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    text[sizeof text - 2] = '\0';
    error_set(&err, STATUS_INVALID, "%s", text);
    size_t len = strlen(err.message);
    ck_assert_uint_gt(len, sizeof err.message - 3);
    ck_assert_uint_eq(len % 2, 0);
}
END_TEST

START_TEST(error_prefix_says_where_and_keeps_status_and_hint)
{
    struct error err;
    error_set(&err, STATUS_TOO_LARGE, "5 rows, at most 4 are taken");
    error_hint(&err, "send fewer");
    ck_assert_int_eq(error_prefix(&err, "part %d: ", 2), STATUS_TOO_LARGE);
    ck_assert_int_eq(error_prefix(&err, "body: "), STATUS_TOO_LARGE);
    ck_assert_int_eq(err.status, STATUS_TOO_LARGE);
    ck_assert_str_eq(err.message, "body: part 2: 5 rows, at most 4 are taken");
    ck_assert_str_eq(err.hint, "send fewer");
    ck_assert_int_eq(error_prefix(NULL, "body: "), STATUS_INTERNAL);
}
END_TEST

START_TEST(error_prefix_cuts_a_long_message_between_utf8_characters)
{
    struct error err;
    for (size_t shift = 0; shift < 4; shift++) {
        err.status = STATUS_INVALID;
        for (size_t i = 0; i + 3 < sizeof err.message; i += 3)
            memcpy(err.message + i, "\xE2\x82\xAC", 3);
        err.message[sizeof err.message / 3 * 3 - 3] = '\0';
        error_prefix(&err, "%.*s", (int)shift, "abc");
        size_t len = strlen(err.message);
        ck_assert_uint_gt(len, sizeof err.message - 5);
        ck_assert_uint_eq((len - shift) % 3, 0);
    }
}
END_TEST

UNIT_MAIN("engine/status", error_prefix_says_where_and_keeps_status_and_hint,
          error_prefix_cuts_a_long_message_between_utf8_characters, status_has_a_text_for_every_code,
          error_set_returns_its_status_and_clears_an_old_hint, error_set_accepts_no_error_to_fill,
          error_message_is_cut_between_utf8_characters)
