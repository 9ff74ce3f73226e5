#include "server/config_file.h"

#include "tests/unit/engine/folder.h"
#include "tests/unit/unit.h"

static enum status read_text(const char *text, struct config_file *ret, struct error *err)
{
    size_t len = strlen(text);
    char *copy = malloc(len + 1); /* its own memory, so that the sanitizer sees a read beyond it */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len + 1);
    enum status status = config_file_parse(copy, len, ret, err);
    free(copy);
    return status;
}

/* The file that was read, which the caller frees. */
static struct config_file file_of(const char *text, size_t count)
{
    struct config_file file = {.count = 0};
    struct error err = {0};
    enum status status = read_text(text, &file, &err);
    ck_assert_msg(status == STATUS_OK, "%s: %s", text, err.message);
    ck_assert_uint_eq(file.count, count);
    return file;
}

static void assert_entry(const struct config_entry *entry, const char *key, size_t line, enum config_kind kind,
                         const char *text)
{
    ck_assert_str_eq(entry->key, key);
    ck_assert_msg(entry->line == line, "%s: line %zu, not %zu", key, entry->line, line);
    ck_assert_int_eq(entry->kind, kind);
    ck_assert_str_eq(entry->text, text);
}

static void assert_refused(const char *text, const char *in_message)
{
    struct config_file file;
    struct error err = {0};
    ck_assert_int_eq(read_text(text, &file, &err), STATUS_INVALID);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_int_ne(read_text(text, &file, NULL), STATUS_OK);
}

START_TEST(config_file_gives_keys_in_order_with_their_lines)
{
    struct config_file file = file_of("{\"a\": 1,\n\"b\":\n\n2, \"c\": 3\n,\r\n\"d\"\n: 4}", 4);
    assert_entry(&file.entries[0], "a", 1, CONFIG_NUMBER, "1");
    assert_entry(&file.entries[1], "b", 2, CONFIG_NUMBER, "2");
    assert_entry(&file.entries[2], "c", 4, CONFIG_NUMBER, "3");
    assert_entry(&file.entries[3], "d", 6, CONFIG_NUMBER, "4");
    config_file_free(&file);
    ck_assert_uint_eq(file.count, 0);
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_passes_over_comments_and_keeps_the_lines)
{
    struct config_file file = file_of(
        "// \"x\": 1, {\n/* two\n lines */ { // more\n\"a\": /* 2 */ 3, /**/ // last\n"
        "/* // */ \"b\": 4 /* \" */ }\n// no newline at its end",
        2);
    assert_entry(&file.entries[0], "a", 4, CONFIG_NUMBER, "3");
    assert_entry(&file.entries[1], "b", 5, CONFIG_NUMBER, "4");
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_leaves_what_looks_like_a_comment_in_a_string)
{
    struct config_file file = file_of(
        "{\"a\": \"http://x\", \"b\": \"/* y */\", \"c//\": \"\\\"//\", \"d\": \"\\\\\" //\n}", 4);
    assert_entry(&file.entries[0], "a", 1, CONFIG_STRING, "http://x");
    assert_entry(&file.entries[1], "b", 1, CONFIG_STRING, "/* y */");
    assert_entry(&file.entries[2], "c//", 1, CONFIG_STRING, "\"//");
    assert_entry(&file.entries[3], "d", 1, CONFIG_STRING, "\\");
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_gives_each_kind_of_value_as_text)
{
    struct config_file file = file_of(
        "{\"a\": \"16MiB\", \"b\": 16777216, \"c\": false, \"d\": null, \"e\": [\"x\", \"y\"],"
        "\"f\": [], \"g\": true, \"h\": {\"i\": 1}, \"j\": [1], \"k\": [\"x\", null]}",
        10);
    assert_entry(&file.entries[0], "a", 1, CONFIG_STRING, "16MiB");
    assert_entry(&file.entries[1], "b", 1, CONFIG_NUMBER, "16777216");
    assert_entry(&file.entries[2], "c", 1, CONFIG_FALSE, "");
    assert_entry(&file.entries[3], "d", 1, CONFIG_NULL, "");
    assert_entry(&file.entries[4], "e", 1, CONFIG_STRINGS, "x,y");
    assert_entry(&file.entries[5], "f", 1, CONFIG_STRINGS, "");
    assert_entry(&file.entries[6], "g", 1, CONFIG_OTHER, "");
    assert_entry(&file.entries[7], "h", 1, CONFIG_OTHER, "");
    assert_entry(&file.entries[8], "j", 1, CONFIG_OTHER, "");
    assert_entry(&file.entries[9], "k", 1, CONFIG_OTHER, "");
    ck_assert_str_eq(file.entries[7].kind_text, "an object");
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_gives_numbers_so_that_a_reader_of_whole_ones_refuses_the_rest)
{
    struct config_file file = file_of(
        "{\"a\": 0, \"b\": 1e3, \"c\": 1.5, \"d\": -1, \"e\": 1e300, \"f\": 9007199254740991}", 6);
    assert_entry(&file.entries[0], "a", 1, CONFIG_NUMBER, "0");
    assert_entry(&file.entries[1], "b", 1, CONFIG_NUMBER, "1000");
    assert_entry(&file.entries[2], "c", 1, CONFIG_NUMBER, "1.5");
    assert_entry(&file.entries[3], "d", 1, CONFIG_NUMBER, "-1");
    ck_assert_ptr_nonnull(strchr(file.entries[4].text, 'e'));
    assert_entry(&file.entries[5], "f", 1, CONFIG_NUMBER, "9007199254740991");
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_counts_lines_through_values_that_span_them)
{
    struct config_file file = file_of(
        "{\"a\": [\n\"x\",\n\"y\"\n], \"b\": {\"c\":\n1, \"d\": [{}\n]\n}, \"e\": 1,\n\"f\": 2}", 4);
    ck_assert_uint_eq(file.entries[0].line, 1);
    ck_assert_uint_eq(file.entries[1].line, 4);
    ck_assert_uint_eq(file.entries[2].line, 7);
    ck_assert_uint_eq(file.entries[3].line, 8);
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_keeps_a_key_that_stands_twice)
{
    struct config_file file = file_of("{\"a\": 1,\n\"a\": 2, \"\": 3}", 3);
    assert_entry(&file.entries[0], "a", 1, CONFIG_NUMBER, "1");
    assert_entry(&file.entries[1], "a", 2, CONFIG_NUMBER, "2");
    assert_entry(&file.entries[2], "", 2, CONFIG_NUMBER, "3");
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_may_be_an_empty_object)
{
    struct config_file file = file_of("{}", 0);
    config_file_free(&file);
    file = file_of("// nothing yet\n{ /* */ }\n", 0);
    config_file_free(&file);
}
END_TEST

