"""Makes damaged runs and looks at what the commands do with them: `python damage_oracle.py FIRST LAST`, or one SEED.

Without arguments it serves a test: a line "FIRST LAST" on stdin is answered by a JSON list of what went wrong. One process
imports everything; a child for each folder calls the commands, so that a crash, a hang, or memory without end is a child's.
"""

import gc
import io
import json
import os
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

os.environ["OMP_NUM_THREADS"] = "1"
# A config may name a data set that would be downloaded: nothing leaves this machine.
os.environ.update(dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"), COLUMNS="120")
sys.path.append(str(Path(__file__).resolve().parent.parent))  # for dash_client: this is no process of pytest's

import damage_mutations
import torch
from damage_commands import CHANGING, COMMANDS, CONTROLS, Command, draw

from trs_explorer import runs
from trs_explorer.cli import app, evaluate, transfer  # noqa: F401
from trs_explorer.config import resolve
from trs_explorer.evaluation.table1 import rows  # noqa: F401
from trs_explorer.evaluation.trust import from_attacks  # noqa: F401
from trs_explorer.measure import blackbox_session, evaluate_session, transfer_session  # noqa: F401
from trs_explorer.training import train

HANGS_S = float(os.environ.get("DAMAGE_HANGS_S", "20"))
LONG_S = 4.0  # a config may ask for a training that is long indeed: then it is stopped as a user would
MORE_MEMORY = 300 << 20  # bytes beside what a process has that has imported everything
ADDRESSES = 3 << 30
SPENT = os.environ.get("DAMAGE_SPENT", "")
STATUSES = (0, 1, 2, 130)
LIGHT, HEAVY = ("watch", "compare", "dashboard"), ("evaluate", "transfer", "explorer", "resume")

SETTINGS = {
    "bars": {"data": "bars", "epochs": 5, "save_every": 2, "probe_every": 2, "log_every": 1, "batch_size": 100, "device": "cpu"},
    "digits": {"data": "mnist", "method": "standard", "epochs": 2, "log_every": 1, "device": "cpu", "members": 2},
}


def trained(folder: Path) -> None:
    """Two real runs, each stopped in its last epoch, with results, whole and unfinished."""
    unlink = Path.unlink
    for name, settings in SETTINGS.items():
        if settings["data"] == "mnist":
            settings = settings | {"data_dir": str(_digits(folder / "data"))}
        run, stop, saved = runs.create(folder / name, resolve(settings)), threading.Event(), 0
        for event in train(run, stop=stop):
            saved += event["kind"] == "checkpoint"
            if saved == (2 if name == "bars" else 1):
                stop.set()
        # what an interrupted evaluation would leave is kept beside what a finished one has
        Path.unlink = lambda path, missing_ok=False: None if "unfinished" in path.name else unlink(path, missing_ok)
        for command in ("evaluate", "transfer"):
            status = _as_a_process(partial(COMMANDS[command], run.path), folder / "stdout", folder / "stderr")
            assert status == 0, (folder / "stderr").read_text()
        Path.unlink = unlink
    whole = torch.load(next((folder / "bars").glob("state-*.pt")), weights_only=True)
    torch.save(whole | {"bomb": torch.zeros(100_000_000)}, stored := io.BytesIO())
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def _digits(folder: Path) -> Path:
    """A few images in MNIST's format: MNIST itself takes half a second to unpack. Returns the folder."""
    folder.mkdir()
    rng = Random(0)
    for split, n in (("train", 128), ("t10k", 16)):
        header, labels = struct.pack(">4I", 0x803, n, 28, 28), bytes(rng.randrange(10) for _ in range(n))
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + rng.randbytes(n * 28 * 28))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + labels)
    return folder


def warmed(templates: Path) -> None:
    """Load what commands load when they first need it. No gradient is computed: autograd does not survive a fork."""
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.zeros(3)
    for optimizer in (torch.optim.Adam([weight], fused=True), torch.optim.SGD([weight], momentum=0.9, fused=True)):
        optimizer.step()
    draw(runs.open_run(templates / "bars"))


# --- a child -------------------------------------------------------------------------------------------------------------


