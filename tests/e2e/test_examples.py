"""The handlers of docs/examples."""
import fcntl
import os
import shutil
import signal
import struct
import subprocess

import pytest

from httpd import BUILD, LIMIT, SANITIZED, SOURCE, Httpd, wait_until
from runner import PROGRAM
from test_handler import passwords_for
from test_keeper import memory
from wire import BINARY, CLOSE, TEXT, close_frame, frame

EXAMPLES = BUILD / "docs" / "examples" / ".libs"
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect",
            "--show-leak-kinds=definite,indirect"]
ONE_CHILD = """
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 25
    MaxRequestWorkers 25
    MinSpareThreads 1
    MaxSpareThreads 25
"""


def example(name, options="", more=""):
    return f"""
        <Location "/ws/{name}">
            WebSocketHandler {EXAMPLES}/{name}.so {options}
            {more}
        </Location>"""


def say(wire, text):
    wire.send(frame(TEXT, text))


def hear(wire):
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT, (opcode, data)
    return data.decode()


def ask(wire, text):
    say(wire, text)
    return hear(wire)


def expect_closing(wire, code, reason):
    opcode, data, _ = wire.read_frame()
    assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, code)
    assert data[2:].decode() == reason
    wire.send(frame(CLOSE, data))
    wire.expect_end()


def assert_refused(tmp_path, config, says):
    """While the configuration is read."""
    good, output = Httpd(tmp_path / "httpd", config=config).check_config()
    assert not good
    assert says in output


# --- without httpd: the scripts beside them ---

