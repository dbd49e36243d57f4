"""The demo page and the browser's WebSocket API, in a real Chromium.

The page is served by a real httpd (fixture httpd_factory). Screenshots go to
the directory named by WS_SCREENSHOTS.
"""
import os
import pathlib
import shutil

import pytest

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

DRIVER = shutil.which("chromedriver") or "/usr/bin/chromedriver"
LIMIT = 20                  # seconds for a condition; far more than is needed
RECONNECT_LIMIT = 60        # the longest wait of the client, and some more

pytestmark = pytest.mark.skipif(not os.path.exists(DRIVER),
                                reason="chromedriver is not installed")


def chromium_options(profile, language):
    options = webdriver.ChromeOptions()
    for argument in (
            "--headless=new", "--no-sandbox", "--disable-gpu",
            "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--disable-background-timer-throttling",
            "--ignore-certificate-errors", "--window-size=1100,900",
            f"--lang={language}", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.add_experimental_option(
        "prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return options


class Browser:
    """One Chromium with its own profile."""

    def __init__(self, profile, language):
        self.driver = webdriver.Chrome(
            options=chromium_options(profile, language),
            service=Service(DRIVER))
        self.driver.set_script_timeout(RECONNECT_LIMIT)

    def until(self, condition, what, limit=LIMIT):
        return WebDriverWait(self.driver, limit, poll_frequency=0.05).until(
            lambda _: condition(), f"not within {limit} s: {what}")

    def run(self, body, *arguments):
        """Runs the body of an async function, returns what it returns."""
        result = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "(async (...given) => {" + body + "})(...arguments)"
            ".then((value) => done({value}),"
            "      (error) => done({error: String(error)}));", *arguments)
        assert "error" not in result, result["error"]
        return result.get("value")

    def emulate(self, *, width=1100, height=800, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "mobile": width < 600,
            "deviceScaleFactor": 2 if width < 600 else 1})
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {
            "enabled": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme",
                          "value": "dark" if dark else "light"}]})

    def screenshot(self, name):
        directory = pathlib.Path(
            os.environ.get("WS_SCREENSHOTS", "screenshots"))
        directory.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(directory / f"{name}.png"))

    def assert_clean_console(self, *, connections_fail=False):
        """No error and no violation of the policy since the last call."""
        errors = [entry["message"] for entry in self.driver.get_log("browser")
                  if entry["level"] == "SEVERE"]
        if connections_fail:
            errors = [text for text in errors
                      if "WebSocket connection to" not in text]
        assert errors == []


