/* Shows what engine/onnx.h reads: read_onnx FILE [VALUES]
 *
 * Writes the structure's text to standard output, then a line for each tensor: name, dtype, shape. VALUES is a file for
 * their float32 values, one tensor after the other. A refusal goes to standard error, message and hint on a line each, and
 * the exit status is 1. scripts/make_onnx_files.py compares this with PyTorch and ONNX Runtime. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/onnx.h"

static void print_model(const struct onnx_model *model)
{
    char *text = structure_print(model->structure);
    printf("%s\n", text ? text : "");
    free(text);
    printf("input");
    for (size_t i = 0; i < model->input_dims; i++)
        printf(" %zu", model->input_shape[i]);
    printf("\n");
    for (size_t i = 0; i < model->state_dict->count; i++) {
        const struct tensor *tensor = &model->state_dict->tensors[i];
        printf("tensor %s %s", tensor->name, tensor->dtype);
        for (size_t k = 0; k < tensor->dims; k++)
            printf(" %zu", tensor->shape[k]);
        printf("\n");
    }
}

static int write_values(const char *path, const struct state_dict *dict)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return EXIT_FAILURE;
    for (size_t i = 0; i < dict->count; i++)
        fwrite(dict->tensors[i].data, sizeof(float), dict->tensors[i].count, file);
    return fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    if (argc < 2) {
        fprintf(stderr, "usage: read_onnx FILE [VALUES]\n");
        return EXIT_FAILURE;
    }
    if (onnx_read(argv[1], &model, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n%s\n", err.message, err.hint);
        return EXIT_FAILURE;
    }
    print_model(&model);
    int status = argc > 2 ? write_values(argv[2], model.state_dict) : EXIT_SUCCESS;
    onnx_model_clear(&model);
    return status;
}
