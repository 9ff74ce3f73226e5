#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/model_json.h"
#include "engine/model_layers.h"
#include "engine/onnx.h"
#include "engine/safetensors.h"
#include "engine/safetensors_index.h"
#include "engine/structure_infer.h"
#include "engine/tensor_text.h"
#include "engine/torch_file.h"

static const size_t STRUCTURE_BYTES_MAX = 4u << 20, JSON_BYTES_MAX = 64u << 20;

static enum status refuse_no_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the model");
}

/* ---- The files of the folder ---- */

/* What a file of parameters gives: they, of a whole module of PyTorch or an ONNX graph its structure, and what was assumed. */
struct contents {
    struct state_dict *state_dict;
    struct module *structure;
    char *note;
};

static enum status read_safetensors(const char *file, struct contents *ret, struct error *err)
{
    return safetensors_read(file, &ret->state_dict, err);
}

static enum status read_safetensors_index(const char *file, struct contents *ret, struct error *err)
{
    return safetensors_index_read(file, &ret->state_dict, err);
}

static enum status read_torch(const char *file, struct contents *ret, struct error *err)
{
    struct torch_file torch = {.note = NULL};
    enum status status = torch_file_read(file, &torch, err);
    if (status == STATUS_OK)
        *ret = (struct contents){torch.state_dict, torch.structure, torch.note};
    return status;
}

/* A graph says both structure and parameters. */
static enum status read_onnx(const char *file, struct contents *ret, struct error *err)
{
    struct onnx_model onnx = {NULL};
    enum status status = onnx_read(file, &onnx, err);
    if (status == STATUS_OK)
        *ret = (struct contents){onnx.state_dict, onnx.structure, NULL};
    return status;
}

static const struct reader {
    const char *file; /* in a version's folder */
    enum status (*read)(const char *file, struct contents *ret, struct error *err);
} READERS[] = {
    {"model.safetensors", read_safetensors},
    {"model.safetensors.index.json", read_safetensors_index},
    {"model.pth", read_torch},
    {"model.pt", read_torch},
    {"model.onnx", read_onnx},
};

enum { READER_COUNT = sizeof READERS / sizeof READERS[0], STEM_LEN = sizeof "model" - 1 };

/* Where the files of a model lie. */
struct place {
    const struct reader *reader;
    char *parameters; /* the file that the reader reads */
    char *
        folder; /* of what lies beside it, structure.txt and model.json; NULL for a file that is not named model.*, whose
                     neighbours may belong to other models */
};

static void place_release(struct place *place)
{
    free(place->parameters);
    free(place->folder);
}

static bool is_there(const char *folder, const char *name)
{
    char *file = folder ? file_join(folder, name) : NULL;
    bool there = file && access(file, F_OK) == 0;
    free(file);
    return there;
}

static enum status refuse_several(const char *path, struct error *err)
{
    char list[128] = "";
    for (size_t i = 0, len = 0; i < READER_COUNT; i++)
        if (is_there(path, READERS[i].file))
            len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", READERS[i].file);
    error_set(err, STATUS_INVALID, "it holds parameters more than once: %s", list);
    error_hint(err, "leave the one that is to be served, and move the others away");
    return file_error(path, STATUS_INVALID, err);
}

/* The first, if there is none: its refusal says what is missing. */
static enum status find_reader(const char *path, const struct reader **ret, struct error *err)
{
    const struct reader *found = NULL;
    for (size_t i = 0; i < READER_COUNT; i++) {
        if (!is_there(path, READERS[i].file))
            continue;
        if (found)
            return refuse_several(path, err);
        found = &READERS[i];
    }
    *ret = found ? found : &READERS[0];
    return STATUS_OK;
}

/* The reader of a file by the end of its name, or NULL. */
static const struct reader *reader_of_file(const char *path)
{
    const size_t len = strlen(path);
    for (size_t i = 0; i < READER_COUNT; i++) {
        const char *suffix = READERS[i].file + STEM_LEN;
        const size_t suffix_len = strlen(suffix);
        if (len > suffix_len && strcmp(path + len - suffix_len, suffix) == 0)
            return &READERS[i];
    }
    return NULL;
}

