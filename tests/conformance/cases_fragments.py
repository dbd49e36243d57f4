"""Messages in several frames: RFC 6455 5.4."""
import os

from cases import CUTS_ITSELF, case
from peer import (BINARY, CONTINUATION, TEXT, binary, fragments, frame, last,
                  more, ping, pong, text)

KINDS = {"Text": TEXT, "Binary": BINARY}


def letters(size):
    return ("abcdefghij" * (size // 10 + 1))[:size].encode()


# --- good messages ---

for name, opcode in KINDS.items():
    for count in (2, 3, 4, 5, 7, 10, 50, 100, 500):
        @case("5.4", f"{name} of 500 bytes in {count} fragments")
        def _(ws, opcode=opcode, count=count):
            ws.echoes(opcode, letters(500), count)

    for size in (1, 2, 125, 126, 127, 65535, 65536, 65537, 1 << 20):
        @case("5.4", f"{name} of {size} bytes in 2 fragments")
        def _(ws, opcode=opcode, size=size):
            ws.echoes(opcode, letters(size), 2)

    @case("5.4", f"{name} of 1 MiB in 1000 fragments")
    def _(ws, opcode=opcode):
        ws.echoes(opcode, letters(1 << 20), 1000)

    @case("5.4", f"{name} whose first fragment is empty")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"", b"data"]))
        ws.expect(opcode, "data")

    @case("5.4", f"{name} whose middle fragment is empty")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"da", b"", b"ta"]))
        ws.expect(opcode, "data")

    @case("5.4", f"{name} whose last fragment is empty")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"data", b""]))
        ws.expect(opcode, "data")

    @case("5.4", f"{name} of three empty fragments is an empty message")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"", b"", b""]))
        ws.expect(opcode, "")

    @case("5.4", f"{name} with a hundred empty fragments between two")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"da"] + [b""] * 100 + [b"ta"]))
        ws.expect(opcode, "data")

    @case("5.4", f"{name} has the type of its first fragment")
    def _(ws, opcode=opcode):
        ws.send(*fragments(opcode, [b"\x41", b"\x42"]))
        ws.expect(opcode, b"AB")

    @case("5.4", f"fragmented {name} behind another fragmented message")
    def _(ws, opcode=opcode):
        ws.send(*ws.frames_of(BINARY, b"before", 3),
                *ws.frames_of(opcode, "behind", 3))
        ws.expect_binary("before")
        ws.expect(opcode, "behind")

    @case("5.4", f"fragmented {name} between messages of one frame")
    def _(ws, opcode=opcode):
        ws.send(*ws.frames_of(TEXT, "one"), *ws.frames_of(opcode, "two", 2),
                *ws.frames_of(TEXT, "three"))
        ws.expect_text("one")
        ws.expect(opcode, "two")
        ws.expect_text("three")


@case("5.4", "message of ten thousand fragments of one byte")
def _(ws):
    data = letters(10_000)
    ws.send(*fragments(BINARY, [data[i:i + 1] for i in range(len(data))]))
    ws.expect_binary(data)


@case("5.4", "fragments of growing sizes")
def _(ws):
    pieces = [os.urandom(size) for size in range(0, 300, 7)]
    ws.send(*fragments(BINARY, pieces))
    ws.expect_binary(b"".join(pieces))


@case("5.4", "fragments of 7-bit, 16-bit and 64-bit lengths in one message")
def _(ws):
    pieces = [os.urandom(size) for size in (125, 65536, 126, 65535, 0, 1)]
    ws.send(*fragments(BINARY, pieces))
    ws.expect_binary(b"".join(pieces))


for cut in range(1, 10):
    @case("5.4", f"message of ten bytes in fragments of {cut} and {10 - cut}")
    def _(ws, cut=cut):
        data = letters(10)
        ws.send(*fragments(TEXT, [data[:cut], data[cut:]]))
        ws.expect_text(data)


@case("5.4", "fragments sent each in a packet of its own", CUTS_ITSELF)
def _(ws):
    for one in ws.frames_of(TEXT, "one fragment a packet", 7):
        ws.send(one)
    ws.expect_text("one fragment a packet")


@case("5.4", "two connections collect fragments independently")
def _(client):
    first, second = client.open(), client.open()
    a, b = first.frames_of(TEXT, "first message", 2), second.frames_of(
        TEXT, "second message", 2)
    first.send(a[0])
    second.send(b[0])
    second.send(b[1])
    first.send(a[1])
    first.expect_text("first message")
    second.expect_text("second message")


# --- control frames between fragments ---

@case("5.4", "ping between fragments is answered before the message ends")
def _(ws):
    start, end = ws.frames_of(TEXT, "message", 2)
    ws.send(start, ping("now"))
    ws.expect_pong("now")
    ws.send(end)
    ws.expect_text("message")


