#include "ws_wake.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

#ifdef HAVE_SYS_EVENTFD_H
#include <sys/eventfd.h>

ws_status_t ws_wake_init(ws_wake_t *wake)
{
    wake->read_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    wake->write_fd = wake->read_fd;
    return wake->read_fd >= 0 ? WS_OK : WS_EIO;
}

#else

ws_status_t ws_wake_init(ws_wake_t *wake)
{
    int fds[2];
    int i;

    if (pipe(fds) != 0) {
        return WS_EIO;
    }
    for (i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    wake->read_fd = fds[0];
    wake->write_fd = fds[1];
    return WS_OK;
}

#endif

void ws_wake_clear(ws_wake_t *wake)
{
    if (wake->read_fd >= 0) {
        close(wake->read_fd);
    }
    if (wake->write_fd >= 0 && wake->write_fd != wake->read_fd) {
        close(wake->write_fd);
    }
    wake->read_fd = -1;
    wake->write_fd = -1;
}

void ws_wake_notify(const ws_wake_t *wake)
{
    const uint64_t one = 1;

    /* full means that a notification waits already */
    if (write(wake->write_fd, &one, sizeof(one)) < 0) {
        return;
    }
}

void ws_wake_drain(const ws_wake_t *wake)
{
    uint8_t bytes[64];

    while (read(wake->read_fd, bytes, sizeof(bytes)) ==
           (ssize_t)sizeof(bytes)) {
        continue;
    }
}
