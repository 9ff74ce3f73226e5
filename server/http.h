/* HTTP/1.1 by libmicrohttpd, and the only part that knows it: sockets, I/O loops, bodies read whole within limits, one
 * table of routes, and one lifetime per request. Handlers see a `struct http_request` and fill its reply.
 *
 * A request's way: a loop reads the body, and `decode` turns it into a reply, or into work. Short work is gathered: the loop
 * runs it at the end of its round, together with whatever else it has read, and nothing is suspended or handed to another
 * thread. Long work is begun by `start` while the connection is suspended and costs no thread; whoever ends it calls
 * http_request_complete once, from any thread. Then the loop calls `encode`, and sends. A body larger than
 * HTTP_SLOW_BODY_BYTES is decoded on a thread of its own, so that liveness is answered meanwhile.
 *
 * Loops share nothing that a request touches: each has its own connections, exchanges and clock.
 *
 *     static const struct http_route routes[] = {{.path = "/healthz", .methods = HTTP_GET, .decode = healthz}, {0}};
 *     struct http_server *server;
 *     if (http_server_start(&options, &handlers, &server, &err) != STATUS_OK) ...
 *     http_server_drain(server);               answers say Connection: close
 *     http_server_stop_accepting(server);      no new connections; idle ones are closed
 *     while (http_server_stats(server).connections) ...
 *     http_server_abandon(server);
 *     end whoever completes requests
 *     http_server_free(server);
 */
#ifndef MLPD_SERVER_HTTP_H
#define MLPD_SERVER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/buffer.h"

struct account;
struct sockaddr;

enum {
    HTTP_QUERY_MAX = 16,
    HTTP_CAPTURES_MAX = 2,
    HTTP_SLOW_BODY_BYTES = 64 * 1024,
    HTTP_CLIENT_LEFT = 499, /* the code of a request whose client has gone; it is sent to nobody */
};

enum http_method { HTTP_GET = 1, HTTP_POST = 2, HTTP_PUT = 4 }; /* HEAD is taken where GET is, and shown as GET */

struct http_parameter {
    const char *key;   /* decoded */
    const char *value; /* decoded; "" if there was none */
};

/* A segment of the path, not ended by a NUL. */
struct http_capture {
    const char *text;
    size_t len;
};

struct http_reply {
    unsigned code; /* 0 until it is filled in */
    const char *content_type;
    struct buffer body;
    const void *shared_body; /* sent instead of `body` if not NULL: bytes that live until the state is reset */
    size_t shared_body_len;
    unsigned retry_after_s; /* 0: no such header */
    const char *allow;      /* of a 405; or NULL */
};

/* Where a request's time went, in nanoseconds; what a request does not have is 0. */
struct http_timing {
    int64_t decode_ns, queue_ns, compute_ns, encode_ns;
};

/* Why something was turned away that may be tried again. */
enum http_rejection {
    HTTP_NOT_REJECTED,
    HTTP_REJECTED_QUEUE_FULL,
    HTTP_REJECTED_MEMORY,
    HTTP_REJECTED_CONNECTIONS,
    HTTP_REJECTED_DRAINING
};

struct http_request {
    enum http_method method;
    const char *path;                                /* decoded, without the query */
    struct http_capture captures[HTTP_CAPTURES_MAX]; /* what stands at the route's {}, in order */
    struct http_parameter query[HTTP_QUERY_MAX];
    size_t query_count;
    const char *content_type; /* headers as they came; "" if absent */
    const char *accept;
    const char *host;
    const char *user_agent;
    struct buffer body;
    struct http_reply reply;
    int64_t whole_ns; /* when the last byte of its body had come, by CLOCK_MONOTONIC */
    _Atomic int64_t
        deadline_ns; /* when it is answered with 504 if nothing else has come; decode may set it earlier */
    struct http_timing timing;     /* queue and compute are the handlers' to set */
    size_t rows;                   /* of the model that were asked for; the handlers' to set */
    enum http_rejection rejection; /* likewise */
    struct account *account;       /* pays for the memory that the request holds (server/budget.h) */
    void *context;                 /* the handlers' */
    bool on_loop;                  /* decode runs on the thread of the loop, and may gather */
    void *loop_state;              /* the handlers' own for this loop, used by the loop's thread alone */
    void *state; /* the handlers' own, made by state_create and kept from one request to the next */
};

