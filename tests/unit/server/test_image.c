#include "server/image.h"

#include "tests/unit/png.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <sys/resource.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE };

static const struct image_options plain = {.width = SIDE, .height = SIDE, .pixels_max = 1 << 24};

static uint32_t noise_state;

static uint8_t noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (uint8_t)(noise_state >> 24);
}

/* Decodes, and expects what the contract says of a failure: a message, and outputs left alone. */
static enum status decode(const void *data, size_t len, const struct image_options *options, uint8_t *gray,
                          struct image_info *info, struct error *err)
{
    struct image_info before = *info;
    gray[0] = 7;
    *err = (struct error){0};
    enum status status = image_decode(data, len, options, gray, info, err);
    if (status != STATUS_OK) {
        ck_assert_int_eq(err->status, status);
        ck_assert_str_ne(err->message, "");
        ck_assert_uint_eq(gray[0], 7);
        ck_assert_mem_eq(info, &before, sizeof before);
    }
    return status;
}

static void expect_refusal(const void *data, size_t len, const char *part)
{
    uint8_t gray[PIXELS];
    struct image_info info = {0};
    struct error err;
    ck_assert_int_ne(decode(data, len, &plain, gray, &info, &err), STATUS_OK);
    ck_assert_msg(strstr(err.message, part) != NULL, "\"%s\" is not in \"%s\"", part, err.message);
    ck_assert_str_ne(err.hint, "");
}

/* Decodes without a resize. */
static void decode_as_it_is(const struct bytes *file, size_t width, size_t height, uint8_t *gray)
{
    struct image_options options = {.width = width, .height = height, .pixels_max = 1 << 24, .refuse_resize = true};
    struct image_info info = {0};
    struct error err;
    ck_assert_msg(decode(file->data, file->len, &options, gray, &info, &err) == STATUS_OK, "%s", err.message);
    ck_assert(info.width == width && info.height == height && !info.resized);
}

/* One row of pixels, given as it stands in the file, gives these grays. */
static void expect_row(struct png_kind kind, const uint8_t *samples, size_t len, const uint8_t *expected)
{
    uint8_t row[64] = {0}, gray[64];
    memcpy(row + 1, samples, len);
    struct bytes png = {0};
    png_write(&png, kind, row, 1 + len);
    decode_as_it_is(&png, kind.width, 1, gray);
    for (size_t x = 0; x < kind.width; x++)
        ck_assert_msg(gray[x] == expected[x], "pixel %zu: %u, not %u", x, gray[x], expected[x]);
    free(png.data);
}

/* A 28x28 gray PNG of noise, whose pixels are in `gray`. */
static struct bytes noise_png(uint8_t *gray)
{
    uint8_t rows[SIDE * (1 + SIDE)];
    noise_state = 1;
    for (int y = 0; y < SIDE; y++) {
        rows[y * (1 + SIDE)] = 0;
        for (int x = 0; x < SIDE; x++)
            rows[y * (1 + SIDE) + 1 + x] = gray[y * SIDE + x] = noise();
    }
    struct bytes png = {0};
    png_write(&png, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, rows, sizeof rows);
    return png;
}

/* x * 12 + y * 8, written by Pillow with quality 95. */
static const uint8_t jpeg_16x8[] = {
    0xFF, 0xD8, 0xFF, 0xE0, 0x00, 0x10, 0x4A, 0x46, 0x49, 0x46, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x01,
    0x00, 0x00, 0xFF, 0xDB, 0x00, 0x43, 0x00, 0x02, 0x01, 0x01, 0x01, 0x01, 0x01, 0x02, 0x01, 0x01, 0x01, 0x02,
    0x02, 0x02, 0x02, 0x02, 0x04, 0x03, 0x02, 0x02, 0x02, 0x02, 0x05, 0x04, 0x04, 0x03, 0x04, 0x06, 0x05, 0x06,
    0x06, 0x06, 0x05, 0x06, 0x06, 0x06, 0x07, 0x09, 0x08, 0x06, 0x07, 0x09, 0x07, 0x06, 0x06, 0x08, 0x0B, 0x08,
    0x09, 0x0A, 0x0A, 0x0A, 0x0A, 0x0A, 0x06, 0x08, 0x0B, 0x0C, 0x0B, 0x0A, 0x0C, 0x09, 0x0A, 0x0A, 0x0A, 0xFF,
    0xC0, 0x00, 0x0B, 0x08, 0x00, 0x08, 0x00, 0x10, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xC4, 0x00, 0x15, 0x00, 0x01,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x09, 0xFF,
    0xC4, 0x00, 0x19, 0x10, 0x00, 0x01, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x08, 0x00, 0x24, 0x34, 0x42, 0x52, 0xFF, 0xDA, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3F, 0x00,
    0x0B, 0x84, 0x83, 0x6C, 0x46, 0x19, 0xAA, 0xB0, 0x01, 0x20, 0xDB, 0x11, 0x86, 0x6A, 0xBF, 0xFF, 0xD9};
