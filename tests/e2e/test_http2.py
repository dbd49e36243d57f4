"""WebSockets over HTTP/2: RFC 8441."""
import json
import os
import re
import signal
import socket
import ssl
import threading
import time

import pytest

from h2wire import (CONNECT_PROTOCOL, HTTP_1_1_REQUIRED, H2Connection, H2Wire,
                    Reset)
from httpd import HANDLERS, LIMIT, Httpd, wait_until
from test_chat import Member
from wire import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame

MIB = 1 << 20
SIZES = [0, 1, 125, 126, 65535, 65536, 200_000, MIB]
PER_CONNECTION = 3              # streams that may carry a WebSocket
ENDED = "stream of HTTP/2 ended"
ONE_CHILD = """
    StartServers 1
    ServerLimit 1
    MaxRequestWorkers {0}
    ThreadsPerChild {0}
    MinSpareThreads 1
    MaxSpareThreads {0}
"""


@pytest.fixture(params=["h2c", "h2"])
def tls(request):
    return request.param == "h2"


@pytest.fixture(scope="module")
def shared_h2(tmp_path_factory):
    servers = {}

    def get(mpm="event"):
        if mpm not in servers:
            servers[mpm] = Httpd(tmp_path_factory.mktemp(f"h2-{mpm}"),
                                 mpm=mpm, log_level="debug",
                                 http2=True).start()
        return servers[mpm]

    yield get
    for server in servers.values():
        server.stop()


@pytest.fixture
def server(shared_h2, tls):
    shared = shared_h2()
    shared.tls = tls
    return shared


@pytest.fixture(params=["event", "worker"])
def mpm_server(request, shared_h2, tls):
    shared = shared_h2(request.param)
    shared.tls = tls
    return shared


@pytest.fixture
def h2_connect():
    """Opens HTTP/2 connections; closes them at the test's end."""
    connections = []

    def make(server, **options):
        connections.append(
            H2Connection(server.address(), server.tls, **options))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


@pytest.fixture
def open_stream(h2_connect):
    """A WebSocket on a stream, of a connection of its own if none is given."""
    def make(server, path="/ws/echo", connection=None, window=65535,
             ends_at_once=False, **options):
        connection = connection or h2_connect(server, window=window)
        wire = H2Wire(connection, **options)
        wire.open(path, end_stream=ends_at_once)
        return wire
    return make


def status_of(server, open_stream, path="/ws/echo", **options):
    return open_stream(server, path, **options).response.status


# --- the handshake ---

def test_extended_connect_is_offered_and_answered_with_200(mpm_server,
                                                           open_stream):
    wire = open_stream(mpm_server)
    assert wire.connection.settings[CONNECT_PROTOCOL] == 1
    assert wire.response.status == 200
    for name in ("upgrade", "connection", "sec-websocket-accept",
                 "sec-websocket-protocol", "content-length",
                 "transfer-encoding"):
        assert name not in wire.response.headers
    wire.echo()


@pytest.mark.parametrize("headers, status, why", [
    ({"sec-websocket-version": None}, 400, "Version is not 13"),
    ({"sec-websocket-version": "12"}, 400, "Version is not 13"),
    ({"sec-websocket-protocol": "a b"}, 400, "no list of tokens"),
    ({"content-length": "5"}, 400, "has a body"),
    ({"origin": "https://evil.example"}, 403, "is not allowed for host"),
    ({"origin": "null"}, 403, "is not allowed for host"),
], ids=lambda value: str(value)[:50])
def test_refused_with_reason_in_log(server, open_stream, headers, status, why):
    before = server.log().count(why)
    wire = open_stream(server, headers=headers)
    assert wire.response.status == status
    server.wait_for_log(f"refused with {status}: .*{why}", before + 1)
    if "Version" in why:
        assert wire.response.headers["sec-websocket-version"] == "13"
    assert "upgrade" not in wire.response.headers
    while wire.fill():              # an ordinary response: it ends
        pass
    good = open_stream(server, connection=wire.connection)
    good.echo()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_ordinary_requests_get_405_and_not_426(server, h2_connect, method):
    wire = H2Wire(h2_connect(server), method=method, protocol=None)
    assert wire.open("/ws/echo", end_stream=True).status == 405
    assert "CONNECT" in wire.response.headers["allow"]
    assert "GET" not in wire.response.headers["allow"]
    assert "upgrade" not in wire.response.headers


