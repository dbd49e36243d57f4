"""The lines that the error log may have, each with the reason; any other is a
failure."""
import collections
import re

LINE = re.compile(r"^\[[^\]]*\] \[(?P<source>[\w]+:\w+)\] \[pid [^\]]*\] "
                  r"(?:\[(?:client|remote) [^\]]*\] )*(?P<text>.*)$")
CLIENT = r"(?:\[client [^\]]*\] )?"
HANDSHAKE = r"websocket:info", r"WebSocket handshake refused with "

# (source, what the text begins with, why it is expected)
EXPECTED = [
    (r"mpm_\w+:notice", r"AH\d+: Apache/.* resuming normal operations",
     "start and restarts"),
    (r"core:notice", r"AH00094: Command line:", "start"),
    (r"mpm_\w+:notice", r"AH\d+: (?:SIGUSR1|Graceful restart)",
     "restarts asked for"),
    (r"mpm_\w+:notice", r"AH\d+: caught SIGTERM, shutting down", "the end"),
    (r"websocket:notice", r"keeper begins: \d+ WebSockets of process \d+, ",
     "a restart: who has WebSockets is kept"),
    (r"websocket:notice", r"keeper ends after \d+ s, with \d+ WebSockets at its "
     "beginning: the last WebSocket has ended", "all who were kept have left"),
    (r"ssl:warn", r"AH01882: Init: this version of mod_ssl was compiled "
     "against a newer library", "this machine's OpenSSL"),
    (r"mpm_\w+:error", r"AH\d+: server reached MaxRequestWorkers",
     "all connect at once, after a start or restart: they wait"),
    # what clients do wrong on purpose; the names are those of kinds.py
    (HANDSHAKE[0], HANDSHAKE[1] + r"426: no \"Upgrade: websocket\"",
     "wrong handshake: no Upgrade"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"426: Sec-WebSocket-Version is not 13",
     "wrong handshake: version"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: no \"Connection: Upgrade\"",
     "wrong handshake: Connection"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: no Sec-WebSocket-Key",
     "wrong handshake: no key"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: Sec-WebSocket-Key is not 16 bytes",
     "wrong handshake: key"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: request has a body",
     "wrong handshake: body"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: Sec-WebSocket-Protocol is no list",
     "wrong handshake: subprotocol"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: Sec-WebSocket-Extensions: ",
     "wrong handshake: extension"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"400: by handler chat: a room's name",
     "wrong handshake: room"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"403: origin \S+ is not allowed",
     "wrong handshake: origin"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"405: ", "wrong handshake: method"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"503: this child serves no WebSockets",
     "a child that a restart is ending"),
    (HANDSHAKE[0], HANDSHAKE[1] + r"403: this child serves as many",
     "HTTP/2: as many as a child serves"),
    (r"websocket:info", CLIENT + r"echo: closing with 1002: ",
     "wrong frames: protocol errors"),
    (r"websocket:info", CLIENT + r"echo: closing with 1007: ",
     "wrong frames: not UTF-8, or broken compression"),
    (r"websocket:info", CLIENT + r"echo: closing with 1008: message in more",
     "wrong frames: fragments"),
    (r"websocket:info",
     CLIENT + r"echo: closing with 1009: (?:inflated )?message over",
     "wrong frames: over WebSocketMaxMessage"),
    (r"websocket:info", CLIENT + r"\w+: closing with 1006: connection ended "
     "without a Close frame", "clients that vanish: end of TCP"),
    (r"websocket:info", CLIENT + r"\w+: closing with 1006: connection lost",
     "clients that vanish: reset"),
    (r"websocket:info", CLIENT + r"\w+: closing with 1006: no answer to a "
     "ping", "silent clients"),
    (r"websocket:warn", CLIENT + r"chat: closing with 1013: ",
     "members of a room who do not read"),
    (r"websocket:warn", r"new WebSockets over HTTP/2 are told to use HTTP/1.1",
     "HTTP/2: as many as a child serves"),
]
EXPECTED = [(re.compile(source + "$"), re.compile(text), why)
            for source, text, why in EXPECTED]


class ErrorLog:
    """Reads what is new, line by line."""

    def __init__(self, path):
        self.path = path
        self.at = 0
        self.rest = b""
        self.kinds = collections.Counter()
        self.unexplained = collections.Counter()
        self.restarts = 0           # starts, too

    def read(self):
        if not self.path.exists():
            return
        with self.path.open("rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.judge(line.decode(errors="replace"))

    def judge(self, line):
        if "resuming normal operations" in line:
            self.restarts += 1
        match = LINE.match(line)
        for source, text, why in EXPECTED if match else ():
            if source.match(match["source"]) and text.match(match["text"]):
                self.kinds[why] += 1
                return
        if match:
            line = f"[{match['source']}] {match['text']}"
        if line:
            self.unexplained[line] += 1
