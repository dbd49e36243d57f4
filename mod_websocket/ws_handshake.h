/* ws_handshake: the opening handshake, RFC 6455 4.2, as pure checks.
 * Threads:  pure functions; any thread.
 * Lifetime: nothing is kept; all strings are borrowed and end with NUL. */
#ifndef WS_HANDSHAKE_H
#define WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>

#define WS_ACCEPT_LENGTH 28          /* base64 of a SHA-1 */

/* What a request says that matters here. A header that is not there is NULL;
 * a header that came in several lines is joined by commas (RFC 9110 5.3). */
typedef struct {
    const char *method;
    int http_major, http_minor;
    const char *upgrade;
    const char *connection;
    const char *key;                 /* Sec-WebSocket-Key */
    const char *version;             /* Sec-WebSocket-Version */
    const char *protocols;           /* Sec-WebSocket-Protocol */
    bool has_body;                   /* Content-Length over 0, or chunked */
} ws_request_head_t;

/* Is this an opening handshake that can be accepted? Returns 0 if so, else
 * the HTTP status of the refusal (400, 405 or 426); *pwhy says why. */
int ws_handshake_check(const ws_request_head_t *head, const char **pwhy);

/* Writes the Sec-WebSocket-Accept that answers key, NUL-ended. */
void ws_handshake_accept(char accept[WS_ACCEPT_LENGTH + 1], const char *key);

/* Does the comma-separated list hold this token, in any case? */
bool ws_list_has(const char *list, const char *token);

/* Walks a comma-separated list: points *ptoken at its next element (without
 * white space around it), moves *plist on, and returns the element's length;
 * 0 at the end of the list. Empty elements are passed over (RFC 9110 5.6.1). */
size_t ws_list_next(const char **plist, const char **ptoken);

/* Is text[0..length) a token (RFC 9110 5.6.2): not empty, visible ASCII
 * without separators? */
bool ws_token_valid(const char *text, size_t length);

/* Can name and value be a header field (RFC 9110 5.1, 5.5): no control
 * characters, which could end it? */
bool ws_header_valid(const char *name, const char *value);

/* Is the origin one that the page's own site has? host is the request's Host
 * header. Over TLS the origin must be https: a page that came in the clear
 * may have been forged on its way. Without TLS it may be either: a proxy in
 * front may have taken the TLS off. */
bool ws_origin_is_same(const char *origin, const char *host, bool is_tls);

/* Does the origin have the pattern's scheme, host and port, the port of the
 * scheme where none is given? A pattern's host may begin with "*.", which
 * stands for one or more labels: *.example.org is a.example.org and
 * a.b.example.org, but not example.org. False if either is malformed. */
bool ws_origin_matches(const char *origin, const char *pattern);

/* Is this SCHEME://HOST[:PORT], with the scheme http or https, or the same with
 * "*." in front of HOST? */
bool ws_origin_pattern_valid(const char *pattern);

#endif
