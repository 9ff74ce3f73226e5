#include "server/golden_check.h"

#include <math.h>

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

enum { BATCH_MAX = 16, NEVER = 1000000 };

/* ---- a backend that goes wrong ---- */

/* Runs what the real one does, and then spoils a logit of the run that is named. */
static struct {
    struct backend *real;
    size_t runs, spoiled_run, rows_most;
    size_t index; /* of the logit */
    float value;
    bool fails;
} broken;

static enum status create_executor(const struct backend *backend, struct executor **ret, struct error *err)
{
    (void)backend;
    return broken.real->ops->executor_create(broken.real, ret, err);
}

static enum status run(struct executor *executor, const struct batch_part *parts, size_t part_count,
                       struct error *err)
{
    enum status status = broken.real->ops->run(executor, parts, part_count, err);
    if (parts->count > broken.rows_most)
        broken.rows_most = parts->count;
    if (broken.runs++ != broken.spoiled_run)
        return status;
    parts->logits[broken.index] = broken.value;
    return broken.fails ? error_set(err, STATUS_INTERNAL, "the device is gone") : status;
}

static void free_executor(struct executor *executor)
{
    broken.real->ops->executor_free(executor);
}

static const struct backend_ops broken_ops = {
    .executor_create = create_executor, .run = run, .executor_free = free_executor};

/* The check of a small model whose run `spoiled_run` (from 0) gives `value` in its logit `index`. */
static enum status check_broken(size_t batch_max, size_t spoiled_run, size_t index, float value, struct error *err)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(9, 5), RELU, LINEAR(5, 3), NULL}, NULL);
    struct backend backend = {.ops = &broken_ops, .model = model, .batch_max = batch_max, .kernels = "broken"};
    size_t rows = 0;
    ck_assert_int_eq(backend_cpu_create(model, NULL, batch_max, &broken.real, err), STATUS_OK);
    broken.runs = broken.rows_most = 0;
    broken.spoiled_run = spoiled_run;
    broken.index = index;
    broken.value = value;
    enum status status = golden_check(&backend, &rows, err);
    ck_assert_uint_eq(rows, status == STATUS_OK ? broken.rows_most : 0);
    broken.real->ops->free(broken.real);
    model_free(model);
    return status;
}

START_TEST(golden_check_passes_a_backend_that_computes_right)
{
    struct error err = {0};
    ck_assert_int_eq(check_broken(BATCH_MAX, NEVER, 0, 0, &err), STATUS_OK);
    ck_assert_uint_eq(broken.rows_most, GOLDEN_ROWS);
    ck_assert_uint_eq(broken.runs, 1 + 2 * GOLDEN_ROWS);
}
END_TEST

START_TEST(golden_check_passes_every_kernel_that_runs_here)
{
    static const char *const names[] = {"generic", "avx2", "avx512"};
    struct model *model = fixture_load(
        (const char *const[]){FLATTEN, LINEAR(784, 65), RELU, LINEAR(65, 10), SOFTMAX, NULL}, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct backend *backend;
        struct error err = {0};
        size_t rows;
        if (backend_cpu_create(model, names[i], BATCH_MAX, &backend, &err) != STATUS_OK) {
            UNIT_SKIP("%s", err.message);
            continue;
        }
        ck_assert_msg(golden_check(backend, &rows, &err) == STATUS_OK, "%s", err.message);
        ck_assert_uint_eq(rows, GOLDEN_ROWS);
        backend->ops->free(backend);
    }
    model_free(model);
}
END_TEST

START_TEST(golden_check_runs_no_more_rows_than_a_batch_may_have)
{
    struct error err = {0};
    ck_assert_int_eq(check_broken(1, NEVER, 0, 0, &err), STATUS_OK);
    ck_assert_uint_eq(broken.rows_most, 1);
    ck_assert_int_eq(check_broken(3, NEVER, 0, 0, &err), STATUS_OK);
    ck_assert_uint_eq(broken.rows_most, 3);
}
END_TEST

START_TEST(golden_check_refuses_logits_that_are_not_finite)
{
    struct error err = {0};
    ck_assert_int_eq(check_broken(BATCH_MAX, 0, 4 * 3 + 2, NAN, &err), STATUS_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, "row 4 of the golden input gives logit 2 as nan"));
    ck_assert_int_eq(check_broken(BATCH_MAX, 0, 0, INFINITY, &err), STATUS_INTERNAL);
    ck_assert_ptr_nonnull(strstr(err.message, "row 0 of the golden input gives logit 0 as inf"));
    ck_assert_str_ne(err.hint, "");
}
END_TEST

START_TEST(golden_check_refuses_a_row_that_comes_out_otherwise_alone)
{
    struct error err = {0};
    for (size_t run_index = 1; run_index <= 2 * GOLDEN_ROWS; run_index++) {
        char words[96];
        snprintf(words, sizeof words, "row %zu of the golden input gives logit 1 as 12345 alone (as %s)",
                 (run_index - 1) / 2, run_index % 2 ? "uint8" : "float32");
        ck_assert_int_eq(check_broken(BATCH_MAX, run_index, 1, 12345.0f, &err), STATUS_INTERNAL);
        ck_assert_msg(strstr(err.message, words) != NULL, "%s", err.message);
        ck_assert_ptr_nonnull(strstr(err.hint, "the kernels broken compute wrong here"));
    }
}
END_TEST

START_TEST(golden_check_passes_on_what_the_backend_says)
{
    struct error err = {0};
    broken.fails = true;
    ck_assert_int_eq(check_broken(BATCH_MAX, 0, 0, 0, &err), STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "the device is gone");
    ck_assert_int_eq(check_broken(BATCH_MAX, 2, 0, 0, &err), STATUS_INTERNAL);
    ck_assert_str_eq(err.message, "the device is gone");
}
END_TEST

UNIT_MAIN("server/golden_check", golden_check_passes_a_backend_that_computes_right,
          golden_check_passes_every_kernel_that_runs_here, golden_check_runs_no_more_rows_than_a_batch_may_have,
          golden_check_refuses_logits_that_are_not_finite,
          golden_check_refuses_a_row_that_comes_out_otherwise_alone, golden_check_passes_on_what_the_backend_says)
