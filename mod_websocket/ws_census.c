#include "ws_census.h"

#include <stdbool.h>
#include <stddef.h>

#define BUCKET 16                    /* places */
#define BUCKETS (WS_CENSUS_PLACES / BUCKET)
#define LEFT_ONCE ((uint64_t)1 << 32)

static uint32_t count_of(uint64_t state)
{
    return (uint32_t)state;
}

static uint64_t left_of(uint64_t state)
{
    return state >> 32;
}

/* Of the places where the topic may be, from 0: those of its first bucket, then
 * those of its second, which is another one. */
static size_t index_of(uint64_t topic, unsigned i)
{
    uint64_t distance = 1 + (topic >> 32) % (BUCKETS - 1);
    uint64_t bucket = topic + (i < BUCKET ? 0 : distance);

    return (size_t)(bucket % BUCKETS * BUCKET + i % BUCKET);
}

/* --- the writer --- */

static ws_census_place_t *find(ws_census_t *census, uint64_t topic)
{
    ws_census_place_t *place;
    unsigned i;

    for (i = 0; i < 2 * BUCKET; i++) {
        place = &census->places[index_of(topic, i)];
        if (count_of(atomic_load(&place->state)) > 0 &&
            atomic_load(&place->topic) == topic) {
            return place;
        }
    }
    return NULL;
}

/* In the emptier bucket: so nearly all places are taken before a topic finds
 * none (Azar et al., Balanced Allocations, 1994). */
static ws_census_place_t *find_free(ws_census_t *census, uint64_t topic)
{
    ws_census_place_t *free_places[2] = {NULL, NULL};
    unsigned counts[2] = {0, 0};
    ws_census_place_t *place;
    unsigned i;

    for (i = 0; i < 2 * BUCKET; i++) {
        place = &census->places[index_of(topic, i)];
        if (count_of(atomic_load(&place->state)) == 0 &&
            counts[i / BUCKET]++ == 0) {
            free_places[i / BUCKET] = place;
        }
    }
    return free_places[counts[1] > counts[0]];
}

/* A place without subscribers is free, whatever its topic is. */
static bool enter(ws_census_t *census, uint64_t topic, uint32_t count)
{
    ws_census_place_t *place = find_free(census, topic);

    if (place == NULL) {
        return false;
    }
    atomic_fetch_add(&census->topics, 1);
    atomic_store(&place->topic, topic);
    atomic_store(&place->state, atomic_load(&place->state) + count);
    return true;
}

static void leave(ws_census_place_t *place)
{
    uint64_t state = atomic_load(&place->state);

    atomic_store(&place->state, state - count_of(state) + LEFT_ONCE);
}

static void set(ws_census_t *census, ws_census_place_t *place, uint32_t count)
{
    uint64_t state = atomic_load(&place->state);

    if (count > 0) {
        atomic_store(&place->state, state - count_of(state) + count);
        return;
    }
    leave(place);
    atomic_fetch_sub(&census->topics, 1);
}

void ws_census_change(ws_census_t *census, uint64_t topic, uint32_t from,
                      uint32_t to)
{
    ws_census_place_t *place = from > 0 ? find(census, topic) : NULL;

    if (place != NULL) {
        set(census, place, to);
        return;
    }
    if (to > 0 && enter(census, topic, to)) {
        to = 0;                             /* not one of the missing */
    }
    if (from == 0 && to > 0) {
        atomic_fetch_add(&census->missing, 1);
    }
    else if (from > 0 && to == 0) {
        atomic_fetch_sub(&census->missing, 1);
    }
}

void ws_census_clear(ws_census_t *census)
{
    size_t i;

    if (atomic_load(&census->topics) > 0) {
        for (i = 0; i < WS_CENSUS_PLACES; i++) {
            leave(&census->places[i]);
        }
    }
    atomic_store(&census->topics, 0);
    atomic_store(&census->missing, 0);
}

/* --- readers --- */

/* The place may become another topic's at any moment. If none has left it in
 * between, what was read belongs together. If one has, and it was this one, it
 * has no subscribers now. */
static uint32_t count_at(const ws_census_place_t *place, uint64_t topic)
{
    uint64_t state = atomic_load(&place->state);

    if (count_of(state) == 0 || atomic_load(&place->topic) != topic) {
        return 0;
    }
    return left_of(state) == left_of(atomic_load(&place->state))
               ? count_of(state)
               : 0;
}

int64_t ws_census_count(const ws_census_t *census, uint64_t topic)
{
    /* first: one that was missing and has a place now is seen there */
    bool is_whole = atomic_load(&census->missing) == 0;
    uint32_t count;
    unsigned i;

    if (atomic_load(&census->topics) > 0) {
        for (i = 0; i < 2 * BUCKET; i++) {
            count = count_at(&census->places[index_of(topic, i)], topic);
            if (count > 0) {
                return count;
            }
        }
    }
    return is_whole ? 0 : -1;
}

uint32_t ws_census_missing(const ws_census_t *census)
{
    return atomic_load(&census->missing);
}
