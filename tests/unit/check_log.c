/* ws_log: the shared log, in one process and in several. */
#include "ws_log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ws_test.h"
#include "ws_test_alloc.h"
#include "ws_test_step.h"

#define SLOTS 4

static ws_log_t *log_;
static ws_log_reader_t reader;
static uint64_t got;
static uint64_t lost;
static uint64_t last_number;

/* What hangs is ended, also where check does not fork. */
static void begin(void)
{
    alarm(120);
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, SLOTS), WS_OK);
    ck_assert_int_eq(ws_log_reader_init(&reader, log_), WS_OK);
    got = 0;
    lost = 0;
    last_number = ws_log_next_number(log_) - 1;
}

static void end(void)
{
    ws_log_reader_clear(&reader);
    ws_log_destroy(log_);
    alarm(0);
}

/* --- records that can be recognized --- */

static uint8_t byte_of(uint64_t id, size_t i)
{
    return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

/* In scratch; except carries the id. */
static ws_record_t make(uint64_t id, size_t topic_length, size_t length)
{
    static uint8_t scratch[WS_LOG_TOPIC_MAX + 2 + WS_LOG_SIZE_MIN];
    size_t i;

    for (i = 0; i < topic_length + length; i++) {
        scratch[i] = byte_of(id, i);
    }
    return (ws_record_t){.topic = (const char *)scratch,
                         .topic_length = topic_length,
                         .except = id,
                         .opcode = (uint8_t)(id % 2 + 1),
                         .data = scratch + topic_length,
                         .length = length};
}

static void check_record(const ws_record_t *record)
{
    uint64_t id = record->except;
    size_t i;

    ck_assert_uint_eq(record->opcode, id % 2 + 1);
    for (i = 0; i < record->topic_length; i++) {
        if ((uint8_t)record->topic[i] != byte_of(id, i)) {
            ck_abort_msg("topic is torn");
        }
    }
    for (i = 0; i < record->length; i++) {
        if (record->data[i] != byte_of(id, record->topic_length + i)) {
            ck_abort_msg("message is torn at %zu of %zu", i, record->length);
        }
    }
}

static ws_status_t append(uint64_t id, size_t topic_length, size_t length)
{
    ws_record_t record = make(id, topic_length, length);

    return ws_log_append(log_, &record, NULL);
}

/* Reads one and keeps the books. */
static ws_status_t read_one(ws_record_t *record)
{
    uint64_t missed = 77;
    ws_status_t status = ws_log_read(&reader, log_, record, &missed);

    if (status == WS_OK) {
        check_record(record);
        ck_assert_uint_eq(record->number, last_number + missed + 1);
        last_number = record->number;
        got++;
        lost += missed;
    }
    else {
        ck_assert_uint_eq(missed, 0);
    }
    return status;
}

static void read_all(void)
{
    ws_record_t record;

    while (read_one(&record) == WS_OK) {
        continue;
    }
}

/* --- one process --- */

START_TEST(numbers_begin_with_1_and_rise_by_1)
{
    ws_record_t record = make(1, 3, 5);
    uint64_t number = 0;
    uint64_t i;

    begin();
    ck_assert_uint_eq(ws_log_next_number(log_), 1);
    for (i = 1; i <= 5000; i++) {
        ck_assert_int_eq(ws_log_append(log_, &record, &number), WS_OK);
        ck_assert_uint_eq(number, i);
        ck_assert_uint_eq(ws_log_next_number(log_), i + 1);
    }
    end();
}
END_TEST

START_TEST(log_knows_its_size_and_its_epoch)
{
    ws_log_t *other = NULL;

    begin();
    ck_assert_uint_eq(ws_log_size(log_), WS_LOG_SIZE_MIN);
    ck_assert_uint_gt(ws_log_message_max(log_), WS_LOG_SIZE_MIN / 2 - 2048);
    ck_assert_uint_lt(ws_log_message_max(log_), WS_LOG_SIZE_MIN / 2);
    ck_assert_int_eq(ws_log_create(&other, WS_LOG_SIZE_MIN * 3, 1), WS_OK);
    ck_assert_uint_eq(ws_log_size(other), WS_LOG_SIZE_MIN * 4);
    ck_assert_uint_ne(ws_log_epoch(log_), 0);
    ck_assert_uint_ne(ws_log_epoch(other), ws_log_epoch(log_));
    ws_log_destroy(other);
    ck_assert_int_eq(ws_log_create(&other, 1, 1), WS_OK);
    ck_assert_uint_eq(ws_log_size(other), WS_LOG_SIZE_MIN);
    ws_log_destroy(other);
    end();
}
END_TEST

START_TEST(ids_are_not_0_and_never_the_same)
{
    uint64_t last = 0;
    int i;

    begin();
    for (i = 0; i < 1000; i++) {
        uint64_t id = ws_log_next_id(log_);

        ck_assert_uint_gt(id, last);
        last = id;
    }
    end();
}
END_TEST

START_TEST(reader_gets_what_comes_after_it)
{
    ws_log_reader_t late;
    ws_record_t record;
    uint64_t missed;

    begin();
    ck_assert_int_eq(append(1, 5, 10), WS_OK);
    ck_assert_int_eq(ws_log_reader_init(&late, log_), WS_OK);
    ck_assert(ws_log_reader_has(&reader, log_));
    ck_assert(!ws_log_reader_has(&late, log_));
    ck_assert_int_eq(ws_log_read(&late, log_, &record, &missed), WS_AGAIN);
    ck_assert_int_eq(append(2, 5, 10), WS_OK);
    ck_assert_int_eq(ws_log_read(&late, log_, &record, &missed), WS_OK);
    ck_assert_uint_eq(missed, 0);
    ck_assert_uint_eq(record.number, 2);
    ck_assert_uint_eq(record.except, 2);
    ck_assert_int_eq(ws_log_read(&late, log_, &record, &missed), WS_AGAIN);
    ws_log_reader_clear(&late);
    read_all();
    ck_assert_uint_eq(got, 2);
    ck_assert_uint_eq(lost, 0);
    end();
}
END_TEST

START_TEST(record_of_any_size_survives_the_rings_end)
{
    uint32_t seed = 99 + (uint32_t)_i;
    uint64_t rounds = ws_test_is_slow() ? 300 : 4000;
    size_t max;
    uint64_t id;

    begin();
    max = ws_log_message_max(log_);
    for (id = 1; id <= rounds; id++) {
        size_t length = ws_test_random(&seed) % (_i == 0   ? 100
                                                 : _i == 1 ? 3000
                                                           : max + 1);
        ws_record_t record;

        ck_assert_int_eq(append(id, ws_test_random(&seed) % 40, length), WS_OK);
        ck_assert_int_eq(read_one(&record), WS_OK);
        ck_assert_uint_eq(record.except, id);
        ck_assert_uint_eq(record.length, length);
        ck_assert_int_eq(read_one(&record), WS_AGAIN);
    }
    ck_assert_uint_eq(got, rounds);
    ck_assert_uint_eq(lost, 0);
    end();
}
END_TEST

/* Every length in a row: each meets the ring's end somewhere. */
START_TEST(record_of_each_size_is_read_back)
{
    size_t step = ws_test_is_slow() ? 97 : 1;
    ws_record_t record;
    size_t length;

    begin();
    for (length = 0; length <= 2000; length += step) {
        ck_assert_int_eq(append(length + 1, length % 9, length), WS_OK);
        ck_assert_int_eq(read_one(&record), WS_OK);
        ck_assert_uint_eq(record.length, length);
        ck_assert_uint_eq(record.topic_length, length % 9);
    }
    end();
}
END_TEST

START_TEST(topic_of_any_length_is_read_back)
{
    ws_record_t record;
    size_t length;

    begin();
    for (length = 0; length <= WS_LOG_TOPIC_MAX; length++) {
        ck_assert_int_eq(append(length + 1, length, 3), WS_OK);
        ck_assert_int_eq(read_one(&record), WS_OK);
        ck_assert_uint_eq(record.topic_length, length);
        ck_assert_uint_eq(record.length, 3);
    }
    ck_assert_int_eq(append(1, WS_LOG_TOPIC_MAX + 1, 3), WS_ETOOBIG);
    ck_assert(!ws_log_reader_has(&reader, log_));
    end();
}
END_TEST

START_TEST(largest_message_fits_and_one_byte_more_does_not)
{
    ws_record_t record;
    uint64_t number = ws_test_is_slow() ? 10 : 100;
    size_t max;
    uint64_t i;

    begin();
    max = ws_log_message_max(log_);
    for (i = 1; i <= number; i++) {
        ck_assert_int_eq(append(i, WS_LOG_TOPIC_MAX, max), WS_OK);
        ck_assert_int_eq(append(i, 0, max + 1), WS_ETOOBIG);
        ck_assert_int_eq(read_one(&record), WS_OK);
        ck_assert_uint_eq(record.length, max);
        if (i % 3 == 0) {
            ck_assert_int_eq(append(i, 1, i), WS_OK);
            ck_assert_int_eq(read_one(&record), WS_OK);
        }
    }
    ck_assert_uint_eq(lost, 0);
    record = make(1, 0, 1);
    record.length = SIZE_MAX;
    ck_assert_int_eq(ws_log_append(log_, &record, NULL), WS_ETOOBIG);
    end();
}
END_TEST

START_TEST(lapped_reader_knows_how_many_it_missed)
{
    uint32_t seed = 5 + (uint32_t)_i;
    const uint64_t rounds = ws_test_is_slow() ? 10 : 200;
    uint64_t written = 0;
    uint64_t i;

    begin();
    for (i = 0; i < rounds; i++) {
        uint32_t batch = ws_test_random(&seed) % 400;

        for (; batch > 0; batch--) {
            written++;
            ck_assert_int_eq(append(written, ws_test_random(&seed) % 30,
                                    ws_test_random(&seed) % 1500),
                             WS_OK);
        }
        read_all();
        ck_assert_uint_eq(got + lost, written);
    }
    ck_assert_uint_gt(got, 0);
    ck_assert_uint_gt(lost, 0);
    end();
}
END_TEST

/* It gives all that the ring can still hold. */
START_TEST(lapped_reader_goes_on_at_the_oldest)
{
    const size_t size = 32 + 8 + 216;
    uint64_t i;

    begin();
    for (i = 0; i < 10 * WS_LOG_SIZE_MIN / size; i++) {
        ck_assert_int_eq(append(i + 1, 8, 216), WS_OK);
    }
    read_all();
    ck_assert_uint_eq(got, WS_LOG_SIZE_MIN / size);
    ck_assert_uint_eq(got + lost, i);
    end();
}
END_TEST

START_TEST(record_without_memory_is_passed_over_and_counted)
{
    ws_record_t record;
    uint64_t missed = 9;

    begin();
    append(1, 3, 1000);
    append(2, 3, 1000);
    ws_test_alloc_begin();
    ws_test_alloc_fail(0, false);
    ck_assert_int_eq(ws_log_read(&reader, log_, &record, &missed), WS_ENOMEM);
    ck_assert(ws_test_alloc_unfail());
    ws_test_alloc_end();
    ck_assert_uint_eq(missed, 0);
    ck_assert_int_eq(ws_log_read(&reader, log_, &record, &missed), WS_OK);
    ck_assert_uint_eq(missed, 1);
    ck_assert_uint_eq(record.number, 2);
    check_record(&record);
    end();
}
END_TEST

START_TEST(log_without_memory_is_not_made)
{
    ws_log_t *log = NULL;
    bool failed = true;
    long n;

    for (n = 0; failed; n++) {
        ws_test_alloc_begin();
        ws_test_alloc_fail(n, true);
        if (ws_log_create(&log, WS_LOG_SIZE_MIN, SLOTS) == WS_OK) {
            ws_log_destroy(log);
        }
        else {
            ck_assert(ws_test_alloc.failed);
        }
        failed = ws_test_alloc_unfail();
        ck_assert_int_eq(ws_test_alloc.live, 0);
        ws_test_alloc_end();
    }
    ck_assert_int_ge(n, 3);
}
END_TEST

/* --- several processes --- */

static void wait_for(pid_t child)
{
    int status = 0;

    while (waitpid(child, &status, 0) < 0) {
        ck_assert_int_eq(errno, EINTR);
    }
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "a child failed: %x", (unsigned)status);
}

