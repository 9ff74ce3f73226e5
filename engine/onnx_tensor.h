/* Tensors of an ONNX file: checked, and read as float32 or as whole numbers, from where they lie: raw bytes, typed
 * fields, or a file beside the model. Stateless; any thread may call it.
 *
 * Float types are float32, float16, bfloat16 and float64; the last is rounded to float32. */
#ifndef MLPD_ENGINE_ONNX_TENSOR_H
#define MLPD_ENGINE_ONNX_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/onnx_file.h"
#include "engine/state_dict.h"
#include "engine/status.h"

struct onnx_node;

/* ONNX's numbers of the types (TensorProto.DataType). */
enum onnx_type {
    ONNX_FLOAT = 1,
    ONNX_INT32 = 6,
    ONNX_INT64 = 7,
    ONNX_FLOAT16 = 10,
    ONNX_DOUBLE = 11,
    ONNX_BFLOAT16 = 16,
};

/* A file beside the model; bytes is 0 for data in the model itself. */
struct onnx_external {
    size_t bytes;
    dev_t device;
    ino_t inode;
};

bool onnx_tensor_is_float(int32_t type);

/* As PyTorch names it, "torch.float16"; NULL for a type that is not read. */
const char *onnx_tensor_dtype(int32_t type);

/* The shape; refused are more than TENSOR_DIMS_MAX dimensions, negative ones, and a product that overflows. */
enum status onnx_tensor_shape(const Onnx__Tensor *tensor, size_t shape[TENSOR_DIMS_MAX], size_t *ret_dims,
                              size_t *ret_count, struct error *err);

/* Element i of a tensor whose data lies in the file itself; false if it has none, or is of no type that is read. */
bool onnx_tensor_double(const Onnx__Tensor *tensor, size_t i, double *ret);
bool onnx_tensor_whole(const Onnx__Tensor *tensor, size_t i, int64_t *ret);

/* Checks that a float tensor's data is there, `count` elements, no more and no less. `folder` is where external data
 * may lie; NULL if there is none. *ret_external says of which file the data is part. */
enum status onnx_tensor_check(const Onnx__Tensor *tensor, size_t count, const char *folder,
                              struct onnx_external *ret_external, struct error *err);

/* Reads them into dst, after onnx_tensor_check. */
enum status onnx_tensor_floats(const Onnx__Tensor *tensor, size_t count, const char *folder, float *dst,
                               struct error *err);

/* The tensor that a Constant node holds, in any of its forms; *ret is NULL for strings and sparse ones. */
enum status onnx_tensor_of_constant(const struct onnx_file *file, const struct onnx_node *node,
                                    const Onnx__Tensor **ret, struct error *err);

#endif
