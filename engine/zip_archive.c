#include "engine/zip_archive.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crc32.h"
#include "engine/utf8.h"

/* The records of the format (APPNOTE.TXT, sections 4.3.7 to 4.3.16), without what follows their fixed part. */
enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    COMMENT_BYTES_MAX = UINT16_MAX,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    NAME_SHOWN_MAX = 120,
};

static const size_t DIRECTORY_BYTES_MAX = 64u << 20;
static const uint32_t LOCAL_SIGNATURE = 0x04034B50, CENTRAL_SIGNATURE = 0x02014B50, END_SIGNATURE = 0x06054B50,
                      END64_SIGNATURE = 0x06064B50, LOCATOR_SIGNATURE = 0x07064B50;

static const char CUT_HINT[] = "the file was perhaps not copied to its end; copy it again, or save the model again";
static const char SAVE_HINT[] =
    "write the file anew in PyTorch: torch.save(torch.load(\"model.pth\", map_location=\"cpu\"), \"model.pth\")";

static enum status refuse(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum status refuse(struct error *err, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    error_set(err, STATUS_INVALID, "%s", what);
    return error_hint(err, "%s", SAVE_HINT);
}

/* ---- Little-endian numbers ---- */

static unsigned get16(const unsigned char *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static uint32_t get32(const unsigned char *at)
{
    return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t get64(const unsigned char *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* ---- The end of the directory: where the directory lies, and how many entries it has ---- */

struct directory {
    uint64_t count, bytes, offset;
    size_t end; /* of what may belong to the directory: where the records behind it begin */
};

/* Finds the end record by its signature and the length of the comment behind it, which reaches to the last byte. */
static bool find_end(const unsigned char *tail, size_t len, size_t *ret_at)
{
    for (size_t at = len - END_BYTES + 1; at-- > 0;)
        if (get32(tail + at) == END_SIGNATURE && at + END_BYTES + get16(tail + at + 20) == len) {
            *ret_at = at;
            return true;
        }
    return false;
}

static enum status refuse_no_end(size_t size, struct error *err)
{
    error_set(err, STATUS_INVALID, "the file is cut: its %zu bytes do not end in a zip archive's directory", size);
    return error_hint(err, "%s", CUT_HINT);
}

/* The 64-bit record, to which a locator in front of the end record points. */
static enum status read_end64(const struct byte_source *source, size_t locator, struct directory *ret,
                              struct error *err)
{
    unsigned char at[END64_BYTES];
    enum status status = byte_source_read(source, locator, at, LOCATOR_BYTES, err);
    if (status != STATUS_OK)
        return status;
    uint64_t offset = get64(at + 8);
    if (get32(at + 4) != 0 || get32(at + 16) > 1)
        return refuse(err, "this is a part of a zip archive of several parts");
    if (locator < END64_BYTES || offset > locator - END64_BYTES)
        return refuse(err, "its ZIP64 record would begin at byte %ju, behind its locator", (uintmax_t)offset);
    status = byte_source_read(source, (size_t)offset, at, END64_BYTES, err);
    if (status != STATUS_OK)
        return status;
    if (get32(at) != END64_SIGNATURE || get64(at + 4) != locator - offset - 12)
        return refuse(err, "there is no ZIP64 record at byte %ju, where its locator says", (uintmax_t)offset);
    if (get32(at + 16) != 0 || get32(at + 20) != 0 || get64(at + 24) != get64(at + 32))
        return refuse(err, "this is a part of a zip archive of several parts");
    *ret = (struct directory){get64(at + 32), get64(at + 40), get64(at + 48), (size_t)offset};
    return STATUS_OK;
}

/* Whether the 32-bit record agrees with the 64-bit one, or says that it cannot hold the number. */
static bool agrees(uint64_t narrow, uint64_t wide, uint64_t full)
{
    return narrow == wide || (narrow == full && wide >= full);
}

static enum status read_end(const struct byte_source *source, const unsigned char *end, size_t at,
                            struct directory *ret, struct error *err)
{
    struct directory narrow = {get16(end + 10), get32(end + 12), get32(end + 16), at};
    unsigned char signature[4] = {0};
    enum status status = STATUS_OK;
    *ret = narrow;
    if (get16(end + 4) != 0 || get16(end + 6) != 0 || get16(end + 8) != narrow.count)
        return refuse(err, "this is a part of a zip archive of several parts");
    if (at >= LOCATOR_BYTES)
        status = byte_source_read(source, at - LOCATOR_BYTES, signature, sizeof signature, err);
    if (status != STATUS_OK || get32(signature) != LOCATOR_SIGNATURE)
        return status;
    status = read_end64(source, at - LOCATOR_BYTES, ret, err);
    if (status == STATUS_OK &&
        (!agrees(narrow.count, ret->count, UINT16_MAX) || !agrees(narrow.bytes, ret->bytes, UINT32_MAX) ||
         !agrees(narrow.offset, ret->offset, UINT32_MAX)))
        return refuse(err, "the two records at its end describe different directories");
    return status;
}

static enum status check_directory(const struct directory *directory, struct error *err)
{
    if (directory->offset > directory->end || directory->bytes != directory->end - directory->offset)
        return refuse(err, "its directory would fill bytes %ju to %ju, but must end at byte %zu",
                      (uintmax_t)directory->offset, (uintmax_t)(directory->offset + directory->bytes),
                      directory->end);
    if (directory->bytes <= DIRECTORY_BYTES_MAX && directory->count <= ZIP_ENTRIES_MAX)
        return STATUS_OK;
    error_set(err, STATUS_TOO_LARGE, "its directory has %ju entries in %ju bytes, at most %d in %zu are read",
              (uintmax_t)directory->count, (uintmax_t)directory->bytes, ZIP_ENTRIES_MAX, DIRECTORY_BYTES_MAX);
    return error_hint(err, "%s", SAVE_HINT);
}

static enum status find_directory(const struct byte_source *source, struct directory *ret, struct error *err)
{
    size_t len = END_BYTES + COMMENT_BYTES_MAX, at;
    if (source->size < END_BYTES)
        return refuse_no_end(source->size, err);
    if (len > source->size)
        len = source->size;
    unsigned char *tail = malloc(len);
    if (!tail)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the end of an archive");
    enum status status = byte_source_read(source, source->size - len, tail, len, err);
    if (status == STATUS_OK)
        status = find_end(tail, len, &at) ? read_end(source, tail + at, source->size - len + at, ret, err)
                                          : refuse_no_end(source->size, err);
    free(tail);
    return status == STATUS_OK ? check_directory(ret, err) : status;
}

/* ---- One entry: its record in the directory, then its local header ---- */

/* An archive that is being read. */
struct opening {
    struct zip_archive *archive;
    const unsigned char *at, *end; /* what is left of the directory */
    size_t data_end;               /* where the directory begins, and the entries must have ended */
    char *name;                    /* where the next name goes */
    struct error *err;
};

static enum status refuse_entry(const struct opening *opening, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status refuse_entry(const struct opening *opening, const char *name, const char *format, ...)
{
    char what[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return refuse(opening->err, "entry \"%.*s\": %s", utf8_cut(name, strlen(name), NAME_SHOWN_MAX), name, what);
}

/* The fields of the ZIP64 extra: each stands there only where the 32-bit field is full, in this order. */
static bool read_zip64(const unsigned char *at, size_t len, uint64_t *const fields[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (*fields[i] != UINT32_MAX)
            continue;
        if (len < 8)
            return false;
        *fields[i] = get64(at);
        at += 8;
        len -= 8;
    }
    return true;
}

/* Walks the extra fields: id, length, bytes. False if they are cut, or one that is needed is missing. */
static bool read_extra(const unsigned char *at, size_t len, uint64_t *const fields[], size_t count)
{
    bool needed = false;
    for (size_t i = 0; i < count; i++)
        needed |= *fields[i] == UINT32_MAX;
    while (needed && len >= 4) {
        size_t bytes = get16(at + 2);
        if (bytes > len - 4)
            return false;
        if (get16(at) == EXTRA_ZIP64)
            return read_zip64(at + 4, bytes, fields, count);
        at += 4 + bytes;
        len -= 4 + bytes;
    }
    return !needed;
}

/* What the local header says must be what the directory said. Sizes that a descriptor behind the data holds are 0 or full
 * here; of a ZIP64 entry they are full. */
static bool sizes_agree(const unsigned char *local, const struct zip_entry *entry)
{
    uint32_t packed = get32(local + 18);
    bool is_elsewhere = packed == UINT32_MAX || (packed == 0 && (get16(local + 6) & FLAG_DESCRIPTOR));
    return (packed == entry->size || is_elsewhere) && (entry->method != 0 || packed == get32(local + 22));
}

static enum status check_local_name(const struct opening *opening, const struct zip_entry *entry, size_t len)
{
    char name[ZIP_NAME_BYTES_MAX];
    if (len != strlen(entry->name))
        return refuse_entry(opening, entry->name, "its own header has another name");
    enum status status = byte_source_read(&opening->archive->source, entry->begin + LOCAL_BYTES, name, len,
                                          opening->err);
    if (status == STATUS_OK && memcmp(name, entry->name, len) != 0)
        return refuse_entry(opening, entry->name, "its own header has another name");
    return status;
}

/* Finds where the data begins: behind the local header, whose extra fields are as long as the alignment asks. */
static enum status read_local(const struct opening *opening, struct zip_entry *entry)
{
    unsigned char local[LOCAL_BYTES];
    if (opening->data_end < LOCAL_BYTES || entry->begin > opening->data_end - LOCAL_BYTES)
        return refuse_entry(opening, entry->name, "it would begin at byte %zu, inside the directory", entry->begin);
    enum status status = byte_source_read(&opening->archive->source, entry->begin, local, LOCAL_BYTES,
                                          opening->err);
    if (status != STATUS_OK)
        return status;
    size_t name_len = get16(local + 26), left = opening->data_end - entry->begin - LOCAL_BYTES;
    size_t skip = name_len + get16(local + 28);
    if (get32(local) != LOCAL_SIGNATURE)
        return refuse_entry(opening, entry->name, "there is no header of an entry at byte %zu", entry->begin);
    if (skip > left || entry->size > left - skip)
        return refuse_entry(opening, entry->name, "its %zu bytes reach into the directory", entry->size);
    if (!sizes_agree(local, entry) || get16(local + 8) != entry->method)
        return refuse_entry(opening, entry->name, "its own header has another size or method than the directory");
    entry->offset = entry->begin + LOCAL_BYTES + skip;
    return check_local_name(opening, entry, name_len);
}

/* Takes the record's name and puts a NUL behind it. */
static enum status read_name(struct opening *opening, const char *name, size_t len, struct zip_entry *entry)
{
    if (len == 0 || len > ZIP_NAME_BYTES_MAX || !utf8_is_printable(name, len))
        return refuse(opening->err,
                      "an entry's name is empty, has more than %d bytes, control characters or broken UTF-8",
                      ZIP_NAME_BYTES_MAX);
    memcpy(opening->name, name, len);
    opening->name[len] = '\0';
    entry->name = opening->name;
    opening->name += len + 1;
    return STATUS_OK;
}

/* Reads the sizes and the place of the record at `at`. */
static enum status read_sizes(const struct opening *opening, const unsigned char *at, size_t name_len,
                              size_t extra_len, struct zip_entry *entry)
{
    uint64_t plain = get32(at + 24), packed = get32(at + 20), begin = get32(at + 42);
    uint64_t *const fields[] = {&plain, &packed, &begin};
    if (!read_extra(at + CENTRAL_BYTES + name_len, extra_len, fields, 3))
        return refuse_entry(opening, entry->name, "its ZIP64 sizes are missing or cut");
    entry->method = (uint16_t)get16(at + 10);
    entry->is_encrypted = get16(at + 8) & FLAG_ENCRYPTED;
    if (plain != packed && entry->method == 0 && !entry->is_encrypted)
        return refuse_entry(opening, entry->name, "it is stored, but %ju bytes would come from %ju",
                            (uintmax_t)plain, (uintmax_t)packed);
    if (packed > opening->data_end || begin > opening->data_end)
        return refuse_entry(opening, entry->name, "%ju bytes at byte %ju would lie behind the end",
                            (uintmax_t)packed, (uintmax_t)begin);
    entry->size = (size_t)packed;
    entry->begin = (size_t)begin;
    entry->crc = get32(at + 16);
    return STATUS_OK;
}

static enum status read_entry(struct opening *opening, struct zip_entry *entry)
{
    const unsigned char *at = opening->at;
    size_t left = (size_t)(opening->end - at);
    if (left < CENTRAL_BYTES || get32(at) != CENTRAL_SIGNATURE)
        return refuse(opening->err, "its directory is broken %zu bytes before its end", left);
    size_t name_len = get16(at + 28), extra_len = get16(at + 30);
    size_t bytes = CENTRAL_BYTES + name_len + extra_len + get16(at + 32);
    if (bytes > left)
        return refuse(opening->err, "its directory is cut inside an entry");
    enum status status = read_name(opening, (const char *)at + CENTRAL_BYTES, name_len, entry);
    if (status == STATUS_OK)
        status = read_sizes(opening, at, name_len, extra_len, entry);
    opening->at += bytes;
    return status == STATUS_OK ? read_local(opening, entry) : status;
}

/* ---- The whole ---- */

static int compare_begins(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int compare_names(const void *a, const void *b)
{
    const struct zip_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Leaves the entries sorted by name. */
static enum status check_entries(const struct opening *opening)
{
    struct zip_entry *entries = opening->archive->entries;
    size_t count = opening->archive->count;
    qsort(entries, count, sizeof *entries, compare_begins);
    for (size_t i = 1; i < count; i++)
        if (entries[i].begin < entries[i - 1].offset + entries[i - 1].size)
            return refuse_entry(opening, entries[i].name, "it overlaps with \"%.*s\"",
                                utf8_cut(entries[i - 1].name, strlen(entries[i - 1].name), NAME_SHOWN_MAX),
                                entries[i - 1].name);
    qsort(entries, count, sizeof *entries, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(entries[i - 1].name, entries[i].name) == 0)
            return refuse_entry(opening, entries[i].name, "the name stands twice");
    return STATUS_OK;
}

static enum status read_entries(struct opening *opening, const struct directory *directory)
{
    struct zip_archive *archive = opening->archive;
    if (directory->count > directory->bytes / CENTRAL_BYTES)
        return refuse(opening->err, "%ju entries cannot stand in a directory of %ju bytes",
                      (uintmax_t)directory->count, (uintmax_t)directory->bytes);
    archive->entries = calloc(directory->count + 1, sizeof *archive->entries);
    archive->names = opening->name = malloc(directory->bytes + 1);
    if (!archive->entries || !archive->names)
        return error_set(opening->err, STATUS_NO_MEMORY, "no memory for %ju entries", (uintmax_t)directory->count);
    while (archive->count < directory->count) {
        enum status status = read_entry(opening, &archive->entries[archive->count]);
        if (status != STATUS_OK)
            return status;
        archive->count++;
    }
    if (opening->at != opening->end)
        return refuse(opening->err, "its directory has %zu bytes behind its %zu entries",
                      (size_t)(opening->end - opening->at), archive->count);
    return check_entries(opening);
}

static enum status read_directory(struct zip_archive *archive, struct error *err)
{
    struct directory directory = {0};
    enum status status = find_directory(&archive->source, &directory, err);
    if (status != STATUS_OK)
        return status;
    unsigned char *bytes = malloc(directory.bytes + 1);
    if (!bytes)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a directory of %ju bytes",
                         (uintmax_t)directory.bytes);
    struct opening opening = {.archive = archive,
                              .at = bytes,
                              .end = bytes + directory.bytes,
                              .data_end = (size_t)directory.offset,
                              .err = err};
    status = byte_source_read(&archive->source, (size_t)directory.offset, bytes, (size_t)directory.bytes, err);
    if (status == STATUS_OK)
        status = read_entries(&opening, &directory);
    free(bytes);
    return status;
}

enum status zip_archive_open(const struct byte_source *source, struct zip_archive **ret, struct error *err)
{
    struct zip_archive *archive = calloc(1, sizeof *archive);
    if (!archive)
        return error_set(err, STATUS_NO_MEMORY, "no memory for an archive");
    archive->source = *source;
    enum status status = read_directory(archive, err);
    if (status == STATUS_OK)
        *ret = archive;
    else
        zip_archive_free(archive);
    return status;
}

static int compare_name(const void *key, const void *member)
{
    const struct zip_entry *entry = member;
    return strcmp(key, entry->name);
}

const struct zip_entry *zip_archive_find(const struct zip_archive *archive, const char *name)
{
    return bsearch(name, archive->entries, archive->count, sizeof *archive->entries, compare_name);
}

static enum status refuse_packed(const struct zip_entry *entry, struct error *err)
{
    error_set(err, STATUS_UNSUPPORTED, "entry \"%.*s\" is %s (method %u%s), only stored entries are read",
              utf8_cut(entry->name, strlen(entry->name), NAME_SHOWN_MAX), entry->name,
              entry->is_encrypted ? "encrypted" : "compressed", entry->method,
              entry->method == 8 ? ", deflate" : "");
    return error_hint(err, "torch.save stores without compressing: %s", SAVE_HINT);
}

enum status zip_archive_read(const struct zip_archive *archive, const struct zip_entry *entry, void *dst,
                             struct error *err)
{
    if (entry->method != 0 || entry->is_encrypted)
        return refuse_packed(entry, err);
    enum status status = byte_source_read(&archive->source, entry->offset, dst, entry->size, err);
    if (status != STATUS_OK || entry->crc == 0)
        return status;
    uint32_t crc = crc32_of(dst, entry->size);
    if (crc == entry->crc)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "entry \"%.*s\": its bytes were changed: their CRC-32 is %08x, not %08x",
              utf8_cut(entry->name, strlen(entry->name), NAME_SHOWN_MAX), entry->name, crc, entry->crc);
    return error_hint(err, "copy the file again, or save the model again");
}

void zip_archive_free(struct zip_archive *archive)
{
    if (!archive)
        return;
    free(archive->entries);
    free(archive->names);
    free(archive);
}
