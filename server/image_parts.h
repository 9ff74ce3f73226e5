/* What the parts of server/image.c say to each other; nobody else includes this.
 *
 * Each format has a file that walks the bytes before anything is decoded: it finds the declared size, and refuses what
 * is cut, broken or of a kind that is not read here. For PNG, JPEG and BMP the pixels then come from stb_image
 * (server/image_stb.c), which the walk also guards: whatever stb_image v2.27 does not check itself (the length of
 * Huffman tables, palettes shorter than their indices, unknown chunks) is checked there, and said there.
 * Stateless; any thread may call it.
 */
#ifndef MLPD_SERVER_IMAGE_PARTS_H
#define MLPD_SERVER_IMAGE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/image.h"

struct image_file {
    enum image_format format;
    const uint8_t *data;
    size_t len;
    size_t pixels_max;
};

struct image_header {
    size_t width, height; /* both at least 1, and width * height <= pixels_max */
    size_t budget_bytes;  /* PNG, JPEG, BMP: what stb_image may hold at once to decode what was declared */

    size_t work_max; /* ... and how many codes it may put into tables, or look up the slow way */

    size_t palette_at;    /* PNG: where a palette begins that has fewer colours than its indices can name, or 0 */
    size_t palette_bytes; /* PNG: its length, */
    size_t palette_bytes_full; /* and the one that it is padded to */

    size_t
        gray_at; /* PNG of 8-bit gray in one IDAT chunk, not interlaced, without transparency: where its data begins, or 0 */
    size_t gray_bytes; /* and its length */

    size_t samples_at;    /* PNM: where the samples begin */
    size_t samples_pixel; /* PNM: 1 (gray) or 3 (red, green, blue) */
    unsigned sample_max;  /* PNM: the value that means white; above 255 a sample has two bytes */
};

/* The walks. *ret is filled on success only. */
enum status image_png_check(const struct image_file *file, struct image_header *ret, struct error *err);
enum status image_jpeg_check(const struct image_file *file, struct image_header *ret, struct error *err);
enum status image_bmp_check(const struct image_file *file, struct image_header *ret, struct error *err);
enum status image_pnm_check(const struct image_file *file, struct image_header *ret, struct error *err);

/* Checks the declared size against pixels_max and takes it into *header. */
enum status image_size_take(const struct image_file *file, uint64_t width, uint64_t height,
                            struct image_header *header, struct error *err);

/* "PNG is cut: it ends at byte 512, inside WHERE." and how to send the whole. */
enum status image_refuse_cut(const struct image_file *file, struct error *err, const char *where, ...)
    __attribute__((format(printf, 3, 4)));

/* "PNG is broken: WHAT." and what to do about it. */
enum status image_refuse_broken(const struct image_file *file, struct error *err, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

/* "JPEG is of a kind that is not read here: WHAT.", and to send a PNG. */
enum status image_refuse_kind(const struct image_file *file, struct error *err, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

/* A copy of the PNG whose palette has all header->palette_bytes_full bytes, the new colours black; the caller frees it
 * with free(). NULL if memory ran out. */
uint8_t *image_png_pad_palette(const struct image_file *file, const struct image_header *header, size_t *ret_len);

/* The short way for a PNG with header->gray_at: its (height, width) pixels to ret_gray. False if it must take the long way; what
 * was written then means nothing. */
bool image_png_read_gray(const struct image_file *file, const struct image_header *header, uint8_t *ret_gray);

/* The pixels of a file that was checked: height * width * *ret_channels bytes, to be freed with image_stb_free.
 * Channels: 1 gray, 2 gray and alpha, 3 red, green, blue, 4 the same and alpha; 16 bits are cut to their high byte. */
enum status image_stb_read(const struct image_file *file, const struct image_header *header, uint8_t **ret_pixels,
                           size_t *ret_channels, struct error *err);
void image_stb_free(uint8_t *pixels);

/* The gray of `count` PNM pixels at header->samples_at, scaled from 0..sample_max to 0..255 and rounded. */
void image_pnm_gray(const struct image_file *file, const struct image_header *header, uint8_t *ret_gray,
                    size_t count);

/* The same for one channel of them: 0 is red, 1 green, 2 blue. A gray PNM has the same in each. */
void image_pnm_channel(const struct image_file *file, const struct image_header *header, size_t channel,
                       uint8_t *ret_plane, size_t count);

/* ITU-R 601 luma with Pillow's weights: sixteen bits of fraction, rounded. */
static inline uint8_t image_luma(uint32_t red, uint32_t green, uint32_t blue)
{
    return (uint8_t)((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
}

static inline uint32_t image_be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t image_be32(const uint8_t *at)
{
    return image_be16(at) << 16 | image_be16(at + 2);
}

static inline uint32_t image_le16(const uint8_t *at)
{
    return (uint32_t)at[1] << 8 | at[0];
}

static inline uint32_t image_le32(const uint8_t *at)
{
    return image_le16(at + 2) << 16 | image_le16(at);
}

#endif
