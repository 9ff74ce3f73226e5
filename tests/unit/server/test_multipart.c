#include "server/multipart.h"

#include <string.h>

#include "tests/unit/unit.h"

#define TYPE                   "multipart/form-data; boundary=B"
#define PART(headers, content) "--B\r\n" headers "\r\n" content "\r\n"
#define END                    "--B--\r\n"

/* Walks to the first refusal or to the end. Fills `last` with the last part that came. */
static enum status walk(const char *type, const char *body, size_t len, size_t *ret_parts,
                        struct multipart_part *last, struct error *err)
{
    struct multipart parts;
    struct multipart_part part;
    *ret_parts = 0;
    enum status status = multipart_begin(&parts, type, body, len, err);
    while (status == STATUS_OK && (status = multipart_next(&parts, &part, err)) == STATUS_OK && part.data) {
        ck_assert(part.data >= body && part.data + part.len <= body + len);
        *last = part;
        ++*ret_parts;
    }
    return status;
}

static struct multipart_part only_part(const char *type, const char *body)
{
    struct multipart_part part = {0};
    struct error err = {0};
    size_t count;
    enum status status = walk(type, body, strlen(body), &count, &part, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(count, 1);
    return part;
}

static void assert_content(const struct multipart_part *part, const char *expected)
{
    ck_assert_uint_eq(part->len, strlen(expected));
    ck_assert_mem_eq(part->data, expected, part->len);
}

static void assert_refused(const char *type, const char *body, enum status expected, const char *in_message)
{
    struct multipart_part part;
    struct error err = {0};
    size_t count;
    ck_assert_int_eq(walk(type, body, strlen(body), &count, &part, &err), expected);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_int_eq(walk(type, body, strlen(body), &count, &part, NULL), expected);
}

START_TEST(multipart_reads_what_curl_sends)
{
    static const char body[] = "--------------------------6d0a5d1d7d0b4b5e\r\n"
                               "Content-Disposition: form-data; name=\"image\"; filename=\"boot.png\"\r\n"
                               "Content-Type: image/png\r\n\r\n"
                               "\x89PNG\r\n\x1a\n\r\n"
                               "--------------------------6d0a5d1d7d0b4b5e--\r\n";
    struct multipart_part part = only_part("multipart/form-data; boundary=------------------------6d0a5d1d7d0b4b5e",
                                           body);
    assert_content(&part, "\x89PNG\r\n\x1a\n");
    ck_assert_str_eq(part.name, "image");
    ck_assert_str_eq(part.filename, "boot.png");
    ck_assert_str_eq(part.content_type, "image/png");
}
END_TEST

START_TEST(multipart_reads_what_a_browser_sends)
{
    static const char body[] =
        "------WebKitFormBoundaryQ7e0\r\n"
        "Content-Disposition: form-data; name=\"a\"\r\n\r\n"
        "text\r\n"
        "------WebKitFormBoundaryQ7e0\r\n"
        "Content-Disposition: form-data; name=\"b\"; filename=\"Stiefel gr\xC3\xBCn %22x%22.PNG\"\r\n"
        "Content-Type: IMAGE/PNG; charset=x\r\n\r\n"
        "bytes\r\n"
        "------WebKitFormBoundaryQ7e0--\r\n";
    struct multipart parts;
    struct multipart_part part;
    ck_assert_int_eq(multipart_begin(&parts, "multipart/form-data; boundary=----WebKitFormBoundaryQ7e0", body,
                                     strlen(body), NULL),
                     STATUS_OK);
    ck_assert_int_eq(multipart_next(&parts, &part, NULL), STATUS_OK);
    assert_content(&part, "text");
    ck_assert_str_eq(part.name, "a");
    ck_assert_str_eq(part.filename, "");
    ck_assert_str_eq(part.content_type, "");
    ck_assert_int_eq(multipart_next(&parts, &part, NULL), STATUS_OK);
    assert_content(&part, "bytes");
    ck_assert_str_eq(part.filename, "Stiefel gr\xC3\xBCn %22x%22.PNG");
    ck_assert_str_eq(part.content_type, "image/png");
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(multipart_next(&parts, &part, NULL), STATUS_OK);
        ck_assert_ptr_null(part.data);
    }
}
END_TEST

