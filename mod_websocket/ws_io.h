/* ws_io: read, write and close one non-blocking socket, plain or TLS. A table
 * of operations, so that a test can drive a connection with scripted bytes.
 * Threads:  the owning loop's thread only.
 * Lifetime: embedded in its connection; close() ends it. */
#ifndef WS_IO_H
#define WS_IO_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ws_status.h"

typedef struct ws_io ws_io_t;

typedef struct {
    /* Reads up to size bytes. WS_OK: *pcount > 0 bytes. WS_AGAIN: none now.
     * WS_EOF: the peer has ended its side. WS_EIO: the connection is lost. */
    ws_status_t (*read)(ws_io_t *io, uint8_t *data, size_t size,
                        size_t *pcount);
    /* Writes what it can of the vector, in order; *pcount says how much.
     * WS_OK: all of it. WS_AGAIN: the rest when the socket is writable again;
     * after that the first io->pinned bytes of the rest must be offered again
     * unchanged. WS_EIO: the connection is lost. */
    ws_status_t (*write)(ws_io_t *io, const struct iovec *vector, int count,
                         size_t *pcount);
    /* Ends the sending side: close_notify, FIN. Tries once, never waits. */
    void (*shutdown)(ws_io_t *io);
    void (*close)(ws_io_t *io);
} ws_io_ops_t;

struct ws_io {
    const ws_io_ops_t *ops;
    SSL *ssl;                        /* TLS: owned; plain: NULL */
    int fd;                          /* owned */
    uint16_t pinned;                 /* bytes: see write() */
    bool read_wants_write;           /* TLS must write before it can read on */
    bool more;                       /* read() would go on without the socket:
                                      * bytes wait inside of OpenSSL */
    int error;                       /* errno of a WS_EIO; 0: TLS */
};

/* Take over fd (non-blocking). */
void ws_io_init_fd(ws_io_t *io, int fd);

/* Take over fd and one reference to ssl, a session whose handshake is done.
 * It gets a socket BIO on fd in the place of whatever BIOs it had.
 * WS_ENOMEM: neither was taken. */
ws_status_t ws_io_init_tls(ws_io_t *io, int fd, SSL *ssl);

#endif
