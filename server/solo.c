#include "server/solo.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    /* Between two requests of one connection the kernel, the network and the client pass some 40 us at least; between two
     * that had piled up before one I/O thread pass about 10. */
    GAP_NS = 20000,
    /* After requests have come together, the next ones are expected to: without this memory the first of each wave of 64
     * connections went alone and tore the wave apart, at 40 us of CPU a request instead of 29. */
    COMPANY_NS = 2000000,
    MULTIPLICATIONS_MAX = 4000000, /* of all the request's rows: about 80 us of one AVX2 core */
};

struct solo {
    const struct backend *backend;
    struct batcher *batcher;
    struct executor *executor; /* of whoever holds `taken` */
    atomic_flag taken;
    _Atomic int64_t last_answer_ns;
    _Atomic int64_t last_company_ns; /* when a request last came while others were there */
};

int64_t solo_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

enum status solo_create(const struct backend *backend, struct batcher *batcher, struct solo **ret,
                        struct error *err)
{
    struct solo *solo = calloc(1, sizeof *solo);
    if (!solo)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a buffer");
    solo->backend = backend;
    solo->batcher = batcher;
    atomic_flag_clear(&solo->taken);
    enum status status = backend->ops->executor_create(backend, &solo->executor, err);
    if (status != STATUS_OK) {
        free(solo);
        return status;
    }
    *ret = solo;
    return STATUS_OK;
}

static bool is_short(const struct solo *solo, const struct job *job)
{
    size_t rows_max = MULTIPLICATIONS_MAX / (solo->backend->model->parameter_elements + 1);
    return job->count <= rows_max && job->count <= solo->backend->batch_max;
}

static bool comes_alone(struct solo *solo, int64_t now_ns)
{
    if (now_ns - atomic_load(&solo->last_answer_ns) > GAP_NS && batcher_is_idle(solo->batcher))
        return now_ns - atomic_load(&solo->last_company_ns) > COMPANY_NS;
    atomic_store(&solo->last_company_ns, now_ns);
    return false;
}

bool solo_run(struct solo *solo, struct prediction *prediction, int64_t now_ns)
{
    if (!is_short(solo, &prediction->job) || !comes_alone(solo, now_ns) || atomic_flag_test_and_set(&solo->taken))
        return false;
    struct error unread; /* prediction_check tells the outcome */
    prediction_run(prediction, solo->executor, &unread);
    atomic_flag_clear(&solo->taken);
    return true;
}

void solo_note_answer(struct solo *solo, int64_t now_ns)
{
    atomic_store(&solo->last_answer_ns, now_ns);
}

void solo_free(struct solo *solo)
{
    if (!solo)
        return;
    solo->backend->ops->executor_free(solo->executor);
    free(solo);
}
