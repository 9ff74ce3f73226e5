#include "server/buffer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum { CAPACITY_MIN = 256 };

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more < buffer->capacity - buffer->len && buffer->capacity)
        return true;
    if (more >= SIZE_MAX / 2 - buffer->len) {
        buffer->failed = true;
        return false;
    }
    size_t need = buffer->len + more + 1;
    size_t capacity = buffer->capacity + buffer->capacity / 2;
    if (capacity < need)
        capacity = need < CAPACITY_MIN ? CAPACITY_MIN : need;
    assert(capacity > 0);
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    buffer->data[buffer->len] = '\0';
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (!buffer_reserve(buffer, len))
        return;
    if (len)
        memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
}

void buffer_append_str(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_append_uint(struct buffer *buffer, unsigned long long value)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buffer_append(buffer, digits + at, sizeof digits - at);
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !buffer_reserve(buffer, (size_t)len)) {
        buffer->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, args);
    va_end(args);
    buffer->len += (size_t)len;
}

static void append_json_character(struct buffer *buffer, const char *at, size_t len)
{
    unsigned char byte = (unsigned char)*at;
    if (*at == '"' || *at == '\\') {
        buffer_append_char(buffer, '\\');
        buffer_append_char(buffer, *at);
    } else if (*at == '\n') {
        buffer_append_str(buffer, "\\n");
    } else if (*at == '\t') {
        buffer_append_str(buffer, "\\t");
    } else if (byte < 0x20 || byte == 0x7F) {
        buffer_append_format(buffer, "\\u%04x", byte);
    } else {
        buffer_append(buffer, at, len);
    }
}

void buffer_append_json_string(struct buffer *buffer, const char *text)
{
    buffer_append_char(buffer, '"');
    for (const char *at = text; *at;) {
        size_t len = utf8_length(at, UTF8_BYTES_MAX);
        if (len)
            append_json_character(buffer, at, len);
        else
            buffer_append_str(buffer, "\xEF\xBF\xBD");
        at += len ? len : 1;
    }
    buffer_append_char(buffer, '"');
}

void buffer_reset(struct buffer *buffer, size_t keep)
{
    if (buffer->capacity > keep) {
        buffer_free(buffer);
        return;
    }
    buffer->len = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = '\0';
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){0};
}
