#include "server/npy.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

/* A file in memory: version `major`.0, this header, these elements. */
struct file {
    unsigned char bytes[2048];
    size_t len;
};

static struct file file_of(unsigned major, const char *header, const void *elements, size_t elements_len)
{
    struct file file = {.len = major == 1 ? 10 : 12};
    size_t header_len = strlen(header);
    ck_assert_uint_le(file.len + header_len + elements_len, sizeof file.bytes);
    memcpy(file.bytes, "\x93NUMPY", 6);
    file.bytes[6] = (unsigned char)major;
    file.bytes[8] = (unsigned char)(header_len & 0xFF);
    file.bytes[9] = (unsigned char)(header_len >> 8);
    memcpy(file.bytes + file.len, header, header_len);
    file.len += header_len;
    if (elements_len)
        memcpy(file.bytes + file.len, elements, elements_len);
    file.len += elements_len;
    return file;
}

static void assert_parses(const struct file *file, struct npy *ret)
{
    struct error err = {0};
    ck_assert_msg(npy_parse(file->bytes, file->len, ret, &err) == STATUS_OK, "%s", err.message);
}

static void assert_refuses(const struct file *file, enum status expected, const char *in_message)
{
    struct npy npy = {.count = 77};
    struct error err = {0};
    ck_assert_int_eq(npy_parse(file->bytes, file->len, &npy, &err), expected);
    ck_assert_int_eq(err.status, expected);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_uint_eq(npy.count, 77);
    ck_assert_int_eq(npy_parse(file->bytes, file->len, &npy, NULL), expected);
}

static void assert_header_refused(const char *header, enum status expected, const char *in_message)
{
    struct file file = file_of(1, header, NULL, 0);
    assert_refuses(&file, expected, in_message);
}

static void assert_floats(const struct npy *npy, const float *expected)
{
    float got[64];
    ck_assert_uint_le(npy->count, 64);
    npy_read_f32(npy, got);
    for (size_t i = 0; i < npy->count; i++)
        ck_assert_msg(got[i] == expected[i], "element %zu is %g, not %g", i, (double)got[i], (double)expected[i]);
}

START_TEST(npy_knows_its_magic)
{
    ck_assert(npy_sniff("\x93NUMPY\x01", 7));
    ck_assert(!npy_sniff("\x93NUMP", 5));
    ck_assert(!npy_sniff("\x94NUMPY", 6));
    ck_assert(!npy_sniff(NULL, 0));
}
END_TEST

START_TEST(npy_reads_what_numpy_save_writes)
{
    static const float elements[] = {1, 2.5F, -3, 4, 5, 6e-20F};
    struct file file = file_of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
                               elements, sizeof elements);
    struct npy npy;
    assert_parses(&file, &npy);
    ck_assert_int_eq(npy.dtype, NPY_FLOAT32);
    ck_assert(!npy.fortran_order && !npy.big_endian);
    ck_assert_uint_eq(npy.dims, 2);
    ck_assert_uint_eq(npy.shape[0], 2);
    ck_assert_uint_eq(npy.shape[1], 3);
    ck_assert_uint_eq(npy.count, 6);
    ck_assert_ptr_eq(npy.data, file.bytes + file.len - sizeof elements);
    assert_floats(&npy, elements);
}
END_TEST

START_TEST(npy_reads_versions_2_and_3)
{
    static const float element[] = {7};
    for (unsigned major = 2; major <= 3; major++) {
        struct file file = file_of(major, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", element,
                                   4);
        struct npy npy;
        assert_parses(&file, &npy);
        assert_floats(&npy, element);
    }
}
END_TEST

START_TEST(npy_reads_the_dict_in_any_order_quoting_and_spacing)
{
    static const char *const headers[] = {
        "{'shape':(2,),'descr':'<f4','fortran_order':False}",
        "{ \"descr\" : \"<f4\" ,\n\t\"shape\" : ( 2 , ) , \"fortran_order\" : True }  \n",
        "  {'fortran_order': False, 'shape': (2,), 'descr': \"<f4\",}",
    };
    static const float elements[] = {1, 2};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct file file = file_of(1, headers[i], elements, sizeof elements);
        struct npy npy;
        assert_parses(&file, &npy);
        assert_floats(&npy, elements);
    }
}
END_TEST

