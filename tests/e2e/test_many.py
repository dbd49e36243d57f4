"""An open WebSocket holds no worker of httpd."""
import resource
import statistics
import time

import pytest

from httpd import SANITIZED, wait_until

WORKERS = {
    "event": "StartServers 1\nServerLimit 1\nThreadsPerChild 25\n"
             "MaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 25\n",
    "worker": "StartServers 1\nServerLimit 1\nThreadsPerChild 25\n"
              "MaxRequestWorkers 25\nMinSpareThreads 1\nMaxSpareThreads 25\n",
    "prefork": "StartServers 8\nServerLimit 25\nMaxRequestWorkers 25\n"
               "MinSpareServers 8\nMaxSpareServers 25\n",
}
CONNECTIONS = 500 if SANITIZED else 5000


def time_of_pages(server, count=100):
    """Median seconds of a page on a fresh connection."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        assert server.get("/page.txt", tls=False)[0] == 200
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_pages_beside_thousands_of_websockets(connect, httpd_factory, mpm):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = httpd_factory(mpm=mpm, server_config=WORKERS[mpm] + """
                               WebSocketMaxConnectionsPerClient 0""",
                           config="WebSocketPing off")
    before = time_of_pages(server)
    wires = []
    try:
        for i in range(CONNECTIONS):
            wires.append(connect(server, tls=i % 2 == 1, secure=i % 2 == 1))
            assert wires[-1].response.status == 101
        after = time_of_pages(server)
        for wire in wires[::50]:
            wire.echo()
        # 25 workers would all be held by the first 25 if any were; the usual
        # time is a matter of milliseconds, a held worker one of seconds
        print(f"{mpm}: {len(wires)} WebSockets open, a page takes "
              f"{after * 1e3:.2f} ms ({before * 1e3:.2f} ms before)")
        assert after < before + 0.05
        _, body, _ = server.get("/server-status?auto", tls=False)
        busy = next(line for line in body.decode().split("\n")
                    if line.startswith("BusyWorkers"))
        assert int(busy.split()[1]) <= 3, busy
    finally:
        for wire in wires:
            wire.close_socket()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: server.answers(), "httpd answers")
