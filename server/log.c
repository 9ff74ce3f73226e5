#include "server/log.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "server/log_sink.h"

enum { LIMITED_EVERY_MS = 1000, DIRECT_TIMEOUT_MS = 1000 };

static const struct {
    const char *name;
    unsigned priority; /* syslog's, for the journal */
} levels[] = {[LOG_ERROR] = {"error", 3},
              [LOG_WARNING] = {"warning", 4},
              [LOG_INFO] = {"info", 6},
              [LOG_DEBUG] = {"debug", 7}};

/* How a line looks; fixed while the sink is open. */
struct form {
    enum log_format format;
    bool plain;    /* text without a time: a terminal's or the journal's */
    bool priority; /* "<4>" in front of text: the journal takes it for the level, and off */
};

static atomic_uint level_max = LOG_INFO;
static atomic_ullong lost_before; /* by sinks that are closed, and without one */

static struct {
    pthread_rwlock_t lock; /* guards all below; loggers share it, so that the sink is there until their line is */
    struct log_sink *sink; /* NULL: not started */
    struct form form;
} state = {.lock = PTHREAD_RWLOCK_INITIALIZER, .form = {.plain = true}};

/* Message and hint fit whatever they are escaped to, and so do what stands around them. */
enum { MESSAGE_BYTES_MAX = 3000, HINT_BYTES_MAX = 900 };

/* ---- lines ---- */

static void add_text(struct log_line *line, const struct form *form, enum log_level level)
{
    if (form->priority) {
        log_line_add_str(line, "<");
        log_line_add_uint(line, levels[level].priority);
        log_line_add_str(line, ">");
    }
    log_line_add_str(line, "mlpd: ");
    if (!form->plain) {
        log_line_add_time(line, log_line_now_ms());
        log_line_add_str(line, " ");
    }
    if (!form->plain || level != LOG_INFO) {
        log_line_add_str(line, levels[level].name);
        log_line_add_str(line, ": ");
    }
}

static void format_text(struct log_line *line, const struct form *form, enum log_level level, const char *message,
                        const char *hint)
{
    add_text(line, form, level);
    log_line_add_plain(line, message, MESSAGE_BYTES_MAX);
    if (!*hint)
        return;
    log_line_add_str(line, "; ");
    log_line_add_plain(line, hint, HINT_BYTES_MAX);
}

static void format_json(struct log_line *line, enum log_level level, const char *message, const char *hint)
{
    log_line_add_str(line, "{\"time\":\"");
    log_line_add_time(line, log_line_now_ms());
    log_line_add_str(line, "\",\"level\":\"");
    log_line_add_str(line, levels[level].name);
    log_line_add_str(line, "\",\"message\":");
    log_line_add_json(line, message, MESSAGE_BYTES_MAX);
    if (*hint) {
        log_line_add_str(line, ",\"hint\":");
        log_line_add_json(line, hint, HINT_BYTES_MAX);
    }
    log_line_add_str(line, "}");
}

static void format_line(struct log_line *line, const struct form *form, enum log_level level, const char *message,
                        const char *hint)
{
    log_line_begin(line);
    if (form->format == LOG_JSON)
        format_json(line, level, message, hint);
    else
        format_text(line, form, level, message, hint);
    log_line_end(line);
}

static void describe_loss(const void *context, uint64_t lost, struct log_line *line)
{
    char message[128];
    snprintf(message, sizeof message, "%llu lines of the log were lost here: it could not be written in time",
             (unsigned long long)lost);
    format_line(line, context, LOG_WARNING, message, "");
}

/* Without a thread to wait in its place, a line waits a moment for a reader that is slow, and no longer. */
static void write_directly(const struct log_line *line)
{
    struct pollfd poll_fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&poll_fd, 1, DIRECT_TIMEOUT_MS) <= 0 || write(STDERR_FILENO, line->data, line->len) < 0)
        atomic_fetch_add(&lost_before, 1);
}

static void emit(enum log_level level, const char *message, const char *hint)
{
    struct log_line line;
    pthread_rwlock_rdlock(&state.lock);
    format_line(&line, &state.form, level, message, hint);
    bool handed_over = state.sink != NULL;
    if (handed_over)
        log_sink_write(state.sink, &line);
    pthread_rwlock_unlock(&state.lock);
    if (!handed_over)
        write_directly(&line);
}

