/* ws_census: alone, with readers at the same time, and in the log's slots. */
#include "ws_census.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

#include "ws_log.h"
#include "ws_test.h"
#include "ws_test_step.h"

#define FIT 3000                     /* topics that surely find a place */

/* A topic's hash: random, and always the same. */
static uint64_t topic_of(uint32_t i)
{
    uint64_t topic = (i + 1) * 0x9e3779b97f4a7c15u;

    topic = (topic ^ topic >> 30) * 0xbf58476d1ce4e5b9u;
    topic = (topic ^ topic >> 27) * 0x94d049bb133111ebu;
    return topic ^ topic >> 31;
}

/* Those of topics that all have the same two buckets, with CROWD places. */
#define CROWD 32

static uint64_t crowded(uint32_t i)
{
    return (uint64_t)(i * (WS_CENSUS_PLACES / 16 - 1)) << 32 | 7;
}

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

/* --- against a model --- */

#define TOPICS 8000

static ws_census_t *census;

static struct {
    uint32_t counts[TOPICS];
    bool is_missing[TOPICS];
    uint32_t missing;
    uint32_t topics;
} model;

static void begin(void)
{
    alarm(120);
    census = share(sizeof(*census));
    memset(&model, 0, sizeof(model));
}

static void end(void)
{
    munmap(census, sizeof(*census));
    alarm(0);
}

static int64_t expected(uint32_t i)
{
    if (model.counts[i] > 0 && !model.is_missing[i]) {
        return model.counts[i];
    }
    return model.missing > 0 ? -1 : 0;
}

/* Who has a place keeps it; who has none gets one where few are. */
static void change(uint32_t i, uint32_t to)
{
    uint32_t from = model.counts[i];
    bool may_miss = from == 0 || model.is_missing[i];

    ws_census_change(census, topic_of(i), from, to);
    model.counts[i] = to;
    model.topics = model.topics + (to > 0) - (from > 0);
    model.missing -= model.is_missing[i];
    model.is_missing[i] = to > 0 && may_miss && model.topics > FIT &&
                          ws_census_count(census, topic_of(i)) < 0;
    model.missing += model.is_missing[i];
    if (ws_census_count(census, topic_of(i)) != expected(i) ||
        ws_census_missing(census) != model.missing) {
        ck_abort_msg("topic %u from %u to %u: %lld, %u missing", i, from, to,
                     (long long)ws_census_count(census, topic_of(i)),
                     ws_census_missing(census));
    }
}

static void check_all(void)
{
    uint32_t i;

    for (i = 0; i < TOPICS; i++) {
        if (ws_census_count(census, topic_of(i)) != expected(i)) {
            ck_abort_msg("topic %u", i);
        }
    }
}

/* Until there are so many topics, and on from there. */
static void come_and_go(uint32_t *seed, uint32_t target, int rounds)
{
    while (rounds-- > 0 || model.topics != target) {
        uint32_t i = ws_test_random(seed) % TOPICS;
        uint32_t random = ws_test_random(seed);

        if (model.counts[i] == 0) {
            if (model.topics < target) {
                change(i, 1 + random % 5);
            }
        }
        else if (model.topics > target ||
                 (model.topics == target && random % 2 == 0)) {
            change(i, 0);
        }
        else {
            change(i, 1 + random);
        }
    }
}

static void look_again(void)
{
    uint32_t i;

    for (i = 0; i < TOPICS; i++) {
        if (model.is_missing[i]) {
            change(i, model.counts[i]);
        }
    }
}

START_TEST(empty_census_has_nobody)
{
    begin();
    check_all();
    ck_assert_int_eq(ws_census_count(census, 0), 0);
    ck_assert_uint_eq(ws_census_missing(census), 0);
    end();
}
END_TEST

START_TEST(topic_may_be_any_number)
{
    static const uint64_t topics[] = {0, 1, UINT64_MAX, UINT64_MAX - 1};
    uint32_t i;

    begin();
    for (i = 0; i < 4; i++) {
        ws_census_change(census, topics[i], 0, UINT32_MAX - i);
    }
    for (i = 0; i < 4; i++) {
        ck_assert_int_eq(ws_census_count(census, topics[i]),
                         (int64_t)UINT32_MAX - i);
        ws_census_change(census, topics[i], UINT32_MAX - i, 0);
        ck_assert_int_eq(ws_census_count(census, topics[i]), 0);
    }
    end();
}
END_TEST

