/* What a request pays for its id and its lines, in nanoseconds of the thread that answers; run it on an idle machine.
 *
 *     build/release/tests/bench/bench_logs [THREADS]      (2)
 *
 * Each thread does the same BURST times, rests for a millisecond and begins again, as requests do that come at 50,000 a second
 * and thread; the median over the bursts is printed, and how many lines were lost. "pipe" is read by a thread that
 * throws away what it reads, "file" is in the working directory and is removed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/access_log.h"
#include "server/log.h"
#include "server/request_id.h"

enum { BURST = 50, BURSTS = 2000, THREADS_MAX = 64 };

static const char file_path[] = "bench_logs.log";
static struct access_log *access_log; /* of the case that runs */

static struct sockaddr_in peer = {.sin_family = AF_INET};
static const struct access_record record = {
    .request_id = "0af7651916cd43dd8448eb211c80319c",
    .peer = (const struct sockaddr *)&peer,
    .method = "POST",
    .path = "/v2/models/fashion_mnist/infer",
    .protocol = "HTTP/1.1",
    .user_agent = "python-requests/2.32.3",
    .model = "fashion_mnist/1",
    .code = 200,
    .request_bytes = 784,
    .response_bytes = 181,
    .rows = 1,
    .decode_us = 12,
    .queue_us = 40,
    .compute_us = 210,
    .encode_us = 6,
    .total_us = 301,
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void make_id(void)
{
    static _Thread_local char id[REQUEST_ID_MAX + 1];
    request_id_choose(NULL, id);
}

static void take_id(void)
{
    static _Thread_local char id[REQUEST_ID_MAX + 1];
    request_id_choose(record.request_id, id);
}

static void format_text(void)
{
    static _Thread_local struct log_line line;
    access_log_format(&record, LOG_TEXT, &line);
}

static void format_json(void)
{
    static _Thread_local struct log_line line;
    access_log_format(&record, LOG_JSON, &line);
}

static void write_access(void)
{
    access_log_write(access_log, &record);
}

static void write_log(void)
{
    log_write(LOG_WARNING, "model %s is loaded again: %d", "fashion_mnist/1", 7);
}

static void write_nothing(void)
{
    log_write(LOG_DEBUG, "model %s is loaded again: %d", "fashion_mnist/1", 7);
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

struct bencher {
    void (*run)(void);
    double ns[BURSTS];
};

static void *run_bursts(void *argument)
{
    struct bencher *bencher = argument;
    for (size_t i = 0; i < BURSTS; i++) {
        double started = now_ns();
        for (size_t j = 0; j < BURST; j++)
            bencher->run();
        bencher->ns[i] = (now_ns() - started) / BURST;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

static void bench(const char *name, void (*run)(void), size_t threads)
{
    static struct bencher benchers[THREADS_MAX];
    static double all[THREADS_MAX * BURSTS];
    pthread_t ids[THREADS_MAX];
    uint64_t lost = access_log_lost(access_log) + log_lost();
    for (size_t i = 0; i < threads; i++) {
        benchers[i].run = run;
        if (pthread_create(&ids[i], NULL, run_bursts, &benchers[i]) != 0)
            exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        memcpy(all + i * BURSTS, benchers[i].ns, sizeof benchers[i].ns);
    }
    qsort(all, threads * BURSTS, sizeof *all, compare);
    printf("%-28s %7.0f ns  90 %% %7.0f  99 %% %7.0f  lost %llu\n", name, all[threads * BURSTS / 2],
           all[threads * BURSTS * 9 / 10], all[threads * BURSTS * 99 / 100],
           (unsigned long long)(access_log_lost(access_log) + log_lost() - lost));
}

static void bench_access(const char *name, const char *destination, enum log_format format, size_t threads)
{
    const struct access_log_options options = {.destination = destination, .format = format};
    struct error err;
    if (access_log_open(&options, &access_log, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(EXIT_FAILURE);
    }
    bench(name, write_access, threads);
    access_log_close(access_log);
    access_log = NULL;
}

static void bench_log(const char *name, void (*run)(void), size_t threads)
{
    const struct log_options options = {.level = LOG_INFO, .format = LOG_TEXT, .destination = file_path};
    struct error err;
    if (log_start(&options, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(EXIT_FAILURE);
    }
    bench(name, run, threads);
    log_stop();
}

static void *read_to_end(void *argument)
{
    static char bytes[65536];
    while (read(*(const int *)argument, bytes, sizeof bytes) > 0)
        ;
    return NULL;
}

/* Standard error is a pipe, which a thread reads as long as the process lives. */
static void pipe_standard_error(void)
{
    static int ends[2];
    pthread_t reader;
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0 ||
        pthread_create(&reader, NULL, read_to_end, &ends[0]) != 0)
        exit(EXIT_FAILURE);
    pthread_detach(reader);
}

int main(int argc, char **argv)
{
    size_t threads = argc > 1 ? strtoul(argv[1], NULL, 10) : 2;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: %s [THREADS, at most %d]\n", argv[0], THREADS_MAX);
        return EXIT_FAILURE;
    }
    inet_pton(AF_INET, "192.0.2.255", &peer.sin_addr);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%zu threads\n", threads);
    bench("a new id", make_id, threads);
    bench("a client's id", take_id, threads);
    bench("access line, text", format_text, threads);
    bench("access line, json", format_json, threads);
    bench("access log off", write_access, threads);
    bench_access("access log, text, file", file_path, LOG_TEXT, threads);
    bench_access("access log, json, file", file_path, LOG_JSON, threads);
    bench_log("log below its level", write_nothing, threads);
    bench_log("log, text, file", write_log, threads);
    pipe_standard_error();
    bench_access("access log, text, pipe", "stderr", LOG_TEXT, threads);
    unlink(file_path);
    return EXIT_SUCCESS;
}
