#include "engine/safetensors.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/byte_source.h"
#include "engine/dtypes.h"
#include "engine/file.h"
#include "engine/json_document.h"
#include "engine/utf8.h"

enum { PREFIX_BYTES = 8, ALIGNMENT = 64, NAME_BYTES_MAX = 4096, NAME_SHOWN_MAX = 120 };

static const size_t HEADER_BYTES_MAX = 100000000; /* the format's own limit */
static const size_t FILE_BYTES_MAX = (size_t)1 << 40;

static const char DTYPE_HINT[] = "save the parameters as float32: save_file({k: v.float().contiguous() for k, v in "
                                 "model.state_dict().items()}, \"model.safetensors\")";
static const char SAVE_HINT[] = "save the model again: save_file(model.state_dict(), \"model.safetensors\")";
static const char CUT_HINT[] = "the file was perhaps not copied to its end; copy it again, or save the model again";

/* Where a tensor's bytes lie in the data behind the header. */
struct span {
    size_t begin, end;
    const struct dtype *dtype; /* of its elements */
    size_t tensor;             /* which of the state dict's */
};

/* A state dict that is being read. */
struct reading {
    struct state_dict *dict;
    struct span *spans; /* one for each tensor */
    size_t data_bytes;  /* that stand behind the header */
    struct error *err;
};

/* ---- One tensor's entry: "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} ---- */

