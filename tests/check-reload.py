#!/usr/bin/python3
"""Restarts under load, in the full size: prints figures, and fails if one
WebSocket was closed, one message lost or doubled, one request not answered,
or anything left behind. tests/e2e/test_keeper.py has the same in small."""
import argparse
import itertools
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "e2e"))

from httpd import Httpd, wait_until                             # noqa: E402
from test_keeper import Talker, Visitor, joined, next_chat, status  # noqa: E402
from wire import TEXT, Wire, frame                              # noqa: E402

LIMIT = 60
UNLIMITED = "WebSocketMaxConnectionsPerClient 0"


def connect(server, path="/ws/echo", tls=False, secure=False):
    wire = Wire(server.address(tls), secure)
    wire.socket.settimeout(LIMIT)
    assert wire.open(path).status == 101
    return wire


class Room(threading.Thread):
    """A chat whose members come in all generations: each message comes to each
    member once, in one order."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.members = []
        self.rounds = 0
        self.running = True
        self.wrong = None

    def run(self):
        try:
            for number in itertools.count():
                if not self.running:
                    return
                # Two from the start: each message is seen by somebody before
                # the next is said, or another comes.
                while len(self.members) < min(2 + number // 50, 20):
                    self.members.append(joined(
                        connect, self.server, f"m{len(self.members)}",
                        len(self.members)))
                self.say(f"message {number}", number % len(self.members))
                self.rounds += 1
        except Exception as error:      # noqa: BLE001
            self.wrong = repr(error)

    def say(self, text, who):
        self.members[who].send(frame(TEXT, json.dumps(
            {"type": "chat", "message": text})))
        for member in self.members:
            if member is not self.members[who]:
                got = next_chat(member)
                assert got == text, (got, text)


def memory(pids):
    """Megabytes that these processes have together, shared ones once."""
    total = 0
    for pid in pids:
        try:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return total / 1024


def check(threads):
    for thread in threads:
        assert thread.wrong is None, thread.wrong


def under_load(server, connections, restarts):
    began = time.monotonic()
    wires = [connect(server, tls=i % 2 == 1, secure=i % 2 == 1)
             for i in range(connections)]
    print(f"  {connections} WebSockets, half of them TLS, opened in "
          f"{time.monotonic() - began:.1f} s")
    talkers = [Talker(wires[i::8]) for i in range(8)]
    visitors = [Visitor(server, connect, i % 2 == 1) for i in range(2)]
    room = Room(server)
    threads = [*talkers, *visitors, room]
    for thread in threads:
        thread.start()
    times, shells = [], []
    for _ in range(restarts):
        rounds = [thread.rounds for thread in threads]
        began = time.monotonic()
        server.restart()
        times.append(time.monotonic() - began)
        server.wait_for_end_of_old()
        shells.append(time.monotonic() - began)
        wait_until(lambda: any(t.wrong for t in threads) or all(
            t.rounds > r for t, r in zip(threads, rounds)),
            "all go on", LIMIT * 2)
        check(threads)
    for thread in threads:
        thread.running = False
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    check(threads)
    messages = sum(t.rounds * len(t.wires) * 3 for t in talkers)
    print(f"  {restarts} graceful restarts: the new children were there after "
          f"{max(times):.2f} s, the old ones gone after {max(shells):.2f} s "
          "(each the longest)")
    print(f"  {messages} messages came back once and in order, "
          f"{room.rounds} of a room of {len(room.members)} members; "
          f"{sum(v.rounds for v in visitors)} pages, and as many new "
          "WebSockets, were served")
    keepers = server.keepers()
    print(f"  {len(keepers)} keepers; all processes have "
          f"{memory(server.pids()):.0f} MB")
    assert status(server, "WebSockets") == connections + len(room.members)
    assert server.log().count("keeper ends") == (
        server.log().count("keeper begins") - len(keepers))
    for wire in wires + room.members:
        wire.close_socket()
    began = time.monotonic()
    wait_until(lambda: not server.keepers(), "keepers end", LIMIT)
    print(f"  the keepers ended {time.monotonic() - began:.2f} s after the "
          "last client had gone")


def leaves_nothing(server, restarts):
    def turn():
        wires = [connect(server, tls=i % 2 == 1, secure=i % 2 == 1)
                 for i in range(40)]
        server.restart()
        server.wait_for_end_of_old()
        for wire in wires:
            wire.echo()
            wire.close_socket()
        wait_until(lambda: not server.keepers(), "keepers end", LIMIT)

    def state():
        parent = server.process.pid
        return (len(os.listdir(f"/proc/{parent}/fd")),
                sorted(os.listdir("/dev/shm")),
                pathlib.Path("/proc/sysvipc/shm").read_text().count("\n"))

    for _ in range(5):
        turn()
    before, size = state(), memory([server.process.pid])
    processes = len(server.pids())
    for _ in range(restarts):
        turn()
    after, grown = state(), memory([server.process.pid])
    wait_until(lambda: len(server.pids()) <= processes + 2,
               "no process is left")
    print(f"  {restarts} more restarts: descriptors of the parent "
          f"{before[0]}, then {after[0]}; its memory {size:.1f} MB, then "
          f"{grown:.1f} MB; segments in /dev/shm {len(before[1])}, then "
          f"{len(after[1])}; of System V {before[2] - 1}, then "
          f"{after[2] - 1}; processes {processes}, then {len(server.pids())}")
    assert before == after
    assert grown < size + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mpm", action="append")
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--more-restarts", type=int, default=50)
    arguments = parser.parse_args()
    for mpm in arguments.mpm or ["event", "worker", "prefork"]:
        print(f"{mpm}:", flush=True)
        with tempfile.TemporaryDirectory(prefix="mod_websocket-") as folder:
            server = Httpd(pathlib.Path(folder) / "httpd", mpm=mpm,
                           server_config=UNLIMITED).start()
            try:
                under_load(server, arguments.connections, arguments.restarts)
                leaves_nothing(server, arguments.more_restarts)
                server.stop()
            except BaseException:
                print(server.log()[-5000:])
                server.kill()
                raise


if __name__ == "__main__":
    main()
