#include "engine/state_dict.h"

#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

static int compare_names(const void *a, const void *b)
{
    const struct tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

enum status state_dict_index(struct state_dict *dict, struct error *err)
{
    const struct tensor **by_name = calloc(dict->count ? dict->count : 1, sizeof *by_name);
    if (!by_name)
        return error_set(err, STATUS_NO_MEMORY, "no memory for an index of %zu tensors", dict->count);
    for (size_t i = 0; i < dict->count; i++)
        by_name[i] = &dict->tensors[i];
    qsort(by_name, dict->count, sizeof *by_name, compare_names);
    for (size_t i = 1; i < dict->count; i++) {
        const char *name = by_name[i]->name;
        if (strcmp(by_name[i - 1]->name, name) == 0) {
            free(by_name);
            error_set(err, STATUS_INVALID, "two tensors are named \"%.*s\"", utf8_cut(name, strlen(name), 160),
                      name);
            return error_hint(err, "write the file anew: a state dict has each name once");
        }
    }
    free(dict->by_name);
    dict->by_name = by_name;
    return STATUS_OK;
}

static int compare_name(const void *key, const void *member)
{
    const struct tensor *const *tensor = member;
    return strcmp(key, (*tensor)->name);
}

const struct tensor *state_dict_find(const struct state_dict *dict, const char *name)
{
    const struct tensor *const *found = bsearch(name, dict->by_name, dict->count, sizeof *dict->by_name,
                                                compare_name);
    return found ? *found : NULL;
}

enum status state_dict_append(struct state_dict *dict, struct state_dict *part, struct error *err)
{
    size_t count = dict->count + part->count;
    struct tensor *tensors = realloc(dict->tensors, (count ? count : 1) * sizeof *tensors);
    if (!tensors)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu tensors", count);
    if (part->count > 0)
        memcpy(tensors + dict->count, part->tensors, part->count * sizeof *tensors);
    dict->tensors = tensors;
    dict->count = count;
    part->count = 0;
    struct state_dict **end = &part->part;
    while (*end)
        end = &(*end)->part;
    *end = dict->part;
    dict->part = part;
    return STATUS_OK;
}

static void free_one(struct state_dict *dict)
{
    for (size_t i = 0; dict->tensors && i < dict->count; i++)
        free(dict->tensors[i].name);
    free(dict->tensors);
    free(dict->by_name);
    free(dict->storage);
    free(dict);
}

void state_dict_free(struct state_dict *dict)
{
    while (dict) {
        struct state_dict *part = dict->part;
        free_one(dict);
        dict = part;
    }
}
