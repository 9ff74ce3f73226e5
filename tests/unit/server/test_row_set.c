#include "server/row_set.h"

#include <string.h>

#include "tests/unit/fixture.h"

enum { F = 3 };

static struct model model;

static struct row_set set_of(size_t rows_max)
{
    model = fixture_rows(F, 2);
    return (struct row_set){.model = &model, .rows_max = rows_max};
}

static void assert_floats(const struct row_set *set, const float *expected, size_t rows)
{
    ck_assert_int_eq(set->dtype, ROW_FLOAT32);
    ck_assert_uint_eq(set->count, rows);
    ck_assert_int_eq(memcmp(set->rows, expected, rows * F * sizeof(float)), 0);
}

static void append(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count)
{
    struct error err = {0};
    enum status status = row_set_append(set, rows, dtype, count, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

static void take(struct row_set *set, const void *rows, enum row_dtype dtype, size_t count)
{
    struct error err = {0};
    enum status status = row_set_take(set, rows, dtype, count, &err);
    ck_assert_msg(status == STATUS_OK, "%s", err.message);
}

START_TEST(row_set_knows_a_rows_bytes)
{
    set_of(1);
    ck_assert_uint_eq(backend_row_bytes(&model, ROW_UINT8), 3);
    ck_assert_uint_eq(backend_row_bytes(&model, ROW_FLOAT32), 12);
}
END_TEST

START_TEST(row_set_copies_what_is_appended_one_behind_the_other)
{
    struct row_set set = set_of(10);
    uint8_t a[] = {1, 2, 3}, b[] = {4, 5, 6, 7, 8, 9};
    append(&set, a, ROW_UINT8, 1);
    append(&set, b, ROW_UINT8, 2);
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    ck_assert_int_eq(set.dtype, ROW_UINT8);
    ck_assert_uint_eq(set.count, 3);
    ck_assert_mem_eq(set.rows, "\1\2\3\4\5\6\7\10\11", 9);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_borrows_rows_that_come_in_one_piece)
{
    struct row_set set = set_of(10);
    const float floats[2 * F] = {1, 2, 3, 4, 5, 6};
    const uint8_t bytes[F + 1] = {0, 1, 2, 3};
    take(&set, floats, ROW_FLOAT32, 2);
    ck_assert_ptr_eq(set.rows, floats);
    assert_floats(&set, floats, 2);
    row_set_reset(&set, 0);
    take(&set, bytes + 1, ROW_UINT8, 1); /* bytes have no alignment */
    ck_assert_ptr_eq(set.rows, bytes + 1);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_copies_floats_that_are_not_aligned)
{
    struct row_set set = set_of(10);
    const float floats[F] = {1, 2, 3};
    _Alignas(float) char storage[sizeof floats + 1];
    memcpy(storage + 1, floats, sizeof floats);
    take(&set, storage + 1, ROW_FLOAT32, 1);
    ck_assert_ptr_ne(set.rows, storage + 1);
    ck_assert_uint_eq((uintptr_t)set.rows % sizeof(float), 0);
    assert_floats(&set, floats, 1);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_copies_what_it_takes_when_more_may_come)
{
    struct row_set set = set_of(10);
    set.copies = true;
    const float floats[2 * F] = {1, 2, 3, 4, 5, 6};
    take(&set, floats, ROW_FLOAT32, 1);
    ck_assert_ptr_ne(set.rows, floats);
    take(&set, floats + F, ROW_FLOAT32, 1);
    assert_floats(&set, floats, 2);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_takes_rows_behind_those_that_were_appended)
{
    struct row_set set = set_of(10);
    const float floats[2 * F] = {1, 2, 3, 4, 5, 6};
    append(&set, floats, ROW_FLOAT32, 1);
    take(&set, floats + F, ROW_FLOAT32, 1);
    assert_floats(&set, floats, 2);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_becomes_float_as_soon_as_one_row_is)
{
    struct row_set set = set_of(10);
    set.copies = true;
    const uint8_t bytes[2 * F] = {0, 51, 255, 1, 2, 254};
    const float floats[F] = {-0.5f, 1e20f, 0};
    float expected[5 * F];
    for (size_t i = 0; i < 2 * F; i++)
        expected[i] = expected[3 * F + i] = (float)bytes[i] / 255.0f;
    memcpy(expected + 2 * F, floats, sizeof floats);
    append(&set, bytes, ROW_UINT8, 2);
    append(&set, floats, ROW_FLOAT32, 1);
    append(&set, bytes, ROW_UINT8, 2);
    assert_floats(&set, expected, 5);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_refuses_more_rows_than_it_may_take_and_says_both_numbers)
{
    struct row_set set = set_of(3);
    struct error err = {0};
    const uint8_t bytes[4 * F] = {1, 2, 3};
    append(&set, bytes, ROW_UINT8, 2);
    ck_assert_int_eq(row_set_append(&set, bytes, ROW_UINT8, 2, &err), STATUS_TOO_LARGE);
    ck_assert_int_eq(err.status, STATUS_TOO_LARGE);
    ck_assert_str_eq(err.message, "4 rows in one request, at most 3 are taken");
    ck_assert_str_ne(err.hint, "");
    ck_assert_uint_eq(set.count, 2);
    append(&set, bytes, ROW_UINT8, 1);
    ck_assert_int_eq(row_set_check_room(&set, 0, &err), STATUS_OK);
    ck_assert_int_eq(row_set_check_room(&set, 1, &err), STATUS_TOO_LARGE);
    ck_assert_int_eq(row_set_check_room(&set, SIZE_MAX, &err), STATUS_TOO_LARGE);
    row_set_reset(&set, 0);
    ck_assert_int_eq(row_set_take(&set, bytes, ROW_UINT8, 4, &err), STATUS_TOO_LARGE);
    ck_assert_uint_eq(set.count, 0);
    take(&set, bytes, ROW_UINT8, 3);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_begins_anew_after_a_reset)
{
    struct row_set set = set_of(10);
    const float floats[F] = {1, 2, 3};
    set.copies = true;
    append(&set, floats, ROW_FLOAT32, 1);
    row_set_reset(&set, 1 << 20);
    ck_assert_uint_eq(set.count, 0);
    ck_assert_ptr_null(set.rows);
    ck_assert(!set.copies);
    append(&set, "\1\2\3", ROW_UINT8, 1);
    ck_assert_int_eq(set.dtype, ROW_UINT8);
    ck_assert_uint_eq(set.count, 1);
    row_set_free(&set);
}
END_TEST

START_TEST(row_set_keeps_no_more_memory_than_it_is_allowed)
{
    struct row_set set = set_of(1000);
    static const float floats[100 * F];
    append(&set, floats, ROW_FLOAT32, 100);
    row_set_reset(&set, sizeof floats - 1);
    ck_assert_uint_le(set.storage_bytes, sizeof floats - 1);
    append(&set, floats, ROW_FLOAT32, 10);
    void *kept = set.storage;
    row_set_reset(&set, sizeof floats);
    append(&set, floats, ROW_FLOAT32, 10);
    ck_assert_ptr_eq(set.storage, kept);
    row_set_free(&set);
    row_set_free(&set); /* once more does no harm */
}
END_TEST

START_TEST(row_set_scales_bytes_by_the_channel_that_they_are_of)
{
    struct row_set set = set_of(10);
    model.channels = 3;
    for (size_t c = 0; c < 3; c++)
        for (size_t b = 0; b < 256; b++)
            model.channel_scale[c][b] = (float)(1000 * c + b);
    append(&set, (const uint8_t[]){1, 2, 3, 4, 5, 6}, ROW_UINT8, 2);
    append(&set, (const float[]){7, 8, 9}, ROW_FLOAT32, 1);
    append(&set, (const uint8_t[]){1, 1, 1}, ROW_UINT8, 1);
    assert_floats(&set, (const float[]){1, 1002, 2003, 4, 1005, 2006, 7, 8, 9, 1, 1001, 2001}, 4);
    row_set_free(&set);
}
END_TEST

UNIT_MAIN("server/row_set", row_set_knows_a_rows_bytes, row_set_copies_what_is_appended_one_behind_the_other,
          row_set_borrows_rows_that_come_in_one_piece, row_set_copies_floats_that_are_not_aligned,
          row_set_copies_what_it_takes_when_more_may_come, row_set_takes_rows_behind_those_that_were_appended,
          row_set_becomes_float_as_soon_as_one_row_is,
          row_set_refuses_more_rows_than_it_may_take_and_says_both_numbers, row_set_begins_anew_after_a_reset,
          row_set_keeps_no_more_memory_than_it_is_allowed, row_set_scales_bytes_by_the_channel_that_they_are_of)