needs_cxx = pytest.mark.skipif(not (EXAMPLES / "ticker.so").exists(),
                               reason="there was no C++ compiler")


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("name, options", [
    ("auth", "tokens=tokens"),
    ("counter", "every=20ms fastest=10ms"),
    ("slowwork", "most=1000000000000"),
    pytest.param("ticker", "prices=prices lock=lock every=20ms",
                 marks=needs_cxx),
    ("upload", ""),
    ("upload", "directory=store"),
])
def test_script_of_an_example(tmp_path, name, options, checked):
    if checked and (SANITIZED or not shutil.which("valgrind")):
        pytest.skip("no valgrind here, or what it would see is seen anyway")
    (tmp_path / "prices").write_text("ACME 101.25\n")
    (tmp_path / "store").mkdir()
    (tmp_path / "tokens").write_text("3f9c4d2ab81e ann\n")
    done = subprocess.run(
        (VALGRIND if checked else [])
        + [PROGRAM, EXAMPLES / f"{name}.so", *options.split(), "--timeout",
           f"{LIMIT}s", "--script", SOURCE / "docs" / "examples" / f"{name}.ws"],
        cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    stored = [path.read_bytes() for path in (tmp_path / "store").iterdir()]
    assert stored == (2 * [b"foobar"] if "directory" in options else [])


# --- counter ---

def hear_numbers(wire, first, last):
    assert [hear(wire) for _ in range(first, last + 1)] == [
        str(i) for i in range(first, last + 1)]


def stop_counter(wire):
    """Returns the last number that came."""
    say(wire, "stop")
    say(wire, "?")
    last = None
    while (text := hear(wire)) != "error: start, stop or fast?":
        last = int(text)
    return last


def test_counter_counts_for_each_client(httpd_factory, connect):
    server = httpd_factory(config=example("counter", "every=20ms fastest=20ms"))
    first, second = (connect(server, "/ws/counter") for _ in range(2))
    say(first, "start")
    hear_numbers(first, 1, 5)
    say(second, "start")
    hear_numbers(second, 1, 3)
    hear_numbers(first, 6, 8)


def test_counter_stops_and_goes_on(httpd_factory, connect):
    server = httpd_factory(config=example("counter", "every=20ms fastest=20ms"))
    wire, clock = (connect(server, "/ws/counter") for _ in range(2))
    say(wire, "start")
    say(wire, "start")                  # which changes nothing
    hear_numbers(wire, 1, 3)
    last = stop_counter(wire) or 3
    say(clock, "start")
    hear_numbers(clock, 1, 20)
    say(wire, "stop")                   # nor does this
    assert stop_counter(wire) is None
    say(wire, "start")
    hear_numbers(wire, last + 1, last + 3)


def test_counter_goes_faster(httpd_factory, connect):
    server = httpd_factory(config=example("counter", "every=1h fastest=10ms"))
    wire, other = (connect(server, "/ws/counter") for _ in range(2))
    say(wire, "start")
    for _ in range(40):                 # an hour is halved 19 times
        say(wire, "fast")
    hear_numbers(wire, 1, 20)
    for _ in range(40):
        say(other, "fast")
    assert stop_counter(other) is None  # none of them starts it
    say(other, "start")
    hear_numbers(other, 1, 20)


def test_counter_ends_with_its_connection(httpd_factory, connect):
    server = httpd_factory(server_config=ONE_CHILD, config=example(
        "counter", "every=10ms fastest=10ms"))
    wires = [connect(server, "/ws/counter") for _ in range(3)]
    for wire in wires:
        say(wire, "start")
        hear_numbers(wire, 1, 2)
    wires[0].reset()
    wires[1].send(close_frame(1000))
    while wires[1].read_frame()[0] != CLOSE:
        pass
    wires[1].expect_end()
    hear_numbers(wires[2], 3, 30)
    wait_until(lambda: b"WebSockets: 1\n" in
               server.get("/server-status?auto")[1], "two are gone")


def test_counter_counts_on_after_a_restart(httpd_factory, connect):
    server = httpd_factory(config=example("counter", "every=50ms"))
    wire = connect(server, "/ws/counter")
    say(wire, "start")
    hear_numbers(wire, 1, 2)
    server.restart()
    server.wait_for_end_of_old()
    hear_numbers(wire, 3, 40)           # sent in either process


@pytest.mark.parametrize("options, says", [
    ("every=5ms", 'every: "5ms" is no time, as in 30, 500ms, 2min, from 10 to '
     "3600000 ms"),
    ("every=100ms fastest=200ms", "handler counter: fastest is 200 ms, more "
     "than every, which is 100 ms"),
    ("colour=red", 'unknown option "colour"; there are: every, fastest'),
])
def test_options_of_counter(tmp_path, options, says):
    assert_refused(tmp_path, example("counter", options), says)


# --- auth ---

def token_file(directory, text="good ann\ngoods bob\nlast carl\n"):
    path = directory / "tokens"
    path.write_text(text)
    path.chmod(0o644)
    return path


def cookie(value):
    return {"Cookie": value}


@pytest.mark.parametrize("path, headers, user", [
    ("?token=good", {}, "ann"),
    ("?token=goods", {}, "bob"),
    ("?x=1&token=last", cookie("token=good"), "carl"),
    ("", cookie("token=good"), "ann"),
    ("", cookie("xtoken=last; token=goods;a=b"), "bob"),
    ("", cookie(["a=b", "token=last"]), "carl"),
    ("/ann?token=good", {}, "ann"),
    ("/?token=%67ood", {}, "ann"),
    ("/bob?token=good", {}, None),
])
def test_auth_lets_in(httpd_factory, connect, tmp_path, path, headers, user):
    server = httpd_factory(config=example(
        "auth", f"tokens={token_file(tmp_path)}"))
    wire = connect(server, f"/ws/auth{path}", headers=headers)
    if user is None:
        assert wire.response.status == 403
        assert "www-authenticate" not in wire.response.headers
        server.wait_for_log("refused with 403: by handler auth: somebody else")
    else:
        assert wire.response.status == 101
        assert ask(wire, "whoami").startswith(f"user {user}\n")
        assert ask(wire, "whoami?") == "error: whoami?"


@pytest.mark.parametrize("path, headers, why", [
    ("", {}, "no token"),
    ("?token", {}, "unknown token"),
    ("?token=goo", {}, "unknown token"),
    ("?token=goodx", {}, "unknown token"),
    ("?token=good%20", {}, "unknown token"),
    ("?token=ann", {}, "unknown token"),
    ("?token=wrong", cookie("token=good"), "unknown token"),
    ("", cookie("xtoken=good"), "no token"),
    ("", cookie("token=; a=good"), "unknown token"),
    ("", cookie("a=token=good"), "no token"),
])
def test_auth_keeps_out(httpd_factory, connect, tmp_path, path, headers, why):
    server = httpd_factory(config=example(
        "auth", f"tokens={token_file(tmp_path)}"))
    wire = connect(server, f"/ws/auth{path}", headers=headers)
    assert wire.response.status == 401
    assert wire.response.headers["www-authenticate"] == "Token"
    server.wait_for_log(f"refused with 401: by handler auth: {why}")


def test_auth_tells_what_is_known(httpd_factory, connect, tmp_path, tls):
    server = httpd_factory(tls=tls, config=example(
        "auth", f"tokens={token_file(tmp_path)}", f"""
            SetEnvIf X-Tenant (.*) TENANT=$1
            {passwords_for(tmp_path, "ann", "secret")}"""))
    wire = connect(server, "/ws/auth?token=last", headers={
        "Authorization": "Basic YW5uOnNlY3JldA==",
        "X-Tenant": "blue\t\xff" + 200 * "x"})
    assert ask(wire, "whoami") == (
        f"user carl\nlogin ann\ntls {'TLSv1.3' if tls else '(none)'}\n"
        f"tenant blue??{93 * 'x'}\n")


def test_auth_reads_the_file_each_time(httpd_factory, connect, tmp_path):
    path = token_file(tmp_path, 300 * "x" + " ann\nlonely\n\ngood "
                      + 65 * "n" + "\n")
    server = httpd_factory(config=example("auth", f"tokens={path}"))
    statuses = []
    for token in (300 * "x", "good", "lonely"):
        wire = connect(server, f"/ws/auth?token={token}")
        statuses.append(wire.response.status)
    assert statuses == [101, 401, 401]
    token_file(tmp_path, "good ann")
    assert ask(connect(server, "/ws/auth?token=good"),
               "whoami").startswith("user ann\n")
    path.unlink()
    wire = connect(server, "/ws/auth?token=good")
    assert wire.response.status == 500
    server.wait_for_log("handler auth: tokens: cannot be read")


@pytest.mark.parametrize("options, says", [
    ("", "handler auth: tokens=FILE is missing"),
    ("tokens=/no/such/file",
     "handler auth: tokens: /no/such/file: No such file or directory"),
])
def test_options_of_auth(tmp_path, options, says):
    assert_refused(tmp_path, example("auth", options), says)


# --- ticker ---

def set_prices(directory, text):
    new = directory / "prices.new"
    new.write_text(text)
    new.chmod(0o644)
    new.rename(directory / "prices")


def ticker(directory, options=""):
    return example("ticker", f"prices={directory}/prices "
                   f"lock={directory}/lock every=30ms {options}")


@pytest.fixture
def ticker_server(httpd_factory, tmp_path):
    set_prices(tmp_path, "ACME 101.25\nGLOBEX 7\n")
    return httpd_factory(config=ticker(tmp_path, "alerts=3"),
                         log_level="debug")


def subscribed(connect, server, symbol="ACME"):
    wire = connect(server, "/ws/ticker")
    assert ask(wire, f"subscribe {symbol}") == "ok"
    return wire


def expect_prices(wire, text, count=10):
    """That come from one process: each number follows the last."""
    numbers = []
    for _ in range(count):
        got, number = hear(wire).rsplit(" ", 1)
        assert got == text
        numbers.append(int(number))
    assert numbers == list(range(numbers[0], numbers[0] + count))


def publisher(directory):
    """The process that has the lock."""
    with (directory / "lock").open("r+b") as f:
        question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(f, fcntl.F_GETLK, question)
        kind, _, _, _, pid = struct.unpack("hhqqi", answer)
        return 0 if kind == fcntl.F_UNLCK else pid


@needs_cxx
def test_ticker_publishes_once_for_all(ticker_server, connect):
    assert len(ticker_server.children()) > 1
    wires = [subscribed(connect, ticker_server) for _ in range(4)]
    other = subscribed(connect, ticker_server, "GLOBEX")
    for wire in wires:
        expect_prices(wire, "ACME 101.25")
    expect_prices(other, "GLOBEX 7.00")
    assert ask_among_prices(other, "unsubscribe GLOBEX") == "ok"
    expect_prices(wires[0], "ACME 101.25", 20)
    assert ask(other, "unsubscribe GLOBEX").startswith("error: ")


def ask_among_prices(wire, text):
    """The first answer that is no price."""
    say(wire, text)
    while (answer := hear(wire)).count(" ") == 2 and answer[0].isupper():
        pass
    return answer


@needs_cxx
def test_ticker_reads_new_prices(ticker_server, connect, tmp_path):
    wire = subscribed(connect, ticker_server)
    expect_prices(wire, "ACME 101.25", 2)
    set_prices(tmp_path, "ACME 99.5 NEW 1e3")
    while hear(wire).startswith("ACME 101.25 "):
        pass
    expect_prices(wire, "ACME 99.50", 3)
    expect_prices(subscribed(connect, ticker_server, "NEW"), "NEW 1000.00", 2)


@needs_cxx
def test_ticker_alerts_one_client_once(ticker_server, connect, tmp_path):
    wire, other = (connect(ticker_server, "/ws/ticker") for _ in range(2))
    assert ask(wire, "alert ACME 105.5") == "ok"
    assert ask(wire, "alert ACME 999") == "ok"
    assert ask(wire, "alert GLOBEX 8") == "ok"
    assert ask(wire, "alert GLOBEX 9").startswith("error: ")    # alerts=3
    set_prices(tmp_path, "ACME 105.5\nGLOBEX 7")
    assert hear(wire) == "alert ACME 105.50"
    assert ask(wire, "subscribe ACME") == "ok"
    expect_prices(wire, "ACME 105.50", 5)
    assert ask_among_prices(wire, "alert ACME 1") == "ok"
    assert ask(other, "?") == "error: no such symbol"
    while (text := hear(wire)) != "alert ACME 105.50":
        assert text.startswith("ACME 105.50 ")
    wire.send(close_frame(1000))
    ticker_server.wait_for_log("ticker: 2 alerts are forgotten")
    other.send(close_frame(1000))
    ticker_server.wait_for_log("ticker: 0 alerts are forgotten")


@needs_cxx
def test_ticker_says_what_is_wrong(ticker_server, connect):
    wire = connect(ticker_server, "/ws/ticker")
    for text in ("", "subscribe", "subscribe acme", "alert NONE 1"):
        assert ask(wire, text) == "error: no such symbol"
    for text in ("alert ACME", "alert ACME x", "sell ACME 1"):
        assert ask(wire, text) == "error: that cannot be done"


@needs_cxx
@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_ticker_goes_on_after_a_restart(httpd_factory, connect, tmp_path, mpm):
    set_prices(tmp_path, "ACME 100")
    server = httpd_factory(mpm=mpm, config=ticker(tmp_path))
    wire = subscribed(connect, server)
    assert ask_among_prices(wire, "alert ACME 200") == "ok"
    for _ in range(2):
        server.restart()
        server.wait_for_end_of_old()
        wait_until(lambda: publisher(tmp_path) in server.pids(),
                   "another process publishes")
    late = subscribed(connect, server)
    assert server.keepers()
    set_prices(tmp_path, "ACME 200")
    heard = set()
    while len(heard) < 2:               # in either order
        text = hear(wire)
        assert text.startswith(("ACME 1", "ACME 200.00 ", "alert ACME 200.00"))
        heard |= {text.split()[0]} if "200.00" in text else set()
    while not hear(late).startswith("ACME 200.00 "):
        pass
    expect_prices(late, "ACME 200.00")


@needs_cxx
def test_ticker_has_another_publisher_when_one_is_killed(
        ticker_server, connect, tmp_path):
    wait_until(lambda: publisher(tmp_path), "one publishes")
    killed = publisher(tmp_path)
    assert killed in ticker_server.children()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in ticker_server.pids(), "it is gone")
    expect_prices(subscribed(connect, ticker_server), "ACME 101.25")
    assert publisher(tmp_path) != killed


