/* Threads that run long tasks, in the order in which they came, beside threads that must not be held up. Tasks are linked
 * through themselves, so handing one over cannot fail. Any thread may hand over.
 *
 *     struct side_thread *side;
 *     if (side_thread_start(2, &side, &err) != STATUS_OK) ...
 *     request->task = (struct side_task){.run = decode_slowly};
 *     side_thread_push(side, &request->task);
 *     side_thread_free(side);      // runs what was pushed, then ends
 */
#ifndef MLPD_SERVER_SIDE_THREAD_H
#define MLPD_SERVER_SIDE_THREAD_H

#include <stddef.h>

#include "engine/status.h"

struct side_task {
    void (*run)(struct side_task *task); /* the task may be freed, or pushed again, inside it */
    struct side_task *next;              /* the threads' own */
};

struct side_thread;

/* Starts `count` threads, at least 1; freed with side_thread_free. */
enum status side_thread_start(size_t count, struct side_thread **ret, struct error *err);

/* Hands the task over, which is the caller's memory and lives until it has run. Not after side_thread_free. */
void side_thread_push(struct side_thread *side, struct side_task *task);

/* Runs what was pushed, ends the threads, frees them. Takes NULL. */
void side_thread_free(struct side_thread *side);

#endif
