#include "server/answer.h"

#include <stdlib.h>

#include "server/float_text.h"
#include "server/negotiate.h"
#include "server/npy.h"

static const char *const content_types[] = {
    [ANSWER_JSON] = "application/json",
    [ANSWER_FLOAT32] = "application/octet-stream",
    [ANSWER_NPY] = "application/x-npy",
};

enum answer_format answer_negotiate(const char *accept)
{
    return (enum answer_format)negotiate(accept, content_types, sizeof content_types / sizeof *content_types);
}

const char *answer_content_type(enum answer_format format)
{
    return content_types[format];
}

/* ---- JSON ---- */

static void append_float(struct buffer *out, float value)
{
    if (!buffer_reserve(out, FLOAT_TEXT_MAX))
        return;
    out->len += float_text_write(value, out->data + out->len);
}

static void append_floats(struct buffer *out, const float *values, size_t count)
{
    if (!buffer_reserve(out, count * (FLOAT_TEXT_MAX + 1) + 2))
        return;
    char *at = out->data + out->len;
    *at++ = '[';
    for (size_t i = 0; i < count; i++) {
        if (i)
            *at++ = ',';
        at += float_text_write(values[i], at);
    }
    *at++ = ']';
    out->len = (size_t)(at - out->data);
}

static void append_class(const struct served *served, size_t class, float probability, struct buffer *out)
{
    const struct buffer *label = &served->labels_json[class];
    buffer_append_str(out, "\"class\":");
    buffer_append_uint(out, class);
    buffer_append_str(out, ",\"label\":");
    buffer_append(out, label->data, label->len);
    buffer_append_str(out, ",\"probability\":");
    append_float(out, probability);
}

static int by_logit(const void *left, const void *right, void *argument)
{
    const float *logits = argument;
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    if (logits[a] != logits[b])
        return logits[a] > logits[b] ? -1 : 1;
    return a < b ? -1 : 1;
}

static void append_top_k(const struct served *served, const struct answer *answer, size_t row, struct buffer *out)
{
    size_t n = served->model->out_features;
    for (size_t i = 0; i < n; i++)
        answer->order[i] = (uint32_t)i;
    float *logits = (float *)(uintptr_t)(answer->logits + row * n); /* qsort_r's argument is not const */
    qsort_r(answer->order, n, sizeof *answer->order, by_logit, logits);
    buffer_append_str(out, ",\"top_k\":[");
    for (size_t i = 0; i < answer->top_k; i++) {
        buffer_append_str(out, i ? ",{" : "{");
        append_class(served, answer->order[i], answer->probabilities[row * n + answer->order[i]], out);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

/* The classes above the threshold: their numbers, or their labels. */
static void append_likely(const struct served *served, const float *probabilities, float threshold, bool labels,
                          struct buffer *out)
{
    bool first = true;
    for (size_t i = 0; i < served->model->out_features; i++) {
        if (!(probabilities[i] > threshold))
            continue;
        buffer_append_char(out, first ? '[' : ',');
        first = false;
        if (labels)
            buffer_append(out, served->labels_json[i].data, served->labels_json[i].len);
        else
            buffer_append_uint(out, i);
    }
    buffer_append_str(out, first ? "[]" : "]");
}

static void append_labels(const struct served *served, const struct answer *answer, const float *probabilities,
                          struct buffer *out)
{
    buffer_append_str(out, "\"classes\":");
    append_likely(served, probabilities, answer->threshold, false, out);
    buffer_append_str(out, ",\"labels\":");
    append_likely(served, probabilities, answer->threshold, true, out);
    buffer_append_str(out, ",\"probabilities\":");
    append_floats(out, probabilities, served->model->out_features);
}

/* What the network says of a row, as the model's task has it. */
static void append_outputs(const struct served *served, const struct answer *answer, size_t row, struct buffer *out)
{
    const size_t n = served->model->out_features;
    const float *probabilities = answer->probabilities + row * n;
    switch (served->model->task) {
    case TASK_CLASSIFICATION:
        append_class(served, answer->classes[row], probabilities[answer->classes[row]], out);
        buffer_append_str(out, ",\"probabilities\":");
        append_floats(out, probabilities, n);
        break;
    case TASK_BINARY: append_class(served, *probabilities > answer->threshold, *probabilities, out); break;
    case TASK_MULTILABEL: append_labels(served, answer, probabilities, out); break;
    case TASK_REGRESSION:
        buffer_append_str(out, "\"values\":");
        append_floats(out, probabilities, n);
        break;
    }
}

static void append_prediction(const struct served *served, const struct answer *answer, size_t row,
                              struct buffer *out)
{
    size_t n = served->model->out_features;
    append_outputs(served, answer, row, out);
    if (answer->sizes && answer->sizes[row].width)
        buffer_append_format(out, ",\"resized_from\":[%zu,%zu]", answer->sizes[row].width,
                             answer->sizes[row].height);
    if (answer->top_k)
        append_top_k(served, answer, row, out);
    if (answer->with_logits) {
        buffer_append_str(out, ",\"logits\":");
        append_floats(out, answer->logits + row * n, n);
    }
}

static void append_predictions(const struct served *served, const struct answer *answer, struct buffer *out)
{
    buffer_append_str(out, "\"predictions\":[");
    for (size_t row = 0; row < answer->rows; row++) {
        buffer_append_str(out, row ? ",{" : "{");
        append_prediction(served, answer, row, out);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

/* The tutorial's walk: each layer's name, type and output shape for this batch, and the head of its first row. */
static void append_layers(const struct model *model, const struct answer *answer, struct buffer *out)
{
    const float *values = answer->layers;
    for (size_t i = 0; i < model->layer_count; i++, values += TRACE_VALUES) {
        const struct layer *layer = &model->layers[i];
        buffer_append_str(out, i ? ",{\"name\":" : ",\"layers\":[{\"name\":");
        buffer_append_json_string(out, layer->name);
        buffer_append_format(out, ",\"type\":\"%s\",\"shape\":[%zu", layer->type_name, answer->rows);
        for (size_t d = 0; d < layer->dims; d++)
            buffer_append_format(out, ",%zu", layer->shape[d]);
        buffer_append_str(out, "],\"values\":");
        append_floats(out, values, layer->out_features < TRACE_VALUES ? layer->out_features : TRACE_VALUES);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_json(const struct served *served, const struct answer *answer, struct buffer *out)
{
    buffer_append(out, served->answer_head.data, served->answer_head.len);
    buffer_append_char(out, ',');
    if (answer->batched)
        append_predictions(served, answer, out);
    else
        append_prediction(served, answer, 0, out);
    if (answer->layers)
        append_layers(served->model, answer, out);
    buffer_append_str(out, "}\n");
}

void answer_write(const struct served *served, const struct answer *answer, enum answer_format format,
                  struct buffer *out)
{
    const size_t shape[] = {answer->rows, served->model->out_features};
    if (format == ANSWER_JSON) {
        write_json(served, answer, out);
        return;
    }
    if (format == ANSWER_NPY)
        npy_write_header(out, shape, 2);
    buffer_append(out, answer->probabilities, shape[0] * shape[1] * sizeof *answer->probabilities);
}
