"""WebSockets over HTTP/2: RFC 8441. The modes h2 and h2c run all other cases
that apply; here are those about the stream itself."""
import os

from cases import ECHO, case, http2
from peer import BINARY, TEXT, Mismatch, check, close, frame, text

STREAMS = http2("is about streams of HTTP/2")
VERSION = "sec-websocket-version"


def on_streams(section, title, *only):
    return case(section, title, STREAMS, *only)


def not_opened(client, headers, path=ECHO, method="CONNECT",
               protocol="websocket"):
    """A request that must not open a WebSocket: it is refused with a status
    or a reset of its stream, and the connection lives on."""
    from stream import Meaning
    wire = client.connect()
    wire.protocol = protocol
    wire.headers = headers
    wire.method = method
    try:
        with Meaning():
            status = wire.open(path).status
    except Mismatch:
        check(wire.reset is not None and wire.reset.code is not None,
              "a refusal or a reset of the stream", "the connection's end")
        return None
    check(status >= 400, "a refusal", f"status {status}")
    return wire.response


# --- 3: the setting ---

@on_streams("8441 3", "server says that it takes extended CONNECT")
def _(client):
    ws = client.open()
    settings = ws.wire.connection.settings
    from h2wire import CONNECT_PROTOCOL
    check(settings.get(CONNECT_PROTOCOL) == 1,
          "SETTINGS_ENABLE_CONNECT_PROTOCOL = 1", dict(settings))


@on_streams("8441 3", "server does not take it back")
def _(client):
    from h2wire import CONNECT_PROTOCOL
    ws = client.open()
    ws.closes()
    again = client.another(ws)
    again.works()
    check(ws.wire.connection.settings.get(CONNECT_PROTOCOL) == 1,
          "SETTINGS_ENABLE_CONNECT_PROTOCOL = 1 still",
          dict(ws.wire.connection.settings))


# --- 4: the request ---

@on_streams("8441 4", "extended CONNECT is answered with 200")
def _(client):
    check(client.open().response.status == 200, "status 200", "another")


@on_streams("8441 4", "plain CONNECT opens nothing")
def _(client):
    not_opened(client, {VERSION: "13"}, protocol=None)


@on_streams("8441 4", "unknown protocol opens nothing")
def _(client):
    not_opened(client, {VERSION: "13"}, protocol="no-such-protocol")


@on_streams("8441 4", "empty protocol opens nothing")
def _(client):
    not_opened(client, {VERSION: "13"}, protocol="")


for method in ("GET", "POST", "PUT", "HEAD", "OPTIONS"):
    @on_streams("8441 4", f"{method} with :protocol opens nothing")
    def _(client, method=method):
        not_opened(client, {VERSION: "13"}, method=method)

    @on_streams("8441 4", f"{method} without :protocol opens nothing")
    def _(client, method=method):
        not_opened(client, {VERSION: "13"}, method=method, protocol=None)


@on_streams("8441 4", "CONNECT to another page opens nothing")
def _(client):
    not_opened(client, {VERSION: "13"}, path="/page.txt")


@on_streams("8441 4", "ordinary requests go on beside a WebSocket")
def _(client):
    ws = client.open()
    for _ in range(3):
        status, body = ws.wire.connection.get("/page.txt")
        check((status, body) == (200, b"an ordinary page\n"), "the page",
              (status, body))
        ws.works()


@on_streams("8441 4", "WebSocket opens beside ordinary requests")
def _(client):
    ws = client.open()
    ws.wire.connection.get("/page.txt")
    client.another(ws).works()


# --- 5: the WebSocket ---

@on_streams("8441 5", "answer has no field of HTTP/1.1's Upgrade")
def _(client):
    response = client.open().response
    for name in ("Upgrade", "Connection", "Sec-WebSocket-Accept",
                 "Transfer-Encoding", "Content-Length"):
        check(response[name] is None, f"no {name}", response[name])


@on_streams("8441 5", "key is not needed, and ignored when it is there")
def _(client):
    for key in ("dGhlIHNhbXBsZSBub25jZQ==", "no key at all"):
        ws = client.open(headers={"sec-websocket-key": key})
        check(ws.response["Sec-WebSocket-Accept"] is None, "no accept value",
              ws.response["Sec-WebSocket-Accept"])
        ws.works()


