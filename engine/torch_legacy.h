/* The format in which torch.save wrote before torch 1.6 (and writes with _use_new_zipfile_serialization=False): pickles one
 * after another, a magic number, the version, what the machine was, the object itself and the list of its storages' keys;
 * then each storage, its number of elements in front of it. Called by torch_archive_open only. */
#ifndef MLPD_ENGINE_TORCH_LEGACY_H
#define MLPD_ENGINE_TORCH_LEGACY_H

#include "engine/status.h"
#include "engine/torch_archive.h"

/* Fills `archive`, whose source is set. On failure it may be half filled; torch_archive_free takes it. */
enum status torch_legacy_open(struct torch_archive *archive, struct error *err);

#endif
