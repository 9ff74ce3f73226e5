/* What is counted arrives in the sums, whoever counts it and whoever reads meanwhile. */
#include "server/metrics.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/server/exposition.h"

/* The buckets as the daemon's documents name them, and what the format calls them. */
static const struct {
    int64_t ns;
    const char *le;
} bounds[] = {
    {25000, "2.5e-05"},  {50000, "5e-05"},    {100000, "0.0001"},  {250000, "0.00025"}, {500000, "0.0005"},
    {1000000, "0.001"},  {2500000, "0.0025"}, {5000000, "0.005"},  {10000000, "0.01"},  {25000000, "0.025"},
    {50000000, "0.05"},  {100000000, "0.1"},  {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},
    {2500000000, "2.5"}, {5000000000, "5"},   {10000000000, "10"},
};
enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

static const struct metrics_model shipped = {"fashion-mnist", "1", "cpu", "avx2"};

START_TEST(metrics_counts_answers_by_endpoint_and_code)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t predict = metrics_add_endpoint(metrics, "/predict", true);
    size_t health = metrics_add_endpoint(metrics, "/healthz", false);
    for (int i = 0; i < 3; i++)
        metrics_count_answer(shard, predict, 200, 1000);
    metrics_count_answer(shard, predict, 400, 1000);
    metrics_count_answer(shard, health, 200, 1000);
    metrics_count_answer(shard, METRICS_OTHER, 404, 1000);
    char *text = exposition_text(metrics);
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/predict\",code=\"200\"}", "3");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/predict\",code=\"400\"}", "1");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/healthz\",code=\"200\"}", "1");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"other\",code=\"404\"}", "1");
    exposition_assert(text, "mlpd_request_seconds_count{endpoint=\"/predict\"}", "4");
    ck_assert_ptr_null(strstr(text, "endpoint=\"/healthz\",le=")); /* not timed */
    ck_assert_ptr_null(strstr(text, "code=\"404\"} 0"));           /* what has not occurred is no series */
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_counts_a_code_without_a_place_as_its_class_does)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t endpoint = metrics_add_endpoint(metrics, "/", false);
    static const unsigned codes[] = {226, 299, 307, 451, 499, 418, 511, 599, 0, 100, 199, 600, 4000000000U};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        metrics_count_answer(shard, endpoint, codes[i], 0);
    char *text = exposition_text(metrics);
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/\",code=\"200\"}", "2");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/\",code=\"300\"}", "1");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/\",code=\"400\"}", "2");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/\",code=\"499\"}", "1");
    exposition_assert(text, "mlpd_requests_total{endpoint=\"/\",code=\"500\"}", "7");
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_counts_every_code_that_mlpd_sends_by_itself)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    static const unsigned codes[] = {200, 204, 304, 400, 404, 405, 408, 411, 413, 414, 415,
                                     417, 422, 429, 431, 499, 500, 501, 503, 504, 505};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        metrics_count_answer(shard, METRICS_OTHER, codes[i], 0);
    char *text = exposition_text(metrics);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char series[64];
        snprintf(series, sizeof series, "mlpd_requests_total{endpoint=\"other\",code=\"%u\"}", codes[i]);
        exposition_assert(text, series, "1");
    }
    free(text);
    metrics_free(metrics);
}
END_TEST

/* Compares a histogram of seconds with times that were counted, bucket by bucket. */
static void assert_buckets(const char *text, const char *name, const char *label, const int64_t *times,
                           size_t count)
{
    char series[128];
    for (size_t i = 0; i <= BOUNDS; i++) {
        unsigned long long expected = 0;
        for (size_t t = 0; t < count; t++)
            expected += i == BOUNDS || times[t] <= bounds[i].ns;
        snprintf(series, sizeof series, "%s_bucket{%s,le=\"%s\"}", name, label, i < BOUNDS ? bounds[i].le : "+Inf");
        ck_assert_msg(exposition_value(text, series) == expected, "%s is %llu, not %llu", series,
                      exposition_value(text, series), expected);
    }
    snprintf(series, sizeof series, "%s_count{%s}", name, label);
    ck_assert_uint_eq(exposition_value(text, series), count);
}

