/* ws_output: the output of one connection: what this turn gathered (the cork)
 * and, where the socket did not take it, the queue. Part of ws_conn; only
 * ws_conn*.c call it.
 * Threads:  the owning loop's thread only.
 * Lifetime: all state is in ws_conn_t and its ws_turn_t. */
#ifndef WS_OUTPUT_H
#define WS_OUTPUT_H

#include "ws_conn.h"

/* Adds one unfragmented frame; opcode may have WS_RSV1. data is copied where
 * the socket does not take it at once. WS_ENOMEM: not added. */
ws_status_t ws_output_add(ws_conn_t *c, uint8_t opcode, const void *data,
                          size_t length);

/* The same for a ping or pong: it goes before the messages that wait. A pong
 * takes the place of one that still waits (RFC 6455 5.5.3), so that pings
 * cannot fill the queue. */
ws_status_t ws_output_add_control(ws_conn_t *c, uint8_t opcode,
                                  const void *data, size_t length);

/* Adds one frame made before; takes a reference. topic: see
 * ws_conn_send_buf(). */
ws_status_t ws_output_add_buf(ws_conn_t *c, ws_buf_t *buf, uint32_t topic);

/* Writes what the socket takes. WS_OK: nothing waits any more. WS_AGAIN: the
 * rest waits in the queue. WS_EIO, WS_ENOMEM: the connection is lost. */
ws_status_t ws_output_write(ws_conn_t *c);

/* Drops the oldest messages that wait, but for frames of which a part is sent,
 * until less than limit bytes wait. Returns how many. */
size_t ws_output_drop_oldest(ws_conn_t *c, size_t limit);

/* Does a message of this topic (not 0) wait? Drops those that do, but for one
 * of which a part is sent; returns how many. */
bool ws_output_has_topic(const ws_conn_t *c, uint32_t topic);
size_t ws_output_drop_topic(ws_conn_t *c, uint32_t topic);

/* Drops what waits, but for frames of which a part is sent. */
void ws_output_drop_unsent(ws_conn_t *c);

/* Drops everything. */
void ws_output_clear(ws_conn_t *c);

#endif
