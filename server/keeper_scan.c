/* The folder of models compared with what is known of it: what is to be loaded, what has gone, and what must wait until it is
 * whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/file.h"
#include "engine/registry.h"
#include "server/catalog.h"
#include "server/folder_events.h"
#include "server/folder_stamp.h"
#include "server/keeper_parts.h"
#include "server/log.h"
#include "server/telemetry.h"

#define SETTLE_NS (KEEPER_SETTLE_MS * INT64_C(1000000))

/* ---- what is known ---- */

struct known_model *keeper_find_model(const struct keeper *keeper, const char *name)
{
    struct known_model *model = keeper->models;
    while (model && strcmp(model->name, name) != 0)
        model = model->next;
    return model;
}

static struct known_model *enter_model(struct keeper *keeper, const char *name)
{
    struct known_model *model = keeper_find_model(keeper, name);
    if (model)
        return model;
    model = calloc(1, sizeof *model);
    if (!model || !(model->name = strdup(name))) {
        free(model);
        return NULL;
    }
    model->next = keeper->models;
    keeper->models = model;
    return model;
}

static struct known_version *enter_version(struct known_model *model, const char *number)
{
    struct known_version *version = model->versions;
    while (version && strcmp(version->number, number) != 0)
        version = version->next;
    if (version)
        return version;
    version = calloc(1, sizeof *version);
    if (!version || !(version->number = strdup(number))) {
        free(version);
        return NULL;
    }
    version->next = model->versions;
    model->versions = version;
    return version;
}

static void free_version(struct known_version *version)
{
    free(version->number);
    free(version);
}

static void free_model(struct known_model *model)
{
    while (model->versions) {
        struct known_version *version = model->versions;
        model->versions = version->next;
        free_version(version);
    }
    free(model->fault);
    free(model->name);
    free(model);
}

void keeper_forget_all(struct keeper *keeper)
{
    while (keeper->models) {
        struct known_model *model = keeper->models;
        keeper->models = model->next;
        free_model(model);
    }
}

/* ---- what is wrong ---- */

static void write_reason(const struct error *err, char *reason, size_t size)
{
    snprintf(reason, size, "%s%s%s", err->message, *err->hint ? "; " : "", err->hint);
}

void keeper_tell(struct keeper *keeper, const char *line)
{
    if (keeper->started)
        log_write(LOG_WARNING, "%s", line);
    else
        buffer_append(&keeper->early, line, strlen(line) + 1);
}

static void tell_failure(struct keeper *keeper, const char *name, const char *version, const char *reason)
{
    char line[LOG_MESSAGE_MAX];
    snprintf(line, sizeof line, "model %s%s%s could not be loaded: %s", name, version ? "/" : "",
             version ? version : "", reason);
    keeper_tell(keeper, line);
}

void keeper_fail(struct keeper *keeper, const char *name, const char *version, const struct error *err)
{
    char reason[sizeof err->message + sizeof err->hint + 2];
    struct error unread;
    if (keeper->first_error.status == STATUS_OK)
        keeper->first_error = *err;
    write_reason(err, reason, sizeof reason);
    catalog_put(keeper->options.catalog, name, version, NULL, reason, &unread);
    metrics_count_event(keeper->shard, METRICS_LOAD_FAILED);
    tell_failure(keeper, name, version, reason);
}

static void note_no_memory(struct keeper *keeper)
{
    if (keeper->first_error.status == STATUS_OK)
        error_set(&keeper->first_error, STATUS_NO_MEMORY, "no memory for the list of models");
}

/* What is wrong with a model as a whole is said once, until it is another thing. */
static void fail_model(struct keeper *keeper, struct known_model *model, const struct error *err)
{
    if (model->fault && strcmp(model->fault, err->message) == 0)
        return;
    free(model->fault);
    model->fault = strdup(err->message);
    keeper_fail(keeper, model->name, NULL, err);
}

static void clear_fault(struct keeper *keeper, struct known_model *model)
{
    struct error unread;
    free(model->fault);
    model->fault = NULL;
    catalog_put(keeper->options.catalog, model->name, NULL, NULL, NULL, &unread);
}

/* ---- versions ---- */

/* Lists the version for loading. Takes the path. */
static void list_load(struct keeper *keeper, struct known_model *model, struct known_version *version, char *path,
                      uint64_t digest)
{
    struct error unread;
    struct load *load = calloc(1, sizeof *load);
    if (!load) {
        free(path);
        note_no_memory(keeper);
        return;
    }
    *load = (struct load){
        .model = model, .version = version, .path = path, .digest = digest, .next = keeper->loads};
    keeper->loads = load;
    catalog_put(keeper->options.catalog, model->name, version->number, NULL, NULL, &unread);
}

/* Whether the files are not those that were tried, and are whole. */
static bool is_due(struct known_version *version, const struct folder_stamp *stamp, bool whole)
{
    int64_t now_ns = clock_now_ns();
    if (stamp->digest != version->seen_digest || !version->seen_ns) {
        version->seen_digest = stamp->digest;
        version->seen_ns = now_ns;
    }
    bool other = !version->tried || stamp->digest != version->tried_digest;
    if (whole)
        return other || version->failed;
    return other && (stamp->moved_in || now_ns - version->seen_ns >= SETTLE_NS);
}

