"""A network that delays, loses, or is cut: httpd in a network namespace of its
own, at the other end of a cable. This end of it, and the test, are in another
one, so that browsers of other tests do not see their network change. The
namespaces, and with them the cable, end with the processes that hold them."""
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time

import pytest

from httpd import wait_until
from wire import BINARY, PING, PONG, TEXT, close_frame, frame

OURS, THEIRS = "192.0.2.1", "192.0.2.2"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def enter(path):
    """This thread is in that network namespace from now on."""
    CLONE_NEWNET = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


class Cable:
    """Two namespaces, and a pair of virtual interfaces between them. What is
    sent from ours can be treated by the kernel's netem."""

    def __init__(self):
        self.name, self.peer = "ours", "theirs"
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.near, self.holder = (subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2))
        try:
            for holder in (self.near, self.holder):
                if not holder.stdout.readline():
                    raise OSError(holder.stderr.read().decode())
            self.prefix = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
            enter(f"/proc/{self.near.pid}/ns/net")
            run("ip", "link", "set", "lo", "up")
            self.plug_in()
            run("ip", "address", "add", f"{OURS}/30", "dev", self.name)
            run("ip", "link", "set", self.name, "up")
            self.inside("ip", "address", "add", f"{THEIRS}/30", "dev",
                        self.peer)
            self.inside("ip", "link", "set", self.peer, "up")
            self.inside("ip", "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    def plug_in(self):
        run("ip", "link", "add", self.name, "type", "veth", "peer",
            "name", self.peer, "netns", self.holder.pid)

    def inside(self, *command):
        return run(*self.prefix, *command)

    def shape(self, delay, jitter, loss):
        """Milliseconds, and per cent."""
        run("tc", "qdisc", "replace", "dev", self.name, "root", "netem",
            "delay", f"{delay}ms", f"{jitter}ms", "loss", f"{loss}%")

    def waiting(self, port):
        """Bytes that httpd has sent and nobody has acknowledged."""
        lines = self.inside("cat", "/proc/net/tcp").split("\n")[1:]
        fields = [line.split() for line in lines if line]
        return sum(int(field[4].split(":")[0], 16) for field in fields
                   if field[1].endswith(f":{port:04X}") and field[3] == "01")

    def cut(self):
        run("ip", "link", "set", self.name, "down")

    def mend(self):
        run("ip", "link", "set", self.name, "up")

    def remove(self):
        enter(f"/proc/self/fd/{self.home}")
        os.close(self.home)
        for holder in (self.near, self.holder):
            holder.kill()
            holder.wait()


class Relay(Cable):
    """The same without netem: packets go through a thread of ours, which
    delays and loses them, in both directions."""

    TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 0x0001, 0x1000

    def plug_in(self):
        self.delay = self.jitter = self.loss = 0
        self.running = True
        self.random = random.Random(6455)
        self.ends = [self.interface(name) for name in (self.name, self.peer)]
        run("ip", "link", "set", self.peer, "netns", self.holder.pid)
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def interface(self, name):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, self.TUNSETIFF, struct.pack(
            "16sH", name.encode(), self.IFF_TUN | self.IFF_NO_PI))
        return fd

    def shape(self, delay, jitter, loss):
        self.delay, self.jitter, self.loss = delay, jitter, loss

    def carry(self):
        waiting, numbers = [], itertools.count()
        while self.running:
            for fd in select.select(self.ends, [], [], 0.002)[0]:
                packet = self.receive(fd)
                if packet and self.random.random() * 100 >= self.loss:
                    ms = self.delay + self.random.uniform(-1, 1) * self.jitter
                    heapq.heappush(waiting, (time.monotonic() + ms / 1000,
                                             next(numbers), fd, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, fd, packet = heapq.heappop(waiting)
                self.deliver(self.ends[fd == self.ends[0]], packet)

    @staticmethod
    def receive(fd):
        try:
            return os.read(fd, 65536)
        except OSError:             # not up yet
            return b""

    @staticmethod
    def deliver(fd, packet):
        try:
            os.write(fd, packet)
        except OSError:             # down, or full: lost
            pass

    def remove(self):
        self.running = False
        if hasattr(self, "thread"):
            self.thread.join()
        for fd in getattr(self, "ends", []):
            os.close(fd)
        super().remove()


def lay(kind):
    for tool in ("ip", "tc", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} here")
    try:
        return kind()
    except (OSError, AssertionError) as error:
        pytest.skip(f"no network namespace can be had here: {error}")


@pytest.fixture
def cable():
    cable = lay(Cable)
    yield cable
    cable.remove()


@pytest.fixture(params=[Cable, Relay], ids=["netem", "relay"])
def shaped(request):
    cable = lay(request.param)
    try:
        cable.shape(0, 0, 0)
    except AssertionError:
        cable.remove()
        pytest.skip("the kernel here has no netem (CONFIG_NET_SCH_NETEM)")
    yield cable
    cable.remove()


@pytest.fixture
def far_server(httpd_factory):
    def make(cable, config):
        return httpd_factory(prefix=cable.prefix, host=THEIRS,
                             server_config=config, log_level="debug")
    return make


def is_told(server, code):
    """The handler's close has run."""
    return f"echo: closed with {code}" in server.log()


@pytest.mark.parametrize("secure", [False, True])
def test_cut_cable_is_noticed_within_the_ping_time(cable, far_server, connect,
                                                   secure):
    server = far_server(cable, "WebSocketPing 1s 1s")
    wires = [connect(server, tls=secure, secure=secure) for _ in range(3)]
    for wire in wires:
        wire.echo()
    cable.cut()
    began = time.monotonic()
    wait_until(lambda: server.log().count("echo: closed with 1006") == 3,
               "the handler's close runs")
    # a second of silence, and one of waiting for the answer
    assert time.monotonic() - began > 0.9
    assert server.log().count("no answer to a ping") == 3
    cable.mend()
    connect(server, tls=secure, secure=secure).echo()


def test_cable_that_is_mended_in_time_loses_nothing(cable, far_server,
                                                    connect):
    server = far_server(cable, "WebSocketPing 1s 60s")
    wire = connect(server)
    wire.echo()
    cable.cut()
    wire.send(frame(TEXT, "on its way"))
    wait_until(lambda: cable.waiting(server.port) > 0,
               "a ping goes nowhere")
    cable.mend()
    got = []
    while "on its way" not in got:
        opcode, data, _ = wire.read_frame()
        assert opcode in (PING, TEXT), (opcode, data)
        got.append(data.decode())
    assert "closed" not in server.log()
    wire.send(close_frame(1000))
    wait_until(lambda: is_told(server, 1000), "it is closed in order")


def test_delay_and_loss_lose_no_message(shaped, far_server, connect):
    server = far_server(shaped, "WebSocketPing 2s 10s")
    shaped.shape(30, 10, 3)
    wires = [connect(server, tls=tls, secure=tls) for tls in (False, True)]
    for i in range(20):
        for wire in wires:
            wire.send(frame(BINARY, bytes([i]) * 3000))
    for i in range(20):
        for wire in wires:
            opcode, data, _ = wire.read_frame()
            while opcode == PING:
                wire.send(frame(PONG, data))
                opcode, data, _ = wire.read_frame()
            assert (opcode, data) == (BINARY, bytes([i]) * 3000)


def test_all_lost_is_noticed_within_the_ping_time(shaped, far_server,
                                                  connect):
    server = far_server(shaped, "WebSocketPing 1s 1s")
    connect(server).echo()
    shaped.shape(0, 0, 100)
    wait_until(lambda: is_told(server, 1006), "the handler's close runs")
    assert "no answer to a ping" in server.log()
    shaped.shape(0, 0, 0)
    connect(server).echo()
