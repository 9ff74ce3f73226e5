/* libmicrohttpd's home: I/O threads, each of which runs a daemon of the library with an epoll of its own on the one
 * listening socket. They call on_request, for each request several times:
 *
 *   first, with the headers:  take an exchange from the pool, find the route, refuse what is known to be wrong
 *   then, for each piece:     append it to the body, or throw it away when the request is refused
 *   then, the body whole:     decode; if there is work, suspend the connection and start it
 *   then, after the resume:   encode and send
 *
 * A refusal is sent when the body has been read and thrown away, since most clients read nothing before they have sent
 * all; only a body that is too large for that, or that waits for "100 Continue", is refused at once.
 *
 * libmicrohttpd's rules that shape this file: a connection is suspended only inside on_request, and before anybody who
 * could resume it knows of it; a daemon with a suspended connection must not be stopped.
 */
#include "server/http.h"

#include <assert.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/http_exchange.h"
#include "server/listen.h"
#include "server/side_thread.h"

enum {
    /* A connection's memory in the library, zeroed for each request: half of its default, which costs 1 us less and leaves
     * more of the cache to the weights. Headers of 8 KiB still pass. */
    CONNECTION_BYTES = 16 * 1024,
    IDLE_TIMEOUT_S = 60,
    SWEEP_MS = 500, /* between two looks for clients that have gone */
    WAIT_STEP_MS = 2,
    LOOP_WAIT_MS = 250, /* between two looks of a loop at what it was told */
};

/* An I/O thread and its share of the connections. */
struct http_loop {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int wake_fd;        /* an eventfd */
    atomic_bool waking; /* it was written since the loop's last round: once is enough */
    bool running;       /* the thread was started */
    bool quiescent;     /* the daemon takes no more connections; the thread's own */
};

struct http_server {
    struct http_options options;
    const struct http_route *routes;
    struct http_loop *loops;
    size_t loop_count;
    atomic_bool accepting_ended, loops_ended; /* what the loops look at in each round */
    struct side_thread *slow_lane;
    int listen_fd; /* closed last: libmicrohttpd's threads look at it until they end */
    char url[LISTEN_URL_MAX];
    struct exchange_pool pool;
    atomic_size_t pending; /* exchanges whose connection is suspended */
    atomic_bool closing;   /* no connection may be suspended any more */

    pthread_t sweeper;
    bool sweeping;               /* the thread was started */
    pthread_mutex_t sweep_lock;  /* guards sweep_ended */
    pthread_cond_t sweep_signal; /* by CLOCK_MONOTONIC */
    bool sweep_ended;
};

/* ---- the reply ---- */

static const char out_of_memory[] =
    "{\"error\":\"there is no memory for the answer\",\"hint\":\"send it again in a moment\"}\n";