static enum status refuse_suffix(const char *path, struct error *err)
{
    char list[128] = "";
    for (size_t i = 0, len = 0; i < READER_COUNT; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s", len ? ", " : "", READERS[i].file + STEM_LEN);
    error_set(err, STATUS_UNSUPPORTED, "what this file holds is not seen from its name");
    error_hint(err, "give it one of these endings: %s", list);
    return file_error(path, STATUS_UNSUPPORTED, err);
}

static enum status place_file(const char *path, struct place *ret, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    ret->reader = reader_of_file(path);
    if (!ret->reader)
        return refuse_suffix(path, err);
    ret->parameters = strdup(path);
    const bool with_neighbours = strcmp(name, ret->reader->file) == 0;
    if (with_neighbours)
        ret->folder = name == path ? strdup(".") : strndup(path, (size_t)(name - path));
    return ret->parameters && (ret->folder || !with_neighbours) ? STATUS_OK : refuse_no_memory(err);
}

static enum status place_folder(const char *path, struct place *ret, struct error *err)
{
    ret->reader = &READERS[0];
    enum status status = find_reader(path, &ret->reader, err);
    if (status != STATUS_OK)
        return status;
    ret->parameters = file_join(path, ret->reader->file);
    ret->folder = strdup(path);
    return ret->parameters && ret->folder ? STATUS_OK : refuse_no_memory(err);
}

static enum status find_place(const char *path, struct place *ret, struct error *err)
{
    struct stat info;
    const bool is_file = stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
    return is_file ? place_file(path, ret, err) : place_folder(path, ret, err);
}

static enum status load_parameters(const struct place *place, struct model *model, struct error *err)
{
    struct contents contents = {NULL, NULL, NULL};
    enum status status = place->reader->read(place->parameters, &contents, err);
    model->state_dict = contents.state_dict;
    model->structure = contents.structure;
    model->note = contents.note;
    if (status == STATUS_NOT_FOUND)
        return error_hint(err,
                          "save the parameters there in Python: from safetensors.torch import save_file; "
                          "save_file(model.state_dict(), \"model.safetensors\"); or torch.save(model.state_dict(), "
                          "\"model.pth\")");
    return status;
}

static enum status parse_structure_file(const char *file, struct module **ret, struct error *err)
{
    char *text = NULL;
    size_t len;
    enum status status = file_read(file, STRUCTURE_BYTES_MAX, &text, &len, err);
    if (status != STATUS_OK)
        return status;
    status = structure_parse(text, len, ret, err);
    free(text);
    return status == STATUS_OK ? status : file_error(file, status, err);
}

static enum status add_note(struct model *model, char *note, struct error *err)
{
    char *both = note;
    if (model->note && asprintf(&both, "%s; %s", model->note, note) < 0) {
        free(note);
        return refuse_no_memory(err);
    }
    if (both != note)
        free(note);
    free(model->note);
    model->note = both;
    return STATUS_OK;
}

static enum status infer_structure(const struct place *place, struct model *model, struct error *err)
{
    char *note = NULL;
    enum status status = structure_infer(model->state_dict, &model->structure, &note, err);
    if (status == STATUS_OK)
        return add_note(model, note, err);
    if (!place->folder)
        error_hint(
            err,
            "write structure.txt, in Python: open(\"structure.txt\", \"w\").write(f\"{model}\\n\"), and name this "
            "file %s beside it, for beside another name it is not read; or save the whole module with "
            "torch.save(model, \"model.pth\")",
            place->reader->file);
    return file_error(place->parameters, status, err);
}

/* structure.txt says more than a file that brings its own structure: somebody wrote it for this model. */
static enum status read_structure(const struct place *place, struct model *model, struct error *err)
{
    struct module *structure = NULL;
    if (!is_there(place->folder, "structure.txt"))
        return model->structure ? STATUS_OK : infer_structure(place, model, err);
    char *file = file_join(place->folder, "structure.txt");
    if (!file)
        return refuse_no_memory(err);
    enum status status = parse_structure_file(file, &structure, err);
    free(file);
    if (status != STATUS_OK)
        return status;
    module_free(model->structure);
    model->structure = structure;
    return STATUS_OK;
}

static enum status load_structure(const struct place *place, struct model *model, struct error *err)
{
    enum status status = read_structure(place, model, err);
    if (status != STATUS_OK)
        return status;
    char *text = structure_print(model->structure);
    if (!text || asprintf(&model->structure_text, "%s\n", text) < 0) {
        model->structure_text = NULL;
        status = refuse_no_memory(err);
    }
    free(text);
    return status;
}

static enum status parse_json_file(const char *file, struct model *model, struct error *err)
{
    char *text = NULL;
    size_t len;
    enum status status = file_read(file, JSON_BYTES_MAX, &text, &len, err);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK; /* it is optional */
    if (status != STATUS_OK)
        return status;
    status = model_json_parse(text, len, model, err);
    free(text);
    return status == STATUS_OK ? status : file_error(file, status, err);
}

static enum status load_json(const struct place *place, struct model *model, struct error *err)
{
    model_json_defaults(model);
    if (!place->folder)
        return STATUS_OK;
    char *file = file_join(place->folder, "model.json");
    if (!file)
        return refuse_no_memory(err);
    enum status status = parse_json_file(file, model, err);
    free(file);
    return status;
}

/* ---- What the tutorial prints of the parameters: f"Layer: {name} | Size: {p.size()} | Values : {p[:2]} \n" ---- */

static bool print_parameter(FILE *out, const struct parameter *parameter, const float *data)
{
    static const char *const suffix = "grad_fn=<SliceBackward0>";
    size_t shape[MODEL_DIMS_MAX];
    memcpy(shape, parameter->shape, sizeof shape);
    shape[0] = shape[0] < 2 ? shape[0] : 2;
    char *values = tensor_text(data, shape, parameter->dims, &suffix, 1);
    if (!values)
        return false;
    fprintf(out, "Layer: %s | Size: torch.Size([%zu", parameter->name, parameter->shape[0]);
    for (size_t i = 1; i < parameter->dims; i++)
        fprintf(out, ", %zu", parameter->shape[i]);
    fprintf(out, "]) | Values : %s \n\n", values);
    free(values);
    return true;
}

static bool print_parameters(FILE *out, const struct model *model)
{
    bool ok = true;
    for (size_t i = 0; ok && i < model->parameter_count; i++) {
        const struct parameter *parameter = &model->parameters[i];
        ok = print_parameter(out, parameter, state_dict_find(model->state_dict, parameter->name)->data);
    }
    return ok && !ferror(out);
}

/* Made at load, for the values are dropped after it. */
static enum status make_parameters_text(struct model *model, struct error *err)
{
    size_t size = 0;
    FILE *out = open_memstream(&model->parameters_text, &size);
    if (!out)
        return refuse_no_memory(err);
    bool ok = print_parameters(out, model);
    ok &= fclose(out) == 0;
    return ok ? STATUS_OK : refuse_no_memory(err);
}

/* ---- The whole ---- */

static enum status build_layers(const char *path, struct model *model, struct error *err)
{
    enum status status = model_layers_build(model, model->state_dict, err);
    return status == STATUS_OK ? status : file_error(path, status, err);
}

static enum status load_files(const char *path, const struct place *place, struct model *model, struct error *err)
{
    enum status status = load_parameters(place, model, err);
    if (status == STATUS_OK)
        status = load_structure(place, model, err);
    if (status == STATUS_OK)
        status = build_layers(path, model, err);
    if (status == STATUS_OK)
        status = load_json(place, model, err);
    if (status != STATUS_OK)
        return status;
    model_layers_set_input_shape(model);
    return make_parameters_text(model, err);
}

static enum status load(const char *path, const char *name, const char *version, struct model *model,
                        struct error *err)
{
    struct place place = {NULL, NULL, NULL};
    model->name = strdup(name);
    model->version = strdup(version);
    if (!model->name || !model->version)
        return refuse_no_memory(err);
    enum status status = find_place(path, &place, err);
    if (status == STATUS_OK)
        status = load_files(path, &place, model, err);
    model->folder = place.folder;
    place.folder = NULL;
    place_release(&place);
    return status;
}

enum status model_load(const char *path, const char *name, const char *version, struct model **ret,
                       struct error *err)
{
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        return refuse_no_memory(err);
    enum status status = load(path, name, version, model, err);
    if (status == STATUS_OK)
        *ret = model;
    else
        model_free(model);
    return status;
}

void model_drop_weights(struct model *model)
{
    for (size_t i = 0; i < model->layer_count; i++) {
        struct layer *layer = &model->layers[i];
        layer->weight = layer->bias = layer->mean = layer->variance = NULL;
    }
    state_dict_free(model->state_dict);
    model->state_dict = NULL;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->layer_count; i++)
        free(model->layers[i].name);
    for (size_t i = 0; i < model->parameter_count; i++)
        free(model->parameters[i].name);
    for (size_t i = 0; i < model->label_count; i++)
        free(model->labels[i]);
    free(model->labels);
    free(model->layers);
    free(model->parameters);
    free(model->structure_text);
    free(model->parameters_text);
    free(model->name);
    free(model->version);
    free(model->note);
    free(model->folder);
    module_free(model->structure);
    state_dict_free(model->state_dict);
    free(model);
}
