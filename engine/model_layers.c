#include "engine/model_layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/finite.h"
#include "engine/tensor_text.h"
#include "engine/utf8.h"

enum { FEATURES_MAX = 1 << 24, PATH_BYTES_MAX = 4096, NAME_SHOWN_MAX = 160 };

/* A model that is being built. */
struct building {
    struct model *model;
    const struct state_dict *dict;
    const struct layer *previous; /* the last Linear so far, or NULL */
    struct error *err;
};

/* ---- Arguments of a module ---- */

static bool argument_is(const struct module *module, const char *key, const char *expected)
{
    const char *value;
    size_t len;
    return module_argument(module, key, &value, &len) && len == strlen(expected) &&
           memcmp(value, expected, len) == 0;
}

/* A whole number from 1 to FEATURES_MAX. */
static bool argument_features(const struct module *module, const char *key, size_t *ret_value)
{
    const char *value;
    size_t len, number = 0;
    if (!module_argument(module, key, &value, &len) || len == 0)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9' || number > FEATURES_MAX)
            return false;
        number = number * 10 + (size_t)(value[i] - '0');
    }
    *ret_value = number;
    return number >= 1 && number <= FEATURES_MAX;
}

/* What an error calls a layer: its path, or "the model" for a root that is a layer itself. */
static const char *shown_name(const char *name)
{
    return name[0] ? name : "the model";
}

static enum status refuse_arguments(const struct building *building, const struct module *module, const char *name,
                                    const char *expected)
{
    return error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: %s is %s(%s), %s", shown_name(name),
                     module->class_name, module->arguments, expected);
}

/* ---- Parameters ---- */

static enum status refuse_no_memory(const struct building *building)
{
    return error_set(building->err, STATUS_NO_MEMORY, "no memory for the model's layers");
}

static enum status check_shape(const struct building *building, const struct parameter *expected,
                               const struct tensor *tensor)
{
    char want[64], have[192];
    if (tensor->dims == expected->dims &&
        memcmp(tensor->shape, expected->shape, expected->dims * sizeof *expected->shape) == 0)
        return STATUS_OK;
    tensor_text_shape(expected->shape, expected->dims, want, sizeof want);
    tensor_text_shape(tensor->shape, tensor->dims, have, sizeof have);
    error_set(building->err, STATUS_INVALID, "tensor \"%s\" has the shape %s, structure.txt asks for %s",
              expected->name, have, want);
    return error_hint(building->err,
                      "write structure.txt (print(model)) and model.safetensors from the same model");
}

static enum status refuse_value(const struct building *building, const struct tensor *tensor, size_t index)
{
    char place[64];
    if (tensor->dims == 2)
        snprintf(place, sizeof place, "%zu, %zu", index / tensor->shape[1], index % tensor->shape[1]);
    else
        snprintf(place, sizeof place, "%zu", index);
    error_set(building->err, STATUS_INVALID, "tensor \"%s\" holds %s at [%s], all parameters must be finite",
              tensor->name, isnan(tensor->data[index]) ? "NaN" : "infinity", place);
    return error_hint(building->err,
                      "the training diverged: train again with a smaller learning rate, and check with "
                      "torch.isfinite(p).all()");
}

static enum status check_finite(const struct building *building, const struct tensor *tensor)
{
    size_t index;
    return all_finite(tensor->data, tensor->count, &index) ? STATUS_OK : refuse_value(building, tensor, index);
}

static enum status refuse_missing(const struct building *building, const char *name)
{
    error_set(building->err, STATUS_INVALID, "model.safetensors has no tensor \"%s\", which structure.txt asks for",
              name);
    const char *first = building->dict->count > 0 ? building->dict->tensors[0].name : NULL;
    if (first)
        return error_hint(building->err,
                          "save model.state_dict() of the model that was printed; the file's first "
                          "tensor is \"%.*s\"",
                          utf8_cut(first, strlen(first), NAME_SHOWN_MAX), first);
    return error_hint(building->err, "save model.state_dict() of the model that was printed; the file is empty");
}

