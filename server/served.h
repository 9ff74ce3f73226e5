/* One version of a model as it is served: the model, what runs it, its queue, and the texts that never change. Immutable once
 * made; any thread may read it, for as long as it holds a reference (server/catalog.h).
 *
 *     struct served *served;
 *     if (served_load("models/digits/3", "digits", "3", &options, &served, &err) != STATUS_OK) ...
 *     if (served_warm(served, &err) != STATUS_OK) ...        // for the daemon: whether it computes
 *     served->batcher = ...;                                 // for the daemon: its queue
 *     served_free(served);
 */
#ifndef MLPD_SERVER_SERVED_H
#define MLPD_SERVER_SERVED_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/model.h"
#include "engine/status.h"
#include "server/buffer.h"

struct catalog_uses;

struct served_options {
    const char *kernels; /* a table's name, or NULL for the best */
    size_t batch_max;    /* rows */
    const char *labels;  /* NULL, or labels between commas in place of the model's own */
    bool unjudged;       /* golden.safetensors is not looked at: it is to be written, or compared by the caller */
};

struct served {
    struct model *model;
    struct backend *backend;
    struct batcher *batcher;   /* NULL where nothing is queued */
    struct catalog_uses *uses; /* this and the next are the catalog's own; NULL outside one */
    struct served *retired_next;
    size_t metrics_model;       /* its number there; the caller's to take back */
    char *full_name;            /* "fashion-mnist/1" */
    struct buffer answer_head;  /* {"model":"fashion-mnist","version":"1" */
    struct buffer *labels_json; /* model_class_count of them: quoted and escaped, or null */
    struct buffer model_json;   /* GET /model */
    struct buffer model_text;   /* GET /model?format=text */
};

/* Loads and packs the version in the folder, or the file, `path`, compares it with its golden.safetensors, and writes its
 * texts. */
enum status served_load(const char *path, const char *name, const char *version,
                        const struct served_options *options, struct served **ret, struct error *err);

/* Runs one row, so that what cannot compute is found out, and what is slow the first time has been. */
enum status served_warm(const struct served *served, struct error *err);

/* Waits until its queue is empty. Takes NULL. */
void served_free(struct served *served);

#endif
