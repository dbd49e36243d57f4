"""Plugins that were written for another module: compat_echo.c and
compat_counter.c, built against its layout, as they would run there."""
import re
import socket
import subprocess
import threading
import time

import pytest

from httpd import (HANDLERS, LIMIT, SANITIZED, SOURCE, Httpd, apxs,
                   let_httpd_in, wait_until)
from test_faults import ONE_CHILD
from test_http2 import h2_connect, open_stream  # noqa: F401 (fixtures)
from wire import BINARY, CLOSE, TEXT, Wire, close_frame, frame

COMPAT = f"{HANDLERS}/websocket_compat.so"
EVERY_ITEM = ("[%t] [%-m:%l] [pid %P:tid %T] %F %E [client %a] [server %A] "
              "%v %V %k %L %{c}L %{C}L %{Host}i %{TENANT}e %{fact}n %M")


def build_plugin(directory, name):
    let_httpd_in(directory)
    library = directory / f"{name}.so"
    flags = subprocess.run(["apr-1-config", "--includes", "--cppflags"],
                           check=True, capture_output=True,
                           text=True).stdout.split()
    if SANITIZED:
        flags.append("-fsanitize=address")
    subprocess.run(["gcc", "-std=gnu99", "-Wall", "-Wextra", "-Werror",
                    "-shared", "-fPIC", f"-I{apxs('INCLUDEDIR')}", *flags,
                    "-o", library, SOURCE / "tests" / "e2e" / f"{name}.c",
                    "-pthread"], check=True)
    library.chmod(0o755)
    return library


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    directory = tmp_path_factory.mktemp("compat")
    return {name: build_plugin(directory, f"compat_{name}")
            for name in ("echo", "counter")}


def location(path, plugin, options, more=""):
    return f"""
        <Location "{path}">
            WebSocketHandler {COMPAT} plugin={plugin} {options}
            {more}
        </Location>"""


def configuration(plugins):
    """/ws/MODE/PLUGIN, where on_message runs in a thread and in the loop."""
    return "\n".join(
        location(f"/ws/{mode}/{name}", library,
                 f"init={name}_init {options}")
        for name, library in plugins.items()
        for mode, options in (("thread", ""), ("loop", "blocking=off")))


@pytest.fixture(scope="module")
def shared(tmp_path_factory, plugins):
    server = Httpd(tmp_path_factory.mktemp("httpd"),
                   config=configuration(plugins))
    yield server.start()
    server.stop()


@pytest.fixture(params=["thread", "loop"])
def mode(request):
    return request.param


@pytest.fixture
def server(shared, tls):
    shared.tls = tls
    return shared


@pytest.fixture
def plain(shared):
    shared.tls = False
    return shared


def ask(wire, text):
    wire.send(frame(TEXT, text))
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT, (opcode, data)
    return data.decode()


def told(server, what, name):
    return len(re.findall(f"old plugin {what} {name}\\b", server.log()))


def wait_for_end(server, name, count=1):
    """Each of the connections that came has gone, once."""
    wait_until(lambda: told(server, "disconnects", name) >= count,
               f"{name} is disconnected")
    assert (told(server, "connects", name), told(server, "disconnects", name)
            ) == (count, count)


# --- messages ---


