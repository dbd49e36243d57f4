/* ws_wake: wakes a loop out of its poll, from any thread or process.
 * An eventfd where there is one, else a pipe.
 * Threads:  notify from any thread of any process that inherited it; the rest
 *           from the owner.
 * Lifetime: the descriptors are the owner's and close on exec. */
#ifndef WS_WAKE_H
#define WS_WAKE_H

#include "ws_status.h"

typedef struct {
    int read_fd;                     /* poll this one for input */
    int write_fd;                    /* may be the same */
} ws_wake_t;

/* WS_EIO: no descriptor to be had; errno says why. */
ws_status_t ws_wake_init(ws_wake_t *wake);
void ws_wake_clear(ws_wake_t *wake);

void ws_wake_notify(const ws_wake_t *wake);

/* Takes back all notifications. */
void ws_wake_drain(const ws_wake_t *wake);

#endif
