/* Files of torch.save, of both formats: the tensors of an accepted one lie in its storage, are found by their names and are no
 * more than the limit for a file of this size; a module's tree prints and parses back to the same text. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/torch_file.h"
#include "engine/torch_module.h"
#include "engine/torch_tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensors(const struct state_dict *dict, size_t file_bytes)
{
    size_t elements = 0;
    volatile float last = 0;
    for (size_t i = 0; i < dict->count; i++) {
        const struct tensor *tensor = &dict->tensors[i];
        size_t count = 1;
        for (size_t j = 0; j < tensor->dims; j++)
            count *= tensor->shape[j];
        assert(tensor->count == count && tensor->dims <= TENSOR_DIMS_MAX);
        assert(tensor->data == (const float *)dict->storage + elements);
        assert(state_dict_find(dict, tensor->name) == tensor && strncmp(tensor->dtype, "torch.", 6) == 0);
        for (size_t j = 0; j < count; j++)
            last = tensor->data[j]; /* the address sanitizer sees what lies outside */
        elements += count;
    }
    assert(elements <= file_bytes + TORCH_ELEMENTS_FREE);
    (void)last;
}

static size_t count_modules(const struct module *module)
{
    size_t count = 1;
    for (size_t i = 0; i < module->child_count; i++)
        count += count_modules(module->children[i]);
    return count;
}

/* A child may be called "0-1", which structure_parse takes for several; and a class's name may begin with the bytes of a
 * byte order mark, which it passes over at the begin of a text. */
static void check_structure(const struct module *root)
{
    struct error err;
    struct module *again;
    char *text = structure_print(root);
    assert(text && count_modules(root) <= TORCH_MODULES_MAX);
    if (structure_parse(text, strlen(text), &again, &err) == STATUS_OK) {
        char *same = structure_print(again);
        assert(strcmp(text, same) == 0 || strncmp(text, "\xEF\xBB\xBF", 3) == 0);
        free(same);
        module_free(again);
    } else {
        assert(strchr(text, '-'));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct torch_file file = {.note = NULL};
    struct error err = {0};
    enum status status = torch_file_parse(data, size, &file, &err);
    if (status == STATUS_OK) {
        check_tensors(file.state_dict, size);
        if (file.structure)
            check_structure(file.structure);
        assert(!file.note || file.note[0] != '\0');
        torch_file_release(&file);
    } else {
        assert(!file.state_dict && !file.structure && !file.note);
        assert(err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
    }
    return 0;
}
