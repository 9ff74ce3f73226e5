/* The JSON of model files (a safetensors header, model.json), read by cJSON and checked where cJSON is lenient.
 * Bodies of requests have a reader of their own. Any thread may call it. */
#ifndef MLPD_ENGINE_JSON_DOCUMENT_H
#define MLPD_ENGINE_JSON_DOCUMENT_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"

/* Parses `len` bytes that hold one JSON object, with white space around it and nothing else; text[len] must be '\0'.
 * On success *ret is the caller's, to be freed with cJSON_Delete. */
enum status json_document_parse(const char *text, size_t len, cJSON **ret, struct error *err);

/* Whether `item` is a whole number from 0 to 2^53 - 1 (beyond that a double skips numbers); *ret_value is it. */
bool json_document_whole(const cJSON *item, size_t *ret_value);

/* "a string", "an array", ...: what `item` is, for the error that expected something else. */
const char *json_document_kind(const cJSON *item);

#endif
