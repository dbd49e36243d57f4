"""Every mistake in the configuration is found by httpd -t, with its line."""
import subprocess

import pytest

from httpd import HANDLERS, SOURCE, Httpd

ECHO = f"{HANDLERS}/websocket_echo.so"
CHAT = f"{HANDLERS}/websocket_chat.so"


@pytest.fixture
def unstarted(tmp_path):
    return Httpd(tmp_path / "httpd")


def check(server, text):
    """(good, output, number of the first line of text)"""
    line = server.config_file.read_text().count("\n") + 1
    server.append_config(text)
    good, output = server.check_config()
    return good, output, line


def inside(directive):
    return f'<Location "/x">\n{directive}\n</Location>\n'


@pytest.mark.parametrize("directive, says", [
    ("WebSocketHandler nobody", 'unknown handler "nobody"'),
    ("WebSocketHandler /no/such.so", "there is no /no/such.so"),
    ("WebSocketHandler", "needs the name or the path"),
    (f"WebSocketHandler {ECHO} room=x", "takes no options"),
    (f"WebSocketHandler {CHAT} room", "name=value"),
    (f"WebSocketHandler {CHAT} rooms=x", 'unknown option "rooms"; there are: room, name-length, message-length'),
    (f"WebSocketHandler {CHAT} room=a/b", "room must be"),
    (f"WebSocketHandler {CHAT} name-length=0", 'name-length: "0" is no number, from 1 to 100000'),
    (f"WebSocketHandler {CHAT} message-length=9x", "no number, from 1 to 100000"),
    ("WebSocketMaxMessage many", '"many" is no size'),
    ("WebSocketMaxMessage 0", "is no size"),
    ("WebSocketMaxMessage -1", "is no size"),
    ("WebSocketMaxMessage 2G", "is no size"),
    ("WebSocketMaxMessage 1KB", "is no size"),
    ("WebSocketMaxMessage", "takes one argument"),
    ("WebSocketSendQueue 1X", "is no size"),
    ("WebSocketSendQueue 99999999999999999999", "is no size"),
    ("WebSocketMaxFragments -1", "from 0 to 2147483648"),
    ("WebSocketMaxFragments 1K", "from 0 to 2147483648"),
    ("WebSocketCompression", "needs on or off"),
    ("WebSocketCompression yes", '"yes" is neither on nor off'),
    ("WebSocketCompression on level=0", 'level: "0" is no number from 1 to 9'),
    ("WebSocketCompression on level", 'level: "" is no number'),
    ("WebSocketCompression on window=8", "is no number from 9 to 15"),
    ("WebSocketCompression on window=16", "is no number from 9 to 15"),
    ("WebSocketCompression on threshold=big", '"big" is no size'),
    ("WebSocketCompression on takeover=yes", "is neither on nor off"),
    ("WebSocketCompression on speed=9", '"speed=9" is not one of level=1-9'),
    ("WebSocketCompressionMemory 1M", "not allowed in <Location>"),
    ("WebSocketPing 30", "needs an interval and a timeout"),
    ("WebSocketPing 30 never", '"never" is no time'),
    ("WebSocketPing 0 10", "is no time"),
    ("WebSocketPing 25h 10", "is no time"),
    ("WebSocketPing 30sfoo 10", "is no time"),
    ("WebSocketPing 1d 10", "is no time"),
    ("WebSocketPing 99999999999999999999 10", "is no time"),
    ("WebSocketCloseTimeout 0", "is no time"),
    ("WebSocketCloseTimeout -3", "is no time"),
    ("WebSocketOrigin", "needs same, any"),
    ("WebSocketOrigin example.org", "is no origin"),
    ("WebSocketOrigin https://example.org/", "is no origin"),
    ("WebSocketOrigin same any", "is no origin"),
    ("WebSocketOrigin https://a.*.example.org", "is no origin"),
    ("WebSocketOrigin https://*", "is no origin"),
    ("WebSocketSendQueue 1M drop", '"drop" is not one of close'),
    ("WebSocketRateLimit", "needs messages=N/s"),
    ("WebSocketRateLimit burst=3", "needs messages=N/s"),
    ("WebSocketRateLimit messages=10", '"10" is no rate'),
    ("WebSocketRateLimit messages=/s", '"/s" is no rate'),
    ("WebSocketRateLimit messages=0/s", "is no size from 1"),
    ("WebSocketRateLimit bytes=-1/s", "is no size from 1"),
    ("WebSocketRateLimit bytes=1K/s burst=0", "is no size from 1"),
    ("WebSocketRateLimit messages=1/s action=wait", "is not one of"),
    ("WebSocketRateLimit messages=1/s often", '"often" is not one of'),
    ("WebSocketIdleTimeout never", "is no time"),
    ("WebSocketMaxAge 25h", "is no time"),
    ("WebSocketMaxConnections 5", "not allowed in <Location>"),
    ("WebSocketMaxConnectionsPerClient 5", "not allowed in <Location>"),
    ("WebSocketSendMemory 5M", "not allowed in <Location>"),
    ("WebSocketThreads 2", "not allowed in <Location>"),
    ("WebSocketLogSize 1M", "not allowed in <Location>"),
    ("WebSocketReload keep", "not allowed in <Location>"),
    ("WebSocketDrainTimeout 5", "not allowed in <Location>"),
], ids=str)
def test_mistake_is_told_with_its_line(unstarted, directive, says):
    good, output, line = check(unstarted, inside(directive))
    assert not good
    assert says in output
    assert f"Syntax error on line {line + 1} of {unstarted.config_file}" \
        in output


