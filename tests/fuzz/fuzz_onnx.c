/* ONNX: what is accepted is a whole model: a structure that prints and parses again, tensors that lie in the storage and
 * are found by their names. External data is refused, since there is no folder. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const struct state_dict *dict, const struct tensor *tensor)
{
    size_t count = 1;
    volatile float last;
    for (size_t i = 0; i < tensor->dims; i++)
        count *= tensor->shape[i];
    assert(tensor->count == count);
    assert((const char *)tensor->data >= (const char *)dict->storage);
    assert((uintptr_t)tensor->data % 64 == 0);
    assert(strncmp(tensor->dtype, "torch.", 6) == 0);
    assert(state_dict_find(dict, tensor->name) == tensor);
    if (count > 0)
        last = tensor->data[count - 1]; /* the address sanitizer sees a tensor beyond the storage */
    (void)last;
}

static void check_structure(const struct module *structure)
{
    struct module *again = NULL;
    char *text = structure_print(structure);
    assert(text);
    assert(structure_parse(text, strlen(text), &again, NULL) == STATUS_OK);
    module_free(again);
    free(text);
}

static void check_accepted(struct onnx_model *model)
{
    check_structure(model->structure);
    for (size_t i = 0; i < model->state_dict->count; i++)
        check_tensor(model->state_dict, &model->state_dict->tensors[i]);
    assert(model->input_dims < TENSOR_DIMS_MAX);
    onnx_model_clear(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    enum status status = onnx_parse(data, size, NULL, &model, &err);
    if (status == STATUS_OK)
        check_accepted(&model);
    else
        assert(!model.structure && !model.state_dict && err.status == status && err.message[0] != '\0');
    return 0;
}
