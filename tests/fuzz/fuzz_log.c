/* The shared log against a plain array of what was appended: what each reader
 * gets, how much it lost, what is left after a writer died at any point, and
 * who is woken.
 *
 * Input: a byte for the ring's size, then operations: a byte that says which,
 * and its arguments. */

#include <poll.h>
#include <pthread.h>

#include "fuzz.h"

/* The log's lock is a word here: one whose owner can be dead at no cost. */
static int plain_lock(pthread_mutex_t *lock);
static int plain_unlock(pthread_mutex_t *lock);
static int plain_consistent(pthread_mutex_t *lock);
#define pthread_mutex_lock plain_lock
#define pthread_mutex_unlock plain_unlock
#define pthread_mutex_consistent plain_consistent

/* Its insides too: a writer that dies half-way does what is there called. */
#include "ws_log.c"

#define READERS 3
#define SLOTS 2
#define ITEMS_MAX 600                /* of one input */
#define PATTERN_SIZE (128 * 1024)

/* A record, or what fills the ring up to its end. */
typedef struct {
    uint64_t start, end;             /* bytes since the log began */
    bool is_record;
    uint64_t number;
    uint64_t except;
    uint8_t opcode;
    size_t topic_length;
    size_t length;
} item_t;

typedef struct {
    ws_log_reader_t reader;
    bool is_open;
    size_t next;                     /* item */
    uint64_t number;                 /* of the record that it waits for */
} model_reader_t;

typedef struct {
    ws_log_slot_t *slot;
    bool sleeping;
    bool wanted;
    bool woken;
    uint32_t connections;
} model_slot_t;

typedef struct {
    ws_log_t *log;
    uint64_t ring;
    item_t items[ITEMS_MAX];
    size_t count;
    size_t oldest;                   /* item; those before are overwritten */
    uint64_t end;
    uint64_t next_number;
    bool is_counted;                 /* does the log know next_number? */
    unsigned deaths;
    model_reader_t readers[READERS];
    model_slot_t slots[SLOTS];
    uint8_t *pattern;
} model_t;

/* --- the lock, as a robust one is --- */

static enum { FREE, HELD, OWNER_DEAD, INCONSISTENT } lock_state;

static int plain_lock(pthread_mutex_t *lock)
{
    (void)lock;
    FUZZ_CHECK(lock_state == FREE || lock_state == OWNER_DEAD);
    if (lock_state == OWNER_DEAD) {
        lock_state = INCONSISTENT;
        return EOWNERDEAD;
    }
    lock_state = HELD;
    return 0;
}

static int plain_unlock(pthread_mutex_t *lock)
{
    (void)lock;
    FUZZ_CHECK(lock_state == HELD);
    lock_state = FREE;
    return 0;
}

static int plain_consistent(pthread_mutex_t *lock)
{
    (void)lock;
    FUZZ_CHECK(lock_state == INCONSISTENT);
    lock_state = HELD;
    return 0;
}

/* --- what a record holds --- */

static const uint8_t *topic_of(const model_t *model, uint64_t number)
{
    return model->pattern + number * 31 % 8192;
}

static const uint8_t *data_of(const model_t *model, uint64_t number)
{
    return model->pattern + number * 257 % 8192;
}

static void choose_lengths(const model_t *model, fuzz_input_t *input,
                           item_t *item)
{
    unsigned topic = fuzz_byte(input);
    unsigned length = fuzz_byte(input);
    size_t max = ws_log_message_max(model->log);

    item->topic_length = topic < 240 ? topic : WS_LOG_TOPIC_MAX + topic - 253;
    item->length = length < 64    ? length
                   : length < 240 ? (length - 63) * max / 176 + fuzz_byte(input)
                                  : max + length - 253;
}

static size_t size_of(const item_t *item)
{
    size_t size = 32 + (item->topic_length + 7) / 8 * 8 + item->length;

    return (size + 31) / 32 * 32;
}

static bool fits(const model_t *model, const item_t *item)
{
    return item->topic_length <= WS_LOG_TOPIC_MAX &&
           item->length <= ws_log_message_max(model->log);
}

/* --- the plain log --- */

/* Nothing may be there that is a ring's size or more before `end`. */
static void forget(model_t *model, uint64_t end)
{
    while (model->oldest < model->count &&
           end - model->items[model->oldest].start > model->ring) {
        model->oldest++;
    }
}

static void push(model_t *model, const item_t *item, uint64_t size)
{
    item_t *added = &model->items[model->count];

    FUZZ_CHECK(model->count < ITEMS_MAX);
    *added = *item;
    added->start = model->end;
    model->end += size;
    added->end = model->end;
    model->count++;
}

/* A record is in one piece. */
static void fill(model_t *model, size_t size)
{
    static const item_t filler;
    uint64_t left = model->ring - model->end % model->ring;

    if (size > left) {
        forget(model, model->end + left);
        push(model, &filler, left);
    }
}

static void model_append(model_t *model, const item_t *item)
{
    size_t size = size_of(item);

    fill(model, size);
    forget(model, model->end + size);
    push(model, item, size);
    model->next_number++;
}

