/* What engine/batcher.c, the queues, and engine/batch_workers.c, the threads, say to each other; nobody else includes this. */
#ifndef MLPD_ENGINE_BATCHER_PARTS_H
#define MLPD_ENGINE_BATCHER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/batcher.h"

struct batcher {
    struct batch_workers *workers;
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
    struct batch_workers *workers;
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
    struct batch_workers_options options;
    struct worker *list;
    size_t count;

    pthread_mutex_t lock;         /* guards all below, and every batcher */
    pthread_cond_t work;          /* there are rows, or it is closed */
    pthread_cond_t batcher_ended; /* a batcher that was closed has nothing queued and nothing running */
    struct batcher *first, *last; /* those that have rows, in the order of their turns */
    size_t queued_rows;           /* of all */
    size_t idle;                  /* workers that wait */
    bool closed;
};

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

#endif
