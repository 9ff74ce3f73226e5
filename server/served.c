#include "server/served.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/golden.h"
#include "engine/model_path.h"
#include "server/describe.h"

/* ---- texts ---- */

static bool write_labels(struct served *served)
{
    const struct model *model = served->model;
    const size_t count = model_class_count(model);
    served->labels_json = calloc(count ? count : 1, sizeof *served->labels_json);
    if (!served->labels_json)
        return false;
    bool failed = false;
    for (size_t i = 0; i < count; i++) {
        if (model->labels)
            buffer_append_json_string(&served->labels_json[i], model->labels[i]);
        else
            buffer_append_str(&served->labels_json[i], "null");
        failed |= served->labels_json[i].failed;
    }
    return !failed;
}

static bool write_texts(struct served *served)
{
    const struct model *model = served->model;
    buffer_append_str(&served->answer_head, "{\"model\":");
    buffer_append_json_string(&served->answer_head, model->name);
    buffer_append_str(&served->answer_head, ",\"version\":");
    buffer_append_json_string(&served->answer_head, model->version);
    describe_json(served->backend, &served->model_json);
    describe_text(served->backend, &served->model_text);
    if (asprintf(&served->full_name, "%s/%s", model->name, model->version) < 0)
        served->full_name = NULL;
    return served->full_name && write_labels(served) && !served->answer_head.failed && !served->model_json.failed &&
           !served->model_text.failed;
}

/* ---- life ---- */

static enum status load_model(const char *path, const char *name, const char *version,
                              const struct served_options *options, struct served *served, struct error *err)
{
    struct golden_report unread;
    enum status status = model_load(path, name, version, &served->model, err);
    if (status == STATUS_OK && options->labels)
        status = model_set_labels(served->model, options->labels, err);
    if (status == STATUS_OK)
        status = backend_cpu_create(served->model, options->kernels, options->batch_max, &served->backend, err);
    if (status == STATUS_OK && !options->unjudged)
        status = golden_compare(served->backend, &unread, err);
    return status;
}

enum status served_load(const char *path, const char *name, const char *version,
                        const struct served_options *options, struct served **ret, struct error *err)
{
    struct served *served = calloc(1, sizeof *served);
    if (!served)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a model");
    enum status status = load_model(path, name, version, options, served, err);
    if (status == STATUS_OK) {
        model_drop_weights(served->model);
        if (!write_texts(served))
            status = error_set(err, STATUS_NO_MEMORY, "no memory for the model's description");
    }
    if (status == STATUS_OK)
        *ret = served;
    else
        served_free(served);
    return status;
}

/* A row of zeros, and room for what comes of it: logits, probabilities, a class. */
static enum status run_one_row(const struct served *served, struct executor *executor, struct error *err)
{
    const struct model *model = served->model;
    uint8_t *row = calloc(model->in_features, 1);
    float *outputs = calloc(model->out_features, 2 * sizeof *outputs);
    uint32_t class;
    const struct batch_part part = {.rows = row,
                                    .dtype = ROW_UINT8,
                                    .count = 1,
                                    .logits = outputs,
                                    .probabilities = outputs + model->out_features,
                                    .classes = &class};
    enum status status = row && outputs ? served->backend->ops->run(executor, &part, 1, err)
                                        : error_set(err, STATUS_NO_MEMORY, "no memory for a row");
    free(row);
    free(outputs);
    return status;
}

enum status served_warm(const struct served *served, struct error *err)
{
    struct executor *executor = NULL;
    enum status status = served->backend->ops->executor_create(served->backend, &executor, err);
    if (status == STATUS_OK)
        status = run_one_row(served, executor, err);
    served->backend->ops->executor_free(executor);
    return status;
}

void served_free(struct served *served)
{
    if (!served)
        return;
    batcher_free(served->batcher);
    buffer_free(&served->answer_head);
    buffer_free(&served->model_json);
    buffer_free(&served->model_text);
    for (size_t i = 0; served->labels_json && i < model_class_count(served->model); i++)
        buffer_free(&served->labels_json[i]);
    free(served->labels_json);
    free(served->full_name);
    free(served->uses);
    if (served->backend)
        served->backend->ops->free(served->backend);
    model_free(served->model);
    free(served);
}
