#include "server/prediction.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/finite.h"

enum { KEEP_ROWS = 256 }; /* room for outputs that is kept from one request to the next */

struct prediction *prediction_create(const struct app *app)
{
    struct prediction *prediction = calloc(1, sizeof *prediction);
    if (!prediction)
        return NULL;
    prediction->app = app;
    prediction->threshold = app->model->threshold;
    prediction->input = input_create(app->model);
    prediction->layers = calloc(app->model->layer_count, TRACE_VALUES * sizeof *prediction->layers);
    prediction->order = calloc(app->model->out_features, sizeof *prediction->order);
    if (prediction->input && prediction->layers && prediction->order)
        return prediction;
    prediction_free(prediction);
    return NULL;
}

static void free_outputs(struct prediction *prediction)
{
    free(prediction->outputs);
    free(prediction->classes);
    prediction->outputs = NULL;
    prediction->classes = NULL;
    prediction->rows_capacity = 0;
}

void prediction_reset(struct prediction *prediction)
{
    input_reset(prediction->input);
    if (prediction->rows_capacity > KEEP_ROWS)
        free_outputs(prediction);
    prediction->account = NULL;
    prediction->top_k = 0;
    prediction->threshold = prediction->app->model->threshold;
    prediction->with_logits = prediction->with_layers = false;
    prediction->format = ANSWER_JSON;
}

void prediction_free(struct prediction *prediction)
{
    if (!prediction)
        return;
    input_free(prediction->input);
    free_outputs(prediction);
    free(prediction->layers);
    free(prediction->order);
    free(prediction);
}

/* Of one row: logits, probabilities, class. */
static size_t output_bytes(const struct model *model)
{
    return 2 * model->out_features * sizeof(float) + sizeof(uint32_t);
}

static enum status reserve_outputs(struct prediction *prediction, size_t rows, struct error *err)
{
    if (rows <= prediction->rows_capacity)
        return STATUS_OK;
    free_outputs(prediction);
    enum status status = account_pay(prediction->account, rows * output_bytes(prediction->app->model), err);
    if (status != STATUS_OK)
        return status;
    prediction->outputs = calloc(rows, 2 * prediction->app->model->out_features * sizeof *prediction->outputs);
    prediction->classes = calloc(rows, sizeof *prediction->classes);
    if (!prediction->outputs || !prediction->classes) {
        free_outputs(prediction);
        error_set(err, STATUS_NO_MEMORY, "there is no memory for %zu answers", rows);
        return error_hint(err, "send fewer rows at once, or send it again in a moment");
    }
    prediction->rows_capacity = rows;
    return STATUS_OK;
}

enum status prediction_read(struct prediction *prediction, const struct input_options *options, const char *body,
                            size_t len, struct error *err)
{
    const struct app *app = prediction->app;
    const struct row_set *set = &prediction->input->set;
    prediction->input->set.account = prediction->account;
    enum status status = input_read(prediction->input, options, body, len, err);
    if (status == STATUS_OK)
        status = reserve_outputs(prediction, set->count, err);
    if (status == STATUS_OK && prediction->with_layers)
        status = app->backend->ops->trace(app->backend, set->rows, set->dtype, prediction->layers, err);
    if (status != STATUS_OK)
        return status;
    prediction->job = (struct job){
        .rows = set->rows,
        .dtype = set->dtype,
        .count = set->count,
        .logits = prediction->outputs,
        .probabilities = prediction->outputs + set->count * app->model->out_features,
        .classes = prediction->classes,
        .error = &prediction->error,
    };
    prediction->ready_ns = clock_now_ns();
    return STATUS_OK;
}

enum status prediction_submit(struct prediction *prediction, void (*done)(struct job *job), struct error *err)
{
    prediction->job.done = done;
    return batcher_submit(prediction->app->batcher, &prediction->job, err);
}

bool prediction_withdraw(struct prediction *prediction)
{
    return batcher_withdraw(prediction->app->batcher, &prediction->job);
}

void prediction_set_outcome(struct prediction *prediction, enum status status, const struct error *err,
                            int64_t started_ns, int64_t finished_ns)
{
    struct job *job = &prediction->job;
    job->status = status;
    job->started_ns = started_ns;
    job->finished_ns = finished_ns;
    if (err)
        prediction->error = *err;
}

enum status prediction_run(struct prediction *prediction, struct executor *executor, struct error *err)
{
    const struct backend *backend = prediction->app->backend;
    struct job *job = &prediction->job;
    size_t n = backend->model->out_features;
    size_t row_bytes = backend_row_bytes(backend->model, job->dtype);
    enum status status = STATUS_OK;
    for (size_t at = 0; at < job->count && status == STATUS_OK; at += backend->batch_max) {
        const struct batch_part part = {
            .rows = (const char *)job->rows + at * row_bytes,
            .dtype = job->dtype,
            .count = job->count - at < backend->batch_max ? job->count - at : backend->batch_max,
            .logits = job->logits + at * n,
            .probabilities = job->probabilities + at * n,
            .classes = job->classes + at,
        };
        status = backend->ops->run(executor, &part, 1, &prediction->error);
    }
    job->status = status;
    if (status != STATUS_OK)
        *err = prediction->error;
    return status;
}

enum status prediction_check(const struct prediction *prediction, struct error *err)
{
    const struct job *job = &prediction->job;
    const struct model *model = prediction->app->model;
    size_t n = model->out_features, index;
    if (job->status == STATUS_CANCELLED)
        return error_set(err, STATUS_CANCELLED, "nobody waits for the answer any more");
    if (job->status != STATUS_OK) {
        *err = prediction->error;
        return job->status;
    }
    if (!all_finite(job->logits, job->count * n, &index))
        error_set(err, STATUS_INTERNAL,
                  "the model's numbers overflow float32 for row %zu (logit %zu is not finite)", index / n,
                  index % n);
    else if (prediction->with_layers && !all_finite(prediction->layers, model->layer_count * TRACE_VALUES, &index))
        error_set(err, STATUS_INTERNAL,
                  "the model's numbers overflow float32 for row 0 (value %zu of layer %zu is not finite)",
                  index % TRACE_VALUES, index / TRACE_VALUES);
    else
        return STATUS_OK;
    return error_hint(err, "send inputs of the size that the model was trained on, usually 0 to 1");
}

void prediction_write(const struct prediction *prediction, struct buffer *out)
{
    const struct answer answer = {
        .logits = prediction->job.logits,
        .probabilities = prediction->job.probabilities,
        .classes = prediction->job.classes,
        .rows = prediction->job.count,
        .batched = prediction->input->batched,
        .sizes = prediction->input->sizes,
        .threshold = prediction->threshold,
        .top_k = prediction->top_k,
        .with_logits = prediction->with_logits,
        .layers = prediction->with_layers ? prediction->layers : NULL,
        .order = prediction->order,
    };
    answer_write(prediction->app, &answer, prediction->format, out);
}
