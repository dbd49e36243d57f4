#!/usr/bin/env python3
"""Writes the seeds, the inputs that fuzzing begins with:

    tests/fuzz/make-seeds.py [DIRECTORY]

to DIRECTORY/TARGET/seed-NAME; without one to tests/fuzz/corpus, where they
are kept. What the bytes mean is told at the top of each fuzz_TARGET.c."""

import pathlib
import sys
import zlib

KEY = bytes(range(0x61, 0x71))
ABSENT = "\x01"


def lines(*texts):
    return "\n".join(texts).encode("latin-1")


# ---- deflate ---------------------------------------------------------------

ROUND_TRIP, TAKEOVER, FORGET, CUT = 1, 2, 4, 8
FOXES = b"".join(b"the %d quick brown foxes; " % n for n in range(40))


def shrink(data, level=6, strategy=zlib.Z_DEFAULT_STRATEGY, bits=15,
           flush=zlib.Z_SYNC_FLUSH):
    """The payload of a compressed message."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
    out = stream.compress(data) + stream.flush(flush)
    return out[:-4] if flush == zlib.Z_SYNC_FLUSH else out


class Bits(list):
    """DEFLATE data, bit by bit."""

    def put(self, value, count):
        self.extend(value >> i & 1 for i in range(count))

    def put_code(self, code, count):
        self.extend(code >> i & 1 for i in reversed(range(count)))

    def data(self):
        assert len(self) % 8 == 0
        return bytes(sum(bit << j for j, bit in enumerate(self[i:i + 8]))
                     for i in range(0, len(self), 8))


def dynamic_block(tail_distances):
    """The lengths of the codes, with 0 to 13 one to 14 bits long, 14 and the
    end of the block, which is all ones, 15. So many of the lengths of
    distances, each a bit of 0, are left out."""
    order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    others = list(range(1, 16)) + [18]
    codes = {0: (0, 1)}
    for i, symbol in enumerate(others):
        codes[symbol] = (16 + i, 5)
    lengths = list(range(1, 15)) + [15]
    bits = Bits()

    def put_lengths():
        bits.put(15, 4)
        for symbol in order:
            bits.put(codes.get(symbol, (0, 0))[1], 3)
        for length in lengths:
            bits.put_code(*codes[length])
        for run in (138, 256 - len(lengths) - 138):
            bits.put_code(*codes[18])
            bits.put(run - 11, 7)
        bits.put_code(*codes[15])       # 256

    bits.put(4, 3)                      # not the last block, dynamic
    bits.put(0, 5)
    bits.put(0, 5)                      # in its place: see below
    put_lengths()
    padding = max(-len(bits) % 8, 1 - tail_distances)
    bits.put(0, padding)
    for i in range(5):
        bits[8 + i] = padding + tail_distances - 1 >> i & 1
    bits.put(0, -len(bits) % 8)
    return bits.data()


def fixed_block_in_tail():
    """Its head ends, and it does, with the tail's first byte."""
    bits = Bits()
    bits.put(2, 3)
    for _ in range(4):
        bits.put_code(0b110010000, 9)
    bits.put(0, 7)
    bits.put(2, 2)
    return bits.data()


def deflated(*messages, options=CUT, bits=15, level=6, seed=7, limit=11,
             longer=0):
    """limit is an index into the list in fuzz_deflate.c."""
    data = bytes([options, bits - 8, level - 1, seed, limit, longer])
    for i, message in enumerate(messages):
        if i < 2:
            data += len(message).to_bytes(2, "big")
        data += message
    return data


