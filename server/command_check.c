/* mlpd check: what would be served, and whether it could be, without serving it. */
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "engine/golden.h"
#include "engine/model_json.h"
#include "server/commands.h"
#include "server/golden_check.h"
#include "server/served.h"

/* ---- addresses ---- */

static enum status check_socket_folder(const char *path, struct error *err)
{
    char folder[PATH_MAX];
    struct stat info;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    if (stat(folder, &info) == 0 && S_ISDIR(info.st_mode))
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "unix:%s: there is no folder %s", path, folder);
    return error_hint(err, "make the folder, or choose another path");
}

/* Whether the name resolves; nothing is bound. */
static enum status check_address(const char *address, struct error *err)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    if (strncmp(address, "unix:", 5) == 0)
        return check_socket_folder(address + 5, err);
    int code = getaddrinfo(address, "0", &hints, &found);
    if (code == 0) {
        freeaddrinfo(found);
        return STATUS_OK;
    }
    error_set(err, STATUS_INVALID, "%s: %s", address, gai_strerror(code));
    return error_hint(err, "an address of this machine is expected, for example 127.0.0.1, or 0.0.0.0 for all");
}

static int check_addresses(const struct option_list *list, const char *flag)
{
    int exit_code = EXIT_SUCCESS;
    struct error err;
    for (size_t i = 0; i < list->count; i++) {
        if (check_address(list->texts[i], &err) == STATUS_OK)
            continue;
        error_prefix(&err, "%s ", flag);
        exit_code = command_fail(EXIT_USAGE, &err);
    }
    return exit_code;
}

static int check_listeners(const struct options *options)
{
    int exit_code = check_addresses(&options->hosts, "--host");
    if (options->admin && check_addresses(&options->admin_hosts, "--admin-host") != EXIT_SUCCESS)
        exit_code = EXIT_USAGE;
    return exit_code;
}

/* ---- the model ---- */

static void print_model(const struct served *served, const char *folder)
{
    printf("\nmodel         %s/%s\n", served->model->name, served->model->version);
    printf("%s          %s\n", served->model->folder ? "folder" : "file  ", folder);
    printf("task          %s\n", model_json_task_name(served->model->task));
    printf("device        %s\n", served->backend->device);
    printf("kernels       %s\n", served->backend->kernels);
    printf("parameters    %zu\n", served->model->parameter_elements);
    if (served->model->note)
        printf("assumed       %s\n", served->model->note);
}

static void print_golden_file(const struct golden_report *report)
{
    if (report->rows > 0)
        printf("golden file   %zu row%s: the largest difference is %.2g, at most %g x max(1, |logit|)\n",
               report->rows, report->rows == 1 ? "" : "s", report->difference, GOLDEN_TOLERANCE);
    else
        printf("golden file   none\n");
}

static int check_model(const struct options *options)
{
    struct served *served = NULL;
    struct error err;
    size_t rows;
    struct golden_report report;
    char folder[PATH_MAX] = "";
    if (!options->model && command_find_models(options, folder, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    if (command_load_unjudged(options, &served, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    print_model(served, options->model ? options->model : folder);
    fflush(stdout);
    enum status status = golden_check(served->backend, &rows, &err);
    if (status == STATUS_OK)
        status = golden_compare(served->backend, &report, &err);
    served_free(served);
    if (status != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    printf("golden input  %zu row%s: the same bits alone and in one batch\n", rows, rows == 1 ? "" : "s");
    print_golden_file(&report);
    return EXIT_SUCCESS;
}

int command_check(const struct options *options)
{
    options_print(options, stdout);
    if (options->ignored_env)
        printf("\nignored       %zu variables of Kubernetes, first %s\n", options->ignored_env,
               options->ignored_env_first);
    fflush(stdout); /* what goes to stderr stands behind it, not before */
    int exit_code = check_listeners(options), model_exit_code = check_model(options);
    return exit_code != EXIT_SUCCESS ? exit_code : model_exit_code;
}
