"""permessage-deflate (RFC 7692) as the directives set it, and what it costs."""
import random
import re
import struct
import zlib

import pytest

from httpd import HANDLERS, wait_until
from wire import BINARY, TEXT, frame

EXTENSIONS = "Sec-WebSocket-Extensions"
OFFER = {EXTENSIONS: "permessage-deflate; client_max_window_bits"}
TAIL = b"\x00\x00\xff\xff"
COMPRESSED = 4              # RSV1 in the three reserved bits
ONE_CHILD = """
    StartServers 1
    ServerLimit 1
    ThreadsPerChild 25
    MaxRequestWorkers 25
    MaxSpareThreads 25
"""
CHANCE = random.Random(0)
TEXT_4K = " ".join(f"word{CHANCE.randrange(300)}" for _ in range(550))


def deflate(data, compressor=None):
    compressor = compressor or zlib.compressobj(wbits=-15)
    data = data.encode() if isinstance(data, str) else data
    return (compressor.compress(data)
            + compressor.flush(zlib.Z_SYNC_FLUSH))[:-len(TAIL)]


def inflate(data, bits=15):
    return zlib.decompressobj(wbits=-bits).decompress(data + TAIL)


def read_raw(wire):
    """(was it compressed, payload as it came)"""
    first, second = wire.read(2)
    length = second & 0x7f
    if length == 126:
        length = struct.unpack(">H", wire.read(2))[0]
    elif length == 127:
        length = struct.unpack(">Q", wire.read(8))[0]
    assert first & 0x3f in (TEXT, BINARY)
    return bool(first & 0x40), wire.read(length)


def agreed(wire):
    return wire.response.headers.get(EXTENSIONS.lower())


def says(wire, text):
    wire.send(frame(TEXT, text))
    return read_raw(wire)


# --- what the directive's parameters do ---

@pytest.mark.parametrize("setting, offer, answer", [
    ("on", "permessage-deflate",
     "permessage-deflate; server_no_context_takeover; "
     "client_no_context_takeover"),
    ("on takeover=on", "permessage-deflate", "permessage-deflate"),
    ("on takeover=on window=10",
     "permessage-deflate; client_max_window_bits",
     "permessage-deflate; server_max_window_bits=10; "
     "client_max_window_bits=10"),
    ("on takeover=on window=10", "permessage-deflate",
     "permessage-deflate; server_max_window_bits=10"),
    ("on takeover=on window=12",
     "permessage-deflate; server_max_window_bits=8",
     "permessage-deflate; server_max_window_bits=8"),
    ("on", "x-other, permessage-deflate; nothing, permessage-deflate",
     "permessage-deflate; server_no_context_takeover; "
     "client_no_context_takeover"),
    ("on", "permessage-deflate; nothing", None),
    ("off", "permessage-deflate", None),
], ids=str)
def test_what_is_negotiated(httpd_factory, connect, setting, offer, answer):
    server = httpd_factory(server_config=f"WebSocketCompression {setting}")
    wire = connect(server, headers={EXTENSIONS: offer})
    assert agreed(wire) == answer
    wire.echo()


def test_inner_section_changes_what_it_names(httpd_factory, connect):
    server = httpd_factory(
        server_config="WebSocketCompression on takeover=on window=11",
        config="""<Location "/ws/echo">
                      WebSocketCompression on window=13
                  </Location>
                  <Location "/ws/chat">
                      WebSocketCompression off
                  </Location>""")
    assert agreed(connect(server, headers=OFFER)) == (
        "permessage-deflate; server_max_window_bits=13; "
        "client_max_window_bits=13")
    assert agreed(connect(server, "/ws/chat", headers=OFFER)) is None


def test_threshold(connect, server):
    wire = connect(server, headers=OFFER)
    assert says(wire, "a" * 1023) == (False, b"a" * 1023)
    is_compressed, data = says(wire, "a" * 1024)
    assert is_compressed and inflate(data) == b"a" * 1024


def test_what_does_not_shrink_is_sent_as_it_is(connect, server):
    wire = connect(server, headers=OFFER)
    noise = random.Random(1).randbytes(3000)
    wire.send(frame(BINARY, noise))
    assert read_raw(wire) == (False, noise)


def test_level(httpd_factory, connect):
    server = httpd_factory(config=f"""
        <Location "/ws/fast">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketCompression on level=1
        </Location>
        <Location "/ws/good">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketCompression on level=9
        </Location>""")
    fast = says(connect(server, "/ws/fast", headers=OFFER), TEXT_4K)[1]
    good = says(connect(server, "/ws/good", headers=OFFER), TEXT_4K)[1]
    assert inflate(fast) == inflate(good) == TEXT_4K.encode()
    assert len(good) < len(fast)


