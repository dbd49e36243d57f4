"""Messages and their order: RFC 6455 5.6, 6.1 and 6.2."""
import os

from cases import case
from peer import (BINARY, TEXT, binary, check, close, frame, last, more, ping,
                  text)

# --- 5.6: text is text and binary is binary ---

for title, data in {
        "empty": "", "of one letter": "a", "of NUL": "\0",
        "of control characters": "".join(map(chr, range(32))),
        "with line ends of all kinds": "a\nb\rc\r\nd\u2028e",
        "of a byte order mark": "\ufeff",
        "with a byte order mark": "\ufefftext",
        "of JSON": '{"type": "message", "text": "xin chào"}',
        "that looks like a request": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "of blanks": " " * 100, "of 1000 NULs": "\0" * 1000}.items():
    @case("5.6", f"text {title} comes back as text")
    def _(ws, data=data):
        ws.echoes(TEXT, data)

for title, data in {
        "empty": b"", "of one byte": b"\0", "of all bytes": bytes(range(256)),
        "of bytes 255": b"\xff" * 1000, "of ASCII": b"only letters",
        "that looks like frames": text("a") + frame(8),
        "that looks like deflate": bytes.fromhex("f248cdc9c90700"),
        "that does not compress": os.urandom(5000),
        "that compresses well": bytes(50_000)}.items():
    @case("5.6", f"binary {title} comes back as binary")
    def _(ws, data=data):
        ws.echoes(BINARY, data)


@case("5.6", "same bytes as text and as binary keep their kinds")
def _(ws):
    for opcode in (TEXT, BINARY, TEXT, TEXT, BINARY):
        ws.echoes(opcode, "the same")


@case("5.6", "fragmented binary may look like text, and stays binary")
def _(ws):
    ws.echoes(BINARY, "letters", 3)


# --- 6.1: what the server sends ---

@case("6.1", "answer is one message, whole")
def _(ws):
    ws.send_text("a" * 100_000)
    ws.expect_text("a" * 100_000)
    ws.works()


@case("6.1", "answer of an empty message is an empty message")
def _(ws):
    ws.send(*ws.frames_of(TEXT, ""), *ws.frames_of(BINARY, ""))
    ws.expect_text("")
    ws.expect_binary("")


@case("6.1", "server sends nothing by itself between answers")
def _(ws):
    for i in range(10):
        ws.echoes(TEXT, str(i))
    ws.closes()


@case("6.1", "control frame does not split an answer")
def _(ws):
    data = os.urandom(900_000)
    ws.send(*ws.frames_of(BINARY, data), ping("behind"))
    came = [ws.read_message("the message and a pong") for _ in range(2)]
    check((BINARY, data) in came, "the message, whole",
          [(opcode, len(payload)) for opcode, payload in came])


# --- 6.2: what the server receives ---

@case("6.2", "hundred texts in one packet come back in order")
def _(ws):
    ws.send(*(text(str(i)) for i in range(100)))
    for i in range(100):
        ws.expect_text(str(i))


@case("6.2", "thousand messages one after the other")
def _(ws):
    for i in range(1000):
        ws.send(binary(str(i)))
        ws.expect_binary(str(i))


@case("6.2", "text and binary by turns come back in order")
def _(ws):
    for i in range(50):
        ws.send(*ws.frames_of(TEXT, f"text {i}"),
                *ws.frames_of(BINARY, f"binary {i}"))
    for i in range(50):
        ws.expect_text(f"text {i}")
        ws.expect_binary(f"binary {i}")


@case("6.2", "large and small messages by turns come back in order")
def _(ws):
    large = os.urandom(200_000)
    for _ in range(3):
        ws.send(*ws.frames_of(BINARY, large), *ws.frames_of(TEXT, "small"))
        ws.expect_binary(large)
        ws.expect_text("small")


@case("6.2", "whole and fragmented messages by turns come back in order")
def _(ws):
    for i in range(20):
        ws.send(*ws.frames_of(TEXT, f"whole {i}"),
                *ws.frames_of(TEXT, f"in fragments {i}", 4))
    for i in range(20):
        ws.expect_text(f"whole {i}")
        ws.expect_text(f"in fragments {i}")


@case("6.2", "empty messages are messages")
def _(ws):
    ws.send(*(text("") for _ in range(100)))
    for _ in range(100):
        ws.expect_text("")


@case("6.2", "data of fragments is put together in order")
def _(ws):
    ws.send(text("1", fin=False), more("2"), more("3"), more("4"), last("5"))
    ws.expect_text("12345")


@case("6.2", "messages before a Close are answered")
def _(ws):
    ws.send(*(text(str(i)) for i in range(20)), close(1000))
    for i in range(20):
        ws.expect_text(str(i))
    ws.expect_close(1000)


@case("6.2", "end of a connection leaves others alone")
def _(client):
    staying = client.open()
    staying.works()
    client.open().closes()
    client.open().expect_refused(1002, frame(3))
    staying.works()