/* In a child: no assertions there. Ids: who << 32 | count. */
static void write_many(uint64_t who, uint64_t count)
{
    uint32_t seed = 1000 + (uint32_t)who;
    uint64_t i;

    for (i = 1; i <= count; i++) {
        if (append(who << 32 | i, ws_test_random(&seed) % 20,
                   ws_test_random(&seed) % 600) != WS_OK) {
            _exit(1);
        }
    }
    _exit(0);
}

#define WRITERS 2

START_TEST(what_other_processes_write_is_read_whole_and_in_order)
{
    const uint64_t count = ws_test_is_slow() ? 300 : 30000;
    uint64_t last[WRITERS + 1] = {0};
    pid_t children[WRITERS + 1];
    ws_record_t record;
    uint64_t who;

    begin();
    for (who = 1; who <= WRITERS; who++) {
        children[who] = fork();
        if (children[who] == 0) {
            write_many(who, count);
        }
    }
    while (last_number < WRITERS * count) {
        if (read_one(&record) != WS_OK) {
            continue;
        }
        who = record.except >> 32;
        ck_assert_uint_ge(who, 1);
        ck_assert_uint_le(who, WRITERS);
        ck_assert_uint_gt((uint32_t)record.except, last[who]);
        last[who] = (uint32_t)record.except;
    }
    for (who = 1; who <= WRITERS; who++) {
        wait_for(children[who]);
    }
    read_all();
    ck_assert_uint_eq(got + lost, WRITERS * count);
    ck_assert_uint_eq(ws_log_next_number(log_), WRITERS * count + 1);
    end();
}
END_TEST

