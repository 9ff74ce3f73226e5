#include "engine/onnx_tensor.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/file.h"
#include "engine/onnx_graph.h"

enum { EXTERNAL = 1, PIECE_BYTES = 64 << 10, LOCATION_SHOWN_MAX = 100 };

static const double WHOLE_MAX = 9007199254740992.0; /* 2^53: beyond it a float64 skips whole numbers */
static const size_t EXTERNAL_BYTES_MAX = (size_t)1 << 40;

static const char EXPORT_HINT[] = "copy the model with all its files again, or export it again";

static const char *name_of(const Onnx__Tensor *tensor)
{
    return tensor->name ? tensor->name : "";
}

static enum status refuse(const Onnx__Tensor *tensor, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status refuse(const Onnx__Tensor *tensor, struct error *err, const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    error_set(err, STATUS_INVALID, "tensor \"%.*s\": %s", onnx_name_shown(name_of(tensor), 100), name_of(tensor),
              what);
    return error_hint(err, "%s", EXPORT_HINT);
}

/* ---- Types ---- */

/* Bytes of an element in raw data; 0 for a type that is not read. */
static size_t element_bytes(int32_t type)
{
    switch (type) {
    case ONNX_FLOAT:
    case ONNX_INT32: return 4;
    case ONNX_INT64:
    case ONNX_DOUBLE: return 8;
    case ONNX_FLOAT16:
    case ONNX_BFLOAT16: return 2;
    default: return 0;
    }
}

bool onnx_tensor_is_float(int32_t type)
{
    return type == ONNX_FLOAT || type == ONNX_FLOAT16 || type == ONNX_BFLOAT16 || type == ONNX_DOUBLE;
}

const char *onnx_tensor_dtype(int32_t type)
{
    switch (type) {
    case ONNX_FLOAT: return "torch.float32";
    case ONNX_FLOAT16: return "torch.float16";
    case ONNX_BFLOAT16: return "torch.bfloat16";
    case ONNX_DOUBLE: return "torch.float64";
    default: return NULL;
    }
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Multiplying by 2^112 moves the exponent of a half, subnormal ones included, to where a float has it. */
static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = (uint32_t)(half & 0x7FFF) << 13;
    if (rest >= 0x0F800000) /* infinity and NaN */
        return float_of_bits(sign | 0x70000000 | rest);
    float magnitude = float_of_bits(rest) * 0x1p112f;
    return sign ? -magnitude : magnitude;
}

/* ---- Shape ---- */

enum status onnx_tensor_shape(const Onnx__Tensor *tensor, size_t shape[TENSOR_DIMS_MAX], size_t *ret_dims,
                              size_t *ret_count, struct error *err)
{
    size_t count = 1;
    if (tensor->n_dims > TENSOR_DIMS_MAX)
        return refuse(tensor, err, "it has %zu dimensions, at most %d are read", tensor->n_dims, TENSOR_DIMS_MAX);
    for (size_t i = 0; i < tensor->n_dims; i++) {
        if (tensor->dims[i] < 0)
            return refuse(tensor, err, "dimension %zu is %jd", i, (intmax_t)tensor->dims[i]);
        shape[i] = (size_t)tensor->dims[i];
        if (__builtin_mul_overflow(count, shape[i], &count) || count > SIZE_MAX / sizeof(double))
            return refuse(tensor, err, "the product of its dimensions overflows");
    }
    *ret_dims = tensor->n_dims;
    *ret_count = count;
    return STATUS_OK;
}

/* ---- Typed fields and raw bytes ---- */

static size_t typed_count(const Onnx__Tensor *tensor)
{
    switch (tensor->data_type) {
    case ONNX_FLOAT: return tensor->n_float_data;
    case ONNX_DOUBLE: return tensor->n_double_data;
    case ONNX_INT64: return tensor->n_int64_data;
    default: return tensor->n_int32_data;
    }
}

/* The little-endian bytes of element i, as raw data would hold them. */
static void typed_element(const Onnx__Tensor *tensor, size_t i, unsigned char bytes[8])
{
    switch (tensor->data_type) {
    case ONNX_FLOAT: memcpy(bytes, &tensor->float_data[i], 4); break;
    case ONNX_DOUBLE: memcpy(bytes, &tensor->double_data[i], 8); break;
    case ONNX_INT64: memcpy(bytes, &tensor->int64_data[i], 8); break;
    default: memcpy(bytes, &tensor->int32_data[i], 4); break; /* of a 16 bit float the lower two count */
    }
}

static float float_element(int32_t type, const unsigned char *bytes)
{
    uint16_t half;
    double wide;
    float value;
    switch (type) {
    case ONNX_FLOAT: memcpy(&value, bytes, sizeof value); return value;
    case ONNX_DOUBLE: memcpy(&wide, bytes, sizeof wide); return (float)wide;
    case ONNX_FLOAT16: memcpy(&half, bytes, sizeof half); return float_of_half(half);
    default: memcpy(&half, bytes, sizeof half); return float_of_bits((uint32_t)half << 16);
    }
}

/* Copies element i to `bytes`, wherever in the file it is. */
static bool find_element(const Onnx__Tensor *tensor, size_t i, unsigned char bytes[8])
{
    size_t size = element_bytes(tensor->data_type);
    if (size == 0 || tensor->data_location == EXTERNAL)
        return false;
    if (tensor->raw_data.len > 0) {
        if (i >= tensor->raw_data.len / size)
            return false;
        memcpy(bytes, tensor->raw_data.data + i * size, size);
        return true;
    }
    if (i >= typed_count(tensor))
        return false;
    typed_element(tensor, i, bytes);
    return true;
}

bool onnx_tensor_double(const Onnx__Tensor *tensor, size_t i, double *ret)
{
    unsigned char bytes[8] = {0};
    int64_t whole;
    if (tensor->data_type == ONNX_INT64 || tensor->data_type == ONNX_INT32) {
        bool found = onnx_tensor_whole(tensor, i, &whole);
        *ret = found ? (double)whole : 0;
        return found;
    }
    if (!find_element(tensor, i, bytes))
        return false;
    if (tensor->data_type == ONNX_DOUBLE)
        memcpy(ret, bytes, sizeof *ret);
    else
        *ret = (double)float_element(tensor->data_type, bytes);
    return true;
}

/* Of a float only one that is whole, as the exporter wrote shapes before opset 9. */
bool onnx_tensor_whole(const Onnx__Tensor *tensor, size_t i, int64_t *ret)
{
    unsigned char bytes[8] = {0};
    int32_t narrow;
    double number;
    if (tensor->data_type == ONNX_INT64 || tensor->data_type == ONNX_INT32) {
        if (!find_element(tensor, i, bytes))
            return false;
        memcpy(&narrow, bytes, sizeof narrow);
        memcpy(ret, bytes, sizeof *ret);
        if (tensor->data_type == ONNX_INT32)
            *ret = narrow;
        return true;
    }
    if (!onnx_tensor_double(tensor, i, &number) || !(fabs(number) <= WHOLE_MAX))
        return false;
    *ret = (int64_t)number;
    return (double)*ret == number;
}

/* ---- External data ---- */

static const char *external_value(const Onnx__Tensor *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++)
        if (tensor->external_data[i]->key && strcmp(tensor->external_data[i]->key, key) == 0)
            return tensor->external_data[i]->value ? tensor->external_data[i]->value : "";
    return NULL;
}

