/* What engine/batcher.c, the queues, and engine/batch_workers.c, the threads, say to each other; nobody else includes this. */
#ifndef MLPD_ENGINE_BATCHER_PARTS_H
#define MLPD_ENGINE_BATCHER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/batcher.h"

/* Bytes between what different threads write: processors fetch lines of 64 in pairs. */
enum { CACHE_LINES = 128 };

struct batcher {
    _Alignas(CACHE_LINES) struct batch_workers *workers;
    const struct backend *backend;
    size_t queue_max;
    void *context;

    /* Under workers->lock, and so are the batcher's own fields of every queued job. */
    struct job *head, *tail;
    size_t queued_rows;
    int64_t waiting_since_ns; /* when rows came into the empty queue */
    size_t running;           /* batches that were taken from it, and whose jobs have not all been told */
    bool closed;
    struct batcher *next, *previous; /* among those that have rows */
};

struct worker {
    _Alignas(CACHE_LINES) struct batch_workers *workers;
    struct batcher *batcher;       /* whose batch it has */
    struct executor *executor;     /* NULL before its first batch */
    const struct backend_ops *ops; /* the executor's */
    pthread_t thread;
    bool started;
    /* A batch has at most batch_max parts, each of at least one row; `jobs` are their owners. */
    struct batch_part *parts;
    struct job **jobs;
    bool *gone;
    size_t part_count;
    size_t live_count;             /* of the parts, those that are run; the jobs of the others are gone */
    _Atomic int64_t busy_since_ns; /* 0 between batches */
};

struct batch_workers {
    /* Guards what follows, up to `closed`, and every batcher. */
    _Alignas(CACHE_LINES) pthread_mutex_t lock;
    pthread_cond_t work;          /* there are rows, or it is closed */
    struct batcher *first, *last; /* those that have rows, in the order of their turns */
    size_t queued_rows;           /* of all */
    unsigned idle;                /* workers that wait */
    bool waking; /* a worker was woken and has not come yet: it will look at what has queued until then */
    bool closed;

    /* Only read, or seldom written; the above fills a pair of lines. */
    pthread_cond_t batcher_ended; /* a batcher that was closed has nothing queued and nothing running */
    struct batch_workers_options options;
    struct worker *list;
    size_t count;
};

/* `count` blocks of `bytes` with zeros in them, aligned for the structs above; NULL if out of memory. For free. */
void *batcher_zeroed(size_t count, size_t bytes);

/* The caller of all below holds workers->lock. */

/* Puts the job at its queue's end. */
void batcher_push(struct batcher *batcher, struct job *job);

/* Takes it out. */
void batcher_unlink(struct batcher *batcher, struct job *job);

/* Drops what waits of the job. */
void batcher_drop_rest(struct batcher *batcher, struct job *job);

/* `count` rows more, or (taken) less, wait. */
void batcher_add_rows(struct batcher *batcher, size_t count);
void batcher_take_rows(struct batcher *batcher, size_t count);

/* Puts it behind the others that have rows. */
void batcher_end_turn(struct batcher *batcher);

/* Wakes an idle worker, if none is on its way already. It takes its share and wakes the next, so that many rows reach many
 * workers, and a few do not wake them all. Rows are queued. */
void batch_workers_wake_one(struct batch_workers *workers);

#endif
