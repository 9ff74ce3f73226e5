/* Answers are read back: JSON by the strict reader of the daemon and by cJSON, floats to the bit, .npy by its reader. */
#include "server/answer.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <string.h>

#include "server/json_text.h"
#include "server/npy.h"
#include "tests/unit/fixture.h"

enum { N = 4, ROWS = 3 };

static const float probabilities[ROWS * N] = {0.1f,   0.7f,    0.15f, 0.05f, 1,     0,
                                              1e-45f, FLT_MIN, 0.25f, 0.25f, 0.25f, 0.25f};
static const float logits[ROWS * N] = {-1.5f, 3.25f, 0.1f, -16777216, FLT_MAX, -FLT_MAX, -0.0f, 1e-10f, 2, 2, 2, 2};
static const uint32_t classes[ROWS] = {1, 0, 0};

static const char *const labels[N] = {"T-shirt/top", "say \"\\boot\\\"", "Stiefel \xC3\xBC", "\x01\t"};

static char flat_name[] = "flat", stack_name[] = "stack.0";

static struct layer layers[] = {
    {.type = LAYER_FLATTEN,
     .name = flat_name,
     .type_name = "Flatten",
     .in_features = 9,
     .out_features = 9,
     .shape = {9},
     .dims = 1},
    {.type = LAYER_LINEAR,
     .name = stack_name,
     .type_name = "Linear",
     .in_features = 9,
     .out_features = 4,
     .shape = {4},
     .dims = 1},
};

static struct model model;
static struct served served;
static struct buffer out;

static void set_up(const char *const *names)
{
    static struct buffer labels_json[N];
    model = fixture_rows(9, N);
    model.layers = layers;
    model.layer_count = 2;
    served.model = &model;
    served.labels_json = labels_json;
    buffer_append_str(&served.answer_head, "{\"model\":\"m\",\"version\":\"7\"");
    for (size_t i = 0; i < N; i++) {
        if (names)
            buffer_append_json_string(&labels_json[i], names[i]);
        else
            buffer_append_str(&labels_json[i], "null");
    }
}

static void tear_down(void)
{
    buffer_free(&served.answer_head);
    for (size_t i = 0; i < N; i++)
        buffer_free(&served.labels_json[i]);
    buffer_free(&out);
}

static struct answer answer_of(size_t rows, bool batched)
{
    return (struct answer){
        .logits = logits, .probabilities = probabilities, .classes = classes, .rows = rows, .batched = batched};
}

/* The answer as JSON, parsed; the caller deletes it. */
static cJSON *write_json(const struct answer *answer)
{
    buffer_reset(&out, SIZE_MAX);
    answer_write(&served, answer, ANSWER_JSON, &out);
    ck_assert(!out.failed);
    ck_assert_msg(json_is_valid(out.data, out.len), "%s", out.data);
    ck_assert_int_eq(out.data[out.len - 1], '\n');
    cJSON *json = cJSON_ParseWithOpts(out.data, NULL, true);
    ck_assert_msg(json != NULL, "%s", out.data);
    return json;
}

static const cJSON *member(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    ck_assert_msg(item != NULL, "no \"%s\" in %s", key, out.data);
    return item;
}

static void assert_keys(const cJSON *object, const char *const *keys)
{
    const cJSON *item = object->child;
    for (; *keys; keys++, item = item->next) {
        ck_assert_ptr_nonnull(item);
        ck_assert_str_eq(item->string, *keys);
    }
    ck_assert_ptr_null(item);
}

#define KEYS(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

static void assert_float(const cJSON *item, float expected)
{
    float got = (float)item->valuedouble;
    ck_assert(cJSON_IsNumber(item));
    ck_assert_msg(memcmp(&got, &expected, sizeof got) == 0 || (got == 0 && expected == 0), "%.9g is not %.9g",
                  (double)got, (double)expected);
}

static void assert_floats(const cJSON *array, const float *expected, size_t count)
{
    const cJSON *item = array->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        ck_assert_ptr_nonnull(item);
        assert_float(item, expected[i]);
    }
    ck_assert_ptr_null(item);
}

