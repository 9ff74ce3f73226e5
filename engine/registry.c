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

void registry_names_free(struct registry_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    *names = (struct registry_names){0};
}

static bool names_append(struct registry_names *names, const char *name)
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

typedef int name_order(const void *a, const void *b);

static int by_bytes(const void *a, const void *b)
{
    char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Without leading zeros the longer number is the greater, however many digits there are. */
static int newest_first(const void *a, const void *b)
{
    char *const *x = a, *const *y = b;
    size_t x_len = strlen(*x), y_len = strlen(*y);
    if (x_len != y_len)
        return x_len > y_len ? -1 : 1;
    return strcmp(*y, *x);
}

typedef bool name_filter(const char *name);

/* NULL at the end, with errno 0, and on failure. */
static const struct dirent *next_entry(DIR *dir)
{
    errno = 0;
    return readdir(dir);
}

/* Appends the names of the folders that `filter` lets through. */
static enum status read_names(DIR *dir, name_filter *filter, struct registry_names *names, struct error *err)
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
    return STATUS_OK;
}

static enum status list_folders(const char *path, name_filter *filter, name_order *order,
                                struct registry_names *names, struct error *err)
{
    DIR *dir = opendir(path);
    if (!dir) {
        enum status status = errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO;
        error_set(err, status, "the folder cannot be opened: %s", strerror(errno));
        return error_hint(err, "let the user that mlpd runs as (uid %ld) read and enter it", (long)geteuid());
    }
    enum status status = read_names(dir, filter, names, err);
    closedir(dir);
    if (names->count > 0)
        qsort(names->items, names->count, sizeof *names->items, order);
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

enum status registry_refuse_empty(const char *models_dir, struct error *err)
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

static void write_list(const struct registry_names *names, char *list, size_t size)
{
    size_t len = 0;
    *list = '\0';
    for (size_t i = 0; i < names->count && i < NAMES_SHOWN_MAX; i++)
        len += (size_t)snprintf(list + len, size - len, "%s%.*s", i ? ", " : "",
                                utf8_cut(names->items[i], strlen(names->items[i]), NAME_SHOWN_MAX),
                                names->items[i]);
}

static enum status refuse_choice(const char *models_dir, const char *wanted, const struct registry_names *names,
                                 struct error *err)
{
    char list[NAMES_SHOWN_MAX * (NAME_SHOWN_MAX + 2) + 1];
    const char *more = names->count > NAMES_SHOWN_MAX ? ", ..." : "";
    enum status status = wanted ? STATUS_NOT_FOUND : STATUS_UNSUPPORTED;
    write_list(names, list, sizeof list);
    if (wanted)
        error_set(err, status, "there is no model %.*s, but %s%s",
                  (int)utf8_cut(wanted, strlen(wanted), NAME_SHOWN_MAX), wanted, list, more);
    else
        error_set(err, status, "there are %zu models (%s%s)", names->count, list, more);
    error_hint(err, "name the one that is meant with --default-model NAME");
    return file_error(models_dir, status, err);
}

enum status registry_refuse_no_version(const char *path, struct error *err)
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

/* ---- Lists ---- */

enum status registry_list_models(const char *models_dir, struct registry_names *ret, struct error *err)
{
    enum status status = list_folders(models_dir, is_model_name, by_bytes, ret, err);
    return status == STATUS_OK ? status : refuse_folder(models_dir, status, err);
}

enum status registry_list_versions(const char *path, struct registry_names *ret, struct error *err)
{
    enum status status = list_folders(path, is_version, newest_first, ret, err);
    return status == STATUS_OK ? status : file_error(path, status, err);
}

/* ---- The search for one ---- */

static bool holds(const struct registry_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i], name) == 0)
            return true;
    return false;
}

static enum status find_name(const char *models_dir, const char *wanted, char **ret_name, struct error *err)
{
    struct registry_names names = {0};
    enum status status = registry_list_models(models_dir, &names, err);
    if (status == STATUS_OK && names.count == 0)
        status = registry_refuse_empty(models_dir, err);
    else if (status == STATUS_OK && (wanted ? !holds(&names, wanted) : names.count > 1))
        status = refuse_choice(models_dir, wanted, &names, err);
    if (status == STATUS_OK && !(*ret_name = strdup(wanted ? wanted : names.items[0])))
        status = refuse_no_memory(err);
    registry_names_free(&names);
    return status;
}

static enum status find_version(const char *path, char **ret_version, struct error *err)
{
    struct registry_names names = {0};
    enum status status = registry_list_versions(path, &names, err);
    if (status == STATUS_OK && names.count == 0)
        status = registry_refuse_no_version(path, err);
    if (status == STATUS_OK && !(*ret_version = strdup(names.items[0])))
        status = refuse_no_memory(err);
    registry_names_free(&names);
    return status;
}

enum status registry_find_model(const char *models_dir, const char *wanted, char **ret_path, char **ret_name,
                                char **ret_version, struct error *err)
{
    char *name = NULL, *version = NULL, *model_path = NULL, *path = NULL;
    enum status status = find_name(models_dir, wanted, &name, err);
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
