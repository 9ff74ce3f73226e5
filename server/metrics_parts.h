/* What the parts of server/metrics.c say to each other; nobody else includes this.
 *
 * A shard and the sum of all shards have one layout, `struct counts`, which is counters and nothing else, so that adding
 * up is one loop. Times are kept as integers of nanoseconds: a sum stays exact for 584 years.
 */
#ifndef MLPD_SERVER_METRICS_PARTS_H
#define MLPD_SERVER_METRICS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/metrics.h"

/* The codes that are counted by themselves: all that mlpd or libmicrohttpd sends or might, and each class's first. */
#define METRICS_CODE_MAP(X)     \
    METRICS_CODE_SUCCESS_MAP(X) \
    METRICS_CODE_CLIENT_MAP(X) METRICS_CODE_CLIENT_RARE_MAP(X) METRICS_CODE_SERVER_MAP(X)
#define METRICS_CODE_SUCCESS_MAP(X)     X(200) X(204) X(206) X(300) X(304)
#define METRICS_CODE_CLIENT_MAP(X)      X(400) X(401) X(403) X(404) X(405) X(406) X(408) X(409) X(411) X(412)
#define METRICS_CODE_CLIENT_RARE_MAP(X) X(413) X(414) X(415) X(416) X(417) X(422) X(426) X(429) X(431) X(499)
#define METRICS_CODE_SERVER_MAP(X)      X(500) X(501) X(502) X(503) X(504) X(505) X(507)

#define METRICS_CODE_ENUM(code) METRICS_CODE_##code,
enum { METRICS_CODE_MAP(METRICS_CODE_ENUM) METRICS_CODES };
#undef METRICS_CODE_ENUM

enum {
    SECONDS_BOUNDS = 18,                    /* 25 us to 10 s */
    ROWS_BOUNDS = 13,                       /* 1, 2, 4 to 4096 */
    HISTOGRAM_BUCKETS = SECONDS_BOUNDS + 1, /* the last is +Inf's; one of rows leaves some unused */
    CACHE_LINES = 128,                      /* bytes: processors fetch lines of 64 in pairs */
};

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS]; /* each counts its own, not those below */
    _Atomic uint64_t sum;
};

struct endpoint_counts {
    _Atomic uint64_t answers[METRICS_CODES];
    struct histogram request_ns;
};

struct model_counts {
    _Atomic uint64_t outcomes[METRICS_OUTCOMES];
    _Atomic uint64_t rows, request_ns, decode_ns, queue_ns, compute_ns, encode_ns; /* of successes */
    _Atomic uint64_t failure_ns;
    _Atomic uint64_t batches;
    struct histogram batch_rows, batch_ns, wait_ns;
};

struct counts {
    _Atomic uint64_t events[METRICS_EVENTS];
    _Atomic uint64_t rejections[METRICS_REJECTIONS];
    struct endpoint_counts endpoints[METRICS_ENDPOINTS_MAX];
    struct model_counts models[METRICS_MODELS_MAX];
};

struct metrics_shard {
    _Alignas(CACHE_LINES) struct counts counts; /* written by the owner alone */
    struct metrics_shard *next;                 /* this and the next under metrics->lock */
    bool owned;
};

struct endpoint_name {
    const char *path;
    bool timed;
};

struct model_place {
    struct metrics_model texts; /* they lie in `storage` */
    char *storage;
    size_t uses;                   /* metrics_add_model's, less metrics_remove_model's */
    uint64_t removal;              /* which removal took the last use away, counted from 1 */
    struct model_counts before;    /* what the shards held when the place changed hands: not this model's */
    struct model_counts inherited; /* of models that have lost their places, see metrics_names.c */
};

struct metrics {
    pthread_mutex_t lock; /* guards all below */
    struct metrics_shard *shards;
    struct endpoint_name endpoints[METRICS_ENDPOINTS_MAX];
    size_t endpoint_count;
    struct model_place models[METRICS_MODELS_MAX];
    size_t model_count; /* places that were ever taken, METRICS_OTHER's among them */
    uint64_t removals;
    struct counts sums;                  /* of the scrape that holds the lock */
    uint64_t start_ms, process_start_ms; /* since 1970; the latter may be PROCESS_UNKNOWN */
};

/* The caller of all below that take metrics holds the lock. */

/* Adds up the shards into metrics->sums, each model's without what it inherited. */
void metrics_sum(struct metrics *metrics);

/* The same for one model. */
void metrics_sum_model(const struct metrics *metrics, size_t model, struct model_counts *ret);

/* What the shards hold at a model's place, whoever has had it. */
void metrics_sum_place(const struct metrics *metrics, size_t model, struct model_counts *ret);

/* Adds one part of struct counts, `bytes` of counters, to another. */
void metrics_add_counters(void *sums, const void *more, size_t bytes);

/* ---- server/metrics_text.c ---- */

struct metrics_label {
    const char *key, *value;
};

/* The labels of one series; a key that is NULL ends them. */
#define METRICS_LABELS(...) ((const struct metrics_label[]){__VA_ARGS__, {NULL, NULL}})
#define METRICS_NO_LABELS   ((const struct metrics_label[]){{NULL, NULL}})

/* "# HELP" and "# TYPE". */
void metrics_write_head(struct buffer *out, const char *name, const char *type, const char *help);

enum metrics_decimals { WHOLE = 0, MILLI = 3, NANO = 9 };

/* name{key="value",...} value / 10^decimals, exactly. */
void metrics_write_sample(struct buffer *out, const char *name, const struct metrics_label *labels, uint64_t value,
                          enum metrics_decimals decimals);

/* What a histogram's buckets mean. */
struct metrics_scale {
    const char *const *bounds; /* upper, inclusive, as they stand in label `le`; +Inf comes after them */
    size_t count;
    enum metrics_decimals decimals; /* of the sum */
};

extern const struct metrics_scale metrics_seconds, metrics_rows;

/* The buckets, sum and count of one series, whose label is key="value". */
void metrics_write_histogram(struct buffer *out, const char *name, const char *key, const char *value,
                             const struct histogram *histogram, const struct metrics_scale *scale);

/* ---- server/metrics_models.c ---- */

/* All that is published by model, out of metrics->sums. */
void metrics_write_models(const struct metrics *metrics, struct buffer *out);

#endif