class Chat(Browser):
    """The chat page as somebody at the screen uses it."""

    def open(self, server, query="", *, connected=True):
        self.driver.get(server.url("/" + query))
        if connected:
            self.wait_for_state("open")
        return self

    def find(self, name):
        return self.driver.find_element(By.ID, name)

    def state(self):
        return self.find("state").get_attribute("data-state")

    def wait_for_state(self, state, limit=LIMIT):
        self.until(lambda: self.state() == state, f"state {state}", limit)

    def texts(self, selector):
        """All at once, so that no element can vanish in between."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((node) => node.textContent);", selector)

    def wait_for(self, selector, text, limit=LIMIT):
        self.until(lambda: text in self.texts(selector),
                   f"{text!r} in {selector}", limit)

    def fill(self, name, text):
        """As if pasted; the driver cannot type beyond the BMP."""
        self.driver.execute_script(
            "const field = document.getElementById(arguments[0]);"
            "field.value = arguments[1];"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
            "field.dispatchEvent(new Event('change', {bubbles: true}));",
            name, text)

    def write(self, text):
        self.find("text").send_keys(text)

    def say(self, text):
        self.write(text + Keys.ENTER)

    def statuses(self):
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.status')]"
            ".map((node) => node.dataset.status);")

    def focused(self):
        return self.driver.execute_script("return document.activeElement.id;")

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def chord(self, modifier, key):
        ActionChains(self.driver).key_down(modifier).send_keys(key) \
            .key_up(modifier).perform()


@pytest.fixture
def browsers(tmp_path):
    """Makes browsers: browsers(language='en')."""
    started = []

    def start(language="en"):
        profile = tmp_path / f"profile-{len(started)}"
        started.append(Chat(profile, language))
        return started[-1]

    yield start
    for browser in started:
        browser.driver.quit()


@pytest.fixture(params=[False, True], ids=["ws", "wss"])
def server(request, httpd_factory):
    return httpd_factory(tls=request.param, www=True)


@pytest.fixture
def plain_server(httpd_factory):
    return httpd_factory(tls=False, www=True)


# ---- the chat ----

def test_two_windows_chat_with_one_another(server, browsers):
    an = browsers().open(server)
    an.fill("name", "An")
    binh = browsers().open(server)
    binh.fill("name", "Bình")

    an.until(lambda: any(text.endswith("joined.")
                         for text in an.texts(".what")), "the join")
    assert not any(text.endswith("joined.") for text in binh.texts(".what"))

    binh.write("a")
    an.wait_for("#typing", "Bình is typing…")
    an.screenshot("chat-typing-" + server.ws_url("/").split(":")[0])
    an.wait_for("#typing", "")              # nothing typed for some seconds

    binh.say("nd now")
    an.wait_for(".body", "and now")
    assert an.texts(".message .who") == ["Bình"]
    assert binh.texts(".own .body") == ["and now"]
    assert binh.statuses() == ["sent"]

    an.say("<img src=x onerror=alert(1)>&amp;")
    binh.wait_for(".body", "<img src=x onerror=alert(1)>&amp;")
    assert binh.driver.find_elements(By.CSS_SELECTOR, "#log img") == []
    assert binh.texts(".body") == ["and now",
                                   "<img src=x onerror=alert(1)>&amp;"]

    binh.assert_clean_console()
    binh.driver.get(server.url("/about.html"))
    an.wait_for(".what", "Bình left.")      # also when kept for "back"
    binh.driver.back()
    binh.wait_for_state("open")
    binh.say("back again")
    an.wait_for(".body", "back again")
    an.assert_clean_console()
    binh.assert_clean_console()


def test_typing_ends_when_the_message_comes(plain_server, browsers):
    an = browsers().open(plain_server)
    binh = browsers().open(plain_server)
    binh.fill("name", "Bình")
    binh.write("hello")
    an.wait_for("#typing", "Bình is typing…")
    binh.press(Keys.ENTER)
    an.wait_for(".body", "hello")
    assert an.texts("#typing") == [""]


def test_rooms_are_apart(plain_server, browsers):
    an = browsers().open(plain_server, "?room=tea.room-1")
    binh = browsers().open(plain_server)
    assert binh.find("room").get_attribute("value") == "lobby"
    assert "tea.room-1" in an.texts(".what")[0]
    binh.say("in the lobby")
    binh.find("room").clear()
    binh.find("room").send_keys("tea.room-1" + Keys.ENTER)
    binh.until(lambda: any("tea.room-1" in text
                           for text in binh.texts(".what")), "the new room")
    assert binh.driver.current_url.endswith("?room=tea.room-1")
    binh.say("in the tea room")
    an.wait_for(".body", "in the tea room")
    assert an.texts(".body") == ["in the tea room"]
    binh.driver.back()
    binh.until(lambda: any("lobby" in text for text in binh.texts(".what")),
               "the lobby again")
    an.until(lambda: any(text.endswith("left.")
                         for text in an.texts(".what")), "the leave")
    binh.assert_clean_console()


@pytest.mark.parametrize("room", ["a/b", "ph%C3%B2ng", "..", "a" * 65])
def test_bad_room_is_explained_and_not_asked_for(plain_server, browsers,
                                                 room):
    chat = browsers().open(plain_server, f"?room={room}", connected=False)
    chat.until(lambda: chat.find("room-error").is_displayed(), "the reason")
    assert chat.state() == "closed"
    assert chat.focused() == "room"
    assert chat.find("room").get_attribute("aria-invalid") == "true"
    chat.find("room").clear()
    chat.find("room").send_keys("good" + Keys.ENTER)
    chat.wait_for_state("open")
    assert not chat.find("room-error").is_displayed()
    chat.assert_clean_console()             # so no request was refused


def test_limits_count_characters_and_not_code_units(plain_server, browsers):
    an = browsers().open(plain_server)
    binh = browsers().open(plain_server)
    binh.fill("name", "😀" * 41)
    assert binh.find("name").get_attribute("value") == "😀" * 40

    binh.fill("text", "😀" * 2001)
    binh.press(Keys.TAB)
    binh.find("text").send_keys(Keys.ENTER)
    binh.until(lambda: "2000" in binh.texts("#notice-text")[0], "the notice")
    assert binh.texts(".body") == []
    assert binh.find("text").get_attribute("aria-invalid") == "true"
    assert binh.texts("#count") == ["1 characters too many"]

    binh.fill("text", "😀" * 2000)
    assert not binh.find("notice").is_displayed()
    binh.find("text").send_keys(Keys.ENTER)
    an.wait_for(".body", "😀" * 2000)
    assert an.texts(".who") == ["😀" * 40]


def test_error_of_the_server_is_shown(plain_server, browsers):
    chat = browsers().open(plain_server)
    chat.driver.execute_script(
        "const send = WebSocket.prototype.send;"
        "WebSocket.prototype.send = function (data) {"
        "    WebSocket.prototype.send = send;"
        "    send.call(this, '{ not JSON');"
        "};")
    chat.say("hello")
    chat.until(lambda: chat.find("notice").is_displayed(), "the notice")
    assert "The server reports a problem:" in chat.texts("#notice-text")[0]
    assert chat.state() == "open"
    chat.find("dismiss").click()
    assert not chat.find("notice").is_displayed()
    assert chat.focused() == "text"


def test_name_is_remembered(plain_server, browsers):
    chat = browsers().open(plain_server)
    chat.find("name").send_keys("Mai", Keys.TAB)
    chat.open(plain_server)
    assert chat.find("name").get_attribute("value") == "Mai"


def test_message_list_is_bounded(plain_server, browsers):
    chat = browsers()
    chat.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {
        "source": FAKE_SOCKET + "globalThis.WebSocket = FakeSocket;"})
    chat.open(plain_server, connected=False)
    chat.until(lambda: chat.driver.execute_script(
        "return FakeSocket.all.length === 1;"), "the connection")
    chat.driver.execute_script(
        "const [socket] = FakeSocket.all; socket.accept();"
        "for (let n = 0; n < 700; n++) {"
        "    socket.receive(JSON.stringify({type: 'chat', clientId: n,"
        "        message: String(n), timestamp: 'no time'}));"
        "}")
    assert len(chat.texts("#messages li")) == 500
    assert chat.texts(".body")[-1] == "699"
    chat.assert_clean_console()


# ---- gone and back ----

def test_server_killed_and_restarted(server, browsers):
    writer = browsers().open(server)
    reader = browsers().open(server)
    writer.say("before")
    reader.wait_for(".body", "before")

    server.kill()
    writer.until(lambda: writer.state() in ("waiting", "connecting"),
                 "offline")
    reader.until(lambda: reader.state() in ("waiting", "connecting"),
                 "offline")
    writer.say("written offline")
    writer.write("half a mess")
    assert writer.statuses() == ["sent", "queued"]
    assert "kept and sent" in writer.texts("#hint")[0]
    writer.wait_for_state("waiting")
    writer.screenshot("chat-offline")

    # The reader must be back first, or it misses what it is to read.
    def writer_waits_long():
        words = writer.texts("#countdown")[0].split()
        return len(words) == 5 and int(words[3]) >= 4

    writer.until(writer_waits_long, "a long wait", RECONNECT_LIMIT)
    server.start()
    reader.driver.execute_script(
        "document.getElementById('connect').click();")
    reader.wait_for_state("open", RECONNECT_LIMIT)

    writer.wait_for_state("open", RECONNECT_LIMIT)
    reader.wait_for(".body", "written offline")
    assert writer.statuses() == ["sent", "sent"]
    assert writer.find("text").get_attribute("value") == "half a mess"
    writer.write("age" + Keys.ENTER)
    reader.wait_for(".body", "half a message")
    assert reader.texts(".body") == ["before", "written offline",
                                     "half a message"]
    writer.assert_clean_console(connections_fail=True)
    reader.assert_clean_console(connections_fail=True)


def test_server_stopped_and_started(plain_server, browsers):
    chat = browsers().open(plain_server)
    plain_server.stop()
    chat.until(lambda: chat.state() in ("waiting", "connecting"), "offline")
    chat.say("kept")
    assert chat.statuses() == ["queued"]
    plain_server.start()
    chat.wait_for_state("open", RECONNECT_LIMIT)
    chat.until(lambda: chat.statuses() == ["sent"], "sent")
    chat.assert_clean_console(connections_fail=True)


# ---- language, keyboard, layout, policy ----

def test_vietnamese_by_language(plain_server, browsers):
    chat = browsers(language="vi").open(plain_server)
    html = chat.driver.find_element(By.TAG_NAME, "html")
    assert html.get_attribute("lang") == "vi"
    assert chat.texts("#state-text") == ["Đã kết nối"]
    assert chat.texts("#composer button") == ["Gửi"]
    assert "Bạn đang ở phòng “lobby”" in chat.texts(".what")[0]
    assert chat.find("about").get_attribute("href").endswith("about.html#vi")
    chat.say("Tiếng Việt có dấu: ữ ợ ằ ỵ")
    assert chat.texts(".own .body") == ["Tiếng Việt có dấu: ữ ợ ằ ỵ"]
    chat.open(plain_server, "?lang=en")
    assert chat.texts("#state-text") == ["Connected"]
    chat.assert_clean_console()


def test_other_languages_get_english_unless_asked(plain_server, browsers):
    chat = browsers(language="fr").open(plain_server)
    html = "return document.documentElement.lang;"
    assert chat.driver.execute_script(html) == "en"
    chat.open(plain_server, "?lang=vi")
    assert chat.driver.execute_script(html) == "vi"
    chat.open(plain_server, "?lang=constructor")
    assert chat.driver.execute_script(html) == "en"


def test_both_languages_have_every_text(plain_server, browsers):
    chat = browsers().open(plain_server)
    en, vi = chat.run(
        "const { strings } = await import('/strings.js');"
        "const gaps = (text) => typeof text === 'function' ? text.length : 0;"
        "return [strings.en, strings.vi].map((texts) =>"
        "    Object.keys(texts).map((key) => [key, gaps(texts[key])]));")
    assert en == vi


def test_keyboard_alone_is_enough(plain_server, browsers):
    other = browsers().open(plain_server, "?room=keys")
    chat = browsers().open(plain_server)
    order = []
    for _ in range(8):
        chat.press(Keys.TAB)
        order.append(chat.driver.execute_script(
            "const node = document.activeElement;"
            "return node.id || node.closest('form').id + ' button';"))
        assert chat.driver.execute_script(
            "return getComputedStyle(document.activeElement).outlineStyle"
            " !== 'none';"), f"no visible focus on {order[-1]}"
    assert order == ["skip", "about", "name", "room", "settings button",
                     "log", "text", "composer button"]

    chat.open(plain_server)
    chat.press(Keys.TAB, Keys.ENTER)        # the skip link
    chat.chord(Keys.SHIFT, Keys.TAB)
    assert chat.focused() == "log"          # and no trap
    chat.chord(Keys.SHIFT, Keys.TAB)
    chat.chord(Keys.SHIFT, Keys.TAB)
    assert chat.focused() == "room"
    chat.chord(Keys.CONTROL, "a")
    chat.press("keys", Keys.ENTER)
    chat.until(lambda: any("keys" in text for text in chat.texts(".what")),
               "the room")
    assert chat.focused() == "text"
    chat.press("one")
    chat.chord(Keys.SHIFT, Keys.ENTER)
    chat.press("two", Keys.ENTER)
    other.wait_for(".body", "one\ntwo")
    chat.press(Keys.ENTER)                  # nothing to send
    assert chat.texts(".body") == ["one\ntwo"]


CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => value / 255).map((c) =>
        c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const backgroundOf = (node) => {
    for (; node; node = node.parentElement) {
        const [r, g, b, a = 1] = channels(
            getComputedStyle(node).backgroundColor);
        if (a === 1) { return [r, g, b]; }
    }
    return [255, 255, 255];
};
const poor = [];
for (const node of document.body.querySelectorAll('*')) {
    const text = [...node.childNodes].some((child) =>
        child.nodeType === Node.TEXT_NODE && child.data.trim());
    if (!text || !node.checkVisibility()) { continue; }
    const colour = channels(getComputedStyle(node).color).slice(0, 3);
    const [dark, light] = [colour, backgroundOf(node)].map(luminance)
        .sort((a, b) => a - b);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) { poor.push([node.outerHTML.slice(0, 80), ratio]); }
}
return poor;
"""


