/* What is accepted must lie inside the input to its last byte, and read_f32 must write exactly `count` floats: the
 * destination has just that room, so that the sanitizer sees one more, and is filled beforehand, so that one less is
 * seen here. In C order the floats must be the elements one by one. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shape(const struct npy *npy, const uint8_t *data, size_t size)
{
    size_t product = 1;
    assert(npy->dims <= NPY_DIMS_MAX);
    for (size_t i = 0; i < npy->dims; i++)
        product *= npy->shape[i];
    assert(npy->count == product);
    assert(npy->data >= data && npy->data <= data + size);
    assert(npy->count == (size_t)(data + size - npy->data) / npy_item_bytes(npy->dtype));
    assert(npy->data + npy->count * npy_item_bytes(npy->dtype) == data + size);
}

/* The element of C-order number `at`, read by itself. */
static float element(const struct npy *npy, size_t at)
{
    struct npy one = *npy;
    size_t source = 0, stride = npy->count;
    for (size_t axis = npy->dims, rest = at; axis-- > 0; rest /= npy->shape[axis]) {
        stride /= npy->shape[axis];
        source += rest % npy->shape[axis] * stride;
    }
    one.data += (npy->fortran_order ? source : at) * npy_item_bytes(npy->dtype);
    one.dims = 0;
    one.count = 1;
    float value;
    npy_read_f32(&one, &value);
    return value;
}

static void check_elements(const struct npy *npy)
{
    size_t bytes = npy->count * sizeof(float);
    float *first = malloc(bytes), *second = malloc(bytes);
    memset(first, 0x00, bytes);
    memset(second, 0xFF, bytes);
    npy_read_f32(npy, first);
    npy_read_f32(npy, second);
    assert(bytes == 0 || memcmp(first, second, bytes) == 0);
    for (size_t i = 0; i < npy->count; i++) {
        float expected = element(npy, i);
        assert(memcmp(&first[i], &expected, sizeof expected) == 0);
    }
    if (npy->dtype == NPY_UINT8) {
        uint8_t *raw = malloc(npy->count);
        npy_read_u8(npy, raw);
        for (size_t i = 0; i < npy->count; i++)
            assert(first[i] == raw[i]);
        free(raw);
    }
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy npy = {0};
    struct error err = {0};
    enum status status = npy_parse(data, size, &npy, &err);
    if (status == STATUS_OK) {
        assert(npy_sniff(data, size));
        check_shape(&npy, data, size);
        check_elements(&npy);
    } else {
        assert(status == err.status && err.message[0] && !npy.data);
    }
    return 0;
}
