#include "engine/torch_file.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/safetensors.h"
#include "engine/torch_tensors.h"
#include "tests/unit/engine/folder.h"
#include "tests/unit/engine/pickle_writer.h"

/* scripts/make_torch_files.py wrote these, with PyTorch's own values beside them. */
static const char DATA[] = "tests/data/torch";

enum { BYTES_MAX = 16 << 20 };

static char *data_path(const char *folder, const char *name, const char *suffix)
{
    char *path;
    ck_assert_int_gt(asprintf(&path, "%s/%s%s", folder, name, suffix), 0);
    return path;
}

static struct torch_file accepted(const char *path)
{
    struct error err = {0};
    struct torch_file file = {0};
    enum status status = torch_file_read(path, &file, &err);
    ck_assert_msg(status == STATUS_OK, "%s: %s (%s)", path, err.message, err.hint);
    return file;
}

static struct state_dict *expected_tensors(const char *path)
{
    struct error err = {0};
    struct state_dict *dict = NULL;
    enum status status = safetensors_read(path, &dict, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return dict;
}

/* Bit for bit, shapes and order of dimensions included. */
static void check_same(const char *path, const struct state_dict *dict, const struct state_dict *expected)
{
    ck_assert_msg(dict->count == expected->count, "%s: %zu tensors, not %zu", path, dict->count, expected->count);
    for (size_t i = 0; i < dict->count; i++) {
        const struct tensor *tensor = &dict->tensors[i], *other = state_dict_find(expected, tensor->name);
        ck_assert_msg(other != NULL, "%s: %s was not expected", path, tensor->name);
        ck_assert_uint_eq(tensor->dims, other->dims);
        ck_assert_mem_eq(tensor->shape, other->shape, sizeof tensor->shape[0] * tensor->dims);
        ck_assert_uint_eq(tensor->count, other->count);
        ck_assert_msg(tensor->count == 0 || memcmp(tensor->data, other->data, 4 * tensor->count) == 0,
                      "%s: %s has other values", path, tensor->name);
    }
}

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t len;
    struct error err;
    ck_assert_msg(file_read(path, BYTES_MAX, &text, &len, &err) == STATUS_OK, "%s", err.message);
    return text;
}

/* Lines of a name and str(tensor.dtype), in the order of the state dict. */
static void check_dtypes(const char *name, const struct state_dict *dict)
{
    char *path = data_path(DATA, name, ".dtypes"), *text = read_text(path), *lines = NULL;
    size_t size;
    FILE *out = open_memstream(&lines, &size);
    for (size_t i = 0; i < dict->count; i++)
        fprintf(out, "%s %s\n", dict->tensors[i].name, dict->tensors[i].dtype);
    fclose(out);
    ck_assert_str_eq(lines, text);
    free(lines);
    free(text);
    free(path);
}

static void check_structure(const char *path, const struct module *structure)
{
    char *expected = read_text(path), *printed = structure_print(structure);
    expected[strlen(expected) - 1] = '\0'; /* print's newline */
    ck_assert_str_eq(printed, expected);
    free(printed);
    free(expected);
}

/* What was read of NAME.pth is what PyTorch said of it. */
static struct torch_file check_file(const char *name)
{
    char *path = data_path(DATA, name, ".pth"), *tensors = data_path(DATA, name, ".safetensors");
    struct torch_file file = accepted(path);
    struct state_dict *expected = expected_tensors(tensors);
    check_same(path, file.state_dict, expected);
    check_dtypes(name, file.state_dict);
    state_dict_free(expected);
    free(tensors);
    free(path);
    return file;
}

static void check_state_dict(const char *name, const char *note)
{
    struct torch_file file = check_file(name);
    ck_assert_ptr_null(file.structure);
    if (note)
        ck_assert_str_eq(file.note, note);
    else
        ck_assert_ptr_null(file.note);
    torch_file_release(&file);
}

