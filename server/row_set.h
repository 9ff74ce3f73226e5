/* The rows of one request as they are collected: borrowed where they lie if they come in one piece, copied one behind the
 * other if they come in several, float32 as soon as one of them is. One thread at a time; its memory serves request after
 * request.
 *
 *     struct row_set set = {.model = model, .rows_max = 4096};
 *     row_set_append(&set, pixels, ROW_UINT8, 1, &err);       copies
 *     row_set_take(&set, body, ROW_FLOAT32, 16, &err);        borrows, or copies behind what is there
 *     use(set.rows, set.dtype, set.count);
 *     row_set_reset(&set, 65536);
 *     row_set_free(&set);
 */
#ifndef MLPD_SERVER_ROW_SET_H
#define MLPD_SERVER_ROW_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/backend.h"
#include "engine/model.h"
#include "engine/status.h"
#include "server/budget.h"

struct row_set {
    const struct model *model;
    size_t rows_max;         /* more are STATUS_TOO_LARGE */
    bool copies;             /* more rows may come: row_set_take copies */
    struct account *account; /* pays for the storage; NULL: nobody does */

    const void *rows; /* (count, in_features) of dtype; NULL while empty */
    enum row_dtype dtype;
    size_t count;

    void *storage; /* the module's own: rows that were copied */
    size_t storage_bytes;
};

/* STATUS_TOO_LARGE, with both numbers, if `more` rows would be too many. */
enum status row_set_check_room(const struct row_set *set, size_t more, struct error *err);

/* Copies `count` rows behind those that are there. */
enum status row_set_append(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count,
                           struct error *err);

/* Borrows the rows until row_set_reset if it is empty, does not copy, and they are aligned; else appends them. */
enum status row_set_take(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count,
                         struct error *err);

/* Forgets the rows and keeps at most keep_bytes of memory. */
void row_set_reset(struct row_set *set, size_t keep_bytes);

/* Frees the memory; the set itself is the caller's. */
void row_set_free(struct row_set *set);

#endif
