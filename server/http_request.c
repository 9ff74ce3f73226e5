/* A request's way through libmicrohttpd, which calls on_request for each several times:
 *
 *   first, with the headers:  take an exchange from the pool, find the route, refuse what is known to be wrong
 *   then, for each piece:     append it to the body, or throw it away when the request is refused
 *   then, the body whole:     decode; short work is gathered, longer work is begun and the connection suspended
 *   then, the work done:      encode and send
 *
 * A refusal is sent when the body has been read and thrown away, since most clients read nothing before they have sent
 * all; only a body that is too large for that, or that waits for "100 Continue", is refused at once.
 *
 * A handler that returns without a reply is called again in the library's next run ("try again next time", its
 * connection.c says); that is how gathered requests wait, for as long as it takes to run what the round has gathered. For
 * whatever may take longer the connection is suspended, only here, and resumed by the same thread in a later round.
 */
#include <assert.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>

#include "engine/clock.h"
#include "server/http_server.h"

enum {
    /* A connection's memory in the library, zeroed for each request: less than its default of 32 KiB, which leaves more of the
     * cache to the weights. Heads of 10 KiB still pass, with room for the answer's. */
    CONNECTION_BYTES = 24 * 1024,
    FIND_GONE_MAX = 256,
    INFLATION_MAX = 1032, /* bytes that deflate makes of one, at most */
    SLOW_COMPRESSED_BYTES = 4096,
};

static bool is_abandoned(const struct exchange *exchange)
{
    return atomic_load_explicit(&exchange->loop->server->phase, memory_order_relaxed) >= PHASE_ABANDONED;
}

static void set_shutting_down(struct error *err)
{
    error_set(err, STATUS_OVERLOADED, "the server is shutting down");
    error_hint(err, "send the request to another replica, or again in a moment");
}

/* ---- the body ---- */

/* A refused body is read and thrown away up to so many bytes. */
static size_t discard_max(const struct http_server *server)
{
    const size_t at_least = (size_t)64 << 20;
    size_t wanted = 4 * server->options.body_bytes_max;
    return wanted > at_least ? wanted : at_least;
}

/* A refused body that is not worth reading: its sender waits to be asked for it, or it is too large, or nobody knows
 * where it ends. */
static bool is_refused_at_once(const struct exchange *exchange)
{
    size_t len = exchange->declared_len;
    return exchange->refused && (exchange->out_of_step || exchange->expects_continue ||
                                 (len != SIZE_MAX && len > discard_max(exchange->loop->server)));
}

/* A fault in the framing of the request at hand: where its body ends is not known to all who read it. */
static void refuse_fault(struct exchange *exchange)
{
    const struct wire *wire = &exchange->peer->wire;
    if (!wire->fault || wire_fault_index(wire) != exchange->peer->requests - 1 || exchange->out_of_step)
        return;
    struct error err;
    exchange->out_of_step = true;
    wire_fault_error(wire->fault, &err);
    exchange_refuse_code(exchange, wire_fault_code(wire->fault), &err);
}

/* MHD_NO, which closes the connection, if a refused body has no end. */
static enum MHD_Result take_piece(struct exchange *exchange, const char *data, size_t len)
{
    struct http_server *server = exchange->loop->server;
    struct buffer *body = &exchange->request.body;
    if (!exchange->refused && len > server->options.body_bytes_max - body->len)
        exchange_refuse_too_large(exchange, server->options.body_bytes_max);
    if (!exchange->refused && exchange_reserve_body(exchange, len))
        buffer_append(body, data, len);
    exchange->body_bytes += len;
    if (!exchange->refused)
        return MHD_YES;
    exchange->discarded_bytes += len;
    return exchange->discarded_bytes > discard_max(server) ? MHD_NO : MHD_YES;
}

/* ---- the work ---- */

/* A body that came compressed becomes what it was. While that happens it may need as much as bodies may have at most, or as much
 * as deflate can make of it. */
static enum status inflate(struct exchange *exchange, struct error *err)
{
    struct buffer *body = &exchange->request.body;
    struct buffer plain = {0};
    size_t bytes_max = exchange->loop->server->options.body_bytes_max;
    size_t paid = body->len < bytes_max / INFLATION_MAX ? INFLATION_MAX * (body->len + 1) : bytes_max;
    enum status status = account_pay(&exchange->account, paid, err);
    if (status != STATUS_OK)
        return status;
    status = inflate_body(exchange->encoding, body->data ? body->data : "", body->len, bytes_max, &plain, err);
    account_refund(&exchange->account, paid > plain.capacity ? paid - plain.capacity : 0);
    buffer_free(body);
    *body = plain;
    return status;
}

