#include "server/options.h"

#include <string.h>

#include "engine/utf8.h"
#include "server/nearest_name.h"
#include "server/option_parts.h"

enum { ROWS_MAX_DEFAULT = 4096 };

struct line {
    int argc;
    char *const *argv;
    int at; /* the next argument */
};

/* The next argument, and moves behind it; NULL at the end. */
static const char *take(struct line *line)
{
    return line->at < line->argc ? line->argv[line->at++] : NULL;
}

static const char *peek(const struct line *line)
{
    return line->at < line->argc ? line->argv[line->at] : NULL;
}

/* ---- the command ---- */

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"serve", COMMAND_SERVE},       {"predict", COMMAND_PREDICT}, {"model", COMMAND_MODEL},
    {"check", COMMAND_CHECK},       {"golden", COMMAND_GOLDEN},   {"help", COMMAND_HELP},
    {"version", COMMAND_VERSION},   {"--help", COMMAND_HELP},     {"-h", COMMAND_HELP},
    {"--version", COMMAND_VERSION}, {"-V", COMMAND_VERSION},
};

enum { NAMED_COMMAND_COUNT = sizeof commands / sizeof *commands };

static enum status refuse_command(const char *name, struct error *err)
{
    struct nearest_name nearest = nearest_name_begin(name, strlen(name));
    for (size_t i = 0; i < NAMED_COMMAND_COUNT; i++)
        nearest_name_offer(&nearest, commands[i].name);
    error_set(err, STATUS_INVALID, "unknown %s %.*s", *name == '-' ? "option" : "command", OPTION_SHOWN(name));
    if (nearest.name)
        return error_hint(err, "did you mean %s? mlpd --help lists the commands and options", nearest.name);
    return error_hint(
        err, "the commands are serve, predict, model, check and golden; mlpd --help lists the options too");
}

/* Reads the command, if the line begins with one. */
static enum status read_command(struct line *line, enum command *ret, struct error *err)
{
    const char *name = peek(line);
    for (size_t i = 0; name && i < NAMED_COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            take(line);
            *ret = commands[i].command;
            return STATUS_OK;
        }
    }
    return !name || strncmp(name, "--", 2) == 0 ? STATUS_OK : refuse_command(name, err);
}

/* ---- options ---- */

static enum status refuse_flag(const char *argument, size_t len, struct error *err)
{
    const struct option_spec *nearest = option_nearest(argument, len);
    error_set(err, STATUS_INVALID, "unknown option %.*s", OPTION_SHOWN(argument));
    if (nearest)
        return error_hint(err, "did you mean %s? mlpd --help lists the options", nearest->flag);
    return error_hint(err, "mlpd --help lists the options");
}

/* Behind what may be the value of an option that is not known. */
static void skip_to_flag(struct line *line)
{
    while (peek(line) && strncmp(peek(line), "--", 2) != 0)
        take(line);
}

/* Reads `--flag value` or `--flag=value`. */
static enum status read_option(struct line *line, struct options *options, struct error *err)
{
    const struct option_place place = {.source = SOURCE_FLAG};
    const char *argument = take(line);
    size_t len = strcspn(argument, "=");
    const struct option_spec *spec = option_find_flag(argument, len);
    if (!spec) {
        skip_to_flag(line);
        return refuse_flag(argument, len, err);
    }
    if (argument[len] == '=')
        return option_set(options, spec, &place, argument + len + 1, err);
    if (!peek(line) || strncmp(peek(line), "--", 2) == 0) {
        error_set(err, STATUS_INVALID, "%s came without a value", spec->flag);
        return error_hint(err, "write %s %s, or %s=%s if it begins with --", spec->flag, spec->value_name,
                          spec->flag, spec->value_name);
    }
    return option_set(options, spec, &place, take(line), err);
}

/* Reads the options up to the first argument that is none, or to behind a "--". A --help among them ends it. */
static void read_options(struct line *line, struct options *options, struct option_faults *faults)
{
    struct error err = {.status = STATUS_OK};
    while (peek(line) && strncmp(peek(line), "--", 2) == 0) {
        if (strcmp(peek(line), "--help") == 0) {
            options->command = COMMAND_HELP;
            return;
        }
        if (strcmp(peek(line), "--") == 0) {
            take(line);
            return;
        }
        option_fault_add(faults, read_option(line, options, &err), &err);
    }
}

