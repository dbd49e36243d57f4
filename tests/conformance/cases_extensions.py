"""Which extensions are agreed on: the header's grammar (RFC 6455 9.1) and the
negotiation of permessage-deflate (RFC 7692 5.1 and 7.1)."""
import os

from cases import ECHO, case, plain
from cases_opening import PROTOCOL
from peer import (BINARY, EXTENSIONS, TEXT, Deflate, WebSocket, check,
                  check_status)
from server import ALWAYS, KEEPING, NARROW, UNCOMPRESSED

DEFLATE = "permessage-deflate"
SERVER_FRESH = "server_no_context_takeover"
CLIENT_FRESH = "client_no_context_takeover"
SERVER_BITS = "server_max_window_bits"
CLIENT_BITS = "client_max_window_bits"
OWN_OFFER = plain("says itself which extensions it offers")


def offer(client, value, path=KEEPING):
    """An open WebSocket, and what was agreed on: parameters, or None."""
    wire = client.request(path, {EXTENSIONS: value}, slowly=True)
    check_status(wire.response, client.mode)
    came = wire.response[EXTENSIONS]
    if came is not None:
        check(came.split(";")[0].strip() == DEFLATE and "," not in came,
              f"one {DEFLATE}", came)
    ws = WebSocket(client, wire)
    return ws, ws.deflate and ws.deflate.parameters


def agreed(section, title, value, expected, path=KEEPING):
    """This is agreed on (None: nothing), and then it works. The server at
    KEEPING asks for nothing by itself."""
    @case(section, title, OWN_OFFER)
    def _(client):
        ws, came = offer(client, value, path)
        check(came == expected, f"{expected} to be agreed on", came)
        for message in ("short", "long " * 1000, "short"):
            ws.echoes(TEXT, message)
        ws.echoes(BINARY, os.urandom(3000))
        ws.closes()


def malformed(title, value):
    @case("9.1", f"{title} gets 400", OWN_OFFER)
    def _(client):
        client.expect_status(400, {EXTENSIONS: value})


# --- RFC 6455 9.1: the grammar ---

for title, value in {
        "in a line of its own": DEFLATE,
        "with blanks around it": f"   {DEFLATE}   ",
        "with tabs around it": f"\t{DEFLATE}\t",
        "behind an unknown extension": f"x-unknown, {DEFLATE}",
        "before an unknown extension": f"{DEFLATE}, x-unknown",
        "without blanks behind commas": f"x-a,{DEFLATE},x-b",
        "behind an unknown extension with parameters":
            f'x-unknown; a=1; b="2"; c, {DEFLATE}',
        "behind a longer name": f"{DEFLATE}2, {DEFLATE}",
        "behind an empty element": f",{DEFLATE}",
        "behind empty elements": f" , ,, {DEFLATE}",
        "before empty elements": f"{DEFLATE}, ,,",
        "between empty elements": f",,{DEFLATE},,",
        "in the second of two lines": ["x-unknown", DEFLATE],
        "in the first of two lines": [DEFLATE, "x-unknown"],
        "behind fifty unknown extensions":
            ", ".join([f"x-{i}" for i in range(50)] + [DEFLATE]),
        "twice": f"{DEFLATE}, {DEFLATE}",
        "behind a parameter that is an escape":
            f'x-unknown; a="\\b\\c", {DEFLATE}',
        "behind every character of a token":
            f"x!#$%&'*+-.^_`|~09azAZ, {DEFLATE}"}.items():
    agreed("9.1", f"{DEFLATE} {title} is agreed on", value, {})

for title, value in {
        "blank before the semicolon": f"{DEFLATE} ; {SERVER_BITS}=10",
        "no blank behind the semicolon": f"{DEFLATE};{SERVER_BITS}=10",
        "tabs around the semicolon": f"{DEFLATE}\t;\t{SERVER_BITS}=10",
        "blanks around the equals sign": f"{DEFLATE}; {SERVER_BITS} = 10",
        "value in quotes": f'{DEFLATE}; {SERVER_BITS}="10"',
        "value with an escape": f'{DEFLATE}; {SERVER_BITS}="1\\0"',
        "value of nothing but escapes":
            f'{DEFLATE}; {SERVER_BITS}="\\1\\0"'}.items():
    agreed("9.1", f"parameter: {title}", value, {SERVER_BITS: "10"})

