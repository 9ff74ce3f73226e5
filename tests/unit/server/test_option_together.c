/* Combinations that make no sense, told with both values, where they came from, and the mend. */
#include "server/options.h"

#include "tests/unit/engine/folder.h"
#include "tests/unit/server/parsing.h"

START_TEST(options_refuse_more_rows_in_a_request_than_in_the_queue)
{
    REFUSED("--rows-max 101 is more than --queue-max 100: such a request could never be taken; lower --rows-max or",
            "--rows-max=101", "--queue-max=100");
    PARSED("--rows-max=100", "--queue-max=100");
}
END_TEST

START_TEST(options_say_where_each_of_two_values_came_from)
{
    char *folder = folder_create(), flag[512];
    snprintf(flag, sizeof flag, "--config=%s/mlpd.json", folder);
    folder_write(folder, "mlpd.json", "{\n\"queue_max\": 100}");
    REFUSED("--rows-max 5000 is more than --queue-max 4096 (the default)", "--rows-max=5000");
    assert_refused(NOTHING, LINE("MLPD_ROWS_MAX=5000"), "--rows-max 5000 (from MLPD_ROWS_MAX) is more than");
    assert_refused(LINE(flag), LINE("MLPD_ROWS_MAX=5000"),
                   "--rows-max 5000 (from MLPD_ROWS_MAX) is more than --queue-max 100 (from mlpd.json line 2)");
    folder_remove(folder);
}
END_TEST

START_TEST(options_refuse_a_batch_that_waits_for_more_than_the_queue_holds)
{
    REFUSED("--batch-max 256 (the default) is more than --queue-max 100", "--queue-max=100", "--batch-delay-us=1");
    PARSED("--queue-max=100");
    PARSED("--queue-max=100", "--batch-max=200");
    PARSED("--queue-max=100", "--batch-max=100", "--batch-delay-us=1");
}
END_TEST

START_TEST(options_refuse_a_batch_that_waits_as_long_as_the_deadline)
{
    REFUSED("--batch-delay-us 2000 is no less than --deadline-ms 2", "--batch-delay-us=2000", "--deadline-ms=2");
    PARSED("--batch-delay-us=1999", "--deadline-ms=2");
    PARSED("--deadline-ms=1");
}
END_TEST

START_TEST(options_refuse_a_body_over_the_memory)
{
    REFUSED("--body-max 3MiB is more than --memory-max 2MiB", "--body-max=3MiB", "--memory-max=2MiB");
    REFUSED("--body-max 16MiB (the default) is more than --memory-max 15MiB", "--memory-max=15MiB");
    PARSED("--body-max=2MiB", "--memory-max=2MiB");
    PARSED("--body-max=4GiB", "--memory-max=off");
    PARSED("--body-max=4GiB", "--memory-max=auto");
}
END_TEST

START_TEST(options_refuse_a_version_policy_that_is_none)
{
    REFUSED("--model-versions newest: \"newest\" is no version policy; it is latest,", "--model-versions=newest");
    PARSED("--model-versions=specific:1,3");
}
END_TEST

START_TEST(options_refuse_two_listeners_on_one_port_of_an_address)
{
    REFUSED("--admin-port 8080 is the same as --port 8080 (the default)", "--admin-port=8080");
    REFUSED("--admin-port 90 is the same as --port 90", "--admin-port=90", "--port=90", "--host=a,b",
            "--admin-host=b");
    REFUSED("is the same as", "--admin-port=90", "--port=90", "--host=0.0.0.0");
    REFUSED("is the same as", "--admin-port=90", "--port=90", "--admin-host=::");
    PARSED("--admin-port=90", "--port=90", "--host=a", "--admin-host=b");
    PARSED("--admin-port=90", "--port=90", "--host=unix:/a");
    PARSED("--admin-port=0", "--port=0");
    PARSED("--admin-port=81");
}
END_TEST

START_TEST(options_refuse_two_listeners_on_one_socket)
{
    REFUSED("--admin-host b,unix:/a shares a path with --host unix:/a", "--host=unix:/a", "--admin-host=b,unix:/a",
            "--admin-port=81");
    PARSED("--host=unix:/a", "--admin-host=unix:/b");
}
END_TEST

START_TEST(options_refuse_an_admin_host_where_there_is_no_admin)
{
    REFUSED("--admin-host ::1 goes with --admin-port off (the default): nothing would listen there",
            "--admin-host=::1");
    REFUSED("goes with --admin-port off", "--admin-host=::1,unix:/a");
    PARSED("--admin-host=127.0.0.1"); /* the default, written down */
    PARSED("--admin-host=unix:/a");
    PARSED("--admin-host=::1", "--admin-port=0");
}
END_TEST

START_TEST(options_refuse_more_connections_of_one_address_than_of_all)
{
    REFUSED("--connections-per-ip 11 is more than --connections-max 10", "--connections-per-ip=11",
            "--connections-max=10");
    PARSED("--connections-per-ip=10", "--connections-max=10");
    PARSED("--connections-per-ip=off", "--connections-max=10");
}
END_TEST

START_TEST(options_refuse_to_end_before_the_delay_is_over)
{
    REFUSED("--drain-delay-ms 30001 is longer than --drain-timeout-s 30 (the default)", "--drain-delay-ms=30001");
    REFUSED("is longer than --drain-timeout-s 0", "--drain-delay-ms=1", "--drain-timeout-s=0");
    PARSED("--drain-delay-ms=30000");
    PARSED("--drain-timeout-s=0");
}
END_TEST

START_TEST(options_refuse_to_thin_out_a_log_that_is_off)
{
    REFUSED("--access-log-sample 2 goes with --access-log off (the default)", "--access-log-sample=2");
    PARSED("--access-log-sample=2", "--access-log=stderr");
    PARSED("--access-log-sample=1");
}
END_TEST

START_TEST(options_tell_all_combinations_at_once_and_none_where_a_value_is_wrong)
{
    struct options options;
    struct option_faults faults;
    ck_assert_int_eq(parse(LINE("--rows-max=9999", "--access-log-sample=2"), NOTHING, &options, &faults),
                     STATUS_INVALID);
    ck_assert_uint_eq(faults.count, 2);
    REFUSED("--queue-max x: expected", "--rows-max=9999", "--queue-max=x");
}
END_TEST

START_TEST(options_cut_long_values_in_a_combination)
{
    char host[200] = "unix:/";
    memset(host + 6, 'x', 100);
    char admin[240];
    snprintf(admin, sizeof admin, "%s,unix:/a", host);
    REFUSED("two listeners cannot have one socket", "--host", host, "--admin-host", admin);
}
END_TEST

UNIT_MAIN("server/option_together", options_refuse_a_version_policy_that_is_none,
          options_refuse_more_rows_in_a_request_than_in_the_queue, options_say_where_each_of_two_values_came_from,
          options_refuse_a_batch_that_waits_for_more_than_the_queue_holds,
          options_refuse_a_batch_that_waits_as_long_as_the_deadline, options_refuse_a_body_over_the_memory,
          options_refuse_two_listeners_on_one_port_of_an_address, options_refuse_two_listeners_on_one_socket,
          options_refuse_an_admin_host_where_there_is_no_admin,
          options_refuse_more_connections_of_one_address_than_of_all,
          options_refuse_to_end_before_the_delay_is_over, options_refuse_to_thin_out_a_log_that_is_off,
          options_tell_all_combinations_at_once_and_none_where_a_value_is_wrong,
          options_cut_long_values_in_a_combination)
