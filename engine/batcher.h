/* The queue between the threads that read requests and the threads that compute: jobs of one or many rows go in, each
 * worker takes whatever has queued while it was busy, up to the largest batch, and runs it on its own executor. There is
 * no timer: alone, a row runs at once.
 *
 * Order: a job's rows keep their places. A job of more rows than one batch is cut; what is left of it goes to the end of
 * the queue when others wait, so that a row behind a large job waits for the batch that runs, perhaps for one more, and
 * not for all of it.
 *
 * Any thread may submit. `done` is called once for each accepted job, by a worker that holds no lock; from then on the
 * batcher does not touch the job. Submitting cannot fail for want of memory: jobs are linked through themselves.
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

    /* What came of it, valid in `done` and after. */
    enum status status;
    struct error *error; /* set by the submitter or NULL: where a failure's text goes */

    /* The batcher's own, under its lock. */
    struct job *next;
    size_t taken;    /* rows handed to workers */
    size_t finished; /* rows whose answers are written */
};

struct batcher_options {
    size_t workers;   /* threads, at least 1 */
    size_t queue_max; /* rows that may wait; a job that would pass it is refused */
};

struct batcher;

/* Starts the workers. The backend outlives the batcher; its batch_max bounds a batch. */
enum status batcher_create(const struct backend *backend, const struct batcher_options *options,
                           struct batcher **ret, struct error *err);

/* Queues the job. STATUS_OVERLOADED if its rows do not fit the queue, or after batcher_close. */
enum status batcher_submit(struct batcher *batcher, struct job *job, struct error *err);

/* Rows that wait now; a snapshot. */
size_t batcher_queued_rows(struct batcher *batcher);

/* Whether nothing waits and nothing runs, and jobs are taken; a snapshot. */
bool batcher_is_idle(struct batcher *batcher);

/* Refuses all further jobs. */
void batcher_close(struct batcher *batcher);

/* Closes, answers what was accepted, ends the workers. Takes NULL. */
void batcher_free(struct batcher *batcher);

#endif
