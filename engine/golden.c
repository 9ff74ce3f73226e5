#include "engine/golden.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/finite.h"
#include "engine/safetensors.h"
#include "engine/tensor_text.h"

enum { ROWS_WRITTEN = 16 };

struct golden {
    const struct backend *backend;
    struct executor *executor;
    size_t rows;
    bool is_bytes;
    void *inputs;         /* (rows, in_features) floats or bytes */
    float *logits;        /* (rows, out_features) that the backend computes */
    float *probabilities; /* (rows, out_features), unread */
    uint32_t *classes;    /* (rows), unread */
};

static void close_golden(struct golden *golden)
{
    golden->backend->ops->executor_free(golden->executor);
    free(golden->inputs);
    free(golden->logits);
    free(golden->probabilities);
    free(golden->classes);
}

/* Makes room for the rows. */
static enum status open_golden(struct golden *golden, struct error *err)
{
    const size_t out = golden->backend->model->out_features;
    const size_t row_bytes = backend_row_bytes(golden->backend->model, golden->is_bytes ? ROW_UINT8 : ROW_FLOAT32);
    golden->inputs = calloc(golden->rows, row_bytes);
    golden->logits = calloc(golden->rows, out * sizeof *golden->logits);
    golden->probabilities = calloc(golden->rows, out * sizeof *golden->probabilities);
    golden->classes = calloc(golden->rows, sizeof *golden->classes);
    if (!golden->inputs || !golden->logits || !golden->probabilities || !golden->classes)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu golden rows", golden->rows);
    return golden->backend->ops->executor_create(golden->backend, &golden->executor, err);
}

static enum status run_golden(struct golden *golden, struct error *err)
{
    const struct backend *backend = golden->backend;
    const enum row_dtype dtype = golden->is_bytes ? ROW_UINT8 : ROW_FLOAT32;
    const size_t out = backend->model->out_features, row_bytes = backend_row_bytes(backend->model, dtype);
    enum status status = STATUS_OK;
    for (size_t at = 0; status == STATUS_OK && at < golden->rows; at += backend->batch_max) {
        const struct batch_part part = {
            .rows = (const char *)golden->inputs + at * row_bytes,
            .dtype = dtype,
            .count = golden->rows - at < backend->batch_max ? golden->rows - at : backend->batch_max,
            .logits = golden->logits + at * out,
            .probabilities = golden->probabilities + at * out,
            .classes = golden->classes + at,
        };
        status = backend->ops->run(golden->executor, &part, 1, err);
    }
    return status;
}

/* ---- Reading ---- */

static const char WRITE_HINT[] = "write it anew with scripts/export.py or mlpd golden, or remove it";

static enum status refuse_tensor(const struct tensor *tensor, const char *name, const char *expected,
                                 struct error *err)
{
    char shape[TENSOR_DIMS_MAX * 22] = "";
    if (tensor)
        tensor_text_shape(tensor->shape, tensor->dims, shape, sizeof shape);
    if (tensor)
        error_set(err, STATUS_INVALID, "tensor \"%s\" has the shape %s, expected %s", name, shape, expected);
    else
        error_set(err, STATUS_INVALID, "there is no tensor \"%s\", expected one of %s", name, expected);
    return error_hint(err, "%s", WRITE_HINT);
}

/* Finds a tensor of rows of `features` elements each. */
static enum status find_rows(const struct state_dict *dict, const char *name, size_t features,
                             const struct tensor **ret, struct error *err)
{
    const struct tensor *tensor = state_dict_find(dict, name);
    char expected[64];
    snprintf(expected, sizeof expected, "(N, %zu)", features);
    if (!tensor || tensor->dims < 2 || tensor->count == 0 || tensor->count / tensor->shape[0] != features)
        return refuse_tensor(tensor, name, expected, err);
    size_t index;
    if (all_finite(tensor->data, tensor->count, &index)) {
        *ret = tensor;
        return STATUS_OK;
    }
    error_set(err, STATUS_INVALID, "tensor \"%s\" holds a number that is not finite, in row %zu at index %zu", name,
              index / features, index % features);
    return error_hint(err, "%s", WRITE_HINT);
}

static void copy_inputs(struct golden *golden, const struct tensor *inputs)
{
    uint8_t *bytes = golden->inputs;
    if (!golden->is_bytes)
        memcpy(golden->inputs, inputs->data, inputs->count * sizeof *inputs->data);
    for (size_t i = 0; golden->is_bytes && i < inputs->count; i++)
        bytes[i] = (uint8_t)inputs->data[i];
}

static enum status compare_logits(const struct golden *golden, const struct tensor *expected,
                                  struct golden_report *ret, struct error *err)
{
    const size_t out = golden->backend->model->out_features;
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < expected->count; i++) {
        const double want = (double)expected->data[i], got = (double)golden->logits[i];
        const double difference = fabs(got - want) / fmax(1, fabs(want));
        if (!(difference <= worst) && !isnan(worst)) {
            worst = difference;
            at = i;
        }
    }
    if (worst <= GOLDEN_TOLERANCE) {
        *ret = (struct golden_report){golden->rows, worst};
        return STATUS_OK;
    }
    error_set(err, STATUS_INVALID,
              "logit %zu of row %zu is %.9g, and %.9g was expected: they differ by %.3g, and at most %g x max(1, "
              "|logit|) is taken (%s device, kernels %s)",
              at % out, at / out, (double)golden->logits[at], (double)expected->data[at],
              fabs((double)golden->logits[at] - (double)expected->data[at]), GOLDEN_TOLERANCE,
              golden->backend->device, golden->backend->kernels);
    return error_hint(err,
                      "the parameters, the structure or the scaling are not those that the file was made with: "
                      "export all of them anew, or remove the file if the model was changed on purpose");
}

