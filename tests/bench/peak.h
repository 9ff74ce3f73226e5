/* What one core can do at most, and the clock that measures it. Any thread may call these. */
#ifndef MLPD_BENCH_PEAK_H
#define MLPD_BENCH_PEAK_H

/* This thread's CPU time. */
double thread_cpu_us(void);

/* GFLOP/s of multiply-adds in registers as wide as those of the table of kernels of that name, or half as wide where
 * that is faster; takes some milliseconds. The processor must be able to run that table. */
double peak_gflops(const char *kernels_name);

#endif
