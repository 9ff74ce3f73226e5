#include "engine/version_policy.h"

#include "tests/unit/engine/folder.h"

static struct version_policy parsed(const char *text)
{
    struct version_policy policy;
    struct error err = {0};
    ck_assert_msg(version_policy_parse(text, &policy, &err) == STATUS_OK, "%s", err.message);
    return policy;
}

/* Which of the versions 10, 9, 1 the policy wants, as a text. */
static void assert_wanted(const struct version_policy *policy, const char *expected)
{
    static const char *const versions[] = {"10", "9", "1"};
    char wanted[16] = "";
    for (size_t i = 0; i < 3; i++)
        if (version_policy_wants(policy, versions[i], i))
            snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s ", versions[i]);
    ck_assert_str_eq(wanted, expected);
}

static void assert_text_wants(const char *text, const char *expected)
{
    struct version_policy policy = parsed(text);
    assert_wanted(&policy, expected);
}

START_TEST(version_policy_wants_what_its_text_says)
{
    assert_text_wants("latest", "10 ");
    assert_text_wants("latest:1", "10 ");
    assert_text_wants("latest:2", "10 9 ");
    assert_text_wants("latest:999999", "10 9 1 ");
    assert_text_wants("all", "10 9 1 ");
    assert_text_wants("specific:1,10", "10 1 ");
    assert_text_wants("specific:0", "");
    assert_text_wants("specific:19,91,110", "");
}
END_TEST

START_TEST(version_policy_refuses_other_texts)
{
    static const char *const texts[] = {
        "",
        "newest",
        "latest:",
        "latest:0",
        "latest:01",
        "latest:-1",
        "latest:9999999",
        "latest:2x",
        "Latest",
        "all ",
        "all:",
        "specific",
        "specific:",
        "specific:,",
        "specific:1,",
        "specific:01",
        "specific:1;2",
        "specific:1, 2",
        "specific:a",
        "specific:1,,2",
    };
    struct version_policy policy;
    struct error err;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ck_assert_msg(version_policy_parse(texts[i], &policy, &err) == STATUS_INVALID, "%s", texts[i]);
        ck_assert_ptr_nonnull(strstr(err.message, texts[i]));
        ck_assert_ptr_nonnull(strstr(err.hint, "latest:N"));
    }
}
END_TEST

START_TEST(version_policy_refuses_a_list_that_is_too_long)
{
    struct version_policy policy;
    struct error err;
    char text[2 * VERSION_POLICY_TEXT_MAX] = "specific:1";
    while (strlen(text) < VERSION_POLICY_TEXT_MAX + 8)
        strcat(text, ",2");
    ck_assert_int_eq(version_policy_parse(text, &policy, &err), STATUS_INVALID);
}
END_TEST

static enum status read_config(const char *config, struct version_policy *ret, struct error *err)
{
    const struct version_policy otherwise = parsed("latest");
    char *folder = folder_create();
    if (config)
        folder_write(folder, "config.json", config);
    enum status status = version_policy_read(folder, &otherwise, ret, err);
    folder_remove(folder);
    return status;
}

START_TEST(version_policy_is_read_from_config_json)
{
    static const char *const cases[][2] = {
        {NULL, "10 "},
        {"{}", "10 "},
        {"{\"version_policy\": \"latest:2\"}", "10 9 "},
        {"{\"version_policy\": {\"latest\": {\"num_versions\": 2}}}", "10 9 "},
        {"{\"version_policy\": {\"all\": {}}}", "10 9 1 "},
        {"{\"version_policy\": {\"specific\": {\"versions\": [9, 1]}}}", "9 1 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct version_policy policy;
        struct error err = {0};
        ck_assert_msg(read_config(cases[i][0], &policy, &err) == STATUS_OK, "%s", err.message);
        assert_wanted(&policy, cases[i][1]);
    }
}
END_TEST

START_TEST(version_policy_refuses_a_config_json_that_is_not_understood)
{
    static const char *const configs[] = {
        "",
        "[]",
        "{\"version_polcy\": \"all\"}",
        "{\"version_policy\": \"all\", \"x\": 1}",
        "{\"version_policy\": 3}",
        "{\"version_policy\": \"newest\"}",
        "{\"version_policy\": {}}",
        "{\"version_policy\": {\"latest\": 2}}",
        "{\"version_policy\": {\"latest\": {\"num_versions\": 0}}}",
        "{\"version_policy\": {\"latest\": {\"num_versions\": 1.5}}}",
        "{\"version_policy\": {\"latest\": {\"num_versions\": 1, \"x\": 1}}}",
        "{\"version_policy\": {\"all\": {\"x\": 1}}}",
        "{\"version_policy\": {\"specific\": {\"versions\": []}}}",
        "{\"version_policy\": {\"specific\": {\"versions\": [-1]}}}",
        "{\"version_policy\": {\"specific\": {\"versions\": [\"1\"]}}}",
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        struct version_policy policy;
        struct error err = {0};
        ck_assert_msg(read_config(configs[i], &policy, &err) == STATUS_INVALID, "%s", configs[i]);
        ck_assert_ptr_nonnull(strstr(err.message, "config.json"));
        ck_assert_str_ne(err.hint, "");
    }
}
END_TEST

UNIT_MAIN("engine/version_policy", version_policy_wants_what_its_text_says, version_policy_refuses_other_texts,
          version_policy_refuses_a_list_that_is_too_long, version_policy_is_read_from_config_json,
          version_policy_refuses_a_config_json_that_is_not_understood)
