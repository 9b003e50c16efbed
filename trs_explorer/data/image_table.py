"""Read Parquet files with a column of encoded images and one of labels, as Hugging Face's datasets are stored. Needs pyarrow."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trs_explorer.data.array_files import check_readable, guarded
from trs_explorer.data.array_values import to_labels
from trs_explorer.data.encoded_images import Encoded, chosen, common_shape, decode_all, from_bytes
from trs_explorer.data.user_data import (
    MOST_CLASSES,
    UNNAMED,
    UserData,
    check_fits,
    choose_splits,
    class_names,
    held_out,
    listed,
    split_of,
)
from trs_explorer.files import natural_order, printable
from trs_explorer.options import UsageError

IMAGES = ("image", "img", "images", "picture", "pixels", "x")  # columns, the first that is there
LABELS = ("label", "labels", "fine_label", "target", "class", "y")
_REMEDY = "name the files train-*.parquet and test-*.parquet, in one folder"
_ROWS = 64  # that are read at a time


@dataclass(frozen=True)
class _Columns:
    """The columns of images and labels, and the classes' names if the schema has them."""

    images: str
    labels: str
    names: tuple[str, ...] | None


def read_table(path: Path, *, train: bool, size: tuple[int, int] | None = None) -> UserData:
    """Read a split of a Parquet file, or of a folder with files such as train-00000-of-00001.parquet, as uint8.

    The images' column holds the files' bytes, plain or in a struct's field "bytes". Labels are whole numbers, named by the
    schema's ClassLabel if it has one, or texts, whose classes are in natural order.
    size: (height, width) of the images; None: the most frequent size. What `encoded_images.decode_all` does, it does here.
    Raises: UsageError with the file and the way out, also if pyarrow is not installed.
    """
    _pyarrow()
    where = printable(path)
    tables, notes = _files(path)
    training, test, more = choose_splits(list(tables), where, train=train, remedy=_REMEDY)
    notes += more
    used = {split: tables[split] for split in dict.fromkeys((training, test or training))}
    for file in (file for files in used.values() for file in files):
        check_readable(file)
    columns = _columns(used[training][0])
    values = {split: _column(files, columns.labels) for split, files in used.items()}
    given = columns.names
    if any(array.dtype.kind == "U" for array in values.values()):
        given, values = _numbered(values, f"{where}: {printable(columns.labels)}")
    labels = {split: to_labels(array, f"{where}: {printable(columns.labels)}")[0] for split, array in values.items()}
    names, more = class_names(given, list(labels.values()), where)
    notes += more
    split = training if train or test is None else test
    y = labels[split]
    mask = held_out(y, where) != train if test is None else np.ones(len(y), bool)
    shape = common_shape((image for files in used.values() for image in _images(files, columns.images)), size)
    count = int(mask.sum())
    check_fits(count * int(np.prod(shape)), f"{where}: {count:,} images of {'x'.join(map(str, shape))}")
    x, changes = decode_all(chosen(_images(used[split], columns.images), mask.tolist()), count, shape)
    return UserData(x, torch.from_numpy(y[mask]), names, (*notes, *changes))


def table_files(folder: Path) -> list[Path]:
    """The .parquet files in a folder and its subfolders, at most two levels down, in natural order."""
    paths = [path for pattern in ("*", "*/*", "*/*/*") for path in folder.glob(pattern + ".parquet")]
    visible = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(visible, key=lambda path: [natural_order(part) for part in path.relative_to(folder).parts])


def _pyarrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet. Raises: UsageError that says how to install them."""
    try:
        import pyarrow  # noqa: PLC0415  (optional, and slow to import)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("reading .parquet files needs pyarrow: pip install 'trs-explorer[parquet]'") from error
    return pyarrow, pyarrow.parquet


def _files(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each split, and notes. Raises: UsageError for a split in two folders, or of which a part is missing."""
    if not path.is_dir():
        return {UNNAMED: [path]}, []
    by_split: dict[str, list[Path]] = {}
    for file in table_files(path):
        words = [word for part in file.relative_to(path).parts for word in re.split(r"[^A-Za-z]+", part)[:1]]
        by_split.setdefault(next((split for word in words if (split := split_of(word))), UNNAMED), []).append(file)
    for files in by_split.values():
        if len(folders := sorted({str(file.parent.relative_to(path)) for file in files})) > 1:
            raise UsageError(f"{printable(path)} holds tables in several folders, {listed(folders)}: give one of them")
        _check_complete(files)
    left_out = by_split.pop(UNNAMED) if len(by_split) > 1 and UNNAMED in by_split else []
    notes = [f"not used: {listed([str(file.relative_to(path)) for file in left_out])}"] if left_out else []
    return by_split, notes


def _check_complete(files: list[Path]) -> None:
    """Raise UsageError if one of train-00000-of-00003.parquet, ... is missing."""
    parts = [re.search(r"-([0-9]{5})-of-([0-9]{5})", file.name) for file in files]
    numbers = {(int(part[1]), int(part[2])) for part in parts if part}
    for _, count in numbers:
        if missing := [k for k in range(count) if (k, count) not in numbers]:
            what = (
                f"{len(missing):,} of the {count:,} files such as {files[0].name} are not there, the first is number {missing[0]}"
            )
            raise UsageError(f"{printable(files[0].parent)}: {printable(what)}: get them too")


