"""The opening handshake: RFC 6455 4, 10.2 and 11.3.4."""
import base64
import os

from cases import ECHO, HAS_UPGRADE, case, http1
from httpd import wait_until
from peer import accept_of, binary, check, split, text

KEY = "Sec-WebSocket-Key"
VERSION = "Sec-WebSocket-Version"
PROTOCOL = "Sec-WebSocket-Protocol"

HTTP_SYNTAX = http1("is about the syntax of HTTP/1.1")
NO_BODY = http1("over HTTP/2 what follows the request is the WebSocket")


def accepted(section, title, headers, *only, **options):
    """A handshake with these headers is accepted."""
    @case(section, title, *only)
    def _(client):
        client.expect_opened(headers, **options)


def refused(section, title, status, headers, *only, **options):
    """A handshake with these headers gets this status. HTTP/2 has no 426:
    RFC 9113 8.6."""
    @case(section, title, *only)
    def _(client):
        is_426 = status == 426
        response = client.expect_status(
            400 if is_426 and client.mode.http2 else status, headers,
            **options)
        if is_426:
            check_names_version(response, client.mode)


def check_names_version(response, mode):
    """RFC 6455 4.4, RFC 9110 15.5.22."""
    check(response[VERSION] == "13", f"{VERSION}: 13", response[VERSION])
    if not mode.http2:
        check(response["Upgrade"] == "websocket", "Upgrade: websocket",
              response["Upgrade"])


def key_of(size):
    return base64.b64encode(bytes(i % 256 for i in range(size))).decode()


# --- 4.1: what a client may send ---

accepted("4.1", "names of header fields in small letters", {}, HAS_UPGRADE,
         rename=str.lower)
accepted("4.1", "names of header fields in capitals", {}, HAS_UPGRADE,
         rename=str.upper)
accepted("4.1", "header fields that nobody knows are ignored",
         {"X-Unknown": "1", "Cookie": "a=b", "User-Agent": "conformance"})
accepted("4.1", "ninety more header fields",
         {f"X-Field-{i}": "x" for i in range(90)})
accepted("4.1", "header field of 8000 bytes", {"X-Long": "x" * 8000})
accepted("4.1", "query in the URI", {}, path=ECHO + "?a=b&c=%20d")
accepted("4.1", "path below the location", {}, path=ECHO + "/a/b")
accepted("4.1", "escaped letter in the path", {}, path="/ws/%65cho")
accepted("4.1", "query of 4000 bytes", {}, path=ECHO + "?" + "q" * 4000)
refused("4.1", "unknown path gets 404", 404, {}, path="/ws/nothing")


@case("4.1", "absolute URI with http is accepted", HAS_UPGRADE)
def _(client):
    wire = client.connect()
    host = wire.default_headers()["Host"]
    client.expect_opened(path=f"http://{host}{ECHO}", wire=wire)


@case("4.1", "absolute URI with https is accepted", HAS_UPGRADE)
def _(client):
    wire = client.connect()
    host = wire.default_headers()["Host"]
    client.expect_opened(path=f"https://{host}{ECHO}", wire=wire)


@case("4.1", "order of the header fields does not matter", HAS_UPGRADE)
def _(client):
    wire = client.connect()
    fields = dict(reversed(wire.default_headers().items()))
    client.ask_in_http1(wire, wire.request_bytes(ECHO, fields))
    check(wire.response.status == 101, "status 101", wire.response)


@case("4.1", "two WebSockets at a time do not hear each other")
def _(client):
    first, second = client.open(), client.open()
    first.send_text("first")
    second.send_text("second")
    second.expect_text("second")
    first.expect_text("first")


@case("4.1", "twenty WebSockets at a time")
def _(client):
    sockets = [client.open() for _ in range(20)]
    for i, ws in enumerate(sockets):
        ws.send_text(f"number {i}")
    for i, ws in enumerate(sockets):
        ws.expect_text(f"number {i}")


# --- 4.2.1: reading the request ---

