"""Attack paths in a slice: what an attack on each model does from the chosen start, in the slice's coordinates."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from trs_explorer.attack_catalogue import ATTACKS, Label, options_for
from trs_explorer.catalogue import DATA
from trs_explorer.explore.attack_paths import attack_paths
from trs_explorer.explore.gallery import predictions
from trs_explorer.explore.library import Loaded
from trs_explorer.explore.starts import Start, start_at, start_of
from trs_explorer.figures.class_labels import IN_SENTENCE, IN_TITLE, class_label, whole_label
from trs_explorer.web import own_attacks
from trs_explorer.web.code_errors import readable_code_errors
from trs_explorer.web.controls import NORM_LABELS
from trs_explorer.web.slice_view import Points, SliceView, the
from trs_explorer.web.state import State

OFF_PLANE = 0.005  # a result that is nearer lies on the plane, to the digits that are shown


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


def configured_attack(state: State) -> tuple[str, Callable]:
    """Return the name of the state's attack with its steps, and the attack with its options bound."""
    function = own_attacks.function(state.attack)
    if own_attacks.is_own(state.attack):
        return _configured_own(state, function)
    # 10 steps of eps/10 could not turn round: fewer steps are longer, as in the probe during training
    step_size = state.step_size or state.eps * max(0.1, 2.5 / state.steps)
    options = {"steps": state.steps, "step_size": step_size, "norm": state.norm, "restarts": state.restarts}
    if state.attack == "bim" and not state.step_size:
        del options["step_size"]  # its default, eps / steps, is what makes it BIM
    if state.loss not in ("default", ATTACKS[state.attack].loss):
        options["loss"] = state.loss
    options = options_for(state.attack, options)
    label = Label(state.attack, options.get("loss", ""), options.get("steps"), options.get("restarts", 1))
    name = str(label).upper() + (f", STEP {state.step_size:g}" if state.step_size and "step_size" in options else "")
    return name, partial(function, eps=state.eps, **options)


def _configured_own(state: State, function: Callable) -> tuple[str, Callable]:
    """Return the same of an attack of others: its options are its own."""
    options = own_attacks.all_options(state.attack, state.options)
    if own_attacks.takes(state.attack, "norm"):
        options["norm"] = own_attacks.about(state.attack).own_options["norm"].check(state.norm)
    chosen = own_attacks.parse_options(state.attack, state.options)[0]
    name = ", ".join([state.attack, *(f"{key} {value}" for key, value in chosen.items())])
    return name, partial(function, eps=state.eps, **options)


def attack_start(state: State, view: SliceView) -> Start:
    """Return where the attacks start."""
    point = state.point()
    return start_of(view.plane, view.x) if point is None else start_at(view.plane, point)


@readable_code_errors
def make_attack_paths(loaded: Loaded, state: State, view: SliceView) -> AttackPaths:
    """Run the state's attack on every model, and project what it visits on the slice."""
    ensemble, plane = loaded.ensemble, view.plane
    start = attack_start(state, view)
    name, attack = configured_attack(state)
    together = not own_attacks.is_own(state.attack)
    paths = attack_paths(ensemble, start.image, torch.tensor([view.y]), attack, seed=state.seed, together=together)
    results = torch.cat([path.x_adv for path in paths])
    return AttackPaths(
        attack=name,
        y=view.y,
        start=start.point,
        clipped=start.clipped,
        ball=start.ball(state.eps, state.norm),
        paths=[plane.coordinates(path.images).numpy() for path in paths],
        before=predictions(ensemble, start.image)[:, 0].tolist(),
        ends=predictions(ensemble, results).tolist(),
        off_plane=plane.distance(results).tolist(),
        class_names=DATA[loaded.data.name].class_names,
    )


def attack_caption(view: SliceView, attacks: AttackPaths, state: State) -> str:
    """Say which attacks a slice shows, and by which marks."""
    off_plane, surrogate = attacks.off_plane[state.surrogate], the(view.models[state.surrogate])
    sentences = [
        f"{attacks.attack}, eps {state.eps:g} ({NORM_LABELS[state.norm]}).",
        f"Title and solid path: the attack on the panel's own model; dashed: on {surrogate}.",
        "✕ fools the panel's model, ○ does not.",
        f"Marks are projections of results off the plane (on {surrogate}: by {off_plane:.2f}): the class there may be another, "
        "and they may lie outside the ball's outline." if off_plane > OFF_PLANE else "",
        "" if view.plane.kind == "domain" else "Hatched: outside [0, 1] (not a valid image).",
    ]  # fmt: skip
    return " ".join(filter(None, sentences))


def slice_caption(view: SliceView, state: State) -> str:
    """Explain the outlines in a slice, and the limits of what a slice shows."""
    is_domain = view.plane.kind == "domain"
    units = "Axes: the inputs themselves" if is_domain else "Axes: L2 distance from the image (each pixel in [0, 1])"
    outline = "" if is_domain else "; dotted outline: [0, 1]"
    sentences = [
        f"True class: {class_label(view.class_names, view.y, IN_SENTENCE)} ({view.label_source}).",
        f"{units}. ★ start of the attack. Solid outline: the ball of eps {state.eps:g} around it{outline}.",
        "" if is_domain else "A plane shows two directions of many: trust the matrix for rates.",
    ]
    return " ".join(filter(None, sentences))
