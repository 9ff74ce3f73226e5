/* The threads that compute: each takes a batch of the model whose turn it is, runs it, and tells those who wait. */
#include <stdlib.h>
#include <string.h>

#include "engine/batcher_parts.h"
#include "engine/clock.h"

/* A batch that is shared out among idle workers keeps at least this many rows: below it, a row costs more. */
enum { SHARE_ROWS_MIN = 48 };

/* ---- taking a batch; all with the lock held ---- */

/* How many rows the caller, a worker about to compute, takes now: all, but an even share where others are idle. */
static size_t share_of_queue(const struct batcher *batcher)
{
    size_t workers = batcher->workers->idle + (size_t)1;
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
    worker->parts[worker->part_count++] = (struct batch_part){
        .rows = (const char *)job->rows + job->taken * row_bytes,
        .dtype = job->dtype,
        .count = count,
        .logits = job->logits + job->taken * model->out_features,
        .probabilities = job->probabilities + job->taken * model->out_features,
        .classes = job->classes + job->taken,
    };
    job->taken += count;
    batcher_take_rows(worker->batcher, count);
}

/* Takes a batch off the queue, which has rows. */
static void take_batch(struct worker *worker, struct batcher *batcher)
{
    size_t room = share_of_queue(batcher);
    int64_t taken_ns = clock_now_ns();
    worker->batcher = batcher;
    worker->part_count = 0;
    batcher->running++;
    while (room && batcher->head) {
        struct job *job = batcher->head;
        size_t count = job->count - job->taken < room ? job->count - job->taken : room;
        batcher_unlink(batcher, job);
        if (!job->taken)
            job->started_ns = taken_ns;
        take_rows(worker, job, count);
        room -= count;
        if (job->taken < job->count)
            batcher_push(batcher, job);
    }
    batcher_end_turn(batcher);
}

/* When the queue's rows need not wait for company any more; 0: they need not at all. */
static int64_t ripe_ns(const struct batcher *batcher)
{
    bool ripe = batcher->closed || batcher->workers->closed || batcher->queued_rows >= batcher->backend->batch_max;
    return ripe ? 0 : batcher->waiting_since_ns + batcher->workers->options.delay_ns;
}

/* The first in turn whose rows may run now; else NULL, and when the next may, or 0 if there are none. */
static struct batcher *find_ripe(const struct batch_workers *workers, int64_t *ret_next_ns)
{
    *ret_next_ns = 0;
    if (!workers->options.delay_ns || !workers->first)
        return workers->first;
    int64_t now_ns = clock_now_ns();
    for (struct batcher *batcher = workers->first; batcher; batcher = batcher->next) {
        int64_t at_ns = ripe_ns(batcher);
        if (at_ns <= now_ns)
            return batcher;
        if (!*ret_next_ns || at_ns < *ret_next_ns)
            *ret_next_ns = at_ns;
    }
    return NULL;
}

void batch_workers_wake_one(struct batch_workers *workers)
{
    if (!workers->idle || workers->waking)
        return;
    workers->waking = true;
    pthread_cond_signal(&workers->work);
}

/* Waits for a queue whose turn it is. NULL when all is closed. */
static struct batcher *wait_for_rows(struct batch_workers *workers)
{
    struct batcher *batcher;
    int64_t next_ns;
    while (!(batcher = find_ripe(workers, &next_ns)) && !workers->closed) {
        const struct timespec next = {.tv_sec = next_ns / 1000000000, .tv_nsec = next_ns % 1000000000};
        workers->idle++;
        if (next_ns)
            pthread_cond_timedwait(&workers->work, &workers->lock, &next);
        else
            pthread_cond_wait(&workers->work, &workers->lock);
        workers->idle--;
        workers->waking = false;
    }
    return batcher;
}

/* ---- running it, without the lock ---- */

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
    const struct batch_workers_options *options = &worker->workers->options;
    worker->live_count = worker->part_count;
    if (!options->mark_gone)
        return;
    memset(worker->gone, 0, worker->part_count * sizeof *worker->gone);
    options->mark_gone(options->context, worker->jobs, worker->part_count, worker->gone);
    for (size_t i = worker->part_count; i-- > 0;)
        if (worker->gone[i] && worker->jobs[i]->taken == worker->parts[i].count)
            swap_parts(worker, i, --worker->live_count);
}

static size_t live_rows(const struct worker *worker)
{
    size_t rows = 0;
    for (size_t i = 0; i < worker->live_count; i++)
        rows += worker->parts[i].count;
    return rows;
}

static void free_executor(struct worker *worker)
{
    if (worker->executor)
        worker->ops->executor_free(worker->executor);
    worker->executor = NULL;
}

/* Gives the worker's executor to the backend, or makes one. */
static enum status prepare_executor(struct worker *worker, const struct backend *backend, struct error *err)
{
    if (worker->executor && worker->ops == backend->ops)
        return backend->ops->executor_move(worker->executor, backend, err);
    free_executor(worker);
    worker->ops = backend->ops;
    return backend->ops->executor_create(backend, &worker->executor, err);
}

