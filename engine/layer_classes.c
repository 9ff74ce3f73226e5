/* The classes of torch.nn that are served, each with its arguments and what it does to a row's shape. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "engine/model_building.h"
#include "engine/tensor_text.h"

enum { SHAPE_BYTES_MAX = MODEL_DIMS_MAX * 22 };

/* ---- Shapes ---- */

static size_t product(const size_t *sizes, size_t dims)
{
    size_t count = 1;
    for (size_t i = 0; i < dims; i++)
        count *= sizes[i];
    return count;
}

/* The row as it leaves the layer. */
static void give_row(struct building *building, struct layer *layer, const size_t *sizes, size_t dims)
{
    building->row = (struct row_shape){.features = product(sizes, dims), .dims = dims};
    memcpy(building->row.sizes, sizes, dims * sizeof *sizes);
    layer->dims = dims;
    memcpy(layer->shape, sizes, dims * sizeof *sizes);
}

/* The layer says how many features a row has: as many as the layer before gives, if that is known. */
static enum status expect_features(struct building *building, const struct layer *layer, size_t features)
{
    if (building->row.features == 0 || building->row.features == features) {
        building->row.features = features;
        building->sized = layer;
        return STATUS_OK;
    }
    error_set(building->err, STATUS_INVALID, "structure.txt: %s takes %zu features, but %s gives %zu",
              building_shown_name(layer->name), features, building_shown_name(building->sized->name),
              building->row.features);
    return error_hint(building->err,
                      "in_features of a Linear must be out_features of the one before; is structure.txt "
                      "what print(model) said, and was the model ever run?");
}

/* The layer is served over rows of one dimension only. */
static enum status expect_flat(struct building *building, const struct module *module, const struct layer *layer)
{
    char shape[SHAPE_BYTES_MAX], expected[SHAPE_BYTES_MAX + 64];
    struct row_shape *row = &building->row;
    if (row->dims > 1) {
        tensor_text_shape(row->sizes, row->dims, shape, sizeof shape);
        snprintf(expected, sizeof expected, "which is served over flat rows; here they are %s", shape);
        building_refuse_arguments(building, module, layer, expected);
        return error_hint(building->err, "put nn.Flatten() before it, if that is what the model computes");
    }
    row->dims = 1;
    row->sizes[0] = row->features;
    return STATUS_OK;
}

static enum status expect_flat_features(struct building *building, const struct module *module,
                                        const struct layer *layer, size_t features)
{
    enum status status = expect_flat(building, module, layer);
    if (status == STATUS_OK)
        status = expect_features(building, layer, features);
    if (status == STATUS_OK)
        building->row.sizes[0] = features;
    return status;
}

/* A dimension as PyTorch counts it, the batch being 0 and the last -1, over rows of `dims`: from 0 to dims, or SIZE_MAX. */
static size_t dimension(double number, size_t dims)
{
    double from_front = number < 0 ? number + (double)dims + 1 : number;
    return from_front >= 0 && from_front <= (double)dims && from_front == floor(from_front) ? (size_t)from_front
                                                                                            : SIZE_MAX;
}

/* ---- Layers without parameters ---- */

static enum status read_nothing(struct building *building, const struct module *module, struct layer *layer)
{
    (void)building, (void)module, (void)layer;
    return STATUS_OK;
}

/* All but the batch must come together. Before anything has said what a row is, start_dim=1 with any end_dim tells it:
 * there are so many dimensions. */
static enum status read_flatten(struct building *building, const struct module *module, struct layer *layer)
{
    struct row_shape *row = &building->row;
    const double start = layer->settings[0].number, end = layer->settings[1].number;
    bool all = row->dims ? dimension(start, row->dims) == 1 && dimension(end, row->dims) == row->dims
                         : start == 1 && (end == -1 || (end >= 1 && end == floor(end)));
    if (!all) {
        building_refuse_arguments(
            building, module, layer,
            "only a Flatten of all but the batch is served: Flatten(start_dim=1, end_dim=-1)");
        return error_hint(building->err,
                          "use nn.Flatten() without arguments: it keeps the batch and flattens the rest");
    }
    give_row(building, layer, (const size_t[]){row->features}, 1);
    return STATUS_OK;
}