/* A decimal number of bytes, or `otherwise` where the file says none. */
static bool external_number(const Onnx__Tensor *tensor, const char *key, size_t otherwise, size_t *ret)
{
    const char *text = external_value(tensor, key);
    char *end;
    if (!text) {
        *ret = otherwise;
        return true;
    }
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uintmax_t number = strtoumax(text, &end, 10);
    *ret = (size_t)number;
    return errno == 0 && *end == '\0' && number <= EXTERNAL_BYTES_MAX;
}

/* The real path of the external file, which must lie inside the folder, links followed. The caller frees it. */
static enum status find_external(const Onnx__Tensor *tensor, const char *folder, char **ret, struct error *err)
{
    const char *location = external_value(tensor, "location");
    if (!folder || !location)
        return refuse(tensor, err, "its data is external, and %s",
                      folder ? "the file says no location" : "this model comes without a folder");
    int shown = onnx_name_shown(location, LOCATION_SHOWN_MAX);
    char *path = location[0] == '/' ? NULL : file_join(folder, location);
    char *real = path ? realpath(path, NULL) : NULL, *root = realpath(folder, NULL);
    bool missing = path && !real;
    size_t len = root ? strlen(root) : 0;
    bool inside = real && root && strncmp(real, root, len) == 0 && (real[len] == '/' || len == 1);
    free(path);
    free(root);
    *ret = real;
    if (inside)
        return STATUS_OK;
    free(real);
    *ret = NULL;
    return refuse(tensor, err, "its data would be in \"%.*s\", which is %s", shown, location,
                  missing ? "not there" : "outside the model's folder");
}

