#include "engine/torch_globals.h"

/* What a pickle may hold a call of. Nothing is called: a checkpoint has these beside its state dict, where they are skipped,
 * and a file that has others was not made to be read as data. */
static const struct callable {
    const char *module, *name;
} CALLABLES[] = {
    {"torch._utils", "_rebuild_tensor"},
    {"torch._utils", "_rebuild_tensor_v2"},
    {"torch._utils", "_rebuild_tensor_v3"},
    {"torch._utils", "_rebuild_parameter"},
    {"torch._utils", "_rebuild_parameter_with_state"},
    {"torch._utils", "_rebuild_sparse_tensor"},
    {"torch._utils", "_rebuild_sparse_csr_tensor"},
    {"torch._utils", "_rebuild_nested_tensor"},
    {"torch._utils", "_rebuild_qtensor"},
    {"torch._utils", "_rebuild_meta_tensor_no_storage"},
    {"torch._utils", "_rebuild_device_tensor_from_numpy"},
    {"torch._utils", "_rebuild_device_tensor_from_cpu_tensor"},
    {"torch._utils", "_rebuild_wrapper_subclass"},
    {"torch._tensor", "_rebuild_from_type"},
    {"torch._tensor", "_rebuild_from_type_v2"},
    {"torch.serialization", "_get_layout"},
    {"torch.storage", "_load_from_bytes"},
    {"torch", "Size"},
    {"torch", "device"},
    {"torch", "Generator"},
    {"collections", "OrderedDict"},
    {"collections", "defaultdict"},
    {"collections", "Counter"},
    {"collections", "deque"},
    {"__builtin__", "set"},
    {"__builtin__", "frozenset"},
    {"__builtin__", "slice"},
    {"__builtin__", "xrange"},
    {"__builtin__", "complex"},
    {"__builtin__", "bytearray"},
    {"__builtin__", "getattr"}, /* how protocol 2 writes torch.relu, a method of a class */
    {"builtins", "set"},
    {"builtins", "frozenset"},
    {"builtins", "slice"},
    {"builtins", "range"},
    {"builtins", "complex"},
    {"builtins", "bytearray"},
    {"builtins", "getattr"},
    {"_codecs", "encode"}, /* how protocol 2 writes bytes */
    {"copy_reg", "_reconstructor"},
    {"copyreg", "_reconstructor"},
    {"functools", "partial"},
    {"numpy", "dtype"},
    {"numpy", "ndarray"},
    {"numpy.core.multiarray", "scalar"},
    {"numpy.core.multiarray", "_reconstruct"},
    {"numpy._core.multiarray", "scalar"},
    {"numpy._core.multiarray", "_reconstruct"},
    {"numpy.core.numeric", "_frombuffer"},
    {"numpy._core.numeric", "_frombuffer"},
    {"pathlib", "Path"},
    {"pathlib", "PosixPath"},
    {"pathlib", "WindowsPath"},
    {"pathlib._local", "PosixPath"},
    {"pathlib._local", "WindowsPath"},
    {"datetime", "datetime"},
    {"datetime", "date"},
    {"datetime", "time"},
    {"datetime", "timedelta"},
    {"datetime", "timezone"},
};

bool torch_may_call(const struct pickle_value *global)
{
    for (size_t i = 0; i < sizeof CALLABLES / sizeof CALLABLES[0]; i++)
        if (pickle_is_global(global, CALLABLES[i].module, CALLABLES[i].name))
            return true;
    return false;
}

/* ("storage", type, key, location, numel): what lies beside the pickle; the old format adds view_metadata, which is None.
 * ("module", class, source file, source): how the old format writes a class: the class is meant. */
struct pickle_value *torch_find_persistent(void *context, struct pickle_value *persistent)
{
    (void)context;
    const struct pickle_value *id = persistent->id;
    if (id->kind != PICKLE_TUPLE || id->items.count < 2)
        return NULL;
    struct pickle_value *const *parts = id->items.at;
    bool is_storage = id->items.count == 5 || (id->items.count == 6 && parts[5]->kind == PICKLE_NONE);
    if (is_storage && pickle_is_string(parts[0], "storage"))
        return persistent;
    if (id->items.count == 4 && pickle_is_string(parts[0], "module") && parts[1]->kind == PICKLE_GLOBAL)
        return parts[1];
    return NULL;
}

bool torch_storage_id(const struct pickle_value *value, struct torch_storage_id *ret)
{
    if (value->kind != PICKLE_PERSISTENT)
        return false;
    struct pickle_value *const *parts = value->id->items.at;
    if (parts[1]->kind != PICKLE_GLOBAL || parts[2]->kind != PICKLE_STRING || parts[4]->kind != PICKLE_INT)
        return false;
    *ret = (struct torch_storage_id){parts[1], parts[2]->text, parts[4]->integer};
    return ret->numel >= 0;
}
