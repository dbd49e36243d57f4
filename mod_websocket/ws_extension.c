#include "ws_extension.h"

#include <stdio.h>
#include <string.h>

#include "ws_handshake.h"

#define VALUE_MAX 8                  /* longer ones are valid nowhere */

/* One parameter of an offer, unquoted. */
typedef struct {
    const char *name;
    size_t name_length;
    bool has_value;
    char value[VALUE_MAX];
    size_t value_length;             /* may be over VALUE_MAX: the rest is
                                      * not in value */
} param_t;

/* The parameters of permessage-deflate, RFC 7692 7.1. */
enum {
    SERVER_NO_TAKEOVER = 1,
    CLIENT_NO_TAKEOVER = 2,
    SERVER_BITS = 4,
    CLIENT_BITS = 8
};

typedef struct {
    bool is_deflate;
    bool is_valid;
    unsigned given;                  /* which parameters */
    uint8_t server_bits;
    uint8_t client_bits;
} offer_t;

/* --- the grammar: RFC 6455 9.1 --- */

static ws_status_t refuse(const char **pwhy, const char *why)
{
    *pwhy = why;
    return WS_EPROTO;
}

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

static size_t token_length(const char *at)
{
    size_t length = 0;

    while (ws_token_valid(at + length, 1)) {
        length++;
    }
    return length;
}

static void add_to_value(param_t *param, char c)
{
    if (param->value_length < VALUE_MAX) {
        param->value[param->value_length] = c;
    }
    param->value_length++;
}

/* What is quoted must be a token, too. */
static ws_status_t read_quoted(param_t *param, const char **pat,
                               const char **pwhy)
{
    const char *at = *pat + 1;

    for (; *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
        if (!ws_token_valid(at, 1)) {       /* the end of the header, too */
            return refuse(pwhy, "quoted value is no token");
        }
        add_to_value(param, *at);
    }
    *pat = at + 1;
    return param->value_length > 0
               ? WS_OK
               : refuse(pwhy, "quoted value is empty");
}

static ws_status_t read_value(param_t *param, const char **pat,
                              const char **pwhy)
{
    size_t length = token_length(*pat);
    size_t i;

    param->has_value = true;
    if (**pat == '"') {
        return read_quoted(param, pat, pwhy);
    }
    for (i = 0; i < length; i++) {
        add_to_value(param, (*pat)[i]);
    }
    *pat += length;
    return length > 0 ? WS_OK : refuse(pwhy, "parameter without its value");
}

static ws_status_t read_param(param_t *param, const char **pat,
                              const char **pwhy)
{
    memset(param, 0, sizeof(*param));
    param->name = *pat;
    param->name_length = token_length(*pat);
    if (param->name_length == 0) {
        return refuse(pwhy, "parameter without a name");
    }
    *pat = skip_space(*pat + param->name_length);
    if (**pat != '=') {
        return WS_OK;
    }
    *pat = skip_space(*pat + 1);
    return read_value(param, pat, pwhy);
}

/* --- permessage-deflate --- */

static bool is_named(const param_t *param, const char *name)
{
    return param->name_length == strlen(name) &&
           memcmp(param->name, name, param->name_length) == 0;
}

/* 8 to 15 in decimal, without leading zeros (RFC 7692 7.1.2); 0: it is not. */
static uint8_t bits_of(const param_t *param)
{
    const char *value = param->value;

    if (param->value_length == 1 && (value[0] == '8' || value[0] == '9')) {
        return (uint8_t)(value[0] - '0');
    }
    if (param->value_length == 2 && value[0] == '1' && value[1] >= '0' &&
        value[1] <= '5') {
        return (uint8_t)(10 + value[1] - '0');
    }
    return 0;
}

/* Which parameter this is, and is its value good? 0: no. */
static unsigned understand(offer_t *offer, const param_t *param)
{
    if (is_named(param, "server_no_context_takeover")) {
        return param->has_value ? 0 : SERVER_NO_TAKEOVER;
    }
    if (is_named(param, "client_no_context_takeover")) {
        return param->has_value ? 0 : CLIENT_NO_TAKEOVER;
    }
    if (is_named(param, "server_max_window_bits")) {
        offer->server_bits = bits_of(param);
        return offer->server_bits != 0 ? SERVER_BITS : 0;
    }
    if (is_named(param, "client_max_window_bits")) {
        offer->client_bits =
            param->has_value ? bits_of(param) : WS_WINDOW_BITS_MAX;
        return offer->client_bits != 0 ? CLIENT_BITS : 0;
    }
    return 0;
}