@pytest.mark.parametrize("directive, says", [
    ("WebSocketThreads 0", "from 1 to 64"),
    ("WebSocketThreads 65", "from 1 to 64"),
    ("WebSocketThreads two", "from 1 to 64"),
    ("WebSocketLogSize 1K", "is no size from 65536"),
    ("WebSocketLogSize big", "is no size"),
    ("WebSocketCompressionMemory all", "is no size from 0 bytes to 1G"),
    ("WebSocketSendMemory 1K", "is no size from 1048576"),
    ("WebSocketMaxConnections 0", "from 1 to 1048576"),
    ("WebSocketMaxConnections 1048577", "from 1 to 1048576"),
    ("WebSocketMaxConnectionsPerClient -1", "from 0 to 1048576"),
    ("WebSocketReload", "takes 1-2 arguments"),
    ("WebSocketReload wait", "needs keep, perhaps with a time"),
    ("WebSocketReload drain 1h", "needs keep, perhaps with a time"),
    ("WebSocketReload keep long", '"long" is no time'),
    ("WebSocketReload keep 0", "is no time"),
    ("WebSocketDrainTimeout 0", "is no time"),
    ("<VirtualHost *:1>\nWebSocketReload drain\n</VirtualHost>",
     "cannot occur within <VirtualHost> section"),
], ids=str)
def test_mistake_in_a_global_directive(unstarted, directive, says):
    good, output, line = check(unstarted, directive + "\n")
    assert not good
    assert says in output
    line += directive.count("\n", 0, directive.find("\nWebSocket") + 1)
    assert f"Syntax error on line {line} of" in output


@pytest.mark.parametrize("directive", [
    "WebSocketMaxMessage 64K", "WebSocketMaxMessage 1g",
    "WebSocketSendQueue 1", "WebSocketPing 500ms 2min", "WebSocketPing off",
    "WebSocketMaxFragments 0", "WebSocketMaxFragments 2147483648",
    "WebSocketCompression OFF",
    "WebSocketCompression on level=9 threshold=0 window=9 takeover=on",
    "WebSocketCloseTimeout 1h", "WebSocketOrigin any", "WebSocketOrigin SAME",
    "WebSocketOrigin https://[::1]:8443 same", "WebSocketHandler none",
    "WebSocketOrigin same https://*.example.org:8443",
    "WebSocketSendQueue 1M CLOSE", "WebSocketSendQueue 64K latest",
    "WebSocketRateLimit messages=10/s",
    "WebSocketRateLimit bytes=64K/S burst=1M action=pause",
    "WebSocketRateLimit messages=1K/s bytes=1G/s burst=1G action=close",
    "WebSocketRateLimit off", "WebSocketIdleTimeout 5min",
    "WebSocketIdleTimeout off", "WebSocketMaxAge 24h", "WebSocketMaxAge 0",
    f"WebSocketHandler {CHAT} room=a name-length=10 message-length=100000",
], ids=str)
def test_good_directives(unstarted, directive):
    good, output, _ = check(unstarted, inside(directive))
    assert good, output


def test_global_directives_are_good(unstarted):
    good, output, _ = check(
        unstarted, "WebSocketThreads 64\nWebSocketLogSize 64M\n"
                   "WebSocketCompressionMemory 0\n"
                   "WebSocketSendMemory 1M\nWebSocketMaxConnections 1048576\n"
                   "WebSocketMaxConnectionsPerClient 0\n"
                   "WebSocketMaxMessage 2M\n")
    assert good, output


def test_no_directive_in_htaccess(httpd_factory):
    server = httpd_factory(config="""
        <Directory "/">
            AllowOverride All
        </Directory>""")
    access = server.directory / "www" / ".htaccess"
    access.write_text(f"WebSocketHandler {ECHO}\n")
    access.chmod(0o644)
    assert server.get("/page.txt")[0] == 500
    server.wait_for_log("WebSocketHandler not allowed here")


BROKEN = {
    "no symbol": ("int something;", "is no handler"),
    "too new": ("""
        const websocket_handler_t websocket_handler = {
            2, sizeof(websocket_handler_t), "new", 0, 0, 0, message};
        """, "built for ABI 2"),
    "too small": ("""
        const websocket_handler_t websocket_handler = {
            1, 16, "small", 0, 0, 0, message};""", "is broken"),
    "no message": ("""
        const websocket_handler_t websocket_handler = {
            1, sizeof(websocket_handler_t), "mute"};""", "no message"),
    "undefined symbol": ("""
        extern void nowhere(void);
        static void lost(websocket_t *ws, int t, const void *d, size_t l)
        { message(ws, t, d, l); nowhere(); }
        const websocket_handler_t websocket_handler = {
            1, sizeof(websocket_handler_t), "lost", 0, 0, 0, lost};""",
                         "cannot be loaded"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_handler_stops_the_configuration_check(unstarted, tmp_path,
                                                      name):
    text, says = BROKEN[name]
    source = tmp_path / "broken.c"
    source.write_text("""
        #include "mod_websocket.h"
        void message(websocket_t *ws, int type, const void *data, size_t size);
        void message(websocket_t *ws, int type, const void *data, size_t size)
        { (void)ws; (void)type; (void)data; (void)size; }
        """ + text)
    library = tmp_path / "broken.so"
    include = SOURCE / "mod_websocket"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-I{include}", "-o", library,
                    source], check=True)
    good, output, line = check(unstarted,
                               inside(f"WebSocketHandler {library}"))
    assert not good
    assert says in output and str(library) in output
    assert f"Syntax error on line {line + 1} of" in output


def test_httpd_without_handlers_starts_no_threads(httpd_factory, tmp_path):
    server = Httpd(tmp_path / "plain", mpm="prefork")
    server.remove_handlers()
    server.start()
    try:
        for pid in server.children():
            with open(f"/proc/{pid}/status") as f:
                assert "Threads:\t1\n" in f.read()
    finally:
        server.stop()
