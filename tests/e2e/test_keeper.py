"""A child that ends leaves its WebSockets to a keeper: nobody is dropped."""
import ctypes
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from httpd import LIMIT, SANITIZED, Httpd, is_keeper, wait_until
from test_plugin import build
from wire import BINARY, CLOSE, TEXT, frame

MPMS = ["event", "worker", "prefork"]
every_mpm = pytest.mark.parametrize("mpm", MPMS)


def context_of(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


CONTEXTS = [None, context_of(ssl.TLSVersion.TLSv1_2),
            context_of(ssl.TLSVersion.TLSv1_3)]


def echo_all(wires):
    for wire in wires:
        wire.echo(os.urandom(200))


def open_some(connect, server, count):
    """As many of each: plain, TLS 1.2, TLS 1.3; each has left httpd."""
    wires = []
    for _ in range(count):
        for context in CONTEXTS:
            wires.append(connect(server, tls=context is not None,
                                 secure=context is not None,
                                 context=context))
            assert wires[-1].response.status == 101
    echo_all(wires)
    return wires


def status(server, name):
    body = server.get("/server-status?auto", tls=False)[1].decode()
    return int(re.search(rf"^{name}: (\d+)$", body, re.M)[1])


def code_of(wire):
    opcode, data, _ = wire.read_frame()
    assert opcode == CLOSE, (opcode, data[:80])
    return int.from_bytes(data[:2], "big")


def expect_end_of(wires, code):
    """Each is closed with this code, and in order. Returns when."""
    def expect(wire):
        assert code_of(wire) == code
        wire.send(frame(CLOSE, code.to_bytes(2, "big")))
        wire.expect_end()
        wire.close_socket()
        return time.monotonic()

    with ThreadPoolExecutor(len(wires)) as pool:
        return list(pool.map(expect, wires))


def restart(server):
    """Until the old children are gone: their slots are free."""
    server.restart()
    server.wait_for_end_of_old()


class Talker(threading.Thread):
    """Talks on all its connections without a pause: what it sends comes back
    once, in order."""

    def __init__(self, wires):
        super().__init__(daemon=True)
        self.wires = wires
        self.rounds = 0
        self.running = True
        self.wrong = None

    def run(self):
        try:
            while self.running:
                self.talk()
                self.rounds += 1
        except Exception as error:      # noqa: BLE001
            self.wrong = repr(error)

    def talk(self):
        for wire in self.wires:
            wire.send(b"".join(frame(TEXT, f"{self.rounds}.{i}")
                               for i in range(3)))
        for wire in self.wires:
            for i in range(3):
                wire.expect(TEXT, f"{self.rounds}.{i}")


class Visitor(threading.Thread):
    """Asks for pages, opens WebSockets, says a word and leaves: each time it
    is served."""

    def __init__(self, server, connect, tls):
        super().__init__(daemon=True)
        self.server, self.connect, self.tls = server, connect, tls
        self.rounds = 0
        self.running = True
        self.wrong = None

    def run(self):
        try:
            while self.running:
                self.visit()
                self.rounds += 1
        except Exception as error:      # noqa: BLE001
            self.wrong = repr(error)

    def visit(self):
        assert self.server.get("/page.txt", tls=self.tls)[0] == 200
        wire = self.connect(self.server, tls=self.tls, secure=self.tls)
        assert wire.response.status == 101, wire.response.status
        wire.echo(b"hello")
        wire.send(frame(CLOSE, b"\x03\xe8"))
        wire.expect_close(1000)
        wire.close_socket()


@pytest.fixture
def busy():
    """Runs threads until the end of the test; nothing may go wrong in them."""
    threads = []

    def begin(*more):
        for thread in more:
            threads.append(thread)
            thread.start()
        return more

    def end():
        for thread in threads:
            thread.running = False
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
            assert thread.wrong is None

    begin.end = end
    yield begin
    for thread in threads:
        thread.running = False


def wait_for_rounds(threads, count=3):
    """Each of them goes on."""
    before = [thread.rounds for thread in threads]
    wait_until(lambda: all(thread.wrong is not None
                           or thread.rounds >= rounds + count
                           for thread, rounds in zip(threads, before)),
               "the load goes on")
    assert [thread.wrong for thread in threads] == [None] * len(threads)


# --- a graceful restart ---

@every_mpm
def test_restarts_leave_every_connection_open(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm)
    wires = open_some(connect, server, 4)
    echo_all(wires)
    for _ in range(3):
        restart(server)
        echo_all(wires)
        wires += open_some(connect, server, 1)
        echo_all(wires)
    keepers = server.keepers()
    assert keepers
    assert status(server, "WebSocketKeepers") == len(keepers)
    assert status(server, "WebSockets") == len(wires)
    log = server.log()
    for pid in keepers:
        assert f"[pid {pid}:" in log
        assert is_keeper(pid)
    assert log.count("keeper begins: ") == len(keepers)


@every_mpm
def test_nothing_is_lost_under_load(httpd_factory, connect, busy, mpm):
    server = httpd_factory(mpm=mpm)
    talkers = busy(*(Talker(open_some(connect, server, 1)) for _ in range(3)))
    visitors = busy(Visitor(server, connect, False),
                    Visitor(server, connect, True))
    for _ in range(5):
        wait_for_rounds(talkers + visitors)
        server.restart()
    wait_for_rounds(talkers + visitors)
    busy.end()
    server.wait_for_end_of_old()
    assert not re.search("closing with (?!1006)", server.log())


@every_mpm
def test_large_messages_go_on_where_they_were(httpd_factory, connect, mpm):
    """Half of a message is in the old child, the other half comes later; and
    an answer that the client does not read yet."""
    server = httpd_factory(mpm=mpm, server_config="WebSocketSendQueue 64M")
    data = os.urandom(700_000)
    for wire in open_some(connect, server, 1):
        whole = frame(BINARY, data)
        wire.send(whole[:300_000])
        for _ in range(4):
            restart(server)
            wire.send(whole[300_000:] + frame(BINARY, data) * 3
                      + whole[:300_000])
            for _ in range(4):
                wire.expect(BINARY, data)


def joined(connect, server, name, number):
    """A member of the chat who has seen his own coming."""
    tls = number % 2 == 1
    wire = connect(server, f"/ws/chat/room?username={name}", tls=tls,
                   secure=tls)
    wait_for_message(wire, lambda m: m["type"] == "welcome")
    return wire


def next_message(wire):
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT, (opcode, data[:80])
    return json.loads(data)


def wait_for_message(wire, condition):
    while True:
        message = next_message(wire)
        if condition(message):
            return message


def next_chat(wire):
    return wait_for_message(wire, lambda m: m["type"] == "chat")["message"]


@every_mpm
def test_a_room_spans_generations(httpd_factory, connect, mpm):
    """Each message comes to each member once, in the same order, whatever
    process he is in."""
    server = httpd_factory(mpm=mpm)
    members = []
    said = [[] for _ in range(8)]
    numbers = itertools.count()
    for generation in range(4):
        for i in range(2):
            members.append(joined(connect, server, f"m{len(members)}",
                                  len(members)))
        for _ in range(3):
            for i, wire in enumerate(members):
                text = f"message {next(numbers)}"
                wire.send(frame(TEXT, json.dumps(
                    {"type": "chat", "message": text, "username": f"m{i}"})))
                for j in range(len(members)):
                    if j != i:
                        said[j].append(text)
                # so that all agree on the order of what is said
                assert [next_chat(other) for j, other in enumerate(members)
                        if j != i] == [text] * (len(members) - 1)
        if generation < 3:
            restart(server)
    assert len(server.keepers()) >= 3


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_promises_of_the_last_moment_are_kept(httpd_factory, connect, busy,
                                              mpm):
    """Handshakes all the time, while children come and go."""
    server = httpd_factory(mpm=mpm)
    visitors = busy(*(Visitor(server, connect, i % 2 == 1) for i in range(6)))
    for _ in range(8):
        wait_for_rounds(visitors, 1)
        server.restart()
    busy.end()


def test_a_child_with_a_request_in_progress_serves_on(httpd_factory, connect):
    """It is told to end, and waits for a client that reads slowly. In that
    time its WebSockets are served; when httpd stops they are closed."""
    server = httpd_factory()
    (server.document_root(False) / "large").write_bytes(bytes(64_000_000))
    wires = open_some(connect, server, 2)
    slow = [socket.create_connection(server.address(False), LIMIT)
            for _ in range(8)]
    for s in slow:
        s.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert s.recv(10)
    old = server.children()
    server.restart()
    echo_all(wires)
    wires += open_some(connect, server, 1)
    echo_all(wires)
    held = [pid for pid in old if pid in server.pids()]
    assert held
    server.process.send_signal(signal.SIGTERM)
    expect_end_of(wires, 1001)
    for s in slow:
        s.close()
    server.process.wait(30)
    wait_until(lambda: not server.pids(), "no process is left")


# --- children that the MPM retires ---

@every_mpm
def test_a_child_that_has_served_enough(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm,
                           server_config="MaxConnectionsPerChild 20")
    wires = open_some(connect, server, 2)
    for _ in range(200):
        assert server.get("/page.txt", tls=False)[0] == 200
    wait_until(server.keepers, "a keeper")
    echo_all(wires)
    assert "MaxConnectionsPerChild is 20" in server.log()


def spare(mpm):
    if mpm == "prefork":
        return "MinSpareServers 1\nMaxSpareServers 2\nStartServers 6"
    return """MinSpareThreads 25\nMaxSpareThreads 50\nStartServers 4
              ThreadsPerChild 25"""


@every_mpm
def test_spare_children(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm, server_config=spare(mpm))
    wires = open_some(connect, server, 8)
    wait_until(lambda: len(server.children()) <= 2, "spare ones are ended")
    wait_until(server.keepers, "one had WebSockets")
    echo_all(wires)
    assert re.search(r"MaxSpare(Threads|Servers) is \d+: ", server.log())


# --- the end of a keeper ---

@every_mpm
def test_a_keeper_ends_with_its_last_connection(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm)
    wires = open_some(connect, server, 2)
    restart(server)
    wait_until(server.keepers, "a keeper")
    for wire in wires[:-1]:
        wire.send(frame(CLOSE, b"\x03\xe8"))
        wire.expect_close(1000)
        wire.close_socket()
    wires[-1].echo()
    wires[-1].close_socket()
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    assert status(server, "WebSocketKeepers") == 0
    assert status(server, "WebSockets") == 0
    assert "the last WebSocket has ended" in server.log()


def test_a_keeper_has_the_threads_of_its_child(httpd_factory, connect):
    """Those too that have no connection, and end when the others do."""
    server = httpd_factory(server_config="WebSocketThreads 5")
    wires = open_some(connect, server, 1)
    echo_all(wires)
    restart(server)
    echo_all(wires)
    keepers = server.keepers()
    for keeper in keepers:
        assert len(os.listdir(f"/proc/{keeper}/task")) > 1
    assert status(server, "WebSockets") == len(wires)
    for wire in wires:
        wire.close_socket()
    wait_until(lambda: not server.keepers(), "the keepers have ended")


@every_mpm
def test_a_child_without_connections_leaves_none(httpd_factory, mpm):
    server = httpd_factory(mpm=mpm)
    restart(server)
    assert not server.keepers()
    assert "keeper" not in server.log()


def test_the_time_of_a_keeper_ends(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketReload keep 1s\n"
                                         "WebSocketDrainTimeout 2s")
    wires = open_some(connect, server, 3)
    began = time.monotonic()
    restart(server)
    echo_all(wires)
    expect_end_of(wires, 1012)
    assert time.monotonic() - began >= 1
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    assert "the time of WebSocketReload is over" in server.log()
    echo_all(open_some(connect, server, 1))


def test_a_client_that_does_not_answer_does_not_hold_a_keeper(
        httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketReload keep 100ms\n"
                                         "WebSocketDrainTimeout 1s\n"
                                         "WebSocketCloseTimeout 1h")
    wires = open_some(connect, server, 1)
    restart(server)
    wait_until(lambda: "keeper ends" in server.log(), "end of the keeper")
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    for wire in wires:
        assert code_of(wire) == 1012


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGWINCH],
                         ids=["stop", "graceful-stop"])