START_TEST(multipart_finds_the_boundary_however_it_is_written)
{
    static const char *const types[] = {
        "multipart/form-data; boundary=B",
        "Multipart/Form-Data;BOUNDARY=\"B\"",
        "multipart/form-data ; charset=utf-8 ; boundary = B ;",
        "multipart/form-data; x=\"; boundary=\\\"wrong\"; boundary=B; y=z",
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct multipart_part part = only_part(types[i], PART("A: b\r\n", "content") END);
        assert_content(&part, "content");
    }
}
END_TEST

START_TEST(multipart_takes_every_character_that_a_boundary_may_have)
{
    static const char body[] = "--aZ09'()+_,-./:=? x\r\n\r\ncontent\r\n--aZ09'()+_,-./:=? x--";
    struct multipart_part part = only_part("multipart/form-data; boundary=\"aZ09'()+_,-./:=? x\"", body);
    assert_content(&part, "content");
}
END_TEST

START_TEST(multipart_refuses_content_types_without_a_boundary)
{
    static const char body[] = PART("", "x") END;
    char longer[128] = "multipart/form-data; boundary=";
    memset(longer + strlen(longer), 'b', 71);
    assert_refused("", body, STATUS_UNSUPPORTED, "\"\"");
    assert_refused("image/png", body, STATUS_UNSUPPORTED, "\"image/png\"");
    assert_refused("multipart/mixed; boundary=B", body, STATUS_UNSUPPORTED, "multipart/mixed");
    assert_refused("multipart/form-data", body, STATUS_INVALID, "no boundary");
    assert_refused("multipart/form-data; charset=utf-8", body, STATUS_INVALID, "no boundary");
    assert_refused("multipart/form-data; boundary", body, STATUS_INVALID, "name=value");
    assert_refused("multipart/form-data; x; boundary=B", body, STATUS_INVALID, "name=value");
    assert_refused("multipart/form-data; =B", body, STATUS_INVALID, "name=value");
    assert_refused("multipart/form-data; boundary=\"B", body, STATUS_INVALID, "name=value");
    assert_refused("multipart/form-data; boundary=\"B\"x", body, STATUS_INVALID, "name=value");
    assert_refused("multipart/form-data; boundary=", body, STATUS_INVALID, "empty");
    assert_refused("multipart/form-data; boundary=\"B \"", body, STATUS_INVALID, "no boundary may have");
    assert_refused("multipart/form-data; boundary=a\"b", body, STATUS_INVALID, "no boundary may have");
    assert_refused("multipart/form-data; boundary=\xC3\xA9", body, STATUS_INVALID, "no boundary may have");
    assert_refused(longer, body, STATUS_INVALID, "more than 70");
}
END_TEST

START_TEST(multipart_passes_over_preamble_epilogue_and_padding)
{
    struct multipart_part part = only_part(TYPE, "a preamble\r\nwith --B in it\r\n"
                                                 "--B \t\r\nA: b\r\n\r\ncontent\r\n"
                                                 "--B-- \r\nan epilogue\r\n--B\r\nnot a part");
    assert_content(&part, "content");
    part = only_part(TYPE, "\r\n" PART("", "content") "--B--");
    assert_content(&part, "content");
}
END_TEST

START_TEST(multipart_keeps_content_that_looks_like_a_delimiter)
{
    static const char *const contents[] = {"--Bx",      "x--B--",        "\r\n--",       "\r\n--Bx\r\n",
                                           "\r\n--B x", "\r\n-B\r\n",    "\r",           "\n",
                                           "\r\n",      "\r\n\r\n--C--", "\r\n--B-\r\n", "\n--Bx"};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        char body[128];
        snprintf(body, sizeof body, "--B\r\nA: b\r\n\r\n%s\r\n--B--", contents[i]);
        struct multipart_part part = only_part(TYPE, body);
        assert_content(&part, contents[i]);
    }
}
END_TEST