@case("5.4", "ping between every two of ten fragments")
def _(ws):
    for i, one in enumerate(ws.frames_of(TEXT, "a longer message", 10)):
        ws.send(one)
        if i < 9:
            ws.send(ping(f"ping {i}"))
    for i in range(9):
        ws.expect_pong(f"ping {i}")
    ws.expect_text("a longer message")


@case("5.4", "ping of 125 bytes between fragments")
def _(ws):
    start, end = ws.frames_of(BINARY, "message", 2)
    ws.send(start, ping(b"p" * 125), end)
    ws.expect_pong(b"p" * 125)
    ws.expect_binary("message")


@case("5.4", "two pings between fragments")
def _(ws):
    start, end = ws.frames_of(TEXT, "message", 2)
    ws.send(start, ping("one"), ping("two"), end)
    ws.expect_pong("one")
    ws.expect_pong("two")
    ws.expect_text("message")


@case("5.4", "pong between fragments is taken silently")
def _(ws):
    start, end = ws.frames_of(TEXT, "message", 2)
    ws.send(start, pong("nobody asked"), end)
    ws.expect_text("message")


@case("5.4", "ping and pong between empty fragments")
def _(ws):
    ws.send(text("", fin=False), ping("a"), more(""), pong("b"), more(""),
            ping("c"), last(""))
    ws.expect_pong("a")
    ws.expect_pong("c")
    ws.expect_text("")


@case("5.4", "ping between the bytes of a character cut by fragments")
def _(ws):
    ws.send(text(b"\xe1", fin=False), ping("1"), more(b"\xba"), ping("2"),
            last(b"\xbf"))
    ws.expect_pong("1")
    ws.expect_pong("2")
    ws.expect_text("\u1ebf")


@case("5.4", "hundred pings between two fragments")
def _(ws):
    start, end = ws.frames_of(TEXT, "message", 2)
    ws.send(start, *(ping(str(i)) for i in range(100)), end)
    for i in range(100):
        ws.expect_pong(str(i))
    ws.expect_text("message")


# --- wrong orders ---

for title, options in {
        "continuation": {"data": "a"},
        "empty continuation": {"data": ""},
        "continuation without FIN": {"data": "a", "fin": False},
        "empty continuation without FIN": {"data": "", "fin": False}}.items():
    @case("5.4", f"{title} at the start is refused")
    def _(ws, options=options):
        ws.expect_refused(1002, frame(CONTINUATION, **options))

    @case("5.4", f"{title} behind a whole message is refused")
    def _(ws, options=options):
        ws.send(text("whole"), frame(CONTINUATION, **options))
        ws.expect_text("whole")
        ws.expect_close(1002)

    @case("5.4", f"{title} behind a fragmented message is refused")
    def _(ws, options=options):
        ws.send(*fragments(TEXT, [b"who", b"le"]),
                frame(CONTINUATION, **options))
        ws.expect_text("whole")
        ws.expect_close(1002)

    @case("5.4", f"{title} behind a ping is refused")
    def _(ws, options=options):
        ws.send(ping("a"), frame(CONTINUATION, **options))
        ws.expect_pong("a")
        ws.expect_close(1002)


@case("5.4", "continuation at the start is refused at its head", CUTS_ITSELF)
def _(ws):
    ws.expect_refused(1002, last("data")[:6])


for first_name, first in KINDS.items():
    for second_name, second in KINDS.items():
        for ending, fin in (("whole", True), ("first fragment of a", False)):
            @case("5.4", f"{ending} {second_name} inside a {first_name} is "
                  "refused")
            def _(ws, first=first, second=second, fin=fin):
                ws.expect_refused(1002, frame(first, "a", fin=False),
                                  frame(second, "b", fin=fin), last("c"))

        @case("5.4", f"empty {second_name} inside a {first_name} is refused")
        def _(ws, first=first, second=second):
            ws.expect_refused(1002, frame(first, "a", fin=False),
                              frame(second, ""))

        @case("5.4", f"{second_name} behind an empty first fragment of a "
              f"{first_name} is refused")
        def _(ws, first=first, second=second):
            ws.expect_refused(1002, frame(first, "", fin=False),
                              frame(second, "b"))


@case("5.4", "new message behind a continuation is refused")
def _(ws):
    ws.expect_refused(1002, text("a", fin=False), more("b"), text("c"))


@case("5.4", "new message behind a ping inside a message is refused")
def _(ws):
    ws.send(text("a", fin=False), ping(), binary("b"))
    ws.expect_pong()
    ws.expect_close(1002)


@case("5.4", "fragments do not make a message until the last")
def _(ws):
    ws.send(text("a", fin=False), more("b"), more("c"), ping("between"))
    ws.expect_pong("between")
    ws.closes()


@case("5.4", "unfinished message does not outlive its connection")
def _(client):
    ws = client.open()
    ws.send(text("a", fin=False))
    ws.closes()
    client.open().expect_refused(1002, last("b"))
