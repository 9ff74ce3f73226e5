/* A model while model_layers_build makes it, and what its parts share. Private to engine/model_layers.c,
 * engine/layer_classes.c, engine/layer_settings.c and engine/layer_parameters.c; one thread. */
#ifndef MLPD_ENGINE_MODEL_BUILDING_H
#define MLPD_ENGINE_MODEL_BUILDING_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model.h"
#include "engine/state_dict.h"
#include "engine/status.h"
#include "engine/structure.h"

enum { FEATURES_MAX = 1 << 24, NAME_SHOWN_MAX = 160 };

/* What a row is between two layers, as far as the layers before it have said. */
struct row_shape {
    size_t features;              /* product of sizes; 0 as long as no layer has said it */
    size_t dims;                  /* 0 as long as it is unknown */
    size_t sizes[MODEL_DIMS_MAX]; /* of dims; {0} for a row of one dimension whose features are unknown */
};

struct building {
    struct model *model;
    const struct state_dict *dict;
    bool *used; /* one for each of dict's tensors: a layer has taken it */
    struct row_shape row;
    const struct layer *sized; /* the layer that said row.features, or NULL */
    struct error *err;
};

/* What an error calls a layer: its path, or "the model" for a root that is a layer itself. */
const char *building_shown_name(const char *name);

enum status building_refuse_no_memory(const struct building *building);

/* ---- engine/layer_parameters.c ---- */

/* Appends layer.`suffix`, of this shape, to the model's parameters and finds its values. Refused: a tensor that is missing,
 * of another shape, or not finite. */
enum status building_take_parameter(struct building *building, const struct layer *layer, const char *suffix,
                                    const size_t *shape, size_t dims, const float **ret_data);

/* The same for a buffer, (features), which is in the state dict and no parameter. */
enum status building_take_buffer(struct building *building, const struct layer *layer, const char *suffix,
                                 size_t features, const float **ret_data);

/* Marks layer.`suffix` as used, if it is there. */
enum status building_pass_over(struct building *building, const struct layer *layer, const char *suffix);

/* Refuses a tensor that no layer has taken. */
enum status building_check_all_used(const struct building *building);

/* ---- engine/layer_settings.c ---- */

/* An argument that a class has. */
struct setting_spec {
    const char *name;     /* NULL ends a list */
    int kind;             /* of layer_setting */
    const char *fallback; /* what PyTorch takes where nothing, or None, is said; NULL: it must be said */
    const char *expected; /* for the error: "a number", "True or False", "'none' or 'tanh'" */
};

/* Fills layer->settings from the module's arguments. */
enum status building_read_settings(const struct building *building, const struct module *module,
                                   const struct setting_spec *specs, struct layer *layer);

/* "NAME is CLASS(ARGUMENTS), " and what was expected; the hint is the caller's. STATUS_UNSUPPORTED. */
enum status building_refuse_arguments(const struct building *building, const struct module *module,
                                      const struct layer *layer, const char *expected);

/* A whole number from 1 to FEATURES_MAX that is all of the text. */
bool setting_features(const char *text, size_t len, size_t *ret_features);

/* "(1, 28, 28)", "(784,)", "torch.Size([1, 28])": 1 to MODEL_DIMS_MAX sizes whose product is at most FEATURES_MAX, at the
 * text's begin. A -1, which only Unflatten may have, is a 0. */
bool setting_sizes(const char *text, size_t len, size_t sizes[MODEL_DIMS_MAX], size_t *ret_dims);

/* ---- engine/layer_classes.c ---- */

struct layer_class {
    const char *name; /* PyTorch's */
    enum layer_type type;
    enum status (*read)(struct building *building, const struct module *module, struct layer *layer);
    struct activation activation; /* LAYER_ACTIVATION: its parameters are overwritten by the settings' numbers */
    struct setting_spec settings[LAYER_SETTINGS_MAX + 1];
};

/* NULL if that class is no layer that is served. */
const struct layer_class *layer_class_find(const char *name);

/* "Flatten, Linear, ReLU, ...": all of them, for a hint. */
extern const char layer_classes_shown[];

#endif