/* Where its segments begin. */
enum { JPEG_QUANTISATION = 20, JPEG_FRAME = 89, JPEG_TABLE_DC = 102, JPEG_TABLE_AC = 125, JPEG_SCAN = 152 };

/* 24 bits a pixel, from the bottom: black, white, red; green, blue, gray 100. */
static const uint8_t bmp_3x2[] = {
    'B', 'M', 78, 0, 0, 0,   0,   0,   0,  0, 54,  0, 0, 0, 40, 0,   0, 0,   3, 0, 0,   0,   2,   0, 0, 0,
    1,   0,   24, 0, 0, 0,   0,   0,   24, 0, 0,   0, 0, 0, 0,  0,   0, 0,   0, 0, 0,   0,   0,   0, 0, 0,
    0,   0,   0,  0, 0, 255, 255, 255, 0,  0, 255, 0, 0, 0, 0,  255, 0, 255, 0, 0, 100, 100, 100, 0, 0, 0};

START_TEST(sniff_knows_each_format_by_its_full_signature)
{
    ck_assert_int_eq(image_sniff("\x89PNG\r\n\x1a\n", 8), IMAGE_PNG);
    ck_assert_int_eq(image_sniff("\x89PNG\r\n\x1a\n", 7), IMAGE_NONE);
    ck_assert_int_eq(image_sniff("\x89PNG\n\n\x1a\n", 8), IMAGE_NONE);
    ck_assert_int_eq(image_sniff(jpeg_16x8, 3), IMAGE_JPEG);
    ck_assert_int_eq(image_sniff(jpeg_16x8, 2), IMAGE_NONE);
    ck_assert_int_eq(image_sniff(bmp_3x2, sizeof bmp_3x2), IMAGE_BMP);
    ck_assert_int_eq(image_sniff(bmp_3x2, sizeof bmp_3x2 - 1), IMAGE_NONE); /* its size field says more */
    ck_assert_int_eq(image_sniff("P5 ", 3), IMAGE_PNM);
    ck_assert_int_eq(image_sniff("P6\n", 3), IMAGE_PNM);
    ck_assert_int_eq(image_sniff("P5", 2), IMAGE_NONE);
    ck_assert_int_eq(image_sniff("P52", 3), IMAGE_NONE);
    ck_assert_int_eq(image_sniff("P3 ", 3), IMAGE_NONE);
    ck_assert_int_eq(image_sniff(NULL, 0), IMAGE_NONE);
    ck_assert_str_eq(image_format_name(IMAGE_JPEG), "JPEG");
}
END_TEST

START_TEST(sniff_takes_no_raw_noise_for_a_picture)
{
    uint8_t raw[PIXELS];
    noise_state = 42;
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < sizeof raw; k++)
            raw[k] = noise();
        ck_assert_int_eq(image_sniff(raw, sizeof raw), IMAGE_NONE);
    }
}
END_TEST

START_TEST(decode_gives_a_gray_png_of_the_right_size_bit_by_bit)
{
    uint8_t expected[PIXELS], gray[PIXELS];
    struct bytes png = noise_png(expected);
    decode_as_it_is(&png, SIDE, SIDE, gray);
    ck_assert_mem_eq(gray, expected, PIXELS);
    free(png.data);
}
END_TEST

