#include "server/options.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

enum { ARGUMENTS_MAX = 12 };

/* Parses "mlpd" and these arguments. */
static enum status parse(const char *const *arguments, struct options *ret, struct error *err)
{
    static char program[] = "mlpd", *argv[ARGUMENTS_MAX + 2] = {program};
    int argc = 1;
    for (; *arguments; arguments++)
        argv[argc++] = (char *)(uintptr_t)*arguments;
    argv[argc] = NULL;
    return options_parse(argc, argv, ret, err);
}

static struct options parsed(const char *const *arguments)
{
    struct options options;
    struct error err = {0};
    enum status status = parse(arguments, &options, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return options;
}

static void assert_refused(const char *const *arguments, const char *in_message)
{
    struct options options, before;
    struct error err = {0};
    memset(&before, 0x5A, sizeof before);
    options = before;
    enum status status = parse(arguments, &options, &err);
    ck_assert_msg(status == STATUS_INVALID, "%s: status %d", arguments[0], status);
    ck_assert_int_eq(err.status, STATUS_INVALID);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_str_ne(err.hint, "");
    ck_assert_mem_eq(&options, &before, sizeof before);
}

#define LINE(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }
#define PARSED(...)              parsed(LINE(__VA_ARGS__))
#define REFUSED(in_message, ...) assert_refused(LINE(__VA_ARGS__), in_message)

START_TEST(options_serve_with_defaults_where_nothing_is_said)
{
    struct options options = parsed((const char *const[]){NULL});
    ck_assert_int_eq(options.command, COMMAND_SERVE);
    ck_assert_str_eq(options.host, "127.0.0.1");
    ck_assert_uint_eq(options.port, 8080);
    ck_assert_ptr_null(options.models);
    ck_assert_str_eq(options.device, "auto");
    ck_assert_str_eq(options.kernels, "auto");
    ck_assert_uint_eq(options.io_threads, 0);
    ck_assert_uint_eq(options.workers, 0);
    ck_assert_uint_ge(options.queue_max, options.rows_max);
    ck_assert_uint_eq(options.body_bytes_max, 16u << 20);
    ck_assert_uint_eq(options.file_count, 0);
}
END_TEST

START_TEST(options_know_each_command)
{
    ck_assert_int_eq(PARSED("serve").command, COMMAND_SERVE);
    ck_assert_int_eq(PARSED("predict", "a.png").command, COMMAND_PREDICT);
    ck_assert_int_eq(PARSED("model").command, COMMAND_MODEL);
    ck_assert_int_eq(PARSED("--help").command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("-h").command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("help").command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("--version").command, COMMAND_VERSION);
    ck_assert_int_eq(PARSED("-V").command, COMMAND_VERSION);
    ck_assert_int_eq(PARSED("--port", "1").command, COMMAND_SERVE);
    ck_assert_int_eq(PARSED("serve", "--help").command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("predict", "--kernels", "generic", "--help").command, COMMAND_HELP);
    ck_assert_int_eq(PARSED("predict", "--", "--help").command, COMMAND_PREDICT);
}
END_TEST

START_TEST(options_take_a_value_behind_the_flag_or_behind_an_equals_sign)
{
    struct options options = PARSED("--port", "9000", "--host=::1", "--models=/a=b", "--workers=3");
    ck_assert_uint_eq(options.port, 9000);
    ck_assert_str_eq(options.host, "::1");
    ck_assert_str_eq(options.models, "/a=b");
    ck_assert_uint_eq(options.workers, 3);
}
END_TEST

START_TEST(options_set_every_field)
{
    struct options options = PARSED("serve", "--host=h", "--models=m", "--device=cpu", "--kernels=generic",
                                    "--io-threads=2");
    ck_assert_str_eq(options.host, "h");
    ck_assert_str_eq(options.models, "m");
    ck_assert_str_eq(options.device, "cpu");
    ck_assert_str_eq(options.kernels, "generic");
    ck_assert_uint_eq(options.io_threads, 2);
    options = PARSED("--workers=4", "--batch-max=5", "--queue-max=70", "--rows-max=7", "--body-max=8",
                     "--pixels-max=9", "--connections-max=10");
    ck_assert_uint_eq(options.workers, 4);
    ck_assert_uint_eq(options.batch_max, 5);
    ck_assert_uint_eq(options.queue_max, 70);
    ck_assert_uint_eq(options.rows_max, 7);
    ck_assert_uint_eq(options.body_bytes_max, 8);
    ck_assert_uint_eq(options.pixels_max, 9);
    ck_assert_uint_eq(options.connections_max, 10);
}
END_TEST

START_TEST(options_take_the_last_of_two_values)
{
    ck_assert_uint_eq(PARSED("--port=1", "--port=2").port, 2);
}
END_TEST

START_TEST(options_take_bytes_with_binary_units)
{
    ck_assert_uint_eq(PARSED("--body-max", "1").body_bytes_max, 1);
    ck_assert_uint_eq(PARSED("--body-max", "3KiB").body_bytes_max, 3u << 10);
    ck_assert_uint_eq(PARSED("--body-max", "64MiB").body_bytes_max, 64u << 20);
    ck_assert_uint_eq(PARSED("--body-max=4GiB").body_bytes_max, (size_t)4 << 30);
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
        {"--io-threads", "0", "1", "256", "257"},
        {"--workers", "0", "1", "256", "257"},
        {"--batch-max", "0", "1", "65536", "65537"},
        {"--queue-max", "0", NULL, "1048576", "1048577"}, /* at least --rows-max */
        {"--rows-max", "0", "1", NULL, "1048577"},        /* at most --queue-max */
        {"--pixels-max", "0", "1", "268435456", "268435457"},
        {"--connections-max", "0", "1", "1000000", "1000001"},
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
    REFUSED("unexpected argument -p", "serve", "-p", "1");
    REFUSED("unexpected argument x", "serve", "x");
    REFUSED("unexpected argument x", "model", "--kernels", "generic", "x");
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

START_TEST(options_refuse_more_rows_in_a_request_than_in_the_queue)
{
    REFUSED("--rows-max 101 is more than --queue-max 100", "--rows-max=101", "--queue-max=100");
    PARSED("--rows-max=100", "--queue-max=100");
    ck_assert_uint_eq(PARSED("--queue-max=5").rows_max, 5);
    ck_assert_uint_eq(PARSED("--queue-max=100000").rows_max, parsed((const char *const[]){NULL}).rows_max);
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
    struct options options = PARSED("predict", "--kernels", "generic", "a.png", "-", "b.npy");
    ck_assert_uint_eq(options.file_count, 3);
    ck_assert_str_eq(options.files[0], "a.png");
    ck_assert_str_eq(options.files[1], "-");
    ck_assert_str_eq(options.files[2], "b.npy");
    options = PARSED("predict", "-");
    ck_assert_uint_eq(options.file_count, 1);
    options = PARSED("predict", "--", "--port", "x");
    ck_assert_uint_eq(options.file_count, 2);
    ck_assert_str_eq(options.files[0], "--port");
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

START_TEST(options_help_names_every_option_and_command)
{
    static const char *const words[] = {
        "--host",      "--port",       "--models",   "--device",   "--kernels",    "--io-threads",      "--workers",
        "--batch-max", "--queue-max",  "--rows-max", "--body-max", "--pixels-max", "--connections-max", "--version",
        "--help",      "mlpd predict", "mlpd model", "8080",       "16MiB"};
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    options_help(out);
    ck_assert_int_eq(fclose(out), 0);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        ck_assert_msg(strstr(text, words[i]) != NULL, "%s", words[i]);
    ck_assert_int_eq(text[len - 1], '\n');
    free(text);
}
END_TEST

UNIT_MAIN("server/options", options_serve_with_defaults_where_nothing_is_said, options_know_each_command,
          options_take_a_value_behind_the_flag_or_behind_an_equals_sign, options_set_every_field,
          options_take_the_last_of_two_values, options_take_bytes_with_binary_units,
          options_refuse_units_where_rows_or_things_are_counted,
          options_take_the_ends_of_each_range_and_nothing_beyond, options_refuse_what_is_no_number,
          options_refuse_a_flag_without_its_value, options_refuse_what_they_do_not_know,
          options_call_an_unknown_first_option_an_option, options_refuse_more_rows_in_a_request_than_in_the_queue,
          options_refuse_a_device_that_is_not_there, options_refuse_kernels_that_nobody_has,
          options_of_predict_end_with_its_files, options_cut_what_is_absurdly_long,
          options_help_names_every_option_and_command)
