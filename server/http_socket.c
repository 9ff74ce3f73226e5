/* The sockets of connections: which peer a descriptor belongs to, and recv(2) as libmicrohttpd calls it.
 *
 * The library is linked dynamically or statically, and in both ways a function that the program defines comes before the C
 * library's; so each byte that a client sends passes here before the library sees it. What the library hides from its
 * handlers is seen here: when a request's first byte came, and how its head was framed.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "server/http_peer.h"
#include "server/http_server.h"
#include "server/wire.h"

enum {
    HEAD_BYTES_MAX = 10 * 1024, /* of a request's head, */
    HEAD_PARTS_MAX = 128, /* and its lines and query parameters, for each of which the library makes an entry */
    DISCARDS_MAX = 64,    /* reads, before a refused request that does not end is cut off */
};

static struct {
    _Atomic(struct peer *) *by_fd;
    size_t count;
} table;

bool peer_table_create(size_t count)
{
    table.by_fd = calloc(count, sizeof *table.by_fd);
    table.count = table.by_fd ? count : 0;
    return table.by_fd;
}

void peer_table_free(void)
{
    free(table.by_fd);
    table.by_fd = NULL;
    table.count = 0;
}

bool peer_table_holds(int fd)
{
    return fd >= 0 && (size_t)fd < table.count;
}

struct peer *peer_find(int fd)
{
    return peer_table_holds(fd) ? atomic_load_explicit(&table.by_fd[fd], memory_order_acquire) : NULL;
}

void peer_table_enter(struct peer *peer)
{
    atomic_store_explicit(&table.by_fd[peer->fd], peer, memory_order_release);
}

void peer_table_remove(struct peer *peer)
{
    struct peer *expected = peer; /* unless the descriptor is another's already */
    atomic_compare_exchange_strong(&table.by_fd[peer->fd], &expected, NULL);
}

static void refuse(struct peer *peer, unsigned code, const struct error *err)
{
    http_refuse_raw(peer, code, PEER_REFUSED, err);
    shutdown(peer->fd, SHUT_WR);
}

/* What a proxy in front could read otherwise is refused past libmicrohttpd, which never sees it. An answer to a request before
 * it goes out first. */
void http_refuse_fault(struct peer *peer)
{
    if (!peer->wire.fault || wire_fault_index(&peer->wire) != peer->answered || peer->state != PEER_READING ||
        peer->verdict != PEER_KEPT)
        return;
    struct error err;
    wire_fault_error(peer->wire.fault, &err);
    refuse(peer, wire_fault_code(peer->wire.fault), &err);
}

/* More than libmicrohttpd has room for in the memory of one connection. */
static bool is_head_too_large(const struct peer *peer)
{
    return peer->state == PEER_READING && !peer->exchange &&
           (peer->wire.head_bytes > HEAD_BYTES_MAX || peer->wire.head_parts > HEAD_PARTS_MAX);
}

static void refuse_head(struct peer *peer)
{
    struct error err;
    error_set(&err, STATUS_TOO_LARGE,
              "the request's head is larger than %d bytes, or has more than %d headers and parameters",
              HEAD_BYTES_MAX, HEAD_PARTS_MAX);
    error_hint(&err, "send fewer or shorter headers and cookies; what is large belongs into the body");
    refuse(peer, 431, &err);
}

/* The client's own id, if the head that has just come brings a fit one: a refusal past libmicrohttpd has it, too. */
static void note_request_id(struct peer *peer, const char *data, size_t len)
{
    static const char name[] = "\nx-request-id:";
    const size_t name_len = sizeof name - 1;
    const char *end = data + len;
    for (const char *at = data; (at = memchr(at, '\n', (size_t)(end - at))) && (size_t)(end - at) > name_len;
         at++) {
        if (strncasecmp(at, name, name_len) != 0)
            continue;
        const char *value = at + name_len, *line_end = memchr(value, '\r', (size_t)(end - value));
        while (line_end && value < line_end && *value == ' ')
            value++;
        char sent[REQUEST_ID_MAX + 1] = "";
        if (line_end && line_end - value <= REQUEST_ID_MAX)
            memcpy(sent, value, (size_t)(line_end - value));
        request_id_choose(sent, peer->request_id);
        return;
    }
}

/* Follows what came. Returns how much of it is libmicrohttpd's: all, or what stands before a head with a fault. */
static size_t received(struct peer *peer, const char *data, size_t len)
{
    if (peer->wire.fault)
        return 0;
    size_t good = wire_feed(&peer->wire, data, len);
    if (peer->state == PEER_IDLE && peer->wire.heads_begun > peer->requests)
        http_request_began(peer);
    if (peer->wire.fault)
        note_request_id(peer, data, len);
    http_refuse_fault(peer);
    if (!peer->wire.fault) {
        if (is_head_too_large(peer))
            refuse_head(peer);
        return len;
    }
    if (wire_place(&peer->wire) != WIRE_IN_HEAD)
        return len; /* it is in a body that comes behind another request; its exchange refuses it */
    return good > peer->wire.head_bytes ? good - peer->wire.head_bytes : 0;
}

/* What still comes of a request that was refused is read and thrown away, for a while: a socket that is closed with unread
 * bytes takes the answer back from its client. Returns what libmicrohttpd is told: that there is nothing, or the end. */
static ssize_t discard(int fd, void *data, size_t len)
{
    for (size_t i = 0; i < DISCARDS_MAX; i++) {
        ssize_t got = recvfrom(fd, data, len, 0, NULL, NULL);
        if (got <= 0)
            return got;
    }
    return 0;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library's are reserved names. */
ssize_t recv(int fd, void *data, size_t len, int flags)
{
    struct peer *peer = peer_find(fd);
    if (peer && peer->verdict == PEER_REFUSED)
        return discard(fd, data, len);
    ssize_t got = recvfrom(fd, data, len, flags, NULL, NULL);
    if (!peer)
        return got;
    peer->gone |= got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
    if (got <= 0)
        return got;
    size_t kept = received(peer, data, (size_t)got);
    return kept && peer->verdict != PEER_REFUSED ? (ssize_t)kept : discard(fd, data, len);
}
