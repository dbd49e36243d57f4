#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ws_io.h"

#define RECORD_MAX 16384             /* payload of a TLS record: RFC 8446 5.1 */

static ws_status_t tls_failed(ws_io_t *io, int result)
{
    int saved = errno;

    switch (SSL_get_error(io->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return WS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        io->read_wants_write = true;
        return WS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:             /* close_notify */
        return WS_EOF;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        if (saved == 0) {
            return WS_EOF;                  /* TCP ended without close_notify */
        }
        io->error = saved;
        return WS_EIO;
    default:
        io->error = 0;
        /* OpenSSL 3 tells an end without close_notify like this */
        saved = ERR_GET_REASON(ERR_peek_error());
        ERR_clear_error();
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
        if (saved == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
            return WS_EOF;
        }
#endif
        return WS_EIO;
    }
}

static ws_status_t tls_read(ws_io_t *io, uint8_t *data, size_t size,
                            size_t *pcount)
{
    size_t total = 0;
    int result = 1;

    io->read_wants_write = false;
    ERR_clear_error();
    errno = 0;
    /* a record holds at most 16 KiB: fill the buffer from several */
    while (total < size) {
        size_t room = size - total;

        result = SSL_read(io->ssl, data + total,
                          room > RECORD_MAX ? RECORD_MAX : (int)room);
        if (result <= 0) {
            break;
        }
        total += (size_t)result;
        if (!SSL_has_pending(io->ssl)) {
            break;
        }
    }
    io->more = result > 0 && SSL_has_pending(io->ssl);
    if (total > 0) {                        /* an error comes again */
        *pcount = total;
        return WS_OK;
    }
    return tls_failed(io, result);
}

/* The next up to 16 KiB of the vector from byte `at` on, as one piece: where
 * it lies, or gathered in scratch. */
static const uint8_t *next_piece(const struct iovec *vector, int count,
                                 size_t at, uint8_t scratch[RECORD_MAX],
                                 size_t *plength)
{
    size_t length = 0;
    size_t part;
    int i = 0;

    while (i < count && at >= vector[i].iov_len) {
        at -= vector[i++].iov_len;
    }
    part = i < count ? vector[i].iov_len - at : 0;
    if (part >= RECORD_MAX || i + 1 >= count) {
        *plength = part < RECORD_MAX ? part : RECORD_MAX;
        return part == 0 ? NULL : (const uint8_t *)vector[i].iov_base + at;
    }
    for (; i < count && length < RECORD_MAX; i++, at = 0) {
        part = vector[i].iov_len - at;
        part = part < RECORD_MAX - length ? part : RECORD_MAX - length;
        memcpy(scratch + length, (const uint8_t *)vector[i].iov_base + at,
               part);
        length += part;
    }
    *plength = length;
    return scratch;
}

static ws_status_t tls_write(ws_io_t *io, const struct iovec *vector,
                             int count, size_t *pcount)
{
    uint8_t scratch[RECORD_MAX];
    const uint8_t *piece;
    size_t length;
    size_t written = 0;
    ws_status_t status;

    ERR_clear_error();
    *pcount = 0;
    while ((piece = next_piece(vector, count, *pcount, scratch, &length)) !=
           NULL) {
        errno = 0;
        if (SSL_write_ex(io->ssl, piece, length, &written) != 1) {
            status = tls_failed(io, 0);
            /* OpenSSL has made a record of these bytes and must see them
             * again, wherever they then lie and whatever follows them */
            io->pinned = status == WS_AGAIN ? (uint16_t)length : 0;
            return status == WS_EOF ? WS_EIO : status;
        }
        io->pinned = 0;
        *pcount += written;
    }
    return WS_OK;
}

static void tls_shutdown(ws_io_t *io)
{
    ERR_clear_error();
    SSL_shutdown(io->ssl);
    ERR_clear_error();
    shutdown(io->fd, SHUT_WR);
}

/* The session counts as ended in order, else SSL_free() has it removed from
 * httpd's session cache, which may lock, or even talk to a server. */
static void tls_close(ws_io_t *io)
{
    SSL_set_shutdown(io->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(io->ssl);
    io->ssl = NULL;
    close(io->fd);
    io->fd = -1;
}

static const ws_io_ops_t tls_ops = {
    .read = tls_read,
    .write = tls_write,
    .shutdown = tls_shutdown,
    .close = tls_close,
};

/* Not in the middle of a record, of which perhaps only the head was read: old
 * versions of OpenSSL free them all the same (CVE-2024-4741). */
static void free_buffers(SSL *ssl)
{
    if (!SSL_has_pending(ssl) && strcmp(SSL_rstate_string(ssl), "RB") != 0) {
        SSL_free_buffers(ssl);
    }
}

ws_status_t ws_io_init_tls(ws_io_t *io, int fd, SSL *ssl)
{
    BIO *bio = BIO_new_socket(fd, BIO_NOCLOSE);

    if (bio == NULL) {
        return WS_ENOMEM;
    }
    memset(io, 0, sizeof(*io));
    io->ops = &tls_ops;
    io->fd = fd;
    io->ssl = ssl;
    SSL_set_bio(ssl, bio, bio);
    SSL_set_shutdown(ssl, 0);
    SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    free_buffers(ssl);
    return WS_OK;
}
