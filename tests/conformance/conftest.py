"""Runs every case in every mode that it applies to, and prints the table."""
import itertools
import pathlib
import signal
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import modes                                        # noqa: E402
import report                                       # noqa: E402
import suite            # the cases                 # noqa: E402, F401
from cases import in_order                          # noqa: E402
from server import CLOSING, OPTIONS                 # noqa: E402
from httpd import Httpd                             # noqa: E402
from peer import Client, Mismatch                   # noqa: E402

TEST_LIMIT = 120            # seconds


def pytest_addoption(parser):
    parser.addoption("--mode", action="append", default=[], metavar="WORDS",
                     help="only these modes: a name such as wss-plain-bytes, "
                          "or a part of one such as wss or bytes; a mode "
                          "must have all parts of one --mode: ws-plain")
    parser.addoption("--section", action="append", default=[],
                     help="only this section: 5.2, 7692, 7692 7.1")
    parser.addoption("--quick", action="store_true",
                     help=f"only the modes {', '.join(modes.QUICK)}")


def selected_modes(config):
    names = config.getoption("--mode") + (
        modes.QUICK if config.getoption("--quick") else [])
    wanted = [name.split("-") for name in names]
    return [mode for mode in modes.ALL if not wanted
            or any(all(part in str(mode).split("-") for part in parts)
                   for parts in wanted)]


def selected_cases(config):
    wanted = config.getoption("--section")
    return [case for case in in_order() if not wanted
            or any(is_below(case.section, section) for section in wanted)]


def is_below(section, wanted):
    """5.5.1 is below 5.5, and 6455 5.5 below 6455."""
    if wanted.split()[0] not in ("6455", "7692", "8441"):
        wanted = f"6455 {wanted}"
    return (section + " ").replace(" ", ".").startswith(
        wanted.replace(" ", ".") + ".")


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        pairs = [(case, mode) for mode in selected_modes(metafunc.config)
                 for case in selected_cases(metafunc.config)
                 if case.reason_against(mode) is None]
        metafunc.parametrize("case, mode", pairs, ids=[
            f"{mode}: {case.name}" for case, mode in pairs])


def pytest_collection_modifyitems(config, items):
    """Who asks for some cases does not ask for other clients."""
    if config.getoption("--mode") or config.getoption("--section"):
        items[:] = [item for item in items if hasattr(item, "callspec")
                    and "case" in item.callspec.params]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One httpd for all cases, which leave it as it was."""
    server = Httpd(tmp_path_factory.mktemp("httpd"), **OPTIONS).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def restarting(tmp_path_factory):
    """Another httpd, for cases that restart it."""
    servers = []

    def get():
        if not servers:
            servers.append(Httpd(tmp_path_factory.mktemp("restarting"),
                                 **CLOSING).start())
        return servers[0]

    yield get
    for server in servers:
        server.stop()


@pytest.fixture(autouse=True)
def time_limit():
    """No test hangs."""
    def stop(*_):
        raise Mismatch(f"expected an end; came none within {TEST_LIMIT} s")
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(TEST_LIMIT)
    yield
    signal.alarm(0)


@pytest.fixture
def client(server, restarting, mode):
    client = Client(server, mode, restarting)
    yield client
    client.close()


# --- the table ---

passed = itertools.count(1)


def pytest_report_teststatus(report):
    """A dot for every fifty: there are tens of thousands."""
    if report.when == "call" and report.passed:
        return "passed", "" if next(passed) % 50 else ".", "PASSED"
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Tells the table, which may be printed by another process, what ran."""
    outcome = yield
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if "case" in parameters:
        result = outcome.get_result()
        result.ran = (parameters["case"].name, str(parameters["mode"]))
        if call.excinfo is not None:
            result.why = str(call.excinfo.value) or repr(call.excinfo.value)


def pytest_terminal_summary(terminalreporter, config):
    table = report.Table(selected_cases(config), selected_modes(config))
    for outcome in ("passed", "failed", "error", "skipped"):
        for result in terminalreporter.stats.get(outcome, []):
            if hasattr(result, "ran"):
                table.add(*result.ran, getattr(result, "why", None))
            else:
                table.add_other(result.nodeid, outcome, result.longrepr)
    for line in table.lines():
        terminalreporter.write_line(line)
