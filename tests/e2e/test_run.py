"""websocket-run serves a port, and says what is wrong."""
import os
import resource
import signal
import socket
import time
import zlib

import pytest

from httpd import LIMIT, wait_until
from runner import CHAT, ECHO, PROGRAM, build_probe, run, serving
from wire import BINARY, CLOSE, PING, PONG, TEXT, Wire, close_frame, frame

HEAD_TIME = 10              # seconds


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def echo():
    with serving(ECHO) as served:
        yield served


def raw(served, data):
    """What is answered to these bytes, until the end."""
    family = socket.AF_INET6 if ":" in served.host else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(LIMIT)
        s.connect(served.address())
        s.sendall(data)
        answer = b""
        while more := s.recv(65536):
            answer += more
        return answer


def request(*headers, line="GET / HTTP/1.1", host="Host: localhost"):
    return "\r\n".join([line, host, *headers, "", ""]).encode("latin-1")


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade",
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
           "Sec-WebSocket-Version: 13"]


# --- WebSockets ---

def test_echo(echo, connect):
    wire = connect(echo, "/")
    assert wire.response.status == 101
    assert wire.response.headers["sec-websocket-accept"] == \
        wire.expected_accept()
    wire.send(frame(TEXT, "hello"))
    wire.expect(TEXT, "hello")
    wire.send(frame(PING, b"x"))
    wire.expect(PONG, b"x")
    wire.echo(b"y" * 900_000)
    wire.send(close_frame(1000, "bye"))
    wire.expect_close(1000, "bye")


def test_frames_right_behind_the_request(echo, connect):
    wire = connect(echo, "/", extra=frame(TEXT, "early") + frame(TEXT, "bird"))
    wire.expect(TEXT, "early")
    wire.expect(TEXT, "bird")
    wire.echo()


def test_request_byte_by_byte(echo, connect):
    wire = Wire(echo.address(), False)
    for byte in request(*UPGRADE) + frame(TEXT, "slow"):
        wire.send(bytes([byte]))
    while b"\r\n\r\n" not in wire.buffer:
        assert wire.fill()
    head, wire.buffer = wire.buffer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    wire.expect(TEXT, "slow")
    wire.close_socket()


def test_compression(echo, connect):
    wire = connect(echo, "/", headers={
        "Sec-WebSocket-Extensions": "permessage-deflate"})
    assert wire.response.headers["sec-websocket-extensions"] == (
        "permessage-deflate; server_no_context_takeover; "
        "client_no_context_takeover")
    text = b"all work and no play " * 200
    deflater = zlib.compressobj(wbits=-15)
    data = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    wire.send(frame(TEXT, data[:-4], rsv=4))
    assert wire.read(1) == b"\xc1"
    length = wire.read(1)[0]
    assert length < 126
    inflated = zlib.decompressobj(wbits=-15).decompress(
        wire.read(length) + b"\0\0\xff\xff")
    assert inflated == text
    assert connect(echo, "/").response.headers.get(
        "sec-websocket-extensions") is None


def test_two_clients_chat(connect):
    with serving(CHAT) as served:
        alice = connect(served, "/lobby")
        assert b"welcome" in alice.read_frame()[1]
        bob = connect(served, "/lobby")
        assert b"user_joined" in alice.read_frame()[1]
        other = connect(served, "/kitchen")
        assert b"welcome" in other.read_frame()[1]
        bob.send(frame(TEXT, '{"type":"chat","message":"hi"}'))
        assert b'"message":"hi"' in alice.read_frame()[1]
        other.send(frame(TEXT, '{"type":"ping"}'))
        assert b"pong" in other.read_frame()[1]
        bob.send(close_frame(1000))
        assert b"user_left" in alice.read_frame()[1]


@pytest.mark.parametrize("threads", [1, 3])
def test_many_connections(connect, threads):
    with serving(ECHO, "--threads", threads) as served:
        wires = [connect(served, "/") for _ in range(200)]
        for i, wire in enumerate(wires):
            wire.send(frame(TEXT, f"from {i}"))
        for i, wire in enumerate(wires):
            wire.expect(TEXT, f"from {i}")
        served.stop()
        for wire in wires:
            wire.expect_close(1001)