def test_echo(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo")
    assert wire.response.status == 101
    for data in (b"", b"a", bytes(range(256)) * 300, b"x" * (1 << 20)):
        wire.echo(data)
    assert ask(wire, "text") == "TEXT"
    wire.send(frame(TEXT, ""))
    wire.expect(TEXT, "")


def test_order_of_messages_is_kept(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo")
    wire.send(b"".join(frame(BINARY, b"%d" % i) for i in range(500)))
    for i in range(500):
        wire.expect(BINARY, b"%d" % i)


def test_messages_behind_the_request(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo",
                   extra=frame(TEXT, "at") + frame(TEXT, "once"))
    wire.expect(TEXT, "AT")
    wire.expect(TEXT, "ONCE")


def test_only_messages_can_be_sent(connect, plain, mode):
    wire = connect(plain, f"/ws/{mode}/echo")
    assert ask(wire, "types") == "0 0 0 0 "


def test_plugin_of_one_function(connect, httpd_factory, plugins, mode):
    option = "blocking=off" if mode == "loop" else ""
    server = httpd_factory(config=location(
        "/ws/least", plugins["echo"], f"init=least_init {option}"))
    wire = connect(server, "/ws/least")
    assert ask(wire, "hello") == "nothing"
    wire.send(close_frame(1000))
    wire.expect_close(1000)


class Writer(threading.Thread):
    """Sends messages, numbered, for as long as it is let."""

    def __init__(self, wire, piece, count):
        super().__init__(daemon=True)
        self.wire, self.piece, self.count = wire, piece, count
        self.sent = 0
        self.error = None

    def run(self):
        try:
            while self.sent < self.count:
                self.wire.send(frame(BINARY, self.piece + b"%d" % self.sent))
                self.sent += 1
        except OSError as error:
            self.error = error

    def is_stuck(self):
        sent = self.sent
        time.sleep(0.2)
        return self.sent == sent


def test_client_that_does_not_read_is_not_read(httpd_factory, connect, plugins,
                                               mode):
    """More than its queue holds, and nothing of it is lost. (Who starts to
    read too early only tests less. Python has no TLS for two threads.)"""
    server = httpd_factory(config=configuration(plugins) + """
        <Location "/ws">
            WebSocketSendQueue 256K
        </Location>""")
    wire = connect(server, f"/ws/{mode}/echo", receive_buffer=4096)
    piece, count = b"x" * 16384, 1500
    writer = Writer(wire, piece, count)
    writer.start()
    wait_until(writer.is_stuck, "it cannot send any more")
    for i in range(count):
        wire.expect(BINARY, piece + b"%d" % i)
    writer.join(LIMIT)
    assert writer.error is None


# --- the handshake ---


def test_refused_by_on_connect(connect, server):
    wire = connect(server, "/ws/thread/echo?name=refused",
                   headers={"X-Refuse-Me": "please"})
    assert wire.response.status == 403
    assert "x-old" not in wire.response.headers
    server.wait_for_log("refused with 403: by handler compat: the plugin's "
                        "on_connect returned NULL")
    assert told(server, "disconnects", "refused") == 0


def test_header_of_the_answer(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo")
    assert wire.response.headers["x-old"] == "plugin"
    assert wire.response.headers["upgrade"] == "websocket"
    server.wait_for_log("header_set: no plugin can set Upgrade")
    assert ask(wire, "fact out X-Old") == "plugin"
    assert ask(wire, "late") == "(none)"        # the answer has gone


@pytest.mark.parametrize("query, chosen", [
    ("", None), ("protocol=b", "b"), ("protocol=z", None),
    ("first=c&protocol=b", "b"), ("first=c&protocol=z", "c")])
def test_subprotocol(connect, plain, mode, query, chosen):
    wire = connect(plain, f"/ws/{mode}/echo?{query}",
                   headers={"Sec-WebSocket-Protocol": ["a , b", "c"]})
    assert wire.response.status == 101
    assert wire.response.headers.get("sec-websocket-protocol") == chosen
    assert ask(wire, "protocols") == "a;b;c;end"
    if query == "protocol=z":
        plain.wait_for_log("protocol_set: the client does not offer z")


def test_client_that_offers_no_subprotocol(connect, plain):
    wire = connect(plain, "/ws/thread/echo?protocol=a")
    assert "sec-websocket-protocol" not in wire.response.headers
    assert ask(wire, "protocols") == "end"


def test_sent_in_on_connect(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo?early=5")
    for i in range(5):
        wire.expect(BINARY, b"early %d\0\0\0" % i)
    assert ask(wire, "early") == "10 10 10 10 10 "


def test_what_is_sent_in_on_connect_is_bounded(httpd_factory, connect, plugins,
                                               mode):
    """What finds no room is told so; a single message always finds it."""
    server = httpd_factory(config=configuration(plugins) + """
        <Location "/ws">
            WebSocketSendQueue 64M
        </Location>""")
    wire = connect(server, f"/ws/{mode}/echo?early=4&length=6000000")
    for _ in range(2):
        assert len(wire.read_frame()[1]) == 6000000
    assert ask(wire, "early") == "6000000 6000000 0 0 "
    wire = connect(server, f"/ws/{mode}/echo?early=2&length=20000000")
    assert len(wire.read_frame()[1]) == 20000000
    assert ask(wire, "early") == "20000000 0 "


def test_closed_in_on_connect(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/echo?early=1&close=1&name=early{mode}"
                           f"{server.tls}")
    assert wire.response.status == 101
    wire.expect(BINARY, b"early 0\0\0\0")
    opcode, data, _ = wire.read_frame()
    assert (opcode, data) == (CLOSE, b"\x03\xe8")
    wire.send(close_frame(1000))
    wire.expect_end()
    wait_for_end(server, f"early{mode}{server.tls}")


# --- the request, when it has gone ---


def test_request_outlives_the_request(httpd_factory, connect, plugins, mode,
                                      tmp_path):
    passwords = tmp_path / "passwords"
    let_httpd_in(tmp_path)
    passwords.write_text("ann:{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=\n")  # "test"
    passwords.chmod(0o644)
    server = httpd_factory(server_config=ONE_CHILD, config=location(
        "/ws/old", plugins["echo"],
        "init=echo_init" + (" blocking=off" if mode == "loop" else ""),
        f"""AuthType Basic
            AuthName old
            AuthBasicProvider file
            AuthUserFile {passwords}
            Require valid-user
            SetEnvIf Host . TENANT=blue
            SetEnvIf User-Agent "^te(.*)$" AGENT=$1"""))
    wire = connect(server, "/ws/old/%61?x=1&y=%20", headers={
        "Authorization": "Basic YW5uOnRlc3Q=", "User-Agent": "tester",
        "X-Long": "l" * 5000, "X-Two": ["1", "2"]})
    assert wire.response.status == 101
    for _ in range(20):         # its memory is used for others
        server.get("/page.txt?" + "z" * 2000, tls=False)
    facts = {
        "header user-agent": "tester",
        "header X-Nothing": "(none)",
        "in X-Long": "l" * 5000,
        "in X-Two": "1, 2",
        "env TENANT": "blue",
        "env AGENT": "ster",
        "line": "GET /ws/old/%61?x=1&y=%20 HTTP/1.1|GET|"
                "/ws/old/%61?x=1&y=%20|/ws/old/a|x=1&y=%20|HTTP/1.1|"
                "x=1&y=%20",
        "client": "ann|Basic|127.0.0.1|127.0.0.1|1",
        "server": f"127.0.0.1|localhost|127.0.0.1|{server.port}|"
                  f"{server.port}",
        "root": f"{server.directory}/www|{server.directory}/www||127.0.0.1",
    }
    assert {name: ask(wire, f"fact {name}") for name in facts} == facts


def test_plugin_logs_with_the_request(httpd_factory, connect, plugins, tls,
                                      mode):
    """With all that a line can have, which is read from the copy."""
    server = httpd_factory(tls=tls, config=configuration(plugins),
                           server_config=f"""
        {ONE_CHILD}
        ErrorLogFormat "{EVERY_ITEM}"
        ErrorLogFormat connection "connection %L from %a to %A"
        ErrorLogFormat request "request %L %{{Host}}i"
        SetEnvIf Host . TENANT=blue""")
    wire = connect(server, f"/ws/{mode}/echo?name=logger")
    port = wire.socket.getsockname()[1]
    for _ in range(20):
        server.get("/page.txt?" + "z" * 2000, tls=False)
    assert ask(wire, "log hello") == "logged"
    assert "old plugin says hello" in ask(wire, "fact note error-notes")
    line = next(x for x in server.log().splitlines()
                if x.endswith("old plugin says hello"))
    assert f"[client 127.0.0.1:{port}]" in line
    assert f"[server 127.0.0.1:{server.address()[1]}]" in line
    assert " blue " in line and f" 127.0.0.1:{server.address()[1]} " in line
    assert "old plugin adds hello" in server.log()
    # which is told at the first line: that would be later, and in any thread
    assert not re.search("^(request|connection) ", server.log(), re.MULTILINE)
    wire.send(close_frame(1000))
    wait_for_end(server, "logger")


def test_level_of_a_location_holds(httpd_factory, connect, plugins):
    config = configuration(plugins) + """
        <Location "/ws">
            LogLevel websocket:debug
        </Location>
        <Location "/ws/loop/echo">
            LogLevel core:emerg
        </Location>"""
    server = httpd_factory(config=config)
    wire = connect(server, "/ws/loop/echo")
    for _ in range(20):
        server.get("/page.txt?" + "z" * 2000, tls=False)
    assert ask(wire, "log quiet") == "logged"
    wire = connect(server, "/ws/thread/echo")
    assert ask(wire, "log loud") == "logged"
    assert "old plugin says loud" in server.log()
    assert "old plugin says quiet" not in server.log()


def test_request_of_a_stream_of_http_2(httpd_factory, open_stream, plugins,
                                       mode):
    """Its connection is of mod_http2's making, and gone earlier."""
    server = httpd_factory(config=configuration(plugins), http2=True,
                           server_config=f"""
        {ONE_CHILD}
        ErrorLogFormat "{EVERY_ITEM}" """)
    wire = open_stream(server, f"/ws/{mode}/echo?name=stream")
    assert wire.response.status == 200
    for _ in range(20):
        server.get("/page.txt?" + "z" * 2000, tls=False)
    assert ask(wire, "fact client").startswith("(none)|(none)|127.0.0.1|")
    assert ask(wire, "log hello") == "logged"
    assert "old plugin says hello" in server.log()
    wire.send(close_frame(1000))
    wait_for_end(server, "stream")


# --- sends of a thread of the plugin's ---


def test_thread_sends(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/counter")
    for count in (1, 300):
        wire.send(frame(TEXT, f"count {count}"))
        for i in range(count):
            wire.expect(TEXT, str(i + 1))


def test_thread_sends_from_the_first_moment(connect, server, mode):
    for _ in range(20):
        wire = connect(server, f"/ws/{mode}/counter",
                       headers={"X-Count": "50"})
        for i in range(50):
            wire.expect(TEXT, str(i + 1))
        wire.close_socket()


def test_order_of_two_threads_that_take_turns(connect, server, mode):
    """One of them is on_message; the plugin's lock is the order."""
    wire = connect(server, f"/ws/{mode}/counter")
    for _ in range(3):
        wire.send(frame(TEXT, "both 200"))
        for i in range(400):
            wire.expect(TEXT, str(i + 1))


def test_thread_closes(connect, server, mode):
    wire = connect(server, f"/ws/{mode}/counter")
    wire.send(frame(TEXT, "close"))
    opcode, data, _ = wire.read_frame()
    assert (opcode, data) == (CLOSE, b"\x03\xe8")
    wire.send(close_frame(1000))
    wire.expect_end()


@pytest.mark.parametrize("way", ["close", "vanish", "reset"])
def test_client_goes_while_a_thread_sends(connect, server, mode, way):
    """That thread is joined in on_disconnect: who waits for whom?"""
    for i in range(20):
        wire = connect(server, f"/ws/{mode}/counter",
                       headers={"X-Flood": "1"} if i % 2 else None)
        if i % 2 == 0:
            wire.send(frame(TEXT, "flood"))
        for _ in range(i):
            wire.read_frame()
        if way == "close":
            wire.send(close_frame(1000))
            while wire.read_frame()[0] != CLOSE:
                pass
        if way == "reset":
            wire.reset()
        else:
            wire.close_socket()
    wait_until(lambda: b"WebSockets: 0\n" in
               server.get("/server-status?auto")[1], "all are gone")
    connect(server, f"/ws/{mode}/echo").echo()


# --- the end ---


@pytest.mark.parametrize("how", ["close", "send close"])
def test_plugin_closes(connect, server, mode, how):
    name = f"plugin{mode}{how.replace(' ', '')}{server.tls}"
    wire = connect(server, f"/ws/{mode}/echo?name={name}")
    wire.send(frame(TEXT, how) + frame(TEXT, "nothing comes any more"))
    if how == "close":
        wire.expect(TEXT, "last")
    opcode, data, _ = wire.read_frame()
    assert (opcode, data) == (CLOSE, b"\x03\xe8" if how == "close"
                              else b"\x0f\xa1bye")
    wire.send(frame(CLOSE, data))
    wire.expect_end()
    wait_for_end(server, name)


@pytest.mark.parametrize("way", ["close", "vanish", "reset"])
def test_one_on_disconnect(connect, server, mode, way):
    name = f"{mode}{way}{server.tls}"
    for _ in range(10):
        wire = connect(server, f"/ws/{mode}/echo?name={name}")
        wire.echo()
        if way == "close":
            wire.send(close_frame(1000))
            wire.expect_close(1000)
        if way == "reset":
            wire.reset()
        else:
            wire.close_socket()
    wait_for_end(server, name, 10)
    assert f"disconnects {name}, sends 0" in server.log()


def test_on_disconnect_does_not_wait_for_the_end_of_tcp(httpd_factory,
                                                        connect, plugins,
                                                        mode):
    server = httpd_factory(config=configuration(plugins) + """
        <Location "/ws">
            WebSocketCloseTimeout 120s
        </Location>""")
    wire = connect(server, f"/ws/{mode}/echo?name=lingerer")
    wire.send(close_frame(1000))
    wire.expect_close(1000)
    wait_for_end(server, "lingerer")


def test_on_disconnect_of_what_never_opened(httpd_factory, plugins, mode,
                                            tmp_path, tls):
    """The client goes while on_connect waits: the 101 finds nobody."""
    let_httpd_in(tmp_path)
    server = httpd_factory(tls=tls, config=configuration(plugins),
                           log_level="debug")
    wire = Wire(server.address(), tls)
    wire.send_request(f"/ws/{mode}/echo?name=lost&early=3"
                      f"&wait={tmp_path}/go")
    server.wait_for_log("old plugin waits")
    wire.reset()
    (tmp_path / "go").touch()
    wait_for_end(server, "lost")
    assert "compat: open" not in server.log()


def test_on_disconnect_waits_for_on_message(connect, plain, tmp_path):
    """The plugin aborts otherwise."""
    let_httpd_in(tmp_path)
    wire = connect(plain, "/ws/thread/echo?name=patient")
    wire.send(frame(TEXT, f"block until {tmp_path}/go"))
    wire.expect(TEXT, "blocking")
    wire.reset()
    # what it sends finds no client; the loop learns of that
    other = connect(plain, "/ws/thread/echo?name=other")
    other.send(close_frame(1000))
    other.expect_close(1000)
    wait_for_end(plain, "other")
    assert told(plain, "disconnects", "patient") == 0
    (tmp_path / "go").touch()
    wait_for_end(plain, "patient")


# --- plugins that block ---


def test_plugin_that_blocks_holds_up_nobody(httpd_factory, connect, plugins,
                                            tmp_path):
    let_httpd_in(tmp_path)
    server = httpd_factory(config=configuration(plugins),
                           server_config=ONE_CHILD)
    wire = connect(server, "/ws/thread/echo")
    wire.send(frame(TEXT, f"block until {tmp_path}/go")
              + frame(TEXT, "behind it"))
    wire.expect(TEXT, "blocking")
    for path in ("/ws/thread/echo", "/ws/loop/echo", "/ws/echo"):
        connect(server, path).echo()
    (tmp_path / "go").touch()
    wire.expect(TEXT, "done")
    wire.expect(TEXT, "BEHIND IT")


def test_nothing_comes_while_it_blocks(httpd_factory, connect, plugins,
                                       tmp_path):
    """Not even when the client has read what held up reading from it, too.
    (The plugin aborts when something comes.)"""
    let_httpd_in(tmp_path)
    server = httpd_factory(config=configuration(plugins) + """
        <Location "/ws">
            WebSocketSendQueue 8M
        </Location>""", server_config=ONE_CHILD + "SendBufferSize 65536\n")
    wire = connect(server, "/ws/thread/echo", receive_buffer=65536)
    wire.send(frame(TEXT, "push and return"))
    wire.socket.recv(1, socket.MSG_PEEK)    # and there is no room for more
    wire.send(frame(TEXT, f"push and block until {tmp_path}/go")
              + frame(TEXT, "behind it"))
    assert len(wire.read_frame()[1]) == 1 << 20
    assert len(wire.read_frame()[1]) == 1 << 20
    wire.expect(TEXT, "blocking")
    other = connect(server, "/ws/thread/echo")
    for _ in range(20):
        other.echo()
    (tmp_path / "go").touch()
    wire.expect(TEXT, "done")
    wire.expect(TEXT, "BEHIND IT")


def test_plugin_in_the_loop_is_named_when_it_blocks(httpd_factory, connect,
                                                    plugins, tmp_path):
    let_httpd_in(tmp_path)
    server = httpd_factory(config=configuration(plugins),
                           server_config=ONE_CHILD)
    wire = connect(server, "/ws/loop/echo")
    wire.send(frame(TEXT, f"block until {tmp_path}/go"))
    server.wait_for_log('handler compat is in its callback "message"')
    (tmp_path / "go").touch()
    wire.expect(TEXT, "blocking")
    wire.expect(TEXT, "done")


def test_more_block_than_there_are_threads(httpd_factory, connect, plugins,
                                           tmp_path):
    """The others wait, and none is lost."""
    let_httpd_in(tmp_path)
    server = httpd_factory(config=configuration(plugins),
                           server_config=ONE_CHILD + "WebSocketOffload threads=1 "
                           "queue=1\n")
    wires = [connect(server, "/ws/thread/echo") for _ in range(10)]
    for wire in wires:
        wire.send(frame(TEXT, f"block until {tmp_path}/go"))
    for wire in wires:
        wire.send(frame(TEXT, "and then"))
    connect(server, "/ws/echo").echo()
    (tmp_path / "go").touch()
    for wire in wires:
        for text in ("blocking", "done", "AND THEN"):
            wire.expect(TEXT, text)


# --- the configuration ---


@pytest.mark.parametrize("options, says", [
    ("", "needs plugin=PATH and init=SYMBOL"),
    ("plugin={echo}", "needs plugin=PATH and init=SYMBOL"),
    ("init=echo_init", "needs plugin=PATH and init=SYMBOL"),
    ("plugin=old.so init=echo_init", "plugin=old.so is no absolute path"),
    ("plugin=/no/such.so init=echo_init",
     "plugin cannot be loaded: /no/such.so"),
    ("plugin={echo} init=no_init", "has no symbol no_init"),
    ("plugin={echo} init=null_init", "null_init() returned NULL"),
    ("plugin={echo} init=version_init", "the plugin has version 1"),
    ("plugin={echo} init=size_init", "it has a size of 39 bytes"),
    ("plugin={echo} init=deaf_init", "the plugin has no on_message"),
    ("plugin={echo} init=echo_init blocking=perhaps", "blocking"),
])
def test_mistake_is_told(tmp_path, plugins, options, says):
    server = Httpd(tmp_path / "httpd", config=f"""
        <Location "/ws/old">
            WebSocketHandler {COMPAT} {options.format(**plugins)}
        </Location>""")
    good, output = server.check_config()
    assert not good
    assert says in output, output
    assert "httpd.conf" in output


def test_plugin_is_destroyed_with_the_configuration(httpd_factory, connect,
                                                    plugins):
    """As often as it was made, in the parent: children may not write here."""
    server = httpd_factory(config=configuration(plugins))
    notes = server.directory / "notes"

    def balance():
        text = notes.read_text()
        return text.count("init\n"), text.count("destroy\n")

    server.wait_for_log("resuming normal operations")
    made, destroyed = balance()
    assert made == destroyed + 2        # two locations
    server.restart()
    again, destroyed = balance()
    assert again == destroyed + 2 == made + 2
    connect(server, "/ws/thread/echo").echo()
    server.stop()
    made, destroyed = balance()
    assert made == destroyed


# --- the end of a child ---


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_plugin_goes_with_its_connections_to_a_keeper(httpd_factory, connect,
                                                      plugins, mpm, mode):
    server = httpd_factory(mpm=mpm, config=configuration(plugins))
    wire = connect(server, f"/ws/{mode}/echo?name=mover")
    assert ask(wire, "fact header X-Nothing") == "(none)"
    server.restart()
    server.wait_for_end_of_old()
    assert ask(wire, "still") == "STILL"
    assert ask(wire, "fact header Host").startswith("127.0.0.1")
    wire.send(close_frame(1000))
    wire.expect_close(1000)
    wait_for_end(server, "mover")


def test_plugin_with_threads_is_drained(httpd_factory, connect, plugins,
                                        mode):
    server = httpd_factory(config=configuration(plugins),
                           server_config="WebSocketReload drain\n"
                                         "WebSocketDrainTimeout 2s")
    wire = connect(server, f"/ws/{mode}/counter")
    wire.send(frame(TEXT, "count 3"))
    for i in range(3):
        wire.expect(TEXT, str(i + 1))
    server.restart()
    opcode, data, _ = wire.read_frame()
    assert (opcode, data[:2]) == (CLOSE, b"\x03\xf4")
    wire.send(frame(CLOSE, data))
    wire.expect_end()
    server.wait_for_end_of_old()
    wire = connect(server, f"/ws/{mode}/counter")
    wire.send(frame(TEXT, "count 1"))
    wire.expect(TEXT, "1")
