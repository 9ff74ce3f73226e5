/* The folder of models, `<models>/<name>/<version>/`: which models and versions there are. Versions are folders named by
 * decimal digits without leading zeros; hidden entries, files and folders of other names beside them are passed over.
 * Stateless; any thread may call it.
 *
 *     struct registry_names names = {0};
 *     if (registry_list_models("config/models", &names, &err) == STATUS_OK) ...
 *     registry_names_free(&names);
 *
 *     char *path, *name, *version;
 *     if (registry_find_model("config/models", NULL, &path, &name, &version, &err) == STATUS_OK)
 *         status = model_load(path, name, version, &model, &err);   // then free all three
 */
#ifndef MLPD_ENGINE_REGISTRY_H
#define MLPD_ENGINE_REGISTRY_H

#include <stddef.h>

#include "engine/status.h"

struct registry_names {
    char **items;
    size_t count;
};

/* The models, in the order of their names' bytes; there may be none. The names are the caller's to free, on failure too. */
enum status registry_list_models(const char *models_dir, struct registry_names *ret, struct error *err);

/* The versions of the model in `path`, newest first: the greatest number. There may be none. Freed likewise. */
enum status registry_list_versions(const char *path, struct registry_names *ret, struct error *err);

/* Refuses a folder in which no model was found, or a model of which no version was, with the mend. */
enum status registry_refuse_empty(const char *models_dir, struct error *err);
enum status registry_refuse_no_version(const char *path, struct error *err);

void registry_names_free(struct registry_names *names);

/* Finds the model of that name, or with NULL the only one in `models_dir`, and its newest version. No folder, no model, no
 * such model, several of which none is named, or a model without a version are errors with the mend.
 * On success the three texts are the caller's to free. */
enum status registry_find_model(const char *models_dir, const char *wanted, char **ret_path, char **ret_name,
                                char **ret_version, struct error *err);

#endif
