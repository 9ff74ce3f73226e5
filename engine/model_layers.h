/* From a structure and its state dict to the layers of a model: which modules are layers, and whether their sizes and
 * their parameters fit together. Called by model_load only. */
#ifndef MLPD_ENGINE_MODEL_LAYERS_H
#define MLPD_ENGINE_MODEL_LAYERS_H

#include "engine/model.h"
#include "engine/state_dict.h"
#include "engine/status.h"

/* Fills layers, parameters, in_features, out_features and ends_in_softmax of `model` from model->structure. Layers point
 * into `dict`, which must live until model_drop_weights. On failure the model may be half filled; model_free takes it. */
enum status model_layers_build(struct model *model, const struct state_dict *dict, struct error *err);

#endif
