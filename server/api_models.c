#include "server/api_models.h"

#include <string.h>

#include "server/api_state.h"
#include "server/negotiate.h"

enum { TASK_PATIENCE_S = 3600 }; /* a large model may take long, and whoever loads it waits */

static struct api_loop *loop_of(const struct http_request *request)
{
    return request->loop_state;
}

enum status api_find_model(struct http_request *request, const struct served **ret, struct error *err)
{
    struct api_state *state = request->state;
    struct catalog_reader *reader = loop_of(request)->reader;
    const struct http_capture *name = &request->captures[0], *version = &request->captures[1];
    const struct catalog_key key = {name->text, name->len, version->text, version->len};
    enum status status = catalog_acquire(reader, &key, &state->served, err);
    if (status != STATUS_OK)
        return status;
    state->reader = reader;
    *ret = state->served;
    return STATUS_OK;
}

/* ---- what there is ---- */

enum http_progress models_decode(struct http_request *request)
{
    request->reply.code = 200;
    request->reply.content_type = "application/json";
    catalog_describe(loop_of(request)->reader, &request->reply.body);
    return HTTP_ANSWERED;
}

const char *const model_parameters[] = {"format", NULL};

static bool prefers_text(const char *accept)
{
    static const char *const types[] = {"application/json", "text/plain"};
    return negotiate(accept, types, 2) == 1;
}

static enum status read_format(const struct http_request *request, bool *ret_text, struct error *err)
{
    const char *format = http_request_parameter(request, "format");
    if (format && strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
        error_set(err, STATUS_INVALID, "?format=%.40s: expected text or json", format);
        return error_hint(err, "leave the parameter out, or send format=text or json");
    }
    *ret_text = format ? strcmp(format, "text") == 0 : prefers_text(request->accept);
    return STATUS_OK;
}

/* The texts are the model's, which the request holds until it has ended. */
enum http_progress model_decode(struct http_request *request)
{
    const struct served *served = NULL;
    bool as_text = false;
    struct error err;
    enum status status = read_format(request, &as_text, &err);
    if (status == STATUS_OK)
        status = api_find_model(request, &served, &err);
    if (status != STATUS_OK) {
        http_reply_error(request, &err);
        return HTTP_ANSWERED;
    }
    const struct buffer *text = as_text ? &served->model_text : &served->model_json;
    request->reply.code = 200;
    request->reply.content_type = as_text ? "text/plain; charset=utf-8" : "application/json";
    request->reply.shared_body = text->data;
    request->reply.shared_body_len = text->len;
    return HTTP_ANSWERED;
}

/* ---- load and unload ---- */

static void task_done(struct keeper_task *task)
{
    struct api_state *state = (struct api_state *)((char *)task - offsetof(struct api_state, task));
    http_request_complete(state->request);
}

static enum http_progress begin_task(struct http_request *request, enum keeper_order order)
{
    struct api_state *state = request->state;
    const struct http_capture *name = &request->captures[0];
    struct error err;
    if (name->len >= sizeof state->task.name) {
        error_set(&err, STATUS_NOT_FOUND, "there is no model of so long a name");
        http_reply_error(request, &err);
        return HTTP_ANSWERED;
    }
    state->request = request;
    state->task = (struct keeper_task){.order = order, .done = task_done};
    memcpy(state->task.name, name->text, name->len);
    atomic_store_explicit(&request->deadline_ns, request->whole_ns + TASK_PATIENCE_S * INT64_C(1000000000),
                          memory_order_relaxed);
    return HTTP_PENDING;
}

enum http_progress load_decode(struct http_request *request)
{
    return begin_task(request, KEEPER_LOAD);
}

enum http_progress unload_decode(struct http_request *request)
{
    return begin_task(request, KEEPER_UNLOAD);
}

void model_task_start(struct http_request *request)
{
    struct api_state *state = request->state;
    keeper_submit(loop_of(request)->app->keeper, &state->task);
}

void model_task_encode(struct http_request *request)
{
    const struct api_state *state = request->state;
    if (state->task.status != STATUS_OK) {
        http_reply_error(request, &state->task.error);
        return;
    }
    request->reply.code = 200;
    request->reply.content_type = "application/json";
    catalog_describe_model(loop_of(request)->reader, state->task.name, strlen(state->task.name),
                           &request->reply.body);
}