agreed("9.1", "unknown extension is not agreed on", "x-unknown", None)
agreed("9.1", "several unknown extensions are not agreed on",
       "x-a, x-b; c=d, x-e", None)
agreed("9.1", "longer name is another extension", f"{DEFLATE}2", None)
agreed("9.1", "shorter name is another extension", DEFLATE[:-1], None)
agreed("9.1", "extension of browsers before the RFC is not agreed on",
       "x-webkit-deflate-frame", None)
agreed("9.1", "no extension is agreed on where it is switched off", DEFLATE,
       None, UNCOMPRESSED)

malformed("only a semicolon", ";")
malformed("only an equals sign", "=")
malformed("semicolon at the end", f"{DEFLATE};")
malformed("two semicolons", f"{DEFLATE};; {SERVER_FRESH}")
malformed("semicolon and comma", f"{DEFLATE}; , x-unknown")
malformed("parameters without an extension", f"; {SERVER_FRESH}")
malformed("parameter without a name", f"{DEFLATE}; =10")
malformed("parameter without its value", f"{DEFLATE}; {SERVER_BITS}=")
malformed("parameter without its value before another",
          f"{DEFLATE}; {SERVER_BITS}=; {SERVER_FRESH}")
malformed("two equals signs", f"{DEFLATE}; {SERVER_BITS}==10")
malformed("two values", f"{DEFLATE}; {SERVER_BITS}=10=11")
malformed("two words as a name", "permessage deflate")
malformed("two words as a parameter", f"{DEFLATE}; server no")
malformed("two words as a value", f"{DEFLATE}; {SERVER_BITS}=1 0")
malformed("extension with a value", f"{DEFLATE}=1")
malformed("extension in quotes", f'"{DEFLATE}"')
malformed("parameter in quotes", f'{DEFLATE}; "{SERVER_FRESH}"')
malformed("quotes that are not closed", f'{DEFLATE}; {SERVER_BITS}="10')
malformed("quotes that are not opened", f'{DEFLATE}; {SERVER_BITS}=10"')
malformed("nothing in quotes", f'{DEFLATE}; {SERVER_BITS}=""')
malformed("blank in quotes", f'{DEFLATE}; {SERVER_BITS}="1 0"')
malformed("comma in quotes", f'{DEFLATE}; {SERVER_BITS}="1,0"')
malformed("escaped quotes in quotes", f'{DEFLATE}; {SERVER_BITS}="\\"10\\""')
malformed("escape at the end", f'{DEFLATE}; {SERVER_BITS}="10\\')
malformed("word behind quotes", f'{DEFLATE}; {SERVER_BITS}="10"0')
malformed("slash in a name", "permessage/deflate")
malformed("brackets in a name", "[permessage-deflate]")
malformed("parentheses in a name", "(permessage-deflate)")
malformed("at sign in a value", f"{DEFLATE}; {SERVER_BITS}=1@0")
malformed("letter beyond ASCII in a name", "permessage-d\xe9flate")
malformed("malformed extension behind a good one", f"{DEFLATE}, a b")
malformed("malformed extension before a good one", f"a b, {DEFLATE}")
malformed("malformed extension in a second line", [DEFLATE, "a b"])
malformed("malformed parameter of an unknown extension", "x-unknown; a=")


for name in (EXTENSIONS, PROTOCOL):
    for title, value in {
            "in a line": "x" * 9000,
            "in two lines": ["x" * 5000, "y" * 4000],
            "in forty lines": ["x" * 225] * 40}.items():
        @case("9.1" if name == EXTENSIONS else "11.3.4",
              f"9000 bytes {title} are refused", OWN_OFFER)
        def _(client, name=name, value=value):
            client.expect_status(431 if client.mode.http2 else 400,
                                 {name: value})