/* Where in the external file the tensor lies. */
struct range {
    size_t offset, bytes;
};

static enum status find_range(const Onnx__Tensor *tensor, size_t bytes, size_t file_bytes, struct range *ret,
                              struct error *err)
{
    size_t offset, length;
    if (!external_number(tensor, "offset", 0, &offset) || !external_number(tensor, "length", bytes, &length))
        return refuse(tensor, err, "the offset or length of its external data is no number of bytes");
    if (length != bytes)
        return refuse(tensor, err, "its shape needs %zu bytes, its external data has %zu", bytes, length);
    if (offset > file_bytes || bytes > file_bytes - offset)
        return refuse(tensor, err, "its external data would be bytes %zu to %zu of a file of %zu", offset,
                      offset + bytes, file_bytes);
    *ret = (struct range){offset, bytes};
    return STATUS_OK;
}

/* Opens the file and finds the range; the caller closes it. */
static enum status open_external(const Onnx__Tensor *tensor, size_t count, const char *folder, struct file *file,
                                 struct range *range, struct error *err)
{
    char *path = NULL;
    enum status status = find_external(tensor, folder, &path, err);
    if (status == STATUS_OK)
        status = file_open(path, EXTERNAL_BYTES_MAX, file, err);
    free(path);
    if (status != STATUS_OK)
        return status;
    status = find_range(tensor, count * element_bytes(tensor->data_type), file->size, range, err);
    if (status != STATUS_OK)
        file_close(file);
    return status;
}

static enum status read_range(const struct file *file, const Onnx__Tensor *tensor, struct range range, float *dst,
                              struct error *err)
{
    size_t size = element_bytes(tensor->data_type), left = range.bytes;
    unsigned char piece[PIECE_BYTES];
    if (lseek(file->fd, (off_t)range.offset, SEEK_SET) < 0)
        return error_set(err, STATUS_IO, "its external data cannot be read: %s", strerror(errno));
    while (left > 0) {
        size_t bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
        enum status status = file_read_exactly(file, piece, bytes, err);
        if (status != STATUS_OK)
            return status;
        for (size_t at = 0; at < bytes; at += size)
            *dst++ = float_element(tensor->data_type, piece + at);
        left -= bytes;
    }
    return STATUS_OK;
}

static enum status read_external(const Onnx__Tensor *tensor, size_t count, const char *folder, float *dst,
                                 struct error *err)
{
    struct file file;
    struct range range = {0, 0};
    enum status status = open_external(tensor, count, folder, &file, &range, err);
    if (status != STATUS_OK)
        return status;
    status = read_range(&file, tensor, range, dst, err);
    file_close(&file);
    return status;
}

/* ---- The whole ---- */

static enum status check_external(const Onnx__Tensor *tensor, size_t count, const char *folder,
                                  struct onnx_external *ret, struct error *err)
{
    struct file file;
    struct range range;
    enum status status = open_external(tensor, count, folder, &file, &range, err);
    if (status != STATUS_OK)
        return status;
    struct stat info = {0};
    bool known = fstat(file.fd, &info) == 0;
    *ret = (struct onnx_external){.bytes = file.size, .device = info.st_dev, .inode = info.st_ino};
    file_close(&file);
    return known ? STATUS_OK : refuse(tensor, err, "its external file cannot be examined");
}

