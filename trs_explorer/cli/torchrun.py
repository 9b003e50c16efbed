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
from trs_explorer.cli import DONE, FAILED, INTERRUPTED, WRONG_USAGE, error_message, exit_on_interrupt
from trs_explorer.cli.flags import say
from trs_explorer.cli.trainer import ignore_signals, postpone_signals, train_run
from trs_explorer.config import from_json
from trs_explorer.options import UsageError

if TYPE_CHECKING:
    from trs_explorer.training.processes import Processes


def in_processes(command: Callable[["Processes"], int]) -> int:
    """Run a command in the processes that torchrun has started. Returns the exit status.

    command: runs in rank 0, with all processes. What it trains with `train_run`, the others train too.
    """
    with exit_on_interrupt():
        from trs_explorer.training.processes import CONNECTION, connect

    with connect(int(os.environ.get(CONNECTION, "0"))) as processes:
        return _lead(processes, command) if processes.leads else _follow(processes)


def _lead(processes: "Processes", command: Callable[["Processes"], int]) -> int:
    """Run the command; however it ends, the other processes get to know. Returns its exit status."""
    from trs_explorer.training.processes import ProcessLost

    try:
        status = command(processes)
    except BaseException as error:
        ignore_signals()  # torchrun ends this process as soon as another one has ended
        processes.report_end("", _status(error))
        if isinstance(error, ProcessLost):
            raise runs.RunError(processes.why_lost(error)) from error
        raise
    with contextlib.suppress(ProcessLost):
        processes.send_command("end", status)
    return status


def _follow(processes: "Processes") -> int:
    """Take part in what rank 0 trains, and print nothing. Returns the exit status.

    It is 0 where rank 0 is a dashboard: torchrun would end the dashboard, which shows how the training has ended, after another.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to save while it waits
    watched = False
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        while True:
            run, status = None, None
            try:
                word, *more = processes.receive_command()
                if word == "end":
                    status = int(more[0])
                elif word == "reconnect":
                    watched = True
                    processes.rejoin()
                else:
                    run = runs.Run(Path(more[0]), from_json(more[1]))
                    train_run(run, lambda event: None, processes)
            except BaseException as error:
                if os.environ.get("TRS_DEBUG") == "1":
                    raise
                status = _end_after(error, processes, run, silent=watched)
            if status is not None:
                return DONE if watched else status


def _end_after(error: BaseException, processes: "Processes", run: runs.Run | None, *, silent: bool) -> int | None:
    """End after an error, as rank 0 does. Returns the exit status; None if rank 0 goes on, and this process with it.

    The error is printed by rank 0; if that was killed, by one of the others unless `silent`.
    """
    from trs_explorer.training.processes import RECONNECT, ProcessLost

    postpone_signals()  # torchrun ends this process as soon as another one has ended
    if not isinstance(error, ProcessLost):
        processes.report_end(error_message(error) if isinstance(error, Exception) else "it was interrupted", _status(error))
    processes.leave()
    of_rank_0 = processes.end_reports(0).get(0)
    if of_rank_0 is not None and of_rank_0[0] == RECONNECT:
        processes.rejoin()
        return None
    ignore_signals()
    if of_rank_0 is not None:
        return of_rank_0[0]
    dead = processes.dead()
    if 0 in dead and not silent and processes.rank == min({*range(processes.size)} - {*dead}):
        say(f"trs: process 0 of {processes.size} has ended: it was killed, or out of memory{_remedy(run)}")
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
