"""Attacks on every model of an ensemble from one start, projected on the plane of a slice."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trs_explorer.class_labels import IN_TITLE, class_label, whole_label
from trs_explorer.evaluation.accuracy import distance
from trs_explorer.explore.attack_paths import attack_paths
from trs_explorer.explore.gallery import predictions
from trs_explorer.explore.starts import Start
from trs_explorer.models.ensemble import Ensemble

Points = np.ndarray


@dataclass(frozen=True)
class AttackPaths:
    """The attacks on every model, projected on the plane of a slice. Models are numbered: members from 0, then the ensemble.

    attack: the attack's name with its steps, such as "PGD-10".
    y: the true class.
    start: where the attacks start, in plane coordinates.
    clipped: whether the requested start was outside [0, 1] and had to be clipped.
    ball: corners of the plane's intersection with the eps-ball around the start.
    paths: per model, the projections of the images that the attack on it visited, [visit, 2].
    before: the class that each model predicts at the start.
    ends: [model, attacked model], the class that a model predicts for the result of the attack on the attacked model.
    off_plane: per attacked model, the L2 distance of the attack's result from the plane.
    distances: per attacked model, the distance of the attack's result from the start, in the attack's norm.
    class_names: of all classes; empty: they have none.
    """

    attack: str
    y: int
    start: tuple[float, float]
    clipped: bool
    ball: Points
    paths: list[Points]
    before: list[int]
    ends: list[list[int]]
    off_plane: list[float]
    distances: list[float]
    class_names: tuple[str, ...] = ()

    def fools(self, attacked: int, model: int) -> bool:
        """Whether the attack on one model fools another: it predicted y at the start, and another class at the end."""
        return self.before[model] == self.y != self.ends[model][attacked]

    def headline(self, model: int) -> str:
        """The effect of the attack on a model on that model itself, such as "5 → 6, fooled" or "red → blue, fooled"."""
        return self._headline(model, lambda c: class_label(self.class_names, c, IN_TITLE))

    def whole_headline(self, model: int) -> str:
        """The same with the classes' whole names."""
        return self._headline(model, lambda c: whole_label(self.class_names, c))

    def _headline(self, model: int, named: Callable[[int], str]) -> str:
        before, after = self.before[model], self.ends[model][model]
        if before != self.y:
            return f"{named(before)}, wrong already"
        return f"{named(before)}, not fooled" if after == before else f"{named(before)} → {named(after)}, fooled"


def attacks_in_plane(
    ensemble: Ensemble,
    start: Start,
    y: int,
    attack: Callable[..., Tensor],
    *,
    name: str,
    eps: float | None,
    norm: str,
    seed: int,
    together: bool = True,
    class_names: tuple[str, ...] = (),
) -> AttackPaths:
    """Attack every model from a start, and project the images that the attacks visit on the start's plane.

    - start: on the ensemble's device.
    - y: the class that the attacks try to leave.
    - attack: with its options bound. name: how it is shown.
    - eps, norm: of the ball that is drawn; None: there is none.
    - seed: of the attack's noise.
    - together: see `attack_paths`.
    - class_names: of all classes, for titles.
    """
    plane = start.plane
    paths = attack_paths(
        ensemble, start.image, torch.tensor([y], device=start.image.device), attack, seed=seed, together=together
    )
    results = torch.cat([path.x_adv for path in paths])
    return AttackPaths(
        attack=name,
        y=y,
        start=start.point,
        clipped=start.clipped,
        ball=np.empty((0, 2)) if eps is None else start.ball(eps, norm),
        paths=[plane.coordinates(path.images).cpu().numpy() for path in paths],
        before=predictions(ensemble, start.image)[:, 0].tolist(),
        ends=predictions(ensemble, results).tolist(),
        off_plane=plane.distance(results).tolist(),
        distances=[distance(result[None], start.image, norm) for result in results],
        class_names=class_names,
    )
