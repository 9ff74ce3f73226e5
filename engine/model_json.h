/* model.json: what a picture needs that neither structure nor parameters say (see engine/model.h for the format).
 * Called by model_load only. */
#ifndef MLPD_ENGINE_MODEL_JSON_H
#define MLPD_ENGINE_MODEL_JSON_H

#include <stddef.h>

#include "engine/model.h"
#include "engine/status.h"

/* What holds without a model.json: a square gray picture if in_features is a square, bytes divided by 255, no labels. */
void model_json_defaults(struct model *model);

/* Reads `len` bytes into labels, width, height, pixel_divisor and pixel_scale; in_features and out_features must be
 * known, model_json_defaults have been called, and text[len] be '\0'. On failure the model is as before. Unknown keys
 * and keys that stand twice are errors. */
enum status model_json_parse(const char *text, size_t len, struct model *model, struct error *err);

#endif