START_TEST(other_processes_read_what_is_written_here)
{
    const uint64_t count = ws_test_is_slow() ? 300 : 20000;
    pid_t children[2];
    uint64_t i;

    begin();
    for (i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            ws_record_t record;

            while (last_number < count) {
                read_one(&record);
            }
            _exit(got + lost == count ? 0 : 1);
        }
    }
    for (i = 1; i <= count; i++) {
        ck_assert_int_eq(append(i, 5, i % 900), WS_OK);
    }
    wait_for(children[0]);
    wait_for(children[1]);
    end();
}
END_TEST

/* --- a writer dies --- */

static void expect_signal(pid_t child, int number)
{
    int status = 0;

    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), number);
}

/* Its message lies half on a page that faults: it dies while it copies, and
 * holds the lock. */
START_TEST(writer_that_dies_with_the_lock_blocks_nobody)
{
    ws_test_edge_t edge = ws_test_edge_create(4096);
    ws_record_t record;
    pid_t child;
    int i;

    begin();
    for (i = 0; i < 40; i++) {
        ck_assert_int_eq(append((uint64_t)i * 2 + 1, 9, 3000), WS_OK);
        record = make(1, 9, 3000);
        record.data = edge.start + edge.size - 1500;
        child = fork();
        if (child == 0) {
            signal(SIGSEGV, SIG_DFL);
            ws_log_append(log_, &record, NULL);
            _exit(0);
        }
        expect_signal(child, SIGSEGV);
        if (i % 2 == 0) {
            read_all();
        }
        ck_assert_int_eq(append((uint64_t)i * 2 + 2, 9, 3000), WS_OK);
        ck_assert_uint_eq(ws_log_next_number(log_), (uint64_t)i * 2 + 3);
        if (i % 2 == 0) {
            read_all();
            ck_assert_uint_eq(got + lost, (uint64_t)i * 2 + 2);
            ck_assert_uint_eq(last_number, (uint64_t)i * 2 + 2);
        }
    }
    read_all();
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(got, 80);
    ws_test_edge_destroy(&edge);
    end();
}
END_TEST

