"""Control frames, ping and pong: RFC 6455 5.5, 5.5.2 and 5.5.3."""
import os

from cases import CUTS_ITSELF, case
from peer import (CLOSE, PING, PONG, TEXT, check, close, frame, head, last,
                  ping, pong, text)

CONTROLS = {"Ping": PING, "Pong": PONG, "Close": CLOSE}


def payload_of(opcode, size):
    """Close needs a code."""
    return (b"\x03\xe8" if opcode == CLOSE else b"xx") + b"x" * (size - 2)


# --- 5.5: what holds for all control frames ---

for name, opcode in CONTROLS.items():
    for size in (126, 127, 128, 65535, 65536):
        @case("5.5", f"{name} of {size} bytes is refused")
        def _(ws, opcode=opcode, size=size):
            ws.expect_refused(1002, frame(opcode, payload_of(opcode, size)))

    @case("5.5", f"{name} over 125 bytes is refused at its second byte",
          CUTS_ITSELF)
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, bytes([0x80 | opcode, 0xfe]))

    @case("5.5", f"{name} whose short length has 16 bits is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, head(0x80 | opcode, 4, 16) + b"1234")

    @case("5.5", f"{name} whose short length has 64 bits is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, head(0x80 | opcode, 4, 64) + b"1234")

    @case("5.5", f"{name} without FIN is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, payload_of(opcode, 4),
                                      fin=False))

    @case("5.5", f"empty {name} without FIN is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, fin=False))

    @case("5.5", f"{name} in two fragments is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, payload_of(opcode, 4),
                                      fin=False), last("rest"))

    @case("5.5", f"{name} without FIN inside a message is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, text("a", fin=False),
                          frame(opcode, payload_of(opcode, 4), fin=False))

    @case("5.5", f"{name} without FIN is refused at its first byte",
          CUTS_ITSELF)
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, bytes([opcode]))


@case("5.5", "control frame of 125 bytes is not too long")
def _(ws):
    ws.send(pong(b"x" * 125), ping(b"y" * 125), close(1000, "z" * 123))
    ws.expect_pong(b"y" * 125)
    ws.expect_close(1000)


@case("5.5", "control frames between whole messages")
def _(ws):
    ws.send(text("a"), ping("1"), text("b"), pong("2"), text("c"))
    came = [ws.read_message("messages and a pong") for _ in range(4)]
    check(sorted(came) == [(TEXT, b"a"), (TEXT, b"b"), (TEXT, b"c"),
                           (PONG, b"1")], "a, b, c and a pong", came)


# --- 5.5.2: ping ---

for size in (0, 1, 2, 3, 4, 5, 8, 16, 31, 32, 64, 100, 124, 125):
    @case("5.5.2", f"ping of {size} bytes is answered with the same")
    def _(ws, size=size):
        data = os.urandom(size)
        ws.send(ping(data))
        ws.expect_pong(data)
        ws.works()

for title, data in {
        "of zeros": bytes(20), "of bytes 255": b"\xff" * 20,
        "that is not UTF-8": b"\xc0\xaf\xed\xa0\x80",
        "that looks like a frame": text("Hello"),
        "that looks like a Close": b"\x03\xe8bye",
        "of all bytes below 125": bytes(range(125)),
        "of all bytes from 131": bytes(range(131, 256))}.items():
    @case("5.5.2", f"ping {title} is answered with the same")
    def _(ws, data=data):
        ws.send(ping(data))
        ws.expect_pong(data)

for count in (2, 10, 100, 1000):
    @case("5.5.2", f"{count} pings in one packet are each answered in order")
    def _(ws, count=count):
        ws.send(*(ping(f"ping {i}") for i in range(count)))
        for i in range(count):
            ws.expect_pong(f"ping {i}")

    @case("5.5.2", f"{count} pings of 125 bytes in one packet are each "
          "answered in order")
    def _(ws, count=count):
        ws.send(*(ping(f"{i:0125}") for i in range(count)))
        for i in range(count):
            ws.expect_pong(f"{i:0125}")


@case("5.5.2", "pings one after the other are each answered")
def _(ws):
    for i in range(50):
        ws.send(ping(str(i)))
        ws.expect_pong(str(i))


@case("5.5.2", "equal pings are each answered")
def _(ws):
    ws.send(*[ping("same")] * 20)
    for _ in range(20):
        ws.expect_pong("same")


@case("5.5.2", "ping before any message is answered")
def _(client):
    client.open(extra=ping("early")).expect_pong("early")


@case("5.5.2", "ping behind a message is answered")
def _(ws):
    ws.send(*ws.frames_of(TEXT, "message"), ping("behind"))
    came = sorted(ws.read_message("a text and a pong") for _ in range(2))
    check(came == [(TEXT, b"message"), (PONG, b"behind")],
          "a text and a pong", came)


@case("5.5.2", "ping before a violation is answered")
def _(ws):
    ws.send(ping("before"), frame(3))
    ws.expect_pong("before")
    ws.expect_close(1002)


@case("5.5.2", "ping before a Close is answered")
def _(ws):
    ws.send(ping("before"), close(1000))
    ws.expect_pong("before")
    ws.expect_close(1000)


@case("5.5.2", "ping behind a Close is not answered")
def _(ws):
    ws.send(close(1000), ping("behind"))
    ws.expect_close(1000)


@case("5.5.2", "ping behind a violation is not answered")
def _(ws):
    ws.send(frame(3), ping("behind"))
    ws.expect_close(1002)


@case("5.5.2", "ping cut at every byte is answered", CUTS_ITSELF)
def _(ws):
    for cut in range(1, len(ping("12345"))):
        data = ping("12345")
        ws.send(data[:cut])
        ws.send(data[cut:])
        ws.expect_pong("12345")


@case("5.5.2", "half a ping is not answered")
def _(ws):
    ws.send(ping("first"), ping("second")[:-1])
    ws.expect_pong("first")
    ws.send_end()
    ws.expect_end()


# --- 5.5.3: pong ---

for title, frames in {
        "empty": [pong()], "of 1 byte": [pong("x")],
        "of 125 bytes": [pong(b"x" * 125)],
        "that is not UTF-8": [pong(b"\xff\xfe")],
        "a hundred times": [pong(str(i)) for i in range(100)],
        "a thousand times": [pong(str(i)) for i in range(1000)]}.items():
    @case("5.5.3", f"pong that nobody asked for, {title}, is not answered")
    def _(ws, frames=frames):
        ws.send(*frames)
        ws.works()


@case("5.5.3", "pong before a ping does not answer it")
def _(ws):
    ws.send(pong("a"), ping("a"))
    ws.expect_pong("a")
    ws.works()


@case("5.5.3", "pong with a ping's data behind it is not answered")
def _(ws):
    ws.send(ping("a"), pong("a"))
    ws.expect_pong("a")
    ws.works()


@case("5.5.3", "pongs and messages in one packet")
def _(ws):
    ws.send(pong("1"), text("a"), pong("2"), text("b"), pong("3"))
    ws.expect_text("a")
    ws.expect_text("b")


@case("5.5.3", "pong behind a Close is ignored")
def _(ws):
    ws.send(close(1000), pong("late"))
    ws.expect_close(1000)


@case("5.5.3", "pong cut at every byte is taken", CUTS_ITSELF)
def _(ws):
    for cut in range(1, len(pong("12345"))):
        data = pong("12345")
        ws.send(data[:cut])
        ws.send(data[cut:])
    ws.works()