START_TEST(metrics_puts_a_time_into_the_bucket_whose_bound_it_does_not_pass)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t predict = metrics_add_endpoint(metrics, "/predict", true);
    size_t model = metrics_add_model(metrics, &shipped);
    int64_t times[3 * BOUNDS + 64];
    size_t count = 0;
    for (size_t i = 0; i < BOUNDS; i++)
        for (int64_t beside = -1; beside <= 1; beside++)
            times[count++] = bounds[i].ns + beside;
    for (unsigned octave = 0; octave < 63; octave++)
        times[count++] = (int64_t)1 << octave;
    times[count++] = 0;
    for (size_t i = 0; i < count; i++) {
        metrics_count_answer(shard, predict, 200, times[i]);
        metrics_count_wait(shard, model, times[i]);
        metrics_count_batch(shard, model, 1, times[i]);
    }
    char *text = exposition_text(metrics);
    assert_buckets(text, "mlpd_request_seconds", "endpoint=\"/predict\"", times, count);
    assert_buckets(text, "mlpd_queue_seconds", "model=\"fashion-mnist\"", times, count);
    assert_buckets(text, "mlpd_compute_seconds", "model=\"fashion-mnist\"", times, count);
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_adds_times_up_to_the_nanosecond)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t predict = metrics_add_endpoint(metrics, "/predict", true);
    static const char sum[] = "mlpd_request_seconds_sum{endpoint=\"/predict\"}";
    static const struct {
        int64_t ns;
        const char *sum;
    } steps[] = {
        {0, "0"},
        {1, "0.000000001"},
        {99, "0.0000001"},
        {-5, "0.0000001"}, /* a clock that went back */
        {INT64_MIN, "0.0000001"},
        {999999900, "1"},
        {1500000000, "2.5"},
        {9000000000000000000, "9000000002.5"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        metrics_count_answer(shard, predict, 200, steps[i].ns);
        char *text = exposition_text(metrics);
        exposition_assert(text, sum, steps[i].sum);
        free(text);
    }
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_puts_batches_into_buckets_by_their_rows)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t model = metrics_add_model(metrics, &shipped);
    enum { ROWS = 5000 };
    for (size_t rows = 1; rows <= ROWS; rows++)
        metrics_count_batch(shard, model, rows, 1000);
    char *text = exposition_text(metrics);
    for (unsigned bound = 1; bound <= 4096; bound *= 2) {
        char series[96];
        snprintf(series, sizeof series, "mlpd_batch_rows_bucket{model=\"fashion-mnist\",le=\"%u\"}", bound);
        ck_assert_uint_eq(exposition_value(text, series), bound);
    }
    exposition_assert(text, "mlpd_batch_rows_bucket{model=\"fashion-mnist\",le=\"+Inf\"}", "5000");
    exposition_assert(text, "mlpd_batch_rows_count{model=\"fashion-mnist\"}", "5000");
    exposition_assert(text, "mlpd_batch_rows_sum{model=\"fashion-mnist\"}", "12502500");
    exposition_assert(text, "mlpd_batches_total{model=\"fashion-mnist\",device=\"cpu\"}", "5000");
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_publishes_every_reason_and_event_from_the_start)
{
    static const char *const series[] = {
        "mlpd_rejected_total{reason=\"queue_full\"}",
        "mlpd_rejected_total{reason=\"memory\"}",
        "mlpd_rejected_total{reason=\"draining\"}",
        "mlpd_rejected_total{reason=\"connections\"}",
        "mlpd_received_total",
        "mlpd_lost_total",
        "mlpd_expired_total",
        "mlpd_cancelled_total",
        "mlpd_log_lines_lost_total",
    };
    struct metrics *metrics = exposition_metrics();
    char *text = exposition_text(metrics);
    for (size_t i = 0; i < sizeof series / sizeof series[0]; i++)
        exposition_assert(text, series[i], "0");
    free(text);
    struct metrics_shard *shard = exposition_shard(metrics);
    for (unsigned reason = 0; reason < METRICS_REJECTIONS; reason++)
        for (unsigned i = 0; i <= reason; i++)
            metrics_count_rejected(shard, (enum metrics_rejection)reason);
    for (unsigned event = 0; event < METRICS_EVENTS; event++)
        for (unsigned i = 0; i <= event; i++)
            metrics_count_event(shard, (enum metrics_event)event);
    text = exposition_text(metrics);
    static const char *const counts[] = {"1", "2", "3", "4", "1", "2", "3", "4"};
    for (size_t i = 0; i < 8; i++)
        exposition_assert(text, series[i], counts[i]);
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_publishes_a_model_with_zeros_as_soon_as_it_is_loaded)
{
    struct metrics *metrics = exposition_metrics();
    metrics_add_model(metrics, &shipped);
    char *text = exposition_text(metrics);
    exposition_assert(
        text, "mlpd_model_info{model=\"fashion-mnist\",version=\"1\",device=\"cpu\",kernels=\"avx2\"}", "1");
    exposition_assert(text, "mlpd_rows_total{model=\"fashion-mnist\"}", "0");
    exposition_assert(text, "mlpd_batches_total{model=\"fashion-mnist\",device=\"cpu\"}", "0");
    exposition_assert(text, "mlpd_queue_seconds_count{model=\"fashion-mnist\"}", "0");
    exposition_assert(text, "mlpd_compute_seconds_sum{model=\"fashion-mnist\"}", "0");
    ck_assert_ptr_null(strstr(text, "model=\"other\""));
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_gives_one_number_to_one_name)
{
    struct metrics *metrics = exposition_metrics();
    size_t predict = metrics_add_endpoint(metrics, "/predict", false);
    ck_assert_uint_ne(predict, METRICS_OTHER);
    ck_assert_uint_eq(metrics_add_endpoint(metrics, "/predict", true), predict);
    ck_assert_uint_ne(metrics_add_endpoint(metrics, "/", true), predict);
    metrics_count_answer(exposition_shard(metrics), predict, 200, 1);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_request_seconds_count{endpoint=\"/predict\"}"), 1);
    size_t model = metrics_add_model(metrics, &shipped);
    ck_assert_uint_eq(metrics_add_model(metrics, &shipped), model);
    static const struct metrics_model others[] = {{"mnist", "1", "cpu", "avx2"},
                                                  {"fashion-mnist", "2", "cpu", "avx2"},
                                                  {"fashion-mnist", "1", "cuda:0", "avx2"},
                                                  {"fashion-mnist", "1", "cpu", "generic"}};
    for (size_t i = 0; i < 4; i++)
        ck_assert_uint_eq(metrics_add_model(metrics, &others[i]), model + 1 + i);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_counts_endpoints_beyond_the_last_place_as_other)
{
    static char paths[METRICS_ENDPOINTS_MAX + 5][16];
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    for (size_t i = 0; i < METRICS_ENDPOINTS_MAX + 5; i++) {
        snprintf(paths[i], sizeof paths[i], "/%zu", i);
        size_t endpoint = metrics_add_endpoint(metrics, paths[i], true);
        ck_assert_uint_eq(endpoint, i + 1 < METRICS_ENDPOINTS_MAX ? i + 1 : METRICS_OTHER);
        metrics_count_answer(shard, endpoint, 200, 1);
    }
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_requests_total{endpoint=\"/62\",code=\"200\"}"), 1);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_requests_total{endpoint=\"other\",code=\"200\"}"), 6);
    metrics_free(metrics);
}
END_TEST

