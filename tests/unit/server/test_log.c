#include "server/log.h"

#include <pthread.h>
#include <regex.h>

#include "server/json_text.h"
#include "tests/unit/server/log_reader.h"

#define TIME "2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"

/* Each test has a folder with the file "log" in it, and standard error goes to the file "stderr" there. */
static char *folder, *path, *stderr_path;

static void begin(void)
{
    folder = folder_create();
    path = folder_path(folder, "log");
    stderr_path = folder_path(folder, "stderr");
    unsetenv("JOURNAL_STREAM");
    log_catch_stream(STDERR_FILENO, stderr_path);
}

static void end(void)
{
    free(stderr_path);
    free(path);
    folder_remove(folder);
}

static void start(const char *destination, enum log_format format, enum log_level level)
{
    const struct log_options options = {.level = level, .format = format, .destination = destination};
    struct error err = {0};
    enum status status = log_start(&options, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void assert_matches(const char *file, const char *pattern)
{
    regex_t regex;
    char *text = log_text(file);
    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&regex, text, 0, NULL, 0) == 0, "%s", text);
    regfree(&regex);
    free(text);
}

START_TEST(log_writes_text_with_time_and_level)
{
    begin();
    start("stderr", LOG_TEXT, LOG_DEBUG);
    log_write(LOG_INFO, "Using %s device, ready at %s", "cpu", "http://127.0.0.1:8080");
    log_write(LOG_ERROR, "e");
    log_write(LOG_WARNING, "w");
    log_write(LOG_DEBUG, "d");
    log_stop();
    assert_matches(stderr_path, "^mlpd: " TIME " info: Using cpu device, ready at http://127\\.0\\.0\\.1:8080\n"
                                "mlpd: " TIME " error: e\n"
                                "mlpd: " TIME " warning: w\n"
                                "mlpd: " TIME " debug: d\n$");
    end();
}
END_TEST

START_TEST(log_writes_one_json_object_a_line)
{
    begin();
    start(path, LOG_JSON, LOG_INFO);
    log_write(LOG_INFO, "it is \"%s\"", "up");
    log_stop();
    assert_matches(path, "^\\{\"time\":\"" TIME "\",\"level\":\"info\",\"message\":\"it is \\\\\"up\\\\\"\"\\}\n$");
    char *text = log_text(path);
    ck_assert(json_is_valid(text, strlen(text)));
    free(text);
    log_assert_text(stderr_path, "");
    end();
}
END_TEST

START_TEST(log_is_plain_on_standard_error_while_it_is_not_started)
{
    begin();
    log_write(LOG_INFO, "before");
    log_write(LOG_ERROR, "bad");
    log_assert_text(stderr_path, "mlpd: before\nmlpd: error: bad\n");
    start(path, LOG_TEXT, LOG_INFO);
    log_write(LOG_INFO, "within");
    log_stop();
    log_stop();
    log_write(LOG_INFO, "after");
    assert_matches(path, "^mlpd: " TIME " info: within\n$");
    assert_matches(stderr_path, "error: bad\nmlpd: " TIME " info: after\n$");
    end();
}
END_TEST

START_TEST(log_leaves_the_time_out_on_a_terminal)
{
    static char text[256];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) {
        UNIT_SKIP("there are no pseudo-terminals here");
        return;
    }
    begin();
    int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(other_end, 0);
    ck_assert_int_eq(dup2(other_end, STDERR_FILENO), STDERR_FILENO);
    start("stderr", LOG_TEXT, LOG_INFO);
    log_write(LOG_INFO, "up");
    log_write(LOG_WARNING, "slow");
    log_stop();
    while (log_count_lines(text) < 2)
        log_read_more(terminal, text, sizeof text);
    ck_assert_str_eq(text, "mlpd: up\r\nmlpd: warning: slow\r\n");
    end();
}
END_TEST

