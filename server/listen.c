#include "server/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

/* False if the system does not tell which address the socket has: then nobody would learn of a port that it picked. */
static bool write_url(int fd, char url[LISTEN_URL_MAX])
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0 ||
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    bool bracketed = address.ss_family == AF_INET6;
    snprintf(url, LISTEN_URL_MAX, "http://%s%.46s%s:%.5s", bracketed ? "[" : "", host, bracketed ? "]" : "", port);
    return true;
}

static enum status listen_tcp(const char *host, unsigned port, int *ret_fd, char ret_url[LISTEN_URL_MAX],
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
    if (write_url(fd, ret_url)) {
        *ret_fd = fd;
        return STATUS_OK;
    }
    close(fd);
    error_set(err, STATUS_IO, "the system does not tell which address it gave for %s port %u", host, port);
    return error_hint(err, "start it again; if that does not help, free memory");
}

/* ---- Unix sockets ---- */

static enum status unix_error(const char *path, const char *fault, struct error *err)
{
    error_set(err, STATUS_IO, "cannot listen on unix:%s: %s", path, fault);
    return error_hint(err,
                      "--host unix:PATH takes a path in a folder that can be written, where nobody else listens");
}

/* Whether nobody listens at the address. One who does may have no time (EAGAIN), or not be for this user (EACCES). */
static bool is_dead(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool dead = connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno == ECONNREFUSED;
    close(fd);
    return dead;
}

static void remove_dead_socket(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode) && is_dead(address))
        unlink(address->sun_path);
}

static enum status listen_unix(const char *path, int *ret_fd, char ret_url[LISTEN_URL_MAX], struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address.sun_path)
        return unix_error(path, *path ? "the path is too long" : "there is no path", err);
    memcpy(address.sun_path, path, strlen(path));
    remove_dead_socket(&address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unix_error(path, strerror(errno), err);
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (!bound || listen(fd, SOMAXCONN) != 0) {
        int code = errno;
        close(fd);
        if (bound)
            unlink(path);
        return unix_error(path, strerror(code), err);
    }
    snprintf(ret_url, LISTEN_URL_MAX, "unix:%s", path);
    *ret_fd = fd;
    return STATUS_OK;
}

const char *listen_unix_path(const char *host)
{
    static const char scheme[] = "unix:";
    return strncmp(host, scheme, sizeof scheme - 1) == 0 ? host + sizeof scheme - 1 : NULL;
}

enum status listen_open(const char *host, unsigned port, int *ret_fd, char ret_url[LISTEN_URL_MAX],
                        struct error *err)
{
    const char *path = listen_unix_path(host);
    return path ? listen_unix(path, ret_fd, ret_url, err) : listen_tcp(host, port, ret_fd, ret_url, err);
}
