#include "engine/model_path.h"

#include "tests/unit/fixture.h"

static void expect_name(const char *folder, const char *path, const char *name, const char *version)
{
    char *full = folder_path(folder, path), *got_name = NULL, *got_version = NULL;
    struct error err = {0};
    enum status status = model_path_name(full, &got_name, &got_version, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_str_eq(got_name, name);
    ck_assert_str_eq(got_version, version);
    free(full);
    free(got_name);
    free(got_version);
}

START_TEST(model_path_name_takes_a_file_without_its_suffix)
{
    char *folder = folder_create();
    static const struct {
        const char *file, *name;
    } cases[] = {{"net.pth", "net"},
                 {"net.v2.safetensors", "net.v2"},
                 {"big.safetensors.index.json", "big"},
                 {".pth", ".pth"},
                 {"bare", "bare"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        folder_write(folder, cases[i].file, "x");
        expect_name(folder, cases[i].file, cases[i].name, "1");
    }
    folder_remove(folder);
}
END_TEST

START_TEST(model_path_name_takes_a_folder_of_a_number_for_a_version)
{
    char *folder = folder_create();
    folder_make(folder, "fashion");
    folder_make(folder, "fashion/12");
    folder_make(folder, "fashion/v2");
    expect_name(folder, "fashion/12", "fashion", "12");
    expect_name(folder, "fashion/12/", "fashion", "12");
    expect_name(folder, "fashion/v2", "v2", "1");
    expect_name(folder, "fashion", "fashion", "1");
    expect_name(folder, "fashion/12/../12/.", "fashion", "12");
    folder_remove(folder);
    char *name, *version;
    struct error err = {0};
    ck_assert_int_eq(model_path_name("/", &name, &version, &err), STATUS_OK);
    ck_assert_str_eq(name, "model");
    free(name);
    free(version);
}
END_TEST

START_TEST(model_path_name_refuses_a_path_where_nothing_lies)
{
    char *folder = folder_create(), *path = folder_path(folder, "none.pth"), *name = NULL, *version = NULL;
    struct error err = {0};
    ck_assert_int_eq(model_path_name(path, &name, &version, &err), STATUS_NOT_FOUND);
    ck_assert_ptr_null(name);
    ck_assert_ptr_nonnull(strstr(err.message, "none.pth: there is no model"));
    ck_assert_ptr_nonnull(strstr(err.hint, "model.pth"));
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(model_set_labels_takes_one_for_each_output_in_place_of_the_models_own)
{
    struct error err = {0};
    struct model *model = fixture_load((const char *const[]){LINEAR(4, 3), NULL},
                                       "{\"labels\":[\"x\",\"y\",\"z\"]}");
    ck_assert_int_eq(model_set_labels(model, " cat,a dog , \xC3\xBC", &err), STATUS_OK);
    ck_assert_uint_eq(model->label_count, 3);
    ck_assert_str_eq(model->labels[0], "cat");
    ck_assert_str_eq(model->labels[1], "a dog");
    ck_assert_str_eq(model->labels[2], "\xC3\xBC");
    ck_assert_int_eq(model_set_labels(model, "a,b", &err), STATUS_INVALID);
    ck_assert_str_eq(err.message, "--labels has 2 labels, and the model gives 3");
    ck_assert_int_eq(model_set_labels(model, "a,b,c,d", &err), STATUS_INVALID);
    ck_assert_int_eq(model_set_labels(model, "a,b,c\n", &err), STATUS_INVALID);
    ck_assert_str_eq(model->labels[0], "cat");
    model_free(model);
}
END_TEST

START_TEST(model_set_labels_takes_two_for_a_binary_model)
{
    struct error err = {0};
    struct model *model = fixture_load((const char *const[]){LINEAR(4, 1), "Sigmoid()", NULL}, NULL);
    ck_assert_int_eq(model_set_labels(model, "ham,spam", &err), STATUS_OK);
    ck_assert_str_eq(model->labels[1], "spam");
    ck_assert_int_eq(model_set_labels(model, "spam", &err), STATUS_INVALID);
    ck_assert_str_eq(err.message, "--labels has 1 labels, and the model is binary and has 2");
    model_free(model);
}
END_TEST

UNIT_MAIN("engine/model_path", model_path_name_takes_a_file_without_its_suffix,
          model_path_name_takes_a_folder_of_a_number_for_a_version,
          model_path_name_refuses_a_path_where_nothing_lies,
          model_set_labels_takes_one_for_each_output_in_place_of_the_models_own,
          model_set_labels_takes_two_for_a_binary_model)