static enum http_progress decode(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    struct error err;
    int64_t began_ns = clock_now_ns();
    enum http_progress progress = HTTP_ANSWERED;
    if (exchange->encoding != ENCODING_IDENTITY && inflate(exchange, &err) != STATUS_OK)
        http_reply_error(request, &err);
    else
        progress = exchange->route->decode(request);
    request->timing.decode_ns = clock_now_ns() - began_ns;
    return progress;
}

/* Whether reading it would hold up the loop. A compressed body is longer than it looks. */
static bool is_slow(const struct exchange *exchange)
{
    size_t len = exchange->request.body.len;
    return len > (exchange->encoding == ENCODING_IDENTITY ? HTTP_SLOW_BODY_BYTES : SLOW_COMPRESSED_BYTES);
}

static void decode_in_slow_lane(struct side_task *task)
{
    struct exchange *exchange = (struct exchange *)((char *)task - offsetof(struct exchange, task));
    struct http_request *request = &exchange->request;
    if (atomic_load(&exchange->unwanted)) {
        http_request_complete(request);
        return;
    }
    enum http_progress progress = decode(exchange);
    assert(progress != HTTP_GATHERED);
    atomic_store(&exchange->decoding, false);
    if (progress == HTTP_PENDING && !atomic_load(&exchange->unwanted))
        exchange->route->start(request);
    else
        http_request_complete(request);
}

/* Its work has ended. */
static enum MHD_Result reply_to(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (!request->reply.code) {
        int64_t began_ns = clock_now_ns();
        exchange->route->encode(request);
        request->timing.encode_ns = clock_now_ns() - began_ns;
    }
    return http_respond(exchange);
}

static void expect_end(struct exchange *exchange)
{
    exchange->stage = STAGE_PENDING;
    exchange->outstanding = true;
    atomic_fetch_add(&exchange->loop->outstanding, 1);
}

static void suspend(struct exchange *exchange)
{
    exchange_enter_pending(exchange);
    MHD_suspend_connection(exchange->connection);
}

/* The exchange whose `start` this thread is in. Work that ends in there, mostly because the queue is full, ends without the
 * connection being suspended and resumed: a refusal costs as little as it can, and is not sent a round later. */
static _Thread_local struct exchange *starting;

/* Work that has begun elsewhere may be over by now, but its end is seen by this thread alone, in a later round; so the
 * connection may be suspended after it has begun. */
static enum MHD_Result start(struct exchange *exchange)
{
    expect_end(exchange);
    starting = exchange;
    exchange->route->start(&exchange->request);
    bool has_ended = !starting;
    starting = NULL;
    if (!has_ended) {
        suspend(exchange);
        return MHD_YES;
    }
    exchange->outstanding = false;
    atomic_fetch_sub(&exchange->loop->outstanding, 1);
    if (exchange->request.rejection == HTTP_REJECTED_QUEUE_FULL)
        exchange->loop->refused_ns = exchange->loop->now_ns;
    exchange->stage = STAGE_COMPLETE;
    return reply_to(exchange);
}

static enum MHD_Result hand_to_slow_lane(struct exchange *exchange)
{
    if (!exchange_own_texts(exchange)) {
        struct error err;
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for the request");
        error_hint(&err, "send it again in a moment");
        exchange_refuse(exchange, &err);
        return http_respond(exchange);
    }
    if (exchange->route->prepare)
        exchange->route->prepare(&exchange->request);
    exchange->task.run = decode_in_slow_lane;
    atomic_store(&exchange->decoding, true);
    expect_end(exchange);
    suspend(exchange);
    side_thread_push(exchange->loop->server->slow_lane, &exchange->task);
    return MHD_YES;
}

static enum MHD_Result refuse_abandoned(struct exchange *exchange)
{
    struct error err;
    set_shutting_down(&err);
    exchange->request.rejection = HTTP_REJECTED_DRAINING;
    exchange_refuse(exchange, &err);
    return http_respond(exchange);
}

/* The body is whole: the reply now, a place in the round, or a suspended connection. */
static enum MHD_Result act(struct exchange *exchange)
{
    struct http_loop *loop = exchange->loop;
    struct http_request *request = &exchange->request;
    if (is_abandoned(exchange))
        return refuse_abandoned(exchange);
    request->whole_ns = loop->now_ns;
    atomic_store_explicit(&request->deadline_ns, loop->now_ns + loop->server->options.deadline_ns,
                          memory_order_relaxed);
    peer_move(exchange->peer, PEER_WORKING);
    request->on_loop = !is_slow(exchange);
    if (!request->on_loop)
        return hand_to_slow_lane(exchange);
    switch (decode(exchange)) {
    case HTTP_ANSWERED: return http_respond(exchange);
    case HTTP_GATHERED:
        exchange->stage = STAGE_GATHERED;
        exchange->round = loop->round;
        loop->gathered++;
        return MHD_YES;
    case HTTP_PENDING: break;
    }
    return start(exchange);
}

