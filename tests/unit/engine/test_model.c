#include "engine/model.h"

#include <math.h>
#include <stdbool.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/utf8.h"
#include "tests/unit/engine/folder.h"

/* A network of 2-3-1 with a bias in the first layer only: 6 + 3 + 3 parameters. */
static const char STRUCTURE[] = "Net(\n"
                                "  (flatten): Flatten(start_dim=1, end_dim=-1)\n"
                                "  (stack): Sequential(\n"
                                "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
                                "    (1): ReLU()\n"
                                "    (2): Dropout(p=0.2, inplace=False)\n"
                                "    (3): Linear(in_features=3, out_features=1, bias=False)\n"
                                "  )\n"
                                ")\n";

static const char HEADER[] = "{\"stack.0.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                             "\"stack.0.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[12,36]},"
                             "\"stack.3.weight\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[36,48]}}";

static const float VALUES[12] = {0.5f, 1.5f, 2.5f, 1, 2, 3, 4, 5, 6, -1, -2, -3};

static char *make_folder(const char *structure, const char *header, const float *values, size_t count)
{
    char *folder = folder_create();
    folder_write(folder, "structure.txt", structure);
    folder_write_parameters(folder, header, values, count);
    return folder;
}

static struct model *load(const char *folder)
{
    struct error err;
    struct model *model = NULL;
    enum status status = model_load(folder, "net", "7", &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return model;
}

/* Loads, removes the folder, and gives the refusal. */
static struct error refusal(char *folder)
{
    struct error err;
    struct model *model = NULL;
    ck_assert_int_ne(model_load(folder, "net", "7", &model, &err), STATUS_OK);
    ck_assert_ptr_null(model);
    ck_assert_ptr_eq(strstr(err.message, folder), err.message);
    folder_remove(folder);
    return err;
}

static void check_says(const struct error *err, const char *message, const char *hint)
{
    ck_assert_msg(strstr(err->message, message) != NULL, "\"%s\" has no \"%s\"", err->message, message);
    ck_assert_msg(strstr(err->hint, hint) != NULL, "\"%s\" has no \"%s\"", err->hint, hint);
}

static void refused(const char *structure, const char *header, size_t count, const char *message, const char *hint)
{
    struct error err = refusal(make_folder(structure, header, VALUES, count));
    check_says(&err, message, hint);
}

START_TEST(model_load_gives_layers_in_order_with_their_sizes_and_values)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    struct model *model = load(folder);
    static const struct layer expected[] = {
        {LAYER_FLATTEN, NULL, "Flatten", 2, 2}, {LAYER_LINEAR, NULL, "Linear", 2, 3},
        {LAYER_RELU, NULL, "ReLU", 3, 3},       {LAYER_DROPOUT, NULL, "Dropout", 3, 3},
        {LAYER_LINEAR, NULL, "Linear", 3, 1},
    };
    ck_assert_uint_eq(model->layer_count, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(model->layers[i].type, expected[i].type);
        ck_assert_str_eq(model->layers[i].type_name, expected[i].type_name);
        ck_assert_uint_eq(model->layers[i].in_features, expected[i].in_features);
        ck_assert_uint_eq(model->layers[i].out_features, expected[i].out_features);
    }
    ck_assert_str_eq(model->layers[0].name, "flatten");
    ck_assert_str_eq(model->layers[4].name, "stack.3");
    ck_assert_float_eq(model->layers[1].weight[5], 6.0f);
    ck_assert_float_eq(model->layers[1].bias[2], 2.5f);
    ck_assert(model->layers[1].has_bias);
    ck_assert(!model->layers[4].has_bias);
    ck_assert_ptr_null(model->layers[4].bias);
    ck_assert_float_eq(model->layers[4].weight[2], -3.0f);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_gives_the_model_and_its_parameters)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    struct model *model = load(folder);
    ck_assert_str_eq(model->name, "net");
    ck_assert_str_eq(model->version, "7");
    ck_assert_uint_eq(model->in_features, 2);
    ck_assert_uint_eq(model->out_features, 1);
    ck_assert_uint_eq(model->width, 0);
    ck_assert(!model->ends_in_softmax);
    ck_assert_ptr_null(model->labels);
    ck_assert_uint_eq(model->parameter_count, 3);
    ck_assert_uint_eq(model->parameter_elements, 12);
    ck_assert_str_eq(model->parameters[0].name, "stack.0.weight");
    ck_assert_str_eq(model->parameters[1].name, "stack.0.bias");
    ck_assert_uint_eq(model->parameters[1].dims, 1);
    ck_assert_uint_eq(model->parameters[1].shape[0], 3);
    ck_assert_uint_eq(model->parameters[2].count, 3);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_renders_what_pytorch_prints)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    struct model *model = load(folder);
    ck_assert_str_eq(model->structure_text, STRUCTURE);
    ck_assert_str_eq(model->parameters_text,
                     "Layer: stack.0.weight | Size: torch.Size([3, 2]) | Values : tensor([[1., 2.],\n"
                     "        [3., 4.]], grad_fn=<SliceBackward0>) \n\n"
                     "Layer: stack.0.bias | Size: torch.Size([3]) | Values : tensor([0.5000, 1.5000], "
                     "grad_fn=<SliceBackward0>) \n\n"
                     "Layer: stack.3.weight | Size: torch.Size([1, 3]) | Values : tensor([[-1., -2., -3.]], "
                     "grad_fn=<SliceBackward0>) \n\n");
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_drop_weights_leaves_everything_but_the_values)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    struct model *model = load(folder);
    model_drop_weights(model);
    ck_assert_ptr_null(model->layers[1].weight);
    ck_assert_ptr_null(model->layers[1].bias);
    ck_assert(model->layers[1].has_bias);
    ck_assert_str_eq(model->parameters[2].name, "stack.3.weight");
    model_drop_weights(model);
    model_free(model);
    model_free(NULL);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_takes_a_model_that_is_one_linear)
{
    char *folder = make_folder("Linear(in_features=4, out_features=2, bias=True)",
                               "{\"weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},"
                               "\"bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[32,40]}}",
                               VALUES, 10);
    struct model *model = load(folder);
    ck_assert_uint_eq(model->layer_count, 1);
    ck_assert_str_eq(model->layers[0].name, "");
    ck_assert_str_eq(model->parameters[1].name, "bias");
    ck_assert_uint_eq(model->width, 2);
    ck_assert_uint_eq(model->height, 2);
    model_free(model);
    folder_remove(folder);
}
END_TEST