@every_mpm
def test_keepers_end_with_httpd(httpd_factory, connect, mpm, how):
    server = httpd_factory(mpm=mpm)
    wires = open_some(connect, server, 2)
    for _ in range(2):
        restart(server)
        wires += open_some(connect, server, 2)
    began = time.monotonic()
    server.process.send_signal(how)
    expect_end_of(wires, 1001)
    server.process.wait(30)
    assert not server.pids()            # the parent is the last
    assert time.monotonic() - began < 10 + LIMIT


def test_a_graceful_stop_closes_while_requests_go_on(httpd_factory, connect):
    """Those of children that have nothing else to do, and of keepers."""
    server = httpd_factory()
    (server.document_root(False) / "large").write_bytes(bytes(64_000_000))
    wires = open_some(connect, server, 2)
    restart(server)
    wait_until(server.keepers, "a keeper")
    with socket.create_connection(server.address(False), LIMIT) as slow:
        slow.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(10)
        server.process.send_signal(signal.SIGWINCH)
        expect_end_of(wires, 1001)
        wait_until(lambda: not server.keepers(), "the keepers have ended")
        assert server.process.poll() is None
    server.process.wait(30)


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_loggers_at_the_end_of_a_pipe(httpd_factory, connect, mpm):
    """Each generation has its own, which is ended at a restart: a keeper's
    lines are lost then, and nothing else."""
    server = httpd_factory(
        mpm=mpm, server_config='CustomLog "|/bin/cat" short',
        vhost_config='ErrorLog "|/bin/cat"\nLogLevel websocket:debug')
    wires = open_some(connect, server, 2)
    for _ in range(3):
        began = time.monotonic()
        restart(server)
        assert time.monotonic() - began < LIMIT
        for _ in range(3):
            echo_all(wires)
            wires += open_some(connect, server, 1)
    for wire in wires:                  # a line for each
        wire.send(frame(CLOSE, b"\x03\xe8"))
        wire.expect_close(1000)
        wire.close_socket()
    wait_until(lambda: not server.keepers(), "the keepers have ended")


