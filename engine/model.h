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
 * The folder holds the parameters, in model.safetensors, model.safetensors.index.json with its parts, model.pth or model.pt;
 * structure.txt (what print(model) says), where they do not bring or leave open the structure; and, optionally, model.json, for
 * which config/model.schema.json is the JSON schema:
 *
 *     {"labels": ["T-shirt/top", ...],            // one for each output, unique or not; absent: labels are null;
 *                                                 // for "binary" two: of what is not, and of what is
 *      "task": "classification",                  // or "regression", "binary", "multilabel"; absent: see enum model_task
 *      "threshold": 0.5,                          // for "binary" and "multilabel": what is more probable, is
 *      "input": {"channels": 3,                   // 1 if absent; C x H x W = in_features, in this order
 *                "width": 32, "height": 32,       // of the picture; absent: a square
 *                "pixel_divisor": 255,            // a byte b of channel c becomes
 *                "mean": [0.5, 0.5, 0.5],         // (b / pixel_divisor - mean[c]) / std[c] in float32, as torchvision's
 *                "std": [0.25, 0.25, 0.25]}}      // ToTensor() and Normalize(mean, std) make it; absent: 0 and 1
 */
#ifndef MLPD_ENGINE_MODEL_H
#define MLPD_ENGINE_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"
#include "engine/structure.h"
#include "kernels/activations.h"

struct state_dict;

enum {
    MODEL_DIMS_MAX = 8,      /* of a parameter, or of a row that Unflatten made */
    MODEL_CHANNELS_MAX = 16, /* of a picture */
    LAYER_SETTINGS_MAX = 4,
};

enum layer_type {
    LAYER_FLATTEN,
    LAYER_UNFLATTEN,
    LAYER_LINEAR,
    LAYER_RELU,
    LAYER_ACTIVATION, /* any other than ReLU: see layer.activation */
    LAYER_SOFTMAX,
    LAYER_LOG_SOFTMAX,
    LAYER_DROPOUT, /* of any kind: nothing at inference */
    LAYER_IDENTITY,
    LAYER_BATCH_NORM,
    LAYER_LAYER_NORM,
};

/* One of a layer's arguments: what the structure says, or PyTorch's default where it says nothing. */
struct layer_setting {
    const char *name; /* "negative_slope" */
    enum { SETTING_NUMBER, SETTING_FLAG, SETTING_WORD } kind;
    double number;    /* SETTING_NUMBER, finite or infinite; SETTING_FLAG: 0 or 1 */
    const char *word; /* SETTING_WORD: "tanh" */
};

struct layer {
    enum layer_type type;
    char *name;            /* its path: "linear_relu_stack.0" */
    const char *type_name; /* PyTorch's class: "Linear" */
    size_t in_features;    /* of one row, as it enters the layer; for Flatten the product of what it flattens */
    size_t out_features;
    const float
        *weight;       /* Linear: (out_features, in_features), row-major; BatchNorm1d, LayerNorm: (in_features), or
                            NULL if not affine. NULL after model_drop_weights */
    const float *bias; /* (out_features), or NULL without bias (see has_bias) */
    bool has_bias;
    const float *mean, *variance; /* BatchNorm1d: running_mean and running_var, (in_features); else NULL */

    /* The row as it leaves the layer, without the batch: (10), (1, 28, 28). */
    size_t shape[MODEL_DIMS_MAX];
    size_t dims;

    struct activation activation; /* LAYER_ACTIVATION */
    struct layer_setting settings[LAYER_SETTINGS_MAX];
    size_t setting_count;
};

struct parameter {
    char *name; /* "linear_relu_stack.0.weight" */
    size_t shape[MODEL_DIMS_MAX];
    size_t dims;
    size_t count;
};

/* What the outputs mean. Without a word in model.json: one output is binary if the network ends in Sigmoid and regression
 * if not; several are multilabel if it ends in Sigmoid, and classification if not. */
enum model_task {
    TASK_CLASSIFICATION, /* one of the classes: the largest output */
    TASK_REGRESSION,     /* the outputs are values */
    TASK_BINARY,         /* one output: how probable it is */
    TASK_MULTILABEL,     /* each output by itself: how probable it is */
};

