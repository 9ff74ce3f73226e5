#include "server/side_thread.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct side_thread {
    pthread_t *threads;
    size_t count;         /* that were started */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t pushed;
    struct side_task *head, **tail; /* *tail is the NULL at the end */
    bool closed;
};

/* The next task, waited for; NULL when closed and empty. */
static struct side_task *next_task(struct side_thread *side)
{
    pthread_mutex_lock(&side->lock);
    while (!side->head && !side->closed)
        pthread_cond_wait(&side->pushed, &side->lock);
    struct side_task *task = side->head;
    if (task) {
        side->head = task->next;
        if (!side->head)
            side->tail = &side->head;
    }
    pthread_mutex_unlock(&side->lock);
    return task;
}

static void *side_main(void *argument)
{
    struct side_task *task;
    while ((task = next_task(argument)))
        task->run(task);
    return NULL;
}

static bool start_threads(struct side_thread *side, size_t count)
{
    side->threads = calloc(count, sizeof *side->threads);
    if (!side->threads)
        return false;
    while (side->count < count && pthread_create(&side->threads[side->count], NULL, side_main, side) == 0)
        side->count++;
    return side->count == count;
}

enum status side_thread_start(size_t count, struct side_thread **ret, struct error *err)
{
    struct side_thread *side = calloc(1, sizeof *side);
    if (!side)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a thread");
    pthread_mutex_init(&side->lock, NULL);
    pthread_cond_init(&side->pushed, NULL);
    side->tail = &side->head;
    if (start_threads(side, count)) {
        *ret = side;
        return STATUS_OK;
    }
    side_thread_free(side);
    error_set(err, STATUS_IO, "a thread could not be started");
    return error_hint(err, "raise the limit on processes (ulimit -u)");
}

void side_thread_push(struct side_thread *side, struct side_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&side->lock);
    *side->tail = task;
    side->tail = &task->next;
    pthread_cond_signal(&side->pushed);
    pthread_mutex_unlock(&side->lock);
}

void side_thread_free(struct side_thread *side)
{
    if (!side)
        return;
    pthread_mutex_lock(&side->lock);
    side->closed = true;
    pthread_cond_broadcast(&side->pushed);
    pthread_mutex_unlock(&side->lock);
    for (size_t i = 0; i < side->count; i++)
        pthread_join(side->threads[i], NULL);
    free(side->threads);
    pthread_cond_destroy(&side->pushed);
    pthread_mutex_destroy(&side->lock);
    free(side);
}
