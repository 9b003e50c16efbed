"""Load an ensemble from files in a published layout, whichever of the two repositories' forms they are in.

Sources: train/Empirical/train_trs.py and utils/Empirical/architectures.py of AI-secure/Transferability-Reduced-Smooth-Ensemble;
train/train_dverge.py and utils.py of zjysteven/DVERGE. `trs_explorer.layouts` says which method is published in which form.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trs_explorer.catalogue import entry
from trs_explorer.files import natural_order, printable
from trs_explorer.layouts import DVERGE_FORM, LAYOUTS, TRS_FORM, Form, Layout
from trs_explorer.models.layouts.checkpoint import check_size, describe, read_checkpoint, short
from trs_explorer.models.layouts.members import NORMALISATION, build_member, checked_tensor, load_member
from trs_explorer.models.normalize import Normalize
from trs_explorer.options import UsageError

# utils/Empirical/architectures.py (get_architecture): the names of --arch, our architecture, and the data that its channels suit.
_ARCHITECTURES = {
    "lenet": ("lenet", "mnist"),
    "mnist_resnet20": ("resnet20", "mnist"),
    "cifar_resnet20": ("resnet20", "cifar10"),
    "cifar_resnet110": ("resnet110", "cifar10"),
}
_PARALLEL = "module."  # what nn.DataParallel puts before every key
_MOST_BLOCKS = 33  # per stage, of ResNet-200: no file makes us build a deeper one


@dataclass(frozen=True)
class LayoutEnsemble:
    """Members that were read from files.

    - members: in eval mode, with `Normalize` as first layer; in the order of the files or of their numbers.
    - architecture, data: with these `build_member` builds each member without its weights.
    - notes: what the files say of it, one sentence each.
    """

    members: tuple[nn.Sequential, ...]
    architecture: str
    data: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _MemberWeights:
    """A member's weights in a file: the keys without those of wrappers have `prefix`; normaliser: the others have this one."""

    state: Mapping[object, object]
    where: str
    architecture: str
    data: str
    prefix: str
    normaliser: str = ""


def load_layout(layout: str, files: Sequence[Path]) -> LayoutEnsemble:
    """Return the ensemble that files in a published layout hold.

    layout: a name in `LAYOUTS`.
    files: a file for each member in the form of the TRS repository, one file in that of DVERGE.
    Raises: UsageError for an unknown name, and for files that are missing, damaged, in another layout or of another network.
    """
    chosen = entry(LAYOUTS, "--layout", layout)
    if not files:
        raise UsageError(f"--layout {layout} needs the files to read: {' or '.join(form.holds for form in chosen.forms)}")
    _refuse_repeated(files)
    form = TRS_FORM
    weights: list[_MemberWeights] = []
    notes: list[str] = []
    for number, path in enumerate(files):
        content, size = read_checkpoint(path)
        form = _form(layout, chosen, path, content)
        if form is DVERGE_FORM and len(files) > 1:
            raise UsageError(f"{printable(path)} holds a whole ensemble: give it alone, and import the other files as other runs")
        suffix = "-leaky" if form in chosen.leaky else ""
        here = _dverge_members(path, content) if form is DVERGE_FORM else [_trs_member(path, content, number, notes)]
        check_size((one.state for one in here), size, printable(path))
        weights += (replace(one, architecture=one.architecture + suffix) for one in here)
    first = weights[0]
    for other in weights[1:]:
        if (other.architecture, other.data) != (first.architecture, first.data):
            raise UsageError(
                f"{first.where}: {first.architecture} for {first.data}, {other.where}: {other.architecture} for {other.data}: "
                "import members of one architecture"
            )
    members = tuple(_member(one, notes) for one in weights)
    activation = "leaky ReLUs of slope 0.1" if first.architecture.endswith("-leaky") else "ReLUs"
    count = "1 member only" if len(members) == 1 else f"{len(members)} members"
    said = f"{count}, {first.architecture.removesuffix('-leaky')} with {activation} for {first.data}, in the form of {form.name}"
    return LayoutEnsemble(members, first.architecture, first.data, (said, *dict.fromkeys(notes)))


def _refuse_repeated(files: Sequence[Path]) -> None:
    """Raise UsageError if a file is given twice: an ensemble of copies would look perfectly transferable."""
    seen: set[Path] = set()
    for path in files:
        if (real := path.resolve()) in seen:
            raise UsageError(f"{printable(path)} is given twice: give every member's file once")
        seen.add(real)


def _form(layout: str, chosen: Layout, path: Path, content: Any) -> Form:
    """Whose form a file's content has, if the layout is published in it. Raises: UsageError with what was found and expected."""
    form = None
    if isinstance(content, Mapping) and content:
        if all(isinstance(key, str) and re.fullmatch(r"model_[0-9]{1,4}", key) for key in content):
            form = DVERGE_FORM
        elif isinstance(content.get("arch"), str) and isinstance(content.get("state_dict"), Mapping):
            form = TRS_FORM
    if form in chosen.forms:
        return form
    others = [name for name, other in LAYOUTS.items() if form in other.forms]
    hint = f" (it has the form of {form.name}: is it --layout {', '.join(others)}?)" if form else ""
    expected = ", or ".join(form.holds for form in chosen.forms)
    raise UsageError(f"{printable(path)} is not in the layout {layout}: found {describe(content)}; expected {expected}{hint}")


