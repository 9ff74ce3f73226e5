#include "server/npy.h"

#include <assert.h>
#include <string.h>

/* A file is the magic, two bytes of version, the header's length (16 bits in version 1, 32 in versions 2 and 3, little-
 * endian), the header, which is the text of a Python dict, and the elements. The dict is read by a parser that knows its
 * three keys and nothing else of Python: nothing in a file can name code. */
static const char magic[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, PREAMBLE_BYTES_V1 = 10, PREAMBLE_BYTES_V2 = 12, HEADER_ALIGNMENT = 64 };

static const struct dtype {
    const char *code, *name; /* the code without its byte order */
    size_t item_bytes;
} dtypes[] = {
    [NPY_UINT8] = {"u1", "uint8", 1},
    [NPY_FLOAT16] = {"f2", "float16", 2},
    [NPY_FLOAT32] = {"f4", "float32", 4},
    [NPY_FLOAT64] = {"f8", "float64", 8},
};

struct span {
    const char *at;
    size_t len;
};

struct cursor {
    const char *at, *end;
    struct error *err;
};

size_t npy_item_bytes(enum npy_dtype dtype)
{
    return dtypes[dtype].item_bytes;
}

bool npy_sniff(const void *data, size_t len)
{
    return len >= MAGIC_BYTES && memcmp(data, magic, MAGIC_BYTES) == 0;
}

