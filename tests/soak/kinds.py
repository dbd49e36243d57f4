"""What the clients of the soak test do. Each kind is a coroutine for one
connection; those of GOOD check all that they get, and nothing may happen to
them but what a restart is allowed to do."""
import asyncio
import json
import struct

from client import Client, Ended, Refused
from wire import BINARY, CLOSE, PING, TEXT, close_frame, frame

MIB = 1 << 20
STRICT_MESSAGE = 65536              # WebSocketMaxMessage of /ws/strict
STRICT_FRAGMENTS = 16
WORDS = ("websocket frame handshake mask opcode payload topic publish close "
         "ping pong xin chào tạm biệt 消息 сокет").split()


def text_of(rng, length):
    """Compressible text of about so many bytes."""
    words = []
    while length > 0:
        words.append(rng.choice(WORDS))
        length -= len(words[-1].encode()) + 1
    return " ".join(words).encode()


def small_message(rng):
    length = rng.choice((0, 1, 5, 20, 60, 125, 126, 200, 1000))
    if rng.random() < 0.5:
        return TEXT, text_of(rng, length)
    return BINARY, rng.randbytes(length)


def in_fragments(rng, opcode, data, count):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(count - 1))
    edges = [0, *cuts, len(data)]
    out = []
    for i in range(count):
        out.append(frame(opcode if i == 0 else 0, data[edges[i]:edges[i + 1]],
                         fin=i == count - 1))
        if i < count - 1 and rng.random() < 0.2:
            out.append(frame(PING, b"between"))
    return b"".join(out)


# ---- Those who behave --------------------------------------------------------

async def echo(c, rng):
    """Bursts of small messages; the first may come with the request."""
    first = small_message(rng)
    comes_early = rng.random() < 0.3
    await c.open("/ws/echo", early=frame(*first) if comes_early else b"")
    if comes_early:
        await c.expect(*first)
    for _ in range(rng.randrange(5, 40)):
        burst = [small_message(rng) for _ in range(rng.randrange(1, 14))]
        c.send_frames(b"".join(frame(*m) for m in burst), len(burst))
        for message in burst:
            await c.expect(*message)
        if await c.load.pause(rng.uniform(0.3, 1.5)):
            break
    await c.close(rng.choice((1000, 1001, 3000, 4999, None)))


async def big(c, rng):
    await c.open("/ws/echo")
    for _ in range(rng.randrange(2, 8)):
        data = rng.randbytes(rng.choice((65535, 65536, 200_000, MIB)))
        c.send_frames(in_fragments(rng, BINARY, data, rng.randrange(1, 12)))
        await c.expect(BINARY, data)
        if await c.load.pause(rng.uniform(1, 6)):
            break
    await c.close()


async def dribble(c, rng):
    """Each byte alone."""
    await c.open("/ws/echo")
    for _ in range(rng.randrange(1, 4)):
        message = TEXT, text_of(rng, 40)
        for byte in in_fragments(rng, *message, 3):
            c.write(bytes([byte]))
            await asyncio.sleep(0.002)
        c.load.tally["sent"] += 1
        await c.expect(*message)
    await c.close()


async def compressed(c, rng, path="/ws/echo"):
    await c.open(path, compress=True)
    assert c.agree(c.response.headers), "no compression was agreed on"
    for _ in range(rng.randrange(5, 30)):
        opcode, data = TEXT, text_of(rng, rng.choice((10, 300, 2000, 30000)))
        if rng.random() < 0.8:
            packed = c.deflate(data)
            if packed and rng.random() < 0.3:
                cut = rng.randrange(len(packed))
                c.send_frames(frame(opcode, packed[:cut], fin=False, rsv=4)
                              + frame(0, packed[cut:]))
            else:
                c.send_frames(frame(opcode, packed, rsv=4))
        else:
            c.send_frames(frame(opcode, data))
        await c.expect(opcode, data)
        if await c.load.pause(rng.uniform(0.2, 1.5)):
            break
    await c.close()