START_TEST(multipart_returns_empty_parts_with_data)
{
    struct multipart_part part = only_part(TYPE, PART("A: b\r\n", "") END);
    ck_assert(part.data && part.len == 0);
    part = only_part(TYPE, PART("", "") END);
    ck_assert(part.data && part.len == 0);
}
END_TEST

START_TEST(multipart_returns_parts_whose_empty_line_begins_the_delimiter)
{
    static const char body[] = "--B\r\nA: b\r\n\r\n--B\r\n\r\n--B\r\n\r\nlast\r\n--B--";
    struct multipart_part part = {0};
    size_t count;
    ck_assert_int_eq(walk(TYPE, body, strlen(body), &count, &part, NULL), STATUS_OK);
    ck_assert_uint_eq(count, 3);
    assert_content(&part, "last");
}
END_TEST

START_TEST(multipart_reads_names_quoted_bare_and_escaped)
{
    static const struct {
        const char *disposition, *name, *filename;
    } cases[] = {
        {"form-data; name=\"a\"; filename=\"b\"", "a", "b"},
        {"form-data; filename=\"b\"; NAME=a", "a", "b"},
        {"form-data;name=a;filename=my boot.png", "a", "my boot.png"},
        {"form-data; name=\"a\\\"b\\\\c\"; filename=\"x;name=y\"", "a\"b\\c", "x;name=y"},
        {"form-data; name=\"a\"; filename=\"C:\\new\\boot.png\"", "a", "C:\\new\\boot.png"},
        {"form-data; name=\"a\"; filename*=UTF-8''b.png", "a", ""},
        {"form-data; name=\"\"; filename=\"\"", "", ""},
        {"attachment", "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "--B\r\ncontent-disposition:%s\r\n\r\nx\r\n--B--", cases[i].disposition);
        struct multipart_part part = only_part(TYPE, body);
        ck_assert_str_eq(part.name, cases[i].name);
        ck_assert_str_eq(part.filename, cases[i].filename);
    }
}
END_TEST

START_TEST(multipart_cuts_long_names_to_fit)
{
    char body[1024], letters[301];
    memset(letters, 'N', 300);
    letters[300] = '\0';
    snprintf(
        body, sizeof body,
        "--B\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\nContent-Type: %s\r\n\r\nx\r\n--B--",
        letters, letters, letters);
    struct multipart_part part = only_part(TYPE, body);
    ck_assert_uint_eq(strlen(part.name), sizeof part.name - 1);
    ck_assert_uint_eq(strlen(part.filename), sizeof part.filename - 1);
    ck_assert_uint_eq(strlen(part.content_type), sizeof part.content_type - 1);
    ck_assert_int_eq(part.content_type[0], 'n');
}
END_TEST

START_TEST(multipart_refuses_dispositions_that_are_not_parameters)
{
    static const char *const dispositions[] = {"form-data; name", "form-data; name=\"a", "form-data; name=\"a\" b",
                                               "form-data; =a", "form-data; name=\"a\\\""};
    for (size_t i = 0; i < sizeof dispositions / sizeof dispositions[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "--B\r\nContent-Disposition: %s\r\n\r\nx\r\n--B--", dispositions[i]);
        assert_refused(TYPE, body, STATUS_INVALID, "part 1 of the multipart body has a Content-Disposition");
    }
}
END_TEST

START_TEST(multipart_takes_only_contents_that_are_not_encoded)
{
    static const char *const encodings[] = {"binary", "8BIT", "7bit"};
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        char body[128];
        snprintf(body, sizeof body, "--B\r\nContent-Transfer-Encoding: %s\r\n\r\nx\r\n--B--", encodings[i]);
        only_part(TYPE, body);
    }
    assert_refused(TYPE, PART("Content-Transfer-Encoding: base64\r\n", "eA==") END, STATUS_UNSUPPORTED,
                   "\"base64\"");
    assert_refused(TYPE, PART("Content-Transfer-Encoding:\r\n", "eA==") END, STATUS_UNSUPPORTED, "\"\"");
}
END_TEST

