/* model.json for a model of 6 features in and 2 out: what is accepted leaves a picture and labels that fit the model,
 * what is refused leaves the model as it was. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(struct model *model)
{
    assert(model->channels * model->width * model->height == (model->width ? 6 : 0));
    assert(model->pixel_divisor > 0.0f && isfinite(model->pixel_divisor));
    for (size_t c = 0; c < model->channels; c++)
        for (int b = 0; b < 256; b++)
            assert(isfinite(model->channel_scale[c][b]));
    assert(model->task != TASK_BINARY && model->label_count == (model->labels ? 2 : 0));
    for (size_t i = 0; i < model->label_count; i++) {
        assert(model->labels[i]);
        free(model->labels[i]);
    }
    free(model->labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct layer linear = {.type = LAYER_LINEAR, .dims = 1};
    struct model model = {.in_features = 6, .out_features = 2, .layers = &linear, .layer_count = 1}, before;
    struct error err = {.status = STATUS_OK};
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    model_json_defaults(&model);
    before = model;
    enum status status = model_json_parse(text, size, &model, &err);
    free(text);
    if (status == STATUS_OK)
        check_accepted(&model);
    else
        assert(memcmp(&model, &before, sizeof model) == 0 && err.status == status && err.message[0] != '\0' &&
               err.hint[0] != '\0');
    return 0;
}
