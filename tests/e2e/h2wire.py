"""A WebSocket client over HTTP/2 (RFC 8441), for tests written for Wire.

One H2Connection carries many streams. Nothing happens in the background: who
waits for one stream has the bytes of the others put into their buffers."""
import select
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from h2.connection import ConnectionState

from httpd import LIMIT
from wire import Wire

CANCEL = h2.errors.ErrorCodes.CANCEL
HTTP_1_1_REQUIRED = h2.errors.ErrorCodes.HTTP_1_1_REQUIRED
CONNECT_PROTOCOL = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
CONNECTION_WINDOW = 1 << 30     # streams have windows of their own
FRAME_HEAD = 9                  # bytes


def alpn_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Reset(ConnectionResetError):
    """The stream was reset; code says why, None: the connection is lost."""

    def __init__(self, code):
        super().__init__(f"stream reset with {code}")
        self.code = code


class H2Response:
    def __init__(self, headers):
        self.headers = {}
        for name, value in headers:
            self.headers.setdefault(name, value)
        self.status = int(self.headers.pop(":status"))


class H2Connection:
    """window: what the server may send on a stream before it is read."""

    def __init__(self, address, secure, window=65535, context=None):
        self.address, self.secure = address, secure
        self.socket = socket.create_connection(address, timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            self.socket = (context or alpn_context()).wrap_socket(
                self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.streams = {}
        self.settings = None        # the server's, once they have come
        self.goaway = None          # its error code
        self.incoming = b""
        self.is_lost = False
        self.h2.initiate_connection()
        self.h2.update_settings(
            {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.h2.increment_flow_control_window(CONNECTION_WINDOW)
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def wait(self):
        """Reads what has come, at least something. False: the end of TCP."""
        if self.is_lost:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.is_lost = True
            return False
        self.incoming += data
        self.receive_frames()
        try:
            self.flush()
        except OSError:
            pass                    # recv() tells
        return True

    def receive_frames(self):
        """One by one: the library believes that a GOAWAY ends the connection,
        but streams that are open go on (RFC 9113 6.8)."""
        while len(self.incoming) >= FRAME_HEAD:
            end = FRAME_HEAD + int.from_bytes(self.incoming[:3], "big")
            if len(self.incoming) < end:
                return
            one, self.incoming = self.incoming[:end], self.incoming[end:]
            for event in self.h2.receive_data(one):
                self.handle(event)

    def wait_until(self, condition, what):
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, f"not within {LIMIT} s: {what}"
            assert self.wait(), f"connection lost, waiting for {what}"

    def poll(self):
        """Reads what has come, if anything."""
        while not self.is_lost and (
                self.secure and self.socket.pending()
                or select.select([self.socket], [], [], 0)[0]):
            self.wait()

    def handle(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings = self.h2.remote_settings
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
            self.h2.state_machine.state = ConnectionState.CLIENT_OPEN
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is not None:
            stream.handle(event)

    def next_id(self):
        return self.h2.get_next_available_stream_id()

    def get(self, path, method="GET", headers=()):
        """(status, body) of an ordinary request."""
        stream = H2Wire(self, headers=dict(headers), method=method,
                        protocol=None)
        response = stream.open(path, end_stream=True)
        while stream.fill():
            pass
        return response.status, stream.buffer

    def close(self):
        self.socket.close()
        self.is_lost = True


class H2Wire(Wire):
    """A stream with the interface of Wire. An HTTP/1.1 Upgrade is told by 101,
    this one by 200."""

    def __init__(self, connection, headers=None, method="CONNECT",
                 protocol="websocket", extra=b"", owns_connection=False):
        self.connection = connection
        self.owns_connection = owns_connection
        self.id = None
        self.method, self.protocol = method, protocol
        self.headers = {}
        if protocol is not None:
            self.headers["sec-websocket-version"] = "13"
        for name, value in (headers or {}).items():
            if value is None:
                self.headers.pop(name.lower(), None)
            else:
                self.headers[name.lower()] = value
        self.extra = extra
        self.buffer = b""
        self.response = None
        self.owed = 0               # bytes that came and no WINDOW_UPDATE
        self.has_ended = False      # END_STREAM came
        self.reset = None
        self.reads_ahead = False    # the window grows before data is read

    # --- bytes ---

    def handle(self, event):
        if isinstance(event, h2.events.ResponseReceived):
            self.response = H2Response(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.buffer += event.data
            self.owed += event.flow_controlled_length
            if self.reads_ahead:
                self.acknowledge()
        elif isinstance(event, h2.events.StreamEnded):
            self.has_ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.reset = Reset(event.error_code)

    def acknowledge(self):
        """Lets the server send again as much as it has sent."""
        count, self.owed = self.owed, 0
        if count == 0 or self.has_ended or self.reset is not None:
            return
        try:
            self.connection.h2.increment_flow_control_window(count, self.id)
        except h2.exceptions.StreamClosedError:
            return                  # what came was the last, on both sides
        self.connection.flush()

    def check(self):
        if self.reset is not None and not self.has_ended:
            raise self.reset
        if self.connection.is_lost and not self.has_ended:
            raise Reset(None)

    def window(self):
        return min(self.connection.h2.local_flow_control_window(self.id),
                   self.connection.h2.max_outbound_frame_size)

    def send_some(self, data):
        """Sends what the server's window allows now; returns how much."""
        self.connection.poll()
        self.check()
        size = min(self.window(), len(data))
        if size > 0:
            self.connection.h2.send_data(self.id, data[:size])
            self.connection.flush()
        return size

    def send(self, data):
        while data:
            size = self.send_some(data)
            data = data[size:]
            if size == 0:
                self.connection.wait_until(
                    lambda: self.window() > 0 or self.reset is not None,
                    "room in the server's window")

    def fill(self):
        self.check()
        before = len(self.buffer)
        while len(self.buffer) == before and not self.has_ended:
            if not self.connection.wait():
                self.check()
            self.check()
        return len(self.buffer) > before

    def read(self, count):
        self.acknowledge()
        while len(self.buffer) < count:
            assert self.fill(), f"stream ended; have {self.buffer!r}"
            self.acknowledge()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def end_stream(self):
        if not self.reset:          # the server may have been faster
            self.connection.h2.end_stream(self.id)
            self.connection.flush()

    def reset_stream(self, code=CANCEL):
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()

    def close_socket(self):
        """Vanishes."""
        if self.owns_connection:
            self.connection.close()
        elif not self.connection.is_lost and self.reset is None:
            try:
                self.reset_stream()
            except (OSError, h2.exceptions.ProtocolError):
                pass                # it has ended already

    # --- the handshake ---

    def open(self, path, end_stream=False):
        connection = self.connection
        self.id = connection.next_id()
        connection.streams[self.id] = self
        headers = [(":method", self.method),
                   (":scheme", "https" if connection.secure else "http"),
                   (":path", path),
                   (":authority", self.headers.pop(
                       "host", f"127.0.0.1:{connection.address[1]}"))]
        if self.protocol is not None:
            headers.append((":protocol", self.protocol))
        for name, value in self.headers.items():
            values = value if isinstance(value, list) else [value]
            headers += [(name, v) for v in values]
        connection.h2.send_headers(self.id, headers, end_stream=end_stream)
        if self.extra:
            connection.h2.send_data(self.id, self.extra)
        connection.flush()
        while self.response is None:
            self.check()
            connection.wait()
        return self.response
