/* What is shown of the options: --help, README's table, and the effective configuration. */
#include <string.h>

#include "server/option_parts.h"

enum { WIDTH = 100, HELP_COLUMN = 31, DETAILS_MAX = 160, VALUE_COLUMN_MAX = 40 };

/* "1 to 65536", or nothing. */
static const char *range_text(const struct option_spec *spec, char ret[DETAILS_MAX])
{
    char min[OPTION_NUMBER_MAX], max[OPTION_NUMBER_MAX];
    option_write_number(spec, spec->min, min);
    option_write_number(spec, spec->max, max);
    snprintf(ret, DETAILS_MAX, "%s to %s", min, max);
    if (spec->max == 0)
        *ret = '\0';
    return ret;
}

/* "256", "auto: from the processors", "none". */
static const char *default_text(const struct option_spec *spec, char ret[DETAILS_MAX])
{
    snprintf(ret, DETAILS_MAX, "%s%s%s", spec->default_text ? spec->default_text : "",
             spec->default_text && spec->default_help ? ": " : "", spec->default_help ? spec->default_help : "");
    return ret;
}

/* ---- --help ---- */

/* Writes a word behind what stands in the line; or below it, at HELP_COLUMN, if it would pass the right margin. */
static void write_word(FILE *out, int *column, const char *word, int len)
{
    if (*column + 1 + len > WIDTH) {
        fprintf(out, "\n%*s", HELP_COLUMN, "");
        *column = HELP_COLUMN;
    }
    fprintf(out, " %.*s", len, word);
    *column += 1 + len;
}

static void write_words(FILE *out, int *column, const char *text)
{
    while (*text) {
        int len = (int)strcspn(text, " ");
        write_word(out, column, text, len);
        text += len + (text[len] == ' ');
    }
}

static void write_help(FILE *out, const struct option_spec *spec)
{
    char standard[DETAILS_MAX], range[DETAILS_MAX], details[2 * DETAILS_MAX];
    int column = fprintf(out, "  %s %s", spec->flag, spec->value_name);
    if (column > HELP_COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - column, "");
    column = HELP_COLUMN;
    snprintf(details, sizeof details, "(default %s%s%s)", default_text(spec, standard), spec->max ? "; " : "",
             range_text(spec, range));
    write_words(out, &column, spec->help);
    if (strlen(details) < WIDTH - HELP_COLUMN) /* whole, if it can be */
        write_word(out, &column, details, (int)strlen(details));
    else
        write_words(out, &column, details);
    fputc('\n', out);
}

void options_help(FILE *out)
{
    fputs("usage: mlpd [serve] [OPTION...] [MODEL]  serve the model over HTTP\n"
          "       mlpd predict [OPTION...] FILE...  classify files: pictures, .npy, JSON, raw; - is stdin\n"
          "       mlpd model [OPTION...] [MODEL]    print the model's structure and parameters\n"
          "       mlpd check [OPTION...] [MODEL]    check options and model, print the effective configuration\n"
          "       mlpd golden [OPTION...] [MODEL]   write golden.safetensors, with which each load is compared\n"
          "       mlpd --version | --help\n\n"
          "MODEL is a file of parameters or the folder of a version, and the same as --model.\n"
          "An option is also a variable (--batch-max: MLPD_BATCH_MAX) and a key of the file that --config\n"
          "names (\"batch_max\"). The flag wins over the variable, the variable over the file.\n",
          out);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (option_specs[i].heading)
            fprintf(out, "\n%s:\n", option_specs[i].heading);
        write_help(out, &option_specs[i]);
    }
}

/* ---- Markdown ---- */

/* In a table a bar would end the cell, and a word between < and > would be HTML. */
static void write_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("|<", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

void options_help_markdown(FILE *out)
{
    char standard[DETAILS_MAX], range[DETAILS_MAX];
    fputs("| option | default | range | meaning |\n|---|---|---|---|\n", out);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];
        if (spec->heading)
            fprintf(out, "| **%s** | | | |\n", spec->heading);
        fprintf(out, "| `%s ", spec->flag);
        write_cell(out, spec->value_name);
        fprintf(out, "` | %s |%s%s | ", default_text(spec, standard), spec->max ? " " : "",
                range_text(spec, range));
        write_cell(out, spec->help);
        fputs(" |\n", out);
    }
}

/* ---- the effective configuration ---- */

static void write_origin(const struct options *options, enum option_id id, FILE *out)
{
    const struct option_origin *origin = &options->origins[id];
    char name[OPTION_NAME_MAX];
    switch (origin->source) {
    case SOURCE_DEFAULT: fputs("default\n", out); break;
    case SOURCE_FILE: fprintf(out, "%s:%zu\n", options->config, origin->line); break;
    case SOURCE_ENVIRONMENT:
        option_write_variable(&option_specs[id], name);
        fprintf(out, "%s\n", name);
        break;
    case SOURCE_FLAG: fprintf(out, "%s\n", option_specs[id].flag); break;
    }
}

/* The width of the widest value and key; values beyond VALUE_COLUMN_MAX push their own line alone. */
static void measure(const struct options *options, int *ret_key_width, int *ret_value_width)
{
    char key[OPTION_NAME_MAX], value[OPTION_VALUE_MAX];
    *ret_key_width = *ret_value_width = 0;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        option_write_key(&option_specs[i], key);
        option_write_value(options, &option_specs[i], value);
        int key_len = (int)strlen(key), value_len = (int)strlen(value);
        if (key_len > *ret_key_width)
            *ret_key_width = key_len;
        if (value_len > *ret_value_width && value_len <= VALUE_COLUMN_MAX)
            *ret_value_width = value_len;
    }
}

void options_print(const struct options *options, FILE *out)
{
    char key[OPTION_NAME_MAX], value[OPTION_VALUE_MAX];
    int key_width, value_width;
    measure(options, &key_width, &value_width);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        option_write_key(&option_specs[i], key);
        option_write_value(options, &option_specs[i], value);
        fprintf(out, "%-*s  %-*s  ", key_width, key, value_width, value);
        write_origin(options, (enum option_id)i, out);
    }
}
