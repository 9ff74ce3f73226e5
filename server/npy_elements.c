/* The second half of server/npy.h: elements of either byte order and either axis order, read as C-order float32 or uint8.
 * All sizes were checked by npy_parse. */
#include <assert.h>
#include <string.h>

#include "server/npy.h"

/* Reads n elements that lie `step` bytes apart, and writes them side by side to dst. */
typedef void read_run(const unsigned char *src, size_t step, bool swap, void *dst, size_t n);

static void read_run_u8(const unsigned char *src, size_t step, bool swap, void *dst, size_t n)
{
    unsigned char *out = dst;
    (void)swap;
    if (step == 1) {
        memcpy(out, src, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = src[i * step];
}

static void read_run_u8_f32(const unsigned char *src, size_t step, bool swap, void *dst, size_t n)
{
    float *out = dst;
    (void)swap;
    for (size_t i = 0; i < n; i++)
        out[i] = src[i * step];
}

/* Every float16 is a float32: denormals become normal ones, and a NaN keeps its payload. */
static float float_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1F, fraction = half & 0x3FF;
    uint32_t bits;
    if (exponent == 0) {
        float tiny = (float)fraction * 0x1p-24F;
        memcpy(&bits, &tiny, sizeof bits);
    } else {
        bits = (exponent == 0x1F ? 0xFFU : exponent + 127 - 15) << 23 | fraction << 13;
    }
    bits |= sign;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void read_run_f16(const unsigned char *src, size_t step, bool swap, void *dst, size_t n)
{
    float *out = dst;
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, src + i * step, sizeof half);
        out[i] = float_from_half(swap ? __builtin_bswap16(half) : half);
    }
}

static void read_run_f32(const unsigned char *src, size_t step, bool swap, void *dst, size_t n)
{
    unsigned char *out = dst;
    if (step == sizeof(float) && !swap) {
        memcpy(out, src, n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, src + i * step, sizeof bits);
        bits = swap ? __builtin_bswap32(bits) : bits;
        memcpy(out + i * sizeof bits, &bits, sizeof bits);
    }
}

static void read_run_f64(const unsigned char *src, size_t step, bool swap, void *dst, size_t n)
{
    float *out = dst;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;
        double value;
        memcpy(&bits, src + i * step, sizeof bits);
        bits = swap ? __builtin_bswap64(bits) : bits;
        memcpy(&value, &bits, sizeof value);
        out[i] = (float)value;
    }
}

/* How to get from an array in Fortran order to one in C order: elements of the first axis lie side by side in the
 * source, those of the last axis in the destination, and the axes between count one plane after the other. */
struct transposition {
    read_run *read;
    bool swap;
    size_t src_item, dst_item; /* bytes */
    size_t rows, columns;      /* lengths of the first and of the last axis */
    size_t src_column;         /* elements from one index of the last axis to the next, in the source */
    size_t dst_row;            /* elements from one index of the first axis to the next, in the destination */
};

enum { TILE = 16 }; /* a cache line of float32; 16 x 16 of them stay in the first-level cache */

static void transpose_plane(const struct transposition *t, const unsigned char *src, unsigned char *dst)
{
    for (size_t row0 = 0; row0 < t->rows; row0 += TILE) {
        size_t row_end = t->rows - row0 < TILE ? t->rows : row0 + TILE;
        for (size_t column = 0; column < t->columns; column += TILE) {
            size_t n = t->columns - column < TILE ? t->columns - column : TILE;
            for (size_t row = row0; row < row_end; row++)
                t->read(src + (column * t->src_column + row) * t->src_item, t->src_column * t->src_item, t->swap,
                        dst + (row * t->dst_row + column) * t->dst_item, n);
        }
    }
}

/* Where plane number `plane` (in the source's order) begins in the destination, in elements. */
static size_t plane_destination(const struct npy *npy, size_t plane)
{
    size_t at = 0, stride = npy->count / npy->shape[0];
    for (size_t axis = 1; axis + 1 < npy->dims; axis++) {
        stride /= npy->shape[axis];
        at += plane % npy->shape[axis] * stride;
        plane /= npy->shape[axis];
    }
    return at;
}

static void read_elements(const struct npy *npy, read_run *read, void *dst, size_t dst_item)
{
    size_t item = npy_item_bytes(npy->dtype);
    bool swap = npy->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    if (npy->count == 0)
        return;
    if (!npy->fortran_order || npy->dims < 2) {
        read(npy->data, item, swap, dst, npy->count);
        return;
    }
    size_t rows = npy->shape[0], columns = npy->shape[npy->dims - 1], planes = npy->count / rows / columns;
    struct transposition t = {read, swap, item, dst_item, rows, columns, npy->count / columns, npy->count / rows};
    for (size_t plane = 0; plane < planes; plane++)
        transpose_plane(&t, npy->data + plane * rows * item,
                        (unsigned char *)dst + plane_destination(npy, plane) * dst_item);
}

void npy_read_f32(const struct npy *npy, float *dst)
{
    static read_run *const runs[] = {[NPY_UINT8] = read_run_u8_f32,
                                     [NPY_FLOAT16] = read_run_f16,
                                     [NPY_FLOAT32] = read_run_f32,
                                     [NPY_FLOAT64] = read_run_f64};
    read_elements(npy, runs[npy->dtype], dst, sizeof *dst);
}

void npy_read_u8(const struct npy *npy, uint8_t *dst)
{
    assert(npy->dtype == NPY_UINT8);
    read_elements(npy, read_run_u8, dst, sizeof *dst);
}
