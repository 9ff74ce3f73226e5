#include "server/nearest_name.h"

#include "tests/unit/unit.h"

static size_t distance(const char *a, const char *b)
{
    size_t there = nearest_name_distance(a, strlen(a), b, strlen(b));
    ck_assert_uint_eq(there, nearest_name_distance(b, strlen(b), a, strlen(a)));
    return there;
}

static const char *nearest_of(const char *text, const char *const *names)
{
    struct nearest_name nearest = nearest_name_begin(text, strlen(text));
    for (; *names; names++)
        nearest_name_offer(&nearest, *names);
    return nearest.name;
}

#define NAMES(...)        \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

START_TEST(nearest_name_counts_each_letter_that_differs)
{
    ck_assert_uint_eq(distance("", ""), 0);
    ck_assert_uint_eq(distance("port", "port"), 0);
    ck_assert_uint_eq(distance("", "port"), 4);
    ck_assert_uint_eq(distance("port", "ports"), 1);
    ck_assert_uint_eq(distance("port", "pot"), 1);
    ck_assert_uint_eq(distance("port", "part"), 1);
    ck_assert_uint_eq(distance("kitten", "sitting"), 3);
    ck_assert_uint_eq(distance("abcd", "wxyz"), 4);
}
END_TEST

START_TEST(nearest_name_counts_two_letters_that_were_swapped_once)
{
    ck_assert_uint_eq(distance("port", "prot"), 1);
    ck_assert_uint_eq(distance("ab", "ba"), 1);
    ck_assert_uint_eq(distance("abcd", "badc"), 2);
    ck_assert_uint_eq(distance("ca", "abc"), 3); /* what was swapped is not touched again */
}
END_TEST

START_TEST(nearest_name_takes_names_as_long_as_it_knows)
{
    char a[NEAREST_NAME_BYTES_MAX + 2], b[NEAREST_NAME_BYTES_MAX + 2];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    a[NEAREST_NAME_BYTES_MAX] = b[NEAREST_NAME_BYTES_MAX] = '\0';
    ck_assert_uint_eq(distance(a, b), NEAREST_NAME_BYTES_MAX);
    ck_assert_ptr_eq(nearest_of(a, NAMES(b, a)), a);
    strcpy(a + NEAREST_NAME_BYTES_MAX, "a");
    ck_assert_ptr_null(nearest_of(a, NAMES(a)));
    ck_assert_ptr_null(nearest_of("a", NAMES(a)));
}
END_TEST

START_TEST(nearest_name_is_the_one_with_fewest_mistakes)
{
    ck_assert_str_eq(nearest_of("prot", NAMES("host", "port", "models")), "port");
    ck_assert_str_eq(nearest_of("queue-maks", NAMES("body-max", "queue-max", "batch-max")), "queue-max");
    ck_assert_str_eq(nearest_of("port", NAMES("pert", "part", "port")), "port");
    ck_assert_str_eq(nearest_of("pxrt", NAMES("pert", "part")), "pert");
}
END_TEST

START_TEST(nearest_name_takes_a_beginning_for_an_abbreviation)
{
    ck_assert_str_eq(nearest_of("access", NAMES("batch-max", "access-log-sample")), "access-log-sample");
    ck_assert_ptr_null(nearest_of("ac", NAMES("access-log-sample")));
}
END_TEST

START_TEST(nearest_name_is_none_where_too_much_differs)
{
    ck_assert_ptr_null(nearest_of("nonsense", NAMES("host", "port", "models", "access-log")));
    ck_assert_ptr_null(nearest_of("", NAMES("a", "port")));
    ck_assert_ptr_null(nearest_of("p", NAMES("port", "x")));
    ck_assert_ptr_null(nearest_of("xxrt", NAMES("port")));
}
END_TEST

UNIT_MAIN("server/nearest_name", nearest_name_counts_each_letter_that_differs,
          nearest_name_counts_two_letters_that_were_swapped_once, nearest_name_takes_names_as_long_as_it_knows,
          nearest_name_is_the_one_with_fewest_mistakes, nearest_name_takes_a_beginning_for_an_abbreviation,
          nearest_name_is_none_where_too_much_differs)
