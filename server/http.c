/* libmicrohttpd's home: its I/O threads (one epoll each) call on_request, for each request several times:
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
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "server/listen.h"
#include "server/side_thread.h"

enum {
    KEEP_BYTES = 64 * 1024, /* of an exchange's buffers, from one request to the next */
    IDLE_TIMEOUT_S = 60,
    WAIT_STEP_MS = 2,
};

enum stage { STAGE_BODY, STAGE_PENDING, STAGE_COMPLETE };

/* One request's lifetime. Owned by its connection from the first call of on_request to on_completed. */
struct exchange {
    struct http_request request; /* first: http_request_complete finds the exchange through it */
    struct http_server *server;
    struct MHD_Connection *connection;
    const struct http_route *route; /* NULL: refused before one was found */
    enum stage stage;
    bool refused; /* the reply is filled in; what comes of the body is thrown away */
    size_t discarded_bytes;
    struct side_task task;
    struct exchange *next; /* in the pool */
};

struct http_server {
    struct http_options options;
    const struct http_route *routes;
    void *context;
    struct MHD_Daemon *daemon;
    struct side_thread *slow_lane;
    int listen_fd; /* -1 once accepting has stopped */
    char url[LISTEN_URL_MAX];
    atomic_size_t live;    /* exchanges that are not in the pool */
    atomic_size_t pending; /* of these, the ones whose connection is suspended */
    atomic_bool closing;   /* no connection may be suspended any more */

    pthread_mutex_t pool_lock; /* guards pool */
    struct exchange *pool;
};

/* ---- exchanges and their pool ---- */

static void exchange_free(struct exchange *exchange)
{
    if (exchange->request.state && exchange->server->options.state_free)
        exchange->server->options.state_free(exchange->request.state);
    buffer_free(&exchange->request.body);
    buffer_free(&exchange->request.reply.body);
    free(exchange);
}

static struct exchange *exchange_create(struct http_server *server)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->server = server;
    exchange->request.context = server->context;
    if (server->options.state_create) {
        exchange->request.state = server->options.state_create(server->context);
        if (!exchange->request.state) {
            free(exchange);
            return NULL;
        }
    }
    return exchange;
}

static struct exchange *exchange_take(struct http_server *server)
{
    pthread_mutex_lock(&server->pool_lock);
    struct exchange *exchange = server->pool;
    if (exchange)
        server->pool = exchange->next;
    pthread_mutex_unlock(&server->pool_lock);
    if (!exchange)
        exchange = exchange_create(server);
    if (exchange)
        atomic_fetch_add(&server->live, 1);
    return exchange;
}

static void exchange_give_back(struct exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct http_request *request = &exchange->request;
    struct buffer body = request->body, answer = request->reply.body;
    buffer_reset(&body, KEEP_BYTES);
    buffer_reset(&answer, KEEP_BYTES);
    if (request->state && server->options.state_reset)
        server->options.state_reset(request->state);
    *exchange = (struct exchange){
        .request = {.body = body, .reply = {.body = answer}, .context = server->context, .state = request->state},
        .server = server,
    };
    pthread_mutex_lock(&server->pool_lock);
    exchange->next = server->pool;
    server->pool = exchange;
    pthread_mutex_unlock(&server->pool_lock);
    atomic_fetch_sub(&server->live, 1);
}

/* ---- the headers: what can be refused before the body ---- */

static const char *header(struct MHD_Connection *connection, const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    return value ? value : "";
}

static void refuse_code(struct exchange *exchange, unsigned code, const struct error *err)
{
    exchange->refused = true;
    http_reply_error_code(&exchange->request, code, err);
}

static void refuse(struct exchange *exchange, const struct error *err)
{
    exchange->refused = true;
    http_reply_error(&exchange->request, err);
}

/* The method as a bit, 0 for one that no route takes. */
static unsigned method_bit(const char *method)
{
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
        return HTTP_GET;
    if (strcmp(method, MHD_HTTP_METHOD_POST) == 0)
        return HTTP_POST;
    return strcmp(method, MHD_HTTP_METHOD_PUT) == 0 ? HTTP_PUT : 0;
}

static void find_route(struct exchange *exchange, const char *method)
{
    struct error err;
    const struct http_route *route = exchange->server->routes;
    while (route->path && strcmp(route->path, exchange->request.path) != 0)
        route++;
    if (!route->path) {
        error_set(&err, STATUS_NOT_FOUND, "there is nothing at %.200s", exchange->request.path);
        error_hint(&err, "GET / lists the endpoints, with a line for each that can be pasted");
        refuse(exchange, &err);
        return;
    }
    unsigned bit = method_bit(method);
    if (!(route->methods & bit)) {
        exchange->request.reply.allow = route->methods & HTTP_GET ? "GET, HEAD" : "POST, PUT";
        error_set(&err, STATUS_INVALID, "%s takes %s, not %.32s", route->path, exchange->request.reply.allow,
                  method);
        error_hint(&err, "send it with one of these methods; GET / lists the endpoints");
        refuse_code(exchange, MHD_HTTP_METHOD_NOT_ALLOWED, &err);
        return;
    }
    exchange->request.method = bit;
    exchange->route = route;
}

