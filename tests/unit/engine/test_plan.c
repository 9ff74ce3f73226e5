#include "engine/plan.h"

#include "tests/unit/fixture.h"

static struct plan *plan_of(const struct model *model)
{
    struct plan *plan = plan_create(model);
    ck_assert_ptr_nonnull(plan);
    return plan;
}

static void assert_step(const struct plan *plan, size_t index, enum step_type type, size_t in_features,
                        size_t out_features, bool relu)
{
    ck_assert_uint_lt(index, plan->step_count);
    const struct step *step = &plan->steps[index];
    ck_assert_int_eq(step->type, type);
    ck_assert_uint_eq(step->in_features, in_features);
    ck_assert_uint_eq(step->out_features, out_features);
    if (type == STEP_LINEAR)
        ck_assert_int_eq(step->relu, relu);
}

START_TEST(plan_makes_a_relu_part_of_the_linear_before_it)
{
    struct model *model = fixture_load((const char *const[]){FLATTEN, LINEAR(9, 5), RELU, LINEAR(5, 3), NULL},
                                       NULL);
    struct plan *plan = plan_of(model);
    ck_assert_uint_eq(plan->step_count, 2);
    assert_step(plan, 0, STEP_LINEAR, 9, 5, true);
    assert_step(plan, 1, STEP_LINEAR, 5, 3, false);
    ck_assert_ptr_eq(plan->steps[0].layer, &model->layers[1]);
    ck_assert_ptr_eq(plan->steps[1].layer, &model->layers[3]);
    plan_free(plan);
    model_free(model);
}
END_TEST

START_TEST(plan_leaves_out_layers_that_do_nothing_and_fuses_across_them)
{
    struct model *model = fixture_load((const char *const[]){IDENTITY, LINEAR(4, 6), DROPOUT, IDENTITY, RELU,
                                                             DROPOUT, LINEAR(6, 2), FLATTEN, NULL},
                                       NULL);
    struct plan *plan = plan_of(model);
    ck_assert_uint_eq(plan->step_count, 2);
    assert_step(plan, 0, STEP_LINEAR, 4, 6, true);
    assert_step(plan, 1, STEP_LINEAR, 6, 2, false);
    plan_free(plan);
    model_free(model);
}
END_TEST

START_TEST(plan_keeps_a_relu_that_stands_behind_no_linear)
{
    struct model *model = fixture_load((const char *const[]){RELU, LINEAR(4, 6), SOFTMAX, RELU, LINEAR(6, 2), NULL},
                                       NULL);
    struct plan *plan = plan_of(model);
    ck_assert_uint_eq(plan->step_count, 5);
    assert_step(plan, 0, STEP_RELU, 4, 4, false);
    assert_step(plan, 1, STEP_LINEAR, 4, 6, false);
    assert_step(plan, 2, STEP_SOFTMAX, 6, 6, false);
    assert_step(plan, 3, STEP_RELU, 6, 6, false);
    assert_step(plan, 4, STEP_LINEAR, 6, 2, false);
    plan_free(plan);
    model_free(model);
}
END_TEST

START_TEST(plan_takes_a_second_relu_as_done)
{
    struct model *model = fixture_load((const char *const[]){LINEAR(4, 6), RELU, RELU, NULL}, NULL);
    struct plan *plan = plan_of(model);
    ck_assert_uint_eq(plan->step_count, 1);
    assert_step(plan, 0, STEP_LINEAR, 4, 6, true);
    plan_free(plan);
    model_free(model);
}
END_TEST

START_TEST(plan_knows_the_widest_row_wherever_it_is)
{
    static const char *const wide_in[] = {LINEAR(30, 2), LINEAR(2, 3), NULL};
    static const char *const wide_inside[] = {LINEAR(3, 40), RELU, LINEAR(40, 3), NULL};
    static const char *const wide_out[] = {LINEAR(3, 2), LINEAR(2, 50), NULL};
    static const struct {
        const char *const *modules;
        size_t features_max;
    } cases[] = {{wide_in, 30}, {wide_inside, 40}, {wide_out, 50}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *model = fixture_load(cases[i].modules, NULL);
        struct plan *plan = plan_of(model);
        ck_assert_uint_eq(plan->features_max, cases[i].features_max);
        plan_free(plan);
        model_free(model);
    }
}
END_TEST

START_TEST(plan_free_takes_null)
{
    plan_free(NULL);
}
END_TEST

UNIT_MAIN("engine/plan", plan_makes_a_relu_part_of_the_linear_before_it,
          plan_leaves_out_layers_that_do_nothing_and_fuses_across_them,
          plan_keeps_a_relu_that_stands_behind_no_linear, plan_takes_a_second_relu_as_done,
          plan_knows_the_widest_row_wherever_it_is, plan_free_takes_null)
