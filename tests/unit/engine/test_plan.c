#include "engine/plan.h"

#include <math.h>

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

/* ---- BatchNorm1d ---- */

static struct model *load_batch_norms(void)
{
    struct model *model;
    struct error err = {0};
    enum status status = model_load("tests/data/batch_norms/1", "data", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return model;
}

START_TEST(plan_makes_a_batch_norm_part_of_the_linear_before_it_and_of_nothing_else)
{
    struct model *model = load_batch_norms();
    struct plan *plan = plan_of(model);
    ck_assert_uint_eq(plan->step_count, 8);
    assert_step(plan, 0, STEP_SCALE_SHIFT, 49, 49, false);
    assert_step(plan, 1, STEP_LINEAR, 49, 30, true);
    ck_assert_ptr_eq(plan->steps[1].batch_norm, &model->layers[3]);
    assert_step(plan, 2, STEP_LINEAR, 30, 21, false);
    ck_assert_ptr_eq(plan->steps[2].batch_norm, &model->layers[7]); /* over a Dropout */
    assert_step(plan, 3, STEP_SCALE_SHIFT, 21, 21, false);
    assert_step(plan, 4, STEP_ACTIVATION, 21, 21, false);
    assert_step(plan, 5, STEP_SCALE_SHIFT, 21, 21, false);
    assert_step(plan, 6, STEP_LINEAR, 21, 4, false);
    ck_assert_ptr_null(plan->steps[6].batch_norm);
    assert_step(plan, 7, STEP_LOG_SOFTMAX, 4, 4, false);
    plan_free(plan);
    model_free(model);
}
END_TEST

START_TEST(plan_multiplies_the_scale_of_a_batch_norm_into_weights_and_bias)
{
    struct model *model = load_batch_norms();
    struct plan *plan = plan_of(model);
    const struct step *step = &plan->steps[1];
    const struct layer *linear = &model->layers[2], *norm = &model->layers[3];
    for (size_t i = 0; i < 30; i++) {
        double scale = (double)norm->weight[i] / sqrt((double)norm->variance[i] + 1e-05);
        double bias = ((double)linear->bias[i] - (double)norm->mean[i]) * scale + (double)norm->bias[i];
        ck_assert_double_eq_tol((double)step->bias[i], bias, 1e-6);
        for (size_t k = 0; k < 49; k++)
            ck_assert_double_eq_tol((double)step->weight[i * 49 + k], (double)linear->weight[i * 49 + k] * scale,
                                    1e-7);
    }
    plan_drop_weights(plan);
    ck_assert_ptr_null(step->weight);
    ck_assert_ptr_null(step->bias);
    plan_free(plan);
    model_free(model);
}
END_TEST

/* A Linear of 1-1 with weight w, and a BatchNorm1d of mean 0 and this variance. */
static enum step_type second_step(float w, float variance)
{
    static const float zero = 0;
    struct layer layers[2] = {
        {.type = LAYER_LINEAR, .in_features = 1, .out_features = 1, .weight = &w},
        {.type = LAYER_BATCH_NORM, .in_features = 1, .out_features = 1, .mean = &zero, .variance = &variance},
    };
    const struct model model = {.layers = layers, .layer_count = 2};
    struct plan *plan = plan_of(&model);
    enum step_type type = plan->steps[plan->step_count - 1].type;
    ck_assert_uint_eq(plan->step_count, type == STEP_LINEAR ? 1 : 2);
    plan_free(plan);
    return type;
}

START_TEST(plan_leaves_a_batch_norm_alone_where_float32_cannot_hold_the_products)
{
    ck_assert_int_eq(second_step(3.0F, 4.0F), STEP_LINEAR);
    ck_assert_int_eq(second_step(0.0F, 4.0F), STEP_LINEAR);
    ck_assert_int_eq(second_step(1e30F, 1e-30F), STEP_SCALE_SHIFT); /* 1e45 */
    ck_assert_int_eq(second_step(1e-30F, 1e30F), STEP_SCALE_SHIFT); /* 1e-45, of which one bit is left */
}
END_TEST

START_TEST(plan_copies_the_parameters_of_a_layer_norm)
{
    struct model *model;
    struct error err = {0};
    enum status status = model_load("tests/data/gated/1", "data", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    struct plan *plan = plan_of(model);
    const struct layer *norm = &model->layers[1];
    assert_step(plan, 0, STEP_LAYER_NORM, 64, 64, false);
    ck_assert_double_eq(plan->steps[0].eps, 1e-06);
    ck_assert_mem_eq(plan->steps[0].scale, norm->weight, 64 * sizeof(float));
    ck_assert_mem_eq(plan->steps[0].shift, norm->bias, 64 * sizeof(float));
    ck_assert_ptr_null(plan->steps[5].shift); /* bias=False */
    ck_assert_ptr_null(plan->steps[8].scale); /* elementwise_affine=False */
    model_drop_weights(model);
    ck_assert_ptr_nonnull(plan->steps[0].scale);
    plan_free(plan);
    model_free(model);
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
          plan_knows_the_widest_row_wherever_it_is,
          plan_makes_a_batch_norm_part_of_the_linear_before_it_and_of_nothing_else,
          plan_multiplies_the_scale_of_a_batch_norm_into_weights_and_bias,
          plan_leaves_a_batch_norm_alone_where_float32_cannot_hold_the_products,
          plan_copies_the_parameters_of_a_layer_norm, plan_free_takes_null)
