#include "server/api_native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_json.h"
#include "server/api_models.h"
#include "server/api_operations.h"
#include "server/api_state.h"

static struct prediction *prediction_of(const struct http_request *request)
{
    return ((const struct api_state *)request->state)->prediction;
}

/* ---- query parameters ---- */

static enum status refuse_value(const char *key, const char *value, const char *expected, struct error *err)
{
    error_set(err, STATUS_INVALID, "?%s=%.40s: expected %s", key, value, expected);
    return error_hint(err, "leave the parameter out, or send %s=%s", key, expected);
}

static enum status read_flag(const struct http_request *request, const char *key, bool absent, bool *ret_flag,
                             struct error *err)
{
    const char *value = http_request_parameter(request, key);
    if (value && strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return refuse_value(key, value, "0 or 1", err);
    *ret_flag = value ? *value == '1' : absent;
    return STATUS_OK;
}

static enum status read_dtype(const struct http_request *request, enum input_dtype *ret_dtype, struct error *err)
{
    const char *value = http_request_parameter(request, "dtype");
    if (!value)
        *ret_dtype = INPUT_DTYPE_ANY;
    else if (strcmp(value, "uint8") == 0)
        *ret_dtype = INPUT_DTYPE_UINT8;
    else if (strcmp(value, "float32") == 0)
        *ret_dtype = INPUT_DTYPE_FLOAT32;
    else
        return refuse_value("dtype", value, "uint8 or float32", err);
    return STATUS_OK;
}

/* Of a parameter that says nothing to a model of this task. */
static enum status refuse_parameter(const char *key, const struct model *model, struct error *err)
{
    const char *task = model_json_task_name(model->task);
    error_set(err, STATUS_INVALID, "?%s came, which means nothing for a model of the task %s", key, task);
    return error_hint(err,
                      "leave it out; GET /model says the task, and model.json in the model's folder may set it");
}

static bool read_number_0_to_1(const char *value, float *ret)
{
    char *end;
    if (!*value || value[strspn(value, "0123456789.")])
        return false;
    *ret = strtof(value, &end);
    return !*end && *ret >= 0 && *ret <= 1;
}

static enum status read_threshold(const struct http_request *request, const struct model *model,
                                  float *ret_threshold, struct error *err)
{
    const char *value = http_request_parameter(request, "threshold");
    if (!value)
        return STATUS_OK;
    if (model->task != TASK_BINARY && model->task != TASK_MULTILABEL)
        return refuse_parameter("threshold", model, err);
    if (read_number_0_to_1(value, ret_threshold))
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "?threshold=%.40s: expected a number from 0 to 1", value);
    return error_hint(err, "send for example threshold=0.3, or leave it out for %g", (double)model->threshold);
}

static enum status read_top_k(const struct http_request *request, const struct model *model, size_t *ret_top_k,
                              struct error *err)
{
    const char *value = http_request_parameter(request, "top_k");
    const size_t classes = model->out_features;
    *ret_top_k = 0;
    if (!value)
        return STATUS_OK;
    if (model->task == TASK_REGRESSION || model->task == TASK_BINARY)
        return refuse_parameter("top_k", model, err);
    size_t digits = strspn(value, "0123456789");
    if (digits && !value[digits] && digits < 10)
        *ret_top_k = strtoul(value, NULL, 10);
    if (*ret_top_k >= 1 && *ret_top_k <= classes)
        return STATUS_OK;
    char expected[64];
    snprintf(expected, sizeof expected, "1 to %zu, the number of classes", classes);
    error_set(err, STATUS_INVALID, "?top_k=%.40s: expected %s", value, expected);
    return error_hint(err, "send for example top_k=%d", classes < 3 ? 1 : 3);
}

enum { TIMEOUT_MS_MAX = 3600000 };

