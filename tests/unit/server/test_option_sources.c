/* The environment and the config file, and which source wins. */
#include "server/config_file.h"
#include "server/options.h"

#include "tests/unit/engine/folder.h"
#include "tests/unit/server/parsing.h"

static char *folder, *config, flag[512], variable[512];

static void set_up(void)
{
    folder = folder_create();
    config = folder_path(folder, "mlpd.json");
    snprintf(flag, sizeof flag, "--config=%s", config);
    snprintf(variable, sizeof variable, "MLPD_CONFIG=%s", config);
}

static void tear_down(void)
{
    free(config);
    folder_remove(folder);
}

static struct options *parsed_file(const char *text)
{
    folder_write(folder, "mlpd.json", text);
    return PARSED(flag);
}

static void assert_file_refused(const char *text, const char *words)
{
    folder_write(folder, "mlpd.json", text);
    REFUSED(words, flag);
}

static void assert_origin(const struct options *options, enum option_id id, enum option_source source, size_t line)
{
    ck_assert_int_eq(options->origins[id].source, source);
    ck_assert_uint_eq(options->origins[id].line, line);
}

#define WITH(...)              parsed(NOTHING, LINE(__VA_ARGS__))
#define WITH_REFUSED(words, x) assert_refused(NOTHING, LINE(x), words)

/* ---- the environment ---- */

START_TEST(options_take_each_from_the_environment)
{
    const struct options *options = WITH("PATH=/bin", "MLPD_HOST=a,b", "MLPD_PORT=81", "MLPD_BODY_MAX=3KiB",
                                         "MLPD_BATCH_DELAY_US=7", "MLPD_KERNELS=generic", "MLPD_ACCESS_LOG=/x=y");
    ck_assert_uint_eq(options->hosts.count, 2);
    ck_assert_str_eq(options->hosts.texts[1], "b");
    ck_assert_uint_eq(options->port, 81);
    ck_assert_uint_eq(options->body_bytes_max, 3u << 10);
    ck_assert_uint_eq(options->batch_delay_us, 7);
    ck_assert_str_eq(options->kernels, "generic");
    ck_assert_str_eq(options->access_log, "/x=y");
    assert_origin(options, OPTION_PORT, SOURCE_ENVIRONMENT, 0);
    assert_origin(options, OPTION_MODELS, SOURCE_DEFAULT, 0);
}
END_TEST

START_TEST(options_name_the_variable_whose_value_is_wrong)
{
    WITH_REFUSED("MLPD_PORT=http: expected a whole number from 0 to 65535; for example MLPD_PORT=8080",
                 "MLPD_PORT=http");
    WITH_REFUSED("MLPD_BODY_MAX=5GiB: expected", "MLPD_BODY_MAX=5GiB");
    WITH_REFUSED("MLPD_DEVICE=tpu: expected auto|cpu; for example MLPD_DEVICE=auto", "MLPD_DEVICE=tpu");
    WITH_REFUSED("MLPD_MODELS came with an empty value", "MLPD_MODELS=");
    WITH_REFUSED("MLPD_PORT came with an empty value", "MLPD_PORT=");
    WITH_REFUSED("MLPD_PORT came with an empty value", "MLPD_PORT"); /* not even an equals sign */
    WITH_REFUSED("MLPD_HOST: [::1]: expected", "MLPD_HOST=[::1]");
    assert_refused(NOTHING, LINE("MLPD_PORT=1", "MLPD_PORT=2"), "MLPD_PORT is given twice");
}
END_TEST

START_TEST(options_refuse_variables_that_they_do_not_know_and_name_the_nearest)
{
    set_up();
    WITH_REFUSED("unknown variable MLPD_PROT; did you mean MLPD_PORT?", "MLPD_PROT=1");
    WITH_REFUSED("did you mean MLPD_BATCH_MAX?", "MLPD_BATCHMAX=1");
    WITH_REFUSED("did you mean MLPD_BATCH_MAX?", "MLPD_batch_max=1");
    WITH_REFUSED("did you mean MLPD_BATCH_MAX?", "MLPD_BATCH-MAX=1");
    WITH_REFUSED("unset what is not meant for mlpd", "MLPD_NONSENSE=1");
    WITH_REFUSED("unknown variable MLPD_", "MLPD_=1");
    WITH("MLPD=1", "mlpd_port=x", "XMLPD_FOO=1");
    tear_down();
}
END_TEST