@on_streams("8441 5", "missing version opens nothing")
def _(client):
    response = not_opened(client, {})
    check(response is not None and response[VERSION] == "13",
          "a refusal that names version 13", response)


for name, value in {"connection": "upgrade", "upgrade": "websocket",
                    "transfer-encoding": "chunked"}.items():
    @on_streams("8441 5", f"field {name}, which HTTP/2 has not, opens nothing")
    def _(client, name=name, value=value):
        not_opened(client, {VERSION: "13", name: value})


@on_streams("8441 5", "END_STREAM from the server follows its Close")
def _(ws):
    ws.send(close(1000))
    ws.expect_close(1000)


@on_streams("8441 5", "END_STREAM from the client behind its Close is fine")
def _(ws):
    ws.send(close(1000))
    ws.send_end()
    ws.expect_close(1000)


@on_streams("8441 5", "END_STREAM from the client is what FIN is")
def _(ws):
    ws.works()
    ws.send_end()
    ws.expect_end()


@on_streams("8441 5", "END_STREAM in the DATA of the Close is fine")
def _(ws):
    connection = ws.wire.connection
    connection.h2.send_data(ws.wire.id, close(1000), end_stream=True)
    connection.flush()
    ws.ended = True
    ws.expect_close(1000)


@on_streams("8441 5", "RST_STREAM from the client leaves other streams alone")
def _(client):
    ws = client.open()
    other = client.another(ws)
    ws.works()
    ws.wire.reset_stream()
    other.works()
    check(other.wire.connection.get("/page.txt")[0] == 200, "the page",
          "something else")


@on_streams("8441 5", "RST_STREAM inside a message leaves other streams alone")
def _(client):
    ws = client.open()
    other = client.another(ws)
    ws.send(frame(BINARY, bytes(50_000))[:20_000])
    ws.wire.reset_stream()
    other.works()


@on_streams("8441 5", "failure of one stream leaves the others alone")
def _(client):
    ws = client.open()
    other = client.another(ws)
    ws.expect_refused(1002, frame(3))
    other.works()
    other.closes()


@on_streams("8441 5", "two streams of a connection do not hear each other")
def _(client):
    ws = client.open()
    other = client.another(ws)
    ws.send(text("first"))
    other.send(text("second"))
    other.expect_text("second")
    ws.expect_text("first")


@on_streams("8441 5", "two streams send large messages at a time")
def _(client):
    ws = client.open()
    other = client.another(ws)
    first, second = os.urandom(300_000), os.urandom(300_000)
    ws.send_binary(first)
    other.send_binary(second)
    ws.expect_binary(first)
    other.expect_binary(second)


@on_streams("8441 5", "twenty WebSockets one after the other on a connection")
def _(client):
    ws = client.open()
    for _ in range(20):
        ws.works()
        ws.closes()
        ws = client.another(ws)


@on_streams("8441 5", "client that leaves the whole connection disturbs "
            "nobody")
def _(client):
    other = client.open()
    for _ in range(3):
        ws = client.open()
        client.another(ws).works()
        ws.wire.connection.close()
    other.works()


@on_streams("8441 5", "frames do not care how DATA is cut")
def _(ws):
    frames = b"".join(text(f"message {i}") for i in range(20))
    for at in range(0, len(frames), 7):
        ws.wire.send(frames[at:at + 7])
    for i in range(20):
        ws.expect_text(f"message {i}")


@on_streams("8441 5", "empty DATA is nothing")
def _(ws):
    connection = ws.wire.connection
    whole = text("abc")
    for piece in (b"", whole[:4], b"", b"", whole[4:], b""):
        connection.h2.send_data(ws.wire.id, piece)
        connection.flush()
    ws.expect_text("abc")


@on_streams("8441 5", "padding of DATA is no data")
def _(ws):
    connection = ws.wire.connection
    for padding in (0, 1, 100, 255):
        connection.h2.send_data(ws.wire.id, text("padded"),
                                pad_length=padding)
        connection.flush()
        ws.expect_text("padded")


@on_streams("8441 5", "PING of HTTP/2 is not of the WebSocket")
def _(ws):
    ws.wire.connection.h2.ping(b"12345678")
    ws.wire.connection.flush()
    ws.echoes(TEXT, "only this")
