#include "engine/model_json.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_document.h"
#include "engine/model_layers.h"
#include "engine/utf8.h"

enum { SIDE_MAX = 65536, KEYS_MAX = 6 };

/* What is read before anything of the model is changed. */
struct reading {
    const struct model *model;
    size_t channels, width, height; /* 0 as long as they were not read */
    float pixel_divisor;
    const cJSON *mean, *std; /* NULL as long as they were not read */
    const cJSON *task_item;
    enum model_task task;
    const cJSON *threshold_item;
    const cJSON *labels_item;
    char **labels;
    size_t label_count;
    struct error *err;
};

typedef enum status read_value(struct reading *reading, const cJSON *item);

struct key {
    const char *name;
    read_value *read;
};

/* ---- Task ---- */

static const char *const TASK_NAMES[] = {
    [TASK_CLASSIFICATION] = "classification",
    [TASK_REGRESSION] = "regression",
    [TASK_BINARY] = "binary",
    [TASK_MULTILABEL] = "multilabel",
};

const char *model_json_task_name(enum model_task task)
{
    return TASK_NAMES[task];
}

static enum status read_task(struct reading *reading, const cJSON *item)
{
    size_t count = sizeof TASK_NAMES / sizeof *TASK_NAMES, i = 0;
    while (cJSON_IsString(item) && i < count && strcmp(TASK_NAMES[i], item->valuestring) != 0)
        i++;
    if (!cJSON_IsString(item) || i == count) {
        error_set(reading->err, STATUS_INVALID, "task is %s, one of four names was expected",
                  cJSON_IsString(item) ? "another string" : json_document_kind(item));
        return error_hint(reading->err, "write \"classification\", \"regression\", \"binary\" or \"multilabel\"");
    }
    reading->task_item = item;
    reading->task = (enum model_task)i;
    return STATUS_OK;
}

/* One output is no choice between classes, and several are not binary. */
static enum status check_task(const struct reading *reading)
{
    bool fits = reading->task != (reading->model->out_features == 1 ? TASK_CLASSIFICATION : TASK_BINARY);
    if (fits || !reading->task_item)
        return STATUS_OK;
    error_set(reading->err, STATUS_INVALID, "task is \"%s\", but the model gives %zu features",
              TASK_NAMES[reading->task], reading->model->out_features);
    if (reading->task == TASK_BINARY)
        return error_hint(reading->err, "binary has one output; write \"classification\" or \"multilabel\"");
    return error_hint(reading->err,
                      "classification has an output for each class; write \"binary\" or \"regression\"");
}

/* ---- Threshold ---- */

static enum status read_threshold(struct reading *reading, const cJSON *item)
{
    reading->threshold_item = item;
    return STATUS_OK;
}

/* Once the task is known, which says whether there is one. */
static enum status take_threshold(const struct reading *reading, struct model *changed)
{
    const cJSON *item = reading->threshold_item;
    if (!item)
        return STATUS_OK;
    if (changed->task != TASK_BINARY && changed->task != TASK_MULTILABEL) {
        error_set(reading->err, STATUS_INVALID, "threshold goes with the tasks binary and multilabel, not with %s",
                  TASK_NAMES[changed->task]);
        return error_hint(reading->err, "leave threshold out");
    }
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 1)) {
        error_set(reading->err, STATUS_INVALID, "threshold must be a number from 0 to 1");
        return error_hint(reading->err, "write how probable a label must be to be answered; 0.5 if it is left out");
    }
    changed->threshold = (float)item->valuedouble;
    return STATUS_OK;
}

/* ---- Labels ---- */