def test_address_of_the_client(probe, connect):
    with serving(probe) as served:
        wire = connect(served, "/a?q=b", headers={"Cookie": "c"})
        wire.send(frame(TEXT, "describe"))
        wire.expect(TEXT, "path=/a uri=/a q=b user=- by=- env=- cookie=c "
                          "client=127.0.0.1 tls=- expr=- httpd=0")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6(probe):
    with serving(probe, "--address", "::1", address="::1") as served:
        assert served.line == (
            f"probe is at ws://[::1]:{served.port}/; to try it open "
            f"http://[::1]:{served.port}/\n")
        answer = raw(served, request(*UPGRADE) + frame(TEXT, "describe")
                     + close_frame())
        assert b" client=::1 " in answer


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv4_in_ipv6(probe):
    with serving(probe, "--address", "::") as served:
        answer = raw(served, request(*UPGRADE) + frame(TEXT, "describe")
                     + close_frame())
        assert b" client=127.0.0.1 " in answer


# --- the end ---

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_closes_with_1001(probe, connect, number):
    with serving(probe) as served:
        wire = connect(served, "/")
        half = Wire(served.address(), False)
        half.send(b"GET / HTT")
        idle = Wire(served.address(), False)
        wire.send(frame(TEXT, "a"))
        wire.expect(TEXT, "a")
        began = time.monotonic()
        served.process.send_signal(number)
        wire.expect(CLOSE, b"\x03\xe9server is going away")
        wire.send(close_frame(1001))
        wire.expect_end()
        log = served.wait()
        assert time.monotonic() - began < HEAD_TIME / 2
        half.expect_end()
        idle.expect_end()
        assert log.endswith("notice: [client 127.0.0.1] probe: left: 1001 \n"
                            "notice: child_exit\n")


def test_second_signal_ends_at_once(probe, connect):
    with serving(probe) as served:
        wire = connect(served, "/")
        wire.send(frame(TEXT, "block") + frame(PING))
        assert "message" in served.process.stderr.readline() \
            + served.process.stderr.readline()
        served.process.send_signal(signal.SIGTERM)
        threads = f"/proc/{served.process.pid}/task"
        wait_until(lambda: len(os.listdir(threads)) < 10,
                   "the first has ended what does handshakes")
        served.stop(status=-signal.SIGTERM)


def test_callback_that_does_not_return(probe, connect):
    with serving(probe) as served:
        connect(served, "/").send(frame(TEXT, "block"))
        assert "message" in served.process.stderr.readline() \
            + served.process.stderr.readline()
        log = served.stop(status=1)
        assert "the handler's callback does not end; ending without it" in log


# --- requests that are refused ---

