/* The CPU's backend: the plan's Linear steps packed for one table of kernels, run by the thread that calls. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend.h"
#include "engine/plan.h"
#include "kernels/activations.h"
#include "kernels/kernels.h"
#include "kernels/row_norms.h"

/* A STEP_LINEAR's parameters, packed; data are NULL for other steps. */
struct packed_step {
    struct packed_linear linear;
    struct packed_linear
        traced; /* with a BatchNorm1d in `linear`: the layer's first outputs without it, for the trace */
};

struct cpu_backend {
    struct backend base;
    const struct kernels *kernels;
    const struct activation_table *activations;
    struct plan *plan;
    struct packed_step *packed; /* one for each step */
    size_t scratch_bytes;       /* the most that kernels->linear asks for */
};

struct executor {
    const struct cpu_backend *backend;
    float *activations[2]; /* (batch_max, features_max) each: a step reads one and writes the other */
    void *scratch;
    size_t activation_bytes, scratch_bytes; /* of each of them */
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

/* A row's bytes channel by channel, each with its own mean and deviation. */
static void gather_channels(const struct cpu_backend *cpu, const uint8_t *row, float *dst)
{
    const struct model *model = cpu->base.model;
    const size_t pixels = model->in_features / model->channels;
    for (size_t c = 0; c < model->channels; c++)
        cpu->kernels->scale_u8(row + c * pixels, pixels, model->channel_scale[c], dst + c * pixels);
}

/* Copies a part's rows to dst (count, in_features), bytes scaled to what the model was trained on. */
static void gather_part(const struct cpu_backend *cpu, const struct batch_part *part, float *dst)
{
    const struct model *model = cpu->base.model;
    const size_t n = model->in_features;
    if (part->dtype == ROW_FLOAT32)
        memcpy(dst, part->rows, part->count * n * sizeof *dst);
    else if (model->channels <= 1)
        cpu->kernels->scale_u8(part->rows, part->count * n, model->pixel_scale, dst);
    else
        for (size_t r = 0; r < part->count; r++)
            gather_channels(cpu, (const uint8_t *)part->rows + r * n, dst + r * n);
}

/* What is no Linear may have y = x. */
static void run_step(const struct cpu_backend *cpu, size_t index, const float *x, size_t rows, float *y,
                     void *scratch)
{
    const struct step *step = &cpu->plan->steps[index];
    const size_t n = step->in_features;
    switch (step->type) {
    case STEP_LINEAR: cpu->kernels->linear(&cpu->packed[index].linear, x, rows, y, step->relu, scratch); break;
    case STEP_RELU:
        if (y != x)
            memcpy(y, x, rows * n * sizeof *y);
        cpu->kernels->relu(y, rows * n);
        break;
    case STEP_ACTIVATION: cpu->activations->apply(&step->layer->activation, x, rows * n, y); break;
    case STEP_SOFTMAX: kernels_softmax(x, rows, n, y); break;
    case STEP_LOG_SOFTMAX: kernels_log_softmax(x, rows, n, y); break;
    case STEP_SCALE_SHIFT: kernels_scale_shift(x, rows, n, step->scale, step->shift, y); break;
    case STEP_LAYER_NORM: kernels_layer_norm(x, rows, n, step->scale, step->shift, step->eps, y); break;
    }
}

/* Where a step writes what it makes of x: into x itself where it can, and else into the other of the two buffers. */
static float *output_of(const struct executor *executor, const struct step *step, const float *x)
{
    float *const *own = executor->activations;
    if (step->type != STEP_LINEAR && (x == own[0] || x == own[1]))
        return x == own[0] ? own[0] : own[1];
    return x == own[0] ? own[1] : own[0];
}

/* Runs the whole plan from x (rows, in_features); what it returns is one of the executor's buffers, or x itself if the
 * plan is empty. x may be activations[0]. */
static const float *run_plan(struct executor *executor, const float *x, size_t rows)
{
    const struct cpu_backend *cpu = executor->backend;
    for (size_t i = 0; i < cpu->plan->step_count; i++) {
        float *y = output_of(executor, &cpu->plan->steps[i], x);
        run_step(cpu, i, x, rows, y, executor->scratch);
        x = y;
    }
    return x;
}

static void write_probabilities(const struct model *model, const float *logits, size_t rows, float *probabilities)
{
    const size_t n = model->out_features;
    switch (model->probabilities) {
    case PROBABILITIES_SOFTMAX: kernels_softmax(logits, rows, n, probabilities); break;
    case PROBABILITIES_EXP: kernels_exp(logits, rows * n, probabilities); break;
    case PROBABILITIES_SIGMOID: kernels_sigmoid(logits, rows * n, probabilities); break;
    case PROBABILITIES_SAME: memcpy(probabilities, logits, rows * n * sizeof *logits); break;
    }
}

static void scatter_part(const struct cpu_backend *cpu, const float *logits, const struct batch_part *part)
{
    size_t n = cpu->base.model->out_features;
    memcpy(part->logits, logits, part->count * n * sizeof *logits);
    write_probabilities(cpu->base.model, logits, part->count, part->probabilities);
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

static void free_blocks(struct executor *executor)
{
    free(executor->activations[0]);
    free(executor->activations[1]);
    free(executor->scratch);
}

static void cpu_executor_free(struct executor *executor)
{
    if (!executor)
        return;
    free_blocks(executor);
    free(executor);
}

/* Puts blocks for batches of `rows` rows in the place of what the executor has. */
static enum status replace_blocks(struct executor *executor, const struct cpu_backend *cpu, size_t rows,
                                  struct error *err)
{
    struct executor fresh = {
        .backend = cpu,
        .activation_bytes = rows * cpu->plan->features_max * sizeof(float),
        .scratch_bytes = cpu->scratch_bytes,
    };
    for (size_t i = 0; i < 2; i++)
        fresh.activations[i] = aligned_block(fresh.activation_bytes);
    fresh.scratch = aligned_block(fresh.scratch_bytes);
    if (!fresh.activations[0] || !fresh.activations[1] || !fresh.scratch) {
        free_blocks(&fresh);
        error_set(err, STATUS_NO_MEMORY, "no memory for a worker's buffers: %zu rows of %zu floats, twice", rows,
                  cpu->plan->features_max);
        return error_hint(err, "choose a smaller --batch-max or fewer --workers");
    }
    free_blocks(executor);
    *executor = fresh;
    return STATUS_OK;
}

static enum status executor_create_rows(const struct cpu_backend *cpu, size_t rows, struct executor **ret,
                                        struct error *err)
{
    struct executor *executor = calloc(1, sizeof *executor);
    if (!executor)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a worker's buffers");
    enum status status = replace_blocks(executor, cpu, rows, err);
    if (status == STATUS_OK)
        *ret = executor;
    else
        free(executor);
    return status;
}

static enum status cpu_executor_move(struct executor *executor, const struct backend *to, struct error *err)
{
    const struct cpu_backend *cpu = cpu_backend(to);
    if (to->batch_max * cpu->plan->features_max * sizeof(float) > executor->activation_bytes ||
        cpu->scratch_bytes > executor->scratch_bytes)
        return replace_blocks(executor, cpu, to->batch_max, err);
    executor->backend = cpu;
    return STATUS_OK;
}

static enum status cpu_executor_create(const struct backend *backend, struct executor **ret, struct error *err)
{
    return executor_create_rows(cpu_backend(backend), backend->batch_max, ret, err);
}

/* A walk over the layers as PyTorch has them, along the plan's steps. */
struct walk {
    struct executor *executor;
    size_t step;        /* the next */
    const float *x;     /* what the last step gave */
    const float *shown; /* the head of what the last layer gives: of x, or what x was before a BatchNorm1d */
};

/* Runs the next step without its ReLU. Where a BatchNorm1d is part of it, `values` are the Linear's own all the same. */
static void trace_step(struct walk *walk, float *y, float *values, size_t count)
{
    const struct cpu_backend *cpu = walk->executor->backend;
    const struct step *step = &cpu->plan->steps[walk->step];
    const struct packed_step *packed = &cpu->packed[walk->step];
    if (step->type == STEP_LINEAR)
        cpu->kernels->linear(&packed->linear, walk->x, 1, y, false, walk->executor->scratch);
    else
        run_step(cpu, walk->step, walk->x, 1, y, walk->executor->scratch);
    if (packed->traced.data)
        cpu->kernels->linear(&packed->traced, walk->x, 1, values, false, walk->executor->scratch);
    else
        memcpy(values, y, count * sizeof *values);
    walk->step++;
    walk->x = y;
}

/* A layer is the one from which the next step comes, or has become part of the last step, or does nothing. */
static void trace_layer(struct walk *walk, const struct layer *layer, float *values)
{
    const struct cpu_backend *cpu = walk->executor->backend;
    const size_t count = layer->out_features < TRACE_VALUES ? layer->out_features : TRACE_VALUES;
    float *const *own = walk->executor->activations;
    float *y = walk->x == own[0] ? own[1] : own[0];
    if (walk->step < cpu->plan->step_count && cpu->plan->steps[walk->step].layer == layer) {
        trace_step(walk, y, values, count);
    } else if (layer->type == LAYER_RELU) {
        memcpy(y, walk->x, layer->in_features * sizeof *y);
        cpu->kernels->relu(y, layer->in_features);
        memcpy(values, y, count * sizeof *values);
        walk->x = y;
    } else {
        memcpy(values, layer->type == LAYER_BATCH_NORM ? walk->x : walk->shown, count * sizeof *values);
    }
    walk->shown = values;
}

static void trace_layers(struct executor *executor, const float *x, float *values)
{
    const struct model *model = executor->backend->base.model;
    struct walk walk = {.executor = executor, .x = x, .shown = x};
    for (size_t i = 0; i < model->layer_count; i++)
        trace_layer(&walk, &model->layers[i], values + i * TRACE_VALUES);
}

static enum status cpu_trace(const struct backend *backend, const void *row, enum row_dtype dtype, float *values,
                             struct error *err)
{
    const struct cpu_backend *cpu = cpu_backend(backend);
    struct executor *executor = NULL;
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
    for (size_t i = 0; cpu->packed && i < cpu->plan->step_count; i++) {
        free((void *)(uintptr_t)cpu->packed[i].linear.data);
        free((void *)(uintptr_t)cpu->packed[i].traced.data);
    }
    free(cpu->packed);
    plan_free(cpu->plan);
    free(cpu);
}

static const struct backend_ops cpu_ops = {
    .executor_create = cpu_executor_create,
    .run = cpu_run,
    .trace = cpu_trace,
    .executor_move = cpu_executor_move,
    .executor_free = cpu_executor_free,
    .free = cpu_free,
};

/* The first `out` outputs of a Linear. */
static bool pack_linear(struct cpu_backend *cpu, const float *weight, const float *bias, size_t in, size_t out,
                        struct packed_linear *ret)
{
    float *storage = aligned_block(cpu->kernels->linear_packed_floats(in, out) * sizeof *storage);
    if (!storage)
        return false;
    cpu->kernels->linear_pack(weight, bias, in, out, storage, ret);
    size_t scratch = cpu->kernels->linear_scratch_bytes(in);
    if (cpu->scratch_bytes < scratch)
        cpu->scratch_bytes = scratch;
    return true;
}

static bool pack_step(struct cpu_backend *cpu, size_t index)
{
    const struct step *step = &cpu->plan->steps[index];
    const struct layer *layer = step->layer;
    const size_t in = step->in_features, out = step->out_features;
    const size_t traced = out < TRACE_VALUES ? out : TRACE_VALUES;
    if (!pack_linear(cpu, step->weight, step->bias, in, out, &cpu->packed[index].linear))
        return false;
    return !step->batch_norm ||
           pack_linear(cpu, layer->weight, layer->bias, in, traced, &cpu->packed[index].traced);
}

static bool pack_steps(struct cpu_backend *cpu)
{
    cpu->packed = calloc(cpu->plan->step_count, sizeof *cpu->packed);
    if (!cpu->packed)
        return false;
    for (size_t i = 0; i < cpu->plan->step_count; i++)
        if (cpu->plan->steps[i].type == STEP_LINEAR && !pack_step(cpu, i))
            return false;
    plan_drop_weights(cpu->plan);
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
    cpu->activations = activation_table_for(kernels->name);
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
