/* The server's life: its listeners, its loops, and its end in phases. */
#include "server/http.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/http_server.h"

enum {
    DESCRIPTORS_BESIDE = 1024, /* that the process may have beside its connections, below the table's end */
    WAIT_STEP_MS = 2,
    LISTENING_END_MS = 1000, /* for loops to accept what waits, before the listeners close without them */
};

static enum status open_listener(const struct http_address *address, struct http_listener *listener,
                                 struct error *err)
{
    const char *path = listen_unix_path(address->host);
    listener->admin = address->admin;
    enum status status = listen_open(address->host, address->port, &listener->fd, listener->url, err);
    if (status == STATUS_OK)
        listener->unix_path = path ? strchr(listener->url, '/') : NULL;
    return status;
}

static enum status open_listeners(struct http_server *server, struct error *err)
{
    const struct http_options *options = &server->options;
    server->listeners = calloc(options->address_count, sizeof *server->listeners);
    if (!server->listeners)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the server");
    for (size_t i = 0; i < options->address_count; i++) {
        enum status status = open_listener(&options->addresses[i], &server->listeners[i], err);
        if (status != STATUS_OK)
            return status;
        server->has_admin |= options->addresses[i].admin;
        server->listener_count++;
    }
    return STATUS_OK;
}

static void close_listeners(struct http_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        close(server->listeners[i].fd);
        if (server->listeners[i].unix_path)
            unlink(server->listeners[i].unix_path);
    }
    free(server->listeners);
}

static bool start_loops(struct http_server *server)
{
    size_t count = server->options.io_threads;
    server->loops = aligned_alloc(_Alignof(struct http_loop), count * sizeof *server->loops);
    if (!server->loops)
        return false;
    memset(server->loops, 0, count * sizeof *server->loops);
    server->loop_count = count; /* before the first of them looks for the one with the fewest connections */
    for (size_t i = 0; i < count; i++)
        if (!http_loop_prepare(server, &server->loops[i]))
            return false;
    for (size_t i = 0; i < count; i++)
        if (!http_loop_start(&server->loops[i]))
            return false;
    return true;
}

/* One that is held up by a body that was made for it must not hold up all others. */
static size_t slow_threads(const struct http_server *server)
{
    return server->options.io_threads < 2 ? 2 : server->options.io_threads;
}

static enum status start_threads(struct http_server *server, struct error *err)
{
    enum status status = side_thread_start(slow_threads(server), &server->slow_lane, err);
    if (status != STATUS_OK)
        return status;
    if (start_loops(server))
        return STATUS_OK;
    error_set(err, STATUS_IO, "the HTTP threads could not be started");
    return error_hint(err, "choose fewer --io-threads, or raise the limits (ulimit -n, ulimit -u)");
}

static bool make_tables(struct http_server *server)
{
    const struct http_options *options = &server->options;
    if (options->connections_per_ip)
        server->ip_limit = ip_limit_create(options->connections_max, options->connections_per_ip);
    return peer_table_create(options->connections_max + DESCRIPTORS_BESIDE) &&
           (server->ip_limit || !options->connections_per_ip);
}

enum status http_server_start(const struct http_options *options, const struct http_handlers *handlers,
                              struct http_server **ret, struct error *err)
{
    struct http_server *server = aligned_alloc(_Alignof(struct http_server), sizeof *server);
    if (!server)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the server");
    memset(server, 0, sizeof *server);
    server->options = *options;
    server->handlers = *handlers;
    server->budget.bytes_max = options->memory_bytes_max;
    while (handlers->routes[server->route_count].path)
        server->route_count++;

    enum status status = STATUS_OK;
    if (!make_tables(server))
        status = error_set(err, STATUS_NO_MEMORY, "no memory for %zu connections", options->connections_max);
    if (status == STATUS_OK)
        status = open_listeners(server, err);
    if (status == STATUS_OK)
        status = start_threads(server, err);
    if (status != STATUS_OK) {
        http_server_abandon(server); /* a loop may have begun to serve before another could not be started */
        http_server_free(server);
        return status;
    }
    *ret = server;
    return STATUS_OK;
}

const char *http_server_url(const struct http_server *server, size_t address)
{
    return server->listeners[address].url;
}

struct http_stats http_server_stats(const struct http_server *server)
{
    /* A connection that one loop has accepted for another is in neither's count for a moment; so the server has its own. */
    struct http_stats stats = {.memory_bytes = atomic_load(&server->budget.held),
                               .connections = atomic_load(&server->connections)};
    int64_t now_ns = clock_now_ns();
    for (size_t i = 0; i < server->loop_count; i++) {
        const struct http_loop *loop = &server->loops[i];
        int64_t unseen_ns = now_ns - atomic_load_explicit(&loop->looked_ns, memory_order_relaxed);
        stats.in_flight += atomic_load_explicit(&loop->in_flight, memory_order_relaxed);
        stats.lost += atomic_load_explicit(&loop->lost, memory_order_relaxed);
        stats.stuck_ns = unseen_ns > stats.stuck_ns ? unseen_ns : stats.stuck_ns;
    }
    return stats;
}

static void enter_phase(struct http_server *server, enum http_phase phase)
{
    atomic_store(&server->phase, phase);
    for (size_t i = 0; i < server->loop_count; i++)
        if (server->loops[i].running)
            http_loop_wake(&server->loops[i]);
}

void http_server_drain(struct http_server *server)
{
    enter_phase(server, PHASE_DRAINING);
}

static bool is_listening(const struct http_server *server)
{
    for (size_t i = 0; i < server->loop_count; i++)
        if (atomic_load(&server->loops[i].listening))
            return true;
    return false;
}

static void wait_a_step(void)
{
    nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_MS * 1000000L}, NULL);
}

void http_server_stop_accepting(struct http_server *server)
{
    enter_phase(server, PHASE_ENDING);
    for (unsigned waited_ms = 0; is_listening(server) && waited_ms < LISTENING_END_MS; waited_ms += WAIT_STEP_MS)
        wait_a_step();
    for (size_t i = 0; i < server->listener_count; i++)
        shutdown(server->listeners[i].fd, SHUT_RDWR); /* from here on the system refuses connections */
}

static bool has_work(const struct http_server *server)
{
    for (size_t i = 0; i < server->loop_count; i++)
        if (atomic_load(&server->loops[i].outstanding))
            return true;
    return false;
}

/* Whether a loop is still in a round that began before this phase, and may begin work in it. */
static bool is_behind(const struct http_server *server, enum http_phase phase)
{
    for (size_t i = 0; i < server->loop_count; i++)
        if (server->loops[i].running && atomic_load(&server->loops[i].phase_seen) < phase)
            return true;
    return false;
}

void http_server_abandon(struct http_server *server)
{
    enter_phase(server, PHASE_ABANDONED);
    while (is_behind(server, PHASE_ABANDONED) || has_work(server))
        wait_a_step();
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    side_thread_free(server->slow_lane);
    enter_phase(server, PHASE_ENDED);
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_end(&server->loops[i]);
    free(server->loops);
    close_listeners(server);
    ip_limit_free(server->ip_limit);
    peer_table_free();
    free(server);
}
