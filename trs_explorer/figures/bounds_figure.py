"""The bounds of Theorems 1 and 2 beside the measured transfer: over the radius, or along a training."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence

import plotly.graph_objects as go

from trs_explorer.evaluation.bounds.theorems import Quantities, quantities_of, upper_bound
from trs_explorer.evaluation.bounds.words import percent
from trs_explorer.figures.theme import LOOKS, SERIES_COLOURS, SERIES_DASHES, as_label, template
from trs_explorer.files import Json

UPPER, LOWER = SERIES_COLOURS[1], SERIES_COLOURS[0]
POINTS = 120  # of the curve of an upper bound
ROOM = 2.2  # of the axis beyond the smallest and the largest radius, as a factor
HEIGHT = 380


def bounds_figure(result: Json | Sequence[Json], **settings: object) -> go.Figure:
    """Return the bounds as a plotly figure, every property checked by plotly: of one result, or of several along a training.

    Arguments: see `bounds_spec` and `epochs_spec`.
    """
    several = not isinstance(result, dict)
    return go.Figure((epochs_spec if several else bounds_spec)(result, **settings))  # type: ignore[operator]


def bounds_spec(
    result: Json, *, pair: tuple[int, int] | None = None, look: str = "light", caption: str = "", height: int = HEIGHT
) -> Json:
    """Draw Pr(T_r = 1) in % with its 95 % interval over the L2 radius, and the bounds where they say something.

    - result: of `evaluation.bounds.of_pairs.Bounds.to_json`, or a stored result of `trs bounds`.
    - pair: (surrogate, target) of one pair. None: the mean over all pairs, of the bounds too: a vacuous one counts as 0 or 100 %.
    - look: one of `theme.LOOKS`.  caption: printed above.  height: in pixels.

    Below, for each radius and bound: what it says, or the quantity that makes it vacuous. Under the mouse: why.
    """
    chosen = [one for one in result["pairs"] if pair in (None, (one["surrogate"], one["target"]))]
    by_eps = {eps: [one for one in chosen if one["eps"] == eps] for eps in result["eps"]}
    ink = LOOKS[look].text
    data = [_measured(result, by_eps, pair, ink), *_upper(by_eps), *_lower(by_eps)]
    data += [_strip(by_eps, "upper", 1, look), _strip(by_eps, "lower", 0, look)]
    reach = _reach(chosen)
    low, high = (math.log10(eps * factor) for eps, factor in ((result["eps"][0], 1 / ROOM), (result["eps"][-1], ROOM)))
    ruled = reach > 0 and low < math.log10(reach) < high
    lines = [as_label(line) for line in caption.splitlines()]
    lines.append("all pairs of members, means" if pair is None else f"F{pair[0] + 1} → F{pair[1] + 1}")
    lines += [f"dotted: Theorem 2 vacuous beyond ε {reach:.2g}"] if ruled else []
    title = "<br>".join(lines)
    axis = {"type": "log", "range": [low, high], "fixedrange": True, "showgrid": False, "tickvals": result["eps"]}
    ticks = [f"{eps:g}" for eps in result["eps"]]
    layout: Json = {
        "template": template(look), "height": height, "showlegend": True, "hovermode": "closest",
        "xaxis": {**axis, "ticktext": ticks, "anchor": "y2", "title": {"text": "ε (L2, each pixel in [0, 1])", "standoff": 4}},
        "yaxis": {"domain": [0.36, 1], "range": [-4, 104], "fixedrange": True, "title": {"text": "Pr(T_r = 1), %", "standoff": 4},
                  "tickvals": [0, 25, 50, 75, 100]},
        "yaxis2": {"domain": [0, 0.26], "range": [-0.5, 1.5], "fixedrange": True, "showgrid": False, "tickvals": [0, 1],
                   "ticktext": ["lower", "upper"]},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False},
        "margin": {"l": 58, "r": 8, "t": 46 + 16 * title.count("<br>"), "b": 44},
        "annotations": [_title(title, 24, look)],
        "shapes": [],
    }  # fmt: skip
    if ruled:
        layout["shapes"] = [{
            "type": "line", "x0": reach, "x1": reach, "y0": 0, "y1": 1, "xref": "x", "yref": "y domain",
            "line": {"color": UPPER, "width": 1.5, "dash": "dot"},
        }]  # fmt: skip
    return {"data": data, "layout": layout}


def epochs_spec(results: Sequence[Json], *, look: str = "light", caption: str = "", height: int = HEIGHT) -> Json:
    """Draw Pr(T_r = 1) in % over the epochs of a training, and the mean upper bound where it says something: a colour a radius.

    results: one for each checkpoint, of the same radii.  look, caption, height: as for `bounds_spec`.
    """
    epochs = [int(result["checkpoint"].split("-")[0]) for result in results]
    data: list[Json] = []
    for k, eps in enumerate(results[0]["eps"]):
        colour, dash = SERIES_COLOURS[k % len(SERIES_COLOURS)], SERIES_DASHES[k % len(SERIES_DASHES)]
        pooled = [next(one for one in result["pooled"] if one["eps"] == eps) for result in results]
        upper = [_mean_upper([pair for pair in result["pairs"] if pair["eps"] == eps], eps) for result in results]
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": f"measured, ε {eps:g}", "x": epochs, "cliponaxis": False,
            "y": [100 * one["rate"] for one in pooled], "line": {"color": colour, "dash": dash}, "error_y": _interval(pooled),
            "customdata": [_counts(one["transferred"], one["of"], one["interval"]) for one in pooled],
            "hovertemplate": f"ε {eps:g}, epoch %{{x}}: %{{y:.1f}} % (%{{customdata}})<extra></extra>",
        })  # fmt: skip
        if any(value < 1 for value in upper):
            data.append({
                "type": "scatter", "mode": "markers", "name": f"upper bound, ε {eps:g}", "x": epochs, "cliponaxis": False,
                "y": [100 * value if value < 1 else None for value in upper],
                "marker": {"symbol": "triangle-down-open", "size": 10, "color": colour},
                "hovertemplate": f"ε {eps:g}, epoch %{{x}}: at most %{{y:.1f}} %<extra></extra>",
            })  # fmt: skip
    title = f"{as_label(caption)}{'<br>' if caption else ''}all pairs of members, means; vacuous bounds are not drawn"
    layout = {
        "template": template(look), "height": height, "hovermode": "closest",
        "xaxis": {"title": {"text": "epoch", "standoff": 4}, "fixedrange": True, "tickformat": "d"},
        "yaxis": {"range": [-4, 104], "fixedrange": True, "title": {"text": "Pr(T_r = 1), %"}},
        "annotations": [_title(title, 2, look)],
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top", "itemclick": False, "itemdoubleclick": False},
        "margin": {"l": 58, "r": 8, "t": 24 + 16 * title.count("<br>"), "b": 44},
    }  # fmt: skip
    return {"data": data, "layout": layout}


def _title(text: str, shift: int, look: str) -> Json:
    """Small text above the chart, at its left edge, `shift` pixels above the axes."""
    return {
        "text": text, "x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "yshift": shift,
        "showarrow": False, "align": "left", "font": {"size": 12, "color": LOOKS[look].faint},
    }  # fmt: skip


def _measured(result: Json, by_eps: dict[float, list[Json]], pair: tuple[int, int] | None, ink: str) -> Json:
    """The measured rates, with intervals: pooled, or of the one pair."""
    rates = result["pooled"] if pair is None else [{**one, "of": one["n"]} for ones in by_eps.values() for one in ones]
    return {
        "type": "scatter", "mode": "lines+markers", "name": "measured", "x": [one["eps"] for one in rates], "cliponaxis": False,
        "y": [100 * one["rate"] for one in rates], "line": {"color": ink, "width": 2}, "marker": {"size": 8},
        "error_y": _interval(rates),
        "customdata": [_counts(one["transferred"], one["of"], one["interval"]) for one in rates],
        "hovertemplate": "measured at ε %{x}: %{y:.1f} % (%{customdata})<extra></extra>",
    }  # fmt: skip


def _interval(rates: Sequence[Json]) -> Json:
    above = [100 * (one["interval"][1] - one["rate"]) for one in rates]
    below = [100 * (one["rate"] - one["interval"][0]) for one in rates]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "thickness": 1.3, "width": 4}


def _counts(hits: int, tried: int, interval: Sequence[float]) -> str:
    return f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}, {hits} of {tried}"


def _upper(by_eps: dict[float, list[Json]]) -> list[Json]:
    """The upper bound as a curve, as far as it says something. Between two radii it is that of the larger one's quantities."""
    x, y = [], []
    radii = list(by_eps)
    ends = [math.log10(radii[0] / ROOM), math.log10(radii[-1])]
    known = {eps: [quantities_of(one) for one in pairs] for eps, pairs in by_eps.items()}
    for k in range(POINTS):
        eps = min(10 ** (ends[0] + (ends[1] - ends[0]) * k / (POINTS - 1)), radii[-1])
        value = _mean_of(known[next(radius for radius in radii if radius >= eps)], eps)
        x.append(eps)
        y.append(100 * value if value < 1 else None)
    if not any(value is not None for value in y):
        return []
    line = {"color": UPPER, "width": 2, "dash": "dash"}
    hover = "upper bound at ε %{x:.3g}: at most %{y:.1f} %<extra></extra>"
    return [{"type": "scatter", "mode": "lines", "name": "upper bound", "x": x, "y": y, "line": line, "hovertemplate": hover}]


