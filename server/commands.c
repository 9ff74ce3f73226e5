#include "server/commands.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/registry.h"
#include "server/prediction.h"
#include "server/read_file.h"
#include "server/served.h"

/* "mlpd: SUBJECTMESSAGE; HINT" on one line. Messages quote foreign bytes; none of them may steer the terminal. */
static void print_error(const char *subject, const struct error *err)
{
    char line[PATH_MAX + sizeof err->message + sizeof err->hint];
    int len = snprintf(line, sizeof line, "%s%s%s%s", subject, err->message, *err->hint ? "; " : "", err->hint);
    for (int i = 0; i < len && i < (int)sizeof line - 1; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7F)
            line[i] = '?';
    fprintf(stderr, "mlpd: %s\n", line);
}

int command_fail(int exit_code, const struct error *err)
{
    print_error("", err);
    return exit_code;
}

int command_refuse(const struct option_faults *faults)
{
    size_t kept = faults->count < OPTION_FAULTS_MAX ? faults->count : OPTION_FAULTS_MAX;
    for (size_t i = 0; i < kept; i++)
        print_error("", &faults->list[i]);
    if (faults->count > kept)
        fprintf(stderr, "mlpd: %zu more faults of the options are not shown\n", faults->count - kept);
    return EXIT_USAGE;
}

/* The folder that ships: config/models of the checkout in whose build/ (or build/<flavour>/) the program lies, or
 * share/mlpd/models of the prefix under which it is installed. */
static enum status find_shipped_models(char path[PATH_MAX], struct error *err)
{
    static const char *const places[] = {"../config/models", "../../config/models", "../share/mlpd/models"};
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    program[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
        struct stat st;
        if (snprintf(path, PATH_MAX, "%s/%s", program, places[i]) < PATH_MAX && stat(path, &st) == 0)
            return STATUS_OK;
    }
    error_set(err, STATUS_NOT_FOUND,
              "no models lie beside the program (in ../config/models or ../share/mlpd/models)");
    return error_hint(err, "name a folder of <name>/<version>/ with --models DIR");
}

enum status command_find_models(const struct options *options, char ret[PATH_MAX], struct error *err)
{
    if (!options->models)
        return find_shipped_models(ret, err);
    if (snprintf(ret, PATH_MAX, "%s", options->models) < PATH_MAX)
        return STATUS_OK;
    error_set(err, STATUS_INVALID, "the path behind --models has %zu bytes, at most %d are taken",
              strlen(options->models), PATH_MAX - 1);
    return error_hint(err, "name the folder by a shorter path");
}

const char *command_kernels(const struct options *options)
{
    return strcmp(options->kernels, "auto") == 0 ? NULL : options->kernels;
}

enum status command_load_model(const struct options *options, struct served **ret, struct error *err)
{
    char models[PATH_MAX], *path = NULL, *name = NULL, *version = NULL;
    const struct served_options served = {.kernels = command_kernels(options), .batch_max = options->batch_max};
    enum status status = command_find_models(options, models, err);
    if (status == STATUS_OK)
        status = registry_find_model(models, options->default_model, &path, &name, &version, err);
    if (status == STATUS_OK)
        status = served_load(path, name, version, &served, ret, err);
    free(path);
    free(name);
    free(version);
    return status;
}

/* ---- mlpd model ---- */

int command_model(const struct options *options)
{
    struct served *served = NULL;
    struct error err;
    if (command_load_model(options, &served, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    fwrite(served->model_text.data, 1, served->model_text.len, stdout); /* main sees whether it could be written */
    served_free(served);
    return EXIT_SUCCESS;
}

/* ---- mlpd predict ---- */

enum { BAR_WIDTH = 40 };

static void print_bar(const char *label, size_t label_width, float probability)
{
    char bar[BAR_WIDTH + 1];
    size_t len = (size_t)(probability * BAR_WIDTH + 0.5F);
    memset(bar, '#', len);
    memset(bar + len, ' ', BAR_WIDTH - len);
    bar[BAR_WIDTH] = '\0';
    printf("  %-*s |%s| %.4f\n", (int)label_width, label, bar, (double)probability);
}

/* A class's name: its label, or "class 9". */
static const char *class_name(const struct model *model, size_t class, char room[32])
{
    if (model->labels)
        return model->labels[class];
    snprintf(room, 32, "class %zu", class);
    return room;
}

static void print_row(const struct prediction *prediction, const char *file, size_t row)
{
    const struct model *model = prediction->served->model;
    const struct job *job = &prediction->job;
    const float *probabilities = job->probabilities + row * model->out_features;
    size_t class = job->classes[row], width = 0;
    char room[32];
    for (size_t i = 0; i < model->out_features; i++) {
        size_t len = strlen(class_name(model, i, room));
        width = len > width ? len : width;
    }
    printf("%s", file);
    if (prediction->input->batched)
        printf(" [%zu]", row);
    printf(": %s (class %zu, probability %.4f)\n", class_name(model, class, room), class,
           (double)probabilities[class]);
    for (size_t i = 0; i < model->out_features; i++)
        print_bar(class_name(model, i, room), width, probabilities[i]);
}

static enum status predict_file(struct prediction *prediction, const struct served *served,
                                struct executor *executor, const struct options *options, const char *file,
                                struct error *err)
{
    const struct input_options input = {
        .content_type = "", .rows_max = options->rows_max, .pixels_max = options->pixels_max};
    struct buffer body = {0};
    enum status status = read_file(file, options->body_bytes_max, &body, err);
    if (status == STATUS_OK)
        status = prediction_use(prediction, served, err);
    if (status == STATUS_OK)
        status = prediction_read(prediction, &input, body.data, body.len, err);
    if (status == STATUS_OK)
        status = prediction_run(prediction, executor, err);
    if (status == STATUS_OK)
        status = prediction_check(prediction, err);
    for (size_t row = 0; status == STATUS_OK && row < prediction->job.count; row++)
        print_row(prediction, file, row);
    prediction_reset(prediction);
    buffer_free(&body);
    return status;
}

static int predict_files(const struct served *served, struct prediction *prediction, const struct options *options)
{
    struct executor *executor;
    struct error err;
    int exit_code = EXIT_SUCCESS;
    if (served->backend->ops->executor_create(served->backend, &executor, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    for (size_t i = 0; i < options->file_count; i++) {
        if (predict_file(prediction, served, executor, options, options->files[i], &err) == STATUS_OK)
            continue;
        fflush(stdout);
        char subject[PATH_MAX];
        snprintf(subject, sizeof subject, "%s: ", options->files[i]);
        print_error(subject, &err);
        exit_code = EXIT_FAULT;
    }
    served->backend->ops->executor_free(executor);
    return exit_code;
}

int command_predict(const struct options *options)
{
    struct served *served = NULL;
    struct error err;
    if (command_load_model(options, &served, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    struct prediction *prediction = prediction_create();
    int exit_code = EXIT_FAULT;
    if (prediction) {
        exit_code = predict_files(served, prediction, options);
    } else {
        error_set(&err, STATUS_NO_MEMORY, "there is no memory for a prediction");
        command_fail(EXIT_FAULT, &err);
    }
    prediction_free(prediction);
    served_free(served);
    return exit_code;
}
