/* The queue before a backend that a test holds in its hand: a batch ends when the test lets it, so that what has queued
 * meanwhile is known and no test waits for time to pass. */
#include "engine/batcher.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/unit/fixture.h"

enum { OUT = 2, LOG_BATCHES = 64, LOG_ROWS = 4096 };

/* What came in one batch: the first of each row's numbers. */
struct logged {
    size_t rows;
    size_t first; /* in stand_in.log_rows */
};

struct stand_in {
    struct backend base;
    struct model model;
    bool free_running; /* batches end by themselves, and are not logged */
    sem_t entered;     /* posted as a batch begins */
    sem_t permits;     /* waited for before it ends */

    pthread_mutex_t lock; /* guards all below */
    struct logged log[LOG_BATCHES];
    size_t log_count;
    float log_rows[LOG_ROWS];
    size_t log_row_count;
    size_t fail_batch;     /* the number of the batch that fails, from 1; 0: none */
    bool has_no_executors; /* for lack of memory */
};

struct executor {
    struct stand_in *backend;
    atomic_bool running;
};

static atomic_size_t executors; /* that live */

static enum status stand_in_executor_create(const struct backend *backend, struct executor **ret, struct error *err)
{
    struct stand_in *stand_in = (struct stand_in *)(uintptr_t)backend;
    pthread_mutex_lock(&stand_in->lock);
    bool refused = stand_in->has_no_executors;
    pthread_mutex_unlock(&stand_in->lock);
    if (refused)
        return error_set(err, STATUS_NO_MEMORY, "no room for an executor");
    atomic_fetch_add(&executors, 1);
    *ret = calloc(1, sizeof **ret);
    ck_assert_ptr_nonnull(*ret);
    (*ret)->backend = stand_in;
    return STATUS_OK;
}

static void stand_in_executor_free(struct executor *executor)
{
    if (!executor)
        return;
    atomic_fetch_sub(&executors, 1);
    free(executor);
}

static enum status stand_in_executor_move(struct executor *executor, const struct backend *to, struct error *err)
{
    (void)err;
    executor->backend = (struct stand_in *)(uintptr_t)to;
    return STATUS_OK;
}

static float row_number(const struct batch_part *part, size_t row)
{
    if (part->dtype == ROW_UINT8)
        return ((const uint8_t *)part->rows)[row];
    return ((const float *)part->rows)[row];
}

/* Returns the batch's number, from 1. */
static size_t log_batch(struct stand_in *stand_in, const struct batch_part *parts, size_t part_count)
{
    pthread_mutex_lock(&stand_in->lock);
    struct logged *logged = &stand_in->log[stand_in->log_count++];
    *logged = (struct logged){.first = stand_in->log_row_count};
    for (size_t i = 0; i < part_count; i++)
        for (size_t row = 0; row < parts[i].count; row++, logged->rows++)
            stand_in->log_rows[stand_in->log_row_count++] = row_number(&parts[i], row);
    size_t number = stand_in->log_count;
    pthread_mutex_unlock(&stand_in->lock);
    return number;
}

/* A row of number x is answered by logits x + 0.25 and x + 0.5, probabilities x + 1 and x + 2, and class x. */
static void answer_part(const struct batch_part *part)
{
    for (size_t row = 0; row < part->count; row++) {
        float x = row_number(part, row);
        part->logits[row * OUT] = x + 0.25f;
        part->logits[row * OUT + 1] = x + 0.5f;
        part->probabilities[row * OUT] = x + 1;
        part->probabilities[row * OUT + 1] = x + 2;
        part->classes[row] = (uint32_t)x;
    }
}

static enum status stand_in_run(struct executor *executor, const struct batch_part *parts, size_t part_count,
                                struct error *err)
{
    struct stand_in *stand_in = executor->backend;
    ck_assert(!atomic_exchange(&executor->running, true));
    size_t rows = 0, number = 0;
    for (size_t i = 0; i < part_count; rows += parts[i++].count)
        ck_assert_uint_gt(parts[i].count, 0);
    ck_assert_uint_le(rows, stand_in->base.batch_max);
    if (!stand_in->free_running) {
        number = log_batch(stand_in, parts, part_count);
        sem_post(&stand_in->entered);
        sem_wait(&stand_in->permits);
    }
    for (size_t i = 0; i < part_count; i++)
        answer_part(&parts[i]);
    atomic_store(&executor->running, false);
    if (number && number == stand_in->fail_batch)
        return error_set(err, STATUS_INTERNAL, "batch %zu broke", number);
    return STATUS_OK;
}

static const struct backend_ops stand_in_ops = {
    .executor_create = stand_in_executor_create,
    .run = stand_in_run,
    .executor_move = stand_in_executor_move,
    .executor_free = stand_in_executor_free,
};

