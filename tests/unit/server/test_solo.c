#include "server/solo.h"

#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

enum { IN = 8, OUT = 3, BATCH_MAX = 4 };

static const int64_t second = 1000000000;

static struct app app;
static struct prediction *prediction;
static float rows[BATCH_MAX + 1][IN];
static sem_t done;

static void is_done(struct job *job)
{
    (void)job;
    sem_post(&done);
}

/* A worker counts as idle once it waits for rows. */
static void wait_until_idle(void)
{
    while (!batcher_is_idle(app.batcher))
        usleep(1000);
}

static void read_rows(size_t count)
{
    struct error err = {0};
    const struct input_options options = {
        .content_type = "", .dtype = INPUT_DTYPE_FLOAT32, .rows_max = 1000, .pixels_max = 1000};
    prediction_reset(prediction);
    enum status status = prediction_read(prediction, &options, (const char *)rows, count * sizeof rows[0], &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void set_up(const char *const *modules)
{
    struct error err = {0};
    const struct batcher_options options = {.workers = 2, .queue_max = 100};
    app.model = fixture_load(modules, NULL);
    ck_assert_int_eq(backend_cpu_create(app.model, NULL, BATCH_MAX, &app.backend, &err), STATUS_OK);
    ck_assert_int_eq(batcher_create(app.backend, &options, &app.batcher, &err), STATUS_OK);
    ck_assert_int_eq(solo_create(app.backend, app.batcher, &app.solo, &err), STATUS_OK);
    sem_init(&done, 0, 0);
    prediction = prediction_create(&app);
    ck_assert_ptr_nonnull(prediction);
    fixture_fill(&rows[0][0], sizeof rows / sizeof rows[0][0], 7);
    wait_until_idle();
    read_rows(1);
}

static void set_up_small(void)
{
    set_up((const char *const[]){LINEAR(8, 5), RELU, LINEAR(5, 3), NULL});
}

static void tear_down(void)
{
    prediction_free(prediction);
    solo_free(app.solo);
    batcher_free(app.batcher);
    app.backend->ops->free(app.backend);
    model_free(app.model);
    sem_destroy(&done);
}

START_TEST(solo_gives_a_lone_request_the_bits_that_the_queue_gives)
{
    struct error err = {0};
    float alone[OUT];
    set_up_small();
    ck_assert(solo_run(app.solo, prediction, second));
    ck_assert_int_eq(prediction_check(prediction, &err), STATUS_OK);
    memcpy(alone, prediction->job.logits, sizeof alone);

    read_rows(1);
    ck_assert_int_eq(prediction_submit(prediction, is_done, &err), STATUS_OK);
    ck_assert_int_eq(sem_wait(&done), 0);
    ck_assert_mem_eq(alone, prediction->job.logits, sizeof alone);
    tear_down();
}
END_TEST

START_TEST(solo_leaves_what_comes_right_behind_an_answer_to_the_queue)
{
    set_up_small();
    solo_note_answer(app.solo, second);
    ck_assert(!solo_run(app.solo, prediction, second + 5000));
    tear_down();
}
END_TEST

START_TEST(solo_expects_company_for_a_while_after_there_was_some)
{
    set_up_small();
    solo_note_answer(app.solo, second);
    ck_assert(!solo_run(app.solo, prediction, second + 5000));
    ck_assert(!solo_run(app.solo, prediction, second + 100000)); /* a gap, but not long since */
    ck_assert(solo_run(app.solo, prediction, 2 * second));
    tear_down();
}
END_TEST

START_TEST(solo_serves_one_connection_that_asks_again_and_again)
{
    set_up_small();
    int64_t now_ns = second;
    for (int i = 0; i < 100; i++, now_ns += 100000) {
        read_rows(1);
        ck_assert_msg(solo_run(app.solo, prediction, now_ns), "request %d", i);
        solo_note_answer(app.solo, now_ns + 30000);
    }
    tear_down();
}
END_TEST

START_TEST(solo_leaves_more_rows_than_a_batch_to_the_queue)
{
    set_up_small();
    read_rows(BATCH_MAX);
    ck_assert(solo_run(app.solo, prediction, second));
    read_rows(BATCH_MAX + 1);
    ck_assert(!solo_run(app.solo, prediction, 2 * second));
    tear_down();
}
END_TEST

START_TEST(solo_leaves_a_model_that_takes_long_to_the_queue)
{
    set_up((const char *const[]){LINEAR(8, 2000), RELU, LINEAR(2000, 2001), RELU, LINEAR(2001, 3), NULL});
    ck_assert(!solo_run(app.solo, prediction, second));
    tear_down();
}
END_TEST

START_TEST(solo_leaves_everything_to_a_queue_that_is_closed_or_busy)
{
    set_up_small();
    batcher_close(app.batcher);
    ck_assert(!solo_run(app.solo, prediction, second));
    tear_down();
}
END_TEST

START_TEST(solo_free_takes_null)
{
    solo_free(NULL);
}
END_TEST

UNIT_MAIN("server/solo", solo_gives_a_lone_request_the_bits_that_the_queue_gives,
          solo_leaves_what_comes_right_behind_an_answer_to_the_queue,
          solo_expects_company_for_a_while_after_there_was_some,
          solo_serves_one_connection_that_asks_again_and_again, solo_leaves_more_rows_than_a_batch_to_the_queue,
          solo_leaves_a_model_that_takes_long_to_the_queue,
          solo_leaves_everything_to_a_queue_that_is_closed_or_busy, solo_free_takes_null)
