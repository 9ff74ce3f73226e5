#include "server/json_cursor.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { EXCERPT_MAX = 20 };

static bool is_delimiter(char c)
{
    return strchr(" \t\r\n,:[]{}", c) != NULL; /* the NUL is one, too */
}

struct json_phrase json_excerpt(const struct json_cursor *cursor, const char *at)
{
    if (at >= cursor->end)
        return (struct json_phrase){"the end of the text"};
    struct json_phrase excerpt = {"'"};
    const char *start = at;
    bool is_done = false;
    size_t len = 1;
    while (!is_done && len <= EXCERPT_MAX) {
        bool is_printable = *at >= 0x20 && *at <= 0x7E;
        len += (size_t)snprintf(excerpt.text + len, 8, is_printable ? "%c" : "\\x%02x", (unsigned char)*at);
        at++;
        bool is_string_end = at > start + 1 && at[-1] == '"';
        bool is_word_end = is_delimiter(*start) || is_delimiter(*at);
        is_done = at >= cursor->end || (*start == '"' ? is_string_end : is_word_end);
    }
    snprintf(excerpt.text + len, 8, is_done ? "'" : "...'");
    return excerpt;
}

enum status json_refuse(const struct json_cursor *cursor, const char *at, const char *format, ...)
{
    size_t line = 1;
    const char *line_start = cursor->text;
    for (const char *c = cursor->text; c < at; c++)
        if (*c == '\n') {
            line++;
            line_start = c + 1;
        }
    struct json_phrase message;
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, sizeof message.text, format, args);
    va_end(args);
    return error_set(cursor->err, STATUS_INVALID, "line %zu, column %zu: %s", line, (size_t)(at - line_start) + 1,
                     message.text);
}

enum status json_refuse_expected(const struct json_cursor *cursor, const char *expected)
{
    json_refuse(cursor, cursor->at, "expected %s, found %s", expected, json_excerpt(cursor, cursor->at).text);
    return error_hint(cursor->err, "send numbers such as [[0, 0.5], [1, 0]], or {\"inputs\": [[0, 0.5], [1, 0]]}");
}