static enum status compare_dict(const struct backend *backend, const struct state_dict *dict,
                                struct golden_report *ret, struct error *err)
{
    const struct tensor *inputs = NULL, *logits = NULL;
    enum status status = find_rows(dict, "inputs", backend->model->in_features, &inputs, err);
    if (status == STATUS_OK)
        status = find_rows(dict, "logits", backend->model->out_features, &logits, err);
    if (status != STATUS_OK)
        return status;
    if (inputs->shape[0] != logits->shape[0]) {
        error_set(err, STATUS_INVALID, "there are %zu inputs and the logits of %zu", inputs->shape[0],
                  logits->shape[0]);
        return error_hint(err, "%s", WRITE_HINT);
    }
    struct golden golden = {
        .backend = backend, .rows = inputs->shape[0], .is_bytes = strcmp(inputs->dtype, "torch.uint8") == 0};
    status = open_golden(&golden, err);
    if (status == STATUS_OK) {
        copy_inputs(&golden, inputs);
        status = run_golden(&golden, err);
    }
    if (status == STATUS_OK)
        status = compare_logits(&golden, logits, ret, err);
    close_golden(&golden);
    return status;
}

enum status golden_compare(const struct backend *backend, struct golden_report *ret, struct error *err)
{
    const char *folder = backend->model->folder;
    struct state_dict *dict = NULL;
    *ret = (struct golden_report){0, 0};
    char *path = folder ? file_join(folder, GOLDEN_FILE) : NULL;
    if (folder && !path)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the path of %s", GOLDEN_FILE);
    if (!path || access(path, F_OK) != 0) {
        free(path);
        return STATUS_OK;
    }
    enum status status = safetensors_read(path, &dict, err);
    if (status == STATUS_OK) {
        status = compare_dict(backend, dict, ret, err);
        if (status != STATUS_OK)
            file_error(path, status, err);
    }
    state_dict_free(dict);
    free(path);
    return status;
}

/* ---- Writing ---- */

/* The first row is zero, as an empty picture is; the others are of a generator (Knuth's MMIX constants) that gives the same
 * on every machine. */
static void fill_inputs(struct golden *golden)
{
    const size_t in = golden->backend->model->in_features;
    uint8_t *bytes = golden->inputs;
    float *floats = golden->inputs;
    uint64_t state = 1;
    for (size_t i = in; i < golden->rows * in; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (golden->is_bytes)
            bytes[i] = (uint8_t)(state >> 56);
        else
            floats[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
    }
}

static enum status refuse_write(const char *path, struct error *err)
{
    error_set(err, STATUS_IO, "it cannot be written: %s", strerror(errno));
    error_hint(err, "let mlpd write into this folder, or name another file with --output FILE");
    return file_error(path, STATUS_IO, err);
}

static bool write_tensors(FILE *file, const struct golden *golden)
{
    const struct model *model = golden->backend->model;
    const size_t inputs = golden->rows * backend_row_bytes(model, golden->is_bytes ? ROW_UINT8 : ROW_FLOAT32);
    const size_t logits = golden->rows * model->out_features * sizeof(float);
    char header[256];
    /* The logits stand first, for their alignment; the header is padded to a multiple of eight bytes. */
    int len = snprintf(header, sizeof header,
                       "{\"logits\":{\"dtype\":\"F32\",\"shape\":[%zu,%zu],\"data_offsets\":[0,%zu]},"
                       "\"inputs\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}}",
                       golden->rows, model->out_features, logits, golden->is_bytes ? "U8" : "F32", golden->rows,
                       model->in_features, logits, logits + inputs);
    const uint64_t padded = ((uint64_t)len + 7) / 8 * 8;
    fwrite(&padded, sizeof padded, 1, file);
    fprintf(file, "%-*s", (int)padded, header);
    fwrite(golden->logits, 1, logits, file);
    fwrite(golden->inputs, 1, inputs, file);
    return !ferror(file);
}

/* Into a file beside it, which then takes its name. */
static enum status write_file(const struct golden *golden, const char *path, struct error *err)
{
    char *beside;
    if (asprintf(&beside, "%s.%ld.tmp", path, (long)getpid()) < 0)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the path of %s", GOLDEN_FILE);
    FILE *file = fopen(beside, "wb");
    bool ok = file && write_tensors(file, golden);
    if (file)
        ok &= fclose(file) == 0;
    ok = ok && rename(beside, path) == 0;
    enum status status = ok ? STATUS_OK : refuse_write(path, err);
    if (!ok)
        unlink(beside);
    free(beside);
    return status;
}

static enum status check_written(const struct golden *golden, struct error *err)
{
    const size_t out = golden->backend->model->out_features;
    size_t index;
    if (all_finite(golden->logits, golden->rows * out, &index))
        return STATUS_OK;
    error_set(err, STATUS_INTERNAL, "the model gives %g as logit %zu of golden row %zu",
              (double)golden->logits[index], index % out, index / out);
    return error_hint(err, "check that the model's parameters are those that were trained");
}

enum status golden_write(const struct backend *backend, const char *path, size_t *ret_rows, struct error *err)
{
    struct golden golden = {.backend = backend, .rows = ROWS_WRITTEN, .is_bytes = backend->model->width > 0};
    enum status status = open_golden(&golden, err);
    if (status == STATUS_OK) {
        fill_inputs(&golden);
        status = run_golden(&golden, err);
    }
    if (status == STATUS_OK)
        status = check_written(&golden, err);
    if (status == STATUS_OK)
        status = write_file(&golden, path, err);
    close_golden(&golden);
    if (status == STATUS_OK)
        *ret_rows = golden.rows;
    return status;
}
