/* ws_log: one log in shared memory that all processes append to and read.
 *
 * A ring of records. A writer holds a lock while it copies one record in; a
 * reader has a cursor of its own, takes no lock, and holds nobody up. A reader
 * that is overtaken by the writers learns it, with the number of records that
 * it missed. The lock is robust: a process that dies while it holds it blocks
 * nobody, and what it was writing was never there.
 *
 * Each reading loop takes a slot: the place where writers see that it sleeps,
 * and the descriptor that wakes it. Slots and descriptors are made before the
 * fork, so that every process has them all.
 *
 * Threads:  ws_log_append() and the slot functions by any thread of any
 *           process; a ws_log_reader_t by one thread.
 * Lifetime: ws_log_t is made by the parent before it forks, and inherited.
 *           The memory is anonymous: it is gone with the last process. */
#ifndef WS_LOG_H
#define WS_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ws_budget.h"
#include "ws_census.h"
#include "ws_status.h"
#include "ws_wake.h"

#define WS_LOG_SIZE_MIN (64 * 1024)
#define WS_LOG_TOPIC_MAX 1024        /* bytes of a topic's name */

typedef struct ws_log ws_log_t;

/* A message published to a topic. Pointers are borrowed. */
typedef struct {
    const char *topic;               /* not NUL-ended; compared as bytes */
    size_t topic_length;             /* at most WS_LOG_TOPIC_MAX */
    uint64_t number;                 /* 1 for the first of this log; by append */
    uint64_t except;                 /* id of a connection that is not to get
                                      * it; 0: none */
    uint8_t opcode;
    const uint8_t *data;
    size_t length;
} ws_record_t;

/* A loop's place among the readers, and what it lets the others know. Shared;
 * owner is ws_log.c's own. Each slot has a ws_census_t, too: 64 KiB, so 64 MiB
 * of address space for 1,000 slots, of which little is ever touched. */
typedef struct {
    _Atomic uint32_t owner;          /* process id; 0: free */
    _Atomic uint32_t sleeping;       /* see ws_loop_waker_t */
    _Atomic uint32_t wanted;         /* has it subscribers? else do not wake */
    _Atomic uint32_t connections;    /* that the loop holds */
    ws_budgets_t budgets;            /* for sending: the loop's; for
                                      * compression: its process's, in one of
                                      * the slots that it has, else 0 */
} ws_log_slot_t;

/* What all processes have together. */
typedef struct {
    uint64_t connections;
    unsigned budgets;                /* processes that may compress */
    unsigned used_up;                /* those whose budget is */
    uint64_t compression;            /* bytes used of all budgets */
    uint64_t compression_limit;      /* bytes, of each */
    uint64_t sending;                /* bytes that wait in queues */
} ws_log_totals_t;

typedef struct {
    uint64_t position;               /* of the next record, bytes since 0 */
    uint64_t number;                 /* of the next record */
    uint8_t *buffer;                 /* the record that was read last */
    size_t capacity;
} ws_log_reader_t;

/* size: bytes for records, at least WS_LOG_SIZE_MIN, rounded up to a power of
 * two. slots: loops that can read at once.
 * WS_ENOMEM, WS_EIO: no memory, or no descriptors for the slots; errno. */
ws_status_t ws_log_create(ws_log_t **plog, size_t size, unsigned slots);

/* In this process; others keep theirs. */
void ws_log_destroy(ws_log_t *log);

/* Bytes for records, as created. */
size_t ws_log_size(const ws_log_t *log);

/* The largest message that fits, bytes: a little under half of the log. */
size_t ws_log_message_max(const ws_log_t *log);

/* Tells this log from one made at another time; not 0. */
uint64_t ws_log_epoch(const ws_log_t *log);

/* The number that the next record will have. */
uint64_t ws_log_next_number(const ws_log_t *log);

/* Of a topic's name: the same in all processes. Who chooses names does not know
 * the key, so that two different ones have two hashes. */
uint64_t ws_log_hash(const ws_log_t *log, const void *topic, size_t length);

/* A number that no one else gets from this log; never 0. */
uint64_t ws_log_next_id(ws_log_t *log);

/* Appends a copy and wakes the readers that sleep. record->number is ignored;
 * *pnumber, if not NULL, is set to the record's. WS_ETOOBIG: over
 * ws_log_message_max() or WS_LOG_TOPIC_MAX. WS_EIO: the lock is gone. */
ws_status_t ws_log_append(ws_log_t *log, const ws_record_t *record,
                          uint64_t *pnumber);

/* A reader that gets what is appended from now on. WS_EIO: the lock is gone. */
ws_status_t ws_log_reader_init(ws_log_reader_t *reader, ws_log_t *log);
void ws_log_reader_clear(ws_log_reader_t *reader);

/* Is there a record? */
bool ws_log_reader_has(const ws_log_reader_t *reader, const ws_log_t *log);

/* The next record; it points into reader->buffer until the next call. *plost
 * is how many were overwritten before this one could be read, mostly 0.
 * WS_AGAIN:  none.
 * WS_ENOMEM: no memory for it; it is passed over, and counted as lost by the
 *            next call. */
ws_status_t ws_log_read(ws_log_reader_t *reader, const ws_log_t *log,
                        ws_record_t *record, uint64_t *plost);

/* Takes a free slot, or that of a process that is no more. NULL: all are in
 * use. */
ws_log_slot_t *ws_log_slot_take(ws_log_t *log);
void ws_log_slot_free(ws_log_slot_t *slot);

/* Makes it another process's, while the one whose it was is there; nothing
 * happens if it is no longer that one's. So both may say it. */
void ws_log_slot_pass(ws_log_slot_t *slot, pid_t from, pid_t to);

/* Sums up the slots of the processes that are there. */
ws_log_totals_t ws_log_totals(const ws_log_t *log);

/* Who subscribes in the slot's loop: empty when it is taken; for its owner to
 * keep, by ws_log_hash(). */
ws_census_t *ws_log_slot_census(const ws_log_t *log, const ws_log_slot_t *slot);

/* How many subscribers the topic has, in the slots of the processes that are
 * there. -1: not known, as one of these has more topics than it can count.
 * Waits for nobody. */
int64_t ws_log_subscribers(const ws_log_t *log, const void *topic,
                           size_t length);

/* What wakes the slot's owner. */
const ws_wake_t *ws_log_slot_wake(const ws_log_t *log,
                                  const ws_log_slot_t *slot);

#endif
