/* Reader of Python's pickles (protocols 2 to 5) that makes values of them and nothing else: a class is its name, a call is
 * a record of what would be called and with what, an object is a record of its class and attributes. Nothing is imported,
 * called or executed. What may be called at all is the caller's rule; every other call, every opcode that is not read, and
 * every persistent id that the rule does not know is refused by its name.
 *
 *     struct pickle *pickle;
 *     if (pickle_parse(data, len, &rules, &pickle, &err) == STATUS_OK) {
 *         const struct pickle_value *epoch = pickle_get(&pickle->root->items, "epoch");
 *         ...
 *         pickle_free(pickle);
 *     }
 *
 * Values share each other where the pickle does, and a list may hold itself: whoever walks them counts steps and depth.
 * Immutable once parsed; any thread may read one.
 */
#ifndef MLPD_ENGINE_PICKLE_H
#define MLPD_ENGINE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/status.h"

enum {
    PICKLE_BYTES_MAX = 64 << 20,
    PICKLE_VALUES_MAX = 1 << 21, /* that are made or pushed */
};

enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_BIG_INT, /* of more than 64 bits; its bytes, little-endian, are in text */
    PICKLE_FLOAT,
    PICKLE_STRING, /* UTF-8 is not checked */
    PICKLE_BYTES,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_SET,
    PICKLE_DICT,
    PICKLE_GLOBAL,     /* a class or function, by its name */
    PICKLE_OBJECT,     /* what a class or function would have made */
    PICKLE_PERSISTENT, /* what lies outside the pickle: a tensor's storage */
};

struct pickle_text {
    const char *at; /* inside the pickle's bytes; no NUL behind it */
    size_t len;
};

struct pickle_items {
    struct pickle_value **at; /* of a dict: key, value, key, value, ... */
    size_t count, capacity;
};

struct pickle_value {
    enum pickle_kind kind;
    union {
        int64_t integer;              /* INT, and 0 or 1 for BOOL */
        double real;                  /* FLOAT */
        struct pickle_text text;      /* STRING, BYTES, BIG_INT */
        struct pickle_items items;    /* LIST, TUPLE, SET, DICT */
        struct pickle_value *id;      /* PERSISTENT */
        struct pickle_text global[2]; /* GLOBAL: module, name */
        struct pickle_object *object; /* OBJECT */
    };
};

struct pickle_object {
    const struct pickle_value *made_by; /* a GLOBAL */
    const struct pickle_value *args;    /* a TUPLE */
    const struct pickle_value *state;   /* its attributes, mostly a DICT; NULL without */
    struct pickle_items items;          /* what was appended or set, as in a LIST or a DICT */
    bool is_call;                       /* made by a call (REDUCE), not as an instance of a class (NEWOBJ) */
};

/* What the caller lets a pickle have. */
struct pickle_rules {
    /* Whether the pickle may hold a record of a call of `global`. */
    bool (*may_call)(const struct pickle_value *global);
    /* What a persistent value stands for: itself, or a value inside its id. NULL: refused. */
    struct pickle_value *(*find_persistent)(void *context, struct pickle_value *persistent);
    void *context; /* for find_persistent */
};

struct pickle {
    const struct pickle_value *root;
    size_t bytes; /* from the first opcode to STOP */
    struct pickle_block *blocks;
};

/* Parses the pickle that `data` begins with; what follows its STOP is not looked at. The values point into `data`, which
 * must outlive them. On success *ret is the caller's, to be freed with pickle_free. */
enum status pickle_parse(const void *data, size_t len, const struct pickle_rules *rules, struct pickle **ret,
                         struct error *err);

/* ---- Looking at values ---- */

bool pickle_text_is(struct pickle_text text, const char *expected);
bool pickle_is_string(const struct pickle_value *value, const char *expected);
bool pickle_is_global(const struct pickle_value *value, const char *module, const char *name);

/* The value of a string key among the pairs of a dict; the last one if it stands there twice, as in Python. NULL if there
 * is none. */
const struct pickle_value *pickle_get(const struct pickle_items *pairs, const char *key);

/* The pairs of a dict or of an object that is one (collections.OrderedDict, defaultdict, Counter). NULL for all else. */
const struct pickle_items *pickle_pairs(const struct pickle_value *value);

/* What `value` is, for the error that expected something else: "an int", "os.system", "an object of torch.nn...", cut
 * to fit and printable whatever the names hold. Returns dst. */
const char *pickle_describe(const struct pickle_value *value, char *dst, size_t dst_bytes);

/* Takes NULL. */
void pickle_free(struct pickle *pickle);

#endif
