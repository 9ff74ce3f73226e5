/* New connections: how many may be open, of whom, and which loop gets them. */
#include <errno.h>
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_server.h"

enum {
    /* Connections that are accepted before others have their turn. With few of them those that wait would wait for many
     * rounds, which are long where thousands of connections are busy. */
    ACCEPT_MAX = 1024,
    PLACES_KEPT = 16, /* for health checks, or fewer where there are not many */
    REST_MS = 100,    /* without listening, when the system has no descriptor left */
    SILENT_MS = 20,   /* for which a connection may be silent whatever the need for its place */
};

static size_t places_kept(size_t connections_max)
{
    return connections_max / 4 < PLACES_KEPT ? connections_max / 4 : PLACES_KEPT;
}

static size_t public_places(const struct http_server *server)
{
    return server->options.connections_max - places_kept(server->options.connections_max);
}

bool http_has_place(struct peer *peer)
{
    const struct http_server *server = peer->loop->server;
    if (atomic_load(&server->connections) > public_places(server))
        return false;
    peer->reserved = false;
    return true;
}

void http_forget(struct peer *peer)
{
    struct http_server *server = peer->loop->server;
    atomic_fetch_sub(&server->connections, 1);
    if (server->ip_limit)
        ip_limit_give(server->ip_limit, &peer->address.any);
    peer_free(peer);
}

/* The connection that has been silent for longest gives its place up, but for those that may not yet have had the time to
 * speak. False if this loop has none. */
static bool evict_idle(struct http_loop *loop)
{
    struct peer *peer = loop->peers[PEER_IDLE].first;
    for (; peer && loop->now_ns - peer->since_ns >= SILENT_MS * INT64_C(1000000); peer = peer->next)
        if (peer_is_silent(peer)) {
            peer_shut(peer, PEER_EVICTED);
            return true;
        }
    return false;
}

static bool has_idle(const struct http_loop *loop)
{
    return atomic_load_explicit(&loop->connections, memory_order_relaxed) >
           atomic_load_explicit(&loop->in_flight, memory_order_relaxed);
}

/* One of this loop's, or of another's. */
static void make_room(struct http_loop *loop)
{
    struct http_server *server = loop->server;
    if (evict_idle(loop))
        return;
    for (size_t i = 0; i < server->loop_count; i++) {
        struct http_loop *other = &server->loops[i];
        if (other == loop || !has_idle(other))
            continue;
        atomic_store(&other->place_wanted, true);
        http_loop_wake(other);
        return;
    }
}

static void turn_away(struct http_loop *loop, int fd, enum http_rejection reason, const struct error *err)
{
    char request_id[REQUEST_ID_NEW_LEN + 1];
    request_id_new(request_id);
    if (loop->server->handlers.rejected)
        loop->server->handlers.rejected(loop->loop_state, reason);
    http_respond_raw(fd, MHD_HTTP_SERVICE_UNAVAILABLE, request_id, err);
    shutdown(fd, SHUT_WR); /* so that the answer goes out before the reset that unread bytes would bring */
    close(fd);
}

static void refuse(struct http_loop *loop, int fd, const char *what, size_t limit, const char *option)
{
    struct error err;
    error_set(&err, STATUS_OVERLOADED, "%s: %zu", what, limit);
    error_hint(&err, "close connections that are not needed, or start mlpd with a larger %s", option);
    turn_away(loop, fd, HTTP_REJECTED_CONNECTIONS, &err);
}

static void refuse_without_memory(struct http_loop *loop, int fd)
{
    struct error err;
    error_set(&err, STATUS_NO_MEMORY, "there is no memory for a connection");
    error_hint(&err, "connect again in a moment");
    turn_away(loop, fd, HTTP_REJECTED_MEMORY, &err);
}

static struct http_loop *least_loaded(struct http_server *server, struct http_loop *here)
{
    struct http_loop *least = here;
    for (size_t i = 0; i < server->loop_count; i++)
        if (atomic_load_explicit(&server->loops[i].connections, memory_order_relaxed) <
            atomic_load_explicit(&least->connections, memory_order_relaxed))
            least = &server->loops[i];
    return least;
}