static void assert_class(const cJSON *object, uint32_t class, const char *label, float probability)
{
    ck_assert_float_eq((float)member(object, "class")->valuedouble, (float)class);
    if (label)
        ck_assert_str_eq(member(object, "label")->valuestring, label);
    else
        ck_assert(cJSON_IsNull(member(object, "label")));
    assert_float(member(object, "probability"), probability);
}

/* ---- JSON ---- */

START_TEST(answer_is_one_flat_object_for_an_input_without_a_batch_axis)
{
    set_up(labels);
    struct answer answer = answer_of(1, false);
    cJSON *json = write_json(&answer);
    ck_assert_str_eq(out.data,
                     "{\"model\":\"m\",\"version\":\"7\",\"class\":1,\"label\":\"say \\\"\\\\boot\\\\\\\"\","
                     "\"probability\":0.7,\"probabilities\":[0.1,0.7,0.15,0.05]}\n");
    assert_class(json, 1, labels[1], 0.7f);
    cJSON_Delete(json);
    tear_down();
}
END_TEST

START_TEST(answer_is_a_list_for_a_batch_even_of_one_row)
{
    set_up(labels);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        struct answer answer = answer_of(rows, true);
        cJSON *json = write_json(&answer);
        assert_keys(json, KEYS("model", "version", "predictions"));
        const cJSON *list = member(json, "predictions");
        ck_assert_int_eq(cJSON_GetArraySize(list), (int)rows);
        for (size_t row = 0; row < rows; row++) {
            const cJSON *prediction = cJSON_GetArrayItem(list, (int)row);
            assert_keys(prediction, KEYS("class", "label", "probability", "probabilities"));
            assert_class(prediction, classes[row], labels[classes[row]], probabilities[row * N + classes[row]]);
            assert_floats(member(prediction, "probabilities"), probabilities + row * N, N);
        }
        cJSON_Delete(json);
    }
    tear_down();
}
END_TEST

START_TEST(answer_writes_labels_so_that_they_read_back)
{
    set_up(labels);
    for (uint32_t class = 0; class < N; class ++) {
        struct answer answer = answer_of(1, false);
        answer.classes = &class;
        cJSON *json = write_json(&answer);
        assert_class(json, class, labels[class], probabilities[class]);
        cJSON_Delete(json);
    }
    tear_down();
}
END_TEST

START_TEST(answer_says_null_where_the_model_has_no_labels)
{
    set_up(NULL);
    uint32_t order[N];
    struct answer answer = answer_of(1, false);
    answer.top_k = 2;
    answer.order = order;
    cJSON *json = write_json(&answer);
    assert_class(json, 1, NULL, 0.7f);
    assert_class(member(json, "top_k")->child, 1, NULL, 0.7f);
    cJSON_Delete(json);
    tear_down();
}
END_TEST

START_TEST(answer_gives_logits_only_when_asked)
{
    set_up(labels);
    struct answer answer = answer_of(ROWS, true);
    answer.with_logits = true;
    cJSON *json = write_json(&answer);
    const cJSON *prediction = member(json, "predictions")->child;
    for (size_t row = 0; row < ROWS; row++, prediction = prediction->next)
        assert_floats(member(prediction, "logits"), logits + row * N, N);
    cJSON_Delete(json);
    tear_down();
}
END_TEST

static void assert_top(const cJSON *prediction, const uint32_t *expected, size_t count, const float *row)
{
    const cJSON *item = member(prediction, "top_k")->child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        ck_assert_ptr_nonnull(item);
        assert_keys(item, KEYS("class", "label", "probability"));
        assert_class(item, expected[i], labels[expected[i]], row[expected[i]]);
    }
    ck_assert_ptr_null(item);
}

START_TEST(answer_orders_top_k_by_logit_and_equal_ones_by_class)
{
    static const uint32_t expected[ROWS][N] = {{1, 2, 0, 3}, {0, 3, 2, 1}, {0, 1, 2, 3}};
    uint32_t order[N];
    set_up(labels);
    for (size_t k = 1; k <= N; k++) {
        struct answer answer = answer_of(ROWS, true);
        answer.top_k = k;
        answer.order = order;
        cJSON *json = write_json(&answer);
        const cJSON *prediction = member(json, "predictions")->child;
        for (size_t row = 0; row < ROWS; row++, prediction = prediction->next)
            assert_top(prediction, expected[row], k, probabilities + row * N);
        cJSON_Delete(json);
    }
    tear_down();
}
END_TEST

