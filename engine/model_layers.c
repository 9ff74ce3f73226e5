#include "engine/model_layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_building.h"

enum { PATH_BYTES_MAX = 4096 };

const char *building_shown_name(const char *name)
{
    return name[0] ? name : "the model";
}

enum status building_refuse_no_memory(const struct building *building)
{
    return error_set(building->err, STATUS_NO_MEMORY, "no memory for the model's layers");
}

/* ---- Leaves ---- */

static enum status refuse_class(const struct building *building, const struct module *module, const char *name)
{
    error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: %s is a %s, which is not served",
              building_shown_name(name), module->class_name);
    return error_hint(building->err, "these are: %s; containers of them may have any class", layer_classes_shown);
}

static enum status add_layer(struct building *building, const struct module *module, const char *name)
{
    struct model *model = building->model;
    const struct layer_class *class = layer_class_find(module->class_name);
    if (!class)
        return refuse_class(building, module, name);
    struct layer *layer = &model->layers[model->layer_count];
    layer->name = strdup(name);
    if (!layer->name)
        return building_refuse_no_memory(building);
    model->layer_count++;
    layer->type = class->type;
    layer->type_name = class->name;
    layer->activation = class->activation;
    enum status status = building_read_settings(building, module, class->settings, layer);
    if (status == STATUS_OK)
        status = class->read(building, module, layer);
    layer->out_features = building->row.features;
    if (layer->type != LAYER_LINEAR)
        layer->in_features = layer->out_features;
    return status;
}

/* ---- Containers ---- */

static bool class_is(const struct module *module, const char *name)
{
    return strcmp(module->class_name, name) == 0;
}

/* ModuleList and ModuleDict hold modules for the class around them, and compute nothing by themselves. */
static bool is_bare_holder(const struct module *module)
{
    return class_is(module, "ModuleList") || class_is(module, "ModuleDict");
}

static bool is_container(const struct module *module)
{
    return module->child_count > 0 || class_is(module, "Sequential") || is_bare_holder(module);
}

static size_t count_modules(const struct module *module)
{
    size_t count = 1;
    for (size_t i = 0; i < module->child_count; i++)
        count += count_modules(module->children[i]);
    return count;
}

/* Nobody walks through a holder that is the model itself or stands in a Sequential: PyTorch cannot run such a model. */
static enum status check_container(const struct building *building, const struct module *module,
                                   const struct module *parent, const char *path)
{
    if (!is_bare_holder(module) || (parent && !class_is(parent, "Sequential")))
        return STATUS_OK;
    error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: %s is a %s, which has no forward of its own",
              building_shown_name(path), module->class_name);
    return error_hint(building->err, "use nn.Sequential, which runs its modules in order");
}

static enum status add_modules(struct building *building, const struct module *module, const struct module *parent,
                               char path[PATH_BYTES_MAX], size_t len);

static enum status add_child(struct building *building, const struct module *child, const struct module *parent,
                             char path[PATH_BYTES_MAX], size_t len)
{
    int n = snprintf(path + len, PATH_BYTES_MAX - len, "%s%s", len ? "." : "", child->name);
    if (n < 0 || (size_t)n >= PATH_BYTES_MAX - len) {
        error_set(building->err, STATUS_TOO_LARGE, "the path of a module has more than %d bytes", PATH_BYTES_MAX);
        return error_hint(building->err, "give its modules shorter names, or fewer levels");
    }
    return add_modules(building, child, parent, path, len + (size_t)n);
}

/* `path` is that of `module` and has `len` bytes. The depth is bounded by structure_parse. */
static enum status add_modules(struct building *building, const struct module *module, const struct module *parent,
                               char path[PATH_BYTES_MAX], size_t len)
{
    if (!is_container(module))
        return add_layer(building, module, path);
    enum status status = check_container(building, module, parent, path);
    if (!class_is(module, "Sequential") && !building->model->assumed_class)
        building->model->assumed_class = module->class_name;
    for (size_t i = 0; status == STATUS_OK && i < module->child_count; i++)
        status = add_child(building, module->children[i], module, path, len);
    return status;
}

/* ---- The whole ---- */

/* What enters a layer is what the one before gives. What was unknown, before the first layer that says its features, is
 * what that one takes. */
static void fill_features(struct model *model)
{
    size_t first = 0;
    while (model->layers[first].out_features == 0)
        first++;
    /* The first layer that knows keeps the number of features, or is a Linear, whose weight says what it takes. */
    model->in_features = model->layers[first].in_features;
    for (size_t i = 0, features = model->in_features; i < model->layer_count; i++) {
        struct layer *layer = &model->layers[i];
        layer->in_features = features;
        layer->out_features = i < first ? features : layer->out_features;
        if (layer->type == LAYER_FLATTEN)
            layer->shape[0] = features;
        features = layer->out_features;
    }
    model->out_features = model->layers[model->layer_count - 1].out_features;
}