static struct stand_in *stand_in_create(size_t batch_max)
{
    struct stand_in *stand_in = calloc(1, sizeof *stand_in);
    ck_assert_ptr_nonnull(stand_in);
    stand_in->model.in_features = 1;
    stand_in->model.out_features = OUT;
    stand_in->base = (struct backend){&stand_in_ops, &stand_in->model, batch_max, "cpu", "none"};
    sem_init(&stand_in->entered, 0, 0);
    sem_init(&stand_in->permits, 0, 0);
    pthread_mutex_init(&stand_in->lock, NULL);
    return stand_in;
}

static void stand_in_free(struct stand_in *stand_in)
{
    pthread_mutex_destroy(&stand_in->lock);
    sem_destroy(&stand_in->entered);
    sem_destroy(&stand_in->permits);
    free(stand_in);
}

static void wait_until_batch_begins(struct stand_in *stand_in)
{
    ck_assert_int_eq(sem_wait(&stand_in->entered), 0);
}

static void let_batches_end(struct stand_in *stand_in, size_t count)
{
    while (count--)
        sem_post(&stand_in->permits);
}

static void assert_batch(struct stand_in *stand_in, size_t index, const float *numbers, size_t count)
{
    pthread_mutex_lock(&stand_in->lock);
    ck_assert_uint_lt(index, stand_in->log_count);
    struct logged logged = stand_in->log[index];
    ck_assert_uint_eq(logged.rows, count);
    ck_assert_int_eq(memcmp(&stand_in->log_rows[logged.first], numbers, count * sizeof *numbers), 0);
    pthread_mutex_unlock(&stand_in->lock);
}

#define ASSERT_BATCH(stand_in, index, ...)                      \
    assert_batch(stand_in, index, (const float[]){__VA_ARGS__}, \
                 sizeof((const float[]){__VA_ARGS__}) / sizeof(float))

/* A job whose rows are numbered one after the other, and what it is answered with. */
struct task {
    struct job job; /* first: `done` finds the task through it */
    struct batcher *batcher;
    float *rows;
    uint8_t *bytes;
    struct error error;
    atomic_uint done_calls;
    sem_t done;
};

static void task_done(struct job *job)
{
    struct task *task = (struct task *)job;
    atomic_fetch_add(&task->done_calls, 1);
    sem_post(&task->done);
}

static struct task *task_create(size_t first, size_t count, enum row_dtype dtype)
{
    struct task *task = calloc(1, sizeof *task);
    ck_assert_ptr_nonnull(task);
    task->rows = calloc(count, sizeof *task->rows);
    task->bytes = calloc(count, 1);
    for (size_t i = 0; i < count; i++) {
        task->rows[i] = (float)(first + i);
        task->bytes[i] = (uint8_t)(first + i);
    }
    task->job = (struct job){
        .rows = dtype == ROW_UINT8 ? (const void *)task->bytes : (const void *)task->rows,
        .dtype = dtype,
        .count = count,
        .logits = calloc(count, OUT * sizeof(float)),
        .probabilities = calloc(count, OUT * sizeof(float)),
        .classes = calloc(count, sizeof(uint32_t)),
        .done = task_done,
        .error = &task->error,
    };
    sem_init(&task->done, 0, 0);
    return task;
}

static void task_free(struct task *task)
{
    free(task->rows);
    free(task->bytes);
    free(task->job.logits);
    free(task->job.probabilities);
    free(task->job.classes);
    sem_destroy(&task->done);
    free(task);
}