START_TEST(npy_reads_shapes_of_no_one_and_eight_dimensions)
{
    static const float element[] = {42};
    static const struct {
        const char *header;
        size_t dims;
    } cases[] = {{"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 0},
                 {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 1},
                 {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 1,), }", 3},
                 {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 1, 1, 1, 1, 1, 1), }", 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file file = file_of(1, cases[i].header, element, sizeof element);
        struct npy npy;
        assert_parses(&file, &npy);
        ck_assert_uint_eq(npy.dims, cases[i].dims);
        assert_floats(&npy, element);
    }
}
END_TEST

START_TEST(npy_reads_an_array_without_elements)
{
    for (int fortran = 0; fortran < 2; fortran++) {
        struct file file = file_of(1,
                                   fortran ? "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 0, 28), }"
                                           : "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 0, 28), }",
                                   NULL, 0);
        struct npy npy;
        float untouched = 5;
        assert_parses(&file, &npy);
        ck_assert_uint_eq(npy.count, 0);
        npy_read_f32(&npy, &untouched);
        ck_assert(untouched == 5);
    }
}
END_TEST

/* The same values in each dtype and byte order that is read. */
START_TEST(npy_reads_every_dtype_in_either_byte_order)
{
    static const struct {
        const char *header, *elements;
        size_t len;
    } cases[] = {
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }", "\x01\xFF", 2},
        {"{'descr': 'u1', 'fortran_order': False, 'shape': (2,), }", "\x01\xFF", 2},
        {"{'descr': '>u1', 'fortran_order': False, 'shape': (2,), }", "\x01\xFF", 2},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", "\x00\x3C\xF8\x5B", 4},
        {"{'descr': '>f2', 'fortran_order': False, 'shape': (2,), }", "\x3C\x00\x5B\xF8", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "\x00\x00\x80\x3F\x00\x00\x7F\x43", 8},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "\x3F\x80\x00\x00\x43\x7F\x00\x00", 8},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
         "\x00\x00\x00\x00\x00\x00\xF0\x3F\x00\x00\x00\x00\x00\xE0\x6F\x40", 16},
        {"{'descr': '>f8', 'fortran_order': False, 'shape': (2,), }",
         "\x3F\xF0\x00\x00\x00\x00\x00\x00\x40\x6F\xE0\x00\x00\x00\x00\x00", 16},
    };
    static const float expected[] = {1, 255};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct file file = file_of(1, cases[i].header, cases[i].elements, cases[i].len);
        struct npy npy;
        assert_parses(&file, &npy);
        ck_assert_uint_eq(npy_item_bytes(npy.dtype) * 2, cases[i].len);
        assert_floats(&npy, expected);
    }
}
END_TEST

START_TEST(npy_takes_the_machines_order_where_none_is_named)
{
    static const char *const headers[] = {"{'descr': '=f8', 'fortran_order': False, 'shape': (1,), }",
                                          "{'descr': 'f8', 'fortran_order': False, 'shape': (1,), }",
                                          "{'descr': '|f8', 'fortran_order': False, 'shape': (1,), }"};
    static const double element = 0.5;
    static const float expected[] = {0.5F};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct file file = file_of(1, headers[i], &element, sizeof element);
        struct npy npy;
        assert_parses(&file, &npy);
        assert_floats(&npy, expected);
    }
}
END_TEST

static float half(uint16_t bits)
{
    struct npy npy = {.dtype = NPY_FLOAT16, .big_endian = true, .shape = {1}, .dims = 1, .count = 1};
    unsigned char bytes[2] = {(unsigned char)(bits >> 8), (unsigned char)bits};
    float value;
    npy.data = bytes;
    npy_read_f32(&npy, &value);
    return value;
}

/* By the definition of binary16, for all 65,536 of them. */
START_TEST(npy_converts_every_float16_exactly)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
        float got = half((uint16_t)bits);
        ck_assert_msg(!signbit(got) == !(bits & 0x8000), "sign of %04x", bits);
        if (exponent == 31 && fraction) {
            ck_assert_msg(isnan(got), "%04x", bits);
            continue;
        }
        double expected = exponent == 31  ? INFINITY
                          : exponent == 0 ? ldexp(fraction, -24)
                                          : ldexp(1024 + fraction, (int)exponent - 25);
        ck_assert_msg(fabs((double)got) == expected, "%04x is %g, not %g", bits, (double)got, expected);
    }
}
END_TEST

