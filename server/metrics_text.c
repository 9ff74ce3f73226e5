/* The numbers as Prometheus's text format 0.0.4: for each metric its HELP, its TYPE and its series, the label values
 * escaped. A family is written when it has a series; a series from the moment that it has a name. */
#include <assert.h>
#include <stdio.h>

#include "engine/utf8.h"
#include "server/metrics_parts.h"
#include "server/process_stats.h"

/* ---- a sample ---- */

/* As the format wants a label's value: UTF-8, in which backslash, quote and line feed are escaped. */
static void write_label_value(struct buffer *out, const char *value)
{
    for (const char *at = value; *at;) {
        size_t len = utf8_length(at, UTF8_BYTES_MAX);
        if (*at == '\n')
            buffer_append_str(out, "\\n");
        else if (*at == '\\' || *at == '"')
            buffer_append(out, (const char[]){'\\', *at}, 2);
        else if (len)
            buffer_append(out, at, len);
        else
            buffer_append_str(out, "\xEF\xBF\xBD");
        at += len ? len : 1;
    }
}

static void write_labels(struct buffer *out, const struct metrics_label *labels)
{
    for (const struct metrics_label *label = labels; label->key; label++) {
        buffer_append_char(out, label == labels ? '{' : ',');
        buffer_append_str(out, label->key);
        buffer_append_str(out, "=\"");
        write_label_value(out, label->value);
        buffer_append_char(out, '"');
    }
    if (labels->key)
        buffer_append_char(out, '}');
}

/* The fraction's digits without the zeros at its end. */
static void write_fraction(struct buffer *out, uint64_t fraction, unsigned decimals)
{
    char digits[NANO];
    assert(decimals <= NANO);
    for (unsigned i = decimals; i-- > 0; fraction /= 10)
        digits[i] = (char)('0' + fraction % 10);
    while (decimals && digits[decimals - 1] == '0')
        decimals--;
    if (decimals)
        buffer_append_char(out, '.');
    buffer_append(out, digits, decimals);
}

void metrics_write_sample(struct buffer *out, const char *name, const struct metrics_label *labels, uint64_t value,
                          enum metrics_decimals decimals)
{
    uint64_t unit = 1;
    for (unsigned i = 0; i < decimals; i++)
        unit *= 10;
    buffer_append_str(out, name);
    write_labels(out, labels);
    buffer_append_char(out, ' ');
    buffer_append_uint(out, value / unit);
    write_fraction(out, value % unit, decimals);
    buffer_append_char(out, '\n');
}

void metrics_write_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    const char *const parts[] = {"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        buffer_append_str(out, parts[i]);
}

/* A metric of one series without a label. */
static void write_single(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value,
                         enum metrics_decimals decimals)
{
    metrics_write_head(out, name, type, help);
    metrics_write_sample(out, name, METRICS_NO_LABELS, value, decimals);
}

/* ---- histograms ---- */

static const char *const seconds_bounds[SECONDS_BOUNDS] = {
    "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
    "0.025",   "0.05",  "0.1",    "0.25",    "0.5",    "1",     "2.5",    "5",     "10",
};
static const char *const rows_bounds[ROWS_BOUNDS] = {
    "1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "1024", "2048", "4096",
};
const struct metrics_scale metrics_seconds = {seconds_bounds, SECONDS_BOUNDS, NANO};
const struct metrics_scale metrics_rows = {rows_bounds, ROWS_BOUNDS, WHOLE};

/* The count is the sum of the buckets, and not a counter of its own, so that the two agree in every scrape. */
void metrics_write_histogram(struct buffer *out, const char *name, const char *key, const char *value,
                             const struct histogram *histogram, const struct metrics_scale *scale)
{
    char suffixed[64];
    uint64_t below = 0;
    snprintf(suffixed, sizeof suffixed, "%s_bucket", name);
    for (size_t i = 0; i <= scale->count; i++) {
        const char *bound = i < scale->count ? scale->bounds[i] : "+Inf";
        below += histogram->buckets[i];
        metrics_write_sample(out, suffixed, METRICS_LABELS({key, value}, {"le", bound}), below, WHOLE);
    }
    snprintf(suffixed, sizeof suffixed, "%s_sum", name);
    metrics_write_sample(out, suffixed, METRICS_LABELS({key, value}), histogram->sum, scale->decimals);
    snprintf(suffixed, sizeof suffixed, "%s_count", name);
    metrics_write_sample(out, suffixed, METRICS_LABELS({key, value}), below, WHOLE);
}

/* ---- what is counted without labels, and by reason ---- */

static void write_events(const struct counts *sums, struct buffer *out)
{
#define EVENT_NAME(id, name, help) {name, help},
    static const struct {
        const char *name, *help;
    } events[METRICS_EVENTS] = {METRICS_EVENT_MAP(EVENT_NAME)};
#undef EVENT_NAME
    for (size_t i = 0; i < METRICS_EVENTS; i++)
        write_single(out, events[i].name, "counter", events[i].help, sums->events[i], WHOLE);
}

/* All reasons from the start, so that the first rejection is an increase of something. */
static void write_rejections(const struct counts *sums, struct buffer *out)
{
#define REASON(id, text) text,
    static const char *const reasons[METRICS_REJECTIONS] = {METRICS_REJECTION_MAP(REASON)};
#undef REASON
    metrics_write_head(out, "mlpd_rejected_total", "counter",
                       "Requests, and connections, that were turned away for the time being, by reason.");
    for (size_t i = 0; i < METRICS_REJECTIONS; i++)
        metrics_write_sample(out, "mlpd_rejected_total", METRICS_LABELS({"reason", reasons[i]}),
                             sums->rejections[i], WHOLE);
}

