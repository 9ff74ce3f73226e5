/* A model's layers as the steps that a backend runs: layers that do nothing at inference are gone, and a ReLU behind a
 * Linear has become part of it. Immutable once made; any thread may read one. */
#ifndef MLPD_ENGINE_PLAN_H
#define MLPD_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model.h"

enum step_type { STEP_LINEAR, STEP_RELU, STEP_SOFTMAX };

struct step {
    enum step_type type;
    size_t in_features, out_features; /* of a row */
    const struct layer *layer;        /* STEP_LINEAR: its parameters; borrowed from the model */
    bool relu;                        /* STEP_LINEAR: max(y, 0) at its end */
};

struct plan {
    struct step *steps;
    size_t step_count;
    size_t features_max; /* the widest row that enters or leaves a step */
};

/* NULL if out of memory; freed with plan_free. */
struct plan *plan_create(const struct model *model);

/* Takes NULL. */
void plan_free(struct plan *plan);

#endif
