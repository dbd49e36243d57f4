"""websocket-run, as its users start it."""
import contextlib
import re
import signal
import subprocess

from httpd import BUILD, HANDLERS, LIMIT, SANITIZED, SOURCE

PROGRAM = BUILD / "websocket-run"
ECHO = HANDLERS / "websocket_echo.so"
CHAT = HANDLERS / "websocket_chat.so"


def build_probe(directory):
    """The handler of run_probe.c."""
    library = directory / "probe.so"
    flags = ["-fsanitize=address,undefined"] if SANITIZED else []
    subprocess.run(["gcc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror",
                    "-shared", "-fPIC", *flags,
                    f"-I{SOURCE / 'mod_websocket'}", "-o", library,
                    SOURCE / "tests" / "e2e" / "run_probe.c"], check=True)
    return library


def run(*arguments, stdin=None, limit=LIMIT, **options):
    """To its end."""
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin,
                          capture_output=True, text=True, timeout=limit,
                          **options)


def play(handler, script, *arguments, **options):
    return run(handler, "--script", "-", *arguments, stdin=script, **options)


class Served:
    """One that serves a port."""

    secure = tls = False

    def __init__(self, handler, *arguments, address="127.0.0.1"):
        self.process = subprocess.Popen(
            [PROGRAM, str(handler), "--port", "0", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.line = self.process.stdout.readline()
        self.host = address
        self.port = int(re.search(r"ws://\S*?:(\d+)/", self.line)[1])

    def address(self, tls=None):
        return (self.host, self.port)

    def stop(self, number=signal.SIGTERM, status=0):
        """What it logged."""
        self.process.send_signal(number)
        return self.wait(status)

    def wait(self, status=0):
        _, log = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == status, log
        return log


@contextlib.contextmanager
def serving(handler, *arguments, **options):
    served = Served(handler, *arguments, **options)
    try:
        yield served
        if served.process.poll() is None:
            served.stop()
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()