def test_takeover_compresses_with_what_was_said_before(httpd_factory, connect):
    server = httpd_factory(
        server_config="WebSocketCompression on takeover=on threshold=0")
    wire = connect(server, headers={EXTENSIONS: "permessage-deflate"})
    ours, theirs = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
    sizes = []
    for _ in range(3):
        packed = deflate(TEXT_4K, ours)
        wire.send(frame(TEXT, packed, rsv=COMPRESSED))
        is_compressed, data = read_raw(wire)
        assert is_compressed
        assert theirs.decompress(data + TAIL) == TEXT_4K.encode()
        sizes.append(len(data))
    assert sizes[1] < sizes[0] / 4


def test_window_is_kept_to(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketCompression on threshold=0")
    block = random.Random(2).randbytes(240)     # comes again and again
    for bits in range(8, 16):
        wire = connect(server, headers={
            EXTENSIONS: f"permessage-deflate; server_max_window_bits={bits}"})
        assert f"server_max_window_bits={bits}" in agreed(wire)
        wire.send(frame(BINARY, block * 300))
        is_compressed, data = read_raw(wire)
        assert is_compressed
        # a byte at a time: zlib has no more to look back at than the window
        inflater, out, rest = zlib.decompressobj(wbits=-bits), b"", data + TAIL
        while rest:
            out += inflater.decompress(rest, 1)
            rest = inflater.unconsumed_tail
        assert out == block * 300


def test_room_with_all_sorts_of_clients(httpd_factory, connect):
    """Each gets what it negotiated, and all get the same."""
    server = httpd_factory(
        server_config="WebSocketCompression on takeover=on threshold=0")
    offers = [None, "permessage-deflate",
              "permessage-deflate; server_no_context_takeover",
              "permessage-deflate; server_max_window_bits=9",
              "permessage-deflate; server_max_window_bits=8; "
              "server_no_context_takeover"]
    wires = [connect(server, "/ws/chat/mixed", headers={EXTENSIONS: offer})
             for offer in offers]
    inflaters = [zlib.decompressobj(wbits=-15) for _ in offers]
    speaker = connect(server, "/ws/chat/mixed")

    def next_with(i, word):
        while True:
            is_compressed, data = read_raw(wires[i])
            if is_compressed:
                assert offers[i]
                if "no_context" in offers[i]:
                    data = inflate(data)
                else:
                    data = inflaters[i].decompress(data + TAIL)
            if word in data:
                return data

    for i in range(len(wires)):
        next_with(i, b'"welcome"')  # it has joined

    for number in range(3):         # a broadcast, and then one's own
        word = f"{number}-to-all".encode()
        speaker.send(frame(TEXT, b'{"type":"chat","message":"%s"}' % word))
        assert len({next_with(i, word) for i in range(len(wires))}) == 1
        for i, wire in enumerate(wires):
            wire.send(frame(TEXT, '{"type":"ping","timestamp":1}'))
            assert b'"pong"' in next_with(i, b'"pong"')


# --- memory ---

def test_bomb_costs_no_more_than_the_limit(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, server_config=ONE_CHILD,
                           measures_memory=True)
    compressor = zlib.compressobj(9, wbits=-15)
    mebibyte = compressor.compress(bytes(1 << 20)) + compressor.flush(
        zlib.Z_FULL_FLUSH)
    wire = connect(server, headers=OFFER)
    wire.send(frame(BINARY, deflate("warm " * 1000), rsv=COMPRESSED))
    read_raw(wire)

    def peak():
        with open(f"/proc/{server.children()[0]}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read())[1])

    before = peak()
    wire.send(frame(BINARY, mebibyte * 1024, rsv=COMPRESSED)[:-1])
    wire.expect_close(1009, "inflated message over WebSocketMaxMessage")
    assert peak() - before < 8 * 1024
    connect(server).echo()


def test_budget_for_contexts(httpd_factory, connect):
    """A window of 2^15 both ways is reckoned with 309,248 bytes."""
    server = httpd_factory(server_config=ONE_CHILD + """
        WebSocketCompression on takeover=on
        WebSocketCompressionMemory 700K""")
    both = [connect(server, headers=OFFER) for _ in range(2)]
    assert {agreed(wire) for wire in both} == {"permessage-deflate"}
    third = connect(server, headers=OFFER)
    assert "server_no_context_takeover" in agreed(third)
    assert "client_no_context_takeover" in agreed(third)
    server.wait_for_log("without context takeover: .*CompressionMemory")
    is_compressed, data = says(third, TEXT_4K)
    assert is_compressed and inflate(data) == TEXT_4K.encode()
    both.pop().close_socket()

    def has_context():
        return agreed(connect(server, headers=OFFER)) == "permessage-deflate"

    wait_until(has_context, "the memory is given back")


def test_budget_for_messages_that_are_coming_in(httpd_factory, connect):
    """Nobody is refused a message; new connections do without."""
    server = httpd_factory(
        server_config=ONE_CHILD + "WebSocketCompressionMemory 60K")
    message = frame(TEXT, deflate(TEXT_4K), rsv=COMPRESSED)
    slow = [connect(server, headers=OFFER) for _ in range(2)]
    for wire in slow:
        wire.send(message[:-1])

    def is_used_up():
        return agreed(connect(server, headers=OFFER)) is None

    wait_until(is_used_up, "new connections are not compressed")
    server.wait_for_log("without compression: .*CompressionMemory is used up")
    plain = connect(server, headers=OFFER)
    assert says(plain, TEXT_4K) == (False, TEXT_4K.encode())
    slow.pop().close_socket()
    slow[0].send(message[-1:])
    is_compressed, data = read_raw(slow[0])
    assert is_compressed and inflate(data) == TEXT_4K.encode()
    wait_until(lambda: not is_used_up(), "the memory is given back")


def test_no_memory_for_compression_is_none(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketCompressionMemory 0")
    wire = connect(server, headers=OFFER)
    assert agreed(wire) is None
    wire.echo()


# --- what is refused ---

@pytest.mark.parametrize("offer, why", [
    ("permessage-deflate; a=", "without its value"),
    ("permessage-deflate;", "without a name"),
    ("permessage-deflate; a=\"b c\"", "no token"),
    ("permessage-deflate; a=\"b", "no token"),
    ("permessage-deflate; a=\"\"", "is empty"),
    ("x-one x-two", "not separated by commas"),
    ("=5", "without a name"),
    ("permessage-deflate, ;", "without a name"),
], ids=str)
def test_broken_header_is_400(connect, server, offer, why):
    before = server.log().count(why)
    wire = connect(server, headers={EXTENSIONS: offer})
    assert wire.response.status == 400
    server.wait_for_log(f"refused with 400: {EXTENSIONS}: .*{why}", before + 1)


@pytest.mark.parametrize("name", [EXTENSIONS, "Sec-WebSocket-Protocol"])
def test_limit_of_httpd_holds_for_joined_lines(connect, server, name):
    line = ", ".join(["x" * 79] * 99)       # 8,017 bytes
    wire = connect(server, headers={name: [line, "x" * 80]})
    assert wire.response.status == 101
    wire.echo()
    wire = connect(server, headers={name: [line, "x" * 200]})
    assert wire.response.status == 400


@pytest.mark.parametrize("bits", range(1, 8))
def test_reserved_bits_without_extension(connect, server, bits):
    wire = connect(server)
    wire.send(frame(TEXT, "x", rsv=bits))
    wire.expect_close(1002, "reserved bit set")


def test_broken_data_is_1007(connect, server):
    wire = connect(server, headers=OFFER)
    wire.send(frame(TEXT, b"\xff\xff\xff\xff", rsv=COMPRESSED))
    wire.expect_close(1007, "compressed data is broken")


# --- WebSocketMaxFragments ---

def test_fragments_at_and_over_the_limit(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls, server_config="WebSocketMaxFragments 3")
    wire = connect(server)
    for _ in range(2):              # counted for each message anew
        wire.send(frame(TEXT, "a", fin=False) + frame(9, "ping")
                  + frame(0, "b", fin=False) + frame(0, "c"))
        wire.expect(10, "ping")
        wire.expect(TEXT, "abc")
    wire.send(frame(TEXT, "a", fin=False) + frame(0, "b", fin=False)
              + frame(0, "c", fin=False) + frame(0, ""))
    wire.expect_close(1008,
                      "message in more frames than WebSocketMaxFragments")
    server.wait_for_log("closing with 1008: message in more frames")


def test_fragments_without_limit(httpd_factory, connect):
    server = httpd_factory(server_config="WebSocketMaxFragments 0")
    wire = connect(server)
    empty = frame(0, "", fin=False, key=b"\0\0\0\0")
    wire.send(frame(TEXT, "a", fin=False))
    for _ in range(10):
        wire.send(empty * 20000)
    wire.send(frame(0, "b"))
    wire.expect(TEXT, "ab")


def test_default_is_65536_fragments(connect, server):
    empty = frame(0, "", fin=False, key=b"\0\0\0\0")
    wire = connect(server)
    wire.send(frame(TEXT, "a", fin=False) + empty * 65534 + frame(0, "b"))
    wire.expect(TEXT, "ab")
    wire.send(frame(TEXT, "a", fin=False) + empty * 65536)
    wire.expect_close(1008)