static size_t add_version(struct metrics *metrics, const char *name, unsigned version, const char *device)
{
    char text[16];
    snprintf(text, sizeof text, "%u", version);
    return metrics_add_model(metrics, &(struct metrics_model){name, text, device, "k"});
}

/* One prediction of so many rows, alone in its batch. */
static void predict_rows(struct metrics_shard *shard, size_t model, size_t rows)
{
    metrics_count_batch(shard, model, rows, 1000);
    metrics_count_inference(shard, model, &(struct metrics_inference){.outcome = METRICS_SUCCESS, .rows = rows});
}

START_TEST(metrics_keeps_what_a_removed_model_has_counted)
{
    struct metrics *metrics = exposition_metrics();
    size_t model = metrics_add_model(metrics, &shipped);
    ck_assert_uint_eq(metrics_add_model(metrics, &shipped), model);
    predict_rows(exposition_shard(metrics), model, 7);
    static const char info[] =
        "mlpd_model_info{model=\"fashion-mnist\",version=\"1\",device=\"cpu\",kernels=\"avx2\"}";
    metrics_remove_model(metrics, model); /* another of the same is still loaded */
    ck_assert_uint_eq(exposition_now(metrics, info), 1);
    metrics_remove_model(metrics, model);
    char *text = exposition_text(metrics);
    ck_assert_ptr_null(exposition_find(text, info));
    exposition_assert(text, "mlpd_rows_total{model=\"fashion-mnist\"}", "7");
    free(text);
    ck_assert_uint_eq(metrics_add_model(metrics, &shipped), model);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_rows_total{model=\"fashion-mnist\"}"), 7);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_counts_models_beyond_the_last_place_as_other)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    for (unsigned i = 1; i < METRICS_MODELS_MAX; i++)
        ck_assert_uint_eq(add_version(metrics, "m", i, "cpu"), i);
    size_t other = add_version(metrics, "n", 1, "cpu");
    ck_assert_uint_eq(other, METRICS_OTHER);
    predict_rows(shard, other, 3);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_rows_total{model=\"other\"}"), 3);
    metrics_remove_model(metrics, other);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_rows_total{model=\"other\"}"), 3);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_gives_the_place_of_the_model_that_left_first_and_begins_at_zero)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    for (unsigned i = 1; i < METRICS_MODELS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%u", i);
        predict_rows(shard, add_version(metrics, name, 1, "cpu"), i);
    }
    metrics_remove_model(metrics, 9);
    metrics_remove_model(metrics, 4);
    ck_assert_uint_eq(add_version(metrics, "new", 1, "cpu"), 9);
    char *text = exposition_text(metrics);
    ck_assert_ptr_null(exposition_find(text, "mlpd_rows_total{model=\"m9\"}"));
    exposition_assert(text, "mlpd_rows_total{model=\"m4\"}", "4");
    exposition_assert(text, "mlpd_rows_total{model=\"new\"}", "0");
    exposition_assert(text, "mlpd_batch_rows_count{model=\"new\"}", "0");
    free(text);
    predict_rows(shard, 9, 2);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_rows_total{model=\"new\"}"), 2);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_never_falls_while_versions_come_and_go)
{
    enum { VERSIONS = 3 * METRICS_MODELS_MAX };
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    for (unsigned version = 1; version <= VERSIONS; version++) {
        size_t model = add_version(metrics, "m", version, version % 2 ? "cpu" : "cuda:0");
        ck_assert_uint_ne(model, METRICS_OTHER);
        predict_rows(shard, model, 10);
        metrics_remove_model(metrics, model);
        char *text = exposition_text(metrics);
        ck_assert_uint_eq(exposition_value(text, "mlpd_rows_total{model=\"m\"}"), 10 * version);
        ck_assert_uint_eq(exposition_value(text, "mlpd_batch_rows_count{model=\"m\"}"), version);
        ck_assert_uint_eq(exposition_value(text, "mlpd_batches_total{model=\"m\",device=\"cpu\"}"),
                          (version + 1) / 2);
        free(text);
    }
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_gives_no_version_what_another_has_counted)
{
    enum { VERSIONS = 2 * METRICS_MODELS_MAX };
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    for (unsigned version = 1; version <= VERSIONS; version++) {
        size_t model = add_version(metrics, "m", version, "cpu");
        predict_rows(shard, model, 10);
        metrics_remove_model(metrics, model);
    }
    char *text = exposition_triton(metrics);
    ck_assert_ptr_null(exposition_find(text, "nv_inference_count{model=\"m\",version=\"1\"}"));
    for (unsigned version = VERSIONS; version > VERSIONS - METRICS_MODELS_MAX + 1; version--) {
        char series[64];
        snprintf(series, sizeof series, "nv_inference_count{model=\"m\",version=\"%u\"}", version);
        exposition_assert(text, series, "10");
    }
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_ends_a_device_without_moving_its_batches_to_another)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t cuda = add_version(metrics, "m", 1, "cuda:0");
    predict_rows(shard, cuda, 5);
    metrics_remove_model(metrics, cuda);
    for (unsigned version = 2; version <= METRICS_MODELS_MAX; version++)
        add_version(metrics, "m", version, "cpu");
    char *text = exposition_text(metrics);
    ck_assert_ptr_null(exposition_find(text, "mlpd_batches_total{model=\"m\",device=\"cuda:0\"}"));
    exposition_assert(text, "mlpd_batches_total{model=\"m\",device=\"cpu\"}", "0");
    exposition_assert(text, "mlpd_batch_rows_count{model=\"m\"}", "1");
    exposition_assert(text, "mlpd_rows_total{model=\"m\"}", "5");
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_tells_a_model_how_its_requests_went)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shards[] = {exposition_shard(metrics), exposition_shard(metrics)};
    size_t model = metrics_add_model(metrics, &shipped);
    const struct metrics_inference inference = {METRICS_SUCCESS, 3, 1000, 2000, 4000, 8000, 16000};
    for (size_t i = 0; i < 4; i++)
        metrics_count_inference(shards[i % 2], model, &inference);
    for (unsigned outcome = METRICS_FAILED_REJECTED; outcome < METRICS_OUTCOMES; outcome++)
        metrics_count_inference(
            shards[0], model,
            &(struct metrics_inference){.outcome = (enum metrics_outcome)outcome, .rows = 9, .request_ns = 50});
    metrics_count_batch(shards[1], model, 12, 4000);
    struct metrics_model_totals totals;
    metrics_read_model(metrics, model, &totals);
    ck_assert_uint_eq(totals.successes, 4);
    ck_assert_uint_eq(totals.failures, 4);
    ck_assert_uint_eq(totals.rows, 12);
    ck_assert_uint_eq(totals.decode_ns, 4000);
    ck_assert_uint_eq(totals.queue_ns, 8000);
    ck_assert_uint_eq(totals.compute_ns, 16000);
    ck_assert_uint_eq(totals.encode_ns, 32000);
    ck_assert_uint_eq(totals.request_ns, 64000);
    ck_assert_uint_eq(totals.failure_ns, 200);
    ck_assert_uint_eq(totals.batches, 1);
    ck_assert_uint_eq(totals.rows_computed, 12);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_hands_a_released_shard_to_the_next_thread_with_what_it_holds)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *first = exposition_shard(metrics), *second = exposition_shard(metrics);
    ck_assert_ptr_ne(first, second);
    ck_assert_uint_eq((uintptr_t)first % 128, 0);
    metrics_count_event(first, METRICS_LOST);
    metrics_count_event(second, METRICS_LOST);
    metrics_shard_release(metrics, first);
    metrics_shard_release(metrics, NULL);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_lost_total"), 2);
    ck_assert_ptr_eq(exposition_shard(metrics), first);
    metrics_count_event(first, METRICS_LOST);
    ck_assert_uint_eq(exposition_now(metrics, "mlpd_lost_total"), 3);
    metrics_free(metrics);
    metrics_free(NULL);
}
END_TEST

