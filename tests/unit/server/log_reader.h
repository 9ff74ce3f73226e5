/* What the tests of logs share: files read whole, waits for what another thread writes, standard error caught.
 * The waits have no time limit of their own; the test program's is theirs.
 */
#ifndef MLPD_TESTS_UNIT_SERVER_LOG_READER_H
#define MLPD_TESTS_UNIT_SERVER_LOG_READER_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/engine/folder.h"

static inline void log_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* All of a regular file, which the caller frees; "" if it is not there. */
static inline char *log_text(const char *path)
{
    char *text = calloc(1, 1);
    size_t len = 0, got;
    FILE *file = fopen(path, "rb");
    do {
        text = realloc(text, len + 4097);
        ck_assert_ptr_nonnull(text);
        got = file ? fread(text + len, 1, 4096, file) : 0;
        len += got;
        text[len] = '\0';
    } while (got);
    if (file)
        fclose(file);
    return text;
}

static inline void log_wait_for_size(const char *path, off_t size)
{
    struct stat st;
    while (stat(path, &st) != 0 || st.st_size < size)
        log_pause();
    ck_assert_int_eq(st.st_size, size);
}

static inline void log_wait_for_text(const char *path, const char *wanted)
{
    for (bool found = false; !found; log_pause()) {
        char *text = log_text(path);
        found = strstr(text, wanted) != NULL;
        free(text);
    }
}

static inline void log_assert_text(const char *path, const char *expected)
{
    char *text = log_text(path);
    ck_assert_str_eq(text, expected);
    free(text);
}

static inline size_t log_count_lines(const char *text)
{
    size_t lines = 0;
    for (; (text = strchr(text, '\n')); text++)
        lines++;
    return lines;
}

/* Standard error, from here to the end of the test, is the file; the test runs in a process of its own. */
static inline void log_catch_stream(int stream, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(dup2(fd, stream), stream);
    close(fd);
}

/* A FIFO with a reader, so that a writer can open it; `fd` reads without waiting. */
static inline int log_make_fifo(const char *path)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Reads what has come so far, waiting for at least one byte, and appends it to the text, a string. */
static inline void log_read_more(int fd, char *text, size_t size)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    size_t len = strlen(text);
    ck_assert_uint_lt(len, size - 1);
    ck_assert_int_eq(poll(&poll_fd, 1, -1), 1);
    ssize_t got = read(fd, text + len, size - 1 - len);
    ck_assert_int_ge(got, 0);
    text[len + (size_t)got] = '\0';
}

static inline size_t log_count_descriptors(void)
{
    size_t count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

#endif
