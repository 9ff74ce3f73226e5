#include "engine/structure.h"

#include <string.h>

#include "tests/unit/unit.h"

static const char TUTORIAL[] = "NeuralNetwork(\n"
                               "  (flatten): Flatten(start_dim=1, end_dim=-1)\n"
                               "  (linear_relu_stack): Sequential(\n"
                               "    (0): Linear(in_features=784, out_features=512, bias=True)\n"
                               "    (1): ReLU()\n"
                               "  )\n"
                               ")";

static struct module *parse(const char *text)
{
    struct error err;
    struct module *root = NULL;
    enum status status = structure_parse(text, strlen(text), &root, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
    return root;
}

static void check_round_trip(const char *text, const char *expected)
{
    struct module *root = parse(text);
    char *printed = structure_print(root);
    ck_assert_str_eq(printed, expected);
    free(printed);
    module_free(root);
}

/* Checks that the text is refused with a hint, that the message holds `what`, and that the output is untouched. */
static void check_refused(const char *text, size_t len, const char *what)
{
    struct error err;
    struct module *root = NULL;
    ck_assert_int_eq(structure_parse(text, len, &root, &err), STATUS_INVALID);
    ck_assert_ptr_null(root);
    ck_assert_msg(strstr(err.message, what) != NULL, "\"%s\" has no \"%s\"", err.message, what);
}

static void refused(const char *text, const char *what)
{
    check_refused(text, strlen(text), what);
}

START_TEST(structure_reads_names_classes_and_arguments_in_order)
{
    struct module *root = parse(TUTORIAL);
    ck_assert_str_eq(root->name, "");
    ck_assert_str_eq(root->class_name, "NeuralNetwork");
    ck_assert_str_eq(root->arguments, "");
    ck_assert_uint_eq(root->child_count, 2);
    ck_assert_str_eq(root->children[0]->name, "flatten");
    ck_assert_str_eq(root->children[0]->arguments, "start_dim=1, end_dim=-1");
    const struct module *stack = root->children[1];
    ck_assert_str_eq(stack->class_name, "Sequential");
    ck_assert_uint_eq(stack->child_count, 2);
    ck_assert_str_eq(stack->children[1]->name, "1");
    ck_assert_str_eq(stack->children[1]->class_name, "ReLU");
    module_free(root);
}
END_TEST

START_TEST(structure_prints_back_to_the_letter)
{
    check_round_trip(TUTORIAL, TUTORIAL);
    check_round_trip("Sequential()", "Sequential()");
    check_round_trip("Linear(in_features=3, out_features=2, bias=True)",
                     "Linear(in_features=3, out_features=2, bias=True)");
    const char *odd = "Sequential(\n"
                      "  (norm): LayerNorm((512,), eps=1e-05, elementwise_affine=True)\n"
                      "  (un flatten): Unflatten(dim=1, unflattened_size=(1, 28, 28))\n"
                      "  (g): GELU(approximate='none')\n"
                      "  (q): Odd(text='a ) in quotes', it isn't closed)\n"
                      "  (e): Sequential()\n"
                      ")";
    check_round_trip(odd, odd);
}
END_TEST

START_TEST(structure_accepts_any_line_ends_and_white_space_behind_the_text)
{
    check_round_trip("Sequential(\r\n  (0): ReLU()\r\n)\r\n", "Sequential(\n  (0): ReLU()\n)");
    check_round_trip("ReLU()\n\n  \n\r\n", "ReLU()");
    check_round_trip("Sequential( \n  (0): ReLU()  \n)  ", "Sequential(\n  (0): ReLU()\n)");
    check_round_trip("\xEF\xBB\xBFReLU()", "ReLU()");
}
END_TEST

START_TEST(structure_refuses_what_is_no_module_with_the_line)
{
    refused("", "the text is empty");
    refused("\n", "line 1 is \"\"");
    refused("hello", "line 1 is \"hello\": a module is written as Class(arguments)");
    refused("Using cpu device\nReLU()", "line 1 is \"Using cpu device\"");
    refused("(0): ReLU()", "line 1");
    refused("Sequential(\n  (0): None\n)", "line 2 is \"  (0): None\"");
    refused("Sequential(\n  (0): Linear(a=1\n)",
            "line 2 is \"  (0): Linear(a=1\": the \")\" of this module is missing");
    refused("Linear(a=1))", "line 1 is \"Linear(a=1))\": brackets in the arguments do not match");
    refused("Linear(a=(1])", "brackets in the arguments do not match");
    refused("Linear(a=(1)", "brackets in the arguments do not match");
}
END_TEST

START_TEST(structure_refuses_children_that_are_not_name_and_module)
{
    refused("Sequential(\n  0: ReLU()\n)", "line 2 is \"  0: ReLU()\": a child, written as (name): Class(...)");
    refused("Sequential(\n  (): ReLU()\n)", "a child is written as (name): Class(...)");
    refused("Sequential(\n  (a.b): ReLU()\n)", "a child is written as (name): Class(...)");
    refused("Sequential(\n  (a(b)): ReLU()\n)", "a child is written as (name): Class(...)");
    refused("Sequential(\n  (a):ReLU()\n)", "a child is written as (name): Class(...)");
    refused("Sequential(\n  (a", "a child is written as (name): Class(...)");
    refused("Odd(\n  scale=2\n  (a): ReLU()\n)", "line 2 is \"  scale=2\"");
    refused("Sequential(\n  (a): ReLU()\n  (a): ReLU()\n)", "line 3 is \"  (a): ReLU()\": its parent already has");
}
END_TEST

/* ---- Equal children of a ModuleList ---- */

static const char LIST[] = "ModuleList(\n"
                           "  (0-1): 2 x Sequential(\n"
                           "    (list): ModuleList(\n"
                           "      (0-2): 3 x ReLU()\n"
                           "    )\n"
                           "  )\n"
                           "  (2): ReLU()\n"
                           "  (3-4): 2 x Linear(in_features=1, out_features=1, bias=True)\n"
                           ")";

START_TEST(structure_makes_equal_children_of_a_list_as_many_modules_as_they_are)
{
    struct module *root = parse(LIST);
    static const char *const names[] = {"0", "1", "2", "3", "4"};
    ck_assert_uint_eq(root->child_count, 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_str_eq(root->children[i]->name, names[i]);
    const struct module *inner = root->children[1]->children[0];
    ck_assert_uint_eq(inner->child_count, 3);
    ck_assert_str_eq(inner->children[2]->name, "2");
    ck_assert_str_eq(inner->children[2]->class_name, "ReLU");
    ck_assert_str_eq(root->children[4]->arguments, "in_features=1, out_features=1, bias=True");
    module_free(root);
    check_round_trip(LIST, LIST);
}
END_TEST

/* Older PyTorch wrote each on a line of its own; a tree that was made by hand is marked to print as the newer does. */
START_TEST(structure_prints_equal_children_as_they_were_written_until_they_are_marked)
{
    static const char old[] = "Net(\n  (a): ModuleList(\n    (0): ReLU()\n    (1): ReLU()\n    (2): Tanh()\n  )\n"
                              "  (b): Sequential(\n    (0): ReLU()\n    (1): ReLU()\n  )\n)";
    check_round_trip(old, old);
    struct module *root = parse(old);
    ck_assert(structure_mark_runs(root));
    char *printed = structure_print(root);
    ck_assert_str_eq(printed, "Net(\n  (a): ModuleList(\n    (0-1): 2 x ReLU()\n    (2): Tanh()\n  )\n"
                              "  (b): Sequential(\n    (0): ReLU()\n    (1): ReLU()\n  )\n)");
    free(printed);
    module_free(root);
    root = parse(LIST);
    ck_assert(structure_mark_runs(root));
    printed = structure_print(root);
    ck_assert_str_eq(printed, LIST);
    free(printed);
    module_free(root);
}
END_TEST

START_TEST(structure_takes_for_a_run_only_what_is_written_as_one)
{
    check_round_trip("ModuleDict(\n  (0-2): ReLU()\n)", "ModuleDict(\n  (0-2): ReLU()\n)"); /* a key */
    refused("ModuleList(\n  (0-2): 2 x ReLU()\n)", "a module is written as Class(arguments)");
    refused("ModuleList(\n  (2-0): 3 x ReLU()\n)", "a module is written as Class(arguments)");
    refused("ModuleList(\n  (0-0): 1 x ReLU()\n)", "a module is written as Class(arguments)");
    refused("ModuleList(\n  (00-2): 3 x ReLU()\n)", "a module is written as Class(arguments)");
    refused("ModuleList(\n  (0-2):  3 x ReLU()\n)", "a module is written as Class(arguments)");
}
END_TEST

START_TEST(structure_refuses_runs_of_too_many_and_of_names_that_are_there)
{
    refused("ModuleList(\n  (0-4095): 4096 x ReLU()\n)", "more than the 4096 modules that are read");
    refused("ModuleList(\n  (0-999999998): 999999999 x ReLU()\n)", "more than the 4096 modules");
    refused("A(\n  (0-99): 100 x A(\n    (0-99): 100 x ReLU()\n  )\n)", "more than the 4096 modules");
    refused("ModuleList(\n  (0-2): 3 x ReLU()\n  (2): ReLU()\n)", "a ModuleList has two children (2)");
    refused("ModuleList(\n  (0-2): 3 x ReLU()\n  (0-1): 2 x ReLU()\n)", "already has a child of this name");
}
END_TEST

START_TEST(structure_refuses_wrong_indentation_and_brackets_that_do_not_close)
{
    refused("Sequential(\n   (0): ReLU()\n)",
            "it is indented by 3 blanks, 2 were expected for a child, 0 for a \")\"");
    refused("Sequential(\n(0): ReLU()\n)", "it is indented by 0 blanks, 2 were expected");
    refused("Sequential(\n  (0): ReLU()\n  )", "line 3 is \"  )\": it is indented by 2 blanks");
    refused("Sequential(\n  (0): ReLU()\n", "the text ends after line 2, where 1 \")\" are still missing");
    refused("Sequential(\n  (0): Sequential(\n    (0): ReLU()", "where 2 \")\" are still missing");
    refused("Sequential(\n)", "line 2 is \")\": it closes a module that has no children");
    refused("Sequential(\n\n  (0): ReLU()\n)", "a blank line");
    refused("ReLU()\n\nReLU()", "line 3 is \"ReLU()\": the model's text ended before it");
    refused("ReLU()\n)", "line 2");
}
END_TEST

START_TEST(structure_refuses_bytes_that_are_no_text)
{
    check_refused("Re\0LU()", 7, "line 1 holds a NUL");
    refused("Sequential(\n\t(0): ReLU()\n)", "line 2 holds");
    refused("Sequential(\n  (\xFF): ReLU()\n)", "line 2 holds");
    check_refused("\xFF\xFER\0e\0", 6, "line 1 holds");
    refused("ReLU()\n\x1B[0m", "line 2 holds");
}
END_TEST

START_TEST(structure_messages_cut_long_lines)
{
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    refused(text, "xxx...\": a module is written as");
}
END_TEST

/* `levels` containers inside each other, the innermost an empty one on its line. */
static char *nested(int levels)
{
    char *text = calloc((size_t)levels + 2, 2 * (size_t)levels + 32), *at = text;
    at += sprintf(at, levels > 1 ? "A(\n" : "A()");
    for (int i = 1; i < levels; i++)
        at += sprintf(at, i + 1 < levels ? "%*s(a): A(\n" : "%*s(a): A()\n", 2 * i, "");
    for (int i = levels - 2; i >= 0; i--)
        at += sprintf(at, "%*s)\n", 2 * i, "");
    return text;
}

START_TEST(structure_reads_64_levels_with_children_and_no_more)
{
    char *text = nested(65); /* 64 containers, and a leaf in the last */
    struct module *root = parse(text);
    char *printed = structure_print(root);
    text[strlen(text) - 1] = '\0';
    ck_assert_str_eq(printed, text);
    free(printed);
    module_free(root);
    free(text);
    text = nested(66);
    refused(text, "one level more than the 64");
    free(text);
}
END_TEST

static char *wide(int children)
{
    char *text = malloc((size_t)children * 24 + 32), *at = text;
    at += sprintf(at, "S(\n");
    for (int i = 0; i < children; i++)
        at += sprintf(at, "  (%d): ReLU()\n", i);
    sprintf(at, ")");
    return text;
}

START_TEST(structure_reads_4096_modules_and_no_more)
{
    char *text = wide(4095);
    check_round_trip(text, text);
    free(text);
    text = wide(4096);
    refused(text, "line 4097 is \"  (4095): ReLU()\": this is one module more than the 4096");
    free(text);
}
END_TEST

static void check_argument(const char *text, const char *key, const char *expected)
{
    struct module *root = parse(text);
    const char *value = NULL;
    size_t len = 0;
    ck_assert_int_eq(module_argument(root, key, &value, &len), expected != NULL);
    if (expected) {
        ck_assert_uint_eq(len, strlen(expected));
        ck_assert_mem_eq(value, expected, len);
    }
    module_free(root);
}

START_TEST(module_argument_finds_a_value_by_its_whole_key)
{
    const char *linear = "Linear(in_features=784, out_features=512, bias=True)";
    check_argument(linear, "in_features", "784");
    check_argument(linear, "out_features", "512");
    check_argument(linear, "bias", "True");
    check_argument(linear, "features", NULL);
    check_argument(linear, "in", NULL);
    check_argument(linear, "True", NULL);
    check_argument("ReLU()", "inplace", NULL);
    check_argument("ReLU(inplace)", "inplace", NULL);
    check_argument("ReLU(inplace=)", "inplace", "");
}
END_TEST

START_TEST(module_argument_does_not_look_into_brackets_and_quotes)
{
    check_argument("U(dim=1, size=(1, bias=2), bias=3)", "bias", "3");
    check_argument("U(dim=1, size=(1, bias=2), bias=3)", "size", "(1, bias=2)");
    check_argument("U(text=', bias=2', bias=3)", "bias", "3");
    check_argument("U(text='\\', bias=2', bias=3)", "bias", "3");
    check_argument("U(it isn't, bias=3)", "bias", "3");
}
END_TEST

UNIT_MAIN("engine/structure", structure_reads_names_classes_and_arguments_in_order,
          structure_prints_back_to_the_letter, structure_accepts_any_line_ends_and_white_space_behind_the_text,
          structure_refuses_what_is_no_module_with_the_line,
          structure_refuses_children_that_are_not_name_and_module,
          structure_makes_equal_children_of_a_list_as_many_modules_as_they_are,
          structure_prints_equal_children_as_they_were_written_until_they_are_marked,
          structure_takes_for_a_run_only_what_is_written_as_one,
          structure_refuses_runs_of_too_many_and_of_names_that_are_there,
          structure_refuses_wrong_indentation_and_brackets_that_do_not_close,
          structure_refuses_bytes_that_are_no_text, structure_messages_cut_long_lines,
          structure_reads_64_levels_with_children_and_no_more, structure_reads_4096_modules_and_no_more,
          module_argument_finds_a_value_by_its_whole_key, module_argument_does_not_look_into_brackets_and_quotes)
