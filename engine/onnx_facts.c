#include "engine/onnx_facts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/onnx_numbers.h"
#include "engine/onnx_tensor.h"

int64_t onnx_fact_row_elements(const struct onnx_fact *rows)
{
    int64_t count = 1;
    for (size_t i = 1; i < rows->dims; i++)
        if (rows->sizes[i] == ONNX_UNKNOWN || __builtin_mul_overflow(count, rows->sizes[i], &count))
            return ONNX_UNKNOWN;
    return count;
}

size_t onnx_fact_elements(const struct onnx_fact *constant)
{
    size_t count = 1;
    for (size_t i = 0; i < constant->dims; i++)
        count *= (size_t)constant->sizes[i];
    return count;
}

/* ---- Reshaping ---- */

/* Puts the size that a -1 stands for into `result`. */
static bool infer_size(const struct onnx_fact *input, struct onnx_fact *result, size_t hole)
{
    int64_t all = 1, others = 1;
    bool batch_in = false, batch_out = false;
    for (size_t i = 0; i < input->dims; i++) {
        batch_in |= input->sizes[i] == ONNX_BATCH;
        if (input->sizes[i] == ONNX_UNKNOWN ||
            (onnx_number_is_known(input->sizes[i]) && __builtin_mul_overflow(all, input->sizes[i], &all)))
            return false;
    }
    for (size_t i = 0; i < result->dims; i++) {
        batch_out |= i != hole && result->sizes[i] == ONNX_BATCH;
        if (i != hole && onnx_number_is_known(result->sizes[i]) &&
            __builtin_mul_overflow(others, result->sizes[i], &others))
            return false;
    }
    if (others <= 0 || all % others != 0 || (batch_in && !batch_out && all != others) || batch_in < batch_out)
        return false;
    result->sizes[hole] = batch_in && !batch_out ? ONNX_BATCH : all / others;
    return true;
}

/* A flattening of rows of which not all sizes are known. */
static bool is_open_flattening(const struct onnx_fact *input, const struct onnx_fact *target, size_t hole)
{
    return onnx_fact_row_elements(input) == ONNX_UNKNOWN && target->dims == 2 && hole == 1 &&
           target->sizes[0] == input->sizes[0];
}

static struct onnx_fact reshape(const struct onnx_fact *input, const struct onnx_fact *target, bool zero_is_zero)
{
    struct onnx_fact result = *input;
    size_t hole = SIZE_MAX;
    result.dims = target->dims;
    for (size_t i = 0; i < target->dims; i++) {
        int64_t size = target->sizes[i];
        if (size == -1 && hole != SIZE_MAX)
            return ONNX_FACT_NOTHING;
        if (size == -1)
            hole = i;
        else if (size == 0 && !zero_is_zero && i < input->dims)
            size = input->sizes[i];
        if (onnx_number_is_known(size) && size < -1)
            return ONNX_FACT_NOTHING;
        result.sizes[i] = size;
    }
    if (hole != SIZE_MAX && is_open_flattening(input, &result, hole))
        result.sizes[hole] = ONNX_UNKNOWN;
    else if (hole != SIZE_MAX && !infer_size(input, &result, hole))
        return ONNX_FACT_NOTHING;
    return result;
}

/* Rows stay rows if their batch stays in front, and each keeps its elements. */
static struct onnx_fact check_reshaped(const struct onnx_fact *input, struct onnx_fact result)
{
    if (input->kind == ONNX_CONSTANT)
        return !input->transposed && onnx_fact_elements(&result) == onnx_fact_elements(input) ? result
                                                                                              : ONNX_FACT_NOTHING;
    bool keeps = result.dims > 0 && result.sizes[0] == input->sizes[0] &&
                 onnx_fact_row_elements(&result) == onnx_fact_row_elements(input);
    return keeps ? result : ONNX_FACT_NOTHING;
}

