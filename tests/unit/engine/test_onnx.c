/* The reader of ONNX files against tests/data/onnx, which scripts/make_onnx_files.py wrote and judged with PyTorch and
 * ONNX Runtime: beside each NAME.onnx stand NAME.txt, what is to be read, and NAME.f32, the parameters' values, rows of
 * inputs and their answers. */
#include "engine/onnx.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

#include "engine/backend.h"
#include "engine/file.h"
#include "engine/safetensors.h"
#include "tests/unit/fixture.h"

static const char DATA[] = "tests/data/onnx";

struct bytes {
    char *data;
    size_t len;
};

static struct bytes slurp(const char *folder, const char *name, const char *suffix)
{
    struct bytes bytes = {NULL, 0};
    char path[512];
    struct error err;
    snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    ck_assert_msg(file_read(path, 64 << 20, &bytes.data, &bytes.len, &err) == STATUS_OK, "%s", err.message);
    return bytes;
}

/* Calls `check` with the name of each .onnx file of the folder, without its suffix. Returns how many there were. */
static size_t each_file(const char *folder, void (*check)(const char *folder, const char *name))
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    ck_assert_msg(dir != NULL, "there is no %s: tests run in the repository's root", folder);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[256];
        snprintf(name, sizeof name, "%s", entry->d_name);
        char *suffix = strstr(name, ".onnx");
        if (!suffix)
            continue;
        *suffix = '\0';
        check(folder, name);
        count++;
    }
    closedir(dir);
    return count;
}

static struct onnx_model accepted(const char *folder, const char *name)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    char path[512];
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    enum status status = onnx_read(path, &model, &err);
    ck_assert_msg(status == STATUS_OK, "%s: %s", name, err.message);
    return model;
}

/* ---- What is read of good files ---- */

/* The same lines as tests/tools/read_onnx.c prints. */
static char *describe(const struct onnx_model *model)
{
    char *text = NULL, *structure = structure_print(model->structure);
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert(out && structure);
    fprintf(out, "%s\ninput", structure);
    for (size_t i = 0; i < model->input_dims; i++)
        fprintf(out, " %zu", model->input_shape[i]);
    fputc('\n', out);
    for (size_t i = 0; i < model->state_dict->count; i++) {
        const struct tensor *tensor = &model->state_dict->tensors[i];
        fprintf(out, "tensor %s %s", tensor->name, tensor->dtype);
        for (size_t k = 0; k < tensor->dims; k++)
            fprintf(out, " %zu", tensor->shape[k]);
        fputc('\n', out);
    }
    ck_assert_int_eq(fclose(out), 0);
    free(structure);
    return text;
}

/* Compares the parameters with the file's first floats, to the bit. Returns how many there are. */
static size_t check_values(const char *name, const struct state_dict *dict, const struct bytes *floats)
{
    size_t at = 0;
    for (size_t i = 0; i < dict->count; i++) {
        const struct tensor *tensor = &dict->tensors[i];
        ck_assert_uint_le((at + tensor->count) * sizeof(float), floats->len);
        ck_assert_msg(memcmp(tensor->data, floats->data + at * sizeof(float), tensor->count * sizeof(float)) == 0,
                      "%s: the values of %s differ", name, tensor->name);
        ck_assert_ptr_eq(state_dict_find(dict, tensor->name), tensor);
        at += tensor->count;
    }
    return at;
}

static void check_read(const char *folder, const char *name)
{
    struct bytes expected = slurp(folder, name, ".txt"), floats = slurp(folder, name, ".f32");
    struct onnx_model model = accepted(folder, name);
    char *text = describe(&model);
    ck_assert_msg(strcmp(text, expected.data) == 0, "%s: read was\n%s\nexpected was\n%s", name, text,
                  expected.data);
    check_values(name, model.state_dict, &floats);
    onnx_model_clear(&model);
    free(text);
    free(expected.data);
    free(floats.data);
}

START_TEST(onnx_reads_every_form_that_exporters_give_a_layer)
{
    ck_assert_uint_ge(each_file(DATA, check_read), 100);
}
END_TEST

/* ---- What is answered ---- */

static size_t answered, not_served;

