/* ws_shared: memory that processes share, and locks in it.
 * Threads:  any.
 * Lifetime: the memory is anonymous: a process inherits it from the one that
 *           made it, and it is gone with the last that has it. */
#ifndef WS_SHARED_H
#define WS_SHARED_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero. NULL: none is to be had; errno. */
void *ws_shared_map(size_t size);

/* A lock for all processes. It is robust: locking tells with EOWNERDEAD that
 * a process died while it held it. False: errno of pthreads. */
bool ws_shared_lock_init(pthread_mutex_t *lock);

/* Is the process with this number there? False for 0. One that has ended and
 * has not been waited for is, and so is one that was given the number anew. */
bool ws_shared_owner_lives(uint32_t pid);

#endif
