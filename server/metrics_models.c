/* What is published by model. Models that differ only in what a family does not tell (its versions, say) are one series
 * of that family: their counters are added up as they are written.
 *
 * mlpd's own families tell neither versions nor kernels apart, so that what an operator compares over a roll-out keeps
 * its name; Triton's tell versions apart. Their durations are sums over requests, those of a batch once for each request
 * in it, as Triton has them; microseconds are cut, not rounded. */
#include <string.h>

#include "server/metrics_parts.h"

/* What a family tells apart, beside the model's name. */
enum series_key { BY_NAME, BY_DEVICE, BY_VERSION };

/* The label that this is, and its value; for BY_NAME none. */
static struct metrics_label second_label(const struct metrics_model *model, enum series_key key)
{
    if (key == BY_DEVICE)
        return (struct metrics_label){"device", model->device};
    if (key == BY_VERSION)
        return (struct metrics_label){"version", model->version};
    return (struct metrics_label){NULL, ""};
}

/* METRICS_OTHER is, once a model has been there. */
static bool is_published(const struct metrics *metrics, size_t model)
{
    const struct model_place *place = &metrics->models[model];
    return model != METRICS_OTHER || place->uses || place->removal;
}

static bool same_series(const struct metrics *metrics, size_t a, size_t b, enum series_key key)
{
    const struct metrics_model *left = &metrics->models[a].texts, *right = &metrics->models[b].texts;
    return is_published(metrics, a) && is_published(metrics, b) && strcmp(left->name, right->name) == 0 &&
           strcmp(second_label(left, key).value, second_label(right, key).value) == 0;
}

/* Whether the model is published, and its series is not that of a model before it. */
static bool begins_series(const struct metrics *metrics, size_t model, enum series_key key)
{
    for (size_t i = 0; i < model; i++)
        if (same_series(metrics, i, model, key))
            return false;
    return is_published(metrics, model);
}

/* A part of struct model_counts, given by its place and size in bytes, added up over all models of the series. */
static void sum_series(const struct metrics *metrics, size_t model, enum series_key key, size_t offset, void *ret,
                       size_t bytes)
{
    memset(ret, 0, bytes);
    for (size_t i = model; i < metrics->model_count; i++) {
        if (!same_series(metrics, i, model, key))
            continue;
        metrics_add_counters(ret, (const char *)&metrics->sums.models[i] + offset, bytes);
        if (key != BY_VERSION)
            metrics_add_counters(ret, (const char *)&metrics->models[i].inherited + offset, bytes);
    }
}

/* ---- families ---- */

struct counter_family {
    const char *name, *help;
    size_t offset; /* in struct model_counts */
    enum series_key key;
    uint64_t divisor;
};

static void write_counter(const struct metrics *metrics, const struct counter_family *family, struct buffer *out)
{
    metrics_write_head(out, family->name, "counter", family->help);
    for (size_t i = 0; i < metrics->model_count; i++) {
        if (!begins_series(metrics, i, family->key))
            continue;
        const struct metrics_model *model = &metrics->models[i].texts;
        _Atomic uint64_t sum;
        sum_series(metrics, i, family->key, family->offset, &sum, sizeof sum);
        metrics_write_sample(out, family->name,
                             METRICS_LABELS({"model", model->name}, second_label(model, family->key)),
                             sum / family->divisor, WHOLE);
    }
}

static void write_histogram(const struct metrics *metrics, const char *name, const char *help, size_t offset,
                            const struct metrics_scale *scale, struct buffer *out)
{
    metrics_write_head(out, name, "histogram", help);
    for (size_t i = 0; i < metrics->model_count; i++) {
        if (!begins_series(metrics, i, BY_NAME))
            continue;
        struct histogram merged;
        sum_series(metrics, i, BY_NAME, offset, &merged, sizeof merged);
        metrics_write_histogram(out, name, "model", metrics->models[i].texts.name, &merged, scale);
    }
}

