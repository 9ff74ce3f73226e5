/* The most that libmicrohttpd gives: it reads a request's body, throws it away and sends a constant answer. What mlpd
 * takes beyond this is mlpd's.
 *
 *     ceiling_mhd PORT IO_THREADS ANSWER_FILE      until SIGTERM
 */
#include <microhttpd.h>
#include <signal.h>
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

/* The mode of threads is mlpd's: one epoll each, a pool of them where there are several. */
int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s PORT IO_THREADS ANSWER_FILE\n", argv[0]);
        return 2;
    }
    struct answer answer = answer_read(argv[3]);
    unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD,
                                                 (uint16_t)strtoul(argv[1], NULL, 10), NULL, NULL, on_request,
                                                 &answer, MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? threads : 0,
                                                 MHD_OPTION_CONNECTION_LIMIT, 10000U, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "%s: cannot serve on port %s\n", argv[0], argv[1]);
        return EXIT_FAILURE;
    }
    int signal_number;
    sigwait(&signals, &signal_number);
    MHD_stop_daemon(daemon);
    free(answer.data);
    return EXIT_SUCCESS;
}