enum status onnx_tensor_check(const Onnx__Tensor *tensor, size_t count, const char *folder,
                              struct onnx_external *ret_external, struct error *err)
{
    *ret_external = (struct onnx_external){.bytes = 0};
    if (!onnx_tensor_is_float(tensor->data_type)) {
        error_set(err, STATUS_UNSUPPORTED, "tensor \"%.*s\" is of ONNX's type %d, floats are read",
                  onnx_name_shown(name_of(tensor), 100), name_of(tensor), tensor->data_type);
        return error_hint(err, "float32, float16, bfloat16 and float64 are read; export the model without "
                               "quantisation");
    }
    if (tensor->data_location == EXTERNAL)
        return check_external(tensor, count, folder, ret_external, err);
    size_t raw = tensor->raw_data.len, typed = typed_count(tensor),
           bytes = count * element_bytes(tensor->data_type);
    if (raw > 0 ? raw != bytes : typed != count)
        return refuse(tensor, err, "its shape needs %zu elements, %zu bytes; it holds %zu %s", count, bytes,
                      raw > 0 ? raw : typed, raw > 0 ? "bytes" : "elements");
    return STATUS_OK;
}

enum status onnx_tensor_floats(const Onnx__Tensor *tensor, size_t count, const char *folder, float *dst,
                               struct error *err)
{
    unsigned char bytes[8];
    size_t size = element_bytes(tensor->data_type);
    if (tensor->data_location == EXTERNAL)
        return read_external(tensor, count, folder, dst, err);
    if (tensor->raw_data.len > 0) {
        for (size_t i = 0; i < count; i++)
            dst[i] = float_element(tensor->data_type, tensor->raw_data.data + i * size);
        return STATUS_OK;
    }
    for (size_t i = 0; i < count; i++) {
        typed_element(tensor, i, bytes);
        dst[i] = float_element(tensor->data_type, bytes);
    }
    return STATUS_OK;
}

/* ---- Constants ---- */

/* A tensor made of an attribute, and what it points into. */
struct constant_tensor {
    Onnx__Tensor tensor;
    int64_t dims[1];
    float number;
    int64_t whole;
};

static void take_attribute(struct constant_tensor *constant, const Onnx__Attribute *attribute, const char *name)
{
    bool whole = strncmp(name, "value_int", 9) == 0, many = name[strlen(name) - 1] == 's';
    Onnx__Tensor *tensor = &constant->tensor;
    constant->number = attribute->f;
    constant->whole = attribute->i;
    constant->dims[0] = (int64_t)(whole ? attribute->n_ints : attribute->n_floats);
    tensor->data_type = whole ? ONNX_INT64 : ONNX_FLOAT;
    tensor->dims = constant->dims;
    tensor->n_dims = many;
    tensor->float_data = many ? attribute->floats : &constant->number;
    tensor->n_float_data = many ? attribute->n_floats : 1;
    tensor->int64_data = many ? attribute->ints : &constant->whole;
    tensor->n_int64_data = many ? attribute->n_ints : 1;
}

enum status onnx_tensor_of_constant(const struct onnx_file *file, const struct onnx_node *node,
                                    const Onnx__Tensor **ret, struct error *err)
{
    static const char *const names[] = {"value_float", "value_floats", "value_int", "value_ints"};
    const Onnx__Attribute *attribute = onnx_node_attribute(node, "value");
    *ret = attribute ? attribute->t : NULL;
    for (size_t i = 0; !*ret && i < sizeof names / sizeof names[0]; i++) {
        attribute = onnx_node_attribute(node, names[i]);
        if (!attribute)
            continue;
        struct constant_tensor *constant = onnx_file_alloc(file, 1, sizeof *constant);
        if (!constant)
            return onnx_file_refuse_memory(file, err);
        take_attribute(constant, attribute, names[i]);
        *ret = &constant->tensor;
    }
    return STATUS_OK;
}
