/* Every table's linear layers against one chain of additions per output, written down as plainly as the promise in
 * kernels.h has it. The comparison is to the bit: only which NaN a NaN is stays open. */
#include "tests/unit/kernels/emulated_avx512.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/unit/unit.h"

/* Calls check(table) for every table that this processor runs, and for the emulated one. */
static void for_each_table(void (*check)(const struct kernels *table))
{
    for (size_t i = 0; kernels_all[i]; i++)
        if (kernels_all[i]->supported())
            check(kernels_all[i]);
    check(&kernels_avx512_emulated);
}

START_TEST(every_table_is_tested_that_this_processor_runs)
{
    for (size_t i = 0; kernels_all[i]; i++)
        if (!kernels_all[i]->supported())
            UNIT_SKIP("this processor lacks %s, whose code runs over emulated instructions only",
                      kernels_all[i]->name);
}
END_TEST

static uint32_t random_bits(void)
{
    static uint32_t state = 2463534242U;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* Uniform in [-1, 1). */
static float random_float(void)
{
    return (float)(int32_t)random_bits() * 0x1p-31F;
}

/* Floats in storage of exactly their size, so that the address sanitizer sees a step beyond; from an address that is
 * 4 bytes off any alignment. */
struct floats {
    float *storage, *at;
    size_t count;
};

static struct floats floats_make(size_t count)
{
    struct floats floats = {.storage = malloc((count + 1) * sizeof(float)), .count = count};
    ck_assert_ptr_nonnull(floats.storage);
    floats.at = floats.storage + 1;
    return floats;
}

static struct floats floats_random(size_t count)
{
    struct floats floats = floats_make(count);
    for (size_t i = 0; i < count; i++)
        floats.at[i] = random_float();
    return floats;
}

/* A layer packed by a table, with what it was packed from. */
struct layer {
    const struct kernels *table;
    size_t in, out;
    struct floats weight, bias;
    struct packed_linear packed;
    float *storage;
    void *scratch;
};

static void *aligned(size_t bytes)
{
    void *p = NULL;
    ck_assert_int_eq(posix_memalign(&p, KERNELS_ALIGNMENT, bytes), 0);
    return p;
}

static void layer_pack(struct layer *layer)
{
    layer->table->linear_pack(layer->weight.at, layer->bias.at, layer->in, layer->out, layer->storage,
                              &layer->packed);
}

static struct layer layer_make(const struct kernels *table, size_t in, size_t out)
{
    struct layer layer = {
        .table = table,
        .in = in,
        .out = out,
        .weight = floats_random(in * out),
        .bias = floats_random(out),
        .storage = aligned(table->linear_packed_floats(in, out) * sizeof(float)),
        .scratch = aligned(table->linear_scratch_bytes(in)),
    };
    layer_pack(&layer);
    return layer;
}

static void layer_free(struct layer *layer)
{
    free(layer->weight.storage);
    free(layer->bias.storage);
    free(layer->storage);
    free(layer->scratch);
}

/* One output as kernels.h promises it. The generic table rounds each product, the others fuse it with the addition. */
static float chain(const struct layer *layer, const float *x, size_t output, bool relu)
{
    const float *w = layer->weight.at + output * layer->in;
    const bool fused = strcmp(layer->table->name, "generic") != 0;
    float sum = layer->bias.at ? layer->bias.at[output] : 0.0F;
    for (size_t k = 0; k < layer->in; k++)
        sum = fused ? fmaf(x[k], w[k], sum) : sum + x[k] * w[k];
    sum += 0.0F;
    return relu && sum < 0.0F ? 0.0F : sum;
}

static bool same_bits(float a, float b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void run(const struct layer *layer, const float *x, size_t rows, float *y, bool relu)
{
    memset(y, 0xFF, rows * layer->out * sizeof *y);
    layer->table->linear(&layer->packed, x, rows, y, relu, layer->scratch);
}

/* Runs `rows` rows of x through the layer, with ReLU and without, and compares every output. */
static void check_rows(const struct layer *layer, const float *x, size_t rows)
{
    struct floats y = floats_make(rows * layer->out);
    for (int relu = 0; relu < 2; relu++) {
        run(layer, x, rows, y.at, relu);
        for (size_t r = 0; r < rows; r++)
            for (size_t o = 0; o < layer->out; o++) {
                float want = chain(layer, x + r * layer->in, o, relu), got = y.at[r * layer->out + o];
                ck_assert_msg(same_bits(want, got),
                              "%s: %zu -> %zu, relu %d, row %zu of %zu, output %zu: %a, not %a", layer->table->name,
                              layer->in, layer->out, relu, r, rows, o, (double)got, (double)want);
            }
    }
    free(y.storage);
}

/* Zeros in runs, as the margins of a picture have them, of both signs. */
static void put_zeros(struct floats x)
{
    for (size_t i = 0; i < x.count; i += 1 + random_bits() % 40)
        for (size_t end = i + random_bits() % 40; i < end && i < x.count; i++)
            x.at[i] = random_bits() % 8 ? 0.0F : -0.0F;
}

static void check_every_count_of_rows(const struct kernels *table)
{
    struct layer layer = layer_make(table, 17, 33);
    struct floats x = floats_random(70 * layer.in);
    for (size_t rows = 1; rows <= 70; rows++)
        check_rows(&layer, x.at, rows);
    put_zeros(x);
    for (size_t rows = 1; rows <= 70; rows++)
        check_rows(&layer, x.at, rows);
    free(x.storage);
    layer_free(&layer);
}

START_TEST(linear_is_one_chain_of_additions_for_every_count_of_rows)
{
    for_each_table(check_every_count_of_rows);
}
END_TEST

static void check_awkward_sizes(const struct kernels *table)
{
    static const size_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 129}, rows[] = {1, 2, 3, 5, 13};
    enum { SIZES = sizeof sizes / sizeof sizes[0], ROWS = sizeof rows / sizeof rows[0] };
    for (size_t i = 0; i < SIZES * SIZES; i++) {
        struct layer layer = layer_make(table, sizes[i / SIZES], sizes[i % SIZES]);
        struct floats x = floats_random(13 * layer.in);
        if (i % 2)
            put_zeros(x);
        for (size_t r = 0; r < ROWS; r++)
            check_rows(&layer, x.at, rows[r]);
        free(x.storage);
        layer_free(&layer);
    }
}

START_TEST(linear_is_right_for_awkward_sizes)
{
    for_each_table(check_awkward_sizes);
}
END_TEST

static void check_large_layers(const struct kernels *table)
{
    static const size_t sizes[][2] = {{784, 333}, {333, 10}, {3000, 40}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct layer layer = layer_make(table, sizes[i][0], sizes[i][1]);
        struct floats x = floats_random(65 * layer.in);
        put_zeros(x);
        check_rows(&layer, x.at, 1);
        check_rows(&layer, x.at, 7);
        check_rows(&layer, x.at, 65);
        free(x.storage);
        layer_free(&layer);
    }
}

START_TEST(linear_is_right_for_layers_larger_than_a_block_of_the_cache)
{
    for_each_table(check_large_layers);
}
END_TEST

/* Which rows of a batch have the same half of their inputs zero. */
enum { NO_ROWS, UPPER_ROWS, LOWER_ROWS, ALL_ROWS, PATTERNS };

static void put_zero_columns(struct floats x, size_t rows, int pattern)
{
    const size_t in = x.count / rows, half = (rows + 1) / 2;
    const size_t begin = pattern == LOWER_ROWS ? half : 0;
    const size_t end = pattern == NO_ROWS ? 0 : pattern == UPPER_ROWS ? half : rows;
    for (size_t r = begin; r < end; r++)
        for (size_t k = 1; k < in; k += 2)
            x.at[r * in + k] = k % 4 == 1 ? 0.0F : -0.0F;
}

static void check_patterns(const struct layer *layer, size_t rows)
{
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct floats x = floats_random(rows * layer->in);
        put_zero_columns(x, rows, pattern);
        check_rows(layer, x.at, rows);
        free(x.storage);
    }
}

