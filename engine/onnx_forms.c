#include "engine/onnx_forms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/onnx_tensor.h"

/* The formulas. An operator's name and its inputs; x is the layer's input, W and B a weight and a bias, another small
 * letter a number that may be any, the same each time; [a|b] is either. Add, Mul, Min and Max take their inputs in both
 * orders. RowMean, RowSoftmax, Relu6 and HardSigmoid stand for operators with the attributes that make them so. */

#define ERF         "Erf([Div(x,1.4142135623730951)|Mul(x,0.7071067811865476)])"
#define CUBE        "[Pow(x,3)|Mul(x,[Mul(x,x)|Pow(x,2)])]"
#define GELU_TANH   "Tanh(Mul(Add(x,Mul(" CUBE ",0.044715)),0.7978845608028654))"
#define RELU6_SHIFT "Relu6(Add(x,3))"
#define CENTRED     "Sub(x,RowMean(x))"
#define DEVIATION   "Sqrt(Add(RowMean([Pow(" CENTRED ",2)|Mul(" CENTRED "," CENTRED ")]),e))"
#define NORMALISED \
    "[Div(" CENTRED "," DEVIATION ")|Mul(" CENTRED ",[Reciprocal(" DEVIATION ")|Div(1," DEVIATION ")])]"

static const struct formula {
    const char *class_name, *arguments, *text;
} FORMULAS[] = {
    {"GELU", "approximate='none'", "Mul(Mul(x,Add(" ERF ",1)),0.5)"},
    {"GELU", "approximate='none'", "Mul(x,Mul(Add(" ERF ",1),0.5))"},
    {"GELU", "approximate='none'", "Mul(Mul(x,0.5),Add(" ERF ",1))"},
    {"GELU", "approximate='tanh'", "Mul(Mul(x,Add(" GELU_TANH ",1)),0.5)"},
    {"GELU", "approximate='tanh'", "Mul(x,Mul(Add(" GELU_TANH ",1),0.5))"},
    {"GELU", "approximate='tanh'", "Mul(Mul(x,0.5),Add(" GELU_TANH ",1))"},
    {"SiLU", "", "Mul(x,Sigmoid(x))"},
    {"SiLU", "", "Div(x,Add(Exp(Neg(x)),1))"},
    {"Mish", "", "Mul(x,Tanh([Softplus(x)|Log(Add(Exp(x),1))]))"},
    {"Hardswish", "", "Mul(x,HardSigmoid(x))"},
    {"Hardswish", "", "Mul(x,[Div(" RELU6_SHIFT ",6)|Mul(" RELU6_SHIFT ",0.16666666666666667)])"},
    {"Hardswish", "", "[Div(Mul(x," RELU6_SHIFT "),6)|Mul(Mul(x," RELU6_SHIFT "),0.16666666666666667)]"},
    {"Hardsigmoid", "", "[Div(" RELU6_SHIFT ",6)|Mul(" RELU6_SHIFT ",0.16666666666666667)]"},
    {"Softplus", "beta=$b, threshold=20.0", "Div(Softplus(Mul(x,b)),b)"},
    {"Softplus", "beta=1.0, threshold=$t", "Where(Greater(x,t),x,[Softplus(x)|Div(Softplus(x),1)])"},
    {"Softplus", "beta=$b, threshold=$t", "Where(Greater(Mul(x,b),t),x,Div(Softplus(Mul(x,b)),b))"},
    {"Softplus", "beta=1.0, threshold=20.0", "Log(Add(Exp(x),1))"},
    {"Softsign", "", "Div(x,Add(Abs(x),1))"},
    {"LogSigmoid", "", "[Log(Sigmoid(x))|Neg(Softplus(Neg(x)))]"},
    {"LogSoftmax", "dim=1", "Log(RowSoftmax(x))"},
    {"ReLU6", "", "Min([Max(x,0)|Relu(x)],6)"},
    {"Hardtanh", "min_val=$a, max_val=$b", "[Min(Max(x,a),b)|Max(Min(x,b),a)]"},
    {"ReLU", "", "Max(x,0)"},
    {"LayerNorm", "$N, eps=$e, elementwise_affine=True, bias=True", "Add(Mul(" NORMALISED ",W),B)"},
    {"LayerNorm", "$N, eps=$e, elementwise_affine=True, bias=False", "Mul(" NORMALISED ",W)"},
    {"LayerNorm", "$N, eps=$e, elementwise_affine=False, bias=False", NORMALISED},
};

struct matching {
    const struct onnx_graph *graph;
    const struct onnx_fact *facts;
    struct onnx_form form;
};

/* ---- Numbers ---- */

