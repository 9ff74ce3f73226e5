/* golden.safetensors: inputs of a model and the logits that whoever trained it got for them, beside its parameters. What a
 * backend computes is compared with them before anybody is answered. Stateless; any thread may call it. Allocates what it needs,
 * and frees it.
 *
 *     struct golden_report report;
 *     if (golden_compare(backend, &report, &err) != STATUS_OK) ...    // the model is not what it was, or is computed wrong
 *     if (report.rows > 0) ...                                        // there was a file, and it agrees
 *
 * The file holds two tensors: "inputs", float32 (or any other float), (N, in_features) or of more dimensions whose product that
 * is, or uint8, which are scaled as a request's bytes are; and "logits", (N, out_features), what the network's forward gave.
 * A logit agrees within GOLDEN_TOLERANCE x max(1, |logit|), which sums in another order keep, and other parameters do not.
 */
#ifndef MLPD_ENGINE_GOLDEN_H
#define MLPD_ENGINE_GOLDEN_H

#include <stddef.h>

#include "engine/backend.h"
#include "engine/status.h"

#define GOLDEN_TOLERANCE 1e-4
#define GOLDEN_FILE      "golden.safetensors"

struct golden_report {
    size_t rows;       /* that were compared; 0: there is no file */
    double difference; /* the largest, in units of max(1, |logit|) */
};

/* Compares with the file in the model's folder, if there is one. A mismatch is refused with the largest difference and where
 * it was. */
enum status golden_compare(const struct backend *backend, struct golden_report *ret, struct error *err);

/* Writes such a file at `path` with what the backend computes for rows that are always the same: of bytes if the model takes
 * pictures, else of numbers from -1 to 1. It is put there whole, or not at all. */
enum status golden_write(const struct backend *backend, const char *path, size_t *ret_rows, struct error *err);

#endif