static void check_module(const char *name, const char *note)
{
    struct torch_file file = check_file(name);
    char *path = data_path(DATA, name, ".txt");
    check_structure(path, file.structure);
    if (note)
        ck_assert_msg(file.note && strstr(file.note, note), "\"%s\" has no \"%s\"", file.note, note);
    else
        ck_assert_ptr_null(file.note);
    free(path);
    torch_file_release(&file);
}

START_TEST(torch_file_reads_a_state_dict_in_its_order)
{
    check_state_dict("state_dict", NULL);
    check_state_dict("protocol5", NULL);
    check_state_dict("attributes", NULL);
}
END_TEST

START_TEST(torch_file_reads_strides_offsets_and_shared_storages)
{
    check_state_dict("strides", NULL);
    check_state_dict("old_strides", NULL);
}
END_TEST

START_TEST(torch_file_makes_floats_of_every_dtype_as_pytorch_does)
{
    check_state_dict("dtypes", NULL);
}
END_TEST

START_TEST(torch_file_finds_the_state_dict_of_a_checkpoint_and_skips_the_rest)
{
    check_state_dict("checkpoint", "of this checkpoint \"model_state_dict\" is read, and all else in it skipped");
    check_state_dict("checkpoint_lightning",
                     "of this checkpoint \"state_dict\" is read, and all else in it skipped");
}
END_TEST

START_TEST(torch_file_takes_off_what_wrappers_put_before_names)
{
    check_state_dict("data_parallel", "the prefix \"module.\" was taken off every parameter's name");
    check_state_dict("compiled", "of this checkpoint \"model\" is read, and all else in it skipped; "
                                 "the prefix \"module._orig_mod.\" was taken off every parameter's name");
}
END_TEST

START_TEST(torch_file_reads_the_old_format_and_archives_of_other_writers)
{
    check_state_dict("old", NULL);
    check_state_dict("no_crc", NULL);
    check_state_dict("rezipped", NULL);
    check_state_dict("big_endian", NULL);
}
END_TEST

START_TEST(torch_file_prints_a_module_of_every_layer_as_pytorch_does)
{
    check_module("module_sequential", NULL);
    check_module("module_layers", NULL);
}
END_TEST

START_TEST(torch_file_says_of_user_classes_that_their_order_is_assumed)
{
    static const char note[] = "NeuralNetwork, Block: not of torch.nn, so the modules in it are assumed to run";
    check_module("module_classes", note);
    check_module("module_protocol4", note);
    check_module("module_old", note);
    check_module("module_checkpoint", note);
    check_module("module_checkpoint", "of this checkpoint \"model\" is read");
    check_module("module_data_parallel", NULL);
    check_module("module_hooks", "1 of the modules have forward hooks, which are not run");
}
END_TEST

/* ---- The reference models ---- */

static void check_reference(const char *name, const char *file_name)
{
    const char *shared = getenv("MLPD_SHARED");
    char *folder = data_path(shared ? shared : "../shared", "reference/", name);
    char *path = data_path(folder, file_name, ""), *tensors = data_path(folder, "model.safetensors", "");
    char *text = data_path(folder, "structure.txt", "");
    if (access(path, R_OK) == 0) {
        struct torch_file file = accepted(path);
        struct state_dict *expected = expected_tensors(tensors);
        check_same(path, file.state_dict, expected);
        if (file.structure)
            check_structure(text, file.structure);
        ck_assert_int_eq(file.structure != NULL, strcmp(file_name, "model_full.pth") == 0);
        state_dict_free(expected);
        torch_file_release(&file);
    } else {
        UNIT_SKIP("there is no %s", path);
    }
    free(text);
    free(tensors);
    free(path);
    free(folder);
}

START_TEST(torch_file_gives_the_reference_models_the_tensors_of_their_safetensors)
{
    check_reference("tutorial", "model.pth");
    check_reference("small", "model.pth");
    check_reference("tower", "model.pth");
    check_reference("small", "model_full.pth");
}
END_TEST

/* ---- Refusals ---- */

