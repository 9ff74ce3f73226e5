#include "engine/pickle_machine.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10, FIRST_CAPACITY = 64 };

static const char SAVE_HINT[] = "save the parameters alone: torch.save(model.state_dict(), \"model.pth\")";

/* Values live in blocks and go away together: their number is bounded, and so no value frees another. */
struct pickle_block {
    struct pickle_block *next;
    size_t used, bytes;
    max_align_t data[];
};

/* ---- Refusals ---- */

enum status pickle_machine_refuse(const struct pickle_machine *machine, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    error_set(machine->err, STATUS_INVALID, "pickle, byte %zu: %s", (size_t)(machine->opcode - machine->start),
              what);
    return error_hint(machine->err, "%s", SAVE_HINT);
}

enum status pickle_machine_refuse_memory(const struct pickle_machine *machine)
{
    return error_set(machine->err, STATUS_NO_MEMORY, "no memory for the pickle's values");
}

/* ---- Memory ---- */

void *pickle_machine_allocate(struct pickle_machine *machine, size_t bytes)
{
    struct pickle_block *block = machine->pickle->blocks;
    bytes = (bytes + _Alignof(max_align_t) - 1) / _Alignof(max_align_t) * _Alignof(max_align_t);
    if (!block || bytes > block->bytes - block->used) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = malloc(sizeof *block + room);
        if (!block)
            return NULL;
        *block = (struct pickle_block){.next = machine->pickle->blocks, .bytes = room};
        machine->pickle->blocks = block;
    }
    void *at = (char *)block->data + block->used;
    block->used += bytes;
    return at;
}

struct pickle_value *pickle_machine_make(struct pickle_machine *machine, enum pickle_kind kind)
{
    struct pickle_value *value = pickle_machine_allocate(machine, sizeof *value);
    if (value) {
        memset(value, 0, sizeof *value);
        value->kind = kind;
    }
    return value;
}

/* Makes room for `more` items in an array among the blocks; an array that grew leaves its old place unused. */
bool pickle_machine_reserve(struct pickle_machine *machine, struct pickle_items *items, size_t more)
{
    if (more <= items->capacity - items->count)
        return true;
    size_t capacity = items->capacity * 2 > items->count + more ? items->capacity * 2 : items->count + more;
    struct pickle_value **at = pickle_machine_allocate(machine, capacity * sizeof *at);
    if (!at)
        return false;
    if (items->count > 0)
        memcpy(at, items->at, items->count * sizeof *at);
    items->at = at;
    items->capacity = capacity;
    return true;
}

/* ---- The stack ---- */

enum status pickle_machine_push(struct pickle_machine *machine, struct pickle_value *value)
{
    struct pickle_items *stack = &machine->stack;
    if (!value)
        return pickle_machine_refuse_memory(machine);
    if (++machine->pushed > PICKLE_VALUES_MAX) {
        error_set(machine->err, STATUS_TOO_LARGE, "the pickle has more than the %d values that are read",
                  PICKLE_VALUES_MAX);
        return error_hint(machine->err, "%s", SAVE_HINT);
    }
    if (stack->count == stack->capacity) {
        size_t capacity = 2 * stack->capacity;
        struct pickle_value **at = realloc(stack->at, capacity * sizeof *at);
        if (!at)
            return pickle_machine_refuse_memory(machine);
        stack->at = at;
        stack->capacity = capacity;
    }
    stack->at[stack->count++] = value;
    return STATUS_OK;
}

/* Room for the first values, so that there is a place on the stack before there is a value. */
static bool start_stack(struct pickle_machine *machine)
{
    machine->stack.capacity = FIRST_CAPACITY;
    machine->stack.at = malloc(machine->stack.capacity * sizeof(struct pickle_value *));
    return machine->stack.at != NULL;
}

/* How many values lie above the last mark: an opcode takes no value from below it. */
size_t pickle_machine_available(const struct pickle_machine *machine)
{
    size_t floor = machine->mark_count ? machine->marks[machine->mark_count - 1] : 0;
    return machine->stack.count - floor;
}

