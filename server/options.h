/* What the program was told to do: the command and its options, from the command line, the environment, a config file and
 * the defaults, in this order of precedence. server/option_table.h has the options themselves. Single-threaded: start
 * only; what was read may then be read by any thread.
 *
 *     struct options options;
 *     struct option_faults faults;
 *     if (options_parse(argc, argv, environ, &options, &faults) != STATUS_OK) ...   // the user's mistakes: exit code 2
 *     ...
 *     options_free(&options);
 *
 * An option may be given once in each source. --host and --admin-host may be repeated on the command line; a source that
 * gives them replaces the list of those below it. No config file is read but the one that --config or MLPD_CONFIG names. An
 * unknown flag, key or MLPD_ variable is a mistake, except a variable that Kubernetes injects for a Service named mlpd.
 */
#ifndef MLPD_SERVER_OPTIONS_H
#define MLPD_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "engine/status.h"
#include "server/option_table.h"

enum command {
    COMMAND_SERVE,
    COMMAND_PREDICT,
    COMMAND_MODEL,
    COMMAND_CHECK,
    COMMAND_GOLDEN,
    COMMAND_HELP,
    COMMAND_HELP_MARKDOWN, /* README's table of options */
    COMMAND_VERSION
};

enum { OPTION_LIST_MAX = 16 };

struct option_list {
    const char *texts[OPTION_LIST_MAX];
    size_t count;
};

/* The greater wins. */
enum option_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

struct option_origin {
    enum option_source source;
    size_t line; /* in the config file, from 1; 0 if it came from elsewhere */
};

/* Texts are never NULL unless it is said. */
struct options {
    enum command command;

    const char *config;       /* the file that was read; NULL: none */
    struct option_list hosts; /* at least one: a name, an IPv4 or IPv6 address, or "unix:/path" */
    size_t port;              /* of all hosts but unix: ones; 0: the system picks */
    struct option_list admin_hosts;
    size_t admin_port; /* OPTION_OFF: none; 0: the system picks */
    bool admin;        /* there is an administration's listener: a port, or none but unix: addresses */

    const char *models;         /* NULL: the folder that ships with the program */
    const char *model;          /* NULL: those in `models`; a version's folder, or a file by itself */
    const char *labels;         /* NULL: the model's own; texts between commas */
    const char *output;         /* of `mlpd golden`; NULL: into the model's folder */
    const char *default_model;  /* NULL: the only one */
    const char *model_versions; /* a version policy */
    size_t models_poll_ms;      /* 0: off */
    const char *device;         /* "auto" or "cpu" */
    const char *kernels;        /* "auto", or a table's name */
    size_t io_threads, workers; /* OPTION_AUTO: from the processors that the process may use */

    size_t batch_max;      /* rows */
    size_t batch_delay_us; /* 0: no batch waits for more */
    size_t queue_max;      /* rows */
    size_t deadline_ms;    /* from a body's last byte */

    size_t body_bytes_max;
    size_t rows_max;         /* rows in a request; at most queue_max */
    size_t pixels_max;       /* width x height */
    size_t memory_bytes_max; /* of all requests; OPTION_AUTO: half of the cgroup's limit, else off; OPTION_OFF */

    size_t connections_max;
    size_t connections_per_ip; /* OPTION_OFF: no bound but connections_max */
    size_t read_timeout_s;     /* for a whole request */
    size_t idle_timeout_s;     /* between requests */
    size_t drain_delay_ms;     /* at most drain_timeout_s */
    size_t drain_timeout_s;    /* from the signal on */

    const char *log_level;    /* "error", "warning", "info" or "debug" */
    const char *log_format;   /* "text" or "json" */
    const char *log_file;     /* "stderr", or a path */
    const char *access_log;   /* "off", "stderr", or a path */
    size_t access_log_sample; /* one request in so many is logged; 1: every one */

    char *const *files; /* of `mlpd predict`; they lie in argv */
    size_t file_count;

    struct option_origin origins[OPTION_COUNT]; /* where each value came from */
    size_t ignored_env;                         /* variables of Kubernetes that were passed over */
    const char *ignored_env_first;              /* the name of the first of them, or NULL */
    struct option_text *texts;                  /* what the texts above lie in; options_free's */
};

enum { OPTION_FAULTS_MAX = 16 };

struct option_faults {
    struct error list[OPTION_FAULTS_MAX];
    size_t count; /* may be more than the list holds: the rest is counted only */
};

/* Reads everything and finds every mistake, not only the first: unknown commands and names, values out of range, what was
 * given twice, combinations that make no sense. `environment` is like environ. Returns the first fault's status, and
 * *ret is untouched then; else *ret is the caller's, to be freed with options_free. */
enum status options_parse(int argc, char *const *argv, char *const *environment, struct options *ret,
                          struct option_faults *ret_faults);

/* Frees the texts; not the options. */
void options_free(struct options *options);

/* Writes --help's text, at most 100 columns wide. */
void options_help(FILE *out);

/* Writes the options as README.md has them: a table in Markdown. */
void options_help_markdown(FILE *out);

/* Writes the effective configuration, a line for each option: key, value, and where the value came from. */
void options_print(const struct options *options, FILE *out);

#endif
