/* What mlpd's commands do once their options are read. Each returns the process's exit code, and writes what went wrong
 * in one line to stderr. Single-threaded: main calls one of them. */
#ifndef MLPD_SERVER_COMMANDS_H
#define MLPD_SERVER_COMMANDS_H

#include <limits.h>

#include "engine/status.h"
#include "server/options.h"
#include "server/served.h"

/* The exit codes: a failure, and a mistake in how the program was called. */
enum { EXIT_FAULT = 1, EXIT_USAGE = 2 };

/* Serves until SIGTERM or SIGINT; requests under way are answered. */
int command_serve(const struct options *options);

/* Classifies files and draws the probabilities as bars. A file that cannot be read does not keep the others from it. */
int command_predict(const struct options *options);

/* Prints what GET /model?format=text says. */
int command_model(const struct options *options);

/* Prints the effective configuration and the model, runs the model on rows that are known, and says every fault: of the
 * options with EXIT_USAGE, else of the model with EXIT_FAULT. Nothing is served, no port is taken. */
int command_check(const struct options *options);

/* Writes golden.safetensors for the model, into its folder or where --output says. */
int command_golden(const struct options *options);

/* "mlpd: MESSAGE; HINT" on one line of stderr. Returns the exit code. */
int command_fail(int exit_code, const struct error *err);

/* The same for each of the faults. Returns EXIT_USAGE. */
int command_refuse(const struct option_faults *faults);

/* The folder of models: the one that the options name, or else the one that lies beside the program. */
enum status command_find_models(const struct options *options, char ret[PATH_MAX], struct error *err);

/* Loads the model that the options name by its path, or the default model, its newest version. Freed with served_free. */
enum status command_load_model(const struct options *options, struct served **ret, struct error *err);

/* The same without a comparison with the model's golden.safetensors. */
enum status command_load_unjudged(const struct options *options, struct served **ret, struct error *err);

/* How the options have a model loaded. */
struct served_options command_served_options(const struct options *options);

#endif