/* Also after any number has come and gone, as many find a place as at first. */
START_TEST(random_changes_are_counted_right)
{
    static const uint32_t targets[] = {500,  FIT, 6000, FIT,  FIT,
                                       5000, 100, FIT,  4000, 0};
    const int rounds = ws_test_is_slow() ? 100 : 100000;
    uint32_t seed = 5;
    size_t i;

    begin();
    for (i = 0; i < WS_TEST_COUNT(targets); i++) {
        come_and_go(&seed, targets[i], rounds);
        check_all();
        ck_assert(targets[i] < 4096 || model.missing > 0);
        look_again();
        ck_assert(targets[i] > FIT || model.missing == 0);
        check_all();
    }
    end();
}
END_TEST

START_TEST(topics_of_the_same_buckets_fill_both)
{
    uint32_t i;

    begin();
    for (i = 0; i < CROWD; i++) {
        ws_census_change(census, crowded(i), 0, i + 1);
        ck_assert_uint_eq(ws_census_missing(census), 0);
    }
    ws_census_change(census, crowded(CROWD), 0, 77);
    ck_assert_uint_eq(ws_census_missing(census), 1);
    for (i = 0; i < CROWD; i++) {
        ck_assert_int_eq(ws_census_count(census, crowded(i)), i + 1);
    }
    ck_assert_int_eq(ws_census_count(census, crowded(CROWD)), -1);
    ck_assert_int_eq(ws_census_count(census, topic_of(0)), -1);
    ws_census_change(census, crowded(3), 4, 0);
    ck_assert_int_eq(ws_census_count(census, crowded(CROWD)), -1);
    ws_census_change(census, crowded(CROWD), 77, 78);
    ck_assert_int_eq(ws_census_count(census, crowded(CROWD)), 78);
    ck_assert_int_eq(ws_census_count(census, topic_of(0)), 0);
    end();
}
END_TEST

START_TEST(nothing_is_left_after_clearing)
{
    uint32_t seed = 6;

    begin();
    come_and_go(&seed, 5000, 1000);
    ck_assert_uint_gt(model.missing, 0);
    ws_census_clear(census);
    memset(&model, 0, sizeof(model));
    ck_assert_uint_eq(ws_census_missing(census), 0);
    ck_assert_uint_eq(census->topics, 0);
    check_all();
    come_and_go(&seed, FIT, 1000);
    check_all();
    end();
}
END_TEST

/* --- readers at the same time --- */

/* All in the same two buckets, so that places change hands all the time. */
enum {
    STEADY = 0,                      /* 8 topics that stay as they are */
    FLIPPING = 8,                    /* has 3 or 7 subscribers */
    GUEST = 9,                       /* has 99 while phase is odd */
    CHANGING = 10,                   /* come and go: see changing_count() */
    NEVER = 50                       /* has none */
};

typedef struct {
    ws_census_t census;
    _Atomic uint32_t phase;
    _Atomic bool is_over;
    _Atomic uint64_t reads;
    _Atomic uint64_t mistakes;
} scene_t;

static uint32_t changing_count(uint32_t i)
{
    return 1000 + i;
}

static bool is_one_of(int64_t count, int64_t a, int64_t b, int64_t c)
{
    return count == a || count == b || count == c;
}

static bool guest_is_right(const scene_t *scene)
{
    uint32_t before = atomic_load(&scene->phase);
    int64_t count = ws_census_count(&scene->census, crowded(GUEST));

    if (before % 2 == 1 && atomic_load(&scene->phase) == before) {
        return is_one_of(count, 99, -1, -1);
    }
    return is_one_of(count, 99, -1, 0);
}

