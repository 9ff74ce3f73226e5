/* The input is the Content-Type up to the first NUL, then the body. Every part must lie inside the body, behind the one
 * before it, with a delimiter in front of it and behind it and none within, and the number of parts is bounded. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether the text begins with a line that ends a part: CRLF "--" boundary, then "--" or blanks and CRLF. */
static int is_delimiter(const struct multipart *parts, const char *at)
{
    size_t left = (size_t)(parts->end - at);
    if (left < parts->delimiter_len || memcmp(at, parts->delimiter, parts->delimiter_len) != 0)
        return 0;
    at += parts->delimiter_len;
    left -= parts->delimiter_len;
    size_t blanks = strspn(at, " \t"); /* the body's copy ends with a NUL */
    return (left >= 2 && memcmp(at, "--", 2) == 0) || (left >= blanks + 2 && memcmp(at + blanks, "\r\n", 2) == 0);
}

static void check_part(const struct multipart *parts, const struct multipart_part *part, const char *behind)
{
    assert(part->data > behind && part->data + part->len <= parts->end);
    assert(memcmp(part->data - 2, "\r\n", 2) == 0);
    for (size_t i = 0; i < part->len; i++)
        assert(!is_delimiter(parts, part->data + i));
    assert(part->data + part->len + parts->delimiter_len == parts->at ||
           (part->len == 0 && part->data - 2 + parts->delimiter_len == parts->at));
    assert(strlen(part->name) < sizeof part->name && strlen(part->filename) < sizeof part->filename);
    assert(strlen(part->content_type) < sizeof part->content_type);
}

static void walk(const char *content_type, const char *body, size_t len)
{
    struct multipart parts;
    struct multipart_part part;
    struct error err = {0};
    size_t count = 0;
    const char *behind = body;
    enum status status = multipart_begin(&parts, content_type, body, len, &err);
    while (status == STATUS_OK && (status = multipart_next(&parts, &part, &err)) == STATUS_OK && part.data) {
        check_part(&parts, &part, behind);
        behind = part.data + part.len;
        count++;
    }
    assert(count <= MULTIPART_PARTS_MAX);
    assert(status == STATUS_OK ? count > 0 : status == err.status && err.message[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    if (!nul)
        return 0;
    size_t len = size - (size_t)(nul + 1 - data);
    char *body = malloc(len + 1);
    memcpy(body, nul + 1, len);
    body[len] = '\0';
    walk((const char *)data, body, len);
    free(body);
    return 0;
}
