#include "engine/safetensors_index.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/engine/folder.h"

/* A folder with two files: one.safetensors has "a" (1, 2) and "b" (3), two.safetensors has "c" (4, 5). */
static char *make_folder(const char *index)
{
    static const char one[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                              "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]}}";
    static const char two[] = "{\"c\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}";
    char *folder = folder_create();
    size_t len;
    char *bytes = safetensors_bytes(one, (float[]){1, 2, 3}, 12, &len);
    folder_write_bytes(folder, "one.safetensors", bytes, len);
    free(bytes);
    bytes = safetensors_bytes(two, (float[]){4, 5}, 8, &len);
    folder_write_bytes(folder, "two.safetensors", bytes, len);
    free(bytes);
    folder_write(folder, "index.json", index);
    return folder;
}

static enum status read_folder(const char *folder, struct state_dict **ret, struct error *err)
{
    char *path = folder_path(folder, "index.json");
    enum status status = safetensors_index_read(path, ret, err);
    free(path);
    return status;
}

static void refused(const char *index, enum status expected, const char *message)
{
    struct error err = {0};
    struct state_dict *dict = NULL;
    char *folder = make_folder(index);
    ck_assert_int_eq(read_folder(folder, &dict, &err), expected);
    ck_assert_ptr_null(dict);
    ck_assert_ptr_eq(strstr(err.message, folder), err.message);
    ck_assert_msg(strstr(err.message, message) != NULL, "\"%s\" has no \"%s\"", err.message, message);
    folder_remove(folder);
}

START_TEST(safetensors_index_gives_the_tensors_of_all_files)
{
    struct error err = {0};
    struct state_dict *dict = NULL;
    char *folder = make_folder("{\"metadata\":{\"total_size\":20},\"weight_map\":{\"c\":\"two.safetensors\","
                               "\"b\":\"one.safetensors\",\"a\":\"one.safetensors\"}}");
    ck_assert_msg(read_folder(folder, &dict, &err) == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(dict->count, 3);
    ck_assert_str_eq(dict->tensors[0].name, "c");
    ck_assert_float_eq(state_dict_find(dict, "a")->data[1], 2.0f);
    ck_assert_float_eq(state_dict_find(dict, "b")->data[0], 3.0f);
    ck_assert_float_eq(state_dict_find(dict, "c")->data[1], 5.0f);
    ck_assert_uint_eq(state_dict_find(dict, "c")->dims, 2);
    state_dict_free(dict);
    folder_remove(folder);
}
END_TEST

START_TEST(safetensors_index_takes_the_working_folder)
{
    struct error err = {0};
    struct state_dict *dict = NULL;
    char *folder = make_folder("{\"weight_map\":{\"c\":\"two.safetensors\"}}"), before[4096];
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_msg(safetensors_index_read("index.json", &dict, &err) == STATUS_OK, "%s", err.message);
    ck_assert_int_eq(chdir(before), 0);
    state_dict_free(dict);
    folder_remove(folder);
}
END_TEST

START_TEST(safetensors_index_refuses_files_outside_the_folder)
{
    static const char *const names[] = {
        "../one.safetensors", "/etc/passwd", "sub/one.safetensors", ".", "..", "", "a\\n"};
    char index[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        refused(index, STATUS_INVALID, "a file in the same folder was expected");
    }
}
END_TEST

START_TEST(safetensors_index_refuses_a_map_that_does_not_tell_what_is_there)
{
    refused("{\"weight_map\":{\"a\":\"one.safetensors\"}}", STATUS_INVALID,
            "tensor \"b\" is not where the weight_map says, but in one.safetensors");
    refused("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\",\"c\":\"two.safetensors\"}}",
            STATUS_INVALID, "tensor \"b\" is not where the weight_map says, but in one.safetensors");
    refused("{\"weight_map\":{\"c\":\"two.safetensors\",\"d\":\"two.safetensors\"}}", STATUS_INVALID,
            "tensor \"d\" is missing in two.safetensors");
    refused("{\"weight_map\":{\"c\":\"two.safetensors\",\"c\":\"two.safetensors\"}}", STATUS_INVALID,
            "its weight_map names a tensor twice");
    refused("{\"weight_map\":{\"c\":\"three.safetensors\"}}", STATUS_NOT_FOUND,
            "three.safetensors: it cannot be opened");
}
END_TEST

START_TEST(safetensors_index_refuses_other_json)
{
    refused("{}", STATUS_INVALID, "it has no weight_map");
    refused("{\"weight_map\":[]}", STATUS_INVALID, "it has no weight_map");
    refused("{\"weight_map\":{\"a\":1}}", STATUS_INVALID, "its weight_map must be an object of strings");
    refused("[1]", STATUS_INVALID, "line 1, column 1");
    refused("{\"weight_map\":{\"a\":", STATUS_INVALID, "this is not JSON from here on");
}
END_TEST

START_TEST(safetensors_index_bounds_the_number_of_files)
{
    char *index = NULL;
    size_t size;
    FILE *out = open_memstream(&index, &size);
    fputs("{\"weight_map\":{", out);
    for (int i = 0; i <= SAFETENSORS_SHARDS_MAX; i++)
        fprintf(out, "%s\"%d\":\"%d\"", i ? "," : "", i, i);
    fputs("}}", out);
    fclose(out);
    refused(index, STATUS_TOO_LARGE, "more than the 1024 files that are read");
    free(index);
}
END_TEST

UNIT_MAIN("engine/safetensors_index", safetensors_index_gives_the_tensors_of_all_files,
          safetensors_index_takes_the_working_folder, safetensors_index_refuses_files_outside_the_folder,
          safetensors_index_refuses_a_map_that_does_not_tell_what_is_there, safetensors_index_refuses_other_json,
          safetensors_index_bounds_the_number_of_files)
