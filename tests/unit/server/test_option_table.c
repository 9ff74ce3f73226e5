#include "server/option_table.h"

#include "server/options.h"
#include "tests/unit/unit.h"

START_TEST(option_table_has_a_whole_row_for_each_option)
{
    ck_assert_ptr_nonnull(option_specs[0].heading);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];
        bool is_number = spec->type == OPTION_TYPE_COUNT || spec->type == OPTION_TYPE_BYTES;
        ck_assert_msg(spec->flag && spec->value_name && spec->help, "row %zu", i);
        ck_assert_msg(strncmp(spec->flag, "--", 2) == 0, "%s", spec->flag);
        ck_assert_msg(is_number ? spec->min < spec->max : spec->max == 0, "%s", spec->flag);
        ck_assert_msg(spec->default_text || (spec->type == OPTION_TYPE_TEXT && spec->default_help), "%s",
                      spec->flag);
        ck_assert_msg(spec->offset < sizeof(struct options), "%s", spec->flag);
        ck_assert_msg(strlen(spec->flag) + sizeof OPTION_VARIABLE_PREFIX < OPTION_NAME_MAX, "%s", spec->flag);
        ck_assert_uint_eq(option_id_of(spec), i);
    }
}
END_TEST

START_TEST(option_table_has_no_flag_and_no_field_twice)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(option_specs[i].flag, option_specs[j].flag);
            ck_assert_uint_ne(option_specs[i].offset, option_specs[j].offset);
        }
}
END_TEST

START_TEST(option_table_gives_the_word_auto_only_where_zero_is_no_value)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (option_specs[i].max && option_has_word(&option_specs[i], "auto"))
            ck_assert_msg(option_specs[i].min > OPTION_AUTO, "%s", option_specs[i].flag);
}
END_TEST

START_TEST(option_table_derives_variable_and_key_from_the_flag)
{
    char name[OPTION_NAME_MAX];
    option_write_variable(&option_specs[OPTION_CONNECTIONS_PER_IP], name);
    ck_assert_str_eq(name, "MLPD_CONNECTIONS_PER_IP");
    option_write_key(&option_specs[OPTION_CONNECTIONS_PER_IP], name);
    ck_assert_str_eq(name, "connections_per_ip");
}
END_TEST

START_TEST(option_table_finds_each_option_by_each_of_its_names)
{
    char name[OPTION_NAME_MAX];
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];
        ck_assert_ptr_eq(option_find_flag(spec->flag, strlen(spec->flag)), spec);
        option_write_variable(spec, name);
        ck_assert_ptr_eq(option_find_variable(name, strlen(name)), spec);
        option_write_key(spec, name);
        ck_assert_ptr_eq(option_find_key(name, strlen(name)), i == OPTION_CONFIG ? NULL : spec);
    }
}
END_TEST

START_TEST(option_table_finds_nothing_by_half_a_name_or_by_another_form)
{
    ck_assert_ptr_null(option_find_flag("--port", 5));
    ck_assert_ptr_eq(option_find_flag("--port=80", 6), &option_specs[OPTION_PORT]);
    ck_assert_ptr_null(option_find_flag("--ports", 7));
    ck_assert_ptr_null(option_find_flag("", 0));
    ck_assert_ptr_null(option_find_flag("port", 4));
    ck_assert_ptr_null(option_find_variable("PORT", 4));
    ck_assert_ptr_null(option_find_variable("mlpd_port", 9));
    ck_assert_ptr_null(option_find_key("--port", 6));
    ck_assert_ptr_null(option_find_key("PORT", 4));
}
END_TEST

START_TEST(option_table_knows_words_but_no_names_of_values)
{
    const struct option_spec *memory = &option_specs[OPTION_MEMORY_MAX], *kernels = &option_specs[OPTION_KERNELS];
    ck_assert(option_has_word(memory, "auto"));
    ck_assert(option_has_word(memory, "off"));
    ck_assert(!option_has_word(memory, "BYTES"));
    ck_assert(!option_has_word(memory, "of"));
    ck_assert(!option_has_word(memory, "offs"));
    ck_assert(!option_has_word(memory, ""));
    ck_assert(!option_has_word(memory, "auto|off"));
    ck_assert(option_has_word(kernels, "auto"));
    ck_assert(option_has_word(kernels, "avx512")); /* the last of a choice is a word too */
    ck_assert(!option_has_word(kernels, "avx"));
    ck_assert(!option_has_word(&option_specs[OPTION_PORT], "N"));
}
END_TEST

START_TEST(option_table_names_the_nearest_in_every_form)
{
    static const char *const names[] = {"--batch-mx", "--batch_max", "MLPD_BATCHMAX", "MLPD_batch_max",
                                        "batch-max",  "BATCH_MAXX",  "-batch-max",    "batch.max"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        ck_assert_msg(option_nearest(names[i], strlen(names[i])) == &option_specs[OPTION_BATCH_MAX], "%s",
                      names[i]);
}
END_TEST

START_TEST(option_table_names_none_that_is_far)
{
    char text[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    ck_assert_ptr_null(option_nearest("--nonsense", 10));
    ck_assert_ptr_null(option_nearest("MLPD_", 5));
    ck_assert_ptr_null(option_nearest("--", 2));
    ck_assert_ptr_null(option_nearest("------", 2));
    ck_assert_ptr_null(option_nearest("", 0));
    ck_assert_ptr_null(option_nearest(text, strlen(text)));
}
END_TEST

UNIT_MAIN("server/option_table", option_table_has_a_whole_row_for_each_option,
          option_table_has_no_flag_and_no_field_twice, option_table_gives_the_word_auto_only_where_zero_is_no_value,
          option_table_derives_variable_and_key_from_the_flag, option_table_finds_each_option_by_each_of_its_names,
          option_table_finds_nothing_by_half_a_name_or_by_another_form,
          option_table_knows_words_but_no_names_of_values, option_table_names_the_nearest_in_every_form,
          option_table_names_none_that_is_far)
