"""What an idle WebSocket costs: memory of httpd's children, divided by the
connections, in private pages (what the processes do not share).

    make bench-memory
"""
import pathlib
import resource
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from httpd import Httpd     # noqa: E402
from wire import Wire       # noqa: E402

FIRST, MORE = 500, 4500     # the first ones fill what all share
COMPRESSION = {"Sec-WebSocket-Extensions":
               "permessage-deflate; client_max_window_bits"}
ONE_CHILD = {
    "event": "StartServers 1\nServerLimit 1\nThreadsPerChild 25\n"
             "MaxRequestWorkers 25\nMaxSpareThreads 25\n",
    "worker": "StartServers 1\nServerLimit 1\nThreadsPerChild 25\n"
              "MaxRequestWorkers 25\nMaxSpareThreads 25\n",
    "prefork": "StartServers 1\nServerLimit 1\nMaxRequestWorkers 1\n",
}

UNLIMITED = "WebSocketMaxConnectionsPerClient 0\n"


def private_bytes(server):
    total = 0
    for pid in server.children():
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) * 1024 for line in f
                         if line.startswith("Private_Dirty"))
    return total


def raise_limits():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def measure(mpm, tls, headers):
    with tempfile.TemporaryDirectory() as directory:
        server = Httpd(pathlib.Path(directory) / "httpd", mpm=mpm,
                       server_config=ONE_CHILD[mpm] + UNLIMITED).start()
        wires = []

        def open_more(count):
            for _ in range(count):
                wires.append(Wire(server.address(tls), tls, headers=headers))
                assert wires[-1].open("/ws/echo").status == 101
                assert (("sec-websocket-extensions"
                         in wires[-1].response.headers) == bool(headers))

        try:
            open_more(FIRST)
            wires[-1].echo()
            before = private_bytes(server)
            open_more(MORE)
            for wire in wires[::50]:
                wire.echo()
            return (private_bytes(server) - before) / MORE
        finally:
            for wire in wires:
                wire.close_socket()
            server.stop()


def main():
    raise_limits()
    print(f"bytes per idle connection, at {FIRST + MORE} connections")
    print(f"{'compression negotiated:':>25} {'no':>8} {'yes':>8}")
    for mpm in ONE_CHILD:
        for tls in (False, True):
            print(f"{mpm:20} {'wss' if tls else 'ws':4} "
                  f"{measure(mpm, tls, {}):8.0f} "
                  f"{measure(mpm, tls, COMPRESSION):8.0f}")


if __name__ == "__main__":
    main()