START_TEST(npy_rounds_float64_to_nearest_even_and_beyond_the_range_to_infinity)
{
    static const double elements[] = {
        1 + 0x1p-24, 1 + 0x3p-24, 1 + 0x1p-24 + 0x1p-50, 0x1.fffffefffffffp127, 0x1.ffffffp127, -1e300, 0x1p-150,
        1e-46,       0x1.8p-149};
    static const float expected[] = {1, 1 + 0x1p-22F, 1 + 0x1p-23F, 0x1.fffffep127F, INFINITY, -INFINITY, 0,
                                     0, 0x1p-148F};
    struct file file = file_of(1, "{'descr': '=f8', 'fortran_order': False, 'shape': (9,), }", elements,
                               sizeof elements);
    struct npy npy;
    assert_parses(&file, &npy);
    assert_floats(&npy, expected);
}
END_TEST

START_TEST(npy_keeps_nan_and_infinity_for_the_caller_to_see)
{
    static const unsigned char elements[] = {0, 0, 0, 0, 0, 0, 0xF8, 0x7F, 0, 0, 0, 0, 0, 0, 0xF0, 0xFF};
    struct file file = file_of(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", elements,
                               sizeof elements);
    struct npy npy;
    float got[2];
    assert_parses(&file, &npy);
    npy_read_f32(&npy, got);
    ck_assert(isnan(got[0]));
    ck_assert(isinf(got[1]) && got[1] < 0);
}
END_TEST

