/* Files that are read whole: regular files only (a FIFO or a device would block or never end), of a bounded size,
 * each failure with the path and the mend. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_FILE_H
#define MLPD_ENGINE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"

struct file {
    int fd;
    size_t size; /* bytes, as it was opened */
};

/* Opens a regular file of at most `bytes_max` bytes for reading; to be closed with file_close. */
enum status file_open(const char *path, size_t bytes_max, struct file *ret, struct error *err);

/* Reads the next `len` bytes. A file that ends before is an error: it was cut since it was opened. The message does not
 * say the path; file_error puts it there. */
enum status file_read_exactly(const struct file *file, void *dst, size_t len, struct error *err);

/* Reads `len` bytes from byte `offset` on, wherever the last reading ended; else as file_read_exactly. */
enum status file_read_at(const struct file *file, size_t offset, void *dst, size_t len, struct error *err);

void file_close(struct file *file);

/* Reads the whole file. On success *ret_data holds *ret_len bytes and a NUL behind them; the caller frees it. */
enum status file_read(const char *path, size_t bytes_max, char **ret_data, size_t *ret_len, struct error *err);

/* Whether anything has that path, a link's target for the link. Refused where the system does not tell. */
enum status file_is_there(const char *path, bool *ret_there, struct error *err);

/* "folder/name", a slash at the folder's end not doubled; the caller frees it. NULL if out of memory. */
char *file_join(const char *folder, const char *name);

/* Puts the path in front of the message in `err` (its end only, if it is long) and keeps status and hint. Returns
 * `status`, so that a reader of bytes becomes a reader of files in one line. `err` may be NULL. */
enum status file_error(const char *path, enum status status, struct error *err);

#endif
