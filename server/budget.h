/* One bound on the memory that all requests hold together, the last part of which is kept for small requests. Each request pays from an account of its own for what it is about
 * to allocate, and pays everything back when it ends. An account keeps a little credit from one request to the next, so
 * that small requests touch nothing that other threads touch.
 *
 * A budget may be used by any thread; an account belongs to one thread at a time.
 *
 *     struct budget budget = {.bytes_max = 32 << 20};
 *     struct account account = {.budget = &budget};
 *     if (!account_charge(&account, len)) refuse();     // 503: over the bound
 *     body = malloc(len);
 *     ...
 *     account_settle(&account);
 */
#ifndef MLPD_SERVER_BUDGET_H
#define MLPD_SERVER_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/status.h"

/* A request that holds no more may take what is kept from larger ones. */
enum { BUDGET_SMALL_BYTES = 128 * 1024 };

struct budget {
    size_t bytes_max; /* 0: no bound, and nothing is refused */
    atomic_size_t held;
};

struct account {
    struct budget *budget; /* NULL: nothing is refused */
    size_t credit;         /* what the budget has granted */
    size_t used;           /* of it, by the request under way */
    bool large; /* it is going to hold more than BUDGET_SMALL_BYTES; set by its owner, until it is settled */
};

/* Pays for `bytes` more. False, and nothing paid, where the budget has no room for them. */
bool account_charge(struct account *account, size_t bytes);

/* account_charge, or STATUS_OVERLOADED with both numbers and the mend. `account` may be NULL. */
enum status account_pay(struct account *account, size_t bytes, struct error *err);

/* Pays `bytes` back, which were paid for by this request: they were needed for a moment. `account` may be NULL. */
void account_refund(struct account *account, size_t bytes);

/* The request has ended: all is paid back but a small credit. */
void account_settle(struct account *account);

/* Pays back the credit, too. */
void account_close(struct account *account);

#endif
