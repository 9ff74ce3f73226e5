#include "engine/structure_infer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/tensor_text.h"
#include "engine/utf8.h"

enum {
    LINEARS_MAX = 1024,
    LEVELS_MAX = 32, /* in a name */
    FEATURES_MAX = 1 << 24,
    STEPS_MAX = 1 << 20,   /* of the search for orders: what takes longer has many, or is no chain */
    ORDER_SHOWN_MAX = 120, /* bytes of an order in a refusal; two of them fit */
    NAME_SHOWN_MAX = 100,
};

static const char MEND[] = "write structure.txt into the model's folder, in Python: "
                           "open(\"structure.txt\", \"w\").write(f\"{model}\\n\"); or save the whole module with "
                           "torch.save(model, \"model.pth\")";

struct linear {
    const char *name; /* "stack.0", not terminated; "" for a model that is a Linear itself */
    size_t len;
    size_t in_features, out_features;
    bool bias;
    size_t group; /* of the names that differ in their numbers only */
};

struct inference {
    struct linear *linears; /* sorted: groups together, each in the order of its numbers */
    size_t count;
    size_t *order, *found; /* the one that is tried, and the first that fits: places in `linears` */
    size_t *next, *ends;   /* of each group: the place of its next one, and the place behind its last */
    size_t group_count;
    size_t orders, steps;
    char shown[2][ORDER_SHOWN_MAX]; /* the first two orders that fit */
    struct error *err;
};

static enum status refuse_memory(const struct inference *inference)
{
    return error_set(inference->err, STATUS_NO_MEMORY, "no memory for the structure");
}

/* ---- Linears from keys ---- */

static bool ends_in(const char *name, const char *suffix, size_t *ret_len)
{
    size_t len = strlen(name), n = strlen(suffix);
    if (len < n || strcmp(name + len - n, suffix) != 0)
        return false;
    if (len > n && name[len - n - 1] != '.')
        return false;
    *ret_len = len > n ? len - n - 1 : 0;
    return true;
}

static enum status refuse_tensor(const struct inference *inference, const struct tensor *tensor, const char *may_be)
{
    char shape[TENSOR_DIMS_MAX * 22];
    tensor_text_shape(tensor->shape, tensor->dims, shape, sizeof shape);
    error_set(inference->err, STATUS_UNSUPPORTED,
              "there is no structure.txt, and tensor \"%.*s\" of shape %s leaves open what the model is: %s",
              utf8_cut(tensor->name, strlen(tensor->name), NAME_SHOWN_MAX), tensor->name, shape, may_be);
    return error_hint(inference->err, "%s", MEND);
}

/* A name becomes that of modules: what structure.txt could not say is refused. */
static bool is_path(const char *name, size_t len)
{
    size_t levels = 1;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)name[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && (c != '.' || i == 0 || i + 1 == len || name[i - 1] == '.'))
            return false;
        levels += c == '.';
    }
    return levels <= LEVELS_MAX;
}

static enum status take_linear(struct inference *inference, const struct tensor *weight, size_t len)
{
    if (weight->dims == 1)
        return refuse_tensor(inference, weight, "a BatchNorm1d, or a LayerNorm, before or behind an activation");
    if (weight->dims != 2)
        return refuse_tensor(inference, weight, "a convolution, or another layer that is not served");
    if (!is_path(weight->name, len))
        return refuse_tensor(inference, weight, "its name is none of a module");
    if (weight->count == 0 || weight->shape[0] > FEATURES_MAX || weight->shape[1] > FEATURES_MAX)
        return refuse_tensor(inference, weight, "no Linear has such a shape");
    if (inference->count == LINEARS_MAX)
        return refuse_tensor(inference, weight, "there are more Linear layers than can be put in order");
    inference->linears[inference->count++] = (struct linear){
        .name = weight->name, .len = len, .in_features = weight->shape[1], .out_features = weight->shape[0]};
    return STATUS_OK;
}

