#define ZLIB_CONST
#include "server/inflate.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* The first room for output is this many times the input, and at least ROOM_MIN, in which most bodies fit at once. STEP is the
 * least that is added when it is full; buffer_reserve adds half of what there is. */
enum { FIRST_ROOM_FACTOR = 2, ROOM_MIN = 8192, STEP = 16384 };

/* windowBits of inflateInit2: the largest window, and in which format. */
enum { WINDOW_ZLIB = 15, WINDOW_GZIP = 15 + 16, WINDOW_BARE = -15 };

struct inflater {
    z_stream z;
    enum encoding encoding;
    const Bytef *end; /* of the input */
    size_t len;       /* of the input */
    struct buffer *out;
    size_t out_begin; /* what stood in `out` before */
    size_t bytes_max;
};

/* ---- the header ---- */

enum status inflate_encoding(const char *header, enum encoding *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum encoding encoding;
    } known[] = {{"", ENCODING_IDENTITY},
                 {"identity", ENCODING_IDENTITY},
                 {"gzip", ENCODING_GZIP},
                 {"x-gzip", ENCODING_GZIP},
                 {"deflate", ENCODING_DEFLATE}};
    const char *name = header + strspn(header, " \t");
    size_t len = strlen(name);
    while (len && (name[len - 1] == ' ' || name[len - 1] == '\t'))
        len--;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (len == strlen(known[i].name) && strncasecmp(name, known[i].name, len) == 0) {
            *ret = known[i].encoding;
            return STATUS_OK;
        }
    }
    error_set(err, STATUS_UNSUPPORTED, "Content-Encoding \"%.64s\" is not understood here", header);
    error_hint(err,
               "send the body in one of gzip, x-gzip and deflate, or as it is, without Content-Encoding or with "
               "identity");
    return STATUS_UNSUPPORTED;
}

/* ---- refusals ---- */

static const char *name_of(const struct inflater *inflater)
{
    return inflater->encoding == ENCODING_GZIP ? "gzip" : "deflate";
}

static enum status refuse_damaged(const struct inflater *inflater, struct error *err)
{
    const char *fault = inflater->z.msg ? inflater->z.msg : "it needs a dictionary";
    error_set(err, STATUS_INVALID, "the body is not %s, as its Content-Encoding says, or is damaged: %s",
              name_of(inflater), fault);
    error_hint(err, "compress it once and send these bytes, or send it as it is, without Content-Encoding");
    return STATUS_INVALID;
}

static enum status refuse_cut(const struct inflater *inflater, struct error *err)
{
    error_set(err, STATUS_INVALID, "the %s body ends after %zu bytes, before the end of its data",
              name_of(inflater), inflater->len);
    error_hint(err, "send all that the compressor wrote, with the Content-Length of that");
    return STATUS_INVALID;
}

static enum status refuse_rest(const struct inflater *inflater, struct error *err)
{
    size_t rest = (size_t)(inflater->end - inflater->z.next_in);
    error_set(err, STATUS_INVALID, "%zu bytes stand behind the end of the %s data in the body", rest,
              name_of(inflater));
    error_hint(err, "send what the compressor wrote, and nothing behind it");
    return STATUS_INVALID;
}

static enum status refuse_size(const struct inflater *inflater, struct error *err)
{
    error_set(err, STATUS_TOO_LARGE, "the body's %zu bytes of %s are more than %zu bytes when inflated",
              inflater->len, name_of(inflater), inflater->bytes_max);
    error_hint(err, "split it over several requests, or start mlpd with a larger --body-max");
    return STATUS_TOO_LARGE;
}

static enum status refuse_memory(struct error *err)
{
    error_set(err, STATUS_NO_MEMORY, "there is no memory to inflate the body");
    error_hint(err, "send it again in a moment");
    return STATUS_NO_MEMORY;
}

/* ---- inflating ---- */

static size_t produced(const struct inflater *inflater)
{
    return inflater->out->len - inflater->out_begin;
}

static uInt clamp(size_t count)
{
    return count < INT_MAX ? (uInt)count : INT_MAX;
}

