/* Bodies and what they are taken for. Each body is handed over in memory of its own, exactly as long as it is with the
 * NUL behind it, so that the address sanitizer sees a reader that goes beyond. */
#include "server/input.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "tests/unit/fixture.h"

enum { F = 784, SIDE = 28, TEXT_MAX = 400000 };

static struct model model;
static struct input *input;

/* One request: what its test does not set is as in a request without parameters. */
struct request {
    const char *content_type;
    enum input_dtype dtype;
    bool refuse_resize, invert;
    size_t rows_max; /* 0: 8 */
};

struct bytes {
    char *data;
    size_t len;
};

static char *last_body;
static struct error last_error;

static void set_up(size_t width, size_t height)
{
    model = fixture_pictures(width, height);
    input = input_create(&model);
    ck_assert_ptr_nonnull(input);
}

static void tear_down(void)
{
    input_free(input);
    free(last_body);
    last_body = NULL;
}

static enum status read_at(const struct request *request, const char *body, size_t len)
{
    const struct input_options options = {
        .content_type = request->content_type ? request->content_type : "",
        .dtype = request->dtype,
        .refuse_resize = request->refuse_resize,
        .invert = request->invert,
        .rows_max = request->rows_max ? request->rows_max : 8,
        .pixels_max = 1 << 24,
    };
    last_error = (struct error){0};
    return input_read(input, &options, body, len, &last_error);
}

static enum status read_bytes(const struct request *request, const void *body, size_t len)
{
    input_reset(input);
    free(last_body);
    last_body = malloc(len + 1);
    ck_assert_ptr_nonnull(last_body);
    if (len)
        memcpy(last_body, body, len);
    last_body[len] = '\0';
    return read_at(request, last_body, len);
}

static void expect(const struct request *request, const void *body, size_t len, enum row_dtype dtype, size_t count,
                   bool batched)
{
    enum status status = read_bytes(request, body, len);
    ck_assert_msg(status == STATUS_OK, "%s", last_error.message);
    ck_assert_int_eq(input->set.dtype, dtype);
    ck_assert_uint_eq(input->set.count, count);
    ck_assert_int_eq(input->batched, batched);
    ck_assert_ptr_nonnull(input->set.rows);
}

static void expect_refusal(const struct request *request, const void *body, size_t len, enum status expected,
                           const char *in_message)
{
    enum status status = read_bytes(request, body, len);
    ck_assert_msg(status == expected, "status %d, not %d: %s", status, expected, last_error.message);
    ck_assert_int_eq(last_error.status, expected);
    ck_assert_msg(strstr(last_error.message, in_message) != NULL, "\"%s\" is not in: %s", in_message,
                  last_error.message);
    ck_assert_str_ne(last_error.hint, "");
}

#define REQUEST(...) (&(const struct request){__VA_ARGS__})

/* ---- bodies ---- */

static struct bytes body_create(void)
{
    struct bytes body = {.data = malloc(TEXT_MAX)};
    ck_assert_ptr_nonnull(body.data);
    return body;
}

static void add(struct bytes *body, const void *data, size_t len)
{
    ck_assert_uint_le(body->len + len, TEXT_MAX);
    memcpy(body->data + body->len, data, len);
    body->len += len;
}

static void __attribute__((format(printf, 2, 3))) add_text(struct bytes *body, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    body->len += (size_t)vsnprintf(body->data + body->len, TEXT_MAX - body->len, format, args);
    va_end(args);
    ck_assert_uint_lt(body->len, TEXT_MAX);
}

/* A PGM, whose pixels are 0, 1, 2, ... plus `first`. */
static void add_pgm(struct bytes *body, size_t width, size_t height, size_t first)
{
    add_text(body, "P5\n%zu %zu\n255\n", width, height);
    for (size_t i = 0; i < width * height; i++)
        add(body, &(const char){(char)(first + i)}, 1);
}

static void add_pixels(struct bytes *body, size_t count, size_t first)
{
    for (size_t i = 0; i < count; i++)
        add(body, &(const char){(char)(first + i)}, 1);
}

/* Numbers 0, 1, 2, ... in arrays of this shape. */
static void add_json(struct bytes *body, const size_t *shape, size_t dims, size_t *number)
{
    if (dims == 0) {
        add_text(body, "%zu", (*number)++ % 256);
        return;
    }
    for (size_t i = 0; i < *shape; i++) {
        add_text(body, i ? "," : "[");
        add_json(body, shape + 1, dims - 1, number);
    }
    add_text(body, "]");
}

static struct bytes json_of(const size_t *shape, size_t dims)
{
    struct bytes body = body_create();
    size_t number = 0;
    add_json(&body, shape, dims, &number);
    return body;
}

#define SHAPE(...) (const size_t[]){__VA_ARGS__}, sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t)

static struct bytes npy_of(const char *descr, bool fortran, const char *shape, const void *data, size_t len)
{
    struct bytes body = body_create();
    char dict[96], header[118 + 1];
    snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr,
             fortran ? "True" : "False", shape);
    snprintf(header, sizeof header, "%-117s\n", dict);
    add(&body, "\x93NUMPY\1\0\x76\0", 10);
    add(&body, header, 118);
    add(&body, data, len);
    return body;
}

static struct bytes file_of(const char *path)
{
    struct bytes body = body_create();
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened: run the test from the repository's root", path);
    body.len = fread(body.data, 1, TEXT_MAX, file);
    ck_assert_int_eq(fclose(file), 0);
    return body;
}

static void add_base64(struct bytes *body, const struct bytes *data)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < data->len; i += 3) {
        unsigned bits = 0;
        size_t left = data->len - i < 3 ? data->len - i : 3;
        for (size_t b = 0; b < 3; b++)
            bits = bits << 8 | (b < left ? (unsigned char)data->data[i + b] : 0);
        for (size_t b = 0; b < 4; b++)
            add(body, b <= left ? &alphabet[bits >> (18 - 6 * b) & 63] : "=", 1);
    }
}

static void expect_body(const struct request *request, struct bytes body, enum row_dtype dtype, size_t count,
                        bool batched)
{
    expect(request, body.data, body.len, dtype, count, batched);
    free(body.data);
}

static void refuse_body(const struct request *request, struct bytes body, enum status expected,
                        const char *in_message)
{
    expect_refusal(request, body.data, body.len, expected, in_message);
    free(body.data);
}

static const uint8_t *pixels_of_row(size_t row)
{
    return (const uint8_t *)input->set.rows + row * model.in_features;
}