static void check_refusal(const struct error *err, const char *message, const char *hint)
{
    ck_assert_msg(strstr(err->message, message) != NULL, "\"%s\" has no \"%s\"", err->message, message);
    ck_assert_msg(strstr(err->hint, hint) != NULL, "\"%s\" has no \"%s\"", err->hint, hint);
}

static void refused(const char *name, enum status status, const char *message, const char *hint)
{
    struct error err = {0};
    struct torch_file file = {0};
    char *folder = data_path(DATA, "refused", ""), *path = data_path(folder, name, ".pth");
    enum status got = torch_file_read(path, &file, &err);
    ck_assert_msg(got == status, "%s: %s: %s", name, status_text(got), err.message);
    ck_assert_ptr_null(file.state_dict);
    ck_assert_ptr_eq(strstr(err.message, path), err.message);
    check_refusal(&err, message, hint);
    free(path);
    free(folder);
}

START_TEST(torch_file_declines_programs_with_the_python_that_exports_what_is_read)
{
    refused("torchscript", STATUS_UNSUPPORTED, "this is TorchScript (it has code/)", "torch.jit.load");
    refused("exported", STATUS_UNSUPPORTED, "a program of torch.export (.pt2)", "torch.export.load");
    refused("bare_zip", STATUS_UNSUPPORTED, "has no data.pkl", "torch.save(");
}
END_TEST

START_TEST(torch_file_refuses_tensors_that_are_not_plain_by_name)
{
    refused("sparse", STATUS_UNSUPPORTED, "tensor \"a\": it is made by torch._utils._rebuild_sparse_tensor",
            "contig");
    refused("quantized", STATUS_UNSUPPORTED, "tensor \"a\": it is made by torch._utils._rebuild_qtensor", "contig");
    refused("complex", STATUS_UNSUPPORTED, "its elements are of torch.ComplexFloatStorage", "contiguous");
    refused("negated", STATUS_UNSUPPORTED, "tensor \"a\": it is lazily conjugated or negated", "contiguous");
}
END_TEST

START_TEST(torch_file_refuses_what_is_no_state_dict_and_names_what_it_is)
{
    refused("list", STATUS_UNSUPPORTED, "the file holds a list, a state dict or a module was expected",
            "state_dict()");
    refused("tensor", STATUS_UNSUPPORTED, "the file holds the result of calling torch._utils._rebuild_tensor_v2",
            "state_dict()");
    refused("number_in_state_dict", STATUS_INVALID, "tensor \"epoch\": it is an int, a tensor was expected", "");
    refused("other_key", STATUS_UNSUPPORTED, "a dict without tensors", "there is one under \"net\"");
}
END_TEST

START_TEST(torch_file_refuses_calls_ids_and_opcodes_by_name)
{
    refused("calls_system", STATUS_UNSUPPORTED, "it would call posix.system", "nothing was called");
    refused("calls_eval", STATUS_UNSUPPORTED, "it would call __builtin__.eval", "nothing was called");
    refused("foreign_id", STATUS_INVALID, "refers to something outside, the string \"secret\"", "state_dict()");
    refused("protocol0", STATUS_UNSUPPORTED, "the opcode ", "leave pickle_protocol out");
    refused("compressed", STATUS_UNSUPPORTED, "is compressed (method 8, deflate)", "torch.save");
}
END_TEST

START_TEST(torch_file_refuses_containers_of_torch_that_do_more_than_to_run_their_children)
{
    refused("attention", STATUS_UNSUPPORTED, "the model is an object of torch.nn.modules.transformer.",
            "structure.txt");
}
END_TEST

/* ---- Tensors that lie wrongly ---- */

static const float STORAGE[6] = {1, 2, 3, 4, 5, 6};

/* {"a": tensor} with these numbers, in a storage of six. */
static enum status parse_tensor(int64_t numel, int64_t offset, const int64_t *sizes, const int64_t *strides,
                                size_t dims, struct torch_file *ret, struct error *err)
{
    struct writer pickle = writer_begin();
    fputc('}', pickle.out);
    write_string(pickle.out, "a");
    write_tensor(pickle.out, "0", numel, offset, sizes, strides, dims);
    fputs("s.", pickle.out);
    struct writer file = write_archive(&pickle, STORAGE, sizeof STORAGE);
    enum status status = torch_file_parse(file.bytes, file.len, ret, err);
    writer_free(&file);
    return status;
}

