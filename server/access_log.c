#include "server/access_log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "server/log_sink.h"

/* Lines wait so long to be written together: each write costs more than a hundred lines do. */
enum { GATHER_MS = 50 };

/* Of a line, so that all that is foreign fits into it together, and something is left for the rest. */
enum {
    PATH_BYTES_MAX = 1024,
    AGENT_BYTES_MAX = 512,
    ID_BYTES_MAX = 256,
    MODEL_BYTES_MAX = 256,
    WORD_BYTES_MAX = 32
};

struct access_log {
    struct log_sink *sink;
    enum log_format format;
    unsigned every;
    atomic_ulong requests; /* counted only where not every one is logged */
};

static const char *or_dash(const char *text)
{
    return text && *text ? text : "-";
}

/* ---- the peer ---- */

static void add_ipv4(struct log_line *line, const void *address)
{
    const unsigned char *bytes = address;
    for (size_t i = 0; i < 4; i++) {
        if (i)
            log_line_add(line, ".", 1);
        log_line_add_uint(line, bytes[i]);
    }
}

/* An IPv4 client of a socket that takes both kinds shows as ::ffff:1.2.3.4, and is written as everywhere else. */
static void add_ipv6(struct log_line *line, const struct in6_addr *address)
{
    char text[INET6_ADDRSTRLEN];
    if (IN6_IS_ADDR_V4MAPPED(address))
        add_ipv4(line, &address->s6_addr[12]);
    else
        log_line_add_str(line, or_dash(inet_ntop(AF_INET6, address, text, sizeof text)));
}

static void add_peer(struct log_line *line, const struct sockaddr *peer)
{
    struct sockaddr_in ipv4; /* copies: the caller's address is aligned for a sockaddr only */
    struct sockaddr_in6 ipv6;
    switch (peer ? peer->sa_family : AF_UNSPEC) {
    case AF_INET:
        memcpy(&ipv4, peer, sizeof ipv4);
        add_ipv4(line, &ipv4.sin_addr);
        break;
    case AF_INET6:
        memcpy(&ipv6, peer, sizeof ipv6);
        add_ipv6(line, &ipv6.sin6_addr);
        break;
    case AF_UNIX: log_line_add_str(line, "unix"); break;
    default: log_line_add_str(line, "-");
    }
}

/* ---- lines ---- */

static inline void add_number(struct log_line *line, const char *before, uint64_t value)
{
    log_line_add_str(line, before);
    log_line_add_uint(line, value);
}

static int64_t time_of(const struct access_record *record)
{
    return record->time_ms ? record->time_ms : log_line_now_ms() - (int64_t)(record->total_us / 1000);
}

static inline void add_quoted(struct log_line *line, const char *before, const char *text, size_t max)
{
    log_line_add_str(line, before);
    log_line_add_str(line, "\"");
    log_line_add_quoted(line, or_dash(text), max);
    log_line_add_str(line, "\"");
}

/* The request line is three words between two quotes. */
static void add_request_line(struct log_line *line, const struct access_record *record)
{
    log_line_add_str(line, "\"");
    log_line_add_word(line, or_dash(record->method), WORD_BYTES_MAX);
    log_line_add_str(line, " ");
    log_line_add_word(line, or_dash(record->path), PATH_BYTES_MAX);
    log_line_add_str(line, " ");
    log_line_add_word(line, or_dash(record->protocol), WORD_BYTES_MAX);
    log_line_add_str(line, "\"");
}

static void format_text(struct log_line *line, const struct access_record *record)
{
    add_peer(line, record->peer);
    log_line_add_str(line, " - - [");
    log_line_add_time_common(line, time_of(record));
    log_line_add_str(line, "] ");
    add_request_line(line, record);
    add_number(line, " ", record->code);
    add_number(line, " ", record->response_bytes);
    add_quoted(line, " \"-\" ", record->user_agent, AGENT_BYTES_MAX);
    add_quoted(line, " id=", record->request_id, ID_BYTES_MAX);
    add_number(line, " in=", record->request_bytes);
    add_number(line, " rows=", record->rows);
    add_quoted(line, " model=", record->model, MODEL_BYTES_MAX);
    add_number(line, " decode_us=", record->decode_us);
    add_number(line, " queue_us=", record->queue_us);
    add_number(line, " compute_us=", record->compute_us);
    add_number(line, " encode_us=", record->encode_us);
    add_number(line, " total_us=", record->total_us);
}

