/* What can be wrong with the framing of a request: one table of names, status codes and texts. wire.h finds the faults. Stateless;
 * any thread may call it.
 *
 *     wire_fault_error(wire.fault, &err);
 *     http_reply_error_code(request, wire_fault_code(wire.fault), &err);
 */
#ifndef MLPD_SERVER_WIRE_FAULT_H
#define MLPD_SERVER_WIRE_FAULT_H

#include "engine/status.h"

#define WIRE_HINT_LENGTH "send either one Content-Length, or Transfer-Encoding: chunked"
#define WIRE_HINT_CRLF   "end the lines with \\r\\n; HTTP libraries do, a text typed by hand does not"
#define WIRE_HINT_HEADER \
    "a header is \"Name: value\", for example \"Content-Length: 784\": the name is letters, digits and -"
#define WIRE_HINT_HOST "send one Host, for example Host: localhost:8080, as HTTP/1.1 asks for"
#define WIRE_HINT_CHUNK \
    "a chunk is its size in hexadecimal digits, \\r\\n, as many bytes, \\r\\n; the last has the size 0"

/* name, HTTP status code, what came, how to put it right */
#define WIRE_FAULT_MAP(X)                                                                                          \
    X(WIRE_NO_FAULT, 0, "", "")                                                                                    \
    X(WIRE_REQUEST_LINE, 400, "the first line is not METHOD target HTTP/1.1, with one space between them",         \
      "write, for example, GET /healthz HTTP/1.1; a space inside of the target is %20")                            \
    X(WIRE_VERSION, 505, "the request's version of HTTP is not 1.0 or 1.1", "send HTTP/1.1; with curl: --http1.1") \
    X(WIRE_CONNECT, 501, "CONNECT asks for a tunnel, and this is no proxy",                                        \
      "send the request itself, with GET or POST; look whether a proxy is configured to be here")                  \
    X(WIRE_CONTROL, 400, "a control character stands in the head or in a chunk's size",                            \
      "send visible characters alone; in a target others are written %0A")                                         \
    X(WIRE_BARE_CR, 400, "a CR in the head or in a chunk's size is not followed by LF", WIRE_HINT_CRLF)            \
    X(WIRE_BARE_LF, 400, "a line of the head or of a chunk's size ends with LF alone", WIRE_HINT_CRLF)             \
    X(WIRE_FOLDED, 400, "the head has a line that begins with a blank, which folds it into the one before",        \
      "write each header on one line")                                                                             \
    X(WIRE_NAME_BLANK, 400, "a header's name has a blank in it or before its colon", WIRE_HINT_HEADER)             \
    X(WIRE_NAME_EMPTY, 400, "a header has no name before its colon", WIRE_HINT_HEADER)                             \
    X(WIRE_NAME_CHARACTER, 400, "a header's name has a character that no name may have", WIRE_HINT_HEADER)         \
    X(WIRE_NO_COLON, 400, "a header has no colon", WIRE_HINT_HEADER)                                               \
    X(WIRE_NO_HOST, 400, "the request has no Host", WIRE_HINT_HOST)                                                \
    X(WIRE_TWO_HOSTS, 400, "the request has more than one Host", WIRE_HINT_HOST)                                   \
    X(WIRE_HOST, 400, "the Host has a character that no host may have", WIRE_HINT_HOST)                            \
    X(WIRE_LENGTH, 400, "the Content-Length is not digits alone, or beyond 2^63", WIRE_HINT_LENGTH)                \
    X(WIRE_TWO_LENGTHS, 400, "the request has more than one Content-Length", WIRE_HINT_LENGTH)                     \
    X(WIRE_LENGTH_AND_CODING, 400, "the request has Content-Length and Transfer-Encoding", WIRE_HINT_LENGTH)       \
    X(WIRE_CODING, 400, "the Transfer-Encoding is not exactly \"chunked\"", WIRE_HINT_LENGTH)                      \
    X(WIRE_CODING_UNKNOWN, 501, "the Transfer-Encoding is not understood here, which is chunked alone",            \
      WIRE_HINT_LENGTH)                                                                                            \
    X(WIRE_TWO_CODINGS, 400, "the request has more than one Transfer-Encoding", WIRE_HINT_LENGTH)                  \
    X(WIRE_CODING_IN_1_0, 400, "the request has a Transfer-Encoding, which HTTP/1.0 has not",                      \
      "send a Content-Length, or HTTP/1.1")                                                                        \
    X(WIRE_CHUNK_SIZE, 400, "a chunk's size is not hexadecimal digits alone, or beyond 2^63", WIRE_HINT_CHUNK)     \
    X(WIRE_CHUNK_EXTENSION, 400, "a chunk's extension is longer than 256 bytes",                                   \
      "leave it out: it has no meaning")                                                                           \
    X(WIRE_CHUNK_END, 400, "a chunk's bytes are not followed by CRLF", WIRE_HINT_CHUNK)                            \
    X(WIRE_TRAILER, 400, "the trailer behind the last chunk has a header that only a head may have",               \
      "send it in the head; nothing behind the body is read here")

enum wire_fault {
#define WIRE_FAULT_ENUM(name, code, text, hint) name,
    WIRE_FAULT_MAP(WIRE_FAULT_ENUM)
#undef WIRE_FAULT_ENUM
};

/* The status code that answers it; 0 for WIRE_NO_FAULT. */
unsigned wire_fault_code(enum wire_fault fault);

/* What came, and how to put it right. Never NULL. */
const char *wire_fault_text(enum wire_fault fault);
const char *wire_fault_hint(enum wire_fault fault);

/* Both of them, as a refusal. Returns STATUS_INVALID. */
enum status wire_fault_error(enum wire_fault fault, struct error *err);

#endif
