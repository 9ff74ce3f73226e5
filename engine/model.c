#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/model_json.h"
#include "engine/model_layers.h"
#include "engine/safetensors.h"
#include "engine/tensor_text.h"

static const size_t STRUCTURE_BYTES_MAX = 4u << 20, JSON_BYTES_MAX = 64u << 20;

static enum status refuse_no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the model");
}

/* ---- The files of the folder ---- */

static enum status load_parameters(const char *path, struct model *model, struct error *err)
{
    char *file = file_join(path, "model.safetensors");
    if (!file)
        return refuse_no_memory(err);
    enum status status = safetensors_read(file, &model->state_dict, err);
    free(file);
    if (status == STATUS_NOT_FOUND)
        return error_hint(err, "save the parameters there in Python: from safetensors.torch import save_file; "
                               "save_file(model.state_dict(), \"model.safetensors\")");
    return status;
}

static enum status parse_structure_file(const char *file, struct module **ret, struct error *err)
{
    char *text = NULL;
    size_t len;
    enum status status = file_read(file, STRUCTURE_BYTES_MAX, &text, &len, err);
    if (status == STATUS_NOT_FOUND)
        return error_hint(err, "save there what print(model) says, in Python: "
                               "open(\"structure.txt\", \"w\").write(f\"{model}\\n\")");
    if (status != STATUS_OK)
        return status;
    status = structure_parse(text, len, ret, err);
    free(text);
    return status == STATUS_OK ? status : file_error(file, status, err);
}

static enum status load_structure(const char *path, struct model *model, struct error *err)
{
    char *file = file_join(path, "structure.txt");
    if (!file)
        return refuse_no_memory(err);
    enum status status = parse_structure_file(file, &model->structure, err);
    free(file);
    if (status != STATUS_OK)
        return status;
    char *text = structure_print(model->structure);
    if (!text || asprintf(&model->structure_text, "%s\n", text) < 0) {
        model->structure_text = NULL;
        status = refuse_no_memory(err);
    }
    free(text);
    return status;
}

static enum status parse_json_file(const char *file, struct model *model, struct error *err)
{
    char *text = NULL;
    size_t len;
    enum status status = file_read(file, JSON_BYTES_MAX, &text, &len, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK; /* it is optional */
    if (status != STATUS_OK)
        return status;
    status = model_json_parse(text, len, model, err);
    free(text);
    return status == STATUS_OK ? status : file_error(file, status, err);
}

static enum status load_json(const char *path, struct model *model, struct error *err)
{
    model_json_defaults(model);
    char *file = file_join(path, "model.json");
    if (!file)
        return refuse_no_memory(err);
    enum status status = parse_json_file(file, model, err);
    free(file);
    return status;
}

/* ---- What the tutorial prints of the parameters: f"Layer: {name} | Size: {p.size()} | Values : {p[:2]} \n" ---- */

static bool print_parameter(FILE *out, const struct parameter *parameter, const float *data)
{
    static const char *const suffix = "grad_fn=<SliceBackward0>";
    size_t shape[MODEL_DIMS_MAX];
    memcpy(shape, parameter->shape, sizeof shape);
    shape[0] = shape[0] < 2 ? shape[0] : 2;
    char *values = tensor_text(data, shape, parameter->dims, &suffix, 1);
    if (!values)
        return false;
    fprintf(out, "Layer: %s | Size: torch.Size([%zu", parameter->name, parameter->shape[0]);
    for (size_t i = 1; i < parameter->dims; i++)
        fprintf(out, ", %zu", parameter->shape[i]);
    fprintf(out, "]) | Values : %s \n\n", values);
    free(values);
    return true;
}

static bool print_parameters(FILE *out, const struct model *model)
{
    bool ok = true;
    for (size_t i = 0; ok && i < model->parameter_count; i++) {
        const struct parameter *parameter = &model->parameters[i];
        ok = print_parameter(out, parameter, state_dict_find(model->state_dict, parameter->name)->data);
    }
    return ok && !ferror(out);
}

/* Made at load, for the values are dropped after it. */
static enum status make_parameters_text(struct model *model, struct error *err)
{
    size_t size = 0;
    FILE *out = open_memstream(&model->parameters_text, &size);
    if (!out)
        return refuse_no_memory(err);
    bool ok = print_parameters(out, model);
    ok &= fclose(out) == 0;
    return ok ? STATUS_OK : refuse_no_memory(err);
}

/* ---- The whole ---- */

static enum status build_layers(const char *path, struct model *model, struct error *err)
{
    enum status status = model_layers_build(model, model->state_dict, err);
    return status == STATUS_OK ? status : file_error(path, status, err);
}

static enum status load(const char *path, const char *name, const char *version, struct model *model,
                        struct error *err)
{
    model->name = strdup(name);
    model->version = strdup(version);
    if (!model->name || !model->version)
        return refuse_no_memory(err);
    enum status status = load_structure(path, model, err);
    if (status == STATUS_OK)
        status = load_parameters(path, model, err);
    if (status == STATUS_OK)
        status = build_layers(path, model, err);
    if (status == STATUS_OK)
        status = load_json(path, model, err);
    if (status != STATUS_OK)
        return status;
    model_layers_set_input_shape(model);
    return make_parameters_text(model, err);
}

enum status model_load(const char *path, const char *name, const char *version, struct model **ret,
                       struct error *err)
{
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        return refuse_no_memory(err);
    enum status status = load(path, name, version, model, err);
    if (status == STATUS_OK)
        *ret = model;
    else
        model_free(model);
    return status;
}

void model_drop_weights(struct model *model)
{
    for (size_t i = 0; i < model->layer_count; i++) {
        struct layer *layer = &model->layers[i];
        layer->weight = layer->bias = layer->mean = layer->variance = NULL;
    }
    state_dict_free(model->state_dict);
    model->state_dict = NULL;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->layer_count; i++)
        free(model->layers[i].name);
    for (size_t i = 0; i < model->parameter_count; i++)
        free(model->parameters[i].name);
    for (size_t i = 0; i < model->label_count; i++)
        free(model->labels[i]);
    free(model->labels);
    free(model->layers);
    free(model->parameters);
    free(model->structure_text);
    free(model->parameters_text);
    free(model->name);
    free(model->version);
    module_free(model->structure);
    state_dict_free(model->state_dict);
    free(model);
}
