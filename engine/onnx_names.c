#include "engine/onnx_names.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum { PATH_BYTES_MAX = 256, LEVELS_MAX = 32, INDENT = 2 };

/* Paths that are being made; NULL for a layer that has none yet. */
struct naming {
    const struct onnx_graph *graph;
    const struct onnx_layers *layers;
    const char **paths;
    size_t made_up; /* names that needed a number to differ */
    struct error *err;
};

/* ---- Paths ---- */

/* Bytes of the container's path: "a.b" of "a.b.c"; 0 for one in the root. */
static size_t parent_bytes(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? (size_t)(dot - path) : 0;
}

/* Bytes of the containers that hold both. */
static size_t common_bytes(const char *a, const char *b)
{
    size_t common = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '.')
            common = i;
    return common;
}

static bool is_inside(const char *path, const char *container)
{
    size_t len = strlen(container);
    return strncmp(path, container, len) == 0 && (path[len] == '.' || path[len] == '\0');
}

/* Components without brackets, none of them empty. */
static bool is_path(const char *path)
{
    size_t len = strlen(path), levels = 1;
    if (len == 0 || len >= PATH_BYTES_MAX || !utf8_is_printable(path, len) || strpbrk(path, "()[]{}'\"/: "))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (path[i] != '.')
            continue;
        levels++;
        if (i == 0 || path[i + 1] == '.' || path[i + 1] == '\0')
            return false;
    }
    return levels < LEVELS_MAX;
}

/* ---- What the file says ---- */

static const char *metadata(const struct onnx_layer *layer, const char *key)
{
    const Onnx__Node *proto = layer->node->proto;
    for (size_t i = 0; i < proto->n_metadata_props; i++)
        if (proto->metadata_props[i]->key && strcmp(proto->metadata_props[i]->key, key) == 0)
            return proto->metadata_props[i]->value;
    return NULL;
}

/* Item i, counted from the list's end, of a Python list of strings, "['', 'a', 'a.0']". False if there is none. */
static bool list_item_from_end(const char *list, size_t i, const char **ret_item, size_t *ret_len)
{
    const char *end = list + strlen(list);
    for (;; i--) {
        const char *last = end;
        while (last > list && last[-1] != '\'')
            last--;
        const char *first = last > list ? last - 1 : list;
        while (first > list && first[-1] != '\'')
            first--;
        if (first == list)
            return false;
        if (i == 0) {
            *ret_item = first;
            *ret_len = (size_t)(last - 1 - first);
            return true;
        }
        end = first - 1;
    }
}

/* dynamo says the modules around a node, and the class of each: the layer's is the last but one of both lists, in front
 * of the operator's own. */
static const char *name_by_metadata(const struct naming *naming, const struct onnx_layer *layer)
{
    const char *scopes = metadata(layer, "pkg.torch.onnx.name_scopes"), *scope;
    const char *classes = metadata(layer, "pkg.torch.onnx.class_hierarchy"), *class;
    size_t scope_len, class_len, len = strlen(layer->class_name);
    if (!scopes || !classes || !list_item_from_end(scopes, 1, &scope, &scope_len) ||
        !list_item_from_end(classes, 1, &class, &class_len))
        return NULL;
    if (class_len <= len || class[class_len - len - 1] != '.' ||
        memcmp(class + class_len - len, layer->class_name, len) != 0)
        return NULL;
    return onnx_file_print(naming->graph->file, "%.*s", (int)scope_len, scope);
}

/* "a.0" of an initializer "a.0.weight" that is the layer's weight. */
static const char *name_by_parameter(const struct naming *naming, const struct onnx_layer *layer)
{
    for (size_t i = 0; i < layer->parameter_count; i++) {
        const char *name = naming->graph->values[layer->parameters[i].value].name;
        size_t len = strlen(name), suffix = strlen(layer->parameters[i].suffix);
        if (len > suffix + 1 && name[len - suffix - 1] == '.' &&
            strcmp(name + len - suffix, layer->parameters[i].suffix) == 0)
            return onnx_file_print(naming->graph->file, "%.*s", (int)(len - suffix - 1), name);
    }
    return NULL;
}

/* TorchScript names a node "/stack/stack.0/Gemm", or "/block/fc/Gemm" for the module block.fc. */
static const char *name_by_node(const struct naming *naming, const struct onnx_layer *layer)
{
    const char *name = layer->node->proto->name, *end = name ? strrchr(name, '/') : NULL;
    char path[PATH_BYTES_MAX] = "";
    size_t len = 0;
    if (!end || name[0] != '/')
        return NULL;
    for (const char *at = name + 1; at < end;) {
        size_t part = strcspn(at, "/");
        bool repeats = part > len && len > 0 && strncmp(at, path, len) == 0 && at[len] == '.';
        int n = snprintf(repeats ? path : path + len, sizeof path - (repeats ? 0 : len), "%s%.*s",
                         len > 0 && !repeats ? "." : "", (int)part, at);
        len = repeats ? (size_t)n : len + (size_t)n;
        if (len >= sizeof path)
            return NULL;
        at += part + 1;
    }
    return onnx_file_print(naming->graph->file, "%s", path);
}

