"""Read a file of torch.save by the restricted loader, and describe in a line what it holds.

The file may come from a stranger: its size is limited, and a zip archive must not be packed, so that a small file cannot fill
the memory. The loader makes tensors, numbers, texts and containers of them only. It is not widened: the published code saves
nothing else, so a class in a file is a sign that the file is another one.
"""

import io
import re
import reprlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trs_explorer.files import natural_order, open_for_reading, printable, read_bytes, reason
from trs_explorer.options import UsageError

# 10 ResNet-110, each file with Adam's two moments for all of them (train_trs.py saves these): 150 MB.
MAX_BYTES = 1 << 29
_ZIP = b"PK\x03\x04"
_BEFORE_TORCH_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number that torch.save wrote; DVERGE used torch 1.4
_SAVE_AGAIN = "in an environment where you trust the file, load it and torch.save its state dicts alone"
_OTHER_FILES = {
    b"\x89HDF\r\n\x1a\n": (
        "a Keras file (.h5), as ADP's authors publish them: trs reads PyTorch files only; "
        "give one of the DVERGE or the TRS repository, or a model of your own by: trs import FILE.py:make_ensemble"
    ),
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it by: git lfs pull",
    b"/annex/": "a git-annex pointer, not the file itself: fetch it by: git annex get",
    b"../.git/annex/": "a git-annex pointer, not the file itself: fetch it by: git annex get",
    b"\x1f\x8b": "packed by gzip: unpack it first",
}


def read_checkpoint(path: Path) -> tuple[Any, int]:
    """Return what a file of torch.save holds, on the CPU, and the file's size in bytes.

    Raises: UsageError if it is missing, too large, damaged, another kind of file, or holds objects of other classes.
    """
    raw = _read(path)
    try:
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True), len(raw)
    except MemoryError:
        raise UsageError(f"{printable(path)}: there is not enough memory for its {len(raw):,} bytes") from None
    except Exception as error:  # whatever the parser raises on a damaged or hostile file
        match = re.search(r"GLOBAL (\S{1,200}) ", str(error))
        if match is None:
            raise UsageError(f"{printable(path)} is damaged: torch.load cannot read it. Download or copy it again") from error
        raise UsageError(
            f"{printable(path)} holds an object made by {printable(match[1])}, and no code in a file is run: {_SAVE_AGAIN}"
        ) from error


def _read(path: Path) -> bytes:
    """Read a file that may be one of torch.save. Raises: UsageError as `read_checkpoint`."""
    shown = printable(path)
    try:
        with open_for_reading(path) as file:
            head = file.read(64)
        for magic, what in _OTHER_FILES.items():
            if head.startswith(magic):
                raise UsageError(f"{shown} is {what}")
        if not head.startswith((_ZIP, _BEFORE_TORCH_1_6)):
            kind = "a safetensors file" if head[8:9] == b"{" else "empty" if not head else "another kind of file"
            raise UsageError(f"{shown} is no file of torch.save (.pth) but {kind}: give a file that the repository's code saved")
        raw = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        raise UsageError(f"there is no file {shown}{_members_beside(path)}") from None
    except MemoryError:
        raise UsageError(f"{shown}: there is not enough memory to read it") from None
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {reason(error)}") from error
    if raw.startswith(_ZIP) and (problem := _archive_problem(raw)):
        raise UsageError(f"{shown} is {problem}")
    return raw


def _members_beside(path: Path) -> str:
    """The way out where the common start of the members' names was given: the TRS repository's scripts take that."""
    numbered = re.compile(re.escape(path.name) + r"\.[0-9]{1,4}")
    names = sorted((entry.name for entry in path.parent.glob("*") if numbered.fullmatch(entry.name)), key=natural_order)
    return f": give the members' files, {printable(', '.join(names[:16]))}" if names else ": correct its name"


def _archive_problem(raw: bytes) -> str:
    """What a zip archive is that torch.save did not write; empty if it may have."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return "a damaged archive: download or copy it again"
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        return "a TorchScript archive, whose code is not run: give a file that the repository's code saved"
    stored = all(entry.compress_type == zipfile.ZIP_STORED and entry.file_size == entry.compress_size for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > len(raw):  # torch.load would unpack it to any size
        return "a packed zip archive: unpack it, and give a file that the repository's code saved"
    return ""


def check_size(states: Iterable[Mapping[object, object]], size: int, where: str) -> None:
    """Raise UsageError if state dicts need more bytes than their file has: members that share weights, or tensors of no storage.

    So a small file cannot make us build many large members.
    """
    tensors = (value for state in states for value in state.values() if isinstance(value, Tensor))
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if needed > size:
        raise UsageError(f"{where} holds {size:,} bytes, its weights need {needed:,}: members share weights, or it is damaged")


def describe(value: object) -> str:
    """What a checkpoint, or a part of it, is: the kind, and a dict's first keys with their shapes."""
    if isinstance(value, Tensor):
        return f"a tensor {[*value.shape]}"
    if not isinstance(value, Mapping):
        return f"a {type(value).__name__}"
    shown = [f"{short(key)} {_kind(value[key])}" for key, _ in zip(value, range(5), strict=False)]
    if len(value) > len(shown):
        shown.append(f"{len(value) - len(shown)} more")
    return f"a dict with {', '.join(shown)}" if shown else "an empty dict"


def short(key: object) -> str:
    """A key for messages: printable and of bounded length."""
    text = printable(key if isinstance(key, str) else reprlib.repr(key))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return str([*value.shape])
    return f"({type(value).__name__})"
