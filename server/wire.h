/* Follows the bytes of one connection as they come off its socket, before libmicrohttpd reads them: where each request's
 * head begins and ends, where its body ends, and what of it another server or proxy could read otherwise. Whoever reads
 * another end takes the rest of the body for a request that nobody sent (RFC 9112, section 11.2), so the first such doubt is
 * a fault, and nothing is followed beyond it. A struct wire belongs to the thread that reads the socket; it allocates nothing.
 *
 *     struct wire wire = {0};                               // of a connection that has just been accepted
 *     ssize_t len = recvfrom(fd, data, size, 0, NULL, NULL);
 *     if (len > 0 && wire_feed(&wire, data, len) < (size_t)len)
 *         ... request wire_fault_index(&wire) is refused with wire_fault_code(wire.fault), and the connection ends
 *
 * Without a fault, libmicrohttpd (0.9.75) ends every head and body where this does. Each of its freedoms is a fault here:
 *
 *   in libmicrohttpd                                          is read by others
 *   a line ends with LF alone, in head, chunk and trailer     as part of the line (RFC 9112, 2.2, leaves both open)
 *   a CR without LF belongs to the line                       as the line's end
 *   a NUL ends a name, a value, at a line's begin the head    as any character, or not at all
 *   a line that begins with a blank continues the one         as a header of its own, joined by a blank, not at all
 *     before it, without a blank ("chun", "ked")
 *   such a line behind the request line is a header           as nothing, or as the request line's rest
 *   a blank before the colon belongs to the name              as no part of it, so that the header counts
 *   a name may be empty, or of any characters                 as no header, or as the end of the head
 *   blanks behind a value belong to it                        as no part of it (Transfer-Encoding; Content-Length
 *                                                             is refused there, too)
 *   Content-Length beside Transfer-Encoding is not read       as the one that counts
 *   a second Content-Length, Transfer-Encoding or Host        as the one that counts, or as a list
 *     is not read
 *   any coding but chunked: the body goes on to the end       as "gzip, chunked": in chunks
 *     of the connection
 *   Transfer-Encoding counts in HTTP/1.0                      as nothing
 *   the target may have spaces, and more than one around it   as the version, or not at all
 *   numbers reach to 2^64 - 1, and that one means "unknown"   as negative, or cut off
 *   a chunk's extension may have any character                as the line's end
 *   a chunk line that fills its buffer stops the connection   as a chunk
 *   what a trailer says of the body is not read               as if it stood in the head
 *   CONNECT has a body like any other method                  as a tunnel's bytes
 *
 * Empty lines (CRLF) before a request are passed over, as RFC 9112, 2.2, wants it and libmicrohttpd does. HTTP/1.2 to 1.9
 * are read as 1.1 by both. Kept out of here, because nobody's framing depends on it: what a target, a value or Host means,
 * Connection and Expect. What follows a request with "Connection: close" is followed like any other, and not answered.
 */
#ifndef MLPD_SERVER_WIRE_H
#define MLPD_SERVER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/wire_fault.h"

enum { WIRE_TEXT_MAX = 20, WIRE_EXTENSION_BYTES_MAX = 256 };

/* All zero at the begin of a connection. */
struct wire {
    uint64_t heads_begun; /* requests of which a byte has come; empty lines before them do not count */
    uint64_t heads_done;  /* of these, whose head has come whole */
    uint64_t head_bytes;  /* of the last head begun, as far as it has come; its trailer is added */

    /* The rest is wire.c's own. */
    uint64_t left;            /* bytes of the body or of the chunk that are still to come */
    uint16_t extension_bytes; /* of the chunk at hand */
    uint16_t head_parts;      /* lines and query parameters of the last head begun; read it freely */
    uint8_t fault;            /* enum wire_fault; read it freely */
    uint8_t state, field, seen;
    uint8_t text_len;         /* WIRE_TEXT_MAX + 1: more came than is kept */
    char text[WIRE_TEXT_MAX]; /* the begin of a word that the next feed goes on with */
};

enum wire_place { WIRE_BETWEEN, WIRE_IN_HEAD, WIRE_IN_BODY }; /* chunk lines and trailers are the body's */

/* Follows `len` more bytes. Returns how many of them are without fault: len, or the index of the byte that shows the
 * fault; 0 for all that comes after it. The verdict does not depend on how the bytes are cut into feeds. */
size_t wire_feed(struct wire *wire, const char *data, size_t len);

/* What the next byte belongs to. WIRE_BETWEEN: to a request that has not begun. Where a fault stands, its place. */
enum wire_place wire_place(const struct wire *wire);

/* Which request has the fault: 0 is the connection's first. Only when there is a fault. */
uint64_t wire_fault_index(const struct wire *wire);

#endif
