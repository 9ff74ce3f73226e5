#include "engine/file.h"

#include <unistd.h>

#include "tests/unit/engine/folder.h"

static enum status read_name(const char *folder, const char *name, size_t bytes_max, char **ret_data,
                             size_t *ret_len, struct error *err)
{
    char *path = folder_path(folder, name);
    enum status status = file_read(path, bytes_max, ret_data, ret_len, err);
    free(path);
    return status;
}

START_TEST(file_read_gives_all_bytes_and_a_nul_behind_them)
{
    struct error err;
    char *folder = folder_create(), *data;
    size_t len;
    folder_write_bytes(folder, "f", "a\0b", 3);
    ck_assert_int_eq(read_name(folder, "f", 3, &data, &len, &err), STATUS_OK);
    ck_assert_uint_eq(len, 3);
    ck_assert_mem_eq(data, "a\0b", 4);
    free(data);
    folder_remove(folder);
}
END_TEST

START_TEST(file_read_takes_an_empty_file)
{
    struct error err;
    char *folder = folder_create(), *data;
    size_t len;
    folder_write(folder, "f", "");
    ck_assert_int_eq(read_name(folder, "f", 0, &data, &len, &err), STATUS_OK);
    ck_assert_uint_eq(len, 0);
    ck_assert_str_eq(data, "");
    free(data);
    folder_remove(folder);
}
END_TEST

START_TEST(file_read_refuses_more_bytes_than_allowed_and_says_both_numbers)
{
    struct error err;
    char *folder = folder_create(), *data = NULL;
    size_t len;
    folder_write(folder, "f", "1234");
    ck_assert_int_eq(read_name(folder, "f", 3, &data, &len, &err), STATUS_TOO_LARGE);
    ck_assert_ptr_null(data);
    ck_assert_ptr_nonnull(strstr(err.message, "/f: it has 4 bytes, at most 3 are read"));
    folder_remove(folder);
}
END_TEST

START_TEST(file_read_refuses_what_is_no_regular_file_without_waiting_for_it)
{
    struct error err;
    char *folder = folder_create(), *fifo = folder_path(folder, "fifo"), *data;
    size_t len;
    ck_assert_int_eq(mkfifo(fifo, 0666), 0);
    folder_make(folder, "inner");
    ck_assert_int_eq(file_read(fifo, 10, &data, &len, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "this is a FIFO, a regular file was expected"));
    ck_assert_int_eq(read_name(folder, "inner", 10, &data, &len, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "this is a folder"));
    ck_assert_int_eq(file_read("/dev/zero", 10, &data, &len, &err), STATUS_INVALID);
    ck_assert_str_eq(err.message, "/dev/zero: this is a device, a regular file was expected");
    free(fifo);
    folder_remove(folder);
}
END_TEST

START_TEST(file_read_names_a_file_that_is_not_there)
{
    struct error err;
    char *data;
    size_t len;
    ck_assert_int_eq(file_read("/nowhere/f", 10, &data, &len, &err), STATUS_NOT_FOUND);
    ck_assert_str_eq(err.message, "/nowhere/f: it cannot be opened: No such file or directory");
}
END_TEST

START_TEST(file_read_exactly_refuses_a_file_that_became_shorter)
{
    struct error err;
    struct file file;
    char *folder = folder_create(), *path = folder_path(folder, "f"), data[8];
    folder_write(folder, "f", "12345678");
    ck_assert_int_eq(file_open(path, 100, &file, &err), STATUS_OK);
    ck_assert_uint_eq(file.size, 8);
    ck_assert_int_eq(truncate(path, 5), 0);
    ck_assert_int_eq(file_read_exactly(&file, data, file.size, &err), STATUS_IO);
    ck_assert_str_eq(err.message, "it became shorter while it was read: 3 bytes are missing");
    ck_assert_str_ne(err.hint, "");
    file_close(&file);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(file_read_at_reads_by_offset_and_refuses_a_file_that_became_shorter)
{
    struct error err;
    struct file file;
    char *folder = folder_create(), *path = folder_path(folder, "data"), bytes[4] = "";
    folder_write(folder, "data", "0123456789");
    ck_assert_int_eq(file_open(path, 10, &file, &err), STATUS_OK);
    ck_assert_int_eq(file_read_at(&file, 6, bytes, 4, &err), STATUS_OK);
    ck_assert_mem_eq(bytes, "6789", 4);
    ck_assert_int_eq(file_read_at(&file, 0, bytes, 2, &err), STATUS_OK);
    ck_assert_mem_eq(bytes, "0189", 4);
    ck_assert_int_eq(truncate(path, 8), 0);
    ck_assert_int_eq(file_read_at(&file, 6, bytes, 4, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "became shorter while it was read: 2 bytes are missing"));
    file_close(&file);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(file_error_puts_the_path_before_the_message_and_keeps_the_hint)
{
    struct error err;
    char path[400];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    error_set(&err, STATUS_INVALID, "broken");
    error_hint(&err, "mend it");
    ck_assert_int_eq(file_error("dir/f", STATUS_INVALID, &err), STATUS_INVALID);
    ck_assert_str_eq(err.message, "dir/f: broken");
    ck_assert_str_eq(err.hint, "mend it");
    file_error(path, STATUS_INVALID, &err);
    ck_assert_ptr_nonnull(strstr(err.message, "ppp: dir/f: broken"));
    ck_assert_int_eq(strncmp(err.message, "...p", 4), 0);
    ck_assert_int_eq(file_error("f", STATUS_IO, NULL), STATUS_IO);
}
END_TEST

START_TEST(file_is_there_tells_what_is_absent_from_what_cannot_be_told)
{
    char *folder = folder_create(), *path = folder_path(folder, "loop");
    struct error err;
    bool there;
    ck_assert_int_eq(file_is_there(folder, &there, &err), STATUS_OK);
    ck_assert(there);
    ck_assert_int_eq(file_is_there(path, &there, &err), STATUS_OK);
    ck_assert(!there);
    ck_assert_int_eq(symlink("loop", path), 0);
    ck_assert_int_eq(file_is_there(path, &there, &err), STATUS_IO);
    ck_assert_ptr_nonnull(strstr(err.message, "/loop: it cannot be examined: "));
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(file_join_puts_one_slash_between_folder_and_name)
{
    static const struct {
        const char *folder, *expected;
    } cases[] = {{"models", "models/net"}, {"models/", "models/net"}, {"/", "/net"}, {"", "/net"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = file_join(cases[i].folder, "net");
        ck_assert_str_eq(path, cases[i].expected);
        free(path);
    }
}
END_TEST

UNIT_MAIN("engine/file", file_join_puts_one_slash_between_folder_and_name,
          file_read_gives_all_bytes_and_a_nul_behind_them, file_read_takes_an_empty_file,
          file_read_at_reads_by_offset_and_refuses_a_file_that_became_shorter,
          file_read_refuses_more_bytes_than_allowed_and_says_both_numbers,
          file_read_refuses_what_is_no_regular_file_without_waiting_for_it,
          file_read_names_a_file_that_is_not_there, file_read_exactly_refuses_a_file_that_became_shorter,
          file_is_there_tells_what_is_absent_from_what_cannot_be_told,
          file_error_puts_the_path_before_the_message_and_keeps_the_hint)
