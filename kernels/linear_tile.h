/* Linear layers, written once over a handful of vector operations. Each cpu_*.c defines these for its instruction set,
 * includes this file and puts the functions into its table; everything is static, so that no code compiled for one
 * instruction set can be merged into another's. Before the inclusion stand
 *
 *     vector, VECTOR_FLOATS          a register and how many floats it holds
 *     vector_load(p), vector_store(p, v)          at any alignment
 *     vector_set1(x)                 x in every lane
 *     vector_add(a, b)               a + b
 *     vector_fma(a, b, c)            a b + c, in each lane the same operation, wherever it is used
 *     vector_max(a, b)               a > b ? a : b, so that a NaN in b stays
 *     TILE_ROWS, TILE_SHAPES(SHAPE)  the tallest tile, and SHAPE(rows, panels) for each shape of tile that is worth
 *                                    having; every height needs one of 1 panel, none has more than PANELS_MAX
 *
 * The weights are packed into panels of PANEL outputs, in the order in which they are read:
 *
 *     bias of outputs 0-15 | their weights for k = 0 | for k = 1 | ... || bias of outputs 16-31 | ...
 *
 * A tile is a few rows times a few panels. Its sums stay in registers while k runs over all of in_features: enough of
 * them that the processor never waits for one to finish, few enough that none is spilled. Each sum is one chain: bias,
 * then + x[k] w[k] for k = 0, 1, ...; which tile it sits in changes no bit of it. An x[k] of zero adds +0 or -0, which
 * changes nothing but the sign of a sum that is zero itself; the store adds +0, after which all zeros are +0, and so
 * leaving the zeros out gives the same bits. (Which NaN stands for a NaN is not defined.)
 */
#ifndef MLPD_KERNELS_LINEAR_TILE_H
#define MLPD_KERNELS_LINEAR_TILE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"

enum {
    PANEL_VECTORS = 2,
    PANEL = PANEL_VECTORS * VECTOR_FLOATS,
    PANELS_MAX = 4,           /* that a tile spans */
    BLOCK_BYTES = 128 * 1024, /* of x, which stay in the L2 cache while all weights pass by */
    SPARSE_ROWS = 3,          /* up to here a row may walk only the weights of its own non-zero inputs */
    PREFETCH = 8,             /* how many inputs ahead the weights of a sparse row are fetched */
};

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* What a tile computes: y = max(x W^T + b, floor) for its rows and panels. */
struct tile {
    const float *panel; /* the first of its panels; the next begins panel_floats later */
    size_t panel_floats;
    const float *x; /* (rows, in_features) */
    size_t in_features;
    const uint32_t
        *list; /* of a sparse row: the k that it walks, ascending, and then PREFETCH valid ones; or NULL */
    size_t list_count;
    float *y; /* (rows, panels x PANEL), y_stride floats from row to row */
    size_t y_stride;
    float floor; /* 0 for ReLU, else -infinity */
};

typedef void tile_function(const struct tile *tile);

/* `rows`, `panels` and `sparse` are constants wherever this is inlined, and so the loops over them unroll into
 * straight code over registers. */