static const float *floats_of_row(size_t row)
{
    return (const float *)input->set.rows + row * model.in_features;
}

static void assert_counted_pixels(size_t row, size_t first)
{
    for (size_t i = 0; i < model.in_features; i++)
        ck_assert_uint_eq(pixels_of_row(row)[i], (uint8_t)(first + i));
}

/* Numbers first, first + 1, ... each divided, and taken modulo 256 before. */
static void assert_counted_floats(size_t row, size_t first, float divisor)
{
    for (size_t i = 0; i < model.in_features; i++)
        ck_assert_float_eq(floats_of_row(row)[i], (float)((first + i) % 256) / divisor);
}

/* ---- what a body is: 1. multipart ---- */

#define FORM "multipart/form-data; boundary=B"

static void add_part(struct bytes *body, const char *headers, const void *data, size_t len)
{
    add_text(body, "--B\r\nContent-Disposition: form-data; name=\"x\"\r\n%s\r\n", headers);
    add(body, data, len);
    add_text(body, "\r\n");
}

static void end_form(struct bytes *body)
{
    add_text(body, "--B--\r\n");
}

/* A form of one part. */
static struct bytes form_of(const char *headers, struct bytes content)
{
    struct bytes body = body_create();
    add_part(&body, headers, content.data, content.len);
    end_form(&body);
    free(content.data);
    return body;
}

static struct bytes pgm_of(size_t width, size_t height, size_t first)
{
    struct bytes body = body_create();
    add_pgm(&body, width, height, first);
    return body;
}

static struct bytes pixels_of(size_t count, size_t first)
{
    struct bytes body = body_create();
    add_pixels(&body, count, first);
    return body;
}

START_TEST(input_reads_a_form_by_its_content_type_before_all_else)
{
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = FORM), form_of("Content-Type: image/png\r\n", pgm_of(28, 28, 3)), ROW_UINT8,
                1, false);
    assert_counted_pixels(0, 3);
    /* ?dtype= says what the parts are. */
    expect_body(REQUEST(.content_type = "Multipart/Form-Data; boundary=B", .dtype = INPUT_DTYPE_UINT8),
                form_of("", pixels_of(F, 5)), ROW_UINT8, 1, false);
    assert_counted_pixels(0, 5);
    tear_down();
}
END_TEST

START_TEST(input_reads_the_parts_of_a_form_in_order)
{
    set_up(SIDE, SIDE);
    struct bytes body = body_create();
    for (size_t i = 0; i < 5; i++) {
        struct bytes pgm = pgm_of(28, 28, i);
        add_part(&body, "", pgm.data, pgm.len);
        free(pgm.data);
    }
    end_form(&body);
    expect_body(REQUEST(.content_type = FORM), body, ROW_UINT8, 5, true);
    for (size_t i = 0; i < 5; i++)
        assert_counted_pixels(i, i);
    tear_down();
}
END_TEST

START_TEST(input_mixes_pictures_raw_tensors_npy_and_json_in_one_form)
{
    set_up(SIDE, SIDE);
    struct bytes body = body_create();
    struct bytes pgm = pgm_of(28, 28, 1), raw = pixels_of(F, 2), json = json_of(SHAPE(1, 784));
    struct bytes pixels = pixels_of(2 * F, 3);
    struct bytes npy = npy_of("|u1", false, "(2, 784)", pixels.data, pixels.len);
    add_part(&body, "Content-Type: image/x-portable-graymap\r\n", pgm.data, pgm.len);
    add_part(&body, "Content-Type: application/octet-stream\r\n", raw.data, raw.len);
    add_part(&body, "Content-Type: application/json\r\n", json.data, json.len);
    add_part(&body, "Content-Type: application/octet-stream\r\n", npy.data, npy.len);
    end_form(&body);
    expect_body(REQUEST(.content_type = FORM), body, ROW_FLOAT32, 5, true);
    assert_counted_floats(0, 1, 255);
    assert_counted_floats(1, 2, 255);
    assert_counted_floats(2, 0, 1);
    assert_counted_floats(3, 3, 255);
    assert_counted_floats(4, 3 + F, 255);
    free(pgm.data);
    free(raw.data);
    free(json.data);
    free(pixels.data);
    free(npy.data);
    tear_down();
}
END_TEST

START_TEST(input_takes_a_form_of_one_part_as_that_part_came)
{
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = FORM), form_of("", json_of(SHAPE(28, 28))), ROW_FLOAT32, 1, false);
    expect_body(REQUEST(.content_type = FORM), form_of("", json_of(SHAPE(1, 28, 28))), ROW_FLOAT32, 1, true);
    expect_body(REQUEST(.content_type = FORM), form_of("", json_of(SHAPE(3, 784))), ROW_FLOAT32, 3, true);
    tear_down();
}
END_TEST

START_TEST(input_says_which_part_of_a_form_is_wrong)
{
    set_up(SIDE, SIDE);
    struct bytes body = body_create();
    struct bytes pgm = pgm_of(28, 28, 0);
    add_part(&body, "", pgm.data, pgm.len);
    add_part(&body, "Content-Type: application/json\r\n", "[1, 2, 03]", 10);
    end_form(&body);
    refuse_body(REQUEST(.content_type = FORM), body, STATUS_INVALID, "part 2 (x): ");
    free(pgm.data);
    refuse_body(REQUEST(.content_type = FORM), form_of("Content-Type: multipart/mixed\r\n", pixels_of(9, 0)),
                STATUS_UNSUPPORTED, "part 1 (x): ");
    refuse_body(REQUEST(.content_type = FORM), form_of("", pixels_of(0, 0)), STATUS_INVALID, "part 1 (x): ");
    expect_refusal(REQUEST(.content_type = FORM), "--B--\r\n", 7, STATUS_INVALID, "");
    expect_refusal(REQUEST(.content_type = "multipart/form-data"), "--B--\r\n", 7, STATUS_INVALID, "boundary");
    tear_down();
}
END_TEST

/* ---- 2. ?dtype= ---- */

START_TEST(input_takes_a_body_with_a_dtype_as_raw_whatever_else_it_looks_like)
{
    set_up(SIDE, SIDE);
    char json[F];
    memset(json, ' ', F);
    memcpy(json, "[1, 2]", 6);
    expect(REQUEST(.content_type = "application/json", .dtype = INPUT_DTYPE_UINT8), json, F, ROW_UINT8, 1, false);
    ck_assert_mem_eq(input->set.rows, json, F);
    struct bytes picture = pixels_of(F, 0);
    memcpy(picture.data, "\x89PNG\r\n\x1a\n", 8);
    expect_body(REQUEST(.content_type = "image/png", .dtype = INPUT_DTYPE_UINT8), picture, ROW_UINT8, 1, false);
    refuse_body(REQUEST(.dtype = INPUT_DTYPE_UINT8), file_of("config/pictures/boot.png"), STATUS_INVALID,
                "dtype=uint8; expected a multiple of 784");
    tear_down();
}
END_TEST