static struct task *submit(struct batcher *batcher, size_t first, size_t count)
{
    struct task *task = task_create(first, count, ROW_FLOAT32);
    struct error err = {0};
    enum status status = batcher_submit(batcher, &task->job, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return task;
}

static void assert_answered(const struct task *task)
{
    ck_assert_int_eq(task->job.status, STATUS_OK);
    for (size_t i = 0; i < task->job.count; i++) {
        float x = task->job.dtype == ROW_UINT8 ? task->bytes[i] : task->rows[i];
        ck_assert_float_eq(task->job.logits[i * OUT], x + 0.25f);
        ck_assert_float_eq(task->job.logits[i * OUT + 1], x + 0.5f);
        ck_assert_float_eq(task->job.probabilities[i * OUT], x + 1);
        ck_assert_float_eq(task->job.probabilities[i * OUT + 1], x + 2);
        ck_assert_uint_eq(task->job.classes[i], (uint32_t)x);
    }
}

static bool is_done(struct task *task)
{
    return atomic_load(&task->done_calls) > 0;
}

/* Waits for `done`, checks the answers, and frees the task. */
static void expect_answer(struct task *task)
{
    ck_assert_int_eq(sem_wait(&task->done), 0);
    assert_answered(task);
    ck_assert_uint_eq(atomic_load(&task->done_calls), 1);
    task_free(task);
}

static void expect_failure(struct task *task, enum status status, const char *message)
{
    ck_assert_int_eq(sem_wait(&task->done), 0);
    ck_assert_int_eq(task->job.status, status);
    if (task->job.error) {
        ck_assert_int_eq(task->error.status, status);
        ck_assert_str_eq(task->error.message, message);
    }
    ck_assert_uint_eq(atomic_load(&task->done_calls), 1);
    task_free(task);
}

/* The workers of the test at hand. */
static struct batch_workers *workers;

static struct batcher *create_with(const struct backend *backend, const struct batch_workers_options *options,
                                   size_t queue_max)
{
    struct batcher *batcher;
    struct error err = {0};
    enum status status = batch_workers_start(options, &workers, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    status = batcher_create(workers, backend, queue_max, (void *)(uintptr_t)backend, &batcher, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return batcher;
}

static struct batcher *create(const struct stand_in *stand_in, size_t count, size_t queue_max)
{
    const struct batch_workers_options options = {.workers = count, .batch_max = stand_in->base.batch_max};
    return create_with(&stand_in->base, &options, queue_max);
}

/* Answers what was accepted, and ends the workers. */
static void end(struct batcher *batcher)
{
    batcher_free(batcher);
    batch_workers_free(workers);
    workers = NULL;
    ck_assert_uint_eq(atomic_load(&executors), 0);
}

/* A batcher of one worker that is busy with *ret_blocker, a job of one row of number 200. */
static struct batcher *create_busy(struct stand_in *stand_in, size_t queue_max, struct task **ret_blocker)
{
    struct batcher *batcher = create(stand_in, 1, queue_max);
    *ret_blocker = submit(batcher, 200, 1);
    wait_until_batch_begins(stand_in);
    return batcher;
}

START_TEST(batcher_runs_what_is_queued_when_a_worker_is_free)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct batcher *batcher = create(stand_in, 1, 100);
    for (size_t i = 0; i < 3; i++) {
        struct task *task = submit(batcher, i, 1);
        wait_until_batch_begins(stand_in);
        assert_batch(stand_in, i, &(const float){(float)i}, 1);
        ck_assert(!is_done(task));
        let_batches_end(stand_in, 1);
        expect_answer(task);
    }
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_batches_all_that_queued_while_its_worker_was_busy)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *a = submit(batcher, 10, 2), *b = submit(batcher, 20, 1), *c = submit(batcher, 30, 3);
    ck_assert_uint_eq(batcher_queued_rows(batcher), 6);
    let_batches_end(stand_in, 1);
    expect_answer(blocker);
    wait_until_batch_begins(stand_in);
    ASSERT_BATCH(stand_in, 1, 10, 11, 20, 30, 31, 32);
    ck_assert_uint_eq(batcher_queued_rows(batcher), 0);
    let_batches_end(stand_in, 1);
    expect_answer(a);
    expect_answer(b);
    expect_answer(c);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_takes_no_more_than_batch_max_rows_at_once)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct task *blocker, *tasks[10];
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    for (size_t i = 0; i < 10; i++)
        tasks[i] = submit(batcher, i, 1);
    let_batches_end(stand_in, 4);
    expect_answer(blocker);
    for (size_t i = 0; i < 10; i++)
        expect_answer(tasks[i]);
    ck_assert_uint_eq(stand_in->log_count, 4);
    ASSERT_BATCH(stand_in, 1, 0, 1, 2, 3);
    ASSERT_BATCH(stand_in, 2, 4, 5, 6, 7);
    ASSERT_BATCH(stand_in, 3, 8, 9);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_cuts_a_large_job_and_answers_it_in_order)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *task = submit(batcher, 0, 11);
    for (size_t i = 0; i < 3; i++) {
        wait_until_batch_begins(stand_in);
        ck_assert(!is_done(task));
        let_batches_end(stand_in, 1);
    }
    expect_answer(task);
    ASSERT_BATCH(stand_in, 0, 0, 1, 2, 3);
    ASSERT_BATCH(stand_in, 1, 4, 5, 6, 7);
    ASSERT_BATCH(stand_in, 2, 8, 9, 10);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_cuts_a_job_of_bytes_at_whole_rows)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *task = task_create(100, 9, ROW_UINT8);
    ck_assert_int_eq(batcher_submit(batcher, &task->job, NULL), STATUS_OK);
    let_batches_end(stand_in, 3);
    expect_answer(task);
    ASSERT_BATCH(stand_in, 2, 108);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_mixes_jobs_of_bytes_and_of_floats_in_one_batch)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *bytes = task_create(50, 2, ROW_UINT8);
    ck_assert_int_eq(batcher_submit(batcher, &bytes->job, NULL), STATUS_OK);
    struct task *floats = submit(batcher, 60, 2);
    let_batches_end(stand_in, 2);
    expect_answer(blocker);
    expect_answer(bytes);
    expect_answer(floats);
    ASSERT_BATCH(stand_in, 1, 50, 51, 60, 61);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

