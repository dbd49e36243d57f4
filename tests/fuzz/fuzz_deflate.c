/* Compression: whatever is inflated against a plain reading of RFC 1951, cut
 * anywhere and into output of any size; and what is deflated, for any window
 * and level, which must come back, and must look back no further than agreed.
 *
 * Input: a byte of options, one each for the window, the level, where the
 * payload is cut, the limit and how long the messages are made; then up to
 * three messages: two bytes for the length, but for the last, and the
 * bytes. */
#include "fuzz.h"
#include "reference.h"
#include "ws_deflate.h"

#define LONGER_MAX 40960             /* bytes of a message made longer */

enum {
    ROUND_TRIP = 1,                  /* messages, not compressed data */
    TAKEOVER = 2,
    FORGET = 4,                      /* the deflater, between messages */
    CUT = 8
};

typedef struct {
    unsigned options;
    unsigned bits;
    int level;
    uint32_t seed;
    size_t limit;
    size_t longer;                   /* bytes that a message is made to have */
    ws_budget_t budget;
    ws_deflate_shared_t *shared;
} world_t;

/* --- inflating one message --- */

typedef struct {
    fuzz_bytes_t out;
    ws_status_t status;              /* WS_AGAIN: the limit is passed */
} result_t;

/* Makes room for more output; true if there is too much already. As it is
 * with a message: one byte over the limit shows that it is passed. */
static bool make_larger(world_t *world, fuzz_bytes_t *out)
{
    size_t more = world->options & CUT
                      ? 1 + fuzz_random(&world->seed) % (100 + out->length)
                      : world->limit + 1;
    size_t left = world->limit + 1 - out->length;
    uint8_t *larger;

    if (left == 0) {
        return true;
    }
    out->capacity = out->length + (more < left ? more : left);
    larger = fuzz_alloc(out->capacity);
    if (out->length > 0) {
        memcpy(larger, out->data, out->length);
    }
    free(out->data);
    out->data = larger;
    return false;
}

static void run_piece(world_t *world, ws_inflater_t *inflater,
                      result_t *result, const uint8_t *data, size_t length)
{
    const uint8_t *end = data + length;

    do {
        size_t before = result->out.length;

        if (make_larger(world, &result->out)) {
            result->status = WS_AGAIN;
            return;
        }
        result->status =
            ws_inflater_run(inflater, &data, &length, result->out.data,
                            result->out.capacity, &result->out.length);
        FUZZ_CHECK(result->out.length >= before);
        FUZZ_CHECK(result->out.length <= result->out.capacity);
        FUZZ_CHECK(data + length == end);
        FUZZ_CHECK(result->status != WS_AGAIN ||
                   result->out.length == result->out.capacity);
    } while (result->status == WS_AGAIN);
    FUZZ_CHECK(result->status != WS_OK || length == 0);
    if (result->out.length == world->limit + 1) {
        result->status = WS_AGAIN;
    }
}

static result_t run_message(world_t *world, ws_inflater_t *inflater,
                            const uint8_t *data, size_t length)
{
    result_t result = {.status = WS_OK};
    size_t at = 0;

    while (at < length && result.status == WS_OK) {
        size_t count = length - at;
        uint8_t *piece;

        if (world->options & CUT) {
            size_t most = 3 + (world->seed & 0x10000 ? length / 40 : length);

            most = 1 + fuzz_random(&world->seed) % most;
            count = count < most ? count : most;
        }
        piece = fuzz_copy(data + at, count);
        run_piece(world, inflater, &result, piece, count);
        free(piece);
        at += count;
    }
    if (result.status == WS_OK) {
        result.status = ws_inflater_end(inflater);
    }
    return result;
}

/* Compares with the reference, which has the same context. */
static ws_status_t check_message(world_t *world, ws_inflater_t *inflater,
                                 reference_inflater_t *reference,
                                 const uint8_t *data, size_t length)
{
    result_t result = run_message(world, inflater, data, length);
    reference_status_t expected =
        reference_inflate(reference, data, length, true, world->limit + 1);
    size_t count = reference->out.length - reference->begin;
    ws_status_t status = count == world->limit + 1   ? WS_AGAIN
                         : expected == REFERENCE_END ? WS_OK
                                                     : WS_EDATA;

    /* zlib lets a client look back over its window as far as it happens to
     * have the bytes */
    if (!reference->is_far) {
        FUZZ_CHECK(result.status == status);
        FUZZ_CHECK(result.out.length == count);
    }
    if (!reference->is_far || result.status == WS_OK) {
        FUZZ_CHECK(result.out.length <= count);
        FUZZ_CHECK(result.out.length == 0 ||
                   memcmp(result.out.data, reference_output(reference),
                          result.out.length) == 0);
    }
    fuzz_free(&result.out);
    return reference->is_far ? WS_EDATA : result.status;
}

