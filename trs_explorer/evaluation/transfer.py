"""The transfer matrix: how often adversarial examples made on one member fool the others."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images
from trs_explorer.attacks.noise import draw_seeds, seeded
from trs_explorer.attacks.options import transfer_kwargs
from trs_explorer.evaluation.accuracy import Keep, batches, check_inputs, on_device
from trs_explorer.evaluation.intervals import of_ratio, wilson
from trs_explorer.files import Json
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import Batches, fitting_batch
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.eval_mode import eval_mode

# The protocols, with the random starts that each gives an image. Stored results and CSV files hold these names: keep them.
STARTS_OF = {
    "def6": 1,  # Definition 6 of the TRS paper: images that both models classify correctly and that fool the surrogate
    "all-right": 5,  # as in DVERGE: images that all members classify correctly, whether or not the surrogate is fooled
}


@dataclass(frozen=True)
class TransferMatrix:
    """Counts of images: fooled[i][j] of eligible[i][j] adversarial examples made on surrogate i fool target j.

    A model is fooled if it answers another class than y; if targeted, if it answers the wanted class.

    - protocol "def6", off the diagonal: an image is eligible if both models classify it correctly clean and the adversarial
      image fools the surrogate (Def. 6). On the diagonal: if the member classifies it correctly clean.
    - protocol "all-right": an image is eligible, in every cell, if all members classify it correctly clean, whether or not the
      surrogate is fooled. It counts as fooled if the image of any of five starts (one if nothing is random) fools the target.
    - ensemble_column: whether there is a last column whose target is the whole ensemble. There is one row for each member.
    - n: how many images were tried on every surrogate. During a measurement the first rows may have more.
    - outcomes: per cell a letter for each image tried on its surrogate, in order: 1 fooled, 0 not fooled, - not eligible.
    """

    fooled: list[list[int]]
    eligible: list[list[int]]
    n: int
    ensemble_column: bool = False
    outcomes: list[list[str]] = field(default_factory=list, repr=False)  # a notebook shows the rest
    protocol: str = "def6"
    targeted: bool = False

    def rate(self, surrogate: int, target: int) -> float | None:
        """Fooled / eligible of one cell; None if no image is eligible."""
        eligible = self.eligible[surrogate][target]
        return self.fooled[surrogate][target] / eligible if eligible else None

    def rates(self) -> list[list[float | None]]:
        """`rate` of every cell."""
        return [[self.rate(i, j) for j in range(len(row))] for i, row in enumerate(self.fooled)]

    def interval(self, surrogate: int, target: int) -> tuple[float, float]:
        """The 95 % Wilson interval of one cell's rate; (0, 1) if no image is eligible."""
        return wilson(self.fooled[surrogate][target], self.eligible[surrogate][target])

    def pooled(self) -> tuple[int, int]:
        """Fooled and eligible, summed over all ordered pairs of different members: "transfer" in one number.

        The ensemble's column does not count.
        """
        members = range(len(self.fooled))
        pairs = [(i, j) for i in members for j in members if i != j]
        return sum(self.fooled[i][j] for i, j in pairs), sum(self.eligible[i][j] for i, j in pairs)

    def pooled_interval(self) -> tuple[float, float]:
        """The 95 % interval of `pooled`, in which an image counts once, in however many pairs it is; (0, 1) without images."""
        members = range(len(self.fooled))
        cells = [self.outcomes[i][j] for i in members for j in members if i != j] if self.outcomes else []
        return of_ratio([(image.count("1"), len(image) - image.count("-")) for image in zip(*cells, strict=True)])

    def __str__(self) -> str:
        """As a table of rates in %: a row for each surrogate, a column for each target."""
        names = [f"F{k + 1}" for k in range(len(self.fooled))]
        columns = [*names, *["ensemble"] * self.ensemble_column]
        rows = [["" if rate is None else f"{100 * rate:.1f}" for rate in row] for row in self.rates()]
        lines = [["attack on", *columns], *([name, *row] for name, row in zip(names, rows, strict=True))]
        return "\n".join("".join(f"{cell:>10}" for cell in line) for line in lines)

    def to_json(self) -> Json:
        """The counts, and the rates and intervals derived from them, for JSON."""
        return {
            **asdict(self),
            "rates": self.rates(),
            "intervals": [[list(self.interval(i, j)) for j in range(len(row))] for i, row in enumerate(self.fooled)],
            "pooled": list(self.pooled()),
            "pooled_interval": list(self.pooled_interval()),
            "rows": "surrogate",
            "columns": "target",
        }