static enum MHD_Result add_parameter(void *argument, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    struct http_request *request = argument;
    if (request->query_count < HTTP_QUERY_MAX)
        request->query[request->query_count++] = (struct http_parameter){key, value ? value : ""};
    return MHD_YES;
}

static bool route_knows(const struct http_route *route, const char *key)
{
    for (const char *const *known = route->parameters; known && *known; known++)
        if (strcmp(*known, key) == 0)
            return true;
    return false;
}

static void refuse_parameter(struct exchange *exchange, const char *fault, const char *key)
{
    char known[256] = "";
    for (const char *const *name = exchange->route->parameters; name && *name; name++) {
        strncat(known, *known ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, *name, sizeof known - strlen(known) - 1);
    }
    struct error err;
    error_set(&err, STATUS_INVALID, "%s query parameter \"%.64s\"", fault, key);
    error_hint(&err, *known ? "%s knows: %s" : "%s takes no query parameters%s", exchange->route->path, known);
    refuse(exchange, &err);
}

static void check_parameters(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    if (MHD_get_connection_values(exchange->connection, MHD_GET_ARGUMENT_KIND, add_parameter, request) >
        HTTP_QUERY_MAX) {
        refuse_parameter(exchange, "too many parameters: unexpected", request->query[HTTP_QUERY_MAX - 1].key);
        return;
    }
    for (size_t i = 0; i < request->query_count && !exchange->refused; i++) {
        const char *key = request->query[i].key;
        if (!route_knows(exchange->route, key))
            refuse_parameter(exchange, "unknown", key);
        else if (http_request_parameter(request, key) != request->query[i].value)
            refuse_parameter(exchange, "repeated", key);
    }
}

static void check_encoding(struct exchange *exchange)
{
    const char *encoding = header(exchange->connection, MHD_HTTP_HEADER_CONTENT_ENCODING);
    if (!*encoding || strcasecmp(encoding, "identity") == 0)
        return;
    struct error err;
    error_set(&err, STATUS_UNSUPPORTED, "Content-Encoding \"%.64s\" is not understood here", encoding);
    error_hint(&err, "send the body as it is, without Content-Encoding or with identity");
    refuse(exchange, &err);
}

static void refuse_too_large(struct exchange *exchange)
{
    struct error err;
    error_set(&err, STATUS_TOO_LARGE, "the body is larger than %zu bytes",
              exchange->server->options.body_bytes_max);
    error_hint(&err, "split it over several requests, or start mlpd with a larger --body-max");
    refuse(exchange, &err);
}

/* The body's length as declared, or SIZE_MAX where it is chunked. libmicrohttpd has checked that it is a number. */
static size_t declared_length(struct MHD_Connection *connection)
{
    if (*header(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING))
        return SIZE_MAX;
    unsigned long long len = strtoull(header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH), NULL, 10);
    return len < SIZE_MAX ? (size_t)len : SIZE_MAX - 1;
}

static void check_length(struct exchange *exchange)
{
    if (!(exchange->request.method & (HTTP_POST | HTTP_PUT)))
        return;
    size_t len = declared_length(exchange->connection);
    if (len != SIZE_MAX && !*header(exchange->connection, MHD_HTTP_HEADER_CONTENT_LENGTH)) {
        struct error err;
        error_set(&err, STATUS_INVALID, "the request says nothing of its body's length");
        error_hint(&err,
                   "send a Content-Length, or Transfer-Encoding: chunked; with curl: --data-binary @boot.png");
        refuse_code(exchange, MHD_HTTP_LENGTH_REQUIRED, &err);
    } else if (len != SIZE_MAX && len > exchange->server->options.body_bytes_max) {
        refuse_too_large(exchange);
    } else if (len != SIZE_MAX && !buffer_reserve(&exchange->request.body, len)) {
        struct error err;
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for a body of %zu bytes", len);
        error_hint(&err, "send it again in a moment");
        refuse(exchange, &err);
    }
}

static void read_headers(struct exchange *exchange, const char *path, const char *method)
{
    struct http_request *request = &exchange->request;
    request->path = path;
    request->content_type = header(exchange->connection, MHD_HTTP_HEADER_CONTENT_TYPE);
    request->accept = header(exchange->connection, MHD_HTTP_HEADER_ACCEPT);
    request->host = header(exchange->connection, MHD_HTTP_HEADER_HOST);
    find_route(exchange, method);
    if (!exchange->refused)
        check_parameters(exchange);
    if (!exchange->refused)
        check_encoding(exchange);
    if (!exchange->refused)
        check_length(exchange);
}

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

