/* What json_tensor_read accepts and what it refuses is compared with a slow reader on top of cJSON, which takes the same
 * decision from a tree; every number is compared with strtof, every string with cJSON's; and what was read is printed and
 * read again. */
#include "server/json_tensor.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/float_text.h"

enum {
    VALUES_MAX = 256,
    STRINGS_MAX = 16,
    CJSON_NUMBER_MAX = 60, /* cJSON cuts longer numbers into two */
};

/* The length of the longest run of bytes that may belong to one number. */
static size_t longest_number(const char *text, size_t len)
{
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < len; i++) {
        run = isalnum((unsigned char)text[i]) || strchr("+-.", text[i]) ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void check_numbers(const char *text, const struct json_tensor *tensor)
{
    size_t count = 0;
    for (const char *at = text; *at; at++) {
        if (*at == '"') /* a key or a dtype: no accepted one holds a quote */
            at = strchr(at + 1, '"');
        if (*at != '-' && !isdigit((unsigned char)*at))
            continue;
        char *end;
        float expected = strtof(at, &end);
        assert(count < tensor->value_count);
        assert(memcmp(&expected, &tensor->values[count], sizeof expected) == 0);
        count++;
        at = end - 1;
    }
    assert(count == tensor->value_count);
}

static void check_shape(const struct json_tensor *tensor)
{
    size_t product = 1;
    assert(tensor->dims <= JSON_TENSOR_DIMS_MAX);
    for (size_t d = 0; d < tensor->dims; d++)
        product *= tensor->shape[d];
    assert(product == tensor->value_count + tensor->string_count);
    assert((tensor->value_count == 0) != (tensor->string_count == 0));
    assert(tensor->value_count <= VALUES_MAX && tensor->string_count <= STRINGS_MAX);
}

/* Prints the numbers with all their brackets, and reads them again. */
static void check_printed_again(const struct json_tensor *tensor)
{
    char *text = malloc(tensor->value_count * (FLOAT_TEXT_MAX + 2 * JSON_TENSOR_DIMS_MAX + 1) + 1);
    assert(text);
    size_t len = 0;
    for (size_t i = 0; i < tensor->value_count; i++) {
        if (i)
            text[len++] = ',';
        for (size_t d = 0, block = tensor->value_count; d < tensor->dims; block /= tensor->shape[d++])
            if (i % block == 0)
                text[len++] = '[';
        len += float_text_write(tensor->values[i], text + len);
        for (size_t d = 0, block = tensor->value_count; d < tensor->dims; block /= tensor->shape[d++])
            if (i % block == block - 1)
                text[len++] = ']';
    }
    text[len] = '\0';
    struct json_tensor again = {.values_max = VALUES_MAX};
    assert(json_tensor_read(text, len, &again, NULL) == STATUS_OK);
    assert(again.dims == tensor->dims && again.value_count == tensor->value_count);
    assert(memcmp(again.shape, tensor->shape, tensor->dims * sizeof again.shape[0]) == 0);
    assert(memcmp(again.values, tensor->values, tensor->value_count * sizeof *again.values) == 0);
    free(again.values);
    free(text);
}

/* The slow reader: what a tree says about the shape. */
struct verdict {
    bool is_accepted;
    bool is_too_large;
    bool is_uint8;
    size_t numbers;
    size_t strings;
};

/* Whether two trees have the same shape, down to numbers or strings. */
static bool is_same_shape(const cJSON *a, const cJSON *b)
{
    if (!cJSON_IsArray(a) || !cJSON_IsArray(b))
        return (cJSON_IsNumber(a) && cJSON_IsNumber(b)) || (cJSON_IsString(a) && cJSON_IsString(b));
    if (cJSON_GetArraySize(a) != cJSON_GetArraySize(b))
        return false;
    for (a = a->child, b = b->child; a; a = a->next, b = b->next)
        if (!is_same_shape(a, b))
            return false;
    return true;
}

/* Whether `tree` is a tensor of numbers or of strings, and how many they are. */
static bool is_tensor(const cJSON *tree, size_t depth, struct verdict *verdict)
{
    verdict->numbers += cJSON_IsNumber(tree);
    verdict->strings += cJSON_IsString(tree);
    if (cJSON_IsNumber(tree))
        return fabs(tree->valuedouble) <
               0x1.ffffffp+127; /* the midpoint beyond the largest float rounds to infinity */
    if (cJSON_IsString(tree))
        return depth <= 1;
    if (!cJSON_IsArray(tree) || !tree->child || depth == JSON_TENSOR_DIMS_MAX)
        return false;
    for (const cJSON *child = tree->child; child; child = child->next)
        if (!is_same_shape(child, tree->child) || !is_tensor(child, depth + 1, verdict))
            return false;
    return true;
}

static bool are_all_bytes(const cJSON *tree)
{
    if (cJSON_IsNumber(tree)) {
        float value = (float)tree->valuedouble;
        return value >= 0 && value <= 255 && value == floorf(value);
    }
    for (const cJSON *child = tree->child; child; child = child->next)
        if (!are_all_bytes(child))
            return false;
    return true;
}

static struct verdict judge_object(const cJSON *object)
{
    struct verdict verdict = {false};
    const cJSON *input = NULL, *dtype = NULL;
    for (const cJSON *member = object->child; member; member = member->next) {
        bool is_input = strcmp(member->string, "inputs") == 0 || strcmp(member->string, "instances") == 0;
        const cJSON **place = is_input ? &input : &dtype;
        if (*place || (!is_input && strcmp(member->string, "dtype") != 0))
            return verdict;
        *place = member;
    }
    const char *name = dtype ? cJSON_GetStringValue(dtype) : "float32";
    if (!input || !name || (strcmp(name, "float32") != 0 && strcmp(name, "uint8") != 0))
        return verdict;
    verdict.is_uint8 = strcmp(name, "uint8") == 0;
    verdict.is_accepted = is_tensor(input, 0, &verdict);
    if (dtype && (verdict.strings || (verdict.is_uint8 && verdict.is_accepted && !are_all_bytes(input))))
        verdict.is_accepted = false;
    return verdict;
}

static struct verdict judge(const cJSON *tree)
{
    if (cJSON_IsObject(tree))
        return judge_object(tree);
    struct verdict verdict = {false};
    verdict.is_accepted = is_tensor(tree, 0, &verdict);
    return verdict;
}

static void check_strings(const cJSON *tree, const struct json_tensor *tensor)
{
    const cJSON *item = cJSON_IsObject(tree) ? tree->child : tree;
    item = cJSON_IsArray(item) ? item->child : item;
    for (size_t i = 0; i < tensor->string_count; i++, item = item->next) {
        char *text = malloc(tensor->strings[i].len + 1);
        assert(text);
        size_t len = json_string_unescape(tensor->strings[i], text);
        assert(len <= tensor->strings[i].len);
        assert(strlen(item->valuestring) == len && memcmp(item->valuestring, text, len) == 0);
        free(text);
    }
}

/* cJSON is laxer than JSON, so it judges only what json_is_valid accepts; and it has no strings with NUL inside. */
static void check_against_cjson(const char *text, size_t len, enum status status, const struct json_tensor *tensor)
{
    if (strstr(text, "\\u0000") || longest_number(text, len) > CJSON_NUMBER_MAX)
        return;
    cJSON *tree = cJSON_ParseWithLengthOpts(text, len + 1, NULL, true);
    assert(tree);
    struct verdict verdict = judge(tree);
    if (verdict.numbers > VALUES_MAX || verdict.strings > STRINGS_MAX) {
        assert(status != STATUS_OK);
    } else if (status != STATUS_TOO_LARGE) {
        assert(verdict.is_accepted == (status == STATUS_OK));
        assert(!verdict.is_accepted || verdict.is_uint8 == tensor->is_uint8);
        assert(!verdict.is_accepted || verdict.numbers == tensor->value_count);
        assert(!verdict.is_accepted || verdict.strings == tensor->string_count);
    }
    if (status == STATUS_OK)
        check_strings(tree, tensor);
    cJSON_Delete(tree);
}

static void check_text(const char *text, size_t len)
{
    struct json_tensor tensor = {.values_max = VALUES_MAX, .strings_max = STRINGS_MAX};
    struct error err = {STATUS_OK};
    enum status status = json_tensor_read(text, len, &tensor, &err);
    bool is_valid = json_is_valid(text, len);
    if (status == STATUS_OK) {
        assert(is_valid);
        check_shape(&tensor);
        if (tensor.value_count) {
            check_numbers(text, &tensor);
            check_printed_again(&tensor);
        }
    } else {
        assert(status == STATUS_INVALID || status == STATUS_TOO_LARGE);
        assert(err.status == status && err.message[0] && err.hint[0]);
        for (const char *c = err.message; *c; c++)
            assert(*c >= 0x20 && *c <= 0x7E);
    }
    if (is_valid)
        check_against_cjson(text, len, status, &tensor);
    free(tensor.values);
    free(tensor.strings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* exactly as long as it may be read */
    assert(text);
    memcpy(text, data, size);
    text[size] = '\0';
    check_text(text, size);
    free(text);
    return 0;
}
