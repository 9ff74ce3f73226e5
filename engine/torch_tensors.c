#include "engine/torch_tensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/dtypes.h"
#include "engine/torch_globals.h"
#include "engine/torch_view.h"
#include "engine/utf8.h"

enum { NAME_BYTES_MAX = 4096, NAME_SHOWN_MAX = 120, WRAPPERS_MAX = 4, ALIGNMENT = 64 };

static const char SAVE_HINT[] =
    "save the parameters as plain tensors: torch.save({k: v.detach().cpu().contiguous() "
    "for k, v in model.state_dict().items()}, \"model.pth\")";

struct torch_tensors {
    const struct torch_archive *archive;
    struct state_dict *dict;
    struct torch_view *views; /* one for each tensor */
    size_t capacity;
    size_t elements;   /* of all tensors */
    size_t name_bytes; /* likewise */
};

struct torch_tensors *torch_tensors_create(const struct torch_archive *archive)
{
    struct torch_tensors *tensors = calloc(1, sizeof *tensors);
    if (tensors) {
        tensors->archive = archive;
        tensors->dict = calloc(1, sizeof *tensors->dict);
    }
    if (tensors && tensors->dict)
        return tensors;
    free(tensors);
    return NULL;
}

void torch_tensors_free(struct torch_tensors *tensors)
{
    if (!tensors)
        return;
    state_dict_free(tensors->dict);
    free(tensors->views);
    free(tensors);
}

/* ---- The record of a tensor ---- */

/* A tensor that is being added. */
struct adding {
    const struct torch_tensors *tensors;
    struct tensor *tensor;
    struct torch_view *view;
    const char *name;
    struct error *err;
};

