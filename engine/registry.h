/* The folder of models, `<models>/<name>/<version>/`: which of them is to be served. Stateless; any thread may call it.
 *
 *     char *path, *name, *version;
 *     if (registry_find_model("config/models", &path, &name, &version, &err) == STATUS_OK)
 *         status = model_load(path, name, version, &model, &err);   // then free all three
 */
#ifndef MLPD_ENGINE_REGISTRY_H
#define MLPD_ENGINE_REGISTRY_H

#include "engine/status.h"

/* Finds the one model in `models_dir` and its newest version, the greatest number. Versions are folders named by
 * decimal digits without leading zeros; hidden entries, files and folders of other names beside them are passed over.
 * No folder, no model, several models, or a model without a version are errors with the mend.
 * On success the three texts are the caller's to free. */
enum status registry_find_model(const char *models_dir, char **ret_path, char **ret_name, char **ret_version,
                                struct error *err);

#endif
