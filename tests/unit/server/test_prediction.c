#include "server/prediction.h"

#include <float.h>
#include <semaphore.h>
#include <string.h>

#include "server/json_text.h"
#include "tests/unit/fixture.h"

enum { IN = 8, OUT = 3, BATCH_MAX = 4, QUEUE_MAX = 40 };

static const char *const network[] = {LINEAR(8, 5), RELU, LINEAR(5, 3), NULL};

static struct served served;
static struct batch_workers *workers;
static struct buffer nulls[OUT];
static struct prediction *prediction;
static struct buffer out;
static sem_t done;

static void set_up(const char *const *modules)
{
    struct error err = {0};
    const struct batch_workers_options options = {.workers = 2, .batch_max = BATCH_MAX};
    served.model = fixture_load(modules, NULL);
    ck_assert_int_eq(backend_cpu_create(served.model, NULL, BATCH_MAX, &served.backend, &err), STATUS_OK);
    ck_assert_int_eq(batch_workers_start(&options, &workers, &err), STATUS_OK);
    ck_assert_int_eq(batcher_create(workers, served.backend, QUEUE_MAX, NULL, &served.batcher, &err), STATUS_OK);
    served.labels_json = nulls;
    for (size_t i = 0; i < OUT; i++)
        buffer_append_str(&nulls[i], "null");
    buffer_append_str(&served.answer_head, "{\"model\":\"m\",\"version\":\"1\"");
    sem_init(&done, 0, 0);
    prediction = prediction_create();
    ck_assert_ptr_nonnull(prediction);
    ck_assert_int_eq(prediction_use(prediction, &served, &err), STATUS_OK);
}

static void tear_down(void)
{
    prediction_free(prediction);
    batcher_free(served.batcher);
    batch_workers_free(workers);
    served.backend->ops->free(served.backend);
    model_free(served.model);
    for (size_t i = 0; i < OUT; i++)
        buffer_free(&nulls[i]);
    buffer_free(&served.answer_head);
    buffer_free(&out);
    sem_destroy(&done);
}

static void is_done(struct job *job)
{
    ck_assert_ptr_eq(job, &prediction->job);
    sem_post(&done);
}

/* The next request, for the same model. */
static void start_anew(void)
{
    prediction_reset(prediction);
    ck_assert_int_eq(prediction_use(prediction, &served, NULL), STATUS_OK);
}

/* Reads raw rows. */
static enum status read_rows(const float *rows, size_t count, struct error *err)
{
    const struct input_options options = {
        .content_type = "", .dtype = INPUT_DTYPE_FLOAT32, .rows_max = 1000, .pixels_max = 1000};
    return prediction_read(prediction, &options, (const char *)rows, count * IN * sizeof *rows, err);
}

