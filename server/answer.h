/* Answers of predictions: JSON, raw float32 and .npy. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_ANSWER_H
#define MLPD_SERVER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/buffer.h"
#include "server/input.h"
#include "server/served.h"

enum answer_format { ANSWER_JSON, ANSWER_FLOAT32, ANSWER_NPY };

/* The format that an Accept header prefers: application/json, application/octet-stream or application/x-npy. Whatever names
 * none of them gets JSON. */
enum answer_format answer_negotiate(const char *accept);

const char *answer_content_type(enum answer_format format);

struct answer {
    const float *logits, *probabilities; /* (rows, out_features) */
    const uint32_t *classes;             /* (rows) */
    float threshold;                     /* of a binary or multilabel model: what is more probable, is */
    size_t rows;
    bool batched;                     /* a list of predictions, even of one row */
    const struct picture_size *sizes; /* (rows) or NULL: adds "resized_from" where the size is not 0 */
    size_t top_k;                     /* 0: none */
    bool with_logits;
    const float *layers; /* (layer_count, TRACE_VALUES) or NULL: adds "layers" */
    uint32_t *order;     /* scratch of out_features, if top_k */
};

/* Appends the answer in that format: {"model","version", and a prediction's keys} for one row that is not batched, else
 * {"model","version","predictions":[...]}. out->failed if there was no memory. A prediction has, by the model's task,
 *
 *     classification   "class", "label", "probability", "probabilities"
 *     binary           "class" (0 or 1), "label", and "probability", that of class 1
 *     multilabel       "classes" and "labels" of what is more probable than the threshold, and "probabilities"
 *     regression       "values"
 *
 * The other formats hold the probabilities, or the values. */
void answer_write(const struct served *served, const struct answer *answer, enum answer_format format,
                  struct buffer *out);

#endif