/* Puts what is left of the features in the place of one 0. False if that cannot be, or if there is more than one. */
static bool fill_open_size(size_t features, size_t *sizes, size_t dims)
{
    size_t open = dims, known = 1;
    for (size_t i = 0; i < dims; i++) {
        if (sizes[i] == 0 && open < dims)
            return false;
        open = sizes[i] == 0 ? i : open;
        known *= sizes[i] ? sizes[i] : 1;
    }
    if (open < dims)
        sizes[open] = features / known;
    return open == dims || (features > 0 && features % known == 0);
}

static enum status read_unflatten(struct building *building, const struct module *module, struct layer *layer)
{
    const char *text;
    size_t len, sizes[MODEL_DIMS_MAX] = {0}, dims = 0;
    if (dimension(layer->settings[0].number, 1) != 1 || !module_argument(module, "unflattened_size", &text, &len) ||
        !setting_sizes(text, len, sizes, &dims) || !fill_open_size(building->row.features, sizes, dims)) {
        building_refuse_arguments(building, module, layer,
                                  "only Unflatten(dim=1, unflattened_size=(SIZE, ...)) is served");
        return error_hint(building->err,
                          "write each size as a number from 1, or one as -1; their product is at most %d",
                          FEATURES_MAX);
    }
    enum status status = expect_flat_features(building, module, layer, product(sizes, dims));
    if (status == STATUS_OK)
        give_row(building, layer, sizes, dims);
    return status;
}

/* dim=None is 1 for a batch of rows, as PyTorch chooses it (and warns). */
static enum status read_softmax(struct building *building, const struct module *module, struct layer *layer)
{
    enum status status = expect_flat(building, module, layer);
    if (status != STATUS_OK || dimension(layer->settings[0].number, 1) == 1)
        return status;
    building_refuse_arguments(building, module, layer, "only dim=1 and dim=-1 are served");
    return error_hint(building->err, "use nn.%s(dim=1): it goes over each row", module->class_name);
}

/* ---- Activations ---- */

/* The class's own parameters, or the settings' numbers in their order. */
static enum status read_activation(struct building *building, const struct module *module, struct layer *layer)
{
    (void)building, (void)module;
    for (size_t i = 0; i < layer->setting_count; i++)
        layer->activation.parameters[i] = (float)layer->settings[i].number;
    return STATUS_OK;
}

static enum status read_hardtanh(struct building *building, const struct module *module, struct layer *layer)
{
    if (layer->settings[0].number > layer->settings[1].number) {
        building_refuse_arguments(building, module, layer, "its min_val is above its max_val");
        return error_hint(building->err, "write both as print(model) does");
    }
    return read_activation(building, module, layer);
}

static enum status read_elu(struct building *building, const struct module *module, struct layer *layer)
{
    (void)building, (void)module;
    layer->activation.parameters[1] = (float)layer->settings[0].number;
    return STATUS_OK;
}

static enum status read_celu(struct building *building, const struct module *module, struct layer *layer)
{
    const double alpha = layer->settings[0].number;
    if (alpha == 0.0) {
        building_refuse_arguments(building, module, layer, "alpha must not be zero, for x is divided by it");
        return error_hint(building->err, "PyTorch refuses it too; nn.CELU() has alpha=1.0");
    }
    layer->activation.parameters[1] = (float)alpha;
    layer->activation.parameters[2] = (float)(1.0 / alpha);
    return STATUS_OK;
}

static enum status read_gelu(struct building *building, const struct module *module, struct layer *layer)
{
    (void)building, (void)module;
    layer->activation.type = strcmp(layer->settings[0].word, "tanh") == 0 ? ACTIVATION_GELU_TANH : ACTIVATION_GELU;
    return STATUS_OK;
}

/* ---- Layers with parameters ---- */

static bool argument_features(const struct module *module, const char *key, size_t *ret_features)
{
    const char *text;
    size_t len;
    return module_argument(module, key, &text, &len) && setting_features(text, len, ret_features);
}