enum http_progress {
    HTTP_ANSWERED, /* the reply is filled in */
    HTTP_GATHERED, /* loop_run runs the work at the end of this round; not for a body that is decoded on another thread */
    HTTP_PENDING /* call start, and suspend the connection unless that has ended the work */
};

/* The listeners on which a route is served, or-ed. */
enum http_side {
    HTTP_PUBLIC = 1,
    HTTP_ADMIN = 2,         /* the administration's own */
    HTTP_WITHOUT_ADMIN = 4, /* the public ones where the administration has none */
    HTTP_EVERYWHERE = HTTP_PUBLIC | HTTP_ADMIN,
};

struct http_route {
    const char *path;              /* see http_path_matches; NULL ends the table. The first that matches is taken */
    unsigned methods;              /* enum http_method's, or-ed */
    const char *const *parameters; /* the query parameters that it knows, NULL-terminated; NULL: none */

    enum http_progress (*decode)(struct http_request *request);
    void (*start)(struct http_request *request); /* leads to one http_request_complete, perhaps before it returns */
    void (*encode)(struct http_request *request); /* fills the reply in */

    /* (optional) The deadline has passed, or the client has gone. True if the work had not begun and is off: then
     * http_request_complete is not called. False: it will be, and what it brings is thrown away. */
    bool (*withdraw)(struct http_request *request);

    /* (optional) Called by the loop before another thread decodes a large body, which may take its turn: for what must be
     * known before, a deadline that is nearer. */
    void (*prepare)(struct http_request *request);

    unsigned sides;  /* enum http_side's; 0: HTTP_PUBLIC */
    bool runs_model; /* for the record */
    bool bare;       /* a POST or PUT needs no body, and so need not say how long it is */
    bool vital;      /* health: answered on the connections that are kept for it, too */
};

enum http_outcome {
    HTTP_DONE,    /* answered, whole, with `code` */
    HTTP_GONE,    /* its client left before it had the whole answer */
    HTTP_DROPPED, /* the daemon gave it up: the end came first */
};

/* One request's end, for counters and the access log. */
struct http_record {
    /* Texts are "" where the request was refused before its headers were whole, by a time limit or by the library; but what
     * a time limit refused has an id. */
    const char *method, *path, *protocol, *user_agent, *request_id;
    const struct sockaddr *address; /* of the client */
    size_t route;                   /* its index in the table; the table's length where none was found */
    bool runs_model;                /* as its route says */
    const void *state; /* the request's; NULL where there is none, or its work may still be under way */
    enum http_outcome outcome;
    unsigned code; /* HTTP_CLIENT_LEFT if there was no answer yet when the client left */
    size_t body_bytes, reply_bytes;
    size_t rows;                   /* as the handlers set them; 0 where its work was given up */
    enum http_rejection rejection; /* likewise */
    struct http_timing timing;     /* likewise */
    int64_t began_ns, ended_ns;    /* its first byte, and the end of its answer, by CLOCK_MONOTONIC */
};

/* What answers. All functions but decode (of large bodies) and start run on the thread of the request's loop. */
struct http_handlers {
    const struct http_route *routes; /* outlive the server, as the context does */
    void *context;

    /* (optional) What handlers keep in request->state, so that the steady state allocates nothing. */
    void *(*state_create)(void *context); /* NULL on failure */
    void (*state_reset)(void *state);     /* between two requests */
    void (*state_free)(void *state);      /* takes NULL */

