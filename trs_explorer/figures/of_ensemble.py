"""Slices of an ensemble that need no run: from members, an image and its class to the figure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from trs_explorer.class_labels import IN_SENTENCE, class_label
from trs_explorer.data.as_tensors import as_batch, as_images
from trs_explorer.evaluation.accuracy import check_inputs
from trs_explorer.explore.pictures import data_uri, png
from trs_explorer.explore.plane_attacks import AttackPaths, attacks_in_plane
from trs_explorer.explore.planes import Plane, box_polygon, domain, fitted_range
from trs_explorer.explore.slice_plane import gradient_plane, model_names, plane_of_images, the
from trs_explorer.explore.slices import LEVELS, sample_grid
from trs_explorer.explore.starts import start_of
from trs_explorer.figures.layers import LAYERS
from trs_explorer.figures.slice_data import Attacks, Slice, SpanningImage
from trs_explorer.figures.slice_figure import MAX_COLUMNS, figure_size, slice_spec
from trs_explorer.figures.theme import LOOKS
from trs_explorer.measure.named_attacks import AnyAttack, named_attack
from trs_explorer.models.ensemble import Ensemble
from trs_explorer.models.imported import as_ensemble
from trs_explorer.options import UsageError, unknown

PLANES = ("random", "gradients", "images")
WIDTH_PX = 900
SPAN = 3.0  # half the side of a slice, in L2
POINTS_LEVEL = {points: level for level, points in enumerate(LEVELS)}


def slices(
    ensemble: object,
    x: object,
    y: object,
    *,
    plane: str = "random",
    surrogate: int = 0,
    target: int = 1,
    others: object = None,
    attack: AnyAttack | None = None,
    span: float = SPAN,
    points: int = LEVELS[2],
    seed: int = 0,
    layer: str = "class",
    hidden: Sequence[int] = (),
    columns: int = MAX_COLUMNS,
    look: str = "light",
    caption: str = "",
    width: int = WIDTH_PX,
    class_names: Sequence[str] = (),
    **options: Any,
) -> go.Figure:
    """Return the slices of an ensemble's models through one image as a plotly figure: a panel per member, then the ensemble.

    - ensemble: an `Ensemble`, or a list of modules.
    - x, y: one image in [0, 1] and its true class; as tensor, array or list, with or without a batch dimension.
    - plane: what spans it. "random": the loss gradient of model `surrogate` (to the right) and a random direction; "gradients":
      those of `surrogate` and `target`; "images": x and the two images `others`. Models are numbered from 0, the ensemble last.
      Images of two numbers are points of the plane itself.
    - attack, options: an attack on every model, drawn as paths, and its options, such as eps=0.1: see `trs.evaluate`. Solid: on
      the panel's model; dashed: on `surrogate`. A cross ends what fools the panel's model, a circle what does not.
    - span: half the side of the square, in L2 ([0, 1] pixels); of "images", as much as holds the three.
    - points: of the grid, per side: 25, 49, 97 or 193.
    - seed: of the random direction and the attack's noise.
    - layer: what the pixels show: class, margin, confidence, disagreement or arrows. hidden: models without a panel.
    - columns, look, caption, width: panels side by side; light, dark or print; text below; pixels.
    - class_names: of all classes, in the order of their numbers; without them the numbers are shown.

    The models run in eval mode and are left as they were. A path is a projection: its end may lie off the plane.
    Raises: UsageError for anything that cannot be drawn, and why.
    """
    net, images, labels = as_ensemble(ensemble), *as_batch(x, y)
    names = model_names(len(net))
    if len(images) != 1:
        raise UsageError(f"a slice goes through one image, got {len(images)}: pass x[:1] and y[:1], or x[k] and y[k]")
    _check_choices(points, layer, look, plane, span)
    for what, number in (("surrogate", surrogate), ("target", target), *(("hidden", model) for model in hidden)):
        if not 0 <= number < len(names):
            raise UsageError(f"{what} must be a model's number, 0 to {len(names) - 1} ({', '.join(names)}), got {number}")
    check_inputs(net, images, labels)
    weight = next(net.parameters(), images)
    image, label = images[0].to(weight.device), int(labels[0])
    cut, spanning, (low, high) = _plane(net, image, label, plane, surrogate, target, others, seed, span)
    outputs = sample_grid(net, cut, low=low, high=high, level=POINTS_LEVEL[points])
    box = None if cut.kind == "domain" else box_polygon(cut, 2 * max(abs(low), abs(high)))
    names_of = tuple(class_names)
    view = Slice(names, outputs, low, high, cut.names, box=box, images=spanning, class_names=names_of)
    drawn, words = None, f"true class {class_label(names_of, label, IN_SENTENCE)}"
    if attack is not None:
        name, function, arguments = named_attack(attack, options)
        drawn = attacks_to_draw(
            replace(
                _attacked(net, cut, image, label, partial(function, **arguments), name, arguments, seed), class_names=names_of
            )
        )
        words += f"; {name}{_size(arguments)}; dashed: on {the(names[surrogate])}; ✕ fools, ○ does not"
    elif options:
        raise UsageError(f"{', '.join(options)}: options of an attack, but none is given: attack='pgd'")
    figure = slice_spec(
        view, drawn, surrogate=surrogate, hidden=hidden, columns=columns, look=look,
        caption=caption or words, layer=layer, y=label,
    )  # fmt: skip
    figure["layout"] |= figure_size(figure, len(names) - len({*hidden}), width=width, columns=columns)
    return go.Figure(figure)


def attacks_to_draw(attacks: AttackPaths) -> Attacks:
    """Return attack paths for `slice_figure`."""
    models = range(len(attacks.before))
    headlines, whole = ([of(model) for model in models] for of in (attacks.headline, attacks.whole_headline))
    return Attacks(
        name=attacks.attack,
        start=attacks.start,
        ball=attacks.ball,
        paths=attacks.paths,
        fools=np.array([[attacks.fools(attacked, model) for model in models] for attacked in models]),
        headlines=headlines,
        whole_headlines=["" if short == long else long for short, long in zip(headlines, whole, strict=True)],
    )


def _plane(
    net: Ensemble, image: Any, label: int, kind: str, surrogate: int, target: int, others: object, seed: int, span: float
) -> tuple[Plane, Sequence[SpanningImage], tuple[float, float]]:
    """Return the plane, the images that span it if images do, and the edges of the square."""
    if image.numel() == 2:
        return domain(tuple(image.shape)), (), (0.0, 1.0)
    if kind != "images":
        if others is not None:
            raise UsageError(f"others are the images of plane='images', this is plane={kind!r}")
        second = target if kind == "gradients" else None
        return gradient_plane(net, image, label, first=surrogate, second=second, seed=seed), (), (-span, span)
    if others is None:
        raise UsageError("plane='images' goes through x and two other images: pass them as others=")
    more = as_images(others).to(image)
    if more.shape != (2, *image.shape):
        raise UsageError(f"others must be two images of shape {[*image.shape]}, got {[*more.shape]}")
    names = ("image 1", "image 2", "image 3")
    cut, places = plane_of_images(image, more, names=names, seed=seed)
    three = zip(names, places.tolist(), (image, *more), strict=True)
    return cut, [SpanningImage(name, (a, b), _picture(one)) for name, (a, b), one in three], fitted_range(places)


def _picture(image: Any) -> str:
    """Return an image as a data URI; "" where it is no picture."""
    try:
        return data_uri(png(image))
    except ValueError:  # two channels, or a row of pixels
        return ""


def _attacked(
    net: Ensemble, cut: Plane, image: Any, label: int, attack: Any, name: str, arguments: Mapping[str, Any], seed: int
) -> AttackPaths:
    start, eps, norm = start_of(cut, image), arguments.get("eps"), str(arguments.get("norm", "linf"))
    return attacks_in_plane(net, start, label, attack, name=name, eps=eps, norm=norm, seed=seed)


def _size(arguments: Mapping[str, Any]) -> str:
    return "".join(f", {sign} {arguments[name]:g}" for name, sign in (("eps", "ε"), ("c", "c")) if name in arguments)


def _check_choices(points: int, layer: str, look: str, plane: str, span: float) -> None:
    """Raise UsageError for a choice that there is not."""
    for what, value, choices in (("layer", layer, LAYERS), ("look", look, LOOKS), ("plane", plane, PLANES)):
        if value not in choices:
            raise UsageError(unknown(f"{what}=", value, choices))
    if points not in POINTS_LEVEL:
        raise UsageError(f"points must be one of {', '.join(map(str, LEVELS))}, got {points}")
    if not 0 < span < float("inf"):
        raise UsageError(f"span must be a distance > 0, got {span}")
