/* The text that Prometheus reads. tests/data/exposition.txt holds it as it stands after one known day; the integration
 * tests give that file to promtool, and look in it for each name that the dashboard and the alerts use.
 * MLPD_WRITE_EXPOSITION=1 in the environment writes it anew. */
#include "server/read_file.h"
#include "tests/unit/server/exposition.h"

static const char golden[] = "tests/data/exposition.txt";

static const struct metrics_state state = {
    .version = "1.2.3",
    .revision = "0f1e2d3",
    .ready = true,
    .queue_rows = 12,
    .queue_rows_max = 4096,
    .inflight_requests = 2,
    .connections = 17,
    .connections_max = 10000,
    .memory_held_bytes = 1568,
    .memory_max_bytes = 268435456,
    .log_lines_lost = 1,
};

static void answer(struct metrics_shard *shard, size_t endpoint, unsigned code, int64_t request_ns)
{
    metrics_count_event(shard, METRICS_RECEIVED);
    metrics_count_answer(shard, endpoint, code, request_ns);
}

static void predict_often(struct metrics_shard *shard, size_t endpoint, const size_t models[2])
{
    for (size_t i = 0; i < 100; i++) {
        int64_t ns = (int64_t)(20000 + i * 3511);
        size_t model = models[i % 10 == 0];
        struct metrics_inference inference = {METRICS_SUCCESS, 1 + i % 3, ns / 8, ns / 4, ns / 4, ns / 8, ns};
        metrics_count_wait(shard, model, inference.queue_ns);
        metrics_count_batch(shard, model, inference.rows, inference.compute_ns);
        metrics_count_inference(shard, model, &inference);
        answer(shard, endpoint, 200, ns);
    }
}

/* 105 answers, and three more requests that were received: one was lost, and `state` says that two are in flight. */
static void count_a_day(struct metrics *metrics)
{
    struct metrics_shard *shard = exposition_shard(metrics);
    size_t predict = metrics_add_endpoint(metrics, "/predict", true);
    size_t health = metrics_add_endpoint(metrics, "/healthz", false);
    const size_t models[] = {
        metrics_add_model(metrics, &(struct metrics_model){"fashion-mnist", "1", "cpu", "avx2"}),
        metrics_add_model(metrics, &(struct metrics_model){"fashion-mnist", "2", "cpu", "avx2"}),
    };
    predict_often(shard, predict, models);
    answer(shard, predict, 400, 31000);
    answer(shard, predict, 503, 9000);
    metrics_count_rejected(shard, METRICS_QUEUE_FULL);
    metrics_count_inference(shard, models[0],
                            &(struct metrics_inference){METRICS_FAILED_REJECTED, .request_ns = 9000});
    answer(shard, predict, 504, 5000000000);
    metrics_count_wait(shard, models[0], 4999000000);
    metrics_count_event(shard, METRICS_EXPIRED);
    answer(shard, health, 200, 21000);
    answer(shard, METRICS_OTHER, 404, 15000);
    for (size_t i = 0; i < 3; i++)
        metrics_count_event(shard, METRICS_RECEIVED);
    metrics_count_event(shard, METRICS_LOST);
}

/* The length of what does not differ from run to run in the line: all of it, or the name of what the kernel says. */
static size_t steady_length(const char *line)
{
    size_t len = strcspn(line, "\n");
    bool differs = strncmp(line, "process_", 8) == 0 || strncmp(line, "mlpd_start_time_seconds", 23) == 0;
    return differs ? strcspn(line, " ") : len;
}

