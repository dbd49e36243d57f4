/* run_stage: the clients of a script together: waits for what the handler does,
 * and prints it.
 *
 * A connection is served in its order. So when the pong to a ping has come that
 * was sent behind a message, the handler has done with the message, and what it
 * published is in the shared log; the same is true of its close callback when
 * the connection has ended. When another connection has answered a second ping,
 * its loop looks into the log in that turn, if it has not yet: so before the
 * third pong comes all that was published. So after each line of a script all
 * is printed that came of it, and the same each time.
 *
 * Threads:  one.
 * Lifetime: all zero to begin. */
#ifndef RUN_STAGE_H
#define RUN_STAGE_H

#include "run_client.h"

#define RUN_CLIENTS_MAX 1000

typedef struct {
    run_client_t *clients[RUN_CLIENTS_MAX]; /* in the order of their opens */
    unsigned count;
    int64_t limit;                   /* ms that a wait may take */
    uint64_t pings;                  /* sent so far */
} run_stage_t;

/* Ends all connections. */
void run_stage_clear(run_stage_t *stage);

/* NULL: there is none of this name. */
run_client_t *run_stage_find(const run_stage_t *stage, const char *name);

/* Takes over the client, in the place of one of its name. There is room. */
void run_stage_add(run_stage_t *stage, run_client_t *client);

/* Waits until the client is as it is asked for. False: not in time. */
bool run_stage_await(run_stage_t *stage, run_client_t *client,
                     bool (*is_so)(run_client_t *client));

/* Prints what has come to anyone. */
void run_stage_show(run_stage_t *stage);

/* Waits until the handler has done with all that was sent, and prints. */
void run_stage_settle(run_stage_t *stage);

/* Waits for so many ms, and prints as it comes. */
void run_stage_wait(run_stage_t *stage, int64_t time);

/* Prints "> NAME TEXT", or "< NAME TEXT". */
void run_stage_print(char direction, const run_client_t *client,
                     const char *text);

#endif
