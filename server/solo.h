/* The short way for a request that comes alone: its rows are computed by the thread that read them, without the queue, two
 * thread switches and a suspended connection. Whoever comes in company takes the queue, where a batch forms. The way
 * changes no bit of an answer.
 *
 * Alone means: nothing waits or runs in the batcher, nobody else is on the short way, and some microseconds have passed since
 * the last request was answered (I/O threads that work through what has piled up leave no such gap), and that this has
 * been so for some milliseconds. A request that would
 * hold up its I/O thread for longer than about a tenth of a millisecond is never taken.
 *
 * Any thread may call solo_run and solo_note_answer.
 */
#ifndef MLPD_SERVER_SOLO_H
#define MLPD_SERVER_SOLO_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/batcher.h"
#include "engine/status.h"
#include "server/prediction.h"

struct solo;

/* The backend and the batcher outlive it. */
enum status solo_create(const struct backend *backend, struct batcher *batcher, struct solo **ret,
                        struct error *err);

/* The time that the two below go by: nanoseconds of CLOCK_MONOTONIC. */
int64_t solo_now_ns(void);

/* Runs the prediction's job if it is alone; false, and nothing done, if it is not. The outcome is prediction_check's. */
bool solo_run(struct solo *solo, struct prediction *prediction, int64_t now_ns);

/* An answer has been written, on whichever way. */
void solo_note_answer(struct solo *solo, int64_t now_ns);

/* Takes NULL. */
void solo_free(struct solo *solo);

#endif