static void read_well(const float *rows, size_t count)
{
    struct error err = {0};
    enum status status = read_rows(rows, count, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(prediction->job.count, count);
}

static void submit_and_wait(void)
{
    struct error err = {0};
    ck_assert_int_eq(prediction_submit(prediction, is_done, &err), STATUS_OK);
    ck_assert_int_eq(sem_wait(&done), 0);
}

/* The answer's text; the caller frees it. */
static char *answer(void)
{
    struct error err = {0};
    enum status status = prediction_check(prediction, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    buffer_reset(&out, SIZE_MAX);
    prediction_write(prediction, &out);
    ck_assert_msg(json_is_valid(out.data, out.len), "%s", out.data);
    return strdup(out.data);
}

START_TEST(prediction_goes_through_the_queue_to_an_answer)
{
    float rows[10 * IN];
    set_up(network);
    fixture_fill(rows, 10 * IN, 1);
    read_well(rows, 1);
    submit_and_wait();
    char *text = answer();
    ck_assert_ptr_eq(strstr(text, "{\"model\":\"m\",\"version\":\"1\",\"class\":"), text);
    ck_assert_ptr_null(strstr(text, "top_k"));
    ck_assert_ptr_null(strstr(text, "logits"));
    ck_assert_ptr_null(strstr(text, "layers"));
    free(text);
    start_anew();
    read_well(rows, 10);
    submit_and_wait();
    text = answer();
    ck_assert_ptr_eq(strstr(text, "{\"model\":\"m\",\"version\":\"1\",\"predictions\":["), text);
    free(text);
    tear_down();
}
END_TEST

START_TEST(prediction_run_without_a_queue_gives_the_same_answer)
{
    float rows[10 * IN];
    struct executor *executor;
    struct error err = {0};
    set_up(network);
    ck_assert_int_eq(served.backend->ops->executor_create(served.backend, &executor, &err), STATUS_OK);
    fixture_fill(rows, 10 * IN, 2);
    for (size_t count = 1; count <= 10; count++) {
        start_anew();
        prediction->with_logits = true;
        read_well(rows, count);
        submit_and_wait();
        char *queued = answer();
        memset(prediction->outputs, 0, count * 2 * OUT * sizeof(float));
        ck_assert_int_eq(prediction_run(prediction, executor, &err), STATUS_OK);
        char *direct = answer();
        ck_assert_str_eq(direct, queued);
        free(queued);
        free(direct);
    }
    served.backend->ops->executor_free(executor);
    tear_down();
}
END_TEST

START_TEST(prediction_adds_what_was_asked_for_and_forgets_it_at_a_reset)
{
    float row[IN];
    set_up(network);
    fixture_fill(row, IN, 3);
    prediction->top_k = 2;
    prediction->with_logits = prediction->with_layers = true;
    read_well(row, 1);
    submit_and_wait();
    char *text = answer();
    ck_assert_ptr_nonnull(strstr(text, "\"top_k\":["));
    ck_assert_ptr_nonnull(strstr(text, "\"logits\":["));
    ck_assert_ptr_nonnull(strstr(text, "\"layers\":[{\"name\":\"0\",\"type\":\"Linear\",\"shape\":[1,5],"));
    free(text);
    prediction->format = ANSWER_NPY;
    start_anew();
    ck_assert_int_eq(prediction->format, ANSWER_JSON);
    read_well(row, 1);
    submit_and_wait();
    text = answer();
    ck_assert_ptr_null(strstr(text, "top_k"));
    ck_assert_ptr_null(strstr(text, "logits"));
    ck_assert_ptr_null(strstr(text, "layers"));
    free(text);
    tear_down();
}
END_TEST

START_TEST(prediction_passes_on_what_the_input_is_refused_with)
{
    struct error err = {0};
    set_up(network);
    const struct input_options options = {.content_type = "application/json", .rows_max = 9, .pixels_max = 9};
    ck_assert_int_eq(prediction_read(prediction, &options, "[1, 2]", 6, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "shape (2,)"));
    tear_down();
}
END_TEST

START_TEST(prediction_refused_by_the_queue_is_never_done)
{
    static float rows[(QUEUE_MAX + 1) * IN];
    struct error err = {0};
    int posted = -1;
    set_up(network);
    read_well(rows, QUEUE_MAX + 1);
    ck_assert_int_eq(prediction_submit(prediction, is_done, &err), STATUS_OVERLOADED);
    ck_assert_str_ne(err.message, "");
    batcher_free(served.batcher);
    batch_workers_stop(workers);
    served.batcher = NULL;
    ck_assert_int_eq(sem_getvalue(&done, &posted), 0);
    ck_assert_int_eq(posted, 0);
    tear_down();
}
END_TEST

START_TEST(prediction_whose_logits_overflow_is_an_internal_error_that_names_them)
{
    float rows[3 * IN] = {0};
    struct error err = {0};
    set_up(network);
    for (size_t i = 0; i < IN; i++)
        rows[2 * IN + i] = served.model->layers[0].weight[i] < 0 ? -FLT_MAX : FLT_MAX;
    read_well(rows, 3);
    submit_and_wait();
    ck_assert_int_eq(prediction_check(prediction, &err), STATUS_INTERNAL);
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, "overflow float32 for row 2"));
    ck_assert_str_ne(err.hint, "");
    tear_down();
}
END_TEST

/* -infinity before the ReLU, and 0 behind it: the logits are right, and the walk cannot be written as JSON. */
START_TEST(prediction_whose_layers_overflow_is_an_internal_error_where_they_are_shown)
{
    static const char *const narrow[] = {LINEAR(8, 1), RELU, LINEAR(1, 3), NULL};
    float row[IN];
    struct error err = {0};
    set_up(narrow);
    for (size_t i = 0; i < IN; i++)
        row[i] = served.model->layers[0].weight[i] < 0 ? FLT_MAX : -FLT_MAX;
    read_well(row, 1);
    submit_and_wait();
    char *text = answer();
    free(text);
    start_anew();
    prediction->with_layers = true;
    read_well(row, 1);
    submit_and_wait();
    ck_assert_int_eq(prediction_check(prediction, &err), STATUS_INTERNAL);
    ck_assert_msg(strstr(err.message, "row 0") && strstr(err.message, "layer 0"), "%s", err.message);
    ck_assert_str_ne(err.hint, "");
    tear_down();
}
END_TEST

/* ---- other backends ---- */

static const struct backend_ops *counted_ops;
static size_t counted_runs;

static enum status count_run(struct executor *executor, const struct batch_part *parts, size_t part_count,
                             struct error *err)
{
    counted_runs++;
    return counted_ops->run(executor, parts, part_count, err);
}

START_TEST(prediction_run_takes_as_few_batches_as_fit)
{
    static float rows[9 * IN];
    struct executor *executor;
    set_up(network);
    counted_ops = served.backend->ops;
    struct backend_ops counting = *counted_ops;
    counting.run = count_run;
    served.backend->ops = &counting;
    ck_assert_int_eq(counting.executor_create(served.backend, &executor, NULL), STATUS_OK);
    read_well(rows, 9);
    ck_assert_int_eq(prediction_run(prediction, executor, NULL), STATUS_OK);
    ck_assert_uint_eq(counted_runs, 3); /* 4 + 4 + 1 */
    counting.executor_free(executor);
    served.backend->ops = counted_ops;
    tear_down();
}
END_TEST