for name in ("POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "PROPFIND"):
    refused("4.2.1", f"method {name} gets 405", 405, {}, HAS_UPGRADE,
            method=name)


def not_opened(title, *only, headers=None, **options):
    """Refused; with which status is a matter of HTTP."""
    @case("4.2.1", title, *only)
    def _(client):
        wire = client.request(headers=headers, slowly=True, **options)
        check(400 <= wire.response.status <= 599, "status of a refusal",
              wire.response)


not_opened("unknown method is refused", HAS_UPGRADE, method="SOCKET")
not_opened("method in small letters is refused", HAS_UPGRADE, method="get")
not_opened("HTTP/2.0 in a request line of HTTP/1 is refused", HTTP_SYNTAX,
           version="HTTP/2.0")
not_opened("version that is none is refused", HTTP_SYNTAX, version="HTTP/x.y")
not_opened("Host twice is refused", HTTP_SYNTAX,
           headers={"Host": ["127.0.0.1", "127.0.0.1"]})
not_opened("Host with a blank in it is refused", HTTP_SYNTAX,
           headers={"Host": "127.0.0.1 localhost"})
not_opened("asterisk instead of a path is refused", HTTP_SYNTAX, path="*")
not_opened("URI over 8190 bytes is refused", HTTP_SYNTAX,
           path=ECHO + "?" + "q" * 9000)
not_opened("header field over 8190 bytes is refused",
           headers={"X-Long": "x" * 9000})
not_opened("two hundred header fields are refused", HTTP_SYNTAX,
           headers={f"X-Field-{i}": "x" for i in range(200)})
not_opened("blank before the colon is refused", HTTP_SYNTAX,
           headers={"X-Blank ": "x"})
not_opened("header field without a name is refused", HTTP_SYNTAX,
           headers={"": "x"})
not_opened("NUL in a header field is refused", HTTP_SYNTAX,
           headers={"X-Nul": "a\0b"})
not_opened("control character in a header field is refused", HTTP_SYNTAX,
           headers={"X-Bell": "a\7b"})
not_opened("path that climbs out of the root is refused", path="/../../x")

refused("4.2.1", "HTTP/1.0 gets 400", 400, {}, HTTP_SYNTAX,
        version="HTTP/1.0")
refused("4.2.1", "missing Host gets 400", 400, {"Host": None}, HTTP_SYNTAX)
accepted("4.2.1", "HTTP/1.2 is as good as HTTP/1.1", {}, HTTP_SYNTAX,
         version="HTTP/1.2")
accepted("4.2.1", "Host without a port", {"Host": "localhost"}, HTTP_SYNTAX)
accepted("4.2.1", "Host with a port", {"Host": "localhost:8080"}, HTTP_SYNTAX)
accepted("4.2.1", "Host of IPv6", {"Host": "[::1]:8080"}, HTTP_SYNTAX)

for value in ("WebSocket", "WEBSOCKET", "webSocket"):
    accepted("4.2.1", f"Upgrade: {value}", {"Upgrade": value}, HAS_UPGRADE)
for title, value in {
        "behind another protocol": "h2c, websocket",
        "before another protocol": "websocket, h2c",
        "without a blank behind the comma": "h2c,websocket",
        "behind empty elements": ", ,websocket",
        "before empty elements": "websocket, ,",
        "with blanks around it": "   websocket   ",
        "with tabs around it": "\twebsocket\t",
        "in the second of two lines": ["h2c", "websocket"],
        "in the first of two lines": ["websocket", "h2c"],
        "twice": ["websocket", "websocket"]}.items():
    accepted("4.2.1", f"Upgrade: websocket {title}", {"Upgrade": value},
             HAS_UPGRADE)
for title, value in {
        "missing": None, "empty": "", "another protocol": "h2c",
        "longer": "websocket2", "shorter": "websocke",
        "with a version": "websocket/13", "with a parameter": "websocket;v=13",
        "in quotes": '"websocket"', "in two words": "web socket",
        "only commas": ",,,"}.items():
    refused("4.2.1", f"Upgrade {title} gets 426", 426, {"Upgrade": value},
            HAS_UPGRADE)

for title, value in {
        "in small letters": "upgrade", "in capitals": "UPGRADE",
        "behind keep-alive": "keep-alive, Upgrade",
        "before keep-alive": "Upgrade, keep-alive",
        "behind a tab": "keep-alive,\tUpgrade",
        "behind close": "close, Upgrade",
        "among empty elements": ",, Upgrade ,,",
        "in the second of two lines": ["keep-alive", "Upgrade"],
        "in the first of two lines": ["Upgrade", "keep-alive"]}.items():
    accepted("4.2.1", f"Connection: Upgrade {title}", {"Connection": value},
             HAS_UPGRADE)
for title, value in {
        "missing": None, "empty": "", "only keep-alive": "keep-alive",
        "longer": "Upgrades", "shorter": "Upgrad", "in quotes": '"Upgrade"',
        "with a parameter": "Upgrade;q=1"}.items():
    refused("4.2.1", f"Connection {title} gets 400", 400,
            {"Connection": value}, HAS_UPGRADE)

for title, value in {
        "of 16 zeros": base64.b64encode(bytes(16)).decode(),
        "of 16 ones": base64.b64encode(b"\xff" * 16).decode(),
        "with blanks around it": f"  {key_of(16)}  ",
        "with plus and slash": base64.b64encode(
            b"\xfb\xef\xbe\xff" * 4).decode()}.items():
    accepted("4.2.1", f"key {title}", {KEY: value}, HAS_UPGRADE)
GOOD = key_of(16)
for title, value in {
        "missing": None, "empty": "", "of 0 bytes": "====",
        "of 15 bytes": key_of(15), "of 17 bytes": key_of(17),
        "of 18 bytes": key_of(18), "of 32 bytes": key_of(32),
        "of 3000 bytes": key_of(3000),
        "without padding": GOOD[:22], "with half its padding": GOOD[:23],
        "with too much padding": GOOD + "=",
        "with three of padding": GOOD[:21] + "===",
        "with padding inside": GOOD[:10] + "==" + GOOD[10:22],
        "with bits beyond its 16 bytes": GOOD[:21] + "x==",
        "with a blank inside": GOOD[:10] + " " + GOOD[11:],
        "with what is not base64": "!" * 22 + "==",
        "in base64 for URLs": "-_" * 11 + "==",
        "in quotes": f'"{GOOD}"', "in hexadecimal": bytes(range(16)).hex(),
        "with a second one behind a comma": f"{GOOD}, {GOOD}",
        "in two lines": [GOOD, GOOD],
        "in two lines that differ": [GOOD, key_of(15)]}.items():
    refused("4.2.1", f"key {title} gets 400", 400, {KEY: value}, HAS_UPGRADE)

refused("4.2.1", "body gets 400", 400, {"Content-Length": "5"}, NO_BODY,
        extra=b"12345")
refused("4.2.1", "announced body that does not come gets 400", 400,
        {"Content-Length": "1000000"}, NO_BODY)
refused("4.2.1", "body in chunks gets 400", 400,
        {"Transfer-Encoding": "chunked"}, NO_BODY, extra=b"0\r\n\r\n")
accepted("4.2.1", "Content-Length: 0 is no body", {"Content-Length": "0"},
         NO_BODY)
not_opened("length of a body that is none is refused", NO_BODY,
           headers={"Content-Length": "five"})
not_opened("negative length of a body is refused", NO_BODY,
           headers={"Content-Length": "-1"})
not_opened("two lengths of a body are refused", NO_BODY,
           headers={"Content-Length": ["0", "5"]}, extra=b"12345")


@case("4.2.1", "lines that end without CR are refused", HTTP_SYNTAX)
def _(client):
    wire = client.connect()
    data = wire.request_bytes(ECHO, wire.default_headers())
    client.ask_in_http1(wire, data.replace(b"\r\n", b"\n"))
    check(wire.response.status == 400, "status 400", wire.response)


@case("4.2.1", "empty line before the request is ignored", HTTP_SYNTAX)
def _(client):
    wire = client.connect()
    data = wire.request_bytes(ECHO, wire.default_headers())
    client.ask_in_http1(wire, b"\r\n" + data)
    check(wire.response.status == 101, "status 101", wire.response)


@case("4.2.1", "request cut in two at every tenth byte", HTTP_SYNTAX)
def _(client):
    wire = client.connect()
    size = len(wire.request_bytes(ECHO, wire.default_headers()))
    for cut in range(10, size, 10):
        wire = client.connect()
        data = wire.request_bytes(ECHO, wire.default_headers())
        wire.send(data[:cut])
        client.ask_in_http1(wire, data[cut:], slowly=False)
        check(wire.response.status == 101, f"status 101 with cut {cut}",
              wire.response)


@case("4.2.1", "request that ends half-way opens nothing", HTTP_SYNTAX)
def _(client):
    wire = client.connect()
    data = wire.request_bytes(ECHO, wire.default_headers())
    wire.send(data[:-2])
    wire.send_end()
    while wire.fill():
        pass
    check(b" 101 " not in wire.buffer, "no 101", wire.buffer)


@case("4.2.1", "request behind another one on the same connection",
      HTTP_SYNTAX)
def _(client):
    wire = client.request("/page.txt", {"Connection": None, "Upgrade": None})
    check(wire.response.status == 200, "status 200", wire.response)
    wire.read(int(wire.response["content-length"]))
    client.expect_opened(wire=wire)


@case("4.2.1", "request in the same packet as another one", HTTP_SYNTAX)
def _(client):
    wire = client.connect()
    page = b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    shake = wire.request_bytes(ECHO, wire.default_headers())
    client.ask_in_http1(wire, page + shake)
    check(wire.response.status == 200, "status 200", wire.response)
    wire.read(int(wire.response["content-length"]))
    check(wire.read_response().status == 101, "status 101", wire.response)


@case("4.2.1", "connection is good for HTTP after a refusal", HTTP_SYNTAX)
def _(client):
    wire = client.request(headers={VERSION: "8"}, slowly=True)
    check(wire.response.status == 426, "status 426", wire.response)
    wire.read(int(wire.response["content-length"]))
    client.expect_opened(wire=wire)


@case("4.2.1", "second handshake is read as frames, and fails", HTTP_SYNTAX)
def _(client):
    ws = client.open()
    ws.expect_refused(1002, ws.wire.request_bytes(
        ECHO, ws.wire.default_headers()))


# --- 4.2.1: frames that come early ---

@case("4.2.1", "frame in the packet of the request is not lost")
def _(client):
    ws = client.open(extra=text("early"), slowly=True)
    ws.expect_text("early")
    ws.works()


@case("4.2.1", "hundred frames in the packet of the request are not lost")
def _(client):
    ws = client.open(extra=b"".join(text(f"early {i}") for i in range(100)))
    for i in range(100):
        ws.expect_text(f"early {i}")


@case("4.2.1", "half a frame in the packet of the request goes on")
def _(client):
    data = os.urandom(3000)
    start, rest = split(binary(data), 2)
    ws = client.open(extra=start)
    ws.send(rest)
    ws.expect_binary(data)


@case("4.2.1", "first byte of a frame in the packet of the request goes on")
def _(client):
    data = binary(b"12345")
    ws = client.open(extra=data[:1])
    ws.send(data[1:])
    ws.expect_binary(b"12345")


@case("4.2.1", "message of 500,000 bytes right behind the request")
def _(client):
    data = os.urandom(500_000)
    ws = client.open(extra=binary(data))
    ws.expect_binary(data)


@case("4.2.1", "violation in the packet of the request is answered")
def _(client):
    client.open(extra=text("a", rsv=1)).expect_close(1002)


# --- 4.2.2: the answer ---

@case("4.2.2", "accept value of the example", HAS_UPGRADE)
def _(client):
    response = client.open(headers={KEY: "dGhlIHNhbXBsZSBub25jZQ=="}).response
    check(response["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
          "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", response["Sec-WebSocket-Accept"])


@case("4.2.2", "accept values of random keys", HAS_UPGRADE)
def _(client):
    for _ in range(20):
        key = base64.b64encode(os.urandom(16)).decode()
        came = client.open(headers={KEY: key}).response["Sec-WebSocket-Accept"]
        check(came == accept_of(key), f"{accept_of(key)} for {key}", came)


@case("4.2.2", "accept value leaves out blanks around the key", HAS_UPGRADE)
def _(client):
    came = client.open(headers={KEY: f"  {GOOD}\t"}).response[
        "Sec-WebSocket-Accept"]
    check(came == accept_of(GOOD), accept_of(GOOD), came)


@case("4.2.2", "status line says 101 Switching Protocols", HAS_UPGRADE)
def _(client):
    line = client.open().response.lines[0]
    check(line == "HTTP/1.1 101 Switching Protocols",
          "HTTP/1.1 101 Switching Protocols", line)


@case("4.2.2", "Upgrade: websocket, once", HAS_UPGRADE)
def _(client):
    values = client.open().response.all("Upgrade")
    check([v.lower() for v in values] == ["websocket"], "one websocket",
          values)


@case("4.2.2", "Connection: Upgrade, once", HAS_UPGRADE)
def _(client):
    values = client.open().response.all("Connection")
    check([v.lower() for v in values] == ["upgrade"], "one Upgrade", values)


@case("4.2.2", "one Sec-WebSocket-Accept", HAS_UPGRADE)
def _(client):
    values = client.open().response.all("Sec-WebSocket-Accept")
    check(len(values) == 1 and len(values[0]) == 28,
          "one value of 28 characters", values)


@case("4.2.2", "no header field of a body", HAS_UPGRADE)
def _(client):
    response = client.open().response
    for name in ("Content-Length", "Transfer-Encoding", "Content-Type"):
        check(response[name] is None, f"no {name}", response[name])


@case("4.2.2", "no header field that has no place there", HAS_UPGRADE)
def _(client):
    names = [name for name, _ in client.open().response.fields]
    allowed = {"upgrade", "connection", "sec-websocket-accept",
               "sec-websocket-extensions", "date", "server"}
    check(set(names) <= allowed and len(names) == len(set(names)),
          f"at most {sorted(allowed)}, once each", names)


@case("4.2.2", "no subprotocol that nobody asked for")
def _(client):
    came = client.open().response[PROTOCOL]
    check(came is None, "no subprotocol", came)


@case("4.2.2", "no frame before the client sends one")
def _(client):
    ws = client.open()
    ws.works()
    ws.closes()


@case("4.2.2", "refusal is a whole HTTP response", HTTP_SYNTAX)
def _(client):
    wire = client.request(headers={KEY: "bad"}, slowly=True)
    check(wire.response.status == 400, "status 400", wire.response)
    check(wire.response["Sec-WebSocket-Accept"] is None, "no accept value",
          wire.response["Sec-WebSocket-Accept"])
    length = int(wire.response["Content-Length"])
    wait_until(lambda: len(wire.buffer) >= length or not wire.fill(),
               "body of the refusal")
    check(len(wire.buffer) >= length, f"body of {length} bytes",
          len(wire.buffer))


# --- 4.4: versions ---

accepted("4.4", "version with blanks around it", {VERSION: "  13  "})
for title, value in {
        "missing": None, "empty": "", "0": "0", "4": "4", "7": "7", "8": "8",
        "12": "12", "14": "14", "25": "25", "255": "255", "256": "256",
        "-13": "-13", "+13": "+13", "013": "013", "13.0": "13.0",
        "0x0d": "0x0d", "13a": "13a", "in quotes": '"13"',
        "list of versions": "13, 8", "other list of versions": "8, 13",
        "in two lines": ["13", "13"],
        "in two lines that differ": ["8", "13"]}.items():
    refused("4.4", f"version {title} is refused, the right one named", 426,
            {VERSION: value})


@case("4.4", "client that learns the version is let in", HAS_UPGRADE)
def _(client):
    wire = client.request(headers={VERSION: "25"})
    check(wire.response.status == 426, "status 426", wire.response)
    wire.read(int(wire.response["content-length"]))
    client.expect_opened({VERSION: wire.response[VERSION]}, wire=wire)


# --- 10.2: the origin ---

def same_origin(client):
    scheme = "https" if client.mode.secure else "http"
    port = client.server.address(client.mode.secure)[1]
    return f"{scheme}://127.0.0.1:{port}"


accepted("10.2", "request without an origin is let in", {"Origin": None})


@case("10.2", "page of the same origin is let in")
def _(client):
    client.expect_opened({"Origin": same_origin(client)})


@case("10.2", "origin in capitals is the same")
def _(client):
    client.expect_opened({"Origin": same_origin(client).upper()})


for title, change in {
        "of another host": lambda o: "https://other.example",
        "of another port": lambda o: o + "1",
        "of a longer host": lambda o: o.replace("127.0.0.1",
                                                "127.0.0.1.example"),
        "with a path": lambda o: o + "/path",
        "with a user": lambda o: o.replace("//", "//user@"),
        "without a scheme": lambda o: o.split("//")[1],
        "of another scheme": lambda o: "ftp:" + o.split(":", 1)[1],
        "null": lambda o: "null",
        "empty": lambda o: "",
        "of two sites": lambda o: f"{o} https://other.example",
        "in two lines": lambda o: [o, "https://other.example"]}.items():
    @case("10.2", f"origin {title} gets 403")
    def _(client, change=change):
        client.expect_status(403, {"Origin": change(same_origin(client))})


# --- 11.3.4: subprotocols. The echo handler speaks "echo". ---

def chosen(title, offer, expected, *only):
    @case("11.3.4", title, *only)
    def _(client):
        ws = client.expect_opened({PROTOCOL: offer})
        came = ws.response.all(PROTOCOL)
        check(came == ([expected] if expected else []),
              f"subprotocol {expected}", came)


chosen("only subprotocol is chosen", "echo", "echo")
chosen("subprotocol behind others is chosen", "a, b, echo", "echo")
chosen("subprotocol before others is chosen", "echo, a", "echo")
chosen("subprotocol without blanks is chosen", "a,echo,b", "echo")
chosen("subprotocol with more blanks is chosen", " a ,\techo\t, b", "echo")
chosen("subprotocol in the second line is chosen", ["a", "echo"], "echo")
chosen("subprotocol in the first line is chosen", ["echo", "a"], "echo")
chosen("subprotocol offered twice is chosen once", "echo, echo", "echo")
chosen("subprotocol among empty elements is chosen", ", ,echo,", "echo")
chosen("subprotocol among a hundred is chosen",
       ", ".join([f"p{i}" for i in range(100)] + ["echo"]), "echo")
chosen("unknown subprotocol is not chosen", "other", None)
chosen("subprotocol in other letters is another", "Echo", None)
chosen("longer subprotocol is another", "echo2", None)
chosen("shorter subprotocol is another", "ech", None)
chosen("every character of a token is good", "!#$%&'*+-.^_`|~09azAZ", None)
for title, value in {
        "with a blank": "a b", "in quotes": '"echo"',
        "with a slash": "a/b", "with a parameter": "echo;v=1",
        "with an at sign": "a@b", "with a colon": "a:b",
        "with brackets": "a[b]", "with braces": "a{b}",
        "with parentheses": "a(b)", "with a letter beyond ASCII": "\xe9cho",
        "with a backslash": "a\\b", "with an equals sign": "a=b",
        "bad behind a good one": "echo, a b"}.items():
    refused("11.3.4", f"subprotocol {title} gets 400", 400,
            {PROTOCOL: value})
