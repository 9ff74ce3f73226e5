#include "server/log_line.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "engine/utf8.h"

enum {
    ESCAPE_MAX = 4 * UTF8_BYTES_MAX, /* bytes that one character may become: \xHH for each of its own */
    CUT_BYTES = 3,                   /* "..." */
};

/* The bytes still free, less the newline's. */
static size_t room(const struct log_line *line)
{
    return LOG_LINE_MAX - 1 - line->len;
}

void log_line_add_uint(struct log_line *line, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    log_line_add(line, digits + at, sizeof digits - at);
}

/* ---- time ---- */

enum { SECOND_TEXT_MAX = 40 };

/* A thread's last second in both forms: many lines share one, and splitting a date costs more than the rest of a line. */
static _Thread_local struct {
    int64_t second;
    char iso[SECOND_TEXT_MAX], common[SECOND_TEXT_MAX]; /* empty: none yet */
} last;

static void write_second(int64_t second)
{
    time_t when = (time_t)second;
    struct tm utc;
    if (!gmtime_r(&when, &utc))
        utc = (struct tm){.tm_year = 70, .tm_mday = 1}; /* no clock shows a year that does not fit an int */
    last.second = second;
    strftime(last.iso, sizeof last.iso, "%Y-%m-%dT%H:%M:%S", &utc);
    strftime(last.common, sizeof last.common, "%d/%b/%Y:%H:%M:%S +0000", &utc);
}

/* Sets `last` to the second of time_ms, and returns the milliseconds in it. */
static unsigned split_time(int64_t time_ms)
{
    int64_t second = time_ms / 1000 - (time_ms % 1000 < 0);
    if (second != last.second || !*last.iso)
        write_second(second);
    return (unsigned)(time_ms - second * 1000);
}

void log_line_add_time(struct log_line *line, int64_t time_ms)
{
    unsigned ms = split_time(time_ms);
    char fraction[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
    log_line_add_str(line, last.iso);
    log_line_add(line, fraction, sizeof fraction);
}

void log_line_add_time_common(struct log_line *line, int64_t time_ms)
{
    split_time(time_ms);
    log_line_add_str(line, last.common);
}

int64_t log_line_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- foreign text ---- */

/* Writes what one character becomes, and returns its bytes; len 0: the byte at `at` begins no character. */
typedef size_t escape_fn(const char *at, size_t len, char dst[ESCAPE_MAX]);

static const char hex[] = "0123456789abcdef";

static size_t copy(const char *at, size_t len, char *dst)
{
    memcpy(dst, at, len);
    return len;
}

static size_t escape_plain(const char *at, size_t len, char dst[ESCAPE_MAX])
{
    return utf8_is_printable(at, len ? len : 1) ? copy(at, len, dst) : copy("?", 1, dst);
}

static size_t escape_bytes(const char *at, size_t len, char dst[ESCAPE_MAX])
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)at[i];
        const char code[] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
        out += copy(code, sizeof code, dst + out);
    }
    return out;
}

static size_t escape_word(const char *at, size_t len, char dst[ESCAPE_MAX])
{
    if (*at != '"' && *at != '\\')
        return escape_bytes(at, len ? len : 1, dst);
    dst[0] = '\\';
    return 1 + copy(at, 1, dst + 1);
}

static size_t escape_quoted(const char *at, size_t len, char dst[ESCAPE_MAX])
{
    return *at == ' ' ? copy(at, 1, dst) : escape_word(at, len, dst);
}

static size_t escape_json(const char *at, size_t len, char dst[ESCAPE_MAX])
{
    if (*at == '"' || *at == '\\') {
        dst[0] = '\\';
        return 1 + copy(at, 1, dst + 1);
    }
    if (len == 0)
        return copy("\xEF\xBF\xBD", 3, dst);
    if (utf8_is_printable(at, len))
        return copy(at, len, dst);
    unsigned char byte = (unsigned char)at[len - 1]; /* of U+0080 to U+009F the second is the number */
    const char code[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    return copy(code, sizeof code, dst);
}

/* Most of what comes: it means itself in every form. */
static bool is_harmless(char c)
{
    return c > ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Copies as long as nothing has to be escaped and `max` bytes are not full. Returns how many. */
static size_t copy_harmless(char *dst, const char *text, size_t max)
{
    size_t len = 0;
    for (; len < max && is_harmless(text[len]); len++)
        dst[len] = text[len];
    return len;
}

/* Adds the escaped text, or its begin and "...", where `kept` bytes behind it stay free. */
static void add_escaped(struct log_line *line, const char *text, size_t max, size_t kept, escape_fn *escape)
{
    char *dst = line->data + line->len, escaped[ESCAPE_MAX];
    if (room(line) < CUT_BYTES + kept)
        return;
    size_t out = 0, free_bytes = room(line) - CUT_BYTES - kept;
    if (max > free_bytes)
        max = free_bytes;
    for (;;) {
        size_t run = copy_harmless(dst + out, text, max - out);
        out += run;
        text += run;
        if (!*text)
            break;
        size_t len = utf8_length(text, UTF8_BYTES_MAX), n = escape(text, len, escaped);
        if (n > max - out) {
            out += copy("...", CUT_BYTES, dst + out);
            break;
        }
        out += copy(escaped, n, dst + out);
        text += len ? len : 1;
    }
    line->len += out;
}

void log_line_add_plain(struct log_line *line, const char *text, size_t max)
{
    add_escaped(line, text, max, 0, escape_plain);
}

void log_line_add_quoted(struct log_line *line, const char *text, size_t max)
{
    add_escaped(line, text, max, 0, escape_quoted);
}

void log_line_add_word(struct log_line *line, const char *text, size_t max)
{
    add_escaped(line, text, max, 0, escape_word);
}

void log_line_add_json(struct log_line *line, const char *text, size_t max)
{
    if (room(line) < 2 + CUT_BYTES) /* both quotes or none */
        return;
    log_line_add(line, "\"", 1);
    add_escaped(line, text, max, 1, escape_json);
    log_line_add(line, "\"", 1);
}
