/* The element types of model files, and how each becomes float32: as tensor.float() does it in PyTorch. One table serves
 * every reader; each format has its own column of names. Stateless; any thread may call it.
 *
 *     const struct dtype *dtype = dtype_of_safetensors("BF16");
 *     if (dtype)
 *         dtype->to_floats(floats, bytes, count, dtype->bytes);
 */
#ifndef MLPD_ENGINE_DTYPES_H
#define MLPD_ENGINE_DTYPES_H

#include <stddef.h>

enum { DTYPE_BYTES_MAX = 8 };

struct dtype {
    const char *name;        /* as PyTorch prints it: "torch.bfloat16" */
    const char *safetensors; /* "BF16"; NULL if that format has none */
    const char *storage;     /* torch's typed storage: "BFloat16Storage"; NULL if torch has none */
    size_t bytes;            /* of one element */
    /* dst[i] = the element at src + i * stride, for i below count. The bytes are little-endian and need no alignment; a
     * stride of 0 repeats one element. Doubles and integers are rounded to the nearest float32, ties to even. */
    void (*to_floats)(float *dst, const unsigned char *src, size_t count, size_t stride);
};

/* NULL if there is none of that name, or none that has values to be read as floats (complex, quantized). */
const struct dtype *dtype_of_safetensors(const char *name);
const struct dtype *dtype_of_storage(const char *storage, size_t len);
const struct dtype *dtype_of_torch(const char *name, size_t len); /* "bfloat16", without "torch." */

/* "F64, F32, ...": the names that dtype_of_safetensors knows, for the error about another. */
const char *dtype_safetensors_names(void);

#endif
