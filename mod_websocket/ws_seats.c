#include "ws_seats.h"

#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "ws_shared.h"

#define SWEEP_INTERVAL 1             /* s, where seats are wanted */

/* Numbers of seats and clients begin with 1; 0 is the end of a list. */
typedef struct {
    _Atomic uint32_t owner;          /* process id; 0: free */
    uint32_t client;                 /* or the next free one */
} seat_t;

typedef struct {
    uint64_t key;
    uint32_t count;                  /* seats; 0: free */
    uint32_t next;                   /* of the bucket, or of the free ones */
} client_t;

/* At the start of the shared memory. All but the seats, and the keys of their
 * clients, is made anew out of them when a process dies while it has the
 * lock. */
typedef struct {
    pthread_mutex_t lock;
    uint64_t hash_key;
    uint32_t count;                  /* of seats, and of clients */
    uint32_t bucket_count;           /* a power of two */
    uint32_t taken;
    uint32_t seats_used;             /* those from here on were never taken */
    uint32_t clients_used;
    uint32_t free_seat;              /* of those that were */
    uint32_t free_client;
    int64_t swept;                   /* s, monotonic */
} shared_t;

struct ws_seats {
    shared_t *shared;
    size_t mapped;
    client_t *clients;               /* shared; [0] is unused */
    seat_t *seats;                   /* shared; [0] is unused */
    uint32_t *buckets;               /* shared; numbers of clients */
};

/* --- creation --- */

ws_status_t ws_seats_create(ws_seats_t **pseats, uint32_t count)
{
    ws_seats_t *seats = calloc(1, sizeof(*seats));
    uint32_t buckets = 1;
    char *memory;

    while (buckets < count) {
        buckets *= 2;
    }
    if (seats == NULL) {
        return WS_ENOMEM;
    }
    seats->mapped = sizeof(shared_t) + (count + 1) * sizeof(client_t) +
                    (count + 1) * sizeof(seat_t) + buckets * sizeof(uint32_t);
    memory = ws_shared_map(seats->mapped);
    if (memory == NULL) {
        free(seats);
        return WS_ENOMEM;
    }
    seats->shared = (void *)memory;
    seats->clients = (void *)(memory + sizeof(shared_t));
    seats->seats = (void *)(seats->clients + count + 1);
    seats->buckets = (void *)(seats->seats + count + 1);
    seats->shared->count = count;
    seats->shared->bucket_count = buckets;
    seats->shared->seats_used = 1;
    seats->shared->clients_used = 1;
    if (RAND_bytes((unsigned char *)&seats->shared->hash_key,
                   sizeof(seats->shared->hash_key)) != 1 ||
        !ws_shared_lock_init(&seats->shared->lock)) {
        ws_seats_destroy(seats);
        return WS_EIO;
    }
    *pseats = seats;
    return WS_OK;
}

void ws_seats_destroy(ws_seats_t *seats)
{
    munmap(seats->shared, seats->mapped);
    free(seats);
}

uint32_t ws_seats_count(const ws_seats_t *seats)
{
    return seats->shared->count;
}

/* --- clients --- */

uint64_t ws_seats_client(const void *address, size_t length)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    const uint8_t *bytes = address;
    uint64_t key = 0;
    uint32_t ipv4;

    if (length == 16 && memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        bytes += sizeof(mapped);
        length = 4;
    }
    if (length == 4) {
        memcpy(&ipv4, bytes, sizeof(ipv4));
        return UINT64_MAX << 32 | ipv4;     /* multicast in IPv6: no client's */
    }
    memcpy(&key, bytes, length < sizeof(key) ? length : sizeof(key));
    return key;
}

/* Names come from the network: the key is random, so that nobody can choose
 * many for one bucket. */
static uint32_t *bucket_of(const ws_seats_t *seats, uint64_t key)
{
    uint64_t hash = (key ^ seats->shared->hash_key) * 0x9e3779b97f4a7c15u;

    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
    return &seats->buckets[hash & (seats->shared->bucket_count - 1)];
}

static uint32_t find_client(const ws_seats_t *seats, uint64_t key)
{
    uint32_t i = *bucket_of(seats, key);

    while (i != 0 && seats->clients[i].key != key) {
        i = seats->clients[i].next;
    }
    return i;
}

static void link_client(ws_seats_t *seats, uint32_t i)
{
    uint32_t *bucket = bucket_of(seats, seats->clients[i].key);

    seats->clients[i].next = *bucket;
    *bucket = i;
}

static void unlink_client(ws_seats_t *seats, uint32_t i)
{
    uint32_t *at = bucket_of(seats, seats->clients[i].key);

    while (*at != i) {
        at = &seats->clients[*at].next;
    }
    *at = seats->clients[i].next;
}

static void free_client(ws_seats_t *seats, uint32_t i)
{
    seats->clients[i].next = seats->shared->free_client;
    seats->shared->free_client = i;
}

/* There is always one: each that is in use has a seat. */
static uint32_t add_client(ws_seats_t *seats, uint64_t key)
{
    shared_t *shared = seats->shared;
    uint32_t i = shared->free_client;

    if (i != 0) {
        shared->free_client = seats->clients[i].next;
    }
    else {
        i = shared->clients_used++;
    }
    seats->clients[i].key = key;
    seats->clients[i].count = 0;
    link_client(seats, i);
    return i;
}

/* --- the lock --- */

/* Whoever had the lock is dead: the seats that it has taken or left are right,
 * and all the rest follows from them. */
