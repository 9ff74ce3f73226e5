#include "engine/pickle.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/unit.h"

/* ---- Pickles that a test writes: bytes of opcodes, with their length ---- */

#define BYTES(text) text, sizeof(text) - 1

static bool may_call(const struct pickle_value *global)
{
    return pickle_is_global(global, "m", "f") || pickle_is_global(global, "collections", "OrderedDict");
}

/* ("self", x) stands for itself, ("inner", x) for x. */
static struct pickle_value *find_persistent(void *context, struct pickle_value *persistent)
{
    const struct pickle_items *parts = &persistent->id->items;
    (void)context;
    if (persistent->id->kind != PICKLE_TUPLE || parts->count != 2)
        return NULL;
    if (pickle_is_string(parts->at[0], "self"))
        return persistent;
    return pickle_is_string(parts->at[0], "inner") ? parts->at[1] : NULL;
}

static const struct pickle_rules RULES = {.may_call = may_call, .find_persistent = find_persistent};

/* Bytes of this length exactly, so that a sanitizer sees a step beyond them. */
struct parsed {
    char *bytes;
    struct pickle *pickle;
    struct error err;
    enum status status;
};

static struct parsed parse(const void *bytes, size_t len)
{
    struct parsed parsed = {.bytes = malloc(len ? len : 1)};
    if (len > 0)
        memcpy(parsed.bytes, bytes, len);
    parsed.status = pickle_parse(parsed.bytes, len, &RULES, &parsed.pickle, &parsed.err);
    return parsed;
}

static void close_parsed(struct parsed *parsed)
{
    pickle_free(parsed->pickle);
    free(parsed->bytes);
}

static struct parsed accepted(const void *bytes, size_t len)
{
    struct parsed parsed = parse(bytes, len);
    ck_assert_msg(parsed.status == STATUS_OK, "%s", parsed.err.message);
    return parsed;
}

static void refused_as(enum status status, const void *bytes, size_t len, const char *message)
{
    struct parsed parsed = parse(bytes, len);
    ck_assert_msg(parsed.status == status, "%s: %s", status_text(parsed.status), parsed.err.message);
    ck_assert_ptr_null(parsed.pickle);
    ck_assert_msg(strstr(parsed.err.message, message) != NULL, "\"%s\" has no \"%s\"", parsed.err.message, message);
    ck_assert_str_ne(parsed.err.hint, "");
    close_parsed(&parsed);
}

static void refused(const void *bytes, size_t len, const char *message)
{
    refused_as(STATUS_INVALID, bytes, len, message);
}

static void check_int(const void *bytes, size_t len, int64_t expected)
{
    struct parsed parsed = accepted(bytes, len);
    ck_assert_int_eq(parsed.pickle->root->kind, PICKLE_INT);
    ck_assert_int_eq(parsed.pickle->root->integer, expected);
    close_parsed(&parsed);
}

/* ---- Values ---- */