static void check_rows(const char *name, const struct model *model, const float *rows, size_t count)
{
    struct backend *backend = NULL;
    struct executor *executor = NULL;
    struct error err;
    const float *expected = rows + count * model->in_features;
    float *logits = calloc(count * model->out_features, sizeof *logits);
    float *probabilities = calloc(count * model->out_features, sizeof *probabilities);
    uint32_t *classes = calloc(count, sizeof *classes);
    ck_assert(logits && probabilities && classes);
    ck_assert_int_eq(backend_cpu_create(model, NULL, count, &backend, &err), STATUS_OK);
    ck_assert_int_eq(backend->ops->executor_create(backend, &executor, &err), STATUS_OK);
    struct batch_part part = {rows, ROW_FLOAT32, count, logits, probabilities, classes};
    ck_assert_int_eq(backend->ops->run(executor, &part, 1, &err), STATUS_OK);
    for (size_t i = 0; i < count * model->out_features; i++)
        ck_assert_msg(fabsf(logits[i] - expected[i]) <= 1e-4f * fmaxf(1, fabsf(expected[i])),
                      "%s: logit %zu is %.9g, ONNX Runtime gave %.9g", name, i, (double)logits[i],
                      (double)expected[i]);
    backend->ops->executor_free(executor);
    backend->ops->free(backend);
    free(logits);
    free(probabilities);
    free(classes);
}

static void check_answers(const char *folder, const char *name)
{
    struct model *model = NULL;
    struct error err = {.status = STATUS_OK};
    struct bytes onnx = slurp(folder, name, ".onnx"), floats = slurp(folder, name, ".f32");
    char *version = folder_create();
    if (strcmp(name, "hand-external") != 0) { /* whose other files are not copied */
        folder_write_bytes(version, "model.onnx", onnx.data, onnx.len);
        enum status status = model_load(version, name, "1", &model, &err);
        ck_assert_msg(status == STATUS_OK || strstr(err.message, "served"), "%s: %s", name, err.message);
        not_served += status != STATUS_OK;
    }
    if (model) {
        struct onnx_model read = accepted(folder, name);
        size_t at = check_values(name, read.state_dict, &floats), left = floats.len / sizeof(float) - at;
        check_rows(name, model, (const float *)(const void *)floats.data + at,
                   left / (model->in_features + model->out_features));
        answered++;
        onnx_model_clear(&read);
        model_free(model);
    }
    folder_remove(version);
    free(onnx.data);
    free(floats.data);
}

START_TEST(onnx_models_answer_as_onnx_runtime_does)
{
    each_file(DATA, check_answers);
    ck_assert_uint_ge(answered, 20);
    if (not_served > 0)
        UNIT_SKIP("%zu of the files hold layers that are read but not served", not_served);
}
END_TEST

static bool same_tensors(const struct state_dict *a, const struct state_dict *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        const struct tensor *x = &a->tensors[i], *y = state_dict_find(b, x->name);
        same = y && x->dims == y->dims && memcmp(x->shape, y->shape, x->dims * sizeof *x->shape) == 0 &&
               memcmp(x->data, y->data, x->count * sizeof(float)) == 0;
    }
    return same;
}

static void check_reference(const char *shared, const char *name)
{
    char folder[400], path[512];
    struct state_dict *dict = NULL;
    struct error err;
    snprintf(folder, sizeof folder, "%s/reference/%s", shared, name);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (safetensors_read(path, &dict, &err) != STATUS_OK) {
        UNIT_SKIP("%s", err.message);
        return;
    }
    struct onnx_model model = accepted(folder, "model");
    ck_assert_msg(same_tensors(model.state_dict, dict), "%s: the tensors of both files differ", name);
    struct bytes structure = slurp(folder, "structure", ".txt");
    char *text = structure_print(model.structure);
    if (strcmp(name, "tower") != 0) /* whose Dropout no exporter writes */
        ck_assert(strncmp(structure.data, text, strlen(text)) == 0);
    free(text);
    free(structure.data);
    onnx_model_clear(&model);
    state_dict_free(dict);
}

START_TEST(onnx_gives_the_reference_models_tensors_as_safetensors_does)
{
    const char *shared = getenv("MLPD_SHARED");
    check_reference(shared ? shared : "../shared", "tutorial");
    check_reference(shared ? shared : "../shared", "small");
    check_reference(shared ? shared : "../shared", "tower");
}
END_TEST