/* ?timeout_ms= may bring the deadline nearer. */
static enum status read_timeout(struct http_request *request, struct error *err)
{
    const char *value = http_request_parameter(request, "timeout_ms");
    if (!value)
        return STATUS_OK;
    size_t digits = strspn(value, "0123456789");
    unsigned long ms = digits && !value[digits] && digits < 9 ? strtoul(value, NULL, 10) : 0;
    if (ms < 1 || ms > TIMEOUT_MS_MAX)
        return refuse_value("timeout_ms", value, "1 to 3600000 milliseconds", err);
    int64_t deadline_ns = request->whole_ns + (int64_t)ms * 1000000;
    if (deadline_ns < atomic_load_explicit(&request->deadline_ns, memory_order_relaxed))
        atomic_store_explicit(&request->deadline_ns, deadline_ns, memory_order_relaxed);
    return STATUS_OK;
}

static enum status check_format(const struct prediction *prediction, struct error *err)
{
    if (prediction->format == ANSWER_JSON ||
        (!prediction->top_k && !prediction->with_logits && !prediction->with_layers))
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "top_k, logits and layers came with Accept: %s, which holds probabilities alone",
              answer_content_type(prediction->format));
    return error_hint(err, "leave them out, or send Accept: application/json");
}

static enum status read_parameters(struct http_request *request, struct prediction *prediction,
                                   struct input_options *input, struct error *err)
{
    const struct app *app = request->context;
    bool resize = true;
    *input = (struct input_options){
        .content_type = request->content_type, .rows_max = app->rows_max, .pixels_max = app->pixels_max};
    prediction->format = answer_negotiate(request->accept);
    enum status status = read_dtype(request, &input->dtype, err);
    if (status == STATUS_OK)
        status = read_flag(request, "resize", true, &resize, err);
    if (status == STATUS_OK)
        status = read_flag(request, "invert", false, &input->invert, err);
    if (status == STATUS_OK)
        status = read_flag(request, "logits", false, &prediction->with_logits, err);
    if (status == STATUS_OK)
        status = read_flag(request, "layers", false, &prediction->with_layers, err);
    if (status == STATUS_OK)
        status = read_top_k(request, prediction->served->model, &prediction->top_k, err);
    if (status == STATUS_OK)
        status = read_threshold(request, prediction->served->model, &prediction->threshold, err);
    if (status == STATUS_OK)
        status = read_timeout(request, err);
    input->refuse_resize = !resize;
    return status == STATUS_OK ? check_format(prediction, err) : status;
}

/* ---- /predict ---- */

enum { GONE_AT_ONCE = 64 }; /* clients that one system call asks after */

static void predict_encode(struct http_request *request)
{
    struct prediction *prediction = prediction_of(request);
    const struct job *job = &prediction->job;
    struct error err;
    request->timing.queue_ns = job->started_ns - prediction->ready_ns;
    request->timing.compute_ns = job->finished_ns - job->started_ns;
    if (prediction_check(prediction, &err) != STATUS_OK) {
        http_reply_error(request, &err);
        return;
    }
    request->reply.code = 200;
    request->reply.content_type = answer_content_type(prediction->format);
    prediction_write(prediction, &request->reply.body);
}

/* A large body is decoded on another thread than the loop's, where nothing can be gathered. Of thousands of connections that
 * are ready at once the gathered work is run in pieces; what the queue would take off the loop, it costs it. */
static bool is_gathered(struct http_request *request)
{
    struct api_loop *loop = request->loop_state;
    struct prediction *prediction = prediction_of(request);
    if (!loop->app->gathers || !request->on_loop || !gather_takes(loop->gather, prediction))
        return false;
    if (gather_add(loop->gather, prediction))
        return true;
    http_request_run_gathered(request);
    return gather_add(loop->gather, prediction);
}

/* A value that is none is refused when the body is decoded. */
static void predict_prepare(struct http_request *request)
{
    struct error unread;
    read_timeout(request, &unread);
}

static enum http_progress predict_decode(struct http_request *request)
{
    struct prediction *prediction = prediction_of(request);
    const struct served *served = NULL;
    struct input_options input;
    struct error err;
    prediction->owner = request;
    prediction->account = request->account;
    enum status status = api_find_model(request, &served, &err);
    if (status == STATUS_OK)
        status = prediction_use(prediction, served, &err);
    if (status == STATUS_OK)
        status = read_parameters(request, prediction, &input, &err);
    if (status == STATUS_OK)
        status = prediction_read(prediction, &input, request->body.data ? request->body.data : "",
                                 request->body.len, &err);
    request->rows = status == STATUS_OK ? prediction->job.count : 0;
    if (status == STATUS_OK)
        return is_gathered(request) ? HTTP_GATHERED : HTTP_PENDING;
    if (status == STATUS_NO_MEMORY)
        request->rejection = HTTP_REJECTED_MEMORY;
    http_reply_error(request, &err);
    return HTTP_ANSWERED;
}