@needs_cxx
@pytest.mark.parametrize("options, says", [
    ("prices=/tmp/p", "handler ticker: prices=FILE and lock=FILE are needed"),
    ("lock=/tmp/l", "handler ticker: prices=FILE and lock=FILE are needed"),
    ("prices=/tmp/p lock=/no/such/lock",
     "handler ticker: lock: /no/such/lock: No such file or directory"),
    ("prices=/tmp/p lock=/no/lock every=0",
     'every: "0" is no time, as in 30, 500ms, 2min, from 10 to 3600000 ms'),
    ("prices=/tmp/p lock=/no/lock alerts=-1",
     'alerts: "-1" is no number, from 0 to 1000'),
])
def test_options_of_ticker(tmp_path, options, says):
    assert_refused(tmp_path, example("ticker", options), says)


# --- slowwork ---

ENDLESS = "9000000000000000000"
TOO_MUCH = "error: too much to do, try again later"


def slowwork_server(httpd_factory, pool="threads=4", more=""):
    return httpd_factory(
        server_config=f"{ONE_CHILD}\nWebSocketOffload {pool}\n{more}",
        config=example("slowwork", f"most={ENDLESS}") + example("upload"))


def begin_endless(wire):
    """Returns when it has begun, or waits for a thread."""
    say(wire, ENDLESS)
    assert ask(wire, "1") == "error: one at a time"


