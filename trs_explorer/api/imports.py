"""Make a run of an ensemble that was trained elsewhere, from Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from trs_explorer import plugins, runs
from trs_explorer.api.trainings import say
from trs_explorer.measure import import_run as importing
from trs_explorer.measure.import_data import config_of_import
from trs_explorer.measure.session import Reporting
from trs_explorer.options import UsageError


def import_run(
    make_ensemble: str | Callable[[], object],
    *,
    data: str | Path | Callable[[bool], object],
    out: str | Path,
    data_dir: str | Path = "",
    notify: Callable[[str], object] = say,
) -> Path:
    """Make a run of a trained ensemble, check it on test images, and return the run's folder: every command and page takes it.

    - make_ensemble: a function without arguments that returns the trained members (a list of modules), "mine.py:make_ensemble" or
      such a function of this process. The run has the members' weights, and this name of what builds them: for other processes,
      such as `trs explore`, put it in a file.
    - data: what it classifies: a data set's name, a path, "mine.py:data" or a function data(train) -> (images, labels).
    - out: the new folder. data_dir: folder with the files of a data set of the catalogue.
    - notify: called with everything that the checks find, by default printed on stderr.

    Raises: UsageError for an ensemble that does not fit the data; RunError if the folder is not empty or cannot be written.
    """
    folder = Path(out)
    runs.check_free(folder)
    if isinstance(make_ensemble, nn.Module) or not (isinstance(make_ensemble, str) or callable(make_ensemble)):
        kind = type(make_ensemble).__name__
        raise UsageError(f"make_ensemble must be a function that returns the members, or its name, not a {kind}")
    config = config_of_import(_name("model", make_ensemble), _name("data", data), str(data_dir), notify=notify)
    run, _ = importing.import_run(config, folder, reporting=Reporting(notify=notify))
    return run.path


def _name(kind: str, given: Any) -> str:
    if not isinstance(given, str | Path):
        return plugins.name_of(kind, given)
    name = plugins.absolute(str(given))
    if kind == "model" and not plugins.is_foreign("model", name):
        raise UsageError(f"{str(given)!r} names no code: give a function, or file.py:function")
    plugins.allow(kind, name)
    return name