static bool all_is_right(const scene_t *scene)
{
    const ws_census_t *all = &scene->census;
    bool is_right = guest_is_right(scene);
    uint32_t i;

    for (i = STEADY; i < FLIPPING; i++) {
        is_right = is_right && ws_census_count(all, crowded(i)) == i + 1;
    }
    for (i = CHANGING; i < NEVER; i++) {
        is_right = is_right && is_one_of(ws_census_count(all, crowded(i)), 0,
                                         -1, changing_count(i));
    }
    return is_right &&
           is_one_of(ws_census_count(all, crowded(FLIPPING)), 3, 7, 7) &&
           is_one_of(ws_census_count(all, crowded(NEVER)), 0, -1, -1);
}

static void *read_on(void *baton)
{
    scene_t *scene = baton;

    do {
        if (!all_is_right(scene)) {
            atomic_fetch_add(&scene->mistakes, 1);
        }
        atomic_fetch_add(&scene->reads, 1);
    } while (!atomic_load(&scene->is_over));
    return NULL;
}

static void write_round(scene_t *scene, uint32_t round, uint32_t *seed)
{
    static uint32_t counts[NEVER];
    int changes = 20;
    uint32_t i;

    ws_census_change(&scene->census, crowded(FLIPPING), round % 2 ? 7 : 3,
                     round % 2 ? 3 : 7);
    ws_census_change(&scene->census, crowded(GUEST), 0, 99);
    atomic_fetch_add(&scene->phase, 1);
    while (changes-- > 0) {
        i = CHANGING + ws_test_random(seed) % (NEVER - CHANGING);
        ws_census_change(&scene->census, crowded(i), counts[i],
                         changing_count(i) - counts[i]);
        counts[i] = changing_count(i) - counts[i];
        ws_census_change(&scene->census, crowded(GUEST), 99, 99);
    }
    atomic_fetch_add(&scene->phase, 1);
    ws_census_change(&scene->census, crowded(GUEST), 99, 0);
}

START_TEST(readers_see_no_topic_wrong_while_others_change)
{
    const uint32_t rounds = ws_test_is_slow() ? 200 : 30000;
    scene_t *scene = share(sizeof(*scene));
    uint32_t seed = 9;
    pthread_t thread;
    uint32_t i;
    pid_t child;
    int status = -1;

    for (i = STEADY; i < FLIPPING; i++) {
        ws_census_change(&scene->census, crowded(i), 0, i + 1);
    }
    ws_census_change(&scene->census, crowded(FLIPPING), 0, 3);
    child = fork();
    if (child == 0) {
        read_on(scene);
        _exit(0);
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, read_on, scene), 0);
    for (i = 0; i < rounds; i++) {
        write_round(scene, i, &seed);
    }
    while (atomic_load(&scene->reads) < 2) {
        continue;                           /* on a busy machine */
    }
    atomic_store(&scene->is_over, true);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(scene->mistakes, 0);
    munmap(scene, sizeof(*scene));
}
END_TEST

/* --- one that stands still after any instruction --- */

enum { STAYS, COMES, NEXT, LATE, LEAVES, NOBODY, FILLERS };

typedef struct {
    ws_census_t census;
    int64_t result;
} stage_t;

static stage_t *stage;

static void begin_stage(uint32_t fillers)
{
    uint32_t i;

    alarm(120);
    stage = share(sizeof(*stage));
    ws_census_change(&stage->census, crowded(LEAVES), 0, 20);
    ws_census_change(&stage->census, crowded(STAYS), 0, 10);
    for (i = FILLERS; i < FILLERS + fillers; i++) {
        ws_census_change(&stage->census, crowded(i), 0, 30);
    }
}

static void end_stage(void)
{
    munmap(stage, sizeof(*stage));
    alarm(0);
}

/* With one place left in the beginning: LATE has to wait for that of LEAVES. */
static void write_it_all(void *baton)
{
    (void)baton;
    ws_census_change(&stage->census, crowded(COMES), 0, 1);
    ws_census_change(&stage->census, crowded(COMES), 1, 2);
    ws_census_change(&stage->census, crowded(COMES), 2, 0);
    ws_census_change(&stage->census, crowded(NEXT), 0, 3);
    ws_census_change(&stage->census, crowded(LATE), 0, 4);
    ws_census_change(&stage->census, crowded(LEAVES), 20, 0);
    ws_census_change(&stage->census, crowded(LATE), 4, 4);
    ws_census_change(&stage->census, crowded(LATE), 4, 0);
}

