"""A WebSocket client for the soak test: asyncio, so that thousands fit into a
process. Frames are taken apart as bytes come; pings and Closes are answered
there and then."""
import asyncio
import base64
import collections
import hashlib
import os
import socket
import ssl
import struct
import zlib

from wire import BINARY, CLOSE, GUID, PING, PONG, TEXT, Response, frame

OFFER = "permessage-deflate; client_max_window_bits"
TAIL = b"\x00\x00\xff\xff"
DATA = (0, TEXT, BINARY)


class Ended(Exception):
    """The connection is over. code: of the server's Close, None: none came."""

    def __init__(self, code, why=""):
        super().__init__(f"ended with {code}" if code
                         else f"ended without a Close: {why}")
        self.code = code


class Refused(Exception):
    """No 101."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


def make_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


CONTEXT = make_context()


class Client(asyncio.Protocol):
    """One connection. on_message(opcode, data), if set, takes the place of the
    queue that message() reads."""

    def __init__(self, load, secure):
        self.load, self.secure = load, secure
        self.transport = None
        self.buffer = bytearray()
        self.at = 0                 # bytes of it that are done with
        self.response = None
        self.is_raw = False         # what comes is no frames
        self.answers_pings = True
        self.messages = collections.deque()
        self.on_message = None
        self.pongs = 0
        self.part = None            # (opcode, rsv1, bytes) of a message
        self.close_sent = None
        self.close_code = None      # of the server's
        self.is_over = False        # nothing more comes
        self.why = ""
        self.waiter = None
        self.inflater = self.deflater = None
        self.keeps_in = self.keeps_out = False
        self.bits = 15              # of our window

    # --- TCP ---

    async def connect(self, receive_buffer=None, raw_tls=False):
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                            receive_buffer)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(sock, self.load.address(self.secure))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            options = {}
            if self.secure and not raw_tls:
                options = {"ssl": CONTEXT, "server_hostname": "localhost",
                           "ssl_handshake_timeout": 60,
                           "ssl_shutdown_timeout": 5}
            await loop.create_connection(lambda: self, sock=sock, **options)
        except BaseException:
            sock.close()
            raise

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        if not self.is_raw and self.response is None:
            self.read_head()
        if not self.is_raw and self.response is not None:
            try:
                self.read_frames()
            except (AssertionError, zlib.error) as error:
                self.load.fail(f"from the server: {error!r}")
                self.transport.abort()
        self.wake()

    def eof_received(self):
        self.is_over = True
        self.wake()
        return False                # the transport closes

    def connection_lost(self, error):
        self.is_over = True
        self.why = self.why or repr(error)
        self.wake()

    def wake(self):
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def until(self, condition):
        """Waits for it, or for the end."""
        while not condition():
            if self.is_over:
                raise Ended(self.close_code, self.why)
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter

    async def until_end(self):
        try:
            await self.until(lambda: False)
        except Ended:
            pass

    def write(self, data):
        if not self.is_over:
            self.transport.write(data)

    def raw_socket(self):
        return self.transport.get_extra_info("socket")

    def reset(self):
        """RST."""
        sock = self.raw_socket()
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                            struct.pack("ii", 1, 0))
        self.transport.abort()

    def half_close(self):
        try:
            self.raw_socket().shutdown(socket.SHUT_WR)
        except OSError:
            pass                    # it is gone

    def vanish(self):
        if self.transport is not None:
            self.transport.abort()

    # --- HTTP ---

    def request(self, path, headers=None, method="GET", version="HTTP/1.1"):
        key = base64.b64encode(os.urandom(16)).decode()
        all_headers = {
            "Host": "127.0.0.1:%d" % self.load.address(self.secure)[1],
            "Upgrade": "websocket", "Connection": "Upgrade",
            "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
        all_headers.update(headers or {})
        self.key = key
        return "\r\n".join(
            [f"{method} {path} {version}"]
            + [f"{name}: {value}" for name, value in all_headers.items()
               if value is not None] + ["", ""]).encode("latin-1")

    def read_head(self):
        end = self.buffer.find(b"\r\n\r\n")
        if end >= 0:
            self.response = Response(bytes(self.buffer[:end]))
            self.at = end + 4
            self.is_raw = self.response.status != 101

    async def open(self, path, headers=None, early=b"", compress=False,
                   **options):
        if self.transport is None:
            await self.connect(**options)
        if compress:
            headers = dict(headers or {}, **{
                "Sec-WebSocket-Extensions": OFFER})
        self.write(self.request(path, headers) + early)
        await self.until(lambda: self.response is not None)
        if self.response.status != 101:
            raise Refused(self.response.status)
        digest = hashlib.sha1((self.key + GUID).encode()).digest()
        assert (self.response.headers["sec-websocket-accept"]
                == base64.b64encode(digest).decode()), "another's answer"

    def agree(self, headers):
        """What was said about compression."""
        answer = headers.get("sec-websocket-extensions", "")
        if answer:
            self.keeps_in = "server_no_context_takeover" not in answer
            self.keeps_out = "client_no_context_takeover" not in answer
            _, _, bits = answer.partition("client_max_window_bits=")
            self.bits = max(9, int(bits.split(";")[0])) if bits else 15
        return bool(answer)

    # --- frames ---

    def read_frames(self):
        buffer, at, size = self.buffer, self.at, len(self.buffer)
        while size - at >= 2:
            first, length = buffer[at], buffer[at + 1]
            head = 2
            if length == 126:
                head = 4
                if size - at < 4:
                    break
                length = int.from_bytes(buffer[at + 2:at + 4], "big")
            elif length == 127:
                head = 10
                if size - at < 10:
                    break
                length = int.from_bytes(buffer[at + 2:at + 10], "big")
            assert length < 1 << 30, f"length {length}, head {first:#x}"
            if size - at < head + length:
                break
            data = bytes(buffer[at + head:at + head + length])
            at += head + length
            self.receive(first, data)
        del buffer[:at]
        self.at = 0

    def receive(self, first, data):
        opcode = first & 0x0f
        assert self.close_code is None, "a frame behind a Close"
        if opcode == PING:
            if self.answers_pings and self.close_sent is None:
                self.write(frame(PONG, data))
        elif opcode == PONG:
            self.pongs += 1
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(data[:2], "big") if data else 1005
            if self.close_sent is None:
                self.close_sent = self.close_code
                self.write(frame(CLOSE, data))
        else:
            assert opcode in DATA and first & 0x30 == 0, f"head {first:#x}"
            assert first & 0x80, "a message of the server in fragments"
            if first & 0x40:
                data = self.inflate(data)
            self.load.tally["received"] += 1
            if self.on_message is not None:
                self.on_message(opcode, data)
            else:
                self.messages.append((opcode, data))

    def inflate(self, data):
        if self.inflater is None or not self.keeps_in:
            self.inflater = zlib.decompressobj(-15)
        return self.inflater.decompress(data + TAIL)

    def deflate(self, data):
        if self.deflater is None or not self.keeps_out:
            self.deflater = zlib.compressobj(1, wbits=-self.bits)
        return (self.deflater.compress(data)
                + self.deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]

    async def message(self):
        await self.until(lambda: self.messages)
        return self.messages.popleft()

    def send_frames(self, frames, count=1):
        """count: messages in them."""
        self.load.tally["sent"] += count
        self.write(frames)

    async def expect(self, opcode, data):
        got = await self.message()
        assert got == (opcode, data), (
            f"{len(got[1])} bytes of type {got[0]} came instead of "
            f"{len(data)} of type {opcode}")

    async def close(self, code=1000):
        """In order: the server's answer has the same code."""
        if self.close_code is None:
            self.close_sent = code or 1005
            self.write(frame(CLOSE, struct.pack(">H", code) if code else b""))
        try:
            await self.until(lambda: self.close_code is not None)
        except Ended as error:
            raise Ended(None, f"no answer to our Close: {error}") from None
        if self.close_code != self.close_sent:
            raise Ended(self.close_code)
        await self.until_end()
