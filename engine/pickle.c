#include "engine/pickle.h"

#include <string.h>

#include "engine/pickle_machine.h"

enum { PROTOCOL_MAX = 5 };

static const char SAVE_HINT[] = "save the parameters alone: torch.save(model.state_dict(), \"model.pth\")";

/* One opcode: what stands behind it in the pickle, and what it does. */
struct opcode {
    const char *name;
    enum status (*run)(struct pickle_machine *machine, const struct opcode *opcode,
                       uint64_t operand); /* NULL: refused */
    size_t operand_bytes;                 /* of an unsigned number, little-endian, that follows */
    enum pickle_kind kind;                /* of the value that it makes or adds to */
    size_t count; /* values that it takes; 0 for those above the last mark. For NEWTRUE and NEWFALSE, their value */
};

static enum status refuse_cut(const struct pickle_machine *machine)
{
    return pickle_machine_refuse(machine, "the pickle ends inside an opcode");
}

static enum status run_mark(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    (void)opcode, (void)operand;
    return pickle_machine_mark(machine);
}

/* ---- None, numbers, strings ---- */

static enum status push_integer(struct pickle_machine *machine, enum pickle_kind kind, int64_t integer)
{
    struct pickle_value *value = pickle_machine_make(machine, kind);
    if (value)
        value->integer = integer;
    return pickle_machine_push(machine, value);
}

/* True, False, and whole numbers without a sign. */
static enum status run_unsigned(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    return push_integer(machine, opcode->kind, (int64_t)(opcode->operand_bytes ? operand : opcode->count));
}

static enum status run_int32(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    return push_integer(machine, opcode->kind, (int32_t)(uint32_t)operand);
}

/* Eight bytes, the highest first. */
static enum status run_float(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value *value = pickle_machine_make(machine, opcode->kind);
    uint64_t bits = __builtin_bswap64(operand);
    if (value)
        memcpy(&value->real, &bits, sizeof bits);
    return pickle_machine_push(machine, value);
}

/* The next `len` bytes, which are taken, not copied. */
static enum status run_text(struct pickle_machine *machine, const struct opcode *opcode, uint64_t len)
{
    if (len > (size_t)(machine->end - machine->at))
        return pickle_machine_refuse(machine, "the %ju bytes of %s would reach behind the pickle's end",
                                     (uintmax_t)len, opcode->name);
    struct pickle_value *value = pickle_machine_make(machine, opcode->kind);
    if (value)
        value->text = (struct pickle_text){(const char *)machine->at, (size_t)len};
    machine->at += len;
    return pickle_machine_push(machine, value);
}

/* A whole number of `len` bytes: two's complement, the lowest byte first. */
static enum status run_long(struct pickle_machine *machine, const struct opcode *opcode, uint64_t len)
{
    uint64_t bits = 0;
    if (len > (size_t)(machine->end - machine->at) || len > 8)
        return run_text(machine, opcode, len);
    memcpy(&bits, machine->at, len);
    if (len > 0 && len < 8 && machine->at[len - 1] & 0x80)
        bits |= UINT64_MAX << (8 * len);
    machine->at += len;
    return push_integer(machine, PICKLE_INT, (int64_t)bits);
}

/* ---- Lists, tuples, sets, dicts ---- */

/* None, and an empty list, tuple, set or dict. */
static enum status run_empty(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    (void)operand;
    return pickle_machine_push(machine, pickle_machine_make(machine, opcode->kind));
}

/* What an opcode takes from the stack: opcode->count values, or all above the last mark if that is 0. The values lie above
 * the stack's top until the next push. */
static enum status take(struct pickle_machine *machine, const struct opcode *opcode, struct pickle_value ***ret_at,
                        size_t *ret_count)
{
    if (opcode->count == 0)
        return pickle_machine_pop_marked(machine, ret_at, ret_count)
                   ? STATUS_OK
                   : pickle_machine_refuse(machine, "there is no mark");
    *ret_count = opcode->count;
    *ret_at = pickle_machine_pop(machine, opcode->count);
    return *ret_at ? STATUS_OK : pickle_machine_refuse_empty(machine);
}

