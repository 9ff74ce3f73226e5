/* The walk over a JPEG's markers up to its end: sizes, Huffman tables, scans. stb_image reads on from exactly these
 * markers or gives up, so that no table reaches it unchecked (v2.27 writes beyond a table that declares more than 256
 * codes). */
#include "server/image_parts.h"

#include <stdbool.h>
#include <string.h>

enum {
    MARKER_NONE = -1, /* the data ended */
    MARKER_SOF_BASELINE = 0xC0,
    MARKER_SOF_EXTENDED = 0xC1,
    MARKER_SOF_PROGRESSIVE = 0xC2,
    MARKER_DHT = 0xC4,
    MARKER_JPG = 0xC8,
    MARKER_DAC = 0xCC,
    MARKER_SOF_LAST = 0xCF,
    MARKER_RST_FIRST = 0xD0,
    MARKER_RST_LAST = 0xD7,
    MARKER_EOI = 0xD9,
    MARKER_SOS = 0xDA,

    COMPONENTS_MAX = 4,
    CODES_MAX = 256, /* in one Huffman table */
    /* A scan of ten bytes makes stb_image visit the whole picture. Encoders write about 10 scans for a progressive
     * picture, and at most one a component for another. */
    SCANS_PROGRESSIVE_MAX = 64,
};

struct jpeg {
    const struct image_file *file;
    size_t at; /* after the current marker */
    const uint8_t *segment;
    size_t segment_bytes; /* without its length field */

    struct image_header header;
    bool seen_frame, progressive;
    size_t scans, components;
};

/* Moves behind the next FF xx that is a marker. Entropy-coded data holds FF 00 for a byte FF, and restart markers. */
static int next_marker(struct jpeg *jpeg, bool in_scan)
{
    const uint8_t *data = jpeg->file->data, *end = data + jpeg->file->len;
    const uint8_t *at = data + jpeg->at;
    while (at < end && (at = memchr(at, 0xFF, (size_t)(end - at)))) {
        while (at < end && *at == 0xFF)
            at++;
        if (at == end)
            break;
        int marker = *at++;
        bool is_data = marker == 0 || (marker >= MARKER_RST_FIRST && marker <= MARKER_RST_LAST);
        if (in_scan && is_data)
            continue;
        jpeg->at = (size_t)(at - data);
        return marker;
    }
    return MARKER_NONE;
}

static enum status take_segment(struct jpeg *jpeg, int marker, struct error *err)
{
    size_t left = jpeg->file->len - jpeg->at;
    size_t bytes = left < 2 ? 0 : image_be16(jpeg->file->data + jpeg->at);
    if (left < 2 || bytes > left)
        return image_refuse_cut(jpeg->file, err, "inside the segment of marker FF %02X that begins at byte %zu",
                                marker, jpeg->at - 2);
    if (bytes < 2)
        return image_refuse_broken(jpeg->file, err, "the segment of marker FF %02X at byte %zu has no length",
                                   marker, jpeg->at - 2);
    jpeg->segment = jpeg->file->data + jpeg->at + 2;
    jpeg->segment_bytes = bytes - 2;
    jpeg->at += bytes;
    return STATUS_OK;
}

/* stb_image holds each component in whole blocks of up to 32x32 pixels, its coefficients too (two bytes each) if the
 * picture is progressive, a line of each, and the picture; its own state is below 64 KiB. */
static void take_budget(struct jpeg *jpeg)
{
    size_t width = (jpeg->header.width + 31) / 32 * 32, height = (jpeg->header.height + 31) / 32 * 32;
    size_t planes = jpeg->components * width * height * (jpeg->progressive ? 3 : 1);
    size_t picture = 3 * jpeg->header.width * jpeg->header.height;
    jpeg->header.budget_bytes = planes + picture + jpeg->components * (width + 64) + 65536;
    jpeg->header.work_max = SIZE_MAX; /* the number of scans bounds it */
}

