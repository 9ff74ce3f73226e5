/* A strict and fast reader of JSON bodies that hold a tensor or pictures (RFC 8259, and nothing beyond it):
 *
 *     [[0, 0.5, ...], ...]                                numbers, nested or flat, of one shape throughout
 *     "iVBORw0KGgo..."  or  ["iVBOR...", ...]             base64 pictures
 *     {"inputs": EITHER}  or  {"instances": EITHER}       either of these, with "dtype": "float32" | "uint8" beside it
 *
 * The numbers go straight into float32, correctly rounded (as strtof rounds); one that overflows float32 is refused, as
 * are 01, 1., .5, +1, NaN, raw control characters, invalid UTF-8 or escapes, unknown and repeated keys, and text after
 * the end. Depth is bounded, not by recursion. Stateless; any thread may call it.
 */
#ifndef MLPD_SERVER_JSON_TENSOR_H
#define MLPD_SERVER_JSON_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"
#include "server/json_text.h"

enum { JSON_TENSOR_DIMS_MAX = 8 };

struct json_tensor {
    /* Set by the caller before the call: storage that is grown with realloc as needed; may be NULL and 0. */
    float *values;
    size_t values_capacity; /* in floats */
    struct json_string *strings;
    size_t strings_capacity;
    size_t values_max;  /* more numbers than this are STATUS_TOO_LARGE */
    size_t strings_max; /* likewise */

    /* What came. Exactly one of value_count and string_count is not zero. */
    size_t value_count;
    size_t shape[JSON_TENSOR_DIMS_MAX]; /* of the numbers, or (n) of the strings */
    size_t dims;                        /* 0 for a bare number or a bare string */
    size_t string_count;
    bool is_uint8; /* "dtype":"uint8": all values were checked to be whole and 0..255 */
};

/* Reads `len` bytes; text[len] must be readable and '\0'. Errors name line, column (bytes, from 1), what stands there and
 * what was expected; ragged arrays are refused with both lengths and where; a number that "dtype" does not allow, with its
 * index. `err` may be NULL. Storage stays the caller's to free, on failure too. */
enum status json_tensor_read(const char *text, size_t len, struct json_tensor *tensor, struct error *err);

#endif