static enum status take_linear(struct building *building, struct layer *layer, size_t in, size_t out)
{
    enum status status = building_take_parameter(building, layer, "weight", (const size_t[]){out, in}, 2,
                                                 &layer->weight);
    if (status == STATUS_OK && layer->has_bias)
        status = building_take_parameter(building, layer, "bias", &out, 1, &layer->bias);
    if (status == STATUS_OK)
        give_row(building, layer, &out, 1);
    return status;
}

static enum status read_linear(struct building *building, const struct module *module, struct layer *layer)
{
    const char *bias = "";
    size_t bias_len = 0, in = 0, out = 0;
    module_argument(module, "bias", &bias, &bias_len);
    layer->has_bias = bias_len == 4 && memcmp(bias, "True", 4) == 0;
    if (!argument_features(module, "in_features", &in) || !argument_features(module, "out_features", &out) ||
        (!layer->has_bias && (bias_len != 5 || memcmp(bias, "False", 5) != 0))) {
        building_refuse_arguments(building, module, layer,
                                  "Linear(in_features=N, out_features=N, bias=True) was expected");
        return error_hint(building->err, "N is from 1 to %d, bias is True or False", FEATURES_MAX);
    }
    layer->in_features = in;
    enum status status = expect_flat_features(building, module, layer, in);
    return status == STATUS_OK ? take_linear(building, layer, in, out) : status;
}

/* The parameters of a norm: weight and bias of this shape, where the settings say so. */
static enum status take_affine(struct building *building, struct layer *layer, bool affine, bool bias,
                               const size_t *shape, size_t dims)
{
    enum status status = STATUS_OK;
    layer->has_bias = affine && bias;
    if (affine)
        status = building_take_parameter(building, layer, "weight", shape, dims, &layer->weight);
    if (status == STATUS_OK && layer->has_bias)
        status = building_take_parameter(building, layer, "bias", shape, dims, &layer->bias);
    return status;
}

static enum status check_eps(const struct building *building, const struct module *module,
                             const struct layer *layer)
{
    const double eps = layer->settings[0].number;
    if (eps >= 0 && isfinite(eps))
        return STATUS_OK;
    building_refuse_arguments(building, module, layer, "eps must be a finite number from 0");
    return error_hint(building->err, "PyTorch's is eps=1e-05");
}

enum { BATCH_NORM_EPS, BATCH_NORM_AFFINE, BATCH_NORM_BIAS, BATCH_NORM_TRACK };

static enum status check_variance(const struct building *building, const struct layer *layer, size_t features)
{
    for (size_t i = 0; i < features; i++)
        if (!(layer->variance[i] >= 0.0F) ||
            (double)layer->variance[i] + layer->settings[BATCH_NORM_EPS].number <= 0) {
            error_set(building->err, STATUS_INVALID,
                      "%s.running_var[%zu] is %g with eps %g: a variance plus eps must be above zero", layer->name,
                      i, (double)layer->variance[i], layer->settings[BATCH_NORM_EPS].number);
            return error_hint(building->err, "train again, or write eps=1e-05 as PyTorch has it");
        }
    return STATUS_OK;
}

static enum status take_batch_norm(struct building *building, struct layer *layer, size_t features)
{
    const struct layer_setting *settings = layer->settings;
    enum status status = take_affine(building, layer, settings[BATCH_NORM_AFFINE].number != 0,
                                     settings[BATCH_NORM_BIAS].number != 0, &features, 1);
    layer->settings[BATCH_NORM_BIAS].number = layer->has_bias;
    if (status == STATUS_OK)
        status = building_take_buffer(building, layer, "running_mean", features, &layer->mean);
    if (status == STATUS_OK)
        status = building_take_buffer(building, layer, "running_var", features, &layer->variance);
    if (status == STATUS_OK)
        status = check_variance(building, layer, features);
    return status == STATUS_OK ? building_pass_over(building, layer, "num_batches_tracked") : status;
}

