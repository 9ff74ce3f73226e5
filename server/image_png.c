/* The walk over a PNG's chunks: framing, CRC-32, order and sizes, all that stb_image takes on trust. */
#include "server/image_parts.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crc32.h"

enum {
    SIGNATURE_BYTES = 8,
    CHUNK_BYTES = 12, /* of a chunk without its data: length, type, and the CRC after the data */
    HEADER_BYTES = 13,
    PALETTE_BYTES_MAX = 768,
};

enum colour { COLOUR_GRAY = 0, COLOUR_RGB = 2, COLOUR_PALETTE = 3, COLOUR_GRAY_ALPHA = 4, COLOUR_RGB_ALPHA = 6 };

#define CHUNK_TYPE(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct png {
    const struct image_file *file;
    size_t at; /* of the current chunk */
    size_t chunk_bytes;
    uint32_t chunk_type;
    const uint8_t *chunk_data;

    struct image_header header;
    unsigned depth, channels;
    enum colour colour;
    bool interlaced, seen_header, seen_palette, seen_end;
    size_t palette_at, palette_bytes;
    size_t data_chunks, data_at; /* IDAT chunks, and where the first one's data begins */
    bool transparent;            /* there is a chunk tRNS */
    size_t deflated_bytes;       /* of all IDAT chunks */
};

static bool is_chunk_type(const uint8_t *type)
{
    for (int i = 0; i < 4; i++)
        if ((type[i] | 32) < 'a' || (type[i] | 32) > 'z')
            return false;
    return true;
}

/* Finds the chunk at png->at whole and unharmed. */
static enum status next_chunk(struct png *png, struct error *err)
{
    size_t left = png->file->len - png->at;
    if (left < 8)
        return image_refuse_cut(png->file, err, "where chunk IEND or one before it should begin");
    const uint8_t *chunk = png->file->data + png->at;
    if (!is_chunk_type(chunk + 4))
        return image_refuse_broken(png->file, err, "no chunk begins at byte %zu", png->at);
    png->chunk_bytes = image_be32(chunk);
    png->chunk_type = image_be32(chunk + 4);
    png->chunk_data = chunk + 8;
    if (left < CHUNK_BYTES || png->chunk_bytes > left - CHUNK_BYTES)
        return image_refuse_cut(png->file, err, "inside chunk %.4s that begins at byte %zu and has %zu bytes",
                                (const char *)chunk + 4, png->at, png->chunk_bytes + CHUNK_BYTES);
    if (crc32_of(chunk + 4, 4 + png->chunk_bytes) != image_be32(png->chunk_data + png->chunk_bytes))
        return image_refuse_broken(png->file, err, "the CRC of chunk %.4s at byte %zu is wrong",
                                   (const char *)chunk + 4, png->at);
    return STATUS_OK;
}

static unsigned channels_of(enum colour colour)
{
    switch (colour) {
    case COLOUR_GRAY:
    case COLOUR_PALETTE: return 1;
    case COLOUR_GRAY_ALPHA: return 2;
    case COLOUR_RGB: return 3;
    case COLOUR_RGB_ALPHA: return 4;
    }
    return 0;
}

static bool depth_fits(enum colour colour, unsigned depth)
{
    bool is_power = depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    if (colour == COLOUR_GRAY)
        return is_power;
    return is_power && (colour == COLOUR_PALETTE ? depth <= 8 : depth >= 8);
}

static enum status take_header(struct png *png, struct error *err)
{
    const uint8_t *data = png->chunk_data;
    if (png->chunk_bytes != HEADER_BYTES)
        return image_refuse_broken(png->file, err, "chunk IHDR has %zu bytes, not 13", png->chunk_bytes);
    png->depth = data[8];
    png->colour = (enum colour)data[9];
    png->channels = channels_of(png->colour);
    if (png->channels == 0 || !depth_fits(png->colour, png->depth))
        return image_refuse_broken(png->file, err, "there is no colour type %u with %u bits", data[9], png->depth);
    if (data[10] != 0 || data[11] != 0 || data[12] > 1)
        return image_refuse_broken(png->file, err, "there is no compression %u with filter %u and interlace %u",
                                   data[10], data[11], data[12]);
    png->interlaced = data[12] == 1;
    png->seen_header = true;
    return image_size_take(png->file, image_be32(data), image_be32(data + 4), &png->header, err);
}

static enum status take_palette(struct png *png, struct error *err)
{
    if (png->seen_palette || png->chunk_bytes == 0 || png->chunk_bytes % 3 != 0 ||
        png->chunk_bytes > PALETTE_BYTES_MAX)
        return image_refuse_broken(png->file, err, "chunk PLTE at byte %zu has %zu bytes, or is the second one",
                                   png->at, png->chunk_bytes);
    png->seen_palette = true;
    png->palette_at = png->at;
    png->palette_bytes = png->chunk_bytes;
    return STATUS_OK;
}

static void take_data(struct png *png)
{
    if (!png->data_chunks++)
        png->data_at = png->at + 8;
    png->deflated_bytes += png->chunk_bytes;
}