@pytest.mark.parametrize("language", ["en", "vi"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width, height", [(1100, 800), (360, 640)],
                         ids=["desktop", "phone"])
def test_layout_and_contrast(plain_server, browsers, language, dark, width,
                             height):
    chat = browsers(language)
    chat.emulate(width=width, height=height, dark=dark)
    chat.open(plain_server)
    other = browsers().open(plain_server)
    other.fill("name", "Ngọc Ánh")
    chat.say("Xin chào! :)")
    other.wait_for(".body", "Xin chào! :)")
    for line in ("Hello", "https://example.org/" + "x" * 200, "1", "2", "3"):
        other.say(line)
    chat.wait_for(".body", "3")
    other.write("x")
    chat.until(lambda: chat.texts("#typing") != [""], "typing")

    name = f"{language}-{'dark' if dark else 'light'}-{width}"
    chat.screenshot(f"chat-{name}")
    assert chat.driver.execute_script(CONTRAST) == []
    assert chat.driver.execute_script(
        "const { bottom, right } = document.querySelector("
        "    '#composer button').getBoundingClientRect();"
        "return bottom <= innerHeight && right <= innerWidth &&"
        "    document.documentElement.scrollWidth <= innerWidth;")
    last = chat.driver.execute_script(
        "const log = document.getElementById('log');"
        "return log.scrollHeight - log.scrollTop - log.clientHeight;")
    assert last < 2, "the newest message is not in sight"

    chat.open(plain_server, "?room=a%20b", connected=False)
    chat.until(lambda: chat.find("room-error").is_displayed(), "the reason")
    assert chat.driver.execute_script(CONTRAST) == []
    chat.screenshot(f"chat-room-error-{name}")
    chat.driver.get(plain_server.url(f"/about.html#{language}"))
    assert chat.driver.execute_script(CONTRAST) == []
    chat.screenshot(f"about-{name}")
    chat.assert_clean_console()


def test_policy_is_strict_and_kept(server, browsers):
    chat = browsers().open(server)
    for path in ("/", "/about.html"):
        policy = chat.run(
            "return (await fetch(given[0])).headers.get("
            "    'content-security-policy');", path)
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    chat.driver.find_element(By.ID, "about").click()
    chat.until(lambda: "about.html" in chat.driver.current_url, "the article")
    chat.driver.find_element(By.CSS_SELECTOR, "#en .button").click()
    chat.wait_for_state("open")
    chat.assert_clean_console()
    chat.driver.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'globalThis.ran = true;';"
        "document.body.append(script);")
    assert chat.driver.execute_script("return globalThis.ran ?? false;") \
        is False