bool onnx_form_number(const struct onnx_graph *graph, const struct onnx_fact *facts, int32_t value,
                      struct onnx_number *ret)
{
    value = onnx_graph_origin(graph, value);
    if (value == ONNX_NONE || facts[value].kind != ONNX_CONSTANT || facts[value].dims > 2 ||
        onnx_fact_elements(&facts[value]) != 1)
        return false;
    const Onnx__Tensor *tensor = facts[value].tensor;
    *ret = (struct onnx_number){.is_set = true, .type = tensor->data_type};
    return onnx_tensor_double(tensor, 0, &ret->value) && isfinite(ret->value);
}

/* Half a unit in the last place of the type that the exporter rounded a formula's number to. */
static double rounding_of(int32_t type)
{
    return type == ONNX_BFLOAT16 ? 0x1p-8 : type == ONNX_FLOAT16 ? 0x1p-11 : 0x1p-22;
}

static bool is_number(const struct matching *matching, int32_t value, double expected)
{
    struct onnx_number number;
    return onnx_form_number(matching->graph, matching->facts, value, &number) &&
           fabs(number.value - expected) <= fabs(expected) * rounding_of(number.type);
}

static bool take_number(struct matching *matching, int32_t value, char letter)
{
    struct onnx_number number, *known = &matching->form.numbers[letter - 'a'];
    if (!onnx_form_number(matching->graph, matching->facts, value, &number))
        return false;
    if (known->is_set)
        return known->value == number.value;
    *known = number;
    return true;
}

/* ---- Operators with attributes ---- */

static const struct onnx_fact *fact_of_input(const struct onnx_graph *graph, const struct onnx_fact *facts,
                                             const struct onnx_node *node)
{
    int32_t value = onnx_graph_origin(graph, onnx_node_input(node, 0));
    return value == ONNX_NONE ? NULL : &facts[value];
}

bool onnx_form_is_row_softmax(const struct onnx_graph *graph, const struct onnx_fact *facts,
                              const struct onnx_node *node)
{
    const struct onnx_fact *input = fact_of_input(graph, facts, node);
    int64_t axis = onnx_node_int(node, "axis", node->scope->opset >= 13 ? -1 : 1);
    return input && (input->kind != ONNX_ROWS || input->dims == 2) && (axis == 1 || axis == -1);
}

/* A bound of a Clip: an attribute before opset 11, an input from then on; not set if it is left out. */
static bool read_bound(const struct onnx_graph *graph, const struct onnx_fact *facts, const struct onnx_node *node,
                       size_t i, struct onnx_number *ret)
{
    const Onnx__Attribute *attribute = onnx_node_attribute(node, i == 1 ? "min" : "max");
    *ret = (struct onnx_number){.is_set = false};
    if (onnx_node_input(node, i) != ONNX_NONE)
        return onnx_form_number(graph, facts, onnx_node_input(node, i), ret);
    if (attribute && fabsf(attribute->f) < 3.4e38f)
        *ret = (struct onnx_number){.is_set = true, .value = (double)attribute->f, .type = ONNX_FLOAT};
    return true;
}

bool onnx_form_clip(const struct onnx_graph *graph, const struct onnx_fact *facts, const struct onnx_node *node,
                    struct onnx_number *ret_min, struct onnx_number *ret_max)
{
    return read_bound(graph, facts, node, 1, ret_min) && read_bound(graph, facts, node, 2, ret_max);
}

/* The mean over all of a row: over its last axis if it has one. */
static bool is_row_mean(const struct matching *matching, const struct onnx_node *node)
{
    const struct onnx_fact *input = fact_of_input(matching->graph, matching->facts, node);
    const struct onnx_fact *output = &matching->facts[node->first_output];
    if (!onnx_node_is(node, "ReduceMean") || !input || input->kind != ONNX_ROWS || output->kind != ONNX_ROWS)
        return false;
    return onnx_fact_row_elements(output) == 1;
}

static bool is_relu6(const struct matching *matching, const struct onnx_node *node)
{
    struct onnx_number min, max;
    return onnx_node_is(node, "Clip") && onnx_form_clip(matching->graph, matching->facts, node, &min, &max) &&
           min.is_set && min.value == 0 && max.is_set && max.value == 6;
}

/* PyTorch's, x/6 + 1/2; ONNX's own default is x/5 + 1/2. */
static bool is_hard_sigmoid(const struct matching *matching, const struct onnx_node *node)
{
    (void)matching;
    return onnx_node_is(node, "HardSigmoid") && onnx_node_float(node, "alpha", 0.2f) == 1.0f / 6.0f &&
           onnx_node_float(node, "beta", 0.5f) == 0.5f;
}

static bool is_row_softmax(const struct matching *matching, const struct onnx_node *node)
{
    return onnx_node_is(node, "Softmax") && onnx_form_is_row_softmax(matching->graph, matching->facts, node);
}

