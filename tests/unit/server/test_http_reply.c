/* The parts of http.h that need no library. */
#include <cjson/cJSON.h>
#include <string.h>

#include "server/http.h"
#include "server/json_text.h"
#include "tests/unit/unit.h"

static struct error error_of(enum status status, const char *message, const char *hint)
{
    struct error err;
    error_set(&err, status, "%s", message);
    error_hint(&err, "%s", hint);
    return err;
}

/* The reply's body, parsed; the caller deletes it. */
static cJSON *body_of(const struct http_request *request)
{
    const struct buffer *body = &request->reply.body;
    ck_assert(!body->failed);
    ck_assert_msg(json_is_valid(body->data, body->len), "%s", body->data);
    ck_assert_int_eq(body->data[body->len - 1], '\n');
    return cJSON_ParseWithOpts(body->data, NULL, true);
}

static const char *text_of(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    ck_assert_ptr_nonnull(item);
    ck_assert(cJSON_IsString(item));
    return item->valuestring;
}

START_TEST(http_reply_gives_each_status_its_code)
{
    static const struct {
        enum status status;
        unsigned code;
    } cases[] = {
        {STATUS_INVALID, 400},    {STATUS_NOT_FOUND, 404}, {STATUS_TOO_LARGE, 413}, {STATUS_UNSUPPORTED, 415},
        {STATUS_OVERLOADED, 503}, {STATUS_NO_MEMORY, 503}, {STATUS_IO, 500},        {STATUS_INTERNAL, 500},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_request request = {0};
        struct error err = error_of(cases[i].status, "came", "send");
        http_reply_error(&request, &err);
        ck_assert_uint_eq(request.reply.code, cases[i].code);
        ck_assert_str_eq(request.reply.content_type, "application/json");
        ck_assert_int_eq(request.reply.retry_after_s > 0, cases[i].code == 503);
        buffer_free(&request.reply.body);
    }
}
END_TEST

START_TEST(http_reply_writes_error_and_hint_as_json)
{
    struct http_request request = {0};
    struct error err = error_of(STATUS_INVALID, "a \"quoted\" \\ word\n\x01 \xC3\xBC", "mend \"it\"");
    http_reply_error(&request, &err);
    cJSON *json = body_of(&request);
    ck_assert_str_eq(text_of(json, "error"), err.message);
    ck_assert_str_eq(text_of(json, "hint"), err.hint);
    ck_assert_int_eq(cJSON_GetArraySize(json), 2);
    cJSON_Delete(json);
    buffer_free(&request.reply.body);
}
END_TEST

START_TEST(http_reply_stays_utf8_whatever_the_client_sent)
{
    struct http_request request = {0};
    struct error err = error_of(STATUS_INVALID, "came \xFF\xC3(\xED\xA0\x80", "h");
    http_reply_error(&request, &err);
    cJSON *json = body_of(&request);
    ck_assert_ptr_nonnull(json);
    ck_assert_ptr_nonnull(strstr(text_of(json, "error"), "\xEF\xBF\xBD"));
    cJSON_Delete(json);
    buffer_free(&request.reply.body);
}
END_TEST

START_TEST(http_reply_never_leaves_a_client_without_a_hint)
{
    static const enum status statuses[] = {STATUS_INVALID, STATUS_NOT_FOUND, STATUS_INTERNAL, STATUS_OVERLOADED};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct http_request request = {0};
        struct error err = error_of(statuses[i], "came", "");
        http_reply_error(&request, &err);
        cJSON *json = body_of(&request);
        ck_assert_str_ne(text_of(json, "hint"), "");
        cJSON_Delete(json);
        buffer_free(&request.reply.body);
    }
}
END_TEST

START_TEST(http_reply_takes_a_code_of_its_own)
{
    struct http_request request = {0};
    struct error err = error_of(STATUS_INVALID, "came", "send");
    http_reply_error_code(&request, 405, &err);
    ck_assert_uint_eq(request.reply.code, 405);
    ck_assert_uint_eq(request.reply.retry_after_s, 0);
    buffer_free(&request.reply.body);
}
END_TEST