START_TEST(multipart_refuses_headers_that_are_not_lines_of_name_and_value)
{
    assert_refused(TYPE, PART("A: b\r\n c\r\n", "x") END, STATUS_INVALID, "folds");
    assert_refused(TYPE, PART("A\r\n", "x") END, STATUS_INVALID, "\"Name: value\"");
    assert_refused(TYPE, PART(": a\r\n", "x") END, STATUS_INVALID, "\"Name: value\"");
    assert_refused(TYPE, PART("A : a\r\n", "x") END, STATUS_INVALID, "\"Name: value\"");
    assert_refused(TYPE, PART("A: a\rb\r\n", "x") END, STATUS_INVALID, "control character");
    assert_refused(TYPE, PART("", "x") PART("A: \x01\r\n", "x") END, STATUS_INVALID, "part 2");
}
END_TEST

START_TEST(multipart_refuses_a_nul_in_a_header)
{
    static const char body[] = "--B\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\nx\r\n--B--";
    struct multipart_part part;
    struct error err = {0};
    size_t count;
    ck_assert_int_eq(walk(TYPE, body, sizeof body - 1, &count, &part, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "control character"));
}
END_TEST

START_TEST(multipart_refuses_a_part_without_the_empty_line)
{
    assert_refused(TYPE, "--B\r\nA: b\r\n--B--\r\n", STATUS_INVALID, "no empty line");
    assert_refused(TYPE, "--B\r\n--B--\r\n", STATUS_INVALID, "no empty line");
    assert_refused(TYPE, "--B\r\nA: b\r\n--B--", STATUS_INVALID, "ends inside part 1");
}
END_TEST

START_TEST(multipart_refuses_a_body_without_parts)
{
    assert_refused(TYPE, "--B--\r\n", STATUS_INVALID, "has no part");
    assert_refused(TYPE, "", STATUS_INVALID, "has no line --B");
    assert_refused(TYPE, "some text\r\n--C\r\n", STATUS_INVALID, "has no line --B");
    struct multipart parts;
    ck_assert_int_eq(multipart_begin(&parts, TYPE, NULL, 0, NULL), STATUS_INVALID);
}
END_TEST

START_TEST(multipart_refuses_lines_that_end_with_lf_alone)
{
    assert_refused(TYPE, "--B\nA: b\n\nx\n--B--\n", STATUS_INVALID, "LF alone");
    assert_refused(TYPE, "preamble\n--B\nA: b\n\nx\n--B--\n", STATUS_INVALID, "LF alone");
    assert_refused(TYPE, "--B\r\nA: b\n\r\nx\r\n--B--\r\n", STATUS_INVALID, "LF alone");
    assert_refused(TYPE, "--B\r\n\nx\r\n--B--\r\n", STATUS_INVALID, "LF alone");
    assert_refused(TYPE, "--B\r\nA: b\r\n\r\nx\n--B--\n", STATUS_INVALID, "LF alone");
    assert_refused(TYPE, "--B\r\nA: b\r\n\r\nx\r\n--B \n\r\n\r\n--B--\r\n", STATUS_INVALID, "LF alone");
}
END_TEST

START_TEST(multipart_refuses_a_body_cut_at_any_byte)
{
    static const char body[] = PART("Content-Disposition: form-data; name=\"a\"\r\n", "first")
        PART("", "second") "--B--";
    struct multipart_part part;
    size_t count;
    ck_assert_int_eq(walk(TYPE, body, strlen(body), &count, &part, NULL), STATUS_OK);
    for (size_t len = 0; len < strlen(body); len++) {
        char *cut = malloc(len + !len); /* its own memory, so that the sanitizer sees a read beyond it */
        struct error err = {0};
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, body, len);
        ck_assert_msg(walk(TYPE, cut, len, &count, &part, &err) == STATUS_INVALID, "%zu bytes", len);
        ck_assert_str_ne(err.message, "");
        free(cut);
    }
    assert_refused(TYPE, PART("", "first") "--B\r\nA: b\r\n\r\nsec", STATUS_INVALID,
                   "ends inside part 2, before its closing delimiter --B--");
}
END_TEST