/* Room for at most one byte over the limit: the one that shows that there is more. False if there is no memory. */
static bool make_room(struct inflater *inflater)
{
    struct buffer *out = inflater->out;
    size_t allowed = inflater->bytes_max - produced(inflater) + 1;
    if (!buffer_reserve(out, allowed < STEP ? allowed : STEP))
        return false;
    size_t room = out->capacity - out->len - 1;
    inflater->z.next_out = (Bytef *)out->data + out->len;
    inflater->z.avail_out = clamp(room < allowed ? room : allowed);
    return true;
}

/* One call of zlib with all input, and some room. Z_FINISH saves the window where one call is enough, and is no error where it
 * is not. */
static int step(struct inflater *inflater)
{
    z_stream *z = &inflater->z;
    uInt room = z->avail_out;
    z->avail_in = clamp((size_t)(inflater->end - z->next_in));
    int result = inflate(z, Z_FINISH);
    inflater->out->len += room - z->avail_out;
    inflater->out->data[inflater->out->len] = '\0';
    return result;
}

/* gzip bodies may have several members, and are what all these are. */
static bool has_next_member(const struct inflater *inflater)
{
    const Bytef *at = inflater->z.next_in, *end = inflater->end;
    return inflater->encoding == ENCODING_GZIP && at < end && at[0] == 0x1F && (end - at == 1 || at[1] == 0x8B);
}

/* What zlib's answer means. STATUS_OK: *ret_ended, or there is more to do. */
static enum status judge(struct inflater *inflater, int result, bool *ret_ended, struct error *err)
{
    bool starved = inflater->z.next_in == inflater->end && inflater->z.avail_out;
    if (produced(inflater) > inflater->bytes_max)
        return refuse_size(inflater, err);
    switch (result) {
    case Z_STREAM_END:
        *ret_ended = inflater->z.next_in == inflater->end;
        if (*ret_ended || (has_next_member(inflater) && inflateReset(&inflater->z) == Z_OK))
            return STATUS_OK;
        return refuse_rest(inflater, err);
    case Z_OK:
    case Z_BUF_ERROR: return starved ? refuse_cut(inflater, err) : STATUS_OK;
    case Z_MEM_ERROR: return refuse_memory(err);
    default: return refuse_damaged(inflater, err);
    }
}

static enum status inflate_all(struct inflater *inflater, struct error *err)
{
    bool ended = false;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !ended) {
        if (!make_room(inflater))
            return refuse_memory(err);
        status = judge(inflater, step(inflater), &ended, err);
    }
    return status;
}

/* Bare deflate cannot begin as zlib's format does: four bits 1000 would be a stored block with a padding that is not zero. */
static int window_bits(enum encoding encoding, const char *data, size_t len)
{
    if (encoding == ENCODING_GZIP)
        return WINDOW_GZIP;
    return len && (data[0] & 0x0F) != Z_DEFLATED ? WINDOW_BARE : WINDOW_ZLIB;
}

static bool make_first_room(struct buffer *out, size_t len, size_t bytes_max)
{
    size_t room = len < SIZE_MAX / FIRST_ROOM_FACTOR ? len * FIRST_ROOM_FACTOR : len;
    room = room > ROOM_MIN ? room : ROOM_MIN;
    return buffer_reserve(out, room < bytes_max ? room : bytes_max + 1);
}

enum status inflate_body(enum encoding encoding, const char *data, size_t len, size_t bytes_max, struct buffer *out,
                         struct error *err)
{
    assert(encoding != ENCODING_IDENTITY);
    data = len ? data : ""; /* an empty body may have no memory */
    bytes_max = bytes_max < SIZE_MAX / 4 ? bytes_max : SIZE_MAX / 4;
    struct inflater inflater = {.z.next_in = (const Bytef *)data,
                                .encoding = encoding,
                                .end = (const Bytef *)data + len,
                                .len = len,
                                .out = out,
                                .out_begin = out->len,
                                .bytes_max = bytes_max};
    if (!make_first_room(out, len, bytes_max))
        return refuse_memory(err);
    if (inflateInit2(&inflater.z, window_bits(encoding, data, len)) != Z_OK)
        return refuse_memory(err);
    enum status status = inflate_all(&inflater, err);
    inflateEnd(&inflater.z);
    if (status != STATUS_OK) {
        out->len = inflater.out_begin;
        out->data[out->len] = '\0';
    }
    return status;
}
