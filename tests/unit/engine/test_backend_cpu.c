/* The CPU's backend against a slow network in double, for each table of kernels that this processor runs.
 *
 * Tolerance: a float32 sum of n products of numbers up to 1 errs by about n times 2^-24 of the sum of their magnitudes;
 * the networks here are at most 60 wide and their sums are below 1000, so 1e-4 x max(1, |logit|) leaves room. */
#include "engine/backend.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/unit/fixture.h"

enum { WIDTH_MAX = 64, ROWS = 23 };

static const char *const network[] = {FLATTEN,  LINEAR(49, 33), RELU, DROPOUT,        LINEAR_BARE(33, 17),
                                      IDENTITY, RELU,           RELU, LINEAR(17, 60), LINEAR(60, 10),
                                      NULL};
static const char *const network_of_softmax[] = {LINEAR(49, 33), RELU, LINEAR(33, 10), SOFTMAX, DROPOUT, NULL};
static const char *const network_of_odd_order[] = {RELU, LINEAR(49, 5), SOFTMAX, RELU, LINEAR(5, 10), RELU, NULL};
/* PyTorch's, of which the slow network here knows nothing: what they give is compared with PyTorch's own answers. */
static const char *const folders_of_other_layers[] = {"tests/data/batch_norms/1", "tests/data/gated/1",
                                                      "tests/data/autoencoder/1", "tests/data/activation_tower/1"};
static const char *const *const networks[] = {network, network_of_softmax, network_of_odd_order, NULL};

/* ---- the reference ---- */

static void reference_linear(const struct layer *layer, const double *x, double *y)
{
    for (size_t o = 0; o < layer->out_features; o++) {
        y[o] = layer->bias ? layer->bias[o] : 0;
        for (size_t i = 0; i < layer->in_features; i++)
            y[o] += (double)layer->weight[o * layer->in_features + i] * x[i];
    }
}

static void reference_softmax(const double *x, size_t n, double *y)
{
    double max = x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    for (size_t i = 0; i < n; i++)
        y[i] = exp(x[i] - max) / sum;
}

static void reference_layer(const struct layer *layer, double *x)
{
    double y[WIDTH_MAX] = {0};
    memcpy(y, x,
           layer->out_features < layer->in_features ? layer->out_features * sizeof *x
                                                    : layer->in_features * sizeof *x);
    if (layer->type == LAYER_LINEAR)
        reference_linear(layer, x, y);
    else if (layer->type == LAYER_SOFTMAX)
        reference_softmax(x, layer->in_features, y);
    for (size_t i = 0; layer->type == LAYER_RELU && i < layer->in_features; i++)
        y[i] = fmax(x[i], 0);
    memcpy(x, y, layer->out_features * sizeof *x);
}

/* What the network's forward gives for the row: x becomes it. */
static void reference_forward(const struct model *model, double x[WIDTH_MAX])
{
    for (size_t i = 0; i < model->layer_count; i++)
        reference_layer(&model->layers[i], x);
}

static void assert_close(float got, double expected)
{
    double tolerance = 1e-4 * fmax(1, fabs(expected));
    ck_assert_msg(fabs(got - expected) <= tolerance, "%.9g came, %.9g was expected", got, expected);
}

/* ---- running ---- */

struct outputs {
    float logits[ROWS * WIDTH_MAX], probabilities[ROWS * WIDTH_MAX];
    uint32_t classes[ROWS];
};

