"""The explorer's server, by real requests to real sockets."""

import contextlib
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import flask
import pytest
from flask.logging import default_handler

from trs_explorer.options import UsageError
from trs_explorer.web import log, server

TOKEN = "a-token_of-43-characters"


@pytest.fixture(autouse=True)
def no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """`trs ... --debug` in another test of this process leaves it in the environment."""
    monkeypatch.delenv("TRS_DEBUG", raising=False)


def _app() -> flask.Flask:
    app = flask.Flask("served")
    app.add_url_rule("/", "root", view_func=lambda: "page")
    app.add_url_rule("/rest/<path:rest>", "rest", view_func=lambda rest: rest)
    app.add_url_rule("/echo", "echo", view_func=lambda: str(len(flask.request.get_data())), methods=["POST"])
    app.add_url_rule("/query", "query", view_func=lambda: flask.request.query_string)
    app.add_url_rule("/broken", "broken", view_func=lambda: 1 / 0)
    return app


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass(frozen=True)
class Client:
    port: int

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.title(): v for k, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()

    def raw(self, text: str) -> str:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(text.encode("latin-1"))
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


Served = Callable[..., Client]


@pytest.fixture
def served() -> Iterator[Served]:
    with contextlib.ExitStack() as stack:

        def start(app: flask.Flask | None = None, **guard: object) -> Client:
            app = app or _app()
            sock = server.bind(port=0)
            port = sock.getsockname()[1]
            server.protect(app, **guard)
            stack.enter_context(server.serving(app, sock))
            return Client(port)

        yield start


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
    app = _app()
    server.protect(app, hosts=("::1",))
    with server.serving(app, sock):
        connection = http.client.HTTPConnection("::1", int(url.split(":")[-1].strip("/")), timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"page"
        connection.close()


# --- the Host header -------------------------------------------------------------------------------------------------

OWN = ("127.0.0.1", "localhost", "LOCALHOST", "LocalHost:8050", "127.0.0.1:1", "[::1]", "[::1]:8050", "[0:0::1]")
FOREIGN = (
    "evil.example",
    "evil.example:8050",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "localhost.evil.example",
    "127.0.0.2",
    "192.168.0.7",
    "0.0.0.0",
    "[::2]",
    "[::]",
    "::1",
    "localhost, evil.example",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost:80:80",
    "localhost:port",
    "localhost/evil",
    "löcalhost",
    "",
    ":8050",
)


def test_own_names_are_answered_whatever_their_port_and_case(served: Served) -> None:
    client = served()
    for host in OWN:
        assert client.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").startswith("HTTP/1.1 200"), host


def test_foreign_and_missing_hosts_get_400_on_every_path(served: Served) -> None:
    client = served()
    lines = [f"Host: {host}\r\n" for host in FOREIGN] + [
        "",
        "Host: localhost\r\nHost: evil.example\r\n",
        "X-Forwarded-Host: localhost\r\n",
    ]
    for line in lines:
        for begin in (
            "GET / HTTP/1.1",
            "GET /nowhere HTTP/1.1",
            "POST /echo HTTP/1.1",
            "GET http://localhost/ HTTP/1.1",
            "GET / HTTP/1.0",
        ):
            answer = client.raw(f"{begin}\r\n{line}Connection: close\r\n\r\n")
            assert answer.split(" ")[1] == "400", (begin, line)
            assert "page" not in answer


def test_the_host_that_was_asked_for_is_one_of_its_names(served: Served) -> None:
    client = served(hosts=("MyBox", "FE80::0:1"))
    assert client.ask(Host="mybox:8050").status == 200
    assert client.ask(Host="[fe80::1]:8050").status == 200
    assert client.ask(Host="mybox.evil.example").status == 400


def test_all_addresses_means_every_address_but_no_foreign_name(served: Served) -> None:
    client = served(hosts=("0.0.0.0",))
    for host in ("192.168.0.7:8050", "[fe80::1]", socket.gethostname().upper(), "localhost"):
        assert client.ask(Host=host).status == 200, host
    for host in ("evil.example", f"{socket.gethostname()}.evil.example", "192.168.0.7.evil.example", ""):
        assert client.ask(Host=host).status == 400, host


# --- the Origin header, sizes, headers -------------------------------------------------------------------------------


def test_a_post_from_another_sites_page_gets_403(served: Served) -> None:
    client = served()
    own = f"http://127.0.0.1:{client.port}"
    for origin in (own, own.upper(), None):
        given = {} if origin is None else {"Origin": origin}
        assert client.ask("/echo", "POST", b"12345", **given).text == "5"
    foreign = (
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:9",
        f"https://127.0.0.1:{client.port}",
        own + "0",
        own + ".evil.example",
    )
    for origin in foreign:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.ask("/echo", method, b"1", Origin=origin).status == 403, (origin, method)
    assert client.ask("/", Origin="http://evil.example").status == 200  # it may ask; the browser does not let it read
    assert "Access-Control-Allow-Origin" not in client.ask("/", Origin="http://evil.example").headers


FETCHED = ({"Sec_Fetch_Dest": "image"}, {"Sec_Fetch_Dest": "iframe"}, {"Sec_Fetch_Dest": "empty"}, {"Sec_Fetch_Dest": ""})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_another_sites_page_lets_nothing_work_but_a_link_to_a_page_is_followed(served: Served, site: str, method: str) -> None:
    client, foreign = served(), {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
    for path in (
        "/scene",
        "/compare/live?n=1000",
        "/lesson/train-it/train",
        "/lesson/a/b",
        "/compare/",
        "/query",
    ):
        for more in (*FETCHED, {"Sec_Fetch_Dest": "document"}):
            assert client.ask(path, method, **foreign, **more).status == 403, (path, more)
    for path in ("/", "/?run=a", "/compare", "/lesson", "/lesson/zigzag"):
        for more in FETCHED:
            assert client.ask(path, method, **foreign, **more).status == 403, (path, more)
        assert client.ask(path, method, **foreign, Sec_Fetch_Dest="document").status in (200, 404), path  # the app's own word
    for own in ("same-origin", "none"):
        assert client.ask("/query", method, Sec_Fetch_Site=own).status == 200


def test_a_question_of_another_origin_starts_nothing_even_where_the_browser_does_not_name_the_site(served: Served) -> None:
    client = served()
    assert client.ask("/query", Origin="http://evil.example").status == 403
    assert client.ask("/query", Origin=f"http://127.0.0.1:{client.port}").status == 200


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("name", ["served", "waitress"])
def test_nothing_that_the_log_says_is_an_escape_sequence(monkeypatch: pytest.MonkeyPatch, debug: str, name: str) -> None:
    monkeypatch.setenv("TRS_DEBUG", debug)
    server.protect(_app())
    log.quiet_waitress()
    evil = "/\x1b]0;x\x07\u202e\udcff"
    try:
        raise ValueError(evil)
    except ValueError:
        told = [(sys.exc_info(), "asked for %s"), (None, "asked for %s\nand more")]
    for trouble, words in told:
        [formatter] = {h.formatter for h in (default_handler, *logging.getLogger("waitress").handlers)}
        line = formatter.format(logging.LogRecord(name, logging.ERROR, "", 0, words, (evil,), trouble))
        assert all(part.isprintable() for part in line.split("\n"))
        assert "\\x1b]0;x" in line


def test_bodies_are_bounded_with_and_without_a_length(served: Served) -> None:
    client = served()
    assert client.ask("/echo", "POST", bytes(server.MAX_BODY)).text == str(server.MAX_BODY)
    for path in ("/echo", "/broken"):  # whether or not anybody reads it
        answer = client.ask(path, "POST", bytes(server.MAX_BODY + 1))
        assert (answer.status, answer.text) == (413, "413: the request is larger than 3 MiB\n")
    chunks = b"".join(b"100000\r\n" + bytes(1 << 20) + b"\r\n" for _ in range((server.MAX_BODY >> 20) + 1)) + b"0\r\n\r\n"
    text = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks.decode()}"
    assert client.raw(text).startswith("HTTP/1.1 413")
    claim = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
    assert client.raw(claim).startswith("HTTP/1.1 413")


def test_addresses_and_headers_are_bounded(served: Served) -> None:
    client = served()
    assert client.ask("/query?" + "x" * server.MAX_QUERY).text == "x" * server.MAX_QUERY
    assert client.ask("/query?" + "x" * (server.MAX_QUERY + 1)).status == 414
    assert client.ask("/", X_Long="x" * 2 * server.MAX_HEADERS).status == 431


def test_every_answer_of_the_guard_and_the_app_has_the_headers(served: Served) -> None:
    client = served()
    answers = [
        client.ask("/"),
        client.ask("/nowhere"),
        client.ask("/broken"),
        client.ask("/", Host="evil.example"),
        client.ask("/echo", "POST", b"", Origin="null"),
        client.ask("/query?" + "x" * (server.MAX_QUERY + 1)),
    ]
    assert [answer.status for answer in answers] == [200, 404, 500, 400, 403, 414]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in server.HEADERS} == server.HEADERS
        assert "waitress" not in str(answer.headers)


