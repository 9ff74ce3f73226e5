/* From the records of tensors in a file of torch.save to a state dict: storages, offsets, sizes and strides become float32
 * in C order. First every tensor is added, which checks it against its storage's real length; then all are loaded, storage
 * by storage. One thread.
 *
 *     struct torch_tensors *tensors = torch_tensors_create(archive);
 *     status = torch_tensors_add(tensors, "0.weight", value, &err);      // as often as there are tensors
 *     if (status == STATUS_OK)
 *         status = torch_tensors_load(tensors, &state_dict, &err);
 *     torch_tensors_free(tensors);
 */
#ifndef MLPD_ENGINE_TORCH_TENSORS_H
#define MLPD_ENGINE_TORCH_TENSORS_H

#include <stdbool.h>

#include "engine/pickle.h"
#include "engine/state_dict.h"
#include "engine/status.h"
#include "engine/torch_archive.h"

/* Tensors that share a storage, or repeat an element by a stride of 0, have more elements than the file has bytes; what all
 * of them may have is bounded by the file's size plus this, and so are the bytes of their names. */
enum { TORCH_ELEMENTS_FREE = 1 << 20, TORCH_TENSORS_MAX = 1 << 17 };

struct torch_tensors;

/* The archive is borrowed. NULL only if out of memory. */
struct torch_tensors *torch_tensors_create(const struct torch_archive *archive);

/* Whether `value` is the record of a tensor or parameter, of whatever kind. */
bool torch_is_tensor(const struct pickle_value *value);

/* Adds the tensor that `value` is the record of; the name is copied. Refused by the name: what is no tensor; sparse,
 * quantized and complex ones; negative sizes, strides and offsets; what reaches beyond its storage. */
enum status torch_tensors_add(struct torch_tensors *tensors, const char *name, const struct pickle_value *value,
                              struct error *err);

/* Reads the values. On success *ret is the caller's, in the order in which tensors were added. Once only. */
enum status torch_tensors_load(struct torch_tensors *tensors, struct state_dict **ret, struct error *err);

/* Takes NULL. */
void torch_tensors_free(struct torch_tensors *tensors);

#endif
