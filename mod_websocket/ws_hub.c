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
    size_t length;
    uint32_t id;                     /* of those that are there; not 0 */
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
    ws_log_reader_t reader;
    const ws_logger_t *logger;
    topic_t **buckets;
    size_t bucket_count;             /* a power of two */
    size_t topic_count;
    uint32_t last_topic;             /* id */
};

/* --- topics --- */

/* FNV-1a, begun with the log's random number: names come from the network. */
static uint64_t hash_of(const ws_hub_t *hub, const void *name, size_t length)
{
    const uint8_t *bytes = name;
    uint64_t hash = 0xcbf29ce484222325u ^ ws_log_epoch(hub->log);
    size_t i;

    for (i = 0; i < length; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash ^ hash >> 32;
}

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
    topic->length = length;
    topic->id = next_topic(hub);
    memcpy(topic->name, name, length);
    if (hub->topic_count >= hub->bucket_count) {
        grow(hub);
    }
    link_topic(hub, topic);
    hub->topic_count++;
    return topic;
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
}

/* --- subscriptions --- */

/* The first subscriber: what the log holds so far is for nobody here. */
static ws_status_t begin_reading(ws_hub_t *hub)
{
    ws_log_reader_clear(&hub->reader);
    atomic_store(&hub->slot->wanted, 1);
    return ws_log_reader_init(&hub->reader, hub->log);
}

static bool is_subscribed(const ws_subscriber_t *subscriber,
                          const topic_t *topic)
{
    const ws_subscription_t *own = subscriber->subscriptions;

    while (own != NULL && own->topic != topic) {
        own = own->next_own;
    }
    return own != NULL;
}

static void attach(ws_subscription_t *subscription,
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
}

ws_status_t ws_hub_subscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                             const void *topic_name, size_t length)
{
    uint64_t hash = hash_of(hub, topic_name, length);
    topic_t *topic = find(hub, hash, topic_name, length);
    ws_subscription_t *subscription;

    if (topic != NULL && is_subscribed(subscriber, topic)) {
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
    attach(subscription, subscriber, topic);
    return WS_OK;
}

static void detach(ws_hub_t *hub, ws_subscription_t *subscription)
{
    topic_t *topic = subscription->topic;

    if (subscription->prev != NULL) {
        subscription->prev->next = subscription->next;
    }
    else {
        topic->subscriptions = subscription->next;
    }
    if (subscription->next != NULL) {
        subscription->next->prev = subscription->prev;
    }
    if (topic->subscriptions == NULL) {
        topic_destroy(hub, topic);
    }
    free(subscription);
}

ws_status_t ws_hub_unsubscribe(ws_hub_t *hub, ws_subscriber_t *subscriber,
                               const void *topic, size_t length)
{
    (void)hub; (void)subscriber; (void)topic; (void)length;
    return WS_EINVAL;
}

void ws_hub_unsubscribe_all(ws_hub_t *hub, ws_subscriber_t *subscriber)
{
    ws_subscription_t *subscription;

    while ((subscription = subscriber->subscriptions) != NULL) {
        subscriber->subscriptions = subscription->next_own;
        detach(hub, subscription);
    }
    if (hub->topic_count == 0) {
        atomic_store(&hub->slot->wanted, 0);
    }
}

/* --- delivery --- */

/* Sending runs no callback, so the list stays as it is. */
static void deliver(ws_hub_t *hub, const ws_record_t *record)
{
    uint64_t hash = hash_of(hub, record->topic, record->topic_length);
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
