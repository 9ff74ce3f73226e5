/* Models for tests: loaded from a folder that is written for it, with weights that only the layers' sizes decide, or made
 * by hand where a test needs no weights.
 *
 *     struct model *model = fixture_load((const char *const[]){FLATTEN, LINEAR(784, 20), RELU, LINEAR(20, 10), NULL}, NULL);
 *     ...
 *     model_free(model);
 *
 *     struct model model = fixture_pictures(28, 28);     // in_features, size and scaling; nothing to free
 */
#ifndef MLPD_TESTS_UNIT_FIXTURE_H
#define MLPD_TESTS_UNIT_FIXTURE_H

#include <stdint.h>

#include "engine/model.h"
#include "tests/unit/engine/folder.h"

#define FLATTEN              "Flatten(start_dim=1, end_dim=-1)"
#define RELU                 "ReLU()"
#define SOFTMAX              "Softmax(dim=1)"
#define DROPOUT              "Dropout(p=0.2, inplace=False)"
#define IDENTITY             "Identity()"
#define LINEAR(in, out)      "Linear(in_features=" #in ", out_features=" #out ", bias=True)"
#define LINEAR_BARE(in, out) "Linear(in_features=" #in ", out_features=" #out ", bias=False)"

/* A float between -1 and 1 that is not round; *state runs through all of 64 bits (Knuth's MMIX constants). */
static inline float fixture_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(*state >> 32) / 2147483648.0f;
}

static inline void fixture_fill(float *values, size_t count, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++)
        values[i] = fixture_random(&state);
}

/* Bytes of which about half are zero, as in pictures of clothing. */
static inline void fixture_fill_bytes(uint8_t *bytes, size_t count, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++) {
        float value = fixture_random(&state);
        bytes[i] = value > 0 ? (uint8_t)(value * 255.0f + 0.5f) : 0;
    }
}

static inline void fixture_set_scale(struct model *model, float divisor)
{
    model->pixel_divisor = divisor;
    for (size_t b = 0; b < 256; b++)
        model->pixel_scale[b] = (float)b / divisor;
}

/* Enough of a model for what looks at its input alone. width 0: a model of plain rows. */
static inline struct model fixture_rows(size_t in_features, size_t out_features)
{
    struct model model = {.in_features = in_features, .out_features = out_features};
    fixture_set_scale(&model, 255.0f);
    return model;
}

static inline struct model fixture_pictures(size_t width, size_t height)
{
    struct model model = fixture_rows(width * height, 10);
    model.width = width;
    model.height = height;
    return model;
}

/* Writes one tensor's entry of the header; returns the byte behind its data. */
static inline size_t fixture_tensor(FILE *header, size_t index, const char *shape, const char *suffix, size_t begin,
                                    size_t count)
{
    size_t end = begin + count * sizeof(float);
    fprintf(header, "%s\"%zu.%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", begin ? "," : "{",
            index, suffix, shape, begin, end);
    return end;
}

/* The parameters of all Linear modules: `weight` and `bias` of each in turn. Returns their bytes. */
static inline size_t fixture_tensors(FILE *header, const char *const *modules)
{
    size_t end = 0;
    for (size_t i = 0; modules[i]; i++) {
        size_t in, out;
        char shape[64];
        if (sscanf(modules[i], "Linear(in_features=%zu, out_features=%zu", &in, &out) != 2)
            continue;
        snprintf(shape, sizeof shape, "[%zu,%zu]", out, in);
        end = fixture_tensor(header, i, shape, "weight", end, in * out);
        snprintf(shape, sizeof shape, "[%zu]", out);
        if (strstr(modules[i], "bias=True"))
            end = fixture_tensor(header, i, shape, "bias", end, out);
    }
    fputc('}', header);
    return end;
}

static inline void fixture_write_parameters(const char *folder, const char *const *modules)
{
    char *header;
    size_t header_len;
    FILE *out = open_memstream(&header, &header_len);
    ck_assert_ptr_nonnull(out);
    size_t count = fixture_tensors(out, modules) / sizeof(float);
    ck_assert_int_eq(fclose(out), 0);
    float *values = malloc(count * sizeof *values);
    ck_assert_ptr_nonnull(values);
    fixture_fill(values, count, count);
    folder_write_parameters(folder, header, values, count);
    free(values);
    free(header);
}

static inline void fixture_write_structure(const char *folder, const char *const *modules)
{
    char *path = folder_path(folder, "structure.txt");
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    fputs("Sequential(\n", out);
    for (size_t i = 0; modules[i]; i++)
        fprintf(out, "  (%zu): %s\n", i, modules[i]);
    fputs(")\n", out);
    ck_assert_int_eq(fclose(out), 0);
    free(path);
}

/* The model's files in `folder`, which exists. json may be NULL: no model.json. */
static inline void fixture_write(const char *folder, const char *const *modules, const char *json)
{
    fixture_write_structure(folder, modules);
    fixture_write_parameters(folder, modules);
    if (json)
        folder_write(folder, "model.json", json);
}

/* A Sequential of these modules, NULL-terminated, named "fixture" in version "1". Its weights are between -1 and 1. */
static inline struct model *fixture_load(const char *const *modules, const char *json)
{
    struct model *model;
    struct error err = {0};
    char *folder = folder_create();
    fixture_write(folder, modules, json);
    enum status status = model_load(folder, "fixture", "1", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    folder_remove(folder);
    return model;
}

#endif
