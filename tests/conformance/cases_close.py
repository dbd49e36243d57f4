"""Close frames, closing handshakes and how connections end: RFC 6455 5.5.1 and
7. ws.expect_close() checks each time: a Close with this code comes, nothing
behind it, then the server ends the connection first and in order (FIN, over
TLS behind close_notify), and while we have not ended our side it takes what we
still send without a reset."""
import os
import socket

from cases import CUTS_ITSELF, ECHO, IS_TCP, case, in_mode, plain, whole
from httpd import wait_until
from peer import (BINARY, CLOSE, TEXT, binary, check, close, frame, head, last,
                  more, ping, pong, text)
from server import SHORT, SMALL

VALID = [*range(1000, 1004), *range(1007, 1015)]
RESTARTS = (plain("takes a restart, and is run plain and whole only"),
            whole("takes a restart, and is run plain and whole only"))
BAD_FRAMES = {              # ways to fail a connection, and the code of each
    "a reserved bit": (text("a", rsv=1), 1002),
    "a reserved opcode": (frame(3), 1002),
    "an unmasked frame": (text("a", masked=False), 1002),
    "a lonely continuation": (last("a"), 1002),
    "a ping of 126 bytes": (ping(b"x" * 126), 1002),
    "a Close of one byte": (frame(CLOSE, b"x"), 1002),
    "a length not in its shortest form": (head(0x82, 5, 16), 1002),
    "bad UTF-8": (text(b"\xff"), 1007),
    "a message over the limit": (head(0x82, 1 << 40, 64), 1009),
}

# --- 5.5.1: the payload of a Close ---

@case("5.5.1", "Close without a payload is answered without one")
def _(ws):
    ws.send(close())
    ws.expect_close(None)


@case("5.5.1", "Close with a code is answered with that code")
def _(ws):
    ws.send(close(1000))
    ws.expect_close(1000)


@case("5.5.1", "Close of one byte is refused")
def _(ws):
    ws.expect_refused(1002, frame(CLOSE, b"\x03"))


@case("5.5.1", "Close of one byte that is zero is refused")
def _(ws):
    ws.expect_refused(1002, frame(CLOSE, b"\0"))


for size in (1, 2, 10, 64, 121, 122, 123):
    @case("5.5.1", f"Close with a reason of {size} bytes")
    def _(ws, size=size):
        ws.send(close(1000, "r" * size))
        ws.expect_close(1000)


@case("5.5.1", "Close with a reason of 124 bytes is refused")
def _(ws):
    ws.expect_refused(1002, close(1000, "r" * 124))


@case("5.5.1", "reason of NULs is good")
def _(ws):
    ws.send(close(1000, "\0\0\0"))
    ws.expect_close(1000)


@case("5.5.1", "reason of 41 characters of three bytes is good")
def _(ws):
    ws.send(close(1000, "\u1ebf" * 41))
    ws.expect_close(1000)


@case("5.5.1", "code is read in network byte order")
def _(ws):
    ws.send(frame(CLOSE, b"\x0b\xb8"))      # 3000
    ws.expect_close(3000)


@case("5.5.1", "Close without FIN is refused")
def _(ws):
    ws.expect_refused(1002, frame(CLOSE, b"\x03\xe8", fin=False))


@case("5.5.1", "bad code and bad reason are refused for the code")
def _(ws):
    ws.expect_refused(1002, close(999, b"\xff"))


# --- 5.5.1: where a Close comes ---

@case("5.5.1", "Close as the first frame")
def _(ws):
    ws.closes()


@case("5.5.1", "Close in the packet of the request")
def _(client):
    client.open(extra=close(1000)).expect_close(1000)


@case("5.5.1", "Close behind a message: the answer comes first")
def _(ws):
    ws.send(*ws.frames_of(TEXT, "message"), close(1000))
    ws.expect_text("message")
    ws.expect_close(1000)


@case("5.5.1", "Close behind a message of 1 MiB: the answer comes whole")
def _(ws):
    data = os.urandom(1 << 20)
    ws.send(*ws.frames_of(BINARY, data), close(1000))
    ws.expect_binary(data)
    ws.expect_close(1000)


@case("5.5.1", "Close inside a fragmented message ends it all")
def _(ws):
    ws.send(text("a", fin=False), close(1000))
    ws.expect_close(1000)


