#include "server/ip_limit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/un.h>

#include "tests/unit/unit.h"

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static union address address_of(const char *text)
{
    union address address = {0};
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.any.sa_family = AF_INET;
    } else {
        ck_assert_int_eq(inet_pton(AF_INET6, text, &address.v6.sin6_addr), 1);
        address.any.sa_family = AF_INET6;
    }
    return address;
}

static bool take(struct ip_limit *limit, const char *text)
{
    union address address = address_of(text);
    return ip_limit_take(limit, &address.any);
}

static void give(struct ip_limit *limit, const char *text)
{
    union address address = address_of(text);
    ip_limit_give(limit, &address.any);
}

START_TEST(ip_limit_counts_each_address_for_itself)
{
    struct ip_limit *limit = ip_limit_create(100, 2);
    ck_assert(take(limit, "10.0.0.1"));
    ck_assert(take(limit, "10.0.0.1"));
    ck_assert(!take(limit, "10.0.0.1"));
    ck_assert(take(limit, "10.0.0.2"));
    give(limit, "10.0.0.1");
    ck_assert(take(limit, "10.0.0.1"));
    ck_assert(!take(limit, "10.0.0.1"));
    ip_limit_free(limit);
}
END_TEST

START_TEST(ip_limit_takes_an_ipv6_client_by_its_network)
{
    struct ip_limit *limit = ip_limit_create(100, 1);
    ck_assert(take(limit, "2001:db8::1"));
    ck_assert(!take(limit, "2001:db8::2"));
    ck_assert(take(limit, "2001:db8:0:1::1"));
    ip_limit_free(limit);
}
END_TEST

START_TEST(ip_limit_knows_an_ipv4_client_that_comes_by_ipv6)
{
    struct ip_limit *limit = ip_limit_create(100, 1);
    ck_assert(take(limit, "10.1.2.3"));
    ck_assert(!take(limit, "::ffff:10.1.2.3"));
    ck_assert(take(limit, "::ffff:10.1.2.4"));
    ip_limit_free(limit);
}
END_TEST

START_TEST(ip_limit_does_not_count_sockets_without_an_address)
{
    struct ip_limit *limit = ip_limit_create(100, 1);
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    for (size_t i = 0; i < 10; i++)
        ck_assert(ip_limit_take(limit, (const struct sockaddr *)&local));
    ip_limit_give(limit, (const struct sockaddr *)&local);
    ip_limit_free(limit);
}
END_TEST

static union address numbered(uint32_t number)
{
    union address address = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0A000000u + number)}};
    return address;
}

/* A table of 16 entries, in which eight addresses come and go in every order, beside a plain count of each. */
START_TEST(ip_limit_keeps_its_counts_while_addresses_come_and_go)
{
    enum { ADDRESSES = 8, PER_IP = 3 };
    size_t counts[ADDRESSES] = {0}, all = 0;
    uint64_t state = 1;
    struct ip_limit *limit = ip_limit_create(8, PER_IP);
    for (size_t i = 0; i < 100000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t which = (size_t)(state >> 40) % ADDRESSES;
        union address address = numbered((uint32_t)which * 977);
        if (state >> 63 && counts[which]) {
            ip_limit_give(limit, &address.any);
            counts[which]--;
            all--;
        } else if (all < 8) {
            bool fits = counts[which] < PER_IP;
            ck_assert_int_eq(ip_limit_take(limit, &address.any), fits);
            counts[which] += fits;
            all += fits;
        }
    }
    ip_limit_free(limit);
}
END_TEST

START_TEST(ip_limit_free_takes_null)
{
    ip_limit_free(NULL);
}
END_TEST

UNIT_MAIN("server/ip_limit", ip_limit_counts_each_address_for_itself, ip_limit_takes_an_ipv6_client_by_its_network,
          ip_limit_knows_an_ipv4_client_that_comes_by_ipv6, ip_limit_does_not_count_sockets_without_an_address,
          ip_limit_keeps_its_counts_while_addresses_come_and_go, ip_limit_free_takes_null)
