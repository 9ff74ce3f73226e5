#include "server/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static int listen_on(const char *host, unsigned port, char url[LISTEN_URL_MAX])
{
    int fd = -1;
    struct error err = {0};
    enum status status = listen_open(host, port, &fd, url, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Whether this machine has the address at all. */
static int has_address(const char *host)
{
    int fd;
    char url[LISTEN_URL_MAX];
    if (listen_open(host, 0, &fd, url, NULL) != STATUS_OK)
        return 0;
    close(fd);
    return 1;
}

static unsigned port_of(const char *url)
{
    unsigned port = 0;
    ck_assert_int_eq(sscanf(strrchr(url, ':'), ":%u", &port), 1);
    return port;
}

START_TEST(listen_picks_a_port_and_names_it)
{
    char url[LISTEN_URL_MAX], other_url[LISTEN_URL_MAX];
    int fd = listen_on("127.0.0.1", 0, url), other = listen_on("127.0.0.1", 0, other_url);
    ck_assert_int_eq(strncmp(url, "http://127.0.0.1:", 17), 0);
    ck_assert_uint_gt(port_of(url), 0);
    ck_assert_uint_ne(port_of(url), port_of(other_url));
    close(fd);
    close(other);
}
END_TEST

START_TEST(listen_accepts_connections_where_it_says)
{
    char url[LISTEN_URL_MAX];
    int fd = listen_on("127.0.0.1", 0, url);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((in_port_t)port_of(url)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (const struct sockaddr *)&address, sizeof address), 0);
    close(client);
    close(fd);
}
END_TEST

START_TEST(listen_gives_a_socket_that_neither_blocks_nor_survives_exec)
{
    char url[LISTEN_URL_MAX];
    int fd = listen_on("127.0.0.1", 0, url);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(accept(fd, NULL, NULL), -1);
    close(fd);
}
END_TEST

START_TEST(listen_takes_a_name_and_all_addresses)
{
    char url[LISTEN_URL_MAX];
    int fd = listen_on("localhost", 0, url);
    ck_assert(strncmp(url, "http://127.0.0.1:", 17) == 0 || strncmp(url, "http://[::1]:", 13) == 0);
    close(fd);
    fd = listen_on("0.0.0.0", 0, url);
    ck_assert_int_eq(strncmp(url, "http://0.0.0.0:", 15), 0);
    close(fd);
}
END_TEST

START_TEST(listen_puts_an_ipv6_address_in_brackets)
{
    char url[LISTEN_URL_MAX];
    if (!has_address("::1")) {
        UNIT_SKIP("this machine has no IPv6");
        return;
    }
    int fd = listen_on("::1", 0, url);
    ck_assert_int_eq(strncmp(url, "http://[::1]:", 13), 0);
    ck_assert_uint_gt(port_of(url), 0);
    close(fd);
}
END_TEST

static void assert_refused(const char *host, unsigned port, enum status expected, const char *in_message)
{
    int fd = -7;
    char url[LISTEN_URL_MAX] = "untouched";
    struct error err = {0};
    ck_assert_int_eq(listen_open(host, port, &fd, url, &err), expected);
    ck_assert_int_eq(err.status, expected);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_int_eq(fd, -7);
    ck_assert_str_eq(url, "untouched");
}

START_TEST(listen_says_that_a_port_is_in_use)
{
    char url[LISTEN_URL_MAX], text[64];
    int fd = listen_on("127.0.0.1", 0, url);
    snprintf(text, sizeof text, "port %u of 127.0.0.1 is in use", port_of(url));
    assert_refused("127.0.0.1", port_of(url), STATUS_IO, text);
    close(fd);
}
END_TEST

/* The end that closes first waits for stray packets, and its port with it. */
START_TEST(listen_takes_a_port_again_whose_connections_linger)
{
    char url[LISTEN_URL_MAX];
    int fd = listen_on("127.0.0.1", 0, url);
    unsigned port = port_of(url);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(fcntl(fd, F_SETFL, 0), 0);
    int served = accept(fd, NULL, NULL);
    ck_assert_int_ge(served, 0);
    close(served);
    close(client);
    close(fd);
    close(listen_on("127.0.0.1", port, url));
}
END_TEST

START_TEST(listen_refuses_an_address_that_is_not_this_machines)
{
    assert_refused("192.0.2.1", 0, STATUS_IO, "192.0.2.1"); /* RFC 5737: for examples, nobody's */
}
END_TEST

START_TEST(listen_refuses_a_host_that_is_none)
{
    assert_refused("not a host", 0, STATUS_INVALID, "--host not a host");
    assert_refused("127.0.0.1.1", 0, STATUS_INVALID, "--host 127.0.0.1.1");
    assert_refused("999.1.1.1", 0, STATUS_INVALID, "--host 999.1.1.1");
}
END_TEST

UNIT_MAIN("server/listen", listen_picks_a_port_and_names_it, listen_accepts_connections_where_it_says,
          listen_gives_a_socket_that_neither_blocks_nor_survives_exec, listen_takes_a_name_and_all_addresses,
          listen_puts_an_ipv6_address_in_brackets, listen_says_that_a_port_is_in_use,
          listen_takes_a_port_again_whose_connections_linger, listen_refuses_an_address_that_is_not_this_machines,
          listen_refuses_a_host_that_is_none)
