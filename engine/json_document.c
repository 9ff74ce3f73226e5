#include "engine/json_document.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static enum status refuse_at(const char *text, const char *at, const char *what, struct error *err)
{
    size_t line = 1;
    const char *start = text;
    for (const char *p = text; p < at; p++) {
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    }
    error_set(err, STATUS_INVALID, "line %zu, column %zu: %s", line, (size_t)(at - start) + 1, what);
    return error_hint(err, "one JSON object is expected: {\"key\": value, ...}, with nothing before or after it");
}

/* cJSON would end a string at an escaped NUL, and takes any bytes; neither may get into a name. */
static enum status check_bytes(const char *text, size_t len, struct error *err)
{
    const char *nul = memchr(text, '\0', len);
    const char *escape = memmem(text, len, "\\u0000", 6);
    if (nul || escape)
        return refuse_at(text, nul ? nul : escape, "there is a NUL character", err);
    return STATUS_OK;
}

/* cJSON keeps the place of the last error in a global, so that only one thread at a time may be in it. */
static cJSON *parse(const char *text, size_t len, const char **ret_stopped)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    cJSON *json = cJSON_ParseWithLengthOpts(text, len, ret_stopped, false);
    pthread_mutex_unlock(&lock);
    return json;
}

enum status json_document_parse(const char *text, size_t len, cJSON **ret, struct error *err)
{
    const char *at = text, *end = text + len, *stopped = text;
    enum status status = check_bytes(text, len, err);
    if (status != STATUS_OK)
        return status;
    while (at < end && is_space(*at))
        at++;
    if (*at != '{')
        return refuse_at(text, at, at == end ? "there is no JSON" : "a \"{\" was expected", err);
    cJSON *json = parse(at, (size_t)(end - at), &stopped);
    if (!json)
        return refuse_at(text, stopped, "this is not JSON from here on", err);
    while (stopped < end && is_space(*stopped))
        stopped++;
    if (stopped < end) {
        cJSON_Delete(json);
        return refuse_at(text, stopped, "something follows the object", err);
    }
    *ret = json;
    return STATUS_OK;
}

bool json_document_whole(const cJSON *item, size_t *ret_value)
{
    if (!cJSON_IsNumber(item))
        return false;
    double value = item->valuedouble;
    if (!(value >= 0.0) || value >= 0x1p53 || value != floor(value) || value > (double)SIZE_MAX)
        return false;
    *ret_value = (size_t)value;
    return true;
}

const char *json_document_kind(const cJSON *item)
{
    if (cJSON_IsString(item))
        return "a string";
    if (cJSON_IsNumber(item))
        return "a number";
    if (cJSON_IsArray(item))
        return "an array";
    if (cJSON_IsObject(item))
        return "an object";
    return cJSON_IsNull(item) ? "null" : "true or false";
}
