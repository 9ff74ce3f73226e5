#include "engine/python_repr.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "tests/unit/unit.h"

static void check_float(double value, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    python_repr_float(out, value);
    ck_assert_int_eq(fclose(out), 0);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(python_repr_writes_floats_as_python_does)
{
    check_float(0.0, "0.0");
    check_float(-0.0, "-0.0");
    check_float(1.0, "1.0");
    check_float(-10.0, "-10.0");
    check_float(0.1, "0.1");
    check_float(0.1 + 0.2, "0.30000000000000004");
    check_float(0.01, "0.01");
    check_float(0.0001, "0.0001");
    check_float(0.00001, "1e-05");
    check_float(0.00012345, "0.00012345");
    check_float(1.5e-7, "1.5e-07");
    check_float(123456.789, "123456.789");
    check_float(1e15, "1000000000000000.0");
    check_float(1234567890123456.0, "1234567890123456.0");
    check_float(1e16, "1e+16");
    check_float(12345678901234567.0, "1.2345678901234568e+16");
    check_float(1e22, "1e+22");
    check_float(1e100, "1e+100");
    check_float(5e-324, "5e-324");
    check_float(DBL_MAX, "1.7976931348623157e+308");
    check_float(DBL_MIN, "2.2250738585072014e-308");
    check_float(1.0 / 3.0, "0.3333333333333333");
    check_float(2.0 / 3.0, "0.6666666666666666");
    check_float(9007199254740993.0, "9007199254740992.0");
    check_float(INFINITY, "inf");
    check_float(-INFINITY, "-inf");
    check_float(NAN, "nan");
}
END_TEST

/* ---- Values ---- */

static struct pickle_value string(const char *text)
{
    return (struct pickle_value){.kind = PICKLE_STRING, .text = {text, strlen(text)}};
}

static struct pickle_value integer(int64_t value)
{
    return (struct pickle_value){.kind = PICKLE_INT, .integer = value};
}

/* What the function writes, or NULL if it says that it cannot; the caller frees it. */
static char *written(bool (*write)(FILE *out, const struct pickle_value *value), const struct pickle_value *value)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    bool ok = write(out, value);
    ck_assert_int_eq(fclose(out), 0);
    if (ok)
        return text;
    free(text);
    return NULL;
}

static void check(const struct pickle_value *value, const char *repr, const char *str)
{
    char *text = written(python_repr, value);
    ck_assert_str_eq(text, repr);
    free(text);
    text = written(python_str, value);
    ck_assert_str_eq(text, str);
    free(text);
}

START_TEST(python_repr_writes_strings_with_and_str_without_quotes)
{
    struct pickle_value value = string("tanh");
    check(&value, "'tanh'", "tanh");
    value = integer(INT64_MIN);
    check(&value, "-9223372036854775808", "-9223372036854775808");
    value = (struct pickle_value){.kind = PICKLE_NONE};
    check(&value, "None", "None");
    value = (struct pickle_value){.kind = PICKLE_BOOL, .integer = 1};
    check(&value, "True", "True");
}
END_TEST

START_TEST(python_repr_writes_tuples_lists_and_sizes)
{
    struct pickle_value numbers[] = {integer(1), integer(28)}, name = string("w");
    struct pickle_value *two[] = {&numbers[0], &numbers[1]}, *mixed[] = {&name, &numbers[1]};
    struct pickle_value tuple = {.kind = PICKLE_TUPLE, .items = {two, 2, 2}};
    check(&tuple, "(1, 28)", "(1, 28)");
    tuple.items.count = 1;
    check(&tuple, "(1,)", "(1,)");
    struct pickle_value list = {.kind = PICKLE_LIST, .items = {mixed, 2, 2}};
    check(&list, "['w', 28]", "['w', 28]");
    tuple.items.count = 2;
    struct pickle_value *size_args[] = {&tuple};
    struct pickle_value args = {.kind = PICKLE_TUPLE, .items = {size_args, 1, 1}};
    struct pickle_value global = {.kind = PICKLE_GLOBAL, .global = {{"torch", 5}, {"Size", 4}}};
    struct pickle_object object = {.made_by = &global, .args = &args, .is_call = true};
    struct pickle_value size = {.kind = PICKLE_OBJECT, .object = &object};
    check(&size, "torch.Size([1, 28])", "torch.Size([1, 28])");
}
END_TEST

static void cannot_write(const struct pickle_value *value)
{
    ck_assert_ptr_null(written(python_repr, value));
    ck_assert_ptr_null(written(python_str, value));
}

START_TEST(python_repr_says_what_it_cannot_write)
{
    static const char *const strings[] = {"a'b", "a\\b", "a\nb", "a)", "a,b", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
        struct pickle_value value = string(strings[i]);
        cannot_write(&value);
    }
    struct pickle_value list = {.kind = PICKLE_LIST}, *self[17];
    for (size_t i = 0; i < 17; i++)
        self[i] = &list;
    list.items = (struct pickle_items){self, 1, 1}; /* a list that holds itself */
    cannot_write(&list);
    struct pickle_value number = integer(1), *many[17];
    for (size_t i = 0; i < 17; i++)
        many[i] = &number;
    list.items = (struct pickle_items){many, 17, 17};
    cannot_write(&list);
    struct pickle_value dict = {.kind = PICKLE_DICT}, bytes = {.kind = PICKLE_BYTES};
    cannot_write(&dict);
    cannot_write(&bytes);
    char text[66];
    memset(text, 'a', 65);
    text[65] = '\0';
    struct pickle_value longest = string(text);
    cannot_write(&longest);
}
END_TEST

UNIT_MAIN("engine/python_repr", python_repr_writes_floats_as_python_does,
          python_repr_writes_strings_with_and_str_without_quotes, python_repr_writes_tuples_lists_and_sizes,
          python_repr_says_what_it_cannot_write)
