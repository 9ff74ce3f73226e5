/* multipart/form-data bodies (RFC 7578, RFC 2046 section 5.1) that are whole in memory: an iterator over their parts,
 * which copies nothing. One iterator belongs to one thread.
 *
 *     struct multipart parts;
 *     struct multipart_part part;
 *     enum status status = multipart_begin(&parts, content_type, body, body_len, &err);
 *     while (status == STATUS_OK && (status = multipart_next(&parts, &part, &err)) == STATUS_OK && part.data)
 *         ...
 */
#ifndef MLPD_SERVER_MULTIPART_H
#define MLPD_SERVER_MULTIPART_H

#include <stddef.h>

#include "engine/status.h"

enum { MULTIPART_BOUNDARY_MAX = 70, MULTIPART_PARTS_MAX = 4096, MULTIPART_HEADER_BYTES_MAX = 8192 };

struct multipart {
    char delimiter[MULTIPART_BOUNDARY_MAX + 5]; /* "\r\n--" boundary */
    size_t delimiter_len;
    const char *at, *end; /* what is still to be read */
    size_t parts;         /* read so far */
};

struct multipart_part {
    const char *data; /* the part's content, inside the body; NULL after the last part */
    size_t len;
    char name[64];          /* of the form's field, cut to fit; "" if it has none */
    char filename[128];     /* likewise; "" if it has none */
    char content_type[128]; /* lower case, without parameters; "" if it has none */
};

/* Reads the boundary from the Content-Type header's value and finds the first delimiter; body and len are borrowed until
 * the iterator is dropped. Refused: another content type (STATUS_UNSUPPORTED), a boundary that is missing or is none, a
 * body without a delimiter, lines that end with LF alone. */
enum status multipart_begin(struct multipart *ret, const char *content_type, const char *body, size_t len,
                            struct error *err);

/* The next part, or ret->data NULL after the closing delimiter. Refused: no closing delimiter (the body was cut), a part
 * without the blank line, headers over MULTIPART_HEADER_BYTES_MAX, more than MULTIPART_PARTS_MAX parts, a part with a
 * Content-Transfer-Encoding other than 7bit, 8bit and binary, no part at all. */
enum status multipart_next(struct multipart *parts, struct multipart_part *ret, struct error *err);

#endif
