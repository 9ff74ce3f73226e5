#include "server/budget.h"

enum {
    CREDIT_KEPT = 32 * 1024, /* bytes, from one request to the next */
    CREDIT_STEP = 16 * 1024, /* bytes that the budget grants at least */
    KEPT_MAX = 1024 * 1024,  /* bytes that are kept for small requests at most */
};

/* The bound for a request that takes so many bytes more: a flood of large ones leaves room for the small ones. */
static size_t bound_of(const struct account *account, size_t bytes)
{
    size_t max = account->budget->bytes_max, kept = max / 16 < KEPT_MAX ? max / 16 : KEPT_MAX;
    return account->large || account->credit + bytes > BUDGET_SMALL_BYTES ? max - kept : max;
}

/* Takes `bytes` off the budget for the account, if there is room. */
static bool budget_take(const struct account *account, size_t bytes)
{
    struct budget *budget = account->budget;
    size_t bound = bound_of(account, bytes);
    size_t held = atomic_fetch_add(&budget->held, bytes);
    if (!budget->bytes_max || (held <= bound && bytes <= bound - held))
        return true;
    atomic_fetch_sub(&budget->held, bytes);
    return false;
}

bool account_charge(struct account *account, size_t bytes)
{
    if (!account->budget || bytes <= account->credit - account->used) {
        account->used += account->budget ? bytes : 0;
        return true;
    }
    size_t missing = bytes - (account->credit - account->used);
    size_t step = missing < CREDIT_STEP ? CREDIT_STEP : missing;
    if (!budget_take(account, step) && !(step > missing && budget_take(account, step = missing)))
        return false;
    account->credit += step;
    account->used += bytes;
    return true;
}

enum status account_pay(struct account *account, size_t bytes, struct error *err)
{
    if (!account || account_charge(account, bytes))
        return STATUS_OK;
    error_set(err, STATUS_NO_MEMORY,
              "%zu bytes more for this request would pass --memory-max %zu; %zu are held now", bytes,
              account->budget->bytes_max, atomic_load(&account->budget->held));
    return error_hint(err, "send it again after the seconds that Retry-After says, or send fewer rows at once");
}

void account_refund(struct account *account, size_t bytes)
{
    if (account && account->budget)
        account->used -= bytes;
}

static void pay_back(struct account *account, size_t kept)
{
    account->used = 0;
    account->large = false;
    if (!account->budget || account->credit <= kept)
        return;
    atomic_fetch_sub(&account->budget->held, account->credit - kept);
    account->credit = kept;
}

void account_settle(struct account *account)
{
    pay_back(account, CREDIT_KEPT);
}

void account_close(struct account *account)
{
    pay_back(account, 0);
}
