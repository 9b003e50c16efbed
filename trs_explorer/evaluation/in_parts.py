"""The accuracy under `strong`, part by part: each attack on all images that those before it have left, in full batches."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from trs_explorer.attacks.checks import check_images
from trs_explorer.attacks.noise import ImageSeeds, draw_seeds, seeded
from trs_explorer.attacks.strong import Part, part_arguments, parts_for
from trs_explorer.evaluation.accuracy import (
    Attack,
    Rate,
    check_inputs,
    correct,
    distance,
    empty_rate,
    on_device,
    parse_parts,
)
from trs_explorer.evaluation.intervals import wilson
from trs_explorer.files import Json
from trs_explorer.gradients import Images, Labels
from trs_explorer.models.batch_size import Batches, fitting_batch

# Gets the places in x and the adversarial images of a batch.
KeepRows = Callable[[Tensor, Images], object]


@dataclass
class PartsSoFar:
    """How far a measurement in parts has come.

    - correct: per image, whether the model is right without an attack and nothing has fooled it so far.
    - results: of every part that has begun, its label, on how many images it was made, and how many of them it fooled.
    - place: the number of the first image that the last of these parts has not come to.
    - perturbation: the largest distance between an image and its adversarial image.
    - now, done, total: the label of the part that was made last; passes made and passes in all, for the time left.
    """

    correct: list[bool]
    results: list[Json] = field(default_factory=list)
    place: int = 0
    perturbation: float = 0.0
    now: str = ""
    done: float = 0.0
    total: float = 1.0
    finished: bool = False

    def to_json(self) -> Json:
        """What a continuation needs, for JSON; it does not change as the measurement goes on."""
        parts = [dict(result) for result in self.results]
        return {"correct": list(self.correct), "parts": parts, "place": self.place, "perturbation": self.perturbation}

    def rate(self, name: str, *, eps: float, norm: str) -> Rate:
        """The accuracy under all parts together: of all images, those that nothing fooled."""
        low, high = wilson(sum(self.correct), len(self.correct))
        rate = replace(empty_rate(name, eps, norm=norm), correct=sum(self.correct), n=len(self.correct), low=low, high=high)
        return replace(
            rate, outcomes=list(self.correct), perturbation=self.perturbation, parts=[dict(one) for one in self.results]
        )


def measure_in_parts(
    model: nn.Module,
    x: Images,
    y: Labels,
    attack: Attack,
    *,
    batch_size: int = 256,
    seed: int = 0,
    first: int = 0,
    stored: object = None,
    keep: KeepRows | None = None,
) -> Iterator[PartsSoFar]:
    """Measure the accuracy under `strong`; yields after every batch. The last one is `finished`.

    - attack: the name, `strong`, and its arguments: eps, norm, effort.
    - seed, first, batch_size: as for `accuracy.measure`. Images have the noise that they have in `strong` itself.
    - stored: what an interrupted measurement of the same had, as JSON. Anything else is ignored.
    - keep: called with the places in x and the adversarial images of every batch.
    """
    check_inputs(model, x, y)
    _, _, arguments = attack
    parts = parts_for(model, x, effort=float(arguments.get("effort", 1.0)))
    seeds = draw_seeds(first + len(x), max(1, len(parts)), seeded(seed))[first:]
    sizes = Batches(fitting_batch(model, x, most=batch_size))
    so_far = _parse(stored, len(x), parts)
    if so_far is None:
        right = [correct(model, x[places], y[places]) for places in torch.arange(len(x)).split(sizes.size)] if len(x) else []
        so_far = PartsSoFar(torch.cat(right).tolist() if right else [])
    so_far.total = len(x) * sum(part.passes for part in parts)
    for number in range(max(0, len(so_far.results) - 1), len(parts)):
        part = parts[number]
        if number == len(so_far.results):
            so_far.results.append({"attack": part.label, "attacked": 0, "fooled": 0})
            so_far.place = 0
        left = [place for place in range(so_far.place, len(x)) if so_far.correct[place]]
        made = partial(_attacked, model, x, y, part, arguments, left, [seeds[place][number] for place in left])
        so_far.now = f"{part.label} ({number + 1} of {len(parts)})"
        done = len(x) * sum(one.passes for one in parts[:number])
        for places, (rows, images, adversarial, still_right) in sizes.over(0, len(left), made):
            if keep is not None:
                keep(rows, adversarial)
            for place, still in zip(rows.tolist(), still_right.tolist(), strict=True):
                so_far.correct[place] = still
            result = so_far.results[number]
            result["attacked"] += len(rows)
            result["fooled"] += int((~still_right).sum())
            so_far.perturbation = max(so_far.perturbation, distance(adversarial, images, str(arguments.get("norm", "linf"))))
            so_far.place = left[places.stop - 1] + 1
            so_far.done = done + part.passes * so_far.place
            yield so_far
    so_far.finished, so_far.done = True, so_far.total
    yield so_far


def _attacked(
    model: nn.Module,
    x: Images,
    y: Labels,
    part: Part,
    arguments: Mapping[str, Any],
    left: list[int],
    seeds: list[int],
    places: slice,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make a part on some of the images that are left: their places in x, they, the adversarial ones, which are still correct."""
    rows = torch.tensor(left[places], dtype=torch.long)
    images, labels = on_device(model, x[rows], y[rows])
    adversarial = part.attack(model, images, labels, generator=ImageSeeds(seeds[places]), **part_arguments(part, **arguments))
    check_images(adversarial, labels)
    return rows, images, adversarial, correct(model, adversarial, labels).cpu()


def _parse(stored: object, n: int, parts: tuple[Part, ...]) -> PartsSoFar | None:
    """What `PartsSoFar.to_json` wrote of n images and these parts; None for anything else."""
    if not isinstance(stored, Mapping):
        return None
    outcomes, results, place, moved = (stored.get(name) for name in ("correct", "parts", "place", "perturbation"))
    if not isinstance(outcomes, list) or len(outcomes) != n or not {type(outcome) for outcome in outcomes} <= {bool}:
        return None
    if not isinstance(place, int) or not 0 <= place <= n or not isinstance(moved, int | float) or not isinstance(results, list):
        return None
    made = parse_parts(results)
    if made is None or [one["attack"] for one in made] != [part.label for part in parts[: len(made)]]:
        return None
    return PartsSoFar(outcomes, made, place, float(moved))
