/* Foreign text that error messages and answers will repeat: whether it can be printed as it is, and where it may be
 * cut. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_UTF8_H
#define MLPD_ENGINE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `len` bytes are valid UTF-8 (no overlong forms, no surrogates) without control characters (U+0000 to U+001F,
 * U+007F to U+009F). */
bool utf8_is_printable(const char *text, size_t len);

/* How many of the `len` bytes to show when at most `max` fit: never ends inside a character of valid UTF-8.
 * An int, for printf's "%.*s". */
int utf8_cut(const char *text, size_t len, size_t max);

#endif
