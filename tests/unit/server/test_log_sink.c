#include "server/log_sink.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/server/log_reader.h"

enum { RING_BYTES = 4 * LOG_LINE_MAX, LINE_BYTES = 100 };

static void tell_loss(const void *context, uint64_t lost, struct log_line *line)
{
    log_line_begin(line);
    log_line_add_str(line, context);
    log_line_add_uint(line, lost);
    log_line_end(line);
}

static struct log_sink *open_sink(const char *destination, unsigned gather_ms)
{
    const struct log_sink_options options = {.destination = destination,
                                             .ring_bytes = RING_BYTES,
                                             .gather_ms = gather_ms,
                                             .describe_loss = tell_loss,
                                             .context = "lost "};
    struct log_sink *sink;
    struct error err = {0};
    enum status status = log_sink_open(&options, &sink, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return sink;
}

static void hand_over(struct log_sink *sink, const char *text)
{
    struct log_line line;
    log_line_begin(&line);
    log_line_add_str(&line, text);
    log_line_end(&line);
    log_sink_write(sink, &line);
}

/* A line of LINE_BYTES bytes that begins with the number. */
static void hand_over_number(struct log_sink *sink, size_t number)
{
    char text[LINE_BYTES];
    snprintf(text, sizeof text, "%-99zu", number);
    hand_over(sink, text);
}

/* The text's lines are the numbers from `first` on, each line whole. Returns the number behind the last. */
static size_t assert_numbers(const char *text, size_t first)
{
    for (; *text; text += LINE_BYTES, first++) {
        ck_assert_uint_eq(strtoul(text, NULL, 10), first);
        ck_assert_int_eq(text[LINE_BYTES - 1], '\n');
    }
    return first;
}

START_TEST(log_sink_appends_lines_in_their_order)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    folder_write(folder, "log", "was there\n");
    for (unsigned gather_ms = 0; gather_ms < 20; gather_ms += 10) {
        struct log_sink *sink = open_sink(path, gather_ms);
        hand_over(sink, "first");
        hand_over(sink, "second");
        log_sink_close(sink, 60000);
    }
    log_assert_text(path, "was there\nfirst\nsecond\nfirst\nsecond\n");
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_writes_at_once_where_nothing_is_gathered)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    struct log_sink *sink = open_sink(path, 0);
    hand_over(sink, "first");
    log_wait_for_text(path, "first\n");
    hand_over(sink, "second");
    log_wait_for_text(path, "second\n");
    log_sink_close(sink, 60000);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_does_not_gather_more_than_a_part_of_the_ring)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    struct log_sink *sink = open_sink(path, 3600 * 1000);
    for (size_t i = 0; i <= RING_BYTES / 4 / LINE_BYTES; i++)
        hand_over_number(sink, i);
    log_wait_for_text(path, "0 ");
    log_sink_close(sink, 60000); /* an hour is not waited for either */
    char *text = log_text(path);
    ck_assert_uint_eq(assert_numbers(text, 0), RING_BYTES / 4 / LINE_BYTES + 1);
    free(text);
    free(path);
    folder_remove(folder);
}
END_TEST

/* A page in the pipe, a page in the writer's hand and the rest in the ring, which is neither empty nor full. */
START_TEST(log_sink_goes_round_its_ring)
{
    enum { LINES = 2000, UNDER_WAY = 150 };
    static char text[(LINES + UNDER_WAY) * LINE_BYTES + 1];
    char *folder = folder_create(), *path = folder_path(folder, "fifo");
    int reader = log_make_fifo(path);
    ck_assert_int_ge(fcntl(reader, F_SETPIPE_SZ, 4096), 0);
    struct log_sink *sink = open_sink(path, 0);
    for (size_t handed = 0, seen = 0; seen < LINES; seen = strlen(text) / LINE_BYTES) {
        for (; handed < seen + UNDER_WAY; handed++)
            hand_over_number(sink, handed);
        log_read_more(reader, text, sizeof text);
    }
    ck_assert_uint_eq(log_sink_lost(sink), 0);
    text[LINES * LINE_BYTES] = '\0';
    ck_assert_uint_eq(assert_numbers(text, 0), LINES);
    close(reader);
    log_sink_close(sink, 60000);
    free(path);
    folder_remove(folder);
}
END_TEST

