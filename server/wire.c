#include "server/wire.h"

#include <string.h>
#include <strings.h>

#include "server/wire_scan.h"

/* A step reads as many bytes as belong to its state, and returns where it stopped: at the first byte of the next state, or
 * at the byte that shows a fault. at < end, always. */
typedef const char *wire_step(struct wire *wire, const char *at, const char *end);

enum state {
    BETWEEN,
    BETWEEN_LF,
    METHOD,
    TARGET,
    VERSION,
    LINE_LF,
    LINE,
    NAME,
    LEAD,
    VALUE,
    END_LF,
    BODY,
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_LF,
    CHUNK_DATA,
    CHUNK_END,
    CHUNK_END_LF,
    STATES
};

/* The headers that framing depends on; in `seen`, those that the head at hand has. */
enum field { FIELD_OTHER = 0, FIELD_HOST = 1, FIELD_LENGTH = 2, FIELD_CODING = 4 };

enum seen {
    SEEN_HTTP_1_0 = 8,
    SEEN_HOST_END = 16, /* the blank behind the host's last character */
    SEEN_LAST_CHUNK = 32
};

/* Content-Length has at most 19 digits, and no chunk has 2^63 bytes: 16 hexadecimal digits. */
enum { LENGTH_DIGITS_MAX = 19, CHUNK_DIGITS_MAX = 16 };

_Static_assert(sizeof(struct wire) <= 64, "one cache line, for each of thousands of connections");
_Static_assert(WIRE_EXTENSION_BYTES_MAX == 256, "the text of WIRE_CHUNK_EXTENSION says so");

static const char *refuse(struct wire *wire, enum wire_fault fault, const char *at)
{
    wire->fault = (uint8_t)fault;
    return at;
}

/* A byte that has no place where it stands. What ends lines is named as such, any other control character too. */
static const char *refuse_byte(struct wire *wire, enum wire_fault otherwise, const char *at)
{
    if (*at == '\n')
        return refuse(wire, WIRE_BARE_LF, at);
    bool control = is_control(*at) && *at != '\r' && *at != '\t';
    return refuse(wire, control ? WIRE_CONTROL : otherwise, at);
}

/* ---- words that may be cut by the end of a feed ---- */

struct word {
    const char *at; /* of these, at most WIRE_TEXT_MAX may be read */
    size_t len;     /* WIRE_TEXT_MAX + 1 if it is longer */
};

static void keep(struct wire *wire, const char *at, const char *end)
{
    while (at < end && wire->text_len < WIRE_TEXT_MAX)
        wire->text[wire->text_len++] = *at++;
    if (at < end)
        wire->text_len = WIRE_TEXT_MAX + 1;
}

/* What was kept of a word, and its rest up to `end`; nothing is kept any more. Valid until the next keep. */
static struct word take_word(struct wire *wire, const char *at, const char *end)
{
    size_t len = (size_t)(end - at);
    if (!wire->text_len)
        return (struct word){at, len <= WIRE_TEXT_MAX ? len : WIRE_TEXT_MAX + 1};
    keep(wire, at, end);
    struct word word = {wire->text, wire->text_len};
    wire->text_len = 0;
    return word;
}

static bool word_is(struct word word, const char *text, size_t len)
{
    return word.len == len && strncasecmp(word.at, text, len) == 0;
}

/* ---- between requests ---- */

static void begin_head(struct wire *wire)
{
    wire->heads_begun++;
    wire->head_bytes = 0;
    wire->head_parts = 0;
    wire->left = 0;
    wire->seen = 0;
    wire->text_len = 0;
    wire->state = METHOD;
}

static const char *step_between(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at == '\r') {
        wire->state = BETWEEN_LF;
        return at + 1;
    }
    begin_head(wire);
    return at;
}

static const char *step_between_lf(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at == '\n') {
        wire->state = BETWEEN;
        return at + 1;
    }
    begin_head(wire);
    return refuse(wire, WIRE_BARE_CR, at);
}

static void count_parts(struct wire *wire, size_t more)
{
    wire->head_parts = (uint16_t)(wire->head_parts + more < UINT16_MAX ? wire->head_parts + more : UINT16_MAX);
}

/* Behind a line's CR, and behind its LF too where that is at hand: one step less. */
static const char *end_line(struct wire *wire, const char *cr, const char *end)
{
    bool whole = end - cr > 1 && cr[1] == '\n';
    count_parts(wire, 1);
    wire->state = whole ? LINE : LINE_LF;
    return cr + 1 + whole;
}

/* ---- the request line ---- */