/* Takes the path, which is NULL if there was no memory for it. */
static void scan_version(struct keeper *keeper, struct known_model *model, const char *number, char *path,
                         bool whole)
{
    struct folder_stamp stamp;
    struct known_version *version = enter_version(model, number);
    if (!version || !path) {
        free(path);
        note_no_memory(keeper);
        return;
    }
    version->wanted = true;
    folder_events_watch(keeper->events_fd, path);
    folder_stamp(path, &stamp);
    if (is_due(version, &stamp, whole))
        list_load(keeper, model, version, path, stamp.digest);
    else
        free(path);
}

static void scan_versions(struct keeper *keeper, struct known_model *model, const char *path,
                          const struct registry_names *numbers, const struct version_policy *policy, bool whole)
{
    for (struct known_version *version = model->versions; version; version = version->next)
        version->wanted = false;
    for (size_t i = 0; i < numbers->count; i++)
        if (version_policy_wants(policy, numbers->items[i], i))
            scan_version(keeper, model, numbers->items[i], file_join(path, numbers->items[i]), whole);
}

static bool wants_any(const struct known_model *model)
{
    for (const struct known_version *version = model->versions; version; version = version->next)
        if (version->wanted)
            return true;
    return false;
}

/* ---- models ---- */

static enum status refuse_unwanted(const char *path, const struct registry_names *numbers, struct error *err)
{
    if (!numbers->count)
        return registry_refuse_no_version(path, err);
    error_set(err, STATUS_NOT_FOUND, "none of its %zu versions is one that the version policy names",
              numbers->count);
    return error_hint(err, "add the version, or change config.json or --model-versions");
}

static void scan_model(struct keeper *keeper, struct known_model *model, const char *path, bool whole)
{
    struct version_policy policy;
    struct registry_names numbers = {0};
    struct error err;
    enum status status = version_policy_read(path, &keeper->options.policy, &policy, &err);
    if (status == STATUS_OK)
        status = registry_list_versions(path, &numbers, &err);
    if (status == STATUS_OK) {
        scan_versions(keeper, model, path, &numbers, &policy, whole);
        if (!wants_any(model))
            status = refuse_unwanted(path, &numbers, &err);
    }
    registry_names_free(&numbers);
    if (status != STATUS_OK)
        fail_model(keeper, model, &err);
    else if (model->fault)
        clear_fault(keeper, model);
}

static void scan_name(struct keeper *keeper, const char *name, bool whole)
{
    struct known_model *model = enter_model(keeper, name);
    char *path = file_join(keeper->options.models, name);
    if (!model || !path) {
        note_no_memory(keeper);
    } else {
        model->there = true;
        folder_events_watch(keeper->events_fd, path);
        if (!model->unloaded)
            scan_model(keeper, model, path, whole);
    }
    free(path);
}

static void forget_gone(struct keeper *keeper)
{
    struct known_model **at = &keeper->models;
    while (*at) {
        struct known_model *model = *at;
        if (model->there) {
            at = &model->next;
            continue;
        }
        log_write(LOG_INFO, "model %s has gone from the folder, and is not served any more", model->name);
        catalog_remove(keeper->options.catalog, model->name, NULL);
        *at = model->next;
        free_model(model);
    }
}

/* A model by itself stays served where its file has gone: it may be on the way to being replaced. */
static void scan_only(struct keeper *keeper, bool whole)
{
    struct known_model *model = enter_model(keeper, keeper->only_name);
    if (!model) {
        note_no_memory(keeper);
        return;
    }
    model->there = true;
    if (!model->unloaded)
        scan_version(keeper, model, keeper->only_version, strdup(keeper->options.model), whole);
}

enum status keeper_scan(struct keeper *keeper, const char *only, bool whole, struct error *err)
{
    struct registry_names names = {0};
    if (keeper->only_name) {
        if (!only || strcmp(only, keeper->only_name) == 0)
            scan_only(keeper, whole);
        return STATUS_OK;
    }
    folder_events_watch(keeper->events_fd, keeper->options.models);
    enum status status = registry_list_models(keeper->options.models, &names, err);
    if (status == STATUS_OK) {
        for (struct known_model *model = keeper->models; model; model = model->next)
            model->there = false;
        for (size_t i = 0; i < names.count; i++) {
            struct known_model *known = keeper_find_model(keeper, names.items[i]);
            if (!only || strcmp(only, names.items[i]) == 0)
                scan_name(keeper, names.items[i], whole);
            else if (known)
                known->there = true;
        }
        forget_gone(keeper);
    }
    registry_names_free(&names);
    return status;
}

/* ---- what is not wanted any more ---- */

static bool serves_what_is_wanted(const struct known_model *model)
{
    for (const struct known_version *version = model->versions; version; version = version->next)
        if (version->wanted && (!version->serving || version->failed))
            return false;
    return wants_any(model);
}

static void prune_model(struct keeper *keeper, struct known_model *model)
{
    struct known_version **at = &model->versions;
    while (*at) {
        struct known_version *version = *at;
        if (version->wanted) {
            at = &version->next;
            continue;
        }
        if (version->serving)
            log_write(LOG_INFO, "model %s/%s is not served any more", model->name, version->number);
        catalog_remove(keeper->options.catalog, model->name, version->number);
        *at = version->next;
        free_version(version);
    }
}

void keeper_prune(struct keeper *keeper)
{
    for (struct known_model *model = keeper->models; model; model = model->next)
        if (serves_what_is_wanted(model))
            prune_model(keeper, model);
}
