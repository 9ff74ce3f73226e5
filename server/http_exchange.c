#include "server/http_exchange.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    KEEP_BYTES = 64 * 1024, /* of an exchange's buffers, from one request to the next */
    SPARE_MAX = 256,        /* exchanges kept for later; what a flood of connections took goes back */
};

static void exchange_free(const struct exchange_pool *pool, struct exchange *exchange)
{
    if (exchange->request.state && pool->options->state_free)
        pool->options->state_free(exchange->request.state);
    buffer_free(&exchange->request.body);
    buffer_free(&exchange->request.reply.body);
    free(exchange);
}

static struct exchange *exchange_create(const struct exchange_pool *pool)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->request.context = pool->context;
    if (!pool->options->state_create)
        return exchange;
    exchange->request.state = pool->options->state_create(pool->context);
    if (exchange->request.state)
        return exchange;
    free(exchange);
    return NULL;
}

void exchange_pool_init(struct exchange_pool *pool, const struct http_options *options, void *context)
{
    *pool = (struct exchange_pool){.options = options, .context = context};
    pthread_mutex_init(&pool->lock, NULL);
}

void exchange_pool_destroy(struct exchange_pool *pool)
{
    while (pool->spare) {
        struct exchange *exchange = pool->spare;
        pool->spare = exchange->next;
        exchange_free(pool, exchange);
    }
    pthread_mutex_destroy(&pool->lock);
}

static struct exchange *take_spare(struct exchange_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct exchange *exchange = pool->spare;
    if (exchange) {
        pool->spare = exchange->next;
        pool->spare_count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return exchange;
}

struct exchange *exchange_take(struct exchange_pool *pool, struct http_loop *loop,
                               struct MHD_Connection *connection, int fd)
{
    struct exchange *exchange = take_spare(pool);
    if (!exchange)
        exchange = exchange_create(pool);
    if (!exchange)
        return NULL;
    exchange->loop = loop;
    exchange->connection = connection;
    exchange->fd = fd;
    atomic_init(&exchange->reading_body, true);
    atomic_fetch_add(&pool->alive, 1);

    pthread_mutex_lock(&pool->lock);
    exchange->previous = NULL;
    exchange->next = pool->first_alive;
    if (exchange->next)
        exchange->next->previous = exchange;
    pool->first_alive = exchange;
    pthread_mutex_unlock(&pool->lock);
    return exchange;
}

static void unlink_alive(struct exchange_pool *pool, struct exchange *exchange)
{
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        pool->first_alive = exchange->next;
}

/* Empties the exchange for its next request, keeping memory of a usual size. */
static void exchange_clear(const struct exchange_pool *pool, struct exchange *exchange)
{
    struct buffer body = exchange->request.body, answer = exchange->request.reply.body;
    void *state = exchange->request.state;
    buffer_reset(&body, KEEP_BYTES);
    buffer_reset(&answer, KEEP_BYTES);
    if (state && pool->options->state_reset)
        pool->options->state_reset(state);
    *exchange = (struct exchange){
        .request = {.body = body, .reply = {.body = answer}, .context = pool->context, .state = state}};
}

void exchange_give_back(struct exchange_pool *pool, struct exchange *exchange)
{
    pthread_mutex_lock(&pool->lock);
    unlink_alive(pool, exchange);
    bool keep = pool->spare_count < SPARE_MAX;
    pool->spare_count += keep;
    pthread_mutex_unlock(&pool->lock);

    if (keep) {
        exchange_clear(pool, exchange);
        pthread_mutex_lock(&pool->lock);
        exchange->next = pool->spare;
        pool->spare = exchange;
        pthread_mutex_unlock(&pool->lock);
    } else {
        exchange_free(pool, exchange);
        atomic_store(&pool->flooded, true);
    }
    atomic_fetch_sub(&pool->alive, 1);
}

size_t exchange_pool_count_whole(struct exchange_pool *pool)
{
    size_t count = 0;
    pthread_mutex_lock(&pool->lock);
    for (struct exchange *exchange = pool->first_alive; exchange; exchange = exchange->next)
        count += !atomic_load(&exchange->reading_body);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

static bool client_has_gone(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void exchange_pool_sweep(struct exchange_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    for (struct exchange *exchange = pool->first_alive; exchange; exchange = exchange->next)
        if (atomic_load(&exchange->reading_body) && client_has_gone(exchange->fd))
            shutdown(exchange->fd, SHUT_RDWR); /* which libmicrohttpd does see */
    pthread_mutex_unlock(&pool->lock);
    if (atomic_exchange(&pool->flooded, false))
        malloc_trim(0); /* the freed pieces lie between others, where free alone leaves them to the process */
}

void exchange_refuse_code(struct exchange *exchange, unsigned code, const struct error *err)
{
    exchange->refused = true;
    http_reply_error_code(&exchange->request, code, err);
}

void exchange_refuse(struct exchange *exchange, const struct error *err)
{
    exchange->refused = true;
    http_reply_error(&exchange->request, err);
}

void exchange_refuse_too_large(struct exchange *exchange, size_t body_bytes_max)
{
    struct error err;
    error_set(&err, STATUS_TOO_LARGE, "the body is larger than %zu bytes", body_bytes_max);
    error_hint(&err, "split it over several requests, or start mlpd with a larger --body-max");
    exchange_refuse(exchange, &err);
}