/* ---- the dict's text ---- */

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool take(struct cursor *c, char wanted)
{
    skip_blanks(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static enum status refuse_header(const struct cursor *c, const char *expected)
{
    int len = c->end - c->at < 24 ? (int)(c->end - c->at) : 24;
    if (len == 0)
        error_set(c->err, STATUS_INVALID, "the .npy header ends where %s is expected", expected);
    else
        error_set(c->err, STATUS_INVALID, "the .npy header has \"%.*s\" where %s is expected", len, c->at,
                  expected);
    error_hint(c->err,
               "write the file with numpy.save: its header is a dict of 'descr', 'fortran_order' and 'shape'");
    return STATUS_INVALID;
}

/* A string in single or double quotes. No name that is known here has a backslash, so escapes are not read. */
static enum status parse_string(struct cursor *c, const char *expected, struct span *ret)
{
    skip_blanks(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"'))
        return refuse_header(c, expected);
    const char *start = c->at + 1;
    const char *close = memchr(start, *c->at, (size_t)(c->end - start));
    if (!close)
        return refuse_header(c, "a string with its closing quote");
    *ret = (struct span){start, (size_t)(close - start)};
    c->at = close + 1;
    return STATUS_OK;
}

static bool is_word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static enum status parse_bool(struct cursor *c, bool *ret)
{
    skip_blanks(c);
    const char *end = c->at;
    while (end < c->end && is_word_character(*end))
        end++;
    size_t len = (size_t)(end - c->at);
    bool is_true = len == 4 && memcmp(c->at, "True", 4) == 0;
    if (!is_true && !(len == 5 && memcmp(c->at, "False", 5) == 0))
        return refuse_header(c, "True or False");
    *ret = is_true;
    c->at = end;
    return STATUS_OK;
}

/* A Python integer in decimal digits: no sign, no leading zero, no underscore, no L. */
static enum status parse_size(struct cursor *c, size_t *ret)
{
    skip_blanks(c);
    const char *start = c->at, *end = start;
    size_t value = 0;
    for (; end < c->end && *end >= '0' && *end <= '9'; end++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (size_t)(*end - '0'), &value))
            return refuse_header(c, "a dimension that fits in memory");
    if (end == start || (*start == '0' && end > start + 1) || (end < c->end && is_word_character(*end)))
        return refuse_header(c, "a dimension in decimal digits");
    *ret = value;
    c->at = end;
    return STATUS_OK;
}

static enum status refuse_dims(struct error *err)
{
    error_set(err, STATUS_INVALID, "the .npy array has more than %d dimensions", NPY_DIMS_MAX);
    error_hint(err, "send rows: arr.reshape(len(arr), -1)");
    return STATUS_INVALID;
}

/* A tuple: (), (5,), (5, 6) or (5, 6,). (5) is an integer in Python, and refused. */
static enum status parse_shape(struct cursor *c, struct npy *npy)
{
    bool comma = true;
    npy->dims = 0;
    if (!take(c, '('))
        return refuse_header(c, "the shape, a tuple of dimensions");
    while (!take(c, ')')) {
        if (!comma)
            return refuse_header(c, "',' or ')'");
        if (npy->dims == NPY_DIMS_MAX)
            return refuse_dims(c->err);
        enum status status = parse_size(c, &npy->shape[npy->dims]);
        if (status != STATUS_OK)
            return status;
        npy->dims++;
        comma = take(c, ',');
    }
    return npy->dims == 1 && !comma ? refuse_header(c, "a tuple (a single dimension is written (5,))") : STATUS_OK;
}

/* ---- the element type ---- */

static const char to_float32[] = "convert with arr.astype('float32')";
static const char to_uint8_or_float32[] =
    "convert with arr.astype('uint8') if these are gray levels from 0 to 255, else with arr.astype('float32')";
static const char to_numbers[] = "send an array of numbers: uint8, float16, float32 or float64";

static bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

/* What NumPy's codes without their byte order are called, and what to do about them. A code of one letter stands for
 * all of its lengths. */
static const struct foreign_dtype {
    const char *code, *name, *hint;
} foreign_dtypes[] = {
    {"b1", "bool", to_float32},
    {"i1", "int8", to_uint8_or_float32},
    {"i2", "int16", to_uint8_or_float32},
    {"i4", "int32", to_uint8_or_float32},
    {"i8", "int64", to_uint8_or_float32},
    {"u2", "uint16", to_uint8_or_float32},
    {"u4", "uint32", to_uint8_or_float32},
    {"u8", "uint64", to_uint8_or_float32},
    {"f12", "longdouble", to_float32},
    {"f16", "longdouble", to_float32},
    {"c", "complex", "send the real part: arr.real.astype('float32')"},
    {"O", "object",
     "objects are pickled and never read here: make one array of numbers, for example with "
     "numpy.stack(rows).astype('float32')"},
    {"S", "bytes", to_numbers},
    {"U", "str", to_numbers},
    {"V", "void", "convert with arr.astype('float32') (bfloat16 is written so)"},
    {"M", "datetime64", to_numbers},
    {"m", "timedelta64", to_numbers},
};

static enum status refuse_dtype(struct span descr, struct span code, struct error *err)
{
    const char *name = "", *hint = to_float32;
    for (size_t i = 0; i < sizeof foreign_dtypes / sizeof foreign_dtypes[0]; i++) {
        const struct foreign_dtype *foreign = &foreign_dtypes[i];
        if (span_is(code, foreign->code) || (!foreign->code[1] && code.len && code.at[0] == foreign->code[0])) {
            name = foreign->name;
            hint = foreign->hint;
            break;
        }
    }
    int len = descr.len < 24 ? (int)descr.len : 24;
    error_set(err, STATUS_UNSUPPORTED,
              "the .npy array has dtype %s%s'%.*s'; uint8, float16, float32 and float64 are read", name,
              *name ? ", written " : "", len, descr.at);
    error_hint(err, "%s", hint);
    return STATUS_UNSUPPORTED;
}

/* Little-endian, big-endian, and two that name no order, which NumPy reads, like none at all, as its machine's. */
static bool is_byte_order(char c)
{
    return c == '<' || c == '>' || c == '=' || c == '|';
}

static enum status refuse_structured(struct error *err)
{
    error_set(err, STATUS_UNSUPPORTED, "the .npy array has a structured dtype; plain numbers are read");
    error_hint(err, "send one field as an array: arr['name'].astype('float32')");
    return STATUS_UNSUPPORTED;
}

static enum status parse_dtype(struct cursor *c, struct npy *npy)
{
    struct span descr;
    skip_blanks(c);
    if (c->at < c->end && (*c->at == '[' || *c->at == '('))
        return refuse_structured(c->err);
    enum status status = parse_string(c, "the dtype, a string", &descr);
    if (status != STATUS_OK)
        return status;
    bool ordered = descr.len && is_byte_order(descr.at[0]);
    struct span code = {descr.at + ordered, descr.len - ordered};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (span_is(code, dtypes[i].code)) {
            npy->dtype = (enum npy_dtype)i;
            npy->big_endian = descr.at[0] == '>' || (descr.at[0] != '<' && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
            return STATUS_OK;
        }
    return refuse_dtype(descr, code, c->err);
}

/* ---- the header ---- */

enum { KEY_DESCR, KEY_FORTRAN_ORDER, KEY_SHAPE, KEYS };
static const char *const keys[KEYS] = {"descr", "fortran_order", "shape"};

static enum status parse_entry(struct cursor *c, struct npy *npy, unsigned *seen)
{
    struct span name;
    skip_blanks(c);
    const char *start = c->at;
    enum status status = parse_string(c, "a key", &name);
    if (status != STATUS_OK)
        return status;
    unsigned key = 0;
    while (key < KEYS && !span_is(name, keys[key]))
        key++;
    if (key == KEYS || *seen & 1U << key) {
        c->at = start;
        return refuse_header(c, key == KEYS ? "'descr', 'fortran_order' or 'shape'"
                                            : "a key that was not there before");
    }
    *seen |= 1U << key;
    if (!take(c, ':'))
        return refuse_header(c, "':'");
    switch (key) {
    case KEY_DESCR: return parse_dtype(c, npy);
    case KEY_SHAPE: return parse_shape(c, npy);
    default: return parse_bool(c, &npy->fortran_order);
    }
}

static enum status parse_dict(struct cursor *c, struct npy *npy)
{
    unsigned seen = 0;
    bool comma = true;
    if (!take(c, '{'))
        return refuse_header(c, "'{'");
    while (!take(c, '}')) {
        if (!comma)
            return refuse_header(c, "',' or '}'");
        enum status status = parse_entry(c, npy, &seen);
        if (status != STATUS_OK)
            return status;
        comma = take(c, ',');
    }
    skip_blanks(c);
    if (c->at < c->end)
        return refuse_header(c, "nothing more");
    for (unsigned key = 0; key < KEYS; key++) {
        if (seen & 1U << key)
            continue;
        error_set(c->err, STATUS_INVALID, "the .npy header has no '%s'", keys[key]);
        error_hint(c->err, "write the file with numpy.save");
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status refuse_version(unsigned major, unsigned minor, struct error *err)
{
    error_set(err, STATUS_UNSUPPORTED, "the .npy file has format version %u.%u; 1.0, 2.0 and 3.0 are read", major,
              minor);
    error_hint(err, "write the file with numpy.save");
    return STATUS_UNSUPPORTED;
}

static enum status refuse_cut(const char *where, size_t expected, size_t got, struct error *err)
{
    error_set(err, STATUS_INVALID, "the .npy file is cut off: %s is %zu bytes long, and %zu are there", where,
              expected, got);
    error_hint(err, "send the whole file as numpy.save writes it");
    return STATUS_INVALID;
}

/* Finds the dict behind magic, version and length. Sets *ret_data to where the elements begin. */
static enum status find_header(const unsigned char *bytes, size_t len, struct span *ret, size_t *ret_data,
                               struct error *err)
{
    if (!npy_sniff(bytes, len)) {
        error_set(err, STATUS_INVALID, "this is not a .npy file: it does not begin with \\x93NUMPY");
        error_hint(err, "write the file with numpy.save");
        return STATUS_INVALID;
    }
    if (len < PREAMBLE_BYTES_V1)
        return refuse_cut("the part before its header", PREAMBLE_BYTES_V1, len, err);
    unsigned major = bytes[6], minor = bytes[7];
    if (major < 1 || major > 3 || minor != 0)
        return refuse_version(major, minor, err);
    size_t preamble = major == 1 ? PREAMBLE_BYTES_V1 : PREAMBLE_BYTES_V2;
    if (len < preamble)
        return refuse_cut("the part before its header", preamble, len, err);
    size_t header = bytes[8] | (size_t)bytes[9] << 8;
    if (major > 1)
        header |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (header > len - preamble)
        return refuse_cut("its header", header, len - preamble, err);
    *ret = (struct span){(const char *)bytes + preamble, header};
    *ret_data = preamble + header;
    return STATUS_OK;
}

/* The product of the dimensions, which must not overflow even if one of them is 0: so any product of some of them can
 * be taken later without a check. */
static enum status count_elements(struct npy *npy, struct error *err)
{
    size_t product = dtypes[npy->dtype].item_bytes;
    bool empty = false;
    for (size_t i = 0; i < npy->dims; i++) {
        empty |= npy->shape[i] == 0;
        if (!__builtin_mul_overflow(product, npy->shape[i] ? npy->shape[i] : 1, &product))
            continue;
        error_set(err, STATUS_INVALID, "the .npy array's shape has a product that does not fit in memory");
        error_hint(err, "write the file with numpy.save, and send fewer rows at once");
        return STATUS_INVALID;
    }
    npy->count = empty ? 0 : product / dtypes[npy->dtype].item_bytes;
    return STATUS_OK;
}

enum status npy_parse(const void *data, size_t len, struct npy *ret, struct error *err)
{
    struct npy npy = {0};
    struct span header = {0};
    size_t data_at = 0;
    enum status status = find_header(data, len, &header, &data_at, err);
    if (status != STATUS_OK)
        return status;
    struct cursor c = {header.at, header.at + header.len, err};
    status = parse_dict(&c, &npy);
    if (status == STATUS_OK)
        status = count_elements(&npy, err);
    if (status != STATUS_OK)
        return status;
    size_t expected = npy.count * dtypes[npy.dtype].item_bytes;
    if (len - data_at != expected) {
        error_set(err, STATUS_INVALID,
                  "the .npy header declares %zu elements of %s, %zu bytes, but %zu bytes follow it", npy.count,
                  dtypes[npy.dtype].name, expected, len - data_at);
        error_hint(err, "send one whole file as numpy.save writes it, with nothing before or after it");
        return STATUS_INVALID;
    }
    npy.data = (const unsigned char *)data + data_at;
    *ret = npy;
    return STATUS_OK;
}

/* ---- writing ---- */

void npy_write_header(struct buffer *out, const size_t *shape, size_t dims)
{
    assert(dims <= NPY_DIMS_MAX);
    size_t start = out->len;
    buffer_append(out, magic, MAGIC_BYTES);
    buffer_append(out, "\x01\x00\x00\x00", 4); /* version 1.0; the length is filled in below */
    buffer_append_str(out, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (size_t i = 0; i < dims; i++) {
        buffer_append_str(out, i ? ", " : "");
        buffer_append_uint(out, shape[i]);
    }
    buffer_append_str(out, dims == 1 ? ",), }" : "), }");
    while (!out->failed && (out->len - start + 1) % HEADER_ALIGNMENT)
        buffer_append_char(out, ' ');
    buffer_append_char(out, '\n');
    if (out->failed)
        return;
    size_t header = out->len - start - PREAMBLE_BYTES_V1;
    out->data[start + 8] = (char)(header & 0xFF);
    out->data[start + 9] = (char)(header >> 8);
}
