/* Reader of a model that is spread over several safetensors files, as Hugging Face's libraries write large ones: an index,
 * model.safetensors.index.json, says which tensor lies in which file beside it:
 *
 *     {"metadata": {"total_size": 28}, "weight_map": {"0.weight": "model-00001-of-00002.safetensors", ...}}
 *
 * The map and the files must tell the same: every tensor of the one is in the other. Files outside the index's folder are
 * refused. Not to be called from two threads at once (see engine/json_document.h). */
#ifndef MLPD_ENGINE_SAFETENSORS_INDEX_H
#define MLPD_ENGINE_SAFETENSORS_INDEX_H

#include <stddef.h>

#include "engine/state_dict.h"
#include "engine/status.h"

enum { SAFETENSORS_SHARDS_MAX = 1024 };

/* Reads the index at `path` and the files that it names, in the order in which it names them first. On success *ret is the
 * caller's, to be freed with state_dict_free. */
enum status safetensors_index_read(const char *path, struct state_dict **ret, struct error *err);

#endif