static enum status break_down(struct executor *executor, const struct batch_part *parts, size_t part_count,
                              struct error *err)
{
    (void)executor, (void)parts, (void)part_count;
    error_set(err, STATUS_INTERNAL, "the device is gone");
    return error_hint(err, "wait");
}

static void assert_broken(void)
{
    struct error err = {0};
    ck_assert_int_eq(prediction_check(prediction, &err), STATUS_INTERNAL);
    ck_assert_int_eq(err.status, STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "the device is gone");
    ck_assert_str_eq(err.hint, "wait");
}

START_TEST(prediction_tells_the_failure_of_the_backend)
{
    float rows[2 * IN] = {0};
    struct executor *executor;
    struct error err = {0};
    set_up(network);
    const struct backend_ops *working = served.backend->ops;
    struct backend_ops broken = *working;
    broken.run = break_down;
    served.backend->ops = &broken;
    read_well(rows, 2);
    submit_and_wait();
    assert_broken();
    start_anew();
    read_well(rows, 2);
    ck_assert_int_eq(broken.executor_create(served.backend, &executor, &err), STATUS_OK);
    ck_assert_int_eq(prediction_run(prediction, executor, &err), STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "the device is gone");
    broken.executor_free(executor);
    batcher_free(served.batcher);
    batch_workers_stop(workers);
    served.batcher = NULL;
    served.backend->ops = working;
    tear_down();
}
END_TEST

/* The address sanitizer sees what is used after it was given back. */
START_TEST(prediction_serves_request_after_request_of_any_size)
{
    static const size_t counts[] = {1, 30, 2, 40, 1, 1, 39, 5};
    static float rows[300 * IN];
    struct executor *executor;
    set_up(network);
    ck_assert_int_eq(served.backend->ops->executor_create(served.backend, &executor, NULL), STATUS_OK);
    fixture_fill(rows, 300 * IN, 6);
    for (size_t i = 0; i < 64; i++) {
        bool large = i % 9 == 4;
        read_well(rows, large ? 300 : counts[i % 8]);
        if (large)
            ck_assert_int_eq(prediction_run(prediction, executor, NULL), STATUS_OK);
        else
            submit_and_wait();
        char *text = answer();
        free(text);
        start_anew();
    }
    served.backend->ops->executor_free(executor);
    tear_down();
}
END_TEST

/* Of other sizes, both ways. */
START_TEST(prediction_serves_models_in_turns)
{
    float rows[8 * IN];
    struct served wide = {.labels_json = nulls};
    struct executor *executor;
    set_up(network);
    fixture_fill(rows, 8 * IN, 9);
    wide.model = fixture_load((const char *const[]){LINEAR(8, 700), RELU, LINEAR(700, 90), NULL}, NULL);
    ck_assert_int_eq(backend_cpu_create(wide.model, NULL, BATCH_MAX, &wide.backend, NULL), STATUS_OK);
    ck_assert_int_eq(served.backend->ops->executor_create(served.backend, &executor, NULL), STATUS_OK);
    for (size_t i = 0; i < 8; i++) {
        const struct served *model = i % 2 ? &wide : &served;
        prediction_reset(prediction);
        ck_assert_int_eq(prediction_use(prediction, model, NULL), STATUS_OK);
        prediction->with_layers = true;
        prediction->top_k = 3;
        read_well(rows, 8 - i / 2);
        ck_assert_int_eq(model->backend->ops->executor_move(executor, model->backend, NULL), STATUS_OK);
        ck_assert_int_eq(prediction_run(prediction, executor, NULL), STATUS_OK);
        ck_assert_int_eq(prediction_check(prediction, NULL), STATUS_OK);
        ck_assert_uint_lt(prediction->job.classes[0], model->model->out_features);
    }
    served.backend->ops->executor_free(executor);
    wide.backend->ops->free(wide.backend);
    model_free(wide.model);
    tear_down();
}
END_TEST

START_TEST(prediction_free_takes_null)
{
    prediction_free(NULL);
}
END_TEST

UNIT_MAIN("server/prediction", prediction_goes_through_the_queue_to_an_answer,
          prediction_run_without_a_queue_gives_the_same_answer,
          prediction_adds_what_was_asked_for_and_forgets_it_at_a_reset,
          prediction_passes_on_what_the_input_is_refused_with, prediction_refused_by_the_queue_is_never_done,
          prediction_whose_logits_overflow_is_an_internal_error_that_names_them,
          prediction_whose_layers_overflow_is_an_internal_error_where_they_are_shown,
          prediction_run_takes_as_few_batches_as_fit, prediction_tells_the_failure_of_the_backend,
          prediction_serves_request_after_request_of_any_size, prediction_serves_models_in_turns,
          prediction_free_takes_null)
