/* Whether server/wire.h and libmicrohttpd, as it is installed here, see the same requests in the same bytes: the library reads
 * them from a socket, and its handler counts. */
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/wire.h"
#include "tests/unit/server/wire_reference.h"
#include "tests/unit/server/wire_texts.h"
#include "tests/unit/unit.h"

struct seen {
    uint64_t requests; /* that the library called whole */
    uint64_t body_bytes;
    uint64_t calls;
    bool refused; /* it answered one by itself */
    bool closed;
};

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *data_len,
                                  void **slot)
{
    (void)path, (void)method, (void)version, (void)data;
    struct seen *seen = argument;
    bool first = !*slot;
    *slot = seen;
    seen->calls++;
    seen->body_bytes += *data_len;
    if (first || *data_len) {
        *data_len = 0;
        return MHD_YES;
    }
    seen->requests++;
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

/* Takes what the library sent; its own refusals are pages of HTML. Returns the number of bytes. */
static size_t take_answers(int fd, struct seen *seen)
{
    char answers[65536];
    ssize_t len = recv(fd, answers, sizeof answers, MSG_DONTWAIT);
    seen->closed |= len == 0 || (len < 0 && errno != EAGAIN);
    seen->refused |= len > 0 && memmem(answers, (size_t)len, "<html>", 6);
    return len > 0 ? (size_t)len : 0;
}

/* Lets the library work until several rounds bring nothing more. It has all bytes at hand, so that none takes time. */
static void run(struct MHD_Daemon *daemon, int fd, struct seen *seen)
{
    for (int idle = 0; idle < 3; idle++) {
        uint64_t calls = seen->calls;
        MHD_run(daemon);
        if (take_answers(fd, seen) || seen->calls != calls)
            idle = 0;
    }
}

static struct MHD_Daemon *start(struct seen *seen)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
                                                 on_request, seen, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    ck_assert_ptr_nonnull(daemon);
    return daemon;
}

/* The bytes go over a connection of their own, in two pieces: libmicrohttpd reads on where it has to wait, too. */
static struct seen read_by_library(struct MHD_Daemon *daemon, struct seen *seen, struct text text, size_t first)
{
    int pair[2];
    *seen = (struct seen){0};
    const struct sockaddr_in nobody = {.sin_family = AF_INET};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0 ||
        MHD_add_connection(daemon, pair[0], (const struct sockaddr *)&nobody, sizeof nobody) != MHD_YES)
        ck_abort_msg("no connection: %s", strerror(errno));
    for (size_t at = 0, end = first; at < text.len && !seen->closed; at = end, end = text.len) {
        ssize_t sent = send(pair[1], text.at + at, end - at, MSG_NOSIGNAL);
        if (sent >= 0 && (size_t)sent != end - at)
            ck_abort_msg("%zd of %zu bytes fit", sent, end - at);
        run(daemon, pair[1], seen);
    }
    struct seen result = *seen;
    close(pair[1]);
    run(daemon, -1, seen);
    return result;
}

/* Before a fault both see the same. A connection that libmicrohttpd closes by itself, since the client wants it so (HTTP/1.0),
 * has the rest unread. */
static void assert_both_see_the_same(struct text text, const struct seen *seen)
{
    struct reference expected = reference_read(text.at, text.len);
    struct wire wire = {0};
    wire_feed(&wire, text.at, text.len);
    uint64_t whole = expected.heads_begun - (expected.place != WIRE_BETWEEN);
    bool same = seen->requests == whole && seen->body_bytes == expected.body_bytes;
    bool some = seen->requests <= whole && seen->body_bytes <= expected.body_bytes;
    if (wire.fault != expected.fault)
        ck_abort_msg("fault %d, expected %d: %.*s", wire.fault, expected.fault, (int)text.len, text.at);
    if (!wire.fault && (seen->refused || !(seen->closed ? some : same)))
        ck_abort_msg("libmicrohttpd %s %d requests with %d bytes, expected %d with %d: %.*s",
                     seen->refused ? "refused, saw" : "saw", (int)seen->requests, (int)seen->body_bytes, (int)whole,
                     (int)expected.body_bytes, (int)text.len, text.at);
    if (wire.fault && !seen->closed && seen->requests < wire_fault_index(&wire))
        ck_abort_msg("libmicrohttpd saw %d requests before the fault in request %d: %.*s", (int)seen->requests,
                     (int)wire_fault_index(&wire), (int)text.len, text.at);
}

START_TEST(wire_and_libmicrohttpd_see_the_same_good_requests)
{
    struct seen seen = {0};
    struct MHD_Daemon *daemon = start(&seen);
    for (size_t i = 0; i < COUNT(wire_good); i++) {
        for (size_t first = 0; first <= wire_good[i].len; first++) {
            struct seen result = read_by_library(daemon, &seen, wire_good[i], first);
            assert_both_see_the_same(wire_good[i], &result);
        }
    }
    MHD_stop_daemon(daemon);
}
END_TEST

START_TEST(wire_and_libmicrohttpd_see_the_same_requests_where_wire_finds_no_fault)
{
    char memory[TEXT_MAX];
    uint64_t state = 2, served = 0;
    struct seen seen = {0};
    struct MHD_Daemon *daemon = start(&seen);
    for (int run = 0; run < 10000; run++) {
        struct text text = wire_text_mutated(memory, &state);
        struct seen result = read_by_library(daemon, &seen, text, wire_text_pick(&state, text.len + 1));
        assert_both_see_the_same(text, &result);
        served += result.refused ? 0 : result.requests;
    }
    ck_assert_uint_gt(served, 5000);
    MHD_stop_daemon(daemon);
}
END_TEST

UNIT_MAIN("server/wire and libmicrohttpd", wire_and_libmicrohttpd_see_the_same_good_requests,
          wire_and_libmicrohttpd_see_the_same_requests_where_wire_finds_no_fault)
