/* Request bodies that come compressed (RFC 9110, section 8.4): gzip of any number of members (RFC 1952), and deflate in zlib's
 * format (RFC 1950), which the name means, or bare (RFC 1951), which some clients send. Stateless; any thread may call it. A
 * call holds zlib's state (7 KB, and 32 KB more where the output comes in several steps) while it runs.
 *
 *     enum encoding encoding;
 *     struct buffer plain = {0};
 *     enum status status = inflate_encoding(content_encoding, &encoding, &err);
 *     if (status == STATUS_OK && encoding != ENCODING_IDENTITY)
 *         status = inflate_body(encoding, body.data, body.len, body_bytes_max, &plain, &err);
 */
#ifndef MLPD_SERVER_INFLATE_H
#define MLPD_SERVER_INFLATE_H

#include <stddef.h>

#include "engine/status.h"
#include "server/buffer.h"

enum encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_DEFLATE };

/* Reads the value of a Content-Encoding header; "" is that of none. Upper case and blanks around it do not matter, and x-gzip
 * is gzip. Refused with STATUS_UNSUPPORTED: any other coding, and more than one. */
enum status inflate_encoding(const char *header, enum encoding *ret, struct error *err);

/* Appends what `data` is when it is inflated to `out`, which is the caller's to free, and as it was after a failure (but for
 * its capacity). The encoding is not ENCODING_IDENTITY. Refused: more than bytes_max bytes of output (STATUS_TOO_LARGE; no
 * more than that is ever inflated, and memory grows with what came out, not with what is announced); what is not of that
 * format, is damaged, ends too early, or has something behind its end (STATUS_INVALID).
 *
 * It takes about 8 ns for a byte that comes out, but up to 0.25 us for one that came in where somebody made the data of empty
 * blocks with tables of their own: 16 MiB of these keep a processor busy for 4 s. So it belongs where nobody waits behind it. */
enum status inflate_body(enum encoding encoding, const char *data, size_t len, size_t bytes_max, struct buffer *out,
                         struct error *err);

#endif
