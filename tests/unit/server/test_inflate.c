#include "server/inflate.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "tests/unit/unit.h"

enum { BARE = -15, ZLIB = 15, GZIP = 15 + 16 }; /* windowBits of deflateInit2 */

/* "compressed by gzip\n" by gzip 1.12. */
static const char gzip_text[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\xce\xcf\x2d\x28\x4a\x2d\x2e\x4e"
                                "\x4d\x51\x48\xaa\x54\x48\xaf\xca\x2c\xe0\x02\x00\xc9\x97\x85\x7f\x13\x00\x00\x00";
static const char plain_text[] = "compressed by gzip\n";

struct bytes {
    char *data;
    size_t len;
};

static struct bytes compress_as(int window_bits, const void *data, size_t len)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&z, len) + 32;
    struct bytes bytes = {malloc(bound), 0};
    ck_assert_ptr_nonnull(bytes.data);
    z.next_out = (Bytef *)bytes.data;
    z.avail_out = (uInt)bound;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    bytes.len = z.total_out;
    deflateEnd(&z);
    return bytes;
}

static void append(struct bytes *bytes, const void *data, size_t len)
{
    bytes->data = realloc(bytes->data, bytes->len + len + 1);
    ck_assert_ptr_nonnull(bytes->data);
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
}

static enum encoding encoding_of(int window_bits)
{
    return window_bits == GZIP ? ENCODING_GZIP : ENCODING_DEFLATE;
}

/* Text that compresses, but not to nothing. */
static char *make_text(size_t len)
{
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525u + 1013904223u;
        text[i] = "0123456789,.[] e"[state >> 28];
    }
    text[len] = '\0';
    return text;
}

static void assert_inflates(enum encoding encoding, const char *data, size_t len, const void *expected,
                            size_t expected_len)
{
    struct buffer out = {0};
    struct error err = {0};
    enum status status = inflate_body(encoding, data, len, 1 << 24, &out, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(out.len, expected_len);
    ck_assert_mem_eq(out.data, expected, expected_len);
    buffer_free(&out);
}

/* The bytes stand in memory of their own, so that a sanitizer sees a step beyond them. */
static void assert_refused(enum encoding encoding, const void *data, size_t len, size_t bytes_max,
                           enum status expected, const char *in_message)
{
    struct buffer out = {0};
    struct error err = {0};
    char *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, len);
    buffer_append_str(&out, "before");
    ck_assert_int_eq(inflate_body(encoding, copy, len, bytes_max, &out, &err), expected);
    ck_assert_int_eq(err.status, expected);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_str_eq(out.data, "before");
    ck_assert_uint_eq(out.len, strlen("before"));
    ck_assert_int_eq(inflate_body(encoding, copy, len, bytes_max, &out, NULL), expected);
    buffer_free(&out);
    free(copy);
}

START_TEST(inflate_reads_what_gzip_wrote)
{
    assert_inflates(ENCODING_GZIP, gzip_text, sizeof gzip_text - 1, plain_text, strlen(plain_text));
}
END_TEST

START_TEST(inflate_reads_each_format_at_each_size)
{
    static const int formats[] = {GZIP, ZLIB, BARE};
    static const size_t sizes[] = {0, 1, 2, 100, 4095, 4096, 4097, 16384, 65536, 300000};
    char *text = make_text(300000);
    for (size_t f = 0; f < 3; f++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            struct bytes bytes = compress_as(formats[f], text, sizes[s]);
            assert_inflates(encoding_of(formats[f]), bytes.data, bytes.len, text, sizes[s]);
            free(bytes.data);
        }
    }
    free(text);
}
END_TEST

START_TEST(inflate_reads_zeros_which_grow_a_thousandfold)
{
    size_t len = 1 << 22;
    char *zeros = calloc(1, len);
    struct bytes bytes = compress_as(GZIP, zeros, len);
    ck_assert_uint_lt(bytes.len, len / 900);
    assert_inflates(ENCODING_GZIP, bytes.data, bytes.len, zeros, len);
    free(bytes.data);
    free(zeros);
}
END_TEST