#define LINEAR_2_2 "  (0): Linear(in_features=2, out_features=2, bias=False)\n"
static const char HEADER_2_2[] = "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}";

static bool ends_in_softmax(const char *structure)
{
    char *folder = make_folder(structure, HEADER_2_2, VALUES, 4);
    struct model *model = load(folder);
    bool ends = model->ends_in_softmax;
    model_free(model);
    folder_remove(folder);
    return ends;
}

START_TEST(model_load_says_whether_the_network_ends_in_softmax)
{
    ck_assert(ends_in_softmax("S(\n" LINEAR_2_2 "  (1): Softmax(dim=1)\n)"));
    ck_assert(
        ends_in_softmax("S(\n" LINEAR_2_2 "  (1): Softmax(dim=-1)\n  (2): Dropout(p=0.5)\n  (3): Identity()\n)"));
    ck_assert(ends_in_softmax("S(\n" LINEAR_2_2 "  (1): LogSoftmax(dim=1)\n  (2): Unflatten(dim=1, "
                              "unflattened_size=(2, 1))\n)"));
    ck_assert(!ends_in_softmax("S(\n" LINEAR_2_2 "  (1): Softmax(dim=1)\n  (2): ReLU()\n)"));
    ck_assert(!ends_in_softmax("S(\n  (s): Softmax(dim=1)\n" LINEAR_2_2 ")"));
}
END_TEST

