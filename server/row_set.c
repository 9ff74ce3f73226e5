#include "server/row_set.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum status row_set_check_room(const struct row_set *set, size_t more, struct error *err)
{
    if (more <= set->rows_max - set->count)
        return STATUS_OK;
    error_set(err, STATUS_TOO_LARGE, "%zu rows in one request, at most %zu are taken", set->count + more,
              set->rows_max);
    return error_hint(err, "split it over several requests, or start mlpd with a larger --rows-max");
}

/* Makes room for `rows` rows of the set's dtype; what is there stays. */
static enum status reserve(struct row_set *set, size_t rows, struct error *err)
{
    size_t bytes = rows * backend_row_bytes(set->model, set->dtype);
    if (set->storage && bytes <= set->storage_bytes)
        return STATUS_OK;
    size_t grown_bytes = bytes > 2 * set->storage_bytes ? bytes : 2 * set->storage_bytes;
    enum status status = account_pay(set->account, grown_bytes - set->storage_bytes, err);
    if (status != STATUS_OK)
        return status;
    void *grown = realloc(set->storage, grown_bytes);
    if (!grown) {
        error_set(err, STATUS_NO_MEMORY, "there is no memory for the request's %zu rows", rows);
        return error_hint(err, "send fewer rows at once, or send it again in a moment");
    }
    set->storage = grown;
    set->storage_bytes = grown_bytes;
    return STATUS_OK;
}

/* floats (count, in_features) of as many bytes, from the last element on, since they may grow in place. */
static void scale_rows(const struct model *model, const uint8_t *bytes, size_t count, float *floats)
{
    const size_t channels = model->channels > 1 ? model->channels : 1, pixels = model->in_features / channels;
    for (size_t plane = count * channels; plane-- > 0;) {
        const float *scale = model->channel_scale[plane % channels];
        for (size_t i = (plane + 1) * pixels; i-- > plane * pixels;)
            floats[i] = scale[bytes[i]];
    }
}

/* Turns the uint8 rows collected so far into float32. */
static enum status make_float(struct row_set *set, struct error *err)
{
    set->dtype = ROW_FLOAT32;
    enum status status = reserve(set, set->count, err);
    if (status != STATUS_OK)
        return status;
    scale_rows(set->model, set->storage, set->count, set->storage);
    return STATUS_OK;
}

static void copy_rows(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count)
{
    char *dst = (char *)set->storage + set->count * backend_row_bytes(set->model, set->dtype);
    if (set->dtype == dtype) {
        memcpy(dst, rows, count * backend_row_bytes(set->model, dtype));
        return;
    }
    scale_rows(set->model, rows, count, (float *)(void *)dst);
}

/* Rows that are borrowed still, before others come behind them. */
static enum status copy_borrowed(struct row_set *set, struct error *err)
{
    if (!set->count || set->rows == set->storage)
        return STATUS_OK;
    enum status status = reserve(set, set->count, err);
    if (status == STATUS_OK) {
        memcpy(set->storage, set->rows, set->count * backend_row_bytes(set->model, set->dtype));
        set->rows = set->storage;
    }
    return status;
}

enum status row_set_append(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count,
                           struct error *err)
{
    enum status status = row_set_check_room(set, count, err);
    if (status == STATUS_OK && !set->count)
        set->dtype = dtype;
    if (status == STATUS_OK)
        status = copy_borrowed(set, err);
    if (status == STATUS_OK && set->dtype == ROW_UINT8 && dtype == ROW_FLOAT32)
        status = make_float(set, err);
    if (status == STATUS_OK)
        status = reserve(set, set->count + count, err);
    if (status != STATUS_OK)
        return status;
    copy_rows(set, rows, dtype, count);
    set->rows = set->storage;
    set->count += count;
    return STATUS_OK;
}

enum status row_set_take(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count,
                         struct error *err)
{
    bool aligned = dtype == ROW_UINT8 || (uintptr_t)rows % sizeof(float) == 0;
    if (set->copies || set->count || !aligned)
        return row_set_append(set, rows, dtype, count, err);
    enum status status = row_set_check_room(set, count, err);
    if (status != STATUS_OK)
        return status;
    set->rows = rows;
    set->dtype = dtype;
    set->count = count;
    return STATUS_OK;
}

void row_set_reset(struct row_set *set, size_t keep_bytes)
{
    if (set->storage_bytes > keep_bytes)
        row_set_free(set);
    set->account = NULL;
    set->rows = NULL;
    set->count = 0;
    set->copies = false;
}

void row_set_free(struct row_set *set)
{
    free(set->storage);
    set->storage = NULL;
    set->storage_bytes = 0;
}