START_TEST(inflate_takes_stored_blocks_in_bare_deflate)
{
    assert_inflates(ENCODING_DEFLATE,
                    "\x01\x03\x00\xfc\xff"
                    "abc",
                    8, "abc", 3);
    assert_inflates(ENCODING_DEFLATE,
                    "\x00\x01\x00\xfe\xff"
                    "a\x01\x01\x00\xfe\xff"
                    "b",
                    12, "ab", 2);
}
END_TEST

START_TEST(inflate_joins_the_members_of_a_gzip)
{
    char *text = make_text(40000);
    struct bytes bytes = compress_as(GZIP, text, 100), empty = compress_as(GZIP, "", 0);
    struct bytes rest = compress_as(GZIP, text + 100, 39900);
    append(&bytes, empty.data, empty.len);
    append(&bytes, rest.data, rest.len);
    append(&bytes, empty.data, empty.len);
    assert_inflates(ENCODING_GZIP, bytes.data, bytes.len, text, 40000);
    free(bytes.data);
    free(empty.data);
    free(rest.data);
    free(text);
}
END_TEST

/* A gzip head with every optional part: extra field, name, comment, and the CRC of the head. */
static struct bytes gzip_with_full_head(void)
{
    static const char head[] = "\x1f\x8b\x08\x1e\x01\x02\x03\x04\x00\x03\x04\x00"
                               "xtra"
                               "name\0"
                               "comment";
    struct bytes bytes = {0};
    append(&bytes, head, sizeof head); /* with the comment's NUL */
    uLong crc = crc32(0, (const Bytef *)bytes.data, (uInt)bytes.len);
    char crc16[2] = {(char)(crc & 0xFF), (char)(crc >> 8 & 0xFF)};
    append(&bytes, crc16, sizeof crc16);
    append(&bytes, gzip_text + 10, sizeof gzip_text - 1 - 10);
    return bytes;
}

START_TEST(inflate_reads_every_optional_part_of_a_gzip_head_and_checks_its_crc)
{
    struct bytes bytes = gzip_with_full_head();
    assert_inflates(ENCODING_GZIP, bytes.data, bytes.len, plain_text, strlen(plain_text));
    bytes.data[13] ^= 1; /* in the extra field, which means nothing */
    assert_refused(ENCODING_GZIP, bytes.data, bytes.len, 1000, STATUS_INVALID, "header crc mismatch");
    free(bytes.data);
}
END_TEST

START_TEST(inflate_refuses_a_body_that_is_cut_anywhere)
{
    static const int formats[] = {GZIP, ZLIB, BARE};
    char *text = make_text(600);
    for (size_t f = 0; f < 3; f++) {
        struct bytes bytes = compress_as(formats[f], text, 600);
        for (size_t len = 0; len < bytes.len; len++)
            assert_refused(encoding_of(formats[f]), bytes.data, len, 1000, STATUS_INVALID, "before the end");
        free(bytes.data);
    }
    struct bytes full = gzip_with_full_head();
    for (size_t len = 0; len < full.len; len++)
        assert_refused(ENCODING_GZIP, full.data, len, 1000, STATUS_INVALID, "before the end");
    free(full.data);
    free(text);
}
END_TEST

START_TEST(inflate_refuses_a_second_member_that_is_cut_anywhere)
{
    struct bytes bytes = {0};
    append(&bytes, gzip_text, sizeof gzip_text - 1);
    append(&bytes, gzip_text, sizeof gzip_text - 1);
    for (size_t len = sizeof gzip_text; len < bytes.len; len++)
        assert_refused(ENCODING_GZIP, bytes.data, len, 1000, STATUS_INVALID, "before the end");
    free(bytes.data);
}
END_TEST

START_TEST(inflate_refuses_what_stands_behind_the_end)
{
    static const int formats[] = {GZIP, ZLIB, BARE};
    for (size_t f = 0; f < 3; f++) {
        for (int byte = 0; byte < 256; byte++) {
            struct bytes bytes = compress_as(formats[f], "abc", 3);
            char rest[2] = {(char)byte, '!'};
            append(&bytes, rest, 2);
            assert_refused(encoding_of(formats[f]), bytes.data, bytes.len, 1000, STATUS_INVALID,
                           "2 bytes stand behind");
            free(bytes.data);
        }
    }
    struct bytes zlib = compress_as(ZLIB, "abc", 3), gzip = compress_as(GZIP, "abc", 3);
    append(&zlib, gzip.data, gzip.len);
    assert_refused(ENCODING_DEFLATE, zlib.data, zlib.len, 1000, STATUS_INVALID, "stand behind");
    free(zlib.data);
    free(gzip.data);
}
END_TEST

