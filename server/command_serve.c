/* The daemon: the app, its queue and its HTTP server, from start to the last answer. */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "server/api_native.h"
#include "server/app.h"
#include "server/commands.h"
#include "server/http.h"
#include "server/solo.h"

enum {
    DRAIN_TIMEOUT_MS = 30000,      /* for what has begun when the signal comes */
    DRAIN_UPLOAD_MS = 5000,        /* and for a body that is still coming: supervisors kill after 10 s or later */
    FILES_BESIDE_SOCKETS = 64,     /* descriptors that the process needs beside its connections */
    MAPPED_BYTES_MIN = 256 * 1024, /* what is larger is no small request's, and need not be kept */
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The processors that this process may use. */
static size_t processor_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (size_t)count : 1;
}

/* Raises the limit on open files as far as it may go, and returns how many connections fit under it. */
static size_t fit_connections(size_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return wanted;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    size_t room = limit.rlim_cur > 2 * FILES_BESIDE_SOCKETS ? limit.rlim_cur - FILES_BESIDE_SOCKETS
                                                            : FILES_BESIDE_SOCKETS;
    return wanted < room ? wanted : room;
}

/* The signals that end the daemon are waited for by main alone, so they are blocked before any thread starts. */
static void block_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error code of write, not the end of the process */
}

static void announce(const struct app *app, const struct http_server *http, double started_ms)
{
    fprintf(stderr, "mlpd: Using %s device, kernels %s, model %s/%s (%zu parameters), ready in %.1f ms at %s\n",
            app->backend->device, app->backend->kernels, app->model->name, app->model->version,
            app->model->parameter_elements, now_ms() - started_ms, http_server_url(http));
}

/* Readiness first, then no new connections, then the answers to all that has begun. */
static void drain(struct app *app, struct http_server *http)
{
    atomic_store(&app->draining, true);
    http_server_stop_accepting(http);
    size_t left = http_server_wait_idle(http, DRAIN_UPLOAD_MS, DRAIN_TIMEOUT_MS);
    if (left)
        fprintf(stderr, "mlpd: %zu requests had not ended in time and are dropped\n", left);
}

static enum status serve(const struct options *options, struct app *app, const sigset_t *signals, double started_ms,
                         struct error *err)
{
    size_t processors = processor_count();
    const struct batcher_options batcher_options = {
        .workers = options->workers ? options->workers : processors,
        .queue_max = options->queue_max,
    };
    const struct http_options http_options = {
        .host = options->hosts.texts[0],
        .port = (unsigned)options->port,
        .io_threads = options->io_threads ? options->io_threads : (processors + 1) / 2,
        .connections_max = fit_connections(options->connections_max),
        .body_bytes_max = options->body_bytes_max,
        .state_create = api_native_state_create,
        .state_reset = api_native_state_reset,
        .state_free = api_native_state_free,
    };
    struct http_server *http = NULL;
    enum status status = batcher_create(app->backend, &batcher_options, &app->batcher, err);
    if (status == STATUS_OK)
        status = solo_create(app->backend, app->batcher, &app->solo, err);
    if (status == STATUS_OK)
        status = http_server_start(&http_options, api_native_routes, app, &http, err);
    if (status == STATUS_OK) {
        int signal_number;
        announce(app, http, started_ms);
        sigwait(signals, &signal_number);
        drain(app, http);
    }
    http_server_free(http); /* before the batcher: it waits for jobs under way */
    solo_free(app->solo);
    batcher_free(app->batcher);
    app->solo = NULL;
    app->batcher = NULL;
    return status;
}

/* A piece of memory of this size is mapped for itself, always, and so is the system's again when it is freed. Left alone,
 * malloc raises the size to that of the largest piece it has seen, and what a flood of large bodies took stays. */
static void return_large_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
}

int command_serve(const struct options *options)
{
    double started_ms = now_ms();
    struct app app;
    struct error err;
    sigset_t signals;
    block_signals(&signals);
    return_large_memory();
    enum status status = command_open_app(options, &app, &err);
    if (status != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    status = serve(options, &app, &signals, started_ms, &err);
    app_close(&app);
    return status == STATUS_OK ? EXIT_SUCCESS : command_fail(EXIT_FAULT, &err);
}
