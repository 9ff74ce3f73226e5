#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum status bind_error(const char *host, unsigned port, int code, struct error *err)
{
    if (code == EADDRINUSE) {
        error_set(err, STATUS_IO, "port %u of %s is in use", port, host);
        return error_hint(err,
                          "stop the program that holds it, or choose another with --port (0 picks a free one)");
    }
    error_set(err, STATUS_IO, "cannot listen on %s port %u: %s", host, port, strerror(code));
    if (code == EACCES)
        return error_hint(err, "ports below 1024 need privileges: choose another with --port");
    return error_hint(err, "--host takes an address of this machine, for example 127.0.0.1, or 0.0.0.0 for all");
}

/* The listening socket, or -1 with errno. */
static int open_socket(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Connections of a daemon that has just ended linger in TIME_WAIT and must not keep the next one from starting. */
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void write_url(int fd, char url[LISTEN_URL_MAX])
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool bracketed = address.ss_family == AF_INET6;
    snprintf(url, LISTEN_URL_MAX, "http://%s%.46s%s:%.5s", bracketed ? "[" : "", host, bracketed ? "]" : "", port);
}

enum status listen_tcp(const char *host, unsigned port, int *ret_fd, char ret_url[LISTEN_URL_MAX],
                       struct error *err)
{
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses;
    int code = getaddrinfo(host, service, &hints, &addresses);
    if (code != 0) {
        error_set(err, STATUS_INVALID, "--host %s: %s", host, gai_strerror(code));
        return error_hint(err,
                          "--host takes an address of this machine, for example 127.0.0.1, or 0.0.0.0 for all");
    }
    int fd = -1;
    for (struct addrinfo *address = addresses; address && fd < 0; address = address->ai_next)
        fd = open_socket(address);
    code = errno;
    freeaddrinfo(addresses);
    if (fd < 0)
        return bind_error(host, port, code, err);
    write_url(fd, ret_url);
    *ret_fd = fd;
    return STATUS_OK;
}
