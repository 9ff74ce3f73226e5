/* Reader of safetensors files (https://huggingface.co/docs/safetensors: eight bytes of little-endian header length,
 * a JSON object of name -> {dtype, shape, data_offsets}, then the data). Every offset and length is checked before
 * it is used, overflow included. The types of engine/dtypes.h are read, and made float32. Immutable once read; any thread
 * may read one.
 *
 *     struct state_dict *dict;
 *     if (safetensors_read("model.safetensors", &dict, &err) == STATUS_OK) {
 *         const struct tensor *weight = state_dict_find(dict, "linear_relu_stack.0.weight");
 *         ...
 *         state_dict_free(dict);
 *     }
 */
#ifndef MLPD_ENGINE_SAFETENSORS_H
#define MLPD_ENGINE_SAFETENSORS_H

#include <stddef.h>

#include "engine/state_dict.h"
#include "engine/status.h"

/* Reads the file at `path`. The file is read, not mapped, so that one that is cut while it is read is an error and
 * not a SIGBUS. On success *ret is the caller's, to be freed with state_dict_free. */
enum status safetensors_read(const char *path, struct state_dict **ret, struct error *err);

/* The same for bytes in memory, which are copied where needed (the fuzz target's way in). */
enum status safetensors_parse(const void *data, size_t len, struct state_dict **ret, struct error *err);

#endif