START_TEST(config_file_refuses_what_is_no_object_of_json)
{
    assert_refused("", "line 1, column 1: there is no JSON");
    assert_refused("// only a comment", "there is no JSON");
    assert_refused("[]", "line 1, column 1: a \"{\" was expected");
    assert_refused("port = 80", "line 1, column 1: a \"{\" was expected");
    assert_refused("{\"a\": 1,\n}", "line 2, column 1: this is not JSON");
    assert_refused("{\"a\": 1\n \"b\": 2}", "line 2, column 2: this is not JSON");
    assert_refused("{\"a\": 1, // x\n /* y */ b: 2}", "line 2, column 1");
    assert_refused("{\"a\": 1}\n{}", "line 2, column 1: something follows");
    assert_refused("{\"a\": \"x}", "line 1");
    assert_refused("{\"a\": /", "line 1, column 7");
    assert_refused("{\"a\": \"\\u0000\"}", "NUL");
}
END_TEST

START_TEST(config_file_refuses_a_comment_without_its_end)
{
    assert_refused("{\"a\": 1}\n/* and", "line 2: a comment begins here and does not end");
    assert_refused("{\"a\": 1}\n/*/", "line 2: a comment");
    assert_refused("/*", "line 1: a comment");
}
END_TEST

START_TEST(config_file_refuses_a_text_cut_at_any_byte)
{
    static const char text[] = "/* c */ {\"a\": [\"x\"], // d\n\"b\": \"\\\"y\"}";
    for (size_t len = 0; len + 1 < sizeof text; len++) {
        char cut[sizeof text] = "";
        memcpy(cut, text, len);
        assert_refused(cut, "line");
    }
}
END_TEST

START_TEST(config_file_names_the_file_that_it_cannot_read)
{
    char *folder = folder_create(), *path = folder_path(folder, "mlpd.json");
    struct config_file file = {.count = 0};
    struct error err = {0};
    ck_assert_int_eq(config_file_read(path, &file, &err), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "mlpd.json: "));
    ck_assert_int_eq(config_file_read(folder, &file, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "a folder"));
    folder_write(folder, "mlpd.json", "{\n,}");
    ck_assert_int_eq(config_file_read(path, &file, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "mlpd.json: line 2, column "));
    folder_write(folder, "mlpd.json", "{\"a\": 1}");
    ck_assert_int_eq(config_file_read(path, &file, &err), STATUS_OK);
    assert_entry(&file.entries[0], "a", 1, CONFIG_NUMBER, "1");
    config_file_free(&file);
    free(path);
    folder_remove(folder);
}
END_TEST

UNIT_MAIN("server/config_file", config_file_gives_keys_in_order_with_their_lines,
          config_file_passes_over_comments_and_keeps_the_lines,
          config_file_leaves_what_looks_like_a_comment_in_a_string, config_file_gives_each_kind_of_value_as_text,
          config_file_gives_numbers_so_that_a_reader_of_whole_ones_refuses_the_rest,
          config_file_counts_lines_through_values_that_span_them, config_file_keeps_a_key_that_stands_twice,
          config_file_may_be_an_empty_object, config_file_refuses_what_is_no_object_of_json,
          config_file_refuses_a_comment_without_its_end, config_file_refuses_a_text_cut_at_any_byte,
          config_file_names_the_file_that_it_cannot_read)
