/* One pass, without recursion: opening brackets are counted, then the numbers (or strings) of an innermost array are
 * read in one tight loop, then closing brackets are counted. The first array that closes at a depth says how long all
 * of that depth must be.
 */
#include "server/json_tensor.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/float_text.h"
#include "server/json_cursor.h"

enum {
    CAPACITY_MIN = 1024,   /* elements in storage that the caller left empty */
    WORD_ESCAPED_MAX = 64, /* bytes of the longest key or dtype known, with every character written as \u0000 */
};

enum leaf { LEAF_UNKNOWN, LEAF_NUMBER, LEAF_STRING };

enum key { KEY_INPUTS, KEY_INSTANCES, KEY_DTYPE, KEY_COUNT };
static const char *const key_names[KEY_COUNT] = {"inputs", "instances", "dtype"};

enum dtype { DTYPE_FLOAT32, DTYPE_UINT8, DTYPE_COUNT };
static const char *const dtype_names[DTYPE_COUNT] = {"float32", "uint8"};

struct reader {
    struct json_cursor in;
    struct json_tensor *tensor;
    size_t depth;                         /* arrays that are open */
    size_t indices[JSON_TENSOR_DIMS_MAX]; /* for each open array, its complete elements: where the reader is */
    size_t shape[JSON_TENSOR_DIMS_MAX];   /* for each depth, the length of its first array; 0: none closed yet */
    enum leaf leaf;
    size_t leaf_depth; /* the depth at which numbers or strings stand, once leaf is known */
    bool has_key[KEY_COUNT];
    enum dtype dtype;
};

/* A place in the tensor, such as "[3][5]". */
static struct json_phrase place_of(const size_t *indices, size_t count)
{
    struct json_phrase place = {""};
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(place.text + len, sizeof place.text - len, "[%zu]", indices[i]);
    return place;
}

/* An array in the tensor: "row 3", or its place where one index does not say it. */
static struct json_phrase row_of(const size_t *indices, size_t count)
{
    struct json_phrase row = place_of(indices, count);
    if (count == 1)
        snprintf(row.text, sizeof row.text, "row %zu", indices[0]);
    return row;
}

static bool is_word_for_no_number(const char *at)
{
    static const char *const words[] = {"nan", "inf"};
    at += *at == '-' || *at == '+';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncasecmp(at, words[i], 3) == 0)
            return true;
    return false;
}

static const char *expected_element(const struct reader *reader)
{
    if (reader->leaf && reader->depth < reader->leaf_depth)
        return "an array like the one before it";
    if (reader->tensor->value_count)
        return "a number like those before it";
    return reader->tensor->string_count ? "a string like those before it"
                                        : "a number, a string or an array of these";
}

/* Says why what stands at reader->in.at cannot be the next element. */
static enum status refuse_element(struct reader *reader)
{
    float value;
    const char *at = reader->in.at;
    if (is_word_for_no_number(at)) {
        json_refuse(&reader->in, at, "%s is not JSON", json_excerpt(&reader->in, at).text);
        return error_hint(reader->in.err, "JSON has no NaN and no infinity: send finite numbers");
    }
    bool is_like_number = *at && strchr("+-.0123456789", *at);
    if (is_like_number && !json_number_read(at, &value)) {
        json_refuse(&reader->in, at, "%s is not a JSON number", json_excerpt(&reader->in, at).text);
        return error_hint(reader->in.err,
                          "JSON numbers look like 0, -12, 0.5 or 1e-3: no plus sign or zeros before them, "
                          "and digits on both sides of a point");
    }
    return json_refuse_expected(&reader->in, expected_element(reader));
}

static enum status refuse_overflow(struct reader *reader, const char *at)
{
    json_refuse(&reader->in, at, "%s does not fit a float32, whose largest number is 3.4028235e+38",
                json_excerpt(&reader->in, at).text);
    return error_hint(reader->in.err, "send numbers that a float32 can hold");
}

