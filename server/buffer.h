/* A byte buffer that grows: bodies as they come in, answers as they are written. Appending after a failed
 * allocation does nothing, so that a writer checks `failed` once, at its end. Not thread-safe: one owner.
 *
 *     struct buffer out = {0};
 *     buffer_append_str(&out, "{\"class\":");
 *     buffer_append_uint(&out, 9);
 *     if (out.failed) ...
 *     buffer_free(&out);
 */
#ifndef MLPD_SERVER_BUFFER_H
#define MLPD_SERVER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* len bytes, then one NUL that is not counted; NULL while empty and unreserved */
    size_t len;
    size_t capacity; /* bytes allocated, the NUL's included */
    bool failed;     /* an allocation failed; data holds what came before it */
};

/* Makes room for `more` bytes beyond len. False (and failed) if there is no memory. */
bool buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_append_str(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
void buffer_append_uint(struct buffer *buffer, unsigned long long value);
void buffer_append_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD. */
void buffer_append_json_string(struct buffer *buffer, const char *text);

/* Empties it and keeps its memory if that is at most `keep` bytes. */
void buffer_reset(struct buffer *buffer, size_t keep);

void buffer_free(struct buffer *buffer);

#endif
