"""WebSockets over HTTP/2 in a real Chromium."""
import re

import pytest

from httpd import wait_until
from test_browser import browsers, pytestmark  # noqa: F401: a fixture, a mark

PER_CONNECTION = 3              # streams that may carry a WebSocket

OPEN = """
const [url, count] = given;
globalThis.sockets = [];
globalThis.lost = 0;
for (let n = 0; n < count; n++) {
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
        socket.onopen = resolve;
        socket.onclose = ({ code }) => reject(`not open: ${code}`);
    });
    socket.onclose = () => { globalThis.lost++; };
    sockets.push(socket);
}
"""
ECHO = """
const answers = [];
for (const socket of sockets.filter((one) => one.readyState === 1)) {
    socket.send('hello');
    answers.push(await new Promise((resolve) => {
        socket.onmessage = ({ data }) => resolve(data);
    }));
}
return answers;
"""
CLOSE = """
for (const socket of sockets.filter((one) => one.readyState === 1)) {
    await new Promise((resolve) => {
        socket.onclose = ({ code, wasClean }) => resolve();
        socket.close(1000);
    });
}
"""


@pytest.fixture
def server(httpd_factory):
    return httpd_factory(tls=True, www=True, http2=True, log_level="debug",
                         config="""
        LogFormat "%>s %U %H %{remote}p" wire
        CustomLog wire.log wire""")


def wire_log(server, path):
    """[(status, protocol, the client's port)] of the requests for path"""
    log = (server.directory / "wire.log").read_text()
    return [(int(status), protocol, port) for status, protocol, port
            in re.findall(rf"^(\d+) {path} (\S+) (\d+)$", log, re.M)]


def test_websocket_takes_the_connection_of_the_page(server, browsers):
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    browser.run(OPEN, server.ws_url("/ws/echo"), 2)
    assert browser.run(ECHO) == ["hello", "hello"]
    browser.run(CLOSE)
    wait_until(lambda: len(wire_log(server, "/ws/echo")) == 2,
               "lines in the access log")
    [(_, protocol, port)] = wire_log(server, "/about.html")
    assert protocol == "HTTP/2.0"
    assert wire_log(server, "/ws/echo") == [(101, "HTTP/2.0", port)] * 2
    browser.assert_clean_console()


def test_large_messages(server, browsers):
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    browser.run(OPEN, server.ws_url("/ws/echo"), 1)
    assert browser.run("""
        const [socket] = sockets;
        socket.binaryType = 'arraybuffer';
        let whole = 0;
        const all = new Promise((resolve) => {
            socket.onmessage = ({ data }) => {
                const bytes = new Uint8Array(data);
                whole += bytes.length === 1000000 &&
                         bytes.every((byte) => byte === bytes[0]);
                if (bytes[0] === 7) { resolve(); }
            };
        });
        for (let n = 0; n < 8; n++) {
            socket.send(new Uint8Array(1000000).fill(n));
        }
        await all;
        return whole;""") == 8


def test_chat_page_works_over_http2(server, browsers):
    an = browsers().open(server)
    binh = browsers().open(server)
    binh.fill("name", "Bình")
    binh.say("over HTTP/2")
    an.wait_for(".body", "over HTTP/2")
    an.say("here too")
    binh.wait_for(".body", "here too")
    binh.driver.get(server.url("/about.html"))
    an.wait_for(".what", "Bình left.")
    wait_until(lambda: wire_log(server, "/ws/chat/lobby"), "line in the log")
    assert wire_log(server, "/ws/chat/lobby")[0][:2] == (101, "HTTP/2.0")
    an.assert_clean_console()


def test_one_too_many_goes_over_http1(server, browsers):
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    url = server.ws_url("/ws/echo")
    browser.run(OPEN, url, PER_CONNECTION + 1)
    server.wait_for_log("HTTP/1.1 required")
    # Chromium then gives the whole connection up; who reconnects is served
    browser.until(lambda: browser.run("return lost") == PER_CONNECTION,
                  "the others are lost")
    assert browser.run(ECHO) == ["hello"]
    browser.run(CLOSE)
    browser.run(OPEN, url, 3 * PER_CONNECTION)
    assert browser.run(ECHO) == ["hello"] * 3 * PER_CONNECTION
    browser.run(CLOSE)
    assert {protocol for status, protocol, _ in wire_log(server, "/ws/echo")
            if status == 101} == {"HTTP/2.0", "HTTP/1.1"}
