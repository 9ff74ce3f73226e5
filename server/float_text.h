/* The shortest decimal text that reads back to the same float32, as a JSON number. Stateless; any thread may call it.
 * The digits are Python's repr's for a float32 (numpy.float32): the shortest, and among these the nearest. */
#ifndef MLPD_SERVER_FLOAT_TEXT_H
#define MLPD_SERVER_FLOAT_TEXT_H

#include <stddef.h>

enum { FLOAT_TEXT_MAX = 24 }; /* bytes that float_text_write may write */

/* Writes `value`, which must be finite, without a NUL: "0.98", "1e-05", "-12.5", "0.0", "3.4028235e+38".
 * Returns the number of bytes. */
size_t float_text_write(float value, char dst[FLOAT_TEXT_MAX]);

#endif
