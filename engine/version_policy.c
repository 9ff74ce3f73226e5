#include "engine/version_policy.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/json_document.h"
#include "engine/utf8.h"

enum { CONFIG_BYTES_MAX = 1 << 20, SHOWN_MAX = 64, COUNT_DIGITS_MAX = 6 };

static enum status refuse(const char *text, struct error *err)
{
    error_set(err, STATUS_INVALID, "\"%.*s\" is no version policy", (int)utf8_cut(text, strlen(text), SHOWN_MAX),
              text);
    return error_hint(err, "it is latest, latest:N, all, or specific:1,3");
}

/* ---- texts ---- */

static bool parse_latest(const char *text, struct version_policy *ret)
{
    size_t digits = strspn(text, "0123456789");
    if (!digits || text[digits] || digits > COUNT_DIGITS_MAX || *text == '0')
        return false;
    ret->latest = strtoul(text, NULL, 10);
    return true;
}

/* Numbers without leading zeros between commas, each once. */
static bool parse_specific(const char *text, struct version_policy *ret)
{
    if (strlen(text) + 3 > sizeof ret->specific)
        return false;
    strcpy(ret->specific, ",");
    for (;; text++) {
        size_t digits = strspn(text, "0123456789");
        if (!digits || (*text == '0' && digits > 1))
            return false;
        strncat(ret->specific, text, digits);
        strcat(ret->specific, ",");
        text += digits;
        if (*text != ',')
            return !*text;
    }
}

enum status version_policy_parse(const char *text, struct version_policy *ret, struct error *err)
{
    struct version_policy policy = {0};
    bool right = true;
    if (strcmp(text, "latest") == 0)
        policy.latest = 1;
    else if (strcmp(text, "all") == 0)
        policy.latest = SIZE_MAX;
    else if (strncmp(text, "latest:", 7) == 0)
        right = parse_latest(text + 7, &policy);
    else
        right = strncmp(text, "specific:", 9) == 0 && parse_specific(text + 9, &policy);
    if (!right)
        return refuse(text, err);
    *ret = policy;
    return STATUS_OK;
}

bool version_policy_wants(const struct version_policy *policy, const char *version, size_t rank)
{
    if (policy->latest)
        return rank < policy->latest;
    size_t len = strlen(version);
    for (const char *at = strstr(policy->specific, version); at; at = strstr(at + 1, version))
        if (at[-1] == ',' && at[len] == ',')
            return true;
    return false;
}

/* ---- config.json ---- */

/* The one member that the object has, under the one key that may be in it; NULL otherwise. */
static const cJSON *only_member(const cJSON *object, const char *key)
{
    const cJSON *member = cJSON_IsObject(object) ? object->child : NULL;
    return member && !member->next && strcmp(member->string, key) == 0 ? member : NULL;
}

static enum status refuse_object(const cJSON *policy, struct error *err)
{
    error_set(err, STATUS_INVALID, "\"version_policy\" is %s that is not understood", json_document_kind(policy));
    return error_hint(err, "write \"latest:2\", \"all\", \"specific:1,3\", or as an object {\"latest\": "
                           "{\"num_versions\": 2}}, {\"all\": {}}, {\"specific\": {\"versions\": [1, 3]}}");
}

static enum status read_specific(const cJSON *versions, char *text, size_t size, struct error *err)
{
    size_t len = (size_t)snprintf(text, size, "specific:"), number;
    for (const cJSON *item = versions->child; item; item = item->next) {
        if (!json_document_whole(item, &number) || len + 24 > size)
            return refuse_object(versions, err);
        len += (size_t)snprintf(text + len, size - len, "%s%zu", item == versions->child ? "" : ",", number);
    }
    return STATUS_OK;
}

/* An object becomes the text that says the same. */
static enum status read_object(const cJSON *policy, char *text, size_t size, struct error *err)
{
    const cJSON *latest = only_member(policy, "latest"), *specific = only_member(policy, "specific");
    const cJSON *count = only_member(latest, "num_versions"), *versions = only_member(specific, "versions");
    const cJSON *all = only_member(policy, "all");
    size_t number;
    if (count && json_document_whole(count, &number))
        snprintf(text, size, "latest:%zu", number);
    else if (cJSON_IsObject(all) && !all->child)
        snprintf(text, size, "all");
    else if (cJSON_IsArray(versions))
        return read_specific(versions, text, size, err);
    else
        return refuse_object(policy, err);
    return STATUS_OK;
}

static enum status read_config(const cJSON *config, const struct version_policy *otherwise,
                               struct version_policy *ret, struct error *err)
{
    char text[VERSION_POLICY_TEXT_MAX];
    const cJSON *policy = only_member(config, "version_policy");
    enum status status = STATUS_OK;
    *ret = *otherwise;
    if (!policy && config->child) {
        error_set(err, STATUS_INVALID, "\"%.*s\" is not expected here",
                  (int)utf8_cut(config->child->string, strlen(config->child->string), SHOWN_MAX),
                  config->child->string);
        return error_hint(err, "\"version_policy\" is the one key that is known, and stands there once");
    }
    if (!policy)
        return STATUS_OK;
    if (cJSON_IsString(policy))
        return version_policy_parse(policy->valuestring, ret, err);
    status = read_object(policy, text, sizeof text, err);
    return status == STATUS_OK ? version_policy_parse(text, ret, err) : status;
}

static enum status read_file(const char *file, const struct version_policy *otherwise, struct version_policy *ret,
                             struct error *err)
{
    char *text = NULL;
    size_t len;
    cJSON *config = NULL;
    struct error unread;
    enum status status = file_read(file, CONFIG_BYTES_MAX, &text, &len, err ? err : &unread);
    if (status == STATUS_NOT_FOUND) {
        *ret = *otherwise;
        return STATUS_OK;
    }
    if (status != STATUS_OK)
        return status;
    status = json_document_parse(text, len, &config, err);
    free(text);
    if (status == STATUS_OK)
        status = read_config(config, otherwise, ret, err);
    cJSON_Delete(config);
    return status == STATUS_OK ? status : file_error(file, status, err);
}

enum status version_policy_read(const char *path, const struct version_policy *otherwise,
                                struct version_policy *ret, struct error *err)
{
    char *file = file_join(path, "config.json");
    if (!file)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the name of config.json");
    enum status status = read_file(file, otherwise, ret, err);
    free(file);
    return status;
}
