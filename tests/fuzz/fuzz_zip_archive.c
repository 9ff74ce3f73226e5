/* Zip archives: the entries of an accepted one lie inside it, one behind the other, sorted by name and each found by it;
 * what is read is what lies there, unless the check sum says that it was changed. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crc32.h"
#include "engine/zip_archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_read(const struct zip_archive *archive, const struct zip_entry *entry, const uint8_t *data)
{
    struct error err = {0};
    char *content = malloc(entry->size + 1);
    enum status status = zip_archive_read(archive, entry, content, &err);
    int plain = entry->method == 0 && !entry->is_encrypted;
    int right = entry->crc == 0 || crc32_of(data + entry->offset, entry->size) == entry->crc;
    assert((status == STATUS_OK) == (plain && right));
    if (status == STATUS_OK)
        assert(memcmp(content, data + entry->offset, entry->size) == 0);
    else
        assert(err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
    free(content);
}

static void check_entry(const struct zip_archive *archive, size_t i, const uint8_t *data, size_t size)
{
    const struct zip_entry *entry = &archive->entries[i];
    assert(entry->begin < entry->offset && entry->offset <= size && entry->size <= size - entry->offset);
    assert(zip_archive_find(archive, entry->name) == entry);
    assert(i == 0 || strcmp(archive->entries[i - 1].name, entry->name) < 0);
    for (size_t j = 0; j < i && j < 64; j++) {
        const struct zip_entry *other = &archive->entries[j];
        assert(other->offset + other->size <= entry->begin || entry->offset + entry->size <= other->begin);
    }
    check_read(archive, entry, data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct byte_source source = byte_source_of_memory(data, size);
    struct zip_archive *archive = NULL;
    struct error err = {0};
    enum status status = zip_archive_open(&source, &archive, &err);
    if (status != STATUS_OK) {
        assert(!archive && err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < archive->count; i++)
        check_entry(archive, i, data, size);
    zip_archive_free(archive);
    return 0;
}