/* ---- by endpoint ---- */

static void write_answers(const struct metrics *metrics, struct buffer *out)
{
#define CODE_TEXT(code) #code,
    static const char *const codes[METRICS_CODES] = {METRICS_CODE_MAP(CODE_TEXT)};
#undef CODE_TEXT
    metrics_write_head(out, "mlpd_requests_total", "counter",
                       "Requests that were answered, by endpoint and status code.");
    for (size_t i = 0; i < metrics->endpoint_count; i++)
        for (size_t code = 0; code < METRICS_CODES; code++)
            if (metrics->sums.endpoints[i].answers[code])
                metrics_write_sample(
                    out, "mlpd_requests_total",
                    METRICS_LABELS({"endpoint", metrics->endpoints[i].path}, {"code", codes[code]}),
                    metrics->sums.endpoints[i].answers[code], WHOLE);
}

static bool has_answered(const struct endpoint_counts *counts)
{
    for (size_t code = 0; code < METRICS_CODES; code++)
        if (counts->answers[code])
            return true;
    return false;
}

static void write_request_times(const struct metrics *metrics, struct buffer *out)
{
    metrics_write_head(out, "mlpd_request_seconds", "histogram",
                       "From a request's first byte to its answer's last, at the endpoints that run a model.");
    for (size_t i = 0; i < metrics->endpoint_count; i++)
        if (metrics->endpoints[i].timed && has_answered(&metrics->sums.endpoints[i]))
            metrics_write_histogram(out, "mlpd_request_seconds", "endpoint", metrics->endpoints[i].path,
                                    &metrics->sums.endpoints[i].request_ns, &metrics_seconds);
}

/* ---- the moment, and the process ---- */

static void write_build_info(const struct metrics_state *state, struct buffer *out)
{
    metrics_write_head(out, "mlpd_build_info", "gauge", "1, with the program's version and source.");
    metrics_write_sample(
        out, "mlpd_build_info",
        METRICS_LABELS({"version", state->version}, {state->revision ? "revision" : NULL, state->revision}), 1,
        WHOLE);
}

static void write_state(const struct metrics_state *state, struct buffer *out)
{
    const struct {
        const char *name, *help;
        uint64_t value;
        bool is_limit;
    } gauges[] = {
        {"mlpd_ready", "1 if new requests are taken, as /readyz says.", state->ready, false},
        {"mlpd_inflight_requests", "Requests whose first byte was read and whose answer is not yet sent.",
         state->inflight_requests, false},
        {"mlpd_queue_rows", "Rows that wait to be computed.", state->queue_rows, false},
        {"mlpd_queue_rows_max", "Rows that may wait: --queue-max.", state->queue_rows_max, true},
        {"mlpd_connections", "Open connections.", state->connections, false},
        {"mlpd_connections_max", "Connections that may be open: --connections-max.", state->connections_max, true},
        {"mlpd_memory_held_bytes", "Bytes that requests hold, bodies and answers.", state->memory_held_bytes,
         false},
        {"mlpd_memory_max_bytes", "Bytes that requests may hold: --memory-max.", state->memory_max_bytes, true},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        if (gauges[i].value || !gauges[i].is_limit)
            write_single(out, gauges[i].name, "gauge", gauges[i].help, gauges[i].value, WHOLE);
    write_single(out, "mlpd_log_lines_lost_total", "counter",
                 "Lines that the log could not take, since its disk was full or its reader slow.",
                 state->log_lines_lost, WHOLE);
}

static void write_process(const struct metrics *metrics, struct buffer *out)
{
    struct process_stats stats;
    process_stats_read(PROCESS_SELF, &stats);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
        enum metrics_decimals decimals;
    } all[] = {
        {"mlpd_start_time_seconds", "gauge", "When the daemon began, in seconds since 1970.", metrics->start_ms,
         MILLI},
        {"process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.",
         metrics->process_start_ms, MILLI},
        {"process_cpu_seconds_total", "counter", "User and system time of all threads.", stats.cpu_ns, NANO},
        {"process_resident_memory_bytes", "gauge", "Memory that is resident.", stats.resident_bytes, WHOLE},
        {"process_virtual_memory_bytes", "gauge", "Address space.", stats.virtual_bytes, WHOLE},
        {"process_threads", "gauge", "Threads.", stats.threads, WHOLE},
        {"process_open_fds", "gauge", "Open file descriptors.", stats.open_fds, WHOLE},
        {"process_max_fds", "gauge", "File descriptors that may be open: ulimit -n.", stats.max_fds, WHOLE},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].value != PROCESS_UNKNOWN)
            write_single(out, all[i].name, all[i].type, all[i].help, all[i].value, all[i].decimals);
}

void metrics_write(struct metrics *metrics, const struct metrics_state *state, struct buffer *out)
{
    pthread_mutex_lock(&metrics->lock);
    metrics_sum(metrics);
    write_build_info(state, out);
    write_state(state, out);
    write_events(&metrics->sums, out);
    write_rejections(&metrics->sums, out);
    write_answers(metrics, out);
    write_request_times(metrics, out);
    metrics_write_models(metrics, out);
    write_process(metrics, out);
    pthread_mutex_unlock(&metrics->lock);
}
