#include "server/gather.h"

#include <semaphore.h>
#include <string.h>

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

enum { IN = 8, OUT = 3, BATCH_MAX = 4, PREDICTIONS = 3 };

static struct served served;
static struct batch_workers *workers;
static struct gather *gather;
static struct prediction *predictions[PREDICTIONS];
static float rows[BATCH_MAX + 1][IN];
static sem_t done;

static void is_done(struct job *job)
{
    (void)job;
    sem_post(&done);
}

static void read_rows_for(const struct served *model, struct prediction *prediction, size_t first, size_t count)
{
    struct error err = {0};
    const struct input_options options = {
        .content_type = "", .dtype = INPUT_DTYPE_FLOAT32, .rows_max = 1000, .pixels_max = 1000};
    prediction_reset(prediction);
    ck_assert_int_eq(prediction_use(prediction, model, &err), STATUS_OK);
    enum status status = prediction_read(prediction, &options, (const char *)rows[first], count * sizeof rows[0],
                                         &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void read_rows(struct prediction *prediction, size_t first, size_t count)
{
    read_rows_for(&served, prediction, first, count);
}

/* Runs what is one model's, and nothing else. */
static size_t run_all(struct gather_report *ret)
{
    struct gather_report more;
    ck_assert(gather_run(gather, ret));
    ck_assert_ptr_eq(ret->served, &served);
    ck_assert(!gather_run(gather, &more));
    return ret->rows;
}

static void set_up(const char *const *modules)
{
    struct error err = {0};
    const struct batch_workers_options options = {.workers = 1, .batch_max = BATCH_MAX};
    served.model = fixture_load(modules, NULL);
    ck_assert_int_eq(backend_cpu_create(served.model, NULL, BATCH_MAX, &served.backend, &err), STATUS_OK);
    ck_assert_int_eq(batch_workers_start(&options, &workers, &err), STATUS_OK);
    ck_assert_int_eq(batcher_create(workers, served.backend, 100, NULL, &served.batcher, &err), STATUS_OK);
    ck_assert_int_eq(gather_create(BATCH_MAX, &gather, &err), STATUS_OK);
    sem_init(&done, 0, 0);
    for (size_t i = 0; i < PREDICTIONS; i++)
        ck_assert_ptr_nonnull(predictions[i] = prediction_create());
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
    batcher_free(served.batcher);
    batch_workers_free(workers);
    served.backend->ops->free(served.backend);
    model_free(served.model);
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
    struct gather_report report;
    ck_assert_uint_eq(run_all(&report), PREDICTIONS);
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
    struct gather_report report;
    struct error err = {0};
    set_up_small();
    read_rows(predictions[0], 0, 3);
    read_rows(predictions[1], 3, 1);
    ck_assert(gather_add(gather, predictions[0]));
    ck_assert(gather_add(gather, predictions[1]));
    ck_assert_uint_eq(run_all(&report), 4);
    ck_assert_int_eq(prediction_check(predictions[0], &err), STATUS_OK);
    ck_assert_int_eq(prediction_check(predictions[1], &err), STATUS_OK);
    tear_down();
}
END_TEST

START_TEST(gather_refuses_what_would_pass_the_largest_batch)
{
    struct gather_report report;
    set_up_small();
    read_rows(predictions[0], 0, 3);
    read_rows(predictions[1], 0, 2);
    ck_assert(gather_add(gather, predictions[0]));
    ck_assert(!gather_add(gather, predictions[1]));
    ck_assert(gather_takes(gather, predictions[1]));
    ck_assert_uint_eq(run_all(&report), 3);
    ck_assert(gather_add(gather, predictions[1]));
    ck_assert_uint_eq(run_all(&report), 2);
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

/* The second model is wider: the executor grows for it, and goes on with the first. */
START_TEST(gather_runs_each_models_rows_as_a_batch_of_their_own)
{
    struct gather_report reports[2], none;
    struct served wide = {0};
    struct error err = {0};
    set_up_small();
    wide.model = fixture_load((const char *const[]){LINEAR(8, 900), RELU, LINEAR(900, 3), NULL}, NULL);
    ck_assert_int_eq(backend_cpu_create(wide.model, NULL, BATCH_MAX, &wide.backend, &err), STATUS_OK);
    for (size_t round = 0; round < 3; round++) {
        read_rows_for(&served, predictions[0], 0, 1);
        read_rows_for(&wide, predictions[1], 1, 1);
        read_rows_for(&served, predictions[2], 2, 2);
        for (size_t i = 0; i < PREDICTIONS; i++)
            ck_assert(gather_add(gather, predictions[i]));
        ck_assert(gather_run(gather, &reports[0]) && gather_run(gather, &reports[1]));
        ck_assert(!gather_run(gather, &none));
        ck_assert_uint_eq(reports[0].served == &served ? reports[0].rows : reports[1].rows, 3);
        ck_assert_uint_eq(reports[0].served == &wide ? reports[0].rows : reports[1].rows, 1);
        for (size_t i = 0; i < PREDICTIONS; i++)
            ck_assert_int_eq(prediction_check(predictions[i], &err), STATUS_OK);
    }
    wide.backend->ops->free(wide.backend);
    model_free(wide.model);
    tear_down();
}
END_TEST

UNIT_MAIN("server/gather", gather_gives_each_request_of_a_round_the_bits_that_the_queue_gives,
          gather_takes_a_request_of_several_rows, gather_refuses_what_would_pass_the_largest_batch,
          gather_refuses_what_would_hold_its_loop_up, gather_runs_each_models_rows_as_a_batch_of_their_own)
