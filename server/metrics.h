/* What the daemon counts of itself, and the text in which Prometheus reads it.
 *
 * Each thread that counts owns a shard: it alone writes there, with plain loads and stores of its own cache lines, and
 * no lock. Whoever scrapes adds up all shards, at any time and on any thread. Endpoints and models are registered by
 * name, under a lock, and from then on are a number.
 *
 *     struct metrics *metrics;
 *     if (metrics_create(&metrics, &err) != STATUS_OK) ...
 *     size_t predict = metrics_add_endpoint(metrics, "/predict", true);
 *     size_t model = metrics_add_model(metrics, &(struct metrics_model){"fashion-mnist", "1", "cpu", "avx2"});
 *
 *     struct metrics_shard *shard = metrics_shard_create(metrics);      // each thread, as it starts
 *     metrics_count_event(shard, METRICS_RECEIVED);
 *     metrics_count_answer(shard, predict, 200, now_ns - received_ns);
 *
 *     metrics_write(metrics, &(struct metrics_state){.version = "1.2.3", .ready = true}, &reply->body);
 *     metrics_free(metrics);                                            // when no thread counts any more
 *
 * Every nanosecond count is a difference of two readings of one monotonic clock; a negative one counts as 0.
 */
#ifndef MLPD_SERVER_METRICS_H
#define MLPD_SERVER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/buffer.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What can be counted without more to say: constant, name, text for who reads it. */
#define METRICS_EVENT_MAP(X)                                                                                     \
    X(METRICS_RECEIVED, "mlpd_received_total", "Requests whose first byte was read: answered, lost, in flight.") \
    X(METRICS_LOST, "mlpd_lost_total", "Requests whose first byte was read and which got no whole answer.")      \
    X(METRICS_EXPIRED, "mlpd_expired_total", "Requests answered with 504 because their deadline had passed.")    \
    X(METRICS_CANCELLED, "mlpd_cancelled_total", "Requests dropped uncomputed because their client had gone.")   \
    X(METRICS_LOAD_FAILED, "mlpd_model_load_failures_total", "Models, or versions, that could not be loaded.")

/* Why a request or a connection was turned away: constant, and the label's value. */
#define METRICS_REJECTION_MAP(X)                                                           \
    X(METRICS_QUEUE_FULL, "queue_full")   /* more rows than --queue-max would wait */      \
    X(METRICS_MEMORY, "memory")           /* more bytes than --memory-max would be held */ \
    X(METRICS_DRAINING, "draining")       /* the daemon is about to end */                 \
    X(METRICS_CONNECTIONS, "connections") /* a connection, beyond --connections-max or --connections-per-ip */

/* How one request to a model ended: constant, and Triton's reason for a failure (none for the first). */
#define METRICS_OUTCOME_MAP(X)                                                               \
    X(METRICS_SUCCESS, "")                                                                   \
    X(METRICS_FAILED_REJECTED, "REJECTED") /* the queue or the memory was full */            \
    X(METRICS_FAILED_CANCELED, "CANCELED") /* the client had gone, or the deadline passed */ \
    X(METRICS_FAILED_BACKEND, "BACKEND")   /* the device, or the model's numbers */          \
    X(METRICS_FAILED_OTHER, "OTHER")       /* above all: a body that was wrong */

#define METRICS_FIRST(name, ...) name,
enum metrics_event { METRICS_EVENT_MAP(METRICS_FIRST) METRICS_EVENTS };
enum metrics_rejection { METRICS_REJECTION_MAP(METRICS_FIRST) METRICS_REJECTIONS };
enum metrics_outcome { METRICS_OUTCOME_MAP(METRICS_FIRST) METRICS_OUTCOMES };
#undef METRICS_FIRST

enum { METRICS_ENDPOINTS_MAX = 64, METRICS_MODELS_MAX = 64 };

/* The endpoint, and the model, of whatever has no number of its own: unknown paths above all. */
enum { METRICS_OTHER = 0 };

struct metrics;
struct metrics_shard;

/* Takes the time as that of the daemon's start. Freed with metrics_free. */
enum status metrics_create(struct metrics **ret, struct error *err);

/* Frees the shards, too. Takes NULL. */
void metrics_free(struct metrics *metrics);

/* ---- names, by any thread ---- */

