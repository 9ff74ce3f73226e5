/* Values: texts into fields, and back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"
#include "server/option_parts.h"

struct option_text {
    struct option_text *next;
    char text[];
};

const char *option_keep_text(struct options *options, const char *text, size_t len)
{
    struct option_text *kept = malloc(sizeof *kept + len + 1);
    if (!kept)
        return NULL;
    memcpy(kept->text, text, len);
    kept->text[len] = '\0';
    kept->next = options->texts;
    options->texts = kept;
    return kept->text;
}

void options_free(struct options *options)
{
    for (struct option_text *kept = options->texts, *next; kept; kept = next) {
        next = kept->next;
        free(kept);
    }
    options->texts = NULL;
}

void option_fault_add(struct option_faults *faults, enum status status, const struct error *err)
{
    if (status == STATUS_OK)
        return;
    if (faults->count < OPTION_FAULTS_MAX)
        faults->list[faults->count] = *err;
    faults->count++;
}

/* ---- places ---- */

enum { PATH_SHOWN_MAX = 160 };

void option_write_place(const struct option_spec *spec, const struct option_place *place,
                        char ret[OPTION_PLACE_MAX])
{
    char key[OPTION_NAME_MAX];
    if (place->source == SOURCE_FILE) {
        size_t len = strlen(place->file), skip = len > PATH_SHOWN_MAX ? len - PATH_SHOWN_MAX : 0;
        while (skip > 0 && ((unsigned char)place->file[skip] & 0xC0) == 0x80)
            skip++; /* not inside a character */
        option_write_key(spec, key);
        snprintf(ret, OPTION_PLACE_MAX, "%s%s line %zu, key \"%s\"", skip ? "..." : "", place->file + skip,
                 place->line, key);
    } else if (place->source == SOURCE_ENVIRONMENT) {
        option_write_variable(spec, ret);
    } else {
        snprintf(ret, OPTION_PLACE_MAX, "%s", spec->flag);
    }
}

/* What stands between a place and its value. */
static const char *equals_sign(const struct option_place *place)
{
    return place->source == SOURCE_FILE ? " is " : place->source == SOURCE_ENVIRONMENT ? "=" : " ";
}

static enum status hint_example(const struct option_spec *spec, const struct option_place *place, struct error *err)
{
    char name[OPTION_PLACE_MAX];
    if (place->source == SOURCE_FILE) {
        bool is_number = spec->default_text[strspn(spec->default_text, "0123456789")] == '\0';
        const char *quote = is_number ? "" : "\"";
        option_write_key(spec, name);
        return error_hint(err, "for example \"%s\": %s%s%s, the default", name, quote, spec->default_text, quote);
    }
    option_write_place(spec, place, name);
    return error_hint(err, "for example %s%s%s, the default", name, equals_sign(place), spec->default_text);
}

/* ---- numbers ---- */

static enum status refuse_number(const struct option_spec *spec, const struct option_place *place, const char *text,
                                 struct error *err)
{
    char where[OPTION_PLACE_MAX];
    option_write_place(spec, place, where);
    error_set(err, STATUS_INVALID, "%s%s%.*s: expected a whole number from %zu to %zu%s%s%s", where,
              equals_sign(place), OPTION_SHOWN(text), spec->min, spec->max,
              spec->type == OPTION_TYPE_BYTES ? ", or with KiB, MiB or GiB behind it" : "",
              option_has_word(spec, "auto") ? ", or auto" : "", option_has_word(spec, "off") ? ", or off" : "");
    return hint_example(spec, place, err);
}

static const char *const units[] = {"", "KiB", "MiB", "GiB"};

enum { UNIT_COUNT = sizeof units / sizeof *units };

/* The factor that a unit stands for; 0 for an unknown one. */
static size_t unit_factor(const char *unit)
{
    for (size_t i = 0; i < UNIT_COUNT; i++)
        if (strcmp(unit, units[i]) == 0)
            return (size_t)1 << (10 * i);
    return 0;
}

static enum status read_number(const struct option_spec *spec, const struct option_place *place, const char *text,
                               size_t *ret, struct error *err)
{
    if (option_has_word(spec, text)) {
        *ret = strcmp(text, "off") == 0 ? OPTION_OFF : OPTION_AUTO;
        return STATUS_OK;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    size_t factor = spec->type == OPTION_TYPE_BYTES || !*end ? unit_factor(end) : 0;
    bool digits = *text >= '0' && *text <= '9'; /* strtoull would take a blank or a sign */
    if (!digits || errno || !factor || value > spec->max / factor || value * factor < spec->min)
        return refuse_number(spec, place, text, err);
    *ret = (size_t)value * factor;
    return STATUS_OK;
}

/* ---- all types ---- */

struct value {
    size_t number;
    const char *text;
    struct option_list list;
};

static enum status read_text(struct options *options, const struct option_spec *spec,
                             const struct option_place *place, const char *text, const char **ret,
                             struct error *err)
{
    char where[OPTION_PLACE_MAX];
    if (spec->type == OPTION_TYPE_CHOICE && !option_has_word(spec, text)) {
        option_write_place(spec, place, where);
        error_set(err, STATUS_INVALID, "%s%s%.*s: expected %s", where, equals_sign(place), OPTION_SHOWN(text),
                  spec->value_name);
        return hint_example(spec, place, err);
    }
    *ret = option_keep_text(options, text, strlen(text));
    return *ret ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "no memory for the value of %s", spec->flag);
}

