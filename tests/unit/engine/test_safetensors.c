#include "engine/safetensors.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/engine/folder.h"

/* Parses a file made of this header and `data_len` bytes of data (0, 1, 2, ... as floats). */
static enum status parse(const char *header, size_t data_len, struct state_dict **ret, struct error *err)
{
    float data[16];
    size_t len;
    for (int i = 0; i < 16; i++)
        data[i] = (float)i;
    ck_assert_uint_le(data_len, sizeof data);
    char *bytes = safetensors_bytes(header, data, data_len, &len);
    enum status status = safetensors_parse(bytes, len, ret, err);
    free(bytes);
    return status;
}

static struct state_dict *accepted(const char *header, size_t data_len)
{
    struct error err;
    struct state_dict *dict = NULL;
    enum status status = parse(header, data_len, &dict, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return dict;
}

static void refused_as(enum status expected, const char *header, size_t data_len, const char *what)
{
    struct error err;
    struct state_dict *dict = NULL;
    ck_assert_int_eq(parse(header, data_len, &dict, &err), expected);
    ck_assert_ptr_null(dict);
    ck_assert_int_eq(err.status, expected);
    ck_assert_msg(strstr(err.message, what) != NULL, "\"%s\" has no \"%s\"", err.message, what);
    ck_assert_str_ne(err.hint, "");
}

static void refused(const char *header, size_t data_len, const char *what)
{
    refused_as(STATUS_INVALID, header, data_len, what);
}

START_TEST(safetensors_gives_tensors_in_the_order_of_the_header)
{
    struct state_dict *dict = accepted("{\"__metadata__\":{\"format\":\"pt\"},"
                                       "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                                       "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
                                       32);
    ck_assert_uint_eq(dict->count, 2);
    ck_assert_str_eq(dict->tensors[0].name, "b");
    ck_assert_str_eq(dict->tensors[0].dtype, "torch.float32");
    ck_assert_uint_eq(dict->tensors[0].dims, 2);
    ck_assert_uint_eq(dict->tensors[0].shape[1], 3);
    ck_assert_uint_eq(dict->tensors[0].count, 6);
    ck_assert_float_eq(dict->tensors[0].data[0], 2.0f);
    ck_assert_float_eq(dict->tensors[0].data[5], 7.0f);
    ck_assert_float_eq(state_dict_find(dict, "a")->data[1], 1.0f);
    ck_assert_ptr_null(state_dict_find(dict, "c"));
    state_dict_free(dict);
}
END_TEST

START_TEST(safetensors_aligns_floats_that_lie_unaligned_in_the_file)
{
    static const char *const headers[] = {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                                          "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}} ",
                                          "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  "};
    for (size_t i = 0; i < 3; i++) {
        struct state_dict *dict = accepted(headers[i], 4);
        ck_assert_uint_eq((uintptr_t)dict->tensors[0].data % 64, 0);
        state_dict_free(dict);
    }
}
END_TEST

START_TEST(safetensors_takes_scalars_empty_tensors_and_an_empty_file)
{
    struct state_dict *dict = accepted("{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                       "\"e\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[4,4]}}",
                                       4);
    ck_assert_uint_eq(state_dict_find(dict, "s")->dims, 0);
    ck_assert_uint_eq(state_dict_find(dict, "s")->count, 1);
    ck_assert_uint_eq(state_dict_find(dict, "e")->count, 0);
    state_dict_free(dict);
    dict = accepted("{}", 0);
    ck_assert_uint_eq(dict->count, 0);
    ck_assert_ptr_null(state_dict_find(dict, "s"));
    state_dict_free(dict);
}
END_TEST

/* The bytes alone, the header's length in them. */
static void refused_bytes(uint64_t header_len, const char *rest, size_t len, const char *what)
{
    struct error err;
    struct state_dict *dict = NULL;
    char bytes[64];
    memcpy(bytes, &header_len, 8);
    memcpy(bytes + 8, rest, strlen(rest));
    char *copy = malloc(len ? len : 1); /* of this length exactly, so that a sanitizer sees a step beyond it */
    memcpy(copy, bytes, len);
    ck_assert_int_eq(safetensors_parse(copy, len, &dict, &err), STATUS_INVALID);
    ck_assert_ptr_null(dict);
    ck_assert_msg(strstr(err.message, what) != NULL, "\"%s\" has no \"%s\"", err.message, what);
    free(copy);
}

START_TEST(safetensors_refuses_files_that_are_too_short_for_their_header)
{
    refused_bytes(0, "", 0, "the file has 0 bytes");
    refused_bytes(2, "", 7, "the file has 7 bytes");
    refused_bytes(2, "", 8, "the file is cut: its header has 2 bytes, 0 are there");
    refused_bytes(3, "{}", 10, "the file is cut: its header has 3 bytes, 2 are there");
    refused_bytes(0, "", 8, "its header has 0 bytes");
    refused_bytes(1, "{", 9, "its header has 1 bytes");
    refused_bytes(UINT64_MAX, "{}", 10, "its header would have 18446744073709551615 bytes");
    refused_bytes(100000001, "{}", 10, "its header would have 100000001 bytes, at most 100000000 are allowed");
    refused_bytes(2, "[]", 10, "its header does not begin with \"{\"");
    refused_bytes(3, " {}", 11, "its header does not begin with \"{\"");
}
END_TEST

START_TEST(safetensors_refuses_a_header_that_is_no_json_object)
{
    refused("{\"a\":1,", 0, "header: line 1");
    refused("{\"a\"", 0, "header: line 1");
    refused("{} {}", 0, "column 4: something follows the object");
    refused("{}}", 0, "column 3: something follows");
    refused("{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "NUL");
    refused("{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "control characters");
    refused("{\"\xFF\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "broken UTF-8");
    refused("{\"a\":3}", 0, "tensor \"a\": its entry is a number, an object was expected");
    refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__ must be an object of strings");
    refused("{\"__metadata__\":[\"a\"]}", 0, "__metadata__ must be an object of strings");
    refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ stands twice");
}
END_TEST

START_TEST(safetensors_refuses_entries_with_missing_unknown_or_repeated_keys)
{
    refused("{\"a\":{}}", 0, "tensor \"a\": dtype is missing");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor \"a\": data_offsets is missing");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "each once");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"shape\":[1]}}", 4, "each once");
    refused("{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is a number");
}
END_TEST

/* torch.save keeps how many batches a BatchNorm1d has seen, the one integer of a state dict. */
START_TEST(safetensors_reads_the_counter_of_a_batch_norm)
{
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]},"
        "\"b.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}";
    const struct {
        int64_t counter;
        float a;
    } data = {123456, 2.5F};
    size_t len;
    struct state_dict *dict = NULL;
    char *bytes = safetensors_bytes(header, &data, 12, &len);
    ck_assert_int_eq(safetensors_parse(bytes, len, &dict, NULL), STATUS_OK);
    const struct tensor *counter = state_dict_find(dict, "b.num_batches_tracked");
    ck_assert_str_eq(counter->dtype, "torch.int64");
    ck_assert_float_eq(counter->data[0], 123456);
    ck_assert_float_eq(state_dict_find(dict, "a")->data[0], 2.5F);
    state_dict_free(dict);
    free(bytes);
}
END_TEST

