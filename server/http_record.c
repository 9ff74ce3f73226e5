/* What the handlers are told of requests' ends, for counters and the access log. */
#include "engine/clock.h"
#include "server/http_server.h"

/* What the exchange adds; what its work sets is left out while that may still be under way. */
static void fill(struct http_record *record, const struct exchange *exchange)
{
    const struct http_request *request = &exchange->request;
    record->method = exchange->method;
    record->path = request->path;
    record->protocol = exchange->protocol;
    record->user_agent = request->user_agent;
    record->request_id = exchange->request_id;
    record->body_bytes = exchange->body_bytes;
    record->reply_bytes = exchange->reply_bytes;
    if (exchange->route) {
        record->route = (size_t)(exchange->route - exchange->loop->server->handlers.routes);
        record->runs_model = exchange->route->runs_model;
    }
    if (exchange->outstanding)
        return;
    record->state = request->state;
    record->rows = request->rows;
    record->rejection = request->rejection;
    record->timing = request->timing;
}

void http_record_end(struct peer *peer, const struct exchange *exchange, enum http_outcome outcome, unsigned code)
{
    struct http_loop *loop = peer->loop;
    const struct http_handlers *handlers = &loop->server->handlers;
    if (outcome == HTTP_DROPPED)
        atomic_store_explicit(&loop->lost, atomic_load_explicit(&loop->lost, memory_order_relaxed) + 1,
                              memory_order_relaxed);
    if (!handlers->ended)
        return;
    struct http_record record = {
        .method = "",
        .path = "",
        .protocol = "",
        .user_agent = "",
        .request_id = peer->request_id,
        .address = &peer->address.any,
        .route = loop->server->route_count,
        .outcome = outcome,
        .code = outcome == HTTP_GONE && !code ? HTTP_CLIENT_LEFT : code,
        .began_ns = peer->began_ns,
        .ended_ns = clock_now_ns(),
    };
    if (exchange)
        fill(&record, exchange);
    handlers->ended(loop->loop_state, &record);
}
