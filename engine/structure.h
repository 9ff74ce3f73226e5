/* PyTorch's structure text, what print(model) says, as a tree of modules: parsed, printed back to the letter, and
 * walked in the order of the text, which is the order of registration. Trees are immutable once parsed; any
 * thread may read one.
 *
 *     struct module *root;
 *     if (structure_parse(text, len, &root, &err) == STATUS_OK) {
 *         char *same = structure_print(root);   // equals text, less white space at its end
 *         free(same);
 *         module_free(root);
 *     }
 *
 * The format is that of torch.nn.Module.__repr__: `Class(` extra_repr `)` for a leaf; for a container one line
 * `(name): ` + child for each child, indented by two blanks for each level; `Class()` for an empty one. Equal children in a
 * row of a ModuleList, `(0-2): 3 x ` + child, become as many modules as they are.
 */
#ifndef MLPD_ENGINE_STRUCTURE_H
#define MLPD_ENGINE_STRUCTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"

struct module {
    char *name;       /* the attribute under which its parent holds it: "flatten", "0"; "" for the root */
    char *class_name; /* "Linear", "Sequential", "NeuralNetwork" */
    char *arguments;  /* what stands between the brackets: "in_features=784, bias=True"; may be "" */
    struct module **children;
    size_t child_count;
    size_t
        run; /* of a ModuleList's children: this one and the run - 1 behind it are equal, and written as one line,
                   "(0-2): 3 x Linear(...)"; 0 or 1: it has a line of its own */
};

/* Parses `len` bytes of text. Refused with line number and mend: unbalanced brackets, a child that is not
 * `(name): Class(...)`, more than 64 levels or 4096 modules, bytes after the end, two children of one name,
 * NUL or control characters. On success *ret_root is the caller's, to be freed with module_free. */
enum status structure_parse(const char *text, size_t len, struct module **ret_root, struct error *err);

/* Finds the equal children of every ModuleList and sets `run`, as PyTorch prints them since 2.1; for a tree that was made
 * by hand. False if out of memory. */
bool structure_mark_runs(struct module *root);

/* print(model)'s text without a newline at its end; the caller frees it. NULL only if out of memory. */
char *structure_print(const struct module *root);

/* The value of a keyword argument in `arguments`: ("in_features=784, bias=True", "bias") gives "True", length 4.
 * False if there is no such key. *ret_value points into module->arguments. */
bool module_argument(const struct module *module, const char *key, const char **ret_value, size_t *ret_len);

/* Takes NULL. */
void module_free(struct module *root);

#endif
