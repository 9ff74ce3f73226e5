/* The lifetimes of requests, private to the files http*.c: an exchange is taken from its loop's pool when a request's
 * headers have come, and goes back when its connection has done with it and its work has ended, whichever comes last.
 *
 * An exchange's fields belong to its loop's thread, and while its work is under way `request` to whoever does it.
 */
#ifndef MLPD_SERVER_HTTP_EXCHANGE_H
#define MLPD_SERVER_HTTP_EXCHANGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/budget.h"
#include "server/http.h"
#include "server/inflate.h"
#include "server/request_id.h"
#include "server/side_thread.h"

struct MHD_Connection;
struct http_loop;
struct peer;

enum stage {
    STAGE_BODY,     /* more of the body may come */
    STAGE_GATHERED, /* its work runs at the end of the round */
    STAGE_PENDING,  /* its work is under way, and its connection suspended */
    STAGE_EXPIRED,  /* its work is of no more use, and may still be under way */
    STAGE_COMPLETE  /* the reply can be sent */
};

struct exchange {
    struct http_request request; /* first: http_request_complete finds the exchange through it */
    struct http_loop *loop;
    struct peer *peer;
    int fd;                            /* the peer's */
    struct MHD_Connection *connection; /* NULL when it has done with the request */
    const struct http_route *route;    /* NULL: refused before one was found */
    const char *method, *protocol;
    enum stage stage;
    bool outstanding;       /* `start` has begun the work, or is about to, and its end has not been seen */
    bool refused;           /* the reply is filled in; what comes of the body is thrown away */
    bool out_of_step;       /* where the body ends is unknown: the connection ends with the reply */
    bool expects_continue;  /* its client waits for "100 Continue" */
    enum encoding encoding; /* of the body */
    size_t declared_len;    /* of the body; SIZE_MAX where it is chunked */
    size_t discarded_bytes;
    size_t body_bytes, reply_bytes; /* as they came and went */
    uint64_t round;                 /* in which it was gathered */
    struct http_reply late; /* what is sent once it has expired; the reply proper may be in use by the work */
    char request_id[REQUEST_ID_MAX + 1];
    char *texts; /* of the headers, see exchange_own_texts; or NULL */
    struct account account;
    struct side_task task;
    atomic_bool decoding;             /* another thread decodes it, or is about to */
    atomic_bool unwanted;             /* it has expired: what that thread has not begun need not be done */
    struct exchange *next, *previous; /* among the pending; `next` among the spare too */
    struct exchange *next_completed;
};

struct exchange_pool {
    struct exchange *first_pending;
    struct exchange *spare;
    size_t spare_count;
    size_t taken, taken_most; /* now, and since the pool was last made smaller */
};

/* NULL if out of memory. */
struct exchange *exchange_take(struct http_loop *loop);

/* Its connection and its work have done with it. */
void exchange_give_back(struct exchange *exchange);

/* Frees the spare exchanges that nobody has needed since this was last called, but for a few. Returns how many. */
size_t exchange_pool_shrink(struct http_loop *loop);

/* Frees the spare exchanges. */
void exchange_pool_clear(struct http_loop *loop);

/* Enters the exchange among the pending, or takes it out. */
void exchange_enter_pending(struct exchange *exchange);
void exchange_leave_pending(struct exchange *exchange);

/* The exchange's reply becomes the refusal; what still comes of the body is thrown away. */
void exchange_refuse(struct exchange *exchange, const struct error *err);
void exchange_refuse_code(struct exchange *exchange, unsigned code, const struct error *err);
void exchange_refuse_too_large(struct exchange *exchange, size_t body_bytes_max);

/* Pays for `more` bytes of the body and makes room for them; else the exchange is refused. */
bool exchange_reserve_body(struct exchange *exchange, size_t more);

/* Makes copies of the texts that decode reads, which are the library's. It reuses their memory when the connection goes on or
 * ends, and a connection does not wait for a thread that decodes for longer than the deadline. False if out of memory. */
bool exchange_own_texts(struct exchange *exchange);

/* What the headers tell: the route, the parameters, the body's length. Refuses what is wrong with them. */
void exchange_read_headers(struct exchange *exchange, const char *path, const char *method, const char *protocol);

#endif
