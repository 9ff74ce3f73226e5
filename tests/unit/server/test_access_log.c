#include "server/access_log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server/json_text.h"
#include "tests/unit/server/log_reader.h"

static struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_addr = {0}};

/* What the documentation shows. */
static struct access_record a_record(void)
{
    inet_pton(AF_INET, "192.0.2.255", &ipv4.sin_addr);
    return (struct access_record){
        .request_id = "9f0c",
        .peer = (const struct sockaddr *)&ipv4,
        .method = "POST",
        .path = "/predict",
        .protocol = "HTTP/1.1",
        .user_agent = "curl/8.5.0",
        .model = "fashion_mnist/1",
        .code = 200,
        .request_bytes = 784,
        .response_bytes = 181,
        .rows = 1,
        .decode_us = 12,
        .queue_us = 40,
        .compute_us = 210,
        .encode_us = 6,
        .total_us = 301,
        .time_ms = 1763991482123,
    };
}

/* The record's line without its newline, until the next call. */
static const char *line_of(const struct access_record *record, enum log_format format)
{
    static struct log_line line;
    access_log_format(record, format, &line);
    ck_assert_int_eq(line.data[line.len - 1], '\n');
    ck_assert_ptr_null(memchr(line.data, '\n', line.len - 1));
    line.data[line.len - 1] = '\0';
    return line.data;
}

START_TEST(access_log_writes_the_combined_form_and_the_stages_behind_it)
{
    const struct access_record record = a_record();
    ck_assert_str_eq(line_of(&record, LOG_TEXT),
                     "192.0.2.255 - - [24/Nov/2025:13:38:02 +0000] \"POST /predict HTTP/1.1\" 200 181 \"-\" "
                     "\"curl/8.5.0\" id=\"9f0c\" in=784 rows=1 model=\"fashion_mnist/1\" decode_us=12 queue_us=40 "
                     "compute_us=210 encode_us=6 total_us=301");
}
END_TEST

START_TEST(access_log_writes_one_json_object)
{
    const struct access_record record = a_record();
    const char *line = line_of(&record, LOG_JSON);
    ck_assert_str_eq(
        line, "{\"time\":\"2025-11-24T13:38:02.123Z\",\"id\":\"9f0c\",\"peer\":\"192.0.2.255\",\"method\":\"POST\","
              "\"path\":\"/predict\",\"protocol\":\"HTTP/1.1\",\"code\":200,\"request_bytes\":784,"
              "\"response_bytes\":181,\"user_agent\":\"curl/8.5.0\",\"rows\":1,\"model\":\"fashion_mnist/1\","
              "\"decode_us\":12,\"queue_us\":40,\"compute_us\":210,\"encode_us\":6,\"total_us\":301}");
    ck_assert(json_is_valid(line, strlen(line)));
}
END_TEST

START_TEST(access_log_writes_a_dash_for_what_is_not_known)
{
    const struct access_record record = {.code = 400, .path = "", .time_ms = 1763991482123};
    ck_assert_str_eq(
        line_of(&record, LOG_TEXT),
        "- - - [24/Nov/2025:13:38:02 +0000] \"- - -\" 400 0 \"-\" \"-\" id=\"-\" in=0 rows=0 model=\"-\" "
        "decode_us=0 queue_us=0 compute_us=0 encode_us=0 total_us=0");
    const char *line = line_of(&record, LOG_JSON);
    ck_assert(json_is_valid(line, strlen(line)));
    ck_assert_ptr_nonnull(strstr(line, "\"peer\":\"-\",\"method\":\"-\""));
}
END_TEST

static void assert_peer(const struct sockaddr *peer, const char *expected)
{
    const struct access_record record = {.peer = peer, .code = 200};
    const char *line = line_of(&record, LOG_TEXT);
    ck_assert_msg(strncmp(line, expected, strlen(expected)) == 0 && line[strlen(expected)] == ' ', "%s", line);
}

START_TEST(access_log_writes_peers_of_every_kind)
{
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    const struct sockaddr other = {.sa_family = AF_APPLETALK};
    inet_pton(AF_INET, "10.0.0.1", &ipv4.sin_addr);
    assert_peer((const struct sockaddr *)&ipv4, "10.0.0.1");
    inet_pton(AF_INET6, "2001:db8::7", &ipv6.sin6_addr);
    assert_peer((const struct sockaddr *)&ipv6, "2001:db8::7");
    inet_pton(AF_INET6, "::ffff:198.51.100.20", &ipv6.sin6_addr);
    assert_peer((const struct sockaddr *)&ipv6, "198.51.100.20");
    assert_peer((const struct sockaddr *)&local, "unix");
    assert_peer(&other, "-");
    assert_peer(NULL, "-");
}
END_TEST

