"""Clients that read too slowly: what they miss, and who does not notice."""
import json
import re

import pytest

from httpd import HANDLERS, SANITIZED, wait_until
from test_chat import Member
from test_plugin import build, location
from wire import CLOSE, PING, PONG, TEXT, close_frame, frame

SMALL_BUFFERS = "SendBufferSize 8192\n"
ONE_CHILD = """
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 25
    MaxRequestWorkers 25
    MaxSpareThreads 25
"""
PADDING = "x" * 1800


def chat(queue):
    return f"""<Location "/ws/chat">
                   WebSocketSendQueue {queue}
               </Location>"""


def numbered(i):
    return frame(TEXT, json.dumps(
        {"type": "chat", "message": f"{i} {PADDING}"}))


def tell(teller, count):
    """So many messages, not faster than they are worked on."""
    for i in range(count):
        teller.wire.send(numbered(i))
        if i % 20 == 19:
            teller.expect_nothing()
    teller.expect_nothing()


def numbers_of(wire, until=None):
    """The numbers of the messages that come, to the end of the connection or
    to the answer of a ping."""
    numbers = []
    while True:
        opcode, data, _ = wire.read_frame()
        if opcode == CLOSE:
            return numbers
        if opcode == PONG and data == until:
            return numbers
        if opcode == TEXT and json.loads(data)["type"] == "chat":
            numbers.append(int(json.loads(data)["message"].split()[0]))


def slow_member(connect, server):
    return Member(connect(server, "/ws/chat/slow", receive_buffer=4096))


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest", "latest"])
def test_what_is_missed_is_counted(httpd_factory, connect, tls, policy):
    server = httpd_factory(tls=tls, server_config=SMALL_BUFFERS + ONE_CHILD,
                           config=chat(f"32K {policy}"))
    slow = slow_member(connect, server)
    teller = Member(connect(server, "/ws/chat/slow"))
    tell(teller, 400)
    slow.wire.send(frame(PING, b"end"))
    numbers = numbers_of(slow.wire, until=b"end")       # it overtakes
    slow.wire.send(close_frame(1000))
    numbers += numbers_of(slow.wire)
    missed = 400 - len(numbers)
    assert numbers == sorted(set(numbers))
    assert missed > 100
    server.wait_for_log(r"chat: closed with 1000; \d+ messages were dropped")
    counted = int(re.search(r"closed with 1000; (\d+) messages",
                            server.log())[1])
    assert counted == missed
    if policy == "drop-newest":
        assert numbers[:10] == list(range(10))
        assert 399 not in numbers
    else:
        assert 399 in numbers


def test_close_is_the_default(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, server_config=SMALL_BUFFERS + ONE_CHILD,
                           config=chat("32K"))
    slow = slow_member(connect, server)
    teller = Member(connect(server, "/ws/chat/slow"))
    for i in range(100):
        teller.wire.send(numbered(i))
    server.wait_for_log("chat: closing with 1013: send queue is full")
    numbers = numbers_of(slow.wire)
    assert numbers == list(range(len(numbers)))


PUSHER = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    char text[40];
    unsigned size;
    unsigned count;
    char *pushed;

    snprintf(text, sizeof(text), "%.*s", (int)length, (const char *)data);
    if (sscanf(text, "%u %u", &size, &count) != 2) {
        websocket_send(ws, type, data, length);
        return;
    }
    pushed = malloc(size);
    if (pushed == NULL) {
        return;
    }
    memset(pushed, 'a', size);
    while (count-- > 0) {
        websocket_send(ws, type, pushed, size);
    }
    free(pushed);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "pusher", .message = message,
};
"""

COUNTER = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <string.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    static char large[20000];
    unsigned count[4] = {0};
    char text[100];
    int i;

    (void)data;
    memset(large, 'a', sizeof(large));
    if (length > 0) {
        for (i = 0; i < 100; i++) {
            count[websocket_send(ws, type, large, sizeof(large))]++;
        }
    }
    snprintf(text, sizeof(text), "%u dropped now, %llu in all, %u closed",
             count[WEBSOCKET_DROPPED],
             (unsigned long long)websocket_dropped(ws),
             count[WEBSOCKET_CLOSED]);
    websocket_log(ws, WEBSOCKET_LOG_WARNING, "%s", text);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "counter", .message = message,
};
"""


def test_handler_sees_what_is_dropped(httpd_factory, connect, tmp_path):
    server = httpd_factory(
        server_config=SMALL_BUFFERS + "WebSocketSendQueue 100K drop-newest",
        config=location(build(tmp_path, COUNTER)))
    wire = connect(server, "/ws/plugin", receive_buffer=4096)
    wire.send(frame(TEXT, "go"))
    server.wait_for_log(r"counter: (\d+) dropped now, \1 in all, 0 closed")
    first = int(re.search(r"(\d+) dropped now", server.log())[1])
    assert 50 < first < 100
    for _ in range(100 - first):
        opcode, data, _ = wire.read_frame()
        assert (opcode, len(data)) == (TEXT, 20000)
    wire.send(frame(TEXT, ""))
    server.wait_for_log(f"counter: 0 dropped now, {first} in all")