def test_slowwork_counts(httpd_factory, connect):
    server = httpd_factory(config=example("slowwork", "most=1000"))
    wire = connect(server, "/ws/slowwork")
    for below, primes in (("0", 0), ("2", 0), ("3", 1), ("100", 25),
                          ("0000000000000001000", 168)):
        assert ask(wire, below) == str(primes)
    for text in ("", "1001", "-1", "1e2", "99999999999999999999", "x"):
        assert ask(wire, text) == "error: that is no number, or too large"
    say(wire, "cancel")                 # nothing to cancel
    assert ask(wire, "10") == "4"


def test_slowwork_is_cancelled(httpd_factory, connect):
    server = slowwork_server(httpd_factory)
    wire, other = (connect(server, "/ws/slowwork") for _ in range(2))
    begin_endless(wire)
    assert ask(other, "100") == "25"
    assert ask(wire, "cancel") == "cancelled"
    assert ask(wire, "100") == "25"


@pytest.mark.parametrize("how", ["reset", "close", "stop"])
def test_slowwork_for_a_client_that_goes(httpd_factory, connect, how):
    """The only thread is soon free for others."""
    server = slowwork_server(httpd_factory, "threads=1")
    wire, other = (connect(server, "/ws/slowwork") for _ in range(2))
    begin_endless(wire)
    say(other, "100")
    if how == "stop":
        server.stop()
    elif how == "reset":
        wire.reset()
    else:
        wire.send(close_frame(1000))
        wire.expect_close(1000)
    if how != "stop":
        assert hear(other) == "25"
    server.wait_for_log(f"nobody waits for the primes below {ENDLESS}")
    assert "the child ends without it" not in server.log()