static inline void add_member(struct log_line *line, const char *before, const char *text, size_t max)
{
    log_line_add_str(line, before);
    log_line_add_json(line, or_dash(text), max);
}

static void format_json(struct log_line *line, const struct access_record *record)
{
    log_line_add_str(line, "{\"time\":\"");
    log_line_add_time(line, time_of(record));
    add_member(line, "\",\"id\":", record->request_id, ID_BYTES_MAX);
    log_line_add_str(line, ",\"peer\":\"");
    add_peer(line, record->peer);
    add_member(line, "\",\"method\":", record->method, WORD_BYTES_MAX);
    add_member(line, ",\"path\":", record->path, PATH_BYTES_MAX);
    add_member(line, ",\"protocol\":", record->protocol, WORD_BYTES_MAX);
    add_number(line, ",\"code\":", record->code);
    add_number(line, ",\"request_bytes\":", record->request_bytes);
    add_number(line, ",\"response_bytes\":", record->response_bytes);
    add_member(line, ",\"user_agent\":", record->user_agent, AGENT_BYTES_MAX);
    add_number(line, ",\"rows\":", record->rows);
    add_member(line, ",\"model\":", record->model, MODEL_BYTES_MAX);
    add_number(line, ",\"decode_us\":", record->decode_us);
    add_number(line, ",\"queue_us\":", record->queue_us);
    add_number(line, ",\"compute_us\":", record->compute_us);
    add_number(line, ",\"encode_us\":", record->encode_us);
    add_number(line, ",\"total_us\":", record->total_us);
    log_line_add_str(line, "}");
}

void access_log_format(const struct access_record *record, enum log_format format, struct log_line *ret)
{
    log_line_begin(ret);
    if (format == LOG_JSON)
        format_json(ret, record);
    else
        format_text(ret, record);
    log_line_end(ret);
}

/* In text a comment: what reads such logs skips lines that begin so. */
static void describe_loss(const void *context, uint64_t lost, struct log_line *line)
{
    const struct access_log *log = context;
    log_line_begin(line);
    if (log->format == LOG_JSON) {
        log_line_add_str(line, "{\"time\":\"");
        log_line_add_time(line, log_line_now_ms());
        add_number(line, "\",\"lost\":", lost);
        log_line_add_str(line, "}");
    } else {
        add_number(line, "# ", lost);
        log_line_add_str(line, " lines were lost here: the log could not be written in time");
    }
    log_line_end(line);
}

/* ---- the log ---- */

enum status access_log_open(const struct access_log_options *options, struct access_log **ret, struct error *err)
{
    struct access_log *log = calloc(1, sizeof *log);
    if (!log)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the access log");
    log->format = options->format;
    log->every = options->every ? options->every : 1;
    const struct log_sink_options sink_options = {.destination = options->destination,
                                                  .gather_ms = GATHER_MS,
                                                  .describe_loss = describe_loss,
                                                  .context = log};
    enum status status = log_sink_open(&sink_options, &log->sink, err);
    if (status == STATUS_OK)
        *ret = log;
    else
        free(log);
    return status;
}

/* Every one is counted, so that those of 500 and above shift nobody's turn. */
static bool is_its_turn(struct access_log *log, unsigned code)
{
    return log->every == 1 ||
           atomic_fetch_add_explicit(&log->requests, 1, memory_order_relaxed) % log->every == 0 || code >= 500;
}

void access_log_write(struct access_log *log, const struct access_record *record)
{
    struct log_line line;
    if (!log || !is_its_turn(log, record->code))
        return;
    access_log_format(record, log->format, &line);
    log_sink_write(log->sink, &line);
}

enum status access_log_reopen(struct access_log *log, struct error *err)
{
    return log ? log_sink_reopen(log->sink, err) : STATUS_OK;
}

uint64_t access_log_lost(struct access_log *log)
{
    return log ? log_sink_lost(log->sink) : 0;
}

void access_log_close(struct access_log *log)
{
    if (!log)
        return;
    log_sink_close(log->sink, ACCESS_LOG_CLOSE_TIMEOUT_MS);
    free(log);
}
