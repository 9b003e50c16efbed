"""Runs `trs` commands in processes that are killed at random, or just before a random change to a file.

The processes are forked from one that has imported everything (multiprocessing's forkserver), so that a start costs milliseconds.
"""

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["trs_explorer.cli.app", "trs_explorer.training", "trs_explorer.measure.evaluate_session", "rich.table"]
)
MOST_CHANGES, HANGS_S, OUTPUT = 40, 60, "said.txt"
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}


def run_killed(command: Callable[[], list[str] | None], folder: Path, rng: random.Random, *, kills: int, seconds: float) -> int:
    """Run a command in folder until it ends by itself, killing it at most `kills` times. Returns how often it was killed.

    command: the arguments of the next start; None when nothing is left to do.
    Every second kill comes after a random time of up to `seconds`, the others just before a random change to a file below
    folder, which is where a save can be torn.
    """
    killed = 0
    while (arguments := command()) is not None:
        by_time = killed < kills and rng.random() < 0.5
        at_change = rng.randint(1, MOST_CHANGES) if killed < kills and not by_time else 0
        process = _CONTEXT.Process(target=_command, args=(arguments, str(folder), at_change))
        process.start()
        process.join(rng.uniform(0, seconds) if by_time else HANGS_S)
        hangs = process.exitcode is None and not by_time
        process.kill()
        process.join()
        output = (folder / OUTPUT).read_text() if (folder / OUTPUT).exists() else ""
        assert not hangs, f"{arguments} hangs: {output}"
        assert "Traceback" not in output, output
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            continue
        assert process.exitcode == 0, f"{arguments}: {output}"
        break
    return killed


def _command(arguments: list[str], folder: str, at_change: int) -> None:
    """One `trs` command, in a process of its own."""
    os.chdir(folder)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    left = at_change

    def kill_before(event: str, args: tuple) -> None:
        nonlocal left
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if not (writes or event in CHANGES) or not str(os.path.abspath(_name(args[0]))).startswith(folder):  # noqa: PTH100
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if at_change:
        sys.addaudithook(kill_before)
    from trs_explorer import results
    from trs_explorer.cli import main

    results.SAVE_INTERVAL_S = 0.0  # these evaluations take less than two seconds: write down every batch
    sys.argv = ["trs", *arguments]
    main()


def _name(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "/"
