/* The one table of options. What is known of an option stands in its row of option_table.c and nowhere else: the flag,
 * from which the environment variable and the key in a config file derive (`--batch-max`, `MLPD_BATCH_MAX`,
 * `"batch_max"`), the type, the range, the default, the help. Parsing, errors, `--help`, the README's table and what
 * `mlpd check` prints come from it; config/mlpd.json is tested against it. Immutable; any thread may read it.
 *
 *     const struct option_spec *spec = option_find_flag("--batch-max", 11);
 *     char key[OPTION_NAME_MAX];
 *     option_write_key(spec, key);                       // "batch_max"
 *
 * A new option is an enumerator here, a row there, a field of struct options, a key in config/mlpd.json and a line of
 * the README; the tests name the one that was forgotten.
 */
#ifndef MLPD_SERVER_OPTION_TABLE_H
#define MLPD_SERVER_OPTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which --help shows them. */
enum option_id {
    OPTION_CONFIG,
    OPTION_HOST,
    OPTION_PORT,
    OPTION_ADMIN_HOST,
    OPTION_ADMIN_PORT,
    OPTION_MODELS,
    OPTION_MODEL,
    OPTION_LABELS,
    OPTION_OUTPUT,
    OPTION_DEFAULT_MODEL,
    OPTION_MODEL_VERSIONS,
    OPTION_MODELS_POLL_MS,
    OPTION_DEVICE,
    OPTION_KERNELS,
    OPTION_IO_THREADS,
    OPTION_WORKERS,
    OPTION_BATCH_MAX,
    OPTION_BATCH_DELAY_US,
    OPTION_QUEUE_MAX,
    OPTION_DEADLINE_MS,
    OPTION_BODY_MAX,
    OPTION_ROWS_MAX,
    OPTION_PIXELS_MAX,
    OPTION_MEMORY_MAX,
    OPTION_CONNECTIONS_MAX,
    OPTION_CONNECTIONS_PER_IP,
    OPTION_READ_TIMEOUT_S,
    OPTION_IDLE_TIMEOUT_S,
    OPTION_DRAIN_DELAY_MS,
    OPTION_DRAIN_TIMEOUT_S,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_LOG_FILE,
    OPTION_ACCESS_LOG,
    OPTION_ACCESS_LOG_SAMPLE,
    OPTION_COUNT,
};

enum option_type {
    OPTION_TYPE_TEXT,   /* const char * */
    OPTION_TYPE_LIST,   /* struct option_list: texts between commas; may be repeated */
    OPTION_TYPE_CHOICE, /* const char *: one of the words of value_name */
    OPTION_TYPE_COUNT,  /* size_t */
    OPTION_TYPE_BYTES,  /* size_t: plain, or with KiB, MiB or GiB */
};

/* What the words "auto" and "off" become in a field of a number. A limit that is off is never reached. */
#define OPTION_AUTO ((size_t)0)
#define OPTION_OFF  SIZE_MAX

struct option_spec {
    const char *flag; /* "--batch-max" */
    enum option_type type;
    size_t offset;            /* of the field in struct options */
    const char *value_name;   /* "auto|off|BYTES": words that are taken as they stand, then what else is */
    const char *default_text; /* read like a value that was given; NULL leaves the field NULL */
    const char *help;
    size_t min, max;          /* of a number that is no word */
    const char *default_help; /* what the default means where its text does not say it; may be NULL */
    const char *heading;      /* of the group that begins with this option; NULL inside a group */
};

/* Indexed by enum option_id. */
extern const struct option_spec option_specs[OPTION_COUNT];

enum { OPTION_NAME_MAX = 48 }; /* bytes that hold each flag, variable and key, and the NUL */

#define OPTION_VARIABLE_PREFIX "MLPD_"

void option_write_variable(const struct option_spec *spec, char ret[OPTION_NAME_MAX]);
void option_write_key(const struct option_spec *spec, char ret[OPTION_NAME_MAX]);

/* The option whose flag, variable or key are these `len` bytes, or NULL. --config has no key: a file names no other. */
const struct option_spec *option_find_flag(const char *text, size_t len);
const struct option_spec *option_find_variable(const char *text, size_t len);
const struct option_spec *option_find_key(const char *text, size_t len);

/* Whether the words of value_name have this one: "off" of "off|N". All words of a CHOICE; of other types the last stands
 * for a value and is none. */
bool option_has_word(const struct option_spec *spec, const char *text);

/* The option that an unknown flag, variable or key may have been meant for, in whichever of these forms it is written, or
 * NULL if it is near to none. */
const struct option_spec *option_nearest(const char *text, size_t len);

static inline enum option_id option_id_of(const struct option_spec *spec)
{
    return (enum option_id)(spec - option_specs);
}

#endif
