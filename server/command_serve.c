/* The daemon: the app, its queue and its HTTP server, from start to the last answer.
 *
 * Signals are blocked in all threads and waited for by this one: SIGTERM and SIGINT end the daemon, in order; a second one
 * ends it at once; SIGHUP opens the logs anew.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/api_native.h"
#include "server/app.h"
#include "server/commands.h"
#include "server/http.h"
#include "server/log.h"
#include "server/machine.h"

#define MS INT64_C(1000000) /* nanoseconds */

enum {
    FILES_BESIDE_SOCKETS = 64,    /* descriptors that the process needs beside its connections */
    MAPPED_BYTES_MIN = 64 * 1024, /* what is larger is no small request's, and need not be kept */
    WAIT_STEP_MS = 2,
    STUCK_MS = 10000,  /* no batch takes that long: the largest that fits the queue takes some seconds at most */
    ABANDON_MS = 5000, /* at the end, for work that cannot be interrupted */
    ADDRESSES_MAX = 2 * OPTION_LIST_MAX,
};

struct daemon {
    const struct options *options;
    struct machine machine;
    sigset_t signals;
    int64_t started_ns;
    struct app app;
    struct access_log *access_log;
    struct metrics_shard **worker_shards; /* one for each worker */
    size_t worker_count;
    struct http_server *http;
    size_t address_count;
};

/* ---- limits ---- */

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
    if (wanted > room)
        log_write(LOG_WARNING, "--connections-max %zu is cut to %zu by the limit on open files (ulimit -n)", wanted,
                  room);
    return wanted < room ? wanted : room;
}

static size_t or_auto(size_t value, size_t automatic)
{
    return value == OPTION_AUTO ? automatic : value;
}

static size_t or_off(size_t value)
{
    return value == OPTION_OFF ? 0 : value;
}

/* 0: no bound. Half of what the cgroup grants is left to weights, buffers of the system and everything else. */
static size_t memory_bytes_max(const struct daemon *daemon)
{
    return or_off(or_auto(daemon->options->memory_bytes_max, (size_t)(daemon->machine.memory_bytes / 2)));
}

/* A body that is within its own limit must be within that of all. */
static enum status check_memory(const struct daemon *daemon, struct error *err)
{
    size_t memory = memory_bytes_max(daemon), body = daemon->options->body_bytes_max;
    if (!memory || body <= memory)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "--body-max %zu is more than --memory-max, %zu, half of the cgroup's limit",
              body, memory);
    return error_hint(err,
                      "choose a smaller --body-max, a --memory-max of your own, or grant the cgroup more memory");
}

/* A piece of memory of this size is mapped for itself, always, and so is the system's again when it is freed. Left alone,
 * malloc raises the size to that of the largest piece it has seen, and what a flood of large bodies took stays. */
static void return_large_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
}

/* ---- the queue's workers ---- */

static void observe_batch(void *context, const struct batch_report *report)
{
    const struct daemon *daemon = context;
    metrics_count_batch(daemon->worker_shards[report->worker], daemon->app.telemetry.model, report->rows,
                        report->compute_ns);
}

static enum status start_workers(struct daemon *daemon, struct error *err)
{
    const struct options *options = daemon->options;
    struct app *app = &daemon->app;
    daemon->worker_count = or_auto(options->workers, daemon->machine.processors);
    daemon->worker_shards = calloc(daemon->worker_count, sizeof *daemon->worker_shards);
    if (!daemon->worker_shards)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu workers", daemon->worker_count);
    for (size_t i = 0; i < daemon->worker_count; i++)
        if (!(daemon->worker_shards[i] = metrics_shard_create(app->telemetry.metrics)))
            return error_set(err, STATUS_NO_MEMORY, "no memory for the counters of %zu workers",
                             daemon->worker_count);
    const struct batcher_options batcher_options = {
        .workers = daemon->worker_count,
        .queue_max = options->queue_max,
        .delay_ns = (int64_t)options->batch_delay_us * 1000,
        .context = daemon,
        .mark_gone = api_native_mark_gone,
        .observe = observe_batch,
    };
    return batcher_create(app->backend, &batcher_options, &app->batcher, err);
}

/* ---- the HTTP server ---- */

