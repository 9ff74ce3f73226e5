/* Reader of zip archives as torch.save writes them: stored entries, ZIP64 fields where they are needed, data descriptors,
 * and padding in the local headers that aligns the data. Compressed and encrypted entries may stand in the archive, and are
 * refused by name when they are read. Refused at once is whatever could be understood in two ways: entries that overlap, names that stand twice, sizes that differ between the
 * directory and an entry's own header. Every offset and length is checked before it is used. Immutable once open; any
 * thread may read one.
 *
 *     struct byte_source source = byte_source_of_file(&file);
 *     struct zip_archive *archive;
 *     if (zip_archive_open(&source, &archive, &err) == STATUS_OK) {
 *         const struct zip_entry *entry = zip_archive_find(archive, "model/data.pkl");
 *         if (entry)
 *             status = zip_archive_read(archive, entry, malloc(entry->size), &err);
 *         zip_archive_free(archive);
 *     }
 */
#ifndef MLPD_ENGINE_ZIP_ARCHIVE_H
#define MLPD_ENGINE_ZIP_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/byte_source.h"
#include "engine/status.h"

enum { ZIP_ENTRIES_MAX = 1 << 20, ZIP_NAME_BYTES_MAX = 1024 };

struct zip_entry {
    const char *name; /* printable UTF-8, ends in a NUL */
    size_t offset;    /* of its data, in the source */
    size_t size;      /* bytes of data, all of them inside the source; packed, if they are */
    size_t begin;     /* of its local header */
    uint32_t crc;     /* of the data; 0 where the writer made none (torch can be told so) */
    uint16_t method;  /* 0: stored as it is; 8: deflated; others are rare */
    bool is_encrypted;
};

struct zip_archive {
    struct byte_source source;
    struct zip_entry *entries; /* sorted by name */
    size_t count;
    char *names; /* what the entries' names point into */
};

/* Reads the directory at the end of `source`, which must live as long as the archive. On success *ret is the caller's, to
 * be freed with zip_archive_free. */
enum status zip_archive_open(const struct byte_source *source, struct zip_archive **ret, struct error *err);

/* NULL if there is none of that name. */
const struct zip_entry *zip_archive_find(const struct zip_archive *archive, const char *name);

/* Copies the entry's data to `dst`, which holds entry->size bytes, and checks its CRC. Refused if the entry is compressed or
 * encrypted. */
enum status zip_archive_read(const struct zip_archive *archive, const struct zip_entry *entry, void *dst,
                             struct error *err);

/* Takes NULL. */
void zip_archive_free(struct zip_archive *archive);

#endif