START_TEST(log_tells_the_journal_the_level_by_a_prefix)
{
    struct stat st;
    char stream[64];
    begin();
    ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    start("stderr", LOG_TEXT, LOG_DEBUG);
    log_write(LOG_INFO, "up");
    log_write(LOG_ERROR, "down");
    log_write(LOG_DEBUG, "why");
    log_stop();
    log_assert_text(stderr_path, "<6>mlpd: up\n<3>mlpd: error: down\n<7>mlpd: debug: why\n");
    setenv("JOURNAL_STREAM", "1:1", 1); /* inherited from a parent; this is another stream */
    start("stderr", LOG_TEXT, LOG_INFO);
    log_write(LOG_INFO, "elsewhere");
    log_stop();
    assert_matches(stderr_path, "\nmlpd: " TIME " info: elsewhere\n$");
    end();
}
END_TEST

START_TEST(log_leaves_out_what_is_below_its_level)
{
    begin();
    ck_assert(log_takes(LOG_INFO) && !log_takes(LOG_DEBUG));
    start(path, LOG_TEXT, LOG_WARNING);
    ck_assert(log_takes(LOG_ERROR) && log_takes(LOG_WARNING) && !log_takes(LOG_INFO));
    log_write(LOG_ERROR, "1");
    log_write(LOG_WARNING, "2");
    log_write(LOG_INFO, "3");
    log_write(LOG_DEBUG, "4");
    log_error(LOG_INFO, &(struct error){.message = "5"});
    log_limited(&(struct log_limiter){0}, LOG_INFO, "6");
    log_stop();
    assert_matches(path, "^[^\n]*error: 1\n[^\n]*warning: 2\n$");
    end();
}
END_TEST

START_TEST(log_error_writes_message_and_hint)
{
    struct error err;
    begin();
    error_set(&err, STATUS_IO, "port %d is in use", 80);
    start(path, LOG_TEXT, LOG_INFO);
    log_error(LOG_ERROR, &err);
    error_hint(&err, "choose another with --port");
    log_error(LOG_ERROR, &err);
    log_stop();
    assert_matches(path, "error: port 80 is in use\n.*error: port 80 is in use; choose another with --port\n$");
    ck_assert_int_eq(unlink(path), 0);
    start(path, LOG_JSON, LOG_INFO);
    log_error(LOG_ERROR, &err);
    log_stop();
    assert_matches(path, "\"message\":\"port 80 is in use\",\"hint\":\"choose another with --port\"\\}\n$");
    end();
}
END_TEST

START_TEST(log_keeps_foreign_bytes_from_ending_the_line_or_steering_a_terminal)
{
    static const char foreign[] = "a\nmlpd: b\r\x1B[2J\x7F\xFF\xC3\xA9";
    begin();
    start(path, LOG_TEXT, LOG_INFO);
    log_write(LOG_INFO, "%s", foreign);
    log_stop();
    assert_matches(path, "^[^\n]*info: a\\?mlpd: b\\?\\?\\[2J\\?\\?\xC3\xA9\n$");
    ck_assert_int_eq(unlink(path), 0);
    start(path, LOG_JSON, LOG_INFO);
    log_write(LOG_INFO, "%s", foreign);
    log_stop();
    char *text = log_text(path);
    ck_assert_uint_eq(log_count_lines(text), 1);
    ck_assert(json_is_valid(text, strlen(text)));
    ck_assert_ptr_nonnull(strstr(text, "\"a\\u000amlpd: b\\u000d\\u001b[2J\\u007f\xEF\xBF\xBD\xC3\xA9\""));
    free(text);
    end();
}
END_TEST

START_TEST(log_cuts_messages_and_still_writes_whole_lines)
{
    char message[4 * LOG_MESSAGE_MAX];
    struct error err = {.status = STATUS_IO};
    begin();
    memset(message, '\x01', sizeof message - 1); /* six bytes each in JSON */
    message[sizeof message - 1] = '\0';
    memset(err.message, '\x01', sizeof err.message - 1);
    memset(err.hint, '\x01', sizeof err.hint - 1);
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        start(path, (enum log_format)format, LOG_INFO);
        log_write(LOG_INFO, "%s", message);
        log_error(LOG_INFO, &err);
        log_stop();
        char *text = log_text(path), *newline = strchr(text, '\n');
        ck_assert_uint_eq(log_count_lines(text), 2);
        *newline = '\0';
        ck_assert(format == LOG_TEXT || json_is_valid(text, (size_t)(newline - text)));
        ck_assert(format == LOG_TEXT || json_is_valid(newline + 1, strlen(newline + 1)));
        free(text);
        ck_assert_int_eq(unlink(path), 0);
    }
    end();
}
END_TEST

