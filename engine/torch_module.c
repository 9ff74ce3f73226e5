#include "engine/torch_module.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/torch_layer_text.h"
#include "engine/utf8.h"

enum { PATH_BYTES_MAX = 4096, SHOWN_MAX = 120, CLASSES_BYTES_MAX = 256, CLASS_BYTES_MAX = 255 };

static const char STATE_HINT[] =
    "save the parameters alone, torch.save(model.state_dict(), \"model.pth\"), and beside "
    "them what print(model) says, as structure.txt";

/* A tree that is being read. */
struct walk {
    struct torch_tensors *tensors;
    size_t modules;
    size_t levels;             /* that are open */
    char path[PATH_BYTES_MAX]; /* of the module that is being read: "stack.0" */
    size_t path_len;
    char classes[CLASSES_BYTES_MAX]; /* ", NeuralNetwork, Block" */
    size_t classes_len;
    size_t hooked; /* modules with hooks */
    struct error *err;
};

/* ---- Attributes ---- */

static const struct pickle_items *attributes(const struct pickle_value *value)
{
    if (value->kind != PICKLE_OBJECT || value->object->is_call || !value->object->state)
        return NULL;
    return pickle_pairs(value->object->state);
}

/* The pairs of an attribute that is a dict, such as _modules. */
static const struct pickle_items *attribute_pairs(const struct pickle_value *value, const char *name)
{
    const struct pickle_items *pairs = attributes(value);
    const struct pickle_value *attribute = pairs ? pickle_get(pairs, name) : NULL;
    return attribute ? pickle_pairs(attribute) : NULL;
}

bool torch_is_module(const struct pickle_value *value)
{
    return attribute_pairs(value, "_modules") && attribute_pairs(value, "_parameters") &&
           attribute_pairs(value, "_buffers");
}

/* ---- Refusals ---- */

static enum status refuse(const struct walk *walk, enum status status, const struct pickle_value *module,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

static enum status refuse(const struct walk *walk, enum status status, const struct pickle_value *module,
                          const char *format, ...)
{
    char what[160], class[160];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *path = walk->path_len ? walk->path : "the model";
    error_set(walk->err, status, "%.*s is %s: %s", utf8_cut(path, strlen(path), SHOWN_MAX), path,
              pickle_describe(module, class, sizeof class), what);
    return error_hint(walk->err, "%s", STATE_HINT);
}

static enum status refuse_memory(const struct walk *walk)
{
    return error_set(walk->err, STATUS_NO_MEMORY, "no memory for the model's modules");
}

/* ---- Classes ---- */

static bool starts_with(struct pickle_text text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.at, prefix, len) == 0;
}

/* The class's own name: what stands behind the last dot of a class inside a class. */
static struct pickle_text class_name(const struct pickle_value *value)
{
    struct pickle_text name = value->object->made_by->global[1];
    for (size_t i = name.len; i > 0; i--)
        if (name.at[i - 1] == '.')
            return (struct pickle_text){name.at + i, name.len - i};
    return name;
}

static bool is_identifier(struct pickle_text name)
{
    if (name.len == 0 || name.len > CLASS_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80)))
            return false;
    }
    return utf8_is_printable(name.at, name.len);
}

static bool is_torch_class(const struct pickle_value *value)
{
    return starts_with(value->object->made_by->global[0], "torch.nn.");
}