static void write_model_info(const struct metrics *metrics, struct buffer *out)
{
    metrics_write_head(out, "mlpd_model_info", "gauge", "1 for each model that is loaded, and what runs it.");
    for (size_t i = METRICS_OTHER + 1; i < metrics->model_count; i++) {
        const struct metrics_model *model = &metrics->models[i].texts;
        if (metrics->models[i].uses)
            metrics_write_sample(out, "mlpd_model_info",
                                 METRICS_LABELS({"model", model->name}, {"version", model->version},
                                                {"device", model->device}, {"kernels", model->kernels}),
                                 1, WHOLE);
    }
}

#define COUNTER(member) offsetof(struct model_counts, member)

void metrics_write_models(const struct metrics *metrics, struct buffer *out)
{
    static const struct counter_family counters[] = {
        {"mlpd_rows_total", "Rows that were answered with a prediction.", COUNTER(rows), BY_NAME, 1},
        {"mlpd_batches_total", "Batches that were run.", COUNTER(batches), BY_DEVICE, 1},
    };
    write_model_info(metrics, out);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        write_counter(metrics, &counters[i], out);
    write_histogram(metrics, "mlpd_queue_seconds", "From a request's entry into the queue to its leaving it.",
                    COUNTER(wait_ns), &metrics_seconds, out);
    write_histogram(metrics, "mlpd_compute_seconds", "How long a batch ran.", COUNTER(batch_ns), &metrics_seconds,
                    out);
    write_histogram(metrics, "mlpd_batch_rows", "Rows in a batch.", COUNTER(batch_rows), &metrics_rows, out);
}

/* ---- Triton's ---- */

static void write_triton_failures(const struct metrics *metrics, struct buffer *out)
{
#define REASON(id, text) text,
    static const char *const reasons[METRICS_OUTCOMES] = {METRICS_OUTCOME_MAP(REASON)};
#undef REASON
    static const char name[] = "nv_inference_request_failure";
    metrics_write_head(out, name, "counter", "Requests that failed, by reason.");
    for (size_t i = 0; i < metrics->model_count; i++) {
        if (!begins_series(metrics, i, BY_VERSION))
            continue;
        const struct metrics_model *model = &metrics->models[i].texts;
        _Atomic uint64_t outcomes[METRICS_OUTCOMES];
        sum_series(metrics, i, BY_VERSION, COUNTER(outcomes), outcomes, sizeof outcomes);
        for (size_t outcome = METRICS_SUCCESS + 1; outcome < METRICS_OUTCOMES; outcome++)
            metrics_write_sample(
                out, name,
                METRICS_LABELS({"model", model->name}, {"version", model->version}, {"reason", reasons[outcome]}),
                outcomes[outcome], WHOLE);
    }
}

void metrics_write_triton(struct metrics *metrics, struct buffer *out)
{
    enum { US = 1000 };
    static const struct counter_family counters[] = {
        {"nv_inference_request_success", "Successful requests.", COUNTER(outcomes[METRICS_SUCCESS]), BY_VERSION, 1},
        {"nv_inference_count", "Rows of successful requests.", COUNTER(rows), BY_VERSION, 1},
        {"nv_inference_exec_count", "Batches.", COUNTER(batches), BY_VERSION, 1},
        {"nv_inference_request_duration_us", "Successful requests, from first byte to last.", COUNTER(request_ns),
         BY_VERSION, US},
        {"nv_inference_queue_duration_us", "Successful requests, in the queue.", COUNTER(queue_ns), BY_VERSION, US},
        {"nv_inference_compute_input_duration_us", "Successful requests, being decoded.", COUNTER(decode_ns),
         BY_VERSION, US},
        {"nv_inference_compute_infer_duration_us", "Successful requests, being computed.", COUNTER(compute_ns),
         BY_VERSION, US},
        {"nv_inference_compute_output_duration_us", "Successful requests, being encoded.", COUNTER(encode_ns),
         BY_VERSION, US},
    };
    pthread_mutex_lock(&metrics->lock);
    metrics_sum(metrics);
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        write_counter(metrics, &counters[i], out);
    write_triton_failures(metrics, out);
    pthread_mutex_unlock(&metrics->lock);
}
