/* What the parts of server/keeper.c say to each other; nobody else includes this.
 *
 * A look is two steps: keeper_scan compares the folder with what is known and lists what is to be loaded, and
 * keeper_load_all loads that, on several threads, and enters each version into the catalog as it is done.
 */
#ifndef MLPD_SERVER_KEEPER_PARTS_H
#define MLPD_SERVER_KEEPER_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/buffer.h"
#include "server/keeper.h"

struct metrics_shard;

struct known_version {
    char *number;
    uint64_t seen_digest;  /* of its files, as they last looked */
    int64_t seen_ns;       /* since when they have looked so */
    uint64_t tried_digest; /* as they looked when they were last loaded, or could not be */
    bool tried;
    bool failed;  /* that time */
    bool serving; /* something of it is served, perhaps older */
    bool wanted;  /* by the policy; it is there */
    struct known_version *next;
};

struct known_model {
    char *name;
    bool there;    /* in the folder */
    bool unloaded; /* by KEEPER_UNLOAD */
    char *fault;   /* what was wrong with it as a whole, the last time; or NULL */
    struct known_version *versions;
    struct known_model *next;
};

/* A version that is to be loaded. */
struct load {
    struct known_model *model;
    struct known_version *version;
    char *path;
    uint64_t digest;
    struct load *next;
};

struct keeper {
    struct keeper_options options;
    char *only_name, *only_version; /* what options.model is called; NULL without one */
    struct metrics_shard *shard;
    struct known_model *models; /* the looking thread's own, and the rest too, but for what is below the locks */
    struct load *loads;         /* of this look, in no order */
    struct error first_error;   /* of this look; STATUS_OK: none */
    int64_t looked_ns;
    bool started;        /* the first look is over: what happens is told in the log at once */
    struct buffer early; /* lines of before, each with its NUL: if nothing can be served, its error alone is told */
    int events_fd;

    pthread_mutex_t publish_lock; /* while loads run: guards the catalog's changes, first_error and next_load */
    struct load *next_load;

    pthread_t thread;
    bool running;
    int wake_fd;          /* an eventfd */
    pthread_mutex_t lock; /* guards all below */
    struct keeper_task *tasks, **tasks_tail;
    bool rescan, stopped;
};

/* ---- keeper_scan.c ---- */

/* Looks at the model of this name, or with NULL at all; with `whole` what is there is taken as whole, and what failed is
 * tried again. Models and versions that have gone are taken out. */
enum status keeper_scan(struct keeper *keeper, const char *only, bool whole, struct error *err);

/* The model, or NULL. */
struct known_model *keeper_find_model(const struct keeper *keeper, const char *name);

/* Takes the versions out that are not wanted any more, where those that are wanted are served. */
void keeper_prune(struct keeper *keeper);

/* Notes, logs and counts what is wrong with a model, or with a version of it. The caller holds publish_lock, or nothing
 * is being loaded. */
void keeper_fail(struct keeper *keeper, const char *name, const char *version, const struct error *err);

void keeper_forget_all(struct keeper *keeper);

/* Logs the line; before the first look is over, at its end. */
void keeper_tell(struct keeper *keeper, const char *line);

/* ---- keeper_load.c ---- */

/* Loads what keeper_scan listed. */
void keeper_load_all(struct keeper *keeper);

#endif
