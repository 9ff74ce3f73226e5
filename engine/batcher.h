/* The queues between the threads that read requests and the threads that compute. Each model has a batcher, a queue of
 * its own with a limit of its own; all models share the workers. Jobs of one or many rows go in; a worker that is free
 * takes whatever one model has queued meanwhile, up to its largest batch, and runs it on its own executor. There is no
 * timer: alone, a row runs at once.
 *
 * Order: a job's rows keep their places. A job of more rows than one batch is cut; what is left of it goes to the end of
 * the queue when others wait, so that a row behind a large job waits for the batch that runs, perhaps for one more, and
 * not for all of it. Models take turns, a batch each, however much one of them has queued.
 *
 * Any thread may submit. `done` is called once for each accepted job that was not withdrawn, by a worker that holds no
 * lock; from then on the batcher does not touch the job. Submitting cannot fail for want of memory: jobs are linked through
 * themselves.
 *
 *     struct batch_workers *workers;
 *     struct batcher *batcher;
 *     if (batch_workers_start(&options, &workers, &err) != STATUS_OK) ...
 *     if (batcher_create(workers, backend, 4096, NULL, &batcher, &err) != STATUS_OK) ...
 *     struct job job = {.rows = x, .dtype = ROW_FLOAT32, .count = 1, .logits = l, .probabilities = p, .classes = c,
 *                       .done = ready};
 *     if (batcher_submit(batcher, &job, &err) != STATUS_OK) refuse(&err);       // done is not called
 *     ...
 *     batcher_close(batcher);          // later submissions are refused; what was accepted is still answered
 *     batcher_free(batcher);           // waits until it has been
 *     batch_workers_free(workers);
 */
#ifndef MLPD_ENGINE_BATCHER_H
#define MLPD_ENGINE_BATCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/status.h"

struct job {
    /* Set by the submitter, who keeps the memory until `done`; see struct batch_part. */
    const void *rows;
    enum row_dtype dtype;
    size_t count; /* > 0 */
    float *logits, *probabilities;
    uint32_t *classes;
    void (*done)(struct job *job);

    /* What came of it, valid in `done` and after. Times are nanoseconds of CLOCK_MONOTONIC. */
    enum status status;  /* STATUS_CANCELLED if nobody waited for it any more */
    struct error *error; /* set by the submitter or NULL: where a failure's text goes */
    int64_t started_ns;  /* when its first rows were taken */
    int64_t finished_ns; /* when its last rows were done */

    /* The batcher's own, under its lock. */
    struct job *next, *previous;
    bool queued;     /* rows of it wait */
    size_t taken;    /* rows handed to workers */
    size_t finished; /* rows whose answers are written */
};

/* What a worker has just run. */
struct batch_report {
    size_t worker;         /* its number */
    void *batcher_context; /* whose rows they were */
    size_t rows;
    int64_t compute_ns;
};

struct batch_workers_options {
    size_t workers;   /* threads, at least 1 */
    size_t batch_max; /* rows: the most that any model's backend has */
    int64_t delay_ns; /* for which rows wait for their batch to fill; 0: not at all */

    /* (optional) Both are called by workers that hold no lock. */
    void *context;
    /* Sets gone[i] where nobody waits for jobs[i] any more, whose rows are about to be run for the first time. */
    void (*mark_gone)(void *context, struct job *const *jobs, size_t count, bool *gone);
    void (*observe)(void *context, const struct batch_report *report);
};

struct batch_workers;
struct batcher;

/* Starts the threads. A worker's executor is made when it first has a batch, and serves all models. */
enum status batch_workers_start(const struct batch_workers_options *options, struct batch_workers **ret,
                                struct error *err);

/* Rows that wait now, of all models; a snapshot. */
size_t batch_workers_queued_rows(struct batch_workers *workers);

/* For how long the batch that has run for longest has been running, in nanoseconds; a snapshot. */
int64_t batch_workers_busy_ns(const struct batch_workers *workers);

/* Answers what was accepted and ends the threads; what is submitted from now on is refused. Takes NULL. */
void batch_workers_stop(struct batch_workers *workers);

/* Stops, and frees. All batchers were freed before. Takes NULL. */
void batch_workers_free(struct batch_workers *workers);

/* A queue of at most `queue_max` rows for this backend, which outlives it. `context` is for the reports. */
enum status batcher_create(struct batch_workers *workers, const struct backend *backend, size_t queue_max,
                           void *context, struct batcher **ret, struct error *err);

/* Queues the job. STATUS_OVERLOADED if its rows do not fit the queue, or after batcher_close. */
enum status batcher_submit(struct batcher *batcher, struct job *job, struct error *err);

/* Takes back a job that was submitted: what waits of it is dropped. True if none of its rows is being run: `done` will not be
 * called. Else it is called when they have run, or has been called. */
bool batcher_withdraw(struct batcher *batcher, struct job *job);

/* Rows that wait now; a snapshot. */
size_t batcher_queued_rows(struct batcher *batcher);

/* Refuses all further jobs. */
void batcher_close(struct batcher *batcher);

/* Closes, waits until what was accepted is answered, frees. Not by a worker. Takes NULL. */
void batcher_free(struct batcher *batcher);

#endif
