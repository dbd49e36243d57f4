"""What the settings of WebSocketCompression cost and bring: memory of a
connection that has sent and received, and bytes sent to the client for each
100 bytes of message.

    make bench-compression
"""
import json
import pathlib
import random
import tempfile
import zlib

from bench_memory import ONE_CHILD, private_bytes, raise_limits
from httpd import Httpd
from wire import TEXT, Wire, frame

FIRST, MORE = 100, 900
SETTINGS = [
    "off",
    "on",
    "on threshold=0",
    "on threshold=0 takeover=on window=9",
    "on threshold=0 takeover=on window=11",
    "on threshold=0 takeover=on window=13",
    "on threshold=0 takeover=on window=15",
]
WORDS = ("the room is open again and you can read what we said there before "
         "about how this works with a page of its own").split()


def message(number, size):
    """Like a chat's: JSON, keys that come again, text that does not."""
    chance = random.Random(number)
    text = ""
    while len(text) < size:
        text += chance.choice(WORDS) + " "
    return json.dumps({"type": "chat", "clientId": chance.getrandbits(32),
                       "username": f"user{chance.randrange(50)}",
                       "timestamp": "2026-01-01T00:00:00.000Z",
                       "message": text}).encode()


SIZES = {"200 bytes": 110, "4 KiB": 4000}
SENT = 50


class Client(Wire):
    """Counts what a frame takes, and answers with compressed ones."""

    def talk(self, data):
        compressor = zlib.compressobj(wbits=-9)
        packed = (compressor.compress(data)
                  + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        is_on = "sec-websocket-extensions" in self.response.headers
        self.send(frame(TEXT, packed, rsv=4) if is_on else frame(TEXT, data))
        head = self.read(2)
        length, more = head[1], 0
        if length == 126:
            more = 2
            length = int.from_bytes(self.read(2), "big")
        self.read(length)
        return 2 + more + length


def open_client(server):
    client = Client(server.address(), False, headers={
        "Sec-WebSocket-Extensions":
            "permessage-deflate; client_max_window_bits"})
    assert client.open("/ws/echo").status == 101
    return client


def measure(setting):
    with tempfile.TemporaryDirectory() as directory:
        server = Httpd(pathlib.Path(directory) / "httpd",
                       server_config=ONE_CHILD["event"] + f"""
                           WebSocketCompression {setting}
                           WebSocketCompressionMemory 1G""").start()
        clients = [open_client(server) for _ in range(FIRST)]
        try:
            for client in clients:
                client.talk(message(0, 4000))
            before = private_bytes(server)
            clients += [open_client(server) for _ in range(MORE)]
            for client in clients[FIRST:]:
                client.talk(message(0, 4000))
            memory = (private_bytes(server) - before) / MORE
            traffic = []
            for size in SIZES.values():
                messages = [message(i, size) for i in range(SENT)]
                talker = open_client(server)
                clients.append(talker)
                total = sum(talker.talk(data) for data in messages)
                traffic.append(100 * total / sum(map(len, messages)))
            return memory, traffic
        finally:
            for client in clients:
                client.close_socket()
            server.stop()


def main():
    raise_limits()
    print(f"{'WebSocketCompression':38} {'memory':>8}  sent for each 100 bytes "
          f"of messages of\n{'':38} {'bytes':>8}"
          + "".join(f" {name:>10}" for name in SIZES))
    for setting in SETTINGS:
        memory, traffic = measure(setting)
        print(f"{setting:38} {memory:8.0f}"
              + "".join(f" {part:10.0f}" for part in traffic))


if __name__ == "__main__":
    main()
