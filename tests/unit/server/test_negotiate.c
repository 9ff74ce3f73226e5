#include "server/negotiate.h"

#include "tests/unit/unit.h"

static const char *const types[] = {"application/json", "application/octet-stream", "text/plain"};

static size_t choose(const char *accept)
{
    return negotiate(accept, types, sizeof types / sizeof *types);
}

START_TEST(the_first_type_is_the_default)
{
    ck_assert_uint_eq(choose(""), 0);
    ck_assert_uint_eq(choose("image/png"), 0);
    ck_assert_uint_eq(choose(",,; ,"), 0);
    ck_assert_uint_eq(choose("*/*"), 0);
}
END_TEST

START_TEST(a_named_type_is_chosen_in_any_case_and_with_parameters)
{
    ck_assert_uint_eq(choose("text/plain"), 2);
    ck_assert_uint_eq(choose("Application/Octet-Stream"), 1);
    ck_assert_uint_eq(choose("  text/plain ; charset=utf-8"), 2);
    ck_assert_uint_eq(choose("text/plainer"), 0);
}
END_TEST

START_TEST(a_range_stands_for_the_first_type_that_it_covers)
{
    ck_assert_uint_eq(choose("text/*"), 2);
    ck_assert_uint_eq(choose("application/*"), 0);
    ck_assert_uint_eq(choose("*/*, text/plain"), 0);
}
END_TEST

START_TEST(quality_decides_and_then_order)
{
    ck_assert_uint_eq(choose("application/json;q=0.5, text/plain"), 2);
    ck_assert_uint_eq(choose("application/json, text/plain, */*"), 0);
    ck_assert_uint_eq(choose("text/plain, application/json"), 2);
    ck_assert_uint_eq(choose("text/html, application/octet-stream ;q=0.2, text/plain; level=1; q=0.9"), 2);
}
END_TEST

START_TEST(a_quality_of_zero_or_nonsense_chooses_nothing_wrong)
{
    ck_assert_uint_eq(choose("text/plain;q=0"), 0);
    ck_assert_uint_eq(choose("text/plain;q=nan, application/octet-stream;q=0.1"), 2);
    ck_assert_uint_eq(choose("text/plain;q=-1"), 2);
    ck_assert_uint_eq(choose("text/plain;q=1e99, application/octet-stream"), 2);
}
END_TEST

UNIT_MAIN("server/negotiate", the_first_type_is_the_default, a_named_type_is_chosen_in_any_case_and_with_parameters,
          a_range_stands_for_the_first_type_that_it_covers, quality_decides_and_then_order,
          a_quality_of_zero_or_nonsense_chooses_nothing_wrong)
