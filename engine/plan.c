#include "engine/plan.h"

#include <stdlib.h>

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void add_step(struct plan *plan, enum step_type type, const struct layer *layer)
{
    plan->steps[plan->step_count++] = (struct step){
        .type = type,
        .in_features = layer->in_features,
        .out_features = layer->out_features,
        .layer = layer,
    };
    plan->features_max = larger(plan->features_max, larger(layer->in_features, layer->out_features));
}

static void add_relu(struct plan *plan, const struct layer *layer)
{
    struct step *last = plan->step_count ? &plan->steps[plan->step_count - 1] : NULL;
    if (last && last->type == STEP_LINEAR)
        last->relu = true;
    else
        add_step(plan, STEP_RELU, layer);
}

static void add_layer(struct plan *plan, const struct layer *layer)
{
    switch (layer->type) {
    case LAYER_LINEAR: add_step(plan, STEP_LINEAR, layer); break;
    case LAYER_RELU: add_relu(plan, layer); break;
    case LAYER_SOFTMAX: add_step(plan, STEP_SOFTMAX, layer); break;
    case LAYER_FLATTEN:
    case LAYER_DROPOUT:
    case LAYER_IDENTITY: break;
    }
}

struct plan *plan_create(const struct model *model)
{
    struct plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return NULL;
    plan->steps = calloc(model->layer_count, sizeof *plan->steps);
    if (!plan->steps) {
        plan_free(plan);
        return NULL;
    }
    for (size_t i = 0; i < model->layer_count; i++)
        add_layer(plan, &model->layers[i]);
    return plan;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->steps);
    free(plan);
}