/* Appends layer.`suffix` to the model's parameters and finds its values. */
static enum status add_parameter(const struct building *building, const struct layer *layer, const char *suffix,
                                 size_t dims, const float **ret_data)
{
    struct model *model = building->model;
    struct parameter parameter = {.shape = {layer->out_features, dims == 2 ? layer->in_features : 0}, .dims = dims};
    parameter.count = layer->out_features * (dims == 2 ? layer->in_features : 1);
    if (asprintf(&parameter.name, "%s%s%s", layer->name, layer->name[0] ? "." : "", suffix) < 0)
        return refuse_no_memory(building);
    model->parameters[model->parameter_count++] = parameter;
    model->parameter_elements += parameter.count;
    const struct tensor *tensor = state_dict_find(building->dict, parameter.name);
    if (!tensor)
        return refuse_missing(building, parameter.name);
    enum status status = check_shape(building, &parameter, tensor);
    if (status == STATUS_OK)
        status = check_finite(building, tensor);
    if (status == STATUS_OK)
        *ret_data = tensor->data;
    return status;
}

/* ---- Layers ---- */

static enum status read_nothing(struct building *building, const struct module *module, struct layer *layer)
{
    (void)building, (void)module, (void)layer;
    return STATUS_OK;
}

static enum status read_flatten(struct building *building, const struct module *module, struct layer *layer)
{
    if (argument_is(module, "start_dim", "1") && argument_is(module, "end_dim", "-1"))
        return STATUS_OK;
    refuse_arguments(building, module, layer->name, "only Flatten(start_dim=1, end_dim=-1) is served");
    return error_hint(building->err,
                      "use nn.Flatten() without arguments: it keeps the batch and flattens the rest");
}

static enum status read_softmax(struct building *building, const struct module *module, struct layer *layer)
{
    if (argument_is(module, "dim", "1") || argument_is(module, "dim", "-1"))
        return STATUS_OK;
    refuse_arguments(building, module, layer->name, "only dim=1 and dim=-1 are served");
    return error_hint(building->err, "use nn.Softmax(dim=1): a softmax over each row");
}

static enum status check_chain(const struct building *building, const struct layer *layer)
{
    const struct layer *previous = building->previous;
    if (!previous || previous->out_features == layer->in_features)
        return STATUS_OK;
    error_set(building->err, STATUS_INVALID, "structure.txt: %s takes %zu features, but %s gives %zu", layer->name,
              layer->in_features, previous->name, previous->out_features);
    return error_hint(building->err,
                      "in_features of a Linear must be out_features of the one before; is structure.txt "
                      "what print(model) said, and was the model ever run?");
}

static enum status read_linear(struct building *building, const struct module *module, struct layer *layer)
{
    layer->has_bias = argument_is(module, "bias", "True");
    if (!argument_features(module, "in_features", &layer->in_features) ||
        !argument_features(module, "out_features", &layer->out_features) ||
        (!layer->has_bias && !argument_is(module, "bias", "False"))) {
        refuse_arguments(building, module, layer->name,
                         "Linear(in_features=N, out_features=N, bias=True) was expected");
        return error_hint(building->err, "N is from 1 to %d, bias is True or False", FEATURES_MAX);
    }
    enum status status = check_chain(building, layer);
    if (status == STATUS_OK)
        status = add_parameter(building, layer, "weight", 2, &layer->weight);
    if (status == STATUS_OK && layer->has_bias)
        status = add_parameter(building, layer, "bias", 1, &layer->bias);
    building->previous = layer;
    return status;
}

static const struct layer_class {
    const char *name;
    enum layer_type type;
    enum status (*read)(struct building *building, const struct module *module, struct layer *layer);
} CLASSES[] = {
    {"Flatten", LAYER_FLATTEN, read_flatten}, {"Linear", LAYER_LINEAR, read_linear},
    {"ReLU", LAYER_RELU, read_nothing},       {"Softmax", LAYER_SOFTMAX, read_softmax},
    {"Dropout", LAYER_DROPOUT, read_nothing}, {"Identity", LAYER_IDENTITY, read_nothing},
};

static const struct layer_class *find_class(const char *name)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof CLASSES[0]; i++)
        if (strcmp(CLASSES[i].name, name) == 0)
            return &CLASSES[i];
    return NULL;
}

static const char CLASSES_SHOWN[] = "Flatten, Linear, ReLU, Softmax, Dropout, Identity";

static enum status refuse_class(const struct building *building, const struct module *module, const char *name)
{
    error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: %s is a %s, which is not served", shown_name(name),
              module->class_name);
    return error_hint(building->err, "these are: %s; containers of them may have any class", CLASSES_SHOWN);
}

