/* A config file: one JSON object, whose values are simple, with comments as in C (// to the line's end, and those of
 * slash and star). It becomes a list of keys, each with its line and its value as text, so that a value from a file is
 * read as one from the command line is; what the keys mean is for the caller to say. Not to be called from two threads
 * at once (see engine/json_document.h).
 *
 *     struct config_file file;
 *     if (config_file_read("mlpd.json", &file, &err) != STATUS_OK) ...
 *     for (size_t i = 0; i < file.count; i++)
 *         ... file.entries[i].key, file.entries[i].line, file.entries[i].text ...
 *     config_file_free(&file);
 */
#ifndef MLPD_SERVER_CONFIG_FILE_H
#define MLPD_SERVER_CONFIG_FILE_H

#include <stddef.h>

#include "engine/status.h"

enum { CONFIG_FILE_BYTES_MAX = 1 << 20 };

enum config_kind {
    CONFIG_STRING,
    CONFIG_NUMBER,
    CONFIG_FALSE,
    CONFIG_NULL,
    CONFIG_STRINGS, /* an array of strings, perhaps of none */
    CONFIG_OTHER,   /* true, an object, or an array of other things */
};

struct config_entry {
    char *key;
    char *text;  /* a string itself, a number's digits, strings joined by commas; empty for the other kinds */
    size_t line; /* of the key, from 1 */
    enum config_kind kind;
    const char *kind_text; /* "a string", "an object", ... */
};

struct config_file {
    struct config_entry *entries; /* in the order of the file; a key that stands twice is there twice */
    size_t count;
};

/* Reads a file of at most CONFIG_FILE_BYTES_MAX bytes. On failure *ret is untouched, and the message begins with the
 * path. */
enum status config_file_read(const char *path, struct config_file *ret, struct error *err);

/* Reads the text itself, `len` bytes and a NUL behind them, and puts blanks where its comments were. A fault is named by
 * line and column. On failure *ret is untouched. */
enum status config_file_parse(char *text, size_t len, struct config_file *ret, struct error *err);

/* Takes one that is all zero. */
void config_file_free(struct config_file *file);

#endif
