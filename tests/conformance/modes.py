"""The ways in which every case is run: over which transport, with compressed
messages or plain ones, sent whole or one byte at a time."""
from typing import NamedTuple

# What the server under test has. What it has not is not run, and the table
# says so.
COMPRESSION = True         # permessage-deflate, RFC 7692
MAX_FRAGMENTS = True       # the directive WebSocketMaxFragments
HTTP2 = False               # WebSockets over HTTP/2, RFC 8441

TRANSPORTS = {
    "ws": "HTTP/1.1",
    "wss": "HTTP/1.1 in TLS",
    "h2c": "HTTP/2",
    "h2": "HTTP/2 in TLS",
}


class Mode(NamedTuple):
    transport: str
    compressed: bool
    bytewise: bool

    @property
    def secure(self):
        return self.transport in ("wss", "h2")

    @property
    def http2(self):
        return self.transport in ("h2", "h2c")

    @property
    def compression(self):
        return "deflate" if self.compressed else "plain"

    @property
    def sending(self):
        return "bytes" if self.bytewise else "whole"

    def __str__(self):
        return f"{self.transport}-{self.compression}-{self.sending}"


ALL = [Mode(transport, compressed, bytewise) for transport in TRANSPORTS
       for compressed in (False, True) for bytewise in (False, True)]


def offered():
    """The modes that the server under test can be asked for."""
    return [mode for mode in ALL if (HTTP2 or not mode.http2)
            and (COMPRESSION or not mode.compressed)]