/* ---- threads ---- */

enum { WRITERS = 2, PREDICTIONS = 200000 };

static struct metrics *shared;
static size_t shared_predict, shared_model;
static atomic_int writing;

static void *write_predictions(void *unused)
{
    struct metrics_shard *shard = exposition_shard(shared);
    for (size_t i = 0; i < PREDICTIONS; i++) {
        metrics_count_event(shard, METRICS_RECEIVED);
        metrics_count_wait(shard, shared_model, (int64_t)i);
        predict_rows(shard, shared_model, 1 + i % 4);
        metrics_count_answer(shard, shared_predict, i % 100 ? 200 : 503, (int64_t)i * 100);
    }
    atomic_fetch_sub(&writing, 1);
    metrics_shard_release(shared, shard);
    return unused;
}

static unsigned long long answers_at(const char *text)
{
    return exposition_value(text, "mlpd_request_seconds_count{endpoint=\"/predict\"}");
}

START_TEST(metrics_is_read_whole_while_others_count_and_models_come_and_go)
{
    pthread_t threads[WRITERS];
    shared = exposition_metrics();
    shared_predict = metrics_add_endpoint(shared, "/predict", true);
    shared_model = metrics_add_model(shared, &shipped);
    metrics_count_answer(exposition_shard(shared), shared_predict, 200, 0);
    atomic_store(&writing, WRITERS);
    for (size_t i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_predictions, NULL), 0);
    unsigned long long before = 0;
    for (unsigned version = 1; atomic_load(&writing); version++) {
        size_t passing = add_version(shared, "passing", version, "cpu");
        char *text = exposition_text(shared);
        unsigned long long now = answers_at(text);
        ck_assert_uint_ge(now, before);
        ck_assert_uint_eq(now,
                          exposition_value(text, "mlpd_request_seconds_bucket{endpoint=\"/predict\",le=\"+Inf\"}"));
        before = now;
        free(text);
        metrics_remove_model(shared, passing);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    char *text = exposition_text(shared);
    ck_assert_uint_eq(answers_at(text), WRITERS * PREDICTIONS + 1);
    ck_assert_uint_eq(exposition_value(text, "mlpd_received_total"), WRITERS * PREDICTIONS);
    ck_assert_uint_eq(exposition_value(text, "mlpd_requests_total{endpoint=\"/predict\",code=\"503\"}"),
                      WRITERS * PREDICTIONS / 100);
    ck_assert_uint_eq(exposition_value(text, "mlpd_rows_total{model=\"fashion-mnist\"}"),
                      WRITERS * PREDICTIONS / 4 * (1 + 2 + 3 + 4));
    ck_assert_uint_eq(exposition_value(text, "mlpd_batch_rows_bucket{model=\"fashion-mnist\",le=\"2\"}"),
                      WRITERS * PREDICTIONS / 2);
    free(text);
    metrics_free(shared);
}
END_TEST

