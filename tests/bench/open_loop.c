/* A client that offers requests at a fixed rate, whatever becomes of them, and measures each from the time at which it was
 * due, so that a server that stalls is charged for all that should have been sent meanwhile. With a rate of 0 the loop is
 * closed: each connection sends its next request when it has the answer to the last. One thread, one epoll, loopback.
 *
 *     open_loop PORT REQUESTS CONNECTIONS RATE SECONDS COUNT      prints one JSON object
 *
 * It ends after so many seconds or requests (COUNT 0: no such end), and waits a while for the answers. Goodput is the rate of
 * answers with 200 in the last nine tenths of SECONDS. An arrival that finds every connection busy is not sent, and counted.
 * REQUESTS is a file of records, sent in turn; each is a line
 *
 *     NAME BYTES CODE ANSWERS END
 *
 * and BYTES bytes: one request or several, of which ANSWERS answers are awaited, each with CODE. With ANSWERS 0 the client
 * leaves when it has sent the bytes. END says who closes the connection after the last answer: `keep`: nobody, `client`, or
 * `server`, for whose end it waits.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/clock.h"

#define SECOND INT64_C(1000000000) /* nanoseconds */

enum {
    HEAD_MAX = 2048, /* bytes of an answer's head */
    EVENTS = 256,
    CODES = 600,
    RECORDS_MAX = 65536,
    LINGER_S = 10, /* for the last answers */
    /* Latencies are counted in 32 steps for each power of two: a percentile is right to 3 %. */
    STEP_BITS = 5,
    STEPS = 1 << STEP_BITS,
    BUCKETS = 64 * STEPS,
};

enum end { END_KEEP, END_CLIENT, END_SERVER };

struct record {
    char name[32], end_name[8];
    size_t len;
    unsigned code, answers;
    enum end end;
    char *data;
};

struct connection {
    int fd;                      /* -1: not open */
    const struct record *record; /* under way; NULL: the connection is free */
    int64_t due_ns;
    size_t sent;      /* bytes of the record */
    unsigned answers; /* still to come */
    size_t head_len, body_left;
    char head[HEAD_MAX + 1];
};

struct histogram {
    uint64_t buckets[BUCKETS], count;
    int64_t max_ns;
};

static struct {
    uint16_t port;
    double rate;                         /* 0: a closed loop */
    int64_t began_ns, steady_ns, end_ns; /* goodput is measured between the last two */
    size_t count_max;                    /* records; SIZE_MAX: no such end */
} plan;

static struct record *records;
static size_t record_count;
static struct connection *connections;
static size_t connection_count;
static struct connection **spare; /* free ones: a ring, so that all have their turn */
static size_t spare_at, spare_count;
static int epoll;

static struct {
    uint64_t offered, sent, unsent, left, dropped, opened, wrong, in_time;
    uint64_t codes[CODES];
    struct histogram accepted, refused; /* answers of 200 and 503 */
    char first_wrong[128];
} tally;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "open_loop: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* ---- latencies ---- */

static size_t bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return ns;
    unsigned shift = 63U - STEP_BITS - (unsigned)__builtin_clzll(ns);
    return (shift << STEP_BITS) + (size_t)(ns >> shift);
}

/* The middle of the bucket. */
static double bucket_us(size_t bucket)
{
    if (bucket < 2 * STEPS)
        return (double)bucket / 1e3;
    unsigned shift = (unsigned)(bucket >> STEP_BITS) - 1;
    return ((double)(STEPS + (bucket & (STEPS - 1))) + 0.5) * (double)(UINT64_C(1) << shift) / 1e3;
}

