"""The frame loop, as far as an echo shows it: RFC 6455 5, 6 and 7."""
import os
import re
import select
import socket
import ssl
import struct
import threading

import pytest

from httpd import HANDLERS, LIMIT, wait_until
from wire import (BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame)

MIB = 1 << 20
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 65537, 200_000, MIB]


@pytest.mark.parametrize("size", SIZES)
def test_whole_message_of(connect, mpm_server, size):
    wire = connect(mpm_server)
    data = os.urandom(size)
    wire.send(frame(BINARY, data))
    wire.expect(BINARY, data)
    text = "a" * size
    wire.send(frame(TEXT, text))
    wire.expect(TEXT, text)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pieces", [2, 7])
def test_fragmented_message_of(connect, server, size, pieces):
    wire = connect(server)
    data = os.urandom(size)
    step = size // pieces
    for i in range(pieces):
        last = i == pieces - 1
        part = data[i * step:] if last else data[i * step:(i + 1) * step]
        wire.send(frame(BINARY if i == 0 else 0, part, fin=last))
    wire.expect(BINARY, data)


def test_control_frames_between_fragments(connect, server):
    wire = connect(server)
    wire.send(frame(TEXT, "Hel", fin=False) + frame(PING, "one")
              + frame(0, "lo", fin=False) + frame(PING, "two")
              + frame(PONG, "nobody asked") + frame(0, "!"))
    wire.expect(PONG, "one")
    wire.expect(PONG, "two")
    wire.expect(TEXT, "Hello!")


def test_message_cut_at_every_byte(connect, server):
    wire = connect(server)
    whole = frame(TEXT, "Xin chào, thế giới ✓")
    for cut in range(1, len(whole)):
        wire.send(whole[:cut])
        wire.send(whole[cut:])
        wire.expect(TEXT, "Xin chào, thế giới ✓")


def test_one_byte_at_a_time(connect, server):
    wire = connect(server)
    for byte in frame(TEXT, "a", fin=False) + frame(PING, "p") + frame(0, "b"):
        wire.send(bytes([byte]))
    wire.expect(PONG, "p")
    wire.expect(TEXT, "ab")


def test_a_hundred_messages_in_a_packet(connect, server):
    wire = connect(server)
    wire.send(b"".join(frame(TEXT, str(i)) for i in range(100)))
    for i in range(100):
        wire.expect(TEXT, str(i))


def test_utf8_cut_between_fragments(connect, server):
    wire = connect(server)
    data = "ế😀".encode()
    for i in range(len(data)):
        wire.send(frame(TEXT if i == 0 else 0, data[i:i + 1],
                        fin=i == len(data) - 1))
    wire.expect(TEXT, data)


def test_empty_fragments(connect, server):
    wire = connect(server)
    wire.send(frame(TEXT, "", fin=False) + frame(0, "", fin=False) * 100
              + frame(0, ""))
    wire.expect(TEXT, "")


# --- closing ---

@pytest.mark.parametrize("code, reason", [
    (1000, ""), (1000, "bye"), (1001, ""), (3000, "tạm biệt"), (4999, "x" * 123),
    (None, "")])
def test_client_closes(connect, mpm_server, code, reason):
    wire = connect(mpm_server)
    wire.send(close_frame(code, reason))
    wire.expect_close(code, reason if code else None)


def test_data_after_close_is_ignored(connect, server):
    wire = connect(server)
    wire.send(frame(TEXT, "a") + close_frame(1000) + frame(TEXT, "b") * 100)
    wire.expect(TEXT, "a")
    wire.expect_close(1000)


def test_client_ends_tcp_behind_its_close(connect, server):
    wire = connect(server)
    wire.send(close_frame(1000))
    if not server.tls:
        wire.socket.shutdown(socket.SHUT_WR)
    wire.expect_close(1000)


