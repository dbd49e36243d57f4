"""What handlers are told and can do that only a real httpd shows: options of
the configuration, facts of the request, the life of processes."""
import base64
import contextlib
import hashlib
import os
import re
import signal

import pytest

from httpd import Httpd, wait_until
from test_plugin import build
from wire import TEXT, frame

# --- facts of the request ---

FACTS = r"""
#include <mod_websocket.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char text[4096];
} facts_t;

static void add(facts_t *facts, const char *name, const char *value)
{
    size_t at = strlen(facts->text);

    snprintf(facts->text + at, sizeof(facts->text) - at, "%s=%s\n", name,
             value != NULL ? value : "(none)");
}

static int accept_all(websocket_context_t *context, websocket_request_t *r)
{
    facts_t *facts = calloc(1, sizeof(*facts));
    const char *refuse = websocket_request_argument(r, "refuse");

    websocket_request_set_data(r, facts, free);
    add(facts, "path", websocket_request_path(r));
    add(facts, "uri", websocket_request_uri(r));
    add(facts, "argument", websocket_request_argument(r, "a"));
    add(facts, "header", websocket_request_header(r, "x-many"));
    add(facts, "no header", websocket_request_header(r, "x-none"));
    add(facts, "user", websocket_request_user(r));
    add(facts, "auth", websocket_request_auth_type(r));
    add(facts, "client", websocket_request_client(r));
    add(facts, "tls", websocket_request_tls(r, "SSL_PROTOCOL"));
    add(facts, "dn", websocket_request_tls(r, "SSL_CLIENT_S_DN"));
    add(facts, "env", websocket_request_env(r, "TENANT"));
    add(facts, "no env", websocket_request_env(r, "NOBODY"));
    add(facts, "expression", websocket_request_expression(
        r, websocket_option_string(context, "expression")));
    add(facts, "httpd", websocket_request_httpd(r) != NULL ? "there" : NULL);
    websocket_request_choose_protocol(r, "v2");
    if (websocket_request_add_header(r, "Set-Cookie", "one=1") != 0 ||
        websocket_request_add_header(r, "Set-Cookie", "two=2") != 0 ||
        websocket_request_add_header(r, "X-Bad", "a\r\nX-Evil: 1") == 0 ||
        websocket_request_add_header(r, "X Bad", "a") == 0 ||
        websocket_request_add_header(r, "upgrade", "h2c") == 0 ||
        websocket_request_add_header(r, "sec-websocket-accept", "x") == 0) {
        return 500;
    }
    return refuse != NULL ? websocket_refuse(r, atoi(refuse), "asked to") : 0;
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    facts_t *facts = websocket_data(ws);

    (void)data;
    (void)length;
    add(facts, "client now", websocket_client(ws));
    add(facts, "protocol", websocket_protocol(ws));
    websocket_send(ws, type, facts->text, strlen(facts->text));
}

static const websocket_option_t options[] = {
    {"expression", WEBSOCKET_STRING, "%{REQUEST_URI} %{ENV:TENANT}", 0, 0,
     "what to evaluate"},
    {NULL, 0, NULL, 0, 0, NULL},
};

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "facts", .options = options,
    .option_size = sizeof(websocket_option_t), .accept = accept_all,
    .message = message,
};
"""
REMOTEIP = """
    LoadModule remoteip_module ${MODULES}/mod_remoteip.so
    RemoteIPHeader X-Forwarded-For
    RemoteIPInternalProxy 127.0.0.1
"""


@pytest.fixture(scope="module")
def facts_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("facts"), FACTS)


def facts_location(library, more=""):
    return f"""
        <Location "/ws/facts">
            WebSocketHandler {library}
            SetEnvIf X-Tenant (.*) TENANT=$1
            {more}
        </Location>"""


def ask(wire):
    assert wire.response.status == 101, wire.response
    wire.send(frame(TEXT, "?"))
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT
    return dict(line.split("=", 1) for line in data.decode().splitlines())