/* ---- Bad files ---- */

static void check_refused(const char *folder, const char *name)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    struct bytes what = slurp(folder, name, ".txt");
    char path[512];
    what.data[strcspn(what.data, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    ck_assert_msg(onnx_read(path, &model, &err) != STATUS_OK, "%s was read", name);
    ck_assert_msg(strstr(err.message, what.data) != NULL, "%s: \"%s\" has no \"%s\"", name, err.message, what.data);
    ck_assert_str_ne(err.hint, "");
    ck_assert_ptr_null(model.structure);
    ck_assert_ptr_null(model.state_dict);
    free(what.data);
}

START_TEST(onnx_refuses_what_is_no_chain_of_layers_with_the_node_and_the_reason)
{
    ck_assert_uint_ge(each_file("tests/data/onnx/refused", check_refused), 40);
}
END_TEST

/* Reads a copy of these bytes alone, so that a sanitizer sees a step beyond them. */
static enum status parse_copy(const char *data, size_t len, struct error *err)
{
    struct onnx_model model = {NULL};
    char *copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, len);
    enum status status = onnx_parse(copy, len, DATA, &model, err);
    free(copy);
    if (status == STATUS_OK)
        onnx_model_clear(&model);
    return status;
}

static const char *const flipped[] = {"hand-functions", "hand-external", "hand-layernorm-reciprocal"};

START_TEST(onnx_survives_any_flipped_byte)
{
    static const char flips[] = {(char)0xFF, 0x01, (char)0x80};
    size_t refused = 0;
    struct error err;
    struct bytes bytes = slurp(DATA, flipped[_i], ".onnx");
    for (size_t i = 0; i < bytes.len; i++)
        for (size_t k = 0; k < sizeof flips; k++) {
            err = (struct error){.status = STATUS_OK};
            bytes.data[i] ^= flips[k];
            enum status status = parse_copy(bytes.data, bytes.len, &err);
            ck_assert(status == STATUS_OK || (err.status == status && err.message[0] != '\0'));
            refused += status != STATUS_OK;
            bytes.data[i] ^= flips[k];
        }
    ck_assert_uint_gt(refused, bytes.len / 10);
    ck_assert_int_eq(parse_copy(bytes.data, bytes.len, &err), STATUS_OK);
    free(bytes.data);
}
END_TEST

START_TEST(onnx_survives_any_cut)
{
    struct error err;
    struct bytes bytes = slurp(DATA, flipped[_i], ".onnx");
    for (size_t len = 0; len < bytes.len; len++)
        parse_copy(bytes.data, len, &err);
    ck_assert_int_eq(parse_copy(bytes.data, bytes.len, &err), STATUS_OK);
    free(bytes.data);
}
END_TEST

/* ---- Files that are made to hurt ---- */

/* A protobuf message that grows. */
struct message {
    char *data;
    size_t len, capacity;
};

static void put(struct message *message, const void *data, size_t len)
{
    if (message->len + len > message->capacity) {
        message->capacity = 2 * (message->len + len);
        message->data = realloc(message->data, message->capacity);
        ck_assert_ptr_nonnull(message->data);
    }
    if (len > 0)
        memcpy(message->data + message->len, data, len);
    message->len += len;
}

static void put_varint(struct message *message, uint64_t number)
{
    do {
        unsigned char byte = (unsigned char)((number & 0x7F) | (number > 0x7F ? 0x80 : 0));
        put(message, &byte, 1);
        number >>= 7;
    } while (number > 0);
}

static void put_number(struct message *message, unsigned field, uint64_t number)
{
    put_varint(message, field << 3);
    put_varint(message, number);
}

static void put_bytes(struct message *message, unsigned field, const void *data, size_t len)
{
    put_varint(message, field << 3 | 2);
    put_varint(message, len);
    put(message, data, len);
}

static void put_message(struct message *message, unsigned field, struct message *inner)
{
    put_bytes(message, field, inner->data, inner->len);
    free(inner->data);
    *inner = (struct message){NULL, 0, 0};
}

static void put_text(struct message *message, unsigned field, const char *text)
{
    put_bytes(message, field, text, strlen(text));
}