static enum status append(struct pickle_machine *machine, struct pickle_items *items, struct pickle_value **at,
                          size_t count)
{
    if (!pickle_machine_reserve(machine, items, count))
        return pickle_machine_refuse_memory(machine);
    if (count > 0)
        memcpy(items->at + items->count, at, count * sizeof *at);
    items->count += count;
    return STATUS_OK;
}

/* A list, tuple, set or dict of what lies on the stack. */
static enum status run_collect(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at, *value = pickle_machine_make(machine, opcode->kind);
    size_t count;
    (void)operand;
    enum status status = take(machine, opcode, &at, &count);
    if (status != STATUS_OK)
        return status;
    if (!value)
        return pickle_machine_refuse_memory(machine);
    if (opcode->kind == PICKLE_DICT && count % 2 != 0)
        return pickle_machine_refuse(machine, "a key has no value");
    status = append(machine, &value->items, at, count);
    return status == STATUS_OK ? pickle_machine_push(machine, value) : status;
}

/* Adds to the list, set or dict below what the opcode takes, or to an object, which keeps what its class would be given. */
static enum status run_add(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at;
    size_t count;
    (void)operand;
    enum status status = take(machine, opcode, &at, &count);
    if (status != STATUS_OK)
        return status;
    struct pickle_value *value = pickle_machine_top(machine);
    if (!value || (value->kind != opcode->kind && value->kind != PICKLE_OBJECT))
        return pickle_machine_refuse(machine, "there is nothing that %s could add to", opcode->name);
    if (opcode->kind == PICKLE_DICT && count % 2 != 0)
        return pickle_machine_refuse(machine, "a key has no value");
    return append(machine, value->kind == PICKLE_OBJECT ? &value->object->items : &value->items, at, count);
}

/* ---- The stack and the memo ---- */

static enum status run_pop(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    (void)opcode, (void)operand;
    if (pickle_machine_available(machine) == 0 && machine->mark_count > 0) {
        machine->mark_count--;
        return STATUS_OK;
    }
    return pickle_machine_pop(machine, 1) ? STATUS_OK : pickle_machine_refuse_empty(machine);
}

static enum status run_pop_mark(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at;
    size_t count;
    (void)operand;
    return take(machine, opcode, &at, &count);
}

static enum status run_dup(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    (void)opcode, (void)operand;
    struct pickle_value *value = pickle_machine_top(machine);
    return value ? pickle_machine_push(machine, value) : pickle_machine_refuse_empty(machine);
}

/* MEMOIZE takes the next free place, as Python counts them. */
static enum status run_put(struct pickle_machine *machine, const struct opcode *opcode, uint64_t place)
{
    return pickle_machine_put(machine, opcode->operand_bytes ? place : machine->memo.count);
}

static enum status run_get(struct pickle_machine *machine, const struct opcode *opcode, uint64_t place)
{
    (void)opcode;
    return pickle_machine_get(machine, place);
}

/* ---- Classes, calls, objects ---- */

static enum status push_global(struct pickle_machine *machine, struct pickle_text module, struct pickle_text name)
{
    struct pickle_value *value = pickle_machine_make(machine, PICKLE_GLOBAL);
    if (module.len == 0 || name.len == 0)
        return pickle_machine_refuse(machine, "the name of a class is empty");
    if (value) {
        value->global[0] = module;
        value->global[1] = name;
    }
    return pickle_machine_push(machine, value);
}

/* Text up to the next newline, which is taken too. */
static bool take_line(struct pickle_machine *machine, struct pickle_text *ret)
{
    size_t left = (size_t)(machine->end - machine->at);
    const unsigned char *newline = left ? memchr(machine->at, '\n', left) : NULL;
    if (!newline)
        return false;
    *ret = (struct pickle_text){(const char *)machine->at, (size_t)(newline - machine->at)};
    machine->at = newline + 1;
    return true;
}

static enum status run_global(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_text module, name;
    (void)opcode, (void)operand;
    if (!take_line(machine, &module) || !take_line(machine, &name))
        return refuse_cut(machine);
    return push_global(machine, module, name);
}