static enum status refuse_too_many(struct reader *reader, const char *what, size_t max)
{
    error_set(reader->in.err, STATUS_TOO_LARGE, "%zu or more %s in one request, at most %zu are taken", max + 1,
              what, max);
    return error_hint(reader->in.err, "split the request into smaller ones");
}

/* Storage of at least one more element, at most `max`; NULL if there is no memory. */
static void *grow_storage(void *storage, size_t *capacity, size_t max, size_t element_bytes)
{
    size_t grown = *capacity < CAPACITY_MIN ? CAPACITY_MIN : *capacity;
    if (*capacity >= CAPACITY_MIN)
        grown = *capacity > max / 2 ? max : *capacity * 2;
    if (grown > max)
        grown = max;
    if (grown > SIZE_MAX / element_bytes)
        return NULL;
    void *data = realloc(storage, grown * element_bytes);
    if (data)
        *capacity = grown;
    return data;
}

static enum status reserve_value(struct reader *reader)
{
    struct json_tensor *tensor = reader->tensor;
    if (tensor->value_count >= tensor->values_max)
        return refuse_too_many(reader, "numbers", tensor->values_max);
    if (tensor->value_count < tensor->values_capacity)
        return STATUS_OK;
    void *grown = grow_storage(tensor->values, &tensor->values_capacity, tensor->values_max,
                               sizeof tensor->values[0]);
    if (!grown)
        return error_set(reader->in.err, STATUS_NO_MEMORY, "no memory for more than %zu numbers",
                         tensor->value_count);
    tensor->values = grown;
    return STATUS_OK;
}

static enum status reserve_string(struct reader *reader)
{
    struct json_tensor *tensor = reader->tensor;
    if (tensor->string_count >= tensor->strings_max)
        return refuse_too_many(reader, "strings", tensor->strings_max);
    if (tensor->string_count < tensor->strings_capacity)
        return STATUS_OK;
    void *grown = grow_storage(tensor->strings, &tensor->strings_capacity, tensor->strings_max,
                               sizeof tensor->strings[0]);
    if (!grown)
        return error_set(reader->in.err, STATUS_NO_MEMORY, "no memory for more than %zu strings",
                         tensor->string_count);
    tensor->strings = grown;
    return STATUS_OK;
}

/* Steps over a comma between elements. False if there is none, or no array around: then reader->in.at stands after the
 * element and its white space. */
static bool skip_comma(struct reader *reader, const char *at)
{
    at = json_skip_space(at);
    bool is_comma = reader->depth && *at == ',';
    reader->in.at = is_comma ? json_skip_space(at + 1) : at;
    return is_comma;
}

/* Reads numbers up to the end of their array, or the only one outside of any. */
static enum status read_numbers(struct reader *reader)
{
    struct json_tensor *tensor = reader->tensor;
    const char *after;
    do {
        enum status status = reserve_value(reader);
        if (status != STATUS_OK)
            return status;
        float *value = &tensor->values[tensor->value_count];
        after = json_number_read(reader->in.at, value);
        if (!after)
            return refuse_element(reader);
        if (isinf(*value))
            return refuse_overflow(reader, reader->in.at);
        tensor->value_count++;
    } while (skip_comma(reader, after));
    return STATUS_OK;
}

static enum status read_string(struct reader *reader, struct json_string *ret_string)
{
    struct json_fault fault;
    const char *after = json_string_read(reader->in.at, ret_string, &fault);
    if (after) {
        reader->in.at = after;
        return STATUS_OK;
    }
    if (fault.at >= reader->in.end)
        json_refuse(&reader->in, reader->in.at, "the string that begins here has no closing quote");
    else
        json_refuse(&reader->in, fault.at, "%s in a string: %s", fault.what,
                    json_excerpt(&reader->in, fault.at).text);
    return error_hint(reader->in.err,
                      "JSON strings stand in double quotes, are UTF-8, and escape control characters "
                      "and quotes: \\n, \\u0007, \\\"");
}

