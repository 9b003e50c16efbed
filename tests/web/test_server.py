"""The explorer's server, by real requests to real sockets."""

import errno
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import flask
import pytest
from small_server import Answer, Client, Served, small_app

from trs_explorer.options import UsageError
from trs_explorer.web import access, server


@pytest.fixture(autouse=True)
def no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """`trs ... --debug` in another test of this process leaves it in the environment."""
    monkeypatch.delenv("TRS_DEBUG", raising=False)


# --- binding ---------------------------------------------------------------------------------------------------------


def _occupied() -> socket.socket:
    """A listening socket that has a free port after it."""
    for _ in range(50):
        taken = server.bind(port=0)
        with socket.socket() as after:
            try:
                after.bind(("127.0.0.1", taken.getsockname()[1] + 1))
            except OSError:
                taken.close()
                continue
        return taken
    raise AssertionError("no two free ports side by side")


def test_loopback_is_what_one_gets_and_nobody_else_reaches_it() -> None:
    with server.bind(port=0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert server.is_loopback(sock)
        assert server.address("127.0.0.1", sock) == f"http://127.0.0.1:{sock.getsockname()[1]}/"


def test_a_port_in_use_gives_the_next_free_one() -> None:
    with _occupied() as taken:
        port = taken.getsockname()[1]
        with server.bind(port=port) as sock:
            assert sock.getsockname()[1] == port + 1


def test_a_port_that_is_bound_but_does_not_listen_yet_is_in_use_too() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        with server.bind(port=other.getsockname()[1]) as sock:  # bound by both, but only one of them can listen
            if sock.getsockname() == other.getsockname():
                with pytest.raises(OSError, match="in use"):
                    other.listen()


def test_twenty_ports_are_tried_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    class Taken(socket.socket):
        def bind(self, address: tuple) -> None:
            tried.append(address[1])
            raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(socket, "socket", Taken)
    with pytest.raises(UsageError, match="ports 8050 to 8070 are all in use"):
        server.bind()
    assert tried == list(range(8050, 8071))
    with pytest.raises(UsageError, match="ports 65530 to 65535"):
        server.bind(port=65530)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "--port 80: permission denied; choose one above 1023"),
        (errno.ENOBUFS, "cannot listen on 127.0.0.1 port 80"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    class Refused(socket.socket):
        def bind(self, _: tuple) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(UsageError, match=words) as refused:
        server.bind(port=80)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.7", "192.0.2.7 is not an address of this machine"),
        ("no such host", "'no such host' is not an address"),
        ("127.0.0.1:8050", "is not an address"),
        ("http://localhost", "is not an address"),
        ("", "'' is not an address"),
        ("x" * 300, "is not an address"),
    ],
)
def test_a_host_that_is_not_here_is_wrong_usage(host: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        server.bind(host, 0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("port", [-1, 65536, 10**30])
def test_a_port_out_of_range_is_wrong_usage(port: int) -> None:
    with pytest.raises(UsageError, match="--port must be >= 0 and <= 65535"):
        server.bind(port=port)


def test_all_addresses_are_beyond_loopback_and_named_by_one_that_can_be_reached() -> None:
    for host in ("0.0.0.0", "0"):
        with server.bind(host, 0) as sock:
            assert not server.is_loopback(sock)
            url = server.address(host, sock)
            assert "//0" not in url
            found = url.removeprefix("http://").split(":")[0]
            socket.create_connection((found, sock.getsockname()[1]), timeout=10).close()


def test_ipv6_loopback_is_served_and_written_in_brackets() -> None:
    try:
        sock = server.bind("::1", 0)
    except UsageError:
        pytest.skip("no IPv6 here")
    assert server.is_loopback(sock)
    url = server.address("::1", sock)
    assert url == f"http://[::1]:{sock.getsockname()[1]}/"
    app = small_app()
    access.protect(app, hosts=("::1",))
    with server.serving(app, sock):
        connection = http.client.HTTPConnection("::1", int(url.split(":")[-1].strip("/")), timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"page"
        connection.close()


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """What is logged during the test."""
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append
    logging.getLogger().addHandler(handler)
    yield kept
    logging.getLogger().removeHandler(handler)


def test_a_failure_is_one_plain_line_for_the_client(served: Served, records: list[logging.LogRecord]) -> None:
    answer = served().ask("/broken")
    assert (answer.status, answer.text) == (500, "500: an error occurred; the terminal shows it\n")
    assert answer.headers["Content-Type"].startswith("text/plain")
    [record] = [record for record in records if record.name == "served"]
    assert record.exc_info[0] is ZeroDivisionError  # the log has all of it


def test_a_dash_app_works_behind_the_guard_and_its_callbacks_fail_in_a_line(served: Served) -> None:
    import dash
    from dash import Input, Output, dcc, html

    app = dash.Dash("served")
    app.layout = html.Div([dcc.Input(id="asked"), html.Div(id="told")])
    app.callback(Output("told", "children"), Input("asked", "value"))(lambda value: 100 / value)
    client = served(app.server)

    def call(value: int, **headers: str) -> Answer:
        change = {"id": "asked", "property": "value", "value": value}
        one = {"output": "told.children", "outputs": {"id": "told", "property": "children"}}
        body = json.dumps({**one, "inputs": [change], "changedPropIds": ["asked.value"]}).encode()
        return client.ask("/_dash-update-component", "POST", body, Content_Type="application/json", **headers)

    assert "_dash-config" in client.ask("/").text
    assert json.loads(call(8).text)["response"] == {"told": {"children": 12.5}}
    assert call(8, Origin="http://evil.example").status == 403
    assert call(8, Host="evil.example").status == 400
    broken = call(0)
    assert (broken.status, broken.text.count("\n")) == (500, 1)
    assert "division" not in broken.text
    for path in (
        "/assets/../../../etc/passwd",
        "/_dash-component-suites/dash/../../../etc/passwd",
        "/_dash-component-suites/os/os.py",
    ):
        answer = client.ask(path)
        assert "root:" not in answer.text, path


SCRIPT = """
import sys, threading, time, flask
from trs_explorer.web import access, server
app = flask.Flask("served")
app.add_url_rule("/broken", "broken", view_func=lambda: 1 / 0)
app.add_url_rule("/slow", "slow", view_func=lambda: print("asked", flush=True) or time.sleep(60) or "slow")
access.protect(app)
sock = server.bind(port=0)
print(sock.getsockname()[1], flush=True)
server.serve(app, sock)
print("ended", flush=True)
"""


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen]:
    root = Path(server.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), **getattr(request, "param", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, **pipes) as started:
        yield started
        started.kill()


@pytest.mark.parametrize(
    ("process", "debug"), [({}, False), ({"TRS_DEBUG": "1"}, True)], indirect=["process"], ids=["plain", "debug"]
)
def test_the_terminal_gets_a_line_and_with_debug_the_traceback(process: subprocess.Popen, debug: bool) -> None:
    Client(int(process.stdout.readline())).ask("/broken")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=10)[1]
    if debug:
        assert "Traceback" in said
        assert "in <lambda>" in said
    else:
        assert said == "trs: a request failed: ZeroDivisionError: division by zero (--debug shows where)\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_ends_it_within_a_second_even_while_a_request_runs(process: subprocess.Popen, number: signal.Signals) -> None:
    port = int(process.stdout.readline())
    with socket.create_connection(("127.0.0.1", port)) as slow, socket.create_connection(("127.0.0.1", port)):
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert process.stdout.readline() == "asked\n"
        start = time.monotonic()
        process.send_signal(number)
        assert process.stdout.readline() == "ended\n"
        assert time.monotonic() - start < 1
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""


# --- serving ---------------------------------------------------------------------------------------------------------


def test_requests_are_answered_side_by_side_and_quietly(records: list[logging.LogRecord]) -> None:
    app, together = flask.Flask("served"), threading.Barrier(8, timeout=20)
    app.add_url_rule("/", "root", view_func=lambda: str(together.wait()))
    sock = server.bind(port=0)
    client = Client(sock.getsockname()[1])
    answers: list[str] = []
    with server.serving(app, sock, threads=8):
        askers = [threading.Thread(target=lambda: answers.append(client.ask().text)) for _ in range(16)]  # half of them wait
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(30)
    assert sorted(answers) == sorted([str(i) for i in range(8)] * 2)
    assert not [record for record in records if record.levelno >= logging.WARNING]


def test_after_the_block_nothing_listens_and_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    sock = server.bind(port=0)
    client = Client(sock.getsockname()[1])
    with server.serving(small_app(), sock) as loop, socket.create_connection(("127.0.0.1", client.port)):  # the idle one waits on
        assert client.ask().text == "page"
    assert not loop.is_alive()
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        client.ask()


def test_the_browser_is_shown_the_address_and_its_failure_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    shown, asked = threading.Event(), []

    def show(url: str) -> None:
        asked.append(url)
        shown.set()
        raise webbrowser.Error("there is none")

    monkeypatch.setattr(webbrowser, "open", show)
    monkeypatch.setenv("BROWSER", "any")
    server.open_browser("http://127.0.0.1:1/")
    assert shown.wait(10)
    assert asked == ["http://127.0.0.1:1/"]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="there is always a screen")
def test_without_a_screen_no_browser_takes_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threading, "Thread", lambda **_: pytest.fail("it was to be shown"))
    server.open_browser("http://127.0.0.1:1/")
