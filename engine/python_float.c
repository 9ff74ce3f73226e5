#include "engine/python_float.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fewest digits that read back, in scientific notation. */
static void shortest_digits(double value, bool is_float32, char dst[PYTHON_FLOAT_BYTES])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(dst, PYTHON_FLOAT_BYTES, "%.*e", digits - 1, value);
        if (is_float32 ? strtof(dst, NULL) == (float)value : strtod(dst, NULL) == value)
            return;
    }
}

/* Python writes an exponent below 1e-4 and from 1e16 on, and always a digit behind the point. */
const char *python_float_text(double value, bool is_float32, char dst[PYTHON_FLOAT_BYTES])
{
    char text[PYTHON_FLOAT_BYTES];
    shortest_digits(value, is_float32, text);
    const char *mark = strchr(text, 'e'), *point = strchr(text, '.');
    int exponent = (int)strtol(mark + 1, NULL, 10), fraction = point ? (int)(mark - point) - 1 : 0;
    int behind_point = fraction - exponent > 1 ? fraction - exponent : 1;
    if (exponent < -4 || exponent >= 16)
        snprintf(dst, PYTHON_FLOAT_BYTES, "%s", text);
    else
        snprintf(dst, PYTHON_FLOAT_BYTES, "%.*f", behind_point, strtod(text, NULL));
    return dst;
}