static void tensor_refused(int64_t numel, int64_t offset, const int64_t *sizes, const int64_t *strides, size_t dims,
                           const char *message)
{
    struct torch_file file = {0};
    struct error err = {0};
    ck_assert_int_ne(parse_tensor(numel, offset, sizes, strides, dims, &file, &err), STATUS_OK);
    ck_assert_ptr_null(file.state_dict);
    check_refusal(&err, message, "contiguous");
    ck_assert_ptr_eq(strstr(err.message, "tensor \"a\": "), err.message);
}

#define NUMBERS(...) ((const int64_t[]){__VA_ARGS__})

START_TEST(torch_file_refuses_tensors_that_reach_beyond_their_storage)
{
    tensor_refused(6, 1, NUMBERS(2, 3), NUMBERS(3, 1), 2, "it reaches to element 7 of its storage, which has 6");
    tensor_refused(6, 0, NUMBERS(2, 3), NUMBERS(4, 1), 2, "it reaches to element 7 of its storage, which has 6");
    tensor_refused(6, 6, NUMBERS(1), NUMBERS(1), 1, "it reaches to element 7");
    tensor_refused(6, INT64_MAX, NUMBERS(1), NUMBERS(1), 1, "it reaches to element 9223372036854775808");
    tensor_refused(6, INT64_MAX, NUMBERS(3), NUMBERS(INT64_MAX), 1, "its offset, sizes and strides overflow");
    tensor_refused(6, 0, NUMBERS(5), NUMBERS(INT64_MAX), 1, "its offset, sizes and strides overflow");
    tensor_refused(7, 0, NUMBERS(1), NUMBERS(1), 1,
                   "its storage should have 7 elements of 4 bytes, the file has 24");
    tensor_refused(5, 0, NUMBERS(1), NUMBERS(1), 1, "its storage should have 5 elements");
    tensor_refused(INT64_MAX, 0, NUMBERS(1), NUMBERS(1), 1, "its storage should have 9223372036854775807 elements");
}
END_TEST

START_TEST(torch_file_refuses_negative_and_huge_numbers)
{
    tensor_refused(6, -1, NUMBERS(1), NUMBERS(1), 1, "its offset is no whole number from 0 on");
    tensor_refused(6, 0, NUMBERS(2, -3), NUMBERS(3, 1), 2, "size or stride 1 is no whole number from 0 on");
    tensor_refused(6, 5, NUMBERS(6), NUMBERS(-1), 1, "size or stride 0 is no whole number");
    tensor_refused(-1, 0, NUMBERS(1), NUMBERS(1), 1, "its record has not the arguments that torch.save writes");
    tensor_refused(6, 0, NUMBERS(INT64_MAX, INT64_MAX), NUMBERS(0, 0), 2, "the product of its sizes overflows");
    tensor_refused(6, 0, NUMBERS(1, 1, 1, 1, 1, 1, 1, 1, 1), NUMBERS(1, 1, 1, 1, 1, 1, 1, 1, 1), 9,
                   "it has 9 dimensions, at most 8 are read");
}
END_TEST

START_TEST(torch_file_bounds_what_repeated_elements_may_grow_to)
{
    struct torch_file file = {0};
    struct error err = {0};
    ck_assert_int_eq(parse_tensor(6, 2, NUMBERS(1 << 10, 1 << 10), NUMBERS(0, 0), 2, &file, &err), STATUS_OK);
    ck_assert_uint_eq(file.state_dict->tensors[0].count, 1 << 20);
    ck_assert_float_eq(file.state_dict->tensors[0].data[(1 << 20) - 1], 3.0f);
    torch_file_release(&file);
    tensor_refused(6, 0, NUMBERS(1LL << 40), NUMBERS(0), 1,
                   "its 1099511627776 elements make more than one for each");
    tensor_refused(6, 0, NUMBERS(1 << 10, 1 << 11), NUMBERS(0, 0), 2, "its 2097152 elements make more than one");
    ck_assert_int_eq(parse_tensor(6, 0, NUMBERS(1LL << 62, 0), NUMBERS(0, 0), 2, &file, &err), STATUS_OK);
    ck_assert_uint_eq(file.state_dict->tensors[0].count, 0);
    torch_file_release(&file);
}
END_TEST

