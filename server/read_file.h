/* Files as bodies: what `mlpd predict` is given. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_READ_FILE_H
#define MLPD_SERVER_READ_FILE_H

#include "engine/status.h"
#include "server/buffer.h"

/* Appends all of the file, or of standard input for "-", to *out: pipes too, and at most bytes_max bytes. */
enum status read_file(const char *path, size_t bytes_max, struct buffer *out, struct error *err);

#endif
