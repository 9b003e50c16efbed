"""A command under torchrun: rank 0 is the command, the other processes follow it in silence and end with its exit status.

torchrun --nproc-per-node 2 -m trs_explorer train --method trs
"""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trs_explorer import runs
from trs_explorer.cli import FAILED, INTERRUPTED, WRONG_USAGE, error_message, exit_on_interrupt
from trs_explorer.cli.flags import say
from trs_explorer.cli.trainer import STOPPING, train_run
from trs_explorer.config import from_json
from trs_explorer.options import UsageError

if TYPE_CHECKING:
    from trs_explorer.training.processes import Processes


def in_processes(lead: Callable[["Processes"], int]) -> int:
    """Run a command in the processes that torchrun has started. Returns the exit status.

    lead: the command, in rank 0, with all processes. What it trains with `train_run`, the others train too.
    """
    with exit_on_interrupt():
        from trs_explorer.training.processes import CONNECTION, connect

    number = int(os.environ.get(CONNECTION, "0"))
    while True:
        with connect(number) as processes:
            status = _lead(processes, lead) if processes.leads else _follow(processes)
        if status is not None:
            return status
        number += 1


def _lead(processes: "Processes", lead: Callable[["Processes"], int]) -> int:
    """Run the command; however it ends, the other processes hear of it. Returns its exit status."""
    from trs_explorer.training.processes import ProcessLost

    try:
        status = lead(processes)
    except BaseException as error:
        for number in STOPPING:  # torchrun ends this process as soon as another one has followed it
            signal.signal(number, signal.SIG_IGN)
        processes.report("", _status(error))
        if isinstance(error, ProcessLost):
            raise runs.RunError(processes.why_lost(error)) from error
        raise
    with contextlib.suppress(ProcessLost):
        processes.command("end", status)
    return status


def _follow(processes: "Processes") -> int | None:
    """Take part in what rank 0 trains. Returns the exit status; None to connect again.

    Nothing is printed, but by one process if rank 0 is gone without a word.
    """
    from trs_explorer.training.processes import ProcessLost

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to save while it waits
    run = None
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            while True:
                word, *more = processes.command()
                if word == "end":
                    return int(more[0])
                if word == "reconnect":
                    return None
                run = runs.Run(Path(more[0]), from_json(more[1]))
                train_run(run, lambda event: None, processes)
    except ProcessLost as lost:
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        told = processes.reports(0)
        if 0 in told:
            return told[0][0]
        dead = processes.dead()
        if 0 in dead and processes.rank == min({*range(processes.size)} - {*dead}):
            say(f"trs: {processes.why_lost(lost)}{_remedy(run)}")
        return FAILED
    except BaseException as error:
        if os.environ.get("TRS_DEBUG") == "1":
            raise
        processes.report(error_message(error) if isinstance(error, Exception) else "it was interrupted", _status(error))
        return _status(error)


def _remedy(run: runs.Run | None) -> str:
    if run is None:
        return ", before the training began"
    saved = run.checkpoints()[-1:]
    return f". {f'The last checkpoint is {saved[0].name}' if saved else 'Nothing was saved'}: go on with --resume {run.path}"


def _status(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(bool(error.code))
    if isinstance(error, UsageError):
        return WRONG_USAGE
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
