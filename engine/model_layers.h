/* From a structure and its state dict to the layers of a model: which modules are layers, and whether their sizes and
 * their parameters fit together. Called by model_load only. */
#ifndef MLPD_ENGINE_MODEL_LAYERS_H
#define MLPD_ENGINE_MODEL_LAYERS_H

#include "engine/model.h"
#include "engine/state_dict.h"
#include "engine/status.h"

/* Fills layers, parameters, assumed_class, in_features, out_features, ends_in_softmax, task and probabilities of `model`
 * from model->structure. Layers point into `dict`, which must live until model_drop_weights; of `dict` what no layer takes
 * is refused, but for a BatchNorm's num_batches_tracked, which may be there or not. On failure the model may be half
 * filled; model_free takes it. */
enum status model_layers_build(struct model *model, const struct state_dict *dict, struct error *err);

/* Sets input_shape, and the shape of the layers that keep it, now that channels, width and height are known. */
void model_layers_set_input_shape(struct model *model);

/* Sets the task, and probabilities to what it and the last layer make of them. After model_layers_build. */
void model_layers_set_task(struct model *model, enum model_task task);

#endif
