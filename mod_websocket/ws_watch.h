/* ws_watch: watches the loops of a process from a thread of its own, and logs
 * which handler holds one up: once when a turn takes longer than a limit, and
 * once more when the loop turns again.
 *
 * While loops turn, it looks at them twice in the time of the limit. Where
 * none has turned since the last look it sleeps until one does, so an idle
 * process is not woken.
 *
 * Threads:  all functions by the thread that starts and ends the workers.
 * Lifetime: outlives the loops that were added and not removed. logger is
 *           borrowed. */
#ifndef WS_WATCH_H
#define WS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "ws_logger.h"
#include "ws_loop.h"

typedef struct ws_watch ws_watch_t;

/* limit: ms that a turn may take. Its thread is not yet started. NULL: out of
 * memory. */
ws_watch_t *ws_watch_create(const ws_logger_t *logger, int64_t limit);

/* Stops, and frees. */
void ws_watch_destroy(ws_watch_t *watch);

/* Loops may come and go while it watches, and while it does not. A loop is
 * removed when its thread has ended. */
void ws_watch_add(ws_watch_t *watch, ws_loop_t *loop);
void ws_watch_remove(ws_watch_t *watch, ws_loop_t *loop);

/* Starts the thread, which takes no signals. false: there is none to be had;
 * errno. Around a fork, stop before and start after it: threads are not
 * inherited. Both may be called at any time; twice is once. */
bool ws_watch_start(ws_watch_t *watch);
void ws_watch_stop(ws_watch_t *watch);

#endif