def _columns(file: Path) -> _Columns:
    """Find the columns by the schema of Hugging Face's features, then by their names and types."""
    schema = guarded(file, lambda: _pyarrow()[1].read_schema(file))
    types = dict(zip(schema.names, schema.types, strict=True))
    features = _features(schema.metadata or {})
    images = [name for name, kind in types.items() if _holds_bytes(kind)]
    marked = [name for name in images if features.get(name, {}).get("_type") == "Image"]
    image = _only(marked) or next((name for name in IMAGES if name in images), None) or _only(images)
    labelled = [name for name in types if features.get(name, {}).get("_type") == "ClassLabel"]
    label = next((name for name in LABELS if name in types and name != image), None) or _only(labelled)
    if image is None or label is None:
        missing = f"images' bytes ({', '.join(IMAGES)})" if image is None else f"labels ({', '.join(LABELS)})"
        columns = listed([f"{name} ({str(kind)[:40]})" for name, kind in types.items()])
        raise UsageError(f"{printable(file)} has no column of {missing}, only {columns or 'none'}: rename it")
    names = features.get(label, {}).get("names") if label in labelled else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return _Columns(image, label, None)
    return _Columns(image, label, tuple(names))


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Hugging Face's description of the columns: {"info": {"features": {"label": {"names": [...], "_type": "ClassLabel"}}}}."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: value for name, value in features.items() if isinstance(value, dict)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    types = _pyarrow()[0].types
    if types.is_struct(kind):
        return any(part.name == "bytes" and _holds_bytes(part.type) for part in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _column(files: list[Path], name: str) -> NDArray[Any]:
    """The labels of all files, in order: whole numbers or texts."""
    return np.concatenate([guarded(file, _labels, file, name) for file in files])


def _labels(file: Path, name: str) -> NDArray[Any]:
    arrow, parquet = _pyarrow()
    with parquet.ParquetFile(file) as table:
        if name not in table.schema_arrow.names:
            raise UsageError(f"{printable(file)} has no column {printable(name)}, as other files have: get it again")
        check_fits(table.metadata.num_rows * 64, f"{printable(file)}: {table.metadata.num_rows:,} labels")
        values = table.read(columns=[name]).column(0)
        _check_rows(len(values), table)
    kind = values.type.value_type if arrow.types.is_dictionary(values.type) else values.type
    where = f"{printable(file)}: {printable(name)}"
    if values.null_count:
        raise UsageError(f"{where}: {values.null_count:,} rows have no label: remove them")
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        return np.array(values.to_pylist(), dtype=str)
    if not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_boolean(kind)):
        raise UsageError(f"{where}: labels must be whole numbers or texts, got {str(kind)[:40]}: convert the column")
    array: NDArray[Any] = values.to_numpy()
    return array


def _check_rows(count: int, table: Any) -> None:
    if count != table.metadata.num_rows:
        raise ValueError(f"{count:,} rows instead of {table.metadata.num_rows:,}")


def _numbered(values: dict[str, NDArray[Any]], where: str) -> tuple[tuple[str, ...], dict[str, NDArray[Any]]]:
    """Class names from labels that are texts, in natural order, and the labels as numbers."""
    if not all(array.dtype.kind == "U" for array in values.values()):
        raise UsageError(f"{where}: labels are texts in one split and numbers in the other: store both alike")
    names = sorted({str(text) for array in values.values() for text in np.unique(array)}, key=natural_order)
    if len(names) > MOST_CLASSES:
        raise UsageError(f"{where} has {len(names):,} different texts: at most {MOST_CLASSES:,} classes are possible")
    numbers = {name: k for k, name in enumerate(names)}
    return tuple(names), {split: np.array([numbers[text] for text in array.tolist()]) for split, array in values.items()}


def _images(files: list[Path], name: str) -> Iterator[Encoded]:
    """The encoded images of all files, in order."""
    for file in files:
        rows = _rows(file, name)
        while (image := guarded(file, next, rows, None)) is not None:
            yield image


def _rows(file: Path, name: str) -> Iterator[Encoded]:
    arrow, parquet = _pyarrow()
    row = 0
    with parquet.ParquetFile(file) as table:
        if name not in table.schema_arrow.names:
            raise UsageError(f"{printable(file)} has no column {printable(name)}, as other files have: get it again")
        for batch in table.iter_batches(batch_size=_ROWS, columns=[name], use_threads=False):
            column = batch.column(0)
            for value in column.field("bytes") if arrow.types.is_struct(column.type) else column:
                raw = value.as_py()
                if raw is None:
                    what = "no image, or only the path of one, which is not followed"
                    raise UsageError(f"{printable(file)}: row {row:,} has {what}: store the images' bytes")
                yield from_bytes(f"{file}: row {row:,}", raw)
                row += 1
        _check_rows(row, table)