static void recover(ws_seats_t *seats)
{
    shared_t *shared = seats->shared;
    uint32_t i;

    memset(seats->buckets, 0, shared->bucket_count * sizeof(uint32_t));
    shared->taken = 0;
    shared->free_seat = 0;
    shared->free_client = 0;
    for (i = 1; i < shared->clients_used; i++) {
        seats->clients[i].count = 0;
    }
    for (i = 1; i < shared->seats_used; i++) {
        if (seats->seats[i].owner != 0) {
            seats->clients[seats->seats[i].client].count++;
            shared->taken++;
        }
        else {
            seats->seats[i].client = shared->free_seat;
            shared->free_seat = i;
        }
    }
    for (i = 1; i < shared->clients_used; i++) {
        if (seats->clients[i].count > 0) {
            link_client(seats, i);
        }
        else {
            free_client(seats, i);
        }
    }
}

/* Without signals: the prefork MPM ends a child in a signal handler, which
 * waits for threads that need the lock. */
static bool lock_seats(ws_seats_t *seats, sigset_t *before)
{
    sigset_t all;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    error = pthread_mutex_lock(&seats->shared->lock);
    if (error == EOWNERDEAD) {
        recover(seats);
        error = pthread_mutex_consistent(&seats->shared->lock);
    }
    if (error != 0) {
        pthread_sigmask(SIG_SETMASK, before, NULL);
    }
    return error == 0;
}

static void unlock_seats(ws_seats_t *seats, const sigset_t *before)
{
    pthread_mutex_unlock(&seats->shared->lock);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* --- seats --- */

/* A process that dies in between leaves a seat that is wholly taken or free:
 * the owner is set last, and taken back first. */
static void set_owner(seat_t *seat, pid_t owner)
{
    atomic_store(&seat->owner, (uint32_t)owner);
}

static void leave(ws_seats_t *seats, uint32_t i)
{
    shared_t *shared = seats->shared;
    uint32_t client = seats->seats[i].client;

    set_owner(&seats->seats[i], 0);
    seats->clients[client].count--;
    if (seats->clients[client].count == 0) {
        unlink_client(seats, client);
        free_client(seats, client);
    }
    seats->seats[i].client = shared->free_seat;
    shared->free_seat = i;
    shared->taken--;
}

static uint32_t take(ws_seats_t *seats, uint32_t client)
{
    shared_t *shared = seats->shared;
    uint32_t i = shared->free_seat;

    if (i != 0) {
        shared->free_seat = seats->seats[i].client;
    }
    else {
        i = shared->seats_used++;
    }
    seats->clients[client].count++;
    seats->seats[i].client = client;
    set_owner(&seats->seats[i], getpid());
    shared->taken++;
    return i;
}

static void sweep(ws_seats_t *seats)
{
    uint32_t living = (uint32_t)getpid();
    uint32_t dead = 0;
    uint32_t i;

    for (i = 1; i < seats->shared->seats_used; i++) {
        uint32_t owner = seats->seats[i].owner;

        if (owner == 0 || owner == living) {
            continue;
        }
        if (owner != dead && ws_shared_owner_lives(owner)) {
            living = owner;
        }
        else {
            dead = owner;
            leave(seats, i);
        }
    }
}

/* Is there a dead one's to be had? Looks once a second, as it takes time. */
static bool try_sweep(ws_seats_t *seats)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec < seats->shared->swept + SWEEP_INTERVAL) {
        return false;
    }
    seats->shared->swept = now.tv_sec;
    sweep(seats);
    return true;
}

static ws_status_t check(const ws_seats_t *seats, uint64_t key,
                         const ws_seats_limits_t *limits)
{
    const shared_t *shared = seats->shared;
    uint32_t client = find_client(seats, key);
    uint32_t has = client != 0 ? seats->clients[client].count : 0;

    if (limits->per_client > 0 && has >= limits->per_client) {
        return WS_EPOLICY;
    }
    if (shared->taken >= shared->count ||
        (limits->all > 0 && shared->taken >= limits->all)) {
        return WS_ETOOBIG;
    }
    return WS_OK;
}

ws_status_t ws_seats_take(ws_seats_t *seats, uint64_t client,
                          const ws_seats_limits_t *limits, uint32_t *pseat)
{
    sigset_t before;
    ws_status_t status;
    uint32_t i;

    if (!lock_seats(seats, &before)) {
        return WS_EIO;
    }
    status = check(seats, client, limits);
    if (status != WS_OK && try_sweep(seats)) {
        status = check(seats, client, limits);
    }
    if (status == WS_OK) {
        i = find_client(seats, client);
        *pseat = take(seats, i != 0 ? i : add_client(seats, client));
    }
    unlock_seats(seats, &before);
    return status;
}

void ws_seats_leave(ws_seats_t *seats, uint32_t seat)
{
    sigset_t before;

    if (!lock_seats(seats, &before)) {
        return;
    }
    if (seats->seats[seat].owner == (uint32_t)getpid()) {
        leave(seats, seat);
    }
    unlock_seats(seats, &before);
}

void ws_seats_sweep(ws_seats_t *seats)
{
    sigset_t before;

    if (lock_seats(seats, &before)) {
        sweep(seats);
        unlock_seats(seats, &before);
    }
}

uint32_t ws_seats_taken(ws_seats_t *seats)
{
    sigset_t before;
    uint32_t taken = 0;

    if (lock_seats(seats, &before)) {
        taken = seats->shared->taken;
        unlock_seats(seats, &before);
    }
    return taken;
}

void ws_seats_move(ws_seats_t *seats, pid_t from, pid_t to)
{
    sigset_t before;
    uint32_t i;

    if (!lock_seats(seats, &before)) {
        return;
    }
    for (i = 1; i < seats->shared->seats_used; i++) {
        if (seats->seats[i].owner == (uint32_t)from) {
            set_owner(&seats->seats[i], to);
        }
    }
    unlock_seats(seats, &before);
}
