/* Structures from keys and shapes alone. Tensors have no values here: none is looked at. */
#include "engine/structure_infer.h"

#include <string.h>

#include "tests/unit/unit.h"

enum { TENSORS_MAX = 1200, NAME_MAX_BYTES = 96 };

static char names[TENSORS_MAX][NAME_MAX_BYTES];
static struct tensor tensors[TENSORS_MAX];
static struct state_dict dict = {.tensors = tensors};

static void add(const char *name, size_t dims, size_t first, size_t second)
{
    ck_assert_uint_lt(dict.count, TENSORS_MAX);
    snprintf(names[dict.count], NAME_MAX_BYTES, "%s", name);
    tensors[dict.count] = (struct tensor){.name = names[dict.count],
                                          .dtype = "torch.float32",
                                          .shape = {first, second, 1, 1},
                                          .dims = dims,
                                          .count = dims == 1 ? first : first * second};
    dict.count++;
}

/* NAME.weight of (out, in). */
static void add_linear(const char *name, size_t in, size_t out)
{
    char key[NAME_MAX_BYTES];
    snprintf(key, sizeof key, "%s%sweight", name, *name ? "." : "");
    add(key, 2, out, in);
}

static void expect(const char *structure, const char *in_note)
{
    struct module *root = NULL;
    struct error err = {0};
    char *note = NULL;
    enum status status = structure_infer(&dict, &root, &note, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    char *text = structure_print(root);
    ck_assert_str_eq(text, structure);
    ck_assert_msg(strstr(note, in_note) != NULL, "\"%s\" is not in: %s", in_note, note);
    ck_assert_ptr_nonnull(strstr(note, "structure.txt"));
    free(text);
    free(note);
    module_free(root);
    dict.count = 0;
}

static void expect_refusal(const char *in_message)
{
    struct module *root = NULL;
    struct error err = {0};
    char *note = NULL;
    ck_assert_int_eq(structure_infer(&dict, &root, &note, &err), STATUS_UNSUPPORTED);
    ck_assert_ptr_null(root);
    ck_assert_ptr_null(note);
    ck_assert_msg(strstr(err.message, in_message) != NULL, "\"%s\" is not in: %s", in_message, err.message);
    ck_assert_msg(strstr(err.hint, "write(f\"{model}\\n\")") != NULL, "%s", err.hint);
    dict.count = 0;
}

START_TEST(structure_infer_puts_relu_between_and_nothing_behind_the_last)
{
    add_linear("4", 5, 3);
    add_linear("0", 7, 5);
    add("0.bias", 1, 5, 1);
    add_linear("2", 5, 5);
    expect("Sequential(\n"
           "  (0): Linear(in_features=7, out_features=5, bias=True)\n"
           "  (1): ReLU()\n"
           "  (2): Linear(in_features=5, out_features=5, bias=False)\n"
           "  (3): ReLU()\n"
           "  (4): Linear(in_features=5, out_features=3, bias=False)\n"
           ")",
           "7-5-5-3 in the order of 0, 2, 4");
}
END_TEST

START_TEST(structure_infer_counts_as_people_do)
{
    add_linear("fc10", 5, 5);
    add_linear("fc9", 5, 5);
    expect("Sequential(\n"
           "  (fc9): Linear(in_features=5, out_features=5, bias=False)\n"
           "  (fc9_relu): ReLU()\n"
           "  (fc10): Linear(in_features=5, out_features=5, bias=False)\n"
           ")",
           "fc9, fc10");
}
END_TEST

START_TEST(structure_infer_keeps_containers)
{
    add_linear("body.0", 7, 5);
    add_linear("body.1", 5, 4);
    add_linear("head", 4, 3);
    expect("Sequential(\n"
           "  (body): Sequential(\n"
           "    (0): Linear(in_features=7, out_features=5, bias=False)\n"
           "    (0_relu): ReLU()\n"
           "    (1): Linear(in_features=5, out_features=4, bias=False)\n"
           "    (2): ReLU()\n"
           "  )\n"
           "  (head): Linear(in_features=4, out_features=3, bias=False)\n"
           ")",
           "body.0, body.1, head");
}
END_TEST

START_TEST(structure_infer_takes_a_linear_without_a_name_for_the_model)
{
    add("weight", 2, 3, 4);
    add("bias", 1, 3, 1);
    expect("Linear(in_features=4, out_features=3, bias=True)", "4-3");
}
END_TEST

START_TEST(structure_infer_takes_the_order_of_the_shapes_where_names_say_none)
{
    add_linear("a", 4, 3);
    add_linear("b", 7, 5);
    add_linear("c", 5, 4);
    expect("Sequential(\n"
           "  (b): Linear(in_features=7, out_features=5, bias=False)\n"
           "  (b_relu): ReLU()\n"
           "  (c): Linear(in_features=5, out_features=4, bias=False)\n"
           "  (c_relu): ReLU()\n"
           "  (a): Linear(in_features=4, out_features=3, bias=False)\n"
           ")",
           "b, c, a");
}
END_TEST

START_TEST(structure_infer_refuses_several_orders_with_two_of_them)
{
    add_linear("in", 7, 5);
    add_linear("left", 5, 5);
    add_linear("right", 5, 5);
    expect_refusal("in, left, right; or in, right, left");
    add_linear("1", 5, 5);
    add_linear("01", 5, 5);
    expect_refusal("; or ");
}
END_TEST

START_TEST(structure_infer_refuses_what_does_not_follow_with_both_numbers)
{
    add_linear("0", 7, 5);
    add_linear("2", 4, 3);
    expect_refusal("\"0\" gives 5 features, and \"2\" takes 4");
    add_linear("2", 7, 5);
    add_linear("0", 5, 3);
    expect_refusal("\"0\" gives 3 features, and \"2\" takes 7");
}
END_TEST

START_TEST(structure_infer_refuses_parameters_of_other_layers)
{
    add_linear("0", 7, 5);
    add("1.weight", 1, 5, 1);
    expect_refusal("\"1.weight\" of shape (5,) leaves open what the model is: a BatchNorm1d, or a LayerNorm");
    add_linear("0", 7, 5);
    add("1.running_var", 1, 5, 1);
    expect_refusal("neither a weight nor a bias");
    add("0.weight", 4, 8, 3);
    expect_refusal("a convolution");
    add_linear("0", 7, 5);
    add("0.bias", 1, 4, 1);
    expect_refusal("no bias of a Linear");
    add("tag", 1, 4, 1);
    expect_refusal("\"tag\"");
    add("0.weight", 2, 0, 4);
    expect_refusal("no Linear has such a shape");
    add("0.weight", 2, 4, ((size_t)1 << 24) + 1);
    expect_refusal("no Linear has such a shape");
    expect_refusal("no Linear's weight");
}
END_TEST

START_TEST(structure_infer_refuses_names_that_are_none_of_modules)
{
    static const char *const odd[] = {"a b", "a(", ".a", "a.", "a..b", "a\nb", "\xC3\xA9"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        add_linear(odd[i], 4, 4);
        expect_refusal("its name is none of a module");
    }
    add_linear("a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", 4, 4);
    expect_refusal("its name is none of a module");
}
END_TEST

START_TEST(structure_infer_refuses_containers_that_run_twice)
{
    add_linear("a.0", 7, 6);
    add_linear("b.0", 6, 5);
    add_linear("a.2", 5, 4);
    expect_refusal("\"a.2\" would run between others");
    add_linear("a", 7, 6);
    add_linear("a.0", 6, 5);
    expect_refusal("\"a.0\" would run between others");
}
END_TEST

START_TEST(structure_infer_takes_a_thousand_layers_and_no_more)
{
    char name[32];
    for (size_t i = 0; i < 1024; i++) {
        snprintf(name, sizeof name, "%zu", 2 * i);
        add_linear(name, 2, 2);
    }
    struct module *root = NULL;
    struct error err = {0};
    char *note = NULL;
    enum status status = structure_infer(&dict, &root, &note, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    ck_assert_uint_eq(root->child_count, 2047);
    ck_assert_ptr_nonnull(strstr(note, "..."));
    module_free(root);
    free(note);
    add_linear("2048", 2, 2);
    expect_refusal("more Linear layers");
}
END_TEST

START_TEST(structure_infer_gives_up_on_too_many_orders)
{
    char name[32];
    for (size_t i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "%c%c", (char)('a' + i / 26), (char)('a' + i % 26));
        add_linear(name, 2, 2);
    }
    add_linear("zz", 9, 3); /* which none of them leads to, nor follows */
    expect_refusal("too many orders");
}
END_TEST

UNIT_MAIN("engine/structure_infer", structure_infer_puts_relu_between_and_nothing_behind_the_last,
          structure_infer_counts_as_people_do, structure_infer_keeps_containers,
          structure_infer_takes_a_linear_without_a_name_for_the_model,
          structure_infer_takes_the_order_of_the_shapes_where_names_say_none,
          structure_infer_refuses_several_orders_with_two_of_them,
          structure_infer_refuses_what_does_not_follow_with_both_numbers,
          structure_infer_refuses_parameters_of_other_layers,
          structure_infer_refuses_names_that_are_none_of_modules, structure_infer_refuses_containers_that_run_twice,
          structure_infer_takes_a_thousand_layers_and_no_more, structure_infer_gives_up_on_too_many_orders)