static struct onnx_fact step_reshape(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    struct onnx_fact target;
    if (!onnx_numbers_of_input(step, 1, &target) || target.is_scalar)
        return ONNX_FACT_NOTHING;
    if (input->kind == ONNX_NUMBERS || input->kind == ONNX_CONSTANT) {
        struct onnx_fact numbers; /* [n] to [1] and the like */
        if (onnx_numbers_of(input, &numbers) && numbers.dims == 1 && target.dims == 1) {
            numbers.is_scalar = false;
            return numbers;
        }
    }
    if (input->kind != ONNX_ROWS && input->kind != ONNX_CONSTANT)
        return ONNX_FACT_NOTHING;
    return check_reshaped(input, reshape(input, &target, onnx_node_int(step->node, "allowzero", 0) != 0));
}

static struct onnx_fact step_flatten(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    int64_t axis = onnx_node_int(step->node, "axis", 1);
    if (input->kind != ONNX_ROWS || (axis != 1 && axis != 1 - (int64_t)input->dims))
        return ONNX_FACT_NOTHING;
    struct onnx_fact result = *input;
    result.dims = 2;
    result.sizes[1] = onnx_fact_row_elements(input);
    return result;
}

/* The axes of `dims` dimensions as a set of bits; false if one is out of range. */
static bool axes_set(const struct onnx_fact *axes, size_t dims, unsigned *ret)
{
    *ret = 0;
    for (size_t i = 0; i < axes->dims; i++) {
        int64_t axis = axes->sizes[i] < 0 ? axes->sizes[i] + (int64_t)dims : axes->sizes[i];
        if (axis < 0 || axis >= (int64_t)dims)
            return false;
        *ret |= 1u << axis;
    }
    return true;
}

static struct onnx_fact step_unsqueeze(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    struct onnx_fact axes, numbers, result = *input;
    unsigned set;
    if (!onnx_numbers_or_attribute(step, 1, "axes", &axes))
        return ONNX_FACT_NOTHING;
    if (onnx_numbers_of(input, &numbers) && numbers.is_scalar && axes.dims == 1) {
        numbers.is_scalar = false;
        return numbers;
    }
    if ((input->kind != ONNX_ROWS && input->kind != ONNX_CONSTANT) || input->dims + axes.dims > TENSOR_DIMS_MAX)
        return ONNX_FACT_NOTHING;
    result.dims = input->dims + axes.dims;
    if (!axes_set(&axes, result.dims, &set))
        return ONNX_FACT_NOTHING;
    for (size_t i = 0, k = 0; i < result.dims; i++)
        result.sizes[i] = set & 1u << i ? 1 : k < input->dims ? input->sizes[k++] : 1;
    return check_reshaped(input, result);
}

static struct onnx_fact step_squeeze(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    struct onnx_fact axes, numbers, result = *input;
    unsigned set = 0;
    if (onnx_numbers_of(input, &numbers) && numbers.dims == 1) {
        numbers.is_scalar = true;
        return numbers;
    }
    if ((input->kind != ONNX_ROWS && input->kind != ONNX_CONSTANT) ||
        !onnx_numbers_or_attribute(step, 1, "axes", &axes) || !axes_set(&axes, input->dims, &set))
        return ONNX_FACT_NOTHING;
    result.dims = 0;
    for (size_t i = 0; i < input->dims; i++) {
        if (!(set & 1u << i))
            result.sizes[result.dims++] = input->sizes[i];
        else if (input->sizes[i] != 1)
            return ONNX_FACT_NOTHING;
    }
    return check_reshaped(input, result);
}

/* ---- Arithmetic on rows ---- */

static struct onnx_fact step_same(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    return input->kind == ONNX_ROWS ? *input : ONNX_FACT_NOTHING;
}

