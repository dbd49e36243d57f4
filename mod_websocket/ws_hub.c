#include "ws_hub.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ws_broadcast.h"

#define FIRST_BUCKETS 16
#define RECORDS_PER_TURN 256         /* then sockets and timers have a turn */
#define WAIT_LIMIT 1000              /* ms */

typedef struct topic {
    struct topic *next;              /* of the bucket */
    ws_subscription_t *subscriptions;
    uint64_t hash;
    uint32_t length;
    uint32_t id;                     /* of those that are there; not 0 */
    uint32_t count;                  /* of its subscriptions */
    uint8_t name[];
} topic_t;

struct ws_subscription {
    topic_t *topic;
    ws_subscriber_t *subscriber;
    ws_subscription_t *next, *prev;  /* of the topic */
    ws_subscription_t *next_own;     /* of the subscriber */
    uint64_t from;                   /* number of the first record to get */
};

struct ws_hub {
    ws_log_t *log;
    ws_log_slot_t *slot;
    ws_census_t *census;             /* the slot's */
    ws_log_reader_t reader;
    const ws_logger_t *logger;
    topic_t **buckets;
    size_t bucket_count;             /* a power of two */
    size_t topic_count;
    size_t departures;               /* of topics; see find_places() */
    uint32_t last_topic;             /* id */
};

/* --- topics --- */

static topic_t **bucket_of(const ws_hub_t *hub, uint64_t hash)
{
    return &hub->buckets[hash & (hub->bucket_count - 1)];
}

static topic_t *find(const ws_hub_t *hub, uint64_t hash, const void *name,
                     size_t length)
{
    topic_t *topic = *bucket_of(hub, hash);

    while (topic != NULL &&
           (topic->hash != hash || topic->length != length ||
            memcmp(topic->name, name, length) != 0)) {
        topic = topic->next;
    }
    return topic;
}

static void link_topic(ws_hub_t *hub, topic_t *topic)
{
    topic_t **bucket = bucket_of(hub, topic->hash);

    topic->next = *bucket;
    *bucket = topic;
}

/* Twice the buckets. Where there is no memory chains stay longer. */
static void grow(ws_hub_t *hub)
{
    topic_t **old = hub->buckets;
    size_t old_count = hub->bucket_count;
    topic_t **buckets = calloc(old_count * 2, sizeof(topic_t *));
    topic_t *topic;
    topic_t *next;
    size_t i;

    if (buckets == NULL) {
        return;
    }
    hub->buckets = buckets;
    hub->bucket_count = old_count * 2;
    for (i = 0; i < old_count; i++) {
        for (topic = old[i]; topic != NULL; topic = next) {
            next = topic->next;
            link_topic(hub, topic);
        }
    }
    free(old);
}

/* Numbers come again after 4 billion topics: then a message that waits may be
 * taken for one of another topic, and go to nobody. */
static uint32_t next_topic(ws_hub_t *hub)
{
    hub->last_topic++;
    hub->last_topic += hub->last_topic == 0;
    return hub->last_topic;
}

static topic_t *topic_create(ws_hub_t *hub, uint64_t hash, const void *name,
                             size_t length)
{
    topic_t *topic = malloc(sizeof(*topic) + length);

    if (topic == NULL) {
        return NULL;
    }
    topic->subscriptions = NULL;
    topic->hash = hash;
    topic->length = (uint32_t)length;
    topic->id = next_topic(hub);
    topic->count = 0;
    memcpy(topic->name, name, length);
    if (hub->topic_count >= hub->bucket_count) {
        grow(hub);
    }
    link_topic(hub, topic);
    hub->topic_count++;
    atomic_store(&hub->slot->wanted, 1);
    return topic;
}

/* Topics that found no place in the census may find one when others have left.
 * They look again each time that an eighth of all has left, where there are no
 * more than places: so it costs next to nothing for each that leaves. */
static void find_places(ws_hub_t *hub)
{
    topic_t *topic;
    size_t i;

    hub->departures++;
    if (ws_census_missing(hub->census) == 0 ||
        hub->topic_count > WS_CENSUS_PLACES ||
        hub->departures < hub->topic_count / 8) {
        return;
    }
    hub->departures = 0;
    for (i = 0; i < hub->bucket_count; i++) {
        for (topic = hub->buckets[i]; topic != NULL; topic = topic->next) {
            ws_census_change(hub->census, topic->hash, topic->count,
                             topic->count);
        }
    }
}