def test_facts_of_a_request(httpd_factory, connect, tls, facts_library):
    server = httpd_factory(tls=tls, config=facts_location(facts_library))
    wire = connect(server, "/ws/facts/a%20b?x=1&a=%C3%A4", headers={
        "X-Many": ["one", "two"], "X-Tenant": "acme",
        "Sec-WebSocket-Protocol": "v1, v2"})
    facts = ask(wire)
    assert facts == {
        "path": "/a b", "uri": "/ws/facts/a b", "argument": "\u00e4",
        "header": "one, two", "no header": "(none)", "user": "(none)",
        "auth": "(none)", "client": "127.0.0.1",
        "tls": "TLSv1.3" if tls else "(none)", "dn": "(none)",
        "env": "acme", "no env": "(none)",
        "expression": "/ws/facts/a b acme", "httpd": "there",
        "client now": "127.0.0.1", "protocol": "v2"}


def passwords_for(directory, user, password):
    """What has httpd ask for it."""
    path = directory / "passwords"
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest())
    path.write_text(f"{user}:{{SHA}}{digest.decode()}\n")
    directory.chmod(0o755)
    path.chmod(0o644)
    return f"""
        AuthType Basic
        AuthName facts
        AuthUserFile {path}
        Require valid-user"""


def test_facts_of_a_user_behind_a_proxy(httpd_factory, connect, tmp_path,
                                        facts_library):
    server = httpd_factory(
        server_config=REMOTEIP, config=facts_location(
            facts_library, passwords_for(tmp_path, "ann", "secret")))
    wire = connect(server, "/ws/facts", headers={
        "Authorization": "Basic YW5uOnNlY3JldA==",
        "X-Forwarded-For": "192.0.2.9"})
    facts = ask(wire)
    assert facts["user"] == "ann"
    assert facts["auth"] == "Basic"
    assert facts["client"] == facts["client now"] == "192.0.2.9"
    assert facts["path"] == ""
    assert facts["protocol"] == ""
    assert connect(server, "/ws/facts").response.status == 401


def cookies(wire):
    return re.findall(rb"(?im)^set-cookie: (.*?)\r?$", wire.response.head)


@pytest.mark.parametrize("path, status", [
    ("/ws/facts", 101), ("/ws/facts?refuse=403", 403)])
def test_headers_of_the_answer(httpd_factory, connect, facts_library, path,
                               status):
    server = httpd_factory(config=facts_location(facts_library))
    wire = connect(server, path)
    assert wire.response.status == status
    assert cookies(wire) == [b"one=1", b"two=2"]
    assert b"evil" not in wire.response.head.lower()
    assert b"x-bad" not in wire.response.head.lower()


def test_expression_that_is_wrong(httpd_factory, connect, facts_library):
    server = httpd_factory(config=facts_location(
        facts_library, 'WebSocketHandlerOption expression "%{nothing:"'))
    assert ask(connect(server, "/ws/facts"))["expression"] == "(none)"
    server.wait_for_log(r"a WebSocket handler's expression \"%\{nothing:\"")


# --- options ---

OPTIONS = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <string.h>

static const websocket_option_t options[] = {
    {"text", WEBSOCKET_STRING, "none", 0, 0, "a string"},
    {"number", WEBSOCKET_INTEGER, "7", -9, 9, "an integer"},
    {"size", WEBSOCKET_SIZE, "1K", 1, 1048576, "a size"},
    {"time", WEBSOCKET_DURATION, "5", 0, 0, "a duration"},
    {"switch", WEBSOCKET_BOOLEAN, "off", 0, 0, "a boolean"},
    {"names", WEBSOCKET_LIST, "a,b", 0, 0, "a list"},
    {NULL, 0, NULL, 0, 0, NULL},
};

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_context_t *c = websocket_context(ws);
    const char *const *names = websocket_option_list(c, "names");
    char text[512];

    (void)data;
    (void)length;
    snprintf(text, sizeof(text), "%s %lld %lld %lld %lld",
             websocket_option_string(c, "text"),
             (long long)websocket_option_number(c, "number"),
             (long long)websocket_option_number(c, "size"),
             (long long)websocket_option_number(c, "time"),
             (long long)websocket_option_number(c, "switch"));
    for (; *names != NULL; names++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
                 *names);
    }
    websocket_send(ws, type, text, strlen(text));
}

