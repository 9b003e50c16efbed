"""`trs explore` as a process of its own. What it serves is a stub but in the last test: pages have tests of their own."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import flask
import pytest

from trs_explorer import runs
from trs_explorer.cli.explore import _passed_over
from trs_explorer.config import resolve
from trs_explorer.shipped import shipped_runs

ROOT = Path(runs.__file__).parents[1]
STUBS = """
import sys, threading, time, types
import flask
from trs_explorer import runs

class Library:
    def __init__(self, paths, *, device, data_dir=""):
        found = {run.path.resolve(): run.name for path in paths for run in runs.find_runs(path)}
        if not found:
            raise runs.RunError("there is no run")
        self.names = list(found.values())

def create_app(library, *, readonly, url_prefix, command):
    app = flask.Flask("stub")
    app.add_url_rule("/", "root", lambda: f"readonly={readonly} {url_prefix}{' '.join(library.names)}")
    busy = threading.Thread(target=time.sleep, args=(60,), daemon=False)
    app.add_url_rule("/busy", "busy", lambda: busy.start() or "computing")
    return types.SimpleNamespace(server=app)

sys.modules["trs_explorer.explore.library"] = types.SimpleNamespace(Library=Library)
sys.modules["trs_explorer.web.app"] = types.SimpleNamespace(create_app=create_app)
from trs_explorer.cli import main
main()
"""
ADDRESS = re.compile(r"http://(\S+?):(\d+)/(\S*)")


class Explorer:
    """A started `trs explore`, once it has printed its address."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.said = process, ""
        for line in process.stdout:
            self.said += line
            if found := ADDRESS.search(line):
                self.host, self.port, self.query = found[1], int(found[2]), found[3]
                return
        raise AssertionError(f"no address: {self.said} {process.stderr.read()}")

    def ask(self, path: str = "/", **headers: str) -> tuple[int, str, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body, answer.getheader("Set-Cookie")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str, float]:
        start = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err, time.monotonic() - start


Start = Callable[..., Explorer]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run's folder; nobody loads its weights here."""
    return runs.create(tmp_path / "trained", resolve({"data": "bars"})).path


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: object, code: str = STUBS, browser: str = "", **options: object) -> Explorer:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "BROWSER": browser, "DISPLAY": "", "WAYLAND_DISPLAY": ""}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
            command = [sys.executable, "-c", code, "explore", *map(str, arguments)]
            process = stack.enter_context(subprocess.Popen(command, **pipes, **options))
            stack.callback(process.kill)
            return Explorer(process)

        yield begin


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_run_is_served_until_a_signal_and_that_is_a_normal_end(start: Start, trained: Path, number: signal.Signals) -> None:
    explorer = start(trained, "--port", 0)
    assert explorer.said == f"1 run at http://127.0.0.1:{explorer.port}/  (Ctrl-C ends it)\n"
    assert explorer.ask()[:2] == (200, "readonly=False trained")
    assert explorer.ask(Host="evil.example")[0] == 400
    status, out, err, seconds = explorer.end(number)
    assert (status, out, err) == (0, "stopped\n", "")
    assert seconds < 1.5  # the interpreter's own end is in it


@pytest.mark.slow
def test_what_is_still_computed_does_not_hold_up_the_end(start: Start, trained: Path) -> None:
    explorer = start(trained, "--port", 0)
    assert explorer.ask("/busy")[1] == "computing"
    status, out, _, seconds = explorer.end()
    assert (status, out) == (0, "stopped\n")
    assert seconds < 1.5


def test_what_of_a_folder_is_not_shown_is_said(trained: Path, tmp_path: Path) -> None:
    assert _passed_over(tmp_path) == []
    for name in ("notes", "data", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "text").write_text("")
    assert _passed_over(tmp_path) == ["2 folders passed over: no config.json (data, notes)"]
    (tmp_path / "data" / "config.json").write_text("{")
    assert _passed_over(tmp_path) == [
        "1 folder passed over: no config.json (notes)",
        f"passed over: {tmp_path}/data/config.json is damaged: it is not JSON",
    ]
    assert _passed_over(trained) == []


@pytest.mark.slow
def test_without_a_path_the_shipped_runs_and_those_of_the_current_folder(start: Start, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "checkpoints" / "mine")
    explorer = start("--port", 0)
    names = [*(run.name for run in shipped_runs()), "mine"]
    assert explorer.ask()[1].split()[1:] == names
    assert explorer.said.startswith(f"{len(names)} runs at ")


@pytest.mark.slow
def test_without_a_path_in_the_project_itself_no_run_is_there_twice(start: Start) -> None:
    names = start("--port", 0, cwd=ROOT).ask()[1].split()[1:]
    assert len(names) == len(set(names))
    assert {run.name for run in shipped_runs()} <= set(names)


