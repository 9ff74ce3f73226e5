#include "server/app.h"

#include <stdlib.h>
#include <string.h>

#include "engine/golden.h"
#include "engine/model_path.h"
#include "engine/registry.h"
#include "server/describe.h"

static bool write_labels(struct app *app, const struct model *model)
{
    const size_t count = model_class_count(model);
    app->labels_json = calloc(count ? count : 1, sizeof *app->labels_json);
    if (!app->labels_json)
        return false;
    bool failed = false;
    for (size_t i = 0; i < count; i++) {
        if (model->labels)
            buffer_append_json_string(&app->labels_json[i], model->labels[i]);
        else
            buffer_append_str(&app->labels_json[i], "null");
        failed |= app->labels_json[i].failed;
    }
    return !failed;
}

/* Of the model that is named, or of the one in the folder of models. The texts are the caller's. */
static enum status find_model(const struct app_options *options, char **ret_path, char **ret_name,
                              char **ret_version, struct error *err)
{
    if (!options->model)
        return registry_find_model(options->models, ret_path, ret_name, ret_version, err);
    *ret_path = strdup(options->model);
    if (!*ret_path)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the model's path");
    return model_path_name(options->model, ret_name, ret_version, err);
}

static enum status load_model(struct app *app, const struct app_options *options, struct error *err)
{
    struct golden_report unread;
    char *path = NULL, *name = NULL, *version = NULL;
    enum status status = find_model(options, &path, &name, &version, err);
    if (status == STATUS_OK)
        status = model_load(path, name, version, &app->model, err);
    if (status == STATUS_OK && options->labels)
        status = model_set_labels(app->model, options->labels, err);
    if (status == STATUS_OK)
        status = backend_cpu_create(app->model, options->kernels, options->batch_max, &app->backend, err);
    if (status == STATUS_OK && !options->unjudged)
        status = golden_compare(app->backend, &unread, err);
    free(path);
    free(name);
    free(version);
    return status;
}

enum status app_open(struct app *app, const struct app_options *options, struct error *err)
{
    *app = (struct app){.rows_max = options->rows_max, .pixels_max = options->pixels_max};
    enum status status = load_model(app, options, err);
    if (status != STATUS_OK) {
        app_close(app);
        return status;
    }
    model_drop_weights(app->model);

    buffer_append_str(&app->answer_head, "{\"model\":");
    buffer_append_json_string(&app->answer_head, app->model->name);
    buffer_append_str(&app->answer_head, ",\"version\":");
    buffer_append_json_string(&app->answer_head, app->model->version);
    describe_json(app->backend, &app->model_json);
    describe_text(app->backend, &app->model_text);
    if (write_labels(app, app->model) && !app->answer_head.failed && !app->model_json.failed &&
        !app->model_text.failed)
        return STATUS_OK;
    app_close(app);
    return error_set(err, STATUS_NO_MEMORY, "no memory for the model's description");
}

void app_close(struct app *app)
{
    buffer_free(&app->answer_head);
    buffer_free(&app->model_json);
    buffer_free(&app->model_text);
    for (size_t i = 0; app->labels_json && i < model_class_count(app->model); i++)
        buffer_free(&app->labels_json[i]);
    free(app->labels_json);
    if (app->backend)
        app->backend->ops->free(app->backend);
    model_free(app->model);
    *app = (struct app){0};
}
