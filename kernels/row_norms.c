#include "kernels/row_norms.h"

#include <math.h>

enum { LANES = 8 }; /* sums that run side by side, so that one addition need not wait for another */

static double sum_lanes(const double lanes[LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static double sum_of(const float *x, size_t n)
{
    double lanes[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] += (double)x[i + lane];
    for (size_t lane = 0; i < n; i++, lane++)
        lanes[lane] += (double)x[i];
    return sum_lanes(lanes);
}

static double sum_of_squares(const float *x, size_t n, double mean)
{
    double lanes[LANES] = {0.0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++)
            lanes[lane] += ((double)x[i + lane] - mean) * ((double)x[i + lane] - mean);
    for (size_t lane = 0; i < n; i++, lane++)
        lanes[lane] += ((double)x[i] - mean) * ((double)x[i] - mean);
    return sum_lanes(lanes);
}

static void layer_norm_row(const float *x, size_t n, const float *weight, const float *bias, double eps, float *y)
{
    const double mean = sum_of(x, n) / (double)n;
    const double scale = 1.0 / sqrt(sum_of_squares(x, n, mean) / (double)n + eps);
    for (size_t j = 0; j < n; j++) {
        const float normal = (float)(((double)x[j] - mean) * scale);
        y[j] = normal * (weight ? weight[j] : 1.0F) + (bias ? bias[j] : 0.0F);
    }
}

void kernels_layer_norm(const float *x, size_t rows, size_t n, const float *weight, const float *bias, double eps,
                        float *y)
{
    for (size_t r = 0; r < rows; r++)
        layer_norm_row(x + r * n, n, weight, bias, eps, y + r * n);
}

void kernels_scale_shift(const float *x, size_t rows, size_t n, const float *scale, const float *shift, float *y)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n)
        for (size_t j = 0; j < n; j++)
            y[j] = x[j] * scale[j] + shift[j];
}

static void log_softmax_row(const float *x, size_t n, float *y)
{
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    double sum = exp((double)x[0] - (double)max); /* at least 1 in the end: the largest adds exp(0) */
    for (size_t i = 1; i < n; i++)
        sum += exp((double)x[i] - (double)max);
    const double log_sum = log(sum); /* cppcheck-suppress invalidFunctionArg ; sum is not 0 */
    for (size_t i = 0; i < n; i++)
        y[i] = (float)((double)x[i] - (double)max - log_sum);
}

void kernels_log_softmax(const float *x, size_t rows, size_t n, float *y)
{
    for (size_t r = 0; n > 0 && r < rows; r++)
        log_softmax_row(x + r * n, n, y + r * n);
}

void kernels_exp(const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = expf(x[i]);
}

void kernels_sigmoid(const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] = (float)(1.0 / (1.0 + exp(-(double)x[i])));
}
