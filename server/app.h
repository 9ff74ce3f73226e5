/* What the program serves with, made once at start and handed to every handler: the models, what computes for all of them, and
 * the limits. Immutable while requests are served, but for what is marked; any thread may read it.
 */
#ifndef MLPD_SERVER_APP_H
#define MLPD_SERVER_APP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/batcher.h"
#include "server/catalog.h"
#include "server/telemetry.h"

struct keeper;

struct app {
    struct catalog *catalog;
    struct keeper *keeper;
    struct batch_workers *workers;
    struct telemetry telemetry;
    bool gathers; /* short work is run by the loops themselves */
    size_t batch_max, rows_max, pixels_max;
    size_t queue_max, connections_max, memory_bytes_max; /* limits, for who reads the metrics; 0: none */
    int64_t stuck_ns;     /* a batch, or a loop's round, that takes longer than this is stuck */
    atomic_bool loading;  /* the models that were there at the start: readiness says not yet */
    atomic_bool draining; /* readiness says no */
};

#endif