/* ---- Pickles that nest, share and repeat ---- */

static void pickle_refused(struct writer *pickle, const char *message)
{
    struct torch_file file = {0};
    struct error err = {0};
    struct writer bytes = write_archive(pickle, STORAGE, sizeof STORAGE);
    ck_assert_int_ne(torch_file_parse(bytes.bytes, bytes.len, &file, &err), STATUS_OK);
    ck_assert_ptr_null(file.state_dict);
    check_refusal(&err, message, "");
    writer_free(&bytes);
}

START_TEST(torch_file_refuses_a_name_that_stands_twice)
{
    struct writer pickle = writer_begin();
    fputs("}(", pickle.out);
    for (int i = 0; i < 2; i++) {
        write_string(pickle.out, "a");
        write_tensor(pickle.out, "0", 6, 0, NUMBERS(1), NUMBERS(1), 1);
    }
    fputs("u.", pickle.out);
    pickle_refused(&pickle, "two tensors are named \"a\"");
}
END_TEST

START_TEST(torch_file_refuses_keys_that_are_no_names)
{
    static const char *const keys[] = {"K\1", "X\1\0\0\0\n", "X\1\0\0\0\0", "X\1\0\0\0\xFF", "N"};
    static const size_t lens[] = {2, 6, 6, 6, 1};
    for (size_t i = 0; i < 5; i++) {
        struct writer pickle = writer_begin();
        fputc('}', pickle.out);
        fwrite(keys[i], 1, lens[i], pickle.out);
        write_tensor(pickle.out, "0", 6, 0, NUMBERS(1), NUMBERS(1), 1);
        fputs("s.", pickle.out);
        pickle_refused(&pickle, keys[i][0] == 'X' ? "a name has more than 4096 bytes, control characters"
                                                  : "a string was expected");
    }
}
END_TEST

/* An object of a class with these attributes still to come: torch_file takes it for a module. */
static void begin_module(FILE *out, const char *class_name)
{
    fprintf(out, "cm\n%s\n)\x81", class_name);
}

/* The attributes behind begin_module, _modules being the dict that is written between the two. */
static void begin_modules(FILE *out)
{
    fputs("}(", out);
    write_string(out, "_parameters");
    fputc('}', out);
    write_string(out, "_buffers");
    fputc('}', out);
    write_string(out, "_modules");
    fputc('}', out);
}

static void end_modules(FILE *out)
{
    fputs("ub", out);
}

enum { DEEP = 100 };

START_TEST(torch_file_refuses_modules_that_nest_too_deeply_or_hold_themselves)
{
    struct writer pickle = writer_begin();
    for (int i = 0; i < DEEP; i++) {
        begin_module(pickle.out, "C");
        begin_modules(pickle.out);
        write_string(pickle.out, "child");
    }
    fputc('N', pickle.out);
    for (int i = 0; i < DEEP; i++) {
        fputc('s', pickle.out);
        end_modules(pickle.out);
    }
    fputc('.', pickle.out);
    pickle_refused(&pickle, "it lies deeper than the 64 levels that are read");
    pickle = writer_begin();
    begin_module(pickle.out, "C");
    fputs("q\1", pickle.out);
    begin_modules(pickle.out);
    write_string(pickle.out, "me");
    fputs("h\1s", pickle.out);
    end_modules(pickle.out);
    fputc('.', pickle.out);
    pickle_refused(&pickle, "it lies deeper than the 64 levels that are read");
}
END_TEST

