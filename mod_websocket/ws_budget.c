#include "ws_budget.h"

bool ws_budget_reserve(ws_budget_t *budget, size_t bytes)
{
    size_t limit = atomic_load(&budget->limit);
    size_t used = atomic_load(&budget->used);

    do {
        if (bytes > 0 && (used > limit || bytes > limit - used)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&budget->used, &used,
                                           used + bytes));
    return true;
}

void ws_budget_charge(ws_budget_t *budget, size_t bytes)
{
    atomic_fetch_add(&budget->used, bytes);
}

void ws_budget_release(ws_budget_t *budget, size_t bytes)
{
    size_t used = atomic_load(&budget->used);

    while (!atomic_compare_exchange_weak(&budget->used, &used,
                                         used > bytes ? used - bytes : 0)) {
        continue;
    }
}

bool ws_budget_is_used_up(const ws_budget_t *budget)
{
    return atomic_load(&budget->used) >= atomic_load(&budget->limit);
}