@case("5.5.1", "Close between fragments: the rest is ignored")
def _(ws):
    ws.send(text("a", fin=False), more("b"), close(1001), last("c"))
    ws.expect_close(1001)


@case("5.5.1", "Close between bytes of a character ends it all")
def _(ws):
    ws.send(text(b"\xe1\xba", fin=False), close(1000))
    ws.expect_close(1000)


@case("5.5.1", "Close behind a hundred pings: the pongs come first")
def _(ws):
    ws.send(*(ping(str(i)) for i in range(100)), close(1000))
    for i in range(100):
        ws.expect_pong(str(i))
    ws.expect_close(1000)


@case("5.5.1", "Close cut at every byte", CUTS_ITSELF)
def _(client):
    for cut in range(1, len(close(1000, "reason"))):
        ws = client.open()
        data = close(1000, "reason")
        ws.send(data[:cut])
        ws.send(data[cut:])
        ws.expect_close(1000)


# --- 5.5.1: what follows a Close ---

for title, frames in {
        "a text": [text("a")], "a binary": [binary("a")],
        "a ping": [ping("a")], "a pong": [pong("a")],
        "another Close": [close(1000)],
        "a Close with another code": [close(3000)],
        "ten Closes": [close(1000)] * 10,
        "a hundred texts": [text("a")] * 100,
        "a first fragment": [text("a", fin=False)],
        "a continuation": [last("a")],
        "a reserved opcode": [frame(3)],
        "a reserved bit": [text("a", rsv=1)],
        "an unmasked text": [text("a", masked=False)],
        "bad UTF-8": [text(b"\xff")],
        "a message over the limit": [head(0x82, 1 << 40, 64)],
        "half a frame": [text("abc")[:5]],
        "a request": [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
        "random bytes": [os.urandom(1000)],
        "1 MiB of messages": [binary(bytes(65536))] * 16}.items():
    @case("5.5.1", f"{title} behind a Close is ignored")
    def _(ws, frames=frames):
        ws.send(close(1000), *frames)
        ws.expect_close(1000)

    @case("5.5.1", f"{title} behind the server's Close is ignored")
    def _(ws, frames=frames):
        ws.send(close(1000))
        ws.expect_close_frame(1000)
        ws.send(*frames)
        ws.expect_end()


# --- 7.1.1: the end of TCP ---

@case("7.1.1", "server ends TCP first", IS_TCP)
def _(ws):
    ws.send(close(1000))
    ws.expect_close_frame(1000)
    check(not ws.wire.fill(), "the end", ws.wire.buffer)    # ours is open


@case("7.1.1", "client that ends TCP behind its Close gets the answer")
def _(ws):
    ws.send(close(1000))
    ws.send_end()
    ws.expect_close(1000)


@case("7.1.1", "client that ends TCP behind a message gets the answer")
def _(ws):
    ws.send(*ws.frames_of(TEXT, "message"), close(3000))
    ws.send_end()
    ws.expect_text("message")
    ws.expect_close(3000)


@case("7.1.1", "client that ends TCP without a Close is not answered")
def _(ws):
    ws.works()
    ws.send_end()
    ws.expect_end()


@case("7.1.1", "client that ends TCP inside a frame is not answered")
def _(ws):
    ws.send(text("abc")[:-1])
    ws.send_end()
    ws.expect_end()


@case("7.1.1", "client that ends TCP inside a head is not answered")
def _(ws):
    ws.send(text("abc")[:1])
    ws.send_end()
    ws.expect_end()


@case("7.1.1", "client that ends TCP inside a message is not answered")
def _(ws):
    ws.send(text("abc", fin=False))
    ws.send_end()
    ws.expect_end()


@case("7.1.1", "client that ends TCP behind a violation gets the Close")
def _(ws):
    ws.send(frame(3))
    ws.send_end()
    ws.expect_close(1002)


@case("7.1.1", "client that resets TCP disturbs nobody", IS_TCP)
def _(client):
    other = client.open()
    for _ in range(5):
        ws = client.open()
        ws.works()
        ws.wire.abort()
    other.works()


@case("7.1.1", "client that resets TCP inside a message disturbs nobody",
      IS_TCP)
def _(client):
    other = client.open()
    for _ in range(5):
        ws = client.open()
        ws.send(binary(bytes(100_000))[:50_000])
        ws.wire.abort()
    other.works()


@case("7.1.1", "client that vanishes without reading disturbs nobody", IS_TCP)
def _(client):
    other = client.open()
    for _ in range(5):
        ws = client.open()
        ws.send(binary(bytes(500_000)))
        ws.wire.close_socket()
    other.works()


for title, (data, code) in BAD_FRAMES.items():
    @case("7.1.1", f"much data behind {title} causes no reset")
    def _(ws, data=data, code=code):
        ws.send(data, *[binary(bytes(50_000))] * 20)
        ws.expect_close(code)


@case("7.1.1", "much data behind the server's end causes no reset", IS_TCP)
def _(ws):
    ws.send(close(1000))
    ws.expect_close_frame(1000)
    check(not ws.wire.fill(), "the end", ws.wire.buffer)
    for _ in range(20):
        ws.wire.send(bytes(50_000))
    error = ws.wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    check(error == 0, "no reset", os.strerror(error))


def is_reset(wire):
    """Has the server let go of its end? It then resets what is sent."""
    try:
        socket.socket.send(wire.socket, b"x")
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


@case("7.1.1", "client that does not end TCP is dropped after the close "
      "timeout", IS_TCP, path=SHORT)
def _(ws):
    ws.send(close(1000))
    ws.expect_close_frame(1000)
    wait_until(lambda: is_reset(ws.wire), "the server lets go of TCP")


@case("7.1.1", "failed client that does not end TCP is dropped after the "
      "close timeout", IS_TCP, path=SHORT)
def _(ws):
    ws.send(frame(3))
    ws.expect_close_frame(1002)
    wait_until(lambda: is_reset(ws.wire), "the server lets go of TCP")


# --- 7.1.2: closing handshakes ---

@case("7.1.2", "closing handshake right behind the opening one")
def _(client):
    for _ in range(10):
        client.open().closes()


@case("7.1.2", "closing handshake of many connections at a time")
def _(client):
    sockets = [client.open() for _ in range(20)]
    for ws in sockets:
        ws.send(close(1001))
    for ws in sockets:
        ws.expect_close(1001)


@case("7.1.2", "closing handshake of one leaves the others open")
def _(client):
    sockets = [client.open() for _ in range(5)]
    sockets[2].closes()
    for ws in sockets[:2] + sockets[3:]:
        ws.works()


@case("7.1.2", "both sides close at a time: one Close each")
def _(ws):
    ws.send(frame(3), close(1000))
    ws.expect_close(1002)


@case("7.1.2", "client that answers the server's Close sees the end")
def _(ws):
    ws.send(frame(3))
    ws.expect_close_frame(1002)
    ws.send(close(1002))
    ws.expect_end()


@case("7.1.2", "connection is not reused behind its end")
def _(client):
    client.open().closes()
    client.open(path=ECHO).works()


# --- 7.3: the server begins the closing handshake, here because it restarts ---

def server_closes(title):
    """A case that gets a WebSocket on which the server's Close has come."""
    def add(run):
        @case("7.3", title, *RESTARTS)
        def _(client):
            client = client.of_restarting_server()
            ws = client.open()
            ws.works()
            client.server.restart()
            ws.expect_close_frame(1012)
            run(ws)

    return add


@server_closes("server that restarts says so, and waits for the answer")
def _(ws):
    ws.send(close(1012))
    ws.expect_end()


@server_closes("answer may have another code")
def _(ws):
    ws.send(close(1000, "bye"))
    ws.expect_end()


@server_closes("answer may have no code")
def _(ws):
    ws.send(close())
    ws.expect_end()


@server_closes("messages and pings behind the server's Close are not answered")
def _(ws):
    ws.send(text("late"), ping("late"), *ws.frames_of(BINARY, "late", 3),
            close(1000))
    ws.expect_end()


@server_closes("violation behind the server's Close is the end, without "
               "another Close")
def _(ws):
    ws.send(frame(3))
    ws.expect_end()


@server_closes("client that ends TCP instead of an answer sees the end")
def _(ws):
    ws.send_end()
    ws.expect_end()


@case("7.3", "server that restarts lets in new WebSockets", *RESTARTS)
def _(client):
    client = client.of_restarting_server()
    ws = client.open()
    ws.works()
    client.server.restart()
    ws.expect_close_frame(1012)
    ws.send(close(1012))
    ws.expect_end()
    client.server.wait_for_end_of_old()
    client.open().works()


# --- 7.1.5, 7.4.1, 7.4.2: the codes ---

@case("7.1.5", "code without a reason comes back")
def _(ws):
    ws.send(close(1001))
    ws.expect_close(1001)


@case("7.1.5", "code with a reason comes back")
def _(ws):
    ws.send(close(1001, "going away"))
    ws.expect_close(1001)


@case("7.1.5", "no code comes back for none: not 1005 on the wire")
def _(ws):
    ws.send(close())
    ws.expect_close(None)


@case("7.1.5", "first of two codes comes back")
def _(ws):
    ws.send(close(3001), close(3002))
    ws.expect_close(3001)


for code in VALID:
    @case("7.4.1", f"code {code} comes back")
    def _(ws, code=code):
        ws.send(close(code))
        ws.expect_close(code)

    @case("7.4.1", f"code {code} with a reason comes back")
    def _(ws, code=code):
        ws.send(close(code, "reason"))
        ws.expect_close(code)

for code in (1004, 1005, 1006, 1015):
    @case("7.4.1", f"code {code}, which is never on the wire, is refused")
    def _(ws, code=code):
        ws.expect_refused(1002, close(code))

    @case("7.4.1", f"code {code} with a reason is refused")
    def _(ws, code=code):
        ws.expect_refused(1002, close(code, "reason"))

for code in (0, 1, 255, 256, 998, 999, 1016, 1017, 1099, 1100, 1999, 2000,
             2001, 2998, 2999, 5000, 5001, 9999, 32768, 65534, 65535):
    @case("7.4.2", f"code {code} is refused")
    def _(ws, code=code):
        ws.expect_refused(1002, close(code))

for code in (3000, 3001, 3500, 3999, 4000, 4001, 4500, 4998, 4999):
    @case("7.4.2", f"code {code} comes back")
    def _(ws, code=code):
        ws.send(close(code))
        ws.expect_close(code)

for start in range(0, 5000, 500):
    @case("7.4.2", f"every code from {start} to {start + 499} gets its due",
          in_mode("ws-plain-whole", "takes hundreds of connections, and is "
                  "run in one mode only"))
    def _(client, start=start):
        for code in range(start, start + 500):
            ws = client.open()
            ws.send(close(code))
            ws.expect_close(code if code in VALID or code >= 3000 else 1002)
            client.forget(ws)


# --- 7.1.7: failing a connection ---

for title, (data, code) in BAD_FRAMES.items():
    @case("7.1.7", f"{title} gets {code} and the end")
    def _(ws, data=data, code=code):
        ws.expect_refused(code, data)

    @case("7.1.7", f"{title} behind messages: they are answered first")
    def _(ws, data=data, code=code):
        ws.send(*ws.frames_of(TEXT, "one"), *ws.frames_of(TEXT, "two", 2),
                data)
        ws.expect_text("one")
        ws.expect_text("two")
        ws.expect_close(code)

    @case("7.1.7", f"messages behind {title} are not answered")
    def _(ws, data=data, code=code):
        ws.expect_refused(code, data, *[text("ignored")] * 10)

    @case("7.1.7", f"two of {title} get one Close")
    def _(ws, data=data, code=code):
        ws.expect_refused(code, data, data)

    if title != "a lonely continuation":
        @case("7.1.7", f"{title} inside a message that is not finished")
        def _(ws, data=data, code=code):
            starts_message = data[0] & 0x0f in (TEXT, BINARY)
            ws.expect_refused(1002 if starts_message else code,
                              text("a", fin=False), data)

    @case("7.1.7", f"{title} in the packet of the request")
    def _(client, data=data, code=code):
        client.open(extra=data).expect_close(code)


@case("7.1.7", "first of several violations gives the code")
def _(ws):
    ws.expect_refused(1007, text(b"\xff"), frame(3), head(0x82, 1 << 40, 64))


@case("7.1.7", "message over a small limit gets 1009 and the end", path=SMALL)
def _(ws):
    ws.send_binary(os.urandom(5000))
    ws.expect_close(1009)


@case("7.1.7", "server serves others after failures")
def _(client):
    for data, code in BAD_FRAMES.values():
        client.open().expect_refused(code, data)
    client.open().works()