static size_t add_addresses(struct http_address *addresses, const struct option_list *hosts, size_t port,
                            bool admin)
{
    for (size_t i = 0; i < hosts->count; i++)
        addresses[i] = (struct http_address){.host = hosts->texts[i], .port = (unsigned)port, .admin = admin};
    return hosts->count;
}

static enum status start_http(struct daemon *daemon, struct error *err)
{
    const struct options *options = daemon->options;
    struct http_address addresses[ADDRESSES_MAX];
    size_t count = add_addresses(addresses, &options->hosts, options->port, false);
    if (options->admin)
        count += add_addresses(addresses + count, &options->admin_hosts, or_off(options->admin_port), true);
    const struct http_options http_options = {
        .addresses = addresses,
        .address_count = count,
        .io_threads = or_auto(options->io_threads, daemon->machine.processors),
        .connections_max = daemon->app.connections_max,
        .connections_per_ip = or_off(options->connections_per_ip),
        .body_bytes_max = options->body_bytes_max,
        .memory_bytes_max = daemon->app.memory_bytes_max,
        .read_timeout_ns = (int64_t)options->read_timeout_s * 1000 * MS,
        .idle_timeout_ns = (int64_t)options->idle_timeout_s * 1000 * MS,
        .deadline_ns = (int64_t)options->deadline_ms * MS,
    };
    const struct http_handlers handlers = api_native_handlers(&daemon->app);
    daemon->address_count = count;
    return http_server_start(&http_options, &handlers, &daemon->http, err);
}

/* ---- what it says ---- */

static void announce(const struct daemon *daemon)
{
    const struct app *app = &daemon->app;
    char urls[1024] = "";
    for (size_t i = 0; i < daemon->address_count; i++) {
        size_t len = strlen(urls);
        bool admin = daemon->options->admin && i >= daemon->options->hosts.count;
        snprintf(urls + len, sizeof urls - len, "%s%s%s", i ? ", " : "", http_server_url(daemon->http, i),
                 admin ? " (administration)" : "");
    }
    log_write(LOG_INFO, "Using %s device, kernels %s, model %s/%s (%zu parameters), ready in %.1f ms at %s",
              app->backend->device, app->backend->kernels, app->model->name, app->model->version,
              app->model->parameter_elements, (double)(clock_now_ns() - daemon->started_ns) / 1e6, urls);
    if (app->model->note)
        log_write(LOG_WARNING, "%s/%s: %s", app->model->name, app->model->version, app->model->note);
    if (daemon->options->ignored_env)
        log_write(LOG_INFO,
                  "%zu variables of a Kubernetes Service are passed over, %s among them: they are no options",
                  daemon->options->ignored_env, daemon->options->ignored_env_first);
}

static enum status start_logs(struct daemon *daemon, struct error *err)
{
    const struct options *options = daemon->options;
    struct log_options log = {.level = LOG_INFO, .format = LOG_TEXT, .destination = options->log_file};
    log_level_read(options->log_level, &log.level);
    log_format_read(options->log_format, &log.format);
    enum status status = log_start(&log, err);
    if (status != STATUS_OK || strcmp(options->access_log, "off") == 0)
        return status;
    const struct access_log_options access = {
        .destination = options->access_log, .format = log.format, .every = (unsigned)options->access_log_sample};
    return access_log_open(&access, &daemon->access_log, err);
}

static void reopen_logs(struct daemon *daemon)
{
    struct error err;
    log_reopen();
    if (access_log_reopen(daemon->access_log, &err) != STATUS_OK)
        log_error(LOG_WARNING, &err);
    log_write(LOG_INFO, "SIGHUP: the logs are open anew");
}

/* ---- the end ---- */

/* Takes one signal. True if it says that it is the end. */
static bool is_end(struct daemon *daemon, int signal_number)
{
    if (signal_number == SIGHUP)
        reopen_logs(daemon);
    return signal_number == SIGTERM || signal_number == SIGINT;
}

/* Waits until `end_ns`, or, if that is asked for, until no connection is left. True if a further signal says that it is the
 * end now. */
static bool wait_until(struct daemon *daemon, int64_t end_ns, bool or_empty)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_MS * MS};
    while (clock_now_ns() < end_ns && !(or_empty && !http_server_stats(daemon->http).connections))
        if (is_end(daemon, sigtimedwait(&daemon->signals, NULL, &step)))
            return true;
    return false;
}

