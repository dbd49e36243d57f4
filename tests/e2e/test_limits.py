"""Limits on connections, rates and times, and what a refusal looks like."""
import os
import re
import signal
import time
import urllib.parse

import pytest

from httpd import wait_until
from test_plugin import build, location
from wire import CLOSE, PING, PONG, TEXT, Wire, close_frame, frame

TWO_CHILDREN = """
    StartServers 2
    ServerLimit 2
    ThreadsPerChild 10
    MaxRequestWorkers 20
    MinSpareThreads 1
    MaxSpareThreads 20
"""


def assert_refused(wire, server, why):
    assert wire.response.status == 503
    assert int(wire.response.headers["retry-after"]) > 0
    server.wait_for_log(f"handshake refused with 503: {why}")


def leave(wire):
    wire.send(close_frame(1000))
    wire.expect_close(1000)
    wire.close_socket()


def connects(connect, server, **options):
    wire = connect(server, **options)
    if wire.response.status != 101:
        wire.close_socket()
    return wire.response.status == 101


# --- how many ---

@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_connections_of_the_whole_server(httpd_factory, connect, mpm, tls):
    server = httpd_factory(mpm=mpm, tls=tls,
                           server_config="WebSocketMaxConnections 12")
    wires = [connect(server) for _ in range(12)]
    for wire in wires:
        wire.echo()
    assert_refused(connect(server), server, "WebSocketMaxConnections is")
    server.wait_for_log("new WebSockets are refused while there are 12")
    assert server.get("/page.txt")[0] == 200
    leave(wires.pop())
    wait_until(lambda: connects(connect, server), "there is room for one")
    assert_refused(connect(server), server, "WebSocketMaxConnections is")
    for wire in wires:
        wire.echo()