/* Takes from the text what the lines say: how many numbers, and how many lost. */
static void count_text(const char *text, size_t *ret_lines, size_t *ret_lost)
{
    size_t expected = 0;
    *ret_lines = *ret_lost = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        if (strncmp(text, "lost ", 5) == 0) {
            size_t lost = strtoul(text + 5, NULL, 10);
            *ret_lost += lost;
            expected += lost; /* the line stands where they would */
        } else {
            ck_assert_int_eq(end - text, LINE_BYTES - 1);
            ck_assert_uint_eq(strtoul(text, NULL, 10), expected++);
            ++*ret_lines;
        }
    }
}

START_TEST(log_sink_drops_what_a_stalled_reader_leaves_no_room_for_and_tells_it_in_its_place)
{
    enum { LINES = 5000 };
    static char text[LINES * LINE_BYTES + 65536];
    char *folder = folder_create(), *path = folder_path(folder, "fifo");
    int reader = log_make_fifo(path);
    struct log_sink *sink = open_sink(path, 0);
    for (size_t i = 0; i < LINES; i++)
        hand_over_number(sink, i); /* more than pipe and ring hold, and nobody reads */
    size_t lost = log_sink_lost(sink), lines = 0, told = 0;
    ck_assert_uint_gt(lost, 0);
    while (lines + told < LINES) {
        log_read_more(reader, text, sizeof text);
        count_text(text, &lines, &told);
    }
    ck_assert_uint_eq(told, lost);
    ck_assert_uint_eq(lines + told, LINES);
    hand_over_number(sink, LINES);
    while (lines + told < LINES + 1) {
        log_read_more(reader, text, sizeof text);
        count_text(text, &lines, &told);
    }
    log_sink_close(sink, 60000);
    close(reader);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_closes_in_time_though_a_reader_stalls)
{
    char *folder = folder_create(), *path = folder_path(folder, "fifo");
    int reader = log_make_fifo(path);
    struct log_sink *sink = open_sink(path, 0);
    for (size_t i = 0; i < 5000; i++)
        hand_over_number(sink, i);
    log_sink_close(sink, 20); /* with a reader that reads nothing it must return at all */
    close(reader);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_outlives_its_reader_and_goes_on_with_the_next)
{
    static char text[65536];
    char *folder = folder_create(), *path = folder_path(folder, "fifo");
    signal(SIGPIPE, SIG_DFL);
    int reader = log_make_fifo(path);
    struct log_sink *sink = open_sink(path, 0);
    hand_over(sink, "heard");
    while (!strchr(text, '\n'))
        log_read_more(reader, text, sizeof text);
    ck_assert_str_eq(text, "heard\n");
    close(reader);
    hand_over(sink, "for the next"); /* EPIPE, again and again */
    for (size_t i = 0; i < 20; i++)
        log_pause();
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(reader, 0);
    for (text[0] = '\0'; !strchr(text, '\n');)
        log_read_more(reader, text, sizeof text);
    ck_assert_str_eq(text, "for the next\n");
    close(reader);
    hand_over(sink, "for nobody");
    log_sink_close(sink, 3600 * 1000); /* a reader that is gone is not waited for */
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_keeps_its_lines_while_the_disk_is_full)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    ck_assert_int_eq(symlink("/dev/full", path), 0);
    struct log_sink *sink = open_sink(path, 0);
    for (size_t i = 0; i < 50; i++)
        hand_over_number(sink, i);
    ck_assert_uint_eq(log_sink_lost(sink), 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    log_sink_close(sink, 60000);
    char *text = log_text(path);
    ck_assert_uint_eq(assert_numbers(text, 0), 50);
    free(text);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_counts_what_a_full_disk_has_not_taken_and_closes)
{
    struct log_sink *sink = open_sink("/dev/full", 0);
    for (size_t i = 0; i < 10 * RING_BYTES / LINE_BYTES; i++)
        hand_over_number(sink, i);
    ck_assert_uint_ge(log_sink_lost(sink), 8 * RING_BYTES / LINE_BYTES);
    log_sink_close(sink, 3600 * 1000); /* a disk that is full at the end is not waited for */
}
END_TEST

/* Where the file begins whose disk is full behind it: far beyond what libcheck writes into files of its own meanwhile. */
enum { HOLE_BYTES = 1 << 20, CUT_AT = HOLE_BYTES + 5 * LINE_BYTES + 30 };

