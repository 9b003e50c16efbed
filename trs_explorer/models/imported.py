"""Ensembles of others: whatever a user's function returns, as an `Ensemble`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trs_explorer import plugins
from trs_explorer.models.ensemble import Ensemble, Images
from trs_explorer.models.eval_mode import eval_mode
from trs_explorer.options import UsageError

MOST_MEMBERS = 64


def make_imported(name: str, shape: tuple[int, int, int], classes: int) -> Ensemble:
    """Build the ensemble behind a name of code of others, on the CPU. Its modules are in the mode in which the code leaves them.

    name: of a function without arguments, or of what it would return: an `Ensemble`, a sequence of modules that return logits,
        one module that returns all members' logits [member, batch, class], or one that returns logits [batch, class].
    shape, classes: of the data that its members take.
    Raises: UsageError for anything else, or members that do not take such images; with the line of their file.
    """
    short = plugins.short(name)
    made = plugins.load("model", name, short)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = made() if callable(made) and not isinstance(made, nn.Module) else made
        ensemble = _as_ensemble(made, short, torch.zeros(2, *shape))
        logits = _outputs(ensemble, lambda: ensemble.member_logits(torch.zeros(2, *shape)))
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever their code raises, also SystemExit
        size = " x ".join(map(str, shape))
        raise UsageError(f"{short} fails on images of {size}, which the data has: {plugins.where(error) or error}") from error
    if logits.shape[1:] != (2, classes):
        given = f"{short} must return {classes} logits an image for this data, got {[*logits.shape[1:]]} for 2 images"
        raise UsageError(f"{given}{_about_classes(classes, logits.shape[-1]) if logits.shape[1:-1] == (2,) else ''}")
    return ensemble


def _about_classes(of_data: int, of_members: int) -> str:
    """The likely reason why members answer with another number of classes than the data has, and the way out."""
    if of_members == of_data - 1:
        return ": are the data's labels counted from 1? Subtract 1"
    if of_members > of_data:
        way = f"name all {of_members:,} (class_names in the file, or the third value that data returns)"
        return f": if the data has images of some classes only, {way}"
    return ": is this the data that it was trained on?"


def _as_ensemble(made: Any, name: str, x: Images) -> Ensemble:
    if isinstance(made, Ensemble):
        return made
    if isinstance(made, nn.Module) and not isinstance(made, nn.ModuleList):
        together = _outputs(made, lambda: made(x))
        if not isinstance(together, Tensor) or together.ndim not in (2, 3):
            got = f"a tensor of shape {[*together.shape]}" if isinstance(together, Tensor) else f"a {type(together).__name__}"
            raise UsageError(f"{name} must return logits [batch, class], or [member, batch, class], it returned {got}")
        return Ensemble([made]) if together.ndim == 2 else JointEnsemble(made, len(together))
    members = [*made] if isinstance(made, Sequence | nn.ModuleList) else []
    wrong = next((type(one).__name__ for one in members if not isinstance(one, nn.Module)), None)
    if not members or wrong:
        got = f"a {wrong} among them" if wrong else f"a {type(made).__name__}" if not isinstance(made, Sequence) else "none"
        raise UsageError(f"{name} must return a sequence of torch.nn.Module, one for each member, it returned {got}")
    if len(members) > MOST_MEMBERS:
        raise UsageError(f"{name} returned {len(members)} members: {MOST_MEMBERS} at most")
    if len({id(one) for one in members}) < len(members):
        raise UsageError(f"{name} returned one module twice: its members would be one and the same")
    return Ensemble(members)


def as_ensemble(given: object) -> Ensemble:
    """Return what a notebook passes as an ensemble: an `Ensemble` as it is; modules, one a member; one module as one member.

    Raises: UsageError for anything else, or a module that is there twice.
    """
    if isinstance(given, Ensemble):
        return given
    if isinstance(given, str | Path):
        raise UsageError(f"the ensemble is {str(given)!r}, a name: load it first, trs.load({str(given)!r})")
    members = [given] if isinstance(given, nn.Module) and not isinstance(given, nn.ModuleList) else given
    if not isinstance(members, Sequence | nn.ModuleList) or not len(members):
        raise UsageError(f"an ensemble is an Ensemble or a list of torch.nn.Module, one for each member, not {given!r:.80}")
    for number, member in enumerate(members, start=1):
        if not isinstance(member, nn.Module):
            raise UsageError(f"member F{number} must be a torch.nn.Module, got {member!r:.80}")
    if len({id(one) for one in members}) < len(members):
        raise UsageError("one module is there twice: two members would be one and the same")
    return Ensemble([*members])


def _outputs(model: nn.Module, compute: Callable[[], Any]) -> Any:
    """What a computation gives with the model in eval mode. Every module gets its own mode back."""
    with eval_mode(model), torch.no_grad():
        return compute()


class JointEnsemble(Ensemble):
    """An ensemble whose members are computed together, by one module that returns logits [member, batch, class].

    The members of `members` are views of it: each computes all of them.
    """

    def __init__(self, joint: nn.Module, count: int) -> None:
        super().__init__([_View(joint, k) for k in range(count)])

    def member_logits(self, x: Images | Sequence[Images]) -> Float[Tensor, "member batch class"]:
        """Return every member's logits, by one pass if all get the same images."""
        if not isinstance(x, Tensor):
            return super().member_logits(x)
        first = cast(_View, self.members[0])
        with self.arithmetic(x.device):
            logits: Tensor = first.joint(x)
        return logits.float()


class _View(nn.Module):
    """One member of a joint module. The first view holds its weights; the others only refer to it."""

    def __init__(self, joint: nn.Module, index: int) -> None:
        super().__init__()
        self.index = index
        if index == 0:
            self.joint = joint
        else:
            self._others = (joint,)  # a tuple: not a submodule, so that the weights are saved once

    def forward(self, x: Images) -> Float[Tensor, "batch class"]:
        """Return the member's logits."""
        joint = self.joint if self.index == 0 else self._others[0]
        logits: Tensor = joint(x)[self.index]
        return logits
