#include "engine/torch_file.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/byte_source.h"
#include "engine/file.h"
#include "engine/torch_archive.h"
#include "engine/torch_module.h"
#include "engine/torch_tensors.h"
#include "engine/utf8.h"

enum { KEY_BYTES_MAX = 4096, SHOWN_MAX = 80, ENTRIES_LOOKED_AT_MAX = 64 };

static const size_t FILE_BYTES_MAX = (size_t)1 << 40;

static const char SAVE_HINT[] =
    "save the parameters alone, in Python: torch.save(model.state_dict(), \"model.pth\")";

/* Under which a checkpoint holds its state dict. */
static const char *const CHECKPOINT_KEYS[] = {"state_dict", "model_state_dict", "model"};

/* What wrappers put before the name of every parameter. */
static const char *const PREFIXES[] = {"module.", "_orig_mod."};

/* A file that is being read. */
struct reading {
    struct torch_file file;
    struct torch_archive *archive;
    struct torch_tensors *tensors;
    struct error *err;
};

static enum status refuse_memory(const struct reading *reading)
{
    return error_set(reading->err, STATUS_NO_MEMORY, "no memory for the file's parameters");
}

/* Adds a sentence to the note. */
static enum status note(struct reading *reading, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum status note(struct reading *reading, const char *format, ...)
{
    char sentence[1024], *longer;
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    const char *before = reading->file.note;
    if (asprintf(&longer, "%s%s%s", before ? before : "", before ? "; " : "", sentence) < 0)
        return refuse_memory(reading);
    free(reading->file.note);
    reading->file.note = longer;
    return STATUS_OK;
}

/* ---- A state dict ---- */

static bool has_prefix(struct pickle_text text, size_t skip, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len > skip + len && memcmp(text.at + skip, prefix, len) == 0;
}

static bool all_have_prefix(const struct pickle_items *pairs, size_t skip, const char *prefix)
{
    for (size_t i = 0; i < pairs->count; i += 2)
        if (pairs->at[i]->kind != PICKLE_STRING || !has_prefix(pairs->at[i]->text, skip, prefix))
            return false;
    return pairs->count > 0;
}

/* How many bytes of every name are wrappers' prefixes: there may be several, one inside the other. */
static size_t common_prefix(const struct pickle_items *pairs)
{
    size_t skip = 0, found;
    do {
        found = 0;
        for (size_t i = 0; i < sizeof PREFIXES / sizeof PREFIXES[0] && !found; i++)
            if (all_have_prefix(pairs, skip, PREFIXES[i]))
                found = strlen(PREFIXES[i]);
        skip += found;
    } while (found && skip < KEY_BYTES_MAX);
    return skip;
}

static enum status refuse_key(const struct reading *reading, const struct pickle_value *key)
{
    char what[160];
    if (key->kind == PICKLE_STRING)
        error_set(reading->err, STATUS_INVALID, "a name has more than %d bytes, control characters or broken UTF-8",
                  KEY_BYTES_MAX);
    else
        error_set(reading->err, STATUS_INVALID, "a key of the state dict is %s, a string was expected",
                  pickle_describe(key, what, sizeof what));
    return error_hint(reading->err, "%s", SAVE_HINT);
}

/* What a module adds to its state dict by get_extra_state(): no tensor, and nothing for the layers that are served. */
static bool is_extra_state(struct pickle_text name)
{
    static const char suffix[] = "_extra_state";
    return name.len >= strlen(suffix) && memcmp(name.at + name.len - strlen(suffix), suffix, strlen(suffix)) == 0;
}

static enum status add_pair(struct reading *reading, const struct pickle_value *key,
                            const struct pickle_value *value, size_t skip)
{
    char name[KEY_BYTES_MAX + 1];
    if (key->kind != PICKLE_STRING || key->text.len > KEY_BYTES_MAX ||
        !utf8_is_printable(key->text.at, key->text.len))
        return refuse_key(reading, key);
    if (!torch_is_tensor(value) && is_extra_state(key->text))
        return STATUS_OK;
    snprintf(name, sizeof name, "%.*s", (int)(key->text.len - skip), key->text.at + skip);
    return torch_tensors_add(reading->tensors, name, value, reading->err);
}

static enum status read_state_dict(struct reading *reading, const struct pickle_items *pairs)
{
    if (pairs->count > 2 * (size_t)TORCH_TENSORS_MAX) {
        error_set(reading->err, STATUS_TOO_LARGE, "the state dict has %zu entries, at most %d are read",
                  pairs->count / 2, TORCH_TENSORS_MAX);
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    size_t skip = common_prefix(pairs);
    for (size_t i = 0; i < pairs->count; i += 2) {
        enum status status = add_pair(reading, pairs->at[i], pairs->at[i + 1], skip);
        if (status != STATUS_OK)
            return status;
    }
    return skip == 0 ? STATUS_OK
                     : note(reading, "the prefix \"%.*s\" was taken off every parameter's name", (int)skip,
                            pairs->at[0]->text.at);
}

/* ---- A module ---- */

static enum status read_module(struct reading *reading, const struct pickle_value *value)
{
    char *assumed = NULL;
    enum status status = torch_module_read(value, reading->tensors, &reading->file.structure, &assumed,
                                           reading->err);
    if (status == STATUS_OK && assumed)
        status = note(reading, "%s", assumed);
    free(assumed);
    return status;
}

/* ---- The whole ---- */

static bool is_state_dict(const struct pickle_value *value)
{
    const struct pickle_items *pairs = pickle_pairs(value);
    for (size_t i = 0; pairs && i < pairs->count; i += 2)
        if (torch_is_tensor(pairs->at[i + 1]))
            return true;
    return false;
}

/* The entry of a checkpoint that is a state dict or a module; NULL if there is none. */
static const struct pickle_value *find_checkpoint(const struct pickle_items *pairs, const char **ret_key)
{
    for (size_t i = 0; i < sizeof CHECKPOINT_KEYS / sizeof CHECKPOINT_KEYS[0]; i++) {
        const struct pickle_value *value = pickle_get(pairs, CHECKPOINT_KEYS[i]);
        *ret_key = CHECKPOINT_KEYS[i];
        if (value && (is_state_dict(value) || torch_is_module(value)))
            return value;
    }
    return NULL;
}

/* Names an entry that looks like a state dict, if one stands under a key that is not looked for. Only the first entries are
 * tried: all may be one long dict. */
static enum status refuse_dict(const struct reading *reading, const struct pickle_items *pairs)
{
    error_set(
        reading->err, STATUS_UNSUPPORTED,
        "the file holds a dict without tensors, and none under \"state_dict\", \"model_state_dict\" or \"model\"");
    for (size_t i = 0; i < pairs->count && i < 2 * ENTRIES_LOOKED_AT_MAX; i += 2) {
        struct pickle_text key = pairs->at[i]->text;
        if (pairs->at[i]->kind == PICKLE_STRING && key.len <= SHOWN_MAX && utf8_is_printable(key.at, key.len) &&
            is_state_dict(pairs->at[i + 1]))
            return error_hint(reading->err,
                              "there is one under \"%.*s\"; in Python: torch.save(torch.load(\"model.pth\", "
                              "map_location=\"cpu\")[\"%.*s\"], \"model.pth\")",
                              (int)key.len, key.at, (int)key.len, key.at);
    }
    return error_hint(reading->err, "%s", SAVE_HINT);
}

static enum status refuse_root(const struct reading *reading, const struct pickle_value *root)
{
    char what[200];
    error_set(reading->err, STATUS_UNSUPPORTED, "the file holds %s, a state dict or a module was expected",
              pickle_describe(root, what, sizeof what));
    return error_hint(reading->err, "%s", SAVE_HINT);
}

static enum status read_root(struct reading *reading, const struct pickle_value *root)
{
    const char *key = NULL;
    if (torch_is_module(root))
        return read_module(reading, root);
    const struct pickle_items *pairs = pickle_pairs(root);
    if (!pairs)
        return refuse_root(reading, root);
    const struct pickle_value *value = find_checkpoint(pairs, &key);
    if (!value)
        return is_state_dict(root) || pairs->count == 0 ? read_state_dict(reading, pairs)
                                                        : refuse_dict(reading, pairs);
    enum status status = note(reading, "of this checkpoint \"%s\" is read, and all else in it skipped", key);
    if (status != STATUS_OK)
        return status;
    return torch_is_module(value) ? read_module(reading, value) : read_state_dict(reading, pickle_pairs(value));
}

static enum status read_archive(struct reading *reading)
{
    reading->tensors = torch_tensors_create(reading->archive);
    if (!reading->tensors)
        return refuse_memory(reading);
    enum status status = read_root(reading, reading->archive->pickle->root);
    if (status == STATUS_OK)
        status = torch_tensors_load(reading->tensors, &reading->file.state_dict, reading->err);
    torch_tensors_free(reading->tensors);
    return status;
}

static enum status read_source(const struct byte_source *source, struct torch_file *ret, struct error *err)
{
    struct reading reading = {.err = err};
    enum status status = torch_archive_open(source, &reading.archive, err);
    if (status != STATUS_OK)
        return status;
    status = read_archive(&reading);
    torch_archive_free(reading.archive);
    if (status == STATUS_OK)
        *ret = reading.file;
    else
        torch_file_release(&reading.file);
    return status;
}

enum status torch_file_parse(const void *data, size_t len, struct torch_file *ret, struct error *err)
{
    struct byte_source source = byte_source_of_memory(data, len);
    return read_source(&source, ret, err);
}

enum status torch_file_read(const char *path, struct torch_file *ret, struct error *err)
{
    struct file file;
    enum status status = file_open(path, FILE_BYTES_MAX, &file, err);
    if (status != STATUS_OK)
        return status;
    struct byte_source source = byte_source_of_file(&file);
    status = read_source(&source, ret, err);
    file_close(&file);
    return status == STATUS_OK ? status : file_error(path, status, err);
}

void torch_file_release(struct torch_file *file)
{
    state_dict_free(file->state_dict);
    module_free(file->structure);
    free(file->note);
    *file = (struct torch_file){.note = NULL};
}