static ws_inflater_t *take(world_t *world)
{
    ws_inflater_t *inflater =
        world->options & TAKEOVER
            ? ws_inflater_create(world->bits)
            : ws_inflater_take(world->shared, world->bits);

    FUZZ_CHECK(inflater != NULL);
    return inflater;
}

static void give(world_t *world, ws_inflater_t *inflater)
{
    if (world->options & TAKEOVER) {
        ws_inflater_destroy(inflater);
    }
    else {
        FUZZ_CHECK(atomic_load(&world->budget.used) > 0);
        ws_inflater_give(world->shared, inflater);
    }
    FUZZ_CHECK(atomic_load(&world->budget.used) == 0);
}

/* --- the messages --- */

static const uint8_t *next_message(fuzz_input_t *input, unsigned which,
                                   size_t *plength)
{
    *plength = which < 2 ? fuzz_u16(input) : input->left;
    return fuzz_take(input, plength);
}

static void inflate_all(world_t *world, fuzz_input_t *input)
{
    reference_inflater_t reference = {.window = (size_t)1 << world->bits};
    ws_inflater_t *inflater = take(world);
    ws_status_t status = WS_OK;
    const uint8_t *data;
    size_t length;
    unsigned i;

    for (i = 0; i < 3 && status == WS_OK && input->left > 0; i++) {
        data = next_message(input, i, &length);
        if (length == 0) {                  /* ws_inflater_end() wants one */
            break;
        }
        status = check_message(world, inflater, &reference, data, length);
        if (!(world->options & TAKEOVER)) {
            give(world, inflater);
            inflater = take(world);
            reference.out.length = 0;
        }
    }
    give(world, inflater);
    reference_clear(&reference);
}

/* Pieces of the message, again and again, far apart and near. */
static fuzz_bytes_t make_longer(world_t *world, const uint8_t *data,
                                size_t length)
{
    fuzz_bytes_t longer = {0};

    fuzz_add(&longer, data, length);
    while (length > 0 && longer.length < world->longer) {
        size_t at = fuzz_random(&world->seed) % length;
        size_t count = 1 + fuzz_random(&world->seed) % 400;

        fuzz_add(&longer, data + at, count < length - at ? count : length - at);
        if (fuzz_random(&world->seed) % 8 == 0) {
            fuzz_add_byte(&longer, fuzz_random(&world->seed));
        }
    }
    return longer;
}

static void check_round_trip(world_t *world, ws_deflater_t *deflater,
                             reference_inflater_t *reference,
                             const fuzz_bytes_t *message)
{
    ws_inflater_t *inflater = take(world);
    uint8_t *data = fuzz_copy(message->data, message->length);
    const uint8_t *out;
    size_t out_length;
    ws_status_t status;

    status = ws_deflate_message(world->shared, deflater, world->bits,
                                world->level, data, message->length, &out,
                                &out_length);
    free(data);
    FUZZ_CHECK(status == WS_OK);
    FUZZ_CHECK(out_length > 0);
    FUZZ_CHECK(reference_inflate(reference, out, out_length, true, SIZE_MAX) ==
               REFERENCE_END);
    FUZZ_CHECK(!reference->is_far);
    FUZZ_CHECK(reference->out.length - reference->begin == message->length);
    FUZZ_CHECK(message->length == 0 ||
               memcmp(reference_output(reference), message->data,
                      message->length) == 0);
    if (reference->begin == 0) {            /* it looks back on nothing */
        reference_inflater_t fresh = {.window = (size_t)1 << world->bits};

        world->limit = message->length;
        FUZZ_CHECK(check_message(world, inflater, &fresh, out, out_length) ==
                   WS_OK);
        reference_clear(&fresh);
    }
    give(world, inflater);
}

