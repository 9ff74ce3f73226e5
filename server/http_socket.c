/* The sockets of connections: which peer a descriptor belongs to, and recv(2) as libmicrohttpd calls it.
 *
 * The library is linked dynamically or statically, and in both ways a function that the program defines comes before the C
 * library's; so each byte that a client sends passes here before the library sees it. What the library hides from its
 * handlers is seen here: when a request's first byte came, and how its head was framed.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "server/http_peer.h"
#include "server/http_server.h"

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

static void received(struct peer *peer, ssize_t got)
{
    if (got <= 0) {
        peer->gone |= got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
        return;
    }
    if (peer->state == PEER_IDLE)
        http_request_began(peer);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    ssize_t got = recvfrom(fd, data, len, flags, NULL, NULL);
    int code = errno;
    struct peer *peer = peer_find(fd);
    if (peer)
        received(peer, got);
    errno = code;
    return got;
}