/* Broadcasts `other` into `result`: sizes are compared from the last one on. */
static bool broadcast(struct onnx_fact *result, const struct onnx_fact *other)
{
    if (other->dims > result->dims)
        return false;
    for (size_t i = 1; i <= other->dims; i++) {
        int64_t *size = &result->sizes[result->dims - i], with = other->sizes[other->dims - i];
        if (with == 1 || with == *size)
            continue;
        if (*size != 1 || other->kind != ONNX_ROWS || i == result->dims)
            return false;
        *size = with;
    }
    return true;
}

static struct onnx_fact step_elementwise(const struct onnx_step *step)
{
    struct onnx_fact result = ONNX_FACT_NOTHING;
    for (size_t i = 0; i < step->node->input_count && result.kind == ONNX_NOTHING; i++)
        if (onnx_step_input(step, i)->kind == ONNX_ROWS)
            result = *onnx_step_input(step, i);
    if (result.kind == ONNX_NOTHING)
        return ONNX_FACT_NOTHING;
    for (size_t i = 0; i < step->node->input_count; i++) {
        const struct onnx_fact *input = onnx_step_input(step, i);
        bool fits = input->kind == ONNX_ROWS ? input->dims == result.dims : input->kind == ONNX_CONSTANT;
        if (!fits || !broadcast(&result, input))
            return ONNX_FACT_NOTHING;
    }
    return result;
}

static struct onnx_fact step_add(const struct onnx_step *step)
{
    struct onnx_fact result = step_elementwise(step);
    return result.kind == ONNX_NOTHING ? onnx_numbers_combine(step, '+') : result;
}

static struct onnx_fact step_sub(const struct onnx_step *step)
{
    struct onnx_fact result = step_elementwise(step);
    return result.kind == ONNX_NOTHING ? onnx_numbers_combine(step, '-') : result;
}

static struct onnx_fact step_mul(const struct onnx_step *step)
{
    struct onnx_fact result = step_elementwise(step);
    return result.kind == ONNX_NOTHING ? onnx_numbers_combine(step, '*') : result;
}

static struct onnx_fact step_div(const struct onnx_step *step)
{
    struct onnx_fact result = step_elementwise(step);
    return result.kind == ONNX_NOTHING ? onnx_numbers_combine(step, '/') : result;
}

static struct onnx_fact step_mod(const struct onnx_step *step)
{
    return onnx_numbers_combine(step, '%');
}

/* The mean over the last dimensions, which stay with size 1. */
static struct onnx_fact step_mean(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    struct onnx_fact axes, result = *input;
    unsigned set;
    if (input->kind != ONNX_ROWS || onnx_node_int(step->node, "keepdims", 1) != 1 ||
        !onnx_numbers_or_attribute(step, 1, "axes", &axes) || !axes_set(&axes, input->dims, &set) || set == 0 ||
        set & 1)
        return ONNX_FACT_NOTHING;
    for (size_t i = 1; i < input->dims; i++)
        if (set & 1u << i)
            result.sizes[i] = 1;
    return result;
}

/* Rows times a matrix; `out` is the matrix's index of the outputs. */
static struct onnx_fact multiply(const struct onnx_fact *rows, const struct onnx_fact *matrix, size_t out)
{
    struct onnx_fact result = *rows;
    if (rows->kind != ONNX_ROWS || rows->dims != 2 || matrix->kind != ONNX_CONSTANT || matrix->dims != 2)
        return ONNX_FACT_NOTHING;
    if (rows->sizes[1] != ONNX_UNKNOWN && rows->sizes[1] != matrix->sizes[1 - out])
        return ONNX_FACT_NOTHING;
    result.sizes[1] = matrix->sizes[out];
    return result;
}

static struct onnx_fact step_matmul(const struct onnx_step *step)
{
    return multiply(onnx_step_input(step, 0), onnx_step_input(step, 1), 1);
}

static struct onnx_fact step_gemm(const struct onnx_step *step)
{
    if (onnx_node_int(step->node, "transA", 0) != 0)
        return ONNX_FACT_NOTHING;
    return multiply(onnx_step_input(step, 0), onnx_step_input(step, 1),
                    onnx_node_int(step->node, "transB", 0) ? 0 : 1);
}

