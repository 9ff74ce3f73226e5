/* Values of a pickle as Python's repr() and str() write them, for the text of a module's arguments. Stateless; any thread
 * may call it. */
#ifndef MLPD_ENGINE_PYTHON_REPR_H
#define MLPD_ENGINE_PYTHON_REPR_H

#include <stdbool.h>
#include <stdio.h>

#include "engine/pickle.h"

/* Writes repr(value): 1e-05, True, None, 'tanh', (1, 28), torch.Size([1, 28]). False, with a part of it perhaps written, for
 * what is none of those: other objects, strings of other than letters, digits and "_-. " or of more than 64 bytes, more than 16
 * items or two levels of them. */
bool python_repr(FILE *out, const struct pickle_value *value);

/* The same, but a string is written without quotes. */
bool python_str(FILE *out, const struct pickle_value *value);

/* Writes a float as Python does: the fewest digits that read back to it, "1e-05" and "1e+16", and always a point, an
 * exponent or a word. */
void python_repr_float(FILE *out, double value);

#endif
