#include "engine/model_path.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/file.h"
#include "engine/utf8.h"

static enum status refuse_no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the model's name");
}

static enum status refuse_path(const char *path, int error, struct error *err)
{
    const enum status status = error == ENOENT || error == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO;
    error_set(err, status, "there is no model: %s", strerror(error));
    error_hint(err,
               "name a file of parameters, such as model.safetensors or model.pth, or the folder of a version, "
               "such as config/models/fashion-mnist/1");
    return file_error(path, status, err);
}

/* ---- Names ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum status give(char *name, char *version, char **ret_name, char **ret_version, struct error *err)
{
    if (!name || !version) {
        free(name);
        free(version);
        return refuse_no_memory(err);
    }
    *ret_name = name;
    *ret_version = version;
    return STATUS_OK;
}

static bool is_number(const char *text)
{
    return *text && !text[strspn(text, "0123456789")];
}

/* "net" of "net.pth", and of "net.safetensors.index.json" too. */
static size_t stem_len(const char *name)
{
    static const char INDEX[] = ".index.json";
    size_t len = strlen(name);
    if (len > sizeof INDEX && strcmp(name + len - (sizeof INDEX - 1), INDEX) == 0)
        len -= sizeof INDEX - 1;
    const char *dot = memrchr(name, '.', len);
    return dot && dot != name ? (size_t)(dot - name) : len;
}

/* The path is absolute and without dots, as realpath gives it. */
static enum status name_folder(char *path, char **ret_name, char **ret_version, struct error *err)
{
    char *name = path + (base_name(path) - path);
    if (!is_number(name) || name == path + 1)
        return give(strdup(*name ? name : "model"), strdup("1"), ret_name, ret_version, err);
    char *version = strdup(name);
    name[-1] = '\0';
    return give(strdup(base_name(path)), version, ret_name, ret_version, err);
}

enum status model_path_name(const char *path, char **ret_name, char **ret_version, struct error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return refuse_path(path, errno, err);
    if (!S_ISDIR(info.st_mode)) {
        const char *name = base_name(path);
        return give(strndup(name, stem_len(name)), strdup("1"), ret_name, ret_version, err);
    }
    char *absolute = realpath(path, NULL);
    if (!absolute)
        return refuse_path(path, errno, err);
    enum status status = name_folder(absolute, ret_name, ret_version, err);
    free(absolute);
    return status;
}

/* ---- Labels ---- */

static size_t count_labels(const char *list)
{
    size_t count = 1;
    for (const char *at = strchr(list, ','); at; at = strchr(at + 1, ','))
        count++;
    return count;
}

static enum status check_list(const struct model *model, const char *list, struct error *err)
{
    const size_t count = count_labels(list);
    const size_t want = model->task == TASK_BINARY ? 2 : model->out_features;
    if (!utf8_is_printable(list, strlen(list))) {
        error_set(err, STATUS_INVALID, "--labels holds a control character or bytes that are not UTF-8");
        return error_hint(err, "write them in UTF-8, between commas");
    }
    if (count == want)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "--labels has %zu labels, and the model %s %zu", count,
              model->task == TASK_BINARY ? "is binary and has" : "gives", want);
    return error_hint(err, "write %s, between commas; labels that hold a comma go into model.json",
                      model->task == TASK_BINARY ? "the label of what is not, then that of what is"
                                                 : "one label for each output, in order");
}

static void free_labels(char **labels, size_t count)
{
    for (size_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
}

/* The label that begins at *at, without blanks around it, and moves behind its comma. NULL if out of memory. */
static char *next_label(const char **at)
{
    const char *begin = *at + strspn(*at, " ");
    size_t len = strcspn(begin, ",");
    *at = begin + len + (begin[len] == ',');
    while (len > 0 && begin[len - 1] == ' ')
        len--;
    return strndup(begin, len);
}

enum status model_set_labels(struct model *model, const char *list, struct error *err)
{
    enum status status = check_list(model, list, err);
    if (status != STATUS_OK)
        return status;
    const size_t count = count_labels(list);
    char **labels = calloc(count, sizeof *labels);
    for (size_t i = 0; labels && i < count; i++) {
        labels[i] = next_label(&list);
        if (!labels[i]) {
            free_labels(labels, count);
            labels = NULL;
        }
    }
    if (!labels)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu labels", count);
    free_labels(model->labels, model->label_count);
    model->labels = labels;
    model->label_count = count;
    return STATUS_OK;
}
