"""The transport of the modes h2 and h2c: each WebSocket is a stream on an
HTTP/2 connection of its own."""
import h2.errors
import h2.events
import h2.exceptions

from h2wire import H2Connection, H2Wire
from peer import PATIENCE, Mismatch, Response, check, ping

WINDOW = 1 << 20            # the server may send so much before it is read
FIRST_DATA = 16_000         # bytes that may go before the server's settings
NO_ERROR = h2.errors.ErrorCodes.NO_ERROR


class StreamWire(H2Wire):
    """END_STREAM is what FIN is on TCP, RST_STREAM what RST is: RFC 8441 5."""

    @classmethod
    def connected(cls, address, secure):
        connection = H2Connection(address, secure, window=WINDOW)
        connection.socket.settimeout(PATIENCE)
        return cls(connection, owns_connection=True)

    def __init__(self, connection, **options):
        super().__init__(connection, **options)
        self.reads_ahead = True

    def default_headers(self):
        return dict(self.headers)

    def ask(self, send, path, headers, method, version, extra):
        """The request goes whole; frames behind it are DATA at once."""
        self.headers = {}
        for name, value in headers.items():
            self.headers[name.lower()] = value
        self.method = method or "CONNECT"
        self.extra, rest = extra[:FIRST_DATA], extra[FIRST_DATA:]
        with Meaning():
            self.open(path)
        self.send(rest)
        return self.response

    def handle(self, event):
        super().handle(event)
        if isinstance(event, h2.events.ResponseReceived):
            lines = [f"HTTP/2 {dict(event.headers)[':status']}"]
            lines += [f"{name}: {value}" for name, value in event.headers
                      if not name.startswith(":")]
            self.response = Response("\r\n".join(lines).encode("latin-1"))

    # --- bytes ---

    def send(self, data):
        """What the server no longer takes, because its side has ended, is
        thrown away as it would be on TCP."""
        with Meaning():
            while data:
                try:
                    size = self.send_some(data)
                except h2.exceptions.StreamClosedError:
                    check(self.has_ended, "an open stream", "a closed one")
                    return
                data = data[size:]
                if size == 0 and not self.has_room():
                    return

    def has_room(self):
        """Waits for it; there is none any more when the server has ended."""
        connection = self.connection
        while self.window() <= 0 and not self.has_ended:
            self.check()
            connection.wait()
        return self.window() > 0

    def fill(self):
        with Meaning():
            return super().fill()

    # --- the end ---

    def send_end(self):
        with Meaning():
            self.end_stream()

    def expect_end(self, still_open):
        """END_STREAM from the server, with nothing more on the stream. It may
        then say with NO_ERROR that it reads no more: RFC 9113 8.1."""
        check(not self.buffer and not self.fill(), "the end of the stream",
              f"{self.buffer[:80]!r}")
        if still_open:
            self.send(ping("nobody is to answer this"))
            try:
                self.end_stream()
            except h2.exceptions.ProtocolError:
                check(self.reset is not None, "a stream that can be ended",
                      "one that is closed")
        self.connection.poll()
        check(self.reset is None or self.reset.code == NO_ERROR,
              "no reset", self.reset)
        check(not self.buffer, "nothing behind the end", self.buffer[:80])


class Meaning:
    """What an exception says of the server."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, TimeoutError):
            raise Mismatch(f"nothing came within {PATIENCE} s")
        if isinstance(error, ConnectionError):
            raise Mismatch(f"the server did not end it in order: {error}")