#define SEEN_MAX 16

/* Each count once, when it is not what it was. */
static void note(int64_t *seen, size_t *count, uint32_t topic)
{
    int64_t now = ws_census_count(&stage->census, crowded(topic));

    if (*count == 0 || seen[*count - 1] != now) {
        ck_assert_uint_lt(*count, SEEN_MAX);
        seen[(*count)++] = now;
    }
}

/* Who takes over what a writer leaves that is killed now. */
static void check_clearing(ws_census_t *copy)
{
    uint32_t i;

    memcpy(copy, &stage->census, sizeof(*copy));
    ws_census_clear(copy);
    for (i = 0; i <= NOBODY; i++) {
        ck_assert_int_eq(ws_census_count(copy, crowded(i)), 0);
    }
    ws_census_change(copy, crowded(NEXT), 0, 5);
    for (i = 0; i <= NOBODY; i++) {
        ck_assert_int_eq(ws_census_count(copy, crowded(i)), i == NEXT ? 5 : 0);
    }
}

static void write_first(void *baton)
{
    (void)baton;
    ws_census_change(&stage->census, crowded(COMES), 0, 1);
    ws_census_change(&stage->census, crowded(COMES), 1, 0);
}

START_TEST(writer_killed_anywhere_leaves_what_can_be_cleared)
{
    ws_census_t *copy = share(sizeof(*copy));
    pid_t writer;

    if (ws_test_is_slow()) {
        return;
    }
    alarm(120);
    stage = share(sizeof(*stage));
    writer = ws_test_step_start(write_first, NULL);
    if (writer > 0) {
        do {
            check_clearing(copy);
        } while (ws_test_step(writer));
        ws_test_step_kill(writer);
    }
    munmap(copy, sizeof(*copy));
    end_stage();
}
END_TEST

/* What readers see of each topic, and nothing else in between. */
START_TEST(writer_that_stands_still_anywhere_misleads_no_reader)
{
    static const struct {
        size_t count;
        int64_t seen[8];
    } expected_of[] = {
        [STAYS] = {1, {10}},
        [COMES] = {6, {0, 1, 2, 0, -1, 0}},
        [NEXT] = {2, {0, 3}},
        [LATE] = {4, {0, -1, 4, 0}},
        [LEAVES] = {3, {20, -1, 0}},
        [NOBODY] = {3, {0, -1, 0}},
    };
    int64_t seen[NOBODY + 1][SEEN_MAX];
    size_t counts[NOBODY + 1] = {0};
    pid_t writer;
    uint32_t i;

    if (ws_test_is_slow()) {
        return;                             /* valgrind knows no ptrace */
    }
    begin_stage(CROWD - 3);
    writer = ws_test_step_start(write_it_all, NULL);
    if (writer < 0) {
        puts("check_census: no ptrace here, nothing was stepped through");
        end_stage();
        return;
    }
    do {
        for (i = 0; i <= NOBODY; i++) {
            note(seen[i], &counts[i], i);
        }
    } while (ws_test_step(writer));
    ws_test_step_kill(writer);
    for (i = 0; i <= NOBODY; i++) {
        size_t count = expected_of[i].count;

        ck_assert_uint_eq(counts[i], count);
        ck_assert_mem_eq(seen[i], expected_of[i].seen, count * sizeof(int64_t));
    }
    end_stage();
}
END_TEST

static void read_one(void *baton)
{
    const uint32_t *topic = baton;

    stage->result = ws_census_count(&stage->census, crowded(*topic));
}

static void replace(void)
{
    ws_census_change(&stage->census, crowded(LEAVES), 20, 0);
    ws_census_change(&stage->census, crowded(NEXT), 0, 3);
}

static void let_in(void)
{
    ws_census_change(&stage->census, crowded(LEAVES), 20, 0);
    ws_census_change(&stage->census, crowded(LATE), 4, 4);
}