START_TEST(pickle_reads_whole_numbers_of_every_length)
{
    check_int(BYTES("K\377."), 255);
    check_int(BYTES("M\1\2."), 513);
    check_int(BYTES("J\376\377\377\377."), -2);
    check_int(BYTES("\x8a\0."), 0);
    check_int(BYTES("\x8a\1\377."), -1);
    check_int(BYTES("\x8a\2\377\0."), 255);
    check_int(BYTES("\x8a\10\0\0\0\0\0\0\0\200."), INT64_MIN);
    check_int(BYTES("\x8b\2\0\0\0\1\200."), -32767);
    struct parsed parsed = accepted(BYTES("\x80\2\x8a\11\0\0\0\0\0\0\0\0\1."));
    ck_assert_int_eq(parsed.pickle->root->kind, PICKLE_BIG_INT);
    ck_assert_uint_eq(parsed.pickle->root->text.len, 9);
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_reads_floats_booleans_none_and_strings)
{
    struct parsed parsed = accepted(BYTES("(G?\360\0\0\0\0\0\0\x88\x89NX\2\0\0\0abU\1c\x8c\1d"
                                          "C\1eB\1\0\0\0ft."));
    const struct pickle_items *items = &parsed.pickle->root->items;
    static const enum pickle_kind kinds[] = {PICKLE_FLOAT,  PICKLE_BOOL,   PICKLE_BOOL,  PICKLE_NONE, PICKLE_STRING,
                                             PICKLE_STRING, PICKLE_STRING, PICKLE_BYTES, PICKLE_BYTES};
    ck_assert_uint_eq(items->count, 9);
    for (size_t i = 0; i < 9; i++)
        ck_assert_int_eq(items->at[i]->kind, kinds[i]);
    ck_assert_double_eq(items->at[0]->real, 1.0);
    ck_assert_int_eq(items->at[1]->integer, 1);
    ck_assert_int_eq(items->at[2]->integer, 0);
    ck_assert(pickle_is_string(items->at[4], "ab"));
    ck_assert(!pickle_is_string(items->at[4], "a"));
    ck_assert(pickle_text_is(items->at[8]->text, "f"));
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_collects_lists_tuples_sets_and_dicts)
{
    struct parsed parsed = accepted(BYTES("}(X\1\0\0\0l](K\1K\2eK\3a"
                                          "X\1\0\0\0tK\1K\2K\3\x87X\1\0\0\0s\x8f(K\1\x90"
                                          "X\1\0\0\0d(K\1K\2dX\1\0\0\0f(K\1\x91uX\1\0\0\0l)s."));
    const struct pickle_items *pairs = pickle_pairs(parsed.pickle->root);
    ck_assert_uint_eq(pairs->count, 12);
    ck_assert_uint_eq(pairs->at[1]->items.count, 3);
    ck_assert_int_eq(pairs->at[1]->items.at[2]->integer, 3);
    ck_assert_int_eq(pickle_get(pairs, "t")->kind, PICKLE_TUPLE);
    ck_assert_int_eq(pickle_get(pairs, "s")->kind, PICKLE_SET);
    ck_assert_uint_eq(pickle_get(pairs, "d")->items.count, 2);
    ck_assert_int_eq(pickle_get(pairs, "f")->kind, PICKLE_SET);
    ck_assert_int_eq(pickle_get(pairs, "l")->kind, PICKLE_TUPLE); /* the last one counts, as in Python */
    ck_assert_ptr_null(pickle_get(pairs, "x"));
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_shares_values_by_the_memo)
{
    struct parsed parsed = accepted(BYTES("]q\5h\5a\x94r\0\1\0\0h\1j\0\1\0\0\x87."));
    const struct pickle_items *items = &parsed.pickle->root->items;
    ck_assert_ptr_eq(items->at[0], items->at[1]);
    ck_assert_ptr_eq(items->at[0], items->at[2]);
    ck_assert_ptr_eq(items->at[0]->items.at[0], items->at[0]); /* a list that holds itself */
    close_parsed(&parsed);
    refused(BYTES("h\0."), "place 0 of the memo is empty");
    refused(BYTES("Nq\1h\0."), "place 0 of the memo is empty");
    refused(BYTES("q\0."), "the opcode takes more values than there are");
    refused(BYTES("Nr\0\0\0\200."), "is beyond the 2097152 that are kept");
}
END_TEST

START_TEST(pickle_ends_at_stop_and_says_where)
{
    struct parsed parsed = accepted(BYTES("\x80\4\x95\2\0\0\0\0\0\0\0N.and more"));
    ck_assert_uint_eq(parsed.pickle->bytes, 13);
    close_parsed(&parsed);
    refused(BYTES(""), "byte 0: the pickle ends without STOP");
    refused(BYTES("N"), "byte 1: the pickle ends without STOP");
    refused(BYTES("."), "the pickle ends with 0 values, one was expected");
    refused(BYTES("NN."), "the pickle ends with 2 values");
    refused(BYTES("N(."), "the pickle ends with 1 values");
    refused(BYTES("\x95\3\0\0\0\0\0\0\0N."), "the pickle ends inside an opcode");
}
END_TEST

/* ---- Classes, calls, objects ---- */

START_TEST(pickle_keeps_objects_and_allowed_calls_as_records)
{
    struct parsed parsed = accepted(BYTES("cm\nf\nK\1\x85R}X\1\0\0\0aK\2sb"
                                          "X\1\0\0\0nX\1\0\0\0C\x93)\x81K\7a\x86."));
    const struct pickle_value *call = parsed.pickle->root->items.at[0], *object = parsed.pickle->root->items.at[1];
    char what[64];
    ck_assert_int_eq(call->kind, PICKLE_OBJECT);
    ck_assert(call->object->is_call);
    ck_assert_int_eq(call->object->args->items.at[0]->integer, 1);
    ck_assert_int_eq(pickle_get(pickle_pairs(call->object->state), "a")->integer, 2);
    ck_assert_str_eq(pickle_describe(call, what, sizeof what), "the result of calling m.f");
    ck_assert(!object->object->is_call);
    ck_assert_int_eq(object->object->items.at[0]->integer, 7);
    ck_assert_str_eq(pickle_describe(object, what, sizeof what), "an object of n.C");
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_takes_an_ordered_dict_for_a_dict)
{
    struct parsed parsed = accepted(BYTES("ccollections\nOrderedDict\n)R(X\1\0\0\0aK\1u."));
    ck_assert_int_eq(pickle_get(pickle_pairs(parsed.pickle->root), "a")->integer, 1);
    close_parsed(&parsed);
    parsed = accepted(BYTES("cm\nf\n)R(X\1\0\0\0aK\1u."));
    ck_assert_ptr_null(pickle_pairs(parsed.pickle->root));
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_refuses_other_calls_by_name)
{
    refused_as(STATUS_UNSUPPORTED, BYTES("cos\nsystem\nX\2\0\0\0ls\x85R."),
               "byte 19: it would call os.system, which is none of the calls that are read");
    refused_as(STATUS_UNSUPPORTED, BYTES("cm\n\xff\n)R."), "it would call m.?");
    refused_as(STATUS_UNSUPPORTED, BYTES("X\1\0\0\0x)R."), "it would call the string \"x\"");
    refused_as(STATUS_UNSUPPORTED, BYTES("cm\nf\n)R)R."), "it would call the result of calling m.f");
    refused(BYTES("cm\nf\nNR."), "the arguments of a call are no tuple");
    refused(BYTES("N)\x81."), "the class of an object is None");
    refused(BYTES("cm\nf\nN\x81."), "the arguments of a call are no tuple");
    refused(BYTES("c\nf\n."), "the name of a class is empty");
    refused(BYTES("cm\nf"), "the pickle ends inside an opcode");
    refused(BYTES("NN\x93."), "the name of a class is no string");
}
END_TEST