STATUSES = [
    (426, request()),
    (426, request("Upgrade: h2c", *UPGRADE[1:])),
    (400, request(UPGRADE[0], *UPGRADE[2:])),
    (400, request(*UPGRADE[:2], UPGRADE[3])),
    (400, request(*UPGRADE[:2], "Sec-WebSocket-Key: AAAA", UPGRADE[3])),
    (400, request(*UPGRADE, UPGRADE[2])),
    (426, request(*UPGRADE[:3], "Sec-WebSocket-Version: 8")),
    (405, request(*UPGRADE, line="POST / HTTP/1.1")),
    (400, request(*UPGRADE, line="GET / HTTP/1.0")),
    (505, request(*UPGRADE, line="GET / HTTP/2.0")),
    (400, request(*UPGRADE, "Content-Length: 3") + b"abc"),
    (400, request(*UPGRADE, "Transfer-Encoding: chunked")),
    (101, request(*UPGRADE, "Content-Length: 0") + close_frame(1000)),
    (400, request(*UPGRADE, "Sec-WebSocket-Extensions: a b")),
    (403, request(*UPGRADE, "Origin: http://evil.example")),
    (101, request(*UPGRADE, "Origin: http://localhost") + close_frame(1000)),
    (101, request(*UPGRADE, line="GET /a?b HTTP/1.1") + close_frame(1000)),
    # not HTTP/1.1
    (400, b"\r\n\r\n"),
    (400, b"\r\n" + request(*UPGRADE)),
    (400, b"GET / HTTP/1.1\n"),
    (400, b"\n"),
    (400, b"GET / HTTP/1.1\0"),
    (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    (400, request(*UPGRADE, line="GET /")),
    (400, request(*UPGRADE, line="GET / HTTP/1.1 ")),
    (400, request(*UPGRADE, line="GET  / HTTP/1.1")),
    (400, request(*UPGRADE, line=" GET / HTTP/1.1")),
    (400, request(*UPGRADE, line="G@T / HTTP/1.1")),
    (400, request(*UPGRADE, line="GET / HTTP/11")),
    (400, request(*UPGRADE, line="GET / HTTP/1.x")),
    (400, request(*UPGRADE, line="GET / HTTPS/1.1")),
    (400, request(*UPGRADE, line="GET / http/1.1")),
    (400, request(*UPGRADE, line="GET http://localhost/ HTTP/1.1")),
    (400, request(*UPGRADE, line="GET * HTTP/1.1")),
    (400, request(*UPGRADE, line="GET /\t HTTP/1.1")),
    (400, request(*UPGRADE, line="GET /\xe4 HTTP/1.1")),
    (400, request(*UPGRADE, line="GET /a/../b HTTP/1.1")),
    (400, request(*UPGRADE, line="CONNECT localhost:80 HTTP/1.1")),
    (400, request(*UPGRADE, host="Hostess: localhost")),
    (400, request(*UPGRADE, "host: localhost")),
    (400, request(*UPGRADE, "no header")),
    (400, request(*UPGRADE, ": no name")),
    (400, request(*UPGRADE, "a name: b")),
    (400, request(*UPGRADE, "Blank : b")),
    (400, request(*UPGRADE, "Folded: a", " b")),
    (400, request(*UPGRADE, "Return: a\rb")),
    (400, request(*UPGRADE, "Escape: \x1b[2J")),
    (101, request(*UPGRADE, "Tab:\ta\tb \xe4") + close_frame(1000)),
    (431, request(*UPGRADE, *["A: b"] * 96)),
    (101, request(*UPGRADE, *["A: b"] * 95) + close_frame(1000)),
]


@pytest.mark.parametrize("status, data", STATUSES,
                         ids=map(str, range(len(STATUSES))))
def test_status(echo, status, data):
    answer = raw(echo, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    if status != 101:
        head, body = answer.split(b"\r\n\r\n", 1)
        lines = head.lower().split(b"\r\n")
        assert b"content-length: %d" % len(body) in lines
        assert any(line.startswith(b"connection: ") and line.endswith(b"close")
                   for line in lines)
    if status == 405:
        assert b"allow: get" in lines
    if status == 426:
        assert b"upgrade: websocket" in lines
        assert b"connection: upgrade, close" in lines
        assert b"sec-websocket-version: 13" in lines


def test_answer_to_head_has_no_body(echo):
    answer = raw(echo, request(line="HEAD / HTTP/1.1"))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")


def padded(length):
    """A good request of this length."""
    missing = length - len(request(*UPGRADE, "A: "))
    return request(*UPGRADE, "A: " + "b" * missing)


def test_head_may_have_16_kib(echo):
    assert raw(echo, padded(16384) + close_frame()).startswith(
        b"HTTP/1.1 101 ")
    assert raw(echo, padded(16385)).startswith(b"HTTP/1.1 431 ")
    assert raw(echo, b"A" * 100_000).startswith(b"HTTP/1.1 431 ")


def test_client_that_leaves(echo, connect):
    for data in [b"", b"GET /", request(*UPGRADE), request()]:
        wire = Wire(echo.address(), False)
        wire.send(data)
        wire.reset()
    connect(echo, "/").echo()


def test_slow_heads_are_cut_and_hold_up_nobody(echo, connect):
    began = time.monotonic()
    slow = [Wire(echo.address(), False) for _ in range(20)]
    for wire in slow:
        wire.send(b"GET / HTTP/1.1\r\nHost: ")
    connect(echo, "/").echo()
    assert time.monotonic() - began < HEAD_TIME
    end = time.monotonic() + LIMIT
    while not slow[0].buffer:               # it goes on, and on
        assert time.monotonic() < end
        slow[0].socket.settimeout(0.2)
        try:
            slow[0].send(b"x")
            slow[0].fill()
        except TimeoutError:
            pass
    assert time.monotonic() - began >= HEAD_TIME - 0.1   # ms are cut
    for wire in slow:
        wire.socket.settimeout(LIMIT)
        while wire.fill():
            pass
        assert wire.buffer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def test_more_slow_clients_than_threads(echo, connect):
    slow = [Wire(echo.address(), False) for _ in range(40)]
    connect(echo, "/").echo()               # when some were cut
    for wire in slow:
        wire.close_socket()


def test_descriptors_run_short(connect):
    with serving(ECHO) as served:
        first = connect(served, "/")
        _, hard = resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (3, hard))
        wire = Wire(served.address(), False)
        assert served.process.stderr.readline() == (
            "warning: no connection can be accepted: Too many open files\n")
        began, used = time.monotonic(), cpu_time(served.process.pid)
        wait_until(lambda: time.monotonic() > began + 2, "some time")
        first.echo()
        assert cpu_time(served.process.pid) - used < 1
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE,
                         (hard, hard))
        assert wire.open("/").status == 101
        assert "no connection can be accepted" not in served.stop()