START_TEST(input_takes_an_npy_with_a_dtype_by_its_magic)
{
    set_up(SIDE, SIDE);
    struct bytes pixels = pixels_of(F, 7);
    expect_body(REQUEST(.dtype = INPUT_DTYPE_UINT8), npy_of("|u1", false, "(784,)", pixels.data, F), ROW_UINT8, 1,
                false);
    assert_counted_pixels(0, 7);
    free(pixels.data);
    tear_down();
}
END_TEST

START_TEST(input_counts_the_rows_of_a_raw_tensor_with_a_dtype)
{
    static const float floats[3 * F] = {1, 2, 3};
    static const uint8_t bytes[3 * F] = {1, 2, 3};
    set_up(SIDE, SIDE);
    const struct request *uint8 = REQUEST(.dtype = INPUT_DTYPE_UINT8);
    const struct request *float32 = REQUEST(.dtype = INPUT_DTYPE_FLOAT32);
    expect(uint8, bytes, F, ROW_UINT8, 1, false);
    expect(uint8, bytes, 3 * F, ROW_UINT8, 3, true);
    ck_assert_mem_eq(input->set.rows, bytes, sizeof bytes);
    expect(float32, floats, sizeof(float) * F, ROW_FLOAT32, 1, false);
    expect(float32, floats, sizeof floats, ROW_FLOAT32, 3, true);
    ck_assert_mem_eq(input->set.rows, floats, sizeof floats);
    /* 3,136 bytes are four pictures where dtype says so. */
    expect(uint8, floats, sizeof(float) * F, ROW_UINT8, 4, true);
    expect_refusal(uint8, bytes, F + 1, STATUS_INVALID,
                   "785 bytes came with dtype=uint8; expected a multiple of 784");
    expect_refusal(uint8, bytes, F - 1, STATUS_INVALID, "783 bytes");
    expect_refusal(float32, floats, F, STATUS_INVALID,
                   "784 bytes came with dtype=float32; expected a multiple of 3136");
    tear_down();
}
END_TEST

/* ---- 3. content types ---- */

START_TEST(input_takes_json_by_its_content_type_even_of_a_raw_length)
{
    set_up(SIDE, SIDE);
    static const char zeros[F];
    expect_refusal(REQUEST(.content_type = "application/json"), zeros, F, STATUS_INVALID, "line 1, column 1");
    expect_body(REQUEST(.content_type = "Application/JSON; charset=utf-8"), json_of(SHAPE(784)), ROW_FLOAT32, 1,
                false);
    expect_refusal(REQUEST(.content_type = "application/json"), "P5\n1 1\n255\n0", 12, STATUS_INVALID, "line 1");
    tear_down();
}
END_TEST

START_TEST(input_takes_any_picture_for_any_image_type)
{
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = "image/jpeg"), file_of("config/pictures/boot.png"), ROW_UINT8, 1, false);
    expect_body(REQUEST(.content_type = "IMAGE/x-whatever; q=1"), pgm_of(28, 28, 0), ROW_UINT8, 1, false);
    tear_down();
}
END_TEST

/* Bytes of a kind that is read here are broken; another kind is none that is read. */
START_TEST(input_tells_broken_pictures_from_kinds_that_it_does_not_read)
{
    static const char *const read_here[] = {"image/png", "image/jpeg", "IMAGE/BMP; x=1",
                                            "image/x-portable-graymap"};
    static const char *const others[] = {"image/webp", "image/gif", "image/pngx", "image/"};
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < 4; i++) {
        refuse_body(REQUEST(.content_type = read_here[i]), json_of(SHAPE(784)), STATUS_INVALID, read_here[i]);
        refuse_body(REQUEST(.content_type = others[i]), pixels_of(F, 0), STATUS_UNSUPPORTED, others[i]);
        refuse_body(REQUEST(.content_type = others[i]), npy_of("|u1", false, "(0,)", "", 0), STATUS_UNSUPPORTED,
                    "PNG, JPEG, BMP or PNM");
    }
    tear_down();
}
END_TEST

START_TEST(input_takes_octets_of_a_raw_length_as_raw)
{
    set_up(SIDE, SIDE);
    const struct request *octets = REQUEST(.content_type = "application/octet-stream");
    char json[F];
    memset(json, ' ', F);
    memcpy(json, "[1, 2]", 6);
    expect(octets, json, F, ROW_UINT8, 1, false);
    struct bytes picture = pixels_of(F, 0);
    memcpy(picture.data, "\x89PNG\r\n\x1a\n", 8);
    expect_body(octets, picture, ROW_UINT8, 1, false);
    refuse_body(octets, json_of(SHAPE(784)), STATUS_INVALID, "raw bytes came; expected 784");
    refuse_body(octets, pixels_of(2 * F, 0), STATUS_INVALID, "1568 raw bytes came");
    ck_assert_ptr_nonnull(strstr(last_error.hint, "dtype=uint8"));
    tear_down();
}
END_TEST

/* curl -F calls what it does not know octets. */
START_TEST(input_takes_octets_with_a_signature_by_it)
{
    set_up(SIDE, SIDE);
    const struct request *octets = REQUEST(.content_type = "application/octet-stream");
    struct bytes pixels = pixels_of(F, 1);
    expect_body(octets, file_of("config/pictures/boot.png"), ROW_UINT8, 1, false);
    expect_body(octets, npy_of("|u1", false, "(28, 28)", pixels.data, F), ROW_UINT8, 1, false);
    free(pixels.data);
    tear_down();
}
END_TEST

/* curl --data-binary says application/x-www-form-urlencoded. */
START_TEST(input_passes_over_content_types_that_say_nothing)
{
    static const char *const types[] = {"",
                                        "application/x-www-form-urlencoded",
                                        "text/plain",
                                        "application/jsonx",
                                        "imagination/png",
                                        "multipart/form-database; boundary=B"};
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        expect_body(REQUEST(.content_type = types[i]), file_of("config/pictures/boot.png"), ROW_UINT8, 1, false);
        expect_body(REQUEST(.content_type = types[i]), pixels_of(F, 200), ROW_UINT8, 1, false);
        expect_body(REQUEST(.content_type = types[i]), json_of(SHAPE(784)), ROW_FLOAT32, 1, false);
    }
    tear_down();
}
END_TEST

