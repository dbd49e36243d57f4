"""The opening handshake: RFC 6455 4.2."""
import base64
import os
import subprocess

import pytest

from httpd import HANDLERS
from wire import BINARY, TEXT, frame

KEY = "Sec-WebSocket-Key"
VERSION = "Sec-WebSocket-Version"
PROTOCOL = "Sec-WebSocket-Protocol"


def key_of(size):
    return base64.b64encode(bytes(range(size))).decode()


def test_good_handshake_is_answered_with_101(connect, mpm_server):
    wire = connect(mpm_server)
    assert wire.response.status == 101
    assert wire.response.headers["upgrade"].lower() == "websocket"
    assert wire.response.headers["connection"].lower() == "upgrade"
    assert (wire.response.headers["sec-websocket-accept"]
            == wire.expected_accept())
    assert "sec-websocket-protocol" not in wire.response.headers
    assert "content-length" not in wire.response.headers
    wire.echo()


@pytest.mark.parametrize("headers", [
    {"Upgrade": "WebSocket"},
    {"Upgrade": "h2c, websocket"},
    {"Connection": "keep-alive, Upgrade"},
    {"Connection": "KEEP-ALIVE,\tUPGRADE"},
    {"Connection": ["keep-alive", "Upgrade"]},
    {"Origin": None},
    {PROTOCOL: "other, chat.v2"},
    {"Content-Length": "0"},
], ids=str)
def test_variants_that_are_good(connect, server, headers):
    wire = connect(server, headers=headers)
    assert wire.response.status == 101
    wire.echo()


@pytest.mark.parametrize("headers, status, why", [
    ({"Upgrade": None, "Connection": None}, 426, "not a WebSocket client"),
    ({"Upgrade": "h2c"}, 426, "not a WebSocket client"),
    ({"Upgrade": "websocket2"}, 426, "not a WebSocket client"),
    ({"Connection": "keep-alive"}, 400, "Connection: Upgrade"),
    ({"Connection": None}, 400, "Connection: Upgrade"),
    ({VERSION: None}, 426, "Version is not 13"),
    ({VERSION: "12"}, 426, "Version is not 13"),
    ({VERSION: "13, 8"}, 426, "Version is not 13"),
    ({KEY: None}, 400, "no Sec-WebSocket-Key"),
    ({KEY: ""}, 400, "Sec-WebSocket-Key"),
    ({KEY: key_of(15)}, 400, "is not 16 bytes"),
    ({KEY: key_of(17)}, 400, "is not 16 bytes"),
    ({KEY: "A" * 24}, 400, "is not 16 bytes"),
    ({KEY: "!" * 22 + "=="}, 400, "is not 16 bytes"),
    ({KEY: [key_of(16), key_of(16)]}, 400, "is not 16 bytes"),
    ({PROTOCOL: "a b"}, 400, "no list of tokens"),
    ({"Content-Length": "5"}, 400, "has a body"),
    ({"Transfer-Encoding": "chunked"}, 400, "has a body"),
], ids=lambda value: str(value)[:50])
def test_refused_with_reason_in_log(connect, server, headers, status, why):
    before = server.log().count(why)
    wire = connect(server, headers=headers)
    assert wire.response.status == status
    server.wait_for_log(f"refused with {status}: .*{why}", before + 1)
    if status == 426:
        assert wire.response.headers["sec-websocket-version"] == "13"
        assert wire.response.headers["upgrade"] == "websocket"
        assert "Upgrade" in wire.response.headers["connection"]


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_other_methods_get_405(connect, server, method):
    wire = connect(server, method=method)
    assert wire.response.status == 405
    assert "GET" in wire.response.headers["allow"]
    assert "POST" not in wire.response.headers["allow"]


def test_http_1_0_is_refused(connect, server):
    assert connect(server, version="HTTP/1.0").response.status == 400


def test_plain_get_gets_426(server):
    status, _, headers = server.get("/ws/echo")
    assert status == 426
    assert headers["Upgrade"] == "websocket"


def test_connection_is_good_for_http_after_a_refusal(connect, server):
    wire = connect(server, headers={VERSION: "8"})
    assert wire.response.status == 426
    wire.read(int(wire.response.headers["content-length"]))
    wire.headers[VERSION] = "13"
    if wire.response.headers["connection"].lower() != "close":
        assert wire.open("/ws/echo").status == 101
        wire.echo()


def test_handshake_after_requests_on_the_same_connection(connect, server):
    wire = connect(server, "/page.txt")
    assert wire.response.status == 200
    wire.read(int(wire.response.headers["content-length"]))
    assert wire.open("/ws/echo").status == 101
    wire.echo()


def test_other_urls_are_ordinary_pages(connect, server):
    assert server.get("/page.txt")[:2] == (200, b"an ordinary page\n")
    assert server.get("/ws/nothing")[0] == 404
    assert connect(server, "/page.txt").response.status == 200


# --- subprotocols ---

@pytest.mark.parametrize("offer", ["echo", "other, echo", "echo,echo",
                                   ["other", "echo"]], ids=str)
def test_subprotocol_is_chosen_from_the_offer(connect, server, offer):
    wire = connect(server, headers={PROTOCOL: offer})
    assert wire.response.headers["sec-websocket-protocol"] == "echo"


@pytest.mark.parametrize("offer", ["other", "Echo", "echo2"])
def test_no_subprotocol_that_was_not_offered(connect, server, offer):
    wire = connect(server, headers={PROTOCOL: offer})
    assert wire.response.status == 101
    assert "sec-websocket-protocol" not in wire.response.headers