/* Both directions keep their context. */
static void check_conversation(world_t *world, ws_inflater_t *inflater,
                               ws_deflater_t *deflater,
                               reference_inflater_t *reference,
                               const fuzz_bytes_t *message)
{
    const uint8_t *out;
    size_t out_length;

    FUZZ_CHECK(ws_deflate_message(world->shared, deflater, world->bits,
                                  world->level, message->data,
                                  message->length, &out,
                                  &out_length) == WS_OK);
    world->limit = message->length;
    FUZZ_CHECK(check_message(world, inflater, reference, out, out_length) ==
               WS_OK);
    FUZZ_CHECK(!reference->is_far);
    FUZZ_CHECK(reference->out.length - reference->begin == message->length);
    FUZZ_CHECK(message->length == 0 ||
               memcmp(reference_output(reference), message->data,
                      message->length) == 0);
}

static void deflate_all(world_t *world, fuzz_input_t *input)
{
    reference_inflater_t reference = {.window = (size_t)1 << world->bits};
    bool keeps = (world->options & TAKEOVER) != 0;
    ws_deflater_t *deflater =
        keeps ? ws_deflater_create(world->bits, world->level) : NULL;
    ws_inflater_t *inflater = keeps ? take(world) : NULL;
    fuzz_bytes_t message;
    const uint8_t *data;
    size_t length;
    unsigned i;

    FUZZ_CHECK(!keeps || deflater != NULL);
    for (i = 0; i < 3 && (i == 0 || input->left > 0); i++) {
        data = next_message(input, i, &length);
        message = make_longer(world, data, length);
        if (keeps && !(world->options & FORGET)) {
            check_conversation(world, inflater, deflater, &reference,
                               &message);
        }
        else {
            reference.out.length = 0;
            if (keeps) {
                ws_deflater_reset(deflater);
            }
            check_round_trip(world, deflater, &reference, &message);
        }
        fuzz_free(&message);
    }
    ws_deflater_destroy(deflater);
    if (keeps) {
        give(world, inflater);
    }
    reference_clear(&reference);
}

/* --- memory --- */

static void check_budget(const world_t *world)
{
    ws_deflate_params_t params = {
        .server_bits = (uint8_t)world->bits,
        .client_bits = (uint8_t)(8 + world->seed % 8),
    };
    ws_budget_t budget = {.limit = world->limit};
    size_t cost, both;
    bool fits;

    FUZZ_CHECK(ws_deflate_agreed(&params));
    FUZZ_CHECK(ws_deflate_cost(&params) == 0);
    FUZZ_CHECK(ws_budget_reserve(&budget, 0));
    params.client_takeover = true;
    cost = ws_deflate_cost(&params);
    FUZZ_CHECK(cost >= (size_t)1 << params.client_bits);
    params.server_takeover = true;
    both = ws_deflate_cost(&params);
    FUZZ_CHECK(both >= cost + ((size_t)1 << params.server_bits));
    fits = cost <= budget.limit;
    FUZZ_CHECK(ws_budget_reserve(&budget, cost) == fits);
    FUZZ_CHECK(budget.used == (fits ? cost : 0));
    FUZZ_CHECK(ws_budget_reserve(&budget, budget.limit - budget.used));
    FUZZ_CHECK(ws_budget_is_used_up(&budget));
    FUZZ_CHECK(!ws_budget_reserve(&budget, 1));
    ws_budget_release(&budget, budget.limit);
    FUZZ_CHECK(budget.used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t limits[] = {0,   1,    10,   255,   256,  257,
                                      511, 1024, 4096, 32768, 33000, 100000};
    fuzz_input_t input = {data, size};
    world_t world = {.budget = {.limit = 0}};
    unsigned longer;

    world.options = fuzz_byte(&input);
    world.bits = 8 + fuzz_byte(&input) % 8;
    world.level = 1 + (int)(fuzz_byte(&input) % 9);
    world.seed = fuzz_byte(&input) * 0x10001u;
    world.limit = limits[fuzz_byte(&input) % 12];
    longer = fuzz_byte(&input);
    world.longer = longer < 240 ? 0 : (longer - 239) * (LONGER_MAX / 16);
    world.shared = ws_deflate_shared_create(&world.budget);
    FUZZ_CHECK(world.shared != NULL);
    check_budget(&world);
    if (world.options & ROUND_TRIP) {
        deflate_all(&world, &input);
    }
    else {
        inflate_all(&world, &input);
    }
    ws_deflate_shared_destroy(world.shared);
    return 0;
}
