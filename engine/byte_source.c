#include "engine/byte_source.h"

#include <assert.h>
#include <string.h>

struct byte_source byte_source_of_file(const struct file *file)
{
    return (struct byte_source){.file = file, .size = file->size};
}

struct byte_source byte_source_of_memory(const void *data, size_t len)
{
    return (struct byte_source){.bytes = data, .size = len};
}

enum status byte_source_read(const struct byte_source *source, size_t offset, void *dst, size_t len,
                             struct error *err)
{
    assert(offset <= source->size && len <= source->size - offset);
    if (source->file)
        return file_read_at(source->file, offset, dst, len, err);
    if (len > 0)
        memcpy(dst, source->bytes + offset, len);
    return STATUS_OK;
}