def test_client_vanishes(connect, server):
    before = server.log().count("echo: closed with 1006")
    wire = connect(server)
    wire.echo()
    wire.close_socket()
    server.wait_for_log("echo: closed with 1006", before + 1)


def test_client_resets(connect, server):
    before = server.log().count("echo: closed with 1006")
    wire = connect(server)
    wire.echo()
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                           struct.pack("ii", 1, 0))
    wire.close_socket()
    server.wait_for_log("echo: closed with 1006", before + 1)


# --- violations: the right code, one log line, and the server lives on ---

BIG = struct.pack(">Q", 1 << 40)
VIOLATIONS = {
    "reserved bit 1": (frame(TEXT, "a", rsv=4), 1002, "reserved bit"),
    "reserved bit 2": (frame(TEXT, "a", rsv=2), 1002, "reserved bit"),
    "reserved bit 3": (frame(TEXT, "a", rsv=1), 1002, "reserved bit"),
    "opcode 3": (frame(3, "a"), 1002, "reserved opcode"),
    "opcode 7": (frame(7, "a"), 1002, "reserved opcode"),
    "opcode 11": (frame(11, "a"), 1002, "reserved opcode"),
    "opcode 15": (frame(15, "a"), 1002, "reserved opcode"),
    "unmasked": (frame(TEXT, "a", masked=False), 1002, "unmasked"),
    "long ping": (frame(PING, "a" * 126), 1002, "over 125"),
    "long close": (frame(CLOSE, b"\x03\xe8" + b"a" * 124), 1002, "over 125"),
    "fragmented ping": (frame(PING, "a", fin=False), 1002, "fragmented"),
    "length 125 in 16 bits": (b"\x82\xfe\x00\x7d", 1002, "shortest"),
    "length 65535 in 64 bits": (
        b"\x82\xff" + struct.pack(">Q", 65535), 1002, "shortest"),
    "length with the top bit": (
        b"\x82\xff" + struct.pack(">Q", 1 << 63), 1002, "top bit"),
    "continuation first": (frame(0, "a"), 1002, "without a start"),
    "message in message": (
        frame(TEXT, "a", fin=False) + frame(TEXT, "b"), 1002, "inside"),
    "close of one byte": (frame(CLOSE, b"\x03"), 1002, "one byte"),
    "close code 999": (close_frame(999), 1002, "close code"),
    "close code 1004": (close_frame(1004), 1002, "close code"),
    "close code 1005": (close_frame(1005), 1002, "close code"),
    "close code 1006": (close_frame(1006), 1002, "close code"),
    "close code 1015": (close_frame(1015), 1002, "close code"),
    "close code 2999": (close_frame(2999), 1002, "close code"),
    "close code 5000": (close_frame(5000), 1002, "close code"),
    "close reason": (frame(CLOSE, b"\x03\xe8\xff"), 1007, "UTF-8"),
    "text": (frame(TEXT, b"\xc0\xaf"), 1007, "UTF-8"),
    "text that ends early": (frame(TEXT, b"\xe1\xba"), 1007, "UTF-8"),
    "surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007, "UTF-8"),
    "one byte too big": (
        b"\x82\xff" + struct.pack(">Q", MIB + 1), 1009, "MaxMessage"),
    "much too big": (b"\x82\xff" + BIG + b"1234", 1009, "MaxMessage"),
    "too big in fragments": (
        frame(BINARY, b"a" * MIB, fin=False) + frame(0, "b"), 1009,
        "MaxMessage"),
}


def sends_whole_head(data):
    """A frame's limits are told when its head is there, with the mask."""
    return data + b"1234" if len(data) == 10 and data[1] == 0xff else data


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation(connect, server, name):
    data, code, why = VIOLATIONS[name]
    pattern = rf"\[client 127.0.0.1\] echo: closing with {code}: .*{why}"
    before = len(re.findall(pattern, server.log()))
    wire = connect(server)
    wire.echo(b"before")
    wire.send(sends_whole_head(data))
    wire.expect_close(code)
    server.wait_for_log(pattern, before + 1)
    assert len(re.findall(pattern, server.log())) == before + 1
    connect(server).echo()


