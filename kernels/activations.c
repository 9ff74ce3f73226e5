#include "kernels/activations.h"

#include <string.h>

#include "kernels/activation_tables.h"

const struct activation_table *const activation_tables[] = {&activations_generic, &activations_avx2,
                                                            &activations_avx512, NULL};

const struct activation_table *activation_table_for(const char *kernels_name)
{
    const struct activation_table *best = activation_tables[0];
    for (size_t i = 0; activation_tables[i]; i++) {
        if (!activation_tables[i]->supported())
            continue;
        best = activation_tables[i];
        if (strcmp(best->name, kernels_name) == 0)
            break;
    }
    return best;
}
