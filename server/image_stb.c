/* The one place where stb_image is compiled in (Debian 12 has v2.27).
 *
 * Its allocations come from here, for three reasons. They are counted against a budget, so that a picture cannot inflate
 * to more than it declared. They are zeroed: stb_image reads tables and planes that a broken JPEG never filled, and
 * zeros make that a wrong picture, the same one each time, rather than a walk off a table's end or another request's
 * memory. And they are kept in a list, so that what stb_image forgets when it gives up is freed all the same.
 */
#include "server/image_parts.h"

#include <limits.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Stands before each allocation; its size keeps the bytes after it aligned as malloc's. */
struct block {
    struct block *previous, *next;
    size_t size;
} __attribute__((aligned(16)));

/* Of the decode that runs on this thread. */
static _Thread_local struct {
    struct block *blocks;
    size_t left;
    size_t work_left;
    bool exceeded;  /* an allocation was refused because it passed the budget */
    bool no_memory; /* ... because there was no memory */
    bool overworked;
    jmp_buf give_up;
} budget;

/* The analyser loses track of which of the list's blocks were freed. NOLINTBEGIN(clang-analyzer-unix.Malloc) */

static void *budget_malloc(size_t size)
{
    if (size > budget.left) {
        budget.exceeded = true;
        return NULL;
    }
    struct block *block = calloc(1, sizeof *block + size);
    if (!block) {
        budget.no_memory = true;
        return NULL;
    }
    block->size = size;
    block->next = budget.blocks;
    if (block->next)
        block->next->previous = block;
    budget.blocks = block;
    budget.left -= size;
    return block + 1;
}

/* Takes the block out of the list; from then on it is the taker's. */
static struct block *budget_take(void *memory)
{
    struct block *block = (struct block *)memory - 1;
    if (block->next)
        block->next->previous = block->previous;
    if (block->previous)
        block->previous->next = block->next;
    else
        budget.blocks = block->next;
    budget.left += block->size;
    return block;
}

static void budget_free(void *memory)
{
    if (memory)
        free(budget_take(memory));
}

static void budget_free_all(void)
{
    for (struct block *block = budget.blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    budget.blocks = NULL;
}

static void *budget_realloc(void *memory, size_t old_size, size_t size)
{
    void *grown = budget_malloc(size);
    if (grown && memory) {
        memcpy(grown, memory, old_size < size ? old_size : size);
        budget_free(memory);
    }
    return grown;
}

/* NOLINTEND(clang-analyzer-unix.Malloc) */

static void budget_work(void)
{
    if (budget.work_left-- == 0)
        longjmp(budget.give_up, 1);
}

#define STBI_MALLOC(size)                      budget_malloc(size)
#define STBI_REALLOC_SIZED(memory, from, size) budget_realloc(memory, from, size)
#define STBI_FREE(memory)                      budget_free(memory)
/* Not an abort, for a sender's bytes must not end the program (one assertion fails for a good JPEG: the 256th code of a
 * Huffman table stands in the fast table under the number that means "none", and is then found the slow way). But
 * stb_image asserts once for each code of a deflate table that it builds, and builds both tables anew for each block,
 * even an empty one of ten bits: 2 MB of those took 7 s. So the assertions are where its work is counted and ended. */
#define STBI_ASSERT(condition) ((void)(condition), budget_work())
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR

/* A corrupt JPEG makes stb_image v2.27 add and shift ints beyond their range. The Makefile compiles this file with
 * -fwrapv, so that the sums wrap; a wrong pixel comes of it, and no index. These two checks of UndefinedBehaviorSanitizer
 * are therefore off for it: here for clang, and for gcc, which has no such pragma, by -fno-sanitize in the Makefile. */
#ifdef __clang__
#pragma clang attribute push(__attribute__((no_sanitize("shift", "signed-integer-overflow"))), apply_to = function)
#endif
/* Most of what stb_image offers is not used here. gcc says so at the end of the file, so this is not taken back. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#ifdef __clang__
#pragma clang attribute pop
#endif

static enum status refuse(const struct image_file *file, const struct image_header *header, struct error *err)
{
    const char *name = image_format_name(file->format), *reason = stbi_failure_reason();
    if (budget.no_memory)
        return error_set(err, STATUS_NO_MEMORY, "out of memory while reading a %s of %zux%zu", name, header->width,
                         header->height);
    if (!budget.exceeded && !budget.overworked)
        return image_refuse_broken(file, err, "%s", reason ? reason : "it ends early");
    error_set(err, STATUS_INVALID, "%s %s than its declared %zux%zu needs", name,
              budget.exceeded ? "inflates to more" : "has far more blocks of compressed data", header->width,
              header->height);
    error_hint(err, "the file's data does not belong to its header; save the picture again and send that");
    return STATUS_INVALID;
}

/* The pixels, still in the list; NULL if stb_image gave up or was made to. */
static uint8_t *load(const struct image_file *file, int *ret_width, int *ret_height, int *ret_channels)
{
    if (setjmp(budget.give_up) != 0) {
        budget.overworked = true;
        return NULL;
    }
    return stbi_load_from_memory(file->data, (int)file->len, ret_width, ret_height, ret_channels, 0);
}

enum status image_stb_read(const struct image_file *file, const struct image_header *header, uint8_t **ret_pixels,
                           size_t *ret_channels, struct error *err)
{
    if (file->len > INT_MAX)
        return image_refuse_kind(file, err, "%zu bytes, and %d are the most", file->len, INT_MAX);
    budget.left = header->budget_bytes;
    budget.work_left = header->work_max;
    budget.exceeded = budget.no_memory = budget.overworked = false;
    stbi__g_failure_reason = NULL;
    int width = 0, height = 0, channels = 0;
    uint8_t *pixels = load(file, &width, &height, &channels);
    enum status status = STATUS_OK;
    if (!pixels)
        status = refuse(file, header, err);
    else if ((size_t)width != header->width || (size_t)height != header->height)
        status = image_refuse_broken(file, err, "it declares two sizes, %zux%zu and %dx%d", header->width,
                                     header->height, width, height);
    if (status == STATUS_OK) {
        budget_take(pixels);
        *ret_pixels = pixels;
        *ret_channels = (size_t)channels;
    }
    budget_free_all();
    return status;
}

void image_stb_free(uint8_t *pixels)
{
    if (pixels)
        free((struct block *)(void *)pixels - 1);
}
