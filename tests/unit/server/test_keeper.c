/* What the keeper makes of a folder, told by tasks and by looks that are asked for: no test waits for it to look by itself. */
#include "server/keeper.h"

#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "server/api_native.h"
#include "server/catalog.h"
#include "server/telemetry.h"
#include "tests/unit/fixture.h"

static char *folder, *only_path;
static struct telemetry telemetry;
static struct catalog *catalog;
static struct catalog_reader *reader;
static struct batch_workers *workers;
static struct keeper *keeper;
static sem_t done;

/* `only` is NULL, or a path in the folder of the model that is served by itself. */
static void set_up_with(const char *default_model, const char *only)
{
    const struct batch_workers_options workers_options = {.workers = 1, .batch_max = 4};
    const struct catalog_options catalog_options = {
        .readers = 1, .default_model = default_model, .free_served = keeper_free_served, .context = &telemetry};
    folder = folder_create();
    ck_assert_int_eq(telemetry_open(&telemetry, api_native_routes, NULL, NULL), STATUS_OK);
    ck_assert_int_eq(batch_workers_start(&workers_options, &workers, NULL), STATUS_OK);
    ck_assert_int_eq(catalog_create(&catalog_options, &catalog, NULL), STATUS_OK);
    reader = catalog_take_reader(catalog);
    only_path = only ? folder_path(folder, only) : NULL;
    if (only) {
        folder_make(folder, only);
        fixture_write(only_path, (const char *const[]){LINEAR(4, 3), NULL}, NULL);
    }
    struct keeper_options options = {
        .models = folder,
        .model = only_path,
        .default_model = default_model,
        .served = {.batch_max = 4},
        .catalog = catalog,
        .workers = workers,
        .queue_max = 100,
        .telemetry = &telemetry,
        .processors = 3,
    };
    ck_assert_int_eq(version_policy_parse("latest:2", &options.policy, NULL), STATUS_OK);
    ck_assert_int_eq(keeper_create(&options, &keeper, NULL), STATUS_OK);
    sem_init(&done, 0, 0);
}

static void set_up(const char *default_model)
{
    set_up_with(default_model, NULL);
}

static void tear_down(void)
{
    keeper_free(keeper);
    catalog_free(catalog);
    batch_workers_free(workers);
    telemetry_close(&telemetry);
    sem_destroy(&done);
    free(only_path);
    folder_remove(folder);
}

static void add_model(const char *name)
{
    folder_make(folder, name);
}

/* `version` is "name/1". */
static void add_version(const char *version)
{
    char *path = folder_path(folder, version);
    folder_make(folder, version);
    fixture_write(path, (const char *const[]){LINEAR(4, 3), NULL}, NULL);
    free(path);
}

static void load_all(void)
{
    struct error err = {0};
    ck_assert_msg(keeper_load(keeper, &err) == STATUS_OK, "%s", err.message);
    ck_assert_int_eq(keeper_start(keeper, NULL), STATUS_OK);
}

static void assert_no_start(enum status status, const char *words)
{
    struct error err = {0};
    ck_assert_int_eq(keeper_load(keeper, &err), status);
    ck_assert_msg(strstr(err.message, words) != NULL, "\"%s\" has no \"%s\"", err.message, words);
    ck_assert_str_ne(err.hint, "");
}

static void task_done(struct keeper_task *task)
{
    (void)task;
    sem_post(&done);
}

static enum status give(enum keeper_order order, const char *name, struct error *ret)
{
    struct keeper_task task = {.order = order, .done = task_done};
    strcpy(task.name, name);
    keeper_submit(keeper, &task);
    ck_assert_int_eq(sem_wait(&done), 0);
    *ret = task.error;
    return task.status;
}

/* The versions of the model as GET /models has them, without what is not asked for here. */
static void assert_described(const char *name, const char *const *parts)
{
    struct buffer out = {0};
    ck_assert(catalog_describe_model(reader, name, strlen(name), &out));
    for (size_t i = 0; parts[i]; i++)
        ck_assert_msg(strstr(out.data, parts[i]) != NULL, "%s has no %s", out.data, parts[i]);
    buffer_free(&out);
}

#define ASSERT_DESCRIBED(name, ...) assert_described(name, (const char *const[]){__VA_ARGS__, NULL})

START_TEST(keeper_loads_what_the_policy_wants_of_every_model)
{
    set_up(NULL);
    add_model("a");
    add_version("a/1");
    add_version("a/2");
    add_version("a/10");
    add_model("b");
    add_version("b/1");
    folder_write(folder, "b/config.json", "{\"version_policy\": \"all\"}");
    load_all();
    struct catalog_summary summary = catalog_summarise(catalog);
    ck_assert_uint_eq(summary.models, 2);
    ck_assert_uint_eq(summary.ready_versions, 3);
    ck_assert_uint_eq(summary.parameters, 3 * (4 * 3 + 3));
    ASSERT_DESCRIBED("a", "[{\"version\":\"10\",\"state\":\"READY\"", ",{\"version\":\"2\",\"state\":\"READY\"");
    tear_down();
}
END_TEST

