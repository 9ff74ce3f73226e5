#include "server/golden_check.h"

#include <stdlib.h>
#include <string.h>

#include "engine/finite.h"

struct golden {
    const struct backend *backend;
    struct executor *executor;
    size_t count;         /* rows */
    uint8_t *bytes;       /* (count, in_features) */
    float *floats;        /* (count, in_features): the same, scaled as the model says */
    float *logits;        /* (count, out_features): of all rows in one batch */
    float *alone;         /* (out_features): of one row */
    float *probabilities; /* (count, out_features), unread */
    uint32_t *classes;    /* (count), unread */
};

static void close_golden(struct golden *golden)
{
    golden->backend->ops->executor_free(golden->executor);
    free(golden->bytes);
    free(golden->floats);
    free(golden->logits);
    free(golden->alone);
    free(golden->probabilities);
    free(golden->classes);
}

/* The first row is zero, as an empty picture is; the others' bytes are of a generator (Knuth's MMIX constants) that gives
 * the same on every machine. */
static void fill_rows(struct golden *golden)
{
    const struct model *model = golden->backend->model;
    uint64_t state = 1;
    for (size_t i = 0; i < golden->count * model->in_features; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        golden->bytes[i] = i < model->in_features ? 0 : (uint8_t)(state >> 56);
        golden->floats[i] = model_pixel(model, i % model->in_features, golden->bytes[i]);
    }
}

static enum status open_golden(struct golden *golden, struct error *err)
{
    size_t in = golden->backend->model->in_features, out = golden->backend->model->out_features;
    golden->bytes = calloc(golden->count * in, sizeof *golden->bytes);
    golden->floats = calloc(golden->count * in, sizeof *golden->floats);
    golden->logits = calloc(golden->count * out, sizeof *golden->logits);
    golden->alone = calloc(out, sizeof *golden->alone);
    golden->probabilities = calloc(golden->count * out, sizeof *golden->probabilities);
    golden->classes = calloc(golden->count, sizeof *golden->classes);
    if (!golden->bytes || !golden->floats || !golden->logits || !golden->alone || !golden->probabilities ||
        !golden->classes)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu rows", golden->count);
    fill_rows(golden);
    return golden->backend->ops->executor_create(golden->backend, &golden->executor, err);
}

static enum status run_rows(struct golden *golden, enum row_dtype dtype, size_t first, size_t count, float *logits,
                            struct error *err)
{
    size_t at = first * golden->backend->model->in_features;
    const struct batch_part part = {
        .rows = dtype == ROW_UINT8 ? (const void *)(golden->bytes + at) : golden->floats + at,
        .dtype = dtype,
        .count = count,
        .logits = logits,
        .probabilities = golden->probabilities,
        .classes = golden->classes,
    };
    return golden->backend->ops->run(golden->executor, &part, 1, err);
}

static enum status check_finite(const struct golden *golden, struct error *err)
{
    size_t out = golden->backend->model->out_features, index;
    if (all_finite(golden->logits, golden->count * out, &index))
        return STATUS_OK;
    error_set(err, STATUS_INTERNAL, "row %zu of the golden input gives logit %zu as %g: expected a finite number",
              index / out, index % out, (double)golden->logits[index]);
    return error_hint(err, "check that the model's parameters are those that were trained");
}

/* The first float whose bits differ, or `count`. NaNs and signs of zero count, so == would not do. */
static size_t first_other(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits_a, bits_b;
        memcpy(&bits_a, &a[i], sizeof bits_a);
        memcpy(&bits_b, &b[i], sizeof bits_b);
        if (bits_a != bits_b)
            return i;
    }
    return count;
}

static enum status check_alone(struct golden *golden, enum row_dtype dtype, size_t row, struct error *err)
{
    size_t out = golden->backend->model->out_features;
    const float *expected = golden->logits + row * out;
    enum status status = run_rows(golden, dtype, row, 1, golden->alone, err);
    if (status != STATUS_OK)
        return status;
    size_t i = first_other(golden->alone, expected, out);
    if (i == out)
        return STATUS_OK;
    error_set(err, STATUS_INTERNAL,
              "row %zu of the golden input gives logit %zu as %.9g alone (as %s) and as %.9g among %zu rows", row,
              i, (double)golden->alone[i], dtype == ROW_UINT8 ? "uint8" : "float32", (double)expected[i],
              golden->count);
    return error_hint(err, "the kernels %s compute wrong here: try --kernels generic, and report it",
                      golden->backend->kernels);
}

static enum status check_golden(struct golden *golden, struct error *err)
{
    enum status status = run_rows(golden, ROW_UINT8, 0, golden->count, golden->logits, err);
    if (status == STATUS_OK)
        status = check_finite(golden, err);
    for (size_t row = 0; status == STATUS_OK && row < golden->count; row++) {
        status = check_alone(golden, ROW_UINT8, row, err);
        if (status == STATUS_OK)
            status = check_alone(golden, ROW_FLOAT32, row, err);
    }
    return status;
}

enum status golden_check(const struct backend *backend, size_t *ret_rows, struct error *err)
{
    struct golden golden = {
        .backend = backend,
        .count = backend->batch_max < GOLDEN_ROWS ? backend->batch_max : GOLDEN_ROWS,
    };
    enum status status = open_golden(&golden, err);
    if (status == STATUS_OK)
        status = check_golden(&golden, err);
    close_golden(&golden);
    if (status == STATUS_OK)
        *ret_rows = golden.count;
    return status;
}
