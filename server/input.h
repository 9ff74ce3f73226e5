/* What a body is, and the rows that it holds: pictures, raw tensors, .npy, JSON, multipart, decided in the order that
 * input_read's comment gives. One input belongs to one thread at a time; its memory serves request after request.
 *
 *     struct input *input = input_create(model);
 *     input_set_model(input, another, &err);                   // between two requests, where there are several models
 *     if (input_read(input, &options, body, len, &err) == STATUS_OK)
 *         use(input->set.rows, input->set.dtype, input->set.count);   // until input_reset, and while `body` lives
 *     input_reset(input);
 *     input_free(input);
 */
#ifndef MLPD_SERVER_INPUT_H
#define MLPD_SERVER_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/model.h"
#include "engine/status.h"
#include "server/row_set.h"

enum input_dtype { INPUT_DTYPE_ANY, INPUT_DTYPE_UINT8, INPUT_DTYPE_FLOAT32 };

struct input_options {
    const char *content_type; /* the header's value; "" if there was none */
    enum input_dtype dtype;   /* ?dtype= */
    bool refuse_resize;       /* ?resize=0 */
    bool invert;              /* ?invert=1 */
    size_t rows_max;
    size_t pixels_max;
};

struct picture_size {
    size_t width, height; /* as the picture came; 0 where the row was no picture, or of the right size */
};

struct input {
    /* What input_read found. */
    struct row_set set;               /* the rows: in the body itself, or copied */
    bool batched;                     /* the input had a batch axis, even of one row */
    const struct picture_size *sizes; /* of set.count rows; NULL if no picture was resized */

    struct input_scratch *scratch; /* the module's own */
};

/* NULL if out of memory. The model outlives what is read for it; NULL: input_set_model says it. */
struct input *input_create(const struct model *model);

/* What is read from now on is for this model. While the input is empty: it was reset, or never read. */
enum status input_set_model(struct input *input, const struct model *model, struct error *err);

/* Decides, in this order: multipart by content type; options->dtype given: raw, or .npy by its magic; the content types
 * application/json, image/..., application/octet-stream; full signatures (PNG, JPEG, BMP, PNM, .npy); exactly in_features or
 * 4 x in_features bytes that are not JSON: raw; else JSON. Then reads it. Refusals say what came, what was expected, and
 * how to send it; a float that is NaN or infinite is refused with its row and index. */
enum status input_read(struct input *input, const struct input_options *options, const char *body, size_t len,
                       struct error *err);

/* Forgets the rows, and gives memory back that was taken for unusually large ones. Takes NULL. */
void input_reset(struct input *input);

/* Takes NULL. */
void input_free(struct input *input);

#endif