/* The number of an endpoint, the same for the same path. `path` outlives the metrics. `timed`: its times are
 * published as a histogram, which is worth it where a model runs; all endpoints have a counter for each code.
 * METRICS_OTHER when METRICS_ENDPOINTS_MAX are known: what is counted there is published as "other". */
size_t metrics_add_endpoint(struct metrics *metrics, const char *path, bool timed);

struct metrics_model {
    const char *name, *version;
    const char *device, *kernels; /* what runs it: "cpu", "avx2" */
};

/* The number of a model that has been loaded; its texts are copied. It is the same number for the same four texts, which
 * may be added several times. METRICS_OTHER when METRICS_MODELS_MAX - 1 are loaded, or without memory. */
size_t metrics_add_model(struct metrics *metrics, const struct metrics_model *model);

/* Takes back one metrics_add_model, after everything has been counted for it. What was counted is still published,
 * since a counter that vanished before its last scrape would lose requests; only mlpd_model_info is gone. When the
 * place is needed for another model, that one begins at zero: the places of those that left first go first. */
void metrics_remove_model(struct metrics *metrics, size_t model);

/* A shard for the calling thread, some 60 KiB; NULL without memory. Freed with the metrics. */
struct metrics_shard *metrics_shard_create(struct metrics *metrics);

/* The thread that owned it ends: the shard keeps what it counted, and goes to the next thread that asks. Takes NULL. */
void metrics_shard_release(struct metrics *metrics, struct metrics_shard *shard);

/* ---- counting, by the shard's owner alone ---- */

void metrics_count_event(struct metrics_shard *shard, enum metrics_event event);

void metrics_count_rejected(struct metrics_shard *shard, enum metrics_rejection reason);

/* A whole answer has been sent. request_ns: from the request's first byte to the answer's last. A code of HTTP that
 * mlpd never sends counts as its class's first, 451 as 400: RFC 9110 has it understood so. */
void metrics_count_answer(struct metrics_shard *shard, size_t endpoint, unsigned code, int64_t request_ns);

/* A request's first row has left the queue, for a batch or because it will never be computed. */
void metrics_count_wait(struct metrics_shard *shard, size_t model, int64_t queue_ns);

/* A batch has run, or has failed. */
void metrics_count_batch(struct metrics_shard *shard, size_t model, size_t rows, int64_t compute_ns);

/* One request to a model and the stages that it went through, each 0 if it did not get so far. */
struct metrics_inference {
    enum metrics_outcome outcome;
    size_t rows;
    int64_t decode_ns, queue_ns, compute_ns, encode_ns;
    int64_t request_ns; /* from first byte to last: more than the stages' sum */
};

void metrics_count_inference(struct metrics_shard *shard, size_t model, const struct metrics_inference *inference);

/* ---- reading, by any thread ---- */

/* What the caller knows of the moment. A limit of 0 is none, and not published. */
struct metrics_state {
    const char *version;
    const char *revision; /* of the source; or NULL */
    bool ready;
    uint64_t queue_rows, queue_rows_max;
    uint64_t inflight_requests;
    uint64_t connections, connections_max;
    uint64_t memory_held_bytes, memory_max_bytes; /* of request bodies and answers: --memory-max */
    uint64_t log_lines_lost;                      /* since the start */
};

/* Appends everything in Prometheus's text format 0.0.4. At most some hundred bytes for each series, whose number the
 * limits above bound; out->failed without memory. Reads /proc; takes some tens of microseconds. */
void metrics_write(struct metrics *metrics, const struct metrics_state *state, struct buffer *out);

/* Appends what dashboards made for Triton look for: nv_inference_*{model,version}. Apart from metrics_write, because
 * these names break Prometheus's own rules (no _total, microseconds), which promtool reports. */
void metrics_write_triton(struct metrics *metrics, struct buffer *out);

/* A model's sums since its first metrics_add_model. Durations and rows are those of successful requests, but for
 * failure_ns. batches / rows_computed also hold what was computed in vain. */
struct metrics_model_totals {
    uint64_t successes, failures, rows;
    uint64_t request_ns, decode_ns, queue_ns, compute_ns, encode_ns, failure_ns;
    uint64_t batches, rows_computed;
};

void metrics_read_model(struct metrics *metrics, size_t model, struct metrics_model_totals *ret);

#endif
