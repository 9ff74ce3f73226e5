#include "engine/zip_archive.h"

#include <stdint.h>
#include <string.h>

#include "engine/crc32.h"
#include "tests/unit/unit.h"

/* ---- An archive that a test makes, entry by entry, and may make wrong ---- */

struct entry {
    const char *name, *content;
    const char *local_name; /* NULL: the same */
    uint32_t size;          /* that the headers tell; 0: the content's */
    uint32_t local_size;    /* that the local header tells; 0: as the other */
    uint32_t crc;           /* added to the right one */
    int64_t begin;          /* added to the right one */
    uint16_t method, flags;
    uint16_t padding;  /* extra bytes of the local header */
    const char *extra; /* of the directory's record */
    size_t extra_len;
};

struct making {
    unsigned char bytes[4096];
    size_t len, directory;
    uint32_t begins[8];
    size_t count;
};

static void put(struct making *making, uint64_t value, size_t bytes)
{
    ck_assert_uint_le(making->len + bytes, sizeof making->bytes);
    memcpy(making->bytes + making->len, &value, bytes);
    making->len += bytes;
}

static void put_text(struct making *making, const char *text, size_t len)
{
    ck_assert_uint_le(making->len + len, sizeof making->bytes);
    memcpy(making->bytes + making->len, text, len);
    making->len += len;
}

static uint32_t told_size(const struct entry *entry)
{
    return entry->size ? entry->size : (uint32_t)strlen(entry->content);
}

static void put_local(struct making *making, const struct entry *entry)
{
    const char *name = entry->local_name ? entry->local_name : entry->name;
    uint32_t size = entry->local_size ? entry->local_size : told_size(entry);
    making->begins[making->count++] = (uint32_t)making->len;
    put(making, 0x04034B50, 4);
    put(making, 0, 2);
    put(making, entry->flags, 2);
    put(making, entry->method, 2);
    put(making, 0, 8); /* time, date, CRC */
    put(making, entry->flags & 8 ? 0 : size, 4);
    put(making, entry->flags & 8 ? 0 : size, 4);
    put(making, strlen(name), 2);
    put(making, entry->padding, 2);
    put_text(making, name, strlen(name));
    for (int i = 0; i < entry->padding; i++)
        put(making, 'Z', 1);
    put_text(making, entry->content, strlen(entry->content));
}

static void put_central(struct making *making, const struct entry *entry, uint32_t begin)
{
    put(making, 0x02014B50, 4);
    put(making, 0, 4);
    put(making, entry->flags, 2);
    put(making, entry->method, 2);
    put(making, 0, 4);
    put(making, crc32_of(entry->content, strlen(entry->content)) + entry->crc, 4);
    put(making, told_size(entry), 4);
    put(making, entry->method ? 1000 : told_size(entry), 4);
    put(making, strlen(entry->name), 2);
    put(making, entry->extra_len, 2);
    put(making, 0, 8); /* comment, disk, attributes */
    put(making, 0, 2);
    put(making, begin + (uint64_t)entry->begin, 4);
    put_text(making, entry->name, strlen(entry->name));
    if (entry->extra_len > 0)
        put_text(making, entry->extra, entry->extra_len);
}

static void put_end(struct making *making, size_t count, size_t directory, size_t bytes, const char *comment)
{
    put(making, 0x06054B50, 4);
    put(making, 0, 4);
    put(making, count, 2);
    put(making, count, 2);
    put(making, bytes, 4);
    put(making, directory, 4);
    put(making, strlen(comment), 2);
    put_text(making, comment, strlen(comment));
}

/* Local entries and directory, without an end. */
static struct making make_entries(const struct entry *entries, size_t count)
{
    struct making making = {.len = 0};
    for (size_t i = 0; i < count; i++)
        put_local(&making, &entries[i]);
    making.directory = making.len;
    for (size_t i = 0; i < count; i++)
        put_central(&making, &entries[i], making.begins[i]);
    return making;
}

static struct making make(const struct entry *entries, size_t count)
{
    struct making making = make_entries(entries, count);
    put_end(&making, count, making.directory, making.len - making.directory, "");
    return making;
}

/* ---- Checks ---- */

