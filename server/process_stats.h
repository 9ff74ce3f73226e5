/* What the kernel says of this process: the numbers behind Prometheus's process_*. Stateless; any thread may call it.
 *
 *     struct process_stats stats;
 *     process_stats_read(PROCESS_SELF, &stats);
 *     if (stats.open_fds != PROCESS_UNKNOWN) ...
 */
#ifndef MLPD_SERVER_PROCESS_STATS_H
#define MLPD_SERVER_PROCESS_STATS_H

#include <stdint.h>

#define PROCESS_SELF    "/proc/self"
#define PROCESS_UNKNOWN UINT64_MAX

/* PROCESS_UNKNOWN: there is no such thing here, or no /proc. */
struct process_stats {
    uint64_t cpu_ns; /* user and system, of all threads */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t threads;
    uint64_t open_fds, max_fds;
};

/* `folder` is PROCESS_SELF, or one that looks like it. */
void process_stats_read(const char *folder, struct process_stats *ret);

/* When the process began, in milliseconds since 1970 by the clock as it is set now: to be asked once, so that a clock
 * that is set later does not look like a restart. PROCESS_UNKNOWN without /proc. */
uint64_t process_start_ms(const char *folder);

#endif