/* A reader that begins then takes the lock as well. */
START_TEST(reader_begins_after_a_writer_died_with_the_lock)
{
    ws_test_edge_t edge = ws_test_edge_create(4096);
    ws_log_reader_t other;
    ws_record_t record;
    pid_t child;

    begin();
    record = make(1, 9, 3000);
    record.data = edge.start + edge.size - 1500;
    child = fork();
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        ws_log_append(log_, &record, NULL);
        _exit(0);
    }
    expect_signal(child, SIGSEGV);
    ck_assert_int_eq(ws_log_reader_init(&other, log_), WS_OK);
    ck_assert_uint_eq(other.number, 1);
    ck_assert(!ws_log_reader_has(&other, log_));
    ck_assert_int_eq(append(5, 1, 1), WS_OK);
    ck_assert(ws_log_reader_has(&other, log_));
    ws_log_reader_clear(&other);
    ws_test_edge_destroy(&edge);
    end();
}
END_TEST

START_TEST(writers_killed_at_any_moment_leave_the_log_whole)
{
    const int rounds = ws_test_is_slow() ? 5 : 150;
    uint32_t seed = 31;
    ws_record_t record;
    uint64_t id = 1;
    int i;

    begin();
    for (i = 0; i < rounds; i++) {
        uint64_t enough = got + 1 + ws_test_random(&seed) % 60;
        pid_t child = fork();

        if (child == 0) {
            write_many(2, UINT32_MAX);
        }
        while (got < enough) {
            read_one(&record);
        }
        kill(child, SIGKILL);
        expect_signal(child, SIGKILL);
        ck_assert_int_eq(append(id, 3, 100), WS_OK);
        do {
            ck_assert_int_eq(read_one(&record), WS_OK);
        } while (record.except != id);
        ck_assert_int_eq(read_one(&record), WS_AGAIN);
        id++;
    }
    end();
}
END_TEST