static void check_meaning(const char *last, size_t outputs, enum model_task task,
                          enum model_probabilities probabilities)
{
    char structure[256], header[128];
    snprintf(structure, sizeof structure,
             "S(\n  (0): Linear(in_features=2, out_features=%zu, bias=False)\n  (1): %s\n  (2): Dropout(p=0.5)\n)",
             outputs, last);
    snprintf(header, sizeof header, "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[%zu,2],\"data_offsets\":[0,%zu]}}",
             outputs, 8 * outputs);
    char *folder = make_folder(structure, header, VALUES, 2 * outputs);
    struct model *model = load(folder);
    ck_assert_int_eq(model->task, task);
    ck_assert_int_eq(model->probabilities, probabilities);
    model_free(model);
    folder_remove(folder);
}

START_TEST(model_load_takes_the_task_from_the_last_layer_that_computes)
{
    check_meaning("ReLU()", 3, TASK_CLASSIFICATION, PROBABILITIES_SOFTMAX);
    check_meaning("Softmax(dim=1)", 3, TASK_CLASSIFICATION, PROBABILITIES_SAME);
    check_meaning("LogSoftmax(dim=1)", 3, TASK_CLASSIFICATION, PROBABILITIES_EXP);
    check_meaning("Sigmoid()", 3, TASK_MULTILABEL, PROBABILITIES_SAME);
    check_meaning("Sigmoid()", 1, TASK_BINARY, PROBABILITIES_SAME);
    check_meaning("Identity()", 1, TASK_REGRESSION, PROBABILITIES_SAME);
}
END_TEST

START_TEST(model_load_takes_a_users_class_in_the_order_of_registration_and_says_whose)
{
    char *folder = make_folder(
        "Sequential(\n  (0): Mine(\n    (list): ModuleList(\n      (0): Linear(in_features=2, "
        "out_features=2, bias=False)\n    )\n    (empty): ModuleDict()\n  )\n)",
        "{\"0.list.0.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", VALUES, 4);
    struct model *model = load(folder);
    ck_assert_str_eq(model->assumed_class, "Mine");
    ck_assert_str_eq(model->layers[0].name, "0.list.0");
    model_free(model);
    folder_remove(folder);
    folder = make_folder("Sequential(\n" LINEAR_2_2 ")", HEADER_2_2, VALUES, 4);
    model = load(folder);
    ck_assert_ptr_null(model->assumed_class);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_refuses_holders_that_nobody_runs)
{
    refused("ModuleList(\n" LINEAR_2_2 ")", HEADER_2_2, 4, "the model is a ModuleList, which has no forward",
            "nn.Sequential");
    refused("Sequential(\n  (a): ModuleDict(\n    (0): ReLU()\n  )\n)", HEADER_2_2, 4,
            "a is a ModuleDict, which has no forward", "nn.Sequential");
}
END_TEST

