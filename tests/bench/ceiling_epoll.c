/* The most that one thread gives with epoll and nothing else: it parses just enough of HTTP/1.1 to find where a body
 * ends, throws the body away and sends a constant answer. Keep-alive; no pipelining, no chunks.
 *
 *     ceiling_epoll PORT ANSWER_FILE       until SIGTERM
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/answer_file.h"

enum { FDS_MAX = 4096, HEAD_MAX = 4096, EVENTS = 256 };

static struct connection {
    char head[HEAD_MAX + 1];
    size_t head_len;  /* of what has come of the headers; 0 while the body comes */
    size_t body_left; /* bytes of the body that are still to come */
} connections[FDS_MAX];

static struct answer reply; /* headers and the constant answer */

/* The answer is sent from a blocking socket: the client reads it while it waits, and nobody else has a turn. */
static bool send_reply(int fd)
{
    for (size_t sent = 0; sent < reply.len;) {
        ssize_t n = send(fd, reply.data + sent, reply.len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

/* False if the connection is at its end. */
static bool read_head(struct connection *connection, int fd)
{
    ssize_t n = recv(fd, connection->head + connection->head_len, HEAD_MAX - connection->head_len, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    connection->head_len += (size_t)n;
    connection->head[connection->head_len] = '\0';
    const char *end = strstr(connection->head, "\r\n\r\n");
    if (!end)
        return connection->head_len < HEAD_MAX;
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t after_head = connection->head_len - (size_t)(end + 4 - connection->head);
    if (after_head > body)
        return false;
    connection->head_len = 0;
    connection->body_left = body - after_head;
    return connection->body_left || send_reply(fd);
}

static bool read_body(struct connection *connection, int fd)
{
    static char discarded[1 << 16];
    size_t wanted = connection->body_left < sizeof discarded ? connection->body_left : sizeof discarded;
    ssize_t n = recv(fd, discarded, wanted, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    connection->body_left -= (size_t)n;
    return connection->body_left || send_reply(fd);
}

static void accept_one(int listener, int epoll)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= FDS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    connections[fd].head_len = connections[fd].body_left = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    fprintf(stderr, "ceiling_epoll: cannot serve on port %s: %s\n", port, strerror(errno));
    exit(EXIT_FAILURE);
}

static void make_reply(const char *path)
{
    struct answer answer = answer_read(path);
    char head[128];
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                       answer.len);
    reply = (struct answer){.data = malloc((size_t)len + answer.len), .len = (size_t)len + answer.len};
    if (!reply.data)
        exit(EXIT_FAILURE);
    memcpy(reply.data, head, (size_t)len);
    memcpy(reply.data + len, answer.data, answer.len);
    free(answer.data);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT ANSWER_FILE\n", argv[0]);
        return 2;
    }
    make_reply(argv[2]);
    int listener = listen_on(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_one(listener, epoll);
            else if (!(connections[fd].body_left ? read_body(&connections[fd], fd)
                                                 : read_head(&connections[fd], fd)))
                close(fd);
        }
    }
}
