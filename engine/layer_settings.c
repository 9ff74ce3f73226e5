/* The arguments in a layer's text: "negative_slope=0.01, inplace=True" as settings. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model_building.h"

/* ---- Values ---- */

/* A number as Python writes it: 0.01, 1e-05, -2, inf; never NaN. */
static bool read_number(const char *text, size_t len, double *ret_number)
{
    char copy[64], *end;
    if (len == 0 || len >= sizeof copy || isspace((unsigned char)text[0]))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (strpbrk(copy, "xX")) /* strtod reads hexadecimal too */
        return false;
    *ret_number = strtod(copy, &end);
    return *end == '\0' && !isnan(*ret_number);
}

static bool text_is(const char *text, size_t len, const char *expected)
{
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

static bool read_flag(const char *text, size_t len, double *ret_number)
{
    *ret_number = text_is(text, len, "True");
    return *ret_number != 0.0 || text_is(text, len, "False");
}

/* The words that arguments may have. */
static bool read_word(const char *text, size_t len, const char **ret_word)
{
    static const char *const words[] = {"none", "tanh"};
    if (len < 2 || text[0] != text[len - 1] || (text[0] != '\'' && text[0] != '"'))
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (text_is(text + 1, len - 2, words[i])) {
            *ret_word = words[i];
            return true;
        }
    return false;
}

static bool read_value(const char *text, size_t len, struct layer_setting *setting)
{
    switch (setting->kind) {
    case SETTING_NUMBER: return read_number(text, len, &setting->number);
    case SETTING_FLAG: return read_flag(text, len, &setting->number);
    case SETTING_WORD: return read_word(text, len, &setting->word);
    }
    return false;
}

/* ---- Settings ---- */

enum status building_refuse_arguments(const struct building *building, const struct module *module,
                                      const struct layer *layer, const char *expected)
{
    return error_set(building->err, STATUS_UNSUPPORTED, "structure.txt: %s is %s(%s), %s",
                     building_shown_name(layer->name), module->class_name, module->arguments, expected);
}

static enum status refuse_setting(const struct building *building, const struct module *module,
                                  const struct layer *layer, const struct setting_spec *spec)
{
    building_refuse_arguments(building, module, layer, "one of its arguments cannot be read");
    return error_hint(building->err, "write %s=%s, as print(model) does%s", spec->name, spec->expected,
                      spec->fallback ? ", or leave it out for PyTorch's default" : "");
}

enum status building_read_settings(const struct building *building, const struct module *module,
                                   const struct setting_spec *specs, struct layer *layer)
{
    for (const struct setting_spec *spec = specs; spec->name; spec++) {
        struct layer_setting *setting = &layer->settings[layer->setting_count++];
        const char *text = spec->fallback;
        size_t len = text ? strlen(text) : 0;
        bool said = module_argument(module, spec->name, &text, &len);
        if (said && spec->fallback && text_is(text, len, "None")) {
            text = spec->fallback;
            len = strlen(text);
        }
        setting->name = spec->name;
        setting->kind = spec->kind;
        if (!text || !read_value(text, len, setting))
            return refuse_setting(building, module, layer, spec);
    }
    return STATUS_OK;
}

/* ---- Sizes ---- */

bool setting_features(const char *text, size_t len, size_t *ret_features)
{
    size_t number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || number > FEATURES_MAX)
            return false;
        number = number * 10 + (size_t)(text[i] - '0');
    }
    *ret_features = number;
    return number >= 1 && number <= FEATURES_MAX;
}

/* Steps behind `expected`, if it stands at *at. */
static bool step_over(const char **at, const char *end, const char *expected)
{
    size_t len = strlen(expected);
    if ((size_t)(end - *at) < len || memcmp(*at, expected, len) != 0)
        return false;
    *at += len;
    return true;
}

/* Digits up to what is none; 0 for "-1", which stands for what is left. */
static bool read_size(const char **at, const char *end, size_t *ret_size)
{
    const char *begin = *at;
    *ret_size = 0;
    if (step_over(at, end, "-1"))
        return true;
    while (*at < end && **at >= '0' && **at <= '9')
        ++*at;
    return setting_features(begin, (size_t)(*at - begin), ret_size);
}

bool setting_sizes(const char *text, size_t len, size_t sizes[MODEL_DIMS_MAX], size_t *ret_dims)
{
    const char *at = text, *end = text + len;
    size_t dims = 0, product = 1;
    step_over(&at, end, "torch.Size(");
    if (!step_over(&at, end, "(") && !step_over(&at, end, "["))
        return false;
    do {
        if (dims == MODEL_DIMS_MAX || !read_size(&at, end, &sizes[dims]))
            return false;
        product *= sizes[dims] ? sizes[dims] : 1; /* below 2^48 */
        dims++;
        if (product > FEATURES_MAX)
            return false;
    } while (step_over(&at, end, ", "));
    step_over(&at, end, ",");
    *ret_dims = dims;
    return step_over(&at, end, ")") || step_over(&at, end, "]");
}
