"""What /server-status says of WebSockets."""
import re
import zlib

from httpd import Httpd, wait_until
from wire import BINARY, frame

EXTENSIONS = "Sec-WebSocket-Extensions"


def numbers(server):
    text = server.get("/server-status?auto", tls=False)[1].decode()
    return {name: int(value) for name, value in
            re.findall(r"^(WebSocket\w*): (\d+)$", text, re.M)}


def page(server):
    return server.get("/server-status", tls=False)[1].decode()


def test_connections_of_all_children_are_counted(httpd_factory, connect, tls):
    server = httpd_factory(tls=tls)
    wires = [connect(server) for _ in range(20)]
    for wire in wires:
        wire.echo()
    assert numbers(server)["WebSockets"] == 20
    assert "<dt>20 open</dt>" in page(server)
    assert "<dt>Keepers of ended children: 0</dt>" in page(server)
    for wire in wires[5:]:
        wire.close_socket()
    wait_until(lambda: numbers(server)["WebSockets"] == 5, "15 are gone")


def test_memory_for_compression(httpd_factory, connect):
    server = httpd_factory(server_config="""
        StartServers 1
        ServerLimit 1
        ThreadsPerChild 25
        MaxRequestWorkers 25
        MaxSpareThreads 25
        WebSocketCompression on takeover=on window=9
        WebSocketCompressionMemory 40K""")
    offer = {EXTENSIONS: "permessage-deflate; client_max_window_bits"}
    assert numbers(server) == {
        "WebSockets": 0, "WebSocketCompressionMemory": 0,
        "WebSocketCompressionMemoryLimit": 40960,
        "WebSocketCompressionUsedUp": 0, "WebSocketKeepers": 0,
        "WebSocketSendMemory": 0, "WebSocketSendMemoryLimit": 64 << 20}
    kept = [connect(server, headers=offer) for _ in range(2)]
    assert numbers(server)["WebSocketCompressionMemory"] == 2 * 18944
    assert "37 kB in all; each process may use 40 kB" in page(server)
    assert "used up" not in page(server)
    without = connect(server, headers=offer)    # holds what has come so far
    packer = zlib.compressobj(wbits=-9)
    data = packer.compress(b"a" * 5000) + packer.flush(zlib.Z_SYNC_FLUSH)
    without.send(frame(BINARY, data[:-4], rsv=4)[:-1])
    wait_until(lambda: numbers(server)["WebSocketCompressionUsedUp"] == 1,
               "memory is used up")
    assert "used up in 1 of 1: new connections" in page(server)
    for wire in [*kept, without]:
        wire.close_socket()
    wait_until(lambda: numbers(server)["WebSocketCompressionMemory"] == 0,
               "all memory is given back")


def test_nothing_is_shown_where_no_handler_is(tmp_path):
    server = Httpd(tmp_path / "plain")
    server.remove_handlers()
    server.start()
    try:
        assert "WebSocket" not in page(server)
        assert numbers(server) == {}
    finally:
        server.stop()
