#include "engine/onnx.h"

#include <assert.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/onnx_facts.h"
#include "engine/onnx_file.h"
#include "engine/onnx_graph.h"
#include "engine/onnx_layers.h"
#include "engine/onnx_names.h"
#include "engine/onnx_tensor.h"

enum { ALIGNMENT = 64 };

static const size_t PARAMETER_BYTES_FREE = 64u << 20, PARAMETER_FACTOR = 4;

/* A file that is being read. */
struct reading {
    const struct onnx_file *file;
    const char *folder;
    struct onnx_graph *graph;
    struct onnx_fact *facts;
    struct onnx_layers layers;
    const char *const *paths; /* one for each layer */
    struct error *err;
};

static enum status refuse_no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the parameters of an ONNX file");
}

/* ---- Parameters: where they are, and how many bytes they need ---- */

static size_t count_parameters(const struct onnx_layers *layers)
{
    size_t count = 0;
    for (size_t i = 0; i < layers->count; i++)
        count += layers->layers[i].parameter_count;
    return count;
}

static size_t parameter_elements(const struct onnx_parameter *parameter)
{
    return parameter->shape[0] * (parameter->dims == 2 ? parameter->shape[1] : 1);
}

/* Elements that the file holds for it: one, where one number stands for all. */
static size_t stored_elements(const struct onnx_fact *fact)
{
    return fact->filled ? 1 : onnx_fact_elements(fact);
}

static int compare_files(const void *a, const void *b)
{
    const struct onnx_external *x = a, *y = b;
    if (x->device != y->device)
        return x->device < y->device ? -1 : 1;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Bytes of the model and of each file beside it, once. */
static size_t count_file_bytes(const struct reading *reading, struct onnx_external *files, size_t count)
{
    size_t bytes = reading->file->bytes;
    qsort(files, count, sizeof *files, compare_files);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || compare_files(&files[i - 1], &files[i]) != 0)
            bytes += files[i].bytes;
    return bytes;
}

