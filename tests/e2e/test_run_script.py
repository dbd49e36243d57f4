"""websocket-run plays scripts."""
import re
import shutil
import subprocess
import time

import pytest

from httpd import SANITIZED, SOURCE
from runner import CHAT, ECHO, PROGRAM, build_probe, play, run

SCRIPTS = SOURCE / "tests" / "run"
DESCRIBED = ("path={path} uri={uri} q={q} user={user} by={by} env={env} "
             "cookie={cookie} client=127.0.0.1 tls=- expr=- httpd=0")


def described(**values):
    nothing = dict.fromkeys(["q", "user", "by", "env", "cookie"], "-")
    return DESCRIBED.format(**{**nothing, **values})


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return build_probe(tmp_path_factory.mktemp("probe"))


def lines(*wanted):
    return "".join(line + "\n" for line in wanted)


# --- the scripts of tests/run ---

def test_echo_script_and_its_transcript():
    result = run(ECHO, "--script", SCRIPTS / "echo.ws")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (SCRIPTS / "echo.out").read_text()


@pytest.mark.parametrize("threads", [1, 4])
def test_chat_script(threads):
    result = run(CHAT, "--script", SCRIPTS / "chat.ws", "--threads", threads)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(SANITIZED, reason="valgrind does not run sanitized code")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
@pytest.mark.parametrize("handler, script", [(ECHO, "echo"), (CHAT, "chat")])
def test_script_under_valgrind(handler, script):
    result = subprocess.run(
        ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
         PROGRAM, handler, "--script", SCRIPTS / f"{script}.ws", "--timeout",
         "100"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "==" not in result.stderr


@pytest.mark.skipif(SANITIZED, reason="valgrind does not run sanitized code")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_valgrind_names_what_has_leaked(probe):
    result = subprocess.run(
        ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
         PROGRAM, probe, "--script", "-", "--timeout", "100"],
        input="open /\nsend text leak\n", capture_output=True, text=True)
    assert result.returncode == 9
    assert "probe_message (run_probe.c:" in result.stderr


@pytest.mark.skipif(not SANITIZED, reason="for the sanitizer")
def test_sanitizer_names_what_has_leaked(probe):
    result = play(probe, "open /\nsend text leak\n")
    assert result.returncode != 0
    assert re.search(r"probe_message .*run_probe.c:", result.stderr)


# --- what is printed, and when ---

def test_answers_stand_behind_what_asked_for_them(probe):
    result = play(probe, lines(
        "open a /", "open b /", "send a text one", "send b binary 0a0b",
        "drop a", "send b text close"))
    assert result.returncode == 0, result.stderr
    assert result.stdout == lines(
        "> a open /", "< a accepted", "> b open /", "< b accepted",
        "> a text one", "< a text one", "< b text one",
        "> b binary 0a0b", "< a binary 0a0b", "< b binary 0a0b",
        "> a drop", "< a close 1006", "< b text left: 1006 ",
        "> b text close", "< b close 4001 as you wish")


@pytest.mark.parametrize("threads, times", [(1, 5), (4, 40)])
def test_transcript_is_the_same_each_time(probe, threads, times):
    script = lines(*(f"open c{i} /" for i in range(20)),
                   *(f"send c{i} text from {i}" for i in range(20)),
                   *(f"send c{i} text close" for i in range(5)),
                   *(f"drop c{i}" for i in range(5, 10)),
                   *(f"close c{i} 1000 bye {i}" for i in range(10, 15)))
    expected = []
    for i in range(20):
        expected += [f"> c{i} open /", f"< c{i} accepted"]
    for i in range(20):
        expected += [f"> c{i} text from {i}"]
        expected += [f"< c{k} text from {i}" for k in range(20)]
    for i in range(20):
        out, back, left = f"> c{i} close 1000", f"< c{i} close 1000", "1000 "
        if i < 5:
            out, back = f"> c{i} text close", f"< c{i} close 4001 as you wish"
            left = "4001 as you wish"
        elif i < 10:
            out, back, left = f"> c{i} drop", f"< c{i} close 1006", "1006 "
        elif i < 15:
            out, back = out + f" bye {i}", back + f" bye {i}"
            left += f"bye {i}"
        expected += [out, back]
        expected += [f"< c{k} text left: {left}" for k in range(i + 1, 20)]
    for _ in range(times):
        result = play(probe, script, "--threads", threads)
        assert result.returncode == 0, result.stderr
        assert result.stdout.splitlines() == expected