static void append_it(void *record)
{
    ws_log_append(log_, record, NULL);
}

/* Killed after each of its machine instructions in turn: the record is there
 * or it is not; nothing is lost, no number is left out or comes twice. */
START_TEST(writer_killed_after_any_instruction_leaves_the_log_whole)
{
    ws_record_t killed;
    ws_record_t record;
    uint64_t id;
    long count;
    long every;
    long n;

    if (ws_test_is_slow()) {
        return;                             /* valgrind knows no ptrace */
    }
    begin();
    ck_assert_int_eq(append(1, 1, 1), WS_OK);       /* binds the symbols */
    killed = make(1, 5, 20);
    count = ws_test_step_count(append_it, &killed);
    if (count < 0) {
        puts("check_log: no ptrace here, nothing was stepped through");
        end();
        return;
    }
    read_all();
    ck_assert_uint_eq(got, 2);
    every = ws_test_step_every(count, 320000);
    for (n = 0; n < count; n += every) {
        killed = make(1, 5, 20);
        ws_test_step_die_after(n, append_it, &killed);
        id = 2 + (uint64_t)n;
        ck_assert_int_eq(append(id, 5, 20), WS_OK);
        ck_assert_int_eq(read_one(&record), WS_OK);
        if (record.except == 1) {
            ck_assert_int_eq(read_one(&record), WS_OK);
        }
        ck_assert_uint_eq(record.except, id);
        ck_assert_int_eq(read_one(&record), WS_AGAIN);
        ck_assert_msg(lost == 0, "killed after %ld of %ld instructions", n,
                      count);
    }
    end();
}
END_TEST

/* --- slots and waking --- */

START_TEST(slots_are_taken_freed_and_used_up)
{
    ws_log_slot_t *slots[SLOTS];
    int i;
    int j;

    begin();
    for (i = 0; i < SLOTS; i++) {
        slots[i] = ws_log_slot_take(log_);
        ck_assert_ptr_nonnull(slots[i]);
        ck_assert_uint_eq(slots[i]->owner, (uint32_t)getpid());
        for (j = 0; j < i; j++) {
            ck_assert_ptr_ne(slots[i], slots[j]);
            ck_assert_int_ne(ws_log_slot_wake(log_, slots[i])->read_fd,
                             ws_log_slot_wake(log_, slots[j])->read_fd);
        }
    }
    ck_assert_ptr_null(ws_log_slot_take(log_));
    atomic_store(&slots[2]->sleeping, 1);
    atomic_store(&slots[2]->wanted, 1);
    ws_log_slot_free(slots[2]);
    ck_assert_ptr_eq(ws_log_slot_take(log_), slots[2]);
    ck_assert_uint_eq(slots[2]->sleeping, 0);
    ck_assert_uint_eq(slots[2]->wanted, 0);
    ck_assert_ptr_null(ws_log_slot_take(log_));
    end();
}
END_TEST