/* Each module holds the one before twice: 2^30 of them, in a file of 4 KB. */
START_TEST(torch_file_refuses_modules_that_double)
{
    struct writer pickle = writer_begin();
    begin_module(pickle.out, "Leaf");
    begin_modules(pickle.out);
    end_modules(pickle.out);
    fputs("q\1", pickle.out);
    for (int i = 0; i < 30; i++) {
        fputc('0', pickle.out);
        begin_module(pickle.out, "Twice");
        begin_modules(pickle.out);
        write_string(pickle.out, "a");
        fputs("h\1s", pickle.out);
        write_string(pickle.out, "b");
        fputs("h\1s", pickle.out);
        end_modules(pickle.out);
        fputs("q\1", pickle.out);
    }
    fputc('.', pickle.out);
    pickle_refused(&pickle, "it is one module more than the 4096 that are read");
}
END_TEST

START_TEST(torch_file_refuses_class_and_module_names_that_would_break_the_structure)
{
    static const char *const classes[] = {"C)", "C D", "a.", "C\t"};
    static const char *const names[] = {"a.b", "a(b", "", "a\nb", "a)"};
    for (size_t i = 0; i < 4; i++) {
        struct writer pickle = writer_begin();
        begin_module(pickle.out, classes[i]);
        begin_modules(pickle.out);
        end_modules(pickle.out);
        fputc('.', pickle.out);
        pickle_refused(&pickle, "that is no name of a class");
    }
    for (size_t i = 0; i < 5; i++) {
        struct writer pickle = writer_begin();
        begin_module(pickle.out, "C");
        begin_modules(pickle.out);
        write_string(pickle.out, names[i]);
        begin_module(pickle.out, "D");
        begin_modules(pickle.out);
        end_modules(pickle.out);
        fputc('s', pickle.out);
        end_modules(pickle.out);
        fputc('.', pickle.out);
        pickle_refused(&pickle, "the model is an object of m.C: ");
    }
}
END_TEST

START_TEST(torch_file_refuses_layers_without_the_attributes_that_they_show)
{
    struct writer pickle = writer_begin();
    fputs("ctorch.nn.modules.linear\nLinear\n)\x81", pickle.out);
    begin_modules(pickle.out);
    end_modules(pickle.out);
    fputc('.', pickle.out);
    pickle_refused(&pickle,
                   "the model is an object of torch.nn.modules.linear.Linear: its attribute in_features is "
                   "missing, or not of a kind that is read");
}
END_TEST

/* A hundred thousand names for one tensor are read; more than the limit are not. */
START_TEST(torch_file_bounds_the_number_of_tensors)
{
    struct writer pickle = writer_begin();
    char name[16];
    write_tensor(pickle.out, "0", 6, 0, NUMBERS(0), NUMBERS(1), 1);
    fputs("q\1"
          "0}(",
          pickle.out);
    for (int i = 0; i <= TORCH_TENSORS_MAX; i++) {
        snprintf(name, sizeof name, "%d", i);
        write_string(pickle.out, name);
        fputs("h\1", pickle.out);
    }
    fputs("u.", pickle.out);
    pickle_refused(&pickle, "the state dict has 131073 entries, at most 131072 are read");
}
END_TEST

START_TEST(torch_file_bounds_the_bytes_of_names_that_are_shared)
{
    struct writer pickle = writer_begin();
    char name[4001];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    write_string(pickle.out, name);
    fputs("q\1"
          "0",
          pickle.out);
    write_tensor(pickle.out, "0", 6, 0, NUMBERS(0), NUMBERS(1), 1);
    fputs("q\2"
          "0}(",
          pickle.out);
    for (int i = 0; i < 10000; i++)
        fputs("h\1h\2", pickle.out);
    fputs("u.", pickle.out);
    pickle_refused(&pickle, "the names have more bytes than the file");
    memset(name, 'C', 256);
    name[256] = '\0';
    pickle = writer_begin();
    begin_module(pickle.out, name);
    begin_modules(pickle.out);
    end_modules(pickle.out);
    fputc('.', pickle.out);
    pickle_refused(&pickle, "that is no name of a class");
}
END_TEST

