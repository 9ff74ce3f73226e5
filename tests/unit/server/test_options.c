#include "server/options.h"

#include <string.h>

#include "tests/unit/server/parsing.h"

START_TEST(options_serve_with_defaults_where_nothing_is_said)
{
    const struct options *options = parsed(NOTHING, NOTHING);
    ck_assert_int_eq(options->command, COMMAND_SERVE);
    ck_assert_ptr_null(options->config);
    ck_assert_uint_eq(options->hosts.count, 1);
    ck_assert_str_eq(options->hosts.texts[0], "127.0.0.1");
    ck_assert_uint_eq(options->port, 8080);
    ck_assert_uint_eq(options->admin_hosts.count, 1);
    ck_assert_str_eq(options->admin_hosts.texts[0], "127.0.0.1");
    ck_assert_uint_eq(options->admin_port, OPTION_OFF);
    ck_assert(!options->admin);
    ck_assert_ptr_null(options->models);
    ck_assert_ptr_null(options->model);
    ck_assert_ptr_null(options->labels);
    ck_assert_ptr_null(options->output);
    ck_assert_str_eq(options->device, "auto");
    ck_assert_str_eq(options->kernels, "auto");
    ck_assert_uint_eq(options->io_threads, OPTION_AUTO);
    ck_assert_uint_eq(options->workers, OPTION_AUTO);
    ck_assert_uint_eq(options->batch_max, 256);
    ck_assert_uint_eq(options->batch_delay_us, 0);
    ck_assert_uint_eq(options->queue_max, 4096);
    ck_assert_uint_eq(options->deadline_ms, 5000);
    ck_assert_uint_eq(options->body_bytes_max, 16u << 20);
    ck_assert_uint_eq(options->rows_max, 4096);
    ck_assert_uint_eq(options->pixels_max, 1u << 24);
    ck_assert_uint_eq(options->memory_bytes_max, OPTION_AUTO);
    ck_assert_uint_eq(options->connections_max, 10000);
    ck_assert_uint_eq(options->connections_per_ip, OPTION_OFF);
    ck_assert_uint_eq(options->read_timeout_s, 10);
    ck_assert_uint_eq(options->idle_timeout_s, 60);
    ck_assert_uint_eq(options->drain_delay_ms, 0);
    ck_assert_uint_eq(options->drain_timeout_s, 30);
    ck_assert_str_eq(options->log_level, "info");
    ck_assert_str_eq(options->log_format, "text");
    ck_assert_str_eq(options->log_file, "stderr");
    ck_assert_str_eq(options->access_log, "off");
    ck_assert_uint_eq(options->access_log_sample, 1);
    ck_assert_uint_eq(options->file_count, 0);
    ck_assert_uint_eq(options->ignored_env, 0);
    ck_assert_ptr_null(options->ignored_env_first);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        ck_assert_int_eq(options->origins[i].source, SOURCE_DEFAULT);
}
END_TEST

START_TEST(options_know_each_command)
{
    ck_assert_int_eq(PARSED("serve")->command, COMMAND_SERVE);
    ck_assert_int_eq(PARSED("predict", "a.png")->command, COMMAND_PREDICT);
    ck_assert_int_eq(PARSED("model")->command, COMMAND_MODEL);
    ck_assert_int_eq(PARSED("check")->command, COMMAND_CHECK);
    ck_assert_int_eq(PARSED("golden")->command, COMMAND_GOLDEN);
    ck_assert_int_eq(PARSED("--help")->command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("-h")->command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("help")->command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("--version")->command, COMMAND_VERSION);
    ck_assert_int_eq(PARSED("-V")->command, COMMAND_VERSION);
    ck_assert_int_eq(PARSED("--port", "1")->command, COMMAND_SERVE);
    ck_assert_int_eq(PARSED("serve", "--help")->command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("predict", "--kernels", "generic", "--help")->command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("predict", "--", "--help")->command, COMMAND_PREDICT);
}
END_TEST

START_TEST(options_take_a_value_behind_the_flag_or_behind_an_equals_sign)
{
    const struct options *options = PARSED("--port", "9000", "--host=::1", "--models=/a=b", "--workers=3");
    ck_assert_uint_eq(options->port, 9000);
    ck_assert_str_eq(options->hosts.texts[0], "::1");
    ck_assert_str_eq(options->models, "/a=b");
    ck_assert_uint_eq(options->workers, 3);
}
END_TEST