static enum status read_value(struct options *options, const struct option_spec *spec,
                              const struct option_place *place, const char *text, struct value *value,
                              struct error *err)
{
    char where[OPTION_PLACE_MAX];
    option_write_place(spec, place, where);
    if (!*text) {
        error_set(err, STATUS_INVALID, "%s came with an empty value", where);
        return error_hint(err, "give it a value, %s, or leave it out", spec->value_name);
    }
    switch (spec->type) {
    case OPTION_TYPE_COUNT:
    case OPTION_TYPE_BYTES: return read_number(spec, place, text, &value->number, err);
    case OPTION_TYPE_TEXT:
    case OPTION_TYPE_CHOICE: return read_text(options, spec, place, text, &value->text, err);
    case OPTION_TYPE_LIST: break;
    }
    enum status status = option_add_addresses(options, text, &value->list, err);
    return status == STATUS_OK ? STATUS_OK : error_prefix(err, "%s: ", where);
}

static void store(struct options *options, const struct option_spec *spec, const struct value *value)
{
    void *field = (char *)options + spec->offset;
    switch (spec->type) {
    case OPTION_TYPE_COUNT:
    case OPTION_TYPE_BYTES: *(size_t *)field = value->number; break;
    case OPTION_TYPE_TEXT:
    case OPTION_TYPE_CHOICE: *(const char **)field = value->text; break;
    case OPTION_TYPE_LIST: *(struct option_list *)field = value->list; break;
    }
}

enum status option_set(struct options *options, const struct option_spec *spec, const struct option_place *place,
                       const char *text, struct error *err)
{
    struct option_origin *origin = &options->origins[option_id_of(spec)];
    bool again = origin->source == place->source && place->source != SOURCE_DEFAULT;
    struct value value = {.number = 0};
    char where[OPTION_PLACE_MAX];
    if (again && spec->type != OPTION_TYPE_LIST) {
        option_write_place(spec, place, where);
        error_set(err, STATUS_INVALID, "%s is given twice, the second time as %.*s", where, OPTION_SHOWN(text));
        return error_hint(err, "give it once");
    }
    if (again)
        value.list = *(const struct option_list *)((const char *)options + spec->offset);
    enum status status = read_value(options, spec, place, text, &value, err);
    if (status != STATUS_OK || place->source < origin->source)
        return status;
    store(options, spec, &value);
    *origin = (struct option_origin){.source = place->source, .line = place->line};
    return STATUS_OK;
}

/* ---- back into text ---- */

void option_write_number(const struct option_spec *spec, size_t number, char ret[OPTION_NUMBER_MAX])
{
    size_t unit = 0;
    if (number == OPTION_OFF || (number == OPTION_AUTO && option_has_word(spec, "auto"))) {
        snprintf(ret, OPTION_NUMBER_MAX, "%s", number == OPTION_OFF ? "off" : "auto");
        return;
    }
    while (spec->type == OPTION_TYPE_BYTES && number > 0 && number % 1024 == 0 && unit + 1 < UNIT_COUNT) {
        number /= 1024;
        unit++;
    }
    snprintf(ret, OPTION_NUMBER_MAX, "%zu%s", number, units[unit]);
}

static void write_list(const struct option_list *list, char *ret)
{
    size_t len = 0;
    *ret = '\0';
    for (size_t i = 0; i < list->count && len < OPTION_VALUE_MAX; i++)
        len += (size_t)snprintf(ret + len, OPTION_VALUE_MAX - len, "%s%s", i ? "," : "", list->texts[i]);
}

void option_write_value(const struct options *options, const struct option_spec *spec, char ret[OPTION_VALUE_MAX])
{
    const void *field = (const char *)options + spec->offset;
    const char *text;
    switch (spec->type) {
    case OPTION_TYPE_COUNT:
    case OPTION_TYPE_BYTES: option_write_number(spec, *(const size_t *)field, ret); return;
    case OPTION_TYPE_LIST: write_list(field, ret); return;
    case OPTION_TYPE_TEXT:
    case OPTION_TYPE_CHOICE: break;
    }
    text = *(const char *const *)field;
    snprintf(ret, OPTION_VALUE_MAX, "%s", text ? text : spec->default_help);
}
