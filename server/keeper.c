#include "server/keeper.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/clock.h"
#include "engine/model_path.h"
#include "engine/registry.h"
#include "server/catalog.h"
#include "server/folder_events.h"
#include "server/keeper_parts.h"
#include "server/log.h"
#include "server/telemetry.h"

#define MS INT64_C(1000000) /* nanoseconds */

enum {
    COLLECT_MS = 20, /* between two looks whether what has left the catalog is still in use */
    PAUSE_MS = 50,   /* at least, between two looks that the kernel asks for: files come in many pieces */
};

/* ---- one look ---- */

/* Looks, and does what follows from it. What is wrong with single models is in first_error. */
static enum status look(struct keeper *keeper, const char *only, bool whole, struct error *err)
{
    keeper->first_error = (struct error){.status = STATUS_OK};
    enum status status = keeper_scan(keeper, only, whole, err);
    keeper->looked_ns = clock_now_ns();
    keeper_load_all(keeper);
    if (status == STATUS_OK)
        keeper_prune(keeper);
    return status;
}

static void look_again(struct keeper *keeper, bool whole)
{
    static struct log_limiter limiter;
    struct error err;
    if (look(keeper, NULL, whole, &err) != STATUS_OK)
        log_limited(&limiter, LOG_WARNING, "the models cannot be looked at, and are served as they are: %s",
                    err.message);
}

/* ---- tasks ---- */

static enum status refuse_unknown(const struct keeper *keeper, const char *name, struct error *err)
{
    if (keeper->only_name) {
        error_set(err, STATUS_NOT_FOUND, "there is no model %.64s: %.64s alone is served", name, keeper->only_name);
        return error_hint(err, "serve a folder of models with --models DIR");
    }
    error_set(err, STATUS_NOT_FOUND, "there is no model %.64s in %.200s", name, keeper->options.models);
    return error_hint(err, "put it there as %.64s/1/; GET /models lists what there is", name);
}

static enum status load_model(struct keeper *keeper, const char *name, struct error *err)
{
    struct known_model *model = keeper_find_model(keeper, name);
    if (model)
        model->unloaded = false;
    enum status status = look(keeper, name, true, err);
    if (status == STATUS_OK && !keeper_find_model(keeper, name))
        return refuse_unknown(keeper, name, err);
    if (status == STATUS_OK && keeper->first_error.status != STATUS_OK) {
        *err = keeper->first_error;
        return err->status;
    }
    return status;
}

static enum status unload_model(struct keeper *keeper, const char *name, struct error *err)
{
    struct known_model *model = keeper_find_model(keeper, name);
    if (!model)
        return refuse_unknown(keeper, name, err);
    model->unloaded = true;
    for (struct known_version *version = model->versions; version; version = version->next)
        version->tried = version->serving = version->failed = false;
    catalog_withdraw(keeper->options.catalog, name, "it was unloaded by the administration");
    log_write(LOG_INFO, "model %s was unloaded by the administration", name);
    return STATUS_OK;
}

static void run_task(struct keeper *keeper, struct keeper_task *task)
{
    if (task->order == KEEPER_LOAD)
        task->status = load_model(keeper, task->name, &task->error);
    else
        task->status = unload_model(keeper, task->name, &task->error);
    task->done(task);
}

static void refuse_task(struct keeper_task *task)
{
    task->status = error_set(&task->error, STATUS_OVERLOADED, "the server is shutting down");
    task->done(task);
}

/* ---- the thread ---- */

static void wake(struct keeper *keeper)
{
    const uint64_t one = 1;
    if (write(keeper->wake_fd, &one, sizeof one) < 0)
        return; /* it is awake already */
}

static int64_t next_look_ns(const struct keeper *keeper)
{
    return keeper->options.poll_ms ? keeper->looked_ns + (int64_t)keeper->options.poll_ms * MS : INT64_MAX;
}

/* Until something is to be done. True if the kernel said that the folders have changed. */
static bool wait_for_work(struct keeper *keeper, size_t uncollected)
{
    uint64_t count;
    struct pollfd fds[] = {{.fd = keeper->wake_fd, .events = POLLIN}, {.fd = keeper->events_fd, .events = POLLIN}};
    int64_t left_ns = next_look_ns(keeper) == INT64_MAX ? INT64_MAX : next_look_ns(keeper) - clock_now_ns();
    int timeout_ms = left_ns == INT64_MAX ? -1 : left_ns > 0 ? (int)(left_ns / MS) + 1 : 0;
    if (uncollected && (timeout_ms < 0 || timeout_ms > COLLECT_MS))
        timeout_ms = COLLECT_MS;
    poll(fds, 2, timeout_ms);
    if (fds[0].revents && read(keeper->wake_fd, &count, sizeof count) < 0)
        return false; /* somebody else's wake-up: there is nothing to read */
    if (!fds[1].revents)
        return false;
    poll(NULL, 0, PAUSE_MS);
    return folder_events_drain(keeper->events_fd);
}

