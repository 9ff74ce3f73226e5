#include "engine/onnx_graph.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onnx_tensor.h"

enum { CALLS_DEEP_MAX = 16, FUNCTIONS_MAX = 1024, NAME_SHOWN_MAX = 80, VALUES_MAX = 8 * ONNX_NODES_MAX };

/* Values sorted by scope and name. */
struct onnx_graph_index {
    int32_t *sorted;
    size_t count;
};

/* A graph that is being made. */
struct making {
    struct onnx_graph *graph;
    size_t node_capacity, value_capacity;
    int32_t scopes;
    struct error *err;
};

static const char EXPORT_HINT[] =
    "export the model again in Python: torch.onnx.export(model, (x,), \"model.onnx\", dynamo=True)";

static const char *text_of(const char *text)
{
    return text ? text : "";
}

/* ---- Names in errors ---- */

static enum status refuse_name(const struct making *making, const char *what, const char *name)
{
    error_set(making->err, STATUS_INVALID, "%s \"%.*s\"", what, onnx_name_shown(name, NAME_SHOWN_MAX), name);
    return error_hint(making->err, "%s", EXPORT_HINT);
}

static enum status refuse_memory(const struct making *making)
{
    return error_set(making->err, STATUS_NO_MEMORY, "no memory for the graph of an ONNX file");
}

/* ---- Values and nodes are appended ---- */

static enum status append_value(struct making *making, struct onnx_value value)
{
    struct onnx_graph *graph = making->graph;
    if (graph->value_count == VALUES_MAX) {
        error_set(making->err, STATUS_TOO_LARGE, "the graph has more than %d values", VALUES_MAX);
        return error_hint(making->err, "a chain of dense layers has a few for each layer");
    }
    if (graph->value_count == making->value_capacity) {
        size_t capacity = making->value_capacity ? 2 * making->value_capacity : 256;
        struct onnx_value *values = realloc(graph->values, capacity * sizeof *values);
        if (!values)
            return refuse_memory(making);
        graph->values = values;
        making->value_capacity = capacity;
    }
    value.origin = (int32_t)graph->value_count;
    graph->values[graph->value_count++] = value;
    return STATUS_OK;
}

static enum status append_alias(struct making *making, const struct onnx_scope *scope, const char *name,
                                const struct onnx_scope *alias_scope, const char *alias_name)
{
    struct onnx_value value = {.scope = scope,
                               .name = name,
                               .node = ONNX_NONE,
                               .alias = ONNX_NONE,
                               .alias_scope = alias_scope,
                               .alias_name = alias_name};
    return append_value(making, value);
}

static enum status append_outputs(struct making *making, const struct onnx_node *node, int32_t index)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < node->output_count; i++) {
        struct onnx_value value = {
            .scope = node->scope, .name = node->proto->output[i], .node = index, .alias = ONNX_NONE};
        status = append_value(making, value);
    }
    return status;
}

static enum status append_node(struct making *making, const Onnx__Node *proto, const struct onnx_scope *scope)
{
    struct onnx_graph *graph = making->graph;
    if (graph->node_count == ONNX_NODES_MAX) {
        error_set(making->err, STATUS_TOO_LARGE, "the graph has more than %d nodes", ONNX_NODES_MAX);
        return error_hint(making->err, "a chain of dense layers has a few for each layer");
    }
    if (graph->node_count == making->node_capacity) {
        size_t capacity = making->node_capacity ? 2 * making->node_capacity : 64;
        struct onnx_node *nodes = realloc(graph->nodes, capacity * sizeof *nodes);
        if (!nodes)
            return refuse_memory(making);
        graph->nodes = nodes;
        making->node_capacity = capacity;
    }
    struct onnx_node node = {.proto = proto,
                             .scope = scope,
                             .op = text_of(proto->op_type),
                             .input_count = proto->n_input,
                             .first_output = (int32_t)graph->value_count,
                             .output_count = proto->n_output};
    graph->nodes[graph->node_count++] = node;
    return append_outputs(making, &node, (int32_t)graph->node_count - 1);
}

/* ---- Operator sets ---- */

/* The version of ONNX's own operators; 0 if the list names none. */
static int64_t find_opset(Onnx__OperatorSet *const *sets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (onnx_domain_is_standard(sets[i]->domain))
            return sets[i]->version;
    return 0;
}

