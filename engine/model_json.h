/* model.json: what a picture needs that neither structure nor parameters say (see engine/model.h for the format).
 * Called by model_load only. */
#ifndef MLPD_ENGINE_MODEL_JSON_H
#define MLPD_ENGINE_MODEL_JSON_H

#include <stddef.h>

#include "engine/model.h"
#include "engine/status.h"

/* What holds without a model.json: a picture as the structure's first Unflatten or LayerNorm has it, else a square gray
 * one if in_features is a square; bytes divided by 255; no labels. After model_layers_build. */
void model_json_defaults(struct model *model);

/* Reads `len` bytes into labels, task, probabilities and what engine/model.h has of the input; model_json_defaults has been
 * called, and text[len] is '\0'. On failure the model is as before. Unknown keys and keys that stand twice are errors, and
 * so is what does not fit in_features and out_features. */
enum status model_json_parse(const char *text, size_t len, struct model *model, struct error *err);

/* What model.json calls the task: "classification". */
const char *model_json_task_name(enum model_task task);

#endif
