/* An ONNX file as protobuf-c unpacks it, inside a bound: a file may ask for memory in proportion to its size and no
 * more. Immutable once parsed; any thread may read one.
 *
 *     struct onnx_file *file;
 *     if (onnx_file_parse(data, len, &file, &err) == STATUS_OK) {
 *         file->model->graph ...          // the data may be freed by now
 *         onnx_file_free(file);
 *     }
 *
 * What else is read (a value for each name, say) is allocated from the same bound by onnx_file_alloc, and goes with it.
 */
#ifndef MLPD_ENGINE_ONNX_FILE_H
#define MLPD_ENGINE_ONNX_FILE_H

#include <stddef.h>

#include "engine/onnx_schema.pb-c.h"
#include "engine/status.h"

struct onnx_file {
    const Onnx__Model *model; /* graph is not NULL */
    size_t bytes;             /* of the file */
    struct onnx_arena *arena;
};

/* The largest file: what protobuf can hold. Larger models keep their tensors beside it, as external data. */
#define ONNX_FILE_BYTES_MAX ((size_t)INT32_MAX)

/* Unpacks `len` bytes, which are copied where needed. Refused: what is no ONNX model, a model without a graph, and one
 * whose parts need more than 16 MiB + 6 times its bytes. On success *ret is the caller's. */
enum status onnx_file_parse(const void *data, size_t len, struct onnx_file **ret, struct error *err);

/* `count` zeroed objects of `size` bytes, which live as long as the file; NULL beyond the bound. count may be 0. */
void *onnx_file_alloc(const struct onnx_file *file, size_t count, size_t size);

/* The same text as printf writes it; NULL beyond the bound. */
char *onnx_file_print(const struct onnx_file *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The refusal where onnx_file_alloc gave NULL. */
enum status onnx_file_refuse_memory(const struct onnx_file *file, struct error *err);

/* Takes NULL. */
void onnx_file_free(struct onnx_file *file);

#endif