static void topic_destroy(ws_hub_t *hub, topic_t *topic)
{
    topic_t **at = bucket_of(hub, topic->hash);

    while (*at != topic) {
        at = &(*at)->next;
    }
    *at = topic->next;
    hub->topic_count--;
    free(topic);
    if (hub->topic_count == 0) {
        atomic_store(&hub->slot->wanted, 0);
    }
    find_places(hub);
}

/* --- subscriptions --- */

/* The first subscriber: what the log holds so far is for nobody here. */
static ws_status_t begin_reading(ws_hub_t *hub)
{
    ws_log_reader_clear(&hub->reader);
    return ws_log_reader_init(&hub->reader, hub->log);
}

/* Where the subscription hangs, or would. */
static ws_subscription_t **find_own(ws_subscriber_t *subscriber,
                                    const topic_t *topic)
{
    ws_subscription_t **at = &subscriber->subscriptions;

    while (*at != NULL && (*at)->topic != topic) {
        at = &(*at)->next_own;
    }
    return at;
}

static void set_count(ws_hub_t *hub, topic_t *topic, uint32_t count)
{
    ws_census_change(hub->census, topic->hash, topic->count, count);
    topic->count = count;
}

static void attach(ws_hub_t *hub, ws_subscription_t *subscription,
                   ws_subscriber_t *subscriber, topic_t *topic)
{
    subscription->topic = topic;
    subscription->subscriber = subscriber;
    subscription->prev = NULL;
    subscription->next = topic->subscriptions;
    if (topic->subscriptions != NULL) {
        topic->subscriptions->prev = subscription;
    }
    topic->subscriptions = subscription;
    subscription->next_own = subscriber->subscriptions;
    subscriber->subscriptions = subscription;
    set_count(hub, topic, topic->count + 1);
}

ws_status_t ws_hub_subscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                             const void *topic_name, size_t length)
{
    uint64_t hash = ws_log_hash(hub->log, topic_name, length);
    topic_t *topic = find(hub, hash, topic_name, length);
    ws_subscription_t *subscription;

    if (topic != NULL && *find_own(subscriber, topic) != NULL) {
        return WS_OK;
    }
    if (hub->topic_count == 0 && begin_reading(hub) != WS_OK) {
        return WS_EIO;
    }
    subscription = malloc(sizeof(*subscription));
    if (subscription == NULL) {
        return WS_ENOMEM;
    }
    if (topic == NULL) {
        topic = topic_create(hub, hash, topic_name, length);
    }
    if (topic == NULL) {
        free(subscription);
        return WS_ENOMEM;
    }
    subscription->from = ws_log_next_number(hub->log);
    attach(hub, subscription, subscriber, topic);
    return WS_OK;
}

/* at: where it hangs at its subscriber. */
static void detach(ws_hub_t *hub, ws_subscription_t **at)
{
    ws_subscription_t *subscription = *at;
    topic_t *topic = subscription->topic;

    *at = subscription->next_own;
    if (subscription->prev != NULL) {
        subscription->prev->next = subscription->next;
    }
    else {
        topic->subscriptions = subscription->next;
    }
    if (subscription->next != NULL) {
        subscription->next->prev = subscription->prev;
    }
    set_count(hub, topic, topic->count - 1);
    if (topic->count == 0) {
        topic_destroy(hub, topic);
    }
    free(subscription);
}

ws_status_t ws_hub_unsubscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                               const void *topic_name, size_t length)
{
    uint64_t hash = ws_log_hash(hub->log, topic_name, length);
    topic_t *topic = find(hub, hash, topic_name, length);
    ws_subscription_t **at;

    if (topic == NULL) {
        return WS_EINVAL;
    }
    at = find_own(subscriber, topic);
    if (*at == NULL) {
        return WS_EINVAL;
    }
    detach(hub, at);
    return WS_OK;
}