# ---- websocket-client.js ----

FAKE_SOCKET = """
globalThis.FakeSocket = class {
    static OPEN = 1;
    static all = [];
    readyState = 0;
    bufferedAmount = 0;
    sent = [];
    constructor(url, protocols) { FakeSocket.all.push(this); }
    accept() { this.readyState = 1; this.onopen({}); }
    receive(data) { this.onmessage({data, origin: 'ws://fake'}); }
    send(data) { this.sent.push(data); }
    close(code = 1005, reason = '') {
        this.readyState = 2;
        setTimeout(() => this.end(code, reason, true));
    }
    end(code, reason = '', wasClean = false) {
        this.readyState = 3;
        this.onclose({code, reason, wasClean});
    }
};
"""

LIBRARY = FAKE_SOCKET + """
globalThis.WebSocket = FakeSocket;
const library = await import('/websocket-client.js');
const sockets = FakeSocket.all;
const steady = { jitter: 0, random: () => 0, minDelay: 20 };
const make = (options) =>
    new library.WebSocketClient('ws://fake/', { ...steady, ...options });
const newest = () => sockets[sockets.length - 1];
const when = (client, state) => client.state === state
    ? Promise.resolve()
    : new Promise((resolve) => client.addEventListener('statechange',
        ({ detail }) => { if (detail.state === state) { resolve(); } }));
const waitOf = (client) => client.retryAt - Date.now();
"""