def test_keepers_end_with_an_httpd_that_has_no_websockets_any_more(
        httpd_factory, connect):
    server = httpd_factory()
    wires = open_some(connect, server, 1)
    server.remove_handlers()
    restart(server)
    echo_all(wires)
    server.process.send_signal(signal.SIGTERM)
    for wire in wires:
        assert code_of(wire) == 1001
        assert server.process.poll() is None    # it waits for the answers
        wire.send(frame(CLOSE, b"\x03\xe9"))
        wire.close_socket()
    server.process.wait(30)
    assert not server.pids()


@every_mpm
def test_signals_of_a_process_group(httpd_factory, connect, mpm):
    """Those of restarts are not for keepers, that of a stop is."""
    server = httpd_factory(mpm=mpm)
    wires = open_some(connect, server, 2)
    restart(server)
    keepers = wait_until(server.keepers, "a keeper")
    for pid in keepers:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH):
            os.kill(pid, number)
    echo_all(wires)
    assert server.keepers() == keepers
    for pid in keepers:
        os.kill(pid, signal.SIGTERM)
    expect_end_of(wires, 1001)
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    assert server.log().count("it was told to (SIGTERM)") == len(keepers)


@every_mpm
def test_keepers_end_when_the_parent_is_killed(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm,
                           server_config="WebSocketDrainTimeout 2s")
    wires = open_some(connect, server, 3)
    restart(server)
    wait_until(server.keepers, "a keeper")
    server.process.kill()
    expect_end_of(wires, 1001)
    wait_until(lambda: not server.keepers(), "the keepers have ended")
    assert "httpd's parent process has gone" in server.log()
    server.kill()                       # httpd's own children stay


