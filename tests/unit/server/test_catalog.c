#include "server/catalog.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "tests/unit/unit.h"

enum { READERS = 3 };

static struct catalog *catalog;
static struct catalog_reader *readers[READERS];
static size_t freed;

/* As much of a version as the catalog looks at. */
static struct served *make(const char *name, const char *version)
{
    struct served *served = calloc(1, sizeof *served);
    struct model *model = calloc(1, sizeof *model);
    ck_assert(served && model);
    *model = (struct model){.name = strdup(name), .version = strdup(version), .parameter_elements = 5};
    served->model = model;
    return served;
}

static void free_served(void *context, struct served *served)
{
    ck_assert_ptr_eq(context, &freed);
    freed++;
    memset(served->model->name, 'x', strlen(served->model->name)); /* whoever still reads it sees that */
    served_free(served);
}

static void set_up(const char *default_model)
{
    const struct catalog_options options = {
        .readers = READERS, .default_model = default_model, .free_served = free_served, .context = &freed};
    freed = 0;
    ck_assert_int_eq(catalog_create(&options, &catalog, NULL), STATUS_OK);
    for (size_t i = 0; i < READERS; i++)
        readers[i] = catalog_take_reader(catalog);
}

static struct served *put(const char *name, const char *version)
{
    struct served *served = make(name, version);
    ck_assert_int_eq(catalog_put(catalog, name, version, served, NULL, NULL), STATUS_OK);
    return served;
}

static enum status acquire(size_t reader, const char *name, const char *version, struct served **ret,
                           struct error *err)
{
    const struct catalog_key key = {name, name ? strlen(name) : 0, version, version ? strlen(version) : 0};
    return catalog_acquire(readers[reader], &key, ret, err);
}

static void assert_found(const char *name, const char *version, const struct served *expected)
{
    struct served *served = NULL;
    struct error err = {0};
    ck_assert_msg(acquire(0, name, version, &served, &err) == STATUS_OK, "%s", err.message);
    ck_assert_ptr_eq(served, expected);
    catalog_release(readers[0], served);
}

static void assert_refused(const char *name, const char *version, enum status status, const char *words)
{
    struct served *served = NULL;
    struct error err = {0};
    ck_assert_int_eq(acquire(0, name, version, &served, &err), status);
    ck_assert_msg(strstr(err.message, words) != NULL, "\"%s\" has no \"%s\"", err.message, words);
    ck_assert_str_ne(err.hint, "");
}

START_TEST(catalog_finds_models_by_name_and_versions_by_number)
{
    set_up(NULL);
    struct served *b9 = put("b", "9"), *a1 = put("a", "1"), *c1 = put("c/d", "1"), *b10 = put("b", "10");
    assert_found("a", NULL, a1);
    assert_found("b", NULL, b10);
    assert_found("b", "9", b9);
    assert_found("b", "10", b10);
    assert_found("c/d", "1", c1);
    assert_refused("ab", NULL, STATUS_NOT_FOUND, "there is no model ab, but a, b, c/d");
    assert_refused("", NULL, STATUS_NOT_FOUND, "there is no model , but");
    assert_refused("b", "1", STATUS_NOT_FOUND, "the model b has no version 1, but 10, 9");
    catalog_free(catalog);
    ck_assert_uint_eq(freed, 4);
}
END_TEST

START_TEST(catalog_takes_names_that_do_not_end)
{
    struct served *served;
    set_up(NULL);
    struct served *a1 = put("a", "1");
    const struct catalog_key key = {"abc", 1, "123", 1};
    ck_assert_int_eq(catalog_acquire(readers[1], &key, &served, NULL), STATUS_OK);
    ck_assert_ptr_eq(served, a1);
    catalog_release(readers[1], served);
    catalog_free(catalog);
}
END_TEST

START_TEST(catalog_takes_the_only_model_for_the_default_or_the_one_that_was_named)
{
    set_up(NULL);
    assert_refused(NULL, NULL, STATUS_NOT_FOUND, "there is no model here");
    struct served *a = put("a", "1");
    assert_found(NULL, NULL, a);
    put("b", "1");
    assert_refused(NULL, NULL, STATUS_NOT_FOUND, "2 models are served (a, b), and none of them is the default");
    catalog_free(catalog);
    set_up("b");
    put("a", "1");
    assert_refused(NULL, NULL, STATUS_NOT_FOUND, "the default model b is not here, but a");
    assert_found(NULL, NULL, put("b", "1"));
    catalog_free(catalog);
}
END_TEST

START_TEST(catalog_serves_the_newest_version_that_can_be)
{
    set_up(NULL);
    ck_assert_int_eq(catalog_put(catalog, "a", "1", NULL, NULL, NULL), STATUS_OK);
    assert_refused("a", NULL, STATUS_OVERLOADED, "the model a is being loaded");
    struct served *one = put("a", "1");
    ck_assert_int_eq(catalog_put(catalog, "a", "2", NULL, "it is broken", NULL), STATUS_OK);
    assert_found("a", NULL, one);
    assert_refused("a", "2", STATUS_OVERLOADED, "the model a/2 cannot be served: it is broken");
    assert_found("a", NULL, put("a", "2"));
    ck_assert_int_eq(catalog_put(catalog, "b", NULL, NULL, "it has no version", NULL), STATUS_OK);
    assert_refused("b", NULL, STATUS_OVERLOADED, "the model b cannot be served: it has no version");
    catalog_free(catalog);
}
END_TEST

