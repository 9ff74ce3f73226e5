/* Reader of what torch.save writes: a state dict, a checkpoint that holds one, or a whole module. Pickles are read as data;
 * nothing in them is imported, called or executed. Stateless; any thread may call it.
 *
 *     struct torch_file file;
 *     if (torch_file_read("model.pth", &file, &err) == STATUS_OK) {
 *         const struct tensor *weight = state_dict_find(file.state_dict, "0.weight");
 *         ...
 *         torch_file_release(&file);
 *     }
 *
 * A dict of tensors is a state dict. A checkpoint is a dict that holds a state dict or a module under "state_dict",
 * "model_state_dict" or "model", looked for in this order; whatever else it holds is skipped. The prefix that a wrapper put
 * before every name, "module." (DataParallel) or "_orig_mod." (torch.compile), is taken off. Integers and booleans, such as
 * num_batches_tracked, become floats as all else; their dtype says what they were.
 */
#ifndef MLPD_ENGINE_TORCH_FILE_H
#define MLPD_ENGINE_TORCH_FILE_H

#include <stddef.h>

#include "engine/state_dict.h"
#include "engine/status.h"
#include "engine/structure.h"

struct torch_file {
    struct state_dict *state_dict;
    struct module
        *structure; /* of a whole module, with PyTorch's class names and arguments; NULL for a state dict */
    char *note;     /* what was assumed or left out, in sentences for the log; NULL if nothing was */
};

/* Reads the file at `path`; it is read, not mapped. On success what *ret holds is the caller's, who may take parts of it (and
 * set them to NULL) before torch_file_release. On failure *ret is untouched. */
enum status torch_file_read(const char *path, struct torch_file *ret, struct error *err);

/* The same for bytes in memory (the way in of tests and fuzz targets). */
enum status torch_file_parse(const void *data, size_t len, struct torch_file *ret, struct error *err);

/* Frees what *file holds. */
void torch_file_release(struct torch_file *file);

#endif