/* How the probabilities come from what the network's forward gives. */
enum model_probabilities {
    PROBABILITIES_SOFTMAX, /* softmax over the row */
    PROBABILITIES_EXP, /* exp of each: the network ends in LogSoftmax (or LogSigmoid, if binary or multilabel) */
    PROBABILITIES_SIGMOID, /* sigmoid of each: binary or multilabel, whose last layer is no Sigmoid */
    PROBABILITIES_SAME,    /* they are it: the network ends in Softmax (or Sigmoid), or it is a regression */
};

struct model {
    char *name, *version;
    char *folder; /* in which its files lie; NULL for a file that was taken by itself */
    char *note;   /* what was assumed or left out as it was read, for the log; NULL if nothing was */
    struct module *structure;
    char *structure_text;  /* what print(model) says, with one newline at its end */
    char *parameters_text; /* what the tutorial's loop over named_parameters() prints on the CPU:
                              "Layer: NAME | Size: torch.Size([512, 784]) | Values : tensor(...) \n\n" each */

    struct layer *layers; /* leaf modules in order */
    size_t layer_count;
    struct parameter *parameters; /* in the order of named_parameters(); a BatchNorm's running_mean is none */
    size_t parameter_count;       /* of entries in `parameters` */
    size_t parameter_elements;    /* floats in all of them: 669706 for the tutorial's */
    const char
        *assumed_class; /* the first class with children that torch.nn does not have, whose children were taken
                                     in the order of registration (its forward may do more), or NULL; borrowed from
                                     `structure` */

    size_t input_shape[MODEL_DIMS_MAX]; /* of a row as the first layer takes it: (28, 28) before a Flatten, (784) */
    size_t input_dims;
    size_t in_features, out_features; /* of a row */
    bool ends_in_softmax; /* the network's own last layer gives probabilities, or (LogSoftmax) their logarithms:
                                         no second softmax */
    enum model_task task;
    enum model_probabilities probabilities;
    float threshold; /* TASK_BINARY, TASK_MULTILABEL: what is more probable than this, is */

    /* Of the picture that it takes, (channels, height, width) in C order; width 0 if in_features is no square and nothing
     * says otherwise. */
    size_t channels, width, height;
    float pixel_divisor;
    float mean[MODEL_CHANNELS_MAX], std[MODEL_CHANNELS_MAX];
    union {
        float pixel_scale[256]; /* of the first channel: all that there is for gray pictures and plain rows */
        /* channel_scale[c][b] = (b / pixel_divisor - mean[c]) / std[c], each step rounded to float32 as torch does */
        float channel_scale[MODEL_CHANNELS_MAX][256];
    };
    char **labels;      /* label_count of them, or NULL */
    size_t label_count; /* 0 without labels, 2 for TASK_BINARY, else out_features */

    struct state_dict *state_dict; /* holds the parameters' values; NULL after model_drop_weights */
};

/* What byte `b` is at element `index` of a row, as a float. Where channels is 1, pixel_scale[b] is the same. */
static inline float model_pixel(const struct model *model, size_t index, unsigned char b)
{
    const size_t channel = model->channels > 1 ? index / (model->in_features / model->channels) : 0;
    return model->channel_scale[channel][b];
}

/* The classes that an answer can name: two if the model is binary, none if it is a regression. */
static inline size_t model_class_count(const struct model *model)
{
    if (model->task == TASK_REGRESSION)
        return 0;
    return model->task == TASK_BINARY ? 2 : model->out_features;
}

/* Reads the folder `path`, or the file of parameters at `path`, beside which structure.txt and model.json are read if it has
 * the name that it would have in such a folder. Every fault is one message with the file, what was found, what was expected and the mend;
 * a Linear whose in_features do not fit the layer before is refused with both names and both numbers; a tensor that is
 * missing, of another shape, or that no layer uses is refused by its name. On success *ret is the caller's. */
enum status model_load(const char *path, const char *name, const char *version, struct model **ret,
                       struct error *err);

/* Frees the parameters' values (layers' weight, bias, mean and variance become NULL), once a backend has packed them. */
void model_drop_weights(struct model *model);

/* Takes NULL. */
void model_free(struct model *model);

#endif