static struct backend *create(const struct model *model, const char *kernels, size_t batch_max)
{
    struct backend *backend;
    struct error err = {0};
    enum status status = backend_cpu_create(model, kernels, batch_max, &backend, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return backend;
}

static struct executor *executor_of(const struct backend *backend)
{
    struct executor *executor;
    struct error err = {0};
    ck_assert_int_eq(backend->ops->executor_create(backend, &executor, &err), STATUS_OK);
    return executor;
}

/* The part of `count` rows whose answers stand from row `at` on. */
static struct batch_part part_of(const struct backend *backend, const void *rows, enum row_dtype dtype, size_t at,
                                 size_t count, struct outputs *out)
{
    size_t n = backend->model->out_features;
    return (struct batch_part){.rows = rows,
                               .dtype = dtype,
                               .count = count,
                               .logits = out->logits + at * n,
                               .probabilities = out->probabilities + at * n,
                               .classes = out->classes + at};
}

static void run(struct executor *executor, const struct backend *backend, const struct batch_part *parts,
                size_t count)
{
    struct error err = {0};
    enum status status = backend->ops->run(executor, parts, count, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void assert_row(const struct model *model, const double *x, const struct outputs *out, size_t row)
{
    double logits[WIDTH_MAX] = {0}, probabilities[WIDTH_MAX];
    size_t n = model->out_features, class = 0;
    memcpy(logits, x, model->in_features * sizeof *x);
    reference_forward(model, logits);
    if (model->ends_in_softmax)
        memcpy(probabilities, logits, n * sizeof *logits);
    else
        reference_softmax(logits, n, probabilities);
    for (size_t i = 0; i < n; i++) {
        assert_close(out->logits[row * n + i], logits[i]);
        assert_close(out->probabilities[row * n + i], probabilities[i]);
        if (out->logits[row * n + i] > out->logits[row * n + class])
            class = i;
    }
    ck_assert_uint_eq(out->classes[row], class);
}

/* Calls the check for every network with every table of kernels. */
static void with_every_backend(void (*check)(const struct model *model, const char *kernels))
{
    for (size_t i = 0; networks[i]; i++) {
        struct model *model = fixture_load(networks[i], NULL);
        for (size_t k = 0; kernels_all[k]; k++) {
            if (kernels_all[k]->supported())
                check(model, kernels_all[k]->name);
            else if (i == 0)
                UNIT_SKIP("this processor does not run the kernels %s", kernels_all[k]->name);
        }
        model_free(model);
    }
}

static void check_floats(const struct model *model, const char *kernels)
{
    static struct outputs out;
    static float rows[ROWS * WIDTH_MAX];
    double x[WIDTH_MAX] = {0};
    size_t f = model->in_features;
    fixture_fill(rows, ROWS * f, 11);
    struct backend *backend = create(model, kernels, ROWS);
    ck_assert_str_eq(backend->kernels, kernels);
    ck_assert_str_eq(backend->device, "cpu");
    ck_assert_uint_eq(backend->batch_max, ROWS);
    struct executor *executor = executor_of(backend);
    const struct batch_part part = part_of(backend, rows, ROW_FLOAT32, 0, ROWS, &out);
    run(executor, backend, &part, 1);
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < f; i++)
            x[i] = rows[row * f + i];
        assert_row(model, x, &out, row);
    }
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
}

START_TEST(backend_gives_the_logits_probabilities_and_classes_of_the_network)
{
    with_every_backend(check_floats);
}
END_TEST

/* One batch of three parts: bytes, floats, bytes. */
static void check_mixed(const struct model *model, const char *kernels)
{
    static struct outputs out;
    static float floats[8 * WIDTH_MAX];
    static uint8_t bytes[15 * WIDTH_MAX];
    double x[WIDTH_MAX] = {0};
    size_t f = model->in_features;
    fixture_fill(floats, 8 * f, 3);
    fixture_fill_bytes(bytes, 15 * f, 4);
    struct backend *backend = create(model, kernels, ROWS);
    struct executor *executor = executor_of(backend);
    const struct batch_part parts[] = {
        part_of(backend, bytes, ROW_UINT8, 0, 4, &out),
        part_of(backend, floats, ROW_FLOAT32, 4, 8, &out),
        part_of(backend, bytes + 4 * f, ROW_UINT8, 12, 11, &out),
    };
    run(executor, backend, parts, 3);
    for (size_t row = 0; row < ROWS; row++) {
        bool is_float = row >= 4 && row < 12;
        for (size_t i = 0; i < f; i++)
            x[i] = is_float ? floats[(row - 4) * f + i] : bytes[(row < 4 ? row : row - 8) * f + i] / 255.0f;
        assert_row(model, x, &out, row);
    }
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
}

START_TEST(backend_runs_bytes_and_floats_in_one_batch)
{
    with_every_backend(check_mixed);
}
END_TEST

/* Rows that lie at an odd address are bytes; floats lie where floats may. */
static void check_bits(const struct model *model, const char *kernels)
{
    static struct outputs whole, alone, cut;
    static uint8_t storage[ROWS * WIDTH_MAX + 1];
    uint8_t *bytes = storage + 1;
    size_t f = model->in_features, n = model->out_features;
    fixture_fill_bytes(bytes, ROWS * f, 8);
    struct backend *backend = create(model, kernels, ROWS);
    struct executor *executor = executor_of(backend);
    const struct batch_part all = part_of(backend, bytes, ROW_UINT8, 0, ROWS, &whole);
    run(executor, backend, &all, 1);
    for (size_t row = 0; row < ROWS; row++) {
        const struct batch_part one = part_of(backend, bytes + row * f, ROW_UINT8, row, 1, &alone);
        run(executor, backend, &one, 1);
    }
    for (size_t at = 0, count = 1; at < ROWS; at += count++) {
        count = count < ROWS - at ? count : ROWS - at;
        const struct batch_part piece = part_of(backend, bytes + at * f, ROW_UINT8, at, count, &cut);
        run(executor, backend, &piece, 1);
    }
    ck_assert_mem_eq(alone.logits, whole.logits, ROWS * n * sizeof(float));
    ck_assert_mem_eq(cut.logits, whole.logits, ROWS * n * sizeof(float));
    ck_assert_mem_eq(alone.probabilities, whole.probabilities, ROWS * n * sizeof(float));
    ck_assert_mem_eq(cut.probabilities, whole.probabilities, ROWS * n * sizeof(float));
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
}

START_TEST(backend_gives_a_row_the_same_bits_alone_and_in_any_batch)
{
    with_every_backend(check_bits);
}
END_TEST

static struct model *load_folder(const char *folder)
{
    struct model *model;
    struct error err = {0};
    enum status status = model_load(folder, "data", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return model;
}

START_TEST(backend_gives_a_row_the_same_bits_in_any_batch_through_all_kinds_of_layers)
{
    for (size_t i = 0; i < sizeof folders_of_other_layers / sizeof *folders_of_other_layers; i++) {
        struct model *model = load_folder(folders_of_other_layers[i]);
        for (size_t k = 0; kernels_all[k]; k++)
            if (kernels_all[k]->supported())
                check_bits(model, kernels_all[k]->name);
        model_free(model);
    }
}
END_TEST

/* Row 0 by layers is what it is through the fused plan, but for the last bits that folding a BatchNorm1d changes. */
static void check_trace_ends_in_logits(const struct model *model)
{
    static struct outputs out;
    static float values[64 * TRACE_VALUES];
    float row[WIDTH_MAX];
    ck_assert_uint_le(model->layer_count, 64);
    fixture_fill(row, model->in_features, 5);
    struct backend *backend = create(model, NULL, 1);
    struct executor *executor = executor_of(backend);
    const struct batch_part part = part_of(backend, row, ROW_FLOAT32, 0, 1, &out);
    run(executor, backend, &part, 1);
    ck_assert_int_eq(backend->ops->trace(backend, row, ROW_FLOAT32, values, NULL), STATUS_OK);
    const float *last = values + (model->layer_count - 1) * TRACE_VALUES;
    for (size_t i = 0; i < TRACE_VALUES && i < model->out_features; i++)
        ck_assert_float_eq(last[i], out.logits[i]);
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
}

START_TEST(backend_traces_all_kinds_of_layers_to_the_same_logits)
{
    for (size_t i = 0; i < sizeof folders_of_other_layers / sizeof *folders_of_other_layers; i++) {
        struct model *model = load_folder(folders_of_other_layers[i]);
        check_trace_ends_in_logits(model);
        model_free(model);
    }
}
END_TEST

/* A Linear with a BatchNorm1d in it, and a Dropout between them, show what they give before it. */
START_TEST(backend_traces_a_linear_without_the_batch_norm_that_has_become_part_of_it)
{
    float row[49], values[64 * TRACE_VALUES];
    struct model *model = load_folder("tests/data/batch_norms/1");
    struct backend *backend = create(model, NULL, 1);
    fixture_fill(row, 49, 6);
    ck_assert_int_eq(backend->ops->trace(backend, row, ROW_FLOAT32, values, NULL), STATUS_OK);
    const float *linear = values + 5 * TRACE_VALUES, *dropout = linear + TRACE_VALUES,
                *norm = dropout + TRACE_VALUES;
    const struct layer *layer = &model->layers[7];
    ck_assert_str_eq(model->layers[5].type_name, "Linear");
    ck_assert_int_eq(layer->type, LAYER_BATCH_NORM);
    ck_assert_mem_eq(linear, dropout, TRACE_VALUES * sizeof *linear);
    for (size_t i = 0; i < TRACE_VALUES; i++)
        assert_close(norm[i], (linear[i] - layer->mean[i]) / sqrt(layer->variance[i] + layer->settings[0].number));
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

/* ---- what the outputs mean ---- */

static struct outputs run_with_json(const char *const *modules, const char *json)
{
    struct outputs out;
    float row[4] = {1, -2, 3, 0.5F};
    struct model *model = fixture_load(modules, json);
    struct backend *backend = create(model, NULL, 1);
    struct executor *executor = executor_of(backend);
    const struct batch_part part = part_of(backend, row, ROW_FLOAT32, 0, 1, &out);
    run(executor, backend, &part, 1);
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
    model_free(model);
    return out;
}

START_TEST(backend_makes_of_the_logits_the_probabilities_that_the_task_asks_for)
{
    static const char *const plain[] = {LINEAR(4, 3), NULL};
    static const char *const log_softmax[] = {LINEAR(4, 3), "LogSoftmax(dim=1)", NULL};
    struct outputs regression = run_with_json(plain, "{\"task\":\"regression\"}");
    struct outputs multilabel = run_with_json(plain, "{\"task\":\"multilabel\"}");
    struct outputs classification = run_with_json(plain, NULL);
    struct outputs logarithms = run_with_json(log_softmax, NULL);
    ck_assert_mem_eq(regression.probabilities, regression.logits, 3 * sizeof(float));
    for (size_t i = 0; i < 3; i++) {
        ck_assert_float_eq_tol(multilabel.probabilities[i], 1 / (1 + expf(-multilabel.logits[i])), 1e-6F);
        ck_assert_float_eq_tol(logarithms.probabilities[i], classification.probabilities[i], 1e-6F);
        ck_assert_float_eq_tol(logarithms.logits[i], logf(classification.probabilities[i]), 1e-5F);
    }
}
END_TEST

START_TEST(backend_scales_each_channel_of_a_picture_by_its_own_mean_and_deviation)
{
    static const uint8_t bytes[2][12] = {{0, 255, 51, 102, 0, 255, 51, 102, 0, 255, 51, 102},
                                         {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
    struct outputs of_bytes, of_floats;
    float floats[2][12];
    struct model *model = fixture_load((const char *const[]){FLATTEN, LINEAR(12, 5), NULL},
                                       "{\"input\":{\"channels\":3,\"mean\":[0.5,0.4,0],\"std\":[0.25,0.5,2]}}");
    struct backend *backend = create(model, NULL, 2);
    struct executor *executor = executor_of(backend);
    for (size_t i = 0; i < 24; i++) {
        static const float mean[] = {0.5F, 0.4F, 0}, std[] = {0.25F, 0.5F, 2};
        const size_t row = i / 12, element = i % 12;
        const size_t channel = element / 4; /* NOLINT(bugprone-integer-division) */
        floats[row][element] = (bytes[row][element] / 255.0F - mean[channel]) / std[channel];
        ck_assert_float_eq(model_pixel(model, element, bytes[row][element]), floats[row][element]);
    }
    const struct batch_part first = part_of(backend, bytes, ROW_UINT8, 0, 2, &of_bytes);
    const struct batch_part second = part_of(backend, floats, ROW_FLOAT32, 0, 2, &of_floats);
    run(executor, backend, &first, 1);
    run(executor, backend, &second, 1);
    ck_assert_mem_eq(of_bytes.logits, of_floats.logits, 10 * sizeof(float));
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

static void check_bytes_as_floats(const struct model *model, const char *kernels)
{
    static struct outputs of_bytes, of_floats;
    static uint8_t bytes[ROWS * WIDTH_MAX];
    static float floats[ROWS * WIDTH_MAX];
    size_t f = model->in_features;
    fixture_fill_bytes(bytes, ROWS * f, 9);
    for (size_t i = 0; i < ROWS * f; i++)
        floats[i] = model->pixel_scale[bytes[i]];
    struct backend *backend = create(model, kernels, ROWS);
    struct executor *executor = executor_of(backend);
    const struct batch_part first = part_of(backend, bytes, ROW_UINT8, 0, ROWS, &of_bytes);
    const struct batch_part second = part_of(backend, floats, ROW_FLOAT32, 0, ROWS, &of_floats);
    run(executor, backend, &first, 1);
    run(executor, backend, &second, 1);
    ck_assert_mem_eq(of_bytes.logits, of_floats.logits, ROWS * model->out_features * sizeof(float));
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
}

START_TEST(backend_takes_bytes_as_the_floats_of_the_models_scale)
{
    with_every_backend(check_bytes_as_floats);
}
END_TEST

START_TEST(backend_does_not_softmax_the_output_of_a_softmax)
{
    struct outputs out;
    float row[49];
    fixture_fill(row, 49, 2);
    struct model *model = fixture_load(network_of_softmax, NULL);
    ck_assert(model->ends_in_softmax);
    struct backend *backend = create(model, NULL, 1);
    struct executor *executor = executor_of(backend);
    const struct batch_part part = part_of(backend, row, ROW_FLOAT32, 0, 1, &out);
    run(executor, backend, &part, 1);
    ck_assert_mem_eq(out.logits, out.probabilities, 10 * sizeof(float));
    float sum = 0, max = 0;
    for (size_t i = 0; i < 10; i++) {
        sum += out.probabilities[i];
        max = fmaxf(max, out.probabilities[i]);
    }
    ck_assert_float_eq_tol(sum, 1, 1e-5);
    ck_assert_float_gt(max, 0.24f); /* softmax of ten probabilities gives at most e / (e + 9) = 0.232 */
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

/* ---- the walk over the layers ---- */

static void check_trace(const struct model *model, const char *kernels)
{
    float row[WIDTH_MAX], values[16 * TRACE_VALUES];
    double x[WIDTH_MAX] = {0};
    fixture_fill(row, model->in_features, 21);
    for (size_t i = 0; i < model->in_features; i++)
        x[i] = row[i];
    struct backend *backend = create(model, kernels, 1);
    ck_assert_int_eq(backend->ops->trace(backend, row, ROW_FLOAT32, values, NULL), STATUS_OK);
    for (size_t i = 0; i < model->layer_count; i++) {
        reference_layer(&model->layers[i], x);
        for (size_t v = 0; v < TRACE_VALUES && v < model->layers[i].out_features; v++)
            assert_close(values[i * TRACE_VALUES + v], x[v]);
    }
    backend->ops->free(backend);
}

START_TEST(backend_traces_each_layer_as_it_is_before_fusing)
{
    with_every_backend(check_trace);
}
END_TEST

/* A value that only fusing would hide: the Linear before a ReLU shows what is negative. */
START_TEST(backend_traces_the_negative_values_before_a_relu)
{
    float row[WIDTH_MAX], values[16 * TRACE_VALUES];
    struct model *model = fixture_load(network, NULL);
    struct backend *backend = create(model, NULL, 1);
    fixture_fill(row, 49, 21);
    ck_assert_int_eq(backend->ops->trace(backend, row, ROW_FLOAT32, values, NULL), STATUS_OK);
    size_t negative = 0;
    for (size_t v = 0; v < TRACE_VALUES; v++) {
        float linear = values[1 * TRACE_VALUES + v], relu = values[2 * TRACE_VALUES + v];
        negative += linear < 0;
        ck_assert_float_eq(relu, linear > 0 ? linear : 0);
    }
    ck_assert_uint_gt(negative, 0);
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

START_TEST(backend_writes_no_more_of_a_trace_than_the_layer_has)
{
    static const uint8_t row[3] = {0, 128, 255};
    float values[4 * TRACE_VALUES];
    struct model *model = fixture_load((const char *const[]){LINEAR(3, 2), RELU, LINEAR(2, 9), NULL}, NULL);
    struct backend *backend = create(model, NULL, 1);
    for (size_t i = 0; i < 4 * TRACE_VALUES; i++)
        values[i] = -77;
    ck_assert_int_eq(backend->ops->trace(backend, row, ROW_UINT8, values, NULL), STATUS_OK);
    double x[WIDTH_MAX] = {0, 128 / 255.0, 1};
    reference_layer(&model->layers[0], x);
    assert_close(values[0], x[0]);
    assert_close(values[1], x[1]);
    for (size_t i = 2; i < TRACE_VALUES; i++)
        ck_assert_float_eq(values[i], -77);
    for (size_t i = 3 * TRACE_VALUES; i < 4 * TRACE_VALUES; i++)
        ck_assert_float_eq(values[i], -77);
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

/* ---- PyTorch's own answers ---- */

static void *read_all(const char *folder, const char *name, size_t *ret_len)
{
    char *path = folder_path(folder, name), *data = malloc(65536);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened: run the test from the repository's root", path);
    *ret_len = fread(data, 1, 65536, file);
    ck_assert_int_eq(fclose(file), 0);
    free(path);
    return data;
}

static void assert_as_pytorch(const struct backend *backend, const uint8_t *rows, size_t count, const float *logits,
                              const float *probabilities, const int32_t *classes)
{
    static struct outputs out;
    size_t n = backend->model->out_features;
    struct executor *executor = executor_of(backend);
    const struct batch_part part = part_of(backend, rows, ROW_UINT8, 0, count, &out);
    run(executor, backend, &part, 1);
    for (size_t i = 0; i < count * n; i++) {
        assert_close(out.logits[i], logits[i]);
        assert_close(out.probabilities[i], probabilities[i]);
    }
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq((int)out.classes[i], classes[i]);
    backend->ops->executor_free(executor);
}

static void check_against_pytorch(const char *folder, const char *kernels)
{
    size_t inputs_len, logits_len, probabilities_len, classes_len;
    struct model *model;
    struct error err = {0};
    char *path = folder_path(folder, "1");
    enum status status = model_load(path, "data", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    uint8_t *inputs = read_all(folder, "inputs.u8", &inputs_len);
    float *logits = read_all(folder, "logits.f32", &logits_len);
    float *probabilities = read_all(folder, "probabilities.f32", &probabilities_len);
    int32_t *classes = read_all(folder, "classes.i32", &classes_len);
    size_t count = inputs_len / model->in_features;
    ck_assert_uint_gt(count, 0);
    ck_assert_uint_le(count, ROWS);
    ck_assert_uint_eq(logits_len, count * model->out_features * sizeof(float));
    struct backend *backend = create(model, kernels, ROWS);
    model_drop_weights(model); /* they are packed */
    assert_as_pytorch(backend, inputs, count, logits, probabilities, classes);
    backend->ops->free(backend);
    model_free(model);
    free(inputs);
    free(logits);
    free(probabilities);
    free(classes);
    free(path);
}

START_TEST(backend_gives_what_pytorch_gave_after_the_weights_are_dropped)
{
    static const char *const folders[] = {
        "tests/data/tiny",        "tests/data/sequential", "tests/data/nested",      "tests/data/odd",
        "tests/data/batch_norms", "tests/data/gated",      "tests/data/autoencoder", "tests/data/activation_tower"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        for (size_t k = 0; kernels_all[k]; k++)
            if (kernels_all[k]->supported())
                check_against_pytorch(folders[i], kernels_all[k]->name);
}
END_TEST

/* ---- kernels by name ---- */

START_TEST(backend_takes_the_best_kernels_where_none_are_named)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(3, 2), NULL}, NULL);
    struct backend *backend = create(model, NULL, 1);
    ck_assert_str_eq(backend->kernels, kernels_best()->name);
    backend->ops->free(backend);
    model_free(model);
}
END_TEST

static void assert_lists_supported(const char *hint)
{
    for (size_t i = 0; kernels_all[i]; i++)
        ck_assert_msg((strstr(hint, kernels_all[i]->name) != NULL) == kernels_all[i]->supported(), "%s: %s",
                      kernels_all[i]->name, hint);
}

static void assert_kernels_refused(const char *name, const char *in_message)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(3, 2), NULL}, NULL);
    struct backend *backend = NULL;
    struct error err = {0};
    ck_assert_int_eq(backend_cpu_create(model, name, 1, &backend, &err), STATUS_INVALID);
    ck_assert_ptr_null(backend);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "%s", err.message);
    ck_assert_msg(strstr(err.message, name) != NULL, "%s", err.message);
    assert_lists_supported(err.hint);
    model_free(model);
}

START_TEST(backend_refuses_unknown_kernels_and_lists_those_that_work)
{
    assert_kernels_refused("sse9", "no kernels of that name");
    assert_kernels_refused("AVX2", "no kernels of that name");
    assert_kernels_refused("", "no kernels of that name");
}
END_TEST

START_TEST(backend_refuses_kernels_that_this_processor_cannot_run)
{
    size_t unsupported = 0;
    for (size_t i = 0; kernels_all[i]; i++) {
        if (kernels_all[i]->supported())
            continue;
        assert_kernels_refused(kernels_all[i]->name, "does not support");
        unsupported++;
    }
    if (!unsupported)
        UNIT_SKIP("this processor runs all kernels");
}
END_TEST

START_TEST(backend_frees_nothing_as_well_as_something)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(3, 2), NULL}, NULL);
    struct backend *backend = create(model, NULL, 1);
    const struct backend_ops *ops = backend->ops;
    ops->executor_free(NULL);
    ops->free(backend);
    ops->free(NULL);
    model_free(model);
}
END_TEST

UNIT_MAIN("engine/backend_cpu", backend_gives_the_logits_probabilities_and_classes_of_the_network,
          backend_runs_bytes_and_floats_in_one_batch, backend_gives_a_row_the_same_bits_alone_and_in_any_batch,
          backend_gives_a_row_the_same_bits_in_any_batch_through_all_kinds_of_layers,
          backend_traces_all_kinds_of_layers_to_the_same_logits,
          backend_traces_a_linear_without_the_batch_norm_that_has_become_part_of_it,
          backend_makes_of_the_logits_the_probabilities_that_the_task_asks_for,
          backend_scales_each_channel_of_a_picture_by_its_own_mean_and_deviation,
          backend_takes_bytes_as_the_floats_of_the_models_scale, backend_does_not_softmax_the_output_of_a_softmax,
          backend_traces_each_layer_as_it_is_before_fusing, backend_traces_the_negative_values_before_a_relu,
          backend_writes_no_more_of_a_trace_than_the_layer_has,
          backend_gives_what_pytorch_gave_after_the_weights_are_dropped,
          backend_takes_the_best_kernels_where_none_are_named,
          backend_refuses_unknown_kernels_and_lists_those_that_work,
          backend_refuses_kernels_that_this_processor_cannot_run, backend_frees_nothing_as_well_as_something)
