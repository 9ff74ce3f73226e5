/* The queue between the threads that read requests and the threads that compute: jobs of one or many rows go in, each
 * worker takes whatever has queued while it was busy, up to the largest batch, and runs it on its own executor. There is
 * no timer: alone, a row runs at once.
 *
 * Order: a job's rows keep their places. A job of more rows than one batch is cut; what is left of it goes to the end of
 * the queue when others wait, so that a row behind a large job waits for the batch that runs, perhaps for one more, and
 * not for all of it.
 *
 * Any thread may submit. `done` is called once for each accepted job that was not withdrawn, by a worker that holds no
 * lock; from then on the batcher does not touch the job. Submitting cannot fail for want of memory: jobs are linked through
 * themselves.
 *
 *     struct job job = {.rows = x, .dtype = ROW_FLOAT32, .count = 1, .logits = l, .probabilities = p, .classes = c,
 *                       .done = ready};
 *     if (batcher_submit(batcher, &job, &err) != STATUS_OK) refuse(&err);       // done is not called
 *     ...
 *     batcher_close(batcher);    // later submissions are refused; what was accepted is still answered
 *     batcher_free(batcher);     // waits for the workers, then frees
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
    size_t worker; /* its number */
    size_t rows;
    int64_t compute_ns;
};

struct batcher_options {
    size_t workers;   /* threads, at least 1 */
    size_t queue_max; /* rows that may wait; a job that would pass it is refused */
    int64_t delay_ns; /* for which a worker waits for a batch to fill; 0: not at all */

    /* (optional) Both are called by workers that hold no lock. */
    void *context;
    /* Sets gone[i] where nobody waits for jobs[i] any more, whose rows are about to be run for the first time. */
    void (*mark_gone)(void *context, struct job *const *jobs, size_t count, bool *gone);
    void (*observe)(void *context, const struct batch_report *report);
};

struct batcher;

/* Starts the workers. The backend outlives the batcher; its batch_max bounds a batch. */
enum status batcher_create(const struct backend *backend, const struct batcher_options *options,
                           struct batcher **ret, struct error *err);

/* Queues the job. STATUS_OVERLOADED if its rows do not fit the queue, or after batcher_close. */
enum status batcher_submit(struct batcher *batcher, struct job *job, struct error *err);

/* Takes back a job that was submitted: what waits of it is dropped. True if none of its rows is being run: `done` will not be
 * called. Else it is called when they have run, or has been called. */
bool batcher_withdraw(struct batcher *batcher, struct job *job);

/* Rows that wait now; a snapshot. */
size_t batcher_queued_rows(struct batcher *batcher);

/* For how long the batch that has run for longest has been running, in nanoseconds; a snapshot. */
int64_t batcher_busy_ns(const struct batcher *batcher);

/* Refuses all further jobs. */
void batcher_close(struct batcher *batcher);

/* Closes, answers what was accepted, ends the workers. Takes NULL. */
void batcher_free(struct batcher *batcher);

#endif