static enum status find_linears(struct inference *inference, const struct state_dict *dict)
{
    enum status status = STATUS_OK;
    size_t len;
    for (size_t i = 0; status == STATUS_OK && i < dict->count; i++) {
        if (ends_in(dict->tensors[i].name, "weight", &len))
            status = take_linear(inference, &dict->tensors[i], len);
        else if (!ends_in(dict->tensors[i].name, "bias", &len))
            status = refuse_tensor(
                inference, &dict->tensors[i],
                "it is neither a weight nor a bias; a BatchNorm1d has such tensors, or a parameter "
                "that a forward of your own uses");
    }
    if (status == STATUS_OK && inference->count == 0) {
        error_set(inference->err, STATUS_UNSUPPORTED,
                  "there is no structure.txt, and the file has no Linear's weight");
        status = error_hint(inference->err, "%s", MEND);
    }
    return status;
}

static struct linear *linear_of(const struct inference *inference, const char *name, size_t len)
{
    for (size_t i = 0; i < inference->count; i++)
        if (inference->linears[i].len == len && memcmp(inference->linears[i].name, name, len) == 0)
            return &inference->linears[i];
    return NULL;
}

static enum status take_biases(struct inference *inference, const struct state_dict *dict)
{
    size_t len;
    for (size_t i = 0; i < dict->count; i++) {
        const struct tensor *tensor = &dict->tensors[i];
        if (!ends_in(tensor->name, "bias", &len))
            continue;
        struct linear *linear = linear_of(inference, tensor->name, len);
        if (!linear || tensor->dims != 1 || tensor->shape[0] != linear->out_features)
            return refuse_tensor(inference, tensor, "it is no bias of a Linear's weight");
        linear->bias = true;
    }
    return STATUS_OK;
}

/* ---- The order that names give ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(const struct linear *linear, size_t at)
{
    size_t end = at;
    while (end < linear->len && is_digit(linear->name[end]))
        end++;
    return end - at;
}

/* Compares two runs of digits as numbers, however long; leading zeros do not count. */
static int compare_numbers(const char *a, size_t a_len, const char *b, size_t b_len)
{
    while (a_len > 0 && *a == '0')
        a++, a_len--;
    while (b_len > 0 && *b == '0')
        b++, b_len--;
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return a_len ? memcmp(a, b, a_len) : 0;
}

/* *ret_numbers: the first two numbers that differ, in names that are the same but for their numbers, for which it returns
 * 0; else the order of the texts. */
static int compare_texts(const struct linear *a, const struct linear *b, int *ret_numbers)
{
    size_t i = 0, j = 0;
    *ret_numbers = 0;
    while (i < a->len && j < b->len) {
        size_t a_digits = digits_at(a, i), b_digits = digits_at(b, j);
        if (a_digits == 0 || b_digits == 0) {
            if (a->name[i] != b->name[j])
                return (unsigned char)a->name[i] < (unsigned char)b->name[j] ? -1 : 1;
            i++, j++;
            continue;
        }
        if (*ret_numbers == 0)
            *ret_numbers = compare_numbers(a->name + i, a_digits, b->name + j, b_digits);
        i += a_digits;
        j += b_digits;
    }
    return (i < a->len) - (j < b->len);
}

static int compare_linears(const void *left, const void *right)
{
    int numbers, texts = compare_texts(left, right, &numbers);
    return texts ? texts : numbers;
}

static enum status sort_linears(struct inference *inference)
{
    struct linear *linears = inference->linears;
    int numbers;
    qsort(linears, inference->count, sizeof *linears, compare_linears);
    inference->order = calloc(4 * inference->count, sizeof *inference->order);
    if (!inference->order)
        return refuse_memory(inference);
    inference->found = inference->order + inference->count;
    inference->next = inference->order + 2 * inference->count;
    inference->ends = inference->order + 3 * inference->count;
    for (size_t i = 0; i < inference->count; i++) {
        /* Names that differ in leading zeros only, "1" and "01", are of two groups: their numbers say no order. */
        if (i == 0 || compare_texts(&linears[i - 1], &linears[i], &numbers) != 0 || numbers == 0)
            inference->next[inference->group_count++] = i;
        linears[i].group = inference->group_count - 1;
        inference->ends[linears[i].group] = i + 1;
    }
    return STATUS_OK;
}