static inline __attribute__((always_inline)) void tile_run(size_t rows, size_t panels, bool sparse,
                                                           const struct tile *tile)
{
    const size_t panel_floats = tile->panel_floats, in_features = tile->in_features, y_stride = tile->y_stride;
    const size_t count = sparse ? tile->list_count : in_features;
    const uint32_t *const list = tile->list;
    const float *const x = tile->x, *const bias = tile->panel, *const weights = tile->panel + PANEL;
    float *const y = tile->y;
    vector sum[TILE_ROWS][PANELS_MAX][PANEL_VECTORS];

    UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < panels; p++)
        UNROLL for (size_t v = 0; v < PANEL_VECTORS; v++)
            sum[r][p][v] = vector_load(bias + p * panel_floats + v * VECTOR_FLOATS);

    for (size_t i = 0; i < count; i++) {
        const size_t k = sparse ? list[i] : i;
        UNROLL for (size_t p = 0; p < panels; p++)
        {
            const float *const at = weights + p * panel_floats + k * PANEL;
            vector w[PANEL_VECTORS];
            if (sparse)
                __builtin_prefetch(weights + p * panel_floats + (size_t)list[i + PREFETCH] * PANEL);
            UNROLL for (size_t v = 0; v < PANEL_VECTORS; v++) w[v] = vector_load(at + v * VECTOR_FLOATS);
            UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t v = 0; v < PANEL_VECTORS; v++)
                sum[r][p][v] = vector_fma(vector_set1(x[r * in_features + k]), w[v], sum[r][p][v]);
        }
    }

    const vector floor = vector_set1(tile->floor), zero = vector_set1(0.0F);
    UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t p = 0; p < panels; p++)
        UNROLL for (size_t v = 0; v < PANEL_VECTORS; v++) vector_store(
            y + r * y_stride + p * PANEL + v * VECTOR_FLOATS, vector_max(floor, vector_add(sum[r][p][v], zero)));
}

#define DENSE_FUNCTION(rows, panels)                            \
    static void tile_##rows##x##panels(const struct tile *tile) \
    {                                                           \
        tile_run(rows, panels, false, tile);                    \
    }
TILE_SHAPES(DENSE_FUNCTION)

#define SPARSE_FUNCTION(panels)                            \
    static void sparse_1x##panels(const struct tile *tile) \
    {                                                      \
        tile_run(1, panels, true, tile);                   \
    }
SPARSE_FUNCTION(4)
SPARSE_FUNCTION(2)
SPARSE_FUNCTION(1)

/* By rows and panels; NULL where there is no such shape. */
#define DENSE_ENTRY(rows, panels) [rows][panels] = tile_##rows##x##panels,
static tile_function *const dense_tiles[TILE_ROWS + 1][PANELS_MAX + 1] = {TILE_SHAPES(DENSE_ENTRY)};
static tile_function *const sparse_tiles[PANELS_MAX + 1] = {[1] = sparse_1x1, [2] = sparse_1x2, [4] = sparse_1x4};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels_of(size_t outputs)
{
    return (outputs + PANEL - 1) / PANEL;
}

/* Runs a tile of which only the first `outputs` outputs exist: y must not be written beyond them. */
static void tile_run_partial(tile_function *run, const struct tile *tile, size_t rows, size_t outputs)
{
    float padded[TILE_ROWS * PANELS_MAX * PANEL];
    struct tile aside = *tile;
    aside.y = padded;
    aside.y_stride = (size_t)PANELS_MAX * PANEL;
    run(&aside);
    for (size_t r = 0; r < rows; r++)
        memcpy(tile->y + r * tile->y_stride, padded + r * aside.y_stride, outputs * sizeof *padded);
}

/* The tile's rows times `outputs` outputs from its first panel on, by the widest shapes that there are. */
static void tile_run_across(struct tile tile, size_t rows, size_t outputs)
{
    tile_function *const *shapes = tile.list ? sparse_tiles : dense_tiles[rows];
    while (outputs) {
        size_t panels = smaller(panels_of(outputs), PANELS_MAX);
        while (!shapes[panels])
            panels--;
        size_t done = smaller(outputs, panels * PANEL);
        if (done == panels * PANEL)
            shapes[panels](&tile);
        else
            tile_run_partial(shapes[panels], &tile, rows, done);
        tile.panel += panels * tile.panel_floats;
        tile.y += done;
        outputs -= done;
    }
}

/* All rows in tiles of nearly equal height: 7 rows are 4 + 3, since a tile of 1 row would wait for its weights. The
 * rows of a block of tiles meet a strip of panels, while both are in the cache, before the next strip comes. */
