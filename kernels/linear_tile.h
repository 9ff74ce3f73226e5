/* Linear layers, written once over a handful of vector operations. Each cpu_*.c defines these for its instruction set,
 * includes this file and puts the functions into its table; everything is static, so that no code compiled for one
 * instruction set can be merged into another's. Before the inclusion stand
 *
 *     vector, VECTOR_FLOATS                a register, and how many floats it holds
 *     vector_load(p), vector_store(p, v)   at any alignment
 *     vector_set1(x)                       x in every lane
 *     vector_add(a, b)                     a + b
 *     vector_fma(a, b, c)                  a b + c, rounded in the same way wherever it is used
 *     vector_max(a, b)                     a > b ? a : b, so that a NaN in b stays
 *     vector_nonzero(v)                    a bit for each lane that is not zero; NaN is not, -0 is
 *     TILE_ROWS, TILE_SHAPES(SHAPE)        the tallest tile, and SHAPE(rows, panels) for each shape that is worth
 *                                          having; each height needs one of 1 panel, none has more than PANELS_MAX
 *     TILE_CUT                             from this height on a tile that skips zeros is cut in two
 *
 * The weights are packed into panels of PANEL outputs, in the order in which they are read:
 *
 *     bias of the panel's outputs | their weights for k = 0 | for k = 1 | ... || bias of the next panel's | ...
 *
 * A tile is a few rows times a few panels. Its sums stay in registers while k runs over in_features: enough of them
 * that the processor never waits for one to finish, few enough that none is spilled. Each sum is one chain: the bias,
 * then + x[k] w[k] for k = 0, 1, ...; which tile it sits in changes no bit of it.
 *
 * Where all rows of a tile have x[k] = 0, as in the margins of pictures and after most ReLUs, k is skipped. Such a
 * product is +0 or -0, which changes nothing but the sign of a sum that is zero itself; and since all sums get + 0 at
 * their end, after which every zero is +0, skipping changes no bit either. (Which NaN stands for a NaN is open.)
 */
#ifndef MLPD_KERNELS_LINEAR_TILE_H
#define MLPD_KERNELS_LINEAR_TILE_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"

enum {
    PANEL_VECTORS = 2,
    PANEL = PANEL_VECTORS * VECTOR_FLOATS, /* outputs */
    PANELS_MAX = 4,                        /* that a tile spans */
    COLUMNS_MAX = PANELS_MAX * PANEL_VECTORS,
    STRIP = PANELS_MAX *
            PANEL,       /* outputs that all tiles of a block compute before the next: 200 to 400 KB of weights */
    BLOCK_TILES_MAX = 8, /* tiles that share a pass over the weights, so that their rows stay in the L2 cache */
    BLOCK_BYTES = 160 * 1024, /* fewer tiles where 8 of them take more than this */
    PREFETCH = 8, /* inputs ahead for which a tile that skips fetches the weights: no hardware guesses them */
    WORD = 64,    /* inputs marked in a uint64_t */
};

#define INLINED static inline __attribute__((always_inline))

/* A loop with a constant count that leaves no loop behind: its arrays of vectors become registers. */
#if defined(__clang__)
#define EACH(i, count) _Pragma("clang loop unroll(full)") for (size_t i = 0; i < (count); i++)
#else
#define EACH(i, count) _Pragma("GCC unroll 64") for (size_t i = 0; i < (count); i++)
#endif

/* A few rows on their way through a layer: y = max(x W^T + b, floor). */
struct tile {
    size_t rows, in_features, out_features;
    const float *x;     /* (rows, in_features) */
    float *y;           /* (rows, out_features), from the first output that is to be computed on */
    const float *panel; /* of that output; the next begins panel_floats later */
    size_t panel_floats;
    float floor; /* 0 for ReLU, else -infinity */

    /* The k at which some row is not zero, ascending, and then PREFETCH valid ones; or NULL, and every k counts. */
    const uint32_t *list;
    size_t list_count;
};