/* ---- The orders that shapes allow ---- */

static void show_order(const struct inference *inference, char shown[ORDER_SHOWN_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < inference->count && len < ORDER_SHOWN_MAX - 1; i++) {
        const struct linear *linear = &inference->linears[inference->order[i]];
        len += (size_t)snprintf(shown + len, ORDER_SHOWN_MAX - len, "%s%.*s", i ? ", " : "", (int)linear->len,
                                linear->name);
    }
    if (len >= ORDER_SHOWN_MAX)
        memcpy(shown + ORDER_SHOWN_MAX - 4, "...", 4);
}

static void keep_order(struct inference *inference)
{
    if (inference->orders < 2)
        show_order(inference, inference->shown[inference->orders]);
    if (inference->orders++ == 0)
        memcpy(inference->found, inference->order, inference->count * sizeof *inference->order);
}

static bool follows(const struct inference *inference, size_t placed, const struct linear *linear)
{
    return placed == 0 || inference->linears[inference->order[placed - 1]].out_features == linear->in_features;
}

/* Tries, behind the `placed` ones, the next of each group; until two orders are found, or the search is too long. The depth
 * is that of LINEARS_MAX. */
static void search(struct inference *inference, size_t placed)
{
    if (placed == inference->count) {
        keep_order(inference);
        return;
    }
    for (size_t group = 0; group < inference->group_count; group++) {
        const size_t place = inference->next[group];
        if (inference->orders > 1 || ++inference->steps > STEPS_MAX)
            return;
        if (place == inference->ends[group] || !follows(inference, placed, &inference->linears[place]))
            continue;
        inference->order[placed] = place;
        inference->next[group]++;
        search(inference, placed + 1);
        inference->next[group]--;
    }
}

/* No order fits: the first two neighbours by name that do not. */
static enum status refuse_chain(const struct inference *inference)
{
    size_t i = 1;
    while (i + 1 < inference->count && inference->linears[i - 1].out_features == inference->linears[i].in_features)
        i++;
    const struct linear *a = &inference->linears[i - 1], *b = &inference->linears[i];
    error_set(
        inference->err, STATUS_UNSUPPORTED,
        "there is no structure.txt, and the Linear layers do not follow each other in any order that their names "
        "allow: \"%.*s\" gives %zu features, and \"%.*s\" takes %zu",
        utf8_cut(a->name, a->len, 60), a->name, a->out_features, utf8_cut(b->name, b->len, 60), b->name,
        b->in_features);
    return error_hint(inference->err, "%s", MEND);
}

static enum status refuse_orders(const struct inference *inference)
{
    if (inference->orders > 1)
        error_set(
            inference->err, STATUS_UNSUPPORTED,
            "there is no structure.txt, and neither names nor shapes say in which order the Linear layers stand: "
            "%s; or %s",
            inference->shown[0], inference->shown[1]);
    else
        error_set(
            inference->err, STATUS_UNSUPPORTED,
            "there is no structure.txt, and %zu Linear layers under %zu names can stand in too many orders to try",
            inference->count, inference->group_count);
    return error_hint(inference->err, "%s", MEND);
}

static enum status find_order(struct inference *inference)
{
    search(inference, 0);
    if (inference->orders == 1 && inference->steps <= STEPS_MAX)
        return STATUS_OK;
    return inference->orders == 0 && inference->steps <= STEPS_MAX ? refuse_chain(inference)
                                                                   : refuse_orders(inference);
}

/* ---- The tree ---- */