def deflate():
    fixed = zlib.Z_FIXED
    final = shrink(b"Hello", 6, fixed, flush=zlib.Z_FINISH)
    yield "stored", deflated(shrink(FOXES[:200], 0))
    yield "fixed", deflated(shrink(b"Hello, Hello", 6, fixed))
    yield "dynamic", deflated(shrink(FOXES))
    yield "empty", deflated(b"\0")
    yield "nothing", deflated(b"")
    yield "final-block", deflated(final + b"\0", final + b"\0" + final + b"\0")
    yield "final-block-alone", deflated(final)
    behind = zlib.compressobj(6, zlib.DEFLATED, -15, 8,
                              zlib.Z_DEFAULT_STRATEGY, FOXES)
    yield "final-block-looked-back-on", deflated(
        shrink(FOXES, flush=zlib.Z_FINISH) + behind.compress(FOXES[:300]) +
        behind.flush(zlib.Z_SYNC_FLUSH)[:-4])
    yield "tail-in-literals", deflated(dynamic_block(0))
    yield "tail-in-lengths", deflated(dynamic_block(16))
    yield "tail-not-used-up", deflated(fixed_block_in_tail())
    yield "final-stored", deflated(b"\1")
    yield "cut-short", deflated(shrink(FOXES)[:-20])
    yield "type-3", deflated(b"\7")
    yield "stored-absorbs-tail", deflated(b"\0\4\0\xfb\xff")
    yield "stored-wrong-length", deflated(b"\0\4\0\xfb\xfe")
    yield "too-far-back", deflated(shrink(FOXES * 3)[30:], options=CUT)
    stream = zlib.compressobj(6, zlib.DEFLATED, -9)
    yield "takeover", deflated(*[
        (stream.compress(FOXES) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        for _ in range(3)], options=CUT | TAKEOVER, bits=9)
    yield "over-limit", deflated(shrink(FOXES), limit=5)
    yield "at-limit", deflated(shrink(FOXES[:256]), limit=4)
    yield "bomb", deflated(shrink(b"0" * 60000), limit=10)
    yield "beyond-window", deflated(shrink(FOXES[:300] * 2), bits=8)
    for bits in range(8, 16):
        yield "round-trip-%d" % bits, deflated(
            FOXES, b"", FOXES[:90], options=ROUND_TRIP | CUT, bits=bits,
            level=bits - 6)
        yield "round-trip-takeover-%d" % bits, deflated(
            FOXES, FOXES[300:], FOXES[:400], bits=bits,
            options=ROUND_TRIP | TAKEOVER | CUT, level=bits - 6)
    yield "round-trip-forget", deflated(
        FOXES[:500], FOXES[:500], FOXES[:500],
        options=ROUND_TRIP | TAKEOVER | FORGET)
    yield "round-trip-long", deflated(
        FOXES, options=ROUND_TRIP | TAKEOVER | CUT, longer=255)
    yield "round-trip-long-small-window", deflated(
        FOXES, options=ROUND_TRIP | CUT, bits=8, level=9, longer=242)


# ---- extension -------------------------------------------------------------

def extension():
    def offers(text, bits=15, takeover=1):
        return bytes([bits - 9, takeover]) + text.encode()

    name = "permessage-deflate"
    server, client = "server_max_window_bits", "client_max_window_bits"
    no_server, no_client = ("server_no_context_takeover",
                            "client_no_context_takeover")
    yield "plain", offers(name)
    yield "browser", offers(f"{name}; {client}")
    yield "small-window", offers(f"{name}; {client}", 9, 0)
    yield "all", offers(f"{name};{server}=10;{client}=9;{no_server};"
                        f"{no_client}", 12)
    yield "second-offer", offers(f"{name}; {server}=7, {name}; {server}=8")
    yield "fallback", offers(f"{name}; {server}=16, x-other; a=b, {name}")
    yield "other", offers('x-webkit-deflate-frame, foo; bar="baz"; qux=1')
    yield "quoted", offers(f'{name}; {client}="1\\2"')
    yield "quoted-empty", offers(f'{name}; {client}=""')
    yield "quoted-open", offers(f'{name}; {client}="12')
    yield "quoted-blank", offers('foo; a="b c"')
    yield "quoted-escape-at-end", offers('foo; a="\\')
    yield "spaces", offers(f" , ,\t{name} ; {server} = 9 ; {no_client} ,,")
    yield "twice", offers(f"{name}; {no_server}; {no_server}")
    yield "flag-with-value", offers(f"{name}; {no_client}=1")
    yield "server-without-value", offers(f"{name}; {server}")
    yield "leading-zero", offers(f"{name}; {client}=09")
    yield "unknown", offers(f"{name}; level=9")
    yield "no-comma", offers(f"{name} {name}")
    yield "no-name", offers("; a")
    yield "no-param", offers(f"{name};")
    yield "no-value", offers(f"{name}; {client}=")
    yield "case", offers("Permessage-Deflate")
    yield "bad-after-good", offers(f"{name}, @")
    yield "empty", offers("")


# ---- handshake -------------------------------------------------------------

def head(method="GET", upgrade="websocket", connection="Upgrade",
         version="13", protocols=ABSENT, key=None, http=0x11, body=False):
    options = (1 if body else 0) | (2 if key is None else 0)
    fields = [method, upgrade, connection, version, protocols]
    if key is not None:
        fields.append(key)
    return (bytes([2, options, http]) + (KEY if key is None else b"") +
            lines(*fields))


def handshake():
    yield "head-good", head()
    yield "head-key", head(key="dGhlIHNhbXBsZSBub25jZQ==")
    yield "head-key-bits", head(key="dGhlIHNhbXBsZSBub25jZR==")
    yield "head-key-blank", head(key=" dGhlIHNhbXBsZSBub25jZQ=")
    yield "head-key-short", head(key="dGhlIHNhbXBsZSBub25j")
    yield "head-key-dashes", head(key="dGhlIHNhbXBsZSBub2-jZ_==")
    yield "head-no-key", head(key=ABSENT)
    yield "head-post", head(method="POST")
    yield "head-http-1.0", head(http=0x10)
    yield "head-http-2", head(http=0x20)
    yield "head-no-upgrade", head(upgrade=ABSENT)
    yield "head-upgrade-h2c", head(upgrade="h2c, WebSocket")
    yield "head-connection", head(connection="keep-alive , Upgrade")
    yield "head-no-connection", head(connection="close")
    yield "head-version-8", head(version="8, 13")
    yield "head-body", head(body=True)
    yield "head-protocols", head(protocols="chat, superchat,,v1.chat")
    yield "head-protocols-bad", head(protocols="chat, super chat")
    yield "list-empty", b"\0"
    yield "list", b"\0" + lines("a, bc ,,\td\t,", "bc", "D", "", "e")
    yield "list-tokens", b"\0" + lines("!#$%&'*+-.^_`|~, (a), \"b\"", "(a)")
    yield "origin-ports", b"\1" + lines(
        "https://example.org", "HTTPS://Example.org:443",
        "https://example.org:0443", "example.org")
    yield "origin-schemes", b"\1" + lines(
        "http://example.org", "https://example.org:80", "null",
        "example.org:80")
    yield "origin-literals", b"\1" + lines(
        "http://[::1]", "http://[::1]:80", "http://[::1", "[::1]:80")
    yield "origin-literal-tail", b"\1" + lines(
        "http://[::1]x", "http://[]", "http://]:1", "[::1]x")
    yield "origin-bad-ports", b"\1" + lines(
        "http://a:", "http://a:65536", "http://a:99999", "a:000080")
    yield "origin-paths", b"\1" + lines(
        "http://a/", "http://a@b", "http://a,b", "a/b")


# ---- log -------------------------------------------------------------------

def append(topic, length, opcode=1, more=0):
    """One record; lengths are codes, see choose_lengths()."""
    data = [0, opcode, topic, length]
    if 64 <= length < 240:
        data.append(more)
    return bytes(data)


def read(reader, everything=False):
    if everything:
        return bytes([3 | (reader | 4) % 8 << 3])
    return bytes([3 | reader << 3, 0])


def open_or_close(reader):
    return bytes([5 | reader << 3])


def die(topic, length, stage):
    data = [6, 1, topic, length]
    if 64 <= length < 240:
        data.append(0)
    return bytes(data + [stage])


def slot(which, action):
    return bytes([7 | (which | action << 1) << 3])


TAKE, WANT, UNWANT, SLEEP, FREE = 0, 0, 1, 2, 3


def log():
    yield "one", b"\0" + open_or_close(0) + append(5, 10) + read(0)
    yield "small", b"\0" + open_or_close(1) + b"".join(
        append(n, n * 3) + read(1) for n in range(20))
    yield "wrap", b"\0" + open_or_close(0) + b"".join(
        append(n, 70 + n * 9, 4, n) + read(0) for n in range(18))
    yield "lapped", b"\0" + open_or_close(2) + b"".join(
        append(3, 100 + n, n) for n in range(12)) + read(2) + read(2)
    yield "largest", b"\1" + open_or_close(0) + b"".join(
        append(253, 253) for n in range(5)) + read(0)
    yield "too-large", b"\0" + append(254, 10) + append(10, 254)
    for stage in range(6):
        yield "death-%d" % stage, (
            b"\0" + open_or_close(0) + append(4, 200) + append(4, 200) +
            read(0) + append(4, 150) + die(9, 220, stage) + read(0) +
            append(2, 2) + open_or_close(1) + append(1, 230) + read(0))
    yield "slots", b"\0" + (
        slot(0, TAKE) + slot(1, TAKE) + slot(0, WANT) + slot(0, SLEEP) +
        slot(1, SLEEP) + append(1, 1) + slot(1, WANT) + slot(0, FREE) +
        append(1, 1) + slot(1, UNWANT))


# ---- chat ------------------------------------------------------------------

PUBLISH_FAILS, SUBSCRIBE_FAILS, SEND_DROPS, ALLOCATION_FAILS = 1, 2, 4, 8


def talk(*messages, options=0, when=0, name=0, message=0, default=None,
         path="", room=ABSENT):
    choice = (default is not None) | name << 1 | message << 4
    texts = [default] * (default is not None) + [path, room] + list(messages)
    return (bytes([options, when, choice]) +
            "\n".join(texts).encode("utf-8", "surrogateescape"))


def chat():
    hello = '{"type":"chat","message":"Hello","username":"Ann"}'
    typing = '{"type":"typing","isTyping":true}'
    ping = '{"type":"ping","timestamp":1.5e3}'
    yield "hello", talk(hello, path="/room-1_a.b")
    yield "typing", talk(typing, '{"isTyping":false,"type":"typing"}',
                         room="den")
    yield "ping", talk(ping, "!" + ping)
    yield "no-name", talk('{"type":"chat","message":"x","username":null}',
                          '{"type":"chat","message":"x","username":" \t"}',
                          '{"type":"chat","message":"x","username":7}')
    yield "names", talk('{"type":"chat","message":"\u20ac\U0001f600",'
                        '"username":"\u00e4\\u20ac\\ud83d\\ude00"}',
                        name=3)
    yield "name-too-long", talk('{"type":"chat","message":"x",'
                                '"username":"\u00e4\u00e4\u00e4\u00e4"}',
                                name=3)
    yield "message-too-long", talk(hello, message=1)
    yield "message-blank", talk('{"type":"chat","message":" \\r\\n"}',
                                '{"type":"chat"}')
    yield "not-objects", talk("", "[]", "{", "null", '{"type":1}', "[[[[[]]]]]")
    yield "duplicate", talk('{"type":"ping","type":"chat"}')
    yield "nul", talk('{"type":"chat","message":"a\\u0000b"}')
    yield "surrogate", talk('{"type":"chat","message":"\\ud800"}')
    yield "not-utf-8", talk('{"type":"chat","message":"\udcff"}')
    yield "unknown", talk('{"type":"shout","message":"x"}')
    yield "bad-room", talk(path="/a b")
    yield "default-room", talk(hello, default="hall")
    yield "bad-default-room", talk(default="a/b")
    yield "publish-fails", talk(hello, typing, options=PUBLISH_FAILS)
    yield "subscribe-fails", talk(hello, options=SUBSCRIBE_FAILS)
    yield "send-drops", talk(ping, options=SEND_DROPS)
    for when in (0, 1, 2, 4, 8, 12, 16, 24):
        yield "out-of-memory-%d" % when, talk(
            hello, typing, ping, options=ALLOCATION_FAILS, when=when)


# ---- message ---------------------------------------------------------------

DEFLATE, MADE, PARTS, RELEASE = 1, 4, 8, 16
FIN, RSV1, RSV2 = 0x80, 0x40, 0x20
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"


def frame(first, payload=b"", key=MASK, form=None, told=None):
    told = len(payload) if told is None else told
    form = form or (1 if told < 126 else 2 if told < 65536 else 8)
    head = bytes([first, 0x80 | (told if form == 1 else
                                 126 if form == 2 else 127)])
    if form > 1:
        head += told.to_bytes(form, "big")
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


def wire(*frames, options=0, limit=13, fragments=0, seed=5, bits=15):
    """limit is an index into the list in fuzz_message.c."""
    return (bytes([options | bits - 8 << 5, limit, fragments, seed]) +
            b"".join(frames))


def made(first, payload, how=0):
    return bytes([first, how, len(payload)]) + payload


def message():
    euro = "\u20ac".encode()
    hello = shrink(b"Hello")
    final = shrink(b"Hello", flush=zlib.Z_FINISH) + b"\0"
    yield "text", wire(frame(FIN | TEXT, b"Hello"))
    yield "control", wire(frame(FIN | PING, b"ping"), frame(FIN | PONG),
                          frame(FIN | CLOSE, b"\x03\xe8bye"))
    yield "fragments", wire(
        frame(TEXT, b"He"), frame(FIN | PING, b"x"), frame(MORE),
        frame(MORE, b"ll"), frame(FIN | MORE, b"o"), frame(FIN | BINARY),
        options=RELEASE)
    yield "fragments-too-many", wire(frame(TEXT, b"1"), frame(MORE, b"2"),
                                     frame(FIN | MORE, b"3"), fragments=2)
    yield "no-start", wire(frame(FIN | MORE, b"x"))
    yield "start-in-message", wire(frame(TEXT, b"x"), frame(FIN | TEXT))
    yield "text-cut", wire(frame(TEXT, euro[:1]), frame(FIN | PONG),
                           frame(FIN | MORE, euro[1:] + b"!"))
    yield "text-bad", wire(frame(FIN | TEXT, b"ok" + euro[:2] + b"ok"))
    yield "text-open", wire(frame(FIN | TEXT, b"ok" + euro[:2]))
    yield "text-surrogate", wire(frame(FIN | TEXT, b"\xed\xa0\x80"))
    yield "text-beyond", wire(frame(FIN | TEXT, b"\xf4\x90\x80\x80"))
    yield "text-overlong", wire(frame(FIN | TEXT, b"\xe0\x9f\xbf"))
    yield "length-16", wire(frame(FIN | BINARY, b"x" * 126))
    yield "length-16-small", wire(frame(FIN | BINARY, b"x" * 125, form=2))
    yield "length-64-small", wire(frame(FIN | BINARY, b"x" * 200, form=8))
    yield "length-64-huge", wire(frame(FIN | BINARY, told=1 << 62, form=8))
    yield "length-64-top", wire(frame(FIN | BINARY, told=1 << 63, form=8))
    yield "too-big", wire(frame(FIN | BINARY, b"x" * 126), limit=3)
    yield "just-fits", wire(frame(FIN | BINARY, b"x" * 125), limit=3)
    yield "too-big-in-two", wire(frame(BINARY, b"x" * 100),
                                 frame(FIN | MORE, b"x" * 26), limit=3)
    yield "unmasked", wire(b"\x81\x01x")
    yield "rsv1", wire(frame(FIN | RSV1 | TEXT, hello))
    yield "rsv2", wire(frame(FIN | RSV2 | TEXT, b"x"), options=DEFLATE)
    yield "rsv1-of-ping", wire(frame(FIN | RSV1 | PING), options=DEFLATE)
    yield "opcode-3", wire(frame(FIN | 3))
    yield "opcode-11", wire(frame(FIN | 11))
    yield "ping-126", wire(frame(FIN | PING, b"x" * 126))
    yield "ping-without-fin", wire(frame(PING))
    yield "compressed", wire(frame(FIN | RSV1 | TEXT, hello),
                             frame(FIN | TEXT, b"Hello"),
                             options=DEFLATE | RELEASE)
    yield "compressed-empty", wire(frame(FIN | RSV1 | TEXT, b"\0"),
                                   frame(FIN | RSV1 | TEXT),
                                   options=DEFLATE)
    yield "compressed-fragments", wire(
        frame(RSV1 | BINARY, hello[:2]), frame(FIN | PING, b"x"),
        frame(MORE, hello[2:3]), frame(FIN | MORE, hello[3:]),
        options=DEFLATE)
    yield "compressed-rsv1-again", wire(
        frame(RSV1 | TEXT, hello[:2]), frame(FIN | RSV1 | MORE, hello[2:]),
        options=DEFLATE)
    yield "compressed-cut-short", wire(
        frame(FIN | RSV1 | TEXT, hello[:-2]), options=DEFLATE)
    yield "compressed-final", wire(
        frame(FIN | RSV1 | TEXT, final + final), options=DEFLATE)
    for name, data in (("literals", dynamic_block(0)),
                       ("lengths", dynamic_block(16)),
                       ("block", fixed_block_in_tail())):
        yield "compressed-tail-in-" + name, wire(
            frame(FIN | RSV1 | BINARY, data), options=DEFLATE)
    yield "compressed-bad", wire(
        frame(RSV1 | TEXT, b"\7"), frame(FIN | PING), options=DEFLATE)
    yield "compressed-not-utf-8", wire(
        frame(FIN | RSV1 | TEXT, shrink(b"Hello" * 9 + b"\xff\xff")),
        options=DEFLATE)
    yield "compressed-too-big", wire(
        frame(FIN | RSV1 | BINARY, shrink(b"0" * 201)), options=DEFLATE,
        limit=5)
    yield "compressed-just-fits", wire(
        frame(FIN | RSV1 | BINARY, shrink(b"0" * 200)), options=DEFLATE,
        limit=5)
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    again = [(stream.compress(b"Hello") + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
             for _ in range(2)]
    yield "takeover", wire(*[frame(FIN | RSV1 | TEXT, data)
                             for data in again],
                           options=DEFLATE | TAKEOVER)
    yield "takeover-not-agreed", wire(*[frame(FIN | RSV1 | TEXT, data)
                                        for data in again], options=DEFLATE)
    yield "made", wire(
        made(FIN | TEXT, b"Hello, ", 8), made(FIN | BINARY, b"all", 8 | 16),
        made(FIN | TEXT, euro + b"!", 8 | 32 | 64), options=MADE)
    for bits in (8, 9, 15):
        yield "made-compressed-%d" % bits, wire(
            made(FIN | RSV1 | TEXT, b"Hello, all of you", 4 | 8),
            made(FIN | RSV1 | BINARY, bytes(range(200)), 4 | 8 | 16 | 32 | 64),
            made(FIN | RSV1 | TEXT, b"Hello, all of you", 4 | 32),
            options=DEFLATE | MADE | TAKEOVER, bits=bits)
    yield "made-too-big", wire(
        made(FIN | RSV1 | TEXT, b"abcdefgh", 4 | 16), options=DEFLATE | MADE,
        limit=7)
    yield "parts-utf-8", wire((euro + "\u00e4x\U0001f600".encode()) * 20,
                              options=PARTS)
    yield "parts-ascii", wire(b"x" * 131 + euro[:2], options=PARTS, seed=9)
    yield "parts-head", wire(frame(FIN | RSV1 | TEXT, b"x" * 70000)[:14],
                             options=PARTS)
    yield "parts-codes", wire(bytes.fromhex(
        "03e703e803ed03f003f303f4 0bb8138713880bb7 ffff0000"), options=PARTS)


TARGETS = [chat, deflate, extension, handshake, log, message]


def main():
    here = pathlib.Path(__file__).resolve().parent
    where = pathlib.Path(sys.argv[1]) if sys.argv[1:] else here / "corpus"
    for target in TARGETS:
        directory = where / target.__name__
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in target():
            (directory / ("seed-" + name)).write_bytes(data)


main()