/* Computes the tile's rows for a few panels: (rows, panels x PANEL) floats to y, y_stride from row to row. */
typedef void tile_function(const struct tile *tile, float *y, size_t y_stride);

/* Where column c stands in weights: PANEL_VECTORS of them side by side, then on to the next panel. */
INLINED size_t column(size_t c, size_t panel_floats)
{
    return c / PANEL_VECTORS * panel_floats + c % PANEL_VECTORS * VECTOR_FLOATS;
}

/* sum += x[k] w[k]. The shorter side of the tile waits in registers while the other passes one by one. */
INLINED void tile_add(size_t rows, size_t columns, const float *x, size_t x_stride, const float *weights,
                      size_t panel_floats, vector sum[TILE_ROWS][COLUMNS_MAX])
{
    vector waiting[TILE_ROWS + COLUMNS_MAX];
    if (rows < columns) {
        EACH (r, rows)
            waiting[r] = vector_set1(x[r * x_stride]);
        EACH (c, columns) {
            const vector w = vector_load(weights + column(c, panel_floats));
            EACH (r, rows)
                sum[r][c] = vector_fma(waiting[r], w, sum[r][c]);
        }
    } else {
        EACH (c, columns)
            waiting[c] = vector_load(weights + column(c, panel_floats));
        EACH (r, rows) {
            const vector x_r = vector_set1(x[r * x_stride]);
            EACH (c, columns)
                sum[r][c] = vector_fma(x_r, waiting[c], sum[r][c]);
        }
    }
}

/* `rows`, `panels` and `skips` are constants wherever this is inlined. */
INLINED void tile_run(size_t rows, size_t panels, bool skips, const struct tile *tile, float *y, size_t y_stride)
{
    const size_t columns = panels * PANEL_VECTORS, panel_floats = tile->panel_floats,
                 in_features = tile->in_features;
    const float *const x = tile->x, *const weights = tile->panel + PANEL;
    const uint32_t *const list = tile->list;
    vector sum[TILE_ROWS][COLUMNS_MAX];

    EACH (r, rows)
        EACH (c, columns)
            sum[r][c] = vector_load(tile->panel + column(c, panel_floats));

    const size_t count = skips ? tile->list_count : in_features;
    for (size_t i = 0; i < count; i++) {
        const size_t k = skips ? list[i] : i;
        if (skips)
            EACH (p, panels)
                __builtin_prefetch(weights + p * panel_floats + (size_t)list[i + PREFETCH] * PANEL);
        tile_add(rows, columns, x + k, in_features, weights + k * PANEL, panel_floats, sum);
    }

    const vector floor = vector_set1(tile->floor), zero = vector_set1(0.0F);
    EACH (r, rows)
        EACH (c, columns)
            vector_store(y + r * y_stride + c * VECTOR_FLOATS, vector_max(floor, vector_add(sum[r][c], zero)));
}

#define TILE_FUNCTIONS(rows, panels)                                                            \
    static void tile_all_##rows##x##panels(const struct tile *tile, float *y, size_t y_stride)  \
    {                                                                                           \
        tile_run(rows, panels, false, tile, y, y_stride);                                       \
    }                                                                                           \
    static void tile_skip_##rows##x##panels(const struct tile *tile, float *y, size_t y_stride) \
    {                                                                                           \
        tile_run(rows, panels, true, tile, y, y_stride);                                        \
    }
TILE_SHAPES(TILE_FUNCTIONS)

/* By whether the tile skips, rows and panels; NULL where there is no such shape. */
#define TILE_ALL(rows, panels)  [rows][panels] = tile_all_##rows##x##panels,
#define TILE_SKIP(rows, panels) [rows][panels] = tile_skip_##rows##x##panels,
static tile_function *const tile_functions[2][TILE_ROWS + 1][PANELS_MAX + 1] = {{TILE_SHAPES(TILE_ALL)},
                                                                                {TILE_SHAPES(TILE_SKIP)}};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels_of(size_t outputs)
{
    return (outputs + PANEL - 1) / PANEL;
}