/* ---- Constants ---- */

static struct onnx_fact step_transpose(const struct onnx_step *step)
{
    struct onnx_fact result = *onnx_step_input(step, 0);
    const Onnx__Attribute *perm = onnx_node_attribute(step->node, "perm");
    bool swaps = !perm || (perm->n_ints == 2 && perm->ints[0] == 1 && perm->ints[1] == 0);
    if (result.kind != ONNX_CONSTANT || result.dims != 2 || !swaps)
        return ONNX_FACT_NOTHING;
    int64_t first = result.sizes[0];
    result.sizes[0] = result.sizes[1];
    result.sizes[1] = first;
    result.transposed = !result.transposed;
    return result;
}

/* One number everywhere: zero, if the node does not say which. */
static struct onnx_fact step_constant_of_shape(const struct onnx_step *step)
{
    static float number = 0;
    static const Onnx__Tensor zero = {.data_type = ONNX_FLOAT, .n_float_data = 1, .float_data = &number};
    const Onnx__Attribute *value = onnx_node_attribute(step->node, "value");
    struct onnx_fact shape, result = {.kind = ONNX_CONSTANT, .filled = true};
    size_t count = 1;
    if (!onnx_numbers_of_input(step, 0, &shape) || shape.is_scalar)
        return ONNX_FACT_NOTHING;
    result.tensor = value && value->t ? value->t : &zero;
    result.dims = shape.dims;
    for (size_t i = 0; i < shape.dims; i++) {
        result.sizes[i] = shape.sizes[i];
        if (shape.sizes[i] < 0 || __builtin_mul_overflow(count, (size_t)shape.sizes[i], &count) ||
            count > SIZE_MAX / sizeof(double))
            return ONNX_FACT_NOTHING;
    }
    return result;
}

/* ---- All of it ---- */

static const struct transfer {
    const char *op;
    struct onnx_fact (*step)(const struct onnx_step *step);
} TRANSFERS[] = {
    {"Abs", step_same},
    {"Add", step_add},
    {"BatchNormalization", step_same},
    {"Cast", onnx_numbers_cast},
    {"Celu", step_same},
    {"Clip", step_same},
    {"Concat", onnx_numbers_concat},
    {"ConstantOfShape", step_constant_of_shape},
    {"Div", step_div},
    {"Dropout", step_same},
    {"Elu", step_same},
    {"Erf", step_same},
    {"Exp", step_same},
    {"Flatten", step_flatten},
    {"Gather", onnx_numbers_gather},
    {"Gelu", step_same},
    {"Gemm", step_gemm},
    {"Greater", step_elementwise},
    {"HardSigmoid", step_same},
    {"HardSwish", step_same},
    {"LayerNormalization", step_same},
    {"LeakyRelu", step_same},
    {"Log", step_same},
    {"LogSoftmax", step_same},
    {"MatMul", step_matmul},
    {"Max", step_elementwise},
    {"Min", step_elementwise},
    {"Mish", step_same},
    {"Mod", step_mod},
    {"Mul", step_mul},
    {"Neg", step_same},
    {"Pow", step_elementwise},
    {"Reciprocal", step_same},
    {"ReduceMean", step_mean},
    {"Relu", step_same},
    {"Reshape", step_reshape},
    {"Selu", step_same},
    {"Shape", onnx_numbers_shape},
    {"Sigmoid", step_same},
    {"Slice", onnx_numbers_slice},
    {"Softmax", step_same},
    {"Softplus", step_same},
    {"Softsign", step_same},
    {"Sqrt", step_same},
    {"Squeeze", step_squeeze},
    {"Sub", step_sub},
    {"Swish", step_same},
    {"Tanh", step_same},
    {"Transpose", step_transpose},
    {"Unsqueeze", step_unsqueeze},
    {"Where", step_elementwise},
};