/* The last call of the library before the reply, made again until there is one. */
static enum MHD_Result proceed(struct exchange *exchange)
{
    if (exchange->refused)
        return http_respond(exchange);
    switch (exchange->stage) {
    case STAGE_BODY: return act(exchange);
    case STAGE_GATHERED:
        if (exchange->round == exchange->loop->round)
            return MHD_YES;
        break;
    case STAGE_PENDING: return MHD_YES; /* not called while suspended */
    case STAGE_EXPIRED: return http_respond(exchange);
    case STAGE_COMPLETE: break;
    }
    return reply_to(exchange);
}

static enum MHD_Result begin(struct http_loop *loop, struct MHD_Connection *connection, const char *path,
                             const char *method, const char *protocol, void **ret_exchange)
{
    struct peer *peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct exchange *exchange = exchange_take(loop);
    if (peer->state == PEER_IDLE)
        http_request_began(peer); /* it came in one piece with the request before */
    if (!exchange)
        return http_respond_no_memory(peer);
    exchange->connection = connection;
    exchange->peer = peer;
    exchange->fd = peer->fd;
    peer->exchange = exchange;
    *ret_exchange = exchange;
    peer->requests++;
    exchange_read_headers(exchange, path, method, protocol);
    refuse_fault(exchange);
    return is_refused_at_once(exchange) ? http_respond(exchange) : MHD_YES;
}

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *data_len,
                                  void **exchange_slot)
{
    struct exchange *exchange = *exchange_slot;
    if (!exchange)
        return begin(argument, connection, path, method, version, exchange_slot);
    refuse_fault(exchange);
    if (*data_len) {
        enum MHD_Result result = take_piece(exchange, data, *data_len);
        *data_len = 0;
        return result;
    }
    return proceed(exchange);
}

/* ---- ends ---- */

/* Whether the answer went out past libmicrohttpd. */
static bool was_refused_raw(const struct peer *peer)
{
    return peer->verdict == PEER_TOO_SLOW || peer->verdict == PEER_REFUSED;
}

static enum http_outcome outcome_of(const struct peer *peer, enum MHD_RequestTerminationCode code)
{
    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK || was_refused_raw(peer))
        return HTTP_DONE;
    return peer->verdict == PEER_ABANDONED || code == MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN ? HTTP_DROPPED
                                                                                             : HTTP_GONE;
}

static unsigned code_of(const struct exchange *exchange, const struct peer *peer)
{
    if (was_refused_raw(peer))
        return peer->refusal_code;
    return exchange->stage == STAGE_EXPIRED ? exchange->late.code : exchange->request.reply.code;
}

static void on_completed(void *argument, struct MHD_Connection *connection, void **exchange_slot,
                         enum MHD_RequestTerminationCode code)
{
    (void)argument, (void)connection;
    struct exchange *exchange = *exchange_slot;
    if (!exchange)
        return;
    struct peer *peer = exchange->peer;
    *exchange_slot = NULL;
    http_record_end(peer, exchange, outcome_of(peer, code), code_of(exchange, peer));
    peer->exchange = NULL;
    peer->answered = peer->requests;
    *peer->request_id = '\0';
    peer_move(peer, PEER_IDLE);
    if (peer->wire.heads_begun > peer->requests)
        http_request_began(peer); /* the next one came in one piece with it */
    http_refuse_fault(peer);
    exchange->connection = NULL;
    exchange->peer = NULL;
    if (!exchange->outstanding)
        exchange_give_back(exchange);
}

/* The connection is closed. What had begun and never became an exchange was refused by a time limit, or by the library
 * itself, unless its client left. */
static void on_closed(struct peer *peer)
{
    if (peer->state != PEER_IDLE) {
        if (was_refused_raw(peer))
            http_record_end(peer, NULL, HTTP_DONE, peer->refusal_code);
        else if (peer->verdict == PEER_ABANDONED)
            http_record_end(peer, NULL, HTTP_DROPPED, 0);
        else
            http_record_end(peer, NULL, peer->gone ? HTTP_GONE : HTTP_DONE, peer->gone ? 0 : MHD_HTTP_BAD_REQUEST);
    }
    http_forget(peer);
}

static void on_connection(void *argument, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    (void)connection;
    struct http_loop *loop = argument;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = loop->adopting;
        loop->adopting = NULL;
    } else {
        on_closed(*socket_context);
        *socket_context = NULL;
    }
}

void http_request_began(struct peer *peer)
{
    const struct http_handlers *handlers = &peer->loop->server->handlers;
    peer->began_ns = peer->loop->now_ns;
    peer_move(peer, PEER_READING);
    if (handlers->began)
        handlers->began(peer->loop->loop_state);
}

struct http_stats http_request_stats(const struct http_request *request)
{
    return http_server_stats(((const struct exchange *)request)->loop->server);
}

