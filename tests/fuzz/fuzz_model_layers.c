/* A whole model: the input is structure text, a NUL, and safetensors bytes. Layers of an accepted model fit together,
 * and its parameters are the file's tensors. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_layers.h"
#include "engine/plan.h"
#include "engine/safetensors.h"
#include "engine/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_finite(const float *values, size_t count)
{
    for (size_t i = 0; values && i < count; i++)
        assert(isfinite(values[i]));
}

static void check_layer(const struct layer *layer)
{
    const size_t in = layer->in_features, out = layer->out_features;
    assert(in > 0 && out > 0);
    assert(layer->has_bias == (layer->bias != NULL));
    assert((layer->mean != NULL) == (layer->type == LAYER_BATCH_NORM) && !layer->mean == !layer->variance);
    check_finite(layer->weight, layer->type == LAYER_LINEAR ? in * out : in);
    check_finite(layer->bias, out);
    check_finite(layer->mean, in);
    check_finite(layer->variance, in);
    if (layer->type == LAYER_LINEAR)
        assert(layer->weight);
    else
        assert(in == out);
    size_t product = 1;
    for (size_t i = 0; i < layer->dims; i++)
        product *= layer->shape[i];
    assert(layer->dims > 0 && product == out);
}

static void check_model(struct model *model, const struct state_dict *dict)
{
    size_t features = model->in_features;
    assert(model->parameter_count > 0 && model->parameter_count <= dict->count);
    model_layers_set_input_shape(model);
    for (size_t i = 0; i < model->layer_count; i++) {
        assert(model->layers[i].in_features == features);
        check_layer(&model->layers[i]);
        features = model->layers[i].out_features;
    }
    assert(model->out_features == features);
}

/* A plan of what was accepted can be made, and freed. */
static void check_plan(const struct model *model)
{
    struct plan *plan = plan_create(model);
    assert(plan && plan->step_count > 0 && plan->features_max >= model->in_features);
    plan_drop_weights(plan);
    plan_free(plan);
}

static void build(struct module *structure, struct state_dict *dict)
{
    struct model *model = calloc(1, sizeof *model);
    struct error err = {.status = STATUS_OK};
    model->structure = structure;
    enum status status = model_layers_build(model, dict, &err);
    if (status == STATUS_OK) {
        check_model(model, dict);
        check_plan(model);
    } else {
        assert(err.status == status && err.message[0] != '\0');
    }
    model_free(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct module *structure;
    struct state_dict *dict;
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    size_t text_len = nul ? (size_t)(nul - data) : 0;
    if (!nul || structure_parse((const char *)data, text_len, &structure, NULL) != STATUS_OK)
        return 0;
    if (safetensors_parse(nul + 1, size - text_len - 1, &dict, NULL) != STATUS_OK) {
        module_free(structure);
        return 0;
    }
    build(structure, dict);
    state_dict_free(dict);
    return 0;
}