static struct module *module_create(const char *name, size_t len, const char *class_name, char *arguments)
{
    struct module *module = calloc(1, sizeof *module);
    if (module) {
        module->name = strndup(name, len);
        module->class_name = strdup(class_name);
        module->arguments = arguments ? arguments : strdup("");
        if (module->name && module->class_name && module->arguments)
            return module;
        module_free(module);
        return NULL;
    }
    free(arguments);
    return NULL;
}

/* Takes the child; NULL if out of memory. */
static struct module *append_child(struct module *parent, struct module *child)
{
    struct module **children = child ? realloc(parent->children, (parent->child_count + 1) * sizeof *children)
                                     : NULL;
    if (!children) {
        module_free(child);
        return NULL;
    }
    parent->children = children;
    return children[parent->child_count++] = child;
}

static struct module *find_child(const struct module *parent, const char *name, size_t len)
{
    for (size_t i = 0; i < parent->child_count; i++)
        if (strlen(parent->children[i]->name) == len && memcmp(parent->children[i]->name, name, len) == 0)
            return parent->children[i];
    return NULL;
}

/* A container runs once: what another stands behind is closed. */
static enum status refuse_interleaved(const struct inference *inference, const struct linear *linear)
{
    error_set(inference->err, STATUS_UNSUPPORTED,
              "there is no structure.txt, and \"%.*s\" would run between others of another part of the model",
              utf8_cut(linear->name, linear->len, NAME_SHOWN_MAX), linear->name);
    return error_hint(inference->err, "%s", MEND);
}

/* The container of the linear's path, made where it is not there; `at` is behind its name. */
static enum status open_parent(const struct inference *inference, struct module *root, const struct linear *linear,
                               struct module **ret_parent, size_t *ret_at)
{
    struct module *parent = root;
    size_t at = 0;
    for (size_t i = 0; i < linear->len; i++) {
        if (linear->name[i] != '.')
            continue;
        struct module *child = find_child(parent, linear->name + at, i - at);
        if (child &&
            (child != parent->children[parent->child_count - 1] || strcmp(child->class_name, "Sequential") != 0))
            return refuse_interleaved(inference, linear);
        if (!child)
            child = append_child(parent, module_create(linear->name + at, i - at, "Sequential", NULL));
        if (!child)
            return refuse_memory(inference);
        parent = child;
        at = i + 1;
    }
    *ret_parent = parent;
    *ret_at = at;
    return find_child(parent, linear->name + at, linear->len - at) ? refuse_interleaved(inference, linear)
                                                                   : STATUS_OK;
}

static char *linear_arguments(const struct linear *linear)
{
    char *text;
    return asprintf(&text, "in_features=%zu, out_features=%zu, bias=%s", linear->in_features, linear->out_features,
                    linear->bias ? "True" : "False") < 0
               ? NULL
               : text;
}

/* Whether a linear, or one inside a container, has this path. */
static bool is_taken(const struct inference *inference, const char *path)
{
    const size_t len = strlen(path);
    for (size_t i = 0; i < inference->count; i++) {
        const struct linear *linear = &inference->linears[i];
        if (linear->len >= len && memcmp(linear->name, path, len) == 0 &&
            (linear->len == len || linear->name[len] == '.'))
            return true;
    }
    return false;
}

/* "1" behind "0", "fc1_relu" behind "fc1". Where the number belongs to another, it is "0_relu". */
static char *relu_name(const struct inference *inference, const struct linear *linear, size_t at)
{
    char *name;
    const size_t len = linear->len - at;
    const bool number = len < 10 && digits_at(linear, at) == len;
    if (number && asprintf(&name, "%.*s%lu", (int)at, linear->name, strtoul(linear->name + at, NULL, 10) + 1) > 0) {
        if (!is_taken(inference, name)) {
            memmove(name, name + at, strlen(name + at) + 1);
            return name;
        }
        free(name);
    }
    return asprintf(&name, "%.*s_relu", (int)len, linear->name + at) < 0 ? NULL : name;
}