/* What goes with none of the others: see options_take_one_model_and_its_labels. */
static bool is_left_out(size_t option)
{
    return option == OPTION_CONFIG || option == OPTION_MODEL || option == OPTION_LABELS || option == OPTION_OUTPUT;
}

START_TEST(options_take_one_model_and_its_labels)
{
    const struct options *options = PARSED("serve", "--port", "1", "net.pth", "--labels", "a,b");
    ck_assert_str_eq(options->model, "net.pth");
    ck_assert_str_eq(options->labels, "a,b");
    ck_assert_uint_eq(options->port, 1);
    ck_assert_uint_eq(options->file_count, 0);
    ck_assert_int_eq(options->origins[OPTION_MODEL].source, SOURCE_FLAG);
    ck_assert_str_eq(PARSED("model", "a.pt")->model, "a.pt");
    ck_assert_str_eq(PARSED("check", "--model=a.pt")->model, "a.pt");
    options = PARSED("golden", "a/1", "--output", "g");
    ck_assert_str_eq(options->model, "a/1");
    ck_assert_str_eq(options->output, "g");
    options = PARSED("predict", "--model", "a.pt", "boot.png");
    ck_assert_str_eq(options->model, "a.pt");
    ck_assert_uint_eq(options->file_count, 1);
}
END_TEST

START_TEST(options_refuse_two_models_and_an_output_that_nothing_writes)
{
    REFUSED("--model is given twice", "serve", "--model", "a.pt", "b.pt");
    REFUSED("unexpected argument b.pt", "serve", "a.pt", "b.pt");
    REFUSED("--model a.pt goes without --models m", "serve", "--models", "m", "a.pt");
    REFUSED("--output g goes with mlpd golden", "serve", "--output", "g");
    REFUSED("came with an empty value", "model", "");
}
END_TEST

START_TEST(options_set_every_field)
{
    const struct options *options = PARSED(
        "serve", "--host=h", "--port=1", "--admin-host=a", "--admin-port=2", "--models=m", "--default-model=n",
        "--model-versions=all", "--models-poll-ms=19", "--device=cpu", "--kernels=generic", "--io-threads=2",
        "--workers=4", "--batch-max=5", "--batch-delay-us=6", "--queue-max=70", "--deadline-ms=8", "--body-max=9",
        "--rows-max=10", "--pixels-max=11", "--memory-max=2MiB", "--connections-max=13", "--connections-per-ip=12",
        "--read-timeout-s=14", "--idle-timeout-s=15", "--drain-delay-ms=16", "--drain-timeout-s=17",
        "--log-level=debug", "--log-format=json", "--log-file=/l", "--access-log=/a", "--access-log-sample=18");
    ck_assert_str_eq(options->hosts.texts[0], "h");
    ck_assert_uint_eq(options->port, 1);
    ck_assert_str_eq(options->admin_hosts.texts[0], "a");
    ck_assert_uint_eq(options->admin_port, 2);
    ck_assert(options->admin);
    ck_assert_str_eq(options->models, "m");
    ck_assert_str_eq(options->default_model, "n");
    ck_assert_str_eq(options->model_versions, "all");
    ck_assert_uint_eq(options->models_poll_ms, 19);
    ck_assert_str_eq(options->device, "cpu");
    ck_assert_str_eq(options->kernels, "generic");
    ck_assert_uint_eq(options->io_threads, 2);
    ck_assert_uint_eq(options->workers, 4);
    ck_assert_uint_eq(options->batch_max, 5);
    ck_assert_uint_eq(options->batch_delay_us, 6);
    ck_assert_uint_eq(options->queue_max, 70);
    ck_assert_uint_eq(options->deadline_ms, 8);
    ck_assert_uint_eq(options->body_bytes_max, 9);
    ck_assert_uint_eq(options->rows_max, 10);
    ck_assert_uint_eq(options->pixels_max, 11);
    ck_assert_uint_eq(options->memory_bytes_max, 2u << 20);
    ck_assert_uint_eq(options->connections_max, 13);
    ck_assert_uint_eq(options->connections_per_ip, 12);
    ck_assert_uint_eq(options->read_timeout_s, 14);
    ck_assert_uint_eq(options->idle_timeout_s, 15);
    ck_assert_uint_eq(options->drain_delay_ms, 16);
    ck_assert_uint_eq(options->drain_timeout_s, 17);
    ck_assert_str_eq(options->log_level, "debug");
    ck_assert_str_eq(options->log_format, "json");
    ck_assert_str_eq(options->log_file, "/l");
    ck_assert_str_eq(options->access_log, "/a");
    ck_assert_uint_eq(options->access_log_sample, 18);
    for (size_t i = 0; i < OPTION_COUNT; i++)
        ck_assert_int_eq(options->origins[i].source, is_left_out(i) ? SOURCE_DEFAULT : SOURCE_FLAG);
}
END_TEST

