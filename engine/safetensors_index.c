#include "engine/safetensors_index.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/json_document.h"
#include "engine/safetensors.h"
#include "engine/utf8.h"

enum { SHARD_NAME_BYTES_MAX = 255, SHOWN_MAX = 120 };

static const size_t INDEX_BYTES_MAX = 64u << 20;

static const char SAVE_HINT[] =
    "copy all files of the model again, or make them one: save_file({k: v for f in files for k, v in "
    "load_file(f).items()}, \"model.safetensors\")";

/* A line of the weight_map. */
struct place {
    const char *tensor, *shard; /* inside the JSON */
};

/* An index that is being read. */
struct reading {
    const char *folder;   /* ends in a slash, or is empty */
    struct place *places; /* sorted by tensor */
    size_t count;
    const char *shards[SAFETENSORS_SHARDS_MAX];
    size_t shard_count;
    struct state_dict *dict;
    struct error *err;
};

static enum status refuse_index(const struct reading *reading, const char *what)
{
    error_set(reading->err, STATUS_INVALID, "%s", what);
    return error_hint(reading->err, "%s", SAVE_HINT);
}

/* ---- The weight_map ---- */

/* A file's bare name: nothing that leads out of the folder. */
static bool is_file_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= SHARD_NAME_BYTES_MAX && utf8_is_printable(name, len) && !strchr(name, '/') &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static enum status add_shard(struct reading *reading, const char *name)
{
    for (size_t i = reading->shard_count; i > 0; i--)
        if (strcmp(reading->shards[i - 1], name) == 0)
            return STATUS_OK;
    if (reading->shard_count == SAFETENSORS_SHARDS_MAX) {
        error_set(reading->err, STATUS_TOO_LARGE, "its weight_map names more than the %d files that are read",
                  SAFETENSORS_SHARDS_MAX);
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    reading->shards[reading->shard_count++] = name;
    return STATUS_OK;
}

static enum status add_place(struct reading *reading, const cJSON *item)
{
    if (!cJSON_IsString(item))
        return refuse_index(reading, "its weight_map must be an object of strings: tensor to file");
    if (!is_file_name(item->valuestring)) {
        const char *name = item->valuestring;
        error_set(reading->err, STATUS_INVALID,
                  "its weight_map names \"%.*s\", a file in the same folder was expected",
                  utf8_cut(name, strlen(name), SHOWN_MAX), name);
        return error_hint(reading->err, "put the files beside the index, and their names without a path into it");
    }
    reading->places[reading->count++] = (struct place){item->string, item->valuestring};
    return add_shard(reading, item->valuestring);
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static enum status read_map(struct reading *reading, const cJSON *map)
{
    size_t count = 0;
    for (const cJSON *item = map->child; item; item = item->next)
        count++;
    reading->places = calloc(count + 1, sizeof *reading->places);
    if (!reading->places)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for a weight_map of %zu tensors", count);
    for (const cJSON *item = map->child; item; item = item->next) {
        enum status status = add_place(reading, item);
        if (status != STATUS_OK)
            return status;
    }
    qsort(reading->places, count, sizeof *reading->places, compare_places);
    for (size_t i = 1; i < count; i++)
        if (compare_places(&reading->places[i - 1], &reading->places[i]) == 0)
            return refuse_index(reading, "its weight_map names a tensor twice");
    return STATUS_OK;
}

/* ---- The files ---- */

static enum status refuse_tensor(const struct reading *reading, const char *tensor, const char *shard,
                                 const char *what)
{
    error_set(reading->err, STATUS_INVALID, "tensor \"%.*s\" %s %s", utf8_cut(tensor, strlen(tensor), SHOWN_MAX),
              tensor, what, shard);
    return error_hint(reading->err, "%s", SAVE_HINT);
}

/* Every tensor of the file is one that the map places there. */
static enum status check_shard(const struct reading *reading, const struct state_dict *shard, const char *name)
{
    for (size_t i = 0; i < shard->count; i++) {
        struct place wanted = {shard->tensors[i].name, name};
        const struct place *place = bsearch(&wanted, reading->places, reading->count, sizeof wanted,
                                            compare_places);
        if (!place || strcmp(place->shard, name) != 0)
            return refuse_tensor(reading, wanted.tensor, name, "is not where the weight_map says, but in");
    }
    return STATUS_OK;
}

static enum status read_shard(struct reading *reading, const char *name)
{
    char *path;
    struct state_dict *shard = NULL;
    if (asprintf(&path, "%s%s", reading->folder, name) < 0)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for a path");
    enum status status = safetensors_read(path, &shard, reading->err);
    free(path);
    if (status != STATUS_OK)
        return status;
    status = check_shard(reading, shard, name);
    if (status == STATUS_OK)
        status = state_dict_append(reading->dict, shard, reading->err);
    if (status != STATUS_OK)
        state_dict_free(shard);
    return status;
}

/* Every tensor of the map is there. That none is elsewhere was seen file by file. */
static enum status check_all_read(const struct reading *reading)
{
    for (size_t i = 0; i < reading->count; i++)
        if (!state_dict_find(reading->dict, reading->places[i].tensor))
            return refuse_tensor(reading, reading->places[i].tensor, reading->places[i].shard, "is missing in");
    return STATUS_OK;
}

static enum status read_shards(struct reading *reading)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < reading->shard_count; i++)
        status = read_shard(reading, reading->shards[i]);
    if (status == STATUS_OK)
        status = state_dict_index(reading->dict, reading->err);
    return status == STATUS_OK ? check_all_read(reading) : status;
}

/* ---- The whole ---- */

static enum status read_index(struct reading *reading, const cJSON *index)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map");
    if (!cJSON_IsObject(map))
        return refuse_index(reading, "it has no weight_map, an object of tensor to file");
    reading->dict = calloc(1, sizeof *reading->dict);
    if (!reading->dict)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for a state dict");
    enum status status = read_map(reading, map);
    return status == STATUS_OK ? read_shards(reading) : status;
}

static enum status read_text(const char *folder, const char *text, size_t len, struct state_dict **ret,
                             struct error *err)
{
    struct reading reading = {.folder = folder, .err = err};
    cJSON *index = NULL;
    enum status status = json_document_parse(text, len, &index, err);
    if (status == STATUS_OK)
        status = read_index(&reading, index);
    cJSON_Delete(index);
    free(reading.places);
    if (status == STATUS_OK)
        *ret = reading.dict;
    else
        state_dict_free(reading.dict);
    return status;
}

enum status safetensors_index_read(const char *path, struct state_dict **ret, struct error *err)
{
    char *text = NULL;
    size_t len;
    enum status status = file_read(path, INDEX_BYTES_MAX, &text, &len, err);
    if (status != STATUS_OK)
        return status;
    const char *slash = strrchr(path, '/');
    char *folder = strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
    status = folder ? read_text(folder, text, len, ret, err)
                    : error_set(err, STATUS_NO_MEMORY, "no memory for a path");
    free(folder);
    free(text);
    return status == STATUS_OK ? status : file_error(path, status, err);
}
