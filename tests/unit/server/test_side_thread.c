#include "server/side_thread.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/unit/unit.h"

enum { TASKS = 100 };

struct task {
    struct side_task side; /* first: `run` finds the task through it */
    size_t number;
    struct side_thread *thread;
    size_t runs;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t order[TASKS * 8]; /* guarded by `lock`, as is order_count */
static size_t order_count;
static sem_t permit, ran;
static atomic_bool running;

static struct side_thread *start(void)
{
    struct side_thread *side;
    struct error err = {0};
    enum status status = side_thread_start(1, &side, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    order_count = 0;
    sem_init(&permit, 0, 0);
    sem_init(&ran, 0, 0);
    return side;
}

static void note(struct side_task *side)
{
    const struct task *task = (const struct task *)side;
    ck_assert(!atomic_exchange(&running, true)); /* one after the other */
    pthread_mutex_lock(&lock);
    order[order_count++] = task->number;
    pthread_mutex_unlock(&lock);
    atomic_store(&running, false);
}

static void wait_for_permit(struct side_task *side)
{
    note(side);
    sem_wait(&permit);
}

START_TEST(side_thread_runs_tasks_in_the_order_of_their_pushes)
{
    static struct task tasks[TASKS];
    struct side_thread *side = start();
    for (size_t i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){.side = {.run = note}, .number = i};
        side_thread_push(side, &tasks[i].side);
    }
    side_thread_free(side);
    ck_assert_uint_eq(order_count, TASKS);
    for (size_t i = 0; i < TASKS; i++)
        ck_assert_uint_eq(order[i], i);
}
END_TEST

START_TEST(side_thread_does_not_hold_up_whoever_pushes)
{
    struct task first = {.side = {.run = wait_for_permit}}, second = {.side = {.run = note}, .number = 1};
    struct side_thread *side = start();
    side_thread_push(side, &first.side);
    side_thread_push(side, &second.side); /* returns though the first cannot end before the next line */
    sem_post(&permit);
    side_thread_free(side);
    ck_assert_uint_eq(order_count, 2);
}
END_TEST

START_TEST(side_thread_free_runs_what_was_pushed)
{
    static struct task tasks[TASKS];
    struct task blocker = {.side = {.run = wait_for_permit}};
    struct side_thread *side = start();
    side_thread_push(side, &blocker.side);
    for (size_t i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){.side = {.run = note}, .number = i};
        side_thread_push(side, &tasks[i].side);
    }
    sem_post(&permit);
    side_thread_free(side);
    ck_assert_uint_eq(order_count, TASKS + 1);
    side_thread_free(NULL);
    side_thread_free(start()); /* without a task */
}
END_TEST

static void free_itself(struct side_task *side)
{
    note(side);
    free(side);
}

START_TEST(side_thread_lets_a_task_be_freed_inside_it)
{
    struct side_thread *side = start();
    for (size_t i = 0; i < TASKS; i++) {
        struct task *task = calloc(1, sizeof *task);
        ck_assert_ptr_nonnull(task);
        task->side.run = free_itself;
        side_thread_push(side, &task->side);
    }
    side_thread_free(side);
    ck_assert_uint_eq(order_count, TASKS);
}
END_TEST

static void push_again(struct side_task *side)
{
    struct task *task = (struct task *)side;
    note(side);
    if (++task->runs < 10)
        side_thread_push(task->thread, side);
    else
        sem_post(&ran);
}

START_TEST(side_thread_lets_a_task_be_pushed_again_inside_it)
{
    struct side_thread *side = start();
    struct task task = {.side = {.run = push_again}, .thread = side};
    side_thread_push(side, &task.side);
    sem_wait(&ran);
    side_thread_free(side);
    ck_assert_uint_eq(task.runs, 10);
}
END_TEST

static void *push_many(void *argument)
{
    struct task *tasks = argument;
    for (size_t i = 0; i < TASKS; i++)
        side_thread_push(tasks[i].thread, &tasks[i].side);
    return NULL;
}

START_TEST(side_thread_takes_tasks_from_many_threads_and_keeps_the_order_of_each)
{
    enum { PUSHERS = 4 };
    static struct task tasks[PUSHERS][TASKS];
    pthread_t pushers[PUSHERS];
    size_t next[PUSHERS] = {0};
    struct side_thread *side = start();
    for (size_t p = 0; p < PUSHERS; p++) {
        for (size_t i = 0; i < TASKS; i++)
            tasks[p][i] = (struct task){.side = {.run = note}, .number = p * TASKS + i, .thread = side};
        ck_assert_int_eq(pthread_create(&pushers[p], NULL, push_many, tasks[p]), 0);
    }
    for (size_t p = 0; p < PUSHERS; p++)
        ck_assert_int_eq(pthread_join(pushers[p], NULL), 0);
    side_thread_free(side);
    ck_assert_uint_eq(order_count, PUSHERS * TASKS);
    for (size_t i = 0; i < order_count; i++)
        ck_assert_uint_eq(order[i] % TASKS, next[order[i] / TASKS]++);
}
END_TEST

static sem_t both;

static void wait_for_the_other(struct side_task *task)
{
    (void)task;
    sem_post(&both);
    int posted = 0;
    while (posted < 2) {
        sem_getvalue(&both, &posted);
        sched_yield();
    }
}

START_TEST(side_thread_runs_as_many_tasks_at_once_as_it_has_threads)
{
    struct side_thread *side;
    struct error err = {0};
    struct side_task tasks[2] = {{.run = wait_for_the_other}, {.run = wait_for_the_other}};
    sem_init(&both, 0, 0);
    ck_assert_int_eq(side_thread_start(2, &side, &err), STATUS_OK);
    side_thread_push(side, &tasks[0]);
    side_thread_push(side, &tasks[1]);
    side_thread_free(side); /* each task ends when both have begun */
    sem_destroy(&both);
}
END_TEST

UNIT_MAIN("server/side_thread", side_thread_runs_tasks_in_the_order_of_their_pushes,
          side_thread_does_not_hold_up_whoever_pushes, side_thread_free_runs_what_was_pushed,
          side_thread_lets_a_task_be_freed_inside_it, side_thread_lets_a_task_be_pushed_again_inside_it,
          side_thread_takes_tasks_from_many_threads_and_keeps_the_order_of_each,
          side_thread_runs_as_many_tasks_at_once_as_it_has_threads)
