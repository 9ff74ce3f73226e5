#include "engine/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SHOWN_MAX = 160 };

char *file_join(const char *folder, const char *name)
{
    char *path;
    size_t len = strlen(folder);
    const char *slash = len > 0 && folder[len - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

enum status file_error(const char *path, enum status status, struct error *err)
{
    size_t len = strlen(path), skip = len > PATH_SHOWN_MAX ? len - PATH_SHOWN_MAX : 0;
    while (skip > 0 && ((unsigned char)path[skip] & 0xC0) == 0x80)
        skip++;
    error_prefix(err, "%s%s: ", skip ? "..." : "", path + skip);
    return status;
}

static enum status refuse_errno(const char *what, int code, struct error *err)
{
    enum status status = code == ENOENT || code == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO;
    error_set(err, status, "%s: %s", what, strerror(code));
    if (code == EACCES)
        error_hint(err, "let the user that mlpd runs as (uid %ld) read the file and enter its folders",
                   (long)geteuid());
    return status;
}

/* What stands there instead of a regular file, in words. */
static const char *kind_text(mode_t mode)
{
    return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static enum status check_kind_and_size(struct file *file, size_t bytes_max, struct error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) < 0)
        return refuse_errno("it cannot be examined", errno, err);
    if (!S_ISREG(info.st_mode)) {
        error_set(err, STATUS_INVALID, "this is %s, a regular file was expected", kind_text(info.st_mode));
        return error_hint(err, "name a file itself, or a link to one");
    }
    if (info.st_size < 0 || (uintmax_t)info.st_size > bytes_max) {
        error_set(err, STATUS_TOO_LARGE, "it has %jd bytes, at most %zu are read", (intmax_t)info.st_size,
                  bytes_max);
        return error_hint(err, "check that it is the file that was meant");
    }
    file->size = (size_t)info.st_size;
    return STATUS_OK;
}

enum status file_is_there(const char *path, bool *ret_there, struct error *err)
{
    bool there = access(path, F_OK) == 0;
    if (!there && errno != ENOENT && errno != ENOTDIR)
        return file_error(path, refuse_errno("it cannot be examined", errno, err), err);
    *ret_there = there;
    return STATUS_OK;
}

enum status file_open(const char *path, size_t bytes_max, struct file *ret, struct error *err)
{
    struct file file = {.size = 0};
    /* Without O_NONBLOCK the opening of a FIFO would wait for a writer. */
    do
        file.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    while (file.fd < 0 && errno == EINTR);
    if (file.fd < 0)
        return file_error(path, refuse_errno("it cannot be opened", errno, err), err);
    enum status status = check_kind_and_size(&file, bytes_max, err);
    if (status != STATUS_OK) {
        file_close(&file);
        return file_error(path, status, err);
    }
    *ret = file;
    return STATUS_OK;
}

void file_close(struct file *file)
{
    close(file->fd);
    file->fd = -1;
}

static enum status refuse_shorter(size_t missing, struct error *err)
{
    error_set(err, STATUS_IO, "it became shorter while it was read: %zu bytes are missing", missing);
    return error_hint(err, "write a new file beside it and rename it, so that nobody sees half of it");
}

enum status file_read_exactly(const struct file *file, void *dst, size_t len, struct error *err)
{
    char *at = dst;
    for (size_t left = len; left > 0;) {
        ssize_t n = read(file->fd, at, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse_errno("it cannot be read", errno, err);
        if (n == 0)
            return refuse_shorter(left, err);
        at += n;
        left -= (size_t)n;
    }
    return STATUS_OK;
}

enum status file_read_at(const struct file *file, size_t offset, void *dst, size_t len, struct error *err)
{
    char *at = dst;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(file->fd, at + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse_errno("it cannot be read", errno, err);
        if (n == 0)
            return refuse_shorter(len - done, err);
        done += (size_t)n;
    }
    return STATUS_OK;
}

static enum status read_open_file(const struct file *file, char **ret_data, struct error *err)
{
    char *data = malloc(file->size + 1);
    if (!data)
        return error_set(err, STATUS_NO_MEMORY, "no memory for its %zu bytes", file->size);
    enum status status = file_read_exactly(file, data, file->size, err);
    if (status != STATUS_OK) {
        free(data);
        return status;
    }
    data[file->size] = '\0';
    *ret_data = data;
    return STATUS_OK;
}

enum status file_read(const char *path, size_t bytes_max, char **ret_data, size_t *ret_len, struct error *err)
{
    struct file file = {.size = 0};
    enum status status = file_open(path, bytes_max, &file, err);
    if (status != STATUS_OK)
        return status;
    status = read_open_file(&file, ret_data, err);
    file_close(&file);
    if (status != STATUS_OK)
        return file_error(path, status, err);
    *ret_len = file.size;
    return STATUS_OK;
}