def test_keepers_stay_at_a_restart_that_is_not_graceful(
        httpd_factory, connect):
    server = httpd_factory(mpm="prefork")   # it signals its process group
    kept = open_some(connect, server, 1)
    restart(server)
    wait_until(server.keepers, "a keeper")
    closed = open_some(connect, server, 1)
    server.process.send_signal(signal.SIGHUP)
    expect_end_of(closed, 1001)
    server.wait_for_log("resuming normal operations", 3)
    echo_all(kept)


def test_the_oldest_keepers_make_room(httpd_factory, connect):
    server = httpd_factory(descriptors=150,
                           server_config="WebSocketDrainTimeout 1s")
    wires = []
    while "at most" not in server.log() or len(wires) < 16:
        assert len(wires) < 60
        wires.append(connect(server))
        assert wires[-1].response.status == 101
        wires[-1].echo()
        restart(server)
    most = int(re.search(r"at most (\d+) may stay", server.log())[1])
    surplus = server.log().count("is to close its connections")
    assert len(wires) == most + surplus
    expect_end_of(wires[:surplus], 1012)
    echo_all(wires[surplus:])
    echo_all(open_some(connect, server, 1))


# --- WebSocketReload drain ---

@every_mpm
def test_drain_spreads_the_closes(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm,
                           server_config="WebSocketReload drain\n"
                                         "WebSocketDrainTimeout 4s")
    wires = open_some(connect, server, 8)
    server.restart()
    times = expect_end_of(wires, 1012)
    assert max(times) - min(times) > 1
    server.wait_for_end_of_old()
    assert not server.keepers()
    echo_all(open_some(connect, server, 1))


