#include "engine/batcher.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"

/* A batch that is shared out among idle workers keeps at least this many rows: below it, a row costs more. */
enum { SHARE_ROWS_MIN = 48 };

/* Bytes between what different threads write: processors fetch lines of 64 in pairs. */
enum { CACHE_LINES = 128 };

struct worker {
    _Alignas(CACHE_LINES) struct batcher *batcher;
    struct executor *executor;
    pthread_t thread;
    bool started;
    /* A batch has at most batch_max parts, each of at least one row; `jobs` are their owners. */
    struct batch_part *parts;
    struct job **jobs;
    bool *gone, *begins; /* by part: nobody waits for its job; the part is its job's first */
    size_t part_count;
    size_t live_count;             /* of the parts, those that are run; the jobs of the others are gone */
    _Atomic int64_t busy_since_ns; /* 0 between batches */
};

struct batcher {
    /* Guards what follows, up to `closed`, and the batcher's own fields of every queued job. */
    _Alignas(CACHE_LINES) pthread_mutex_t lock;
    pthread_cond_t work; /* there are rows, or it is closed */
    struct job *head, *tail;
    size_t queued_rows;
    unsigned idle_workers;    /* that wait for rows */
    unsigned waiting_workers; /* that wait for more rows */
    bool waking;              /* a worker was woken and has not come yet: it will take what has queued until then */
    bool closed;

    /* Only read; the above fills a pair of lines. */
    const struct backend *backend;
    struct batcher_options options;
    struct worker *workers;
    size_t worker_count;
};

static void push_tail(struct batcher *batcher, struct job *job)
{
    job->queued = true;
    job->next = NULL;
    job->previous = batcher->tail;
    *(batcher->tail ? &batcher->tail->next : &batcher->head) = job;
    batcher->tail = job;
}

static void unlink_job(struct batcher *batcher, struct job *job)
{
    job->queued = false;
    *(job->previous ? &job->previous->next : &batcher->head) = job->next;
    *(job->next ? &job->next->previous : &batcher->tail) = job->previous;
}

static struct job *pop_head(struct batcher *batcher)
{
    struct job *job = batcher->head;
    unlink_job(batcher, job);
    return job;
}

/* Drops what waits of the job. */
static void drop_rest(struct batcher *batcher, struct job *job)
{
    if (!job->queued)
        return;
    unlink_job(batcher, job);
    batcher->queued_rows -= job->count - job->taken;
    job->count = job->taken;
}

/* How many rows the caller, a worker about to compute, takes now: all, but an even share where others are idle. */
static size_t share_of_queue(const struct batcher *batcher)
{
    size_t workers = batcher->idle_workers + 1;
    size_t share = (batcher->queued_rows + workers - 1) / workers;
    if (share < SHARE_ROWS_MIN)
        share = SHARE_ROWS_MIN;
    return share < batcher->backend->batch_max ? share : batcher->backend->batch_max;
}

static void take_rows(struct worker *worker, struct job *job, size_t count)
{
    const struct model *model = worker->batcher->backend->model;
    size_t row_bytes = backend_row_bytes(model, job->dtype);
    worker->jobs[worker->part_count] = job;
    worker->begins[worker->part_count] = job->taken == 0;
    worker->parts[worker->part_count++] = (struct batch_part){
        .rows = (const char *)job->rows + job->taken * row_bytes,
        .dtype = job->dtype,
        .count = count,
        .logits = job->logits + job->taken * model->out_features,
        .probabilities = job->probabilities + job->taken * model->out_features,
        .classes = job->classes + job->taken,
    };
    job->taken += count;
    worker->batcher->queued_rows -= count;
}

/* Takes a batch off the queue. Called with the lock held and rows queued. */
static void take_batch(struct worker *worker)
{
    struct batcher *batcher = worker->batcher;
    size_t room = share_of_queue(batcher);
    int64_t taken_ns = clock_now_ns();
    worker->part_count = 0;
    while (room && batcher->head) {
        struct job *job = pop_head(batcher);
        size_t count = job->count - job->taken < room ? job->count - job->taken : room;
        if (!job->taken)
            job->started_ns = taken_ns;
        take_rows(worker, job, count);
        room -= count;
        if (job->taken < job->count)
            push_tail(batcher, job);
    }
}

static void fail_job(struct job *job, enum status status, const struct error *err)
{
    job->status = status;
    if (job->error)
        *job->error = *err;
}

static void swap_parts(struct worker *worker, size_t a, size_t b)
{
    struct batch_part part = worker->parts[a];
    struct job *job = worker->jobs[a];
    worker->parts[a] = worker->parts[b];
    worker->jobs[a] = worker->jobs[b];
    worker->parts[b] = part;
    worker->jobs[b] = job;
}

