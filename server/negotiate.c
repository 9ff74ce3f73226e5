#include "server/negotiate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The q among an element's parameters, in thousandths; 1000 where none is given. */
static unsigned quality(const char *element, size_t len)
{
    for (size_t i = 0; i + 2 < len; i++) {
        if (element[i] != ';')
            continue;
        const char *at = element + i + 1 + strspn(element + i + 1, " \t");
        double q = strncasecmp(at, "q=", 2) == 0 ? strtod(at + 2, NULL) : -1;
        if (q >= 0)
            return q < 1 ? (unsigned)(q * 1000 + 0.5) : 1000;
    }
    return 1000;
}

/* Whether a media range of `len` characters covers a type: the type itself, its "type/" and a star, or two stars. */
static bool covers(const char *range, size_t len, const char *type)
{
    if (len == 3 && strncmp(range, "*/*", len) == 0)
        return true;
    bool any_subtype = len > 2 && strncmp(range + len - 2, "/*", 2) == 0;
    return any_subtype ? strncasecmp(range, type, len - 1) == 0
                       : strlen(type) == len && strncasecmp(range, type, len) == 0;
}

size_t negotiate(const char *accept, const char *const *types, size_t count)
{
    size_t best = 0;
    unsigned best_quality = 0;
    while (*accept) {
        accept += strspn(accept, " \t,");
        size_t len = strcspn(accept, ","), range_len = strcspn(accept, ",; \t"), type = 0;
        while (type < count && !covers(accept, range_len, types[type]))
            type++;
        unsigned q = type < count ? quality(accept, len) : 0;
        if (q > best_quality) {
            best = type;
            best_quality = q;
        }
        accept += len;
    }
    return best;
}
