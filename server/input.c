#include "server/input.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/finite.h"
#include "engine/tensor_text.h"
#include "server/base64.h"
#include "server/image.h"
#include "server/json_tensor.h"
#include "server/multipart.h"
#include "server/npy.h"

enum { KEEP_BYTES = 64 * 1024 }; /* of each piece of memory, from one request to the next */

enum body_kind { BODY_MULTIPART, BODY_PICTURE, BODY_NPY, BODY_RAW, BODY_JSON };

struct input_scratch {
    const struct model *model;
    const struct input_options *options; /* while input_read runs */
    uint8_t *pixels;                     /* one picture, a row of it */
    size_t pixels_capacity;              /* bytes */
    struct picture_size *sizes;          /* (rows_max), or NULL until a picture is resized */
    struct json_tensor json;
    struct buffer text; /* a JSON string without its escapes, then the bytes it was base64 of */
};

static enum status no_memory(struct error *err)
{
    error_set(err, STATUS_NO_MEMORY, "there is no memory to read the request's body");
    return error_hint(err, "send fewer rows at once, or send it again in a moment");
}

/* Whether a header's value names this type, whatever parameters follow; `type` may end in a slash: any subtype. */
static bool has_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);
    content_type += strspn(content_type, " \t");
    return strncasecmp(content_type, type, len) == 0 &&
           (type[len - 1] == '/' || !content_type[len] || strchr("; \t", content_type[len]));
}

/* ---- shapes ---- */

static bool is_picture_shape(const struct model *model, const size_t *shape)
{
    return model->width && shape[0] == model->height && shape[1] == model->width;
}

static size_t channels_of(const struct model *model)
{
    return model->channels > 1 ? model->channels : 1;
}

/* (channels, height, width), as torch has them. */
static bool is_planes_shape(const struct model *model, const size_t *shape)
{
    return shape[0] == channels_of(model) && is_picture_shape(model, shape + 1);
}

/* Whether a tensor of this shape is rows of the model: (features) and (height, width), or (channels, height, width) if there
 * are several channels, without a batch axis; (N, features), (N, height, width) for one channel, and (N, channels, height,
 * width) with one. Channels behind the width are refused: where all sizes are equal nothing would tell them apart. */
static bool rows_of_shape(const struct model *model, const size_t *shape, size_t dims, size_t *ret_count,
                          bool *ret_batched)
{
    bool gray = channels_of(model) == 1;
    bool single = (dims == 1 && shape[0] == model->in_features) ||
                  (gray ? dims == 2 && is_picture_shape(model, shape) : dims == 3 && is_planes_shape(model, shape));
    bool batched = (dims == 2 && shape[1] == model->in_features) ||
                   (dims == 3 && gray && is_picture_shape(model, shape + 1)) ||
                   (dims == 4 && is_planes_shape(model, shape + 1));
    if (!single && !batched)
        return false;
    *ret_batched = !single;
    *ret_count = single ? 1 : shape[0];
    return *ret_count > 0;
}

static bool has_channels_last(const struct model *model, const size_t *shape, size_t dims)
{
    if (dims != 3 && dims != 4)
        return false;
    return is_picture_shape(model, shape + dims - 3) && shape[dims - 1] == channels_of(model);
}

static void say_planes(const struct model *model, const char *came, struct error *err)
{
    size_t f = model->in_features, c = model->channels, w = model->width, h = model->height;
    error_set(err, STATUS_INVALID,
              "a tensor of shape %s came; expected (%zu, %zu, %zu) or (%zu,) for one row, "
              "(N, %zu, %zu, %zu) or (N, %zu) for N",
              came, c, h, w, f, c, h, w, f);
}

static void say_pictures(const struct model *model, const char *came, struct error *err)
{
    size_t f = model->in_features, w = model->width, h = model->height;
    error_set(err, STATUS_INVALID,
              "a tensor of shape %s came; expected (%zu, %zu) or (%zu,) for one row, "
              "(N, %zu, %zu), (N, %zu) or (N, 1, %zu, %zu) for N",
              came, h, w, f, h, w, f, h, w);
}

