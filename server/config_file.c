#include "server/config_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/json_document.h"

/* ---- comments ---- */

/* Behind the string that begins at `at`, or at the end if nothing closes it: cJSON will say so. */
static char *skip_string(char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : at;
}

/* Lines stay where they are, so that errors name them right. */
static void blank(char *from, const char *to)
{
    for (; from < to; from++)
        if (*from != '\n')
            *from = ' ';
}

static size_t line_of(const char *text, const char *at)
{
    size_t line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* Behind the comment that begins at `at`; NULL if it does not end. */
static char *find_comment_end(char *at, char *end)
{
    const char *closing = at[1] == '/' ? "\n" : "*/";
    char *found = memmem(at + 2, (size_t)(end - at - 2), closing, strlen(closing));
    if (found)
        return at[1] == '/' ? found : found + strlen(closing);
    return at[1] == '/' ? end : NULL;
}

static enum status blank_comments(char *text, size_t len, struct error *err)
{
    char *end = text + len;
    for (char *at = text; at < end;) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '/' && at + 1 < end && (at[1] == '/' || at[1] == '*')) {
            char *behind = find_comment_end(at, end);
            if (!behind) {
                error_set(err, STATUS_INVALID, "line %zu: a comment begins here and does not end",
                          line_of(text, at));
                return error_hint(err, "write */ behind it");
            }
            blank(at, behind);
            at = behind;
        } else {
            at++;
        }
    }
    return STATUS_OK;
}

/* ---- lines ---- */

/* Walks over JSON that cJSON has read, from one key of the outer object to the next. */
struct key_walk {
    char *at, *end;
    size_t line, depth;
    bool expects_key; /* the next string of this object is a key */
};

static size_t walk_over_string(struct key_walk *walk)
{
    char *begin = walk->at;
    size_t line = walk->line;
    walk->at = skip_string(begin, walk->end);
    walk->line += line_of(begin, walk->at) - 1;
    return line;
}

/* The line of the next key; 0 behind the last. */
static size_t walk_to_key(struct key_walk *walk)
{
    while (walk->at < walk->end) {
        bool is_key = walk->expects_key && walk->depth == 1;
        switch (*walk->at) {
        case '"': {
            size_t line = walk_over_string(walk);
            walk->expects_key = false;
            if (is_key)
                return line;
            continue;
        }
        case '{':
        case '[':
            walk->depth++;
            walk->expects_key = true;
            break;
        case '}':
        case ']': walk->depth--; break;
        case ',': walk->expects_key = true; break;
        case '\n': walk->line++; break;
        default: break;
        }
        walk->at++;
    }
    return 0;
}

/* ---- values ---- */

static bool is_strings(const cJSON *item)
{
    if (!cJSON_IsArray(item))
        return false;
    for (const cJSON *element = item->child; element; element = element->next)
        if (!cJSON_IsString(element))
            return false;
    return true;
}

static enum config_kind kind_of(const cJSON *item)
{
    if (cJSON_IsString(item))
        return CONFIG_STRING;
    if (cJSON_IsNumber(item))
        return CONFIG_NUMBER;
    if (cJSON_IsFalse(item))
        return CONFIG_FALSE;
    if (cJSON_IsNull(item))
        return CONFIG_NULL;
    return is_strings(item) ? CONFIG_STRINGS : CONFIG_OTHER;
}

static char *join_strings(const cJSON *array)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return NULL;
    for (const cJSON *element = array->child; element; element = element->next)
        fprintf(out, "%s%s", element->valuestring, element->next ? "," : "");
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

/* A whole number as the command line has it; any other so that it is recognised when it is refused. */
static char *number_text(const cJSON *item)
{
    char *text;
    size_t whole;
    int len = json_document_whole(item, &whole) ? asprintf(&text, "%zu", whole)
                                                : asprintf(&text, "%.17g", item->valuedouble);
    return len < 0 ? NULL : text;
}

static char *value_text(const cJSON *item, enum config_kind kind)
{
    switch (kind) {
    case CONFIG_STRING: return strdup(item->valuestring);
    case CONFIG_NUMBER: return number_text(item);
    case CONFIG_STRINGS: return join_strings(item);
    default: return strdup("");
    }
}

static bool fill_entry(struct config_entry *entry, const cJSON *item, size_t line)
{
    entry->kind = kind_of(item);
    entry->kind_text = json_document_kind(item);
    entry->line = line;
    entry->key = strdup(item->string);
    entry->text = value_text(item, entry->kind);
    return entry->key && entry->text;
}

static enum status fill(struct config_file *file, const cJSON *object, char *text, size_t len, struct error *err)
{
    struct key_walk walk = {.at = text, .end = text + len, .line = 1};
    size_t count = (size_t)cJSON_GetArraySize(object);
    file->entries = calloc(count ? count : 1, sizeof *file->entries);
    bool filled = file->entries != NULL;
    for (const cJSON *item = object->child; filled && item; item = item->next)
        filled = fill_entry(&file->entries[file->count++], item, walk_to_key(&walk));
    return filled ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "no memory for its %zu keys", count);
}

/* ---- the whole ---- */

enum status config_file_parse(char *text, size_t len, struct config_file *ret, struct error *err)
{
    struct config_file file = {.count = 0};
    cJSON *json = NULL;
    enum status status = blank_comments(text, len, err);
    if (status != STATUS_OK)
        return status;
    status = json_document_parse(text, len, &json, err);
    if (status != STATUS_OK)
        return error_hint(err,
                          "one JSON object is expected, {\"port\": 8080, ...}, without a comma behind the last "
                          "value; comments are // or /* */");
    status = fill(&file, json, text, len, err);
    cJSON_Delete(json);
    if (status == STATUS_OK)
        *ret = file;
    else
        config_file_free(&file);
    return status;
}

enum status config_file_read(const char *path, struct config_file *ret, struct error *err)
{
    char *text;
    size_t len;
    enum status status = file_read(path, CONFIG_FILE_BYTES_MAX, &text, &len, err);
    if (status != STATUS_OK)
        return status;
    status = config_file_parse(text, len, ret, err);
    free(text);
    return status == STATUS_OK ? STATUS_OK : file_error(path, status, err);
}

void config_file_free(struct config_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->entries[i].key);
        free(file->entries[i].text);
    }
    free(file->entries);
    *file = (struct config_file){0};
}
