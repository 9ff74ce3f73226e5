#include "server/log_sink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A line is copied into the ring under the lock, some 250 bytes; nothing else is done there. The writer takes whole lines
 * out of the ring into a chunk of its own, so that their place is free before they are written, and writes the chunk
 * without the lock. Only the writer moves `tail`, so it reads between `tail` and the `head` that it has seen without the
 * lock as well.
 *
 * Pipes, terminals and sockets are written to in pieces of at most PIPE_BUF after poll has said that there is room: such
 * a piece is whole in a pipe that others write to as well, and write does not stop in it. O_NONBLOCK would be seen by
 * every process that shares a standard stream. */

enum {
    FILE_CHUNK_BYTES = 64 * 1024,
    RETRY_MS = 250, /* after a failure; and how soon a stalled writer sees that the sink is closed or reopened */
};

static_assert((int)LOG_LINE_MAX <= PIPE_BUF, "a line is written to a pipe in one piece");

enum writer_state { WRITER_BUSY, WRITER_IDLE, WRITER_GATHERING };

struct log_sink {
    char *path; /* NULL: a standard stream */
    unsigned gather_ms;
    void (*describe_loss)(const void *context, uint64_t lost, struct log_line *line);
    const void *context;
    pthread_t thread;

    /* The writer's own. */
    int fd;
    bool is_file;
    bool backlog; /* the ring held more than the last chunk took */
    bool closing; /* the sink was closed when the attempt to write began */
    bool gave_up; /* an attempt failed after that: there is no point in another */
    size_t chunk_at, chunk_len;
    char chunk[FILE_CHUNK_BYTES];

    pthread_mutex_t lock;  /* guards all below */
    pthread_cond_t wanted; /* the writer is: there are lines, the sink is closed, a file was opened */
    pthread_cond_t left;   /* the writer has ended */
    enum writer_state writer;
    char *ring;
    size_t ring_bytes;
    uint64_t head, tail; /* bytes put in and taken out since it was empty; the ring holds what lies between */
    uint64_t lost, lost_told;
    bool dropping;
    int next_fd; /* to be used instead of fd; -1: none */
    bool closed, abandoned, ended;
};

static struct timespec after_ms(unsigned ms)
{
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += ms / 1000;
    when.tv_nsec += (long)(ms % 1000) * 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_sec++;
        when.tv_nsec -= 1000000000;
    }
    return when;
}

/* ---- the ring; the lock is held ---- */

static size_t used_bytes(const struct log_sink *sink)
{
    return (size_t)(sink->head - sink->tail);
}

static void put(struct log_sink *sink, const struct log_line *line)
{
    size_t at = sink->head & (sink->ring_bytes - 1), first = sink->ring_bytes - at;
    if (first > line->len)
        first = line->len;
    memcpy(sink->ring + at, line->data, first);
    memcpy(sink->ring, line->data + first, line->len - first);
    sink->head += line->len;
}

/* A ring that is empty is begun again at its front, which the cache has, and what lies behind costs no memory. */
static void take_out(struct log_sink *sink, size_t len)
{
    sink->tail += len;
    if (sink->tail == sink->head)
        sink->tail = sink->head = 0;
}

/* Once lines are dropped they are until half of the ring is free, so that under a lasting flood few lines tell of it. */
static void stop_dropping(struct log_sink *sink)
{
    if (!sink->dropping || used_bytes(sink) > sink->ring_bytes / 2)
        return;
    struct log_line line;
    log_line_begin(&line);
    sink->describe_loss(sink->context, sink->lost - sink->lost_told, &line);
    put(sink, &line);
    sink->lost_told = sink->lost;
    sink->dropping = false;
}

static void put_or_drop(struct log_sink *sink, const struct log_line *line)
{
    stop_dropping(sink);
    if (line->len > sink->ring_bytes - used_bytes(sink))
        sink->dropping = true;
    if (sink->dropping)
        sink->lost++;
    else
        put(sink, line);
}

/* A gathering writer is woken early when the ring fills up. */
static bool wakes_writer(const struct log_sink *sink)
{
    return sink->writer == WRITER_IDLE ||
           (sink->writer == WRITER_GATHERING && used_bytes(sink) > sink->ring_bytes / 4);
}

void log_sink_write(struct log_sink *sink, const struct log_line *line)
{
    assert(line->len > 0 && line->data[line->len - 1] == '\n');
    pthread_mutex_lock(&sink->lock);
    put_or_drop(sink, line);
    bool wake = wakes_writer(sink);
    if (wake)
        sink->writer = WRITER_BUSY; /* so that the next line costs no system call */
    pthread_mutex_unlock(&sink->lock);
    if (wake)
        pthread_cond_signal(&sink->wanted);
}

uint64_t log_sink_lost(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    uint64_t lost = sink->lost;
    pthread_mutex_unlock(&sink->lock);
    return lost;
}

/* ---- the writer ---- */