static enum status take_frame(struct jpeg *jpeg, int marker, struct error *err)
{
    if (marker > MARKER_SOF_PROGRESSIVE)
        return image_refuse_kind(jpeg->file, err, "lossless, hierarchical or arithmetic-coded (marker FF %02X)",
                                 marker);
    if (jpeg->seen_frame || jpeg->segment_bytes < 6)
        return image_refuse_broken(jpeg->file, err, "its frame header (marker FF %02X) is short, or the second one",
                                   marker);
    const uint8_t *frame = jpeg->segment;
    if (frame[0] != 8)
        return image_refuse_kind(jpeg->file, err, "%u bits for a sample, where 8 are read", frame[0]);
    jpeg->seen_frame = true;
    jpeg->progressive = marker == MARKER_SOF_PROGRESSIVE;
    jpeg->components = frame[5];
    if (jpeg->components == 0 || jpeg->components > COMPONENTS_MAX)
        return image_refuse_broken(jpeg->file, err, "it has %zu components, not 1, 3 or 4", jpeg->components);
    enum status status = image_size_take(jpeg->file, image_be16(frame + 3), image_be16(frame + 1), &jpeg->header,
                                         err);
    take_budget(jpeg);
    return status;
}

/* A segment holds tables one after another: a byte of class and number, how many codes have 1..16 bits, a byte each. */
static enum status check_huffman_tables(const struct jpeg *jpeg, struct error *err)
{
    const uint8_t *at = jpeg->segment;
    size_t left = jpeg->segment_bytes;
    while (left >= 17) {
        size_t codes = 0;
        for (int i = 1; i <= 16; i++)
            codes += at[i];
        if (codes > CODES_MAX || codes > left - 17)
            break;
        at += 17 + codes;
        left -= 17 + codes;
    }
    if (left == 0)
        return STATUS_OK;
    return image_refuse_broken(jpeg->file, err, "a Huffman table (marker FF C4) does not fill its segment");
}

static enum status count_scan(struct jpeg *jpeg, struct error *err)
{
    jpeg->scans++;
    if (!jpeg->seen_frame)
        return image_refuse_broken(jpeg->file, err, "a scan comes before the frame header");
    if (jpeg->scans <= (jpeg->progressive ? SCANS_PROGRESSIVE_MAX : jpeg->components))
        return STATUS_OK;
    return image_refuse_kind(jpeg->file, err, "it has more than %zu scans", jpeg->scans - 1);
}

static enum status take_marker(struct jpeg *jpeg, int marker, struct error *err)
{
    if (marker == MARKER_NONE)
        return image_refuse_cut(jpeg->file, err, "before its end marker (FF D9)");
    if (marker < MARKER_SOF_BASELINE || (marker >= MARKER_RST_FIRST && marker < MARKER_EOI))
        return image_refuse_broken(jpeg->file, err, "marker FF %02X at byte %zu has no place there", marker,
                                   jpeg->at - 2);
    enum status status = take_segment(jpeg, marker, err);
    if (status != STATUS_OK)
        return status;
    if (marker == MARKER_DHT)
        return check_huffman_tables(jpeg, err);
    if (marker == MARKER_SOS)
        return count_scan(jpeg, err);
    if (marker <= MARKER_SOF_LAST && marker != MARKER_JPG && marker != MARKER_DAC)
        return take_frame(jpeg, marker, err);
    return STATUS_OK;
}

enum status image_jpeg_check(const struct image_file *file, struct image_header *ret, struct error *err)
{
    struct jpeg jpeg = {.file = file, .at = 2}; /* after FF D8 */
    int marker = next_marker(&jpeg, false);
    while (marker != MARKER_EOI) {
        enum status status = take_marker(&jpeg, marker, err);
        if (status != STATUS_OK)
            return status;
        marker = next_marker(&jpeg, marker == MARKER_SOS);
    }
    if (jpeg.scans == 0)
        return image_refuse_broken(file, err, "it ends before its first scan");
    *ret = jpeg.header;
    return STATUS_OK;
}
