/* What decodes must encode to the same text again, once its line breaks are out, its alphabet is the standard one and
 * its padding is there: so no two texts mean the same bytes. Decoding in place must give the same. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t canonical(const uint8_t *text, size_t size, char *out)
{
    size_t len = 0;
    for (size_t i = 0; i < size; i++)
        if (text[i] != '\r' && text[i] != '\n')
            out[len++] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : (char)text[i];
    while (len % 4)
        out[len++] = '=';
    return len;
}

static size_t encode(const unsigned char *bytes, size_t size, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < size ? bytes[i + 2] : 0;
        out[len++] = alphabet[bits >> 18];
        out[len++] = alphabet[bits >> 12 & 63];
        out[len++] = i + 1 < size ? alphabet[bits >> 6 & 63] : '=';
        out[len++] = i + 2 < size ? alphabet[bits & 63] : '=';
    }
    return len;
}

static void check(const uint8_t *text, size_t size, const unsigned char *bytes, size_t len)
{
    char *expected = malloc(size + 4), *got = malloc(size + 8);
    assert(expected && got && len <= base64_decoded_max(size));
    size_t expected_len = canonical(text, size, expected), got_len = encode(bytes, len, got);
    assert(got_len == expected_len && memcmp(got, expected, got_len) == 0);
    free(expected);
    free(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes = malloc(base64_decoded_max(size)), *in_place = malloc(size);
    struct error err;
    size_t len = 0, len_in_place = 0;
    if (size)
        memcpy(in_place, data, size);
    enum status status = base64_decode((const char *)data, size, bytes, &len, &err);
    enum status again = base64_decode((char *)in_place, size, in_place, &len_in_place, NULL);
    assert(status == again && len == len_in_place);
    if (status == STATUS_OK) {
        assert(len == 0 || memcmp(bytes, in_place, len) == 0);
        check(data, size, bytes, len);
    } else {
        assert(err.status == status && err.message[0] && len == 0);
    }
    free(bytes);
    free(in_place);
    return 0;
}
