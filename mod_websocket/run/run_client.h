/* run_client: a client that a script plays: one end of a socket pair, whose
 * other end is what a socket from the port would be. It never waits: who has
 * it polls its descriptor, for what it wants.
 *
 * What it is sent becomes events, each a line (run_notation): "text hello",
 * "close 1000 bye", "refused 403".
 *
 * Threads:  one. Its handshake is done by a thread of its own, as the handler
 *           may block there.
 * Lifetime: ends the program where memory is out. */
#ifndef RUN_CLIENT_H
#define RUN_CLIENT_H

#include "run.h"
#include "run_events.h"

#define RUN_NAME_MAX 64              /* bytes */

typedef struct run_client run_client_t;

typedef enum {
    RUN_CLIENT_CONNECTING,
    RUN_CLIENT_REFUSED,
    RUN_CLIENT_OPEN,
    RUN_CLIENT_CLOSING,              /* nothing may be sent any more */
    RUN_CLIENT_CLOSED
} run_client_state_t;

/* name: "" for the one without. request: the whole of it. Both are copied;
 * identity is borrowed. NULL: no descriptors, or no thread; errno. */
run_client_t *run_client_create(run_host_t *host, const char *name,
                                const char *request,
                                const run_identity_t *identity);

/* Ends the connection, and waits for its handshake. */
void run_client_destroy(run_client_t *client);

const char *run_client_name(const run_client_t *client);
run_client_state_t run_client_state(const run_client_t *client);

/* What to poll for; it may be -1. */
int run_client_fd(const run_client_t *client);
short run_client_wants(const run_client_t *client);

/* The poll has told so: reads, or writes. */
void run_client_ready(run_client_t *client, short events);

/* The value of a header of the answer is this one. */
bool run_client_was_answered(const run_client_t *client, const char *name,
                             const char *value);

/* The subprotocol; "": none. */
const char *run_client_protocol(const run_client_t *client);

/* --- sending: while it is open --- */

/* A message, or a part of one: then more of it follows. */
void run_client_send(run_client_t *client, uint8_t opcode,
                     const uint8_t *data, size_t length, bool is_last);

/* Bytes, whatever they are. */
void run_client_send_raw(run_client_t *client, const uint8_t *data,
                         size_t length);

/* Begins the closing handshake. */
void run_client_close(run_client_t *client, unsigned code,
                      const char *reason);

/* Ends its side without one. */
void run_client_drop(run_client_t *client);

/* Is a frame cut, of which the rest is to be sent? */
bool run_client_is_within_frame(const run_client_t *client);

/* Does it have sent a part of a message, and not the last? */
bool run_client_is_within_message(const run_client_t *client);

/* Asks for a pong with this number, which is no event. number: not 0. */
void run_client_ping(run_client_t *client, uint64_t number);

/* The number of a pong that has not come; 0: none is awaited. */
uint64_t run_client_awaited(const run_client_t *client);

/* What has come. */
run_events_t *run_client_events(run_client_t *client);

#endif