# --- what is left behind ---

def segments():
    return sorted(os.listdir("/dev/shm"))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid):
    """Its own, kB, however many children share it."""
    text = pathlib.Path("/proc", str(pid), "smaps_rollup").read_text()
    return int(re.search(r"^Anonymous:\s+(\d+)", text, re.M)[1])


@every_mpm
def test_restarts_leave_nothing_behind(httpd_factory, connect, mpm):
    server = httpd_factory(mpm=mpm, measures_memory=True)

    def turn():
        wires = open_some(connect, server, 1)
        restart(server)
        echo_all(wires)
        for wire in wires:
            wire.close_socket()
        wait_until(lambda: not server.keepers(), "the keepers have ended")

    for _ in range(2):
        turn()                          # httpd itself settles
    parent = server.process.pid
    before = descriptors(parent), segments()
    size = memory(parent)
    for _ in range(5):
        turn()
    # the sanitizer's allocator gives little back
    assert memory(parent) - size < (4096 if SANITIZED else 2048)
    most = 8 if mpm == "prefork" else 4     # ServerLimit
    wait_until(lambda: len(server.children()) <= most, "no child more")
    assert (descriptors(parent), segments()) == before
    assert status(server, "WebSockets") == 0


@every_mpm
def test_a_keeper_holds_no_listener(httpd_factory, connect, mpm):
    """Another server may have the port as soon as httpd has gone."""
    server = httpd_factory(mpm=mpm,
                           server_config="MaxConnectionsPerChild 20")
    wires = open_some(connect, server, 2)
    for _ in range(200):
        assert server.get("/page.txt", tls=False)[0] == 200
    keeper = wait_until(server.keepers, "a keeper")[0]
    wait_until(lambda: f"[pid {keeper}:" in server.log(), "it has begun")
    listening = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().split("\n")[1:-1]:
        fields = line.split()
        if fields[3] == "0A":           # LISTEN
            listening.add(f"socket:[{fields[9]}]")
    folder = pathlib.Path(f"/proc/{keeper}/fd")
    held = {os.readlink(fd) for fd in folder.iterdir()}
    assert listening and not held & listening
    echo_all(wires)


# --- around it ---

MOVED = r"""
#include <mod_websocket.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

static void moved(websocket_context_t *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "%s", "plugin moved");
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "moved", .message = message, .moved = moved,
};
"""


def test_a_handler_is_told(httpd_factory, connect, tmp_path):
    plugin = build(tmp_path, MOVED)
    server = httpd_factory(config=f"""
        <Location "/ws/moved">
            WebSocketHandler {plugin}
        </Location>""")
    wire = connect(server, "/ws/moved")
    wire.echo()
    assert "plugin moved" not in server.log()
    for _ in range(2):
        restart(server)
        wire.echo()
    assert server.log().count("plugin moved") == 1
    assert re.search(rf"\[pid {server.keepers()[0]}:.*plugin moved",
                     server.log())


BLOCKS = r"""
#include <mod_websocket.h>
#include <unistd.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    if (length == 5) {
        sleep(60);
    }
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "blocks", .message = message,
};
"""


def test_a_handler_that_blocks_does_not_hold_up_a_restart(
        httpd_factory, connect, tmp_path):
    plugin = build(tmp_path, BLOCKS)
    server = httpd_factory(server_config="WebSocketDrainTimeout 1s", config=f"""
        <Location "/ws/blocks">
            WebSocketHandler {plugin}
        </Location>""")
    wire = connect(server, "/ws/blocks")
    wire.echo(b"x")
    wire.send(frame(BINARY, b"block"))
    wait_until(lambda: status(server, "WebSockets") == 1, "it is there")
    server.restart()
    connect(server, "/ws/blocks").echo(b"x")
    wait_until(lambda: "a WebSocket handler blocks its thread"
               in server.log(), "it is told", limit=60)
    server.wait_for_end_of_old()


