#include "server/telemetry.h"

#include <stdlib.h>

/* Paths that are worth a histogram of their times: a model runs behind them. */
static bool is_timed(const struct http_route *route)
{
    return route->runs_model;
}

enum status telemetry_open(struct telemetry *telemetry, const struct http_route *routes,
                           struct access_log *access_log, struct error *err)
{
    *telemetry = (struct telemetry){.access_log = access_log};
    enum status status = metrics_create(&telemetry->metrics, err);
    if (status != STATUS_OK)
        return status;
    while (routes[telemetry->route_count].path)
        telemetry->route_count++;
    telemetry->endpoints = calloc(telemetry->route_count + 1, sizeof *telemetry->endpoints);
    if (!telemetry->endpoints) {
        telemetry_close(telemetry);
        return error_set(err, STATUS_NO_MEMORY, "no memory for counters");
    }
    for (size_t i = 0; i < telemetry->route_count; i++)
        telemetry->endpoints[i] = metrics_add_endpoint(telemetry->metrics, routes[i].path, is_timed(&routes[i]));
    telemetry->endpoints[telemetry->route_count] = METRICS_OTHER;
    return STATUS_OK;
}

size_t telemetry_add_model(struct telemetry *telemetry, const struct backend *backend)
{
    const struct metrics_model model = {.name = backend->model->name,
                                        .version = backend->model->version,
                                        .device = backend->device,
                                        .kernels = backend->kernels};
    return metrics_add_model(telemetry->metrics, &model);
}

static enum metrics_outcome outcome_of(const struct http_record *record)
{
    if (record->outcome != HTTP_DONE || record->code == 504)
        return METRICS_FAILED_CANCELED;
    if (record->code < 400)
        return METRICS_SUCCESS;
    if (record->code == 503)
        return METRICS_FAILED_REJECTED;
    return record->code >= 500 ? METRICS_FAILED_BACKEND : METRICS_FAILED_OTHER;
}

static void count_inference(size_t model, struct metrics_shard *shard, const struct http_record *record)
{
    const struct http_timing *timing = &record->timing;
    const struct metrics_inference inference = {
        .outcome = outcome_of(record),
        .rows = record->rows,
        .decode_ns = timing->decode_ns,
        .queue_ns = timing->queue_ns,
        .compute_ns = timing->compute_ns,
        .encode_ns = timing->encode_ns,
        .request_ns = record->ended_ns - record->began_ns,
    };
    metrics_count_inference(shard, model, &inference);
    if (timing->compute_ns)
        metrics_count_wait(shard, model, timing->queue_ns);
}

static void count(const struct telemetry *telemetry, struct metrics_shard *shard, const struct http_record *record,
                  const struct served *served)
{
    if (record->outcome == HTTP_DONE)
        metrics_count_answer(shard, telemetry->endpoints[record->route], record->code,
                             record->ended_ns - record->began_ns);
    else
        metrics_count_event(shard, record->outcome == HTTP_GONE ? METRICS_CANCELLED : METRICS_LOST);
    if (record->code == 504)
        metrics_count_event(shard, METRICS_EXPIRED);
    if (record->runs_model)
        count_inference(served ? served->metrics_model : METRICS_OTHER, shard, record);
}

static uint64_t us(int64_t ns)
{
    return ns > 0 ? (uint64_t)ns / 1000 : 0;
}

static void log_access(const struct telemetry *telemetry, const struct http_record *record,
                       const struct served *served)
{
    const struct http_timing *timing = &record->timing;
    const struct access_record line = {
        .request_id = record->request_id,
        .peer = record->address,
        .method = record->method,
        .path = record->path,
        .protocol = record->protocol,
        .user_agent = record->user_agent,
        .model = record->rows && served ? served->full_name : NULL,
        .code = record->code,
        .request_bytes = record->body_bytes,
        .response_bytes = record->reply_bytes,
        .rows = record->rows,
        .decode_us = us(timing->decode_ns),
        .queue_us = us(timing->queue_ns),
        .compute_us = us(timing->compute_ns),
        .encode_us = us(timing->encode_ns),
        .total_us = us(record->ended_ns - record->began_ns),
    };
    access_log_write(telemetry->access_log, &line);
}

void telemetry_rejected(struct metrics_shard *shard, enum http_rejection reason)
{
    static const enum metrics_rejection reasons[] = {
        [HTTP_REJECTED_QUEUE_FULL] = METRICS_QUEUE_FULL,
        [HTTP_REJECTED_MEMORY] = METRICS_MEMORY,
        [HTTP_REJECTED_CONNECTIONS] = METRICS_CONNECTIONS,
        [HTTP_REJECTED_DRAINING] = METRICS_DRAINING,
    };
    if (reason != HTTP_NOT_REJECTED)
        metrics_count_rejected(shard, reasons[reason]);
}

void telemetry_ended(const struct telemetry *telemetry, struct metrics_shard *shard,
                     const struct http_record *record, const struct served *served)
{
    count(telemetry, shard, record, served);
    telemetry_rejected(shard, record->rejection);
    if (telemetry->access_log)
        log_access(telemetry, record, served);
}

void telemetry_close(struct telemetry *telemetry)
{
    free(telemetry->endpoints);
    metrics_free(telemetry->metrics);
    *telemetry = (struct telemetry){0};
}