/* torch's own that run their children in turn, or, as lists, leave that to the class that holds them. */
static bool is_torch_container(const struct pickle_value *value)
{
    static const char *const names[] = {"Sequential", "ModuleList", "ModuleDict", "DataParallel",
                                        "DistributedDataParallel"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (pickle_text_is(value->object->made_by->global[1], names[i]))
            return true;
    return false;
}

/* Notes a class of the user's that holds modules, once. What does not fit is left out. */
static void note_class(struct walk *walk, struct pickle_text name)
{
    char entry[CLASSES_BYTES_MAX];
    size_t room = sizeof walk->classes - walk->classes_len;
    int len = snprintf(entry, sizeof entry, ", %.*s", utf8_cut(name.at, name.len, SHOWN_MAX), name.at);
    for (const char *at = walk->classes; (at = strstr(at, entry)); at++)
        if (at[len] == '\0' || at[len] == ',')
            return;
    if (len < 0 || (size_t)len >= room)
        return;
    memcpy(walk->classes + walk->classes_len, entry, (size_t)len + 1);
    walk->classes_len += (size_t)len;
}

static enum status check_class(struct walk *walk, const struct pickle_value *value, size_t children)
{
    if (!is_identifier(class_name(value)))
        return refuse(walk, STATUS_INVALID, value, "that is no name of a class");
    if (children == 0)
        return STATUS_OK;
    if (is_torch_class(value) && !is_torch_container(value))
        return refuse(walk, STATUS_UNSUPPORTED, value,
                      "it does more than to run its modules in turn, and is not served");
    if (!is_torch_class(value))
        note_class(walk, class_name(value));
    return STATUS_OK;
}

/* ---- The path ---- */

/* Appends a name that came from the file. ret_before is for leave. */
static enum status enter(struct walk *walk, const struct pickle_value *module, const struct pickle_value *key,
                         size_t *ret_before)
{
    if (key->kind != PICKLE_STRING || key->text.len == 0 || !utf8_is_printable(key->text.at, key->text.len))
        return refuse(walk, STATUS_INVALID, module, "the name of a module, parameter or buffer is no text");
    for (size_t i = 0; i < key->text.len; i++)
        if (strchr("().", key->text.at[i]))
            return refuse(walk, STATUS_INVALID, module, "a name in it has a dot or a bracket");
    size_t before = walk->path_len, dot = before > 0;
    if (key->text.len + dot >= PATH_BYTES_MAX - before)
        return refuse(walk, STATUS_TOO_LARGE, module, "the path of a module in it has more than %d bytes",
                      PATH_BYTES_MAX);
    if (dot)
        walk->path[walk->path_len++] = '.';
    memcpy(walk->path + walk->path_len, key->text.at, key->text.len);
    walk->path_len += key->text.len;
    walk->path[walk->path_len] = '\0';
    *ret_before = before;
    return STATUS_OK;
}

static void leave(struct walk *walk, size_t before)
{
    walk->path_len = before;
    walk->path[before] = '\0';
}

/* ---- Parameters and buffers ---- */

/* Whether the buffer is in the set of those that state_dict() leaves out. */
static bool is_transient(const struct pickle_items *pairs, const struct pickle_value *name)
{
    const struct pickle_value *set = pickle_get(pairs, "_non_persistent_buffers_set");
    const struct pickle_items *items = NULL;
    if (set && set->kind == PICKLE_SET)
        items = &set->items;
    else if (set && set->kind == PICKLE_OBJECT && set->object->args->items.count == 1 &&
             set->object->args->items.at[0]->kind == PICKLE_LIST)
        items = &set->object->args->items.at[0]->items;
    for (size_t i = 0; items && i < items->count && i < TORCH_MODULE_ATTRIBUTES_MAX; i++)
        if (items->at[i]->kind == PICKLE_STRING && items->at[i]->text.len == name->text.len &&
            memcmp(items->at[i]->text.at, name->text.at, name->text.len) == 0)
            return true;
    return false;
}

static enum status add_tensors(struct walk *walk, const struct pickle_value *module, const char *attribute)
{
    const struct pickle_items *pairs = attribute_pairs(module, attribute);
    bool are_buffers = strcmp(attribute, "_buffers") == 0;
    for (size_t i = 0; i < pairs->count; i += 2) {
        size_t before = 0;
        if (pairs->at[i + 1]->kind == PICKLE_NONE) /* registered, but absent: a Linear without bias */
            continue;
        enum status status = enter(walk, module, pairs->at[i], &before);
        if (status != STATUS_OK)
            return status;
        if (!are_buffers || !is_transient(attributes(module), pairs->at[i]))
            status = torch_tensors_add(walk->tensors, walk->path, pairs->at[i + 1], walk->err);
        leave(walk, before);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- Modules ---- */

static enum status check_limits(struct walk *walk, const struct pickle_value *value)
{
    if (!torch_is_module(value))
        return refuse(walk, STATUS_INVALID, value, "a module was expected");
    if (walk->levels > TORCH_MODULE_LEVELS_MAX)
        return refuse(walk, STATUS_TOO_LARGE, value, "it lies deeper than the %d levels that are read",
                      TORCH_MODULE_LEVELS_MAX);
    if (++walk->modules > TORCH_MODULES_MAX)
        return refuse(walk, STATUS_TOO_LARGE, value, "it is one module more than the %d that are read",
                      TORCH_MODULES_MAX);
    bool too_many = attributes(value)->count > 2 * TORCH_MODULE_ATTRIBUTES_MAX ||
                    attribute_pairs(value, "_parameters")->count > 2 * TORCH_MODULE_ATTRIBUTES_MAX ||
                    attribute_pairs(value, "_buffers")->count > 2 * TORCH_MODULE_ATTRIBUTES_MAX ||
                    attribute_pairs(value, "_modules")->count > 2 * TORCH_MODULES_MAX;
    return too_many ? refuse(walk, STATUS_TOO_LARGE, value, "it has more attributes than the %d that are read",
                             TORCH_MODULE_ATTRIBUTES_MAX)
                    : STATUS_OK;
}

static void note_hooks(struct walk *walk, const struct pickle_value *value)
{
    const struct pickle_items *before = attribute_pairs(value, "_forward_pre_hooks");
    const struct pickle_items *after = attribute_pairs(value, "_forward_hooks");
    walk->hooked += (before && before->count > 0) || (after && after->count > 0);
}

/* Modules that are None are registered, but absent. */
static size_t count_children(const struct pickle_items *pairs)
{
    size_t count = 0;
    for (size_t i = 0; i < pairs->count; i += 2)
        count += pairs->at[i + 1]->kind != PICKLE_NONE;
    return count;
}

static enum status read_arguments(const struct walk *walk, const struct pickle_value *value, char **ret)
{
    char missing[64] = "";
    struct pickle_text name = class_name(value);
    *ret = is_torch_class(value) ? torch_layer_text(name, attributes(value), attribute_pairs(value, "_parameters"),
                                                    missing, sizeof missing)
                                 : strdup("");
    if (*ret)
        return STATUS_OK;
    return missing[0] ? refuse(walk, STATUS_INVALID, value,
                               "its attribute %s is missing, or not of a kind that is read", missing)
                      : refuse_memory(walk);
}

/* What stands in the pickle ends without a NUL. */
static char *copy_text(const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static enum status make_module(struct walk *walk, const struct pickle_value *value, const char *name,
                               size_t name_len, struct module **ret)
{
    struct module *module = calloc(1, sizeof *module);
    size_t children = count_children(attribute_pairs(value, "_modules"));
    struct pickle_text class = class_name(value);
    if (!module)
        return refuse_memory(walk);
    module->name = copy_text(name, name_len);
    module->class_name = copy_text(class.at, class.len);
    module->children = calloc(children + 1, sizeof(struct module *));
    enum status status = !module->name || !module->class_name || !module->children
                             ? refuse_memory(walk)
                             : read_arguments(walk, value, &module->arguments);
    if (status == STATUS_OK)
        *ret = module;
    else
        module_free(module);
    return status;
}

static bool has_child(const struct module *parent, struct pickle_text name)
{
    for (size_t i = 0; i < parent->child_count; i++)
        if (pickle_text_is(name, parent->children[i]->name))
            return true;
    return false;
}

static enum status read_module(struct walk *walk, const struct pickle_value *value, const char *name,
                               size_t name_len, struct module **ret);

static enum status read_child(struct walk *walk, const struct pickle_value *value, const struct pickle_value *key,
                              const struct pickle_value *child, struct module *parent)
{
    size_t before = 0;
    enum status status = enter(walk, value, key, &before);
    if (status != STATUS_OK)
        return status;
    struct module *module = NULL;
    if (has_child(parent, key->text))
        status = refuse(walk, STATUS_INVALID, value, "it has two modules of this name");
    else
        status = read_module(walk, child, key->text.at, key->text.len, &module);
    if (module)
        parent->children[parent->child_count++] = module;
    leave(walk, before);
    return status;
}

static enum status read_children(struct walk *walk, const struct pickle_value *value, struct module *module)
{
    const struct pickle_items *pairs = attribute_pairs(value, "_modules");
    enum status status = STATUS_OK;
    walk->levels++;
    for (size_t i = 0; status == STATUS_OK && i < pairs->count; i += 2)
        if (pairs->at[i + 1]->kind != PICKLE_NONE)
            status = read_child(walk, value, pairs->at[i], pairs->at[i + 1], module);
    walk->levels--;
    return status;
}

/* state_dict() has a module's own parameters, its buffers, and then those of its children. */
static enum status read_parts(struct walk *walk, const struct pickle_value *value, struct module *module)
{
    enum status status = add_tensors(walk, value, "_parameters");
    if (status == STATUS_OK)
        status = add_tensors(walk, value, "_buffers");
    return status == STATUS_OK ? read_children(walk, value, module) : status;
}

static enum status read_module(struct walk *walk, const struct pickle_value *value, const char *name,
                               size_t name_len, struct module **ret)
{
    struct module *module = NULL;
    enum status status = check_limits(walk, value);
    if (status == STATUS_OK)
        status = check_class(walk, value, count_children(attribute_pairs(value, "_modules")));
    if (status == STATUS_OK)
        status = make_module(walk, value, name, name_len, &module);
    if (status == STATUS_OK)
        note_hooks(walk, value);
    if (status == STATUS_OK)
        status = read_parts(walk, value, module);
    if (status == STATUS_OK)
        *ret = module;
    else
        module_free(module);
    return status;
}

/* ---- The note ---- */

static bool put_note(FILE *out, const struct walk *walk)
{
    if (walk->classes_len > 0)
        fprintf(out,
                "%s: not of torch.nn, so the modules in it are assumed to run in the order in which they were "
                "registered; if its forward() does anything else, say so in structure.txt, or export to ONNX",
                walk->classes + strlen(", "));
    if (walk->hooked > 0)
        fprintf(out, "%s%zu of the modules have forward hooks, which are not run", walk->classes_len ? "; " : "",
                walk->hooked);
    return !ferror(out);
}

static enum status make_note(const struct walk *walk, char **ret)
{
    char *note = NULL;
    size_t size;
    if (walk->classes_len == 0 && walk->hooked == 0)
        return STATUS_OK;
    FILE *out = open_memstream(&note, &size);
    if (!out)
        return refuse_memory(walk);
    bool ok = put_note(out, walk);
    if (fclose(out) == 0 && ok) {
        *ret = note;
        return STATUS_OK;
    }
    free(note);
    return refuse_memory(walk);
}

enum status torch_module_read(const struct pickle_value *value, struct torch_tensors *tensors,
                              struct module **ret_root, char **ret_note, struct error *err)
{
    struct walk walk = {.tensors = tensors, .err = err};
    struct module *root = NULL;
    char *note = NULL;
    enum status status = read_module(&walk, value, "", 0, &root);
    if (status == STATUS_OK)
        status = make_note(&walk, &note);
    if (status != STATUS_OK) {
        module_free(root);
        return status;
    }
    *ret_root = root;
    *ret_note = note;
    return STATUS_OK;
}
