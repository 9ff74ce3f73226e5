/* Content negotiation by the Accept header (RFC 9110, section 12.5.1). Stateless; any thread may call it. */
#ifndef MLPD_SERVER_NEGOTIATE_H
#define MLPD_SERVER_NEGOTIATE_H

#include <stddef.h>

/* Which of `count` media types the header prefers: that of the highest quality, among equals the one named first. A range
 * (application and any subtype, or anything) stands for the first type that it covers. 0, the default, if the header is
 * empty or names none of them. */
size_t negotiate(const char *accept, const char *const *types, size_t count);

#endif
