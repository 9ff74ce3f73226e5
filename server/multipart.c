#include "server/multipart.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Where a part's content ends is told by the delimiter alone, CRLF "--" boundary, so each byte of content is looked at
 * once, by memmem. `at` stands behind a delimiter's boundary between calls: there "--" ends the body, and CRLF begins a
 * part's headers. */

struct span {
    const char *at;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    while (at < end && is_blank(end[-1]))
        end--;
    return (struct span){at, (size_t)(end - at)};
}

static bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

/* ---- values with parameters: multipart/form-data; boundary=x, form-data; name="a"; filename="b" ---- */

struct parameter {
    struct span name, value; /* a quoted value without its quotes, its escapes still in it */
    bool quoted;
};

/* The value itself, in front of its parameters. Sets *at to the first ';', or to the end. */
static struct span take_value(const char **at, const char *end)
{
    const char *start = *at, *stop = memchr(start, ';', (size_t)(end - start));
    *at = stop ? stop : end;
    return trim(start, *at);
}

/* The closing quote of a string that begins at `at`, or NULL. */
static const char *find_closing_quote(const char *at, const char *end)
{
    for (; at < end && *at != '"'; at++)
        if (*at == '\\' && end - at > 1)
            at++;
    return at < end ? at : NULL;
}

/* The value behind the '=', quoted or bare. False if its quotes are not closed, or more than blanks follow them. */
static bool take_parameter_value(const char **at, const char *end, struct parameter *ret)
{
    const char *value = *at;
    while (value < end && is_blank(*value))
        value++;
    ret->quoted = value < end && *value == '"';
    if (!ret->quoted) {
        ret->value = take_value(at, end);
        return true;
    }
    const char *close = find_closing_quote(value + 1, end);
    if (!close)
        return false;
    ret->value = (struct span){value + 1, (size_t)(close - value - 1)};
    *at = close + 1;
    return take_value(at, end).len == 0;
}

/* The next "; name=value". True with an empty name after the last one, false if this is no parameter. */
static bool take_parameter(const char **at, const char *end, struct parameter *ret)
{
    const char *from = *at;
    while (from < end && (*from == ';' || is_blank(*from)))
        from++;
    *ret = (struct parameter){{from, 0}, {from, 0}, false};
    *at = from;
    if (from == end)
        return true;
    const char *equals = from;
    while (equals < end && *equals != '=' && *equals != ';')
        equals++;
    ret->name = trim(from, equals);
    if (equals == end || *equals == ';' || !ret->name.len)
        return false;
    *at = equals + 1;
    return take_parameter_value(at, end, ret);
}

/* Copies a value, cut to fit. A backslash escapes a quote or a backslash, and is itself before anything else: browsers
 * have sent whole Windows paths. */
static void copy_value(const struct parameter *parameter, char *dst, size_t size)
{
    struct span value = parameter->value;
    size_t len = 0;
    for (size_t i = 0; i < value.len && len + 1 < size; i++) {
        bool escape = parameter->quoted && value.at[i] == '\\' && i + 1 < value.len &&
                      (value.at[i + 1] == '"' || value.at[i + 1] == '\\');
        i += escape;
        dst[len++] = value.at[i];
    }
    dst[len] = '\0';
}

/* ---- the Content-Type of the body ---- */

static enum status refuse_type(struct span type, struct error *err)
{
    int len = type.len < 100 ? (int)type.len : 100;
    error_set(err, STATUS_UNSUPPORTED, "the content type is \"%.*s\", not multipart/form-data", len, type.at);
    error_hint(err, "send the files as a form, for example with curl -F image=@boot.png");
    return STATUS_UNSUPPORTED;
}

static enum status refuse_boundary(const char *what, struct error *err)
{
    error_set(err, STATUS_INVALID, "the Content-Type multipart/form-data %s", what);
    error_hint(err,
               "do not write this header by hand: curl -F, requests' files= and fetch's FormData set it with the "
               "boundary that they use");
    return STATUS_INVALID;
}

/* The characters that RFC 2046 lets a boundary have. */
static bool is_boundary(struct span boundary)
{
    static const char others[] = "'()+_,-./:=? ";
    for (size_t i = 0; i < boundary.len; i++) {
        char c = boundary.at[i];
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alphanumeric && (!c || !strchr(others, c)))
            return false;
    }
    return boundary.len && boundary.at[boundary.len - 1] != ' ';
}

static enum status parse_boundary(const char *content_type, struct span *ret, struct error *err)
{
    const char *at = content_type, *end = at + strlen(at);
    struct span type = take_value(&at, end);
    if (!span_is(type, "multipart/form-data"))
        return refuse_type(type, err);
    struct parameter parameter;
    do
        if (!take_parameter(&at, end, &parameter))
            return refuse_boundary("has a parameter that is not written name=value", err);
    while (parameter.name.len && !span_is(parameter.name, "boundary"));
    if (!parameter.name.len)
        return refuse_boundary("has no boundary parameter", err);
    if (parameter.value.len > MULTIPART_BOUNDARY_MAX)
        return refuse_boundary("has a boundary of more than 70 characters", err);
    if (!is_boundary(parameter.value))
        return refuse_boundary("has a boundary that is empty or has a character that no boundary may have", err);
    *ret = parameter.value;
    return STATUS_OK;
}

/* ---- delimiters ---- */

static enum status refuse_lf(struct error *err)
{
    error_set(err, STATUS_INVALID, "the multipart body's lines end with LF alone; CRLF is expected");
    error_hint(err,
               "end the lines of delimiters and part headers with \\r\\n; curl -F does, a body typed by hand does "
               "not, and curl needs --data-binary for one");
    return STATUS_INVALID;
}

enum ending { ENDING_NONE, ENDING_PART, ENDING_CLOSE, ENDING_LF };

/* What follows a boundary tells whether it is a delimiter: "--", or blanks and the line's end. */
static enum ending ending_at(const char *at, const char *end)
{
    if (end - at >= 2 && at[0] == '-' && at[1] == '-')
        return ENDING_CLOSE;
    while (at < end && is_blank(*at))
        at++;
    if (at < end && *at == '\n')
        return ENDING_LF;
    return end - at >= 2 && at[0] == '\r' && at[1] == '\n' ? ENDING_PART : ENDING_NONE;
}

/* The first delimiter at or behind `at`, or NULL. */
static const char *find_delimiter(const struct multipart *parts, const char *at)
{
    while ((at = memmem(at, (size_t)(parts->end - at), parts->delimiter, parts->delimiter_len))) {
        if (ending_at(at + parts->delimiter_len, parts->end) != ENDING_NONE)
            return at;
        at += parts->delimiter_len;
    }
    return NULL;
}

/* Whether there is a delimiter that only lacks its CR. */
static bool has_lf_delimiter(const struct multipart *parts, const char *at)
{
    const char *start = at, *wanted = parts->delimiter + 1; /* LF "--" boundary */
    size_t len = parts->delimiter_len - 1;
    for (; (at = memmem(at, (size_t)(parts->end - at), wanted, len)); at += len)
        if ((at == start || at[-1] != '\r') && ending_at(at + len, parts->end) != ENDING_NONE)
            return true;
    return false;
}

static enum status refuse_no_delimiter(const struct multipart *parts, const char *body, struct error *err)
{
    if (has_lf_delimiter(parts, body))
        return refuse_lf(err);
    error_set(err, STATUS_INVALID, "the multipart body has no line %s, which its Content-Type announces",
              parts->delimiter + 2);
    error_hint(err, "send header and body as one client made them: the boundary is made anew for each request");
    return STATUS_INVALID;
}

static enum status refuse_cut(const struct multipart *parts, struct error *err)
{
    if (has_lf_delimiter(parts, parts->at))
        return refuse_lf(err);
    error_set(err, STATUS_INVALID, "the multipart body ends inside part %zu, before its closing delimiter %s--",
              parts->parts + 1, parts->delimiter + 2);
    error_hint(err, "the body was cut off on its way: send all of it, with the Content-Length of all of it");
    return STATUS_INVALID;
}