START_TEST(inflate_refuses_what_is_not_compressed)
{
    static const char *const bodies[] = {"[[0.0, 1.0]]", "\x89PNG\r\n\x1a\n", "plain text"};
    for (size_t i = 0; i < 3; i++) {
        assert_refused(ENCODING_GZIP, bodies[i], strlen(bodies[i]), 1000, STATUS_INVALID, "incorrect header check");
        assert_refused(ENCODING_DEFLATE, bodies[i], strlen(bodies[i]), 1000, STATUS_INVALID, "the body ");
    }
    assert_refused(ENCODING_GZIP, "", 0, 1000, STATUS_INVALID, "ends after 0 bytes");
    assert_refused(ENCODING_GZIP, "\x1f\x8b\x09\0\0\0\0\0\0\x03", 10, 1000, STATUS_INVALID,
                   "unknown compression method");
    assert_refused(ENCODING_GZIP, "\x1f\x8b\x08\x20\0\0\0\0\0\x03", 10, 1000, STATUS_INVALID,
                   "unknown header flags");
    assert_refused(ENCODING_DEFLATE, "\x78\x9d", 2, 1000, STATUS_INVALID, "incorrect header check");
    assert_refused(ENCODING_DEFLATE, "\x78\xbb\x12\x34\x56\x78\x4b", 7, 1000, STATUS_INVALID, "dictionary");
}
END_TEST

START_TEST(inflate_never_takes_damaged_data_for_the_right_data)
{
    char *text = make_text(300);
    struct bytes bytes = compress_as(GZIP, text, 300);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        struct buffer out = {0};
        struct error err = {0};
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        enum status status = inflate_body(ENCODING_GZIP, bytes.data, bytes.len, 1000, &out, &err);
        bool right = status == STATUS_OK && out.len == 300 && memcmp(out.data, text, 300) == 0;
        ck_assert_msg(right || (status != STATUS_OK && err.message[0]), "bit %zu", bit);
        /* "is text", time, level, system; what fills the last byte of the deflated data */
        bool means_nothing = bit == 24 || (bit >= 4 * 8 && bit < 10 * 8) || bit / 8 == bytes.len - 9;
        ck_assert_msg(!right || means_nothing, "bit %zu is not checked", bit);
        bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        buffer_free(&out);
    }
    free(bytes.data);
    free(text);
}
END_TEST

START_TEST(inflate_takes_the_largest_body_and_no_byte_more)
{
    static const int formats[] = {GZIP, ZLIB, BARE};
    static const size_t sizes[] = {1, 100, 4095, 4096, 16384, 100000};
    char *text = make_text(100000), numbers[64];
    for (size_t i = 0; i < 3 * sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i / 3];
        struct bytes bytes = compress_as(formats[i % 3], text, size);
        struct buffer out = {0};
        ck_assert_int_eq(inflate_body(encoding_of(formats[i % 3]), bytes.data, bytes.len, size, &out, NULL),
                         STATUS_OK);
        ck_assert_uint_eq(out.len, size);
        buffer_free(&out);
        snprintf(numbers, sizeof numbers, "%zu bytes of ", bytes.len);
        assert_refused(encoding_of(formats[i % 3]), bytes.data, bytes.len, size - 1, STATUS_TOO_LARGE, numbers);
        snprintf(numbers, sizeof numbers, "more than %zu bytes", size - 1);
        assert_refused(encoding_of(formats[i % 3]), bytes.data, bytes.len, size - 1, STATUS_TOO_LARGE, numbers);
        free(bytes.data);
    }
    free(text);
}
END_TEST

START_TEST(inflate_holds_a_bomb_within_the_limit)
{
    size_t len = 1 << 24, limit = 65536;
    char *zeros = calloc(1, len);
    struct bytes bomb = compress_as(GZIP, zeros, len);
    struct buffer out = {0};
    ck_assert_int_eq(inflate_body(ENCODING_GZIP, bomb.data, bomb.len, limit, &out, NULL), STATUS_TOO_LARGE);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_le(out.capacity, 2 * limit);
    buffer_free(&out);
    free(bomb.data);
    free(zeros);
}
END_TEST

