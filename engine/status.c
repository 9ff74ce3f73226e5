#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/utf8.h"

const char *status_text(enum status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) [name] = (text),
        STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    };
    return texts[status];
}

/* A text that vsnprintf cut may end inside a character: takes that off. */
static void trim_cut_character(char *text, size_t size)
{
    size_t end = strnlen(text, size);
    if (end < UTF8_BYTES_MAX || end + 1 < size)
        return;
    size_t start = end - 1;
    while (start > end - UTF8_BYTES_MAX && ((unsigned char)text[start] & 0xC0) == 0x80)
        start--;
    if (utf8_length(text + start, end - start) == 0)
        text[start] = '\0';
}

enum status(error_set)(struct error *err, enum status status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    trim_cut_character(err->message, sizeof err->message);
    err->hint[0] = '\0';
    err->status = status;
    return status;
}

enum status(error_hint)(struct error *err, const char *format, ...)
{
    if (!err)
        return STATUS_INTERNAL;
    va_list args;
    va_start(args, format);
    vsnprintf(err->hint, sizeof err->hint, format, args);
    va_end(args);
    trim_cut_character(err->hint, sizeof err->hint);
    return err->status;
}

enum status(error_prefix)(struct error *err, const char *format, ...)
{
    if (!err)
        return STATUS_INTERNAL;
    char message[sizeof err->message];
    memcpy(message, err->message, sizeof message);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, "%s", message);
    trim_cut_character(err->message, sizeof err->message);
    return err->status;
}
