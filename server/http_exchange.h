/* The lifetimes of requests, private to the files http*.c: an exchange is taken from the pool when a request's headers have
 * come, and goes back when its connection has done with it. The pool knows which exchanges are alive, and looks from
 * time to time whether their clients still are.
 *
 * Threads: taking, giving back and sweeping lock the pool. An exchange's fields belong to its connection's I/O thread,
 * and while it is pending to whoever does its work; `reading_body` and `fd` are read by the sweep too.
 */
#ifndef MLPD_SERVER_HTTP_EXCHANGE_H
#define MLPD_SERVER_HTTP_EXCHANGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/http.h"
#include "server/side_thread.h"

struct MHD_Connection;
struct http_loop;

enum stage { STAGE_BODY, STAGE_PENDING, STAGE_COMPLETE };

struct exchange {
    struct http_request request; /* first: http_request_complete finds the exchange through it */
    struct http_loop *loop;      /* whose thread serves the connection */
    struct MHD_Connection *connection;
    int fd;                         /* the connection's socket */
    const struct http_route *route; /* NULL: refused before one was found */
    enum stage stage;
    atomic_bool reading_body; /* more of the request is waited for */
    bool refused;             /* the reply is filled in; what comes of the body is thrown away */
    bool out_of_step;         /* where the body ends is unknown: the connection ends with the reply */
    size_t discarded_bytes;
    struct side_task task;
    struct exchange *next, *previous; /* among the alive; `next` in the pool too */
};

struct exchange_pool {
    const struct http_options *options;
    void *context;
    atomic_size_t alive;
    atomic_bool flooded; /* there were more than are kept; some have been freed since the last sweep */

    pthread_mutex_t lock; /* guards all below, and the links of every exchange */
    struct exchange *first_alive;
    struct exchange *spare;
    size_t spare_count;
};

void exchange_pool_init(struct exchange_pool *pool, const struct http_options *options, void *context);

/* Frees the spare exchanges; none is alive any more. */
void exchange_pool_destroy(struct exchange_pool *pool);

/* NULL if out of memory. `loop`, `connection` and `fd` are the caller's to keep valid until exchange_give_back. */
struct exchange *exchange_take(struct exchange_pool *pool, struct http_loop *loop,
                               struct MHD_Connection *connection, int fd);
void exchange_give_back(struct exchange_pool *pool, struct exchange *exchange);

/* How many exchanges are alive and do not wait for more of their request. */
size_t exchange_pool_count_whole(struct exchange_pool *pool);

/* Returns to the system what a flood of requests took, and shuts down the sockets of clients that have gone in the middle of their request. libmicrohttpd's epoll loop overlooks an
 * end of stream that comes with the last bytes of a piece of a body, and would keep the connection until it times out. */
void exchange_pool_sweep(struct exchange_pool *pool);

/* The exchange's reply becomes the refusal; what still comes of the body is thrown away. */
void exchange_refuse(struct exchange *exchange, const struct error *err);
void exchange_refuse_code(struct exchange *exchange, unsigned code, const struct error *err);
void exchange_refuse_too_large(struct exchange *exchange, size_t body_bytes_max);

/* What the headers tell: the route, the parameters, the body's length. Refuses what is wrong with them. */
void exchange_read_headers(struct exchange *exchange, const struct http_route *routes, size_t body_bytes_max,
                           const char *path, const char *method);

/* The body's length as declared, or SIZE_MAX where it is chunked. */
size_t exchange_declared_length(const struct exchange *exchange);

/* Whether the client waits for "100 Continue" before it sends its body. */
bool exchange_expects_continue(const struct exchange *exchange);

#endif
