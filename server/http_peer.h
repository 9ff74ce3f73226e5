/* The connections of a loop, private to the files http*.c: in which state each is and since when, so that the time limits
 * are absolute (libmicrohttpd's own counts inactivity alone, and a byte a second passes it).
 *
 * A peer belongs to its loop's thread. Lists are in order of time, so that a look at a list's head tells whether a limit
 * has passed.
 */
#ifndef MLPD_SERVER_HTTP_PEER_H
#define MLPD_SERVER_HTTP_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "server/request_id.h"
#include "server/wire.h"

struct exchange;
struct http_loop;

enum peer_state {
    PEER_IDLE,      /* between requests */
    PEER_READING,   /* a byte of a request has come, and not all of it */
    PEER_WORKING,   /* the request is whole */
    PEER_ANSWERING, /* the answer is being sent */
    PEER_STATES
};

/* Why a connection is being closed from this side. */
enum peer_verdict { PEER_KEPT, PEER_TOO_SLOW, PEER_REFUSED, PEER_UNREAD, PEER_EVICTED, PEER_ABANDONED };

struct peer {
    struct http_loop *loop;
    int fd;
    bool admin;    /* came through the administration's listener */
    bool reserved; /* has one of the places that are kept for health checks */
    bool gone;     /* its end of stream, or an error, was read */
    enum peer_verdict verdict;
    unsigned refusal_code; /* of PEER_TOO_SLOW and PEER_REFUSED: their answers go out past libmicrohttpd */
    enum peer_state state;
    int64_t since_ns;                    /* when it came into its state */
    int64_t began_ns;                    /* when the first byte of its request came */
    struct wire wire;                    /* its bytes, as they came */
    uint64_t requests;                   /* whose headers libmicrohttpd has shown */
    uint64_t answered;                   /* of them, that have ended */
    struct exchange *exchange;           /* of the request under way, once its headers have come; or NULL */
    char request_id[REQUEST_ID_MAX + 1]; /* of a request that was refused before; else "" */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    struct peer *next, *previous; /* in its state's list; `next` in an inbox too */
};

struct peer_list {
    struct peer *first, *last;
    size_t count;
};

/* The table in which `recv` finds a connection by its descriptor: for descriptors below `count`. False if out of memory. */
bool peer_table_create(size_t count);
void peer_table_free(void);

bool peer_table_holds(int fd);

/* NULL for a descriptor that is no connection of ours. */
struct peer *peer_find(int fd);

void peer_table_enter(struct peer *peer);
void peer_table_remove(struct peer *peer);

/* A new peer for an accepted socket, in no list yet. NULL if out of memory, or if the descriptor is beyond the table. */
struct peer *peer_create(int fd, const struct sockaddr *address, socklen_t address_len, bool admin);

/* Takes it out of its list and frees it; the descriptor is not closed. */
void peer_free(struct peer *peer);

/* Makes it the loop's, idle. */
void peer_adopt(struct peer *peer, struct http_loop *loop);

/* Puts it at the end of the state's list, as of the loop's now. */
void peer_move(struct peer *peer, enum peer_state state);

/* Whether an idle peer is really silent: not being closed, and with no byte of a request unread in its socket. */
bool peer_is_silent(const struct peer *peer);

/* Shuts the socket down, which libmicrohttpd then sees. */
void peer_shut(struct peer *peer, enum peer_verdict verdict);

/* Marks the peers of a list whose clients have closed or reset the connection; libmicrohttpd overlooks an end of stream
 * that comes with the last bytes of a piece of a body, and does not watch a suspended connection. */
void peer_list_find_gone(struct peer_list *list);

#endif