async def takeover(c, rng):
    await compressed(c, rng, "/ws/takeover")


async def idle(c, rng):
    """Says nothing for long, but answers pings."""
    await c.open("/ws/pinged")
    await c.load.pause(rng.uniform(20, 120), c)
    c.send_frames(frame(TEXT, b"still here"))
    await c.expect(TEXT, b"still here")
    await c.close()


async def slow(c, rng):
    """Reads now and then; the server must not read more than it can send."""
    await c.open("/ws/slow", receive_buffer=8192)
    data = [rng.randbytes(65536) for _ in range(rng.randrange(4, 20))]
    c.transport.pause_reading()
    c.send_frames(b"".join(frame(BINARY, d) for d in data), len(data))
    for _ in range(rng.randrange(2, 6)):
        await asyncio.sleep(rng.uniform(0.2, 1.5))
        c.transport.resume_reading()
        await asyncio.sleep(0.001)
        c.transport.pause_reading()
    c.transport.resume_reading()
    for d in data:
        await c.expect(BINARY, d)
    await c.close()


async def half_closed(c, rng):
    """FIN behind the messages, no Close: what was sent comes back."""
    await c.open("/ws/echo")
    messages = [small_message(rng) for _ in range(rng.randrange(1, 20))]
    c.send_frames(b"".join(frame(*m) for m in messages), len(messages))
    await c.expect(*messages[0])
    c.half_close()
    for message in messages[1:]:
        await c.expect(*message)
    await c.until_end()


class Member:
    """Of a room: what others must hear of it, and what it has heard."""

    def __init__(self, c, name):
        self.c, self.name = c, name
        self.sent = 0               # numbers 1 to this are out
        self.is_lost = False        # its last messages may never arrive
        self.known = None           # name: what it had sent when we came
        self.seen = {}              # name: the last number

    def on_message(self, opcode, data):
        assert opcode == TEXT, "a binary message in the chat"
        message = json.loads(data)
        kind = message["type"]
        if kind == "chat":
            self.on_chat(message["username"],
                         int(message["message"].split()[0]))
        elif kind == "welcome":
            room = self.c.load.rooms[self.room]
            self.known = {m.name: m.sent for m in room.values()}
            room[self.name] = self
        else:
            assert kind in ("user_joined", "user_left"), message

    def on_chat(self, name, number):
        last = self.seen.get(name)
        if last is None:
            assert 1 <= number <= self.known.get(name, 0) + 1, (
                f"the first message of {name} is {number}; it had sent "
                f"{self.known.get(name, 0)} before")
        else:
            assert number == last + 1, (
                f"message {number} of {name} came behind {last}")
        assert name != self.name, "its own message"
        self.seen[name] = number

    def say(self, rng):
        self.sent += 1
        self.c.send_frames(frame(TEXT, json.dumps({
            "type": "chat", "username": self.name,
            "message": f"{self.sent} {text_of(rng, 30).decode()}"})))

    def missing(self, wanted):
        return {m.name: number for m, number in wanted.items()
                if not m.is_lost and number > (self.known or {}).get(m.name, 0)
                and self.seen.get(m.name, 0) < number}


async def chat(c, rng):
    """In a room; whoever leaves waits for what was said before."""
    load = c.load
    member = Member(c, load.next_name())
    member.room = f"p{load.number}r{rng.randrange(load.room_count)}"
    room = load.rooms[member.room]
    c.on_message = member.on_message
    try:
        await c.open(f"/ws/chat/{member.room}", compress=rng.random() < 0.3)
        c.agree(c.response.headers)
        await c.until(lambda: member.known is not None)
        for _ in range(rng.randrange(5, 25)):
            member.say(rng)
            if await load.pause(rng.uniform(0.5, 3), c):
                break
        wanted = {m: m.sent for m in room.values() if m is not member}
        for _ in range(600):
            if c.is_over or not member.missing(wanted):
                break
            await asyncio.sleep(0.1)
        missing = member.missing(wanted)
        if c.is_over:
            raise Ended(c.close_code, c.why)
        assert not missing, (f"not heard by {member.name} within a minute: "
                             f"{missing}, seen {member.seen}")
        await c.close()
    except BaseException:
        member.is_lost = True
        raise
    finally:
        room.pop(member.name, None)


