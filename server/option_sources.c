/* The environment and the config file. */
#include <string.h>

#include "engine/file.h"
#include "engine/utf8.h"
#include "server/config_file.h"
#include "server/option_parts.h"

enum { PREFIX_LEN = sizeof OPTION_VARIABLE_PREFIX - 1 };

static bool begins_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* ---- the environment ---- */

/* Whether Kubernetes injected the variable, for a Service named mlpd, or mlpd-admin and the like: MLPD_SERVICE_HOST,
 * MLPD_SERVICE_PORT_HTTP, MLPD_PORT=tcp://10.0.0.1:80, MLPD_PORT_80_TCP_ADDR, MLPD_ADMIN_SERVICE_HOST. */
static bool is_injected(const char *name, size_t len, const char *value)
{
    static const char *const marks[] = {"_SERVICE_HOST", "_SERVICE_PORT"};
    static const char *const protocols[] = {"tcp://", "udp://", "sctp://"};
    if (begins_with(name, "MLPD_SERVICE_") || begins_with(name, "MLPD_PORT_"))
        return true;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (memmem(name, len, marks[i], strlen(marks[i])))
            return true;
    const char *port = memmem(name, len, "_PORT", 5);
    if (port && port[5] == '_' && port[6] >= '0' && port[6] <= '9')
        return true;
    for (size_t i = 0; port && i < sizeof protocols / sizeof *protocols; i++)
        if (port + 5 == name + len && begins_with(value, protocols[i]))
            return true;
    return false;
}

static enum status ignore_variable(struct options *options, const char *name, size_t len, struct error *err)
{
    if (options->ignored_env++ > 0)
        return STATUS_OK;
    options->ignored_env_first = option_keep_text(options, name, len);
    return options->ignored_env_first ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "no memory for a name");
}

static enum status refuse_variable(const char *name, size_t len, struct error *err)
{
    char meant[OPTION_NAME_MAX];
    const struct option_spec *nearest = option_nearest(name, len);
    error_set(err, STATUS_INVALID, "unknown variable %.*s", utf8_cut(name, len, OPTION_SHOWN_MAX), name);
    if (!nearest)
        return error_hint(err, "mlpd --help lists the options; unset what is not meant for mlpd");
    option_write_variable(nearest, meant);
    return error_hint(err, "did you mean %s? if it is not meant for mlpd, unset it", meant);
}

static enum status read_variable(struct options *options, const char *variable, struct error *err)
{
    const struct option_place place = {.source = SOURCE_ENVIRONMENT};
    size_t len = strcspn(variable, "=");
    const char *value = variable + len + (variable[len] == '=');
    if (is_injected(variable, len, value))
        return ignore_variable(options, variable, len, err);
    const struct option_spec *spec = option_find_variable(variable, len);
    return spec ? option_set(options, spec, &place, value, err) : refuse_variable(variable, len, err);
}

void option_read_environment(struct options *options, char *const *environment, struct option_faults *faults)
{
    struct error err = {.status = STATUS_OK};
    for (; *environment; environment++)
        if (strncmp(*environment, OPTION_VARIABLE_PREFIX, PREFIX_LEN) == 0)
            option_fault_add(faults, read_variable(options, *environment, &err), &err);
}

/* ---- the file ---- */

static enum status refuse_key(const char *path, const struct config_entry *entry, struct error *err)
{
    char meant[OPTION_NAME_MAX];
    size_t len = strlen(entry->key);
    const struct option_spec *nearest = option_nearest(entry->key, len);
    error_set(err, STATUS_INVALID, "line %zu: unknown key \"%.*s\"", entry->line, OPTION_SHOWN(entry->key));
    file_error(path, err->status, err);
    if (!nearest)
        return error_hint(err,
                          "config/mlpd.json has all keys, and mlpd --help the options that they are named for");
    if (nearest == &option_specs[OPTION_CONFIG])
        return error_hint(err, "a config file cannot name another");
    option_write_key(nearest, meant);
    return error_hint(err, "did you mean \"%s\"?", meant);
}

/* What a value of this type may be in JSON, in words. */
static const char *kinds_text(const struct option_spec *spec)
{
    switch (spec->type) {
    case OPTION_TYPE_COUNT: return "a number";
    case OPTION_TYPE_BYTES: return "a number, or a string like \"16MiB\"";
    case OPTION_TYPE_LIST: return "a string, or an array of strings";
    case OPTION_TYPE_TEXT:
    case OPTION_TYPE_CHOICE: break;
    }
    return "a string";
}

/* The text that the command line would have; NULL if this kind of value does not fit. */
static const char *entry_text(const struct option_spec *spec, const struct config_entry *entry)
{
    bool is_number = spec->type == OPTION_TYPE_COUNT || spec->type == OPTION_TYPE_BYTES;
    switch (entry->kind) {
    case CONFIG_STRING: return entry->text;
    case CONFIG_NUMBER: return is_number ? entry->text : NULL;
    case CONFIG_STRINGS: return spec->type == OPTION_TYPE_LIST ? entry->text : NULL;
    case CONFIG_FALSE: return option_has_word(spec, "off") ? "off" : NULL;
    case CONFIG_NULL:
    case CONFIG_OTHER: break;
    }
    return NULL;
}

static enum status read_entry(struct options *options, const struct option_spec *spec,
                              const struct config_entry *entry, struct error *err)
{
    const struct option_place place = {SOURCE_FILE, options->config, entry->line};
    char where[OPTION_PLACE_MAX];
    const char *text = entry_text(spec, entry);
    if (text)
        return option_set(options, spec, &place, text, err);
    option_write_place(spec, &place, where);
    error_set(err, STATUS_INVALID, "%s is %s: expected %s", where, entry->kind_text, kinds_text(spec));
    return error_hint(err, "null, or no such key, leaves the default");
}

static enum status refuse_second(const struct option_place *place, const struct option_spec *spec,
                                 size_t first_line, struct error *err)
{
    char where[OPTION_PLACE_MAX];
    option_write_place(spec, place, where);
    error_set(err, STATUS_INVALID, "%s is given twice, first in line %zu", where, first_line);
    return error_hint(err, "give it once");
}

static void read_entries(struct options *options, const struct config_file *file, struct option_faults *faults)
{
    size_t lines[OPTION_COUNT] = {0}; /* of the keys that were there */
    struct error err = {.status = STATUS_OK};
    for (size_t i = 0; i < file->count; i++) {
        const struct config_entry *entry = &file->entries[i];
        const struct option_spec *spec = option_find_key(entry->key, strlen(entry->key));
        const struct option_place place = {SOURCE_FILE, options->config, entry->line};
        enum status status = STATUS_OK;
        if (!spec)
            status = refuse_key(options->config, entry, &err);
        else if (lines[option_id_of(spec)])
            status = refuse_second(&place, spec, lines[option_id_of(spec)], &err);
        else if (entry->kind != CONFIG_NULL)
            status = read_entry(options, spec, entry, &err);
        if (spec)
            lines[option_id_of(spec)] = entry->line;
        option_fault_add(faults, status, &err);
    }
}

void option_read_file(struct options *options, struct option_faults *faults)
{
    struct config_file file;
    struct error err = {.status = STATUS_OK};
    if (!options->config)
        return;
    enum status status = config_file_read(options->config, &file, &err);
    if (status != STATUS_OK) {
        if (!*err.hint)
            error_hint(&err, "--config, or the variable MLPD_CONFIG, names the file");
        option_fault_add(faults, status, &err);
        return;
    }
    read_entries(options, &file, faults);
    config_file_free(&file);
}
