"""The slices of both runs through one image: the same plane and square, each with the attacks on its own models."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from trs_explorer.catalogue import DATA
from trs_explorer.class_labels import IN_SENTENCE, class_label
from trs_explorer.explore.compute_lock import PROCESS_LOCK
from trs_explorer.explore.plane_attacks import AttackPaths
from trs_explorer.explore.planes import Plane, along_gradient, domain, loss_directions, two_gradients
from trs_explorer.explore.slice_plane import loss_name
from trs_explorer.figures.slice_figure import LINE_PX
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import make_attack_paths, outside_ball
from trs_explorer.web.compare.pair import Pair
from trs_explorer.web.controls import NORM_LABELS
from trs_explorer.web.drawing import attack_parts, slice_parts
from trs_explorer.web.slice_cache import SliceCache
from trs_explorer.web.slice_view import SliceView, chosen_image, make_slice_view
from trs_explorer.web.state import ATTACK_OPTION_FIELDS, hidden_at_first, is_plane

LEVEL = 2  # of the nested grids: 97 x 97 points
KEY_PX = 24  # of the classes' key
ATTACK_FIELDS = ("eps", "norm", "attack", *ATTACK_OPTION_FIELDS, "seed")


def common_plane(pair: Pair) -> Plane:
    """Return the plane of both slices, through the image along gradients of the ensembles' losses."""
    x, y, _ = chosen_image(pair.a.loaded, pair.a.state)
    if is_plane(pair.a.loaded.data.name):
        return domain(tuple(x.shape))
    seed, requests = pair.a.state.seed, (pair.a, pair.b)
    names = [loss_name(f"{request.loaded.name}'s ensemble") for request in requests]
    first, second = (loss_directions(request.loaded.ensemble, x[None], torch.tensor([y]))[-1] for request in requests)
    if pair.along == "both":
        return two_gradients(first, second, x, names=(names[0], names[1]), seed=seed)
    gradient, name = (first, names[0]) if pair.along == "a" else (second, names[1])
    return along_gradient(gradient, x, name=name, seed=seed)


@dataclass(frozen=True, eq=False)
class Side:
    """The slice through one of the two runs, and the attacks on its models."""

    view: SliceView
    attacks: AttackPaths


def side_views(pair: Pair, slices: SliceCache) -> dict[str, SliceView]:
    """Return both runs' views of the common plane, by side."""
    state = pair.a.state
    digests = [request.loaded.identity for request in pair.sides.values()]
    key = ("pair", *pair.names.values(), *digests, pair.along, state.image, state.seed, state.span)

    def compute() -> dict[str, SliceView]:
        plane = common_plane(pair)
        return {side: make_slice_view(one.loaded, one.state, plane=plane) for side, one in pair.sides.items()}

    with PROCESS_LOCK.hold():
        return slices.remembered(key, compute)


def side_samples(view: SliceView, slices: SliceCache, client: str = "", *, coarse: bool = False) -> list[np.ndarray]:
    """Return the logits of a view's levels, of the first one alone if coarse.

    Raises: Cancelled as soon as the same client requests another slice.
    """
    return [slices.samples(view, level, client) for level in range(1 if coarse else min(LEVEL + 1, view.levels))]


def side_attacks(pair: Pair, slices: SliceCache) -> dict[str, Side]:
    """Return the views with the attacks on each run's own models, by side."""
    sides = {}
    for side, view in side_views(pair, slices).items():
        request = pair.sides[side]
        key = ("attacks", request.loaded.name, view.key, *(getattr(request.state, name) for name in ATTACK_FIELDS))
        with PROCESS_LOCK.hold():
            paths = slices.remembered(key, partial(make_attack_paths, request.loaded, request.state, view))
        sides[side] = Side(view, paths)
    return sides


def side_parts(view: SliceView, samples: list[np.ndarray]) -> Json:
    """Return what the browser draws of a side's slices: without the axes' names, which are the caption's, for both sides."""
    parts = slice_parts(view, samples, ["class"])
    layout = parts["spec"]["layout"]
    layout["margin"]["b"] = LINE_PX + KEY_PX
    layout["annotations"][0]["text"] = ""
    hidden = hidden_at_first(len(view.models) - 1)
    return parts | {"shown": [k for k in range(len(view.models)) if k not in hidden]}


def side_attack_parts(side: Side) -> Json:
    """Return what the browser draws of the attacks: that on each panel's own model."""
    return attack_parts(side.view, side.attacks, None)


def slices_caption(pair: Pair, sides: dict[str, Side]) -> str:
    """Explain the marks in both rows of slices, and the limits of what they show."""
    view, attacks, state = sides["a"].view, sides["a"].attacks, pair.a.state
    is_domain = view.plane.kind == "domain"
    units = "the inputs themselves" if is_domain else "L2 distance from the image (each pixel in [0, 1])"
    outline = "" if is_domain else "; dotted: [0, 1]; hatched: outside it (not a valid image)"
    example = DATA[pair.a.loaded.data.name].examples.removesuffix("s").capitalize()
    name = class_label(view.class_names, view.y, IN_SENTENCE)
    furthest = max(distance for side in sides.values() for distance in side.attacks.off_plane)
    sentences = [
        f"→ {view.plane.names[0]}; ↑ {view.plane.names[1]}.",
        f"Both rows: the same plane and scale, {view.low:g} to {view.high:g}, {units}. {example} {state.image}, class {name}.",
        f"Solid outline: the ball of ε {state.eps:g} ({NORM_LABELS[state.norm]}){outline}.",
        f"★ start; path: {attacks.attack} on this panel's model; ✕ fools it, ○ does not.",
        outside_ball(attacks.attack, max(distance for side in sides.values() for distance in side.attacks.distances), state),
        f"Paths are projections: they end up to {furthest:.2f} off the plane." if furthest > 0.005 else "",
        "" if is_domain else "A plane shows two directions of many: trust the rates.",
        *(_some_hidden(side, sides[side].view) for side in sides),
    ]
    return " ".join(filter(None, sentences))


def _some_hidden(side: str, view: SliceView) -> str:
    """Say which of many models have no panel; nothing if all have one."""
    hidden = hidden_at_first(len(view.models) - 1)
    names = f"{view.models[hidden[0]]} to {view.models[hidden[-1]]}" if hidden else ""
    return f"{side.upper()} has {len(view.models) - 1} members: {names} are not drawn; Explore can show them." if hidden else ""
