#include "engine/onnx_file.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 64 << 10, ALIGNMENT = 16, BYTES_FREE = 16 << 20, BYTES_FACTOR = 6 };

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

/* protobuf-c allocates each message, string and array by itself; here they lie in chunks, and go together. */
struct onnx_arena {
    ProtobufCAllocator allocator;
    struct chunk *chunks; /* the newest first */
    size_t bytes_left;    /* that may still be handed out */
    size_t bytes_max;
    bool exhausted; /* more than that was asked for */
};

static bool add_chunk(struct onnx_arena *arena, size_t size)
{
    struct chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        return false;
    *chunk = (struct chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    return true;
}

static void *arena_alloc(void *data, size_t size)
{
    struct onnx_arena *arena = data;
    if (size > arena->bytes_left) {
        arena->exhausted = true;
        return NULL;
    }
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!arena->chunks || rounded > arena->chunks->size - arena->chunks->used)
        if (!add_chunk(arena, rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES))
            return NULL;
    void *block = arena->chunks->bytes + arena->chunks->used;
    arena->chunks->used += rounded;
    arena->bytes_left -= rounded < arena->bytes_left ? rounded : arena->bytes_left;
    return block;
}

/* protobuf-c frees its notes while it reads; they go with the rest. */
static void arena_keep(void *data, void *block)
{
    (void)data, (void)block;
}

static struct onnx_arena *arena_create(size_t file_bytes)
{
    struct onnx_arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return NULL;
    arena->allocator = (ProtobufCAllocator){arena_alloc, arena_keep, arena};
    arena->bytes_max = arena->bytes_left = BYTES_FREE + BYTES_FACTOR * file_bytes;
    return arena;
}

static void arena_free(struct onnx_arena *arena)
{
    while (arena && arena->chunks) {
        struct chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    free(arena);
}

/* ---- What others allocate ---- */

void *onnx_file_alloc(const struct onnx_file *file, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *block = arena_alloc(file->arena, bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

char *onnx_file_print(const struct onnx_file *file, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    char *text = len < 0 ? NULL : onnx_file_alloc(file, (size_t)len + 1, 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

enum status onnx_file_refuse_memory(const struct onnx_file *file, struct error *err)
{
    error_set(err, STATUS_TOO_LARGE, "the parts of this ONNX file of %zu bytes need more than %zu bytes of memory",
              file->bytes, file->arena->bytes_max);
    return error_hint(err, "a model of dense layers is small beside its parameters; export it again");
}

/* ---- The file ---- */

static enum status refuse_format(size_t len, struct error *err)
{
    error_set(err, STATUS_INVALID, "this is no ONNX file, or it is cut or damaged (%zu bytes)", len);
    return error_hint(err, "copy it again, or export it again in Python: torch.onnx.export(model, (x,), "
                           "\"model.onnx\", dynamo=True)");
}

static enum status unpack(struct onnx_file *file, const void *data, size_t len, struct error *err)
{
    struct onnx_arena *arena = file->arena;
    file->model = onnx__model__unpack(&arena->allocator, len, data);
    if (!file->model && arena->exhausted)
        return onnx_file_refuse_memory(file, err);
    if (!file->model || !file->model->has_ir_version)
        return refuse_format(len, err);
    if (file->model->graph)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "this ONNX model has no graph");
    return error_hint(err, "export the model again");
}

enum status onnx_file_parse(const void *data, size_t len, struct onnx_file **ret, struct error *err)
{
    if (len > ONNX_FILE_BYTES_MAX) {
        error_set(err, STATUS_TOO_LARGE, "this ONNX file has %zu bytes, at most %zu are read", len,
                  ONNX_FILE_BYTES_MAX);
        return error_hint(err, "save it with its tensors in a file beside it: external_data=True");
    }
    struct onnx_file *file = calloc(1, sizeof *file);
    struct onnx_arena *arena = file ? arena_create(len) : NULL;
    if (!arena) {
        free(file);
        return error_set(err, STATUS_NO_MEMORY, "no memory for an ONNX file of %zu bytes", len);
    }
    *file = (struct onnx_file){.bytes = len, .arena = arena};
    enum status status = unpack(file, data, len, err);
    if (status == STATUS_OK)
        *ret = file;
    else
        onnx_file_free(file);
    return status;
}

void onnx_file_free(struct onnx_file *file)
{
    if (!file)
        return;
    arena_free(file->arena);
    free(file);
}