static enum status run_batch(struct worker *worker, struct error *err)
{
    const struct backend *backend = worker->batcher->backend;
    const struct batch_workers_options *options = &worker->workers->options;
    set_gone_aside(worker);
    if (!worker->live_count)
        return STATUS_OK;
    int64_t began_ns = clock_now_ns();
    atomic_store_explicit(&worker->busy_since_ns, began_ns, memory_order_relaxed);
    enum status status = prepare_executor(worker, backend, err);
    if (status == STATUS_OK)
        status = backend->ops->run(worker->executor, worker->parts, worker->live_count, err);
    atomic_store_explicit(&worker->busy_since_ns, 0, memory_order_relaxed);
    const struct batch_report report = {.worker = (size_t)(worker - worker->workers->list),
                                        .batcher_context = worker->batcher->context,
                                        .rows = live_rows(worker),
                                        .compute_ns = clock_now_ns() - began_ns};
    if (options->observe)
        options->observe(options->context, &report);
    return status;
}

/* ---- its end ---- */

static void fail_job(struct job *job, enum status status, const struct error *err)
{
    job->status = status;
    if (job->error)
        *job->error = *err;
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
            batcher_drop_rest(worker->batcher, job);
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

/* The batch is over for all who waited for it. Called with the lock held. */
static void let_go(struct worker *worker)
{
    struct batcher *batcher = worker->batcher;
    worker->batcher = NULL;
    if (--batcher->running == 0 && batcher->closed && !batcher->head)
        pthread_cond_broadcast(&worker->workers->batcher_ended);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct batch_workers *workers = worker->workers;
    struct batcher *batcher;
    pthread_mutex_lock(&workers->lock);
    while ((batcher = wait_for_rows(workers))) {
        take_batch(worker, batcher);
        if (workers->first)
            batch_workers_wake_one(workers);
        pthread_mutex_unlock(&workers->lock);

        struct error err;
        enum status status = run_batch(worker, &err);

        pthread_mutex_lock(&workers->lock);
        struct job *whole = finish_batch(worker, status, &err);
        pthread_mutex_unlock(&workers->lock);
        announce(whole);
        pthread_mutex_lock(&workers->lock);
        let_go(worker);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

/* ---- snapshots ---- */

size_t batch_workers_queued_rows(struct batch_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    size_t rows = workers->queued_rows;
    pthread_mutex_unlock(&workers->lock);
    return rows;
}

int64_t batch_workers_busy_ns(const struct batch_workers *workers)
{
    int64_t now = clock_now_ns(), busy_ns = 0;
    for (size_t i = 0; i < workers->count; i++) {
        int64_t since_ns = atomic_load_explicit(&workers->list[i].busy_since_ns, memory_order_relaxed);
        if (since_ns && now - since_ns > busy_ns)
            busy_ns = now - since_ns;
    }
    return busy_ns;
}

/* ---- life ---- */

static void worker_free(struct worker *worker)
{
    if (worker->started)
        pthread_join(worker->thread, NULL);
    free_executor(worker);
    free(worker->parts);
    free(worker->jobs);
    free(worker->gone);
}

static enum status worker_start(struct batch_workers *workers, struct worker *worker, struct error *err)
{
    size_t batch_max = workers->options.batch_max;
    worker->workers = workers;
    worker->parts = calloc(batch_max, sizeof *worker->parts);
    worker->jobs = calloc(batch_max, sizeof *worker->jobs);
    worker->gone = calloc(batch_max, sizeof *worker->gone);
    if (!worker->parts || !worker->jobs || !worker->gone)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a worker");
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

void *batcher_zeroed(size_t count, size_t bytes)
{
    void *block = aligned_alloc(CACHE_LINES, count * bytes);
    return block ? memset(block, 0, count * bytes) : NULL;
}

enum status batch_workers_start(const struct batch_workers_options *options, struct batch_workers **ret,
                                struct error *err)
{
    struct batch_workers *workers = batcher_zeroed(1, sizeof *workers);
    if (!workers)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the workers");
    workers->options = *options;
    pthread_mutex_init(&workers->lock, NULL);
    init_signal(&workers->work);
    pthread_cond_init(&workers->batcher_ended, NULL);

    enum status status = STATUS_OK;
    workers->list = batcher_zeroed(options->workers, sizeof *workers->list);
    if (!workers->list)
        status = error_set(err, STATUS_NO_MEMORY, "no memory for %zu workers", options->workers);
    while (status == STATUS_OK && workers->count < options->workers)
        status = worker_start(workers, &workers->list[workers->count++], err);
    if (status != STATUS_OK) {
        batch_workers_free(workers);
        return status;
    }
    *ret = workers;
    return STATUS_OK;
}

void batch_workers_stop(struct batch_workers *workers)
{
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->closed = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    for (size_t i = 0; i < workers->count; i++)
        worker_free(&workers->list[i]);
    workers->count = 0;
}

void batch_workers_free(struct batch_workers *workers)
{
    if (!workers)
        return;
    batch_workers_stop(workers);
    free(workers->list);
    pthread_cond_destroy(&workers->batcher_ended);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