/* Files end at `bytes`, in the middle of a write, as a full disk ends them. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Hands over the lines 0 to 19, of which the disk takes five and the begin of the sixth. */
static void fill_disk(struct log_sink *sink, const char *path)
{
    ck_assert_int_eq(truncate(path, HOLE_BYTES), 0);
    limit_files(CUT_AT);
    for (size_t i = 0; i < 20; i++)
        hand_over_number(sink, i);
    log_wait_for_size(path, CUT_AT);
}

START_TEST(log_sink_completes_a_line_that_was_cut)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    struct log_sink *sink = open_sink(path, 0);
    fill_disk(sink, path);
    limit_files(RLIM_INFINITY);
    log_sink_close(sink, 60000);
    log_wait_for_size(path, HOLE_BYTES + 20 * LINE_BYTES);
    char *text = log_text(path);
    ck_assert_uint_eq(assert_numbers(text + HOLE_BYTES, 0), 20);
    free(text);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_writes_a_line_that_was_cut_whole_into_the_next_file)
{
    char *folder = folder_create(), *path = folder_path(folder, "log"), *old = folder_path(folder, "log.1");
    struct log_sink *sink = open_sink(path, 0);
    fill_disk(sink, path);
    ck_assert_int_eq(rename(path, old), 0);
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    log_sink_close(sink, 60000);
    char *text = log_text(path);
    ck_assert_uint_eq(assert_numbers(text, 5), 20);
    free(text);
    free(old);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_completes_a_line_that_was_cut_where_the_file_was_not_moved)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    size_t descriptors = log_count_descriptors();
    struct log_sink *sink = open_sink(path, 0);
    fill_disk(sink, path);
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    while (log_count_descriptors() > descriptors + 1) /* while the disk is still full */
        log_pause();
    limit_files(RLIM_INFINITY);
    log_sink_close(sink, 60000);
    char *text = log_text(path);
    ck_assert_uint_eq(assert_numbers(text + HOLE_BYTES, 0), 20);
    free(text);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_reopens_a_file_that_was_moved)
{
    char *folder = folder_create(), *path = folder_path(folder, "log"), *old = folder_path(folder, "log.1");
    size_t descriptors = log_count_descriptors();
    struct log_sink *sink = open_sink(path, 0);
    hand_over(sink, "old");
    log_wait_for_text(path, "old\n");
    ck_assert_int_eq(rename(path, old), 0);
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    while (log_count_descriptors() > descriptors + 1) /* without a line, the old file is let go */
        log_pause();
    hand_over(sink, "new");
    log_sink_close(sink, 60000);
    log_assert_text(old, "old\n");
    log_assert_text(path, "new\n");
    ck_assert_uint_eq(log_count_descriptors(), descriptors);
    free(old);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_stays_with_its_file_when_it_cannot_reopen)
{
    char *folder = folder_create(), *path = folder_path(folder, "logs/log"), *logs = folder_path(folder, "logs");
    char *moved = folder_path(folder, "moved"), *moved_log = folder_path(folder, "moved/log");
    struct error err = {0};
    folder_make(folder, "logs");
    struct log_sink *sink = open_sink(path, 0);
    ck_assert_int_eq(rename(logs, moved), 0);
    ck_assert_int_eq(log_sink_reopen(sink, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "logs/log"));
    ck_assert_str_ne(err.hint, "");
    hand_over(sink, "still here");
    log_sink_close(sink, 60000);
    log_assert_text(moved_log, "still here\n");
    free(moved_log);
    free(moved);
    free(logs);
    free(path);
    folder_remove(folder);
}
END_TEST