START_TEST(answer_names_the_size_of_those_pictures_that_were_resized)
{
    static const struct picture_size sizes[ROWS] = {{0, 0}, {30, 20}, {0, 0}};
    set_up(labels);
    struct answer answer = answer_of(ROWS, true);
    answer.sizes = sizes;
    cJSON *json = write_json(&answer);
    const cJSON *list = member(json, "predictions");
    for (int row = 0; row < ROWS; row++) {
        const cJSON *from = cJSON_GetObjectItem(cJSON_GetArrayItem(list, row), "resized_from");
        ck_assert_int_eq(from != NULL, row == 1);
        if (from)
            assert_floats(from, (const float[]){30, 20}, 2);
    }
    cJSON_Delete(json);
    answer = answer_of(1, false);
    answer.sizes = sizes + 1;
    json = write_json(&answer);
    assert_floats(member(json, "resized_from"), (const float[]){30, 20}, 2);
    cJSON_Delete(json);
    tear_down();
}
END_TEST

static void assert_layer(const cJSON *item, size_t index, size_t rows, const float *values)
{
    size_t features = layers[index].out_features;
    assert_keys(item, KEYS("name", "type", "shape", "values"));
    ck_assert_str_eq(member(item, "name")->valuestring, layers[index].name);
    ck_assert_str_eq(member(item, "type")->valuestring, layers[index].type_name);
    assert_floats(member(item, "shape"), (const float[]){(float)rows, (float)features}, 2);
    assert_floats(member(item, "values"), values, features < TRACE_VALUES ? features : TRACE_VALUES);
}

START_TEST(answer_walks_the_layers_with_the_head_of_the_first_row)
{
    static const float values[2 * TRACE_VALUES] = {1, 2, 3, 4, 5, 6, 7, 8, -1, -2.5f, 0, 1e-7f, 99, 99, 99, 99};
    set_up(labels);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        struct answer answer = answer_of(rows, rows > 1);
        answer.layers = values;
        cJSON *json = write_json(&answer);
        const cJSON *list = member(json, "layers");
        ck_assert_int_eq(cJSON_GetArraySize(list), 2);
        assert_layer(cJSON_GetArrayItem(list, 0), 0, rows, values);
        assert_layer(cJSON_GetArrayItem(list, 1), 1, rows, values + TRACE_VALUES);
        cJSON_Delete(json);
    }
    tear_down();
}
END_TEST

START_TEST(answer_prints_floats_that_read_back_to_the_bit)
{
    enum { COUNT = 256 };
    static float values[COUNT * N];
    static uint32_t zeros[COUNT];
    uint64_t state = 17;
    set_up(labels);
    for (size_t i = 0; i < COUNT * N; i++) {
        fixture_random(&state);
        uint32_t bits = (uint32_t)(state >> 32) & 0x7F7FFFFFu;
        memcpy(&values[i], &bits, sizeof bits);
    }
    struct answer answer = {
        .logits = values, .probabilities = values, .classes = zeros, .rows = COUNT, .batched = true};
    cJSON *json = write_json(&answer);
    const cJSON *prediction = member(json, "predictions")->child;
    for (size_t row = 0; row < COUNT; row++, prediction = prediction->next) {
        const cJSON *item = member(prediction, "probabilities")->child;
        for (size_t i = 0; i < N; i++, item = item->next)
            assert_float(item, values[row * N + i]);
    }
    cJSON_Delete(json);
    tear_down();
}
END_TEST

/* ---- binary ---- */

START_TEST(answer_gives_raw_probabilities)
{
    set_up(labels);
    struct answer answer = answer_of(ROWS, true);
    answer_write(&served, &answer, ANSWER_FLOAT32, &out);
    ck_assert_uint_eq(out.len, sizeof probabilities);
    ck_assert_mem_eq(out.data, probabilities, sizeof probabilities);
    tear_down();
}
END_TEST