/* Takes over what `fd` is. */
static void use_fd(struct log_sink *sink, int fd)
{
    struct stat st;
    sink->fd = fd;
    sink->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_same_file(int fd, int other_fd)
{
    struct stat st, other;
    return fstat(fd, &st) == 0 && fstat(other_fd, &other) == 0 && st.st_dev == other.st_dev &&
           st.st_ino == other.st_ino;
}

/* The line that is under way is whole in the new file, unless that is the old one, which nobody had moved. Without the
 * lock: close may wait for a disk. */
static void use_next_fd(struct log_sink *sink, int next_fd)
{
    if (next_fd < 0)
        return;
    bool same = is_same_file(sink->fd, next_fd);
    close(sink->fd);
    use_fd(sink, next_fd);
    while (!same && sink->chunk_at > 0 && sink->chunk[sink->chunk_at - 1] != '\n')
        sink->chunk_at--;
}

/* The file that was opened since, or -1. The lock is held. */
static int take_next_fd(struct log_sink *sink)
{
    int next_fd = sink->next_fd;
    sink->next_fd = -1;
    return next_fd;
}

/* Waits as `state` for a line, for the end, for a file; until *deadline if it is not NULL. The lock is held. */
static void wait_as(struct log_sink *sink, enum writer_state state, const struct timespec *deadline)
{
    int timed_out = 0;
    sink->writer = state;
    while (sink->writer == state && !sink->closed && sink->next_fd < 0 && !timed_out)
        timed_out = deadline ? pthread_cond_timedwait(&sink->wanted, &sink->lock, deadline)
                             : pthread_cond_wait(&sink->wanted, &sink->lock);
    sink->writer = WRITER_BUSY;
}

static void wait_for_lines(struct log_sink *sink)
{
    if (used_bytes(sink) == 0)
        wait_as(sink, WRITER_IDLE, NULL);
    if (sink->gather_ms && !sink->backlog && used_bytes(sink) <= sink->ring_bytes / 4) {
        const struct timespec deadline = after_ms(sink->gather_ms);
        wait_as(sink, WRITER_GATHERING, &deadline);
    }
}

/* Copies whole lines, as many of `used` bytes as fit, and returns their length. */
static size_t copy_lines(struct log_sink *sink, size_t used)
{
    size_t max = sink->is_file ? FILE_CHUNK_BYTES : PIPE_BUF, len = used < max ? used : max;
    size_t at = sink->tail & (sink->ring_bytes - 1), first = sink->ring_bytes - at;
    if (first > len)
        first = len;
    memcpy(sink->chunk, sink->ring + at, first);
    memcpy(sink->chunk + first, sink->ring, len - first);
    while (len > 0 && sink->chunk[len - 1] != '\n')
        len--;
    return len;
}

/* Waits for lines and takes some as the next chunk; none if the sink was reopened instead. False: that was all. */
static bool take_chunk(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    wait_for_lines(sink);
    int next_fd = take_next_fd(sink);
    size_t used = used_bytes(sink);
    bool more = !sink->abandoned && !sink->gave_up && (used > 0 || !sink->closed);
    pthread_mutex_unlock(&sink->lock);
    use_next_fd(sink, next_fd);
    if (!more)
        return false;
    sink->chunk_at = 0;
    sink->chunk_len = copy_lines(sink, used);
    sink->backlog = used > sink->chunk_len;
    pthread_mutex_lock(&sink->lock);
    take_out(sink, sink->chunk_len);
    stop_dropping(sink);
    pthread_mutex_unlock(&sink->lock);
    return true;
}

static bool begin_attempt(struct log_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    int next_fd = take_next_fd(sink);
    bool go = !sink->abandoned && !sink->gave_up;
    sink->closing = sink->closed;
    pthread_mutex_unlock(&sink->lock);
    use_next_fd(sink, next_fd);
    return go;
}

static void rest_after_failure(struct log_sink *sink)
{
    const struct timespec deadline = after_ms(RETRY_MS);
    pthread_mutex_lock(&sink->lock);
    wait_as(sink, WRITER_BUSY, &deadline);
    pthread_mutex_unlock(&sink->lock);
}

/* Whether write will not stop in what is left of the chunk. */
static bool is_writable(const struct log_sink *sink)
{
    struct pollfd poll_fd = {.fd = sink->fd, .events = POLLOUT};
    return sink->is_file || poll(&poll_fd, 1, RETRY_MS) > 0;
}

static void attempt_write(struct log_sink *sink)
{
    ssize_t n = write(sink->fd, sink->chunk + sink->chunk_at, sink->chunk_len - sink->chunk_at);
    if (n > 0)
        sink->chunk_at += (size_t)n;
    else if (sink->closing && errno != EINTR && errno != EAGAIN)
        sink->gave_up = true;
    else if (errno != EINTR)
        rest_after_failure(sink);
}

static void write_chunk(struct log_sink *sink)
{
    while (sink->chunk_at < sink->chunk_len && begin_attempt(sink))
        if (is_writable(sink))
            attempt_write(sink);
}

static void free_sink(struct log_sink *sink)
{
    if (sink->next_fd >= 0)
        close(sink->next_fd);
    if (sink->path && sink->fd >= 0)
        close(sink->fd);
    pthread_cond_destroy(&sink->left);
    pthread_cond_destroy(&sink->wanted);
    pthread_mutex_destroy(&sink->lock);
    free(sink->ring);
    free(sink->path);
    free(sink);
}

/* Whoever is last frees: the closer, or the writer that the closer has not waited for. */
static void *writer_main(void *argument)
{
    struct log_sink *sink = argument;
    while (take_chunk(sink))
        write_chunk(sink);
    pthread_mutex_lock(&sink->lock);
    sink->ended = true;
    bool abandoned = sink->abandoned;
    pthread_cond_signal(&sink->left);
    pthread_mutex_unlock(&sink->lock);
    if (abandoned)
        free_sink(sink);
    return NULL;
}

/* ---- opening and closing ---- */

/* Non-blocking, so that a FIFO that nobody reads is refused at once; a regular file does not care. */
static enum status open_path(const char *path, int *ret_fd, struct error *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd >= 0) {
        *ret_fd = fd;
        return STATUS_OK;
    }
    error_set(err, STATUS_IO, "the log %s cannot be opened: %s", path, strerror(errno));
    error_hint(err, "name a file in a folder that exists and that this user may write to");
    return STATUS_IO;
}

