"""Text that is UTF-8, and text that is not: RFC 6455 8.1, which has the server
fail the connection with 1007. It does so as soon as a byte shows it."""
import itertools

from cases import CUTS_ITSELF, FIXED_BYTES, case, in_mode
from peer import (BINARY, TEXT, binary, close, fragments, last, more, ping,
                  split, text)
from sequences import BAD, BORDERS, CUT_SHORT, HOPELESS, SCRIPTS

ONE_MODE = in_mode("ws-plain-whole", "takes many connections, and is run in "
                   "one mode only")

# --- good text ---

for title, point in BORDERS.items():
    @case("8.1", f"{title} is good")
    def _(ws, point=point):
        ws.echoes(TEXT, chr(point))
        ws.echoes(TEXT, "behind " + chr(point) * 20 + " and before")

for title, words in SCRIPTS.items():
    @case("8.1", f"text in {title} is good")
    def _(ws, words=words):
        ws.echoes(TEXT, words)
        ws.echoes(TEXT, words * 50)

for plane in range(17):
    @case("8.1", f"every character of plane {plane} is good")
    def _(ws, plane=plane):
        points = range(plane << 16, (plane + 1) << 16)
        ws.echoes(TEXT, "".join(chr(p) for p in points
                                if not 0xd800 <= p <= 0xdfff))


@case("8.1", "characters of every length at every place of 64 bytes")
def _(ws):
    messages = ["a" * at + c + "b" * 64
                for c in "\u00e9\u1ebf\U0001f600" for at in range(64)]
    ws.send(*itertools.chain.from_iterable(ws.frames_of(TEXT, m)
                                           for m in messages))
    for message in messages:
        ws.expect_text(message)


# --- good text in fragments ---

for title, char in {"2": "\u00e9", "3": "\u1ebf", "4": "\U0001f600"}.items():
    for cut in range(1, len(char.encode())):
        @case("8.1", f"character of {title} bytes cut behind byte {cut} by a "
              "fragment is good")
        def _(ws, char=char, cut=cut):
            data = char.encode()
            ws.send(text(b"before" + data[:cut], fin=False),
                    last(data[cut:] + b"behind"))
            ws.expect_text(f"before{char}behind")

    @case("8.1", f"character of {title} bytes in fragments of one byte is "
          "good")
    def _(ws, char=char):
        data = char.encode()
        ws.send(*fragments(TEXT, [data[i:i + 1] for i in range(len(data))]))
        ws.expect_text(char)

    @case("8.1", f"character of {title} bytes with empty fragments between is "
          "good")
    def _(ws, char=char):
        data = char.encode()
        pieces = [b""] + [p for i in range(len(data))
                          for p in (data[i:i + 1], b"")]
        ws.send(*fragments(TEXT, pieces))
        ws.expect_text(char)

for title, words in SCRIPTS.items():
    @case("8.1", f"text in {title} cut at every byte by a fragment is good")
    def _(ws, words=words):
        data = words.encode()
        for cut in range(1, len(data)):
            ws.send(*fragments(TEXT, [data[:cut], data[cut:]]))
        for cut in range(1, len(data)):
            ws.expect_text(words)


@case("8.1", "text cut at every byte by a packet is good", CUTS_ITSELF)
def _(ws):
    words = SCRIPTS["emoji with joiners"]
    for cut in range(1, len(words.encode())):
        whole = text(words)
        ws.send(whole[:6 + cut])
        ws.send(whole[6 + cut:])
        ws.expect_text(words)


# --- text that is not UTF-8 ---

LONG = ("ASCII of some length, " * 10).encode()
MIXED = SCRIPTS["Vietnamese"].encode()

for title, bad in BAD.items():
    @case("8.1", f"{title} is refused")
    def _(ws, bad=bad):
        ws.send_text(bad)
        ws.expect_close(1007)

    @case("8.1", f"{title} in the middle of ASCII is refused")
    def _(ws, bad=bad):
        ws.send_text(LONG + bad + LONG)
        ws.expect_close(1007)

    @case("8.1", f"{title} in the middle of letters beyond ASCII is refused")
    def _(ws, bad=bad):
        ws.send_text(MIXED + bad + MIXED)
        ws.expect_close(1007)

    @case("8.1", f"{title} in fragments of one byte is refused")
    def _(ws, bad=bad):
        ws.send_text(bad, len(bad) + 1)
        ws.expect_close(1007)

for title, bad in CUT_SHORT.items():
    @case("8.1", f"text that ends behind {title} is refused")
    def _(ws, bad=bad):
        ws.send_text(b"text " + bad)
        ws.expect_close(1007)

    @case("8.1", f"text of nothing but {title} is refused")
    def _(ws, bad=bad):
        ws.send_text(bad)
        ws.expect_close(1007)

    @case("8.1", f"fragmented text that ends behind {title} is refused")
    def _(ws, bad=bad):
        ws.send(text("text ", fin=False), last(bad))
        ws.expect_close(1007)

    @case("8.1", f"{title} before an empty last fragment is refused")
    def _(ws, bad=bad):
        ws.send(text(bad, fin=False), last(""))
        ws.expect_close(1007)

    @case("8.1", f"{title}, and the rest in the next message, is refused")
    def _(ws, bad=bad):
        ws.send(text(bad), text(b"\x80"))
        ws.expect_close(1007)


@case("8.1", "bad text behind good text is refused")
def _(ws):
    ws.echoes(TEXT, "good")
    ws.send_text(b"bad \xff")
    ws.expect_close(1007)


