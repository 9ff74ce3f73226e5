/* A file as torch.save writes it: one pickle, and the bytes of the storages to which it refers. Both of torch's formats are
 * read: the zip archive (since torch 1.6) and the row of pickles before it. TorchScript, torch.export and tar files are
 * refused with the Python that writes what is read here. Immutable once open; any thread may read one.
 *
 *     struct torch_archive *archive;
 *     if (torch_archive_open(&source, &archive, &err) == STATUS_OK) {
 *         const struct torch_storage *storage = torch_archive_find(archive, id.key);
 *         ... archive->pickle->root ...
 *         torch_archive_free(archive);
 *     }
 */
#ifndef MLPD_ENGINE_TORCH_ARCHIVE_H
#define MLPD_ENGINE_TORCH_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/byte_source.h"
#include "engine/pickle.h"
#include "engine/status.h"
#include "engine/zip_archive.h"

struct torch_storage {
    struct pickle_text key;        /* "0" */
    size_t offset, bytes;          /* in the source */
    size_t element_bytes;          /* in the old format, which counts in elements; else 0 */
    const struct zip_entry *entry; /* NULL in the old format */
};

struct torch_archive {
    struct byte_source source; /* of the whole file */
    struct zip_archive *zip;   /* NULL in the old format */
    void *pickle_bytes;        /* what the pickles' values point into */
    struct pickle *pickle;
    struct pickle *keys; /* of the storages, in the old format; else NULL */
    bool is_big_endian;  /* the storages' elements */
    struct torch_storage *storages;
    size_t storage_count; /* sorted by key */
};

/* Reads what `source` holds but for the storages' bytes; it must live as long as the archive. On success *ret is the
 * caller's, to be freed with torch_archive_free. */
enum status torch_archive_open(const struct byte_source *source, struct torch_archive **ret, struct error *err);

/* Sorts the storages by key, for torch_archive_find; the readers of the two formats call it. */
void torch_archive_sort(struct torch_archive *archive);

/* NULL if there is none of that key. After torch_archive_open. */
const struct torch_storage *torch_archive_find(const struct torch_archive *archive, struct pickle_text key);

/* Copies the storage's bytes to `dst`, which holds storage->bytes, and checks their CRC where the format has one. */
enum status torch_archive_read(const struct torch_archive *archive, const struct torch_storage *storage, void *dst,
                               struct error *err);

/* Takes NULL. */
void torch_archive_free(struct torch_archive *archive);

#endif
