/* The walk over a BMP: its headers, that all rows are there, and that each index has a colour. stb_image v2.27 fills
 * missing rows with black, and reads missing colours from memory that it never wrote. */
#include "server/image_parts.h"

#include <stdbool.h>

enum {
    FILE_HEADER_BYTES = 14,
    OS2_HEADER_BYTES = 12, /* of the oldest kind, with sizes of 16 bits */
    HEADERS_BYTES_MIN = FILE_HEADER_BYTES + OS2_HEADER_BYTES,
    INFO_HEADERS_BYTES_MIN = FILE_HEADER_BYTES + 40,
    COLOURS_MAX = 256,
};

struct bmp {
    const struct image_file *file;
    size_t pixels_at;
    size_t header_bytes; /* of the second header, which says its size */
    size_t bits;         /* a pixel */
    size_t row_bytes;
    struct image_header header;
};

/* A row begins at a multiple of four bytes. Rows may be stored from the top (height < 0) or from the bottom. */
static enum status take_size(struct bmp *bmp, struct error *err)
{
    const uint8_t *data = bmp->file->data;
    bool is_os2 = bmp->header_bytes == OS2_HEADER_BYTES;
    int64_t width = is_os2 ? (int64_t)image_le16(data + 18) : (int32_t)image_le32(data + 18);
    int64_t height = is_os2 ? (int64_t)image_le16(data + 20) : (int32_t)image_le32(data + 22);
    if (width < 0)
        return image_refuse_broken(bmp->file, err, "its width is %lld", (long long)width);
    enum status status = image_size_take(bmp->file, (uint64_t)width, (uint64_t)(height < 0 ? -height : height),
                                         &bmp->header, err);
    if (status != STATUS_OK)
        return status;
    bmp->bits = image_le16(data + (is_os2 ? 24 : 28));
    bmp->row_bytes = (bmp->header.width * bmp->bits + 31) / 32 * 4;
    bmp->header.budget_bytes = 4 * bmp->header.width * bmp->header.height + 65536;
    bmp->header.work_max = SIZE_MAX;
    return STATUS_OK;
}

static enum status check_kind(const struct bmp *bmp, struct error *err)
{
    const uint8_t *data = bmp->file->data;
    bool is_os2 = bmp->header_bytes == OS2_HEADER_BYTES;
    size_t bits = bmp->bits;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
        return image_refuse_kind(bmp->file, err, "%zu bits for a pixel", bits);
    if (is_os2 && bits < 24)
        return image_refuse_kind(bmp->file, err, "a palette of OS/2's kind");
    uint32_t compression = is_os2 ? 0 : image_le32(data + 30);
    bool has_masks = compression == 3 && bits % 16 == 0 && bmp->header_bytes != 56;
    if (compression != 0 && !has_masks)
        return image_refuse_kind(bmp->file, err, "compressed (method %u)", compression);
    return STATUS_OK;
}

static enum status check_rows(const struct bmp *bmp, struct error *err)
{
    size_t len = bmp->file->len;
    if (bmp->pixels_at > len || bmp->row_bytes > (len - bmp->pixels_at) / bmp->header.height)
        return image_refuse_cut(bmp->file, err, "inside its rows: %zu of %zu bytes from byte %zu on",
                                bmp->header.height, bmp->row_bytes, bmp->pixels_at);
    return STATUS_OK;
}

static enum status check_indices(const struct bmp *bmp, struct error *err)
{
    size_t palette_at = FILE_HEADER_BYTES + bmp->header_bytes;
    size_t colours = bmp->pixels_at < palette_at ? 0 : (bmp->pixels_at - palette_at) / 4;
    if (colours == 0 || colours > COLOURS_MAX)
        return image_refuse_broken(bmp->file, err, "its palette has %zu colours, where 1 to 256 are read", colours);
    unsigned mask = (1u << bmp->bits) - 1;
    for (size_t y = 0; y < bmp->header.height && colours <= mask; y++) {
        const uint8_t *row = bmp->file->data + bmp->pixels_at + y * bmp->row_bytes;
        for (size_t x = 0; x < bmp->header.width; x++) {
            size_t bit = x * bmp->bits;
            unsigned index = row[bit / 8] >> (8 - bmp->bits - bit % 8) & mask;
            if (index >= colours)
                return image_refuse_broken(bmp->file, err, "a pixel has colour %u of a palette of %zu", index,
                                           colours);
        }
    }
    return STATUS_OK;
}

enum status image_bmp_check(const struct image_file *file, struct image_header *ret, struct error *err)
{
    struct bmp bmp = {.file = file};
    if (file->len < HEADERS_BYTES_MIN)
        return image_refuse_cut(file, err, "inside its headers");
    bmp.pixels_at = image_le32(file->data + 10);
    bmp.header_bytes = image_le32(file->data + 14);
    if (bmp.header_bytes != OS2_HEADER_BYTES && bmp.header_bytes != 40 && bmp.header_bytes != 56 &&
        bmp.header_bytes != 108 && bmp.header_bytes != 124)
        return image_refuse_kind(file, err, "a header of %zu bytes", bmp.header_bytes);
    if (bmp.header_bytes != OS2_HEADER_BYTES && file->len < INFO_HEADERS_BYTES_MIN)
        return image_refuse_cut(file, err, "inside its headers");
    enum status status = take_size(&bmp, err);
    if (status == STATUS_OK)
        status = check_kind(&bmp, err);
    if (status == STATUS_OK)
        status = check_rows(&bmp, err);
    if (status == STATUS_OK && bmp.bits < 16)
        status = check_indices(&bmp, err);
    if (status == STATUS_OK)
        *ret = bmp.header;
    return status;
}