START_TEST(log_limited_writes_one_line_a_second_and_counts_the_rest)
{
    static struct log_limiter limiter, other;
    begin();
    start(path, LOG_TEXT, LOG_INFO);
    atomic_store(&limiter.next_ms, 0);
    log_limited(&limiter, LOG_WARNING, "full %d", 0);
    atomic_store(&limiter.next_ms, INT64_MAX); /* the second is not over */
    for (int i = 1; i < 4; i++)
        log_limited(&limiter, LOG_WARNING, "full %d", i);
    log_limited(&other, LOG_WARNING, "elsewhere");
    atomic_store(&limiter.next_ms, 1); /* it is */
    log_limited(&limiter, LOG_WARNING, "full %d", 4);
    ck_assert_int_gt(atomic_load(&limiter.next_ms), 1);
    atomic_store(&limiter.next_ms, 1);
    log_limited(&limiter, LOG_WARNING, "full %d", 5);
    log_stop();
    assert_matches(path, "^[^\n]*full 0\n[^\n]*elsewhere\n"
                         "[^\n]*full 4 \\(and 3 more such lines since the last\\)\n[^\n]*full 5\n$");
    end();
}
END_TEST

START_TEST(log_limited_counts_behind_a_message_that_is_cut)
{
    char message[2 * LOG_MESSAGE_MAX];
    struct log_limiter limiter = {.left_out = 7};
    begin();
    memset(message, 'x', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    start(path, LOG_TEXT, LOG_INFO);
    log_limited(&limiter, LOG_WARNING, "%s", message);
    log_stop();
    assert_matches(path, "xxx \\(and 7 more such lines since the last\\)\n$");
    end();
}
END_TEST

START_TEST(log_reopens_its_file_and_logs_when_it_cannot)
{
    begin();
    folder_make(folder, "logs");
    char *logs = folder_path(folder, "logs"), *moved = folder_path(folder, "moved");
    char *log = folder_path(folder, "logs/log"), *moved_log = folder_path(folder, "moved/log");
    log_reopen(); /* without one, nothing */
    start(log, LOG_TEXT, LOG_INFO);
    log_write(LOG_INFO, "old");
    log_wait_for_text(log, "old\n");
    ck_assert_int_eq(rename(logs, moved), 0);
    log_reopen();
    log_wait_for_text(moved_log, "cannot be opened");
    folder_make(folder, "logs");
    log_reopen();
    log_write(LOG_INFO, "new");
    log_stop();
    assert_matches(moved_log,
                   "^[^\n]*old\n[^\n]*error: the log [^\n]*logs/log cannot be opened: [^\n]*; [^\n]*\n$");
    assert_matches(log, "^[^\n]*new\n$");
    free(moved_log);
    free(log);
    free(moved);
    free(logs);
    end();
}
END_TEST

START_TEST(log_start_refuses_a_file_that_cannot_be_opened_and_goes_on_as_before)
{
    struct error err = {0};
    begin();
    const struct log_options options = {.level = LOG_ERROR, .format = LOG_JSON, .destination = folder};
    ck_assert_int_eq(log_start(&options, &err), STATUS_IO);
    log_write(LOG_INFO, "as before");
    log_assert_text(stderr_path, "mlpd: as before\n");
    end();
}
END_TEST

START_TEST(log_counts_and_tells_the_lines_that_a_stalled_reader_costs)
{
    enum { LINES = 40000 };
    static char text[8 * 1024 * 1024];
    unsigned long long told = 0;
    begin();
    char *fifo = folder_path(folder, "fifo");
    int reader = log_make_fifo(fifo);
    start(fifo, LOG_JSON, LOG_INFO);
    for (int i = 0; i < LINES; i++)
        log_write(LOG_INFO, "line %d", i);
    uint64_t lost = log_lost();
    ck_assert_uint_gt(lost, 0);
    while (!strstr(text, "were lost here"))
        log_read_more(reader, text, sizeof text);
    log_write(LOG_INFO, "again");
    while (!strstr(text, "\"again\"}\n"))
        log_read_more(reader, text, sizeof text);
    const char *line = strstr(text, "\"level\":\"warning\",\"message\":\"");
    ck_assert_ptr_nonnull(line);
    ck_assert_int_eq(sscanf(line, "\"level\":\"warning\",\"message\":\"%llu lines of the log were lost", &told), 1);
    ck_assert_uint_eq(told, lost);
    ck_assert_uint_eq(log_count_lines(text), LINES - lost + 2);
    log_stop();
    ck_assert_uint_eq(log_lost(), lost);
    free(fifo);
    end();
}
END_TEST

START_TEST(log_stops_and_goes_on_though_nobody_reads_standard_error)
{
    int ends[2];
    begin();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    start("stderr", LOG_TEXT, LOG_INFO);
    for (int i = 0; i < 40000; i++)
        log_write(LOG_INFO, "line %d", i);
    log_stop(); /* both return at all */
    uint64_t lost = log_lost();
    log_write(LOG_INFO, "the last word");
    ck_assert_uint_eq(log_lost(), lost + 1);
    end();
}
END_TEST

static void *log_many(void *unused)
{
    static struct log_limiter limiter;
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        log_write(LOG_INFO, "line %d", i);
        log_limited(&limiter, LOG_WARNING, "often");
    }
    return NULL;
}

