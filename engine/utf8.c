#include "engine/utf8.h"

/* How many bytes `lead` says that its character has; 0 if no character begins so. */
static size_t length_of_lead(unsigned char lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
}

/* Whether `second` may follow `lead`. After some leads the range of continuation bytes is narrower: what is left out are
 * the overlong forms, the surrogates, and what lies beyond U+10FFFF. */
static bool may_follow(unsigned char lead, unsigned char second)
{
    unsigned char first = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char last = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= first && second <= last;
}

size_t utf8_length(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t n = len > 0 ? length_of_lead(at[0]) : 0;
    if (n == 0 || n > len || (n > 1 && !may_follow(at[0], at[1])))
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* Whether the character at `at` is one of U+0000 to U+001F and U+007F to U+009F. */
static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0];
    return first < 0x20 || first == 0x7F || (first == 0xC2 && (unsigned char)at[1] < 0xA0);
}

bool utf8_is_printable(const char *text, size_t len)
{
    for (const char *at = text, *end = text + len; at < end;) {
        size_t n = utf8_length(at, (size_t)(end - at));
        if (n == 0 || is_control(at))
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
