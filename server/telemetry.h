/* What becomes of the numbers that requests leave behind: counters for Prometheus (server/metrics.h), and lines of the access
 * log (server/access_log.h). Made once at start; each thread that counts has a shard of its own.
 *
 *     struct telemetry telemetry;
 *     if (telemetry_open(&telemetry, routes, access_log, &err) != STATUS_OK) ...
 *     telemetry_serve(&telemetry, backend);              // the model that it counts for
 *     struct metrics_shard *shard = metrics_shard_create(telemetry.metrics);
 *     telemetry_ended(&telemetry, shard, record);        // a loop, for each request
 *     telemetry_close(&telemetry);
 */
#ifndef MLPD_SERVER_TELEMETRY_H
#define MLPD_SERVER_TELEMETRY_H

#include <stddef.h>

#include "engine/backend.h"
#include "engine/status.h"
#include "server/access_log.h"
#include "server/http.h"
#include "server/metrics.h"

struct telemetry {
    struct metrics *metrics;
    struct access_log *access_log; /* NULL: none is kept; the caller's */
    size_t *endpoints;             /* the metrics' numbers of the routes, and of none behind them */
    size_t route_count;
    size_t model;         /* the metrics' number of the model */
    char model_name[256]; /* "fashion-mnist/1", for the access log */
};

/* `routes` end with a path of NULL, and outlive it. On failure nothing is left to close. */
enum status telemetry_open(struct telemetry *telemetry, const struct http_route *routes,
                           struct access_log *access_log, struct error *err);

/* From now on what is counted is counted for this backend's model. */
void telemetry_serve(struct telemetry *telemetry, const struct backend *backend);

/* A request has ended. Called with the shard of the thread that calls. */
void telemetry_ended(const struct telemetry *telemetry, struct metrics_shard *shard,
                     const struct http_record *record);

/* Something was turned away by the HTTP server. */
void telemetry_rejected(struct metrics_shard *shard, enum http_rejection reason);

void telemetry_close(struct telemetry *telemetry);

#endif
