/* Pictures from anywhere. Beside memory errors, what must hold: the outputs are the whole answer or untouched, the size
 * is within the limit, a refusal says why, and the same bytes give the same pixels (built with -fsanitize=memory, this
 * finds pixels that were never written). A PNG is tried with its CRCs put right as well, for else nearly every mutation
 * would end at the first of them. */
#include "server/image.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 28, HEIGHT = 20, GRAY_BYTES = WIDTH * HEIGHT, PIXELS_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static enum status decode(const uint8_t *data, size_t size, bool invert, uint8_t fill, uint8_t *gray)
{
    const struct image_options options = {
        .width = WIDTH, .height = HEIGHT, .pixels_max = PIXELS_MAX, .invert = invert};
    struct image_info info = {0};
    struct error err = {0};
    memset(gray, fill, GRAY_BYTES);
    enum status status = image_decode(data, size, &options, gray, &info, &err);
    if (status == STATUS_OK) {
        require(info.width > 0 && info.height > 0 && info.width <= PIXELS_MAX / info.height);
        require(info.resized == (info.width != WIDTH || info.height != HEIGHT));
        return status;
    }
    require(err.status == status && err.message[0] != '\0');
    require(status == STATUS_INVALID || status == STATUS_UNSUPPORTED || status == STATUS_TOO_LARGE);
    require(info.width == 0 && info.height == 0);
    for (size_t i = 0; i < GRAY_BYTES; i++)
        require(gray[i] == fill);
    return status;
}

static void decode_twice(const uint8_t *data, size_t size)
{
    uint8_t first[GRAY_BYTES], second[GRAY_BYTES];
    enum status status = decode(data, size, false, 0x55, first);
    require(decode(data, size, true, 0xAA, second) == status);
    for (size_t i = 0; i < GRAY_BYTES && status == STATUS_OK; i++)
        require(first[i] + second[i] == 255);
    require(status != STATUS_OK || image_sniff(data, size) != IMAGE_NONE);
}

static uint32_t crc32_of(const uint8_t *data, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void mend_png_crcs(uint8_t *data, size_t size)
{
    for (size_t at = 8; size - at >= 12;) {
        size_t len = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        if (len > size - at - 12)
            return;
        uint32_t crc = crc32_of(data + at + 4, len + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + len + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += len + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_twice(data, size);
    if (image_sniff(data, size) != IMAGE_PNG)
        return 0;
    uint8_t *mended = malloc(size);
    require(mended != NULL);
    memcpy(mended, data, size);
    mend_png_crcs(mended, size);
    decode_twice(mended, size);
    free(mended);
    return 0;
}