@case("8.1", "bad byte in the last of many fragments is refused")
def _(ws):
    ws.send(*fragments(TEXT, [b"good"] * 50 + [b"\xff"]))
    ws.expect_close(1007)


@case("8.1", "bad byte behind 200,000 good ones is refused")
def _(ws):
    ws.send_text(b"a" * 200_000 + b"\xff")
    ws.expect_close(1007)


@case("8.1", "bad byte at every place of 200 is refused", ONE_MODE)
def _(client):
    for at in range(200):
        ws = client.open()
        ws.send_text(b"a" * at + b"\xff" + b"a" * (199 - at))
        ws.expect_close(1007)


@case("8.1", "every lonely continuation byte is refused", ONE_MODE)
def _(client):
    for byte in range(0x80, 0xc0):
        ws = client.open()
        ws.send_text(bytes([byte]))
        ws.expect_close(1007)


@case("8.1", "every two bytes behind e0, ed, f0 and f4 get their verdict",
      ONE_MODE)
def _(client):
    for first, second in itertools.product((0xe0, 0xed, 0xf0, 0xf4),
                                           range(0x70, 0xc8)):
        data = bytes([first, second, 0x80] + [0x80] * (first >= 0xf0))
        ws = client.open()
        ws.send_text(data)
        try:
            data.decode()
        except UnicodeDecodeError:
            ws.expect_close(1007)
        else:
            ws.expect_text(data)


@case("8.1", "bad text in small packets is refused", CUTS_ITSELF)
def _(ws):
    for piece in split(text(MIXED + b"\xed\xa0\x80" + MIXED), 20):
        ws.send(piece)
    ws.expect_close(1007)


# --- as soon as a byte shows it ---

for title, bad in HOPELESS.items():
    @case("8.1", f"{title} is refused before the frame ends", FIXED_BYTES)
    def _(ws, bad=bad):
        whole = text(b"text " + bad + b"x" * 100)
        ws.send(whole[:6 + 5 + len(bad)])
        ws.expect_close(1007)

    @case("8.1", f"{title} is refused before the message ends", FIXED_BYTES)
    def _(ws, bad=bad):
        ws.send(text(b"text " + bad, fin=False))
        ws.expect_close(1007)

    @case("8.1", f"{title} is refused in an unfinished continuation",
          FIXED_BYTES)
    def _(ws, bad=bad):
        ws.send(text("text ", fin=False),
                more(bad + b"x" * 100)[:6 + len(bad)])
        ws.expect_close(1007)

    @case("8.1", f"{title} is refused when fragments cut it", FIXED_BYTES)
    def _(ws, bad=bad):
        ws.send(text("text ", fin=False),
                *(more(bad[i:i + 1]) for i in range(len(bad))))
        ws.expect_close(1007)


@case("8.1", "bad byte at the start of a frame of 1 MB is refused at once",
      FIXED_BYTES)
def _(ws):
    ws.send(text(b"\xff" + b"a" * 999_999)[:20])
    ws.expect_close(1007)


@case("8.1", "bad byte is refused though the rest of the frame follows")
def _(ws):
    ws.send(text(b"\xff" + b"a" * 900_000))
    ws.expect_close(1007)


@case("8.1", "good start of a character waits for the rest", FIXED_BYTES)
def _(ws):
    ws.send(text(b"\xf0\x9f", fin=False), ping("so far good"))
    ws.expect_pong("so far good")
    ws.send(last(b"\x98\x80"))
    ws.expect_text("\U0001f600")


# --- what need not be UTF-8 ---

@case("8.1", "binary need not be UTF-8")
def _(ws):
    for bad in (*BAD.values(), *CUT_SHORT.values()):
        ws.echoes(BINARY, bad)


@case("8.1", "binary in fragments need not be UTF-8")
def _(ws):
    for bad in (*BAD.values(), *CUT_SHORT.values()):
        ws.echoes(BINARY, bad, 2)


@case("8.1", "ping need not be UTF-8")
def _(ws):
    for bad in (*BAD.values(), *CUT_SHORT.values()):
        ws.send(ping(bad))
        ws.expect_pong(bad)


@case("8.1", "binary behind a text that ended in a good character")
def _(ws):
    ws.echoes(TEXT, "\u1ebf")
    ws.echoes(BINARY, b"\xbf\xff")


@case("8.1", "state of a text does not reach into the next")
def _(ws):
    ws.send(binary(b"\xe1\xba"), text(b"a"))
    ws.expect_binary(b"\xe1\xba")
    ws.expect_text("a")


# --- the reason of a Close ---

for title, bad in {**BAD, **CUT_SHORT}.items():
    @case("7.1.6", f"reason with {title} gets 1007")
    def _(ws, bad=bad):
        ws.send(close(1000, b"bye " + bad))
        ws.expect_close(1007)

for at in (0, 1, 15, 16, 31, 32, 63, 64, 121, 122):
    @case("7.1.6", f"reason whose byte {at} of 123 is bad gets 1007")
    def _(ws, at=at):
        ws.send(close(1000, b"r" * at + b"\xff" + b"r" * (122 - at)))
        ws.expect_close(1007)

for title, words in SCRIPTS.items():
    @case("7.1.6", f"reason in {title} is good")
    def _(ws, words=words):
        ws.send(close(1000, words))
        ws.expect_close(1000)

for title, point in BORDERS.items():
    @case("7.1.6", f"reason with {title} is good")
    def _(ws, point=point):
        ws.send(close(1000, chr(point) * 30))
        ws.expect_close(1000)
