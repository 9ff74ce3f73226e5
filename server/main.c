/* The program: options, then the command that they name. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/options.h"
#include "server/version.h"

/* A standard stream that came closed would be the first socket's number, and a client would get what is meant for the
 * terminal. What is written to these still fails. */
static void fill_standard_streams(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int run(const struct options *options)
{
    switch (options->command) {
    case COMMAND_SERVE: return command_serve(options);
    case COMMAND_PREDICT: return command_predict(options);
    case COMMAND_MODEL: return command_model(options);
    case COMMAND_CHECK: return command_check(options);
    case COMMAND_GOLDEN: return command_golden(options);
    case COMMAND_HELP: options_help(stdout); return EXIT_SUCCESS;
    case COMMAND_HELP_MARKDOWN: options_help_markdown(stdout); return EXIT_SUCCESS;
    case COMMAND_VERSION: puts("mlpd " MLPD_VERSION); return EXIT_SUCCESS;
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct options options;
    struct option_faults faults;
    struct error err;
    fill_standard_streams();
    if (options_parse(argc, argv, environ, &options, &faults) != STATUS_OK)
        return command_refuse(&faults);
    int exit_code = run(&options);
    options_free(&options);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    error_set(&err, STATUS_IO, "standard output cannot be written");
    return command_fail(EXIT_FAULT, &err);
}
