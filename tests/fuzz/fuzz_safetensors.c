/* Safetensors: the tensors of an accepted file cover its data exactly, hold its values, and are found by their names. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/dtypes.h"
#include "engine/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many bytes an element has in the file, by the name of its type. */
static size_t element_bytes(const char *dtype)
{
    const struct dtype *found = dtype_of_torch(dtype + strlen("torch."), strlen(dtype) - strlen("torch."));
    assert(found && found->name == dtype);
    return found->bytes;
}

static void check_tensor(const struct state_dict *dict, const struct tensor *tensor, size_t elements)
{
    const float *storage = dict->storage;
    size_t count = 1;
    for (size_t i = 0; i < tensor->dims; i++)
        count *= tensor->shape[i];
    assert(tensor->count == count);
    assert(tensor->data >= storage && tensor->data + count <= storage + elements);
    assert(state_dict_find(dict, tensor->name) == tensor);
}

static void check_accepted(const uint8_t *data, size_t size, struct state_dict *dict)
{
    uint64_t header_bytes;
    size_t bytes = 0, elements = 0;
    memcpy(&header_bytes, data, sizeof header_bytes);
    for (size_t i = 0; i < dict->count; i++) {
        elements += dict->tensors[i].count;
        bytes += dict->tensors[i].count * element_bytes(dict->tensors[i].dtype);
    }
    assert(bytes == size - 8 - header_bytes);
    for (size_t i = 0; i < dict->count; i++)
        check_tensor(dict, &dict->tensors[i], elements);
    if (bytes == elements * sizeof(float) && dict->count == 1 &&
        strcmp(dict->tensors[0].dtype, "torch.float32") == 0)
        assert(memcmp(dict->storage, data + 8 + header_bytes, bytes) == 0);
    state_dict_free(dict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state_dict *dict = NULL;
    struct error err = {.status = STATUS_OK};
    enum status status = safetensors_parse(data, size, &dict, &err);
    if (status == STATUS_OK)
        check_accepted(data, size, dict);
    else
        assert(dict == NULL && err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
    return 0;
}