static enum status read_strings(struct reader *reader)
{
    struct json_tensor *tensor = reader->tensor;
    if (reader->depth > 1) {
        json_refuse(&reader->in, reader->in.at, "a string %zu arrays deep, expected a number", reader->depth);
        return error_hint(reader->in.err, "send pictures as one string or as a flat array of strings");
    }
    do {
        if (*reader->in.at != '"')
            return refuse_element(reader);
        enum status status = reserve_string(reader);
        if (status == STATUS_OK)
            status = read_string(reader, &tensor->strings[tensor->string_count]);
        if (status != STATUS_OK)
            return status;
        tensor->string_count++;
    } while (skip_comma(reader, reader->in.at));
    return STATUS_OK;
}

/* Steps into the array whose bracket opens at the reader. */
static enum status open_array(struct reader *reader)
{
    if (reader->leaf && reader->depth == reader->leaf_depth)
        return refuse_element(reader);
    if (reader->depth == JSON_TENSOR_DIMS_MAX) {
        json_refuse(&reader->in, reader->in.at, "arrays nested deeper than %d", JSON_TENSOR_DIMS_MAX);
        return error_hint(reader->in.err, "send one array for each row, in one array");
    }
    reader->indices[reader->depth++] = 0;
    reader->in.at = json_skip_space(reader->in.at + 1);
    if (*reader->in.at != ']')
        return STATUS_OK;
    json_refuse(&reader->in, reader->in.at, "an empty array, expected at least one element");
    return error_hint(reader->in.err, "leave out what is empty");
}

static enum status open_arrays(struct reader *reader)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && *reader->in.at == '[')
        status = open_array(reader);
    return status;
}

/* Reads the numbers or strings of the innermost open array. */
static enum status read_leaves(struct reader *reader)
{
    enum leaf leaf = *reader->in.at == '"' ? LEAF_STRING : LEAF_NUMBER;
    if (reader->leaf && (reader->leaf != leaf || reader->leaf_depth != reader->depth))
        return refuse_element(reader);
    size_t before = reader->tensor->value_count + reader->tensor->string_count;
    enum status status = leaf == LEAF_NUMBER ? read_numbers(reader) : read_strings(reader);
    if (status != STATUS_OK)
        return status;
    reader->leaf = leaf;
    reader->leaf_depth = reader->depth;
    if (reader->depth)
        reader->indices[reader->depth - 1] = reader->tensor->value_count + reader->tensor->string_count - before;
    return STATUS_OK;
}

/* Checks the length of the array that closes here against the first one at its depth. */
static enum status check_length(struct reader *reader)
{
    size_t level = reader->depth - 1;
    size_t len = reader->indices[level];
    if (reader->shape[level] == 0)
        reader->shape[level] = len;
    if (reader->shape[level] == len)
        return STATUS_OK;
    static const size_t zeros[JSON_TENSOR_DIMS_MAX];
    json_refuse(&reader->in, reader->in.at, "%s has %zu %s%s, %s has %zu", row_of(reader->indices, level).text, len,
                reader->depth == reader->leaf_depth ? "number" : "row", len == 1 ? "" : "s",
                row_of(zeros, level).text, reader->shape[level]);
    return error_hint(reader->in.err, "arrays at the same depth must have the same length");
}

static enum status close_arrays(struct reader *reader)
{
    while (reader->depth && *reader->in.at == ']') {
        enum status status = check_length(reader);
        if (status != STATUS_OK)
            return status;
        reader->depth--;
        if (reader->depth)
            reader->indices[reader->depth - 1]++;
        reader->in.at = json_skip_space(reader->in.at + 1);
    }
    return STATUS_OK;
}