START_TEST(options_pass_over_what_kubernetes_injects_and_count_it)
{
    const struct options *options = WITH(
        "MLPD_SERVICE_HOST=10.0.0.1", "MLPD_SERVICE_PORT=8080", "MLPD_SERVICE_PORT_HTTP=8080",
        "MLPD_PORT=tcp://10.0.0.1:8080", "MLPD_PORT_8080_TCP=tcp://10.0.0.1:8080", "MLPD_PORT_8080_TCP_PROTO=tcp",
        "MLPD_PORT_8080_TCP_PORT=8080", "MLPD_PORT_8080_TCP_ADDR=10.0.0.1", "MLPD_WORKERS=3");
    ck_assert_uint_eq(options->ignored_env, 8);
    ck_assert_str_eq(options->ignored_env_first, "MLPD_SERVICE_HOST");
    ck_assert_uint_eq(options->port, 8080);
    assert_origin(options, OPTION_PORT, SOURCE_DEFAULT, 0);
    ck_assert_uint_eq(options->workers, 3);
}
END_TEST

START_TEST(options_pass_over_what_kubernetes_injects_for_services_beside_mlpd)
{
    set_up();
    const struct options *options = WITH("MLPD_ADMIN_SERVICE_HOST=10.0.0.2", "MLPD_ADMIN_SERVICE_PORT=9090",
                                         "MLPD_ADMIN_PORT=udp://10.0.0.2:9090", "MLPD_ADMIN_PORT_9090_TCP=x",
                                         "MLPD_A_B_PORT=sctp://10.0.0.3:1");
    ck_assert_uint_eq(options->ignored_env, 5);
    ck_assert_uint_eq(options->admin_port, OPTION_OFF);
    ck_assert_uint_eq(WITH("MLPD_ADMIN_PORT=9090")->admin_port, 9090);
    WITH_REFUSED("MLPD_PORT=tcp:8080: expected", "MLPD_PORT=tcp:8080");
    WITH_REFUSED("unknown variable MLPD_ADMIN_PORTS", "MLPD_ADMIN_PORTS=tcp://10.0.0.2:9090");
    WITH_REFUSED("unknown variable MLPD_X_PORT", "MLPD_X_PORT=1");
    tear_down();
}
END_TEST

/* ---- the file ---- */

START_TEST(options_read_no_file_that_is_not_named)
{
    ck_assert_ptr_null(parsed(NOTHING, NOTHING)->config);
}
END_TEST

START_TEST(options_take_each_from_the_file_with_its_line)
{
    set_up();
    const struct options *options = parsed_file(
        "// first\n{\"host\": [\"a\", \"b\"],\n \"port\": 81, \"body_max\": \"3KiB\","
        "\n\"pixels_max\": 9, \"memory_max\": 33554432, \"kernels\": \"generic\","
        "\n\"access_log\": false, \"admin_port\": \"off\", \"queue_max\": \"9\"}");
    ck_assert_str_eq(options->config, config);
    ck_assert_uint_eq(options->hosts.count, 2);
    ck_assert_str_eq(options->hosts.texts[1], "b");
    ck_assert_uint_eq(options->port, 81);
    ck_assert_uint_eq(options->body_bytes_max, 3u << 10);
    ck_assert_uint_eq(options->pixels_max, 9);
    ck_assert_uint_eq(options->memory_bytes_max, 32u << 20);
    ck_assert_str_eq(options->kernels, "generic");
    ck_assert_str_eq(options->access_log, "off");
    ck_assert_uint_eq(options->queue_max, 9);
    ck_assert_uint_eq(options->rows_max, 9);
    assert_origin(options, OPTION_HOST, SOURCE_FILE, 2);
    assert_origin(options, OPTION_PORT, SOURCE_FILE, 3);
    assert_origin(options, OPTION_ACCESS_LOG, SOURCE_FILE, 5);
    assert_origin(options, OPTION_ROWS_MAX, SOURCE_DEFAULT, 0);
    tear_down();
}
END_TEST

