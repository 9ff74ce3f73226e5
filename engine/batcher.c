#include "engine/batcher.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/batcher_parts.h"
#include "engine/clock.h"

/* ---- the jobs of one queue ---- */

void batcher_push(struct batcher *batcher, struct job *job)
{
    job->queued = true;
    job->next = NULL;
    job->previous = batcher->tail;
    *(batcher->tail ? &batcher->tail->next : &batcher->head) = job;
    batcher->tail = job;
}

void batcher_unlink(struct batcher *batcher, struct job *job)
{
    job->queued = false;
    *(job->previous ? &job->previous->next : &batcher->head) = job->next;
    *(job->next ? &job->next->previous : &batcher->tail) = job->previous;
}

void batcher_drop_rest(struct batcher *batcher, struct job *job)
{
    if (!job->queued)
        return;
    size_t rest = job->count - job->taken;
    batcher_unlink(batcher, job);
    job->count = job->taken;
    batcher_take_rows(batcher, rest);
}

/* ---- the queues that have rows, in the order of their turns ---- */

static void enter(struct batcher *batcher)
{
    struct batch_workers *workers = batcher->workers;
    batcher->next = NULL;
    batcher->previous = workers->last;
    *(workers->last ? &workers->last->next : &workers->first) = batcher;
    workers->last = batcher;
}

static void leave(struct batcher *batcher)
{
    struct batch_workers *workers = batcher->workers;
    *(batcher->previous ? &batcher->previous->next : &workers->first) = batcher->next;
    *(batcher->next ? &batcher->next->previous : &workers->last) = batcher->previous;
}

void batcher_add_rows(struct batcher *batcher, size_t count)
{
    if (!batcher->queued_rows) {
        enter(batcher);
        batcher->waiting_since_ns = batcher->workers->options.delay_ns ? clock_now_ns() : 0;
    }
    batcher->queued_rows += count;
    batcher->workers->queued_rows += count;
}

void batcher_take_rows(struct batcher *batcher, size_t count)
{
    batcher->queued_rows -= count;
    batcher->workers->queued_rows -= count;
    if (!batcher->queued_rows)
        leave(batcher);
}

void batcher_end_turn(struct batcher *batcher)
{
    if (!batcher->queued_rows)
        return;
    leave(batcher);
    enter(batcher);
}

/* ---- any thread ---- */

static enum status refuse(const struct batcher *batcher, const struct job *job, bool closed, size_t queued,
                          struct error *err)
{
    if (closed) {
        error_set(err, STATUS_OVERLOADED, "the server is shutting down");
        return error_hint(err, "send the request to another replica, or again in a moment");
    }
    error_set(err, STATUS_OVERLOADED, "the queue is full: %zu rows wait, %zu more do not fit --queue-max %zu",
              queued, job->count, batcher->queue_max);
    return error_hint(err, "send it again after the seconds that Retry-After says");
}

enum status batcher_submit(struct batcher *batcher, struct job *job, struct error *err)
{
    struct batch_workers *workers = batcher->workers;
    assert(job->count > 0);
    pthread_mutex_lock(&workers->lock);
    job->status = STATUS_OK;
    job->taken = job->finished = 0;
    job->queued = false;
    bool closed = batcher->closed || workers->closed;
    size_t queued = batcher->queued_rows;
    bool fits = !closed && job->count <= batcher->queue_max - queued;
    if (fits) {
        batcher_push(batcher, job);
        batcher_add_rows(batcher, job->count);
        batch_workers_wake_one(workers);
    }
    pthread_mutex_unlock(&workers->lock);
    return fits ? STATUS_OK : refuse(batcher, job, closed, queued, err);
}

size_t batcher_queued_rows(struct batcher *batcher)
{
    pthread_mutex_lock(&batcher->workers->lock);
    size_t rows = batcher->queued_rows;
    pthread_mutex_unlock(&batcher->workers->lock);
    return rows;
}

bool batcher_withdraw(struct batcher *batcher, struct job *job)
{
    pthread_mutex_lock(&batcher->workers->lock);
    bool over = job->queued && job->finished == job->taken;
    batcher_drop_rest(batcher, job);
    pthread_mutex_unlock(&batcher->workers->lock);
    return over;
}

/* ---- life ---- */

enum status batcher_create(struct batch_workers *workers, const struct backend *backend, size_t queue_max,
                           void *context, struct batcher **ret, struct error *err)
{
    assert(backend->batch_max <= workers->options.batch_max);
    struct batcher *batcher = batcher_zeroed(1, sizeof *batcher);
    if (!batcher)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the queue");
    *batcher = (struct batcher){.workers = workers, .backend = backend, .queue_max = queue_max, .context = context};
    *ret = batcher;
    return STATUS_OK;
}

void batcher_close(struct batcher *batcher)
{
    pthread_mutex_lock(&batcher->workers->lock);
    batcher->closed = true;
    pthread_cond_broadcast(&batcher->workers->work);
    pthread_mutex_unlock(&batcher->workers->lock);
}

void batcher_free(struct batcher *batcher)
{
    if (!batcher)
        return;
    struct batch_workers *workers = batcher->workers;
    batcher_close(batcher);
    pthread_mutex_lock(&workers->lock);
    while (batcher->head || batcher->running)
        pthread_cond_wait(&workers->batcher_ended, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
    free(batcher);
}