static void put_node(struct message *graph, const char *op, const char *input, const char *output)
{
    struct message node = {NULL, 0, 0};
    put_text(&node, 1, input);
    put_text(&node, 2, output);
    put_text(&node, 4, op);
    put_message(graph, 1, &node);
}

/* Input x of [batch, 4] and output y. */
static void put_ends(struct message *graph)
{
    static const char type[] = "\x0a\x0c\x08\x01\x12\x08\x0a\x02\x12\x00\x0a\x02\x08\x04";
    struct message input = {NULL, 0, 0}, output = {NULL, 0, 0};
    put_text(&input, 1, "x");
    put_bytes(&input, 2, type, sizeof type - 1);
    put_message(graph, 11, &input);
    put_text(&output, 1, "y");
    put_message(graph, 12, &output);
}

static struct message model_of(struct message *graph)
{
    struct message model = {NULL, 0, 0}, opset = {NULL, 0, 0};
    put_number(&model, 1, 8);
    put_number(&opset, 2, 17);
    put_message(&model, 8, &opset);
    put_message(&model, 7, graph);
    return model;
}

static void refuses_model(struct message *model, const char *what)
{
    struct error err = {.status = STATUS_OK};
    ck_assert_int_ne(parse_copy(model->data, model->len, &err), STATUS_OK);
    ck_assert_msg(strstr(err.message, what) != NULL, "\"%s\" has no \"%s\"", err.message, what);
    free(model->data);
}

static void put_chain(struct message *graph, const char *op, size_t count)
{
    char input[24] = "x", output[24];
    for (size_t i = 0; i < count; i++) {
        snprintf(output, sizeof output, i + 1 < count ? "v%zu" : "y", i);
        put_node(graph, op, input, output);
        memcpy(input, output, sizeof input);
    }
}

START_TEST(onnx_reads_a_chain_that_is_made_by_hand)
{
    struct message graph = {NULL, 0, 0};
    struct error err = {.status = STATUS_OK};
    put_ends(&graph);
    put_chain(&graph, "Relu", 1000);
    struct message model = model_of(&graph);
    enum status status = parse_copy(model.data, model.len, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    free(model.data);
}
END_TEST

START_TEST(onnx_refuses_more_nodes_and_layers_than_it_reads)
{
    struct message graph = {NULL, 0, 0};
    put_ends(&graph);
    put_chain(&graph, "Relu", 70000);
    struct message model = model_of(&graph);
    refuses_model(&model, "the graph has more than 65536 nodes");
    put_ends(&graph);
    put_chain(&graph, "Relu", 60000);
    model = model_of(&graph);
    refuses_model(&model, "the model has more than 4096 layers");
}
END_TEST

START_TEST(onnx_follows_a_long_row_of_identities)
{
    struct message graph = {NULL, 0, 0};
    struct error err = {.status = STATUS_OK};
    put_ends(&graph);
    put_chain(&graph, "Identity", 60000);
    struct message model = model_of(&graph);
    ck_assert_int_eq(parse_copy(model.data, model.len, &err), STATUS_OK);
    free(model.data);
}
END_TEST

START_TEST(onnx_refuses_a_file_whose_parts_need_far_more_memory_than_its_bytes)
{
    struct message model = {NULL, 0, 0}, graph = model;
    for (size_t i = 0; i < 2000000; i++)
        put_number(&model, 30, 0);
    refuses_model(&model, "need more than");
    put_ends(&graph);
    put_chain(&graph, "Relu", 1000000);
    model = model_of(&graph);
    refuses_model(&model, "need more than");
}
END_TEST

/* A function that calls the next one 40 times; the last one is empty, or calls what is no function. */
static void put_function(struct message *model, size_t i, bool is_empty)
{
    char name[16], next[16];
    struct message function = {NULL, 0, 0}, node = {NULL, 0, 0};
    snprintf(name, sizeof name, "f%zu", i);
    snprintf(next, sizeof next, "f%zu", i + 1);
    put_text(&function, 1, name);
    put_text(&function, 10, "local");
    for (size_t k = 0; k < 40 && !is_empty; k++) {
        put_text(&node, 4, next);
        put_text(&node, 7, "local");
        put_message(&function, 7, &node);
    }
    put_message(model, 25, &function);
}

/* 40^15 calls, from a few bytes. */
static struct message multiplying_functions(bool ends_empty)
{
    struct message graph = {NULL, 0, 0}, node = {NULL, 0, 0};
    put_ends(&graph);
    put_text(&node, 4, "f0");
    put_text(&node, 7, "local");
    put_message(&graph, 1, &node);
    struct message model = model_of(&graph);
    for (size_t i = 0; i < 15; i++)
        put_function(&model, i, ends_empty && i == 14);
    return model;
}

START_TEST(onnx_refuses_functions_that_multiply)
{
    struct message model = multiplying_functions(false);
    refuses_model(&model, "the graph has more than 65536 nodes");
    model = multiplying_functions(true);
    refuses_model(&model, "more than 65536 times");
}
END_TEST

/* ---- External data ---- */

/* A folder with hand-external's model and its data below it. */
static char *external_folder(void)
{
    char *folder = folder_create();
    struct bytes model = slurp(DATA, "hand-external", ".onnx"), data = slurp(DATA, "hand-external", ".bin"),
                 below = slurp(DATA, "below/hand-external", ".bin");
    folder_make(folder, "below");
    folder_write_bytes(folder, "model.onnx", model.data, model.len);
    folder_write_bytes(folder, "hand-external.bin", data.data, data.len);
    folder_write_bytes(folder, "below/hand-external.bin", below.data, below.len);
    free(model.data);
    free(data.data);
    free(below.data);
    return folder;
}

static void replace_by_link(const char *folder, const char *name, const char *target)
{
    char *path = folder_path(folder, name);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink(target, path), 0);
    free(path);
}