def test_a_first_process_is_not_confused(connect, tmp_path):
    """In a container httpd may be process 1, whose children keepers become
    when the child that forked them has ended."""
    server = Httpd(tmp_path / "httpd")
    server.before_exec = adopt
    server.start()
    try:
        wires = open_some(connect, server, 2)
        for _ in range(2):
            restart(server)
        echo_all(wires)
        keepers = wait_until(server.keepers, "a keeper")
        for pid in keepers:
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
            assert f"PPid:\t{server.process.pid}\n" in text
        for wire in wires:
            wire.close_socket()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}")
                                   for pid in keepers), "no zombie is left")
        wires = open_some(connect, server, 1)
        restart(server)
        echo_all(wires)
        server.process.send_signal(signal.SIGTERM)
        expect_end_of(wires, 1001)
    finally:
        server.stop()


def adopt():
    """From now on this process, whatever it executes, is the parent of what
    its children leave."""
    subreaper = 36                      # PR_SET_CHILD_SUBREAPER
    assert ctypes.CDLL(None).prctl(subreaper, 1, 0, 0, 0) == 0


FAILS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* In httpd's children fork() fails; in a keeper no thread can be had. */
pid_t fork(void)
{
    pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");

    if (NO_FORK && geteuid() != 0) {
        errno = EAGAIN;
        return -1;
    }
    return real();
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                   void *(*run)(void *), void *baton)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                void *) =
        (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                 void *))dlsym(RTLD_NEXT, "pthread_create");
    static int calls;
    char name[17] = "";

    prctl(PR_GET_NAME, name);
    return !NO_FORK && strcmp(name, "httpd-keeper") == 0 &&
                   calls++ >= THREADS
               ? EAGAIN
               : real(thread, attributes, run, baton);
}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="httpd's children are told by "
                                              "their user")
@pytest.mark.parametrize("mpm", ["event", "prefork"])
@pytest.mark.parametrize("what", ["process", "thread", "third thread"])
def test_where_none_can_be_had(httpd_factory, connect, tmp_path, mpm, what):
    """No process, no thread: the connections are closed in order."""
    library = build(tmp_path, FAILS.replace(
        "NO_FORK", "1" if what == "process" else "0").replace(
            "THREADS", "2" if what == "third thread" else "0"),
        "-std=gnu11", "-ldl")
    server = httpd_factory(mpm=mpm, preload=[library], server_config=f"""
        WebSocketDrainTimeout 2s
        WebSocketThreads {3 if what == "third thread" else 1}""")
    wires = open_some(connect, server, 6)
    server.restart()
    expect_end_of(wires, 1012)
    server.wait_for_end_of_old()
    server.wait_for_log("no keeper of WebSockets can be had"
                        if what == "process" else "no thread is to be had")
    wait_until(lambda: not server.keepers(), "there is no keeper")
    echo_all(open_some(connect, server, 1))


def test_keeper_that_was_killed_is_told_of(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketMaxConnections 8")
    open_some(connect, server, 2)
    server.restart()
    server.wait_for_end_of_old()
    killed = server.keepers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for pid in killed:          # httpd looks every ten seconds or so
        wait_until(lambda: f"process {pid}, has ended without a word"
                   in server.log(), "it is told", 30)
    echo_all(open_some(connect, server, 2))     # their seats are free


CLOCK = r"""
#include <mod_websocket.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *look_at_the_clock(void *unused)
{
    time_t now = time(NULL);
    struct tm parts;

    (void)unused;
    for (;;) {
        localtime_r(&now, &parts);
    }
    return NULL;
}

static void start(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, look_at_the_clock, NULL);
}

static void opened(websocket_t *ws)
{
    (void)ws;
    pthread_once(&once, start);
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "clock", .open = opened, .message = message,
};
"""


def test_keeper_that_hangs_is_ended(httpd_factory, connect, tmp_path):
    """A thread of a handler has the lock of the time zone at the fork; log
    lines need it."""
    server = httpd_factory(server_config="WebSocketDrainTimeout 1s",
                           config=f"""
        <Location "/ws/clock">
            WebSocketHandler {build(tmp_path, CLOCK, "-pthread")}
        </Location>""")
    for _ in range(3):
        for wire in [connect(server, "/ws/clock") for _ in range(4)]:
            wire.echo()
        server.restart()
        server.wait_for_end_of_old()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)
    wait_until(lambda: not server.pids(), "no process is left", 30)
