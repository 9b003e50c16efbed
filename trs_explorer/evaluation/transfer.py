"""The transfer matrix: whether members fall to each other's adversarial examples."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from trs_explorer.attacks.common import check_images, eval_mode
from trs_explorer.evaluation.accuracy import batches, right
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.ensemble import Ensemble


@dataclass(frozen=True)
class TransferMatrix:
    """Counts of images: fooled[i][j] of eligible[i][j] adversarial examples made on surrogate i fool target j.

    Off the diagonal an image is eligible if both have it right clean and the adversarial one fools the surrogate (Def. 6).
    On the diagonal it is eligible if the member has it right clean: the rate is the attack's own success rate.
    With ensemble_column, the last column's target is the whole ensemble; there are always as many rows as members.
    n: how many images were tried.
    """

    fooled: list[list[int]]
    eligible: list[list[int]]
    n: int
    ensemble_column: bool = False

    def rate(self, surrogate: int, target: int) -> float | None:
        """The share fooled / eligible of one cell; None where no image is eligible."""
        eligible = self.eligible[surrogate][target]
        return self.fooled[surrogate][target] / eligible if eligible else None

    def rates(self) -> list[list[float | None]]:
        """`rate` of every cell."""
        return [[self.rate(i, j) for j in range(len(row))] for i, row in enumerate(self.fooled)]

    def interval(self, surrogate: int, target: int) -> tuple[float, float]:
        """The 95 % Wilson interval of one cell; (0, 1) where no image is eligible."""
        return wilson(self.fooled[surrogate][target], self.eligible[surrogate][target])

    def mean_off_diagonal(self) -> float | None:
        """The mean rate over ordered pairs of different members, each pair weighing the same, without the ensemble column.

        Pairs without an eligible image are left out; None if that leaves none.
        """
        members = range(len(self.fooled))
        rates = [rate for i in members for j in members if i != j and (rate := self.rate(i, j)) is not None]
        return sum(rates) / len(rates) if rates else None

    def to_json(self) -> dict:
        """The counts, with what derives from them."""
        return {
            **asdict(self),
            "rates": self.rates(),
            "intervals": [[list(self.interval(i, j)) for j in range(len(row))] for i, row in enumerate(self.fooled)],
            "mean_off_diagonal": self.mean_off_diagonal(),
            "rows": "surrogate",
            "columns": "target",
        }


def transfer_matrix(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    attack: Callable,
    ensemble_column: bool = False,
    seed: int = 0,
    batch_size: int = 256,
) -> TransferMatrix:
    """Attacks every member alone and shows the result to all: rows = surrogate, columns = target.

    attack: attack(member, x, y, generator=...) -> x_adv, such as partial(pgd, eps=0.3); untargeted. One that has an `early_stop`
    is run without: a barely fooling image transfers less, and the members would look more diverse than they are.
    y: true labels. Denominators: see TransferMatrix; an image that a member has wrong clean is in none of its cells.
    Seeds: every surrogate gets the same noise, so that reordering the members reorders the matrix and does nothing else; an
    image's noise does not depend on batch_size (see `accuracy.evaluate`).
    Raises: ValueError for images outside [0, 1], or an attack that returns such images.
    Source: TRS, Definition 6 and section 4.2 (whose text, not the caption of Figure 3, gives rows and columns).
    """
    check_images(x, y)
    to_the_end = {"early_stop": False} if "early_stop" in inspect.signature(attack).parameters else {}
    members = len(ensemble)
    fooled = torch.zeros(members, members + ensemble_column, dtype=torch.long)
    eligible = torch.zeros_like(fooled)
    generators = [torch.Generator().manual_seed(seed) for _ in ensemble.members]
    for images, labels in batches(ensemble, x, y, batch_size) if len(x) else ():
        clean = _right(ensemble, images, labels, ensemble_column)
        for i, (surrogate, generator) in enumerate(zip(ensemble.members, generators, strict=True)):
            x_adv = attack(surrogate, images, labels, generator=generator, **to_the_end)
            check_images(x_adv, labels)
            wrong = ~_right(ensemble, x_adv, labels, ensemble_column)
            tried = clean & clean[i] & wrong[i]
            tried[i] = clean[i]
            eligible[i] += tried.sum(-1).cpu()
            fooled[i] += (tried & wrong).sum(-1).cpu()
    return TransferMatrix(fooled.tolist(), eligible.tolist(), len(x), ensemble_column)


def _right(ensemble: Ensemble, x: Images, y: Labels, ensemble_column: bool) -> Bool[Tensor, "target batch"]:
    with eval_mode(ensemble), torch.no_grad():
        targets = right(ensemble.member_logits(x), y)
        return torch.cat([targets, right(ensemble(x), y)[None]]) if ensemble_column else targets
