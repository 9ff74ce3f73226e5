/* A model as it was loaded from its folder: layers in order, parameters, labels and what its input looks like.
 * Immutable once loaded (but for model_drop_weights, which its loader calls before anybody else sees it); any thread
 * may read it.
 *
 *     struct model *model;
 *     if (model_load("config/models/fashion-mnist/1", "fashion-mnist", "1", &model, &err) != STATUS_OK) ...
 *     backend = backend_cpu_create(model, ...);   // packs the weights
 *     model_drop_weights(model);
 *     ...
 *     model_free(model);
 *
 * The folder holds model.safetensors, structure.txt (what print(model) says) and, optionally, model.json:
 *
 *     {"labels": ["T-shirt/top", ...],            // one for each output, unique or not; absent: labels are null
 *      "input": {"width": 28, "height": 28,        // of the gray picture, width x height = in_features
 *                "pixel_divisor": 255}}            // a byte b of a picture becomes b / pixel_divisor in float32
 */
#ifndef MLPD_ENGINE_MODEL_H
#define MLPD_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"
#include "engine/structure.h"

struct state_dict;

enum layer_type { LAYER_FLATTEN, LAYER_LINEAR, LAYER_RELU, LAYER_SOFTMAX, LAYER_DROPOUT, LAYER_IDENTITY };

struct layer {
    enum layer_type type;
    char *name;            /* its path: "linear_relu_stack.0" */
    const char *type_name; /* PyTorch's class: "Linear" */
    size_t in_features;    /* of one row, as it enters the layer; for Flatten the product of what it flattens */
    size_t out_features;
    const float *weight; /* Linear: (out_features, in_features), row-major; NULL after model_drop_weights */
    const float *bias;   /* Linear: (out_features), or NULL without bias (see has_bias) */
    bool has_bias;
};

struct parameter {
    char *name; /* "linear_relu_stack.0.weight" */
    size_t shape[2];
    size_t dims;
    size_t count;
};

struct model {
    char *name, *version;
    struct module *structure;
    char *structure_text;  /* what print(model) says, with one newline at its end */
    char *parameters_text; /* what the tutorial's loop over named_parameters() prints on the CPU:
                              "Layer: NAME | Size: torch.Size([512, 784]) | Values : tensor(...) \n\n" each */

    struct layer *layers; /* leaf modules in order */
    size_t layer_count;
    struct parameter *parameters; /* in the order of named_parameters() */
    size_t parameter_count;       /* of entries in `parameters` */
    size_t parameter_elements;    /* floats in all of them: 669706 for the tutorial's */

    size_t in_features, out_features; /* of a row */
    bool ends_in_softmax;             /* the network's own last layer gives probabilities: no second softmax */

    /* Of the gray picture that it takes; 0 if in_features is no square and nothing says otherwise. */
    size_t width, height;
    float pixel_divisor;
    float pixel_scale[256]; /* pixel_scale[b] = b / pixel_divisor, divided in float32 as torch does */
    char **labels;          /* out_features of them, or NULL */

    struct state_dict *state_dict; /* holds the parameters' values; NULL after model_drop_weights */
};

/* Reads the folder `path`. Every fault is one message with the file, what was found, what was expected and the mend;
 * a Linear whose in_features do not fit the layer before is refused with both names and both numbers; a tensor that is
 * missing, of another shape, or that no layer uses is refused by its name. On success *ret is the caller's. */
enum status model_load(const char *path, const char *name, const char *version, struct model **ret,
                       struct error *err);

/* Frees the parameters' values (layers' weight and bias become NULL), once a backend has packed them. */
void model_drop_weights(struct model *model);

/* Takes NULL. */
void model_free(struct model *model);

#endif