static void observe(struct histogram *histogram, int64_t ns)
{
    histogram->buckets[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
    histogram->count++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

static double percentile_us(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;
    for (size_t i = 0; i < BUCKETS; i++)
        if ((seen += histogram->buckets[i]) > wanted)
            return bucket_us(i);
    return (double)histogram->max_ns / 1e3;
}

/* ---- the records ---- */

static bool read_record(FILE *file, struct record *record)
{
    static const char *const ends[] = {"keep", "client", "server"};
    if (fscanf(file, "%31s %zu %u %u %7s", record->name, &record->len, &record->code, &record->answers,
               record->end_name) != 5 ||
        getc(file) != '\n')
        return false;
    while (record->end <= END_SERVER && strcmp(record->end_name, ends[record->end]) != 0)
        record->end++;
    record->data = malloc(record->len);
    return record->end <= END_SERVER && record->data && fread(record->data, 1, record->len, file) == record->len;
}

static void read_records(const char *path)
{
    FILE *file = fopen(path, "rb");
    records = calloc(RECORDS_MAX, sizeof *records);
    if (!file || !records)
        fail(path);
    while (record_count < RECORDS_MAX && read_record(file, &records[record_count]))
        record_count++;
    if (!record_count || !feof(file)) {
        fprintf(stderr, "open_loop: %s: record %zu cannot be read\n", path, record_count + 1);
        exit(EXIT_FAILURE);
    }
    fclose(file);
}

/* ---- connections ---- */

static void set_free(struct connection *connection)
{
    connection->record = NULL;
    spare[(spare_at + spare_count++) % connection_count] = connection;
}

static void open_connection(struct connection *connection)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(plan.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        fail("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail("connect");
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        fail("epoll_ctl");
    connection->head_len = connection->body_left = 0;
    tally.opened++;
}

static void close_connection(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    if (connection->record)
        set_free(connection);
}

/* The server has ended it, or an error has. */
static void lose_connection(struct connection *connection)
{
    if (connection->record && (connection->answers || connection->record->end != END_SERVER))
        tally.dropped++;
    close_connection(connection);
}

/* ---- a request ---- */

static void go_on_sending(struct connection *connection)
{
    const struct record *record = connection->record;
    while (record && connection->sent < record->len) {
        ssize_t n = send(connection->fd, record->data + connection->sent, record->len - connection->sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EPIPE && errno != ECONNRESET)
            fail("send");
        if (n < 0)
            return; /* an answer may lie there nevertheless */
        connection->sent += (size_t)n;
    }
    if (record && !record->answers) {
        tally.left++;
        close_connection(connection);
    }
}

static void begin(struct connection *connection, int64_t due_ns)
{
    connection->record = &records[tally.sent++ % record_count];
    connection->due_ns = due_ns;
    connection->sent = 0;
    connection->answers = connection->record->answers;
    if (connection->fd < 0)
        open_connection(connection);
    go_on_sending(connection);
}

static void judge(const struct record *record, unsigned code, int64_t due_ns)
{
    int64_t now_ns = clock_now_ns(), latency_ns = now_ns - due_ns;
    tally.codes[code < CODES ? code : 0]++;
    if (code == 200) {
        observe(&tally.accepted, latency_ns);
        tally.in_time += now_ns >= plan.steady_ns && now_ns < plan.end_ns;
    } else if (code == 503)
        observe(&tally.refused, latency_ns);
    if (code == record->code)
        return;
    if (!tally.wrong++)
        snprintf(tally.first_wrong, sizeof tally.first_wrong, "%s: %u instead of %u", record->name, code,
                 record->code);
}

static void take_answer(struct connection *connection)
{
    const struct record *record = connection->record;
    judge(record, (unsigned)strtoul(connection->head + 9, NULL, 10), connection->due_ns);
    connection->head_len = 0;
    if (--connection->answers || record->end == END_SERVER)
        return;
    if (record->end == END_CLIENT)
        close_connection(connection);
    else
        set_free(connection);
}

/* False if this is no answer. */
static bool take_head(struct connection *connection)
{
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    if (!connection->record || !connection->answers || strncmp(connection->head, "HTTP/1.", 7) != 0)
        return false;
    connection->body_left = length ? strtoul(length + 17, NULL, 10) : 0;
    return true;
}

/* Takes what has come, up to the end of an answer; returns how much, 0 if it is no answer. */
static size_t take_bytes(struct connection *connection, const char *data, size_t len)
{
    size_t taken = 0;
    while (!connection->body_left && taken < len) {
        if (connection->head_len == HEAD_MAX)
            return 0;
        connection->head[connection->head_len++] = data[taken++];
        if (connection->head_len < 4 || memcmp(connection->head + connection->head_len - 4, "\r\n\r\n", 4) != 0)
            continue;
        connection->head[connection->head_len] = '\0';
        if (!take_head(connection))
            return 0;
        if (connection->body_left)
            break;
        take_answer(connection);
        return taken;
    }
    size_t body = len - taken < connection->body_left ? len - taken : connection->body_left;
    connection->body_left -= body;
    if (body && !connection->body_left)
        take_answer(connection);
    return taken + body;
}

static void go_on_reading(struct connection *connection)
{
    static char data[1 << 16];
    while (connection->fd >= 0) {
        ssize_t n = recv(connection->fd, data, sizeof data, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            lose_connection(connection);
            return;
        }
        for (size_t at = 0, taken; at < (size_t)n && connection->fd >= 0; at += taken)
            if (!(taken = take_bytes(connection, data + at, (size_t)n - at))) {
                lose_connection(connection);
                break;
            }
    }
}

/* ---- the run ---- */

static bool is_over(int64_t now_ns)
{
    return now_ns >= plan.end_ns || tally.offered >= plan.count_max;
}

/* Sends what is due by now. Returns when the next is, or 0 where that is not known. */
static int64_t send_due(int64_t now_ns)
{
    while (!is_over(now_ns)) {
        int64_t due_ns = plan.began_ns + (int64_t)((double)tally.offered / plan.rate * 1e9);
        if (plan.rate > 0 && due_ns > now_ns)
            return due_ns;
        if (plan.rate <= 0 && !spare_count)
            return 0;
        tally.offered++;
        if (!spare_count) {
            tally.unsent++;
            continue;
        }
        struct connection *connection = spare[spare_at];
        spare_at = (spare_at + 1) % connection_count;
        spare_count--;
        begin(connection, plan.rate > 0 ? due_ns : clock_now_ns());
    }
    return 0;
}

static void wait_until(int64_t next_ns)
{
    struct epoll_event events[EVENTS];
    int64_t left_ns = next_ns ? next_ns - clock_now_ns() : SECOND / 10;
    if (left_ns < 0)
        left_ns = 0;
    struct timespec timeout = {.tv_sec = left_ns / SECOND, .tv_nsec = left_ns % SECOND};
    int count = epoll_pwait2(epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (connection->fd < 0)
            continue;
        if (events[i].events & EPOLLOUT)
            go_on_sending(connection);
        if (connection->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            go_on_reading(connection);
    }
}

/* Returns the seconds in which requests were sent. */
static double run(void)
{
    plan.began_ns = clock_now_ns();
    plan.steady_ns = plan.began_ns + plan.end_ns / 10; /* connections are open, and queues have filled */
    plan.end_ns += plan.began_ns;
    while (!is_over(clock_now_ns()))
        wait_until(send_due(clock_now_ns()));
    int64_t sent_ns = clock_now_ns(), linger_ns = sent_ns + LINGER_S * SECOND;
    while (spare_count < connection_count && clock_now_ns() < linger_ns)
        wait_until(0);
    return (double)(sent_ns - plan.began_ns) / 1e9;
}

static void print_latencies(const char *name, const struct histogram *histogram)
{
    printf("\"%s\":{\"count\":%" PRIu64, name, histogram->count);
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        printf(",\"%s_us\":%.1f", shares[i].name, percentile_us(histogram, shares[i].share));
    printf(",\"max_us\":%.1f},", (double)histogram->max_ns / 1e3);
}

static void print_codes(void)
{
    const char *comma = "";
    printf("\"answered\":{");
    for (size_t code = 0; code < CODES; code++) {
        if (!tally.codes[code])
            continue;
        printf("%s\"%zu\":%" PRIu64, comma, code, tally.codes[code]);
        comma = ",";
    }
    printf("},");
}

static void print_all(double seconds)
{
    printf("{\"seconds\":%.3f,\"offered\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"unsent\":%" PRIu64 ",", seconds,
           tally.offered, tally.sent, tally.unsent);
    print_codes();
    print_latencies("accepted", &tally.accepted);
    print_latencies("refused", &tally.refused);
    printf("\"goodput\":%.1f,\"left\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"unanswered\":%zu,\"opened\":%" PRIu64
           ",\"wrong\":%" PRIu64 ",\"first_wrong\":\"%s\"}\n",
           (double)tally.in_time * 1e9 / (double)(plan.end_ns - plan.steady_ns), tally.left, tally.dropped,
           connection_count - spare_count, tally.opened, tally.wrong, tally.first_wrong);
}

static void make_connections(size_t count)
{
    connection_count = count;
    connections = calloc(count, sizeof *connections);
    spare = calloc(count, sizeof(struct connection *));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!count || !connections || !spare || epoll < 0)
        fail("connections");
    for (size_t i = 0; i < count; i++) {
        connections[i].fd = -1;
        set_free(&connections[i]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: %s PORT REQUESTS CONNECTIONS RATE SECONDS COUNT\n", argv[0]);
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    plan.port = (uint16_t)strtoul(argv[1], NULL, 10);
    read_records(argv[2]);
    make_connections(strtoul(argv[3], NULL, 10));
    plan.rate = strtod(argv[4], NULL);
    plan.end_ns = (int64_t)(strtod(argv[5], NULL) * 1e9);
    plan.count_max = strtoul(argv[6], NULL, 10) ? strtoul(argv[6], NULL, 10) : SIZE_MAX;
    print_all(run());
    return EXIT_SUCCESS;
}
