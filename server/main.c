/* The program: options, then the command that they name. */
#include <stdio.h>
#include <stdlib.h>

#include "server/commands.h"
#include "server/options.h"
#include "server/version.h"

int main(int argc, char **argv)
{
    struct options options;
    struct error err;
    if (options_parse(argc, argv, &options, &err) != STATUS_OK)
        return command_fail(EXIT_USAGE, &err);
    switch (options.command) {
    case COMMAND_SERVE: return command_serve(&options);
    case COMMAND_PREDICT: return command_predict(&options);
    case COMMAND_MODEL: return command_model(&options);
    case COMMAND_HELP: options_help(stdout); return EXIT_SUCCESS;
    case COMMAND_VERSION: puts("mlpd " MLPD_VERSION); return EXIT_SUCCESS;
    }
    return EXIT_USAGE;
}
