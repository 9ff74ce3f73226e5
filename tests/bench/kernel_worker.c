/* Times forward passes on one thread, one at a time as it is told on standard input, so that scripts/bench.py can take
 * turns between mlpd's kernels, OpenBLAS and engines in other processes.
 *
 *     kernel_worker MODEL_FOLDER FASHION_FILE DENSE_FILE [TABLE]
 *
 * The files hold IMAGES_MAX rows of float32 each; TABLE names the kernels, and the default is what mlpd takes here. A
 * line in, a line out:
 *
 *     name                     the table of kernels that is measured
 *     peak                     GFLOP/s of the core's multiply-adds
 *     mlpd fashion 64          microseconds of CPU time for a batch of 64 images
 *     mlpd full 64             the same where no input and no activation is zero, so that nothing can be skipped
 *     openblas dense 1         the same as mlpd's by OpenBLAS, or "absent"
 *     logits openblas fashion  what the first image gives
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "kernels/kernels.h"
#include "tests/bench/peak.h"

enum {
    IMAGES_MAX = 1024,
    LINEAR_MAX = 16,
    WARM_IMAGES = 16,
    SAMPLE_US = 4000,
    ROW_MAJOR = 101,
    NO_TRANSPOSE = 111,
    TRANSPOSE = 112
};

struct linear {
    const struct layer *layer;
    struct packed_linear packed;
    struct packed_linear raised; /* the same with a bias so high that no ReLU gives zero */
    bool relu;
};

static struct {
    size_t count;
    struct linear linears[LINEAR_MAX];
    const struct kernels *kernels;
    void *scratch;
    float *activations[2]; /* (IMAGES_MAX, the widest layer) each */
} network;

static struct {
    void (*sgemm)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                  const float *b, int ldb, float beta, float *c, int ldc);
    void (*sgemv)(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x,
                  int incx, float beta, float *y, int incy);
} blas;

static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(KERNELS_ALIGNMENT, (bytes / KERNELS_ALIGNMENT + 1) * KERNELS_ALIGNMENT);
    if (p)
        return p;
    fprintf(stderr, "kernel_worker: out of memory\n");
    exit(EXIT_FAILURE);
}

static void pack(const struct layer *layer, const float *bias, struct packed_linear *ret)
{
    size_t in = layer->in_features, out = layer->out_features;
    float *storage = allocate(network.kernels->linear_packed_floats(in, out) * sizeof(float));
    network.kernels->linear_pack(layer->weight, bias, in, out, storage, ret);
}

static void add_linear(const struct layer *layer)
{
    const float height = 1e6F;
    struct linear *linear = &network.linears[network.count++];
    float *raised = allocate(layer->out_features * sizeof *raised);
    for (size_t i = 0; i < layer->out_features; i++)
        raised[i] = height;
    linear->layer = layer;
    pack(layer, layer->bias, &linear->packed);
    pack(layer, raised, &linear->raised);
    free(raised);
}

static void network_load(const char *folder)
{
    struct model *model;
    struct error err;
    size_t widest = 0;
    if (model_load(folder, "benchmark", "1", &model, &err) != STATUS_OK || model->layer_count > LINEAR_MAX) {
        fprintf(stderr, "kernel_worker: %s is no model that can be measured\n", folder);
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; i < model->layer_count; i++) {
        const struct layer *layer = &model->layers[i];
        widest = layer->in_features > widest ? layer->in_features : widest;
        if (layer->type == LAYER_LINEAR)
            add_linear(layer);
        else if (layer->type == LAYER_RELU && network.count)
            network.linears[network.count - 1].relu = true;
    }
    network.scratch = allocate(network.kernels->linear_scratch_bytes(widest));
    for (size_t i = 0; i < 2; i++)
        network.activations[i] = allocate(IMAGES_MAX * widest * sizeof(float));
}

/* The table of that name, or mlpd's choice for NULL. */
static const struct kernels *choose_kernels(const char *name)
{
    const struct kernels *kernels = name ? kernels_find(name) : kernels_best();
    if (kernels && kernels->supported())
        return kernels;
    fprintf(stderr, "kernel_worker: this processor runs no kernels '%s'\n", name);
    exit(EXIT_FAILURE);
}

static void *blas_function(void *library, const char *name)
{
    return library ? dlsym(library, name) : NULL;
}

static void blas_load(void)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void (*set_threads)(int) = NULL;
    *(void **)&blas.sgemm = blas_function(library, "cblas_sgemm");
    *(void **)&blas.sgemv = blas_function(library, "cblas_sgemv");
    *(void **)&set_threads = blas_function(library, "openblas_set_num_threads");
    if (set_threads)
        set_threads(1);
}

static void linear_mlpd(const struct linear *linear, const float *x, size_t rows, float *y)
{
    network.kernels->linear(&linear->packed, x, rows, y, linear->relu, network.scratch);
}