UNIT_MAIN("server/metrics", metrics_counts_answers_by_endpoint_and_code,
          metrics_counts_a_code_without_a_place_as_its_class_does,
          metrics_counts_every_code_that_mlpd_sends_by_itself,
          metrics_puts_a_time_into_the_bucket_whose_bound_it_does_not_pass, metrics_adds_times_up_to_the_nanosecond,
          metrics_puts_batches_into_buckets_by_their_rows, metrics_publishes_every_reason_and_event_from_the_start,
          metrics_publishes_a_model_with_zeros_as_soon_as_it_is_loaded, metrics_gives_one_number_to_one_name,
          metrics_counts_endpoints_beyond_the_last_place_as_other, metrics_keeps_what_a_removed_model_has_counted,
          metrics_counts_models_beyond_the_last_place_as_other,
          metrics_gives_the_place_of_the_model_that_left_first_and_begins_at_zero,
          metrics_never_falls_while_versions_come_and_go, metrics_gives_no_version_what_another_has_counted,
          metrics_ends_a_device_without_moving_its_batches_to_another, metrics_tells_a_model_how_its_requests_went,
          metrics_hands_a_released_shard_to_the_next_thread_with_what_it_holds,
          metrics_is_read_whole_while_others_count_and_models_come_and_go)
