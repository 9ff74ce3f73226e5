/* What becomes of the numbers that requests leave behind: counters for Prometheus (server/metrics.h), and lines of the access
 * log (server/access_log.h). Made once at start; each thread that counts has a shard of its own.
 *
 *     struct telemetry telemetry;
 *     if (telemetry_open(&telemetry, routes, access_log, &err) != STATUS_OK) ...
 *     served->metrics_model = telemetry_add_model(&telemetry, served->backend);
 *     struct metrics_shard *shard = metrics_shard_create(telemetry.metrics);
 *     telemetry_ended(&telemetry, shard, record, served);        // a loop, for each request
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
#include "server/served.h"

struct telemetry {
    struct metrics *metrics;
    struct access_log *access_log; /* NULL: none is kept; the caller's */
    size_t *endpoints;             /* the metrics' numbers of the routes, and of none behind them */
    size_t route_count;
};

/* `routes` end with a path of NULL, and outlive it. On failure nothing is left to close. */
enum status telemetry_open(struct telemetry *telemetry, const struct http_route *routes,
                           struct access_log *access_log, struct error *err);

/* The metrics' number of the backend's model, to be taken back with metrics_remove_model. Any thread. */
size_t telemetry_add_model(struct telemetry *telemetry, const struct backend *backend);

/* A request has ended, which was for this model; NULL where none was found. Called with the shard of the thread that calls. */
void telemetry_ended(const struct telemetry *telemetry, struct metrics_shard *shard,
                     const struct http_record *record, const struct served *served);

/* Something was turned away by the HTTP server. */
void telemetry_rejected(struct metrics_shard *shard, enum http_rejection reason);

void telemetry_close(struct telemetry *telemetry);

#endif