START_TEST(model_load_knows_the_shape_of_a_row_from_the_picture_that_is_flattened)
{
    char *folder = make_folder("Sequential(\n  (a): Identity()\n  (f): Flatten(start_dim=1, end_dim=-1)\n  (0): "
                               "Linear(in_features=6, out_features=1, bias=False)\n)",
                               "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[1,6],\"data_offsets\":[0,24]}}", VALUES,
                               6);
    folder_write(folder, "model.json", "{\"input\":{\"channels\":3,\"width\":2,\"height\":1}}");
    struct model *model = load(folder);
    ck_assert_uint_eq(model->input_dims, 3);
    ck_assert_uint_eq(model->input_shape[0], 3);
    ck_assert_uint_eq(model->layers[0].dims, 3);
    ck_assert_uint_eq(model->layers[0].shape[2], 2);
    ck_assert_uint_eq(model->layers[1].dims, 1);
    ck_assert_uint_eq(model->layers[1].shape[0], 6);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_passes_over_empty_containers_and_takes_layers_before_the_first_linear)
{
    char *folder = make_folder("S(\n  (a): Sequential()\n  (b): ReLU(inplace=True)\n" LINEAR_2_2 ")", HEADER_2_2,
                               VALUES, 4);
    struct model *model = load(folder);
    ck_assert_uint_eq(model->layer_count, 2);
    ck_assert_int_eq(model->layers[0].type, LAYER_RELU);
    ck_assert_uint_eq(model->layers[0].in_features, 2);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_refuses_layers_it_does_not_know_with_the_list_of_those_it_does)
{
    refused("S(\n" LINEAR_2_2 "  (a): T(\n    (b): Conv2d(1, 2)\n  )\n)", HEADER_2_2, 4,
            "a.b is a Conv2d, which is not served", "Flatten, Unflatten, Linear, ReLU");
    refused("Conv2d()", HEADER_2_2, 4, "the model is a Conv2d, which is not served",
            "Identity; containers of them");
    refused("S(\n  (0): ReLU()\n)", HEADER_2_2, 4, "the model has no Linear layer", "at least one Linear");
    refused("Sequential()", "{}", 0, "the model has no Linear layer", "at least one Linear");
}
END_TEST

START_TEST(model_load_refuses_arguments_that_it_would_not_serve_as_pytorch_does)
{
    refused("S(\n  (f): Flatten(start_dim=0, end_dim=-1)\n" LINEAR_2_2 ")", HEADER_2_2, 4,
            "f is Flatten(start_dim=0, end_dim=-1), only a Flatten of all but the batch", "nn.Flatten()");
    refused("S(\n" LINEAR_2_2 "  (s): Softmax(dim=0)\n)", HEADER_2_2, 4, "s is Softmax(dim=0), only dim=1",
            "dim=1");
}
END_TEST

static void refused_linear(const char *arguments)
{
    char structure[160];
    snprintf(structure, sizeof structure, "S(\n  (0): Linear(%s)\n)", arguments);
    refused(structure, HEADER_2_2, 4, "Linear(in_features=N, out_features=N, bias=True) was expected",
            "N is from 1 to");
}

START_TEST(model_load_refuses_sizes_that_are_no_whole_numbers_in_range)
{
    refused_linear("in_features=0, out_features=2, bias=False");
    refused_linear("in_features=2, out_features=0, bias=False");
    refused_linear("in_features=-2, out_features=2, bias=False");
    refused_linear("in_features=2.0, out_features=2, bias=False");
    refused_linear("in_features=, out_features=2, bias=False");
    refused_linear("in_features=16777217, out_features=2, bias=False");
    refused_linear("in_features=36893488147419103234, out_features=2, bias=False");
    refused_linear("in_features=2, out_features=2, bias=None");
    refused_linear("in_features=2, out_features=2");
    refused_linear("2, 2, bias=False");
}
END_TEST

START_TEST(model_load_refuses_a_linear_that_does_not_fit_the_one_before_with_both_names_and_numbers)
{
    refused("S(\n" LINEAR_2_2 "  (1): ReLU()\n  (2): Linear(in_features=3, out_features=1, bias=False)\n)",
            "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
            "\"2.weight\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[16,28]}}",
            7, "2 takes 3 features, but 0 gives 2", "out_features of the one before");
}
END_TEST

START_TEST(model_load_refuses_missing_unused_and_misshapen_tensors_by_name)
{
    refused("S(\n" LINEAR_2_2 ")", "{}", 0, "no tensor \"0.weight\"", "the file is empty");
    refused("S(\n  (1): Linear(in_features=2, out_features=2, bias=False)\n)", HEADER_2_2, 4,
            "no tensor \"1.weight\"", "first tensor is \"0.weight\"");
    refused("S(\n  (0): Linear(in_features=2, out_features=2, bias=True)\n)", HEADER_2_2, 4, "no tensor \"0.bias\"",
            "");
    refused("S(\n" LINEAR_2_2 ")",
            "{\"0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
            "\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[8,24]}}",
            6, "tensor \"0.bias\" belongs to no layer of structure.txt", "from the same model");
    refused("S(\n" LINEAR_2_2 ")", "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 4,
            "tensor \"0.weight\" has the shape (4,), structure.txt asks for (2, 2)", "from the same model");
    refused("S(\n" LINEAR_2_2 ")", "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[1,2,2],\"data_offsets\":[0,16]}}",
            4, "has the shape (1, 2, 2)", "");
    refused("S(\n" LINEAR_2_2 ")", "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 1,
            "has the shape (), structure.txt asks for (2, 2)", "");
}
END_TEST