GOOD = {"echo": echo, "big": big, "dribble": dribble,
        "compressed": compressed, "takeover": takeover, "idle": idle,
        "slow": slow, "half-closed": half_closed, "chat": chat}


# ---- Those who do not --------------------------------------------------------

async def deaf(c, rng):
    """A member of a room who does not read, until it is thrown out."""
    await c.open("/ws/flood/room", receive_buffer=4096)
    c.transport.pause_reading()
    sock = c.raw_socket()
    for _ in range(600):
        if await c.load.pause(0.1):
            return
        if sock.fileno() < 0 or is_hung_up(sock):
            return
    c.vanish()


def is_hung_up(sock):
    """TCP_INFO's state: anything but established."""
    return sock.getsockopt(6, 11, 1)[0] != 1


async def flooder(c, rng):
    c.on_message = lambda opcode, data: None
    await c.open("/ws/flood/room")
    text = json.dumps({"type": "chat", "message": "x" * 1900}).encode()
    for _ in range(rng.randrange(50, 400)):
        c.send_frames(b"".join(frame(TEXT, text) for _ in range(8)), 8)
        if await c.load.pause(0.05):
            break
        await c.until(lambda: True)
    await c.close()


async def deaf_talker(c, rng):
    """Sends and never reads: the echo must stop reading it."""
    await c.open("/ws/echo", receive_buffer=4096)
    c.transport.pause_reading()
    for _ in range(rng.randrange(20, 60)):
        c.write(frame(BINARY, rng.randbytes(32768)))
        await asyncio.sleep(0.01)
    await c.load.pause(rng.uniform(1, 20))
    c.reset() if rng.random() < 0.5 else c.vanish()


async def pinger(c, rng):
    reads = rng.random() < 0.5
    await c.open("/ws/echo", receive_buffer=None if reads else 4096)
    if not reads:
        c.transport.pause_reading()
    for _ in range(rng.randrange(3, 20)):
        c.write(b"".join(frame(PING, b"p" * rng.randrange(126))
                         for _ in range(300)))
        c.load.tally["pings"] += 300
        await c.load.pause(0.1)
    if reads:
        await c.until(lambda: c.pongs > 0)
    c.vanish()


async def silent(c, rng):
    """Does not answer pings: it must be dropped."""
    c.answers_pings = False
    await c.open("/ws/silent")
    if rng.random() < 0.3:
        c.transport.pause_reading()
        await c.load.pause(4)
        c.transport.resume_reading()
    await c.until_end()
    assert c.close_code in (None, 1001, 1012), f"closed with {c.close_code}"


def zero(first, data, length=None):
    """A frame with a key of zeros."""
    length = len(data) if length is None else length
    return bytes([first, 0x80 | length]) + bytes(4) + data