def test_what_is_open_is_closed_in_order(probe):
    result = play(probe, "open b /\nopen a /\n")
    assert result.stdout == lines(
        "> b open /", "< b accepted", "> a open /", "< a accepted",
        "> b close 1000", "< b close 1000", "< a text left: 1000 ",
        "> a close 1000", "< a close 1000")
    notices = re.findall("notice: (.*)", result.stderr)
    assert notices == ["child_init", "[client 127.0.0.1] probe: left: 1000 ",
                       "[client 127.0.0.1] probe: left: 1000 ", "child_exit"]


def test_lines_are_played_as_they_come(probe):
    with subprocess.Popen([PROGRAM, probe, "--script", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        for line, answers in [("open /", ["> open /", "< accepted"]),
                              ("send text a", ["> text a", "< text a"])]:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            for answer in answers:
                assert process.stdout.readline() == answer + "\n"
        process.stdin.close()
        assert process.stdout.read() == "> close 1000\n< close 1000\n"
    assert process.returncode == 0


def test_blank_lines_comments_and_line_ends(probe):
    result = play(probe, "\n  # open /no\r\n\topen /\r\n  send text  a \r\n"
                         "expect text  a \nsend text last line")
    assert result.returncode == 0, result.stderr
    assert "\n< text  a \n" in result.stdout
    assert "\n< text last line\n" in result.stdout


@pytest.mark.parametrize("length", [125, 126, 65535, 65536, 900_000])
def test_length_of_messages(length):
    text = "ab" * (length // 2) + "c" * (length % 2)
    result = play(ECHO, f"open /\nsend text {text}\nexpect text {text}\n")
    assert result.returncode == 0, result.stderr
    assert f"\n< text {text}\n" in result.stdout


def test_many_large_messages_go_both_ways():
    text = "x" * 900_000
    result = play(ECHO, "open /\n" + f"send text {text}\n" * 10
                  + f"expect text {text}\n" * 10 + "expect nothing\n")
    assert result.returncode == 0, result.stderr[:1000]


def test_max_message():
    result = play(ECHO, "open /\nsend text 12345\nsend text 123456\n",
                  "--max-message", "5")
    assert "\n< text 12345\n> text 123456\n< close 1009" in result.stdout


# --- what the handler is told of a request ---

def test_request(probe):
    result = play(probe, lines(
        "header Cookie: a=b; c=d", "open /a%2cb/c?x=1&q=%C3%A0+b",
        "send text describe"))
    assert "\n< text " + described(
        path="/a,b/c", uri="/a,b/c", q="à b", cookie="a=b; c=d"
        ) + "\n" in result.stdout


def test_header_is_for_one_request(probe):
    result = play(probe, lines("header Cookie: a", "open /", "close", "open /",
                               "send text describe"))
    assert described(path="/", uri="/") in result.stdout


def test_user_and_environment(probe):
    result = play(probe, lines(
        "open a /", "user Bob Smith", "env TENANT=two", "open b /", "user",
        "open c /", "send a text describe", "send b text describe",
        "send c text describe"), "--user", "alice", "--env", "TENANT=one")
    assert f"< a text {described(path='/', uri='/', user='alice', by='Basic', env='one')}\n" in result.stdout
    assert f"< b text {described(path='/', uri='/', user='Bob Smith', by='Basic', env='two')}\n" in result.stdout
    assert f"< c text {described(path='/', uri='/', env='two')}\n" in result.stdout


@pytest.mark.parametrize("prefix, path, below", [
    ("/", "/", "/"), ("/", "/a/b", "/a/b"), ("/ws/chat", "/ws/chat", ""),
    ("/ws/chat", "/ws/chat/", "/"), ("/ws/chat/", "/ws/chat/a", "/a"),
    ("/ws/chat", "/ws/chatter", None), ("/ws/chat", "/ws", None),
    ("/ws/chat", "/WS/chat", None)])
def test_location(probe, prefix, path, below):
    result = play(probe, f"open {path}\n" + (
        "expect refused 404" if below is None else "send text describe"),
        "--path", prefix)
    assert result.returncode == 0, result.stderr
    if below is not None:
        assert described(path=below, uri=path) in result.stdout


@pytest.mark.parametrize("path", [
    "/a//b", "//a", "/a/./b", "/a/../b", "/a/..", "/.", "/%2e%2e/a", "/a%2fb",
    "/a%00b", "/a%zzb", "/a%", "/a%4", "/a#b", "/\u00e0"])
def test_path_that_is_refused(probe, path):
    result = play(probe, f"open {path}\nexpect refused 400\n")
    assert result.returncode == 0, result.stderr


# --- the opening handshake ---

def test_answer(probe):
    result = play(probe, lines(
        "header Sec-WebSocket-Protocol: other, probe", "open /",
        "expect header X-Probe: one", "expect header x-probe:two",
        "expect header Sec-WebSocket-Protocol: probe",
        "expect header Upgrade: websocket",
        "send text protocol", "expect text probe"))
    assert result.returncode == 0, result.stderr
    assert "\n< accepted probe\n" in result.stdout


def test_refusal(probe):
    result = play(probe, lines(
        "open /?status=429", "expect header X-Probe: one",
        "expect refused 429", "open /", "send text a", "expect text a"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(
        "> open /?status=429\n< refused 429\n> open /\n< accepted\n")
    assert ("info: [client 127.0.0.1] refused with 429: by handler probe: "
            "asked to\n") in result.stderr


def test_status_that_is_no_refusal(probe):
    result = play(probe, "open /?status=200\nexpect refused 500\n")
    assert result.returncode == 0, result.stderr
    assert "answered with 200, which is no status of a refusal" in result.stderr


@pytest.mark.parametrize("headers, answer", [
    (["Origin: http://localhost"], "accepted"),
    (["Origin: https://localhost"], "accepted"),
    (["Origin: http://localhost:81"], "refused 403"),
    (["Origin: null"], "refused 403"),
    (["Host: example.org", "Origin: http://example.org"], "accepted"),
    (["Host: example.org", "Origin: http://localhost"], "refused 403"),
    (["Origin: http://localhost", "Host: example.org"], "refused 403"),
    (["Host: a", "Host: a"], "refused 400"),
    (["Sec-WebSocket-Protocol: a b"], "refused 400")])
def test_origin_and_other_headers(probe, headers, answer):
    result = play(probe, lines(*(f"header {h}" for h in headers), "open /"))
    assert f"> open /\n< {answer}\n" in result.stdout


# --- what takes its time ---

def test_timer_is_waited_for(probe):
    result = play(probe, "open /\nsend text later\nexpect text tick\n")
    assert result.returncode == 0, result.stderr


def test_wait_prints_what_comes(probe):
    with subprocess.Popen([PROGRAM, probe, "--script", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as process:
        process.stdin.write("open /\nsend text later\nwait 10h\n")
        process.stdin.flush()
        while process.stdout.readline() != "< text tick\n":
            pass
        process.kill()


def test_wait_ends():
    began = time.monotonic()
    result = play(ECHO, "open /\nwait 300ms\nsend text a\n")
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began >= 0.3


def test_offloaded_work_is_waited_for(probe):
    result = play(probe, "open /\nsend text offload\nexpect text offloaded\n")
    assert result.returncode == 0, result.stderr


def test_handler_that_pauses(probe):
    result = play(probe, lines(
        "open a /", "open b /", "send a text pause", "send b text hello",
        "expect a text hello", "expect b text hello", "close a"),
        "--timeout", "2s")
    assert result.returncode == 1
    assert result.stderr.count("nothing is read from a: the handler pauses, "
                               "or blocks\n") == 1
    assert "-:7: a: the connection does not end\n" in result.stderr


def test_accept_that_takes_its_time(probe):
    result = play(probe, "open /?sleep=300\n")
    assert result.returncode == 0, result.stderr
    result = play(probe, "open a /?sleep=3000\n", "--timeout", "50ms")
    assert result.returncode == 1
    assert result.stderr.endswith(
        "-:1: a: the handler's accept does not return\n"
        "notice: child_exit\n")


def test_accept_that_does_not_return(probe):
    result = play(probe, "open /?sleep=600000\n", "--timeout", "50ms")
    assert result.returncode == 1
    assert ("websocket-run: the handler's accept does not end; ending without "
            "it\n") in result.stderr


def test_callback_that_does_not_return(probe):
    result = play(probe, "open /\nsend text block\n", "--timeout", "2s")
    assert result.returncode == 1
    assert 'handler probe is in its callback "message"' in result.stderr
    assert ("websocket-run: the handler's callback does not end; ending "
            "without it\n") in result.stderr


# --- what is not as expected: status 1 ---

@pytest.mark.parametrize("script, error", [
    ("open /\nsend text a\nexpect text b",
     "-:3: expected text b, got text a"),
    ("open /\nsend text a\n\nexpect binary 61",
     "-:4: expected binary 61, got text a"),
    ("open bob /\nexpect bob text b",
     "-:2: bob: expected text b, and nothing came within 2000 ms"),
    ("open /\nsend text a\nexpect nothing",
     "-:3: expected nothing, got text a"),
    ("open /\nsend text abc\nexpect like *b",
     "-:3: expected like *b, got text abc"),
    ("open /\nsend binary 6162\nexpect like *",
     "-:3: expected like *, got binary 6162"),
    ("open /\nsend text close\nexpect close 4002",
     "-:3: expected close 4002, got close 4001 as you wish"),
    ("open /\nsend text close\nexpect close 400",
     "-:3: expected close 400, got close 4001 as you wish"),
    ("open /\nsend text close\nexpect close 4001 as",
     "-:3: expected close 4001 as, got close 4001 as you wish"),
    ("open /\nsend text close\nexpect close 4001 as you wish?",
     "-:3: expected close 4001 as you wish?, got close 4001 as you wish"),
    ("open /\nsend text close\nsend text a", "-:3: the connection is closed"),
    ("open /\nclose\nclose", "-:3: the connection is closed"),
    ("open /?status=403\nexpect refused 404",
     "-:2: expected refused 404, got refused 403"),
    ("open /?status=403\nsend text a", "-:2: the connection was refused"),
    ("open /\nexpect refused 403",
     "-:2: expected refused 403, and nothing came within 2000 ms"),
    ("open /\nexpect header X-Probe: three",
     '-:2: the answer has no header "X-Probe: three"'),
    ("open /\nsend frame 83 80 00000000\nexpect text a",
     "-:3: expected text a, got close 1002 "),
])
def test_expectation_that_is_not_met(probe, script, error):
    limit = ["--timeout", "2s"] if "2000 ms" in error else []
    result = play(probe, script + "\nsend text unreachable\n", *limit)
    assert result.returncode == 1
    assert error in result.stderr
    assert "unreachable" not in result.stdout + result.stderr


@pytest.mark.parametrize("expectation", [
    "close", "close 4001", "close 4001 as you wish"])
def test_close_that_is_met(probe, expectation):
    result = play(probe, f"open /\nsend text close\nexpect {expectation}\n")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("text, pattern, is_like", [
    ("", "*", True), ("", "**", True), ("abc", "abc", True),
    ("abc", "ab", False), ("abc", "abcd", False), ("abc", "*c", True),
    ("abc", "a*", True), ("abc", "*b*", True), ("abc", "a*b", False),
    ("aXbXc", "a*X*c", True), ("aab", "a*ab", True), ("abab", "*ab", True),
    ("abcbd", "a*bd", True), ("a", "", False), ("", "", True),
    ("[?]", "[?]", True), ("a", "?", False)])
def test_like(text, pattern, is_like):
    result = play(ECHO, f"open /\nsend text {text}\nexpect like {pattern}\n")
    assert result.returncode == (0 if is_like else 1), result.stderr


def test_long_messages_are_cut_in_errors():
    result = play(ECHO, f"open /\nsend text {'a' * 5000}\nexpect text b\n")
    assert result.returncode == 1
    assert f"got text {'a' * 995}...\n" in result.stderr


# --- scripts that are wrong: status 2 ---

@pytest.mark.parametrize("line, error", [
    ("sendtext a", 'unknown command "sendtext"; there are open, send,'),
    ("open", "write: open [NAME] /PATH"), ("open x", "write: open"),
    ("open 1 /", "write: open"), ("open text /", "write: open"),
    ("open /a b", "write: open"), ("open a b /", "write: open"),
    (f"open {'a' * 65} /", "write: open"),
    ("open is /", "is: the connection is open already"),
    ("send a text b", "a: there is no such connection; write: open"),
    ("send text b", "there is no such connection; write: open"),
    ("expect text b", "there is no such connection"),
    ("send is txt b", "a message is text, escaped or binary"),
    ("send is", "a message is text, escaped or binary"),
    ("send is binary 0", "no hexadecimal bytes"),
    ("send is binary 0 0", "no hexadecimal bytes"),
    ("send is frame xx", "no hexadecimal bytes"),
    ("send is escaped \\q", "a backslash is written \\\\"),
    ("send is escaped \\x4", "a backslash is written \\\\"),
    ("send is escaped \\", "a backslash is written \\\\"),
    ("fragment is frame 00", "a message is text, escaped or binary"),
    ("expect is binary zz", "no hexadecimal bytes"),
    ("expect is frame 00", '"frame" cannot be expected; there are text'),
    ("expect is", '"" cannot be expected'),
    ("expect is header X", "write: expect header NAME: VALUE"),
    ("close is x", '"x" is no code of a Close frame'),
    ("close is 70000", '"70000" is no code of a Close frame'),
    (f"close is 1000 {'a' * 124}", "reason has at most 123 bytes"),
    ("wait", "write: wait TIME"), ("wait x", "write: wait TIME"),
    ("header x", "write: header NAME: VALUE"),
    ("header a b: c", "write: header NAME: VALUE"),
    ("header upgrade: x", "the handshake sets upgrade itself"),
    ("header Sec-WebSocket-Extensions: permessage-deflate",
     "the handshake sets Sec-WebSocket-Extensions itself"),
    ("env x", "write: env NAME=VALUE"), ("env =x", "write: env"),
])
def test_line_that_is_wrong(probe, line, error):
    result = play(probe, f"open is /\n\n{line}\nsend is text unreachable\n")
    assert result.returncode == 2, result.stderr
    assert re.search(f"^-:3: .*{re.escape(error)}", result.stderr, re.M)
    assert "unreachable" not in result.stdout


def test_script_that_is_not_there(tmp_path):
    result = run(ECHO, "--script", tmp_path / "none.ws")
    assert result.returncode == 1
    assert result.stderr == (f"websocket-run: script {tmp_path}/none.ws: No "
                             "such file or directory\n")
    assert run(ECHO, "--script", tmp_path).returncode == 1


def test_name_of_the_script_is_told(tmp_path):
    (tmp_path / "x.ws").write_text("open /\nexpect text a\n")
    result = run(ECHO, "--script", tmp_path / "x.ws", "--timeout", "2s")
    assert result.stderr.startswith(f"{tmp_path}/x.ws:2: expected text a, ")


def test_output_that_goes_nowhere():
    with open("/dev/full", "w") as full:
        result = subprocess.run([PROGRAM, ECHO, "--script", "-"],
                                input="open /\n", stdout=full,
                                stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert "websocket-run: standard output: " in result.stderr


def test_pong_of_the_handlers_side(probe):
    result = play(probe, lines(
        "open /", "send frame 89 88 00000000 0102030405060708",
        "expect pong 0102030405060708"))
    assert result.returncode == 0, result.stderr


def test_log_lines_cannot_be_forged(probe):
    result = play(probe, lines("open /", "send frame 8888 00000000 03e8 0a 1b "
                                         "5b 41 42 43", "expect close 1000"))
    assert result.returncode == 0, result.stderr
    assert "probe: left: 1000 ??[ABC\n" in result.stderr
    assert "< close 1000 \\n\\x1b[ABC\n" in result.stdout


def test_only_so_much_waits_to_be_expected():
    size = 900_000
    first = f"open /\nsend text first\nsend text {'x' * size}\n"
    result = play(ECHO, first + "expect text first\n")
    assert result.returncode == 0, result.stderr[:1000]
    result = play(ECHO, first + f"send text {'x' * size}\n" * 80
                  + "expect text first\n")
    assert result.returncode == 1
    assert "expected text first, got text xxx" in result.stderr


def test_frame_that_is_never_ended(probe):
    began = time.monotonic()
    result = play(probe, "open /\nsend frame 81 85 00\n", "--timeout", "60")
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("> frame 818500\n> drop\n< close 1006\n")
    assert time.monotonic() - began < 30
