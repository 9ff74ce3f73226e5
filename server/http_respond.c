/* Answers, as they go out: the reply's code and body, and the headers that every answer has. */
#include <assert.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "server/http_server.h"

static const char out_of_memory[] =
    "{\"error\":\"there is no memory for the answer\",\"hint\":\"send it again in a moment\"}\n";

/* The answer for which there was no memory becomes one that needs none. */
static void replace_failed(struct http_reply *reply)
{
    if (!reply->body.failed)
        return;
    reply->code = MHD_HTTP_SERVICE_UNAVAILABLE;
    reply->content_type = "application/json";
    reply->retry_after_s = 1;
    reply->shared_body = out_of_memory;
    reply->shared_body_len = sizeof out_of_memory - 1;
}

static struct MHD_Response *make_response(struct exchange *exchange, struct http_reply *reply)
{
    replace_failed(reply);
    const void *data = reply->shared_body ? reply->shared_body : reply->body.data;
    exchange->reply_bytes = reply->shared_body ? reply->shared_body_len : reply->body.len;
    /* The bytes belong to the exchange, which outlives the response: on_completed comes last. */
    return MHD_create_response_from_buffer(exchange->reply_bytes, (void *)(uintptr_t)data, MHD_RESPMEM_PERSISTENT);
}

/* Whether the connection ends with this answer. */
static bool is_last(const struct exchange *exchange)
{
    enum http_phase phase = atomic_load_explicit(&exchange->loop->server->phase, memory_order_relaxed);
    return exchange->out_of_step || phase != PHASE_SERVING;
}

/* Appends "; NAME;dur=1.234", milliseconds, as W3C's Server Timing has them; returns the text's new end. */
static char *append_stage(char *at, const char *name, int64_t ns)
{
    uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    return at + sprintf(at, "%s;dur=%" PRIu64 ".%03u", name, us / 1000, (unsigned)(us % 1000));
}

static bool add_header(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_timing(struct MHD_Response *response, const struct http_timing *timing)
{
    char text[4 * 40], *at = text;
    at = append_stage(at, "decode", timing->decode_ns);
    at = append_stage(at, ", queue", timing->queue_ns);
    at = append_stage(at, ", compute", timing->compute_ns);
    append_stage(at, ", encode", timing->encode_ns);
    return add_header(response, "Server-Timing", text);
}

/* False if there is no memory for one of them. An answer without Connection: close would leave open a connection on which
 * nobody knows where the next request begins. */
static bool add_headers(struct MHD_Response *response, const struct exchange *exchange,
                        const struct http_reply *reply)
{
    bool ok = add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (reply->allow)
        ok &= add_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", reply->retry_after_s);
        ok &= add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    ok &= add_header(response, "x-request-id", exchange->request_id);
    if (exchange->stage != STAGE_EXPIRED && exchange->request.rows)
        ok &= add_timing(response, &exchange->request.timing);
    if (is_last(exchange))
        ok &= add_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return ok;
}

void http_refuse_raw(struct peer *peer, unsigned code, enum peer_verdict verdict, const struct error *err)
{
    if (!peer->exchange)
        request_id_new(peer->request_id);
    peer->verdict = verdict;
    peer->refusal_code = code;
    http_respond_raw(peer->fd, code, peer->exchange ? peer->exchange->request_id : peer->request_id, err);
}

int http_respond_no_memory(struct peer *peer)
{
    struct error err;
    error_set(&err, STATUS_NO_MEMORY, "there is no memory for the request");
    error_hint(&err, "send it again in a moment");
    http_refuse_raw(peer, MHD_HTTP_SERVICE_UNAVAILABLE, PEER_REFUSED, &err);
    return MHD_NO;
}

/* The library has no memory for the answer. */
static int refuse_past_library(struct exchange *exchange, struct http_reply *reply)
{
    reply->code = MHD_HTTP_SERVICE_UNAVAILABLE;
    return http_respond_no_memory(exchange->peer);
}

int http_respond(struct exchange *exchange)
{
    struct http_reply *reply = exchange->stage == STAGE_EXPIRED ? &exchange->late : &exchange->request.reply;
    assert(reply->code);
    if (reply->code == HTTP_CLIENT_LEFT)
        return MHD_NO;
    struct MHD_Response *response = make_response(exchange, reply);
    if (!response)
        return refuse_past_library(exchange, reply);
    peer_move(exchange->peer, PEER_ANSWERING);
    bool queued = add_headers(response, exchange, reply) &&
                  MHD_queue_response(exchange->connection, reply->code, response) == MHD_YES;
    MHD_destroy_response(response);
    return queued ? MHD_YES : refuse_past_library(exchange, reply);
}

static const char *reason_of(unsigned code)
{
    const char *reason = MHD_get_reason_phrase_for(code);
    return reason ? reason : "Refused";
}

void http_respond_raw(int fd, unsigned code, const char *request_id, const struct error *err)
{
    struct http_request request = {0};
    struct http_reply *reply = &request.reply;
    char head[256 + REQUEST_ID_MAX];
    http_reply_error_code(&request, code, err);
    replace_failed(reply);
    const void *body = reply->shared_body ? reply->shared_body : reply->body.data;
    size_t body_len = reply->shared_body ? reply->shared_body_len : reply->body.len;
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nx-request-id: %s\r\n"
                       "%sConnection: close\r\n\r\n",
                       code, reason_of(code), reply->content_type, body_len, request_id,
                       reply->retry_after_s ? "Retry-After: 1\r\n" : "");
    struct iovec parts[] = {{head, (size_t)len}, {(void *)(uintptr_t)body, body_len}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); /* what does not fit is not waited for */
    buffer_free(&reply->body);
}
