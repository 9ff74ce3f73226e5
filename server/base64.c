#include "server/base64.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What a character means: its six bits with IN_ALPHABET set, LINE_BREAK, or 0 for what has no place in base64. One
 * table holds both alphabets, and a text may mix them: no character means two things. */
enum { SIX_BITS = 0x3F, IN_ALPHABET = 0x40, LINE_BREAK = 0x80 };

#define V(value) (IN_ALPHABET | (value))
static const unsigned char meanings[256] = {
    ['A'] = V(0),        ['B'] = V(1),        ['C'] = V(2),  ['D'] = V(3),  ['E'] = V(4),  ['F'] = V(5),
    ['G'] = V(6),        ['H'] = V(7),        ['I'] = V(8),  ['J'] = V(9),  ['K'] = V(10), ['L'] = V(11),
    ['M'] = V(12),       ['N'] = V(13),       ['O'] = V(14), ['P'] = V(15), ['Q'] = V(16), ['R'] = V(17),
    ['S'] = V(18),       ['T'] = V(19),       ['U'] = V(20), ['V'] = V(21), ['W'] = V(22), ['X'] = V(23),
    ['Y'] = V(24),       ['Z'] = V(25),       ['a'] = V(26), ['b'] = V(27), ['c'] = V(28), ['d'] = V(29),
    ['e'] = V(30),       ['f'] = V(31),       ['g'] = V(32), ['h'] = V(33), ['i'] = V(34), ['j'] = V(35),
    ['k'] = V(36),       ['l'] = V(37),       ['m'] = V(38), ['n'] = V(39), ['o'] = V(40), ['p'] = V(41),
    ['q'] = V(42),       ['r'] = V(43),       ['s'] = V(44), ['t'] = V(45), ['u'] = V(46), ['v'] = V(47),
    ['w'] = V(48),       ['x'] = V(49),       ['y'] = V(50), ['z'] = V(51), ['0'] = V(52), ['1'] = V(53),
    ['2'] = V(54),       ['3'] = V(55),       ['4'] = V(56), ['5'] = V(57), ['6'] = V(58), ['7'] = V(59),
    ['8'] = V(60),       ['9'] = V(61),       ['+'] = V(62), ['-'] = V(62), ['/'] = V(63), ['_'] = V(63),
    ['\r'] = LINE_BREAK, ['\n'] = LINE_BREAK,
};
#undef V

/* Three bytes come of four characters; `held` characters of the group at hand are in the low bits of `bits`. */
struct decoder {
    const unsigned char *text;
    size_t len, at;
    unsigned char *dst; /* may be `text`: a byte is written only after the characters that it comes of were read */
    size_t written;
    uint32_t bits;
    unsigned held;
};

size_t base64_decoded_max(size_t len)
{
    return len / 4 * 3 + len % 4 * 3 / 4;
}

static enum status refuse_character(const struct decoder *d, struct error *err)
{
    unsigned char c = d->text[d->at];
    if (c > ' ' && c < 0x7F)
        error_set(err, STATUS_INVALID, "the base64 text has '%c' at position %zu, which is not of its alphabet", c,
                  d->at);
    else
        error_set(err, STATUS_INVALID,
                  "the base64 text has the byte 0x%02x at position %zu, which is not of its alphabet", c, d->at);
    error_hint(err, "encode with base64 (A-Z a-z 0-9 + / or - _), with no blanks; line breaks are passed over");
    return STATUS_INVALID;
}

static enum status refuse_data_url(struct error *err)
{
    error_set(err, STATUS_INVALID,
              "the base64 text begins with \"data:\", which is a URL's and not of the alphabet");
    error_hint(err, "send only what follows \"base64,\" in the data: URL");
    return STATUS_INVALID;
}

static enum status refuse_ending(const struct decoder *d, const char *why, struct error *err)
{
    error_set(err, STATUS_INVALID, "the base64 text is wrong at position %zu, at its end: %s", d->at, why);
    error_hint(err, "the text was cut off or changed on its way: encode the bytes again and send all of it");
    return STATUS_INVALID;
}

