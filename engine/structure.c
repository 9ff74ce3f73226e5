#include "engine/structure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/structure_runs.h"
#include "engine/utf8.h"

enum { LEVELS_MAX = 64, MODULES_MAX = 4096, INDENT = 2, SHOWN_MAX = 60 };

struct line {
    const char *text; /* without its end and the white space before that */
    size_t len;
};

struct parser {
    const char *at, *end;
    size_t line_number; /* of `line`, from 1 */
    struct line line;
    size_t modules;
    struct module *open[LEVELS_MAX]; /* containers whose ")" is to come, the root first */
    size_t depth;
    struct error *err;
};

/* ---- Refusals: each names the line, shows it, and says what was expected. ---- */

static enum status refuse(const struct parser *parser, const char *expected, const char *hint)
{
    int shown = utf8_cut(parser->line.text, parser->line.len, SHOWN_MAX);
    error_set(parser->err, STATUS_INVALID, "line %zu is \"%.*s%s\": %s", parser->line_number, shown,
              parser->line.text, (size_t)shown < parser->line.len ? "..." : "", expected);
    return error_hint(parser->err, "%s", hint);
}

static enum status refuse_memory(const struct parser *parser)
{
    return error_set(parser->err, STATUS_NO_MEMORY, "no memory for the module of line %zu", parser->line_number);
}

/* ---- Lines ---- */

static bool starts_with(const char *text, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(text, prefix, n) == 0;
}

/* Takes the next line, the "\r" of a CRLF and blanks at its end removed. False after the last one. */
static bool next_line(struct parser *parser)
{
    if (parser->at == parser->end)
        return false;
    size_t left = (size_t)(parser->end - parser->at);
    const char *newline = memchr(parser->at, '\n', left);
    size_t len = newline ? (size_t)(newline - parser->at) : left;
    parser->line.text = parser->at;
    parser->at += newline ? len + 1 : len;
    if (len > 0 && parser->line.text[len - 1] == '\r')
        len--;
    while (len > 0 && parser->line.text[len - 1] == ' ')
        len--;
    parser->line.len = len;
    parser->line_number++;
    return true;
}

static enum status check_bytes(const struct parser *parser)
{
    if (utf8_is_printable(parser->line.text, parser->line.len))
        return STATUS_OK;
    error_set(parser->err, STATUS_INVALID, "line %zu holds a NUL, a control character or bytes that are not UTF-8",
              parser->line_number);
    return error_hint(parser->err,
                      "save the text as UTF-8, indented with blanks; a shell that writes UTF-16 needs, "
                      "in Python: open(\"structure.txt\", \"w\").write(f\"{model}\\n\")");
}

/* The next line that is not blank, for what stands behind the root; false if there is none. */
static bool next_filled_line(struct parser *parser)
{
    while (next_line(parser))
        if (parser->line.len > 0)
            return true;
    return false;
}

/* ---- One module's text: Class(arguments) or Class( ---- */

static bool is_class_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

/* Behind the quoted string that begins at `at`; `at + 1` if it never ends, for then the quote is an apostrophe. */
static const char *skip_quoted(const char *at, const char *end)
{
    for (const char *p = at + 1; p < end; p++) {
        if (*p == *at)
            return p + 1;
        if (*p == '\\' && p + 1 < end)
            p++;
    }
    return at + 1;
}

enum { NESTING_MAX = 64 };

/* Follows brackets, quoted strings aside. `open` holds those that are to be closed. */
struct brackets {
    char open[NESTING_MAX];
    size_t depth;
};

