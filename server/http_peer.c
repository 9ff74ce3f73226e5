#include "server/http_peer.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "server/http_server.h"

struct peer *peer_create(int fd, const struct sockaddr *address, socklen_t address_len, bool admin)
{
    struct peer *peer = peer_table_holds(fd) ? calloc(1, sizeof *peer) : NULL;
    if (!peer)
        return NULL;
    peer->fd = fd;
    peer->admin = admin;
    peer->state = PEER_STATES;
    memcpy(&peer->address, address, address_len < sizeof peer->address ? address_len : sizeof peer->address);
    return peer;
}

static void list_remove(struct peer_list *list, struct peer *peer)
{
    *(peer->previous ? &peer->previous->next : &list->first) = peer->next;
    *(peer->next ? &peer->next->previous : &list->last) = peer->previous;
    list->count--;
}

static void list_append(struct peer_list *list, struct peer *peer)
{
    peer->next = NULL;
    peer->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = peer;
    list->last = peer;
    list->count++;
}

/* One thread writes; others read. */
static void add(atomic_size_t *counter, size_t more)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

void peer_free(struct peer *peer)
{
    if (peer->loop) {
        struct http_loop *loop = peer->loop;
        list_remove(&loop->peers[peer->state], peer);
        add(&loop->in_flight, peer->state == PEER_IDLE ? 0 : (size_t)-1);
        add(&loop->connections, (size_t)-1);
        peer_table_remove(peer);
    }
    free(peer);
}

void peer_adopt(struct peer *peer, struct http_loop *loop)
{
    peer->loop = loop;
    peer->state = PEER_IDLE;
    peer->since_ns = loop->now_ns;
    list_append(&loop->peers[PEER_IDLE], peer);
    add(&loop->connections, 1);
    size_t connections = atomic_load_explicit(&loop->connections, memory_order_relaxed);
    if (loop->connections_most < connections)
        loop->connections_most = connections;
    peer_table_enter(peer);
}

void peer_move(struct peer *peer, enum peer_state state)
{
    struct http_loop *loop = peer->loop;
    if (peer->state == state)
        return;
    if (peer->state == PEER_IDLE || state == PEER_IDLE)
        add(&loop->in_flight, state == PEER_IDLE ? (size_t)-1 : 1);
    list_remove(&loop->peers[peer->state], peer);
    peer->state = state;
    peer->since_ns = loop->now_ns;
    list_append(&loop->peers[state], peer);
}

bool peer_is_silent(const struct peer *peer)
{
    char byte;
    return recvfrom(peer->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) <= 0;
}

void peer_shut(struct peer *peer, enum peer_verdict verdict)
{
    if (peer->verdict == PEER_KEPT)
        peer->verdict = verdict;
    shutdown(peer->fd, SHUT_RDWR);
}

void peer_list_find_gone(struct peer_list *list)
{
    enum { AT_ONCE = 256 };
    struct pollfd sockets[AT_ONCE];
    struct peer *peers[AT_ONCE];
    for (struct peer *peer = list->first; peer;) {
        nfds_t count = 0;
        for (; peer && count < AT_ONCE; peer = peer->next) {
            sockets[count] = (struct pollfd){.fd = peer->fd, .events = POLLRDHUP};
            peers[count++] = peer;
        }
        if (poll(sockets, count, 0) <= 0)
            continue;
        for (nfds_t i = 0; i < count; i++)
            peers[i]->gone |= sockets[i].revents != 0;
    }
}
