/* The daemon's log: one line for each thing that an operator should know, on standard error or in a file. Any thread may
 * log, and none waits for it (see log_sink.h); one thread starts, reopens and stops it. Before log_start and after
 * log_stop, lines go to standard error directly.
 *
 *     const struct log_options options = {.level = LOG_INFO, .format = LOG_TEXT, .destination = "stderr"};
 *     if (log_start(&options, &err) != STATUS_OK) ...
 *     log_write(LOG_INFO, "serving at %s", url);
 *     log_error(LOG_WARNING, &err);
 *     log_stop();
 *
 * A line's forms:
 *     mlpd: 2025-11-24T13:38:02.123Z info: serving at http://127.0.0.1:8080
 *     mlpd: serving at http://127.0.0.1:8080         text on a terminal or in the journal, which has clocks of its own
 *     {"time":"2025-11-24T13:38:02.123Z","level":"info","message":"serving at http://127.0.0.1:8080"}
 */
#ifndef MLPD_SERVER_LOG_H
#define MLPD_SERVER_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/log_line.h"

enum { LOG_MESSAGE_MAX = 1024, LOG_STOP_TIMEOUT_MS = 2000 };

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log_options {
    enum log_level level; /* lines of this level and those before it are written */
    enum log_format format;
    const char *destination; /* as in log_sink_options */
};

/* Starts the thread that writes. Not while it is started. */
enum status log_start(const struct log_options *options, struct error *err);

/* Writes what was logged, for at most LOG_STOP_TIMEOUT_MS. Other threads may still log. Does nothing if not started. */
void log_stop(void);

/* For SIGHUP: opens the file anew, so that logrotate can move it. A failure is logged, in the old file. */
void log_reopen(void);

/* Logs one message, cut to LOG_MESSAGE_MAX bytes. Foreign bytes in it can neither end the line nor steer a terminal. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Logs "message; hint". */
void log_error(enum log_level level, const struct error *err);

/* A place that may have the same to say a thousand times a second: at most one line a second is logged, and tells how many
 * were left out since the one before it. Zero it, or make it static. */
struct log_limiter {
    _Atomic int64_t next_ms; /* of CLOCK_MONOTONIC: when the next line may be logged */
    atomic_ulong left_out;
};

void log_limited(struct log_limiter *limiter, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether a line of this level would be written: for whoever has to work for its text. */
bool log_takes(enum log_level level);

/* How many lines were dropped since the process began, because the destination did not take them in time. */
uint64_t log_lost(void);

/* "warning", "json", ...: the names as options have them. The readers return false, and leave *ret as it is, for a name
 * that is none. */
const char *log_level_name(enum log_level level);
bool log_level_read(const char *name, enum log_level *ret);
bool log_format_read(const char *name, enum log_format *ret);

#endif