# name: (bytes, close code)
WRONG = {
    "not masked": (frame(TEXT, b"x", masked=False), 1002),
    "RSV1 of a control frame": (frame(PING, b"x", rsv=4), 1002),
    "RSV1": (frame(TEXT, b"x", rsv=4), 1002),
    "RSV2": (frame(TEXT, b"x", rsv=2), 1002),
    "RSV3": (frame(TEXT, b"x", rsv=1), 1002),
    "opcode 3": (frame(3, b"x"), 1002),
    "opcode 11": (frame(11, b"x"), 1002),
    "ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "long ping": (frame(PING, b"x" * 126), 1002),
    "continuation of nothing": (frame(0, b"x"), 1002),
    "message inside a message":
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "length not minimal":
        (b"\x81\xfe\x00\x05" + bytes(4) + b"hello", 1002),
    "length of 2^63": (b"\x82\xff\x80" + bytes(7) + bytes(4), 1002),
    "Close of one byte": (zero(0x88, b"x"), 1002),
    "close code 1005": (close_frame(1005), 1002),
    "close code 999": (close_frame(999), 1002),
    "close reason not UTF-8":
        (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
    "text not UTF-8": (frame(TEXT, b"\xc0\x80"), 1007),
    "text cut in a character": (frame(TEXT, b"\xe2\x82"), 1007),
    "UTF-8 wrong in a fragment":
        (frame(TEXT, b"\xce", fin=False) + frame(0, b"x"), 1007),
    "over WebSocketMaxMessage":
        (frame(BINARY, bytes(STRICT_MESSAGE + 1)), 1009),
    "announces 1 GiB": (b"\x82\xff" + struct.pack(">Q", 1 << 30) + bytes(4),
                        1009),
    "fragments over WebSocketMaxMessage":
        (frame(BINARY, bytes(STRICT_MESSAGE), fin=False)
         + frame(0, b"x"), 1009),
    "over WebSocketMaxFragments":
        (frame(TEXT, b"x", fin=False)
         + frame(0, b"x", fin=False) * STRICT_FRAGMENTS, 1008),
}


async def wrong_frames(c, rng):
    """Behind a good message; the close code says what it was."""
    name = rng.choice(list(WRONG))
    data, code = WRONG[name]
    await c.open("/ws/strict")
    c.send_frames(frame(TEXT, b"good"))
    await c.expect(TEXT, b"good")
    c.close_sent = 0                # answer nothing
    c.write(data)
    await c.until_end()
    if c.close_code != code and not c.load.is_excused(c.close_code):
        raise AssertionError(f"{name}: closed with {c.close_code}")


# What deflate makes of it: broken data, a bomb, data that is cut short.
async def wrong_deflate(c, rng):
    await c.open("/ws/strict", compress=True)
    c.agree(c.response.headers)
    which = rng.randrange(3)
    if which == 0:
        data, code = frame(BINARY, b"\xff\xff\xff\xff", rsv=4), 1007
    elif which == 1:
        bomb = c.deflate(bytes(50 * STRICT_MESSAGE))
        data, code = frame(BINARY, bomb, rsv=4), 1009
    else:
        data, code = frame(TEXT, c.deflate(b"\xff" * 100), rsv=4), 1007
    c.close_sent = 0
    c.write(data)
    await c.until_end()
    if c.close_code != code and not c.load.is_excused(c.close_code):
        raise AssertionError(f"deflate {which}: closed with {c.close_code}")


# Changes to a good request, and the status that they get.
HANDSHAKES = [
    ({"Upgrade": None, "Connection": None}, 426),
    ({"Upgrade": "h2c"}, 426),
    ({"Connection": "close"}, 400),
    ({"Sec-WebSocket-Version": "8"}, 426),
    ({"Sec-WebSocket-Version": None}, 426),
    ({"Sec-WebSocket-Key": None}, 400),
    ({"Sec-WebSocket-Key": "short"}, 400),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Sec-WebSocket-Extensions": "permessage-deflate;;"}, 400),
    ({"Sec-WebSocket-Protocol": "a b"}, 400),
    ({"Content-Length": "5"}, 400),
]
PLACES = [("/ws/none", 404), ("/ws/chat/a%20room", 400),
          ("/ws/chat/" + "x" * 65, 400)]


async def wrong_handshake(c, rng):
    path, headers, method = "/ws/echo", {}, "GET"
    which = rng.randrange(len(HANDSHAKES) + len(PLACES) + 1)
    if which < len(HANDSHAKES):
        headers, status = HANDSHAKES[which]
    elif which < len(HANDSHAKES) + len(PLACES):
        path, status = PLACES[which - len(HANDSHAKES)]
    else:
        method, status = "POST", 405
    await c.connect()
    c.write(c.request(path, headers, method))
    await c.until(lambda: c.response is not None)
    got = c.response.status
    if got != status and not (got == 503 and c.load.is_near_restart()):
        raise AssertionError(f"{method} {path} {headers}: {got}, not {status}")
    c.vanish()


async def no_http(c, rng):
    """Bytes that are no request, or never become one."""
    await c.connect(raw_tls=True)
    c.is_raw = True
    which = rng.randrange(4)
    if which == 0:
        c.write(rng.randbytes(rng.randrange(1, 2000)))
    elif which == 1:
        c.write(b"\x16\x03\x01\x02\x00\x01\x00" + rng.randbytes(100))
    elif which == 2:
        c.write(b"GET /ws/echo HTTP/1.1\r\nHost: x\r\nUpgrade: webs")
    if rng.random() < 0.5:
        await c.load.pause(rng.uniform(0, 0.5))
        c.reset()
    else:
        c.half_close()
        await c.until_end()


async def reset(c, rng):
    """RST, or the end without a word, at each step."""
    step = rng.randrange(10)
    end = c.reset if rng.random() < 0.7 else c.vanish
    request = None
    await c.connect(raw_tls=c.secure and rng.random() < 0.2)
    if step > 0:
        request = c.request("/ws/echo")
        cut = rng.randrange(1, len(request)) if step == 1 else len(request)
        early = frame(TEXT, b"early") if rng.random() < 0.3 else b""
        c.write(request[:cut] + (early if cut == len(request) else b""))
    if step == 2:
        await asyncio.sleep(rng.uniform(0, 0.01))
    if step > 2 and c.transport.get_extra_info("ssl_object") or (
            step > 2 and not c.secure):
        await c.until(lambda: c.response is not None)
        whole = frame(BINARY, rng.randbytes(rng.choice((5, 500, 100_000))))
        cut = {4: 1, 5: 3, 6: rng.randrange(1, len(whole))}.get(step)
        if step > 3:
            c.write(whole[:cut])
        if step == 7:
            await asyncio.sleep(rng.uniform(0, 0.02))
        if step == 8:
            await c.message()
        if step == 9:
            c.close_sent = 1000
            c.write(close_frame(1000))
            await asyncio.sleep(rng.uniform(0, 0.01))
    end()


BAD = {"deaf": deaf, "flooder": flooder, "deaf talker": deaf_talker,
       "pinger": pinger, "silent": silent, "wrong frames": wrong_frames,
       "wrong deflate": wrong_deflate, "wrong handshake": wrong_handshake,
       "no HTTP": no_http, "reset": reset}


# ---- Beside them -------------------------------------------------------------

async def page(c, rng):
    """An ordinary page, which must never fail."""
    await c.connect()
    c.is_raw = True
    port = c.load.address(c.secure)[1]
    c.write(f"GET /page.txt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Connection: close\r\n\r\n".encode())
    await c.until_end()
    assert (c.buffer.startswith(b"HTTP/1.1 200 ")
            and c.buffer.endswith(b"\r\n\r\nan ordinary page\n")), (
        f"a page is {bytes(c.buffer[:300])!r} {c.why}")


# Of a thousand clients: how many of each kind.
SHARES = {
    "idle": 490, "echo": 250, "chat": 90, "compressed": 40, "takeover": 20,
    "big": 8, "slow": 8, "dribble": 6, "half-closed": 8, "deaf": 12,
    "flooder": 2, "deaf talker": 8, "pinger": 6, "silent": 12,
    "wrong frames": 10, "wrong deflate": 4, "wrong handshake": 6,
    "no HTTP": 4, "reset": 12, "page": 4,
}
ALL = {**GOOD, **BAD, "page": page}
assert sum(SHARES.values()) == 1000 and SHARES.keys() == ALL.keys()
__all__ = ["ALL", "GOOD", "SHARES", "Client", "Ended", "Refused"]