def test_context_is_not_taken_over_where_queued_messages_are_dropped(
        httpd_factory, connect):
    """A client could not inflate what comes behind one that was dropped."""
    server = httpd_factory(
        server_config="WebSocketCompression on takeover=on",
        config=f"""
            <Location "/ws/newest">
                WebSocketHandler {HANDLERS}/websocket_echo.so
                WebSocketSendQueue 1M drop-newest
            </Location>
            <Location "/ws/oldest">
                WebSocketHandler {HANDLERS}/websocket_echo.so
                WebSocketSendQueue 1M drop-oldest
            </Location>
            <Location "/ws/latest">
                WebSocketHandler {HANDLERS}/websocket_echo.so
                WebSocketSendQueue 1M latest
            </Location>""")

    def agreed(path):
        wire = connect(server, path, headers={
            "Sec-WebSocket-Extensions": "permessage-deflate"})
        return wire.response.headers["sec-websocket-extensions"]

    assert agreed("/ws/echo") == agreed("/ws/newest") == "permessage-deflate"
    for path in ("/ws/oldest", "/ws/latest"):
        assert agreed(path) == \
            "permessage-deflate; server_no_context_takeover"


# --- memory ---

def sending(server):
    text = server.get("/server-status?auto", tls=False)[1].decode()
    return int(re.search(r"WebSocketSendMemory: (\d+)", text)[1])


def test_longest_queues_go_first(httpd_factory, connect, tls, tmp_path):
    server = httpd_factory(tls=tls, server_config=f"""
        {SMALL_BUFFERS} {ONE_CHILD}
        WebSocketSendMemory 4M
        WebSocketSendQueue 1G
        WebSocketCloseTimeout 2min
        WebSocketCompression off""", config=location(build(tmp_path, PUSHER)))
    large, small, quick = (connect(server, "/ws/plugin", receive_buffer=4096)
                           for _ in range(3))
    small.send(frame(TEXT, "50000 20"))
    wait_until(lambda: sending(server) > 900_000, "it waits")
    for _ in range(30):
        large.send(frame(TEXT, "100000 1"))
        quick.echo()
    assert sending(server) > 3_800_000
    assert "WebSocketSendMemory is used up" not in server.log()
    large.send(frame(TEXT, "100000 10"))
    server.wait_for_log("closing with 1013: WebSocketSendMemory is used up")
    wait_until(lambda: sending(server) < 2 << 20, "memory is free again")
    assert server.log().count("WebSocketSendMemory is used up") == 1
    quick.echo()
    while large.read_frame()[0] == TEXT:
        pass
    for _ in range(20):
        small.expect(TEXT, "a" * 50_000)
    small.echo()
    wait_until(lambda: sending(server) == 0, "nothing waits")


@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_go_than_must(httpd_factory, connect, tmp_path, threads):
    """Many who have a message that is partly out, and which cannot be freed."""
    server = httpd_factory(server_config=f"""
        {SMALL_BUFFERS} {ONE_CHILD}
        WebSocketThreads {threads}
        WebSocketSendMemory {4 * threads}M
        WebSocketCloseTimeout 1min
        WebSocketCompression off""", config=location(build(tmp_path, PUSHER)))
    large = [connect(server, "/ws/plugin", receive_buffer=4096)
             for _ in range(26 * threads)]
    small = [connect(server, "/ws/plugin", receive_buffer=4096)
             for _ in range(5)]
    for wire in large:
        wire.send(frame(TEXT, "150000 1"))
    for wire in small:
        wire.send(frame(TEXT, "20000 1"))
    wait_until(lambda: sending(server) > 3_500_000 * threads, "it waits")
    for wire in large[:8 * threads]:
        wire.send(frame(TEXT, "150000 1"))
    server.wait_for_log("closing with 1013: WebSocketSendMemory is used up")
    for wire in small:
        wire.expect(TEXT, "a" * 20_000)
        wire.echo()
    assert server.log().count("WebSocketSendMemory is used up") \
        <= 14 * threads


ROOM = r"""
#include <mod_websocket.h>

static void open_in_room(websocket_t *ws)
{
    websocket_subscribe(ws, "room");
    websocket_send(ws, WEBSOCKET_TEXT, "welcome", 7);
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_publish(ws, "room", type, data, length, 0);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "room", .open = open_in_room, .message = message,
};
"""


@pytest.mark.parametrize("queue, closed", [
    ("1M close", "send queue is full"), ("1M drop-oldest", None),
    ("8M drop-oldest", "WebSocketSendMemory is used up")])
def test_many_who_do_not_read(httpd_factory, connect, tmp_path, queue, closed):
    """A tenth of the subscribers never read: the others get everything, and
    memory stays within the budget."""
    count = 200 if SANITIZED else 1000
    server = httpd_factory(server_config=f"""
        {SMALL_BUFFERS} {ONE_CHILD}
        WebSocketSendMemory 2M
        WebSocketSendQueue {queue}
        WebSocketMaxConnectionsPerClient 0
        WebSocketPing off""", config=location(build(tmp_path, ROOM)))

    def join(number, **options):
        wires = [connect(server, "/ws/plugin", **options)
                 for _ in range(number)]
        for wire in wires:
            wire.expect(TEXT, "welcome")
        return wires

    join(count // 10, receive_buffer=4096)      # they read no more
    others = join(count // 10 * 9)
    most = []
    for i in range(96):
        others[0].send(frame(TEXT, f"{i} ".ljust(30_000, "x")))
        if i % 8 == 7:
            most.append(sending(server))
            for wire in others:
                for number in range(i - 7, i + 1):
                    wire.expect(TEXT, f"{number} ".ljust(30_000, "x"))
    assert max(most) < 3 << 20
    if closed:
        server.wait_for_log(f"room: closing with 1013: {closed}", count // 10)
    assert server.log().count("closing with 1013") == \
        (count // 10 if closed else 0)