@pytest.fixture
def library(plain_server, browsers):
    """Runs JavaScript with the library and a scripted WebSocket."""
    browser = browsers()
    browser.driver.get(plain_server.url("/about.html"))
    return lambda body: browser.run(LIBRARY + body)


def test_delays_double_up_to_a_limit_with_jitter(library):
    result = library("""
        const options = { minDelay: 1000, maxDelay: 30000, jitter: 0.5,
                          restartSpread: 5000 };
        const at = (random, failures, code) => library.reconnectDelay(
            failures, code, { ...options, random: () => random });
        return {
            longest: [0, 1, 2, 3, 4, 5, 50, 5000].map((n) => at(0, n, 1006)),
            shortest: at(1, 3, 1006),
            restart: [1001, 1012, 1013, 1011].map((code) => at(1, 0, code)),
        };""")
    assert result["longest"] == [1000, 2000, 4000, 8000, 16000, 30000,
                                 30000, 30000]
    assert result["shortest"] == 4000
    assert result["restart"] == [5500, 5500, 5500, 500]


def test_reconnects_after_every_code_but_1000(library):
    result = library("""
        const states = {};
        for (const code of [1000, 1001, 1005, 1006, 1008, 1011, 1012, 1013,
                            3000, 4999]) {
            const client = make({ restartSpread: 0 });
            newest().accept();
            newest().end(code);
            states[code] = client.state;
            client.close();
        }
        return states;""")
    assert result.pop("1000") == "closed"
    assert set(result.values()) == {"waiting"}