START_TEST(options_refuse_a_flag_that_is_given_twice)
{
    REFUSED("--port is given twice, the second time as 2", "--port=1", "--port=2");
    REFUSED("--models is given twice", "--models", "a", "--models", "a");
    REFUSED("--device is given twice", "--device=cpu", "--port=1", "--device=auto");
}
END_TEST

static void assert_list(const struct option_list *list, const char *const *expected)
{
    size_t count = 0;
    for (; expected[count]; count++)
        ck_assert_str_eq(list->texts[count], expected[count]);
    ck_assert_uint_eq(list->count, count);
}

START_TEST(options_take_hosts_between_commas_and_repeated)
{
    assert_list(&PARSED("--host", "127.0.0.1,::1")->hosts, LINE("127.0.0.1", "::1"));
    assert_list(&PARSED("--host=a, b ,\tc", "--host", "unix:/run/x.sock")->hosts,
                LINE("a", "b", "c", "unix:/run/x.sock"));
    assert_list(&PARSED("--admin-host=a,b", "--admin-host=c", "--admin-port=1")->admin_hosts, LINE("a", "b", "c"));
    assert_list(&PARSED("--host=a", "--port=1", "--host=b")->hosts, LINE("a", "b"));
}
END_TEST

START_TEST(options_take_as_many_hosts_as_there_is_room_for)
{
    ck_assert_uint_eq(PARSED("--host=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p")->hosts.count, OPTION_LIST_MAX);
    REFUSED("--host: there are more than 16 addresses", "--host=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q");
    REFUSED("--host: there are more than 16 addresses", "--host=a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", "--host=q");
}
END_TEST

START_TEST(options_refuse_what_can_be_no_address_with_the_mend)
{
    char path[140] = "unix:/";
    memset(path + 6, 'x', 107 - 1);
    PARSED("--host", path);
    path[6 + 106] = 'x';
    REFUSED("the path has 108 bytes, at most 107 fit", "--host", path);
    REFUSED("--host: an address between commas is empty", "--host", "a,,b");
    REFUSED("--host: an address between commas is empty", "--host", "a,");
    REFUSED("--host: an address between commas is empty", "--host", ",a");
    REFUSED("--host: an address between commas is empty", "--host", "a, ,b");
    REFUSED("--host: a is given twice", "--host=a,b", "--host=a");
    REFUSED("write unix: before the path", "--host", "/run/mlpd.sock");
    REFUSED("expected a path that begins with /", "--host", "unix:run/mlpd.sock");
    REFUSED("expected a path that begins with /", "--host", "unix:");
    REFUSED("without brackets", "--host", "[::1]");
    REFUSED("write the port into --port", "--host", "127.0.0.1:8080");
    REFUSED("without http://", "--host", "http://localhost");
    REFUSED("--admin-host: [::]: expected a name", "--admin-host", "[::]");
}
END_TEST

START_TEST(options_take_words_in_place_of_numbers)
{
    ck_assert_uint_eq(PARSED("--workers", "auto")->workers, OPTION_AUTO);
    ck_assert_uint_eq(PARSED("--io-threads", "auto")->io_threads, OPTION_AUTO);
    ck_assert_uint_eq(PARSED("--rows-max", "auto", "--queue-max", "9")->rows_max, 9);
    ck_assert_uint_eq(PARSED("--admin-port", "off")->admin_port, OPTION_OFF);
    ck_assert_uint_eq(PARSED("--admin-port", "0")->admin_port, 0);
    ck_assert_uint_eq(PARSED("--memory-max", "off")->memory_bytes_max, OPTION_OFF);
    ck_assert_uint_eq(PARSED("--memory-max", "auto")->memory_bytes_max, OPTION_AUTO);
    ck_assert_uint_eq(PARSED("--connections-per-ip", "off")->connections_per_ip, OPTION_OFF);
    REFUSED("from 1 to 256, or auto; for example --workers auto", "--workers", "off");
    REFUSED("or with KiB, MiB or GiB behind it, or auto, or off", "--memory-max", "OFF");
    REFUSED("--port auto: expected a whole number", "--port", "auto");
    REFUSED("--admin-port N: expected", "--admin-port", "N");
    REFUSED("--memory-max BYTES: expected", "--memory-max", "BYTES");
    REFUSED("--memory-max auto|off: expected", "--memory-max", "auto|off");
}
END_TEST

