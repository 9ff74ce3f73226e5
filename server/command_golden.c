/* mlpd golden: writes what the model computes for rows that are always the same, to be compared at every later load. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/file.h"
#include "engine/golden.h"
#include "server/commands.h"
#include "server/served.h"

static enum status refuse_no_folder(struct error *err)
{
    error_set(err, STATUS_INVALID, "the model is a file by itself, beside which no %s would be looked for",
              GOLDEN_FILE);
    return error_hint(err, "name a file with --output FILE, or put the model as model.* into a folder of its own");
}

/* The caller frees it. */
static enum status choose_path(const struct options *options, const struct model *model, char **ret,
                               struct error *err)
{
    if (!options->output && !model->folder)
        return refuse_no_folder(err);
    *ret = options->output ? strdup(options->output) : file_join(model->folder, GOLDEN_FILE);
    return *ret ? STATUS_OK : error_set(err, STATUS_NO_MEMORY, "no memory for a path");
}

int command_golden(const struct options *options)
{
    struct served *served = NULL;
    struct error err;
    size_t rows = 0;
    char *path = NULL;
    if (command_load_unjudged(options, &served, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    enum status status = choose_path(options, served->model, &path, &err);
    if (status == STATUS_OK)
        status = golden_write(served->backend, path, &rows, &err);
    if (status == STATUS_OK)
        printf("%s: %zu rows of %s/%s\n", path, rows, served->model->name, served->model->version);
    free(path);
    served_free(served);
    return status == STATUS_OK ? EXIT_SUCCESS : command_fail(EXIT_FAULT, &err);
}
