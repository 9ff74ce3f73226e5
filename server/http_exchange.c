#include "server/http_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "server/http_server.h"

enum {
    KEEP_BYTES = 32 * 1024, /* of each of an exchange's buffers, from one request to the next */
    SPARE_MIN = 8,          /* exchanges kept for later by each loop, needed or not */
    SPARE_CREDITED = 256, /* of the spare ones, those that keep their credit: others may be short of it meanwhile */
};

static void exchange_free(struct exchange *exchange)
{
    const struct http_handlers *handlers = &exchange->loop->server->handlers;
    if (exchange->request.state && handlers->state_free)
        handlers->state_free(exchange->request.state);
    buffer_free(&exchange->request.body);
    buffer_free(&exchange->request.reply.body);
    buffer_free(&exchange->late.body);
    account_close(&exchange->account);
    free(exchange->texts);
    free(exchange);
}

static struct exchange *exchange_create(struct http_loop *loop)
{
    const struct http_handlers *handlers = &loop->server->handlers;
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->loop = loop;
    exchange->account.budget = &loop->server->budget;
    exchange->request.account = &exchange->account;
    exchange->request.context = handlers->context;
    exchange->request.loop_state = loop->loop_state;
    if (!handlers->state_create || (exchange->request.state = handlers->state_create(handlers->context)))
        return exchange;
    exchange_free(exchange);
    return NULL;
}

static struct exchange *pop_spare(struct exchange_pool *pool)
{
    struct exchange *exchange = pool->spare;
    pool->spare = exchange->next;
    pool->spare_count--;
    exchange->next = NULL;
    return exchange;
}

struct exchange *exchange_take(struct http_loop *loop)
{
    struct exchange_pool *pool = &loop->pool;
    struct exchange *exchange = pool->spare ? pop_spare(pool) : exchange_create(loop);
    pool->taken += exchange != NULL;
    if (pool->taken_most < pool->taken)
        pool->taken_most = pool->taken;
    return exchange;
}

/* Empties the exchange for its next request, keeping memory of a usual size. What is not named becomes zero. */
static void exchange_clear(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    const struct http_handlers *handlers = &exchange->loop->server->handlers;
    buffer_reset(&request->body, KEEP_BYTES);
    buffer_reset(&request->reply.body, KEEP_BYTES);
    buffer_reset(&exchange->late.body, 0);
    if (request->state && handlers->state_reset)
        handlers->state_reset(request->state);
    account_settle(&exchange->account);
    free(exchange->texts);
    *exchange = (struct exchange){
        .request = {.body = request->body,
                    .reply = {.body = request->reply.body},
                    .context = request->context,
                    .loop_state = request->loop_state,
                    .state = request->state,
                    .account = &exchange->account},
        .late = {.body = exchange->late.body},
        .loop = exchange->loop,
        .account = exchange->account,
    };
}

void exchange_give_back(struct exchange *exchange)
{
    struct exchange_pool *pool = &exchange->loop->pool;
    exchange_clear(exchange);
    if (pool->spare_count >= SPARE_CREDITED)
        account_close(&exchange->account);
    exchange->next = pool->spare;
    pool->spare = exchange;
    pool->spare_count++;
    pool->taken--;
}

static void free_spare(struct exchange_pool *pool, size_t kept)
{
    while (pool->spare_count > kept)
        exchange_free(pop_spare(pool));
}

size_t exchange_pool_shrink(struct http_loop *loop)
{
    struct exchange_pool *pool = &loop->pool;
    size_t before = pool->spare_count, needed = pool->taken_most - pool->taken;
    pool->taken_most = pool->taken;
    free_spare(pool, needed > SPARE_MIN ? needed : SPARE_MIN);
    return before - pool->spare_count;
}

void exchange_pool_clear(struct http_loop *loop)
{
    free_spare(&loop->pool, 0);
}

void exchange_enter_pending(struct exchange *exchange)
{
    struct exchange_pool *pool = &exchange->loop->pool;
    exchange->previous = NULL;
    exchange->next = pool->first_pending;
    if (exchange->next)
        exchange->next->previous = exchange;
    pool->first_pending = exchange;
}

void exchange_leave_pending(struct exchange *exchange)
{
    struct exchange_pool *pool = &exchange->loop->pool;
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    *(exchange->previous ? &exchange->previous->next : &pool->first_pending) = exchange->next;
    exchange->next = exchange->previous = NULL;
}

static size_t size_of_texts(const struct http_request *request)
{
    size_t size = strlen(request->content_type) + strlen(request->accept) + 2;
    for (size_t i = 0; i < request->query_count; i++)
        size += strlen(request->query[i].key) + strlen(request->query[i].value) + 2;
    return size;
}

/* Moves a text to *at, and *at behind it. */
static void move_text(const char **text, char **at)
{
    size_t size = strlen(*text) + 1;
    memcpy(*at, *text, size);
    *text = *at;
    *at += size;
}

bool exchange_own_texts(struct exchange *exchange)
{
    struct http_request *request = &exchange->request;
    char *at = exchange->texts = malloc(size_of_texts(request));
    if (!at)
        return false;
    move_text(&request->content_type, &at);
    move_text(&request->accept, &at);
    for (size_t i = 0; i < request->query_count; i++) {
        move_text(&request->query[i].key, &at);
        move_text(&request->query[i].value, &at);
    }
    return true;
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

/* The capacity that the body grows to: twice what it has, so that it is not moved for each piece, but no more than it is
 * going to need. What is only announced is not paid for: a client that declares much and sends little takes no room. */
static size_t grown_capacity(const struct exchange *exchange, size_t more)
{
    const struct buffer *body = &exchange->request.body;
    size_t needed = body->len + more + 1, grown = 2 * body->capacity;
    if (exchange->declared_len != SIZE_MAX && grown > exchange->declared_len + 1)
        grown = exchange->declared_len + 1;
    return grown > needed ? grown : needed;
}

bool exchange_reserve_body(struct exchange *exchange, size_t more)
{
    struct buffer *body = &exchange->request.body;
    struct error err;
    if (more < body->capacity - body->len)
        return true;
    size_t capacity = grown_capacity(exchange, more);
    if (account_pay(&exchange->account, capacity - body->capacity, &err) != STATUS_OK) {
        exchange->request.rejection = HTTP_REJECTED_MEMORY;
    } else if (!buffer_reserve(body, capacity - body->len - 1)) {
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for a body of %zu bytes", body->len + more);
        error_hint(&err, "send it again in a moment");
    } else {
        return true;
    }
    exchange_refuse(exchange, &err);
    return false;
}