static enum status check_opset(const struct making *making, int64_t opset)
{
    if (opset >= ONNX_OPSET_MIN && opset <= ONNX_OPSET_MAX)
        return STATUS_OK;
    error_set(making->err, STATUS_UNSUPPORTED, "the model is of ONNX's opset %jd, opsets %d to %d are read",
              (intmax_t)opset, ONNX_OPSET_MIN, ONNX_OPSET_MAX);
    return error_hint(making->err, "export it with opset_version=18");
}

/* ---- Functions are put in where they are called ---- */

static const Onnx__Function *find_function(const Onnx__Model *model, const Onnx__Node *node)
{
    for (size_t i = 0; i < model->n_functions; i++) {
        const Onnx__Function *function = model->functions[i];
        if (strcmp(text_of(function->name), text_of(node->op_type)) == 0 &&
            strcmp(text_of(function->domain), text_of(node->domain)) == 0 &&
            strcmp(text_of(function->overload), text_of(node->overload)) == 0)
            return function;
    }
    return NULL;
}

static enum status add_nodes(struct making *making, Onnx__Node *const *nodes, size_t count,
                             const struct onnx_scope *scope, int depth);

static enum status open_scope(struct making *making, const Onnx__Function *function, const Onnx__Node *call,
                              const struct onnx_scope *outer, struct onnx_scope **ret)
{
    struct onnx_scope *scope = onnx_file_alloc(making->graph->file, 1, sizeof *scope);
    if (!scope)
        return onnx_file_refuse_memory(making->graph->file, making->err);
    int64_t opset = find_opset(function->opset_import, function->n_opset_import);
    *scope = (struct onnx_scope){outer, function, call, ++making->scopes, opset ? opset : outer->opset};
    *ret = scope;
    return check_opset(making, scope->opset);
}

static enum status refuse_call(const struct making *making, const Onnx__Node *call, const char *why)
{
    const char *name = text_of(call->op_type);
    error_set(making->err, STATUS_INVALID, "the function \"%.*s\" of the model %s",
              onnx_name_shown(name, NAME_SHOWN_MAX), name, why);
    return error_hint(making->err, "%s", EXPORT_HINT);
}

static enum status add_call(struct making *making, const Onnx__Function *function, const Onnx__Node *call,
                            const struct onnx_scope *outer, int depth)
{
    struct onnx_scope *scope = NULL;
    if (depth == CALLS_DEEP_MAX)
        return refuse_call(making, call, "is called more than 16 deep, perhaps by itself");
    if (making->scopes == ONNX_NODES_MAX)
        return refuse_call(making, call, "is called, with others, more than 65536 times");
    if (call->n_input > function->n_input || call->n_output > function->n_output)
        return refuse_call(making, call, "is called with more inputs or outputs than it has");
    enum status status = open_scope(making, function, call, outer, &scope);
    for (size_t i = 0; status == STATUS_OK && i < function->n_input; i++)
        status = append_alias(making, scope, function->input[i], outer, i < call->n_input ? call->input[i] : "");
    if (status == STATUS_OK)
        status = add_nodes(making, function->node, function->n_node, scope, depth + 1);
    for (size_t i = 0; status == STATUS_OK && i < call->n_output; i++)
        status = append_alias(making, outer, call->output[i], scope, function->output[i]);
    return status;
}

static enum status add_nodes(struct making *making, Onnx__Node *const *nodes, size_t count,
                             const struct onnx_scope *scope, int depth)
{
    const Onnx__Model *model = making->graph->file->model;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        const Onnx__Function *function = find_function(model, nodes[i]);
        status = function ? add_call(making, function, nodes[i], scope, depth)
                          : append_node(making, nodes[i], scope);
    }
    return status;
}

/* ---- The main graph ---- */

static enum status add_initializers(struct making *making, const struct onnx_scope *scope)
{
    const Onnx__Graph *proto = making->graph->file->model->graph;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < proto->n_initializer; i++) {
        const Onnx__Tensor *tensor = proto->initializer[i];
        struct onnx_value value = {
            .scope = scope, .name = text_of(tensor->name), .tensor = tensor, .node = ONNX_NONE, .alias = ONNX_NONE};
        status = append_value(making, value);
    }
    return status;
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static enum status refuse_inputs(const struct making *making, const char *first, const char *second)
{
    error_set(making->err, STATUS_UNSUPPORTED,
              "the model has more than one input (\"%.*s\", \"%.*s\"); one tensor of rows is served",
              onnx_name_shown(first, 60), first, onnx_name_shown(second, 60), second);
    return error_hint(making->err, "export a forward(x) that takes one tensor");
}

