/* Requests as they come in over a connection, good ones and mutations of them, for the tests of server/wire.h.
 *
 *     char memory[TEXT_MAX];
 *     uint64_t state = 1;
 *     struct text text = wire_text_mutated(memory, &state);
 */
#ifndef MLPD_TESTS_UNIT_SERVER_WIRE_TEXTS_H
#define MLPD_TESTS_UNIT_SERVER_WIRE_TEXTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

struct text {
    const char *at;
    size_t len;
};

#define TEXT(literal)                  \
    {                                  \
        (literal), sizeof(literal) - 1 \
    }
#define T(literal)   ((struct text)TEXT(literal))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define LINE    "POST /predict HTTP/1.1\r\n"
#define HOST    "Host: localhost\r\n"
#define CHUNKED LINE HOST "Transfer-Encoding: chunked\r\n\r\n"
#define GOOD    LINE HOST "Content-Length: 3\r\n\r\nabc"

static const struct text wire_good[] = {
    TEXT(GOOD),
    TEXT(LINE HOST "\r\n"),
    TEXT("GET / HTTP/1.0\r\n\r\n"),
    TEXT("GET /a?b=c&d=%20 HTTP/1.9\r\nhost:\r\n\r\n"),
    TEXT("OPTIONS * HTTP/1.1\r\nHost: [::1]:8080 \t \r\nX:\r\nY: \t\r\nZ: a b\tc \xFF\r\n\r\n"),
    TEXT("get http://a/b\xC3\xA9 HTTP/1.1\r\nHOST:a\r\nX-A!#$%&'*+-.^_`|~: :\r\n\r\n"),
    TEXT(LINE HOST "content-length:\t 3\r\n\r\n\r\n\r"),
    TEXT(LINE HOST "Content-Length: 0\r\n\r\n"),
    TEXT(LINE HOST "Content-Length: 0000000000000000003\r\n\r\nabc"),
    TEXT(CHUNKED "3\r\nabc\r\n0\r\n\r\n"),
    TEXT(CHUNKED "00\r\n\r\n"),
    TEXT(LINE "TRANSFER-ENCODING:cHuNkEd\r\n" HOST
              "\r\n1;a=\"b; c\";\t\xFF\r\n\r\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n"
              "00a\r\n0123456789\r\n0;\r\nX-Sum: 1\r\nY:\r\n\r\n"),
    TEXT("\r\n\r\n" GOOD "\r\n" GOOD GOOD "\r\n\r\n"),
    TEXT(LINE
         "X-Of-More-Than-Twenty-Characters: Transfer-Encoding: chunked\r\nHost2: a\r\nContent-Length2: x\r\n" HOST
         "Hos: a\r\nTransfer-Encodin: x\r\n\r\n"),
};

static inline size_t wire_text_pick(uint64_t *state, size_t count)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX constants */
    return (size_t)(*state >> 33) % count;
}

static const struct text wire_pieces[] = {
    TEXT("\r\n"),
    TEXT("\n"),
    TEXT("\r"),
    TEXT(" "),
    TEXT("\t"),
    TEXT(":"),
    TEXT(","),
    TEXT(";"),
    TEXT("0"),
    TEXT("\0"),
    TEXT("\x7F"),
    TEXT("\xFF"),
    TEXT("a"),
    TEXT("chunked"),
    TEXT("gzip"),
    TEXT("Host: a\r\n"),
    TEXT("Content-Length: 3\r\n"),
    TEXT("Content-Length: "),
    TEXT("3, 3"),
    TEXT("Transfer-Encoding: chunked\r\n"),
    TEXT("Transfer-Encoding: "),
    TEXT(" HTTP/1.0\r\n"),
    TEXT("0\r\n\r\n"),
    TEXT("1\r\na\r\n"),
    TEXT("\r\n\r\n"),
    TEXT(LINE),
    TEXT(HOST),
    TEXT(GOOD),
    TEXT("A-Name-Of-More-Than-Twenty-Characters"),
    TEXT("Trailer: a\r\n"),
    TEXT("00000000000000000"),
    TEXT("7fffffffffffffff"),
    TEXT("99999999999999999999"),
};

static inline struct text wire_text_any(uint64_t *state)
{
    size_t i = wire_text_pick(state, COUNT(wire_good) + COUNT(wire_pieces) / 4);
    return i < COUNT(wire_good) ? wire_good[i] : wire_pieces[wire_text_pick(state, COUNT(wire_pieces))];
}

static inline size_t wire_text_append(char *text, size_t len, struct text more)
{
    if (len + more.len > TEXT_MAX)
        return len;
    memcpy(text + len, more.at, more.len);
    return len + more.len;
}

/* Removes up to 4 bytes at a place, or puts a piece there, or another byte. Returns the new length. */
static inline size_t wire_text_mutate(char *text, size_t len, uint64_t *state)
{
    size_t at = wire_text_pick(state, len + 1), kind = wire_text_pick(state, 4), removed = wire_text_pick(state, 5);
    struct text piece = wire_pieces[wire_text_pick(state, COUNT(wire_pieces))];
    if (kind == 0 && at < len) {
        text[at] = (char)wire_text_pick(state, 256);
    } else if (kind == 1) {
        removed = removed < len - at ? removed : len - at;
        memmove(text + at, text + at + removed, len - at - removed);
        len -= removed;
    } else if (len + piece.len <= TEXT_MAX) {
        memmove(text + at + piece.len, text + at, len - at);
        memcpy(text + at, piece.at, piece.len);
        len += piece.len;
    }
    return len;
}

/* Up to three good requests or pieces, with up to three mutations. dst has TEXT_MAX bytes; the text lies in it. */
static inline struct text wire_text_mutated(char *dst, uint64_t *state)
{
    size_t len = 0;
    for (size_t i = wire_text_pick(state, 3) + 1; i > 0; i--)
        len = wire_text_append(dst, len, wire_text_any(state));
    for (size_t i = wire_text_pick(state, 4); i > 0; i--)
        len = wire_text_mutate(dst, len, state);
    return (struct text){dst, len};
}

#endif
