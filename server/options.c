#include "server/options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_TEXT, OPTION_CHOICE, OPTION_COUNT, OPTION_BYTES };

struct option_spec {
    const char *flag;
    enum option_type type;
    size_t offset;            /* of the field in struct options */
    const char *default_text; /* parsed like a value that was given; NULL leaves 0 or NULL */
    size_t min, max;
    const char *value_name; /* of OPTION_CHOICE: the choices, separated by | */
    const char *help;
};

#define FIELD(name) offsetof(struct options, name)

static const struct option_spec specs[] = {
    {"--host", OPTION_TEXT, FIELD(host), "127.0.0.1", 0, 0, "ADDRESS",
     "address to listen on; 0.0.0.0 or :: for all"},
    {"--port", OPTION_COUNT, FIELD(port), "8080", 0, 65535, "N", "TCP port; 0 picks a free one and prints it"},
    {"--models", OPTION_TEXT, FIELD(models), NULL, 0, 0, "DIR",
     "folder of <name>/<version>/ (default: the one that ships)"},
    {"--device", OPTION_CHOICE, FIELD(device), "auto", 0, 0, "auto|cpu", "what computes"},
    {"--kernels", OPTION_CHOICE, FIELD(kernels), "auto", 0, 0, "auto|generic|avx2|avx512", "its instructions"},
    {"--io-threads", OPTION_COUNT, FIELD(io_threads), NULL, 1, 256, "N",
     "threads that read and write (default: from the processors)"},
    {"--workers", OPTION_COUNT, FIELD(workers), NULL, 1, 256, "N",
     "threads that compute (default: from the processors)"},
    {"--batch-max", OPTION_COUNT, FIELD(batch_max), "256", 1, 65536, "ROWS", "largest batch"},
    {"--queue-max", OPTION_COUNT, FIELD(queue_max), "4096", 1, 1048576, "ROWS",
     "rows that may wait; beyond it requests get 503"},
    {"--rows-max", OPTION_COUNT, FIELD(rows_max), NULL, 1, 1048576, "ROWS",
     "rows in one request (default: 4096, or --queue-max if that is less)"},
    {"--body-max", OPTION_BYTES, FIELD(body_bytes_max), "16MiB", 1, (size_t)1 << 32, "BYTES",
     "largest body; plain bytes, or with KiB, MiB, GiB"},
    {"--pixels-max", OPTION_COUNT, FIELD(pixels_max), "16777216", 1, (size_t)1 << 28, "N",
     "largest picture, width x height"},
    {"--connections-max", OPTION_COUNT, FIELD(connections_max), "10000", 1, 1000000, "N", "open connections"},
};

enum { ROWS_MAX_DEFAULT = 4096, SPEC_COUNT = sizeof specs / sizeof *specs };

static const struct {
    const char *name;
    enum command command;
} commands[] = {
    {"serve", COMMAND_SERVE}, {"predict", COMMAND_PREDICT},   {"model", COMMAND_MODEL},
    {"help", COMMAND_HELP},   {"version", COMMAND_VERSION},   {"--help", COMMAND_HELP},
    {"-h", COMMAND_HELP},     {"--version", COMMAND_VERSION}, {"-V", COMMAND_VERSION},
};

void options_help(FILE *out)
{
    fputs("usage: mlpd [serve] [OPTION…]        serve the model over HTTP\n"
          "       mlpd predict [OPTION…] FILE…  classify files: pictures, .npy, JSON, raw tensors; - is standard "
          "input\n"
          "       mlpd model [OPTION…]          print the model's structure and parameters\n"
          "       mlpd --version | --help\n\noptions:\n",
          out);
    for (size_t i = 0; i < SPEC_COUNT; i++) {
        const struct option_spec *spec = &specs[i];
        int width = (int)(strlen(spec->flag) + 1 + strlen(spec->value_name));
        fprintf(out, "  %s %s%*s  %s", spec->flag, spec->value_name, width < 36 ? 36 - width : 0, "", spec->help);
        if (spec->default_text)
            fprintf(out, " (default: %s)", spec->default_text);
        fputc('\n', out);
    }
}

/* ---- values ---- */

static enum status refuse_value(const struct option_spec *spec, const char *text, struct error *err)
{
    error_set(err, STATUS_INVALID, "%s %.64s: expected a whole number from %zu to %zu%s", spec->flag, text,
              spec->min, spec->max, spec->type == OPTION_BYTES ? ", or with KiB, MiB or GiB behind it" : "");
    if (spec->default_text)
        return error_hint(err, "for example %s %s", spec->flag, spec->default_text);
    return error_hint(err, "leave it out for the default");
}

/* The factor that a unit stands for; 0 for an unknown one. */
static size_t unit_factor(const char *unit)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(unit, units[i]) == 0)
            return (size_t)1 << (10 * i);
    return 0;
}

static enum status parse_number(const struct option_spec *spec, const char *text, size_t *ret, struct error *err)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    size_t factor = spec->type == OPTION_BYTES || !*end ? unit_factor(end) : 0;
    bool digits = *text >= '0' && *text <= '9'; /* strtoull would take a blank or a sign */
    if (!digits || errno || !factor || value > spec->max / factor || value * factor < spec->min)
        return refuse_value(spec, text, err);
    *ret = (size_t)value * factor;
    return STATUS_OK;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);
    for (const char *at = choices;; at++) {
        size_t choice_len = strcspn(at, "|");
        if (len == choice_len && strncmp(at, text, len) == 0)
            return true;
        at += choice_len;
        if (!*at)
            return false;
    }
}

