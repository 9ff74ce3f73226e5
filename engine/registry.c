#include "engine/registry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/utf8.h"

enum { NAMES_SHOWN_MAX = 8, NAME_SHOWN_MAX = 32 }; /* all of them fit a message */

/* Sorted names of folders inside a folder. */
struct names {
    char **items;
    size_t count;
};

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static bool names_append(struct names *names, const char *name)
{
    char **items = realloc(names->items, (names->count + 1) * sizeof *items);
    if (!items)
        return false;
    names->items = items;
    char *copy = strdup(name);
    if (copy)
        items[names->count++] = copy;
    return copy != NULL;
}

static enum status refuse_no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the names of models");
}

static bool is_folder(DIR *parent, const char *name)
{
    struct stat info;
    return fstatat(dirfd(parent), name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

static int compare_texts(const void *a, const void *b)
{
    char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

typedef bool name_filter(const char *name);

/* NULL at the end, with errno 0, and on failure. */
static const struct dirent *next_entry(DIR *dir)
{
    errno = 0;
    return readdir(dir);
}

/* Appends the names of the folders that `filter` lets through. */
static enum status read_names(DIR *dir, name_filter *filter, struct names *names, struct error *err)
{
    const struct dirent *entry;
    while ((entry = next_entry(dir))) {
        if (!filter(entry->d_name) || !is_folder(dir, entry->d_name))
            continue;
        if (!names_append(names, entry->d_name))
            return refuse_no_memory(err);
    }
    if (errno != 0)
        return error_set(err, STATUS_IO, "the folder cannot be read: %s", strerror(errno));
    if (names->count > 0)
        qsort(names->items, names->count, sizeof *names->items, compare_texts);
    return STATUS_OK;
}

/* Lists the folders in `path`. The names are the caller's to free, on failure too. */
static enum status list_folders(const char *path, name_filter *filter, struct names *names, struct error *err)
{
    DIR *dir = opendir(path);
    if (!dir) {
        enum status status = errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO;
        error_set(err, status, "the folder cannot be opened: %s", strerror(errno));
        return error_hint(err, "let the user that mlpd runs as (uid %ld) read and enter it", (long)geteuid());
    }
    enum status status = read_names(dir, filter, names, err);
    closedir(dir);
    return status;
}

static bool is_model_name(const char *name)
{
    return name[0] != '.';
}

static bool is_version(const char *name)
{
    return name[strspn(name, "0123456789")] == '\0' && (name[0] != '0' || name[1] == '\0');
}

/* Without leading zeros the longer number is the greater, however many digits there are. */
static bool is_newer(const char *version, const char *than)
{
    size_t a = strlen(version), b = strlen(than);
    return a != b ? a > b : strcmp(version, than) > 0;
}

/* ---- Refusals ---- */

static bool holds_parameters(const char *path)
{
    char *file = file_join(path, "model.safetensors");
    bool found = file && access(file, F_OK) == 0;
    free(file);
    return found;
}

static enum status refuse_folder(const char *models_dir, enum status status, struct error *err)
{
    if (status == STATUS_NOT_FOUND)
        error_hint(err, "name the folder that holds <name>/<version>/model.safetensors with --models DIR");
    return file_error(models_dir, status, err);
}

static enum status refuse_empty(const char *models_dir, struct error *err)
{
    error_set(err, STATUS_NOT_FOUND, "there is no model in this folder");
    if (holds_parameters(models_dir))
        error_hint(err,
                   "model.safetensors lies in the folder itself, the layout is <name>/<version>/model.safetensors: "
                   "name the folder two levels above it");
    else
        error_hint(err, "put one there: <name>/<version>/ with model.safetensors and structure.txt, for example "
                        "fashion-mnist/1/");
    return file_error(models_dir, STATUS_NOT_FOUND, err);
}

static enum status refuse_several(const char *models_dir, const struct names *names, struct error *err)
{
    char list[NAMES_SHOWN_MAX * (NAME_SHOWN_MAX + 2) + 1] = "";
    size_t len = 0;
    for (size_t i = 0; i < names->count && i < NAMES_SHOWN_MAX; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%.*s", i ? ", " : "",
                                utf8_cut(names->items[i], strlen(names->items[i]), NAME_SHOWN_MAX),
                                names->items[i]);
    error_set(err, STATUS_UNSUPPORTED, "there are %zu models (%s%s), one is served", names->count, list,
              names->count > NAMES_SHOWN_MAX ? ", ..." : "");
    error_hint(err, "keep one of them in this folder, or name another folder with --models DIR");
    return file_error(models_dir, STATUS_UNSUPPORTED, err);
}

static enum status refuse_no_version(const char *path, struct error *err)
{
    error_set(err, STATUS_NOT_FOUND, "this model has no version");
    if (holds_parameters(path))
        error_hint(err,
                   "move its files into a folder 1/ inside it: the layout is <name>/<version>/model.safetensors");
    else
        error_hint(err,
                   "put its files into a folder whose name is the version's number, without leading zeros: 1/");
    return file_error(path, STATUS_NOT_FOUND, err);
}

/* ---- The search ---- */

static enum status find_name(const char *models_dir, char **ret_name, struct error *err)
{
    struct names names = {0};
    enum status status = list_folders(models_dir, is_model_name, &names, err);
    if (status != STATUS_OK)
        status = refuse_folder(models_dir, status, err);
    else if (names.count == 0)
        status = refuse_empty(models_dir, err);
    else if (names.count > 1)
        status = refuse_several(models_dir, &names, err);
    else if (!(*ret_name = strdup(names.items[0])))
        status = refuse_no_memory(err);
    names_free(&names);
    return status;
}

static enum status find_version(const char *path, char **ret_version, struct error *err)
{
    struct names names = {0};
    enum status status = list_folders(path, is_version, &names, err);
    size_t newest = 0;
    for (size_t i = 1; i < names.count; i++)
        if (is_newer(names.items[i], names.items[newest]))
            newest = i;
    if (status != STATUS_OK)
        status = file_error(path, status, err);
    else if (names.count == 0)
        status = refuse_no_version(path, err);
    else if (!(*ret_version = strdup(names.items[newest])))
        status = refuse_no_memory(err);
    names_free(&names);
    return status;
}

enum status registry_find_model(const char *models_dir, char **ret_path, char **ret_name, char **ret_version,
                                struct error *err)
{
    char *name = NULL, *version = NULL, *model_path = NULL, *path = NULL;
    enum status status = find_name(models_dir, &name, err);
    if (status != STATUS_OK)
        return status;
    if (!(model_path = file_join(models_dir, name))) {
        status = refuse_no_memory(err);
        goto fail;
    }
    status = find_version(model_path, &version, err);
    if (status != STATUS_OK)
        goto fail;
    if (!(path = file_join(model_path, version))) {
        status = refuse_no_memory(err);
        goto fail;
    }
    free(model_path);
    *ret_path = path;
    *ret_name = name;
    *ret_version = version;
    return STATUS_OK;
fail:
    free(model_path);
    free(version);
    free(name);
    return status;
}