START_TEST(safetensors_refuses_other_dtypes_by_name)
{
    refused_as(STATUS_UNSUPPORTED, "{\"a\":{\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8,
               "tensor \"a\": its dtype is C64; these are read: F32, F16, BF16, F64");
    refused_as(STATUS_UNSUPPORTED, "{\"a\":{\"dtype\":\"\xFF\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
               "its dtype is no name of one");
    struct error err;
    struct state_dict *dict;
    parse("{\"a\":{\"dtype\":\"F8_E8M0\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, &dict, &err);
    ck_assert_ptr_nonnull(strstr(err.hint, ".float()"));
}
END_TEST

/* The tensors of all types in one file, each of a length of its own, so that none is aligned by chance. */
START_TEST(safetensors_makes_floats_of_other_dtypes)
{
    static const char header[] = "{\"e\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                                 "\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[3,7]},"
                                 "\"d\":{\"dtype\":\"F64\",\"shape\":[1,2],\"data_offsets\":[7,23]},"
                                 "\"f\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[23,27]},"
                                 "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[27,31]},"
                                 "\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[31,39]}}";
    unsigned char data[39] = {0, 1, 255, 0x00, 0x3C, 0x01, 0x80};
    const double doubles[] = {0.1, -1e300};
    const float single = 1.5f;
    const int64_t whole = -3;
    memcpy(data + 7, doubles, 16);
    memcpy(data + 23, &single, 4);
    memcpy(data + 27, (unsigned char[]){0x80, 0x3F, 0x20, 0xC1}, 4);
    memcpy(data + 31, &whole, 8);
    size_t len;
    struct error err = {0};
    struct state_dict *dict = NULL;
    char *bytes = safetensors_bytes(header, data, sizeof data, &len);
    ck_assert_msg(safetensors_parse(bytes, len, &dict, &err) == STATUS_OK, "%s", err.message);
    free(bytes);
    ck_assert_float_eq(state_dict_find(dict, "e")->data[2], 255.0f);
    ck_assert_str_eq(state_dict_find(dict, "h")->dtype, "torch.float16");
    ck_assert_float_eq(state_dict_find(dict, "h")->data[0], 1.0f);
    ck_assert_float_eq(state_dict_find(dict, "h")->data[1], -0x1p-24f);
    ck_assert_float_eq(state_dict_find(dict, "d")->data[0], 0.1f);
    ck_assert(isinf(state_dict_find(dict, "d")->data[1]));
    ck_assert_float_eq(state_dict_find(dict, "f")->data[0], 1.5f);
    ck_assert_float_eq(state_dict_find(dict, "b")->data[1], -10.0f);
    ck_assert_float_eq(state_dict_find(dict, "n")->data[0], -3.0f);
    ck_assert_uint_eq((uintptr_t)state_dict_find(dict, "d")->data % sizeof(float), 0);
    state_dict_free(dict);
}
END_TEST

