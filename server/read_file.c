#include "server/read_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PIECE_BYTES = 64 * 1024 };

static enum status read_stream(FILE *stream, size_t bytes_max, struct buffer *out, struct error *err)
{
    size_t got;
    do {
        if (!buffer_reserve(out, PIECE_BYTES))
            return error_set(err, STATUS_NO_MEMORY, "there is no memory for the file");
        got = fread(out->data + out->len, 1, PIECE_BYTES, stream);
        out->len += got;
        out->data[out->len] = '\0';
    } while (got && out->len <= bytes_max);
    if (ferror(stream))
        return error_set(err, STATUS_IO, "cannot be read: %s", strerror(errno));
    if (out->len <= bytes_max)
        return STATUS_OK;
    error_set(err, STATUS_TOO_LARGE, "the file is larger than %zu bytes", bytes_max);
    return error_hint(err, "split it, or raise --body-max");
}

enum status read_file(const char *path, size_t bytes_max, struct buffer *out, struct error *err)
{
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, bytes_max, out, err);
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        error_set(err, STATUS_NOT_FOUND, "cannot be opened: %s", strerror(errno));
        return error_hint(err, "check the path");
    }
    enum status status = read_stream(stream, bytes_max, out, err);
    fclose(stream);
    return status;
}