static const char *configure(websocket_context_t *context)
{
    return strcmp(websocket_option_string(context, "text"), "bad") == 0
               ? "text is bad"
               : NULL;
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "optional", .options = options,
    .option_size = sizeof(websocket_option_t), .configure = configure,
    .message = message,
};
"""


@pytest.fixture(scope="module")
def options_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("options"), OPTIONS)


@pytest.mark.parametrize("section, values", [
    ("WebSocketHandler LIB", "none 7 1024 5000 0 a b"),
    ("WebSocketHandler LIB text=x number=-9 size=64K time=2min switch=ON "
     "names=c,,d", "x -9 65536 120000 1 c  d"),
    ('WebSocketHandlerOption text "two words"\n'
     "WebSocketHandler LIB number=9\n"
     "WebSocketHandlerOption names c\nWebSocketHandlerOption names d,e",
     "two words 9 1024 5000 0 c d e"),
    ("WebSocketHandler LIB text=", " 7 1024 5000 0 a b"),
    ("WebSocketHandler LIB text=a=b", "a=b 7 1024 5000 0 a b"),
])
def test_options_reach_the_handler(httpd_factory, connect, options_library,
                                   section, values):
    section = section.replace("LIB", str(options_library))
    server = httpd_factory(
        config=f'<Location "/ws/options">\n{section}\n</Location>')
    wire = connect(server, "/ws/options")
    wire.send(frame(TEXT, "?"))
    wire.expect(TEXT, values)


@pytest.mark.parametrize("section, line, says", [
    ("WebSocketHandler LIB number=10", 2, 'WebSocketHandler: handler optional: '
     'number: "10" is no number, from -9 to 9'),
    ("WebSocketHandler LIB size=2M", 2, 'size: "2M" is no size, as in 100, '
     "64K, 1M, from 1 to 1048576 bytes"),
    ("WebSocketHandler LIB time=soon", 2,
     'time: "soon" is no time, as in 30, 500ms, 2min'),
    ("WebSocketHandler LIB switch=maybe", 2,
     'switch: "maybe" is neither on nor off'),
    ("WebSocketHandler LIB text=a text=b", 2, "text is given twice"),
    ("WebSocketHandler LIB\nWebSocketHandlerOption number x", 3,
     'WebSocketHandlerOption: handler optional: number: "x" is no number'),
    ("WebSocketHandler LIB\nWebSocketHandlerOption colour red", 3,
     'unknown option "colour"; there are: text, number, size, time, switch, '
     "names"),
    ("WebSocketHandlerOption number x\nWebSocketHandler LIB", 3,
     'WebSocketHandlerOption on line'),
    ("WebSocketHandlerOption number 1", 2, "its section has no "
     "WebSocketHandler"),
    ("WebSocketHandler none\nWebSocketHandlerOption number 1", 3,
     "its section has no WebSocketHandler"),
    ("WebSocketHandler LIB\nWebSocketHandlerOption text bad", 2,
     "WebSocketHandler: handler optional: text is bad"),
    ("WebSocketHandler LIB\nWebSocketHandlerOption text", 3,
     "takes two arguments"),
])
def test_bad_options_are_told_with_their_line(tmp_path, options_library,
                                              section, line, says):
    server = Httpd(tmp_path / "httpd")
    before = len(server.config_file.read_text().splitlines())
    section = section.replace("LIB", str(options_library))
    server.append_config(f'<Location "/x">\n{section}\n</Location>\n')
    good, output = server.check_config()
    assert not good
    assert says in output
    assert f"error on line {before + line} of" in output


# --- the life of a process ---

LIFE = r"""
#include <mod_websocket.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ticks;                    /* of this process */

static void say(websocket_context_t *context, const char *what)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "life %s in %d", what,
                          (int)getpid());
}

static void tick(websocket_context_t *context, void *baton)
{
    char text[40];

    (void)baton;
    snprintf(text, sizeof(text), "tick of %d", (int)getpid());
    websocket_context_publish(context, "ticks", WEBSOCKET_TEXT, text,
                              strlen(text));
    ticks++;
}

static int init(websocket_context_t *context)
{
    say(context, "init");
    ticks = 0;
    if (websocket_option_number(context, "broken")) {
        return -1;
    }
    return websocket_context_timer(context, 0, 50, tick, NULL);
}

