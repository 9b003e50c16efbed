"""`trs import`: make a run of an ensemble that was trained elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from trs_explorer import plugins, runs
from trs_explorer.catalogue import DATA, PUBLISHED
from trs_explorer.cli import exit_on_interrupt
from trs_explorer.cli.flags import say
from trs_explorer.cli.progress import progress
from trs_explorer.layouts import LAYOUTS
from trs_explorer.options import UsageError, unknown

DATA_NAMES = ", ".join((*DATA, *plugins.installed("data")))
FORMS = "; ".join(f"{name}: {layout.summary}" for name, layout in LAYOUTS.items())


def import_(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE.py:make_ensemble",
            help="A function that returns the trained members: file.py:function, package.module:function. With --layout: files.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help=f"Data that it classifies: {DATA_NAMES}; or your own: images.npz, a folder, mine.py:data.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the new run. Default: checkpoints/NAME.")] = None,
    layout: Annotated[str | None, typer.Option("--layout", help=f"Read published checkpoints. {FORMS}.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Folder with the files of a data set of trs.")] = None,
) -> None:
    """Make a run of an ensemble that was trained elsewhere. Every command and page works on it then.

    The function takes no arguments and returns what it has loaded itself: a list of torch.nn.Module, one a member (their
    architectures may differ), that take images in [0, 1] and return logits; or one module that returns all members' logits.

    The members are checked on 200 test images: normalisation, training mode, probabilities, gradients, and more.

    Later commands run that code again to build the members, and ask for --allow-code.

    Example: trs import mine.py:make_ensemble --data images.npz --out checkpoints/mine
    """
    if layout is None and len(sources) > 1:
        raise UsageError(f"trs import takes one FILE.py:make_ensemble, got {len(sources)}; files of weights need --layout")
    with exit_on_interrupt():
        from trs_explorer.measure import Reporting
        from trs_explorer.measure.import_data import config_of_import
        from trs_explorer.measure.import_run import import_run
    place = str(data_dir or "")
    if layout is None:
        name = plugins.absolute(sources[0])
        if not plugins.is_foreign("model", name):
            raise UsageError(f"{sources[0]!r} names no code: give file.py:function, or files with --layout")
        plugins.allow("model", name)
        if data is None:
            raise UsageError("give the data that the ensemble classifies as --data")
        folder = out or Path("checkpoints") / plugins.stem(name)
        runs.check_free(folder)
        config, ensemble, origin = config_of_import(name, data, place, notify=say), None, f"built by {sources[0]}"
    else:
        if layout not in LAYOUTS:
            raise UsageError(unknown("--layout", layout, LAYOUTS))
        from trs_explorer.models import Ensemble
        from trs_explorer.models.layouts import load_layout

        folder = out or Path("checkpoints") / f"{layout}-imported"
        runs.check_free(folder)
        loaded = load_layout(layout, [Path(source) for source in sources])
        for note in loaded.notes:
            say(note)
        config = config_of_import(f"{PUBLISHED}{loaded.architecture}", data or loaded.data, place, notify=say)
        ensemble, origin = Ensemble(loaded.members), f"{layout} layout, {', '.join(Path(source).name for source in sources)}"
    with progress(f"importing {plugins.short(config.model)}") as advance:
        run, made = import_run(config, folder, ensemble=ensemble, origin=origin, reporting=Reporting(advance, say))
    n = len(made)
    print(f"{n} member{'s' * (n > 1)} of {run.config.model_name}, on {run.config.data} -> {run.path}")
    allow = " --allow-code" if run.config.code_of_others() else ""
    print(f"Next: trs evaluate {run.path}{allow}, trs transfer {run.path}{allow}, trs explore {run.path}{allow}")
