/* What server/wire.h must say of a connection's bytes, by a slow reader that has all of them before it: it looks at each line
 * for everything that can be wrong, and takes what stands first. For the unit tests and for the fuzz target.
 *
 *     struct reference expected = reference_read(data, len);
 */
#ifndef MLPD_TESTS_UNIT_SERVER_WIRE_REFERENCE_H
#define MLPD_TESTS_UNIT_SERVER_WIRE_REFERENCE_H

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/wire.h"

struct reference {
    const char *text;
    size_t len;

    enum wire_fault fault;
    size_t fault_at; /* the byte that shows it */
    uint64_t heads_begun, heads_done;
    enum wire_place place;
    uint64_t body_bytes; /* of all bodies, chunk lines not counted */
};

struct reference_line {
    size_t begin, end; /* end: its CR, or the byte that spoils it, or the end of what has come */
    bool cr, whole;    /* CR has come; LF too */
};

struct reference_head {
    bool http_1_0, host, length, coding;
    uint64_t body_len;
};

/* Of two faults the one that stands first counts; of two at one place the one that is found first. */
static inline void reference_note(struct reference *r, size_t at, enum wire_fault fault)
{
    if (r->fault && r->fault_at <= at)
        return;
    r->fault = fault;
    r->fault_at = at;
}

static inline bool reference_is_one_of(char c, const char *characters)
{
    return c && strchr(characters, c);
}

static inline bool reference_is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static inline bool reference_is_token(char c)
{
    return reference_is_alphanumeric(c) || reference_is_one_of(c, "!#$%&'*+-.^_`|~");
}

static inline bool reference_is_host(char c)
{
    return reference_is_alphanumeric(c) || reference_is_one_of(c, "-._~%!$&'()*+,;=:[]");
}

static inline size_t reference_token_end(const struct reference *r, size_t at, size_t end)
{
    while (at < end && reference_is_token(r->text[at]))
        at++;
    return at;
}

static inline bool reference_is(const struct reference *r, size_t at, size_t end, const char *word)
{
    return end - at == strlen(word) && strncasecmp(r->text + at, word, end - at) == 0;
}

/* The line that begins at `at`, with what is wrong with its end and its characters noted. */
static inline struct reference_line reference_line(struct reference *r, size_t at)
{
    struct reference_line line = {.begin = at, .end = at};
    for (; line.end < r->len; line.end++) {
        unsigned char c = (unsigned char)r->text[line.end];
        if (c == '\r' || c == '\n')
            break;
        if ((c < 0x20 && c != '\t') || c == 0x7F)
            reference_note(r, line.end, WIRE_CONTROL);
    }
    if (line.end == r->len)
        return line;
    line.cr = r->text[line.end] == '\r';
    if (!line.cr)
        reference_note(r, line.end, WIRE_BARE_LF);
    else if (line.end + 1 < r->len && r->text[line.end + 1] != '\n')
        reference_note(r, line.end + 1, WIRE_BARE_CR);
    line.whole = line.cr && line.end + 1 < r->len && r->text[line.end + 1] == '\n';
    return line;
}

static inline void reference_version(struct reference *r, size_t at, size_t end, struct reference_head *head)
{
    static const char form[] = "HTTP/d.d";
    bool written = end - at == strlen(form);
    for (size_t i = 0; written && i < strlen(form); i++)
        written = form[i] == 'd' ? r->text[at + i] >= '0' && r->text[at + i] <= '9' : r->text[at + i] == form[i];
    if (!written)
        reference_note(r, end, WIRE_REQUEST_LINE);
    else if (r->text[at + 5] != '1')
        reference_note(r, end, WIRE_VERSION);
    else
        head->http_1_0 = r->text[at + 7] == '0';
}

static inline void reference_request_line(struct reference *r, struct reference_line line,
                                          struct reference_head *head)
{
    size_t ends[2], at = line.begin; /* of method and target: where a blank stands */
    for (int i = 0; i < 2; i++) {
        size_t end = at;
        while (end < line.end && !reference_is_one_of(r->text[end], " \t") &&
               (i > 0 || reference_is_token(r->text[end])))
            end++;
        bool cut = end == line.end && !line.cr;
        if (cut)
            return;
        if (end == at || end == line.end || r->text[end] != ' ')
            reference_note(r, end, WIRE_REQUEST_LINE);
        if (i == 0 && end - at == 7 && memcmp(r->text + at, "CONNECT", 7) == 0)
            reference_note(r, end, WIRE_CONNECT);
        if (r->fault && r->fault_at <= end)
            return;
        ends[i] = end;
        at = end + 1;
    }
    for (size_t i = ends[1] + 1; i < line.end; i++)
        if (reference_is_one_of(r->text[i], " \t"))
            reference_note(r, i, WIRE_REQUEST_LINE);
    if (line.cr)
        reference_version(r, ends[1] + 1, line.end, head);
}