def test_stream_that_ends_with_its_request(server, open_stream):
    """END_STREAM on the CONNECT: nothing can come; answered and ended."""
    before = server.log().count("echo: closed with 1006")
    wire = open_stream(server, ends_at_once=True)
    assert wire.response.status == 200
    wire.expect_end()
    server.wait_for_log("echo: closed with 1006", before + 1)


def test_same_origin_is_let_in(server, open_stream):
    scheme = "https" if server.tls else "http"
    port = server.address()[1]
    assert status_of(server, open_stream, headers={
        "origin": f"{scheme}://127.0.0.1:{port}"}) == 200
    assert status_of(server, open_stream, headers={
        "origin": f"{scheme}://127.0.0.1:{port + 1}"}) == 403
    assert status_of(server, open_stream, headers={
        "origin": f"http://127.0.0.1:{port}"}) == (403 if server.tls else 200)


def test_subprotocol_is_chosen(server, open_stream):
    wire = open_stream(server,
                       headers={"sec-websocket-protocol": "other, echo"})
    assert wire.response.headers["sec-websocket-protocol"] == "echo"
    wire.echo()


def test_statuses_of_httpd_and_handler(server, open_stream):
    assert status_of(server, open_stream, "/ws/nothing") == 404
    assert status_of(server, open_stream, "/ws/chat/a%20b") == 400