/* ---- 4. signatures ---- */

START_TEST(input_knows_each_picture_by_its_signature)
{
    static const char *const files[] = {"config/pictures/boot.png", "config/pictures/boot.bmp",
                                        "config/pictures/boot.pgm"};
    uint8_t first[F];
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        expect_body(REQUEST(.content_type = ""), file_of(files[i]), ROW_UINT8, 1, false);
        if (i == 0)
            memcpy(first, input->set.rows, F);
        ck_assert_mem_eq(input->set.rows, first, F);
        ck_assert_ptr_null(input->sizes);
    }
    expect_body(REQUEST(.content_type = ""), file_of("config/pictures/bag-photo.jpg"), ROW_UINT8, 1, false);
    tear_down();
}
END_TEST

START_TEST(input_prefers_a_full_signature_to_a_raw_length)
{
    set_up(SIDE, SIDE);
    struct bytes png = pixels_of(F, 0), bitmap = pixels_of(F, 'B'), npy = pixels_of(4 * F, 0);
    memcpy(png.data, "\x89PNG\r\n\x1a\n", 8);
    refuse_body(REQUEST(.content_type = ""), png, STATUS_INVALID, "PNG");
    memcpy(npy.data, "\x93NUMPY", 6);
    refuse_body(REQUEST(.content_type = ""), npy, STATUS_UNSUPPORTED, "");
    /* Two letters and no size field are no BMP. */
    memcpy(bitmap.data, "BM\xFF\xFF\xFF\xFF", 6);
    expect_body(REQUEST(.content_type = ""), bitmap, ROW_UINT8, 1, false);
    tear_down();
}
END_TEST

/* ---- 5. raw lengths, 6. JSON ---- */

START_TEST(input_takes_a_raw_length_that_is_no_json_as_raw)
{
    static float floats[F];
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = ""), pixels_of(F, 0), ROW_UINT8, 1, false);
    assert_counted_pixels(0, 0);
    floats[5] = 0.5f;
    expect(REQUEST(.content_type = ""), floats, sizeof floats, ROW_FLOAT32, 1, false);
    ck_assert_mem_eq(input->set.rows, floats, sizeof floats);
    struct bytes blank = pixels_of(0, 0);
    add_text(&blank, "%784s", "");
    expect_body(REQUEST(.content_type = ""), blank, ROW_UINT8, 1, false);
    tear_down();
}
END_TEST

START_TEST(input_takes_json_of_a_raw_length_as_json)
{
    static const size_t lengths[] = {F, F * sizeof(float)};
    set_up(2, 2);
    struct bytes four = body_create(), sixteen = body_create();
    add_text(&four, "[ 1]");
    refuse_body(REQUEST(.content_type = ""), four, STATUS_INVALID, "shape (1,)");
    add_text(&sixteen, "[1,2, 3,  4.5]  ");
    expect_body(REQUEST(.content_type = ""), sixteen, ROW_FLOAT32, 1, false);
    ck_assert_float_eq(floats_of_row(0)[3], 4.5f);
    tear_down();
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < 2; i++) {
        struct bytes body = body_create();
        add_text(&body, "{\"inputs\": [1, 2, 3]}");
        add_text(&body, "%*s", (int)(lengths[i] - body.len), "");
        ck_assert_uint_eq(body.len, lengths[i]);
        refuse_body(REQUEST(.content_type = ""), body, STATUS_INVALID, "shape (3,)");
    }
    tear_down();
}
END_TEST

START_TEST(input_names_all_that_a_body_could_have_been)
{
    static const char *const names[] = {"PNG", "JPEG", "BMP", "PNM", ".npy", "784", "3136", "JSON"};
    static const char *const bodies[] = {"GIF89a", "\xFF\xFE\x01", "hello", "[1, 2", "<html>"};
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        expect_refusal(REQUEST(.content_type = ""), bodies[i], strlen(bodies[i]), STATUS_INVALID, "");
        for (size_t n = 0; n < sizeof names / sizeof *names; n++)
            ck_assert_msg(strstr(last_error.message, names[n]) || strstr(last_error.hint, names[n]),
                          "%s is not in: %s; %s", names[n], last_error.message, last_error.hint);
    }
    tear_down();
}
END_TEST

START_TEST(input_says_of_json_that_is_well_formed_what_is_wrong_with_it)
{
    set_up(SIDE, SIDE);
    expect_refusal(REQUEST(.content_type = ""), "[[1, 2], [3]]", 13, STATUS_INVALID, "row 1 has 1 number");
    ck_assert_ptr_null(strstr(last_error.hint, "PNG"));
    expect_refusal(REQUEST(.content_type = ""), "{\"input\": []}", 13, STATUS_INVALID, "unknown key");
    ck_assert_ptr_null(strstr(last_error.hint, "PNG"));
    tear_down();
}
END_TEST

START_TEST(input_refuses_an_empty_body)
{
    static const char *const types[] = {"", "application/json", "image/png", "application/octet-stream", FORM};
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        expect_refusal(REQUEST(.content_type = types[i]), "", 0, STATUS_INVALID, "empty");
    expect_refusal(REQUEST(.dtype = INPUT_DTYPE_UINT8), "", 0, STATUS_INVALID, "empty");
    tear_down();
}
END_TEST

/* ---- shapes ---- */

START_TEST(input_takes_each_shape_of_json_and_knows_its_batch_axis)
{
    set_up(SIDE, SIDE);
    const struct request *any = REQUEST(.content_type = "");
    expect_body(any, json_of(SHAPE(784)), ROW_FLOAT32, 1, false);
    assert_counted_floats(0, 0, 1);
    expect_body(any, json_of(SHAPE(28, 28)), ROW_FLOAT32, 1, false);
    assert_counted_floats(0, 0, 1);
    expect_body(any, json_of(SHAPE(1, 784)), ROW_FLOAT32, 1, true);
    expect_body(any, json_of(SHAPE(3, 784)), ROW_FLOAT32, 3, true);
    expect_body(any, json_of(SHAPE(2, 28, 28)), ROW_FLOAT32, 2, true);
    expect_body(any, json_of(SHAPE(1, 1, 28, 28)), ROW_FLOAT32, 1, true);
    expect_body(any, json_of(SHAPE(3, 1, 28, 28)), ROW_FLOAT32, 3, true);
    for (size_t i = 0; i < 3; i++)
        assert_counted_floats(i, i * F, 1);
    tear_down();
}
END_TEST

