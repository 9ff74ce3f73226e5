/* Runs of equal children, "(0-2): 3 x Linear(...)" in the text of a ModuleList: one module in the text, several in the tree.
 * Private to engine/structure.c, which reads and prints them. */
#ifndef MLPD_ENGINE_STRUCTURE_RUNS_H
#define MLPD_ENGINE_STRUCTURE_RUNS_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"
#include "engine/structure.h"

/* Reads "(0-2): 3 x " at the line's begin: the first name, how many there are, and the length of what was read. False if
 * that does not stand there, to the letter. */
bool structure_run_read(const char *line, size_t len, size_t *ret_first, size_t *ret_run, size_t *ret_len);

/* Puts copies behind each module that stands for a run, named by the numbers that follow its own. Refused: names that are
 * there already, and more than modules_max modules. */
enum status structure_runs_expand(struct module *root, size_t modules_max, struct error *err);

#endif
