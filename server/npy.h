/* NumPy's .npy files (format versions 1.0, 2.0 and 3.0, numpy.lib.format): read as rows of float32 or uint8, written
 * as float32. Stateless; any thread may call it. */
#ifndef MLPD_SERVER_NPY_H
#define MLPD_SERVER_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"
#include "server/buffer.h"

enum { NPY_DIMS_MAX = 8 };

enum npy_dtype { NPY_UINT8, NPY_FLOAT16, NPY_FLOAT32, NPY_FLOAT64 }; /* either byte order where there is one */

struct npy {
    enum npy_dtype dtype;
    bool big_endian;
    bool fortran_order;
    size_t shape[NPY_DIMS_MAX];
    size_t dims;
    size_t count; /* product of shape; no product of some of the dimensions overflows, even if it is 0 */
    const unsigned char *data; /* count elements inside the bytes that were parsed */
};

/* The bytes of one element. */
size_t npy_item_bytes(enum npy_dtype dtype);

/* Whether the bytes begin with the magic "\x93NUMPY". */
bool npy_sniff(const void *data, size_t len);

/* Reads the header and checks that exactly the data it declares follows. *ret->data points into `data`. Refused by
 * name: other dtypes (objects and pickles included), more than NPY_DIMS_MAX dimensions, products that overflow, a header
 * that is not the dict NumPy writes, too few or too many bytes. */
enum status npy_parse(const void *data, size_t len, struct npy *ret, struct error *err);

/* Writes the elements in C order, converted to float32 (float64 rounds to nearest even), to dst[0..count). */
void npy_read_f32(const struct npy *npy, float *dst);

/* The same for NPY_UINT8, without conversion. */
void npy_read_u8(const struct npy *npy, uint8_t *dst);

/* Appends a version 1.0 header for C-order little-endian float32 of this shape; the data is the caller's to append. */
void npy_write_header(struct buffer *out, const size_t *shape, size_t dims);

#endif
