/* Each class of layers: its arguments and their defaults, the shapes that it takes, its tensors, and what PyTorch's
 * activations make of awkward numbers (tests/data/activations, written by scripts/make_test_data.py). */
#include <math.h>
#include <string.h>

#include "engine/model.h"
#include "kernels/kernels.h"
#include "tests/unit/engine/folder.h"

enum { VALUES = 64 };

/* A Sequential of `layers`, whose lines are indented already, between two Linear layers of 2-6 and 6-2 named "in" and
 * "out"; `tensors` are entries of more, which begin behind the 24 values of these. */
static char *make_folder(const char *layers, const char *tensors)
{
    char text[2048], header[2048];
    float values[VALUES];
    for (size_t i = 0; i < VALUES; i++)
        values[i] = (float)(i + 1) * 0.25F;
    snprintf(text, sizeof text,
             "Sequential(\n  (in): Linear(in_features=2, out_features=6, bias=False)\n%s"
             "  (out): Linear(in_features=6, out_features=2, bias=False)\n)\n",
             layers);
    int len = snprintf(header, sizeof header,
                       "{\"in.weight\":{\"dtype\":\"F32\",\"shape\":[6,2],\"data_offsets\":[0,48]},"
                       "\"out.weight\":{\"dtype\":\"F32\",\"shape\":[2,6],\"data_offsets\":[48,96]}%s}",
                       tensors);
    size_t count = 24;
    for (const char *at = header; (at = strstr(at, "data_offsets\":[")); at += 15) {
        size_t begin = 0, end = 0;
        ck_assert_int_eq(sscanf(at + 15, "%zu,%zu", &begin, &end), 2);
        count = end / sizeof(float) > count ? end / sizeof(float) : count;
    }
    ck_assert_uint_le(count, VALUES);
    ck_assert_int_lt(len, (int)sizeof header);
    char *folder = folder_create();
    folder_write(folder, "structure.txt", text);
    folder_write_parameters(folder, header, values, count);
    return folder;
}