def test_basic_auth_and_require_apply_first(httpd_factory, open_stream, tls,
                                            tmp_path):
    users = tmp_path / "users"
    # "secret", SHA-1 in base64
    users.write_text("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    users.chmod(0o644)
    server = httpd_factory(tls=tls, http2=True, config=f"""
        <Location "/ws/private">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            AuthType Basic
            AuthName "private"
            AuthUserFile {users}
            Require valid-user
        </Location>""")
    wire = open_stream(server, "/ws/private")
    assert wire.response.status == 401
    assert "www-authenticate" in wire.response.headers
    open_stream(server, "/ws/private", connection=wire.connection, headers={
        "authorization": "Basic YW5uOnNlY3JldA=="}).echo()


def test_a_page_is_no_websocket(server, open_stream):
    assert status_of(server, open_stream, "/page.txt") == 502


def test_without_h2websockets_there_is_no_extended_connect(
        httpd_factory, h2_connect, connect, tls):
    server = httpd_factory(tls=tls, http2=True,
                           server_config="H2WebSockets off")
    connection = h2_connect(server)
    assert connection.get("/page.txt")[0] == 200
    assert not connection.settings.get(CONNECT_PROTOCOL)
    assert connection.get("/ws/echo")[0] == 405
    connect(server).echo()


def test_prefork_speaks_http1_only(httpd_factory, connect):
    server = httpd_factory(mpm="prefork", tls=True, http2=True)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    wire = connect(server, context=context)
    assert wire.socket.selected_alpn_protocol() == "http/1.1"
    wire.echo()


# --- frames ---

@pytest.mark.parametrize("size", SIZES)
def test_whole_message_of(mpm_server, open_stream, size):
    wire = open_stream(mpm_server)
    wire.reads_ahead = True         # as it is sent while the echo comes
    data = os.urandom(size)
    wire.send(frame(BINARY, data))
    wire.expect(BINARY, data)
    text = "a" * size
    wire.send(frame(TEXT, text))
    wire.expect(TEXT, text)


def test_one_byte_in_a_data_frame(server, open_stream):
    wire = open_stream(server)
    for byte in frame(TEXT, "a", fin=False) + frame(PING, "p") + frame(0, "b"):
        wire.send(bytes([byte]))
    wire.expect(PONG, "p")
    wire.expect(TEXT, "ab")


def test_frames_right_behind_the_request(mpm_server, open_stream):
    extra = b"".join(frame(TEXT, f"early {i}") for i in range(50))
    wire = open_stream(mpm_server, extra=extra)
    for i in range(50):
        wire.expect(TEXT, f"early {i}")
    wire.echo()


def test_megabytes_in_both_directions_at_once(mpm_server, open_stream):
    """Neither side may wait for the other: what is sent comes back while more
    is sent."""
    wire = open_stream(mpm_server)
    wire.reads_ahead = True
    messages = [os.urandom(MIB) for _ in range(16)]
    wire.send(b"".join(frame(BINARY, m) for m in messages))
    for message in messages:
        wire.expect(BINARY, message)


def test_echo_of_a_slow_reader_waits_and_loses_nothing(server, open_stream):
    wire = open_stream(server, window=4096)
    messages = [os.urandom(100_000) for _ in range(100)]
    data = b"".join(frame(BINARY, m) for m in messages)
    sent = 0
    still_since = time.monotonic()
    while time.monotonic() < still_since + 0.5:
        size = wire.send_some(data[sent:sent + 16384])
        sent += size
        if size > 0:
            still_since = time.monotonic()
    assert sent < len(data)         # the server stopped reading
    for message in messages:
        wire.acknowledge()
        while len(wire.buffer) < len(message) + 10:
            sent += wire.send_some(data[sent:sent + 16384])
            wire.acknowledge()
        wire.expect(BINARY, message)


# --- the end ---

@pytest.mark.parametrize("code, reason", [
    (1000, "bye"), (3000, ""), (4999, "x" * 123), (None, "")],
    ids=["bye", "no reason", "long reason", "no code"])
def test_client_closes(mpm_server, open_stream, code, reason):
    before = mpm_server.log().count(f"{ENDED}: by both sides")
    wire = open_stream(mpm_server)
    wire.send(close_frame(code, reason))
    wire.expect_close(code, reason if code else None)   # and END_STREAM
    wire.end_stream()
    mpm_server.wait_for_log(f"{ENDED}: by both sides", before + 1)
    open_stream(mpm_server, connection=wire.connection).echo()


def test_client_ends_its_stream_behind_its_close(server, open_stream):
    wire = open_stream(server)
    wire.send(close_frame(1000))
    wire.end_stream()
    wire.expect_close(1000)


def test_server_closes(server, open_stream):
    wire = open_stream(server)
    wire.send(frame(TEXT, "good") + frame(TEXT, b"\xff"))
    wire.expect(TEXT, "good")
    wire.expect_close(1007)
    wire.end_stream()


def test_client_that_does_not_end_its_side_is_not_waited_for(
        httpd_factory, open_stream, tls):
    server = httpd_factory(tls=tls, http2=True, log_level="debug",
                           config="WebSocketCloseTimeout 300ms")
    wire = open_stream(server)
    wire.send(close_frame(1000))
    wire.expect_close(1000)
    server.wait_for_log(ENDED)
    open_stream(server, connection=wire.connection).echo()


def test_end_stream_without_close_is_1006(server, open_stream):
    before = server.log().count("echo: closed with 1006")
    wire = open_stream(server)
    wire.echo()
    wire.end_stream()
    wire.expect_end()
    server.wait_for_log("echo: closed with 1006", before + 1)


VANISH = {
    "RST_STREAM": lambda wire: wire.reset_stream(),
    "END_STREAM": lambda wire: wire.end_stream(),
    "TCP FIN": lambda wire: wire.connection.close(),
    "TCP RST": lambda wire: (
        wire.connection.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"),
        wire.connection.close()),
}


@pytest.mark.parametrize("how", VANISH)
def test_who_vanishes_leaves_the_room_once(mpm_server, open_stream, connect,
                                           how):
    room = "/ws/chat/vanish-" + re.sub(r"\W", "-", how)
    ended = mpm_server.log().count(ENDED)
    closed = mpm_server.log().count("chat: closed with 1006")
    ann = Member(connect(mpm_server, room))         # over HTTP/1.1
    bob = Member(open_stream(mpm_server, room))
    ann.expect_joined(bob)
    VANISH[how](bob.wire)
    ann.expect_left(bob)
    ann.expect_nothing()
    mpm_server.wait_for_log(ENDED, ended + 1)
    assert mpm_server.log().count("chat: closed with 1006") == closed + 1
    ann.wire.send(close_frame(1000))
    ann.wire.expect_close(1000)


def test_members_over_http1_and_http2_chat(mpm_server, open_stream, connect):
    ann = Member(connect(mpm_server, "/ws/chat/mixed"))
    bob = Member(open_stream(mpm_server, "/ws/chat/mixed"))
    ann.expect_joined(bob)
    cid = Member(open_stream(mpm_server, "/ws/chat/mixed",
                             connection=bob.wire.connection))
    ann.expect_joined(cid)
    bob.expect_joined(cid)
    ann.say(type="chat", message="Xin chào 😀", username="Ann")
    for other in (bob, cid):
        other.expect(type="chat", clientId=ann.id, message="Xin chào 😀",
                     username="Ann")
    bob.say(type="chat", message="hello", username="Bob")
    for other in (ann, cid):
        other.expect(type="chat", clientId=bob.id, message="hello",
                     username="Bob")


# --- how many ---

def test_stream_that_is_refused_holds_no_seat(httpd_factory, open_stream,
                                              connect, tls):
    server = httpd_factory(tls=tls, http2=True,
                           server_config="WebSocketMaxConnections 5")
    wires = [open_stream(server)]
    wires += [open_stream(server, connection=wires[0].connection)
              for _ in range(PER_CONNECTION - 1)]
    for _ in range(4):
        with pytest.raises(Reset):
            open_stream(server, connection=wires[0].connection)
    wires += [connect(server) for _ in range(2)]
    for wire in wires:
        wire.echo()
    assert connect(server).response.status == 503


def test_streams_count_as_connections(httpd_factory, open_stream, tls):
    server = httpd_factory(tls=tls, http2=True,
                           server_config="WebSocketMaxConnections 2")
    wires = [open_stream(server) for _ in range(2)]
    for wire in wires:
        wire.echo()
    refused = open_stream(server)
    assert refused.response.status == 503
    assert int(refused.response.headers["retry-after"]) > 0
    wires[0].send(close_frame(1000))
    wires[0].expect_close(1000)
    wait_until(lambda: status_of(server, open_stream) == 200,
               "there is room for one")


def test_streams_and_pages_share_a_connection(mpm_server, open_stream,
                                              h2_connect):
    connection = h2_connect(mpm_server)
    wires = [open_stream(mpm_server, connection=connection)
             for _ in range(PER_CONNECTION)]
    for i in range(20):
        for wire in wires:
            wire.send(frame(BINARY, os.urandom(1000)))
        assert connection.get("/page.txt") == (200, b"an ordinary page\n")
        for wire in wires:
            wire.read_frame()


def test_one_more_on_a_connection_is_told_to_use_http1(server, open_stream,
                                                       h2_connect):
    """Or it, and the next page, would wait for a place at mod_http2."""
    connection = h2_connect(server)
    ended = server.log().count(ENDED)
    wires = [open_stream(server, connection=connection)
             for _ in range(PER_CONNECTION)]
    for _ in range(3):
        with pytest.raises(Reset) as caught:
            open_stream(server, connection=connection)
        assert caught.value.code == HTTP_1_1_REQUIRED
    assert connection.get("/page.txt")[0] == 200
    for wire in wires:
        wire.echo()
    wires[0].reset_stream()
    server.wait_for_log(ENDED, ended + 1)
    open_stream(server, connection=connection).echo()
    open_stream(server).echo()      # another connection has its own


@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("limit, settings", [
    (4, ONE_CHILD.format(8)),
    (2, ONE_CHILD.format(8) + "H2MinWorkers 4\nH2MaxWorkers 4\n"),
], ids=["threads", "H2MaxWorkers"])
def test_half_of_the_threads_are_left_for_pages(
        httpd_factory, open_stream, h2_connect, connect, tls, mpm, limit,
        settings):
    server = httpd_factory(mpm=mpm, tls=tls, http2=True, log_level="debug",
                           server_config=settings)
    wires = [open_stream(server) for _ in range(limit)]
    for _ in range(3):
        with pytest.raises(Reset) as caught:
            open_stream(server)
        assert caught.value.code == HTTP_1_1_REQUIRED
    connection = h2_connect(server)
    for _ in range(10):
        assert connection.get("/page.txt")[0] == 200
    assert server.get("/page.txt", tls=False)[0] == 200
    connect(server).echo()          # which holds no thread
    for wire in wires:
        wire.echo()
    assert server.log().count("are told to use HTTP/1.1") == 1
    wires[0].send(close_frame(1000))
    wires[0].expect_close(1000)
    wires[0].end_stream()
    server.wait_for_log(ENDED)
    connection.close()
    wait_until(lambda: can_open(server, open_stream), "room for a new one")


def can_open(server, open_stream):
    try:
        open_stream(server).echo()
        return True
    except Reset:
        return False


def descriptors(server):
    return {pid: len(os.listdir(f"/proc/{pid}/fd"))
            for pid in server.children()}


def test_no_descriptor_is_lost(httpd_factory, open_stream, h2_connect, tls):
    server = httpd_factory(tls=tls, http2=True, log_level="debug",
                           server_config=ONE_CHILD.format(25))

    def serve(count):
        ended = server.log().count(ENDED)
        for i in range(count):
            connection = h2_connect(server)
            wire = open_stream(server, connection=connection)
            wire.echo()
            list(VANISH.values())[i % len(VANISH)](wire)
            connection.close()
        server.wait_for_log(ENDED, ended + count)

    serve(40)                       # what httpd and mod_http2 keep is there
    before = descriptors(server)
    serve(200)
    wait_until(lambda: all(count <= before[pid] + 2 for pid, count
                           in descriptors(server).items()),
               f"as few descriptors as before: {before}")


def test_streams_leave_descriptors_for_pages(httpd_factory, open_stream,
                                             h2_connect, connect):
    server = httpd_factory(http2=True, descriptors=300,
                           server_config=ONE_CHILD.format(25))
    h1 = []
    while True:
        h1.append(connect(server))
        if h1[-1].response.status == 503:
            break
    wire = open_stream(server)
    assert wire.response.status == 503
    assert wire.response.headers["retry-after"] == "30"
    assert wire.connection.get("/page.txt")[0] == 200


# --- time ---

def test_idle_stream_outlives_all_timeouts_of_httpd(httpd_factory, open_stream,
                                                    tls):
    server = httpd_factory(tls=tls, http2=True, server_config="""
        Timeout 1
        KeepAliveTimeout 1
        H2StreamTimeout 1
        RequestReadTimeout header=1 body=1
        WebSocketPing off""")
    wire = open_stream(server)
    wire.echo()
    wire.connection.socket.settimeout(3.5)
    with pytest.raises(TimeoutError):
        wire.fill()
    wire.connection.socket.settimeout(LIMIT)
    wire.echo()
    assert wire.connection.get("/page.txt")[0] == 200


PING_CONFIG = f"""
    <Location "/ws/ping">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketPing 300ms 500ms
    </Location>"""


def test_dead_peer_is_dropped_and_live_one_stays(httpd_factory, open_stream,
                                                 h2_connect, tls):
    server = httpd_factory(tls=tls, http2=True, config=PING_CONFIG,
                           log_level="debug")
    connection = h2_connect(server)
    live = open_stream(server, "/ws/ping", connection=connection)
    for _ in range(4):
        assert live.read_frame() == (PING, b"", True)
        live.send(frame(PONG))
    live.echo()
    dead = open_stream(server, "/ws/ping")
    assert dead.read_frame() == (PING, b"", True)
    dead.expect_end()               # no answer: END_STREAM
    server.wait_for_log("closing with 1006: no answer to a ping")
    server.wait_for_log(ENDED)


def test_member_that_does_not_read_is_closed_with_1013(httpd_factory,
                                                       open_stream, connect,
                                                       tls):
    """And its thread is free again after H2StreamTimeout."""
    server = httpd_factory(tls=tls, http2=True, log_level="debug",
                           server_config="H2StreamTimeout 2",
                           config="WebSocketSendQueue 256K")
    slow = Member(open_stream(server, "/ws/chat/slow"))
    ann = Member(connect(server, "/ws/chat/slow"))
    text = frame(TEXT, json.dumps({"type": "chat", "message": "x" * 1900}))
    told = "chat: closing with 1013"

    heard = []

    def flood():
        ann.wire.send(text * 20)
        ann.say(type="ping")        # not faster than it is worked on
        heard.append(ann.read()["type"])
        while heard[-1] != "pong":
            heard.append(ann.read()["type"])
        return told in server.log()

    wait_until(flood, told)
    server.wait_for_log("chat: closed with 1013")
    while "user_left" not in heard:
        heard.append(ann.read()["type"])
    server.wait_for_log(f"{ENDED}: the client is gone, or takes nothing")
    with pytest.raises(Reset):
        while slow.wire.read_frame():
            pass


@pytest.mark.parametrize("how", ["RST_STREAM", "TCP FIN"])
def test_member_that_does_not_read_may_vanish(httpd_factory, open_stream,
                                              tls, how):
    """A thread that waits to write is woken: not after Timeout."""
    server = httpd_factory(tls=tls, http2=True, log_level="debug",
                           server_config="Timeout 300")
    wire = open_stream(server, window=1000)
    wire.send(frame(BINARY, bytes(60_000)))
    wire.fill()
    VANISH[how](wire)
    server.wait_for_log(ENDED)
    server.wait_for_log("echo: closed with 1006")


def test_what_was_written_goes_out_after_the_loop_has_dropped(
        httpd_factory, open_stream, connect, tls):
    """And input that nobody takes any more does not keep it back."""
    server = httpd_factory(tls=tls, http2=True, server_config=f"""
        {ONE_CHILD.format(10)}
        WebSocketPing 500ms 500ms""")
    wire = open_stream(server, "/ws/chat/slow", window=1000)
    witness = connect(server, "/ws/chat/slow")
    teller = connect(server, "/ws/chat/slow")
    for member in (wire, witness, teller):
        while b'"welcome"' not in member.buffer:
            assert member.fill()        # it has joined
    for i in range(40):
        teller.send(frame(TEXT, json.dumps(
            {"type": "chat", "message": f"number {i} " + "x" * 1500})))
    while b"number 39" not in witness.buffer:
        assert witness.fill()
    while len(wire.buffer) < 1000:      # now the pump waits for the window
        assert wire.fill()
    wire.send(frame(TEXT, '{"type":"ping"}') * 100)
    server.wait_for_log("closing with 1006: no answer to a ping", 3)
    wire.reads_ahead = True
    wire.acknowledge()
    while wire.fill():
        pass
    assert b"number 39" in wire.buffer


# --- restart and stop ---

@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("ending", ["graceful", "graceful-stop"])
def test_graceful_end_closes_in_order(httpd_factory, open_stream, connect,
                                      tls, mpm, ending):
    """A stream cannot be moved to a keeper; what is not of HTTP/2 is."""
    server = httpd_factory(mpm=mpm, tls=tls, http2=True)
    wires = [open_stream(server) for _ in range(10)]
    others = [connect(server) for _ in range(4)]
    for wire in wires + others:
        wire.echo()
    server.old_children = server.children()
    server.process.send_signal(
        signal.SIGUSR1 if ending == "graceful" else signal.SIGWINCH)
    for wire in wires:
        opcode, data, _ = wire.read_frame()
        assert opcode == CLOSE
        # whether httpd ends, its children learn later
        assert int.from_bytes(data[:2], "big") == 1012
        wire.send(frame(CLOSE, data))
        wire.expect_end()
        wire.connection.close()
    if ending == "graceful":
        server.wait_for_log("resuming normal operations", 2)
        server.wait_for_end_of_old()
        for wire in others:
            wire.echo()
        wait_until(server.answers, "httpd answers again")
        open_stream(server).echo()
    else:
        for wire in others:
            opcode, data, _ = wire.read_frame()
            assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, 1001)
        server.process.wait(30)
        wait_until(lambda: not server.pids(), "no process is left")


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_stop_does_not_wait_for_streams(httpd_factory, open_stream, tls, mpm):
    """httpd closes the connections of HTTP/2 itself, at once."""
    server = httpd_factory(mpm=mpm, tls=tls, http2=True)
    wires = [open_stream(server) for _ in range(10)]
    for wire in wires:
        wire.echo()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(15)
    wait_until(lambda: not server.pids(), "no process is left")
    for wire in wires:
        try:
            while wire.fill():
                pass
        except Reset:
            pass
        assert wire.buffer[:1] in (b"", b"\x88")    # a Close, if anything