static enum status refuse_entry(const struct reading *reading, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status refuse_entry(const struct reading *reading, const char *name, const char *format, ...)
{
    char what[224];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    size_t len = strlen(name);
    int shown = utf8_cut(name, len, NAME_SHOWN_MAX);
    error_set(reading->err, STATUS_INVALID, "tensor \"%.*s%s\": %s", shown, name, (size_t)shown < len ? "..." : "",
              what);
    return error_hint(reading->err, "%s", SAVE_HINT);
}

static enum status read_dtype(const struct reading *reading, const cJSON *item, struct tensor *tensor,
                              struct span *span)
{
    if (!cJSON_IsString(item))
        return refuse_entry(reading, tensor->name, "dtype is %s, a string was expected", json_document_kind(item));
    const char *dtype = item->valuestring;
    span->dtype = dtype_of_safetensors(dtype);
    if (span->dtype) {
        tensor->dtype = span->dtype->name;
        return STATUS_OK;
    }
    bool shown = strlen(dtype) <= 16 && utf8_is_printable(dtype, strlen(dtype));
    error_set(reading->err, STATUS_UNSUPPORTED, "tensor \"%.*s\": its dtype is %s; these are read: %s",
              utf8_cut(tensor->name, strlen(tensor->name), NAME_SHOWN_MAX), tensor->name,
              shown ? dtype : "no name of one", dtype_safetensors_names());
    return error_hint(reading->err, "%s", DTYPE_HINT);
}

static enum status read_shape(const struct reading *reading, const cJSON *item, struct tensor *tensor)
{
    if (!cJSON_IsArray(item))
        return refuse_entry(reading, tensor->name, "shape is %s, an array was expected", json_document_kind(item));
    tensor->count = 1;
    for (const cJSON *size = item->child; size; size = size->next) {
        if (tensor->dims == TENSOR_DIMS_MAX)
            return refuse_entry(reading, tensor->name, "its shape has more than %d dimensions", TENSOR_DIMS_MAX);
        size_t *ret_size = &tensor->shape[tensor->dims];
        if (!json_document_whole(size, ret_size))
            return refuse_entry(reading, tensor->name, "shape[%zu] is no whole number from 0 to 2^53 - 1",
                                tensor->dims);
        if (__builtin_mul_overflow(tensor->count, *ret_size, &tensor->count))
            return refuse_entry(reading, tensor->name, "the product of its shape overflows");
        tensor->dims++;
    }
    return STATUS_OK;
}

static enum status read_offsets(const struct reading *reading, const cJSON *item, const char *name,
                                struct span *span)
{
    const cJSON *begin = cJSON_IsArray(item) ? item->child : NULL, *end = begin ? begin->next : NULL;
    if (!end || end->next)
        return refuse_entry(reading, name, "data_offsets must be an array of two numbers, [begin, end]");
    if (!json_document_whole(begin, &span->begin) || !json_document_whole(end, &span->end))
        return refuse_entry(reading, name, "data_offsets must be whole numbers from 0 to 2^53 - 1");
    if (span->begin > span->end)
        return refuse_entry(reading, name, "data_offsets are [%zu, %zu]: the begin lies behind the end",
                            span->begin, span->end);
    return STATUS_OK;
}

static enum status check_length(const struct reading *reading, const struct tensor *tensor, const struct span *span)
{
    size_t bytes;
    if (__builtin_mul_overflow(tensor->count, span->dtype->bytes, &bytes))
        return refuse_entry(reading, tensor->name, "the product of its shape overflows");
    if (span->end - span->begin != bytes)
        return refuse_entry(reading, tensor->name,
                            "its shape needs %zu bytes, its data_offsets [%zu, %zu] hold %zu", bytes, span->begin,
                            span->end, span->end - span->begin);
    return STATUS_OK;
}

enum field { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELD_COUNT };

static const char *const FIELD_NAMES[FIELD_COUNT] = {"dtype", "shape", "data_offsets"};

static enum status read_field(const struct reading *reading, const cJSON *item, enum field field,
                              struct tensor *tensor, struct span *span)
{
    if (field == FIELD_DTYPE)
        return read_dtype(reading, item, tensor, span);
    if (field == FIELD_SHAPE)
        return read_shape(reading, item, tensor);
    return read_offsets(reading, item, tensor->name, span);
}

static enum field find_field(const char *key)
{
    enum field field = FIELD_DTYPE;
    while (field < FIELD_COUNT && strcmp(FIELD_NAMES[field], key) != 0)
        field++;
    return field;
}

/* Reads the entry's fields, each of which must stand there once. */
static enum status read_fields(const struct reading *reading, const cJSON *entry, struct tensor *tensor,
                               struct span *span)
{
    bool seen[FIELD_COUNT] = {false};
    for (const cJSON *item = entry->child; item; item = item->next) {
        enum field field = find_field(item->string);
        if (field == FIELD_COUNT || seen[field])
            return refuse_entry(reading, tensor->name, "its keys must be dtype, shape and data_offsets, each once");
        seen[field] = true;
        enum status status = read_field(reading, item, field, tensor, span);
        if (status != STATUS_OK)
            return status;
    }
    for (enum field field = FIELD_DTYPE; field < FIELD_COUNT; field++)
        if (!seen[field])
            return refuse_entry(reading, tensor->name, "%s is missing", FIELD_NAMES[field]);
    return STATUS_OK;
}

static enum status read_entry(const struct reading *reading, const cJSON *entry, struct tensor *tensor,
                              struct span *span)
{
    size_t len = strlen(entry->string);
    if (len > NAME_BYTES_MAX || !utf8_is_printable(entry->string, len)) {
        error_set(reading->err, STATUS_INVALID,
                  "the header names a tensor with more than %d bytes, control characters or broken UTF-8",
                  NAME_BYTES_MAX);
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    tensor->name = strdup(entry->string);
    if (!tensor->name)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for the name of a tensor");
    span->tensor = (size_t)(tensor - reading->dict->tensors);
    if (!cJSON_IsObject(entry))
        return refuse_entry(reading, tensor->name, "its entry is %s, an object was expected",
                            json_document_kind(entry));
    enum status status = read_fields(reading, entry, tensor, span);
    return status == STATUS_OK ? check_length(reading, tensor, span) : status;
}

/* ---- All entries ---- */

static bool is_metadata(const cJSON *entry)
{
    return strcmp(entry->string, "__metadata__") == 0;
}

static enum status check_metadata(const struct reading *reading, const cJSON *entry)
{
    bool strings = cJSON_IsObject(entry);
    for (const cJSON *item = entry->child; strings && item; item = item->next)
        strings = cJSON_IsString(item);
    if (!strings) {
        error_set(reading->err, STATUS_INVALID, "__metadata__ must be an object of strings");
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    return STATUS_OK;
}

static enum status check_metadata_entries(const struct reading *reading, const cJSON *header, size_t *ret_tensors)
{
    size_t entries = 0, metadata = 0;
    for (const cJSON *entry = header->child; entry; entry = entry->next, entries++) {
        if (!is_metadata(entry))
            continue;
        if (++metadata > 1) {
            error_set(reading->err, STATUS_INVALID, "__metadata__ stands twice in the header");
            return error_hint(reading->err, "%s", SAVE_HINT);
        }
        enum status status = check_metadata(reading, entry);
        if (status != STATUS_OK)
            return status;
    }
    *ret_tensors = entries - metadata;
    return STATUS_OK;
}

static enum status read_entries(struct reading *reading, const cJSON *header)
{
    size_t count = 0;
    enum status status = check_metadata_entries(reading, header, &count);
    if (status != STATUS_OK)
        return status;
    struct state_dict *dict = reading->dict;
    dict->tensors = calloc(count ? count : 1, sizeof *dict->tensors);
    reading->spans = calloc(count ? count : 1, sizeof *reading->spans);
    if (!dict->tensors || !reading->spans)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for %zu tensors", count);
    for (const cJSON *entry = header->child; entry; entry = entry->next) {
        if (is_metadata(entry))
            continue;
        size_t i = dict->count++;
        status = read_entry(reading, entry, &dict->tensors[i], &reading->spans[i]);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* ---- The data: tensors cover it without gap or overlap, as the format demands ---- */

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* `end` is that of the last tensor. */
static enum status check_data_bytes(const struct reading *reading, size_t end)
{
    if (end == reading->data_bytes)
        return STATUS_OK;
    if (end < reading->data_bytes) {
        error_set(reading->err, STATUS_INVALID,
                  "the header describes %zu bytes of data, %zu are there: %zu belong to no tensor", end,
                  reading->data_bytes, reading->data_bytes - end);
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    error_set(reading->err, STATUS_INVALID, "the file is cut: its header promises %zu bytes of data, %zu are there",
              end, reading->data_bytes);
    return error_hint(reading->err, "%s", CUT_HINT);
}

static enum status check_tiling(const struct reading *reading)
{
    size_t end = 0, count = reading->dict->count;
    qsort(reading->spans, count, sizeof *reading->spans, compare_spans);
    for (size_t i = 0; i < count; i++) {
        const struct span *span = &reading->spans[i];
        if (span->begin != end)
            return refuse_entry(reading, reading->dict->tensors[span->tensor].name,
                                "its data begins at %zu, the data before it ends at %zu: %s", span->begin, end,
                                span->begin < end ? "they overlap" : "there is a gap between them");
        end = span->end;
    }
    return check_data_bytes(reading, end);
}

/* Gives each tensor its place among the floats, in the order of the data. */
static enum status place_tensors(const struct reading *reading)
{
    struct state_dict *dict = reading->dict;
    size_t elements = 0;
    for (size_t i = 0; i < dict->count; i++)
        elements +=
            dict->tensors[i].count; /* each has a byte of the file or more, so the sum is far from overflow */
    size_t bytes = (elements * sizeof(float) / ALIGNMENT + 1) * ALIGNMENT;
    float *at = dict->storage = aligned_alloc(ALIGNMENT, bytes);
    if (!at)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for %zu bytes of parameters", bytes);
    for (size_t i = 0; i < dict->count; i++) {
        struct tensor *tensor = &dict->tensors[reading->spans[i].tensor];
        tensor->data = at;
        at += tensor->count;
    }
    return STATUS_OK;
}

/* Reads the data in the file's order: float32 to where it belongs, other types by way of `scratch`. */
static enum status load_spans(const struct reading *reading, const struct byte_source *source, size_t data_begin,
                              unsigned char *scratch)
{
    float *at = reading->dict->storage;
    for (size_t i = 0; i < reading->dict->count; i++) {
        const struct span *span = &reading->spans[i];
        size_t len = span->end - span->begin, count = len / span->dtype->bytes;
        bool is_float = span->dtype == dtype_of_safetensors("F32");
        enum status status = byte_source_read(source, data_begin + span->begin, is_float ? (void *)at : scratch,
                                              len, reading->err);
        if (status != STATUS_OK)
            return status;
        if (!is_float)
            span->dtype->to_floats(at, scratch, count, span->dtype->bytes);
        at += count;
    }
    return STATUS_OK;
}

static enum status load_data(const struct reading *reading, const struct byte_source *source, size_t data_begin)
{
    size_t largest = 0;
    for (size_t i = 0; i < reading->dict->count; i++) {
        const struct span *span = &reading->spans[i];
        if (span->dtype != dtype_of_safetensors("F32") && span->end - span->begin > largest)
            largest = span->end - span->begin;
    }
    unsigned char *scratch = malloc(largest + 1);
    if (!scratch)
        return error_set(reading->err, STATUS_NO_MEMORY, "no memory for a tensor of %zu bytes", largest);
    enum status status = load_spans(reading, source, data_begin, scratch);
    free(scratch);
    return status;
}

/* ---- The whole ---- */

static enum status read_header_object(struct reading *reading, const cJSON *header)
{
    enum status status = read_entries(reading, header);
    if (status == STATUS_OK)
        status = state_dict_index(reading->dict, reading->err);
    if (status == STATUS_OK)
        status = check_tiling(reading);
    if (status == STATUS_OK)
        status = place_tensors(reading);
    return status;
}

/* Makes the state dict that the header describes, its storage not yet filled. header[len] is '\0'. */
static enum status read_header(struct reading *reading, const char *header, size_t len)
{
    cJSON *json = NULL;
    if (header[0] != '{') {
        error_set(reading->err, STATUS_INVALID,
                  "this is no safetensors file: its header does not begin with \"{\"");
        return error_hint(reading->err, "%s", SAVE_HINT);
    }
    enum status status = json_document_parse(header, len, &json, reading->err);
    if (status != STATUS_OK)
        return error_prefix(reading->err, "header: ");
    reading->dict = calloc(1, sizeof *reading->dict);
    status = reading->dict ? read_header_object(reading, json)
                           : error_set(reading->err, STATUS_NO_MEMORY, "no memory for a state dict");
    cJSON_Delete(json);
    return status;
}

/* Reads the header's length and checks it against the file's. */
static enum status read_prefix(const unsigned char prefix[PREFIX_BYTES], size_t file_bytes,
                               size_t *ret_header_bytes, struct error *err)
{
    uint64_t len;
    memcpy(&len, prefix, sizeof len);
    if (len > HEADER_BYTES_MAX) {
        error_set(err, STATUS_INVALID,
                  "this is no safetensors file: its header would have %ju bytes, at most %zu are allowed",
                  (uintmax_t)len, HEADER_BYTES_MAX);
        return error_hint(err, "%s", SAVE_HINT);
    }
    if (len > file_bytes - PREFIX_BYTES) {
        error_set(err, STATUS_INVALID, "the file is cut: its header has %ju bytes, %zu are there", (uintmax_t)len,
                  file_bytes - PREFIX_BYTES);
        return error_hint(err, "%s", CUT_HINT);
    }
    if (len < 2) {
        error_set(err, STATUS_INVALID,
                  "this is no safetensors file: its header has %ju bytes, and \"{}\" is the shortest",
                  (uintmax_t)len);
        return error_hint(err, "%s", SAVE_HINT);
    }
    *ret_header_bytes = (size_t)len;
    return STATUS_OK;
}

static enum status refuse_short(size_t len, struct error *err)
{
    error_set(err, STATUS_INVALID, "the file has %zu bytes, and a safetensors file begins with 8 bytes of length",
              len);
    return error_hint(err, "%s", CUT_HINT);
}

static enum status read_header_bytes(const struct byte_source *source, size_t *ret_len, char **ret_header,
                                     struct error *err)
{
    unsigned char prefix[PREFIX_BYTES];
    if (source->size < PREFIX_BYTES)
        return refuse_short(source->size, err);
    enum status status = byte_source_read(source, 0, prefix, PREFIX_BYTES, err);
    if (status == STATUS_OK)
        status = read_prefix(prefix, source->size, ret_len, err);
    if (status != STATUS_OK)
        return status;
    char *header = calloc(1, *ret_len + 1); /* the NUL behind it is what json_document_parse asks for */
    if (!header)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a header of %zu bytes", *ret_len);
    status = byte_source_read(source, PREFIX_BYTES, header, *ret_len, err);
    if (status == STATUS_OK)
        *ret_header = header;
    else
        free(header);
    return status;
}

static enum status read_source(const struct byte_source *source, struct state_dict **ret, struct error *err)
{
    size_t header_bytes = 0;
    char *header = NULL;
    enum status status = read_header_bytes(source, &header_bytes, &header, err);
    if (status != STATUS_OK)
        return status;
    struct reading reading = {.data_bytes = source->size - PREFIX_BYTES - header_bytes, .err = err};
    status = read_header(&reading, header, header_bytes);
    free(header);
    if (status == STATUS_OK)
        status = load_data(&reading, source, PREFIX_BYTES + header_bytes);
    free(reading.spans);
    if (status == STATUS_OK)
        *ret = reading.dict;
    else
        state_dict_free(reading.dict);
    return status;
}

enum status safetensors_parse(const void *data, size_t len, struct state_dict **ret, struct error *err)
{
    struct byte_source source = byte_source_of_memory(data, len);
    return read_source(&source, ret, err);
}

enum status safetensors_read(const char *path, struct state_dict **ret, struct error *err)
{
    struct file file;
    enum status status = file_open(path, FILE_BYTES_MAX, &file, err);
    if (status != STATUS_OK)
        return status;
    struct byte_source source = byte_source_of_file(&file);
    status = read_source(&source, ret, err);
    file_close(&file);
    return status == STATUS_OK ? status : file_error(path, status, err);
}
