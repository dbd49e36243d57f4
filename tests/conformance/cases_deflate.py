"""Messages that are compressed: RFC 7692 6, 7.2 and 8. The modes called deflate
run all other cases compressed, too; here are those that are about compression
itself. The server at KEEPING keeps its context and agrees to the client's."""
import os
import time
import zlib

from cases import case, deflate, whole
from cases_extensions import DEFLATE, letters
from peer import (BINARY, CONTINUATION, EMPTY_BLOCK, EXTENSIONS, PATIENCE,
                  TEXT, check, close, fragments, frame, last, more, ping, pong,
                  WebSocket, split, text)
from server import ALWAYS, KEEPING, MAX_MESSAGE, SMALL, THRESHOLD
from wire import CLOSE, PING, PONG

COMPRESSED = deflate("is about compressed messages")
HELLO = bytes.fromhex("f248cdc9c90700")         # RFC 7692 7.2.3.1
WORDS = ("It is the same message over and over again, "
         "and over again it is the same message. ") * 8


def compression(section, title, *only, path=KEEPING):
    return case(section, title, COMPRESSED, *only,
                path=path)


def packed(data, level=6, strategy=zlib.Z_DEFAULT_STRATEGY, bits=15):
    """The data compressed without a context."""
    data = data.encode() if isinstance(data, str) else data
    deflater = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
    return (deflater.compress(data)
            + deflater.flush(zlib.Z_SYNC_FLUSH))[:-len(EMPTY_BLOCK)]


def in_blocks(pieces, flush):
    """Every piece in a block of its own."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    out = b"".join(deflater.compress(piece) + deflater.flush(flush)
                   for piece in pieces)
    return out[:-len(EMPTY_BLOCK)]


def final(data):
    """Blocks of which the last says that it is."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush(zlib.Z_FINISH)


