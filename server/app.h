/* What the program serves with, made once at start and handed to every handler: the model, what runs it, and the texts
 * that never change. Immutable while requests are served, but for `draining`; any thread may read it.
 *
 *     struct app app;
 *     if (app_open(&app, &options, &err) != STATUS_OK) ...
 *     app.batcher = ...;            // for serving; the caller's to free, before app_close
 *     app_close(&app);
 */
#ifndef MLPD_SERVER_APP_H
#define MLPD_SERVER_APP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/model.h"
#include "engine/status.h"
#include "server/buffer.h"
#include "server/telemetry.h"

struct app_options {
    const char *models;  /* the folder of <name>/<version>/ */
    const char *model;   /* NULL, or a version's folder or a file by itself, in its place */
    const char *labels;  /* NULL, or labels between commas in place of the model's own */
    bool unjudged;       /* golden.safetensors is not looked at: it is to be written */
    const char *kernels; /* a table's name, or NULL for the best */
    size_t batch_max;    /* rows */
    size_t rows_max;     /* in one request */
    size_t pixels_max;   /* of a picture */
};

struct app {
    struct model *model;
    struct backend *backend;
    struct batcher *batcher;                             /* NULL when nothing is served */
    bool gathers;                                        /* short work is run by the loops themselves */
    struct telemetry telemetry;                          /* likewise */
    size_t queue_max, connections_max, memory_bytes_max; /* limits, for who reads the metrics; 0: none */
    int64_t stuck_ns; /* a batch, or a loop's round, that takes longer than this is stuck */
    size_t rows_max, pixels_max;
    struct buffer answer_head;  /* {"model":"fashion-mnist","version":"1" */
    struct buffer *labels_json; /* model_class_count of them: quoted and escaped, or null */
    struct buffer model_json;   /* GET /model */
    struct buffer model_text;   /* GET /model?format=text */
    atomic_bool draining;       /* readiness says no */
};

/* Finds and loads the model, packs it, compares it with its golden.safetensors, writes the texts. On failure nothing is left to close. */
enum status app_open(struct app *app, const struct app_options *options, struct error *err);

void app_close(struct app *app);

#endif