/* From memory of this length exactly, so that a sanitizer sees a step beyond it. */
struct opened {
    char *bytes;
    struct byte_source source;
    struct zip_archive *archive;
    struct error err;
    enum status status;
};

static struct opened open_bytes(const void *bytes, size_t len)
{
    struct opened opened = {.bytes = malloc(len ? len : 1)};
    if (len > 0)
        memcpy(opened.bytes, bytes, len);
    opened.source = byte_source_of_memory(opened.bytes, len);
    opened.status = zip_archive_open(&opened.source, &opened.archive, &opened.err);
    return opened;
}

static void close_opened(struct opened *opened)
{
    zip_archive_free(opened->archive);
    free(opened->bytes);
}

static void refused(const struct making *making, const char *message)
{
    struct opened opened = open_bytes(making->bytes, making->len);
    ck_assert_int_ne(opened.status, STATUS_OK);
    ck_assert_ptr_null(opened.archive);
    ck_assert_msg(strstr(opened.err.message, message) != NULL, "\"%s\" has no \"%s\"", opened.err.message, message);
    ck_assert_str_ne(opened.err.hint, "");
    close_opened(&opened);
}

static void refused_entries(const struct entry *entries, size_t count, const char *message)
{
    struct making making = make(entries, count);
    refused(&making, message);
}

static void check_content(const struct zip_archive *archive, const char *name, const char *expected)
{
    struct error err = {0};
    char content[256];
    const struct zip_entry *entry = zip_archive_find(archive, name);
    ck_assert_ptr_nonnull(entry);
    ck_assert_uint_eq(entry->size, strlen(expected));
    ck_assert_msg(zip_archive_read(archive, entry, content, &err) == STATUS_OK, "%s", err.message);
    ck_assert_mem_eq(content, expected, entry->size);
}

static void accepted(const struct making *making)
{
    struct opened opened = open_bytes(making->bytes, making->len);
    ck_assert_msg(opened.status == STATUS_OK, "%s", opened.err.message);
    ck_assert_uint_eq(opened.archive->count, 2);
    check_content(opened.archive, "m/a", "first");
    check_content(opened.archive, "m/b", "second one");
    ck_assert_ptr_null(zip_archive_find(opened.archive, "m/c"));
    close_opened(&opened);
}

/* ---- Tests ---- */

START_TEST(zip_archive_finds_stored_entries_by_name)
{
    struct making making = make((struct entry[]){{"m/b", "second one"}, {"m/a", "first"}}, 2);
    accepted(&making);
    making = make((struct entry[]){{"m/a", "first", .padding = 40}, {"m/b", "second one", .padding = 3}}, 2);
    accepted(&making);
    making = make((struct entry[]){{"m/a", "first", .flags = 0x808}, {"m/b", "second one", .flags = 8}}, 2);
    accepted(&making);
    making = make_entries((struct entry[]){{"m/a", "first"}, {"m/b", "second one"}}, 2);
    put_end(&making, 2, making.directory, making.len - making.directory, "a comment");
    accepted(&making);
}
END_TEST

/* What torch writes: a 64-bit record and a locator in front of the end. */
static void put_end64(struct making *making, size_t count, size_t directory, size_t bytes, size_t locator)
{
    size_t at = making->len;
    put(making, 0x06064B50, 4);
    put(making, 44, 8);
    put(making, 0, 4);
    put(making, 0, 8); /* disks */
    put(making, count, 8);
    put(making, count, 8);
    put(making, bytes, 8);
    put(making, directory, 8);
    put(making, 0x07064B50, 4);
    put(making, 0, 4);
    put(making, at + locator, 8);
    put(making, 1, 4);
}

