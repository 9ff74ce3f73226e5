/* The names of an ONNX file's layers, as the module had them that was exported: "linear_relu_stack.0". They stand in the
 * names of initializers ("linear_relu_stack.0.weight"), in the metadata of dynamo's nodes and in the names of
 * TorchScript's nodes; where none of these says a name, or two contradict each other, one is made up. Names are for
 * people: nothing is computed from them. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_ONNX_NAMES_H
#define MLPD_ENGINE_ONNX_NAMES_H

#include "engine/onnx_graph.h"
#include "engine/onnx_layers.h"
#include "engine/status.h"

/* A path for each layer, in an array that lives as long as the graph's file. All differ, none is the beginning of
 * another, and layers of one container stand together. */
enum status onnx_names_create(const struct onnx_graph *graph, const struct onnx_layers *layers,
                              const char *const **ret_paths, struct error *err);

/* The structure as print(model) would say it, with these paths; the caller frees it. NULL if out of memory. */
char *onnx_names_structure(const struct onnx_layers *layers, const char *const *paths);

#endif
