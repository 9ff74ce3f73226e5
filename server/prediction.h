/* One prediction's way through the daemon, whatever the dialect that it came in: options, rows, job, answer. Its memory
 * serves request after request, whichever model each is for. One thread at a time; between prediction_submit and `done` it is
 * the batcher's.
 *
 *     prediction_use(p, served, &err)                          for this model
 *     prediction_read(p, &input_options, body, len, &err)      rows
 *     prediction_submit(p, done, &err)                         queued; done(job) is called once the outputs are written
 *     prediction_check(p, &err)                                did it work, and are the logits numbers
 *     prediction_write(p, out)                                 the answer, in p->format
 */
#ifndef MLPD_SERVER_PREDICTION_H
#define MLPD_SERVER_PREDICTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/backend.h"
#include "engine/batcher.h"
#include "engine/status.h"
#include "server/answer.h"
#include "server/buffer.h"
#include "server/input.h"
#include "server/served.h"

struct prediction {
    struct job job; /* first: `done` finds the prediction through it */
    void *owner;    /* for whoever set `done` */

    /* Set before reading, by the dialect. */
    struct account *account; /* pays for what the request's rows and answers take, or NULL */

    /* Set between reading and writing, by the dialect. */
    enum answer_format format;
    size_t top_k;
    float threshold; /* of a binary or multilabel model: see struct answer */
    bool with_logits, with_layers;

    /* The module's own. */
    const struct served *served; /* NULL between two requests */
    struct input *input;
    int64_t ready_ns;   /* when the rows had been read, by CLOCK_MONOTONIC */
    struct error error; /* of the job */
    float *outputs;     /* logits, then probabilities: (rows, out_features) each */
    uint32_t *classes;
    size_t outputs_capacity, classes_capacity; /* elements; and so below */
    float *layers;                             /* (layer_count, TRACE_VALUES) */
    uint32_t *order;                           /* (out_features): scratch for top_k */
    size_t layers_capacity, order_capacity;
};

/* NULL if out of memory. */
struct prediction *prediction_create(void);

/* The request at hand is for this model, which outlives it. Before prediction_read. */
enum status prediction_use(struct prediction *prediction, const struct served *served, struct error *err);

void prediction_reset(struct prediction *prediction);
void prediction_free(struct prediction *prediction); /* takes NULL */

/* Reads the rows, makes room for the outputs, and walks the layers if with_layers is set. */
enum status prediction_read(struct prediction *prediction, const struct input_options *options, const char *body,
                            size_t len, struct error *err);

/* The job was run outside the batcher, between the two times; `err` is NULL if status is STATUS_OK. */
void prediction_set_outcome(struct prediction *prediction, enum status status, const struct error *err,
                            int64_t started_ns, int64_t finished_ns);

/* Takes the job back from the queue, as batcher_withdraw. */
bool prediction_withdraw(struct prediction *prediction);

/* Queues the job; if it is refused, `done` is not called. */
enum status prediction_submit(struct prediction *prediction, void (*done)(struct job *job), struct error *err);

/* Runs it at once on an executor, without a queue, in batches that fit. */
enum status prediction_run(struct prediction *prediction, struct executor *executor, struct error *err);

/* The outcome of the job; a logit that is NaN or infinite is STATUS_INTERNAL. */
enum status prediction_check(const struct prediction *prediction, struct error *err);

void prediction_write(const struct prediction *prediction, struct buffer *out);

#endif