START_TEST(inflate_holds_not_much_more_memory_than_came_out)
{
    char *text = make_text(1 << 20);
    struct bytes bytes = compress_as(GZIP, text, 1 << 20);
    memset(bytes.data + bytes.len - 4, 0xFF, 4); /* what a gzip says of its size at its end is not believed */
    struct buffer out = {0};
    ck_assert_int_eq(inflate_body(ENCODING_GZIP, bytes.data, bytes.len, SIZE_MAX, &out, NULL), STATUS_INVALID);
    ck_assert_uint_lt(out.capacity, (1 << 20) * 9 / 4);
    buffer_free(&out);
    free(bytes.data);
    free(text);
}
END_TEST

START_TEST(inflate_appends_to_what_is_there)
{
    struct buffer out = {0};
    buffer_append_str(&out, "before ");
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(inflate_body(ENCODING_GZIP, gzip_text, sizeof gzip_text - 1, 19, &out, NULL), STATUS_OK);
    ck_assert_str_eq(out.data, "before compressed by gzip\ncompressed by gzip\n");
    buffer_free(&out);
}
END_TEST

START_TEST(inflate_knows_the_names_of_encodings_however_they_are_written)
{
    static const struct {
        const char *header;
        enum encoding encoding;
    } known[] = {{"", ENCODING_IDENTITY},         {" \t", ENCODING_IDENTITY},  {"identity", ENCODING_IDENTITY},
                 {"Identity", ENCODING_IDENTITY}, {"gzip", ENCODING_GZIP},     {"GZIP \t", ENCODING_GZIP},
                 {"x-gzip", ENCODING_GZIP},       {"\tX-GZip", ENCODING_GZIP}, {"deflate", ENCODING_DEFLATE},
                 {" dEFLATE ", ENCODING_DEFLATE}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        enum encoding encoding = (enum encoding)99;
        ck_assert_int_eq(inflate_encoding(known[i].header, &encoding, NULL), STATUS_OK);
        ck_assert_int_eq(encoding, known[i].encoding);
    }
}
END_TEST

START_TEST(inflate_refuses_other_encodings_and_more_than_one_and_lists_what_is_read)
{
    static const char *const others[] = {"br",        "zstd",          "compress", "gzip, gzip", "gzip,",
                                         ",",         "deflate, gzip", "gzi",      "gzipp",      "identity, gzip",
                                         "x-deflate", "gzip;q=1",      "\"gzip\""};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct error err = {0};
        enum encoding encoding = (enum encoding)99;
        ck_assert_int_eq(inflate_encoding(others[i], &encoding, &err), STATUS_UNSUPPORTED);
        ck_assert_ptr_nonnull(strstr(err.message, others[i]));
        ck_assert_ptr_nonnull(strstr(err.hint, "gzip, x-gzip and deflate"));
        ck_assert_int_eq(encoding, 99);
        ck_assert_int_eq(inflate_encoding(others[i], &encoding, NULL), STATUS_UNSUPPORTED);
    }
}
END_TEST

UNIT_MAIN("server/inflate", inflate_reads_what_gzip_wrote, inflate_reads_each_format_at_each_size,
          inflate_reads_zeros_which_grow_a_thousandfold, inflate_takes_stored_blocks_in_bare_deflate,
          inflate_joins_the_members_of_a_gzip, inflate_reads_every_optional_part_of_a_gzip_head_and_checks_its_crc,
          inflate_refuses_a_body_that_is_cut_anywhere, inflate_refuses_a_second_member_that_is_cut_anywhere,
          inflate_refuses_what_stands_behind_the_end, inflate_refuses_what_is_not_compressed,
          inflate_never_takes_damaged_data_for_the_right_data, inflate_takes_the_largest_body_and_no_byte_more,
          inflate_holds_a_bomb_within_the_limit, inflate_holds_not_much_more_memory_than_came_out,
          inflate_appends_to_what_is_there, inflate_knows_the_names_of_encodings_however_they_are_written,
          inflate_refuses_other_encodings_and_more_than_one_and_lists_what_is_read)