static void predict_done(struct job *job)
{
    struct prediction *prediction = (struct prediction *)job;
    http_request_complete(prediction->owner);
}

static void predict_start(struct http_request *request)
{
    struct error err;
    if (prediction_submit(prediction_of(request), predict_done, &err) == STATUS_OK)
        return;
    request->rejection = HTTP_REJECTED_QUEUE_FULL;
    http_reply_error(request, &err);
    http_request_complete(request);
}

void api_native_mark_gone(void *context, struct job *const *jobs, size_t count, bool *gone)
{
    (void)context;
    struct http_request *requests[GONE_AT_ONCE];
    for (size_t at = 0; at < count; at += GONE_AT_ONCE) {
        size_t some = count - at < GONE_AT_ONCE ? count - at : GONE_AT_ONCE;
        for (size_t i = 0; i < some; i++)
            requests[i] = ((const struct prediction *)jobs[at + i])->owner;
        http_requests_find_gone(requests, some, gone + at);
    }
}

static bool predict_withdraw(struct http_request *request)
{
    return prediction_withdraw(prediction_of(request));
}

/* ---- what the daemon tells of itself ---- */

/* $ stands for the server's own address. */
static const char index_text[] =
    "mlpd serves dense neural networks over HTTP.\n"
    "\n"
    "POST /predict   classify what the body holds: a picture, a raw tensor, an .npy, JSON or a form of these\n"
    "    curl --data-binary @boot.png  $/predict\n"
    "    curl -T boot.png              $/predict\n"
    "    curl -F image=@boot.png       $/predict\n"
    "    curl --data-binary @boot.png '$/predict?top_k=3&logits=1&layers=1'\n"
    "GET  /model     structure, parameters and input of the model\n"
    "    curl  $/model\n"
    "    curl '$/model?format=text'\n"
    "GET  /models    the models that are served, their versions and states; each is at /models/NAME, and\n"
    "                predicts at /models/NAME/predict and /models/NAME/versions/N/predict\n"
    "    curl  $/models\n"
    "GET  /healthz   alive\n"
    "    curl  $/healthz\n"
    "GET  /readyz    ready for requests\n"
    "    curl  $/readyz\n"
    "GET  /metrics   counters for Prometheus\n"
    "    curl  $/metrics\n";

/* The lines of the page name the server as its reader did, if that is a plain host and port. */
static enum http_progress index_decode(struct http_request *request)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]";
    bool usable = *request->host && !request->host[strspn(request->host, plain)];
    request->reply.code = 200;
    request->reply.content_type = "text/plain; charset=utf-8";
    const char *host = usable ? request->host : "localhost:8080";
    for (const char *at = index_text; *at;) {
        size_t len = strcspn(at, "$");
        buffer_append(&request->reply.body, at, len);
        at += len;
        if (*at == '$') {
            buffer_append_str(&request->reply.body, host);
            at++;
        }
    }
    return HTTP_ANSWERED;
}

/* ---- the table ---- */

static const char *const predict_parameters[] = {"dtype",  "resize",     "invert",    "top_k", "logits",
                                                 "layers", "timeout_ms", "threshold", NULL};

/* A prediction of the model that the path names, or else of the default one. */
#define PREDICT(at)                                                                                                \
    {                                                                                                              \
        .path = (at), .methods = HTTP_POST | HTTP_PUT, .parameters = predict_parameters, .decode = predict_decode, \
        .start = predict_start, .encode = predict_encode, .withdraw = predict_withdraw,                            \
        .prepare = predict_prepare, .runs_model = true                                                             \
    }

#define MODEL(at)                                                                                 \
    {                                                                                             \
        .path = (at), .methods = HTTP_GET, .parameters = model_parameters, .decode = model_decode \
    }