def bits(*fields):
    """Bytes of (value, count) written from the lowest bit up, as DEFLATE has
    them: RFC 1951 3.1.1."""
    number = at = 0
    for value, count in fields:
        number |= value << at
        at += count
    return number.to_bytes(at // 8 + 1, "little")


def sends(ws, opcode, data, count=1):
    """A message that was compressed elsewhere."""
    ws.send(*ws.in_frames(opcode, data, count))


# --- 6: frames ---

for name, opcode in {"Ping": PING, "Pong": PONG, "Close": CLOSE}.items():
    @compression("7692 6", f"{name} with RSV1 is refused")
    def _(ws, opcode=opcode):
        data = b"\x03\xe8" if opcode == CLOSE else b"data"
        ws.expect_refused(1002, frame(opcode, data, rsv=4))

    @compression("7692 6", f"{name} with RSV1 inside a message is refused")
    def _(ws, opcode=opcode):
        start, _ = ws.frames_of(TEXT, "message", 2)
        ws.expect_refused(1002, start, frame(opcode, b"\x03\xe8", rsv=4))

for title, fin in {"last": True, "middle": False}.items():
    @compression("7692 6", f"RSV1 on a {title} fragment is refused")
    def _(ws, fin=fin):
        start, end = split(HELLO, 2)
        ws.expect_refused(1002, text(start, fin=False, rsv=4),
                          frame(CONTINUATION, end, fin=fin, rsv=4))

    @compression("7692 6", f"RSV1 on a {title} fragment of a message that is "
                 "not compressed is refused")
    def _(ws, fin=fin):
        ws.expect_refused(1002, text("a", fin=False),
                          frame(CONTINUATION, "b", fin=fin, rsv=4))

for rsv in (1, 2, 3, 5, 6, 7):
    @compression("7692 6", f"RSV bits {rsv:03b} of a compressed message are "
                 "refused")
    def _(ws, rsv=rsv):
        ws.expect_refused(1002, text(HELLO, rsv=rsv))


@compression("7692 6", "RSV1 on a lonely continuation is refused")
def _(ws):
    ws.expect_refused(1002, frame(CONTINUATION, HELLO, rsv=4))


@compression("7692 6", "RSV1 on a message inside a message is refused")
def _(ws):
    start, _ = ws.frames_of(TEXT, "message", 2)
    ws.expect_refused(1002, start, text(HELLO, rsv=4))


@compression("7692 6", "message without RSV1 is not compressed")
def _(ws):
    ws.send(text("plain"))
    ws.expect_text("plain")


@compression("7692 6", "fragmented message without RSV1 is not compressed")
def _(ws):
    ws.send(*fragments(TEXT, [b"pl", b"ai", b"n"]))
    ws.expect_text("plain")


@compression("7692 6", "what looks like DEFLATE is not inflated without RSV1")
def _(ws):
    ws.send(frame(BINARY, HELLO))
    ws.expect_binary(HELLO)


@compression("7692 6", "plain and compressed messages by turns")
def _(ws):
    for i in range(30):
        ws.send(text(f"plain {i}"), *ws.frames_of(TEXT, f"compressed {i}"))
    for i in range(30):
        ws.expect_text(f"plain {i}")
        ws.expect_text(f"compressed {i}")


@compression("7692 6", "pings between compressed fragments")
def _(ws):
    for i, one in enumerate(ws.frames_of(TEXT, WORDS, 10)):
        ws.send(one)
        if i < 9:
            ws.send(ping(str(i)), pong("ignored"))
    for i in range(9):
        ws.expect_pong(str(i))
    ws.expect_text(WORDS)


@compression("7692 6", "Close inside a compressed message ends it all")
def _(ws):
    start, _ = ws.frames_of(TEXT, WORDS, 2)
    ws.send(start, close(1000))
    ws.expect_close(1000)


@compression("7692 6", "RSV1 of the answer is on its first frame only")
def _(ws):
    ws.send_text(WORDS * 500)           # read_message() checks it
    ws.expect_text(WORDS * 500)


# --- 7.2.1: what the server sends ---

def answer(ws, opcode, data):
    ws.send_message(opcode, data)
    return ws.read_frame("an answer")


@compression("7692 7.2.1", "long message comes compressed", path="/ws/echo")
def _(ws):
    came = answer(ws, TEXT, "a" * 10_000)
    check(came.rsv == 4 and len(came.payload) < 200, "compressed Text", came)


@compression("7692 7.2.1", "message below the threshold comes plain",
             path="/ws/echo")
def _(ws):
    came = answer(ws, TEXT, "a" * (THRESHOLD - 1))
    check(came.rsv == 0 and came.payload == b"a" * (THRESHOLD - 1),
          "plain Text", came)


@compression("7692 7.2.1", "message at the threshold comes compressed",
             path="/ws/echo")
def _(ws):
    came = answer(ws, TEXT, "a" * THRESHOLD)
    check(came.rsv == 4 and len(came.payload) < 100, "compressed Text", came)


@compression("7692 7.2.1", "message that does not get shorter comes plain",
             path=ALWAYS)
def _(ws):
    data = os.urandom(5000)
    came = answer(ws, BINARY, data)
    check(came.rsv == 0 and came.payload == data, "plain Binary", came)


@compression("7692 7.2.1", "tail 00 00 ff ff is left out", path=ALWAYS)
def _(ws):
    for size in (10, 100, 1000, 10_000, 100_000):
        came = answer(ws, TEXT, "a" * size)
        check(not came.payload.endswith(EMPTY_BLOCK), "no tail", came)
        ws.deflate.inflate(came.payload)


@compression("7692 7.2.1", "empty message is an empty message")
def _(ws):
    for opcode in (TEXT, BINARY, TEXT):
        ws.echoes(opcode, "")


@compression("7692 7.2.1", "compressed empty message is not of 0 bytes")
def _(ws):
    came = answer(ws, TEXT, "")
    check(came.rsv == 0 or len(came.payload) > 0,
          "no bytes plain, or some compressed", came)


for size in (1, 2, 3, 10, 100, 125, 126, 1000, 32_767, 32_768, 32_769, 65_535,
             65_536, 100_000, 262_144, MAX_MESSAGE):
    @compression("7692 7.2.1", f"{size} letters come back")
    def _(ws, size=size):
        ws.echoes(TEXT, letters(size))
        ws.echoes(BINARY, letters(size))

    @compression("7692 7.2.1", f"{size} random bytes come back")
    def _(ws, size=size):
        ws.echoes(BINARY, os.urandom(size))
        ws.echoes(BINARY, b"and what follows")


@compression("7692 7.2.1", "context outlives messages that are not compressed")
def _(ws):
    data = letters(2000)
    first = len(answer(ws, TEXT, data).payload)
    ws.deflate.inflater = None
    ws.send(text("plain"), ping("ping"))
    for _ in range(2):
        ws.read_message("a text and a pong")
    again = len(answer(ws, TEXT, data).payload)
    check(again < first // 5, f"much less than {first} bytes", again)


@compression("7692 7.2.1", "200 messages with one context")
def _(ws):
    for i in range(200):
        ws.echoes(TEXT, f"{i}: {WORDS}")


@compression("7692 7.2.1", "messages longer than the window with one context")
def _(ws):
    data = letters(80_000)
    for part in (data, data[1000:], data[:40_000], data):
        ws.echoes(TEXT, part)


# --- 7.2.2: what the client sends ---

STRATEGIES = {
    "the default strategy": packed(WORDS),
    "level 1": packed(WORDS, 1),
    "level 9": packed(WORDS, 9),
    "stored blocks": packed(WORDS, 0),
    "fixed Huffman codes": packed(WORDS, strategy=zlib.Z_FIXED),
    "Huffman codes only": packed(WORDS, strategy=zlib.Z_HUFFMAN_ONLY),
    "run lengths only": packed(WORDS, strategy=zlib.Z_RLE),
    "filtered data": packed(WORDS, strategy=zlib.Z_FILTERED),
    "a window of 512 bytes": packed(WORDS, bits=9),
    "two blocks": in_blocks(split(WORDS.encode(), 2), zlib.Z_SYNC_FLUSH),
    "fifty blocks": in_blocks(split(WORDS.encode(), 50), zlib.Z_SYNC_FLUSH),
    "blocks without references to each other":
        in_blocks(split(WORDS.encode(), 5), zlib.Z_FULL_FLUSH),
    "a final block": final(WORDS.encode()) + b"\0",
    "two final blocks":
        b"".join(final(p) for p in split(WORDS.encode(), 2)) + b"\0",
    "a final block before others":
        final(WORDS.encode()[:100]) + packed(WORDS.encode()[100:]),
    "a tail that was not left out": packed(WORDS) + EMPTY_BLOCK + b"\0",
    "empty blocks before it": (b"\0" + EMPTY_BLOCK) * 20 + packed(WORDS),
    "empty blocks behind it":
        packed(WORDS) + EMPTY_BLOCK + (b"\0" + EMPTY_BLOCK) * 20 + b"\0",
}
for title, data in STRATEGIES.items():
    for count in (1, 2, 7, 40):
        @compression("7692 7.2.2", f"message of {title} in {count} "
                     f"fragment{'s' * (count > 1)}")
        def _(ws, data=data, count=count):
            for _ in range(2):
                sends(ws, TEXT, data, count)
                ws.expect_text(WORDS)


@compression("7692 7.2.2", "compressed data cut at every byte by a fragment")
def _(ws):
    data = packed("Words, and more words, and words again")
    for cut in range(len(data) + 1):
        ws.send(*fragments(TEXT, [data[:cut], data[cut:]], rsv=4))
    for _ in range(len(data) + 1):
        ws.expect_text("Words, and more words, and words again")


@compression("7692 7.2.2", "compressed data in fragments of one byte")
def _(ws):
    data = packed(WORDS)
    sends(ws, TEXT, data, len(data))
    ws.expect_text(WORDS)


@compression("7692 7.2.2", "empty fragments between compressed ones")
def _(ws):
    pieces = [b""]
    for piece in split(packed(WORDS), 10):
        pieces += [piece, b"", b""]
    ws.send(*fragments(TEXT, pieces, rsv=4))
    ws.expect_text(WORDS)


@compression("7692 7.2.2", "empty message in the form of the example")
def _(ws):
    sends(ws, TEXT, b"\0")
    ws.expect_text("")


@compression("7692 7.2.2", "empty messages of other forms")
def _(ws):
    for data in (b"\2\0", final(b"") + b"\0",
                 (b"\0" + EMPTY_BLOCK) * 3 + b"\0"):
        sends(ws, BINARY, data)
        ws.expect_binary("")


@compression("7692 7.2.2", "no byte at all is an empty message, as some "
             "senders have it")
def _(ws):
    for count in (1, 2, 3):
        sends(ws, BINARY, b"", count)
        ws.expect_binary("")
    ws.echoes(TEXT, WORDS)


@compression("7692 7.2.2", "megabyte of empty blocks is an empty message")
def _(ws):
    sends(ws, BINARY, (b"\0" + EMPTY_BLOCK) * 150_000 + b"\0", 10)
    ws.expect_binary("")


@compression("7692 7.2.2", "compressed message in the packet of the request")
def _(client):
    client.open(extra=text(HELLO, rsv=4)).expect_text("Hello")


@compression("7692 7.2.2", "character cut by a compressed fragment is good")
def _(ws):
    words = "\u1ebf\U0001f600 " * 50
    data = packed(words, 0)             # stored: the cuts are in the text
    sends(ws, TEXT, data, len(data) // 2)
    ws.expect_text(words)


@compression("7692 7.2.2", "client's context outlives plain messages")
def _(ws):
    data = os.urandom(500)
    ws.echoes(BINARY, data)
    ws.send(text("plain"), ping())
    ws.read_message("a text")
    ws.read_message("a pong")
    frames = ws.frames_of(BINARY, data)
    check(len(frames[0]) < 100, "a reference to the first message",
          f"{len(frames[0])} bytes")
    ws.send(*frames)
    ws.expect_binary(data)


@compression("7692 7.2.2", "client's context outlives final blocks")
def _(ws):
    data = os.urandom(500)
    sends(ws, BINARY, final(data) + b"\0")
    ws.expect_binary(data)
    again = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=data)
    again = again.compress(data) + again.flush(zlib.Z_SYNC_FLUSH)
    check(len(again) < 100, "a reference to the first message",
          f"{len(again)} bytes")
    sends(ws, BINARY, again[:-len(EMPTY_BLOCK)])
    ws.expect_binary(data)


@compression("7692 7.2.2", "reference to a message before is refused without "
             "context", path=ALWAYS)
def _(ws):
    sends(ws, TEXT, HELLO)
    ws.expect_text("Hello")
    sends(ws, TEXT, bytes.fromhex("f200110000"))    # 7.2.3.2
    ws.expect_close(1007)


# --- 7.2.2: what does not inflate ---

GOOD = packed(WORDS)
FIXED = (0b01, 2)                       # the block's type
NOT_FINAL = (0, 1)
END = (0, 7)                            # the end of a block, fixed codes
BAD_DATA = {
    "bytes 255": b"\xff" * 10,
    "text": b"this is not compressed",
    "a block of type 3": bits(NOT_FINAL, (0b11, 2)),
    "a final block of type 3": bits((1, 1), (0b11, 2)),
    "a stored block whose lengths differ": b"\0\5\0\5\0Hello\0",
    "a stored block that is too short": b"\0\5\0\xfa\xffHel",
    "a reference before the start":
        bits(NOT_FINAL, FIXED, (0b1000000, 7), (0, 5), END),
    "a distance that is none":
        bits(NOT_FINAL, FIXED, (0b1000000, 7), (0b01111, 5), END),
    "a length that is none": bits(NOT_FINAL, FIXED, (0b01100011, 8), END),
    "too many length codes": bits(NOT_FINAL, (0b10, 2), (31, 5), (0, 5),
                                  (15, 4), *[(1, 3)] * 19),
    "code lengths that are over-full": bits(NOT_FINAL, (0b10, 2), (0, 5),
                                            (0, 5), (15, 4), *[(1, 3)] * 19),
    "no code for the end of a block": bits(
        NOT_FINAL, (0b10, 2), (0, 5), (0, 5), (14, 4), *[(0, 3)] * 2,
        (1, 3), *[(0, 3)] * 14, (1, 3), (0, 1), (127, 7), (0, 1), (116, 7),
        (1, 1), (1, 1), (0, 1)),
    "a good message without its last byte": GOOD[:-1],
    "a good message without its first byte": GOOD[1:],
    "half a good message": GOOD[:len(GOOD) // 2],
    "a good message and half a tail": HELLO + b"\0\0",
    "a good message and more": GOOD + b"\xff\xff\xff",
    "good data of zlib's own format": zlib.compress(WORDS.encode()),
    "a final block and nothing behind it": final(b"Hello"),
}
for title, data in BAD_DATA.items():
    @compression("7692 7.2.2", f"{title} gets 1007")
    def _(ws, data=data):
        sends(ws, BINARY, data)
        ws.expect_close(1007)

    @compression("7692 7.2.2", f"{title} in fragments gets 1007")
    def _(ws, data=data):
        sends(ws, BINARY, data, 3)
        ws.expect_close(1007)

    @compression("7692 7.2.2", f"{title} behind a good message gets 1007")
    def _(ws, data=data):
        ws.send_text("good")
        ws.expect_text("good")
        sends(ws, BINARY, data)
        ws.expect_close(1007)

for cut in range(1, len(HELLO)):
    @compression("7692 7.2.2", f"example cut short behind byte {cut} gets "
                 "1007")
    def _(ws, cut=cut):
        sends(ws, TEXT, HELLO[:cut])
        ws.expect_close(1007)

for title in ("bytes 255", "a block of type 3", "a reference before the start",
              "a stored block whose lengths differ"):
    @compression("7692 7.2.2", f"{title} get 1007 before the message ends")
    def _(ws, data=BAD_DATA[title]):
        ws.send(frame(BINARY, data + b"\0" * 10, fin=False, rsv=4))
        ws.expect_close(1007)


@compression("7692 7.2.2", "bad data disturbs no other connection")
def _(client):
    other = client.open(KEEPING)
    other.echoes(TEXT, WORDS)
    for data in BAD_DATA.values():
        ws = client.open(KEEPING)
        sends(ws, BINARY, data)
        ws.expect_close(1007)
    other.echoes(TEXT, WORDS)


@compression("7692 7.2.2", "compressed text that is not UTF-8 gets 1007")
def _(ws):
    ws.send_text(WORDS.encode() + b"\xff")
    ws.expect_close(1007)


@compression("7692 7.2.2", "compressed text that is not UTF-8 gets 1007 "
             "before the message ends")
def _(ws):
    data = in_blocks([b"good \xff"], zlib.Z_SYNC_FLUSH)
    ws.send(frame(TEXT, data + EMPTY_BLOCK, fin=False, rsv=4))
    ws.expect_close(1007)


@compression("7692 7.2.2", "compressed text that ends inside a character gets "
             "1007")
def _(ws):
    ws.send_text(b"good \xe1\xba")
    ws.expect_close(1007)


@compression("7692 7.2.2", "compressed binary need not be UTF-8")
def _(ws):
    ws.echoes(BINARY, b"\xff\xfe" * 100)


# --- 7.2.3: the examples, byte for byte ---

EXAMPLES = {
    "one block": ("f248cdc9c90700", "Hello"),
    "no compression": ("000500faff48656c6c6f00", "Hello"),
    "a final block": ("f348cdc9c9070000", "Hello"),
    "two blocks": ("f248050000 00ffff cac9c90700", "Hello"),
    "an empty message": ("00", ""),
}
for title, (data, message) in EXAMPLES.items():
    @compression("7692 7.2.3", f"example of {title}")
    def _(ws, data=bytes.fromhex(data), message=message):
        sends(ws, TEXT, data)
        ws.expect_text(message)

    @compression("7692 7.2.3", f"example of {title} in two fragments")
    def _(ws, data=bytes.fromhex(data), message=message):
        sends(ws, TEXT, data, 2)
        ws.expect_text(message)


@compression("7692 7.2.3", "example of fragments")
def _(ws):
    ws.send(text(bytes.fromhex("f248cd"), fin=False, rsv=4),
            last(bytes.fromhex("c9c90700")))
    ws.expect_text("Hello")


@compression("7692 7.2.3", "example of a shared window")
def _(ws):
    sends(ws, TEXT, HELLO)
    sends(ws, TEXT, bytes.fromhex("f200110000"))
    ws.expect_text("Hello")
    ws.expect_text("Hello")


@compression("7692 7.2.3", "example of the same message twice without context",
             path=ALWAYS)
def _(ws):
    for _ in range(2):
        sends(ws, TEXT, HELLO)
        ws.expect_text("Hello")


@compression("7692 7.2.3", "server compresses Hello as in the examples or "
             "not at all", path=ALWAYS)
def _(ws):
    came = answer(ws, TEXT, "Hello")
    check((came.rsv, came.payload) in ((4, HELLO), (0, b"Hello")),
          "the example or plain Hello", came)


# --- 8: messages that are small until they are inflated ---

def bomb(size):
    """Compressed zeros, a thousandth of the size; each MiB stands alone."""
    unit = in_blocks([bytes(1 << 20)], zlib.Z_FULL_FLUSH) + EMPTY_BLOCK
    return unit * (size >> 20)


for name, size in {"2 MiB": 1 << 21, "16 MiB": 1 << 24,
                   "1 GiB": 1 << 30}.items():
    @compression("7692 8", f"message that inflates to {name} gets 1009")
    def _(ws, size=size):
        started = time.monotonic()
        sends(ws, BINARY, bomb(size)[:1_000_000])
        ws.expect_close(1009)
        took = time.monotonic() - started
        check(took < PATIENCE, "an end at once", f"one after {took} s")

    @compression("7692 8", f"message that inflates to {name} in fragments gets "
                 "1009 before it ends")
    def _(ws, size=size):
        pieces = split(bomb(size), 20)
        ws.send(frame(BINARY, pieces[0], fin=False, rsv=4),
                *(more(piece) for piece in pieces[1:]))
        ws.expect_close(1009)


@compression("7692 8", "message that inflates to the limit is let in")
def _(ws):
    ws.echoes(BINARY, bytes(MAX_MESSAGE))


@compression("7692 8", "message that inflates to a byte more gets 1009")
def _(ws):
    ws.send_binary(bytes(MAX_MESSAGE + 1))
    ws.expect_close(1009)


@compression("7692 8", "message that inflates over a limit of 1024 gets 1009",
             path=SMALL)
def _(ws):
    ws.send_binary(bytes(1025))
    ws.expect_close(1009)


@compression("7692 8", "text that inflates over the limit gets 1009")
def _(ws):
    ws.send_text("a" * (MAX_MESSAGE + 1))
    ws.expect_close(1009)


@compression("7692 8", "ten bombs disturb no other connection",
             whole("the matter is what the server does with them"))
def _(client):
    other = client.open(KEEPING)
    data = bomb(1 << 26)
    for _ in range(10):
        ws = client.open(KEEPING)
        sends(ws, BINARY, data)
        other.works()
        ws.expect_close(1009)


@compression("7692 8", "limit is of a message, not of a connection",
             path=SMALL)
def _(ws):
    for _ in range(20):
        ws.echoes(BINARY, bytes(1024))


@compression("7692 8", "message is not inflated where nothing was agreed on")
def _(client):
    wire = client.request(headers={EXTENSIONS: f"{DEFLATE}; unknown"})
    check(wire.response[EXTENSIONS] is None, "no extension",
          wire.response[EXTENSIONS])
    WebSocket(client, wire).expect_refused(1002, text(HELLO, rsv=4))