START_TEST(answer_gives_an_npy_of_rows_by_classes)
{
    set_up(labels);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        struct npy npy;
        struct answer answer = answer_of(rows, rows > 1);
        buffer_reset(&out, SIZE_MAX);
        answer_write(&served, &answer, ANSWER_NPY, &out);
        ck_assert_int_eq(npy_parse(out.data, out.len, &npy, NULL), STATUS_OK);
        ck_assert_int_eq(npy.dtype, NPY_FLOAT32);
        ck_assert(!npy.fortran_order && !npy.big_endian);
        ck_assert_uint_eq(npy.dims, 2);
        ck_assert_uint_eq(npy.shape[0], rows);
        ck_assert_uint_eq(npy.shape[1], N);
        ck_assert_mem_eq(npy.data, probabilities, rows * N * sizeof(float));
    }
    tear_down();
}
END_TEST

START_TEST(answer_appends_behind_what_is_there)
{
    set_up(labels);
    struct answer answer = answer_of(1, false);
    buffer_append_str(&out, "before");
    answer_write(&served, &answer, ANSWER_FLOAT32, &out);
    ck_assert_mem_eq(out.data, "before", 6);
    ck_assert_uint_eq(out.len, 6 + N * sizeof(float));
    tear_down();
}
END_TEST

/* ---- Accept ---- */

