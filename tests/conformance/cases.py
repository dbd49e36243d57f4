"""The list of cases, and the words in which they are written."""
import inspect
import re
from dataclasses import dataclass
from typing import Callable

import modes

ECHO = "/ws/echo"
CASES = []
NAMES = set()

TITLES = {                  # of the sections, as the RFCs have them
    "6455 4.1": "Client Requirements",
    "6455 4.2.1": "Reading the Client's Opening Handshake",
    "6455 4.2.2": "Sending the Server's Opening Handshake",
    "6455 4.3": "ABNF for New Header Fields in Handshake",
    "6455 4.4": "Supporting Multiple Versions",
    "6455 5.1": "Data Framing: Overview",
    "6455 5.2": "Base Framing Protocol",
    "6455 5.3": "Client-to-Server Masking",
    "6455 5.4": "Fragmentation",
    "6455 5.5": "Control Frames",
    "6455 5.5.1": "Close",
    "6455 5.5.2": "Ping",
    "6455 5.5.3": "Pong",
    "6455 5.6": "Data Frames",
    "6455 5.7": "Examples",
    "6455 5.8": "Extensibility",
    "6455 6.1": "Sending Data",
    "6455 6.2": "Receiving Data",
    "6455 7.1.1": "Close the WebSocket Connection",
    "6455 7.1.2": "Start the WebSocket Closing Handshake",
    "6455 7.1.5": "The WebSocket Connection Close Code",
    "6455 7.1.6": "The WebSocket Connection Close Reason",
    "6455 7.1.7": "Fail the WebSocket Connection",
    "6455 7.3": "Normal Closure of Connections",
    "6455 7.4.1": "Defined Status Codes",
    "6455 7.4.2": "Reserved Status Code Ranges",
    "6455 8.1": "Handling Errors in UTF-8-Encoded Data",
    "6455 9.1": "Negotiating Extensions",
    "6455 10.2": "Origin Considerations",
    "6455 10.4": "Implementation-Specific Limits",
    "6455 11.3.4": "Sec-WebSocket-Protocol",
    "7692 5.1": "General Negotiation Flow",
    "7692 6": "Framing",
    "7692 7.1": "Method Parameters",
    "7692 7.1.1.1": "server_no_context_takeover",
    "7692 7.1.1.2": "client_no_context_takeover",
    "7692 7.1.2.1": "server_max_window_bits",
    "7692 7.1.2.2": "client_max_window_bits",
    "7692 7.2.1": "Compression",
    "7692 7.2.2": "Decompression",
    "7692 7.2.3": "Examples",
    "7692 8": "Security Considerations",
    "8441 3": "SETTINGS_ENABLE_CONNECT_PROTOCOL",
    "8441 4": "The Extended CONNECT Method",
    "8441 5": "Bootstrapping the WebSocket Protocol",
}


@dataclass(frozen=True)
class Only:
    """Which modes a case applies to, and why not to the others."""
    reason: str
    applies: Callable[[modes.Mode], bool]


def plain(reason):
    return Only(reason, lambda mode: not mode.compressed)


def deflate(reason):
    return Only(reason, lambda mode: mode.compressed)


def whole(reason):
    return Only(reason, lambda mode: not mode.bytewise)


def http1(reason):
    return Only(reason, lambda mode: not mode.http2)


def http2(reason):
    return Only(reason, lambda mode: mode.http2)


def in_mode(name, reason):
    return Only(reason, lambda mode: str(mode) == name)


# Reasons that many cases have.
HAS_UPGRADE = http1("RFC 8441 leaves the Upgrade of HTTP/1.1 out")
IS_TCP = http1("is about the end of TCP, not of a stream")
CUTS_ITSELF = whole("says itself where the bytes are cut")
FIXED_BYTES = plain("says itself what the bytes of the message are")


@dataclass(frozen=True)
class Case:
    section: str            # "6455 5.2"
    title: str              # the behaviour that is expected
    run: Callable
    only: tuple
    path: str

    @property
    def opened(self):
        """Is it given an open WebSocket, or a client that opens its own?"""
        return next(iter(inspect.signature(self.run).parameters)) == "ws"

    @property
    def name(self):
        return f"{self.section} {self.title}"

    def reason_against(self, mode):
        """Why it does not apply to the mode; None if it does."""
        for only in self.only:
            if not only.applies(mode):
                return only.reason
        return None


def case(section, title, *only, path=ECHO):
    """Adds a case. A function whose parameter is called ws gets a WebSocket
    that is open; one with client opens what it needs."""
    section = section if " " in section else f"6455 {section}"
    assert section in TITLES, section
    assert not re.search(r"[^ -~]", title), f"for a terminal: {title}"

    def add(run):
        new = Case(section, title, run, only, path)
        assert new.name not in NAMES, new.name
        NAMES.add(new.name)
        CASES.append(new)
        return run

    return add


def in_order():
    """The cases by RFC and section, else as they were written."""
    def key(one):
        rfc, section = one.section.split()
        order = ["6455", "7692", "8441"].index(rfc)
        return order, [int(part) for part in section.split(".")]

    return sorted(CASES, key=key)
