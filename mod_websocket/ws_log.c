#include "ws_log.h"

#include <errno.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ws_hash.h"
#include "ws_shared.h"

#define CACHE_LINE 64
#define CLEARING 0x80000000u         /* with an owner: the slot is about to be
                                      * its, and has what a dead one left */

/* In front of each record. A record's size is a multiple of its head's, so
 * that at the ring's end there is always room for a head, or none at all. */
typedef struct {
    uint64_t number;
    uint64_t except;
    uint32_t size;                   /* of all, with this head, aligned */
    uint32_t length;                 /* of the message */
    uint16_t topic_length;
    uint8_t opcode;
    uint8_t is_filler;               /* no record: go on at the ring's start */
    uint32_t reserved;
} record_head_t;

_Static_assert(sizeof(record_head_t) == 32, "divides the ring's size");

/* At the start of the shared memory. Positions are bytes since the log began;
 * modulo the ring's size they are places in it. */
typedef struct {
    pthread_mutex_t lock;            /* writers: process-shared, robust */
    uint64_t epoch;
    ws_hash_key_t hash_key;
    uint64_t ring_size;
    _Alignas(CACHE_LINE) _Atomic uint64_t next_id;
    /* readable: from oldest to end. A writer moves oldest on before it
     * overwrites, and end after it has written. */
    _Alignas(CACHE_LINE) _Atomic uint64_t oldest;
    _Atomic uint64_t end;
    _Atomic uint64_t next_number;
    _Atomic uint32_t slots_used;     /* slots from here on were never taken */
} shared_t;

struct ws_log {
    shared_t *shared;
    size_t mapped;
    struct padded_slot {
        _Alignas(CACHE_LINE) ws_log_slot_t slot;
    } *slots;                        /* shared */
    ws_census_t *censuses;           /* shared; one a slot */
    uint64_t *ring;                  /* shared */
    unsigned slot_count;
    ws_wake_t *wakes;                /* one a slot */
};

/* --- creation --- */

static size_t ring_size_of(size_t size)
{
    size_t ring = WS_LOG_SIZE_MIN;

    while (ring < size) {
        ring *= 2;
    }
    return ring;
}

static bool init_wakes(ws_log_t *log, unsigned slots)
{
    log->wakes = calloc(slots, sizeof(*log->wakes));
    while (log->wakes != NULL && log->slot_count < slots) {
        if (ws_wake_init(&log->wakes[log->slot_count]) != WS_OK) {
            return false;
        }
        log->slot_count++;
    }
    return log->wakes != NULL;
}

static bool init_shared(shared_t *shared, size_t ring_size)
{
    shared->ring_size = ring_size;
    atomic_init(&shared->next_id, 1);
    atomic_init(&shared->next_number, 1);
    if (RAND_bytes((unsigned char *)&shared->epoch, sizeof(shared->epoch)) !=
            1 ||
        RAND_bytes((unsigned char *)&shared->hash_key,
                   sizeof(shared->hash_key)) != 1) {
        return false;
    }
    shared->epoch |= 1;                     /* not 0 */
    return ws_shared_lock_init(&shared->lock);
}

ws_status_t ws_log_create(ws_log_t **plog, size_t size, unsigned slots)
{
    ws_log_t *log = calloc(1, sizeof(*log));
    size_t ring_size = ring_size_of(size);
    size_t slots_size = slots * sizeof(*log->slots);
    size_t censuses_size = slots * sizeof(*log->censuses);
    char *memory;

    if (log == NULL) {
        return WS_ENOMEM;
    }
    log->mapped = sizeof(shared_t) + slots_size + censuses_size + ring_size;
    memory = ws_shared_map(log->mapped);
    if (memory == NULL) {
        free(log);
        return WS_ENOMEM;
    }
    log->shared = (void *)memory;
    log->slots = (void *)(memory + sizeof(shared_t));
    log->censuses = (void *)(memory + sizeof(shared_t) + slots_size);
    log->ring = (void *)(memory + log->mapped - ring_size);
    if (!init_shared(log->shared, ring_size) || !init_wakes(log, slots)) {
        ws_log_destroy(log);
        return WS_EIO;
    }
    *plog = log;
    return WS_OK;
}

void ws_log_destroy(ws_log_t *log)
{
    int saved = errno;
    unsigned i;

    for (i = 0; i < log->slot_count; i++) {
        ws_wake_clear(&log->wakes[i]);
    }
    free(log->wakes);
    munmap(log->shared, log->mapped);
    free(log);
    errno = saved;
}

size_t ws_log_size(const ws_log_t *log)
{
    return (size_t)log->shared->ring_size;
}

size_t ws_log_message_max(const ws_log_t *log)
{
    return (size_t)log->shared->ring_size / 2 - WS_LOG_TOPIC_MAX -
           2 * sizeof(record_head_t);
}

