"""Limits of the server: RFC 6455 10.4."""
import os

from cases import CUTS_ITSELF, FIXED_BYTES, case, whole
from peer import (BINARY, TEXT, binary, fragments, frame, head, last, more,
                  ping, text)
from server import FEW, MAX_MESSAGE, SMALL

DECLARED = {"one byte over the limit": MAX_MESSAGE + 1, "4 GiB": 1 << 32,
            "1 TiB": 1 << 40, "2^63 - 1": (1 << 63) - 1}

# --- WebSocketMaxMessage 1K ---

for name, opcode in {"Text": TEXT, "Binary": BINARY}.items():
    for size in (1023, 1024):
        @case("10.4", f"{name} of {size} bytes is let in by a limit of 1024",
              path=SMALL)
        def _(ws, opcode=opcode, size=size):
            ws.echoes(opcode, b"x" * size)

        @case("10.4", f"{name} of {size} bytes in fragments is let in by a "
              "limit of 1024", path=SMALL)
        def _(ws, opcode=opcode, size=size):
            ws.echoes(opcode, b"x" * size, 5)

    for size in (1025, 1026, 2048, 65536):
        @case("10.4", f"{name} of {size} bytes is over a limit of 1024",
              path=SMALL)
        def _(ws, opcode=opcode, size=size):
            ws.send_message(opcode, b"x" * size)
            ws.expect_close(1009)

        @case("10.4", f"{name} of {size} bytes in fragments is over a limit "
              "of 1024", path=SMALL)
        def _(ws, opcode=opcode, size=size):
            ws.send_message(opcode, b"x" * size, 5)
            ws.expect_close(1009)


@case("10.4", "last fragment of one byte too many", path=SMALL)
def _(ws):
    ws.send(binary(b"x" * 1024, fin=False), last("x"))
    ws.expect_close(1009)


@case("10.4", "empty last fragment is not too many", path=SMALL)
def _(ws):
    ws.send(binary(b"x" * 1024, fin=False), last(""))
    ws.expect_binary(b"x" * 1024)


@case("10.4", "limit is of a message, not of a connection", path=SMALL)
def _(ws):
    for _ in range(20):
        ws.echoes(BINARY, b"x" * 1024)


@case("10.4", "ping inside a message does not count", path=SMALL)
def _(ws):
    ws.send(binary(b"x" * 1000, fin=False), ping(b"p" * 125),
            last(b"x" * 24))
    ws.expect_pong(b"p" * 125)
    ws.expect_binary(b"x" * 1024)


@case("10.4", "message at the limit, then one over it", path=SMALL)
def _(ws):
    ws.echoes(TEXT, b"x" * 1024)
    ws.send_text(b"x" * 1025)
    ws.expect_close(1009)


@case("10.4", "fragment that declares too much is refused at its head",
      path=SMALL)
def _(ws):
    ws.send(binary(b"x" * 1000, fin=False), more(b"x" * 25)[:6])
    ws.expect_close(1009)


@case("10.4", "much data behind a message over the limit is thrown away",
      path=SMALL)
def _(ws):
    ws.send(binary(b"x" * 2000), *(binary(bytes(50_000)) for _ in range(20)))
    ws.expect_close(1009)


# --- the default of WebSocketMaxMessage, 1M ---

@case("10.4", "message of 1 MiB is let in by default")
def _(ws):
    ws.echoes(BINARY, os.urandom(MAX_MESSAGE))


@case("10.4", "message of 1 MiB and a byte is refused by default")
def _(ws):
    ws.send_binary(bytes(MAX_MESSAGE + 1))
    ws.expect_close(1009)


@case("10.4", "fragments of 1 MiB and a byte are refused by default")
def _(ws):
    ws.send_binary(bytes(MAX_MESSAGE + 1), 10)
    ws.expect_close(1009)


for title, length in DECLARED.items():
    for name, first in {"Text": 0x81, "Binary": 0x82}.items():
        @case("10.4", f"{name} that declares {title} is refused at its head",
              FIXED_BYTES)
        def _(ws, first=first, length=length):
            ws.send(head(first, length, 64))
            ws.expect_close(1009)

    @case("10.4", f"continuation that declares {title} is refused at its head",
          FIXED_BYTES)
    def _(ws, length=length):
        ws.send(binary("a", fin=False), head(0x80, length, 64))
        ws.expect_close(1009)


@case("10.4", "declared length that is allowed takes its time", FIXED_BYTES)
def _(ws):
    ws.send(head(0x82, MAX_MESSAGE, 64, key=bytes(4)), b"some")
    ws.send(bytes(MAX_MESSAGE - 4))
    ws.expect_binary(b"some" + bytes(MAX_MESSAGE - 4))


@case("10.4", "ten connections that declare 1 MiB disturb nobody",
      FIXED_BYTES)
def _(client):
    for _ in range(10):
        client.open().send(head(0x82, MAX_MESSAGE, 64), b"a little")
    client.open().works()


@case("10.4", "messages before one over the limit are answered", path=SMALL)
def _(ws):
    ws.send(text("one"), text("two"), text("x" * 2000))
    ws.expect_text("one")
    ws.expect_text("two")
    ws.expect_close(1009)


@case("10.4", "declared length is not believed one byte at a time",
      CUTS_ITSELF, FIXED_BYTES)
def _(ws):
    for byte in head(0x82, 1 << 40, 64):
        ws.send(bytes([byte]))
    ws.expect_close(1009)


# --- many fragments, WebSocketMaxFragments ---

@case("10.4", "twenty thousand fragments of one byte are let in by default")
def _(ws):
    ws.send(*fragments(BINARY, [b"x"] * 20_000))
    ws.expect_binary(b"x" * 20_000)


@case("10.4", "twenty thousand empty fragments are let in by default")
def _(ws):
    ws.send(*fragments(TEXT, [b""] * 20_000))
    ws.expect_text("")


@case("10.4", "65536 fragments are let in by default",
      whole("of so many fragments each byte alone would take too long"))
def _(ws):
    ws.send(*fragments(BINARY, [b"x"] * 65536))
    ws.expect_binary(b"x" * 65536)


@case("10.4", "65537 fragments are too many by default",
      whole("of so many fragments each byte alone would take too long"))
def _(ws):
    ws.send(*fragments(BINARY, [b"x"] * 65537))
    ws.expect_close(1008)


for title, piece in {"fragments": b"x", "empty fragments": b""}.items():
    @case("10.4", f"a hundred {title} are let in by a limit of 100", path=FEW)
    def _(ws, piece=piece):
        for _ in range(3):
            ws.send(*fragments(TEXT, [piece] * 100))
            ws.expect_text(piece * 100)

    @case("10.4", f"101 {title} are over a limit of 100",
          path=FEW)
    def _(ws, piece=piece):
        ws.send(*fragments(TEXT, [piece] * 101))
        ws.expect_close(1008)

    @case("10.4", f"101 {title} are refused before the message ends", path=FEW)
    def _(ws, piece=piece):
        ws.send(frame(TEXT, piece, fin=False),
                *(more(piece) for _ in range(100)))
        ws.expect_close(1008)


@case("10.4", "pings between fragments are no fragments",
      path=FEW)
def _(ws):
    frames = fragments(TEXT, [b"x"] * 100)
    for one in frames[:-1]:
        ws.send(one, ping("p"))
        ws.expect_pong("p")
    ws.send(frames[-1])
    ws.expect_text(b"x" * 100)


@case("10.4", "messages of one frame are no fragments",
      path=FEW)
def _(ws):
    for _ in range(300):
        ws.echoes(TEXT, "x")
