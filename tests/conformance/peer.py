"""The client of the conformance suite: it sends what no good client would, and
sees every frame and how the connection ended."""
import base64
import hashlib
import os
import socket
import ssl
import struct
import zlib
from typing import NamedTuple

from cases import ECHO
from modes import Mode
from httpd import LIMIT, SANITIZED
from wire import BINARY, CLOSE, GUID, PING, PONG, TEXT, Wire, frame

CONTINUATION = 0
WHOLE = Mode("ws", compressed=False, bytewise=False)
PATIENCE = LIMIT if SANITIZED else 8    # seconds that an answer may take
ONE_BY_ONE = 5_000          # more bytes than this are not sent one by one,
ON_STREAMS = 2_000          # or this over HTTP/2, where each is a DATA frame;
CHUNK = 997                 # they go in pieces of this size, behind the head
EMPTY_BLOCK = b"\0\0\xff\xff"           # RFC 7692 7.2.1
EXTENSIONS = "Sec-WebSocket-Extensions"
NAMES = {CONTINUATION: "Continuation", TEXT: "Text", BINARY: "Binary",
         CLOSE: "Close", PING: "Ping", PONG: "Pong"}


class Mismatch(AssertionError):
    """What was expected, and what came instead."""


def check(condition, expected, came):
    if not condition:
        raise Mismatch(f"expected {expected}; came {came}")


# --- what is sent ---

def text(data, **options):
    return frame(TEXT, data, **options)


def binary(data, **options):
    return frame(BINARY, data, **options)


def more(data, **options):
    """A continuation that is not the last."""
    return frame(CONTINUATION, data, fin=False, **options)


def last(data, **options):
    return frame(CONTINUATION, data, **options)


def ping(data=b"", **options):
    return frame(PING, data, **options)


def pong(data=b"", **options):
    return frame(PONG, data, **options)


def close(code=None, reason=b"", **options):
    reason = reason.encode() if isinstance(reason, str) else reason
    payload = b"" if code is None else struct.pack(">H", code) + reason
    return frame(CLOSE, payload, **options)


def head(first, length, form, key=b"\1\2\3\4"):
    """A frame's head whose length is written in 7, 16 or 64 bits."""
    if form == 7:
        return bytes([first, 0x80 | length]) + key
    if form == 16:
        return bytes([first, 0xfe]) + struct.pack(">H", length) + key
    return bytes([first, 0xff]) + struct.pack(">Q", length) + key


