/* The rounds of a loop. Each waits until something can be done, and then
 *
 *   takes what other threads have left: connections, and exchanges whose work has ended,
 *   lets libmicrohttpd read, call the handlers and write,
 *   runs what was gathered meanwhile, and lets the library write the answers,
 *   and from time to time looks after the time limits.
 *
 * libmicrohttpd's own epoll threads (0.9.75) stall when exactly 128 or 256 connections are ready at once: they ask epoll for
 * more, and wait there, before they serve what they have. So the wait is here, and MHD_run, which never waits, serves.
 */
#include <malloc.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/http_server.h"

#define MS INT64_C(1000000) /* nanoseconds */

enum {
    WAIT_MS = 250,       /* the longest wait: between two looks at what the loop was told */
    WAIT_PENDING_MS = 5, /* while requests are pending: a deadline is met as exactly as this */
    WAIT_ENDING_MS = 20, /* and while the end is waited for */
    GRACE_MS = 200,      /* at the end, for the next request of a connection that is kept alive */
    LOOK_MS = 1,      /* a loop that always has work looks at its own epoll, and at deadlines, as often as this */
    REST_MS = 1,      /* between two rounds while the queue is full */
    FULL_MS = 20,     /* for so long after a refusal it counts as full */
    TICK_MS = 500,    /* between two looks for clients that have gone */
    FLOOD = 256,      /* connections of which there are fewer at once: their memory is given back, */
    FLOOD_SPARE = 16, /* or exchanges that nobody has needed lately */
    EVENTS_MAX = 32,
};

void http_loop_wake(struct http_loop *loop)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&loop->waking, true) && write(loop->wake_fd, &one, sizeof one) < 0)
        atomic_store(&loop->waking, false); /* it looks by itself soon */
}

static enum http_phase phase_of(const struct http_loop *loop)
{
    return atomic_load_explicit(&loop->server->phase, memory_order_relaxed);
}

/* ---- time limits ---- */

static void refuse_slow(struct peer *peer)
{
    struct error err;
    error_set(&err, STATUS_INVALID, "the request was not whole %lld s after its first byte",
              (long long)(peer->loop->server->options.read_timeout_ns / (1000 * MS)));
    error_hint(&err, "send it faster or in smaller pieces, or start mlpd with a longer --read-timeout-s");
    http_refuse_raw(peer, MHD_HTTP_REQUEST_TIMEOUT, PEER_TOO_SLOW, &err);
    peer_shut(peer, PEER_TOO_SLOW);
}

/* Those that came into the state first stand first. One that is shut already waits for libmicrohttpd to see it. */
static void close_overdue(struct http_loop *loop, enum peer_state state, int64_t limit_ns)
{
    for (struct peer *peer = loop->peers[state].first; peer && loop->now_ns - peer->since_ns >= limit_ns;
         peer = peer->next) {
        if (peer->verdict == PEER_REFUSED)
            peer_shut(peer, PEER_REFUSED);
        if (peer->verdict != PEER_KEPT)
            continue;
        if (state == PEER_READING)
            refuse_slow(peer);
        else
            peer_shut(peer, PEER_UNREAD);
    }
}

static void close_gone(struct http_loop *loop)
{
    peer_list_find_gone(&loop->peers[PEER_READING]);
    peer_list_find_gone(&loop->peers[PEER_WORKING]);
    for (struct peer *peer = loop->peers[PEER_READING].first; peer; peer = peer->next)
        if (peer->gone)
            peer_shut(peer, PEER_KEPT);
}

/* Connections on which nothing has begun for a moment; a request that lies unread in the socket has. */
static void close_idle(struct http_loop *loop)
{
    for (struct peer *peer = loop->peers[PEER_IDLE].first; peer && loop->now_ns - peer->since_ns >= GRACE_MS * MS;
         peer = peer->next)
        if (peer->verdict == PEER_KEPT && peer_is_silent(peer))
            peer_shut(peer, PEER_EVICTED);
}

static void close_all(struct http_loop *loop)
{
    for (enum peer_state state = PEER_IDLE; state < PEER_STATES; state++)
        for (struct peer *peer = loop->peers[state].first; peer; peer = peer->next)
            if (state != PEER_WORKING)
                peer_shut(peer, PEER_ABANDONED);
}

/* After a flood. Freed pieces lie between others, where free alone leaves them to the process. */
static void give_back_memory(struct http_loop *loop)
{
    size_t connections = atomic_load_explicit(&loop->connections, memory_order_relaxed);
    if (exchange_pool_shrink(loop) < FLOOD_SPARE && loop->connections_most < connections + FLOOD)
        return;
    malloc_trim(0);
    loop->connections_most = connections;
}

static void look_for_the_gone(struct http_loop *loop)
{
    close_gone(loop);
    give_back_memory(loop);
}

/* As many requests may be pending as the queue holds, so not all of them are looked at in each of many short rounds. */
static void expire(struct http_loop *loop)
{
    if (loop->now_ns - loop->expired_ns < LOOK_MS * MS && phase_of(loop) < PHASE_ABANDONED)
        return;
    loop->expired_ns = loop->now_ns;
    http_expire_pending(loop);
}