/* The first batch of the large job runs when the row comes; one more of it may be before the row, not all nine. */
START_TEST(batcher_lets_a_row_behind_a_large_job_wait_for_one_batch_only)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *large = submit(batcher, 0, 40);
    wait_until_batch_begins(stand_in);
    struct task *row = submit(batcher, 100, 1);
    let_batches_end(stand_in, 3);
    expect_answer(row);
    ck_assert(!is_done(large));
    let_batches_end(stand_in, 8);
    expect_answer(large);
    ck_assert_uint_eq(stand_in->log_count, 11);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_takes_turns_between_large_jobs)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *a = submit(batcher, 0, 8), *b = submit(batcher, 50, 8);
    let_batches_end(stand_in, 5);
    expect_answer(blocker);
    expect_answer(a);
    expect_answer(b);
    ASSERT_BATCH(stand_in, 1, 0, 1, 2, 3);
    ASSERT_BATCH(stand_in, 2, 50, 51, 52, 53);
    ASSERT_BATCH(stand_in, 3, 4, 5, 6, 7);
    ASSERT_BATCH(stand_in, 4, 54, 55, 56, 57);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

static void assert_refused(struct batcher *batcher, size_t count, const char *in_message)
{
    struct task *task = task_create(0, count, ROW_FLOAT32);
    struct error err = {0};
    ck_assert_int_eq(batcher_submit(batcher, &task->job, &err), STATUS_OVERLOADED);
    ck_assert_int_eq(err.status, STATUS_OVERLOADED);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "%s", err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_uint_eq(atomic_load(&task->done_calls), 0);
    task_free(task);
}