START_TEST(input_refuses_other_shapes_with_what_came_and_what_is_expected)
{
    static const char *const expected = "expected (28, 28) or (784,) for one row, (N, 28, 28), (N, 784) or "
                                        "(N, 1, 28, 28) for N";
    set_up(SIDE, SIDE);
    const struct request *any = REQUEST(.content_type = "");
    refuse_body(any, json_of(SHAPE(783)), STATUS_INVALID, "shape (783,) came");
    ck_assert_ptr_nonnull(strstr(last_error.message, expected));
    refuse_body(any, json_of(SHAPE(28, 29)), STATUS_INVALID, "shape (28, 29) came");
    refuse_body(any, json_of(SHAPE(2, 783)), STATUS_INVALID, "shape (2, 783) came");
    refuse_body(any, json_of(SHAPE(1, 28, 28, 1)), STATUS_INVALID, "shape (1, 28, 28, 1) came");
    refuse_body(any, json_of(SHAPE(1, 3, 28, 28)), STATUS_INVALID, "shape (1, 3, 28, 28) came");
    refuse_body(any, json_of(SHAPE(1, 1, 1, 28, 28)), STATUS_INVALID, "shape (1, 1, 1, 28, 28) came");
    expect_refusal(any, "5", 1, STATUS_INVALID, "shape () came");
    expect_refusal(any, "[]", 2, STATUS_INVALID, "");
    tear_down();
}
END_TEST

START_TEST(input_tells_width_from_height)
{
    set_up(4, 2);
    expect_body(REQUEST(.content_type = ""), json_of(SHAPE(2, 4)), ROW_FLOAT32, 1, false);
    refuse_body(REQUEST(.content_type = ""), json_of(SHAPE(4, 2)), STATUS_INVALID, "(4, 2)");
    expect_body(REQUEST(.content_type = ""), pgm_of(4, 2, 9), ROW_UINT8, 1, false);
    ck_assert_ptr_null(input->sizes);
    assert_counted_pixels(0, 9);
    tear_down();
}
END_TEST

START_TEST(input_takes_rows_of_a_model_that_has_no_pictures)
{
    model = fixture_rows(5, 2);
    input = input_create(&model);
    const struct request *any = REQUEST(.content_type = "");
    expect_body(any, json_of(SHAPE(5)), ROW_FLOAT32, 1, false);
    expect_body(any, json_of(SHAPE(2, 5)), ROW_FLOAT32, 2, true);
    expect(any, "\1\2\3\4\5", 5, ROW_UINT8, 1, false);
    refuse_body(any, json_of(SHAPE(6)), STATUS_INVALID, "expected (5,) for one row, (N, 5) for N");
    refuse_body(any, file_of("config/pictures/boot.png"), STATUS_INVALID, "this model takes rows of 5 numbers");
    refuse_body(any, json_of(SHAPE(1, 0)), STATUS_INVALID, "");
    tear_down();
}
END_TEST

/* ---- JSON ---- */

START_TEST(input_scales_json_only_where_it_says_that_it_is_uint8)
{
    set_up(2, 1);
    static const char scaled[] = "{\"dtype\": \"uint8\", \"instances\": [[0, 51], [255, 1]]}";
    static const char plain[] = "{\"inputs\": [51, 2.5]}";
    expect(REQUEST(.content_type = ""), scaled, strlen(scaled), ROW_FLOAT32, 2, true);
    ck_assert_float_eq(floats_of_row(0)[1], 51 / 255.0f);
    ck_assert_float_eq(floats_of_row(1)[0], 1);
    ck_assert_float_eq(floats_of_row(1)[1], 1 / 255.0f);
    expect(REQUEST(.content_type = ""), plain, strlen(plain), ROW_FLOAT32, 1, false);
    ck_assert_float_eq(floats_of_row(0)[0], 51);
    expect_refusal(REQUEST(.content_type = ""), "{\"dtype\":\"uint8\",\"inputs\":[1,256]}", 34, STATUS_INVALID,
                   "256");
    tear_down();
}
END_TEST

START_TEST(input_reads_pictures_in_base64)
{
    set_up(SIDE, SIDE);
    struct bytes one = body_create(), list = body_create(), object = body_create();
    struct bytes first = pgm_of(28, 28, 1), second = pgm_of(28, 28, 2);
    add_text(&one, "\"");
    add_base64(&one, &first);
    add_text(&one, "\"");
    add_text(&list, "[%.*s, \"", (int)one.len, one.data);
    add_base64(&list, &second);
    add_text(&list, "\"]");
    add_text(&object, "{\"instances\": [%.*s]}", (int)one.len, one.data);
    expect_body(REQUEST(.content_type = ""), one, ROW_UINT8, 1, false);
    assert_counted_pixels(0, 1);
    expect_body(REQUEST(.content_type = ""), list, ROW_UINT8, 2, true);
    assert_counted_pixels(0, 1);
    assert_counted_pixels(1, 2);
    expect_body(REQUEST(.content_type = "application/json"), object, ROW_UINT8, 1, true);
    free(first.data);
    free(second.data);
    tear_down();
}
END_TEST

START_TEST(input_refuses_strings_that_are_no_pictures)
{
    set_up(SIDE, SIDE);
    const struct request *any = REQUEST(.content_type = "");
    expect_refusal(any, "\"\"", 2, STATUS_INVALID, "string 0: ");
    expect_refusal(any, "\"AAAA\"", 6, STATUS_INVALID, "string 0: it is 3 bytes");
    expect_refusal(any, "[\"A*\"]", 6, STATUS_INVALID, "string 0: ");
    expect_refusal(any, "[[\"AAAA\"]]", 10, STATUS_INVALID, "2 arrays deep");
    tear_down();
}
END_TEST

/* ---- .npy ---- */

START_TEST(input_takes_each_shape_of_an_npy)
{
    static const struct {
        const char *shape;
        size_t rows;
        bool batched;
    } cases[] = {
        {"(28, 28)", 1, false}, {"(784,)", 1, false},        {"(2, 28, 28)", 2, true},
        {"(1, 784)", 1, true},  {"(2, 1, 28, 28)", 2, true}, {"(1, 28, 28)", 1, true},
    };
    set_up(SIDE, SIDE);
    struct bytes pixels = pixels_of(2 * F, 9);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_body(REQUEST(.content_type = ""),
                    npy_of("|u1", false, cases[i].shape, pixels.data, cases[i].rows * F), ROW_UINT8, cases[i].rows,
                    cases[i].batched);
        for (size_t row = 0; row < cases[i].rows; row++)
            assert_counted_pixels(row, 9 + row * F);
    }
    refuse_body(REQUEST(.content_type = ""), npy_of("|u1", false, "(0, 784)", "", 0), STATUS_INVALID,
                "shape (0, 784) came");
    refuse_body(REQUEST(.content_type = ""), npy_of("|u1", false, "(783,)", pixels.data, 783), STATUS_INVALID,
                "shape (783,) came");
    free(pixels.data);
    tear_down();
}
END_TEST

