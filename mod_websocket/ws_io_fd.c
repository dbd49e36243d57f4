#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ws_io.h"

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static ws_status_t io_failed(ws_io_t *io)
{
    if (would_block(errno)) {
        return WS_AGAIN;
    }
    io->error = errno;
    return WS_EIO;
}

static ws_status_t fd_read(ws_io_t *io, uint8_t *data, size_t size,
                           size_t *pcount)
{
    ssize_t count = recv(io->fd, data, size, 0);

    if (count > 0) {
        *pcount = (size_t)count;
        return WS_OK;
    }
    return count == 0 ? WS_EOF : io_failed(io);
}

static ws_status_t fd_write(ws_io_t *io, const struct iovec *vector, int count,
                            size_t *pcount)
{
    struct msghdr message;
    size_t total = 0;
    ssize_t sent;
    int i;

    for (i = 0; i < count; i++) {
        total += vector[i].iov_len;
    }
    if (count == 1) {
        sent = send(io->fd, vector[0].iov_base, total, MSG_NOSIGNAL);
    }
    else {
        memset(&message, 0, sizeof(message));
        message.msg_iov = (struct iovec *)(uintptr_t)vector;
        message.msg_iovlen = (size_t)count;
        sent = sendmsg(io->fd, &message, MSG_NOSIGNAL);
    }
    *pcount = sent > 0 ? (size_t)sent : 0;
    if (sent < 0) {
        return io_failed(io);
    }
    return *pcount == total ? WS_OK : WS_AGAIN;
}

static void fd_shutdown(ws_io_t *io)
{
    shutdown(io->fd, SHUT_WR);
}

static void fd_close(ws_io_t *io)
{
    close(io->fd);
    io->fd = -1;
}

static const ws_io_ops_t fd_ops = {
    .read = fd_read,
    .write = fd_write,
    .shutdown = fd_shutdown,
    .close = fd_close,
};

void ws_io_init_fd(ws_io_t *io, int fd)
{
    memset(io, 0, sizeof(*io));
    io->ops = &fd_ops;
    io->fd = fd;
}
