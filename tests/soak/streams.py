"""HTTP/2 in the soak test: WebSockets on streams, and pages beside them on the
same connections. A process of threads, as h2wire's client is made for them."""
import random
import signal
import threading
import time
import traceback

import h2.exceptions

from h2wire import HTTP_1_1_REQUIRED, H2Connection, H2Wire, Reset, alpn_context
from kinds import small_message
from load import Reporter, raise_descriptor_limit
from wire import BINARY, CLOSE, close_frame, frame

THREADS = 4
PER_CONNECTION = 3                  # WebSockets
CONTEXT = alpn_context()


class Closed(Exception):
    """By the server, or with the connection: a restart may do so."""


class Streams(Reporter):
    def __init__(self, control, number):
        super().__init__(control, number)
        self.lock = threading.Lock()
        self.open = 0

    def count(self, *what, number=1):
        with self.lock:
            self.tally[what if len(what) > 1 else what[0]] += number

    def is_leaving(self):
        return self.control.command.value != self.control.GO

    # --- a connection ---

    def connect(self, rng):
        secure = rng.random() < 0.5
        return H2Connection(self.control.addresses[secure], secure,
                            context=CONTEXT)

    def get_page(self, connection):
        status, body = connection.get("/page.txt")
        assert (status, body) == (200, b"an ordinary page\n"), (status, body)
        self.count("connections", "page")
        self.count("done", "page")

    def page(self, connection, rng):
        """A connection that a restart has ended is no failure of the page: a
        client asks again on another, where it must not fail."""
        try:
            self.get_page(connection)
        except (OSError, AssertionError, h2.exceptions.ProtocolError):
            if not self.is_near_restart():
                raise
            again = self.connect(rng)
            try:
                self.get_page(again)
            finally:
                again.close()

    def open_stream(self, connection):
        """None: there is no room, the client is to use HTTP/1.1."""
        wire = H2Wire(connection)
        self.count("connections", "HTTP/2")
        try:
            wire.open("/ws/echo")
        except Reset as reset:
            if reset.code == HTTP_1_1_REQUIRED:
                self.count("sent to HTTP/1.1")
                return None
            raise
        if wire.response.status == 503 and self.is_near_restart():
            raise Closed
        assert wire.response.status == 200, wire.response.status
        return wire

    def echo(self, wire, rng):
        message = small_message(rng)
        if rng.random() < 0.1:
            message = BINARY, rng.randbytes(100_000)
        wire.reads_ahead = True
        wire.send(frame(*message))
        self.count("sent")
        opcode, data, _ = wire.read_frame()
        if opcode == CLOSE:
            raise Closed
        assert (opcode, data) == message, "another message came"
        self.count("received")

    def leave(self, wire, rng):
        how = rng.randrange(4)
        if how == 0:
            wire.reset_stream()
        elif how == 1:
            wire.send(frame(BINARY, bytes(1000))[:rng.randrange(1, 900)])
            wire.end_stream()
        else:
            wire.send(close_frame(1000))
            opcode, data, _ = wire.read_frame()
            assert (opcode, data[:2]) == (CLOSE, b"\x03\xe8"), (opcode, data)
            wire.end_stream()
        self.count("done", "HTTP/2")

    def use(self, connection, rng):
        self.page(connection, rng)
        wires = []
        for _ in range(rng.randrange(1, PER_CONNECTION + 1)):
            wire = self.open_stream(connection)
            if wire is None:
                return
            wires.append(wire)
        for _ in range(rng.randrange(2, 30)):
            if self.is_leaving():
                break
            self.echo(rng.choice(wires), rng)
            if rng.random() < 0.2:
                self.page(connection, rng)
            time.sleep(rng.uniform(0, 0.4))
        for wire in wires:
            if rng.random() < 0.9:
                self.leave(wire, rng)

    def session(self, rng):
        connection = self.connect(rng)
        try:
            self.use(connection, rng)
        except (Closed, OSError, AssertionError,
                h2.exceptions.ProtocolError) as error:
            if not self.is_near_restart():
                self.fail(f"HTTP/2: {traceback.format_exc()}")
            else:
                self.count("restarted", "HTTP/2")
            del error
        finally:
            connection.close()

    # --- the process ---

    def run_thread(self, index, round_number):
        rng = random.Random(f"{self.control.seed} h2 {index} {round_number}")
        while not self.is_leaving():
            with self.lock:
                self.open += 1
            try:
                self.session(rng)
            except Exception:
                self.fail(traceback.format_exc())
            with self.lock:
                self.open -= 1
            time.sleep(rng.uniform(0.1, 1))

    def run_round(self, round_number):
        threads = [threading.Thread(target=self.run_thread,
                                    args=(i, round_number))
                   for i in range(THREADS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            with self.lock:
                self.report(self.open)
        with self.lock:
            self.report(-1)

    def run(self):
        round_number = 0
        while self.control.command.value != self.control.END:
            round_number += 1
            self.run_round(round_number)
            while self.control.command.value == self.control.LEAVE:
                time.sleep(0.1)


def run_streams(control, number):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    Streams(control, number).run()
