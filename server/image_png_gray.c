/* The short way for the picture that is sent most: a PNG of 8-bit gray, not interlaced, its data in one chunk, of the size that
 * the model takes. zlib inflates its rows to where they are unfiltered; nothing is allocated. Whatever zlib does not like
 * takes the usual way, through stb_image, whose verdict counts. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "server/image_parts.h"

enum { ROWS_BYTES_MAX = 64 * 1024 };

enum filter { FILTER_NONE, FILTER_SUB, FILTER_UP, FILTER_AVERAGE, FILTER_PAETH };

/* Each thread has one, made when it first reads such a picture. */
struct inflater {
    z_stream stream;
    uint8_t rows[ROWS_BYTES_MAX]; /* (height, 1 + width): each row behind its filter's number */
};

static pthread_key_t inflater_key;
static bool has_key;

static void inflater_free(void *argument)
{
    struct inflater *inflater = argument;
    inflateEnd(&inflater->stream);
    free(inflater);
}

static void make_key(void)
{
    has_key = pthread_key_create(&inflater_key, inflater_free) == 0;
}

/* NULL if out of memory. */
static struct inflater *inflater_of_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    struct inflater *inflater = has_key ? pthread_getspecific(inflater_key) : NULL;
    if (inflater || !has_key)
        return inflater;
    inflater = calloc(1, sizeof *inflater);
    if (!inflater)
        return NULL;
    if (inflateInit(&inflater->stream) == Z_OK) {
        if (pthread_setspecific(inflater_key, inflater) == 0)
            return inflater;
        inflateEnd(&inflater->stream);
    }
    free(inflater);
    return NULL;
}

static bool inflate_rows(struct inflater *inflater, const uint8_t *data, size_t len, size_t rows_bytes)
{
    z_stream *stream = &inflater->stream;
    inflateReset(stream);
    stream->next_in = (uint8_t *)(uintptr_t)data; /* zlib does not write there */
    stream->avail_in = (unsigned)len;
    stream->next_out = inflater->rows;
    stream->avail_out = (unsigned)rows_bytes;
    return inflate(stream, Z_FINISH) == Z_STREAM_END && stream->avail_out == 0;
}

/* The nearest of left, up and the corner between them to left + up - corner (PNG's section 9.4). */
static uint8_t paeth(int left, int up, int corner)
{
    int to_left = abs(up - corner), to_up = abs(left - corner), to_corner = abs(left + up - 2 * corner);
    if (to_left <= to_up && to_left <= to_corner)
        return (uint8_t)left;
    return (uint8_t)(to_up <= to_corner ? up : corner);
}

/* row = filtered + its prediction from the pixels to the left and above; `above` is a row of zeros for the first. */
static bool unfilter_row(enum filter filter, const uint8_t *filtered, const uint8_t *above, uint8_t *row,
                         size_t width)
{
    uint8_t left = 0, corner = 0;
    if (filter > FILTER_PAETH)
        return false;
    if (filter == FILTER_NONE) {
        memcpy(row, filtered, width);
        return true;
    }
    for (size_t x = 0; x < width; x++) {
        uint8_t predicted = 0;
        switch (filter) {
        case FILTER_NONE: break;
        case FILTER_SUB: predicted = left; break;
        case FILTER_UP: predicted = above[x]; break;
        case FILTER_AVERAGE: predicted = (uint8_t)((left + above[x]) / 2); break;
        case FILTER_PAETH: predicted = paeth(left, above[x], corner); break;
        }
        corner = above[x];
        left = row[x] = (uint8_t)(filtered[x] + predicted);
    }
    return true;
}

bool image_png_read_gray(const struct image_file *file, const struct image_header *header, uint8_t *ret_gray)
{
    static const uint8_t zeros[ROWS_BYTES_MAX];
    size_t width = header->width, rows_bytes = (width + 1) * header->height;
    if (!header->gray_at || rows_bytes > ROWS_BYTES_MAX)
        return false;
    struct inflater *inflater = inflater_of_thread();
    if (!inflater || !inflate_rows(inflater, file->data + header->gray_at, header->gray_bytes, rows_bytes))
        return false;
    const uint8_t *filtered = inflater->rows, *above = zeros;
    for (size_t y = 0; y < header->height; y++, filtered += width + 1) {
        if (!unfilter_row((enum filter)filtered[0], filtered + 1, above, ret_gray + y * width, width))
            return false;
        above = ret_gray + y * width;
    }
    return true;
}
