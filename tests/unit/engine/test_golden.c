#include "engine/golden.h"

#include "engine/safetensors.h"
#include "tests/unit/fixture.h"

enum { IN = 6, OUT = 2 };

static char *folder;
static struct model *model;
static struct backend *backend;

/* A model of 6-4-2 in a folder that stays, and a backend whose batches hold four rows. */
static void set_up(const char *json)
{
    struct error err = {0};
    folder = folder_create();
    fixture_write(folder, (const char *const[]){LINEAR(6, 4), RELU, LINEAR(4, 2), NULL}, json);
    ck_assert_int_eq(model_load(folder, "fixture", "1", &model, &err), STATUS_OK);
    ck_assert_int_eq(backend_cpu_create(model, NULL, 4, &backend, &err), STATUS_OK);
}

static void tear_down(void)
{
    backend->ops->free(backend);
    model_free(model);
    folder_remove(folder);
}

static struct golden_report compare(void)
{
    struct golden_report report;
    struct error err = {0};
    enum status status = golden_compare(backend, &report, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return report;
}

static void expect_refusal(const char *in_message)
{
    struct golden_report report;
    struct error err = {0};
    ck_assert_int_eq(golden_compare(backend, &report, &err), STATUS_INVALID);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_ptr_nonnull(strstr(err.message, "/" GOLDEN_FILE ": "));
    ck_assert_str_ne(err.hint, "");
}

/* golden.safetensors of a header and floats. */
static void write_golden(const char *header, const float *values, size_t count)
{
    size_t len;
    char *bytes = safetensors_bytes(header, values, count * sizeof *values, &len);
    folder_write_bytes(folder, GOLDEN_FILE, bytes, len);
    free(bytes);
}

static void write_own(void)
{
    struct error err = {0};
    size_t rows = 0;
    char *path = folder_path(folder, GOLDEN_FILE);
    enum status status = golden_write(backend, path, &rows, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(rows, 16);
    free(path);
}

START_TEST(golden_compare_says_that_there_is_no_file)
{
    set_up(NULL);
    ck_assert_uint_eq(compare().rows, 0);
    tear_down();
}
END_TEST

START_TEST(golden_write_writes_what_golden_compare_takes)
{
    set_up(NULL);
    write_own();
    struct golden_report report = compare();
    ck_assert_uint_eq(report.rows, 16);
    ck_assert(report.difference == 0);
    tear_down();
}
END_TEST

START_TEST(golden_write_writes_bytes_for_a_model_of_pictures_and_scales_them_by_channel)
{
    set_up("{\"input\":{\"channels\":3,\"width\":2,\"height\":1,\"mean\":[0,0.5,1],\"std\":[1,0.5,2]}}");
    write_own();
    ck_assert_uint_eq(compare().rows, 16);
    struct state_dict *dict;
    struct error err = {0};
    char *path = folder_path(folder, GOLDEN_FILE);
    ck_assert_int_eq(safetensors_read(path, &dict, &err), STATUS_OK);
    ck_assert_str_eq(state_dict_find(dict, "inputs")->dtype, "torch.uint8");
    model->channel_scale[2][200] += 1; /* another scaling gives other logits */
    for (size_t b = 0; b < 256; b++)
        model->channel_scale[1][b] = -1;
    expect_refusal("was expected");
    state_dict_free(dict);
    free(path);
    tear_down();
}
END_TEST

#define HEADER(rows, in, begin, end)                                                         \
    "{\"logits\":{\"dtype\":\"F32\",\"shape\":[" rows ",2],\"data_offsets\":[0," begin "]}," \
    "\"inputs\":{\"dtype\":\"F32\",\"shape\":[" rows "," in "],\"data_offsets\":[" begin "," end "]}}"

START_TEST(golden_compare_names_the_largest_difference_and_where_it_is)
{
    float values[5 * (OUT + IN)] = {0}, logits[OUT];
    set_up(NULL);
    struct executor *executor;
    struct error err = {0};
    float probabilities[OUT];
    uint32_t class;
    const struct batch_part part = {
        .rows = values, .count = 1, .logits = logits, .probabilities = probabilities, .classes = &class};
    ck_assert_int_eq(backend->ops->executor_create(backend, &executor, &err), STATUS_OK);
    ck_assert_int_eq(backend->ops->run(executor, &part, 1, &err), STATUS_OK);
    backend->ops->executor_free(executor);
    for (size_t i = 0; i < 5 * OUT; i++)
        values[i] = logits[i % OUT] + 5e-5F;
    write_golden(HEADER("5", "6", "40", "160"), values, 5 * (OUT + IN));
    struct golden_report report = compare();
    ck_assert_uint_eq(report.rows, 5);
    ck_assert(report.difference > 1e-5 && report.difference <= GOLDEN_TOLERANCE);
    values[3] += 0.25F;
    values[9] += 2;
    write_golden(HEADER("5", "6", "40", "160"), values, 5 * (OUT + IN));
    expect_refusal("logit 1 of row 4 is ");
    tear_down();
}
END_TEST

START_TEST(golden_compare_refuses_files_that_are_not_of_the_model)
{
    static const float values[64];
    set_up(NULL);
    write_golden(HEADER("2", "5", "16", "56"), values, 14);
    expect_refusal("\"inputs\" has the shape (2, 5), expected (N, 6)");
    write_golden("{\"logits\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}", values, 2);
    expect_refusal("no tensor \"inputs\"");
    write_golden("{\"logits\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                 "\"inputs\":{\"dtype\":\"F32\",\"shape\":[2,6],\"data_offsets\":[8,56]}}",
                 values, 14);
    expect_refusal("2 inputs and the logits of 1");
    folder_write(folder, GOLDEN_FILE, "{}");
    expect_refusal("");
    tear_down();
}
END_TEST

START_TEST(golden_write_refuses_a_place_where_it_cannot_write)
{
    set_up(NULL);
    struct error err = {0};
    size_t rows = 99;
    char *path = folder_path(folder, "none/g");
    ck_assert_int_eq(golden_write(backend, path, &rows, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "none/g: it cannot be written"));
    ck_assert_uint_eq(rows, 99);
    free(path);
    tear_down();
}
END_TEST

UNIT_MAIN("engine/golden", golden_compare_says_that_there_is_no_file, golden_write_writes_what_golden_compare_takes,
          golden_write_writes_bytes_for_a_model_of_pictures_and_scales_them_by_channel,
          golden_compare_names_the_largest_difference_and_where_it_is,
          golden_compare_refuses_files_that_are_not_of_the_model,
          golden_write_refuses_a_place_where_it_cannot_write)
