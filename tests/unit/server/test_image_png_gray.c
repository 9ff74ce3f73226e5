/* The short way for gray PNGs beside stb_image's. */
#include <zlib.h>

#include "server/image_parts.h"
#include "tests/unit/png.h"
#include "tests/unit/unit.h"

enum { SIDE = 28, ROW = SIDE + 1 };

static uint64_t state = 1;

static unsigned random_below(unsigned bound)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % bound;
}

/* Rows of random filters over random bytes of few values, which zlib compresses. */
static void make_rows(uint8_t rows[SIDE * ROW])
{
    for (size_t y = 0; y < SIDE; y++) {
        rows[y * ROW] = (uint8_t)random_below(5);
        for (size_t x = 1; x < ROW; x++)
            rows[y * ROW + x] = (uint8_t)(random_below(4) * random_below(256));
    }
}

static struct bytes deflated(const uint8_t rows[SIDE * ROW], int level)
{
    struct bytes png = {0};
    uint8_t zlib[2 * SIDE * ROW];
    uLongf len = sizeof zlib;
    ck_assert_int_eq(compress2(zlib, &len, rows, SIDE * ROW, level), Z_OK);
    png_write_deflated(&png, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, zlib, len);
    return png;
}

static struct image_file file_of(const struct bytes *png)
{
    return (struct image_file){
        .format = IMAGE_PNG, .data = png->data, .len = png->len, .pixels_max = (size_t)SIDE * SIDE};
}

static struct image_header check(const struct bytes *png)
{
    struct image_file file = file_of(png);
    struct image_header header = {0};
    struct error err = {0};
    ck_assert_msg(image_png_check(&file, &header, &err) == STATUS_OK, "%s", err.message);
    return header;
}

START_TEST(image_png_gray_reads_what_stb_image_reads)
{
    for (int level = 0; level < 10; level++) {
        for (size_t i = 0; i < 20; i++) {
            uint8_t rows[SIDE * ROW], gray[SIDE * SIDE], *expected;
            size_t channels;
            struct error err = {0};
            make_rows(rows);
            struct bytes png = deflated(rows, level);
            struct image_file file = file_of(&png);
            struct image_header header = check(&png);
            ck_assert_uint_gt(header.gray_at, 0);
            ck_assert(image_png_read_gray(&file, &header, gray));
            ck_assert_int_eq(image_stb_read(&file, &header, &expected, &channels, &err), STATUS_OK);
            ck_assert_uint_eq(channels, 1);
            ck_assert_mem_eq(gray, expected, sizeof gray);
            image_stb_free(expected);
            free(png.data);
        }
    }
}
END_TEST

static void assert_long_way(struct bytes png)
{
    struct image_file file = file_of(&png);
    struct image_header header = check(&png);
    uint8_t gray[SIDE * SIDE];
    ck_assert(!image_png_read_gray(&file, &header, gray));
    free(png.data);
}

START_TEST(image_png_gray_leaves_other_kinds_to_the_long_way)
{
    static const uint8_t key[] = {0, 7}, rows[SIDE * 3 * ROW];
    struct bytes transparent = {0}, interlaced = {0}, rgb = {0};
    png_write(&transparent,
              (struct png_kind){
                  .width = SIDE, .height = SIDE, .depth = 8, .transparency = key, .transparency_len = sizeof key},
              rows, SIDE * ROW);
    png_write(&interlaced, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8, .interlace = 1}, rows,
              SIDE * ROW);
    png_write(&rgb, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8, .colour = 2}, rows,
              SIDE * (3 * SIDE + 1));
    assert_long_way(transparent);
    assert_long_way(interlaced);
    assert_long_way(rgb);
}
END_TEST

START_TEST(image_png_gray_leaves_broken_data_to_the_long_way)
{
    uint8_t rows[SIDE * ROW];
    struct png_kind kind = {.width = SIDE, .height = SIDE, .depth = 8};
    struct bytes filter = {0}, cut = {0}, garbage = {0};
    make_rows(rows);
    rows[5 * ROW] = 5; /* there is no such filter */
    png_write(&filter, kind, rows, sizeof rows);
    assert_long_way(filter);
    png_write(&cut, kind, rows, sizeof rows - ROW);
    assert_long_way(cut);
    png_write_deflated(&garbage, kind, "no zlib", 7);
    assert_long_way(garbage);
}
END_TEST

START_TEST(image_png_gray_reads_again_after_broken_data)
{
    uint8_t rows[SIDE * ROW], gray[SIDE * SIDE];
    struct bytes garbage = {0};
    png_write_deflated(&garbage, (struct png_kind){.width = SIDE, .height = SIDE, .depth = 8}, "no zlib", 7);
    assert_long_way(garbage);
    make_rows(rows);
    struct bytes png = deflated(rows, 6);
    struct image_file file = file_of(&png);
    struct image_header header = check(&png);
    ck_assert(image_png_read_gray(&file, &header, gray));
    free(png.data);
}
END_TEST

UNIT_MAIN("server/image_png_gray", image_png_gray_reads_what_stb_image_reads,
          image_png_gray_leaves_other_kinds_to_the_long_way, image_png_gray_leaves_broken_data_to_the_long_way,
          image_png_gray_reads_again_after_broken_data)
