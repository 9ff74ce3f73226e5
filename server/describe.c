#include "server/describe.h"

#include <math.h>

#include "engine/model_json.h"
#include "server/float_text.h"

static void append_shape(struct buffer *out, const size_t *shape, size_t dims)
{
    buffer_append_char(out, '[');
    for (size_t i = 0; i < dims; i++)
        buffer_append_format(out, i ? ",%zu" : "%zu", shape[i]);
    buffer_append_char(out, ']');
}

/* A row's shape as PyTorch has it between two layers, -1 for the batch. */
static void append_row_shape(const char *key, const size_t *shape, size_t dims, struct buffer *out)
{
    buffer_append_format(out, ",\"%s\":[-1", key);
    for (size_t i = 0; i < dims; i++)
        buffer_append_format(out, ",%zu", shape[i]);
    buffer_append_char(out, ']');
}

static void append_number(double number, struct buffer *out)
{
    char text[FLOAT_TEXT_MAX];
    if (number == floor(number) && fabs(number) < 1e9)
        buffer_append_format(out, "%.0f", number);
    else if (isfinite((float)number))
        buffer_append(out, text, float_text_write((float)number, text));
    else
        buffer_append_str(out, number < 0 ? "\"-inf\"" : "\"inf\""); /* JSON has no infinity */
}

static void append_setting(const struct layer_setting *setting, struct buffer *out)
{
    buffer_append_format(out, ",\"%s\":", setting->name);
    switch (setting->kind) {
    case SETTING_NUMBER: append_number(setting->number, out); break;
    case SETTING_FLAG: buffer_append_str(out, setting->number != 0 ? "true" : "false"); break;
    case SETTING_WORD: buffer_append_json_string(out, setting->word); break;
    }
}

/* What PyTorch's constructor took, under its names. */
static void append_settings(const struct layer *layer, struct buffer *out)
{
    if (layer->type == LAYER_LINEAR)
        buffer_append_format(out, ",\"in_features\":%zu,\"out_features\":%zu,\"bias\":%s", layer->in_features,
                             layer->out_features, layer->has_bias ? "true" : "false");
    if (layer->type == LAYER_BATCH_NORM)
        buffer_append_format(out, ",\"num_features\":%zu", layer->in_features);
    if (layer->type == LAYER_LAYER_NORM || layer->type == LAYER_UNFLATTEN) {
        buffer_append_str(out,
                          layer->type == LAYER_UNFLATTEN ? ",\"unflattened_size\":" : ",\"normalized_shape\":");
        append_shape(out, layer->shape, layer->dims);
    }
    for (size_t i = 0; i < layer->setting_count; i++)
        append_setting(&layer->settings[i], out);
}

static void append_layers(const struct model *model, struct buffer *out)
{
    const size_t *shape = model->input_shape;
    size_t dims = model->input_dims;
    buffer_append_str(out, ",\"layers\":[");
    for (size_t i = 0; i < model->layer_count; i++) {
        const struct layer *layer = &model->layers[i];
        buffer_append_str(out, i ? ",{\"name\":" : "{\"name\":");
        buffer_append_json_string(out, layer->name);
        buffer_append_format(out, ",\"type\":\"%s\"", layer->type_name);
        append_row_shape("in_shape", shape, dims, out);
        shape = layer->shape;
        dims = layer->dims;
        append_row_shape("out_shape", shape, dims, out);
        append_settings(layer, out);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void append_parameters(const struct model *model, struct buffer *out)
{
    buffer_append_str(out, ",\"parameters\":[");
    for (size_t i = 0; i < model->parameter_count; i++) {
        const struct parameter *parameter = &model->parameters[i];
        buffer_append_str(out, i ? ",{\"name\":" : "{\"name\":");
        buffer_append_json_string(out, parameter->name);
        buffer_append_str(out, ",\"shape\":");
        append_shape(out, parameter->shape, parameter->dims);
        buffer_append_format(out, ",\"dtype\":\"float32\",\"count\":%zu}", parameter->count);
    }
    buffer_append_format(out, "],\"parameter_count\":%zu", model->parameter_elements);
}

static void append_task(const struct model *model, struct buffer *out)
{
    buffer_append_format(out, ",\"task\":\"%s\"", model_json_task_name(model->task));
    if (model->task == TASK_BINARY || model->task == TASK_MULTILABEL) {
        buffer_append_str(out, ",\"threshold\":");
        append_number((double)model->threshold, out);
    }
}

static void append_labels(const struct model *model, struct buffer *out)
{
    buffer_append_str(out, ",\"labels\":");
    if (!model->labels) {
        buffer_append_str(out, "null");
        return;
    }
    for (size_t i = 0; i < model->label_count; i++) {
        buffer_append_char(out, i ? ',' : '[');
        buffer_append_json_string(out, model->labels[i]);
    }
    buffer_append_char(out, ']');
}

static void append_channels(const char *key, const float *values, size_t count, struct buffer *out)
{
    buffer_append_format(out, ",\"%s\":", key);
    for (size_t c = 0; c < count; c++) {
        buffer_append_char(out, c ? ',' : '[');
        append_number((double)values[c], out);
    }
    buffer_append_char(out, ']');
}

static void append_input(const struct model *model, struct buffer *out)
{
    buffer_append_format(out, ",\"input\":{\"in_features\":%zu", model->in_features);
    if (model->width) {
        char divisor[FLOAT_TEXT_MAX];
        int len = (int)float_text_write(model->pixel_divisor, divisor);
        buffer_append_format(out, ",\"width\":%zu,\"height\":%zu,\"channels\":%zu,\"pixel_divisor\":%.*s",
                             model->width, model->height, model->channels, len, divisor);
        append_channels("mean", model->mean, model->channels, out);
        append_channels("std", model->std, model->channels, out);
    }
    buffer_append_char(out, '}');
}

void describe_json(const struct backend *backend, struct buffer *out)
{
    const struct model *model = backend->model;
    buffer_append_str(out, "{\"name\":");
    buffer_append_json_string(out, model->name);
    buffer_append_str(out, ",\"version\":");
    buffer_append_json_string(out, model->version);
    buffer_append_format(out, ",\"device\":\"%s\",\"kernels\":\"%s\",\"structure\":", backend->device,
                         backend->kernels);
    buffer_append_json_string(out, model->structure_text);
    append_layers(model, out);
    append_parameters(model, out);
    append_task(model, out);
    append_labels(model, out);
    append_input(model, out);
    buffer_append_str(out, "}\n");
}

void describe_text(const struct backend *backend, struct buffer *out)
{
    buffer_append_format(out, "Using %s device\n", backend->device);
    buffer_append_str(out, backend->model->structure_text);
    buffer_append_str(out, backend->model->parameters_text);
}
