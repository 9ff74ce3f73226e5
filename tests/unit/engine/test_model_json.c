#include "engine/model_json.h"

#include <string.h>

#include "tests/unit/unit.h"

static struct layer linear = {.type = LAYER_LINEAR, .dims = 1};

static struct model make_model(size_t in_features, size_t out_features)
{
    struct model model = {
        .in_features = in_features, .out_features = out_features, .layers = &linear, .layer_count = 1};
    model_json_defaults(&model);
    return model;
}

static void free_labels(struct model *model)
{
    for (size_t i = 0; i < model->label_count; i++)
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
    ck_assert_str_eq(err.hint, "the keys are labels, task, threshold and input, each at most once");
    model_json_parse("{\"input\":{\"x\":1}}", 17, &model, &err);
    ck_assert_str_eq(err.hint,
                     "the keys are channels, width, height, pixel_divisor, mean and std, each at most once");
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
    refused("{\"input\":{\"width\":3,\"height\":2,\"channels\":3}}",
            "3 x 2 in several channels, but the model takes 6");
    refused("{\"input\":{\"channels\":2}}",
            "a picture of 1 x 1 in several channels, but the model takes 6 features");
    refused("{\"input\":{\"channels\":1}}", "a picture of 2 x 2, but the model takes 6 features");
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

/* The refusal's hint, for a model of these features. */
static void hinted(size_t in_features, size_t out_features, const char *text, const char *what)
{
    struct error err = {0};
    struct model model = make_model(in_features, out_features);
    ck_assert_int_eq(model_json_parse(text, strlen(text), &model, &err), STATUS_INVALID);
    ck_assert_msg(strstr(err.hint, what) != NULL, "\"%s\" has no \"%s\"", err.hint, what);
}

START_TEST(model_json_reads_channels_and_takes_the_picture_for_square_without_a_size)
{
    struct model model = accepted("{\"input\":{\"channels\":6}}");
    ck_assert_uint_eq(model.channels, 6);
    ck_assert_uint_eq(model.width, 1);
    ck_assert_uint_eq(model.height, 1);
    model = accepted("{\"input\":{\"height\":1,\"width\":2,\"channels\":3}}");
    ck_assert_uint_eq(model.channels, 3);
    ck_assert_uint_eq(model.width, 2);
    ck_assert_uint_eq(make_model(6, 2).channels, 1);
    refused("{\"input\":{\"channels\":0}}", "input.channels must be a whole number from 1 to 16");
    refused("{\"input\":{\"channels\":17}}", "input.channels must be");
    refused("{\"input\":{\"channels\":\"rgb\"}}", "input.channels must be");
    hinted(3072, 10, "{\"input\":{\"width\":32,\"height\":32}}", "write \"channels\": 3");
}
END_TEST

START_TEST(model_json_scales_each_channel_as_torchvision_normalises)
{
    struct model model = accepted("{\"input\":{\"std\":[0.25,0.5,2],\"channels\":3,\"width\":2,\"height\":1,"
                                  "\"mean\":[0.485,0.456,-1],\"pixel_divisor\":200}}");
    static const float mean[] = {0.485F, 0.456F, -1}, std[] = {0.25F, 0.5F, 2};
    for (size_t c = 0; c < 3; c++)
        for (int b = 0; b < 256; b++) {
            float value = (float)b / 200.0F - mean[c];
            ck_assert_float_eq(model.channel_scale[c][b], value / std[c]);
        }
    for (size_t i = 0; i < 6; i++)
        ck_assert_float_eq(model_pixel(&model, i, 77), model.channel_scale[i / 2][77]);
    model = accepted("{\"input\":{\"width\":3,\"height\":2,\"mean\":[0.5],\"std\":[0.5]}}");
    ck_assert_float_eq(model.pixel_scale[255], 1.0F);
    ck_assert_float_eq(model.pixel_scale[0], -1.0F);
}
END_TEST

START_TEST(model_json_refuses_means_and_deviations_that_do_not_fit)
{
    refused("{\"input\":{\"mean\":[0.5,0.5,0.5]}}",
            "input.mean must be an array of 1 numbers, one for each channel");
    refused("{\"input\":{\"channels\":6,\"std\":[1,1]}}", "input.std must be an array of 6 numbers");
    refused("{\"input\":{\"channels\":6,\"std\":[1,1,1,1,1,1,1]}}", "input.std must be an array of 6 numbers");
    refused("{\"input\":{\"mean\":0.5}}", "input.mean must be an array");
    refused("{\"input\":{\"mean\":[\"a\"]}}", "input.mean must be an array");
    refused("{\"input\":{\"mean\":[1e39]}}", "input.mean must be an array");
    refused("{\"input\":{\"mean\":[]}}", "input.mean must be an array");
    refused("{\"input\":{\"std\":[0]}}", "input.std[0] and the others make pixels that are not finite");
    refused("{\"input\":{\"mean\":[0],\"mean\":[0]}}", "two keys \"mean\" in input");
    hinted(6, 2, "{\"input\":{\"mean\":[0.5,0.5,0.5]}}", "\"channels\"");
}
END_TEST

START_TEST(model_json_takes_the_size_from_a_structure_that_has_it)
{
    struct layer layers[] = {{.type = LAYER_IDENTITY},
                             {.type = LAYER_UNFLATTEN, .shape = {3, 4, 5}, .dims = 3},
                             {.type = LAYER_LINEAR, .shape = {2}, .dims = 1}};
    struct model model = {.in_features = 60, .out_features = 2, .layers = layers, .layer_count = 3};
    model_json_defaults(&model);
    ck_assert_uint_eq(model.channels, 3);
    ck_assert_uint_eq(model.height, 4);
    ck_assert_uint_eq(model.width, 5);
    layers[1] = (struct layer){.type = LAYER_LAYER_NORM, .shape = {12, 5}, .dims = 2};
    model_json_defaults(&model);
    ck_assert_uint_eq(model.channels, 1);
    ck_assert_uint_eq(model.height, 12);
    ck_assert_uint_eq(model.width, 5);
    layers[1] = (struct layer){.type = LAYER_FLATTEN, .shape = {60}, .dims = 1};
    model_json_defaults(&model);
    ck_assert_uint_eq(model.width, 0);
}
END_TEST

START_TEST(model_json_reads_the_task_and_what_it_makes_of_the_outputs)
{
    ck_assert_int_eq(accepted("{\"task\":\"regression\"}").probabilities, PROBABILITIES_SAME);
    ck_assert_int_eq(accepted("{\"task\":\"multilabel\"}").probabilities, PROBABILITIES_SIGMOID);
    ck_assert_int_eq(accepted("{\"task\":\"classification\"}").probabilities, PROBABILITIES_SOFTMAX);
    ck_assert_int_eq(accepted("{\"task\":\"regression\"}").task, TASK_REGRESSION);
    ck_assert_str_eq(model_json_task_name(TASK_MULTILABEL), "multilabel");
    refused("{\"task\":\"Regression\"}", "task is another string, one of four names was expected");
    refused("{\"task\":1}", "task is a number");
    refused("{\"task\":\"binary\"}", "task is \"binary\", but the model gives 2 features");
    hinted(6, 2, "{\"task\":\"binary\"}", "multilabel");
    hinted(6, 1, "{\"task\":\"classification\"}", "\"binary\" or \"regression\"");
}
END_TEST

START_TEST(model_json_takes_two_labels_for_a_binary_model_wherever_its_task_stands)
{
    static const char *const texts[] = {"{\"labels\":[\"no\",\"yes\"],\"task\":\"binary\"}",
                                        "{\"task\":\"binary\",\"labels\":[\"no\",\"yes\"]}"};
    for (size_t i = 0; i < 2; i++) {
        struct error err;
        struct model model = make_model(6, 1);
        ck_assert_int_eq(model_json_parse(texts[i], strlen(texts[i]), &model, &err), STATUS_OK);
        ck_assert_uint_eq(model.label_count, 2);
        ck_assert_str_eq(model.labels[1], "yes");
        free_labels(&model);
    }
    hinted(6, 1, "{\"task\":\"binary\",\"labels\":[\"yes\"]}", "the label of what is not, then that of what is");
}
END_TEST

START_TEST(model_json_reads_a_threshold_for_tasks_that_have_one)
{
    ck_assert_float_eq(accepted("{}").threshold, 0.5F);
    ck_assert_float_eq(accepted("{\"threshold\":0.25,\"task\":\"multilabel\"}").threshold, 0.25F);
    ck_assert_float_eq(accepted("{\"task\":\"multilabel\",\"threshold\":0}").threshold, 0);
    ck_assert_float_eq(accepted("{\"task\":\"multilabel\",\"threshold\":1}").threshold, 1);
    refused("{\"threshold\":0.5}", "threshold goes with the tasks binary and multilabel, not with classification");
    refused("{\"task\":\"regression\",\"threshold\":0.5}", "not with regression");
    refused("{\"task\":\"multilabel\",\"threshold\":1.5}", "threshold must be a number from 0 to 1");
    refused("{\"task\":\"multilabel\",\"threshold\":-0.1}", "threshold must be a number from 0 to 1");
    refused("{\"task\":\"multilabel\",\"threshold\":\"0.5\"}", "threshold must be a number from 0 to 1");
}
END_TEST

UNIT_MAIN("engine/model_json", model_json_defaults_to_a_square_picture_scaled_by_255,
          model_json_reads_labels_size_and_divisor, model_json_leaves_what_is_not_said_at_its_default,
          model_json_refuses_what_is_no_json_object_with_its_place,
          model_json_refuses_unknown_and_repeated_keys_and_names_them,
          model_json_refuses_labels_of_another_type_or_number,
          model_json_refuses_a_picture_that_does_not_fit_the_model,
          model_json_refuses_divisors_that_make_no_finite_pixels,
          model_json_reads_channels_and_takes_the_picture_for_square_without_a_size,
          model_json_scales_each_channel_as_torchvision_normalises,
          model_json_refuses_means_and_deviations_that_do_not_fit,
          model_json_takes_the_size_from_a_structure_that_has_it,
          model_json_reads_the_task_and_what_it_makes_of_the_outputs,
          model_json_takes_two_labels_for_a_binary_model_wherever_its_task_stands,
          model_json_reads_a_threshold_for_tasks_that_have_one)