/* Behind the boundary that the body's first delimiter has, or NULL. That one needs no CRLF before it where the body
 * begins with it; what stands before it otherwise is a preamble, and of no meaning. */
static const char *find_first_part(const struct multipart *parts, const char *body)
{
    size_t bare = parts->delimiter_len - 2;
    if ((size_t)(parts->end - body) >= bare && memcmp(body, parts->delimiter + 2, bare) == 0 &&
        ending_at(body + bare, parts->end) != ENDING_NONE)
        return body + bare;
    const char *delimiter = find_delimiter(parts, body);
    return delimiter ? delimiter + parts->delimiter_len : NULL;
}

enum status multipart_begin(struct multipart *ret, const char *content_type, const char *body, size_t len,
                            struct error *err)
{
    body = len ? body : ""; /* an empty body may have no memory */
    struct multipart parts = {.end = body + len};
    struct span boundary = {0};
    enum status status = parse_boundary(content_type, &boundary, err);
    if (status != STATUS_OK)
        return status;
    memcpy(parts.delimiter, "\r\n--", 4);
    memcpy(parts.delimiter + 4, boundary.at, boundary.len);
    parts.delimiter_len = boundary.len + 4;
    parts.at = find_first_part(&parts, body);
    if (!parts.at)
        return refuse_no_delimiter(&parts, body, err);
    *ret = parts;
    return STATUS_OK;
}

/* ---- a part's headers ---- */

static enum status refuse_headers(const struct multipart *parts, const char *what, struct error *err)
{
    error_set(err, STATUS_INVALID, "part %zu of the multipart body has %s", parts->parts + 1, what);
    error_hint(err, "a part is its header lines, each \"Name: value\" and CRLF, an empty line, and the content");
    return STATUS_INVALID;
}

static enum status parse_disposition(const struct multipart *parts, struct span value, struct multipart_part *part,
                                     struct error *err)
{
    const char *at = value.at, *end = at + value.len;
    struct parameter parameter;
    take_value(&at, end); /* form-data, as a rule */
    for (;;) {
        if (!take_parameter(&at, end, &parameter))
            return refuse_headers(parts, "a Content-Disposition with a parameter that is not name=\"value\"", err);
        if (!parameter.name.len)
            return STATUS_OK;
        if (span_is(parameter.name, "name"))
            copy_value(&parameter, part->name, sizeof part->name);
        else if (span_is(parameter.name, "filename"))
            copy_value(&parameter, part->filename, sizeof part->filename);
    }
}

static void copy_type(struct span value, char *dst, size_t size)
{
    const char *at = value.at;
    struct span type = take_value(&at, at + value.len);
    size_t len = type.len < size ? type.len : size - 1;
    for (size_t i = 0; i < len; i++)
        dst[i] = type.at[i] >= 'A' && type.at[i] <= 'Z' ? (char)(type.at[i] - 'A' + 'a') : type.at[i];
    dst[len] = '\0';
}

static enum status check_encoding(const struct multipart *parts, struct span value, struct error *err)
{
    if (span_is(value, "binary") || span_is(value, "8bit") || span_is(value, "7bit"))
        return STATUS_OK;
    int len = value.len < 40 ? (int)value.len : 40;
    error_set(err, STATUS_UNSUPPORTED, "part %zu of the multipart body has the Content-Transfer-Encoding \"%.*s\"",
              parts->parts + 1, len, value.at);
    error_hint(err, "send the content's bytes as they are (binary), without this header");
    return STATUS_UNSUPPORTED;
}

static bool has_control_character(struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if (((unsigned char)line.at[i] < ' ' && line.at[i] != '\t') || line.at[i] == 0x7F)
            return true;
    return false;
}