static void linear_dense(struct tile tile, size_t rows, size_t outputs)
{
    const float *const x = tile.x, *const panel = tile.panel;
    float *const y = tile.y;
    const size_t tiles = (rows + TILE_ROWS - 1) / TILE_ROWS, low = rows / tiles, taller = rows % tiles;
    const size_t block = 1 + BLOCK_BYTES / (TILE_ROWS * sizeof(float) * (tile.in_features + 1));
    for (size_t first = 0; first < tiles; first += block) {
        const size_t end = smaller(first + block, tiles);
        for (size_t at = 0; at < outputs; at += (size_t)PANELS_MAX * PANEL) {
            tile.panel = panel + at / PANEL * tile.panel_floats;
            for (size_t t = first; t < end; t++) {
                const size_t row = t * low + smaller(t, taller);
                tile.x = x + row * tile.in_features;
                tile.y = y + row * tile.y_stride + at;
                tile_run_across(tile, low + (t < taller), smaller(outputs - at, (size_t)PANELS_MAX * PANEL));
            }
        }
    }
}

/* Lists the k of all x[k] that are not zero (NaN is not) and then PREFETCH zeros; returns how many they are. The list
 * is written before it is known whether the entry counts: no branch that half-empty pictures would mispredict. */
static size_t list_nonzero(const float *x, size_t count, uint32_t *list)
{
    size_t listed = 0;
    for (size_t k = 0; k < count; k++) {
        list[listed] = (uint32_t)k;
        listed += x[k] != 0.0F;
    }
    memset(list + listed, 0, PREFETCH * sizeof *list);
    return listed;
}

static void linear_sparse(struct tile tile, size_t rows, size_t outputs, uint32_t *list)
{
    for (size_t r = 0; r < rows; r++) {
        tile.list = list;
        tile.list_count = list_nonzero(tile.x, tile.in_features, list);
        tile_run_across(tile, 1, outputs);
        tile.x += tile.in_features;
        tile.y += tile.y_stride;
    }
}

static void linear(const struct packed_linear *layer, const float *x, size_t rows, float *y, bool relu,
                   void *scratch)
{
    const struct tile tile = {
        .panel = layer->data,
        .panel_floats = (layer->in_features + 1) * PANEL,
        .x = x,
        .in_features = layer->in_features,
        .y = y,
        .y_stride = layer->out_features,
        .floor = relu ? 0.0F : -INFINITY,
    };
    if (rows == 0)
        return;
    if (rows <= SPARSE_ROWS && layer->weights_finite)
        linear_sparse(tile, rows, layer->out_features, scratch);
    else
        linear_dense(tile, rows, layer->out_features);
}

static size_t linear_scratch_bytes(size_t in_features)
{
    return (in_features + PREFETCH) * sizeof(uint32_t);
}

static size_t linear_packed_floats(size_t in_features, size_t out_features)
{
    return panels_of(out_features) * PANEL * (in_features + 1);
}

/* One panel: `outputs` of its PANEL columns exist, the others are zero. weight is (outputs, in_features). */
static void pack_panel(const float *weight, const float *bias, size_t in_features, size_t outputs, float *panel)
{
    memset(panel, 0, (in_features + 1) * PANEL * sizeof *panel);
    if (bias)
        memcpy(panel, bias, outputs * sizeof *bias);
    for (size_t k = 0; k < in_features; k++)
        for (size_t j = 0; j < outputs; j++)
            panel[(k + 1) * PANEL + j] = weight[j * in_features + k];
}

static void linear_pack(const float *weight, const float *bias, size_t in_features, size_t out_features,
                        float *storage, struct packed_linear *ret)
{
    float *panel = storage;
    for (size_t j = 0; j < out_features; j += PANEL) {
        pack_panel(weight + j * in_features, bias ? bias + j : NULL, in_features, smaller(PANEL, out_features - j),
                   panel);
        panel += (in_features + 1) * PANEL;
    }
    *ret = (struct packed_linear){
        .in_features = in_features,
        .out_features = out_features,
        .data = storage,
        .weights_finite = kernels_all_finite(weight, in_features * out_features, NULL),
    };
}

static void relu_in_place(float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] = 0.0F > x[i] ? 0.0F : x[i] + 0.0F;
}

static void scale_u8(const uint8_t *src, size_t count, const float table[256], float *dst)
{
    for (size_t i = 0; i < count; i++)
        dst[i] = table[src[i]];
}

#endif
