/* Whether a backend computes at all, before anybody depends on it: rows that are always the same go through it, alone and
 * together. Their logits must be finite, and a row's must be the same, to the bit, in every company and in both forms that
 * a row can come in. Stateless; any thread may call it. Allocates what it needs, and frees it.
 *
 *     size_t rows;
 *     if (golden_check(backend, &rows, &err) != STATUS_OK) ...    // the device, the kernels or the parameters are bad
 */
#ifndef MLPD_SERVER_GOLDEN_CHECK_H
#define MLPD_SERVER_GOLDEN_CHECK_H

#include <stddef.h>

#include "engine/backend.h"
#include "engine/status.h"

enum { GOLDEN_ROWS = 7 }; /* no multiple of any kernel's tile, so that whole tiles and what is left over both run */

/* *ret_rows: how many rows ran, GOLDEN_ROWS or backend->batch_max if that is less. */
enum status golden_check(const struct backend *backend, size_t *ret_rows, struct error *err);

#endif
