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
    const struct backend *backend;
    struct executor *executor;
    size_t row_cost; /* multiplications */
    size_t rows, count;
    struct batch_part *parts; /* batch_max of both */
    struct prediction **predictions;
};

enum status gather_create(const struct backend *backend, struct gather **ret, struct error *err)
{
    struct gather *gather = calloc(1, sizeof *gather);
    if (!gather)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a loop's batches");
    gather->backend = backend;
    gather->row_cost = backend->model->parameter_elements + 1;
    gather->parts = calloc(backend->batch_max, sizeof *gather->parts);
    gather->predictions = calloc(backend->batch_max, sizeof *gather->predictions);
    enum status status = STATUS_OK;
    if (!gather->parts || !gather->predictions)
        status = error_set(err, STATUS_NO_MEMORY, "no memory for a loop's batches");
    if (status == STATUS_OK)
        status = backend->ops->executor_create(backend, &gather->executor, err);
    if (status == STATUS_OK)
        *ret = gather;
    else
        gather_free(gather);
    return status;
}

bool gather_takes(const struct gather *gather, const struct prediction *prediction)
{
    size_t count = prediction->job.count;
    return count <= gather->backend->batch_max && count <= JOB_MAX / gather->row_cost;
}

bool gather_add(struct gather *gather, struct prediction *prediction)
{
    const struct job *job = &prediction->job;
    if (!gather_takes(gather, prediction) || job->count > gather->backend->batch_max - gather->rows ||
        gather->rows + job->count > ROUND_MAX / gather->row_cost)
        return false;
    gather->parts[gather->count] = (struct batch_part){
        .rows = job->rows,
        .dtype = job->dtype,
        .count = job->count,
        .logits = job->logits,
        .probabilities = job->probabilities,
        .classes = job->classes,
    };
    gather->predictions[gather->count++] = prediction;
    gather->rows += job->count;
    return true;
}

struct gather_report gather_run(struct gather *gather)
{
    struct error err;
    struct gather_report report = {.rows = gather->rows, .started_ns = clock_now_ns()};
    enum status status = gather->backend->ops->run(gather->executor, gather->parts, gather->count, &err);
    report.finished_ns = clock_now_ns();
    for (size_t i = 0; i < gather->count; i++)
        prediction_set_outcome(gather->predictions[i], status, status == STATUS_OK ? NULL : &err, report.started_ns,
                               report.finished_ns);
    gather->rows = gather->count = 0;
    return report;
}

void gather_free(struct gather *gather)
{
    if (!gather)
        return;
    if (gather->executor)
        gather->backend->ops->executor_free(gather->executor);
    free(gather->parts);
    free(gather->predictions);
    free(gather);
}
