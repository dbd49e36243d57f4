"""Does anybody notice clients that do not read? The time from publishing a
message until sampled subscribers of 900 have it, with 100 more that never read
and whose queues are full, and with 100 that read.

    make bench-slow
"""
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bench_memory import ONE_CHILD, UNLIMITED, raise_limits  # noqa: E402
from httpd import Httpd                             # noqa: E402
from test_plugin import build, location             # noqa: E402
from test_slow import ROOM                          # noqa: E402
from wire import TEXT, Wire, frame                  # noqa: E402

OTHERS, SLOW = 900, 100
SAMPLES = 10                # subscribers that are looked at
MESSAGES = 300
TEXT_200 = "x" * 200
POLICIES = ["1M drop-oldest", "1M drop-newest", "1M latest", "1M close"]


def join(server, wires, count, **options):
    joined = []
    for _ in range(count):
        wire = Wire(server.address(), False, **options)
        assert wire.open("/ws/plugin").status == 101
        wire.expect(TEXT, "welcome")
        joined.append(wire)
    wires += joined
    return joined


def measure(library, policy, do_not_read):
    """Milliseconds, one for each message."""
    with tempfile.TemporaryDirectory() as directory:
        server = Httpd(
            pathlib.Path(directory) / "httpd", config=location(library),
            server_config=f"""{ONE_CHILD["event"]} {UNLIMITED}
                SendBufferSize 16384
                WebSocketPing off
                WebSocketSendQueue {policy}""").start()
        wires = []
        try:
            slow = join(server, wires, SLOW, **(
                {"receive_buffer": 4096} if do_not_read else {}))
            teller = join(server, wires, 1)[0]
            for _ in range(50):             # fills their queues
                teller.send(frame(TEXT, "f" * 30_000))
                teller.expect(TEXT, "f" * 30_000)
                for wire in [] if do_not_read else slow:
                    wire.expect(TEXT, "f" * 30_000)
            others = join(server, wires, OTHERS)
            samples = others[::OTHERS // SAMPLES]
            times = []
            for _ in range(MESSAGES):
                begin = time.perf_counter()
                teller.send(frame(TEXT, TEXT_200))
                for wire in samples:
                    wire.expect(TEXT, TEXT_200)
                times.append((time.perf_counter() - begin) * 1000)
                teller.expect(TEXT, TEXT_200)
            return times
        finally:
            for wire in wires:
                wire.close_socket()
            server.stop()


def main():
    raise_limits()
    with tempfile.TemporaryDirectory() as directory:
        library = build(pathlib.Path(directory), ROOM)
        print(f"ms until {SAMPLES} of {OTHERS} subscribers have a message")
        print(f"{'WebSocketSendQueue':20} {'all read':>16} "
              f"{f'{SLOW} do not':>16} {'ratio of':>9}")
        print(f"{'':20} {'median':>8}{'99 %':>8} {'median':>8}{'99 %':>8} "
              f"{'medians':>9}")
        for policy in POLICIES:
            all_read, some = (
                sum((measure(library, policy, deaf) for _ in range(3)), [])
                for deaf in (False, True))
            line = ""
            for times in (all_read, some):
                line += (f" {statistics.median(times):8.2f}"
                         f"{statistics.quantiles(times, n=100)[98]:8.2f}")
            ratio = statistics.median(some) / statistics.median(all_read)
            print(f"{policy:20}{line} {ratio:9.2f}", flush=True)


if __name__ == "__main__":
    main()
