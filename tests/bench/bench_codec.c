/* bench_codec: how fast payload is unmasked and text is checked, in every way
 * that this processor can, next to memcpy() of as many bytes.
 *
 * Memory and frequency differ from machine to machine and from second to
 * second, so only ratios are looked at: all ways take turns in short rounds,
 * and a way's time is the median of its rounds. */
#include "ws_mask.h"
#include "ws_utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE ((size_t)64 * 1024)
#define ROUNDS 201
#define REPEATS 32                   /* in a round */
#define WAYS_MAX 32
#define HEAD 14                      /* of a masked frame of 64 KiB */

typedef struct way way_t;
struct way {
    const char *what;
    const char *name;
    void (*run)(const way_t *way);
    const ws_mask_impl_t *mask;      /* NULL: ws_mask() */
    const ws_utf8_impl_t *utf8;      /* NULL: ws_utf8_check() */
    uint8_t *data;
    double target;                   /* 0: none */
    double times[ROUNDS];            /* ns for SIZE bytes */
};

typedef struct {
    way_t ways[WAYS_MAX];
    size_t count;
} bench_t;

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* --- what is measured --- */

/* The compiler must believe that somebody looks at the memory. */
static void look_at(const void *data)
{
    __asm__ volatile("" : : "r"(data) : "memory");
}

static void run_memcpy(const way_t *way)
{
    memcpy(way->data + SIZE, way->data, SIZE);
    look_at(way->data);
}

static void run_mask(const way_t *way)
{
    if (way->mask != NULL) {
        way->mask->mask(way->data, SIZE, key, 1);
    }
    else {
        ws_mask(way->data, SIZE, key, 1);
    }
    look_at(way->data);
}

static void run_utf8(const way_t *way)
{
    ws_utf8_t state = {0};
    size_t right;

    look_at(way->data);
    if (way->utf8 != NULL) {
        right = ws_utf8_check_by(way->utf8, &state, way->data, SIZE);
    }
    else {
        right = ws_utf8_check(&state, way->data, SIZE);
    }
    if (right != SIZE) {
        fprintf(stderr, "%s, %s: wrong at %zu\n", way->what, way->name, right);
        exit(EXIT_FAILURE);
    }
}

/* --- the data --- */

static uint8_t *allocate(size_t size)
{
    void *data;

    if (posix_memalign(&data, 4096, size) != 0) {
        fprintf(stderr, "no memory\n");
        exit(EXIT_FAILURE);
    }
    memset(data, 'x', size);
    return data;
}

static uint32_t random_next(uint32_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 17;
    *random ^= *random << 5;
    return *random;
}

/* Words in an order that no branch predictor knows. */
static uint8_t *make_text(const char *const *words, size_t count)
{
    uint8_t *text = allocate(SIZE);
    uint32_t random = 20260901;
    size_t at = 0;

    while (at < SIZE) {
        const char *word = words[random_next(&random) % count];
        size_t length = strlen(word);

        if (length > SIZE - at) {           /* x stands behind it already */
            break;
        }
        memcpy(text + at, word, length);
        at += length;
    }
    return text;
}

static uint8_t *make_ascii(void)
{
    static const char *const words[] = {"the ",       "quick ",  "brown ",
                                        "fox, ",      "jumps; ", "over 13 ",
                                        "lazy dogs. "};

    return make_text(words, sizeof(words) / sizeof(words[0]));
}

static uint8_t *make_mixed(void)
{
    static const char *const words[] = {
        "Tiếng ", "Việt ", "rất ", "đẹp, ",    "những ", "người ",
        "bạn. ",  "中文",  "网络", "套接字",   "消息，", "你好。",
        "服务器", "😀",     "🎉",    "👍🏽", "🚀 ",
    };

    return make_text(words, sizeof(words) / sizeof(words[0]));
}

/* --- the ways --- */

static way_t *add(bench_t *bench, const char *what, const char *name,
                  void (*run)(const way_t *way), uint8_t *data)
{
    way_t *way = &bench->ways[bench->count++];

    if (bench->count == WAYS_MAX) {
        fprintf(stderr, "WAYS_MAX is too small\n");
        exit(EXIT_FAILURE);
    }
    way->what = what;
    way->name = name;
    way->run = run;
    way->data = data;
    return way;
}

static void add_masks(bench_t *bench, const char *what, uint8_t *data)
{
    const ws_mask_impl_t *impl;

    add(bench, what, "as chosen", run_mask, data)->target = 0.5;
    for (impl = ws_mask_impls; impl->name != NULL; impl++) {
        if (impl->runs_here()) {
            add(bench, what, impl->name, run_mask, data)->mask = impl;
        }
    }
}

static void add_checks(bench_t *bench, const char *what, uint8_t *data,
                       double target)
{
    const ws_utf8_impl_t *impl;

    add(bench, what, "as chosen", run_utf8, data)->target = target;
    for (impl = ws_utf8_impls; impl->name != NULL; impl++) {
        if (impl->runs_here()) {
            add(bench, what, impl->name, run_utf8, data)->utf8 = impl;
        }
    }
}

/* --- measuring --- */

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double measure(const way_t *way)
{
    double begin;
    int i;

    way->run(way);                          /* its data back into the cache */
    begin = now();
    for (i = 0; i < REPEATS; i++) {
        way->run(way);
    }
    return (now() - begin) / REPEATS;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

static double median(way_t *way)
{
    qsort(way->times, ROUNDS, sizeof(way->times[0]), compare);
    return way->times[ROUNDS / 2];
}

static void print_table(bench_t *bench)
{
    double base = median(&bench->ways[0]);
    size_t i;

    printf("%-22s %-10s %9s %9s %7s\n", "64 KiB", "", "GB/s", "/memcpy",
           "target");
    for (i = 0; i < bench->count; i++) {
        way_t *way = &bench->ways[i];
        double time = median(way);

        printf("%-22s %-10s %9.1f %9.2f", way->what, way->name,
               (double)SIZE / time, base / time);
        if (way->target > 0) {
            printf(" %7.1f %s", way->target,
                   base / time >= way->target ? "met" : "missed");
        }
        printf("\n");
    }
}

int main(void)
{
    static bench_t bench;
    uint8_t *copied = allocate(2 * SIZE);
    uint8_t *masked = allocate(SIZE + HEAD);
    uint8_t *ascii = make_ascii();
    uint8_t *mixed = make_mixed();
    size_t i;
    int round;

    add(&bench, "memcpy", "", run_memcpy, copied);
    add_masks(&bench, "unmask", masked);
    add_masks(&bench, "unmask behind a head", masked + HEAD);
    add_checks(&bench, "UTF-8 check, ASCII", ascii, 0.5);
    add_checks(&bench, "UTF-8 check, mixed", mixed, 0.1);
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < bench.count; i++) {
            bench.ways[i].times[round] = measure(&bench.ways[i]);
        }
    }
    print_table(&bench);
    free(copied);
    free(masked);
    free(ascii);
    free(mixed);
    return EXIT_SUCCESS;
}
