"""A private httpd with the module under test, for as long as a test needs it."""
import functools
import http.client
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

BUILD = pathlib.Path(os.environ.get("WS_BUILD_DIR", "."))
SOURCE = pathlib.Path(os.environ.get("WS_SRC_DIR", "."))
MODULE = BUILD / "mod_websocket" / ".libs" / "mod_websocket.so"
HANDLERS = BUILD / "mod_websocket" / "handlers" / ".libs"
SANITIZED = os.environ.get("WS_SANITIZE") == "address"
LIMIT = 30 if SANITIZED else 15     # seconds that a condition may take
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; "
       "img-src 'self' data:; connect-src 'self'")

MPMS = {
    "event": """
        StartServers 2
        ServerLimit 4
        ThreadsPerChild 25
        MaxRequestWorkers 100
        MinSpareThreads 1
        MaxSpareThreads 100
    """,
    "worker": """
        StartServers 2
        ServerLimit 4
        ThreadsPerChild 25
        MaxRequestWorkers 100
        MinSpareThreads 1
        MaxSpareThreads 100
    """,
    "prefork": """
        StartServers 4
        ServerLimit 8
        MaxRequestWorkers 8
        MinSpareServers 4
        MaxSpareServers 8
    """,
}


def apxs(name):
    return subprocess.run([os.environ.get("APXS", "apxs"), "-q", name],
                          check=True, capture_output=True,
                          text=True).stdout.strip()


def wait_until(condition, what, limit=LIMIT):
    """Polls until condition() is true and returns what it gave."""
    end = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.02)


# Below the ports that the kernel gives to outgoing connections, of which there
# are thousands; each of pytest's parallel workers has its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
PORTS = list(range(20000 + WORKER, 32000, 8))
random.shuffle(PORTS)


def free_port():
    while True:
        port = PORTS.pop()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


@functools.cache
def client_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def make_certificate(directory):
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


def let_httpd_in(directory):
    """pytest's directories are for their owner only; httpd's children are
    somebody else."""
    directory.chmod(0o755)
    temporary = pathlib.Path(tempfile.gettempdir()).resolve()
    for parent in directory.resolve().parents:
        if temporary in parent.parents:
            parent.chmod(0o711)


def is_keeper(pid):
    try:
        line = pathlib.Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return False
    return b": websocket keeper" in line