static const char *step_method(struct wire *wire, const char *at, const char *end)
{
    const char *to = skip_token(at, end);
    if (to == end) {
        keep(wire, at, to);
        return to;
    }
    struct word method = take_word(wire, at, to);
    if (*to != ' ' || !method.len)
        return refuse_byte(wire, WIRE_REQUEST_LINE, to);
    if (method.len == 7 && memcmp(method.at, "CONNECT", 7) == 0)
        return refuse(wire, WIRE_CONNECT, to);
    wire->state = TARGET;
    return to + 1;
}

static const char *step_target(struct wire *wire, const char *at, const char *end)
{
    const char *to = skip_from(at, end, ' ' + 1);
    for (const char *c = at; c < to; c++)
        if (*c == '&')
            count_parts(wire, 1);
    if (to > at)
        wire->left = 1; /* it is not empty */
    if (to == end)
        return to;
    if (*to != ' ' || !wire->left)
        return refuse_byte(wire, WIRE_REQUEST_LINE, to);
    wire->left = 0;
    wire->state = VERSION;
    return to + 1;
}

static enum wire_fault judge_version(struct word version)
{
    bool written = version.len == 8 && memcmp(version.at, "HTTP/", 5) == 0 && version.at[6] == '.';
    const char *digits = version.at + 5;
    if (!written || digits[0] < '0' || digits[0] > '9' || digits[2] < '0' || digits[2] > '9')
        return WIRE_REQUEST_LINE;
    return digits[0] == '1' ? WIRE_NO_FAULT : WIRE_VERSION;
}

static const char *step_version(struct wire *wire, const char *at, const char *end)
{
    const char *to = skip_from(at, end, ' ' + 1);
    if (to == end) {
        keep(wire, at, to);
        return to;
    }
    if (*to != '\r')
        return refuse_byte(wire, WIRE_REQUEST_LINE, to);
    struct word version = take_word(wire, at, to);
    enum wire_fault fault = judge_version(version);
    if (fault)
        return refuse(wire, fault, to);
    wire->seen = version.at[7] == '0' ? SEEN_HTTP_1_0 : 0;
    return end_line(wire, to, end);
}

/* ---- header lines, of a head or a trailer ---- */

static const char *step_line_lf(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at != '\n')
        return refuse(wire, WIRE_BARE_CR, at);
    wire->state = LINE;
    return at + 1;
}

/* Framing, routing and what a body is must be known before the body (RFC 9110, 6.5.1). */
static bool is_forbidden_in_trailer(struct word name)
{
    static const char names[] =
        "authorization cache-control connection content-encoding content-length content-range content-type cookie "
        "expect host if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive max-forwards "
        "proxy-authorization proxy-connection range te trailer transfer-encoding upgrade";
    for (const char *at = names; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        if (word_is(name, at, len))
            return true;
        at += len;
    }
    return false;
}

static enum field field_of(struct word name)
{
    switch (name.len) {
    case 4: return word_is(name, "host", 4) ? FIELD_HOST : FIELD_OTHER;
    case 14: return word_is(name, "content-length", 14) ? FIELD_LENGTH : FIELD_OTHER;
    case 17: return word_is(name, "transfer-encoding", 17) ? FIELD_CODING : FIELD_OTHER;
    default: return FIELD_OTHER;
    }
}

/* Whether the head so far lets this header stand in it. */
static enum wire_fault judge_field(unsigned seen, enum field field)
{
    switch (field) {
    case FIELD_OTHER: break;
    case FIELD_HOST: return seen & FIELD_HOST ? WIRE_TWO_HOSTS : WIRE_NO_FAULT;
    case FIELD_LENGTH:
        if (seen & FIELD_LENGTH)
            return WIRE_TWO_LENGTHS;
        return seen & FIELD_CODING ? WIRE_LENGTH_AND_CODING : WIRE_NO_FAULT;
    case FIELD_CODING:
        if (seen & SEEN_HTTP_1_0)
            return WIRE_CODING_IN_1_0;
        if (seen & FIELD_CODING)
            return WIRE_TWO_CODINGS;
        return seen & FIELD_LENGTH ? WIRE_LENGTH_AND_CODING : WIRE_NO_FAULT;
    }
    return WIRE_NO_FAULT;
}

static enum wire_fault end_name(struct wire *wire, struct word name)
{
    wire->state = LEAD;
    wire->field = FIELD_OTHER;
    if (wire->seen & SEEN_LAST_CHUNK)
        return is_forbidden_in_trailer(name) ? WIRE_TRAILER : WIRE_NO_FAULT;
    enum field field = field_of(name);
    enum wire_fault fault = judge_field(wire->seen, field);
    wire->field = (uint8_t)field;
    wire->seen |= (uint8_t)field;
    return fault;
}