static enum status add_relu(const struct inference *inference, struct module *parent, const struct linear *linear,
                            size_t at)
{
    char *name = relu_name(inference, linear, at);
    if (!name)
        return refuse_memory(inference);
    if (find_child(parent, name, strlen(name))) {
        free(name);
        return refuse_interleaved(inference, linear);
    }
    struct module *relu = append_child(parent, module_create(name, strlen(name), "ReLU", NULL));
    free(name);
    return relu ? STATUS_OK : refuse_memory(inference);
}

static enum status add_linear(const struct inference *inference, struct module *root, size_t index)
{
    const struct linear *linear = &inference->linears[inference->found[index]];
    struct module *parent = NULL;
    size_t at = 0;
    enum status status = open_parent(inference, root, linear, &parent, &at);
    if (status != STATUS_OK)
        return status;
    char *arguments = linear_arguments(linear);
    if (!arguments ||
        !append_child(parent, module_create(linear->name + at, linear->len - at, "Linear", arguments)))
        return refuse_memory(inference);
    return index + 1 < inference->count ? add_relu(inference, parent, linear, at) : STATUS_OK;
}

/* A single Linear that has no name is the model itself. */
static enum status build_tree(const struct inference *inference, struct module **ret)
{
    const struct linear *first = &inference->linears[inference->found[0]];
    const bool alone = inference->count == 1 && first->len == 0;
    struct module *root = alone ? module_create("", 0, "Linear", linear_arguments(first))
                                : module_create("", 0, "Sequential", NULL);
    enum status status = root ? STATUS_OK : refuse_memory(inference);
    for (size_t i = 0; status == STATUS_OK && !alone && i < inference->count; i++)
        status = add_linear(inference, root, i);
    if (status == STATUS_OK)
        *ret = root;
    else
        module_free(root);
    return status;
}

/* ---- The whole ---- */

/* "784-512-512-10" */
static void show_sizes(const struct inference *inference, char shown[ORDER_SHOWN_MAX])
{
    size_t len = (size_t)snprintf(shown, ORDER_SHOWN_MAX, "%zu",
                                  inference->linears[inference->found[0]].in_features);
    for (size_t i = 0; i < inference->count && len < ORDER_SHOWN_MAX - 1; i++)
        len += (size_t)snprintf(shown + len, ORDER_SHOWN_MAX - len, "-%zu",
                                inference->linears[inference->found[i]].out_features);
    if (len >= ORDER_SHOWN_MAX)
        memcpy(shown + ORDER_SHOWN_MAX - 4, "...", 4);
}

static char *write_note(const struct inference *inference)
{
    char sizes[ORDER_SHOWN_MAX], *note;
    show_sizes(inference, sizes);
    if (asprintf(&note,
                 "there is no structure.txt: assumed are Linear layers %s in the order of %s, ReLU between them "
                 "and nothing "
                 "behind the last; to say otherwise, %s",
                 sizes, *inference->shown[0] ? inference->shown[0] : "the file", MEND) < 0)
        return NULL;
    return note;
}

static enum status infer(struct inference *inference, const struct state_dict *dict, struct module **ret_structure,
                         char **ret_note)
{
    enum status status = find_linears(inference, dict);
    if (status == STATUS_OK)
        status = take_biases(inference, dict);
    if (status == STATUS_OK)
        status = sort_linears(inference);
    if (status == STATUS_OK)
        status = find_order(inference);
    char *note = status == STATUS_OK ? write_note(inference) : NULL;
    if (status == STATUS_OK)
        status = note ? build_tree(inference, ret_structure) : refuse_memory(inference);
    if (status == STATUS_OK)
        *ret_note = note;
    else
        free(note);
    return status;
}

enum status structure_infer(const struct state_dict *dict, struct module **ret_structure, char **ret_note,
                            struct error *err)
{
    struct inference inference = {.err = err};
    inference.linears = calloc(dict->count ? dict->count : 1, sizeof *inference.linears);
    if (!inference.linears)
        return refuse_memory(&inference);
    enum status status = infer(&inference, dict, ret_structure, ret_note);
    free(inference.linears);
    free(inference.order);
    return status;
}
