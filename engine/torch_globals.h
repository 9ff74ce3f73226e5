/* Which classes and functions of Python a file of torch may name, and what may be called in its pickle at all. Stateless;
 * any thread may call it. */
#ifndef MLPD_ENGINE_TORCH_GLOBALS_H
#define MLPD_ENGINE_TORCH_GLOBALS_H

#include "engine/pickle.h"

/* Whether a pickle may hold a call of `global`: tensors, and what stands around them in checkpoints: containers of the
 * standard library, numpy's numbers, paths and dates. */
bool torch_may_call(const struct pickle_value *global);

/* What a persistent value stands for: a storage for itself, the old format's record of a class for the class, NULL for all
 * else. `context` is not used. */
struct pickle_value *torch_find_persistent(void *context, struct pickle_value *persistent);

/* The parts of a storage's id, ("storage", type, key, location, numel), once torch_find_persistent has let it through. */
struct torch_storage_id {
    const struct pickle_value *type; /* FloatStorage */
    struct pickle_text key;          /* "0" */
    int64_t numel;                   /* elements of that type */
};

/* False if `value` is no storage, or its id's parts are of other kinds. */
bool torch_storage_id(const struct pickle_value *value, struct torch_storage_id *ret);

#endif