static bool is_operator(const struct matching *matching, const struct onnx_node *node, const char *name, size_t len)
{
    static const struct special {
        const char *name;
        bool (*matches)(const struct matching *matching, const struct onnx_node *node);
    } specials[] = {{"RowMean", is_row_mean},
                    {"RowSoftmax", is_row_softmax},
                    {"Relu6", is_relu6},
                    {"HardSigmoid", is_hard_sigmoid}};
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        if (strlen(specials[i].name) == len && memcmp(specials[i].name, name, len) == 0)
            return specials[i].matches(matching, node);
    return strlen(node->op) == len && memcmp(node->op, name, len) == 0 && onnx_node_is(node, node->op);
}

/* ---- Formulas ---- */

/* Behind the term that begins at `text`. */
static const char *term_end(const char *text)
{
    int depth = 0;
    for (; *text != '\0'; text++) {
        bool closes = *text == ')' || *text == ']';
        if (depth == 0 && (*text == ',' || *text == '|' || closes))
            return text;
        depth += *text == '(' || *text == '[' ? 1 : closes ? -1 : 0;
    }
    return text;
}

static bool match_term(struct matching *matching, const char *text, int32_t value);

static bool match_either(struct matching *matching, const char *text, int32_t value)
{
    struct onnx_form before = matching->form;
    do {
        if (match_term(matching, text + 1, value))
            return true;
        matching->form = before;
        text = term_end(text + 1);
    } while (*text == '|');
    return false;
}

static bool match_letter(struct matching *matching, char letter, int32_t value)
{
    struct onnx_form *form = &matching->form;
    int32_t *known = letter == 'x' ? &form->x : letter == 'W' ? &form->weight : &form->bias;
    if (letter >= 'a' && letter < 'x')
        return take_number(matching, value, letter);
    bool is_constant = matching->facts[value].kind == ONNX_CONSTANT;
    if (is_constant == (letter == 'x'))
        return false;
    if (*known == ONNX_NONE)
        *known = value;
    return *known == value;
}

static bool match_inputs(struct matching *matching, const char *text, const int32_t *inputs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!match_term(matching, text, inputs[i]))
            return false;
        text = term_end(text);
        if (*text != (i + 1 < count ? ',' : ')'))
            return false;
        text++;
    }
    return true;
}

static bool is_symmetric(const struct onnx_node *node)
{
    return node->input_count == 2 && (onnx_node_is(node, "Add") || onnx_node_is(node, "Mul") ||
                                      onnx_node_is(node, "Min") || onnx_node_is(node, "Max"));
}

/* How many of the node's inputs a formula names: Clip's bounds and ReduceMean's axes are looked at elsewhere. */
static size_t inputs_named(const struct onnx_node *node)
{
    return onnx_node_is(node, "Clip") || onnx_node_is(node, "ReduceMean") ? 1 : node->input_count;
}

static bool match_node(struct matching *matching, const char *text, int32_t value)
{
    const struct onnx_node *node = onnx_graph_producer(matching->graph, value);
    size_t len = strcspn(text, "(");
    if (!node || value != node->first_output || node->input_count == 0 || !is_operator(matching, node, text, len))
        return false;
    struct onnx_form before = matching->form;
    if (match_inputs(matching, text + len + 1, node->inputs, inputs_named(node)))
        return true;
    matching->form = before;
    if (!is_symmetric(node))
        return false;
    return match_inputs(matching, text + len + 1, (int32_t[]){node->inputs[1], node->inputs[0]}, 2);
}

static bool match_term(struct matching *matching, const char *text, int32_t value)
{
    value = onnx_graph_origin(matching->graph, value);
    if (value == ONNX_NONE)
        return false;
    if (*text == '[')
        return match_either(matching, text, value);
    if (*text >= '0' && *text <= '9')
        return is_number(matching, value, strtod(text, NULL));
    if (term_end(text) == text + 1)
        return match_letter(matching, *text, value);
    return match_node(matching, text, value);
}

bool onnx_form_match(const struct onnx_graph *graph, const struct onnx_fact *facts, int32_t value,
                     struct onnx_form *ret)
{
    struct matching matching = {.graph = graph, .facts = facts};
    for (size_t i = 0; i < sizeof FORMULAS / sizeof FORMULAS[0]; i++) {
        const struct formula *formula = &FORMULAS[i];
        matching.form = (struct onnx_form){.class_name = formula->class_name,
                                           .arguments = formula->arguments,
                                           .x = ONNX_NONE,
                                           .weight = ONNX_NONE,
                                           .bias = ONNX_NONE};
        if (match_term(&matching, formula->text, value)) {
            *ret = matching.form;
            return true;
        }
    }
    return false;
}