def cpu_time(pid):
    """Seconds that it ran so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- what the options do ---

def test_origin(connect):
    evil = {"Origin": "http://evil.example"}
    with serving(ECHO, "--origin", "same") as served:
        assert connect(served, "/", headers=evil).response.status == 403
        assert connect(served, "/", headers={
            "Origin": f"http://127.0.0.1:{served.port}"}
            ).response.status == 101
        assert "refused with 403: origin http://evil.example is not " \
            "allowed for host " in served.stop()
    with serving(ECHO, "--origin", "any") as served:
        assert connect(served, "/", headers=evil).response.status == 101


def test_log_level(connect):
    for level, words in [("error", []), ("info", ["info"]),
                         ("debug", ["info", "debug"])]:
        with serving(ECHO, "--log-level", level) as served:
            raw(served, request())
            wire = connect(served, "/")
            wire.send(close_frame(1000))
            wire.expect_close(1000)
            log = served.stop()
            assert {line.split(":")[0] for line in log.splitlines()} == \
                set(words)


def test_first_line(echo):
    assert echo.line == (f"echo is at ws://127.0.0.1:{echo.port}/; to try it "
                         f"open http://127.0.0.1:{echo.port}/\n")
    with serving(ECHO, "--path", "/ws/") as served:
        assert f":{served.port}/ws/;" in served.line


# --- the page ---

HTML = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"


@pytest.mark.parametrize("path", ["/", "/lobby?room=a"])
def test_page(echo, path):
    answer = raw(echo, request(HTML, line=f"GET {path} HTTP/1.1"))
    head, page = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/html; charset=utf-8" in head
    assert b"Content-Security-Policy: default-src 'none'" in head
    assert page.endswith(b"</html>\n")
    assert b"//" not in page.replace(b"<!--", b"")      # of nobody else's


def test_page_is_for_browsers_that_ask_for_one():
    with serving(ECHO, "--path", "/ws") as served:
        for status, data in [
                (404, request(HTML)),
                (200, request(HTML, line="GET /ws HTTP/1.1")),
                (426, request("Accept: */*", line="GET /ws HTTP/1.1")),
                (405, request(HTML, line="POST /ws HTTP/1.1"))]:
            assert raw(served, data).startswith(b"HTTP/1.1 %d " % status)


def test_page_in_a_browser(echo, tmp_path):
    pytest.importorskip("selenium")
    import test_browser
    if not test_browser.os.path.exists(test_browser.DRIVER):
        pytest.skip("chromedriver is not installed")
    browser = test_browser.Browser(tmp_path / "profile", "en")
    try:
        browser.driver.get(f"http://127.0.0.1:{echo.port}/a?b=<i>#c")

        def log():
            return browser.driver.execute_script(
                "return document.getElementById('log').textContent")

        browser.until(lambda: log() == "< accepted \n", "it connects")
        browser.driver.find_element("id", "text").send_keys("<b>hello</b>\n")
        browser.until(lambda: log() == "< accepted \n> text <b>hello</b>\n"
                                       "< text <b>hello</b>\n", "an echo")
        browser.driver.find_element("id", "toggle").click()
        browser.until(lambda: log().endswith("< close 1000 \n"), "it closes")
        browser.driver.find_element("id", "toggle").click()
        browser.until(lambda: log().endswith("\n< accepted \n"), "it is back")
        assert browser.driver.title == "websocket-run"
        browser.assert_clean_console()
    finally:
        browser.driver.quit()


# --- the command line ---

def test_help():
    result = run("--help")
    assert result.returncode == 0
    assert result.stdout.startswith(
        "Usage: websocket-run HANDLER [NAME=VALUE ...] [OPTION ...]\n")
    assert all(len(line) < 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize("arguments", [
    ["--help", CHAT], [f"--help={CHAT}"], [CHAT, "--help"],
    [CHAT, "room=a", "--help"]])
def test_help_of_a_handler(arguments):
    result = run(*arguments)
    assert result.returncode == 0
    assert result.stdout == """\
The handler chat takes these options:

  room=string
      the room where the URL names none
      default: lobby

  name-length=integer
      the longest name, in characters
      from 1 to 100000
      default: 40

  message-length=integer
      the longest message, in characters
      from 1 to 100000
      default: 2000
"""


def test_help_of_other_handlers(probe):
    assert run("--help", ECHO).stdout == (
        "The handler echo takes no options.\n")
    assert run("--help", probe).stdout == """\
The handler probe takes these options:

  word=string
      a word

  count=integer
      how many
      from -1 to 9
      default: 3

  size=size
      how large
      from 1 to 4096 bytes
      default: 1K

  time=duration
      how long
      from 0 to 5000 ms
      default: 2s

  fails=boolean
      whether child_init fails
      default: off

  names=list
      default: a,b
