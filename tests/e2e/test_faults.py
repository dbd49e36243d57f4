"""Faults: of handlers, of the system, of clients. Whatever it hits, nobody
else is disturbed, nothing is left behind, and httpd goes on."""
import base64
import os
import re
import signal
import socket
import ssl
import struct
import subprocess

import pytest

from httpd import (LIMIT, SANITIZED, SOURCE, client_context, let_httpd_in,
                   wait_until)
from test_status import numbers
from wire import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame

TWO_CHILDREN = """
    StartServers 2
    ServerLimit 2
    ThreadsPerChild 10
    MaxRequestWorkers 20
    MinSpareThreads 1
    MaxSpareThreads 20
"""
ONE_CHILD = """
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 10
    MaxRequestWorkers 10
    MinSpareThreads 1
    MaxSpareThreads 10
"""


def compile_shared(directory, name):
    let_httpd_in(directory)
    library = directory / f"{name}.so"
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror",
                    "-shared", "-fPIC", f"-I{SOURCE / 'mod_websocket'}",
                    "-o", library, SOURCE / "tests" / "e2e" / f"{name}.c",
                    "-ldl"], check=True)
    library.chmod(0o755)
    return library


@pytest.fixture(scope="session")
def faulty(tmp_path_factory):
    """The configuration of a handler that has faults."""
    library = compile_shared(tmp_path_factory.mktemp("faulty"), "faulty")
    return f"""
        <Location "/ws/faulty">
            WebSocketHandler {library}
        </Location>"""


def say(wire, text):
    wire.send(frame(TEXT, text))


def ask(wire, text):
    say(wire, text)
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT, (opcode, data)
    return data.decode()


def pid_of(wire):
    return int(ask(wire, "pid"))


def is_alive(wire):
    try:
        wire.echo()
        return True
    except (OSError, AssertionError):
        return False


def by_child(connect, server, count=20):
    """Connections to two children, two to each at least: {pid: wires}"""
    found = {}
    for _ in range(100):
        for _ in range(count):
            wire = connect(server, "/ws/faulty")
            found.setdefault(pid_of(wire), []).append(wire)
        if len(found) > 1 and min(map(len, found.values())) > 1:
            return found
    raise AssertionError("one child takes all connections")


def descriptors(server):
    """In use, by all processes."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids())


def forget_deaths(server):
    """Children that were to die are no error at the test's end."""
    log = server.log()
    assert "AddressSanitizer" not in log
    server.error_log.write_text("")
    return log


# --- handlers ---


@pytest.mark.parametrize("how", ["crash", "die with the lock"])
def test_handler_that_dies_takes_one_child(httpd_factory, connect, faulty,
                                           how):
    server = httpd_factory(config=faulty, server_config=TWO_CHILDREN)
    children = by_child(connect, server)
    victim, *others = children
    others = [wire for pid in others for wire in children[pid]]
    for wire in others:
        assert ask(wire, "subscribe") == "yes"
    assert ask(children[victim][1], "subscribe") == "yes"
    for i in range(10):
        say(children[victim][0], f"publish before {i}")
    for wire in [*others, children[victim][1]]:
        for i in range(10):
            wire.expect(TEXT, f"before {i}")
    say(children[victim][0], how)
    for wire in children[victim]:
        with pytest.raises((OSError, AssertionError)):
            while True:
                wire.read_frame()
    wait_until(lambda: victim not in server.pids(), "the child is dead")
    say(others[0], "publish after")
    for wire in others:
        wire.expect(TEXT, "after")
        wire.echo()
    wait_until(lambda: numbers(server)["WebSockets"] == len(others),
               "the dead child's connections are not counted")
    wait_until(lambda: len(server.children()) == 2, "httpd replaces the child")
    new = wait_until(
        lambda: next((wire for wire in [connect(server, "/ws/faulty")]
                      if pid_of(wire) not in children), None),
        "the new child serves WebSockets")
    assert ask(new, "subscribe") == "yes"
    say(others[0], "publish to all")
    for wire in [*others, new]:
        wire.expect(TEXT, "to all")
    assert "exit signal" in forget_deaths(server)