static void leave(websocket_context_t *context)
{
    say(context, "exit");
}

static void moved(websocket_context_t *context)
{
    say(context, "moved");
}

static void greet(websocket_t *ws, void *baton)
{
    (void)baton;
    websocket_send(ws, WEBSOCKET_TEXT, "each", 4);
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    if (length == 4 && memcmp(data, "each", 4) == 0) {
        websocket_context_each(websocket_context(ws), greet, NULL, NULL);
    }
    else if (length == 5 && memcmp(data, "ticks", 5) == 0) {
        websocket_subscribe(ws, "ticks");
    }
    else {
        websocket_send(ws, type, data, length);
    }
}

static const websocket_option_t options[] = {
    {"broken", WEBSOCKET_BOOLEAN, "off", 0, 0, "cannot begin"},
    {NULL, 0, NULL, 0, 0, NULL},
};

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "life", .options = options,
    .option_size = sizeof(websocket_option_t), .child_init = init,
    .child_exit = leave, .moved = moved, .message = message,
};
"""


@pytest.fixture(scope="module")
def life_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("life"), LIFE)


def life_location(library, options=""):
    return f"""
        <Location "/ws/life">
            WebSocketHandler {library} {options}
        </Location>"""


def lives(server):
    """Per process, what its handler said, in order."""
    said = {}
    for what, pid in re.findall(r"life (\w+) in (\d+)", server.log()):
        said.setdefault(int(pid), []).append(what)
    return said


def expect_tick(wire, pid):
    """A tick of this process, behind others."""
    for _ in range(1000):
        opcode, data, _ = wire.read_frame()
        assert opcode == TEXT
        if data.decode() == f"tick of {pid}":
            return
    raise AssertionError(f"no tick of {pid}")


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_handler_lives_with_its_processes(httpd_factory, connect, mpm,
                                          life_library):
    server = httpd_factory(mpm=mpm, config=life_location(life_library))
    wire = connect(server, "/ws/life")
    wire.send(frame(TEXT, "ticks"))
    old = set(server.children())
    expect_tick(wire, next(iter(old)))
    assert all(lives(server)[pid] == ["init"] for pid in old)
    server.restart()
    wait_until(lambda: len(server.keepers()) == 1, "there is a keeper")
    keeper = server.keepers()[0]
    expect_tick(wire, keeper)
    assert lives(server)[keeper] == ["init", "moved"]
    server.wait_for_end_of_old()
    wait_until(lambda: all(lives(server)[pid] == ["init", "exit"]
                           for pid in old), "the old children have ended")
    wire.close_socket()
    wait_until(lambda: not server.keepers(), "the keeper has ended")
    assert lives(server)[keeper] == ["init", "moved", "exit"]
    server.stop()
    assert all(said[0] == "init" and said[-1] == "exit"
               for said in lives(server).values())


def test_handler_that_cannot_begin_refuses(httpd_factory, connect,
                                           life_library):
    server = httpd_factory(config=life_location(life_library, "broken=on"))
    wire = connect(server, "/ws/life")
    assert wire.response.status == 503
    server.wait_for_log("handler life: its child_init failed")
    server.wait_for_log("could not begin in this process")
    connect(server).echo()


def test_each_connection_of_the_context(httpd_factory, connect, life_library):
    server = httpd_factory(
        server_config="WebSocketThreads 3\nStartServers 1\n"
                      "ServerLimit 1\nMaxRequestWorkers 25\n"
                      "MaxSpareThreads 25",
        config=life_location(life_library))
    others = [connect(server, "/ws/echo") for _ in range(3)]
    wires = [connect(server, "/ws/life") for _ in range(10)]
    for wire in wires + others:
        wire.echo()
    wires[4].send(frame(TEXT, "each"))
    for wire in wires:
        wire.expect(TEXT, "each")
        wire.echo(b"and nothing more")
    for wire in others:
        wire.echo()


def test_offload_directive(tmp_path):
    for directive, says in (
            ("WebSocketOffload", "needs threads=N, queue=N, or both"),
            ("WebSocketOffload threads=0", "is no number from 1 to 1000"),
            ("WebSocketOffload queue=-1", "is no number from 0 to 1000000"),
            ("WebSocketOffload colour=red", "is not one of threads=N"),
            ("WebSocketOffload threads=2 queue=0", None)):
        server = Httpd(tmp_path / re.sub(r"\W", "_", directive))
        server.append_config(directive + "\n")
        good, output = server.check_config()
        assert good == (says is None)
        assert says is None or says in output


LEAVING = r"""
#include <mod_websocket.h>