def test_close_is_for_good_and_open_undoes_it(library):
    assert library("""
        const client = make();
        const closes = [];
        client.addEventListener('close', ({ detail }) => closes.push(detail));
        newest().accept();
        client.close(4001, 'bye');
        const during = client.state;
        await when(client, 'closed');
        client.send('later');
        const made = sockets.length;
        dispatchEvent(new Event('online'));
        client.open();
        newest().accept();
        return [during, made, sockets.length, newest().sent, closes];""") == [
            "closing", 1, 2, ["later"],
            [{"code": 4001, "reason": "bye", "wasClean": True,
              "willReconnect": False}]]


def test_backoff_starts_again_only_after_a_stable_time(library):
    short, stable = library("""
        const client = make({ minDelay: 100, stableAfter: 150 });
        const waits = [];
        for (let n = 0; n < 3; n++) {
            newest().accept();
            newest().end(1006);
            waits.push(waitOf(client));
            client.open();
        }
        newest().accept();
        await new Promise((resolve) => setTimeout(resolve, 200));
        newest().end(1006);
        return [waits, waitOf(client)];""")
    assert [round(wait, -2) for wait in short] == [100, 200, 400]
    assert round(stable, -2) == 100


def test_queue_is_bounded_by_count_and_bytes(library):
    result = library("""
        const client = make();
        newest().end(1006);
        const states = [];
        for (let n = 0; n < 102; n++) {
            states.push(client.send('m' + n).state);
        }
        const small = make({ maxQueueBytes: 10 });
        const bytes = ['12345', 'ằằ', '1'].map((s) => small.send(s).state);
        bytes.push(small.bufferedAmount);
        const rude = make({ overflow: 'drop-oldest', maxQueueMessages: 2 });
        const dropped = [];
        rude.addEventListener('dropped',
                              ({ detail }) => dropped.push(detail.data));
        ['a', 'b', 'c'].forEach((s) => rude.send(s));
        newest().accept();
        const volatile = make().send('typing', { queue: false }).state;
        return { states, queued: client.queuedMessages, bytes, dropped,
                 volatile, sent: sockets[2].sent };""")
    assert result["states"] == ["queued"] * 100 + ["refused"] * 2
    assert result["queued"] == 100
    assert result["bytes"] == ["queued", "refused", "queued", 6]
    assert result["dropped"] == ["a"]
    assert result["sent"] == ["b", "c"]
    assert result["volatile"] == "refused"


def test_slow_connection_fills_the_queue_and_not_the_browser(library):
    assert library("""
        const client = make({ maxBufferedBytes: 100 });
        const socket = newest();
        socket.accept();
        socket.bufferedAmount = 100;
        const first = client.send('first').state;
        socket.bufferedAmount = 0;
        const second = client.send('second').state;     /* in order */
        await new Promise((resolve) => client.addEventListener('sent',
            ({ detail }) => detail.data === 'second' && resolve()));
        return [first, second, socket.sent];""") == [
            "queued", "queued", ["first", "second"]]


def test_online_event_connects_at_once(library):
    assert library("""
        const client = make({ minDelay: 3600000, maxDelay: 3600000 });
        newest().end(1006);
        const before = client.state;
        dispatchEvent(new Event('online'));
        return [before, client.state, sockets.length];""") == [
            "waiting", "connecting", 2]


def test_silent_connection_is_given_up(library):
    assert library("""
        const client = make({ heartbeat: () => 'beat', heartbeatInterval: 30,
                              heartbeatTimeout: 60, minDelay: 60000 });
        const socket = newest();
        socket.accept();
        await new Promise((resolve) => {
            socket.send = (data) => { socket.sent.push(data); resolve(); };
        });
        socket.receive('any answer');
        await when(client, 'waiting');
        socket.receive('too late');
        return [socket.sent, client.state];""") == [["beat", "beat"],
                                                    "waiting"]


