/* The whole of input_read over bodies of every kind. The first two bytes choose the model, the content type and the
 * options; the rest is the body, at an address that is not aligned where a bit says so. What is accepted must be rows
 * within the limit whose every byte is defined and every float finite, and `batched` must be said of more than one row.
 * What is refused must have a message and a hint that are UTF-8 once they are JSON. A second reading after a reset, with
 * other memory behind it, must come to the same. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/buffer.h"
#include "server/input.h"
#include "server/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 2, ROWS_MAX = 5, PIXELS_MAX = 1 << 16 };

/* A model small enough for a fuzzer to write its rows, the tutorial's, and one that takes no pictures. */
static struct model models[] = {
    {.in_features = 4, .width = 2, .height = 2},
    {.in_features = 784, .width = 28, .height = 28},
    {.in_features = 3},
    {.in_features = 6, .width = 3, .height = 2},
};

static const char *const content_types[] = {
    "",
    "application/json",
    "image/png",
    "application/octet-stream",
    "multipart/form-data; boundary=B",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "Image/\xFFodd; charset=\"x\"",
};

/* What one reading came to. */
struct outcome {
    enum status status;
    struct error err;
    size_t count, bytes;
    enum row_dtype dtype;
    bool batched;
    void *rows; /* a copy */
};

static void prepare_models(void)
{
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        models[m].out_features = 2;
        models[m].pixel_divisor = 255;
        for (size_t b = 0; b < 256; b++)
            models[m].pixel_scale[b] = (float)b / 255;
    }
}

/* Control characters beyond ASCII's first 32 (U+007F to U+009F) are UTF-8 too. */
static void blank_controls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool pair = (uint8_t)text[i] == 0xC2 && i + 1 < len && (uint8_t)text[i + 1] >= 0x80 &&
                    (uint8_t)text[i + 1] <= 0x9F;
        if (pair || text[i] == 0x7F)
            memset(&text[i], '.', pair ? 2 : 1);
    }
}

static void check_json(const char *text)
{
    struct buffer json = {0};
    buffer_append_json_string(&json, text);
    assert(!json.failed && json_is_valid(json.data, json.len));
    blank_controls(json.data, json.len);
    assert(utf8_is_printable(json.data, json.len));
    buffer_free(&json);
}

static void check_refusal(const struct outcome *outcome)
{
    assert(outcome->err.status == outcome->status);
    assert(*outcome->err.message && *outcome->err.hint);
    assert(memchr(outcome->err.message, '\0', sizeof outcome->err.message));
    assert(memchr(outcome->err.hint, '\0', sizeof outcome->err.hint));
    check_json(outcome->err.message);
    check_json(outcome->err.hint);
}

static void check_sizes(const struct input *input)
{
    const struct model *model = input->set.model;
    for (size_t i = 0; input->sizes && i < input->set.count; i++) {
        const struct picture_size *size = &input->sizes[i];
        assert(!size->width == !size->height);
        assert(size->width * size->height <= PIXELS_MAX);
        assert(size->width != model->width || size->height != model->height);
    }
}

static void check_rows(const struct input *input, const struct outcome *outcome)
{
    const struct row_set *set = &input->set;
    assert(set->count >= 1 && set->count <= ROWS_MAX && set->rows);
    assert(set->count == 1 || input->batched);
    assert(set->dtype == ROW_UINT8 || (uintptr_t)set->rows % sizeof(float) == 0);
    const float *floats = outcome->rows;
    for (size_t i = 0; set->dtype == ROW_FLOAT32 && i < outcome->bytes / sizeof *floats; i++)
        assert(isfinite(floats[i]));
    check_sizes(input);
}

static struct outcome read_once(struct input *input, const struct input_options *options, const char *body,
                                size_t len)
{
    struct outcome outcome = {0};
    outcome.status = input_read(input, options, body, len, &outcome.err);
    if (outcome.status != STATUS_OK) {
        check_refusal(&outcome);
        return outcome;
    }
    outcome.count = input->set.count;
    outcome.dtype = input->set.dtype;
    outcome.batched = input->batched;
    outcome.bytes = outcome.count * backend_row_bytes(input->set.model, outcome.dtype);
    outcome.rows = malloc(outcome.bytes);
    memcpy(outcome.rows, input->set.rows, outcome.bytes);
    check_rows(input, &outcome);
    return outcome;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
    assert(a->status == b->status);
    assert(strcmp(a->err.message, b->err.message) == 0 && strcmp(a->err.hint, b->err.hint) == 0);
    assert(a->count == b->count && a->dtype == b->dtype && a->batched == b->batched);
    assert(a->bytes == b->bytes && (!a->bytes || memcmp(a->rows, b->rows, a->bytes) == 0));
}

static struct input_options options_of(const uint8_t *head)
{
    static const enum input_dtype dtypes[] = {INPUT_DTYPE_ANY, INPUT_DTYPE_ANY, INPUT_DTYPE_UINT8,
                                              INPUT_DTYPE_FLOAT32};
    return (struct input_options){
        .content_type = content_types[head[0] >> 2 & 7],
        .dtype = dtypes[head[1] & 3],
        .refuse_resize = head[1] & 4,
        .invert = head[1] & 8,
        .rows_max = ROWS_MAX,
        .pixels_max = PIXELS_MAX,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!models[0].pixel_divisor)
        prepare_models();
    if (size < HEAD)
        return -1;
    const struct input_options options = options_of(data);
    const struct model *model = &models[data[0] & 3];
    size_t shift = data[1] >> 4 & 1, len = size - HEAD;
    char *storage = malloc(shift + len + 1), *body = storage + shift;
    memcpy(body, data + HEAD, len);
    body[len] = '\0';

    struct input *input = input_create(model);
    struct outcome first = read_once(input, &options, body, len);
    input_reset(input);
    assert(input->set.count == 0 && !input->sizes && !input->batched);
    struct outcome second = read_once(input, &options, body, len);
    check_same(&first, &second);
    free(first.rows);
    free(second.rows);
    input_free(input);
    free(storage);
    return 0;
}