static enum status parse_header(const struct multipart *parts, struct span line, struct multipart_part *part,
                                struct error *err)
{
    size_t bare = parts->delimiter_len - 2;
    if (line.len >= bare && memcmp(line.at, parts->delimiter + 2, bare) == 0)
        return refuse_headers(parts, "no empty line between its headers and its content", err);
    if (is_blank(line.at[0]))
        return refuse_headers(parts, "a header line that begins with a blank, which folds it into the one before",
                              err);
    if (has_control_character(line))
        return refuse_headers(parts, "a header line with a control character", err);
    const char *colon = memchr(line.at, ':', line.len);
    if (!colon || colon == line.at || is_blank(colon[-1]))
        return refuse_headers(parts, "a header line that is not \"Name: value\"", err);
    struct span name = {line.at, (size_t)(colon - line.at)}, value = trim(colon + 1, line.at + line.len);
    if (span_is(name, "content-disposition"))
        return parse_disposition(parts, value, part, err);
    if (span_is(name, "content-transfer-encoding"))
        return check_encoding(parts, value, err);
    if (span_is(name, "content-type"))
        copy_type(value, part->content_type, sizeof part->content_type);
    return STATUS_OK;
}

/* Reads the header lines from `at` up to and with the empty line; part->data is then what follows it. */
static enum status read_headers(const struct multipart *parts, const char *at, struct multipart_part *part,
                                struct error *err)
{
    bool limited = parts->end - at > MULTIPART_HEADER_BYTES_MAX;
    const char *end = limited ? at + MULTIPART_HEADER_BYTES_MAX : parts->end;
    const char *newline;
    for (; (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        if (newline == at || newline[-1] != '\r')
            return refuse_lf(err);
        struct span line = {at, (size_t)(newline - 1 - at)};
        if (line.len == 0) {
            part->data = newline + 1;
            return STATUS_OK;
        }
        enum status status = parse_header(parts, line, part, err);
        if (status != STATUS_OK)
            return status;
    }
    if (!limited)
        return refuse_cut(parts, err);
    error_set(err, STATUS_TOO_LARGE, "part %zu of the multipart body has more than %d bytes of headers",
              parts->parts + 1, MULTIPART_HEADER_BYTES_MAX);
    error_hint(err, "send Content-Disposition and Content-Type; shorten the file's name");
    return STATUS_TOO_LARGE;
}

/* ---- the parts ---- */

static enum status end_parts(const struct multipart *parts, struct multipart_part *ret, struct error *err)
{
    if (!parts->parts) {
        error_set(err, STATUS_INVALID, "the multipart body has no part");
        error_hint(err, "send at least one file, for example with curl -F image=@boot.png");
        return STATUS_INVALID;
    }
    *ret = (struct multipart_part){0};
    return STATUS_OK;
}

static enum status refuse_parts(struct error *err)
{
    error_set(err, STATUS_TOO_LARGE, "the multipart body has more than %d parts", MULTIPART_PARTS_MAX);
    error_hint(err, "split the request, or send the images as one .npy");
    return STATUS_TOO_LARGE;
}

enum status multipart_next(struct multipart *parts, struct multipart_part *ret, struct error *err)
{
    struct multipart_part part = {0};
    enum ending ending = ending_at(parts->at, parts->end);
    if (ending == ENDING_CLOSE)
        return end_parts(parts, ret, err);
    if (ending == ENDING_LF)
        return refuse_lf(err);
    if (parts->parts == MULTIPART_PARTS_MAX)
        return refuse_parts(err);
    const char *headers = memchr(parts->at, '\n',
                                 (size_t)(parts->end - parts->at)); /* ENDING_PART says it is there */
    enum status status = read_headers(parts, headers + 1, &part, err);
    if (status != STATUS_OK)
        return status;
    /* The empty line's own CRLF may begin the delimiter (RFC 2046: a part may have no content at all). */
    const char *delimiter = find_delimiter(parts, part.data - 2);
    if (!delimiter)
        return refuse_cut(parts, err);
    part.len = delimiter > part.data ? (size_t)(delimiter - part.data) : 0;
    parts->at = delimiter + parts->delimiter_len;
    parts->parts++;
    *ret = part;
    return STATUS_OK;
}