static enum status refuse_shape(const struct model *model, const size_t *shape, size_t dims, struct error *err)
{
    char text[160];
    tensor_text_shape(shape, dims, text, sizeof text);
    size_t f = model->in_features;
    if (model->width && channels_of(model) > 1)
        say_planes(model, text, err);
    else if (model->width)
        say_pictures(model, text, err);
    else
        error_set(err, STATUS_INVALID, "a tensor of shape %s came; expected (%zu,) for one row, (N, %zu) for N",
                  text, f, f);
    if (has_channels_last(model, shape, dims))
        return error_hint(err, "its channels stand last, and torch has them before the height: send it as %s",
                          dims == 3 ? "x.transpose(2, 0, 1)" : "x.transpose(0, 3, 1, 2)");
    return error_hint(err, "reshape it; GET /model says what this model takes");
}

/* ---- pictures ---- */

static enum status read_picture(struct input *input, const void *data, size_t len, struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    const struct model *model = scratch->model;
    if (!model->width) {
        error_set(err, STATUS_INVALID, "a picture came, but this model takes rows of %zu numbers",
                  model->in_features);
        return error_hint(err, "send a tensor, or give the model's folder a model.json with "
                               "\"input\":{\"width\":W,\"height\":H} for a model of pictures");
    }
    if (channels_of(model) != 1 && channels_of(model) != 3) {
        error_set(err, STATUS_INVALID, "a picture came, but this model takes %zu channels of %zux%zu",
                  model->channels, model->width, model->height);
        return error_hint(err, "a picture is gray or red, green and blue; send a tensor of shape (%zu, %zu, %zu)",
                          model->channels, model->height, model->width);
    }
    const struct image_options options = {
        .width = model->width,
        .height = model->height,
        .colour = channels_of(model) == 3,
        .pixels_max = scratch->options->pixels_max,
        .refuse_resize = scratch->options->refuse_resize,
        .invert = scratch->options->invert,
        .account = input->set.account,
    };
    struct image_info info;
    enum status status = image_decode(data, len, &options, scratch->pixels, &info, err);
    if (status == STATUS_OK)
        status = row_set_append(&input->set, scratch->pixels, ROW_UINT8, 1, err);
    if (status != STATUS_OK || !info.resized)
        return status;
    if (!scratch->sizes)
        scratch->sizes = calloc(scratch->options->rows_max, sizeof *scratch->sizes);
    if (!scratch->sizes)
        return no_memory(err);
    scratch->sizes[input->set.count - 1] = (struct picture_size){info.width, info.height};
    input->sizes = scratch->sizes;
    return STATUS_OK;
}

/* A body that is called a picture but has no picture's signature: of a kind that is read here, it is broken. */
static enum status refuse_picture_type(const char *content_type, struct error *err)
{
    static const char *const read_here[] = {"image/png",
                                            "image/jpeg",
                                            "image/jpg",
                                            "image/bmp",
                                            "image/x-ms-bmp",
                                            "image/x-portable-graymap",
                                            "image/x-portable-pixmap",
                                            "image/x-portable-anymap"};
    enum status status = STATUS_UNSUPPORTED;
    for (size_t i = 0; i < sizeof read_here / sizeof *read_here; i++)
        if (has_type(content_type, read_here[i]))
            status = STATUS_INVALID;
    error_set(err, status, "Content-Type %.100s, but the body does not begin as a whole PNG, JPEG, BMP or PNM",
              content_type);
    return error_hint(err,
                      "send the whole file, converted to PNG if it is of another kind; with curl: --data-binary "
                      "@boot.png");
}

/* ---- raw tensors and .npy ---- */

static enum status refuse_raw_length(const struct input_scratch *scratch, size_t len, struct error *err)
{
    size_t f = scratch->model->in_features;
    switch (scratch->options->dtype) {
    case INPUT_DTYPE_UINT8:
        error_set(err, STATUS_INVALID,
                  "%zu bytes came with dtype=uint8; expected a multiple of %zu, the bytes of a row", len, f);
        break;
    case INPUT_DTYPE_FLOAT32:
        error_set(err, STATUS_INVALID,
                  "%zu bytes came with dtype=float32; expected a multiple of %zu, the bytes of a row", len, f * 4);
        break;
    case INPUT_DTYPE_ANY:
        error_set(err, STATUS_INVALID,
                  "%zu raw bytes came; expected %zu (one row of uint8) or %zu (one row of float32)", len, f, f * 4);
        break;
    }
    return error_hint(err,
                      "rows are little-endian, in C order and without a header; several rows need ?dtype=uint8 or "
                      "?dtype=float32; a picture is sent as its file, with curl by --data-binary @boot.png");
}