@pytest.mark.slow
def test_a_bare_name_is_a_shipped_run_and_a_folder_gives_all_in_it(start: Start, trained: Path, tmp_path: Path) -> None:
    assert start("bars-trs", "--port", 0).ask()[1].split()[1:] == ["bars-trs"]
    assert start("checkpoints/bars-trs", "--port", 0).ask()[1].split()[1:] == ["bars-trs"]
    for name in ("b", "a"):
        shutil.copytree(trained, tmp_path / "many" / name)
    (tmp_path / "many" / "other").mkdir()
    explorer = start("many", "--port", 0)
    assert explorer.ask()[1].split()[1:] == ["a", "b"]
    assert explorer.end()[2] == "1 folder passed over: no config.json (other)\n"


@pytest.mark.slow
def test_a_port_in_use_gives_another_and_says_so(start: Start, trained: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        explorer = start(trained, "--port", port)
    assert port < explorer.port <= port + 20
    assert explorer.said.splitlines()[0] == f"port {port} is in use: using {explorer.port}"


@pytest.mark.slow
def test_beyond_loopback_it_is_read_only_and_asks_for_the_token(start: Start, trained: Path) -> None:
    explorer, other = (start(trained, "--port", 0, "--host", "0.0.0.0") for _ in range(2))
    token = re.fullmatch(r"\?token=([\w-]{43})", explorer.query)[1]
    assert explorer.host != "0.0.0.0"
    assert other.query != explorer.query
    assert "change nothing" in explorer.said
    assert explorer.ask()[0] == 403
    status, _, cookie = explorer.ask(f"/?token={token}")
    assert (status, cookie.split(";")[0]) == (200, f"trs-{explorer.port}={token}")
    assert explorer.ask(Cookie=cookie.split(";")[0])[:2] == (200, "readonly=True trained")
    assert other.ask(Cookie=f"trs-{other.port}={token}")[0] == 403


@pytest.mark.slow
def test_other_names_of_loopback_need_no_token(start: Start, trained: Path) -> None:
    explorer = start(trained, "--port", 0, "--host", "localhost")
    assert (explorer.host, explorer.query) == ("localhost", "")
    assert explorer.ask(Host=f"localhost:{explorer.port}")[:2] == (200, "readonly=False trained")


@pytest.mark.slow
def test_behind_a_proxy_its_name_is_answered_and_addresses_begin_with_the_path(start: Start, trained: Path) -> None:
    explorer = start(
        trained, "--port", 0, "--url-prefix", "trs/", "--trusted-host", "hub.example.org", "--trusted-host", "localhost"
    )
    assert (explorer.host, explorer.query) == ("127.0.0.1", "trs/")
    assert explorer.ask("/trs/", Host="hub.example.org")[:2] == (200, "readonly=False /trstrained")
    assert explorer.ask("/", Host="hub.example.org:8443")[:2] == (200, "readonly=False /trstrained")
    assert explorer.ask("/", Host="example.org")[0] == 400


@pytest.mark.parametrize("wrong", [("--url-prefix", "a b"), ("--trusted-host", "https://hub.example.org")])
def test_what_is_no_path_or_no_name_is_wrong_usage(trs, trained: Path, wrong: tuple[str, str]) -> None:
    result = trs("explore", trained, "--no-browser", *wrong)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"trs: {wrong[0]} {wrong[1]!r} is no")
    assert result.err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a script is no browser there")
def test_the_browser_finds_a_server_that_answers(start: Start, trained: Path, tmp_path: Path) -> None:
    look = "import sys, urllib.request as r; open('seen', 'w').write(sys.argv[1] + ' ' + r.urlopen(sys.argv[1]).read().decode())"
    (tmp_path / "look.py").write_text(look)
    explorer = start(trained, "--port", 0, browser=f"{sys.executable} {tmp_path / 'look.py'} %s")
    seen, end = tmp_path / "seen", time.monotonic() + 20
    while not (seen.exists() and seen.read_text().endswith("trained")) and time.monotonic() < end:
        time.sleep(0.02)
    assert seen.read_text() == f"http://127.0.0.1:{explorer.port}/ readonly=False trained"