/* NULL if there are fewer than `count` values. */
struct pickle_value **pickle_machine_pop(struct pickle_machine *machine, size_t count)
{
    if (pickle_machine_available(machine) < count)
        return NULL;
    machine->stack.count -= count;
    return machine->stack.at + machine->stack.count;
}

struct pickle_value *pickle_machine_top(const struct pickle_machine *machine)
{
    return pickle_machine_available(machine) > 0 ? machine->stack.at[machine->stack.count - 1] : NULL;
}

enum status pickle_machine_refuse_empty(const struct pickle_machine *machine)
{
    return pickle_machine_refuse(machine, "the opcode takes more values than there are");
}

/* Takes all values above the last mark, and the mark. */
bool pickle_machine_pop_marked(struct pickle_machine *machine, struct pickle_value ***ret_at, size_t *ret_count)
{
    if (machine->mark_count == 0)
        return false;
    size_t height = machine->marks[--machine->mark_count];
    *ret_count = machine->stack.count - height;
    *ret_at = machine->stack.at + height;
    machine->stack.count = height;
    return true;
}

enum status pickle_machine_mark(struct pickle_machine *machine)
{
    if (machine->mark_count == machine->mark_capacity) {
        size_t capacity = machine->mark_capacity ? 2 * machine->mark_capacity : FIRST_CAPACITY;
        if (capacity > PICKLE_VALUES_MAX)
            return pickle_machine_refuse(machine, "there are more than %zu marks", machine->mark_capacity);
        size_t *marks = realloc(machine->marks, capacity * sizeof *marks);
        if (!marks)
            return pickle_machine_refuse_memory(machine);
        machine->marks = marks;
        machine->mark_capacity = capacity;
    }
    machine->marks[machine->mark_count++] = machine->stack.count;
    return STATUS_OK;
}

/* ---- The memo ---- */

static enum status grow_memo(struct pickle_machine *machine, size_t count)
{
    struct pickle_items *memo = &machine->memo;
    size_t capacity = count > 2 * memo->capacity ? count : 2 * memo->capacity;
    struct pickle_value **at = realloc(memo->at, capacity * sizeof *at);
    if (!at)
        return pickle_machine_refuse_memory(machine);
    memset(at + memo->capacity, 0, (capacity - memo->capacity) * sizeof *at);
    memo->at = at;
    memo->capacity = capacity;
    return STATUS_OK;
}

enum status pickle_machine_put(struct pickle_machine *machine, uint64_t place)
{
    struct pickle_value *value = pickle_machine_top(machine);
    struct pickle_items *memo = &machine->memo;
    if (!value)
        return pickle_machine_refuse_empty(machine);
    if (place >= PICKLE_VALUES_MAX)
        return pickle_machine_refuse(machine, "place %ju of the memo is beyond the %d that are kept",
                                     (uintmax_t)place, PICKLE_VALUES_MAX);
    if (place >= memo->capacity) {
        enum status status = grow_memo(machine, (size_t)place + 1);
        if (status != STATUS_OK)
            return status;
    }
    memo->count += memo->at[place] == NULL;
    memo->at[place] = value;
    return STATUS_OK;
}

enum status pickle_machine_get(struct pickle_machine *machine, uint64_t place)
{
    const struct pickle_items *memo = &machine->memo;
    if (place >= memo->capacity || !memo->at[place])
        return pickle_machine_refuse(machine, "place %ju of the memo is empty", (uintmax_t)place);
    return pickle_machine_push(machine, memo->at[place]);
}

/* ---- Beginning and end ---- */

bool pickle_machine_start(struct pickle_machine *machine)
{
    machine->pickle = calloc(1, sizeof *machine->pickle);
    return machine->pickle && start_stack(machine);
}

void pickle_machine_stop(struct pickle_machine *machine)
{
    free(machine->stack.at);
    free(machine->memo.at);
    free(machine->marks);
}

void pickle_free(struct pickle *pickle)
{
    if (!pickle)
        return;
    for (struct pickle_block *block = pickle->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(pickle);
}
