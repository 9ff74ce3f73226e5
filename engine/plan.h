/* A model's layers as the steps that a backend runs: layers that do nothing at inference are gone, a ReLU behind a Linear
 * has become part of it, and so has a BatchNorm1d, whose scale is multiplied into the weights. Immutable once made (but
 * for plan_drop_weights); any thread may read one.
 *
 *     struct plan *plan = plan_create(model);
 *     ...pack plan->steps[i].weight and bias...
 *     plan_drop_weights(plan);
 *     model_drop_weights(model);
 *     ...
 *     plan_free(plan);
 */
#ifndef MLPD_ENGINE_PLAN_H
#define MLPD_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model.h"

enum step_type {
    STEP_LINEAR,
    STEP_RELU,
    STEP_ACTIVATION, /* layer->activation */
    STEP_SOFTMAX,
    STEP_LOG_SOFTMAX,
    STEP_SCALE_SHIFT, /* y = x scale + shift: a BatchNorm1d that is part of no Linear */
    STEP_LAYER_NORM,  /* over the whole row, then times scale (or 1) plus shift (or 0), with eps */
};

struct step {
    enum step_type type;
    size_t in_features, out_features; /* of a row */
    const struct layer *layer;        /* that it comes from; borrowed from the model */

    /* STEP_LINEAR. With a BatchNorm1d in it these are the plan's own, else borrowed from the model. NULL after
     * plan_drop_weights; `bias` may be NULL before. */
    const float *weight;            /* (out_features, in_features) */
    const float *bias;              /* (out_features) */
    const struct layer *batch_norm; /* that has become part of it, or NULL */
    bool relu;                      /* max(y, 0) at its end */

    /* STEP_SCALE_SHIFT, STEP_LAYER_NORM: (in_features) each, the plan's own until plan_free. */
    float *scale, *shift;
    double eps;
};

struct plan {
    struct step *steps;
    size_t step_count;
    size_t features_max; /* the widest row that enters or leaves a step */
};

/* NULL if out of memory; freed with plan_free. The model still has its weights. */
struct plan *plan_create(const struct model *model);

/* Frees what the plan has of Linear layers' weights, and forgets the model's, once a backend has packed them. */
void plan_drop_weights(struct plan *plan);

/* Takes NULL. */
void plan_free(struct plan *plan);

#endif