    /* (optional) What handlers keep for each loop, in request->loop_state. */
    void *(*loop_create)(void *context); /* NULL on failure */
    void (*loop_run)(void *loop_state);  /* runs what was gathered */
    void (*loop_free)(void *loop_state); /* takes NULL */

    /* (optional) Told of each request's beginning and end, and of each connection that was turned away. */
    void (*began)(void *loop_state);
    void (*ended)(void *loop_state, const struct http_record *record);
    void (*rejected)(void *loop_state, enum http_rejection reason);
};

struct http_address {
    const char *host; /* a name, an address, IPv4 or IPv6, or "unix:/path" */
    unsigned port;    /* 0: the system picks */
    bool admin;
};

struct http_options {
    const struct http_address *addresses; /* needed until http_server_start has returned */
    size_t address_count;
    size_t io_threads; /* loops; at least 1 */
    size_t connections_max;
    size_t connections_per_ip; /* 0: no such limit */
    size_t body_bytes_max;     /* a larger body is a 413 */
    size_t memory_bytes_max;   /* that all requests hold together; 0: no such limit */
    int64_t read_timeout_ns;   /* from a request's first byte to its last */
    int64_t idle_timeout_ns;   /* between requests, and for a client that does not read its answer */
    int64_t deadline_ns;       /* from a request's last byte to its answer */
};

struct http_stats {
    size_t connections;
    size_t in_flight;    /* requests of which a byte has come and whose answer is not yet whole */
    size_t lost;         /* requests that were dropped so far */
    size_t memory_bytes; /* that requests hold */
    int64_t stuck_ns;    /* for how long the loop that is slowest to look has not looked */
};

struct http_server;

/* Listens and serves. Failures name the address and the mend. */
enum status http_server_start(const struct http_options *options, const struct http_handlers *handlers,
                              struct http_server **ret, struct error *err);

/* "http://127.0.0.1:8080", with the port that was really taken, one for each address. Live as long as the server. */
const char *http_server_url(const struct http_server *server, size_t address);

/* A snapshot; any thread. */
struct http_stats http_server_stats(const struct http_server *server);

/* The same of the server that the request came to. */
struct http_stats http_request_stats(const struct http_request *request);

/* The work that `start` began has ended, well or not. Once for each HTTP_PENDING; any thread. */
void http_request_complete(struct http_request *request);

/* Runs, by loop_run, what has been gathered so far, without waiting for the round's end. Called by a decode that would answer
 * HTTP_GATHERED, where there is no more room for it. */
void http_request_run_gathered(const struct http_request *request);

/* Sets gone[i] where the client of requests[i], which is pending, has closed or reset its connection. Any thread, for at most
 * some hundred at once. */
void http_requests_find_gone(struct http_request *const *requests, size_t count, bool *gone);

/* Fills the reply with {"error":...,"hint":...} and the code that fits err->status. */
void http_reply_error(struct http_request *request, const struct error *err);

/* The same with a code of its own. */
void http_reply_error_code(struct http_request *request, unsigned code, const struct error *err);

/* Whether a path is the pattern's: the same bytes, but that each "{name}" in the pattern stands for one segment, which is not
 * empty and holds no slash: "/models/{name}/predict". Captures, HTTP_CAPTURES_MAX at most, point into `path`. */
bool http_path_matches(const char *pattern, const char *path, struct http_capture *captures);

/* The value of a query parameter, or NULL. */
const char *http_request_parameter(const struct http_request *request, const char *key);

/* From now on every answer says Connection: close. */
void http_server_drain(struct http_server *server);

/* Closes the listening sockets and the idle connections; what has begun goes on. */
void http_server_stop_accepting(struct http_server *server);

/* Gives up what is left: connections are closed, and counted as lost where they had begun. Returns when all work that
 * `start` began has ended. */
void http_server_abandon(struct http_server *server);

/* Ends all threads and connections. It was abandoned, or never served, and whoever might still be inside
 * http_request_complete has ended. Takes NULL. */
void http_server_free(struct http_server *server);

#endif
