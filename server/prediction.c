#include "server/prediction.h"

#include <stdlib.h>

#include "engine/clock.h"
#include "engine/finite.h"

enum { KEEP_BYTES = 64 * 1024 }; /* of outputs, from one request to the next */

struct prediction *prediction_create(void)
{
    struct prediction *prediction = calloc(1, sizeof *prediction);
    if (prediction && !(prediction->input = input_create(NULL))) {
        free(prediction);
        return NULL;
    }
    return prediction;
}

static enum status refuse_no_memory(const char *what, size_t count, struct error *err)
{
    error_set(err, STATUS_NO_MEMORY, "there is no memory for %zu %s", count, what);
    return error_hint(err, "send fewer rows at once, or send it again in a moment");
}

/* Makes room for `count` elements of `size` bytes in *array; what was there is lost. */
static bool reserve(void *array, size_t *capacity, size_t count, size_t size)
{
    void **place = array;
    if (count <= *capacity)
        return true;
    free(*place);
    *place = calloc(count, size);
    *capacity = *place ? count : 0;
    return *place;
}

enum status prediction_use(struct prediction *prediction, const struct served *served, struct error *err)
{
    const struct model *model = served->model;
    prediction->served = served;
    prediction->threshold = model->threshold;
    if (!reserve(&prediction->layers, &prediction->layers_capacity, model->layer_count * TRACE_VALUES,
                 sizeof *prediction->layers) ||
        !reserve(&prediction->order, &prediction->order_capacity, model->out_features, sizeof *prediction->order))
        return refuse_no_memory("classes", model->out_features, err);
    return input_set_model(prediction->input, model, err);
}

static size_t output_bytes(const struct prediction *prediction)
{
    return prediction->outputs_capacity * sizeof *prediction->outputs +
           prediction->classes_capacity * sizeof *prediction->classes;
}

static void free_outputs(struct prediction *prediction)
{
    free(prediction->outputs);
    free(prediction->classes);
    prediction->outputs = NULL;
    prediction->classes = NULL;
    prediction->outputs_capacity = prediction->classes_capacity = 0;
}

void prediction_reset(struct prediction *prediction)
{
    input_reset(prediction->input);
    if (output_bytes(prediction) > KEEP_BYTES)
        free_outputs(prediction);
    prediction->served = NULL;
    prediction->account = NULL;
    prediction->top_k = 0;
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

/* For each row: logits, probabilities, class. */
static enum status reserve_outputs(struct prediction *prediction, size_t rows, struct error *err)
{
    size_t numbers = 2 * rows * prediction->served->model->out_features;
    if (numbers <= prediction->outputs_capacity && rows <= prediction->classes_capacity)
        return STATUS_OK;
    free_outputs(prediction);
    enum status status = account_pay(prediction->account, numbers * sizeof(float) + rows * sizeof(uint32_t), err);
    if (status != STATUS_OK)
        return status;
    if (reserve(&prediction->outputs, &prediction->outputs_capacity, numbers, sizeof *prediction->outputs) &&
        reserve(&prediction->classes, &prediction->classes_capacity, rows, sizeof *prediction->classes))
        return STATUS_OK;
    free_outputs(prediction);
    return refuse_no_memory("answers", rows, err);
}

enum status prediction_read(struct prediction *prediction, const struct input_options *options, const char *body,
                            size_t len, struct error *err)
{
    const struct served *served = prediction->served;
    const struct row_set *set = &prediction->input->set;
    prediction->input->set.account = prediction->account;
    enum status status = input_read(prediction->input, options, body, len, err);
    if (status == STATUS_OK)
        status = reserve_outputs(prediction, set->count, err);
    if (status == STATUS_OK && prediction->with_layers)
        status = served->backend->ops->trace(served->backend, set->rows, set->dtype, prediction->layers, err);
    if (status != STATUS_OK)
        return status;
    prediction->job = (struct job){
        .rows = set->rows,
        .dtype = set->dtype,
        .count = set->count,
        .logits = prediction->outputs,
        .probabilities = prediction->outputs + set->count * served->model->out_features,
        .classes = prediction->classes,
        .error = &prediction->error,
    };
    prediction->ready_ns = clock_now_ns();
    return STATUS_OK;
}

enum status prediction_submit(struct prediction *prediction, void (*done)(struct job *job), struct error *err)
{
    prediction->job.done = done;
    return batcher_submit(prediction->served->batcher, &prediction->job, err);
}

bool prediction_withdraw(struct prediction *prediction)
{
    return batcher_withdraw(prediction->served->batcher, &prediction->job);
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
    const struct backend *backend = prediction->served->backend;
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
    const struct model *model = prediction->served->model;
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
    answer_write(prediction->served, &answer, prediction->format, out);
}