/* Initializers may stand among the inputs, as defaults that a caller could replace. */
static enum status add_input(struct making *making, const struct onnx_scope *scope, const char *const *tensors,
                             size_t tensor_count)
{
    struct onnx_graph *graph = making->graph;
    const Onnx__Graph *proto = graph->file->model->graph;
    for (size_t i = 0; i < proto->n_input; i++) {
        const char *name = text_of(proto->input[i]->name);
        if (bsearch(&name, tensors, tensor_count, sizeof *tensors, compare_texts))
            continue;
        if (graph->input_info)
            return refuse_inputs(making, graph->input_info->name, name);
        graph->input_info = proto->input[i];
        graph->input = (int32_t)graph->value_count;
        struct onnx_value value = {.scope = scope, .name = name, .node = ONNX_NONE, .alias = ONNX_NONE};
        enum status status = append_value(making, value);
        if (status != STATUS_OK)
            return status;
    }
    if (graph->input_info)
        return STATUS_OK;
    error_set(making->err, STATUS_INVALID, "the model has no input");
    return error_hint(making->err, "export a forward(x) that takes one tensor");
}

static enum status add_inputs(struct making *making, const struct onnx_scope *scope)
{
    const Onnx__Graph *proto = making->graph->file->model->graph;
    const char **names = calloc(proto->n_initializer + 1, sizeof *names);
    if (!names)
        return refuse_memory(making);
    for (size_t i = 0; i < proto->n_initializer; i++)
        names[i] = text_of(proto->initializer[i]->name);
    qsort(names, proto->n_initializer, sizeof *names, compare_texts);
    enum status status = add_input(making, scope, names, proto->n_initializer);
    free(names);
    return status;
}

/* ---- Names ---- */

/* qsort has no argument of its own for its comparison; qsort_r has. */
static int compare_values(const void *a, const void *b, void *data)
{
    const struct onnx_value *values = data;
    const struct onnx_value *x = &values[*(const int32_t *)a], *y = &values[*(const int32_t *)b];
    if (x->scope != y->scope)
        return x->scope->index < y->scope->index ? -1 : 1;
    return strcmp(x->name, y->name);
}

static enum status index_values(struct making *making)
{
    struct onnx_graph *graph = making->graph;
    struct onnx_graph_index *index = graph->index = calloc(1, sizeof *index);
    if (index)
        index->sorted = calloc(graph->value_count + 1, sizeof *index->sorted);
    if (!index || !index->sorted)
        return refuse_memory(making);
    for (size_t i = 0; i < graph->value_count; i++)
        if (graph->values[i].name[0] != '\0')
            index->sorted[index->count++] = (int32_t)i;
    qsort_r(index->sorted, index->count, sizeof *index->sorted, compare_values, graph->values);
    for (size_t i = 1; i < index->count; i++)
        if (compare_values(&index->sorted[i - 1], &index->sorted[i], graph->values) == 0)
            return refuse_name(making, "two values have the name", graph->values[index->sorted[i]].name);
    return STATUS_OK;
}

/* The value of that name before value `end`; its aliases are resolved. */
static enum status find_value(const struct making *making, const struct onnx_scope *scope, const char *name,
                              int32_t end, int32_t *ret)
{
    const struct onnx_graph *graph = making->graph;
    const struct onnx_graph_index *index = graph->index;
    size_t low = 0, high = index->count;
    *ret = ONNX_NONE;
    if (name[0] == '\0')
        return STATUS_OK;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct onnx_value *value = &graph->values[index->sorted[middle]];
        int order = value->scope != scope ? (value->scope->index < scope->index ? -1 : 1)
                                          : strcmp(value->name, name);
        if (order == 0) {
            *ret = index->sorted[middle];
            break;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (*ret == ONNX_NONE)
        return refuse_name(making, "the graph reads what nothing gives:", name);
    if (*ret >= end)
        return refuse_name(making, "the graph runs in a circle, or its nodes are out of order, at", name);
    if (graph->values[*ret].alias_name)
        *ret = graph->values[*ret].alias;
    return STATUS_OK;
}

static enum status resolve_aliases(struct making *making)
{
    struct onnx_graph *graph = making->graph;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < graph->value_count; i++) {
        struct onnx_value *value = &graph->values[i];
        if (value->alias_name)
            status = find_value(making, value->alias_scope, value->alias_name, (int32_t)i, &value->alias);
    }
    return status;
}

/* Casts to a float type; what is cast is then a float too, or a constant that onnx_tensor takes as one. */
static bool passes_on(const struct onnx_node *node)
{
    if (onnx_node_is(node, "Identity") || onnx_node_is(node, "CastLike"))
        return true;
    return onnx_node_is(node, "Cast") && onnx_tensor_is_float((int32_t)onnx_node_int(node, "to", 0));
}