static int compare_op(const void *key, const void *member)
{
    return strcmp(key, ((const struct transfer *)member)->op);
}

static struct onnx_fact step_over(const struct onnx_step *step)
{
    const struct transfer *found = bsearch(step->node->op, TRANSFERS, sizeof TRANSFERS / sizeof TRANSFERS[0],
                                           sizeof TRANSFERS[0], compare_op);
    return found && onnx_node_is(step->node, found->op) ? found->step(step) : ONNX_FACT_NOTHING;
}

static enum status fact_of_tensor(const Onnx__Tensor *tensor, struct onnx_fact *ret, struct error *err)
{
    size_t shape[TENSOR_DIMS_MAX], count = 0;
    struct onnx_fact fact = {.kind = ONNX_CONSTANT, .tensor = tensor};
    enum status status = onnx_tensor_shape(tensor, shape, &fact.dims, &count, err);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < fact.dims; i++)
        fact.sizes[i] = (int64_t)shape[i];
    *ret = fact;
    return STATUS_OK;
}

static int64_t size_of_dimension(const Onnx__Dimension *dimension, bool is_batch)
{
    if (dimension->has_dim_value && dimension->dim_value > 0)
        return dimension->dim_value;
    return is_batch ? ONNX_BATCH : ONNX_UNKNOWN;
}

static enum status refuse_input(const struct onnx_graph *graph, const char *what, struct error *err)
{
    const char *name = graph->input_info->name ? graph->input_info->name : "";
    error_set(err, STATUS_UNSUPPORTED, "the input \"%.*s\" %s", onnx_name_shown(name, 80), name, what);
    return error_hint(err, "export with an example of shape [batch, features] or [batch, channels, height, width] "
                           "in float32");
}

static enum status fact_of_input(const struct onnx_graph *graph, struct onnx_fact *ret, struct error *err)
{
    const Onnx__Type *type = graph->input_info->type;
    const Onnx__TensorType *tensor = type ? type->tensor_type : NULL;
    if (!tensor || !tensor->shape)
        return refuse_input(graph, "is no tensor with a shape", err);
    if (!onnx_tensor_is_float(tensor->elem_type))
        return refuse_input(graph, "is no tensor of floats", err);
    size_t dims = tensor->shape->n_dim;
    if (dims < 2 || dims > TENSOR_DIMS_MAX)
        return refuse_input(graph, "has no batch axis and features behind it (2 to 8 axes)", err);
    *ret = (struct onnx_fact){.kind = ONNX_ROWS, .dims = dims};
    for (size_t i = 0; i < dims; i++)
        ret->sizes[i] = size_of_dimension(tensor->shape->dim[i], i == 0);
    return STATUS_OK;
}

static enum status fill(const struct onnx_graph *graph, struct onnx_fact *facts, struct error *err)
{
    enum status status = fact_of_input(graph, &facts[graph->input], err);
    for (size_t i = 0; status == STATUS_OK && i < graph->value_count; i++)
        if (graph->values[i].tensor)
            status = fact_of_tensor(graph->values[i].tensor, &facts[i], err);
    for (size_t i = 0; status == STATUS_OK && i < graph->node_count; i++) {
        const struct onnx_node *node = &graph->nodes[i];
        struct onnx_step step = {.graph = graph, .facts = facts, .node = node};
        if (node->output_count > 0 && facts[node->first_output].kind == ONNX_NOTHING)
            facts[node->first_output] = step_over(&step);
    }
    return status;
}

enum status onnx_facts_create(const struct onnx_graph *graph, struct onnx_fact **ret, struct error *err)
{
    struct onnx_fact *facts = calloc(graph->value_count + 1, sizeof *facts);
    if (!facts)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the graph of an ONNX file");
    enum status status = fill(graph, facts, err);
    if (status == STATUS_OK)
        *ret = facts;
    else
        free(facts);
    return status;
}
