/* What the native dialect's handlers keep: for each request, in request->state, and for each I/O loop, in request->loop_state.
 * Private to server/api_*.c. */
#ifndef MLPD_SERVER_API_STATE_H
#define MLPD_SERVER_API_STATE_H

#include "server/app.h"
#include "server/gather.h"
#include "server/http.h"
#include "server/keeper.h"
#include "server/prediction.h"

struct api_loop {
    struct app *app;
    struct catalog_reader *reader;
    struct gather *gather;
    struct metrics_shard *shard;
};

struct api_state {
    struct prediction *prediction;
    struct served *served;         /* that the request is for, held until the state is reset; NULL: none yet */
    struct catalog_reader *reader; /* of whom it is held */
    struct keeper_task task;
    struct http_request *request; /* for whoever ends the task */
};

/* The model that the path names, or the default one, which the request then holds. */
enum status api_find_model(struct http_request *request, const struct served **ret, struct error *err);

#endif