static void nothing(websocket_t *ws, void *baton)
{
    (void)ws;
    (void)baton;
}

static void told(void *context)
{
    websocket_context_log(context, WEBSOCKET_LOG_NOTICE, "tour is done");
}

static void leave(websocket_context_t *context)
{
    websocket_context_log(
        context, WEBSOCKET_LOG_NOTICE, "tour at the end: %d",
        websocket_context_each(context, nothing, told, context));
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_send(ws, type, data, length);
}

static void closed(websocket_t *ws, unsigned code, const char *reason,
                   size_t length)
{
    (void)code;
    (void)reason;
    (void)length;
    websocket_log(ws, WEBSOCKET_LOG_NOTICE, "the last one has gone");
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "leaving", .child_exit = leave, .message = message,
    .close = closed,
};
"""


def test_what_child_exit_begins_is_done_or_refused(httpd_factory, connect,
                                                   tmp_path):
    """A process that ends takes nothing that it would not do. What moves with
    connections is done where they are."""
    server = httpd_factory(server_config=ONE_CHILD, config=f"""
        <Location "/ws/leaving">
            WebSocketHandler {build(tmp_path, LEAVING)}
        </Location>""")
    wire = connect(server, "/ws/leaving")
    wire.echo()
    wire.close_socket()
    server.wait_for_log("the last one has gone")
    server.restart()
    server.wait_for_log("tour at the end: -1")
    assert "tour is done" not in server.log()
    wire = connect(server, "/ws/leaving")
    wire.echo()
    server.restart()
    server.wait_for_log("tour at the end: 0")
    server.wait_for_log("tour is done")
    wire.echo()


# --- work elsewhere ---

OFFLOAD = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "FILE": works until FILE is there, then says so. */
static void work(void *baton)
{
    while (access(baton, F_OK) != 0) {
        usleep(1000);
    }
}

static void done(websocket_t *ws, void *baton)
{
    char text[40];

    if (ws != NULL) {
        snprintf(text, sizeof(text), "done in %d", (int)getpid());
        websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
    }
    else {
        unlink(baton);
    }
    free(baton);
}

static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    char *name;

    if (((const char *)data)[0] != '/') {
        websocket_send(ws, type, data, length);
        return;
    }
    name = strndup(data, length);
    if (websocket_offload(ws, work, done, name) != 0) {
        free(name);
        websocket_send(ws, WEBSOCKET_TEXT, "busy", 4);
    }
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "offloading", .message = message,
};
"""
ONE_CHILD = """
    StartServers 1
    ServerLimit 3
    MaxRequestWorkers 75
    MaxSpareThreads 75
"""


@pytest.fixture(scope="module")
def offload_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("offload"), OFFLOAD,
                 "-D_GNU_SOURCE")


def offload_server(httpd_factory, library, more=""):
    return httpd_factory(server_config=ONE_CHILD + more, config=f"""
        <Location "/ws/offload">
            WebSocketHandler {library}
        </Location>""")


@pytest.fixture
def gate(tmp_path):
    """A file that httpd's user can see, and remove."""
    directory = tmp_path / "gate"
    directory.mkdir()
    for parent in (tmp_path, directory):
        parent.chmod(0o777)
    return directory / "file"


def test_work_holds_up_nobody(httpd_factory, connect, offload_library, gate):
    server = offload_server(httpd_factory, offload_library,
                            "WebSocketOffload threads=1 queue=1")
    first, second, third = (connect(server, "/ws/offload") for _ in range(3))
    first.send(frame(TEXT, str(gate)))
    first.echo(b"others and I go on")
    second.send(frame(TEXT, str(gate)))
    second.echo(b"so do I")
    third.send(frame(TEXT, str(gate)))
    third.expect(TEXT, "busy")
    gate.touch()
    pid = server.children()[0]
    first.expect(TEXT, f"done in {pid}")
    second.expect(TEXT, f"done in {pid}")