/* False if `c` closes what is not open, or opens too much. */
static bool brackets_take(struct brackets *brackets, char c)
{
    if (c == ')' || c == ']' || c == '}')
        return brackets->depth > 0 && brackets->open[--brackets->depth] == c;
    if (c != '(' && c != '[' && c != '{')
        return true;
    if (brackets->depth == NESTING_MAX)
        return false;
    brackets->open[brackets->depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    return true;
}

/* The end of the argument that begins at `at`: its "," or `end`. NULL if brackets do not match. */
static const char *argument_end(const char *at, const char *end)
{
    struct brackets brackets = {.depth = 0};
    while (at < end && (*at != ',' || brackets.depth > 0)) {
        if (!brackets_take(&brackets, *at))
            return NULL;
        at = *at == '\'' || *at == '"' ? skip_quoted(at, end) : at + 1;
    }
    return brackets.depth == 0 ? at : NULL;
}

static bool arguments_are_balanced(const char *at, const char *end)
{
    while ((at = argument_end(at, end)) && at < end)
        at++;
    return at != NULL;
}

static struct module *module_create(struct line name, struct line class_name, struct line arguments)
{
    struct module *module = calloc(1, sizeof *module);
    if (!module)
        return NULL;
    module->name = strndup(name.text, name.len);
    module->class_name = strndup(class_name.text, class_name.len);
    module->arguments = strndup(arguments.text, arguments.len);
    if (module->name && module->class_name && module->arguments)
        return module;
    module_free(module);
    return NULL;
}

/* A line "Class(arguments)" or "Class(", taken apart. */
struct class_line {
    struct line class_name, arguments;
    bool is_container;
};

static enum status split_class(const struct parser *parser, struct line text, struct class_line *ret)
{
    size_t n = 0;
    while (n < text.len && is_class_byte(text.text[n]))
        n++;
    if (n == 0 || n == text.len || text.text[n] != '(')
        return refuse(parser, "a module is written as Class(arguments), or as Class( before its children",
                      "the text is what print(model) says in PyTorch, and nothing else");
    const char *arguments = text.text + n + 1, *end = text.text + text.len;
    bool is_container = arguments == end;
    if (!is_container && *--end != ')')
        return refuse(parser, "the \")\" of this module is missing", "close the bracket on the same line");
    if (!arguments_are_balanced(arguments, end))
        return refuse(parser, "brackets in the arguments do not match", "write the line as print(model) writes it");
    *ret = (struct class_line){{text.text, n}, {arguments, (size_t)(end - arguments)}, is_container};
    return STATUS_OK;
}

/* Makes the module of this text, and says in *ret_container whether its children follow. */
static enum status parse_class(struct parser *parser, struct line name, struct line text, struct module **ret,
                               bool *ret_container)
{
    struct class_line line = {0};
    enum status status = split_class(parser, text, &line);
    if (status != STATUS_OK)
        return status;
    if (parser->modules == MODULES_MAX)
        return refuse(parser, "this is one module more than the 4096 that are read",
                      "make several layers one, or serve a smaller model");
    struct module *module = module_create(name, line.class_name, line.arguments);
    if (!module)
        return refuse_memory(parser);
    parser->modules++;
    *ret = module;
    *ret_container = line.is_container;
    return STATUS_OK;
}

/* ---- Children ---- */

static enum status refuse_child(const struct parser *parser, struct line line)
{
    if (line.text[0] != '(')
        return refuse(parser, "a child, written as (name): Class(...), or the \")\" of its parent was expected",
                      "a module that has arguments and children is not read: remove the lines of its arguments");
    return refuse(parser, "a child is written as (name): Class(...)",
                  "names are Python attributes without dots and brackets");
}

/* A line "(name): Class(...)" or "(0-2): 3 x Class(...)", taken apart. */
struct child_line {
    struct line name, class_text;
    size_t run; /* 0 for the first form; then `name` is the first of as many */
};

static enum status split_child(const struct parser *parser, struct line line, struct child_line *ret)
{
    size_t n = 1, first, run, prefix;
    if (line.len == 0 || line.text[0] != '(')
        return refuse_child(parser, line);
    if (structure_run_read(line.text, line.len, &first, &run, &prefix)) {
        size_t digits = (size_t)((const char *)memchr(line.text, '-', prefix) - line.text) - 1;
        *ret = (struct child_line){{line.text + 1, digits}, {line.text + prefix, line.len - prefix}, run};
        return STATUS_OK;
    }
    while (n < line.len && !strchr("().", line.text[n]))
        n++;
    if (n == 1 || !starts_with(line.text + n, line.len - n, "): "))
        return refuse_child(parser, line);
    *ret = (struct child_line){{line.text + 1, n - 1}, {line.text + n + 3, line.len - n - 3}, 0};
    return STATUS_OK;
}

static bool has_child(const struct module *parent, struct line name)
{
    for (size_t i = 0; i < parent->child_count; i++)
        if (strlen(parent->children[i]->name) == name.len &&
            memcmp(parent->children[i]->name, name.text, name.len) == 0)
            return true;
    return false;
}

/* Capacities are powers of two, so that the count alone says when to grow. */
static bool append_child(struct module *parent, struct module *child)
{
    size_t n = parent->child_count;
    if ((n & (n - 1)) == 0) {
        struct module **children = realloc(parent->children, (n ? 2 * n : 1) * sizeof *children);
        if (!children)
            return false;
        parent->children = children;
    }
    parent->children[parent->child_count++] = child;
    return true;
}

static enum status open_container(struct parser *parser, struct module *module)
{
    if (parser->depth == LEVELS_MAX)
        return refuse(parser, "this is one level more than the 64 that are read",
                      "put the children of an inner nn.Sequential into the outer one");
    parser->open[parser->depth++] = module;
    return STATUS_OK;
}

static enum status parse_child(struct parser *parser, struct line line)
{
    struct module *parent = parser->open[parser->depth - 1], *child = NULL;
    struct child_line parts = {0};
    bool container = false;
    enum status status = split_child(parser, line, &parts);
    if (status != STATUS_OK)
        return status;
    if (has_child(parent, parts.name))
        return refuse(parser, "its parent already has a child of this name", "give each child its own name");
    status = parse_class(parser, parts.name, parts.class_text, &child, &container);
    if (status != STATUS_OK)
        return status;
    child->run = parts.run;
    if (!append_child(parent, child)) {
        module_free(child);
        return refuse_memory(parser);
    }
    return container ? open_container(parser, child) : STATUS_OK;
}

static enum status refuse_indent(const struct parser *parser, size_t indent)
{
    char expected[160];
    snprintf(expected, sizeof expected,
             "it is indented by %zu blanks, %zu were expected for a child, %zu for a \")\"", indent,
             parser->depth * INDENT, (parser->depth - 1) * INDENT);
    return refuse(parser, expected, "each level is indented by two blanks, as print(model) does it");
}

static enum status close_container(struct parser *parser)
{
    struct module *module = parser->open[parser->depth - 1];
    if (module->child_count == 0)
        return refuse(parser, "it closes a module that has no children",
                      "a module without children is written on one line, as Class()");
    parser->depth--;
    return STATUS_OK;
}

/* A line inside an open container: a child of it, or its ")". */
static enum status parse_inner_line(struct parser *parser)
{
    size_t indent = 0, want = parser->depth * INDENT;
    while (indent < parser->line.len && parser->line.text[indent] == ' ')
        indent++;
    struct line line = {parser->line.text + indent, parser->line.len - indent};
    bool closes = line.len == 1 && line.text[0] == ')';
    if (line.len == 0)
        return refuse(parser, "a blank line stands before the last \")\"", "remove it");
    if (indent != want - (closes ? INDENT : 0))
        return refuse_indent(parser, indent);
    return closes ? close_container(parser) : parse_child(parser, line);
}

/* ---- The whole ---- */

static enum status parse_root(struct parser *parser, struct module **ret_root)
{
    bool container = false;
    if (!next_line(parser)) {
        error_set(parser->err, STATUS_INVALID, "the text is empty; what print(model) says was expected");
        return error_hint(parser->err, "write it in Python: open(\"structure.txt\", \"w\").write(f\"{model}\\n\")");
    }
    enum status status = check_bytes(parser);
    if (status == STATUS_OK)
        status = parse_class(parser, (struct line){"", 0}, parser->line, ret_root, &container);
    if (status != STATUS_OK)
        return status;
    return container ? open_container(parser, *ret_root) : STATUS_OK;
}

static enum status parse_children(struct parser *parser)
{
    while (parser->depth > 0) {
        if (!next_line(parser)) {
            error_set(parser->err, STATUS_INVALID,
                      "the text ends after line %zu, where %zu \")\" are still missing", parser->line_number,
                      parser->depth);
            return error_hint(parser->err, "copy the whole of what print(model) says, its last line included");
        }
        enum status status = check_bytes(parser);
        if (status == STATUS_OK)
            status = parse_inner_line(parser);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status parse_end(struct parser *parser)
{
    if (!next_filled_line(parser))
        return STATUS_OK;
    enum status status = check_bytes(parser);
    if (status != STATUS_OK)
        return status;
    return refuse(parser, "the model's text ended before it",
                  "the file holds one model and nothing else; remove what follows");
}

enum status structure_parse(const char *text, size_t len, struct module **ret_root, struct error *err)
{
    struct parser parser = {.at = text, .end = text + len, .err = err};
    struct module *root = NULL;
    if (starts_with(text, len, "\xEF\xBB\xBF"))
        parser.at += 3; /* the byte order mark that some editors write */
    enum status status = parse_root(&parser, &root);
    if (status == STATUS_OK)
        status = parse_children(&parser);
    if (status == STATUS_OK)
        status = parse_end(&parser);
    if (status == STATUS_OK)
        status = structure_runs_expand(root, MODULES_MAX, err);
    if (status != STATUS_OK) {
        module_free(root);
        return status;
    }
    *ret_root = root;
    return STATUS_OK;
}

/* The depth of a tree is at most LEVELS_MAX + 1, and so is that of the recursions below. */

static void print_module(FILE *out, const struct module *module, int indent);

/* The child number `i` on a line of its own, or the run that begins with it. Returns how many children that were. */
static size_t print_child(FILE *out, const struct module *module, size_t i, int indent)
{
    const struct module *child = module->children[i];
    const size_t run = child->run > 1 && child->run <= module->child_count - i ? child->run : 1;
    if (run > 1)
        fprintf(out, "\n%*s(%s-%s): %zu x ", indent, "", child->name, module->children[i + run - 1]->name, run);
    else
        fprintf(out, "\n%*s(%s): ", indent, "", child->name);
    print_module(out, child, indent);
    return run;
}

static void print_module(FILE *out, const struct module *module, int indent)
{
    fprintf(out, "%s(%s", module->class_name, module->arguments);
    for (size_t i = 0; i < module->child_count;)
        i += print_child(out, module, i, indent + INDENT);
    if (module->child_count > 0)
        fprintf(out, "\n%*s", indent, "");
    putc(')', out);
}

char *structure_print(const struct module *root)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    print_module(out, root, 0);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

bool module_argument(const struct module *module, const char *key, const char **ret_value, size_t *ret_len)
{
    const char *at = module->arguments, *end = at + strlen(at);
    size_t key_len = strlen(key);
    while (at < end) {
        const char *next = argument_end(at, end);
        if (!next)
            return false;
        while (at < next && *at == ' ')
            at++;
        if ((size_t)(next - at) > key_len && memcmp(at, key, key_len) == 0 && at[key_len] == '=') {
            *ret_value = at + key_len + 1;
            *ret_len = (size_t)(next - *ret_value);
            return true;
        }
        at = next < end ? next + 1 : end;
    }
    return false;
}

void module_free(struct module *root)
{
    if (!root)
        return;
    for (size_t i = 0; i < root->child_count; i++)
        module_free(root->children[i]);
    free(root->children);
    free(root->name);
    free(root->class_name);
    free(root->arguments);
    free(root);
}