START_TEST(decode_takes_the_luma_of_colours_as_pillow_does)
{
    const uint8_t rgb[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 12, 200, 99, 255, 255, 255};
    expect_row((struct png_kind){.width = 5, .height = 1, .depth = 8, .colour = 2}, rgb, sizeof rgb,
               (const uint8_t[]){76, 150, 29, 132, 255});
}
END_TEST

START_TEST(decode_lays_alpha_over_black_as_pillow_does)
{
    const uint8_t gray_alpha[] = {200, 100, 255, 128, 1, 127, 77, 201, 250, 0, 250, 255};
    expect_row((struct png_kind){.width = 6, .height = 1, .depth = 8, .colour = 4}, gray_alpha, sizeof gray_alpha,
               (const uint8_t[]){78, 128, 0, 61, 0, 250});
    const uint8_t rgb_alpha[] = {200, 100, 50, 128, 255, 255, 255, 0};
    expect_row((struct png_kind){.width = 2, .height = 1, .depth = 8, .colour = 6}, rgb_alpha, sizeof rgb_alpha,
               (const uint8_t[]){62, 0});
}
END_TEST

START_TEST(decode_makes_the_transparent_colour_black)
{
    const uint8_t gray[] = {9, 200, 9, 8}, transparent[] = {0, 9};
    expect_row(
        (struct png_kind){.width = 4, .height = 1, .depth = 8, .transparency = transparent, .transparency_len = 2},
        gray, sizeof gray, (const uint8_t[]){0, 200, 0, 8});
}
END_TEST

START_TEST(decode_scales_few_bits_up_and_sixteen_down_to_their_high_byte)
{
    expect_row((struct png_kind){.width = 8, .height = 1, .depth = 1}, (const uint8_t[]){0xA5}, 1,
               (const uint8_t[]){255, 0, 255, 0, 0, 255, 0, 255});
    expect_row((struct png_kind){.width = 4, .height = 1, .depth = 2}, (const uint8_t[]){0x1B}, 1,
               (const uint8_t[]){0, 85, 170, 255});
    expect_row((struct png_kind){.width = 2, .height = 1, .depth = 4}, (const uint8_t[]){0x3F}, 1,
               (const uint8_t[]){51, 255});
    expect_row((struct png_kind){.width = 3, .height = 1, .depth = 16}, (const uint8_t[]){0, 255, 128, 0, 255, 255},
               6, (const uint8_t[]){0, 128, 255});
}
END_TEST

/* So that what the decoder reads from its stack without having written it is seen. */
__attribute__((noinline)) static void dirty_the_stack(void)
{
    volatile uint8_t bytes[65536];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0xAB;
}

START_TEST(decode_makes_a_colour_that_the_palette_lacks_black)
{
    const uint8_t palette[] = {10, 10, 10, 200, 200, 200}, alpha[] = {255, 0}, indices[] = {0, 1, 2, 255};
    struct png_kind kind = {
        .width = 4, .height = 1, .depth = 8, .colour = 3, .palette = palette, .palette_len = sizeof palette};
    dirty_the_stack();
    expect_row(kind, indices, sizeof indices, (const uint8_t[]){10, 200, 0, 0});
    kind.transparency = alpha;
    kind.transparency_len = sizeof alpha;
    expect_row(kind, indices, sizeof indices, (const uint8_t[]){10, 0, 0, 0});
}
END_TEST