START_TEST(multipart_refuses_headers_over_the_limit_and_takes_those_at_it)
{
    enum { FRAME = sizeof "A: \r\n\r\n" - 1 };
    for (int over = 0; over < 2; over++) {
        char body[MULTIPART_HEADER_BYTES_MAX + 64], letters[MULTIPART_HEADER_BYTES_MAX + 2];
        size_t len = MULTIPART_HEADER_BYTES_MAX - FRAME + (size_t)over;
        memset(letters, 'a', len);
        letters[len] = '\0';
        snprintf(body, sizeof body, "--B\r\nA: %s\r\n\r\nx\r\n--B--", letters);
        if (over)
            assert_refused(TYPE, body, STATUS_TOO_LARGE, "more than 8192 bytes of headers");
        else
            only_part(TYPE, body);
    }
}
END_TEST

static char *many_parts(size_t count, size_t *ret_len)
{
    static const char one[] = PART("", "");
    size_t len = count * (sizeof one - 1);
    char *body = malloc(len + sizeof END);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < count; i++)
        memcpy(body + i * (sizeof one - 1), one, sizeof one - 1);
    memcpy(body + len, END, sizeof END);
    *ret_len = len + strlen(END);
    return body;
}

START_TEST(multipart_takes_parts_up_to_the_limit_and_refuses_more)
{
    static const size_t counts[] = {MULTIPART_PARTS_MAX, MULTIPART_PARTS_MAX + 1, 100000};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct multipart_part part;
        struct error err = {0};
        size_t len, count;
        char *body = many_parts(counts[i], &len);
        enum status status = walk(TYPE, body, len, &count, &part, &err);
        ck_assert_int_eq(status, counts[i] > MULTIPART_PARTS_MAX ? STATUS_TOO_LARGE : STATUS_OK);
        ck_assert_uint_eq(count, MULTIPART_PARTS_MAX);
        free(body);
    }
}
END_TEST

START_TEST(multipart_leaves_the_part_untouched_when_it_refuses)
{
    static const char body[] = PART("A\r\n", "x") END;
    struct multipart parts;
    struct multipart_part part = {.len = 77};
    ck_assert_int_eq(multipart_begin(&parts, TYPE, body, strlen(body), NULL), STATUS_OK);
    ck_assert_int_eq(multipart_next(&parts, &part, NULL), STATUS_INVALID);
    ck_assert_int_eq(multipart_next(&parts, &part, NULL), STATUS_INVALID);
    ck_assert_uint_eq(part.len, 77);
}
END_TEST

UNIT_MAIN("server/multipart", multipart_reads_what_curl_sends, multipart_reads_what_a_browser_sends,
          multipart_finds_the_boundary_however_it_is_written,
          multipart_takes_every_character_that_a_boundary_may_have,
          multipart_refuses_content_types_without_a_boundary, multipart_passes_over_preamble_epilogue_and_padding,
          multipart_keeps_content_that_looks_like_a_delimiter, multipart_returns_empty_parts_with_data,
          multipart_returns_parts_whose_empty_line_begins_the_delimiter,
          multipart_reads_names_quoted_bare_and_escaped, multipart_cuts_long_names_to_fit,
          multipart_refuses_dispositions_that_are_not_parameters,
          multipart_takes_only_contents_that_are_not_encoded,
          multipart_refuses_headers_that_are_not_lines_of_name_and_value, multipart_refuses_a_nul_in_a_header,
          multipart_refuses_a_part_without_the_empty_line, multipart_refuses_a_body_without_parts,
          multipart_refuses_lines_that_end_with_lf_alone, multipart_refuses_a_body_cut_at_any_byte,
          multipart_refuses_headers_over_the_limit_and_takes_those_at_it,
          multipart_takes_parts_up_to_the_limit_and_refuses_more,
          multipart_leaves_the_part_untouched_when_it_refuses)