def transfer_matrix(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    attack: Callable[..., Tensor],
    wanted: Labels | None = None,
    protocol: str = "def6",
    ensemble_column: bool = False,
    seed: int = 0,
    batch_size: int = 256,
) -> TransferMatrix:
    """Attack every member alone and test the images on all members: rows = surrogate, columns = target.

    - x, y: images in [0, 1] and their true labels.
    - attack: attack(member, x, y, generator=...) -> x_adv, such as partial(pgd, eps=0.3). It is asked for images that transfer: a
      barely fooling image transfers less, and the members would look more diverse than they are.
    - wanted: for a targeted attack, the class that each image should be classified as, never y.
    - protocol, ensemble_column: see `TransferMatrix`, also for the denominators.
    - seed: of the random starts. Every surrogate gets the same noise, so that reordering the members only reorders the matrix. An
      image's noise does not depend on batch_size (see `accuracy.evaluate`).

    Raises: ValueError for images outside [0, 1], an attack that returns such images, an unknown protocol, a wanted class y.
    Source: TRS, Definition 6 and section 4.2 (whose text, not the caption of Figure 3, gives rows and columns); "all-right":
    the protocol of DVERGE (Yang et al., NeurIPS 2020), which takes five starts of PGD-50 on 1,000 such images.
    """
    so_far = measure_transfer(
        ensemble,
        x,
        y,
        attack=attack,
        wanted=wanted,
        protocol=protocol,
        ensemble_column=ensemble_column,
        seed=seed,
        batch_size=batch_size,
    )
    return deque(so_far, maxlen=1).pop()


def measure_transfer(
    ensemble: Ensemble,
    x: Images,
    y: Labels,
    *,
    attack: Callable[..., Tensor],
    wanted: Labels | None = None,
    protocol: str = "def6",
    ensemble_column: bool = False,
    seed: int = 0,
    batch_size: int = 256,
    done: Sequence[Sequence[str]] = (),
    first: int = 0,
    keep: Keep | None = None,
) -> Iterator[TransferMatrix]:
    """As `transfer_matrix`, step by step: yields the matrix so far, first an empty one, then after each surrogate of each batch.

    - done: outcomes of an interrupted measurement of the same. It continues after the last image tried on all surrogates.
    - first: as for `accuracy.measure`.
    - keep: called with the surrogate's number from 0, the places in x and the adversarial images of every batch that is attacked
      here; for protocol "all-right" once for each start.

    The matrix is final when its n is len(x). Consume the iterator to the end, or close it, before the ensemble trains on.
    """
    check_inputs(ensemble, x, y)
    if protocol not in STARTS_OF:
        raise ValueError(f"protocol must be one of {', '.join(STARTS_OF)}, got {protocol!r}")
    if wanted is not None and (wanted == y).any():
        raise ValueError("a wanted class must be another than the true one")
    outcomes = [[""] * (len(ensemble) + ensemble_column) for _ in ensemble.members]
    tried = min((len(row[0]) for row in done), default=0)
    if tried:
        outcomes = [[cell[:tried] for cell in row] for row in done]
    generators = [[seeded(seed + start) for start in range(STARTS_OF[protocol])] for _ in ensemble.members]
    for generator in (generator for starts in generators for generator in starts):
        draw_seeds(first + tried, 1, generator)  # skip the draws for the images before
    options = {**transfer_kwargs(attack, for_transfer=True), **({} if wanted is None else {"targeted": True})}

    def matrix() -> TransferMatrix:
        return _matrix(outcomes, ensemble_column, protocol, wanted is not None)

    yield matrix()
    sizes = [Batches(fitting_batch(member, x, most=batch_size)) for member in ensemble.members]
    batch_size = max(one.size for one in sizes)
    pairs = torch.stack([y, y if wanted is None else wanted], -1)  # the attack's labels beside the true ones
    for images, labels in batches(ensemble, x[tried:], pairs[tried:], batch_size) if tried < len(x) else ():
        truth, aim = labels.unbind(-1)
        clean = _answers(ensemble, images, ensemble_column) == truth
        for i, surrogate in enumerate(ensemble.members):
            fooled, before = torch.zeros_like(clean), None
            for generator in generators[i]:
                made = partial(_attacked, attack, surrogate, images, aim, {"generator": generator, **options})
                x_adv = torch.cat([part for _, part in sizes[i].over(0, len(images), made, generator)])
                if before is not None and torch.equal(x_adv, before):
                    break  # the attack is deterministic
                before = x_adv
                check_images(x_adv, truth)
                if keep is not None:
                    keep(i, slice(len(outcomes[i][0]), len(outcomes[i][0]) + len(images)), x_adv)
                answers = _answers(ensemble, x_adv, ensemble_column)
                fooled |= answers != truth if wanted is None else answers == aim
            if protocol == "all-right":
                eligible = clean[: len(ensemble)].all(0).expand_as(clean)
            else:
                eligible = clean & clean[i] & fooled[i]
                eligible[i] = clean[i]
            cells = (eligible.int() + (eligible & fooled).int()).tolist()
            outcomes[i] = [past + "".join("-01"[k] for k in cell) for past, cell in zip(outcomes[i], cells, strict=True)]
            yield matrix()