/* Repeated in an error, such a name is cut; 160 bytes of it end inside a character. */
START_TEST(model_load_cuts_a_long_name_between_characters)
{
    char name[301], header[512];
    for (size_t i = 0; i < 100; i++)
        memcpy(name + 3 * i, "\xE2\x82\xAC", 4);
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
             "\"0.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[4,20]}}",
             name);
    struct error err = refusal(make_folder("S(\n" LINEAR_2_2 ")", header, VALUES, 5));
    check_says(&err, "\xAC\" belongs to no layer", "");
    ck_assert(utf8_is_printable(err.message, strlen(err.message)));
    err = refusal(
        make_folder("S(\n  (1): Linear(in_features=2, out_features=2, bias=False)\n)", header, VALUES, 5));
    check_says(&err, "no tensor \"1.weight\"", "first tensor is \"");
    ck_assert(utf8_is_printable(err.hint, strlen(err.hint)));
}
END_TEST

START_TEST(model_load_refuses_parameters_that_are_not_finite_and_says_where)
{
    struct error err;
    float values[4] = {1, 2, 3, NAN};
    err = refusal(make_folder("S(\n" LINEAR_2_2 ")", HEADER_2_2, values, 4));
    check_says(&err, "tensor \"0.weight\" holds NaN at [1, 1]", "diverged");
    values[1] = -INFINITY;
    err = refusal(make_folder("S(\n" LINEAR_2_2 ")", HEADER_2_2, values, 4));
    check_says(&err, "tensor \"0.weight\" holds infinity at [0, 1]", "diverged");
    float many[12];
    memcpy(many, VALUES, sizeof many);
    many[2] = INFINITY;
    err = refusal(make_folder(STRUCTURE, HEADER, many, 12));
    check_says(&err, "tensor \"stack.0.bias\" holds infinity at [2]", "diverged");
}
END_TEST

/* A Linear of 2-1, and one of 5-1, which cannot follow each other. */
static const char HEADER_2_AND_5[] = "{\"0.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                                     "\"2.weight\":{\"dtype\":\"F32\",\"shape\":[1,5],\"data_offsets\":[8,28]}}";

START_TEST(model_load_names_the_file_that_is_missing_and_how_to_write_it)
{
    struct error err;
    char *folder = folder_create();
    folder_write(folder, "structure.txt", STRUCTURE);
    err = refusal(folder);
    ck_assert_int_eq(err.status, STATUS_NOT_FOUND);
    check_says(&err, "/model.safetensors: it cannot be opened: No such file", "save_file(model.state_dict()");
    folder = folder_create();
    folder_write_parameters(folder, HEADER_2_AND_5, VALUES, 7);
    err = refusal(folder);
    check_says(&err, "/model.safetensors: there is no structure.txt, and the Linear", "write(f\"{model}\\n\")");
}
END_TEST

/* Copies a file of up to 8 MiB. */
static void copy_file(const char *from_folder, const char *from, const char *folder, const char *name)
{
    char *path = folder_path(from_folder, from), *bytes = NULL;
    size_t len;
    struct error err;
    ck_assert_msg(file_read(path, 8 << 20, &bytes, &len, &err) == STATUS_OK, "%s", err.message);
    folder_write_bytes(folder, name, bytes, len);
    free(bytes);
    free(path);
}