START_TEST(pickle_refuses_attributes_of_what_is_no_object)
{
    refused(BYTES("}}b."), "there is no object whose attributes could be set");
    refused(BYTES("cm\nC\n)\x81}b}b."), "the attributes of an object are set twice");
    refused(BYTES("}b."), "the opcode takes more values than there are");
}
END_TEST

START_TEST(pickle_asks_what_persistent_ids_stand_for)
{
    struct parsed parsed = accepted(BYTES("X\4\0\0\0selfK\1\x86Q."));
    ck_assert_int_eq(parsed.pickle->root->kind, PICKLE_PERSISTENT);
    close_parsed(&parsed);
    check_int(BYTES("X\5\0\0\0innerK\7\x86Q."), 7);
    refused(BYTES("X\5\0\0\0otherK\7\x86Q."), "it refers to something outside, the string \"other\", that is not");
    refused(BYTES("K\1Q."), "it refers to something outside, an int, that is not known here");
}
END_TEST

/* ---- What is wrong, or too much ---- */

START_TEST(pickle_refuses_opcodes_that_are_none_or_not_read_by_name)
{
    static const struct {
        char byte;
        const char *name;
    } named[] = {{'F', "FLOAT"},
                 {'I', "INT"},
                 {'L', "LONG"},
                 {'P', "PERSID"},
                 {'S', "STRING"},
                 {'V', "UNICODE"},
                 {'g', "GET"},
                 {'i', "INST"},
                 {'o', "OBJ"},
                 {'p', "PUT"},
                 {'\x82', "EXT1"},
                 {'\x83', "EXT2"},
                 {'\x84', "EXT4"},
                 {'\x97', "NEXT_BUFFER"},
                 {'\x98', "READONLY_BUFFER"}};
    char message[64];
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        snprintf(message, sizeof message, "byte 0: the opcode %s is not read", named[i].name);
        refused_as(STATUS_UNSUPPORTED, &named[i].byte, 1, message);
    }
    refused(BYTES("\0."), "there is no opcode 0x00");
    refused(BYTES("N\x99."), "byte 1: there is no opcode 0x99");
    refused_as(STATUS_UNSUPPORTED, BYTES("\x80\6N."), "the pickle is of protocol 6, up to 5 are read");
}
END_TEST

START_TEST(pickle_refuses_lengths_beyond_its_end)
{
    refused(BYTES("X\377\377\377\377ab."),
            "the 4294967295 bytes of BINUNICODE would reach behind the pickle's end");
    refused(BYTES("\x8d\377\377\377\377\377\377\377\377ab."), "the 18446744073709551615 bytes of BINUNICODE8");
    refused(BYTES("\x8b\377\377\377\177ab."), "the 2147483647 bytes of LONG4");
    refused(BYTES("\x8b\377\377\377\377ab."), "the 4294967295 bytes of LONG4");
    refused(BYTES("\x8a\3ab"), "the 3 bytes of LONG1");
    refused(BYTES("J\1\2\3"), "the pickle ends inside an opcode");
    refused(BYTES("G\1\2\3"), "the pickle ends inside an opcode");
}
END_TEST