def test_attempt_without_answer_is_given_up(library):
    assert library("""
        const client = make({ connectTimeout: 30, minDelay: 60000 });
        await when(client, 'waiting');
        return newest().readyState;""") == 2


# ---- the browser's own API ----

ECHO = """
const [url] = given;
const next = (socket, type) => new Promise((resolve) =>
    socket.addEventListener(type, resolve, { once: true }));
const show = async (data) => typeof data === 'string' ? data
    : [...new Uint8Array(data instanceof Blob ? await data.arrayBuffer()
                                              : data)];
"""


@pytest.fixture
def echo(server, browsers):
    """Runs JavaScript on a page of the server, with the address of /ws/echo."""
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    yield lambda body: browser.run(ECHO + body, server.ws_url("/ws/echo"))
    browser.assert_clean_console(connections_fail=True)


def test_ready_state_goes_from_0_to_3(echo):
    result = echo("""
        const socket = new WebSocket(url);
        const states = [socket.readyState];
        const order = [];
        socket.onopen = () => order.push('open');
        socket.onmessage = () => order.push('message');
        socket.onerror = () => order.push('error');
        socket.onclose = () => order.push('close');
        await next(socket, 'open');
        states.push(socket.readyState);
        socket.send('x');
        await next(socket, 'message');
        socket.close(1000);
        states.push(socket.readyState);
        await next(socket, 'close');
        states.push(socket.readyState);
        return { states, order, url: socket.url === url };""")
    assert result["states"] == [0, 1, 2, 3]
    assert result["order"] == ["open", "message", "close"]
    assert result["url"] is True


def test_string_array_buffer_view_and_blob_come_back(echo):
    assert echo("""
        const socket = new WebSocket(url);
        await next(socket, 'open');
        const answers = [];
        const ask = async (data, type = 'blob') => {
            socket.binaryType = type;
            socket.send(data);
            const { data: answer } = await next(socket, 'message');
            answers.push(answer.constructor.name, await show(answer));
        };
        await ask('');
        await ask('Tiếng Việt 😀');
        await ask(new Uint8Array([0, 1, 255]).buffer, 'arraybuffer');
        await ask(new Uint8Array([9, 8, 7, 6]).subarray(1, 3), 'arraybuffer');
        await ask(new Blob(['ab', 'c']));
        await ask(new ArrayBuffer(0), 'arraybuffer');
        socket.close();
        return answers;""") == [
            "String", "", "String", "Tiếng Việt 😀",
            "ArrayBuffer", [0, 1, 255], "ArrayBuffer", [8, 7],
            "Blob", [97, 98, 99], "ArrayBuffer", []]


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 1000000])
def test_sizes_at_the_edges_of_the_length_field(echo, size):
    assert echo(f"""
        const data = Uint8Array.from({{ length: {size} }}, (_, n) => n * 7);
        const socket = new WebSocket(url);
        socket.binaryType = 'arraybuffer';
        await next(socket, 'open');
        socket.send(data);
        const answer = new Uint8Array((await next(socket, 'message')).data);
        socket.close();
        return answer.length === data.length &&
               answer.every((byte, n) => byte === data[n]);""") is True


def test_buffered_amount_grows_and_falls_to_zero(echo):
    assert echo("""
        const socket = new WebSocket(url);
        await next(socket, 'open');
        const before = socket.bufferedAmount;
        let answers = 0;
        const all = new Promise((resolve) => {
            socket.onmessage = () => { if (++answers === 8) { resolve(); } };
        });
        for (let n = 0; n < 8; n++) {
            socket.send(new Uint8Array(65536));
        }
        const during = socket.bufferedAmount;
        await all;
        const after = socket.bufferedAmount;
        socket.close();
        return [before, during, after];""") == [0, 8 * 65536, 0]


def test_close_tells_code_reason_and_was_clean(echo):
    assert echo("""
        const results = [];
        for (const given of [[], [1000], [1000, 'done'], [3000, 'Tạm biệt'],
                             [4999, '']]) {
            const socket = new WebSocket(url);
            await next(socket, 'open');
            socket.close(...given);
            const { code, reason, wasClean } = await next(socket, 'close');
            results.push([code, reason, wasClean]);
        }
        return results;""") == [
            [1005, "", True], [1000, "", True], [1000, "done", True],
            [3000, "Tạm biệt", True], [4999, "", True]]


