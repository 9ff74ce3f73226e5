#include "server/read_file.h"

#include <pthread.h>
#include <unistd.h>

#include "tests/unit/engine/folder.h"

static const size_t LARGE = 300000;

/* LARGE bytes that tell each place from its neighbours. */
static char *large_create(void)
{
    char *data = malloc(LARGE);
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (char)(i ^ i >> 8 ^ i >> 16);
    return data;
}

static void assert_reads(const char *path, size_t bytes_max, const void *data, size_t len)
{
    struct buffer out = {0};
    struct error err = {0};
    enum status status = read_file(path, bytes_max, &out, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(out.len, len);
    if (len)
        ck_assert_mem_eq(out.data, data, len);
    ck_assert_int_eq(out.data[out.len], '\0');
    buffer_free(&out);
}

static void assert_refused(const char *path, size_t bytes_max, enum status expected)
{
    struct buffer out = {0};
    struct error err = {0};
    ck_assert_int_eq(read_file(path, bytes_max, &out, &err), expected);
    ck_assert_int_eq(err.status, expected);
    ck_assert_str_ne(err.message, "");
    buffer_free(&out);
}

START_TEST(read_file_reads_files_of_any_size)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 300000};
    char *folder = folder_create(), *data = large_create(), *path = folder_path(folder, "f");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        folder_write_bytes(folder, "f", data, sizes[i]);
        assert_reads(path, LARGE, data, sizes[i]);
        assert_reads(path, sizes[i], data, sizes[i]); /* exactly as many as allowed */
        if (sizes[i])
            assert_refused(path, sizes[i] - 1, STATUS_TOO_LARGE);
    }
    free(path);
    free(data);
    folder_remove(folder);
}
END_TEST

START_TEST(read_file_appends_behind_what_is_there)
{
    char *folder = folder_create(), *path = folder_path(folder, "f");
    struct buffer out = {0};
    folder_write(folder, "f", "behind");
    buffer_append_str(&out, "before ");
    ck_assert_int_eq(read_file(path, 100, &out, NULL), STATUS_OK);
    ck_assert_str_eq(out.data, "before behind");
    buffer_free(&out);
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(read_file_says_why_it_cannot_read)
{
    char *folder = folder_create(), *path = folder_path(folder, "absent");
    assert_refused(path, 100, STATUS_NOT_FOUND);
    assert_refused("", 100, STATUS_NOT_FOUND);
    assert_refused(folder, 100, STATUS_IO); /* a folder */
    free(path);
    folder_remove(folder);
}
END_TEST

START_TEST(read_file_says_how_many_bytes_are_allowed)
{
    char *folder = folder_create(), *path = folder_path(folder, "f");
    struct buffer out = {0};
    struct error err = {0};
    folder_write(folder, "f", "12345678");
    ck_assert_int_eq(read_file(path, 7, &out, &err), STATUS_TOO_LARGE);
    ck_assert_ptr_nonnull(strstr(err.message, "larger than 7 bytes"));
    ck_assert_str_ne(err.hint, "");
    buffer_free(&out);
    free(path);
    folder_remove(folder);
}
END_TEST

struct writer {
    int fd;
    const char *data;
};

/* In small pieces, as a pipe's writer may. */
static void *write_slowly(void *argument)
{
    const struct writer *writer = argument;
    for (size_t at = 0; at < LARGE;) {
        size_t piece = LARGE - at < 777 ? LARGE - at : 777;
        ssize_t written = write(writer->fd, writer->data + at, piece);
        ck_assert_int_gt(written, 0);
        at += (size_t)written;
    }
    close(writer->fd);
    return NULL;
}

START_TEST(read_file_reads_standard_input_though_it_is_a_pipe)
{
    int ends[2];
    pthread_t thread;
    char *data = large_create();
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    struct writer writer = {ends[1], data};
    ck_assert_int_eq(pthread_create(&thread, NULL, write_slowly, &writer), 0);
    assert_reads("-", LARGE, data, LARGE);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    free(data);
}
END_TEST

UNIT_MAIN("server/read_file", read_file_reads_files_of_any_size, read_file_appends_behind_what_is_there,
          read_file_says_why_it_cannot_read, read_file_says_how_many_bytes_are_allowed,
          read_file_reads_standard_input_though_it_is_a_pipe)
