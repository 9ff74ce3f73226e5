#include "engine/onnx_layers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onnx_forms.h"
#include "engine/onnx_tensor.h"
#include "engine/python_float.h"

enum { ARGUMENTS_MAX = 256 };

static const char SUPPORTED[] =
    "read are chains of Gemm, MatMul, Add, Flatten, Reshape, Relu, LeakyRelu, Elu, Selu, Celu, Gelu, Sigmoid, Tanh, "
    "HardSigmoid, HardSwish, Softplus, Softsign, Clip, Mish, Swish, Softmax, LogSoftmax, Dropout, Identity, Cast, "
    "BatchNormalization, LayerNormalization, and what exporters write in their place";

/* A chain that is being read, from the output to the input. */
struct reading {
    const struct onnx_graph *graph;
    const struct onnx_fact *facts;
    const struct onnx_node *node; /* at which it stands */
    struct onnx_layer *layers;    /* ONNX_LAYERS_MAX of them; filled from the end */
    size_t count;
    struct error *err;
};

/* ---- Refusals: each names the node ---- */

static enum status refuse(const struct reading *reading, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum status refuse(const struct reading *reading, const char *format, ...)
{
    char what[224], node[ONNX_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    error_set(reading->err, STATUS_UNSUPPORTED, "node %s %s", onnx_node_text(reading->node, node), what);
    return error_hint(reading->err, "%s", SUPPORTED);
}

static enum status refuse_memory(const struct reading *reading)
{
    return onnx_file_refuse_memory(reading->graph->file, reading->err);
}

/* ---- Texts ---- */

static enum status set_arguments(const struct reading *reading, struct onnx_layer *layer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status set_arguments(const struct reading *reading, struct onnx_layer *layer, const char *format, ...)
{
    char text[ARGUMENTS_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    layer->arguments = onnx_file_print(reading->graph->file, "%s", text);
    return layer->arguments ? STATUS_OK : refuse_memory(reading);
}

/* A row's shape as Python writes a tuple: "(7,)". */
static const char *row_shape(const struct onnx_fact *rows, char dst[ARGUMENTS_MAX])
{
    size_t at = 0;
    dst[at++] = '(';
    for (size_t i = 1; i < rows->dims; i++)
        at += (size_t)snprintf(dst + at, 24, "%s%jd", i > 1 ? ", " : "", (intmax_t)rows->sizes[i]);
    snprintf(dst + at, 3, rows->dims == 2 ? ",)" : ")");
    return dst;
}

/* ---- Constants as parameters ---- */

static int32_t origin_of_input(const struct reading *reading, size_t i)
{
    return onnx_graph_origin(reading->graph, onnx_node_input(reading->node, i));
}

static bool is_constant(const struct reading *reading, int32_t value)
{
    return value != ONNX_NONE && reading->facts[value].kind == ONNX_CONSTANT;
}

static struct onnx_parameter *add_parameter(struct onnx_layer *layer, const char *suffix, int32_t value,
                                            size_t dims)
{
    struct onnx_parameter *parameter = &layer->parameters[layer->parameter_count++];
    *parameter = (struct onnx_parameter){.suffix = suffix, .value = value, .scale = 1, .dims = dims};
    return parameter;
}

/* A constant that is added to, or multiplied with, each row: `count` elements along the last axis, or one for all. */
static enum status add_vector(const struct reading *reading, struct onnx_layer *layer, const char *suffix,
                              int32_t value, size_t count)
{
    value = onnx_graph_origin(reading->graph, value);
    if (!is_constant(reading, value))
        return refuse(reading, "has a %s that is computed; a constant was expected", suffix);
    const struct onnx_fact *fact = &reading->facts[value];
    size_t last = fact->dims > 0 ? (size_t)fact->sizes[fact->dims - 1] : 1, elements = onnx_fact_elements(fact);
    if (elements != last || fact->dims > 2 || (elements != count && elements != 1))
        return refuse(reading, "has a %s of %zu elements; a vector of %zu was expected", suffix, elements, count);
    add_parameter(layer, suffix, value, 1)->shape[0] = count;
    return STATUS_OK;
}

/* ---- Linear ---- */

static enum status read_weight(const struct reading *reading, struct onnx_layer *layer, int32_t value,
                               bool transposed, float alpha)
{
    if (!is_constant(reading, value))
        return refuse(reading, "multiplies two computed values; a weight must be a constant");
    const struct onnx_fact *fact = &reading->facts[value];
    if (fact->dims != 2 || fact->sizes[0] < 1 || fact->sizes[1] < 1)
        return refuse(reading, "has a weight of %zu dimensions; a matrix was expected", fact->dims);
    struct onnx_parameter *weight = add_parameter(layer, "weight", value, 2);
    weight->transposed = transposed;
    weight->scale = alpha;
    weight->shape[0] = (size_t)fact->sizes[transposed ? 1 : 0];
    weight->shape[1] = (size_t)fact->sizes[transposed ? 0 : 1];
    return STATUS_OK;
}

static enum status finish_linear(const struct reading *reading, struct onnx_layer *layer, int32_t bias, float beta)
{
    size_t out = layer->parameters[0].shape[0], in = layer->parameters[0].shape[1];
    bool has_bias = bias != ONNX_NONE && beta != 0;
    enum status status = has_bias ? add_vector(reading, layer, "bias", bias, out) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    if (has_bias)
        layer->parameters[1].scale = beta;
    layer->class_name = "Linear";
    return set_arguments(reading, layer, "in_features=%zu, out_features=%zu, bias=%s", in, out,
                         has_bias ? "True" : "False");
}

/* A Gemm whose own C, if it has one, is the bias; or `bias`, if an Add follows. */
static enum status read_product(const struct reading *reading, struct onnx_layer *layer, int32_t bias)
{
    bool is_gemm = onnx_node_is(reading->node, "Gemm");
    float alpha = is_gemm ? onnx_node_float(reading->node, "alpha", 1) : 1, beta = 1;
    bool transposed = !is_gemm || onnx_node_int(reading->node, "transB", 0) == 0;
    if (is_gemm && onnx_node_int(reading->node, "transA", 0) != 0)
        return refuse(reading, "has transA: its rows would be columns");
    if (is_constant(reading, origin_of_input(reading, 0)))
        return refuse(reading, "multiplies a constant with rows; rows with a constant was expected");
    layer->input = onnx_node_input(reading->node, 0);
    enum status status = read_weight(reading, layer, origin_of_input(reading, 1), transposed, alpha);
    if (status == STATUS_OK && is_gemm && bias == ONNX_NONE) {
        bias = onnx_node_input(reading->node, 2);
        beta = onnx_node_float(reading->node, "beta", 1);
    }
    return status == STATUS_OK ? finish_linear(reading, layer, bias, beta) : status;
}

static enum status read_gemm(const struct reading *reading, struct onnx_layer *layer)
{
    return read_product(reading, layer, ONNX_NONE);
}

/* The product without a bias that an Add completes, behind input i; NULL if there is none. */
static const struct onnx_node *product_behind(const struct reading *reading, size_t i)
{
    const struct onnx_node *node = onnx_graph_producer(reading->graph, origin_of_input(reading, i));
    if (!node || !is_constant(reading, origin_of_input(reading, 1 - i)))
        return NULL;
    bool is_bare = onnx_node_is(node, "MatMul") ||
                   (onnx_node_is(node, "Gemm") && onnx_node_input(node, 2) == ONNX_NONE);
    return is_bare ? node : NULL;
}

static enum status read_add(const struct reading *reading, struct onnx_layer *layer)
{
    for (size_t i = 0; i < 2; i++) {
        const struct onnx_node *product = product_behind(reading, i);
        if (!product)
            continue;
        struct reading at_product = *reading;
        at_product.node = product;
        return read_product(&at_product, layer, onnx_node_input(reading->node, 1 - i));
    }
    if (!is_constant(reading, origin_of_input(reading, 0)) && !is_constant(reading, origin_of_input(reading, 1)))
        return refuse(reading, "adds two computed values, so that the graph is no chain of layers");
    return refuse(reading, "adds a constant to what is no product with a weight");
}

/* ---- Shapes ---- */

static enum status read_flatten(const struct reading *reading, struct onnx_layer *layer)
{
    layer->class_name = "Flatten";
    return set_arguments(reading, layer, "start_dim=1, end_dim=-1");
}

/* Rows of one axis that become rows of several: what Flatten took apart, put back. */
static enum status read_unflatten(const struct reading *reading, struct onnx_layer *layer,
                                  const struct onnx_fact *output)
{
    char shape[ARGUMENTS_MAX];
    layer->class_name = "Unflatten";
    return set_arguments(reading, layer, "dim=1, unflattened_size=%s", row_shape(output, shape));
}

/* Reshape, Squeeze, Unsqueeze: rows keep their elements, as the facts say. */
static enum status read_reshape(const struct reading *reading, struct onnx_layer *layer)
{
    const struct onnx_fact *output = &reading->facts[reading->node->first_output];
    const struct onnx_fact *input = &reading->facts[origin_of_input(reading, 0)];
    if (input->kind == ONNX_NOTHING) /* what comes before it will be refused */
        return read_flatten(reading, layer);
    if (output->kind != ONNX_ROWS || onnx_fact_row_elements(output) != onnx_fact_row_elements(input))
        return refuse(reading, "does not keep a row's elements in that row, or its shape cannot be followed");
    if (output->dims <= 2) /* 1 where a row of one number loses its axis, as squeeze(1) does it */
        return read_flatten(reading, layer);
    if (input->dims == 2)
        return read_unflatten(reading, layer, output);
    return refuse(reading, "changes the axes of a row; only flattening, and its reverse, are read");
}

/* ---- Normalisation ---- */

static enum status read_batch_norm(const struct reading *reading, struct onnx_layer *layer)
{
    static const char *const suffixes[] = {"weight", "bias", "running_mean", "running_var"};
    char eps[PYTHON_FLOAT_BYTES];
    const struct onnx_node *node = reading->node;
    int32_t mean = origin_of_input(reading, 3);
    if (onnx_node_int(node, "training_mode", 0) != 0)
        return refuse(reading, "is in training mode; export the model after model.eval()");
    if (!is_constant(reading, mean) || reading->facts[mean].dims != 1)
        return refuse(reading, "has no constant vector of means; is it in training mode?");
    size_t features = onnx_fact_elements(&reading->facts[mean]);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < 4; i++)
        status = add_vector(reading, layer, suffixes[i], onnx_node_input(node, i + 1), features);
    if (status != STATUS_OK)
        return status;
    layer->class_name = "BatchNorm1d";
    python_float_text((double)onnx_node_float(node, "epsilon", 1e-5f), true, eps);
    return set_arguments(reading, layer,
                         "%zu, eps=%s, momentum=0.1, affine=True, bias=True, track_running_stats=True", features,
                         eps);
}

/* Weight and bias have the row's shape; one axis, as everywhere else here. */
static enum status add_norm_vectors(const struct reading *reading, struct onnx_layer *layer, int32_t weight,
                                    int32_t bias)
{
    const struct onnx_fact *rows = &reading->facts[onnx_graph_origin(reading->graph, layer->input)];
    if (rows->kind != ONNX_ROWS)
        return STATUS_OK; /* what comes before it will be refused */
    if (rows->dims != 2 || rows->sizes[1] == ONNX_UNKNOWN)
        return refuse(reading, "normalises rows of several axes, or of unknown size; flatten them before it");
    size_t features = (size_t)rows->sizes[1];
    enum status status = STATUS_OK;
    if (weight != ONNX_NONE)
        status = add_vector(reading, layer, "weight", weight, features);
    if (status == STATUS_OK && bias != ONNX_NONE)
        status = add_vector(reading, layer, "bias", bias, features);
    return status;
}

static enum status read_layer_norm(const struct reading *reading, struct onnx_layer *layer)
{
    char eps[PYTHON_FLOAT_BYTES], shape[ARGUMENTS_MAX];
    const struct onnx_node *node = reading->node;
    const struct onnx_fact *rows = &reading->facts[origin_of_input(reading, 0)];
    int64_t axis = onnx_node_int(node, "axis", -1);
    int32_t bias = onnx_node_input(node, 2);
    if (axis != -1 && axis != 1)
        return refuse(reading, "normalises from axis %jd on; the features of a row were expected", (intmax_t)axis);
    if (onnx_node_input(node, 1) == ONNX_NONE)
        return refuse(reading, "has no scale");
    enum status status = add_norm_vectors(reading, layer, onnx_node_input(node, 1), bias);
    if (status != STATUS_OK)
        return status;
    layer->class_name = "LayerNorm";
    python_float_text((double)onnx_node_float(node, "epsilon", 1e-5f), true, eps);
    return set_arguments(reading, layer, "%s, eps=%s, elementwise_affine=True, bias=%s", row_shape(rows, shape),
                         eps, bias == ONNX_NONE ? "False" : "True");
}

/* ---- Activations ---- */

static enum status read_alpha(const struct reading *reading, struct onnx_layer *layer)
{
    char alpha[PYTHON_FLOAT_BYTES];
    static const struct {
        const char *op, *class_name, *argument;
        float otherwise;
    } rows[] = {{"LeakyRelu", "LeakyReLU", "negative_slope", 0.01f},
                {"Elu", "ELU", "alpha", 1},
                {"Celu", "CELU", "alpha", 1}};
    size_t i = 0;
    while (!onnx_node_is(reading->node, rows[i].op))
        i++;
    layer->class_name = rows[i].class_name;
    python_float_text((double)onnx_node_float(reading->node, "alpha", rows[i].otherwise), true, alpha);
    return set_arguments(reading, layer, "%s=%s", rows[i].argument, alpha);
}

static bool is_near(float value, float expected)
{
    return fabsf(value - expected) <= 1e-6f * expected;
}

static enum status read_selu(const struct reading *reading, struct onnx_layer *layer)
{
    float alpha = onnx_node_float(reading->node, "alpha", 1.6732632f);
    float gamma = onnx_node_float(reading->node, "gamma", 1.0507010f);
    layer->class_name = "SELU";
    if (is_near(alpha, 1.6732632f) && is_near(gamma, 1.0507010f))
        return STATUS_OK;
    return refuse(reading, "has alpha %g and gamma %g, PyTorch's SELU has 1.67326 and 1.0507", (double)alpha,
                  (double)gamma);
}

static enum status read_hard_sigmoid(const struct reading *reading, struct onnx_layer *layer)
{
    float alpha = onnx_node_float(reading->node, "alpha", 0.2f),
          beta = onnx_node_float(reading->node, "beta", 0.5f);
    layer->class_name = "Hardsigmoid";
    if (is_near(alpha, 1.0f / 6.0f) && is_near(beta, 0.5f))
        return STATUS_OK;
    return refuse(reading, "has alpha %g and beta %g, PyTorch's Hardsigmoid has 1/6 and 0.5", (double)alpha,
                  (double)beta);
}

static enum status read_gelu(const struct reading *reading, struct onnx_layer *layer)
{
    bool is_tanh = onnx_node_says(reading->node, "approximate", "tanh", false);
    layer->class_name = "GELU";
    if (!is_tanh && !onnx_node_says(reading->node, "approximate", "none", true))
        return refuse(reading, "has an approximation that is neither none nor tanh");
    return set_arguments(reading, layer, "approximate='%s'", is_tanh ? "tanh" : "none");
}

static enum status read_swish(const struct reading *reading, struct onnx_layer *layer)
{
    float alpha = onnx_node_float(reading->node, "alpha", 1);
    layer->class_name = "SiLU";
    return alpha == 1 ? STATUS_OK : refuse(reading, "has alpha %g, PyTorch's SiLU has 1", (double)alpha);
}

static enum status read_clip(const struct reading *reading, struct onnx_layer *layer)
{
    struct onnx_number min, max;
    char low[PYTHON_FLOAT_BYTES], high[PYTHON_FLOAT_BYTES];
    if (!onnx_form_clip(reading->graph, reading->facts, reading->node, &min, &max))
        return refuse(reading, "has bounds that are no constant numbers");
    bool from_zero = min.is_set && min.value == 0;
    if (from_zero && (!max.is_set || max.value == 6)) {
        layer->class_name = max.is_set ? "ReLU6" : "ReLU";
        return STATUS_OK;
    }
    if (!min.is_set || !max.is_set || !(min.value < max.value))
        return refuse(reading, "has not a lower and a higher bound");
    layer->class_name = "Hardtanh";
    return set_arguments(reading, layer, "min_val=%s, max_val=%s",
                         python_float_text(min.value, min.type != ONNX_DOUBLE, low),
                         python_float_text(max.value, max.type != ONNX_DOUBLE, high));
}

static enum status read_softmax(const struct reading *reading, struct onnx_layer *layer)
{
    layer->class_name = onnx_node_is(reading->node, "Softmax") ? "Softmax" : "LogSoftmax";
    if (!onnx_form_is_row_softmax(reading->graph, reading->facts, reading->node))
        return refuse(reading, "is not over the features of each row");
    return set_arguments(reading, layer, "dim=1");
}

/* Of the drawing of numbers that training does nothing is left; its mask may not be asked for. */
static enum status read_dropout(const struct reading *reading, struct onnx_layer *layer)
{
    char ratio[PYTHON_FLOAT_BYTES];
    struct onnx_number p = {.value = (double)onnx_node_float(reading->node, "ratio", 0.5f), .type = ONNX_FLOAT};
    int32_t training = origin_of_input(reading, 2);
    const struct onnx_fact *fact = is_constant(reading, training) ? &reading->facts[training] : NULL;
    bool is_off = fact && fact->tensor->n_int32_data <= 1 && fact->tensor->raw_data.len <= 1 &&
                  !(fact->tensor->n_int32_data == 1 && fact->tensor->int32_data[0] != 0) &&
                  !(fact->tensor->raw_data.len == 1 && fact->tensor->raw_data.data[0] != 0);
    if (training != ONNX_NONE && !is_off)
        return refuse(reading, "is in training mode; export the model after model.eval()");
    if (onnx_node_input(reading->node, 1) != ONNX_NONE)
        onnx_form_number(reading->graph, reading->facts, onnx_node_input(reading->node, 1), &p);
    layer->class_name = "Dropout";
    return set_arguments(reading, layer, "p=%s, inplace=False",
                         python_float_text(p.value, p.type != ONNX_DOUBLE, ratio));
}

/* ---- Operators ---- */

static const struct operator_row {
    const char *op;
    const char *class_name; /* for one without arguments and conditions; else NULL */
    enum status (*read)(const struct reading *reading, struct onnx_layer *layer);
} OPERATORS[] = {
    {"Gemm", NULL, read_gemm},
    {"MatMul", NULL, read_gemm},
    {"Add", NULL, read_add},
    {"Flatten", NULL, read_reshape},
    {"Reshape", NULL, read_reshape},
    {"Squeeze", NULL, read_reshape},
    {"Unsqueeze", NULL, read_reshape},
    {"Relu", "ReLU", NULL},
    {"LeakyRelu", NULL, read_alpha},
    {"Elu", NULL, read_alpha},
    {"Celu", NULL, read_alpha},
    {"Selu", NULL, read_selu},
    {"Gelu", NULL, read_gelu},
    {"Swish", NULL, read_swish},
    {"Sigmoid", "Sigmoid", NULL},
    {"Tanh", "Tanh", NULL},
    {"HardSigmoid", NULL, read_hard_sigmoid},
    {"HardSwish", "Hardswish", NULL},
    {"Softplus", NULL, NULL},
    {"Softsign", "Softsign", NULL},
    {"Mish", "Mish", NULL},
    {"Clip", NULL, read_clip},
    {"Softmax", NULL, read_softmax},
    {"LogSoftmax", NULL, read_softmax},
    {"Dropout", NULL, read_dropout},
    {"BatchNormalization", NULL, read_batch_norm},
    {"LayerNormalization", NULL, read_layer_norm},
};

static const struct operator_row *find_operator(const struct onnx_node *node)
{
    for (size_t i = 0; i < sizeof OPERATORS / sizeof OPERATORS[0]; i++)
        if (onnx_node_is(node, OPERATORS[i].op))
            return &OPERATORS[i];
    return NULL;
}

/* Operators of which only a whole form is a layer. */
static bool is_part_of_forms(const struct onnx_node *node)
{
    static const char *const parts[] = {"Mul", "Div", "Sub",        "Erf",        "Pow",      "Sqrt",
                                        "Exp", "Log", "Neg",        "Abs",        "Where",    "Greater",
                                        "Min", "Max", "ReduceMean", "Reciprocal", "Transpose"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (onnx_node_is(node, parts[i]))
            return true;
    return false;
}

static enum status read_operator(const struct reading *reading, struct onnx_layer *layer)
{
    const struct operator_row *row = find_operator(reading->node);
    if (!row && is_part_of_forms(reading->node))
        return refuse(reading,
                      "ends no layer that is served: the nodes around it are no activation and no LayerNorm");
    if (!row)
        return refuse(reading, "is of a type that is not served");
    layer->input = onnx_node_input(reading->node, 0);
    layer->arguments = "";
    if (layer->input == ONNX_NONE)
        return refuse(reading, "has no input");
    if (row->read)
        return row->read(reading, layer);
    layer->class_name = row->class_name ? row->class_name : "Softplus";
    return row->class_name ? STATUS_OK : set_arguments(reading, layer, "beta=1.0, threshold=20.0");
}

/* ---- Forms ---- */

/* The template with its numbers put in. */
static enum status fill_arguments(const struct reading *reading, struct onnx_layer *layer,
                                  const struct onnx_form *form)
{
    char text[ARGUMENTS_MAX] = "", number[ARGUMENTS_MAX];
    size_t at = 0;
    for (const char *p = form->arguments; *p != '\0'; p++) {
        if (*p != '$') {
            at += (size_t)snprintf(text + at, sizeof text - at, "%c", *p);
            continue;
        }
        p++;
        if (*p == 'N')
            row_shape(&reading->facts[form->x], number);
        else
            python_float_text(form->numbers[*p - 'a'].value, form->numbers[*p - 'a'].type != ONNX_DOUBLE, number);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", number);
        if (at >= sizeof text)
            return refuse(reading, "has arguments that are too long");
    }
    return set_arguments(reading, layer, "%s", text);
}

static enum status read_form(const struct reading *reading, const struct onnx_form *form, struct onnx_layer *layer)
{
    layer->class_name = form->class_name;
    layer->input = form->x;
    enum status status = STATUS_OK;
    if (strcmp(form->class_name, "LayerNorm") == 0)
        status = add_norm_vectors(reading, layer, form->weight, form->bias);
    return status == STATUS_OK ? fill_arguments(reading, layer, form) : status;
}

/* ---- The chain ---- */

static enum status read_layer(struct reading *reading, int32_t value, struct onnx_layer *layer)
{
    struct onnx_form form;
    reading->node = onnx_graph_producer(reading->graph, value);
    layer->node = reading->node;
    layer->output = value;
    if (!layer->node || is_constant(reading, value)) {
        error_set(reading->err, STATUS_UNSUPPORTED, "the model's output does not depend on its input");
        return error_hint(reading->err, "export a forward(x) that computes with x");
    }
    if (value != layer->node->first_output)
        return refuse(reading, "gives a second output, which is not served");
    if (onnx_form_match(reading->graph, reading->facts, value, &form))
        return read_form(reading, &form, layer);
    return read_operator(reading, layer);
}

static enum status read_chain(struct reading *reading)
{
    int32_t value = onnx_graph_origin(reading->graph, reading->graph->output);
    while (value != reading->graph->input) {
        if (reading->count == ONNX_LAYERS_MAX) {
            error_set(reading->err, STATUS_TOO_LARGE, "the model has more than %d layers", ONNX_LAYERS_MAX);
            return error_hint(reading->err, "make several layers one, or serve a smaller model");
        }
        struct onnx_layer *layer = &reading->layers[ONNX_LAYERS_MAX - ++reading->count];
        enum status status = read_layer(reading, value, layer);
        if (status != STATUS_OK)
            return status;
        value = onnx_graph_origin(reading->graph, layer->input);
    }
    return STATUS_OK;
}

/* From the input on, so that the first layer that does not fit is the one that is named. */
static enum status check_shapes(struct reading *reading, const struct onnx_layer *layers)
{
    for (size_t i = 0; i < reading->count; i++) {
        reading->node = layers[i].node;
        const struct onnx_fact *output = &reading->facts[layers[i].output];
        if (output->kind != ONNX_ROWS)
            return refuse(reading, "does not fit what comes before it: the shapes differ, or mix rows");
        if (layers[i].parameter_count > 2 && output->dims != 2)
            return refuse(reading, "works on rows of several axes; flatten them before it");
    }
    const struct onnx_fact *output = &reading->facts[onnx_graph_origin(reading->graph, reading->graph->output)];
    if (output->dims <= 2)
        return STATUS_OK;
    error_set(reading->err, STATUS_UNSUPPORTED, "the model's output has %zu axes, a row of numbers was expected",
              output->dims);
    return error_hint(reading->err, "flatten it, so that its shape is [batch, outputs]");
}

enum status onnx_layers_create(const struct onnx_graph *graph, const struct onnx_fact *facts,
                               struct onnx_layers *ret, struct error *err)
{
    struct reading reading = {.graph = graph, .facts = facts, .err = err};
    reading.layers = calloc(ONNX_LAYERS_MAX, sizeof *reading.layers);
    if (!reading.layers)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the layers of an ONNX file");
    enum status status = read_chain(&reading);
    const struct onnx_layer *first = reading.layers + ONNX_LAYERS_MAX - reading.count;
    if (status == STATUS_OK)
        status = check_shapes(&reading, first);
    struct onnx_layer *kept = status == STATUS_OK ? onnx_file_alloc(graph->file, reading.count + 1, sizeof *kept)
                                                  : NULL;
    if (status == STATUS_OK && !kept)
        status = refuse_memory(&reading);
    if (kept && reading.count > 0)
        memcpy(kept, first, reading.count * sizeof *kept);
    if (kept)
        *ret = (struct onnx_layers){kept, reading.count};
    free(reading.layers);
    return status;
}