START_TEST(options_have_an_admin_where_it_has_a_port_or_a_socket)
{
    ck_assert(PARSED("--admin-port=0")->admin);
    ck_assert(PARSED("--admin-host=unix:/a,unix:/b")->admin);
    ck_assert(PARSED("--admin-host=unix:/a,::1", "--admin-port=1")->admin);
    ck_assert(!PARSED("--host=unix:/a")->admin);
}
END_TEST

START_TEST(options_take_bytes_with_binary_units)
{
    ck_assert_uint_eq(PARSED("--body-max", "1")->body_bytes_max, 1);
    ck_assert_uint_eq(PARSED("--body-max", "3KiB")->body_bytes_max, 3u << 10);
    ck_assert_uint_eq(PARSED("--body-max", "64MiB")->body_bytes_max, 64u << 20);
    ck_assert_uint_eq(PARSED("--body-max=4GiB")->body_bytes_max, (size_t)4 << 30);
    REFUSED("--body-max 5GiB", "--body-max", "5GiB");
    REFUSED("--body-max 4097MiB", "--body-max", "4097MiB");
    REFUSED("--body-max 0", "--body-max", "0");
    REFUSED("--body-max 0MiB", "--body-max", "0MiB");
    REFUSED("--body-max 1MB", "--body-max", "1MB");
    REFUSED("--body-max 1kib", "--body-max", "1kib");
    REFUSED("--body-max 1 KiB", "--body-max", "1 KiB");
    REFUSED("--body-max KiB", "--body-max", "KiB");
    REFUSED("--body-max 18446744073709551615GiB", "--body-max", "18446744073709551615GiB");
    REFUSED("--body-max 17179869184GiB", "--body-max", "17179869184GiB"); /* 2^34 x 2^30 is 2^64 */
}
END_TEST

START_TEST(options_refuse_units_where_rows_or_things_are_counted)
{
    REFUSED("--rows-max 4KiB", "--rows-max", "4KiB");
    REFUSED("--port 1KiB", "--port", "1KiB");
}
END_TEST

START_TEST(options_take_the_ends_of_each_range_and_nothing_beyond)
{
    static const struct {
        const char *flag;
        const char *below, *least, *most, *above; /* NULL: no such number */
    } ranges[] = {
        {"--port", NULL, "0", "65535", "65536"},
        {"--admin-port", NULL, "0", "65535", "65536"},
        {"--io-threads", "0", "1", "256", "257"},
        {"--workers", "0", "1", "256", "257"},
        {"--batch-max", "0", "1", "65536", "65537"},
        {"--batch-delay-us", NULL, "0", "1000000", "1000001"},
        {"--queue-max", "0", NULL, "1048576", "1048577"},
        {"--deadline-ms", "0", "1", "3600000", "3600001"},
        {"--rows-max", "0", "1", NULL, "1048577"}, /* at most --queue-max */
        {"--pixels-max", "0", "1", "268435456", "268435457"},
        {"--memory-max", "1048575", NULL, "16384GiB", "16385GiB"}, /* at least --body-max */
        {"--connections-max", "0", "1", "1000000", "1000001"},
        {"--connections-per-ip", "0", "1", NULL, "1000001"}, /* at most --connections-max */
        {"--read-timeout-s", "0", "1", "86400", "86401"},
        {"--idle-timeout-s", "0", "1", "86400", "86401"},
        {"--drain-delay-ms", NULL, "0", NULL, "3600001"}, /* at most --drain-timeout-s */
        {"--drain-timeout-s", NULL, "0", "86400", "86401"},
        {"--access-log-sample", "0", "1", NULL, "1000001"},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].below)
            REFUSED(ranges[i].flag, ranges[i].flag, ranges[i].below);
        if (ranges[i].least)
            PARSED(ranges[i].flag, ranges[i].least);
        if (ranges[i].most)
            PARSED(ranges[i].flag, ranges[i].most);
        REFUSED("expected a whole number from", ranges[i].flag, ranges[i].above);
    }
}
END_TEST

