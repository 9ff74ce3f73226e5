/* A writer of PNGs for tests: any header over any data, with right CRCs, so that what a test breaks is the one thing
 * that it means to break. Bytes go into a `struct bytes` that the test frees.
 *
 *     struct bytes png = {0};
 *     png_write(&png, (struct png_kind){.width = 28, .height = 28, .depth = 8}, rows, sizeof rows);
 *     ... free(png.data);
 */
#ifndef MLPD_TESTS_PNG_H
#define MLPD_TESTS_PNG_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *data;
    size_t len;
};

struct png_kind {
    uint32_t width, height;
    uint8_t depth, colour, interlace; /* as in chunk IHDR: colour 0 gray, 2 RGB, 3 palette, 4 and 6 with alpha */
    const uint8_t *palette, *transparency;
    size_t palette_len, transparency_len;
};

static inline void bytes_append(struct bytes *bytes, const void *data, size_t len)
{
    if (len == 0)
        return;
    bytes->data = realloc(bytes->data, bytes->len + len);
    if (!bytes->data)
        abort();
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static inline void bytes_append_be32(struct bytes *bytes, uint32_t value)
{
    uint8_t be[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    bytes_append(bytes, be, sizeof be);
}

/* Bit by bit, from the definition. */
static inline uint32_t png_crc(const uint8_t *data, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static inline void png_append_chunk(struct bytes *png, const char *type, const void *data, size_t len)
{
    bytes_append_be32(png, (uint32_t)len);
    size_t begin = png->len;
    bytes_append(png, type, 4);
    bytes_append(png, data, len);
    bytes_append_be32(png, png_crc(png->data + begin, png->len - begin));
}

/* The signature and all chunks before IDAT. */
static inline void png_begin(struct bytes *png, struct png_kind kind)
{
    bytes_append(png, "\x89PNG\r\n\x1a\n", 8);
    struct bytes header = {0};
    bytes_append_be32(&header, kind.width);
    bytes_append_be32(&header, kind.height);
    uint8_t rest[5] = {kind.depth, kind.colour, 0, 0, kind.interlace};
    bytes_append(&header, rest, sizeof rest);
    png_append_chunk(png, "IHDR", header.data, header.len);
    free(header.data);
    if (kind.palette)
        png_append_chunk(png, "PLTE", kind.palette, kind.palette_len);
    if (kind.transparency)
        png_append_chunk(png, "tRNS", kind.transparency, kind.transparency_len);
}

/* The data in zlib's format, stored as it is in blocks of at most 65535 bytes. */
static inline void zlib_store(struct bytes *zlib, const uint8_t *data, size_t len)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < len; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    bytes_append(zlib, "\x78\x01", 2);
    do {
        size_t part = len < 65535 ? len : 65535;
        uint8_t head[5] = {part == len, (uint8_t)part, (uint8_t)(part >> 8), (uint8_t)~part, (uint8_t)(~part >> 8)};
        bytes_append(zlib, head, sizeof head);
        bytes_append(zlib, data, part);
        data += part;
        len -= part;
    } while (len > 0);
    bytes_append_be32(zlib, b << 16 | a);
}

/* A whole PNG around compressed data. */
static inline void png_write_deflated(struct bytes *png, struct png_kind kind, const void *zlib, size_t len)
{
    png_begin(png, kind);
    png_append_chunk(png, "IDAT", zlib, len);
    png_append_chunk(png, "IEND", NULL, 0);
}

/* A whole PNG; rows hold a filter byte each (0: none) and then the samples. */
static inline void png_write(struct bytes *png, struct png_kind kind, const uint8_t *rows, size_t len)
{
    struct bytes zlib = {0};
    zlib_store(&zlib, rows, len);
    png_write_deflated(png, kind, zlib.data, zlib.len);
    free(zlib.data);
}

#endif