static enum status add_layer(struct building *building, const struct module *module, const char *name)
{
    struct model *model = building->model;
    const struct layer_class *class = find_class(module->class_name);
    if (!class)
        return refuse_class(building, module, name);
    struct layer *layer = &model->layers[model->layer_count];
    layer->name = strdup(name);
    if (!layer->name)
        return refuse_no_memory(building);
    model->layer_count++;
    layer->type = class->type;
    layer->type_name = class->name;
    return class->read(building, module, layer);
}

/* ---- The tree ---- */

static size_t count_modules(const struct module *module)
{
    size_t count = 1;
    for (size_t i = 0; i < module->child_count; i++)
        count += count_modules(module->children[i]);
    return count;
}

static bool is_container(const struct module *module)
{
    return module->child_count > 0 || strcmp(module->class_name, "Sequential") == 0;
}

/* `path` is that of `module` and has `len` bytes. The depth is bounded by structure_parse. */
static enum status add_modules(struct building *building, const struct module *module, char path[PATH_BYTES_MAX],
                               size_t len)
{
    if (!is_container(module))
        return add_layer(building, module, path);
    for (size_t i = 0; i < module->child_count; i++) {
        const struct module *child = module->children[i];
        int n = snprintf(path + len, PATH_BYTES_MAX - len, "%s%s", len ? "." : "", child->name);
        if (n < 0 || (size_t)n >= PATH_BYTES_MAX - len) {
            error_set(building->err, STATUS_TOO_LARGE, "the path of a module has more than %d bytes",
                      PATH_BYTES_MAX);
            return error_hint(building->err, "give its modules shorter names, or fewer levels");
        }
        enum status status = add_modules(building, child, path, len + (size_t)n);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- The whole ---- */

static enum status check_all_used(const struct building *building)
{
    const struct state_dict *dict = building->dict;
    if (dict->count == building->model->parameter_count)
        return STATUS_OK;
    bool *used = calloc(dict->count, sizeof *used);
    if (!used)
        return refuse_no_memory(building);
    for (size_t i = 0; i < building->model->parameter_count; i++)
        used[state_dict_find(dict, building->model->parameters[i].name) - dict->tensors] = true;
    size_t i = 0;
    while (used[i])
        i++;
    free(used);
    const char *name = dict->tensors[i].name;
    error_set(building->err, STATUS_INVALID,
              "tensor \"%.*s\" belongs to no layer of structure.txt (%zu tensors, %zu used)",
              utf8_cut(name, strlen(name), NAME_SHOWN_MAX), name, dict->count, building->model->parameter_count);
    return error_hint(building->err,
                      "write structure.txt (print(model)) and model.safetensors from the same model");
}

/* Layers without parameters give out what they take in; before the first Linear that is what it takes. */
static void fill_features(struct model *model, size_t in_features)
{
    model->in_features = in_features;
    for (size_t i = 0; i < model->layer_count; i++) {
        struct layer *layer = &model->layers[i];
        if (layer->type != LAYER_LINEAR)
            layer->in_features = layer->out_features = in_features;
        in_features = layer->out_features;
    }
    model->out_features = in_features;
}

static bool does_nothing(const struct layer *layer)
{
    return layer->type == LAYER_DROPOUT || layer->type == LAYER_IDENTITY || layer->type == LAYER_FLATTEN;
}

static bool ends_in_softmax(const struct model *model)
{
    size_t i = model->layer_count;
    while (i > 0 && does_nothing(&model->layers[i - 1]))
        i--;
    return i > 0 && model->layers[i - 1].type == LAYER_SOFTMAX;
}

static enum status finish(const struct building *building)
{
    struct model *model = building->model;
    size_t first = 0;
    while (first < model->layer_count && model->layers[first].type != LAYER_LINEAR)
        first++;
    if (first == model->layer_count) {
        error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: the model has no Linear layer");
        return error_hint(building->err, "a model of dense layers is served: at least one Linear");
    }
    fill_features(model, model->layers[first].in_features);
    model->ends_in_softmax = ends_in_softmax(model);
    return check_all_used(building);
}

enum status model_layers_build(struct model *model, const struct state_dict *dict, struct error *err)
{
    struct building building = {.model = model, .dict = dict, .err = err};
    char path[PATH_BYTES_MAX] = "";
    size_t modules = count_modules(model->structure);
    model->layers = calloc(modules, sizeof *model->layers);
    model->parameters = calloc(2 * modules, sizeof *model->parameters);
    if (!model->layers || !model->parameters)
        return refuse_no_memory(&building);
    enum status status = add_modules(&building, model->structure, path, 0);
    return status == STATUS_OK ? finish(&building) : status;
}