static enum status read_raw(struct input *input, const void *data, size_t len, struct error *err)
{
    const struct input_scratch *scratch = input->scratch;
    bool any = scratch->options->dtype == INPUT_DTYPE_ANY;
    bool uint8 = any ? len == scratch->model->in_features : scratch->options->dtype == INPUT_DTYPE_UINT8;
    enum row_dtype dtype = uint8 ? ROW_UINT8 : ROW_FLOAT32;
    size_t bytes = backend_row_bytes(scratch->model, dtype), count = len / bytes;
    if (!count || len % bytes || (any && count > 1))
        return refuse_raw_length(scratch, len, err);
    input->batched = count > 1;
    return row_set_take(&input->set, data, dtype, count, err);
}

/* The elements in C order and as one of the two dtypes, in *ret_rows: in the body, or in memory that *ret_owned names. */
static enum status convert_npy(const struct npy *npy, struct account *account, const void **ret_rows,
                               void **ret_owned, struct error *err)
{
    bool as_is = !npy->fortran_order && !npy->big_endian && (npy->dtype == NPY_UINT8 || npy->dtype == NPY_FLOAT32);
    *ret_owned = NULL;
    *ret_rows = npy->data;
    if (as_is)
        return STATUS_OK;
    size_t bytes = npy->count * (npy->dtype == NPY_UINT8 ? 1 : sizeof(float));
    enum status status = account_pay(account, bytes, err);
    if (status != STATUS_OK)
        return status;
    *ret_owned = malloc(bytes);
    if (!*ret_owned)
        return no_memory(err);
    if (npy->dtype == NPY_UINT8)
        npy_read_u8(npy, *ret_owned);
    else
        npy_read_f32(npy, *ret_owned);
    *ret_rows = *ret_owned;
    return STATUS_OK;
}

static enum status read_npy(struct input *input, const void *data, size_t len, struct error *err)
{
    const struct model *model = input->scratch->model;
    struct npy npy;
    size_t count;
    const void *rows;
    void *owned;
    enum status status = npy_parse(data, len, &npy, err);
    if (status != STATUS_OK)
        return status;
    if (!rows_of_shape(model, npy.shape, npy.dims, &count, &input->batched))
        return refuse_shape(model, npy.shape, npy.dims, err);
    status = row_set_check_room(&input->set, count, err);
    if (status == STATUS_OK)
        status = convert_npy(&npy, input->set.account, &rows, &owned, err);
    if (status != STATUS_OK)
        return status;
    enum row_dtype dtype = npy.dtype == NPY_UINT8 ? ROW_UINT8 : ROW_FLOAT32;
    status = owned ? row_set_append(&input->set, rows, dtype, count, err)
                   : row_set_take(&input->set, rows, dtype, count, err);
    free(owned);
    return status;
}

/* ---- JSON ---- */

static enum status read_json_numbers(struct input *input, struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    struct json_tensor *json = &scratch->json;
    const struct model *model = scratch->model;
    size_t count;
    if (!rows_of_shape(model, json->shape, json->dims, &count, &input->batched))
        return refuse_shape(model, json->shape, json->dims, err);
    for (size_t i = 0; json->is_uint8 && i < json->value_count; i++)
        json->values[i] = model_pixel(model, i % model->in_features, (uint8_t)json->values[i]);
    return row_set_take(&input->set, json->values, ROW_FLOAT32, count, err);
}

static enum status read_json_picture(struct input *input, struct json_string string, struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    size_t decoded_max = base64_decoded_max(string.len);
    scratch->text.len = 0;
    if (string.len > scratch->text.capacity) {
        enum status paid = account_pay(input->set.account, string.len - scratch->text.capacity, err);
        if (paid != STATUS_OK)
            return paid;
    }
    if (!buffer_reserve(&scratch->text, string.len > decoded_max ? string.len : decoded_max))
        return no_memory(err);
    size_t len = json_string_unescape(string, scratch->text.data);
    enum status status = base64_decode(scratch->text.data, len, scratch->text.data, &len, err);
    if (status != STATUS_OK)
        return status;
    if (image_sniff(scratch->text.data, len) != IMAGE_NONE)
        return read_picture(input, scratch->text.data, len, err);
    error_set(err, STATUS_INVALID, "it is %zu bytes in base64 that do not begin as a whole PNG, JPEG, BMP or PNM",
              len);
    return error_hint(err, "encode the whole file, for example with: base64 -w0 boot.png");
}