uint64_t ws_log_epoch(const ws_log_t *log)
{
    return log->shared->epoch;
}

uint64_t ws_log_hash(const ws_log_t *log, const void *topic, size_t length)
{
    return ws_hash(&log->shared->hash_key, topic, length);
}

uint64_t ws_log_next_number(const ws_log_t *log)
{
    return atomic_load(&log->shared->next_number);
}

uint64_t ws_log_next_id(ws_log_t *log)
{
    return atomic_fetch_add(&log->shared->next_id, 1);
}

/* --- the ring --- */

static size_t place_of(const ws_log_t *log, uint64_t position)
{
    return (size_t)(position & (log->shared->ring_size - 1));
}

static _Atomic uint64_t *word_at(const ws_log_t *log, uint64_t position)
{
    return (_Atomic uint64_t *)(log->ring +
                                place_of(log, position) / sizeof(uint64_t));
}

/* A reader may copy while a writer overwrites the same place; it finds out
 * afterwards and throws the copy away. So that this is no data race, both copy
 * word by word with atomic access, which costs no more than plain access. */
static void copy_in(ws_log_t *log, uint64_t position, const void *from,
                    size_t length)
{
    _Atomic uint64_t *to = word_at(log, position);
    const uint8_t *bytes = from;
    uint64_t word;

    for (; length >= sizeof(word); length -= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        atomic_store_explicit(to++, word, memory_order_relaxed);
        bytes += sizeof(word);
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, bytes, length);
        atomic_store_explicit(to, word, memory_order_relaxed);
    }
}

static void copy_out(const ws_log_t *log, uint64_t position, void *to,
                     size_t length)
{
    _Atomic uint64_t *from = word_at(log, position);
    uint8_t *bytes = to;
    uint64_t word;

    for (; length > 0; length -= sizeof(word)) {
        word = atomic_load_explicit(from++, memory_order_relaxed);
        memcpy(bytes, &word, sizeof(word));
        bytes += sizeof(word);
    }
}

static size_t aligned(size_t length, size_t alignment)
{
    return (length + alignment - 1) & ~(alignment - 1);
}

/* Gives up the oldest records until `end` is not over a ring's size away. */
static void make_room(ws_log_t *log, uint64_t end)
{
    shared_t *shared = log->shared;
    uint64_t oldest =
        atomic_load_explicit(&shared->oldest, memory_order_relaxed);
    record_head_t head;

    while (end - oldest > shared->ring_size) {
        copy_out(log, oldest, &head, sizeof(head));
        oldest += head.size;
    }
    atomic_store_explicit(&shared->oldest, oldest, memory_order_relaxed);
    /* readers must see this before they see a word of what is written next */
    atomic_thread_fence(memory_order_seq_cst);
}

/* A record does not wrap: fill the ring up if this one would. */
static uint64_t fill_up(ws_log_t *log, uint64_t end, size_t size)
{
    size_t left = ws_log_size(log) - place_of(log, end);
    record_head_t filler = {.size = (uint32_t)left, .is_filler = 1};

    if (size <= left) {
        return end;
    }
    make_room(log, end + left);
    if (left > 0) {
        copy_in(log, end, &filler, sizeof(filler));
    }
    return end + left;
}

static void write_record(ws_log_t *log, const ws_record_t *record,
                         uint64_t number)
{
    shared_t *shared = log->shared;
    size_t topic_size = aligned(record->topic_length, sizeof(uint64_t));
    size_t size = sizeof(record_head_t) + topic_size + record->length;
    record_head_t head = {
        .number = number,
        .except = record->except,
        .size = (uint32_t)aligned(size, sizeof(head)),
        .length = (uint32_t)record->length,
        .topic_length = (uint16_t)record->topic_length,
        .opcode = record->opcode,
    };
    uint64_t at = atomic_load_explicit(&shared->end, memory_order_relaxed);

    at = fill_up(log, at, head.size);
    make_room(log, at + head.size);
    copy_in(log, at, &head, sizeof(head));
    copy_in(log, at + sizeof(head), record->topic, record->topic_length);
    copy_in(log, at + sizeof(head) + topic_size, record->data, record->length);
    /* from here on the record is there; see recover() */
    atomic_store_explicit(&shared->end, at + head.size, memory_order_release);
    atomic_store_explicit(&shared->next_number, number + 1,
                          memory_order_relaxed);
}

/* --- writers --- */

/* A writer died while it held the lock. What it had not finished lies beyond
 * `end`, where nobody will see it; but its record may be there, and not yet be
 * counted. */