def test_refused_handshake_is_error_then_close_1006(echo):
    assert echo("""
        const socket = new WebSocket(url.replace('/ws/echo', '/about.html'));
        const order = [];
        socket.onopen = () => order.push('open');
        socket.onerror = () => order.push('error');
        const { code, reason, wasClean } = await next(socket, 'close');
        return [order, code, reason, wasClean, socket.readyState];""") == [
            ["error"], 1006, "", False, 3]


def test_subprotocol_is_chosen_from_the_offer(echo):
    assert echo("""
        const chosen = [];
        for (const offer of [[], ['echo'], ['other', 'echo']]) {
            const socket = new WebSocket(url, offer);
            await next(socket, 'open');
            chosen.push(socket.protocol);
            socket.close();
        }
        return chosen;""") == ["", "echo", "echo"]


def test_messages_are_compressed(echo):
    extensions, same = echo("""
        const socket = new WebSocket(url);
        await next(socket, 'open');
        const texts = ['', 'short', 'xin chào '.repeat(500), '😀'.repeat(90000)];
        let same = true;
        for (const text of texts) {
            socket.send(text);
            same &&= (await next(socket, 'message')).data === text;
        }
        socket.close();
        return [socket.extensions, same];""")
    assert extensions.startswith("permessage-deflate")
    assert same


def test_stop_of_the_server_is_close_1001(server, browsers):
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    browser.run(ECHO + """
        const socket = new WebSocket(url);
        await next(socket, 'open');
        globalThis.whenClosed = next(socket, 'close');""",
                server.ws_url("/ws/echo"))
    server.stop()
    assert browser.run(
        "const { code, wasClean } = await globalThis.whenClosed;"
        "return [code, wasClean];") == [1001, True]


def test_kill_of_the_server_is_close_1006(server, browsers):
    browser = browsers()
    browser.driver.get(server.url("/about.html"))
    browser.run(ECHO + """
        const socket = new WebSocket(url);
        await next(socket, 'open');
        globalThis.whenClosed = next(socket, 'close');""",
                server.ws_url("/ws/echo"))
    server.kill()
    assert browser.run(
        "const { code, wasClean } = await globalThis.whenClosed;"
        "return [code, wasClean];") == [1006, False]


STREAM = """
if (!('WebSocketStream' in globalThis)) { return null; }
const stream = new WebSocketStream(url, { protocols: ['echo'] });
const { readable, writable, protocol, extensions } = await stream.opened;
const reader = readable.getReader();
const writer = writable.getWriter();
"""


def test_stream_reads_writes_and_closes(echo):
    result = echo(STREAM + """
        await writer.write('text');
        const text = (await reader.read()).value;
        await writer.write(new Uint8Array([1, 2, 3]));
        const binary = await show((await reader.read()).value);
        stream.close({ closeCode: 4000, reason: 'enough' });
        const { closeCode, reason } = await stream.closed;
        const { done } = await reader.read();
        return [protocol, extensions.split(';')[0], text, binary, closeCode,
                reason, done];""")
    if result is None:
        pytest.skip("this Chromium has no WebSocketStream")
    assert result == ["echo", "permessage-deflate", "text", [1, 2, 3], 4000,
                      "enough", True]


def test_stream_compresses(echo):
    result = echo(STREAM + """
        const texts = ['xin chào '.repeat(500), 'x', '😀'.repeat(90000)];
        let same = true;
        for (const text of texts) {
            await writer.write(text);
            same &&= (await reader.read()).value === text;
        }
        stream.close();
        await stream.closed;
        return same;""")
    if result is None:
        pytest.skip("this Chromium has no WebSocketStream")
    assert result


def test_stream_keeps_order_under_backpressure(echo):
    result = echo(STREAM + """
        const COUNT = 64;
        const SIZE = 32768;
        const write = async () => {
            for (let n = 0; n < COUNT; n++) {
                await writer.ready;
                await writer.write(new Uint8Array(SIZE).fill(n));
            }
        };
        const read = async () => {
            const seen = [];
            while (seen.length < COUNT) {
                const bytes = new Uint8Array((await reader.read()).value);
                const whole = bytes.length === SIZE &&
                              bytes.every((byte) => byte === bytes[0]);
                seen.push(whole ? bytes[0] : -1);
            }
            return seen;
        };
        const [seen] = await Promise.all([read(), write()]);
        stream.close();
        await stream.closed;
        return seen;""")
    if result is None:
        pytest.skip("this Chromium has no WebSocketStream")
    assert result == list(range(64))