static enum status refuse(const struct adding *adding, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status refuse(const struct adding *adding, enum status status, const char *format, ...)
{
    char what[224];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    size_t len = strlen(adding->name);
    int shown = utf8_cut(adding->name, len, NAME_SHOWN_MAX);
    error_set(adding->err, status, "tensor \"%.*s%s\": %s", shown, adding->name, (size_t)shown < len ? "..." : "",
              what);
    return error_hint(adding->err, "%s", SAVE_HINT);
}

static enum status refuse_record(const struct adding *adding)
{
    return refuse(adding, STATUS_INVALID, "its record has not the arguments that torch.save writes");
}

/* A call: what is called, and its arguments. */
struct call {
    const struct pickle_value *function;
    struct pickle_value *const *args;
    size_t count;
};

static bool is_function(const struct call *call, const char *name)
{
    return pickle_is_global(call->function, "torch._utils", name);
}

/* Whether `call` makes a tensor from the first argument, which is a record of one; ret_inner is that. A parameter is made
 * from a tensor; a tensor with attributes of its own, from a call that is written as (function, type, arguments). */
static bool unwrap(const struct call *call, struct call *ret_inner)
{
    if (pickle_is_global(call->function, "torch._tensor", "_rebuild_from_type_v2") && call->count == 4 &&
        call->args[0]->kind == PICKLE_GLOBAL && call->args[2]->kind == PICKLE_TUPLE) {
        *ret_inner = (struct call){call->args[0], call->args[2]->items.at, call->args[2]->items.count};
        return true;
    }
    if ((!is_function(call, "_rebuild_parameter") && !is_function(call, "_rebuild_parameter_with_state")) ||
        call->count < 1 || call->args[0]->kind != PICKLE_OBJECT || !call->args[0]->object->is_call)
        return false;
    const struct pickle_object *object = call->args[0]->object;
    *ret_inner = (struct call){object->made_by, object->args->items.at, object->args->items.count};
    return true;
}

bool torch_is_tensor(const struct pickle_value *value)
{
    if (value->kind != PICKLE_OBJECT || !value->object->is_call)
        return false;
    const struct pickle_text *global = value->object->made_by->global;
    static const char prefix[] = "_rebuild_";
    return (pickle_text_is(global[0], "torch._utils") || pickle_text_is(global[0], "torch._tensor")) &&
           global[1].len > strlen(prefix) && memcmp(global[1].at, prefix, strlen(prefix)) == 0;
}

static enum status find_call(const struct adding *adding, const struct pickle_value *value, struct call *ret)
{
    char what[160];
    if (!torch_is_tensor(value))
        return refuse(adding, STATUS_INVALID, "it is %s, a tensor was expected",
                      pickle_describe(value, what, sizeof what));
    const struct pickle_object *object = value->object;
    *ret = (struct call){object->made_by, object->args->items.at, object->args->items.count};
    for (size_t i = 0; i < WRAPPERS_MAX; i++)
        if (!unwrap(ret, ret))
            break;
    if (is_function(ret, "_rebuild_tensor_v2") || is_function(ret, "_rebuild_tensor_v3"))
        return STATUS_OK;
    return refuse(adding, STATUS_UNSUPPORTED, "it is made by %s, only plain dense tensors are read",
                  pickle_describe(ret->function, what, sizeof what));
}

/* ---- Storage and type ---- */

/* The type of the elements: that of the storage, or, of an untyped storage (version 3), an argument of its own. */
static enum status read_dtype(const struct adding *adding, const struct call *call,
                              const struct torch_storage_id *id)
{
    const struct pickle_value *type = is_function(call, "_rebuild_tensor_v3") ? call->args[6] : id->type;
    char what[160];
    if (type->kind != PICKLE_GLOBAL)
        return refuse_record(adding);
    struct pickle_text name = type->global[1];
    adding->view->dtype = type == id->type ? dtype_of_storage(name.at, name.len)
                                           : dtype_of_torch(name.at, name.len);
    if (!adding->view->dtype)
        return refuse(adding, STATUS_UNSUPPORTED, "its elements are of %s, which is not read",
                      pickle_describe(type, what, sizeof what));
    adding->tensor->dtype = adding->view->dtype->name;
    return STATUS_OK;
}

/* The number of elements that the record gives the storage must be what the file has. An untyped one counts bytes. */
static enum status check_storage(const struct adding *adding, const struct torch_storage_id *id)
{
    const struct torch_storage *storage = adding->view->storage;
    size_t bytes, element = pickle_text_is(id->type->global[1], "UntypedStorage") ? 1 : adding->view->dtype->bytes;
    if (__builtin_mul_overflow((size_t)id->numel, element, &bytes) || bytes != storage->bytes)
        return refuse(adding, STATUS_INVALID,
                      "its storage should have %jd elements of %zu bytes, the file has %zu bytes",
                      (intmax_t)id->numel, element, storage->bytes);
    return STATUS_OK;
}

static enum status read_storage(const struct adding *adding, const struct call *call)
{
    struct torch_storage_id id;
    if (!torch_storage_id(call->args[0], &id))
        return refuse_record(adding);
    adding->view->storage = torch_archive_find(adding->tensors->archive, id.key);
    if (!adding->view->storage)
        return refuse(adding, STATUS_INVALID, "its storage \"%.*s\" is not in the file",
                      utf8_is_printable(id.key.at, id.key.len) ? utf8_cut(id.key.at, id.key.len, 20) : 0,
                      id.key.at);
    enum status status = read_dtype(adding, call, &id);
    return status == STATUS_OK ? check_storage(adding, &id) : status;
}

/* ---- Offset, size, strides ---- */

/* The values of a tuple or torch.Size. */
static const struct pickle_items *tuple_items(const struct pickle_value *value)
{
    if (value->kind == PICKLE_OBJECT && pickle_is_global(value->object->made_by, "torch", "Size") &&
        value->object->args->items.count == 1)
        value = value->object->args->items.at[0];
    return value->kind == PICKLE_TUPLE ? &value->items : NULL;
}

static bool read_size(const struct pickle_value *value, size_t *ret)
{
    if (value->kind != PICKLE_INT || value->integer < 0)
        return false;
    *ret = (size_t)value->integer;
    return true;
}

/* The element behind the last that the view reaches; false if that overflows. The count is not 0. */
static bool reach(const struct adding *adding, size_t *ret_end)
{
    size_t end = adding->view->offset, step;
    for (size_t i = 0; i < adding->tensor->dims; i++)
        if (__builtin_mul_overflow(adding->tensor->shape[i] - 1, adding->view->strides[i], &step) ||
            __builtin_add_overflow(end, step, &end))
            return false;
    return !__builtin_add_overflow(end, (size_t)1, ret_end);
}

static enum status check_reach(const struct adding *adding)
{
    size_t have = adding->view->storage->bytes / adding->view->dtype->bytes, end = 0;
    if (adding->tensor->count == 0)
        return STATUS_OK;
    if (!reach(adding, &end))
        return refuse(adding, STATUS_INVALID, "its offset, sizes and strides overflow");
    if (end > have)
        return refuse(adding, STATUS_INVALID, "it reaches to element %zu of its storage, which has %zu", end, have);
    return STATUS_OK;
}

static enum status read_dimensions(const struct adding *adding, const struct pickle_items *sizes,
                                   const struct pickle_items *strides)
{
    struct tensor *tensor = adding->tensor;
    if (sizes->count > TENSOR_DIMS_MAX)
        return refuse(adding, STATUS_UNSUPPORTED, "it has %zu dimensions, at most %d are read", sizes->count,
                      TENSOR_DIMS_MAX);
    tensor->dims = sizes->count;
    tensor->count = 1;
    for (size_t i = 0; i < tensor->dims; i++) {
        if (!read_size(sizes->at[i], &tensor->shape[i]) || !read_size(strides->at[i], &adding->view->strides[i]))
            return refuse(adding, STATUS_INVALID, "size or stride %zu is no whole number from 0 on", i);
        if (__builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
            return refuse(adding, STATUS_INVALID, "the product of its sizes overflows");
    }
    return STATUS_OK;
}

static enum status check_elements(const struct adding *adding)
{
    size_t room = adding->tensors->archive->source.size + TORCH_ELEMENTS_FREE - adding->tensors->elements;
    if (adding->tensor->count <= room)
        return STATUS_OK;
    return refuse(adding, STATUS_TOO_LARGE,
                  "its %zu elements make more than one for each of the file's %zu bytes, and %d more",
                  adding->tensor->count, adding->tensors->archive->source.size, TORCH_ELEMENTS_FREE);
}

/* A conjugated or negated tensor is saved with its old values and a note of that. */
static bool has_metadata(const struct call *call)
{
    size_t last = is_function(call, "_rebuild_tensor_v3") ? 7 : 6;
    if (call->count <= last || call->args[last]->kind == PICKLE_NONE)
        return false;
    const struct pickle_items *pairs = pickle_pairs(call->args[last]);
    return !pairs || pairs->count > 0;
}

/* (storage, offset, size, stride, requires_grad, backward_hooks[, dtype][, metadata]) */
static enum status read_call(const struct adding *adding, const struct call *call)
{
    size_t least = is_function(call, "_rebuild_tensor_v3") ? 7 : 6;
    if (call->count < least || call->count > least + 1)
        return refuse_record(adding);
    const struct pickle_items *sizes = tuple_items(call->args[2]), *strides = tuple_items(call->args[3]);
    if (!sizes || !strides || sizes->count != strides->count)
        return refuse_record(adding);
    if (has_metadata(call))
        return refuse(adding, STATUS_UNSUPPORTED, "it is lazily conjugated or negated");
    if (!read_size(call->args[1], &adding->view->offset))
        return refuse(adding, STATUS_INVALID, "its offset is no whole number from 0 on");
    enum status status = read_storage(adding, call);
    if (status == STATUS_OK)
        status = read_dimensions(adding, sizes, strides);
    if (status == STATUS_OK)
        status = check_reach(adding);
    return status == STATUS_OK ? check_elements(adding) : status;
}

/* ---- Adding ---- */

static enum status refuse_memory(struct error *err)
{
    return error_set(err, STATUS_NO_MEMORY, "no memory for the file's tensors");
}

static enum status grow(struct torch_tensors *tensors, struct error *err)
{
    if (tensors->dict->count < tensors->capacity)
        return STATUS_OK;
    if (tensors->dict->count >= TORCH_TENSORS_MAX) {
        error_set(err, STATUS_TOO_LARGE, "the file has more than the %d tensors that are read", TORCH_TENSORS_MAX);
        return error_hint(err, "%s", SAVE_HINT);
    }
    size_t capacity = tensors->capacity ? 2 * tensors->capacity : 16;
    struct tensor *at = realloc(tensors->dict->tensors, capacity * sizeof *at);
    if (at)
        tensors->dict->tensors = at;
    struct torch_view *views = at ? realloc(tensors->views, capacity * sizeof *views) : NULL;
    if (!views)
        return refuse_memory(err);
    tensors->views = views;
    tensors->capacity = capacity;
    return STATUS_OK;
}

/* A name may stand in the file once and be given to many tensors, as a module that stands in many places. */
static enum status check_name(const struct adding *adding)
{
    size_t len = strlen(adding->name), file_bytes = adding->tensors->archive->source.size;
    if (len > file_bytes + TORCH_ELEMENTS_FREE - adding->tensors->name_bytes)
        return refuse(adding, STATUS_TOO_LARGE, "the names have more bytes than the file, by more than %d",
                      TORCH_ELEMENTS_FREE);
    if (len <= NAME_BYTES_MAX && utf8_is_printable(adding->name, len))
        return STATUS_OK;
    error_set(adding->err, STATUS_INVALID,
              "the name of a tensor has more than %d bytes, control characters or broken UTF-8", NAME_BYTES_MAX);
    return error_hint(adding->err, "%s", SAVE_HINT);
}

enum status torch_tensors_add(struct torch_tensors *tensors, const char *name, const struct pickle_value *value,
                              struct error *err)
{
    struct tensor tensor = {.dims = 0};
    struct torch_view view = {.tensor = tensors->dict->count};
    struct adding adding = {tensors, &tensor, &view, name, err};
    struct call call = {0};
    enum status status = check_name(&adding);
    if (status == STATUS_OK)
        status = find_call(&adding, value, &call);
    if (status == STATUS_OK)
        status = read_call(&adding, &call);
    if (status == STATUS_OK)
        status = grow(tensors, err);
    if (status != STATUS_OK)
        return status;
    tensor.name = strdup(name);
    if (!tensor.name)
        return refuse_memory(err);
    tensors->elements += tensor.count;
    tensors->name_bytes += strlen(name);
    tensors->views[tensors->dict->count] = view;
    tensors->dict->tensors[tensors->dict->count++] = tensor;
    return STATUS_OK;
}

/* ---- Loading ---- */

static int compare_views(const void *a, const void *b)
{
    const struct torch_view *x = a, *y = b;
    if (x->storage->offset != y->storage->offset)
        return x->storage->offset < y->storage->offset ? -1 : 1;
    if (x->dtype->bytes != y->dtype->bytes)
        return x->dtype->bytes < y->dtype->bytes ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

/* Whether view `i` is all of its storage as it lies in the file, and no other lies there: nearly every one is. */
static bool is_whole(const struct torch_tensors *tensors, size_t i)
{
    const struct torch_view *view = &tensors->views[i];
    const struct tensor *tensor = &tensors->dict->tensors[view->tensor];
    bool is_alone = (i == 0 || view[-1].storage != view->storage) &&
                    (i + 1 == tensors->dict->count || view[1].storage != view->storage);
    return is_alone && view->dtype == dtype_of_torch("float32", strlen("float32")) &&
           !tensors->archive->is_big_endian && tensor->count * sizeof(float) == view->storage->bytes &&
           torch_view_is_dense(view, tensor);
}

/* Reads the storage of view `i` into `bytes`, unless it is there from the view before. */
static enum status read_bytes(const struct torch_tensors *tensors, size_t i, unsigned char *bytes,
                              struct error *err)
{
    const struct torch_view *view = &tensors->views[i], *last = i > 0 ? view - 1 : NULL;
    if (last && last->storage == view->storage && last->dtype->bytes == view->dtype->bytes)
        return STATUS_OK;
    enum status status = torch_archive_read(tensors->archive, view->storage, bytes, err);
    if (status == STATUS_OK && tensors->archive->is_big_endian)
        torch_view_swap(view, bytes);
    return status;
}

/* Reads the storages in the file's order, to where they belong or, by way of `bytes`, which has room for the largest of
 * them, to the tensors that lie in them. Two types of elements in one storage are read twice, for each swaps its own. */
static enum status load_views(struct torch_tensors *tensors, unsigned char *bytes, struct error *err)
{
    float *floats = tensors->dict->storage;
    for (size_t i = 0; i < tensors->dict->count; i++) {
        const struct torch_view *view = &tensors->views[i];
        const struct tensor *tensor = &tensors->dict->tensors[view->tensor];
        float *dst = floats + (tensor->data - floats);
        enum status status = is_whole(tensors, i) ? torch_archive_read(tensors->archive, view->storage, dst, err)
                                                  : read_bytes(tensors, i, bytes, err);
        if (status != STATUS_OK)
            return status;
        if (!is_whole(tensors, i))
            torch_view_copy(view, tensor, bytes, dst);
    }
    return STATUS_OK;
}

/* Gives each tensor its place among the floats, in the order of the state dict. */
static enum status place_tensors(struct torch_tensors *tensors, struct error *err)
{
    struct state_dict *dict = tensors->dict;
    size_t bytes = (tensors->elements * sizeof(float) / ALIGNMENT + 1) * ALIGNMENT;
    float *at = dict->storage = aligned_alloc(ALIGNMENT, bytes);
    if (!at)
        return error_set(err, STATUS_NO_MEMORY, "no memory for %zu bytes of parameters", bytes);
    for (size_t i = 0; i < dict->count; i++) {
        dict->tensors[i].data = at;
        at += dict->tensors[i].count;
    }
    return state_dict_index(dict, err);
}

static enum status load_all(struct torch_tensors *tensors, struct error *err)
{
    size_t largest = 0;
    if (tensors->dict->count > 0)
        qsort(tensors->views, tensors->dict->count, sizeof *tensors->views, compare_views);
    for (size_t i = 0; i < tensors->dict->count; i++)
        if (!is_whole(tensors, i) && tensors->views[i].storage->bytes > largest)
            largest = tensors->views[i].storage->bytes;
    unsigned char *bytes = malloc(largest + 1);
    if (!bytes)
        return error_set(err, STATUS_NO_MEMORY, "no memory for a storage of %zu bytes", largest);
    enum status status = load_views(tensors, bytes, err);
    free(bytes);
    return status;
}

enum status torch_tensors_load(struct torch_tensors *tensors, struct state_dict **ret, struct error *err)
{
    enum status status = place_tensors(tensors, err);
    if (status == STATUS_OK)
        status = load_all(tensors, err);
    if (status != STATUS_OK)
        return status;
    *ret = tensors->dict;
    tensors->dict = NULL;
    return STATUS_OK;
}
