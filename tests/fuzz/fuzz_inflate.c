/* The input's first byte chooses the encoding and the limit; the rest is the body. What comes out must be within the limit, the
 * same in memory that is as large from the begin, and deflated again it must give itself. */
#define ZLIB_CONST
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "server/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum encoding encoding_of(uint8_t choice)
{
    return choice & 1 ? ENCODING_GZIP : ENCODING_DEFLATE;
}

/* A refusal leaves what stood before, and says why. */
static void check_refusal(const struct buffer *out, enum status status, const struct error *err)
{
    assert(status == err->status && err->message[0] && err->hint[0]);
    assert(status == STATUS_INVALID || status == STATUS_TOO_LARGE || status == STATUS_NO_MEMORY);
    assert(out->len == 6 && memcmp(out->data, "before", 7) == 0);
}

static void check_round_trip(const struct buffer *plain)
{
    struct buffer again = {0};
    uLong bound = compressBound(plain->len);
    Bytef *packed = malloc(bound);
    if (packed && compress2(packed, &bound, (const Bytef *)plain->data, plain->len, 1) == Z_OK) {
        assert(inflate_body(ENCODING_DEFLATE, (char *)packed, bound, plain->len, &again, NULL) == STATUS_OK);
        assert(again.len == plain->len && memcmp(again.data, plain->data, plain->len) == 0);
    }
    free(packed);
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    size_t limit = (size_t)1 << (data[0] >> 1) % 18;
    struct buffer out = {0}, roomy = {0};
    struct error err = {0};
    buffer_append_str(&out, "before");
    buffer_reserve(&roomy, limit + 1);
    enum status status = inflate_body(encoding_of(data[0]), (const char *)data + 1, size - 1, limit, &out, &err);
    enum status same = inflate_body(encoding_of(data[0]), (const char *)data + 1, size - 1, limit, &roomy, NULL);
    assert(status == same);
    assert(out.len <= limit + 6 && out.data[out.len] == '\0' && out.capacity <= 2 * (limit + size + 32768));
    if (status != STATUS_OK)
        check_refusal(&out, status, &err);
    else {
        assert(out.len == roomy.len + 6 && memcmp(out.data + 6, roomy.data, roomy.len) == 0);
        check_round_trip(&roomy);
    }
    buffer_free(&out);
    buffer_free(&roomy);
    return 0;
}