@case("9.1", "8000 bytes of unknown extensions are passed over", OWN_OFFER)
def _(client):
    ws, came = offer(client, [", ".join(["x" * 98] * 40)] * 2 + [DEFLATE])
    check(came == {}, "agreement without parameters", came)
    ws.works()


@case("9.1", "refused handshake agrees on nothing",
      OWN_OFFER)
def _(client):
    response = client.expect_status(403, {EXTENSIONS: DEFLATE,
                                          "Origin": "https://other.example"})
    check(response[EXTENSIONS] is None, "no extension", response[EXTENSIONS])


# --- RFC 7692 5.1: the first offer that can be met ---

for title, value, expected in (
        ("first of two good offers is taken",
         f"{DEFLATE}; {SERVER_BITS}=10, {DEFLATE}; {SERVER_BITS}=12",
         {SERVER_BITS: "10"}),
        ("offer behind one with an unknown parameter is taken",
         f"{DEFLATE}; x-unknown, {DEFLATE}; {SERVER_FRESH}",
         {SERVER_FRESH: None}),
        ("offer behind one with a bad value is taken",
         f"{DEFLATE}; {SERVER_BITS}=99, {DEFLATE}", {}),
        ("offer behind one with a parameter twice is taken",
         f"{DEFLATE}; {SERVER_FRESH}; {SERVER_FRESH}, {DEFLATE}", {}),
        ("third offer is taken when two cannot be met",
         f"{DEFLATE}; a, {DEFLATE}; {SERVER_BITS}, {DEFLATE}; "
         f"{CLIENT_FRESH}", {CLIENT_FRESH: None}),
        ("offers in two lines are tried in order",
         [f"{DEFLATE}; {SERVER_BITS}=7", f"{DEFLATE}; {SERVER_BITS}=9"],
         {SERVER_BITS: "9"}),
        ("fiftieth offer is taken when the others cannot be met",
         ", ".join([f"{DEFLATE}; x={i}" for i in range(49)] + [DEFLATE]), {}),
        ("parameters of an offer that is not taken are forgotten",
         f"{DEFLATE}; {SERVER_BITS}=9; {CLIENT_FRESH}; x, {DEFLATE}", {}),
        ("other extensions between offers do not matter",
         f"x-a; {SERVER_BITS}=9, {DEFLATE}; x, x-b, {DEFLATE}", {})):
    agreed("7692 5.1", title, value, expected)


@case("7692 5.1", "without an offer nothing is agreed on",
      OWN_OFFER)
def _(client):
    ws = client.open(KEEPING)
    ws.echoes(TEXT, "long " * 1000)     # which checks that RSV1 is not set


@case("7692 5.1", "context is given up where the server keeps none", OWN_OFFER)
def _(client):
    _, came = offer(client, DEFLATE, ECHO)
    check(came == {SERVER_FRESH: None, CLIENT_FRESH: None},
          "both sides without context", came)


# --- RFC 7692 7.1: parameters ---

for title, value in {
        "unknown parameter": "x-unknown",
        "unknown parameter with a value": "x-unknown=1",
        "parameter of another extension": "max_window_bits=10",
        "parameter in capitals": "SERVER_NO_CONTEXT_TAKEOVER=X"}.items():
    agreed("7692 7.1", f"offer with {title} is declined",
           f"{DEFLATE}; {value}", None)

agreed("7692 7.1", "all four parameters in one offer",
       f"{DEFLATE}; {SERVER_FRESH}; {CLIENT_FRESH}; {SERVER_BITS}=10; "
       f"{CLIENT_BITS}=11",
       {SERVER_FRESH: None, CLIENT_FRESH: None, SERVER_BITS: "10",
        CLIENT_BITS: "11"})
