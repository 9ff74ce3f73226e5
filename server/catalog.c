#include "server/catalog.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum {
    LIST_MAX = 256, /* bytes of names in an error */
    SHOWN_MAX = 64,
};

struct version {
    char *number;
    char *reason; /* why it cannot be served, or of one that is why its newer files are not; or NULL */
    struct served *served;
};

struct entry {
    char *name;
    char *reason;             /* why it has no version, or not those that are wanted; or NULL */
    struct version *versions; /* newest first */
    size_t version_count;
};

/* One reader's use of what is served, under its lock. */
struct catalog_uses {
    _Alignas(64) size_t held;
    _Atomic uint64_t requests; /* read by others too */
};

struct catalog_reader {
    _Alignas(64) pthread_mutex_t lock;
    struct catalog *catalog;
    size_t index;
};

struct catalog {
    struct catalog_options options;
    struct catalog_reader *readers;
    size_t taken_readers;

    /* Read under any reader's lock, changed under all of them. */
    struct entry *entries; /* by name */
    size_t entry_count;

    struct served *retired; /* what has left; the changing thread's own */
};

/* ---- locks ---- */

static void lock_all(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->options.readers; i++)
        pthread_mutex_lock(&catalog->readers[i].lock);
}

static void unlock_all(struct catalog *catalog)
{
    for (size_t i = catalog->options.readers; i-- > 0;)
        pthread_mutex_unlock(&catalog->readers[i].lock);
}

/* ---- finding; under a lock ---- */

static int compare(const char *text, size_t len, const char *with)
{
    size_t with_len = strlen(with);
    int order = memcmp(text, with, len < with_len ? len : with_len);
    return order || len == with_len ? order : len < with_len ? -1 : 1;
}