START_TEST(batcher_refuses_what_does_not_fit_its_queue_and_answers_the_rest)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 5, &blocker);
    struct task *a = submit(batcher, 10, 3);
    assert_refused(batcher, 3, "3 rows wait, 3 more do not fit --queue-max 5");
    struct task *b = submit(batcher, 20, 2); /* to the last place */
    assert_refused(batcher, 1, "5 rows wait");
    ck_assert_uint_eq(batcher_queued_rows(batcher), 5);
    let_batches_end(stand_in, 2);
    expect_answer(blocker);
    expect_answer(a);
    expect_answer(b);
    struct task *later = submit(batcher, 30, 5);
    let_batches_end(stand_in, 1);
    expect_answer(later);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_refuses_a_job_larger_than_its_queue_even_when_idle)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct batcher *batcher = create(stand_in, 1, 5);
    assert_refused(batcher, 6, "--queue-max 5");
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_refuses_jobs_after_close_and_answers_those_accepted_before)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *a = submit(batcher, 10, 6), *b = submit(batcher, 20, 1);
    batcher_close(batcher);
    assert_refused(batcher, 1, "shutting down");
    batcher_close(batcher); /* once more does no harm */
    let_batches_end(stand_in, 3);
    end(batcher);
    expect_answer(blocker);
    expect_answer(a);
    expect_answer(b);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_free_answers_what_was_accepted)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *a = submit(batcher, 10, 9);
    let_batches_end(stand_in, 4);
    end(batcher);
    ck_assert(is_done(blocker) && is_done(a));
    expect_answer(blocker);
    expect_answer(a);
    batcher_free(NULL);
    batch_workers_free(NULL);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_gives_a_failure_to_the_jobs_of_that_batch_alone)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    stand_in->fail_batch = 2;
    struct task *a = submit(batcher, 10, 2), *b = task_create(20, 2, ROW_FLOAT32);
    b->job.error = NULL; /* whoever wants no text gives no place for it */
    ck_assert_int_eq(batcher_submit(batcher, &b->job, NULL), STATUS_OK);
    struct task *c = submit(batcher, 30, 1);
    let_batches_end(stand_in, 3);
    expect_answer(blocker);
    expect_failure(a, STATUS_INTERNAL, "batch 2 broke");
    expect_failure(b, STATUS_INTERNAL, "");
    expect_answer(c);
    struct task *later = submit(batcher, 40, 1);
    let_batches_end(stand_in, 1);
    expect_answer(later);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_fails_a_large_job_of_which_one_batch_failed)
{
    struct stand_in *stand_in = stand_in_create(4);
    stand_in->fail_batch = 1;
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *large = submit(batcher, 0, 12);
    let_batches_end(stand_in, 3);
    expect_failure(large, STATUS_INTERNAL, "batch 1 broke");
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

/* Both batches have begun and none has ended: they are two workers'. Again and again, since the second worker is woken
 * where it sleeps, and comes by itself where it does not yet. */
START_TEST(batcher_shares_a_large_job_between_two_workers)
{
    struct stand_in *stand_in = stand_in_create(64);
    struct batcher *batcher = create(stand_in, 2, 1000);
    for (size_t i = 1; i <= 20; i++) {
        struct task *large = submit(batcher, 0, 128);
        wait_until_batch_begins(stand_in);
        wait_until_batch_begins(stand_in);
        ck_assert(!is_done(large));
        ck_assert_uint_eq(stand_in->log_count, 2 * i);
        let_batches_end(stand_in, 2);
        expect_answer(large);
    }
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_leaves_a_small_batch_whole_though_other_workers_are_idle)
{
    struct stand_in *stand_in = stand_in_create(64);
    struct batcher *batcher = create(stand_in, 4, 1000);
    for (size_t i = 0; i < 5; i++) {
        struct task *task = submit(batcher, 0, 40);
        let_batches_end(stand_in, 1);
        expect_answer(task);
        ck_assert_uint_eq(stand_in->log_count, i + 1);
    }
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

static void submit_again(struct job *job)
{
    struct task *task = (struct task *)job;
    if (atomic_fetch_add(&task->done_calls, 1) < 9)
        ck_assert_int_eq(batcher_submit(task->batcher, job, NULL), STATUS_OK);
    else
        sem_post(&task->done);
}

START_TEST(batcher_takes_a_job_again_inside_its_own_done)
{
    struct stand_in *stand_in = stand_in_create(4);
    stand_in->free_running = true;
    struct batcher *batcher = create(stand_in, 2, 100);
    struct task *task = task_create(7, 6, ROW_FLOAT32);
    task->batcher = batcher;
    task->job.done = submit_again;
    ck_assert_int_eq(batcher_submit(batcher, &task->job, NULL), STATUS_OK);
    ck_assert_int_eq(sem_wait(&task->done), 0);
    batcher_free(batcher);
    assert_answered(task);
    ck_assert_uint_eq(atomic_load(&task->done_calls), 10);
    task_free(task);
    stand_in_free(stand_in);
}
END_TEST

static atomic_uint freed_tasks;

static void check_and_free(struct job *job)
{
    struct task *task = (struct task *)job;
    assert_answered(task);
    task_free(task);
    atomic_fetch_add(&freed_tasks, 1);
}

/* The address sanitizer sees a batcher that reads the job once more. */
START_TEST(batcher_does_not_touch_a_job_after_its_done)
{
    enum { TASKS = 50 };
    struct stand_in *stand_in = stand_in_create(4);
    stand_in->free_running = true;
    struct batcher *batcher = create(stand_in, 2, 1000);
    for (size_t i = 0; i < TASKS; i++) {
        struct task *task = task_create(i, 1 + i % 9, ROW_FLOAT32);
        task->job.done = check_and_free;
        ck_assert_int_eq(batcher_submit(batcher, &task->job, NULL), STATUS_OK);
    }
    end(batcher);
    ck_assert_uint_eq(atomic_load(&freed_tasks), TASKS);
    stand_in_free(stand_in);
}
END_TEST

/* ---- many threads ---- */

enum { SENDERS = 6, SENDER_TASKS = 150, SENDER_WINDOW = 5 };

struct sender {
    struct batcher *batcher;
    size_t seed;
    size_t refusals;
    pthread_t thread;
};

/* The same job until it is taken. */
static void submit_stubbornly(struct sender *sender, struct task *task)
{
    struct error err;
    while (batcher_submit(sender->batcher, &task->job, &err) != STATUS_OK) {
        ck_assert_int_eq(err.status, STATUS_OVERLOADED);
        ck_assert_uint_eq(atomic_load(&task->done_calls), 0);
        sender->refusals++;
        sched_yield();
    }
}

static void *sender_main(void *argument)
{
    struct sender *sender = argument;
    struct task *window[SENDER_WINDOW] = {0};
    for (size_t i = 0; i < SENDER_TASKS; i++) {
        struct task **place = &window[i % SENDER_WINDOW];
        if (*place)
            expect_answer(*place);
        *place = task_create(i % 200, 1 + (i * 7 + sender->seed) % 23, i % 3 ? ROW_FLOAT32 : ROW_UINT8);
        submit_stubbornly(sender, *place);
    }
    for (size_t i = 0; i < SENDER_WINDOW; i++)
        expect_answer(window[i]);
    return NULL;
}

START_TEST(batcher_answers_each_job_of_many_threads_exactly_once)
{
    struct stand_in *stand_in = stand_in_create(16);
    stand_in->free_running = true;
    struct batcher *batcher = create(stand_in, 3, 64);
    struct sender senders[SENDERS];
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.batcher = batcher, .seed = i};
        ck_assert_int_eq(pthread_create(&senders[i].thread, NULL, sender_main, &senders[i]), 0);
    }
    for (size_t i = 0; i < SENDERS; i++)
        ck_assert_int_eq(pthread_join(senders[i].thread, NULL), 0);
    ck_assert_uint_eq(batcher_queued_rows(batcher), 0);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_fails_the_jobs_of_a_worker_that_gets_no_executor)
{
    struct stand_in *stand_in = stand_in_create(4);
    stand_in->has_no_executors = true;
    struct batcher *batcher = create(stand_in, 1, 100);
    expect_failure(submit(batcher, 10, 2), STATUS_NO_MEMORY, "no room for an executor");
    pthread_mutex_lock(&stand_in->lock);
    stand_in->has_no_executors = false;
    pthread_mutex_unlock(&stand_in->lock);
    struct task *later = submit(batcher, 20, 1);
    let_batches_end(stand_in, 1);
    expect_answer(later);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

/* ---- several models ---- */

/* A second model for the workers of the first. */
static struct batcher *create_beside(const struct stand_in *stand_in, size_t queue_max)
{
    struct batcher *batcher;
    ck_assert_int_eq(batcher_create(workers, &stand_in->base, queue_max, NULL, &batcher, NULL), STATUS_OK);
    return batcher;
}

START_TEST(batchers_take_turns_however_much_one_of_them_has_queued)
{
    struct stand_in *busy = stand_in_create(4), *calm = stand_in_create(4);
    struct task *blocker;
    struct batcher *first = create_busy(busy, 100, &blocker), *second = create_beside(calm, 100);
    struct task *flood = submit(first, 0, 40), *row = submit(second, 50, 1);
    let_batches_end(calm, 1);
    let_batches_end(busy, 2); /* the blocker, and one batch of the flood's ten */
    expect_answer(blocker);
    expect_answer(row);
    ck_assert(!is_done(flood));
    let_batches_end(busy, 9);
    expect_answer(flood);
    ASSERT_BATCH(calm, 0, 50);
    batcher_free(second);
    end(first);
    stand_in_free(busy);
    stand_in_free(calm);
}
END_TEST

START_TEST(batcher_that_is_full_leaves_the_others_their_places)
{
    struct stand_in *full = stand_in_create(4), *calm = stand_in_create(4);
    struct task *blocker;
    struct batcher *first = create_busy(full, 3, &blocker), *second = create_beside(calm, 3);
    struct task *last = submit(first, 0, 3);
    assert_refused(first, 1, "3 rows wait");
    struct task *other = submit(second, 50, 3);
    ck_assert_uint_eq(batch_workers_queued_rows(workers), 6);
    let_batches_end(full, 2);
    let_batches_end(calm, 1);
    expect_answer(blocker);
    expect_answer(last);
    expect_answer(other);
    batcher_free(second);
    end(first);
    stand_in_free(full);
    stand_in_free(calm);
}
END_TEST

START_TEST(batcher_ends_while_the_workers_go_on_with_another)
{
    struct stand_in *kept = stand_in_create(4);
    kept->free_running = true;
    struct batcher *first = create(kept, 2, 100);
    for (size_t i = 0; i < 50; i++) {
        struct stand_in *passing = stand_in_create(1 + i % 4);
        passing->free_running = true;
        struct batcher *second = create_beside(passing, 100);
        struct task *a = submit(first, i, 3), *b = submit(second, i, 5);
        batcher_free(second);
        ck_assert(is_done(b));
        expect_answer(a);
        expect_answer(b);
        stand_in_free(passing);
    }
    end(first);
    stand_in_free(kept);
}
END_TEST

/* ---- with the CPU's backend ---- */

enum { ROWS = 70, IN = 20, CLASSES = 7 };

static void run_alone(const struct backend *backend, const float *rows, float *logits)
{
    struct executor *executor;
    float probabilities[CLASSES];
    uint32_t class;
    ck_assert_int_eq(backend->ops->executor_create(backend, &executor, NULL), STATUS_OK);
    for (size_t i = 0; i < ROWS; i++) {
        const struct batch_part part = {.rows = rows + i * IN,
                                        .count = 1,
                                        .logits = logits + i * CLASSES,
                                        .probabilities = probabilities,
                                        .classes = &class};
        ck_assert_int_eq(backend->ops->run(executor, &part, 1, NULL), STATUS_OK);
    }
    backend->ops->executor_free(executor);
}

/* Jobs of 1, 2, 3, ... rows over all rows, all at once. Returns how many there are. */
static size_t submit_in_pieces(struct batcher *batcher, const float *rows, float *logits, float *probabilities,
                               uint32_t *classes, struct task *tasks)
{
    size_t count = 0;
    for (size_t at = 0; at < ROWS; at += tasks[count++].job.count) {
        struct task *task = &tasks[count];
        sem_init(&task->done, 0, 0);
        task->job = (struct job){.rows = rows + at * IN,
                                 .count = count + 1 < ROWS - at ? count + 1 : ROWS - at,
                                 .logits = logits + at * CLASSES,
                                 .probabilities = probabilities + at * CLASSES,
                                 .classes = classes + at,
                                 .done = task_done,
                                 .error = &task->error};
        ck_assert_int_eq(batcher_submit(batcher, &task->job, NULL), STATUS_OK);
    }
    return count;
}

static void assert_same_bits(const struct model *model, const char *kernels)
{
    static float rows[ROWS * IN], alone[ROWS * CLASSES], logits[ROWS * CLASSES], probabilities[ROWS * CLASSES];
    static uint32_t classes[ROWS];
    static struct task tasks[ROWS];
    struct backend *backend;
    const struct batch_workers_options options = {.workers = 2, .batch_max = 9};
    fixture_fill(rows, ROWS * IN, 5);
    memset(logits, 0, sizeof logits);
    ck_assert_int_eq(backend_cpu_create(model, kernels, 9, &backend, NULL), STATUS_OK);
    run_alone(backend, rows, alone);
    struct batcher *batcher = create_with(backend, &options, ROWS);
    size_t count = submit_in_pieces(batcher, rows, logits, probabilities, classes, tasks);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(sem_wait(&tasks[i].done), 0);
    end(batcher);
    backend->ops->free(backend);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(tasks[i].job.status, STATUS_OK);
        sem_destroy(&tasks[i].done);
    }
    ck_assert_mem_eq(logits, alone, sizeof logits);
}

