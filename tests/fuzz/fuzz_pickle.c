/* Pickles: the values of an accepted one point into its bytes, items and arguments are what their kinds say, only known calls
 * stand in it, and everything can be described. The walk is bounded, for values may hold themselves. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "engine/pickle.h"
#include "engine/torch_globals.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 4000, DEPTH_MAX = 20 };

static const struct pickle_rules rules = {.may_call = torch_may_call, .find_persistent = torch_find_persistent};

/* A walk, and the bytes that texts must lie in. */
struct walk {
    const char *begin, *end;
    size_t steps;
};

static void check_text(const struct walk *walk, struct pickle_text text)
{
    assert(text.at >= walk->begin && text.at <= walk->end && text.len <= (size_t)(walk->end - text.at));
}

static void check_value(struct walk *walk, const struct pickle_value *value, int depth);

static void check_items(struct walk *walk, const struct pickle_items *items, int depth)
{
    for (size_t i = 0; i < items->count; i++)
        check_value(walk, items->at[i], depth + 1);
}

static void check_object(struct walk *walk, const struct pickle_object *object, int depth)
{
    assert(object->made_by->kind == PICKLE_GLOBAL && object->args->kind == PICKLE_TUPLE);
    assert(!object->is_call || torch_may_call(object->made_by));
    check_value(walk, object->args, depth + 1);
    check_items(walk, &object->items, depth);
    if (object->state)
        check_value(walk, object->state, depth + 1);
}

static void check_value(struct walk *walk, const struct pickle_value *value, int depth)
{
    char what[64];
    if (depth > DEPTH_MAX || walk->steps++ > STEPS_MAX)
        return;
    assert(pickle_describe(value, what, sizeof what) == what && strlen(what) < sizeof what && what[0]);
    const struct pickle_items *pairs = pickle_pairs(value);
    assert(!pairs || pairs->count % 2 == 0);
    if (pairs && pairs->count > 0 && pickle_is_string(pairs->at[pairs->count - 2], "training"))
        assert(pickle_get(pairs, "training") == pairs->at[pairs->count - 1]);
    switch (value->kind) {
    case PICKLE_STRING:
    case PICKLE_BYTES:
    case PICKLE_BIG_INT: check_text(walk, value->text); break;
    case PICKLE_LIST:
    case PICKLE_TUPLE:
    case PICKLE_SET:
    case PICKLE_DICT: check_items(walk, &value->items, depth); break;
    case PICKLE_GLOBAL: check_text(walk, value->global[0]), check_text(walk, value->global[1]); break;
    case PICKLE_OBJECT: check_object(walk, value->object, depth); break;
    case PICKLE_PERSISTENT: check_value(walk, value->id, depth + 1); break;
    default: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pickle *pickle = NULL;
    struct error err = {0};
    enum status status = pickle_parse(data, size, &rules, &pickle, &err);
    if (status == STATUS_OK) {
        struct walk walk = {(const char *)data, (const char *)data + size, 0};
        assert(pickle->bytes > 0 && pickle->bytes <= size && data[pickle->bytes - 1] == '.');
        check_value(&walk, pickle->root, 0);
        pickle_free(pickle);
    } else {
        assert(!pickle && err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
    }
    return 0;
}