def split(data, count):
    """The data in so many pieces, of sizes as equal as can be."""
    ends = [len(data) * i // count for i in range(count + 1)]
    return [data[a:b] for a, b in zip(ends, ends[1:])]


def fragments(opcode, pieces, rsv=0):
    """The frames of a message that is cut into these pieces."""
    return [frame(opcode if i == 0 else CONTINUATION, piece,
                  fin=i == len(pieces) - 1, rsv=rsv if i == 0 else 0)
            for i, piece in enumerate(pieces)]


# --- what comes ---

class Frame(NamedTuple):
    fin: bool
    rsv: int
    opcode: int
    payload: bytes

    @property
    def code(self):
        """The code of a Close; None where it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None

    def __str__(self):
        what = NAMES.get(self.opcode, f"opcode {self.opcode}")
        if self.opcode == CLOSE:
            return f"Close {self.code} {self.payload[2:].decode()!r}"
        return (f"{what} of {len(self.payload)} bytes {self.payload[:40]!r}"
                + ("" if self.fin else " to be continued")
                + (f" with RSV {self.rsv:03b}" if self.rsv else ""))


def described(opcode, data):
    return str(Frame(True, 0, opcode, data))


def as_bytes(data):
    return data.encode() if isinstance(data, str) else data


# --- the transport ---

class Response:
    """The head of an HTTP response."""

    def __init__(self, head_bytes):
        self.lines = head_bytes.decode("latin-1").split("\r\n")
        self.status = int(self.lines[0].split()[1])
        self.fields = [(name.lower(), value.strip()) for name, _, value
                       in (line.partition(":") for line in self.lines[1:])]

    def all(self, name):
        return [value for key, value in self.fields if key == name.lower()]

    def __getitem__(self, name):
        """The field's value, lines joined; None without it."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __str__(self):
        return f"status {self.status}"


class TcpWire(Wire):
    """HTTP/1.1 and then a WebSocket, on TCP or TLS."""

    def __init__(self, address, secure):
        super().__init__(address, secure)
        self.secure = secure
        self.socket.settimeout(PATIENCE)
        if secure:          # an end without close_notify is an error
            self.socket.suppress_ragged_eofs = False

    def default_headers(self):
        return dict(self.headers)

    def request_bytes(self, path, headers, method="GET", version="HTTP/1.1"):
        lines = [f"{method} {path} {version}"]
        for name, value in headers.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"{name}: {v}" for v in values]
        return "\r\n".join(lines + ["", ""]).encode("latin-1")

    def ask(self, send, path, headers, method, version, extra):
        """A request, sent with this function, and the head of its answer."""
        send(self.request_bytes(path, headers, method or "GET", version)
             + extra)
        return self.read_response()

    def read_response(self):
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise Mismatch("expected a response; came the end of TCP "
                               f"behind {self.buffer!r}")
        head_bytes, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.response = Response(head_bytes)
        return self.response

    # --- bytes ---

    def send(self, data):
        try:
            super().send(data)
        except (ConnectionResetError, BrokenPipeError):
            raise Mismatch("the server reset TCP while it was sent to")

    def fill(self):
        try:
            return super().fill()
        except ConnectionResetError:
            raise Mismatch("the server reset TCP")
        except ssl.SSLEOFError:
            raise Mismatch("TCP ended without TLS's close_notify")
        except TimeoutError:
            raise Mismatch(f"nothing came within {PATIENCE} s")

    # --- the end ---

    def raw_read(self):
        """Past TLS."""
        try:
            return socket.socket.recv(self.socket, 65536)
        except ConnectionResetError:
            raise Mismatch("the server reset TCP")
        except TimeoutError:
            raise Mismatch(f"TCP was not ended within {PATIENCE} s")

    def send_end(self):
        """FIN; what the server sends still comes."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def abort(self):
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.close_socket()

    def expect_end(self, still_open):
        """The server ends the connection in order: FIN, and close_notify
        before it, with nothing more on it. While we have not ended our side
        it lets us go on sending, and throws it away."""
        check(not self.buffer and not self.fill(), "the end of the connection",
              f"{self.buffer[:80]!r}")
        if self.secure:
            check(self.raw_read() == b"", "FIN behind close_notify",
                  "more bytes")
        if still_open:
            self.send(ping("nobody is to answer this"))
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            check(error == 0, "what comes behind the end to be thrown away",
                  os.strerror(error))
            check(self.raw_read() == b"", "nothing behind the end", "bytes")
            self.send_end()


def wire_for(server, mode):
    """A transport that is connected."""
    address = server.address(mode.secure)
    if mode.http2:
        from stream import StreamWire       # which imports this file
        return StreamWire.connected(address, mode.secure)
    return TcpWire(address, mode.secure)


# --- compression ---

class Deflate:
    """What was agreed on with permessage-deflate, and both directions' work:
    RFC 7692 7.2."""

    def __init__(self, answer):
        self.parameters = dict(
            (name.strip(), value.strip().strip('"') or None)
            for name, _, value in (p.partition("=")
                                   for p in answer.split(";")[1:]))
        self.client_bits = int(self.parameters.get("client_max_window_bits",
                                                   15))
        self.server_bits = int(self.parameters.get("server_max_window_bits",
                                                   15))
        self.client_takeover = ("client_no_context_takeover"
                                not in self.parameters)
        self.server_takeover = ("server_no_context_takeover"
                                not in self.parameters)
        self.deflater = self.inflater = None

    def compress(self, data):
        """zlib makes no window of 8 bits; without matches none is needed."""
        if self.deflater is None or not self.client_takeover:
            self.deflater = zlib.compressobj(
                6, zlib.DEFLATED, -max(9, self.client_bits), 8,
                zlib.Z_HUFFMAN_ONLY if self.client_bits == 8
                else zlib.Z_DEFAULT_STRATEGY)
        packed = self.deflater.compress(data) + self.deflater.flush(
            zlib.Z_SYNC_FLUSH)
        return packed[:-len(EMPTY_BLOCK)]

    def inflate(self, data, bytewise=False):
        """With a window of the agreed size and not more. zlib looks back
        beyond its window at what it wrote during the same call; if each call
        is for one byte, a server whose window is too large is found."""
        if self.inflater is None or not self.server_takeover:
            self.inflater = zlib.decompressobj(-self.server_bits)
        data += EMPTY_BLOCK
        try:
            return (b"".join(self.each_byte(data)) if bytewise
                    else self.inflater.decompress(data))
        except zlib.error as error:
            raise Mismatch("expected a message compressed as agreed; came "
                           f"data that does not inflate: {error}")

    def each_byte(self, data):
        for at in range(len(data)):
            piece, rest = b"?", data[at:at + 1]
            while piece:
                piece = self.inflater.decompress(rest, 1)
                rest = self.inflater.unconsumed_tail
                yield piece


# --- a WebSocket ---

class WebSocket:
    """One connection: sends frames in the mode's way, checks what comes."""

    def __init__(self, client, wire):
        self.client, self.mode, self.wire = client, client.mode, wire
        self.response = wire.response
        self.ended = False          # our side of the connection
        agreed = self.response[EXTENSIONS]
        self.deflate = Deflate(agreed) if agreed else None

    # --- sending ---

    def send(self, *frames):
        send_in_mode(self.wire, self.mode, frames)

    def pack(self, data):
        """The message as it goes into frames."""
        data = as_bytes(data)
        return self.deflate.compress(data) if self.deflate else data

    def frames_of(self, opcode, data, count=1):
        """The frames of a message in so many fragments. A compressed one is
        cut when it is compressed: RFC 7692 6.1."""
        return fragments(opcode, split(self.pack(data), count),
                         rsv=4 if self.deflate else 0)

    def in_frames(self, opcode, packed, count=1):
        """The frames of a message that was compressed elsewhere."""
        return fragments(opcode, split(packed, count), rsv=4)

    def send_message(self, opcode, data, count=1):
        self.send(*self.frames_of(opcode, data, count))

    def send_text(self, data, count=1):
        self.send_message(TEXT, data, count)

    def send_binary(self, data, count=1):
        self.send_message(BINARY, data, count)

    def send_end(self):
        self.wire.send_end()
        self.ended = True

    # --- receiving ---

    def read(self, count, expected):
        while len(self.wire.buffer) < count:
            try:
                came = self.wire.fill()
            except Mismatch as error:
                raise Mismatch(f"expected {expected}; but {error}")
            if not came:
                raise Mismatch(f"expected {expected}; came the end of the "
                               f"connection behind {self.wire.buffer!r}")
        return self.wire.read(count)

    def read_frame(self, expected):
        """The next frame, checked for what a server must not do."""
        first, second = self.read(2, expected)
        check(second & 0x80 == 0, "a server not to mask", "a masked frame")
        length = second & 0x7f
        if length == 126:
            length = struct.unpack(">H", self.read(2, expected))[0]
            check(length >= 126, "the shortest form of a length",
                  f"{length} in 16 bits")
        elif length == 127:
            length = struct.unpack(">Q", self.read(8, expected))[0]
            check(65536 <= length < 1 << 63, "the shortest form of a length",
                  f"{length} in 64 bits")
        came = Frame(bool(first & 0x80), first >> 4 & 7, first & 0x0f,
                     self.read(length, expected))
        check(came.opcode in NAMES, expected, came)
        if came.opcode >= CLOSE:
            check(came.fin and came.rsv == 0 and length <= 125, expected, came)
        elif self.deflate is None or came.opcode == CONTINUATION:
            check(came.rsv == 0, f"{expected}, no reserved bit", came)
        return came

    def read_message(self, expected):
        """(opcode, data): a control frame, or a message with its fragments."""
        came = self.read_frame(expected)
        opcode, rsv, payload = came.opcode, came.rsv, came.payload
        check(opcode != CONTINUATION, expected, came)
        while not came.fin:
            came = self.read_frame(expected)
            check(came.opcode == CONTINUATION, expected, came)
            payload += came.payload
        return opcode, self.deflate.inflate(payload) if rsv else payload

    def expect(self, opcode, data):
        data = as_bytes(data)
        expected = described(opcode, data)
        came = self.read_message(expected)
        if came != (opcode, data):
            raise Mismatch(f"expected {expected}; came {described(*came)}"
                           + first_difference(came[1], data))

    def expect_text(self, data):
        self.expect(TEXT, data)

    def expect_binary(self, data):
        self.expect(BINARY, data)

    def expect_pong(self, data=b""):
        self.expect(PONG, data)

    def expect_close(self, code):
        """A Close with this code, and then the end of the connection, by the
        server. None: a Close without a code."""
        self.expect_close_frame(code)
        self.expect_end()

    def expect_close_frame(self, *codes):
        """A Close with one of these codes."""
        expected = f"Close {' or '.join(map(str, codes))}"
        came = self.read_frame(expected)
        check(came.opcode == CLOSE, expected, came)
        check(len(came.payload) != 1, expected, "Close of one byte")
        came.payload[2:].decode()
        check(came.code in codes, expected, came)

    def expect_end(self):
        self.wire.expect_end(still_open=not self.ended)
        self.ended = True

    def expect_refused(self, code, *frames):
        """Sends the frames, which make the server fail the connection."""
        self.send(*frames)
        self.expect_close(code)

    # --- both ---

    def echoes(self, opcode, data, count=1):
        self.send_message(opcode, data, count)
        self.expect(opcode, data)

    def works(self):
        """The server still answers."""
        self.echoes(TEXT, "still open")

    def closes(self, code=1000):
        """A closing handshake, begun by us."""
        self.send(close(code))
        self.expect_close(code)