START_TEST(batcher_gives_a_row_the_same_bits_in_any_batch)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(20, 33), RELU, LINEAR(33, 7), NULL}, NULL);
    for (size_t i = 0; kernels_all[i]; i++) {
        if (kernels_all[i]->supported())
            assert_same_bits(model, kernels_all[i]->name);
        else
            UNIT_SKIP("this processor does not run the kernels %s", kernels_all[i]->name);
    }
    model_free(model);
}
END_TEST

/* Jobs whose clients have gone, by the number of their first row. */
static float gone_number = -1;

static void mark_gone(void *context, struct job *const *jobs, size_t count, bool *gone)
{
    ck_assert_ptr_eq(context, &gone_number);
    for (size_t i = 0; i < count; i++)
        gone[i] = *(const float *)jobs[i]->rows == gone_number;
}

static atomic_size_t observed_batches, observed_rows;

static void observe(void *context, const struct batch_report *report)
{
    ck_assert_ptr_eq(context, &gone_number);
    ck_assert_uint_eq(report->worker, 0);
    ck_assert_int_ge(report->compute_ns, 0);
    atomic_fetch_add(&observed_batches, 1);
    atomic_fetch_add(&observed_rows, report->rows);
}

static struct batcher *create_watched(const struct stand_in *stand_in, int64_t delay_ns)
{
    const struct batch_workers_options options = {.workers = 1,
                                                  .batch_max = stand_in->base.batch_max,
                                                  .delay_ns = delay_ns,
                                                  .context = &gone_number,
                                                  .mark_gone = mark_gone,
                                                  .observe = observe};
    return create_with(&stand_in->base, &options, 100);
}