static void write_golden(const char *text)
{
    FILE *file = fopen(golden, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(metrics_text_is_the_one_that_is_published)
{
    struct metrics *metrics = exposition_metrics();
    count_a_day(metrics);
    struct buffer out = {0}, expected = {0};
    metrics_write(metrics, &state, &out);
    if (getenv("MLPD_WRITE_EXPOSITION"))
        write_golden(out.data);
    ck_assert_int_eq(read_file(golden, 1 << 20, &expected, NULL), STATUS_OK);
    const char *at = out.data, *wanted = expected.data;
    while (*at && *wanted) {
        size_t len = steady_length(at);
        ck_assert_msg(len == steady_length(wanted) && memcmp(at, wanted, len) == 0,
                      "it says\n%.*s\nand not\n%.*s\nwhich MLPD_WRITE_EXPOSITION=1 would mend", (int)len, at,
                      (int)steady_length(wanted), wanted);
        at += strcspn(at, "\n") + 1;
        wanted += strcspn(wanted, "\n") + 1;
    }
    ck_assert_msg(!*at && !*wanted, "one of the two texts ends early: %.60s%.60s", at, wanted);
    buffer_free(&out);
    buffer_free(&expected);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_text_escapes_label_values)
{
    static const struct {
        const char *name, *written;
    } cases[] = {
        {"plain", "plain"},
        {"a\"b", "a\\\"b"},
        {"a\\b", "a\\\\b"},
        {"a\nb", "a\\nb"},
        {"\\n", "\\\\n"},
        {"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x91\x9F", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x91\x9F"},
        {"a\xFFz\xC3", "a\xEF\xBF\xBDz\xEF\xBF\xBD"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct metrics *metrics = exposition_metrics();
        metrics_add_model(metrics, &(struct metrics_model){cases[i].name, "v", "d", "k"});
        char *text = exposition_text(metrics), series[128];
        snprintf(series, sizeof series, "mlpd_rows_total{model=\"%s\"}", cases[i].written);
        exposition_assert(text, series, "0");
        snprintf(series, sizeof series, "mlpd_batch_rows_bucket{model=\"%s\",le=\"+Inf\"}", cases[i].written);
        exposition_assert(text, series, "0");
        free(text);
        metrics_free(metrics);
    }
}
END_TEST

START_TEST(metrics_text_leaves_out_what_is_not_known)
{
    struct metrics *metrics = exposition_metrics();
    struct buffer out = {0};
    metrics_write(metrics, &(struct metrics_state){.version = "1.2.3"}, &out);
    exposition_assert(out.data, "mlpd_build_info{version=\"1.2.3\"}", "1");
    exposition_assert(out.data, "mlpd_ready", "0");
    exposition_assert(out.data, "mlpd_queue_rows", "0");
    exposition_assert(out.data, "mlpd_memory_held_bytes", "0");
    ck_assert_ptr_null(strstr(out.data, "mlpd_queue_rows_max"));
    ck_assert_ptr_null(strstr(out.data, "mlpd_connections_max"));
    ck_assert_ptr_null(strstr(out.data, "mlpd_memory_max_bytes"));
    buffer_free(&out);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_text_publishes_the_state_that_it_is_given)
{
    struct metrics *metrics = exposition_metrics();
    struct buffer out = {0};
    metrics_write(metrics, &state, &out);
    exposition_assert(out.data, "mlpd_build_info{version=\"1.2.3\",revision=\"0f1e2d3\"}", "1");
    exposition_assert(out.data, "mlpd_ready", "1");
    exposition_assert(out.data, "mlpd_queue_rows", "12");
    exposition_assert(out.data, "mlpd_queue_rows_max", "4096");
    exposition_assert(out.data, "mlpd_inflight_requests", "2");
    exposition_assert(out.data, "mlpd_connections", "17");
    exposition_assert(out.data, "mlpd_connections_max", "10000");
    exposition_assert(out.data, "mlpd_memory_held_bytes", "1568");
    exposition_assert(out.data, "mlpd_memory_max_bytes", "268435456");
    exposition_assert(out.data, "mlpd_log_lines_lost_total", "1");
    buffer_free(&out);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_text_says_of_the_process_what_the_kernel_says)
{
    struct metrics *metrics = exposition_metrics();
    char *text = exposition_text(metrics);
    ck_assert_uint_gt(exposition_value(text, "process_resident_memory_bytes"), 100000);
    ck_assert_uint_ge(exposition_value(text, "process_virtual_memory_bytes"),
                      exposition_value(text, "process_resident_memory_bytes"));
    ck_assert_uint_ge(exposition_value(text, "process_threads"), 1);
    ck_assert_uint_ge(exposition_value(text, "process_open_fds"), 3);
    exposition_value(text, "process_cpu_seconds_total");
    unsigned long long began = exposition_value(text, "process_start_time_seconds");
    ck_assert_uint_gt(began, 1500000000);
    ck_assert_uint_ge(exposition_value(text, "mlpd_start_time_seconds") + 1, began);
    free(text);
    metrics_free(metrics);
}
END_TEST

/* Each sample belongs to the family whose HELP and TYPE stand before it, each family comes once. */
static void assert_in_families(char *text)
{
    char family[64] = "", seen[8192] = "";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[64], type[16], *at = line + strlen("# HELP ");
        if (line[0] != '#') {
            ck_assert_msg(strncmp(line, family, strlen(family)) == 0, "%s is not in family %s", line, family);
            continue;
        }
        ck_assert_msg(strncmp(line, "# HELP ", 7) == 0 && sscanf(at, "%63s", family) == 1, "%s", line);
        ck_assert_msg(strchr(at, '.') != NULL, "%s is no sentence", line);
        line = strtok(NULL, "\n");
        ck_assert_ptr_nonnull(line);
        ck_assert_msg(sscanf(line, "# TYPE %63s %15s", name, type) == 2, "%s", line);
        ck_assert_str_eq(name, family);
        snprintf(name, sizeof name, "<%.60s>", family);
        ck_assert_msg(!strstr(seen, name), "%s comes twice", family);
        strcat(seen, name);
        bool total = strlen(family) > 6 && strcmp(family + strlen(family) - 6, "_total") == 0;
        ck_assert_msg(strncmp(family, "nv_", 3) == 0 || total == (strcmp(type, "counter") == 0), "%s is a %s",
                      family, type);
    }
}

START_TEST(metrics_text_has_each_family_once_and_in_one_piece)
{
    struct metrics *metrics = exposition_metrics();
    count_a_day(metrics);
    char *text = exposition_text(metrics);
    assert_in_families(text);
    free(text);
    text = exposition_triton(metrics);
    assert_in_families(text);
    free(text);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_text_has_no_series_twice_though_models_differ_in_little)
{
    struct metrics *metrics = exposition_metrics();
    struct metrics_shard *shard = exposition_shard(metrics);
    static const struct metrics_model models[] = {{"m", "1", "cpu", "avx2"},
                                                  {"m", "1", "cpu", "generic"},
                                                  {"m", "2", "cpu", "avx2"},
                                                  {"m", "2", "cuda:0", "sm"}};
    for (size_t i = 0; i < 4; i++)
        metrics_count_batch(shard, metrics_add_model(metrics, &models[i]), 1, 1000);
    char *text = exposition_text(metrics), *triton = exposition_triton(metrics);
    exposition_assert(text, "mlpd_batches_total{model=\"m\",device=\"cpu\"}", "3");
    exposition_assert(text, "mlpd_batches_total{model=\"m\",device=\"cuda:0\"}", "1");
    exposition_assert(text, "mlpd_batch_rows_count{model=\"m\"}", "4");
    exposition_assert(triton, "nv_inference_exec_count{model=\"m\",version=\"1\"}", "2");
    exposition_assert(triton, "nv_inference_exec_count{model=\"m\",version=\"2\"}", "2");
    const char *both[] = {text, triton};
    for (size_t i = 0; i < 2; i++)
        for (const char *line = both[i]; *line; line += strcspn(line, "\n") + 1) {
            char series[256];
            snprintf(series, sizeof series, "\n%.*s ", (int)strcspn(line, " "), line);
            const char *again = line[0] == '#' ? NULL : strstr(line, series);
            ck_assert_msg(!again, "%s comes twice", series);
        }
    free(text);
    free(triton);
    metrics_free(metrics);
}
END_TEST

START_TEST(metrics_text_gives_triton_s_names_to_the_same_numbers)
{
    struct metrics *metrics = exposition_metrics();
    count_a_day(metrics);
    char *text = exposition_triton(metrics);
#define VERSION_1 "{model=\"fashion-mnist\",version=\"1\"}"
    exposition_assert(text, "nv_inference_request_success" VERSION_1, "90");
    exposition_assert(text, "nv_inference_request_success{model=\"fashion-mnist\",version=\"2\"}", "10");
    exposition_assert(text, "nv_inference_exec_count" VERSION_1, "90");
    ck_assert_uint_eq(exposition_value(text, "nv_inference_count" VERSION_1) +
                          exposition_value(text, "nv_inference_count{model=\"fashion-mnist\",version=\"2\"}"),
                      exposition_now(metrics, "mlpd_rows_total{model=\"fashion-mnist\"}"));
    unsigned long long whole = exposition_value(text, "nv_inference_request_duration_us" VERSION_1);
    ck_assert_uint_gt(whole, 90 * 20);
    ck_assert_uint_le(exposition_value(text, "nv_inference_queue_duration_us" VERSION_1), whole / 4);
    ck_assert_uint_le(exposition_value(text, "nv_inference_compute_input_duration_us" VERSION_1), whole / 8);
    ck_assert_uint_gt(exposition_value(text, "nv_inference_compute_infer_duration_us" VERSION_1), whole / 8);
    ck_assert_uint_gt(exposition_value(text, "nv_inference_compute_output_duration_us" VERSION_1), whole / 16);
    static const char failure[] =
        "nv_inference_request_failure{model=\"fashion-mnist\",version=\"1\",reason=\"%s\"}";
    static const char *const reasons[] = {"REJECTED", "CANCELED", "BACKEND", "OTHER"};
    for (size_t i = 0; i < 4; i++) {
        char series[128];
        snprintf(series, sizeof series, failure, reasons[i]);
        exposition_assert(text, series, i == 0 ? "1" : "0");
    }
    free(text);
    metrics_free(metrics);
}
END_TEST

UNIT_MAIN("server/metrics_text", metrics_text_is_the_one_that_is_published, metrics_text_escapes_label_values,
          metrics_text_leaves_out_what_is_not_known, metrics_text_publishes_the_state_that_it_is_given,
          metrics_text_says_of_the_process_what_the_kernel_says, metrics_text_has_each_family_once_and_in_one_piece,
          metrics_text_has_no_series_twice_though_models_differ_in_little,
          metrics_text_gives_triton_s_names_to_the_same_numbers)