START_TEST(onnx_follows_links_to_external_data_inside_the_folder_and_none_outside)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    char *folder = external_folder(), *elsewhere = external_folder(), *file = folder_path(folder, "model.onnx");
    char *target = folder_path(elsewhere, "hand-external.bin");
    ck_assert_int_eq(onnx_read(file, &model, &err), STATUS_OK);
    onnx_model_clear(&model);
    replace_by_link(folder, "below/hand-external.bin", "../hand-external.bin");
    ck_assert_int_eq(onnx_read(file, &model, &err), STATUS_OK);
    onnx_model_clear(&model);
    replace_by_link(folder, "hand-external.bin", target);
    ck_assert_int_eq(onnx_read(file, &model, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "outside the model's folder"));
    folder_remove(folder);
    folder_remove(elsewhere);
    free(file);
    free(target);
}
END_TEST

START_TEST(onnx_refuses_external_data_where_there_is_no_folder)
{
    struct onnx_model model = {NULL};
    struct error err = {.status = STATUS_OK};
    struct bytes bytes = slurp(DATA, "hand-external", ".onnx");
    ck_assert_int_eq(onnx_parse(bytes.data, bytes.len, NULL, &model, &err), STATUS_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "comes without a folder"));
    free(bytes.data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine/onnx");
    TCase *tcase = tcase_create("engine/onnx");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, onnx_reads_every_form_that_exporters_give_a_layer);
    tcase_add_test(tcase, onnx_models_answer_as_onnx_runtime_does);
    tcase_add_test(tcase, onnx_gives_the_reference_models_tensors_as_safetensors_does);
    tcase_add_test(tcase, onnx_refuses_what_is_no_chain_of_layers_with_the_node_and_the_reason);
    tcase_add_loop_test(tcase, onnx_survives_any_flipped_byte, 0, 3);
    tcase_add_loop_test(tcase, onnx_survives_any_cut, 0, 3);
    tcase_add_test(tcase, onnx_reads_a_chain_that_is_made_by_hand);
    tcase_add_test(tcase, onnx_refuses_more_nodes_and_layers_than_it_reads);
    tcase_add_test(tcase, onnx_follows_a_long_row_of_identities);
    tcase_add_test(tcase, onnx_refuses_a_file_whose_parts_need_far_more_memory_than_its_bytes);
    tcase_add_test(tcase, onnx_refuses_functions_that_multiply);
    tcase_add_test(tcase, onnx_follows_links_to_external_data_inside_the_folder_and_none_outside);
    tcase_add_test(tcase, onnx_refuses_external_data_where_there_is_no_folder);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
