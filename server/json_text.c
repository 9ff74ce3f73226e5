#include "server/json_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum {
    MANTISSA_DIGITS_MAX = 19, /* any number of 19 digits fits a uint64 */
    POWER_MAX = 22,           /* 10^22 is the last power of ten that a double holds exactly */
    EXPONENT_LIMIT = 100000,  /* beyond it every exponent means the same: far too large, or zero */
    NESTING_MAX = 512,        /* of json_is_valid */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *read_digits(const char *at, uint64_t *mantissa)
{
    uint64_t sum = *mantissa;
    for (; is_digit(*at); at++)
        sum = sum * 10 + (uint64_t)(*at - '0');
    *mantissa = sum;
    return at;
}

/* Reads what follows the 'e' and adds it to the exponent. Returns NULL if there is no digit. */
static const char *read_exponent(const char *at, long *exponent)
{
    bool is_negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    if (!is_digit(*at))
        return NULL;
    long size = 0;
    for (; is_digit(*at); at++)
        if (size < EXPONENT_LIMIT)
            size = size * 10 + (*at - '0');
    *exponent += is_negative ? -size : size;
    return at;
}

/* mantissa * 10^exponent as a float, by way of a double. False where that may round differently than one step would.
 *
 * The conversion and the division (or multiplication by an exact power of ten) each err by half a unit in the last place,
 * so the double is less than 4 of its units from the true number. Rounding it to a float drops 29 bits; the result is the
 * true number's unless a midpoint of two floats, where these bits are 1000...0, lies within those 4 units. The powers
 * keep the value within 1e-22 and 2e41: no double or float here is subnormal, and only the float may overflow. */
