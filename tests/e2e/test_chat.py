"""The chat handler: its messages, its rooms, and rooms over children."""
import functools
import json
import re
import uuid

import pytest

from httpd import HANDLERS, wait_until
from wire import BINARY, CLOSE, TEXT, frame

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Member:
    def __init__(self, wire):
        self.wire = wire
        welcome = self.read()
        assert welcome == {"type": "welcome",
                           "message": "Welcome to the chat",
                           "clientId": welcome["clientId"]}
        self.id = welcome["clientId"]

    def say(self, **message):
        self.wire.send(frame(TEXT, json.dumps(message)))

    def read(self):
        opcode, data, fin = self.wire.read_frame()
        assert (opcode, fin) == (TEXT, True), data
        return json.loads(data)

    def expect(self, **message):
        got = self.read()
        if "timestamp" in got:
            assert TIME.fullmatch(got.pop("timestamp"))
        assert got == message

    def expect_joined(self, other):
        self.expect(type="user_joined", clientId=other.id,
                    message=f"Client {other.id} joined the chat")

    def expect_left(self, other):
        self.expect(type="user_left", clientId=other.id,
                    message=f"Client {other.id} left the chat")

    def expect_nothing(self):
        """An answer to a ping comes before anything else."""
        self.say(type="ping")
        self.expect(type="pong")

    def expect_error(self, part):
        error = self.read()
        assert error["type"] == "error" and part in error["message"], error


@pytest.fixture
def join(connect):
    """Joins a room that no other test has had, as members of one that has
    just ended may still be leaving; or, for a server of the test's own, the
    very room."""
    mark = uuid.uuid4().hex[:8]

    def make(server, room, query="", own=False, **options):
        room = room if own else f"{room}-{mark}"
        path = f"/ws/chat/{room}{query}" if room else f"/ws/chat{query}"
        wire = connect(server, path, **options)
        assert wire.response.status == 101
        return Member(wire)
    return make


def pair(join, server, room):
    ann = join(server, room)
    bob = join(server, room)
    ann.expect_joined(bob)
    return ann, bob


def test_two_members(join, mpm_server):
    ann, bob = pair(join, mpm_server, "two")
    assert ann.id != bob.id
    ann.say(type="chat", message="Xin chào 😀", username="Ann")
    bob.expect(type="chat", clientId=ann.id, message="Xin chào 😀",
               username="Ann")
    bob.say(type="typing", isTyping=True, username="Bob")
    ann.expect(type="typing", clientId=bob.id, username="Bob", isTyping=True)
    bob.say(type="typing", isTyping=False)
    ann.expect(type="typing", clientId=bob.id, isTyping=False,
               username=f"Client {bob.id}")
    bob.say(type="chat", message="line\nbreak")
    ann.expect(type="chat", clientId=bob.id, message="line\nbreak",
               username=f"Client {bob.id}")
    ann.expect_nothing()            # nobody reads himself
    bob.expect_nothing()
    bob.wire.send(frame(CLOSE, b"\x03\xe8"))
    ann.expect_left(bob)


def test_a_member_that_vanishes_leaves(join, server):
    ann, bob = pair(join, server, "vanish")
    bob.wire.close_socket()
    ann.expect_left(bob)


def test_ping_is_answered_to_the_sender_only(join, server):
    ann, bob = pair(join, server, "ping")
    ann.say(type="ping", timestamp="2026-01-01T00:00:00.000Z")
    ann.expect(type="pong")
    bob.expect_nothing()


def test_rooms_are_apart(join, server):
    ann = join(server, "here")
    bob = join(server, "there")
    bob.say(type="chat", message="hello?")
    bob.expect_nothing()
    ann.expect_nothing()


