/* The command line: one table of options, from which parsing, errors and --help come. Single-threaded: start only.
 *
 *     struct options options;
 *     if (options_parse(argc, argv, &options, &err) != STATUS_OK) ...   // a mistake of the user's: exit code 2
 */
#ifndef MLPD_SERVER_OPTIONS_H
#define MLPD_SERVER_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "engine/status.h"

enum command { COMMAND_SERVE, COMMAND_PREDICT, COMMAND_MODEL, COMMAND_HELP, COMMAND_VERSION };

struct options {
    enum command command;
    const char *host;
    size_t port;        /* 0: the system picks */
    const char *models; /* NULL: the folder that ships with the program */
    const char *device;
    const char *kernels;                   /* "auto", or a table's name */
    size_t io_threads, workers;            /* 0: from the processors that the process may use */
    size_t batch_max, queue_max, rows_max; /* rows */
    size_t body_bytes_max;
    size_t pixels_max;
    size_t connections_max;
    char *const *files; /* of `mlpd predict` */
    size_t file_count;
};

/* The texts point into argv. Refuses unknown commands and options, values out of range, and combinations that make no
 * sense; *ret is untouched then. */
enum status options_parse(int argc, char *const *argv, struct options *ret, struct error *err);

/* Writes --help's text. */
void options_help(FILE *out);

#endif