START_TEST(zip_archive_reads_zip64_records_that_agree_with_the_others)
{
    const struct entry entries[] = {{"m/a", "first"}, {"m/b", "second one"}};
    struct making making = make_entries(entries, 2);
    size_t bytes = making.len - making.directory;
    put_end64(&making, 2, making.directory, bytes, 0);
    put_end(&making, 2, making.directory, bytes, "");
    accepted(&making);
    making = make_entries(entries, 2);
    put_end64(&making, 2, making.directory, bytes, 0);
    put_end(&making, 2, making.directory + 1, bytes, "");
    refused(&making, "the two records at its end describe different directories");
    making = make_entries(entries, 2);
    put_end64(&making, 2, making.directory, bytes, 1);
    put_end(&making, 2, making.directory, bytes, "");
    refused(&making, "behind its locator");
    making = make_entries(entries, 2);
    put_end64(&making, 2, making.directory, bytes, (size_t)-1);
    put_end(&making, 2, making.directory, bytes, "");
    refused(&making, "there is no ZIP64 record at byte");
    making = make_entries(entries, 2);
    put_end64(&making, UINT64_MAX, making.directory, bytes, 0);
    put_end(&making, 2, making.directory, bytes, "");
    refused(&making, "describe different directories");
}
END_TEST

START_TEST(zip_archive_reads_zip64_sizes_of_an_entry)
{
    static const char extra[] = "\7\0\2\0ab\1\0\20\0\5\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0";
    struct making making = make(
        (struct entry[]){{"m/a", "first", .size = UINT32_MAX, .extra = extra, .extra_len = 26},
                         {"m/b", "second one"}},
        2);
    accepted(&making);
    refused_entries((struct entry[]){{"m/a", "first", .size = UINT32_MAX}}, 1,
                    "entry \"m/a\": its ZIP64 sizes are missing or cut");
    refused_entries((struct entry[]){{"m/a", "first", .size = UINT32_MAX, .extra = extra, .extra_len = 20}}, 1,
                    "its ZIP64 sizes are missing or cut");
}
END_TEST

START_TEST(zip_archive_refuses_bytes_that_are_no_archive_or_cut)
{
    struct making making = make((struct entry[]){{"m/a", "first"}, {"m/b", "second one"}}, 2);
    size_t whole = making.len;
    for (making.len = 0; making.len < whole; making.len++)
        refused(&making, "the file is cut");
    making.len = whole;
    making.bytes[making.len++] = 0;
    refused(&making, "the file is cut");
}
END_TEST

START_TEST(zip_archive_refuses_directories_that_do_not_fit)
{
    const struct entry entries[] = {{"m/a", "first"}, {"m/b", "second one"}};
    struct making making = make_entries(entries, 2);
    size_t bytes = making.len - making.directory;
    put_end(&making, 2, making.directory + 1, bytes, "");
    refused(&making, "its directory would fill bytes");
    making = make_entries(entries, 2);
    put_end(&making, 2, making.directory, UINT32_MAX, "");
    refused(&making, "its directory would fill bytes");
    making = make_entries(entries, 2);
    put_end(&making, 1, making.directory, bytes, "");
    refused(&making, "its directory has 49 bytes behind its 1 entries");
    making = make_entries(entries, 2);
    put_end(&making, 3, making.directory, bytes, "");
    refused(&making, "3 entries cannot stand in a directory of 98 bytes");
    making = make_entries(entries, 2);
    making.bytes[making.directory] = 0;
    put_end(&making, 2, making.directory, bytes, "");
    refused(&making, "its directory is broken 98 bytes before its end");
}
END_TEST

START_TEST(zip_archive_refuses_entries_that_overlap_or_lie_outside)
{
    refused_entries((struct entry[]){{"m/a", "first"}, {"m/b", "second one", .begin = -38}}, 2,
                    "entry \"m/b\": its own header has another");
    refused_entries((struct entry[]){{"m/a", "first", .size = 6}, {"m/b", "second one"}}, 2,
                    "entry \"m/b\": it overlaps with \"m/a\"");
    refused_entries((struct entry[]){{"m/a", "first", .size = 6}}, 1, "its 6 bytes reach into the directory");
    refused_entries((struct entry[]){{"m/a", "first", .size = UINT32_MAX - 1}}, 1, "would lie behind the end");
    refused_entries((struct entry[]){{"m/a", "first", .begin = 1}}, 1, "there is no header of an entry at byte 1");
    refused_entries((struct entry[]){{"m/a", "first", .begin = 30}}, 1, "inside the directory");
    refused_entries((struct entry[]){{"m/a", "first", .begin = 1 << 30}}, 1, "would lie behind the end");
}
END_TEST