START_TEST(model_load_refuses_a_folder_with_parameters_of_two_formats_and_lists_them)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    folder_write(folder, "model.pt", "");
    folder_write(folder, "model.pth", "");
    struct error err = refusal(folder);
    check_says(&err, ": it holds parameters more than once: model.safetensors, model.pth, model.pt",
               "leave the one that is to be served");
}
END_TEST

START_TEST(model_load_takes_the_structure_of_a_whole_module_unless_there_is_a_structure_txt)
{
    char *folder = folder_create();
    copy_file("tests/data/torch", "module_sequential.pth", folder, "model.pt");
    struct model *model = load(folder);
    ck_assert_str_eq(model->structure_text, "Sequential(\n"
                                            "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
                                            "  (1): ReLU()\n"
                                            "  (2): Linear(in_features=2, out_features=2, bias=True)\n"
                                            ")\n");
    ck_assert_uint_eq(model->parameter_elements, 14);
    model_free(model);
    folder_write(folder, "structure.txt",
                 "Mine(\n"
                 "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
                 "  (2): Linear(in_features=2, out_features=2, bias=True)\n"
                 ")\n");
    model = load(folder);
    ck_assert_uint_eq(model->layer_count, 2);
    model_free(model);
    folder_write(folder, "structure.txt", "oops");
    struct error err = refusal(folder);
    check_says(&err, "/structure.txt: line 1", "");
}
END_TEST

START_TEST(model_load_reads_shards_by_their_index)
{
    static const char first[] = "{\"stack.0.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
                                "\"stack.0.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[12,36]}}";
    static const char second[] = "{\"stack.3.weight\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[0,12]}}";
    char *folder = folder_create();
    size_t len;
    folder_write(folder, "structure.txt", STRUCTURE);
    char *bytes = safetensors_bytes(first, VALUES, 36, &len);
    folder_write_bytes(folder, "model-00001-of-00002.safetensors", bytes, len);
    free(bytes);
    bytes = safetensors_bytes(second, VALUES + 9, 12, &len);
    folder_write_bytes(folder, "model-00002-of-00002.safetensors", bytes, len);
    free(bytes);
    folder_write(folder, "model.safetensors.index.json",
                 "{\"metadata\":{\"total_size\":48},\"weight_map\":{"
                 "\"stack.0.weight\":\"model-00001-of-00002.safetensors\","
                 "\"stack.3.weight\":\"model-00002-of-00002.safetensors\","
                 "\"stack.0.bias\":\"model-00001-of-00002.safetensors\"}}");
    struct model *model = load(folder);
    ck_assert_float_eq(model->layers[1].weight[5], 6.0f);
    ck_assert_float_eq(model->layers[4].weight[2], -3.0f);
    model_free(model);
    folder_remove(folder);
}
END_TEST

START_TEST(model_load_names_the_file_that_is_broken)
{
    refused("Net(\n  (0): ReLU(\n", HEADER, 12, "/structure.txt: the text ends after line 2", "copy the whole");
    refused("Net(\n  oops\n)", HEADER, 12, "/structure.txt: line 2 is \"  oops\"", "remove");
    refused(STRUCTURE, HEADER, 11, "/model.safetensors: the file is cut", "copy it again");
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    folder_write(folder, "model.json", "{\"labels\":[\"one\",\"two\"]}");
    struct error err = refusal(folder);
    check_says(&err, "/model.json: there are 2 labels, but the model gives 1 features",
               "one label for each output");
    folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    folder_make(folder, "model.json");
    err = refusal(folder);
    check_says(&err, "/model.json: this is a folder", "");
}
END_TEST

START_TEST(model_load_reads_model_json)
{
    char *folder = make_folder(STRUCTURE, HEADER, VALUES, 12);
    folder_write(folder, "model.json",
                 "{\"labels\":[\"one\"],\"input\":{\"width\":1,\"height\":2,\"pixel_divisor\":1}}");
    struct model *model = load(folder);
    ck_assert_str_eq(model->labels[0], "one");
    ck_assert_uint_eq(model->height, 2);
    ck_assert_float_eq(model->pixel_scale[200], 200.0f);
    model_free(model);
    folder_remove(folder);
}
END_TEST