def test_slowwork_says_when_there_is_too_much(httpd_factory, connect):
    server = slowwork_server(httpd_factory, "threads=1 queue=1")
    wires = [connect(server, "/ws/slowwork") for _ in range(3)]
    begin_endless(wires[0])
    begin_endless(wires[1])
    assert ask(wires[2], "1") == TOO_MUCH
    assert ask(wires[0], "cancel") == "cancelled"
    assert ask(wires[1], "cancel") == "cancelled"
    assert ask(wires[2], "100") == "25"


def test_slowwork_at_a_restart(httpd_factory, connect):
    """A process that works too long is not left to a keeper, but it does end
    in good order: as its clients have to go, so has the work."""
    server = slowwork_server(httpd_factory, "threads=1", "ServerLimit 3")
    wire = connect(server, "/ws/slowwork")
    assert ask(wire, "100") == "25"
    server.restart()
    server.wait_for_end_of_old()
    assert ask(wire, "1000") == "168"
    late = connect(server, "/ws/slowwork")
    begin_endless(late)
    server.restart()
    expect_closing(late, 1012, "service restart")
    server.wait_for_log(f"nobody waits for the primes below {ENDLESS}")
    server.wait_for_end_of_old()
    assert "the child ends without it" not in server.log()
    assert ask(wire, "1000") == "168"


