/* Structure text: what is accepted is printed back to the letter (white space at the ends of lines and of the text
 * aside), and what is refused says why. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/structure.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* `text` as the printer writes it: no byte order mark, "\n" between lines, no white space at their ends. */
static char *normalise(const char *text, size_t len)
{
    char *copy = malloc(len + 1), *to = copy;
    const char *end = text + len;
    if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3;
    for (; text < end; text++) {
        if (*text == '\n' && to > copy && to[-1] == '\r')
            to--;
        while (*text == '\n' && to > copy && to[-1] == ' ')
            to--;
        *to++ = *text;
    }
    while (to > copy && strchr("\r\n ", to[-1]))
        to--;
    *to = '\0';
    return copy;
}

static void check_argument(const struct module *module, const char *key)
{
    const char *value, *end = module->arguments + strlen(module->arguments);
    size_t len;
    if (module_argument(module, key, &value, &len)) {
        assert(value > module->arguments && value + len <= end);
        assert(value[-1] == '=');
    }
}

static void check_tree(const struct module *module)
{
    check_argument(module, "in_features");
    check_argument(module, "a");
    assert(strchr(module->name, '.') == NULL);
    assert(module->child_count == 0 || module->arguments[0] == '\0');
    for (size_t i = 0; i < module->child_count; i++)
        check_tree(module->children[i]);
}

static void check_accepted(const char *text, size_t len, struct module *root)
{
    char *printed = structure_print(root), *expected = normalise(text, len);
    assert(strcmp(printed, expected) == 0);
    assert(root->name[0] == '\0');
    check_tree(root);
    free(expected);
    free(printed);
    module_free(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct module *root = NULL;
    struct error err = {.status = STATUS_OK};
    enum status status = structure_parse((const char *)data, size, &root, &err);
    if (status == STATUS_OK)
        check_accepted((const char *)data, size, root);
    else
        assert(root == NULL && err.status == status && err.message[0] != '\0' && err.hint[0] != '\0');
    return 0;
}
