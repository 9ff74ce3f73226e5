/* Whether floats are numbers. Stateless; any thread may call it. */
#ifndef MLPD_ENGINE_FINITE_H
#define MLPD_ENGINE_FINITE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether all `count` floats are finite; if not, *ret_index (may be NULL) is the first that is NaN or infinite. */
bool all_finite(const float *x, size_t count, size_t *ret_index);

#endif