static enum status check_files(const struct options *options, struct error *err)
{
    if (options->command == COMMAND_PREDICT && !options->file_count) {
        error_set(err, STATUS_INVALID, "mlpd predict came without a file");
        return error_hint(err, "write mlpd predict boot.png; - reads standard input");
    }
    if (options->command != COMMAND_PREDICT && options->file_count) {
        error_set(err, STATUS_INVALID, "unexpected argument %.*s", OPTION_SHOWN(options->files[0]));
        return error_hint(err, "one model is taken, as a file or a folder; pictures go with mlpd predict");
    }
    return STATUS_OK;
}

/* ---- the whole ---- */

static bool is_answered_at_once(enum command command)
{
    return command == COMMAND_HELP || command == COMMAND_HELP_MARKDOWN || command == COMMAND_VERSION;
}

/* Files behind mlpd predict are what it reads. */
static bool takes_model(enum command command)
{
    return command != COMMAND_PREDICT && command != COMMAND_HELP;
}

/* The model that stands behind the options, and options behind it. */
static void read_model(struct line *line, struct options *options, struct option_faults *faults)
{
    const struct option_place place = {.source = SOURCE_FLAG};
    struct error err = {.status = STATUS_OK};
    enum status status = option_set(options, &option_specs[OPTION_MODEL], &place, take(line), &err);
    option_fault_add(faults, status, &err);
    read_options(line, options, faults);
}

static void read_line(struct line *line, struct options *options, struct option_faults *faults)
{
    struct error err = {.status = STATUS_OK};
    enum status status = read_command(line, &options->command, &err);
    option_fault_add(faults, status, &err);
    if (options->command == COMMAND_HELP && peek(line) && strcmp(peek(line), "--markdown") == 0)
        options->command = COMMAND_HELP_MARKDOWN;
    if (status != STATUS_OK || is_answered_at_once(options->command))
        return;
    read_options(line, options, faults);
    if (takes_model(options->command) && line->at < line->argc && *line->argv[line->at] != '-')
        read_model(line, options, faults);
    options->files = line->argv + line->at;
    options->file_count = (size_t)(line->argc - line->at);
    if (faults->count == 0)
        option_fault_add(faults, check_files(options, &err), &err);
}

static bool has_unix_hosts_only(const struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->texts[i], "unix:", 5) != 0)
            return false;
    return true;
}

/* Fills what no source gave, and what follows from the rest. */
static void complete(struct options *options, struct option_faults *faults)
{
    const struct option_place place = {.source = SOURCE_DEFAULT};
    struct error err = {.status = STATUS_OK};
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];
        if (spec->default_text && options->origins[i].source == SOURCE_DEFAULT)
            option_fault_add(faults, option_set(options, spec, &place, spec->default_text, &err), &err);
    }
    if (options->rows_max == OPTION_AUTO)
        options->rows_max = options->queue_max < ROWS_MAX_DEFAULT ? options->queue_max : ROWS_MAX_DEFAULT;
    options->admin = options->admin_port != OPTION_OFF || has_unix_hosts_only(&options->admin_hosts);
}

enum status options_parse(int argc, char *const *argv, char *const *environment, struct options *ret,
                          struct option_faults *ret_faults)
{
    struct options options = {.command = COMMAND_SERVE};
    struct line line = {.argc = argc, .argv = argv, .at = 1};
    ret_faults->count = 0;
    read_line(&line, &options, ret_faults);
    if (is_answered_at_once(options.command)) {
        ret_faults->count = 0;
    } else {
        option_read_environment(&options, environment, ret_faults);
        option_read_file(&options, ret_faults);
        complete(&options, ret_faults);
        if (ret_faults->count == 0)
            option_check_together(&options, ret_faults);
    }
    if (ret_faults->count > 0) {
        options_free(&options);
        return ret_faults->list[0].status;
    }
    *ret = options;
    return STATUS_OK;
}