/* Only the first `outputs` outputs of what `run` computes exist, so nothing may be written beyond them. */
static void tile_run_partial(tile_function *run, const struct tile *tile, size_t outputs)
{
    float padded[TILE_ROWS * STRIP];
    run(tile, padded, STRIP);
    for (size_t r = 0; r < tile->rows; r++)
        memcpy(tile->y + r * tile->out_features, padded + r * STRIP, outputs * sizeof *padded);
}

/* Computes the strip of outputs that begins at `first`, by the widest shapes that there are. */
static void tile_run_strip(struct tile tile, size_t first)
{
    tile_function *const *shapes = tile_functions[tile.list != NULL][tile.rows];
    size_t left = smaller(STRIP, tile.out_features - first);
    tile.panel += first / PANEL * tile.panel_floats;
    tile.y += first;
    while (left) {
        size_t panels = panels_of(left);
        while (!shapes[panels])
            panels--;
        const size_t outputs = smaller(left, panels * PANEL);
        if (outputs == panels * PANEL)
            shapes[panels](&tile, tile.y, tile.out_features);
        else
            tile_run_partial(shapes[panels], &tile, outputs);
        tile.panel += panels * tile.panel_floats;
        tile.y += outputs;
        left -= outputs;
    }
}

/* Bit i says whether some row's x[i] is not zero. x is (rows, WORD), `stride` floats from row to row. */
INLINED uint64_t nonzero_word(const float *x, size_t rows, size_t stride)
{
    uint64_t word = 0;
    for (size_t r = 0; r < rows; r++)
        EACH (v, WORD / VECTOR_FLOATS)
            word |= (uint64_t)vector_nonzero(vector_load(x + r * stride + v * VECTOR_FLOATS)) << v * VECTOR_FLOATS;
    return word;
}

/* The same for the last inputs of the rows, `count` and fewer than WORD. */
static uint64_t nonzero_tail(const float *x, size_t rows, size_t stride, size_t count)
{
    uint64_t word = 0;
    for (size_t r = 0; r < rows && count; r++) {
        float padded[WORD] = {0};
        memcpy(padded, x + r * stride, count * sizeof *x);
        word |= nonzero_word(padded, 1, WORD);
    }
    return word;
}

static size_t words_of(size_t in_features)
{
    return in_features / WORD + 1;
}

/* Marks in `words` the k at which some row is not zero, and returns how many they are. */
static size_t mark_nonzero(const float *x, size_t rows, size_t in_features, uint64_t *words)
{
    size_t count = 0, k = 0;
    for (; k + WORD <= in_features; k += WORD)
        words[k / WORD] = nonzero_word(x + k, rows, in_features);
    words[k / WORD] = nonzero_tail(x + k, rows, in_features, in_features - k);
    for (size_t w = 0; w < words_of(in_features); w++)
        count += (size_t)__builtin_popcountll(words[w]);
    return count;
}

static size_t list_length(size_t in_features)
{
    return in_features + PREFETCH;
}

static void list_marked(const uint64_t *words, size_t in_features, uint32_t *list)
{
    for (size_t w = 0; w < words_of(in_features); w++)
        for (uint64_t word = words[w]; word; word &= word - 1)
            *list++ = (uint32_t)(w * WORD + (size_t)__builtin_ctzll(word));
    memset(list, 0, PREFETCH * sizeof *list);
}

/* Makes the tile skip, if that pays: where fewer than one k in sixteen falls away, walking a list costs more than it
 * saves, for one row as for many. */
static bool tile_skip_zeros(struct tile *tile, uint64_t *words, uint32_t *list)
{
    tile->list_count = mark_nonzero(tile->x, tile->rows, tile->in_features, words);
    if (tile->list_count > tile->in_features - tile->in_features / 16)
        return false;
    list_marked(words, tile->in_features, list);
    tile->list = list;
    return true;
}

