/* The one clock that durations and deadlines are told by. Any thread may call it. */
#ifndef MLPD_ENGINE_CLOCK_H
#define MLPD_ENGINE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Nanoseconds of CLOCK_MONOTONIC: it does not jump when somebody sets the time. */
static inline int64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
