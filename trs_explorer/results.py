"""The measurements of a run: one JSON file each in its folder results/, and the partial results of interrupted ones."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from trs_explorer.config import TrainConfig, embedded_fingerprint
from trs_explorer.files import Json, cannot_write, is_regular, read_report, write_atomically
from trs_explorer.leftovers import remove_abandoned
from trs_explorer.runs import Run, RunError

TABLE, PROBE = "table1.json", "probe.json"  # git has these of the runs that ship
MAX_BYTES = 64 << 20  # of a stored result: 10,000 images under 100 attacks have 1 million outcomes
SAVE_INTERVAL_S = 2.0  # between two saves of a partial result


def write_result(run: Run, kind: str, result: Mapping[str, object]) -> Path:
    """Store one measurement under results/. Returns its file. Temporary files of killed processes are removed.

    Raises: RunError if the folder cannot be written, or is a link.
    """
    remove_abandoned(_folder(run))
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)  # one reading: names sort as their measurements were made
    stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(seconds))}-{nanoseconds:09}"
    return _write(_folder(run) / f"{kind}-{stamp}-{os.getpid()}.json", result)


def write_table(run: Run, result: Mapping[str, object]) -> Path:
    """Store a run's Table 1, replacing the previous one. Returns its file. Temporary files of killed processes are removed.

    Raises: RunError if it cannot be written.
    """
    remove_abandoned(_folder(run))
    return _write(_folder(run) / TABLE, result)


def read_table(run: Run) -> Json:
    """The Table 1 that is stored with a run; {} if there is none, it is damaged, or it is of other data than the run's."""
    stored = read_report(_folder(run) / TABLE, MAX_BYTES) or {}
    return stored if measured_on(run.config, stored) == _data_of(run, stored) else {}


def is_table_alone(run: Run) -> bool:
    """Whether a run is kept as its config and its Table 1: no weights are here, and a table is stored."""
    return not run.checkpoints() and is_regular(_folder(run) / TABLE)


def why_unsaved(run: Run) -> str:
    """Why a run without a checkpoint cannot be loaded, in a line that names it."""
    if is_table_alone(run):
        return f"{run.path} has no weights here, only the figures of its Table 1: trs compare --stored shows them"
    return f"{run.path} has no checkpoint yet: nothing has been saved"


def check_resumable(run: Run) -> None:
    """Raise RunError for a run of which only the Table 1 is here: its training cannot be continued, and must not start anew."""
    if is_table_alone(run):
        raise RunError(f"{why_unsaved(run)}. To train it again, choose another --out")


def write_probe(run: Run, result: Mapping[str, object]) -> Path:
    """Store a probe of a run's newest weights, replacing the previous one. Returns its file.

    Raises: RunError if it cannot be written.
    """
    remove_abandoned(_folder(run))
    return _write(_folder(run) / PROBE, result)


def read_probe(run: Run) -> Json:
    """The stored probe of a run's newest weights; {} if there is none, it is damaged, or of other weights or data."""
    stored = read_report(_folder(run) / PROBE, MAX_BYTES) or {}
    if not stored or measured_on(run.config, stored) != _data_of(run, stored):
        return {}
    try:
        newest = run.checkpoints()[-1:]
        weights = run.recorded(newest[0]).get("sha256") if newest else None
    except RunError:
        return {}
    return stored if weights is not None and stored.get("weights") == weights else {}


def read_results(run: Run, kind: str) -> list[Json]:
    """The stored results of one kind on the run's data, the newest first. Damaged files are left out.

    If the run's data is unknown, the results on the same data as the newest one.
    """
    files = sorted(_folder(run).glob(f"{kind}-*.json"), reverse=True)
    readable = [stored for file in files if (stored := read_report(file, MAX_BYTES)) is not None]
    return [stored for stored in readable if measured_on(run.config, stored) == _data_of(run, readable[0])]


def measured_on(config: TrainConfig, stored: Json) -> str:
    """The fingerprint of the test split that a stored result was measured on; empty if it is unknown.

    Older versions did not store it, and had no --data-dir: for embedded data it is known all the same.
    """
    embedded = embedded_fingerprint(config.data, config.data_dir).get("test", "")
    return str(stored.get("data_fingerprint", embedded))


def _data_of(run: Run, stored: Json) -> str:
    """The fingerprint of the run's data: its config's; where that has none, the one of a stored result."""
    return run.config.data_fingerprint.get("test", "") or measured_on(run.config, stored)


class PartialResult:
    """The values that a measurement has so far, in a file of the run: the same measurement resumes from them.

    request: everything that the figures depend on: weights, images, attacks, seed, versions. Another request has another file.
    saved: whether the file is there.
    """

    def __init__(self, run: Run, kind: str, request: Json) -> None:
        """Nothing is read or written yet. kind: of the result, such as "evaluate"."""
        self._request: Json = json.loads(json.dumps(request))
        digest = hashlib.sha256(json.dumps(self._request, sort_keys=True).encode()).hexdigest()[:16]
        self._path = _folder(run) / f"unfinished-{kind}-{digest}.json"
        self._last_attempt = time.monotonic()
        self.saved = is_regular(self._path)

    def load(self) -> Json:
        """The values that an earlier measurement saved; {} if there are none, or the file is damaged."""
        stored = read_report(self._path, MAX_BYTES) or {}
        values = stored.get("found")
        return values if stored.get("asked") == self._request and isinstance(values, dict) else {}

    def save(self, values: Json, *, now: bool = False) -> None:
        """Write the values, every two seconds at most unless `now`. `saved` stays False where they cannot be written."""
        if not values or not (now or time.monotonic() - self._last_attempt > SAVE_INTERVAL_S):
            return
        self._last_attempt = time.monotonic()
        try:
            # The keys are those of older versions, whose partial results can be resumed.
            _write(self._path, {"asked": self._request, "found": values})
        except RunError:
            return
        self.saved = True

    def delete(self) -> None:
        """Remove the file: the measurement is complete."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def delete_partial(run: Run, kind: str, request: Json) -> None:
    """Delete the partial results of one kind whose request has all these values, once the whole is stored.

    A kill between storing the whole and `PartialResult.delete` leaves one.
    """
    folder = _folder(run)
    if folder.is_symlink():
        return
    remove_abandoned(folder)
    for path in folder.glob(f"unfinished-{kind}-*.json"):
        stored = (read_report(path, MAX_BYTES) or {}).get("asked")
        if isinstance(stored, dict) and all(stored.get(name) == value for name, value in request.items()):
            with contextlib.suppress(OSError):
                path.unlink()


def _folder(run: Run) -> Path:
    return run.path / "results"


def _write(path: Path, result: Mapping[str, object]) -> Path:
    folder = path.parent
    try:
        if folder.is_symlink():
            raise RunError(f"cannot write to {folder}: it is a link: not followed. Move it out of the way")
        folder.mkdir(exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(json.dumps(result) + "\n"))
    except OSError as error:
        raise RunError(cannot_write(folder if folder.parent.exists() else folder.parent, error)) from error
    return path