START_TEST(input_takes_each_dtype_and_order_of_an_npy)
{
    static const double doubles[4] = {1.5, -2, 0.1, 4};
    static const float floats[4] = {1.5f, -2, 0.1f, 4};
    static const uint16_t halves[4] = {0x3E00, 0xC000, 0x2E66, 0x4400};
    set_up(2, 2);
    const struct request *any = REQUEST(.content_type = "");
    expect_body(any, npy_of("<f8", false, "(2, 2)", doubles, sizeof doubles), ROW_FLOAT32, 1, false);
    ck_assert_mem_eq(input->set.rows, floats, sizeof floats);
    expect_body(any, npy_of("<f4", false, "(1, 4)", floats, sizeof floats), ROW_FLOAT32, 1, true);
    ck_assert_mem_eq(input->set.rows, floats, sizeof floats);
    expect_body(any, npy_of("<f2", false, "(4,)", halves, sizeof halves), ROW_FLOAT32, 1, false);
    ck_assert_float_eq(floats_of_row(0)[1], -2);
    expect_body(any, npy_of("<f4", true, "(2, 2)", floats, sizeof floats), ROW_FLOAT32, 1, false);
    ck_assert_mem_eq(input->set.rows, ((const float[]){1.5f, 0.1f, -2, 4}), sizeof floats);
    expect_body(any, npy_of("|u1", true, "(2, 2)", "\1\2\3\4", 4), ROW_UINT8, 1, false);
    ck_assert_mem_eq(input->set.rows, "\1\3\2\4", 4);
    refuse_body(any, npy_of("<i4", false, "(4,)", floats, sizeof floats), STATUS_UNSUPPORTED, "");
    tear_down();
}
END_TEST

/* ---- memory ---- */

START_TEST(input_leaves_raw_rows_where_they_lie)
{
    static float floats[2 * F];
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = ""), pixels_of(F, 0), ROW_UINT8, 1, false);
    ck_assert_ptr_eq(input->set.rows, last_body);
    expect(REQUEST(.dtype = INPUT_DTYPE_FLOAT32), floats, sizeof floats, ROW_FLOAT32, 2, true);
    ck_assert_ptr_eq(input->set.rows, last_body);
    expect_body(REQUEST(.content_type = ""), npy_of("<f4", false, "(2, 784)", floats, sizeof floats), ROW_FLOAT32,
                2, true);
    ck_assert_ptr_eq(input->set.rows, last_body + 128);
    tear_down();
}
END_TEST

START_TEST(input_copies_floats_that_are_not_aligned)
{
    static float floats[F];
    fixture_fill(floats, F, 1);
    set_up(SIDE, SIDE);
    char *shifted = malloc(sizeof floats + 2);
    memcpy(shifted + 1, floats, sizeof floats);
    shifted[sizeof floats + 1] = '\0';
    ck_assert_int_eq(read_at(REQUEST(.dtype = INPUT_DTYPE_FLOAT32), shifted + 1, sizeof floats), STATUS_OK);
    ck_assert_uint_eq((uintptr_t)input->set.rows % sizeof(float), 0);
    ck_assert_mem_eq(input->set.rows, floats, sizeof floats);
    free(shifted);
    tear_down();
}
END_TEST

static void read_one_of_many(size_t i)
{
    static const char *const refused[] = {"[1, 2", "\x89PNG\r\n\x1a\n", "{\"inputs\": [\"AA\"]}",
                                          "P5\n9 9\n255\nx"};
    switch (i % 6) {
    case 0:
        expect_body(REQUEST(.rows_max = 64), json_of(SHAPE(1 + i % 40, 784)), ROW_FLOAT32, 1 + i % 40, true);
        break;
    case 1: expect_body(REQUEST(.rows_max = 1), pgm_of(20 + i % 30, 31, i), ROW_UINT8, 1, false); break;
    case 2:
        expect_body(REQUEST(.content_type = FORM), form_of("", json_of(SHAPE(28, 28))), ROW_FLOAT32, 1, false);
        break;
    case 3: expect_body(REQUEST(.content_type = FORM), form_of("", pgm_of(9, 9, 0)), ROW_UINT8, 1, false); break;
    case 4: expect_body(REQUEST(.content_type = ""), pixels_of(F, i), ROW_UINT8, 1, false); break;
    case 5:
        ck_assert_int_ne(read_bytes(REQUEST(.content_type = ""), refused[i / 6 % 4], strlen(refused[i / 6 % 4])),
                         STATUS_OK);
        break;
    }
}

/* The address sanitizer sees what is used after a reset or never freed. */
START_TEST(input_serves_request_after_request)
{
    set_up(SIDE, SIDE);
    for (size_t i = 0; i < 300; i++)
        read_one_of_many(i);
    tear_down();
}
END_TEST

START_TEST(input_forgets_everything_at_a_reset)
{
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.content_type = ""), pgm_of(10, 10, 0), ROW_UINT8, 1, false);
    ck_assert_ptr_nonnull(input->sizes);
    expect_body(REQUEST(.content_type = ""), json_of(SHAPE(3, 784)), ROW_FLOAT32, 3, true);
    ck_assert_ptr_null(input->sizes);
    input_reset(input);
    ck_assert_uint_eq(input->set.count, 0);
    ck_assert_ptr_null(input->set.rows);
    ck_assert(!input->batched);
    expect_body(REQUEST(.content_type = ""), pgm_of(28, 28, 0), ROW_UINT8, 1, false);
    input_reset(NULL);
    input_free(NULL);
    tear_down();
}
END_TEST

/* ---- pictures of another size ---- */