/* Whether an earlier layer has that name: an exporter may keep one initializer for two layers with equal values. */
static bool is_given(const struct naming *naming, size_t end, const char *path)
{
    for (size_t i = 0; i < end; i++)
        if (naming->paths[i] && strcmp(naming->paths[i], path) == 0)
            return true;
    return false;
}

static void take_names(struct naming *naming)
{
    for (size_t i = 0; i < naming->layers->count; i++) {
        const struct onnx_layer *layer = &naming->layers->layers[i];
        const char *path = name_by_metadata(naming, layer);
        if (!path || !is_path(path))
            path = name_by_parameter(naming, layer);
        if (!path || !is_path(path) || is_given(naming, i, path))
            path = name_by_node(naming, layer);
        naming->paths[i] = path && is_path(path) ? path : NULL;
    }
}

/* ---- Contradictions ---- */

/* A layer is no container: of two names, one inside the other, that of the layer without parameters goes, or else the
 * later one. */
static void drop_containers(struct naming *naming)
{
    const struct onnx_layer *layers = naming->layers->layers;
    const char **paths = naming->paths;
    for (size_t i = 0; i < naming->layers->count; i++)
        for (size_t k = 0; k < i && paths[i]; k++) {
            if (!paths[k] || (!is_inside(paths[i], paths[k]) && !is_inside(paths[k], paths[i])))
                continue;
            if (layers[k].parameter_count == 0 && layers[i].parameter_count > 0)
                paths[k] = NULL;
            else
                paths[i] = NULL;
        }
}

/* A container whose layers do not stand together would be printed twice: the later name goes. */
static void drop_scattered(struct naming *naming)
{
    const char **paths = naming->paths, *previous = NULL;
    for (size_t i = 0; i < naming->layers->count; i++) {
        if (!paths[i])
            continue;
        size_t open = previous ? common_bytes(paths[i], previous) : 0;
        for (size_t k = 0; k < i && paths[i]; k++)
            if (paths[k] && common_bytes(paths[i], paths[k]) > open)
                paths[i] = NULL;
        if (paths[i])
            previous = paths[i];
    }
}

/* ---- Names that are made up ---- */

/* Layers without a name that follow each other, between two that have one. */
struct gap {
    size_t first, end;
    const char *before, *after; /* names around it, or NULL at the model's ends */
    const char *container;      /* in which they are put */
    size_t container_bytes;
};

static struct gap find_gap(const struct naming *naming, size_t first)
{
    struct gap gap = {.first = first, .end = first, .container = ""};
    while (gap.end < naming->layers->count && !naming->paths[gap.end])
        gap.end++;
    gap.before = first > 0 ? naming->paths[first - 1] : NULL;
    gap.after = gap.end < naming->layers->count ? naming->paths[gap.end] : NULL;
    if (gap.before) {
        gap.container = gap.before;
        gap.container_bytes = gap.after ? common_bytes(gap.before, gap.after) : parent_bytes(gap.before);
    }
    return gap;
}

/* The number that a name has in the gap's container, "2" or "2.act"; `otherwise` for another name, -1 for none. */
static long number_in(const struct gap *gap, const char *path, long otherwise)
{
    char *end;
    if (!path)
        return otherwise;
    const char *name = path + gap->container_bytes + (gap->container_bytes > 0);
    long number = strtol(name, &end, 10);
    bool is_number = isdigit((unsigned char)*name) && (*end == '\0' || *end == '.') && number < 1000000;
    return is_number ? number : -2;
}

static bool is_taken(const struct naming *naming, const char *path)
{
    for (size_t i = 0; i < naming->layers->count; i++)
        if (naming->paths[i] && (is_inside(naming->paths[i], path) || is_inside(path, naming->paths[i])))
            return true;
    return false;
}

/* A name in the gap's container; NULL if there is no memory for it. */
static const char *name_in(const struct naming *naming, const struct gap *gap, const char *name)
{
    return onnx_file_print(naming->graph->file, "%.*s%s%s", (int)gap->container_bytes, gap->container,
                           gap->container_bytes > 0 ? "." : "", name);
}

/* "relu", or "relu_1" and so on where that is taken. The number only grows, so that many layers take no long search. */
static const char *name_by_class(struct naming *naming, const struct gap *gap, size_t i)
{
    const char *class_name = naming->layers->layers[i].class_name, *path;
    char lower[64] = "", numbered[96];
    for (size_t k = 0; class_name[k] != '\0' && k + 1 < sizeof lower; k++)
        lower[k] = (char)tolower((unsigned char)class_name[k]);
    path = name_in(naming, gap, lower);
    while (path && is_taken(naming, path)) {
        snprintf(numbered, sizeof numbered, "%s_%zu", lower, ++naming->made_up);
        path = name_in(naming, gap, numbered);
    }
    return path;
}

