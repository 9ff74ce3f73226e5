/* The CPU's backend: the plan's Linear steps packed for one table of kernels, run by the thread that calls. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/plan.h"
#include "kernels/kernels.h"

struct cpu_backend {
    struct backend base;
    const struct kernels *kernels;
    struct plan *plan;
    struct packed_linear *packed; /* one for each step; data NULL where the step is no STEP_LINEAR */
    size_t scratch_bytes;         /* the most that kernels->linear asks for */
};

struct executor {
    const struct cpu_backend *backend;
    float *activations[2]; /* (batch_max, features_max) each: a step reads one and writes the other */
    void *scratch;
};

static const struct cpu_backend *cpu_backend(const struct backend *backend)
{
    return (const struct cpu_backend *)backend;
}

static void *aligned_block(size_t bytes)
{
    size_t rounded = (bytes + KERNELS_ALIGNMENT - 1) / KERNELS_ALIGNMENT * KERNELS_ALIGNMENT;
    return aligned_alloc(KERNELS_ALIGNMENT, rounded ? rounded : KERNELS_ALIGNMENT);
}

/* Copies a part's rows to dst (count, in_features), bytes scaled to what the model was trained on. */
static void gather_part(const struct cpu_backend *cpu, const struct batch_part *part, float *dst)
{
    size_t elements = part->count * cpu->base.model->in_features;
    if (part->dtype == ROW_UINT8)
        cpu->kernels->scale_u8(part->rows, elements, cpu->base.model->pixel_scale, dst);
    else
        memcpy(dst, part->rows, elements * sizeof *dst);
}

static void run_step(const struct cpu_backend *cpu, size_t index, const float *x, size_t rows, float *y,
                     void *scratch)
{
    const struct step *step = &cpu->plan->steps[index];
    switch (step->type) {
    case STEP_LINEAR: cpu->kernels->linear(&cpu->packed[index], x, rows, y, step->relu, scratch); break;
    case STEP_RELU:
        memcpy(y, x, rows * step->in_features * sizeof *y);
        cpu->kernels->relu(y, rows * step->in_features);
        break;
    case STEP_SOFTMAX: kernels_softmax(x, rows, step->in_features, y); break;
    }
}

/* Runs the whole plan from x (rows, in_features); what it returns is one of the executor's buffers, or x itself if the
 * plan is empty. x may be activations[0]. */
static const float *run_plan(struct executor *executor, const float *x, size_t rows)
{
    const struct cpu_backend *cpu = executor->backend;
    for (size_t i = 0; i < cpu->plan->step_count; i++) {
        float *y = x == executor->activations[0] ? executor->activations[1] : executor->activations[0];
        run_step(cpu, i, x, rows, y, executor->scratch);
        x = y;
    }
    return x;
}

static void scatter_part(const struct cpu_backend *cpu, const float *logits, const struct batch_part *part)
{
    size_t n = cpu->base.model->out_features;
    memcpy(part->logits, logits, part->count * n * sizeof *logits);
    if (cpu->base.model->ends_in_softmax)
        memcpy(part->probabilities, logits, part->count * n * sizeof *logits);
    else
        kernels_softmax(logits, part->count, n, part->probabilities);
    for (size_t i = 0; i < part->count; i++)
        part->classes[i] = (uint32_t)kernels_argmax(logits + i * n, n);
}

static enum status cpu_run(struct executor *executor, const struct batch_part *parts, size_t part_count,
                           struct error *err)
{
    (void)err;
    const struct cpu_backend *cpu = executor->backend;
    size_t in_features = cpu->base.model->in_features;
    size_t rows = 0;
    const float *x = executor->activations[0];
    if (part_count == 1 && parts[0].dtype == ROW_FLOAT32) {
        x = parts[0].rows; /* already as one batch: no copy */
        rows = parts[0].count;
    } else {
        for (size_t i = 0; i < part_count; rows += parts[i++].count)
            gather_part(cpu, &parts[i], executor->activations[0] + rows * in_features);
    }
    assert(rows <= cpu->base.batch_max);

    const float *logits = run_plan(executor, x, rows);
    for (size_t i = 0; i < part_count; logits += parts[i++].count * cpu->base.model->out_features)
        scatter_part(cpu, logits, &parts[i]);
    return STATUS_OK;
}

static void cpu_executor_free(struct executor *executor)
{
    if (!executor)
        return;
    free(executor->activations[0]);
    free(executor->activations[1]);
    free(executor->scratch);
    free(executor);
}

static enum status executor_create_rows(const struct cpu_backend *cpu, size_t rows, struct executor **ret,
                                        struct error *err)
{
    struct executor *executor = calloc(1, sizeof *executor);
    if (!executor)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a worker's buffers");
    executor->backend = cpu;
    for (size_t i = 0; i < 2; i++)
        executor->activations[i] = aligned_block(rows * cpu->plan->features_max * sizeof(float));
    executor->scratch = aligned_block(cpu->scratch_bytes);
    if (!executor->activations[0] || !executor->activations[1] || !executor->scratch) {
        cpu_executor_free(executor);
        error_set(err, STATUS_NO_MEMORY, "no memory for a worker's buffers: %zu rows of %zu floats, twice", rows,
                  cpu->plan->features_max);
        return error_hint(err, "choose a smaller --batch-max or fewer --workers");
    }
    *ret = executor;
    return STATUS_OK;
}

