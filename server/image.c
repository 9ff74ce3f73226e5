#include "server/image.h"
#include "server/image_parts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_MAX = 1 << 24 }; /* stb_image's own limit */

static bool has_bmp_signature(const uint8_t *data, size_t len)
{
    if (len < 26 || memcmp(data, "BM", 2) != 0)
        return false;
    size_t declared = image_le32(data + 2), pixels_at = image_le32(data + 10);
    return declared <= len && pixels_at >= 26 && pixels_at < declared;
}

static bool has_pnm_signature(const uint8_t *data, size_t len)
{
    return len >= 3 && data[0] == 'P' && (data[1] == '5' || data[1] == '6') &&
           (data[2] == ' ' || (data[2] >= '\t' && data[2] <= '\r'));
}

enum image_format image_sniff(const void *data, size_t len)
{
    if (len >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        return IMAGE_PNG;
    if (len >= 3 && memcmp(data, "\xFF\xD8\xFF", 3) == 0)
        return IMAGE_JPEG;
    if (has_bmp_signature(data, len))
        return IMAGE_BMP;
    return has_pnm_signature(data, len) ? IMAGE_PNM : IMAGE_NONE;
}

const char *image_format_name(enum image_format format)
{
    static const char *const names[] = {[IMAGE_NONE] = "none",
                                        [IMAGE_PNG] = "PNG",
                                        [IMAGE_JPEG] = "JPEG",
                                        [IMAGE_BMP] = "BMP",
                                        [IMAGE_PNM] = "PNM"};
    return names[format];
}

__attribute__((format(printf, 5, 0))) static enum status refuse(const struct image_file *file, enum status status,
                                                                struct error *err, const char *head,
                                                                const char *format, va_list args)
{
    char text[sizeof err->message];
    vsnprintf(text, sizeof text, format, args);
    return error_set(err, status, "%s %s%s", image_format_name(file->format), head, text);
}

enum status image_refuse_cut(const struct image_file *file, struct error *err, const char *where, ...)
{
    char head[64];
    snprintf(head, sizeof head, "is cut: it ends at byte %zu, ", file->len);
    va_list args;
    va_start(args, where);
    refuse(file, STATUS_INVALID, err, head, where, args);
    va_end(args);
    error_hint(err, "send the whole file; with curl: --data-binary @FILE or -T FILE (-d changes the bytes)");
    return STATUS_INVALID;
}

enum status image_refuse_broken(const struct image_file *file, struct error *err, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    refuse(file, STATUS_INVALID, err, "is broken: ", what, args);
    va_end(args);
    error_hint(
        err, "open the picture and save it again; with curl send it by --data-binary @FILE (-d changes the bytes)");
    return STATUS_INVALID;
}

enum status image_refuse_kind(const struct image_file *file, struct error *err, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    refuse(file, STATUS_UNSUPPORTED, err, "is of a kind that is not read here: ", what, args);
    va_end(args);
    error_hint(err, "save the picture as a plain PNG and send that");
    return STATUS_UNSUPPORTED;
}

enum status image_size_take(const struct image_file *file, uint64_t width, uint64_t height,
                            struct image_header *header, struct error *err)
{
    if (width == 0 || height == 0)
        return image_refuse_broken(file, err, "it declares %llux%llu pixels, and one is the least",
                                   (unsigned long long)width, (unsigned long long)height);
    if (width > file->pixels_max / height) {
        error_set(err, STATUS_TOO_LARGE, "%s declares %llux%llu pixels, and at most %zu in all are taken",
                  image_format_name(file->format), (unsigned long long)width, (unsigned long long)height,
                  file->pixels_max);
        error_hint(err, "send the picture smaller, or start mlpd with a larger --pixels-max");
        return STATUS_TOO_LARGE;
    }
    if (width > SIDE_MAX || height > SIDE_MAX)
        return image_refuse_kind(file, err, "a side of more than %d pixels", SIDE_MAX);
    header->width = (size_t)width;
    header->height = (size_t)height;
    return STATUS_OK;
}

static enum status refuse_unknown(const uint8_t *data, size_t len, struct error *err)
{
    enum status status = STATUS_INVALID;
    if (len == 0)
        error_set(err, status, "an empty body is no picture");
    else if (len >= 6 && memcmp(data, "BM", 2) == 0)
        error_set(err, status, "BMP declares %u bytes in its size field, and %zu came", image_le32(data + 2), len);
    else
        status = error_set(err, STATUS_UNSUPPORTED,
                           "the %zu bytes have no signature of PNG, JPEG, BMP or PNM (P5, P6)", len);
    error_hint(err, "send a whole PNG file; with curl: --data-binary @FILE or -T FILE");
    return status;
}

static enum status check_file(const struct image_file *file, struct image_header *ret, struct error *err)
{
    switch (file->format) {
    case IMAGE_PNG: return image_png_check(file, ret, err);
    case IMAGE_JPEG: return image_jpeg_check(file, ret, err);
    case IMAGE_BMP: return image_bmp_check(file, ret, err);
    case IMAGE_PNM: return image_pnm_check(file, ret, err);
    case IMAGE_NONE: break;
    }
    return refuse_unknown(file->data, file->len, err);
}

/* value * alpha / 255, rounded: Pillow's result over a black ground. */
static uint32_t over_black(uint32_t value, uint32_t alpha)
{
    uint32_t product = value * alpha + 128;
    return (product + (product >> 8)) >> 8;
}

/* Turns `count` pixels into gray, in place: a pixel is never written beyond where it was read. */
static void gray_in_place(uint8_t *pixels, size_t count, size_t channels)
{
    const uint8_t *in = pixels;
    for (size_t i = 0; i < count && channels > 1; i++, in += channels) {
        if (channels == 2)
            pixels[i] = (uint8_t)over_black(in[0], in[1]);
        else if (channels == 3)
            pixels[i] = image_luma(in[0], in[1], in[2]);
        else
            pixels[i] = image_luma(over_black(in[0], in[3]), over_black(in[1], in[3]), over_black(in[2], in[3]));
    }
}

/* One channel of `count` pixels, alpha over black; a gray picture's is the same for each. */
static void take_channel(const uint8_t *pixels, size_t count, size_t channels, size_t channel, uint8_t *ret_plane)
{
    const size_t at = channels < 3 ? 0 : channel;
    const bool alpha = channels == 2 || channels == 4;
    for (size_t i = 0; i < count; i++, pixels += channels)
        ret_plane[i] = alpha ? (uint8_t)over_black(pixels[at], pixels[channels - 1]) : pixels[at];
}

/* The file's pixels at its own size, to be freed with image_stb_free. */
static enum status read_stb(const struct image_file *file, const struct image_header *header, uint8_t **ret_pixels,
                            size_t *ret_channels, struct error *err)
{
    struct image_file whole = *file;
    uint8_t *padded = NULL;
    if (header->palette_at > 0) {
        whole.data = padded = image_png_pad_palette(file, header, &whole.len);
        if (!padded)
            return error_set(err, STATUS_NO_MEMORY, "out of memory for a PNG of %zu bytes", file->len);
    }
    enum status status = image_stb_read(&whole, header, ret_pixels, ret_channels, err);
    free(padded);
    return status;
}

static enum status fit(const uint8_t *plane, const struct image_header *header, const struct image_options *options,
                       uint8_t *ret_plane, struct error *err)
{
    if (header->width == options->width && header->height == options->height) {
        memcpy(ret_plane, plane, header->width * header->height);
        return STATUS_OK;
    }
    return image_resize_gray(plane, header->width, header->height, ret_plane, options->width, options->height, err);
}

/* A picture before it has its size: what stb_image gave, or a PNM's samples in the file. */
struct pixels {
    const struct image_file *file;
    const struct image_header *header;
    uint8_t *data; /* NULL: a PNM's */
    size_t channels;
};

/* Gray overwrites what stb_image gave: a channel needs a copy. */
static void make_plane(const struct pixels *pixels, bool colour, size_t channel, uint8_t *plane)
{
    const size_t count = pixels->header->width * pixels->header->height;
    if (!pixels->data && colour)
        image_pnm_channel(pixels->file, pixels->header, channel, plane, count);
    else if (!pixels->data)
        image_pnm_gray(pixels->file, pixels->header, plane, count);
    else if (colour)
        take_channel(pixels->data, count, pixels->channels, channel, plane);
    else
        gray_in_place(plane, count, pixels->channels);
}

/* Each plane by itself, through one that has the picture's own size. */
static enum status fit_planes(const struct pixels *pixels, const struct image_options *options, uint8_t *plane,
                              uint8_t *ret_row, struct error *err)
{
    const size_t result = options->width * options->height;
    enum status status = STATUS_OK;
    for (size_t c = 0; status == STATUS_OK && c < (options->colour ? 3 : 1); c++) {
        make_plane(pixels, options->colour, c, plane);
        status = fit(plane, pixels->header, options, ret_row + c * result, err);
    }
    return status;
}

static enum status decode_stb(const struct image_file *file, const struct image_header *header,
                              const struct image_options *options, uint8_t *ret_row, struct error *err)
{
    struct pixels pixels = {.file = file, .header = header};
    enum status status = read_stb(file, header, &pixels.data, &pixels.channels, err);
    if (status != STATUS_OK)
        return status;
    assert(pixels.data);
    uint8_t *copy = options->colour ? malloc(header->width * header->height) : NULL;
    if (options->colour && !copy)
        status = error_set(err, STATUS_NO_MEMORY, "out of memory for a channel of %zux%zu", header->width,
                           header->height);
    else
        status = fit_planes(&pixels, options, copy ? copy : pixels.data, ret_row, err);
    free(copy);
    image_stb_free(pixels.data);
    return status;
}

static enum status decode_pnm(const struct image_file *file, const struct image_header *header,
                              const struct image_options *options, uint8_t *ret_row, struct error *err)
{
    const struct pixels pixels = {.file = file, .header = header};
    uint8_t *plane = malloc(header->width * header->height);
    if (!plane)
        return error_set(err, STATUS_NO_MEMORY, "out of memory for a PNM of %zux%zu", header->width,
                         header->height);
    enum status status = fit_planes(&pixels, options, plane, ret_row, err);
    free(plane);
    return status;
}

/* The short way, for a PNG of gray that needs no resize. */
static bool read_png_gray(const struct image_file *file, const struct image_header *header,
                          const struct image_options *options, uint8_t *ret_row)
{
    const size_t count = header->width * header->height;
    if (!image_png_read_gray(file, header, ret_row))
        return false;
    for (size_t c = 1; options->colour && c < 3; c++)
        memcpy(ret_row + c * count, ret_row, count);
    return true;
}

static enum status refuse_size(const struct image_file *file, const struct image_header *header,
                               const struct image_options *options, struct error *err)
{
    error_set(err, STATUS_INVALID, "%s is %zux%zu, and with ?resize=0 only %zux%zu is taken",
              image_format_name(file->format), header->width, header->height, options->width, options->height);
    error_hint(err, "send a picture of %zux%zu, or leave ?resize=0 out", options->width, options->height);
    return STATUS_INVALID;
}

static void invert(uint8_t *row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        row[i] = (uint8_t)(255 - row[i]);
}

static enum status decode(const struct image_file *file, const struct image_header *header,
                          const struct image_options *options, uint8_t *ret_row, struct error *err)
{
    /* What stb_image may hold, and a plane; a PNM has none of the first. */
    size_t bytes = header->budget_bytes + header->width * header->height;
    enum status status = account_pay(options->account, bytes, err);
    if (status != STATUS_OK)
        return status;
    status = file->format == IMAGE_PNM ? decode_pnm(file, header, options, ret_row, err)
                                       : decode_stb(file, header, options, ret_row, err);
    account_refund(options->account, bytes);
    return status;
}

enum status image_decode(const void *data, size_t len, const struct image_options *options, uint8_t *ret_row,
                         struct image_info *ret_info, struct error *err)
{
    struct image_file file = {image_sniff(data, len), data, len, options->pixels_max};
    struct image_header header = {0};
    enum status status = check_file(&file, &header, err);
    if (status != STATUS_OK)
        return status;
    bool resized = header.width != options->width || header.height != options->height;
    if (resized && options->refuse_resize)
        return refuse_size(&file, &header, options, err);
    if (resized || !read_png_gray(&file, &header, options, ret_row))
        status = decode(&file, &header, options, ret_row, err);
    if (status != STATUS_OK)
        return status;
    if (options->invert)
        invert(ret_row, options->width * options->height * (options->colour ? 3 : 1));
    *ret_info = (struct image_info){.width = header.width, .height = header.height, .resized = resized};
    return STATUS_OK;
}