static enum status run_stack_global(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at = pickle_machine_pop(machine, opcode->count);
    (void)operand;
    if (!at)
        return pickle_machine_refuse_empty(machine);
    if (at[0]->kind != PICKLE_STRING || at[1]->kind != PICKLE_STRING)
        return pickle_machine_refuse(machine, "the name of a class is no string");
    return push_global(machine, at[0]->text, at[1]->text);
}

static enum status push_object(struct pickle_machine *machine, struct pickle_value *const *parts, bool is_call)
{
    struct pickle_value *value = pickle_machine_make(machine, PICKLE_OBJECT);
    struct pickle_object *object = pickle_machine_allocate(machine, sizeof *object);
    if (parts[1]->kind != PICKLE_TUPLE)
        return pickle_machine_refuse(machine, "the arguments of a call are no tuple");
    if (!value || !object)
        return pickle_machine_refuse_memory(machine);
    *object = (struct pickle_object){.made_by = parts[0], .args = parts[1], .is_call = is_call};
    value->object = object;
    return pickle_machine_push(machine, value);
}

static enum status refuse_call(const struct pickle_machine *machine, const struct pickle_value *value)
{
    char what[200];
    error_set(machine->err, STATUS_UNSUPPORTED,
              "pickle, byte %zu: it would call %s, which is none of the calls that are read",
              (size_t)(machine->opcode - machine->start), pickle_describe(value, what, sizeof what));
    return error_hint(machine->err, "nothing was called; %s", SAVE_HINT);
}

static enum status run_reduce(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at = pickle_machine_pop(machine, opcode->count);
    (void)operand;
    if (!at)
        return pickle_machine_refuse_empty(machine);
    if (at[0]->kind != PICKLE_GLOBAL || !machine->rules->may_call(at[0]))
        return refuse_call(machine, at[0]);
    return push_object(machine, at, true);
}

/* An object of a class, whose __init__ is not called. Keyword arguments (NEWOBJ_EX) are dropped: nothing that is read has
 * any. */
static enum status run_newobj(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at = pickle_machine_pop(machine, opcode->count);
    char what[120];
    (void)operand;
    if (!at)
        return pickle_machine_refuse_empty(machine);
    if (at[0]->kind != PICKLE_GLOBAL)
        return pickle_machine_refuse(machine, "the class of an object is %s",
                                     pickle_describe(at[0], what, sizeof what));
    return push_object(machine, at, false);
}

static enum status run_build(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at = pickle_machine_pop(machine, opcode->count),
                        *value = at ? pickle_machine_top(machine) : NULL;
    (void)operand;
    if (!value)
        return pickle_machine_refuse_empty(machine);
    if (value->kind != PICKLE_OBJECT)
        return pickle_machine_refuse(machine, "there is no object whose attributes could be set");
    if (value->object->state)
        return pickle_machine_refuse(machine, "the attributes of an object are set twice");
    value->object->state = *at;
    return STATUS_OK;
}

static enum status refuse_persistent(const struct pickle_machine *machine, const struct pickle_value *id)
{
    char what[120];
    if (id->kind == PICKLE_TUPLE && id->items.count > 0 && id->items.at[0]->kind == PICKLE_STRING)
        id = id->items.at[0];
    return pickle_machine_refuse(machine, "it refers to something outside, %s, that is not known here",
                                 pickle_describe(id, what, sizeof what));
}

static enum status run_binpersid(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    struct pickle_value **at = pickle_machine_pop(machine, opcode->count),
                        *value = pickle_machine_make(machine, opcode->kind);
    (void)operand;
    if (!at)
        return pickle_machine_refuse_empty(machine);
    if (!value)
        return pickle_machine_refuse_memory(machine);
    value->id = *at;
    struct pickle_value *found = machine->rules->find_persistent(machine->rules->context, value);
    return found ? pickle_machine_push(machine, found) : refuse_persistent(machine, value->id);
}

/* ---- The opcodes ---- */

static enum status run_proto(struct pickle_machine *machine, const struct opcode *opcode, uint64_t protocol)
{
    (void)opcode;
    if (protocol <= PROTOCOL_MAX)
        return STATUS_OK;
    error_set(machine->err, STATUS_UNSUPPORTED, "the pickle is of protocol %ju, up to %d are read",
              (uintmax_t)protocol, PROTOCOL_MAX);
    return error_hint(machine->err, "save it with torch.save's own protocol: leave pickle_protocol out");
}

