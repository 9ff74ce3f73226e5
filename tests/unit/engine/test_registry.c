#include "engine/registry.h"

#include <unistd.h>

#include "tests/unit/engine/folder.h"

static void check_found(const char *folder, const char *name, const char *version)
{
    struct error err;
    char *ret_path, *ret_name, *ret_version, *expected;
    enum status status = registry_find_model(folder, NULL, &ret_path, &ret_name, &ret_version, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_str_eq(ret_name, name);
    ck_assert_str_eq(ret_version, version);
    ck_assert_int_gt(asprintf(&expected, "%s/%s/%s", folder, name, version), 0);
    ck_assert_str_eq(ret_path, expected);
    free(expected);
    free(ret_path);
    free(ret_name);
    free(ret_version);
}

static void check_refused(const char *folder, enum status status, const char *message, const char *hint)
{
    struct error err;
    char *path = NULL, *name = NULL, *version = NULL;
    ck_assert_int_eq(registry_find_model(folder, NULL, &path, &name, &version, &err), status);
    ck_assert_ptr_null(path);
    ck_assert_ptr_null(name);
    ck_assert_ptr_null(version);
    ck_assert_ptr_eq(strstr(err.message, folder), err.message);
    ck_assert_msg(strstr(err.message, message) != NULL, "\"%s\" has no \"%s\"", err.message, message);
    ck_assert_msg(strstr(err.hint, hint) != NULL, "\"%s\" has no \"%s\"", err.hint, hint);
}

START_TEST(registry_finds_the_newest_version_by_its_number)
{
    char *folder = folder_create();
    folder_make(folder, "net");
    folder_make(folder, "net/1");
    check_found(folder, "net", "1");
    folder_make(folder, "net/9");
    folder_make(folder, "net/10");
    check_found(folder, "net", "10");
    folder_make(folder, "net/99999999999999999999998");
    folder_make(folder, "net/99999999999999999999999");
    check_found(folder, "net", "99999999999999999999999");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_passes_over_what_is_no_version)
{
    char *folder = folder_create();
    folder_make(folder, "net");
    folder_make(folder, "net/2");
    folder_make(folder, "net/03");
    folder_make(folder, "net/4a");
    folder_make(folder, "net/-5");
    folder_make(folder, "net/6.0");
    folder_make(folder, "net/.7");
    folder_make(folder, "net/latest");
    folder_write(folder, "net/8", "a file");
    check_found(folder, "net", "2");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_passes_over_files_and_hidden_folders_beside_the_model)
{
    char *folder = folder_create();
    folder_make(folder, ".git");
    folder_write(folder, "README.md", "models");
    folder_make(folder, "net");
    folder_make(folder, "net/0");
    check_found(folder, "net", "0");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_follows_links_to_folders)
{
    char *folder = folder_create(), *real = folder_create(), *link = folder_path(folder, "net");
    folder_make(real, "3");
    ck_assert_int_eq(symlink(real, link), 0);
    check_found(folder, "net", "3");
    free(link);
    folder_remove(folder);
    folder_remove(real);
}
END_TEST

START_TEST(registry_refuses_a_folder_that_is_not_there)
{
    check_refused("/nowhere/models", STATUS_NOT_FOUND, "No such file or directory", "--models DIR");
    char *folder = folder_create(), *file = folder_path(folder, "f");
    folder_write(folder, "f", "");
    check_refused(file, STATUS_NOT_FOUND, "Not a directory", "--models DIR");
    free(file);
    folder_remove(folder);
}
END_TEST

START_TEST(registry_refuses_a_folder_without_a_model_and_knows_when_it_is_one_itself)
{
    char *folder = folder_create();
    check_refused(folder, STATUS_NOT_FOUND, "there is no model in this folder", "<name>/<version>/");
    folder_write(folder, "model.safetensors", "");
    check_refused(folder, STATUS_NOT_FOUND, "there is no model in this folder", "two levels above");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_refuses_a_model_without_a_version)
{
    char *folder = folder_create();
    folder_make(folder, "net");
    check_refused(folder, STATUS_NOT_FOUND, "/net: this model has no version", "1/");
    folder_make(folder, "net/v1");
    check_refused(folder, STATUS_NOT_FOUND, "/net: this model has no version", "without leading zeros");
    folder_write(folder, "net/model.safetensors", "");
    check_refused(folder, STATUS_NOT_FOUND, "/net: this model has no version", "move its files into a folder 1/");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_refuses_several_models_and_lists_them)
{
    char *folder = folder_create(), name[16];
    folder_make(folder, "b");
    folder_make(folder, "a");
    check_refused(folder, STATUS_UNSUPPORTED, "there are 2 models (a, b)", "--default-model NAME");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%02d", i);
        folder_make(folder, name);
    }
    check_refused(folder, STATUS_UNSUPPORTED, "there are 22 models (a, b, n00, n01, n02, n03, n04, n05, ...)",
                  "--default-model");
    folder_remove(folder);
}
END_TEST

START_TEST(registry_finds_the_model_that_is_named)
{
    char *folder = folder_create(), *path, *name, *version;
    struct error err;
    folder_make(folder, "a");
    folder_make(folder, "a/3");
    folder_make(folder, "b");
    ck_assert_int_eq(registry_find_model(folder, "a", &path, &name, &version, &err), STATUS_OK);
    ck_assert_str_eq(name, "a");
    ck_assert_str_eq(version, "3");
    free(path);
    free(name);
    free(version);
    ck_assert_int_eq(registry_find_model(folder, "c", &path, &name, &version, &err), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "there is no model c, but a, b"));
    folder_remove(folder);
}
END_TEST

START_TEST(registry_lists_models_by_name_and_versions_newest_first)
{
    char *folder = folder_create();
    struct registry_names names = {0};
    ck_assert_int_eq(registry_list_models(folder, &names, NULL), STATUS_OK);
    ck_assert_uint_eq(names.count, 0);
    folder_make(folder, "10");
    folder_make(folder, "9");
    folder_make(folder, "100");
    ck_assert_int_eq(registry_list_models(folder, &names, NULL), STATUS_OK);
    ck_assert_uint_eq(names.count, 3);
    ck_assert_str_eq(names.items[1], "100");
    registry_names_free(&names);
    ck_assert_int_eq(registry_list_versions(folder, &names, NULL), STATUS_OK);
    ck_assert_str_eq(names.items[0], "100");
    ck_assert_str_eq(names.items[2], "9");
    registry_names_free(&names);
    folder_remove(folder);
}
END_TEST

UNIT_MAIN("engine/registry", registry_finds_the_newest_version_by_its_number,
          registry_passes_over_what_is_no_version, registry_passes_over_files_and_hidden_folders_beside_the_model,
          registry_follows_links_to_folders, registry_refuses_a_folder_that_is_not_there,
          registry_refuses_a_folder_without_a_model_and_knows_when_it_is_one_itself,
          registry_refuses_a_model_without_a_version, registry_refuses_several_models_and_lists_them,
          registry_finds_the_model_that_is_named, registry_lists_models_by_name_and_versions_newest_first)
