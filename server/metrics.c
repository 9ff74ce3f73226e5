#include "server/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/metrics_parts.h"
#include "server/process_stats.h"

/* A series by 1, 2.5, 5: the same on every replica and in every version, so that buckets may be added up. It begins
 * below what an answer without a model takes, and ends above the longest sensible deadline. A quantile read from it is
 * off by a factor of 2.5 at worst, and by interpolation usually by much less. */
static const uint64_t seconds_bounds_ns[HISTOGRAM_BUCKETS] = {
    25000,      50000,      100000,     250000,      500000,     1000000,   2500000,
    5000000,    10000000,   25000000,   50000000,    100000000,  250000000, 500000000,
    1000000000, 2500000000, 5000000000, 10000000000, UINT64_MAX,
};

/* How many of seconds_bounds_ns are below 2^i. Bounds lie at least a factor of two apart, so that between 2^i and 2^(i+1)
 * there is at most one more, which one comparison settles. */
enum { OCTAVES = 34 }; /* all above the last have their bounds below them */
static const uint8_t bounds_below[OCTAVES] = {0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0,  1,  2,
                                              3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 16, 17};

/* ---- counting ---- */

/* The owner is the only writer: a load and a store, which no other thread can come between, and no locked instruction.
 * They are atomic so that a scrape reads whole numbers. */
static void add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

static uint64_t duration(int64_t ns)
{
    return ns > 0 ? (uint64_t)ns : 0;
}

/* The highest bit that is set; value > 0. */
static unsigned highest_bit(uint64_t value)
{
    return 63U - (unsigned)__builtin_clzll(value);
}

static void observe_ns(struct histogram *histogram, uint64_t ns)
{
    unsigned octave = highest_bit(ns | 1);
    size_t bucket = bounds_below[octave < OCTAVES ? octave : OCTAVES - 1];
    bucket += ns > seconds_bounds_ns[bucket];
    add(&histogram->buckets[bucket], 1);
    add(&histogram->sum, ns);
}

static void observe_rows(struct histogram *histogram, size_t rows)
{
    size_t bucket = rows > 1 ? highest_bit(rows - 1) + 1 : 0;
    add(&histogram->buckets[bucket < ROWS_BOUNDS ? bucket : ROWS_BOUNDS], 1);
    add(&histogram->sum, rows);
}

/* The place of a code, less 1; 0: it has none of its own. */
#define METRICS_CODE_SLOT(code) [code] = METRICS_CODE_##code + 1,
static const uint8_t code_slots[600] = {METRICS_CODE_MAP(METRICS_CODE_SLOT)};
#undef METRICS_CODE_SLOT

static size_t code_index(unsigned code)
{
    if (code < 200 || code >= sizeof code_slots)
        return METRICS_CODE_500; /* no final answer has such a code */
    size_t slot = code_slots[code];
    return (slot ? slot : code_slots[code / 100 * 100]) - 1;
}

void metrics_count_event(struct metrics_shard *shard, enum metrics_event event)
{
    add(&shard->counts.events[event], 1);
}

void metrics_count_rejected(struct metrics_shard *shard, enum metrics_rejection reason)
{
    add(&shard->counts.rejections[reason], 1);
}

void metrics_count_answer(struct metrics_shard *shard, size_t endpoint, unsigned code, int64_t request_ns)
{
    assert(endpoint < METRICS_ENDPOINTS_MAX);
    struct endpoint_counts *counts = &shard->counts.endpoints[endpoint];
    add(&counts->answers[code_index(code)], 1);
    observe_ns(&counts->request_ns, duration(request_ns));
}

void metrics_count_wait(struct metrics_shard *shard, size_t model, int64_t queue_ns)
{
    assert(model < METRICS_MODELS_MAX);
    observe_ns(&shard->counts.models[model].wait_ns, duration(queue_ns));
}

void metrics_count_batch(struct metrics_shard *shard, size_t model, size_t rows, int64_t compute_ns)
{
    assert(model < METRICS_MODELS_MAX);
    struct model_counts *counts = &shard->counts.models[model];
    add(&counts->batches, 1);
    observe_rows(&counts->batch_rows, rows);
    observe_ns(&counts->batch_ns, duration(compute_ns));
}

void metrics_count_inference(struct metrics_shard *shard, size_t model, const struct metrics_inference *inference)
{
    assert(model < METRICS_MODELS_MAX);
    struct model_counts *counts = &shard->counts.models[model];
    add(&counts->outcomes[inference->outcome], 1);
    if (inference->outcome != METRICS_SUCCESS) {
        add(&counts->failure_ns, duration(inference->request_ns));
        return;
    }
    add(&counts->rows, inference->rows);
    add(&counts->request_ns, duration(inference->request_ns));
    add(&counts->decode_ns, duration(inference->decode_ns));
    add(&counts->queue_ns, duration(inference->queue_ns));
    add(&counts->compute_ns, duration(inference->compute_ns));
    add(&counts->encode_ns, duration(inference->encode_ns));
}

/* ---- adding up ---- */