/* The file's bytes with a NUL behind them, or NULL. */
static char *slurp(const char *folder, const char *name)
{
    char *path = folder_path(folder, name), *text = NULL;
    FILE *file = fopen(path, "rb");
    free(path);
    if (!file)
        return NULL;
    text = calloc(1, 1 << 20);
    ck_assert_uint_lt(fread(text, 1, (1 << 20) - 1, file), (1 << 20) - 1);
    ck_assert_int_eq(fclose(file), 0);
    return text;
}

/* The reference's folder holds every format at once, a model's only one. */
static void check_reference_file(const char *reference, const char *file, bool has_structure)
{
    char *structure = slurp(reference, "structure.txt"), *parameters = slurp(reference, "parameters.txt");
    char *folder = folder_create();
    copy_file(reference, file, folder, strstr(file, ".pth") ? "model.pth" : file);
    if (has_structure)
        folder_write(folder, "structure.txt", structure);
    struct model *model = load(folder);
    ck_assert_str_eq(model->structure_text, structure);
    ck_assert_str_eq(model->parameters_text, parameters);
    model_free(model);
    folder_remove(folder);
    free(structure);
    free(parameters);
}

static void check_reference(const char *shared, const char *name)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s/reference/%s", shared, name);
    if (access(folder, R_OK) != 0) {
        UNIT_SKIP("there is no %s with PyTorch's texts", folder);
        return;
    }
    check_reference_file(folder, "model.safetensors", true);
    check_reference_file(folder, "model.pth", true);
    if (strcmp(name, "small") == 0)
        check_reference_file(folder, "model_full.pth", false);
}

START_TEST(model_load_renders_the_reference_models_as_pytorch_printed_them)
{
    const char *shared = getenv("SHARED_DIR");
    check_reference(shared ? shared : "../shared", "tutorial");
    check_reference(shared ? shared : "../shared", "small");
    check_reference(shared ? shared : "../shared", "tower");
}
END_TEST

UNIT_MAIN("engine/model", model_load_gives_layers_in_order_with_their_sizes_and_values,
          model_load_gives_the_model_and_its_parameters, model_load_renders_what_pytorch_prints,
          model_drop_weights_leaves_everything_but_the_values, model_load_takes_a_model_that_is_one_linear,
          model_load_says_whether_the_network_ends_in_softmax,
          model_load_takes_the_task_from_the_last_layer_that_computes,
          model_load_takes_a_users_class_in_the_order_of_registration_and_says_whose,
          model_load_refuses_holders_that_nobody_runs,
          model_load_knows_the_shape_of_a_row_from_the_picture_that_is_flattened,
          model_load_passes_over_empty_containers_and_takes_layers_before_the_first_linear,
          model_load_refuses_layers_it_does_not_know_with_the_list_of_those_it_does,
          model_load_refuses_arguments_that_it_would_not_serve_as_pytorch_does,
          model_load_refuses_sizes_that_are_no_whole_numbers_in_range,
          model_load_refuses_a_linear_that_does_not_fit_the_one_before_with_both_names_and_numbers,
          model_load_refuses_missing_unused_and_misshapen_tensors_by_name,
          model_load_cuts_a_long_name_between_characters,
          model_load_refuses_parameters_that_are_not_finite_and_says_where,
          model_load_refuses_a_folder_with_parameters_of_two_formats_and_lists_them,
          model_load_takes_the_structure_of_a_whole_module_unless_there_is_a_structure_txt,
          model_load_reads_shards_by_their_index, model_load_names_the_file_that_is_missing_and_how_to_write_it,
          model_load_names_the_file_that_is_broken, model_load_reads_model_json,
          model_load_renders_the_reference_models_as_pytorch_printed_them)