def test_the_policy_lets_nothing_come_from_or_go_to_another_host() -> None:
    rules = {rule.split()[0]: rule.split()[1:] for rule in server.POLICY.split("; ")}
    allowed = {"'self'", "'none'", "data:", "blob:", "'unsafe-inline'"}
    assert {source for sources in rules.values() for source in sources} <= allowed
    assert rules["default-src"] == rules["connect-src"] == ["'self'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert "data:" not in rules["script-src"]


def test_an_apps_own_headers_do_not_stand_beside_ours(served: Served) -> None:
    app = _app()
    app.after_request(lambda response: response.headers.set("content-security-policy", "default-src *") or response)
    answer = served(app).raw("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.lower().count("content-security-policy") == 1
    assert "default-src *" not in answer


# --- the token -------------------------------------------------------------------------------------------------------


def test_only_the_token_opens_and_then_the_cookie_does(served: Served) -> None:
    client = served(token=TOKEN)
    for path in (
        "/",
        "/?token=",
        "/?token=wrong",
        f"/?token={TOKEN}x",
        f"/?token={TOKEN[:-1]}",
        "/?token=%ff%C3%A9",
        f"/?Token={TOKEN}",
    ):
        refused = client.ask(path)
        assert (refused.status, refused.text.count("\n")) == (403, 1), path
        assert "Set-Cookie" not in refused.headers
    assert client.ask("/echo", "POST", b"1").status == 403
    assert client.ask(f"/echo?token={TOKEN}", "POST", b"1").status == 403

    admitted = client.ask(f"/query?run=a%26b&token={TOKEN}&n=1&n=2")
    assert admitted.status == 200
    assert 'content="0;url=/query?run=a%26b&amp;n=1&amp;n=2"' in admitted.text
    assert TOKEN not in admitted.text
    name, *flags = admitted.headers["Set-Cookie"].split("; ")
    assert name == f"trs-{client.port}={TOKEN}"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(flags)
    assert admitted.headers["Cache-Control"] == "no-store"

    assert client.ask("/", Cookie=name).text == "page"
    assert client.ask("/echo", "POST", b"1", Cookie=name).text == "1"
    assert client.ask("/echo", "POST", b"1", Cookie=name, Origin="http://evil.example").status == 403
    for wrong in (name[:-1], name + "x", f"trs-1={TOKEN}", f"trs-{client.port}=", "\xe9\xff"):
        assert client.ask("/", Cookie=wrong).status == 403, wrong


def test_the_way_on_never_leaves_the_machine(served: Served) -> None:
    client = served(token=TOKEN)
    for path in (
        "//evil.example/x",
        "/%2Fevil.example",
        "/\\evil.example",
        "/%5C%5Cevil.example",
        '/"><script>',
        "/%22%3E%3Cscript%3E",
    ):
        page = client.ask(f"{path}?token={TOKEN}")
        assert page.status == 200
        target = page.text.split('content="0;url=')[1].split('"')[0]
        assert target[0] == "/"
        assert target[1] not in "/\\"
        assert "<script" not in page.text


def test_a_foreign_host_is_refused_before_the_token_is_looked_at(served: Served) -> None:
    assert served(token=TOKEN).ask(f"/?token={TOKEN}", Host="evil.example").status == 400


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
from trs_explorer.web import server
app = flask.Flask("served")
app.add_url_rule("/broken", "broken", view_func=lambda: 1 / 0)
app.add_url_rule("/slow", "slow", view_func=lambda: print("asked", flush=True) or time.sleep(60) or "slow")
server.protect(app)
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
    with server.serving(_app(), sock) as loop, socket.create_connection(("127.0.0.1", client.port)):  # the idle one waits on
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
