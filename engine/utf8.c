#include "engine/utf8.h"

#include <stdint.h>

/* Bytes of the sequence that `lead` begins; 0 if none begins so. */
static size_t sequence_len(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead < 0xE0)
        return 2;
    if (lead >= 0xE0 && lead < 0xF0)
        return 3;
    return lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
}

/* The code point of a sequence of n bytes, or UINT32_MAX if its tail is broken. */
static uint32_t sequence_decode(const unsigned char *at, size_t n)
{
    uint32_t code = n == 1 ? at[0] : at[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return UINT32_MAX;
        code = code << 6 | (at[i] & 0x3F);
    }
    return code;
}

static bool is_printable(uint32_t code, size_t n)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    bool control = code < 0x20 || (code >= 0x7F && code < 0xA0);
    bool surrogate = code >= 0xD800 && code < 0xE000;
    return !control && !surrogate && code >= smallest[n] && code <= 0x10FFFF;
}

bool utf8_is_printable(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    while (at < end) {
        size_t n = sequence_len(*at);
        if (n == 0 || n > (size_t)(end - at) || !is_printable(sequence_decode(at, n), n))
            return false;
        at += n;
    }
    return true;
}

int utf8_cut(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return (int)len;
    while (max > 0 && ((unsigned char)text[max] & 0xC0) == 0x80)
        max--;
    return (int)max;
}
