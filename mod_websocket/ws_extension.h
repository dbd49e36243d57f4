/* ws_extension: Sec-WebSocket-Extensions (RFC 6455 9.1) and the negotiation of
 * permessage-deflate (RFC 7692 5 and 7.1), as a pure function.
 * Threads:  pure functions; any thread.
 * Lifetime: nothing is kept; all strings are borrowed and end with NUL. */
#ifndef WS_EXTENSION_H
#define WS_EXTENSION_H

#include <stdbool.h>

#include "ws_deflate.h"
#include "ws_status.h"

/* What this side is ready to agree to. */
typedef struct {
    uint8_t window_bits;             /* 9 to 15: the most, of both sides */
    bool server_takeover;            /* may our context be kept? */
    bool client_takeover;            /* may the client's? */
} ws_deflate_policy_t;

/* The longest answer, and its NUL. */
#define WS_EXTENSION_ANSWER_SIZE 160

/* Takes the first offer that can be agreed to. offers is the header, several
 * lines joined by commas. Other extensions, and offers of permessage-deflate
 * with a parameter that is unknown, invalid or given twice, are passed over.
 * WS_OK:     *params says what is agreed (server_bits 0: nothing), answer is
 *            the value of the response's header ("": send none).
 * WS_EPROTO: the header does not follow the grammar; *pwhy says how, static
 *            text. The handshake fails. An empty list is taken for no offer,
 *            though there should be one. Names are compared exactly. */
ws_status_t ws_extension_negotiate(ws_deflate_params_t *params,
                                   char answer[WS_EXTENSION_ANSWER_SIZE],
                                   const char **pwhy, const char *offers,
                                   const ws_deflate_policy_t *policy);

#endif