/* The reader stands still after n instructions while others go on. */
static const struct {
    uint32_t fillers;
    uint32_t late;                   /* has so many at first, and no place */
    void (*happens)(void);
    uint32_t topic;
    int64_t before, after;
} interruptions[] = {
    {0, 0, replace, STAYS, 10, 10}, {0, 0, replace, LEAVES, 20, 0},
    {0, 0, replace, NEXT, 0, 3},    {CROWD - 2, 4, let_in, STAYS, 10, 10},
    {CROWD - 2, 4, let_in, LATE, -1, 4},
};

/* The place of LEAVES is the first where it looks, so what comes late does not
 * matter. */
START_TEST(reader_that_stands_still_anywhere_is_not_misled)
{
    uint32_t topic = interruptions[_i].topic;
    long count = 0;
    long n;

    if (ws_test_is_slow()) {
        return;
    }
    for (n = 0; n <= count; n += ws_test_step_every(count, 30000)) {
        begin_stage(interruptions[_i].fillers);
        if (interruptions[_i].late > 0) {
            ws_census_change(&stage->census, crowded(LATE), 0,
                             interruptions[_i].late);
        }
        if (n == 0) {
            count = ws_test_step_count(read_one, &topic) / 5;
        }
        if (count > 0) {
            ws_test_step_interrupt(n, read_one, &topic,
                                   interruptions[_i].happens);
            ck_assert_msg(is_one_of(stage->result, interruptions[_i].before,
                                    interruptions[_i].after,
                                    interruptions[_i].after),
                          "%lld after %ld instructions",
                          (long long)stage->result, n);
        }
        end_stage();
    }
}
END_TEST

/* --- the slots of a log --- */

#define SLOTS 4

static ws_log_t *log_;

static void begin_log(void)
{
    alarm(120);
    ck_assert_int_eq(ws_log_create(&log_, WS_LOG_SIZE_MIN, SLOTS), WS_OK);
}

static void end_log(void)
{
    ws_log_destroy(log_);
    alarm(0);
}

static int64_t subscribers(const char *topic)
{
    return ws_log_subscribers(log_, topic, strlen(topic));
}

static void set(ws_log_slot_t *slot, const char *topic, uint32_t from,
                uint32_t to)
{
    ws_census_change(ws_log_slot_census(log_, slot),
                     ws_log_hash(log_, topic, strlen(topic)), from, to);
}

/* More than there are places. */
static void overflow(ws_log_slot_t *slot)
{
    uint32_t i;

    for (i = 0; i < 5000; i++) {
        ws_census_change(ws_log_slot_census(log_, slot), topic_of(i), 0, 1);
    }
}

/* A process that has a slot with so many subscribers of "room", and does no
 * more. */
static pid_t start_holder(ws_log_slot_t **pslot, uint32_t count, bool overflows)
{
    int fds[2];
    pid_t child;

    ck_assert_int_eq(pipe(fds), 0);
    child = fork();
    if (child == 0) {
        *pslot = ws_log_slot_take(log_);
        if (*pslot == NULL) {
            _exit(1);
        }
        set(*pslot, "room", 0, count);
        if (overflows) {
            overflow(*pslot);
        }
        if (write(fds[1], pslot, sizeof(*pslot)) != sizeof(*pslot)) {
            _exit(1);
        }
        for (;;) {
            pause();
        }
    }
    close(fds[1]);
    ck_assert_int_eq(read(fds[0], pslot, sizeof(*pslot)), sizeof(*pslot));
    close(fds[0]);
    return child;
}

