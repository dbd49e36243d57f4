import itertools
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from httpd import Httpd  # noqa: E402
from wire import Wire    # noqa: E402

TEST_LIMIT = 180            # seconds


@pytest.fixture(params=["ws", "wss"])
def tls(request):
    return request.param == "wss"


@pytest.fixture(scope="session")
def shared_servers(tmp_path_factory):
    """One httpd of each MPM, for tests that leave it as it was."""
    servers = {}

    def get(mpm="event"):
        if mpm not in servers:
            servers[mpm] = Httpd(tmp_path_factory.mktemp(f"httpd-{mpm}"),
                                 mpm=mpm, log_level="debug").start()
        return servers[mpm]

    yield get
    for server in servers.values():
        server.stop()


@pytest.fixture
def server(shared_servers, tls):
    shared = shared_servers()
    shared.tls = tls
    return shared


@pytest.fixture(params=["event", "worker", "prefork"])
def mpm_server(request, shared_servers, tls):
    shared = shared_servers(request.param)
    shared.tls = tls
    return shared


@pytest.fixture
def httpd_factory(tmp_path):
    """Starts httpds of a test's own; stops them at its end."""
    servers = []
    numbers = itertools.count()

    def make(**options):
        server = Httpd(tmp_path / f"httpd{next(numbers)}", **options)
        servers.append(server)
        return server.start()

    yield make
    errors = []
    for server in servers:
        try:
            server.stop()
        except AssertionError as error:
            errors.append(error)
    for error in errors:
        raise error


@pytest.fixture
def connect():
    """Opens WebSockets on the wire; closes them at the test's end."""
    wires = []

    def make(server, path="/ws/echo", **options):
        wire = Wire(server.address(options.pop("tls", None)),
                    options.pop("secure", server.tls), **options)
        wires.append(wire)
        wire.open(path)
        return wire

    yield make
    for wire in wires:
        wire.close_socket()


@pytest.fixture(autouse=True)
def time_limit():
    """No test hangs."""
    def stop(*_):
        raise TimeoutError(f"not done within {TEST_LIMIT} s")
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_LIMIT)
    yield
    signal.alarm(0)
