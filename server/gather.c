#include "server/gather.h"

#include <stdlib.h>

#include "engine/clock.h"

enum {
    /* Multiplications of one request, about 60 us of an AVX2 core. Above, what the queue costs is little beside them, and its
     * bound is wanted: a loop that computes refuses nobody, and answers nobody in time, when more comes than it can do. */
    JOB_MAX = 4 << 20,
    /* And of a round, about 4 ms: a loop that computes for longer answers nobody meanwhile. */
    ROUND_MAX = 256 << 20,
};

struct gather {
    size_t batch_max;
    struct executor *executor; /* NULL before the first row */
    const struct backend_ops *ops;
    size_t rows, count;
    size_t cost;              /* of these rows, in multiplications */
    struct batch_part *parts; /* batch_max of both */
    struct prediction **predictions;
};

enum status gather_create(size_t batch_max, struct gather **ret, struct error *err)
{
    struct gather *gather = calloc(1, sizeof *gather);
    if (!gather)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a loop's batches");
    gather->batch_max = batch_max;
    gather->parts = calloc(batch_max, sizeof *gather->parts);
    gather->predictions = calloc(batch_max, sizeof *gather->predictions);
    if (gather->parts && gather->predictions) {
        *ret = gather;
        return STATUS_OK;
    }
    gather_free(gather);
    return error_set(err, STATUS_NO_MEMORY, "no memory for a loop's batches");
}

static size_t row_cost(const struct prediction *prediction)
{
    return prediction->served->model->parameter_elements + 1;
}

bool gather_takes(const struct gather *gather, const struct prediction *prediction)
{
    size_t count = prediction->job.count;
    return count <= gather->batch_max && count <= JOB_MAX / row_cost(prediction);
}

bool gather_add(struct gather *gather, struct prediction *prediction)
{
    size_t rows = prediction->job.count, cost = rows * row_cost(prediction);
    if (!gather_takes(gather, prediction) || rows > gather->batch_max - gather->rows ||
        gather->cost + cost > ROUND_MAX)
        return false;
    gather->predictions[gather->count++] = prediction;
    gather->rows += rows;
    gather->cost += cost;
    return true;
}

/* ---- the batch of one model ---- */

/* Gives the executor to the backend, or makes one. */
static enum status prepare_executor(struct gather *gather, const struct backend *backend, struct error *err)
{
    if (gather->executor && gather->ops == backend->ops)
        return backend->ops->executor_move(gather->executor, backend, err);
    if (gather->executor)
        gather->ops->executor_free(gather->executor);
    gather->executor = NULL;
    gather->ops = backend->ops;
    return backend->ops->executor_create(backend, &gather->executor, err);
}

/* Puts the predictions for the same model as the last one behind the others, and returns how many others there are. */
static size_t part_models(struct gather *gather)
{
    const struct served *served = gather->predictions[gather->count - 1]->served;
    size_t others = 0;
    for (size_t i = 0; i < gather->count; i++) {
        struct prediction *prediction = gather->predictions[i];
        if (prediction->served == served)
            continue;
        gather->predictions[i] = gather->predictions[others];
        gather->predictions[others++] = prediction;
    }
    return others;
}

static struct batch_part part_of(const struct prediction *prediction)
{
    const struct job *job = &prediction->job;
    return (struct batch_part){
        .rows = job->rows,
        .dtype = job->dtype,
        .count = job->count,
        .logits = job->logits,
        .probabilities = job->probabilities,
        .classes = job->classes,
    };
}

bool gather_run(struct gather *gather, struct gather_report *ret)
{
    struct error err;
    gather->rows = gather->cost = 0; /* this round takes no more */
    if (!gather->count)
        return false;
    size_t first = part_models(gather), count = gather->count - first;
    struct prediction **predictions = gather->predictions + first;
    *ret = (struct gather_report){.served = predictions[0]->served, .started_ns = clock_now_ns()};
    for (size_t i = 0; i < count; i++) {
        gather->parts[i] = part_of(predictions[i]);
        ret->rows += gather->parts[i].count;
    }
    const struct backend *backend = ret->served->backend;
    enum status status = prepare_executor(gather, backend, &err);
    if (status == STATUS_OK)
        status = backend->ops->run(gather->executor, gather->parts, count, &err);
    ret->finished_ns = clock_now_ns();
    for (size_t i = 0; i < count; i++)
        prediction_set_outcome(predictions[i], status, status == STATUS_OK ? NULL : &err, ret->started_ns,
                               ret->finished_ns);
    gather->count = first;
    return true;
}

void gather_free(struct gather *gather)
{
    if (!gather)
        return;
    if (gather->executor)
        gather->ops->executor_free(gather->executor);
    free(gather->parts);
    free(gather->predictions);
    free(gather);
}