static void assert_refused(const char *path)
{
    const struct log_sink_options options = {.destination = path, .describe_loss = tell_loss};
    size_t descriptors = log_count_descriptors();
    struct log_sink *sink = NULL;
    struct error err = {0};
    ck_assert_int_eq(log_sink_open(&options, &sink, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_str_ne(err.hint, "");
    ck_assert_ptr_null(sink);
    ck_assert_uint_eq(log_count_descriptors(), descriptors);
}

START_TEST(log_sink_refuses_what_cannot_be_opened)
{
    char *folder = folder_create(), *path = folder_path(folder, "absent/log"), *fifo = folder_path(folder, "fifo");
    assert_refused(path);
    assert_refused(folder);
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    assert_refused(fifo); /* nobody reads it: at once, without waiting for somebody */
    free(fifo);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_writes_to_the_standard_streams_and_leaves_them_open)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    int before = dup(STDOUT_FILENO);
    log_catch_stream(STDOUT_FILENO, path);
    log_catch_stream(STDERR_FILENO, path);
    struct log_sink *sink = open_sink("stdout", 0);
    hand_over(sink, "to stdout");
    ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
    log_sink_close(sink, 60000);
    sink = open_sink("stderr", 0);
    hand_over(sink, "to stderr");
    log_sink_close(sink, 60000);
    ck_assert_int_eq(write(STDOUT_FILENO, "open\n", 5), 5);
    ck_assert_int_eq(dup2(before, STDOUT_FILENO), STDOUT_FILENO);
    log_assert_text(path, "to stdout\nto stderr\nopen\n");
    free(path);
    folder_remove(folder);
}
END_TEST

enum { THREADS = 4, THREAD_LINES = 3000 };

struct writer {
    struct log_sink *sink;
    size_t number;
};

static void *write_many(void *argument)
{
    const struct writer *writer = argument;
    for (size_t i = 0; i < THREAD_LINES; i++)
        hand_over_number(writer->sink, writer->number * THREAD_LINES + i);
    return NULL;
}

/* Every line is whole, and those of each thread come in their order; what is missing was counted. */
static void assert_threads_lines(const char *text, uint64_t lost)
{
    size_t next[THREADS] = {0}, seen = 0, told = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        size_t number = strtoul(text, NULL, 10), thread = number / THREAD_LINES;
        if (strncmp(text, "lost ", 5) == 0) {
            told += strtoul(text + 5, NULL, 10);
            continue;
        }
        ck_assert_int_eq(end - text, LINE_BYTES - 1);
        ck_assert_uint_lt(thread, THREADS);
        ck_assert_uint_ge(number % THREAD_LINES, next[thread]);
        next[thread] = number % THREAD_LINES + 1;
        seen++;
    }
    ck_assert_uint_eq(told, lost);
    ck_assert_uint_eq(seen + told, THREADS * THREAD_LINES);
}

START_TEST(log_sink_takes_lines_from_many_threads_while_it_is_reopened)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    for (unsigned gather_ms = 0; gather_ms < 4; gather_ms += 3) {
        struct log_sink *sink = open_sink(path, gather_ms);
        pthread_t threads[THREADS];
        struct writer writers[THREADS];
        for (size_t i = 0; i < THREADS; i++) {
            writers[i] = (struct writer){sink, i};
            ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, &writers[i]), 0);
        }
        for (size_t i = 0; i < 50; i++)
            ck_assert_int_eq(log_sink_reopen(sink, NULL), STATUS_OK);
        for (size_t i = 0; i < THREADS; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        uint64_t lost = log_sink_lost(sink);
        log_sink_close(sink, 60000);
        char *text = log_text(path);
        assert_threads_lines(text, lost);
        free(text);
        ck_assert_int_eq(unlink(path), 0);
    }
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(log_sink_close_takes_null)
{
    log_sink_close(NULL, 0);
}
END_TEST

UNIT_MAIN("server/log_sink", log_sink_appends_lines_in_their_order,
          log_sink_writes_at_once_where_nothing_is_gathered, log_sink_does_not_gather_more_than_a_part_of_the_ring,
          log_sink_goes_round_its_ring,
          log_sink_drops_what_a_stalled_reader_leaves_no_room_for_and_tells_it_in_its_place,
          log_sink_closes_in_time_though_a_reader_stalls, log_sink_outlives_its_reader_and_goes_on_with_the_next,
          log_sink_keeps_its_lines_while_the_disk_is_full,
          log_sink_counts_what_a_full_disk_has_not_taken_and_closes, log_sink_completes_a_line_that_was_cut,
          log_sink_writes_a_line_that_was_cut_whole_into_the_next_file,
          log_sink_completes_a_line_that_was_cut_where_the_file_was_not_moved,
          log_sink_reopens_a_file_that_was_moved, log_sink_stays_with_its_file_when_it_cannot_reopen,
          log_sink_refuses_what_cannot_be_opened, log_sink_writes_to_the_standard_streams_and_leaves_them_open,
          log_sink_takes_lines_from_many_threads_while_it_is_reopened, log_sink_close_takes_null)
