/* Pictures to rows, gray or in colour: PNG, JPEG and BMP read by stb_image, PNM (binary PGM, PPM) read in place, then alpha
 * over black, for gray ITU-R 601 luma (as Pillow's convert("L")), and an antialiased bilinear resize (as Pillow's
 * resize((w, h), BILINEAR), which treats each channel by itself). In colour the row is three planes, red, green and blue, one
 * behind the other, as torchvision's ToTensor() lays them; a gray picture gives three equal ones. 16 bits a sample are cut to
 * their high byte; a PNM's are scaled by its largest sample.
 * Stateless but for a thread-local budget while a picture is read; any thread may call it.
 *
 * A file is walked before it is decoded: one that is cut, broken (a PNG's CRCs included) or larger than allowed is
 * refused there. Memory: stb_image's allocations are counted against a budget that the declared width and height and the
 * compressed data's length allow; a picture that lies about its size is refused when it passes it.
 */
#ifndef MLPD_SERVER_IMAGE_H
#define MLPD_SERVER_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/budget.h"

enum image_format { IMAGE_NONE, IMAGE_PNG, IMAGE_JPEG, IMAGE_BMP, IMAGE_PNM };

struct image_options {
    size_t width, height;    /* of the result */
    bool colour;             /* three planes instead of a gray one */
    size_t pixels_max;       /* a picture that declares more is refused before it is read */
    bool refuse_resize;      /* ?resize=0: another size is an error */
    bool invert;             /* ?invert=1: 255 - sample, after the resize */
    struct account *account; /* pays for the picture's pixels while it is decoded; NULL: nobody does */
};

struct image_info {
    size_t width, height; /* as the picture came */
    bool resized;         /* they differ from what was asked for */
};

/* Which format the full signature at the head of the data is: PNG's 8 bytes, JPEG's FF D8 FF, "BM" with a size field
 * that is at most the length and beyond the pixels' offset, "P5"/"P6" followed by white space. IMAGE_NONE if none. */
enum image_format image_sniff(const void *data, size_t len);

/* "PNG", "JPEG", ...; "none". */
const char *image_format_name(enum image_format format);

/* Decodes the picture into ret_row, (height, width) bytes, or (3, height, width) in colour. On failure what ret_row holds means
 * nothing, and *ret_info is untouched. */
enum status image_decode(const void *data, size_t len, const struct image_options *options, uint8_t *ret_row,
                         struct image_info *ret_info, struct error *err);

/* Pillow's resize of an 8-bit gray picture, or of one channel of another, with the BILINEAR filter (a triangle whose support grows with the reduction):
 * src is (src_height, src_width), dst is (dst_height, dst_width). */
enum status image_resize_gray(const uint8_t *src, size_t src_width, size_t src_height, uint8_t *dst,
                              size_t dst_width, size_t dst_height, struct error *err);

#endif
