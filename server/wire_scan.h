/* The characters of HTTP heads, and how to pass over many of them at once: private to wire.c. Pure functions; any thread may
 * call them. They read no byte at or behind `end`.
 */
#ifndef MLPD_SERVER_WIRE_SCAN_H
#define MLPD_SERVER_WIRE_SCAN_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What a character may stand in: a token (RFC 9110, 5.6.2), a host with its port (RFC 3986, 3.2.2 and 3.2.3). */
enum { TOKEN = 1, HOST = 2, BOTH = TOKEN | HOST };

static const uint8_t classes[256] = {
    ['!'] = BOTH,  ['#'] = TOKEN, ['$'] = BOTH, ['%'] = BOTH, ['&'] = BOTH, ['\''] = BOTH, ['('] = HOST,
    [')'] = HOST,  ['*'] = BOTH,  ['+'] = BOTH, [','] = HOST, ['-'] = BOTH, ['.'] = BOTH,  ['0'] = BOTH,
    ['1'] = BOTH,  ['2'] = BOTH,  ['3'] = BOTH, ['4'] = BOTH, ['5'] = BOTH, ['6'] = BOTH,  ['7'] = BOTH,
    ['8'] = BOTH,  ['9'] = BOTH,  [':'] = HOST, [';'] = HOST, ['='] = HOST, ['A'] = BOTH,  ['B'] = BOTH,
    ['C'] = BOTH,  ['D'] = BOTH,  ['E'] = BOTH, ['F'] = BOTH, ['G'] = BOTH, ['H'] = BOTH,  ['I'] = BOTH,
    ['J'] = BOTH,  ['K'] = BOTH,  ['L'] = BOTH, ['M'] = BOTH, ['N'] = BOTH, ['O'] = BOTH,  ['P'] = BOTH,
    ['Q'] = BOTH,  ['R'] = BOTH,  ['S'] = BOTH, ['T'] = BOTH, ['U'] = BOTH, ['V'] = BOTH,  ['W'] = BOTH,
    ['X'] = BOTH,  ['Y'] = BOTH,  ['Z'] = BOTH, ['['] = HOST, [']'] = HOST, ['^'] = TOKEN, ['_'] = BOTH,
    ['`'] = TOKEN, ['a'] = BOTH,  ['b'] = BOTH, ['c'] = BOTH, ['d'] = BOTH, ['e'] = BOTH,  ['f'] = BOTH,
    ['g'] = BOTH,  ['h'] = BOTH,  ['i'] = BOTH, ['j'] = BOTH, ['k'] = BOTH, ['l'] = BOTH,  ['m'] = BOTH,
    ['n'] = BOTH,  ['o'] = BOTH,  ['p'] = BOTH, ['q'] = BOTH, ['r'] = BOTH, ['s'] = BOTH,  ['t'] = BOTH,
    ['u'] = BOTH,  ['v'] = BOTH,  ['w'] = BOTH, ['x'] = BOTH, ['y'] = BOTH, ['z'] = BOTH,  ['|'] = TOKEN,
    ['~'] = BOTH,
};

static inline bool is_in(char c, unsigned class)
{
    return classes[(unsigned char)c] & class;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static inline bool is_control(char c)
{
    return (unsigned char)c < ' ' || c == 0x7F;
}

static inline const char *skip_token(const char *at, const char *end)
{
    while (at < end && is_in(*at, TOKEN))
        at++;
    return at;
}

/* The first of `at`'s 8 bytes that is below `lowest` or DEL, or 8. A subtraction borrows only out of a byte that is found,
 * so the lowest mark is always right. */
static inline size_t find_in_word(const char *at, unsigned lowest)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, at, sizeof word);
    word = le64toh(word);
    uint64_t del = word ^ (ones * 0x7F);
    uint64_t marks = (((word - ones * lowest) & ~word) | ((del - ones) & ~del)) & tops;
    return marks ? (size_t)__builtin_ctzll(marks) / 8 : sizeof word;
}

/* The first byte that is below `lowest` (at most 0x80) or DEL, or the end. */
static inline const char *skip_from(const char *at, const char *end, unsigned lowest)
{
    for (size_t found; end - at >= 8; at += 8)
        if ((found = find_in_word(at, lowest)) < 8)
            return at + found;
    while (at < end && (unsigned char)*at >= lowest && *at != 0x7F)
        at++;
    return at;
}

/* Visible characters, blanks and what is beyond ASCII. */
static inline const char *skip_text(const char *at, const char *end)
{
    at = skip_from(at, end, ' ');
    while (at < end && *at == '\t')
        at = skip_from(at + 1, end, ' ');
    return at;
}

#endif
