/* Pillow's reduction and enlargement of 8-bit pictures with the triangle ("BILINEAR") filter, to the bit.
 *
 * An output pixel is the weighted mean of the source pixels under a triangle around its centre, whose half-width is one
 * source pixel, or one output pixel where the picture shrinks. Weights are normalised as doubles, then rounded to 22
 * bits of fraction. Rows are resized first, and rounded to 8 bits; then columns.
 *
 * The rows are taken as a stream: each one is resized and added to the output rows that it has a part in, so that the
 * intermediate picture (which for a tall picture is wider than the source) is never held. The sums are of integers, thus
 * the same in any order.
 */
#include "server/image.h"

#include <stdlib.h>
#include <string.h>

enum { WEIGHT_BITS = 22 };

/* Which source pixels an output pixel is made of. */
struct window {
    size_t first, count;
    double centre;
    double sum; /* of the weights, not yet normalised */
};

struct axis {
    size_t src_size, dst_size;
    double scale;   /* source pixels for one output pixel */
    double support; /* half the width of the triangle, in source pixels */
    struct window *windows;
};

static double triangle(double x)
{
    x = x < 0 ? -x : x;
    return x < 1 ? 1 - x : 0;
}

static double weight_raw(const struct axis *axis, const struct window *window, size_t src)
{
    return triangle(((double)src - window->centre + 0.5) * (1 / axis->support));
}

static uint32_t weight_fixed(const struct axis *axis, const struct window *window, size_t src)
{
    double weight = weight_raw(axis, window, src);
    if (window->sum != 0)
        weight /= window->sum;
    return (uint32_t)(0.5 + weight * (1 << WEIGHT_BITS));
}

static struct window window_at(const struct axis *axis, size_t dst)
{
    struct window window = {.centre = ((double)dst + 0.5) * axis->scale};
    double begin = window.centre - axis->support + 0.5, end = window.centre + axis->support + 0.5;
    window.first = begin > 0 ? (size_t)begin : 0;
    size_t after = end < (double)axis->src_size ? (size_t)end : axis->src_size;
    window.count = after - window.first;
    for (size_t src = window.first; src < after; src++)
        window.sum += weight_raw(axis, &window, src);
    return window;
}

static enum status axis_init(struct axis *axis, size_t src_size, size_t dst_size)
{
    axis->src_size = src_size;
    axis->dst_size = dst_size;
    axis->scale = (double)src_size / (double)dst_size;
    axis->support = axis->scale < 1 ? 1 : axis->scale;
    axis->windows = calloc(dst_size, sizeof *axis->windows);
    if (!axis->windows)
        return STATUS_NO_MEMORY;
    for (size_t dst = 0; dst < dst_size; dst++)
        axis->windows[dst] = window_at(axis, dst);
    return STATUS_OK;
}

/* All weights of the axis, window after window; NULL if memory ran out. */
static uint32_t *axis_weights(const struct axis *axis)
{
    size_t total = 0;
    for (size_t dst = 0; dst < axis->dst_size; dst++)
        total += axis->windows[dst].count;
    uint32_t *weights = calloc(total, sizeof *weights), *next = weights;
    for (size_t dst = 0; weights && dst < axis->dst_size; dst++) {
        const struct window *window = &axis->windows[dst];
        for (size_t i = 0; i < window->count; i++)
            *next++ = weight_fixed(axis, window, window->first + i);
    }
    return weights;
}

static uint8_t round_to_gray(uint32_t sum)
{
    uint32_t gray = (sum + (1u << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return gray > 255 ? 255 : (uint8_t)gray;
}

/* src is (axis->src_size), dst is (axis->dst_size). */
static void resize_row(const struct axis *axis, const uint32_t *weights, const uint8_t *src, uint8_t *dst)
{
    for (size_t x = 0; x < axis->dst_size; x++) {
        const struct window *window = &axis->windows[x];
        const uint8_t *pixels = src + window->first;
        uint32_t sum = 0;
        for (size_t i = 0; i < window->count; i++)
            sum += pixels[i] * weights[i];
        weights += window->count;
        dst[x] = round_to_gray(sum);
    }
}

struct resize {
    struct axis columns, rows;
    uint32_t *weights; /* of the columns */
    uint8_t *row;      /* one source row, resized: (columns.dst_size) */
    uint32_t *sums;    /* (rows.dst_size, columns.dst_size) */
};

static void resize_free(struct resize *resize)
{
    free(resize->columns.windows);
    free(resize->rows.windows);
    free(resize->weights);
    free(resize->row);
    free(resize->sums);
}

/* Adds the resized row y to each output row whose window holds y. The windows' ends never go back, so those before
 * *first_open are done with for good. */
static void add_row(struct resize *resize, size_t y, size_t *first_open)
{
    const struct axis *rows = &resize->rows;
    size_t width = resize->columns.dst_size;
    while (*first_open < rows->dst_size && rows->windows[*first_open].first + rows->windows[*first_open].count <= y)
        ++*first_open;
    for (size_t out = *first_open; out < rows->dst_size && rows->windows[out].first <= y; out++) {
        uint32_t weight = weight_fixed(rows, &rows->windows[out], y);
        uint32_t *sums = resize->sums + out * width;
        for (size_t x = 0; x < width; x++)
            sums[x] += resize->row[x] * weight;
    }
}

static enum status resize_init(struct resize *resize, size_t src_width, size_t src_height, size_t dst_width,
                               size_t dst_height)
{
    memset(resize, 0, sizeof *resize);
    if (axis_init(&resize->columns, src_width, dst_width) != STATUS_OK ||
        axis_init(&resize->rows, src_height, dst_height) != STATUS_OK)
        return STATUS_NO_MEMORY;
    resize->weights = axis_weights(&resize->columns);
    resize->row = malloc(dst_width);
    resize->sums = calloc(dst_height, dst_width * sizeof *resize->sums);
    return resize->weights && resize->row && resize->sums ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status image_resize_gray(const uint8_t *src, size_t src_width, size_t src_height, uint8_t *dst,
                              size_t dst_width, size_t dst_height, struct error *err)
{
    struct resize resize;
    enum status status = resize_init(&resize, src_width, src_height, dst_width, dst_height);
    if (status != STATUS_OK) {
        error_set(err, status, "out of memory while resizing a picture of %zux%zu to %zux%zu", src_width,
                  src_height, dst_width, dst_height);
        goto done;
    }
    size_t first_open = 0;
    for (size_t y = 0; y < src_height; y++) {
        resize_row(&resize.columns, resize.weights, src + y * src_width, resize.row);
        add_row(&resize, y, &first_open);
    }
    for (size_t i = 0; i < dst_width * dst_height; i++)
        dst[i] = round_to_gray(resize.sums[i]);
done:
    resize_free(&resize);
    return status;
}
