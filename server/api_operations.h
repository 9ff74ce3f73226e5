/* What operators ask: /healthz, /readyz and /metrics. Handlers for the table in server/api_native.c, whose context is a struct
 * app. */
#ifndef MLPD_SERVER_API_OPERATIONS_H
#define MLPD_SERVER_API_OPERATIONS_H

#include "server/http.h"

/* Alive: no worker and no I/O thread is stuck. */
enum http_progress healthz_decode(struct http_request *request);

/* Ready for requests; if not, the answer says why. */
enum http_progress readyz_decode(struct http_request *request);

/* Prometheus's text; ?names=triton: under the names that Triton's dashboards know. */
enum http_progress metrics_decode(struct http_request *request);
extern const char *const metrics_parameters[];

#endif
