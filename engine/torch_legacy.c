#include "engine/torch_legacy.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dtypes.h"
#include "engine/torch_globals.h"

enum { PROTOCOL_VERSION = 1001, COUNT_BYTES = 8 };

static const unsigned char MAGIC_NUMBER[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static const char SAVE_HINT[] = "write it anew with a newer PyTorch: torch.save(torch.load(\"model.pth\", "
                                "map_location=\"cpu\"), \"model.pth\")";

/* A file that is being read. */
struct reading {
    struct torch_archive *archive;
    size_t at, len; /* of archive->pickle_bytes, what the pickles may lie in */
    size_t capacity;
    bool out_of_memory;
    struct error *err;
};

static enum status refuse(const struct reading *reading, const char *what)
{
    error_set(reading->err, STATUS_INVALID, "this is no file of torch.save: %s", what);
    return error_hint(reading->err, "%s", SAVE_HINT);
}

static enum status refuse_memory(const struct reading *reading)
{
    return error_set(reading->err, STATUS_NO_MEMORY, "no memory for the file's pickles");
}

/* ---- Pickles ---- */

/* Notes the storages to which the object's pickle refers: the type that stands there says how long an element is. */
static struct pickle_value *note_storage(void *context, struct pickle_value *persistent)
{
    struct reading *reading = context;
    struct torch_archive *archive = reading->archive;
    struct torch_storage_id id;
    struct pickle_value *found = torch_find_persistent(NULL, persistent);
    if (found != persistent || !torch_storage_id(persistent, &id))
        return found == persistent ? NULL : found;
    const struct dtype *dtype = dtype_of_storage(id.type->global[1].at, id.type->global[1].len);
    if (!dtype && !pickle_text_is(id.type->global[1], "UntypedStorage"))
        return NULL;
    if (archive->storage_count == reading->capacity) {
        size_t capacity = reading->capacity ? 2 * reading->capacity : 64;
        struct torch_storage *storages = realloc(archive->storages, capacity * sizeof *storages);
        if (!storages) {
            reading->out_of_memory = true;
            return NULL;
        }
        archive->storages = storages;
        reading->capacity = capacity;
    }
    archive->storages[archive->storage_count++] = (struct torch_storage){.key = id.key,
                                                                         .element_bytes = dtype ? dtype->bytes : 1};
    return found;
}

static enum status parse_next(struct reading *reading, struct pickle **ret)
{
    const struct pickle_rules rules = {torch_may_call, note_storage, reading};
    const char *bytes = reading->archive->pickle_bytes;
    enum status status = pickle_parse(bytes + reading->at, reading->len - reading->at, &rules, ret, reading->err);
    if (reading->out_of_memory)
        return refuse_memory(reading);
    if (status == STATUS_OK)
        reading->at += (*ret)->bytes;
    return status;
}

static bool is_magic(const struct pickle_value *value)
{
    return value->kind == PICKLE_BIG_INT && value->text.len == sizeof MAGIC_NUMBER &&
           memcmp(value->text.at, MAGIC_NUMBER, sizeof MAGIC_NUMBER) == 0;
}

static bool is_version(const struct pickle_value *value)
{
    return value->kind == PICKLE_INT && value->integer == PROTOCOL_VERSION;
}

static bool is_little_endian(const struct pickle_value *value)
{
    const struct pickle_value *item = value->kind == PICKLE_DICT ? pickle_get(&value->items, "little_endian")
                                                                 : NULL;
    return item && item->kind == PICKLE_BOOL && item->integer == 1;
}

/* Reads one pickle of the head, which must be what `check` says. */
static enum status check_next(struct reading *reading, bool (*check)(const struct pickle_value *value),
                              const char *what)
{
    struct pickle *pickle = NULL;
    enum status status = parse_next(reading, &pickle);
    if (status == STATUS_OK && !check(pickle->root))
        status = refuse(reading, what);
    pickle_free(pickle);
    return status;
}

static enum status read_pickles(struct reading *reading)
{
    enum status status = check_next(reading, is_magic, "its first pickle is not the magic number");
    if (status == STATUS_OK)
        status = check_next(reading, is_version, "its second pickle is not the version, 1001");
    if (status == STATUS_OK)
        status = check_next(reading, is_little_endian, "its third pickle does not say little_endian");
    if (status == STATUS_OK)
        status = parse_next(reading, &reading->archive->pickle);
    if (status == STATUS_OK)
        status = parse_next(reading, &reading->archive->keys);
    return status;
}

/* ---- Storages ---- */

/* Several tensors refer to one storage: leaves it once. */
static enum status merge_storages(const struct reading *reading)
{
    struct torch_archive *archive = reading->archive;
    size_t kept = 0;
    torch_archive_sort(archive);
    for (size_t i = 0; i < archive->storage_count; i++) {
        struct torch_storage *storage = &archive->storages[i], *last = &archive->storages[kept ? kept - 1 : 0];
        bool same = kept > 0 && last->key.len == storage->key.len &&
                    memcmp(last->key.at, storage->key.at, storage->key.len) == 0;
        if (same && last->element_bytes != storage->element_bytes)
            return refuse(reading, "one storage has elements of two types");
        if (!same)
            archive->storages[kept++] = *storage;
    }
    archive->storage_count = kept;
    return STATUS_OK;
}

static struct torch_storage *find_storage(const struct torch_archive *archive, struct pickle_text key)
{
    const struct torch_storage *found = torch_archive_find(archive, key);
    return found ? &archive->storages[found - archive->storages] : NULL;
}

/* One storage: its number of elements, then their bytes. */
static enum status place_storage(struct reading *reading, struct torch_storage *storage)
{
    const struct byte_source *source = &reading->archive->source;
    uint64_t count;
    if (source->size - reading->at < COUNT_BYTES)
        return refuse(reading, "it is cut inside its storages");
    enum status status = byte_source_read(source, reading->at, &count, COUNT_BYTES, reading->err);
    if (status != STATUS_OK)
        return status;
    reading->at += COUNT_BYTES;
    size_t left = source->size - reading->at;
    if (count > left / storage->element_bytes)
        return refuse(reading, "it is cut inside its storages");
    storage->offset = reading->at;
    storage->bytes = (size_t)count * storage->element_bytes;
    reading->at += storage->bytes;
    return STATUS_OK;
}

static enum status place_storages(struct reading *reading)
{
    const struct pickle_value *keys = reading->archive->keys->root;
    if (keys->kind != PICKLE_LIST || keys->items.count != reading->archive->storage_count)
        return refuse(reading, "its last pickle does not list the storages, each once");
    for (size_t i = 0; i < keys->items.count; i++) {
        const struct pickle_value *key = keys->items.at[i];
        struct torch_storage *storage = key->kind == PICKLE_STRING ? find_storage(reading->archive, key->text)
                                                                   : NULL;
        if (!storage || storage->offset != 0)
            return refuse(reading, "its last pickle does not list the storages, each once");
        enum status status = place_storage(reading, storage);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status torch_legacy_open(struct torch_archive *archive, struct error *err)
{
    struct reading reading = {.archive = archive, .err = err};
    reading.len = archive->source.size < PICKLE_BYTES_MAX ? archive->source.size : PICKLE_BYTES_MAX;
    archive->pickle_bytes = malloc(reading.len);
    if (!archive->pickle_bytes)
        return refuse_memory(&reading);
    enum status status = byte_source_read(&archive->source, 0, archive->pickle_bytes, reading.len, err);
    if (status == STATUS_OK)
        status = read_pickles(&reading);
    if (status == STATUS_OK)
        status = merge_storages(&reading);
    return status == STATUS_OK ? place_storages(&reading) : status;
}