static void recover(ws_log_t *log)
{
    shared_t *shared = log->shared;
    uint64_t at = atomic_load(&shared->oldest);
    uint64_t end = atomic_load(&shared->end);
    record_head_t head;

    for (; at < end; at += head.size) {
        copy_out(log, at, &head, sizeof(head));
        if (!head.is_filler) {
            atomic_store(&shared->next_number, head.number + 1);
        }
    }
}

static bool lock_writers(ws_log_t *log)
{
    int error = pthread_mutex_lock(&log->shared->lock);

    if (error == EOWNERDEAD) {
        recover(log);
        error = pthread_mutex_consistent(&log->shared->lock);
    }
    return error == 0;
}

static void wake_readers(ws_log_t *log)
{
    uint32_t used = atomic_load(&log->shared->slots_used);
    ws_log_slot_t *slot;
    uint32_t i;

    for (i = 0; i < used; i++) {
        slot = &log->slots[i].slot;
        if (atomic_load(&slot->sleeping) == 1 && atomic_load(&slot->wanted) &&
            atomic_exchange(&slot->sleeping, 0) == 1) {
            ws_wake_notify(&log->wakes[i]);
        }
    }
}

ws_status_t ws_log_append(ws_log_t *log, const ws_record_t *record,
                          uint64_t *pnumber)
{
    shared_t *shared = log->shared;
    uint64_t number;

    if (record->topic_length > WS_LOG_TOPIC_MAX ||
        record->length > ws_log_message_max(log)) {
        return WS_ETOOBIG;
    }
    if (!lock_writers(log)) {
        return WS_EIO;
    }
    number = atomic_load_explicit(&shared->next_number, memory_order_relaxed);
    write_record(log, record, number);
    pthread_mutex_unlock(&shared->lock);
    /* pairs with the reader's "I sleep", then "is there a record?" */
    atomic_thread_fence(memory_order_seq_cst);
    wake_readers(log);
    if (pnumber != NULL) {
        *pnumber = number;
    }
    return WS_OK;
}

/* --- readers --- */

ws_status_t ws_log_reader_init(ws_log_reader_t *reader, ws_log_t *log)
{
    shared_t *shared = log->shared;

    memset(reader, 0, sizeof(*reader));
    if (!lock_writers(log)) {
        return WS_EIO;
    }
    reader->position = atomic_load_explicit(&shared->end, memory_order_relaxed);
    reader->number =
        atomic_load_explicit(&shared->next_number, memory_order_relaxed);
    pthread_mutex_unlock(&shared->lock);
    return WS_OK;
}

void ws_log_reader_clear(ws_log_reader_t *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
    reader->capacity = 0;
}

bool ws_log_reader_has(const ws_log_reader_t *reader, const ws_log_t *log)
{
    return atomic_load(&log->shared->end) != reader->position;
}

/* Has what lies at the reader's position been there all the time? */
static bool still_there(const ws_log_reader_t *reader, const ws_log_t *log)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&log->shared->oldest, memory_order_relaxed) <=
           reader->position;
}

static bool reserve(ws_log_reader_t *reader, size_t size)
{
    uint8_t *buffer;

    if (size <= reader->capacity) {
        return true;
    }
    buffer = realloc(reader->buffer, size);
    if (buffer == NULL) {
        return false;
    }
    reader->buffer = buffer;
    reader->capacity = size;
    return true;
}

/* Finds the next record. false: there is none. */
static bool find_record(ws_log_reader_t *reader, const ws_log_t *log,
                        record_head_t *head)
{
    for (;;) {
        if (!ws_log_reader_has(reader, log)) {
            return false;
        }
        copy_out(log, reader->position, head, sizeof(*head));
        if (!still_there(reader, log)) {    /* go on at the oldest */
            reader->position = atomic_load_explicit(&log->shared->oldest,
                                                    memory_order_acquire);
        }
        else if (head->is_filler) {
            reader->position += head->size;
        }
        else {
            return true;
        }
    }
}

ws_status_t ws_log_read(ws_log_reader_t *reader, const ws_log_t *log,
                        ws_record_t *record, uint64_t *plost)
{
    record_head_t head;

    *plost = 0;
    do {
        if (!find_record(reader, log, &head)) {
            return WS_AGAIN;
        }
        if (!reserve(reader, head.size)) {
            reader->position += head.size;
            return WS_ENOMEM;
        }
        copy_out(log, reader->position, reader->buffer, head.size);
    } while (!still_there(reader, log));
    *plost = head.number - reader->number;
    reader->position += head.size;
    reader->number = head.number + 1;
    record->topic = (const char *)reader->buffer + sizeof(head);
    record->topic_length = head.topic_length;
    record->number = head.number;
    record->except = head.except;
    record->opcode = head.opcode;
    record->data = reader->buffer + sizeof(head) +
                   aligned(head.topic_length, sizeof(uint64_t));
    record->length = head.length;
    return WS_OK;
}

