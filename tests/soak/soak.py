"""The soak test: a real httpd under thousands of clients, and restarts, for as
long as you like; then everything must be as it was.

    make soak MINUTES=60 [SANITIZE=address] [SOAK="--clients 3000 --seed 7"]

docs/reliability.md says what is judged. The exit status is 0 if all is good.
"""
import argparse
import collections
import multiprocessing
import pathlib
import queue
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from httpd import HANDLERS, SANITIZED, Httpd, wait_until    # noqa: E402
from kinds import STRICT_FRAGMENTS, STRICT_MESSAGE          # noqa: E402
from lines import ErrorLog                                  # noqa: E402
from load import RESTART_EFFECT, raise_descriptor_limit, run_load   # noqa: E402
from measure import Snapshot, busy_workers, counters        # noqa: E402
from streams import run_streams                             # noqa: E402

MIB = 1 << 20
PROCESSES = 2                       # of clients, besides that for HTTP/2
LOOKS = 3                           # at rest, after the last restart
CALM_LIMIT = 180                    # seconds until all is quiet
CHILDREN = {"event": 3, "worker": 3, "prefork": 40}
MPM = {
    "event": """
        StartServers 3
        ServerLimit 16
        ThreadLimit 100
        ThreadsPerChild 100
        MaxRequestWorkers 300
        MinSpareThreads 1
        MaxSpareThreads 300
        AsyncRequestWorkerFactor 20
    """,
    "prefork": """
        StartServers 40
        ServerLimit 80
        MaxRequestWorkers 40
        MinSpareServers 1
        MaxSpareServers 40
    """,
}
MPM["worker"] = MPM["event"].replace("AsyncRequestWorkerFactor 20", "")
CONFIG = f"""
    RequestReadTimeout header=3-6,MinRate=500 handshake=3
    MaxMemFree 16
    SSLSessionCacheTimeout 5
    WebSocketLogSize 8M
    WebSocketMaxConnectionsPerClient 0
    <Location "/ws/pinged">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketPing 5 60
    </Location>
    <Location "/ws/silent">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketPing 1 1
        WebSocketCloseTimeout 2
    </Location>
    <Location "/ws/slow">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketPing 200 100
        WebSocketCloseTimeout 100
    </Location>
    <Location "/ws/strict">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketMaxMessage {STRICT_MESSAGE}
        WebSocketMaxFragments {STRICT_FRAGMENTS}
    </Location>
    <Location "/ws/takeover">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketCompression on takeover=on threshold=0 window=11
    </Location>
    <Location "/ws/flood">
        WebSocketHandler {HANDLERS}/websocket_chat.so
        WebSocketSendQueue 64K
        WebSocketCloseTimeout 2
    </Location>
"""
# What may differ between two quiet moments, in bytes of own memory: what the
# allocator keeps differs with what was asked of it at the worst moment. The
# sanitizer's keeps far more, and is not judged.
CHILD_GROWTH = float("inf") if SANITIZED else 8 * MIB
PARENT_GROWTH = float("inf") if SANITIZED else 2 * MIB


class Control:
    """What the processes of clients are told, and where they report to."""
    GO, LEAVE, END = range(3)

    def __init__(self, options, server):
        self.seed, self.clients = options.seed, options.clients // PROCESSES
        self.is_kept = options.restarts == "kept"
        self.addresses = {s: server.address(s) for s in (False, True)}
        self.command = multiprocessing.Value("i", self.LEAVE)
        self.restarted_at = multiprocessing.Value("d", -1e9)
        self.queue = multiprocessing.Queue()