static struct MHD_Response *make_response(struct http_reply *reply)
{
    if (reply->body.failed) {
        reply->code = MHD_HTTP_SERVICE_UNAVAILABLE;
        reply->content_type = "application/json";
        reply->shared_body = out_of_memory;
        reply->shared_body_len = sizeof out_of_memory - 1;
    }
    const void *data = reply->shared_body ? reply->shared_body : reply->body.data;
    size_t len = reply->shared_body ? reply->shared_body_len : reply->body.len;
    /* The bytes belong to the exchange, which outlives the response: on_completed comes last. */
    return MHD_create_response_from_buffer(len, (void *)(uintptr_t)data, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result send_reply(struct exchange *exchange)
{
    struct http_reply *reply = &exchange->request.reply;
    assert(reply->code);
    struct MHD_Response *response = make_response(reply);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (reply->allow)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    if (reply->retry_after_s) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", reply->retry_after_s);
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
    if (exchange->out_of_step)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result sent = MHD_queue_response(exchange->connection, reply->code, response);
    MHD_destroy_response(response);
    return sent;
}

/* ---- the body and the work ---- */

/* A refused body is read and thrown away up to so many bytes. */
static size_t discard_max(const struct http_server *server)
{
    const size_t at_least = (size_t)64 << 20;
    size_t wanted = 4 * server->options.body_bytes_max;
    return wanted > at_least ? wanted : at_least;
}

/* A refused body that is not worth reading: its sender waits to be asked for it, or it is too large, or nobody knows
 * where it ends. */
static bool refuse_at_once(struct exchange *exchange)
{
    size_t len = exchange_declared_length(exchange);
    return exchange->out_of_step || exchange_expects_continue(exchange) ||
           (len != SIZE_MAX && len > discard_max(exchange->loop->server));
}

/* MHD_NO, which closes the connection, if a refused body has no end. */
static enum MHD_Result take_piece(struct exchange *exchange, const char *data, size_t len)
{
    struct buffer *body = &exchange->request.body;
    if (!exchange->refused && len > exchange->loop->server->options.body_bytes_max - body->len)
        exchange_refuse_too_large(exchange, exchange->loop->server->options.body_bytes_max);
    if (exchange->refused) {
        exchange->discarded_bytes += len;
        return exchange->discarded_bytes > discard_max(exchange->loop->server) ? MHD_NO : MHD_YES;
    }
    buffer_append(body, data, len);
    if (body->failed) {
        struct error err;
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for the body");
        error_hint(&err, "send it again in a moment");
        exchange_refuse(exchange, &err);
    }
    return MHD_YES;
}

static void decode_in_slow_lane(struct side_task *task)
{
    struct exchange *exchange = (struct exchange *)((char *)task - offsetof(struct exchange, task));
    if (exchange->route->decode(&exchange->request) == HTTP_PENDING)
        exchange->route->start(&exchange->request);
    else
        http_request_complete(&exchange->request);
}

/* False when the server is closing. The count goes up before the look, so that http_server_free, which sets the flag
 * before it waits for the count, misses nobody. */
static bool suspend(struct exchange *exchange)
{
    atomic_fetch_add(&exchange->loop->server->pending, 1);
    if (atomic_load(&exchange->loop->server->closing)) {
        atomic_fetch_sub(&exchange->loop->server->pending, 1);
        return false;
    }
    exchange->stage = STAGE_PENDING;
    MHD_suspend_connection(exchange->connection);
    return true;
}

static enum MHD_Result refuse_closing(struct exchange *exchange)
{
    struct error err;
    error_set(&err, STATUS_OVERLOADED, "the server is shutting down");
    error_hint(&err, "send the request to another replica, or again in a moment");
    exchange_refuse(exchange, &err);
    return send_reply(exchange);
}

/* The body is whole: the reply now, or a suspended connection. */
static enum MHD_Result act(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (request->body.len > HTTP_SLOW_BODY_BYTES) {
        if (!suspend(exchange))
            return refuse_closing(exchange);
        exchange->task.run = decode_in_slow_lane;
        side_thread_push(exchange->loop->server->slow_lane, &exchange->task);
        return MHD_YES;
    }
    if (exchange->route->decode(request) == HTTP_ANSWERED)
        return send_reply(exchange);
    if (!suspend(exchange))
        return refuse_closing(exchange);
    exchange->route->start(request);
    return MHD_YES;
}

static void wake(struct http_loop *loop)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&loop->waking, true) && write(loop->wake_fd, &one, sizeof one) < 0)
        atomic_store(&loop->waking, false); /* it looks by itself soon */
}

void http_request_complete(struct http_request *request)
{
    struct exchange *exchange = (struct exchange *)request;
    struct http_loop *loop = exchange->loop;
    exchange->stage = STAGE_COMPLETE;
    MHD_resume_connection(exchange->connection); /* from here on the exchange is the I/O thread's */
    wake(loop);
    atomic_fetch_sub(&loop->server->pending, 1);
}

static enum MHD_Result finish(struct exchange *exchange)
{
    if (!exchange->request.reply.code)
        exchange->route->encode(&exchange->request);
    return send_reply(exchange);
}