def test_handler_that_blocks_holds_up_one_child(httpd_factory, connect,
                                                faulty):
    server = httpd_factory(config=faulty, server_config=TWO_CHILDREN)
    end = server.directory / "end"
    children = by_child(connect, server)
    victim, *others = children
    say(children[victim][0], f"block until {end}")
    say(children[victim][1], "behind it")
    stall = (r"WebSocket thread 0 has been in one turn for \d{4,} ms and "
             r"serves nobody else: handler faulty is in its callback "
             r'"message" for client 127\.0\.0\.1')
    server.wait_for_log(stall)
    for pid in others:
        for wire in children[pid]:
            wire.echo()
    for _ in range(20):
        assert server.get("/page.txt", tls=False)[0] == 200
    end.touch()
    children[victim][0].expect(TEXT, "done")
    children[victim][1].expect(TEXT, "behind it")
    server.wait_for_log(r"WebSocket thread 0 turns again, after \d{4,} ms")
    assert len(re.findall(stall, server.log())) == 1


def test_handler_that_blocks_in_a_keeper_is_named(httpd_factory, connect,
                                                  faulty):
    """Its watch has moved with the connection."""
    server = httpd_factory(config=faulty, server_config=ONE_CHILD)
    end = server.directory / "end"
    wire = connect(server, "/ws/faulty")
    before = pid_of(wire)
    server.restart()
    wait_until(lambda: pid_of(wire) != before, "a keeper has it")
    say(wire, f"block until {end}")
    server.wait_for_log(r"handler faulty is in its callback \"message\"")
    assert server.get("/page.txt", tls=False)[0] == 200
    end.touch()
    wire.expect(TEXT, "done")
    server.wait_for_log(r"WebSocket thread 0 turns again")


def test_restart_does_not_wait_for_a_handler_that_blocks(httpd_factory,
                                                         connect, faulty):
    server = httpd_factory(config=faulty, server_config=TWO_CHILDREN
                           + "WebSocketDrainTimeout 1s")
    children = by_child(connect, server)
    victim, *others = children
    say(children[victim][0], f"block until {server.directory}/never")
    server.wait_for_log('callback "message"')
    server.restart()
    connect(server, "/ws/faulty").echo()
    wait_until(lambda: victim not in server.pids(), "the child has gone")
    for pid in others:
        for wire in children[pid]:
            wire.echo()
    connect(server, "/ws/faulty").echo()


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_stop_does_not_wait_for_a_handler_that_blocks(httpd_factory, connect,
                                                      faulty, mpm):
    server = httpd_factory(config=faulty, mpm=mpm)
    wire, other = (connect(server, "/ws/faulty") for _ in range(2))
    other.echo()
    say(wire, f"block until {server.directory}/never")
    server.wait_for_log('callback "message"')
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(LIMIT)
    wait_until(lambda: not server.pids(), "no process is left")
    forget_deaths(server)           # httpd's parent may have lost patience


def test_handler_that_leaks_leaves_the_modules_books_right(
        httpd_factory, connect, faulty):
    server = httpd_factory(config=faulty, server_config=ONE_CHILD)
    connect(server, "/ws/faulty").close_socket()
    wait_until(lambda: numbers(server)["WebSockets"] == 0, "it is gone")
    before = descriptors(server)
    for _ in range(5):
        wires = [connect(server, "/ws/faulty") for _ in range(30)]
        for wire in wires:
            wire.echo()
        assert numbers(server)["WebSockets"] == 30
        for wire in wires:
            wire.close_socket()
        wait_until(lambda: numbers(server)["WebSockets"] == 0, "all are gone")
    wait_until(lambda: descriptors(server) <= before, "descriptors are back")


# --- the system ---


def test_child_without_descriptors_recovers(httpd_factory, connect, faulty):
    """A handler takes them all. WebSockets are refused or wait; those that
    are open go on, and so does httpd."""
    server = httpd_factory(config=faulty, server_config=TWO_CHILDREN,
                           descriptors=400)
    children = by_child(connect, server)
    victim, *others = children
    everybody = [wire for wires in children.values() for wire in wires]
    taker = children[victim][0]
    assert ask(taker, "take 60") == "taken"
    # some are left, and they are httpd's
    statuses = set()
    for _ in range(100):
        wire = connect(server, "/ws/faulty")
        statuses.add(wire.response.status)
        if wire.response.status == 503:
            assert wire.response.headers["retry-after"] == "30"
        wire.close_socket()
    assert 503 in statuses and statuses <= {101, 503}
    for _ in range(20):
        assert server.get("/page.txt", tls=False)[0] == 200
    for wire in everybody:
        wire.echo()
    assert ask(taker, "give") == "given"
    for _ in range(20):
        wire = connect(server, "/ws/faulty")
        assert wire.response.status == 101
        wire.echo()
        everybody.append(wire)
    for wire in everybody:
        wire.echo()
    assert "new WebSockets are refused" in server.log()