#define ORDER(at, by)                                                                             \
    {                                                                                             \
        .path = (at), .methods = HTTP_POST | HTTP_PUT, .decode = (by), .start = model_task_start, \
        .encode = model_task_encode, .sides = HTTP_ADMIN, .bare = true                            \
    }

const struct http_route api_native_routes[] = {
    PREDICT("/predict"),
    PREDICT("/models/{name}/predict"),
    PREDICT("/models/{name}/versions/{version}/predict"),
    MODEL("/model"),
    MODEL("/models/{name}"),
    MODEL("/models/{name}/versions/{version}"),
    {.path = "/models", .methods = HTTP_GET, .decode = models_decode, .sides = HTTP_EVERYWHERE},
    ORDER("/models/{name}/load", load_decode),
    ORDER("/models/{name}/unload", unload_decode),
    {.path = "/healthz", .methods = HTTP_GET, .decode = healthz_decode, .sides = HTTP_EVERYWHERE, .vital = true},
    {.path = "/readyz", .methods = HTTP_GET, .decode = readyz_decode, .sides = HTTP_EVERYWHERE, .vital = true},
    {.path = "/metrics",
     .methods = HTTP_GET,
     .parameters = metrics_parameters,
     .decode = metrics_decode,
     .sides = HTTP_ADMIN | HTTP_WITHOUT_ADMIN,
     .vital = true},
    {.path = "/", .methods = HTTP_GET, .decode = index_decode, .sides = HTTP_EVERYWHERE},
    {0},
};

/* ---- handlers ---- */

static void *state_create(void *app)
{
    (void)app;
    struct api_state *state = calloc(1, sizeof *state);
    if (state && (state->prediction = prediction_create()))
        return state;
    free(state);
    return NULL;
}

static void let_go(struct api_state *state)
{
    if (state->served)
        catalog_release(state->reader, state->served);
    state->served = NULL;
}

static void state_reset(void *request_state)
{
    struct api_state *state = request_state;
    prediction_reset(state->prediction);
    let_go(state);
}

static void state_free(void *request_state)
{
    struct api_state *state = request_state;
    if (!state)
        return;
    prediction_free(state->prediction);
    let_go(state);
    free(state);
}

static void loop_free(void *loop_state)
{
    struct api_loop *loop = loop_state;
    if (!loop)
        return;
    gather_free(loop->gather);
    metrics_shard_release(loop->app->telemetry.metrics, loop->shard);
    free(loop);
}

static void *loop_create(void *context)
{
    struct app *app = context;
    struct error unread;
    struct api_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->app = app;
    loop->reader = catalog_take_reader(app->catalog);
    loop->shard = metrics_shard_create(app->telemetry.metrics);
    if (loop->shard && gather_create(app->batch_max, &loop->gather, &unread) == STATUS_OK)
        return loop;
    loop_free(loop);
    return NULL;
}

static void loop_run(void *loop_state)
{
    struct api_loop *loop = loop_state;
    struct gather_report report;
    while (gather_run(loop->gather, &report))
        metrics_count_batch(loop->shard, report.served->metrics_model, report.rows,
                            report.finished_ns - report.started_ns);
}

static void began(void *loop_state)
{
    struct api_loop *loop = loop_state;
    metrics_count_event(loop->shard, METRICS_RECEIVED);
}

static void ended(void *loop_state, const struct http_record *record)
{
    struct api_loop *loop = loop_state;
    const struct api_state *state = record->state;
    telemetry_ended(&loop->app->telemetry, loop->shard, record, state ? state->served : NULL);
}

static void rejected(void *loop_state, enum http_rejection reason)
{
    struct api_loop *loop = loop_state;
    telemetry_rejected(loop->shard, reason);
}

struct http_handlers api_native_handlers(struct app *app)
{
    return (struct http_handlers){
        .routes = api_native_routes,
        .context = app,
        .state_create = state_create,
        .state_reset = state_reset,
        .state_free = state_free,
        .loop_create = loop_create,
        .loop_run = loop_run,
        .loop_free = loop_free,
        .began = began,
        .ended = ended,
        .rejected = rejected,
    };
}
