/* Base64 (RFC 4648 section 4, and section 5's URL alphabet). Stateless; any thread may call it. */
#ifndef MLPD_SERVER_BASE64_H
#define MLPD_SERVER_BASE64_H

#include <stddef.h>

#include "engine/status.h"

/* An upper bound on the bytes that `len` characters decode to. */
size_t base64_decoded_max(size_t len);

/* Decodes `len` characters, padded or not, into dst (base64_decoded_max(len) bytes; may be the text's own memory). The
 * two alphabets may be mixed, and line breaks are passed over; anything else that is not of the alphabets, a bad length,
 * wrong padding, or bits left over are refused with the position. On failure dst holds nothing of use. */
enum status base64_decode(const char *text, size_t len, void *dst, size_t *ret_len, struct error *err);

#endif