/* ---- logging ---- */

bool log_takes(enum log_level level)
{
    return (unsigned)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

void log_write(enum log_level level, const char *format, ...)
{
    char message[LOG_MESSAGE_MAX];
    if (!log_takes(level))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    emit(level, message, "");
}

void log_error(enum log_level level, const struct error *err)
{
    if (log_takes(level))
        emit(level, err->message, err->hint);
}

/* Whether a line may be logged now; *ret_left_out is how many might not since the last one. */
static bool limiter_passes(struct log_limiter *limiter, unsigned long *ret_left_out)
{
    int64_t now = clock_now_ns() / 1000000, next = atomic_load(&limiter->next_ms);
    if (now < next || !atomic_compare_exchange_strong(&limiter->next_ms, &next, now + LIMITED_EVERY_MS)) {
        atomic_fetch_add(&limiter->left_out, 1);
        return false;
    }
    *ret_left_out = atomic_exchange(&limiter->left_out, 0);
    return true;
}

void log_limited(struct log_limiter *limiter, enum log_level level, const char *format, ...)
{
    char message[LOG_MESSAGE_MAX];
    unsigned long left_out;
    if (!log_takes(level) || !limiter_passes(limiter, &left_out))
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    char more[64] = "";
    if (left_out)
        snprintf(more, sizeof more, " (and %lu more such lines since the last)", left_out);
    size_t len = strlen(message), len_max = sizeof message - 1 - strlen(more);
    snprintf(message + (len < len_max ? len : len_max), sizeof more, "%s", more);
    emit(level, message, "");
}

/* ---- life ---- */

/* Whether systemd has connected standard error to the journal: it says so by the device and inode of its socket. */
static bool stderr_is_journal(void)
{
    const char *journal = getenv("JOURNAL_STREAM");
    char stream[64];
    struct stat st;
    if (!journal || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(stream, journal) == 0;
}

static struct form choose_form(const struct log_options *options)
{
    bool is_stderr = strcmp(options->destination, "stderr") == 0;
    bool journal = is_stderr && stderr_is_journal();
    return (struct form){
        .format = options->format,
        .plain = journal || (is_stderr && isatty(STDERR_FILENO)),
        .priority = journal,
    };
}

enum status log_start(const struct log_options *options, struct error *err)
{
    const struct log_sink_options sink_options = {
        .destination = options->destination, .describe_loss = describe_loss, .context = &state.form};
    pthread_rwlock_wrlock(&state.lock);
    assert(!state.sink);
    struct form before = state.form;
    state.form = choose_form(options);
    enum status status = log_sink_open(&sink_options, &state.sink, err);
    if (status == STATUS_OK)
        atomic_store(&level_max, options->level);
    else
        state.form = before;
    pthread_rwlock_unlock(&state.lock);
    return status;
}

void log_stop(void)
{
    pthread_rwlock_wrlock(&state.lock);
    struct log_sink *sink = state.sink;
    state.sink = NULL;
    pthread_rwlock_unlock(&state.lock);
    if (sink)
        atomic_fetch_add(&lost_before, log_sink_lost(sink));
    log_sink_close(sink, LOG_STOP_TIMEOUT_MS);
}

void log_reopen(void)
{
    struct error err = {0};
    enum status status = STATUS_OK;
    pthread_rwlock_rdlock(&state.lock);
    if (state.sink)
        status = log_sink_reopen(state.sink, &err);
    pthread_rwlock_unlock(&state.lock);
    if (status != STATUS_OK)
        log_error(LOG_ERROR, &err);
}

uint64_t log_lost(void)
{
    pthread_rwlock_rdlock(&state.lock);
    uint64_t lost = atomic_load(&lost_before) + (state.sink ? log_sink_lost(state.sink) : 0);
    pthread_rwlock_unlock(&state.lock);
    return lost;
}

/* ---- names ---- */

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

bool log_level_read(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(name, levels[i].name) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

bool log_format_read(const char *name, enum log_format *ret)
{
    if (strcmp(name, "text") != 0 && strcmp(name, "json") != 0)
        return false;
    *ret = strcmp(name, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return true;
}