START_TEST(http_reply_of_an_error_replaces_what_was_begun)
{
    struct http_request request = {.reply = {.code = 200, .content_type = "text/plain", .shared_body = "shared"}};
    struct error err = error_of(STATUS_INVALID, "came", "send");
    buffer_append_str(&request.reply.body, "half an answer");
    http_reply_error(&request, &err);
    ck_assert_ptr_null(request.reply.shared_body);
    cJSON *json = body_of(&request);
    ck_assert_str_eq(text_of(json, "error"), "came");
    cJSON_Delete(json);
    buffer_free(&request.reply.body);
}
END_TEST

START_TEST(http_request_finds_a_query_parameter_by_its_whole_key)
{
    struct http_request request = {.query = {{"top_k", "3"}, {"", "x"}, {"logits", ""}, {"top_k", "4"}},
                                   .query_count = 3};
    ck_assert_str_eq(http_request_parameter(&request, "top_k"), "3");
    ck_assert_str_eq(http_request_parameter(&request, "logits"), "");
    ck_assert_ptr_null(http_request_parameter(&request, "top"));
    ck_assert_ptr_null(http_request_parameter(&request, "top_kk"));
    ck_assert_ptr_null(http_request_parameter(&request, "Logits"));
    request.query_count = 0;
    ck_assert_ptr_null(http_request_parameter(&request, "top_k"));
}
END_TEST

START_TEST(http_path_matches_a_pattern_segment_by_segment)
{
    static const struct {
        const char *pattern, *path, *first, *second; /* first NULL: it does not match */
    } cases[] = {
        {"/predict", "/predict", "", ""},
        {"/predict", "/predict/", NULL, NULL},
        {"/predict", "/predic", NULL, NULL},
        {"/", "/", "", ""},
        {"/", "", NULL, NULL},
        {"/models/{name}", "/models/a b{}", "a b{}", ""},
        {"/models/{name}", "/models/", NULL, NULL},
        {"/models/{name}", "/models", NULL, NULL},
        {"/models/{name}", "/models/a/", NULL, NULL},
        {"/models/{name}", "/models/a/b", NULL, NULL},
        {"/models/{name}/predict", "/models/predict/predict", "predict", ""},
        {"/models/{name}/predict", "/models/predict", NULL, NULL},
        {"/models/{name}/predict", "/models//predict", NULL, NULL},
        {"/models/{n}/versions/{v}/predict", "/models/a/versions/12/predict", "a", "12"},
        {"/models/{n}/versions/{v}", "/models/a/versions/", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_capture captures[HTTP_CAPTURES_MAX] = {{"", 0}, {"", 0}};
        bool matches = http_path_matches(cases[i].pattern, cases[i].path, captures);
        ck_assert_msg(matches == (cases[i].first != NULL), "%s %s", cases[i].pattern, cases[i].path);
        if (!matches)
            continue;
        ck_assert_uint_eq(captures[0].len, strlen(cases[i].first));
        ck_assert_mem_eq(captures[0].text, cases[i].first, captures[0].len);
        ck_assert_uint_eq(captures[1].len, strlen(cases[i].second));
        ck_assert_mem_eq(captures[1].text, cases[i].second, captures[1].len);
    }
}
END_TEST

UNIT_MAIN("server/http_reply", http_path_matches_a_pattern_segment_by_segment,
          http_reply_gives_each_status_its_code, http_reply_writes_error_and_hint_as_json,
          http_reply_stays_utf8_whatever_the_client_sent, http_reply_never_leaves_a_client_without_a_hint,
          http_reply_takes_a_code_of_its_own, http_reply_of_an_error_replaces_what_was_begun,
          http_request_finds_a_query_parameter_by_its_whole_key)
