"""The transfer matrix: whether members fall to each other's adversarial examples."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from trs_explorer.attacks.common import check_images, eval_mode, to_the_end
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
    n: how many images were tried on every surrogate; while it is being measured, the first rows may be ahead.
    outcomes: per cell a letter an image that its surrogate was tried on, in order: 1 fooled, 0 not, - not eligible.
    """

    fooled: list[list[int]]
    eligible: list[list[int]]
    n: int
    ensemble_column: bool = False
    outcomes: list[list[str]] = field(default_factory=list)

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

    def pooled(self) -> tuple[int, int]:
        """Fooled and eligible, added up over all ordered pairs of different members: what "transfer" in one number means here.

        The ensemble's column is left out.
        """
        members = range(len(self.fooled))
        pairs = [(i, j) for i in members for j in members if i != j]
        return sum(self.fooled[i][j] for i, j in pairs), sum(self.eligible[i][j] for i, j in pairs)

    def to_json(self) -> dict:
        """The counts, with what derives from them."""
        return {
            **asdict(self),
            "rates": self.rates(),
            "intervals": [[list(self.interval(i, j)) for j in range(len(row))] for i, row in enumerate(self.fooled)],
            "pooled": list(self.pooled()),
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
    so_far = measure_transfer(ensemble, x, y, attack=attack, ensemble_column=ensemble_column, seed=seed, batch_size=batch_size)
    return deque(so_far, maxlen=1).pop()


def measure_transfer(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    attack: Callable,
    ensemble_column: bool = False,
    seed: int = 0,
    batch_size: int = 256,
) -> Iterator[TransferMatrix]:
    """`transfer_matrix` as it proceeds: the matrix so far, first an empty one, then after each surrogate of each batch.

    It is final when its n is len(x). Consume it to the end, or close it, before the ensemble trains on.
    """
    check_images(x, y)
    outcomes = [[""] * (len(ensemble) + ensemble_column) for _ in ensemble.members]
    generators = [torch.Generator().manual_seed(seed) for _ in ensemble.members]
    yield _matrix(outcomes, ensemble_column)
    for images, labels in batches(ensemble, x, y, batch_size) if len(x) else ():
        clean = _right(ensemble, images, labels, ensemble_column)
        for i, (surrogate, generator) in enumerate(zip(ensemble.members, generators, strict=True)):
            x_adv = attack(surrogate, images, labels, generator=generator, **to_the_end(attack))
            check_images(x_adv, labels)
            wrong = ~_right(ensemble, x_adv, labels, ensemble_column)
            eligible = clean & clean[i] & wrong[i]
            eligible[i] = clean[i]
            cells = (eligible.int() + (eligible & wrong).int()).tolist()
            outcomes[i] = [past + "".join("-01"[k] for k in cell) for past, cell in zip(outcomes[i], cells, strict=True)]
            yield _matrix(outcomes, ensemble_column)


def _matrix(outcomes: list[list[str]], ensemble_column: bool) -> TransferMatrix:
    fooled = [[cell.count("1") for cell in row] for row in outcomes]
    eligible = [[len(cell) - cell.count("-") for cell in row] for row in outcomes]
    tried = min(len(row[0]) for row in outcomes)
    return TransferMatrix(fooled, eligible, tried, ensemble_column, [row.copy() for row in outcomes])


def _right(ensemble: Ensemble, x: Images, y: Labels, ensemble_column: bool) -> Bool[Tensor, "target batch"]:
    with eval_mode(ensemble), torch.no_grad():
        targets = right(ensemble.member_logits(x), y)
        return torch.cat([targets, right(ensemble(x), y)[None]]) if ensemble_column else targets