START_TEST(access_log_begins_a_request_when_it_came)
{
    const struct access_record record = {.code = 200, .total_us = 3600 * 1000000ULL};
    struct log_line before, after;
    int64_t from = log_line_now_ms() - 3600 * 1000;
    const char *line = line_of(&record, LOG_JSON) + strlen("{\"time\":\"");
    int64_t to = log_line_now_ms() - 3600 * 1000;
    log_line_begin(&before);
    log_line_add_time(&before, from);
    log_line_begin(&after);
    log_line_add_time(&after, to);
    ck_assert_int_ge(memcmp(line, before.data, before.len), 0);
    ck_assert_int_le(memcmp(line, after.data, after.len), 0);
}
END_TEST

START_TEST(access_log_escapes_foreign_bytes)
{
    struct access_record record = a_record();
    record.path = "/a b\"\n\x1B\xFF\xC3\xA9";
    record.request_id = "a\"b\\c";
    record.user_agent = "x\" \"y\r\n";
    const char *line = line_of(&record, LOG_TEXT);
    ck_assert_ptr_nonnull(strstr(line, "\"POST /a\\x20b\\\"\\x0a\\x1b\\xff\\xc3\\xa9 HTTP/1.1\" 200 "));
    ck_assert_ptr_nonnull(strstr(line, " id=\"a\\\"b\\\\c\" "));
    ck_assert_ptr_nonnull(strstr(line, " \"-\" \"x\\\" \\\"y\\x0d\\x0a\" "));
    line = line_of(&record, LOG_JSON);
    ck_assert(json_is_valid(line, strlen(line)));
    ck_assert_ptr_nonnull(strstr(line, "\"path\":\"/a b\\\"\\u000a\\u001b\xEF\xBF\xBD\xC3\xA9\""));
}
END_TEST

START_TEST(access_log_writes_whole_lines_however_long_the_texts_are)
{
    static const char bytes[] = {'x', '"', '\x01', '\xFF', ' '};
    char text[3 * LOG_LINE_MAX];
    for (size_t i = 0; i < sizeof bytes; i++) {
        memset(text, bytes[i], sizeof text - 1);
        text[sizeof text - 1] = '\0';
        const struct access_record record = {
            .request_id = text,
            .method = text,
            .path = text,
            .protocol = text,
            .user_agent = text,
            .model = text,
            .code = UINT32_MAX,
            .request_bytes = UINT64_MAX,
            .response_bytes = UINT64_MAX,
            .rows = UINT64_MAX,
            .decode_us = UINT64_MAX,
            .queue_us = UINT64_MAX,
            .compute_us = UINT64_MAX,
            .encode_us = UINT64_MAX,
            .total_us = UINT64_MAX,
            .time_ms = 1,
        };
        const char *line = line_of(&record, LOG_JSON), *last = "\"total_us\":18446744073709551615}";
        ck_assert(json_is_valid(line, strlen(line)));
        ck_assert_str_eq(line + strlen(line) - strlen(last), last);
        line = line_of(&record, LOG_TEXT);
        last = " total_us=18446744073709551615";
        ck_assert_str_eq(line + strlen(line) - strlen(last), last);
    }
}
END_TEST