START_TEST(decode_inverts_after_the_resize)
{
    uint8_t expected[PIXELS], gray[PIXELS], small[4], inverted[4];
    struct bytes png = noise_png(expected);
    struct image_options options = plain;
    struct image_info info = {0};
    struct error err;
    options.invert = true;
    ck_assert_int_eq(decode(png.data, png.len, &options, gray, &info, &err), STATUS_OK);
    for (int i = 0; i < PIXELS; i++)
        ck_assert_uint_eq(gray[i], 255u - expected[i]);
    options = (struct image_options){.width = 2, .height = 2, .pixels_max = PIXELS};
    ck_assert_int_eq(decode(png.data, png.len, &options, small, &info, &err), STATUS_OK);
    ck_assert(info.resized && info.width == SIDE && info.height == SIDE);
    options.invert = true;
    ck_assert_int_eq(decode(png.data, png.len, &options, inverted, &info, &err), STATUS_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(inverted[i], 255u - small[i]);
    free(png.data);
}
END_TEST

START_TEST(decode_refuses_another_size_when_told_to)
{
    struct bytes png = {0};
    png_write(&png, (struct png_kind){.width = 2, .height = 1, .depth = 8}, (const uint8_t[]){0, 1, 2}, 3);
    struct image_options options = plain;
    options.refuse_resize = true;
    uint8_t gray[PIXELS] = {0};
    struct image_info info = {0};
    struct error err;
    ck_assert_int_eq(decode(png.data, png.len, &options, gray, &info, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "2x1"));
    ck_assert_ptr_nonnull(strstr(err.message, "28x28"));
    ck_assert_ptr_nonnull(strstr(err.hint, "resize=0"));
    free(png.data);
}
END_TEST

static enum status decode_declared(uint32_t width, uint32_t height, struct error *err)
{
    struct bytes png = {0};
    png_write(&png, (struct png_kind){.width = width, .height = height, .depth = 8}, (const uint8_t[]){0, 1}, 2);
    uint8_t gray[PIXELS] = {0};
    struct image_info info = {0};
    enum status status = decode(png.data, png.len, &plain, gray, &info, err);
    free(png.data);
    return status;
}

START_TEST(decode_refuses_more_pixels_than_allowed_with_both_numbers)
{
    struct error err;
    ck_assert_int_eq(decode_declared(4097, 4096, &err), STATUS_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, "4097x4096"));
    ck_assert_ptr_nonnull(strstr(err.message, "16777216"));
    ck_assert_ptr_nonnull(strstr(err.hint, "--pixels-max"));
    ck_assert_int_eq(decode_declared(0xFFFFFFFF, 0xFFFFFFFF, &err), STATUS_TOO_LARGE);
    ck_assert_int_eq(decode_declared(0x80000000, 2, &err), STATUS_TOO_LARGE);
    ck_assert_int_eq(decode_declared(4096, 4096, &err), STATUS_INVALID); /* allowed, but its rows are missing */
    ck_assert_int_eq(decode_declared(0, 28, &err), STATUS_INVALID);
    ck_assert_int_eq(decode_declared(28, 0, &err), STATUS_INVALID);
}
END_TEST

static void expect_all_cuts_refused(const uint8_t *data, size_t len)
{
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut + 1); /* of this size, so that a sanitizer sees a read beyond it */
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, data, cut);
        expect_refusal(copy, cut, "");
        free(copy);
    }
}

START_TEST(decode_refuses_a_file_that_is_cut_anywhere)
{
    uint8_t gray[PIXELS];
    struct bytes png = noise_png(gray);
    expect_all_cuts_refused(png.data, png.len);
    expect_all_cuts_refused(jpeg_16x8, sizeof jpeg_16x8);
    expect_all_cuts_refused(bmp_3x2, sizeof bmp_3x2);
    expect_all_cuts_refused((const uint8_t *)"P6 2 1 255 abcdef", 17);
    expect_refusal(png.data, 512, "PNG is cut: it ends at byte 512, inside chunk IDAT");
    expect_refusal(jpeg_16x8, sizeof jpeg_16x8 - 2, "JPEG is cut");
    expect_refusal("P6 2 1 255 abcde", 16, "PNM is cut");
    free(png.data);
}
END_TEST