START_TEST(safetensors_refuses_shapes_that_are_no_whole_numbers_or_overflow)
{
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "shape is a number, an array");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "shape[0] is no whole number");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,0.5],\"data_offsets\":[0,4]}}", 4,
            "shape[1] is no whole number");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4,
            "shape[0] is no whole number");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[9007199254740992],\"data_offsets\":[0,4]}}", 4,
            "no whole number");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,4]}}", 4,
            "shape[0] is no whole number");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "overflows");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,1024],\"data_offsets\":[0,0]}}", 0, "overflows");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
            "more than 8 dim");
}
END_TEST

START_TEST(safetensors_refuses_offsets_that_do_not_fit_the_shape_or_the_file)
{
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "an array of two numbers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "an array of two numbers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "an array of two numbers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "whole numbers");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "the begin lies behind the end");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
            "its shape needs 8 bytes, its data_offsets [0, 4] hold 4");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4,
            "the file is cut: its header promises 8 bytes of data, 4 are there");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 7, "3 belong to no tensor");
    refused("{}", 1, "1 belong to no tensor");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2251799813685247],\"data_offsets\":[0,9007199254740988]}}", 4,
            "the file is cut: its header promises 9007199254740988 bytes");
}
END_TEST

START_TEST(safetensors_refuses_tensors_that_overlap_or_leave_a_gap)
{
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
            "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
            12, "tensor \"b\": its data begins at 4, the data before it ends at 8: they overlap");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
            12, "tensor \"b\": its data begins at 8, the data before it ends at 4: there is a gap");
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 8, "there is a gap");
}
END_TEST

START_TEST(safetensors_refuses_a_name_that_stands_twice_however_it_is_written)
{
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
            "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
            8, "two tensors are named \"a\"");
}
END_TEST

enum { MANY = 100000 };

