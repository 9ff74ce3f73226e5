/* The structure of a state dict that came without one, where its keys and shapes leave one reading: Linear layers, each
 * taking what the one before gives, ReLU between, nothing behind the last. Their order is that of the shapes; where shapes
 * leave several, the numbers in names that differ in nothing else decide ("0", "2", "4"; "fc1", "fc2"). Stateless; any
 * thread may call it.
 *
 *     struct module *structure;
 *     char *note;
 *     if (structure_infer(dict, &structure, &note, &err) == STATUS_OK) ...   // say the note, and free both
 */
#ifndef MLPD_ENGINE_STRUCTURE_INFER_H
#define MLPD_ENGINE_STRUCTURE_INFER_H

#include "engine/state_dict.h"
#include "engine/status.h"
#include "engine/structure.h"

/* On success *ret_structure, for module_free, and *ret_note, a sentence for the log of what was assumed, are the caller's.
 * Refused, with the candidates: parameters of what is no Linear, shapes that do not follow each other, and an order that
 * neither names nor shapes decide. */
enum status structure_infer(const struct state_dict *dict, struct module **ret_structure, char **ret_note,
                            struct error *err);

#endif