START_TEST(options_take_null_as_if_it_were_not_there)
{
    set_up();
    const struct options *options = parsed_file("{\"port\": null, \"models\": null, \"host\": null}");
    ck_assert_uint_eq(options->port, 8080);
    ck_assert_ptr_null(options->models);
    assert_origin(options, OPTION_PORT, SOURCE_DEFAULT, 0);
    tear_down();
}
END_TEST

START_TEST(options_name_file_line_and_key_of_a_value_that_is_wrong)
{
    set_up();
    assert_file_refused("{\n\"port\": 65536}",
                        "mlpd.json line 2, key \"port\" is 65536: expected a whole number from 0 to 65535; "
                        "for example \"port\": 8080, the default");
    assert_file_refused("{\"port\": 80.5}", "line 1, key \"port\" is 80.5: expected a whole number");
    assert_file_refused("{\"port\": -1}", "key \"port\" is -1: expected");
    assert_file_refused("{\"body_max\": \"5GiB\"}", "for example \"body_max\": \"16MiB\", the default");
    assert_file_refused("{\"device\": \"tpu\"}", "key \"device\" is tpu: expected auto|cpu");
    assert_file_refused("{\"models\": \"\"}", "key \"models\" came with an empty value");
    assert_file_refused("{\"host\": []}", "key \"host\" came with an empty value");
    assert_file_refused("{\"host\": [\"a\", \"\"]}", "key \"host\": an address between commas is empty");
    tear_down();
}
END_TEST

START_TEST(options_refuse_kinds_of_json_that_do_not_fit)
{
    set_up();
    assert_file_refused("{\"port\": true}", "key \"port\" is true or false: expected a number");
    assert_file_refused("{\"port\": false}", "key \"port\" is true or false: expected a number");
    assert_file_refused("{\"port\": [\"80\"]}", "key \"port\" is an array: expected a number");
    assert_file_refused("{\"models\": 3}", "key \"models\" is a number: expected a string");
    assert_file_refused("{\"device\": [\"cpu\"]}", "key \"device\" is an array: expected a string");
    assert_file_refused("{\"host\": {}}", "key \"host\" is an object: expected a string, or an array of strings");
    assert_file_refused("{\"host\": [1]}", "key \"host\" is an array: expected a string, or an array of strings");
    assert_file_refused("{\"body_max\": {}}", "a string like \"16MiB\"");
    assert_file_refused("{\"access_log\": true}", "key \"access_log\" is true or false: expected a string");
    tear_down();
}
END_TEST

START_TEST(options_refuse_keys_that_they_do_not_know_and_name_the_nearest)
{
    set_up();
    assert_file_refused("{\n\n\"prot\": 1}", "mlpd.json: line 3: unknown key \"prot\"; did you mean \"port\"?");
    assert_file_refused("{\"batch-max\": 1}", "did you mean \"batch_max\"?");
    assert_file_refused("{\"--batch-max\": 1}", "did you mean \"batch_max\"?");
    assert_file_refused("{\"MLPD_BATCH_MAX\": 1}", "did you mean \"batch_max\"?");
    assert_file_refused("{\"nonsense\": 1}", "config/mlpd.json has all keys");
    assert_file_refused("{\"\": 1}", "unknown key \"\"");
    assert_file_refused("{\"config\": \"x\"}", "a config file cannot name another");
    tear_down();
}
END_TEST

START_TEST(options_refuse_a_key_that_stands_twice)
{
    set_up();
    assert_file_refused("{\"port\": 1,\n\"host\": \"a\",\n\"port\": 1}",
                        "mlpd.json line 3, key \"port\" is given twice, first in line 1");
    assert_file_refused("{\"host\": \"a\", \"host\": \"b\"}", "key \"host\" is given twice");
    assert_file_refused("{\"port\": null, \"port\": 1}", "key \"port\" is given twice");
    tear_down();
}
END_TEST