static enum status cpu_executor_create(const struct backend *backend, struct executor **ret, struct error *err)
{
    return executor_create_rows(cpu_backend(backend), backend->batch_max, ret, err);
}

/* Layer by layer without fusing. The plan's packed weights serve here too: its n-th STEP_LINEAR is the model's n-th
 * Linear, and a row's bits do not depend on where its ReLU is taken. */
static void trace_layers(struct executor *executor, const float *x, float *values)
{
    const struct cpu_backend *cpu = executor->backend;
    const struct model *model = cpu->base.model;
    const struct packed_linear *packed = cpu->packed;
    for (size_t i = 0; i < model->layer_count; i++, values += TRACE_VALUES) {
        const struct layer *layer = &model->layers[i];
        float *y = x == executor->activations[0] ? executor->activations[1] : executor->activations[0];
        if (layer->type == LAYER_LINEAR) {
            while (!packed->data)
                packed++;
            cpu->kernels->linear(packed++, x, 1, y, false, executor->scratch);
        } else if (layer->type == LAYER_SOFTMAX) {
            kernels_softmax(x, 1, layer->in_features, y);
        } else {
            memcpy(y, x, layer->in_features * sizeof *y);
            if (layer->type == LAYER_RELU)
                cpu->kernels->relu(y, layer->in_features);
        }
        size_t shown = layer->out_features < TRACE_VALUES ? layer->out_features : TRACE_VALUES;
        memcpy(values, y, shown * sizeof *values);
        x = y;
    }
}

static enum status cpu_trace(const struct backend *backend, const void *row, enum row_dtype dtype, float *values,
                             struct error *err)
{
    const struct cpu_backend *cpu = cpu_backend(backend);
    struct executor *executor;
    enum status status = executor_create_rows(cpu, 1, &executor, err);
    if (status != STATUS_OK)
        return status;
    const struct batch_part part = {.rows = row, .dtype = dtype, .count = 1};
    gather_part(cpu, &part, executor->activations[0]);
    trace_layers(executor, executor->activations[0], values);
    cpu_executor_free(executor);
    return STATUS_OK;
}

static void cpu_free(struct backend *backend)
{
    struct cpu_backend *cpu = (struct cpu_backend *)backend;
    if (!cpu)
        return;
    for (size_t i = 0; cpu->packed && i < cpu->plan->step_count; i++)
        free((void *)(uintptr_t)cpu->packed[i].data);
    free(cpu->packed);
    plan_free(cpu->plan);
    free(cpu);
}

static const struct backend_ops cpu_ops = {
    .executor_create = cpu_executor_create,
    .run = cpu_run,
    .trace = cpu_trace,
    .executor_free = cpu_executor_free,
    .free = cpu_free,
};

static bool pack_step(struct cpu_backend *cpu, size_t index)
{
    const struct layer *layer = cpu->plan->steps[index].layer;
    const struct kernels *kernels = cpu->kernels;
    size_t floats = kernels->linear_packed_floats(layer->in_features, layer->out_features);
    float *storage = aligned_block(floats * sizeof *storage);
    if (!storage)
        return false;
    kernels->linear_pack(layer->weight, layer->bias, layer->in_features, layer->out_features, storage,
                         &cpu->packed[index]);
    size_t scratch = kernels->linear_scratch_bytes(layer->in_features);
    if (cpu->scratch_bytes < scratch)
        cpu->scratch_bytes = scratch;
    return true;
}

static bool pack_steps(struct cpu_backend *cpu)
{
    cpu->packed = calloc(cpu->plan->step_count, sizeof *cpu->packed);
    if (!cpu->packed)
        return false;
    for (size_t i = 0; i < cpu->plan->step_count; i++)
        if (cpu->plan->steps[i].type == STEP_LINEAR && !pack_step(cpu, i))
            return false;
    return true;
}

static enum status refuse_kernels(const char *name, const char *fault, struct error *err)
{
    char names[128] = "auto";
    for (size_t i = 0; kernels_all[i]; i++) {
        if (!kernels_all[i]->supported())
            continue;
        strncat(names, ", ", sizeof names - strlen(names) - 1);
        strncat(names, kernels_all[i]->name, sizeof names - strlen(names) - 1);
    }
    error_set(err, STATUS_INVALID, "--kernels %s: %s", name, fault);
    return error_hint(err, "on this machine --kernels takes %s", names);
}

enum status backend_cpu_create(const struct model *model, const char *kernels_name, size_t batch_max,
                               struct backend **ret, struct error *err)
{
    const struct kernels *kernels = kernels_name ? kernels_find(kernels_name) : kernels_best();
    if (!kernels)
        return refuse_kernels(kernels_name, "there are no kernels of that name", err);
    if (!kernels->supported())
        return refuse_kernels(kernels_name, "this processor or its operating system does not support them", err);

    struct cpu_backend *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        goto fail;
    cpu->base = (struct backend){&cpu_ops, model, batch_max, "cpu", kernels->name};
    cpu->kernels = kernels;
    cpu->plan = plan_create(model);
    if (!cpu->plan || !pack_steps(cpu))
        goto fail;
    *ret = &cpu->base;
    return STATUS_OK;

fail:
    cpu_free(cpu ? &cpu->base : NULL);
    return error_set(err, STATUS_NO_MEMORY, "no memory to pack the model's %zu parameters",
                     model->parameter_elements);
}