def test_room_by_path_query_and_default(join, httpd_factory, tls):
    server = httpd_factory(tls=tls)
    join = functools.partial(join, own=True)
    ann = join(server, "lobby")
    bob = join(server, "", "?room=lobby")
    ann.expect_joined(bob)
    cid = join(server, "", "?x=1&room=l%6Fbby")
    ann.expect_joined(cid)
    dan = join(server, "")
    ann.expect_joined(dan)
    eve = join(server, "other", "?room=lobby")      # the path counts
    eve.expect_nothing()
    ann.expect_nothing()


@pytest.mark.parametrize("path", [
    "/ws/chat/a%20b", "/ws/chat/a/b", "/ws/chat/" + "x" * 65, "/ws/chat?room=",
    "/ws/chat?room=%zz", "/ws/chat/%3Cscript%3E", "/ws/chat/caf%C3%A9"])
def test_bad_rooms_get_400(connect, server, path):
    before = server.log().count("by handler chat: a room's name")
    wire = connect(server, path)
    if path == "/ws/chat?room=%zz":     # wrongly encoded: as if not given
        assert wire.response.status == 101
        return
    assert wire.response.status == 400
    server.wait_for_log("refused with 400: by handler chat: a room's name",
                        before + 1)


@pytest.mark.parametrize("text, part", [
    ("{", "not JSON"),
    ("", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('{"type":"chat","type":"chat"}', "not JSON"),
    ("[]", '"type"'),
    ("{}", '"type"'),
    ('{"type":1}', '"type"'),
    ('{"type":"shout"}', 'unknown "type"'),
    ('{"type":"chat"}', '"message"'),
    ('{"type":"chat","message":1}', '"message"'),
    ('{"type":"chat","message":" \\n"}', '"message"'),
    ('{"type":"chat","message":"a","username":1}', '"username"'),
    ('{"type":"typing"}', '"isTyping"'),
    ('{"type":"typing","isTyping":"yes"}', '"isTyping"'),
    ('{"type":"chat","message":"\\u0000"}', "not JSON"),
    ('{"type":"chat","message":"\\ud800"}', "not JSON"),
], ids=lambda value: value[:30])
def test_bad_messages_get_an_error(join, server, text, part):
    ann, bob = pair(join, server, "errors")
    ann.wire.send(frame(TEXT, text))
    ann.expect_error(part)
    ann.expect_nothing()            # still connected
    bob.expect_nothing()


def test_binary_gets_an_error(join, server):
    ann = join(server, "binary")
    ann.wire.send(frame(BINARY, b"{}"))
    ann.expect_error("binary")


def test_limits_count_characters(join, server):
    ann, bob = pair(join, server, "limits")
    name, message = "ế" * 40, "😀" * 2000
    ann.say(type="chat", message=message, username=name)
    bob.expect(type="chat", clientId=ann.id, message=message, username=name)
    ann.say(type="chat", message=message + "a", username=name)
    ann.expect_error('"message" is longer than 2000 characters')
    ann.say(type="chat", message="a", username=name + "a")
    ann.expect_error('"username" is longer than 40 characters')
    bob.expect_nothing()


def test_parameters(join, httpd_factory, tls):
    server = httpd_factory(tls=tls, config=f"""
        <Location "/ws/chat">
            WebSocketHandler {HANDLERS}/websocket_chat.so room=den \
                name-length=3 message-length=5
        </Location>""")
    ann = join(server, "", own=True)
    bob = join(server, "den", own=True)
    ann.expect_joined(bob)
    ann.say(type="chat", message="12345", username="Ann")
    bob.expect(type="chat", clientId=ann.id, message="12345", username="Ann")
    ann.say(type="chat", message="123456")
    ann.expect_error("longer than 5")
    ann.say(type="chat", message="1", username="Anna")
    ann.expect_error("longer than 3")


def test_two_locations_are_two_chats(join, connect, httpd_factory):
    server = httpd_factory(config=f"""
        <Location "/ws/second">
            WebSocketHandler {HANDLERS}/websocket_chat.so
        </Location>""")
    ann = join(server, "lobby", own=True)
    bob = Member(connect(server, "/ws/second/lobby"))
    bob.say(type="chat", message="hello?")
    bob.expect_nothing()
    ann.expect_nothing()



def test_a_room_spans_children(join, mpm_server):
    """New members until they live in two children; then all hear all."""
    before = mpm_server.log().count("chat: open")
    members = []

    def lives_in():
        lines = re.findall(r"\[pid (\d+)[^\n]*chat: open", mpm_server.log())
        return lines[before:]

    while len(members) < 60:
        member = join(mpm_server, "across")
        for other in members:
            other.expect_joined(member)
        members.append(member)
        wait_until(lambda: len(lives_in()) == len(members), "log lines")
        if len(set(lives_in())) > 1 and len(members) > 4:
            break
    assert len(set(lives_in())) > 1, "all connections in one child"
    for speaker in members:
        speaker.say(type="chat", message=f"I am {speaker.id}", username="x")
        for listener in members:
            if listener is not speaker:
                listener.expect(type="chat", clientId=speaker.id, username="x",
                                message=f"I am {speaker.id}")


def test_everybody_hears_the_same_order(join, mpm_server):
    members = [pair(join, mpm_server, "order")[0] for _ in range(1)]
    # join six more; each member drops what it hears until all are there
    members += [join(mpm_server, "order") for _ in range(6)]
    for i in range(50):
        for member in members:
            member.say(type="chat", message=f"{member.id}-{i}")
    heard = []
    for member in members:
        texts = []
        while len(texts) < 50 * (len(members) - 1):
            got = member.read()
            if got["type"] == "chat":
                texts.append(got["message"])
        heard.append((member.id, texts))
    for id_a, a in heard:
        for id_b, b in heard:
            common = [t for t in a if not t.startswith(id_b)]
            assert common == [t for t in b if not t.startswith(id_a)]


def test_threads_of_a_child_share_rooms(join, httpd_factory):
    server = httpd_factory(server_config="WebSocketThreads 3")
    members = []
    for _ in range(12):
        member = join(server, "threads")
        for other in members:
            other.expect_joined(member)
        members.append(member)
    members[0].say(type="chat", message="all", username="x")
    for member in members[1:]:
        member.expect(type="chat", clientId=members[0].id, message="all",
                      username="x")


def test_subscriber_that_does_not_read_is_closed_with_1013(
        join, connect, httpd_factory, tls):
    server = httpd_factory(tls=tls, config="""
        <Location "/ws/chat">
            WebSocketSendQueue 64K
        </Location>""")
    slow = join(server, "slow", receive_buffer=4096)
    ann = join(server, "slow")
    bob = join(server, "slow")
    ann.expect_joined(bob)
    text = "x" * 2000

    def closed():
        """Bob hears everything, until he hears that the slow one has left."""
        for _ in range(50):
            ann.say(type="chat", message=text)
            got = bob.read()
            if got["type"] == "user_left":
                assert got["clientId"] == slow.id
                return True
            assert got["message"] == text
        return False

    wait_until(closed, "the slow subscriber is closed")
    server.wait_for_log("chat: closing with 1013: send queue is full")
    # what it had got is whole, and then comes the Close
    while True:
        opcode, data, _ = slow.wire.read_frame()
        if opcode == CLOSE:
            assert data[:2] == (1013).to_bytes(2, "big")
            break
        assert opcode == TEXT
        json.loads(data)


def test_a_message_too_large_for_the_log_is_an_error_line(join,
                                                          httpd_factory):
    server = httpd_factory(
        server_config="WebSocketLogSize 64K",
        config=f"""
        <Location "/ws/chat">
            WebSocketHandler {HANDLERS}/websocket_chat.so message-length=100000
        </Location>""")
    ann = join(server, "large")
    bob = join(server, "large")
    ann.expect_joined(bob)
    ann.say(type="chat", message="x" * 60_000)
    server.wait_for_log("chat: a message could not be delivered")
    ann.say(type="chat", message="x" * 20_000, username="x")
    bob.expect(type="chat", clientId=ann.id, message="x" * 20_000,
               username="x")
