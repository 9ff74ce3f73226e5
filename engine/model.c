#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/model_json.h"
#include "engine/model_layers.h"
#include "engine/onnx.h"
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

static enum status print_structure(struct model *model, struct error *err)
{
    enum status status = STATUS_OK;
    char *text = structure_print(model->structure);
    if (!text || asprintf(&model->structure_text, "%s\n", text) < 0) {
        model->structure_text = NULL;
        status = refuse_no_memory(err);
    }
    free(text);
    return status;
}

static enum status load_structure(const char *path, struct model *model, struct error *err)
{
    char *file = file_join(path, "structure.txt");
    if (!file)
        return refuse_no_memory(err);
    enum status status = parse_structure_file(file, &model->structure, err);
    free(file);
    return status == STATUS_OK ? print_structure(model, err) : status;
}

/* Whether the folder has that file, readable or not. */
static bool has_file(const char *path, const char *name)
{
    char *file = file_join(path, name);
    bool found = file && access(file, F_OK) == 0;
    free(file);
    return found;
}

/* model.onnx says both structure and parameters. */
static enum status load_onnx(const char *path, struct model *model, struct error *err)
{
    struct onnx_model read = {NULL};
    char *file = file_join(path, "model.onnx");
    if (!file)
        return refuse_no_memory(err);
    enum status status = onnx_read(file, &read, err);
    free(file);
    model->structure = read.structure;
    model->state_dict = read.state_dict;
    return status == STATUS_OK ? print_structure(model, err) : status;
}

/* The folder holds one file of parameters; where it holds several, model.safetensors is taken. */
static enum status load_weights(const char *path, struct model *model, struct error *err)
{
    if (!has_file(path, "model.safetensors") && has_file(path, "model.onnx"))
        return load_onnx(path, model, err);
    enum status status = load_structure(path, model, err);
    return status == STATUS_OK ? load_parameters(path, model, err) : status;
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
    size_t shape[2] = {parameter->shape[0] < 2 ? parameter->shape[0] : 2, parameter->shape[1]};
    char *values = tensor_text(data, shape, parameter->dims, &suffix, 1);
    if (!values)
        return false;
    fprintf(out, "Layer: %s | Size: torch.Size([%zu", parameter->name, parameter->shape[0]);
    if (parameter->dims == 2)
        fprintf(out, ", %zu", parameter->shape[1]);
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
    enum status status = load_weights(path, model, err);
    if (status == STATUS_OK)
        status = build_layers(path, model, err);
    if (status == STATUS_OK)
        status = load_json(path, model, err);
    if (status == STATUS_OK)
        status = make_parameters_text(model, err);
    return status;
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
    for (size_t i = 0; i < model->layer_count; i++)
        model->layers[i].weight = model->layers[i].bias = NULL;
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
    for (size_t i = 0; model->labels && i < model->out_features; i++)
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
