/* How many connections each client address has, and may have. An IPv6 address counts by its first 64 bits, since a client has
 * all the others to itself; sockets without an address are not counted. Any thread may call it.
 *
 *     struct ip_limit *limit = ip_limit_create(10000, 20);
 *     if (!ip_limit_take(limit, address)) refuse();
 *     ...
 *     ip_limit_give(limit, address);
 */
#ifndef MLPD_SERVER_IP_LIMIT_H
#define MLPD_SERVER_IP_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct ip_limit;

/* For at most `connections_max` connections together and `per_ip` of one address. NULL if out of memory. */
struct ip_limit *ip_limit_create(size_t connections_max, size_t per_ip);

/* Counts one more connection. False, and nothing counted, if the address has all that it may have. */
bool ip_limit_take(struct ip_limit *limit, const struct sockaddr *address);

/* One that was taken has ended. */
void ip_limit_give(struct ip_limit *limit, const struct sockaddr *address);

/* Takes NULL. */
void ip_limit_free(struct ip_limit *limit);

#endif