/* 229 outputs are panels enough for the widest shapes, then for each narrower one. */
static void check_every_shape(const struct kernels *table)
{
    struct layer layer = layer_make(table, 40, 229);
    for (size_t rows = 1; rows <= 17; rows++)
        check_patterns(&layer, rows);
    layer_free(&layer);
}

START_TEST(linear_is_right_for_every_shape_of_tile_and_wherever_the_zeros_are)
{
    for_each_table(check_every_shape);
}
END_TEST

static void check_full_blocks(const struct kernels *table)
{
    struct layer layer = layer_make(table, 784, 3);
    check_patterns(&layer, 130);
    layer_free(&layer);
}

START_TEST(linear_has_scratch_for_every_tile_of_a_block_to_skip_zeros)
{
    for_each_table(check_full_blocks);
}
END_TEST

/* The chain's own error: each of its K roundings is at most half an ulp of a partial sum, and no partial sum exceeds
 * |b| + sum |x w| by more than these roundings; so |error| <= K eps (|b| + sum |x w|), with a product's own rounding
 * where it is not fused well inside the other half. */
static void check_against_double(const struct kernels *table)
{
    struct layer layer = layer_make(table, 784, 10);
    struct floats x = floats_random(layer.in);
    float y[10];
    run(&layer, x.at, 1, y, false);
    for (size_t o = 0; o < layer.out; o++) {
        double sum = (double)layer.bias.at[o], magnitude = fabs(sum);
        for (size_t k = 0; k < layer.in; k++) {
            double product = (double)x.at[k] * (double)layer.weight.at[o * layer.in + k];
            sum += product;
            magnitude += fabs(product);
        }
        ck_assert_double_le(fabs((double)y[o] - sum), (double)layer.in * (double)FLT_EPSILON * magnitude);
    }
    free(x.storage);
    layer_free(&layer);
}