START_TEST(pickle_refuses_to_take_what_is_not_on_the_stack)
{
    refused(BYTES("a."), "the opcode takes more values than there are");
    refused(BYTES("](a."), "the opcode takes more values than there are"); /* not from below the mark */
    refused(BYTES("N\x86."), "the opcode takes more values than there are");
    refused(BYTES("t."), "there is no mark");
    refused(BYTES("e."), "there is no mark");
    refused(BYTES("(K\1e."), "there is nothing that APPENDS could add to");
    refused(BYTES("N(K\1e."), "there is nothing that APPENDS could add to");
    refused(BYTES("]K\1K\2s."), "there is nothing that SETITEM could add to");
    refused(BYTES("}(K\1u."), "a key has no value");
    refused(BYTES("(K\1d."), "a key has no value");
    refused(BYTES("0."), "the opcode takes more values than there are");
    refused(BYTES("2."), "the opcode takes more values than there are");
    check_int(BYTES("K\1(0."), 1); /* POP takes a mark too */
    check_int(BYTES("K\1(K\2K\3"
                    "1."),
              1);
    check_int(BYTES("K\1"
                    "20."),
              1);
}
END_TEST

enum { DEEP = 100000 };

/* Tuples in tuples in lists: neither reading nor freeing recurses. */
START_TEST(pickle_reads_a_hundred_thousand_levels)
{
    char *bytes = malloc(3 * DEEP + 2), *at = bytes;
    for (size_t i = 0; i < DEEP; i++)
        *at++ = ']';
    for (size_t i = 1; i < DEEP; i++) {
        *at++ = '\x85';
        *at++ = 'a';
    }
    *at++ = '.';
    struct parsed parsed = accepted(bytes, (size_t)(at - bytes));
    const struct pickle_value *value = parsed.pickle->root;
    size_t depth = 1;
    for (; value->items.count > 0; value = value->items.at[0]->items.at[0])
        depth++;
    ck_assert_uint_eq(depth, DEEP);
    close_parsed(&parsed);
    at = bytes;
    for (size_t i = 0; i < DEEP; i++)
        *at++ = '(';
    for (size_t i = 0; i < DEEP; i++)
        *at++ = 't';
    *at++ = '.';
    parsed = accepted(bytes, (size_t)(at - bytes));
    close_parsed(&parsed);
    free(bytes);
}
END_TEST

enum { DOUBLINGS = 60 };

/* (] q0 ] (h0 h0 e q1 ] (h1 h1 e q2 ... l: each list holds the one before twice, so that a copy would have 2^60 values. */
START_TEST(pickle_shares_what_a_memo_bomb_doubles)
{
    unsigned char bytes[16 * DOUBLINGS], *at = bytes;
    *at++ = '(';
    *at++ = ']';
    for (int i = 0; i < DOUBLINGS; i++) {
        const unsigned char place = (unsigned char)i, step[] = {'q', place, ']', '(', 'h', place, 'h', place, 'e'};
        memcpy(at, step, sizeof step);
        at += sizeof step;
    }
    *at++ = 'l';
    *at++ = '.';
    struct parsed parsed = accepted(bytes, (size_t)(at - bytes));
    const struct pickle_items *items = &parsed.pickle->root->items;
    ck_assert_uint_eq(items->count, DOUBLINGS + 1);
    ck_assert_ptr_eq(items->at[DOUBLINGS]->items.at[0], items->at[DOUBLINGS - 1]);
    ck_assert_ptr_eq(items->at[DOUBLINGS]->items.at[1], items->at[DOUBLINGS - 1]);
    close_parsed(&parsed);
}
END_TEST

START_TEST(pickle_refuses_more_values_than_the_limit)
{
    size_t len = PICKLE_VALUES_MAX + 2;
    char *bytes = malloc(len + 2);
    memset(bytes, 'N', len);
    refused_as(STATUS_TOO_LARGE, bytes, len, "the pickle has more than the 2097152 values that are read");
    memset(bytes + 1, '2', len);
    refused_as(STATUS_TOO_LARGE, bytes, len, "the pickle has more than the 2097152 values");
    memset(bytes, '(', len);
    refused(bytes, len, "marks");
    free(bytes);
}
END_TEST

UNIT_MAIN("engine/pickle", pickle_reads_whole_numbers_of_every_length,
          pickle_reads_floats_booleans_none_and_strings, pickle_collects_lists_tuples_sets_and_dicts,
          pickle_shares_values_by_the_memo, pickle_ends_at_stop_and_says_where,
          pickle_keeps_objects_and_allowed_calls_as_records, pickle_takes_an_ordered_dict_for_a_dict,
          pickle_refuses_other_calls_by_name, pickle_refuses_attributes_of_what_is_no_object,
          pickle_asks_what_persistent_ids_stand_for, pickle_refuses_opcodes_that_are_none_or_not_read_by_name,
          pickle_refuses_lengths_beyond_its_end, pickle_refuses_to_take_what_is_not_on_the_stack,
          pickle_reads_a_hundred_thousand_levels, pickle_shares_what_a_memo_bomb_doubles,
          pickle_refuses_more_values_than_the_limit)
