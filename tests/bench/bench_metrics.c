/* What counting costs: nanoseconds of one call, of all calls that a prediction makes, alone and while another thread
 * scrapes without pause; and microseconds of a scrape.
 *
 *     build/release/tests/bench/bench_metrics
 *
 * Medians of some rounds, in CPU time of the thread that counts. Times and codes vary from call to call, so that no
 * branch and no bucket is always the same.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/metrics.h"

enum { ROUNDS = 15, CALLS = 1000000, SCRAPES = 200, TIMES = 4096 };

static struct metrics *metrics;
static struct metrics_shard *shard;
static size_t predict, model;
static int64_t times_ns[TIMES]; /* 1 us to 4 ms, as many in each octave */
static atomic_bool ended;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void one_answer(size_t i)
{
    metrics_count_answer(shard, predict, i % 64 ? 200 : 503, times_ns[i % TIMES]);
}

static void whole_prediction(size_t i)
{
    int64_t ns = times_ns[i % TIMES];
    const struct metrics_inference inference = {METRICS_SUCCESS, 1, ns / 8, ns / 4, ns / 4, ns / 8, ns};
    metrics_count_event(shard, METRICS_RECEIVED);
    metrics_count_wait(shard, model, ns / 4);
    metrics_count_batch(shard, model, 1 + i % 64, ns / 4);
    metrics_count_inference(shard, model, &inference);
    metrics_count_answer(shard, predict, 200, ns);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median_ns(void (*call)(size_t i), size_t calls)
{
    double rounds[ROUNDS];
    for (size_t round = 0; round < ROUNDS; round++) {
        double start = now_ns();
        for (size_t i = 0; i < calls; i++)
            call(i);
        rounds[round] = (now_ns() - start) / (double)calls;
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    return rounds[ROUNDS / 2];
}

static void scrape(size_t i)
{
    (void)i;
    static struct buffer out;
    buffer_reset(&out, SIZE_MAX);
    metrics_write(metrics, &(struct metrics_state){.version = "0", .ready = true}, &out);
}

static void *scrape_without_pause(void *unused)
{
    while (!atomic_load(&ended))
        scrape(0);
    return unused;
}

int main(void)
{
    struct error err;
    if (metrics_create(&metrics, &err) != STATUS_OK || !(shard = metrics_shard_create(metrics))) {
        fprintf(stderr, "out of memory\n");
        return EXIT_FAILURE;
    }
    predict = metrics_add_endpoint(metrics, "/predict", true);
    model = metrics_add_model(metrics, &(struct metrics_model){"fashion-mnist", "1", "cpu", "avx2"});
    for (size_t i = 0; i < TIMES; i++)
        times_ns[i * 2654435761U % TIMES] = (int64_t)((1000 + i % 1000) << (i / 342));
    printf("one answer           %6.1f ns\n", median_ns(one_answer, CALLS));
    printf("a whole prediction   %6.1f ns\n", median_ns(whole_prediction, CALLS));
    printf("a scrape             %6.1f us\n", median_ns(scrape, SCRAPES) / 1000);
    pthread_t scraper;
    if (pthread_create(&scraper, NULL, scrape_without_pause, NULL) != 0)
        return EXIT_FAILURE;
    printf("while another thread scrapes without pause:\n");
    printf("one answer           %6.1f ns\n", median_ns(one_answer, CALLS));
    printf("a whole prediction   %6.1f ns\n", median_ns(whole_prediction, CALLS));
    atomic_store(&ended, true);
    pthread_join(scraper, NULL);
    for (size_t i = 1; i < METRICS_MODELS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "model-%zu", i);
        metrics_add_model(metrics, &(struct metrics_model){name, "1", "cpu", "avx2"});
    }
    printf("a scrape of %d models %5.1f us\n", METRICS_MODELS_MAX, median_ns(scrape, SCRAPES) / 1000);
    metrics_free(metrics);
    return EXIT_SUCCESS;
}