START_TEST(batcher_takes_back_a_job_that_waits)
{
    struct stand_in *stand_in = stand_in_create(8);
    struct task *blocker;
    struct batcher *batcher = create_busy(stand_in, 100, &blocker);
    struct task *a = submit(batcher, 10, 2), *b = submit(batcher, 20, 1), *c = submit(batcher, 30, 1);
    ck_assert(batcher_withdraw(batcher, &b->job));
    ck_assert_uint_eq(batcher_queued_rows(batcher), 3);
    ck_assert(!batcher_withdraw(batcher, &blocker->job));
    let_batches_end(stand_in, 1);
    expect_answer(blocker);
    wait_until_batch_begins(stand_in);
    ASSERT_BATCH(stand_in, 1, 10, 11, 30);
    let_batches_end(stand_in, 1);
    expect_answer(a);
    expect_answer(c);
    ck_assert(!is_done(b));
    task_free(b);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_drops_what_waits_of_a_job_that_runs)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *large = submit(batcher, 0, 10);
    wait_until_batch_begins(stand_in);
    ck_assert_uint_eq(batcher_queued_rows(batcher), 6);
    ck_assert(!batcher_withdraw(batcher, &large->job));
    ck_assert_uint_eq(batcher_queued_rows(batcher), 0);
    let_batches_end(stand_in, 1);
    ck_assert_int_eq(sem_wait(&large->done), 0);
    ck_assert_uint_eq(atomic_load(&large->done_calls), 1);
    task_free(large);
    end(batcher);
    ck_assert_uint_eq(stand_in->log_count, 1);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_calls_done_for_no_job_that_was_taken_back_between_two_of_its_batches)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 1, 100);
    struct task *large = submit(batcher, 0, 8);
    wait_until_batch_begins(stand_in);
    struct task *other = submit(batcher, 50, 4);
    let_batches_end(stand_in, 1);
    wait_until_batch_begins(stand_in);
    bool over = batcher_withdraw(batcher, &large->job); /* whichever of the two runs now */
    let_batches_end(stand_in, 2);
    expect_answer(other);
    if (!over)
        ck_assert_int_eq(sem_wait(&large->done), 0);
    end(batcher);
    ck_assert_uint_eq(atomic_load(&large->done_calls), !over);
    task_free(large);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_drops_jobs_that_nobody_waits_for_before_it_runs_them)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create_watched(stand_in, 0);
    struct task *blocker = submit(batcher, 200, 1);
    wait_until_batch_begins(stand_in);
    gone_number = 20;
    struct task *a = submit(batcher, 10, 1), *b = submit(batcher, 20, 9), *c = submit(batcher, 30, 1);
    let_batches_end(stand_in, 1);
    expect_answer(blocker);
    wait_until_batch_begins(stand_in); /* 10, with three rows of 20 beside it that are dropped */
    ASSERT_BATCH(stand_in, 1, 10);
    let_batches_end(stand_in, 2);
    expect_answer(a);
    ck_assert_int_eq(sem_wait(&b->done), 0);
    ck_assert_int_eq(b->job.status, STATUS_CANCELLED);
    expect_answer(c);
    ck_assert_uint_eq(batcher_queued_rows(batcher), 0);
    end(batcher);
    ck_assert_uint_eq(stand_in->log_row_count, 3);
    ck_assert_uint_eq(atomic_load(&observed_batches), 3);
    ck_assert_uint_eq(atomic_load(&observed_rows), 3);
    task_free(b);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_with_a_delay_runs_as_soon_as_a_batch_is_full)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create_watched(stand_in, INT64_C(3600000000000));
    struct task *tasks[4];
    gone_number = -1;
    for (size_t i = 0; i < 4; i++)
        tasks[i] = submit(batcher, 10 * i, 1);
    wait_until_batch_begins(stand_in);
    ASSERT_BATCH(stand_in, 0, 0, 10, 20, 30);
    let_batches_end(stand_in, 1);
    for (size_t i = 0; i < 4; i++)
        expect_answer(tasks[i]);
    struct task *last = submit(batcher, 70, 1);
    let_batches_end(stand_in, 1);
    end(batcher); /* closing ends the wait */
    expect_answer(last);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_with_a_delay_runs_what_there_is_when_it_is_over)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create_watched(stand_in, 1000000);
    gone_number = -1;
    struct task *task = submit(batcher, 10, 1);
    let_batches_end(stand_in, 1);
    expect_answer(task);
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

