/* Where a reader stands in a JSON text, and how it refuses what it finds there: every message names line and column.
 * One reader owns it. */
#ifndef MLPD_SERVER_JSON_CURSOR_H
#define MLPD_SERVER_JSON_CURSOR_H

#include "engine/status.h"

struct json_cursor {
    const char *text;
    const char *at;
    const char *end; /* where the closing NUL is */
    struct error *err;
};

/* A short text, returned by value so that it can stand among printf's arguments. */
struct json_phrase {
    char text[256];
};

/* What stands at `at` in printable ASCII and in quotes: a string to its end, else all up to the next delimiter, and of
 * that the first 20 characters or so. */
struct json_phrase json_excerpt(const struct json_cursor *cursor, const char *at);

/* Refuses what stands at `at`: "line 1, column 5: " and the message. Returns STATUS_INVALID. */
enum status json_refuse(const struct json_cursor *cursor, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Refuses what stands at the cursor: "line 1, column 5: expected ',' or ']', found 'x'". */
enum status json_refuse_expected(const struct json_cursor *cursor, const char *expected);

#endif