def _lower(by_eps: dict[float, list[Json]]) -> list[Json]:
    """The lower bound at each radius at which it says something: it depends on the attack there."""
    means = {eps: sum(max(0.0, one["lower_bound"] or 0.0) for one in pairs) / len(pairs) for eps, pairs in by_eps.items()}
    saying = {eps: 100 * value for eps, value in means.items() if value > 0}
    marker = {"symbol": "triangle-up", "size": 11, "color": LOWER}
    hover = "lower bound at ε %{x}: at least %{y:.1f} %<extra></extra>"
    made = {"type": "scatter", "mode": "markers", "name": "lower bound", "x": [*saying], "y": [*saying.values()]}
    return [{**made, "marker": marker, "cliponaxis": False, "hovertemplate": hover}] if saying else []


def _mean_upper(pairs: Sequence[Json], eps: float) -> float:
    return _mean_of([quantities_of(pair) for pair in pairs], eps)


def _mean_of(quantities: Sequence[Quantities], eps: float) -> float:
    """The mean upper bound over pairs: a vacuous one is 1."""
    bounds = [upper_bound(q, eps) for q in quantities]
    return sum(1.0 if bound is None else min(1.0, bound) for bound in bounds) / len(bounds)


def _strip(by_eps: dict[float, list[Json]], side: str, y: int, look: str) -> Json:
    """What a bound says at each radius, or the quantity that most often makes it vacuous, with the reason under the mouse."""
    texts, hovers = [], []
    for pairs in by_eps.values():
        reasons = [one[f"{side}_vacuous"] for one in pairs]
        counts = Counter(reason["quantity"] for reason in reasons if reason)
        if len(counts) and sum(counts.values()) == len(pairs):
            quantity = counts.most_common(1)[0][0]
            texts.append(f"vacuous<br>{as_label(quantity)}")
            hovers.append(next(reason["why"] for reason in reasons if reason["quantity"] == quantity))
            continue
        bounds = [one[f"{side}_bound"] for one in pairs]
        limits = (1.0, min) if side == "upper" else (0.0, max)
        values = [limits[0] if bound is None else limits[1](limits[0], bound) for bound in bounds]
        saying = f"{len(pairs) - sum(counts.values())}/{len(pairs)} pairs"
        limit = f"{'≤' if side == 'upper' else '≥'} {percent(sum(values) / len(values))} %"
        texts.append(limit + (f"<br>{saying}" if len(pairs) > 1 else ""))
        hovers.append(f"says something for {saying}")
    return {
        "type": "scatter", "mode": "text", "x": [*by_eps], "y": [y] * len(by_eps), "yaxis": "y2", "text": texts,
        "showlegend": False, "cliponaxis": False, "customdata": [_wrapped(text) for text in hovers],
        "textfont": {"size": 12, "color": [LOOKS[look].faint if "vacuous" in text else LOOKS[look].text for text in texts]},
        "hovertemplate": f"{side} bound at ε %{{x}}: %{{customdata}}<extra></extra>",
    }  # fmt: skip


def _wrapped(text: str, width: int = 70) -> str:
    """The text in lines of about so many characters, for a box under the mouse."""
    return "<br>".join(map(as_label, textwrap.wrap(text, width)))


def _reach(chosen: Sequence[Json]) -> float:
    """The largest radius up to which Theorem 2 says something for one of these pairs; 0 if there is none."""
    return max((one["promised_radius"] for one in chosen), default=0.0)
