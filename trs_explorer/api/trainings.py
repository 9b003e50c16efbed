"""Train an ensemble from Python: the settings of `trs train` as keyword arguments, the events as an iterator."""

import dataclasses
import inspect
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trs_explorer import plugins, runs
from trs_explorer.api.stored import run_named
from trs_explorer.config import TrainConfig, absolute
from trs_explorer.data import Dataset
from trs_explorer.data.as_tensors import as_batch
from trs_explorer.data.user_arrays import REMEDY
from trs_explorer.files import Json, printable, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.results import check_resumable
from trs_explorer.training import loop
from trs_explorer.training.new_run import complete, new_folder

DATA_FILE = "data.safetensors"  # in a run's folder: the tensors that were passed as its data


def say(text: str) -> None:
    """Print a line on stderr."""
    print(printable(text), file=sys.stderr)


class Training:
    """A training in this process: an iterator of the events that its log gets; the last one is "stopped".

    path: the folder of its run, for `trs.load` and `trs.figures.training`.
    Whoever leaves the loop before its end pauses the training: go on with the same object, or call `stop`.
    An interrupt (Ctrl-C, a notebook's stop button) during a step saves a checkpoint first.
    """

    def __init__(self, run: runs.Run, *, resume: bool) -> None:
        self.run = run
        self.path = run.path
        self._stop, self._interrupted = threading.Event(), False
        self._events = _events(run, resume, self._stop)

    def __iter__(self) -> Iterator[Json]:
        return self

    def __next__(self) -> Json:
        """Train until the next event. Raises what `training.train` raises."""
        with self._saving_on_interrupt():
            event = next(self._events, None)
        if event is not None:
            return event
        if self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt(f"saved; go on with trs.train(resume={str(self.path)!r})")
        raise StopIteration

    def __repr__(self) -> str:
        return f"<training of {self.path}, {self.run.status().get('state', 'not begun')}>"

    def stop(self) -> None:
        """Save a checkpoint and end the training after the present step. Later: trs.train(resume=path)."""
        self._stop.set()
        for _ in self._events:
            pass

    @contextmanager
    def _saving_on_interrupt(self) -> Iterator[None]:
        """Let an interrupt end the training after the present step, where it would raise in the middle of one."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def interrupted(number: int, frame: object) -> None:
            del number, frame
            if self._interrupted:
                raise KeyboardInterrupt  # the second one: do not wait
            self._interrupted = True
            self._stop.set()

        signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def train(
    method: str | Callable[..., dict[str, Tensor]] = "trs",
    *,
    data: object = "mnist",
    model: object = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    allow_code: bool = False,
    notify: Callable[[str], object] = say,
    **settings: Any,
) -> Training:
    """Train an ensemble: an iterator of the events, each of which is in the run's log too. Afterwards: `trs.load(training.path)`.

    - method: a name of the catalogue, "mine.py:loss", or a function loss(ensemble, x, y, *, weight=1.0, ...) -> a dict of loss
      terms with "total". Its keyword-only parameters are its options: weight=2.0 here sets one.
    - data: a data set's name; a path (images.npz, a folder of pictures); (x, y), of which a fifth is held out, or
      ((x, y), (x_test, y_test)), which are stored in the run's folder; a function data(train) -> (images, labels).
    - model: a name of the catalogue, "mine.py:net", or a function or class net(shape, classes) -> torch.nn.Module;
      by default what suits the data.
    - out: folder of the new run; by default checkpoints/METHOD-DATA-N.
    - resume: continue this run from its newest checkpoint; all settings are those of its config.
    - allow_code: for resume, as for `trs.load`.
    - notify: called with lines of text for the user, by default printed on stderr.
    - settings: those of `trs train --help` with _ for -: members=3, epochs=5, batch_size=64, lr=0.001, seed=0, device="cpu",
      limit=1000, start_from="mnist-standard", lambda_a=2.0, ...

    A function or class that is passed here works in this process. The run's config has its name, "module:name": another process
    (`trs explore`, a resume tomorrow) imports it by that name, with --allow-code, and cannot find what a notebook or a script has
    defined: put that in a file, and pass "mine.py:loss". Bit for bit, a training is that of the command.
    Raises: UsageError for settings that cannot be used, before anything is written; RunError for the folder. While it trains,
    as `training.train`.
    """
    if resume is not None:
        return _resumed(Path(resume), settings, out, allow_code)
    folder = None if out is None else Path(out)
    if folder is not None:
        runs.check_free(folder)
    values = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    values |= {"method": _named("method", method), **({} if model is None else {"model": _named("model", model)})}
    with tempfile.TemporaryDirectory(prefix="trs-") as temporary:
        stored = _stored(data, Path(temporary) / DATA_FILE)
        if stored is None:
            config = complete({**values, "data": _named("data", data)}, notify=notify)
        else:
            config = _complete(values, stored, notify)
        folder = new_folder(config) if folder is None else folder
        if stored is not None:
            config = dataclasses.replace(config, data_dir=absolute(str(folder / DATA_FILE)))
        run = runs.create(folder, config)
        if stored is not None:
            write_atomically(folder / DATA_FILE, lambda path: shutil.copyfile(stored, path))
    return Training(run, resume=False)


def _complete(values: dict[str, Any], stored: Path, notify: Callable[[str], object]) -> TrainConfig:
    """Complete the settings of a training on tensors; what is said of their file is said of them."""

    def in_words(text: object) -> str:
        return str(text).replace(str(stored), "data").replace(REMEDY, "pass ((x, y), (x_test, y_test))")

    try:
        return complete({**values, "data": str(stored)}, notify=lambda text: notify(in_words(text)))
    except UsageError as error:
        raise UsageError(in_words(error)) from error


def _resumed(path: Path, settings: dict[str, Any], out: object, allow_code: bool) -> Training:
    if settings or out is not None:
        extra = [*settings, *["out"] * (out is not None)]
        raise UsageError(f"resume takes every setting from the run's config.json: drop {', '.join(extra)}")
    run = run_named(path, allow_code=allow_code)
    if run.status().get("state") == "finished":
        raise UsageError(f"{path} is finished: nothing is left to train")
    check_resumable(run)
    return Training(run, resume=any(run.checkpoints()) or runs.has_begun(run))


def _events(run: runs.Run, resume: bool, stop: threading.Event) -> Iterator[Json]:
    """Train; a new run that fails before its training has begun is deleted, so that its folder can be used again."""
    try:
        yield from loop.train(run, resume=resume, stop=stop)
    except BaseException:
        if not resume and not runs.has_begun(run):
            if run.config.data_dir == absolute(str(run.path / DATA_FILE)):
                (run.path / DATA_FILE).unlink(missing_ok=True)
            runs.discard(run)
        raise


def _named(kind: str, given: Any) -> str:
    """Return the name of what a training is given, and let code run that is named here."""
    if isinstance(given, str | Path):
        plugins.allow(kind, str(given))
        return str(given)
    if not callable(given) or isinstance(given, nn.Module):
        what = {"method": "a function that returns loss terms", "model": "a function or class that builds one member"}
        remedy = ": a new one is built for every member" if isinstance(given, nn.Module) else ""
        is_data = "a path, (images, labels) or a function data(train)"
        raise UsageError(f"{kind} must be a name or {what.get(kind, is_data)}, not a {type(given).__name__}{remedy}")
    if kind == "model":
        try:
            inspect.signature(given).bind((1, 28, 28), 10)
        except TypeError as error:
            name = getattr(given, "__name__", "it")
            how = f"{name}(shape, classes), with the shape of an image and the number of classes"
            raise UsageError(f"model {name} is called as {how}: {error}; write such a function that returns a member") from error
    return plugins.name_of(kind, given)


def _stored(data: Any, path: Path) -> Path | None:
    """Store images and labels that were passed as they are, and return the file; None for a name, a path or a function."""
    pairs = (data,) if isinstance(data, Dataset) else data
    if not isinstance(pairs, tuple | list):
        return None
    if len(pairs) == 2 and not all(isinstance(one, tuple | Dataset) for one in pairs):
        pairs = (data,)
    if len(pairs) not in (1, 2):
        raise UsageError(
            f"data must be (images, labels) or ((images, labels), (test images, test labels)), got {len(pairs)} parts"
        )
    names = ("x_train", "y_train"), ("x_test", "y_test")
    arrays = {}
    for (x_name, y_name), pair in zip(names, pairs, strict=False):
        if not isinstance(pair, Dataset) and len(pair) != 2:
            raise UsageError(f"data must be pairs, (images, labels), got {len(pair)} parts")
        images, labels = (pair.x, pair.y) if isinstance(pair, Dataset) else pair
        x, y = as_batch(images, labels)
        whole = not torch.is_floating_point(images) if isinstance(images, Tensor) else np.asarray(images).dtype.kind in "biu"
        arrays[x_name] = ((x * 255).round().to(torch.uint8) if whole else x.float()).cpu().contiguous().clone()
        arrays[y_name] = y.cpu().contiguous().clone()  # the file's writer takes no views of one tensor
    if len(pairs) == 1:
        arrays = {name.removesuffix("_train"): values for name, values in arrays.items()}
    save_file(arrays, path)
    return path
