/* Every finite float32 becomes a JSON number of at most FLOAT_TEXT_MAX bytes that reads back to the same bits, and no
 * decimal with fewer digits does. */
#include "server/float_text.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/json_tensor.h"

/* The significant digits, without leading and trailing zeros. */
static int count_digits(const char *text)
{
    int count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (*text == '0' && count == 0))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

static void check_float(float value)
{
    char text[FLOAT_TEXT_MAX + 1];
    size_t len = float_text_write(value, text);
    assert(len <= FLOAT_TEXT_MAX);
    text[len] = '\0';

    float back = strtof(text, NULL);
    assert(memcmp(&back, &value, sizeof value) == 0);
    float read;
    assert(json_number_read(text, &read) == text + len);
    assert(memcmp(&read, &value, sizeof value) == 0);
    assert(json_is_valid(text, len));

    int digits = count_digits(text);
    if (digits <= 1)
        return;
    char shorter[64];
    snprintf(shorter, sizeof shorter, "%.*e", digits - 2, (double)value);
    assert(strtof(shorter, NULL) != value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (; size >= sizeof(float); data += sizeof(float), size -= sizeof(float)) {
        float value;
        memcpy(&value, data, sizeof value);
        if (isfinite(value))
            check_float(value);
    }
    return 0;
}
