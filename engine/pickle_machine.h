/* What the opcodes of a pickle drive (see engine/pickle.h): a stack of values with marks in it, a memo of values by number,
 * and the memory that all of them live in. Every value that is made or pushed counts against PICKLE_VALUES_MAX. Used by
 * engine/pickle.c alone. */
#ifndef MLPD_ENGINE_PICKLE_MACHINE_H
#define MLPD_ENGINE_PICKLE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/pickle.h"
#include "engine/status.h"

struct pickle_machine {
    const unsigned char *start, *at, *end,
        *opcode; /* the pickle; what is read next; the opcode that runs, for refusals */
    const struct pickle_rules *rules;
    struct pickle *pickle;           /* that is being made: its blocks, and in the end its root */
    struct pickle_items stack, memo; /* on the heap; memo.count is how many of its places are filled */
    size_t *marks;                   /* heights of the stack, MARK by MARK */
    size_t mark_count, mark_capacity;
    size_t pushed;
    bool stopped;
    struct error *err;
};

/* False if out of memory. pickle_machine_stop in either case. */
bool pickle_machine_start(struct pickle_machine *machine);

/* Frees all but machine->pickle. */
void pickle_machine_stop(struct pickle_machine *machine);

/* ---- Refusals: STATUS_INVALID with the opcode's place, STATUS_NO_MEMORY, too few values on the stack ---- */

enum status pickle_machine_refuse(const struct pickle_machine *machine, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum status pickle_machine_refuse_memory(const struct pickle_machine *machine);
enum status pickle_machine_refuse_empty(const struct pickle_machine *machine);

/* ---- Memory that lives as long as the pickle; NULL or false if there is none ---- */

void *pickle_machine_allocate(struct pickle_machine *machine, size_t bytes);
struct pickle_value *pickle_machine_make(struct pickle_machine *machine, enum pickle_kind kind);

/* Makes room for `more` items in an array; one that grows leaves its old place unused. */
bool pickle_machine_reserve(struct pickle_machine *machine, struct pickle_items *items, size_t more);

/* ---- The stack ---- */

/* NULL for `value` is refused as out of memory, so that it may come from pickle_machine_make unseen. */
enum status pickle_machine_push(struct pickle_machine *machine, struct pickle_value *value);

/* How many values lie above the last mark: an opcode takes no value from below it. */
size_t pickle_machine_available(const struct pickle_machine *machine);

/* Takes the last `count` values, which stay where they are until the next push. NULL if there are fewer. */
struct pickle_value **pickle_machine_pop(struct pickle_machine *machine, size_t count);

/* The last value, which stays on the stack; NULL if there is none. */
struct pickle_value *pickle_machine_top(const struct pickle_machine *machine);

enum status pickle_machine_mark(struct pickle_machine *machine);

/* Takes all values above the last mark, and the mark; false if there is none. The values stay where they are until the next
 * push. */
bool pickle_machine_pop_marked(struct pickle_machine *machine, struct pickle_value ***ret_at, size_t *ret_count);

/* ---- The memo ---- */

/* Puts the last value into a place, and a value from a place onto the stack. */
enum status pickle_machine_put(struct pickle_machine *machine, uint64_t place);
enum status pickle_machine_get(struct pickle_machine *machine, uint64_t place);

#endif