/* What has been asked for, in one go. */
struct asked {
    struct keeper_task *tasks;
    bool rescan, stopped;
};

static struct asked take_asked(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    const struct asked asked = {keeper->tasks, keeper->rescan, keeper->stopped};
    keeper->rescan = false;
    keeper->tasks = NULL;
    keeper->tasks_tail = &keeper->tasks;
    pthread_mutex_unlock(&keeper->lock);
    return asked;
}

static void run_tasks(struct keeper *keeper, const struct asked *asked)
{
    struct keeper_task *next;
    for (struct keeper_task *task = asked->tasks; task; task = next) {
        next = task->next;
        if (asked->stopped)
            refuse_task(task);
        else
            run_task(keeper, task);
    }
}

static void *keeper_main(void *argument)
{
    struct keeper *keeper = argument;
    size_t uncollected = 0;
    for (;;) {
        bool changed = wait_for_work(keeper, uncollected);
        const struct asked asked = take_asked(keeper);
        run_tasks(keeper, &asked);
        if (asked.stopped)
            return NULL;
        if (asked.rescan || changed || clock_now_ns() >= next_look_ns(keeper))
            look_again(keeper, asked.rescan);
        uncollected = catalog_collect(keeper->options.catalog);
    }
}

/* ---- any thread ---- */

void keeper_rescan(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->rescan = true;
    pthread_mutex_unlock(&keeper->lock);
    wake(keeper);
}

void keeper_submit(struct keeper *keeper, struct keeper_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&keeper->lock);
    bool stopped = keeper->stopped;
    if (!stopped) {
        *keeper->tasks_tail = task;
        keeper->tasks_tail = &task->next;
    }
    pthread_mutex_unlock(&keeper->lock);
    if (stopped)
        refuse_task(task);
    else
        wake(keeper);
}

/* ---- life ---- */

enum status keeper_create(const struct keeper_options *options, struct keeper **ret, struct error *err)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the models' keeper");
    *keeper = (struct keeper){.options = *options, .wake_fd = -1, .events_fd = -1};
    keeper->tasks_tail = &keeper->tasks;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_mutex_init(&keeper->publish_lock, NULL);
    keeper->shard = metrics_shard_create(options->telemetry->metrics);
    keeper->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (options->poll_ms)
        keeper->events_fd = folder_events_open();
    enum status status = STATUS_OK;
    if (!keeper->shard || keeper->wake_fd < 0)
        status = error_set(err, STATUS_NO_MEMORY, "no memory, or no descriptor, for the models' keeper");
    else if (options->model)
        status = model_path_name(options->model, &keeper->only_name, &keeper->only_version, err);
    if (status == STATUS_OK)
        *ret = keeper;
    else
        keeper_free(keeper);
    return status;
}

static void tell_early(struct keeper *keeper)
{
    const struct buffer *early = &keeper->early;
    for (size_t at = 0; at < early->len; at += strlen(early->data + at) + 1)
        log_write(LOG_WARNING, "%s", early->data + at);
    buffer_free(&keeper->early);
}

/* Of several models some may fail: the others are served. */
enum status keeper_load(struct keeper *keeper, struct error *err)
{
    const struct keeper_options *options = &keeper->options;
    enum status status = look(keeper, NULL, true, err);
    if (status != STATUS_OK)
        return status;
    keeper->started = true;
    if (!keeper->models)
        return registry_refuse_empty(options->models, err);
    if (options->default_model && !keeper_find_model(keeper, options->default_model)) {
        error_set(err, STATUS_NOT_FOUND, "--default-model %.64s: there is no such model in %.200s",
                  options->default_model, options->model ? options->model : options->models);
        return error_hint(err, "%s",
                          options->model ? "leave it out: this model is the only one"
                                         : "name one of the folders in it");
    }
    if (catalog_summarise(options->catalog).ready_versions) {
        tell_early(keeper);
        return STATUS_OK;
    }
    *err = keeper->first_error;
    return err->status;
}

enum status keeper_start(struct keeper *keeper, struct error *err)
{
    keeper->running = pthread_create(&keeper->thread, NULL, keeper_main, keeper) == 0;
    if (keeper->running)
        return STATUS_OK;
    error_set(err, STATUS_IO, "the thread that looks after the models could not be started");
    return error_hint(err, "raise the limit on processes (ulimit -u)");
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->lock);
    keeper->stopped = true;
    pthread_mutex_unlock(&keeper->lock);
    if (!keeper->running)
        return;
    wake(keeper);
    pthread_join(keeper->thread, NULL);
    keeper->running = false;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    keeper_stop(keeper);
    keeper_forget_all(keeper);
    buffer_free(&keeper->early);
    free(keeper->only_name);
    free(keeper->only_version);
    metrics_shard_release(keeper->options.telemetry->metrics, keeper->shard);
    if (keeper->wake_fd >= 0)
        close(keeper->wake_fd);
    if (keeper->events_fd >= 0)
        close(keeper->events_fd);
    pthread_mutex_destroy(&keeper->publish_lock);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