START_TEST(batcher_tells_how_long_a_batch_has_been_running)
{
    struct stand_in *stand_in = stand_in_create(4);
    struct batcher *batcher = create(stand_in, 2, 100);
    ck_assert_int_eq(batch_workers_busy_ns(workers), 0);
    struct task *task = submit(batcher, 10, 1);
    wait_until_batch_begins(stand_in);
    while (batch_workers_busy_ns(workers) < 2000000)
        sched_yield();
    let_batches_end(stand_in, 1);
    expect_answer(task);
    while (batch_workers_busy_ns(workers))
        sched_yield();
    end(batcher);
    stand_in_free(stand_in);
}
END_TEST

UNIT_MAIN("engine/batcher", batcher_runs_what_is_queued_when_a_worker_is_free,
          batcher_batches_all_that_queued_while_its_worker_was_busy,
          batcher_takes_no_more_than_batch_max_rows_at_once, batcher_cuts_a_large_job_and_answers_it_in_order,
          batcher_cuts_a_job_of_bytes_at_whole_rows, batcher_mixes_jobs_of_bytes_and_of_floats_in_one_batch,
          batcher_lets_a_row_behind_a_large_job_wait_for_one_batch_only, batcher_takes_turns_between_large_jobs,
          batcher_refuses_what_does_not_fit_its_queue_and_answers_the_rest,
          batcher_refuses_a_job_larger_than_its_queue_even_when_idle,
          batcher_refuses_jobs_after_close_and_answers_those_accepted_before,
          batcher_free_answers_what_was_accepted, batcher_gives_a_failure_to_the_jobs_of_that_batch_alone,
          batcher_fails_a_large_job_of_which_one_batch_failed, batcher_shares_a_large_job_between_two_workers,
          batcher_leaves_a_small_batch_whole_though_other_workers_are_idle,
          batcher_takes_a_job_again_inside_its_own_done, batcher_does_not_touch_a_job_after_its_done,
          batcher_answers_each_job_of_many_threads_exactly_once,
          batcher_fails_the_jobs_of_a_worker_that_gets_no_executor,
          batchers_take_turns_however_much_one_of_them_has_queued,
          batcher_that_is_full_leaves_the_others_their_places, batcher_ends_while_the_workers_go_on_with_another,
          batcher_gives_a_row_the_same_bits_in_any_batch, batcher_takes_back_a_job_that_waits,
          batcher_drops_what_waits_of_a_job_that_runs,
          batcher_calls_done_for_no_job_that_was_taken_back_between_two_of_its_batches,
          batcher_drops_jobs_that_nobody_waits_for_before_it_runs_them,
          batcher_with_a_delay_runs_as_soon_as_a_batch_is_full,
          batcher_with_a_delay_runs_what_there_is_when_it_is_over, batcher_tells_how_long_a_batch_has_been_running)
