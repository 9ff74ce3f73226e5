#include "server/folder_stamp.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* FNV-1a, of one byte more. */
static uint64_t digest_byte(uint64_t digest, unsigned char byte)
{
    return (digest ^ byte) * UINT64_C(1099511628211);
}

static uint64_t digest_number(uint64_t digest, uint64_t number)
{
    for (unsigned shift = 0; shift < 64; shift += 8)
        digest = digest_byte(digest, (unsigned char)(number >> shift));
    return digest;
}

static uint64_t digest_file(const char *name, const struct stat *info)
{
    uint64_t digest = UINT64_C(14695981039346656037);
    for (; *name; name++)
        digest = digest_byte(digest, (unsigned char)*name);
    digest = digest_number(digest, (uint64_t)info->st_dev);
    digest = digest_number(digest, (uint64_t)info->st_ino);
    digest = digest_number(digest, (uint64_t)info->st_size);
    digest = digest_number(digest, (uint64_t)info->st_mtim.tv_sec);
    return digest_number(digest, (uint64_t)info->st_mtim.tv_nsec);
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
    stamp->digest = digest_file(path, &info);
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
