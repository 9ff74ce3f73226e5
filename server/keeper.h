/* Keeps the catalog as the folder of models says. At the start it loads what is there, on all processors; from then on a
 * thread of its own looks again: every so often, when the kernel says that something changed, and when it is told to. A
 * version that is new, or whose files are others, is loaded and tried beside what is served, and put in its place when it
 * works; if it does not, what was served stays, and the catalog, the log and a metric say why.
 *
 * A version is taken when it is whole: when its folder was renamed to its place, or its files have not changed for
 * KEEPER_SETTLE_MS, or somebody says that it is (keeper_rescan, KEEPER_LOAD).
 *
 *     struct keeper *keeper;
 *     if (keeper_create(&options, &keeper, &err) != STATUS_OK) ...
 *     if (keeper_load(keeper, &err) != STATUS_OK) ...        // the first time, by the caller's thread
 *     if (keeper_start(keeper, &err) != STATUS_OK) ...
 *     keeper_rescan(keeper);                                 // SIGHUP
 *     keeper_stop(keeper);
 *     keeper_free(keeper);
 */
#ifndef MLPD_SERVER_KEEPER_H
#define MLPD_SERVER_KEEPER_H

#include <limits.h>
#include <stddef.h>

#include "engine/status.h"
#include "engine/version_policy.h"
#include "server/served.h"

enum { KEEPER_SETTLE_MS = 2000 };

struct catalog;
struct telemetry;
struct keeper;

struct keeper_options {
    const char *models;           /* the folder of <name>/<version>/; outlives the keeper, as all here does */
    const char *model;            /* NULL, or in its place one model by itself: a file, or a version's folder */
    const char *default_model;    /* that must be there at the start, or NULL */
    struct version_policy policy; /* of models that say nothing else */
    struct served_options served;
    struct catalog *catalog;       /* which nobody else changes */
    struct batch_workers *workers; /* for queues of queue_max rows */
    size_t queue_max;
    struct telemetry *telemetry;
    size_t processors;
    size_t poll_ms; /* between two looks; 0: it looks when it is told to */
};

/* A model by itself that is not there is an error. */
enum status keeper_create(const struct keeper_options *options, struct keeper **ret, struct error *err);

/* Loads all that is there. An error if there is no model, no such default, or none could be loaded: then that of the first. */
enum status keeper_load(struct keeper *keeper, struct error *err);

enum status keeper_start(struct keeper *keeper, struct error *err);

/* Looks at once, and takes what it finds as whole; what could not be loaded is tried again. Any thread. */
void keeper_rescan(struct keeper *keeper);

enum keeper_order {
    KEEPER_LOAD,   /* serve the model, if it was unloaded, and look at it as keeper_rescan does at all */
    KEEPER_UNLOAD, /* serve it no more, until KEEPER_LOAD */
};

struct keeper_task {
    enum keeper_order order;
    char name[NAME_MAX + 1];
    void (*done)(struct keeper_task *task); /* once, by the keeper's thread or within keeper_submit */

    /* What came of it. */
    enum status status;
    struct error error;

    struct keeper_task *next; /* the keeper's own */
};

/* Hands the task over, which lives until `done`. Any thread, until keeper_free. */
void keeper_submit(struct keeper *keeper, struct keeper_task *task);

/* Ends the thread; tasks that wait, or come later, are refused. Takes NULL. */
void keeper_stop(struct keeper *keeper);

/* Takes NULL. */
void keeper_free(struct keeper *keeper);

/* For the catalog: frees what left it, and takes its number in the metrics back. `context` is the telemetry. */
void keeper_free_served(void *context, struct served *served);

#endif