"""


def test_version():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("websocket-run of mod_websocket 0.")
    assert result.stdout.endswith(", handler ABI 1\n")


def test_file_in_this_directory(probe):
    result = run("probe.so", "--script", "/dev/null", cwd=probe.parent)
    assert result.returncode == 0, result.stderr


def test_options_stand_anywhere(probe):
    for environment in [None, {"POSIXLY_CORRECT": "1"}]:
        result = run("--script", "/dev/null", probe, "word=a=b", "--user", "x",
                     "names=c", "names=d", "--", "count=1", env=environment)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments, error", [
    ([], "which handler?"),
    (["--nonsense"], "'--nonsense'"),
    (["--port"], "'--port'"),
    (["HANDLER", "room"], '"room" is not NAME=VALUE, an option of the '
                          'handler HANDLER'),
    (["HANDLER", "=a"], '"=a" is not NAME=VALUE'),
    (["HANDLER", "--port", "x"], '--port: "x" is no number from 0 to 65535'),
    (["HANDLER", "--port", "65536"], '--port: "65536" is no number'),
    (["HANDLER", "--port", "-1"], '--port: "-1" is no number'),
    (["HANDLER", "--threads", "0"], '--threads: "0" is no number from 1 to 64'),
    (["HANDLER", "--threads", "65"], '--threads: "65" is no number'),
    (["HANDLER", "--max-message", "0"], '--max-message: "0" is no size'),
    (["HANDLER", "--max-message", "3G"], '--max-message: "3G" is no size'),
    (["HANDLER", "--timeout", "0"], '--timeout: "0" is no time'),
    (["HANDLER", "--timeout", "soon"], '--timeout: "soon" is no time'),
    (["HANDLER", "--path", "x"], '--path: "x" is no path'),
    (["HANDLER", "--env", "x"], '--env: "x" is not NAME=VALUE'),
    (["HANDLER", "--env", "=x"], '--env: "=x" is not NAME=VALUE'),
    (["HANDLER", "--origin", "x"], '--origin: "x" is neither same nor any'),
    (["HANDLER", "--log-level", "x"], '--log-level: "x" is none of error, '),
    (["HANDLER", "--script", "x", "--port", "1"],
     "--script serves no port: there is nothing for --port to do"),
    (["HANDLER", "--script", "x", "--origin", "any"], "nothing for --origin"),
    (["HANDLER", "--script", "x", "--address", "::"], "nothing for --address"),
    (["HANDLER", "--timeout", "1"], "--timeout is for a --script"),
])
def test_wrong_usage(arguments, error):
    result = run(*arguments)
    assert result.returncode == 2
    assert error in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[1:] == ["Try websocket-run --help."]
    assert result.stdout == ""


@pytest.mark.parametrize("arguments, error", [
    (["nix"], 'websocket-run: unknown handler "nix": there is no '
              '/HANDLERS/websocket_nix.so; for a file of your own write '
              './nix.so'),
    (["./nix"], "websocket-run: handler ./nix: No such file or directory"),
    (["nix.so"], "websocket-run: handler nix.so: No such file or directory"),
    (["--help", "nix.so"], "handler nix.so: No such file or directory"),
    (["/dev/null"], "websocket-run: handler /dev/null cannot be loaded: "),
    ([ECHO, "a=b"], 'handler echo: takes no options, and no "a"'),
    ([CHAT, "name-length=0"],
     'handler chat: name-length: "0" is no number, from 1 to 100000'),
    ([CHAT, "room=a b"], "handler chat: room must be 1 to 64 letters"),
    ([ECHO, "--address", "no.such.host.invalid"],
     "websocket-run: address no.such.host.invalid: "),
    ([ECHO, "--address", "192.0.2.1"],
     "websocket-run: cannot listen on 192.0.2.1, port 9000: Cannot assign"),
])
def test_what_cannot_be_run(arguments, error):
    result = run(*arguments)
    assert result.returncode == 1
    line = result.stderr.splitlines()[0]
    assert error.split("/HANDLERS")[0] in line
    assert error.split("/HANDLERS")[-1] in line
    assert len(result.stderr.splitlines()) == 1


def test_port_in_use(echo):
    result = run(ECHO, "--port", echo.port)
    assert result.returncode == 1
    assert result.stderr == ("websocket-run: cannot listen on 127.0.0.1, port "
                             f"{echo.port}: Address already in use\n")


def test_child_init_that_fails(probe):
    result = run(probe, "fails=on", "--port", "0")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "notice: child_init",
        "error: handler probe: its child_init failed: this process serves "
        "none of its WebSockets", "notice: child_exit"]