/* What is known of a node's first output once its inputs are: whether it passes a value on, or is a constant. */
static enum status note_output(struct making *making, const struct onnx_node *node)
{
    struct onnx_graph *graph = making->graph;
    struct onnx_value *output = &graph->values[node->first_output];
    if (node->output_count == 0)
        return STATUS_OK;
    if (onnx_node_is(node, "Constant"))
        return onnx_tensor_of_constant(graph->file, node, &output->tensor, making->err);
    int32_t input = onnx_node_input(node, 0);
    if (input != ONNX_NONE && passes_on(node))
        output->origin = graph->values[input].origin;
    return STATUS_OK;
}

static enum status resolve_node(struct making *making, struct onnx_node *node)
{
    int32_t *inputs = onnx_file_alloc(making->graph->file, node->input_count, sizeof *inputs);
    enum status status = STATUS_OK;
    if (!inputs)
        return onnx_file_refuse_memory(making->graph->file, making->err);
    node->inputs = inputs;
    for (size_t i = 0; status == STATUS_OK && i < node->input_count; i++)
        status = find_value(making, node->scope, node->proto->input[i], node->first_output, &inputs[i]);
    return status == STATUS_OK ? note_output(making, node) : status;
}

static enum status resolve_output(struct making *making, const struct onnx_scope *scope)
{
    struct onnx_graph *graph = making->graph;
    const Onnx__Graph *proto = graph->file->model->graph;
    if (proto->n_output == 1)
        return find_value(making, scope, text_of(proto->output[0]->name), (int32_t)graph->value_count,
                          &graph->output);
    error_set(making->err, STATUS_UNSUPPORTED, "the model has %zu outputs, one is served", proto->n_output);
    return error_hint(making->err, "export a forward(x) that returns one tensor");
}

static enum status resolve(struct making *making, const struct onnx_scope *scope)
{
    struct onnx_graph *graph = making->graph;
    enum status status = index_values(making);
    if (status == STATUS_OK)
        status = resolve_aliases(making);
    for (size_t i = 0; status == STATUS_OK && i < graph->node_count; i++)
        status = resolve_node(making, &graph->nodes[i]);
    return status == STATUS_OK ? resolve_output(making, scope) : status;
}

static enum status make(struct making *making)
{
    const Onnx__Model *model = making->graph->file->model;
    struct onnx_scope *scope = onnx_file_alloc(making->graph->file, 1, sizeof *scope);
    if (!scope)
        return onnx_file_refuse_memory(making->graph->file, making->err);
    scope->opset = find_opset(model->opset_import, model->n_opset_import);
    enum status status = check_opset(making, scope->opset);
    if (status == STATUS_OK && model->n_functions > FUNCTIONS_MAX)
        status = error_set(making->err, STATUS_TOO_LARGE, "the model has %zu functions, at most %d are read",
                           model->n_functions, FUNCTIONS_MAX);
    if (status == STATUS_OK)
        status = add_initializers(making, scope);
    if (status == STATUS_OK)
        status = add_inputs(making, scope);
    if (status == STATUS_OK)
        status = add_nodes(making, model->graph->node, model->graph->n_node, scope, 0);
    return status == STATUS_OK ? resolve(making, scope) : status;
}

enum status onnx_graph_create(const struct onnx_file *file, struct onnx_graph **ret, struct error *err)
{
    struct onnx_graph *graph = calloc(1, sizeof *graph);
    struct making making = {.graph = graph, .err = err};
    if (!graph)
        return refuse_memory(&making);
    *graph = (struct onnx_graph){.file = file, .input = ONNX_NONE, .output = ONNX_NONE};
    enum status status = make(&making);
    if (status == STATUS_OK)
        *ret = graph;
    else
        onnx_graph_free(graph);
    return status;
}

void onnx_graph_free(struct onnx_graph *graph)
{
    if (!graph)
        return;
    if (graph->index)
        free(graph->index->sorted);
    free(graph->index);
    free(graph->values);
    free(graph->nodes);
    free(graph);
}

/* ---- Questions ---- */

const struct onnx_node *onnx_graph_producer(const struct onnx_graph *graph, int32_t value)
{
    if (value == ONNX_NONE || graph->values[value].node == ONNX_NONE)
        return NULL;
    return &graph->nodes[graph->values[value].node];
}

int32_t onnx_graph_origin(const struct onnx_graph *graph, int32_t value)
{
    return value == ONNX_NONE ? ONNX_NONE : graph->values[value].origin;
}