/* ---- Files that were cut or changed ---- */

static char *read_bytes(const char *name, size_t *ret_len)
{
    char *path = data_path(DATA, name, ".pth"), *bytes = NULL;
    struct error err;
    ck_assert_msg(file_read(path, BYTES_MAX, &bytes, ret_len, &err) == STATUS_OK, "%s", err.message);
    free(path);
    return bytes;
}

/* Either the bytes are read or refused in words; true if they were read, and *ret is then the caller's. */
static bool read_or_refused(const char *bytes, size_t len, struct torch_file *ret)
{
    struct error err = {0};
    char *copy = malloc(len ? len : 1); /* of this length exactly, so that a sanitizer sees a step beyond it */
    memcpy(copy, bytes, len);
    *ret = (struct torch_file){.note = NULL};
    enum status status = torch_file_parse(copy, len, ret, &err);
    free(copy);
    if (status == STATUS_OK)
        return true;
    ck_assert_int_eq(err.status, status);
    ck_assert(err.message[0] != '\0' && err.hint[0] != '\0');
    ck_assert(!ret->state_dict && !ret->structure && !ret->note);
    return false;
}

/* The kernel counts in KiB. The sanitizer keeps some hundred MiB of what was freed. */
static void check_memory(void)
{
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    ck_assert_int_lt(usage.ru_maxrss, 1 << 20);
}

static const unsigned char FLIPS[] = {0xFF, 0x01, 0x80};

/* Flips every byte in three ways. What is still read, is counted; `expected` (may be NULL) are the tensors it must have. */
static size_t flip_every_byte(char *bytes, size_t len, const struct state_dict *expected)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        for (size_t j = 0; j < sizeof FLIPS; j++) {
            struct torch_file file;
            bytes[i] = (char)(bytes[i] ^ FLIPS[j]);
            if (read_or_refused(bytes, len, &file)) {
                if (expected)
                    check_same("a flipped byte", file.state_dict, expected);
                count++;
            }
            torch_file_release(&file);
            bytes[i] = (char)(bytes[i] ^ FLIPS[j]);
        }
    check_memory();
    return count;
}

/* Every record has a check sum: what a flipped byte leaves readable has the same tensors. */
START_TEST(torch_file_reads_the_same_or_nothing_after_a_byte_was_flipped)
{
    size_t len;
    char *bytes = read_bytes("state_dict", &len), *tensors = data_path(DATA, "state_dict", ".safetensors");
    struct state_dict *expected = expected_tensors(tensors);
    size_t read = flip_every_byte(bytes, len, expected);
    ck_assert_uint_gt(read, 0); /* in the padding */
    ck_assert_uint_lt(read, 3 * len / 2);
    state_dict_free(expected);
    free(tensors);
    free(bytes);
}
END_TEST

START_TEST(torch_file_takes_or_refuses_every_flipped_byte_where_nothing_has_a_check_sum)
{
    static const char *const names[] = {"no_crc", "old", "old_strides", "module_old"};
    for (size_t i = 0; i < 4; i++) {
        size_t len;
        char *bytes = read_bytes(names[i], &len);
        ck_assert_uint_gt(flip_every_byte(bytes, len, NULL), 0);
        free(bytes);
    }
}
END_TEST

START_TEST(torch_file_refuses_every_cut)
{
    static const char *const names[] = {"state_dict", "old", "rezipped"};
    for (size_t i = 0; i < 3; i++) {
        size_t len;
        struct torch_file file;
        char *bytes = read_bytes(names[i], &len);
        for (size_t cut = 0; cut < len; cut++)
            ck_assert_msg(!read_or_refused(bytes, cut, &file), "%s, cut to %zu bytes, is read", names[i], cut);
        free(bytes);
    }
}
END_TEST