agreed("7692 7.1", "all four parameters in another order",
       f"{DEFLATE}; {CLIENT_BITS}=9; {SERVER_BITS}=9; {CLIENT_FRESH}; "
       f"{SERVER_FRESH}",
       {SERVER_FRESH: None, CLIENT_FRESH: None, SERVER_BITS: "9",
        CLIENT_BITS: "9"})
agreed("7692 7.1", "offer of the RFC's example with a fall-back",
       f"{DEFLATE}; {CLIENT_BITS}; {SERVER_BITS}=10, {DEFLATE}; "
       f"{CLIENT_BITS}", {SERVER_BITS: "10"})
for section, name in (("7692 7.1.1.1", SERVER_FRESH),
                      ("7692 7.1.1.2", CLIENT_FRESH)):
    agreed(section, "parameter is agreed on", f"{DEFLATE}; {name}",
           {name: None})
    for title, value in {
            "with a value": f"{name}=1", "with true": f"{name}=true",
            "with a value in quotes": f'{name}="1"',
            "twice": f"{name}; {name}",
            "twice, with a value": f"{name}; {name}=1"}.items():
        agreed(section, f"parameter {title} is declined",
               f"{DEFLATE}; {value}", None)

WRONG_BITS = {
    "7": "7", "0": "0", "1": "1", "16": "16", "20": "20", "32": "32",
    "99": "99", "150": "150", "264": "264", "2^32 + 8": "4294967304",
    "a hundred digits": "1" * 100,
    "a leading zero": "08", "another leading zero": "010",
    "-9": "-9", "+9": "+9", "9.0": "9.0", "1e1": "1e1", "0xa": "0xa",
    "letters": "ten", "7 in quotes": '"7"', "16 in quotes": '"16"',
    "a leading zero in quotes": '"09"'}
for section, name in (("7692 7.1.2.1", SERVER_BITS),
                      ("7692 7.1.2.2", CLIENT_BITS)):
    for title, value in WRONG_BITS.items():
        agreed(section, f"value of {title} is declined",
               f"{DEFLATE}; {name}={value}", None)
    agreed(section, "parameter twice is declined",
           f"{DEFLATE}; {name}=10; {name}=10", None)
    agreed(section, "parameter twice with other values is declined",
           f"{DEFLATE}; {name}=10; {name}=12", None)

agreed("7692 7.1.2.1", "parameter without a value is declined",
       f"{DEFLATE}; {SERVER_BITS}", None)
for bits in range(8, 16):
    agreed("7692 7.1.2.1", f"window of {bits} bits is agreed on",
           f"{DEFLATE}; {SERVER_BITS}={bits}", {SERVER_BITS: str(bits)})
    agreed("7692 7.1.2.1", f"window of {bits} bits in quotes is agreed on",
           f'{DEFLATE}; {SERVER_BITS}="{bits}"', {SERVER_BITS: str(bits)})
    agreed("7692 7.1.2.1", f"window of {bits} bits is no more than the "
           "server's own of 10", f"{DEFLATE}; {SERVER_BITS}={bits}",
           {SERVER_BITS: str(min(bits, 10))}, NARROW)
    # 15 need not be said
    agreed("7692 7.1.2.2", f"window of {bits} bits is agreed on",
           f"{DEFLATE}; {CLIENT_BITS}={bits}",
           {CLIENT_BITS: str(bits)} if bits < 15 else {})

agreed("7692 7.1.2.1", "server with a window of 10 bits says so unasked",
       DEFLATE, {SERVER_BITS: "10"}, NARROW)
agreed("7692 7.1.2.2", "offer without a value leaves it to the server",
       f"{DEFLATE}; {CLIENT_BITS}", {})
agreed("7692 7.1.2.2", "server with a window of 10 bits asks the same of the "
       "client", f"{DEFLATE}; {CLIENT_BITS}",
       {SERVER_BITS: "10", CLIENT_BITS: "10"}, NARROW)