def test_unknown_extensions_are_declined(connect, server):
    wire = connect(server, headers={
        "Sec-WebSocket-Extensions": "x-unknown; a=1, permessage-zip"})
    assert wire.response.status == 101
    assert "sec-websocket-extensions" not in wire.response.headers
    wire.echo()


# --- frames behind the request ---

def test_frames_in_the_packet_of_the_request(connect, mpm_server):
    extra = b"".join(frame(TEXT, f"early {i}") for i in range(50))
    wire = connect(mpm_server, extra=extra)
    for i in range(50):
        wire.expect(TEXT, f"early {i}")
    wire.echo()


def test_half_a_frame_in_the_packet_of_the_request(connect, mpm_server):
    data = os.urandom(20000)
    whole = frame(BINARY, data)
    for cut in (1, 3, 8, 9, 1000, 9000):
        wire = connect(mpm_server, extra=whole[:cut])
        wire.send(whole[cut:])
        wire.expect(BINARY, data)


def test_many_early_bytes(connect, mpm_server):
    data = os.urandom(900_000)
    wire = connect(mpm_server, extra=frame(BINARY, data))
    wire.expect(BINARY, data)


# --- origin ---

def origin(server, host="127.0.0.1", port=None):
    scheme = "https" if server.tls else "http"
    return f"{scheme}://{host}:{port or server.address()[1]}"


def test_same_origin_is_let_in(connect, server):
    wire = connect(server, headers={"Origin": origin(server)})
    assert wire.response.status == 101


@pytest.mark.parametrize("make", [
    lambda s: "https://evil.example",
    lambda s: origin(s, "evil.example"),
    lambda s: origin(s, port=1),
    lambda s: origin(s, "127.0.0.1.evil.example"),
    lambda s: "null",
    lambda s: "",
    lambda s: [origin(s), "https://evil.example"],
], ids=["other site", "other host", "other port", "longer host", "null",
        "empty", "two"])
def test_other_origins_get_403(connect, server, make):
    before = server.log().count("is not allowed for host")
    wire = connect(server, headers={"Origin": make(server)})
    assert wire.response.status == 403
    server.wait_for_log("refused with 403: .*is not allowed for host",
                        before + 1)


def test_page_in_the_clear_may_not_use_tls(connect, server):
    plain = origin(server).replace("https:", "http:")
    wire = connect(server, headers={"Origin": plain})
    assert wire.response.status == (403 if server.tls else 101)


def test_listed_origins(connect, httpd_factory):
    server = httpd_factory(config=f"""
        <Location "/ws/listed">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketOrigin https://a.example http://b.example:8080 same
        </Location>
        <Location "/ws/any">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketOrigin any
        </Location>""")

    def status(path, value):
        return connect(server, path, headers={"Origin": value}).response.status

    assert status("/ws/listed", "https://a.example") == 101
    assert status("/ws/listed", "https://a.example:443") == 101
    assert status("/ws/listed", "HTTPS://A.EXAMPLE") == 101
    assert status("/ws/listed", "http://a.example") == 403
    assert status("/ws/listed", "http://b.example:8080") == 101
    assert status("/ws/listed", "http://b.example") == 403
    assert status("/ws/listed", origin(server)) == 101
    assert status("/ws/listed", "https://c.example") == 403
    assert status("/ws/any", "https://c.example") == 101
    assert status("/ws/any", "null") == 101


# --- httpd's own rules come first ---

def basic(user, password):
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def test_basic_auth_and_require_apply_first(connect, httpd_factory, tls,
                                            tmp_path):
    users = tmp_path / "users"
    # "secret", SHA-1 in base64
    users.write_text("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    users.chmod(0o644)
    server = httpd_factory(tls=tls, config=f"""
        <Location "/ws/private">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            AuthType Basic
            AuthName "private"
            AuthUserFile {users}
            Require valid-user
        </Location>
        <Location "/ws/nobody">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            Require all denied
        </Location>""")
    assert connect(server, "/ws/private").response.status == 401
    assert connect(server, "/ws/private",
                   headers=basic("ann", "wrong")).response.status == 401
    wire = connect(server, "/ws/private", headers=basic("ann", "secret"))
    assert wire.response.status == 101
    wire.echo()
    assert connect(server, "/ws/nobody").response.status == 403
    # a bad handshake without a password is asked for the password
    assert connect(server, "/ws/private",
                   headers={VERSION: "8"}).response.status == 401


def test_handler_is_switched_off_below(connect, httpd_factory):
    server = httpd_factory(config="""
        <Location "/ws/echo/not">
            WebSocketHandler none
        </Location>""")
    assert connect(server, "/ws/echo/yes").response.status == 101
    assert connect(server, "/ws/echo/not").response.status == 404


def test_stream_of_http2_is_refused(connect, httpd_factory):
    server = httpd_factory(server_config="""
        <IfModule !http2_module>
            LoadModule http2_module ${MODULES}/mod_http2.so
        </IfModule>
        Protocols h2c http/1.1""")
    done = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}",
         "--http2-prior-knowledge", server.url("/ws/echo")],
        check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 400"
    server.wait_for_log("refused with 400: protocol is not HTTP/1.1")
    connect(server).echo()          # and beside it HTTP/1.1 works


def test_access_log_says_101(connect, httpd_factory):
    server = httpd_factory()
    connect(server).echo()
    server.stop()
    assert "101 /ws/echo\n" in server.access_log.read_text()
