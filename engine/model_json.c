#include "engine/model_json.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_document.h"
#include "engine/utf8.h"

enum { SIDE_MAX = 65536, KEYS_MAX = 4 };

/* What is read before anything of the model is changed. */
struct reading {
    const struct model *model;
    size_t width, height; /* 0 as long as they were not read */
    float pixel_divisor;
    char **labels;
    struct error *err;
};

typedef enum status read_value(struct reading *reading, const cJSON *item);

struct key {
    const char *name;
    read_value *read;
};

/* ---- Labels ---- */

static void free_labels(char **labels, size_t count)
{
    for (size_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

static enum status check_labels(const struct reading *reading, const cJSON *item)
{
    size_t want = reading->model->out_features, count = 0;
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
    error_set(reading->err, STATUS_INVALID, "there are %zu labels, but the model gives %zu features", count, want);
    return error_hint(reading->err, "write one label for each output, in order, or leave labels out");
}

static enum status read_labels(struct reading *reading, const cJSON *item)
{
    size_t count = reading->model->out_features, i = 0;
    assert(count > 0); /* model_layers_build sees to it */
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

/* ---- Objects ---- */

static enum status refuse_key(const struct reading *reading, const char *where, const char *key,
                              const struct key *keys, size_t count, bool twice)
{
    size_t len = strlen(key);
    bool printable = utf8_is_printable(key, len);
    error_set(reading->err, STATUS_INVALID, "%s \"%.*s\" in %s", twice ? "two keys" : "unknown key",
              printable ? utf8_cut(key, len, 60) : 1, printable ? key : "?", where);
    if (count == 2)
        return error_hint(reading->err, "the keys are %s and %s, each at most once", keys[0].name, keys[1].name);
    return error_hint(reading->err, "the keys are %s, %s and %s, each at most once", keys[0].name, keys[1].name,
                      keys[2].name);
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

static enum status check_picture(const struct reading *reading)
{
    size_t width = reading->width, height = reading->height, pixels, want = reading->model->in_features;
    if (width == 0 && height == 0)
        return STATUS_OK;
    if (width == 0 || height == 0) {
        error_set(reading->err, STATUS_INVALID, "input has %s without %s", width ? "width" : "height",
                  width ? "height" : "width");
        return error_hint(reading->err, "write both, or leave both out for a square picture");
    }
    if (!__builtin_mul_overflow(width, height, &pixels) && pixels == want)
        return STATUS_OK;
    error_set(reading->err, STATUS_INVALID, "input is a picture of %zu x %zu, but the model takes %zu features",
              width, height, want);
    return error_hint(reading->err, "width x height of the gray picture must be in_features of the first Linear");
}

static enum status read_input(struct reading *reading, const cJSON *item)
{
    static const struct key keys[] = {
        {"width", read_width}, {"height", read_height}, {"pixel_divisor", read_pixel_divisor}};
    if (!cJSON_IsObject(item)) {
        error_set(reading->err, STATUS_INVALID, "input is %s, an object was expected", json_document_kind(item));
        return error_hint(
            reading->err,
            "write \"input\": {\"width\": W, \"height\": H, \"pixel_divisor\": 255}, or leave it out");
    }
    enum status status = read_object(reading, item, "input", keys, sizeof keys / sizeof keys[0]);
    return status == STATUS_OK ? check_picture(reading) : status;
}

/* ---- The whole ---- */

static void set_divisor(struct model *model, float divisor)
{
    model->pixel_divisor = divisor;
    for (int byte = 0; byte < 256; byte++)
        model->pixel_scale[byte] = (float)byte / divisor;
}

void model_json_defaults(struct model *model)
{
    size_t side = (size_t)sqrt((double)model->in_features);
    bool square = side * side == model->in_features; /* exact: in_features is far below 2^53 */
    model->width = model->height = square ? side : 0;
    set_divisor(model, 255.0f);
}

static void apply(const struct reading *reading, struct model *model)
{
    model->labels = reading->labels;
    if (reading->width > 0) {
        model->width = reading->width;
        model->height = reading->height;
    }
    if (reading->pixel_divisor > 0.0f)
        set_divisor(model, reading->pixel_divisor);
}

enum status model_json_parse(const char *text, size_t len, struct model *model, struct error *err)
{
    static const struct key keys[] = {{"labels", read_labels}, {"input", read_input}};
    struct reading reading = {.model = model, .err = err};
    cJSON *json = NULL;
    enum status status = json_document_parse(text, len, &json, err);
    if (status != STATUS_OK)
        return status;
    status = read_object(&reading, json, "model.json", keys, sizeof keys / sizeof keys[0]);
    cJSON_Delete(json);
    if (status == STATUS_OK)
        apply(&reading, model);
    else
        free_labels(reading.labels, model->out_features);
    return status;
}