def test_work_for_a_client_that_has_gone(httpd_factory, connect,
                                         offload_library, gate):
    server = offload_server(httpd_factory, offload_library)
    wire = connect(server, "/ws/offload")
    wire.send(frame(TEXT, str(gate)))
    wire.echo()
    wire.reset()
    connect(server).echo()
    gate.touch()
    wait_until(lambda: not gate.exists(), "the handler is told")


def test_work_that_waits_is_done_in_the_keeper(httpd_factory, connect,
                                               offload_library, gate):
    server = offload_server(httpd_factory, offload_library,
                            "WebSocketOffload threads=1")
    wires = [connect(server, "/ws/offload") for _ in range(3)]
    other = gate.with_name("other")
    for wire, file in zip(wires, (other, gate, gate)):
        wire.send(frame(TEXT, str(file)))
        wire.echo()
    old = server.children()[0]
    server.restart()
    other.touch()                   # what runs is waited for
    wait_until(lambda: len(server.keepers()) == 1, "there is a keeper")
    keeper = server.keepers()[0]
    gate.touch()
    wires[0].expect(TEXT, f"done in {keeper}")
    wires[1].expect(TEXT, f"done in {keeper}")
    wires[2].expect(TEXT, f"done in {keeper}")
    assert keeper != old


def test_work_that_does_not_end_keeps_no_child(httpd_factory, connect,
                                               offload_library, gate):
    server = offload_server(httpd_factory, offload_library,
                            "WebSocketDrainTimeout 1")
    wire = connect(server, "/ws/offload")
    wire.send(frame(TEXT, str(gate)))
    wire.echo()
    server.restart()
    wire.expect_close(1012)
    server.wait_for_end_of_old()
    server.wait_for_log("the child ends without it")


# --- messages in parts ---

PARTS = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    unsigned long long bytes, parts, sum;
    size_t largest;
} tally_t;

static int accept_all(websocket_context_t *context, websocket_request_t *r)
{
    (void)context;
    websocket_request_set_data(r, calloc(1, sizeof(tally_t)), free);
    return 0;
}

static void fragment(websocket_t *ws, int type, const void *data,
                     size_t length, int is_last)
{
    tally_t *tally = websocket_data(ws);
    const unsigned char *bytes = data;
    char text[200];
    size_t i;

    for (i = 0; i < length; i++) {
        tally->sum = (tally->sum * 31 + bytes[i]) % 1000000007;
    }
    tally->bytes += length;
    tally->parts++;
    tally->largest = length > tally->largest ? length : tally->largest;
    if (is_last) {
        snprintf(text, sizeof(text), "%d %llu %llu", type, tally->bytes,
                 tally->sum);
        websocket_send(ws, WEBSOCKET_TEXT, text, strlen(text));
        websocket_log(ws, WEBSOCKET_LOG_INFO, "%llu parts, largest %zu",
                      tally->parts, tally->largest);
        memset(tally, 0, sizeof(*tally));
    }
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "parts", .accept = accept_all, .fragment = fragment,
};
"""


def tally(opcode, data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) % 1000000007
    return f"{opcode} {len(data)} {total}"


@pytest.fixture(scope="module")
def parts_library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("parts"), PARTS)


def parts_location(library):
    return f"""
        <Location "/ws/parts">
            WebSocketHandler {library}
            WebSocketMaxMessage 300000
        </Location>"""


def test_messages_come_in_parts(httpd_factory, connect, tls, parts_library):
    server = httpd_factory(tls=tls, config=parts_location(parts_library))
    wire = connect(server, "/ws/parts")
    for opcode, data in ((TEXT, b""), (TEXT, "d\u00e9j\u00e0".encode()),
                         (2, bytes(range(256)) * 1000)):
        wire.send(frame(opcode, data))
        wire.expect(TEXT, tally(opcode, data))
    wire.send(frame(TEXT, b"one \xc3", fin=False) + frame(9, b"ping")
              + frame(0, b"\xa9 two", fin=False) + frame(0, b""))
    wire.expect(10, b"ping")
    wire.expect(TEXT, tally(TEXT, b"one \xc3\xa9 two"))


@pytest.mark.parametrize("data, code", [
    (frame(2, bytes(300001)), 1009),
    (frame(2, bytes(200000), fin=False) + frame(0, bytes(200000)), 1009),
    (frame(TEXT, b"good \xff"), 1007),
    (frame(TEXT, b"cut \xc3"), 1007),
    (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
], ids=["large", "large together", "not UTF-8", "cut character", "begun twice"])
def test_message_in_parts_that_is_wrong(httpd_factory, connect, parts_library,
                                        data, code):
    server = httpd_factory(config=parts_location(parts_library))
    wire = connect(server, "/ws/parts")
    wire.send(data)
    wire.expect_close(code)


# --- topics ---

TOPICS = r"""
#include <mod_websocket.h>
#include <stdio.h>
#include <string.h>