/* Reads a tensor or strings: all brackets that open, the leaves, all brackets that close, a comma, and again. */
static enum status read_elements(struct reader *reader)
{
    for (;;) {
        enum status status = open_arrays(reader);
        if (status == STATUS_OK)
            status = read_leaves(reader);
        if (status == STATUS_OK)
            status = close_arrays(reader);
        if (status != STATUS_OK || reader->depth == 0)
            return status;
        if (!skip_comma(reader, reader->in.at))
            return json_refuse_expected(&reader->in, "',' or ']'");
    }
}

/* Reads a string that should be one of `names`. `ret_index` is `count` if it is not. */
static enum status read_word(struct reader *reader, const char *const *names, size_t count, size_t *ret_index)
{
    struct json_string string;
    enum status status = read_string(reader, &string);
    if (status != STATUS_OK)
        return status;
    size_t index = count;
    char word[WORD_ESCAPED_MAX];
    size_t len = string.len <= sizeof word ? json_string_unescape(string, word) : 0;
    for (size_t i = 0; i < count; i++)
        if (len == strlen(names[i]) && memcmp(word, names[i], len) == 0)
            index = i;
    *ret_index = index;
    return STATUS_OK;
}

static enum status read_dtype(struct reader *reader)
{
    const char *start = reader->in.at;
    size_t index = DTYPE_COUNT;
    enum status status = *start == '"' ? read_word(reader, dtype_names, DTYPE_COUNT, &index) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    if (index == DTYPE_COUNT) {
        json_refuse(&reader->in, start, "\"dtype\" is %s, expected \"float32\" or \"uint8\"",
                    json_excerpt(&reader->in, start).text);
        return error_hint(reader->in.err, "leave \"dtype\" out for float32");
    }
    reader->dtype = (enum dtype)index;
    return STATUS_OK;
}

static const char known_keys_hint[] = "the keys are \"inputs\" or its other name \"instances\", and \"dtype\"";

static enum status refuse_key(struct reader *reader, const char *at, size_t key)
{
    if (key == KEY_COUNT)
        json_refuse(&reader->in, at, "unknown key %s", json_excerpt(&reader->in, at).text);
    else if (reader->has_key[key])
        json_refuse(&reader->in, at, "the key \"%s\" comes twice", key_names[key]);
    else
        json_refuse(&reader->in, at, "\"inputs\" and \"instances\" together; they are two names for the same");
    return error_hint(reader->in.err, "%s", known_keys_hint);
}

static enum status read_key(struct reader *reader, size_t *ret_key)
{
    const char *start = reader->in.at;
    if (*start != '"')
        return json_refuse_expected(&reader->in, "a key in double quotes");
    size_t key = KEY_COUNT;
    enum status status = read_word(reader, key_names, KEY_COUNT, &key);
    if (status != STATUS_OK)
        return status;
    bool is_second_input = key <= KEY_INSTANCES && (reader->has_key[KEY_INPUTS] || reader->has_key[KEY_INSTANCES]);
    if (key == KEY_COUNT || reader->has_key[key] || is_second_input)
        return refuse_key(reader, start, key);
    reader->in.at = json_skip_space(reader->in.at);
    if (*reader->in.at != ':')
        return json_refuse_expected(&reader->in, "':' after the key");
    reader->in.at = json_skip_space(reader->in.at + 1);
    reader->has_key[key] = true;
    *ret_key = key;
    return STATUS_OK;
}

static enum status read_member(struct reader *reader)
{
    size_t key = KEY_COUNT;
    enum status status = read_key(reader, &key);
    if (status != STATUS_OK)
        return status;
    return key == KEY_DTYPE ? read_dtype(reader) : read_elements(reader);
}

