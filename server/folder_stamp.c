#include "server/folder_stamp.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* FNV-1a. */
static uint64_t digest_bytes(uint64_t digest, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        digest = (digest ^ bytes[i]) * UINT64_C(1099511628211);
    return digest;
}

static uint64_t digest_file(const char *name, const struct stat *info)
{
    const uint64_t facts[] = {
        (uint64_t)info->st_dev,         (uint64_t)info->st_ino,          (uint64_t)info->st_size,
        (uint64_t)info->st_mtim.tv_sec, (uint64_t)info->st_mtim.tv_nsec,
    };
    uint64_t digest = digest_bytes(UINT64_C(14695981039346656037), name, strlen(name));
    return digest_bytes(digest, facts, sizeof facts);
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* The order in which names come does not count: digests are added up. */
static void add_file(DIR *dir, const char *name, const struct stat *folder, struct folder_stamp *stamp)
{
    struct stat info;
    if (name[0] == '.' || fstatat(dirfd(dir), name, &info, 0) != 0)
        return;
    stamp->files++;
    stamp->digest += digest_file(name, &info);
    stamp->moved_in &= is_later(&folder->st_ctim, &info.st_ctim);
}

/* Of a file by itself, which says nothing of how it came there. */
static void stamp_file(const char *path, struct folder_stamp *stamp)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return;
    stamp->files = 1;
    stamp->digest = digest_file("", &info);
}

void folder_stamp(const char *path, struct folder_stamp *ret)
{
    struct stat folder;
    const struct dirent *entry;
    DIR *dir = opendir(path);
    *ret = (struct folder_stamp){0};
    if (!dir) {
        stamp_file(path, ret);
        return;
    }
    if (fstat(dirfd(dir), &folder) == 0) {
        ret->moved_in = is_later(&folder.st_ctim, &folder.st_mtim);
        while ((entry = readdir(dir)))
            add_file(dir, entry->d_name, &folder, ret);
        ret->moved_in &= ret->files > 0;
    }
    closedir(dir);
}
