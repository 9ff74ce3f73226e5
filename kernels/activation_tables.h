/* The tables behind activation_tables, one for each instruction set. Private to kernels/. */
#ifndef MLPD_KERNELS_ACTIVATION_TABLES_H
#define MLPD_KERNELS_ACTIVATION_TABLES_H

#include "kernels/activations.h"

extern const struct activation_table activations_generic;
extern const struct activation_table activations_avx2;
extern const struct activation_table activations_avx512;

#endif