static enum status open_destination(struct log_sink *sink, const char *destination, struct error *err)
{
    bool is_stderr = strcmp(destination, "stderr") == 0;
    int fd = -1;
    if (is_stderr || strcmp(destination, "stdout") == 0) {
        use_fd(sink, is_stderr ? STDERR_FILENO : STDOUT_FILENO);
        return STATUS_OK;
    }
    sink->path = strdup(destination);
    if (!sink->path)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a log");
    enum status status = open_path(destination, &fd, err);
    if (status == STATUS_OK)
        use_fd(sink, fd);
    return status;
}

/* The writer takes no signal: those that mean the process are another thread's, and EPIPE is told by write. */
static enum status start_writer(struct log_sink *sink, struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&sink->thread, NULL, writer_main, sink);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failure)
        return STATUS_OK;
    error_set(err, STATUS_IO, "a thread could not be started");
    return error_hint(err, "raise the limit on processes (ulimit -u)");
}

static void init_locks(struct log_sink *sink)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->wanted, &monotonic);
    pthread_cond_init(&sink->left, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

enum status log_sink_open(const struct log_sink_options *options, struct log_sink **ret, struct error *err)
{
    size_t ring_bytes = options->ring_bytes ? options->ring_bytes : LOG_RING_BYTES;
    assert(ring_bytes >= 4 * LOG_LINE_MAX && (ring_bytes & (ring_bytes - 1)) == 0);
    struct log_sink *sink = calloc(1, sizeof *sink);
    if (!sink)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a log");
    init_locks(sink);
    sink->fd = sink->next_fd = -1;
    sink->gather_ms = options->gather_ms;
    sink->describe_loss = options->describe_loss;
    sink->context = options->context;
    sink->ring_bytes = ring_bytes;
    sink->ring = malloc(ring_bytes);
    enum status status = sink->ring ? open_destination(sink, options->destination, err)
                                    : error_set(err, STATUS_NO_MEMORY, "no memory for a log");
    if (status == STATUS_OK)
        status = start_writer(sink, err);
    if (status == STATUS_OK)
        *ret = sink;
    else
        free_sink(sink);
    return status;
}

enum status log_sink_reopen(struct log_sink *sink, struct error *err)
{
    int fd;
    if (!sink->path)
        return STATUS_OK;
    enum status status = open_path(sink->path, &fd, err);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&sink->lock);
    if (sink->next_fd >= 0)
        close(sink->next_fd);
    sink->next_fd = fd;
    pthread_cond_signal(&sink->wanted);
    pthread_mutex_unlock(&sink->lock);
    return STATUS_OK;
}

/* True once the writer has ended; false if it is held up, and has been left to itself. */
static bool wait_for_end(struct log_sink *sink, unsigned timeout_ms)
{
    const struct timespec deadline = after_ms(timeout_ms);
    int timed_out = 0;
    pthread_mutex_lock(&sink->lock);
    sink->closed = true;
    pthread_cond_signal(&sink->wanted);
    while (!sink->ended && !timed_out)
        timed_out = pthread_cond_timedwait(&sink->left, &sink->lock, &deadline);
    bool ended = sink->ended;
    if (!ended) {
        sink->abandoned = true;
        pthread_detach(sink->thread);
    }
    pthread_mutex_unlock(&sink->lock);
    return ended;
}

void log_sink_close(struct log_sink *sink, unsigned timeout_ms)
{
    if (!sink || !wait_for_end(sink, timeout_ms))
        return;
    pthread_join(sink->thread, NULL);
    free_sink(sink);
}