/* A pending request may expire meanwhile, and its connection end; so what is read here outlives both. A descriptor that is
 * another's already says at worst that a client is there. */
void http_requests_find_gone(struct http_request *const *requests, size_t count, bool *gone)
{
    struct pollfd sockets[FIND_GONE_MAX];
    assert(count <= FIND_GONE_MAX);
    for (size_t i = 0; i < count; i++)
        sockets[i] = (struct pollfd){.fd = ((const struct exchange *)requests[i])->fd, .events = POLLRDHUP};
    if (poll(sockets, (nfds_t)count, 0) <= 0)
        return;
    for (size_t i = 0; i < count; i++)
        gone[i] = sockets[i].revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* ---- the end of work ---- */

void http_request_complete(struct http_request *request)
{
    struct exchange *exchange = (struct exchange *)request;
    struct http_loop *loop = exchange->loop;
    if (exchange == starting) {
        starting = NULL;
        return;
    }
    exchange->next_completed = atomic_load_explicit(&loop->completed, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&loop->completed, &exchange->next_completed, exchange,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    http_loop_wake(loop);
}

static void resume(struct exchange *exchange, enum stage stage)
{
    exchange_leave_pending(exchange);
    exchange->stage = stage;
    MHD_resume_connection(exchange->connection);
}

/* `outstanding` ends: the exchange goes on, or back to the pool if its connection has done with it. */
static void end_work(struct exchange *exchange)
{
    exchange->outstanding = false;
    atomic_fetch_sub(&exchange->loop->outstanding, 1);
    if (exchange->stage == STAGE_PENDING)
        resume(exchange, STAGE_COMPLETE);
    else if (!exchange->connection)
        exchange_give_back(exchange);
}

void http_take_completed(struct http_loop *loop)
{
    if (!atomic_load_explicit(&loop->completed, memory_order_relaxed))
        return;
    struct exchange *exchange = atomic_exchange_explicit(&loop->completed, NULL, memory_order_acquire);
    while (exchange) {
        struct exchange *next = exchange->next_completed;
        end_work(exchange);
        exchange = next;
    }
}

void http_run_gathered(struct http_loop *loop)
{
    loop->server->handlers.loop_run(loop->loop_state);
    loop->round++;
    loop->gathered = 0;
}

void http_request_run_gathered(const struct http_request *request)
{
    http_run_gathered(((const struct exchange *)request)->loop);
}

static void write_late(struct exchange *exchange, unsigned code)
{
    struct http_request late = {.reply = exchange->late};
    const struct http_request *request = &exchange->request;
    struct error err;
    if (code == MHD_HTTP_SERVICE_UNAVAILABLE) {
        set_shutting_down(&err);
    } else {
        error_set(&err, STATUS_EXPIRED,
                  "no answer was ready %lld ms after the request had come, which is its deadline",
                  (long long)((request->deadline_ns - request->whole_ns) / 1000000));
        error_hint(&err, "send it again when fewer requests wait, or start mlpd with a longer --deadline-ms");
    }
    http_reply_error_code(&late, code, &err);
    exchange->late = late.reply;
}

/* The request's answer will not be waited for any longer. */
static void give_up(struct exchange *exchange, unsigned code)
{
    const struct http_route *route = exchange->route;
    if (code == HTTP_CLIENT_LEFT)
        exchange->late.code = code;
    else
        write_late(exchange, code);
    resume(exchange, STAGE_EXPIRED);
    atomic_store(&exchange->unwanted, true);
    if (!atomic_load(&exchange->decoding) && route->withdraw && route->withdraw(&exchange->request))
        end_work(exchange);
}

void http_expire_pending(struct http_loop *loop)
{
    bool abandoned = atomic_load(&loop->server->phase) >= PHASE_ABANDONED;
    struct exchange *next;
    for (struct exchange *exchange = loop->pool.first_pending; exchange; exchange = next) {
        next = exchange->next;
        if (abandoned)
            give_up(exchange, MHD_HTTP_SERVICE_UNAVAILABLE);
        else if (exchange->peer->gone)
            give_up(exchange, HTTP_CLIENT_LEFT);
        else if (exchange->request.deadline_ns <= loop->now_ns)
            give_up(exchange, MHD_HTTP_GATEWAY_TIMEOUT);
    }
}

/* ---- the library ---- */

struct MHD_Daemon *http_daemon_start(struct http_loop *loop)
{
    /* The limit on connections is the server's own, and so are the time limits. */
    unsigned connections = (unsigned)loop->server->options.connections_max + 1;
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
                            on_request, loop, MHD_OPTION_NOTIFY_COMPLETED, on_completed, loop,
                            MHD_OPTION_NOTIFY_CONNECTION, on_connection, loop, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_LIMIT, connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}
