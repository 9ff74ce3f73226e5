/* HTTP/1.1 by libmicrohttpd, and the only part that knows it: sockets, I/O threads, bodies read whole within limits, one
 * table of routes, and one lifetime per request. Handlers see a `struct http_request` and fill its reply.
 *
 * A request's way: I/O threads read the body; `decode` turns it into work or already into a reply; work is begun by
 * `start`, while the connection is suspended and costs no thread; whoever ends the work calls http_request_complete once,
 * from any thread; an I/O thread then calls `encode`, and sends. A body larger than HTTP_SLOW_BODY_BYTES is decoded on a
 * thread of its own, so that liveness is answered meanwhile.
 *
 *     static const struct http_route routes[] = {{.path = "/healthz", .methods = HTTP_GET, .decode = healthz}, {0}};
 *     struct http_server *server;
 *     if (http_server_start(&options, routes, context, &server, &err) != STATUS_OK) ...
 *     http_server_stop_accepting(server);
 *     http_server_wait_idle(server, 1000, 10000);
 *     http_server_free(server);
 */
#ifndef MLPD_SERVER_HTTP_H
#define MLPD_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/buffer.h"

enum { HTTP_QUERY_MAX = 16, HTTP_SLOW_BODY_BYTES = 64 * 1024 };

enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_PUT = 4 }; /* HEAD is taken where GET is, and shown as GET */

struct http_parameter {
    const char *key;   /* decoded */
    const char *value; /* decoded; "" if there was none */
};

struct http_reply {
    unsigned code; /* 0 until it is filled in */
    const char *content_type;
    struct buffer body;
    const void *shared_body; /* sent instead of `body` if not NULL: bytes that outlive the server */
    size_t shared_body_len;
    unsigned retry_after_s; /* 0: no such header */
    const char *allow;      /* of a 405; or NULL */
};

struct http_request {
    enum http_method method;
    const char *path; /* decoded, without the query */
    struct http_parameter query[HTTP_QUERY_MAX];
    size_t query_count;
    const char *content_type; /* headers as they came; "" if absent */
    const char *accept;
    const char *host;
    struct buffer body;
    struct http_reply reply;
    void *context; /* http_server_start's */
    void *state;   /* the handlers' own, made by http_options' state_create and kept from one request to the next */
};

enum http_progress {
    HTTP_ANSWERED, /* the reply is filled in */
    HTTP_PENDING   /* call start once the connection is suspended */
};

struct http_route {
    const char *path;              /* exact; NULL ends the table */
    unsigned methods;              /* enum http_method's, or-ed */
    const char *const *parameters; /* the query parameters that it knows, NULL-terminated; NULL: none */

    enum http_progress (*decode)(struct http_request *request);
    void (*start)(struct http_request *request); /* leads to one http_request_complete, perhaps before it returns */
    void (*encode)(struct http_request *request); /* fills the reply in */
};

struct http_options {
    const char *host;  /* a name or an address, IPv4 or IPv6 */
    unsigned port;     /* 0: the system picks */
    size_t io_threads; /* at least 1 */
    size_t connections_max;
    size_t body_bytes_max; /* a larger body is a 413 */

    /* (optional) What handlers keep in request->state, so that the steady state allocates nothing. */
    void *(*state_create)(void *context); /* NULL on failure */
    void (*state_reset)(void *state);     /* between two requests */
    void (*state_free)(void *state);      /* takes NULL */
};

struct http_server;

/* Listens and serves. The routes and the context outlive the server. Failures name the address and the mend. */
enum status http_server_start(const struct http_options *options, const struct http_route *routes, void *context,
                              struct http_server **ret, struct error *err);

/* "http://127.0.0.1:8080", with the port that was really taken. Lives as long as the server. */
const char *http_server_url(const struct http_server *server);

/* The work that `start` began has ended, well or not. Once for each HTTP_PENDING; any thread. */
void http_request_complete(struct http_request *request);

/* Fills the reply with {"error":...,"hint":...} and the code that fits err->status. */
void http_reply_error(struct http_request *request, const struct error *err);

/* The same with a code of its own. */
void http_reply_error_code(struct http_request *request, unsigned code, const struct error *err);

/* The value of a query parameter, or NULL. */
const char *http_request_parameter(const struct http_request *request, const char *key);

/* Closes the listening socket; requests under way go on. */
void http_server_stop_accepting(struct http_server *server);

/* Waits until no request is under way, or for timeout_ms; for one whose body is still coming only upload_ms, since its
 * client may never send the rest. Returns how many still are under way. */
size_t http_server_wait_idle(struct http_server *server, unsigned upload_ms, unsigned timeout_ms);

/* Ends all threads and connections; requests that `start` began are waited for. Takes NULL. */
void http_server_free(struct http_server *server);

#endif
