/* The access log: one line for each request that was answered, in the form that web servers' logs have or in JSON. The
 * line is formatted by the thread that answered and handed over without waiting (see log_sink.h). Any thread may log; one
 * thread opens, reopens and closes.
 *
 *     struct access_log *log;
 *     if (access_log_open(&options, &log, &err) != STATUS_OK) ...
 *     access_log_write(log, &(struct access_record){.request_id = id, .method = "POST", .path = "/predict", ...});
 *     access_log_close(log);
 *
 * In text a line is Apache's and nginx's "combined" line, whose readers skip what they do not know behind it:
 *     127.0.0.1 - - [24/Nov/2025:13:38:02 +0000] "POST /predict HTTP/1.1" 200 181 "-" "curl/8.5.0" id="9f0c..." in=784
 *     rows=1 model="fashion_mnist/1" decode_us=12 queue_us=40 compute_us=210 encode_us=6 total_us=301
 * In JSON it is one object with the members time, id, peer, method, path, protocol, code, request_bytes, response_bytes,
 * user_agent, rows, model, decode_us, queue_us, compute_us, encode_us, total_us.
 */
#ifndef MLPD_SERVER_ACCESS_LOG_H
#define MLPD_SERVER_ACCESS_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/log_line.h"

enum { ACCESS_LOG_CLOSE_TIMEOUT_MS = 2000 };

struct sockaddr;

struct access_log_options {
    const char *destination; /* as in log_sink_options */
    enum log_format format;
    unsigned every; /* every so manieth request is logged, and each that is answered with 500 or above; 0 is 1 */
};

/* Texts are foreign: they are escaped, and cut where they are long. A NULL or an empty text is written as "-". */
struct access_record {
    const char *request_id;
    const struct sockaddr *peer; /* NULL: unknown */
    const char *method;
    const char *path;       /* without the query, whose values are the client's own matter */
    const char *protocol;   /* "HTTP/1.1" */
    const char *user_agent; /* the header's value */
    const char *model;      /* NULL where none was asked */
    unsigned code;
    uint64_t request_bytes, response_bytes; /* of the bodies */
    uint64_t rows;
    uint64_t decode_us, queue_us, compute_us, encode_us; /* 0 where the request had no such stage */
    uint64_t total_us;                                   /* from its first byte to the last of its answer */
    int64_t time_ms;                                     /* since 1970, when its first byte came; 0: total_us ago */
};

struct access_log;

/* Opens the destination and starts the thread that writes; closed with access_log_close. */
enum status access_log_open(const struct access_log_options *options, struct access_log **ret, struct error *err);

/* Logs the request, if its turn has come. Nothing of the record is kept. Takes a NULL log, which logs nothing. */
void access_log_write(struct access_log *log, const struct access_record *record);

/* For SIGHUP: opens the file anew. On failure the old file stays in use. Takes NULL. */
enum status access_log_reopen(struct access_log *log, struct error *err);

/* How many lines were dropped because the destination did not take them in time. 0 for NULL. */
uint64_t access_log_lost(struct access_log *log);

/* Writes what was logged, for at most ACCESS_LOG_CLOSE_TIMEOUT_MS, and frees it. Nobody may log any more. Takes NULL. */
void access_log_close(struct access_log *log);

/* The record's line, newline included, as access_log_write hands it over. */
void access_log_format(const struct access_record *record, enum log_format format, struct log_line *ret);

#endif
