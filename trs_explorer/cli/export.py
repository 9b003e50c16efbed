"""`trs export`: write a run's log and weights for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.exports import check_parent, check_suffix, exported
from trs_explorer.cli.flags import AllowCodeOption, RunArgument, run_at
from trs_explorer.export.log_table import log_csv, read_log
from trs_explorer.export.tensorboard import check_installed, event_file, write_event_file
from trs_explorer.options import UsageError
from trs_explorer.runs import Run

WEIGHTS = typer.Option(
    "--weights", help="Write the weights here: a PyTorch state dict (.pt) or .safetensors. Prints the Python that loads it."
)


def export(
    run: RunArgument,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Write the log as TensorBoard events to FOLDER/the run's name.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the log to this file: a row for every step, probe and epoch.")
    ] = None,
    weights: Annotated[Path | None, WEIGHTS] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Whose weights, such as 0007. Default: the newest.")
    ] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    r"""Write a run's log and weights for other programs.

    --csv: columns event (step, probe or epoch), step, epoch, time (seconds since 1970), then one for every number, empty where
    the event has none: loss/total and the method's other terms, train/cosine (|cos| of the loss's gradients on the batch),
    probe/transfer, probe/cosine (|cos| by the log-odds), probe/clean and so on; train/cosine/F1-F2 is of one pair of members.

    --tensorboard: the same numbers, by the same names. Needs: pip install 'trs-explorer\[tensorboard]'

    --weights: the code that it prints needs torch, but not trs.

    Example: trs export mnist-trs --tensorboard logs --csv log.csv --weights mnist-trs.pt
    """
    del allow_code
    chosen = run_at(run)
    _check(tensorboard, csv_file, weights, checkpoint)
    content, code = _weights(chosen, weights, checkpoint) if weights is not None else (b"", "")
    if chosen.config.imported and weights is None:
        raise UsageError(f"{chosen.name} was imported, its log has no training: there is nothing for --csv or --tensorboard")
    rows = read_log(chosen) if tensorboard is not None or csv_file is not None else []
    if tensorboard is not None:
        write_event_file(event_file(tensorboard, chosen), rows)
    with exported((csv_file, lambda: log_csv(rows)), (weights, lambda: content)):
        if tensorboard is not None:
            typer.echo(f"{event_file(tensorboard, chosen)}: {len(rows)} events. See them by: tensorboard --logdir {tensorboard}")
        if csv_file is not None:
            typer.echo(f"{csv_file}: {len(rows)} rows")
        if weights is not None:
            typer.echo(f"{weights}: load it without trs by\n\n{code}")


def _check(tensorboard: Path | None, csv_file: Path | None, weights: Path | None, checkpoint: str | None) -> None:
    """Raise UsageError for flags that cannot be served: before the work."""
    if tensorboard is None and csv_file is None and weights is None:
        raise UsageError("say what to write: --tensorboard FOLDER, --csv FILE or --weights FILE")
    if checkpoint is not None and weights is None:
        raise UsageError("--checkpoint chooses the weights: give --weights FILE too")
    if tensorboard is not None:
        if tensorboard.exists() and not tensorboard.is_dir():
            raise UsageError(f"--tensorboard {tensorboard}: that is a file: name a folder")
        check_installed()
    for file in (csv_file, weights):
        check_parent(file)
    check_suffix(weights, "--weights", (".pt", ".safetensors"))


def _weights(run: Run, path: Path, name: str | None) -> tuple[bytes, str]:
    """The file of a checkpoint's weights, and the Python that loads it. Raises: UsageError, RunError."""
    with exit_on_interrupt():
        from trs_explorer.catalogue import DATA
        from trs_explorer.export.loading_code import loading_code
        from trs_explorer.export.weights import find_checkpoint, pack_weights
        from trs_explorer.models.stored import load_ensemble

    checkpoint = find_checkpoint(run, name)
    ensemble, digest = load_ensemble(run, checkpoint=checkpoint)
    about = {"run": run.name, "checkpoint": checkpoint.name, "sha256": digest, "voting": ensemble.voting}
    return pack_weights(path, ensemble, about), loading_code(ensemble, str(path), DATA[run.config.data].shape)