class Load(threading.Thread):
    """Echoes on streams that close, vanish, or are closed, again and again."""

    def __init__(self, server, tls):
        super().__init__(daemon=True)
        self.server, self.tls = server, tls
        self.running = True
        self.echoed = 0
        self.wrong = []

    def run(self):
        number = 0
        while self.running:
            number += 1
            try:
                connection = H2Connection(self.server.address(self.tls),
                                          self.tls)
            except (OSError, AssertionError):
                continue            # the server is away for a moment
            try:
                self.talk(connection, number)
            except (OSError, AssertionError):
                pass                # closed in the middle
            finally:
                connection.close()

    def talk(self, connection, number):
        wires = [H2Wire(connection) for _ in range(number % 3 + 1)]
        for wire in wires:
            if wire.open("/ws/echo").status != 200:
                return
        for turn in range(number % 10):
            for wire in wires:
                data = os.urandom([1, 100, 5000, 70_000][turn % 4])
                wire.send(frame(BINARY, data))
                opcode, got, _ = wire.read_frame()
                if opcode == CLOSE:
                    return
                if got != data:
                    self.wrong.append("other data")
                self.echoed += 1
        if number % 2 == 0:
            wires[0].send(close_frame(1000))


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_graceful_restarts_under_load(httpd_factory, mpm):
    server = httpd_factory(mpm=mpm, http2=True)
    loads = [Load(server, tls) for tls in (False, True, False, True)]
    for load in loads:
        load.start()

    def goes_on():
        before = sum(load.echoed for load in loads)
        wait_until(lambda: sum(load.echoed for load in loads) > before + 50,
                   "load goes on")

    goes_on()
    for _ in range(3):
        server.restart()
        goes_on()
    server.process.send_signal(signal.SIGWINCH)
    server.process.wait(30)
    wait_until(lambda: not server.pids(), "no process is left")
    for load in loads:
        load.running = False
    for load in loads:
        load.join(30)
        assert not load.wrong
    server.check_end()