static struct access_log *open_log(const char *path, enum log_format format, unsigned every)
{
    const struct access_log_options options = {.destination = path, .format = format, .every = every};
    struct access_log *log;
    struct error err = {0};
    enum status status = access_log_open(&options, &log, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return log;
}

static void write_code(struct access_log *log, unsigned code)
{
    struct access_record record = a_record();
    record.code = code;
    access_log_write(log, &record);
}

/* The codes in the order of the lines, each with a blank behind it. */
static void assert_codes(const char *path, const char *expected)
{
    char *text = log_text(path), codes[4096] = "";
    for (const char *at = text; (at = strstr(at, "HTTP/1.1\" ")); at += 10)
        strncat(codes, at + 10, 4);
    ck_assert_str_eq(codes, expected);
    free(text);
}

START_TEST(access_log_logs_every_request_or_every_nth_and_all_that_failed_here)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    static const struct {
        unsigned every;
        const char *codes;
    } cases[] = {
        {0, "200 201 202 503 204 205 500 207 499 "},
        {1, "200 201 202 503 204 205 500 207 499 "},
        {2, "200 202 503 204 500 499 "},
        {3, "200 503 500 "},
        {100, "200 503 500 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct access_log *log = open_log(path, LOG_TEXT, cases[i].every);
        static const unsigned codes[] = {200, 201, 202, 503, 204, 205, 500, 207, 499};
        for (size_t code = 0; code < sizeof codes / sizeof *codes; code++)
            write_code(log, codes[code]);
        access_log_close(log);
        assert_codes(path, cases[i].codes);
        ck_assert_int_eq(unlink(path), 0);
    }
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(access_log_reopens_a_file_that_was_moved)
{
    char *folder = folder_create(), *path = folder_path(folder, "log"), *old = folder_path(folder, "log.1");
    struct access_log *log = open_log(path, LOG_TEXT, 1);
    write_code(log, 200);
    log_wait_for_text(path, "\n");
    ck_assert_int_eq(rename(path, old), 0);
    ck_assert_int_eq(access_log_reopen(log, NULL), STATUS_OK);
    write_code(log, 404);
    access_log_close(log);
    assert_codes(old, "200 ");
    assert_codes(path, "404 ");
    free(old);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(access_log_that_is_off_is_null)
{
    const struct access_record record = a_record();
    access_log_write(NULL, &record);
    ck_assert_int_eq(access_log_reopen(NULL, NULL), STATUS_OK);
    ck_assert_uint_eq(access_log_lost(NULL), 0);
    access_log_close(NULL);
}
END_TEST

START_TEST(access_log_refuses_a_file_that_cannot_be_opened)
{
    char *folder = folder_create();
    const struct access_log_options options = {.destination = folder};
    struct access_log *log = NULL;
    struct error err = {0};
    ck_assert_int_eq(access_log_open(&options, &log, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, folder));
    ck_assert_ptr_null(log);
    folder_remove(folder);
}
END_TEST

START_TEST(access_log_tells_how_many_lines_a_stalled_reader_cost)
{
    enum { LINES = 20000 };
    static char text[8 * 1024 * 1024];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        char *folder = folder_create(), *path = folder_path(folder, "fifo");
        const char *wanted = format == LOG_JSON ? "\"lost\":" : "# ";
        int reader = log_make_fifo(path);
        struct access_log *log = open_log(path, (enum log_format)format, 1);
        for (size_t i = 0; i < LINES; i++)
            write_code(log, 200);
        uint64_t lost = access_log_lost(log);
        ck_assert_uint_gt(lost, 0);
        for (text[0] = '\0'; !strstr(text, wanted) || text[strlen(text) - 1] != '\n';)
            log_read_more(reader, text, sizeof text);
        ck_assert_uint_eq(strtoul(strstr(text, wanted) + strlen(wanted), NULL, 10), lost);
        ck_assert_uint_eq(log_count_lines(text), LINES - lost + 1);
        access_log_close(log);
        close(reader);
        free(path);
        folder_remove(folder);
    }
}
END_TEST

enum { THREADS = 4, THREAD_REQUESTS = 1000 };

static struct access_record shared_record;

static void *answer_many(void *argument)
{
    for (size_t i = 0; i < THREAD_REQUESTS; i++)
        access_log_write(argument, &shared_record);
    return NULL;
}

START_TEST(access_log_takes_requests_from_many_threads)
{
    char *folder = folder_create(), *path = folder_path(folder, "log");
    shared_record = a_record();
    for (unsigned every = 1; every <= 7; every += 6) {
        struct access_log *log = open_log(path, LOG_JSON, every);
        pthread_t threads[THREADS];
        for (size_t i = 0; i < THREADS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, answer_many, log), 0);
        for (size_t i = 0; i < THREADS; i++)
            ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        uint64_t lost = access_log_lost(log);
        access_log_close(log);
        char *text = log_text(path);
        size_t lines = log_count_lines(text), told = 0;
        for (const char *at = text; (at = strstr(at, "\"lost\":")); at++)
            told++;
        ck_assert_uint_eq(lines - told + lost, (THREADS * THREAD_REQUESTS + every - 1) / every);
        free(text);
        ck_assert_int_eq(unlink(path), 0);
    }
    free(path);
    folder_remove(folder);
}
END_TEST

UNIT_MAIN("server/access_log", access_log_writes_the_combined_form_and_the_stages_behind_it,
          access_log_writes_one_json_object, access_log_writes_a_dash_for_what_is_not_known,
          access_log_writes_peers_of_every_kind, access_log_begins_a_request_when_it_came,
          access_log_escapes_foreign_bytes, access_log_writes_whole_lines_however_long_the_texts_are,
          access_log_logs_every_request_or_every_nth_and_all_that_failed_here,
          access_log_reopens_a_file_that_was_moved, access_log_that_is_off_is_null,
          access_log_refuses_a_file_that_cannot_be_opened, access_log_tells_how_many_lines_a_stalled_reader_cost,
          access_log_takes_requests_from_many_threads)
