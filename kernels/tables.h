/* The tables behind kernels_all, one for each instruction set, and whether this processor and its operating system
 * can run them. Those questions are answered by kernels.c, which is compiled for any x86-64: a file that is compiled
 * for an instruction set must not be entered before they are. Private to kernels/.
 */
#ifndef MLPD_KERNELS_TABLES_H
#define MLPD_KERNELS_TABLES_H

#include <stdbool.h>

#include "kernels/kernels.h"

extern const struct kernels kernels_generic;
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;

bool kernels_cpu_has_generic(void);
bool kernels_cpu_has_avx2(void);   /* AVX2 and FMA: what cpu_avx2.c is compiled for */
bool kernels_cpu_has_avx512(void); /* AVX-512 F, and the AVX2 and FMA that it may be mixed with */

#endif