static struct model *loaded(const char *layers, const char *tensors)
{
    struct error err = {0};
    struct model *model = NULL;
    char *folder = make_folder(layers, tensors);
    enum status status = model_load(folder, "net", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s (%s)", err.message, err.hint);
    folder_remove(folder);
    return model;
}

static void refused_with(const char *layers, const char *tensors, const char *message, const char *hint)
{
    struct error err = {0};
    struct model *model = NULL;
    char *folder = make_folder(layers, tensors);
    ck_assert_msg(model_load(folder, "net", "1", &model, &err) != STATUS_OK, "%s is taken", layers);
    ck_assert_msg(strstr(err.message, message) != NULL, "\"%s\" has no \"%s\"", err.message, message);
    ck_assert_msg(strstr(err.hint, hint) != NULL, "\"%s\" has no \"%s\"", err.hint, hint);
    folder_remove(folder);
}

static void refused(const char *layers, const char *message, const char *hint)
{
    refused_with(layers, "", message, hint);
}

/* ---- What PyTorch gave ---- */

static float *read_floats(const char *name, size_t *ret_count)
{
    char path[160];
    float *values = malloc(4096);
    snprintf(path, sizeof path, "tests/data/activations/%s.f32", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened: run the test from the repository's root", path);
    *ret_count = fread(values, sizeof *values, 1024, file);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_uint_gt(*ret_count, 0);
    return values;
}

static void assert_as_pytorch(const char *text, float x, float y, float expected)
{
    bool same = isnan(expected)   ? isnan(y)
                : isinf(expected) ? y == expected
                                  : fabsf(y - expected) <= 1e-6F + 1e-5F * fabsf(expected);
    ck_assert_msg(same, "%s of %.9g is %.9g, PyTorch says %.9g", text, (double)x, (double)y, (double)expected);
}

static void check_activation(const char *name, const char *text)
{
    char line[160];
    size_t count, expected_count;
    float *x = read_floats("inputs", &count), *expected = read_floats(name, &expected_count), *y = malloc(4096);
    ck_assert_uint_eq(count, expected_count);
    snprintf(line, sizeof line, "  (0): %s\n", text);
    struct model *model = loaded(line, "");
    ck_assert_msg(strstr(model->structure_text, line) != NULL, "%s came back as another text", text);
    const struct layer *layer = &model->layers[1];
    for (size_t t = 0; kernels_all[t]; t++) {
        if (!kernels_all[t]->supported())
            continue;
        if (layer->type == LAYER_RELU) {
            memcpy(y, x, count * sizeof *y);
            kernels_all[t]->relu(y, count);
        } else {
            ck_assert_int_eq(layer->type, LAYER_ACTIVATION);
            activation_table_for(kernels_all[t]->name)->apply(&layer->activation, x, count, y);
        }
        for (size_t i = 0; i < count; i++)
            assert_as_pytorch(text, x[i], y[i], expected[i]);
    }
    model_free(model);
    free(x);
    free(y);
    free(expected);
}

START_TEST(activations_are_pytorchs_on_awkward_numbers_and_come_back_to_the_letter)
{
    char name[64], text[128];
    size_t count = 0;
    FILE *manifest = fopen("tests/data/activations/manifest.txt", "r");
    ck_assert_msg(manifest != NULL, "there is no manifest.txt: run the test from the repository's root");
    for (; fscanf(manifest, "%63s %127[^\n]", name, text) == 2; count++)
        check_activation(name, text);
    ck_assert_int_eq(fclose(manifest), 0);
    ck_assert_uint_ge(count, 25);
}
END_TEST

/* ---- Arguments ---- */

static void assert_setting(const struct layer *layer, const char *name, double number)
{
    size_t i = 0;
    while (i < layer->setting_count && strcmp(layer->settings[i].name, name) != 0)
        i++;
    ck_assert_msg(i < layer->setting_count, "%s has no %s", layer->type_name, name);
    ck_assert_double_eq(layer->settings[i].number, number);
}

static void assert_argument(const char *text, const char *name, double number)
{
    char line[160];
    snprintf(line, sizeof line, "  (0): %s\n", text);
    struct model *model = loaded(line, "");
    assert_setting(&model->layers[1], name, number);
    model_free(model);
}

START_TEST(arguments_that_the_text_omits_are_pytorchs_defaults)
{
    assert_argument("LeakyReLU()", "negative_slope", 0.01);
    assert_argument("LeakyReLU(inplace=True)", "negative_slope", 0.01);
    assert_argument("ELU()", "alpha", 1);
    assert_argument("CELU()", "alpha", 1);
    assert_argument("Hardtanh()", "min_val", -1);
    assert_argument("Hardtanh()", "max_val", 1);
    assert_argument("Softplus()", "beta", 1);
    assert_argument("Softplus()", "threshold", 20);
    assert_argument("Softmax()", "dim", 1);
    assert_argument("Softmax(dim=None)", "dim", 1);
    assert_argument("LogSoftmax()", "dim", 1);
    assert_argument("Dropout()", "p", 0.5);
    assert_argument("LayerNorm((6,), elementwise_affine=False)", "eps", 1e-05);
    struct model *model = loaded("  (0): GELU()\n", "");
    ck_assert_int_eq(model->layers[1].activation.type, ACTIVATION_GELU);
    model_free(model);
}
END_TEST

START_TEST(arguments_are_read_as_python_writes_them)
{
    assert_argument("LeakyReLU(negative_slope=1e-05)", "negative_slope", 1e-05);
    assert_argument("LeakyReLU(negative_slope=1, inplace=True)", "negative_slope", 1);
    assert_argument("Hardtanh(min_val=-2, max_val=3.5)", "min_val", -2);
    assert_argument("Hardtanh(min_val=-inf, max_val=6.0)", "min_val", -INFINITY);
    assert_argument("Softplus(beta=1.5, threshold=inf)", "threshold", INFINITY);
    assert_argument("ELU(alpha=1e+16)", "alpha", 1e16);
    struct model *model = loaded("  (0): GELU(approximate='tanh')\n", "");
    ck_assert_int_eq(model->layers[1].activation.type, ACTIVATION_GELU_TANH);
    ck_assert_str_eq(model->layers[1].settings[0].word, "tanh");
    model_free(model);
}
END_TEST

START_TEST(arguments_that_are_no_numbers_are_refused_with_the_way_to_write_them)
{
    refused("  (0): LeakyReLU(negative_slope=x)\n", "0 is LeakyReLU(negative_slope=x), one of its arguments",
            "write negative_slope=a number, as print(model) does, or leave it out for PyTorch's default");
    refused("  (0): LeakyReLU(negative_slope=)\n", "one of its arguments", "negative_slope=a number");
    refused("  (0): LeakyReLU(negative_slope=nan)\n", "one of its arguments", "negative_slope=a number");
    refused("  (0): LeakyReLU(negative_slope=0x1p3)\n", "one of its arguments", "negative_slope=a number");
    refused("  (0): LeakyReLU(negative_slope= 1)\n", "one of its arguments", "negative_slope=a number");
    refused("  (0): GELU(approximate='sigmoid')\n", "one of its arguments", "approximate='none' or 'tanh'");
    refused("  (0): GELU(approximate=tanh)\n", "one of its arguments", "approximate='none' or 'tanh'");
    refused("  (0): GELU(approximate=')\n", "one of its arguments", "approximate='none' or 'tanh'");
    refused("  (0): LayerNorm((6,), elementwise_affine=1)\n", "one of its arguments", "True or False");
    refused("  (0): CELU(alpha=0.0)\n", "alpha must not be zero", "CELU()");
    refused("  (0): Hardtanh(min_val=2, max_val=1)\n", "its min_val is above its max_val", "both");
    refused("  (0): LayerNorm((6,), eps=-1e-05, elementwise_affine=False)\n", "eps must be a finite number from 0",
            "");
    refused("  (0): Softmax(dim=0)\n", "only dim=1 and dim=-1 are served", "nn.Softmax(dim=1)");
    refused("  (0): LogSoftmax(dim=2)\n", "only dim=1 and dim=-1 are served", "nn.LogSoftmax(dim=1)");
}
END_TEST

/* ---- Shapes ---- */

static void assert_shape(const struct layer *layer, const char *expected)
{
    char text[64] = "";
    for (size_t i = 0; i < layer->dims; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), i ? ",%zu" : "%zu", layer->shape[i]);
    ck_assert_str_eq(text, expected);
}

START_TEST(unflatten_gives_its_shape_until_a_flatten_takes_it_back)
{
    struct model *model = loaded(
        "  (u): Unflatten(dim=1, unflattened_size=(1, 2, 3))\n  (r): ReLU()\n"
        "  (f): Flatten(start_dim=1, end_dim=3)\n  (v): Unflatten(dim=-1, unflattened_size="
        "torch.Size([3, 2]))\n  (w): Flatten(start_dim=-2, end_dim=-1)\n",
        "");
    assert_shape(&model->layers[0], "6");
    assert_shape(&model->layers[1], "1,2,3");
    assert_shape(&model->layers[2], "1,2,3");
    assert_shape(&model->layers[3], "6");
    assert_shape(&model->layers[4], "3,2");
    assert_shape(&model->layers[5], "6");
    ck_assert_uint_eq(model->layers[2].in_features, 6);
    model_free(model);
}
END_TEST

START_TEST(unflatten_takes_what_is_left_for_minus_one)
{
    struct model *model = loaded("  (u): Unflatten(dim=1, unflattened_size=(3, -1))\n  (f): Flatten()\n", "");
    assert_shape(&model->layers[1], "3,2");
    model_free(model);
}
END_TEST

START_TEST(layers_that_would_not_see_flat_rows_are_refused)
{
    static const char unflatten[] = "  (u): Unflatten(dim=1, unflattened_size=(2, 3))\n";
    refused(unflatten,
            "out is Linear(in_features=6, out_features=2, bias=False), which is served over flat rows; here "
            "they are (2, 3)",
            "nn.Flatten()");
    char text[256];
    snprintf(text, sizeof text, "%s  (s): Softmax(dim=1)\n", unflatten);
    refused(text, "s is Softmax(dim=1), which is served over flat rows", "nn.Flatten()");
    snprintf(text, sizeof text, "%s  (f): Flatten(start_dim=1, end_dim=1)\n", unflatten);
    refused(text, "only a Flatten of all but the batch", "nn.Flatten()");
    snprintf(text, sizeof text, "%s  (n): LayerNorm((3,), elementwise_affine=False)\n", unflatten);
    refused(text, "which does not normalise all of a row; here rows are (2, 3)", "over whole rows");
    snprintf(text, sizeof text, "%s  (n): LayerNorm((3, 2), elementwise_affine=False)\n", unflatten);
    refused(text, "here rows are (2, 3)", "over whole rows");
    refused("  (n): LayerNorm((2, 3), elementwise_affine=False)\n", "here rows are (6,)", "over whole rows");
    snprintf(text, sizeof text, "%s%s", unflatten, "  (v): Unflatten(dim=1, unflattened_size=(1, 2))\n");
    refused(text, "v is Unflatten(dim=1, unflattened_size=(1, 2)), which is served over flat rows", "");
}
END_TEST

START_TEST(unflatten_is_refused_where_it_cannot_be_read_or_does_not_fit)
{
    refused("  (u): Unflatten(dim=1, unflattened_size=(2, 4))\n", "u takes 8 features, but in gives 6", "");
    refused("  (u): Unflatten(dim=1, unflattened_size=(-1, 4))\n", "only Unflatten(dim=1", "or one as -1");
    refused("  (u): Unflatten(dim=1, unflattened_size=(-1, -1))\n", "only Unflatten(dim=1", "or one as -1");
    refused("  (u): Unflatten(dim=1, unflattened_size=(-2, 3))\n", "only Unflatten(dim=1", "a number from 1");
    refused("  (u): Unflatten(dim=1, unflattened_size=(0, 3))\n", "only Unflatten(dim=1", "a number from 1");
    refused("  (u): Unflatten(dim=0, unflattened_size=(2, 3))\n", "only Unflatten(dim=1", "a number from 1");
    refused("  (u): Unflatten(dim=1)\n", "only Unflatten(dim=1", "a number from 1");
    refused("  (u): Unflatten(unflattened_size=(2, 3))\n", "one of its arguments", "write dim=a number, as print");
    refused("  (u): Unflatten(dim=1, unflattened_size=(2, 3)\n", "", "");
    refused("  (u): Unflatten(dim=1, unflattened_size=(1, 1, 1, 1, 1, 1, 1, 1, 6))\n", "only Unflatten", "");
    refused("  (u): Unflatten(dim=1, unflattened_size=(16777216, 2))\n", "only Unflatten", "at most 16777216");
    refused("  (u): Unflatten(dim=1, unflattened_size=())\n", "only Unflatten", "");
}
END_TEST

/* ---- BatchNorm1d and LayerNorm ---- */

#define FLOATS(name, shape, begin, end) \
    ",\"" name "\":{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"
#define BATCH_NORM_STATISTICS FLOATS("b.running_mean", "6", 96, 120) FLOATS("b.running_var", "6", 120, 144)
#define BATCH_NORM_AFFINE     FLOATS("b.weight", "6", 144, 168) FLOATS("b.bias", "6", 168, 192)
#define COUNTER               ",\"b.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[192,200]}"

START_TEST(batch_norm_takes_its_statistics_which_are_no_parameters)
{
    static const char text[] =
        "  (b): BatchNorm1d(6, eps=0.001, momentum=0.1, affine=True, track_running_stats=True)\n";
    struct model *model = loaded(text, BATCH_NORM_STATISTICS BATCH_NORM_AFFINE COUNTER);
    const struct layer *layer = &model->layers[1];
    ck_assert_int_eq(layer->type, LAYER_BATCH_NORM);
    assert_setting(layer, "eps", 0.001);
    ck_assert_float_eq(layer->mean[0], 6.25F);
    ck_assert_float_eq(layer->variance[0], 7.75F);
    ck_assert_float_eq(layer->weight[0], 9.25F);
    ck_assert_float_eq(layer->bias[5], 12.0F);
    ck_assert_uint_eq(model->parameter_count, 4);
    ck_assert_str_eq(model->parameters[1].name, "b.weight");
    ck_assert_str_eq(model->parameters[2].name, "b.bias");
    ck_assert_uint_eq(model->parameter_elements, 24 + 12);
    ck_assert_ptr_null(strstr(model->parameters_text, "running"));
    model_free(model);
    model_free(loaded(text, BATCH_NORM_STATISTICS BATCH_NORM_AFFINE)); /* the counter may be missing */
}
END_TEST

START_TEST(batch_norm_without_affine_has_no_parameters)
{
    struct model *model = loaded("  (b): BatchNorm1d(6, eps=1e-05, affine=False)\n", BATCH_NORM_STATISTICS);
    ck_assert_ptr_null(model->layers[1].weight);
    ck_assert(!model->layers[1].has_bias);
    assert_setting(&model->layers[1], "bias", 0);
    ck_assert_uint_eq(model->parameter_count, 2);
    model_free(model);
}
END_TEST

START_TEST(batch_norm_is_refused_where_it_cannot_be_served)
{
    refused_with("  (b): BatchNorm1d(6, track_running_stats=False)\n", "",
                 "a row's answer would depend on the rows beside it", "track_running_stats=True");
    refused_with("  (b): BatchNorm1d(7, affine=False)\n", BATCH_NORM_STATISTICS,
                 "b takes 7 features, but in gives 6", "");
    refused_with("  (b): BatchNorm1d(eps=1e-05)\n", BATCH_NORM_STATISTICS, "BatchNorm1d(N, eps=1e-05, ...)",
                 "num_features");
    refused_with("  (b): BatchNorm1d(6, affine=False)\n", FLOATS("b.running_mean", "6", 96, 120),
                 "no tensor \"b.running_var\"", "");
    refused_with("  (b): BatchNorm1d(6, affine=False)\n", BATCH_NORM_STATISTICS BATCH_NORM_AFFINE,
                 "tensor \"b.weight\" belongs to no layer", "");
    refused_with("  (b): BatchNorm1d(6, affine=False)\n",
                 FLOATS("b.running_mean", "6", 96, 120) FLOATS("b.running_var", "5", 120, 140),
                 "tensor \"b.running_var\" has the shape (5,), structure.txt asks for (6,)", "");
    refused("  (b): ReLU()\n  (c): BatchNorm2d(6)\n", "c is a BatchNorm2d, which is not served", "BatchNorm1d");
}
END_TEST

START_TEST(layer_norm_takes_parameters_of_its_shape)
{
    struct model *model = loaded("  (u): Unflatten(dim=1, unflattened_size=(2, 3))\n"
                                 "  (b): LayerNorm((2, 3), eps=1e-06, elementwise_affine=True)\n  (f): Flatten()\n",
                                 FLOATS("b.weight", "2,3", 96, 120) FLOATS("b.bias", "2,3", 120, 144));
    const struct layer *layer = &model->layers[2];
    ck_assert_int_eq(layer->type, LAYER_LAYER_NORM);
    assert_shape(layer, "2,3");
    assert_setting(layer, "eps", 1e-06);
    ck_assert_float_eq(layer->weight[0], 6.25F);
    ck_assert_float_eq(layer->bias[0], 7.75F);
    ck_assert_uint_eq(model->parameters[1].dims, 2);
    ck_assert_ptr_nonnull(strstr(model->parameters_text,
                                 "Layer: b.weight | Size: torch.Size([2, 3]) | Values : tensor(["
                                 "[6.2500, 6.5000, 6.7500],\n        [7.0000, 7.2500, 7.5000]]"));
    model_free(model);
    model = loaded("  (b): LayerNorm((6,), eps=1e-05, elementwise_affine=True, bias=False)\n",
                   FLOATS("b.weight", "6", 96, 120));
    ck_assert(!model->layers[1].has_bias);
    model_free(model);
}
END_TEST

START_TEST(layer_norm_is_refused_where_it_cannot_be_read_or_does_not_fit)
{
    refused("  (b): LayerNorm((7,), elementwise_affine=False)\n", "b takes 7 features, but in gives 6", "");
    refused("  (b): LayerNorm(6, elementwise_affine=False)\n", "LayerNorm((N,), eps=1e-05, ...) was expected", "");
    refused("  (b): LayerNorm((-1,), elementwise_affine=False)\n", "LayerNorm((N,), eps=1e-05, ...) was expected",
            "");
    refused("  (b): LayerNorm()\n", "LayerNorm((N,), eps=1e-05, ...) was expected", "normalized_shape");
    refused("  (b): LayerNorm((6,))\n", "no tensor \"b.weight\"", "");
}
END_TEST

UNIT_MAIN("engine/layer_classes", activations_are_pytorchs_on_awkward_numbers_and_come_back_to_the_letter,
          arguments_that_the_text_omits_are_pytorchs_defaults, arguments_are_read_as_python_writes_them,
          arguments_that_are_no_numbers_are_refused_with_the_way_to_write_them,
          unflatten_gives_its_shape_until_a_flatten_takes_it_back, unflatten_takes_what_is_left_for_minus_one,
          layers_that_would_not_see_flat_rows_are_refused,
          unflatten_is_refused_where_it_cannot_be_read_or_does_not_fit,
          batch_norm_takes_its_statistics_which_are_no_parameters, batch_norm_without_affine_has_no_parameters,
          batch_norm_is_refused_where_it_cannot_be_served, layer_norm_takes_parameters_of_its_shape,
          layer_norm_is_refused_where_it_cannot_be_read_or_does_not_fit)
