#include "engine/plan.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct step *add_step(struct plan *plan, enum step_type type, const struct layer *layer)
{
    struct step *step = &plan->steps[plan->step_count++];
    *step = (struct step){
        .type = type,
        .in_features = layer->in_features,
        .out_features = layer->out_features,
        .layer = layer,
    };
    plan->features_max = larger(plan->features_max, larger(layer->in_features, layer->out_features));
    return step;
}

/* The Linear that the next layer stands behind, or NULL. */
static struct step *last_linear(const struct plan *plan)
{
    struct step *last = plan->step_count ? &plan->steps[plan->step_count - 1] : NULL;
    return last && last->type == STEP_LINEAR ? last : NULL;
}

static float *copy_floats(const float *values, size_t count)
{
    float *copy = malloc(count * sizeof *copy);
    if (copy)
        memcpy(copy, values, count * sizeof *copy);
    return copy;
}

/* ---- BatchNorm1d: (x - mean) / sqrt(variance + eps) weight + bias is x scale + shift, made in double. ---- */

static double scale_of(const struct layer *norm, size_t i)
{
    return (norm->weight ? (double)norm->weight[i] : 1.0) /
           sqrt((double)norm->variance[i] + norm->settings[0].number);
}

static double shift_of(const struct layer *norm, size_t i)
{
    return (norm->bias ? (double)norm->bias[i] : 0.0) - (double)norm->mean[i] * scale_of(norm, i);
}

/* Whether float32 holds the product as well as it held the factor: no overflow, and no digits lost below the smallest
 * normal float. */
static bool holds(double product, float factor)
{
    const double magnitude = fabs(product);
    return magnitude <= (double)__FLT_MAX__ &&
           (magnitude >= (double)__FLT_MIN__ || product == 0.0 || factor == 0.0F);
}

/* Row `i` of the weights times the scale of output i, and its bias. False where float32 cannot hold them. */
static bool fold_output(const struct step *step, const struct layer *norm, size_t i, float *weight, float *bias)
{
    const double scale = scale_of(norm, i);
    const double sum = (step->bias ? (double)step->bias[i] : 0.0) * scale + shift_of(norm, i);
    for (size_t k = 0; k < step->in_features; k++) {
        const float w = step->weight[i * step->in_features + k];
        if (!holds((double)w * scale, w))
            return false;
        weight[k] = (float)((double)w * scale);
    }
    *bias = (float)sum;
    return isfinite(*bias);
}

static bool fold(const struct step *step, const struct layer *norm, float *weight, float *bias)
{
    for (size_t i = 0; i < step->out_features; i++)
        if (!fold_output(step, norm, i, weight + i * step->in_features, bias + i))
            return false;
    return true;
}

enum folding { FOLDED, NOT_FOLDED, NO_MEMORY };

/* Each weight is rounded once more, which errs no more than the additions of a row do. */
static enum folding fold_batch_norm(struct step *step, const struct layer *norm)
{
    float *weight = malloc(step->in_features * step->out_features * sizeof *weight);
    float *bias = malloc(step->out_features * sizeof *bias);
    enum folding folding = !weight || !bias ? NO_MEMORY : fold(step, norm, weight, bias) ? FOLDED : NOT_FOLDED;
    if (folding != FOLDED) {
        free(weight);
        free(bias);
        return folding;
    }
    step->weight = weight;
    step->bias = bias;
    step->batch_norm = norm;
    return FOLDED;
}

static bool add_scale_shift(struct plan *plan, const struct layer *norm)
{
    struct step *step = add_step(plan, STEP_SCALE_SHIFT, norm);
    step->scale = malloc(norm->in_features * sizeof *step->scale);
    step->shift = malloc(norm->in_features * sizeof *step->shift);
    if (!step->scale || !step->shift)
        return false;
    for (size_t i = 0; i < norm->in_features; i++) {
        step->scale[i] = (float)scale_of(norm, i);
        step->shift[i] = (float)shift_of(norm, i);
    }
    return true;
}

/* Behind a ReLU, or behind another BatchNorm1d in the same Linear, it stays a step of its own. */
static bool add_batch_norm(struct plan *plan, const struct layer *norm)
{
    struct step *linear = last_linear(plan);
    enum folding folding = linear && !linear->relu && !linear->batch_norm ? fold_batch_norm(linear, norm)
                                                                          : NOT_FOLDED;
    return folding == NOT_FOLDED ? add_scale_shift(plan, norm) : folding == FOLDED;
}

/* ---- The other layers ---- */

static bool add_linear(struct plan *plan, const struct layer *layer)
{
    struct step *step = add_step(plan, STEP_LINEAR, layer);
    step->weight = layer->weight;
    step->bias = layer->bias;
    return true;
}

static bool add_relu(struct plan *plan, const struct layer *layer)
{
    struct step *linear = last_linear(plan);
    if (linear)
        linear->relu = true;
    else
        add_step(plan, STEP_RELU, layer);
    return true;
}

static bool add_layer_norm(struct plan *plan, const struct layer *norm)
{
    struct step *step = add_step(plan, STEP_LAYER_NORM, norm);
    step->eps = norm->settings[0].number;
    if (norm->weight && !(step->scale = copy_floats(norm->weight, norm->in_features)))
        return false;
    return !norm->bias || (step->shift = copy_floats(norm->bias, norm->in_features));
}

/* False if out of memory. */
static bool add_layer(struct plan *plan, const struct layer *layer)
{
    switch (layer->type) {
    case LAYER_LINEAR: return add_linear(plan, layer);
    case LAYER_RELU: return add_relu(plan, layer);
    case LAYER_BATCH_NORM: return add_batch_norm(plan, layer);
    case LAYER_LAYER_NORM: return add_layer_norm(plan, layer);
    case LAYER_ACTIVATION: return add_step(plan, STEP_ACTIVATION, layer) != NULL;
    case LAYER_SOFTMAX: return add_step(plan, STEP_SOFTMAX, layer) != NULL;
    case LAYER_LOG_SOFTMAX: return add_step(plan, STEP_LOG_SOFTMAX, layer) != NULL;
    case LAYER_FLATTEN:
    case LAYER_UNFLATTEN:
    case LAYER_DROPOUT:
    case LAYER_IDENTITY: return true;
    }
    return true;
}

struct plan *plan_create(const struct model *model)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->steps = calloc(model->layer_count, sizeof *plan->steps);
    bool ok = plan->steps != NULL;
    for (size_t i = 0; ok && i < model->layer_count; i++)
        ok = add_layer(plan, &model->layers[i]);
    if (ok)
        return plan;
    plan_free(plan);
    return NULL;
}

/* The plan's own are const where backends read them. */
static void drop_step_weights(struct step *step)
{
    if (step->batch_norm) {
        free((void *)(uintptr_t)step->weight);
        free((void *)(uintptr_t)step->bias);
    }
    step->weight = step->bias = NULL;
}

void plan_drop_weights(struct plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        drop_step_weights(&plan->steps[i]);
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; plan->steps && i < plan->step_count; i++) {
        drop_step_weights(&plan->steps[i]);
        free(plan->steps[i].scale);
        free(plan->steps[i].shift);
    }
    free(plan->steps);
    free(plan);
}
