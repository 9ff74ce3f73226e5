/* Numbers as Python writes them, for the arguments that print(model) shows: "0.01", "1e-05", "20.0". Stateless; any thread
 * may call it. */
#ifndef MLPD_ENGINE_PYTHON_FLOAT_H
#define MLPD_ENGINE_PYTHON_FLOAT_H

#include <stdbool.h>

enum { PYTHON_FLOAT_BYTES = 32 };

/* The shortest text that reads back to the same number: the same float32 if `is_float32`, so that what was 0.01 before it
 * was rounded is 0.01 again. `value` is finite. Returns dst. */
const char *python_float_text(double value, bool is_float32, char dst[PYTHON_FLOAT_BYTES]);

#endif
