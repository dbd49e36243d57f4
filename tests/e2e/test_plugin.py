"""A handler that is built here, against the public header."""
import subprocess

import pytest

from httpd import SOURCE, Httpd, let_httpd_in
from wire import TEXT, frame

FORMATS = r"""
#include <mod_websocket.h>
#include <stdint.h>

static const websocket_option_t options[] = {
    {"most", WEBSOCKET_INTEGER, "1", 0, 9, "a number"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static const char *configure(websocket_context_t *context)
{
    int64_t most = websocket_option_number(context, "most");

    return most <= 1 ? NULL
                     : websocket_context_error(context, "%zu is more than %s",
                                               (size_t)most, "one");
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_log(ws, WEBSOCKET_LOG_WARNING, "%zu bytes, %hhu, %jd, %s", length,
                  (unsigned char)type, (intmax_t)-7, "end");
    websocket_context_log(websocket_context(ws), WEBSOCKET_LOG_WARNING,
                          "context %zu %s", length, "end");
    websocket_send(ws, type, data, length);
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "formats", .options = options,
    .option_size = sizeof(websocket_option_t), .configure = configure, .message = message,
};
"""

CLOSER = r"""
#include <mod_websocket.h>
#include <string.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    (void)type;
    (void)data;
    if (length == 0) {
        websocket_close(ws, 1000, NULL);
    }
    else if (length == 1) {
        websocket_close(ws, 42, "no such code");
    }
    else {
        websocket_close(ws, 4001, "l\303\251gende l\303\251gende l\303\251gende "
                        "l\303\251gende l\303\251gende l\303\251gende l\303\251gende "
                        "l\303\251gende l\303\251gende l\303\251gende l\303\251gende "
                        "l\303\251gende l\303\251gende l\303\251gende");
    }
    websocket_send(ws, WEBSOCKET_TEXT, "too late", 8);
}

static int accept_any(websocket_context_t *context,
                      websocket_request_t *request)
{
    const char *status = websocket_request_argument(request, "status");

    (void)context;
    if (status == NULL) {
        return 0;
    }
    return strcmp(status, "503") == 0
               ? websocket_refuse(request, 503, "busy")
               : 200;
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "closer", .accept = accept_any, .message = message,
};
"""


def build(directory, text, *options):
    let_httpd_in(directory)
    source, library = directory / "plugin.c", directory / "plugin.so"
    source.write_text(text)
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Wformat=2",
                    "-Werror", "-shared", "-fPIC",
                    f"-I{SOURCE / 'mod_websocket'}", "-o", library, source,
                    *options], check=True)
    library.chmod(0o755)
    return library


def location(library, parameters=""):
    return f"""
        <Location "/ws/plugin">
            WebSocketHandler {library} {parameters}
        </Location>"""


def test_formats_are_those_of_libc(connect, httpd_factory, tmp_path):
    library = build(tmp_path, FORMATS)
    server = httpd_factory(config=location(library))
    wire = connect(server, "/ws/plugin")
    wire.send(frame(TEXT, "12345"))
    wire.expect(TEXT, "12345")
    server.wait_for_log("formats: 5 bytes, 1, -7, end")
    server.wait_for_log("context 5 end")


def test_formats_in_an_error_of_configure(tmp_path):
    library = build(tmp_path, FORMATS)
    server = Httpd(tmp_path / "httpd", config=location(library, "most=2"))
    good, output = server.check_config()
    assert not good
    assert "handler formats: 2 is more than one" in output


@pytest.mark.parametrize("text, code, reason", [
    ("", 1000, ""), ("a", 1011, "no such code"), ("ab", 4001, None)])
def test_handler_closes(connect, httpd_factory, tmp_path, text, code, reason):
    server = httpd_factory(config=location(build(tmp_path, CLOSER)))
    wire = connect(server, "/ws/plugin")
    wire.send(frame(TEXT, text))
    opcode, data, _ = wire.read_frame()
    assert (opcode, int.from_bytes(data[:2], "big")) == (8, code)
    if reason is None:              # cut, but not inside of a character
        assert 120 <= len(data) - 2 <= 123
        assert ("l\u00e9gende " * 14).startswith(data[2:].decode())
    else:
        assert data[2:].decode() == reason
    wire.send(frame(8, data))
    wire.expect_end()


def test_handler_refuses(connect, httpd_factory, tmp_path):
    server = httpd_factory(config=location(build(tmp_path, CLOSER)))
    wire = connect(server, "/ws/plugin?status=503")
    assert wire.response.status == 503
    server.wait_for_log("refused with 503: by handler closer: busy")
    wire = connect(server, "/ws/plugin?status=200")
    assert wire.response.status == 500
    server.wait_for_log("which is no status of a refusal")


BROKEN = r"""
#include <mod_websocket.h>

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

const websocket_handler_t NAME = {
    .abi = ABI, .size = SIZE, .name = "broken", .message = MESSAGE,
};
"""


@pytest.mark.parametrize("changed, says", [
    ({"ABI": "2"}, "was built for ABI 2 of mod_websocket; this one has ABI 1"),
    ({"SIZE": "24"}, "its websocket_handler has a size of 24 bytes"),
    ({"MESSAGE": "NULL"}, "has no message callback"),
    ({"NAME": "another_name"}, "it has no symbol websocket_handler"),
])
def test_handler_that_does_not_fit_is_refused(tmp_path, changed, says):
    values = {"NAME": "websocket_handler", "ABI": "WEBSOCKET_ABI",
              "SIZE": "sizeof(websocket_handler_t)", "MESSAGE": "message",
              **changed}
    library = build(tmp_path, BROKEN, "-Wno-unused-function",
                    *(f"-D{name}={value}" for name, value in values.items()))
    server = Httpd(tmp_path / "httpd", config=location(library))
    good, output = server.check_config()
    assert not good
    assert says in output
    assert str(library) in output
