#include "engine/onnx_numbers.h"

#include "engine/onnx_tensor.h"

const struct onnx_fact ONNX_FACT_NOTHING = {.kind = ONNX_NOTHING};

const struct onnx_fact *onnx_step_input(const struct onnx_step *step, size_t i)
{
    int32_t value = onnx_graph_origin(step->graph, onnx_node_input(step->node, i));
    return value == ONNX_NONE ? &ONNX_FACT_NOTHING : &step->facts[value];
}

bool onnx_numbers_of(const struct onnx_fact *fact, struct onnx_fact *ret)
{
    if (fact->kind == ONNX_NUMBERS) {
        *ret = *fact;
        return true;
    }
    if (fact->kind != ONNX_CONSTANT || fact->dims > 1 || onnx_fact_elements(fact) > TENSOR_DIMS_MAX)
        return false;
    *ret = (struct onnx_fact){.kind = ONNX_NUMBERS, .is_scalar = fact->dims == 0, .dims = onnx_fact_elements(fact)};
    for (size_t i = 0; i < ret->dims; i++)
        if (!onnx_tensor_whole(fact->tensor, fact->filled ? 0 : i, &ret->sizes[i]))
            return false;
    return true;
}

bool onnx_numbers_of_input(const struct onnx_step *step, size_t i, struct onnx_fact *ret)
{
    return onnx_numbers_of(onnx_step_input(step, i), ret);
}

bool onnx_numbers_or_attribute(const struct onnx_step *step, size_t i, const char *name, struct onnx_fact *ret)
{
    const Onnx__Attribute *attribute = onnx_node_attribute(step->node, name);
    if (onnx_node_input(step->node, i) != ONNX_NONE)
        return onnx_numbers_of_input(step, i, ret);
    if (!attribute || attribute->n_ints > TENSOR_DIMS_MAX)
        return false;
    *ret = (struct onnx_fact){.kind = ONNX_NUMBERS, .dims = attribute->n_ints};
    for (size_t k = 0; k < attribute->n_ints; k++)
        ret->sizes[k] = attribute->ints[k];
    return true;
}

bool onnx_number_is_known(int64_t number)
{
    return number != ONNX_BATCH && number != ONNX_UNKNOWN;
}

/* ONNX's Mod of whole numbers has the divisor's sign. */
static bool combine(char op, int64_t a, int64_t b, int64_t *ret)
{
    if (op == '+' && onnx_number_is_known(a) && onnx_number_is_known(b))
        return !__builtin_add_overflow(a, b, ret);
    if (op == '-' && onnx_number_is_known(a) && onnx_number_is_known(b))
        return !__builtin_sub_overflow(a, b, ret);
    if (op == '*' && (a == 1 || b == 1)) {
        *ret = a == 1 ? b : a;
        return true;
    }
    if (!onnx_number_is_known(a) || !onnx_number_is_known(b))
        return false;
    if (op == '*')
        return !__builtin_mul_overflow(a, b, ret);
    if (b == 0 || b == -1)
        return false;
    *ret = op == '/' ? a / b : (a % b + b) % b;
    return true;
}

struct onnx_fact onnx_numbers_combine(const struct onnx_step *step, char op)
{
    struct onnx_fact a, b, result;
    if (!onnx_numbers_of_input(step, 0, &a) || !onnx_numbers_of_input(step, 1, &b))
        return ONNX_FACT_NOTHING;
    if (a.dims != b.dims && a.dims != 1 && b.dims != 1)
        return ONNX_FACT_NOTHING;
    result = a.dims >= b.dims ? a : b;
    result.is_scalar = a.is_scalar && b.is_scalar;
    for (size_t i = 0; i < result.dims; i++)
        if (!combine(op, a.sizes[a.dims == 1 ? 0 : i], b.sizes[b.dims == 1 ? 0 : i], &result.sizes[i]))
            return ONNX_FACT_NOTHING;
    return result;
}

struct onnx_fact onnx_numbers_cast(const struct onnx_step *step)
{
    struct onnx_fact numbers;
    return onnx_numbers_of_input(step, 0, &numbers) ? numbers : ONNX_FACT_NOTHING;
}

struct onnx_fact onnx_numbers_shape(const struct onnx_step *step)
{
    const struct onnx_fact *input = onnx_step_input(step, 0);
    struct onnx_fact result = {.kind = ONNX_NUMBERS};
    int64_t dims = (int64_t)input->dims, start = onnx_node_int(step->node, "start", 0);
    int64_t end = onnx_node_int(step->node, "end", dims);
    start = start < 0 ? start + dims : start;
    end = end < 0 ? end + dims : end > dims ? dims : end;
    if ((input->kind != ONNX_ROWS && input->kind != ONNX_CONSTANT) || start < 0)
        return ONNX_FACT_NOTHING;
    for (int64_t i = start; i < end; i++)
        result.sizes[result.dims++] = input->sizes[i];
    return result;
}

struct onnx_fact onnx_numbers_gather(const struct onnx_step *step)
{
    struct onnx_fact data, at, result;
    if (!onnx_numbers_of_input(step, 0, &data) || !onnx_numbers_of_input(step, 1, &at) || data.is_scalar)
        return ONNX_FACT_NOTHING;
    result = at;
    for (size_t i = 0; i < at.dims; i++) {
        int64_t k = at.sizes[i] < 0 ? at.sizes[i] + (int64_t)data.dims : at.sizes[i];
        if (k < 0 || k >= (int64_t)data.dims)
            return ONNX_FACT_NOTHING;
        result.sizes[i] = data.sizes[k];
    }
    return result;
}

static int64_t clamp_to(int64_t at, int64_t count)
{
    at = at < 0 && at >= -count ? at + count : at;
    return at < 0 ? 0 : at > count ? count : at;
}

/* A part of a vector, with step 1. */
struct onnx_fact onnx_numbers_slice(const struct onnx_step *step)
{
    struct onnx_fact data, starts, ends, steps, result = {.kind = ONNX_NUMBERS};
    if (!onnx_numbers_of_input(step, 0, &data) || !onnx_numbers_or_attribute(step, 1, "starts", &starts) ||
        !onnx_numbers_or_attribute(step, 2, "ends", &ends) || starts.dims != 1 || ends.dims != 1 || data.is_scalar)
        return ONNX_FACT_NOTHING;
    if (onnx_node_input(step->node, 4) != ONNX_NONE &&
        (!onnx_numbers_of_input(step, 4, &steps) || steps.dims != 1 || steps.sizes[0] != 1))
        return ONNX_FACT_NOTHING;
    int64_t count = (int64_t)data.dims, end = clamp_to(ends.sizes[0], count);
    for (int64_t i = clamp_to(starts.sizes[0], count); i < end; i++)
        result.sizes[result.dims++] = data.sizes[i];
    return result;
}

struct onnx_fact onnx_numbers_concat(const struct onnx_step *step)
{
    struct onnx_fact part, result = {.kind = ONNX_NUMBERS};
    for (size_t i = 0; i < step->node->input_count; i++) {
        if (!onnx_numbers_of_input(step, i, &part) || part.is_scalar || result.dims + part.dims > TENSOR_DIMS_MAX)
            return ONNX_FACT_NOTHING;
        for (size_t k = 0; k < part.dims; k++)
            result.sizes[result.dims++] = part.sizes[k];
    }
    return result;
}