/* The numbers between its neighbours' if there is room, as in a Sequential; else after their classes. */
static enum status fill_gap(struct naming *naming, const struct gap *gap)
{
    long before = number_in(gap, gap->before, -1), after = number_in(gap, gap->after, 1000000);
    bool numbered = before >= -1 && after >= 0 && before + (long)(gap->end - gap->first) < after;
    for (size_t i = gap->first; i < gap->end; i++) {
        char number[24];
        snprintf(number, sizeof number, "%ld", before + 1 + (long)(i - gap->first));
        const char *path = numbered ? name_in(naming, gap, number) : NULL;
        if (!path || is_taken(naming, path))
            path = name_by_class(naming, gap, i);
        if (!path)
            return onnx_file_refuse_memory(naming->graph->file, naming->err);
        naming->paths[i] = path;
    }
    return STATUS_OK;
}

static enum status fill_gaps(struct naming *naming)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < naming->layers->count; i++) {
        if (naming->paths[i])
            continue;
        struct gap gap = find_gap(naming, i);
        status = fill_gap(naming, &gap);
    }
    return status;
}

enum status onnx_names_create(const struct onnx_graph *graph, const struct onnx_layers *layers,
                              const char *const **ret_paths, struct error *err)
{
    struct naming naming = {.graph = graph, .layers = layers, .err = err};
    naming.paths = onnx_file_alloc(graph->file, layers->count + 1, sizeof *naming.paths);
    if (!naming.paths)
        return onnx_file_refuse_memory(graph->file, err);
    take_names(&naming);
    drop_containers(&naming);
    drop_scattered(&naming);
    enum status status = fill_gaps(&naming);
    if (status == STATUS_OK)
        *ret_paths = naming.paths;
    return status;
}

/* ---- The structure's text ---- */

/* The class that dynamo says a container has, the root for `bytes` 0; "Sequential" if it says none. */
static void print_class(FILE *out, const struct onnx_layer *layer, const char *path, size_t bytes)
{
    const char *scopes = metadata(layer, "pkg.torch.onnx.name_scopes"), *scope;
    const char *classes = metadata(layer, "pkg.torch.onnx.class_hierarchy"), *class;
    size_t scope_len, class_len;
    for (size_t i = 2; scopes && classes && i < LEVELS_MAX; i++) {
        if (!list_item_from_end(scopes, i, &scope, &scope_len) ||
            !list_item_from_end(classes, i, &class, &class_len))
            break;
        if (scope_len != bytes || memcmp(scope, path, bytes) != 0)
            continue;
        size_t start = class_len;
        while (start > 0 && (isalnum((unsigned char)class[start - 1]) || class[start - 1] == '_'))
            start--;
        if (start < class_len && (start == 0 || class[start - 1] == '.')) {
            fprintf(out, "%.*s(\n", (int)(class_len - start), class + start);
            return;
        }
    }
    fputs("Sequential(\n", out);
}

static int count_levels(const char *path, size_t bytes)
{
    int levels = bytes > 0;
    for (size_t i = 0; i < bytes; i++)
        levels += path[i] == '.';
    return levels;
}

/* Closes containers of `path` until that of `bytes` bytes is the innermost. */
static void close_containers(FILE *out, const char *path, size_t bytes)
{
    int open = count_levels(path, parent_bytes(path)), keep = count_levels(path, bytes);
    for (; open > keep; open--)
        fprintf(out, "%*s)\n", open * INDENT, "");
}

/* Opens those of `path` behind its first `bytes` bytes, and leaves the place of the layer's own name in *ret_name. */
static void open_containers(FILE *out, const struct onnx_layer *layer, const char *path, size_t bytes,
                            const char **ret_name)
{
    int level = count_levels(path, bytes) + 1;
    const char *name = path + bytes + (bytes > 0);
    for (const char *dot; (dot = strchr(name, '.')) != NULL; name = dot + 1, level++) {
        fprintf(out, "%*s(%.*s): ", level * INDENT, "", (int)(dot - name), name);
        print_class(out, layer, path, (size_t)(dot - path));
    }
    fprintf(out, "%*s", level * INDENT, "");
    *ret_name = name;
}

char *onnx_names_structure(const struct onnx_layers *layers, const char *const *paths)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    if (layers->count == 0)
        fputs("Sequential()\n", out);
    else
        print_class(out, &layers->layers[0], "", 0);
    for (size_t i = 0; i < layers->count; i++) {
        const struct onnx_layer *layer = &layers->layers[i];
        const char *name = NULL;
        size_t common = i > 0 ? common_bytes(paths[i], paths[i - 1]) : 0;
        if (i > 0)
            close_containers(out, paths[i - 1], common);
        open_containers(out, layer, paths[i], common, &name);
        fprintf(out, "(%s): %s(%s)\n", name, layer->class_name, layer->arguments ? layer->arguments : "");
    }
    if (layers->count > 0) {
        close_containers(out, paths[layers->count - 1], 0);
        fputs(")\n", out);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
