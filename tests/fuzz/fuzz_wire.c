/* The input's first byte is the size of the pieces that the rest comes in. However it is cut, server/wire.h must say what a slow
 * reader says that has all of it before it, and count no byte behind a fault. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/wire.h"
#include "tests/unit/server/wire_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each piece stands in memory of its own, so that a step beyond it is seen. */
static size_t feed_piece(struct wire *wire, const char *data, size_t len)
{
    char *piece = malloc(len);
    memcpy(piece, data, len);
    size_t followed = wire_feed(wire, piece, len);
    free(piece);
    return followed;
}

static size_t feed(struct wire *wire, const char *data, size_t len, size_t piece)
{
    size_t followed = 0;
    for (size_t at = 0; at < len; at += piece) {
        size_t here = len - at < piece ? len - at : piece;
        size_t taken = feed_piece(wire, data + at, here);
        assert(taken == here || wire->fault);
        followed += taken;
    }
    return followed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    struct wire wire = {0};
    struct reference expected = reference_read(text, size - 1);
    size_t followed = feed(&wire, text, size - 1, data[0] ? data[0] : size);
    assert(wire.fault == expected.fault && wire_place(&wire) == expected.place);
    assert(followed == (expected.fault ? expected.fault_at : size - 1));
    assert(wire.heads_begun == expected.heads_begun && wire.heads_done == expected.heads_done);
    assert(!wire.fault || wire_fault_index(&wire) < wire.heads_begun);
    return 0;
}
