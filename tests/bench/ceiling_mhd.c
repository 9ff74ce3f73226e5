/* The most that libmicrohttpd gives: it reads a request's body, throws it away and sends a constant answer. What mlpd
 * takes beyond this is mlpd's.
 *
 *     ceiling_mhd PORT ANSWER_FILE      until SIGTERM; one thread
 */
#include <microhttpd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/answer_file.h"

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *data_len,
                                  void **seen)
{
    (void)path, (void)method, (void)version, (void)data;
    const struct answer *answer = argument;
    if (!*seen) {
        *seen = argument;
        return MHD_YES;
    }
    if (*data_len) {
        *data_len = 0;
        return MHD_YES;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(answer->len, answer->data,
                                                                    MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
    enum MHD_Result sent = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return sent;
}

/* libmicrohttpd's own threads (0.9.75) stall when exactly 128 or 256 connections are ready at once: they ask epoll for
 * more, and wait there, before they serve what they have. So the wait is here, and MHD_run, which never waits, serves.
 */
static void serve(struct MHD_Daemon *daemon)
{
    struct pollfd ready = {.fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN};
    for (;;) {
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        bool limited = MHD_get_timeout(daemon, &timeout_ms) == MHD_YES;
        if (!limited || timeout_ms > 0)
            poll(&ready, 1, limited ? (int)timeout_ms : -1);
        MHD_run(daemon);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT ANSWER_FILE\n", argv[0]);
        return 2;
    }
    struct answer answer = answer_read(argv[2]);
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL, (uint16_t)strtoul(argv[1], NULL, 10), NULL, NULL,
                                                 on_request, &answer, MHD_OPTION_CONNECTION_LIMIT, 10000U,
                                                 MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "%s: cannot serve on port %s\n", argv[0], argv[1]);
        return EXIT_FAILURE;
    }
    serve(daemon);
}