START_TEST(answer_takes_the_format_that_accept_prefers)
{
    static const struct {
        const char *accept;
        enum answer_format format;
    } cases[] = {
        {"", ANSWER_JSON},
        {"*/*", ANSWER_JSON},
        {"application/*", ANSWER_JSON},
        {"application/json", ANSWER_JSON},
        {"application/octet-stream", ANSWER_FLOAT32},
        {"application/x-npy", ANSWER_NPY},
        {"APPLICATION/X-NPY", ANSWER_NPY},
        {"  application/x-npy  ", ANSWER_NPY},
        {"application/x-npy, application/json", ANSWER_NPY},
        {"application/json, application/x-npy", ANSWER_JSON},
        {"application/json;q=0.5, application/x-npy", ANSWER_NPY},
        {"application/x-npy;q=0.5,application/octet-stream;q=0.9,application/json;q=0.8", ANSWER_FLOAT32},
        {"application/x-npy; q=0.5, application/octet-stream ; Q=0.501", ANSWER_FLOAT32},
        {"application/octet-stream;q=0", ANSWER_JSON},
        {"application/octet-stream;q=0, application/x-npy;q=0.001", ANSWER_NPY},
        {"application/octet-stream, */*;q=0.1", ANSWER_FLOAT32},
        {"*/*, application/octet-stream;q=0.9", ANSWER_JSON},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ANSWER_JSON},
        {"text/html, application/x-npy;q=0.1", ANSWER_NPY},
        {"application/x-npy;version=1;q=0.2, application/octet-stream;q=0.3", ANSWER_FLOAT32},
        {"application/x-npy;q=1.000", ANSWER_NPY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(answer_negotiate(cases[i].accept) == cases[i].format, "%s", cases[i].accept);
}
END_TEST

START_TEST(answer_gives_json_to_an_accept_that_names_nothing_it_has)
{
    static const char *const headers[] = {"text/html",
                                          "image/*",
                                          "application/x-npyz",
                                          "application/x-np",
                                          "application",
                                          "/",
                                          ",",
                                          ", , ,",
                                          ";q=1",
                                          "q=1",
                                          "application/x-npy/2",
                                          ";;;",
                                          "\"application/x-npy\"",
                                          "*",
                                          "application/ x-npy"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        ck_assert_msg(answer_negotiate(headers[i]) == ANSWER_JSON, "%s", headers[i]);
}
END_TEST

/* A quality that is none is passed over, and what it stands behind is still named. */
START_TEST(answer_survives_qualities_that_are_none)
{
    static const char *const headers[] = {
        "application/x-npy;q=",  "application/x-npy;q=x", "application/x-npy;q=nan", "application/x-npy;q=-1",
        "application/x-npy;q=9", "application/x-npy;",    "application/x-npy;q"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        enum answer_format format = answer_negotiate(headers[i]);
        ck_assert_msg(format == ANSWER_NPY || format == ANSWER_JSON, "%s", headers[i]);
    }
    ck_assert_int_eq(answer_negotiate("application/x-npy;q=9"), ANSWER_NPY);
    ck_assert_int_eq(answer_negotiate("application/x-npy;"), ANSWER_NPY);
}
END_TEST

START_TEST(answer_names_the_content_type_of_each_format)
{
    ck_assert_str_eq(answer_content_type(ANSWER_JSON), "application/json");
    ck_assert_str_eq(answer_content_type(ANSWER_FLOAT32), "application/octet-stream");
    ck_assert_str_eq(answer_content_type(ANSWER_NPY), "application/x-npy");
}
END_TEST

/* ---- tasks ---- */

/* What stands behind the head of an answer of one row, for a model of this task. */
static void expect_task(enum model_task task, size_t outputs, float threshold, const char *expected)
{
    struct answer answer = answer_of(1, false);
    model.task = task;
    model.out_features = outputs;
    answer.threshold = threshold;
    cJSON *json = write_json(&answer);
    const char *head = "{\"model\":\"m\",\"version\":\"7\",";
    ck_assert_int_eq(strncmp(out.data, head, strlen(head)), 0);
    ck_assert_str_eq(out.data + strlen(head), expected);
    cJSON_Delete(json);
}

START_TEST(answer_of_a_regression_is_its_values)
{
    set_up(NULL);
    expect_task(TASK_REGRESSION, 4, 0, "\"values\":[0.1,0.7,0.15,0.05]}\n");
    expect_task(TASK_REGRESSION, 1, 0, "\"values\":[0.1]}\n");
    tear_down();
}
END_TEST

START_TEST(answer_of_a_binary_model_is_class_1s_probability_and_the_class_beyond_the_threshold)
{
    static const char *const names[N] = {"no", "yes", "", ""};
    set_up(names);
    expect_task(TASK_BINARY, 1, 0.5F, "\"class\":0,\"label\":\"no\",\"probability\":0.1}\n");
    expect_task(TASK_BINARY, 1, 0.05F, "\"class\":1,\"label\":\"yes\",\"probability\":0.1}\n");
    expect_task(TASK_BINARY, 1, 0.1F, "\"class\":0,\"label\":\"no\",\"probability\":0.1}\n");
    tear_down();
}
END_TEST

START_TEST(answer_of_several_labels_names_those_beyond_the_threshold)
{
    static const char *const names[N] = {"a", "b", "c", "d"};
    set_up(names);
    expect_task(TASK_MULTILABEL, 4, 0.5F,
                "\"classes\":[1],\"labels\":[\"b\"],\"probabilities\":[0.1,0.7,0.15,0.05]}\n");
    expect_task(TASK_MULTILABEL, 4, 0.1F,
                "\"classes\":[1,2],\"labels\":[\"b\",\"c\"],\"probabilities\":[0.1,0.7,0.15,0.05]}\n");
    expect_task(TASK_MULTILABEL, 4, 1, "\"classes\":[],\"labels\":[],\"probabilities\":[0.1,0.7,0.15,0.05]}\n");
    tear_down();
    set_up(NULL);
    expect_task(TASK_MULTILABEL, 4, 0.5F,
                "\"classes\":[1],\"labels\":[null],\"probabilities\":[0.1,0.7,0.15,0.05]}\n");
    tear_down();
}
END_TEST

UNIT_MAIN("server/answer", answer_is_one_flat_object_for_an_input_without_a_batch_axis,
          answer_is_a_list_for_a_batch_even_of_one_row, answer_writes_labels_so_that_they_read_back,
          answer_says_null_where_the_model_has_no_labels, answer_gives_logits_only_when_asked,
          answer_orders_top_k_by_logit_and_equal_ones_by_class,
          answer_names_the_size_of_those_pictures_that_were_resized,
          answer_walks_the_layers_with_the_head_of_the_first_row, answer_prints_floats_that_read_back_to_the_bit,
          answer_gives_raw_probabilities, answer_gives_an_npy_of_rows_by_classes,
          answer_appends_behind_what_is_there, answer_takes_the_format_that_accept_prefers,
          answer_gives_json_to_an_accept_that_names_nothing_it_has, answer_survives_qualities_that_are_none,
          answer_names_the_content_type_of_each_format, answer_of_a_regression_is_its_values,
          answer_of_a_binary_model_is_class_1s_probability_and_the_class_beyond_the_threshold,
          answer_of_several_labels_names_those_beyond_the_threshold)