@pytest.mark.parametrize("wanted", [True, False], ids=["browser", "no-browser"])
@pytest.mark.parametrize("page", ["", "lesson"])
def test_no_browser_is_opened_where_none_is_wanted(
    trs, trained: Path, monkeypatch: pytest.MonkeyPatch, page: str, wanted: bool
) -> None:
    from trs_explorer.web import server

    opened: list[str] = []
    made: list[dict] = []
    app = SimpleNamespace(server=flask.Flask("stub"))
    stubs = {
        "explore.library": {"Library": lambda _, **__: SimpleNamespace(names=["trained"])},
        "web.app": {"create_app": lambda *_, **given: made.append(given) or app},
    }
    for name, stub in stubs.items():
        monkeypatch.setitem(sys.modules, f"trs_explorer.{name}", SimpleNamespace(**stub))
    monkeypatch.setattr(server, "serve", lambda _, sock: sock.close())
    monkeypatch.setattr(server, "open_browser", opened.append)
    command = ["lesson"] if page else ["explore", trained]
    result = trs(*command, "--port", 0, *([] if wanted else ["--no-browser"]))
    assert (result.status, result.err) == (0, "")
    assert opened == ([ADDRESS.search(result.out)[0]] if wanted else [])
    assert ADDRESS.search(result.out)[3] == page
    assert made[0]["command"] == f"trs {page or 'explore'}"  # what the page says to start again once the server has gone


def test_an_ipv6_address_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    from trs_explorer.cli.explore import _announce

    _announce("http://[fe80::1]:8050/", 2, (8050, 8050), None)
    assert capsys.readouterr().out == "2 runs at http://[fe80::1]:8050/  (Ctrl-C ends it)\n"


# --- what goes wrong: before anything heavy is loaded ----------------------------------------------------------------

WRONG = {
    "explore nowhere": (1, "nowhere: no such run. Shipped runs: "),
    "explore /no/such/folder": (1, "/no/such/folder: no such run folder"),
    "explore ..": (1, "..: there is no run in this folder, and it is none itself"),
    "explore empty": (1, "empty is not a run: it is empty"),
    "explore file": (1, "file: no such run folder"),
    "explore damaged": (1, "damaged/config.json is damaged"),
    "explore --host 192.0.2.7": (2, "--host 192.0.2.7 is not an address of this machine"),
    "explore --host localhost:80": (2, "--host 'localhost:80' is not an address"),
    "explore --port 65536": (2, "--port must be >= 0 and <= 65535, got 65536"),
    "explore --port -1": (2, "--port must be >= 0 and <= 65535, got -1"),
    "explore --port http": (2, "--port"),
    "explore a b": (2, "b"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_said_in_a_line(trs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    for folder in ("empty", "damaged", "here"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "damaged" / "config.json").write_text("{")
    monkeypatch.chdir(tmp_path / "here" if ".." in line else tmp_path)
    for module in ("trs_explorer.explore.library", "trs_explorer.web.app"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it would fail in other words
    result = trs(*line.split())
    status, words = WRONG[line]
    assert (result.status, result.out) == (status, "")
    assert words in result.err
    assert result.err.count("\n") == 1
    assert result.err.startswith("trs: ")


def test_all_ports_in_use_is_wrong_usage(trs, trained: Path) -> None:
    with ExitStack() as stack:
        last = stack.enter_context(socket.socket())
        try:
            last.bind(("127.0.0.1", 65535))  # nothing comes after it
        except OSError:
            pass
        else:
            last.listen()
        result = trs("explore", trained, "--port", 65535)
    assert (result.status, result.out) == (2, "")
    assert result.err == "trs: port 65535 is in use: choose another --port, or 0 for any that is free\n"


def test_the_help_teaches(trs) -> None:
    said = " ".join(trs("explore", "--help").out.split())
    for words in ("--host", "--port", "--no-browser", "read-only", "trs explore mnist-trs", "Ctrl-C"):
        assert words in said


# --- the whole thing -------------------------------------------------------------------------------------------------


def test_the_real_page_is_served(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.explore.slices import _one_thread_a_core
    from trs_explorer.web import server

    _one_thread_a_core()  # these threads stay; at the end of an explorer with threads of its own, the process ends at once
    pages: dict[str, flask.Response] = {}

    def look(app: flask.Flask, sock: socket.socket) -> None:
        host = {"base_url": f"http://127.0.0.1:{sock.getsockname()[1]}/"}
        pages.update({path: app.test_client().get(path, **host) for path in ("/", "/_dash-layout")})
        sock.close()

    monkeypatch.setattr(server, "serve", look)
    result = trs("explore", "bars-trs", "--port", 0, "--no-browser")
    assert (result.status, result.err, result.out.splitlines()[-1]) == (0, "", "stopped")
    assert [page.status_code for page in pages.values()] == [200, 200]
    assert "_dash-config" in pages["/"].text


@pytest.mark.slow
def test_a_process_serves_the_real_page(start: Start) -> None:
    explorer = start("bars-trs", "--port", 0, "--no-browser", code="from trs_explorer.cli import main; main()")
    status, page, _ = explorer.ask()
    assert status == 200
    assert "_dash-config" in page
    assert explorer.ask("/_dash-layout")[0] == 200
    status, out, err, _ = explorer.end()
    assert (status, out, err) == (0, "stopped\n", "")