static enum status read_batch_norm(struct building *building, const struct module *module, struct layer *layer)
{
    size_t features = 0, len = strcspn(module->arguments, ",");
    if (!setting_features(module->arguments, len, &features)) {
        building_refuse_arguments(building, module, layer, "BatchNorm1d(N, eps=1e-05, ...) was expected");
        return error_hint(building->err, "N is num_features, from 1 to %d", FEATURES_MAX);
    }
    if (layer->settings[BATCH_NORM_TRACK].number == 0) {
        building_refuse_arguments(building, module, layer,
                                  "without running statistics a row's answer would depend on the rows beside it");
        return error_hint(building->err, "train with track_running_stats=True");
    }
    enum status status = check_eps(building, module, layer);
    if (status == STATUS_OK)
        status = expect_flat_features(building, module, layer, features);
    return status == STATUS_OK ? take_batch_norm(building, layer, features) : status;
}

enum { LAYER_NORM_EPS, LAYER_NORM_AFFINE, LAYER_NORM_BIAS };

static enum status refuse_part_of_row(const struct building *building, const struct module *module,
                                      const struct layer *layer)
{
    char shape[SHAPE_BYTES_MAX], expected[SHAPE_BYTES_MAX + 64];
    tensor_text_shape(building->row.sizes, building->row.dims, shape, sizeof shape);
    snprintf(expected, sizeof expected, "which does not normalise all of a row; here rows are %s", shape);
    building_refuse_arguments(building, module, layer, expected);
    return error_hint(building->err, "only a LayerNorm over whole rows is served");
}

static enum status expect_normalized(struct building *building, const struct module *module,
                                     const struct layer *layer, const size_t *sizes, size_t dims)
{
    struct row_shape *row = &building->row;
    if (dims == 1 && row->dims <= 1)
        return expect_flat_features(building, module, layer, sizes[0]);
    if (row->dims && (row->dims != dims || memcmp(row->sizes, sizes, dims * sizeof *sizes) != 0))
        return refuse_part_of_row(building, module, layer);
    return expect_features(building, layer, product(sizes, dims));
}

static enum status read_layer_norm(struct building *building, const struct module *module, struct layer *layer)
{
    size_t sizes[MODEL_DIMS_MAX] = {0}, dims = 0;
    const struct layer_setting *settings = layer->settings;
    if (!setting_sizes(module->arguments, strlen(module->arguments), sizes, &dims) || product(sizes, dims) == 0) {
        building_refuse_arguments(building, module, layer, "LayerNorm((N,), eps=1e-05, ...) was expected");
        return error_hint(building->err, "(N,) is normalized_shape, each N from 1, their product at most %d",
                          FEATURES_MAX);
    }
    enum status status = check_eps(building, module, layer);
    if (status == STATUS_OK)
        status = expect_normalized(building, module, layer, sizes, dims);
    if (status == STATUS_OK)
        status = take_affine(building, layer, settings[LAYER_NORM_AFFINE].number != 0,
                             settings[LAYER_NORM_BIAS].number != 0, sizes, dims);
    layer->settings[LAYER_NORM_BIAS].number = layer->has_bias;
    give_row(building, layer, sizes, dims);
    return status;
}

/* ---- The table ---- */

#define NUMBER(name, fallback)                     \
    {                                              \
        name, SETTING_NUMBER, fallback, "a number" \
    }
#define FLAG(name, fallback)                          \
    {                                                 \
        name, SETTING_FLAG, fallback, "True or False" \
    }
#define DROPOUT(name)                           \
    {                                           \
        name, LAYER_DROPOUT, read_nothing, {0}, \
        {                                       \
            NUMBER("p", "0.5")                  \
        }                                       \
    }
#define ACTIVATION(name, type)                                \
    {                                                         \
        name, LAYER_ACTIVATION, read_activation, {type, {0}}, \
        {                                                     \
            {                                                 \
                0                                             \
            }                                                 \
        }                                                     \
    }