/* Checks every parameter, and adds up what they need; a few bytes of a file must not become many in memory. */
static enum status check_parameters(const struct reading *reading, struct onnx_external *files, size_t *ret_bytes)
{
    size_t bytes = 0, count = 0;
    for (size_t i = 0; i < reading->layers.count; i++) {
        const struct onnx_layer *layer = &reading->layers.layers[i];
        for (size_t k = 0; k < layer->parameter_count; k++) {
            const struct onnx_parameter *parameter = &layer->parameters[k];
            const struct onnx_fact *fact = &reading->facts[parameter->value];
            enum status status = onnx_tensor_check(fact->tensor, stored_elements(fact), reading->folder,
                                                   &files[count++], reading->err);
            if (status != STATUS_OK)
                return status;
            bytes += (parameter_elements(parameter) * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
    size_t bytes_max = PARAMETER_BYTES_FREE + PARAMETER_FACTOR * count_file_bytes(reading, files, count);
    *ret_bytes = bytes;
    if (bytes <= bytes_max)
        return STATUS_OK;
    error_set(reading->err, STATUS_TOO_LARGE,
              "the parameters would need %zu bytes, at most %zu are given for a file "
              "of this size",
              bytes, bytes_max);
    return error_hint(reading->err, "many layers share one tensor; export the model with a tensor for each");
}

/* ---- Parameters: their values ---- */

/* (rows, columns) to (columns, rows). */
static enum status transpose(float *data, size_t rows, size_t columns, struct error *err)
{
    float *copy = malloc(rows * columns * sizeof *copy);
    if (!copy)
        return refuse_no_memory(err);
    memcpy(copy, data, rows * columns * sizeof *copy);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++)
            data[k * rows + i] = copy[i * columns + k];
    free(copy);
    return STATUS_OK;
}

static enum status read_values(const struct reading *reading, const struct onnx_parameter *parameter, float *dst)
{
    const struct onnx_fact *fact = &reading->facts[parameter->value];
    size_t stored = stored_elements(fact), count = parameter_elements(parameter);
    enum status status = onnx_tensor_floats(fact->tensor, stored, reading->folder, dst, reading->err);
    if (status != STATUS_OK)
        return status;
    for (size_t i = stored; i < count; i++)
        dst[i] = dst[0];
    if (parameter->scale != 1)
        for (size_t i = 0; i < count; i++)
            dst[i] *= parameter->scale;
    if (parameter->dims == 2 && stored == count && parameter->transposed != fact->transposed)
        return transpose(dst, parameter->shape[1], parameter->shape[0], reading->err);
    return STATUS_OK;
}

static enum status add_tensor(const struct reading *reading, const struct onnx_parameter *parameter,
                              const char *path, float *data, struct state_dict *dict)
{
    struct tensor *tensor = &dict->tensors[dict->count];
    const struct onnx_fact *fact = &reading->facts[parameter->value];
    if (asprintf(&tensor->name, "%s.%s", path, parameter->suffix) < 0) {
        tensor->name = NULL;
        return refuse_no_memory(reading->err);
    }
    dict->count++;
    tensor->dtype = onnx_tensor_dtype(fact->tensor->data_type);
    tensor->dims = parameter->dims;
    memcpy(tensor->shape, parameter->shape, parameter->dims * sizeof *tensor->shape);
    tensor->count = parameter_elements(parameter);
    tensor->data = data;
    return read_values(reading, parameter, data);
}

static enum status add_tensors(const struct reading *reading, struct state_dict *dict)
{
    char *at = dict->storage;
    for (size_t i = 0; i < reading->layers.count; i++) {
        const struct onnx_layer *layer = &reading->layers.layers[i];
        for (size_t k = 0; k < layer->parameter_count; k++) {
            const struct onnx_parameter *parameter = &layer->parameters[k];
            enum status status = add_tensor(reading, parameter, reading->paths[i], (float *)(void *)at, dict);
            if (status != STATUS_OK)
                return status;
            at += (parameter_elements(parameter) * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
    }
    return state_dict_index(dict, reading->err);
}

/* An empty state dict with room for all parameters. */
static enum status create_state_dict(const struct reading *reading, struct state_dict **ret)
{
    size_t count = count_parameters(&reading->layers), bytes = 0;
    struct state_dict *dict = calloc(1, sizeof *dict);
    struct onnx_external *files = calloc(count + 1, sizeof *files);
    enum status status = dict && files ? check_parameters(reading, files, &bytes) : refuse_no_memory(reading->err);
    free(files);
    if (status == STATUS_OK) {
        dict->tensors = calloc(count + 1, sizeof *dict->tensors);
        dict->storage = aligned_alloc(ALIGNMENT, bytes + ALIGNMENT);
        if (!dict->tensors || !dict->storage)
            status = refuse_no_memory(reading->err);
    }
    *ret = dict;
    return status;
}

static enum status read_parameters(const struct reading *reading, struct state_dict **ret)
{
    struct state_dict *dict = NULL;
    enum status status = create_state_dict(reading, &dict);
    if (status == STATUS_OK)
        status = add_tensors(reading, dict);
    if (status == STATUS_OK)
        *ret = dict;
    else
        state_dict_free(dict);
    return status;
}

/* ---- The whole ---- */

static enum status read_structure(const struct reading *reading, struct module **ret)
{
    char *text = onnx_names_structure(&reading->layers, reading->paths);
    if (!text)
        return refuse_no_memory(reading->err);
    enum status status = structure_parse(text, strlen(text), ret, reading->err);
    free(text);
    if (status != STATUS_OK && reading->err)
        error_prefix(reading->err, "the model's structure: ");
    return status;
}

static void read_input_shape(const struct reading *reading, struct onnx_model *model)
{
    const struct onnx_fact *input = &reading->facts[reading->graph->input];
    if (onnx_fact_row_elements(input) == ONNX_UNKNOWN)
        return;
    model->input_dims = input->dims - 1;
    for (size_t i = 0; i < model->input_dims; i++)
        model->input_shape[i] = (size_t)input->sizes[i + 1];
}

static enum status read_graph(struct reading *reading, struct onnx_model *model)
{
    enum status status = onnx_graph_create(reading->file, &reading->graph, reading->err);
    if (status == STATUS_OK)
        status = onnx_facts_create(reading->graph, &reading->facts, reading->err);
    if (status == STATUS_OK)
        status = onnx_layers_create(reading->graph, reading->facts, &reading->layers, reading->err);
    if (status == STATUS_OK)
        status = onnx_names_create(reading->graph, &reading->layers, &reading->paths, reading->err);
    if (status == STATUS_OK)
        status = read_structure(reading, &model->structure);
    if (status == STATUS_OK)
        status = read_parameters(reading, &model->state_dict);
    if (status == STATUS_OK)
        read_input_shape(reading, model);
    return status;
}

static enum status read_file(const struct onnx_file *file, const char *folder, struct onnx_model *ret,
                             struct error *err)
{
    struct reading reading = {.file = file, .folder = folder, .err = err};
    struct onnx_model model = {NULL};
    enum status status = read_graph(&reading, &model);
    onnx_graph_free(reading.graph);
    free(reading.facts);
    if (status == STATUS_OK)
        *ret = model;
    else
        onnx_model_clear(&model);
    return status;
}

enum status onnx_parse(const void *data, size_t len, const char *folder, struct onnx_model *ret, struct error *err)
{
    struct onnx_file *file = NULL;
    enum status status = onnx_file_parse(data, len, &file, err);
    if (status == STATUS_OK)
        status = read_file(file, folder, ret, err);
    onnx_file_free(file);
    return status;
}

/* The file's bytes are freed before its tensors are read, so that they are in memory twice at most. */
static enum status read_path(const char *path, const char *folder, struct onnx_model *ret, struct error *err)
{
    char *data = NULL;
    size_t len = 0;
    struct onnx_file *file = NULL;
    enum status status = file_read(path, ONNX_FILE_BYTES_MAX, &data, &len, err);
    if (status != STATUS_OK)
        return status;
    status = onnx_file_parse(data, len, &file, err);
    free(data);
    if (status == STATUS_OK)
        status = read_file(file, folder, ret, err);
    onnx_file_free(file);
    return status == STATUS_OK ? status : file_error(path, status, err);
}

enum status onnx_read(const char *path, struct onnx_model *ret, struct error *err)
{
    char *copy = strdup(path);
    if (!copy)
        return refuse_no_memory(err);
    enum status status = read_path(path, dirname(copy), ret, err);
    free(copy);
    return status;
}

void onnx_model_clear(struct onnx_model *model)
{
    module_free(model->structure);
    state_dict_free(model->state_dict);
    *model = (struct onnx_model){NULL};
}