def _fork(work: Callable[[], None], here: Path) -> int:
    """Fork: the child does the work in a folder, in a session of its own. Returns its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        os.chdir(here)
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(72)


def _addresses() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _as_a_process(command: Callable[[], None], out: Path, err: Path) -> int:
    """Call a command as a fresh `trs` without a terminal would run it. Returns its exit status, 71 for a traceback."""
    for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 0
    try:
        try:
            command()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except runs.RunError as error:
            print(f"trs: {error}", file=sys.stderr)
            status = 1
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        status = 71
    sys.stderr.flush()
    return status


def _wait(child: int, names: Sequence[str], results: Path) -> tuple[int, bool]:
    """Wait for a child that adds a line to results at the end of every command. Its status, and whether it had to be killed.

    A training that goes on after `LONG_S` is told to stop, as a user would; a command that then does not end is killed.
    """
    handle, ended, since, stop_sent = os.pidfd_open(child), 0, time.monotonic(), False
    try:
        while not select.select([handle], [], [], 0.25)[0]:
            lines = results.read_bytes().count(b"\n") if results.exists() else 0
            if lines != ended:
                ended, since, stop_sent = lines, time.monotonic(), False
            spent = time.monotonic() - since
            if spent > LONG_S and not stop_sent and names[ended : ended + 1] == ["resume"]:
                os.kill(child, signal.SIGTERM)
                stop_sent = True
            if spent > HANGS_S:
                os.kill(child, signal.SIGKILL)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), True
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), False


# --- one damaged folder --------------------------------------------------------------------------------------------------


def check(seed: int, templates: Path, work: Path) -> dict | None:
    """What went wrong with the folder that a seed gives; None if nothing did."""
    rng, place = Random(seed), work / str(seed)
    results = work / f"{seed}.results"
    try:
        folder, done = damaged(rng, templates, place)
        light, heavy = rng.sample(LIGHT, rng.choice((1, 1, 1, 2))), rng.sample(HEAVY, rng.choice((1, 1, 2)))
        chosen = sorted([*light, *heavy], key=lambda name: name in CHANGING)

        def all_commands() -> None:
            for name in chosen:
                wrong = judged(name, COMMANDS[name], folder, place)
                with results.open("a") as file:
                    file.write(json.dumps([name, wrong]) + "\n")

        status, hangs = _wait(_fork(all_commands, place / "here"), chosen, results)
        ended = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        wrong = [f"{name}: {words}" for name, several in ended for words in several]
        if hangs or status:
            stderr = (place / "stderr").read_bytes().decode("utf-8", "backslashreplace")[-200:]
            how = "hangs" if hangs else f"crashes: {signal.Signals(-status).name}" if status < 0 else f"ends with {status}"
            wrong.append(f"{chosen[len(ended)]}: {how}: {stderr!r}")
        return (
            {"seed": seed, "mutations": done, "folder": ascii(folder.name), "commands": chosen, "wrong": wrong} if wrong else None
        )
    finally:
        results.unlink(missing_ok=True)
        for path in place.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(place)


def damaged(rng: Random, templates: Path, place: Path) -> tuple[Path, list[str]]:
    """A damaged copy of a run, another that is whole beside it, and files that are nobody's business."""
    for name in ("here", "home", "outside/folder"):
        (place / name).mkdir(parents=True)
    (place / "outside" / "canary.jsonl").write_bytes(b'{"kind":"note","text":"kept"}\n{"kind":"torn')
    (place / "outside" / "folder" / "kept.txt").write_text("kept")
    os.link(templates / "bomb.pt", place / "bomb.pt")
    shutil.copytree(templates / "bars", place / "runs" / "good")
    folder = place / "runs" / "damaged"
    shutil.copytree(templates / rng.choice(("bars", "bars", "digits")), folder)
    done = damage_mutations.damage(rng, folder)
    if (name := folder.with_name("name")).is_file():
        called = folder.with_name(os.fsdecode(name.read_bytes()))
        name.unlink()
        folder = folder.rename(called)
    return folder, done