static const char *step_name(struct wire *wire, const char *at, const char *end)
{
    const char *to = skip_token(at, end);
    if (to == end) {
        keep(wire, at, to);
        return to;
    }
    if (*to == ':') {
        enum wire_fault fault = end_name(wire, take_word(wire, at, to));
        return fault ? refuse(wire, fault, to) : to + 1;
    }
    if (is_blank(*to))
        return refuse(wire, WIRE_NAME_BLANK, to);
    return refuse_byte(wire, *to == '\r' ? WIRE_NO_COLON : WIRE_NAME_CHARACTER, to);
}

static const char *step_line(struct wire *wire, const char *at, const char *end)
{
    if (*at == '\r') {
        wire->state = END_LF;
        return at + 1;
    }
    if (is_blank(*at))
        return refuse(wire, WIRE_FOLDED, at);
    if (*at == ':')
        return refuse(wire, WIRE_NAME_EMPTY, at);
    wire->state = NAME;
    return step_name(wire, at, end);
}

static enum wire_fault judge_length(struct wire *wire, struct word value)
{
    uint64_t len = 0;
    if (memchr(value.at, ',', value.len <= WIRE_TEXT_MAX ? value.len : WIRE_TEXT_MAX))
        return WIRE_TWO_LENGTHS; /* two that a proxy has joined */
    if (!value.len || value.len > LENGTH_DIGITS_MAX)
        return WIRE_LENGTH;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return WIRE_LENGTH;
        len = len * 10 + (uint64_t)(value.at[i] - '0');
    }
    wire->left = len;
    return len <= INT64_MAX ? WIRE_NO_FAULT : WIRE_LENGTH;
}

/* A list that does not begin with a coding, or with chunked and then more, is no list of codings (RFC 9112, 6.1); any other
 * is one that this server lacks. */
static enum wire_fault judge_coding(struct word value)
{
    if (word_is(value, "chunked", 7))
        return WIRE_NO_FAULT;
    const char *end = value.at + (value.len <= WIRE_TEXT_MAX ? value.len : WIRE_TEXT_MAX);
    struct word first = {value.at, (size_t)(skip_token(value.at, end) - value.at)};
    return !first.len || word_is(first, "chunked", 7) ? WIRE_CODING : WIRE_CODING_UNKNOWN;
}

/* The first of these bytes that no host may have, or the end. Blanks may follow the host. */
static const char *skip_host(struct wire *wire, const char *at, const char *end)
{
    for (; at < end; at++) {
        bool blank = is_blank(*at);
        if (!blank && (wire->seen & SEEN_HOST_END || !is_in(*at, HOST)))
            return at;
        wire->seen |= blank ? SEEN_HOST_END : 0;
    }
    return end;
}

static enum wire_fault end_value(struct wire *wire, const char *at, const char *end)
{
    if (wire->field == FIELD_LENGTH)
        return judge_length(wire, take_word(wire, at, end));
    return wire->field == FIELD_CODING ? judge_coding(take_word(wire, at, end)) : WIRE_NO_FAULT;
}

static const char *step_value(struct wire *wire, const char *at, const char *end)
{
    const char *to = skip_text(at, end);
    const char *checked = wire->field == FIELD_HOST ? skip_host(wire, at, to) : to;
    if (checked < to)
        return refuse(wire, WIRE_HOST, checked);
    if (to == end) {
        if (wire->field == FIELD_LENGTH || wire->field == FIELD_CODING)
            keep(wire, at, to);
        return to;
    }
    if (*to != '\r')
        return refuse_byte(wire, WIRE_CONTROL, to);
    enum wire_fault fault = end_value(wire, at, to);
    if (fault)
        return refuse(wire, fault, to);
    return end_line(wire, to, end);
}

/* The blanks between colon and value. */
static const char *step_lead(struct wire *wire, const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    if (at == end)
        return at;
    wire->state = VALUE;
    return step_value(wire, at, end);
}

/* The empty line: what follows is told by the head. */
static const char *step_end_lf(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at != '\n')
        return refuse(wire, WIRE_BARE_CR, at);
    if (wire->seen & SEEN_LAST_CHUNK) {
        wire->state = BETWEEN;
        return at + 1;
    }
    if (!(wire->seen & (FIELD_HOST | SEEN_HTTP_1_0)))
        return refuse(wire, WIRE_NO_HOST, at);
    wire->heads_done++;
    if (wire->seen & FIELD_CODING)
        wire->state = CHUNK_SIZE;
    else
        wire->state = wire->left ? BODY : BETWEEN;
    return at + 1;
}

/* ---- bodies ---- */

/* Passes over what is left; its last byte leads to `next`. */
static const char *skip_left(struct wire *wire, const char *at, const char *end, enum state next)
{
    uint64_t here = (uint64_t)(end - at);
    if (here < wire->left) {
        wire->left -= here;
        return end;
    }
    at += wire->left;
    wire->left = 0;
    wire->state = (uint8_t)next;
    return at;
}

static const char *step_body(struct wire *wire, const char *at, const char *end)
{
    return skip_left(wire, at, end, BETWEEN);
}

/* The digit's value, or -1. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Where the digits end. text_len counts them. */
static const char *end_chunk_size(struct wire *wire, const char *at)
{
    if (!wire->text_len || (*at != ';' && *at != '\r'))
        return wire->text_len ? refuse_byte(wire, WIRE_CHUNK_SIZE, at) : refuse(wire, WIRE_CHUNK_SIZE, at);
    wire->text_len = 0;
    wire->extension_bytes = 0;
    wire->state = *at == ';' ? CHUNK_EXTENSION : CHUNK_LF;
    return at + 1;
}

static const char *step_chunk_size(struct wire *wire, const char *at, const char *end)
{
    for (; at < end; at++) {
        int digit = hex_value(*at);
        if (digit < 0)
            return end_chunk_size(wire, at);
        if (wire->text_len == CHUNK_DIGITS_MAX || wire->left > INT64_MAX / 16)
            return refuse(wire, WIRE_CHUNK_SIZE, at);
        wire->left = wire->left * 16 + (uint64_t)digit;
        wire->text_len++;
    }
    return at;
}

static const char *step_chunk_extension(struct wire *wire, const char *at, const char *end)
{
    size_t room = (size_t)(WIRE_EXTENSION_BYTES_MAX - wire->extension_bytes);
    const char *to = skip_text(at, end);
    if ((size_t)(to - at) > room)
        return refuse(wire, WIRE_CHUNK_EXTENSION, at + room);
    wire->extension_bytes = (uint16_t)(wire->extension_bytes + (to - at));
    if (to == end)
        return to;
    if (*to != '\r')
        return refuse_byte(wire, WIRE_CONTROL, to);
    wire->state = CHUNK_LF;
    return to + 1;
}

static const char *step_chunk_lf(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at != '\n')
        return refuse(wire, WIRE_BARE_CR, at);
    wire->seen |= wire->left ? 0 : SEEN_LAST_CHUNK;
    wire->state = wire->left ? CHUNK_DATA : LINE;
    return at + 1;
}

static const char *step_chunk_data(struct wire *wire, const char *at, const char *end)
{
    return skip_left(wire, at, end, CHUNK_END);
}

static const char *step_chunk_end(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at != '\r')
        return refuse(wire, WIRE_CHUNK_END, at);
    wire->state = CHUNK_END_LF;
    return at + 1;
}

static const char *step_chunk_end_lf(struct wire *wire, const char *at, const char *end)
{
    (void)end;
    if (*at != '\n')
        return refuse(wire, WIRE_CHUNK_END, at);
    wire->state = CHUNK_SIZE;
    return at + 1;
}

/* ---- the whole ---- */

static wire_step *const steps[STATES] = {
    [BETWEEN] = step_between,
    [BETWEEN_LF] = step_between_lf,
    [METHOD] = step_method,
    [TARGET] = step_target,
    [VERSION] = step_version,
    [LINE_LF] = step_line_lf,
    [LINE] = step_line,
    [NAME] = step_name,
    [LEAD] = step_lead,
    [VALUE] = step_value,
    [END_LF] = step_end_lf,
    [BODY] = step_body,
    [CHUNK_SIZE] = step_chunk_size,
    [CHUNK_EXTENSION] = step_chunk_extension,
    [CHUNK_LF] = step_chunk_lf,
    [CHUNK_DATA] = step_chunk_data,
    [CHUNK_END] = step_chunk_end,
    [CHUNK_END_LF] = step_chunk_end_lf,
};

size_t wire_feed(struct wire *wire, const char *data, size_t len)
{
    const char *at = data, *end = data + len;
    while (at < end && !wire->fault) {
        const char *from = at;
        bool head = wire->state >= METHOD && wire->state <= END_LF;
        at = steps[wire->state](wire, at, end);
        wire->head_bytes += head ? (uint64_t)(at - from) : 0;
    }
    return (size_t)(at - data);
}

enum wire_place wire_place(const struct wire *wire)
{
    if (wire->state <= BETWEEN_LF)
        return WIRE_BETWEEN;
    bool head = wire->state <= END_LF && !(wire->seen & SEEN_LAST_CHUNK);
    return head ? WIRE_IN_HEAD : WIRE_IN_BODY;
}

uint64_t wire_fault_index(const struct wire *wire)
{
    return wire->heads_begun - 1;
}