/* A frame only says how much to read at once. */
static enum status run_frame(struct pickle_machine *machine, const struct opcode *opcode, uint64_t bytes)
{
    (void)opcode;
    return bytes <= (size_t)(machine->end - machine->at) ? STATUS_OK : refuse_cut(machine);
}

static enum status run_stop(struct pickle_machine *machine, const struct opcode *opcode, uint64_t operand)
{
    (void)opcode, (void)operand;
    if (machine->stack.count != 1 || machine->mark_count != 0)
        return pickle_machine_refuse(machine, "the pickle ends with %zu values, one was expected",
                                     machine->stack.count);
    machine->pickle->root = machine->stack.at[0];
    machine->pickle->bytes = (size_t)(machine->at - machine->start);
    machine->stopped = true;
    return STATUS_OK;
}

/* Every opcode that Python knows has its name here. What protocols 2 to 5 do not write, or nothing that is read here needs,
 * has nothing to run. */
static const struct opcode OPCODES[256] = {
    ['('] = {"MARK", run_mark},
    ['.'] = {"STOP", run_stop},
    ['0'] = {"POP", run_pop},
    ['1'] = {"POP_MARK", run_pop_mark},
    ['2'] = {"DUP", run_dup},
    ['F'] = {"FLOAT"},
    ['I'] = {"INT"},
    ['J'] = {"BININT", run_int32, 4, PICKLE_INT},
    ['K'] = {"BININT1", run_unsigned, 1, PICKLE_INT},
    ['L'] = {"LONG"},
    ['M'] = {"BININT2", run_unsigned, 2, PICKLE_INT},
    ['N'] = {"NONE", run_empty, 0, PICKLE_NONE},
    ['P'] = {"PERSID"},
    ['Q'] = {"BINPERSID", run_binpersid, 0, PICKLE_PERSISTENT, 1},
    ['R'] = {"REDUCE", run_reduce, 0, PICKLE_OBJECT, 2},
    ['S'] = {"STRING"},
    ['T'] = {"BINSTRING", run_text, 4, PICKLE_STRING},
    ['U'] = {"SHORT_BINSTRING", run_text, 1, PICKLE_STRING},
    ['V'] = {"UNICODE"},
    ['X'] = {"BINUNICODE", run_text, 4, PICKLE_STRING},
    ['a'] = {"APPEND", run_add, 0, PICKLE_LIST, 1},
    ['b'] = {"BUILD", run_build, 0, PICKLE_OBJECT, 1},
    ['c'] = {"GLOBAL", run_global, 0, PICKLE_GLOBAL},
    ['d'] = {"DICT", run_collect, 0, PICKLE_DICT},
    ['}'] = {"EMPTY_DICT", run_empty, 0, PICKLE_DICT},
    ['e'] = {"APPENDS", run_add, 0, PICKLE_LIST},
    ['g'] = {"GET"},
    ['h'] = {"BINGET", run_get, 1},
    ['i'] = {"INST"},
    ['j'] = {"LONG_BINGET", run_get, 4},
    ['l'] = {"LIST", run_collect, 0, PICKLE_LIST},
    [']'] = {"EMPTY_LIST", run_empty, 0, PICKLE_LIST},
    ['o'] = {"OBJ"},
    ['p'] = {"PUT"},
    ['q'] = {"BINPUT", run_put, 1},
    ['r'] = {"LONG_BINPUT", run_put, 4},
    ['s'] = {"SETITEM", run_add, 0, PICKLE_DICT, 2},
    ['t'] = {"TUPLE", run_collect, 0, PICKLE_TUPLE},
    [')'] = {"EMPTY_TUPLE", run_empty, 0, PICKLE_TUPLE},
    ['u'] = {"SETITEMS", run_add, 0, PICKLE_DICT},
    ['G'] = {"BINFLOAT", run_float, 8, PICKLE_FLOAT},
    ['B'] = {"BINBYTES", run_text, 4, PICKLE_BYTES},
    ['C'] = {"SHORT_BINBYTES", run_text, 1, PICKLE_BYTES},
    [0x80] = {"PROTO", run_proto, 1},
    [0x81] = {"NEWOBJ", run_newobj, 0, PICKLE_OBJECT, 2},
    [0x82] = {"EXT1"},
    [0x83] = {"EXT2"},
    [0x84] = {"EXT4"},
    [0x85] = {"TUPLE1", run_collect, 0, PICKLE_TUPLE, 1},
    [0x86] = {"TUPLE2", run_collect, 0, PICKLE_TUPLE, 2},
    [0x87] = {"TUPLE3", run_collect, 0, PICKLE_TUPLE, 3},
    [0x88] = {"NEWTRUE", run_unsigned, 0, PICKLE_BOOL, 1},
    [0x89] = {"NEWFALSE", run_unsigned, 0, PICKLE_BOOL, 0},
    [0x8a] = {"LONG1", run_long, 1, PICKLE_BIG_INT},
    [0x8b] = {"LONG4", run_long, 4, PICKLE_BIG_INT},
    [0x8c] = {"SHORT_BINUNICODE", run_text, 1, PICKLE_STRING},
    [0x8d] = {"BINUNICODE8", run_text, 8, PICKLE_STRING},
    [0x8e] = {"BINBYTES8", run_text, 8, PICKLE_BYTES},
    [0x8f] = {"EMPTY_SET", run_empty, 0, PICKLE_SET},
    [0x90] = {"ADDITEMS", run_add, 0, PICKLE_SET},
    [0x91] = {"FROZENSET", run_collect, 0, PICKLE_SET},
    [0x92] = {"NEWOBJ_EX", run_newobj, 0, PICKLE_OBJECT, 3},
    [0x93] = {"STACK_GLOBAL", run_stack_global, 0, PICKLE_GLOBAL, 2},
    [0x94] = {"MEMOIZE", run_put},
    [0x95] = {"FRAME", run_frame, 8},
    [0x96] = {"BYTEARRAY8", run_text, 8, PICKLE_BYTES},
    [0x97] = {"NEXT_BUFFER"},
    [0x98] = {"READONLY_BUFFER"},
};