START_TEST(options_refuse_a_file_that_is_missing_or_no_json)
{
    set_up();
    REFUSED(
        "mlpd.json: it cannot be opened: No such file or directory; --config, or the variable MLPD_CONFIG, names",
        flag);
    assert_refused(NOTHING, LINE(variable), "mlpd.json: it cannot be opened");
    assert_file_refused("port: 80\n", "mlpd.json: line 1, column 1: a \"{\" was expected");
    REFUSED("this is a folder", "--config", "/");
    tear_down();
}
END_TEST

START_TEST(options_show_the_end_of_a_path_that_is_long)
{
    set_up();
    char *deep = folder_path(folder, "");
    for (int i = 0; i < 5; i++) {
        char name[64];
        char *longer;
        memset(name, 'a' + i, sizeof name - 1);
        name[sizeof name - 1] = '\0';
        longer = folder_path(deep, name);
        ck_assert_int_eq(mkdir(longer, 0777), 0);
        free(deep);
        deep = longer;
    }
    folder_write(deep, "mlpd.json", "{\"port\": 65536, \"prot\": 1, \"rows_max\": 1}");
    char *path = folder_path(deep, "mlpd.json");
    struct options options;
    struct option_faults faults;
    ck_assert_int_eq(parse(LINE("--config", path), NOTHING, &options, &faults), STATUS_INVALID);
    ck_assert_uint_eq(faults.count, 2);
    ck_assert(fault_says(&faults.list[0],
                         "eee/mlpd.json line 1, key \"port\" is 65536: expected a whole number from 0 to"));
    ck_assert(fault_says(&faults.list[1], "eee/mlpd.json: line 1: unknown key \"prot\""));
    free(path);
    free(deep);
    tear_down();
}
END_TEST

/* ---- which one wins ---- */

START_TEST(options_let_the_flag_win_over_the_environment_and_that_over_the_file)
{
    set_up();
    folder_write(folder, "mlpd.json", "{\"port\": 1, \"workers\": 1, \"io_threads\": 1}");
    const struct options *options = parsed(LINE("--port=3", flag), LINE("MLPD_PORT=2", "MLPD_WORKERS=2"));
    ck_assert_uint_eq(options->port, 3);
    ck_assert_uint_eq(options->workers, 2);
    ck_assert_uint_eq(options->io_threads, 1);
    ck_assert_uint_eq(options->batch_max, 256);
    assert_origin(options, OPTION_PORT, SOURCE_FLAG, 0);
    assert_origin(options, OPTION_WORKERS, SOURCE_ENVIRONMENT, 0);
    assert_origin(options, OPTION_IO_THREADS, SOURCE_FILE, 1);
    assert_origin(options, OPTION_BATCH_MAX, SOURCE_DEFAULT, 0);
    tear_down();
}
END_TEST

START_TEST(options_let_a_list_replace_the_one_below_it)
{
    set_up();
    folder_write(folder, "mlpd.json", "{\"host\": [\"f1\", \"f2\", \"f3\"]}");
    const struct options *options = parsed(LINE("--host=l1", flag, "--host=l2"), LINE("MLPD_HOST=e1"));
    ck_assert_uint_eq(options->hosts.count, 2);
    ck_assert_str_eq(options->hosts.texts[0], "l1");
    ck_assert_str_eq(options->hosts.texts[1], "l2");
    options = parsed(LINE(flag), LINE("MLPD_HOST=e1"));
    ck_assert_uint_eq(options->hosts.count, 1);
    ck_assert_str_eq(options->hosts.texts[0], "e1");
    tear_down();
}
END_TEST