START_TEST(zip_archive_refuses_entries_whose_own_header_tells_otherwise)
{
    refused_entries((struct entry[]){{"m/a", "first", .local_size = 4}}, 1,
                    "its own header has another size or method than the directory");
    refused_entries((struct entry[]){{"m/a", "first", .local_name = "m/b"}}, 1, "its own header has another name");
    refused_entries((struct entry[]){{"m/a", "first", .local_name = "m/ab"}}, 1, "its own header has another name");
}
END_TEST

START_TEST(zip_archive_refuses_names_that_stand_twice_or_cannot_be_shown)
{
    refused_entries((struct entry[]){{"m/a", "first"}, {"m/b", ""}, {"m/a", "other"}}, 3,
                    "entry \"m/a\": the name stands twice");
    refused_entries((struct entry[]){{"", "first"}}, 1, "an entry's name is empty");
    refused_entries((struct entry[]){{"m/\n", "first"}}, 1, "control characters");
    refused_entries((struct entry[]){{"m/\xFF", "first"}}, 1, "broken UTF-8");
}
END_TEST

static void read_refused(const struct entry *entry, enum status expected, const char *message)
{
    struct making making = make(entry, 1);
    struct opened opened = open_bytes(making.bytes, making.len);
    char content[64];
    ck_assert_msg(opened.status == STATUS_OK, "%s", opened.err.message);
    ck_assert_int_eq(zip_archive_read(opened.archive, &opened.archive->entries[0], content, &opened.err), expected);
    ck_assert_msg(strstr(opened.err.message, message) != NULL, "\"%s\" has no \"%s\"", opened.err.message, message);
    close_opened(&opened);
}

START_TEST(zip_archive_refuses_to_read_compressed_encrypted_and_changed_entries)
{
    read_refused(&(struct entry){"m/a", "first", .method = 8}, STATUS_UNSUPPORTED,
                 "entry \"m/a\" is compressed (method 8, deflate), only stored entries are read");
    read_refused(&(struct entry){"m/a", "first", .method = 93}, STATUS_UNSUPPORTED, "is compressed (method 93)");
    read_refused(&(struct entry){"m/a", "first", .flags = 1}, STATUS_UNSUPPORTED, "is encrypted");
    read_refused(&(struct entry){"m/a", "first", .crc = 1}, STATUS_INVALID,
                 "entry \"m/a\": its bytes were changed: their CRC-32 is");
}
END_TEST

START_TEST(zip_archive_takes_entries_without_a_check_sum)
{
    uint32_t crc = crc32_of("first", 5);
    struct making making = make((struct entry[]){{"m/a", "first", .crc = 0u - crc}, {"m/b", "second one"}}, 2);
    accepted(&making);
}
END_TEST

START_TEST(crc32_is_that_of_zip_at_every_length)
{
    ck_assert_uint_eq(crc32_of("123456789", 9), 0xCBF43926u);
    ck_assert_uint_eq(crc32_of("", 0), 0);
    unsigned char bytes[40];
    for (size_t len = 0; len < sizeof bytes; len++) {
        uint32_t crc = UINT32_MAX;
        bytes[len] = (unsigned char)(37 * len + 11);
        for (size_t i = 0; i <= len; i++) {
            crc ^= bytes[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        }
        ck_assert_uint_eq(crc32_of(bytes, len + 1), ~crc);
    }
}
END_TEST

UNIT_MAIN("engine/zip_archive", zip_archive_finds_stored_entries_by_name,
          zip_archive_reads_zip64_records_that_agree_with_the_others, zip_archive_reads_zip64_sizes_of_an_entry,
          zip_archive_refuses_bytes_that_are_no_archive_or_cut, zip_archive_refuses_directories_that_do_not_fit,
          zip_archive_refuses_entries_that_overlap_or_lie_outside,
          zip_archive_refuses_entries_whose_own_header_tells_otherwise,
          zip_archive_refuses_names_that_stand_twice_or_cannot_be_shown,
          zip_archive_refuses_to_read_compressed_encrypted_and_changed_entries,
          zip_archive_takes_entries_without_a_check_sum, crc32_is_that_of_zip_at_every_length)
