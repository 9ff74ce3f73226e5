/* How fast each table of kernels runs the tutorial's 784-512-512-10 on one core, beside the peak of multiply-adds that
 * the same core reaches in the same run.
 *
 *     build/release/tests/bench/bench_kernels [TABLE ...]      (all that this processor runs)
 *
 * All measurements are interleaved, round by round, and the median of the rounds is printed; times are this thread's
 * CPU time, so that a busy neighbour costs cache, and not more. "dense" images have no zero, "zeros" are dark for half
 * of their pixels, in runs as margins are; what is zero after each ReLU is printed. A batch's share of the peak counts
 * the multiplications with zeros that were skipped, so it may exceed 100 %.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/bench/peak.h"

enum {
    LAYERS = 3,
    ROUNDS = 15,
    BATCH_MAX = 1024,
    WARM_IMAGES = 16,
    SAMPLE_US = 1500, /* a measurement repeats until it has lasted so long */
    FLOPS = 2 * (784 * 512 + 512 * 512 + 512 * 10),
};

static const size_t widths[LAYERS + 1] = {784, 512, 512, 10};
static const size_t batches[] = {1, 2, 3, 4, 6, 7, 8, 13, 16, 48, 64, 65, 256, 1024};
enum { BATCHES = sizeof batches / sizeof batches[0], TABLES_MAX = 8, INPUTS = 2 };
static const char *const input_names[INPUTS] = {"dense", "zeros"};

struct network {
    const struct kernels *table;
    struct packed_linear layers[LAYERS];
    void *scratch;
};

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(KERNELS_ALIGNMENT,
                            (bytes + KERNELS_ALIGNMENT - 1) / KERNELS_ALIGNMENT * KERNELS_ALIGNMENT);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(EXIT_FAILURE);
    }
    return p;
}

/* Uniform in [-1, 1). */
static float random_float(void)
{
    static uint32_t state = 2463534242U;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (float)(int32_t)state * 0x1p-31F;
}

static float *random_floats(size_t count, float scale, float shift)
{
    float *x = allocate(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = random_float() * scale + shift;
    return x;
}

/* Weights as a trained network has them in one respect: most of what comes out of a ReLU is zero. */
static void network_make(struct network *network, const struct kernels *table)
{
    network->table = table;
    network->scratch = allocate(table->linear_scratch_bytes(widths[0]));
    for (size_t i = 0; i < LAYERS; i++) {
        size_t in = widths[i], out = widths[i + 1];
        float *weight = random_floats(in * out, 0.05F, 0.0F), *bias = random_floats(out, 0.1F, -0.12F);
        float *storage = allocate(table->linear_packed_floats(in, out) * sizeof(float));
        table->linear_pack(weight, bias, in, out, storage, &network->layers[i]);
        free(weight);
        free(bias);
    }
}

/* activations[0] is the input, activations[i] what layer i - 1 gives. */
static void network_run(const struct network *network, const float *x, float *const activations[LAYERS + 1],
                        size_t rows)
{
    for (size_t i = 0; i < LAYERS; i++) {
        network->table->linear(&network->layers[i], x, rows, activations[i + 1], i + 1 < LAYERS, network->scratch);
        x = activations[i + 1];
    }
}

/* Microseconds for `runs` batches, of other images each time. */
static double time_batches(const struct network *network, float *const activations[LAYERS + 1], size_t rows,
                           size_t runs)
{
    const size_t different = BATCH_MAX / rows;
    double start = thread_cpu_us();
    for (size_t i = 0; i < runs; i++)
        network_run(network, activations[0] + i % different * rows * widths[0], activations, rows);
    return thread_cpu_us() - start;
}

/* Microseconds for one batch, from as many as fill a sample; the first ones say how many those are, and fill the caches.
 * The clock is a system call, and is read around all of them. */
static double time_batch(const struct network *network, float *const activations[LAYERS + 1], size_t rows)
{
    const size_t first = 1 + WARM_IMAGES / rows;
    double us = time_batches(network, activations, rows, first) / (double)first;
    const size_t runs = 1 + (size_t)(SAMPLE_US / us);
    return time_batches(network, activations, rows, runs) / (double)runs;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *samples)
{
    qsort(samples, ROUNDS, sizeof *samples, ascending);
    return samples[ROUNDS / 2];
}

struct result {
    double peak[ROUNDS];
    double us[INPUTS][BATCHES][ROUNDS];
};

static void print_zeros(const char *name, float *const activations[LAYERS + 1])
{
    printf("%s:", name);
    for (size_t i = 0; i < LAYERS; i++) {
        size_t zeros = 0, count = 64 * widths[i];
        for (size_t k = 0; k < count; k++)
            zeros += activations[i][k] == 0.0F;
        printf(" %.0f %%", 100.0 * (double)zeros / (double)count);
    }
    printf(" zeros before layers 1, 2, 3\n");
}

static void print_result(const struct kernels *table, struct result *result)
{
    double peak = median(result->peak);
    printf("\n%s: peak %.1f GFLOP/s = %.1f us an image\n", table->name, peak, FLOPS / peak * 1e-3);
    printf("  batch |  dense: us/image  images/s  of peak |  zeros: us/image  images/s  of peak\n");
    for (size_t b = 0; b < BATCHES; b++) {
        printf("  %5zu", batches[b]);
        for (size_t i = 0; i < INPUTS; i++) {
            double us = median(result->us[i][b]) / (double)batches[b];
            printf(" |  %15.2f %9.0f %6.1f %%", us, 1e6 / us, FLOPS / us * 1e-3 / peak * 100.0);
        }
        printf("\n");
    }
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    static struct result results[TABLES_MAX];
    static struct network networks[TABLES_MAX];
    float *activations[INPUTS][LAYERS + 1];
    size_t tables = 0;
    for (size_t i = 0; kernels_all[i] && tables < TABLES_MAX; i++)
        if (kernels_all[i]->supported() && wanted(kernels_all[i]->name, argc, argv))
            network_make(&networks[tables++], kernels_all[i]);
    for (size_t i = 0; i < INPUTS; i++)
        for (size_t l = 0; l <= LAYERS; l++)
            activations[i][l] = random_floats(BATCH_MAX * widths[l], 0.45F, 0.5F);
    for (size_t k = 0; k < BATCH_MAX * widths[0]; k++)
        if (k % 28 < 6 || k % 28 >= 21 || k % 784 < 28)
            activations[1][0][k] = 0.0F;

    for (size_t round = 0; round < ROUNDS; round++)
        for (size_t t = 0; t < tables; t++) {
            results[t].peak[round] = peak_gflops(networks[t].table->name);
            for (size_t b = 0; b < BATCHES; b++)
                for (size_t i = 0; i < INPUTS; i++)
                    results[t].us[i][b][round] = time_batch(&networks[t], activations[i], batches[b]);
        }
    for (size_t i = 0; i < INPUTS; i++)
        print_zeros(input_names[i], activations[i]);
    for (size_t t = 0; t < tables; t++)
        print_result(networks[t].table, &results[t]);
    return EXIT_SUCCESS;
}
