#include "server/json_tensor.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

enum { VALUES_MAX = 1000, STRINGS_MAX = 4 };

/* What json_tensor_read made of a text; tensor_free takes the storage back. */
struct outcome {
    enum status status;
    struct json_tensor tensor;
    struct error err;
};

/* The text is copied so that the address sanitizer sees a byte read beyond its NUL. */
static struct outcome read_bytes(const char *text, size_t len)
{
    struct outcome outcome = {.tensor = {.values_max = VALUES_MAX, .strings_max = STRINGS_MAX}};
    char *copy = malloc(len + 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    copy[len] = '\0';
    outcome.status = json_tensor_read(copy, len, &outcome.tensor, &outcome.err);
    free(copy);
    return outcome;
}

static void outcome_free(struct outcome *outcome)
{
    free(outcome->tensor.values);
    free(outcome->tensor.strings);
}

static void assert_refused_bytes(const char *text, size_t len, const char *message)
{
    struct outcome outcome = read_bytes(text, len);
    ck_assert_msg(outcome.status == STATUS_INVALID, "%s", text);
    ck_assert_str_eq(outcome.err.message, message);
    ck_assert_msg(outcome.err.hint[0] != '\0', "%s has no hint", text);
    outcome_free(&outcome);
}

static void assert_refused(const char *text, const char *message)
{
    assert_refused_bytes(text, strlen(text), message);
}

static void assert_hint(const char *text, const char *hint)
{
    struct outcome outcome = read_bytes(text, strlen(text));
    ck_assert_int_eq(outcome.status, STATUS_INVALID);
    ck_assert_msg(strstr(outcome.err.hint, hint) != NULL, "%s", outcome.err.hint);
    outcome_free(&outcome);
}

/* Shape and values as text, such as "2x3: 1 2 3 4 5 6". */
static void assert_reads(const char *text, const char *expected)
{
    struct outcome outcome = read_bytes(text, strlen(text));
    ck_assert_msg(outcome.status == STATUS_OK, "%s: %s", text, outcome.err.message);
    char got[512];
    size_t len = 0;
    for (size_t d = 0; d < outcome.tensor.dims; d++)
        len += (size_t)snprintf(got + len, sizeof got - len, "%s%zu", d ? "x" : "", outcome.tensor.shape[d]);
    len += (size_t)snprintf(got + len, sizeof got - len, ":");
    for (size_t i = 0; i < outcome.tensor.value_count; i++)
        len += (size_t)snprintf(got + len, sizeof got - len, " %.9g", (double)outcome.tensor.values[i]);
    ck_assert_str_eq(got, expected);
    ck_assert_uint_eq(outcome.tensor.string_count, 0);
    outcome_free(&outcome);
}

START_TEST(json_tensor_reads_numbers_of_any_shape)
{
    assert_reads("7", ": 7");
    assert_reads("[1,2,3]", "3: 1 2 3");
    assert_reads("[[1,2,3],[4,5,6]]", "2x3: 1 2 3 4 5 6");
    assert_reads("[[[1],[2]],[[3],[4]],[[5],[6]]]", "3x2x1: 1 2 3 4 5 6");
    assert_reads("[[[[[[[[-0.5]]]]]]]]", "1x1x1x1x1x1x1x1: -0.5");
    assert_reads(" \t\r\n[ [ 1e2 ,\n0.003921569 ] , [ -0 , 1E-60 ] ] \n", "2x2: 100 0.00392156886 -0 0");
}
END_TEST

START_TEST(json_tensor_reads_inputs_or_instances_with_a_dtype_on_either_side)
{
    assert_reads("{\"inputs\":[1,2]}", "2: 1 2");
    assert_reads("{\"instances\":[[1,2]]}", "1x2: 1 2");
    assert_reads(" { \"dtype\" : \"float32\" , \"inputs\" : 0.5 } ", ": 0.5");
    assert_reads("{\"inputs\":[255,0,1.0,2e1],\"dtype\":\"uint8\"}", "4: 255 0 1 20");
    struct outcome outcome = read_bytes("{\"dtype\":\"uint8\",\"inputs\":[1]}", 30);
    ck_assert_int_eq(outcome.status, STATUS_OK);
    ck_assert(outcome.tensor.is_uint8);
    outcome_free(&outcome);
    outcome = read_bytes("{\"dtype\":\"float32\",\"inputs\":[1]}", 32);
    ck_assert_int_eq(outcome.status, STATUS_OK);
    ck_assert(!outcome.tensor.is_uint8);
    outcome_free(&outcome);
}
END_TEST

START_TEST(json_tensor_knows_keys_and_dtypes_that_are_written_with_escapes)
{
    assert_reads("{\"\\u0069nputs\":[1]}", "1: 1");
    assert_reads("{\"\\u0069\\u006e\\u0073\\u0074\\u0061\\u006e\\u0063\\u0065\\u0073\":[1]}", "1: 1");
    assert_refused("{\"inputs\":[1.5],\"dtype\":\"u\\u0069nt8\"}",
                   "the number at [0] is 1.5, but \"dtype\" is \"uint8\": whole numbers 0 to 255");
    assert_refused(
        "{\"inputs\":[1.5],\"dtype\":\"u\\u0069nt\\u0038\\u0000\"}",
        "line 1, column 25: \"dtype\" is '\"u\\u0069nt\\u0038\\u00...', expected \"float32\" or \"uint8\"");
    assert_refused("{\"\\u0069nputs\":[1],\"inputs\":[1]}", "line 1, column 20: the key \"inputs\" comes twice");
}
END_TEST

START_TEST(json_tensor_reads_strings)
{
    static const char text[] = "{\"inputs\": [\"aGk=\", \"a\\/b\"]}";
    struct json_tensor tensor = {.strings_max = STRINGS_MAX};
    struct error err;
    ck_assert_int_eq(json_tensor_read(text, strlen(text), &tensor, &err), STATUS_OK);
    ck_assert_uint_eq(tensor.string_count, 2);
    ck_assert_uint_eq(tensor.value_count, 0);
    ck_assert_uint_eq(tensor.dims, 1);
    ck_assert_uint_eq(tensor.shape[0], 2);
    ck_assert_uint_eq(tensor.strings[1].len, 4);
    char raw[4];
    ck_assert_uint_eq(json_string_unescape(tensor.strings[1], raw), 3);
    ck_assert_mem_eq(raw, "a/b", 3);

    ck_assert_int_eq(json_tensor_read("\"x\"", 3, &tensor, &err), STATUS_OK);
    ck_assert_uint_eq(tensor.string_count, 1);
    ck_assert_uint_eq(tensor.dims, 0);
    free(tensor.strings);
}
END_TEST

START_TEST(json_tensor_refuses_ragged_arrays_with_both_lengths_and_where)
{
    assert_refused("[[1,2],\n [3]]", "line 2, column 4: row 1 has 1 number, row 0 has 2");
    assert_refused("[[1],[2],[3,4]]", "line 1, column 14: row 2 has 2 numbers, row 0 has 1");
    assert_refused("[[[1,2],[3,4]],[[1,2],[3,4,5]]]", "line 1, column 29: [1][1] has 3 numbers, [0][0] has 2");
    assert_refused("[[[1],[2]],[[3]]]", "line 1, column 16: row 1 has 1 row, row 0 has 2");
    assert_refused("[[[[1],[1]],[[1],[1]]],[[[2],[2]],[[3]]]]",
                   "line 1, column 39: [1][1] has 1 row, [0][0] has 2");
}
END_TEST

START_TEST(json_tensor_refuses_mixed_depths_and_kinds)
{
    assert_refused("[[1],2]", "line 1, column 6: expected an array like the one before it, found '2'");
    assert_refused("[1,[2]]", "line 1, column 4: expected a number like those before it, found '['");
    assert_refused("[[1],[[2]]]", "line 1, column 7: expected a number like those before it, found '['");
    assert_refused("[1,\"a\"]", "line 1, column 4: expected a number like those before it, found '\"a\"'");
    assert_refused("[[1],[\"a\"]]", "line 1, column 7: expected a number like those before it, found '\"a\"'");
    assert_refused("[\"a\",1]", "line 1, column 6: expected a string like those before it, found '1'");
    assert_refused("[\"a\",[\"b\"]]", "line 1, column 6: expected a string like those before it, found '['");
    assert_refused("[[\"a\"]]", "line 1, column 3: a string 2 arrays deep, expected a number");
}
END_TEST

START_TEST(json_tensor_refuses_empty_arrays)
{
    assert_refused("[]", "line 1, column 2: an empty array, expected at least one element");
    assert_refused("[[],[]]", "line 1, column 3: an empty array, expected at least one element");
    assert_refused("[[1],[]]", "line 1, column 7: an empty array, expected at least one element");
    assert_refused("{\"inputs\":[ ]}", "line 1, column 13: an empty array, expected at least one element");
}
END_TEST

START_TEST(json_tensor_refuses_numbers_that_json_does_not_have)
{
    static const char *const words[] = {"01", "-01", "1.", "1.]", "+1", ".5", "-.5", "1e", "1e+", "-"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[32], message[64];
        snprintf(text, sizeof text, "[0, %s]", words[i]);
        snprintf(message, sizeof message, "line 1, column 5: '%.*s' is not a JSON number",
                 (int)strcspn(words[i], "]"), words[i]);
        assert_refused(text, message);
    }
    assert_refused("[12abc]", "line 1, column 4: expected ',' or ']', found 'abc'");
    assert_refused("[0x10]", "line 1, column 3: expected ',' or ']', found 'x10'");
    assert_refused("[1.5.2]", "line 1, column 5: expected ',' or ']', found '.2'");
}
END_TEST

START_TEST(json_tensor_refuses_nan_and_infinity_and_says_that_json_has_none)
{
    static const char *const words[] = {"NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[32], message[64];
        snprintf(text, sizeof text, "[[1],[%s]]", words[i]);
        snprintf(message, sizeof message, "line 1, column 7: '%s' is not JSON", words[i]);
        assert_refused(text, message);
        assert_hint(text, "JSON has no NaN");
    }
}
END_TEST

START_TEST(json_tensor_refuses_numbers_that_overflow_a_float32)
{
    assert_refused("[1,\n\n  1e39]",
                   "line 3, column 3: '1e39' does not fit a float32, whose largest number is 3.4028235e+38");
    assert_refused(
        "-3.4028236e38",
        "line 1, column 1: '-3.4028236e38' does not fit a float32, whose largest number is 3.4028235e+38");
    assert_refused("[1000000000000000000000000000000000000000]",
                   "line 1, column 2: '10000000000000000000...' does not fit a float32, whose largest number is "
                   "3.4028235e+38");
    assert_reads("[3.4028235e38]", "1: 3.40282347e+38");
}
END_TEST

START_TEST(json_tensor_refuses_other_kinds_of_values)
{
    assert_refused("[true]", "line 1, column 2: expected a number, a string or an array of these, found 'true'");
    assert_refused("[0,null]", "line 1, column 4: expected a number like those before it, found 'null'");
    assert_refused("[{\"a\":1}]", "line 1, column 2: expected a number, a string or an array of these, found '{'");
    assert_refused("{\"inputs\":{\"a\":1}}",
                   "line 1, column 11: expected a number, a string or an array of these, found '{'");
    assert_refused("false", "line 1, column 1: expected a number, a string or an array of these, found 'false'");
}
END_TEST

START_TEST(json_tensor_refuses_what_is_not_quite_json)
{
    assert_refused(
        "", "line 1, column 1: expected an array, a number, a string or an object, found the end of the text");
    assert_refused(" \n",
                   "line 2, column 1: expected an array, a number, a string or an object, found the end of the "
                   "text");
    assert_refused("[1", "line 1, column 3: expected ',' or ']', found the end of the text");
    assert_refused("[1,", "line 1, column 4: expected a number like those before it, found the end of the text");
    assert_refused("[1,]", "line 1, column 4: expected a number like those before it, found ']'");
    assert_refused("[1 2]", "line 1, column 4: expected ',' or ']', found '2'");
    assert_refused("[1}", "line 1, column 3: expected ',' or ']', found '}'");
    assert_refused("[1]]", "line 1, column 4: expected the end of the text, found ']'");
    assert_refused("[1] trailing", "line 1, column 5: expected the end of the text, found 'trailing'");
    assert_refused("{'inputs':[1]}", "line 1, column 2: expected a key in double quotes, found ''inputs''");
    assert_refused("{\"inputs\" [1]}", "line 1, column 11: expected ':' after the key, found '['");
    assert_refused("{\"inputs\":[1],}", "line 1, column 15: expected a key in double quotes, found '}'");
    assert_refused("{\"inputs\":[1]", "line 1, column 14: expected ',' or '}', found the end of the text");
    assert_refused("{\"inputs\":[1]]", "line 1, column 14: expected ',' or '}', found ']'");
    assert_refused("\x89PNG\r\n",
                   "line 1, column 1: expected a number, a string or an array of these, found '\\x89PNG'");
    assert_refused_bytes("[1\0]", 4, "line 1, column 3: expected ',' or ']', found '\\x00'");
    assert_refused_bytes("1\0", 2, "line 1, column 2: expected the end of the text, found '\\x00'");
}
END_TEST

START_TEST(json_tensor_refuses_a_byte_order_mark_by_its_name)
{
    assert_refused("\xEF\xBB\xBF[1]",
                   "line 1, column 1: the text begins with a byte order mark, which JSON does not have");
}
END_TEST

START_TEST(json_tensor_refuses_malformed_strings)
{
    assert_refused("[\"abc]", "line 1, column 2: the string that begins here has no closing quote");
    assert_refused("[\"a\nb\"]", "line 1, column 4: a control character that is not escaped in a string: '\\x0a'");
    assert_refused("[\"\\x\"]", "line 1, column 3: an escape that JSON does not have in a string: '\\x\"'");
    assert_refused("\"\\ud83d\"", "line 1, column 2: half of a surrogate pair in a string: '\\ud83d\"'");
    assert_refused("\"\xff\"", "line 1, column 2: a byte that is not UTF-8 in a string: '\\xff\"'");
    assert_refused("{\"\\q\":1}", "line 1, column 3: an escape that JSON does not have in a string: '\\q\"'");
    assert_refused_bytes("\"a\0b\"", 5,
                         "line 1, column 3: a control character that is not escaped in a string: '\\x00'");
}
END_TEST

START_TEST(json_tensor_refuses_unknown_repeated_and_missing_keys_and_names_those_known)
{
    assert_refused("{\"inputs\":[1],\"inputs\":[2]}", "line 1, column 15: the key \"inputs\" comes twice");
    assert_refused("{\"dtype\":\"uint8\",\"dtype\":\"uint8\"}", "line 1, column 18: the key \"dtype\" comes twice");
    assert_refused("{\"inputs\":[1],\"instances\":[2]}",
                   "line 1, column 15: \"inputs\" and \"instances\" together; they are two names for the same");
    assert_refused("{\"dtype\":\"uint8\"}",
                   "line 1, column 1: an object with neither \"inputs\" nor \"instances\"");
    assert_refused("{}", "line 1, column 1: an object with neither \"inputs\" nor \"instances\"");
    assert_refused("{\"data\":[1]}", "line 1, column 2: unknown key '\"data\"'");
    assert_refused("{\"inputs\":[1],\"an unexpectedly long key\":1}",
                   "line 1, column 15: unknown key '\"an unexpectedly lon...'");
    assert_hint("{\"data\":[1]}", "\"inputs\"");
    assert_hint("{\"data\":[1]}", "\"instances\"");
    assert_hint("{\"data\":[1]}", "\"dtype\"");
    assert_hint("{}", "\"inputs\"");
}
END_TEST

START_TEST(json_tensor_refuses_an_unknown_dtype_and_one_beside_strings)
{
    assert_refused("{\"inputs\":[1],\"dtype\":\"float64\"}",
                   "line 1, column 23: \"dtype\" is '\"float64\"', expected \"float32\" or \"uint8\"");
    assert_refused("{\"dtype\":8,\"inputs\":[1]}",
                   "line 1, column 10: \"dtype\" is '8', expected \"float32\" or \"uint8\"");
    assert_refused("{\"dtype\":\"uint8\",\"inputs\":[\"aGk=\"]}",
                   "\"dtype\" beside strings; it is for numbers, and these are pictures");
    assert_refused("{\"inputs\":\"aGk=\",\"dtype\":\"float32\"}",
                   "\"dtype\" beside strings; it is for numbers, and these are pictures");
}
END_TEST

START_TEST(json_tensor_refuses_a_uint8_that_is_not_whole_or_beyond_255_and_names_its_index)
{
    assert_refused("{\"dtype\":\"uint8\",\"inputs\":[[1,2],[3,256]]}",
                   "the number at [1][1] is 256.0, but \"dtype\" is \"uint8\": whole numbers 0 to 255");
    assert_refused("{\"inputs\":[0,1,2.5],\"dtype\":\"uint8\"}",
                   "the number at [2] is 2.5, but \"dtype\" is \"uint8\": whole numbers 0 to 255");
    assert_refused("{\"inputs\":[[[0],[1]],[[2],[-1]]],\"dtype\":\"uint8\"}",
                   "the number at [1][1][0] is -1.0, but \"dtype\" is \"uint8\": whole numbers 0 to 255");
    assert_refused("{\"inputs\":1e30,\"dtype\":\"uint8\"}",
                   "the number is 1e+30, but \"dtype\" is \"uint8\": whole numbers 0 to 255");
}
END_TEST

START_TEST(json_tensor_refuses_deep_nesting_at_once)
{
    assert_refused("[[[[[[[[[1]]]]]]]]]", "line 1, column 9: arrays nested deeper than 8");
    size_t len = 100000;
    char *text = malloc(len + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, '[', len);
    text[len] = '\0';
    assert_refused(text, "line 1, column 9: arrays nested deeper than 8");
    free(text);
}
END_TEST

START_TEST(json_tensor_stops_at_the_most_numbers_and_strings_that_are_taken)
{
    struct json_tensor tensor = {.values_max = 3, .strings_max = 1};
    struct error err;
    ck_assert_int_eq(json_tensor_read("[1,2,3]", 7, &tensor, &err), STATUS_OK);
    ck_assert_int_eq(json_tensor_read("[[1,2],[3,4]]", 13, &tensor, &err), STATUS_TOO_LARGE);
    ck_assert_str_eq(err.message, "4 or more numbers in one request, at most 3 are taken");
    ck_assert_int_eq(json_tensor_read("[\"a\"]", 5, &tensor, &err), STATUS_OK);
    ck_assert_int_eq(json_tensor_read("[\"a\",\"b\"]", 9, &tensor, &err), STATUS_TOO_LARGE);
    ck_assert_str_eq(err.message, "2 or more strings in one request, at most 1 are taken");
    free(tensor.values);
    free(tensor.strings);
}
END_TEST

START_TEST(json_tensor_obeys_a_maximum_smaller_than_the_storage_it_was_given)
{
    struct json_tensor tensor = {.values_max = 2, .values_capacity = 16, .values = malloc(16 * sizeof(float))};
    struct error err;
    ck_assert_int_eq(json_tensor_read("[1,2]", 5, &tensor, &err), STATUS_OK);
    ck_assert_int_eq(json_tensor_read("[1,2,3]", 7, &tensor, &err), STATUS_TOO_LARGE);
    ck_assert_uint_eq(tensor.values_capacity, 16);
    free(tensor.values);
}
END_TEST

START_TEST(json_tensor_reuses_its_storage_and_grows_it)
{
    static char text[400000];
    struct json_tensor tensor = {.values_max = 100000};
    struct error err;
    for (size_t count = 1; count < 100000; count = count * 3 + 1) {
        size_t len = 0;
        for (size_t i = 0; i < count; i++)
            len += (size_t)sprintf(text + len, "%c%zu", i ? ',' : '[', i % 100);
        text[len++] = ']';
        text[len] = '\0';
        ck_assert_int_eq(json_tensor_read(text, len, &tensor, &err), STATUS_OK);
        ck_assert_uint_eq(tensor.value_count, count);
        ck_assert_uint_ge(tensor.values_capacity, count);
        for (size_t i = 0; i < count; i++)
            if (tensor.values[i] != (float)(i % 100))
                ck_abort_msg("value %zu of %zu", i, count);
    }
    float *before = tensor.values;
    ck_assert_int_eq(json_tensor_read("[5]", 3, &tensor, &err), STATUS_OK);
    ck_assert_ptr_eq(tensor.values, before);
    free(tensor.values);
}
END_TEST

START_TEST(json_tensor_reads_without_an_error_to_fill)
{
    struct json_tensor tensor = {.values_max = 3};
    ck_assert_int_eq(json_tensor_read("[1,]", 4, &tensor, NULL), STATUS_INVALID);
    ck_assert_int_eq(json_tensor_read("[1]", 3, &tensor, NULL), STATUS_OK);
    free(tensor.values);
}
END_TEST

UNIT_MAIN("server/json_tensor", json_tensor_reads_numbers_of_any_shape,
          json_tensor_reads_inputs_or_instances_with_a_dtype_on_either_side,
          json_tensor_knows_keys_and_dtypes_that_are_written_with_escapes, json_tensor_reads_strings,
          json_tensor_refuses_ragged_arrays_with_both_lengths_and_where, json_tensor_refuses_mixed_depths_and_kinds,
          json_tensor_refuses_empty_arrays, json_tensor_refuses_numbers_that_json_does_not_have,
          json_tensor_refuses_nan_and_infinity_and_says_that_json_has_none,
          json_tensor_refuses_numbers_that_overflow_a_float32, json_tensor_refuses_other_kinds_of_values,
          json_tensor_refuses_what_is_not_quite_json, json_tensor_refuses_a_byte_order_mark_by_its_name,
          json_tensor_refuses_malformed_strings,
          json_tensor_refuses_unknown_repeated_and_missing_keys_and_names_those_known,
          json_tensor_refuses_an_unknown_dtype_and_one_beside_strings,
          json_tensor_refuses_a_uint8_that_is_not_whole_or_beyond_255_and_names_its_index,
          json_tensor_refuses_deep_nesting_at_once,
          json_tensor_stops_at_the_most_numbers_and_strings_that_are_taken,
          json_tensor_obeys_a_maximum_smaller_than_the_storage_it_was_given,
          json_tensor_reuses_its_storage_and_grows_it, json_tensor_reads_without_an_error_to_fill)
