/* ws_seats: how many connections there are, of whom, in all processes. */
#include "ws_seats.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ws_test.h"
#include "ws_test_step.h"

static ws_seats_t *seats;

static void begin(uint32_t count)
{
    ck_assert_int_eq(ws_seats_create(&seats, count), WS_OK);
    ck_assert_uint_eq(ws_seats_count(seats), count);
}

static void end(void)
{
    ws_seats_destroy(seats);
}

static ws_status_t take(uint64_t client, uint32_t all, uint32_t per_client,
                        uint32_t *pseat)
{
    const ws_seats_limits_t limits = {all, per_client};
    uint32_t seat = WS_SEAT_NONE;
    ws_status_t status = ws_seats_take(seats, client, &limits, &seat);

    ck_assert_int_eq(status == WS_OK, seat != WS_SEAT_NONE);
    if (pseat != NULL) {
        *pseat = seat;
    }
    return status;
}

static uint64_t client_of(const char *text)
{
    bool is_6 = strchr(text, ':') != NULL;
    uint8_t address[16];

    ck_assert_int_eq(inet_pton(is_6 ? AF_INET6 : AF_INET, text, address), 1);
    return ws_seats_client(address, is_6 ? 16 : 4);
}

START_TEST(limit_holds_at_and_below_and_above)
{
    uint32_t numbers[5];
    uint32_t i;

    begin(10);
    for (i = 0; i < 5; i++) {
        ck_assert_int_eq(take(i, 5, 0, &numbers[i]), WS_OK);
    }
    ck_assert_uint_eq(ws_seats_taken(seats), 5);
    ck_assert_int_eq(take(9, 5, 0, NULL), WS_ETOOBIG);
    ck_assert_int_eq(take(9, 6, 0, NULL), WS_OK);
    ws_seats_leave(seats, numbers[2]);
    ws_seats_leave(seats, numbers[3]);
    ck_assert_int_eq(take(9, 5, 0, NULL), WS_OK);
    ck_assert_int_eq(take(9, 5, 0, NULL), WS_ETOOBIG);
    end();
}
END_TEST

START_TEST(there_are_no_more_seats_than_there_are)
{
    uint32_t i;

    begin(3);
    for (i = 0; i < 3; i++) {
        ck_assert_int_eq(take(i, 0, 0, NULL), WS_OK);
    }
    ck_assert_int_eq(take(1, 0, 0, NULL), WS_ETOOBIG);
    end();
}
END_TEST

START_TEST(each_client_has_its_own_limit)
{
    uint32_t seat;

    begin(10);
    ck_assert_int_eq(take(1, 0, 2, NULL), WS_OK);
    ck_assert_int_eq(take(1, 0, 2, &seat), WS_OK);
    ck_assert_int_eq(take(1, 0, 2, NULL), WS_EPOLICY);
    ck_assert_int_eq(take(2, 0, 2, NULL), WS_OK);
    ws_seats_leave(seats, seat);
    ck_assert_int_eq(take(1, 0, 2, NULL), WS_OK);
    ck_assert_int_eq(take(1, 0, 2, NULL), WS_EPOLICY);
    ck_assert_int_eq(take(1, 0, 0, NULL), WS_OK);
    end();
}
END_TEST

START_TEST(clients_are_addresses)
{
    static const char *const same[][2] = {
        {"192.0.2.1", "::ffff:192.0.2.1"},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
        {"fe80::1", "fe80::2"},
    };
    static const char *const others[] = {
        "192.0.2.1",       "192.0.2.2",       "::1",
        "2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2:2::1",
        "::ffff:1.2.3.4",  "fe80::1"};
    size_t i;
    size_t j;

    for (i = 0; i < WS_TEST_COUNT(same); i++) {
        ck_assert(client_of(same[i][0]) == client_of(same[i][1]));
    }
    for (i = 0; i < WS_TEST_COUNT(others); i++) {
        for (j = 0; j < i; j++) {
            ck_assert(client_of(others[i]) != client_of(others[j]));
        }
    }
}
END_TEST