START_TEST(npy_reads_fortran_order_as_c_order)
{
    static const unsigned char columns[] = {1, 4, 2, 5, 3, 6};
    static const float rows[] = {1, 2, 3, 4, 5, 6};
    struct file file = file_of(1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", columns, 6);
    struct npy npy;
    uint8_t bytes[6];
    assert_parses(&file, &npy);
    ck_assert(npy.fortran_order);
    assert_floats(&npy, rows);
    npy_read_u8(&npy, bytes);
    ck_assert_mem_eq(bytes, "\x01\x02\x03\x04\x05\x06", 6);
}
END_TEST

/* Element by element, by the definition of the two orders; sizes around the tiles' and with several inner axes. */
static void check_fortran(const size_t *shape, size_t dims)
{
    struct npy npy = {.dtype = NPY_FLOAT64, .fortran_order = true, .dims = dims, .count = 1};
    for (size_t i = 0; i < dims; i++)
        npy.count *= npy.shape[i] = shape[i];
    double *elements = malloc(npy.count * sizeof *elements);
    float *got = malloc(npy.count * sizeof *got);
    ck_assert(elements && got);
    for (size_t i = 0; i < npy.count; i++)
        elements[i] = (double)i;
    npy.data = (const unsigned char *)elements;
    npy_read_f32(&npy, got);
    for (size_t at = 0; at < npy.count; at++) {
        size_t rest = at, stride = npy.count, source = 0;
        for (size_t axis = dims; axis-- > 0; rest /= shape[axis]) {
            stride /= shape[axis];
            source += rest % shape[axis] * stride;
        }
        ck_assert_msg((size_t)got[at] == source, "element %zu is %g, not %zu", at, (double)got[at], source);
    }
    free(elements);
    free(got);
}

START_TEST(npy_reads_fortran_order_of_every_shape)
{
    static const struct {
        size_t shape[NPY_DIMS_MAX], dims;
    } cases[] = {{{17}, 1},
                 {{1, 17}, 2},
                 {{17, 1}, 2},
                 {{16, 16}, 2},
                 {{15, 33}, 2},
                 {{3, 28, 28}, 3},
                 {{33, 1, 17}, 3},
                 {{5, 1, 28, 28}, 4},
                 {{2, 3, 4, 5}, 4},
                 {{1, 1, 7, 1}, 4},
                 {{2, 3, 2, 3, 2, 3}, 6},
                 {{2, 1, 3, 2, 2, 1, 2, 3}, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_fortran(cases[i].shape, cases[i].dims);
}
END_TEST

START_TEST(npy_names_a_dtype_that_it_does_not_read_and_how_to_convert_it)
{
    static const struct {
        const char *descr, *name, *hint;
    } cases[] = {{"<i8", "int64", "arr.astype('float32')"},
                 {"<i4", "int32", "arr.astype('uint8')"},
                 {"|b1", "bool", "arr.astype('float32')"},
                 {"|i1", "int8", "arr.astype('float32')"},
                 {">u2", "uint16", "arr.astype('float32')"},
                 {"<f16", "longdouble", "arr.astype('float32')"},
                 {"<c8", "complex", "arr.real"},
                 {"<U7", "str", "numbers"},
                 {"|S3", "bytes", "numbers"},
                 {"|V2", "void", "bfloat16"},
                 {"<M8[ns]", "datetime64", "numbers"},
                 {"float32", "'float32'", "arr.astype('float32')"},
                 {"", "''", "arr.astype('float32')"},
                 {"<", "'<'", "arr.astype('float32')"},
                 {"<u11", "'<u11'", "arr.astype('float32')"},
                 {"<<f4", "'<<f4'", "arr.astype('float32')"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[128];
        struct npy npy;
        struct error err = {0};
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (1,), }", cases[i].descr);
        struct file file = file_of(1, header, "12345678", 8);
        assert_refuses(&file, STATUS_UNSUPPORTED, cases[i].name);
        npy_parse(file.bytes, file.len, &npy, &err);
        ck_assert_msg(strstr(err.hint, cases[i].hint) != NULL, "%s: %s", cases[i].descr, err.hint);
    }
}
END_TEST

START_TEST(npy_never_reads_objects_or_records)
{
    assert_header_refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "object");
    assert_header_refused("{'descr': [('x', '<f4'), ('y', '<i4')], 'fortran_order': False, 'shape': (1,), }",
                          STATUS_UNSUPPORTED, "structured");
    assert_header_refused("{'descr': ('<f4', (3,)), 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED,
                          "structured");
}
END_TEST

START_TEST(npy_refuses_headers_that_are_not_the_dict)
{
    static const struct {
        const char *header, *in_message;
    } cases[] = {
        {"", "ends where '{'"},
        {"['descr']", "where '{'"},
        {"{", "a key"},
        {"{,}", "a key"},
        {"{}", "no 'descr'"},
        {"{'descr': '<f4', 'shape': (1,)}", "no 'fortran_order'"},
        {"{'descr': '<f4', 'fortran_order': False}", "no 'shape'"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "not there before"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", "'more'"},
        {"{'descr' '<f4', 'fortran_order': False, 'shape': (1,)}", "':'"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", "',' or '}'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} + 1", "nothing more"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "',' or '}'"},
        {"{'descr: 1", "closing quote"},
        {"{'descr': \"<f4', 'fortran_order': False, 'shape': (1,)}", "closing quote"},
        {"{'descr': 4, 'fortran_order': False, 'shape': (1,)}", "the dtype"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "True or False"},
        {"{'descr': '<f4', 'fortran_order': Falsey, 'shape': (1,)}", "True or False"},
        {"{'descr': '<f4', 'fortran_order': false, 'shape': (1,)}", "True or False"},
        {"{'descr': '<f4', 'fortran_order': ", "True or False"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_header_refused(cases[i].header, STATUS_INVALID, cases[i].in_message);
}
END_TEST

START_TEST(npy_refuses_shapes_that_are_not_tuples_of_sizes)
{
    static const char *const shapes[][2] = {
        {"5", "tuple"},      {"(5)", "(5,)"},   {"[5]", "tuple"},     {"(5L,)", "digits"}, {"(-1,)", "digits"},
        {"(05,)", "digits"}, {"(1.0,)", "','"}, {"(1_0,)", "digits"}, {"(,)", "digits"},   {"(1,,2)", "digits"},
        {"(1 2)", "','"},    {"(1,", "digits"}, {"(None,)", "digits"}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s", shapes[i][0]);
        assert_header_refused(header, STATUS_INVALID, shapes[i][1]);
    }
}
END_TEST

START_TEST(npy_refuses_more_than_eight_dimensions)
{
    assert_header_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }",
                          STATUS_INVALID, "more than 8 dimensions");
}
END_TEST

START_TEST(npy_refuses_sizes_that_overflow)
{
    static const char *const shapes[] = {"(18446744073709551616,)",  "(99999999999999999999999,)",
                                         "(4294967296, 4294967296)", "(18446744073709551615,)",
                                         "(4611686018427387904,)",   "(0, 4294967296, 4294967296)"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': %s}", shapes[i]);
        assert_header_refused(header, STATUS_INVALID, "in memory");
    }
}
END_TEST

START_TEST(npy_refuses_too_few_and_too_many_bytes_with_both_numbers)
{
    struct file file = file_of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", "1234567890123456",
                               16);
    assert_refuses(&file, STATUS_INVALID, "6 elements of float32, 24 bytes, but 16 bytes follow");
    file = file_of(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", "1234", 4);
    assert_refuses(&file, STATUS_INVALID, "3 bytes, but 4 bytes follow");
}
END_TEST

START_TEST(npy_refuses_a_file_cut_at_any_byte)
{
    struct file file = file_of(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "12345678", 8);
    struct npy npy;
    assert_parses(&file, &npy);
    for (size_t len = 0; len < file.len; len++) {
        unsigned char *cut = malloc(len + !len); /* its own memory, so that the sanitizer sees a read beyond it */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, file.bytes, len);
        ck_assert_msg(npy_parse(cut, len, &npy, NULL) == STATUS_INVALID, "%zu bytes", len);
        free(cut);
    }
}
END_TEST

START_TEST(npy_refuses_other_versions_and_other_files)
{
    struct file file = file_of(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234", 4);
    assert_refuses(&file, STATUS_UNSUPPORTED, "version 4.0");
    file = file_of(0, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234", 4);
    assert_refuses(&file, STATUS_UNSUPPORTED, "version 0.0");
    file = file_of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234", 4);
    file.bytes[7] = 1;
    assert_refuses(&file, STATUS_UNSUPPORTED, "version 1.1");
    file.bytes[0] = 'P';
    assert_refuses(&file, STATUS_INVALID, "not a .npy file");
}
END_TEST

START_TEST(npy_refuses_a_header_beyond_the_body)
{
    struct file file = file_of(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234", 4);
    memset(file.bytes + 8, 0xFF, 4);
    assert_refuses(&file, STATUS_INVALID, "its header is 4294967295 bytes long");
}
END_TEST

START_TEST(npy_writes_the_header_that_numpy_writes)
{
    static const size_t shape[] = {3, 28, 28};
    struct buffer out = {0};
    buffer_append_str(&out, "before");
    npy_write_header(&out, shape, 3);
    ck_assert_uint_eq(out.len, 6 + 128);
    ck_assert_mem_eq(out.data + 6, "\x93NUMPY\x01\x00\x76\x00", 10);
    ck_assert_mem_eq(out.data + 16, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 28, 28), } ", 65);
    ck_assert_int_eq(out.data[out.len - 1], '\n');
    buffer_free(&out);
}
END_TEST

START_TEST(npy_reads_back_the_headers_that_it_writes)
{
    static const size_t shape[NPY_DIMS_MAX] = {2, 1, 3, 1, 1, 1, 1, 1};
    static const float elements[] = {1, 2, 3, 4, 5, 6};
    for (size_t dims = 0; dims <= NPY_DIMS_MAX; dims++) {
        struct buffer out = {0};
        struct npy npy;
        size_t count = dims == 0 ? 1 : dims < 3 ? 2 : 6;
        npy_write_header(&out, shape, dims);
        ck_assert_uint_eq(out.len % 64, 0);
        buffer_append(&out, elements, count * sizeof(float));
        ck_assert_int_eq(npy_parse(out.data, out.len, &npy, NULL), STATUS_OK);
        ck_assert_uint_eq(npy.dims, dims);
        ck_assert_mem_eq(npy.shape, shape, dims * sizeof shape[0]);
        ck_assert_uint_eq(npy.count, count);
        assert_floats(&npy, elements);
        buffer_free(&out);
    }
}
END_TEST

START_TEST(npy_writes_nothing_into_a_failed_buffer)
{
    static const size_t shape[] = {1};
    struct buffer out = {.failed = true};
    npy_write_header(&out, shape, 1);
    ck_assert(out.failed && out.len == 0 && !out.data);
}
END_TEST

UNIT_MAIN("server/npy", npy_knows_its_magic, npy_reads_what_numpy_save_writes, npy_reads_versions_2_and_3,
          npy_reads_the_dict_in_any_order_quoting_and_spacing, npy_reads_shapes_of_no_one_and_eight_dimensions,
          npy_reads_an_array_without_elements, npy_reads_every_dtype_in_either_byte_order,
          npy_takes_the_machines_order_where_none_is_named, npy_converts_every_float16_exactly,
          npy_rounds_float64_to_nearest_even_and_beyond_the_range_to_infinity,
          npy_keeps_nan_and_infinity_for_the_caller_to_see, npy_reads_fortran_order_as_c_order,
          npy_reads_fortran_order_of_every_shape, npy_names_a_dtype_that_it_does_not_read_and_how_to_convert_it,
          npy_never_reads_objects_or_records, npy_refuses_headers_that_are_not_the_dict,
          npy_refuses_shapes_that_are_not_tuples_of_sizes, npy_refuses_more_than_eight_dimensions,
          npy_refuses_sizes_that_overflow, npy_refuses_too_few_and_too_many_bytes_with_both_numbers,
          npy_refuses_a_file_cut_at_any_byte, npy_refuses_other_versions_and_other_files,
          npy_refuses_a_header_beyond_the_body, npy_writes_the_header_that_numpy_writes,
          npy_reads_back_the_headers_that_it_writes, npy_writes_nothing_into_a_failed_buffer)