void ws_hub_unsubscribe_all(ws_hub_t *hub, ws_subscriber_t *subscriber)
{
    while (subscriber->subscriptions != NULL) {
        detach(hub, &subscriber->subscriptions);
    }
}

/* --- delivery --- */

/* Sending runs no callback, so the list stays as it is. */
static void deliver(ws_hub_t *hub, const ws_record_t *record)
{
    uint64_t hash = ws_log_hash(hub->log, record->topic, record->topic_length);
    topic_t *topic = find(hub, hash, record->topic, record->topic_length);
    ws_subscription_t *subscription;
    ws_broadcast_t broadcast;

    if (topic == NULL) {
        return;
    }
    ws_broadcast_begin(&broadcast, topic->id, record->opcode, record->data,
                       record->length);
    for (subscription = topic->subscriptions; subscription != NULL;
         subscription = subscription->next) {
        ws_subscriber_t *subscriber = subscription->subscriber;

        if (record->number < subscription->from ||
            (record->except != 0 && record->except == subscriber->id)) {
            continue;
        }
        ws_broadcast_send(&broadcast, subscriber->conn);
    }
    ws_broadcast_end(&broadcast);
}

static bool hub_is_ready(void *baton)
{
    const ws_hub_t *hub = baton;

    return hub->topic_count > 0 && ws_log_reader_has(&hub->reader, hub->log);
}

/* A publisher that is killed just before it wakes us leaves us asleep. */
static int64_t hub_wait_limit(void *baton)
{
    const ws_hub_t *hub = baton;

    return hub->topic_count > 0 ? WAIT_LIMIT : -1;
}

static void hub_run(void *baton)
{
    ws_hub_t *hub = baton;
    ws_record_t record;
    uint64_t lost;
    int i;

    for (i = 0; i < RECORDS_PER_TURN && hub_is_ready(hub); i++) {
        ws_status_t status =
            ws_log_read(&hub->reader, hub->log, &record, &lost);

        if (lost > 0) {
            ws_logger_printf(hub->logger, WS_LOG_WARNING,
                             "%" PRIu64 " published messages were overwritten "
                             "before they could be delivered here; a larger "
                             "WebSocketLogSize helps",
                             lost);
        }
        if (status == WS_OK) {
            deliver(hub, &record);
        }
    }
}

/* --- creation --- */

ws_hub_t *ws_hub_create(ws_log_t *log, const ws_logger_t *logger)
{
    ws_hub_t *hub = calloc(1, sizeof(*hub));

    if (hub == NULL) {
        return NULL;
    }
    hub->log = log;
    hub->logger = logger;
    hub->bucket_count = FIRST_BUCKETS;
    hub->buckets = calloc(FIRST_BUCKETS, sizeof(topic_t *));
    hub->slot = ws_log_slot_take(log);
    if (hub->buckets == NULL || hub->slot == NULL) {
        ws_hub_destroy(hub);
        return NULL;
    }
    hub->census = ws_log_slot_census(log, hub->slot);
    return hub;
}

void ws_hub_destroy(ws_hub_t *hub)
{
    if (hub->slot != NULL) {
        ws_log_slot_free(hub->slot);
    }
    ws_log_reader_clear(&hub->reader);
    free(hub->buckets);
    free(hub);
}

ws_loop_waker_t ws_hub_waker(const ws_hub_t *hub)
{
    return (ws_loop_waker_t){.wake = ws_log_slot_wake(hub->log, hub->slot),
                             .sleeping = &hub->slot->sleeping,
                             .connections = &hub->slot->connections};
}

ws_budgets_t *ws_hub_budgets(const ws_hub_t *hub)
{
    return &hub->slot->budgets;
}

ws_source_t ws_hub_source(ws_hub_t *hub)
{
    return (ws_source_t){
        .is_ready = hub_is_ready,
        .run = hub_run,
        .wait_limit = hub_wait_limit,
        .baton = hub,
    };
}

void ws_hub_pass(ws_hub_t *hub, pid_t from, pid_t to)
{
    ws_log_slot_pass(hub->slot, from, to);
}

ws_log_t *ws_hub_log(const ws_hub_t *hub)
{
    return hub->log;
}