def test_bad_utf8_is_told_before_the_frame_ends(connect, server):
    wire = connect(server)
    whole = frame(TEXT, b"good \xff" + b"a" * 1000)
    wire.send(whole[:14 + 6])       # head, mask, and up to the bad byte
    wire.expect_close(1007)


def test_good_messages_before_a_violation_are_answered(connect, server):
    wire = connect(server)
    wire.send(frame(TEXT, "good") + frame(3, "bad"))
    wire.expect(TEXT, "good")
    wire.expect_close(1002)


# --- limits ---

def test_max_message_is_configured(connect, httpd_factory, tls):
    server = httpd_factory(tls=tls, config=f"""
        <Location "/ws/small">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketMaxMessage 1K
        </Location>""")
    wire = connect(server, "/ws/small")
    wire.echo(b"a" * 1023)
    wire.echo(b"a" * 1024)
    wire.send(frame(BINARY, b"a" * 1025))
    wire.expect_close(1009)


def test_declared_length_takes_no_memory(connect, httpd_factory):
    server = httpd_factory(config="""
        WebSocketMaxMessage 1G
        <IfModule mpm_event_module>
            StartServers 1
        </IfModule>""")
    wires = [connect(server) for _ in range(20)]
    before = memory(server)
    for wire in wires:
        wire.send(b"\x82\xff" + struct.pack(">Q", 1 << 30) + b"1234" + b"some")
    for wire in wires:
        wire.send(b"more")
    connect(server).echo()
    assert memory(server) - before < 20 * MIB