static enum status read_json_pictures(struct input *input, struct error *err)
{
    const struct json_tensor *json = &input->scratch->json;
    input->batched = json->dims > 0;
    for (size_t i = 0; i < json->string_count; i++) {
        enum status status = read_json_picture(input, json->strings[i], err);
        if (status != STATUS_OK)
            return error_prefix(err, "string %zu: ", i);
    }
    return STATUS_OK;
}

/* What `len` bytes of JSON can become: a number in two of them, a picture's place in about as many as its text. */
static size_t json_bytes_max(const struct json_tensor *json, size_t len)
{
    size_t numbers = json->values_max * sizeof *json->values, strings = json->strings_max * sizeof *json->strings;
    return (2 * len < numbers ? 2 * len : numbers) + (len < strings ? len : strings);
}

static enum status read_json(struct input *input, const char *text, size_t len, struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    struct json_tensor *json = &scratch->json;
    size_t rows_left = input->set.rows_max - input->set.count;
    json->values_max = rows_left * scratch->model->in_features;
    json->strings_max = rows_left;
    enum status status = account_pay(input->set.account, json_bytes_max(json, len), err);
    if (status == STATUS_OK)
        status = json_tensor_read(text, len, json, err);
    if (status == STATUS_TOO_LARGE) {
        error_set(err, status, "more than %zu rows of %zu numbers, or as many pictures, in one request",
                  input->set.rows_max, scratch->model->in_features);
        return error_hint(err, "split it over several requests, or start mlpd with a larger --rows-max");
    }
    if (status != STATUS_OK)
        return status;
    return json->string_count ? read_json_pictures(input, err) : read_json_numbers(input, err);
}

/* A body that nothing else claimed was read as JSON and is none: say all that it could have been. */
static enum status refuse_unrecognised(const struct model *model, struct error *err)
{
    size_t f = model->in_features;
    return error_hint(err,
                      "the body is no PNG, JPEG, BMP, PNM or .npy by its first bytes, and neither %zu nor %zu raw "
                      "bytes, so it was read as JSON; send one of these, for example with curl: --data-binary "
                      "@boot.png",
                      f, f * 4);
}

/* ---- what it is ---- */

static bool is_raw_length(const struct model *model, size_t len)
{
    return len == model->in_features || len == model->in_features * sizeof(float);
}

static bool kind_of_signature(const char *body, size_t len, enum body_kind *ret_kind)
{
    if (image_sniff(body, len) != IMAGE_NONE)
        *ret_kind = BODY_PICTURE;
    else if (npy_sniff(body, len))
        *ret_kind = BODY_NPY;
    else
        return false;
    return true;
}

/* *ret_guessed: nothing but the exclusion of all else says that it is JSON. */
static enum body_kind kind_of_body(const struct input_scratch *scratch, const char *content_type, const char *body,
                                   size_t len, bool *ret_guessed)
{
    enum body_kind kind;
    *ret_guessed = false;
    if (has_type(content_type, "multipart/form-data"))
        return BODY_MULTIPART;
    if (scratch->options->dtype != INPUT_DTYPE_ANY)
        return npy_sniff(body, len) ? BODY_NPY : BODY_RAW;
    if (has_type(content_type, "application/json"))
        return BODY_JSON;
    if (has_type(content_type, "image/"))
        return BODY_PICTURE;
    bool octets = has_type(content_type, "application/octet-stream");
    if (octets && is_raw_length(scratch->model, len))
        return BODY_RAW;
    if (kind_of_signature(body, len, &kind))
        return kind;
    if (octets || (is_raw_length(scratch->model, len) && !json_is_valid(body, len)))
        return BODY_RAW;
    *ret_guessed = true;
    return BODY_JSON;
}

static enum status read_multipart(struct input *input, const char *content_type, const char *body, size_t len,
                                  struct error *err);

static enum status read_body(struct input *input, const char *content_type, const char *body, size_t len,
                             struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    bool guessed;
    if (!len) {
        error_set(err, STATUS_INVALID, "the body is empty");
        return error_hint(err, "send a picture, a raw tensor, an .npy or JSON; with curl: --data-binary @boot.png");
    }
    switch (kind_of_body(scratch, content_type, body, len, &guessed)) {
    case BODY_MULTIPART: return read_multipart(input, content_type, body, len, err);
    case BODY_NPY: return read_npy(input, body, len, err);
    case BODY_RAW: return read_raw(input, body, len, err);
    case BODY_PICTURE:
        if (image_sniff(body, len) == IMAGE_NONE)
            return refuse_picture_type(content_type, err);
        return read_picture(input, body, len, err);
    case BODY_JSON: break;
    }
    enum status status = read_json(input, body, len, err);
    if (status == STATUS_INVALID && guessed && !json_is_valid(body, len))
        return refuse_unrecognised(scratch->model, err);
    return status;
}

