"""The attacks on every model from where the user points, ready to be drawn in a slice."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from trs_explorer.attack_catalogue import ATTACKS
from trs_explorer.attacks.search import keywords
from trs_explorer.catalogue import load as load_function
from trs_explorer.explore.gallery import answers
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.paths import path_on, paths
from trs_explorer.explore.planes import ball_polygon
from trs_explorer.files import Json
from trs_explorer.web.scene import Points, Scene, the
from trs_explorer.web.state import State


@dataclass(frozen=True)
class Walks:
    """What a slice shows of the attacks: coordinates are those of the scene's plane; models are numbered as there.

    start: where the attacks start.  cut: whether that is not the point asked for, but what [0, 1] leaves of it.
    ball: corners of the plane's intersection with the attack's ball around it.
    trails: per model, members then ensemble, the shadow in the plane of the images that the attack on it visited.
    ends: [model, attacked model] the class that a model sees in the image that came back from the attack on the attacked one.
    off: how far each of those lies from the plane.  before: the class that each model sees where the attacks start.
    """

    attack: str
    y: int
    start: tuple[float, float]
    cut: bool
    ball: Points
    trails: list[Points]
    before: list[int]
    ends: list[list[int]]
    off: list[float]

    def fools(self, attacked: int, model: int) -> bool:
        """Whether the attack on one model fools another: it saw y at the start, and another class in what came back."""
        return self.before[model] == self.y != self.ends[model][attacked]

    def headline(self, model: int) -> str:
        """What an attack on a model does to it, in two or three words."""
        before, after = self.before[model], self.ends[model][model]
        if before != self.y:
            return f"{before}, wrong already"
        return f"{before}, holds" if after == before else f"{before}, attacked {after}"

    def to_json(self) -> Json:
        """All of it that the page draws."""
        return {
            "headlines": [self.headline(k) for k in range(len(self.before))],
            "start": list(self.start),
            "ball": self.ball.tolist(),
            "trails": [trail.tolist() for trail in self.trails],
            "before": self.before,
            "ends": self.ends,
        }


def attack_of(state: State) -> tuple[str, Callable]:
    """An attack's name with its steps, and the function, its options bound."""
    function = load_function(ATTACKS[state.attack].function)
    known = keywords(function)
    # 10 steps of eps/10 could not turn round: fewer steps are longer, as in the probe during training
    step_size = state.eps * max(0.1, 2.5 / state.steps)
    wanted = {"eps": state.eps, "steps": state.steps, "step_size": step_size, "norm": state.norm}
    if state.attack == "bim":
        del wanted["step_size"]  # its own, eps / steps, is what makes it BIM
    name = f"{state.attack}-{state.steps}" if "steps" in known else state.attack
    return name.upper(), partial(function, **{name: value for name, value in wanted.items() if name in known})


def begin_at(state: State, scene: Scene) -> tuple[Tensor, bool]:
    """Where the attacks start, and whether that is not the point asked for, but what [0, 1] leaves of it."""
    point = state.point()
    if point is None:
        return scene.x, False
    asked = scene.plane.images(torch.tensor([point]))[0]
    begin = asked.clamp(0, 1)
    return begin, not torch.allclose(begin, asked, atol=1e-4)


def surrogate_walk(loaded: Loaded, state: State, scene: Scene) -> Json:
    """The attack on the surrogate alone, as the page draws it: it follows a slider while the others are computed."""
    begin, _ = begin_at(state, scene)
    found = path_on(loaded.ensemble, state.surrogate, begin[None], torch.tensor([scene.y]), attack_of(state)[1], seed=state.seed)
    return {
        "attacked": state.surrogate,
        "start": list(scene.plane.pair(begin)),
        "ball": ball_polygon(scene.plane, begin, state.eps, state.norm).tolist(),
        "trail": scene.plane.coordinates(found.images).tolist(),
        "ends": answers(loaded.ensemble, found.x_adv)[:, 0].tolist(),
    }


def make_walks(loaded: Loaded, state: State, scene: Scene) -> Walks:
    """The attacks that a state asks for, in its scene."""
    ensemble, plane = loaded.ensemble, scene.plane
    begin, cut = begin_at(state, scene)
    name, attack = attack_of(state)
    found = paths(ensemble, begin[None], torch.tensor([scene.y]), attack, seed=state.seed)
    returned = torch.cat([path.x_adv for path in found])
    return Walks(
        attack=name,
        y=scene.y,
        start=plane.pair(begin),
        cut=cut,
        ball=ball_polygon(plane, begin, state.eps, state.norm),
        trails=[plane.coordinates(path.images).numpy() for path in found],
        before=answers(ensemble, begin[None])[:, 0].tolist(),
        ends=answers(ensemble, returned).tolist(),
        off=plane.distance(returned).tolist(),
    )


def slice_words(scene: Scene, walks: Walks, state: State) -> str:
    """What the marks in a slice figure mean, and what they do not."""
    off, attacked = walks.off[state.surrogate], the(scene.models[state.surrogate])
    units = "Axes are the inputs themselves" if scene.plane.kind == "domain" else "Axes are L2 distances in pixels from the image"
    words = [
        f"{units}; solid: the ball of eps {state.eps:g}, dotted: [0, 1].",
        "The attack starts at the point cut to [0, 1]." if walks.cut else "",
        f"Star: the attack's start; solid path: {walks.attack} on the panel's own model, dashed: on {attacked};",
        "a cross ends what fools the panel's model.",
        f"Paths are shadows: the attack on {attacked} ends {off:.2f} off the plane." if off > 0.005 else "",
        "A click, or Enter at the crosshair, attacks from there.",
        "A plane shows two directions of many: trust the matrix for rates.",
    ]
    return " ".join(filter(None, words))