static bool has_linear(const struct model *model)
{
    for (size_t i = 0; i < model->layer_count; i++)
        if (model->layers[i].type == LAYER_LINEAR)
            return true;
    return false;
}

static bool does_nothing(const struct layer *layer)
{
    return layer->type == LAYER_DROPOUT || layer->type == LAYER_IDENTITY || layer->type == LAYER_FLATTEN ||
           layer->type == LAYER_UNFLATTEN;
}

/* The last layer that computes something. */
static const struct layer *last_layer(const struct model *model)
{
    size_t i = model->layer_count;
    while (i > 1 && does_nothing(&model->layers[i - 1]))
        i--;
    return &model->layers[i - 1];
}

static bool ends_in_activation(const struct model *model, enum activation_type type)
{
    const struct layer *last = last_layer(model);
    return last->type == LAYER_ACTIVATION && last->activation.type == type;
}

static enum model_task default_task(const struct model *model)
{
    bool sigmoid = ends_in_activation(model, ACTIVATION_SIGMOID);
    if (model->out_features == 1)
        return sigmoid ? TASK_BINARY : TASK_REGRESSION;
    return sigmoid ? TASK_MULTILABEL : TASK_CLASSIFICATION;
}

/* For outputs of which each is probable by itself. */
static enum model_probabilities probabilities_of_each(const struct model *model)
{
    if (ends_in_activation(model, ACTIVATION_SIGMOID))
        return PROBABILITIES_SAME;
    return ends_in_activation(model, ACTIVATION_LOG_SIGMOID) ? PROBABILITIES_EXP : PROBABILITIES_SIGMOID;
}

static enum model_probabilities probabilities_of(const struct model *model, enum model_task task)
{
    const enum layer_type last = last_layer(model)->type;
    if (task == TASK_REGRESSION || last == LAYER_SOFTMAX)
        return PROBABILITIES_SAME;
    if (last == LAYER_LOG_SOFTMAX)
        return PROBABILITIES_EXP;
    return task == TASK_CLASSIFICATION ? PROBABILITIES_SOFTMAX : probabilities_of_each(model);
}

void model_layers_set_task(struct model *model, enum model_task task)
{
    model->task = task;
    model->probabilities = probabilities_of(model, task);
}

/* A picture, if a Flatten is the first to look at its shape; what a LayerNorm of several dimensions says; else a row. */
static size_t input_shape(const struct model *model, const struct layer *shaping, size_t shape[MODEL_DIMS_MAX])
{
    size_t dims = 0;
    if (shaping->type == LAYER_LAYER_NORM) {
        memcpy(shape, shaping->shape, shaping->dims * sizeof *shape);
        return shaping->dims;
    }
    if (shaping->type != LAYER_FLATTEN || model->width == 0) {
        shape[dims++] = model->in_features;
        return dims;
    }
    if (model->channels > 1)
        shape[dims++] = model->channels;
    shape[dims++] = model->height;
    shape[dims++] = model->width;
    return dims;
}

void model_layers_set_input_shape(struct model *model)
{
    const struct layer *shaping = model->layers; /* there is a Linear, which has a shape */
    while (shaping->dims == 0)
        shaping++;
    model->input_dims = input_shape(model, shaping, model->input_shape);
    const size_t *shape = model->input_shape;
    size_t dims = model->input_dims;
    for (size_t i = 0; i < model->layer_count; i++) {
        struct layer *layer = &model->layers[i];
        if (layer->dims == 0) {
            layer->dims = dims;
            memcpy(layer->shape, shape, dims * sizeof *shape);
        }
        shape = layer->shape;
        dims = layer->dims;
    }
}

static enum status finish(const struct building *building)
{
    struct model *model = building->model;
    if (!has_linear(model)) {
        error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: the model has no Linear layer");
        return error_hint(building->err, "a model of dense layers is served: at least one Linear");
    }
    fill_features(model);
    const enum layer_type last = last_layer(model)->type;
    model->ends_in_softmax = last == LAYER_SOFTMAX || last == LAYER_LOG_SOFTMAX;
    model_layers_set_task(model, default_task(model));
    return building_check_all_used(building);
}

enum status model_layers_build(struct model *model, const struct state_dict *dict, struct error *err)
{
    struct building building = {.model = model, .dict = dict, .err = err};
    char path[PATH_BYTES_MAX] = "";
    size_t modules = count_modules(model->structure);
    model->layers = calloc(modules, sizeof *model->layers);
    model->parameters = calloc(2 * modules, sizeof *model->parameters);
    building.used = calloc(dict->count ? dict->count : 1, sizeof *building.used);
    enum status status;
    if (model->layers && model->parameters && building.used)
        status = add_modules(&building, model->structure, NULL, path, 0);
    else
        status = building_refuse_no_memory(&building);
    if (status == STATUS_OK)
        status = finish(&building);
    free(building.used);
    return status;
}
