/* Folders and model files that a test makes for itself, under TMPDIR or /tmp, and removes at its end.
 *
 *     char *folder = folder_create();
 *     folder_write(folder, "structure.txt", "Linear(...)\n");
 *     folder_write_parameters(folder, header, values, count);
 *     ...
 *     folder_remove(folder);
 */
#ifndef MLPD_TESTS_UNIT_ENGINE_FOLDER_H
#define MLPD_TESTS_UNIT_ENGINE_FOLDER_H

#include <ftw.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/unit.h"

static inline char *folder_create(void)
{
    const char *parent = getenv("TMPDIR");
    char *path;
    ck_assert_int_gt(asprintf(&path, "%s/mlpd-test-XXXXXX", parent && *parent ? parent : "/tmp"), 0);
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static inline int folder_remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info, (void)type, (void)ftw;
    return remove(path);
}

static inline void folder_remove(char *folder)
{
    ck_assert_int_eq(nftw(folder, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
    free(folder);
}

/* "folder/name", which the caller frees. */
static inline char *folder_path(const char *folder, const char *name)
{
    char *path;
    ck_assert_int_gt(asprintf(&path, "%s/%s", folder, name), 0);
    return path;
}

static inline void folder_make(const char *folder, const char *name)
{
    char *path = folder_path(folder, name);
    ck_assert_int_eq(mkdir(path, 0777), 0);
    free(path);
}

static inline void folder_write_bytes(const char *folder, const char *name, const void *data, size_t len)
{
    char *path = folder_path(folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(len ? fwrite(data, 1, len, file) : 0, len);
    ck_assert_int_eq(fclose(file), 0);
    free(path);
}

static inline void folder_write(const char *folder, const char *name, const char *text)
{
    folder_write_bytes(folder, name, text, strlen(text));
}

/* A safetensors file's bytes, which the caller frees. */
static inline char *safetensors_bytes(const char *header, const void *data, size_t data_len, size_t *ret_len)
{
    uint64_t header_len = strlen(header);
    char *bytes = malloc(8 + header_len + data_len);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, &header_len, 8);
    memcpy(bytes + 8, header, header_len);
    if (data_len > 0)
        memcpy(bytes + 8 + header_len, data, data_len);
    *ret_len = 8 + header_len + data_len;
    return bytes;
}

static inline void folder_write_parameters(const char *folder, const char *header, const float *values,
                                           size_t count)
{
    size_t len;
    char *bytes = safetensors_bytes(header, values, count * sizeof *values, &len);
    folder_write_bytes(folder, "model.safetensors", bytes, len);
    free(bytes);
}

#endif