static void free_labels(char **labels, size_t count)
{
    for (size_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

static enum status check_labels(const struct reading *reading, const cJSON *item)
{
    size_t want = reading->label_count, count = 0;
    if (!cJSON_IsArray(item)) {
        error_set(reading->err, STATUS_INVALID, "labels is %s, an array of %zu strings was expected",
                  json_document_kind(item), want);
        return error_hint(
            reading->err,
            "write labels as [\"first\", \"second\", ...], in the order of the outputs, or leave them out");
    }
    for (const cJSON *label = item->child; label; label = label->next, count++) {
        if (!cJSON_IsString(label)) {
            error_set(reading->err, STATUS_INVALID, "labels[%zu] is %s, a string was expected", count,
                      json_document_kind(label));
            return error_hint(reading->err, "write each label in double quotes");
        }
        if (!utf8_is_printable(label->valuestring, strlen(label->valuestring))) {
            error_set(reading->err, STATUS_INVALID,
                      "labels[%zu] holds a control character or bytes that are not UTF-8", count);
            return error_hint(reading->err, "save model.json as UTF-8, each label on one line");
        }
    }
    if (count == want)
        return STATUS_OK;
    if (reading->task == TASK_BINARY) {
        error_set(reading->err, STATUS_INVALID, "there are %zu labels, but a binary model has 2", count);
        return error_hint(reading->err,
                          "write the label of what is not, then that of what is, or leave labels out");
    }
    error_set(reading->err, STATUS_INVALID, "there are %zu labels, but the model gives %zu features", count, want);
    return error_hint(reading->err, "write one label for each output, in order, or leave labels out");
}

static enum status read_labels(struct reading *reading, const cJSON *item)
{
    reading->labels_item = item;
    return STATUS_OK;
}

/* Once the task is known, which says how many there are. */
static enum status make_labels(struct reading *reading)
{
    const cJSON *item = reading->labels_item;
    size_t count = reading->task == TASK_BINARY ? 2 : reading->model->out_features, i = 0;
    assert(count > 0); /* model_layers_build sees to it */
    if (!item)
        return STATUS_OK;
    reading->label_count = count;
    enum status status = check_labels(reading, item);
    if (status != STATUS_OK)
        return status;
    char **labels = calloc(count, sizeof *labels);
    for (const cJSON *label = item->child; labels && label; label = label->next)
        if (!(labels[i++] = strdup(label->valuestring)))
            break;
    if (!labels || !labels[count - 1]) {
        free_labels(labels, count);
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for %zu labels", count);
    }
    reading->labels = labels;
    return STATUS_OK;
}

/* ---- Input ---- */

static enum status read_side(const struct reading *reading, const cJSON *item, size_t *ret_side)
{
    size_t side;
    if (!json_document_whole(item, &side) || side < 1 || side > SIDE_MAX) {
        error_set(reading->err, STATUS_INVALID, "input.%s must be a whole number from 1 to %d", item->string,
                  SIDE_MAX);
        return error_hint(reading->err, "write the picture's width and height in pixels, or leave both out");
    }
    *ret_side = side;
    return STATUS_OK;
}

static enum status read_width(struct reading *reading, const cJSON *item)
{
    return read_side(reading, item, &reading->width);
}

static enum status read_height(struct reading *reading, const cJSON *item)
{
    return read_side(reading, item, &reading->height);
}

static enum status read_channels(struct reading *reading, const cJSON *item)
{
    if (json_document_whole(item, &reading->channels) && reading->channels >= 1 &&
        reading->channels <= MODEL_CHANNELS_MAX)
        return STATUS_OK;
    error_set(reading->err, STATUS_INVALID, "input.channels must be a whole number from 1 to %d",
              MODEL_CHANNELS_MAX);
    return error_hint(reading->err, "1 is gray, 3 are red, green and blue; leave it out for rows of numbers");
}

static enum status read_mean(struct reading *reading, const cJSON *item)
{
    reading->mean = item;
    return STATUS_OK;
}

static enum status read_std(struct reading *reading, const cJSON *item)
{
    reading->std = item;
    return STATUS_OK;
}

static enum status read_pixel_divisor(struct reading *reading, const cJSON *item)
{
    float divisor = cJSON_IsNumber(item) ? (float)item->valuedouble : 0.0f;
    if (!isfinite(divisor) || divisor <= 0.0f || !isfinite(255.0f / divisor)) {
        error_set(reading->err, STATUS_INVALID,
                  "input.pixel_divisor must be a number above zero that float32 holds");
        return error_hint(reading->err, "255 makes 0..1 of a picture's bytes, as ToTensor() does; 1 leaves them");
    }
    reading->pixel_divisor = divisor;
    return STATUS_OK;
}

/* ---- Mean and standard deviation ---- */

/* One finite number for each channel, in `values`, which has them all at their default. */
static enum status read_channel_numbers(const struct reading *reading, const cJSON *item, size_t channels,
                                        float values[MODEL_CHANNELS_MAX])
{
    size_t count = 0;
    bool numbers = cJSON_IsArray(item);
    for (const cJSON *number = item->child; numbers && number; number = number->next, count++) {
        numbers = cJSON_IsNumber(number) && isfinite((float)number->valuedouble) && count < channels;
        if (numbers)
            values[count] = (float)number->valuedouble;
    }
    if (numbers && count == channels)
        return STATUS_OK;
    error_set(reading->err, STATUS_INVALID, "input.%s must be an array of %zu numbers, one for each channel",
              item->string, channels);
    return error_hint(reading->err, "write them as torchvision's Normalize(mean, std) takes them%s",
                      channels == 1 ? ", and \"channels\" before them" : "");
}

/* Each step in float32, as ToTensor() and Normalize() round it. */
static bool fill_scale(float divisor, float mean, float std, float scale[256])
{
    bool finite = true;
    for (int byte = 0; byte < 256; byte++) {
        float value = (float)byte / divisor - mean;
        scale[byte] = value / std;
        finite &= isfinite(scale[byte]);
    }
    return finite;
}

/* The scaling of bytes, in `pixels`, whose channels are known and whose mean and std are at their defaults. */
static enum status read_scaling(const struct reading *reading, struct model *pixels)
{
    enum status status = STATUS_OK;
    if (reading->pixel_divisor > 0.0f)
        pixels->pixel_divisor = reading->pixel_divisor;
    if (reading->mean)
        status = read_channel_numbers(reading, reading->mean, pixels->channels, pixels->mean);
    if (status == STATUS_OK && reading->std)
        status = read_channel_numbers(reading, reading->std, pixels->channels, pixels->std);
    for (size_t c = 0; status == STATUS_OK && c < pixels->channels; c++)
        if (!fill_scale(pixels->pixel_divisor, pixels->mean[c], pixels->std[c], pixels->channel_scale[c])) {
            error_set(reading->err, STATUS_INVALID, "input.std[%zu] and the others make pixels that are not finite",
                      c);
            status = error_hint(reading->err, "a standard deviation is above zero, and that of pixels below 1");
        }
    return status;
}

/* ---- Objects ---- */

static enum status refuse_key(const struct reading *reading, const char *where, const char *key,
                              const struct key *keys, size_t count, bool twice)
{
    size_t len = strlen(key);
    bool printable = utf8_is_printable(key, len);
    error_set(reading->err, STATUS_INVALID, "%s \"%.*s\" in %s", twice ? "two keys" : "unknown key",
              printable ? utf8_cut(key, len, 60) : 1, printable ? key : "?", where);
    char names[128] = "";
    for (size_t k = 0; k < count; k++) {
        strncat(names, k == 0 ? "" : k + 1 < count ? ", " : " and ", sizeof names - strlen(names) - 1);
        strncat(names, keys[k].name, sizeof names - strlen(names) - 1);
    }
    return error_hint(reading->err, "the keys are %s, each at most once", names);
}

static enum status read_object(struct reading *reading, const cJSON *object, const char *where,
                               const struct key *keys, size_t count)
{
    bool seen[KEYS_MAX] = {false};
    for (const cJSON *item = object->child; item; item = item->next) {
        size_t k = 0;
        while (k < count && strcmp(keys[k].name, item->string) != 0)
            k++;
        if (k == count || seen[k])
            return refuse_key(reading, where, item->string, keys, count, k < count);
        seen[k] = true;
        enum status status = keys[k].read(reading, item);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status refuse_size(const struct reading *reading, const struct model *pixels)
{
    error_set(reading->err, STATUS_INVALID, "input is a picture of %zu x %zu%s, but the model takes %zu features",
              pixels->width, pixels->height, pixels->channels == 1 ? "" : " in several channels",
              reading->model->in_features);
    if (pixels->width * pixels->height * 3 == reading->model->in_features)
        return error_hint(reading->err, "colour has three channels: write \"channels\": 3");
    return error_hint(reading->err, "channels x width x height must be in_features of the first Linear");
}

/* Channels, width and height, in `pixels`, which has the defaults. */
static enum status read_picture(const struct reading *reading, struct model *pixels)
{
    size_t width = reading->width, height = reading->height, want = reading->model->in_features;
    if (!width && !height && !reading->channels)
        return STATUS_OK;
    if (!width != !height) {
        error_set(reading->err, STATUS_INVALID, "input has %s without %s", width ? "width" : "height",
                  width ? "height" : "width");
        return error_hint(reading->err, "write both, or leave both out for a square picture");
    }
    pixels->channels = reading->channels ? reading->channels : 1;
    const size_t pixels_each = want / pixels->channels;
    if (!width)
        width = height = (size_t)sqrt((double)pixels_each);
    pixels->width = width;
    pixels->height = height;
    return pixels->channels * width * height == want ? STATUS_OK : refuse_size(reading, pixels);
}

static enum status read_input(struct reading *reading, const cJSON *item)
{
    static const struct key keys[] = {{"channels", read_channels}, {"width", read_width},
                                      {"height", read_height},     {"pixel_divisor", read_pixel_divisor},
                                      {"mean", read_mean},         {"std", read_std}};
    if (!cJSON_IsObject(item)) {
        error_set(reading->err, STATUS_INVALID, "input is %s, an object was expected", json_document_kind(item));
        return error_hint(
            reading->err,
            "write \"input\": {\"width\": W, \"height\": H, \"pixel_divisor\": 255}, or leave it out");
    }
    return read_object(reading, item, "input", keys, sizeof keys / sizeof keys[0]);
}

/* ---- The whole ---- */

/* A shape that the structure itself gives to the row before any layer flattens it, or NULL. */
static const struct layer *shaping_layer(const struct model *model)
{
    for (size_t i = 0; i < model->layer_count; i++) {
        const struct layer *layer = &model->layers[i];
        if (layer->dims > 0)
            return layer->type != LAYER_FLATTEN && (layer->dims == 2 || layer->dims == 3) ? layer : NULL;
    }
    return NULL;
}

static void guess_size(struct model *model)
{
    const struct layer *layer = shaping_layer(model);
    size_t side = (size_t)sqrt((double)model->in_features);
    bool square = side * side == model->in_features; /* exact: in_features is far below 2^53 */
    model->channels = 1;
    model->width = model->height = square ? side : 0;
    if (layer && (layer->dims == 2 || layer->shape[0] <= MODEL_CHANNELS_MAX)) {
        model->channels = layer->dims == 3 ? layer->shape[0] : 1;
        model->height = layer->shape[layer->dims - 2];
        model->width = layer->shape[layer->dims - 1];
    }
}

void model_json_defaults(struct model *model)
{
    guess_size(model);
    model->threshold = 0.5f;
    model->pixel_divisor = 255.0f;
    for (size_t c = 0; c < MODEL_CHANNELS_MAX; c++) {
        model->mean[c] = 0.0f;
        model->std[c] = 1.0f;
        fill_scale(model->pixel_divisor, 0.0f, 1.0f, model->channel_scale[c]);
    }
}

/* What stands in the file, checked against the model, into `changed`, which is the model with its defaults. */
static enum status read_model(struct reading *reading, const cJSON *json, struct model *changed)
{
    static const struct key keys[] = {
        {"labels", read_labels}, {"task", read_task}, {"threshold", read_threshold}, {"input", read_input}};
    enum status status = read_object(reading, json, "model.json", keys, sizeof keys / sizeof keys[0]);
    if (status == STATUS_OK)
        status = read_picture(reading, changed);
    if (status == STATUS_OK)
        status = read_scaling(reading, changed);
    if (status == STATUS_OK)
        status = check_task(reading);
    if (status == STATUS_OK && reading->task_item)
        model_layers_set_task(changed, reading->task);
    if (status == STATUS_OK)
        status = take_threshold(reading, changed);
    if (status == STATUS_OK)
        status = make_labels(reading);
    changed->labels = reading->labels;
    changed->label_count = reading->labels ? reading->label_count : 0;
    return status;
}

enum status model_json_parse(const char *text, size_t len, struct model *model, struct error *err)
{
    struct reading reading = {.model = model, .task = model->task, .err = err};
    struct model changed = *model;
    cJSON *json = NULL;
    enum status status = json_document_parse(text, len, &json, err);
    if (status != STATUS_OK)
        return status;
    status = read_model(&reading, json, &changed);
    cJSON_Delete(json);
    if (status == STATUS_OK)
        *model = changed;
    else
        free_labels(reading.labels, reading.label_count);
    return status;
}