static bool scale_by_double(uint64_t mantissa, long exponent, float *ret_value)
{
    static const double powers[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (mantissa == 0) {
        *ret_value = 0;
        return true;
    }
    if (exponent < -POWER_MAX || exponent > POWER_MAX)
        return false;
    double value = exponent < 0 ? (double)mantissa / powers[-exponent] : (double)mantissa * powers[exponent];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t dropped = (uint32_t)bits & 0x1FFFFFFF;
    bool is_near_midpoint = dropped - (0x10000000 - 4) <= 8;
    if (is_near_midpoint)
        return false;
    *ret_value = (float)value;
    return true;
}

const char *json_number_read(const char *text, float *ret_value)
{
    bool is_negative = *text == '-';
    const char *first = text + is_negative;
    uint64_t mantissa = 0; /* wraps around if there are too many digits, and is not used then */
    long exponent = 0;
    const char *at = read_digits(first, &mantissa);
    ptrdiff_t digits = at - first;
    if (digits == 0 || (*first == '0' && digits > 1))
        return NULL;
    if (*at == '.') {
        const char *fraction = at + 1;
        at = read_digits(fraction, &mantissa);
        if (at == fraction)
            return NULL;
        digits += at - fraction;
        exponent = -(long)(at - fraction);
    }
    if (*at == 'e' || *at == 'E')
        at = read_exponent(at + 1, &exponent);
    if (!at)
        return NULL;
    float value;
    if (digits > MANTISSA_DIGITS_MAX || !scale_by_double(mantissa, exponent, &value))
        *ret_value = strtof(text, NULL);
    else
        *ret_value = is_negative ? -value : value;
    return at;
}

/* The four hexadecimal digits at `at`, or -1. */
static int32_t read_hex4(const char *at)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++, at++) {
        int32_t digit;
        if (is_digit(*at))
            digit = *at - '0';
        else if ((*at | 0x20) >= 'a' && (*at | 0x20) <= 'f')
            digit = (*at | 0x20) - 'a' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high_surrogate(int32_t unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_surrogate(int32_t unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* The bytes of the escape whose backslash is at `at`; 0, and what is wrong, if it is none. */
static size_t escape_length(const char *at, const char **ret_what)
{
    if (at[1] && strchr("\"\\/bfnrt", at[1]))
        return 2;
    *ret_what = "an escape that JSON does not have";
    if (at[1] != 'u')
        return 0;
    int32_t unit = read_hex4(at + 2);
    if (unit < 0)
        return 0;
    if (!is_high_surrogate(unit) && !is_low_surrogate(unit))
        return 6;
    *ret_what = "half of a surrogate pair";
    bool is_pair = is_high_surrogate(unit) && at[6] == '\\' && at[7] == 'u' && is_low_surrogate(read_hex4(at + 8));
    return is_pair ? 12 : 0;
}

static bool is_plain(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* The bytes of the character at `at` that is not plain and does not end the string; 0, and what is wrong, if none. */
static size_t special_length(const char *at, const char **ret_what)
{
    if (*at == '\\')
        return escape_length(at, ret_what);
    *ret_what = (unsigned char)*at < 0x20 ? "a control character that is not escaped" : "a byte that is not UTF-8";
    return (unsigned char)*at < 0x20 ? 0 : utf8_length(at, UTF8_BYTES_MAX);
}

const char *json_string_read(const char *text, struct json_string *ret_string, struct json_fault *ret_fault)
{
    const char *at = text + 1;
    for (;;) {
        while (is_plain(*at))
            at++;
        if (*at == '"')
            break;
        const char *what;
        size_t len = special_length(at, &what);
        if (len == 0) {
            *ret_fault = (struct json_fault){at, what};
            return NULL;
        }
        at += len;
    }
    *ret_string = (struct json_string){text + 1, (size_t)(at - text - 1)};
    return at + 1;
}

static size_t write_utf8(char *dst, uint32_t c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {[2] = 0xC0, [3] = 0xE0, [4] = 0xF0};
    for (size_t i = len - 1; i > 0; i--, c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3F));
    dst[0] = (char)(leads[len] | c);
    return len;
}

/* Writes the character of the \u escape at `at`, and returns the escape's length. */
static size_t unescape_unicode(const char *at, char *dst, size_t *ret_written)
{
    uint32_t unit = (uint32_t)read_hex4(at + 2);
    if (!is_high_surrogate((int32_t)unit)) {
        *ret_written = write_utf8(dst, unit);
        return 6;
    }
    uint32_t low = (uint32_t)read_hex4(at + 8);
    *ret_written = write_utf8(dst, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
    return 12;
}

size_t json_string_unescape(struct json_string string, char *dst)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *at = string.data, *end = string.data + string.len;
    char *to = dst;
    while (at < end) {
        size_t written = 1;
        if (*at != '\\') {
            *to = *at++;
        } else if (at[1] == 'u') {
            at += unescape_unicode(at, to, &written);
        } else {
            *to = meanings[strchr(names, at[1]) - names];
            at += 2;
        }
        to += written;
    }
    return (size_t)(to - dst);
}

/* The arrays and objects that are open, one bit each. */
struct nesting {
    uint64_t is_object[NESTING_MAX / 64];
    size_t depth;
};

static bool nesting_push(struct nesting *nesting, bool is_object)
{
    if (nesting->depth == NESTING_MAX)
        return false;
    uint64_t bit = UINT64_C(1) << nesting->depth % 64;
    uint64_t *word = &nesting->is_object[nesting->depth / 64];
    *word = is_object ? *word | bit : *word & ~bit;
    nesting->depth++;
    return true;
}

static bool nesting_is_in_object(const struct nesting *nesting)
{
    size_t top = nesting->depth - 1;
    return nesting->is_object[top / 64] >> top % 64 & 1;
}

/* Each of these returns the end of what it reads, or NULL if it is not there. */

static const char *skip_string(const char *at)
{
    struct json_string string;
    struct json_fault fault;
    return *at == '"' ? json_string_read(at, &string, &fault) : NULL;
}

static const char *skip_key(const char *at)
{
    at = skip_string(json_skip_space(at));
    if (!at)
        return NULL;
    at = json_skip_space(at);
    return *at == ':' ? at + 1 : NULL;
}

static const char *skip_word(const char *at, const char *word)
{
    return strncmp(at, word, strlen(word)) == 0 ? at + strlen(word) : NULL;
}

static const char *skip_scalar(const char *at)
{
    float value;
    switch (*at) {
    case '"': return skip_string(at);
    case 't': return skip_word(at, "true");
    case 'f': return skip_word(at, "false");
    case 'n': return skip_word(at, "null");
    default: return json_number_read(at, &value);
    }
}

/* Reads what may stand before the first part of a value ends: brackets, keys, and the first scalar if there is one. */
static const char *skip_to_first_end(struct nesting *nesting, const char *at)
{
    for (at = json_skip_space(at); *at == '[' || *at == '{'; at = json_skip_space(at)) {
        bool is_object = *at == '{';
        if (!nesting_push(nesting, is_object))
            return NULL;
        at = json_skip_space(at + 1);
        if (*at == (is_object ? '}' : ']'))
            return at;
        if (is_object)
            at = skip_key(at);
        if (!at)
            return NULL;
    }
    return skip_scalar(at);
}

static const char *skip_closing(struct nesting *nesting, const char *at)
{
    at = json_skip_space(at);
    while (nesting->depth && *at == (nesting_is_in_object(nesting) ? '}' : ']')) {
        nesting->depth--;
        at = json_skip_space(at + 1);
    }
    return at;
}

bool json_is_valid(const char *text, size_t len)
{
    struct nesting nesting = {.depth = 0};
    const char *at = text;
    for (;;) {
        at = skip_to_first_end(&nesting, at);
        if (!at)
            return false;
        at = skip_closing(&nesting, at);
        if (nesting.depth == 0)
            return at == text + len;
        if (*at++ != ',')
            return false;
        if (nesting_is_in_object(&nesting))
            at = skip_key(at);
        if (!at)
            return false;
    }
}