START_TEST(safetensors_reads_a_hundred_thousand_tensors_and_finds_each)
{
    struct error err;
    struct state_dict *dict = NULL;
    size_t len, header_max = (size_t)MANY * 80;
    char *header = malloc(header_max), *at = header, name[16];
    for (int i = 0; i < MANY; i++)
        at += sprintf(at, "%c\"t%d\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i ? ',' : '{', i,
                      4 * i, 4 * i + 4);
    memcpy(at, "}", 2);
    float *data = calloc(MANY, sizeof *data);
    data[MANY - 1] = 7.0f;
    char *bytes = safetensors_bytes(header, data, MANY * sizeof *data, &len);
    ck_assert_int_eq(safetensors_parse(bytes, len, &dict, &err), STATUS_OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t%d", i);
        ck_assert_ptr_eq(state_dict_find(dict, name), &dict->tensors[i]);
    }
    ck_assert_float_eq(state_dict_find(dict, "t99999")->data[0], 7.0f);
    state_dict_free(dict);
    free(bytes);
    free(data);
    free(header);
}
END_TEST

START_TEST(safetensors_read_reads_a_file_and_names_it_in_errors)
{
    struct error err;
    struct state_dict *dict;
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    char *folder = folder_create(), *path = folder_path(folder, "model.safetensors");
    folder_write_parameters(folder, header, (float[]){1.5f, -2.0f}, 2);
    ck_assert_int_eq(safetensors_read(path, &dict, &err), STATUS_OK);
    ck_assert_float_eq(state_dict_find(dict, "a")->data[1], -2.0f);
    state_dict_free(dict);
    folder_write_parameters(folder, header, (float[]){1.5f}, 1);
    ck_assert_int_eq(safetensors_read(path, &dict, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "/model.safetensors: the file is cut: its header promises 8 bytes"));
    ck_assert_str_ne(err.hint, "");
    ck_assert_int_eq(safetensors_read(folder, &dict, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "this is a folder"));
    free(path);
    folder_remove(folder);
}
END_TEST

/* Either bytes are read, or they are refused in words. */
static bool read_or_refused(const char *bytes, size_t len)
{
    struct error err = {.status = STATUS_OK};
    struct state_dict *dict = NULL;
    char *copy = malloc(len ? len : 1); /* of this length exactly, so that a sanitizer sees a step beyond it */
    memcpy(copy, bytes, len);
    enum status status = safetensors_parse(copy, len, &dict, &err);
    free(copy);
    ck_assert(status == STATUS_OK ? dict != NULL : !dict && err.status == status && err.message[0] && err.hint[0]);
    state_dict_free(dict);
    return status == STATUS_OK;
}

START_TEST(safetensors_takes_or_refuses_every_flipped_byte_and_refuses_every_cut)
{
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"
                                 "\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]}}";
    char data[32] = {0};
    size_t len, read = 0;
    char *bytes = safetensors_bytes(header, data, sizeof data, &len);
    for (size_t i = 0; i < len; i++)
        for (int flip = 1; flip < 256; flip++) {
            bytes[i] = (char)(bytes[i] ^ flip);
            read += read_or_refused(bytes, len);
            bytes[i] = (char)(bytes[i] ^ flip);
        }
    ck_assert_uint_ge(read, sizeof data * 255);
    for (size_t cut = 0; cut < len; cut++)
        ck_assert(!read_or_refused(bytes, cut));
    free(bytes);
}
END_TEST

UNIT_MAIN("engine/safetensors", safetensors_gives_tensors_in_the_order_of_the_header,
          safetensors_aligns_floats_that_lie_unaligned_in_the_file,
          safetensors_takes_scalars_empty_tensors_and_an_empty_file,
          safetensors_refuses_files_that_are_too_short_for_their_header,
          safetensors_refuses_a_header_that_is_no_json_object,
          safetensors_refuses_entries_with_missing_unknown_or_repeated_keys,
          safetensors_refuses_other_dtypes_by_name, safetensors_makes_floats_of_other_dtypes,
          safetensors_reads_the_counter_of_a_batch_norm,
          safetensors_refuses_shapes_that_are_no_whole_numbers_or_overflow,
          safetensors_refuses_offsets_that_do_not_fit_the_shape_or_the_file,
          safetensors_refuses_tensors_that_overlap_or_leave_a_gap,
          safetensors_refuses_a_name_that_stands_twice_however_it_is_written,
          safetensors_reads_a_hundred_thousand_tensors_and_finds_each,
          safetensors_read_reads_a_file_and_names_it_in_errors,
          safetensors_takes_or_refuses_every_flipped_byte_and_refuses_every_cut)
