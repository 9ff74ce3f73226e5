/* PNM (binary PGM and PPM), read here and not by stb_image, whose v2.27 hands out memory that it never wrote for a file
 * that is cut, takes two-byte samples in the wrong order, and does not scale by the file's own white. */
#include "server/image_parts.h"

#include <stdbool.h>

struct pnm {
    const struct image_file *file;
    size_t at;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* White space, and comments from # to the end of the line. */
static void skip_space(struct pnm *pnm)
{
    const uint8_t *data = pnm->file->data;
    bool in_comment = false;
    for (; pnm->at < pnm->file->len; pnm->at++) {
        uint8_t c = data[pnm->at];
        if (in_comment ? c == '\n' || c == '\r' : c == '#')
            in_comment = !in_comment;
        else if (!in_comment && !is_space(c))
            return;
    }
}

static enum status read_number(struct pnm *pnm, const char *what, uint64_t *ret_number, struct error *err)
{
    skip_space(pnm);
    size_t begin = pnm->at;
    uint64_t number = 0;
    for (; pnm->at < pnm->file->len; pnm->at++) {
        unsigned digit = pnm->file->data[pnm->at] - (unsigned)'0';
        if (digit > 9)
            break;
        number = number * 10 + digit;
        if (number > UINT32_MAX)
            return image_refuse_broken(pnm->file, err, "its %s at byte %zu is beyond 32 bits", what, begin);
    }
    if (pnm->at == pnm->file->len)
        return image_refuse_cut(pnm->file, err, "inside its header, at the %s", what);
    if (pnm->at == begin)
        return image_refuse_broken(pnm->file, err, "a number, its %s, should stand at byte %zu", what, begin);
    *ret_number = number;
    return STATUS_OK;
}

static enum status check_samples(const struct pnm *pnm, const struct image_header *header, struct error *err)
{
    size_t bytes = header->samples_pixel * (header->sample_max > 255 ? 2 : 1);
    size_t needed = header->width * header->height * bytes, left = pnm->file->len - pnm->at;
    if (!is_space(pnm->file->data[pnm->at]))
        return image_refuse_broken(pnm->file, err, "white space should stand at byte %zu, after its header",
                                   pnm->at);
    if (left - 1 < needed)
        return image_refuse_cut(pnm->file, err, "inside its samples: %zu bytes from byte %zu on", needed,
                                pnm->at + 1);
    return STATUS_OK;
}

enum status image_pnm_check(const struct image_file *file, struct image_header *ret, struct error *err)
{
    struct pnm pnm = {.file = file, .at = 2};
    struct image_header header = {.samples_pixel = file->data[1] == '6' ? 3 : 1};
    uint64_t width = 0, height = 0, white = 0;
    enum status status = read_number(&pnm, "width", &width, err);
    if (status == STATUS_OK)
        status = read_number(&pnm, "height", &height, err);
    if (status == STATUS_OK)
        status = read_number(&pnm, "largest sample", &white, err);
    if (status == STATUS_OK && (white == 0 || white > 65535))
        status = image_refuse_broken(file, err, "its largest sample is %llu, not 1 to 65535",
                                     (unsigned long long)white);
    if (status == STATUS_OK)
        status = image_size_take(file, width, height, &header, err);
    if (status != STATUS_OK)
        return status;
    header.sample_max = (unsigned)white;
    header.samples_at = pnm.at + 1;
    status = check_samples(&pnm, &header, err);
    if (status == STATUS_OK)
        *ret = header;
    return status;
}

static uint32_t sample_at(const uint8_t *samples, size_t i, uint32_t white)
{
    uint32_t sample = white > 255 ? image_be16(samples + 2 * i) : samples[i];
    return ((sample > white ? white : sample) * 255 + white / 2) / white;
}

void image_pnm_gray(const struct image_file *file, const struct image_header *header, uint8_t *ret_gray,
                    size_t count)
{
    const uint8_t *samples = file->data + header->samples_at;
    uint32_t white = header->sample_max;
    for (size_t i = 0; i < count; i++) {
        if (header->samples_pixel == 1)
            ret_gray[i] = sample_at(samples, i, white);
        else
            ret_gray[i] = image_luma(sample_at(samples, 3 * i, white), sample_at(samples, 3 * i + 1, white),
                                     sample_at(samples, 3 * i + 2, white));
    }
}

void image_pnm_channel(const struct image_file *file, const struct image_header *header, size_t channel,
                       uint8_t *ret_plane, size_t count)
{
    const uint8_t *samples = file->data + header->samples_at;
    const size_t pixel = header->samples_pixel, at = pixel == 1 ? 0 : channel;
    for (size_t i = 0; i < count; i++)
        ret_plane[i] = sample_at(samples, pixel * i + at, header->sample_max);
}
