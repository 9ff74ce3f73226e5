#include "engine/torch_archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/torch_globals.h"
#include "engine/torch_legacy.h"

enum { RECORD_BYTES_MAX = 64, MAGIC_BYTES = 4, VERSION_MAX = 10 /* of the archive, as torch itself has it */ };

static const char TRACED_HINT[] =
    "in Python: model = torch.jit.load(\"model.pt\"); torch.save(model.state_dict(), \"model.pth\"), with what "
    "print(model) said before the export in structure.txt; or torch.onnx.export(model, (x,), \"model.onnx\")";
static const char EXPORTED_HINT[] =
    "in Python: program = torch.export.load(\"model.pt2\"); torch.save(program.state_dict, \"model.pth\"), with "
    "what "
    "print(model) said before the export in structure.txt; or torch.onnx.export(program, (), \"model.onnx\")";
static const char SAVE_HINT[] = "save the parameters in Python: torch.save(model.state_dict(), \"model.pth\")";

static enum status refuse_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the file's records");
}

/* ---- Storages ---- */

static int compare_texts(struct pickle_text a, struct pickle_text b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.at, b.at, len) : 0;
    return order ? order : a.len < b.len ? -1 : a.len > b.len;
}

static int compare_storages(const void *a, const void *b)
{
    const struct torch_storage *x = a, *y = b;
    return compare_texts(x->key, y->key);
}

const struct torch_storage *torch_archive_find(const struct torch_archive *archive, struct pickle_text key)
{
    struct torch_storage wanted = {.key = key};
    if (archive->storage_count == 0)
        return NULL;
    return bsearch(&wanted, archive->storages, archive->storage_count, sizeof wanted, compare_storages);
}

enum status torch_archive_read(const struct torch_archive *archive, const struct torch_storage *storage, void *dst,
                               struct error *err)
{
    if (storage->entry)
        return zip_archive_read(archive->zip, storage->entry, dst, err);
    return byte_source_read(&archive->source, storage->offset, dst, storage->bytes, err);
}

/* ---- The zip archive: PREFIX/data.pkl, PREFIX/byteorder, PREFIX/data/KEY; all names begin with one folder ---- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name), suffix_len = strlen(suffix);
    return len >= suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* What stands behind the first folder of an entry's name; the name itself if it has none. */
static const char *inner_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? slash + 1 : name;
}

static enum status refuse_exports(const struct zip_archive *zip, struct error *err)
{
    for (size_t i = 0; i < zip->count; i++) {
        const char *name = inner_name(zip->entries[i].name);
        if (strcmp(name, "constants.pkl") == 0 || strncmp(name, "code/", 5) == 0) {
            error_set(err, STATUS_UNSUPPORTED, "this is TorchScript (it has %s), a program that is not read here",
                      strncmp(name, "code/", 5) == 0 ? "code/" : "constants.pkl");
            return error_hint(err, "%s", TRACED_HINT);
        }
        if (strcmp(name, "archive_format") == 0 || strncmp(name, "models/", 7) == 0 ||
            has_suffix(name, "serialized_exported_program.json")) {
            error_set(err, STATUS_UNSUPPORTED, "this is a program of torch.export (.pt2), which is not read here");
            return error_hint(err, "%s", EXPORTED_HINT);
        }
    }
    return STATUS_OK;
}

/* The entry of the pickle, PREFIX/data.pkl; there is one. */
static enum status find_pickle(const struct zip_archive *zip, const struct zip_entry **ret, struct error *err)
{
    const struct zip_entry *found = NULL;
    for (size_t i = 0; i < zip->count; i++) {
        if (strcmp(inner_name(zip->entries[i].name), "data.pkl") != 0)
            continue;
        if (found) {
            error_set(err, STATUS_INVALID, "it holds two pickles, \"%.80s\" and \"%.80s\"", found->name,
                      zip->entries[i].name);
            return error_hint(err, "%s", SAVE_HINT);
        }
        found = &zip->entries[i];
    }
    if (!found) {
        error_set(err, STATUS_UNSUPPORTED, "this zip archive has no data.pkl: torch.save did not write it");
        return error_hint(err, "%s", SAVE_HINT);
    }
    *ret = found;
    return STATUS_OK;
}

/* Reads a small text, such as "little". */
static enum status read_record(const struct zip_archive *zip, const struct zip_entry *entry,
                               char ret[RECORD_BYTES_MAX + 1], struct error *err)
{
    if (entry->size > RECORD_BYTES_MAX) {
        error_set(err, STATUS_INVALID, "its record \"%.80s\" has %zu bytes, at most %d were expected", entry->name,
                  entry->size, RECORD_BYTES_MAX);
        return error_hint(err, "%s", SAVE_HINT);
    }
    memset(ret, 0, RECORD_BYTES_MAX + 1);
    return zip_archive_read(zip, entry, ret, err);
}

static enum status read_byte_order(struct torch_archive *archive, const char *name, struct error *err)
{
    char order[RECORD_BYTES_MAX + 1];
    const struct zip_entry *entry = zip_archive_find(archive->zip, name);
    if (!entry)
        return STATUS_OK; /* torch before 2.1 wrote none, on little-endian machines */
    enum status status = read_record(archive->zip, entry, order, err);
    if (status != STATUS_OK)
        return status;
    archive->is_big_endian = strcmp(order, "big") == 0;
    if (archive->is_big_endian || strcmp(order, "little") == 0)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "its record byteorder says neither little nor big");
    return error_hint(err, "%s", SAVE_HINT);
}

