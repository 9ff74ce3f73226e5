/* Versions are loaded on as many threads as there are processors, and each is served as soon as it is ready. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/clock.h"
#include "server/catalog.h"
#include "server/keeper_parts.h"
#include "server/log.h"
#include "server/telemetry.h"

enum { THREADS_MAX = 32 };

static enum status make(struct keeper *keeper, const struct load *load, struct served **ret, struct error *err)
{
    const struct keeper_options *options = &keeper->options;
    struct served *served = NULL;
    enum status status = served_load(load->path, load->model->name, load->version->number, &options->served,
                                     &served, err);
    if (status != STATUS_OK)
        return status;
    status = served_warm(served, err);
    if (status == STATUS_OK)
        status = batcher_create(options->workers, served->backend, options->queue_max, served, &served->batcher,
                                err);
    if (status == STATUS_OK) {
        served->metrics_model = telemetry_add_model(options->telemetry, served->backend);
        *ret = served;
    } else {
        served_free(served);
    }
    return status;
}

/* What was assumed of the model is said where whoever put it there looks. */
static void tell_note(struct keeper *keeper, const struct served *served)
{
    char line[LOG_MESSAGE_MAX];
    if (!served->model->note)
        return;
    snprintf(line, sizeof line, "%s: %s", served->full_name, served->model->note);
    keeper_tell(keeper, line);
}

static void note_success(struct keeper *keeper, const struct load *load, const struct served *served,
                         int64_t began_ns)
{
    log_write(keeper->started ? LOG_INFO : LOG_DEBUG, "serving model %s (%zu parameters), loaded in %.1f ms",
              served->full_name, served->model->parameter_elements, (double)(clock_now_ns() - began_ns) / 1e6);
    tell_note(keeper, served);
    load->version->serving = true;
    load->version->failed = false;
}

/* Puts what was loaded in the catalog, or why it could not be. */
static void publish(struct keeper *keeper, const struct load *load, struct served *served, int64_t began_ns,
                    struct error *err)
{
    const char *name = load->model->name, *number = load->version->number;
    pthread_mutex_lock(&keeper->publish_lock);
    load->version->tried = true;
    load->version->tried_digest = load->digest;
    if (served && catalog_put(keeper->options.catalog, name, number, served, NULL, err) == STATUS_OK) {
        note_success(keeper, load, served, began_ns);
        served = NULL;
    } else {
        load->version->failed = true;
        keeper_fail(keeper, name, number, err);
    }
    pthread_mutex_unlock(&keeper->publish_lock);
    if (served)
        keeper_free_served(keeper->options.telemetry, served);
}

static struct load *next_load(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->publish_lock);
    struct load *load = keeper->next_load;
    if (load)
        keeper->next_load = load->next;
    pthread_mutex_unlock(&keeper->publish_lock);
    return load;
}

static void *load_main(void *argument)
{
    struct keeper *keeper = argument;
    const struct load *load;
    while ((load = next_load(keeper))) {
        struct error err;
        struct served *served = NULL;
        int64_t began_ns = clock_now_ns();
        make(keeper, load, &served, &err);
        publish(keeper, load, served, began_ns, &err);
    }
    return NULL;
}

static void forget_loads(struct keeper *keeper)
{
    while (keeper->loads) {
        struct load *load = keeper->loads;
        keeper->loads = load->next;
        free(load->path);
        free(load);
    }
}

/* The calling thread loads too, so that it goes on where no other can be started. */
void keeper_load_all(struct keeper *keeper)
{
    pthread_t threads[THREADS_MAX];
    size_t count = 0, wanted = keeper->options.processors < THREADS_MAX ? keeper->options.processors : THREADS_MAX;
    if (!keeper->loads)
        return;
    keeper->next_load = keeper->loads;
    for (const struct load *load = keeper->loads->next; load && count + 1 < wanted; load = load->next)
        if (pthread_create(&threads[count], NULL, load_main, keeper) == 0)
            count++;
    load_main(keeper);
    while (count)
        pthread_join(threads[--count], NULL);
    forget_loads(keeper);
    malloc_trim(0); /* what loading took lies between what stays */
}

void keeper_free_served(void *context, struct served *served)
{
    struct telemetry *telemetry = context;
    metrics_remove_model(telemetry->metrics, served->metrics_model);
    served_free(served);
    malloc_trim(0);
}