void metrics_add_counters(void *sums, const void *more, size_t bytes)
{
    _Atomic uint64_t *to = sums;
    const _Atomic uint64_t *from = more;
    for (size_t i = 0; i < bytes / sizeof *to; i++)
        add(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void subtract_all(void *sums, const void *less, size_t bytes)
{
    _Atomic uint64_t *to = sums;
    const _Atomic uint64_t *from = less;
    for (size_t i = 0; i < bytes / sizeof *to; i++)
        add(&to[i], -atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void set_to_zero(void *counters, size_t bytes)
{
    _Atomic uint64_t *to = counters;
    for (size_t i = 0; i < bytes / sizeof *to; i++)
        atomic_store_explicit(&to[i], 0, memory_order_relaxed);
}

void metrics_sum_place(const struct metrics *metrics, size_t model, struct model_counts *ret)
{
    set_to_zero(ret, sizeof *ret);
    for (const struct metrics_shard *shard = metrics->shards; shard; shard = shard->next)
        metrics_add_counters(ret, &shard->counts.models[model], sizeof *ret);
}

void metrics_sum_model(const struct metrics *metrics, size_t model, struct model_counts *ret)
{
    metrics_sum_place(metrics, model, ret);
    subtract_all(ret, &metrics->models[model].before, sizeof *ret);
}

static void sum_endpoint(const struct metrics *metrics, size_t endpoint, struct endpoint_counts *ret)
{
    set_to_zero(ret, sizeof *ret);
    for (const struct metrics_shard *shard = metrics->shards; shard; shard = shard->next)
        metrics_add_counters(ret, &shard->counts.endpoints[endpoint], sizeof *ret);
}

void metrics_sum(struct metrics *metrics)
{
    struct counts *sums = &metrics->sums;
    for (size_t i = 0; i < metrics->endpoint_count; i++)
        sum_endpoint(metrics, i, &sums->endpoints[i]);
    for (size_t i = 0; i < metrics->model_count; i++)
        metrics_sum_model(metrics, i, &sums->models[i]);
    set_to_zero(sums->events, sizeof sums->events);
    set_to_zero(sums->rejections, sizeof sums->rejections);
    for (const struct metrics_shard *shard = metrics->shards; shard; shard = shard->next) {
        metrics_add_counters(sums->events, shard->counts.events, sizeof sums->events);
        metrics_add_counters(sums->rejections, shard->counts.rejections, sizeof sums->rejections);
    }
}

void metrics_read_model(struct metrics *metrics, size_t model, struct metrics_model_totals *ret)
{
    struct model_counts sums;
    pthread_mutex_lock(&metrics->lock);
    metrics_sum_model(metrics, model, &sums);
    pthread_mutex_unlock(&metrics->lock);
    *ret = (struct metrics_model_totals){
        .successes = sums.outcomes[METRICS_SUCCESS],
        .rows = sums.rows,
        .request_ns = sums.request_ns,
        .decode_ns = sums.decode_ns,
        .queue_ns = sums.queue_ns,
        .compute_ns = sums.compute_ns,
        .encode_ns = sums.encode_ns,
        .failure_ns = sums.failure_ns,
        .batches = sums.batches,
        .rows_computed = sums.batch_rows.sum,
    };
    for (size_t i = METRICS_SUCCESS + 1; i < METRICS_OUTCOMES; i++)
        ret->failures += sums.outcomes[i];
}

/* ---- life ---- */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

enum status metrics_create(struct metrics **ret, struct error *err)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the metrics");
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->endpoints[METRICS_OTHER] = (struct endpoint_name){"other", false};
    metrics->endpoint_count = 1;
    metrics->models[METRICS_OTHER].texts = (struct metrics_model){"other", "", "", ""};
    metrics->model_count = 1;
    metrics->start_ms = now_ms();
    metrics->process_start_ms = process_start_ms(PROCESS_SELF);
    *ret = metrics;
    return STATUS_OK;
}

/* ---- shards ---- */

static struct metrics_shard *new_shard(struct metrics *metrics)
{
    struct metrics_shard *shard = aligned_alloc(_Alignof(struct metrics_shard), sizeof *shard);
    if (!shard)
        return NULL;
    memset(shard, 0, sizeof *shard);
    shard->next = metrics->shards;
    metrics->shards = shard;
    return shard;
}

struct metrics_shard *metrics_shard_create(struct metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    struct metrics_shard *shard = metrics->shards;
    while (shard && shard->owned)
        shard = shard->next;
    if (!shard)
        shard = new_shard(metrics);
    if (shard)
        shard->owned = true;
    pthread_mutex_unlock(&metrics->lock);
    return shard;
}

void metrics_shard_release(struct metrics *metrics, struct metrics_shard *shard)
{
    if (!shard)
        return;
    pthread_mutex_lock(&metrics->lock);
    shard->owned = false;
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    while (metrics->shards) {
        struct metrics_shard *shard = metrics->shards;
        metrics->shards = shard->next;
        free(shard);
    }
    for (size_t i = 0; i < METRICS_MODELS_MAX; i++)
        free(metrics->models[i].storage);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}