/* The place of the name: of its entry, or where one would be entered. */
static size_t place_of(const struct catalog *catalog, const char *name, size_t len)
{
    size_t low = 0, high = catalog->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(name, len, catalog->entries[middle].name) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *find_entry(const struct catalog *catalog, const char *name, size_t len)
{
    size_t place = place_of(catalog, name, len);
    struct entry *entry = &catalog->entries[place];
    return place < catalog->entry_count && compare(name, len, entry->name) == 0 ? entry : NULL;
}

static struct entry *default_entry(const struct catalog *catalog)
{
    const char *name = catalog->options.default_model;
    if (name)
        return find_entry(catalog, name, strlen(name));
    return catalog->entry_count == 1 ? &catalog->entries[0] : NULL;
}

static struct version *find_version(const struct entry *entry, const char *number, size_t len)
{
    for (size_t i = 0; i < entry->version_count; i++)
        if (compare(number, len, entry->versions[i].number) == 0)
            return &entry->versions[i];
    return NULL;
}

/* The newest that can be served, or else the newest, or NULL. */
static struct version *best_version(const struct entry *entry)
{
    for (size_t i = 0; i < entry->version_count; i++)
        if (entry->versions[i].served)
            return &entry->versions[i];
    return entry->version_count ? &entry->versions[0] : NULL;
}

/* ---- refusals ---- */

/* "a, b, c, ..." */
static void add_name(char list[LIST_MAX], const char *name)
{
    size_t len = strlen(list), shown = utf8_cut(name, strlen(name), SHOWN_MAX);
    if (len + shown + 8 < LIST_MAX)
        snprintf(list + len, LIST_MAX - len, "%s%.*s", len ? ", " : "", (int)shown, name);
    else if (len < LIST_MAX - 6 && strcmp(list + len - 3, "...") != 0)
        strcat(list, ", ...");
}

static void list_models(const struct catalog *catalog, char list[LIST_MAX])
{
    *list = '\0';
    for (size_t i = 0; i < catalog->entry_count; i++)
        add_name(list, catalog->entries[i].name);
}

static enum status refuse_name(const struct catalog *catalog, const struct catalog_key *key, struct error *err)
{
    char list[LIST_MAX];
    list_models(catalog, list);
    if (!catalog->entry_count)
        error_set(err, STATUS_NOT_FOUND, "there is no model here");
    else if (key->name)
        error_set(err, STATUS_NOT_FOUND, "there is no model %.*s, but %s",
                  (int)utf8_cut(key->name, key->name_len, SHOWN_MAX), key->name, list);
    else if (catalog->options.default_model)
        error_set(err, STATUS_NOT_FOUND, "the default model %.64s is not here, but %s",
                  catalog->options.default_model, list);
    else
        error_set(err, STATUS_NOT_FOUND, "%zu models are served (%s), and none of them is the default",
                  catalog->entry_count, list);
    return error_hint(err, "GET /models lists them; send predictions to /models/NAME/predict, or start mlpd with "
                           "--default-model NAME");
}

static enum status refuse_version(const struct entry *entry, const struct catalog_key *key, struct error *err)
{
    char list[LIST_MAX] = "";
    for (size_t i = 0; i < entry->version_count; i++)
        add_name(list, entry->versions[i].number);
    error_set(err, STATUS_NOT_FOUND, "the model %.64s has no version %.*s, but %s", entry->name,
              (int)utf8_cut(key->version, key->version_len, SHOWN_MAX), key->version, *list ? list : "none at all");
    return error_hint(err, "leave /versions/... out for the newest; GET /models lists what is served");
}

static enum status refuse_state(const struct entry *entry, const struct version *version, struct error *err)
{
    const char *reason = version ? version->reason : entry->reason;
    if (reason)
        error_set(err, STATUS_OVERLOADED, "the model %.64s%s%.32s cannot be served: %s", entry->name,
                  version ? "/" : "", version ? version->number : "", reason);
    else
        error_set(err, STATUS_OVERLOADED, "the model %.64s is being loaded", entry->name);
    return error_hint(err, "GET /models says more; send it again in a moment");
}

/* ---- readers ---- */

struct catalog_reader *catalog_take_reader(struct catalog *catalog)
{
    assert(catalog->taken_readers < catalog->options.readers);
    return &catalog->readers[catalog->taken_readers++];
}

static enum status find(const struct catalog *catalog, const struct catalog_key *key, struct served **ret,
                        struct error *err)
{
    const struct entry *entry = key->name ? find_entry(catalog, key->name, key->name_len) : default_entry(catalog);
    if (!entry)
        return refuse_name(catalog, key, err);
    const struct version *version = key->version ? find_version(entry, key->version, key->version_len)
                                                 : best_version(entry);
    if (!version && key->version)
        return refuse_version(entry, key, err);
    if (!version || !version->served)
        return refuse_state(entry, version, err);
    *ret = version->served;
    return STATUS_OK;
}

enum status catalog_acquire(struct catalog_reader *reader, const struct catalog_key *key, struct served **ret,
                            struct error *err)
{
    pthread_mutex_lock(&reader->lock);
    enum status status = find(reader->catalog, key, ret, err);
    if (status == STATUS_OK) {
        struct catalog_uses *uses = &(*ret)->uses[reader->index];
        uses->held++;
        uint64_t requests = atomic_load_explicit(&uses->requests, memory_order_relaxed);
        atomic_store_explicit(&uses->requests, requests + 1, memory_order_relaxed); /* nobody else writes */
    }
    pthread_mutex_unlock(&reader->lock);
    return status;
}

void catalog_release(struct catalog_reader *reader, struct served *served)
{
    pthread_mutex_lock(&reader->lock);
    served->uses[reader->index].held--;
    pthread_mutex_unlock(&reader->lock);
}

/* ---- what there is, as JSON ---- */

static void append_reason(const char *reason, struct buffer *out)
{
    buffer_append_str(out, ",\"reason\":");
    if (reason)
        buffer_append_json_string(out, reason);
    else
        buffer_append_str(out, "null");
}

/* Other readers count meanwhile. */
static unsigned long long requests_of(const struct catalog *catalog, const struct served *served)
{
    unsigned long long requests = 0;
    for (size_t i = 0; i < catalog->options.readers; i++)
        requests += atomic_load_explicit(&served->uses[i].requests, memory_order_relaxed);
    return requests;
}

static void describe_version(const struct catalog *catalog, const struct version *version, struct buffer *out)
{
    const struct served *served = version->served;
    const char *state = served ? "READY" : version->reason ? "UNAVAILABLE" : "LOADING";
    buffer_append_str(out, "{\"version\":");
    buffer_append_json_string(out, version->number);
    buffer_append_format(out, ",\"state\":\"%s\"", state);
    append_reason(version->reason, out);
    if (served)
        buffer_append_format(out, ",\"parameters\":%zu,\"bytes\":%zu,\"requests\":%llu",
                             served->model->parameter_elements, served->model->parameter_elements * sizeof(float),
                             requests_of(catalog, served));
    buffer_append_char(out, '}');
}

static void describe_entry(const struct catalog *catalog, const struct entry *entry, struct buffer *out)
{
    buffer_append_str(out, "{\"name\":");
    buffer_append_json_string(out, entry->name);
    buffer_append_format(out, ",\"default\":%s", entry == default_entry(catalog) ? "true" : "false");
    append_reason(entry->reason, out);
    buffer_append_str(out, ",\"versions\":[");
    for (size_t i = 0; i < entry->version_count; i++) {
        if (i)
            buffer_append_char(out, ',');
        describe_version(catalog, &entry->versions[i], out);
    }
    buffer_append_str(out, "]}");
}

void catalog_describe(struct catalog_reader *reader, struct buffer *out)
{
    const struct catalog *catalog = reader->catalog;
    pthread_mutex_lock(&reader->lock);
    buffer_append_str(out, "{\"models\":[");
    for (size_t i = 0; i < catalog->entry_count; i++) {
        if (i)
            buffer_append_char(out, ',');
        describe_entry(catalog, &catalog->entries[i], out);
    }
    pthread_mutex_unlock(&reader->lock);
    buffer_append_str(out, "]}\n");
}

bool catalog_describe_model(struct catalog_reader *reader, const char *name, size_t name_len, struct buffer *out)
{
    pthread_mutex_lock(&reader->lock);
    const struct entry *entry = find_entry(reader->catalog, name, name_len);
    if (entry)
        describe_entry(reader->catalog, entry, out);
    pthread_mutex_unlock(&reader->lock);
    if (entry)
        buffer_append_char(out, '\n');
    return entry != NULL;
}

/* ---- changes ---- */

/* Makes room at `place` in an array of `count` items of `size` bytes. */
static void *make_room(void *items, size_t count, size_t size, size_t place)
{
    char *grown = realloc(items, (count + 1) * size);
    if (!grown)
        return NULL;
    memmove(grown + (place + 1) * size, grown + place * size, (count - place) * size);
    memset(grown + place * size, 0, size);
    return grown;
}

static struct entry *enter_model(struct catalog *catalog, const char *name)
{
    struct entry *found = find_entry(catalog, name, strlen(name));
    if (found)
        return found;
    size_t place = place_of(catalog, name, strlen(name));
    char *copy = strdup(name);
    struct entry *entries = copy ? make_room(catalog->entries, catalog->entry_count, sizeof *entries, place) : NULL;
    if (!entries) {
        free(copy);
        return NULL;
    }
    entries[place].name = copy;
    catalog->entries = entries;
    catalog->entry_count++;
    return &entries[place];
}

/* Numbers without leading zeros: the longer is the greater. */
static bool is_newer(const char *number, const char *than)
{
    size_t a = strlen(number), b = strlen(than);
    return a != b ? a > b : strcmp(number, than) > 0;
}

static struct version *enter_version(struct entry *entry, const char *number)
{
    struct version *found = find_version(entry, number, strlen(number));
    if (found)
        return found;
    size_t place = 0;
    while (place < entry->version_count && is_newer(entry->versions[place].number, number))
        place++;
    char *copy = strdup(number);
    struct version *versions = copy ? make_room(entry->versions, entry->version_count, sizeof *versions, place)
                                    : NULL;
    if (!versions) {
        free(copy);
        return NULL;
    }
    versions[place].number = copy;
    entry->versions = versions;
    entry->version_count++;
    return &versions[place];
}

/* What is served of the version leaves, to be freed when nobody holds it any more. */
static void retire(struct catalog *catalog, struct version *version)
{
    struct served *served = version->served;
    if (!served)
        return;
    version->served = NULL;
    served->retired_next = catalog->retired;
    catalog->retired = served;
}

static void drop_version(struct catalog *catalog, struct version *version)
{
    retire(catalog, version);
    free(version->number);
    free(version->reason);
}

static bool make_uses(const struct catalog *catalog, struct served *served)
{
    size_t bytes = catalog->options.readers * sizeof *served->uses;
    served->uses = aligned_alloc(_Alignof(struct catalog_uses), bytes);
    if (served->uses)
        memset(served->uses, 0, bytes);
    return served->uses;
}

static void set_reason(char **reason, char *text)
{
    free(*reason);
    *reason = text;
}

/* Under all locks. False without memory. */
static bool put(struct catalog *catalog, const char *name, const char *number, struct served *served, char *reason)
{
    struct entry *entry = enter_model(catalog, name);
    struct version *version = entry && number ? enter_version(entry, number) : NULL;
    if (!entry || (number && !version))
        return false;
    if (!number) {
        set_reason(&entry->reason, reason);
        return true;
    }
    if (served) {
        retire(catalog, version);
        version->served = served;
    }
    set_reason(&version->reason, reason);
    return true;
}

enum status catalog_put(struct catalog *catalog, const char *name, const char *version, struct served *served,
                        const char *reason, struct error *err)
{
    char *copy = reason ? strdup(reason) : NULL;
    bool done = (copy || !reason) && (!served || make_uses(catalog, served));
    if (done) {
        lock_all(catalog);
        done = put(catalog, name, version, served, copy);
        unlock_all(catalog);
    }
    if (done)
        return STATUS_OK;
    free(copy);
    return error_set(err, STATUS_NO_MEMORY, "no memory for the list of models");
}

static void remove_version(struct catalog *catalog, struct entry *entry, struct version *version)
{
    size_t behind = entry->version_count - 1 - (size_t)(version - entry->versions);
    drop_version(catalog, version);
    memmove(version, version + 1, behind * sizeof *version);
    entry->version_count--;
}

static void remove_entry(struct catalog *catalog, struct entry *entry)
{
    size_t behind = catalog->entry_count - 1 - (size_t)(entry - catalog->entries);
    for (size_t i = 0; i < entry->version_count; i++)
        drop_version(catalog, &entry->versions[i]);
    free(entry->versions);
    free(entry->reason);
    free(entry->name);
    memmove(entry, entry + 1, behind * sizeof *entry);
    catalog->entry_count--;
}

void catalog_remove(struct catalog *catalog, const char *name, const char *version)
{
    lock_all(catalog);
    struct entry *entry = find_entry(catalog, name, strlen(name));
    struct version *found = entry && version ? find_version(entry, version, strlen(version)) : NULL;
    if (found)
        remove_version(catalog, entry, found);
    else if (entry && !version)
        remove_entry(catalog, entry);
    unlock_all(catalog);
}

void catalog_withdraw(struct catalog *catalog, const char *name, const char *reason)
{
    lock_all(catalog);
    struct entry *entry = find_entry(catalog, name, strlen(name));
    for (size_t i = 0; entry && i < entry->version_count; i++) {
        retire(catalog, &entry->versions[i]);
        set_reason(&entry->versions[i].reason, strdup(reason));
    }
    unlock_all(catalog);
}

/* It has left, so that whoever does not hold it now never will. */
static bool is_held(struct catalog *catalog, const struct served *served)
{
    bool held = false;
    for (size_t i = 0; i < catalog->options.readers && !held; i++) {
        pthread_mutex_lock(&catalog->readers[i].lock);
        held = served->uses[i].held;
        pthread_mutex_unlock(&catalog->readers[i].lock);
    }
    return held;
}

size_t catalog_collect(struct catalog *catalog)
{
    size_t left = 0;
    struct served **at = &catalog->retired;
    while (*at) {
        struct served *served = *at;
        if (is_held(catalog, served)) {
            left++;
            at = &served->retired_next;
            continue;
        }
        *at = served->retired_next;
        catalog->options.free_served(catalog->options.context, served);
    }
    return left;
}

struct catalog_summary catalog_summarise(struct catalog *catalog)
{
    struct catalog_summary summary = {.models = catalog->entry_count};
    for (size_t i = 0; i < catalog->entry_count; i++) {
        const struct entry *entry = &catalog->entries[i];
        for (size_t v = 0; v < entry->version_count; v++) {
            const struct served *served = entry->versions[v].served;
            if (!served)
                continue;
            summary.ready_versions++;
            summary.parameters += served->model->parameter_elements;
            if (!summary.first)
                summary.first = served;
        }
    }
    return summary;
}

/* ---- life ---- */

enum status catalog_create(const struct catalog_options *options, struct catalog **ret, struct error *err)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    struct catalog_reader *readers = aligned_alloc(_Alignof(struct catalog_reader),
                                                   options->readers * sizeof *readers);
    if (!catalog || !readers) {
        free(catalog);
        free(readers);
        return error_set(err, STATUS_NO_MEMORY, "no memory for the list of models");
    }
    catalog->options = *options;
    catalog->readers = readers;
    for (size_t i = 0; i < options->readers; i++) {
        readers[i] = (struct catalog_reader){.catalog = catalog, .index = i};
        pthread_mutex_init(&readers[i].lock, NULL);
    }
    *ret = catalog;
    return STATUS_OK;
}

void catalog_free(struct catalog *catalog)
{
    if (!catalog)
        return;
    while (catalog->entry_count)
        remove_entry(catalog, &catalog->entries[catalog->entry_count - 1]);
    size_t held = catalog_collect(catalog);
    assert(!held);
    (void)held;
    for (size_t i = 0; i < catalog->options.readers; i++)
        pthread_mutex_destroy(&catalog->readers[i].lock);
    free(catalog->entries);
    free(catalog->readers);
    free(catalog);
}