/* Chunks whose type begins with a small letter may be passed over, the others must be understood. */
static enum status take_chunk(struct png *png, struct error *err)
{
    if (png->chunk_type == CHUNK_TYPE('C', 'g', 'B', 'I'))
        return image_refuse_kind(png->file, err, "Apple's own variant, with a chunk CgBI");
    if ((png->chunk_type == CHUNK_TYPE('I', 'H', 'D', 'R')) == png->seen_header)
        return image_refuse_broken(png->file, err,
                                   "chunk IHDR must be the first chunk, and the only one of its type");
    switch (png->chunk_type) {
    case CHUNK_TYPE('I', 'H', 'D', 'R'): return take_header(png, err);
    case CHUNK_TYPE('P', 'L', 'T', 'E'): return take_palette(png, err);
    case CHUNK_TYPE('I', 'D', 'A', 'T'): take_data(png); return STATUS_OK;
    case CHUNK_TYPE('t', 'R', 'N', 'S'): png->transparent = true; return STATUS_OK;
    case CHUNK_TYPE('I', 'E', 'N', 'D'): png->seen_end = true; return STATUS_OK;
    }
    if (png->chunk_type >> 24 >= 'a')
        return STATUS_OK;
    return image_refuse_kind(png->file, err, "it needs the unknown chunk %.4s at byte %zu",
                             (const char *)png->chunk_data - 4, png->at);
}

/* stb_image holds, not all at once: the IDAT chunks joined in a buffer that grows by doubling, the inflated rows (which
 * it guesses too small for an interlaced picture, and then doubles), the picture with alpha added, and a second one when
 * it resolves interlacing, a palette or 16 bits; 64 KiB more are for what is small. Its work is a code looked up for each
 * inflated byte at most, and some 340 codes for a block's tables: the million is for those of encoders that begin a block
 * with each row. */
static void take_budget(struct png *png)
{
    size_t pixels = png->header.width * png->header.height;
    size_t row_bytes = (png->header.width * png->channels * png->depth + 7) / 8;
    size_t rows_bytes = (row_bytes + 1) * png->header.height;
    size_t picture_bytes = pixels * (png->channels + 1) * (png->depth > 8 ? 2 : 1);
    size_t palette_bytes = png->colour == COLOUR_PALETTE ? 4 * pixels : 0;
    png->header.budget_bytes = 3 * png->deflated_bytes + (png->interlaced ? 6 : 1) * rows_bytes +
                               2 * picture_bytes + palette_bytes + 65536;
    png->header.work_max = (png->interlaced ? 4 : 2) * rows_bytes + 1000000;
}

/* stb_image reads a colour that the palette does not have from memory it never wrote. */
static void plan_palette(struct png *png)
{
    size_t full = (size_t)3 << png->depth;
    if (png->colour != COLOUR_PALETTE || png->palette_bytes >= full)
        return;
    png->header.palette_at = png->palette_at;
    png->header.palette_bytes = png->palette_bytes;
    png->header.palette_bytes_full = full;
}

static void plan_gray(struct png *png)
{
    if (png->colour != COLOUR_GRAY || png->depth != 8 || png->interlaced || png->transparent ||
        png->data_chunks != 1)
        return;
    png->header.gray_at = png->data_at;
    png->header.gray_bytes = png->deflated_bytes;
}

enum status image_png_check(const struct image_file *file, struct image_header *ret, struct error *err)
{
    struct png png = {.file = file, .at = SIGNATURE_BYTES};
    while (!png.seen_end) {
        enum status status = next_chunk(&png, err);
        if (status == STATUS_OK)
            status = take_chunk(&png, err);
        if (status != STATUS_OK)
            return status;
        png.at += CHUNK_BYTES + png.chunk_bytes;
    }
    if (png.deflated_bytes == 0)
        return image_refuse_broken(file, err, "it has no picture data (chunk IDAT)");
    if (png.colour == COLOUR_PALETTE && !png.seen_palette)
        return image_refuse_broken(file, err, "its palette (chunk PLTE) is missing");
    take_budget(&png);
    plan_palette(&png);
    plan_gray(&png);
    *ret = png.header;
    return STATUS_OK;
}

uint8_t *image_png_pad_palette(const struct image_file *file, const struct image_header *header, size_t *ret_len)
{
    size_t data_at = header->palette_at + 8, padding = header->palette_bytes_full - header->palette_bytes;
    size_t head = data_at + header->palette_bytes;
    uint8_t *padded = malloc(file->len + padding);
    if (!padded)
        return NULL;
    memcpy(padded, file->data, head);
    memset(padded + head, 0, padding);
    memcpy(padded + head + padding, file->data + head, file->len - head);
    padded[header->palette_at + 2] = (uint8_t)(header->palette_bytes_full >> 8);
    padded[header->palette_at + 3] = (uint8_t)header->palette_bytes_full;
    *ret_len = file->len + padding;
    return padded; /* with the old CRC: stb_image does not look at it */
}
