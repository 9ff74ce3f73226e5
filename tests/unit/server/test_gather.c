#include "server/gather.h"

#include <semaphore.h>
#include <string.h>

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

enum { IN = 8, OUT = 3, BATCH_MAX = 4, PREDICTIONS = 3 };

static struct app app;
static struct gather *gather;
static struct prediction *predictions[PREDICTIONS];
static float rows[BATCH_MAX + 1][IN];
static sem_t done;

static void is_done(struct job *job)
{
    (void)job;
    sem_post(&done);
}

static void read_rows(struct prediction *prediction, size_t first, size_t count)
{
    struct error err = {0};
    const struct input_options options = {
        .content_type = "", .dtype = INPUT_DTYPE_FLOAT32, .rows_max = 1000, .pixels_max = 1000};
    prediction_reset(prediction);
    enum status status = prediction_read(prediction, &options, (const char *)rows[first], count * sizeof rows[0],
                                         &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void set_up(const char *const *modules)
{
    struct error err = {0};
    const struct batcher_options options = {.workers = 1, .queue_max = 100};
    app.model = fixture_load(modules, NULL);
    ck_assert_int_eq(backend_cpu_create(app.model, NULL, BATCH_MAX, &app.backend, &err), STATUS_OK);
    ck_assert_int_eq(batcher_create(app.backend, &options, &app.batcher, &err), STATUS_OK);
    ck_assert_int_eq(gather_create(app.backend, &gather, &err), STATUS_OK);
    sem_init(&done, 0, 0);
    for (size_t i = 0; i < PREDICTIONS; i++)
        ck_assert_ptr_nonnull(predictions[i] = prediction_create(&app));
    fixture_fill(&rows[0][0], sizeof rows / sizeof rows[0][0], 7);
}

static void set_up_small(void)
{
    set_up((const char *const[]){LINEAR(8, 5), RELU, LINEAR(5, 3), NULL});
}

static void tear_down(void)
{
    for (size_t i = 0; i < PREDICTIONS; i++)
        prediction_free(predictions[i]);
    gather_free(gather);
    batcher_free(app.batcher);
    app.backend->ops->free(app.backend);
    model_free(app.model);
    sem_destroy(&done);
}

START_TEST(gather_gives_each_request_of_a_round_the_bits_that_the_queue_gives)
{
    struct error err = {0};
    float gathered[PREDICTIONS][OUT];
    set_up_small();
    for (size_t i = 0; i < PREDICTIONS; i++) {
        read_rows(predictions[i], i, 1);
        ck_assert(gather_add(gather, predictions[i]));
    }
    struct gather_report report = gather_run(gather);
    ck_assert_uint_eq(report.rows, PREDICTIONS);
    ck_assert_int_le(report.started_ns, report.finished_ns);
    for (size_t i = 0; i < PREDICTIONS; i++) {
        ck_assert_int_eq(prediction_check(predictions[i], &err), STATUS_OK);
        ck_assert_int_eq(predictions[i]->job.started_ns, report.started_ns);
        memcpy(gathered[i], predictions[i]->job.logits, sizeof gathered[i]);
    }
    for (size_t i = 0; i < PREDICTIONS; i++) {
        read_rows(predictions[i], i, 1);
        ck_assert_int_eq(prediction_submit(predictions[i], is_done, &err), STATUS_OK);
        ck_assert_int_eq(sem_wait(&done), 0);
        ck_assert_mem_eq(gathered[i], predictions[i]->job.logits, sizeof gathered[i]);
    }
    tear_down();
}
END_TEST

START_TEST(gather_takes_a_request_of_several_rows)
{
    struct error err = {0};
    set_up_small();
    read_rows(predictions[0], 0, 3);
    read_rows(predictions[1], 3, 1);
    ck_assert(gather_add(gather, predictions[0]));
    ck_assert(gather_add(gather, predictions[1]));
    ck_assert_uint_eq(gather_run(gather).rows, 4);
    ck_assert_int_eq(prediction_check(predictions[0], &err), STATUS_OK);
    ck_assert_int_eq(prediction_check(predictions[1], &err), STATUS_OK);
    tear_down();
}
END_TEST

START_TEST(gather_refuses_what_would_pass_the_largest_batch)
{
    set_up_small();
    read_rows(predictions[0], 0, 3);
    read_rows(predictions[1], 0, 2);
    ck_assert(gather_add(gather, predictions[0]));
    ck_assert(!gather_add(gather, predictions[1]));
    ck_assert(gather_takes(gather, predictions[1]));
    ck_assert_uint_eq(gather_run(gather).rows, 3);
    ck_assert(gather_add(gather, predictions[1]));
    ck_assert_uint_eq(gather_run(gather).rows, 2);
    read_rows(predictions[2], 0, BATCH_MAX + 1);
    ck_assert(!gather_takes(gather, predictions[2]));
    ck_assert(!gather_add(gather, predictions[2]));
    tear_down();
}
END_TEST

START_TEST(gather_refuses_what_would_hold_its_loop_up)
{
    set_up((const char *const[]){LINEAR(8, 300000), RELU, LINEAR(300000, 3), NULL});
    read_rows(predictions[0], 0, 1);
    read_rows(predictions[1], 0, 2);
    ck_assert(!gather_takes(gather, predictions[1])); /* 7 million multiplications */
    ck_assert(!gather_add(gather, predictions[1]));
    ck_assert(gather_takes(gather, predictions[0]));
    ck_assert(gather_add(gather, predictions[0]));
    tear_down();
}
END_TEST

UNIT_MAIN("server/gather", gather_gives_each_request_of_a_round_the_bits_that_the_queue_gives,
          gather_takes_a_request_of_several_rows, gather_refuses_what_would_pass_the_largest_batch,
          gather_refuses_what_would_hold_its_loop_up)
