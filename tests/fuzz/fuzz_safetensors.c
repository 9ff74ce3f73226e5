/* Safetensors: the tensors of an accepted file cover its data exactly, hold its bytes, and are found by their names. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const struct state_dict *dict, const struct tensor *tensor, size_t data_bytes)
{
    const char *begin = (const char *)tensor->data, *storage = dict->storage;
    size_t count = 1;
    for (size_t i = 0; i < tensor->dims; i++)
        count *= tensor->shape[i];
    assert(tensor->count == count);
    assert((uintptr_t)tensor->data % sizeof(float) == 0);
    assert(begin >= storage && begin + count * sizeof(float) <= storage + data_bytes);
    assert(strcmp(tensor->dtype, "torch.float32") == 0);
    assert(state_dict_find(dict, tensor->name) == tensor);
}

static void check_accepted(const uint8_t *data, size_t size, struct state_dict *dict)
{
    uint64_t header_bytes;
    size_t bytes = 0;
    memcpy(&header_bytes, data, sizeof header_bytes);
    size_t data_bytes = size - 8 - header_bytes;
    for (size_t i = 0; i < dict->count; i++) {
        check_tensor(dict, &dict->tensors[i], data_bytes);
        bytes += dict->tensors[i].count * sizeof(float);
    }
    assert(bytes == data_bytes);
    assert(memcmp(dict->storage, data + 8 + header_bytes, data_bytes) == 0);
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