static void end_holder(pid_t child)
{
    kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(subscribers_of_all_living_processes_are_counted)
{
    ws_log_slot_t *slot;
    ws_log_slot_t *theirs;
    pid_t children[2];

    begin_log();
    ck_assert_int_eq(subscribers("room"), 0);
    slot = ws_log_slot_take(log_);
    set(slot, "room", 0, 3);
    set(slot, "other", 0, 8);
    ck_assert_int_eq(subscribers("room"), 3);
    children[0] = start_holder(&theirs, 10, false);
    ck_assert_ptr_ne(slot, theirs);
    ck_assert_int_eq(subscribers("room"), 13);
    children[1] = start_holder(&theirs, 100, false);
    ck_assert_int_eq(subscribers("room"), 113);
    ck_assert_int_eq(subscribers("other"), 8);
    ck_assert_int_eq(subscribers("roo"), 0);
    end_holder(children[0]);
    ck_assert_int_eq(subscribers("room"), 103);
    set(slot, "room", 3, 0);
    ck_assert_int_eq(subscribers("room"), 100);
    end_holder(children[1]);
    ck_assert_int_eq(subscribers("room"), 0);
    end_log();
}
END_TEST

START_TEST(slot_that_was_freed_does_not_count)
{
    ws_log_slot_t *slot;

    begin_log();
    slot = ws_log_slot_take(log_);
    set(slot, "room", 0, 3);
    ws_log_slot_free(slot);
    ck_assert_int_eq(subscribers("room"), 0);
    ck_assert_ptr_eq(ws_log_slot_take(log_), slot);
    ck_assert_int_eq(subscribers("room"), 0);
    end_log();
}
END_TEST

START_TEST(slot_that_is_passed_on_keeps_its_subscribers)
{
    ws_log_slot_t *slot;
    pid_t child;

    begin_log();
    child = start_holder(&slot, 5, false);
    ws_log_slot_pass(slot, child, getpid());
    ck_assert_int_eq(subscribers("room"), 5);
    end_holder(child);
    ck_assert_int_eq(subscribers("room"), 5);
    set(slot, "room", 5, 4);
    ck_assert_int_eq(subscribers("room"), 4);
    end_log();
}
END_TEST

START_TEST(slot_of_a_dead_process_is_taken_over_empty)
{
    ws_log_slot_t *slot;
    ws_log_slot_t *theirs;

    begin_log();
    end_holder(start_holder(&theirs, 5, true));
    slot = ws_log_slot_take(log_);
    ck_assert_ptr_eq(slot, theirs);
    ck_assert_int_eq(subscribers("room"), 0);
    ck_assert_uint_eq(ws_census_missing(ws_log_slot_census(log_, slot)), 0);
    set(slot, "room", 0, 1);
    ck_assert_int_eq(subscribers("room"), 1);
    end_log();
}
END_TEST

/* But what is found is right. */
START_TEST(too_many_topics_in_one_process_make_the_rest_unknown)
{
    ws_log_slot_t *slot;
    ws_log_slot_t *theirs;
    pid_t child;

    begin_log();
    slot = ws_log_slot_take(log_);
    set(slot, "here", 0, 1);
    set(slot, "room", 0, 2);
    child = start_holder(&theirs, 3, true);
    ck_assert_int_eq(subscribers("room"), 5);
    ck_assert_int_eq(subscribers("here"), -1);
    ck_assert_int_eq(subscribers("nowhere"), -1);
    end_holder(child);
    ck_assert_int_eq(subscribers("room"), 2);
    ck_assert_int_eq(subscribers("here"), 1);
    ck_assert_int_eq(subscribers("nowhere"), 0);
    end_log();
}
END_TEST

START_TEST(two_logs_hash_differently)
{
    ws_log_t *other;

    begin_log();
    ck_assert_int_eq(ws_log_create(&other, WS_LOG_SIZE_MIN, SLOTS), WS_OK);
    ck_assert_uint_eq(ws_log_hash(log_, "room", 4),
                      ws_log_hash(log_, "room", 4));
    ck_assert_uint_ne(ws_log_hash(log_, "room", 4),
                      ws_log_hash(log_, "roon", 4));
    ck_assert_uint_ne(ws_log_hash(log_, "room", 4),
                      ws_log_hash(other, "room", 4));
    ws_log_destroy(other);
    end_log();
}
END_TEST

static void take_it(void *baton)
{
    (void)baton;
    ws_log_slot_take(log_);
}

#define SOME 20000                   /* instructions: in the clearing */

/* What the dead one has left is not taken for the next one's, and nobody else
 * takes the slot, unless that one dies, too. */
START_TEST(slot_counts_nothing_while_it_is_taken_over)
{
    ws_log_slot_t *slot = NULL;
    pid_t dead;
    pid_t taker;
    long n;
    int i;

    if (ws_test_is_slow()) {
        return;
    }
    begin_log();
    for (i = 0; i < SLOTS - 1; i++) {
        ck_assert_ptr_nonnull(ws_log_slot_take(log_));
    }
    dead = start_holder(&slot, 5, true);
    end_holder(dead);
    atomic_store(&slot->connections, 9);
    taker = ws_test_step_start(take_it, NULL);
    for (n = 0; taker > 0 && n < SOME && ws_test_step(taker); n++) {
        if (subscribers("room") != 0 || subscribers("nowhere") != 0 ||
            ws_log_totals(log_).connections != 0 ||
            (slot->owner != (uint32_t)dead &&
             ws_log_slot_take(log_) != NULL)) {
            ck_abort_msg("wrong after %ld instructions", n);
        }
    }
    if (taker > 0) {
        ck_assert_int_eq(n, SOME);
        ws_test_step_kill(taker);
    }
    ck_assert_ptr_eq(ws_log_slot_take(log_), slot);
    ck_assert_int_eq(subscribers("room"), 0);
    ck_assert_int_eq(subscribers("nowhere"), 0);
    ck_assert_uint_eq(ws_log_slot_census(log_, slot)->topics, 0);
    end_log();
}
END_TEST

static struct {
    ws_log_slot_t *slot;
    pid_t holder;
    int64_t *result;                 /* shared */
} passing;

static void count_it(void *baton)
{
    (void)baton;
    *passing.result = subscribers("room");
}

static void pass_it_on(void)
{
    ws_log_slot_pass(passing.slot, passing.holder, getpid());
    end_holder(passing.holder);
}

/* Nobody has unsubscribed, so there is no moment at which they are not there:
 * the reader looks at a slot whose owner passes it on and ends. */
START_TEST(passing_a_slot_on_loses_nobody_for_who_reads)
{
    long count = 0;
    long n;

    if (ws_test_is_slow()) {
        return;
    }
    begin_log();
    passing.result = share(sizeof(*passing.result));
    for (n = 0; n <= count; n += ws_test_step_every(count, 50000)) {
        passing.holder = start_holder(&passing.slot, 5, false);
        ck_assert_int_eq(subscribers("room"), 5);   /* binds the symbols */
        if (n == 0) {
            count = ws_test_step_count(count_it, NULL);
        }
        if (count > 0) {
            ws_test_step_interrupt(n, count_it, NULL, pass_it_on);
            ck_assert_msg(*passing.result == 5, "%lld after %ld of %ld",
                          (long long)*passing.result, n, count);
            ws_log_slot_free(passing.slot);
        }
        else {
            end_holder(passing.holder);
        }
    }
    munmap(passing.result, sizeof(*passing.result));
    end_log();
}
END_TEST

int main(void)
{
    const ws_test_entry_t tests[] = {
        WS_TEST(empty_census_has_nobody),
        WS_TEST(topic_may_be_any_number),
        WS_TEST(random_changes_are_counted_right),
        WS_TEST(topics_of_the_same_buckets_fill_both),
        WS_TEST(nothing_is_left_after_clearing),
        WS_TEST(readers_see_no_topic_wrong_while_others_change),
        WS_TEST(writer_that_stands_still_anywhere_misleads_no_reader),
        WS_TEST(writer_killed_anywhere_leaves_what_can_be_cleared),
        WS_TEST_LOOP(reader_that_stands_still_anywhere_is_not_misled,
                     WS_TEST_COUNT(interruptions)),
        WS_TEST(subscribers_of_all_living_processes_are_counted),
        WS_TEST(slot_that_was_freed_does_not_count),
        WS_TEST(slot_that_is_passed_on_keeps_its_subscribers),
        WS_TEST(slot_of_a_dead_process_is_taken_over_empty),
        WS_TEST(too_many_topics_in_one_process_make_the_rest_unknown),
        WS_TEST(two_logs_hash_differently),
        WS_TEST(slot_counts_nothing_while_it_is_taken_over),
        WS_TEST(passing_a_slot_on_loses_nobody_for_who_reads),
    };

    return ws_test_run("census", tests, WS_TEST_COUNT(tests));
}