static enum MHD_Result begin(struct http_loop *loop, struct MHD_Connection *connection, const char *path,
                             const char *method, void **ret_exchange)
{
    struct http_server *server = loop->server;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct exchange *exchange = exchange_take(&server->pool, loop, connection, fd);
    if (!exchange)
        return MHD_NO;
    *ret_exchange = exchange;
    exchange_read_headers(exchange, server->routes, server->options.body_bytes_max, path, method);
    return exchange->refused && refuse_at_once(exchange) ? send_reply(exchange) : MHD_YES;
}

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *data_len,
                                  void **exchange_slot)
{
    (void)version;
    struct exchange *exchange = *exchange_slot;
    if (!exchange)
        return begin(argument, connection, path, method, exchange_slot);
    if (*data_len) {
        enum MHD_Result result = take_piece(exchange, data, *data_len);
        *data_len = 0;
        return result;
    }
    atomic_store(&exchange->reading_body, false);
    if (exchange->refused)
        return send_reply(exchange);
    switch (exchange->stage) {
    case STAGE_BODY: return act(exchange);
    case STAGE_COMPLETE: return finish(exchange);
    case STAGE_PENDING: break;
    }
    return MHD_YES; /* not called while suspended */
}

static void on_completed(void *argument, struct MHD_Connection *connection, void **exchange_slot,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection, (void)code;
    struct http_server *server = ((struct http_loop *)argument)->server;
    if (*exchange_slot)
        exchange_give_back(&server->pool, *exchange_slot);
    *exchange_slot = NULL;
}

/* ---- the sweep ---- */

static void *sweep_main(void *argument)
{
    struct http_server *server = argument;
    pthread_mutex_lock(&server->sweep_lock);
    while (!server->sweep_ended) {
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);
        next.tv_nsec += SWEEP_MS * 1000000L;
        next.tv_sec += next.tv_nsec / 1000000000L;
        next.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&server->sweep_signal, &server->sweep_lock, &next);
        exchange_pool_sweep(&server->pool);
    }
    pthread_mutex_unlock(&server->sweep_lock);
    return NULL;
}

static void init_sweep(struct http_server *server)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->sweep_signal, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&server->sweep_lock, NULL);
}

static void end_sweep(struct http_server *server)
{
    pthread_mutex_lock(&server->sweep_lock);
    server->sweep_ended = true;
    pthread_cond_signal(&server->sweep_signal);
    pthread_mutex_unlock(&server->sweep_lock);
    if (server->sweeping)
        pthread_join(server->sweeper, NULL);
    pthread_cond_destroy(&server->sweep_signal);
    pthread_mutex_destroy(&server->sweep_lock);
}

/* ---- the server's life ---- */

static void quiesce(struct http_loop *loop)
{
    if (!loop->quiescent)
        MHD_quiesce_daemon(loop->daemon);
    loop->quiescent = true;
}

/* Waits until there is something to do. The flag falls before MHD_run looks for resumed connections, so that one which is
 * resumed while it runs wakes the next round: the library's own wake-up may be swallowed by then. */
static void wait_for_work(struct http_loop *loop, int epoll_fd)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = LOOP_WAIT_MS;
    if (MHD_get_timeout(loop->daemon, &timeout_ms) != MHD_YES || timeout_ms > LOOP_WAIT_MS)
        timeout_ms = LOOP_WAIT_MS;
    struct pollfd ready[] = {{.fd = epoll_fd, .events = POLLIN}, {.fd = loop->wake_fd, .events = POLLIN}};
    if (timeout_ms)
        poll(ready, 2, (int)timeout_ms);
    uint64_t count;
    if (ready[1].revents && read(loop->wake_fd, &count, sizeof count) > 0)
        atomic_store(&loop->waking, false);
}

/* libmicrohttpd's own epoll threads (0.9.75) stall when exactly 128 or 256 connections are ready at once: they ask epoll for
 * more, and wait there, before they serve what they have. So the wait is here, and MHD_run, which never waits, serves. */
