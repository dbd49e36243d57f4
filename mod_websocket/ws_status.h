/* ws_status: the one result type of everything below httpd.
 * mod_websocket_child.c maps it to apr_status_t; nothing else does. */
#ifndef WS_STATUS_H
#define WS_STATUS_H

typedef enum {
    WS_OK = 0,
    WS_AGAIN,                /* not now: more input, or room, is needed */
    WS_EOF,                  /* the peer ended its side of the connection */
    WS_EPROTO,               /* the peer broke RFC 6455: close code 1002 */
    WS_EUTF8,                /* text that is not UTF-8: close code 1007 */
    WS_EDATA,                /* compressed data is broken: close code 1007 */
    WS_ETOOBIG,              /* message over its limit: close code 1009 */
    WS_EPOLICY,              /* over another limit: close code 1008 */
    WS_ENOMEM,               /* malloc or mmap failed: close code 1011 */
    WS_EIO,                  /* a system or TLS call failed */
    WS_ECLOSED,              /* the object no longer takes this call */
    WS_EINVAL                /* the caller's argument is wrong */
} ws_status_t;

#endif