def test_child_without_any_descriptor_harms_no_other(httpd_factory, connect,
                                                     faulty):
    """Not one is left: httpd cannot accept in that child, and ends it."""
    server = httpd_factory(config=faulty, server_config=TWO_CHILDREN,
                           descriptors=400)
    children = by_child(connect, server)
    victim, *others = children
    assert ask(children[victim][0], "take 0") == "taken"
    for pid in others:
        for wire in children[pid]:
            wire.echo()
    for _ in range(50):             # some wait until that child has ended
        assert server.get("/page.txt", tls=False)[0] == 200
    for pid in others:
        for wire in children[pid]:
            wire.echo()
    wait_until(lambda: victim not in server.pids()
               or is_alive(children[victim][1]), "it ends, or goes on")
    wire = connect(server, "/ws/faulty")
    assert wire.response.status == 101
    wire.echo()


@pytest.mark.skipif(SANITIZED, reason="the sanitizer needs address space")
def test_no_memory_for_the_log_is_told_at_the_start(httpd_factory):
    with pytest.raises(AssertionError) as caught:
        httpd_factory(server_config="WebSocketLogSize 1G",
                      address_space=768 << 20)
    assert ("Cannot allocate memory" in str(caught.value)
            and "the shared log of 1073741824 bytes for WebSockets cannot be "
            "made; see WebSocketLogSize" in str(caught.value))


@pytest.mark.skipif(SANITIZED, reason="the sanitizer has clock_gettime, too")
def test_time_of_day_that_jumps_is_not_noticed(httpd_factory, connect, faulty,
                                               tmp_path, monkeypatch):
    """Pings, and the time for their answers, go by the monotonic clock."""
    library = compile_shared(tmp_path, "jump")
    jump = tmp_path / "seconds"
    jump.write_text("0")
    jump.chmod(0o644)
    monkeypatch.setenv("WS_JUMP", str(jump))
    server = httpd_factory(config=faulty, preload=[library],
                           server_config="WebSocketPing 400ms 1500ms")
    wires = [connect(server, "/ws/faulty") for _ in range(4)]
    silent = connect(server, "/ws/faulty")

    def answer_pings(count):
        for wire in wires:
            for _ in range(count):
                opcode, data, _ = wire.read_frame()
                assert opcode == PING, (opcode, data)
                wire.send(frame(PONG, data))

    def date():
        return server.get("/page.txt", tls=False)[2]["Date"]

    year = int(date().split()[3])
    for seconds in (400 * 86400, -400 * 86400, 0):
        jump.write_text(str(seconds))
        expected = year + (seconds > 0) - (seconds < 0)
        wait_until(lambda: abs(int(date().split()[3]) - expected) <= 1
                   and (int(date().split()[3]) != year) == (seconds != 0),
                   "httpd sees the other day")
        answer_pings(2)
    assert silent.read_frame()[0] == PING
    silent.expect_end()             # dropped: 1006, no Close frame
    for wire in wires:
        wire.send(close_frame(1000))
        while (got := wire.read_frame())[0] == PING:
            pass
        assert got[0] == CLOSE
    server.wait_for_log("no answer to a ping")
    assert len(re.findall("no answer to a ping", server.log())) == 1


# --- clients ---