/* Whole groups, as long as the characters are all of the alphabet: where nearly all of the time goes. */
static void decode_groups(struct decoder *d)
{
    const unsigned char *in = d->text + d->at, *end = d->text + d->len;
    unsigned char *out = d->dst + d->written;
    for (; end - in >= 4; in += 4, out += 3) {
        uint32_t a = meanings[in[0]], b = meanings[in[1]], c = meanings[in[2]], e = meanings[in[3]];
        if (!(a & b & c & e & IN_ALPHABET))
            break;
        uint32_t bits = (a & SIX_BITS) << 18 | (b & SIX_BITS) << 12 | (c & SIX_BITS) << 6 | (e & SIX_BITS);
        out[0] = (unsigned char)(bits >> 16);
        out[1] = (unsigned char)(bits >> 8);
        out[2] = (unsigned char)bits;
    }
    d->at = (size_t)(in - d->text);
    d->written = (size_t)(out - d->dst);
}

/* Characters one by one, until a group is whole and decode_groups can go on. True at the padding or the end. */
static bool decode_characters(struct decoder *d, bool *ret_foreign)
{
    for (; d->at < d->len; d->at++) {
        unsigned char meaning = meanings[d->text[d->at]];
        if (meaning & LINE_BREAK)
            continue;
        if (!meaning) {
            *ret_foreign = d->text[d->at] != '=';
            return true;
        }
        d->bits = d->bits << 6 | (meaning & SIX_BITS);
        if (++d->held < 4)
            continue;
        for (int shift = 16; shift >= 0; shift -= 8)
            d->dst[d->written++] = (unsigned char)(d->bits >> shift);
        d->held = 0;
        d->at++;
        return false;
    }
    return true;
}

/* The last group: 2 characters for one byte or 3 for two, whose bits beyond those bytes must be 0, so that no two
 * texts mean the same bytes. */
static enum status decode_last_group(struct decoder *d, struct error *err)
{
    if (d->held == 0)
        return STATUS_OK;
    if (d->held == 1)
        return refuse_ending(d, "a single character is left over, and a byte takes two", err);
    unsigned left_over = d->held == 2 ? 4 : 2;
    if (d->bits & ((1U << left_over) - 1))
        return refuse_ending(d, "the last character has bits that belong to no byte", err);
    uint32_t bits = (d->bits & (d->held == 2 ? 0xFFFU : 0x3FFFFU)) >> left_over;
    if (d->held == 3)
        d->dst[d->written++] = (unsigned char)(bits >> 8);
    d->dst[d->written++] = (unsigned char)bits;
    return STATUS_OK;
}

/* Padding may be missing altogether; where there is some, it fills its group, and only line breaks follow. */
static enum status check_padding(struct decoder *d, struct error *err)
{
    unsigned padding = 0;
    for (; d->at < d->len; d->at++) {
        unsigned char c = d->text[d->at];
        if (meanings[c] & LINE_BREAK)
            continue;
        if (c != '=' && !meanings[c])
            return refuse_character(d, err);
        if (c != '=' || d->held + padding == 4 || d->held < 2)
            return refuse_ending(d, c == '=' ? "more padding than the last group takes" : "text after the padding",
                                 err);
        padding++;
    }
    if (padding && d->held + padding != 4)
        return refuse_ending(d, "less padding than the last group takes", err);
    return STATUS_OK;
}

enum status base64_decode(const char *text, size_t len, void *dst, size_t *ret_len, struct error *err)
{
    struct decoder d = {.text = (const unsigned char *)text, .len = len, .dst = dst};
    bool foreign = false;
    if (len >= 5 && memcmp(text, "data:", 5) == 0)
        return refuse_data_url(err);
    do
        decode_groups(&d);
    while (!decode_characters(&d, &foreign));
    if (foreign)
        return refuse_character(&d, err);
    enum status status = check_padding(&d, err);
    if (status == STATUS_OK)
        status = decode_last_group(&d, err);
    if (status == STATUS_OK)
        *ret_len = d.written;
    return status;
}
