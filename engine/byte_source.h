/* Bytes that are read by their offset, from an open file or from memory, so that one reader of a format serves both: the
 * daemon reads files, the tests and fuzz targets memory. Stateless; any thread may read one.
 *
 *     struct byte_source source = byte_source_of_file(&file);             // or byte_source_of_memory(data, len)
 *     if (len <= source.size && offset <= source.size - len)
 *         status = byte_source_read(&source, offset, dst, len, &err);
 */
#ifndef MLPD_ENGINE_BYTE_SOURCE_H
#define MLPD_ENGINE_BYTE_SOURCE_H

#include <stddef.h>

#include "engine/file.h"
#include "engine/status.h"

struct byte_source {
    const struct file *file;    /* borrowed; NULL for memory */
    const unsigned char *bytes; /* borrowed; NULL for a file */
    size_t size;
};

struct byte_source byte_source_of_file(const struct file *file);
struct byte_source byte_source_of_memory(const void *data, size_t len);

/* Copies `len` bytes from byte `offset` on; they must lie inside the source. Fails only if the file does. */
enum status byte_source_read(const struct byte_source *source, size_t offset, void *dst, size_t len,
                             struct error *err);

#endif
