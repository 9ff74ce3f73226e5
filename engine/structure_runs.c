#include "engine/structure_runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The text ---- */

/* What is still to be read of a line. */
struct rest {
    const char *at, *end;
};

static bool take_text(struct rest *rest, const char *expected)
{
    size_t len = strlen(expected);
    if ((size_t)(rest->end - rest->at) < len || memcmp(rest->at, expected, len) != 0)
        return false;
    rest->at += len;
    return true;
}

/* A number of up to nine digits as it is printed, without zeros before it, for it must come back to the letter. */
static bool take_number(struct rest *rest, size_t *ret_number)
{
    const char *begin = rest->at;
    size_t number = 0;
    for (; rest->at < rest->end && *rest->at >= '0' && *rest->at <= '9' && rest->at - begin < 9; rest->at++)
        number = number * 10 + (size_t)(*rest->at - '0');
    *ret_number = number;
    return rest->at > begin && (*begin != '0' || rest->at == begin + 1);
}

bool structure_run_read(const char *line, size_t len, size_t *ret_first, size_t *ret_run, size_t *ret_len)
{
    struct rest rest = {line, line + len};
    size_t first, last, run;
    if (!take_text(&rest, "(") || !take_number(&rest, &first) || !take_text(&rest, "-") ||
        !take_number(&rest, &last) || !take_text(&rest, "): ") || !take_number(&rest, &run) ||
        !take_text(&rest, " x "))
        return false;
    if (last <= first || run != last - first + 1)
        return false;
    *ret_first = first;
    *ret_run = run;
    *ret_len = (size_t)(rest.at - line);
    return true;
}

/* ---- Copies ---- */

static struct module *copy_module(const struct module *module);

static bool copy_children(const struct module *module, struct module *copy)
{
    copy->children = calloc(module->child_count, sizeof *copy->children);
    if (!copy->children)
        return false;
    for (; copy->child_count < module->child_count; copy->child_count++)
        if (!(copy->children[copy->child_count] = copy_module(module->children[copy->child_count])))
            return false;
    return true;
}

/* NULL if out of memory. */
static struct module *copy_module(const struct module *module)
{
    struct module *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->name = strdup(module->name);
    copy->class_name = strdup(module->class_name);
    copy->arguments = strdup(module->arguments);
    copy->run = module->run;
    bool ok = copy->name && copy->class_name && copy->arguments;
    if (ok && (module->child_count == 0 || copy_children(module, copy)))
        return copy;
    module_free(copy);
    return NULL;
}

/* A copy of the run's first module, under the name that is `step` behind its own. */
static struct module *copy_under_next_name(const struct module *first, size_t step)
{
    struct module *copy = copy_module(first);
    if (!copy)
        return NULL;
    free(copy->name);
    copy->run = 0;
    if (asprintf(&copy->name, "%zu", (size_t)strtoul(first->name, NULL, 10) + step) >= 0)
        return copy;
    copy->name = NULL;
    module_free(copy);
    return NULL;
}

/* ---- Expanding ---- */

static size_t count_modules(const struct module *module)
{
    size_t count = 1;
    for (size_t i = 0; i < module->child_count; i++)
        count += count_modules(module->children[i]);
    return count;
}

struct expansion {
    size_t modules, modules_max;
    struct error *err;
};

static enum status refuse_no_memory(const struct expansion *expansion)
{
    return error_set(expansion->err, STATUS_NO_MEMORY, "no memory for equal modules");
}

/* Counts what the runs of this module's children add. */
static enum status check_room(struct expansion *expansion, const struct module *module)
{
    for (size_t i = 0; i < module->child_count; i++) {
        const struct module *child = module->children[i];
        size_t more = 0;
        if (child->run > 1 && !__builtin_mul_overflow(count_modules(child), child->run - 1, &more) &&
            more <= expansion->modules_max - expansion->modules) {
            expansion->modules += more;
        } else if (child->run > 1) {
            error_set(expansion->err, STATUS_INVALID,
                      "with \"%zu x %s(\" there are more than the %zu modules that are read", child->run,
                      child->class_name, expansion->modules_max);
            return error_hint(expansion->err, "make several layers one, or serve a smaller model");
        }
    }
    return STATUS_OK;
}

static enum status check_names(const struct expansion *expansion, const struct module *module)
{
    for (size_t i = 0; i < module->child_count; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(module->children[i]->name, module->children[k]->name) == 0) {
                error_set(expansion->err, STATUS_INVALID, "a %s has two children (%s), one of them in \"%zu x\"",
                          module->class_name, module->children[i]->name, module->children[k]->run);
                return error_hint(expansion->err, "give each child its own name");
            }
    return STATUS_OK;
}

/* Appends the child and the copies that its run asks for. False if out of memory; then the rest is freed with `module`. */
static bool append_run(struct module *module, struct module *child)
{
    module->children[module->child_count++] = child;
    for (size_t step = 1; step < child->run; step++) {
        struct module *copy = copy_under_next_name(child, step);
        if (!copy)
            return false;
        module->children[module->child_count++] = copy;
    }
    return true;
}

static size_t count_with_runs(const struct module *module)
{
    size_t count = 0;
    for (size_t i = 0; i < module->child_count; i++)
        count += module->children[i]->run > 1 ? module->children[i]->run : 1;
    return count;
}

static enum status expand_children(const struct expansion *expansion, struct module *module)
{
    struct module **before = module->children;
    const size_t count = module->child_count, all = count_with_runs(module);
    if (all == count)
        return STATUS_OK;
    struct module **children = calloc(all, sizeof(struct module *));
    if (!children)
        return refuse_no_memory(expansion);
    module->children = children;
    module->child_count = 0;
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        if (ok)
            ok = append_run(module, before[i]);
        else
            module_free(before[i]);
    }
    free(before);
    return ok ? check_names(expansion, module) : refuse_no_memory(expansion);
}

/* The innermost first, so that copies are whole. */
static enum status expand(struct expansion *expansion, struct module *module)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < module->child_count; i++)
        status = expand(expansion, module->children[i]);
    if (status == STATUS_OK)
        status = check_room(expansion, module);
    return status == STATUS_OK ? expand_children(expansion, module) : status;
}

enum status structure_runs_expand(struct module *root, size_t modules_max, struct error *err)
{
    struct expansion expansion = {.modules = count_modules(root), .modules_max = modules_max, .err = err};
    return expand(&expansion, root);
}

/* ---- Marking ---- */

/* texts[i] is what the i-th child prints. */
static void mark_equal(struct module *list, char *const *texts)
{
    for (size_t i = 0, first = 0; i < list->child_count; i++) {
        list->children[i]->run = 0;
        if (i == 0 || strcmp(texts[i], texts[first]) != 0)
            first = i;
        list->children[first]->run = i - first + 1;
    }
}

static bool mark_list(struct module *list)
{
    char **texts = calloc(list->child_count, sizeof *texts);
    bool ok = texts != NULL;
    for (size_t i = 0; ok && i < list->child_count; i++)
        ok = (texts[i] = structure_print(list->children[i])) != NULL;
    if (ok)
        mark_equal(list, texts);
    for (size_t i = 0; texts && i < list->child_count; i++)
        free(texts[i]);
    free(texts);
    return ok;
}

bool structure_mark_runs(struct module *root)
{
    for (size_t i = 0; i < root->child_count; i++)
        if (!structure_mark_runs(root->children[i]))
            return false;
    return root->child_count == 0 || strcmp(root->class_name, "ModuleList") != 0 || mark_list(root);
}