static void add_param(offer_t *offer, const param_t *param)
{
    unsigned which = understand(offer, param);

    if (which == 0 || (offer->given & which) != 0) {
        offer->is_valid = false;
    }
    offer->given |= which;
}

/* An extension with its parameters; *pat is left at the comma or the end. */
static ws_status_t read_offer(offer_t *offer, const char **pat,
                              const char **pwhy)
{
    static const char name[] = "permessage-deflate";
    size_t length = token_length(*pat);
    param_t param;
    ws_status_t status;

    if (length == 0) {
        return refuse(pwhy, "extension without a name");
    }
    memset(offer, 0, sizeof(*offer));
    offer->is_valid = true;
    offer->is_deflate =
        length == sizeof(name) - 1 && memcmp(*pat, name, length) == 0;
    *pat = skip_space(*pat + length);
    while (**pat == ';') {
        *pat = skip_space(*pat + 1);
        status = read_param(&param, pat, pwhy);
        if (status != WS_OK) {
            return status;
        }
        add_param(offer, &param);
        *pat = skip_space(*pat);
    }
    return **pat == ',' || **pat == '\0'
               ? WS_OK
               : refuse(pwhy, "extensions are not separated by commas");
}

static uint8_t smaller(uint8_t a, uint8_t b)
{
    return a < b ? a : b;
}

static void agree(ws_deflate_params_t *params, const offer_t *offer,
                  const ws_deflate_policy_t *policy)
{
    params->server_bits =
        offer->given & SERVER_BITS
            ? smaller(offer->server_bits, policy->window_bits)
            : policy->window_bits;
    /* a client that does not offer this cannot be told: 7.1.2.2 */
    params->client_bits =
        offer->given & CLIENT_BITS
            ? smaller(offer->client_bits, policy->window_bits)
            : WS_WINDOW_BITS_MAX;
    params->server_takeover =
        policy->server_takeover && !(offer->given & SERVER_NO_TAKEOVER);
    params->client_takeover =
        policy->client_takeover && !(offer->given & CLIENT_NO_TAKEOVER);
}

static void write_answer(char answer[WS_EXTENSION_ANSWER_SIZE],
                         const ws_deflate_params_t *params,
                         const offer_t *offer)
{
    char server_bits[32] = "";
    char client_bits[32] = "";

    if (params->server_bits < WS_WINDOW_BITS_MAX ||
        (offer->given & SERVER_BITS)) {
        snprintf(server_bits, sizeof(server_bits),
                 "; server_max_window_bits=%u", params->server_bits);
    }
    if (params->client_bits < WS_WINDOW_BITS_MAX) {
        snprintf(client_bits, sizeof(client_bits),
                 "; client_max_window_bits=%u", params->client_bits);
    }
    snprintf(answer, WS_EXTENSION_ANSWER_SIZE, "permessage-deflate%s%s%s%s",
             params->server_takeover ? "" : "; server_no_context_takeover",
             params->client_takeover ? "" : "; client_no_context_takeover",
             server_bits, client_bits);
}

ws_status_t ws_extension_negotiate(ws_deflate_params_t *params,
                                   char answer[WS_EXTENSION_ANSWER_SIZE],
                                   const char **pwhy, const char *offers,
                                   const ws_deflate_policy_t *policy)
{
    const char *at = offers;
    offer_t offer;
    offer_t chosen = {.is_valid = false};
    ws_status_t status;

    memset(params, 0, sizeof(*params));
    answer[0] = '\0';
    for (at += strspn(at, " \t,"); *at != '\0'; at += strspn(at, " \t,")) {
        status = read_offer(&offer, &at, pwhy);
        if (status != WS_OK) {
            return status;
        }
        if (offer.is_deflate && offer.is_valid && !chosen.is_valid) {
            chosen = offer;
        }
    }
    if (chosen.is_valid) {
        agree(params, &chosen, policy);
        write_answer(answer, params, &chosen);
    }
    return WS_OK;
}