START_TEST(slot_of_a_dead_process_is_taken_again)
{
    ws_log_slot_t *slot;
    pid_t child;
    int i;

    begin();
    child = fork();
    if (child == 0) {
        for (i = 0; i < SLOTS; i++) {
            slot = ws_log_slot_take(log_);
            if (slot == NULL) {
                _exit(1);
            }
            atomic_store(&slot->sleeping, 1);
            atomic_store(&slot->wanted, 1);
        }
        _exit(ws_log_slot_take(log_) == NULL ? 0 : 1);
    }
    wait_for(child);
    for (i = 0; i < SLOTS; i++) {
        slot = ws_log_slot_take(log_);
        ck_assert_ptr_nonnull(slot);
        ck_assert_uint_eq(slot->sleeping, 0);
        ck_assert_uint_eq(slot->wanted, 0);
    }
    ck_assert_ptr_null(ws_log_slot_take(log_));
    end();
}
END_TEST

static void report(ws_log_slot_t *slot, unsigned connections, size_t used,
                   size_t limit)
{
    ck_assert_ptr_nonnull(slot);
    atomic_store(&slot->connections, connections);
    atomic_store(&slot->budgets.compression.used, used);
    atomic_store(&slot->budgets.compression.limit, limit);
}

START_TEST(totals_are_of_the_processes_that_are_there)
{
    ws_log_totals_t totals;
    ws_log_slot_t *slot;
    pid_t child;

    begin();
    totals = ws_log_totals(log_);
    ck_assert_uint_eq(totals.connections, 0);
    ck_assert_uint_eq(totals.budgets, 0);
    child = fork();
    if (child == 0) {
        report(ws_log_slot_take(log_), 1000, 1000, 1000);
        _exit(0);
    }
    wait_for(child);
    totals = ws_log_totals(log_);
    ck_assert_uint_eq(totals.connections, 0);
    ck_assert_uint_eq(totals.used_up, 0);
    slot = ws_log_slot_take(log_);
    ck_assert_uint_eq(slot->connections, 0);
    ck_assert_uint_eq(slot->budgets.compression.used, 0);
    ck_assert_uint_eq(slot->budgets.compression.limit, 0);
    report(slot, 3, 100, 500);
    report(ws_log_slot_take(log_), 4, 0, 0);
    report(ws_log_slot_take(log_), 5, 500, 500);
    totals = ws_log_totals(log_);
    ck_assert_uint_eq(totals.connections, 12);
    ck_assert_uint_eq(totals.budgets, 2);
    ck_assert_uint_eq(totals.used_up, 1);
    ck_assert_uint_eq(totals.compression, 600);
    ck_assert_uint_eq(totals.compression_limit, 500);
    ws_log_slot_free(slot);
    ck_assert_uint_eq(ws_log_totals(log_).connections, 9);
    end();
}
END_TEST