START_TEST(input_tells_the_sizes_of_pictures_that_were_resized)
{
    static const struct {
        size_t width, height;
    } sizes[] = {{28, 28}, {30, 20}, {28, 28}, {1, 1}, {28, 27}};
    set_up(SIDE, SIDE);
    struct bytes body = body_create();
    for (size_t i = 0; i < 5; i++) {
        struct bytes pgm = pgm_of(sizes[i].width, sizes[i].height, i);
        add_part(&body, "", pgm.data, pgm.len);
        free(pgm.data);
    }
    end_form(&body);
    expect_body(REQUEST(.content_type = FORM), body, ROW_UINT8, 5, true);
    ck_assert_ptr_nonnull(input->sizes);
    for (size_t i = 0; i < 5; i++) {
        bool resized = sizes[i].width != 28 || sizes[i].height != 28;
        ck_assert_uint_eq(input->sizes[i].width, resized ? sizes[i].width : 0);
        ck_assert_uint_eq(input->sizes[i].height, resized ? sizes[i].height : 0);
    }
    tear_down();
}
END_TEST

START_TEST(input_refuses_another_size_where_it_was_told_to)
{
    set_up(SIDE, SIDE);
    refuse_body(REQUEST(.refuse_resize = true), pgm_of(30, 20, 0), STATUS_INVALID, "30x20");
    expect_body(REQUEST(.refuse_resize = true), pgm_of(28, 28, 0), ROW_UINT8, 1, false);
    tear_down();
}
END_TEST

START_TEST(input_inverts_pictures_and_nothing_else)
{
    set_up(SIDE, SIDE);
    expect_body(REQUEST(.invert = true), pgm_of(28, 28, 0), ROW_UINT8, 1, false);
    for (size_t i = 0; i < F; i++)
        ck_assert_uint_eq(pixels_of_row(0)[i], (uint8_t)(255 - i));
    expect_body(REQUEST(.invert = true), pixels_of(F, 0), ROW_UINT8, 1, false);
    assert_counted_pixels(0, 0);
    tear_down();
}
END_TEST

/* ---- limits ---- */

START_TEST(input_refuses_more_rows_than_allowed_in_every_form)
{
    set_up(SIDE, SIDE);
    struct bytes pixels = pixels_of(5 * F, 0), list = body_create(), form = body_create(), pgm = pgm_of(28, 28, 0);
    expect_refusal(REQUEST(.dtype = INPUT_DTYPE_UINT8, .rows_max = 4), pixels.data, 5 * F, STATUS_TOO_LARGE,
                   "5 rows in one request, at most 4 are taken");
    expect(REQUEST(.dtype = INPUT_DTYPE_UINT8, .rows_max = 5), pixels.data, 5 * F, ROW_UINT8, 5, true);
    refuse_body(REQUEST(.rows_max = 4), npy_of("|u1", false, "(5, 784)", pixels.data, 5 * F), STATUS_TOO_LARGE,
                "5 rows");
    refuse_body(REQUEST(.rows_max = 4), npy_of("|u1", true, "(5, 784)", pixels.data, 5 * F), STATUS_TOO_LARGE,
                "5 rows");
    refuse_body(REQUEST(.rows_max = 2), json_of(SHAPE(3, 784)), STATUS_TOO_LARGE,
                "more than 2 rows of 784 numbers");
    expect_body(REQUEST(.rows_max = 3), json_of(SHAPE(3, 784)), ROW_FLOAT32, 3, true);
    for (size_t i = 0; i < 3; i++) {
        add_text(&list, i ? ",\"" : "[\"");
        add_base64(&list, &pgm);
        add_text(&list, "\"");
        add_part(&form, "", pgm.data, pgm.len);
    }
    add_text(&list, "]");
    end_form(&form);
    expect(REQUEST(.rows_max = 3), list.data, list.len, ROW_UINT8, 3, true);
    expect(REQUEST(.content_type = FORM, .rows_max = 3), form.data, form.len, ROW_UINT8, 3, true);
    refuse_body(REQUEST(.rows_max = 2), list, STATUS_TOO_LARGE, "");
    refuse_body(REQUEST(.content_type = FORM, .rows_max = 2), form, STATUS_TOO_LARGE,
                "part 3 (x): 3 rows in one request, at most 2");
    free(pixels.data);
    free(pgm.data);
    tear_down();
}
END_TEST

START_TEST(input_refuses_a_picture_of_too_many_pixels)
{
    set_up(SIDE, SIDE);
    struct bytes pgm = pgm_of(28, 28, 0);
    const struct input_options options = {.content_type = "", .rows_max = 8, .pixels_max = 783};
    struct error err = {0};
    ck_assert_int_eq(input_read(input, &options, pgm.data, pgm.len, &err), STATUS_TOO_LARGE);
    ck_assert_str_ne(err.message, "");
    ck_assert_str_ne(err.hint, "");
    free(pgm.data);
    tear_down();
}
END_TEST

START_TEST(input_refuses_what_is_no_number_with_its_row_and_index)
{
    static float floats[3 * F];
    static double doubles[3 * F];
    set_up(SIDE, SIDE);
    const struct request *raw = REQUEST(.dtype = INPUT_DTYPE_FLOAT32);
    floats[F + 5] = NAN;
    floats[2 * F] = INFINITY;
    expect_refusal(raw, floats, sizeof floats, STATUS_INVALID, "row 1, index 5 is NaN");
    floats[F + 5] = 0;
    expect_refusal(raw, floats, sizeof floats, STATUS_INVALID, "row 2, index 0 is infinity");
    floats[2 * F] = 0;
    floats[783] = -INFINITY;
    expect_refusal(raw, floats, sizeof floats, STATUS_INVALID, "row 0, index 783 is -infinity");
    expect_refusal(REQUEST(.content_type = ""), floats, F * sizeof(float), STATUS_INVALID, "row 0, index 783");
    doubles[F + 1] = NAN;
    refuse_body(REQUEST(.content_type = ""), npy_of("<f8", false, "(3, 784)", doubles, sizeof doubles),
                STATUS_INVALID, "row 1, index 1 is NaN");
    struct bytes form = body_create(), npy = npy_of("<f4", false, "(784,)", floats, F * sizeof(float));
    struct bytes pgm = pgm_of(28, 28, 0);
    add_part(&form, "", pgm.data, pgm.len);
    add_part(&form, "", npy.data, npy.len);
    end_form(&form);
    refuse_body(REQUEST(.content_type = FORM), form, STATUS_INVALID, "row 1, index 783 is -infinity");
    free(npy.data);
    free(pgm.data);
    tear_down();
}
END_TEST

START_TEST(input_takes_the_largest_floats_there_are)
{
    static float floats[F];
    set_up(SIDE, SIDE);
    floats[0] = 3.4028235e+38f;
    floats[1] = -3.4028235e+38f;
    expect(REQUEST(.content_type = ""), floats, sizeof floats, ROW_FLOAT32, 1, false);
    tear_down();
}
END_TEST