@pytest.mark.parametrize("options, says", [
    ("most=0", 'most: "0" is no number, from 1 to '),
    ("most=many", 'most: "many" is no number, from 1 to '),
])
def test_options_of_slowwork(tmp_path, options, says):
    assert_refused(tmp_path, example("slowwork", options), says)


# --- upload ---

FNV_START, FNV_PRIME = 0xcbf29ce484222325, 0x100000001b3
MIB = 1 << 20
ZEROS = bytes(MIB)


def fnv(data):
    value = FNV_START
    for byte in data:
        value = (value ^ byte) * FNV_PRIME % 2**64
    return value


def fnv_of_zeros(count):
    return FNV_START * pow(FNV_PRIME, count, 2**64) % 2**64


def receipt(length, checksum):
    return f'{{"bytes":{length},"checksum":"{checksum:016x}"}}'


def upload(directory=None, more=""):
    option = "" if directory is None else f"directory={directory}"
    return example("upload", option, f"WebSocketMaxMessage 1G\n{more}")


@pytest.fixture
def store(tmp_path):
    """A directory that httpd's user may write to."""
    directory = tmp_path / "store"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


@pytest.mark.parametrize("stores", [False, True])
def test_upload_is_counted_and_stored(httpd_factory, connect, store, tls,
                                      stores):
    server = httpd_factory(tls=tls, config=upload(store if stores else None))
    wire = connect(server, "/ws/upload")
    messages = [b"", b"a", os.urandom(300_000), b"foobar"]
    for data in messages:
        wire.send(frame(BINARY, data[:100_000], fin=False)
                  + frame(0, data[100_000:]))
    for data in messages:
        assert hear(wire) == receipt(len(data), fnv(data))
    assert fnv(b"foobar") == 0x85944171f73967e8     # as FNV's authors say
    files = sorted((path.stat().st_mtime_ns, path.read_bytes(),
                    path.stat().st_mode & 0o777) for path in store.iterdir())
    assert sorted(data for _, data, _ in files) == (
        sorted(messages) if stores else [])
    assert all(mode == 0o600 for _, _, mode in files)


def test_upload_takes_no_text(httpd_factory, connect, store):
    server = httpd_factory(config=upload(store))
    wire = connect(server, "/ws/upload")
    say(wire, "text")
    expect_closing(wire, 1003, "binary messages only")
    assert list(store.iterdir()) == []


def begin_upload(wire, length):
    """The head of a large frame. The key is 0: what follows is as it is."""
    wire.send(b"\x82\xff" + struct.pack(">Q", length) + bytes(4))


