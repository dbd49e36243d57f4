"""A WebSocket client that sends and sees every byte."""
import base64
import hashlib
import os
import socket
import struct

from httpd import LIMIT, client_context

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def mask(data, key):
    if not data:
        return b""
    keys = (key * (len(data) // 4 + 1))[:len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")
            ).to_bytes(len(data), "big")


def frame(opcode, data=b"", fin=True, key=None, masked=True, rsv=0):
    """A client's frame."""
    data = data.encode() if isinstance(data, str) else data
    key = os.urandom(4) if key is None else key
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([bit | len(data)])
    elif len(data) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(data))
    return head + key + mask(data, key) if masked else head + data


def close_frame(code=None, reason=""):
    data = b"" if code is None else struct.pack(">H", code) + reason.encode()
    return frame(CLOSE, data)


class Response:
    def __init__(self, head):
        self.head = head
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name:
                self.headers.setdefault(name.lower(), value.strip())


class Wire:
    def __init__(self, address, secure, headers=None, method="GET",
                 version="HTTP/1.1", extra=b"", receive_buffer=None,
                 context=None):
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   receive_buffer)
        self.socket.settimeout(LIMIT)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.socket = (context or client_context()).wrap_socket(
                self.socket)
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.headers = {
            "Host": f"127.0.0.1:{address[1]}", "Upgrade": "websocket",
            "Connection": "Upgrade", "Sec-WebSocket-Key": self.key,
            "Sec-WebSocket-Version": "13"}
        for name, value in (headers or {}).items():
            if value is None:
                self.headers.pop(name, None)
            else:
                self.headers[name] = value
        self.method, self.version = method, version
        self.extra = extra          # sent in the same packet as the request
        self.buffer = b""
        self.response = None

    # --- bytes ---

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def read(self, count):
        while len(self.buffer) < count:
            assert self.fill(), f"connection ended; have {self.buffer!r}"
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                               struct.pack("ii", 1, 0))
        self.socket.close()

    def close_socket(self):
        self.socket.close()

    # --- the handshake ---

    def send_request(self, path):
        lines = [f"{self.method} {path} {self.version}"]
        for name, value in self.headers.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"{name}: {v}" for v in values]
        self.send("\r\n".join(lines + ["", ""]).encode("latin-1") + self.extra)

    def open(self, path):
        self.send_request(path)
        while b"\r\n\r\n" not in self.buffer:
            assert self.fill(), f"no answer; have {self.buffer!r}"
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.response = Response(head)
        return self.response

    def expected_accept(self):
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode())
        return base64.b64encode(digest.digest()).decode()

    # --- frames ---

    def read_frame(self):
        """(opcode, payload, fin); checks what a server must not do."""
        first, second = self.read(2)
        assert first & 0x70 == 0, "reserved bit"
        assert second & 0x80 == 0, "a server must not mask"
        length = second & 0x7f
        if length == 126:
            length = struct.unpack(">H", self.read(2))[0]
            assert length >= 126
        elif length == 127:
            length = struct.unpack(">Q", self.read(8))[0]
            assert length >= 65536
        return first & 0x0f, self.read(length), bool(first & 0x80)

    def expect(self, opcode, data):
        data = data.encode() if isinstance(data, str) else data
        assert self.read_frame() == (opcode, data, True)

    def expect_close(self, code, reason=None):
        """A Close frame with this code, and then the end of TCP."""
        opcode, data, _ = self.read_frame()
        assert opcode == CLOSE, (opcode, data[:80])
        got = struct.unpack(">H", data[:2])[0] if data else None
        assert got == code, (got, data[2:])
        if reason is not None:
            assert data[2:].decode() == reason
        self.expect_end()

    def expect_end(self):
        """TCP ends in order (no reset), with nothing more on it."""
        assert not self.fill() and not self.buffer, self.buffer

    def echo(self, data=b"still alive"):
        self.send(frame(BINARY, data))
        self.expect(BINARY, data)