def _attacked(
    attack: Callable[..., Tensor], surrogate: nn.Module, x: Images, y: Labels, arguments: Mapping[str, Any], places: slice
) -> Images:
    return attack(surrogate, x[places], y[places], **arguments)


def join_matrices(parts: Sequence[TransferMatrix]) -> TransferMatrix:
    """One matrix of the images of several parts of a measurement, in that order."""
    rows = [
        ["".join(cells) for cells in zip(*(part.outcomes[i] for part in parts), strict=True)]
        for i in range(len(parts[0].outcomes))
    ]
    return _matrix(rows, parts[0].ensemble_column, parts[0].protocol, parts[0].targeted)


def complete_images(matrix: TransferMatrix) -> TransferMatrix:
    """The matrix of its first n images: without those that, during a measurement, only some rows have."""
    rows = [[cell[: matrix.n] for cell in row] for row in matrix.outcomes]
    return _matrix(rows, matrix.ensemble_column, matrix.protocol, matrix.targeted)


def all_correct(
    ensemble: Ensemble, images: Callable[[slice], Images], y: Labels, *, limit: int, batch_size: int = 256
) -> Int[Tensor, " chosen"]:
    """The indices of the first `limit` images that all members classify correctly; fewer if there are not so many.

    images: returns the images at some places, so that not all of them need be in memory.
    """
    chosen: list[Tensor] = []
    size = fitting_batch(ensemble, images(slice(0, 1)), most=batch_size)
    for first in range(0, len(y), size):
        places = slice(first, first + size)
        x, labels = on_device(ensemble, images(places), y[places])
        right = (_answers(ensemble, x, False) == labels).all(0).nonzero()[:, 0].cpu()
        chosen.append(right + first)
        if sum(map(len, chosen)) >= limit:
            break
    return torch.cat(chosen)[:limit] if chosen else torch.zeros(0, dtype=torch.long)


def other_classes(y: Labels, classes: int, *, seed: int) -> Labels:
    """For every image another class than its own, uniformly at random."""
    shift = torch.randint(1, classes, (len(y),), generator=torch.Generator().manual_seed(seed))
    return (y + shift.to(y.device)) % classes


def _matrix(outcomes: list[list[str]], ensemble_column: bool, protocol: str, targeted: bool) -> TransferMatrix:
    fooled = [[cell.count("1") for cell in row] for row in outcomes]
    eligible = [[len(cell) - cell.count("-") for cell in row] for row in outcomes]
    tried = min(len(row[0]) for row in outcomes)
    return TransferMatrix(fooled, eligible, tried, ensemble_column, [row.copy() for row in outcomes], protocol, targeted)


def _answers(ensemble: Ensemble, x: Images, ensemble_column: bool) -> Int[Tensor, "target batch"]:
    """Every member's class, and the ensemble's in the last row; -1 where an output has NaN."""
    with eval_mode(ensemble), torch.no_grad():
        logits = ensemble.member_logits(x)
        outputs = torch.cat([logits, ensemble.vote(logits)[None]]) if ensemble_column else logits
    return outputs.argmax(-1).where(~outputs.isnan().any(-1), -1)