def send_zeros(wire, length, watch=lambda: 0):
    """In one frame. Returns the most that watch gave."""
    begin_upload(wire, length)
    most = 0
    for i in range(length // MIB):
        wire.send(ZEROS)
        if i % 16 == 0:
            most = max(most, watch())
    return max(most, watch())


@pytest.mark.parametrize("mib, stores", [(1024, False), (64, True)])
def test_upload_of_any_size_at_constant_memory(httpd_factory, connect, store,
                                               mib, stores):
    """1 GiB is the largest message that there is."""
    server = httpd_factory(
        server_config=ONE_CHILD, measures_memory=True,
        config=upload(store if stores else None))
    wire = connect(server, "/ws/upload")
    send_zeros(wire, 4 * MIB)
    assert hear(wire) == receipt(4 * MIB, fnv_of_zeros(4 * MIB))
    child, = server.children()
    before = memory(child)
    most = send_zeros(wire, mib * MIB, lambda: memory(child))
    assert hear(wire) == receipt(mib * MIB, fnv_of_zeros(mib * MIB))
    print(f"{mib} MiB: {before} KiB, then at most {most} KiB")
    assert most - before < 4 * 1024     # KiB
    sizes = sorted(path.stat().st_size for path in store.iterdir())
    assert sizes == ([4 * MIB, mib * MIB] if stores else [])


def begun_upload(connect, server, store):
    wire = connect(server, "/ws/upload")
    wire.send(frame(BINARY, "fo", fin=False))
    wait_until(lambda: len(list(store.iterdir())) == 1, "it is stored")
    return wire


@pytest.mark.parametrize("how", ["reset", "close", "stop"])
def test_upload_that_breaks_off_leaves_nothing(httpd_factory, connect, store,
                                               how):
    server = httpd_factory(config=upload(store))
    wire = begun_upload(connect, server, store)
    if how == "stop":
        server.stop()
    elif how == "reset":
        wire.reset()
    else:
        wire.close_socket()
    wait_until(lambda: not list(store.iterdir()), "it is removed")


def test_upload_goes_on_after_a_restart(httpd_factory, connect, store):
    server = httpd_factory(config=upload(store))
    wire = begun_upload(connect, server, store)
    server.restart()
    server.wait_for_end_of_old()
    wire.send(frame(0, "o"))
    assert hear(wire) == receipt(3, fnv(b"foo"))
    path, = store.iterdir()
    assert path.read_bytes() == b"foo"


def test_upload_that_cannot_be_stored(httpd_factory, connect, store):
    server = httpd_factory(config=upload(store))
    store.rmdir()
    wire = connect(server, "/ws/upload")
    wire.send(frame(BINARY, "foo"))
    expect_closing(wire, 1011, "it cannot be stored")
    server.wait_for_log(rf"upload: {store}/[\d.-]+: No such file or directory")


@pytest.fixture
def busy_server(httpd_factory, connect, store):
    """Its only thread for such work is taken by another client."""
    def start(queue):
        server = httpd_factory(
            server_config=f"{ONE_CHILD}\nWebSocketOffload threads=1 "
            f"queue={queue}",
            config=example("slowwork", f"most={ENDLESS}") + upload(store))
        other = connect(server, "/ws/slowwork")
        begin_endless(other)
        return server, other

    return start


def test_upload_waits_for_the_disk(busy_server, connect, store):
    """As it is not read in the meantime, one place in the queue is enough."""
    server, other = busy_server(1)
    wire = connect(server, "/ws/upload")
    begin_upload(wire, 3 * MIB)
    wire.send(ZEROS)
    assert ask(other, "cancel") == "cancelled"
    wire.send(2 * ZEROS)
    assert hear(wire) == receipt(3 * MIB, fnv_of_zeros(3 * MIB))
    path, = store.iterdir()
    assert path.read_bytes() == 3 * ZEROS


def test_upload_is_refused_when_there_is_too_much(busy_server, connect, store):
    server, _ = busy_server(0)
    wire = connect(server, "/ws/upload")
    wire.send(frame(BINARY, "foo"))
    expect_closing(wire, 1013, "too much to do, try again later")
    assert list(store.iterdir()) == []


def test_upload_that_is_written_when_its_client_has_gone(busy_server, connect,
                                                         store):
    server, other = busy_server(2)
    wire = connect(server, "/ws/upload")
    wire.send(frame(BINARY, "foo", fin=False))
    last = connect(server, "/ws/slowwork")
    begin_endless(last)                 # waits behind "foo"
    wire.reset()
    assert ask(other, "cancel") == "cancelled"
    assert ask(last, "cancel") == "cancelled"
    wait_until(lambda: b"WebSockets: 2\n" in
               server.get("/server-status?auto")[1], "it has gone")
    wait_until(lambda: not list(store.iterdir()), "it is removed")


@pytest.mark.parametrize("options, says", [
    ("directory=/no/such", "handler upload: directory: /no/such is none"),
    ("directory=/dev/null", "handler upload: directory: /dev/null is none"),
    (f"directory={400 * '/'}", "is none"),
])
def test_options_of_upload(tmp_path, options, says):
    assert_refused(tmp_path, example("upload", options), says)