def _trs_member(path: Path, content: Mapping[str, Any], number: int, notes: list[str]) -> _MemberWeights:
    """Find a member in a file of the TRS repository. Its `NormalizeLayer` has no buffers: the constants are in the code only."""
    where, arch, state = printable(path), content["arch"], content["state_dict"]
    if arch not in _ARCHITECTURES:
        what = "is for ImageNet, no data set of trs" if arch == "resnet50" else "is none of the repository"
        raise UsageError(f"{where}: arch {short(arch)} {what}: those that can be read are {', '.join(_ARCHITECTURES)}")
    architecture, data = _ARCHITECTURES[arch]
    prefix = f"{_parallel(state)}1."  # nn.Sequential(normalize_layer, model)
    _check_prefixes(state, (prefix,), where)
    epoch = content.get("epoch")
    epochs = f"after epoch {epoch}" if isinstance(epoch, int) and 0 <= epoch < 10**6 else "of an unknown epoch"
    notes.append(f"F{number + 1} is {where}, {arch} {epochs}")
    return _MemberWeights(state, where, architecture, data, prefix)


def _dverge_members(path: Path, content: Mapping[str, Any]) -> list[_MemberWeights]:
    """Find the members in a file of DVERGE. Their wrapper saves its normalisation as buffers."""
    return [_dverge_member(f"{printable(path)}: {name}", content[name]) for name in sorted(content, key=natural_order)]


def _dverge_member(where: str, state: object) -> _MemberWeights:
    """Find a member: the depth and the data set are not in the file, but its keys and shapes show them."""
    if not isinstance(state, Mapping):
        raise UsageError(f"{where} is {describe(state)}, expected a state dict: save the members' state_dict()")
    parallel = _parallel(state)
    prefix, normaliser = f"{parallel}model.", f"{parallel}normalizer."
    _check_prefixes(state, (prefix, normaliser), where)
    if f"{prefix}layer1.0.conv3.weight" in state:
        raise UsageError(f"{where} has bottleneck blocks (depth 44 or more): only ResNets of basic blocks can be read")
    blocks = 0
    while blocks <= _MOST_BLOCKS and f"{prefix}layer1.{blocks}.conv1.weight" in state:
        blocks += 1
    if not 1 <= blocks <= _MOST_BLOCKS:
        seen = f"found {describe(state)}; expected {prefix}conv1.weight, {prefix}layer1.0.conv1.weight, ..."
        raise UsageError(f"{where} is not DVERGE's ResNet of 1 to {_MOST_BLOCKS} blocks per stage: {seen}")
    stem = state.get(f"{prefix}conv1.weight")
    gray = isinstance(stem, torch.Tensor) and stem.ndim == 4 and stem.shape[1] == 1
    return _MemberWeights(state, where, f"resnet{6 * blocks + 2}", "mnist" if gray else "cifar10", prefix, normaliser)


def _parallel(state: Mapping[object, object]) -> str:
    """The prefix of nn.DataParallel if every key has it."""
    wrapped = bool(state) and all(isinstance(key, str) and key.startswith(_PARALLEL) for key in state)
    return _PARALLEL if wrapped else ""


def _check_prefixes(state: Mapping[object, object], prefixes: tuple[str, ...], where: str) -> None:
    """Raise UsageError unless every key is a text that starts with one of the prefixes."""
    for key in state:
        if not isinstance(key, str) or not key.startswith(prefixes):
            raise UsageError(
                f"{where}: the key {short(key)} does not start with {' or '.join(prefixes)}, as the repository's wrapper has it. "
                f"Found {describe(state)}"
            )
    if not state:
        raise UsageError(f"{where}: its state dict is empty")


def _member(weights: _MemberWeights, notes: list[str]) -> nn.Sequential:
    """Build a member with its weights."""
    member = build_member(weights.architecture, weights.data)
    load_member(member, weights.state, weights.prefix, weights.where)
    if weights.normaliser:
        _load_normalisation(member, weights, notes)
    return member.eval()


def _load_normalisation(member: nn.Sequential, weights: _MemberWeights, notes: list[str]) -> None:
    """Set a member's normalisation to the buffers in the file, of advertorch's NormalizeByChannelMeanStd: a number by channel."""
    constants = NORMALISATION[weights.data]
    values = []
    for name, published in zip(("mean", "std"), constants, strict=True):
        key = f"{weights.normaliser}{name}"
        if key not in weights.state:
            raise UsageError(
                f"{weights.where} lacks {key} [{len(published)}], the repository's normalisation: it is not complete"
            )
        values.append(checked_tensor(weights.state[key], torch.tensor(published), key, weights.where))
    mean, std = values
    for other in weights.state:
        if str(other).startswith(weights.normaliser) and other not in (f"{weights.normaliser}mean", f"{weights.normaliser}std"):
            raise UsageError(f"{weights.where} holds {short(other)}, which the repository's normalisation has not")
    if not bool((std > 0).all()):
        raise UsageError(
            f"{weights.where}: {weights.normaliser}std is {std.tolist()}, every one must be > 0: the file is damaged"
        )
    if not (torch.equal(mean, torch.tensor(constants[0])) and torch.equal(std, torch.tensor(constants[1]))):
        shown = [[round(x, 4) for x in value.tolist()] for value in (mean, std)]
        notes.append(f"its normalisation differs from the published one: mean {shown[0]}, std {shown[1]}")
    member[0] = Normalize(mean.tolist(), std.tolist())