static enum status set_option(struct options *options, const struct option_spec *spec, const char *text,
                              struct error *err)
{
    void *field = (char *)options + spec->offset;
    if (spec->type == OPTION_COUNT || spec->type == OPTION_BYTES)
        return parse_number(spec, text, field, err);
    if (!*text) {
        error_set(err, STATUS_INVALID, "%s came with an empty value", spec->flag);
        return error_hint(err, "give it a %s, or leave it out", spec->value_name);
    }
    if (spec->type == OPTION_CHOICE && !is_choice(spec->value_name, text)) {
        error_set(err, STATUS_INVALID, "%s %.64s: expected %s", spec->flag, text, spec->value_name);
        return error_hint(err, "leave it out for %s", spec->default_text);
    }
    *(const char **)field = text;
    return STATUS_OK;
}

static enum status set_defaults(struct options *options, struct error *err)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < SPEC_COUNT && status == STATUS_OK; i++)
        if (specs[i].default_text)
            status = set_option(options, &specs[i], specs[i].default_text, err);
    return status;
}

/* ---- the line ---- */

/* The option that an argument names, as `--flag` or `--flag=value`; *ret_value is NULL for the first. */
static const struct option_spec *find_spec(const char *argument, const char **ret_value)
{
    size_t len = strcspn(argument, "=");
    *ret_value = argument[len] ? argument + len + 1 : NULL;
    for (size_t i = 0; i < SPEC_COUNT; i++)
        if (strlen(specs[i].flag) == len && strncmp(argument, specs[i].flag, len) == 0)
            return &specs[i];
    return NULL;
}

static enum status parse_option(int argc, char *const *argv, int *at, struct options *options, struct error *err)
{
    const char *value;
    const struct option_spec *spec = find_spec(argv[*at], &value);
    if (!spec) {
        error_set(err, STATUS_INVALID, "unknown option %.64s", argv[*at]);
        return error_hint(err, "mlpd --help lists the options");
    }
    if (!value) {
        if (*at + 1 >= argc) {
            error_set(err, STATUS_INVALID, "%s came without a value", spec->flag);
            return error_hint(err, "write %s %s", spec->flag, spec->value_name);
        }
        value = argv[++*at];
    }
    return set_option(options, spec, value, err);
}

static enum status parse_command(const char *name, enum command *ret, struct error *err)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            *ret = commands[i].command;
            return STATUS_OK;
        }
    }
    error_set(err, STATUS_INVALID, "unknown %s %.64s", *name == '-' ? "option" : "command", name);
    return error_hint(err, "the commands are serve, predict and model; mlpd --help lists the options too");
}

static enum status check_together(const struct options *options, struct error *err)
{
    if (options->command == COMMAND_PREDICT && !options->file_count) {
        error_set(err, STATUS_INVALID, "mlpd predict came without a file");
        return error_hint(err, "write mlpd predict boot.png; - reads standard input");
    }
    if (options->command != COMMAND_PREDICT && options->file_count) {
        error_set(err, STATUS_INVALID, "unexpected argument %.64s", options->files[0]);
        return error_hint(err, "files go with mlpd predict; mlpd --help lists the rest");
    }
    if (options->rows_max > options->queue_max) {
        error_set(err, STATUS_INVALID,
                  "--rows-max %zu is more than --queue-max %zu: such a request could never be taken",
                  options->rows_max, options->queue_max);
        return error_hint(err, "lower --rows-max or raise --queue-max");
    }
    return STATUS_OK;
}

/* Reads the options up to the first argument that is none, or to behind a "--". A --help among them ends it. */
static enum status parse_options(int argc, char *const *argv, int *at, struct options *options, struct error *err)
{
    for (; *at < argc && strncmp(argv[*at], "--", 2) == 0; ++*at) {
        if (strcmp(argv[*at], "--help") == 0) {
            options->command = COMMAND_HELP;
            return STATUS_OK;
        }
        if (strcmp(argv[*at], "--") == 0) {
            ++*at;
            return STATUS_OK;
        }
        enum status status = parse_option(argc, argv, at, options, err);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static bool is_answered_at_once(enum command command)
{
    return command == COMMAND_HELP || command == COMMAND_VERSION;
}

/* Reads the command, if the line begins with one, then its options. */
static enum status parse_line(int argc, char *const *argv, int *at, struct options *options, struct error *err)
{
    const char *value;
    bool has_command = *at < argc && (argv[*at][0] != '-' || !find_spec(argv[*at], &value));
    enum status status = has_command ? parse_command(argv[(*at)++], &options->command, err) : STATUS_OK;
    if (status != STATUS_OK || is_answered_at_once(options->command))
        return status;
    return parse_options(argc, argv, at, options, err);
}

enum status options_parse(int argc, char *const *argv, struct options *ret, struct error *err)
{
    struct options options = {.command = COMMAND_SERVE};
    int at = 1;
    enum status status = set_defaults(&options, err);
    if (status == STATUS_OK)
        status = parse_line(argc, argv, &at, &options, err);
    if (status == STATUS_OK && !is_answered_at_once(options.command)) {
        options.files = argv + at;
        options.file_count = at < argc ? (size_t)(argc - at) : 0;
        if (!options.rows_max)
            options.rows_max = options.queue_max < ROWS_MAX_DEFAULT ? options.queue_max : ROWS_MAX_DEFAULT;
        status = check_together(&options, err);
    }
    if (status == STATUS_OK)
        *ret = options;
    return status;
}