START_TEST(decode_refuses_a_png_with_any_bit_flipped)
{
    uint8_t gray[PIXELS];
    struct bytes png = noise_png(gray);
    for (size_t bit = 0; bit < png.len * 8; bit++) {
        png.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_refusal(png.data, png.len, "");
        png.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(png.data);
}
END_TEST

START_TEST(decode_takes_bytes_after_the_end_of_a_png)
{
    uint8_t expected[PIXELS], gray[PIXELS];
    struct bytes png = noise_png(expected);
    bytes_append(&png, "\r\n", 2);
    decode_as_it_is(&png, SIDE, SIDE, gray);
    ck_assert_mem_eq(gray, expected, PIXELS);
    free(png.data);
}
END_TEST

START_TEST(decode_refuses_a_png_that_needs_what_is_not_read)
{
    struct bytes png = {0};
    png_begin(&png, (struct png_kind){.width = 1, .height = 1, .depth = 8});
    png_append_chunk(&png, "CgBI", "", 0);
    expect_refusal(png.data, png.len, "CgBI");
    png.len -= 12;
    png_append_chunk(&png, "ABCD", "", 0);
    expect_refusal(png.data, png.len, "ABCD");
    png.len -= 12;
    png_append_chunk(&png, "IEND", "", 0);
    expect_refusal(png.data, png.len, "IDAT");
    free(png.data);
    png = (struct bytes){0};
    png_write(&png, (struct png_kind){.width = 1, .height = 1, .depth = 4, .colour = 2}, (const uint8_t[]){0, 1, 2},
              3);
    expect_refusal(png.data, png.len, "colour type 2 with 4 bits");
    free(png.data);
}
END_TEST

/* A zlib stream of the bits of `head`, then those of `repeated` so many times. The first comes first in the stream. */
static struct bytes zlib_of_bits(const char *head, const char *repeated, size_t times)
{
    size_t head_len = strlen(head), len = strlen(repeated), bits = head_len + len * times;
    struct bytes zlib = {.data = calloc(1, 2 + (bits + 7) / 8), .len = 2 + (bits + 7) / 8};
    ck_assert_ptr_nonnull(zlib.data);
    memcpy(zlib.data, "\x78\x01", 2);
    for (size_t i = 0; i < bits; i++) {
        char bit = i < head_len ? head[i] : repeated[(i - head_len) % len];
        zlib.data[2 + i / 8] |= (uint8_t)((bit == '1') << i % 8);
    }
    return zlib;
}

/* Of fixed codes: a block begins with 0 (not the last) 10; byte 0 is 00110000; length 258 is 11000101, distance 1 is
 * 00000. So 13 bits inflate to 258 bytes. */
static struct bytes bomb(size_t times)
{
    struct bytes zlib = zlib_of_bits("01000110000", "1100010100000", times), png = {0};
    png_write_deflated(&png, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, zlib.data, zlib.len);
    free(zlib.data);
    return png;
}

static long peak_kib(void)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

START_TEST(decode_refuses_a_png_that_inflates_to_more_than_it_declares)
{
    struct bytes small = bomb(2000), large = bomb((size_t)1 << 20);
    expect_refusal(small.data, small.len, "inflates to more than its declared 28x28 needs");
    long before = peak_kib();
    expect_refusal(large.data, large.len, "inflates to more than its declared 28x28 needs");
    ck_assert_int_lt(peak_kib() - before, 64 * 1024);
    free(small.data);
    free(large.data);
}
END_TEST

START_TEST(decode_refuses_a_png_of_empty_blocks)
{
    struct bytes zlib = zlib_of_bits("", "0100000000", 200000), png = {0};
    png_write_deflated(&png, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, zlib.data, zlib.len);
    expect_refusal(png.data, png.len, "far more blocks of compressed data than its declared 28x28 needs");
    free(zlib.data);
    free(png.data);
}
END_TEST

START_TEST(decode_reads_a_jpeg)
{
    struct image_options options = {.width = 16, .height = 8, .pixels_max = 128};
    uint8_t gray[128];
    struct image_info info = {0};
    struct error err;
    ck_assert_int_eq(decode(jpeg_16x8, sizeof jpeg_16x8, &options, gray, &info, &err), STATUS_OK);
    for (int i = 0; i < 128; i++)
        ck_assert_int_le(abs(gray[i] - (i % 16 * 12 + i / 16 * 8)), 2);
    options.pixels_max = 127;
    ck_assert_int_eq(decode(jpeg_16x8, sizeof jpeg_16x8, &options, gray, &info, &err), STATUS_TOO_LARGE);
}
END_TEST

START_TEST(decode_refuses_a_jpeg_whose_huffman_table_has_too_many_codes)
{
    struct bytes jpeg = {0};
    bytes_append(&jpeg, jpeg_16x8, JPEG_TABLE_AC);
    const uint8_t table[4 + 17 + 300] = {0xFF, 0xC4, 1, 2 + 17 + 300 - 256, 0x10, [4 + 15] = 150, [4 + 16] = 150};
    bytes_append(&jpeg, table, sizeof table);
    bytes_append(&jpeg, jpeg_16x8 + JPEG_SCAN, sizeof jpeg_16x8 - JPEG_SCAN);
    expect_refusal(jpeg.data, jpeg.len, "Huffman table");
    free(jpeg.data);
}
END_TEST

START_TEST(decode_gives_even_gray_for_a_jpeg_without_its_tables)
{
    struct bytes jpeg = {0};
    bytes_append(&jpeg, jpeg_16x8, JPEG_QUANTISATION);
    bytes_append(&jpeg, jpeg_16x8 + JPEG_FRAME, JPEG_TABLE_DC - JPEG_FRAME);
    bytes_append(&jpeg, jpeg_16x8 + JPEG_SCAN, sizeof jpeg_16x8 - JPEG_SCAN);
    uint8_t gray[128];
    uint8_t *memory = malloc(20000);
    ck_assert_ptr_nonnull(memory);
    free(memset(memory, 0xAB, 20000)); /* what the decoder's memory would hold, were it not cleared */
    decode_as_it_is(&jpeg, 16, 8, gray);
    for (int i = 0; i < 128; i++)
        ck_assert_uint_eq(gray[i], 128);
    free(jpeg.data);
}
END_TEST

START_TEST(decode_refuses_a_jpeg_that_scans_a_component_twice)
{
    struct bytes jpeg = {0};
    bytes_append(&jpeg, jpeg_16x8, sizeof jpeg_16x8 - 2);
    bytes_append(&jpeg, jpeg_16x8 + JPEG_SCAN, sizeof jpeg_16x8 - JPEG_SCAN);
    expect_refusal(jpeg.data, jpeg.len, "more than 1 scans");
    free(jpeg.data);
}
END_TEST

START_TEST(decode_reads_a_bmp_from_the_bottom)
{
    const struct bytes bmp = {(uint8_t[sizeof bmp_3x2]){0}, sizeof bmp_3x2};
    memcpy(bmp.data, bmp_3x2, sizeof bmp_3x2);
    uint8_t gray[6];
    decode_as_it_is(&bmp, 3, 2, gray);
    ck_assert_mem_eq(gray, ((const uint8_t[]){150, 29, 100, 0, 255, 76}), 6);
}
END_TEST

START_TEST(decode_refuses_a_bmp_that_declares_more_rows_than_it_has)
{
    uint8_t bmp[sizeof bmp_3x2];
    memcpy(bmp, bmp_3x2, sizeof bmp);
    bmp[22] = 3;
    expect_refusal(bmp, sizeof bmp, "BMP is cut: it ends at byte 78, inside its rows");
    memset(bmp + 22, 0xFF, 4); /* -1: one row, stored from the top */
    const struct bytes file = {bmp, sizeof bmp};
    uint8_t gray[3];
    decode_as_it_is(&file, 3, 1, gray);
    ck_assert_mem_eq(gray, ((const uint8_t[]){0, 255, 76}), 3);
}
END_TEST

START_TEST(decode_refuses_a_bmp_index_without_a_colour)
{
    uint8_t bmp[54 + 8 + 4] = {'B', 'M', sizeof bmp, [10] = 62, [14] = 40, [18] = 2, [22] = 1, [26] = 1, [28] = 8};
    memset(bmp + 58, 200, 3); /* colour 1 */
    bmp[62] = 1;
    const struct bytes file = {bmp, sizeof bmp};
    uint8_t gray[2];
    decode_as_it_is(&file, 2, 1, gray);
    ck_assert_mem_eq(gray, ((const uint8_t[]){200, 0}), 2);
    bmp[63] = 2;
    expect_refusal(bmp, sizeof bmp, "colour 2 of a palette of 2");
}
END_TEST

static void expect_pnm(const char *text, size_t len, size_t width, const uint8_t *expected)
{
    struct bytes pnm = {0};
    bytes_append(&pnm, text, len);
    uint8_t gray[16];
    decode_as_it_is(&pnm, width, 1, gray);
    ck_assert_mem_eq(gray, expected, width);
    free(pnm.data);
}

START_TEST(decode_reads_pnm_scaled_by_its_own_white)
{
    expect_pnm("P5 2 1 255\nab", 13, 2, (const uint8_t[]){'a', 'b'});
    expect_pnm("P5 # a comment\n2 1#another\n255\nab", 33, 2, (const uint8_t[]){'a', 'b'});
    expect_pnm("P6 1 1 255 \xff\0\0", 14, 1, (const uint8_t[]){76});
    expect_pnm("P5 3 1 15\n\x00\x05\x0f", 13, 3, (const uint8_t[]){0, 85, 255});
    expect_pnm("P5 2 1 65535\n\x80\x00\xff\xff", 17, 2, (const uint8_t[]){128, 255});
    expect_refusal("P5 2 1 65536\nabcd", 17, "65536");
    expect_refusal("P5 2 1 0\nabcd", 13, "largest sample is 0");
    expect_refusal("P5 99999999999 1 255\na", 22, "width");
    expect_refusal("P5 -2 1 255\nab", 14, "a number, its width");
    expect_refusal("P5 0 1 255\n", 11, "0x1");
}
END_TEST

static void *decode_often(void *bad)
{
    uint8_t expected[PIXELS] = {0}, gray[PIXELS], rows[SIDE * (1 + SIDE)] = {0};
    struct bytes png = {0};
    png_write(&png, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, rows, sizeof rows);
    for (int i = 0; i < 200; i++) {
        struct image_info info;
        struct error err;
        if (image_decode(png.data, png.len, &plain, gray, &info, &err) != STATUS_OK ||
            memcmp(gray, expected, PIXELS) != 0 ||
            image_decode(jpeg_16x8, sizeof jpeg_16x8 - 3, &plain, gray, &info, &err) == STATUS_OK)
            *(int *)bad = 1;
    }
    free(png.data);
    return NULL;
}

START_TEST(threads_decode_beside_each_other)
{
    pthread_t threads[4];
    int bad[4] = {0};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, decode_often, &bad[i]), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(bad[i], 0);
    }
}
END_TEST