def test_large_message_is_let_go_when_it_is_answered(connect,
                                                     httpd_factory):
    server = httpd_factory(measures_memory=True)
    wires = [connect(server) for _ in range(100)]
    before = memory(server)
    for wire in wires:
        data = frame(BINARY, os.urandom(MIB - 1))
        wire.send(data[:MIB // 2])          # so that it is cut in any case
        wire.send(data[MIB // 2:])
        wire.read_frame()
    assert memory(server) - before < 30 * MIB   # not 100


def memory(server):
    """Address space of all children, bytes: what malloc has asked for."""
    total = 0
    for pid in server.children():
        with open(f"/proc/{pid}/statm") as f:
            total += int(f.read().split()[0]) * 4096
    return total


# --- the reader that does not read, the peer that is dead ---

def stuff(wire, data, seconds=0.3):
    """Sends until the server reads no more; returns how much went out."""
    wire.socket.settimeout(seconds)
    sent = 0
    try:
        while sent < len(data):
            sent += wire.socket.send(data[sent:sent + 16384])
    except TimeoutError:
        pass
    wire.socket.settimeout(LIMIT)
    return sent


def test_echo_of_a_slow_reader_waits_and_loses_nothing(connect, mpm_server):
    server = mpm_server
    wire = connect(server, receive_buffer=4096)
    messages = [os.urandom(100_000) for _ in range(200)]
    data = b"".join(frame(BINARY, m) for m in messages)
    sent = stuff(wire, data)
    assert sent < len(data)         # the server stopped reading
    if server.tls:                  # one TLS object is not for two threads,
        wire.socket.settimeout(0)   # and must offer the same bytes again
        for message in messages:
            while len(wire.buffer) < len(message) + 10:
                sent += try_to_send(wire, data[sent:sent + 16384])
                if not try_to_fill(wire):
                    select.select([wire.socket], [], [], 0.01)
            wire.expect(BINARY, message)
        return
    rest = threading.Thread(target=lambda: wire.socket.sendall(data[sent:]))
    rest.start()
    for message in messages:
        wire.expect(BINARY, message)
    rest.join()


def try_to_send(wire, data):
    try:
        return wire.socket.send(data) if data else 0
    except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
        return 0


def try_to_fill(wire):
    try:
        return wire.fill()
    except (BlockingIOError, ssl.SSLWantReadError):
        return False


def test_slow_reader_delays_nobody(connect, mpm_server):
    server = mpm_server
    slow = connect(server, receive_buffer=4096)
    stuff(slow, frame(BINARY, b"a" * 60_000) * 500)
    others = [connect(server) for _ in range(10)]
    for other in others:
        other.echo(os.urandom(100_000))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_both_versions_of_tls(connect, mpm_server, version):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = getattr(
        ssl.TLSVersion, version)
    wire = connect(mpm_server, tls=True, secure=True, context=context,
                   extra=frame(BINARY, b"early"))
    wire.expect(BINARY, b"early")
    for size in (1, 16384, 16385, 300_000):
        wire.echo(os.urandom(size))


class Records:
    """TLS by hand: says which bytes go out when."""

    def __init__(self, address, version):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = getattr(
            ssl.TLSVersion, version)
        self.socket = socket.create_connection(address, timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.read_with(self.tls.do_handshake)
        self.socket.sendall(self.outgoing.read())

    def read_with(self, call):
        while True:
            try:
                return call()
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                self.incoming.write(self.socket.recv(65536))

    def record(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def read(self):
        return self.read_with(lambda: self.tls.read(65536))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20])
def test_part_of_a_tls_record_behind_the_request(mpm_server, version, cut):
    records = Records(mpm_server.address(True), version)
    request = records.record(
        b"GET /ws/echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n")
    message = records.record(frame(TEXT, "hello"))
    records.socket.sendall(request + message[:cut])
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += records.read()
    assert b" 101 " in answer.split(b"\r\n")[0]
    records.socket.sendall(message[cut:])
    data = answer.split(b"\r\n\r\n", 1)[1]
    while len(data) < 7:
        data += records.read()
    assert data == b"\x81\x05hello"
    records.socket.close()


PING_CONFIG = f"""
    <Location "/ws/ping">
        WebSocketHandler {HANDLERS}/websocket_echo.so
        WebSocketPing 300ms 500ms
    </Location>"""


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_dead_peer_is_dropped(connect, httpd_factory, tls, mpm):
    server = httpd_factory(mpm=mpm, tls=tls, config=PING_CONFIG,
                           log_level="debug")
    wire = connect(server, "/ws/ping")
    assert wire.read_frame() == (PING, b"", True)
    wire.expect_end()               # no answer: dropped
    server.wait_for_log("closing with 1006: no answer to a ping")
    server.wait_for_log("echo: closed with 1006")


def test_peer_that_answers_pings_stays(connect, httpd_factory, tls):
    server = httpd_factory(tls=tls, config=PING_CONFIG)
    wire = connect(server, "/ws/ping")
    for _ in range(4):
        assert wire.read_frame() == (PING, b"", True)
        wire.send(frame(PONG))
    wire.echo()


def test_peer_that_does_not_end_its_closing_is_dropped(connect,
                                                       httpd_factory):
    server = httpd_factory(config=f"""
        <Location "/ws/short">
            WebSocketHandler {HANDLERS}/websocket_echo.so
            WebSocketCloseTimeout 300ms
        </Location>""")
    wire = connect(server, "/ws/short")
    wire.send(close_frame(1000))
    opcode, _, _ = wire.read_frame()
    assert opcode == CLOSE
    # we keep our side open: the server lets go of its own all the same
    wait_until(lambda: not is_held(wire), "descriptor is closed")


def is_held(wire):
    """Has a process the other end of this connection?"""
    port = f":{wire.socket.getsockname()[1]:04X}"
    with open("/proc/net/tcp") as f:
        fields = [line.split() for line in f]
    return any(field[2][-5:] == port and field[9] != "0" for field in fields)
