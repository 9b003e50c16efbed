"""A run's log as a TensorBoard event file, written by the package tensorboardX."""

from collections.abc import Iterable
from pathlib import Path

from trs_explorer.export.log_table import Row
from trs_explorer.files import cannot_write, write_atomically
from trs_explorer.options import UsageError
from trs_explorer.runs import Run, RunError

FILE_NAME = "events.out.tfevents.trs"  # TensorBoard looks for "tfevents"; always this name: a second export replaces the first
FORMAT = "brain.Event:2"  # what TensorBoard expects of a file's first record


def check_installed() -> None:
    """Raise UsageError if tensorboardX is not installed: before the work."""
    try:
        import tensorboardX  # noqa: F401, PLC0415 (an extra: imported where it is used)
    except ImportError as error:
        raise UsageError("--tensorboard needs the package tensorboardX: pip install 'trs-explorer[tensorboard]'") from error


def event_file(folder: Path, run: Run) -> Path:
    """Where a run's event file is written: in a folder of the run's name, so that TensorBoard shows several runs by name."""
    return folder / (run.path.resolve().name or "run") / FILE_NAME


def write_event_file(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as scalars by name, with the training's steps and wall time. Folders are made, an earlier export is replaced.

    Raises: RunError if the file cannot be written, or its folder is a link.
    """
    from tensorboardX import RecordWriter  # noqa: PLC0415 (an extra: imported where it is used)
    from tensorboardX.proto.event_pb2 import Event  # noqa: PLC0415
    from tensorboardX.proto.summary_pb2 import Summary  # noqa: PLC0415

    rows = list(rows)
    first = next((row.time for row in rows if row.time is not None), 0.0)

    def write(temporary: Path) -> None:
        writer, time = RecordWriter(str(temporary.absolute())), first
        try:
            writer.write(Event(wall_time=first, file_version=FORMAT).SerializeToString())
            for row in rows:
                time = time if row.time is None else row.time
                values = [Summary.Value(tag=name, simple_value=_float32(value)) for name, value in row.values.items()]
                writer.write(Event(wall_time=time, step=row.step, summary=Summary(value=values)).SerializeToString())
        finally:
            writer.close()

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.is_symlink():
            raise RunError(f"cannot write to {path.parent}: it is a link: not followed. Move it out of the way")
        write_atomically(path, write)
    except OSError as error:
        raise RunError(cannot_write(path.parent, error)) from error


def _float32(value: float) -> float:
    """The value within the range of the file's 32 bits; a larger one would end in an error."""
    largest = 3.4028234e38
    return min(max(value, -largest), largest)