/* Readiness first; then, after a while in which whoever sends requests may learn of it, no new connections; then the answers
 * to all that has begun. Returns how many requests were lost. */
static size_t drain(struct daemon *daemon)
{
    const struct options *options = daemon->options;
    int64_t began_ns = clock_now_ns();
    atomic_store(&daemon->app.draining, true);
    http_server_drain(daemon->http);
    bool hurried = wait_until(daemon, began_ns + (int64_t)options->drain_delay_ms * MS, false);
    http_server_stop_accepting(daemon->http);
    if (!hurried)
        hurried = wait_until(daemon, began_ns + (int64_t)options->drain_timeout_s * 1000 * MS, true);
    struct http_stats stats = http_server_stats(daemon->http);
    size_t lost = stats.lost + stats.in_flight;
    log_write(lost ? LOG_WARNING : LOG_INFO, "ended after %.1f ms%s: %zu requests lost",
              (double)(clock_now_ns() - began_ns) / 1e6, hurried ? ", by a second signal" : "", lost);
    return lost;
}

/* Work that cannot be interrupted ends the process when it takes too long: nobody waits for its answer. The exit code, to which
 * the argument points, tells of requests that were lost; work for nobody is none. */
static void *end_process_later(void *argument)
{
    const int *exit_code = argument;
    struct timespec left = {.tv_sec = ABANDON_MS / 1000, .tv_nsec = ABANDON_MS % 1000 * MS};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
    log_write(LOG_WARNING, "work for nobody did not end within %d ms; the process ends without it", ABANDON_MS);
    log_stop();
    _exit(*exit_code);
}

static void abandon(struct daemon *daemon, int exit_code)
{
    pthread_t guard;
    bool guarded = pthread_create(&guard, NULL, end_process_later, &exit_code) == 0;
    http_server_abandon(daemon->http);
    if (!guarded)
        return;
    pthread_cancel(guard);
    pthread_join(guard, NULL);
}

/* ---- life ---- */

/* The signals are waited for by this thread alone, so they are blocked before any other starts. */
static void block_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret_set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error code of write, not the end of the process */
}

static enum status start(struct daemon *daemon, struct error *err)
{
    struct app *app = &daemon->app;
    enum status status = start_logs(daemon, err);
    if (status == STATUS_OK)
        status = check_memory(daemon, err);
    if (status == STATUS_OK)
        status = command_open_app(daemon->options, app, err);
    if (status == STATUS_OK)
        status = telemetry_open(&app->telemetry, api_native_routes, daemon->access_log, err);
    if (status != STATUS_OK)
        return status;
    app->gathers = daemon->options->batch_delay_us == 0;
    app->stuck_ns = STUCK_MS * MS;
    app->queue_max = daemon->options->queue_max;
    app->connections_max = fit_connections(daemon->options->connections_max);
    app->memory_bytes_max = memory_bytes_max(daemon);
    telemetry_serve(&app->telemetry, app->backend);
    status = start_workers(daemon, err);
    return status == STATUS_OK ? start_http(daemon, err) : status;
}

/* Until a signal says that it is the end. */
static void run(struct daemon *daemon)
{
    while (!is_end(daemon, sigwaitinfo(&daemon->signals, NULL)))
        continue;
}

/* Takes what was started, in whatever part. The workers complete requests to their last moment, so they end first. */
static void stop(struct daemon *daemon)
{
    batcher_free(daemon->app.batcher);
    http_server_free(daemon->http);
    telemetry_close(&daemon->app.telemetry);
    app_close(&daemon->app);
    free(daemon->worker_shards);
    access_log_close(daemon->access_log);
    log_stop();
}

int command_serve(const struct options *options)
{
    struct daemon daemon = {.options = options, .started_ns = clock_now_ns()};
    struct error err;
    int exit_code = EXIT_SUCCESS;
    block_signals(&daemon.signals);
    return_large_memory();
    machine_read("", &daemon.machine);
    enum status status = start(&daemon, &err);
    if (status == STATUS_OK) {
        announce(&daemon);
        run(&daemon);
        exit_code = drain(&daemon) ? EXIT_FAULT : EXIT_SUCCESS;
        abandon(&daemon, exit_code);
    }
    stop(&daemon);
    return status == STATUS_OK ? exit_code : command_fail(EXIT_FAULT, &err);
}
