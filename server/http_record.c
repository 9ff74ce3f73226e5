/* What the handlers are told of requests' ends, for counters and the access log. */
#include "engine/clock.h"
#include "server/http_server.h"

void http_count_rejected(struct http_loop *loop, enum http_rejection reason)
{
    if (loop->server->handlers.rejected)
        loop->server->handlers.rejected(loop->loop_state, reason);
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
    bool has_route = exchange && exchange->route;
    const struct http_record record = {
        .request = exchange ? &exchange->request : NULL,
        .route = has_route ? (size_t)(exchange->route - handlers->routes) : loop->server->route_count,
        .method = exchange ? exchange->method : "",
        .peer = peer,
        .request_id = exchange ? exchange->request_id : "",
        .outcome = outcome,
        .code = code,
        .body_bytes = exchange ? exchange->request.body.len : 0,
        .reply_bytes = exchange ? exchange->reply_bytes : 0,
        .began_ns = peer->began_ns,
        .ended_ns = clock_now_ns(),
    };
    handlers->ended(loop->loop_state, &record);
}