class Httpd:
    """One httpd: a port for http and ws, one for https and wss."""

    binary = None
    modules = None

    def __init__(self, directory, mpm="event", config="", server_config="",
                 www=False, tls=False, log_level="info", vhost_config="",
                 descriptors=None, measures_memory=False, http2=False,
                 prefix=(), preload=(), address_space=None,
                 host="127.0.0.1"):
        Httpd.binary = Httpd.binary or (
            f"{apxs('SBINDIR')}/{apxs('PROGNAME')}")
        Httpd.modules = Httpd.modules or pathlib.Path(apxs("LIBEXECDIR"))
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        let_httpd_in(self.directory)
        self.mpm = mpm
        self.tls = tls              # which of the two url() means
        self.port, self.tls_port = free_port(), free_port()
        self.process = None
        self.old_children = []
        self.before_exec = None     # called in the process to be httpd
        self.descriptors = descriptors      # limit of each process
        self.address_space = address_space  # the same, bytes
        self.measures_memory = measures_memory
        self.prefix = list(prefix)  # of the command that starts it
        self.preload = list(preload)        # shared objects
        self.host = host            # the address that it listens at
        self.http2 = http2          # beside HTTP/1.1, and WebSockets over it
        self.config_file = self.directory / "httpd.conf"
        self.error_log = self.directory / "error.log"
        self.access_log = self.directory / "access.log"
        self.write_config(config, server_config, www, log_level, vhost_config)

    # --- configuration ---

    def load(self, *names):
        lines = []
        for name in names:
            path = self.modules / f"mod_{name}.so"
            if path.exists():       # else it is compiled in
                lines.append(f"<IfModule !{name}_module>\n"
                             f"LoadModule {name}_module {path}\n</IfModule>")
        return "\n".join(lines)

    def document_root(self, www):
        root = self.directory / "www"
        if not root.exists():
            if www:                 # a copy: httpd's user must be able to read
                shutil.copytree(SOURCE / "conf" / "www", root)
            else:
                root.mkdir()
            (root / "page.txt").write_text("an ordinary page\n")
            for path in [root, *root.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
        return root

    def protocols(self):
        if not self.http2:
            return ""
        return (self.load("http2")
                + "\nProtocols h2 h2c http/1.1\nH2WebSockets on\n")

    def user(self):
        if os.geteuid() != 0:
            return ""
        for name in ("www-data", "apache", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return f"User {name}\nGroup #{entry.pw_gid}"
        raise RuntimeError("no unprivileged user for httpd")

    def write_config(self, config, server_config, www, log_level,
                     vhost_config):
        key, cert = make_certificate(self.directory)
        headers = (f'Header set Content-Security-Policy "{CSP}"'
                   if www else "")
        self.config_file.write_text(f"""
Define MODULES {self.modules}
ServerRoot {self.directory}
ServerName localhost
PidFile {self.directory}/httpd.pid
DefaultRuntimeDir {self.directory}
CoreDumpDirectory {self.core_directory()}
ErrorLog {self.error_log}
LogLevel warn websocket:{log_level}
Listen {self.host}:{self.port}
Listen {self.host}:{self.tls_port}
LoadModule mpm_{self.mpm}_module {self.modules}/mod_mpm_{self.mpm}.so
{self.load("unixd", "log_config", "authz_core", "authz_user", "authn_core",
           "authn_file", "auth_basic", "mime", "dir", "headers", "ssl",
           "socache_shmcb", "reqtimeout", "rewrite", "status", "setenvif")}
LoadModule websocket_module {MODULE}
{self.protocols()}
{self.user()}
{MPMS[self.mpm]}
TypesConfig /dev/null
AddType text/html .html
AddType text/css .css
AddType text/javascript .js
DocumentRoot {self.document_root(www)}
DirectoryIndex index.html
LogFormat "%>s %U" short
CustomLog {self.access_log} short
RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500
SSLSessionCache shmcb:{self.directory}/sessions(512000)
{headers}
{server_config}
<Location "/ws/echo">
    WebSocketHandler {HANDLERS}/websocket_echo.so
</Location>
<Location "/ws/chat">
    WebSocketHandler {HANDLERS}/websocket_chat.so
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
{config}
<VirtualHost *:{self.tls_port}>
    SSLEngine on
    SSLCertificateFile {cert}
    SSLCertificateKeyFile {key}
    {vhost_config}
</VirtualHost>
""")

    def append_config(self, text):
        with self.config_file.open("a") as f:
            f.write(text)

    def remove_handlers(self):
        """The module is loaded, and has nothing to do."""
        text = self.config_file.read_text()
        self.config_file.write_text(
            "\n".join(line for line in text.split("\n")
                      if "WebSocketHandler" not in line))

    def check_config(self):
        """httpd -t: (good, what it says)"""
        done = subprocess.run(
            [self.binary, "-t", "-f", self.config_file], env=self.environment(),
            capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr

    # --- life ---

    def environment(self):
        environment = dict(os.environ)
        environment["WS_TEST_SERVER"] = str(self.directory)
        preload = list(self.preload)
        if self.measures_memory:    # else each thread's malloc keeps its own
            environment["MALLOC_ARENA_MAX"] = "1"
        if SANITIZED:
            library = subprocess.run(
                ["gcc", "-print-file-name=libasan.so"], check=True,
                capture_output=True, text=True).stdout.strip()
            preload.insert(0, library)
            log = f"log_path={self.directory}/sanitizer"
            options = f"{log}:detect_leaks=0:abort_on_error=1:disable_coredump=0"
            if self.measures_memory:    # else freed memory is kept for a time
                options += ":quarantine_size_mb=1"
            environment["ASAN_OPTIONS"] = options
            environment["UBSAN_OPTIONS"] = f"{log}:print_stacktrace=1"
            (self.directory).chmod(0o777)
        if preload:
            environment["LD_PRELOAD"] = " ".join(map(str, preload))
        return environment

    def start(self):
        command = ["prlimit", "--core=unlimited"]
        if self.descriptors:
            command.append(f"--nofile={self.descriptors}")
        if self.address_space:
            command.append(f"--as={self.address_space}")
        self.process = subprocess.Popen(
            self.prefix + command
            + [self.binary, "-DFOREGROUND", "-f", self.config_file],
            env=self.environment(), start_new_session=True,
            preexec_fn=self.before_exec,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=(self.directory / "stderr").open("ab"))
        wait_until(self.answers, f"httpd answers; see {self.error_log}")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(
                "httpd ended: " + (self.directory / "stderr").read_text()
                + self.log())
        try:
            return self.get("/page.txt", tls=False)[0] == 200
        except OSError:
            return False

    def connections(self, state):
        """How many are in this state: "01" is ESTABLISHED, "08" CLOSE_WAIT, of
        a client that has gone."""
        ports = {f":{port:04X}" for port in (self.port, self.tls_port)}
        with open("/proc/net/tcp") as f:
            fields = [line.split() for line in f]
        return sum(1 for field in fields
                   if field[1][-5:] in ports and field[3] == state)

    def hold_still(self):
        """Waits until no worker is just letting go of a connection, and returns
        one that stays, so that none does for having answered us.

        The event MPM, when it is stopped, shuts down what its workers have,
        and crashes in apr_os_sock_get() where one frees it at that moment.
        That takes long with HTTP/2. A server that cannot answer, or whose
        workers the test keeps busy, is stopped as it is."""
        connection = http.client.HTTPConnection(*self.address(False),
                                                timeout=LIMIT)

        def is_quiet():
            if self.connections("08") > 0:
                return False
            connection.request("GET", "/server-status?auto")
            text = connection.getresponse().read().decode()
            return ("\nBusyWorkers: 1\n" in text
                    or self.http2 and self.connections("01") > 1)  # the test's own

        try:
            wait_until(is_quiet, "no worker lets go of a connection", 5)
        except (AssertionError, OSError, http.client.HTTPException):
            pass
        return connection

    def stop(self, how=signal.SIGTERM):
        """Ends it and checks that it ended well."""
        if self.process is None:
            return
        connection = None
        if self.mpm == "event" and self.process.poll() is None:
            connection = self.hold_still()
        self.process.send_signal(how)
        try:
            self.process.wait(60)
        finally:
            self.kill()
        if connection is not None:
            connection.close()
        self.check_end()

    def kill(self):
        """SIGKILL to everything."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process is not None:
            self.process.wait()
            self.process = None
        wait_until(lambda: not self.pids(), "all processes are gone")

    def core_directory(self):
        directory = self.directory / "cores"
        directory.mkdir(exist_ok=True)
        directory.chmod(0o777)      # for httpd's children
        return directory

    def backtraces(self):
        """Where each child was that crashed."""
        return "\n".join(
            subprocess.run(["gdb", "-batch", "-ex", "thread apply all bt",
                            self.binary, core], capture_output=True,
                           text=True).stdout
            for core in self.core_directory().iterdir()
            if shutil.which("gdb"))

    def check_end(self):
        log = self.log()
        assert "exit signal" not in log, log + self.backtraces()
        reports = [p.read_text() for p in self.directory.glob("sanitizer.*")]
        assert not reports, "\n".join(reports)

    def restart(self):
        """A graceful restart; waits until the new generation is there. The old
        one may still accept a connection, and leave it to a keeper."""
        self.old_children = self.children()
        before = self.log().count("resuming normal operations")
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.log().count("resuming normal operations")
                   > before, "graceful restart")

    def wait_for_end_of_old(self):
        """Until no child from before the last restart is left."""
        wait_until(lambda: not set(self.old_children) & set(self.pids()),
                   "the children of before the restart have ended")

    def pids(self):
        """All processes of this httpd, whoever their parent is and whatever
        they call themselves."""
        mark = f"WS_TEST_SERVER={self.directory}\0".encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                environment = pathlib.Path("/proc", entry,
                                           "environ").read_bytes()
                state = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            if (mark in environment + b"\0"
                    and state.rsplit(")", 1)[1].split()[0] != "Z"):
                found.append(int(entry))
        return found

    def keepers(self):
        """The processes that serve what ended children have left."""
        return [pid for pid in self.pids() if is_keeper(pid)]

    def children(self):
        return [pid for pid in self.pids()
                if pid != self.process.pid and not is_keeper(pid)]

    # --- asking it ---

    def log(self):
        return (self.error_log.read_text(errors="replace")
                if self.error_log.exists() else "")

    def wait_for_log(self, pattern, count=1):
        return wait_until(
            lambda: len(re.findall(pattern, self.log())) >= count,
            f"\"{pattern}\" in {self.error_log}")

    def address(self, tls=None):
        tls = self.tls if tls is None else tls
        return (self.host, self.tls_port if tls else self.port)

    def url(self, path, tls=None):
        tls = self.tls if tls is None else tls
        host, port = self.address(tls)
        return f"http{'s' if tls else ''}://{host}:{port}{path}"

    def ws_url(self, path, tls=None):
        return "ws" + self.url(path, tls)[4:]

    def get(self, path, tls=None, headers=()):
        """(status, body, headers)"""
        request = urllib.request.Request(self.url(path, tls),
                                         headers=dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=LIMIT,
                                        context=client_context()) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers
