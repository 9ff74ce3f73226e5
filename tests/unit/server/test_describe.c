#include "server/describe.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "server/json_text.h"
#include "tests/unit/fixture.h"

static struct buffer out;

static struct backend backend_of(const struct model *model)
{
    return (struct backend){.model = model, .batch_max = 1, .device = "cpu", .kernels = "generic"};
}

/* The description, parsed; the caller deletes it. */
static cJSON *describe(const struct model *model)
{
    struct backend backend = backend_of(model);
    buffer_reset(&out, SIZE_MAX);
    describe_json(&backend, &out);
    ck_assert(!out.failed);
    ck_assert_msg(json_is_valid(out.data, out.len), "%s", out.data);
    ck_assert_int_eq(out.data[out.len - 1], '\n');
    return cJSON_ParseWithOpts(out.data, NULL, true);
}

static const cJSON *member(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    ck_assert_msg(item != NULL, "no \"%s\" in %s", key, out.data);
    return item;
}

static const char *text(const cJSON *object, const char *key)
{
    const cJSON *item = member(object, key);
    ck_assert(cJSON_IsString(item));
    return item->valuestring;
}

static void assert_number(const cJSON *object, const char *key, double expected)
{
    const cJSON *item = member(object, key);
    ck_assert(cJSON_IsNumber(item));
    ck_assert_double_eq(item->valuedouble, expected);
}

static void assert_numbers(const cJSON *array, const double *expected, int count)
{
    ck_assert(cJSON_IsArray(array));
    ck_assert_int_eq(cJSON_GetArraySize(array), count);
    for (int i = 0; i < count; i++)
        ck_assert_double_eq(cJSON_GetArrayItem(array, i)->valuedouble, expected[i]);
}

#define ASSERT_NUMBERS(array, ...)                       \
    assert_numbers(array, (const double[]){__VA_ARGS__}, \
                   (int)(sizeof((const double[]){__VA_ARGS__}) / sizeof(double)))

static const char json[] = "{\"labels\": [\"a \\\"b\\\" \\\\ c\", \"\xC3\xBC\"], "
                           "\"input\": {\"width\": 4, \"height\": 3, \"pixel_divisor\": 12.5}}";
static const char *const network[] = {FLATTEN, LINEAR(12, 5), RELU, LINEAR_BARE(5, 2), NULL};

START_TEST(describe_tells_who_serves_what)
{
    struct model *model = fixture_load(network, json);
    cJSON *all = describe(model);
    ck_assert_str_eq(text(all, "name"), "fixture");
    ck_assert_str_eq(text(all, "version"), "1");
    ck_assert_str_eq(text(all, "device"), "cpu");
    ck_assert_str_eq(text(all, "kernels"), "generic");
    ck_assert_str_eq(text(all, "structure"), model->structure_text);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_lists_layers_in_order_with_their_shapes)
{
    struct model *model = fixture_load(network, json);
    cJSON *all = describe(model);
    const cJSON *layers = member(all, "layers");
    ck_assert_int_eq(cJSON_GetArraySize(layers), 4);
    const cJSON *flatten = cJSON_GetArrayItem(layers, 0), *linear = cJSON_GetArrayItem(layers, 1);
    ck_assert_str_eq(text(flatten, "name"), "0");
    ck_assert_str_eq(text(flatten, "type"), "Flatten");
    ASSERT_NUMBERS(member(flatten, "in_shape"), -1, 3, 4);
    ASSERT_NUMBERS(member(flatten, "out_shape"), -1, 12);
    ck_assert_ptr_null(cJSON_GetObjectItem(flatten, "bias"));
    ck_assert_str_eq(text(linear, "type"), "Linear");
    ASSERT_NUMBERS(member(linear, "in_shape"), -1, 12);
    ASSERT_NUMBERS(member(linear, "out_shape"), -1, 5);
    assert_number(linear, "in_features", 12);
    assert_number(linear, "out_features", 5);
    ck_assert(cJSON_IsTrue(member(linear, "bias")));
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 2), "out_shape"), -1, 5);
    ck_assert(cJSON_IsFalse(member(cJSON_GetArrayItem(layers, 3), "bias")));
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

static struct model *load_data(const char *folder)
{
    struct model *model;
    struct error err = {0};
    enum status status = model_load(folder, "data", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return model;
}

START_TEST(describe_gives_layers_the_arguments_that_pytorch_gave_them)
{
    struct model *model = load_data("tests/data/batch_norms/1");
    cJSON *all = describe(model);
    const cJSON *norm = cJSON_GetArrayItem(member(all, "layers"), 7);
    ck_assert_str_eq(text(norm, "type"), "BatchNorm1d");
    assert_number(norm, "num_features", 21);
    assert_number(norm, "eps", 0.001);
    ck_assert(cJSON_IsFalse(member(norm, "affine")));
    ck_assert(cJSON_IsTrue(member(norm, "track_running_stats")));
    ck_assert_str_eq(text(cJSON_GetArrayItem(member(all, "layers"), 9), "approximate"), "none");
    assert_number(cJSON_GetArrayItem(member(all, "layers"), 12), "dim", -1);
    ck_assert_str_eq(text(all, "task"), "classification");
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_follows_a_rows_shape_from_layer_to_layer)
{
    struct model *model = load_data("tests/data/autoencoder/1");
    cJSON *all = describe(model);
    const cJSON *layers = member(all, "layers");
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 0), "in_shape"), -1, 6, 6);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 0), "out_shape"), -1, 6, 6);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 1), "normalized_shape"), 6, 6);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 2), "out_shape"), -1, 36);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 7), "in_shape"), -1, 36);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 7), "unflattened_size"), 6, 6);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 8), "out_shape"), -1, 6, 6);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_gives_channels_with_their_mean_and_deviation)
{
    struct model *model = fixture_load(
        (const char *const[]){FLATTEN, LINEAR(12, 1), "Hardtanh(min_val=-inf, max_val=0.5)", NULL},
        "{\"task\": \"binary\", \"labels\": [\"no\", \"yes\"], \"input\": "
        "{\"channels\": 3, \"mean\": [0.5, 0, 1], \"std\": [0.25, 1, 2]}}");
    cJSON *all = describe(model);
    const cJSON *input = member(all, "input"), *layers = member(all, "layers");
    assert_number(input, "channels", 3);
    assert_number(input, "width", 2);
    ASSERT_NUMBERS(member(input, "mean"), 0.5, 0, 1);
    ASSERT_NUMBERS(member(input, "std"), 0.25, 1, 2);
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(layers, 0), "in_shape"), -1, 3, 2, 2);
    ck_assert_str_eq(text(cJSON_GetArrayItem(layers, 2), "min_val"), "-inf");
    ck_assert_str_eq(text(all, "task"), "binary");
    ck_assert_int_eq(cJSON_GetArraySize(member(all, "labels")), 2);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_lists_parameters_and_counts_them)
{
    struct model *model = fixture_load(network, json);
    model_drop_weights(model); /* the values are not needed */
    cJSON *all = describe(model);
    const cJSON *parameters = member(all, "parameters");
    ck_assert_int_eq(cJSON_GetArraySize(parameters), 3);
    const cJSON *weight = cJSON_GetArrayItem(parameters, 0), *bias = cJSON_GetArrayItem(parameters, 1);
    ck_assert_str_eq(text(weight, "name"), "1.weight");
    ASSERT_NUMBERS(member(weight, "shape"), 5, 12);
    ck_assert_str_eq(text(weight, "dtype"), "float32");
    assert_number(weight, "count", 60);
    ck_assert_str_eq(text(bias, "name"), "1.bias");
    ASSERT_NUMBERS(member(bias, "shape"), 5);
    assert_number(bias, "count", 5);
    ck_assert_str_eq(text(cJSON_GetArrayItem(parameters, 2), "name"), "3.weight");
    assert_number(all, "parameter_count", 60 + 5 + 10);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_gives_labels_and_input_as_model_json_says)
{
    struct model *model = fixture_load(network, json);
    cJSON *all = describe(model);
    const cJSON *labels = member(all, "labels"), *input = member(all, "input");
    ck_assert_int_eq(cJSON_GetArraySize(labels), 2);
    ck_assert_str_eq(cJSON_GetArrayItem(labels, 0)->valuestring, "a \"b\" \\ c");
    ck_assert_str_eq(cJSON_GetArrayItem(labels, 1)->valuestring, "\xC3\xBC");
    assert_number(input, "width", 4);
    assert_number(input, "height", 3);
    assert_number(input, "pixel_divisor", 12.5);
    assert_number(input, "in_features", 12);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

START_TEST(describe_says_null_for_labels_and_no_size_where_there_is_none)
{
    struct model *model = fixture_load(network, NULL); /* 12 features are no square */
    cJSON *all = describe(model);
    ck_assert(cJSON_IsNull(member(all, "labels")));
    const cJSON *input = member(all, "input");
    assert_number(input, "in_features", 12);
    ck_assert_ptr_null(cJSON_GetObjectItem(input, "width"));
    ASSERT_NUMBERS(member(cJSON_GetArrayItem(member(all, "layers"), 0), "in_shape"), -1, 12);
    cJSON_Delete(all);
    model_free(model);
    buffer_free(&out);
}
END_TEST

static void append_file(struct buffer *to, const char *path)
{
    char piece[4096];
    size_t got;
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened: run the test from the repository's root", path);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        buffer_append(to, piece, got);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(describe_prints_to_the_letter_what_the_tutorials_script_prints)
{
    static const char *const names[] = {"tiny",        "nested", "odd",         "sequential",
                                        "batch_norms", "gated",  "autoencoder", "activation_tower"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[64], path[96];
        struct model *model;
        struct error err = {0};
        struct buffer expected = {0};
        snprintf(folder, sizeof folder, "tests/data/%s/1", names[i]);
        enum status status = model_load(folder, names[i], "1", &model, &err);
        ck_assert_msg(status == STATUS_OK, "%s", err.message);
        buffer_append_str(&expected, "Using cpu device\n");
        snprintf(path, sizeof path, "%s/structure.txt", folder);
        append_file(&expected, path);
        snprintf(path, sizeof path, "tests/data/%s/parameters.txt", names[i]);
        append_file(&expected, path);
        struct backend backend = backend_of(model);
        buffer_reset(&out, SIZE_MAX);
        describe_text(&backend, &out);
        ck_assert_str_eq(out.data, expected.data);
        buffer_free(&expected);
        model_free(model);
    }
    buffer_free(&out);
}
END_TEST

UNIT_MAIN("server/describe", describe_tells_who_serves_what, describe_lists_layers_in_order_with_their_shapes,
          describe_gives_layers_the_arguments_that_pytorch_gave_them,
          describe_follows_a_rows_shape_from_layer_to_layer, describe_gives_channels_with_their_mean_and_deviation,
          describe_lists_parameters_and_counts_them, describe_gives_labels_and_input_as_model_json_says,
          describe_says_null_for_labels_and_no_size_where_there_is_none,
          describe_prints_to_the_letter_what_the_tutorials_script_prints)