START_TEST(linear_is_within_the_bound_of_its_roundings)
{
    for_each_table(check_against_double);
}
END_TEST

static void check_row_alone_and_in_company(const struct kernels *table)
{
    enum { ROWS = 41 };
    struct layer layer = layer_make(table, 100, 50);
    struct floats x = floats_random(ROWS * layer.in), all = floats_make(ROWS * layer.out),
                  one = floats_make(layer.out);
    put_zeros(x);
    run(&layer, x.at, ROWS, all.at, true);
    for (size_t r = 0; r < ROWS; r++) {
        run(&layer, x.at + r * layer.in, 1, one.at, true);
        ck_assert_mem_eq(one.at, all.at + r * layer.out, layer.out * sizeof(float));
    }
    free(x.storage);
    free(all.storage);
    free(one.storage);
    layer_free(&layer);
}

START_TEST(linear_gives_a_row_the_same_bits_alone_and_in_any_batch)
{
    for_each_table(check_row_alone_and_in_company);
}
END_TEST

/* Zeros of both signs, denormals, products that vanish, sums that overflow, infinity, NaN. */
static void put_special_values(struct floats x)
{
    static const float specials[] = {0.0F,   -0.0F, FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN,   -FLT_MIN, -1e-30F,
                                     1e-38F, 3e38F, -3e38F,       INFINITY,      -INFINITY, NAN,      1.0F};
    for (size_t i = 0; i < x.count; i++)
        x.at[i] = random_bits() % 3 ? 0.0F : specials[random_bits() % (sizeof specials / sizeof specials[0])];
}

static void check_special_inputs(const struct kernels *table)
{
    for (int round = 0; round < 200; round++) {
        struct layer layer = layer_make(table, 5, 37);
        struct floats x = floats_make(13 * layer.in);
        put_special_values(x);
        for (size_t i = 0; i < layer.weight.count; i += 3)
            layer.weight.at[i] = i % 2 ? -1e-30F : FLT_TRUE_MIN;
        for (size_t i = 0; i < layer.bias.count; i += 2)
            layer.bias.at[i] = i % 4 ? -0.0F : 0.0F;
        layer_pack(&layer);
        ck_assert(layer.packed.weights_finite);
        check_rows(&layer, x.at, 1);
        check_rows(&layer, x.at, 13);
        free(x.storage);
        layer_free(&layer);
    }
}