/* ---- several channels ---- */

static void set_up_planes(size_t channels, size_t width, size_t height)
{
    set_up(width, height);
    input_free(input);
    model.channels = channels;
    model.in_features = channels * width * height;
    for (size_t c = 0; c < channels; c++)
        for (size_t b = 0; b < 256; b++)
            model.channel_scale[c][b] = (float)(1000 * c + b);
    input = input_create(&model);
    ck_assert_ptr_nonnull(input);
}

START_TEST(input_takes_each_shape_of_planes_and_knows_its_batch_axis)
{
    set_up_planes(3, 2, 4);
    expect_body(REQUEST(0), json_of(SHAPE(24)), ROW_FLOAT32, 1, false);
    expect_body(REQUEST(0), json_of(SHAPE(3, 4, 2)), ROW_FLOAT32, 1, false);
    expect_body(REQUEST(0), json_of(SHAPE(2, 24)), ROW_FLOAT32, 2, true);
    expect_body(REQUEST(0), json_of(SHAPE(1, 3, 4, 2)), ROW_FLOAT32, 1, true);
    expect_body(REQUEST(0), json_of(SHAPE(5, 3, 4, 2)), ROW_FLOAT32, 5, true);
    tear_down();
}
END_TEST

START_TEST(input_refuses_other_shapes_of_planes_with_the_mend)
{
    set_up_planes(3, 2, 4);
    refuse_body(REQUEST(0), json_of(SHAPE(4, 2)), STATUS_INVALID, "expected (3, 4, 2) or (24,) for one row");
    refuse_body(REQUEST(0), json_of(SHAPE(3, 2, 4)), STATUS_INVALID, "(N, 3, 4, 2) or (N, 24) for N");
    refuse_body(REQUEST(0), json_of(SHAPE(2, 1, 4, 2)), STATUS_INVALID, "(2, 1, 4, 2) came");
    refuse_body(REQUEST(0), json_of(SHAPE(4, 2, 3)), STATUS_INVALID, "(4, 2, 3) came");
    ck_assert_ptr_nonnull(strstr(last_error.hint, "x.transpose(2, 0, 1)"));
    refuse_body(REQUEST(0), json_of(SHAPE(2, 4, 2, 3)), STATUS_INVALID, "came");
    ck_assert_ptr_nonnull(strstr(last_error.hint, "x.transpose(0, 3, 1, 2)"));
    tear_down();
}
END_TEST

START_TEST(input_scales_json_of_planes_channel_by_channel)
{
    set_up_planes(3, 2, 1);
    static const char body[] = "{\"dtype\":\"uint8\",\"inputs\":[[1,2,3,4,5,6],[7,8,9,10,11,12]]}";
    expect(REQUEST(0), body, sizeof body - 1, ROW_FLOAT32, 2, true);
    static const float expected[] = {1, 2, 1003, 1004, 2005, 2006, 7, 8, 1009, 1010, 2011, 2012};
    ck_assert_mem_eq(floats_of_row(0), expected, sizeof expected);
    tear_down();
}
END_TEST

START_TEST(input_makes_planes_of_a_picture_for_three_channels_and_refuses_it_for_other_numbers)
{
    static const char ppm[] = "P6 2 1 255 abcdef";
    set_up_planes(3, 2, 1);
    expect(REQUEST(0), ppm, sizeof ppm - 1, ROW_UINT8, 1, false);
    ck_assert_mem_eq(pixels_of_row(0), "adbecf", 6);
    tear_down();
    set_up_planes(2, 2, 1);
    expect_refusal(REQUEST(0), ppm, sizeof ppm - 1, STATUS_INVALID, "takes 2 channels of 2x1");
    ck_assert_ptr_nonnull(strstr(last_error.hint, "(2, 1, 2)"));
    tear_down();
}
END_TEST

UNIT_MAIN("server/input", input_reads_a_form_by_its_content_type_before_all_else,
          input_reads_the_parts_of_a_form_in_order, input_mixes_pictures_raw_tensors_npy_and_json_in_one_form,
          input_takes_a_form_of_one_part_as_that_part_came, input_says_which_part_of_a_form_is_wrong,
          input_takes_a_body_with_a_dtype_as_raw_whatever_else_it_looks_like,
          input_takes_an_npy_with_a_dtype_by_its_magic, input_counts_the_rows_of_a_raw_tensor_with_a_dtype,
          input_takes_json_by_its_content_type_even_of_a_raw_length, input_takes_any_picture_for_any_image_type,
          input_tells_broken_pictures_from_kinds_that_it_does_not_read, input_takes_octets_of_a_raw_length_as_raw,
          input_takes_octets_with_a_signature_by_it, input_passes_over_content_types_that_say_nothing,
          input_knows_each_picture_by_its_signature, input_prefers_a_full_signature_to_a_raw_length,
          input_takes_a_raw_length_that_is_no_json_as_raw, input_takes_json_of_a_raw_length_as_json,
          input_names_all_that_a_body_could_have_been, input_says_of_json_that_is_well_formed_what_is_wrong_with_it,
          input_refuses_an_empty_body, input_takes_each_shape_of_json_and_knows_its_batch_axis,
          input_refuses_other_shapes_with_what_came_and_what_is_expected, input_tells_width_from_height,
          input_takes_rows_of_a_model_that_has_no_pictures, input_scales_json_only_where_it_says_that_it_is_uint8,
          input_reads_pictures_in_base64, input_refuses_strings_that_are_no_pictures,
          input_takes_each_shape_of_an_npy, input_takes_each_dtype_and_order_of_an_npy,
          input_leaves_raw_rows_where_they_lie, input_copies_floats_that_are_not_aligned,
          input_serves_request_after_request, input_forgets_everything_at_a_reset,
          input_tells_the_sizes_of_pictures_that_were_resized, input_refuses_another_size_where_it_was_told_to,
          input_inverts_pictures_and_nothing_else, input_refuses_more_rows_than_allowed_in_every_form,
          input_refuses_a_picture_of_too_many_pixels, input_refuses_what_is_no_number_with_its_row_and_index,
          input_takes_the_largest_floats_there_are, input_takes_each_shape_of_planes_and_knows_its_batch_axis,
          input_refuses_other_shapes_of_planes_with_the_mend, input_scales_json_of_planes_channel_by_channel,
          input_makes_planes_of_a_picture_for_three_channels_and_refuses_it_for_other_numbers)