START_TEST(log_may_be_started_reopened_and_stopped_while_threads_log)
{
    pthread_t threads[3];
    begin();
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (int i = 0; i < 20; i++) {
        start(i % 2 ? path : "stderr", i % 3 ? LOG_TEXT : LOG_JSON, LOG_INFO);
        log_reopen();
        log_stop();
    }
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    char *in_file = log_text(path), *in_stderr = log_text(stderr_path);
    ck_assert_uint_ge(log_count_lines(in_file) + log_count_lines(in_stderr) + log_lost(), 6001);
    free(in_stderr);
    free(in_file);
    end();
}
END_TEST

START_TEST(log_reads_the_names_of_levels_and_formats)
{
    enum log_level level = LOG_DEBUG;
    enum log_format format = LOG_JSON;
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        ck_assert(log_level_read(log_level_name((enum log_level)i), &level));
        ck_assert_int_eq(level, i);
    }
    ck_assert_str_eq(log_level_name(LOG_WARNING), "warning");
    ck_assert(log_format_read("text", &format) && format == LOG_TEXT);
    ck_assert(log_format_read("json", &format) && format == LOG_JSON);
    ck_assert(!log_level_read("warn", &level) && !log_level_read("", &level) && !log_level_read("INFO", &level));
    ck_assert(!log_format_read("xml", &format) && !log_format_read("", &format));
    ck_assert(level == LOG_DEBUG && format == LOG_JSON);
}
END_TEST

UNIT_MAIN("server/log", log_writes_text_with_time_and_level, log_writes_one_json_object_a_line,
          log_is_plain_on_standard_error_while_it_is_not_started, log_leaves_the_time_out_on_a_terminal,
          log_tells_the_journal_the_level_by_a_prefix, log_leaves_out_what_is_below_its_level,
          log_error_writes_message_and_hint, log_keeps_foreign_bytes_from_ending_the_line_or_steering_a_terminal,
          log_cuts_messages_and_still_writes_whole_lines, log_limited_writes_one_line_a_second_and_counts_the_rest,
          log_limited_counts_behind_a_message_that_is_cut, log_reopens_its_file_and_logs_when_it_cannot,
          log_start_refuses_a_file_that_cannot_be_opened_and_goes_on_as_before,
          log_counts_and_tells_the_lines_that_a_stalled_reader_costs,
          log_stops_and_goes_on_though_nobody_reads_standard_error,
          log_may_be_started_reopened_and_stopped_while_threads_log, log_reads_the_names_of_levels_and_formats)
