/* ws_seats: how many WebSockets all processes of a server have together, and
 * how many of them each client has. A seat is the place of one connection, in
 * shared memory; there are as many as there may be connections.
 *
 * A process that dies gives its seats back in that another finds it dead. The
 * lock is robust: one that dies while it holds it blocks nobody.
 *
 * Threads:  all functions by any thread of any process, but for _create and
 *           _destroy.
 * Lifetime: made by the parent before it forks, and inherited. The memory is
 *           anonymous: it is gone with the last process. */
#ifndef WS_SEATS_H
#define WS_SEATS_H

#include <stdint.h>
#include <sys/types.h>

#include "ws_status.h"

#define WS_SEATS_MAX (1024 * 1024)
#define WS_SEAT_NONE 0               /* no seat has this number */

typedef struct ws_seats ws_seats_t;

/* How many seats may be taken; 0: as many as there are. */
typedef struct {
    uint32_t all;
    uint32_t per_client;
} ws_seats_limits_t;

/* count: 1 to WS_SEATS_MAX. WS_ENOMEM; WS_EIO: no lock. */
ws_status_t ws_seats_create(ws_seats_t **pseats, uint32_t count);

/* In this process; others keep theirs. */
void ws_seats_destroy(ws_seats_t *seats);

uint32_t ws_seats_count(const ws_seats_t *seats);

/* How many are taken, by processes that may be dead too. */
uint32_t ws_seats_taken(ws_seats_t *seats);

/* What stands for a client. address: 4 bytes of IPv4, or 16 of IPv6, of which
 * the first 8 count: a client has a whole /64. One of IPv4 in IPv6
 * (::ffff:a.b.c.d) is that of IPv4. */
uint64_t ws_seats_client(const void *address, size_t length);

/* Takes one for this process. WS_EPOLICY: the client has as many as it may;
 * WS_ETOOBIG: all are taken; WS_EIO: the lock is gone. */
ws_status_t ws_seats_take(ws_seats_t *seats, uint64_t client,
                          const ws_seats_limits_t *limits, uint32_t *pseat);

/* Gives it back, if it is this process's. */
void ws_seats_leave(ws_seats_t *seats, uint32_t seat);

/* Frees those of processes that are no more. */
void ws_seats_sweep(ws_seats_t *seats);

/* What one process has taken is another's from now on. */
void ws_seats_move(ws_seats_t *seats, pid_t from, pid_t to);

#endif