static enum status read_object(struct reader *reader)
{
    const char *start = reader->in.at;
    reader->in.at = json_skip_space(start + 1);
    bool is_more = *reader->in.at != '}';
    while (is_more) {
        enum status status = read_member(reader);
        if (status != STATUS_OK)
            return status;
        reader->in.at = json_skip_space(reader->in.at);
        is_more = *reader->in.at == ',';
        if (is_more)
            reader->in.at = json_skip_space(reader->in.at + 1);
        else if (*reader->in.at != '}')
            return json_refuse_expected(&reader->in, "',' or '}'");
    }
    reader->in.at = json_skip_space(reader->in.at + 1);
    if (reader->has_key[KEY_INPUTS] || reader->has_key[KEY_INSTANCES])
        return STATUS_OK;
    json_refuse(&reader->in, start, "an object with neither \"inputs\" nor \"instances\"");
    return error_hint(reader->in.err, "%s", known_keys_hint);
}

static enum status read_document(struct reader *reader)
{
    if (strncmp(reader->in.text, "\xEF\xBB\xBF", 3) == 0) {
        json_refuse(&reader->in, reader->in.text,
                    "the text begins with a byte order mark, which JSON does not have");
        return error_hint(reader->in.err, "send UTF-8 without a byte order mark (the bytes EF BB BF)");
    }
    reader->in.at = json_skip_space(reader->in.text);
    if (reader->in.at == reader->in.end)
        return json_refuse_expected(&reader->in, "an array, a number, a string or an object");
    enum status status = *reader->in.at == '{' ? read_object(reader) : read_elements(reader);
    if (status == STATUS_OK && reader->in.at != reader->in.end)
        return json_refuse_expected(&reader->in, "the end of the text");
    return status;
}

static bool is_uint8(float value)
{
    return value >= 0 && value <= UINT8_MAX && value == truncf(value);
}

/* Refuses the first value that is not a whole number from 0 to 255. */
static enum status check_uint8(struct reader *reader)
{
    const struct json_tensor *tensor = reader->tensor;
    size_t i = 0;
    while (i < tensor->value_count && is_uint8(tensor->values[i]))
        i++;
    if (i == tensor->value_count)
        return STATUS_OK;
    char value[FLOAT_TEXT_MAX + 1];
    value[float_text_write(tensor->values[i], value)] = '\0';
    size_t indices[JSON_TENSOR_DIMS_MAX] = {0};
    size_t rest = i;
    for (size_t d = reader->leaf_depth; d-- > 0; rest /= reader->shape[d])
        indices[d] = rest % reader->shape[d];
    error_set(reader->in.err, STATUS_INVALID,
              "the number%s%s is %s, but \"dtype\" is \"uint8\": whole numbers 0 to 255",
              reader->leaf_depth ? " at " : "", place_of(indices, reader->leaf_depth).text, value);
    return error_hint(reader->in.err, "send \"dtype\": \"float32\" for numbers that are scaled already");
}

static enum status check_dtype(struct reader *reader)
{
    if (reader->has_key[KEY_DTYPE] && reader->leaf == LEAF_STRING) {
        error_set(reader->in.err, STATUS_INVALID,
                  "\"dtype\" beside strings; it is for numbers, and these are pictures");
        return error_hint(reader->in.err, "leave \"dtype\" out");
    }
    return reader->dtype == DTYPE_UINT8 ? check_uint8(reader) : STATUS_OK;
}

enum status json_tensor_read(const char *text, size_t len, struct json_tensor *tensor, struct error *err)
{
    assert(text[len] == '\0');
    struct error unread;
    struct reader reader = {.in = {text, text, text + len, err ? err : &unread}, .tensor = tensor};
    tensor->value_count = 0;
    tensor->string_count = 0;
    enum status status = read_document(&reader);
    if (status == STATUS_OK)
        status = check_dtype(&reader);
    if (status != STATUS_OK)
        return status;
    tensor->dims = reader.leaf_depth;
    memcpy(tensor->shape, reader.shape, sizeof reader.shape);
    tensor->is_uint8 = reader.dtype == DTYPE_UINT8;
    return STATUS_OK;
}
