#include "engine/finite.h"

#include "kernels/kernels.h"

bool all_finite(const float *x, size_t count, size_t *ret_index)
{
    return kernels_all_finite(x, count, ret_index);
}
