"""How the server under test is configured."""
from httpd import HANDLERS

# Locations, each an echo with some directive.
SMALL, SHORT, FEW = "/ws/small", "/ws/short", "/ws/few"
UNCOMPRESSED = "/ws/uncompressed"
ALWAYS = "/ws/always"       # compresses every message, however short
KEEPING = "/ws/keeping"     # the same, and keeps the context between them
NARROW = "/ws/narrow"       # compresses with a window of 1 KiB
MAX_MESSAGE = 1 << 20       # the default of WebSocketMaxMessage
THRESHOLD = 1024            # and that of WebSocketCompression


def location(path, *directives):
    lines = "\n".join((f"WebSocketHandler {HANDLERS}/websocket_echo.so",)
                      + directives)
    return f'<Location "{path}">\n{lines}\n</Location>\n'


CONFIG = "".join((
    location(SMALL, "WebSocketMaxMessage 1K"),
    location(SHORT, "WebSocketCloseTimeout 300ms"),
    location(FEW, "WebSocketMaxFragments 100"),
    location(UNCOMPRESSED, "WebSocketCompression off"),
    location(ALWAYS, "WebSocketCompression on threshold=0"),
    location(KEEPING, "WebSocketCompression on threshold=0 takeover=on"),
    location(NARROW, "WebSocketCompression on threshold=0 takeover=on "
             "window=10")))

# A stream of HTTP/2 holds a thread, so there are more of them; and no child
# ends because too many are idle.
SERVER_CONFIG = """
    StartServers 2
    ServerLimit 2
    ThreadsPerChild 64
    MaxRequestWorkers 128
    MaxSpareThreads 128
"""

OPTIONS = {"config": CONFIG, "server_config": SERVER_CONFIG, "http2": True}

# Of the server that is restarted, so that it closes what it would keep.
CLOSING = OPTIONS | {"server_config": SERVER_CONFIG + """
    WebSocketReload drain
    WebSocketDrainTimeout 4s
"""}
