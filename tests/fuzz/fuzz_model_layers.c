/* A whole model: the input is structure text, a NUL, and safetensors bytes. Layers of an accepted model fit together,
 * and its parameters are the file's tensors. */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_layers.h"
#include "engine/safetensors.h"
#include "engine/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_layer(const struct layer *layer)
{
    assert(layer->in_features > 0 && layer->out_features > 0);
    if (layer->type != LAYER_LINEAR) {
        assert(layer->in_features == layer->out_features && !layer->weight && !layer->bias && !layer->has_bias);
        return;
    }
    for (size_t i = 0; i < layer->in_features * layer->out_features; i++)
        assert(isfinite(layer->weight[i]));
    assert(layer->has_bias == (layer->bias != NULL));
    for (size_t i = 0; layer->bias && i < layer->out_features; i++)
        assert(isfinite(layer->bias[i]));
}

static void check_model(const struct model *model, const struct state_dict *dict)
{
    size_t features = model->in_features, elements = 0;
    assert(model->parameter_count == dict->count && dict->count > 0);
    for (size_t i = 0; i < model->layer_count; i++) {
        assert(model->layers[i].in_features == features);
        check_layer(&model->layers[i]);
        features = model->layers[i].out_features;
    }
    assert(model->out_features == features);
    for (size_t i = 0; i < dict->count; i++)
        elements += dict->tensors[i].count;
    assert(model->parameter_elements == elements);
}

static void build(struct module *structure, struct state_dict *dict)
{
    struct model *model = calloc(1, sizeof *model);
    struct error err = {.status = STATUS_OK};
    model->structure = structure;
    enum status status = model_layers_build(model, dict, &err);
    if (status == STATUS_OK)
        check_model(model, dict);
    else
        assert(err.status == status && err.message[0] != '\0');
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