/* A refused body that is not worth reading: its sender waits to be asked for it, or it is too large. */
static bool refuse_at_once(struct exchange *exchange)
{
    size_t len = declared_length(exchange->connection);
    return strcasecmp(header(exchange->connection, MHD_HTTP_HEADER_EXPECT), "100-continue") == 0 ||
           (len != SIZE_MAX && len > discard_max(exchange->server));
}

/* MHD_NO, which closes the connection, if a refused body has no end. */
static enum MHD_Result take_piece(struct exchange *exchange, const char *data, size_t len)
{
    struct buffer *body = &exchange->request.body;
    if (!exchange->refused && len > exchange->server->options.body_bytes_max - body->len)
        refuse_too_large(exchange);
    if (exchange->refused) {
        exchange->discarded_bytes += len;
        return exchange->discarded_bytes > discard_max(exchange->server) ? MHD_NO : MHD_YES;
    }
    buffer_append(body, data, len);
    if (body->failed) {
        struct error err;
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for the body");
        error_hint(&err, "send it again in a moment");
        refuse(exchange, &err);
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
    atomic_fetch_add(&exchange->server->pending, 1);
    if (atomic_load(&exchange->server->closing)) {
        atomic_fetch_sub(&exchange->server->pending, 1);
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
    refuse(exchange, &err);
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
        side_thread_push(exchange->server->slow_lane, &exchange->task);
        return MHD_YES;
    }
    if (exchange->route->decode(request) == HTTP_ANSWERED)
        return send_reply(exchange);
    if (!suspend(exchange))
        return refuse_closing(exchange);
    exchange->route->start(request);
    return MHD_YES;
}

void http_request_complete(struct http_request *request)
{
    struct exchange *exchange = (struct exchange *)request;
    struct http_server *server = exchange->server;
    exchange->stage = STAGE_COMPLETE;
    MHD_resume_connection(exchange->connection); /* from here on the exchange is the I/O thread's */
    atomic_fetch_sub(&server->pending, 1);
}

static enum MHD_Result finish(struct exchange *exchange)
{
    if (!exchange->request.reply.code)
        exchange->route->encode(&exchange->request);
    return send_reply(exchange);
}

static enum MHD_Result begin(struct http_server *server, struct MHD_Connection *connection, const char *path,
                             const char *method, void **ret_exchange)
{
    struct exchange *exchange = exchange_take(server);
    if (!exchange)
        return MHD_NO;
    *ret_exchange = exchange;
    exchange->connection = connection;
    read_headers(exchange, path, method);
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
    (void)argument, (void)connection, (void)code;
    if (*exchange_slot)
        exchange_give_back(*exchange_slot);
    *exchange_slot = NULL;
}

/* ---- the server's life ---- */

static struct MHD_Daemon *start_daemon(struct http_server *server)
{
    unsigned pool = server->options.io_threads > 1 ? (unsigned)server->options.io_threads : 0;
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
                            server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_LISTEN_SOCKET,
                            server->listen_fd, MHD_OPTION_THREAD_POOL_SIZE, pool, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)server->options.connections_max, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

enum status http_server_start(const struct http_options *options, const struct http_route *routes, void *context,
                              struct http_server **ret, struct error *err)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the server");
    server->options = *options;
    server->routes = routes;
    server->context = context;
    server->listen_fd = -1;
    pthread_mutex_init(&server->pool_lock, NULL);

    enum status status = listen_tcp(options->host, options->port, &server->listen_fd, server->url, err);
    if (status == STATUS_OK)
        status = side_thread_start(&server->slow_lane, err);
    if (status == STATUS_OK) {
        server->daemon = start_daemon(server);
        if (!server->daemon) {
            error_set(err, STATUS_IO, "the HTTP threads could not be started");
            status = error_hint(err, "choose fewer --io-threads, or raise the limits (ulimit -n, ulimit -u)");
        }
    }
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
    if (server->listen_fd < 0)
        return;
    MHD_socket fd = MHD_quiesce_daemon(server->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    server->listen_fd = -1;
}

static void wait_a_step(void)
{
    nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
}

size_t http_server_wait_idle(struct http_server *server, unsigned timeout_ms)
{
    for (unsigned waited_ms = 0; atomic_load(&server->live) && waited_ms < timeout_ms; waited_ms += WAIT_STEP_MS)
        wait_a_step();
    return atomic_load(&server->live);
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    atomic_store(&server->closing, true);
    side_thread_free(server->slow_lane);
    while (atomic_load(&server->pending))
        wait_a_step();
    if (server->daemon)
        MHD_stop_daemon(server->daemon); /* closes the listening socket too, where it still has it */
    else if (server->listen_fd >= 0)
        close(server->listen_fd);
    while (server->pool) {
        struct exchange *exchange = server->pool;
        server->pool = exchange->next;
        exchange_free(exchange);
    }
    pthread_mutex_destroy(&server->pool_lock);
    free(server);
}
