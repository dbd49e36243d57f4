"""The example of docs/security.md: httpd takes it as it stands there."""
import re

import pytest

from httpd import HANDLERS, SOURCE, Httpd

MODULES = ("ssl", "headers", "reqtimeout", "auth_basic", "authn_file",
           "authz_user", "remoteip")


def example():
    text = (SOURCE / "docs" / "security.md").read_text()
    blocks = re.findall(r"^```apache\n(.*?)^```$", text, re.M | re.S)
    assert len(blocks) == 1
    return blocks[0]


def here(text, server):
    """With the files that this machine has."""
    for pattern, value in (
            (r"(SSLCertificateFile) \S+", server.directory / "cert.pem"),
            (r"(SSLCertificateKeyFile) \S+", server.directory / "key.pem"),
            (r"(WebSocketHandler) chat", HANDLERS / "websocket_chat.so")):
        text, count = re.subn(pattern, rf"\1 {value}", text)
        assert count == 1, pattern
    return text


@pytest.mark.parametrize("is_behind_a_proxy", [False, True])
@pytest.mark.parametrize("http2", [False, True])
def test_example_of_the_checklist_is_loaded(tmp_path, http2,
                                            is_behind_a_proxy):
    server = Httpd(tmp_path / "httpd", http2=http2)
    text = here(example(), server)
    if is_behind_a_proxy:
        text, count = re.subn(r"#(RemoteIP)", r"\1", text)
        assert count == 2
    server.append_config(f"\n{server.load(*MODULES)}\n{text}\n")
    good, says = server.check_config()
    assert good, says


def test_mistake_in_it_would_be_found(tmp_path):
    server = Httpd(tmp_path / "httpd")
    text = here(example(), server).replace("WebSocketPing 30 10",
                                           "WebSocketPing 30")
    server.append_config(f"\n{server.load(*MODULES)}\n{text}\n")
    assert not server.check_config()[0]
