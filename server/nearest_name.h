/* How alike two names are, for "did you mean": a name that was mistyped, abbreviated or had two letters swapped is near to
 * the one that was meant. Stateless; any thread may call it.
 *
 *     struct nearest_name nearest = nearest_name_begin("prot", 4);
 *     for each name that there is: nearest_name_offer(&nearest, name);
 *     if (nearest.name) ...                                             // "port"
 */
#ifndef MLPD_SERVER_NEAREST_NAME_H
#define MLPD_SERVER_NEAREST_NAME_H

#include <stddef.h>

enum { NEAREST_NAME_BYTES_MAX = 64 }; /* longer names are near to none */

struct nearest_name {
    const char *text; /* what was written, borrowed */
    size_t len;
    const char *name; /* the nearest that was offered, borrowed; NULL as long as none is near */
    size_t distance;
};

struct nearest_name nearest_name_begin(const char *text, size_t len);

/* `name` becomes the nearest if it is near, and nearer than those before. */
void nearest_name_offer(struct nearest_name *nearest, const char *name);

/* The fewest letters to insert, drop, replace or swap with their neighbour that make one name of the other (each letter
 * touched once); at most NEAREST_NAME_BYTES_MAX bytes each. */
size_t nearest_name_distance(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