START_TEST(options_refuse_what_is_no_number)
{
    static const char *const texts[] = {"",    "x",   "8080x", "0x50", "+80", "-1",
                                        " 80", "80 ", "8.5",   "1e3",  "--",  "99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        REFUSED("--port", "--port", texts[i]);
    REFUSED("--port", "--port=");
}
END_TEST

START_TEST(options_refuse_a_flag_without_its_value)
{
    REFUSED("--port came without a value", "--port");
    REFUSED("--models came without a value; write --models DIR, or --models=DIR", "--models", "--port", "80");
    ck_assert_str_eq(PARSED("--models=--port")->models, "--port");
    REFUSED("--models came without a value", "serve", "--models");
    REFUSED("--models came with an empty value", "--models=");
    REFUSED("--host came with an empty value", "--host", "");
}
END_TEST

START_TEST(options_refuse_what_they_do_not_know)
{
    REFUSED("frobnicate", "frobnicate");
    REFUSED("unknown option --prot", "serve", "--prot", "1");
    REFUSED("unknown option --por", "--port=1", "--por=1");
    REFUSED("unknown option --portx", "serve", "--portx=1");
    REFUSED("unknown option --Port", "--Port=1");
    REFUSED("unknown option --=", "--=");
    REFUSED("unexpected argument -p", "serve", "-p", "1");
    REFUSED("unexpected argument y", "serve", "x", "y");
    REFUSED("unexpected argument y", "model", "--kernels", "generic", "x", "y");
}
END_TEST

/* Not a command: a newcomer looks for the word that the message has. */
START_TEST(options_call_an_unknown_first_option_an_option)
{
    REFUSED("unknown option --prot", "--prot", "80");
    REFUSED("unknown option --prot=80", "--prot=80");
    REFUSED("unknown option -p", "-p", "80");
}
END_TEST

START_TEST(options_name_what_was_probably_meant)
{
    REFUSED("did you mean --port?", "--prot", "80");
    REFUSED("did you mean --batch-max?", "--batch_max", "80");
    REFUSED("did you mean --batch-max?", "--batchmax=80");
    REFUSED("did you mean --drain-timeout-s?", "--drain-timeout=80");
    REFUSED("did you mean --access-log-sample?", "--acces-log-sample=80");
    REFUSED("mlpd --help lists the options", "--nonsense=80");
    REFUSED("did you mean predict?", "predct", "a.png");
    REFUSED("did you mean check?", "chek");
    REFUSED("the commands are serve, predict, model, check and golden", "dance");
}
END_TEST

START_TEST(options_find_every_fault_not_only_the_first)
{
    static const char *const expected[] = {"unknown option --prot; did you mean --port?",
                                           "--workers 0: expected",
                                           "--device came without a value",
                                           "unknown variable MLPD_FOO",
                                           "MLPD_BATCH_MAX=x: expected",
                                           "/nowhere: it cannot be opened"};
    struct options options;
    struct option_faults faults;
    ck_assert_int_eq(
        parse(LINE("--prot", "80", "--workers", "0", "--device", "--config=/nowhere", "--rows-max=9999"),
              LINE("MLPD_FOO=1", "HOME=/", "MLPD_BATCH_MAX=x"), &options, &faults),
        STATUS_INVALID);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        ck_assert_msg(fault_says(&faults.list[i], expected[i]), "%zu: %s", i, faults.list[i].message);
    ck_assert_uint_eq(faults.count, sizeof expected / sizeof *expected);
}
END_TEST

START_TEST(options_count_more_faults_than_they_keep)
{
    struct options options;
    struct option_faults faults;
    const char *arguments[OPTION_FAULTS_MAX + 4] = {NULL};
    for (size_t i = 0; i < OPTION_FAULTS_MAX + 3; i++)
        arguments[i] = "--nonsense";
    ck_assert_int_eq(parse(arguments, NOTHING, &options, &faults), STATUS_INVALID);
    ck_assert_uint_eq(faults.count, OPTION_FAULTS_MAX + 3);
    ck_assert(fault_says(&faults.list[OPTION_FAULTS_MAX - 1], "--nonsense"));
}
END_TEST

START_TEST(options_give_help_whatever_else_is_wrong)
{
    ck_assert_int_eq(parsed(LINE("--prot", "80", "--help"), LINE("MLPD_FOO=1"))->command, COMMAND_HELP);
    ck_assert_int_eq(parsed(LINE("--version"), LINE("MLPD_CONFIG=/nowhere"))->command, COMMAND_VERSION);
    ck_assert_int_eq(PARSED("help", "--markdown")->command, COMMAND_HELP_MARKDOWN);
}
END_TEST

START_TEST(options_take_fewer_rows_in_a_request_where_the_queue_is_shorter)
{
    ck_assert_uint_eq(PARSED("--queue-max=5")->rows_max, 5);
    ck_assert_uint_eq(PARSED("--queue-max=100000")->rows_max, 4096);
    ck_assert_uint_eq(PARSED("--queue-max=100000", "--rows-max=100000")->rows_max, 100000);
}
END_TEST

START_TEST(options_refuse_a_device_that_is_not_there)
{
    PARSED("--device", "cpu");
    PARSED("--device", "auto");
    REFUSED("--device cuda", "--device", "cuda");
    REFUSED("--device CPU", "--device", "CPU");
    REFUSED("--device auto|cpu", "--device", "auto|cpu");
    REFUSED("--device came with an empty value", "--device=");
}
END_TEST

START_TEST(options_refuse_kernels_that_nobody_has)
{
    PARSED("--kernels", "avx512"); /* whether this processor runs them is for the backend to say */
    REFUSED("--kernels sse9: expected auto|generic|avx2|avx512", "--kernels", "sse9");
    REFUSED("--kernels avx", "--kernels", "avx");
    REFUSED("--kernels avx2|", "--kernels", "avx2|");
}
END_TEST

START_TEST(options_of_predict_end_with_its_files)
{
    const struct options *options = PARSED("predict", "--kernels", "generic", "a.png", "-", "b.npy");
    ck_assert_uint_eq(options->file_count, 3);
    ck_assert_str_eq(options->files[0], "a.png");
    ck_assert_str_eq(options->files[1], "-");
    ck_assert_str_eq(options->files[2], "b.npy");
    options = PARSED("predict", "-");
    ck_assert_uint_eq(options->file_count, 1);
    options = PARSED("predict", "--", "--port", "x");
    ck_assert_uint_eq(options->file_count, 2);
    ck_assert_str_eq(options->files[0], "--port");
    REFUSED("without a file", "predict");
    REFUSED("without a file", "predict", "--kernels", "generic");
    REFUSED("without a file", "predict", "--");
}
END_TEST

START_TEST(options_cut_what_is_absurdly_long)
{
    char text[5000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    REFUSED("xxx", text);
    REFUSED("xxx", "--port", text);
    REFUSED("xxx", "--device", text);
    memcpy(text, "--", 2);
    REFUSED("--xxx", "serve", text);
}
END_TEST

UNIT_MAIN("server/options", options_serve_with_defaults_where_nothing_is_said, options_know_each_command,
          options_take_one_model_and_its_labels, options_refuse_two_models_and_an_output_that_nothing_writes,
          options_take_a_value_behind_the_flag_or_behind_an_equals_sign, options_set_every_field,
          options_refuse_a_flag_that_is_given_twice, options_take_hosts_between_commas_and_repeated,
          options_take_as_many_hosts_as_there_is_room_for, options_refuse_what_can_be_no_address_with_the_mend,
          options_take_words_in_place_of_numbers, options_have_an_admin_where_it_has_a_port_or_a_socket,
          options_take_bytes_with_binary_units, options_refuse_units_where_rows_or_things_are_counted,
          options_take_the_ends_of_each_range_and_nothing_beyond, options_refuse_what_is_no_number,
          options_refuse_a_flag_without_its_value, options_refuse_what_they_do_not_know,
          options_call_an_unknown_first_option_an_option, options_name_what_was_probably_meant,
          options_find_every_fault_not_only_the_first, options_count_more_faults_than_they_keep,
          options_give_help_whatever_else_is_wrong, options_take_fewer_rows_in_a_request_where_the_queue_is_shorter,
          options_refuse_a_device_that_is_not_there, options_refuse_kernels_that_nobody_has,
          options_of_predict_end_with_its_files, options_cut_what_is_absurdly_long)