/* The JSON reader wants a NUL behind the text, and a tensor wants alignment: a part that is read as JSON is copied. */
static enum status read_part(struct input *input, const struct multipart_part *part, struct error *err)
{
    if (has_type(part->content_type, "multipart/")) {
        error_set(err, STATUS_UNSUPPORTED, "it is itself multipart");
        return error_hint(err, "send each picture or tensor as a part of the outer form");
    }
    char *copy = malloc(part->len + 1);
    if (!copy)
        return no_memory(err);
    memcpy(copy, part->data, part->len);
    copy[part->len] = '\0';
    enum status status = read_body(input, part->content_type, copy, part->len, err);
    free(copy);
    return status;
}

static enum status read_multipart(struct input *input, const char *content_type, const char *body, size_t len,
                                  struct error *err)
{
    struct multipart parts;
    struct multipart_part part;
    size_t part_count = 0;
    bool any_batched = false;
    enum status status = multipart_begin(&parts, content_type, body, len, err);
    input->set.copies = true;
    while (status == STATUS_OK && (status = multipart_next(&parts, &part, err)) == STATUS_OK && part.data) {
        status = read_part(input, &part, err);
        part_count++;
        any_batched |= input->batched;
        if (status != STATUS_OK)
            return error_prefix(err, "part %zu%s%s%s: ", part_count, *part.name ? " (" : "", part.name,
                                *part.name ? ")" : "");
    }
    input->batched = any_batched || part_count > 1;
    return status;
}

static enum status check_finite(const struct row_set *set, struct error *err)
{
    size_t f = set->model->in_features, index;
    const float *rows = set->rows;
    if (set->dtype != ROW_FLOAT32 || all_finite(rows, set->count * f, &index))
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "row %zu, index %zu is %s", index / f, index % f,
              isnan(rows[index]) ? "NaN"
              : rows[index] > 0  ? "infinity"
                                 : "-infinity");
    return error_hint(err, "send finite numbers within float32's range; rows and indices count from 0");
}

enum status input_read(struct input *input, const struct input_options *options, const char *body, size_t len,
                       struct error *err)
{
    input->scratch->options = options;
    input->set.rows_max = options->rows_max;
    enum status status = read_body(input, options->content_type, body, len, err);
    return status == STATUS_OK ? check_finite(&input->set, err) : status;
}

/* ---- life ---- */

enum status input_set_model(struct input *input, const struct model *model, struct error *err)
{
    struct input_scratch *scratch = input->scratch;
    if (model->in_features > scratch->pixels_capacity) {
        uint8_t *grown = realloc(scratch->pixels, model->in_features);
        if (!grown)
            return no_memory(err);
        scratch->pixels = grown;
        scratch->pixels_capacity = model->in_features;
    }
    scratch->model = input->set.model = model;
    return STATUS_OK;
}

struct input *input_create(const struct model *model)
{
    struct input *input = calloc(1, sizeof *input);
    struct input_scratch *scratch = calloc(1, sizeof *scratch);
    if (!input || !scratch) {
        free(input);
        free(scratch);
        return NULL;
    }
    input->scratch = scratch;
    if (!model || input_set_model(input, model, NULL) == STATUS_OK)
        return input;
    input_free(input);
    return NULL;
}

static void free_json(struct json_tensor *json)
{
    free(json->values);
    free(json->strings);
    *json = (struct json_tensor){0};
}

void input_reset(struct input *input)
{
    if (!input)
        return;
    struct input_scratch *scratch = input->scratch;
    const struct json_tensor *json = &scratch->json;
    if (json->values_capacity * sizeof *json->values + json->strings_capacity * sizeof *json->strings > KEEP_BYTES)
        free_json(&scratch->json);
    buffer_reset(&scratch->text, KEEP_BYTES);
    free(scratch->sizes);
    scratch->sizes = NULL;
    row_set_reset(&input->set, KEEP_BYTES);
    input->sizes = NULL;
    input->batched = false;
}

void input_free(struct input *input)
{
    if (!input)
        return;
    struct input_scratch *scratch = input->scratch;
    row_set_free(&input->set);
    free_json(&scratch->json);
    buffer_free(&scratch->text);
    free(scratch->sizes);
    free(scratch->pixels);
    free(scratch);
    free(input);
}
