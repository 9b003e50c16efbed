"""The explorer's slices and attack paths as what `figures` draws, and as the parts that the page puts together."""

from collections.abc import Sequence

import numpy as np
from dash import html

from trs_explorer.class_labels import IN_SENTENCE, class_label, whole_label
from trs_explorer.explore.angles import fooled_sentence
from trs_explorer.explore.plane_attacks import AttackPaths
from trs_explorer.explore.slice_plane import the
from trs_explorer.explore.slices import assemble, with_vote
from trs_explorer.figures.layers import layer_pictures
from trs_explorer.figures.of_ensemble import attacks_to_draw
from trs_explorer.figures.slice_data import Slice
from trs_explorer.figures.slice_figure import slice_spec
from trs_explorer.figures.slice_panel import attack_traces
from trs_explorer.files import Json
from trs_explorer.web.attack_paths import attack_caption, attack_start, slice_caption
from trs_explorer.web.page_request import PageRequest, image_name
from trs_explorer.web.slice_view import SliceView
from trs_explorer.web.state import ATTACK_FIELDS, SLICE_FIELDS


def slice_to_draw(view: SliceView, logits: np.ndarray) -> Slice:
    """Return a slice for `slice_figure`. logits: the members', as `slices.assemble` returns them."""
    return Slice(
        models=view.models,
        outputs=with_vote(view.loaded.ensemble, logits),
        low=view.low,
        high=view.high,
        axes=view.plane.names,
        box=None if view.plane.kind == "domain" else view.box,
        examples=view.examples,
        images=view.spanning,
        class_names=view.class_names,
    )


def slice_parts(view: SliceView, samples: Sequence[np.ndarray], layers: Sequence[str]) -> Json:
    """Return what the page draws of a slice: the figure without attacks, and the pixels of some layers.

    samples: the logits at the new points of levels 0, 1, ...
    layers: the names of the layers; that of the classes is always there.
    """
    data = slice_to_draw(view, assemble(samples, view.grids))
    wanted = dict.fromkeys(["class", *layers])
    pictures = {name: layer_pictures(data.outputs, name, view.y) for name in wanted if name != "arrows"}
    if "arrows" in wanted:
        pictures["arrows"] = pictures["class"]
    spec = slice_spec(data, layer="arrows" if "arrows" in wanted else "class", y=view.y, pictures=pictures["class"])
    return {
        "key": view.key,
        "level": len(samples) - 1,
        "models": view.models,
        "low": view.low,
        "high": view.high,
        "layers": pictures,
        "spec": spec,
    }


def attack_parts(view: SliceView, paths: AttackPaths, surrogate: int | None) -> Json:
    """Return what the page adds to a slice for its attacks: the traces and the headline of every panel."""
    attacks, models = attacks_to_draw(paths), range(len(view.models))
    traces = [[t for t in attack_traces(view.models, attacks, k, surrogate) if t["x"]] for k in models]
    return {"key": view.key, "traces": traces, "headlines": attacks.headlines, "whole": attacks.whole_headlines}


def attack_response(request: PageRequest, view: SliceView, paths: AttackPaths) -> Json:
    """Return what the page shows of the attacks on a slice: `attack_parts`, texts by the ids of their elements, and what for.

    "about" holds the fields of the state that the attacks depend on: the browser drops what is about another state.
    """
    surrogate = request.state.surrogate
    name = the(view.models[surrogate])
    fooled = [the(model) for k, model in enumerate(view.models) if paths.fools(surrogate, k)]
    wrong = [the(model) for k, model in enumerate(view.models) if paths.before[k] != view.y]
    a, b = paths.start
    where = f"from ({a:.2f}, {b:.2f})" if request.state.start else image_name(request)
    about = f"{where.capitalize()} (class {class_label(view.class_names, view.y, IN_SENTENCE)})"
    return attack_parts(view, paths, surrogate) | {
        "about": attack_fields(request),
        "words": {
            "attack-words": attack_caption(view, paths, request.state),
            "slice-words": slice_caption(view, request.state),
            "start-words": attack_start(request.state, view).sentence(),
            "fooled-words": f"{about}: {fooled_sentence(name, fooled, wrong)}",
        },
    }


def attack_fields(request: PageRequest) -> Json:
    """Return the fields of the state that the attacks on a slice depend on."""
    state = request.state.to_json()
    return {name: state[name] for name in (*SLICE_FIELDS, "weights", *ATTACK_FIELDS)}


def share_table(view: SliceView, logits: np.ndarray) -> html.Table:
    """Build the table behind the picture: the share of the square's points by predicted class, for every model."""
    outputs = with_vote(view.loaded.ensemble, logits)
    predicted = np.where(np.isfinite(outputs).all(-1), outputs.argmax(-1), -1)
    classes = np.unique(predicted).tolist()
    head = html.Tr([html.Th("class", scope="col"), *(html.Th(name, scope="col") for name in view.models)])
    rows = [
        html.Tr([html.Th(class_label(view.class_names, c, IN_SENTENCE), scope="row", title=whole_label(view.class_names, c)),
                 *(html.Td(f"{100 * (predicted[:, :, m] == c).mean():.1f} %") for m in range(len(view.models)))])
        for c in classes
    ]  # fmt: skip
    return html.Table([html.Caption(f"share of {len(predicted)} x {len(predicted)} points"), html.Thead(head), html.Tbody(rows)])
