/* The tensors of layers: found in the state dict, and checked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/finite.h"
#include "engine/model_building.h"
#include "engine/tensor_text.h"
#include "engine/utf8.h"

static const char SAME_MODEL_HINT[] =
    "write structure.txt (print(model)) and model.safetensors from the same model";

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

static enum status check_shape(const struct building *building, const struct parameter *expected,
                               const struct tensor *tensor)
{
    char have[TENSOR_DIMS_MAX * 22], want[sizeof have];
    if (tensor->dims == expected->dims &&
        memcmp(tensor->shape, expected->shape, expected->dims * sizeof *expected->shape) == 0)
        return STATUS_OK;
    tensor_text_shape(expected->shape, expected->dims, want, sizeof want);
    tensor_text_shape(tensor->shape, tensor->dims, have, sizeof have);
    error_set(building->err, STATUS_INVALID, "tensor \"%s\" has the shape %s, structure.txt asks for %s",
              expected->name, have, want);
    return error_hint(building->err, "%s", SAME_MODEL_HINT);
}

/* "1, 2": the place of element `index` in a tensor of this shape. */
static void write_place(const struct tensor *tensor, size_t index, char *place, size_t place_bytes)
{
    size_t stride = tensor->count, len = 0;
    for (size_t i = 0; i < tensor->dims && len < place_bytes; i++) {
        stride /= tensor->shape[i];
        len += (size_t)snprintf(place + len, place_bytes - len, i ? ", %zu" : "%zu", index / stride);
        index %= stride;
    }
}

static enum status check_finite(const struct building *building, const struct tensor *tensor)
{
    size_t index;
    char place[TENSOR_DIMS_MAX * 22] = "";
    if (all_finite(tensor->data, tensor->count, &index))
        return STATUS_OK;
    write_place(tensor, index, place, sizeof place);
    error_set(building->err, STATUS_INVALID, "tensor \"%s\" holds %s at [%s], all parameters must be finite",
              tensor->name, isnan(tensor->data[index]) ? "NaN" : "infinity", place);
    return error_hint(building->err,
                      "the training diverged: train again with a smaller learning rate, and check with "
                      "torch.isfinite(p).all()");
}

static enum status take_tensor(struct building *building, const struct parameter *expected, const float **ret_data)
{
    const struct tensor *tensor = state_dict_find(building->dict, expected->name);
    if (!tensor)
        return refuse_missing(building, expected->name);
    building->used[tensor - building->dict->tensors] = true;
    enum status status = check_shape(building, expected, tensor);
    if (status == STATUS_OK)
        status = check_finite(building, tensor);
    if (status == STATUS_OK)
        *ret_data = tensor->data;
    return status;
}

/* "linear_relu_stack.0.weight"; NULL if out of memory. */
static char *full_name(const struct layer *layer, const char *suffix)
{
    char *name;
    return asprintf(&name, "%s%s%s", layer->name, layer->name[0] ? "." : "", suffix) < 0 ? NULL : name;
}

enum status building_take_parameter(struct building *building, const struct layer *layer, const char *suffix,
                                    const size_t *shape, size_t dims, const float **ret_data)
{
    struct model *model = building->model;
    struct parameter parameter = {.name = full_name(layer, suffix), .dims = dims, .count = 1};
    if (!parameter.name)
        return building_refuse_no_memory(building);
    for (size_t i = 0; i < dims; i++) {
        parameter.shape[i] = shape[i];
        parameter.count *= shape[i];
    }
    model->parameters[model->parameter_count++] = parameter;
    model->parameter_elements += parameter.count;
    return take_tensor(building, &parameter, ret_data);
}

enum status building_take_buffer(struct building *building, const struct layer *layer, const char *suffix,
                                 size_t features, const float **ret_data)
{
    struct parameter buffer = {.name = full_name(layer, suffix), .shape = {features}, .dims = 1, .count = features};
    if (!buffer.name)
        return building_refuse_no_memory(building);
    enum status status = take_tensor(building, &buffer, ret_data);
    free(buffer.name);
    return status;
}

enum status building_pass_over(struct building *building, const struct layer *layer, const char *suffix)
{
    char *name = full_name(layer, suffix);
    if (!name)
        return building_refuse_no_memory(building);
    const struct tensor *tensor = state_dict_find(building->dict, name);
    if (tensor)
        building->used[tensor - building->dict->tensors] = true;
    free(name);
    return STATUS_OK;
}

enum status building_check_all_used(const struct building *building)
{
    const struct state_dict *dict = building->dict;
    size_t unused = dict->count, used = 0;
    for (size_t i = dict->count; i-- > 0;) {
        used += building->used[i];
        unused = building->used[i] ? unused : i;
    }
    if (unused == dict->count)
        return STATUS_OK;
    const char *name = dict->tensors[unused].name;
    error_set(building->err, STATUS_INVALID,
              "tensor \"%.*s\" belongs to no layer of structure.txt (%zu tensors, %zu used)",
              utf8_cut(name, strlen(name), NAME_SHOWN_MAX), name, dict->count, used);
    return error_hint(building->err, "%s", SAME_MODEL_HINT);
}