/* Against a plain array of counts. */
START_TEST(counts_are_right_whatever_comes)
{
    enum { SEATS = 50, CLIENTS = 8, PER_CLIENT = 10 };
    uint32_t taken[SEATS] = {0};            /* the seat's number */
    unsigned client[SEATS];
    unsigned counts[CLIENTS] = {0};
    uint32_t seed = 7;
    unsigned all = 0;
    int round;

    begin(SEATS);
    for (round = 0; round < 20000; round++) {
        unsigned at = ws_test_random(&seed) % SEATS;
        unsigned who = ws_test_random(&seed) % CLIENTS;
        ws_status_t status;

        if (taken[at] != 0) {
            ws_seats_leave(seats, taken[at]);
            taken[at] = 0;
            counts[client[at]]--;
            all--;
            continue;
        }
        status = take(who, 40, PER_CLIENT, &taken[at]);
        ck_assert_int_eq(status, counts[who] >= PER_CLIENT ? WS_EPOLICY
                                 : all >= 40               ? WS_ETOOBIG
                                                           : WS_OK);
        if (status == WS_OK) {
            client[at] = who;
            counts[who]++;
            all++;
        }
    }
    ck_assert_uint_eq(ws_seats_taken(seats), all);
    end();
}
END_TEST

/* --- processes --- */

static void wait_for(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}

