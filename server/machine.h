/* What the machine grants this process: the processors that it may run on and what the cgroup's quota leaves of them, and
 * the memory that its cgroups allow; cgroup v1, v2 and both beside each other, with or without a cgroup namespace. The
 * limits of every group from the process's own to the root that it can see count, and the smallest wins. Any thread may call
 * it.
 *
 *     struct machine machine;
 *     machine_read("", &machine);
 *     workers = machine.processors;
 */
#ifndef MLPD_SERVER_MACHINE_H
#define MLPD_SERVER_MACHINE_H

#include <stddef.h>
#include <stdint.h>

struct machine {
    size_t processors;          /* that can be kept busy: the two below, the quota rounded up; at least 1 */
    size_t affinity_processors; /* that threads may run on (sched_getaffinity, and so cpusets) */
    uint64_t quota_millis;      /* thousandths of a processor that the cgroup's quota grants; 0: no quota */
    uint64_t memory_bytes;      /* that the cgroups allow (v2: memory.max and memory.high); 0: no limit */
};

/* Reads /proc/self and what it names, below the folder `root`: "", or a tree that a test has made. What is missing or cannot be
 * understood limits nothing. */
void machine_read(const char *root, struct machine *ret);

#endif