static enum status check_version(const struct torch_archive *archive, const char *name, struct error *err)
{
    char text[RECORD_BYTES_MAX + 1], *end = text;
    const struct zip_entry *entry = zip_archive_find(archive->zip, name);
    if (!entry)
        return STATUS_OK;
    enum status status = read_record(archive->zip, entry, text, err);
    if (status != STATUS_OK)
        return status;
    unsigned long version = strtoul(text, &end, 10);
    if (end > text && strspn(end, "\r\n ") == strlen(end) && version >= 1 && version <= VERSION_MAX)
        return STATUS_OK;
    error_set(err, STATUS_UNSUPPORTED, "its record version is no number from 1 to %d", VERSION_MAX);
    return error_hint(err, "%s", SAVE_HINT);
}

/* Every entry below PREFIX/data/ is a storage. Entries are sorted by name, and so are the keys, which share a prefix. */
static enum status list_entries(struct torch_archive *archive, const char *folder, struct error *err)
{
    const struct zip_archive *zip = archive->zip;
    size_t len = strlen(folder);
    archive->storages = calloc(zip->count + 1, sizeof *archive->storages);
    if (!archive->storages)
        return refuse_memory(err);
    for (size_t i = 0; i < zip->count; i++) {
        const struct zip_entry *entry = &zip->entries[i];
        if (strncmp(entry->name, folder, len) != 0)
            continue;
        struct pickle_text key = {entry->name + len, strlen(entry->name + len)};
        archive->storages[archive->storage_count++] = (struct torch_storage){
            .key = key, .offset = entry->offset, .bytes = entry->size, .entry = entry};
    }
    return STATUS_OK;
}

static enum status read_pickle(struct torch_archive *archive, const struct zip_entry *entry, struct error *err)
{
    if (entry->size > PICKLE_BYTES_MAX) {
        error_set(err, STATUS_TOO_LARGE, "its data.pkl has %zu bytes, at most %d are read", entry->size,
                  PICKLE_BYTES_MAX);
        return error_hint(err, "%s", SAVE_HINT);
    }
    archive->pickle_bytes = malloc(entry->size + 1);
    if (!archive->pickle_bytes)
        return refuse_memory(err);
    enum status status = zip_archive_read(archive->zip, entry, archive->pickle_bytes, err);
    if (status != STATUS_OK)
        return status;
    const struct pickle_rules rules = {.may_call = torch_may_call, .find_persistent = torch_find_persistent};
    return pickle_parse(archive->pickle_bytes, entry->size, &rules, &archive->pickle, err);
}

/* Reads the records beside the pickle `entry`, whose name is PREFIX/data.pkl, and then the pickle. */
static enum status read_records(struct torch_archive *archive, const struct zip_entry *entry, struct error *err)
{
    char name[ZIP_NAME_BYTES_MAX + 16];
    int prefix = (int)(inner_name(entry->name) - entry->name);
    snprintf(name, sizeof name, "%.*sbyteorder", prefix, entry->name);
    enum status status = read_byte_order(archive, name, err);
    snprintf(name, sizeof name, "%.*sversion", prefix, entry->name);
    if (status == STATUS_OK)
        status = check_version(archive, name, err);
    snprintf(name, sizeof name, "%.*sdata/", prefix, entry->name);
    if (status == STATUS_OK)
        status = list_entries(archive, name, err);
    return status == STATUS_OK ? read_pickle(archive, entry, err) : status;
}

static enum status open_zip(struct torch_archive *archive, struct error *err)
{
    const struct zip_entry *entry = NULL;
    enum status status = zip_archive_open(&archive->source, &archive->zip, err);
    if (status == STATUS_OK)
        status = refuse_exports(archive->zip, err);
    if (status == STATUS_OK)
        status = find_pickle(archive->zip, &entry, err);
    return status == STATUS_OK ? read_records(archive, entry, err) : status;
}

/* ---- The whole ---- */

void torch_archive_sort(struct torch_archive *archive)
{
    if (archive->storage_count > 0)
        qsort(archive->storages, archive->storage_count, sizeof *archive->storages, compare_storages);
}

static enum status refuse_magic(const unsigned char magic[MAGIC_BYTES], struct error *err)
{
    error_set(
        err, STATUS_UNSUPPORTED,
        "this is no file of torch.save: it begins with the bytes %02x %02x %02x %02x, neither with a zip archive's "
        "nor with a pickle's",
        magic[0], magic[1], magic[2], magic[3]);
    return error_hint(err, "%s", SAVE_HINT);
}

static enum status open_any(struct torch_archive *archive, struct error *err)
{
    unsigned char magic[MAGIC_BYTES];
    if (archive->source.size < MAGIC_BYTES) {
        error_set(err, STATUS_INVALID, "the file has %zu bytes, too few for a file of torch.save",
                  archive->source.size);
        return error_hint(err, "%s", SAVE_HINT);
    }
    enum status status = byte_source_read(&archive->source, 0, magic, MAGIC_BYTES, err);
    if (status != STATUS_OK)
        return status;
    if (memcmp(magic, "PK\3\4", MAGIC_BYTES) == 0)
        return open_zip(archive, err);
    return magic[0] == 0x80 ? torch_legacy_open(archive, err) : refuse_magic(magic, err);
}

enum status torch_archive_open(const struct byte_source *source, struct torch_archive **ret, struct error *err)
{
    struct torch_archive *archive = calloc(1, sizeof *archive);
    if (!archive)
        return refuse_memory(err);
    archive->source = *source;
    enum status status = open_any(archive, err);
    if (status == STATUS_OK)
        *ret = archive;
    else
        torch_archive_free(archive);
    return status;
}

void torch_archive_free(struct torch_archive *archive)
{
    if (!archive)
        return;
    zip_archive_free(archive->zip);
    pickle_free(archive->pickle);
    pickle_free(archive->keys);
    free(archive->pickle_bytes);
    free(archive->storages);
    free(archive);
}