/* A child that takes seats, and does not give them back. */
static pid_t begin_child(uint32_t count)
{
    pid_t pid = fork();

    if (pid == 0) {
        const ws_seats_limits_t limits = {0, 0};
        uint32_t seat;

        while (count-- > 0 &&
               ws_seats_take(seats, 5, &limits, &seat) == WS_OK) {
            continue;
        }
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    return pid;
}

START_TEST(seats_of_the_dead_are_swept)
{
    begin(10);
    ck_assert_int_eq(take(5, 0, 0, NULL), WS_OK);
    wait_for(begin_child(4));
    ck_assert_uint_eq(ws_seats_taken(seats), 5);
    ws_seats_sweep(seats);
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
    ck_assert_int_eq(take(5, 0, 2, NULL), WS_OK);
    ck_assert_int_eq(take(5, 0, 2, NULL), WS_EPOLICY);
    end();
}
END_TEST

START_TEST(who_finds_no_seat_sweeps)
{
    begin(10);
    wait_for(begin_child(10));
    ck_assert_uint_eq(ws_seats_taken(seats), 10);
    ck_assert_int_eq(take(1, 0, 0, NULL), WS_OK);
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
    end();

    begin(10);
    wait_for(begin_child(4));
    ck_assert_int_eq(take(5, 0, 3, NULL), WS_OK);
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
    end();
}
END_TEST

START_TEST(seats_may_move_to_another_process)
{
    pid_t heir;
    pid_t child;

    begin(10);
    ck_assert_int_eq(take(1, 0, 0, NULL), WS_OK);
    heir = fork();
    if (heir == 0) {
        pause();
        _exit(0);
    }
    child = begin_child(4);
    wait_for(child);
    ws_seats_move(seats, child, heir);
    ws_seats_sweep(seats);
    ck_assert_uint_eq(ws_seats_taken(seats), 5);
    kill(heir, SIGKILL);
    wait_for(heir);
    ws_seats_sweep(seats);
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
    end();
}
END_TEST

/* One that is killed at any point, with the lock or without it, blocks nobody,
 * and the counts are right when its seats were swept. */
START_TEST(death_at_any_point_leaves_the_counts_right)
{
    int rounds = ws_test_is_slow() ? 20 : 300;
    uint32_t own[10];
    uint32_t seed = 3;
    int round;
    size_t i;

    begin(1000);
    for (i = 0; i < WS_TEST_COUNT(own); i++) {
        ck_assert_int_eq(take(i % 3, 0, 0, &own[i]), WS_OK);
    }
    for (round = 0; round < rounds; round++) {
        pid_t pid = fork();

        if (pid == 0) {
            const ws_seats_limits_t limits = {0, 0};
            uint32_t mine[64];
            uint32_t n;

            for (;;) {
                for (n = 0; n < 64; n++) {
                    ws_seats_take(seats, n % 5, &limits, &mine[n]);
                }
                for (n = 0; n < 64; n++) {
                    ws_seats_leave(seats, mine[n]);
                }
            }
        }
        usleep(500 + ws_test_random(&seed) % 1500);
        kill(pid, SIGKILL);
        wait_for(pid);
        ws_seats_sweep(seats);
        ck_assert_uint_eq(ws_seats_taken(seats), WS_TEST_COUNT(own));
        ck_assert_int_eq(take(1, 0, 3, NULL), WS_EPOLICY);
    }
    for (i = 0; i < WS_TEST_COUNT(own); i++) {
        ws_seats_leave(seats, own[i]);
    }
    ck_assert_uint_eq(ws_seats_taken(seats), 0);
    end();
}
END_TEST

/* --- a death after any machine instruction --- */

enum { TAKES_OF_OLD, TAKES_OF_NEW, LEAVES_ONE, LEAVES_LAST, SWEEPS, DEEDS };

static uint32_t to_leave;

static void do_deed(void *baton)
{
    static const ws_seats_limits_t limits = {0, 0};
    uint32_t seat;

    switch (*(int *)baton) {
    case TAKES_OF_OLD:
        ws_seats_take(seats, 1, &limits, &seat);
        break;
    case TAKES_OF_NEW:
        ws_seats_take(seats, 2, &limits, &seat);
        break;
    case SWEEPS:
        ws_seats_sweep(seats);
        break;
    default:
        ws_seats_leave(seats, to_leave);
        break;
    }
}

/* What the deed needs: a seat to leave, or one of a dead process. */
static void prepare_deed(int deed)
{
    pid_t pid;

    to_leave = WS_SEAT_NONE;
    if (deed == LEAVES_ONE || deed == LEAVES_LAST) {
        ck_assert_int_eq(take(deed == LEAVES_ONE ? 1 : 3, 0, 0, &to_leave),
                         WS_OK);
    }
    if (deed == SWEEPS) {
        pid = fork();
        if (pid == 0) {
            take(1, 0, 0, NULL);
            take(3, 0, 0, NULL);
            _exit(0);
        }
        wait_for(pid);
    }
}

/* All that are free may be taken, and no more, and each client's are counted
 * right. */
static void expect_one_taken(uint32_t count)
{
    uint32_t numbers[16];
    uint32_t i;

    if (to_leave != WS_SEAT_NONE) {         /* or it is left already */
        ws_seats_leave(seats, to_leave);
    }
    ws_seats_sweep(seats);
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
    ck_assert_int_eq(take(1, 0, 1, NULL), WS_EPOLICY);
    ck_assert_int_eq(take(2, 0, 1, &numbers[1]), WS_OK);
    ck_assert_int_eq(take(2, 0, 1, NULL), WS_EPOLICY);
    for (i = 2; i < count; i++) {
        ck_assert_int_eq(take(i + 1, 0, 1, &numbers[i]), WS_OK);
    }
    ck_assert_int_eq(take(99, 0, 0, NULL), WS_ETOOBIG);
    for (i = 1; i < count; i++) {
        ws_seats_leave(seats, numbers[i]);
    }
    ck_assert_uint_eq(ws_seats_taken(seats), 1);
}

START_TEST(death_after_any_instruction_leaves_the_counts_right)
{
    long count = -1;
    long n;

    if (ws_test_is_slow()) {
        return;                             /* valgrind knows no ptrace */
    }
    begin(6);
    ck_assert_int_eq(take(1, 0, 0, NULL), WS_OK);
    to_leave = WS_SEAT_NONE;
    for (n = 0; n < 2; n++) {               /* the first binds symbols */
        expect_one_taken(6);
        prepare_deed(_i);
        count = ws_test_step_count(do_deed, &_i);
    }
    if (count < 0) {
        puts("check_seats: no ptrace here, nothing was stepped through");
    }
    expect_one_taken(6);
    for (n = 0; n < count; n += ws_test_step_every(count, 50000)) {
        prepare_deed(_i);
        ws_test_step_die_after(n, do_deed, &_i);
        expect_one_taken(6);
    }
    end();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(limit_holds_at_and_below_and_above),
        WS_TEST(there_are_no_more_seats_than_there_are),
        WS_TEST(each_client_has_its_own_limit),
        WS_TEST(clients_are_addresses),
        WS_TEST(counts_are_right_whatever_comes),
        WS_TEST(seats_of_the_dead_are_swept),
        WS_TEST(who_finds_no_seat_sweeps),
        WS_TEST(seats_may_move_to_another_process),
        WS_TEST(death_at_any_point_leaves_the_counts_right),
        WS_TEST_LOOP(death_after_any_instruction_leaves_the_counts_right, DEEDS),
    };

    return ws_test_run("seats", tests, WS_TEST_COUNT(tests));
}