START_TEST(catalog_frees_what_left_when_nobody_holds_it_any_more)
{
    struct served *held[READERS];
    set_up(NULL);
    struct served *old = put("a", "1");
    for (size_t i = 0; i < READERS; i++)
        ck_assert_int_eq(acquire(i, "a", NULL, &held[i], NULL), STATUS_OK);
    struct served *new = put("a", "1");
    assert_found("a", "1", new);
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_uint_eq(catalog_collect(catalog), 1);
        ck_assert_uint_eq(freed, 0);
        ck_assert_str_eq(old->model->name, "a");
        catalog_release(readers[i], held[i]);
    }
    ck_assert_uint_eq(catalog_collect(catalog), 0);
    ck_assert_uint_eq(freed, 1);
    catalog_free(catalog);
    ck_assert_uint_eq(freed, 2);
}
END_TEST

START_TEST(catalog_takes_versions_and_models_out)
{
    set_up(NULL);
    struct served *one = put("a", "1");
    put("a", "2");
    put("b", "1");
    catalog_remove(catalog, "a", "2");
    assert_found("a", NULL, one);
    catalog_remove(catalog, "b", NULL);
    assert_refused("b", NULL, STATUS_NOT_FOUND, "there is no model b, but a");
    catalog_remove(catalog, "b", NULL); /* what is not there need not be */
    catalog_remove(catalog, "a", "7");
    ck_assert_uint_eq(catalog_collect(catalog), 0);
    ck_assert_uint_eq(freed, 2);
    catalog_withdraw(catalog, "a", "nobody wants it");
    assert_refused("a", NULL, STATUS_OVERLOADED, "nobody wants it");
    catalog_free(catalog);
}
END_TEST

START_TEST(catalog_describes_what_there_is)
{
    struct served *served;
    struct buffer out = {0};
    set_up(NULL);
    put("a \"b\"", "1");
    ck_assert_int_eq(catalog_put(catalog, "a \"b\"", "2", NULL, "why", NULL), STATUS_OK);
    ck_assert_int_eq(catalog_put(catalog, "a \"b\"", "3", NULL, NULL, NULL), STATUS_OK);
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_int_eq(acquire(i, NULL, NULL, &served, NULL), STATUS_OK);
        catalog_release(readers[i], served);
    }
    catalog_describe(readers[0], &out);
    ck_assert_str_eq(out.data,
                     "{\"models\":[{\"name\":\"a \\\"b\\\"\",\"default\":true,\"reason\":null,\"versions\":["
                     "{\"version\":\"3\",\"state\":\"LOADING\",\"reason\":null},"
                     "{\"version\":\"2\",\"state\":\"UNAVAILABLE\",\"reason\":\"why\"},"
                     "{\"version\":\"1\",\"state\":\"READY\",\"reason\":null,\"parameters\":5,\"bytes\":20,"
                     "\"requests\":3}]}]}\n");
    buffer_free(&out);
    ck_assert(!catalog_describe_model(readers[0], "b", 1, &out));
    ck_assert(catalog_describe_model(readers[0], "a \"b\"xyz", 5, &out));
    cJSON *json = cJSON_Parse(out.data);
    ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "versions")), 3);
    cJSON_Delete(json);
    buffer_free(&out);
    catalog_free(catalog);
}
END_TEST

/* ---- many threads: the sanitizers see what is used after it was freed ---- */

static atomic_bool stopped;
static atomic_size_t acquired;

static void *read_on(void *reader)
{
    const struct catalog_key key = {.name = "a", .name_len = 1};
    struct served *served;
    while (!atomic_load(&stopped)) {
        ck_assert_int_eq(catalog_acquire(reader, &key, &served, NULL), STATUS_OK);
        ck_assert_str_eq(served->model->name, "a");
        atomic_fetch_add(&acquired, 1);
        catalog_release(reader, served);
    }
    return NULL;
}

START_TEST(catalog_lets_readers_go_on_while_versions_are_swapped)
{
    enum { SWAPS = 500 };
    pthread_t threads[2 * READERS]; /* a loop, and a thread that decodes for it */
    set_up(NULL);
    put("a", "1");
    for (size_t i = 0; i < 2 * READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_on, readers[i % READERS]), 0);
    for (size_t i = 0; i < SWAPS || atomic_load(&acquired) < SWAPS; i++) {
        char version[24];
        snprintf(version, sizeof version, "%zu", i + 2);
        put("a", version);
        snprintf(version, sizeof version, "%zu", i + 1);
        catalog_remove(catalog, "a", version);
        catalog_collect(catalog);
    }
    atomic_store(&stopped, true);
    for (size_t i = 0; i < 2 * READERS; i++)
        pthread_join(threads[i], NULL);
    catalog_free(catalog);
    ck_assert_uint_ge(freed, SWAPS + 1);
}
END_TEST

UNIT_MAIN("server/catalog", catalog_finds_models_by_name_and_versions_by_number,
          catalog_takes_names_that_do_not_end,
          catalog_takes_the_only_model_for_the_default_or_the_one_that_was_named,
          catalog_serves_the_newest_version_that_can_be, catalog_frees_what_left_when_nobody_holds_it_any_more,
          catalog_takes_versions_and_models_out, catalog_describes_what_there_is,
          catalog_lets_readers_go_on_while_versions_are_swapped)
