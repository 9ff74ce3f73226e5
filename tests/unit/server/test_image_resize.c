#include "server/image.h"

#include "tests/unit/unit.h"

#include <string.h>
#include <sys/resource.h>

enum { SIDE = 28, PIXELS = SIDE * SIDE };

/* The sanitizers would end the program where malloc is to return NULL. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static uint32_t noise_state;

static uint8_t noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (uint8_t)(noise_state >> 24);
}

static long peak_kib(void)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

static uint64_t fnv1a(const uint8_t *data, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/* The answers of Pillow 9.4: Image.frombytes("L", size, noise).resize((28, 28), BILINEAR), noise() begun with 1. */
START_TEST(resize_gives_the_bits_of_pillow)
{
    static const struct {
        size_t width, height;
        uint64_t hash;
        uint8_t first, last;
    } cases[] = {
        {1, 1, 0x036363caa0f9c725u, 60, 60},       {1, 200, 0xbf0ae4ee71edb151u, 108, 127},
        {200, 1, 0x12594a053bbf8535u, 108, 127},   {13, 57, 0xe0baec21041d96fcu, 140, 136},
        {300, 200, 0xe51709d231142fd3u, 120, 134}, {28, 5, 0x85f4aad59e6ce091u, 60, 163},
        {5, 28, 0x58fdae20dbab1905u, 60, 163},     {56, 56, 0x7ae5ee06eae6fc48u, 88, 116},
        {27, 29, 0x012cc05025868121u, 62, 210},    {1000, 3, 0x19dada74994694c3u, 125, 120},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = cases[i].width * cases[i].height;
        uint8_t *src = malloc(count), dst[PIXELS];
        ck_assert_ptr_nonnull(src);
        noise_state = 1;
        for (size_t k = 0; k < count; k++)
            src[k] = noise();
        struct error err;
        ck_assert_int_eq(image_resize_gray(src, cases[i].width, cases[i].height, dst, SIDE, SIDE, &err), STATUS_OK);
        ck_assert_uint_eq(dst[0], cases[i].first);
        ck_assert_uint_eq(dst[PIXELS - 1], cases[i].last);
        ck_assert_uint_eq(fnv1a(dst, PIXELS), cases[i].hash);
        free(src);
    }
}
END_TEST

START_TEST(resize_of_a_tall_picture_holds_no_wider_copy_of_it)
{
    size_t height = (size_t)1 << 21;
    uint8_t *src = malloc(height), dst[PIXELS];
    ck_assert_ptr_nonnull(src);
    memset(src, 99, height);
    long before = peak_kib();
    struct error err;
    ck_assert_int_eq(image_resize_gray(src, 1, height, dst, SIDE, SIDE, &err), STATUS_OK);
    ck_assert_int_lt(peak_kib() - before, 8 * 1024);
    free(src);
}
END_TEST

START_TEST(resize_to_the_same_size_changes_nothing)
{
    uint8_t src[PIXELS], dst[PIXELS];
    for (int i = 0; i < PIXELS; i++)
        src[i] = noise();
    struct error err;
    ck_assert_int_eq(image_resize_gray(src, SIDE, SIDE, dst, SIDE, SIDE, &err), STATUS_OK);
    ck_assert_mem_eq(dst, src, PIXELS);
}
END_TEST

START_TEST(resize_keeps_one_gray_at_any_size)
{
    for (size_t size = 1; size <= 65; size++) {
        uint8_t src[65 * 3], dst[65 * 65];
        memset(src, (int)(size * 3), sizeof src);
        struct error err;
        ck_assert_int_eq(image_resize_gray(src, 65, 3, dst, size, 66 - size, &err), STATUS_OK);
        for (size_t i = 0; i < size * (66 - size); i++)
            ck_assert_uint_eq(dst[i], size * 3);
    }
}
END_TEST

START_TEST(resize_says_when_memory_runs_out)
{
    uint8_t src = 1, dst = 2;
    struct error err;
    ck_assert_int_eq(image_resize_gray(&src, 1, 1, &dst, (size_t)1 << 56, 1, &err), STATUS_NO_MEMORY);
    ck_assert_int_eq(err.status, STATUS_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "out of memory"));
    ck_assert_uint_eq(dst, 2);
}
END_TEST

UNIT_MAIN("server/image_resize", resize_gives_the_bits_of_pillow,
          resize_of_a_tall_picture_holds_no_wider_copy_of_it, resize_to_the_same_size_changes_nothing,
          resize_keeps_one_gray_at_any_size, resize_says_when_memory_runs_out)
