/* Where lines of a log go: a bounded ring in memory, and one thread that writes it to a file or a standard stream. Whoever
 * hands a line over never waits for the disk or for whoever reads the pipe: when the ring is full the line is dropped and
 * counted, and once the half of the ring is free again, a line says how many were dropped, in their place.
 *
 * A failure to write (ENOSPC, EPIPE, EIO) ends nothing: the thread tries again until it succeeds, from the byte where it
 * stopped, so that no line is cut. Any thread may hand over and count; one thread opens, reopens and closes.
 *
 *     const struct log_sink_options options = {.destination = "/var/log/mlpd.log", .describe_loss = describe};
 *     struct log_sink *sink;
 *     if (log_sink_open(&options, &sink, &err) != STATUS_OK) ...
 *     log_sink_write(sink, &line);
 *     log_sink_reopen(sink, &err);      // after logrotate has moved the file
 *     log_sink_close(sink, 2000);
 */
#ifndef MLPD_SERVER_LOG_SINK_H
#define MLPD_SERVER_LOG_SINK_H

#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/log_line.h"

enum { LOG_RING_BYTES = 1024 * 1024 };

struct log_sink_options {
    const char *destination; /* "stderr", "stdout", or the path of a file, which is created or appended to */
    size_t ring_bytes;       /* a power of two, at least 4 * LOG_LINE_MAX; 0: LOG_RING_BYTES */
    unsigned gather_ms;      /* lines are written together once the first has waited so long; 0: at once */

    /* Writes the line that tells of `lost` dropped lines, newline included. It may not log: the sink is locked. */
    void (*describe_loss)(const void *context, uint64_t lost, struct log_line *line);
    const void *context;
};

struct log_sink;

/* Opens the destination and starts the thread; closed with log_sink_close. The options need not outlive the call, the
 * context must outlive the sink. Failures name the file and the mend. */
enum status log_sink_open(const struct log_sink_options *options, struct log_sink **ret, struct error *err);

/* Hands over one line that log_line_end has ended. It is copied. */
void log_sink_write(struct log_sink *sink, const struct log_line *line);

/* The path is opened anew, and written to from then on; a line begun in the old file is written again in the new one. On
 * failure the old file stays in use. A standard stream stays as it is. */
enum status log_sink_reopen(struct log_sink *sink, struct error *err);

/* How many lines were dropped so far. */
uint64_t log_sink_lost(struct log_sink *sink);

/* Writes what was handed over, for at most timeout_ms, and frees it; what a stalled reader or a full disk has not taken by
 * then is dropped. Nobody may hand over any more. Takes NULL. */
void log_sink_close(struct log_sink *sink, unsigned timeout_ms);

#endif
