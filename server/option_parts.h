/* What the parts of server/options.c say to each other; nobody else includes this.
 *
 * A value goes from its source (options.c: the command line; option_sources.c: the environment and the file) as a text to
 * option_value.c, which reads it and puts it into its field, unless a greater source has filled that. So the sources may
 * be read in any order, and a mistake in a value that does not count is a mistake all the same. Defaults then fill what is
 * left, and option_together.c judges the whole. Every mistake becomes a fault; none stops the reading.
 */
#ifndef MLPD_SERVER_OPTION_PARTS_H
#define MLPD_SERVER_OPTION_PARTS_H

#include "server/options.h"

enum {
    OPTION_PLACE_MAX = 256,  /* bytes of a place, and the NUL */
    OPTION_VALUE_MAX = 4352, /* of a value as text: a path and some more */
    OPTION_NUMBER_MAX = 32,  /* of a number as text */
    OPTION_SHOWN_MAX = 64,   /* of a foreign text in an error */
};

/* For printf's "%.*s": as much of a foreign text as an error shows. */
#define OPTION_SHOWN(text) utf8_cut(text, strlen(text), OPTION_SHOWN_MAX), (text)

/* Where a value stands. */
struct option_place {
    enum option_source source;
    const char *file; /* of SOURCE_FILE */
    size_t line;
};

/* The option as its place names it: `--port`, `MLPD_PORT`, `mlpd.json line 12, key "port"`. */
void option_write_place(const struct option_spec *spec, const struct option_place *place,
                        char ret[OPTION_PLACE_MAX]);

/* Reads the text and puts it into the field, unless it came from a greater source. A second value from the same source is
 * refused, or, of a list, added. */
enum status option_set(struct options *options, const struct option_spec *spec, const struct option_place *place,
                       const char *text, struct error *err);

/* Adds the addresses between commas, without blanks around them, to the list. */
enum status option_add_addresses(struct options *options, const char *text, struct option_list *list,
                                 struct error *err);

/* The value in the field as text: "256", "16MiB", "off", "127.0.0.1,::1". */
void option_write_value(const struct options *options, const struct option_spec *spec, char ret[OPTION_VALUE_MAX]);

/* A number of this option as text: "256", "16MiB", "off". */
void option_write_number(const struct option_spec *spec, size_t number, char ret[OPTION_NUMBER_MAX]);

/* A copy of the text that lives until options_free; NULL if out of memory. */
const char *option_keep_text(struct options *options, const char *text, size_t len);

/* Counts it, and keeps it if there is room. A failure only: STATUS_OK adds nothing. */
void option_fault_add(struct option_faults *faults, enum status status, const struct error *err);

/* All MLPD_ variables of the environment. */
void option_read_environment(struct options *options, char *const *environment, struct option_faults *faults);

/* All keys of the file options->config, if there is one. */
void option_read_file(struct options *options, struct option_faults *faults);

/* Refuses what makes no sense together. The values themselves are right. */
void option_check_together(const struct options *options, struct option_faults *faults);

#endif