/* The lock finds out what a dead writer left uncounted. */
static void model_lock(model_t *model)
{
    model->is_counted = true;
}

static void model_wake(model_t *model)
{
    size_t i;

    for (i = 0; i < SLOTS; i++) {
        model_slot_t *slot = &model->slots[i];

        if (slot->sleeping && slot->wanted) {
            slot->sleeping = false;
            slot->woken = true;
        }
    }
}

/* --- operations --- */

static item_t choose_item(model_t *model, fuzz_input_t *input)
{
    item_t item = {.is_record = true, .number = model->next_number};

    item.opcode = (uint8_t)fuzz_byte(input);
    item.except = item.opcode & 4 ? UINT64_MAX - item.opcode : 0;
    choose_lengths(model, input, &item);
    return item;
}

static ws_record_t record_of(const model_t *model, const item_t *item)
{
    ws_record_t record = {
        .topic = (const char *)topic_of(model, item->number),
        .topic_length = item->topic_length,
        .number = 12345,                    /* is ignored */
        .except = item->except,
        .opcode = item->opcode,
        .data = data_of(model, item->number),
        .length = item->length,
    };

    return record;
}

static void do_append(model_t *model, fuzz_input_t *input)
{
    item_t item = choose_item(model, input);
    ws_record_t record = record_of(model, &item);
    uint64_t number = 0;
    ws_status_t status = ws_log_append(model->log, &record, &number);

    if (!fits(model, &item)) {
        FUZZ_CHECK(status == WS_ETOOBIG);
        FUZZ_CHECK(number == 0);
        return;
    }
    FUZZ_CHECK(status == WS_OK);
    FUZZ_CHECK(number == model->next_number);
    model_lock(model);
    model_append(model, &item);
    model_wake(model);
}

static void check_record(const model_t *model, const ws_record_t *record,
                         const item_t *item)
{
    FUZZ_CHECK(record->number == item->number);
    FUZZ_CHECK(record->except == item->except);
    FUZZ_CHECK(record->opcode == item->opcode);
    FUZZ_CHECK(record->topic_length == item->topic_length);
    FUZZ_CHECK(memcmp(record->topic, topic_of(model, item->number),
                      item->topic_length) == 0);
    FUZZ_CHECK(record->length == item->length);
    FUZZ_CHECK(memcmp(record->data, data_of(model, item->number),
                      item->length) == 0);
}

/* The item that the reader gets next, or model->count. */
static size_t next_of(const model_t *model, const model_reader_t *reader)
{
    size_t next = reader->next;

    if (next < model->oldest) {
        next = model->oldest;
    }
    while (next < model->count && !model->items[next].is_record) {
        next++;
    }
    return next;
}

static bool read_one(model_t *model, model_reader_t *reader)
{
    size_t next = next_of(model, reader);
    const item_t *item = &model->items[next];
    bool has = ws_log_reader_has(&reader->reader, model->log);
    uint64_t lost = 12345;
    ws_record_t record;
    ws_status_t status;

    status = ws_log_read(&reader->reader, model->log, &record, &lost);
    if (next == model->count) {
        FUZZ_CHECK(status == WS_AGAIN);
        FUZZ_CHECK(lost == 0);
        FUZZ_CHECK(!has || model->deaths > 0);
        FUZZ_CHECK(!ws_log_reader_has(&reader->reader, model->log));
        return false;
    }
    FUZZ_CHECK(has);
    FUZZ_CHECK(status == WS_OK);
    FUZZ_CHECK(lost == item->number - reader->number);
    check_record(model, &record, item);
    reader->next = next + 1;
    reader->number = item->number + 1;
    return true;
}

static void do_read(model_t *model, fuzz_input_t *input, unsigned which)
{
    model_reader_t *reader = &model->readers[which % READERS];
    unsigned count = which & 4 ? ITEMS_MAX : 1 + fuzz_byte(input) % 4;

    while (reader->is_open && count > 0 && read_one(model, reader)) {
        count--;
    }
}

static void read_rest(model_t *model)
{
    size_t i;

    for (i = 0; i < READERS; i++) {
        model_reader_t *reader = &model->readers[i];

        while (reader->is_open && read_one(model, reader)) {
            continue;
        }
        ws_log_reader_clear(&reader->reader);
    }
}

static void do_open_reader(model_t *model, unsigned which)
{
    model_reader_t *reader = &model->readers[which % READERS];

    if (reader->is_open) {
        ws_log_reader_clear(&reader->reader);
        reader->is_open = false;
        return;
    }
    FUZZ_CHECK(ws_log_reader_init(&reader->reader, model->log) == WS_OK);
    model_lock(model);
    reader->is_open = true;
    reader->next = model->count;
    reader->number = model->next_number;
}

/* --- a writer that dies while it holds the lock --- */

