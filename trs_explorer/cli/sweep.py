"""`trs sweep`: many trainings and what is measured of each, here or on a Ray cluster. The same command continues."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from trs_explorer import locks, sweep_plan
from trs_explorer.cli import DONE, FAILED, INTERRUPTED, exit_on_interrupt
from trs_explorer.cli.exports import check_parent, exported
from trs_explorer.cli.flags import on_terminal, say
from trs_explorer.cli.sweep_file import EXAMPLE, path_of, read_sweep, summaries
from trs_explorer.files import cannot_write
from trs_explorer.options import UsageError
from trs_explorer.runs import RunError
from trs_explorer.sweep_plan import Sweep, Trial

if TYPE_CHECKING:
    from trs_explorer.measure.sweep.local import Slots, Stop
    from trs_explorer.measure.sweep.on_ray import Cluster
    from trs_explorer.measure.sweep.state import TrialState

CHILD = "trs_explorer.cli.sweep_trial"  # what the process of a trial is started with
Flag = typer.Option


class SweepCommand(TyperCommand):
    """The command, whose help lists the named sweeps: they are read when the help is shown, not before."""

    def format_help(self, ctx: typer.Context, formatter: object) -> None:
        """Show the help."""
        super().format_help(ctx, formatter)  # type: ignore[arg-type]
        print("Named sweeps:", *(f"  {line}" for line in summaries()), "", "A file of your own:", EXAMPLE, sep="\n")


def sweep(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE.toml", help="A named sweep, or a file.", show_default=False)],
    out: Annotated[Path | None, Flag("--out", help="Folder of the sweep. Default: checkpoints/sweep-NAME.")] = None,
    seeds: Annotated[str | None, Flag("--seeds", help="Seeds of every trial instead of the file's: 0-4 or 0,3,7.")] = None,
    overrides: Annotated[
        list[str] | None, Flag("--set", help="A setting of all trials, such as epochs=5; several times.", metavar="SETTING=VALUE")
    ] = None,
    dry_run: Annotated[
        bool, Flag("--dry-run", help="Train nothing: print the plan, with times from a few measured steps.")
    ] = False,
    jobs: Annotated[
        int, Flag("--jobs", min=0, show_default=False, help="Trials at a time. Default: as many as cores, memory and GPUs allow.")
    ] = 0,
    threads: Annotated[
        int, Flag("--threads", min=0, show_default=False, help="Threads of each. Default: the cores, divided among them.")
    ] = 0,
    ray: Annotated[
        str | None, Flag("--ray", help="Run on a Ray cluster: auto, an address, or local. Needs the extra cluster.")
    ] = None,
    cpus: Annotated[float, Flag("--cpus-per-trial", min=0.01, help="CPUs of each trial, for --ray.")] = 1.0,
    gpus: Annotated[float, Flag("--gpus-per-trial", min=0, help="GPUs of each trial, for --ray; may be a share.")] = 0.0,
    fetch: Annotated[bool, Flag("--fetch", help="With --ray: the machines share no folder; results are sent back.")] = False,
    figure: Annotated[Path | None, Flag("--figure", help="Also write an HTML page with the chart of the results.")] = None,
    plain: Annotated[bool, Flag("--plain", help="Plain lines, no escape codes.")] = False,
    json_lines: Annotated[
        bool, Flag("--json", help="Print one JSON object per line on stdout: each change of a trial, then the results.")
    ] = False,
) -> None:
    """Train many ensembles and measure each, from one description: a grid or a list of settings, and seeds.

    Every trial is a run in a folder of the sweep. The same command continues: what is done is not done again. A trial that fails
    says why, and the others go on. Ctrl-C: all save, and it exits with status 130.

    Here, trials are as many processes as fit. With --ray they are tasks of a cluster, whose machines share the sweep's folder, or
    send their results back (--fetch). A trial whose machine dies goes on from its newest checkpoint, with --fetch from where
    this command began.

    In the end: a table, --figure, and trs compare on the sweep's folder.

    Example: trs sweep ablation-delta --set epochs=5 --seeds 0 --dry-run
    """
    if plain and json_lines:
        raise UsageError("choose one of --plain and --json")
    if fetch and ray is None:
        raise UsageError("--fetch belongs to --ray")
    check_parent(figure)
    how = "json" if json_lines else "rich" if on_terminal() and not plain else "plain"
    described = read_sweep(name, overrides or (), seeds)
    folder = Path("checkpoints") / f"sweep-{path_of(name).stem}" if out is None else out
    if dry_run:
        left = _left(described, folder)
        _say_how_many(described, left, folder)
        if left:
            from trs_explorer.cli.sweep_estimate import show_estimate

            show_estimate(described, left, _slots(left, jobs, threads), json_lines=json_lines)
        return
    if ray is not None:
        from trs_explorer.measure.sweep.on_ray import load_ray

        load_ray()  # what is missing is said before anything is written
    with _only_one(described, folder):
        from trs_explorer.measure.sweep.on_ray import Cluster

        left = _left(described, folder)
        _say_how_many(described, left, folder)
        _check(left)
        cluster = None if ray is None else Cluster(ray, cpus, gpus, fetch)
        states, stopped = _run(described, left, folder, cluster, jobs, threads, how) if left else ({}, False)
        status = _finish(described, folder, states, figure, stopped=stopped, quiet=json_lines)
    raise SystemExit(status)


@contextlib.contextmanager
def _only_one(described: Sweep, folder: Path) -> Iterator[None]:
    """Hold the lock of a sweep's folder, with the sweep's file in it. Raises RunError if another process has it."""
    sweep_plan.check_folder(described, folder)  # before there is a lock in the folder
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(cannot_write(folder, error)) from error
    try:
        lock = locks.acquire(folder / "sweep.lock", timeout=1)
    except locks.Taken:
        raise RunError(f"{folder}: another trs sweep is running here: wait, or stop it first") from None
    except OSError as error:
        if not os.access(folder, os.W_OK):
            raise RunError(cannot_write(folder, error)) from error
        say(f"{folder}: the disk has no locks: make sure that no other trs sweep runs here")
    try:
        sweep_plan.store(described, folder)
        yield
    finally:
        if lock is not None:
            lock.release()


def _left(described: Sweep, folder: Path) -> list[Trial]:
    """The trials that are not done. Raises RunError if something else is in the place of one."""
    from trs_explorer.measure.sweep.state import is_done

    for trial in described.trials:
        trial.allow_code()
    return [trial for trial in described.trials if not is_done(folder, trial, described.measures)]


def _say_how_many(described: Sweep, left: Sequence[Trial], folder: Path) -> None:
    count = len(described.trials)
    say(f"{count} trial{'s' * (count > 1)}, {count - len(left)} done before -> {folder}")


def _check(trials: Sequence[Trial]) -> None:
    """Check one trial of each method, model and data set completely; missing data is downloaded, once. Raises UsageError."""
    with exit_on_interrupt():
        from trs_explorer.training.new_run import prepare

    distinct = {
        tuple(str(one.values.get(key)) for key in ("method", "model", "data", "data_dir", "members")): one for one in trials
    }
    for trial in distinct.values():
        try:
            prepare({**trial.values, "device": "cpu"}, notify=say)
        except UsageError as error:
            raise UsageError(f"trial {trial.name}: {error}") from error


def _run(
    described: Sweep, left: Sequence[Trial], folder: Path, cluster: "Cluster | None", jobs: int, threads: int, how: str
) -> "tuple[dict[str, TrialState], bool]":
    """Run the trials that are left. Returns the last state of each that began, by name, and whether the sweep was stopped."""
    from trs_explorer.cli.sweep_display import sweep_display
    from trs_explorer.measure.sweep.local import run_here
    from trs_explorer.measure.sweep.on_ray import run_on_ray
    from trs_explorer.measure.sweep.state import ENDED, MEASURING, STOPPING

    states: dict[str, TrialState] = {}
    if cluster is not None and cluster.fetch:
        cluster = replace(cluster, starts=_starts(left, described, folder))
    room = None if cluster else _slots(left, jobs, threads)
    if room:
        gpus = f", on GPU {', '.join(room.gpus)}" if room.gpus else ""
        say(f"{room.jobs} at a time, --threads {room.threads} each{gpus}; their output: {folder}/logs")
    with _stopping() as stop, sweep_display(left, how) as display:

        def report(trial: Trial, state: "TrialState") -> None:
            if stop.requested and state.state not in ENDED:
                state = replace(state, state=STOPPING)
            states[trial.name] = state
            if described.measures or state.state != MEASURING:
                display.show(trial, state)

        if cluster is not None:
            run_on_ray(left, described.measures, folder, CHILD, cluster, report, stop)
        elif room is not None:
            run_here(left, folder, CHILD, room, report, stop)
    return states, stop.requested


def _slots(trials: Sequence[Trial], jobs: int, threads: int) -> "Slots":
    from trs_explorer.measure.sweep.local import slots

    return slots(trials, jobs, threads, _gpus(trials))


def _gpus(trials: Sequence[Trial]) -> list[str]:
    """The GPUs of this machine, if the trials may use any: their numbers as CUDA_VISIBLE_DEVICES takes them."""
    if any(str(one.values.get("device", "auto")) not in ("auto", "cuda") for one in trials):
        return []
    import torch

    visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    return (visible or [str(k) for k in range(torch.cuda.device_count())]) if torch.cuda.is_available() else []


@contextlib.contextmanager
def _stopping() -> "Iterator[Stop]":
    """Count the signals that ask for an end, instead of ending: the trials save first."""
    from trs_explorer.cli.trainer import STOPPING
    from trs_explorer.measure.sweep.local import Stop

    stop = Stop()

    def count(number: int, frame: object) -> None:
        del number, frame
        stop.count += 1
        if stop.count == 1:
            say("stopping: the trials save; once more to end at once")

    handled = [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, count) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _starts(trials: Sequence[Trial], described: Sweep, folder: Path) -> dict[str, list[Path]]:
    """By trial, the trained ensembles that it needs of this machine. Missing ones are trained here, once."""
    from trs_explorer.cli.trainer import train_with_progress
    from trs_explorer.runs import Run
    from trs_explorer.training.new_run import prepare, with_start
    from trs_explorer.training.surrogates import standard_surrogates

    needs: dict[str, list[Path]] = {}
    for trial in trials:
        settings = prepare(trial.values, notify=say)
        if settings.about_method.trained_start and not settings.start_from:
            started = with_start(settings, train=train_with_progress, notify=say)
            needs.setdefault(trial.name, []).append(Path(started.start_from))
        if any(one.what == "blackbox" and "surrogates" not in one.options for one in described.measures):
            target = Run(folder / trial.name, settings)
            made_on = standard_surrogates(target, device=settings.device, train=train_with_progress, notify=say)
            needs.setdefault(trial.name, []).extend(run.path for run in made_on)
    return needs


def _finish(
    described: Sweep, folder: Path, states: "dict[str, TrialState]", figure: Path | None, *, stopped: bool, quiet: bool
) -> int:
    """Show what was measured and what failed, and write the figure. Returns the exit status."""
    from trs_explorer.cli.sweep_report import show_results
    from trs_explorer.measure.sweep import state
    from trs_explorer.measure.sweep.figures import sweep_rows

    rows = sweep_rows(described, folder)
    with exported((figure, lambda: _page(rows))):
        if quiet:
            for row in rows:
                rates = {label: asdict(rate) for label, rate in row.rates.items()}
                print(json.dumps({"kind": "result", "trials": [one.name for one in row.trials], "rates": rates}), flush=True)
        else:
            show_results(described, rows)
    failed = {name: one for name, one in states.items() if one.state == state.FAILED}
    for name, one in failed.items():
        say(f"failed: {name}: {one.error}")
    left = len([one for one in described.trials if not state.is_done(folder, one, described.measures)])
    if left:
        say(f"{len(described.trials) - left} of {len(described.trials)} trials are done; the same command continues")
    if not quiet and left < len(described.trials):
        say(f"the paper's table: trs compare {folder}")
    if stopped:
        return INTERRUPTED
    one_stopped = any(one.state == state.STOPPED for one in states.values())  # by a viewer
    return FAILED if failed else INTERRUPTED if one_stopped else DONE


def _page(rows: list) -> str:
    """The chart as an HTML page that works offline."""
    from trs_explorer.figures.sweep_figure import sweep_figure

    page: str = sweep_figure(rows).to_html(include_plotlyjs=True, full_html=True)
    return page