static void keep_time(struct http_loop *loop)
{
    const struct http_options *options = &loop->server->options;
    if (loop->now_ns - loop->ticked_ns >= TICK_MS * MS) {
        loop->ticked_ns = loop->now_ns;
        look_for_the_gone(loop);
    }
    close_overdue(loop, PEER_READING, options->read_timeout_ns);
    close_overdue(loop, PEER_IDLE, options->idle_timeout_ns);
    close_overdue(loop, PEER_ANSWERING, options->idle_timeout_ns);
    expire(loop);
    if (loop->accept_at_ns && loop->now_ns >= loop->accept_at_ns)
        loop->accept_at_ns = 0;
}

/* What the system has accepted before the listeners close is served, too. */
static void stop_listening(struct http_loop *loop)
{
    if (!atomic_load_explicit(&loop->listening, memory_order_relaxed))
        return;
    for (size_t i = 0; i < loop->server->listener_count; i++)
        while (http_accept(loop, &loop->server->listeners[i]))
            continue;
    http_listen(loop, false);
}

static void keep_phase(struct http_loop *loop)
{
    enum http_phase phase = phase_of(loop);
    if (phase < PHASE_ENDING)
        http_listen(loop, !loop->accept_at_ns);
    else
        stop_listening(loop);
    if (phase == PHASE_ENDING)
        close_idle(loop);
    if (phase >= PHASE_ABANDONED)
        close_all(loop);
}

/* ---- rounds ---- */

static int wait_ms(struct http_loop *loop)
{
    MHD_UNSIGNED_LONG_LONG library_ms;
    if (MHD_get_timeout(loop->daemon, &library_ms) == MHD_YES && library_ms == 0)
        return 0;
    if (loop->pool.first_pending)
        return WAIT_PENDING_MS;
    return phase_of(loop) < PHASE_ENDING ? WAIT_MS : WAIT_ENDING_MS;
}

static void forget_wake(struct http_loop *loop)
{
    uint64_t count;
    if (read(loop->wake_fd, &count, sizeof count) > 0)
        atomic_store(&loop->waking, false);
}

/* The queue was full a moment ago: part of what comes will be refused, and the rest waits behind a full queue. Each of them by
 * itself would take the processor from a worker twice; some together cost half. An end of work, which makes room, ends the
 * rest. */
static void rest_while_full(struct http_loop *loop)
{
    struct pollfd wake = {.fd = loop->wake_fd, .events = POLLIN};
    if (loop->now_ns < loop->refused_ns + FULL_MS * MS)
        poll(&wake, 1, REST_MS);
}

/* Waits for something to do. The flag of the wake-up falls before the loop looks for what it was woken for. */
static void wait_for_work(struct http_loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    rest_while_full(loop);
    int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_ms(loop));
    loop->now_ns = loop->polled_ns = clock_now_ns();
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == loop)
            forget_wake(loop);
        else if (events[i].data.ptr)
            http_accept(loop, events[i].data.ptr);
    }
}

/* Runs the library, and what it gathers. While there is always more, the loop's own epoll has its turn too: the library, whose
 * time-out is 0 then, sends what has just been computed when it is run next. */
static void serve(struct http_loop *loop)
{
    do {
        MHD_run(loop->daemon);
        if (!loop->gathered)
            return;
        http_run_gathered(loop);
        loop->now_ns = clock_now_ns();
    } while (loop->now_ns - loop->polled_ns < LOOK_MS * MS);
}

static void *loop_main(void *argument)
{
    struct http_loop *loop = argument;
    while (phase_of(loop) < PHASE_ENDED) {
        atomic_store(&loop->phase_seen, atomic_load(&loop->server->phase));
        wait_for_work(loop);
        atomic_store_explicit(&loop->looked_ns, loop->now_ns, memory_order_relaxed);
        http_accept_inbox(loop);
        http_take_completed(loop);
        serve(loop);
        keep_time(loop);
        keep_phase(loop);
    }
    return NULL;
}

/* ---- a loop's life ---- */

static bool watch(struct http_loop *loop, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return fd >= 0 && epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool http_loop_prepare(struct http_server *server, struct http_loop *loop)
{
    loop->server = server;
    loop->now_ns = clock_now_ns();
    atomic_store(&loop->looked_ns, loop->now_ns);
    pthread_mutex_init(&loop->inbox_lock, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (server->handlers.loop_create &&
        !(loop->loop_state = server->handlers.loop_create(server->handlers.context)))
        return false;
    loop->daemon = http_daemon_start(loop);
    if (!loop->daemon || !watch(loop, loop->wake_fd, loop) ||
        !watch(loop, MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, NULL))
        return false;
    return http_listen(loop, true);
}

bool http_loop_start(struct http_loop *loop)
{
    loop->running = pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    return loop->running;
}

void http_loop_end(struct http_loop *loop)
{
    if (!loop->server)
        return; /* it was never begun */
    if (loop->running)
        pthread_join(loop->thread, NULL);
    http_accept_inbox(loop);
    if (loop->daemon)
        MHD_stop_daemon(loop->daemon);
    exchange_pool_clear(loop);
    if (loop->server->handlers.loop_free)
        loop->server->handlers.loop_free(loop->loop_state);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->inbox_lock);
}