/* Changes bytes behind `after`, in an archive without check sums. */
static void record_refused(const char *after, const char *from, const char *to, const char *message)
{
    size_t len;
    struct torch_file file;
    struct error err = {0};
    char *bytes = read_bytes("no_crc", &len), *place = memmem(bytes, len, after, strlen(after));
    ck_assert_ptr_nonnull(place);
    place = memmem(place, len - (size_t)(place - bytes), from, strlen(from));
    ck_assert_ptr_nonnull(place);
    memcpy(place, to, strlen(from));
    ck_assert_int_ne(torch_file_parse(bytes, len, &file, &err), STATUS_OK);
    check_refusal(&err, message, "torch.save(");
    free(bytes);
}

START_TEST(torch_file_checks_the_records_of_byte_order_and_version)
{
    record_refused("archive/byteorder", "little", "middle", "its record byteorder says neither little nor big");
    record_refused("archive/version", "3\n", "11", "its record version is no number from 1 to 10");
    record_refused("archive/version", "3\n", "x\n", "its record version is no number from 1 to 10");
    record_refused("archive/version", "3\n", "0\n", "its record version is no number from 1 to 10");
}
END_TEST

START_TEST(torch_file_refuses_files_of_other_kinds)
{
    struct torch_file file;
    struct error err = {0};
    ck_assert_int_eq(torch_file_parse("GIF89a..", 8, &file, &err), STATUS_UNSUPPORTED);
    check_refusal(&err, "this is no file of torch.save: it begins with the bytes 47 49 46 38", "torch.save(");
    ck_assert_int_eq(torch_file_parse("\x80\2K\1.", 5, &file, &err), STATUS_INVALID);
    check_refusal(&err, "its first pickle is not the magic number", "newer PyTorch");
    ck_assert_int_eq(torch_file_parse("PK", 2, &file, &err), STATUS_INVALID);
    check_refusal(&err, "the file has 2 bytes", "torch.save(");
    ck_assert_int_eq(torch_file_read("/nonexistent/model.pth", &file, &err), STATUS_NOT_FOUND);
}
END_TEST

UNIT_MAIN(
    "engine/torch_file", torch_file_reads_a_state_dict_in_its_order,
    torch_file_reads_strides_offsets_and_shared_storages, torch_file_makes_floats_of_every_dtype_as_pytorch_does,
    torch_file_finds_the_state_dict_of_a_checkpoint_and_skips_the_rest,
    torch_file_takes_off_what_wrappers_put_before_names,
    torch_file_reads_the_old_format_and_archives_of_other_writers,
    torch_file_prints_a_module_of_every_layer_as_pytorch_does,
    torch_file_says_of_user_classes_that_their_order_is_assumed,
    torch_file_gives_the_reference_models_the_tensors_of_their_safetensors,
    torch_file_declines_programs_with_the_python_that_exports_what_is_read,
    torch_file_refuses_tensors_that_are_not_plain_by_name,
    torch_file_refuses_what_is_no_state_dict_and_names_what_it_is, torch_file_refuses_calls_ids_and_opcodes_by_name,
    torch_file_refuses_containers_of_torch_that_do_more_than_to_run_their_children,
    torch_file_refuses_tensors_that_reach_beyond_their_storage, torch_file_refuses_negative_and_huge_numbers,
    torch_file_bounds_what_repeated_elements_may_grow_to, torch_file_refuses_a_name_that_stands_twice,
    torch_file_refuses_keys_that_are_no_names, torch_file_refuses_modules_that_nest_too_deeply_or_hold_themselves,
    torch_file_refuses_modules_that_double,
    torch_file_refuses_class_and_module_names_that_would_break_the_structure,
    torch_file_refuses_layers_without_the_attributes_that_they_show, torch_file_bounds_the_number_of_tensors,
    torch_file_reads_the_same_or_nothing_after_a_byte_was_flipped,
    torch_file_takes_or_refuses_every_flipped_byte_where_nothing_has_a_check_sum, torch_file_refuses_every_cut,
    torch_file_refuses_files_of_other_kinds, torch_file_checks_the_records_of_byte_order_and_version,
    torch_file_bounds_the_bytes_of_names_that_are_shared)