static inline void reference_length(struct reference *r, size_t at, size_t end, struct reference_head *head)
{
    bool digits = end > at, fits = end - at <= 19;
    for (size_t i = at; i < end; i++)
        digits = digits && r->text[i] >= '0' && r->text[i] <= '9';
    if (memchr(r->text + at, ',', end - at < 20 ? end - at : 20))
        reference_note(r, end, WIRE_TWO_LENGTHS);
    for (size_t i = at; digits && fits && i < end; i++)
        head->body_len = head->body_len * 10 + (uint64_t)(r->text[i] - '0');
    if (!digits || !fits || head->body_len > INT64_MAX)
        reference_note(r, end, WIRE_LENGTH);
}

static inline void reference_coding(struct reference *r, size_t at, size_t end)
{
    if (reference_is(r, at, end, "chunked"))
        return;
    size_t first_end = reference_token_end(r, at, end);
    bool no_list = first_end == at || reference_is(r, at, first_end, "chunked");
    reference_note(r, end, no_list ? WIRE_CODING : WIRE_CODING_UNKNOWN);
}

static inline void reference_host(struct reference *r, size_t at, size_t end)
{
    bool behind = false;
    for (; at < end; at++) {
        bool blank = reference_is_one_of(r->text[at], " \t");
        if (!blank && (behind || !reference_is_host(r->text[at])))
            reference_note(r, at, WIRE_HOST);
        behind |= blank;
    }
}

/* A header of the head: its name ends at `colon`, its value is from `at` to the line's end. */
static inline void reference_field(struct reference *r, struct reference_line line, size_t colon, size_t at,
                                   struct reference_head *head)
{
    if (reference_is(r, line.begin, colon, "host")) {
        if (head->host)
            reference_note(r, colon, WIRE_TWO_HOSTS);
        head->host = true;
        reference_host(r, at, line.end);
    } else if (reference_is(r, line.begin, colon, "content-length")) {
        if (head->length)
            reference_note(r, colon, WIRE_TWO_LENGTHS);
        if (head->coding)
            reference_note(r, colon, WIRE_LENGTH_AND_CODING);
        head->length = true;
        if (line.cr)
            reference_length(r, at, line.end, head);
    } else if (reference_is(r, line.begin, colon, "transfer-encoding")) {
        if (head->http_1_0)
            reference_note(r, colon, WIRE_CODING_IN_1_0);
        if (head->coding)
            reference_note(r, colon, WIRE_TWO_CODINGS);
        if (head->length)
            reference_note(r, colon, WIRE_LENGTH_AND_CODING);
        head->coding = true;
        if (line.cr)
            reference_coding(r, at, line.end);
    }
}

static inline void reference_trailer(struct reference *r, size_t begin, size_t colon)
{
    static const char *const forbidden[] = {"authorization",
                                            "cache-control",
                                            "connection",
                                            "content-encoding",
                                            "content-length",
                                            "content-range",
                                            "content-type",
                                            "cookie",
                                            "expect",
                                            "host",
                                            "if-match",
                                            "if-modified-since",
                                            "if-none-match",
                                            "if-range",
                                            "if-unmodified-since",
                                            "keep-alive",
                                            "max-forwards",
                                            "proxy-authorization",
                                            "proxy-connection",
                                            "range",
                                            "te",
                                            "trailer",
                                            "transfer-encoding",
                                            "upgrade"};
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (reference_is(r, begin, colon, forbidden[i]))
            reference_note(r, colon, WIRE_TRAILER);
}

/* head NULL: of a trailer. */
static inline void reference_header(struct reference *r, struct reference_line line, struct reference_head *head)
{
    if (line.begin == line.end)
        return;
    char first = r->text[line.begin];
    if (first == ' ' || first == '\t' || first == ':') {
        reference_note(r, line.begin, first == ':' ? WIRE_NAME_EMPTY : WIRE_FOLDED);
        return;
    }
    size_t colon = reference_token_end(r, line.begin, line.end), at = colon + 1;
    if (colon == line.end) {
        if (line.cr)
            reference_note(r, colon, WIRE_NO_COLON);
        return;
    }
    if (r->text[colon] != ':') {
        bool blank = reference_is_one_of(r->text[colon], " \t");
        reference_note(r, colon, blank ? WIRE_NAME_BLANK : WIRE_NAME_CHARACTER);
        return;
    }
    while (at < line.end && reference_is_one_of(r->text[at], " \t"))
        at++;
    if (head)
        reference_field(r, line, colon, at, head);
    else
        reference_trailer(r, line.begin, colon);
}

