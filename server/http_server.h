/* What the files http*.c share: the server, its loops, and their connections. Private to them.
 *
 * A loop is a thread with an epoll of its own and a daemon of libmicrohttpd that never waits: the loop accepts connections,
 * hands them to the daemon, lets it run when a socket is ready, runs what was gathered meanwhile, and looks after the time
 * limits. Whatever a loop owns is touched by its thread alone, but for what is marked.
 */
#ifndef MLPD_SERVER_HTTP_SERVER_H
#define MLPD_SERVER_HTTP_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/budget.h"
#include "server/http.h"
#include "server/http_exchange.h"
#include "server/http_peer.h"
#include "server/ip_limit.h"
#include "server/listen.h"
#include "server/side_thread.h"

struct MHD_Daemon;

struct http_listener {
    int fd;
    bool admin;
    char url[LISTEN_URL_MAX];
    const char *unix_path; /* in `url`, to be removed at the end; NULL for others */
};

/* What one thread writes often lies apart from what others read: processors fetch lines of 64 bytes in pairs. */
enum { CACHE_LINES = 128 };

/* SERVING, then DRAINING, then ENDING; ABANDONED gives up what is left. */
enum http_phase { PHASE_SERVING, PHASE_DRAINING, PHASE_ENDING, PHASE_ABANDONED, PHASE_ENDED };

struct http_loop {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    bool running;     /* the thread was started */
    int epoll_fd;     /* the daemon's epoll, wake_fd and the listeners */
    int wake_fd;      /* an eventfd */
    void *loop_state; /* the handlers' */

    int64_t now_ns;       /* as this round began */
    int64_t polled_ns;    /* when the loop last looked at its own epoll */
    int64_t ticked_ns;    /* when it last looked for clients that have gone */
    int64_t expired_ns;   /* when it last looked for pending requests that have expired */
    int64_t accept_at_ns; /* when it listens again, after the system had no descriptor left; 0: it listens */

    int64_t refused_ns;      /* when the queue last had no room for a request; 0: never */
    size_t connections_most; /* since memory was last given back */

    struct peer *adopting;               /* that is being handed to libmicrohttpd */
    struct peer_list peers[PEER_STATES]; /* by state, those longest in it first */
    struct exchange_pool pool;
    uint64_t round;  /* of gathered work: it grows when that has run */
    size_t gathered; /* exchanges that wait for this round's end */

    /* From other threads. */
    _Alignas(CACHE_LINES) _Atomic(struct exchange *) completed; /* a stack of those whose work has ended */
    atomic_bool waking;         /* wake_fd was written since the loop last looked: once is enough */
    atomic_bool place_wanted;   /* another loop has no idle connection whose place it could take */
    pthread_mutex_t inbox_lock; /* guards inbox */
    struct peer *inbox;         /* connections that another loop has accepted for this one */

    /* Read by other threads. */
    _Alignas(CACHE_LINES) atomic_size_t connections;
    atomic_size_t in_flight;
    atomic_size_t lost;
    atomic_size_t outstanding; /* exchanges whose work is under way */
    _Atomic int64_t looked_ns; /* when its round began */
    atomic_bool listening;     /* the listeners are in epoll_fd */

    /* As its round began: what an earlier phase allows is not begun any more. */
    _Atomic enum http_phase phase_seen;
};

struct http_server {
    struct http_options options;
    struct http_handlers handlers;
    size_t route_count;
    struct http_listener *listeners;
    size_t listener_count;
    bool has_admin;
    struct http_loop *loops;
    size_t loop_count;
    struct side_thread *slow_lane;
    struct ip_limit *ip_limit; /* NULL without --connections-per-ip */
    _Atomic enum http_phase phase;

    /* Written by all loops; what is above is read for each request. */
    _Alignas(CACHE_LINES) struct budget budget;
    _Alignas(CACHE_LINES) atomic_size_t connections; /* of all loops: the limit is on their sum */
};

/* ---- http_loop.c ---- */

/* Makes what the loop needs; `loop` is zeroed. On failure http_loop_end cleans up what there is. */
bool http_loop_prepare(struct http_server *server, struct http_loop *loop);

/* Starts its thread, when all loops are prepared: they hand connections to each other. */
bool http_loop_start(struct http_loop *loop);

/* Joins the thread, and frees what the loop owns. The phase is PHASE_ENDED. */
void http_loop_end(struct http_loop *loop);

/* Any thread: the loop looks at what it was told. */
void http_loop_wake(struct http_loop *loop);

/* ---- http_accept.c ---- */

/* Accepts what waits at the listener, and hands each connection to the loop that has the fewest. True if there may be
 * more. */
bool http_accept(struct http_loop *loop, const struct http_listener *listener);

/* Takes the connections that other loops have left in the inbox, and makes room if one of them has asked for it. */
void http_accept_inbox(struct http_loop *loop);

/* Whether the peer need not have a place that is kept for health checks; then it has one of the others. */
bool http_has_place(struct peer *peer);

/* The connection has ended: its place is free, and the peer is freed. */
void http_forget(struct peer *peer);

/* Puts the listeners into the loop's epoll, or takes them out. False if they could not all be put in: then none is. */
bool http_listen(struct http_loop *loop, bool wanted);

/* ---- http_request.c ---- */

/* A daemon of libmicrohttpd for the loop, without a socket of its own. NULL on failure. */
struct MHD_Daemon *http_daemon_start(struct http_loop *loop);

/* The first byte of a request has come. */
void http_request_began(struct peer *peer);

/* Takes the exchanges whose work other threads have ended. */
void http_take_completed(struct http_loop *loop);

/* Runs the gathered work, whose requests may go on then. */
void http_run_gathered(struct http_loop *loop);

/* Answers what is pending and whose deadline has passed, and gives up what is pending and whose client has gone; all that is
 * pending in PHASE_ABANDONED. */
void http_expire_pending(struct http_loop *loop);

/* ---- http_socket.c ---- */

/* Refuses the request whose turn it is, if its framing has a fault and libmicrohttpd has not seen it. */
void http_refuse_fault(struct peer *peer);

/* ---- http_respond.c ---- */

/* Queues the exchange's reply, or the late one if it has expired: MHD_YES, or MHD_NO, which closes the connection. */
int http_respond(struct exchange *exchange);

/* Sends a 503 past libmicrohttpd, which has no memory for the request, or there is none for the request's exchange. Returns
 * MHD_NO, with which the handler closes the connection. */
int http_respond_no_memory(struct peer *peer);

/* Answers the peer's request, of which not all has been read, past libmicrohttpd; the verdict says why. */
void http_refuse_raw(struct peer *peer, unsigned code, enum peer_verdict verdict, const struct error *err);

/* Sends a whole answer past libmicrohttpd, to a client of which no request has been read whole, as far as the socket takes
 * it. */
void http_respond_raw(int fd, unsigned code, const char *request_id, const struct error *err);

/* ---- http_record.c ---- */

/* Tells the handlers that the peer's request has ended: `exchange`, or one that never became an exchange if it is NULL. */
void http_record_end(struct peer *peer, const struct exchange *exchange, enum http_outcome outcome, unsigned code);

#endif