def test_refused_handshakes_hold_no_seat(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketMaxConnections 1")
    for _ in range(3):
        assert connect(server, "/ws/chat/a%20b").response.status == 400
        assert connect(server, headers={
            "Origin": "http://evil.example"}).response.status == 403
    wire = connect(server)
    wire.echo()
    assert_refused(connect(server), server, "WebSocketMaxConnections is")


@pytest.mark.parametrize("how", ["reset", "FIN"])
def test_who_vanishes_leaves_its_seat(httpd_factory, connect, how, tls):
    server = httpd_factory(tls=tls, server_config="WebSocketMaxConnections 3")
    for _ in range(4):
        wires = [connect(server) for _ in range(3)]
        for wire in wires:
            wire.echo()
            if how == "reset":
                wire.reset()
            else:
                wire.close_socket()
        wait_until(lambda: b"WebSockets: 0\n" in
                   server.get("/server-status?auto")[1], "all are gone")


def test_seats_of_a_child_that_was_killed(httpd_factory, connect):
    server = httpd_factory(server_config=TWO_CHILDREN
                           + "WebSocketMaxConnections 10")
    wires = [connect(server) for _ in range(10)]
    for wire in wires:
        wire.echo()
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
    for wire in wires:
        wire.close_socket()
    wait_until(lambda: connects(connect, server), "its seats are free")
    assert all(connects(connect, server) for _ in range(9))
    assert not connects(connect, server)


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_seats_move_to_a_keeper(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm, server_config="WebSocketMaxConnections 6")
    wires = [connect(server) for _ in range(5)]
    for wire in wires:
        wire.echo()
    server.restart()
    server.wait_for_end_of_old()
    new = connect(server)
    new.echo()
    assert_refused(connect(server), server, "WebSocketMaxConnections is")
    for wire in wires:
        wire.echo()
        leave(wire)
    wires = []
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    assert all(connects(connect, server) for _ in range(5))
    assert not connects(connect, server)


REMOTEIP = """
    LoadModule remoteip_module ${MODULES}/mod_remoteip.so
    RemoteIPHeader X-Forwarded-For
    RemoteIPInternalProxy 127.0.0.1
    WebSocketMaxConnectionsPerClient 2
"""


def test_connections_of_a_client(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, server_config=REMOTEIP)

    def come_from(address):
        wire = connect(server, headers={"X-Forwarded-For": address})
        if wire.response.status == 101:
            wire.echo()
            return wire
        assert_refused(wire, server, "WebSocketMaxConnectionsPerClient is")
        return None

    first = come_from("192.0.2.1")
    assert come_from("192.0.2.1")
    assert not come_from("192.0.2.1")
    assert come_from("192.0.2.2")
    leave(first)
    wait_until(lambda: come_from("192.0.2.1"), "there is room for one")
    assert not come_from("192.0.2.1")
    assert come_from("2001:db8:1:2::1")
    assert come_from("2001:db8:1:2:3:4:5:6")
    assert not come_from("2001:db8:1:2::7")     # the same /64
    assert come_from("2001:db8:1:3::1")


# --- how fast ---

def limited(directives):
    return f"""<Location "/ws/echo">
                   {directives}
               </Location>"""


def test_messages_within_the_rate(httpd_factory, connect):
    server = httpd_factory(config=limited(
        "WebSocketRateLimit messages=1000/s burst=20"))
    wire = connect(server)
    wire.send(b"".join(frame(TEXT, str(i)) for i in range(20)))
    for i in range(20):
        wire.expect(TEXT, str(i))


def test_messages_over_the_rate_close(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, config=limited(
        "WebSocketRateLimit messages=1/s burst=20 action=close"))
    wire = connect(server)
    wire.send(b"".join(frame(TEXT, str(i)) for i in range(30)))
    for i in range(20):
        wire.expect(TEXT, str(i))
    opcode, data, _ = wire.read_frame()
    if data == b"20":           # a second went by
        opcode, data, _ = wire.read_frame()
    assert (opcode, data[:2]) == (CLOSE, (1008).to_bytes(2, "big"))
    server.wait_for_log("echo: closing with 1008: client sends faster than")


def test_messages_over_the_rate_wait(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, config=limited(
        "WebSocketRateLimit messages=40/s burst=10 action=pause"))
    wire = connect(server)
    begin = time.monotonic()
    wire.send(b"".join(frame(TEXT, str(i)) for i in range(50)))
    for i in range(50):
        wire.expect(TEXT, str(i))
    assert time.monotonic() - begin >= 0.95     # 40 of them waited
    wire.send(frame(PING, b"x"))
    wire.expect(PONG, b"x")


def test_bytes_over_the_rate_wait(httpd_factory, connect, tls):
    """TCP slows the sender down: nothing is kept."""
    server = httpd_factory(tls=tls, config=limited(
        "WebSocketRateLimit bytes=2M/s burst=1M action=pause"))
    wire = connect(server)
    begin = time.monotonic()
    for _ in range(32):
        wire.send(frame(TEXT, "a" * 100_000))
        wire.expect(TEXT, "a" * 100_000)
    assert time.monotonic() - begin >= 0.9      # (3.2 - 1.05) / 2.1 s


def test_bytes_over_the_rate_close(httpd_factory, connect):
    server = httpd_factory(config=limited(
        "WebSocketRateLimit bytes=10K/s burst=20K"))
    wire = connect(server)
    wire.send(frame(TEXT, "a" * 15_000))
    wire.expect(TEXT, "a" * 15_000)
    wire.send(frame(TEXT, "a" * 20_000))
    wire.expect_close(1008)


def test_inner_section_may_lift_the_limit(httpd_factory, connect):
    server = httpd_factory(
        server_config="WebSocketRateLimit messages=1/s burst=1",
        config=limited("WebSocketRateLimit off"))
    wire = connect(server)
    for _ in range(10):
        wire.echo()
    wire = connect(server, "/ws/chat/slow")
    wire.read_frame()
    wire.send(frame(TEXT, '{"type":"ping"}') * 2)
    wire.read_frame()
    wire.expect_close(1008)


def test_limit_may_be_lifted_in_the_same_section(httpd_factory, connect):
    server = httpd_factory(config=limited(
        "WebSocketRateLimit messages=1/s burst=1\nWebSocketRateLimit off"))
    wire = connect(server)
    for _ in range(10):
        wire.echo()


# --- how long ---

def test_idle_connection_is_closed(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls,
                           config=limited("WebSocketIdleTimeout 1"))
    wire = connect(server)
    begin = time.monotonic()
    while time.monotonic() < begin + 1.5:
        wire.echo()
        time.sleep(0.1)
    wire.send(frame(PING, b"is no message"))
    wire.expect(PONG, b"is no message")
    wire.expect_close(1001, "idle")
    server.wait_for_log("echo: closing with 1001: idle")


def test_old_connection_is_closed(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, config=limited("WebSocketMaxAge 2"))
    wire = connect(server)
    begin = time.monotonic()
    opcode = TEXT
    while opcode == TEXT:
        wire.send(frame(TEXT, "busy"))
        opcode, data, _ = wire.read_frame()
        time.sleep(0.02)
    assert (opcode, data[:2]) == (CLOSE, (1008).to_bytes(2, "big"))
    assert data[2:].startswith(b"too old")
    assert time.monotonic() - begin >= 1.7


def test_slow_handshake_is_httpds_to_end(httpd_factory, connect, tls):
    """And its time limit does not hold for the WebSocket."""
    server = httpd_factory(tls=tls, config="RequestReadTimeout header=1")
    quick = connect(server)
    slow = Wire(server.address(), tls)
    slow.send(b"GET /ws/echo HTTP/1.1\r\nHost: localhost\r\n"
              b"Upgrade: websocket\r\n")
    data = b""
    while slow.fill():
        data = slow.buffer
    assert data.startswith(b"HTTP/1.1 408 ") or not data
    slow.close_socket()
    quick.echo()


# --- what is written down ---

PARROT = r"""
#include <mod_websocket.h>

static int accept_any(websocket_context_t *context,
                      websocket_request_t *request)
{
    const char *protocol = websocket_request_argument(request, "protocol");
    const char *why = websocket_request_argument(request, "why");

    websocket_context_log(context, WEBSOCKET_LOG_INFO, "asked for%s",
                          websocket_request_path(request));
    if (protocol != NULL) {
        websocket_request_choose_protocol(request, protocol);
    }
    return why != NULL ? websocket_refuse(request, 403, why) : 0;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_log(ws, WEBSOCKET_LOG_INFO, "%.*s", (int)length,
                  (const char *)data);
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "parrot", .accept = accept_any, .message = message,
};
"""
EVIL = "\r\n[error] forged\x1b[2J\x07"
ESCAPED = r"\r\n[error] forged\x1b[2J\x07"


def test_what_clients_say_cannot_forge_log_lines(httpd_factory, connect,
                                                 tmp_path):
    """By each way into a line: path, refusal, message, origin."""
    server = httpd_factory(log_level="debug",
                           config=location(build(tmp_path, PARROT)))
    evil = urllib.parse.quote(EVIL)
    wire = connect(server, f"/ws/plugin/path{evil}")
    wire.send(frame(TEXT, f"message{EVIL}"))
    wire.expect(TEXT, f"message{EVIL}")
    wire.send(close_frame(1000, f"bye{EVIL}"))
    wire.expect_close(1000)
    assert connect(server, f"/ws/plugin?why=refusal{evil}"
                   ).response.status == 403
    assert connect(server, headers={"Origin": "http://evil\tforged"}
                   ).response.status == 403
    server.wait_for_log("by handler parrot: refusal")
    server.wait_for_log("parrot: closed with 1000")
    log = server.log()
    for what in ("asked for/path", "parrot: message", "parrot: refusal"):
        assert what + ESCAPED in log, what
    lines = log.split("\n")
    assert not [line for line in lines if line and line[0] != "["]
    assert not [line for line in lines if line.startswith("[error]")]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", log)


def test_subprotocol_cannot_forge_a_header(httpd_factory, connect, tmp_path):
    """Not by the client's list, nor by a handler that takes it from there."""
    server = httpd_factory(config=location(build(tmp_path, PARROT)))
    forged = "chat\r\nX-Forged: 1"
    path = f"/ws/plugin?protocol={urllib.parse.quote(forged)}"

    def answer(offer):
        response = connect(server, path, headers={
            "Sec-WebSocket-Protocol": offer}).response
        assert "x-forged" not in response.headers
        assert "sec-websocket-protocol" not in response.headers
        return response.status

    assert answer("chat") == 101
    for offer in ("chat\x01", "chat\x7f, b", "ch\u00e9at",
                  "chat\r\n X-Forged: 1"):
        assert answer(offer) == 400, offer
