/* ws_census: how many subscribers each topic of one loop has. In shared memory:
 * the loop writes, all processes read.
 *
 * A topic is known by a hash. It has a place in one of two buckets, the emptier
 * one when it came, and keeps that place. So a reader finds each topic that
 * stays, whatever comes and goes meanwhile, and waits for nobody: one that is
 * stopped or killed while it writes leaves nothing that could hold a reader up.
 *
 * Some 3,000 topics surely find one of the 4,096 places. Those that find none
 * are missing, and a topic that is not found may be one of them.
 *
 * Threads:  _change and _clear by one thread of one process at a time; _count
 *           and _missing by any of any.
 * Lifetime: the owner's of the memory. All zero is an empty one. */
#ifndef WS_CENSUS_H
#define WS_CENSUS_H

#include <stdatomic.h>
#include <stdint.h>

#define WS_CENSUS_PLACES 4096

/* Fields are ws_census.c's own. */
typedef struct {
    _Atomic uint64_t topic;
    _Atomic uint64_t state;          /* how many topics have left the place, and
                                      * (low 32 bits) how many subscribers the
                                      * one that has it has; 0: free */
} ws_census_place_t;

/* 64 KiB. The kernel gives memory to what was touched only: a loop without
 * topics takes one page. */
typedef struct {
    _Alignas(64) _Atomic uint32_t topics; /* that have a place; never less */
    _Atomic uint32_t missing;
    ws_census_place_t places[WS_CENSUS_PLACES];
} ws_census_t;

/* The topic had so many subscribers, and has so many now; 0 of one of them: it
 * is new, or gone. With from and to the same a topic that is missing looks for
 * a place again. */
void ws_census_change(ws_census_t *census, uint64_t topic, uint32_t from,
                      uint32_t to);

/* 0: none. -1: not known, as topics are missing. */
int64_t ws_census_count(const ws_census_t *census, uint64_t topic);

/* How many topics are missing. */
uint32_t ws_census_missing(const ws_census_t *census);

/* Forgets all; also what somebody left who died while it wrote. */
void ws_census_clear(ws_census_t *census);

#endif