/* Puts the parts behind the others whose jobs nobody waits for. A job that has begun is carried through. */
static void set_gone_aside(struct worker *worker)
{
    const struct batcher_options *options = &worker->batcher->options;
    worker->live_count = worker->part_count;
    if (!options->mark_gone)
        return;
    memset(worker->gone, 0, worker->part_count * sizeof *worker->gone);
    options->mark_gone(options->context, worker->jobs, worker->part_count, worker->gone);
    for (size_t i = worker->part_count; i-- > 0;)
        if (worker->gone[i] && worker->begins[i])
            swap_parts(worker, i, --worker->live_count);
}

/* Books the batch's outcome and returns the jobs that are whole now, linked. Called with the lock held. */
static struct job *finish_batch(struct worker *worker, enum status status, const struct error *err)
{
    struct job *whole = NULL;
    int64_t finished_ns = clock_now_ns();
    for (size_t i = worker->part_count; i-- > 0;) {
        struct job *job = worker->jobs[i];
        if (i >= worker->live_count) {
            job->status = STATUS_CANCELLED;
            drop_rest(worker->batcher, job);
        } else if (status != STATUS_OK) {
            fail_job(job, status, err);
        }
        job->finished += worker->parts[i].count;
        if (job->finished == job->count) {
            job->finished_ns = finished_ns;
            job->next = whole;
            whole = job;
        }
    }
    return whole;
}

static void announce(struct job *whole)
{
    while (whole) {
        struct job *job = whole;
        whole = job->next;
        job->done(job);
    }
}

/* Wakes an idle worker, if none is on its way already. It takes its share and wakes the next, so that many rows reach many
 * workers, and a few do not wake them all. Called with the lock held and rows queued. */
static void wake_one(struct batcher *batcher)
{
    if (!batcher->idle_workers || batcher->waking)
        return;
    batcher->waking = true;
    pthread_cond_signal(&batcher->work);
}

/* Waits for rows. False when the batcher is closed and nothing is left. Called, and returns, with the lock held. */
static bool wait_for_rows(struct batcher *batcher)
{
    while (!batcher->head && !batcher->closed) {
        batcher->idle_workers++;
        pthread_cond_wait(&batcher->work, &batcher->lock);
        batcher->idle_workers--;
        batcher->waking = false;
    }
    return batcher->head != NULL;
}

/* Waits, if that is asked for, until a batch is full or the delay is over. Called, and returns, with the lock held. */
static void wait_for_company(struct batcher *batcher)
{
    if (!batcher->options.delay_ns)
        return;
    int64_t end_ns = clock_now_ns() + batcher->options.delay_ns;
    const struct timespec end = {.tv_sec = end_ns / 1000000000, .tv_nsec = end_ns % 1000000000};
    int code = 0;
    batcher->waiting_workers++;
    while (code == 0 && !batcher->closed && batcher->queued_rows < batcher->backend->batch_max) {
        code = pthread_cond_timedwait(&batcher->work, &batcher->lock, &end);
        batcher->waking = false; /* the signal may have been for an idle one, which has not got it */
    }
    batcher->waiting_workers--;
}

static size_t live_rows(const struct worker *worker)
{
    size_t rows = 0;
    for (size_t i = 0; i < worker->live_count; i++)
        rows += worker->parts[i].count;
    return rows;
}

/* Runs what was taken, without the lock. */
static enum status run_batch(struct worker *worker, struct error *err)
{
    const struct batcher *batcher = worker->batcher;
    const struct batcher_options *options = &batcher->options;
    set_gone_aside(worker);
    if (!worker->live_count)
        return STATUS_OK;
    int64_t began_ns = clock_now_ns();
    atomic_store_explicit(&worker->busy_since_ns, began_ns, memory_order_relaxed);
    enum status status = batcher->backend->ops->run(worker->executor, worker->parts, worker->live_count, err);
    atomic_store_explicit(&worker->busy_since_ns, 0, memory_order_relaxed);
    const struct batch_report report = {.worker = (size_t)(worker - batcher->workers),
                                        .rows = live_rows(worker),
                                        .compute_ns = clock_now_ns() - began_ns};
    if (options->observe)
        options->observe(options->context, &report);
    return status;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct batcher *batcher = worker->batcher;
    pthread_mutex_lock(&batcher->lock);
    while (wait_for_rows(batcher)) {
        wait_for_company(batcher);
        if (!batcher->head)
            continue; /* another worker was faster, or it was withdrawn */
        take_batch(worker);
        if (batcher->head)
            wake_one(batcher);
        pthread_mutex_unlock(&batcher->lock);

        struct error err;
        enum status status = run_batch(worker, &err);

        pthread_mutex_lock(&batcher->lock);
        struct job *whole = finish_batch(worker, status, &err);
        pthread_mutex_unlock(&batcher->lock);
        announce(whole);
        pthread_mutex_lock(&batcher->lock);
    }
    pthread_mutex_unlock(&batcher->lock);
    return NULL;
}

