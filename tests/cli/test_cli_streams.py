"""Where a command's output goes: nobody reads it, it is closed, its encoding has few letters, its disk is full."""

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trs_explorer import runs
from trs_explorer.cli import streams

FULL = Path("/dev/full")


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which "trs" is this package's; its status is that of trs."""
    script = f'trs() {{ "{sys.executable}" -m trs_explorer "$@"; }}; set -o pipefail; {line}'
    path = str(Path(streams.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", **more}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch):
    """Standard output is what a function is given: a file descriptor, and its encoding."""
    before, opened = (sys.stdin, sys.stdout, sys.stderr), []

    def use(number: int, encoding: str = "utf-8", *, unbuffered: bool = False) -> None:
        opened.append(number)
        file = open(number, "wb", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        sys.stdout = io.TextIOWrapper(file, encoding, write_through=unbuffered)
        sys.stderr = None  # the one of pytest stays as it is
        monkeypatch.setattr(streams, "_point_to_null", lambda number, flags: opened.append((number, flags)))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        streams.prepare()

    yield use
    sys.stdin, sys.stdout, sys.stderr = before
    for number in opened:
        if isinstance(number, int):
            os.close(number)


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_pipe_that_nobody_reads_takes_everything_and_is_no_error(raw, unbuffered: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    raw(writing, unbuffered=unbuffered)
    for _ in range(3):
        print("x" * 100_000, flush=True)
    assert streams.write_error() is None


@pytest.mark.skipif(not FULL.exists(), reason="there is no such device")
@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_full_disk_ends_nothing_and_is_told_in_the_end(raw, unbuffered: bool) -> None:
    raw(os.open(FULL, os.O_WRONLY), unbuffered=unbuffered)
    for _ in range(3):
        print("x" * 100_000, flush=True)
    assert streams.write_error().errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("encoding", "text", "shown"),
    [
        ("ascii", "pgd, ε .1 → räum", r"pgd, eps .1 -> r\xe4um"),
        ("cp1252", "pgd, ε .1 → räum", "pgd, eps .1 -> räum"),
        ("utf-8", "pgd, ε .1 → räum", "pgd, ε .1 → räum"),
        ("utf-8", "bad\udcffname", r"bad\udcffname"),
    ],
)
def test_what_an_encoding_lacks_is_written_in_words(raw, tmp_path: Path, encoding: str, text: str, shown: str) -> None:
    raw(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), encoding)
    print(text, flush=True)
    assert (tmp_path / "out").read_text(encoding).rstrip("\r\n") == shown


def test_errors_of_the_system_are_said_without_their_numbers(trs, monkeypatch: pytest.MonkeyPatch) -> None:
    from trs_explorer.cli import data

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")

    monkeypatch.setattr(data, "entry", fail)
    result = trs("data", "get", "mnist")
    assert (result.status, result.err) == (1, f"trs: some/file: {os.strerror(errno.ENOSPC)}\n")


def test_no_control_character_of_a_name_is_printed(trs, trained: Path, tmp_path: Path) -> None:
    """With files too: whoever prints a CSV file sees the name again."""
    named = trained.rename(tmp_path / "a\x1b[31mb\x9b")
    other = shutil.copytree(named, tmp_path / "other")
    for line in (
        ("evaluate", named, "--attacks", "fgsm", "--limit", 5, "--csv", "x.csv"),
        ("transfer", named, "--limit", 5, "--attack", "fgsm", "--csv", "x.csv"),
        ("compare", named, other, "--stored", "--csv", "x.csv"),
        ("compare", named, other, "--stored", "--markdown"),
        ("blackbox", named, "--surrogates", named, "--limit", 5),
        ("evaluate", tmp_path / "no\x1b[31mrun"),
    ):
        result = trs(*line)
        said = result.out + result.err + (Path("x.csv").read_text() if "x.csv" in line else "")
        assert r"\x1b[31m" in said
        assert not {"\x1b", "\x9b"} & set(said)


# What follows starts processes: there, it is the process that is looked at.


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.parametrize("command", ["data list", "evaluate trained --limit 5 --attacks fgsm", "watch trained", "--help"])
@pytest.mark.parametrize("sink", ["| true", "2>&1 | true", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_output_that_goes_nowhere_is_no_error(trained: Path, command: str, sink: str) -> None:
    done = shell(f"trs {command} {sink}", trained.parent)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.parametrize("sink", ["--plain >&-", ">&- 2>&-", "--plain | true", "--json | true"])
def test_a_training_whose_output_goes_nowhere_is_trained_all_the_same(tmp_path: Path, sink: str) -> None:
    done = shell(f"trs train --data bars --epochs 2 --device cpu --out räum {sink}", tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert runs.open_run(tmp_path / "räum").status()["state"] == "finished"


@pytest.mark.campaign
@pytest.mark.slow
def test_files_are_whole_when_the_first_reader_leaves(trained: Path) -> None:
    shutil.copytree(trained, trained.parent / "other")
    files = "--csv u.csv --json u.json"
    done = shell(f"trs evaluate trained other --limit 5 --attacks fgsm {files} | head -1", trained.parent)
    assert done.returncode == 0
    assert (trained.parent / "u.csv").read_text().count("\n") == 1 + 2 * 2
    done = shell("trs compare trained --stored --markdown --csv t.csv", trained.parent, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    assert "| fgsm, eps .325 |" in done.stdout
    assert (trained.parent / "t.csv").exists()


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="there is no such device")
def test_a_full_disk_is_said_and_the_work_is_done(trained: Path) -> None:
    done = shell("trs evaluate trained --limit 5 --attacks fgsm --csv u.csv > /dev/full", trained.parent)
    assert (done.returncode, done.stderr) == (1, "trs: cannot write to standard output: No space left on device\n")
    assert (trained.parent / "u.csv").exists()


@pytest.mark.campaign
@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "module"),
    [("--help", "trs_explorer.cli.app"), ("data list", "trs_explorer.evaluation.table1.paper"), ("evaluate {}", "torch")]
    + [(line, "torch.nn") for line in ("evaluate {}", "transfer {}", "compare {} --limit 5", "blackbox {}")],
)
def test_ctrl_c_while_something_is_imported_ends_it_without_a_traceback(trained: Path, line: str, module: str) -> None:
    """An exception in the middle of importing torch would abort the process."""
    code = f"""
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["trs", *{line.format(trained).split()!r}]
from trs_explorer.cli import main
main()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(streams.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.count("Traceback"), done.stdout) == (130, 0, "")
