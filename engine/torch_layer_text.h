/* What torch.nn's layers show between their brackets when a model is printed (extra_repr, as of torch 2.15), made from the
 * attributes that a pickled layer has. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_TORCH_LAYER_TEXT_H
#define MLPD_ENGINE_TORCH_LAYER_TEXT_H

#include <stddef.h>

#include "engine/pickle.h"

/* "in_features=784, out_features=512, bias=True"; "" for a class that shows nothing or is not known here. The caller frees
 * it. NULL if an attribute is missing or of another kind (its name is then in ret_missing, cut to fit), or out of memory. */
char *torch_layer_text(struct pickle_text class_name, const struct pickle_items *attributes,
                       const struct pickle_items *parameters, char *ret_missing, size_t missing_bytes);

#endif
