#include "server/commands.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/model_path.h"
#include "engine/registry.h"
#include "server/prediction.h"
#include "server/read_file.h"
#include "server/served.h"

/* What helps where nothing better was said. */
static const char *hint_of(const struct error *err)
{
    if (*err->hint)
        return err->hint;
    switch (err->status) {
    case STATUS_NO_MEMORY: return "free memory, or raise the limit that holds it (ulimit -v, the cgroup's)";
    case STATUS_IO: return "look for a full or broken disk, or a limit that is reached (ulimit -n)";
    case STATUS_NOT_FOUND: return "check the path, and that each of its folders is there";
    default: return "";
    }
}

/* "mlpd: LINE". It quotes foreign bytes; none of them may steer the terminal. */
static void print_line(const char *line)
{
    fputs("mlpd: ", stderr);
    for (; *line; line++)
        fputc((unsigned char)*line < ' ' || *line == 0x7F ? '?' : *line, stderr);
    fputc('\n', stderr);
}

/* "mlpd: SUBJECTMESSAGE; HINT" on one line. */
static void print_error(const char *subject, const struct error *err)
{
    char line[PATH_MAX + sizeof err->message + sizeof err->hint];
    const char *hint = hint_of(err);
    snprintf(line, sizeof line, "%s%s%s%s", subject, err->message, *hint ? "; " : "", hint);
    print_line(line);
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

struct served_options command_served_options(const struct options *options)
{
    return (struct served_options){
        .kernels = strcmp(options->kernels, "auto") == 0 ? NULL : options->kernels,
        .batch_max = options->batch_max,
        .labels = options->labels,
    };
}

/* The model that is named, or the default one in the folder of models. The texts are the caller's. */
static enum status find_model(const struct options *options, char **ret_path, char **ret_name, char **ret_version,
                              struct error *err)
{
    char models[PATH_MAX];
    if (!options->model) {
        enum status status = command_find_models(options, models, err);
        return status == STATUS_OK
                   ? registry_find_model(models, options->default_model, ret_path, ret_name, ret_version, err)
                   : status;
    }
    *ret_path = strdup(options->model);
    if (!*ret_path)
        return error_set(err, STATUS_NO_MEMORY, "no memory for the model's path");
    return model_path_name(options->model, ret_name, ret_version, err);
}

static enum status load_model(const struct options *options, bool unjudged, struct served **ret, struct error *err)
{
    char *path = NULL, *name = NULL, *version = NULL;
    struct served_options served = command_served_options(options);
    served.unjudged = unjudged;
    enum status status = find_model(options, &path, &name, &version, err);
    if (status == STATUS_OK)
        status = served_load(path, name, version, &served, ret, err);
    free(path);
    free(name);
    free(version);
    return status;
}

enum status command_load_model(const struct options *options, struct served **ret, struct error *err)
{
    return load_model(options, false, ret, err);
}

enum status command_load_unjudged(const struct options *options, struct served **ret, struct error *err)
{
    return load_model(options, true, ret, err);
}

/* For a command that keeps no log. */
static void print_note(const struct model *model)
{
    if (model->note)
        print_line(model->note);
}

/* ---- mlpd model ---- */

int command_model(const struct options *options)
{
    struct served *served = NULL;
    struct error err;
    if (command_load_model(options, &served, &err) != STATUS_OK)
        return command_fail(EXIT_FAULT, &err);
    print_note(served->model);
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

static void print_bars(const struct model *model, const float *probabilities)
{
    char room[32];
    size_t width = 0;
    for (size_t i = 0; i < model->out_features; i++) {
        size_t len = strlen(class_name(model, i, room));
        width = len > width ? len : width;
    }
    for (size_t i = 0; i < model->out_features; i++)
        print_bar(class_name(model, i, room), width, probabilities[i]);
}

static void print_class(const struct model *model, size_t class, float probability)
{
    char room[32];
    printf(": %s (class %zu, probability %.4f)\n", class_name(model, class, room), class, (double)probability);
}

static void print_labels(const struct model *model, const float *probabilities)
{
    const char *before = ": ";
    char room[32];
    for (size_t i = 0; i < model->out_features; i++) {
        if (!(probabilities[i] > model->threshold))
            continue;
        printf("%s%s", before, class_name(model, i, room));
        before = ", ";
    }
    puts(*before == ':' ? ": none" : "");
}

static void print_values(const struct model *model, const float *values)
{
    char room[32];
    for (size_t i = 0; i < model->out_features; i++)
        if (model->labels)
            printf("%s %s %.9g", i ? "," : ":", class_name(model, i, room), (double)values[i]);
        else
            printf("%s %.9g", i ? "" : ":", (double)values[i]);
    putchar('\n');
}

static void print_row(const struct prediction *prediction, const char *file, size_t row)
{
    const struct model *model = prediction->served->model;
    const float *outputs = prediction->job.probabilities + row * model->out_features;
    const size_t best = prediction->job.classes[row];
    printf("%s", file);
    if (prediction->input->batched)
        printf(" [%zu]", row);
    switch (model->task) {
    case TASK_CLASSIFICATION:
        print_class(model, best, outputs[best]);
        print_bars(model, outputs);
        break;
    case TASK_BINARY: print_class(model, *outputs > model->threshold, *outputs); break;
    case TASK_MULTILABEL:
        print_labels(model, outputs);
        print_bars(model, outputs);
        break;
    case TASK_REGRESSION: print_values(model, outputs); break;
    }
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
    print_note(served->model);
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
