#include "server/ip_limit.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t key;   /* the address, its family in it */
    uint64_t count; /* 0: the entry is free */
};

/* Open addressing: an address stands at its hash, or in the next free entry behind it. There are twice as many entries as
 * connections, so that one is always free. */
struct ip_limit {
    pthread_mutex_t lock; /* guards all below */
    size_t per_ip;
    size_t mask; /* entries, a power of two, less one */
    struct entry *entries;
};

struct ip_limit *ip_limit_create(size_t connections_max, size_t per_ip)
{
    struct ip_limit *limit = calloc(1, sizeof *limit);
    if (!limit)
        return NULL;
    size_t count = 16;
    while (count < 2 * connections_max)
        count *= 2;
    pthread_mutex_init(&limit->lock, NULL);
    limit->per_ip = per_ip;
    limit->mask = count - 1;
    limit->entries = calloc(count, sizeof *limit->entries);
    if (limit->entries)
        return limit;
    ip_limit_free(limit);
    return NULL;
}

/* 0 for an address that is not counted. An IPv4 address that comes as IPv6 is the same client. */
static uint64_t key_of(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return UINT64_C(1) << 32 | v4->sin_addr.s_addr;
    }
    if (address->sa_family != AF_INET6)
        return 0;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    uint64_t key;
    uint32_t v4;
    memcpy(&key, v6->s6_addr, sizeof key);
    memcpy(&v4, v6->s6_addr + 12, sizeof v4);
    return IN6_IS_ADDR_V4MAPPED(v6) ? UINT64_C(1) << 32 | v4 : key | UINT64_C(1) << 63;
}

static size_t home_of(const struct ip_limit *limit, uint64_t key)
{
    return (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 20) & limit->mask;
}

/* The address's entry, or the free one where it would stand. */
static struct entry *find(const struct ip_limit *limit, uint64_t key)
{
    size_t at = home_of(limit, key);
    while (limit->entries[at].count && limit->entries[at].key != key)
        at = (at + 1) & limit->mask;
    return &limit->entries[at];
}

bool ip_limit_take(struct ip_limit *limit, const struct sockaddr *address)
{
    uint64_t key = key_of(address);
    if (!key)
        return true;
    pthread_mutex_lock(&limit->lock);
    struct entry *entry = find(limit, key);
    bool fits = entry->count < limit->per_ip;
    entry->key = key;
    entry->count += fits;
    pthread_mutex_unlock(&limit->lock);
    return fits;
}

/* Frees the entry, and moves those behind it that it had pushed away from their homes. */
static void remove_entry(struct ip_limit *limit, size_t hole)
{
    for (size_t at = (hole + 1) & limit->mask; limit->entries[at].count; at = (at + 1) & limit->mask) {
        size_t home = home_of(limit, limit->entries[at].key);
        if (((at - home) & limit->mask) < ((at - hole) & limit->mask))
            continue;
        limit->entries[hole] = limit->entries[at];
        hole = at;
    }
    limit->entries[hole] = (struct entry){0};
}

void ip_limit_give(struct ip_limit *limit, const struct sockaddr *address)
{
    uint64_t key = key_of(address);
    if (!key)
        return;
    pthread_mutex_lock(&limit->lock);
    struct entry *entry = find(limit, key);
    if (entry->count && --entry->count == 0)
        remove_entry(limit, (size_t)(entry - limit->entries));
    pthread_mutex_unlock(&limit->lock);
}

void ip_limit_free(struct ip_limit *limit)
{
    if (!limit)
        return;
    free(limit->entries);
    pthread_mutex_destroy(&limit->lock);
    free(limit);
}