START_TEST(options_read_the_file_that_the_flag_names_not_that_of_the_environment)
{
    set_up();
    folder_write(folder, "mlpd.json", "{\"port\": 1}");
    ck_assert_uint_eq(parsed(LINE(flag), LINE("MLPD_CONFIG=/nowhere"))->port, 1);
    ck_assert_uint_eq(parsed(NOTHING, LINE(variable))->port, 1);
    assert_origin(parsed(NOTHING, LINE(variable)), OPTION_CONFIG, SOURCE_ENVIRONMENT, 0);
    tear_down();
}
END_TEST

START_TEST(options_refuse_a_wrong_value_even_where_another_wins)
{
    set_up();
    assert_refused(LINE("--port=1"), LINE("MLPD_PORT=x"), "MLPD_PORT=x: expected");
    folder_write(folder, "mlpd.json", "{\"port\": \"x\"}");
    assert_refused(LINE("--port=1", flag), NOTHING, "key \"port\" is x: expected");
    tear_down();
}
END_TEST

/* ---- the file that ships ---- */

/* What differs is named by its key. */
static void assert_same_values(const struct options *a, const struct options *b)
{
    char *texts[2];
    size_t lens[2];
    const struct options *const both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct options printed = *both[i];
        memset(printed.origins, 0, sizeof printed.origins);
        printed.config = NULL;
        FILE *out = open_memstream(&texts[i], &lens[i]);
        options_print(&printed, out);
        ck_assert_int_eq(fclose(out), 0);
    }
    ck_assert_str_eq(texts[0], texts[1]);
    free(texts[0]);
    free(texts[1]);
}

START_TEST(the_config_file_that_ships_has_every_key_once_at_its_default)
{
    set_up();
    struct options options = {.command = COMMAND_SERVE};
    struct option_faults faults;
    ck_assert_int_eq(parse(LINE("--config=config/mlpd.json"), NOTHING, &options, &faults), STATUS_OK);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        bool has_line = i != OPTION_CONFIG && option_specs[i].default_text; /* else it is null */
        ck_assert_msg(!has_line || options.origins[i].source == SOURCE_FILE, "config/mlpd.json has no key for %s",
                      option_specs[i].flag);
    }
    assert_same_values(&options, parsed(NOTHING, NOTHING));
    options_free(&options);
    tear_down();
}
END_TEST

START_TEST(the_config_file_that_ships_shows_the_keys_that_are_null_and_the_order_of_help)
{
    struct config_file file = {.count = 0};
    struct error err = {0};
    ck_assert_int_eq(config_file_read("config/mlpd.json", &file, &err), STATUS_OK);
    ck_assert_uint_eq(file.count, OPTION_COUNT - 1);
    for (size_t i = 0; i < file.count; i++) {
        char key[OPTION_NAME_MAX];
        option_write_key(&option_specs[i + 1], key);
        ck_assert_str_eq(file.entries[i].key, key);
    }
    config_file_free(&file);
}
END_TEST

UNIT_MAIN("server/option_sources", options_take_each_from_the_environment,
          options_name_the_variable_whose_value_is_wrong,
          options_refuse_variables_that_they_do_not_know_and_name_the_nearest,
          options_pass_over_what_kubernetes_injects_and_count_it,
          options_pass_over_what_kubernetes_injects_for_services_beside_mlpd,
          options_read_no_file_that_is_not_named, options_take_each_from_the_file_with_its_line,
          options_take_null_as_if_it_were_not_there, options_name_file_line_and_key_of_a_value_that_is_wrong,
          options_refuse_kinds_of_json_that_do_not_fit,
          options_refuse_keys_that_they_do_not_know_and_name_the_nearest, options_refuse_a_key_that_stands_twice,
          options_refuse_a_file_that_is_missing_or_no_json, options_show_the_end_of_a_path_that_is_long,
          options_let_the_flag_win_over_the_environment_and_that_over_the_file,
          options_let_a_list_replace_the_one_below_it,
          options_read_the_file_that_the_flag_names_not_that_of_the_environment,
          options_refuse_a_wrong_value_even_where_another_wins,
          the_config_file_that_ships_has_every_key_once_at_its_default,
          the_config_file_that_ships_shows_the_keys_that_are_null_and_the_order_of_help)
