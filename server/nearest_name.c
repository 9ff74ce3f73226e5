#include "server/nearest_name.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum { BEGINNING_LEN_MIN = 3, LETTERS_PER_MISTAKE = 3 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Row i of the table of distances between the beginnings of both: rows[0] is it, rows[1] and rows[2] those before. */
static void fill_row(size_t *const rows[3], const char *a, size_t i, const char *b, size_t b_len)
{
    rows[0][0] = i;
    for (size_t j = 1; j <= b_len; j++) {
        size_t replaced = rows[1][j - 1] + (a[i - 1] != b[j - 1]);
        rows[0][j] = least(replaced, least(rows[1][j], rows[0][j - 1]) + 1);
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
            rows[0][j] = least(rows[0][j], rows[2][j - 2] + 1);
    }
}

size_t nearest_name_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t memory[3][NEAREST_NAME_BYTES_MAX + 1] = {0};
    assert(a_len <= NEAREST_NAME_BYTES_MAX && b_len <= NEAREST_NAME_BYTES_MAX);
    for (size_t j = 0; j <= b_len; j++)
        memory[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *const rows[3] = {memory[i % 3], memory[(i + 2) % 3], memory[(i + 1) % 3]};
        fill_row(rows, a, i, b, b_len);
    }
    return memory[a_len % 3][b_len];
}

struct nearest_name nearest_name_begin(const char *text, size_t len)
{
    return (struct nearest_name){.text = text, .len = len};
}

/* A beginning is an abbreviation, as near as a letter that was mistyped. */
static bool is_beginning(const char *text, size_t len, const char *name, size_t name_len)
{
    return len >= BEGINNING_LEN_MIN && len < name_len && memcmp(text, name, len) == 0;
}

void nearest_name_offer(struct nearest_name *nearest, const char *name)
{
    size_t name_len = strlen(name);
    if (nearest->len > NEAREST_NAME_BYTES_MAX || name_len > NEAREST_NAME_BYTES_MAX)
        return;
    size_t distance = nearest_name_distance(nearest->text, nearest->len, name, name_len);
    if (is_beginning(nearest->text, nearest->len, name, name_len))
        distance = 1;
    else if (distance * LETTERS_PER_MISTAKE > least(nearest->len, name_len))
        return;
    if (nearest->name && nearest->distance <= distance)
        return;
    nearest->name = name;
    nearest->distance = distance;
}