/* Header lines up to and with the empty one. Returns what is behind it, or 0 where that has not come or a fault has. */
static inline size_t reference_headers(struct reference *r, size_t at, struct reference_head *head)
{
    for (;;) {
        struct reference_line line = reference_line(r, at);
        reference_header(r, line, head);
        if (line.whole && line.begin == line.end && head && !head->host && !head->http_1_0)
            reference_note(r, line.end + 1, WIRE_NO_HOST);
        if (r->fault || !line.whole)
            return 0;
        at = line.end + 2;
        if (line.begin == line.end)
            return at;
    }
}

static inline void reference_extension(struct reference *r, size_t semicolon, size_t end)
{
    if (end - (semicolon + 1) > 256)
        reference_note(r, semicolon + 1 + 256, WIRE_CHUNK_EXTENSION);
}

/* Returns where the digits end. */
static inline size_t reference_chunk_size(struct reference *r, size_t at, uint64_t *ret_size)
{
    size_t begin = at, significant = 0;
    *ret_size = 0;
    for (; at < r->len && reference_is_one_of(r->text[at], "0123456789abcdefABCDEF"); at++) {
        char digit[2] = {r->text[at], 0};
        uint64_t value = strtoull(digit, NULL, 16);
        significant += significant || value;
        bool beyond = significant > 16 || (significant == 16 && *ret_size >> 59);
        if (at - begin == 16 || beyond) {
            reference_note(r, at, WIRE_CHUNK_SIZE);
            return at;
        }
        *ret_size = *ret_size << 4 | value;
    }
    if (at == begin && at < r->len)
        reference_note(r, at, WIRE_CHUNK_SIZE);
    return at;
}

/* Counts up to `size` bytes that have come. Returns what is behind them; *ret_whole: they all have. */
static inline size_t reference_data(struct reference *r, size_t at, uint64_t size, bool *ret_whole)
{
    uint64_t here = r->len - at < size ? r->len - at : size;
    r->body_bytes += here;
    *ret_whole = here == size;
    return at + (size_t)here;
}

/* Returns what is behind the body, or 0. */
static inline size_t reference_chunks(struct reference *r, size_t at)
{
    for (;;) {
        uint64_t size;
        bool whole;
        size_t digits_end = reference_chunk_size(r, at, &size);
        struct reference_line line = reference_line(r, at);
        if (digits_end < line.end && r->text[digits_end] == ';')
            reference_extension(r, digits_end, line.end);
        else if (digits_end < line.end)
            reference_note(r, digits_end, WIRE_CHUNK_SIZE);
        if (r->fault || !line.whole)
            return 0;
        if (!size)
            return reference_headers(r, line.end + 2, NULL);
        at = reference_data(r, line.end + 2, size, &whole);
        for (const char *c = "\r\n"; whole && *c; c++, at++) {
            whole = at < r->len;
            if (whole && r->text[at] != *c)
                reference_note(r, at, WIRE_CHUNK_END);
        }
        if (r->fault || !whole)
            return 0;
    }
}

/* Returns what is behind the body, or 0. */
static inline size_t reference_body(struct reference *r, size_t at, const struct reference_head *head)
{
    bool whole;
    r->place = WIRE_IN_BODY;
    if (head->coding)
        return reference_chunks(r, at);
    at = reference_data(r, at, head->body_len, &whole);
    return whole ? at : 0;
}

/* Returns what is behind the request, or 0. */
static inline size_t reference_request(struct reference *r, size_t at)
{
    struct reference_head head = {0};
    r->heads_begun++;
    r->place = WIRE_IN_HEAD;
    struct reference_line line = reference_line(r, at);
    reference_request_line(r, line, &head);
    if (r->fault || !line.whole)
        return 0;
    at = reference_headers(r, line.end + 2, &head);
    if (!at)
        return 0;
    r->heads_done++;
    return reference_body(r, at, &head);
}

static inline struct reference reference_read(const char *text, size_t len)
{
    struct reference r = {.text = text, .len = len};
    size_t at = 0;
    do {
        r.place = WIRE_BETWEEN;
        while (at + 1 < len && text[at] == '\r' && text[at + 1] == '\n')
            at += 2;
        bool empty_line_begins = at + 1 == len && text[at] == '\r';
        if (at == len || empty_line_begins)
            return r;
        if (text[at] == '\r') {
            r.heads_begun++;
            r.place = WIRE_IN_HEAD;
            reference_note(&r, at + 1, WIRE_BARE_CR);
            return r;
        }
        at = reference_request(&r, at);
    } while (at);
    return r;
}

#endif
