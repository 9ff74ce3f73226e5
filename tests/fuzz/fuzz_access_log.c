/* The input is texts that a NUL ends, which fill a record's fields in turn. Whatever they are, each form must be one line
 * without control characters, JSON must be an object, and text must have as many quotes as its form has. The daemon's log
 * must be as safe with the first of them. */
#include <assert.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/access_log.h"
#include "server/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXTS = 6, QUOTES = 10 };

/* A copy of the line without its newline, followed by a NUL. */
static char *take_line(const struct log_line *line)
{
    assert(line->len > 0 && line->len <= LOG_LINE_MAX && line->data[line->len - 1] == '\n');
    char *text = malloc(line->len);
    memcpy(text, line->data, line->len - 1);
    text[line->len - 1] = '\0';
    assert(strlen(text) == line->len - 1);
    assert(utf8_is_printable(text, line->len - 1));
    return text;
}

static size_t count_quotes(const char *text)
{
    size_t count = 0;
    for (; *text; text++) {
        assert(*text >= ' ' && *text < 0x7F);
        if (*text == '\\')
            text++; /* what it escapes is not a NUL, or strlen would stop before the line's end */
        else
            count += *text == '"';
    }
    return count;
}

static void check_record(const struct access_record *record)
{
    struct log_line line;
    access_log_format(record, LOG_JSON, &line);
    char *text = take_line(&line);
    assert(text[0] == '{' && json_is_valid(text, strlen(text)));
    free(text);
    access_log_format(record, LOG_TEXT, &line);
    text = take_line(&line);
    assert(count_quotes(text) == QUOTES);
    free(text);
}

static void check_line(const char *foreign, size_t max)
{
    struct log_line line;
    log_line_begin(&line);
    log_line_add_plain(&line, foreign, max);
    assert(max > LOG_LINE_MAX || line.len <= max + 3);
    log_line_end(&line);
    free(take_line(&line));
    log_line_begin(&line);
    log_line_add_json(&line, foreign, max);
    assert(max > LOG_LINE_MAX || line.len <= max + 5);
    log_line_end(&line);
    char *text = take_line(&line);
    assert(json_is_valid(text, strlen(text)));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + TEXTS), *texts[TEXTS];
    const struct sockaddr_in6 peer = {.sin6_family = AF_INET6};
    memcpy(copy, data, size);
    memset(copy + size, '\0', TEXTS);
    for (size_t i = 0, at = 0; i < TEXTS; i++) {
        texts[i] = copy + at;
        at += at < size + TEXTS - 1 ? strlen(copy + at) + 1 : 0;
    }
    const struct access_record record = {.request_id = texts[0],
                                         .method = texts[1],
                                         .path = texts[2],
                                         .protocol = texts[3],
                                         .user_agent = texts[4],
                                         .model = texts[5],
                                         .peer = (const struct sockaddr *)&peer,
                                         .total_us = size};
    check_record(&record);
    for (size_t max = 0; max < 12; max++)
        check_line(texts[0], max);
    check_line(texts[0], SIZE_MAX);
    free(copy);
    return 0;
}