/* "+TOPIC", "-TOPIC", "?TOPIC", "!TOPIC" (publishes "news"). */
static void message(websocket_t *ws, int type, const void *data, size_t length)
{
    websocket_context_t *context = websocket_context(ws);
    char topic[100] = "";
    char answer[40];
    long long result = 0;

    memcpy(topic, data, length < sizeof(topic) ? length : sizeof(topic) - 1);
    switch (topic[0]) {
    case '+':
        result = websocket_subscribe(ws, topic + 1);
        break;
    case '-':
        result = websocket_unsubscribe(ws, topic + 1);
        break;
    case '?':
        result = websocket_subscribers(context, topic + 1);
        break;
    case '!':
        result = websocket_context_publish(context, topic + 1, WEBSOCKET_TEXT,
                                           "news", 4);
        break;
    default:
        websocket_send(ws, type, data, length);
        return;
    }
    snprintf(answer, sizeof(answer), "%c%lld", topic[0], result);
    websocket_send(ws, WEBSOCKET_TEXT, answer, strlen(answer));
}

const websocket_handler_t websocket_handler = {
    .abi = WEBSOCKET_ABI, .size = sizeof(websocket_handler_t),
    .name = "topics", .message = message,
};
"""


def say(wire, text, answer):
    wire.send(frame(TEXT, text))
    wire.expect(TEXT, answer)


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_topics_are_left_and_counted(httpd_factory, connect, tmp_path, mpm):
    library = build(tmp_path, TOPICS)
    server = httpd_factory(mpm=mpm, config=f"""
        <Location "/ws/topics">
            WebSocketHandler {library}
        </Location>
        <Location "/ws/others">
            WebSocketHandler {library}
        </Location>""")
    wires = [connect(server, "/ws/topics") for _ in range(8)]
    other = connect(server, "/ws/others")
    say(other, "+a", "+0")
    for number, wire in enumerate(wires):
        say(wire, "?a", f"?{number}")
        say(wire, "+a", "+0")
        say(wire, "+a", "+0")
    say(wires[0], "?a", "?8")
    say(other, "?a", "?1")
    say(wires[0], "-a", "-0")
    say(wires[0], "-a", "--1")
    say(wires[0], "-b", "--1")
    say(wires[0], "?a", "?7")
    wires[0].send(frame(TEXT, "!a"))
    wires[0].expect(TEXT, "!0")
    for wire in wires[1:]:
        wire.expect(TEXT, "news")
    wires[0].echo(b"no news")
    other.echo(b"no news")
    say(wires[0], "+a", "+0")
    say(wires[1], "!a", "!0")
    for wire in wires:
        wire.expect(TEXT, "news")
    # whoever dies, and whoever moves, is counted right
    wires.pop().reset()
    wait_until(lambda: count(wires[0]) == 7, "one has gone")
    server.restart()
    wires.append(connect(server, "/ws/topics"))
    say(wires[-1], "+a", "+0")
    wait_until(lambda: count(wires[-1]) == 8, "those of before, and a new one")

    def only_one_is_left():         # a keeper may just have begun
        for keeper in server.keepers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(keeper, signal.SIGKILL)
        return count(wires[-1]) == 1
    wait_until(only_one_is_left, "the others have died")


def count(wire):
    wire.send(frame(TEXT, "?a"))
    opcode, data, _ = wire.read_frame()
    assert opcode == TEXT
    return int(data[1:])