/* ---- colour ---- */

/* A row of pixels behind the filter 0, as three planes. */
static void expect_planes(struct png_kind kind, const uint8_t *samples, size_t len, const uint8_t *expected)
{
    uint8_t row[64] = {0}, planes[64];
    const struct image_options options = {.width = kind.width, .height = 1, .colour = true, .pixels_max = 64};
    struct image_info info;
    struct error err = {0};
    struct bytes png = {0};
    memcpy(row + 1, samples, len);
    png_write(&png, kind, row, 1 + len);
    enum status status = image_decode(png.data, png.len, &options, planes, &info, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_mem_eq(planes, expected, 3 * kind.width);
    free(png.data);
}

START_TEST(decode_in_colour_gives_a_plane_for_each_channel)
{
    const uint8_t rgb[] = {1, 2, 3, 4, 5, 6};
    expect_planes((struct png_kind){.width = 2, .height = 1, .depth = 8, .colour = 2}, rgb, sizeof rgb,
                  (const uint8_t[]){1, 4, 2, 5, 3, 6});
    const uint8_t rgb_alpha[] = {200, 100, 50, 128, 255, 254, 253, 0};
    expect_planes((struct png_kind){.width = 2, .height = 1, .depth = 8, .colour = 6}, rgb_alpha, sizeof rgb_alpha,
                  (const uint8_t[]){100, 0, 50, 0, 25, 0});
}
END_TEST

START_TEST(decode_in_colour_gives_three_equal_planes_for_gray)
{
    const uint8_t gray[] = {7, 9}, gray_alpha[] = {200, 100, 255, 128};
    expect_planes((struct png_kind){.width = 2, .height = 1, .depth = 8}, gray, sizeof gray,
                  (const uint8_t[]){7, 9, 7, 9, 7, 9});
    expect_planes((struct png_kind){.width = 2, .height = 1, .depth = 8, .interlace = 0, .colour = 4}, gray_alpha,
                  sizeof gray_alpha, (const uint8_t[]){78, 128, 78, 128, 78, 128});
}
END_TEST

START_TEST(decode_in_colour_reads_pnm_and_inverts_every_plane)
{
    static const char ppm[] = "P6 2 1 100 \0\x32\x64\x64\0\x32", pgm[] = "P5 2 1 255 \x07\x09";
    const struct image_options options = {
        .width = 2, .height = 1, .colour = true, .invert = true, .pixels_max = 64};
    struct image_info info;
    struct error err = {0};
    uint8_t planes[6];
    ck_assert_int_eq(image_decode(ppm, sizeof ppm - 1, &options, planes, &info, &err), STATUS_OK);
    ck_assert_mem_eq(planes, "\xFF\0\x7F\xFF\0\x7F", 6);
    ck_assert_int_eq(image_decode(pgm, sizeof pgm - 1, &options, planes, &info, &err), STATUS_OK);
    ck_assert_mem_eq(planes, "\xF8\xF6\xF8\xF6\xF8\xF6", 6);
}
END_TEST

START_TEST(decode_in_colour_resizes_each_plane_as_a_gray_picture_is_resized)
{
    uint8_t rgb[1 + 3 * 10], plane[10], expected[3], planes[9];
    const struct image_options options = {.width = 3, .height = 1, .colour = true, .pixels_max = 64};
    struct image_info info;
    struct error err = {0};
    struct bytes png = {0};
    noise_state = 5;
    rgb[0] = 0;
    for (size_t i = 1; i < sizeof rgb; i++)
        rgb[i] = noise();
    png_write(&png, (struct png_kind){.width = 10, .height = 1, .depth = 8, .colour = 2}, rgb, sizeof rgb);
    ck_assert_int_eq(image_decode(png.data, png.len, &options, planes, &info, &err), STATUS_OK);
    ck_assert(info.resized);
    for (size_t c = 0; c < 3; c++) {
        for (size_t x = 0; x < 10; x++)
            plane[x] = rgb[1 + 3 * x + c];
        ck_assert_int_eq(image_resize_gray(plane, 10, 1, expected, 3, 1, &err), STATUS_OK);
        ck_assert_mem_eq(planes + 3 * c, expected, 3);
    }
    free(png.data);
}
END_TEST

UNIT_MAIN("server/image", sniff_knows_each_format_by_its_full_signature, sniff_takes_no_raw_noise_for_a_picture,
          decode_gives_a_gray_png_of_the_right_size_bit_by_bit, decode_takes_the_luma_of_colours_as_pillow_does,
          decode_lays_alpha_over_black_as_pillow_does, decode_makes_the_transparent_colour_black,
          decode_scales_few_bits_up_and_sixteen_down_to_their_high_byte,
          decode_makes_a_colour_that_the_palette_lacks_black, decode_inverts_after_the_resize,
          decode_refuses_another_size_when_told_to, decode_refuses_more_pixels_than_allowed_with_both_numbers,
          decode_refuses_a_file_that_is_cut_anywhere, decode_refuses_a_png_with_any_bit_flipped,
          decode_takes_bytes_after_the_end_of_a_png, decode_refuses_a_png_that_needs_what_is_not_read,
          decode_refuses_a_png_that_inflates_to_more_than_it_declares, decode_refuses_a_png_of_empty_blocks,
          decode_reads_a_jpeg, decode_refuses_a_jpeg_whose_huffman_table_has_too_many_codes,
          decode_gives_even_gray_for_a_jpeg_without_its_tables, decode_refuses_a_jpeg_that_scans_a_component_twice,
          decode_reads_a_bmp_from_the_bottom, decode_refuses_a_bmp_that_declares_more_rows_than_it_has,
          decode_refuses_a_bmp_index_without_a_colour, decode_reads_pnm_scaled_by_its_own_white,
          threads_decode_beside_each_other, decode_in_colour_gives_a_plane_for_each_channel,
          decode_in_colour_gives_three_equal_planes_for_gray, decode_in_colour_reads_pnm_and_inverts_every_plane,
          decode_in_colour_resizes_each_plane_as_a_gray_picture_is_resized)