/* --- slots --- */

static void clear_budget(ws_budget_t *budget)
{
    atomic_store(&budget->used, 0);
    atomic_store(&budget->limit, 0);
}

static void clear(ws_log_slot_t *slot)
{
    atomic_store(&slot->sleeping, 0);
    atomic_store(&slot->wanted, 0);
    atomic_store(&slot->connections, 0);
    clear_budget(&slot->budgets.compression);
    clear_budget(&slot->budgets.sending);
}

/* Whose it is; 0: nobody's, or nobody's yet. */
static uint32_t owner_of(const ws_log_slot_t *slot)
{
    uint32_t owner = atomic_load(&slot->owner);

    return (owner & CLEARING) == 0 ? owner : 0;
}

static bool take(ws_log_t *log, uint32_t i)
{
    ws_log_slot_t *slot = &log->slots[i].slot;
    uint32_t owner = atomic_load(&slot->owner);
    uint32_t self = (uint32_t)getpid();

    if (ws_shared_owner_lives(owner & ~CLEARING) ||
        !atomic_compare_exchange_strong(&slot->owner, &owner,
                                        self | CLEARING)) {
        return false;
    }
    clear(slot);
    ws_census_clear(&log->censuses[i]);
    atomic_store(&slot->owner, self);
    return true;
}

ws_log_slot_t *ws_log_slot_take(ws_log_t *log)
{
    uint32_t used;
    uint32_t i;

    for (i = 0; i < log->slot_count; i++) {
        if (!take(log, i)) {
            continue;
        }
        used = atomic_load(&log->shared->slots_used);
        while (used < i + 1 &&
               !atomic_compare_exchange_weak(&log->shared->slots_used, &used,
                                             i + 1)) {
            continue;
        }
        return &log->slots[i].slot;
    }
    return NULL;
}

void ws_log_slot_free(ws_log_slot_t *slot)
{
    clear(slot);
    atomic_store(&slot->owner, 0);
}

void ws_log_slot_pass(ws_log_slot_t *slot, pid_t from, pid_t to)
{
    uint32_t owner = (uint32_t)from;

    atomic_compare_exchange_strong(&slot->owner, &owner, (uint32_t)to);
}

static void add_slot(ws_log_totals_t *totals, const ws_log_slot_t *slot)
{
    const ws_budget_t *budget = &slot->budgets.compression;

    if (!ws_shared_owner_lives(owner_of(slot))) {
        return;
    }
    totals->connections += atomic_load(&slot->connections);
    if (budget->limit > 0) {
        totals->budgets++;
        totals->used_up += ws_budget_is_used_up(budget);
        totals->compression += atomic_load(&budget->used);
        totals->compression_limit = budget->limit;
    }
    totals->sending += atomic_load(&slot->budgets.sending.used);
}

ws_log_totals_t ws_log_totals(const ws_log_t *log)
{
    uint32_t used = atomic_load(&log->shared->slots_used);
    ws_log_totals_t totals = {0};
    uint32_t i;

    for (i = 0; i < used; i++) {
        add_slot(&totals, &log->slots[i].slot);
    }
    return totals;
}

static size_t index_of(const ws_log_t *log, const ws_log_slot_t *slot)
{
    return (size_t)((const struct padded_slot *)(const void *)slot -
                    log->slots);
}

ws_census_t *ws_log_slot_census(const ws_log_t *log, const ws_log_slot_t *slot)
{
    return &log->censuses[index_of(log, slot)];
}

/* Where it has any, it is the slot of a process that is there. One that was
 * there when this began may have left the slot to another meanwhile. */
static int64_t count_in(const ws_log_t *log, uint32_t i, uint64_t topic)
{
    const ws_log_slot_t *slot = &log->slots[i].slot;
    uint32_t owner;
    int64_t count;

    do {
        owner = owner_of(slot);
        count = ws_census_count(&log->censuses[i], topic);
        if (count == 0 || ws_shared_owner_lives(owner)) {
            return count;
        }
    } while (owner_of(slot) != owner);
    return 0;
}

int64_t ws_log_subscribers(const ws_log_t *log, const void *topic,
                           size_t length)
{
    uint64_t hash = ws_log_hash(log, topic, length);
    uint32_t used = atomic_load(&log->shared->slots_used);
    int64_t sum = 0;
    int64_t count;
    uint32_t i;

    for (i = 0; i < used; i++) {
        count = count_in(log, i, hash);
        if (count < 0) {
            return -1;
        }
        sum += count;
    }
    return sum;
}

const ws_wake_t *ws_log_slot_wake(const ws_log_t *log,
                                  const ws_log_slot_t *slot)
{
    return &log->wakes[index_of(log, slot)];
}