class Soak:
    def __init__(self, options, directory):
        self.options = options
        self.has_h2 = options.mpm != "prefork"
        self.server = Httpd(directory / "httpd", mpm=options.mpm,
                            server_config=MPM[options.mpm] + CONFIG
                            + ("H2StreamTimeout 10\n" if self.has_h2 else ""),
                            log_level="info", measures_memory=True,
                            http2=self.has_h2)
        self.log = ErrorLog(self.server.error_log)
        self.rng = random.Random(options.seed)
        self.control = Control(options, self.server)
        self.tally = collections.Counter()
        self.open = {}              # process of clients: how many it has
        self.bad = []               # what is wrong
        self.processes = []
        self.restarts = 0
        self.most_open = 0
        self.begin = self.reported = time.monotonic()
        self.last = collections.Counter()
        self.looks = []             # (name, snapshot) at rest

    # --- the processes of clients ---

    def start_processes(self):
        targets = [run_load] * PROCESSES + [run_streams] * self.has_h2
        for number, target in enumerate(targets):
            process = multiprocessing.Process(
                target=target, args=(self.control, number), daemon=True)
            process.start()
            self.processes.append(process)

    def collect(self, seconds):
        """Takes reports for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                number, clients, tally, failures = self.control.queue.get(
                    timeout=min(left, 0.5))
            except queue.Empty:
                continue
            self.open[number] = clients
            self.tally.update(tally)
            for text in failures:
                self.tell_bad(text)

    def tell_bad(self, text):
        self.bad.append(text)
        if len(self.bad) <= 30:
            say(f"BAD: {text}")

    def check_processes(self):
        for process in self.processes:
            if not process.is_alive():
                raise AssertionError("a process of clients has ended")

    # --- httpd ---

    def watch(self):
        self.check_processes()
        known = set(self.log.unexplained)
        self.log.read()
        for line in set(self.log.unexplained) - known:
            self.tell_bad(f"unexplained line: {line}")
        for report in self.server.directory.glob("sanitizer.*"):
            raise AssertionError(f"the sanitizer says:\n{report.read_text()}")
        if self.server.process.poll() is not None:
            raise AssertionError("httpd has ended")

    def restart(self):
        before = self.log.restarts
        self.control.restarted_at.value = time.monotonic()
        self.server.process.send_signal(signal.SIGUSR1)

        def is_there():
            self.collect(0.2)
            self.watch()
            return self.log.restarts > before
        wait_until(is_there, "graceful restart", 60)
        self.restarts += 1

    # --- phases ---

    def run_clients(self, seconds, restart_every=None):
        """Under load for so long; with restarts, if so."""
        self.control.command.value = Control.GO
        now = time.monotonic()
        end = now + seconds
        next_restart = self.next_restart(now, restart_every)
        while time.monotonic() < end:
            self.collect(1)
            self.watch()
            self.count_open()
            now = time.monotonic()
            if restart_every and now >= next_restart:
                self.restart()
                next_restart = self.next_restart(now, restart_every)
            if now - self.reported >= 60:
                self.report()

    def count_open(self):
        count = counters(self.server)["WebSockets"]
        self.most_open = max(self.most_open, count)
        return count

    def next_restart(self, now, every):
        return now + every * self.rng.uniform(0.7, 1.3) if every else None

    def settle(self):
        """Clients leave; waits until httpd has noticed, and is at rest."""
        self.control.command.value = Control.LEAVE
        wanted = len(self.processes)
        begin = time.monotonic()

        def have_left():
            self.collect(0.5)
            self.watch()
            return list(self.open.values()).count(-1) == wanted
        wait_until(have_left, "all clients have left", 500)
        left = time.monotonic()

        def is_quiet():
            self.collect(0.3)
            self.watch()
            now = counters(self.server)
            return (now["WebSockets"] == 0
                    and now["WebSocketCompressionMemory"] == 0
                    and len(self.server.children())
                    == CHILDREN[self.options.mpm]
                    and busy_workers(self.server) == 1)
        try:
            wait_until(is_quiet, "quiet", CALM_LIMIT)
        except AssertionError:
            self.tell_bad(
                f"httpd is not quiet {CALM_LIMIT} s after its clients left: "
                f"{counters(self.server)}, {len(self.server.children())} "
                f"children, {busy_workers(self.server)} busy workers")
        say(f"all clients have left after {left - begin:.0f} s, httpd is at "
            f"rest {time.monotonic() - left:.0f} s later")

    def snapshot(self, name, before=None):
        """At rest. What is counted must be as before, within a time."""
        self.settle()
        now = Snapshot(self.server)
        end = time.monotonic() + CALM_LIMIT / 3
        while (before is not None and time.monotonic() < end
               and any(differences(before, now))):
            self.collect(1)
            now = Snapshot(self.server)
        if before is not None:
            for text in [*differences(before, now), *growth(before, now)]:
                self.tell_bad(f"{name}: {text}")
        say(f"{name}: {describe(now)}")
        self.looks.append((name, now))
        return now

    def run(self):
        seconds = self.options.minutes * 60
        warm_up = min(60, seconds / 8)
        every = min(self.options.restart_every, seconds / 10)
        raise_descriptor_limit()
        self.server.start()
        self.start_processes()
        # Children of the same age under the same load are compared: those of
        # the last restart, and the parent, which lives from the first.
        self.run_clients(warm_up)
        self.restart()
        self.run_clients(warm_up)
        first = self.snapshot("after the warm-up")
        self.run_clients(seconds * 0.45, every)
        self.restart()
        self.run_clients(warm_up)
        second = self.snapshot("after the restarts", first)
        for part in range(1, LOOKS + 1):
            self.run_clients((seconds * 0.55 - 3 * warm_up) / LOOKS)
            self.snapshot("at the end" if part == LOOKS
                          else f"{part}/{LOOKS} without restarts", second)

    def end(self):
        self.control.command.value = Control.END
        for process in self.processes:
            process.join(30)
            process.terminate()
        try:
            self.stop_httpd()
        except (AssertionError, OSError,
                subprocess.TimeoutExpired) as error:
            self.tell_bad(f"at httpd's end: {str(error)[-3000:]}")
        finally:
            self.server.kill()
        self.log.read()
        left = list(self.log.unexplained)
        if left:
            say(f"{len(left)} kinds of lines of the log are unexplained:")
            for line in left[:20]:
                print(f"    {self.log.unexplained[line]} x {line}")

    def stop_httpd(self):
        """It ends, with all of its processes, and nobody crashed."""
        server = self.server
        if server.process is None:
            return
        connection = server.hold_still() if self.has_h2 else None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        wait_until(lambda: not server.pids(), "no process is left", 60)
        if connection is not None:
            connection.close()
        server.check_end()

    # --- telling ---

    def report(self):
        now = time.monotonic()
        elapsed = now - self.reported
        delta = self.tally - self.last
        self.reported, self.last = now, self.tally.copy()
        count = self.count_open()
        own = sum(p.own for p in Snapshot(self.server).processes())
        say(f"{(now - self.begin) / 60:4.0f} min: {count} open, "
            f"{sum_of(self.tally, 'connections')} connections, "
            f"{delta['sent'] / elapsed:.0f} + {delta['received'] / elapsed:.0f}"
            f" messages/s, {self.restarts} restarts, own memory {mib(own)} MiB,"
            f" {len(self.bad)} bad")

    def print_tables(self):
        print(f"\n{'clients':18} {'connections':>12} {'done':>10} "
              f"{'ended by a restart':>20}")
        names = sorted({key[1] for key in self.tally
                        if isinstance(key, tuple)})
        for name in names:
            print(f"{name:18} {self.tally['connections', name]:12} "
                  f"{self.tally['done', name]:10} "
                  f"{self.tally['restarted', name]:20}")
        seconds = time.monotonic() - self.begin
        print(f"together {sum_of(self.tally, 'connections')} connections, "
              f"{self.tally['sent']} messages sent, {self.tally['received']} "
              f"received, {self.tally['pings']} pings, in {seconds:.0f} s; "
              f"{self.restarts} restarts; at most {self.most_open} open")
        print(f"\n{'at rest':22} {'own MiB':>9} {'resident':>9} "
              f"{'descriptors':>12} {'threads':>8}  own MiB of the parent, "
              "of each child")
        for name, s in self.looks:
            print(f"{name:22} {mib(s.sum_of('own')):>9} "
                  f"{mib(s.sum_of('resident')):>9} "
                  f"{s.sum_of('descriptors'):12} {s.sum_of('threads'):8}  "
                  f"{mib(s.parent.own)}, "
                  + " ".join(mib(c.own) for c in s.children))
        print("\nlines of the error log")
        for why, count in sorted(self.log.kinds.items()):
            print(f"{count:10}  {why}")
        print(f"{sum(self.log.unexplained.values()):10}  unexplained")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def mib(count):
    return f"{count / MIB:.1f}"


def sum_of(tally, what):
    return sum(count for key, count in tally.items()
               if isinstance(key, tuple) and key[0] == what)


def differences(before, now):
    """What must be the same at all quiet moments."""
    for name in ("descriptors", "mappings", "threads"):
        was, is_ = getattr(before, name)(), getattr(now, name)()
        if was != is_:
            yield f"{name} were {was}, are {is_}"
    for name in ("counters", "segments"):
        was, is_ = getattr(before, name), getattr(now, name)
        if was != is_:
            yield f"{name} were {was}, are {is_}"


def growth(before, now):
    if now.parent.own > before.parent.own + PARENT_GROWTH:
        yield (f"the parent has grown from {mib(before.parent.own)} to "
               f"{mib(now.parent.own)} MiB")
    was = sorted(child.own for child in before.children)
    is_ = sorted(child.own for child in now.children)
    for old, new in zip(was, is_):
        if new > old + CHILD_GROWTH:
            yield f"a child has grown from {mib(old)} to {mib(new)} MiB"


def describe(snapshot):
    parent = snapshot.parent
    return (f"parent {mib(parent.own)} MiB, {parent.descriptors} descriptors; "
            + "; ".join(f"child {mib(c.own)} MiB, {c.descriptors} descriptors,"
                        f" {c.threads} threads"
                        for c in snapshot.children[:4]))


def parse_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--clients", type=int, default=2600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mpm", choices=CHILDREN, default="event")
    parser.add_argument("--restart-every", type=float, default=120,
                        help="seconds between graceful restarts, about")
    parser.add_argument("--restarts", choices=("any", "kept"), default="kept",
                        help="may a restart close WebSockets of HTTP/1.1?")
    return parser.parse_args()


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    options = parse_options()
    signal.signal(signal.SIGTERM, interrupt)
    base = pathlib.Path(tempfile.mkdtemp(prefix="mod_websocket-soak."))
    soak = Soak(options, base)
    say(f"{options.minutes:g} min on {options.mpm}, {options.clients} clients, "
        f"seed {options.seed}; {'sanitized; ' if SANITIZED else ''}"
        f"logs in {base}")
    try:
        soak.run()
    except (AssertionError, OSError, KeyboardInterrupt) as error:
        soak.tell_bad(f"given up: {error!r}")
    finally:
        soak.end()
    soak.print_tables()
    if soak.bad:
        print(f"\nNOT good: {len(soak.bad)} things; the first: "
              f"{soak.bad[0][:500]}")
        return 1
    subprocess.run(["rm", "-rf", str(base)], check=True)
    print("\ngood")
    return 0


if __name__ == "__main__":
    sys.exit(main())