START_TEST(linear_treats_nan_infinity_denormals_and_both_zeros_alike_on_all_ways)
{
    for_each_table(check_special_inputs);
}
END_TEST

static void check_weights_that_are_not_finite(const struct kernels *table)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        struct layer layer = layer_make(table, 40, 20);
        layer.weight.at[layer.weight.count - 1] = bad[i];
        layer_pack(&layer);
        ck_assert(!layer.packed.weights_finite);
        struct floats x = floats_make(layer.in);
        memset(x.at, 0, layer.in * sizeof(float));
        check_rows(&layer, x.at, 1);
        float y[20];
        run(&layer, x.at, 1, y, false);
        ck_assert_msg(isnan(y[19]), "0 x %f must be NaN", (double)bad[i]);
        free(x.storage);
        layer_free(&layer);
    }
}

START_TEST(linear_does_not_skip_zeros_when_a_weight_is_not_finite)
{
    for_each_table(check_weights_that_are_not_finite);
}
END_TEST

static void check_without_bias(const struct kernels *table)
{
    struct layer layer = layer_make(table, 12, 19);
    free(layer.bias.storage);
    layer.bias = (struct floats){0};
    layer_pack(&layer);
    struct floats x = floats_random(3 * layer.in);
    check_rows(&layer, x.at, 3);
    free(x.storage);
    layer_free(&layer);
}

START_TEST(linear_without_bias_begins_at_zero)
{
    for_each_table(check_without_bias);
}
END_TEST

static void check_surroundings(const struct kernels *table)
{
    enum { MARGIN = 64, ROWS = 7, OUT = 37 };
    struct layer layer = layer_make(table, 9, OUT);
    struct floats x = floats_random(ROWS * layer.in);
    float y[MARGIN + ROWS * OUT + MARGIN];
    for (size_t rows = 0; rows <= ROWS; rows++) {
        for (size_t i = 0; i < sizeof y / sizeof y[0]; i++)
            y[i] = 12345.0F;
        run(&layer, x.at, rows, y + MARGIN, false);
        for (size_t i = 0; i < sizeof y / sizeof y[0]; i++)
            if (i < MARGIN || i >= MARGIN + rows * OUT)
                ck_assert_float_eq(y[i], 12345.0F);
    }
    free(x.storage);
    layer_free(&layer);
}

START_TEST(linear_writes_nothing_beside_its_rows)
{
    for_each_table(check_surroundings);
}
END_TEST

static void check_packed_size(const struct kernels *table)
{
    const size_t tutorial = table->linear_packed_floats(784, 512) + table->linear_packed_floats(512, 512) +
                            table->linear_packed_floats(512, 10);
    ck_assert_uint_ge(tutorial, 669706);
    ck_assert_uint_le(tutorial, 669706 * 12 / 10);
    ck_assert_uint_le(table->linear_packed_floats(1000, 1000), 1001000 * 12 / 10);
}

START_TEST(packed_weights_take_at_most_a_fifth_more_than_the_weights)
{
    for_each_table(check_packed_size);
}
END_TEST

UNIT_MAIN("kernels/linear", every_table_is_tested_that_this_processor_runs,
          linear_is_one_chain_of_additions_for_every_count_of_rows, linear_is_right_for_awkward_sizes,
          linear_is_right_for_layers_larger_than_a_block_of_the_cache,
          linear_is_right_for_every_shape_of_tile_and_wherever_the_zeros_are,
          linear_has_scratch_for_every_tile_of_a_block_to_skip_zeros, linear_is_within_the_bound_of_its_roundings,
          linear_gives_a_row_the_same_bits_alone_and_in_any_batch,
          linear_treats_nan_infinity_denormals_and_both_zeros_alike_on_all_ways,
          linear_does_not_skip_zeros_when_a_weight_is_not_finite, linear_without_bias_begins_at_zero,
          linear_writes_nothing_beside_its_rows, packed_weights_take_at_most_a_fifth_more_than_the_weights)