/* Does what write_record() does, up to a point. */
static void die(model_t *model, const item_t *item, unsigned stage)
{
    ws_log_t *log = model->log;
    ws_record_t record = record_of(model, item);
    shared_t *shared = log->shared;
    size_t size = size_of(item);
    uint64_t end;
    uint64_t number;

    FUZZ_CHECK(lock_writers(log));
    end = atomic_load(&shared->end);
    number = atomic_load(&shared->next_number);
    if (stage >= 1 && stage <= 3) {
        end = fill_up(log, end, size);
    }
    if (stage == 2 || stage == 3) {
        make_room(log, end + size);
    }
    if (stage == 3) {
        copy_in(log, end, record.data, size < 4096 ? size : 4096);
    }
    if (stage >= 4) {
        write_record(log, &record, number);
    }
    if (stage == 4) {
        atomic_store(&shared->next_number, number);
    }
    lock_state = OWNER_DEAD;
}

static void do_die(model_t *model, fuzz_input_t *input)
{
    item_t item = choose_item(model, input);
    unsigned stage = fuzz_byte(input) % 6;
    uint64_t left = model->ring - model->end % model->ring;
    size_t size = size_of(&item);

    if (!fits(model, &item)) {
        return;
    }
    model->deaths++;
    die(model, &item, stage);
    model_lock(model);
    if (stage >= 4) {
        model_append(model, &item);
        model->is_counted = stage != 4;
        return;
    }
    if (stage >= 1 && size > left) {
        forget(model, model->end + left);
    }
    if (stage >= 2) {
        forget(model, model->end + size + (size > left ? left : 0));
    }
}

/* --- slots --- */

static void do_slot(model_t *model, unsigned which)
{
    model_slot_t *slot = &model->slots[which % SLOTS];

    if (slot->slot == NULL) {
        slot->slot = ws_log_slot_take(model->log);
        FUZZ_CHECK(slot->slot != NULL);
        FUZZ_CHECK(atomic_load(&slot->slot->sleeping) == 0);
        return;
    }
    switch (which >> 1 & 3) {
    case 0:
        atomic_store(&slot->slot->wanted, 1);
        slot->wanted = true;
        slot->connections = 1 + (uint32_t)model->count;
        atomic_store(&slot->slot->connections, slot->connections);
        break;
    case 1:
        atomic_store(&slot->slot->wanted, 0);
        slot->wanted = false;
        break;
    case 2:
        atomic_store(&slot->slot->sleeping, 1);
        slot->sleeping = true;
        break;
    default:
        ws_wake_drain(ws_log_slot_wake(model->log, slot->slot));
        ws_log_slot_free(slot->slot);
        memset(slot, 0, sizeof(*slot));
        break;
    }
}

static void check_slots(model_t *model)
{
    uint64_t connections = 0;
    size_t i;

    for (i = 0; i < SLOTS; i++) {
        model_slot_t *slot = &model->slots[i];
        struct pollfd event = {.events = POLLIN};

        if (slot->slot == NULL) {
            continue;
        }
        FUZZ_CHECK(atomic_load(&slot->slot->sleeping) == slot->sleeping);
        connections += slot->connections;
        event.fd = ws_log_slot_wake(model->log, slot->slot)->read_fd;
        FUZZ_CHECK(poll(&event, 1, 0) == slot->woken);
    }
    FUZZ_CHECK(ws_log_totals(model->log).connections == connections);
    if (model->slots[0].slot != NULL && model->slots[1].slot != NULL) {
        FUZZ_CHECK(ws_log_slot_take(model->log) == NULL);
    }
}

/* --- all of it --- */

static void do_one(model_t *model, fuzz_input_t *input)
{
    unsigned what = fuzz_byte(input);
    unsigned times = 1 + (what >> 3 & 3);

    switch (what & 7) {
    case 0:
    case 1:
    case 2:
        while (times-- > 0 && model->count + 2 <= ITEMS_MAX) {
            do_append(model, input);
        }
        break;
    case 3:
    case 4:
        do_read(model, input, what >> 3);
        break;
    case 5:
        do_open_reader(model, what >> 3);
        break;
    case 6:
        do_die(model, input);
        break;
    default:
        do_slot(model, what >> 3);
        break;
    }
    FUZZ_CHECK(ws_log_next_number(model->log) ==
               model->next_number - !model->is_counted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t pattern[PATTERN_SIZE];
    static model_t model;
    fuzz_input_t input = {data, size};
    uint32_t seed = 1;
    size_t i;

    if (pattern[1] == 0) {
        for (i = 0; i < sizeof(pattern); i++) {
            pattern[i] = (uint8_t)(fuzz_random(&seed) | 1);
        }
    }
    lock_state = FREE;
    memset(&model, 0, sizeof(model));
    model.pattern = pattern;
    model.next_number = 1;
    model.is_counted = true;
    model.ring = (uint64_t)WS_LOG_SIZE_MIN << (fuzz_byte(&input) & 1);
    FUZZ_CHECK(ws_log_create(&model.log, model.ring - (size & 1), SLOTS) ==
               WS_OK);
    FUZZ_CHECK(ws_log_size(model.log) == model.ring);
    while (input.left > 0 && model.count + 2 <= ITEMS_MAX) {
        do_one(&model, &input);
    }
    check_slots(&model);
    read_rest(&model);
    ws_log_destroy(model.log);
    return 0;
}