static void *loop_main(void *argument)
{
    struct http_loop *loop = argument;
    int epoll_fd = MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!atomic_load(&loop->server->loops_ended)) {
        wait_for_work(loop, epoll_fd);
        if (atomic_load(&loop->server->accepting_ended))
            quiesce(loop);
        MHD_run(loop->daemon);
    }
    return NULL;
}

static struct MHD_Daemon *start_daemon(struct http_loop *loop)
{
    const struct http_server *server = loop->server;
    size_t connections = (server->options.connections_max + server->loop_count - 1) / server->loop_count;
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, loop,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, loop, MHD_OPTION_LISTEN_SOCKET,
                            server->listen_fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                            MHD_OPTION_CONNECTION_LIMIT, (unsigned)connections, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

static bool start_loop(struct http_server *server, struct http_loop *loop)
{
    loop->server = server;
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->daemon = loop->wake_fd >= 0 ? start_daemon(loop) : NULL;
    loop->running = loop->daemon && pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    return loop->running;
}

static bool start_loops(struct http_server *server)
{
    server->loop_count = server->options.io_threads;
    server->loops = calloc(server->loop_count, sizeof *server->loops);
    for (size_t i = 0; server->loops && i < server->loop_count; i++)
        if (!start_loop(server, &server->loops[i]))
            return false;
    return server->loops;
}

static void end_loops(struct http_server *server)
{
    atomic_store(&server->loops_ended, true);
    for (size_t i = 0; server->loops && i < server->loop_count; i++) {
        struct http_loop *loop = &server->loops[i];
        if (loop->running)
            pthread_join(loop->thread, NULL);
        if (!loop->daemon)
            continue;  /* the one that could not be started */
        quiesce(loop); /* so that the library leaves the socket to us */
        MHD_stop_daemon(loop->daemon);
        close(loop->wake_fd);
    }
    free(server->loops);
}

static enum status start_threads(struct http_server *server, struct error *err)
{
    enum status status = side_thread_start(&server->slow_lane, err);
    if (status != STATUS_OK)
        return status;
    server->sweeping = pthread_create(&server->sweeper, NULL, sweep_main, server) == 0;
    if (server->sweeping && start_loops(server))
        return STATUS_OK;
    error_set(err, STATUS_IO, "the HTTP threads could not be started");
    return error_hint(err, "choose fewer --io-threads, or raise the limits (ulimit -n, ulimit -u)");
}

enum status http_server_start(const struct http_options *options, const struct http_route *routes, void *context,
                              struct http_server **ret, struct error *err)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the server");
    server->options = *options;
    server->routes = routes;
    server->listen_fd = -1;
    exchange_pool_init(&server->pool, &server->options, context);
    init_sweep(server);

    enum status status = listen_tcp(options->host, options->port, &server->listen_fd, server->url, err);
    if (status == STATUS_OK)
        status = start_threads(server, err);
    if (status != STATUS_OK) {
        http_server_free(server);
        return status;
    }
    *ret = server;
    return STATUS_OK;
}

const char *http_server_url(const struct http_server *server)
{
    return server->url;
}

void http_server_stop_accepting(struct http_server *server)
{
    atomic_store(&server->accepting_ended, true);
    shutdown(server->listen_fd,
             SHUT_RDWR); /* from here on the system refuses connections; it wakes the loops, too */
}

static void wait_a_step(void)
{
    nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
}

size_t http_server_wait_idle(struct http_server *server, unsigned upload_ms, unsigned timeout_ms)
{
    struct exchange_pool *pool = &server->pool;
    for (unsigned waited_ms = 0; waited_ms < timeout_ms; waited_ms += WAIT_STEP_MS) {
        bool idle = waited_ms < upload_ms ? !atomic_load(&pool->alive) : !exchange_pool_count_whole(pool);
        if (idle)
            break;
        wait_a_step();
    }
    return atomic_load(&pool->alive);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    atomic_store(&server->closing, true);
    side_thread_free(server->slow_lane);
    while (atomic_load(&server->pending))
        wait_a_step();
    end_sweep(server);
    end_loops(server);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    exchange_pool_destroy(&server->pool);
    free(server);
}