agreed("7692 7.1.2.2", "smaller window of the client stays",
       f"{DEFLATE}; {CLIENT_BITS}=9",
       {SERVER_BITS: "10", CLIENT_BITS: "9"}, NARROW)
agreed("7692 7.1.2.2", "client that did not offer it is not asked", DEFLATE,
       {SERVER_BITS: "10"}, NARROW)


# --- the windows, as agreed ---

def letters(size):
    """Random, but it does compress."""
    return os.urandom(size // 2 + 1).hex()[:size].encode()


def far_repeats(bits):
    """Data that repeats itself from just inside the window and just outside
    of it: a compressor whose window is too large shows it."""
    window = 1 << bits
    data = letters(min(2 * window + 100, 33_000))
    for back in (window - 400, window - 270, window - 262, window - 100,
                 window - 1, window, window + 1, window + 100, 2 * window):
        if 0 < back <= 32_768:
            data += data[-back:][:60] + letters(20)
    return data


for bits in range(8, 16):
    for title, path in {"without context": ALWAYS,
                        "with context": KEEPING}.items():
        @case("7692 7.1.2.1", f"server {title} needs no more than its window "
              f"of {bits} bits", OWN_OFFER)
        def _(client, bits=bits, path=path):
            ws, _ = offer(client, f"{DEFLATE}; {SERVER_BITS}={bits}", path)
            data = far_repeats(bits)
            for message in (data, b"a" * 2000, data[1:]):
                ws.send_binary(message)
                came = ws.read_frame("a compressed message")
                check(came.rsv == 4, "a compressed message", came)
                check(ws.deflate.inflate(came.payload, bytewise=True)
                      == message, "the message", "another one")

    @case("7692 7.1.2.2", f"client may use its window of {bits} bits",
          OWN_OFFER)
    def _(client, bits=bits):
        ws, _ = offer(client, f"{DEFLATE}; {CLIENT_BITS}={bits}")
        data = far_repeats(bits)
        for _ in range(3):
            ws.echoes(BINARY, data)


@case("7692 7.1.1.1", "server without context starts anew each time", OWN_OFFER)
def _(client):
    ws, _ = offer(client, f"{DEFLATE}; {SERVER_FRESH}")
    sizes = [size_of_answer(ws, b"the same words again " * 10)
             for _ in range(4)]
    check(len(set(sizes)) == 1, "equal sizes", sizes)


@case("7692 7.1.1.1", "server with context refers to the message before",
      OWN_OFFER)
def _(client):
    ws, _ = offer(client, DEFLATE)
    data = os.urandom(1000)
    size_of_answer(ws, data)
    size = size_of_answer(ws, data)
    check(size < 100, "less than 100 bytes", size)


def size_of_answer(ws, data):
    """The size that the echo has on the wire; it is checked."""
    ws.send_binary(data)
    came = ws.read_frame("an echo")
    payload = ws.deflate.inflate(came.payload) if came.rsv else came.payload
    check(payload == data, "an echo", came)
    return len(came.payload)


@case("7692 7.1.1.2", "client without context may start anew each time",
      OWN_OFFER)
def _(client):
    ws, _ = offer(client, f"{DEFLATE}; {CLIENT_FRESH}")
    for _ in range(4):
        ws.echoes(BINARY, b"the same words again " * 10)


@case("7692 7.1.1.2", "client with context may refer to the message before",
      OWN_OFFER)
def _(client):
    ws, _ = offer(client, DEFLATE)
    data = os.urandom(1000)
    ws.echoes(BINARY, data)
    packed = ws.pack(data)
    check(len(packed) < 100, "less than 100 bytes to send", len(packed))
    ws.send(*ws.in_frames(BINARY, packed))
    ws.expect_binary(data)


@case("7692 7.1.1.2", "client with context may start anew each time", OWN_OFFER)
def _(client):
    ws, _ = offer(client, DEFLATE)
    for _ in range(3):
        ws.send(*ws.in_frames(TEXT, Deflate(DEFLATE).compress(b"again")))
        ws.expect_text("again")
