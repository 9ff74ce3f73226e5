#include "server/budget.h"

#include <pthread.h>

#include "tests/unit/unit.h"

enum { KIB = 1024 };

static size_t held(struct budget *budget)
{
    return atomic_load(&budget->held);
}

START_TEST(budget_refuses_what_would_pass_its_bound_and_pays_nothing_then)
{
    struct budget budget = {.bytes_max = 100 * KIB};
    struct account a = {.budget = &budget}, b = {.budget = &budget};
    struct error err = {0};
    ck_assert(account_charge(&a, 80 * KIB));
    ck_assert(!account_charge(&b, 21 * KIB));
    ck_assert_uint_eq(held(&budget), 80 * KIB);
    ck_assert(account_charge(&b, 20 * KIB));
    ck_assert_int_eq(account_pay(&b, 1, &err), STATUS_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(err.message, "--memory-max 102400"));
    ck_assert_str_ne(err.hint, "");
    account_close(&a);
    account_close(&b);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

START_TEST(budget_is_paid_back_when_the_request_ends_but_for_a_small_credit)
{
    struct budget budget = {.bytes_max = KIB * KIB};
    struct account account = {.budget = &budget};
    ck_assert(account_charge(&account, 500 * KIB));
    account_settle(&account);
    ck_assert_uint_le(held(&budget), 32 * KIB);
    size_t credit = held(&budget);
    ck_assert(account_charge(&account, credit));
    ck_assert_uint_eq(held(&budget), credit); /* out of the credit */
    account_settle(&account);
    account_close(&account);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

START_TEST(budget_gives_the_last_bytes_too)
{
    struct budget budget = {.bytes_max = 10};
    struct account account = {.budget = &budget};
    for (size_t i = 0; i < 10; i++)
        ck_assert(account_charge(&account, 1));
    ck_assert(!account_charge(&account, 1));
    account_close(&account);
}
END_TEST

START_TEST(budget_keeps_a_part_for_small_requests_when_large_ones_have_all_else)
{
    struct budget budget = {.bytes_max = 16 * KIB * KIB};
    struct account large = {.budget = &budget}, small = {.budget = &budget};
    ck_assert(!account_charge(&large, 15 * KIB * KIB + 1));
    ck_assert(account_charge(&large, 15 * KIB * KIB));
    ck_assert(!account_charge(&large, 1));
    ck_assert(account_charge(&small, 128 * KIB));
    ck_assert(!account_charge(&small, 1));
    account_close(&small);
    small.large = true;
    ck_assert(!account_charge(&small, 1));
    account_close(&large);
    ck_assert(account_charge(&small, 1));
    account_close(&small);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

START_TEST(budget_takes_back_what_was_needed_for_a_moment)
{
    struct budget budget = {.bytes_max = 100 * KIB};
    struct account account = {.budget = &budget};
    for (size_t i = 0; i < 50; i++) {
        ck_assert(account_charge(&account, 90 * KIB));
        account_refund(&account, 90 * KIB);
    }
    account_close(&account);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

START_TEST(budget_without_a_bound_counts_and_refuses_nothing)
{
    struct budget budget = {0};
    struct account account = {.budget = &budget}, nobodys = {0};
    ck_assert(account_charge(&account, (size_t)1 << 40));
    ck_assert_uint_eq(held(&budget), (size_t)1 << 40);
    ck_assert(account_charge(&nobodys, (size_t)1 << 40));
    ck_assert_int_eq(account_pay(NULL, (size_t)1 << 40, NULL), STATUS_OK);
    account_settle(&nobodys);
    account_close(&account);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

START_TEST(budget_refuses_sums_that_would_overflow)
{
    struct budget budget = {.bytes_max = 1000};
    struct account account = {.budget = &budget};
    ck_assert(account_charge(&account, 500));
    ck_assert(!account_charge(&account, SIZE_MAX - 100));
    ck_assert_uint_le(held(&budget), 1000);
    account_close(&account);
}
END_TEST

static void *charge_and_settle(void *argument)
{
    struct account account = {.budget = argument};
    for (size_t i = 0; i < 20000; i++) {
        if (account_charge(&account, 40 * KIB))
            ck_assert_uint_le(held(argument),
                              (size_t)4 * 100 * KIB); /* one thread's attempt may show for a moment */
        account_settle(&account);
    }
    account_close(&account);
    return NULL;
}

START_TEST(budget_holds_nothing_after_many_threads_have_used_it)
{
    struct budget budget = {.bytes_max = 100 * KIB};
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, charge_and_settle, &budget), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(held(&budget), 0);
}
END_TEST

UNIT_MAIN("server/budget", budget_refuses_what_would_pass_its_bound_and_pays_nothing_then,
          budget_is_paid_back_when_the_request_ends_but_for_a_small_credit, budget_gives_the_last_bytes_too,
          budget_keeps_a_part_for_small_requests_when_large_ones_have_all_else,
          budget_takes_back_what_was_needed_for_a_moment, budget_without_a_bound_counts_and_refuses_nothing,
          budget_refuses_sums_that_would_overflow, budget_holds_nothing_after_many_threads_have_used_it)