/* Some of a tile's rows: `rows` of them, from row `first` on. */
static struct tile tile_part(const struct tile *tile, size_t first, size_t rows)
{
    struct tile part = *tile;
    part.rows = rows;
    part.x += first * tile->in_features;
    part.y += first * tile->out_features;
    return part;
}

/* Tiles that share a pass over the weights, and the scratch in which they find their zeros. */
struct block {
    size_t count;
    struct tile tiles[2 * BLOCK_TILES_MAX];
    uint64_t *words; /* words_of(in_features): the marks of one tile */
    uint32_t *lists; /* list_length(in_features) for each tile */
};

/* Adds a tile to the block, or, where zeros are skipped and the tile is tall, its two halves: the fewer the rows, the more
 * zeros they share. Skipping is for weights that are all finite: 0 x infinity is NaN, and must come out. */
static void block_add(struct block *block, const struct tile *tile, bool weights_finite)
{
    const size_t rows = tile->rows, upper = rows < TILE_CUT ? rows : (rows + 1) / 2;
    struct tile *const place = &block->tiles[block->count];
    uint32_t *const list = block->lists + block->count * list_length(tile->in_features);
    *place = tile_part(tile, 0, upper);
    block->count++;
    if (!weights_finite || !tile_skip_zeros(place, block->words, list)) {
        *place = *tile;
    } else if (upper < rows) {
        place[1] = tile_part(tile, upper, rows - upper);
        tile_skip_zeros(&place[1], block->words, list + list_length(tile->in_features));
        block->count++;
    }
}

/* Runs the tiles strip by strip, so that each strip of weights comes from memory once for all of them. */
static void block_run(const struct block *block)
{
    for (size_t output = 0; output < block->tiles->out_features; output += STRIP)
        for (size_t t = 0; t < block->count; t++)
            tile_run_strip(block->tiles[t], output);
}

/* How many tiles are added to a block; each may become two. */
static size_t block_tiles(size_t in_features)
{
    const size_t tiles = BLOCK_BYTES / (TILE_ROWS * sizeof(float)) / (in_features + 1);
    return tiles ? smaller(tiles, BLOCK_TILES_MAX) : 1;
}

static size_t linear_scratch_bytes(size_t in_features)
{
    return words_of(in_features) * sizeof(uint64_t) +
           2 * block_tiles(in_features) * list_length(in_features) * sizeof(uint32_t);
}

/* The rows are cut into tiles of nearly equal height, 9 into 5 + 4 and not 8 + 1: the lower a tile, the more it waits
 * for its weights. */
static void linear(const struct packed_linear *layer, const float *x, size_t rows, float *y, bool relu,
                   void *scratch)
{
    const size_t in = layer->in_features, tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    struct block block = {.words = scratch, .lists = (uint32_t *)((uint64_t *)scratch + words_of(in))};
    struct tile all = {
        .rows = rows,
        .in_features = in,
        .out_features = layer->out_features,
        .x = x,
        .y = y,
        .panel = layer->data,
        .panel_floats = (in + 1) * PANEL,
        .floor = relu ? 0.0F : -INFINITY,
    };
    for (size_t t = 0, row = 0; t < tiles; t++) {
        const struct tile tile = tile_part(&all, row, rows / tiles + (t < rows % tiles));
        row += tile.rows;
        block_add(&block, &tile, layer->weights_finite);
        if ((t + 1) % block_tiles(in) == 0 || t + 1 == tiles) {
            block_run(&block);
            block.count = 0;
        }
    }
}

static size_t linear_packed_floats(size_t in_features, size_t out_features)
{
    return panels_of(out_features) * PANEL * (in_features + 1);
}

/* Fills a panel: `outputs` of its columns exist, and the others are zero. weight is (outputs, in_features). */
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
    assert(in_features <= UINT32_MAX); /* the lists hold a k in 32 bits */
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
