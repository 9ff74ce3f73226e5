#include "server/api_operations.h"

#include <string.h>

#include "server/app.h"
#include "server/log.h"
#include "server/version.h"

static struct app *app_of(struct http_request *request)
{
    return request->context;
}

static void reply_text(struct http_request *request, const char *text)
{
    request->reply.code = 200;
    request->reply.content_type = "application/json";
    buffer_append_str(&request->reply.body, text);
}

/* Whether no batch runs for longer than one can take, and every loop still looks at its sockets. */
static enum status check_alive(struct http_request *request, struct error *err)
{
    const struct app *app = app_of(request);
    int64_t worker_ns = batch_workers_busy_ns(app->workers), loop_ns = http_request_stats(request).stuck_ns;
    if (worker_ns > app->stuck_ns)
        error_set(err, STATUS_OVERLOADED, "a worker has been busy with one batch for %lld ms",
                  (long long)(worker_ns / 1000000));
    else if (loop_ns > app->stuck_ns)
        error_set(err, STATUS_OVERLOADED, "an I/O thread has not looked at its connections for %lld ms",
                  (long long)(loop_ns / 1000000));
    else
        return STATUS_OK;
    return error_hint(err, "restart this server; its log may say what it last did");
}

enum http_progress healthz_decode(struct http_request *request)
{
    struct error err;
    if (check_alive(request, &err) == STATUS_OK)
        reply_text(request, "{\"status\":\"ok\"}\n");
    else
        http_reply_error(request, &err);
    return HTTP_ANSWERED;
}

static enum status check_ready(struct http_request *request, struct error *err)
{
    enum status status = check_alive(request, err);
    if (status == STATUS_OK && atomic_load(&app_of(request)->loading)) {
        error_set(err, STATUS_OVERLOADED, "loading the models");
        status = error_hint(err, "ask again in a moment; GET /models says how far it is");
    }
    if (status == STATUS_OK && atomic_load(&app_of(request)->draining)) {
        error_set(err, STATUS_OVERLOADED, "the server is shutting down");
        status = error_hint(err, "send requests to another replica");
    }
    return status == STATUS_OK ? status : error_prefix(err, "not ready: ");
}

enum http_progress readyz_decode(struct http_request *request)
{
    struct error err;
    if (check_ready(request, &err) == STATUS_OK)
        reply_text(request, "{\"status\":\"ready\"}\n");
    else
        http_reply_error(request, &err);
    return HTTP_ANSWERED;
}

/* ---- /metrics ---- */

const char *const metrics_parameters[] = {"names", NULL};

static void write_metrics(struct http_request *request)
{
    const struct app *app = app_of(request);
    struct http_stats stats = http_request_stats(request);
    struct error unread;
    const struct metrics_state state = {
        .version = MLPD_VERSION,
        .ready = check_ready(request, &unread) == STATUS_OK,
        .queue_rows = batch_workers_queued_rows(app->workers),
        .queue_rows_max = app->queue_max,
        .inflight_requests = stats.in_flight,
        .connections = stats.connections,
        .connections_max = app->connections_max,
        .memory_held_bytes = stats.memory_bytes,
        .memory_max_bytes = app->memory_bytes_max,
        .log_lines_lost = log_lost() + access_log_lost(app->telemetry.access_log),
    };
    metrics_write(app->telemetry.metrics, &state, &request->reply.body);
}

enum http_progress metrics_decode(struct http_request *request)
{
    const char *names = http_request_parameter(request, "names");
    struct error err;
    request->reply.code = 200;
    request->reply.content_type = METRICS_CONTENT_TYPE;
    if (!names || strcmp(names, "mlpd") == 0) {
        write_metrics(request);
    } else if (strcmp(names, "triton") == 0) {
        metrics_write_triton(app_of(request)->telemetry.metrics, &request->reply.body);
    } else {
        error_set(&err, STATUS_INVALID, "?names=%.40s: expected mlpd or triton", names);
        error_hint(&err,
                   "leave the parameter out, or send names=triton for the names that Triton's dashboards know");
        http_reply_error(request, &err);
    }
    return HTTP_ANSWERED;
}
