#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *status_text(enum status status)
{
    static const char *const texts[] = {
#define STATUS_TEXT(name, text) [name] = (text),
        STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    };
    return texts[status];
}

/* A text cut by vsnprintf may end inside a UTF-8 sequence: take the broken tail off. */
static void trim_broken_utf8(char *text, size_t size)
{
    size_t end = strnlen(text, size);
    if (end + 1 < size)
        return;
    size_t start = end;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)text[start - 1] < 0xC0)
        return; /* ends in ASCII */
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (end - start < want)
        text[start - 1] = '\0';
}

enum status(error_set)(struct error *err, enum status status, const char *format, ...)
{
    if (!err)
        return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    trim_broken_utf8(err->message, sizeof err->message);
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
    trim_broken_utf8(err->hint, sizeof err->hint);
    return err->status;
}
