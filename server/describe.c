#include "server/describe.h"

#include "server/float_text.h"

static void append_shape(struct buffer *out, const size_t *shape, size_t dims)
{
    buffer_append_char(out, '[');
    for (size_t i = 0; i < dims; i++)
        buffer_append_format(out, i ? ",%zu" : "%zu", shape[i]);
    buffer_append_char(out, ']');
}

/* A layer's shapes as PyTorch has them, -1 for the batch. Only a Flatten at the head of a model of pictures changes the
 * number of dimensions. */
static void append_layer(const struct model *model, const struct layer *layer, struct buffer *out)
{
    bool flattens_picture = layer == model->layers && layer->type == LAYER_FLATTEN && model->width;
    buffer_append_str(out, "{\"name\":");
    buffer_append_json_string(out, layer->name);
    buffer_append_format(out, ",\"type\":\"%s\",\"in_shape\":", layer->type_name);
    if (flattens_picture)
        buffer_append_format(out, "[-1,%zu,%zu]", model->height, model->width);
    else
        buffer_append_format(out, "[-1,%zu]", layer->in_features);
    buffer_append_format(out, ",\"out_shape\":[-1,%zu]", layer->out_features);
    if (layer->type == LAYER_LINEAR)
        buffer_append_format(out, ",\"in_features\":%zu,\"out_features\":%zu,\"bias\":%s", layer->in_features,
                             layer->out_features, layer->has_bias ? "true" : "false");
    buffer_append_char(out, '}');
}

static void append_layers(const struct model *model, struct buffer *out)
{
    buffer_append_str(out, ",\"layers\":[");
    for (size_t i = 0; i < model->layer_count; i++) {
        if (i)
            buffer_append_char(out, ',');
        append_layer(model, &model->layers[i], out);
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

static void append_labels(const struct model *model, struct buffer *out)
{
    buffer_append_str(out, ",\"labels\":");
    if (!model->labels) {
        buffer_append_str(out, "null");
        return;
    }
    for (size_t i = 0; i < model->out_features; i++) {
        buffer_append_char(out, i ? ',' : '[');
        buffer_append_json_string(out, model->labels[i]);
    }
    buffer_append_char(out, ']');
}

static void append_input(const struct model *model, struct buffer *out)
{
    buffer_append_format(out, ",\"input\":{\"in_features\":%zu", model->in_features);
    if (model->width) {
        char divisor[FLOAT_TEXT_MAX];
        int len = (int)float_text_write(model->pixel_divisor, divisor);
        buffer_append_format(out, ",\"width\":%zu,\"height\":%zu,\"channels\":1,\"pixel_divisor\":%.*s",
                             model->width, model->height, len, divisor);
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
