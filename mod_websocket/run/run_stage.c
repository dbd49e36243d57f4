#include "run_stage.h"

#include <poll.h>
#include <stdio.h>

#include "ws_clock.h"

#define SETTLE_ROUNDS 3              /* see run_stage.h */
#define TURN_MAX 60000               /* ms */

void run_stage_clear(run_stage_t *stage)
{
    while (stage->count > 0) {
        run_client_destroy(stage->clients[--stage->count]);
    }
}

/* The place of the one with this name; count: there is none. */
static unsigned place_of(const run_stage_t *stage, const char *name)
{
    unsigned i = 0;

    while (i < stage->count &&
           strcmp(run_client_name(stage->clients[i]), name) != 0) {
        i++;
    }
    return i;
}

run_client_t *run_stage_find(const run_stage_t *stage, const char *name)
{
    unsigned i = place_of(stage, name);

    return i < stage->count ? stage->clients[i] : NULL;
}

void run_stage_add(run_stage_t *stage, run_client_t *client)
{
    unsigned i = place_of(stage, run_client_name(client));

    if (i < stage->count) {
        run_client_destroy(stage->clients[i]);
        stage->count--;
        for (; i < stage->count; i++) {
            stage->clients[i] = stage->clients[i + 1];
        }
    }
    stage->clients[stage->count++] = client;
}

/* --- printing --- */

void run_stage_print(char direction, const run_client_t *client,
                     const char *text)
{
    const char *name = run_client_name(client);

    printf("%c %s%s%s\n", direction, name, *name != '\0' ? " " : "", text);
}

/* Whose comes first is not left to chance. */
void run_stage_show(run_stage_t *stage)
{
    const char *event;
    unsigned i;

    for (i = 0; i < stage->count; i++) {
        run_client_t *client = stage->clients[i];

        while ((event = run_events_show(run_client_events(client))) != NULL) {
            run_stage_print('<', client, event);
        }
    }
}

/* --- waiting --- */

/* Handles what comes until a time, ms, at most once. */
static void turn(run_stage_t *stage, int64_t until)
{
    struct pollfd fds[RUN_CLIENTS_MAX];
    int64_t left = until - ws_clock_ms();
    unsigned i;

    for (i = 0; i < stage->count; i++) {
        fds[i].fd = run_client_fd(stage->clients[i]);
        fds[i].events = run_client_wants(stage->clients[i]);
        fds[i].revents = 0;
    }
    left = left < TURN_MAX ? left : TURN_MAX;
    if (poll(fds, stage->count, left > 0 ? (int)left : 0) <= 0) {
        return;
    }
    for (i = 0; i < stage->count; i++) {
        if (fds[i].revents != 0) {
            run_client_ready(stage->clients[i], fds[i].revents);
        }
    }
}

bool run_stage_await(run_stage_t *stage, run_client_t *client,
                     bool (*is_so)(run_client_t *client))
{
    int64_t until = ws_clock_ms() + stage->limit;

    while (!is_so(client) && ws_clock_ms() < until) {
        turn(stage, until);
    }
    return is_so(client);
}

void run_stage_wait(run_stage_t *stage, int64_t time)
{
    int64_t until = ws_clock_ms() + time;

    while (ws_clock_ms() < until) {
        turn(stage, until);
        run_stage_show(stage);
    }
}

/* One who has not answered the last is not asked again. */
static void ping(run_stage_t *stage)
{
    unsigned i;

    stage->pings++;
    for (i = 0; i < stage->count; i++) {
        run_client_t *client = stage->clients[i];

        if (run_client_state(client) == RUN_CLIENT_OPEN &&
            run_client_awaited(client) == 0 &&
            !run_client_is_within_frame(client)) {
            run_client_ping(client, stage->pings);
        }
    }
}

/* Has it not yet answered? One whose connection ends has. */
static bool is_busy(const run_stage_t *stage, const run_client_t *client)
{
    return run_client_awaited(client) == stage->pings;
}

static bool is_settled(const run_stage_t *stage)
{
    unsigned i;

    for (i = 0; i < stage->count; i++) {
        if (is_busy(stage, stage->clients[i])) {
            return false;
        }
    }
    return true;
}

static void tell_of_silence(const run_stage_t *stage)
{
    unsigned i;

    for (i = 0; i < stage->count; i++) {
        const run_client_t *client = stage->clients[i];

        if (is_busy(stage, client)) {
            run_error("nothing is read%s%s: the handler pauses, or blocks",
                      *run_client_name(client) != '\0' ? " from " : "",
                      run_client_name(client));
        }
    }
}

/* False: in the time that there is, something did not come. */
static bool settle_once(run_stage_t *stage)
{
    int64_t until = ws_clock_ms() + stage->limit;

    ping(stage);
    while (!is_settled(stage) && ws_clock_ms() < until) {
        turn(stage, until);
    }
    return is_settled(stage);
}

/* In that time all others have had theirs. */
void run_stage_settle(run_stage_t *stage)
{
    int round = 0;

    while (round < SETTLE_ROUNDS && settle_once(stage)) {
        round++;
    }
    if (round < SETTLE_ROUNDS) {
        tell_of_silence(stage);
    }
    run_stage_show(stage);
}
