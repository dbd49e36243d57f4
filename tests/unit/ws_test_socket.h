/* ws_test_socket: a client at one end of a socketpair. Everything that waits
 * has a limit. */
#ifndef WS_TEST_SOCKET_H
#define WS_TEST_SOCKET_H

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "ws_test.h"

/* *pserver does not block; the returned client end neither. */
WS_TEST_UNUSED static int client_open(int *pserver)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX,
                                SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                                fds),
                     0);
    *pserver = fds[0];
    return fds[1];
}

WS_TEST_UNUSED static void client_wait(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    ck_assert_msg(poll(&p, 1, WS_TEST_LIMIT * 1000) == 1, "took too long");
}

/* Sends all, and frees it. */
WS_TEST_UNUSED static void client_send(int fd, ws_test_bytes_t *bytes)
{
    size_t done = 0;

    while (done < bytes->length) {
        ssize_t sent =
            send(fd, bytes->data + done, bytes->length - done, MSG_NOSIGNAL);

        if (sent > 0) {
            done += (size_t)sent;
            continue;
        }
        client_wait(fd, POLLOUT);
    }
    ws_test_free(bytes);
}

WS_TEST_UNUSED static void client_send_text(int fd, const char *text)
{
    ws_test_bytes_t bytes = {0};

    ws_test_add_text(&bytes, 0x81, text);
    client_send(fd, &bytes);
}

WS_TEST_UNUSED static void client_send_close(int fd, unsigned code)
{
    ws_test_bytes_t bytes = {0};

    ws_test_add_close(&bytes, code, "");
    client_send(fd, &bytes);
}

/* Exactly so many bytes. false: the other end was closed. */
WS_TEST_UNUSED static bool client_read(int fd, uint8_t *data, size_t length)
{
    while (length > 0) {
        ssize_t count = recv(fd, data, length, 0);

        if (count > 0) {
            data += count;
            length -= (size_t)count;
            continue;
        }
        if (count == 0) {
            return false;
        }
        client_wait(fd, POLLIN);
    }
    return true;
}

/* The next frame; payload has room for size bytes. false: the end. */
WS_TEST_UNUSED static bool client_next(int fd, uint8_t *pfirst,
                                       uint8_t *payload, size_t size,
                                       size_t *plength)
{
    uint8_t head[10];
    size_t extended;
    size_t i;

    if (!client_read(fd, head, 2)) {
        return false;
    }
    *pfirst = head[0];
    *plength = head[1];
    extended = head[1] == 126 ? 2 : head[1] == 127 ? 8 : 0;
    ck_assert(extended == 0 || client_read(fd, head + 2, extended));
    for (i = 0; i < extended; i++) {
        *plength = (i == 0 ? 0 : *plength << 8) | head[2 + i];
    }
    ck_assert_uint_le(*plength, size);
    ck_assert(client_read(fd, payload, *plength));
    return true;
}

WS_TEST_UNUSED static void client_expect(int fd, uint8_t first,
                                         const char *text)
{
    uint8_t payload[1024];
    uint8_t got = 0;
    size_t length = 0;

    ck_assert_msg(client_next(fd, &got, payload, sizeof(payload), &length),
                  "the end instead of \"%s\"", text);
    ck_assert_uint_eq(got, first);
    ck_assert_msg(length == strlen(text) && memcmp(payload, text, length) == 0,
                  "\"%.*s\" is not \"%s\"", (int)length, (char *)payload, text);
}

WS_TEST_UNUSED static void client_expect_close(int fd, unsigned code,
                                               const char *reason)
{
    char text[128] = {(char)(code >> 8), (char)code};

    ck_assert((code & 0xff) != 0);
    memcpy(text + 2, reason, strlen(reason));
    client_expect(fd, 0x88, text);
}

WS_TEST_UNUSED static void client_expect_end(int fd)
{
    uint8_t byte;

    ck_assert_msg(!client_read(fd, &byte, 1), "more came");
}

#endif
