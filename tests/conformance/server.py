"""How the server under test is configured."""
import modes
from httpd import HANDLERS

SMALL, SHORT, FEW = "/ws/small", "/ws/short", "/ws/few"
MAX_MESSAGE = 1 << 20       # the default of WebSocketMaxMessage


def location(path, *directives):
    lines = "\n".join((f"WebSocketHandler {HANDLERS}/websocket_echo.so",)
                      + directives)
    return f'<Location "{path}">\n{lines}\n</Location>\n'


CONFIG = (location(SMALL, "WebSocketMaxMessage 1K")
          + location(SHORT, "WebSocketCloseTimeout 300ms"))
if modes.MAX_FRAGMENTS:
    CONFIG += location(FEW, "WebSocketMaxFragments 100")

SERVER_CONFIG = ""