START_TEST(keeper_does_not_start_with_nothing_to_serve_and_says_why)
{
    set_up(NULL);
    assert_no_start(STATUS_NOT_FOUND, "there is no model in this folder");
    add_model("a");
    assert_no_start(STATUS_NOT_FOUND, "this model has no version");
    tear_down();
    set_up("b");
    add_model("a");
    add_version("a/1");
    assert_no_start(STATUS_NOT_FOUND, "--default-model b");
    tear_down();
    set_up(NULL);
    add_model("a");
    add_version("a/1");
    folder_write(folder, "a/1/structure.txt", "nonsense");
    assert_no_start(STATUS_INVALID, "structure.txt");
    tear_down();
}
END_TEST

START_TEST(keeper_serves_the_good_models_beside_a_bad_one)
{
    set_up(NULL);
    add_model("bad");
    folder_make(folder, "bad/1");
    add_model("good");
    add_version("good/1");
    load_all();
    ASSERT_DESCRIBED("bad", "\"state\":\"UNAVAILABLE\",\"reason\":\"/", "model.safetensors");
    ASSERT_DESCRIBED("good", "\"state\":\"READY\"");
    tear_down();
}
END_TEST

START_TEST(keeper_replaces_versions_and_keeps_the_old_ones_while_a_new_one_is_broken)
{
    struct error err;
    set_up(NULL);
    add_model("a");
    add_version("a/1");
    load_all();
    add_version("a/2");
    folder_write(folder, "a/2/structure.txt", "nonsense");
    add_version("a/3");
    ck_assert_int_eq(give(KEEPER_LOAD, "a", &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "structure.txt"));
    ASSERT_DESCRIBED("a", "\"3\",\"state\":\"READY\"", "\"2\",\"state\":\"UNAVAILABLE\"",
                     "\"1\",\"state\":\"READY\"");
    folder_write(folder, "a/2/structure.txt",
                 "Sequential(\n  (0): Linear(in_features=4, out_features=3, bias=True)\n)\n");
    ck_assert_int_eq(give(KEEPER_LOAD, "a", &err), STATUS_OK);
    ASSERT_DESCRIBED("a", "\"versions\":[{\"version\":\"3\",\"state\":\"READY\"",
                     "{\"version\":\"2\",\"state\":\"READY\"");
    ck_assert_uint_eq(catalog_summarise(catalog).ready_versions, 2);
    tear_down();
}
END_TEST

START_TEST(keeper_unloads_until_it_is_told_to_load)
{
    struct error err;
    set_up(NULL);
    add_model("a");
    add_version("a/1");
    load_all();
    ck_assert_int_eq(give(KEEPER_UNLOAD, "a", &err), STATUS_OK);
    ASSERT_DESCRIBED("a", "\"UNAVAILABLE\",\"reason\":\"it was unloaded by the administration\"");
    keeper_rescan(keeper);
    ck_assert_int_eq(give(KEEPER_UNLOAD, "b", &err), STATUS_NOT_FOUND);
    ck_assert_int_eq(give(KEEPER_LOAD, "b", &err), STATUS_NOT_FOUND); /* by now it has looked again */
    ASSERT_DESCRIBED("a", "\"UNAVAILABLE\"");
    ck_assert_int_eq(give(KEEPER_LOAD, "a", &err), STATUS_OK);
    ASSERT_DESCRIBED("a", "\"READY\",\"reason\":null");
    tear_down();
}
END_TEST

START_TEST(keeper_serves_a_model_by_itself_and_keeps_it_while_its_files_are_broken)
{
    struct error err;
    set_up_with(NULL, "net");
    load_all();
    ASSERT_DESCRIBED("net", "[{\"version\":\"1\",\"state\":\"READY\"");
    ck_assert_uint_eq(catalog_summarise(catalog).models, 1);
    folder_write(folder, "net/structure.txt", "nonsense");
    ck_assert_int_eq(give(KEEPER_LOAD, "net", &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "structure.txt"));
    ck_assert_uint_eq(catalog_summarise(catalog).ready_versions, 1);
    ck_assert_int_eq(give(KEEPER_LOAD, "b", &err), STATUS_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "alone is served"));
    ck_assert_str_ne(err.hint, "");
    ck_assert_int_eq(give(KEEPER_UNLOAD, "net", &err), STATUS_OK);
    ASSERT_DESCRIBED("net", "\"UNAVAILABLE\"");
    tear_down();
}
END_TEST

START_TEST(keeper_that_has_stopped_refuses_tasks)
{
    struct error err;
    set_up(NULL);
    add_model("a");
    add_version("a/1");
    load_all();
    keeper_stop(keeper);
    ck_assert_int_eq(give(KEEPER_LOAD, "a", &err), STATUS_OVERLOADED);
    keeper_stop(keeper);
    keeper_stop(NULL);
    keeper_free(NULL);
    tear_down();
}
END_TEST

UNIT_MAIN("server/keeper", keeper_loads_what_the_policy_wants_of_every_model,
          keeper_does_not_start_with_nothing_to_serve_and_says_why, keeper_serves_the_good_models_beside_a_bad_one,
          keeper_replaces_versions_and_keeps_the_old_ones_while_a_new_one_is_broken,
          keeper_unloads_until_it_is_told_to_load,
          keeper_serves_a_model_by_itself_and_keeps_it_while_its_files_are_broken,
          keeper_that_has_stopped_refuses_tasks)
