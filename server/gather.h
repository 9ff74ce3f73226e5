/* The short way for predictions: a loop gathers what it has read in one round, runs each model's rows as one batch on an
 * executor of its own, and answers. No queue, no thread switch and no suspended connection lies between; whatever has come meanwhile
 * makes the next batch. The way changes no bit of an answer.
 *
 * What would hold the loop up is not gathered: it takes the queue, where workers share it.
 *
 * One thread at a time.
 *
 *     struct gather *gather;
 *     if (gather_create(256, &gather, &err) != STATUS_OK) ...
 *     if (!gather_takes(gather, prediction)) queue it;
 *     if (!gather_add(gather, prediction)) run what is there, and add it then;
 *     while (gather_run(gather, &report)) count(&report);      // each prediction's outcome is prediction_check's
 *     gather_free(gather);
 */
#ifndef MLPD_SERVER_GATHER_H
#define MLPD_SERVER_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/status.h"
#include "server/prediction.h"

struct gather;

/* batch_max: rows of a round, the most that any model's backend takes. The executor is made for the first model that comes,
 * and then serves all. */
enum status gather_create(size_t batch_max, struct gather **ret, struct error *err);

/* Whether the prediction is short enough to be gathered at all. */
bool gather_takes(const struct gather *gather, const struct prediction *prediction);

/* False, and nothing done, if the prediction is not, or is too much together with what is gathered already: then that is to be
 * run first. The prediction is the gather's until gather_run has run it. */
bool gather_add(struct gather *gather, struct prediction *prediction);

struct gather_report {
    const struct served *served; /* whose rows they were; held by their predictions */
    size_t rows;
    int64_t started_ns, finished_ns;
};

/* Runs what was added for one model, and forgets it. False: there is nothing left. */
bool gather_run(struct gather *gather, struct gather_report *ret);

/* Takes NULL. */
void gather_free(struct gather *gather);

#endif
