/* Files of torch.save that a test makes for itself, right or wrong: pickles opcode by opcode, and the archive around one.
 *
 *     struct writer pickle = writer_begin();
 *     fputc('}', pickle.out);
 *     write_string(pickle.out, "weight"); write_tensor(pickle.out, "0", 6, 0, (int64_t[]){2, 3}, (int64_t[]){3, 1}, 2);
 *     fputs("s.", pickle.out);
 *     struct writer file = write_archive(&pickle, storage, 24);
 *     torch_file_parse(file.bytes, file.len, ...);
 *     writer_free(&file);
 */
#ifndef MLPD_TESTS_UNIT_ENGINE_PICKLE_WRITER_H
#define MLPD_TESTS_UNIT_ENGINE_PICKLE_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    FILE *out;
    char *bytes; /* after writer_end */
    size_t len;
};

/* Writes into memory of its own: open_memstream wants the addresses of pointers that stay where they are. */
static inline struct writer writer_begin(void)
{
    return (struct writer){.out = tmpfile()};
}

static inline void writer_end(struct writer *writer)
{
    writer->len = (size_t)ftell(writer->out);
    writer->bytes = malloc(writer->len + 1);
    rewind(writer->out);
    writer->len = fread(writer->bytes, 1, writer->len, writer->out);
    fclose(writer->out);
    writer->out = NULL;
}

static inline void writer_free(struct writer *writer)
{
    free(writer->bytes);
}

/* ---- Pickles ---- */

static inline void write_number(FILE *out, uint64_t value, size_t bytes)
{
    fwrite(&value, 1, bytes, out);
}

static inline void write_string(FILE *out, const char *text)
{
    fputc('X', out);
    write_number(out, strlen(text), 4);
    fputs(text, out);
}

static inline void write_int(FILE *out, int64_t value)
{
    fputs("\x8a\x08", out);
    write_number(out, (uint64_t)value, 8);
}

static inline void write_ints(FILE *out, const int64_t *values, size_t count)
{
    fputc('(', out);
    for (size_t i = 0; i < count; i++)
        write_int(out, values[i]);
    fputc('t', out);
}

/* A float32 tensor in the storage `key`, which is said to have `numel` elements. */
static inline void write_tensor(FILE *out, const char *key, int64_t numel, int64_t offset, const int64_t *sizes,
                                const int64_t *strides, size_t dims)
{
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", out);
    write_string(out, "storage");
    fputs("ctorch\nFloatStorage\n", out);
    write_string(out, key);
    write_string(out, "cpu");
    write_int(out, numel);
    fputs("tQ", out);
    write_int(out, offset);
    write_ints(out, sizes, dims);
    write_ints(out, strides, dims);
    fputs("\x89}tR", out);
}

/* ---- Archives ---- */

static inline void write_local(FILE *out, const char *name, const void *content, size_t len)
{
    fwrite("PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 18, out);
    write_number(out, len, 4);
    write_number(out, len, 4);
    write_number(out, strlen(name), 4);
    fputs(name, out);
    fwrite(content, 1, len, out);
}

static inline void write_central(FILE *out, const char *name, size_t len, size_t begin)
{
    fwrite("PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 20, out);
    write_number(out, len, 4);
    write_number(out, len, 4);
    write_number(out, strlen(name), 4);
    write_number(out, 0, 8);
    write_number(out, 0, 2);
    write_number(out, begin, 4);
    fputs(name, out);
}

/* The file around the pickle, which is ended and freed, with one storage, "0". No check sums. */
static inline struct writer write_archive(struct writer *pickle, const void *storage, size_t storage_len)
{
    struct writer file = writer_begin();
    writer_end(pickle);
    write_local(file.out, "m/data.pkl", pickle->bytes, pickle->len);
    size_t begin = (size_t)ftell(file.out);
    write_local(file.out, "m/data/0", storage, storage_len);
    size_t directory = (size_t)ftell(file.out);
    write_central(file.out, "m/data.pkl", pickle->len, 0);
    write_central(file.out, "m/data/0", storage_len, begin);
    size_t bytes = (size_t)ftell(file.out) - directory;
    fwrite("PK\5\6\0\0\0\0\2\0\2\0", 1, 12, file.out);
    write_number(file.out, bytes, 4);
    write_number(file.out, directory, 4);
    write_number(file.out, 0, 2);
    writer_end(&file);
    writer_free(pickle);
    return file;
}

#endif
