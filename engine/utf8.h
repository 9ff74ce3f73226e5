/* The one place that knows UTF-8 (RFC 3629), for foreign text that is read, refused or repeated in errors and answers.
 * Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_UTF8_H
#define MLPD_ENGINE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

enum { UTF8_BYTES_MAX = 4 }; /* of one character */

/* The bytes of the character that `text` begins with; 0 if its first bytes are none: an overlong form, a surrogate,
 * beyond U+10FFFF, or cut by `len`. Looks at no byte behind the first that is wrong, so that the len of a text that
 * ends in a NUL may be given as UTF8_BYTES_MAX. */
size_t utf8_length(const char *text, size_t len);

/* Whether `len` bytes are valid UTF-8 without control characters (U+0000 to U+001F,
 * U+007F to U+009F). */
bool utf8_is_printable(const char *text, size_t len);

/* How many of the `len` bytes to show when at most `max` fit: never ends inside a character of valid UTF-8.
 * An int, for printf's "%.*s". */
int utf8_cut(const char *text, size_t len, size_t max);

#endif