def judged(name: str, command: Command, folder: Path, place: Path) -> list[str]:
    """What is wrong with how a command ends on a folder."""
    out, err, before = place / "stdout", place / "stderr", _outside(place, folder)
    for path in (out, err):
        path.unlink(missing_ok=True)
    os.environ["HOME"] = str(place / "home")
    Path("/proc/self/clear_refs").write_text("5")  # the greatest memory is counted anew
    base, started = _memory(), (time.process_time(), time.monotonic())
    status = _as_a_process(lambda: command(folder), out, err)
    memory = _memory() - base
    if SPENT:
        with Path(SPENT).open("a") as file:
            file.write(f"{name} {time.process_time() - started[0]:.3f} {time.monotonic() - started[1]:.3f}\n")
    printed, stderr = (path.read_bytes().decode("utf-8", "backslashreplace") for path in (out, err))
    if status == 71:
        return [f"traceback: {_last_frames(stderr)}"]
    wrong = []
    if status not in STATUSES:
        wrong.append(f"exit status {status}")
    elif status in (1, 2) and not stderr.strip():
        wrong.append(f"exit status {status} without a word")
    if memory > MORE_MEMORY:
        wrong.append(f"memory: {memory >> 20} MB more")
    if "Traceback" in stderr or "Exception ignored" in stderr:
        wrong.append(f"traceback: {_last_frames(stderr)}")
    elif len(stderr.replace(folder.name, "").splitlines()) > 2:  # there are names of two lines
        wrong.append(f"{len(stderr.splitlines())} lines of error: {stderr[:300]!r}")
    elif len(stderr) > 4000:
        wrong.append(f"{len(stderr)} letters of error: {stderr[:80]!r}")
    elif match := re.match(r"trs: (\w+(?:Error|Exception)\b.*|'[^']*'|[\d\W]*)$", stderr):
        wrong.append(f"raw words: {match[0][:200]!r}")
    for what, text in (("stdout", printed), ("stderr", stderr)):
        if match := CONTROLS.search(text):
            wrong.append(f"control character {match[0]!r} in {what}: {text[max(0, match.start() - 60) : match.end() + 20]!r}")
    if len(printed) > 200_000:
        wrong.append(f"{len(printed)} letters printed")
    after = _outside(place, folder)
    if changed := {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}:
        wrong.append(f"writes outside the folder: {sorted(changed)[:3]}")
    return wrong


def _memory() -> int:
    """The greatest memory of this process since that was last reset, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def _last_frames(stderr: str) -> str:
    """Where and what: the last line, and the last lines of our own code that led to it."""
    frames = re.findall(r"File \".*?(trs_explorer/[^\"]*)\", line (\d+), in (\S+)", stderr)
    last = [line for line in stderr.strip().splitlines() if line and not line.startswith(" ")][-1:]
    where = " < ".join(f"{file}:{line} {function}" for file, line, function in frames[:-4:-1])
    return f"{''.join(last)[:200]!a} at {where or 'no frame of trs_explorer'}"


def _outside(place: Path, folder: Path) -> dict[str, tuple]:
    """What there is beside the damaged folder: sizes, times and targets."""
    files: dict[str, tuple] = {}
    open_ = [place]
    while open_:
        for entry in os.scandir(open_.pop()):
            path = Path(entry.path)
            if path == folder or path.name in ("stdout", "stderr", ".cache"):  # a data set may be cached at home
                continue
            about = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                open_.append(path)
                files[str(path.relative_to(place))] = ("folder",)
            else:
                files[str(path.relative_to(place))] = (about.st_size, about.st_mtime_ns, about.st_ino)
    return files


# --- many ----------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Check seeds: those of the arguments, or those that a test asks for, line by line."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="damage-") as root:
        templates, work = Path(root) / "templates", Path(root) / "work"
        for path in (templates, work):
            path.mkdir()
        child = os.fork()
        if not child:
            trained(templates)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0, "the runs to damage could not be made"
        warmed(templates)
        gc.collect()
        gc.freeze()  # what is there stays: children share it
        resource.setrlimit(resource.RLIMIT_AS, (_addresses() + ADDRESSES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.argv[1:]:
            first, last = int(sys.argv[1]), int(sys.argv[-1])
            for seed in range(first, max(last, first + 1)):
                if problem := check(seed, templates, work):
                    print(json.dumps(problem), flush=True)
            return
        print("ready", flush=True)
        for line in sys.stdin:
            first, last = map(int, line.split())
            problem = [one for seed in range(first, last) if (one := check(seed, templates, work))]
            print(json.dumps(problem), flush=True)


if __name__ == "__main__":
    main()
