/* One line of a log, built in place within a fixed size: nothing is allocated, and nothing that a peer sent can end the
 * line, close a quotation or steer a terminal. Stateless but for a cache of each thread; any thread may call it.
 *
 *     struct log_line line;
 *     log_line_begin(&line);
 *     log_line_add_time(&line, now_ms);
 *     log_line_add_str(&line, " ");
 *     log_line_add_word(&line, path, 512);
 *     log_line_end(&line);              // line.len bytes of line.data, the last of them the newline
 */
#ifndef MLPD_SERVER_LOG_LINE_H
#define MLPD_SERVER_LOG_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a pipe takes in one piece (PIPE_BUF), so that lines of several writers never mix. */
enum { LOG_LINE_MAX = 4096 };

enum log_format { LOG_TEXT, LOG_JSON };

struct log_line {
    size_t len;
    char data[LOG_LINE_MAX]; /* no NUL behind it */
};

static inline void log_line_begin(struct log_line *line)
{
    line->len = 0;
}

/* Text of our own, as it is. What does not fit whole is not added, here and below. Inline, because a line has some twenty
 * short constants, and copying these costs next to nothing where the compiler knows their length. */
static inline void log_line_add(struct log_line *line, const char *text, size_t len)
{
    if (len >= LOG_LINE_MAX - line->len)
        return;
    memcpy(line->data + line->len, text, len);
    line->len += len;
}

static inline void log_line_add_str(struct log_line *line, const char *text)
{
    log_line_add(line, text, strlen(text));
}

void log_line_add_uint(struct log_line *line, uint64_t value);

/* Adds the newline, for which the others leave room. */
static inline void log_line_end(struct log_line *line)
{
    line->data[line->len++] = '\n';
}

/* Milliseconds since 1970 in UTC: 2025-11-24T13:38:02.123Z, and as the web servers' common log format writes seconds:
 * 24/Nov/2025:13:38:02 +0000. */
void log_line_add_time(struct log_line *line, int64_t time_ms);
void log_line_add_time_common(struct log_line *line, int64_t time_ms);

/* Foreign text. Each takes at most `max` bytes of the line, a JSON string's quotes not counted, and never a part of a
 * character; what was cut ends in "...", beyond max.
 *   plain   control characters and bytes that are not UTF-8 become '?'
 *   quoted  what stands between two quotes, as Apache and nginx write it: \" and \\, and \xHH for every byte that is not
 *           visible ASCII or a blank; the caller adds the quotes
 *   word    the same, and a blank is \x20, so that it is one word among others
 *   json    a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD */
void log_line_add_plain(struct log_line *line, const char *text, size_t max);
void log_line_add_quoted(struct log_line *line, const char *text, size_t max);
void log_line_add_word(struct log_line *line, const char *text, size_t max);
void log_line_add_json(struct log_line *line, const char *text, size_t max);

/* The wall clock, in milliseconds since 1970. */
int64_t log_line_now_ms(void);

#endif
