"""`trs train`: train an ensemble."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trs_explorer import lookup, runs
from trs_explorer.cli import exit_on_interrupt, started_by_torchrun
from trs_explorer.cli.config_file import values_from_toml
from trs_explorer.cli.custom_options import custom_values
from trs_explorer.cli.display import Display, Silent, display
from trs_explorer.cli.flags import (
    AllowCodeOption,
    AsciiOption,
    ascii_wanted,
    can_draw,
    given,
    on_terminal,
    say,
    with_option_flags,
)
from trs_explorer.cli.torchrun import in_processes
from trs_explorer.cli.trainer import train_run, train_with_progress
from trs_explorer.config import absolute, resolve
from trs_explorer.files import open_for_appending, printable
from trs_explorer.options import UsageError
from trs_explorer.results import check_resumable
from trs_explorer.run_config import change_config

if TYPE_CHECKING:
    from trs_explorer.training.processes import Processes

Flag = typer.Option


@with_option_flags
def train(
    *,
    context: typer.Context,
    out: Annotated[Path | None, Flag("--out", help="Folder of the new run. Default: checkpoints/METHOD-DATA-N.")] = None,
    seeds: Annotated[
        str | None,
        Flag("--seeds", help="A training for each seed, one after another, in OUT-seed-N: 0-4 or 0,3,7. Repeated, it continues."),
    ] = None,
    resume: Annotated[
        Path | None, Flag("--resume", help="Continue this run from its newest checkpoint. Give --data-dir if its data has moved.")
    ] = None,
    config: Annotated[Path | None, Flag("--config", help="TOML file with settings. Flags override it.")] = None,
    tui: Annotated[bool, Flag("--tui", help="Watch in the terminal dashboard. The training is a process of its own.")] = False,
    plain: Annotated[bool, Flag("--plain", help="Plain lines, no escape codes.")] = False,
    ascii: AsciiOption = False,
    json: Annotated[bool, Flag("--json", help="Print one event (JSON) per line on stdout, nothing else.")] = False,
    allow_code: AllowCodeOption = False,
    **values: object,
) -> None:
    """Train an ensemble; by default TRS on the embedded MNIST.

    Ctrl-C saves and exits with status 130; continue with --resume. The run's folder has everything: settings, events,
    checkpoints.

    Several seeds are one experiment: trs train --seeds 0-4 trains five runs, and trs compare shows them as one row.

    Examples: trs train --tui, trs train --method cos-only --limit 6000 --epochs 5, trs train --data bars --plain

    On several processors or GPUs: torchrun --nproc-per-node 2 -m trs_explorer train ... It shares out each batch.

    Your own: trs train --method mine.py:loss --model mine.py:net --data images.npz. With --help they show their options.
    """
    del allow_code
    if tui + plain + json > 1:
        raise UsageError("choose one of --tui, --plain and --json")
    draws = tui and can_draw()
    how = "json" if json else "rich" if on_terminal() and not (plain or tui) else "plain"
    chosen = given(values) | custom_values(context)

    def lead(processes: "Processes | None") -> int:
        def train_one(run: runs.Run, *, more: bool = False, about: Mapping[str, object] | None = None) -> int:
            if draws:
                return _train_in_dashboard(run, ascii_wanted(ascii), leaves_at_end=more, processes=processes)
            return _train_here(run, how, about, processes)

        if seeds is not None:
            if draws and processes is not None:
                raise UsageError("--seeds and --tui do not go together under torchrun: drop --tui, and follow it with trs watch")
            return _train_seeds(chosen, seeds, out, resume, config, train_one, json_lines=json, processes=processes)
        run = _run_to_train(chosen, out, resume, config, processes)
        with runs.discard_unless_begun(run) if resume is None else contextlib.nullcontext():
            if tui and not draws:
                print("trs: no terminal to draw the dashboard on: plain lines instead", file=sys.stderr)
            return train_one(run)

    raise SystemExit(in_processes(lead) if started_by_torchrun() else lead(None))


def _train_seeds(
    values: dict,
    text: str,
    out: Path | None,
    resume: Path | None,
    config: Path | None,
    train: Callable,
    *,
    json_lines: bool,
    processes: "Processes | None",
) -> int:
    """Train with several seeds, and show each training as a single one is shown. Returns the exit status."""
    from trs_explorer.cli.train_seeds import train_seeds
    from trs_explorer.seeds import parse_seeds

    if resume is not None:
        raise UsageError("--resume continues one run: drop it. The command that began several seeds continues them")
    if "seed" in values:
        raise UsageError("choose one of --seed and --seeds")
    if config is not None:
        values = {**values_from_toml(config), **values}

    def report(fields: dict) -> None:
        if json_lines:
            print(dumps({"kind": "seed", **fields}, separators=(",", ":")), flush=True)
        if fields["state"] in ("skipped", "failed"):
            why = fields.get("error") or "it was finished before"
            say(f"seed {fields['seed']} {fields['state']}: {why} -> {fields['run']}")

    return train_seeds(values, parse_seeds(text), out, train, report, processes)


def _run_to_train(
    values: dict, out: Path | None, resume: Path | None, config: Path | None, processes: "Processes | None"
) -> runs.Run:
    if resume is not None:
        data_dir = values.pop("data_dir", None)
        if values or out or config:
            extra = ["--" + n.replace("_", "-") for n in values] + ["--out"] * bool(out) + ["--config"] * bool(config)
            raise UsageError(f"--resume takes every setting from the run's config.json: drop {', '.join(extra)}")
        run = runs.open_run(resume)
        if run.status().get("state") == "finished":
            raise UsageError(f"{resume} is finished: nothing is left to train")
        check_resumable(run)
        return run if data_dir is None else _with_data_dir(run, str(data_dir))
    if config is not None:
        values = {**values_from_toml(config, values), **values}
    if out is not None:
        runs.check_free(out)
    if not lookup.is_custom_data(str(values.get("data", ""))):
        resolve(values)  # what is wrong with them is said before torch is there
    with exit_on_interrupt():  # now: Ctrl-C during an import would leave a folder where nothing has begun
        from trs_explorer.training.new_run import complete, new_folder
    settings = complete(values, train=partial(train_with_progress, processes=processes), notify=say)
    return runs.create(new_folder(settings) if out is None else out, settings)


def _with_data_dir(run: runs.Run, data_dir: str) -> runs.Run:
    """The run with another data folder in its config, after a check that the data there is the same."""
    from trs_explorer import data

    for train in (True, False):
        data.load_for(run, train=train, data_dir=data_dir)
    return change_config(run, data_dir=absolute(data_dir))


def _train_here(run: runs.Run, how: str, about: Mapping[str, object] | None = None, processes: "Processes | None" = None) -> int:
    """Train in this process. how: plain lines, a rich display or JSON lines. about: see `display`."""
    with display(run, how, about=about) as show:
        show = _show(show, None)

        def show_event(event: dict) -> None:
            nonlocal show
            show = _show(show, event)

        aside = contextlib.redirect_stdout(sys.stderr) if how == "json" else contextlib.nullcontext()
        with aside:
            return train_run(run, show_event, processes)


def _show(show: Display, event: dict | None) -> Display:
    """Show an event, or (None) the start. Returns a silent display if that fails (`| head`, a full disk, an encoding)."""
    try:
        show.starting() if event is None else show.event(event)
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the buffered rest must go somewhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Silent()
    return show


def _train_in_dashboard(
    run: runs.Run, ascii_only: bool, *, leaves_at_end: bool = False, processes: "Processes | None" = None
) -> int:
    """Start the trainer as a process of its own and watch it as `trs watch` does; leaves_at_end: until the training ends.

    processes: started by torchrun; the trainer takes the place of this one among them.
    """
    from trs_explorer.shipped import python_m
    from trs_explorer.tui import watch

    environment = None if processes is None else {**os.environ, **processes.hand_over()}
    allow_code = ["--allow-code"] * bool(run.config.code_of_others())  # the user has named it, or said so
    with open_for_appending(run.log) as log:
        trainer = subprocess.Popen(
            [*python_m("trs_explorer"), "train", "--resume", str(run.path), "--plain", *allow_code],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    threading.Thread(target=_reap, args=[trainer], daemon=True).start()
    status_of_watch = watch(run, owns_trainer=True, leaves_at_end=leaves_at_end, ascii_only=ascii_only)
    if run.status().get("state") not in (*runs.ALIVE, None):
        with contextlib.suppress(subprocess.TimeoutExpired):
            trainer.wait(timeout=5)  # it is about to end, or has not begun yet
    if trainer.poll() is None:
        print(f"The training continues as process {trainer.pid}. To watch it again: trs watch {printable(run.path)}")
        return status_of_watch
    status = run.status()
    error = f": {status['error']}" if status.get("error") else ""
    print(printable(f"{run.path}: {status.get('state', 'no state')}{error}"))
    if status.get("error") and not runs.has_begun(run):  # the error has been printed: the same --out can be used again
        run.log.unlink(missing_ok=True)
        runs.discard(run)
    return 0 if status.get("state") in ("finished", "stopped") else 1


def _reap(process: subprocess.Popen) -> None:
    """Wait for a process to end, so that it does not become a zombie. Signals are left to the main thread."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process.wait()