class Tap:
    """A client, plain or TLS, whose bytes to the server stop after a limit,
    wherever in the handshakes or the frames that is."""

    class Cut(Exception):
        """The limit is reached."""

    def __init__(self, server, tls, limit=None, piece=None):
        self.socket = socket.create_connection(server.address(tls),
                                               timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.limit, self.piece = limit, piece
        self.sent = 0
        self.tls = None
        if tls:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = client_context().wrap_bio(self.incoming, self.outgoing)

    def push(self, data):
        """To the socket, as far as the limit lets it."""
        if self.limit is not None:
            data = data[:self.limit - self.sent]
        step = self.piece or len(data) or 1
        for at in range(0, len(data), step):
            self.socket.sendall(data[at:at + step])
        self.sent += len(data)
        if self.sent == self.limit:
            raise Tap.Cut

    def drive(self, call, *arguments):
        """A call of the TLS session, until it need not wait any more."""
        while True:
            try:
                result, waits = call(*arguments), False
            except ssl.SSLWantReadError:
                result, waits = None, True
            if self.outgoing.pending:
                self.push(self.outgoing.read())
            if not waits:
                return result
            data = self.socket.recv(65536)
            if not data:
                self.incoming.write_eof()
            self.incoming.write(data)

    def send(self, data):
        if self.tls is None:
            self.push(data)
        else:
            self.drive(self.tls.write, data)

    def receive(self):
        if self.tls is None:
            return self.socket.recv(65536)
        try:
            return self.drive(self.tls.read, 65536)
        except ssl.SSLZeroReturnError:
            return b""

    def read_until(self, end):
        data = b""
        while end not in data:
            more = self.receive()
            assert more, data
            data += more
        return data

    def request(self, extra):
        """The TLS handshake, the opening handshake, and bytes behind it."""
        if self.tls is not None:
            self.drive(self.tls.do_handshake)
        key = base64.b64encode(os.urandom(16)).decode()
        self.send(("GET /ws/faulty HTTP/1.1\r\nHost: localhost\r\n"
                   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   f"Sec-WebSocket-Key: {key}\r\n\r\n").encode() + extra)

    def talk(self):
        """A short session; returns at its end."""
        self.request(frame(TEXT, "early"))
        self.read_until(b"early")
        self.send(frame(TEXT, "hello", fin=False))
        self.send(frame(0, " world"))
        self.read_until(b"world")
        self.send(close_frame(1000))
        self.read_until(b"\x88\x02\x03\xe8")

    def reset(self):
        """RST, whatever is on its way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.socket.close()

    def vanish(self):
        """FIN; what comes is answered with a reset."""
        self.socket.close()

    def half_close(self):
        """FIN, and what the server still says is read to its end."""
        self.socket.shutdown(socket.SHUT_WR)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        self.socket.close()


def session_length(server, tls):
    tap = Tap(server, tls)
    tap.talk()
    tap.vanish()
    return tap.sent


@pytest.fixture
def quiet_server(httpd_factory, faulty):
    """One child, in which one session has been; checks at the end that all
    that were since have gone without a trace."""
    server = httpd_factory(config=faulty, server_config=ONE_CHILD,
                           log_level="debug")

    def warm_up():
        for tls in (False, True):
            for _ in range(12):
                session_length(server, tls)
        wait_until(lambda: numbers(server)["WebSockets"] == 0, "all is quiet")

    warm_up()
    before = descriptors(server)
    yield server
    wait_until(lambda: numbers(server)["WebSockets"] == 0, "no WebSocket left")
    wait_until(lambda: descriptors(server) <= before, "descriptors are back")
    log = server.log()
    opened = re.findall(r"handler opens (\d+)", log)
    closed = re.findall(r"handler closes (\d+) with", log)
    assert sorted(opened) == sorted(closed)
    assert len(set(opened)) == len(opened) > 24
    assert not re.search(r"\[websocket:(error|crit|emerg)", log)
    assert len(server.children()) == 1
    for tls in (False, True):
        session_length(server, tls)


ACTIONS = ["reset", "vanish", "half_close"]


def cuts_of(length, every):
    """Where to cut: at each byte, or at some, the ends among them."""
    return sorted({1, length - 1, length, *range(1, length, every)})


@pytest.mark.parametrize("action", ACTIONS)
def test_session_cut_at_every_byte(quiet_server, tls, action):
    """In the TLS handshake, in the request, in the hand-over, in a frame."""
    length = session_length(quiet_server, tls)
    every = 5 if SANITIZED else 1
    count = 0
    for limit in cuts_of(length, every):
        tap = Tap(quiet_server, tls, limit)
        try:
            tap.talk()
        except Tap.Cut:
            count += 1
        except (OSError, AssertionError):
            pass                    # TLS 1.3's lengths vary by a little
        getattr(tap, action)()
    assert count > 10


def test_session_byte_by_byte(quiet_server, tls):
    for _ in range(3):
        tap = Tap(quiet_server, tls, piece=1)
        tap.talk()
        tap.vanish()


@pytest.mark.parametrize("action", ACTIONS)
def test_client_goes_during_the_hand_over(quiet_server, tls, action):
    """Behind the request, before and after the 101, with frames that fill the
    filters: the worker is about to let go of the connection."""
    for i in range(40):
        tap = Tap(quiet_server, tls)
        tap.request(frame(BINARY, b"x" * (i * 997 % 40000)))
        if i % 4 == 1:
            tap.read_until(b"\r\n\r\n")
        elif i % 4 == 2:
            tap.send(frame(TEXT, "more"))
        elif i % 4 == 3:
            tap.read_until(b"\r\n\r\n")
            tap.send(frame(TEXT, "more")[:-2])
        getattr(tap, action)()
