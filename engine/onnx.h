/* Reader of ONNX files that hold a chain of dense layers, as PyTorch's exporters write them (TorchScript's and
 * dynamo's, opsets 7 to 28): the file becomes what the other readers give too, a structure and a state dict. Immutable
 * once read; any thread may read one.
 *
 *     struct onnx_model model;
 *     if (onnx_read("models/mine/1/model.onnx", &model, &err) == STATUS_OK) {
 *         structure_print(model.structure);        // NeuralNetwork(\n  (flatten): Flatten(start_dim=1, end_dim=-1) ...
 *         state_dict_find(model.state_dict, "linear_relu_stack.0.weight");
 *         onnx_model_clear(&model);
 *     }
 *
 * How it goes: onnx_file (bytes to protobuf-c's structs), onnx_graph (names to values), onnx_facts (shapes and
 * constants), onnx_layers (nodes to layers, with onnx_forms for those that take several), onnx_names, and onnx_tensor for
 * the numbers. Whatever is not understood is refused with the node's name and type. Nothing in a file is executed. Time
 * and memory are bounded by the file's size: at most ONNX_NODES_MAX nodes and ONNX_LAYERS_MAX layers are read, and
 * parameters of at most 64 MiB + 4 times the bytes of the model and its external files.
 */
#ifndef MLPD_ENGINE_ONNX_H
#define MLPD_ENGINE_ONNX_H

#include <stddef.h>

#include "engine/state_dict.h"
#include "engine/status.h"
#include "engine/structure.h"

struct onnx_model {
    struct module *structure;            /* root: the module's class where the file says it, else Sequential */
    struct state_dict *state_dict;       /* weights as PyTorch has them, (out_features, in_features); indexed */
    size_t input_shape[TENSOR_DIMS_MAX]; /* of a row, without the batch: {784} or {1, 28, 28} */
    size_t input_dims;                   /* 0 if the file leaves a size open */
};

/* Reads the file; tensors that are external data lie in its folder or below it. On success *ret is the caller's, to be
 * freed with onnx_model_clear, or by taking its members. */
enum status onnx_read(const char *path, struct onnx_model *ret, struct error *err);

/* The same for bytes in memory. `folder` is where external data may lie; NULL refuses external data. */
enum status onnx_parse(const void *data, size_t len, const char *folder, struct onnx_model *ret, struct error *err);

/* Frees the members and makes them NULL. */
void onnx_model_clear(struct onnx_model *model);

#endif
