/* What a model is called that the user names by its path alone, and the labels that come with it. Stateless; any thread may
 * call it.
 *
 *     model_path_name("models/fashion-mnist/3", &name, &version, &err);     // "fashion-mnist", "3"
 *     model_path_name("downloads/net.pth", &name, &version, &err);          // "net", "1"
 */
#ifndef MLPD_ENGINE_MODEL_PATH_H
#define MLPD_ENGINE_MODEL_PATH_H

#include "engine/model.h"
#include "engine/status.h"

/* A folder whose name is a number is a version of the model that its parent names; any other, and a file without its
 * suffix, is a model's version "1". A path where nothing lies is refused. Both texts are the caller's to free. */
enum status model_path_name(const char *path, char **ret_name, char **ret_version, struct error *err);

/* Gives the model the labels that stand between commas, in place of its own; as many as its outputs, or two for a binary
 * model. Blanks around a label are no part of it. On failure the model is as before. */
enum status model_set_labels(struct model *model, const char *list, struct error *err);

#endif