static enum status refuse_opcode(const struct pickle_machine *machine, const struct opcode *opcode)
{
    if (!opcode->name)
        return pickle_machine_refuse(machine, "there is no opcode 0x%02x", *machine->opcode);
    error_set(machine->err, STATUS_UNSUPPORTED, "pickle, byte %zu: the opcode %s is not read",
              (size_t)(machine->opcode - machine->start), opcode->name);
    return error_hint(machine->err, "save it with torch.save's own protocol, 2: leave pickle_protocol out");
}

static enum status run_opcode(struct pickle_machine *machine)
{
    uint64_t operand = 0;
    machine->opcode = machine->at++;
    const struct opcode *opcode = &OPCODES[*machine->opcode];
    if (!opcode->run)
        return refuse_opcode(machine, opcode);
    if (opcode->operand_bytes > (size_t)(machine->end - machine->at))
        return refuse_cut(machine);
    memcpy(&operand, machine->at, opcode->operand_bytes);
    machine->at += opcode->operand_bytes;
    return opcode->run(machine, opcode, operand);
}

static enum status run(struct pickle_machine *machine)
{
    while (!machine->stopped) {
        if (machine->at == machine->end) {
            machine->opcode = machine->at;
            return pickle_machine_refuse(machine, "the pickle ends without STOP");
        }
        enum status status = run_opcode(machine);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status pickle_parse(const void *data, size_t len, const struct pickle_rules *rules, struct pickle **ret,
                         struct error *err)
{
    struct pickle_machine machine = {.start = data, .at = data, .opcode = data, .rules = rules, .err = err};
    machine.end = machine.start + (len < PICKLE_BYTES_MAX ? len : PICKLE_BYTES_MAX);
    enum status status = pickle_machine_start(&machine) ? run(&machine) : pickle_machine_refuse_memory(&machine);
    pickle_machine_stop(&machine);
    if (status == STATUS_OK)
        *ret = machine.pickle;
    else
        pickle_free(machine.pickle);
    return status;
}