static void linear_raised(const struct linear *linear, const float *x, size_t rows, float *y)
{
    network.kernels->linear(&linear->raised, x, rows, y, linear->relu, network.scratch);
}

/* The bias is laid down first and added to; one row is a matrix times a vector. */
static void linear_openblas(const struct linear *linear, const float *x, size_t rows, float *y)
{
    const struct layer *layer = linear->layer;
    int m = (int)rows, n = (int)layer->out_features, k = (int)layer->in_features;
    for (size_t i = 0; i < rows; i++)
        memcpy(y + i * layer->out_features, layer->bias, layer->out_features * sizeof *y);
    if (rows == 1)
        blas.sgemv(ROW_MAJOR, NO_TRANSPOSE, n, k, 1.0F, layer->weight, k, x, 1, 1.0F, y, 1);
    else
        blas.sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, m, n, k, 1.0F, x, k, layer->weight, k, 1.0F, y, n);
    if (linear->relu)
        network.kernels->relu(y, rows * layer->out_features);
}

typedef void linear_function(const struct linear *linear, const float *x, size_t rows, float *y);

static const float *forward(linear_function *linear, const float *x, size_t rows)
{
    for (size_t i = 0; i < network.count; i++) {
        float *y = network.activations[i % 2];
        linear(&network.linears[i], x, rows, y);
        x = y;
    }
    return x;
}

/* Microseconds for `runs` batches, of other images each time, since their zeros lie elsewhere. */
static double time_batches(linear_function *linear, const float *images, size_t rows, size_t runs)
{
    const size_t in_features = network.linears[0].layer->in_features, different = IMAGES_MAX / rows;
    double start = thread_cpu_us();
    for (size_t i = 0; i < runs; i++)
        forward(linear, images + i % different * rows * in_features, rows);
    return thread_cpu_us() - start;
}

/* Microseconds for one batch. The clock is a system call, so it is read around as many batches as fill a sample; the
 * first ones say how many those are, and leave in the caches what this engine uses. */
static double time_batch(linear_function *linear, const float *images, size_t rows)
{
    const size_t first = 1 + WARM_IMAGES / rows;
    const size_t runs = 1 + (size_t)(SAMPLE_US / (time_batches(linear, images, rows, first) / (double)first));
    return time_batches(linear, images, rows, runs) / (double)runs;
}

static void print_logits(linear_function *linear, const float *x)
{
    const float *logits = forward(linear, x, 1);
    for (size_t i = 0; i < network.linears[network.count - 1].layer->out_features; i++)
        printf("%.9g ", (double)logits[i]);
    printf("\n");
}

static float *images_read(const char *path)
{
    size_t count = IMAGES_MAX * network.linears[0].layer->in_features;
    float *images = allocate(count * sizeof *images);
    FILE *file = fopen(path, "rb");
    if (!file || fread(images, sizeof *images, count, file) != count) {
        fprintf(stderr, "kernel_worker: %s does not hold %d images\n", path, IMAGES_MAX);
        exit(EXIT_FAILURE);
    }
    fclose(file);
    return images;
}

/* "[logits ]ENGINE INPUT[ BATCH]"; false if it is nothing of the kind. */
static bool answer(const char *line, float *const images[2])
{
    bool logits = strncmp(line, "logits ", 7) == 0;
    char engine[16], input[16];
    unsigned rows = 1;
    int words = sscanf(line + (logits ? 7 : 0), "%15s %15s %4u", engine, input, &rows);
    bool openblas = strcmp(engine, "openblas") == 0;
    if (words < 2 || (!openblas && strcmp(engine, "mlpd") != 0) || rows < 1 || rows > IMAGES_MAX)
        return false;
    bool full = strcmp(input, "full") == 0;
    linear_function *linear = openblas ? linear_openblas : full ? linear_raised : linear_mlpd;
    const float *x = images[full || strcmp(input, "dense") == 0];
    if (openblas && (!blas.sgemm || !blas.sgemv))
        printf("absent\n");
    else if (logits)
        print_logits(linear, x);
    else
        printf("%.4f\n", time_batch(linear, x, rows));
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s MODEL_FOLDER FASHION_FILE DENSE_FILE [TABLE]\n", argv[0]);
        return 2;
    }
    network.kernels = choose_kernels(argv[4]);
    network_load(argv[1]);
    blas_load();
    float *images[2] = {images_read(argv[2]), images_read(argv[3])};
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "name\n") == 0)
            printf("%s\n", network.kernels->name);
        else if (strcmp(line, "peak\n") == 0)
            printf("%.3f\n", peak_gflops(network.kernels->name));
        else if (!answer(line, images))
            return EXIT_FAILURE;
        fflush(stdout);
    }
    return EXIT_SUCCESS;
}
