/* A module that torch.save(model) pickled, read as an inert record of its attributes: the tree of modules with PyTorch's
 * class names and arguments, as print(model) shows it, and its parameters and buffers under the names that state_dict()
 * gives them. Nothing of the module's code is in the file, and none is run: what a class of torch.nn does is known by its
 * name, and of any other class only which modules it holds, in the order in which they were registered. One thread.
 *
 *     if (torch_is_module(value))
 *         status = torch_module_read(value, tensors, &root, &note, &err);
 */
#ifndef MLPD_ENGINE_TORCH_MODULE_H
#define MLPD_ENGINE_TORCH_MODULE_H

#include <stdbool.h>

#include "engine/pickle.h"
#include "engine/status.h"
#include "engine/structure.h"
#include "engine/torch_tensors.h"

enum {
    TORCH_MODULES_MAX = 4096,
    TORCH_MODULE_LEVELS_MAX = 64,
    TORCH_MODULE_ATTRIBUTES_MAX = 1024, /* of one module, and likewise of its parameters and buffers */
};

/* Whether `value` is the record of an object that has modules, parameters and buffers. */
bool torch_is_module(const struct pickle_value *value);

/* Reads the tree below `value`, and adds its parameters and persistent buffers to `tensors`. Refused by path and class: a
 * container of torch.nn that does more than to run its children in turn; a layer without an attribute that its text shows;
 * more modules, levels or attributes than the limits; names and classes that are none.
 * On success *ret_root is the caller's, to be freed with module_free, and so is *ret_note: what was assumed of classes that
 * are not torch's, and that hooks are not run, in sentences for the log; NULL if there was nothing of that. */
enum status torch_module_read(const struct pickle_value *value, struct torch_tensors *tensors,
                              struct module **ret_root, char **ret_note, struct error *err);

#endif