static const struct layer_class CLASSES[] = {
    {"Flatten", LAYER_FLATTEN, read_flatten, {0}, {NUMBER("start_dim", "1"), NUMBER("end_dim", "-1")}},
    {"Unflatten", LAYER_UNFLATTEN, read_unflatten, {0}, {NUMBER("dim", NULL)}},
    {"Linear", LAYER_LINEAR, read_linear, {0}, {{0}}},
    {"ReLU", LAYER_RELU, read_nothing, {0}, {{0}}},
    {"ReLU6", LAYER_ACTIVATION, read_nothing, {ACTIVATION_CLAMP, {0.0F, 6.0F}}, {{0}}},
    {"LeakyReLU", LAYER_ACTIVATION, read_activation, {ACTIVATION_LEAKY, {0}}, {NUMBER("negative_slope", "0.01")}},
    {"ELU", LAYER_ACTIVATION, read_elu, {ACTIVATION_ELU, {1.0F, 1.0F, 1.0F}}, {NUMBER("alpha", "1.0")}},
    {"SELU", LAYER_ACTIVATION, read_nothing, {ACTIVATION_ELU, {1.05070099F, 1.75809934F, 1.0F}}, {{0}}},
    {"CELU", LAYER_ACTIVATION, read_celu, {ACTIVATION_ELU, {1.0F, 1.0F, 1.0F}}, {NUMBER("alpha", "1.0")}},
    {"GELU",
     LAYER_ACTIVATION,
     read_gelu,
     {ACTIVATION_GELU, {0}},
     {{"approximate", SETTING_WORD, "'none'", "'none' or 'tanh'"}}},
    ACTIVATION("SiLU", ACTIVATION_SILU),
    ACTIVATION("Mish", ACTIVATION_MISH),
    ACTIVATION("Sigmoid", ACTIVATION_SIGMOID),
    ACTIVATION("Tanh", ACTIVATION_TANH),
    {"Hardtanh",
     LAYER_ACTIVATION,
     read_hardtanh,
     {ACTIVATION_CLAMP, {0}},
     {NUMBER("min_val", "-1.0"), NUMBER("max_val", "1.0")}},
    ACTIVATION("Hardsigmoid", ACTIVATION_HARDSIGMOID),
    ACTIVATION("Hardswish", ACTIVATION_HARDSWISH),
    {"Softplus",
     LAYER_ACTIVATION,
     read_activation,
     {ACTIVATION_SOFTPLUS, {0}},
     {NUMBER("beta", "1.0"), NUMBER("threshold", "20.0")}},
    ACTIVATION("Softsign", ACTIVATION_SOFTSIGN),
    ACTIVATION("LogSigmoid", ACTIVATION_LOG_SIGMOID),
    {"Softmax", LAYER_SOFTMAX, read_softmax, {0}, {NUMBER("dim", "1")}},
    {"LogSoftmax", LAYER_LOG_SOFTMAX, read_softmax, {0}, {NUMBER("dim", "1")}},
    {"BatchNorm1d",
     LAYER_BATCH_NORM,
     read_batch_norm,
     {0},
     {NUMBER("eps", "1e-05"), FLAG("affine", "True"), FLAG("bias", "True"), FLAG("track_running_stats", "True")}},
    {"LayerNorm",
     LAYER_LAYER_NORM,
     read_layer_norm,
     {0},
     {NUMBER("eps", "1e-05"), FLAG("elementwise_affine", "True"), FLAG("bias", "True")}},
    DROPOUT("Dropout"),
    DROPOUT("AlphaDropout"),
    DROPOUT("FeatureAlphaDropout"),
    {"Identity", LAYER_IDENTITY, read_nothing, {0}, {{0}}},
};

const char layer_classes_shown[] =
    "Flatten, Unflatten, Linear, ReLU, ReLU6, LeakyReLU, ELU, SELU, CELU, GELU, SiLU, Mish, Sigmoid, Tanh, "
    "Hardtanh, "
    "Hardsigmoid, Hardswish, Softplus, Softsign, LogSigmoid, Softmax, LogSoftmax, BatchNorm1d, LayerNorm, Dropout, "
    "AlphaDropout, FeatureAlphaDropout, Identity";

const struct layer_class *layer_class_find(const char *name)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof CLASSES[0]; i++)
        if (strcmp(CLASSES[i].name, name) == 0)
            return &CLASSES[i];
    return NULL;
}
