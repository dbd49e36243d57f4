"""The ways in which every case is run: over which transport, with compressed
messages or plain ones, sent whole or one byte at a time."""
from typing import NamedTuple

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

# For a quick run: every two of a transport, a compression and a way of sending
# together at least once, but for bytes over HTTP/2, which take long.
QUICK = ["ws-plain-whole", "ws-deflate-bytes", "wss-plain-bytes",
         "wss-deflate-whole", "h2c-plain-whole", "h2-deflate-whole"]
