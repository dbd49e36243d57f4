"""Restart and stop under load: no crash, no process left behind."""
import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from httpd import wait_until
from wire import BINARY, CLOSE, frame

# The signal, and the code that WebSockets are closed with. That a graceful
# restart closes none without "WebSocketReload drain" is in test_keeper.py.
ENDINGS = {
    "stop": (signal.SIGTERM, 1001),
    "restart": (signal.SIGHUP, 1001),
    "drain": (signal.SIGUSR1, 1012),
    "graceful-stop": (signal.SIGWINCH, 1001),
}


class Load(threading.Thread):
    """Connects, echoes, closes or vanishes, again and again."""

    def __init__(self, server, connect):
        super().__init__(daemon=True)
        self.server, self.connect = server, connect
        self.running = True
        self.echoed = 0
        self.codes = ()         # that it may be closed with
        self.wrong = []

    def run(self):
        while self.running:
            try:
                wire = self.connect(self.server, tls=random.random() < 0.5,
                                    secure=None)
            except (OSError, AssertionError):
                continue            # the server is away for a moment
            try:
                self.talk(wire)
            except (OSError, AssertionError):
                pass                # closed in the middle
            finally:
                wire.close_socket()

    def talk(self, wire):
        for _ in range(random.randrange(1, 20)):
            data = os.urandom(random.choice([1, 100, 5000]))
            wire.send(frame(BINARY, data))
            opcode, got, _ = wire.read_frame()
            if opcode == CLOSE:
                code = int.from_bytes(got[:2], "big")
                if code not in self.codes:
                    self.wrong.append(code)
                return
            if got != data:
                self.wrong.append("other data")
            self.echoed += 1
        if random.random() < 0.5:
            wire.send(frame(CLOSE, b"\x03\xe8"))


@pytest.fixture
def load(connect):
    loads = []

    def make(server, count=6):
        def both(server, tls, secure):
            return connect(server, tls=tls, secure=tls)
        for _ in range(count):
            loads.append(Load(server, both))
            loads[-1].start()
        wait_until(lambda: sum(x.echoed for x in loads) > 50, "load runs")
        return loads

    yield make
    for one in loads:
        one.running = False
    for one in loads:
        one.join(30)
        assert not one.wrong


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_open_connections_are_closed_in_order(connect, httpd_factory, mpm,
                                              ending):
    how, code = ENDINGS[ending]
    server = httpd_factory(mpm=mpm,
                           server_config="WebSocketReload drain\n"
                                         "WebSocketDrainTimeout 4s"
                           if ending == "drain" else "")
    wires = [connect(server, tls=tls, secure=tls)
             for tls in (False, True) for _ in range(10)]
    for wire in wires:
        wire.echo()
    server.old_children = server.children()
    server.process.send_signal(how)

    def is_closed(wire):
        opcode, data, _ = wire.read_frame()
        assert opcode == CLOSE
        assert int.from_bytes(data[:2], "big") == code
        wire.send(frame(CLOSE, data))
        wire.expect_end()
        wire.close_socket()

    with ThreadPoolExecutor(len(wires)) as pool:
        list(pool.map(is_closed, wires))
    if ending in ("restart", "drain"):
        server.wait_for_log("resuming normal operations", 2)
        server.wait_for_end_of_old()
        wait_until(server.answers, "httpd answers again")
        connect(server).echo()
    else:
        server.process.wait(30)
        wait_until(lambda: not server.pids(), "no process is left")


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_graceful_restarts_under_load(connect, httpd_factory, load, mpm):
    server = httpd_factory(mpm=mpm)
    loads = load(server)
    for _ in range(5):
        before = sum(one.echoed for one in loads)
        server.restart()
        wait_until(lambda: sum(one.echoed for one in loads) > before + 50,
                   "load goes on")
    for one in loads:
        one.running = False
    for one in loads:
        one.join(30)
    # no more processes than the MPM asks for: old children are gone
    wait_until(lambda: len(server.children()) <= 8, "old children are gone")
    wait_until(lambda: not server.keepers(), "keepers are gone")
    server.check_end()


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_stop_under_load(httpd_factory, load, mpm):
    server = httpd_factory(mpm=mpm)
    loads = load(server)
    for one in loads:
        one.codes = (1001,)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(30)
    wait_until(lambda: not server.pids(), "no process is left")
    for one in loads:
        one.running = False
    server.check_end()


def test_client_that_does_not_answer_a_close_does_not_delay_the_stop(
        connect, httpd_factory):
    server = httpd_factory()
    wires = [connect(server) for _ in range(10)]
    for wire in wires:              # a hard stop kills what httpd still has
        wire.echo()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(15)         # nobody answers: dropped in 2 s
    wait_until(lambda: not server.pids(), "no process is left")
    for wire in wires:
        assert wire.read_frame()[0] == CLOSE


def test_a_child_that_is_killed_takes_only_its_own(connect, httpd_factory):
    server = httpd_factory(log_level="debug")
    wires = [connect(server) for _ in range(20)]
    for wire in wires:
        wire.echo()
    victim = next(int(line.split("[pid ")[1].split(":")[0])
                  for line in server.log().split("\n") if "echo: open" in line)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in server.pids(), "child is dead")
    connect(server).echo()
    alive = 0
    for wire in wires:
        try:
            wire.echo()
            alive += 1
        except (OSError, AssertionError):
            pass
    lived_there = server.log().count(f"[pid {victim}:")
    assert alive >= 20 - lived_there
    # a child killed by hand is "exit signal Killed": expected here
    server.error_log.write_text("")


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_descriptors_are_left_for_pages(connect, httpd_factory, mpm):
    """A crowd of idle WebSockets must not end a child, or all of httpd."""
    server = httpd_factory(mpm=mpm, descriptors=300)
    wires = []
    refused = 0
    while refused < 50:
        assert len(wires) < 4000
        wire = connect(server)
        if wire.response.status == 101:
            wires.append(wire)
            refused = 0
        else:
            assert wire.response.status == 503
            assert wire.response.headers["retry-after"] == "30"
            wire.close_socket()
            refused += 1
    assert len(wires) > 100
    for _ in range(50):
        assert server.get("/page.txt", tls=False)[0] == 200
    for wire in wires:
        wire.echo()
    assert "new WebSockets are refused" in server.log()
    for wire in wires:
        wire.close_socket()
    wait_until(lambda: connect(server).response.status == 101,
               "room for new ones")


def test_too_many_descriptors_are_told_at_the_start(httpd_factory):
    with pytest.raises(AssertionError) as caught:
        httpd_factory(server_config="WebSocketThreads 64", descriptors=200)
    assert "descriptors for WebSockets cannot be had" in str(caught.value)


def test_lines_go_to_the_log_of_the_virtual_host(connect, httpd_factory):
    server = httpd_factory(vhost_config="""
        ErrorLog vhost.log
        LogLevel websocket:debug""")
    connect(server, tls=True, secure=True).echo()
    log = server.directory / "vhost.log"
    wait_until(lambda: "echo: open" in log.read_text(), "line in vhost.log")
    assert "echo: open" not in server.log()


def test_log_size_change_needs_a_start(httpd_factory):
    server = httpd_factory()
    server.append_config("\nWebSocketLogSize 8M\n")
    server.restart()
    server.wait_for_log("WebSocketLogSize takes effect when httpd is stopped")