def first_difference(came, data):
    for i, (a, b) in enumerate(zip(came, data)):
        if a != b:
            return f"; they differ from byte {i}"
    return ""


def send_in_mode(wire, mode, frames):
    """Whole, or every byte in a packet of its own. Of more than ONE_BY_ONE
    bytes only the frames' heads go byte by byte, as far as that number goes,
    and the rest in pieces of CHUNK."""
    if not mode.bytewise:
        wire.send(b"".join(frames))
        return
    most = ON_STREAMS if mode.http2 else ONE_BY_ONE
    is_short = sum(map(len, frames)) <= most
    for data in frames:
        singly = len(data) if is_short else min(len(data), 14, most)
        most -= singly
        for i in range(singly):
            wire.send(data[i:i + 1])
        for i in range(singly, len(data), CHUNK):
            wire.send(data[i:i + CHUNK])


# --- opening ---

class Client:
    """Opens connections to the server under test, in the way of a mode."""

    def __init__(self, server, mode, restarting=None):
        self.server, self.mode = server, mode
        self.restarting = restarting
        self.wires = []

    def of_restarting_server(self):
        """A client of a server that the case may restart."""
        server = self.restarting()
        server.wait_for_end_of_old()
        other = Client(server, self.mode)
        other.wires = self.wires
        return other

    def connect(self):
        """A transport on which nothing was sent yet."""
        wire = wire_for(self.server, self.mode)
        self.wires.append(wire)
        return wire

    def request(self, path=ECHO, headers=None, method=None,
                version="HTTP/1.1", extra=b"", wire=None, slowly=False,
                rename=str):
        """Sends an opening handshake and reads the answer, whatever it is.
        A header that is None is left out; a list makes a line of each. slowly:
        in a bytewise mode the request, too, goes byte by byte."""
        wire = wire or self.connect()
        sent = wire.default_headers()
        if self.mode.compressed:
            sent[EXTENSIONS] = "permessage-deflate"
        for name, value in (headers or {}).items():
            sent = {key: other for key, other in sent.items()
                    if key.lower() != name.lower()}
            if value is not None:
                sent[name] = value
        sent = {rename(name): value for name, value in sent.items()}
        wire.ask(lambda data: self.send_request(wire, data, slowly), path,
                 sent, method, version, extra)
        return wire

    def send_request(self, wire, data, slowly):
        send_in_mode(wire, self.mode if slowly else WHOLE, [data])

    def ask_in_http1(self, wire, data, slowly=True):
        """Sends these bytes of HTTP/1.1 and reads the answer's head."""
        self.send_request(wire, data, slowly)
        return wire.read_response()

    def open(self, path=ECHO, headers=None, **options):
        """An open WebSocket."""
        wire = self.request(path, headers, **options)
        check_opened(wire.response, self.mode)
        return WebSocket(self, wire)

    def another(self, ws):
        """One more WebSocket on the same connection of HTTP/2."""
        wire = type(ws.wire)(ws.wire.connection)
        self.wires.insert(0, wire)      # closed before the connection is
        return self.open(wire=wire)

    def expect_opened(self, headers=None, **options):
        """The handshake is good, and the WebSocket works."""
        ws = self.open(headers=headers, slowly=True, **options)
        ws.works()
        return ws

    def expect_status(self, status, headers=None, **options):
        """The handshake is refused."""
        wire = self.request(headers=headers, slowly=True, **options)
        check(wire.response.status == status, f"status {status}",
              wire.response)
        return wire.response

    def forget(self, ws):
        """A case that opens hundreds need not keep them."""
        ws.wire.close_socket()
        self.wires.remove(ws.wire)

    def close(self):
        for wire in self.wires:
            wire.close_socket()


def check_status(response, mode):
    status = 200 if mode.http2 else 101
    check(response.status == status, f"status {status}", response)


def check_opened(response, mode):
    check_status(response, mode)
    agreed = response[EXTENSIONS]
    if mode.compressed:
        check((agreed or "").split(";")[0].strip() == "permessage-deflate",
              "permessage-deflate to be agreed on", agreed)
    else:
        check(agreed is None, "no extension", agreed)


def accept_of(key):
    digest = hashlib.sha1((key + GUID).encode()).digest()
    return base64.b64encode(digest).decode()
