"""Frames: RFC 6455 5.1 (who masks), 5.2 (the head), 5.3 (masking), 5.7 (the
RFC's examples) and 5.8 (what extensions may use)."""
import os
import struct

from cases import CUTS_ITSELF, FIXED_BYTES, case, plain
from peer import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, binary, check,
                  close, frame, head, last, more, ping, text)
from server import MAX_MESSAGE
from wire import mask

OPCODES = {"Continuation": CONTINUATION, "Text": TEXT, "Binary": BINARY,
           "Close": CLOSE, "Ping": PING, "Pong": PONG}
RSV1_MEANS_COMPRESSED = plain("RSV1 is not reserved once compression is "
                              "agreed on")

# --- 5.1: a client masks, a server does not ---

for name, opcode in OPCODES.items():
    @case("5.1", f"unmasked {name} is refused")
    def _(ws, opcode=opcode):
        data = b"\x03\xe8" if opcode == CLOSE else b"data"
        ws.expect_refused(1002, frame(opcode, data, masked=False))

    @case("5.1", f"unmasked empty {name} is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, masked=False))


@case("5.1", "unmasked message of 16-bit length is refused")
def _(ws):
    ws.expect_refused(1002, binary(bytes(1000), masked=False))


@case("5.1", "unmasked message of 64-bit length is refused")
def _(ws):
    ws.expect_refused(1002, binary(bytes(70000), masked=False))


@case("5.1", "unmasked frame behind masked ones is refused")
def _(ws):
    ws.send(text("good"), text("bad", masked=False))
    ws.expect_text("good")
    ws.expect_close(1002)


@case("5.1", "unmasked fragment behind a masked one is refused")
def _(ws):
    ws.expect_refused(1002, text("a", fin=False), last("b", masked=False))


@case("5.1", "unmasked ping inside a message is refused")
def _(ws):
    ws.expect_refused(1002, text("a", fin=False), ping(masked=False))


@case("5.1", "missing mask is refused at the second byte", CUTS_ITSELF)
def _(ws):
    ws.expect_refused(1002, b"\x82\x05")


@case("5.1", "server does not mask")
def _(ws):
    for size in (0, 125, 126, 65536):
        ws.send_binary(bytes(size))
        came = ws.read_frame("an unmasked frame")   # which checks it
        check(came.opcode == BINARY, "Binary", came)


# --- 5.2: reserved bits ---

def refuses_rsv(rsv, name, *only):
    """Behind a text of which a part is there, if it is a continuation."""
    @case("5.2", f"{name} with RSV bits {rsv:03b} is refused", *only)
    def _(ws):
        start = [text("a", fin=False)] if name == "Continuation" else []
        data = b"\x03\xe8" if name == "Close" else b"a"
        ws.expect_refused(1002, *start, frame(OPCODES[name], data, rsv=rsv))


for rsv in range(1, 8):
    for name in OPCODES:
        if rsv == 4 and name in ("Text", "Binary"):
            refuses_rsv(rsv, name, RSV1_MEANS_COMPRESSED)
        else:
            refuses_rsv(rsv, name)


@case("5.2", "reserved bit is refused at the first byte", CUTS_ITSELF)
def _(ws):
    ws.expect_refused(1002, b"\x91")


@case("5.2", "reserved bit of an empty frame is refused")
def _(ws):
    ws.expect_refused(1002, text("", rsv=2))


@case("5.2", "reserved bit behind good messages is refused")
def _(ws):
    ws.send(text("one"), text("two"), text("three", rsv=1))
    ws.expect_text("one")
    ws.expect_text("two")
    ws.expect_close(1002)


@case("5.2", "reserved bit of a first fragment is refused")
def _(ws):
    ws.expect_refused(1002, text("a", fin=False, rsv=1), last("b"))


# --- 5.2: opcodes ---

for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
    @case("5.2", f"opcode {opcode} is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, "data"))

    @case("5.2", f"opcode {opcode} without data is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode))

    @case("5.2", f"opcode {opcode} without FIN is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, frame(opcode, "data", fin=False))

    @case("5.2", f"opcode {opcode} inside a message is refused")
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, text("a", fin=False), frame(opcode, "data"),
                          last("b"))

    @case("5.2", f"opcode {opcode} is refused at the first byte", CUTS_ITSELF)
    def _(ws, opcode=opcode):
        ws.expect_refused(1002, bytes([0x80 | opcode]))


# --- 5.2: the payload's length ---

for size in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 124,
             125, 126, 127, 128, 255, 256, 257, 1000, 1023, 1024, 1025, 4096,
             16383, 16384, 16385, 32768, 65534, 65535, 65536, 65537, 131071,
             131072, 131073, 262144, 524289, MAX_MESSAGE - 1, MAX_MESSAGE):
    @case("5.2", f"Binary of {size} bytes comes back")
    def _(ws, size=size):
        ws.echoes(BINARY, os.urandom(size))

    @case("5.2", f"Text of {size} bytes comes back")
    def _(ws, size=size):
        ws.echoes(TEXT, "Chào! " * (size // 7) + "x" * (size % 7))


for size, form in ((0, 7), (125, 7), (126, 16), (127, 16), (65535, 16),
                   (65536, 64)):
    @case("5.2", f"length {size} in {form} bits is right")
    def _(ws, size=size, form=form):
        data = os.urandom(size)
        key = b"\1\2\3\4"
        ws.send(head(0x82, size, form, key) + mask(data, key))
        ws.expect_binary(data)

for size, form in ((0, 16), (1, 16), (124, 16), (125, 16), (0, 64), (1, 64),
                   (125, 64), (126, 64), (127, 64), (65534, 64), (65535, 64)):
    @case("5.2", f"length {size} in {form} bits is refused")
    def _(ws, size=size, form=form):
        ws.expect_refused(1002, head(0x82, size, form) + bytes(size))

    @case("5.2", f"length {size} in {form} bits is refused at the head",
          CUTS_ITSELF)
    def _(ws, size=size, form=form):
        ws.expect_refused(1002, head(0x82, size, form)[:-4])

for title, length in {
        "2^63": 1 << 63, "2^63 + 5": (1 << 63) + 5,
        "2^64 - 1": (1 << 64) - 1}.items():
    @case("5.2", f"length {title} is refused")
    def _(ws, length=length):
        ws.expect_refused(1002, head(0x82, length, 64))

    @case("5.2", f"length {title} of a continuation is refused")
    def _(ws, length=length):
        ws.expect_refused(1002, text("a", fin=False), head(0x80, length, 64))


@case("5.2", "top bit of a length is refused at its first byte", CUTS_ITSELF)
def _(ws):
    ws.expect_refused(1002, b"\x82\xff\x80")


# --- 5.2: heads and payloads that arrive in pieces ---

for form, size in ((7, 5), (16, 300), (64, 65536)):
    for cut in range(1, len(head(0x82, size, form)) + 1):
        @case("5.2", f"head with {form}-bit length cut behind byte {cut}",
              CUTS_ITSELF)
        def _(ws, form=form, size=size, cut=cut):
            data, key = os.urandom(size), os.urandom(4)
            whole = head(0x82, size, form, key) + mask(data, key)
            ws.send(whole[:cut])
            ws.send(whole[cut:])
            ws.expect_binary(data)


@case("5.2", "every byte of a short message in a packet of its own")
def _(ws):
    for byte in text("abc"):
        ws.send(bytes([byte]))
    ws.expect_text("abc")


@case("5.2", "payload cut in two at every byte", CUTS_ITSELF)
def _(ws):
    data = os.urandom(100)
    for cut in range(1, 100):
        whole = binary(data)
        ws.send(whole[:6 + cut])
        ws.send(whole[6 + cut:])
        ws.expect_binary(data)


@case("5.2", "frames glued together and cut at odd places", CUTS_ITSELF)
def _(ws):
    messages = [os.urandom(i * 3) for i in range(100)]
    stream = b"".join(binary(m) for m in messages)
    for at in range(0, len(stream), 211):
        ws.send(stream[at:at + 211])
    for message in messages:
        ws.expect_binary(message)


@case("5.2", "three hundred frames of 997 bytes in one write")
def _(ws):
    messages = [os.urandom(997) for _ in range(300)]
    ws.send(*(binary(m) for m in messages))
    for message in messages:
        ws.expect_binary(message)


@case("5.2", "server writes lengths in their shortest form")
def _(ws):
    for size in (0, 125, 126, 127, 65535, 65536):
        ws.echoes(BINARY, os.urandom(size))     # read_frame() checks it


# --- 5.3: masking ---

for title, key in {
        "zero": b"\0\0\0\0", "all ones": b"\xff\xff\xff\xff",
        "with only its first byte": b"\xa5\0\0\0",
        "with only its second byte": b"\0\xa5\0\0",
        "with only its third byte": b"\0\0\xa5\0",
        "with only its fourth byte": b"\0\0\0\xa5",
        "of four times the same byte": b"\x11\x11\x11\x11",
        "that rises": b"\1\2\3\4"}.items():
    @case("5.3", f"masking key {title}", FIXED_BYTES)
    def _(ws, key=key):
        for size in (0, 1, 2, 3, 4, 5, 100, 1000):
            data = os.urandom(size)
            ws.send(binary(data, key=key))
            ws.expect_binary(data)


@case("5.3", "masked payload that is all zeros on the wire", FIXED_BYTES)
def _(ws):
    ws.send(binary(b"\1\2\3\4" * 100, key=b"\1\2\3\4"))
    ws.expect_binary(b"\1\2\3\4" * 100)


@case("5.3", "every frame with a key of its own")
def _(ws):
    ws.send(*(text(str(i), key=struct.pack(">I", i * 0x01030507 & 0xffffffff))
              for i in range(50)))
    for i in range(50):
        ws.expect_text(str(i))


@case("5.3", "every fragment with a key of its own")
def _(ws):
    ws.send(text("ab", fin=False, key=b"\1\2\3\4"),
            more("cd", key=b"\xff\xfe\xfd\xfc"), last("ef", key=b"\0\0\0\0"))
    ws.expect_text("abcdef")


@case("5.3", "ping between fragments with another key")
def _(ws):
    ws.send(text("abc", fin=False, key=b"\1\2\3\4"),
            ping("xyz", key=b"\xf0\xf1\xf2\xf3"), last("def", key=b"\5\6\7\7"))
    ws.expect_pong("xyz")
    ws.expect_text("abcdef")


@case("5.3", "masked messages of every length up to 200")
def _(ws):
    messages = [os.urandom(size) for size in range(201)]
    ws.send(*(binary(m) for m in messages))
    for message in messages:
        ws.expect_binary(message)


@case("5.3", "key goes on where a packet cut the payload", CUTS_ITSELF)
def _(ws):
    data = os.urandom(1000)
    for size in (1, 2, 3, 5, 7, 63, 65):
        whole = binary(data)
        for at in range(0, len(whole), size):
            ws.send(whole[at:at + size])
        ws.expect_binary(data)


@case("5.3", "masked payload at every alignment in the packet")
def _(ws):
    data = os.urandom(100)
    for pad in range(16):
        ws.send(binary(bytes(pad)), binary(data))
        ws.expect_binary(bytes(pad))
        ws.expect_binary(data)


@case("5.3", "masked reason of a Close is unmasked", FIXED_BYTES)
def _(ws):
    ws.send(close(1000, "reason", key=b"\x9a\x8b\x7c\x6d"))
    ws.expect_close(1000)


# --- 5.7: the RFC's examples, byte for byte ---

HELLO = bytes.fromhex("818537fa213d7f9f4d5158")


def expect_bytes(ws, expected):
    came = ws.read(len(expected), expected.hex())
    check(came == expected, expected.hex(), came.hex())


@case("5.7", "single-frame masked text message")
def _(ws):
    ws.send(HELLO)
    ws.expect_text("Hello")


@case("5.7", "single-frame unmasked text message is the answer")
def _(ws):
    ws.send(HELLO)
    expect_bytes(ws, bytes.fromhex("810548656c6c6f"))


@case("5.7", "single-frame unmasked text message is refused from a client")
def _(ws):
    ws.expect_refused(1002, bytes.fromhex("810548656c6c6f"))


@case("5.7", "fragmented unmasked text message is refused from a client")
def _(ws):
    ws.expect_refused(1002, bytes.fromhex("010348656c"),
                      bytes.fromhex("80026c6f"))


@case("5.7", "fragmented text message, masked")
def _(ws):
    ws.send(text("Hel", fin=False), last("lo"))
    ws.expect_text("Hello")


@case("5.7", "ping, masked, is answered by the pong of the example")
def _(ws):
    ws.send(bytes.fromhex("898537fa213d7f9f4d5158"))
    expect_bytes(ws, bytes.fromhex("8a0548656c6c6f"))


@case("5.7", "unmasked ping is refused from a client")
def _(ws):
    ws.expect_refused(1002, bytes.fromhex("890548656c6c6f"))


@case("5.7", "masked pong is taken and not answered")
def _(ws):
    ws.send(bytes.fromhex("8a8537fa213d7f9f4d5158"))
    ws.works()


@case("5.7", "256 bytes of binary have the head of the example", FIXED_BYTES)
def _(ws):
    data = os.urandom(256)
    ws.send(binary(data))
    expect_bytes(ws, bytes.fromhex("827e0100") + data)


@case("5.7", "64 KiB of binary have the head of the example", FIXED_BYTES)
def _(ws):
    data = os.urandom(65536)
    ws.send(binary(data))
    expect_bytes(ws, bytes.fromhex("827f0000000000010000") + data)


# --- 5.8: what extensions may use is closed without them ---

@case("5.8", "unknown extension opens no reserved bit")
def _(client):
    ws = client.open(headers={
        "Sec-WebSocket-Extensions": "x-unknown" + (
            ", permessage-deflate" if client.mode.compressed else "")})
    ws.expect_refused(1002, text("a", rsv=2))


@case("5.8", "unknown extension opens no reserved opcode")
def _(client):
    ws = client.open(headers={
        "Sec-WebSocket-Extensions": "x-unknown" + (
            ", permessage-deflate" if client.mode.compressed else "")})
    ws.expect_refused(1002, frame(3, "a"))


@case("5.8", "per-frame data of no extension is payload", FIXED_BYTES)
def _(ws):
    ws.send(binary(b"\0\0\0\5extension"))
    ws.expect_binary(b"\0\0\0\5extension")


# --- a frame's first two bytes, all of them ---

def verdict(first, second):
    """1002, or None if the two bytes may begin a frame."""
    opcode = first & 0x0f
    if first & 0x70 or opcode in (3, 4, 5, 6, 7) or opcode > 10:
        return 1002
    if not second & 0x80 or opcode == CONTINUATION:
        return 1002
    if opcode >= CLOSE and (not first & 0x80 or second & 0x7f > 125):
        return 1002
    return None


@case("5.2", "every first byte is refused or not, as it must be", CUTS_ITSELF,
      RSV1_MEANS_COMPRESSED)
def _(client):
    for first in range(256):
        ws = client.open()
        if verdict(first, 0x80):
            ws.expect_refused(1002, bytes([first, 0x80]) + b"1234")
        elif first & 0x0f == CLOSE:
            ws.send(bytes([first, 0x80]) + b"1234")
            ws.expect_close(None)
        else:
            ws.send(bytes([first, 0x80]) + b"1234", ping("on"))
            if first & 0x8f in (0x81, 0x82):
                ws.expect(first & 0x0f, b"")
            elif first & 0x0f == PING:
                ws.expect_pong()
            ws.expect_pong("on")