enum status batcher_submit(struct batcher *batcher, struct job *job, struct error *err)
{
    assert(job->count > 0);
    pthread_mutex_lock(&batcher->lock);
    job->status = STATUS_OK;
    job->taken = job->finished = 0;
    job->queued = false;
    bool closed = batcher->closed;
    size_t queued = batcher->queued_rows;
    bool fits = !closed && job->count <= batcher->options.queue_max - queued;
    if (fits) {
        push_tail(batcher, job);
        batcher->queued_rows += job->count;
        if (batcher->waiting_workers)
            pthread_cond_broadcast(&batcher->work); /* an idle one must not take the signal of one that waits */
        else
            wake_one(batcher);
    }
    pthread_mutex_unlock(&batcher->lock);

    if (fits)
        return STATUS_OK;
    if (closed) {
        error_set(err, STATUS_OVERLOADED, "the server is shutting down");
        return error_hint(err, "send the request to another replica, or again in a moment");
    }
    error_set(err, STATUS_OVERLOADED, "the queue is full: %zu rows wait, %zu more do not fit --queue-max %zu",
              queued, job->count, batcher->options.queue_max);
    return error_hint(err, "send it again after the seconds that Retry-After says");
}

size_t batcher_queued_rows(struct batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    size_t rows = batcher->queued_rows;
    pthread_mutex_unlock(&batcher->lock);
    return rows;
}

bool batcher_withdraw(struct batcher *batcher, struct job *job)
{
    pthread_mutex_lock(&batcher->lock);
    bool over = job->queued && job->finished == job->taken;
    drop_rest(batcher, job);
    pthread_mutex_unlock(&batcher->lock);
    return over;
}

int64_t batcher_busy_ns(const struct batcher *batcher)
{
    int64_t now = clock_now_ns(), busy_ns = 0;
    for (size_t i = 0; i < batcher->worker_count; i++) {
        int64_t since_ns = atomic_load_explicit(&batcher->workers[i].busy_since_ns, memory_order_relaxed);
        if (since_ns && now - since_ns > busy_ns)
            busy_ns = now - since_ns;
    }
    return busy_ns;
}

void batcher_close(struct batcher *batcher)
{
    pthread_mutex_lock(&batcher->lock);
    batcher->closed = true;
    pthread_cond_broadcast(&batcher->work);
    pthread_mutex_unlock(&batcher->lock);
}

static void worker_free(struct worker *worker)
{
    if (worker->started)
        pthread_join(worker->thread, NULL);
    if (worker->executor)
        worker->batcher->backend->ops->executor_free(worker->executor);
    free(worker->parts);
    free(worker->jobs);
    free(worker->gone);
    free(worker->begins);
}

static enum status worker_start(struct batcher *batcher, struct worker *worker, struct error *err)
{
    size_t batch_max = batcher->backend->batch_max;
    worker->batcher = batcher;
    worker->parts = calloc(batch_max, sizeof *worker->parts);
    worker->jobs = calloc(batch_max, sizeof *worker->jobs);
    worker->gone = calloc(batch_max, sizeof *worker->gone);
    worker->begins = calloc(batch_max, sizeof *worker->begins);
    if (!worker->parts || !worker->jobs || !worker->gone || !worker->begins)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a worker");
    enum status status = batcher->backend->ops->executor_create(batcher->backend, &worker->executor, err);
    if (status != STATUS_OK)
        return status;
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
        error_set(err, STATUS_IO, "a worker thread could not be started");
        return error_hint(err, "choose fewer --workers, or raise the limit on processes (ulimit -u)");
    }
    worker->started = true;
    return STATUS_OK;
}

/* A condition whose waits end by CLOCK_MONOTONIC. */
static void init_signal(pthread_cond_t *signal)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(signal, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* What calloc gives, aligned for the structs above. */
static void *zeroed(size_t count, size_t bytes)
{
    void *block = aligned_alloc(CACHE_LINES, count * bytes);
    return block ? memset(block, 0, count * bytes) : NULL;
}

enum status batcher_create(const struct backend *backend, const struct batcher_options *options,
                           struct batcher **ret, struct error *err)
{
    struct batcher *batcher = zeroed(1, sizeof *batcher);
    if (!batcher)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the queue");
    batcher->backend = backend;
    batcher->options = *options;
    pthread_mutex_init(&batcher->lock, NULL);
    init_signal(&batcher->work);

    enum status status = STATUS_OK;
    batcher->workers = zeroed(options->workers, sizeof *batcher->workers);
    if (!batcher->workers)
        status = error_set(err, STATUS_NO_MEMORY, "no memory for %zu workers", options->workers);
    while (status == STATUS_OK && batcher->worker_count < options->workers)
        status = worker_start(batcher, &batcher->workers[batcher->worker_count++], err);
    if (status != STATUS_OK) {
        batcher_free(batcher);
        return status;
    }
    *ret = batcher;
    return STATUS_OK;
}

void batcher_free(struct batcher *batcher)
{
    if (!batcher)
        return;
    batcher_close(batcher);
    for (size_t i = 0; i < batcher->worker_count; i++)
        worker_free(&batcher->workers[i]);
    free(batcher->workers);
    pthread_cond_destroy(&batcher->work);
    pthread_mutex_destroy(&batcher->lock);
    free(batcher);
}