START_TEST(slot_of_a_living_process_is_not_taken)
{
    int ready[2];
    int done[2];
    pid_t child;
    char byte = 'x';
    int i;

    begin();
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(done), 0);
    child = fork();
    if (child == 0) {
        close(done[1]);
        for (i = 0; i < SLOTS; i++) {
            if (ws_log_slot_take(log_) == NULL) {
                _exit(1);
            }
        }
        if (write(ready[1], &byte, 1) != 1) {
            _exit(1);
        }
        _exit(read(done[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ready[1]);
    close(done[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_ptr_null(ws_log_slot_take(log_));
    close(done[1]);
    close(ready[0]);
    wait_for(child);
    ck_assert_ptr_nonnull(ws_log_slot_take(log_));
    end();
}
END_TEST

static bool is_woken(const ws_log_slot_t *slot, int limit)
{
    struct pollfd p = {.fd = ws_log_slot_wake(log_, slot)->read_fd,
                       .events = POLLIN};

    return poll(&p, 1, limit) == 1;
}

START_TEST(append_wakes_who_sleeps_and_wants)
{
    static const struct {
        uint32_t sleeping, wanted;
        bool woken;
    } cases[] = {{0, 0, false}, {0, 1, false}, {1, 0, false}, {1, 1, true}};
    ws_log_slot_t *slots[4];
    int i;

    begin();
    for (i = 0; i < 4; i++) {
        slots[i] = ws_log_slot_take(log_);
        atomic_store(&slots[i]->sleeping, cases[i].sleeping);
        atomic_store(&slots[i]->wanted, cases[i].wanted);
    }
    append(1, 1, 1);
    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(is_woken(slots[i], 0), cases[i].woken);
        ck_assert_uint_eq(slots[i]->sleeping,
                          cases[i].woken ? 0 : cases[i].sleeping);
    }
    ws_wake_drain(ws_log_slot_wake(log_, slots[3]));
    ck_assert(!is_woken(slots[3], 0));
    append(2, 1, 1);
    ck_assert(!is_woken(slots[3], 0));      /* awake, as far as writers know */
    end();
}
END_TEST

START_TEST(append_wakes_across_processes)
{
    ws_log_slot_t *slot;
    pid_t child;

    begin();
    slot = ws_log_slot_take(log_);
    atomic_store(&slot->wanted, 1);
    atomic_store(&slot->sleeping, 1);
    ck_assert(!is_woken(slot, 0));
    child = fork();
    if (child == 0) {
        _exit(append(1, 1, 1) == WS_OK ? 0 : 1);
    }
    ck_assert(is_woken(slot, WS_TEST_LIMIT * 1000));
    ck_assert(ws_log_reader_has(&reader, log_));
    wait_for(child);
    end();
}
END_TEST

/* As a loop does it: says that it sleeps, looks once more, sleeps. */
START_TEST(no_wake_up_is_missed)
{
    const uint64_t count = ws_test_is_slow() ? 200 : 20000;
    ws_log_slot_t *slot;
    ws_record_t record;
    pid_t child;

    begin();
    slot = ws_log_slot_take(log_);
    atomic_store(&slot->wanted, 1);
    child = fork();
    if (child == 0) {
        write_many(1, count);
    }
    while (last_number < count) {
        if (read_one(&record) == WS_OK) {
            continue;
        }
        atomic_store(&slot->sleeping, 1);
        if (!ws_log_reader_has(&reader, log_)) {
            ck_assert(is_woken(slot, WS_TEST_LIMIT * 1000));
            ws_wake_drain(ws_log_slot_wake(log_, slot));
        }
        atomic_store(&slot->sleeping, 0);
    }
    wait_for(child);
    ck_assert_uint_eq(got + lost, count);
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(numbers_begin_with_1_and_rise_by_1),
        WS_TEST(log_knows_its_size_and_its_epoch),
        WS_TEST(ids_are_not_0_and_never_the_same),
        WS_TEST(reader_gets_what_comes_after_it),
        WS_TEST_LOOP(record_of_any_size_survives_the_rings_end, 3),
        WS_TEST(record_of_each_size_is_read_back),
        WS_TEST(topic_of_any_length_is_read_back),
        WS_TEST(largest_message_fits_and_one_byte_more_does_not),
        WS_TEST_LOOP(lapped_reader_knows_how_many_it_missed, 2),
        WS_TEST(lapped_reader_goes_on_at_the_oldest),
        WS_TEST(record_without_memory_is_passed_over_and_counted),
        WS_TEST(log_without_memory_is_not_made),
        WS_TEST(what_other_processes_write_is_read_whole_and_in_order),
        WS_TEST(other_processes_read_what_is_written_here),
        WS_TEST(writer_that_dies_with_the_lock_blocks_nobody),
        WS_TEST(reader_begins_after_a_writer_died_with_the_lock),
        WS_TEST(writers_killed_at_any_moment_leave_the_log_whole),
        WS_TEST(writer_killed_after_any_instruction_leaves_the_log_whole),
        WS_TEST(slots_are_taken_freed_and_used_up),
        WS_TEST(slot_of_a_dead_process_is_taken_again),
        WS_TEST(totals_are_of_the_processes_that_are_there),
        WS_TEST(slot_of_a_living_process_is_not_taken),
        WS_TEST(append_wakes_who_sleeps_and_wants),
        WS_TEST(append_wakes_across_processes),
        WS_TEST(no_wake_up_is_missed),
    };

    return ws_test_run("log", tests, WS_TEST_COUNT(tests));
}