/* The connection becomes libmicrohttpd's, which closes the socket if it will not have it; the peer is freed by the
 * notice of its end, if there was one of its beginning. */
static void adopt(struct http_loop *loop, struct peer *peer)
{
    peer_adopt(peer, loop);
    loop->adopting = peer;
    MHD_add_connection(loop->daemon, peer->fd, &peer->address.any, sizeof peer->address);
    if (loop->adopting)
        http_forget(loop->adopting);
    loop->adopting = NULL;
}

static void hand_over(struct http_loop *loop, struct peer *peer)
{
    pthread_mutex_lock(&loop->inbox_lock);
    peer->next = loop->inbox;
    loop->inbox = peer;
    pthread_mutex_unlock(&loop->inbox_lock);
    http_loop_wake(loop);
}

void http_accept_inbox(struct http_loop *loop)
{
    pthread_mutex_lock(&loop->inbox_lock);
    struct peer *peer = loop->inbox;
    loop->inbox = NULL;
    pthread_mutex_unlock(&loop->inbox_lock);
    if (atomic_exchange(&loop->place_wanted, false))
        evict_idle(loop);
    while (peer) {
        struct peer *next = peer->next;
        adopt(loop, peer);
        peer = next;
    }
}

static void admit(struct http_loop *loop, int fd, const struct sockaddr *address, socklen_t len, bool admin)
{
    struct http_server *server = loop->server;
    const struct http_options *options = &server->options;
    size_t open = atomic_fetch_add(&server->connections, 1);
    bool reserved = open >= public_places(server);
    if (reserved)
        make_room(loop);
    if (open >= options->connections_max) {
        refuse(loop, fd, "all connections are taken", options->connections_max, "--connections-max");
    } else if (server->ip_limit && !ip_limit_take(server->ip_limit, address)) {
        refuse(loop, fd, "this address has all the connections that it may have", options->connections_per_ip,
               "--connections-per-ip");
    } else {
        struct peer *peer = peer_create(fd, address, len, admin);
        struct http_loop *target = least_loaded(server, loop);
        if (peer) {
            peer->reserved = reserved && !admin;
            if (target == loop)
                adopt(loop, peer);
            else
                hand_over(target, peer);
            return;
        }
        refuse_without_memory(loop, fd);
        if (server->ip_limit)
            ip_limit_give(server->ip_limit, address);
    }
    atomic_fetch_sub(&server->connections, 1);
}

/* No descriptor or memory is left: the listeners rest for a moment, since they would report the same again at once. */
static void rest(struct http_loop *loop)
{
    loop->accept_at_ns = loop->now_ns + REST_MS * INT64_C(1000000);
    http_listen(loop, false);
    make_room(loop);
}

bool http_accept(struct http_loop *loop, const struct http_listener *listener)
{
    for (size_t i = 0; i < ACCEPT_MAX; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(loop, fd, (const struct sockaddr *)&address, len, listener->admin);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            rest(loop);
            return false;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* True if it went well with all. */
static bool change_listeners(struct http_loop *loop, int operation)
{
    const struct http_server *server = loop->server;
    bool ok = true;
    for (size_t i = 0; i < server->listener_count; i++) {
        struct http_listener *listener = &server->listeners[i];
        struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = listener};
        ok &= epoll_ctl(loop->epoll_fd, operation, listener->fd, &event) == 0;
    }
    return ok;
}

bool http_listen(struct http_loop *loop, bool wanted)
{
    if (atomic_load_explicit(&loop->listening, memory_order_relaxed) == wanted)
        return true;
    bool listens = wanted && change_listeners(loop, EPOLL_CTL_ADD);
    if (!listens)
        change_listeners(loop, EPOLL_CTL_DEL);
    atomic_store(&loop->listening, listens);
    return listens == wanted;
}
