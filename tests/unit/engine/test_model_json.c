#include "engine/model_json.h"

#include <string.h>

#include "tests/unit/unit.h"

static struct model make_model(size_t in_features, size_t out_features)
{
    struct model model = {.in_features = in_features, .out_features = out_features};
    model_json_defaults(&model);
    return model;
}

static void free_labels(struct model *model)
{
    for (size_t i = 0; model->labels && i < model->out_features; i++)
        free(model->labels[i]);
    free(model->labels);
}

/* A model of 6 features in and 2 out. */
static struct model accepted(const char *text)
{
    struct error err;
    struct model model = make_model(6, 2);
    enum status status = model_json_parse(text, strlen(text), &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return model;
}

/* Checks the message, and that the model is as it was. */
static void refused(const char *text, const char *what)
{
    struct error err;
    struct model model = make_model(6, 2), before = model;
    ck_assert_int_eq(model_json_parse(text, strlen(text), &model, &err), STATUS_INVALID);
    ck_assert_msg(strstr(err.message, what) != NULL, "\"%s\" has no \"%s\"", err.message, what);
    ck_assert_str_ne(err.hint, "");
    ck_assert_mem_eq(&model, &before, sizeof model);
}

START_TEST(model_json_defaults_to_a_square_picture_scaled_by_255)
{
    struct model model = make_model(784, 10);
    ck_assert_uint_eq(model.width, 28);
    ck_assert_uint_eq(model.height, 28);
    ck_assert_ptr_null(model.labels);
    ck_assert_float_eq(model.pixel_divisor, 255.0f);
    for (int b = 0; b < 256; b++)
        ck_assert_float_eq(model.pixel_scale[b], (float)b / 255.0f);
    model = make_model(785, 10);
    ck_assert_uint_eq(model.width, 0);
    ck_assert_uint_eq(model.height, 0);
    model = make_model(1, 1);
    ck_assert_uint_eq(model.width, 1);
    model = make_model((1 << 24) - 1, 1);
    ck_assert_uint_eq(model.width, 0);
    model = make_model(1 << 24, 1);
    ck_assert_uint_eq(model.width, 4096);
}
END_TEST

START_TEST(model_json_reads_labels_size_and_divisor)
{
    struct model model = accepted("{\"labels\":[\"a\",\"\xC3\xBC \\\"b\\\"\"],"
                                  "\"input\":{\"width\":3,\"height\":2,\"pixel_divisor\":127.5}}\n");
    ck_assert_str_eq(model.labels[0], "a");
    ck_assert_str_eq(model.labels[1], "\xC3\xBC \"b\"");
    ck_assert_uint_eq(model.width, 3);
    ck_assert_uint_eq(model.height, 2);
    ck_assert_float_eq(model.pixel_divisor, 127.5f);
    ck_assert_float_eq(model.pixel_scale[255], 2.0f);
    free_labels(&model);
}
END_TEST

START_TEST(model_json_leaves_what_is_not_said_at_its_default)
{
    struct model model = accepted("{}");
    ck_assert_ptr_null(model.labels);
    ck_assert_float_eq(model.pixel_divisor, 255.0f);
    model = accepted("{\"input\":{}}");
    ck_assert_uint_eq(model.width, 0);
    model = accepted("{\"input\":{\"pixel_divisor\":1}}");
    ck_assert_float_eq(model.pixel_scale[255], 255.0f);
}
END_TEST

START_TEST(model_json_refuses_what_is_no_json_object_with_its_place)
{
    refused("", "line 1, column 1: there is no JSON");
    refused("[]", "line 1, column 1: a \"{\" was expected");
    refused("{\n  \"labels\": [\"a\", \"b\",]\n}", "line 2, column ");
    refused("{} x", "line 1, column 4: something follows the object");
    refused("{\"labels\":[\"a\\u0000\",\"b\"]}", "NUL");
}
END_TEST

START_TEST(model_json_refuses_unknown_and_repeated_keys_and_names_them)
{
    refused("{\"lables\":[]}", "unknown key \"lables\" in model.json");
    refused("{\"input\":{\"depth\":1}}", "unknown key \"depth\" in input");
    refused("{\"labels\":[\"a\",\"b\"],\"labels\":[\"a\",\"b\"]}", "two keys \"labels\" in model.json");
    refused("{\"input\":{\"width\":3,\"width\":3,\"height\":2}}", "two keys \"width\" in input");
    refused("{\"Labels\":[]}", "unknown key \"Labels\"");
    refused("{\"\\u001b[31m\":[]}", "unknown key \"?\"");
    struct error err;
    struct model model = make_model(6, 2);
    model_json_parse("{\"x\":1}", 7, &model, &err);
    ck_assert_str_eq(err.hint, "the keys are labels, task and input, each at most once");
    model_json_parse("{\"input\":{\"x\":1}}", 17, &model, &err);
    ck_assert_str_eq(err.hint, "the keys are channels, width, height, pixel_divisor, mean and std, each at most once");
}
END_TEST

START_TEST(model_json_refuses_labels_of_another_type_or_number)
{
    refused("{\"labels\":\"a\"}", "labels is a string, an array of 2 strings was expected");
    refused("{\"labels\":null}", "labels is null");
    refused("{\"labels\":[\"a\",3]}", "labels[1] is a number, a string was expected");
    refused("{\"labels\":[]}", "there are 0 labels, but the model gives 2 features");
    refused("{\"labels\":[\"a\"]}", "there are 1 labels");
    refused("{\"labels\":[\"a\",\"b\",\"c\"]}", "there are 3 labels");
    refused("{\"labels\":[\"a\",\"b\\n\"]}", "labels[1] holds a control character");
    refused("{\"labels\":[\"a\",\"\xFF\"]}", "labels[1] holds a control character or bytes that are not UTF-8");
    refused("{\"labels\":[\"a\",\"b\"],\"x\":1}", "unknown key \"x\"");
}
END_TEST

START_TEST(model_json_refuses_a_picture_that_does_not_fit_the_model)
{
    refused("{\"input\":[]}", "input is an array, an object was expected");
    refused("{\"input\":{\"width\":2,\"height\":2}}", "a picture of 2 x 2, but the model takes 6 features");
    refused("{\"input\":{\"width\":3}}", "input has width without height");
    refused("{\"input\":{\"height\":3}}", "input has height without width");
    refused("{\"input\":{\"width\":0,\"height\":2}}", "input.width must be a whole number from 1 to 65536");
    refused("{\"input\":{\"width\":3,\"height\":1.5}}", "input.height must be a whole number");
    refused("{\"input\":{\"width\":65537,\"height\":2}}", "input.width must be");
    refused("{\"input\":{\"width\":\"3\",\"height\":2}}", "input.width must be");
}
END_TEST

START_TEST(model_json_refuses_divisors_that_make_no_finite_pixels)
{
    const char *what = "input.pixel_divisor must be a number above zero";
    refused("{\"input\":{\"pixel_divisor\":0}}", what);
    refused("{\"input\":{\"pixel_divisor\":-255}}", what);
    refused("{\"input\":{\"pixel_divisor\":1e-50}}", what);
    refused("{\"input\":{\"pixel_divisor\":1e-37}}", what);
    refused("{\"input\":{\"pixel_divisor\":1e39}}", what);
    refused("{\"input\":{\"pixel_divisor\":1e999}}", what);
    refused("{\"input\":{\"pixel_divisor\":\"255\"}}", what);
    refused("{\"input\":{\"pixel_divisor\":true}}", what);
}
END_TEST

UNIT_MAIN("engine/model_json", model_json_defaults_to_a_square_picture_scaled_by_255,
          model_json_reads_labels_size_and_divisor, model_json_leaves_what_is_not_said_at_its_default,
          model_json_refuses_what_is_no_json_object_with_its_place,
          model_json_refuses_unknown_and_repeated_keys_and_names_them,
          model_json_refuses_labels_of_another_type_or_number,
          model_json_refuses_a_picture_that_does_not_fit_the_model,
          model_json_refuses_divisors_that_make_no_finite_pixels)
