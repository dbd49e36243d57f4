"""Clients that others wrote: ws for Node, and websockets for Python."""
import asyncio
import functools
import json
import os
import pathlib
import shutil
import subprocess

import pytest
import websockets

from httpd import client_context

MIB = 1 << 20
SIZES = [0, 1, 125, 126, 65535, 65536, MIB]
NODE_PATH = "/usr/share/nodejs:/usr/lib/nodejs"     # of Debian's packages
SCRIPT = pathlib.Path(__file__).with_name("node_client.js")


@pytest.fixture(params=["ws", "wss"])
def url(request, server):
    return server.ws_url("/ws/echo", tls=request.param == "wss")


@pytest.fixture(params=["plain", "deflate"])
def compressed(request):
    return request.param == "deflate"


# --- ws for Node ---

def node_environment():
    path = os.environ.get("NODE_PATH")
    return dict(os.environ, NODE_PATH=f"{path}:{NODE_PATH}" if path
                else NODE_PATH)


@functools.cache
def has_node():
    return shutil.which("node") is not None and subprocess.run(
        ["node", "-e", "require('ws')"], env=node_environment(),
        capture_output=True, timeout=60).returncode == 0


def test_node(url, compressed):
    if not has_node():
        pytest.skip("ws for Node is not installed (Debian: node-ws)")
    done = subprocess.run(["node", SCRIPT, url, json.dumps(compressed)],
                          env=node_environment(), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    for name, task in seen.items():
        assert "error" not in task, (name, task)
        assert ("permessage-deflate" in task["extensions"]) == compressed
    assert seen["messages"]["messages"] == 115
    assert seen["fragments"]["messages"] == 1
    assert seen["pings"]["pongs"] == 10
    assert seen["reason"]["reason"] == "bye"
    assert {name: task["code"] for name, task in seen.items()} == {
        "messages": 1000, "fragments": 1000, "pings": 1000, "reason": 3000,
        "tooBig": 1009, "badText": 1007}


# --- websockets for Python ---

@pytest.fixture
def talk(url, compressed):
    """Runs a conversation of websockets with the server."""
    async def run(conversation):
        async with websockets.connect(
                url, ssl=client_context() if url.startswith("wss") else None,
                max_size=2 * MIB, ping_interval=None,
                compression="deflate" if compressed else None) as ws:
            names = [extension.name for extension in ws.extensions]
            assert names == (["permessage-deflate"] if compressed else [])
            await conversation(ws)
        return ws

    return lambda conversation: asyncio.run(run(conversation))


def test_websockets_messages(talk):
    async def conversation(ws):
        for size in SIZES:
            for data in ("x" * size, os.urandom(size)):
                await ws.send(data)
                assert await ws.recv() == data
        for i in range(100):
            await ws.send(f"message {i}")
        for i in range(100):
            assert await ws.recv() == f"message {i}"

    assert talk(conversation).close_code == 1000


def test_websockets_fragments(talk):
    async def conversation(ws):
        await ws.send(["one, ", "two, " * 1000, "three"])
        assert await ws.recv() == "one, " + "two, " * 1000 + "three"
        await ws.send([b"a", b"", b"b"])
        assert await ws.recv() == b"ab"

    talk(conversation)


def test_websockets_pings(talk):
    async def conversation(ws):
        for i in range(10):
            await (await ws.ping(f"ping {i}"))

    talk(conversation)


def test_websockets_closes(talk):
    async def conversation(ws):
        await ws.close(3000, "bye")

    assert talk(conversation).close_code == 3000


def test_websockets_sends_too_much(talk):
    async def conversation(ws):
        await ws.send(bytes(MIB + 1))
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()

    assert talk(conversation).close_code == 1009


def test_websockets_sends_bad_text(talk):
    async def conversation(ws):
        await ws.write_frame(True, 1, b"a\xff")
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()

    assert talk(conversation).close_code == 1007
